"""The table of findings for readers: one code, all codes, docs/findings.md. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from swift_fa_launcher.errors import Text, Words, render_words
from swift_fa_launcher.findings.areas import AREAS, ENTRIES
from swift_fa_launcher.findings.entry import Entry
from swift_fa_launcher.findings.finding import SEVERITIES
from swift_fa_launcher.findings.table import AREA_OF, TABLE, USUAL, value_names, with_names
from swift_fa_launcher.layout import advice, cells, fill, pad

_AREA, _SEVERITY, _WHEN = Text("area", "类别"), Text("severity", "级别"), Text("when", "出现条件")
_SEVERITY_WORDS = {"E": Text("error", "错误"), "W": Text("warning", "警告"), "I": Text("info", "提示")}
_WHERE_IT_SAYS = Text("where it says: ", "如果提示：")
_VALUES = Text("Words in capitals stand for values that the finding itself names.", "大写的词代表检查结果中给出的具体值。")
_MORE = Text("`swift-fa explain CODE` says what mends it.", "`swift-fa explain CODE` 给出解决办法。")

_HEAD = """# Findings

What `swift-fa preflight`, `train` and `diagnose` may find, by area: what each code means, when it comes, and what mends it.
`swift-fa explain CODE` says the same. An error stops the launch; `--allow CODE` lets it pass as a warning. Words in capitals
in a command stand for values that the finding itself names. The last part lists the errors of swift-fa itself.

This page is made from `swift_fa_launcher/findings/areas/` by `python docs/make_findings.py`.
"""


def entry_to_json(code: str, lang: str) -> dict[str, Any]:
    """One code for programs; texts in `lang`."""
    entry = TABLE[code]
    return {"code": code, "area": AREA_OF[code], "severities": [SEVERITIES[letter].value for letter in entry.severities],
            "means": render_words(with_names(entry.means), lang), "when": render_words(with_names(entry.when), lang),
            "fix": [render_words(with_names(line), lang) for line in entry.fix],
            "ways": [{"summary": render_words(with_names(summary), lang),
                      "fix": [render_words(with_names(line), lang) for line in fix]} for summary, fix in _own_ways(entry)]}


def render_entry(code: str, lang: str, width: int | None) -> str:
    """One code on a screen."""
    entry = TABLE[code]
    severities = Text(" or ", "或").render(lang).join(_SEVERITY_WORDS[letter].render(lang) for letter in entry.severities)
    rows = ((_AREA, AREAS[AREA_OF[code]]), (_SEVERITY, severities), (_WHEN, with_names(entry.when)))
    wide = max(cells(title.render(lang)) for title, _ in rows) + 2
    lines = [fill(f"{code}: {render_words(with_names(entry.means), lang)}", width, rest="  "), ""]
    lines += [fill(render_words(value, lang), width, "  " + pad(title.render(lang), wide), " " * (wide + 2)) for title, value in rows]
    lines += ["", *(advice(with_names(line), lang, width) for line in entry.fix)] if entry.fix else []
    for summary, fix in _own_ways(entry):
        lines += ["", fill(_WHERE_IT_SAYS.render(lang) + render_words(with_names(summary), lang), width, "  ", "    "),
                  *(advice(with_names(line), lang, width) for line in fix)]
    if any({*value_names(line)} - {*USUAL} for line in (*entry.fix, *(line for _, fix in _own_ways(entry) for line in fix))):
        lines += ["", fill(_VALUES.render(lang), width)]
    return "\n".join(lines)


def render_list(lang: str, width: int | None) -> str:
    """All codes by area, one line each."""
    wide = max(map(len, TABLE)) + 4
    parts = ["\n".join([AREAS[area].render(lang),
                        *(fill(render_words(with_names(entry.means), lang), width, pad(f"  {code}", wide), " " * wide)
                          for code, entry in entries.items())]) for area, entries in ENTRIES.items() if entries]
    return "\n\n".join([*parts, _MORE.render(lang)])


def render_findings_page() -> str:
    """docs/findings.md: a section an area, an entry a code, in English."""
    parts = [_HEAD]
    for area, entries in ENTRIES.items():
        parts += [f"## {AREAS[area].en}\n", *(_section(code, entry) for code, entry in entries.items())] if entries else []
    return "\n".join(parts)


def _section(code: str, entry: Entry) -> str:
    severities = " or ".join(SEVERITIES[letter].value for letter in entry.severities)
    lines = [f"### {code}\n", f"*{severities}*: {_marked(entry.means)}.\n", f"When: {_marked(entry.when)}.\n",
             *map(_bullet, entry.fix)]
    for summary, fix in _own_ways(entry):
        lines += [f"\nWhere it says “{_marked(summary)}”:\n", *map(_bullet, fix)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _own_ways(entry: Entry) -> Iterator[tuple[Text, tuple[Words, ...]]]:
    """The ways to say a code that are mended in a way of their own; without lines that are nothing but values."""
    ways = ((way.summary, tuple(line for line in way.fix or () if not render_words(with_names(line), "en").isupper()))
            for way in entry.says.values())
    return ((summary, fix) for summary, fix in ways if fix)


def _bullet(line: Words) -> str:
    """What is the same in both languages is a command, and stands as code."""
    named = with_names(line)
    if isinstance(named, Text):
        return f"- {_marked(line)}"
    quotes = "``" if "`" in named else "`"
    return f"- {quotes}{named}{quotes}"


def _marked(words: Words) -> str:
    """English prose in Markdown: what would be taken for marks stands as it is, but for code between backquotes."""
    parts = render_words(with_names(words), "en").rstrip(".").split("`")
    return "`".join(part if i % 2 else part.replace("<", "\\<").replace("*", "\\*") for i, part in enumerate(parts))
