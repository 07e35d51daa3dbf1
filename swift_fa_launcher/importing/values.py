"""What is known of a shell variable or word: its text, or which environment variable it waits for. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from swift_fa_launcher.errors import Text


@dataclass(frozen=True)
class Env:
    """A text that nobody knows before the training starts.

    name: the variable that holds it then. default: what it is where that is not set. why: where the script does not take it from
    a variable of this name, what it takes it from. line: of the script, from 1.
    """

    name: str
    default: Value | None = None
    why: Text | None = None
    line: int = 0


#: Texts and unknown ones, in order; the empty text is ().
Value: TypeAlias = tuple[str | Env, ...]


@dataclass(frozen=True)
class Field:
    """One word of a command, expanded. vague: unknown and unquoted, so that it may be several words or none. pattern: a shell
    pattern, which names of files would replace."""

    value: Value
    line: int
    vague: bool = False
    pattern: bool = False

    @property
    def text(self) -> str | None:
        return text_of(self.value)


def make_value(pieces: Iterable[str | Env]) -> Value:
    """The pieces, neighbouring texts joined."""
    found: list[str | Env] = []
    for piece in pieces:
        if isinstance(piece, str) and found and isinstance(found[-1], str):
            found[-1] += piece
        elif piece != "":
            found.append(piece)
    return tuple(found)


def text_of(value: Value | None) -> str | None:
    """The text of a value; None where a part is unknown."""
    if value is None or not all(isinstance(piece, str) for piece in value):
        return None
    return "".join(piece for piece in value if isinstance(piece, str))


def shown(value: Value) -> str:
    """A value for people: `$NAME` for what is not known."""
    return "".join(piece if isinstance(piece, str) else f"${piece.name}" for piece in value)


def unknowns(value: Value) -> Iterable[Env]:
    """The unknown parts, those of defaults included."""
    for piece in value:
        if isinstance(piece, Env):
            yield piece
            yield from unknowns(piece.default or ())


def assumed(value: Value, relied: Callable[[Env, str], None] = lambda env, text: None) -> str | None:
    """The text of a value with every default taken; None where one has none. relied: hears each default that is taken."""
    said = []
    for piece in value:
        if isinstance(piece, Env):
            text = assumed(piece.default, relied) if piece.default is not None else None
            if text is None:
                return None
            relied(piece, text)
            said.append(text)
        else:
            said.append(piece)
    return "".join(said)


def veiled(value: Value, kept: list[Env]) -> str:
    """The value as one text, each unknown part a sign of its own that no text has; `kept` remembers which."""
    signs = []
    for piece in value:
        if isinstance(piece, Env):
            kept.append(piece)
        signs.append(piece if isinstance(piece, str) else chr(0xF0000 + len(kept) - 1))
    return "".join(signs)


def has_veil(text: str) -> bool:
    """Whether an unknown part stands in a text that `veiled` made."""
    return re.search("[\U000f0000-\U000fffff]", text) is not None


def unveiled(text: str, kept: list[Env]) -> Value:
    """The value of a text that `veiled` made, or of a part of it."""
    return make_value(kept[ord(piece) - 0xF0000] if len(piece) == 1 and 0xF0000 <= ord(piece) < 0xF0000 + len(kept) else piece
                      for piece in re.split("([\U000f0000-\U000fffff])", text))


# --- whole numbers ---


class NoNumber(Exception):
    """Not to be computed: broken, or a value that is not known."""


_TOKEN = re.compile(r" ?(0[xX][0-9a-fA-F]+|\d+#\w+|\d+|[A-Za-z_]\w*|\*\*|\+\+|--|&&|\|\||[-+*/%<>=!]=|[-+*/%!<>?:()=])")


def _quotient(a: int, b: int) -> int:
    if b == 0:
        raise NoNumber
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)  # towards zero


def _power(a: int, b: int) -> int:
    if not 0 <= b < 64:
        raise NoNumber
    return int(a ** b)


#: What binds two numbers, the loosest first; `**` binds from the right.
_LEVELS: tuple[Mapping[str, Callable[[int, int], int]], ...] = (
    {"||": lambda a, b: int(bool(a or b))}, {"&&": lambda a, b: int(bool(a and b))},
    {"==": lambda a, b: int(a == b), "!=": lambda a, b: int(a != b)},
    {"<": lambda a, b: int(a < b), ">": lambda a, b: int(a > b), "<=": lambda a, b: int(a <= b), ">=": lambda a, b: int(a >= b)},
    {"+": lambda a, b: a + b, "-": lambda a, b: a - b},
    {"*": lambda a, b: a * b, "/": _quotient, "%": lambda a, b: a - b * _quotient(a, b)},
    {"**": _power})


def compute(text: str, look: Callable[[str], int], keep: Callable[[str, int], None]) -> int:
    """The value of bash's arithmetic, without its bits and commas. look, keep: read and write a variable. Raises NoNumber."""
    text = " ".join(text.split())
    found = [*_TOKEN.finditer(text)]
    tokens = [match[1] for match in found] if "".join(match[0] for match in found) == text else [""]
    reader = _Sum(tokens, look, keep)
    value = reader.whole() if tokens else 0
    if reader.tokens:
        raise NoNumber(text)
    return value


