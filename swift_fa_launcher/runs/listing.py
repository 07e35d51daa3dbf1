"""The list of runs: what stands in its columns, which runs a condition picks, in which order, children below their parents."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from swift_fa_launcher.errors import Text, UsageError, did_you_mean, render_words
from swift_fa_launcher.files import read_group
from swift_fa_launcher.layout import cells, columns, fill
from swift_fa_launcher.runs.diff import Row, compare_all, read_texts
from swift_fa_launcher.runs.monitor import figure
from swift_fa_launcher.runs.output import read_eval_loss
from swift_fa_launcher.runs.report import render_duration, say_state, short_moment
from swift_fa_launcher.runs.store import Entry

USUAL = ("state", "started", "duration", "step", "loss", "tokens_per_second", "tags")
_TITLES = {"state": Text("state", "状态"), "started": Text("started", "开始"), "duration": Text("duration", "时长"),
           "step": Text("step", "步数"), "loss": Text("loss", "损失"), "tokens_per_second": Text("tokens/s", "tokens/s"),
           "tags": Text("tags", "标签"), "notes": Text("notes", "备注"), "name": Text("name", "名称"),
           "ended": Text("ended", "结束"), "parent": Text("made from", "来自")}
_OF_RECORD = ("name", "kind", "started", "ended", "exit_code", "tags", "notes", "parent", "host", "output_dir", "checkpoint")
_OF_PROGRESS = ("step", "steps", "loss", "train_loss", "speed", "runtime")
_OF_MEASURED = ("attention", "kernel", "packing", "speedups", "tokens_per_second", "padding", "examples_per_step",
                "peak_memory_gib")
#: What a column may hold beside a key of the config.
NAMES = ("state", "duration", *_OF_RECORD, *_OF_PROGRESS, "eval_loss", *_OF_MEASURED)
_CONDITION = re.compile(r"([\w.]+)(!=|=|<|>)(.*)")
_OPEN = ("running", "orphaned")


@dataclass(frozen=True)
class Values:
    """What a run's columns hold. Its config and its log are read only where a column asks for them."""

    entry: Entry

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The resolved config, as recorded."""
        return read_group(self.entry.folder / "config.json").get("values") or {}

    def get(self, name: str) -> Any:
        """The value of a column; None where the run has none."""
        entry, record = self.entry, self.entry.record
        if name == "state":
            return entry.state
        if record is None:
            return None
        if name in _OF_RECORD:
            return getattr(record, name)
        if name in _OF_PROGRESS:
            return getattr(entry.progress, name)
        if name in _OF_MEASURED:
            return entry.measured.get(name)
        if name == "eval_loss":
            return read_eval_loss(Path(record.cwd, record.output_dir)) if record.output_dir else None
        return _seconds(entry) if name == "duration" else _of_config(self.config, name)


@dataclass(frozen=True)
class Condition:
    """`swift.lora_rank=8,16`, `state!=failed`, `loss<1.5`: a column, a sign, and what stands behind it."""

    name: str
    sign: str
    wanted: str

    def holds(self, values: Values) -> bool:
        """Whether the run is so. One without the value is neither beyond nor below anything."""
        value = values.get(self.name)
        if self.sign in "<>":
            number, limit = _number(value), float(self.wanted)
            return number is not None and (number < limit if self.sign == "<" else number > limit)
        some = list(value) if isinstance(value, (list, tuple)) else [value]
        return any(_same(one, wanted) for one in some for wanted in self.wanted.split(",")) is (self.sign == "=")


def parse_condition(text: str) -> Condition:
    """Raises UsageError."""
    found = _CONDITION.fullmatch(text)
    if found is None or (found[2] in "<>" and _number_of(found[3]) is None):
        raise UsageError("option-invalid", Text(f"not a condition: {text}", f"不是条件：{text}"),
                         hint=("--where swift.lora_rank=8", "--where 'loss<1.5'"))
    return Condition(require_column(found[1]), found[2], found[3])


def parse_columns(text: str) -> tuple[str, ...]:
    """Names of columns between commas. Raises UsageError."""
    return tuple(require_column(name.strip()) for name in text.split(",") if name.strip())


def require_column(name: str) -> str:
    """The name itself. Raises UsageError for one that is neither a column's nor a key's of a config."""
    from swift_fa_launcher.config.names import find_settings
    from swift_fa_launcher.config.schema import SECTIONS

    section, dot, key = name.partition(".")
    if name in NAMES or (dot and key and section in SECTIONS):
        return name
    names = ", ".join(NAMES)
    meant = find_settings(name, near=False)[:1]
    listed = Text(f"a key of the config (swift.learning_rate) or one of {names}",
                  f"配置中的键（swift.learning_rate）或其中之一：{names}")
    raise UsageError("option-invalid", Text(f"there is no column {name}", f"没有 {name} 这一列"),
                     hint=did_you_mean(name, NAMES) or meant or (listed,))


def pick(entries: Iterable[Entry], conditions: Sequence[Condition]) -> tuple[Entry, ...]:
    """The runs for which every condition holds."""
    return tuple(entry for entry in entries if all(condition.holds(Values(entry)) for condition in conditions))


def sort_entries(entries: Iterable[Entry], name: str, *, reverse: bool = False) -> tuple[Entry, ...]:
    """By a column, the smallest first; runs without a value last, whichever way."""
    held = [(entry, Values(entry).get(name)) for entry in entries]
    there = [(entry, value) for entry, value in held if not _is_empty(value)]
    there.sort(key=lambda one: _order(one[1]), reverse=reverse)
    return tuple(entry for entry, _ in [*there, *((entry, value) for entry, value in held if _is_empty(value))])


def as_tree(entries: Sequence[Entry]) -> tuple[tuple[int, Entry], ...]:
    """Every run with its depth below the run that it was made from; where that is not among them, 0. Trees in the order of their
    first run, which is their newest in a list that begins with the newest."""
    if not any(map(_parent, entries)):
        return tuple((0, entry) for entry in entries)
    by_id = {entry.folder.name: entry for entry in entries}
    children: dict[str, list[Entry]] = {}
    for entry in entries:
        children.setdefault(_parent(entry), []).append(entry)
    listed: dict[str, tuple[int, Entry]] = {}
    for entry in entries:
        if entry.folder.name not in listed:
            _list_below(_root(entry, by_id), 0, children, listed)
    return tuple(listed.values())


def _list_below(entry: Entry, depth: int, children: Mapping[str, Sequence[Entry]], listed: dict[str, tuple[int, Entry]]) -> None:
    waiting = [(depth, entry)]  # no recursion: a run may have been continued a thousand times
    while waiting:
        depth, entry = waiting.pop()
        if entry.folder.name not in listed:  # in records by hand a run may be its own ancestor
            listed[entry.folder.name] = (depth, entry)
            waiting += [(depth + 1, child) for child in reversed(children.get(entry.folder.name, ()))]


def _root(entry: Entry, by_id: Mapping[str, Entry]) -> Entry:
    seen = {entry.folder.name}
    while (parent := _parent(entry)) in by_id and parent not in seen:
        seen.add(parent)
        entry = by_id[parent]
    return entry


def _parent(entry: Entry) -> str:
    return (entry.record.parent if entry.record else None) or ""


def render_list(rows: Sequence[tuple[int, Entry]], names: Sequence[str], lang: str, width: int | None = None) -> str:
    """The runs as a table, one line each, a child further in than its parent; where that is wider than `width`, the figures
    below the run. Plain text: thousands of lines are to be there at once."""
    titles = [Text("run", "运行"), *(_TITLES.get(name, Text(name, name)) for name in names)]
    now = datetime.now(timezone.utc)
    lines = [[title.render(lang) for title in titles], *(_line(depth, entry, names, lang, now) for depth, entry in rows)]
    table = columns(lines)
    if width is None or max(map(cells, table.splitlines())) <= width:
        return table
    figures = columns([line[1:-1] for line in lines]).splitlines()
    wide = max(map(cells, figures)) + 2
    return "\n".join(f"{line[0]}\n{fill(' ' * (wide - cells(told)) + line[-1], width, f'  {told}', ' ' * (wide + 2)).rstrip()}"
                     for line, told in zip(lines, figures, strict=True))


def _line(depth: int, entry: Entry, names: Sequence[str], lang: str, now: datetime) -> list[str]:
    first = "  " * depth + entry.folder.name
    if entry.record is None:
        return [first, say_state(entry.state, lang), render_words(entry.problem, lang)]
    values = Values(entry)
    return [first, *((_SHOWN[name](entry, lang, now) if name in _SHOWN else show_value(values.get(name))) for name in names)]


def _step(entry: Entry) -> str:
    step, steps = entry.progress.step, entry.progress.steps
    return "" if step is None else f"{step}/{steps}" if steps else str(step)


def _speed(entry: Entry) -> str:
    speed = figure(entry.measured, "tokens_per_second")
    return "" if speed is None else f"{speed:,.0f}"


#: Columns that are not shown as any value is. Of a run that has a record.
_SHOWN: Mapping[str, Callable[[Entry, str, datetime], str]] = {
    "state": lambda entry, lang, now: say_state(entry.state, lang),
    "started": lambda entry, lang, now: short_moment(entry.record.started)[5:],  # type: ignore[union-attr]
    "ended": lambda entry, lang, now: short_moment(entry.record.ended or "")[5:],  # type: ignore[union-attr]
    "duration": lambda entry, lang, now: render_duration(entry.record, now if entry.state in _OPEN else None),  # type: ignore[arg-type]
    "step": lambda entry, lang, now: _step(entry), "tokens_per_second": lambda entry, lang, now: _speed(entry)}


def show_value(value: Any) -> str:
    """A value of a column for people: four digits of a number with a fraction, on one line."""
    if value is None or value in ("", (), []):
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(show_value, value))
    return " ".join(value.split()) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def values_to_json(entry: Entry, names: Sequence[str]) -> dict[str, Any]:
    """The columns for programs."""
    values = Values(entry)
    return {name: values.get(name) for name in names}


def compare_entries(entries: Sequence[Entry]) -> tuple[Row, ...]:
    """What differs between several runs, and their results, the last evaluation's among them."""
    rows = compare_all([read_texts(entry.folder) for entry in entries])
    evaluated = Row("result", "eval_loss", tuple(Values(entry).get("eval_loss") for entry in entries))
    return rows if evaluated.values.count(evaluated.values[0]) == len(entries) else (*rows, evaluated)


def _of_config(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = config.get(name) if isinstance(config, Mapping) else None
    return config


def _seconds(entry: Entry) -> float | None:
    from swift_fa_launcher.runs.store import moment_of

    record = entry.record
    try:
        end = moment_of(record.ended) if record and record.ended else datetime.now(timezone.utc) if entry.state in _OPEN else None
        return (end - moment_of(record.started)).total_seconds() if record and end else None
    except ValueError:
        return None


def _is_empty(value: Any) -> bool:
    return value in (None, "", ()) or (isinstance(value, float) and math.isnan(value))


def _order(value: Any) -> tuple[bool, float, str]:
    """Numbers by size, then texts."""
    number = _number(value)
    return (number is None, number or 0.0, "" if number is not None else show_value(value))


def _number(value: Any) -> float | None:
    return None if isinstance(value, bool) else _number_of(value)


def _number_of(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _same(value: Any, wanted: str) -> bool:
    """Numbers by their size (1e-4 is 0.0001), other values by their text, in which * and ? match any."""
    number, other = _number(value), _number_of(wanted)
    if number is not None and other is not None:
        return number == other
    text = "null" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
    return fnmatchcase(text.lower(), wanted.strip().lower())
