"""Runs scripts with the training interpreter, in the training's environment and folder, and reads their answers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swift_fa_launcher.decode import Unknown

#: Stands before each JSON object that a script prints; everything else on its output is noise.
MARKER = "swift-fa-target:"


_running: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True)
class Answer:
    """What a script said: its JSON objects in order, and how it ended ("" for well) with its last other words.

    late: it had not ended in time, and was killed.
    """

    steps: tuple[dict[str, Any], ...]
    failure: str
    late: bool = False


def find_interpreter(python: str, environment: Mapping[str, str]) -> str | None:
    """The executable that `python` names (a path, or a command on the training's PATH); None where there is none."""
    return shutil.which(os.path.expanduser(python), path=environment.get("PATH"))  # pathlib's raises for "~nobody/python"


def run_script(python: str, script: Path, *arguments: str, environment: Mapping[str, str], cwd: Path,
               timeout: float) -> Answer:
    """What `script` answers when `python` runs it.

    It gets a process group of its own; when `timeout` seconds have passed all of that is killed, and what it said
    before then counts. Never raises for what the script does.
    """
    quiet = {**environment, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"}
    try:
        child = subprocess.Popen([python, str(script), *arguments], cwd=cwd, env=quiet, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    except (OSError, ValueError) as error:
        return Answer((), f"{python} could not be started: {error}")
    late = False
    _running.add(child)
    try:
        output, _ = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        late = True
        kill_group(child)
        output, _ = child.communicate()
    except BaseException:  # Ctrl-C: the child, in a group of its own, has not heard it
        kill_group(child)
        raise
    finally:
        _running.discard(child)
    answer = parse_answer(output.decode("utf-8", "replace"), child.returncode)
    return Answer(answer.steps, f"no answer within {timeout:.0f} s", late=True) if late else answer


def end_running() -> None:
    """Kills every script that runs now: what an interrupted caller does, for scripts that its threads have started."""
    for child in tuple(_running):
        kill_group(child)


def parse_answer(output: str, code: int) -> Answer:
    """The JSON objects behind MARKER in `output`. `code`: the process's exit status, negative for a signal."""
    steps, noise = [], ""
    for line in output.splitlines():
        start = line.find(MARKER)
        try:
            step = json.loads(line[start + len(MARKER):]) if start >= 0 else None
        except ValueError:
            step = None
        if isinstance(step, dict):
            steps.append(step)
        elif line.strip():
            noise = line.strip()
    if code == 0:
        return Answer(tuple(steps), "")
    ending = f"ended by {signal_name(-code)}" if code < 0 else f"exit status {code}"
    return Answer(tuple(steps), f"{ending}: {noise[:300]}" if noise else ending)


def signal_name(number: int) -> str:
    """ "SIGSEGV" for 11."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def kill_group(child: subprocess.Popen[bytes]) -> None:
    """Kills a child that leads a process group, and the group."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:  # Windows has no process groups of this kind
            child.kill()


def only_step(answer: Answer, who: str) -> dict[str, Any] | Unknown:
    """The one object of a script that answers once; Unknown(why) where there is none."""
    return answer.steps[-1] if answer.steps else Unknown(f"{who}: {answer.failure or 'it printed no answer'}")
