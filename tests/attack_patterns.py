"""Looks for patterns that take more than linear time on a line made against them.

    python tests/attack_patterns.py [LENGTH]     each pattern of the package that is slow, with seconds and the kind of text

Every literal pattern of the package is found in its source. For each place where a pattern repeats without end, texts are made
that reach that place, go on with what it repeats, and never end as the pattern wants it.
"""

from __future__ import annotations

import ast
import random
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

try:
    from re import _constants as names  # type: ignore[attr-defined]
    from re import _parser as parser  # type: ignore[attr-defined]
except ImportError:  # Python 3.10
    import sre_constants as names  # type: ignore[no-redef]
    import sre_parse as parser  # type: ignore[no-redef]

PACKAGE = Path(__file__).parents[1] / "swift_fa_launcher"
FUNCTIONS = {"compile", "match", "search", "fullmatch", "sub", "subn", "split", "findall", "finditer"}
TYPED = ("commands/", "training/tiny.py")  # what is matched there is a word of a command line
SEEDS, WRONG_END = 3, "\x00"
AGAIN = ("findall", "finditer", "sub", "subn", "split")
OF_CATEGORY = {"digit": "7", "space": " ", "word": "a", "not_digit": "a", "not_space": "a", "not_word": "-"}
ALPHABET = [chr(one) for one in (*range(32, 127), 9, 10, 0x4E2D)]


class Literal(NamedTuple):
    """A pattern, its flags, where it stands, and how it is asked: "search", "match", "sub", ..."""

    where: str
    text: str | bytes
    flags: int
    asked: tuple[str, ...]


def literals(root: Path = PACKAGE) -> Iterator[Literal]:
    """Every pattern that is written as a text in a call of `re`."""
    for file in sorted(root.rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        tree = ast.parse(source)
        at_once = {id(node.value): node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        named = {id(node.value): node.targets[0].id for node in ast.walk(tree)
                 if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)}
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in FUNCTIONS
                    and isinstance(node.func.value, ast.Name) and node.func.value.id == "re" and node.args):
                continue
            pattern = node.args[0]
            if isinstance(pattern, ast.Constant) and isinstance(pattern.value, (str, bytes)):
                flags = {word.attr for part in (*node.args[1:], *(one.value for one in node.keywords)) for word in ast.walk(part)
                         if isinstance(word, ast.Attribute) and isinstance(word.value, ast.Name) and word.value.id == "re"
                         and word.attr.isupper()}
                name = named.get(id(node), "")
                method = at_once.get(id(node), "compile") if node.func.attr == "compile" else node.func.attr
                asked = (method,) if method != "compile" else \
                    tuple(sorted(set(re.findall(rf"\b{name}\.(\w+)\b", source)) & FUNCTIONS)) if name else ()
                yield Literal(f"{file.relative_to(root)}:{node.lineno}", pattern.value,
                              sum(int(getattr(re, flag)) for flag in flags), asked or ("search",))


def attacks(pattern: str | bytes, flags: int, length: int) -> Iterator[str]:
    """Texts of about so many characters."""
    source = pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern
    tree = parser.parse(source, flags & ~int(re.UNICODE) if isinstance(pattern, str) else flags)
    for seed in range(SEEDS):
        draw = random.Random(seed)
        for before, pump in pumps(list(tree), "", draw):
            for unit in {pump, before + pump}:
                if unit:
                    yield before + unit * (length // len(unit)) + WRONG_END


def pumps(items: list[Any], before: str, draw: random.Random) -> Iterator[tuple[str, str]]:
    """(a text that leads there, what is repeated there) for every place that repeats without end."""
    for kind, what in items:
        if kind in (names.MAX_REPEAT, names.MIN_REPEAT) or str(kind) == "POSSESSIVE_REPEAT":
            _, most, body = what
            if most is names.MAXREPEAT:
                yield before, sample(list(body), draw) or "a"
            yield from pumps(list(body), before, draw)
        elif kind is names.SUBPATTERN:
            yield from pumps(list(what[-1]), before, draw)
        elif kind is names.BRANCH:
            for branch in what[1]:
                yield from pumps(list(branch), before, draw)
        before += sample([(kind, what)], draw)


def sample(items: list[Any], draw: random.Random) -> str:
    """A text that the items match, nearly always."""
    made = ""
    for kind, what in items:
        if kind is names.LITERAL:
            made += chr(what)
        elif kind is names.NOT_LITERAL:
            made += next(one for one in "ab" if ord(one) != what)
        elif kind is names.ANY:
            made += "a"
        elif kind is names.IN:
            made += draw.choice(matching(what) or ["a"])
        elif kind is names.BRANCH:
            made += sample(list(draw.choice(what[1])), draw)
        elif kind is names.SUBPATTERN:
            made += sample(list(what[-1]), draw)
        elif kind in (names.MAX_REPEAT, names.MIN_REPEAT) or str(kind) == "POSSESSIVE_REPEAT":
            made += sample(list(what[2]), draw) * max(what[0], draw.randint(0, 1) if what[1] else 0)
        elif str(kind) == "ATOMIC_GROUP":
            made += sample(list(what), draw)
    return made


def matching(parts: list[Any]) -> list[str]:
    """The characters that a set takes, of those that are tried."""
    negated, found = False, set()
    for kind, what in parts:
        if kind is names.NEGATE:
            negated = True
        elif kind is names.LITERAL:
            found.add(chr(what))
        elif kind is names.RANGE:
            found |= {one for one in ALPHABET if what[0] <= ord(one) <= what[1]} or {chr(what[0])}
        elif kind is names.CATEGORY:
            found.add(OF_CATEGORY.get(str(what).lower().removeprefix("category_"), "a"))
    return sorted(one for one in ALPHABET if one not in found) if negated else sorted(found)


def slowest(one: Literal, length: int, most: float) -> tuple[float, str]:
    """(seconds of the worst text, its beginning); ended after `most` seconds."""
    pattern = re.compile(one.text, one.flags)
    worst = (0.0, "")
    for text in dict.fromkeys(attacks(one.text, one.flags, length)):
        given: Any = text.encode("latin-1", "replace") if isinstance(one.text, bytes) else text
        began = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, most)
        try:
            for how in one.asked:
                found = getattr(pattern, "finditer" if how in AGAIN else how)(given)
                deque(found, 0) if how in AGAIN else None
        except TimeoutError:
            return most, text[:60]
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        worst = max(worst, (time.process_time() - began, text[:60]))
    return worst


def stop(number: int, frame: object) -> None:
    raise TimeoutError


def main() -> None:
    length = int(sys.argv[1]) if sys.argv[1:] else 65536
    signal.signal(signal.SIGVTALRM, stop)
    for one in literals():
        if one.where.startswith(TYPED):
            continue
        seconds, text = slowest(one, length, 2.0)
        if seconds > 0.25:
            print(f"{seconds:6.2f} {one.where} {one.text!r:.100} {text!r}", flush=True)


if __name__ == "__main__":
    main()
