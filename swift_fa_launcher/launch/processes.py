"""The living processes of the runs on this machine: found by the mark in their environment, and ended from outside."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from swift_fa_launcher.launch import keeper

#: In the environment of every process of a training: the id of its run.
RUN_ID_VARIABLE = "SWIFT_FA_RUN_ID"


@dataclass(frozen=True)
class RunProcess:
    """A living process of a run. keeper: it is the one that ends the others when it is told to."""

    pid: int
    started: datetime
    keeper: bool


def find_running() -> dict[str, tuple[RunProcess, ...]]:
    """The living processes of every run, by run id: those with the mark in their environment and their descendants.

    Processes of other users cannot be seen.
    """
    import psutil

    parents = {pid: parent for pid, (parent, _) in keeper.parents_and_groups().items()}
    runs: dict[int, str | None] = {0: None, os.getpid(): None}

    def run_of(pid: int) -> str | None:
        if pid not in runs:
            runs[pid] = _run_id(pid) or run_of(parents.get(pid, 0))
        return runs[pid]

    found: dict[str, list[RunProcess]] = {}
    for pid in sorted(parents):
        if (run_id := run_of(pid)) is not None:
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.setdefault(run_id, []).append(_run_process(process))
    return {run_id: tuple(processes) for run_id, processes in found.items()}


def _run_id(pid: int) -> str | None:
    import psutil

    try:
        if sys.platform != "linux":
            return psutil.Process(pid).environ().get(RUN_ID_VARIABLE)
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except (OSError, psutil.Error):
        return None
    _, mark, rest = (b"\0" + environ).partition(f"\0{RUN_ID_VARIABLE}=".encode())
    return os.fsdecode(rest.partition(b"\0")[0]) if mark else None


def find_halted(pids: Iterable[int]) -> dict[int, str]:
    """Those of the processes that a signal has stopped and none has continued, with their ranks ("": of none). Linux only."""
    found = {}
    for pid in pids:
        with suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"T":
                rank = re.search(rb"\0RANK=(\d+)", b"\0" + Path(f"/proc/{pid}/environ").read_bytes())
                found[pid] = rank[1].decode() if rank else ""
    return found


def _run_process(process: Any) -> RunProcess:
    started = datetime.fromtimestamp(process.create_time(), timezone.utc)
    return RunProcess(process.pid, started, keeper.__file__ in process.cmdline())


def find_run_processes(run_id: str) -> tuple[RunProcess, ...]:
    """The living processes of one run."""
    return find_running().get(run_id, ())


def end_run(run_id: str, grace: float) -> tuple[RunProcess, ...]:
    """Ends a run from outside: TERM to its keeper, or to all its processes where that is gone, then KILL after `grace`
    seconds. Returns what could not be ended."""
    found = find_run_processes(run_id)
    _signal_processes([p for p in found if p.keeper] or found, signal.SIGTERM)
    until = time.monotonic() + grace
    while (found := find_run_processes(run_id)) and time.monotonic() < until:
        time.sleep(0.1)
    until = time.monotonic() + 5.0
    while found and time.monotonic() < until:
        _signal_processes(found, signal.SIGKILL)
        time.sleep(0.05)
        found = find_run_processes(run_id)
    return found


def _signal_processes(processes: Sequence[RunProcess], number: int) -> None:
    import psutil

    for process in processes:
        with suppress(psutil.Error):
            now = psutil.Process(process.pid)
            if _run_process(now).started == process.started:  # not another one that got the same id
                now.send_signal(number)
                if number != signal.SIGKILL:
                    now.send_signal(signal.SIGCONT)
