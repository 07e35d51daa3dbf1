"""The table of implementations, and those who must spell it out because another interpreter runs them."""

from __future__ import annotations

from dataclasses import fields

from swift_fa_launcher.flash.implementations import BY_DISTRIBUTION, BY_NAME, IMPLEMENTATIONS
from swift_fa_launcher.machine import target
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.training import swift_fa_monitor


def test_every_row_is_found_by_each_of_its_names() -> None:
    assert [BY_NAME[name] for row in IMPLEMENTATIONS for name in row.names] == [row for row in IMPLEMENTATIONS for _ in row.names]
    assert list(BY_DISTRIBUTION) == ["flash-attn", "flash-attn-3", "flash-attn-4", "causal-conv1d"]
    assert {row.field for row in IMPLEMENTATIONS} <= {field.name for field in fields(Facts)}


def test_the_scripts_of_another_interpreter_know_all_of_them() -> None:
    distributions = {row.distribution for row in IMPLEMENTATIONS}
    assert distributions == set(target.DIRECT_URLS) and distributions <= set(swift_fa_monitor.PACKAGES)
    assert {row.module.partition(".")[0] for row in IMPLEMENTATIONS} <= set(target.MODULES)
