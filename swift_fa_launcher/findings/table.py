"""The one table of findings: each code's area, severities, meaning, occasion and remedy, and what it says. Pure.

The words stand in `areas/`, one module an area, English and Chinese side by side; checks and diagnoses name a code and
values. `{name}` in a text stands for a value. A line of a fix that names a value which is not there is left out, so that one
list serves a check, which knows the machine, and a log, which may say less.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from swift_fa_launcher.errors import LauncherError, Text, UsageError, Words, did_you_mean, in_both, render_words
from swift_fa_launcher.findings.areas import ENTRIES
from swift_fa_launcher.findings.areas.run import WAYS
from swift_fa_launcher.findings.entry import Entry
from swift_fa_launcher.findings.finding import SEVERITIES, Finding, Severity

#: The area of each code, in the order of display.
AREA_OF: Mapping[str, str] = {code: area for area, entries in ENTRIES.items() for code in entries}
#: All entries by code, in the order of display.
TABLE: Mapping[str, Entry] = {code: replace(entry, says={**entry.says, **WAYS.get(code, {})})
                              for entries in ENTRIES.values() for code, entry in entries.items()}

#: What a text names where nobody looked at a config or a machine; where something was written follows its name and is left out.
USUAL: Mapping[str, Any] = {"pip": "pip", "origin": "", "checkpointing": "true"}
_parts = string.Formatter().parse


def found(code: str, says: str = "", /, *, severity: Severity | None = None, context: Mapping[str, Any] | None = None,
          **values: Any) -> Finding:
    """The finding that `code` is, with its words filled in.

    says: which of the entry's ways to say it. severity: where it is not the entry's usual one. values: what the texts name, and
    the context for programs, but for texts in two languages; context: more of that.
    """
    entry = TABLE[code]
    said = entry.says[says]
    severity = severity or SEVERITIES[entry.severities[0]]
    assert severity in entry.may_be, f"{code} is never {severity.value}"
    told = {name: value for name, value in values.items() if not isinstance(value, Text)}
    return Finding(code, severity, fill(said.summary, values), fill_fix(said.fix if said.fix is not None else entry.fix, values),
                   {**told, **(context or {})})


def fill(words: Words, values: Mapping[str, Any]) -> Words:
    """The text with the values in it; a value that is not there is an empty text."""
    if isinstance(words, str):
        return words.format_map(_Shown(values, "en"))
    return in_both(lambda lang: render_words(words, lang).format_map(_Shown(values, lang)))


def fill_fix(lines: Iterable[Words], values: Mapping[str, Any]) -> tuple[Words, ...]:
    """The lines with the values in them, without those that name one which is not there."""
    there = {**USUAL, **values}
    return tuple(fill(line, there) for line in lines
                 if all(there.get(name) not in (None, "", ()) for name in value_names(line)))


def value_names(words: Words) -> tuple[str, ...]:
    """The values that a text names."""
    return tuple(name for _, name, _, _ in _parts(render_words(words, "en")) if name)


def with_names(words: Words) -> Words:
    """The text for a reader who has no values: `{gpus}` becomes `GPUS`, `{pip}` what it usually is."""
    def named(text: str) -> str:
        return "".join(plain + (str(USUAL.get(name, name.upper())) if name else "") for plain, name, _, _ in _parts(text))
    return named(words) if isinstance(words, str) else Text(named(words.en), named(words.zh))


def require_codes(names: Iterable[str], where: str) -> tuple[str, ...]:
    """The names, all of which are codes of findings. Raises UsageError for one that is none, with the nearest; `where` says
    who named it."""
    for name in names:
        if name not in TABLE or AREA_OF[name] == "launcher":
            raise UsageError("code-unknown", Text(f"there is no finding code {name}", f"没有检查代码 {name}"), where=where,
                             hint=did_you_mean(name, (code for code in TABLE if AREA_OF[code] != "launcher")))
    return tuple(names)


def words_of(error: LauncherError) -> tuple[Words, tuple[Words, ...]]:
    """What an error says and what mends it: its own words, else those of its code."""
    entry = TABLE[error.code]
    return error.message or with_names(entry.means), error.hint or tuple(map(with_names, entry.fix))


class _Shown(dict[str, Any]):
    """Values as a text shows them: lists with commas, yes and no in lower case, what is not there as nothing."""

    def __init__(self, values: Mapping[str, Any], lang: str) -> None:
        super().__init__(values)
        self._lang = lang

    def __getitem__(self, name: str) -> Any:
        value = self.get(name)
        if value is None:
            return ""
        if isinstance(value, Text):
            return value.render(self._lang)
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, (list, tuple, set, frozenset)):
            return ("、" if self._lang == "zh" else ", ").join(map(str, value))
        return value if isinstance(value, (int, float, str)) else str(value)
