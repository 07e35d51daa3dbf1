"""A failed run's log (or any log) turned into its cause: code, deciding line, and what mends it.

`reader` finds the few lines that matter in hundreds of megabytes, `signatures` says what they mean, `verdict` which of
them is the cause, the table of findings what to do.
"""

from __future__ import annotations

import codecs
import math
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from swift_fa_launcher.config.swift_args import DDP_TIMEOUT
from swift_fa_launcher.diagnose.context import Context
from swift_fa_launcher.diagnose.signatures import Kind
from swift_fa_launcher.diagnose.verdict import Sighting, lingering_codes, rank, read_log
from swift_fa_launcher.errors import LauncherError, Text, Words, in_both, render_words
from swift_fa_launcher.files import kind_of, pieces_of
from swift_fa_launcher.findings.table import TABLE, fill, fill_fix, value_names

PIPE_LIMIT, PIPE_PATIENCE = 1 << 28, 60.0  # bytes and seconds of silence after which a pipe is given up
_BEGINNING = 4_096  # bytes that tell text from what is none
_CONTROLS = bytes({*range(32)} - {*b"\a\b\t\n\v\f\r\x1b"})
_END = 3_000  # bytes kept of a log's end
_LONG = 80  # characters
_COLON = Text(": ", "：")
#: Settings that an advice lowers, from what the log tells of them; and the others that it may name.
_SIZES = ("per_device_train_batch_size", "max_length", "dataset_num_proc", "dataloader_num_workers")
_ADVISED = (*_SIZES, "ddp_timeout", "swanlab_folder")
#: What to install for a module of another name.
_DISTRIBUTIONS = {"cv2": "opencv-python", "PIL": "pillow", "yaml": "pyyaml", "sklearn": "scikit-learn", "fla": "flash-linear-attention",
                  "auto_gptq": "auto-gptq", "awq": "autoawq", "Crypto": "pycryptodome", "git": "gitpython", "attr": "attrs"}
#: Exit codes that a signal leaves: as Python and shells say them, and as ms-swift hands a negative one on (mod 256).
_KILLED, _STOPPED = frozenset({-9, 137, 247}), frozenset({-15, 143, 241, -2, 130, 254, -1, 129, 255})


@dataclass(frozen=True)
class Diagnosis:
    """One thing that the log tells.

    code: a finding's code, or one of those that only logs show. line: 1-based number of the deciding line, 0 where the
    exit code alone decides or nothing was said. evidence: that line, trimmed, without colours. summary: one line that
    names the values. fix: one line or command each, the best first.
    """

    code: str
    line: int
    evidence: str
    summary: Words
    fix: tuple[Words, ...] = ()

    def to_json(self, lang: str = "en") -> dict[str, Any]:
        """The contract's form, texts in `lang`."""
        return {"code": self.code, "line": self.line, "evidence": self.evidence,
                "summary": render_words(self.summary, lang), "fix": [render_words(line, lang) for line in self.fix]}


def diagnose(chunks: Iterable[bytes], *, exit_code: int | None = None,
             killed_for_memory: bool | None = None) -> tuple[Diagnosis, ...]:
    """What went wrong, the cause before its consequences; never empty: a lone `unknown` says that nothing is known.

    exit_code: of the run, where it is known. With 0 nothing failed, and only what the run did not do is told.
    killed_for_memory: whether the kernel killed anything for want of memory meanwhile; None: not known, so that a process that
    was killed is taken for one of those.
    """
    last = _Last(chunks)
    reading = read_log(last)
    if killed_for_memory is False:
        reading = replace(reading, sightings=tuple(map(_as_killed_by_hand, reading.sightings)))
    if exit_code == 0:
        reading = replace(reading, sightings=tuple(s for s in reading.sightings if s.kind is Kind.OUTCOME))
    ranked = rank(reading, failed=bool(exit_code), trying=lingering_codes(last.lines()))
    found = tuple(make_diagnosis(sighting, reading.context) for sighting in ranked)
    if exit_code and not [one for one in found if one.code != "unknown"]:
        ended = _told_by(exit_code, reading.context, killed_for_memory)
        if ended:
            means, seen = TABLE[ended].means, Text(f"exit code {exit_code}", f"退出码 {exit_code}")
            return (Diagnosis(ended, 0, seen.en, Text(f"{means.en}: {seen.en}", f"{means.zh}：{seen.zh}"),
                              fill_fix(TABLE[ended].fix, {})), *found)
    return found or (_nothing(exit_code, last.beginning),)


def _as_killed_by_hand(sighting: Sighting) -> Sighting:
    """Where the kernel says that it was not for memory, a killed process was killed by somebody."""
    signature = sighting.signature
    if signature.code != "host-out-of-memory" or sighting.kind is not Kind.RESULT:
        return sighting
    return replace(sighting, signature=replace(signature, code="interrupted"))


def _told_by(exit_code: int, context: Context, killed_for_memory: bool | None) -> str | None:
    """The code that the exit code alone tells."""
    if context.trained:
        return "failed-after-training"
    if exit_code in _KILLED:
        return "interrupted" if killed_for_memory is False else "host-out-of-memory"
    return "interrupted" if exit_code in _STOPPED else None


