"""What a training leaves behind: its version folder, how far it came, its checkpoints, its SwanLab run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from swift_fa_launcher.errors import Words
from swift_fa_launcher.files import read_group
from swift_fa_launcher.machine.checkpoint import find_faults
from swift_fa_launcher.machine.checkpoint_files import read_checkpoint

Number = TypeVar("Number", int, float)

#: Where a run writes, `<output_dir>/v0-<time>`, as ms-swift says it: when it has chosen the folder (swift/arguments/
#: sft_args.py, before: swift/llm/argument/train_args.py) and again when it begins (swift/pipelines/train/sft.py).
_VERSION_FOLDER = re.compile(rb"\boutput_dir: (\S.{0,4000}[/\\]v\d+-\d{8}-\d{6})\s*$")
_LOGGING_FILE = re.compile(rb"The logging file will be saved in: (.{1,4000}?)[/\\]logging\.jsonl")
#: ms-swift's last word (swift/pipelines/base.py, swift/llm/base.py): what follows is uploading and tearing down.
TRAINING_ENDED = b"End time of running main"

#: Bytes. A training that goes on ends its logging.jsonl with lines of 250; one that has ended, with one line of the whole
#: history, which is looked at when the end is recorded.
TAIL, LONG_TAIL = 4096, 2**18
_STEP = re.compile(rb"'global_step/max_steps': '(\d{1,9})/(\d{1,9})'")
_EVALUATED = re.compile(r'"eval_loss": (-?[\d.]+(?:e[-+]?\d+)?)')
_LOGGED = re.compile(r'\{[^{}]*?"(?:loss|train_runtime)": [^{}]*\}')


@dataclass(frozen=True)
class Progress:
    """How far a training came, as far as its log says. loss: the last logged. speed: seconds a step."""

    step: int | None = None
    steps: int | None = None  # that it was to make
    loss: float | None = None
    train_loss: float | None = None  # the mean over the whole training, once it has ended
    speed: float | None = None
    runtime: float | None = None  # seconds of the whole training, once it has ended


@dataclass(frozen=True)
class Checkpoint:
    """step: the N of `checkpoint-N`. problem: why a training cannot go on from it; empty where it can."""

    path: Path
    step: int
    problem: Words = ""


def parse_version_folder(line: bytes) -> str | None:
    """The folder `<output_dir>/v<N>-<time>` that a line of ms-swift's log names, if it does."""
    found = _VERSION_FOLDER.search(line) or _LOGGING_FILE.search(line)
    return found[1].decode("utf-8", "replace") if found else None


def parse_step(line: bytes) -> tuple[int, int] | None:
    """The step and how many there are, where a line of ms-swift's log says what it logged at one."""
    found = _STEP.search(line)
    return (int(found[1]), int(found[2])) if found else None


def read_progress(folder: Path, tail_size: int = TAIL) -> Progress:
    """The last words of a version folder's logging.jsonl, empty where there are none. Reads the file's end only."""
    return parse_progress(read_end(folder / "logging.jsonl", tail_size))


def read_eval_loss(folder: Path) -> float | None:
    """The loss of the last evaluation in a version folder's logging.jsonl; None where there was none."""
    found = _EVALUATED.findall(read_end(folder / "logging.jsonl", LONG_TAIL))
    return _as(float, found[-1]) if found else None


def read_end(file: Path, size: int | None = None) -> str:
    """The last `size` bytes of a file, None: all of it, as text; empty where it cannot be read."""
    try:
        with open(file, "rb", buffering=0) as opened:
            if size is not None:
                opened.seek(max(0, os.fstat(opened.fileno()).st_size - size))
            return opened.read().decode("utf-8", "replace")
    except (OSError, ValueError):  # ValueError: a name that no file can have, in a damaged record
        return ""


def parse_progress(tail: str) -> Progress:
    """The progress that the end of a logging.jsonl tells. Source: what ms-swift 3.8 to 4.6 wrote."""
    seen: dict[str, Any] = {}
    texts = _LOGGED.findall(tail)
    with_steps = next((text for text in reversed(texts) if "global_step/max_steps" in text), "")
    with_mean = next((text for text in reversed(texts) if "train_runtime" in text), "")
    for text in (with_mean, with_steps, *texts[-2:]):
        try:
            seen |= json.loads(text)
        except ValueError:
            continue
    step, _, steps = str(seen.get("global_step/max_steps", "")).partition("/")
    loss, mean, runtime, speed, rate = (_as(float, seen.get(name)) for name in (
        "loss", "train_loss", "train_runtime", "train_speed(s/it)", "train_speed(iter/s)"))  # the last two: 4.x, 3.x
    return Progress(step=_as(int, step) or _as(int, seen.get("step")), steps=_as(int, steps), loss=loss, train_loss=mean,
                    runtime=runtime, speed=round(1 / rate, 6) if rate and not speed else speed)


def list_checkpoints(folder: Path) -> tuple[Checkpoint, ...]:
    """Every `checkpoint-N` of a version folder, newest first; none where there is no such folder."""
    try:
        numbered = [(int(p.name.rpartition("-")[2]), p) for p in folder.glob("checkpoint-*")
                    if p.name.rpartition("-")[2].isdigit() and p.is_dir()]
    except (OSError, ValueError):  # ValueError: a name that no file can have, in a damaged record
        return ()
    return tuple(Checkpoint(path, step, _problem(path)) for step, path in sorted(numbered, reverse=True))


def newest_complete(checkpoints: Sequence[Checkpoint]) -> Checkpoint | None:
    """The one to go on from."""
    return next((checkpoint for checkpoint in checkpoints if not checkpoint.problem), None)


def _problem(folder: Path) -> Words:
    try:
        faults = find_faults(read_checkpoint(folder))
    except OSError as error:
        return f"{folder.name}: {error.strerror or error}"
    return faults.words if faults else ""


def read_swanlab(run_dir: Path) -> Mapping[str, Any]:
    """What the plugin wrote about the SwanLab run: mode, dir, url, run_id; empty where it wrote nothing readable."""
    return read_group(run_dir / "swanlab.json")


def _as(kind: Callable[[Any], Number], value: Any) -> Number | None:
    try:
        return kind(value)
    except (TypeError, ValueError):
        return None
