"""The plan of a rehearsal: what it keeps of the training's, and what it makes small."""

from __future__ import annotations

from typing import Any

import pytest

from swift_fa_launcher.config.layers import resolve_data
from swift_fa_launcher.launch.rehearsal import rehearsal_key, rehearsed_config
from swift_fa_launcher.machine.facts import Facts


@pytest.mark.parametrize(("given", "tried"), [
    ({"gradient_accumulation_steps": 8}, 2), ({"gradient_accumulation_steps": 1}, 1),
    ({}, 2),  # ms-swift's own default, 16 rows to a step, is as many batches
    ({"per_device_train_batch_size": 16}, None)])
def test_no_more_than_two_batches_lie_in_a_step(given: dict[str, Any], tried: int | None) -> None:
    small = rehearsed_config(resolve_data({"swift": {"model": "m", **given}}), Facts(), "/folder")
    assert small.swift.get("gradient_accumulation_steps") == tried


def test_an_answer_of_another_number_of_batches_is_another_answer() -> None:
    two, sixteen = (resolve_data({"swift": {"model": "m", "gradient_accumulation_steps": steps}}) for steps in (2, 16))
    unsaid = resolve_data({"swift": {"model": "m"}})
    assert rehearsal_key(two, Facts(), {}) != rehearsal_key(sixteen, Facts(), {}) == rehearsal_key(unsaid, Facts(), {})
