"""A log as the few lines that are worth a look: streaming, constant memory, 100 MB in about a second.

Logs say the same things over and over with other numbers. So each line is reduced to its shape (the line without its
digits); a shape is judged once, and a block of text whose shapes are all known to be dull costs three passes in C and
not one step in Python. A needle therefore never holds a digit.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

_DIGITS = b"0123456789"
_BREAKS = bytes.maketrans(b"\r", b"\n")  # a redrawn progress bar is many lines to us, one line to the numbering
_PIECE = 1 << 18  # bytes looked at in one go, and the longest line that is kept whole
_CONTEXT = 12_000  # bytes before a line that a signature may look back at: some 120 lines, a long traceback
_LONGEST = 2_500  # characters of one line that are matched: dumps of whole datasets come as one line
_SHAPES = 20_000  # shapes kept of either kind before they are forgotten
_LOOKS = 1_000  # times that one shape is looked at: by then it is noise

_FEW = 400  # new shapes of one piece that are all looked at
#: Where more is new at once (generated text, dumps of data), only what holds one of these is looked at: what fails nearly
#: always says one of them on the line that says why. Few, because each is searched for in all that is new.
_GATE = (b"rror", b"ERR", b"xception", b"ail", b"ound", b"nable", b"imeout", b"illed", b"SIG", b"nterrupt", b"exitcode",
         b"swanlab", b"INFO:", b"loss':", b"Successfully", b"nvalid", b"fatal", b"run sh")

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])|[\x00-\x08\x0b-\x1f\x7f]")
#: Who speaks, as torchrun, Ray, mpirun, srun, pdsh and docker compose put it before a line.
_SPEAKER = re.compile(r"^\s{0,4}(?:\[(?:rank|default|worker-?)\d+\]:?|\([\w.]* ?pid=\d+[^)]{0,80}\)|\[\d+,\d+\]<\w+>:?"
                      r"|\d{1,4}:(?=\s)|worker-?\d+:|[\w.-]{1,40}\s*\|(?=\s))\s?")
#: As docker, Kubernetes and Python's logging put it there.
_STAMP = re.compile(r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*\s+(?:(?:stdout|stderr) [FP]\s+)?(?:- [\w.]+ - [A-Z]+ - )?\s*")


@dataclass(frozen=True)
class Line:
    """One line (or one redraw of a progress bar). number: 1-based, by line feeds."""

    number: int
    raw: bytes
    past: bytes  # what stood before it

    @cached_property
    def text(self) -> str:
        """Without colours and control characters, trimmed; who speaks stays."""
        return _plain(self.raw).strip()

    @cached_property
    def said(self) -> str:
        """`text` without who speaks and when."""
        return _STAMP.sub("", _SPEAKER.sub("", self.text, count=1).lstrip(), count=1)

    @cached_property
    def around(self) -> str:
        """The lines before, of the same speaker where this one has one, and the line itself."""
        speaker = _SPEAKER.match(self.text)
        lines = [_plain(raw) for raw in re.split(rb"[\r\n]", self.past)]
        if speaker:
            lines = [line for line in lines if line.lstrip().startswith(speaker[0].strip())]
        return "\n".join([*lines, self.text])

    @cached_property
    def frames(self) -> str:
        """`around` from the last traceback's head on."""
        return self.around[max(0, self.around.rfind("Traceback (most recent call last)")):]


