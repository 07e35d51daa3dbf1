"""Every error of the launcher names a code of the table, and every code of the launcher's own is one that is raised."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import swift_fa_launcher
from swift_fa_launcher.errors import ConfigError, LauncherError, Text, UsageError, refused_as
from swift_fa_launcher.findings.areas import ENTRIES
from swift_fa_launcher.findings.table import TABLE, require_codes, words_of

PACKAGE = Path(swift_fa_launcher.__file__).parent
TREES = {file: ast.parse(file.read_text(encoding="utf-8")) for file in sorted(PACKAGE.rglob("*.py"))}


def error_classes() -> set[str]:
    """LauncherError and whatever the package derives from it, by name."""
    parents = {node.name: {ast.unparse(base).rpartition(".")[2] for base in node.bases}
               for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    family = {LauncherError.__name__}
    while more := {name for name, bases in parents.items() if bases & family} - family:
        family |= more
    return family


def literal_codes(node: ast.expr | None) -> list[str] | None:
    """The codes that an argument may be: a literal, or a choice between literals; None where it is anything else."""
    if isinstance(node, ast.IfExp):
        either, other = literal_codes(node.body), literal_codes(node.orelse)
        return None if either is None or other is None else either + other
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def constructions() -> Iterator[tuple[str, list[str] | None]]:
    """Each place that makes an error, as file:line, with the codes that it names."""
    family = error_classes()
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in family:
                yield f"{file.relative_to(PACKAGE.parent)}:{node.lineno}", literal_codes(node.args[0] if node.args else None)


def test_every_error_names_a_code_of_the_table() -> None:
    made = dict(constructions())
    assert len(made) > 90
    assert not [place for place, codes in made.items() if codes is None], "the code is no literal"
    unknown = [f"{place}: {code}" for place, codes in made.items() for code in codes or () if code not in TABLE]
    assert not unknown, "codes that the table lacks"


def test_every_code_of_the_launcher_is_raised_somewhere() -> None:
    raised = {code for _, codes in constructions() for code in codes or ()}
    assert not ENTRIES["launcher"].keys() - raised


@pytest.mark.parametrize("code", ENTRIES["launcher"])
def test_an_error_of_the_launcher_cannot_be_allowed(code: str) -> None:
    with pytest.raises(UsageError, match=f"no finding code {code}") as refused:
        require_codes(["torch-missing", code], "--allow")
    assert (refused.value.code, refused.value.where) == ("code-unknown", "--allow")


def test_an_error_carries_its_code() -> None:
    error = ConfigError("config-missing", "no config", where="here")
    assert (error.code, str(error), error.where, error.exit_code) == ("config-missing", "no config", "here", 2)


def test_an_error_without_words_of_its_own_says_those_of_its_code() -> None:
    message, hint = words_of(LauncherError("bench-folder-busy"))
    assert message == TABLE["bench-folder-busy"].means and hint == TABLE["bench-folder-busy"].fix
    own = LauncherError("bench-folder-busy", "busy", hint=("wait",))
    assert words_of(own) == ("busy", ("wait",))
    (line,) = words_of(LauncherError("build-failed", "it failed"))[1]
    assert line == Text("find the cause: swift-fa diagnose LOG", "查找原因：swift-fa diagnose LOG"), "values stand as names"


def test_what_the_system_refuses_is_the_errors_reason(tmp_path: Path) -> None:
    for given, why in (("", "No such file or directory"), ("because", "because")):
        with pytest.raises(LauncherError) as caught, refused_as(LauncherError("facts-not-written", why=given)):
            (tmp_path / "no" / "file").write_text("")
        assert (caught.value.why, str(caught.value)) == (why, "facts-not-written")
