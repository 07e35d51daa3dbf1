"""Real processes, real signals, a real pseudo-terminal. Every test ends by looking for what is left of its run."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from swift_fa_launcher.launch import keeper
from swift_fa_launcher.launch.local import make_exit_code
from swift_fa_launcher.launch.output import Lines, Redactor
from swift_fa_launcher.launch.processes import RUN_ID_VARIABLE, end_run, find_run_processes, find_running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is promised about leftovers needs Linux")

HERE = Path(__file__).parent
GRACE = 0.6


def wait_for(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)
    return value


def marked_processes(run_id: str) -> list[int]:
    """Looked for without the launcher's own code."""
    mark, found = f"\0{RUN_ID_VARIABLE}={run_id}\0".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in b"\0" + (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return [pid for pid in found if alive(pid)]


def state(pid: int) -> str:
    """R, S, T, Z and so on, as /proc says it; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def alive(pid: int) -> bool:
    return state(pid) not in ("", "Z")


class Launch:
    """A launcher process that runs a fake training in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run_id = folder, f"test-{uuid.uuid4().hex}"
        self.process: subprocess.Popen[bytes]

    def start(self, *deeds: str, stdout: Any = subprocess.PIPE, stderr: Any = subprocess.PIPE, stdin: Any = None,
              prefix: Sequence[str] = (), before: Callable[[], None] | None = None, **spec: Any) -> Launch:  # fmt: skip
        spec = {"command": [sys.executable, str(HERE / "fake_training.py"), *deeds], "folder": str(self.folder),
                "run_id": self.run_id, "grace": GRACE, **spec}  # fmt: skip
        (self.folder / "spec").write_text(json.dumps(spec))
        command = [*prefix, sys.executable, str(HERE / "start_training.py"), str(self.folder / "spec")]
        self.process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, cwd=self.folder,
                                        preexec_fn=before)  # noqa: PLW1509  # fmt: skip
        return self

    def finish(self, seconds: float = 20.0) -> dict[str, Any]:
        """The outcome, once the launcher ended."""
        self.output, self.errors = self.process.communicate(timeout=seconds)
        assert (self.folder / "outcome").exists(), self.errors
        outcome: dict[str, Any] = json.loads((self.folder / "outcome").read_text())
        assert self.process.returncode == outcome["exit_code"]
        return outcome

    def pid_of(self, name: str) -> int:
        """The process that told of itself by this name, once it did."""
        return int(wait_for(lambda: next(self.folder.glob(f"{name}.[0-9]*"), None)).suffix[1:])

    @property
    def keeper(self) -> int:
        return int(wait_for(lambda: [p.pid for p in find_run_processes(self.run_id) if p.keeper])[0])

    @property
    def log(self) -> bytes:
        return (self.folder / "log").read_bytes()

    def is_gone(self) -> bool:
        told = [int(path.suffix[1:]) for path in self.folder.glob("*.[0-9]*")]
        return not marked_processes(self.run_id) and not any(map(alive, told))


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    launched = Launch(tmp_path)
    yield launched
    try:
        wait_for(launched.is_gone, 10.0)
        assert find_run_processes(launched.run_id) == ()
    finally:
        for pid in marked_processes(launched.run_id):
            os.kill(pid, signal.SIGKILL)
        launched.process.kill()
        launched.process.communicate()


# Output


def test_output_goes_to_both_streams_and_to_the_log(launch: Launch) -> None:
    outcome = launch.start("out=one\n", "wait=0.1", "err=two\n", "wait=0.1", "out=three", "exit=0").finish()
    assert (launch.output, launch.errors, launch.log) == (b"one\nthree", b"two\n", b"one\ntwo\nthree")
    assert outcome["exit_code"] == 0
    assert outcome["detail"] is None
    assert outcome["started"] <= outcome["ended"]


def test_a_partial_line_is_shown_at_once(launch: Launch) -> None:
    launch.start("out=\r 10%", "sleep")
    assert launch.process.stdout is not None
    assert os.read(launch.process.stdout.fileno(), 100) == b"\r 10%"
    launch.process.terminate()
    launch.finish()


