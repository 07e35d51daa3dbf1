"""Lines drawn from a large file, each with the same chance whatever its length.

A file that can be read through in the time is: its lines are counted, and one is drawn of every so many. Of a larger one the
lines are taken that begin in short windows all over the file: a line begins in one of them as likely as any other.
"""

from __future__ import annotations

import random
import re
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import BinaryIO, TypeVar

#: Bytes. Up to this size every line is counted; of a larger file as much is read, evenly spread.
READ_THROUGH = 256 * 2**20
#: Seconds that counting, and then taking lines, may take: a slow disk gives fewer rows rather than a long wait.
COUNTING, TAKING = 0.5, 0.5
#: Bytes that are counted together, and that are read again to find a line in.
STRETCH = 2**16
BLOCK = 2**20
#: Bytes. A longer line is left out.
LONGEST_LINE = 8 * 2**20

Item = TypeVar("Item")


@dataclass(frozen=True)
class Lines:
    """drawn: number (from 1, None where it was not counted) and content of each, in the file's order.

    total: lines of the file, empty ones too; an estimate where the numbers are None.
    """

    drawn: Sequence[tuple[int | None, bytes]]
    total: int


def draw_lines(file: Path, size: int, count: int) -> Lines:
    """About `count` lines of a file of `size` bytes, the same ones each time. Raises OSError."""
    with file.open("rb") as opened:
        if size <= READ_THROUGH:
            ends = _count_through(opened, size, time.monotonic() + COUNTING)
            if ends is not None:
                return _draw_counted(opened, size, ends, count)
        return _draw_in_windows(opened, size, count)


def spread(rows: Sequence[Item], count: int) -> Sequence[Item]:
    """`count` of the rows, one of each equal part of them, drawn: evenly spaced ones would all be alike in some files."""
    return [rows[place] for place in draw_places(len(rows), count)]


def draw_places(total: int, count: int) -> list[int]:
    """`count` places below `total`, rising, one of each equal part; all where there are no more. The same each time."""
    if total <= count:
        return list(range(total))
    draw = random.Random(total)
    edges = [part * total // count for part in range(count + 1)]
    return [draw.randrange(first, last) for first, last in pairwise(edges)]


def _count_through(opened: BinaryIO, size: int, deadline: float) -> list[int] | None:
    """How many lines end before the end of each STRETCH of the file; None where that takes too long."""
    counts: list[int] = []
    for _ in range(0, size, BLOCK):
        data = opened.read(BLOCK)
        counts += [data.count(b"\n", start, start + STRETCH) for start in range(0, len(data), STRETCH)]
        if time.monotonic() > deadline:
            return None
    return list(accumulate(counts))


def _draw_counted(opened: BinaryIO, size: int, ends: Sequence[int], count: int) -> Lines:
    opened.seek(size - 1)
    total = ends[-1] + (opened.read(1) != b"\n")
    drawn: list[tuple[int | None, bytes]] = []
    for place in draw_places(total, count):
        line = _line_after(opened, place, ends)
        if line.strip() and len(line) < LONGEST_LINE:
            drawn.append((place + 1, line))
    return Lines(drawn, total)


def _line_after(opened: BinaryIO, before: int, ends: Sequence[int]) -> bytes:
    """The line that begins after `before` line ends. ends: as `_count_through` gives them."""
    at = 0
    if before:
        stretch = bisect_right(ends, before - 1)
        left = before - (ends[stretch - 1] if stretch else 0)
        opened.seek(stretch * STRETCH)
        data = opened.read(STRETCH)
        for _ in range(left):
            at = data.index(b"\n", at) + 1
        rest = data.find(b"\n", at)
        if rest >= 0:
            return data[at:rest]
        at += stretch * STRETCH
    opened.seek(at)
    return opened.readline(LONGEST_LINE)


def _draw_in_windows(opened: BinaryIO, size: int, count: int) -> Lines:
    """The lines that begin in windows, each as wide as a line is long in the mean, so that about one begins in each."""
    total = _estimate(opened, size, time.monotonic() + COUNTING)
    width = max(1, min(size // max(1, total), size // count))
    order = draw_places(size - width, count)
    random.Random(size).shuffle(order)  # where the time ends the taking, what was taken is from all over the file
    found: dict[int, bytes] = {}
    deadline = time.monotonic() + TAKING
    for place in order:
        found.update(_lines_beginning(opened, place, width))
        if time.monotonic() > deadline:
            break
    drawn = [(None, found[start]) for start in sorted(found) if found[start].strip() and len(found[start]) < LONGEST_LINE]
    return Lines(spread(drawn, count), total)


def _lines_beginning(opened: BinaryIO, place: int, width: int) -> dict[int, bytes]:
    """The lines whose first byte lies in the window, by where they begin."""
    opened.seek(max(0, place - 1))
    data = (b"\n" if place == 0 else b"") + opened.read(width if place else width - 1)
    lines = {}
    for end in re.finditer(b"\n", data):
        start = place + end.start()
        opened.seek(start)
        lines[start] = opened.readline(LONGEST_LINE)
    return lines


def _estimate(opened: BinaryIO, size: int, deadline: float) -> int:
    """Lines of a file, from as much of it as READ_THROUGH and the time allow, evenly spread."""
    starts = list(range(0, size, max(BLOCK, size // (READ_THROUGH // BLOCK))))
    random.Random(size).shuffle(starts)
    lines = seen = 0
    for start in starts:
        opened.seek(start)
        data = opened.read(BLOCK)
        lines, seen = lines + data.count(b"\n"), seen + len(data)
        if time.monotonic() > deadline:
            break
    return max(1, round(lines * size / seen))
