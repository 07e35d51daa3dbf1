"""Checkpoints of a version folder, and whether a training can go on from each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swift_fa_launcher.errors import Words
from swift_fa_launcher.machine.checkpoint import find_faults
from swift_fa_launcher.machine.checkpoint_files import read_checkpoint


@dataclass(frozen=True)
class Checkpoint:
    """step: the N of `checkpoint-N`. problem: why a training cannot go on from it; empty where it can."""

    path: Path
    step: int
    problem: Words = ""


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
