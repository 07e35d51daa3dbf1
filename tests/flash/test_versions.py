"""Which torch a wheel may be tried with beside the one that its label names."""

from __future__ import annotations

import pytest
from packaging.version import Version

from swift_fa_launcher.flash.implementations import FA2, FA3, Implementation
from swift_fa_launcher.flash.versions import may_load


@pytest.mark.parametrize(("implementation", "built", "torch", "may"), [
    (FA2, "2.10", "2.11.0+cu130", True), (FA2, "2.10", "2.12.1", True), (FA2, "2.14", "2.15.0", True),
    (FA2, "2.12", "2.11.0", True), (FA2, "2.5", "2.6.0", True), (FA2, "2.5", "2.7.0", True), (FA2, "2.5", "2.8.0", False),
    (FA2, "2.8", "2.9.1", True), (FA2, "2.9", "2.8.0", False), (FA2, "2.11", "2.10.0", False), (FA2, "2.1", "2.5.1", False),
    (FA2, "2.9", "2.10.0", False), (FA2, "2.10", "2.9.1", False), (FA2, "2.12", "2.13.0", False), (FA2, "2.13", "2.14.0", False),
    (FA2, "2.11", "2.15.0", False), (FA2, "1.13", "2.0.0", False),
    (FA3, "2.9", "2.15.0", True), (FA3, "2.13", "2.9.0", True), (FA3, "2.8", "2.11.0", False), (FA3, "2.8", "2.9.0", True),
])
def test_neighbours(implementation: Implementation, built: str, torch: str, may: bool) -> None:
    assert may_load(implementation, Version(built), Version(torch)) is may
