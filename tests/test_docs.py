"""What the pages say exists: files that they link to, make targets, commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [page for folder in (".", "docs", ".github") for page in sorted((ROOT / folder).glob("*.md"))]
TYPES_MAKE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / ".github").rglob("*.*")), ROOT / ".ci" / "run"]


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchor(heading: str) -> str:
    """What GitHub makes of a heading for links."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        name, _, place = target.partition("#")
        if "://" not in target:
            file = page.parent / name if name else page
            assert file.exists(), f"{page.name} links to {target}, which does not exist"
            headings = map(anchor, re.findall(r"(?m)^#+ (.+)$", read(file))) if place else ()
            assert not place or place in headings, f"{page.name} links to {target}, and there is no such heading"


@pytest.mark.parametrize("page", TYPES_MAKE, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_has_the_targets_that_are_named(page: Path) -> None:
    targets = set(re.findall(r"(?m)^([a-z]+):", read(ROOT / "Makefile")))
    named = set(re.findall(r"(?m)(?:`|\$ |run: |^)make ([a-z]+)", read(page)))
    assert named <= targets, f"{page.name} names {named - targets}"
    assert named or page.name not in ("README.md", "CONTRIBUTING.md", "check.yml", "run")


def test_the_readmes_table_has_every_command() -> None:
    told = subprocess.run([sys.executable, "-m", "swift_fa_launcher", "--help", "--lang", "en"], capture_output=True, text=True,
                          check=True).stdout
    listed = re.findall(r"(?m)^\| `swift-fa ([a-z]+)", read(ROOT / "README.md"))
    assert listed and sorted(listed) == sorted(re.findall(r"(?m)^  ([a-z]+)  +\S", told)), "README.md, Commands"


def test_the_package_links_to_where_the_templates_are() -> None:
    urls = re.findall(r'(?m)^\w+ = "(https://github\.com/[^"#]+)', read(ROOT / "pyproject.toml"))
    assert urls and all(url.startswith("https://github.com/swift-fa-launcher/swift-fa-launcher") for url in urls)
    for template in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        assert "--save-facts" in read(template), f"{template.name} does not ask for the facts"
