"""What small text programs say for given words and standard input: `$(expr 16 / 4)` is a number. None is started. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from swift_fa_launcher.importing.values import NoNumber, compute


def run_tool(name: str, words: Sequence[str], given: str | None) -> str | None:
    """The output; None where the program would be asked for more than is known here."""
    try:
        return OWN_TOOLS[name](list(words), given)
    except (IndexError, ValueError, NoNumber):
        return None


def _expr(words: list[str], given: str | None) -> str | None:
    if not all(re.fullmatch(r"-?\d+|[-+*/%()]|[<>]=?|!?=", word) for word in words):
        return None
    text = " ".join("==" if word == "=" else word for word in words)
    return f"{_plain_sum(text)}\n"


def _plain_sum(text: str) -> int:
    def nothing(name: str, value: int = 0) -> int:
        raise NoNumber(name)

    return compute(re.sub(r"\b0+(?=\d)", "", text), nothing, nothing)  # type: ignore[arg-type]  # no octals here


def _bc(words: list[str], given: str | None) -> str | None:
    return f"{_plain_sum(given)}\n" if not words and given and re.fullmatch(r"[-+*/%()\d\s]+", given) else None


def _echo(words: list[str], given: str | None) -> str | None:
    ends = "\n"
    while words and re.fullmatch(r"-[neE]+", words[0]):
        option = words.pop(0)
        ends = "" if "n" in option else ends
        if "e" in option and any("\\" in word for word in words):
            return None
    return " ".join(words) + ends


def _printf(words: list[str], given: str | None) -> str | None:
    form, *values = words
    if not re.fullmatch(r"(?:[^%\\]|%[sd]|%%|\\n|\\t)*", form):
        return None
    said, count = "", len(re.findall(r"%[sd]", form))
    for start in range(0, max(len(values), 1), max(count, 1)):
        now = [*values[start:start + count], *[""] * count]
        piece = re.sub(r"%([sd])", lambda match, now=now: now.pop(0) or ("" if match[1] == "s" else "0"), form)  # type: ignore[misc]
        said += piece.replace("%%", "%").replace("\\n", "\n").replace("\\t", "\t")
        if not count:
            break
    return said


def _dirname(words: list[str], given: str | None) -> str | None:
    path = words[-1].rstrip("/")
    head, slash, _ = path.rpartition("/")
    return (head.rstrip("/") or "/" if slash or words[-1].startswith("/") else ".") + "\n"


def _basename(words: list[str], given: str | None) -> str | None:
    if words[0].startswith("-"):
        return None
    name = words[0].rstrip("/").rpartition("/")[2]
    end = words[1] if len(words) > 1 else ""
    return (name[:-len(end)] if end and name.endswith(end) and name != end else name) + "\n"


def _seq(words: list[str], given: str | None) -> str | None:
    numbers = [int(word) for word in words]
    start, step, end = (1, 1, numbers[0]) if len(numbers) == 1 else (numbers[0], 1, numbers[1]) if len(numbers) == 2 else numbers
    return "".join(f"{n}\n" for n in list(range(start, end + (1 if step > 0 else -1), step))[:10_000])


def _tr(words: list[str], given: str | None) -> str | None:
    if given is None:
        return None
    signs = [word.replace("\\n", "\n").replace("\\t", "\t").replace("[:upper:]", "A-Z").replace("[:lower:]", "a-z")
             .replace("[:space:]", " \n\t") for word in words if word != "-d"]
    sets = [re.sub(r"([a-z])-([a-z])|([A-Z])-([A-Z])|(\d)-(\d)",
                   lambda m: "".join(map(chr, range(ord(m[0][0]), ord(m[0][2]) + 1))), one) for one in signs]
    if any(word.startswith("-") and word != "-d" for word in words) or "\\" in "".join(sets):
        return None
    if "-d" in words:
        return given.translate({ord(sign): None for sign in sets[0]})
    return given.translate({ord(sign): sets[1][min(i, len(sets[1]) - 1)] for i, sign in enumerate(sets[0])})


def _wc(words: list[str], given: str | None) -> str | None:
    counts = {"-l": lambda text: text.count("\n"), "-w": lambda text: len(text.split()), "-c": len}
    return f"{counts[words[0]](given)}\n" if given is not None and len(words) == 1 and words[0] in counts else None


def _awk(words: list[str], given: str | None) -> str | None:
    """`awk -F, '{print NF}'` and `'{print $1}'`."""
    match = re.fullmatch(r"(?:-F ?(?P<by>[^ ]) )?\{ ?print (?:(?P<nf>NF)|\$(?P<at>[1-9]|NF)) ?\}", " ".join(words))
    if not match or given is None:
        return None
    told = []
    for line in given.splitlines():
        items = line.split(match["by"]) if match["by"] else line.split()
        at = len(items) if match["at"] == "NF" else int(match["at"] or 0)
        told.append(str(len(items)) if match["nf"] else items[at - 1] if 0 < at <= len(items) else "")
    return "".join(f"{line}\n" for line in told)


def _cut(words: list[str], given: str | None) -> str | None:
    match = re.fullmatch(r"(?:-d ?(?P<by>.) )?-f ?(?P<at>\d+)(?: -d ?(?P<by2>.))?", " ".join(words))
    if not match or given is None:
        return None
    by, at = match["by"] or match["by2"] or "\t", int(match["at"])
    return "".join(f"{line.split(by)[at - 1] if by in line and at <= len(line.split(by)) else '' if by in line else line}\n"
                   for line in given.splitlines())


def _head(words: list[str], given: str | None) -> str | None:
    count = re.fullmatch(r"-(?:n ?)?(\d+)", " ".join(words) or "-10")
    return "".join(given.splitlines(keepends=True)[:int(count[1])]) if given is not None and count else None


def _cat(words: list[str], given: str | None) -> str | None:
    return given if not words else None


OWN_TOOLS: Mapping[str, Callable[[list[str], str | None], str | None]] = {
    "expr": _expr, "bc": _bc, "echo": _echo, "printf": _printf, "dirname": _dirname, "basename": _basename, "seq": _seq,
    "tr": _tr, "wc": _wc, "awk": _awk, "cut": _cut, "head": _head, "cat": _cat}
#: Those that carry an unknown text through as it is.
TRANSPARENT = ("echo", "printf", "dirname", "basename", "cat")
