"""What the table says of one code. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from swift_fa_launcher.errors import Text, Words
from swift_fa_launcher.findings.finding import SEVERITIES, Severity


@dataclass(frozen=True)
class Says:
    """One way in which a code shows: its line, and what mends it where that is not the entry's own fix."""

    summary: Text
    fix: tuple[Words, ...] | None = None


@dataclass(frozen=True)
class Entry:
    """severities: letters of E, W and I, the usual one first. means: one clause that a failed run's diagnosis begins with. when:
    one sentence on when it comes. fix: one line or command each, the best first. says: what a check may say, by name ("" the
    usual); empty where no check says it."""

    severities: str
    means: Text
    when: Text
    fix: tuple[Words, ...] = ()
    says: Mapping[str, Says] = field(default_factory=dict)

    @property
    def may_be(self) -> frozenset[Severity]:
        return frozenset(SEVERITIES[letter] for letter in self.severities)


def entry(severities: str, means: Text, when: Text, *fix: Words, says: Text | Mapping[str, Text | Says] | None = None) -> Entry:
    """An entry as a table writes it: texts alone where there is nothing else to say."""
    ways = {"": says} if isinstance(says, Text) else says or {}
    return Entry(severities, means, when, fix,
                 {name: way if isinstance(way, Says) else Says(way) for name, way in ways.items()})
