"""The process between the launcher and the training: nothing of the training outlives it or the launcher.

Run as `python -I -S keeper.py FD`, with the standard library alone, by the interpreter of the launcher. FD is a socket
whose other end only the launcher holds, so that its end of file means that the launcher is gone, however it went. The
keeper has a session of its own (a Ctrl-C reaches the launcher alone, which passes it on) and is a subreaper: on Linux a
process of the training that loses its parent becomes a child of the keeper, whatever session or group it moved to. So
"no child left" means that nothing is left, and a signal can reach every descendant.

Messages are marshalled tuples behind their length in four bytes. From the launcher: first `(command, env, cwd, grace)`,
then `("pass", N)`, `("kill",)`, `("pause",)`, `("resume",)`. To the launcher: `("started", pid)` or
`("failed", step, errno, why)`; `("asked", N)` when the keeper itself was signalled; `("ended", wait status)`; and last
`("bye", pids)` with what could not be ended.

Only few modules are imported: each costs milliseconds before every training.
"""

from __future__ import annotations

import marshal
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing would take as long as the rest
    from collections.abc import Callable
    from typing import Any

    Message = tuple[Any, ...]

PATIENCE = 1.0  # seconds in which what an ended training leaves may end by itself
SHORT_GRACE = 5.0  # seconds at most between TERM and KILL for it
GIVE_UP = 30.0  # seconds of killing after which a process counts as unkillable (stuck in a driver, another user's)

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def set_subreaper(on: bool) -> None:
    """Makes this process the parent of its descendants' orphans, or no longer; does nothing where that is unknown."""
    _prctl(_PR_SET_CHILD_SUBREAPER, int(on))


