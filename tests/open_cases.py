"""Shared cases that the launcher does not answer rightly yet, by id. A test notices when one of them is: then it goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
OPEN: frozenset[str] = frozenset()


def expected(paths: Sequence[Path]) -> list[object]:
    """The cases as parameters of a test, those that are open as failures to come; one skip where there are none."""
    if not paths:
        return [pytest.param(None, id="none", marks=pytest.mark.skip("no shared cases beside this checkout"))]
    open_ = pytest.mark.xfail(strict=True, reason="a kind that is not known yet")
    return [pytest.param(path, id=path.stem, marks=(open_,) if path.stem in OPEN else ()) for path in paths]