def diagnose_file(path: Path, *, exit_code: int | None = None, killed_for_memory: bool | None = None) -> tuple[Diagnosis, ...]:
    """`diagnose` of a log file, or of a pipe, which may have no end. Raises LauncherError where it cannot be read."""
    try:
        log = pieces_of(path, PIPE_LIMIT if kind_of(path) == "special" else math.inf, PIPE_PATIENCE)
        return diagnose(log, exit_code=exit_code, killed_for_memory=killed_for_memory)
    except OSError as error:
        raise LauncherError("log-unreadable", Text("the log cannot be read", "无法读取日志"), where=str(path),
                            why=error.strerror or str(error)) from error


def make_diagnosis(sighting: Sighting, context: Context) -> Diagnosis:
    """The sighting in words."""
    signature, values = sighting.signature, _advised(sighting, context)
    entry = TABLE[signature.code]
    says = entry.says.get(way) if (way := signature.way if isinstance(signature.way, str) else signature.way(context)) else None
    means = fill(says.summary if says else entry.means, values)
    fix = says.fix if says and says.fix is not None else entry.fix
    detail = _detail(signature.detail, values)
    summary = in_both(lambda lang: render_words(means, lang) + (
        _COLON.render(lang) + said if (said := " ".join(render_words(detail, lang).split())) else ""))
    return Diagnosis(signature.code, sighting.line, sighting.evidence, summary, fill_fix(fix, values))


def _advised(sighting: Sighting, context: Context) -> dict[str, str]:
    """The values; half of each size that the log tells and that can be halved; and how long processes waited for each other
    and could wait instead, in seconds, where that may help: beyond ms-swift's own ddp_timeout no wait is worth asking for."""
    told = {name: context.settings[name] for name in _ADVISED if name in context.settings}
    values = {**told, **{name: _whole(value, sighting.evidence) for name, value in sighting.values.items()}, "gpu_name": context.gpu or ""}
    values = {name: value for name, value in values.items() if name not in _SIZES or int(value) > 1}
    values |= {f"half_{name}": str(int(values[name]) // 2) for name in _SIZES if name in values}
    shown = re.search(r"Timeout\(ms\)=(\d{4,})", sighting.evidence)
    waited = int(shown[1]) // 1000 if shown else int(values.get("ddp_timeout", 0))
    if 0 < waited < DDP_TIMEOUT:
        values |= {"waited": str(waited), "longer": str(min(max(4 * waited, 7200), DDP_TIMEOUT))}
    elif not waited and sighting.signature.code == "packing-timeout-risk":
        values["longer"] = str(DDP_TIMEOUT)
    if sighting.signature.code == "launch-env-misspelt":  # of which logs show one
        values |= {"meant": "NPROC_PER_NODE", "setting": "launch.nproc_per_node"}
    if package := values.get("package"):
        values["package"] = shlex.quote(_DISTRIBUTIONS.get(package, package))
    return values


def _whole(value: str, line: str) -> str:
    """A long value with the rest of the word in which a pattern's limit cut it."""
    _, there, after = line.partition(value)
    return value + re.match(r"\w*", after)[0] if there and len(value) >= _LONG else value  # type: ignore[index]


def _detail(detail: Words, values: Mapping[str, str]) -> Words:
    """The values as a signature names them; nothing where none of those that it names is there."""
    names = value_names(detail)
    return fill(detail, values) if not names or any(values.get(name) for name in names) else ""


class _Last:
    """Hands on the chunks and keeps the last lines and the beginning."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks, self._end, self.beginning = chunks, b"", b""

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.beginning = self.beginning or chunk[:_BEGINNING]
            self._end = (self._end + chunk[-_END:])[-_END:]
            yield chunk

    def lines(self) -> bytes:
        """The last three lines that say anything."""
        return b"\n".join([line for line in self._end.splitlines() if line.strip()][-3:])


def is_text(beginning: bytes) -> bool:
    r"""Whether a file that begins so can be read as a log, in whatever encoding: control bytes are what text has not.

    >>> [is_text(one) for one in (b"\x7fELF" + bytes(60), "训练失败：找不到文件".encode("gbk"), "\ufeffok".encode("utf-16"))]
    [False, True, True]
    """
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    return len(beginning.translate(None, _CONTROLS)) > 0.95 * len(beginning)


def _nothing(exit_code: int | None, beginning: bytes) -> Diagnosis:
    if not beginning or not is_text(beginning):
        what = Text("the log is empty", "日志是空的") if not beginning else Text("the log is not a text file", "日志不是文本文件")
        ended = Text(f"the run failed (exit code {exit_code}): ", f"训练失败（退出码 {exit_code}）：") if exit_code else Text("", "")
        return Diagnosis("unknown", 0, "", Text(ended.en + what.en, ended.zh + what.zh))
    if exit_code:
        summary = Text(f"the run failed (exit code {exit_code}) and the log does not say why",
                       f"训练失败（退出码 {exit_code}），日志没有说明原因")
        return Diagnosis("unknown", 0, "", summary, TABLE["unknown"].fix)
    return Diagnosis("unknown", 0, "", Text("the log shows no failure", "日志中没有发现失败"))
