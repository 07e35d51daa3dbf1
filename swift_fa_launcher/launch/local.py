"""Runs the training on this machine: output passed through and logged, signals passed on, nothing left behind.

launcher -> keeper (`keeper.py`, a session of its own) -> training (a process group of its own). Whichever way it ends:

- the launcher is signalled: every process of the training is, and is killed after the grace period;
- the launcher is killed outright: the keeper sees its socket end and ends the training;
- the keeper is killed: the kernel sends TERM to the training, its orphans come to the launcher, which ends them;
- both are killed: the training gets TERM; what ignores it is found by `find_run_processes` and ended by `end_run`.
"""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

from swift_fa_launcher.decode import DecodeError, decode
from swift_fa_launcher.errors import LaunchError, Text, joined, refused_as
from swift_fa_launcher.files import read_group, text_of
from swift_fa_launcher.launch import keeper
from swift_fa_launcher.launch.output import Lines, Log, Redactor, Screen
from swift_fa_launcher.launch.processes import RUN_ID_VARIABLE, find_halted
from swift_fa_launcher.launch.stacks import keep_stacks
from swift_fa_launcher.launch.stall import TICK, Pulse, Silence, describe_halted, describe_stall, is_stalled, listen

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
#: Signals that end a process. ms-swift's parent returns 256-N for a trainer that one of them ended; 255 (HUP) is left
#: out, since programs return it for reasons of their own.
_FATAL = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGILL, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE,
                    signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM})  # fmt: skip

