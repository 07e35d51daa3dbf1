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
    """`tr ab cd`, without ranges and options."""
    first, second = (word.replace("\\n", "\n").replace("\\t", "\t") for word in words)
    if given is None or re.search(r"[\\\[]|^-.|.-.", first + second) or not second:
        return None
    return given.translate({ord(sign): second[min(i, len(second) - 1)] for i, sign in enumerate(first)})


def _wc(words: list[str], given: str | None) -> str | None:
    counts = {"-l": lambda text: text.count("\n"), "-w": lambda text: len(text.split()), "-c": len}
    return f"{counts[words[0]](given)}\n" if given is not None and len(words) == 1 and words[0] in counts else None


def _awk(words: list[str], given: str | None) -> str | None:
    """`awk -F, '{print NF}'`."""
    match = re.fullmatch(r"(?:-F ?(?P<by>[^ ]) )?\{ ?print NF ?\}", " ".join(words))
    return "".join(f"{len(line.split(match['by']))}\n" for line in given.splitlines()) if match and given is not None else None


def _cat(words: list[str], given: str | None) -> str | None:
    return given if not words else None


OWN_TOOLS: Mapping[str, Callable[[list[str], str | None], str | None]] = {
    "expr": _expr, "bc": _bc, "echo": _echo, "dirname": _dirname, "basename": _basename, "seq": _seq,
    "tr": _tr, "wc": _wc, "awk": _awk, "cat": _cat}
#: Those that carry an unknown text through as it is.
TRANSPARENT = ("echo", "dirname", "basename", "cat")
