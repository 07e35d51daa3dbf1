"""The plan of a rehearsal: what it keeps of the training's, and what it makes small."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from swift_fa_launcher.config.layers import resolve_data
from swift_fa_launcher.decode import decode
from swift_fa_launcher.findings.areas.rehearsal import CANNOT
from swift_fa_launcher.launch.rehearsal import SCRIPT, rehearsal_key, rehearsed_config
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.rehearsal import foretell
from swift_fa_launcher.stories.rehearse import is_wanted


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
    assert rehearsal_key(two, Facts(), {}) != rehearsal_key(sixteen, Facts(), {})
    assert rehearsal_key(unsaid, Facts(), {}) != rehearsal_key(unsaid, Facts(env={"NPROC_PER_NODE": "2"}), {})


@pytest.mark.parametrize(("launch", "environment", "wanted"), [
    ({}, {}, True), ({"nnodes": 2}, {}, False), ({}, {"NNODES": "2"}, False), ({"nnodes": 1}, {"NNODES": "2"}, True)])
def test_only_one_node_rehearses_by_itself(launch: dict[str, Any], environment: dict[str, str], wanted: bool) -> None:
    facts = decode(Facts, {"gpus": [{"index": 0, "name": "NVIDIA H100", "compute_capability": "9.0"}],
                           "env": environment})
    assert is_wanted(resolve_data({"swift": {"model": "m"}, "launch": launch}), facts) is wanted


def test_the_depth_that_ran_out_of_memory_is_the_last_trial() -> None:
    done = {"depth": 2, "peak": 2**33, "held": 0, "batches": [0.1], "rests": [0.1], "tokens": [8], "learned": [4],
            "losses": [1.0], "steps_per_epoch": 3, "accumulation": 1}
    failed = {"layers": 28, "error": "OutOfMemoryError: no", "out_of_memory": True}
    assert [one.depth for one in foretell([{**failed, "depths": [done], "depth": 4}], accumulation=1).trials] == [2, 4]
    assert [one.depth for one in foretell([{**failed, "depths": [], "depth": 2}], accumulation=1).trials] == [2]


def test_why_it_cannot_be_is_said_in_both_languages() -> None:
    calls = [node for node in ast.walk(ast.parse(Path(SCRIPT).read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    words = (word for call in calls if ast.unparse(call.func) == "Cannot" for word in call.args)
    said = {word.value for word in words if isinstance(word, ast.Constant)}
    assert len(said) > 3 and said <= set(CANNOT)