SECOND_CTRL_C = 0.5  # seconds; a wrapper such as `uv run` repeats the first Ctrl-C sooner than a person can
SCREEN_LIMIT = 1 << 18  # bytes that wait for a slow terminal before the training waits too
SCREEN_PATIENCE = 2.0  # seconds for a stuck terminal once an interrupted training has ended
ORPHAN_TICK = 0.05  # seconds; only after the keeper was killed


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    exit_code: the training's own; 128+N when signal N ended it or the launcher was told to end it by signal N.
    signal: that N. interrupted: the launcher was told to. ended_after_training: it had said that it was done but did
    not exit, and was ended; exit_code is 0 then. detail: what else is worth knowing. asked: the signal that the launcher was
    told to end it by, also where it went on to its end. stalled: it was ended because it made no progress.
    killed_for_memory: whether the kernel killed any process of this machine for want of memory meanwhile; None: not known.
    """

    exit_code: int
    signal: int | None
    started: datetime
    ended: datetime
    interrupted: bool = False
    ended_after_training: bool = False
    detail: Text | None = None
    asked: int | None = None
    stalled: bool = False
    killed_for_memory: bool | None = None


@dataclass(frozen=True)
class StallWatch:
    """pulse: the file that the training's plugin writes. stacks: where the stacks of a stalled one go. timeout: as
    `launch.stall_timeout`. say: gets what does not end the training yet."""

    pulse: Path
    stacks: Path
    timeout: float
    say: Callable[[Text], None] = lambda words: None


def run_training(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path, run_id: str, grace: float,
                 stdout: BinaryIO | None = None, stderr: BinaryIO | None = None, redact: Sequence[bytes] = (),
                 on_line: Callable[[bytes], None] = lambda line: None, finish_timeout: float | None = None,
                 ended_marker: Callable[[bytes], bool] = lambda line: False, stall: StallWatch | None = None) -> Outcome:
    """Runs `command` to its end, that of all its descendants included, and says how it went.

    env is complete; RUN_ID_VARIABLE and, where unset, PYTHONUNBUFFERED are added to it. The training reads /dev/null.
    Its output goes to stdout and stderr (ours by default) and to `log`, with the `redact` texts replaced. SIGINT,
    SIGTERM, SIGHUP and SIGQUIT are passed on, unless they were ignored, and KILL follows `grace` seconds later; a
    second Ctrl-C kills at once; Ctrl-Z stops the training too. on_line gets each line without its end. When `ended_marker`
    holds for a line and the training still runs `finish_timeout` seconds after the last such line, it is ended. A training that
    stalls is ended too, with `stall`. To be called from the main thread; elsewhere no signal is noticed.

    Raises LaunchError when the training cannot be started.
    """
    environment = {"PYTHONUNBUFFERED": "1", **env, RUN_ID_VARIABLE: run_id}
    training = _Training(grace, on_line, finish_timeout, ended_marker, stall)
    with ExitStack() as stack:
        training.signals = stack.enter_context(_Signals())
        with refused_as(LaunchError("log-not-written", where=str(log))):
            training.log = Log(log)
        stack.callback(training.log.close)
        keeper.set_subreaper(True)
        stack.callback(keeper.set_subreaper, False)
        for stream in (stdout or getattr(sys.stdout, "buffer", None), stderr or getattr(sys.stderr, "buffer", None)):
            training.streams.append(_Stream(Screen(stream), Redactor(redact)))
            stack.callback(training.streams[-1].close)
        stack.callback(training.abandon)
        training.start(run_id, (list(map(str, command)), environment, str(Path(cwd).absolute()), float(grace)))
        training.run()
        if training.failed is not None:
            raise _launch_error(training.failed, command, cwd)
    return training.outcome()


class _Signals:
    """Collects signals in `arrived` and wakes the loop by `wake`, from entering to leaving; ignored ones stay so."""

    def __enter__(self) -> _Signals:
        self.arrived: list[int] = []
        self.wake, self._wake_out = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(self._wake_out, False)
        self._previous: dict[int, Any] = {}
        self._previous_wake: int | None = None
        if threading.current_thread() is threading.main_thread():
            self._previous_wake = signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)
            for number in (*PASSED_ON, signal.SIGTSTP):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.arrived.append(number)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._previous_wake is not None:
            signal.set_wakeup_fd(self._previous_wake)
        os.close(self.wake)
        os.close(self._wake_out)

    def stop_here(self) -> None:
        """Stops this process as Ctrl-Z would have without us; returns when it is continued."""
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._note)


class _Stream:
    """One output of the training: the pipe it comes from and where it goes."""

    def __init__(self, screen: Screen, redactor: Redactor) -> None:
        self.screen, self.redactor, self.lines = screen, redactor, Lines()
        pipe, child_end = os.pipe()
        os.set_blocking(pipe, False)
        self.pipe, self.child_end = open(pipe, "rb", buffering=0), open(child_end, "wb", buffering=0)  # noqa: SIM115

    def close(self) -> None:
        self.pipe.close()
        self.child_end.close()
        self.screen.close()


class _Training:
    """One training from its start until nothing of it is left and all its output is written."""

    log: Log
    signals: _Signals
    process: subprocess.Popen[bytes]  # the keeper
    python: str  # the training's interpreter

    def __init__(self, grace: float, on_line: Callable[[bytes], None], finish_timeout: float | None,
                 ended_marker: Callable[[bytes], bool], stall: StallWatch | None = None) -> None:
        self.grace, self.on_line, self.finish_timeout, self.ended_marker = grace, on_line, finish_timeout, ended_marker
        self.stall, self.silence, self.stalled = stall, Silence(), False
        self.halted: dict[int, str] = {}  # processes that a signal has stopped, at the last look
        self.named_halted: dict[int, str] = {}  # those of them that were so at the look before, too
        self.pulse_at = time.monotonic() if stall else None  # when its pulse is looked at next
        self.memory_kills = _memory_kills()
        self.streams: list[_Stream] = []
        self.channel: socket.socket | None = None
        self.inbox = bytearray()
        self.spare: frozenset[int] = frozenset()  # children of ours that are none of the training's
        self.child: int | None = None  # the training's process and process group
        self.started: datetime | None = None
        self.failed: tuple[Any, ...] | None = None  # step, errno, why
        self.status: int | None = None
        self.ended: datetime | None = None
        self.asked: int | None = None  # the first signal that told us to end
        self.interrupt_at: float | None = None
        self.finish_at: float | None = None
        self.ended_after_training = False
        self.keeper_until: float | None = None  # when a keeper that does not answer is killed
        self.bye = False
        self.unkillable: tuple[int, ...] = ()
        self.orphans_kill_at: float | None = None
        self.orphans_give_up_at: float | None = None
        self.screens_until: float | None = None
        self.over = False  # no process is left
        self.notes: list[Text] = []
        self.watches = True

    # The story

    def start(self, run_id: str, message: tuple[Any, ...]) -> None:
        """Starts the keeper and tells it what to start. Raises LaunchError."""
        self.python = str(message[0][0])
        self.channel, other = socket.socketpair()
        try:
            with other:
                out, err = (stream.child_end for stream in self.streams)
                self.process = subprocess.Popen([sys.executable, "-I", "-S", keeper.__file__, str(other.fileno())],
                                                env={**os.environ, RUN_ID_VARIABLE: run_id}, stdin=subprocess.DEVNULL,
                                                stdout=out, stderr=err, pass_fds=[other.fileno()], start_new_session=True)
        except (OSError, ValueError) as error:
            self.channel.close()
            self.channel = None
            raise _launch_error(("keeper", 0, str(error)), (sys.executable,), Path()) from error
        for stream in self.streams:
            stream.child_end.close()
        with suppress(OSError):  # a keeper that went away is noticed by the end of its socket
            self.channel.sendall(keeper.encode_message(message))
        self.channel.setblocking(False)
        # Looked for while the keeper starts, so that it costs nothing.
        self.spare = frozenset(keeper.descendants(os.getpid(), frozenset({self.process.pid}))) | {self.process.pid}

    def run(self) -> None:
        """Until nothing is left of the training and all of its output is written."""
        while not (self.over and self.drain()):
            self.wait()
            while self.signals.arrived:
                self.take_signal(self.signals.arrived.pop(0))
            self.keep_time()

    def abandon(self) -> None:
        """Ends what an exception left running: closing the socket tells the keeper to."""
        if self.channel is not None:
            self.channel.close()
            for stream in self.streams:
                stream.pipe.close()
            self.process.wait()

    def outcome(self) -> Outcome:
        now = datetime.now(timezone.utc)
        code, number = make_exit_code(self.status, self.asked)
        if self.ended_after_training and self.asked is None:
            code, number = 0, None
        elif number == signal.SIGKILL and self.asked is None and self.bye and not self.stalled:
            kills = _changed(self.memory_kills, _memory_kills())
            reason = Text("often the kernel, out of memory", "通常是内核因内存不足所为") if kills is not False else \
                Text("the kernel killed nothing for want of memory", "内核没有因内存不足结束进程")
            self.note(f"ended by SIGKILL that did not come from the launcher: {reason.en}",
                      f"被并非来自启动器的 SIGKILL 结束：{reason.zh}")
        if self.stalled and code == 0:
            code = 1  # it heard the signal and ended as if all were well
        if self.asked is not None and code == 0:
            name = signal.Signals(self.asked).name
            self.note(f"{name} was passed on, and the training ended with 0", f"已转发 {name}，训练以 0 结束")
        if self.log.error is not None:
            why, lost = self.log.error.strerror, self.log.lost
            self.note(f"{lost} bytes of output are missing in the log: {why}", f"日志缺少 {lost} 字节输出：{why}")
        return Outcome(code, number, self.started or now, self.ended or now,
                       interrupted=self.asked is not None and code != 0, ended_after_training=self.ended_after_training,
                       detail=joined(self.notes) if self.notes else None, asked=self.asked, stalled=self.stalled,
                       killed_for_memory=_changed(self.memory_kills, _memory_kills()))

    def note(self, en: str, zh: str) -> None:
        self.notes.append(Text(en, zh))

    # What is waited for

    def wait(self) -> None:
        """Waits for output, the keeper, a signal, room on the screen, or the next time that something is due."""
        poll = select.poll()
        actions: dict[int, Callable[[], None]] = {self.signals.wake: self.clear_wake}
        poll.register(self.signals.wake, select.POLLIN)
        if self.channel is not None:
            actions[self.channel.fileno()] = self.listen
            poll.register(self.channel, select.POLLIN)
        for stream in self.streams:
            if not stream.pipe.closed and not self.holds_back(stream):
                actions[stream.pipe.fileno()] = partial(self.read, stream)
                poll.register(stream.pipe, select.POLLIN)
            if stream.screen.fd is not None and stream.screen.pending:
                actions[stream.screen.fd] = partial(stream.screen.write, b"")
                poll.register(stream.screen.fd, select.POLLOUT)
        for fd, _ in poll.poll(self.timeout()):
            actions[fd]()

    def timeout(self) -> float | None:
        """Milliseconds until something is due."""
        due = [at for at in (self.finish_at, self.keeper_until, self.screens_until, self.pulse_at) if at is not None]
        if self.orphans_kill_at is not None and not self.over:
            due.append(time.monotonic() + ORPHAN_TICK)
        return max(0.0, min(due) - time.monotonic()) * 1000 + 1 if due else None

    def clear_wake(self) -> None:
        with suppress(BlockingIOError):
            os.read(self.signals.wake, 4096)

    # Output

    def holds_back(self, stream: _Stream) -> bool:
        """Whether the training must wait for a slow screen, as it would without us; not while it is being ended."""
        return len(stream.screen.pending) >= SCREEN_LIMIT and self.asked is None

    def read(self, stream: _Stream) -> None:
        """Takes one piece of output; closes the pipe at its end, or when it is empty and nobody is left to fill it."""
        data = stream.pipe.read(1 << 16)  # None: it is empty
        if data:
            self.emit(stream, stream.redactor.feed(data))
        elif data is not None or self.over:
            self.emit(stream, stream.redactor.finish())
            stream.pipe.close()

    def drain(self) -> bool:
        """Takes what the ended training left in the pipes; True when all of it is written."""
        for stream in self.streams:
            while not stream.pipe.closed and not self.holds_back(stream):
                self.read(stream)
        return all(stream.pipe.closed and not stream.screen.pending for stream in self.streams)

    def emit(self, stream: _Stream, data: bytes) -> None:
        if not data:
            return
        self.log.write(data)
        stream.screen.write(data)
        for line in stream.lines.feed(data) if self.watches else ():
            self.look_at(line)

    def look_at(self, line: bytes) -> None:
        try:
            if self.finish_timeout is not None and self.ended_marker(line):
                self.finish_at = time.monotonic() + self.finish_timeout
            self.on_line(line)
        except Exception as error:  # a mistake of ours must not end days of training
            self.watches = False
            self.note(f"the output was no longer watched: {error!r}", f"已停止监视输出：{error!r}")

    # The keeper

    def send(self, *message: object) -> None:
        if self.channel is not None:
            with suppress(OSError):
                self.channel.send(keeper.encode_message(message))

    def listen(self) -> None:
        """Takes the keeper's messages; at the end of its socket it is gone."""
        assert self.channel is not None
        try:
            data = self.channel.recv(1 << 16)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        self.inbox += data
        for message in keeper.decode_messages(self.inbox):
            self.take_message(*message)
        if not data:
            self.keeper_gone()

    def take_message(self, kind: str, *values: Any) -> None:
        if kind == "started":
            self.child, self.started = values[0], datetime.now(timezone.utc)
        elif kind == "failed":
            self.failed, self.bye = values, True
        elif kind == "asked":
            self.asked = self.asked or values[0]
        elif kind == "ended":
            self.take_status(values[0])
        elif kind == "bye":
            self.bye, self.unkillable = True, tuple(values[0])

    def take_status(self, status: int) -> None:
        self.status, self.ended, self.finish_at, self.pulse_at = status, datetime.now(timezone.utc), None, None

    def keeper_gone(self) -> None:
        assert self.channel is not None
        self.channel.close()
        self.channel = self.keeper_until = None
        self.process.wait()
        if self.bye:
            self.end()
        else:
            self.note("the keeper process was killed", "守护进程被杀死")
            if self.started is None and self.asked is None:
                self.failed = ("keeper", 0, f"it ended with {self.process.returncode}")
            self.orphans_kill_at = time.monotonic() + self.grace
            keeper.ask_all(keeper.descendants(os.getpid(), self.spare), signal.SIGTERM)

    def end(self) -> None:
        """Nothing is left of the training but its output and, at worst, what cannot be killed."""
        self.over, self.finish_at = True, None
        if self.asked is not None:
            self.screens_until = time.monotonic() + SCREEN_PATIENCE
        if self.unkillable:
            pids = " ".join(map(str, self.unkillable))
            self.note(f"these processes could not be killed: {pids}", f"无法杀死以下进程：{pids}")

    # Signals and times

    def take_signal(self, number: int) -> None:
        now = time.monotonic()
        if number == signal.SIGTSTP:
            self.send("pause")
            self.signals.stop_here()
            self.send("resume")
            if self.finish_at is not None:
                self.finish_at += time.monotonic() - now
        elif self.over:
            self.drop_screens()
        elif number == signal.SIGINT and self.interrupt_at is not None:
            if now - self.interrupt_at >= SECOND_CTRL_C:
                self.send("kill")
                self.orphans_kill_at = self.orphans_kill_at and now
                self.keeper_until = now + keeper.GIVE_UP + 5.0
        else:
            self.interrupt_at = now if number == signal.SIGINT else self.interrupt_at
            self.asked = self.asked if self.status is not None else self.asked or number
            self.send("pass", number)
            self.keeper_until = self.keeper_until or now + self.grace + keeper.GIVE_UP + 5.0

    def drop_screens(self) -> None:
        self.screens_until = None
        for stream in self.streams:
            stream.screen.close()

    def keep_time(self) -> None:
        """Does what is due."""
        now = time.monotonic()
        if self.finish_at is not None and now >= self.finish_at:
            self.finish_at, self.ended_after_training = None, True
            self.send("pass", int(signal.SIGTERM))
            self.note("the training was done but did not exit, and was ended", "训练已完成但未退出，已将其结束")
        if self.pulse_at is not None and now >= self.pulse_at:
            self.look_for_stall(now)
        if self.keeper_until is not None and now >= self.keeper_until:
            self.keeper_until = None
            self.process.kill()
        if self.screens_until is not None and now >= self.screens_until:
            self.drop_screens()
        if self.orphans_kill_at is not None and not self.over:
            self.end_orphans(now)

    def look_for_stall(self, now: float) -> None:
        """Ends a training that makes no progress, once its stacks are kept."""
        assert self.stall is not None
        self.pulse_at = now + min(TICK, self.stall.timeout / 4)
        self.silence = listen(self.silence, _read_pulse(self.stall.pulse), now)
        children = keeper.descendants(self.process.pid)
        before, self.halted = self.halted, find_halted(children)
        lasting = {pid: rank for pid, rank in self.halted.items() if pid in before}  # others go on after our own Ctrl-Z
        new = {pid: rank for pid, rank in lasting.items() if pid not in self.named_halted}
        self.named_halted = lasting
        if new and self.asked is None:
            told = describe_halted(new)
            self.log.write(f"\n[swift-fa: {told.en}]\n".encode())
            self.stall.say(told)
        if self.asked is not None or not is_stalled(self.silence, self.stall.timeout):
            return
        self.stalled, self.pulse_at = True, None
        said = joined((describe_stall(self.silence), describe_halted(lasting)))
        count = keep_stacks(self.stall.stacks, children, self.python)
        self.log.write(f"\n[swift-fa: {said.en}; stacks of {count} processes: {self.stall.stacks}]\n".encode())
        self.notes.append(said)
        self.send("pass", int(signal.SIGTERM))
        self.keeper_until = self.keeper_until or time.monotonic() + self.grace + keeper.GIVE_UP + 5.0

    def end_orphans(self, now: float) -> None:
        """What the killed keeper left became ours: collects what ended, and kills what did not in time."""
        for pid in (found := keeper.descendants(os.getpid(), self.spare)):
            with suppress(ChildProcessError):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended and ended == self.child:
                    self.take_status(status)
        if self.orphans_kill_at is not None and now >= self.orphans_kill_at:
            keeper.signal_all(found, signal.SIGKILL)
            self.orphans_give_up_at = self.orphans_give_up_at or now + keeper.GIVE_UP
        if self.orphans_give_up_at is not None and now >= self.orphans_give_up_at:
            self.unkillable, found = tuple(sorted(found)), {}
        if not found:
            self.end()


