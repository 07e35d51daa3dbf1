"""The stacks of a training's processes, before a stalled one is ended: where each of them waits, and for what."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from swift_fa_launcher.launch.stall import STACKS_SIGNAL

_PATIENCE = 10.0  # seconds for py-spy on one process
_ALTOGETHER = 60.0  # seconds for all; then the signal alone is used, which takes no time
_WRITTEN = 0.3  # seconds in which a process writes its own


def keep_stacks(file: Path, pids: Iterable[int], python: str) -> int:
    """Appends the stacks of those processes that can tell them; how many they are. python: the training's, beside which
    py-spy may lie. Without py-spy, or where it may not look, the process itself is asked by a signal."""
    py_spy = shutil.which("py-spy") or shutil.which(str(Path(python).with_name("py-spy")))
    until, count = time.monotonic() + _ALTOGETHER, 0
    for pid in sorted(pids):
        if _catches(pid, STACKS_SIGNAL):
            count += 1
            _append(file, f"== process {pid}: {_command(pid)}\n".encode())
            if not (py_spy and time.monotonic() < until and _ask_py_spy(py_spy, file, pid)):
                with suppress(OSError):
                    os.kill(pid, STACKS_SIGNAL)
                time.sleep(_WRITTEN)
    return count


def _ask_py_spy(py_spy: str, file: Path, pid: int) -> bool:
    try:
        done = subprocess.run([py_spy, "dump", "--native", "--pid", str(pid)], capture_output=True, check=False,
                              timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return False
    if done.returncode == 0 and done.stdout:
        _append(file, done.stdout)
    return done.returncode == 0


def _append(file: Path, data: bytes) -> None:
    with suppress(OSError), file.open("ab") as opened:
        opened.write(data)


def _catches(pid: int, number: int) -> bool:
    """Whether the process has a handler for the signal; any other would be ended by it."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def _command(pid: int) -> str:
    """Program and script, without the arguments, among which may be a secret."""
    with suppress(OSError):
        return " ".join(Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:3])
    return ""
