"""From the lines that say something to the cause.

The rule, in words. A run that goes on has overcome what stood in its log: three further steps of training, or the end of
main, clear all that was seen before. Of what is left, in this order:

1. causes, by line: an exception is printed before those raised while it was handled, the first rank that failed before
   those that waited for it, the compiler's error before the 404 of the wheel that was tried before the build;
2. omens (warnings, retries) that explain a result which followed;
3. results, by line: what other ranks or wrappers say when something else went wrong, and how a process ended. Where ranks
   waited in vain after one of them died of an exception that we do not know, that one comes first, as "unknown";
4. hints (nothing failed, yet something is wrong; or the log ends while something is tried again and again), then other
   omens if something failed; but where an exception ended the run that we do not know, only those close before it;
5. "unknown", with the first line that says that something failed.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass

from swift_fa_launcher.diagnose.reader import Line, read_lines
from swift_fa_launcher.diagnose.signatures import SIGNATURES, Kind, Signature, compiled
from swift_fa_launcher.errors import render_words
from swift_fa_launcher.secrets import strike_assigned

_STEPS = 3  # a bar is redrawn once when it dies, and one more step may have been under way on another rank
_CLOSE = 60  # lines
_PLACES = {Kind.CAUSE: 0, Kind.RESULT: 2, Kind.HINT: 3, Kind.OMEN: 4, Kind.FAILURE: 5}

_RETRIED = frozenset({"swanlab-unreachable", "mirror-unreachable", "model-missing", "dataset-missing", "tls-failed"})
_TICKS = (b"'loss':", b"%|")
_BAR = re.compile(rb"(?:^|Train:|Training:|Epoch[^:]{0,20}:)\s*\d+%\|[^|]*\|\s*(\d+/\d+) \[")
#: Source code that a traceback quotes, which holds the words of errors that were not raised.
_SOURCE = re.compile(r"[\s│|]*(?:(?:raise|assert|except|elif|if|else|def|return|import|logger\.|warnings\.warn|print\(|msg|error_msg)\b"
                     r"|from \S+ import|File \"|f?['\"](?!\S+' (?:is not recognized|不是)))")  # as cmd.exe begins
#: A row of a table, as Markdown and nvidia-smi draw them: settings and figures, and no error.
_TABLE_ROW = re.compile(r"\|(?=[ \w`]).*\|.*\|\s*$")
_INFO = re.compile(r".{0,48}?\b(?:INFO|DEBUG)\b")
_WARNING = re.compile(r".{0,160}?(?:\b(?:WARN(?:ING)?|\w*Warning)\b|\b[Rr]etry(?:ing)?\b)|.{0,12}\[?W\d{3,4} ")
_HOST = re.compile(r"(?:host='|https?://|resolve '|resolve host:? |connect to )([\w-]+(?:\.[\w-]+)+)")


#: Settings that an advice lowers, from what the log tells of them.
SIZES = ("per_device_train_batch_size", "max_length", "dataset_num_proc", "dataloader_num_workers")
_ADVISED = (*SIZES, "ddp_timeout", "swanlab_folder")  # notes that the advice may name


@dataclass(frozen=True)
class Sighting:
    """A signature found. ticks: losses and bar steps counted until then."""

    signature: Signature
    kind: Kind
    line: int
    evidence: str
    values: dict[str, str]
    ticks: tuple[int, int]


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


def collect_sightings(chunks: Iterable[bytes]) -> tuple[Sighting, ...]:
    """What the log shows and the run did not overcome: the first sighting of each signature, by line."""
    needles = [tuple(needle.encode() for needle in signature.needles) for signature in SIGNATURES]
    seen: dict[int, Sighting] = {}
    notes: dict[str, str] = {}
    progress = Progress()
    for line, held in read_lines(chunks, needles, _TICKS, ticking=lambda: bool(seen)):
        if progress.count(line.raw):
            for overcome in [index for index, sighting in seen.items() if progress.overcame(sighting)]:
                del seen[overcome]
        if held and not _SOURCE.match(line.said) and not _TABLE_ROW.match(line.said):
            _read_line(line, held, seen, notes, (progress.losses, progress.steps))
    return tuple(sorted(seen.values(), key=lambda sighting: sighting.line))


def _read_line(line: Line, held: tuple[int, ...], seen: dict[int, Sighting], notes: dict[str, str],
               ticks: tuple[int, int]) -> None:
    """Adds to `seen` and `notes` what the line says."""
    quiet, warns = bool(_INFO.match(line.text)), bool(_WARNING.match(line.text))
    for index in held:
        signature = SIGNATURES[index]
        if (quiet and not signature.any_level) or not (match := _matches(signature, line, notes)):
            continue
        values = {name: strike_assigned(value.strip()) for name, value in match.groupdict().items() if value}
        if "{host}" in render_words(signature.detail, "en") and (host := _last_host(line)):
            values.setdefault("host", host)
        if signature.holds and not signature.holds(values):
            continue
        if signature.kind is Kind.NOTE:
            notes[signature.noted[0]] = values["value"]
            continue  # a command line holds several
        if signature.kind is Kind.PROOF:
            for other in [i for i, s in seen.items() if not signature.settles or s.signature.code in signature.settles]:
                del seen[other]
        else:
            kind = Kind.OMEN if warns and not signature.any_level and signature.kind is Kind.CAUSE else signature.kind
            if kind is not Kind.FAILURE or not warns:
                told = {name: notes[name] for name in _ADVISED if name in notes}
                sighting = Sighting(signature, kind, line.number, make_evidence(line.text, match), told | values, ticks)
                if index not in seen or (seen[index].kind is Kind.OMEN and kind is not Kind.OMEN):
                    seen[index] = sighting
            return


def _last_host(line: Line) -> str | None:
    """The host that the line names, or the last one named before it."""
    hosts = _HOST.findall(line.said) or _HOST.findall(line.around)[-1:]
    return hosts[0] if hosts else None


def _matches(signature: Signature, line: Line, notes: dict[str, str]) -> re.Match[str] | None:
    match = compiled(signature.pattern).search(line.said)
    if not match:
        return None
    name, wanted = signature.noted
    if name and wanted and not re.search(wanted, notes.get(name, "")):
        return None
    if signature.around and not compiled(signature.around).search(line.around):
        return None
    if signature.frames and not compiled(signature.frames).search(line.frames):
        return None
    return None if line.quoted else match


def make_evidence(text: str, match: re.Match[str], most: int = 300) -> str:
    """The line, cut around the match where it is long; what looks like a secret is struck out."""
    if len(text) > most:
        at = text.find(match[0])
        start = 0 if at < most // 2 else min(at - 40, len(text) - most)
        text = ("..." if start else "") + text[start: start + most] + ("..." if start + most < len(text) else "")
    return strike_assigned(text)


def rank(sightings: Iterable[Sighting], *, failed: bool = False, trying: Container[str] = ()) -> tuple[Sighting, ...]:
    """The best first, by the rule above; one of each code, none for mere omens, `unknown` only where nothing is known.

    failed: the run is known to have failed, whatever its log says. trying: codes of the omens that the log ends with.
    """
    sightings = tuple(sightings)
    failed = failed or any(s.kind in (Kind.CAUSE, Kind.RESULT, Kind.FAILURE) for s in sightings)
    results = {s.signature.code for s in sightings if s.kind is Kind.RESULT}
    died = min((s.line for s in sightings if s.kind is Kind.FAILURE and s.signature.frames), default=None)

    def place(sighting: Sighting) -> tuple[int, int]:
        kind, line = sighting.kind, sighting.line
        if kind is Kind.RESULT and sighting.signature.code == "nccl-timeout" and died is not None and died < line:
            return 6, line
        if kind is Kind.OMEN and sighting.signature.explains & results:
            return 1, line
        if kind in (Kind.HINT, Kind.OMEN) and died is not None and not 0 <= died - line <= _CLOSE:
            return 7, line
        return _PLACES[kind], line

    best: dict[str, Sighting] = {}
    for sighting in sorted(sightings, key=place):
        if failed or sighting.kind is not Kind.OMEN or sighting.signature.code in trying:
            best.setdefault(sighting.signature.code, sighting)
    if next(iter(best), "") != "unknown":
        best.pop("unknown", None)
    return tuple(best.values())


def lingering_codes(last_lines: bytes) -> frozenset[str]:
    """The codes of the networks and servers that a log was still trying to reach when it ended."""
    return frozenset(s.signature.code for s in collect_sightings([last_lines])
                     if s.kind is Kind.OMEN and s.signature.code in _RETRIED)
