"""Whether the losses that a log shows say that nothing was learnt: not a number, or exactly 0 with a gradient that never moves."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_HEADS = (b"'loss': ", b'"loss": ')  # as ms-swift prints them, and as in its logging.jsonl
_HEAD = re.compile(b"|".join(_HEADS))
_BAD = re.compile(rb"""loss['"]: ['"]?-?(?:0(?:\.0*)?(?![\d.])|[Nn][Aa][Nn]|[Ii]nf)""")  # with transformers 5 ms-swift prints '0'
_LOSS = re.compile(rb"""loss['"]: ['"]?(-?[\w.+-]+)""")
_GRADIENT = re.compile(rb"""grad_norm['"]: ['"]?(-?[\w.+-]+)""")
_LONGEST = 4_096  # bytes of a line that are kept
_FEWEST = 3  # losses: as many zeros in a row are no chance


@dataclass(frozen=True)
class Degenerate:
    """From a line (1-based) to the end the losses say nothing. way: "nan" or "zero"."""

    way: str
    line: int
    evidence: str


class Losses:
    """Reads a log's chunks as they pass."""

    def __init__(self) -> None:
        self.logged = self._tail = self._sure = 0  # of all; since the last good one; of these, told by themselves
        self._gradients: set[float | None] = set()
        self._first: Degenerate | None = None
        self._rest, self._line = b"", 1

    def read(self, chunk: bytes) -> None:
        """Takes the next bytes of the log."""
        text = self._rest + chunk
        done, end = 0, text.rfind(b"\n") + 1
        whole, self._rest = text[:end], text[end:][-_LONGEST:]
        if not _BAD.search(whole):
            self._take_good(sum(whole.count(head) for head in _HEADS))
        else:
            for head in _HEAD.finditer(whole):
                at = head.start()
                self._line += whole.count(b"\n", done, at)
                done = at
                self._read_loss(whole[at: min(whole.find(b"\n", at), at + _LONGEST)])
        self._line += whole.count(b"\n", done)

    def _take_good(self, losses: int) -> None:
        self.logged += losses
        if losses:
            self._tail, self._sure, self._first = 0, 0, None
            self._gradients.clear()

    def _read_loss(self, entry: bytes) -> None:
        loss, gradient = _number(_LOSS, entry), _number(_GRADIENT, entry)
        if loss is None:
            return
        if loss and math.isfinite(loss):
            self._take_good(1)
            return
        self.logged += 1
        self._tail += 1
        self._sure += bool(loss) or gradient == 0 or (gradient is not None and not math.isfinite(gradient))
        if len(self._gradients) < 2:
            self._gradients.add(gradient)
        self._first = self._first or Degenerate("nan" if loss else "zero", self._line, entry[:300].decode("utf-8", "replace").strip())

    def degenerate(self) -> Degenerate | None:
        """What the log's end says; None where losses there are numbers that move."""
        sure = self._sure == self._tail or (len(self._gradients) == 1 and self._tail >= _FEWEST)
        throughout = self._tail == self.logged and self._tail > 1
        return self._first if sure and (throughout or self._tail >= max(_FEWEST, self.logged / 2)) else None


def _number(pattern: re.Pattern[bytes], text: bytes) -> float | None:
    try:
        return float(found[1]) if (found := pattern.search(text)) else None
    except ValueError:
        return None
