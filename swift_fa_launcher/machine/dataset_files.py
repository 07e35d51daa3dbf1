"""Dataset files: a sample of their rows read and judged."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from swift_fa_launcher.decode import Maybe, Unknown
from swift_fa_launcher.machine.facts import GIB, FirstBad, PathFacts
from swift_fa_launcher.machine.line_sample import draw_lines, spread
from swift_fa_launcher.machine.rows import make_judge

#: Rows that are read of a file. Of a few hundred the mean length would be off by more than packing is to be told by.
SAMPLE = 1000
#: Bytes. A file up to this size is read whole: every row is parsed, rows and line numbers are exact.
WHOLE = 4 * 2**20
#: Files of a folder that are looked at, and those whose rows are.
MOST_FILES, _JUDGED_FILES = 1000, 20
#: Suffixes of what `datasets` never takes for data.
_NO_DATA = frozenset(("", ".md", ".sh", ".yaml", ".yml", ".toml", ".ipynb", ".log", ".safetensors", ".bin", ".pt"))
#: Suffixes for which `datasets` has no reader: ms-swift takes a suffix for a reader's name (swift/dataset/loader.py, tried with
#: 4.6.0).
_NO_BUILDER = (".tsv", ".xlsx", ".xls", ".yaml", ".yml", ".gz", ".zip", ".tgz", ".tar", ".bz2", ".xz", ".zst", ".md", ".docx")
_BETWEEN_ROWS = re.compile(r"[ \t\r\n,]*")


class UnreadableRows(ValueError):
    """The file cannot be read by `datasets`, so none of its rows is; line from 1, None where it is not known. total: its rows."""

    def __init__(self, line: int | None, why: str, total: Maybe[int] = Unknown("the file cannot be read")) -> None:
        super().__init__(why)
        self.line, self.why, self.total = line, why, total


class UnseenRows(ValueError):
    """The rows are in a form that is not judged here; `datasets` may read them."""


@dataclass(frozen=True)
class Sampled:
    """rows: line (None where not known) and content. total: rows of the file."""

    rows: Sequence[tuple[int | None, Any]]
    total: Maybe[int]


def judge_dataset(file: Path, plain: PathFacts, renamed: Mapping[str, str], task: str | None) -> PathFacts:
    """`plain` with what a sample of the file's rows says.

    renamed: the config's `columns`. task: its `task_type`. A format that is not read here (parquet), or a task whose
    rows have a form of their own, leaves the row facts Unknown.
    """
    size = file.stat().st_size
    plain = replace(plain, size_gib=round(size / GIB, 3))
    if task not in (None, "causal_lm", "seq_cls"):
        return unseen(plain, f"the launcher does not judge rows for task_type {task}")
    try:
        sampled = read_sample(file)
    except UnseenRows as error:
        return unseen(plain, str(error))
    except UnreadableRows as error:
        line: Maybe[int] = error.line if error.line is not None else Unknown("its line is not known")
        return replace(plain, rows=error.total, rows_checked=0, usable_rows=0, first_bad=FirstBad(line, error.why))
    bad = judge_rows(sampled.rows, renamed, task == "seq_cls")
    first = next(iter(bad), None)
    return replace(plain, rows=sampled.total, rows_checked=len(sampled.rows), usable_rows=len(sampled.rows) - len(bad),
                   first_bad=FirstBad(*first) if first else None)


def judge_folder(folder: Path, plain: PathFacts, renamed: Mapping[str, str], task: str | None) -> PathFacts:
    """`plain` with what speaks against a folder of data, if anything does: no data in it, or JSON files of which none has a row
    that can be used, or with no column in common, which `datasets` cannot join (tried with 4.8). Else its rows stay Unknown."""
    files = [file for file in islice(folder.rglob("*"), MOST_FILES + 1)
             if file.is_file() and not file.name.startswith((".", "_"))]
    kinds = {file.suffix.lower() for file in files}
    if len(files) <= MOST_FILES and kinds <= _NO_DATA:
        return _unusable(plain, "it holds no data files")
    data = sorted(file for file in files if file.suffix.lower() in (".json", ".jsonl"))
    if kinds - _NO_DATA - {".json", ".jsonl"} or len(files) > MOST_FILES or not 0 < len(data) <= _JUDGED_FILES:
        return unseen(plain, "the launcher does not judge all the files of a folder")
    found = [(file.name, judge_dataset(file, PathFacts(), renamed, task)) for file in data]
    if all(facts.usable_rows == 0 and isinstance(facts.first_bad, FirstBad) for _, facts in found):
        name, first = found[0][0], found[0][1].first_bad
        return _unusable(plain, f"in {name}: {first.why}" if isinstance(first, FirstBad) else name)
    if apart := _unlike(data):
        return _unusable(plain, "{} and {} have no column in common".format(*apart))
    return unseen(plain, "the launcher does not count the rows of a folder")


def _unlike(files: Sequence[Path]) -> tuple[str, str] | None:
    """Two files of one split that share no column: `datasets` takes a file for training where its name says nothing else."""
    columns: dict[str, set[str]] = {}
    for file in files:
        if re.search(r"test|valid|eval|dev|train", str(file.name).lower()):
            return None
        try:
            columns[file.name] = {column for _, row in read_sample(file).rows for column in as_columns(row)}
        except (UnreadableRows, UnseenRows):
            return None
    first = next(iter(columns))
    return next(((first, other) for other in columns if not columns[other] & columns[first]), None)


def _unusable(plain: PathFacts, why: str) -> PathFacts:
    nowhere = Unknown("no line alone is wrong")
    return replace(plain, rows=nowhere, rows_checked=0, usable_rows=0, first_bad=FirstBad(nowhere, why))


def read_sample(file: Path) -> Sampled:
    """Up to SAMPLE rows from all over the file. Raises UnreadableRows, UnseenRows or OSError."""
    reader = READERS.get(file.suffix.lower())
    if file.suffix.lower() in _NO_BUILDER:
        raise UnreadableRows(None, f"`datasets` reads no {file.suffix}")
    if reader is None:
        raise UnseenRows(f"the launcher does not read {file.suffix or 'files without a suffix'}")
    sampled = reader(file, file.stat().st_size)
    if not sampled.rows and sampled.total != 0:
        raise UnseenRows("its rows are too long to read")
    if not sampled.rows:
        raise UnreadableRows(1, "it has no rows", 0)
    return sampled


def unseen(plain: PathFacts, why: str) -> PathFacts:
    """`plain` with rows of which nothing is known, and why."""
    unknown = Unknown(why)
    return replace(plain, rows=unknown, rows_checked=unknown, usable_rows=unknown, first_bad=unknown)


def judge_rows(rows: Sequence[tuple[int | None, Any]], renamed: Mapping[str, str],
               needs_label: bool) -> list[tuple[Maybe[int], str]]:
    """Line and reason of every row that cannot be used."""
    read = [(line, as_columns(row)) for line, row in rows]
    judge = make_judge(dict.fromkeys(column for _, row in read for column in row), renamed, needs_label=needs_label)
    return [(Unknown("its line is not known") if line is None else line, reason)
            for line, row in read if (reason := judge(row))]


def as_columns(row: Any) -> Mapping[str, Any]:
    """A row by column; of plain text, as `datasets` names it."""
    return row if isinstance(row, dict) else {"text": row}


def _read_json(file: Path, size: int) -> Sampled:
    """JSON: one object per line, or one list of objects (`datasets` tries the one, then the other)."""
    with file.open("rb") as opened:
        head = opened.read(WHOLE)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[":
        return _read_list(head, size)
    if size > WHOLE:
        if head.lstrip()[:1] == b"{" and not _is_json(head.split(b"\n", 1)[0]) and file.suffix == ".json":
            raise UnseenRows("a JSON object spreads over several lines")
        lines = draw_lines(file, size, SAMPLE)
        return Sampled([(number, _parse(line, number)) for number, line in lines.drawn], lines.total)
    try:
        rows = [(number, _parse(line, number)) for number, line in enumerate(head.split(b"\n"), 1) if line.strip()]
    except UnreadableRows:
        if file.suffix == ".json" and _is_json(head):
            raise UnseenRows("a JSON object spreads over several lines") from None
        raise
    return Sampled(spread(rows, SAMPLE), len(rows))


def _read_list(head: bytes, size: int) -> Sampled:
    """The first rows of one JSON list, all of them where it was read whole. Their lines are not known."""
    text = _decode(head if size <= WHOLE else head[:-4], None, cut=size > WHOLE).lstrip("\ufeff")
    if size <= WHOLE:
        try:
            rows = json.loads(text)
        except ValueError as error:
            raise UnreadableRows(getattr(error, "lineno", None), _not_json(error)) from None
        return Sampled(spread([(None, row) for row in rows], SAMPLE), len(rows))
    decoder, at, found = json.JSONDecoder(), text.index("[") + 1, list[tuple[int | None, Any]]()
    while len(found) < SAMPLE:
        try:
            row, at = decoder.raw_decode(text, _BETWEEN_ROWS.match(text, at).end())  # type: ignore[union-attr]
        except ValueError:
            break  # the end of what was read
        found.append((None, row))
    return Sampled(found, Unknown("the rows of a large JSON list are not counted"))


def _read_csv(file: Path, size: int) -> Sampled:
    """CSV with a header. Of a large file only the beginning is read."""
    with file.open("rb") as opened:
        data = opened.read(WHOLE)
    text = _decode(data, None, cut=size > WHOLE).lstrip("\ufeff")
    table = csv.DictReader(io.StringIO(text, newline=""))
    if len(table.fieldnames or ()) == 1 and (sign := re.search("[;\t|]", (table.fieldnames or [""])[0])):
        raise UnreadableRows(None, f"its columns are parted by {sign[0]!r}, not by commas")
    try:
        rows = [(table.line_num, {key: value for key, value in row.items() if key is not None}) for row in table]
    except csv.Error as error:
        raise UnreadableRows(table.line_num, f"not CSV: {error}") from None
    whole = size <= WHOLE
    return Sampled(spread(rows if whole else rows[:-1], SAMPLE),
                   len(rows) if whole else Unknown("the rows of a large CSV file are not counted"))


def _read_text(file: Path, size: int) -> Sampled:
    """Plain text: each line is a row to be learned."""
    if size > WHOLE:
        lines = draw_lines(file, size, SAMPLE)
        return Sampled([(number, _decode(line, number)) for number, line in lines.drawn], lines.total)
    rows = [(number, _decode(line, number)) for number, line in enumerate(file.read_bytes().splitlines(), 1)]
    return Sampled(spread(rows, SAMPLE), len(rows))


READERS: Mapping[str, Callable[[Path, int], Sampled]] = {
    ".jsonl": _read_json, ".json": _read_json, ".csv": _read_csv, ".txt": _read_text}


def _parse(line: bytes, number: int | None) -> Any:
    try:
        return json.loads(_decode(line, number).lstrip("\ufeff"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, UnreadableRows):
            raise
        raise UnreadableRows(number, _not_json(error)) from None


def _not_json(error: Exception) -> str:
    return f"not JSON: {error.msg} (column {error.colno})" if isinstance(error, json.JSONDecodeError) else f"not JSON: {error}"


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _decode(data: bytes, number: int | None, cut: bool = False) -> str:
    """The bytes as text. cut: they may end within a character."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if cut and error.start > len(data) - 4:
            return data[:error.start].decode("utf-8")
        line = number or data.count(b"\n", 0, error.start) + 1
        raise UnreadableRows(line, f"not UTF-8 text (byte {data[error.start]:#04x})") from None