def test_the_training_has_its_own_group_the_given_folder_no_input_and_the_mark(launch: Launch, tmp_path: Path) -> None:
    launch.start("where", cwd=str(tmp_path)).finish()
    pid, group, *rest = launch.output.decode().split()
    assert pid == group
    assert rest == [str(tmp_path), "True", launch.run_id]


def test_a_flood_arrives_whole(launch: Launch) -> None:
    launch.start("flood=50000000", "exit=0", stdout=subprocess.DEVNULL).finish()
    line = b"0123456789" * 6 + b"abc\n"
    assert launch.log == line * (50_000_000 // len(line))


def test_a_flood_into_a_slow_pipe_arrives_whole(launch: Launch) -> None:
    launch.start("flood=3000000", "exit=0")
    time.sleep(0.5)
    launch.finish()
    assert len(launch.output) == 3_000_000 - 3_000_000 % 64
    assert launch.output == launch.log


def test_a_closed_pipe_does_not_stop_the_training(launch: Launch) -> None:
    launch.start("out=one\n", "wait=0.3", "out=two\n", "wait=0.1", "out=three\n", "exit=0")
    assert launch.process.stdout is not None
    launch.process.stdout.close()
    launch.process.stdout = None
    assert launch.finish()["exit_code"] == 0
    assert launch.log == b"one\ntwo\nthree\n"


def test_a_reader_that_does_not_read_cannot_keep_the_training_from_ending(launch: Launch) -> None:
    launch.start("flood=3000000", "sleep")
    wait_for(lambda: (launch.folder / "log").exists() and len(launch.log) > 100_000)
    time.sleep(0.2)
    launch.process.terminate()
    launch.process.wait(GRACE + 5)
    assert launch.process.returncode == 143


def test_a_full_disk_does_not_stop_the_training(launch: Launch) -> None:
    outcome = launch.start("out=one\n", "exit=3", log="/dev/full").finish()
    assert launch.output == b"one\n"
    assert outcome["exit_code"] == 3
    assert outcome["detail"] == f"4 bytes of output are missing in the log: {os.strerror(errno.ENOSPC)}"


def test_secrets_reach_neither_screen_nor_log(launch: Launch) -> None:
    launch.start("out=key hunter2 and hun", "wait=0.2", "out=ter2\n", "err=hunter2", "out=hunter", redact=["hunter2"])
    launch.finish()
    assert launch.output == b"key <redacted> and <redacted>\nhunter"
    assert launch.errors == b"<redacted>"
    assert b"hunter2" not in launch.log


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_redactor_finds_secrets_however_the_stream_is_cut(size: int) -> None:
    redactor = Redactor([b"abc", b"abcdef", b"cdx", b"", b"aab"])
    text = b"abcabcdefabcd xcdxaabcaaab abcde"
    done = b"".join(redactor.feed(text[i: i + size]) for i in range(0, len(text), size)) + redactor.finish()
    r = b"<redacted>"
    assert done == r + r + r + b"d x" + r + r + b"ca" + r + b" " + r + b"de"


def test_redactor_holds_nothing_back_without_need() -> None:
    assert Redactor([b"secret"]).feed(b"\r 10%") == b"\r 10%"


def test_lines_end_at_carriage_returns_too() -> None:
    lines = Lines()
    assert lines.feed(b"a\r b\n\nc") == [b"a", b" b"]
    assert lines.feed(b"d\n") == [b"cd"]


# Exit codes


@pytest.mark.parametrize(("deed", "code", "number"), [
    ("exit=0", 0, None), ("exit=7", 7, None), ("exit=255", 255, None), ("kill=9", 137, 9), ("kill=15", 143, 15),
    ("exit=241", 143, 15), ("exit=247", 137, 9), ("exit=254", 130, 2),
])  # fmt: skip
def test_exit_code(launch: Launch, deed: str, code: int, number: int | None) -> None:
    outcome = launch.start(deed).finish()
    assert (outcome["exit_code"], outcome["signal"], outcome["interrupted"]) == (code, number, False)


def test_exit_code_once_told_to_end() -> None:
    assert make_exit_code(1 << 8, 2) == (130, 2)
    assert make_exit_code(255 << 8, 1) == (129, 1)
    assert make_exit_code(9, 15) == (143, 15)
    assert make_exit_code(0, 15) == (0, None)
    assert make_exit_code(None, None) == (1, None)


def test_a_kill_by_nobody_known_is_remarked(launch: Launch) -> None:
    detail = launch.start("kill=9").finish()["detail"]
    assert "SIGKILL that did not come from the launcher" in detail and ("out of memory" in detail or "want of memory" in detail)


@pytest.mark.parametrize(("spec", "where", "why"), [
    ({"command": ["/nowhere/python", "x"]}, "/nowhere/python", errno.ENOENT),
    ({"command": ["/etc/passwd"]}, "/etc/passwd", errno.EACCES),
    ({"command": [sys.executable, "-c", "x" * 200_000]}, sys.executable, errno.E2BIG),
    ({"cwd": "/nowhere"}, "/nowhere", errno.ENOENT),
    ({"log": "/nowhere/log"}, "/nowhere/log", errno.ENOENT),
])  # fmt: skip
def test_what_cannot_be_started(launch: Launch, spec: dict[str, Any], where: str, why: int) -> None:
    launch.start(**spec)
    launch.process.communicate(timeout=10)
    assert launch.process.returncode == 1
    error = json.loads((launch.folder / "error").read_text())
    assert (error["where"], error["why"]) == (where, os.strerror(why))
    assert not (launch.folder / "outcome").exists()


# Signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_reaches_the_training(launch: Launch, number: int, code: int) -> None:
    launch.start(f"obey={number},5", "sleep")
    launch.pid_of("sleep")
    launch.process.send_signal(number)
    outcome = launch.finish()
    assert (outcome["exit_code"], outcome["signal"], outcome["interrupted"]) == (code, number, True)
    launch.pid_of(f"heard{number}")


def test_a_training_that_ends_well_on_a_signal_is_a_success(launch: Launch) -> None:
    launch.start("obey=15,0", "sleep")
    launch.pid_of("sleep")
    launch.process.terminate()
    outcome = launch.finish()
    assert (outcome["exit_code"], outcome["interrupted"]) == (0, False)
    assert outcome["detail"] == "SIGTERM was passed on, and the training ended with 0"


def test_a_signal_at_the_very_start_is_not_lost(launch: Launch) -> None:
    launch.start("sleep")
    wait_for((launch.folder / "log").exists)  # made just before the keeper is started
    launch.process.terminate()
    assert launch.finish()["exit_code"] == 143


def test_all_who_ignore_signals_are_killed_after_the_grace_period(launch: Launch) -> None:
    launch.start("stubborn-worker", "daemon", "bare-daemon", "ignore", "sleep")
    for name in ("worker", "daemon", "bare", "sleep"):
        launch.pid_of(name)
    begin = time.monotonic()
    launch.process.terminate()
    assert launch.finish()["exit_code"] == 143
    assert GRACE <= time.monotonic() - begin < GRACE + 10
    assert launch.is_gone()


def test_workers_with_sessions_of_their_own_hear_the_signal(launch: Launch) -> None:
    code = "import os,sys; os.setsid(); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    worker = [sys.executable, "-c", code, str(HERE / "fake_training.py"), "obey=15,0", "sleep"]
    main = f"import subprocess; subprocess.Popen({worker!r}).wait()"
    launch.start(command=[sys.executable, "-c", main])
    launch.pid_of("sleep")
    launch.process.terminate()
    launch.finish()
    launch.pid_of("heard15")


def test_a_second_ctrl_c_kills_at_once_but_not_a_repeated_first(launch: Launch) -> None:
    launch.start("ignore", "daemon", "sleep", grace=30.0)
    launch.pid_of("sleep")
    launch.process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    launch.process.send_signal(signal.SIGINT)
    time.sleep(0.6)
    assert launch.process.poll() is None
    launch.process.send_signal(signal.SIGINT)
    assert launch.finish(3.0)["exit_code"] == 130
    assert launch.is_gone()


def test_leftovers_of_an_ended_training_are_ended(launch: Launch) -> None:
    launch.start("worker", "bare-daemon", "exit=4", grace=0.3)
    launch.pid_of("bare")
    assert launch.finish()["exit_code"] == 4
    assert launch.is_gone()


def ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def ignore_hangup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@pytest.mark.parametrize(("before", "number"), [(ignore_interrupt, signal.SIGINT), (ignore_hangup, signal.SIGHUP)])
def test_a_signal_ignored_at_the_start_stays_ignored(
    launch: Launch, before: Callable[[], None], number: int
) -> None:
    launch.start("sleep", before=before)
    training = launch.pid_of("sleep")
    launch.process.send_signal(number)
    time.sleep(GRACE + 0.2)
    assert alive(training)
    launch.process.terminate()
    assert launch.finish()["exit_code"] == 143


def test_a_failure_of_the_caller_leaves_nothing(launch: Launch) -> None:
    launch.start("daemon", "ignore", "out=fail\n", "sleep", fail_at="fail")
    _, errors = launch.process.communicate(timeout=10)
    assert b"the record could not be written" in errors
    assert launch.is_gone()


# A training that is done and does not exit


def test_a_finished_training_that_hangs_is_ended(launch: Launch) -> None:
    outcome = launch.start("out=done\n", "ignore", "sleep", marker="done", finish_timeout=0.3).finish()
    assert (outcome["exit_code"], outcome["ended_after_training"], outcome["interrupted"]) == (0, True, False)


def test_a_finished_training_that_exits_keeps_its_code(launch: Launch) -> None:
    outcome = launch.start("out=done\n", "wait=0.1", "exit=6", marker="done", finish_timeout=5.0).finish()
    assert (outcome["exit_code"], outcome["ended_after_training"]) == (6, False)


# Killed outright


def test_the_training_ends_when_the_launcher_is_killed(launch: Launch) -> None:
    launch.start("stubborn-worker", "daemon", "bare-daemon", "ignore", "tick")
    launch.pid_of("bare")
    launch.pid_of("daemon")
    launch.process.kill()
    launch.process.communicate()
    wait_for(launch.is_gone, GRACE + 3)


def test_the_training_ends_when_the_keeper_is_killed(launch: Launch) -> None:
    launch.start("stubborn-worker", "daemon", "bare-daemon", "ignore", "out=here", "sleep")
    for name in ("worker", "daemon", "bare", "sleep"):
        launch.pid_of(name)
    os.kill(launch.keeper, signal.SIGKILL)
    outcome = launch.finish()
    assert (outcome["exit_code"], outcome["detail"]) == (137, "the keeper process was killed")
    assert launch.log == b"here"
    assert launch.is_gone()


def test_a_stopped_keeper_and_launcher_alike_leave_nothing(launch: Launch) -> None:
    launch.start("ignore", "sleep")
    launch.pid_of("sleep")
    os.kill(launch.keeper, signal.SIGSTOP)
    launch.process.kill()
    launch.process.communicate()
    os.kill(launch.keeper, signal.SIGCONT)
    wait_for(launch.is_gone, GRACE + 3)


def test_a_run_whose_keeper_and_launcher_were_killed_is_found_and_ended(launch: Launch) -> None:
    launch.start("daemon", "bare-daemon", "ignore", "sleep")
    pids = {launch.pid_of("sleep"), launch.pid_of("daemon")}
    keeper_pid = launch.keeper
    assert {p.pid for p in find_run_processes(launch.run_id)} >= {*pids, keeper_pid, launch.pid_of("bare")}
    assert [p.pid for p in find_run_processes(launch.run_id) if p.keeper] == [keeper_pid]
    launch.process.send_signal(signal.SIGSTOP)
    os.kill(keeper_pid, signal.SIGKILL)
    launch.process.kill()
    launch.process.communicate()
    found = find_running()[launch.run_id]
    assert {p.pid for p in found} == pids
    os.kill(launch.pid_of("bare"), signal.SIGKILL)  # without a mark and a parent it can be found by nobody
    assert end_run(launch.run_id, 0.2) == ()
    assert not any(map(alive, pids))


def test_the_kernel_ends_a_plain_training_when_keeper_and_launcher_are_killed(launch: Launch) -> None:
    launch.start("sleep")
    launch.pid_of("sleep")
    launch.process.send_signal(signal.SIGSTOP)
    os.kill(launch.keeper, signal.SIGKILL)
    launch.process.kill()
    launch.process.communicate()
    wait_for(launch.is_gone, 3.0)


def test_end_run_ends_a_living_run_through_its_keeper(launch: Launch) -> None:
    launch.start("daemon", "bare-daemon", "obey=15,1", "sleep")
    for name in ("daemon", "bare", "sleep"):
        launch.pid_of(name)
    assert end_run(launch.run_id, 5.0) == ()
    outcome = launch.finish()
    assert (outcome["exit_code"], outcome["interrupted"]) == (143, True)
    assert launch.is_gone()


# A terminal


@pytest.fixture
def terminal(launch: Launch) -> Iterator[Terminal]:
    opened = Terminal(launch)
    yield opened
    opened.close()


class Terminal:
    """A pseudo-terminal with a launcher in its foreground."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.master, self.slave = pty.openpty()

    def start(self, *deeds: str, prefix: Sequence[str] = (), controlling: bool = True) -> None:
        def before() -> None:
            os.setsid()
            if controlling:
                fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

        ends = {"stdin": self.slave, "stdout": self.slave, "stderr": self.slave}
        self.launch.start(*deeds, **ends, prefix=prefix, before=before)
        os.close(self.slave)

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def read(self) -> bytes:
        return os.read(self.master, 1000)

    def close(self) -> None:
        if self.master >= 0:
            os.close(self.master)
        self.master = -1


def test_ctrl_c_in_a_terminal(launch: Launch, terminal: Terminal) -> None:
    terminal.start("daemon", "obey=2,1", "out=here", "sleep")
    launch.pid_of("daemon")
    launch.pid_of("sleep")
    assert terminal.read() == b"here"
    terminal.press(b"\x03")
    outcome = launch.finish()
    assert (outcome["exit_code"], outcome["interrupted"]) == (130, True)
    assert list(launch.folder.glob("heard2.*"))


def test_a_vanished_terminal_ends_the_training(launch: Launch, terminal: Terminal) -> None:
    terminal.start("stubborn-worker", "tick")
    launch.pid_of("worker")
    terminal.close()
    outcome = launch.finish()
    assert (outcome["exit_code"], outcome["signal"]) == (129, signal.SIGHUP)
    assert launch.is_gone()


def test_nohup_survives_a_vanished_terminal(launch: Launch, terminal: Terminal) -> None:
    terminal.start("tick", prefix=("nohup",))
    wait_for((launch.folder / "log").exists)
    wait_for(lambda: launch.log)
    terminal.close()
    time.sleep(0.2)
    size = len(launch.log)
    wait_for(lambda: len(launch.log) > size + 50)
    launch.process.terminate()
    assert launch.finish()["exit_code"] == 143


def test_the_log_goes_on_when_the_terminal_goes_without_a_hang_up(launch: Launch, terminal: Terminal) -> None:
    terminal.start("tick", controlling=False)
    wait_for((launch.folder / "log").exists)
    wait_for(lambda: launch.log)
    terminal.close()
    time.sleep(0.2)
    size = len(launch.log)
    wait_for(lambda: len(launch.log) > size + 50)
    launch.process.terminate()
    assert launch.finish()["exit_code"] == 143


def test_ctrl_z_stops_the_training_and_fg_continues_it(launch: Launch, terminal: Terminal) -> None:
    shell = '"$@"; touch stopped; read; fg >/dev/null; exit $?'
    terminal.start("stubborn-worker", "sleep", prefix=("bash", "-m", "-c", shell, "bash"))
    pids = (launch.pid_of("worker"), launch.pid_of("sleep"))
    terminal.press(b"\x1a")
    wait_for((launch.folder / "stopped").exists)
    wait_for(lambda: {state(pid) for pid in pids} == {"T"})
    terminal.press(b"\n")
    wait_for(lambda: {state(pid) for pid in pids} == {"S"})
    terminal.press(b"\x03")
    assert launch.finish()["exit_code"] == 130


def test_descendants_leave_out_what_is_spared() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        try:
            assert child.pid in keeper.descendants(os.getpid())
            assert child.pid not in keeper.descendants(os.getpid(), frozenset({child.pid}))
        finally:
            child.kill()
