"""What differs between two runs, or between a run and its repetition before that starts.

Both sides are the texts of a record's files, so that a secret is replaced on both and a value reads the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: In the order in which they are shown.
GROUPS = ("config", "command", "environment", "packages", "wheel", "machine", "git", "data", "result")

#: Differences that say where a run was and when a file was touched, and change nothing in what is computed.
_HARMLESS = {"machine": ("host", "cpus", "memory"), "git": ("branch",), "data": ("time",)}
#: Of the environment that facts keep: who, where and under which job, not how.
_PERSONAL = frozenset(("HOME", "USER", "LANG", "VIRTUAL_ENV", "CONDA_PREFIX", "SLURM_JOB_ID", "SLURM_NODEID", "MASTER_PORT",
                       "SWIFT_FA_RUN_ID"))
#: Of what the monitor measured: what says nothing of the training.
_NO_RESULT = ("monitor_share", "memory_of")

Texts = Mapping[str, str]
Values = dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same. None stands for absent. matters: it may change what is computed."""

    group: str
    key: str
    first: Any
    second: Any
    origins: tuple[str | None, str | None] = (None, None)
    matters: bool = True


def read_texts(folder: Path) -> Texts:
    """The files of a record that are compared; those that are not there are left out."""
    names = ("run.json", "config.json", "facts.json", "plan.json", "packages.txt", "wheels.json", "git.json", "git.diff",
             "data.json")
    return {name: (folder / name).read_text(encoding="utf-8", errors="replace") for name in names
            if (folder / name).is_file()}


def compare(first: Texts, second: Texts) -> tuple[Difference, ...]:
    """Every difference, in the order of GROUPS and by key."""
    sides = (_Side(first), _Side(second))
    found = []
    for group in GROUPS:
        a, b = (side.values(group) for side in sides)
        for key in sorted({*a, *b}):
            if a.get(key) != b.get(key):
                origins = (sides[0].origin(key), sides[1].origin(key)) if group == "config" else (None, None)
                matters = (group != "result" and key.rpartition(" ")[2] not in _HARMLESS.get(group, ())
                           and not _differently_read(key, a.get(key), b.get(key)))
                found.append(Difference(group, key, a.get(key), b.get(key), origins, matters))
    return tuple(found)


@dataclass(frozen=True)
class Row:
    """One thing that is not the same in several runs: a value a run, None for absent."""

    group: str
    key: str
    values: tuple[Any, ...]


def compare_all(runs: Sequence[Texts]) -> tuple[Row, ...]:
    """What is not the same in all of them and may matter, in the order of GROUPS, the results last. A word of the command that
    only repeats the config is left out."""
    sides = [_Side(texts) for texts in runs]
    rows: list[Row] = []
    for group in GROUPS:
        held = [side.values(group) for side in sides]
        for key in dict.fromkeys(key for values in held for key in values):
            row = Row(group, key, tuple(values.get(key) for values in held))
            matters = key.rpartition(" ")[2] not in _HARMLESS.get(group, ()) and not key.startswith("SWIFT_FA_")  # our own
            if matters and any(value != row.values[0] for value in row.values) and not _repeats(row, rows):
                rows.append(row)
    return tuple(rows)


def _repeats(row: Row, rows: Sequence[Row]) -> bool:
    """Whether the command says what the config said."""
    if row.group != "command" or not row.key.startswith("--"):
        return False
    names = {f"swift.{row.key[2:]}", *(["run.name"] if row.key == "--swanlab_exp_name" else [])}
    return any(other.group == "config" and other.key in names for other in rows)


