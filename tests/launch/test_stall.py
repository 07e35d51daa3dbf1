"""When a training counts as stalled: the judge alone, with the clock as an argument."""

from __future__ import annotations

import os
import random
import signal
import subprocess

import pytest

from swift_fa_launcher.launch.processes import find_halted
from swift_fa_launcher.launch.stall import (
    TICK,
    Pulse,
    Silence,
    describe_halted,
    describe_stall,
    is_stalled,
    listen,
    longest_silence,
)

TIMEOUT = 300.0


class Clock:
    """A training that tells its pulse, and a launcher that looks every TICK seconds. stalled_at: when it was noticed."""

    def __init__(self) -> None:
        self.now, self.silence, self.stalled_at = 1000.0, Silence(), None  # type: float, Silence, float | None

    def see(self, pulse: Pulse | None, seconds: float, tick: float = TICK) -> None:
        """The pulse is there for so long."""
        until = self.now + seconds
        self.look(pulse)
        while self.now + tick <= until:
            self.now += tick
            self.look(pulse)
        self.now = until

    def look(self, pulse: Pulse | None) -> None:
        self.silence = listen(self.silence, pulse, self.now)
        if self.stalled_at is None and is_stalled(self.silence, TIMEOUT):
            self.stalled_at = self.now


@pytest.mark.parametrize(("pulse", "seconds"), [
    (Pulse("loading"), None), (Pulse("training"), 1800.0), (Pulse("training", steps_timed=2, median=1.0), 1800.0),
    (Pulse("training", steps_timed=3, median=1.0), 300.0), (Pulse("training", steps_timed=9, median=45.0), 450.0),
    (Pulse("evaluating", steps_timed=9, median=1.0), None), (Pulse("saving", longest={"evaluating": 60.0}), None),
    (Pulse("evaluating", longest={"evaluating": 60.0}), 3600.0), (Pulse("saving", longest={"saving": 900.0}), 9000.0),
    (Pulse("something new", steps_timed=9, median=1.0), None)])
def test_how_long_it_may_be_silent(pulse: Pulse, seconds: float | None) -> None:
    assert longest_silence(pulse, TIMEOUT) == seconds


def test_a_step_that_never_ends_is_noticed_within_its_time() -> None:
    clock = Clock()
    for step in range(20):
        clock.see(Pulse("training", step, step, step, 2.0), 2.0)
    begun = clock.now
    clock.see(Pulse("training", 20, 20, 20, 2.0), 1000.0)
    assert clock.stalled_at is not None and 300.0 <= clock.stalled_at - begun <= 300.0 + 2 * TICK
    assert "training and no progress for" in describe_stall(clock.silence).en


@pytest.mark.parametrize("seed", range(100))
def test_a_healthy_training_raises_no_alarm(seed: int) -> None:
    draw, clock = random.Random(seed), Clock()
    usual = draw.choice((0.05, 1.0, 20.0, 200.0, 900.0))  # seconds a step
    longest: dict[str, float] = {}
    clock.see(None, draw.uniform(0, 20_000))  # imports, download, packing
    clock.see(Pulse("loading"), draw.uniform(0, 20_000))
    beats = 0
    for step in range(60):
        took = usual * draw.uniform(0.5, 3.0) + (0 if step else draw.uniform(0, 900))  # the first one compiles
        for _ in range(batches := draw.randint(1, 8) * (1 if usual < 500 else 8)):
            beats += 1
            clock.see(Pulse("training", beats, step, step, usual if step else None, dict(longest)), took / batches)
        for doing, chance, most in (("evaluating", 0.1, 20_000.0), ("saving", 0.2, 3_000.0)):
            if draw.random() < chance:
                took = draw.uniform(most / 8, most)
                clock.see(Pulse(doing, beats, step, step + 1, usual, dict(longest)), took)
                longest[doing] = max(took, longest.get(doing, 0.0))
        if draw.random() < 0.05:
            clock.see(Pulse("loading", beats, step, step + 1, usual, dict(longest)), draw.uniform(0, 5_000))  # another epoch
        if draw.random() < 0.05:
            clock.now += 100_000  # both were stopped, or the machine slept
    assert clock.stalled_at is None


def test_what_cannot_be_read_changes_nothing() -> None:
    clock = Clock()
    clock.see(Pulse("training", 5, 5, 5, 1.0), 100.0)
    clock.see(None, 150.0)
    assert clock.stalled_at is None
    clock.see(None, 100.0)
    assert clock.stalled_at is not None


def test_a_stopped_process_is_named_with_its_rank() -> None:
    running = [subprocess.Popen(["sleep", "60"], env={**os.environ, "RANK": rank}) for rank in ("3", "4")]
    try:
        assert not find_halted(one.pid for one in running) and describe_halted({}).en == ""
        os.kill(running[0].pid, signal.SIGSTOP)
        os.waitpid(running[0].pid, os.WUNTRACED)
        halted = find_halted(one.pid for one in running)
        assert halted == {running[0].pid: "3"}
        assert f"rank 3 (process {running[0].pid})" in describe_halted(halted).en
    finally:
        for one in running:
            one.kill()
            one.wait()