def die_with_parent() -> None:
    """The kernel sends TERM to this process when the one that started it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def descendants(root: int, spare: frozenset[int] = frozenset()) -> dict[int, int]:
    """Process id to process group of all that descend from `root`, zombies too; without `spare` and all below it."""
    parents = parents_and_groups()
    found: dict[int, int] = {}
    new = {root}
    while new:
        new = {pid for pid, (parent, _) in parents.items() if parent in new and pid not in found and pid not in spare}
        found.update((pid, parents[pid][1]) for pid in new)
    return found


def parents_and_groups() -> dict[int, tuple[int, int]]:
    """Process id to (parent, group) of every process of the machine."""
    if not os.path.exists("/proc/self/stat"):
        rows = os.popen("ps -A -o pid=,ppid=,pgid=").read().splitlines()
        return {pid: (parent, group) for pid, parent, group in (map(int, row.split()) for row in rows)}
    found = {}
    try:
        names = os.listdir("/proc")
    except OSError:  # what cannot be looked at is not ended
        names = []
    for name in names:
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()  # a command name may hold spaces and brackets
            except OSError:
                continue  # ended meanwhile
            found[int(name)] = (int(fields[1]), int(fields[2]))
    return found


def signal_all(found: dict[int, int], number: int) -> None:
    """Sends a signal to each of `found` (process id to group) once: by group, which misses no child that is being
    forked, where the group is theirs alone."""
    own = os.getpgrp()
    groups = {group for group in found.values() if group != own and group in found}
    for group in groups:
        _send(os.killpg, group, number)
    for pid, group in found.items():
        if group not in groups:
            _send(os.kill, pid, number)


def ask_all(found: dict[int, int], number: int) -> None:
    """Sends a signal that asks to end; a stopped process must go on to hear it."""
    signal_all(found, number)
    signal_all(found, signal.SIGCONT)


def _send(call: Callable[[int, int], None], pid: int, number: int) -> None:
    try:  # not contextlib's suppress: it takes time to import
        call(pid, number)
    except (ProcessLookupError, PermissionError):
        return  # gone, or another user's


def encode_message(message: Message) -> bytes:
    """The message as it travels."""
    data = marshal.dumps(message)
    return len(data).to_bytes(4, "big") + data


def decode_messages(data: bytearray) -> list[Message]:
    """The complete messages at the start of `data`, which are taken out of it."""
    messages = []
    while len(data) >= 4 and len(data) >= (end := 4 + int.from_bytes(data[:4], "big")):
        messages.append(marshal.loads(data[4:end]))
        del data[:end]
    return messages


class _StartFailed(Exception):
    """(step, errno, why): the training could not be started."""


def _start(command: list[str], env: dict[str, str], cwd: str) -> int:
    """Starts the training in a process group of its own and returns its process id, which is the group's too.

    Signals wait from before the fork until just before the exec, so that none is lost between the two. The kernel
    sends TERM to the training should the keeper be killed.
    """
    keeper = os.getpid()
    report_in, report_out = os.pipe()
    waiting = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
    except OSError as error:
        raise _StartFailed("fork", error.errno, error.strerror) from error
    if pid == 0:
        step = "start"
        try:
            os.setpgid(0, 0)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, signal.SIG_DFL)
            for number in (signal.SIGPIPE, signal.SIGXFSZ):  # ignored by every Python, and not meant for its children
                signal.signal(number, signal.SIG_DFL)
            die_with_parent()
            if os.getppid() != keeper:
                os._exit(1)
            step = "chdir"
            os.chdir(cwd)
            step = "exec"
            signal.pthread_sigmask(signal.SIG_SETMASK, waiting)
            os.execvpe(command[0], command, env)
        except OSError as error:
            os.write(report_out, marshal.dumps((step, error.errno, error.strerror)))
        except BaseException as error:
            os.write(report_out, marshal.dumps((step, 0, str(error))))
        finally:
            os._exit(127)
    signal.pthread_sigmask(signal.SIG_SETMASK, waiting)
    os.close(report_out)
    report = os.read(report_in, 4096)
    os.close(report_in)
    if report:
        os.waitpid(pid, 0)
        raise _StartFailed(*marshal.loads(report))
    return pid


class _Keeper:
    """One training from its start to the end of its last descendant."""

    def __init__(self, channel: int) -> None:
        self.inlet = channel
        self.outlet: int | None = channel  # None once the launcher is gone
        self.inbox = bytearray()
        self.messages: list[Message] = []
        self.training = 0
        self.noticed: list[int] = []  # signals to the keeper itself
        self.asked: set[int] = set()
        self.grace = 0.0
        self.ask_at: float | None = None  # when what an ended training left is asked to end
        self.kill_at: float | None = None
        self.pause = 0.05  # seconds between two rounds of killing
        self.give_up_at: float | None = None

    def run(self) -> None:
        wake_in, wake_out = os.pipe()
        os.set_blocking(wake_in, False)
        os.set_blocking(wake_out, False)
        signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda number, _: self.noticed.append(number))
        while not self.messages:
            if not self.receive():
                return  # the launcher went before anything was started
        command, env, cwd, self.grace = self.messages.pop(0)
        try:
            self.training = _start(command, env, cwd)
        except _StartFailed as failure:
            self.tell("failed", *failure.args)
            return
        self.tell("started", self.training)
        poll = select.poll()
        poll.register(wake_in, select.POLLIN)
        poll.register(self.inlet, select.POLLIN)
        while self.reap() and not self.gave_up():
            self.obey()
            self.keep_time()
            deadlines = [at for at in (self.ask_at, self.kill_at) if at is not None]
            timeout = max(0.0, min(deadlines) - time.monotonic()) * 1000 + 1 if deadlines else None
            for fd, _ in poll.poll(timeout):
                if fd == wake_in:
                    os.read(wake_in, 4096)
                elif not self.receive():
                    poll.unregister(fd)
                    self.outlet = None
                    self.ask(signal.SIGTERM)
        self.tell("bye", sorted(descendants(os.getpid())))

    def receive(self) -> bool:
        """Takes in what the launcher sent; False when it is gone."""
        try:
            data = os.read(self.inlet, 1 << 20)
        except ConnectionError:
            data = b""
        self.inbox += data
        self.messages += decode_messages(self.inbox)
        return bool(data)

    def obey(self) -> None:
        """Does what the launcher said."""
        while self.messages:
            kind, *values = self.messages.pop(0)
            if kind == "pass":
                self.ask(values[0])
            elif kind == "kill":
                self.kill_at = time.monotonic()
            else:
                signal_all(descendants(os.getpid()), signal.SIGSTOP if kind == "pause" else signal.SIGCONT)

    def tell(self, *message: object) -> None:
        if self.outlet is not None:
            try:
                os.write(self.outlet, encode_message(message))
            except OSError:
                self.outlet = None

    def ask(self, number: int) -> None:
        """Passes a signal on, once, and sets the time for killing."""
        if number in self.asked:
            return
        self.asked.add(number)
        ask_all(descendants(os.getpid()), number)
        if self.kill_at is None:
            self.kill_at = time.monotonic() + self.grace

    def reap(self) -> bool:
        """Collects the ended children; False when none is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.training:
                self.tell("ended", status)
                if self.kill_at is None:
                    self.ask_at = time.monotonic() + PATIENCE

    def keep_time(self) -> None:
        """Does what is due."""
        while self.noticed:  # by a batch system that signals every process of a job, or by `end_run`
            self.tell("asked", self.noticed[0])
            self.ask(self.noticed.pop(0))
        now = time.monotonic()
        if self.ask_at is not None and now >= self.ask_at:
            self.ask_at = None
            self.ask(signal.SIGTERM)
            self.kill_at = min(self.kill_at or now, now + SHORT_GRACE)
        if self.kill_at is not None and now >= self.kill_at:
            signal_all(descendants(os.getpid()), signal.SIGKILL)
            self.give_up_at = self.give_up_at or now + GIVE_UP
            self.kill_at = now + self.pause
            self.pause = min(2 * self.pause, 1.0)

    def gave_up(self) -> bool:
        return self.give_up_at is not None and time.monotonic() >= self.give_up_at


def main() -> None:
    channel = int(sys.argv[1])
    os.set_inheritable(channel, False)
    set_subreaper(True)
    _Keeper(channel).run()
    os._exit(0)  # nothing to clean up, and the launcher waits


if __name__ == "__main__":
    main()
