"""Scripts and signals: whenever a caller is interrupted, nothing that it started is left running."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest

MARK = "SWIFT_FA_TEST_MARK"
PREFLIGHT = (sys.executable, "-m", "swift_fa_launcher", "preflight", "--offline")

#: Interrupted at a random moment of each start, as by Ctrl-C. A child is forked within a millisecond. (Python hears a
#: signal that comes just before a wait after that wait only: hence the short timeout.)
ROUNDS = """
import random, signal, sys
from pathlib import Path
from swift_fa_launcher.machine.interpreter import run_script
import os

def interrupt(number, frame):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
random.seed(int(sys.argv[2]))
interrupted = 0
for _ in range(int(sys.argv[3])):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.0015))
        run_script(sys.argv[1], Path("x.py"), environment=dict(os.environ), cwd=Path.cwd(), timeout=1)
    except KeyboardInterrupt:
        interrupted += 1
print(interrupted)
"""

#: The same for threads: they start scripts while the main thread ends them.
THREADS = """
import os, random, sys, time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event
from swift_fa_launcher.machine.interpreter import ending_scripts, run_script, start_until

def ask(_):
    return run_script(sys.argv[1], Path("x.py"), environment=dict(os.environ), cwd=Path.cwd(), timeout=20)

random.seed(int(sys.argv[2]))
began = time.monotonic()
for _ in range(int(sys.argv[3])):
    over = Event()
    with ThreadPoolExecutor(4, "", start_until, (over,)) as pool, suppress(KeyboardInterrupt), ending_scripts(over):
        answers = [pool.submit(ask, i) for i in range(6)]  # two of them come to their turn when all is over
        time.sleep(random.uniform(0, 0.006))
        raise KeyboardInterrupt
    assert all(answer.result().failure for answer in answers)
assert time.monotonic() - began < 15, "a script went on"
print(sys.argv[3])
"""


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """Stands in the environment of all that a test starts."""
    monkeypatch.setenv(MARK, mark := uuid.uuid4().hex)
    return mark


@pytest.fixture
def sleeper(tmp_path: Path) -> str:
    """A training interpreter that does not answer."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 120\n")
    program.chmod(0o755)
    return str(program)


def left(mark: str) -> list[psutil.Process]:
    """Processes other than this one, neither ended nor a zombie, that have the mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def nothing_is_left(mark: str) -> bool:
    """Whether all that has the mark has ended, within a second: a killed process takes a moment. What has not is ended."""
    for _ in range(20):
        if not (found := left(mark)):
            return True
        time.sleep(0.05)
    for process in found:
        process.kill()
    return False


@pytest.mark.slow
@pytest.mark.parametrize("code", [ROUNDS, THREADS], ids=["handler", "threads"])
def test_no_moment_of_a_start_leaves_a_process(mark: str, sleeper: str, tmp_path: Path, code: str) -> None:
    rounds = 120 if code == ROUNDS else 40
    done = subprocess.run([sys.executable, "-c", code, sleeper, "7", str(rounds)], cwd=tmp_path, capture_output=True, text=True,
                          check=False, timeout=60, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert nothing_is_left(mark)
    assert (done.returncode, done.stdout.strip()) == (0, str(rounds)), done.stderr


def end(child: subprocess.Popen[bytes], number: int) -> None:
    """Signals once, and as a user would again where Python has not heard it: just before a wait began."""
    for _ in range(5):
        child.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.communicate(timeout=4)
            return
    child.kill()
    pytest.fail("it does not end")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_at_any_moment_of_a_preflight_leaves_nothing(mark: str, sleeper: str, tmp_path: Path, number: int,
                                                              code: int) -> None:
    moments, codes = random.Random(number), set()
    for _ in range(5):
        child = subprocess.Popen([*PREFLIGHT, f"launch.python={sleeper}"], cwd=tmp_path,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(moments.uniform(0.1, 0.7))
        end(child, number)
        codes.add(child.returncode)
        assert nothing_is_left(mark)
    assert code in codes and codes <= {code, -number, 1}  # before the command's first line Python ends in its own way


def test_an_ignored_hangup_stays_ignored(sleeper: str, tmp_path: Path, mark: str) -> None:
    """As nohup starts a command."""
    words = [*PREFLIGHT, f"launch.python={sleeper}"]
    child = subprocess.Popen(["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *words], cwd=tmp_path, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE)
    while len(left(mark)) < 2 and child.poll() is None:
        time.sleep(0.05)
    child.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert child.poll() is None
    end(child, signal.SIGTERM)
    assert child.returncode == 143 and nothing_is_left(mark)


@pytest.mark.parametrize("way", ["script", "tool"])
def test_a_killed_launcher_takes_along_what_it_started(sleeper: str, tmp_path: Path, mark: str, way: str) -> None:
    """SIGKILL: no handler runs; the guard notices."""
    code = {"script": "from swift_fa_launcher.machine.interpreter import run_script\n"
                      "run_script(sys.argv[1], Path('x.py'), environment=os.environ, cwd=Path.cwd(), timeout=100)",
            "tool": "from swift_fa_launcher.wheels.install import run_tool\n"
                    "run_tool([sys.argv[1]], os.environ, Path.cwd(), 100)"}[way]
    caller = subprocess.Popen([sys.executable, "-c", f"import os, sys\nfrom pathlib import Path\n{code}", sleeper], cwd=tmp_path,
                              env={**os.environ, MARK: mark})
    deadline = time.monotonic() + 30
    while len(left(mark)) < 3 and time.monotonic() < deadline:  # the caller, the guard, the sleeper
        time.sleep(0.02)
    assert len(left(mark)) >= 3
    caller.kill()
    caller.wait()
    while left(mark) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not left(mark)
