"""A log as the few lines that are worth a look: streaming, constant memory, 100 MB in about a second.

Logs say the same things over and over with other numbers. So each line is reduced to its shape (the line without its
digits); a shape is judged once, and a block of text whose shapes are all known to be dull costs three passes in C and
not one step in Python. A needle therefore never holds a digit.

Where every line is new (what a model writes, dumps of data), less is looked at: of new lines that hold a word of failure,
all while they are few; where they are legion, the first of each piece, what stands in tracebacks, and those with a rarer
word. A word that hundreds of different lines held is noise. The end of the log, where a failure stands as a rule, is
looked at in full.
"""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice, repeat

from swift_fa_launcher.diagnose.needles import Needles

_DIGITS = b"0123456789"
_BREAKS = bytes.maketrans(b"\r", b"\n")  # a redrawn progress bar is many lines to us, one line to the numbering
_CONTROLS = bytes({*range(32), 127} - {9, 10, 13, 27})
_PIECE = 1 << 18  # bytes looked at in one go, and the longest line that is kept whole
_CONTEXT = 12_000  # bytes before a line that a signature may look back at: some 120 lines, a long traceback
_LONGEST = 2_500  # characters of one line that are matched: dumps of whole datasets come as one line
_SHAPES = 20_000  # shapes kept of either kind before they are forgotten
_LOOKS = 1_000  # times that one shape is looked at: by then it is noise

_FEW = 40_000  # bytes of new shapes in one piece that are all looked at: some 400 lines
_HEADS = ((b"Traceback (most recent call last)", _CONTEXT), (b"\nERROR: ", 500), (b"\nerror: ", 500))  # and bytes from there
_FIRST = 20  # of the new lines of a piece that are looked at where they are legion
_END_PIECES, _END_SHAPES = 2, 3_000  # the log's end: so many pieces, and of their shapes so many, the last
#: Where more is new at once, only what holds one of these is looked at: what fails nearly always says one of them on the
#: line that says why. Few, because each is searched for in all that is new.
_GATE = (b"rror", b"ERR", b"xception", b"ail", b"ound", b"nable", b"imeout", b"illed", b"SIG", b"nterrupt", b"exitcode",
         b"swanlab", b"INFO:", b"loss':", b"Successfully", b"nvalid", b"fatal", b"run sh")

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])|[\x00-\x08\x0b-\x1f\x7f]")
_SPEAKER_NAME = (r"\[(?:rank|default|worker-?)\d+\]:?|\([\w.]* ?pid=\d+[^)]{0,80}\)|\[\d+,\d+\]<\w+>:?|\d{1,4}:(?=\s)"
                 r"|(?:node|host|worker|master|compute|gpu|ip-)[\w.-]{0,40}:(?=\s)|[\w.-]{1,40}\s*\|(?=\s)")
#: Who speaks, as torchrun, Ray, mpirun, srun, pdsh and docker compose put it before a line.
_SPEAKER = re.compile(rf"^\s{{0,4}}(?:{_SPEAKER_NAME})\s?")
#: When, as docker, Kubernetes, platforms and Python's logging put it there; and a mail's or an issue's `> `.
_STAMP_TEXT = (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*\s(?:(?:stdout|stderr) [FP]\s)?(?:- [\w.]+ - [A-Z]+ -\s)?"
               r"|\[\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[^\s\]]{0,12}\]\s|>\s")
