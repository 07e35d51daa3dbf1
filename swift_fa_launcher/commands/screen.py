"""What commands print: lines for people on standard error, tables, how far it is, JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

from swift_fa_launcher.errors import Text, Voice, Words, render_words
from swift_fa_launcher.layout import advice, fill

if TYPE_CHECKING:
    from swift_fa_launcher.diagnose.diagnosis import Diagnosis
    from swift_fa_launcher.stories.launch import Judgement

_STEP_SECONDS = 15.0  # between two lines that say how far a training is, where they do not renew themselves


def width_of(stream: TextIO) -> int | None:
    """Columns of the terminal that the stream is; None for a file or a pipe, where no line is broken, whatever COLUMNS says:
    readline sets it for every child of an interactive Python."""
    told = os.environ.get("COLUMNS", "")
    try:
        columns = os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return None
    return int(told) if told.isdecimal() and int(told) else columns


def holds_chinese(stream: TextIO) -> bool:
    """Whether Chinese can be written there as it is."""
    try:
        "检查".encode(stream.encoding or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def tell(words: Words, lang: str, first: str = "swift-fa: ", rest: str = "  ") -> None:
    """One sentence on standard error."""
    print(fill(render_words(words, lang), width_of(sys.stderr), first, rest), file=sys.stderr, flush=True)


def print_json(data: Any, indent: int | None = 1) -> None:
    plain = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(data, ensure_ascii=not plain, indent=indent, default=str))


def print_result(result: Mapping[str, Any], *, as_json: bool) -> None:
    """Names and values, one a line."""
    if as_json:
        print_json(result)
        return
    width = max(map(len, result))
    for name, value in result.items():
        if name != "schema" and value:
            print(f"{name:<{width}}  {', '.join(value) if isinstance(value, list) else value}")


def print_table(judgement: Judgement, lang: str, *, to_stderr: bool) -> None:
    """The findings, without the values of secrets."""
    from rich.console import Console

    from swift_fa_launcher.findings.finding import INFO
    from swift_fa_launcher.preflight.screen import render_table
    from swift_fa_launcher.runs.record import secret_values
    from swift_fa_launcher.secrets import redact

    if to_stderr and Progress.quiet and all(finding.severity == INFO for finding in judgement.findings):
        return
    stream = sys.stderr if to_stderr else sys.stdout
    console = Console(stderr=to_stderr, highlight=False)
    with console.capture() as captured:  # soft_wrap: the lines are broken already where they may be
        console.print(render_table(judgement.findings, judgement.config, judgement.facts, lang, width_of(stream)), soft_wrap=True)
    lines = redact(captured.get(), secret_values(judgement.config, os.environ)).splitlines()
    print("\n".join(line.rstrip() for line in lines), file=stream)


def findings_json(judgement: Judgement, lang: str) -> list[dict[str, Any]]:
    from swift_fa_launcher.runs.record import secret_values
    from swift_fa_launcher.secrets import redact_data

    hidden = secret_values(judgement.config, os.environ)
    return [redact_data(finding.to_json(lang), hidden) for finding in judgement.findings]


def diagnosis_text(diagnosis: Diagnosis, lang: str, width: int | None) -> str:
    """The cause, the line of the log that shows it, what mends it."""
    told = diagnosis.to_json(lang)
    lines = [fill(f"{told['code']}: {told['summary']}", width, rest="  ")]
    if told["line"]:
        number, said = told["line"], told["evidence"]
        lines.append(fill(Text(f"line {number}: {said}", f"第 {number} 行：{said}").render(lang), width, "  ", "    "))
    return "\n".join([*lines, *(advice(line, lang, width) for line in diagnosis.fix)])


class Progress(Voice):
    """What a command says while it works: sentences, and one line that renews itself on a terminal.

    quiet: whether this process says none of it (`--quiet`).
    """

    quiet = False

    def __init__(self, lang: str) -> None:
        self._lang, self._shown, self._at = lang, False, time.monotonic()

    def say(self, words: Words) -> None:
        """What is being done."""
        if self.quiet:
            return
        self.clear()
        tell(words, self._lang, "... ", "    ")
        self._at = time.monotonic()

    def download(self, done: int, whole: int | None, rate: float) -> None:
        """How much has come, how fast, how long still; nothing where the line cannot renew itself."""
        from swift_fa_launcher.wheels.download import render_progress

        self._renew(render_progress(done, whole, rate, self._lang), last=whole is not None and done >= whole > 0)

    def build(self, step: int, steps: int, line: str) -> None:
        """The compiler's own count; one in ten where the line cannot renew itself."""
        renewed = self._renew(f"... [{step}/{steps}] {line}", last=step == steps)
        if not renewed and not self.quiet and (step == steps or step % max(1, steps // 10) == 0):
            print(f"... [{step}/{steps}]", file=sys.stderr, flush=True)

    def training(self, place: str, step: int, steps: int) -> None:
        """How far a training is; now and then where the line cannot renew itself."""
        line = "... " + Text(f"{place}: step {step}/{steps}", f"{place}：第 {step}/{steps} 步").render(self._lang)
        if not self._renew(line) and not self.quiet and time.monotonic() - self._at >= _STEP_SECONDS:
            print(line, file=sys.stderr, flush=True)
            self._at = time.monotonic()

    def clear(self) -> None:
        """Remove the line that renews itself."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        self._shown = False

    def _renew(self, line: str, *, last: bool = False) -> bool:
        """Show the line in the place of the one before; False where no line can renew itself."""
        if self.quiet or not sys.stderr.isatty():
            return False
        line = line[:(width_of(sys.stderr) or 80) - 1]  # a line that wraps cannot be renewed
        print(f"\r{line}\x1b[K", end="\n" if last else "", file=sys.stderr, flush=True)
        self._shown = not last
        return True
