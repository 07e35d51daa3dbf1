"""Errors of the launcher itself: what each code means and what to do. No check yields them."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.findings.entry import Entry

ENTRIES: Mapping[str, Entry] = {
}
