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


_TOKEN = re.compile(r"\s*(0[xX][0-9a-fA-F]+|\d+#\w+|\d+|[A-Za-z_]\w*|<<=|>>=|\*\*|<<|>>|\+\+|--|&&|\|\||[-+*/%&|^<>=!]="
                    r"|[-+*/%&|^~!<>?:()=,])")
_LEVELS = (("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", ">", "<=", ">="), ("<<", ">>"), ("+", "-"),
           ("*", "/", "%"), ("**",))


def compute(text: str, look: Callable[[str], int], keep: Callable[[str, int], None]) -> int:
    """The value of bash's arithmetic. look, keep: read and write a variable. Raises NoNumber."""
    tokens, at = [], 0
    text = text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:
            raise NoNumber(text)
        tokens.append(match[1])
        at = match.end()
    reader = _Sum(tokens, look, keep)
    value = reader.sequence() if tokens else 0
    if reader.tokens:
        raise NoNumber(text)
    return value


class _Sum:
    def __init__(self, tokens: list[str], look: Callable[[str], int], keep: Callable[[str, int], None]) -> None:
        self.tokens, self._look, self._keep = tokens, look, keep

    def _take(self, *words: str) -> str | None:
        return self.tokens.pop(0) if self.tokens and self.tokens[0] in words else None

    def sequence(self) -> int:
        value = self._choice()
        while self._take(","):
            value = self._choice()
        return value

    def _choice(self) -> int:
        if len(self.tokens) > 1 and re.match(r"[A-Za-z_]", self.tokens[0]) and re.fullmatch(r"(\*|/|%|\+|-|<<|>>|&|\||\^)?=",
                                                                                           self.tokens[1]):
            name, sign = self.tokens.pop(0), self.tokens.pop(0)
            value = self._choice()
            value = value if sign == "=" else _apply(sign[:-1], self._look(name), value)
            self._keep(name, value)
            return value
        value = self._level(0)
        if not self._take("?"):
            return value
        first = self._choice()
        if not self._take(":"):
            raise NoNumber
        second = self._choice()
        return first if value else second

    def _level(self, level: int) -> int:
        if level == len(_LEVELS):
            return self._single()
        value = self._level(level + 1)
        while sign := self._take(*_LEVELS[level]):
            value = _apply(sign, value, self._level(level if sign == "**" else level + 1))
        return value

    def _single(self) -> int:
        if sign := self._take("++", "--"):
            return self._stepped(self.tokens.pop(0) if self.tokens else "", 1 if sign == "++" else -1)
        if sign := self._take("-", "+", "!", "~"):
            value = self._single()
            return {"-": -value, "+": value, "!": int(not value), "~": ~value}[sign]
        if self._take("("):
            value = self.sequence()
            if not self._take(")"):
                raise NoNumber
            return value
        if not self.tokens:
            raise NoNumber
        token = self.tokens.pop(0)
        if re.match(r"[A-Za-z_]", token):
            value = self._look(token)
            if sign := self._take("++", "--"):
                self._keep(token, value + (1 if sign == "++" else -1))
            return value
        return read_number(token)

    def _stepped(self, name: str, by: int) -> int:
        if not name.isidentifier():
            raise NoNumber
        self._keep(name, self._look(name) + by)
        return self._look(name)


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


def _apply(sign: str, a: int, b: int) -> int:
    if sign in ("/", "%"):
        if b == 0:
            raise NoNumber
        whole = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)  # towards zero
        return whole if sign == "/" else a - b * whole
    if sign in ("**", "<<", ">>") and not 0 <= b < 64:
        raise NoNumber
    table: Mapping[str, Callable[[], int]] = {
        "+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "**": lambda: a ** b, "<<": lambda: a << b,
        ">>": lambda: a >> b, "&": lambda: a & b, "|": lambda: a | b, "^": lambda: a ^ b, "&&": lambda: int(bool(a and b)),
        "||": lambda: int(bool(a or b)), "==": lambda: int(a == b), "!=": lambda: int(a != b), "<": lambda: int(a < b),
        ">": lambda: int(a > b), "<=": lambda: int(a <= b), ">=": lambda: int(a >= b)}
    value = table[sign]()
    return (value + 2**63) % 2**64 - 2**63