def read_lines(chunks: Iterable[bytes], needles: Sequence[tuple[bytes, ...]], ticks: Sequence[bytes],
               ticking: Callable[[], bool]) -> Iterator[tuple[Line, tuple[int, ...]]]:
    """The lines that hold a needle, each with the indexes of the tuples whose needle it holds (any one of a tuple).

    ticks: needles of lines that are legion, such as a progress bar's; they come, without an index, while `ticking()`.
    """
    pairs = [(needle, index) for index, ones in enumerate(needles) for needle in ones]
    finder = re.compile(_any_of([*ticks, *(needle for needle, _ in pairs)]))
    dull: set[bytes] = set()
    known: dict[bytes, tuple[int, ...]] = {}  # shape to indexes; none for a mere tick
    looks: dict[bytes, int] = {}
    past = b""
    for first, block in _blocks(_to_utf8(chunks)):
        shapes = block.translate(_BREAKS, _DIGITS).split(b"\n")
        distinct = set(shapes)
        fresh = distinct.difference(dull, known)
        for shape in filter(finder.search, fresh if len(fresh) <= _FEW else _holding(fresh, (*_GATE, *ticks))):
            known[shape] = tuple(sorted({index for needle, index in pairs if needle in shape}))
        dull |= fresh.difference(known)
        live = distinct.intersection(known)
        if any(map(known.get, live)) or (live and ticking()):
            raws = block.translate(_BREAKS).split(b"\n")
            number, start, done = first, 0, 0
            for at in [at for at, shape in enumerate(shapes) if shape in live]:
                shape = shapes[at]
                if not known[shape] and not ticking():
                    continue
                looks[shape] = looks.get(shape, 0) + 1 if known[shape] else 0
                if looks[shape] > _LOOKS:
                    continue
                end = start + sum(map(len, raws[done:at])) + at - done
                number += block.count(b"\n", start, end)
                start, done = end, at
                yield Line(number, raws[at], (past + block[max(0, end - _CONTEXT): end])[-_CONTEXT:]), known[shape]
            for shape in [shape for shape in live if looks.get(shape, 0) > _LOOKS]:
                del known[shape]
                dull.add(shape)
        past = (past + block[-_CONTEXT:])[-_CONTEXT:]
        for memory in (dull, known, looks):
            if len(memory) > _SHAPES:
                memory.clear()


def _plain(raw: bytes) -> str:
    return _ESCAPES.sub("", raw[:_LONGEST].decode("utf-8", "replace"))


def _any_of(needles: Iterable[bytes], letters: int = 2) -> bytes:
    """A pattern for any needle, branching by its first letters: ten times as fast as one flat list of alternatives."""
    rests: dict[bytes, set[bytes]] = {}
    for needle in needles:
        rests.setdefault(needle[:1], set()).add(needle[1:])
    if not letters or b"" in rests:
        return b"(?:" + b"|".join(map(re.escape, sorted(needles))) + b")"
    return b"(?:" + b"|".join(re.escape(first) + _any_of(rest, letters - 1) for first, rest in sorted(rests.items())) + b")"


def _holding(shapes: set[bytes], words: Sequence[bytes]) -> set[bytes]:
    """The shapes that hold one of the words; one search through all of them for each word."""
    text, found = b"\n".join(shapes), set()
    for word in words:
        at = text.find(word)
        while at >= 0:
            end = text.find(b"\n", at)
            end = len(text) if end < 0 else end
            found.add(text[text.rfind(b"\n", 0, at) + 1: end])
            at = text.find(word, end)
    return found


def _blocks(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Whole lines in pieces of about 256 KiB, each with its first line's number."""
    rest, number = b"", 1
    for chunk in chunks:
        for start in range(0, len(chunk), _PIECE):
            rest += chunk[start: start + _PIECE]
            cut = rest.rfind(b"\n") + 1
            if not cut and len(rest) >= _PIECE:  # a progress bar without an end: cut between two redraws
                cut = rest.rfind(b"\r") + 1 or len(rest)
            if cut:
                yield number, rest[:cut]
                number += rest.count(b"\n", 0, cut)
                rest = rest[cut:]
    if rest:
        yield number, rest


def _to_utf8(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks; recoded where a byte order mark says UTF-16, as a PowerShell redirection writes it."""
    head, recode = b"", None
    for chunk in chunks:
        if recode is None:
            head += chunk
            if len(head) < 2:
                continue
            recode = _from_utf16() if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else bytes
            yield recode(head)
        else:
            yield recode(chunk)
    if recode is None:
        yield head


def _from_utf16() -> Callable[[bytes], bytes]:
    decoder = codecs.getincrementaldecoder("utf-16")("replace")
    return lambda chunk: decoder.decode(chunk).encode("utf-8", "replace")
