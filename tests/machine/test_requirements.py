"""Contradicting requirements among installed distributions."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from swift_fa_launcher.machine.facts import RequirementConflict
from swift_fa_launcher.machine.requirements import ROOTS, find_conflicts


def installed(**distributions: tuple[str | None, list[str]]) -> dict[str, dict[str, Any]]:
    return {name.replace("_", "-"): {"name": name.replace("_", "-"), "version": version, "requires": requires}
            for name, (version, requires) in distributions.items()}


def found(python: str = "3.11.7", **distributions: tuple[str | None, list[str]]) -> list[tuple[str, str | None, str | None]]:
    conflicts = find_conflicts(installed(**distributions), python)
    return [(c.package, c.requires, c.installed) for c in conflicts]  # type: ignore[misc]


def test_what_is_met() -> None:
    assert found(ms_swift=("4.6.0", ["transformers>=4.33,<5.20", "Torch (>=2.0)", "x @ https://example.org/x.whl"]),
                 transformers=("5.19.0", []), torch=("2.6.0+cu124", []), x=("1", [])) == []


def test_what_is_not() -> None:
    conflicts = find_conflicts(installed(trl=("0.20.0", ["transformers>=4.50"]), transformers=("4.44.0", [])), "3.11.7")
    assert conflicts == (RequirementConflict("trl", "0.20.0", "transformers>=4.50", "4.44.0"),)
    assert found(torch=("2.8.0", ["sympy"])) == [("torch", "sympy", None)]


def test_only_what_a_training_reaches() -> None:
    packages: dict[str, tuple[str | None, list[str]]] = {
        "jupyter": ("1", ["absent"]), "torch": ("2.8.0", ["fsspec"]), "fsspec": ("2025.1", ["requests<1"]), "requests": ("2", [])}
    assert found(**packages) == [("fsspec", "requests<1", "2")]


def test_markers_are_those_of_the_target_python() -> None:
    requires = ["old; python_version < '3.10'", "new; python_full_version >= '3.11.2'", "never; sys_platform == 'plan9'",
                "quality; extra == 'dev'", "either; extra == 'a' or python_version >= '3'"]
    assert found(torch=("2", requires)) == [("torch", requires[1], None), ("torch", requires[4], None)]
    assert found("3.9.18", torch=("2", requires)) == [("torch", requires[0], None), ("torch", requires[4], None)]


def test_prereleases_count_as_pip_counts_them() -> None:
    assert found(torch=("2", ["triton>=3"]), triton=("3.1.0.dev0", [])) == []


def test_texts_that_are_no_requirement_or_version() -> None:
    assert found(torch=("2", ["???", "a b c", "x; y == z", "", "triton>=3"]), triton=("not a version", [])) == []
    assert found(torch=("2", ["triton>=3"]), triton=(None, [])) == []


def test_circles_end() -> None:
    assert found(torch=("2", ["a"]), a=("1", ["torch", "a"])) == []


def test_the_same_as_pip_check_says_of_this_environment() -> None:
    import importlib.metadata
    import re

    if "ms-swift" not in {d.metadata["Name"] for d in importlib.metadata.distributions()}:
        return
    said = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False).stdout
    here: dict[str, dict[str, Any]] = {}
    for distribution in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        here.setdefault(name, {"name": name, "version": distribution.version, "requires": distribution.requires or []})
    ours = {c.package for c in find_conflicts(here, ".".join(map(str, sys.version_info[:3])))}
    theirs = {line.split()[0] for line in said.splitlines() if " requires " in line or " has requirement " in line}
    assert ours <= theirs
    assert theirs & set(ROOTS) <= ours
