"""A finding: one thing that is, or will go, wrong. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from swift_fa_launcher.config.schema import ResolvedConfig, name_origins
from swift_fa_launcher.decode import encode
from swift_fa_launcher.errors import Words, render_words
from swift_fa_launcher.machine.facts import Facts


class Severity(str, Enum):
    ERROR = "error"  # blocks the launch
    WARNING = "warning"
    INFO = "info"


ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
#: By the letter that the table writes.
SEVERITIES: Mapping[str, Severity] = {"E": ERROR, "W": WARNING, "I": INFO}


@dataclass(frozen=True)
class Finding:
    """One result of a check.

    code: stable name. summary: one line that names the values. context: those values, for programs. fix: one line or
    command each, the best first. allowed: an error that `--allow` or `preflight.allow` lowered to a warning.
    """

    code: str
    severity: Severity
    summary: Words
    fix: tuple[Words, ...] = ()
    context: Mapping[str, Any] = field(default_factory=dict)
    allowed: bool = False

    def to_json(self, lang: str = "en") -> dict[str, Any]:
        """The contract's form, texts in `lang`."""
        return {"code": self.code, "severity": self.severity.value,
                "summary": name_origins(render_words(self.summary, lang), lang),
                "context": encode(self.context), "fix": [render_words(line, lang) for line in self.fix],
                **({"allowed": True} if self.allowed else {})}


#: Reads config and facts, changes nothing, yields what it found.
Check = Callable[[ResolvedConfig, Facts], Iterator[Finding]]


def run_checks(checks: Iterable[Check], config: ResolvedConfig, facts: Facts) -> tuple[Finding, ...]:
    """Every finding of every check, in the checks' order; all of them run."""
    return tuple(finding for check in checks for finding in check(config, facts))


def lower_allowed(findings: Iterable[Finding], allow: Iterable[str]) -> tuple[Finding, ...]:
    """The findings with the errors among `allow` lowered to warnings; nothing is hidden."""
    allowed = frozenset(allow)
    return tuple(replace(f, severity=WARNING, allowed=True) if f.severity is ERROR and f.code in allowed else f
                 for f in findings)


def blocking(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings that stop a launch."""
    return tuple(f for f in findings if f.severity is ERROR)


def status(findings: Iterable[Finding]) -> str:
    """ "ok", "warned" or "blocked", by the worst severity."""
    severities = {f.severity for f in findings}
    return "blocked" if ERROR in severities else "warned" if WARNING in severities else "ok"
