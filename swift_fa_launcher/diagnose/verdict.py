"""From the lines that say something to the cause.

The rule, in words. A run that goes on has overcome what stood in its log: three further steps of training, or the end of
main, clear all that was seen before. What fails after that end is one thing, whatever it was: the model is trained. Of
what is left, in this order:

1. causes, by line: an exception is printed before those raised while it was handled, the first rank that failed before
   those that waited for it, the compiler's error before the 404 of the wheel that was tried before the build;
2. omens (warnings, retries) that explain a result which followed;
3. results, by line: what other ranks or wrappers say when something else went wrong, and how a process ended. Where ranks
   waited in vain after one of them died of an exception that we do not know, that one comes first, as "unknown"; one that
   torchrun saw killed before all others comes before those that lost it;
4. losses that say that nothing was learnt;
5. hints (nothing failed, yet something is wrong; or the log ends while something is tried again and again), then other
   omens if something failed; but where an exception ended the run that we do not know, only those close before it;
6. "unknown", with the first line that says that something failed; then what the run did not do, if nothing failed.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field, replace

from swift_fa_launcher.diagnose.context import Context, make_context
from swift_fa_launcher.diagnose.losses import Losses
from swift_fa_launcher.diagnose.reader import Line, read_lines
from swift_fa_launcher.diagnose.signatures import SIGNATURES, Kind, Signature, compiled
from swift_fa_launcher.errors import render_words
from swift_fa_launcher.secrets import strike_assigned

_STEPS = 3  # a bar is redrawn once when it dies, and one more step may have been under way on another rank
_CLOSE = 60  # lines
_PLACES = {Kind.CAUSE: 0, Kind.RESULT: 2, Kind.HINT: 4, Kind.OMEN: 5, Kind.FAILURE: 6, Kind.OUTCOME: 8}
_FAILING = (Kind.CAUSE, Kind.RESULT, Kind.FAILURE)
#: What no single line says.
_AFTERWARDS = Signature("failed-after-training", (), "")
_DEGENERATE = Signature("loss-degenerate", (), "", kind=Kind.OUTCOME)

_RETRIED = frozenset({"swanlab-unreachable", "mirror-unreachable", "model-missing", "dataset-missing", "tls-failed"})
_TICKS = (b"'loss':", b"%|")
_BAR = re.compile(rb"(?:^|Train:|Training:|Epoch[^:]{0,20}:)\s*\d+%\|[^|]*\|\s*(\d+/\d+) \[")
#: Source code that a traceback quotes, which holds the words of errors that were not raised.
_SOURCE = re.compile(r"[\s│|]*(?:(?:raise|assert|except|elif|if|else|def|return|import|logger\.|warnings\.warn|print\(|msg|error_msg)\b"
                     r"|from \S+ import|File \"|f?['\"](?!\S+' (?:is not recognized|不是)))")  # as cmd.exe begins
#: A row of a table, as Markdown and nvidia-smi draw them: settings and figures, and no error.
_TABLE_ROW = re.compile(r"\|(?=[ \w`])[^|]*\|.*\|\s*$")
_INFO = re.compile(r".{0,48}?\b(?:INFO|DEBUG)\b")
_WARNING = re.compile(r".{0,160}?(?:\b(?:WARN(?:ING)?|\w*Warning)\b|\b[Rr]etry(?:ing)?\b)|.{0,12}\[?W\d{3,4} ")
_HOST = re.compile(r"(?:host='|https?://|resolve '|resolve host:? |connect to )([\w-]+(?:\.[\w-]+)+)")


@dataclass(frozen=True)
class Sighting:
    """A signature found. ticks: losses and bar steps counted until then."""

    signature: Signature
    kind: Kind
    line: int
    evidence: str
    values: dict[str, str]
    ticks: tuple[int, int]


@dataclass(frozen=True)
class Reading:
    """What a log shows and the run did not overcome, by line, and the context that it happened in."""

    sightings: tuple[Sighting, ...]
    context: Context


class Progress:
    """Counts what shows that a training goes on: losses, and steps of its bar."""

    def __init__(self) -> None:
        self.losses = self.steps = 0
        self._last = b""

    def count(self, raw: bytes) -> bool:
        """Whether the line shows any."""
        if _TICKS[0] in raw:
            self.losses += 1
        elif (bar := _BAR.search(raw)) and bar[1] != self._last:
            self._last = bar[1]
            self.steps += 1
        else:
            return False
        return True

    def overcame(self, sighting: Sighting) -> bool:
        return self.losses - sighting.ticks[0] >= _STEPS or self.steps - sighting.ticks[1] >= _STEPS


@dataclass
class _Seen:
    """What was seen so far: the first sighting of each signature, the notes, and the lines where the training was through."""

    sightings: dict[int, Sighting] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    trained: int = 0
    ended: int = 0

    def forget(self, which: Iterable[int]) -> None:
        for index in tuple(which):
            del self.sightings[index]

    def take(self, signature: Signature, line: Line, match: re.Match[str]) -> bool:
        """Whether the row is none that something can fail by; if so, what it says is taken down."""
        if signature.kind is Kind.NOTE:
            self.notes[signature.noted] = match.groupdict().get("value") or match[0]
        elif signature.kind is Kind.PROOF:
            self.forget([i for i, seen in self.sightings.items() if seen.signature.code in signature.settles])
        elif signature.kind is Kind.STARTED:
            self.trained = self.ended = 0
        elif signature.kind in (Kind.TRAINED, Kind.ENDED):
            self.trained = self.trained or line.number
            self.ended = line.number if signature.kind is Kind.ENDED else 0
            self.forget([i for i, seen in self.sightings.items() if seen.kind is not Kind.OUTCOME])
        else:
            return False
        return True


def read_log(chunks: Iterable[bytes]) -> Reading:
    """What the log shows: the first sighting of each signature that the run did not overcome."""
    needles = [tuple(needle.encode() for needle in signature.needles) for signature in SIGNATURES]
    seen, progress, losses = _Seen(), Progress(), Losses()
    for line, held in read_lines(_through(losses, chunks), needles, _TICKS, ticking=lambda: bool(seen.sightings)):
        if progress.count(line.raw):
            seen.forget([index for index, sighting in seen.sightings.items() if progress.overcame(sighting)])
        if held and not _SOURCE.match(line.said) and not _TABLE_ROW.match(line.said):
            _read_line(line, held, seen, (progress.losses, progress.steps))
    context = make_context(seen.notes, seen.trained, seen.ended)
    return Reading(tuple(_in_context(seen.sightings, context, losses)), context)


def _through(losses: Losses, chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        losses.read(chunk)
        yield chunk


def _in_context(seen: dict[int, Sighting], context: Context, losses: Losses) -> Iterator[Sighting]:
    """Of the sightings of one line, the first in the table that the context allows."""
    lines = set()
    for _, sighting in sorted(seen.items(), key=lambda item: (item[1].line, item[0])):
        where = sighting.signature.where
        if sighting.signature.code == "nothing-trained" and losses.logged:
            continue  # no checkpoint was written, which is what ms-swift took for no training
        if sighting.line not in lines and (not where or where(context)):
            lines.add(sighting.line)
            yield sighting
    if found := losses.degenerate():
        yield Sighting(replace(_DEGENERATE, way=found.way), Kind.OUTCOME, found.line, found.evidence, {}, (0, 0))


def _read_line(line: Line, held: tuple[int, ...], seen: _Seen, ticks: tuple[int, int]) -> None:
    """Adds to `seen` what the line says."""
    quiet, warns = bool(_INFO.match(line.text)), bool(_WARNING.match(line.text))
    for index in held:
        signature = SIGNATURES[index]
        if (quiet and not signature.any_level) or not (match := _matches(signature, line)) or seen.take(signature, line, match):
            continue  # a command line holds several notes
        values = {name: strike_assigned(value.strip()) for name, value in match.groupdict().items() if value}
        if "{host}" in render_words(signature.detail, "en") and (host := _last_host(line)):
            values.setdefault("host", host)
        if signature.holds and not signature.holds(values):
            continue
        kind = Kind.OMEN if warns and not signature.any_level and signature.kind is Kind.CAUSE else signature.kind
        if kind is not Kind.FAILURE or not (warns or line.ignored):
            sighting = Sighting(signature, kind, line.number, make_evidence(line.text, match), values, ticks)
            if index not in seen.sightings or (seen.sightings[index].kind is Kind.OMEN and kind is not Kind.OMEN):
                seen.sightings[index] = sighting
        if not signature.where:
            return


def _last_host(line: Line) -> str | None:
    """The host that the line names, or the last one named before it."""
    hosts = _HOST.findall(line.said) or _HOST.findall(line.around)[-1:]
    return hosts[0] if hosts else None


def _matches(signature: Signature, line: Line) -> re.Match[str] | None:
    match = compiled(signature.pattern).search(line.said)
    before = ((signature.around, "around"), (signature.beside, "beside"), (signature.frames, "frames"))
    if not match or line.quoted or not all(compiled(pattern).search(getattr(line, lines)) for pattern, lines in before if pattern):
        return None
    return match


def make_evidence(text: str, match: re.Match[str], most: int = 300) -> str:
    """The line, cut around the match where it is long; what looks like a secret is struck out."""
    if len(text) > most:
        at = text.find(match[0])
        start = 0 if at < most // 2 else min(at - 40, len(text) - most)
        text = ("..." if start else "") + text[start: start + most] + ("..." if start + most < len(text) else "")
    return strike_assigned(text)


def rank(reading: Reading, *, failed: bool = False, trying: Container[str] = ()) -> tuple[Sighting, ...]:
    """The best first, by the rule above; one of each code, none for mere omens, `unknown` only where nothing is known.

    failed: the run is known to have failed, whatever its log says. trying: codes of the omens that the log ends with.
    """
    sightings = tuple(_one_after(reading))
    failed = failed or any(s.kind in _FAILING for s in sightings)
    results = {s.signature.code for s in sightings if s.kind is Kind.RESULT}
    died = min((s.line for s in sightings if s.kind is Kind.FAILURE and s.signature.frames), default=None)

    killed = any("killed" in s.values for s in sightings)

    def place(sighting: Sighting) -> tuple[int, int]:
        kind, line = sighting.kind, sighting.line
        if kind is Kind.RESULT and sighting.signature.code == "nccl-timeout" and died is not None and died < line:
            return 7, line
        if kind is Kind.RESULT and sighting.signature.code == "nccl-timeout" and killed:
            return 3, line
        if kind is Kind.OMEN and sighting.signature.explains & results:
            return 1, line
        if kind in (Kind.HINT, Kind.OMEN) and died is not None and not 0 <= died - line <= _CLOSE:
            return 9, line
        if sighting.signature.code == "loss-degenerate":
            return 3, line
        return _PLACES[kind], line

    best: dict[str, Sighting] = {}
    for sighting in sorted(sightings, key=place):
        if failed or sighting.kind is not Kind.OMEN or sighting.signature.code in trying:
            best.setdefault(sighting.signature.code, sighting)
    if next(iter(best), "") != "unknown":
        best.pop("unknown", None)
    return tuple(best.values())


def _one_after(reading: Reading) -> Iterator[Sighting]:
    """What failed after the training was through, as one; but a cause that stopped ms-swift's own last steps is itself."""
    context = reading.context
    after = [s for s in reading.sightings if context.ended and s.kind in _FAILING]
    if context.trained and not any(s.kind is Kind.CAUSE for s in reading.sightings):
        after = [s for s in reading.sightings if s.kind in _FAILING]
    yield from (s for s in reading.sightings if s not in after)
    if after:
        known = next((s for s in after if s.signature.code != "unknown"), after[0])
        yield replace(known, signature=replace(_AFTERWARDS, kind=Kind.CAUSE), kind=Kind.CAUSE, values={})


def lingering_codes(last_lines: bytes) -> frozenset[str]:
    """The codes of the networks and servers that a log was still trying to reach when it ended."""
    return frozenset(s.signature.code for s in read_log([last_lines]).sightings
                     if s.kind is Kind.OMEN and s.signature.code in _RETRIED)
