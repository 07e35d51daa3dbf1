"""Writes docs/findings.md from the table of findings: `python docs/make_findings.py`, in an environment with the launcher."""

from pathlib import Path

from swift_fa_launcher.findings.page import render_findings_page

Path(__file__).with_name("findings.md").write_text(render_findings_page(), encoding="utf-8")
