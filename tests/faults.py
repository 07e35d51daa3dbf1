"""Runs a command of the launcher and lets one of its calls to the system fail: at every place, one at a time.

    python tests/faults.py [--error EIO] WORD...     the exit code for each place, in the current folder

A place is the innermost line of the package from which a call went out. The command runs in a forked child each time, so that the
package is imported once. Modules that Python itself imports are left alone: it asks for their files in its own way.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import swift_fa_launcher

HERE = str(Path(swift_fa_launcher.__file__).parent) + os.sep
CALLS = ("open", "stat", "lstat", "scandir", "listdir", "getcwd", "mkdir", "rename", "replace", "unlink", "remove", "rmdir",
         "readlink", "statvfs", "fsync", "symlink", "link", "utime", "chmod")


class Place(NamedTuple):
    """Where a call goes out: the module's path within the package, the line, the call."""

    module: str
    line: int
    call: str


class Ended(NamedTuple):
    """How a command ended, and what it said on both outputs."""

    code: int
    said: str


def place_of(call: str) -> Place | None:
    """The innermost line of the package that the call comes from; None where it comes from elsewhere."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib"):
            return None
        if name.startswith(HERE):
            return Place(name[len(HERE):], frame.f_lineno, call)
        frame = frame.f_back  # type: ignore[assignment]
    return None


@contextmanager
def watched(hear: Callable[[Place], None]) -> Iterator[None]:
    """Each call's place is told to `hear` before the call is made; what it raises is what the call raises."""
    owners = [(os, name) for name in CALLS] + [(builtins, "open"), (io, "open")]
    plain = [(owner, name, getattr(owner, name)) for owner, name in owners]

    def heard(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def asked(*words: Any, **options: Any) -> Any:
            if not (words and isinstance(words[0], int)):  # a file that is open already
                place = place_of(name)
                if place is not None:
                    hear(place)
            return call(*words, **options)
        return asked
    for owner, name, call in plain:
        setattr(owner, name, heard(name, call))
    popen = subprocess.Popen._execute_child  # type: ignore[attr-defined]

    def started(*words: Any, **options: Any) -> Any:
        place = place_of("start")
        if place is not None:
            hear(place)
        return popen(*words, **options)
    subprocess.Popen._execute_child = started  # type: ignore[attr-defined]
    try:
        yield
    finally:
        subprocess.Popen._execute_child = popen  # type: ignore[attr-defined]
        for owner, name, call in plain:
            setattr(owner, name, call)


def run(words: Sequence[str], hear: Callable[[Place], None]) -> Ended:
    """The command in a forked child; its calls are told to `hear` there."""
    with tempfile.TemporaryFile() as screen:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            os.dup2(screen.fileno(), 1)
            os.dup2(screen.fileno(), 2)
            sys.stdout, sys.stderr = (open(n, "w", encoding="utf-8", closefd=False) for n in (1, 2))  # noqa: SIM115
            code = 99
            try:
                from swift_fa_launcher.cli import main

                with watched(hear):
                    code = main(words)
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        screen.seek(0)
        return Ended(os.waitstatus_to_exitcode(status), screen.read().decode("utf-8", "replace"))


def places(words: Sequence[str]) -> list[Place]:
    """Every place that the command passes, in the order of its first call."""
    with tempfile.NamedTemporaryFile("r+") as notes:
        plain = os.open(notes.name, os.O_WRONLY | os.O_APPEND)

        def note(place: Place) -> None:
            os.write(plain, f"{place.module}\t{place.line}\t{place.call}\n".encode())
        run(words, note)
        os.close(plain)
        seen = dict.fromkeys(notes.read().splitlines())
    return [Place(module, int(line), call) for module, line, call in (one.split("\t") for one in seen)]


def with_fault(words: Sequence[str], at: Place, number: int = errno.EIO) -> Ended:
    """The command, each call at the place refused with the error of this number."""
    def refuse(place: Place) -> None:
        if place == at:
            raise OSError(number, os.strerror(number), "/refused/here")
    return run(words, refuse)


def main() -> None:
    words, number = sys.argv[1:], errno.EIO
    if words[:1] == ["--error"]:
        number, words = getattr(errno, words[1]), words[2:]
    for place in places(words):
        ended = with_fault(words, place, number)
        print(ended.code, f"{place.module}:{place.line}", place.call, (ended.said.strip().splitlines() or [""])[-1][:100]
              if ended.code not in (0, 1) else "", flush=True)


if __name__ == "__main__":
    main()