_STAMP = re.compile(rf"^\s{{0,4}}(?:{_STAMP_TEXT})+")
_HEAD = re.compile(rf"^\s{{0,4}}(?:{_STAMP_TEXT}|(?:{_SPEAKER_NAME})\s?)+")
_FRAME = re.compile(r'\s*File ".*", line \d+')
_TRACEBACK = "Traceback (most recent call last)"
_IGNORED = re.compile(r"(?:Exception ignored in|--- Logging error ---).*\s*$")
_QUOTED = 2_000  # bytes before a line in which the frame that quotes it is looked for


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
        return _HEAD.sub("", self.text, count=1).lstrip()

    @cached_property
    def around(self) -> str:
        """The lines before, of the same speaker where this one has one, and the line itself."""
        who = self._who
        past = self.past.translate(_BREAKS, _CONTROLS).decode("utf-8", "replace")
        if "\x1b" in past:
            past = _ESCAPES.sub("", past)
        if who:
            past = "\n".join([line for line in past.split("\n") if _STAMP.sub("", line, count=1).lstrip().startswith(who)])
        return f"{past}\n{self.text}"

    @cached_property
    def beside(self) -> str:
        """The lines before, whoever spoke, and the line itself."""
        return f"{_plain(self.past, _CONTEXT)}\n{self.text}"

    @cached_property
    def ignored(self) -> bool:
        """Whether the traceback that it ends is one that Python tells of and goes on: of a `__del__`, or of logging."""
        return bool(_IGNORED.search(self.around[:max(0, self.around.rfind(_TRACEBACK))]))

    @cached_property
    def quoted(self) -> bool:
        """Whether it is source code that a traceback shows: indented further than the `File "…", line N` that it follows."""
        who = self._who
        depth = _depth(_plain(self.raw))
        for raw in reversed(self.past[-_QUOTED:].splitlines()) if depth else ():
            line = _plain(raw)
            if line.strip() and _STAMP.sub("", line, count=1).lstrip().startswith(who) and _depth(line) < depth:
                return bool(_FRAME.match(_HEAD.sub("", line, count=1)))
        return False

    @cached_property
    def _who(self) -> str:
        speaker = _SPEAKER.match(_STAMP.sub("", self.text, count=1))
        return speaker[0].strip() if speaker else ""

    @cached_property
    def frames(self) -> str:
        """`around` from the last traceback's head on."""
        return self.around[max(0, self.around.rfind(_TRACEBACK)):]


def read_lines(chunks: Iterable[bytes], needles: Sequence[tuple[bytes, ...]], ticks: Sequence[bytes],
               ticking: Callable[[], bool]) -> Iterator[tuple[Line, tuple[int, ...]]]:
    """The lines that hold a needle, each with the indexes of the tuples whose needle it holds (any one of a tuple).

    ticks: needles of lines that are legion, such as a progress bar's; they come, without an index, while `ticking()`.
    """
    wanted = Needles(needles, ticks)
    dull: set[bytes] = set()
    known: dict[bytes, tuple[int, ...]] = {}  # shape to indexes; none for a mere tick
    looks: dict[bytes, int] = {}
    past = b""
    for first, block, at_end in _with_end(_blocks(_to_utf8(chunks))):
        flat = block.translate(_BREAKS, _DIGITS)
        shapes = flat.split(b"\n")
        if len(max(shapes, key=len)) > _LONGEST:  # what of two lines is not matched need not be told apart
            shapes = [shape[:_LONGEST] for shape in shapes]
            flat = b"\n".join(shapes)
        distinct = dict.fromkeys(shapes)  # a set would have another order, and so perhaps another end, each time
        fresh = [shape for shape in distinct if shape not in dull and shape not in known]
        judged = dict(_judge(fresh, flat, wanted, ticks, at_end))
        known.update(judged)
        dull.update(fresh)
        dull.difference_update(judged)
        live = distinct.keys() & known.keys()
        if any(map(known.get, live)) or (live and ticking()):
            for shape, line in _live_lines(first, block, shapes, live, past):
                looks[shape] = looks.get(shape, 0) + 1 if known[shape] else 0
                if (known[shape] or ticking()) and looks[shape] <= _LOOKS:
                    yield line(), known[shape]
            for shape in [shape for shape in live if looks.get(shape, 0) > _LOOKS]:
                del known[shape]
                dull.add(shape)
        past = (past + block[-_CONTEXT:])[-_CONTEXT:]
        for memory in (dull, known, looks):
            if len(memory) > _SHAPES:
                memory.clear()


def _live_lines(first: int, block: bytes, shapes: Sequence[bytes], live: Set[bytes],
                past: bytes) -> Iterator[tuple[bytes, Callable[[], Line]]]:
    """The shapes of a piece that are `live`, in order, and what makes the line of each."""
    raws = block.translate(_BREAKS).split(b"\n")
    number, start, done = first, 0, 0

    def line() -> Line:
        nonlocal number, start, done
        end = start + sum(map(len, raws[done:at])) + at - done
        number += block.count(b"\n", start, end)
        start, done = end, at
        return Line(number, raws[at], (past + block[max(0, end - _CONTEXT): end])[-_CONTEXT:])

    for at in [at for at, shape in enumerate(shapes) if shape in live]:
        yield shapes[at], line


