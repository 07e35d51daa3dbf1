"""Runs scripts with the training interpreter, in the training's environment and folder, and reads their answers."""

from __future__ import annotations

import _thread as native
import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swift_fa_launcher.decode import Unknown
from swift_fa_launcher.machine.guard import start_alone, start_guarded

#: Stands before each JSON object that a script prints; everything else on its output is noise.
MARKER = "swift-fa-target:"

#: The scripts that run or are about to, of every thread.
_running: set[_Script] = set()
_thread = threading.local()
_LONGEST_START = 10.0  # seconds that a child may take to come into being once it is to be ended


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
               timeout: float, errors: int | None = subprocess.STDOUT, quick: bool = False) -> Answer:
    """What `script` answers when `python` runs it. errors: where its standard error goes; None for ours. quick: it ends by
    itself in no time, and needs no guard.

    It gets a process group of its own; when `timeout` seconds have passed all of that is killed, and what it said
    before then counts. Never raises for what the script does.
    """
    quiet = {**environment, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"}
    script_run = _Script([python, str(script), *arguments], quiet, cwd, errors, quick)
    try:
        _running.add(script_run)
        child = script_run.start()
        if child is None:
            return Answer((), f"{python} could not be started: {script_run.refusal}")
        output, late = _listen(child, timeout)
    except BaseException:  # Ctrl-C: the child, in a group of its own, has not heard it
        script_run.end()
        raise
    finally:
        _running.discard(script_run)
    answer = parse_answer(output.decode("utf-8", "replace"), child.returncode)
    return Answer(answer.steps, f"no answer within {timeout:.0f} s", late=True) if late else answer


class _Script:
    """A script from before its start on: whenever it is ended, no process is left.

    A signal's handler raises in the main thread between any two steps, so also where a child is there and nobody knows its
    number yet; the child is therefore started and noted in a thread, which no handler reaches. A bare one: what `threading`
    does around it breaks where a handler raises. Nobody waits for a bare thread when Python ends, so `end` does.
    """

    def __init__(self, command: list[str], environment: Mapping[str, str], cwd: Path, errors: int | None,
                 quick: bool) -> None:
        self.child: subprocess.Popen[bytes] | None = None
        self.refusal: Exception | str = "interrupted"
        self._over = getattr(_thread, "over", None) or threading.Event()
        self._ended = False
        self._started, self._done, self._noted = False, False, native.allocate_lock()
        self._noted.acquire()
        self._what = command, environment, cwd, errors, quick

    def start(self) -> subprocess.Popen[bytes] | None:
        """The child; None where there is none, `refusal` says why then."""
        self._started = True
        native.start_new_thread(self._start, self._what)
        self._noted.acquire()
        self._noted.release()  # for whoever ends it meanwhile
        return self.child

    def _start(self, command: list[str], environment: Mapping[str, str], cwd: Path, errors: int | None, quick: bool) -> None:
        try:
            if not (self._ended or self._over.is_set()):
                start: Callable[..., subprocess.Popen[bytes]] = start_alone if quick else start_guarded
                self.child = start(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=errors)
        except (OSError, ValueError) as error:
            self.refusal = error
        finally:
            self._done = True
            self._noted.release()

    def end(self) -> None:
        """Kills the child, or keeps it from starting."""
        self._ended = True
        if self._started and not self._done and self._noted.acquire(timeout=_LONGEST_START):
            self._noted.release()
        if self.child:
            kill_group(self.child)


def _listen(child: subprocess.Popen[bytes], timeout: float) -> tuple[bytes, bool]:
    """All that the child says, and whether it had to be killed for being late."""
    try:
        return child.communicate(timeout=timeout)[0], False
    except subprocess.TimeoutExpired:
        kill_group(child)
        return child.communicate()[0], True


def start_until(over: threading.Event) -> None:
    """This thread starts scripts only until `over` is set. For a pool, whose threads no exception reaches."""
    _thread.over = over


@contextlib.contextmanager
def ending_scripts(over: threading.Event) -> Iterator[None]:
    """Where this is left by an error or by Ctrl-C, every script that runs is killed, and the threads that start until `over`
    start no more."""
    try:
        yield
    except BaseException:
        over.set()
        for script in tuple(_running):
            script.end()
        raise


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
        os.killpg(child.pid, signal.SIGKILL)


def only_step(answer: Answer, who: str) -> dict[str, Any] | Unknown:
    """The one object of a script that answers once; Unknown(why) where there is none."""
    return answer.steps[-1] if answer.steps else Unknown(f"{who}: {answer.failure or 'it printed no answer'}")
