"""A child that does not outlive the launcher, also where that is killed with SIGKILL.

Run by path it is the guard: it starts a command in its own process group, ends as that ends, and kills the group when the other
end of its socket is closed, which the kernel does for the dead. Standard library only; 15 ms.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any


def start_guarded(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """`subprocess.Popen(command, **options)` in a session of its own, which ends with this process. Raises OSError.

    A command that cannot be started ends with 127, and says why on standard error.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        child = subprocess.Popen([sys.executable, "-I", "-S", __file__, str(theirs.fileno()), *command],
                                 pass_fds=[theirs.fileno()], start_new_session=True, **options)
    child.guarded_by = ours  # type: ignore[attr-defined]  # open as long as the child is of interest
    return child


def start_alone(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """The same without a guard, for what ends by itself in no time."""
    return subprocess.Popen(command, start_new_session=True, **options)


def _end_with(launcher: socket.socket) -> None:
    while launcher.recv(1):
        continue
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    launcher = socket.socket(fileno=int(sys.argv[1]))
    try:
        child = subprocess.Popen(sys.argv[2:])
    except OSError as error:
        print(error, file=sys.stderr)
        sys.exit(127)
    threading.Thread(target=_end_with, args=(launcher,), daemon=True).start()
    code = child.wait()
    if code < 0:  # ends by the same signal, but leaves no core of its own
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main()
