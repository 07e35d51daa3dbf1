"""Tells the launcher that a training goes on: loaded by swift_fa_plugin for the concern `pulse`.

The first process writes `folder`/pulse.json: what it is doing (loading, training, evaluating, saving), how many batches it
has begun, the median seconds of an optimizer step, and the longest that evaluating and saving have taken. Every process can
be asked for the stacks of its threads: at the signal `signal` they go to the end of `folder`/stacks.txt, whatever it is
stuck in.

A beat costs some microseconds, and the file is written once a second at most. Nothing here can fail a training.
"""
# mypy: disable-error-code="import-not-found,import-untyped,misc"

from __future__ import annotations

import contextlib
import faulthandler
import functools
import json
import os
import time
from collections import deque
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Job = dict[str, Any]

LOADING, TRAINING = "loading", "training"
#: The trainer's own methods that are no training, and what they do.
APART = {"evaluate": "evaluating", "_save_checkpoint": "saving", "_load_best_model": "finishing"}
OFTEN = 1.0  # seconds between two writings
ROOM = 300  # bytes that the file always has


def watch(job: Job, first: bool) -> None:
    """Puts a pulse into every trainer that transformers makes from now on. first: whether this process writes it."""
    stacks = open(os.path.join(job["folder"], "stacks.txt"), "ab")  # noqa: SIM115  open as long as the process lives
    with contextlib.suppress(ValueError, RuntimeError):  # a system without such signals
        faulthandler.register(job["signal"], file=stacks, all_threads=True)
    if not first:
        return
    from transformers import Trainer

    make = Trainer.__init__

    @functools.wraps(make)
    def make_beating(trainer: Any, *args: Any, **kwargs: Any) -> None:
        make(trainer, *args, **kwargs)
        with contextlib.suppress(Exception):
            Pulse(os.path.join(job["folder"], "pulse.json")).begin(trainer)

    Trainer.__init__ = make_beating


class Pulse:
    """What a training does now, and how long it took to do so."""

    def __init__(self, file: str) -> None:
        self.fd = os.open(file, os.O_WRONLY | os.O_CREAT, 0o644)
        self.doing, self.beats, self.step = LOADING, 0, -1
        self.steps: deque[float] = deque(maxlen=101)  # seconds of the last optimizer steps, without what is counted apart
        self.longest: dict[str, float] = {}
        self.stepped: float | None = None  # when the step in progress began
        self.written = 0.0

    def begin(self, trainer: Any) -> None:
        from transformers import TrainerCallback

        pulse, step = self, trainer.training_step

        class Epochs(TrainerCallback):
            def on_epoch_begin(self, *args: Any, **kwargs: Any) -> None:
                pulse.load()  # the rows of an epoch may take long to come

            def on_train_end(self, *args: Any, **kwargs: Any) -> None:
                pulse.load()  # what follows is counted by nobody

        @functools.wraps(step)
        def training_step(*args: Any, **kwargs: Any) -> Any:
            with contextlib.suppress(Exception):
                pulse.beat(trainer.state.global_step)
            return step(*args, **kwargs)

        trainer.training_step = training_step
        trainer.add_callback(Epochs())
        for name, doing in APART.items():
            if hasattr(trainer, name):
                setattr(trainer, name, self.counted_apart(getattr(trainer, name), doing))

    def counted_apart(self, act: Callable[..., Any], doing: str) -> Callable[..., Any]:
        @functools.wraps(act)
        def acting(*args: Any, **kwargs: Any) -> Any:
            with self.apart(doing):
                return act(*args, **kwargs)

        return acting

    @contextlib.contextmanager
    def apart(self, doing: str) -> Iterator[None]:
        before, began = self.doing, time.monotonic()
        self.turn_to(doing)
        try:
            yield
        finally:
            took = time.monotonic() - began
            self.longest[doing] = max(took, self.longest.get(doing, 0.0))
            if self.stepped is not None:
                self.stepped += took
            self.turn_to(before)

    def load(self) -> None:
        self.stepped = None
        self.turn_to(LOADING)

    def beat(self, step: int) -> None:
        """A batch is about to be trained on."""
        now = time.monotonic()
        self.beats += 1
        if step != self.step or self.stepped is None:
            if self.stepped is not None:
                self.steps.append(now - self.stepped)
            self.step, self.stepped = step, now
        self.turn_to(TRAINING)

    def turn_to(self, doing: str) -> None:
        now = time.monotonic()
        if doing == self.doing and now - self.written < OFTEN:
            return
        self.doing, self.written = doing, now
        told = {"doing": doing, "beats": self.beats, "step": self.step, "steps_timed": len(self.steps),
                "median": round(median(self.steps), 3) if self.steps else None,
                "longest": {name: round(seconds, 3) for name, seconds in self.longest.items()}}
        with contextlib.suppress(OSError):
            os.pwrite(self.fd, json.dumps(told).ljust(ROOM).encode(), 0)  # one small write: a reader sees the old or the new
