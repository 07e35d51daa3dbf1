"""Text on a terminal: how wide it is, and where a line may break. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from unicodedata import east_asian_width

from swift_fa_launcher.errors import Words

_WIDE = r"\u2e80-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60"
_ARGUMENT = rf"""(?:'[^']*'|"[^"]*"|[^\s{_WIDE}])+"""
_SETTING = rf"""['"]?[\w.-]+={_ARGUMENT}"""
_PROGRAM = r"(?:swift-fa|swift|swanlab|pip|uv|conda|python|export|unset|git|df|ss|nvidia-smi)(?= )|~?/\S+(?= -)"
_COMMAND = rf"(?:{_SETTING} )*(?:{_PROGRAM})(?:(?<![,;]) ?{_ARGUMENT})*|{_SETTING}(?: {_SETTING})*|\{{.*\}}"


@cache
def _pieces(begins: str) -> re.Pattern[str]:
    """What stays whole: code between backquotes; a command, settings or JSON behind `begins`, up to the next two spaces; a word.
    Chinese may break between any two characters, but for the marks that open and close."""
    return re.compile(rf"[（《“「]*(?:`[^`]*`[^\s{_WIDE}]*|(?:{begins})(?:{_COMMAND})|[{_WIDE}]|[^\s{_WIDE}]+)"
                      r"[，。；：、！？）》”」]*")


_PROSE, _ADVICE = "(?<=: )|(?<=：)", "^|(?<=: )|(?<=：)|(?<=  )"  # where a command may begin


def cells(text: str) -> int:
    """Columns that the text takes; a Chinese character takes two."""
    return len(text) if text.isascii() else len(text) + sum(east_asian_width(c) in "WF" for c in text)


def fill(text: str, width: int | None, first: str = "", rest: str = "", begins: str = _PROSE) -> str:
    """The text in lines of at most `width` columns, the first behind `first`, the others behind `rest`; None: one line.

    Nothing breaks inside a word or a command: what is longer than a line stays whole, for the terminal to fold, so that it can
    be copied.
    """
    if width is None or cells(first + text) <= width:
        return first + text
    lines, line, end = [], first, 0
    for piece in _pieces(begins).finditer(text):
        gap = text[end:piece.start()]
        if end and cells(line + gap + piece[0]) > width:
            lines.append(line)
            line, gap = rest, ""
        line += gap + piece[0]
        end = piece.end()
    return "\n".join([*lines, line])


def advice(line: Words, lang: str, width: int | None, first: str = "  -> ") -> str:
    """One line that says what to do. What is the same in both languages is a command, and never broken."""
    return first + line if isinstance(line, str) else fill(line.render(lang), width, first, " " * len(first), _ADVICE)


def pad(text: str, width: int) -> str:
    """The text with blanks behind it, `width` columns wide."""
    return text + " " * (width - cells(text))


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows side by side; the last cell of a row does not widen its column."""
    widths = [0] * max((len(row) for row in rows), default=0)
    sizes = [[cells(cell) for cell in row] for row in rows]
    for row in sizes:
        for i, size in enumerate(row[:-1]):
            widths[i] = max(widths[i], size)
    return "\n".join("  ".join([cell + " " * (widths[i] - size if i < len(row) - 1 else 0)
                                for i, (cell, size) in enumerate(zip(row, cells, strict=True))]).rstrip()
                     for row, cells in zip(rows, sizes, strict=True))


def render_size(size: float) -> str:
    """`3.2 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