def rows_to_json(names: Sequence[str], rows: Sequence[Row]) -> dict[str, Any]:
    """The comparison for programs, by group."""
    groups: dict[str, list[Any]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append({"key": row.key, "values": list(row.values)})
    return {"schema": 1, "runs": list(names), "differences": groups}


def differences_to_json(first: str, second: str, found: tuple[Difference, ...]) -> dict[str, Any]:
    """The differences for programs, by group."""
    groups: dict[str, list[Any]] = {}
    for one in found:
        entry = {"key": one.key, "first": one.first, "second": one.second, "matters": one.matters}
        if one.group == "config":
            entry["origins"] = list(one.origins)
        groups.setdefault(one.group, []).append(entry)
    return {"schema": 1, "first": first, "second": second, "differences": groups}


class _Side:
    """One record's texts as flat values, group by group. Damaged and missing files are empty."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self.record, self.config, self.facts, self.plan = (
            _mapping(self.parsed(f"{name}.json")) for name in ("run", "config", "facts", "plan"))

    def parsed(self, name: str) -> Any:
        try:
            return json.loads(self.texts.get(name, "null"))
        except ValueError:
            return None

    def values(self, group: str) -> Values:
        made: Mapping[str, Any] = dict(getattr(self, f"_{group}")())
        return {key: value for key, value in made.items() if value is not None}

    def origin(self, key: str) -> str | None:
        origin = _mapping(self.config.get("origins")).get(key)
        return str(origin) if origin else None

    def neutral(self, text: str) -> str:
        """Without what every run has of its own: its id and its folder."""
        for mine, name in ((self.plan.get("run_dir"), "<run>"), (self.record.get("id"), "<run>")):
            text = text.replace(str(mine), name) if mine else text
        return text

    def _config(self) -> Iterator[tuple[str, Any]]:
        from swift_fa_launcher.config.render import leaves

        yield from ((key, value) for key, value in leaves(_mapping(self.config.get("values"))) if value != {})

    def _command(self) -> Iterator[tuple[str, Any]]:
        words = [self.neutral(str(word)) for word in self.plan.get("argv") or ()]
        starts = [str(word) for word in self.plan.get("starts") or ()]
        program = " ".join(starts[:len(starts) - len(words) + 2])
        yield "program", re.sub(r" --master_port \d+", "", program) or None  # the launcher takes whichever is free
        yield "cwd", self.plan.get("cwd")
        name, given = "command", list[str]()
        for word in [*words, "--"]:
            if word.startswith("--"):
                yield name, " ".join(given)
                name, given = word, []
            else:
                given.append(word)

    def _environment(self) -> Iterator[tuple[str, Any]]:
        seen = {**_mapping(self.facts.get("env")), **_mapping(self.plan.get("env"))}
        yield from ((name, self.neutral(str(value))) for name, value in seen.items()
                    if name not in _PERSONAL and value is not None)
        yield "secrets", ", ".join(map(str, self.plan.get("secrets") or ())) or None

    def _packages(self) -> Iterator[tuple[str, Any]]:
        for line in self.texts.get("packages.txt", "").splitlines():
            name, _, version = line.partition("==")
            yield name, version

    def _wheel(self) -> Iterator[tuple[str, Any]]:
        for name, wheel in _mapping(self.parsed("wheels.json")).items():
            yield from ((f"{name} {what}", value) for what, value in _mapping(wheel).items() if what != "mtime")

    def _machine(self) -> Iterator[tuple[str, Any]]:
        facts = {name: _mapping(self.facts.get(name)) for name in ("host", "python", "torch", "driver")}
        yield "host", self.record.get("host")
        for group, name in (("host", "os"), ("host", "machine"), ("host", "glibc"), ("host", "cpus"), ("python", "version"),
                            ("torch", "version"), ("torch", "cuda"), ("driver", "version"), ("driver", "cuda")):
            yield name if group == "host" else f"{group} {name}", _seen(facts[group].get(name))
        for gpu in _mappings(self.facts.get("gpus")):
            yield f"GPU {gpu.get('index')}", f"{_seen(gpu.get('name'))}, {_seen(gpu.get('memory_gib'))} GiB"

    def _git(self) -> Iterator[tuple[str, Any]]:
        git = _mapping(self.parsed("git.json"))
        yield "commit", git.get("commit")
        yield "branch", git.get("branch")
        diff = self.texts.get("git.diff")
        files = sorted({str(line)[3:] for line in git.get("changed") or () if not str(line).startswith("??")})
        digest = hashlib.sha256((diff or "").encode()).hexdigest()[:12]
        yield "uncommitted changes", f"{', '.join(files)} ({digest})" if diff else None

    def _data(self) -> Iterator[tuple[str, Any]]:
        for item in _mappings(self.parsed("data.json")):
            what, files = f"{item.get('role')} {item.get('name')}", _mapping(item.get("files"))
            yield what, item.get("why") or item.get("kind")
            yield f"{what} revision", item.get("revision")
            for name, file in files.items():
                place = f"{what}: {name}" if item.get("kind") != "file" else what
                yield from ((f"{place} {title}", _mapping(file).get(key))
                            for title, key in (("size", "size"), ("time", "mtime"), ("digest", "digest"), ("unread", "why")))

    def _result(self) -> Iterator[tuple[str, Any]]:
        yield "outcome", self.record.get("status")
        yield "exit code", self.record.get("exit_code")
        yield from _mapping(self.record.get("result")).items()
        yield from ((name, value) for name, value in _mapping(self.record.get("measured")).items() if name not in _NO_RESULT)


def _differently_read(key: str, *digests: Any) -> bool:
    """Whether one digest is of a whole file and one of samples: that says nothing of the files."""
    return key.endswith("digest") and None not in digests and len({str(d).partition(":")[0] for d in digests}) > 1


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _seen(value: Any) -> Any:
    """A fact for people; one that could not be looked at differs from nothing but itself."""
    return f"unknown: {value['unknown']}" if isinstance(value, Mapping) and set(value) == {"unknown"} else value
