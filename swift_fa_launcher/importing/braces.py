"""What `{a,b}` and `{1..3}` make of a word. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from swift_fa_launcher.errors import Text
from swift_fa_launcher.importing.parse import Literal, Part, ShellError, Word

_MOST = 1000  # words of one


def expand_braces(word: Word) -> Iterator[Word]:
    """The words that `{a,b}` and `{1..3}` make of one."""
    signs: list[Part] = []
    for part in word.parts:
        if isinstance(part, Literal) and not part.quoted:
            signs += [Literal(sign, False) for sign in part.text]
        else:
            signs.append(part)
    if not any(isinstance(part, Literal) and part.text == "{" and not part.quoted for part in signs):
        yield word
        return
    for parts in _alternatives(signs, word.line):
        yield Word(_joined(parts), word.line)


def _joined(parts: Sequence[Part]) -> tuple[Part, ...]:
    found: list[Part] = []
    for part in parts:
        if found and isinstance(part, Literal) and isinstance(found[-1], Literal) and part.quoted == found[-1].quoted:
            found[-1] = Literal(found[-1].text + part.text, part.quoted)
        else:
            found.append(part)
    return tuple(found)


def _alternatives(signs: list[Part], line: int = 0) -> list[list[Part]]:
    def is_sign(part: Part, text: str) -> bool:
        return isinstance(part, Literal) and not part.quoted and part.text == text

    for start, part in enumerate(signs):
        if not is_sign(part, "{"):
            continue
        depth, cuts = 0, [start]
        for at in range(start, len(signs)):
            depth += is_sign(signs[at], "{") - is_sign(signs[at], "}")
            if depth == 1 and is_sign(signs[at], ","):
                cuts.append(at)
            if depth == 0:
                items = [signs[a + 1:b] for a, b in zip(cuts, [*cuts[1:], at], strict=True)]
                if len(items) == 1:
                    items = _sequence(items[0])
                if items:
                    inner = [one for item in items for one in _alternatives(item, line)]
                    rests = _alternatives(signs[at + 1:], line)
                    if len(inner) * len(rests) > _MOST:
                        raise ShellError(line, Text("the braces make too many words", "花括号展开的词过多"))
                    return [[*signs[:start], *item, *rest] for item in inner for rest in rests]
                break
    return [signs]


def _sequence(inside: list[Part]) -> list[list[Part]]:
    text = "".join(part.text if isinstance(part, Literal) and not part.quoted else "\0" for part in inside)
    match = re.fullmatch(r"(-?\d{1,9})\.\.(-?\d{1,9})(?:\.\.(-?\d{1,9}))?", text)
    if not match:
        return []
    start, end, step = int(match[1]), int(match[2]), abs(int(match[3] or 1)) or 1
    numbers = range(start, end + 1, step) if start <= end else range(start, end - 1, -step)
    width = max((len(n) for n in match.groups()[:2] if n.lstrip("-").startswith("0") and len(n.lstrip("-")) > 1), default=0)
    return [[Literal(str(number).zfill(width), False)] for number in numbers[:_MOST + 1]]
