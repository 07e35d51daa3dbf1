"""Runs the cases of a folder with `preflight/` and `healthy/` JSON files: `python tests/replay_shared_cases.py [FOLDER]`.

Prints one line for each case whose findings are not what it expects; exits 1 when there is one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swift_fa_launcher.config.layers import resolve_data
from swift_fa_launcher.findings.finding import Finding, blocking
from swift_fa_launcher.machine.facts import parse_facts
from swift_fa_launcher.preflight.checks import check_all

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "cases"


def read_cases(folder: Path = FOLDER) -> tuple[Path, ...]:
    """The cases there, none where the folder is absent."""
    return tuple(sorted((*folder.glob("preflight/*.json"), *folder.glob("healthy/*.json"))))


def judge(case: dict[str, Any]) -> tuple[tuple[Finding, ...], list[str], list[str]]:
    """(findings, codes expected and not found, blocking codes that the case does not allow)."""
    findings = check_all(resolve_data(case["config"]), parse_facts(case["facts"], case["id"]))
    missed = sorted(set(case["expect"]) - {f.code for f in findings})
    alarms = sorted({f.code for f in blocking(findings)} - set(case["expect"]) - set(case["also_allowed"]))
    return findings, missed, alarms


def _report(paths: tuple[Path, ...]) -> Iterator[str]:
    for path in paths:
        _, missed, alarms = judge(json.loads(path.read_text(encoding="utf-8")))
        if missed or alarms:
            yield f"{path.parent.name}/{path.name}: missed {missed}, false alarms {alarms}"


if __name__ == "__main__":
    cases = read_cases(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
    wrong = tuple(_report(cases))
    print("\n".join((*wrong, f"{len(cases) - len(wrong)} of {len(cases)} cases as expected")))
    sys.exit(bool(wrong))