def _depth(line: str) -> int:
    """Spaces before what a line says, without who speaks and when."""
    said = _HEAD.sub("", line, count=1)
    return len(said) - len(said.lstrip())


def _plain(raw: bytes, most: int = _LONGEST) -> str:
    return _ESCAPES.sub("", raw[:most].decode("utf-8", "replace"))


def _judge(fresh: Sequence[bytes], flat: bytes, wanted: Needles, ticks: Sequence[bytes],
           at_end: bool) -> Iterator[tuple[bytes, tuple[int, ...]]]:
    """The new shapes that hold a needle, with the indexes; those of mere ticks without."""
    for (shape, ticked), fully in _worth_a_look(fresh, flat, wanted, ticks, at_end):
        held = () if ticked else wanted.groups_of(shape, all_of=fully)
        if held or ticked or any(tick in shape for tick in ticks):
            yield shape, held


def _worth_a_look(fresh: Sequence[bytes], flat: bytes, wanted: Needles, ticks: Sequence[bytes],
                  at_end: bool) -> Iterable[tuple[tuple[bytes, bool], bool]]:
    """The new shapes of a piece that are worth the time, whether each is a mere tick, and whether words count in it that are
    noise elsewhere. flat: all shapes of the piece, in order."""
    if at_end:
        return zip(list(_once(wanted.lines(flat, all_of=True), fresh))[-_END_SHAPES:], repeat(True))
    text = b"\n".join(fresh)
    if len(text) <= _FEW:
        return zip(wanted.lines(text), repeat(False))
    eighth = _holding(text[:len(text) // 8], (*_GATE, *ticks), _FEW // 8)
    if len(eighth) <= _FEW // 8 and len(gated := _holding(text, (*_GATE, *ticks), _FEW)) <= _FEW:
        return zip(wanted.lines(gated), repeat(False))
    full = list(_once(chain(islice(wanted.lines(flat, all_of=True), _FIRST),
                            *(wanted.lines_after(head, flat, size) for head, size in _HEADS)), fresh))
    return chain(zip(full, repeat(True)),
                 zip(_once(wanted.telling_lines(flat), set(fresh).difference(line for line, _ in full)), repeat(False)))


def _once(lines: Iterable[tuple[bytes, bool]], among: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    left = set(among)
    for line, ticked in lines:
        if line in left:
            left.discard(line)
            yield line, ticked


def _holding(text: bytes, words: Sequence[bytes], most: int) -> bytes:
    """The lines that hold one of the words, or more than `most` bytes of them; one search for each word."""
    found: dict[bytes, None] = {}
    size = 0
    for word in words:
        at = text.find(word)
        while at >= 0 and size <= most:
            start, end = text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at)
            end = len(text) if end < 0 else end
            if (line := text[start:end]) not in found:
                found[line] = None
                size += len(line) + 1
            at = text.find(word, end)
    return b"\n".join(found)


def _with_end(blocks: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes, bool]]:
    """The blocks, and whether each is one of the last."""
    held: deque[tuple[int, bytes]] = deque()
    for block in blocks:
        held.append(block)
        if len(held) > _END_PIECES:
            yield *held.popleft(), False
    yield from ((*block, True) for block in held)


def _blocks(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Whole lines in pieces of about 256 KiB, each with its first line's number; the same for chunks of any size."""
    rest, number = bytearray(), 1
    for chunk in chunks:
        for start in range(0, len(chunk), _PIECE):
            rest += chunk[start: start + _PIECE]
            while len(rest) >= _PIECE:
                cut = rest.rfind(b"\n", 0, _PIECE) + 1 or rest.rfind(b"\r", 0, _PIECE) + 1 or _PIECE
                block = bytes(rest[:cut])
                yield number, block
                number += block.count(b"\n")
                del rest[:cut]
    if rest:
        yield number, bytes(rest)


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