def _read_pulse(file: Path) -> Pulse | None:
    with suppress(DecodeError):
        if told := read_group(file):
            return decode(Pulse, told)  # type: ignore[no-any-return]
    return None


def _memory_kills() -> int | None:
    """How many processes the kernel has killed for want of memory since it started; None where it does not say."""
    found = re.search(r"^oom_kill (\d+)$", text_of(Path("/proc/vmstat")), re.MULTILINE)
    return int(found[1]) if found else None


def _changed(before: int | None, now: int | None) -> bool | None:
    return None if before is None or now is None else before != now


def make_exit_code(status: int | None, asked: int | None) -> tuple[int, int | None]:
    """The launcher's exit code and the signal in it, of the training's wait status (None: not known) and of the signal
    that the launcher was told to end it by."""
    code = 1 if status is None else os.waitstatus_to_exitcode(status)
    if asked is not None and code != 0:
        return 128 + asked, asked
    if code < 0:
        return 128 - code, -code
    return (128 + 256 - code, 256 - code) if 256 - code in _FATAL else (code, None)


def _launch_error(failed: tuple[Any, ...], command: Sequence[str], cwd: Path) -> LaunchError:
    step, number, why = failed
    where, message = command[0], Text("the training could not be started", "无法启动训练")
    hint: tuple[Text, ...] = ()
    if step == "keeper":
        message, where = Text("the process that guards the training could not be started", "无法启动守护进程"), sys.executable
    elif step == "chdir":
        where, hint = str(cwd), (Text("start it from a folder that exists", "请在存在的目录中启动"),)
    elif number == errno.E2BIG:
        hint = (Text("the arguments or the environment are too long: put long values into files",
                     "参数或环境变量过长：请将长内容放入文件"),)  # fmt: skip
    elif step == "exec":
        hint = (Text("check launch.python: it must be a Python interpreter of this machine that you may execute",
                     "请检查 launch.python：它必须是本机可执行的 Python 解释器"),)  # fmt: skip
    elif number == errno.EAGAIN:
        hint = (Text("the limit on processes is reached; see it with: ulimit -u",
                     "已达到进程数上限；查看上限：ulimit -u"),)
    return LaunchError("launch-failed", message, where=where, why=why, hint=hint)
