"""Which of the picked runs may go, what that frees, and their removal.

A run's record is removed with its own folder, its checkpoints with theirs, and nothing else: no link is followed. What may still
be running, what is tagged `keep`, the best of a sweep and a sweep with members that stay are kept, each with the reason.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swift_fa_launcher.errors import RecordError, Text, Words, refused_as, render_words
from swift_fa_launcher.launch.processes import find_running
from swift_fa_launcher.runs.output import read_eval_loss
from swift_fa_launcher.runs.store import Entry, see_run
from swift_fa_launcher.runs.sweeps import Member, best_member

KEEP = "keep"  # the tag
_ENDED = ("finished", "failed", "interrupted")
_VERSION_FOLDER = re.compile(r"v\d+-\d{8}-\d{6}")
_CHECKPOINT = re.compile(r"checkpoint-\d+")
_REMOVED = ".removed"  # ends the hidden name of a folder that is being removed


@dataclass(frozen=True)
class Removal:
    """A picked run. paths: the folders that go; size: their bytes. kept: why none does, empty where they go."""

    entry: Entry
    paths: tuple[Path, ...] = ()
    size: int = 0
    kept: Words = ""


def plan_removals(picked: Sequence[Entry], everything: Sequence[Entry], *, checkpoints: bool) -> tuple[Removal, ...]:
    """What becomes of each picked run. everything: all runs of the root, with their states. checkpoints: those alone go."""
    running, best = find_running(), best_of_sweeps(everything)
    reasons = {entry.folder: _why_kept(entry, running, best) for entry in picked}
    staying = [entry for entry in everything if reasons.get(entry.folder, "stays")]
    parents = {entry.record.parent for entry in staying if entry.record}
    outputs = {_output(entry) for entry in staying}
    removals = []
    for entry in picked:
        planned = _plan(entry, reasons[entry.folder], parents, outputs, checkpoints=checkpoints)
        if checkpoints and not planned.kept:
            outputs.add(_output(entry))  # runs that continue one another share it; it goes once
        removals.append(planned)
    return tuple(removals)


def _plan(entry: Entry, kept: Words, parents: Collection[str | None], outputs: Collection[str | None], *,
          checkpoints: bool) -> Removal:
    record = entry.record
    if not kept and checkpoints:
        kept = _why_checkpoints_kept(entry, outputs)
    elif not kept and record and record.kind == "sweep" and entry.folder.name in parents:
        kept = Text("runs of this sweep stay", "这个 sweep 还有运行保留")
    if kept:
        return Removal(entry, kept=kept)
    paths = tuple(list_own_checkpoints(entry)) if checkpoints else (entry.folder,)
    return Removal(entry, paths, sum(map(size_of, paths)))


def _why_kept(entry: Entry, running: Collection[str], best: Collection[str]) -> Words:
    record, name = entry.record, entry.folder.name
    if entry.folder.is_symlink():
        return Text("its folder is a link", "它的文件夹是链接")
    if not (entry.folder / "run.json").is_file():
        return Text("it is no run's folder: there is no run.json", "这不是运行的文件夹：没有 run.json")
    if name in running or (record and record.id in running):
        return Text("its processes are running", "它的进程仍在运行")
    if record is None:
        return ""
    if entry.state not in _ENDED and (entry.state != "unfinished" or record.host != socket.gethostname()):
        return Text(f"it may still be running on {record.host}", f"它可能仍在 {record.host} 上运行")
    if KEEP in record.tags:
        return Text(f"it has the tag {KEEP}", f"它带有标签 {KEEP}")
    return Text("it is the best of its sweep", "它是所属 sweep 中最好的") if name in best else ""


def best_of_sweeps(entries: Iterable[Entry]) -> frozenset[str]:
    """The finished run of each sweep with the lowest loss: of the evaluation where any has one, else of the training."""
    listed = [entry for entry in entries if entry.record]
    sweeps = {entry.folder.name for entry in listed if entry.record and entry.record.kind == "sweep"}
    members: dict[str, list[Entry]] = {}
    for entry in listed:
        if entry.record and entry.record.parent in sweeps and entry.state == "finished":
            members.setdefault(str(entry.record.parent), []).append(entry)
    return frozenset(best.folder.name for best in map(_best, members.values()) if best)


def _best(members: Sequence[Entry]) -> Entry | None:
    losses = [read_eval_loss(Path(output)) if (output := _output(entry)) else None for entry in members]
    best = best_member([Member(i, (), entry=members[i], eval_loss=loss) for i, loss in enumerate(losses)])
    return best.entry if best else None


def _output(entry: Entry) -> str | None:
    """The real place of the output folder, which runs that continue one another share."""
    record = entry.record
    try:
        return os.path.realpath(Path(record.cwd, record.output_dir)) if record and record.output_dir else None
    except ValueError:  # a name that no file can have, in a damaged record
        return None


def _why_checkpoints_kept(entry: Entry, outputs: Collection[str | None]) -> Words:
    output = _output(entry)
    if output is None:
        return Text("it has no output folder", "它没有输出文件夹")
    if not _VERSION_FOLDER.fullmatch(Path(output).name):
        return Text(f"{output} may hold other runs' checkpoints", f"{output} 中可能有其他运行的检查点")
    if output in outputs:
        return Text("another run has the same output folder", "另一个运行与它共用输出文件夹")
    return "" if any(list_own_checkpoints(entry)) else Text("it has no checkpoints", "它没有检查点")


def list_own_checkpoints(entry: Entry) -> Iterator[Path]:
    """The folders `checkpoint-N` of its own version folder; none that is a link, or in a folder that is one."""
    record = entry.record
    folder = Path(record.cwd, record.output_dir) if record and record.output_dir else None
    if folder is None or not _VERSION_FOLDER.fullmatch(folder.name) or folder.is_symlink():
        return
    try:
        with os.scandir(folder) as found:
            names = sorted(one.name for one in found if _CHECKPOINT.fullmatch(one.name) and one.is_dir(follow_symlinks=False))
    except OSError:
        return
    yield from (folder / name for name in names)


def size_of(folder: Path) -> int:
    """Bytes of what lies in a folder; behind no link, and nothing that cannot be looked at."""
    whole = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                whole += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return whole


def remove(planned: Removal, everything: Sequence[Entry]) -> Words:
    """Removes it, where it has not begun to run or been tagged since it was planned; why it stays, else empty.

    A folder vanishes at once and is then taken apart, so that a removal that is cut off leaves no half of it. Raises RecordError.
    """
    entry = see_run(planned.entry.folder)
    if kept := _why_kept(entry, find_running(), best_of_sweeps(everything)):
        return kept
    for path in planned.paths:
        with refused_as(RecordError("run-not-removed", where=str(path))):
            path.rename(path.with_name(f".{path.name}{_REMOVED}"))
    for parent in {path.parent for path in planned.paths}:
        for hidden in parent.glob(f".*{_REMOVED}"):  # also what an earlier removal that was cut off has left
            with refused_as(RecordError("run-not-removed", where=str(hidden))):
                shutil.rmtree(hidden)  # follows no link, and takes none for a folder
    return ""


def removals_to_json(removals: Sequence[Removal], *, done: bool) -> Mapping[str, Any]:
    """For programs: what goes, or has gone, and what stays."""
    going = [one for one in removals if not one.kept]
    return {"schema": 1, "removed": done, "bytes": sum(one.size for one in going),
            "runs": [{"run": one.entry.folder.name, "state": one.entry.state, "bytes": one.size,
                      "paths": [str(path) for path in one.paths]} for one in going],
            "kept": [{"run": one.entry.folder.name, "state": one.entry.state, "why": render_words(one.kept, "en")}
                     for one in removals if one.kept]}
