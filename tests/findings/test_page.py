"""docs/findings.md is what the table says; every code can be explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from swift_fa_launcher.findings.page import entry_to_json, render_entry, render_findings_page, render_list
from swift_fa_launcher.findings.table import TABLE

PAGE = Path(__file__).parents[2] / "docs" / "findings.md"


def test_the_page_is_what_the_table_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_findings_page(), "run: python docs/make_findings.py"


def test_the_page_has_every_code_once_and_no_value_is_left_open() -> None:
    page = render_findings_page()
    assert re.findall(r"^### (.+)$", page, re.M) == list(TABLE)
    assert "`launch.nproc_per_node=GPUS`" in page and "launch.node_rank='${oc.env:RANK}'" in page
    assert "{pip}" not in page and "PIP" not in page


@pytest.mark.parametrize("code", TABLE)
def test_every_code_is_explained_in_both_languages(code: str) -> None:
    for lang in ("en", "zh"):
        shown, data = render_entry(code, lang, None), entry_to_json(code, lang)
        assert shown.startswith(f"{code}: {data['means']}") and data["when"] in shown and data["severities"]
        assert all(f"  -> {line}" in shown for way in (data, *data["ways"]) for line in way["fix"])
        assert f"  {code} " in render_list(lang, 80)
