"""A training to be run and ended: python fake_training.py DEED... ; each deed is done in turn.

It tells of its processes by empty files in the current folder, named after the deed and the process id.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

STUBBORN = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def tell(name: str) -> None:
    Path(f"{name}.{os.getpid()}").touch()


def ignore() -> None:
    for number in STUBBORN:
        signal.signal(number, signal.SIG_IGN)


def sleep(name: str) -> None:
    tell(name)
    time.sleep(120)


def fork(name: str, *, stubborn: bool = False, session: bool = False, orphan: bool = False, bare: bool = False) -> None:
    """A child that sleeps: ignoring signals, in a session of its own, without its parent, without its environment."""
    pid = os.fork()
    if pid:
        if orphan:
            os.waitpid(pid, 0)
        return
    if session:
        os.setsid()
    if orphan and os.fork():
        os._exit(0)
    if stubborn:
        ignore()
    if bare:
        code = "import pathlib,os,time; pathlib.Path(f'bare.{os.getpid()}').touch(); time.sleep(120)"
        os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", code], {})
    sleep(name)


def obey(number: int, code: int) -> None:
    """Ends with `code` when the signal comes, and tells that it came."""

    def heard(*_: object) -> None:
        tell(f"heard{number}")
        os._exit(code)

    signal.signal(number, heard)


def flood(size: int) -> None:
    line = b"0123456789" * 6 + b"abc\n"
    data = line * (size // len(line))
    stream = sys.stdout.fileno()
    while data:
        data = data[os.write(stream, data[: 1 << 20]):]


def do(deed: str) -> None:  # noqa: C901, PLR0912
    name, _, value = deed.partition("=")
    if name == "sleep":
        sleep("sleep")
    elif name == "wait":
        time.sleep(float(value))
    elif name == "ignore":
        ignore()
    elif name == "worker":
        fork("worker")
    elif name == "stubborn-worker":
        fork("worker", stubborn=True, session=True)
    elif name == "daemon":
        fork("daemon", stubborn=True, session=True, orphan=True)
    elif name == "bare-daemon":
        fork("bare", stubborn=True, session=True, orphan=True, bare=True)
    elif name == "obey":
        number, code = value.split(",")
        obey(int(number), int(code))
    elif name == "kill":
        os.kill(os.getpid(), int(value))
    elif name == "out":
        sys.stdout.write(value)
        sys.stdout.flush()
    elif name == "err":
        sys.stderr.write(value)
        sys.stderr.flush()
    elif name == "flood":
        flood(int(value))
    elif name == "tick":
        while True:
            print("tick", flush=True)
            time.sleep(0.02)
    elif name == "where":
        print(os.getpid(), os.getpgrp(), os.getcwd(), sys.stdin.read() == "", os.environ["SWIFT_FA_RUN_ID"])
    elif name == "exit":
        os._exit(int(value))


for deed in sys.argv[1:]:
    do(deed)
