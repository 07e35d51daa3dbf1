"""Shell patterns: `*`, `?`, `[…]`, as in names of files, `case`, and `${name%pattern}`. Pure."""

from __future__ import annotations

import re
from functools import cache


def has_pattern(text: str) -> bool:
    """Whether the shell would look for files of this name.

    >>> [has_pattern(text) for text in ("data/*.jsonl", "a[0]", "gpus[", "plain")]
    [True, True, False, False]
    """
    start = text.find("[")
    return "*" in text or "?" in text or (start >= 0 and "]" in text[start + 2:])


def shell_pattern(text: str) -> str:
    """A pattern that is matched by this text alone."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)


@cache
def matcher(pattern: str, anchored: str = "") -> re.Pattern[str]:
    """The pattern as a regular expression. anchored: "#" at the beginning of a text, "%" at its end."""
    found, at = [], 0
    while at < len(pattern):
        sign = pattern[at]
        bracket = re.compile(r"\[([!^]?)(\]?[^\]]*)\]").match(pattern, at) if sign == "[" else None
        if bracket:
            inside = bracket[2].replace("\\", "\\\\").replace("[:digit:", "0-9").replace("[:alpha:", "a-zA-Z")
            found.append(f"[{'^' if bracket[1] else ''}{inside.replace('[', chr(92) + '[')}]")
            at = bracket.end()
            continue
        if sign == "\\" and at + 1 < len(pattern):
            found.append(re.escape(pattern[at + 1]))
            at += 2
            continue
        found.append({"*": ".*", "?": "."}.get(sign) or re.escape(sign))
        at += 1
    expression = "".join(found)
    try:
        return re.compile({"#": f"\\A(?:{expression})", "%": f"(?:{expression})\\Z"}.get(anchored, expression), re.S)
    except re.error:
        return re.compile(re.escape(pattern))


def remove(op: str, text: str, pattern: str) -> str:
    """`${text#pattern}` and `%`: the shortest beginning or end that matches; doubled, the longest."""
    compiled = matcher(pattern)
    cuts = range(len(text) + 1)
    if op.startswith("#"):
        for cut in cuts if op == "#" else reversed(cuts):
            if compiled.fullmatch(text[:cut]):
                return text[cut:]
    else:
        for cut in reversed(cuts) if op == "%" else cuts:
            if compiled.fullmatch(text[cut:]):
                return text[:cut]
    return text
