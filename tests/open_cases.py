"""Shared cases that the launcher does not answer rightly yet. A test notices when one of them is: then its line goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
_LISTED = """
    A004 A006 A015 A052 A053 A056 A058 A061 A062 A067 A071 B010 B012
    B014 B015 B018 B022 B023 B025 B026 B028 B202 B204 B205 B208 B209 B214 B313 B314
"""
OPEN = frozenset(_LISTED.split())


def expected(paths: Sequence[Path]) -> list[object]:
    """The cases as parameters of a test, those that are open as failures to come; one skip where there are none."""
    if not paths:
        return [pytest.param(None, id="none", marks=pytest.mark.skip("no shared cases beside this checkout"))]
    open_ = pytest.mark.xfail(strict=True, reason="a kind that is not known yet")
    return [pytest.param(path, id=path.stem, marks=(open_,) if path.stem in OPEN else ()) for path in paths]
