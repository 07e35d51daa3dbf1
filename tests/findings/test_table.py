"""The table of findings is whole, says the same in both languages, and is what the checks name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import swift_fa_launcher
from swift_fa_launcher.errors import Text, Words
from swift_fa_launcher.findings.table import AREA_OF, TABLE, value_names

PACKAGE = Path(swift_fa_launcher.__file__).parent
#: Codes that no check writes out, and why.
NOT_WRITTEN_OUT = {"model-missing": 'data.py writes f"{kind}-missing"', "dataset-missing": 'data.py writes f"{kind}-missing"'}

CHINESE = re.compile("[\u3400-\u9fff]")
VALUE = re.compile(r"\{\w+[^{}]*\}")


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(PACKAGE.parent)}:{line}"


def entry_at(code: str) -> str:
    """Where the table writes the code."""
    path = PACKAGE / "findings" / "areas" / f"{AREA_OF[code].replace('-', '_')}.py"
    return next(place(path, node.lineno) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Constant) and node.value == code)


def words_of(code: str) -> Iterator[tuple[str, Words]]:
    """Every text of an entry, with its name."""
    entry = TABLE[code]
    yield from (("means", entry.means), ("when", entry.when), *(("fix", line) for line in entry.fix))
    for way, says in entry.says.items():
        yield f"says {way!r}", says.summary
        yield from ((f"fix of {way!r}", line) for line in says.fix or ())


@pytest.mark.parametrize("code", TABLE)
def test_an_entry_is_said_in_both_languages(code: str) -> None:
    where = entry_at(code)
    for name, words in words_of(code):
        en, zh = words if isinstance(words, Text) else (words, words)
        assert en.strip() and zh.strip() and "TODO" not in en + zh, f"{where}: {name} is still to write"
        assert not CHINESE.search(en), f"{where}: {name} is Chinese in its English: {en}"
        if isinstance(words, Text) and (not name.startswith(("says", "fix")) or re.search("[A-Za-z]", VALUE.sub("", en))):
            assert CHINESE.search(zh), f"{where}: {name} is not said in Chinese: {zh}"


@pytest.mark.parametrize("code", TABLE)
def test_both_languages_name_the_same_values(code: str) -> None:
    for name, words in words_of(code):
        if isinstance(words, Text):
            assert {*value_names(words.en)} == {*value_names(words.zh)}, f"{entry_at(code)}: {name} names other values in Chinese"


@pytest.mark.parametrize("code", TABLE)
def test_what_a_check_says_comes_with_what_mends_it(code: str) -> None:
    for way, says in TABLE[code].says.items():
        assert says.fix or (says.fix is None and TABLE[code].fix), f"{entry_at(code)}: nothing mends {way!r}"


# What the package names --------------------------------------------------------------------------------------------------


def modules(under: str = "") -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((PACKAGE / under).rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def literals(node: ast.expr | None) -> set[str] | None:
    """The strings that an expression may be: a literal, or a choice of literals; None for any other."""
    if node is None:
        return {""}
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.IfExp) and (left := literals(node.body)) and (right := literals(node.orelse)):
        return left | right
    return None


def wrong_calls(path: Path, tree: ast.Module) -> Iterator[str]:
    """What is wrong with the calls of `found` in a module, each with its line."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != "found":
            continue
        where, given = place(path, call.lineno), {keyword.arg for keyword in call.keywords}
        for code in literals(call.args[0]) or ():
            if code not in TABLE:
                yield f"{where}: the table has no {code}"
                continue
            for way in literals(call.args[1] if len(call.args) > 1 else None) or ():
                says = TABLE[code].says.get(way)
                if says is None:
                    yield f"{where}: {code} cannot be said {way!r}, only {', '.join(map(repr, TABLE[code].says)) or 'by a log'}"
                elif None not in given:  # no **values
                    fix = says.fix if says.fix is not None else TABLE[code].fix
                    wanted = {*value_names(says.summary), *(n for line in fix for n in value_names(line) if n == "pip")}
                    yield from (f"{where}: {code} {way!r} says {{{name}}}, which is not given" for name in sorted(wanted - given))


def test_every_finding_that_is_named_is_in_the_table() -> None:
    wrong = [one for path, tree in modules() for one in wrong_calls(path, tree)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("call", "complaint"), [
    ('found("gpu-nome")', "the table has no gpu-nome"), ('found("gpu-none", "hiden", gpus=2)', "cannot be said 'hiden'"),
    ('found("gpu-none", "x" if a else "", gpus=2)', "cannot be said 'x'"), ('found("torch-missing")', "{pip}"),
    ('found("torch-missing", "not imported", pip=1)', "{import_error}"), ('found("torch-missing", **values)', ""),
    ('found("torch-missing", way)', ""), ('found(code, "nothing")', "")])
def test_a_wrong_name_is_noticed_with_file_and_line(call: str, complaint: str) -> None:
    told = list(wrong_calls(PACKAGE / "preflight" / "x.py", ast.parse("\n" + call)))
    assert (complaint in told[0] and told[0].startswith("swift_fa_launcher/preflight/x.py:2: ")) if complaint else not told


def test_every_code_is_named_by_a_check() -> None:
    named = {node.value for path, tree in modules("preflight/checks") if path.name != "__init__.py" for node in ast.walk(tree)
             if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    unnamed = {code for code in TABLE if AREA_OF[code] not in ("run", "launcher")} - named
    assert unnamed == {*NOT_WRITTEN_OUT}, "\n".join(f"{entry_at(code)}: {code}" for code in unnamed ^ {*NOT_WRITTEN_OUT})