class _Sum:
    def __init__(self, tokens: list[str], look: Callable[[str], int], keep: Callable[[str, int], None]) -> None:
        self.tokens, self._look, self._keep = tokens, look, keep

    def _take(self, *words: str) -> str | None:
        return self.tokens.pop(0) if self.tokens and self.tokens[0] in words else None

    def whole(self) -> int:
        """An assignment, a choice, or a plain sum."""
        if len(self.tokens) > 1 and self.tokens[0].isidentifier() and re.fullmatch(r"[-+*/%]?=", self.tokens[1]):
            name, sign = self.tokens.pop(0), self.tokens.pop(0)
            value = self.whole()
            value = value if sign == "=" else _whole_of(sign[0], self._look(name), value)
            self._keep(name, value)
            return value
        value = self._level(0)
        if not self._take("?"):
            return value
        first, colon, second = self.whole(), self._take(":"), self.whole()
        if not colon:
            raise NoNumber
        return first if value else second

    def _level(self, level: int) -> int:
        if level == len(_LEVELS):
            return self._single()
        value = self._level(level + 1)
        while sign := self._take(*_LEVELS[level]):
            value = _whole_of(sign, value, self._level(level if sign == "**" else level + 1))
        return value

    def _single(self) -> int:
        if sign := self._take("-", "+", "!"):
            value = self._single()
            return {"-": -value, "+": value, "!": int(not value)}[sign]
        if self._take("("):
            value = self.whole()
            if not self._take(")"):
                raise NoNumber
            return value
        step = self._take("++", "--")
        token = self.tokens.pop(0) if self.tokens else ""
        if not token.isidentifier():
            return read_number(token if not step else "")
        value = self._look(token)
        if sign := step or self._take("++", "--"):
            self._keep(token, value + (1 if sign == "++" else -1))
        return self._look(token) if step else value


def _whole_of(sign: str, a: int, b: int) -> int:
    """Of 64 bits, as bash's are."""
    return (next(level[sign] for level in _LEVELS if sign in level)(a, b) + 2**63) % 2**64 - 2**63


def read_number(text: str) -> int:
    """A number as bash reads it: 010 is eight, 0x10 sixteen. Raises NoNumber."""
    match = re.fullmatch(r"\s*([-+]?)(?:0[xX]([0-9a-fA-F]+)|(\d+)#(\w+)|(0[0-7]*)|([1-9]\d*))\s*", text)
    try:
        if not match:
            raise NoNumber(text)
        sign, hexadecimal, base, digits, octal, decimal = match.groups()
        whole = ((hexadecimal, 16), (digits, int(base or 10)), (octal, 8), (decimal, 10))
        value = next(int(said, by) for said, by in whole if said)
        return -value if sign == "-" else value
    except ValueError:
        raise NoNumber(text) from None
