"""Every text of the table stands in both languages, and names only values that its checks give."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import swift_fa_launcher.preflight.checks
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.table import TABLE, value_names

CHECKS = Path(swift_fa_launcher.preflight.checks.__file__).parent
CHINESE = re.compile("[\u4e00-\u9fff\uff00-\uffef]")  # characters, or full-width punctuation where values are all there is

SETTING = re.compile(r"\b(flash_attn|swanlab|launch|preflight|run)\.([a-z_]+)=")


def texts(code: str) -> Iterator[tuple[str, Text | str]]:
    """The entry's texts, each with its place in the entry."""
    entry = TABLE[code]
    yield from (("means", entry.means), ("when", entry.when), *(("fix", line) for line in entry.fix))
    for way, said in entry.says.items():
        yield f"says {way!r}", said.summary
        yield from ((f"fix of {way!r}", line) for line in said.fix or ())


@pytest.mark.parametrize("code", TABLE)
def test_every_text_is_in_both_languages(code: str) -> None:
    for place, text in texts(code):
        if isinstance(text, Text):
            assert text.en and "TODO" not in text.en and not CHINESE.search(text.en), f"{code}, {place}: not in English"
            assert CHINESE.search(text.zh), f"{code}, {place}: not in Chinese"
            assert set(value_names(text)) == set(value_names(Text(text.zh, ""))), f"{code}, {place}: other values in Chinese"
        else:
            assert text and place.startswith("fix"), f"{code}, {place}: in one language only"


@pytest.mark.parametrize("code", TABLE)
def test_a_setting_in_a_fix_is_a_key_of_the_config(code: str) -> None:
    for place, text in texts(code):
        for section, key in SETTING.findall("".join(text if isinstance(text, Text) else (text,))):
            assert hasattr(getattr(ResolvedConfig(), section), key), f"{code}, {place}: there is no {section}.{key}"


def codes_of(named: ast.expr) -> set[str]:
    """The codes that a check's expression may be: literals in it, or all that an f-string fits."""
    if isinstance(named, ast.JoinedStr):
        pattern = "".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+" for part in named.values)
        return {code for code in TABLE if re.fullmatch(pattern, code)}
    return {str(node.value) for node in ast.walk(named) if isinstance(node, ast.Constant)}


def given_values() -> dict[str, set[str]]:
    """The values that the checks give to each code; "*" among them where there may be more."""
    given: dict[str, set[str]] = defaultdict(set)
    for file in CHECKS.glob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "found":
                for code in codes_of(call.args[0]):
                    given[code] |= {word.arg or "*" for word in call.keywords}
    return given


def test_what_a_check_says_names_values_that_it_gives() -> None:
    given = given_values()
    assert given
    for code, names in given.items():
        assert code in TABLE, f"a check finds {code}, which has no entry"
        for way, said in TABLE[code].says.items() if "*" not in names else ():
            missing = set(value_names(said.summary)) - names
            assert not missing, f"{code}, says {way!r}: no check gives {', '.join(sorted(missing))}"
