"""The folder of run records: listing them, and finding one by what a user types."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from swift_fa_launcher.errors import RecordError, Text, Words
from swift_fa_launcher.runs.record import RunRecord, read_record


@dataclass(frozen=True)
class Entry:
    """One folder below the root: its record, or why there is none to read."""

    folder: Path
    record: RunRecord | None
    problem: Words = ""


def list_runs(root: Path) -> tuple[Entry, ...]:
    """Every run folder below `root`, newest first; damaged ones among them. Empty where there is no such folder.

    A run folder's name begins with its start time, so the names' order is the runs'.
    """
    try:
        folders = sorted((p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")),
                         key=lambda p: p.name, reverse=True)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise RecordError(Text(f"cannot list the runs in {root}", f"无法列出 {root} 中的运行"),
                          why=error.strerror or str(error)) from None
    return tuple(_entry(folder) for folder in folders)


def find_run(root: Path, word: str) -> Entry:
    """The run that `word` names: its folder, "latest", a unique beginning of its id, or a name (the newest of it).

    Raises RecordError where nothing or more than one run fits.
    """
    if (Path(word) / "run.json").is_file():
        return _entry(Path(word))
    entries = list_runs(root)
    if word == "latest" and entries:
        return next((e for e in entries if e.record), entries[0])
    exact = [e for e in entries if e.folder.name == word]
    begun = [e for e in entries if e.folder.name.startswith(word)]
    named = [e for e in entries if e.record and e.record.name == word]
    if exact or len(begun) == 1 or named:
        return (exact or (begun if len(begun) == 1 else named))[0]
    if begun:
        some = ", ".join(e.folder.name for e in begun[:4])
        raise RecordError(Text(f"{len(begun)} runs begin with {word}: {some}", f"有 {len(begun)} 个运行以 {word} 开头：{some}"))
    names = [e.folder.name for e in entries] + [e.record.name for e in entries if e.record]
    near = difflib.get_close_matches(word, names, n=1)
    raise RecordError(Text(f"there is no run {word} in {root}", f"{root} 中没有运行 {word}"),
                      hint=(Text(f"did you mean {near[0]}?", f"是否想写 {near[0]}？"),) if near else ("swift-fa runs",))


def _entry(folder: Path) -> Entry:
    try:
        return Entry(folder, read_record(folder))
    except RecordError as error:
        return Entry(folder, None, error.why)
