"""The plan of a rehearsal: what it keeps of the training's, what it makes small, and what would fail in small alone."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from machines import machine
from packaging.version import Version

from swift_fa_launcher.config.layers import resolve_data
from swift_fa_launcher.decode import decode
from swift_fa_launcher.findings.areas.rehearsal import CANNOT
from swift_fa_launcher.launch import rehearsal as plan_module
from swift_fa_launcher.launch.rehearsal import (
    SCRIPT,
    make_rehearsal_plan,
    rehearsal_key,
    rehearsed_config,
    why_not_rehearsed,
)
from swift_fa_launcher.machine import rehearsal as forecast_module
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.rehearsal import foretell
from swift_fa_launcher.stories import rehearse as story_module
from swift_fa_launcher.stories.rehearse import is_wanted

FACTS = machine()


def words(swift: dict[str, Any]) -> dict[str, str]:
    config = resolve_data({"swift": {"model": "o/m", "dataset": "o/d", **swift}})
    plan = make_rehearsal_plan(config, FACTS, "/tmp/r", "/here")
    assert plan is not None
    return {word[2:]: plan.starts[at + 1] for at, word in enumerate(plan.starts) if word.startswith("--")}


def why_not(swift: dict[str, Any]) -> list[str]:
    return [*why_not_rehearsed(resolve_data({"swift": {"model": "o/m", "dataset": "o/d", **swift}}), FACTS)]


def test_nothing_is_written_beside_it_however_the_config_spells_it() -> None:
    made = words({"output-dir": "mine", "save-strategy": "steps", "report-to": "wandb", "eval-steps": 5, "max-steps": 900})
    assert (made["output_dir"], made["save_strategy"]) == ("/tmp/r/output", "no")
    assert (made["report_to"], made["max_steps"]) == ("none", "12")
    assert "eval_steps" not in made


def test_what_follows_the_evaluation_or_counts_all_steps_is_left_out() -> None:
    """TrainingArguments: "lr_scheduler_type reduce_lr_on_plateau requires an eval strategy"; peft: "The supplied schedule values
    don't allow for a budgeting phase"."""
    made = words({"lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": {"patience": 3}, "val_dataset": "o/v",
                  "tuner_type": "adalora", "adalora_tinit": 100, "adalora_tfinal": 200})
    assert not {"lr_scheduler_type", "lr_scheduler_kwargs", "adalora_tinit", "adalora_tfinal", "val_dataset"} & set(made)
    assert words({"lr_scheduler_type": "cosine"})["lr_scheduler_type"] == "cosine"


@pytest.mark.parametrize(("swift", "accumulation"), [
    ({}, "2"), ({"gradient_accumulation_steps": 1}, "1"), ({"gradient_accumulation_steps": "16"}, "2"),
    ({"per_device_train_batch_size": 16}, None),  # ms-swift's own is 1 then
    ({"gradient_accumulation_steps": 16, "deepspeed": "zero2"}, "2"),
    ({"gradient_accumulation_steps": 16, "deepspeed": "ds.json"}, "16"),  # which may say 16 as well, and must not differ
    ({"gradient_accumulation_steps": 16, "deepspeed": {"gradient_accumulation_steps": 16}}, "16"),
])
def test_two_batches_make_a_step_where_more_do(swift: dict[str, Any], accumulation: str | None) -> None:
    assert words(swift).get("gradient_accumulation_steps") == accumulation


@pytest.mark.parametrize("swift", [
    {"tuner_type": "llamapro"}, {"train_type": "llamapro"}, {"tuner_type": "full", "lisa_activated_layers": 4},
    {"tuner_type": "reft"}, {"target_modules": ["model.layers.20.mlp.up_proj"]}, {"target_regex": r"model\.layers\.(9|10)\..*"},
    {"freeze_parameters": ["model.layers.0"], "tuner_type": "full"},
    {"tuner_type": "full", "trainable_parameters": ["model.layers.27"]}, {"model": None, "resume_from_checkpoint": "out/c"},
    {"load_args": True, "adapters": ["out/c"]},
])
def test_what_is_of_the_whole_model_is_not_rehearsed(swift: dict[str, Any]) -> None:
    assert why_not(swift)


@pytest.mark.parametrize("swift", [
    {}, {"target_modules": "all-linear"}, {"target_modules": ["q_proj", "fc1", "w2", "conv1d"]}, {"lisa_activated_layers": 0},
    {"target_regex": r"^(model\.language_model).*\.(q_proj|v_proj)$"}, {"tuner_type": "full", "freeze_parameters_ratio": 0.5},
    {"resume_from_checkpoint": "out/c"}, {"adapters": ["out/c"]}, {"load_args": False},
])
def test_the_rest_is(swift: dict[str, Any]) -> None:
    assert not why_not(swift)


def test_another_launch_is_rehearsed_anew() -> None:
    config = resolve_data({"swift": {"model": "o/m", "dataset": "o/d"}})
    others = [replace(FACTS, env={"NPROC_PER_NODE": "2"}), replace(FACTS, packages={"peft": Version("0.19")})]
    keys = {rehearsal_key(config, facts, {}) for facts in (FACTS, FACTS, *others)}
    assert len(keys) == 3


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
    others = Facts(env={"LANG": "zh_CN.UTF-8", "SLURM_JOB_ID": "7"})
    assert rehearsal_key(unsaid, Facts(), {}) == rehearsal_key(unsaid, others, {})


@pytest.mark.parametrize(("launch", "environment", "wanted"), [
    ({}, {}, True), ({"nnodes": 2}, {}, False), ({}, {"NNODES": "2"}, False), ({"nnodes": 1}, {"NNODES": "2"}, True)])
def test_only_one_node_rehearses_by_itself(launch: dict[str, Any], environment: dict[str, str], wanted: bool) -> None:
    facts = decode(Facts, {"gpus": [{"index": 0, "name": "NVIDIA H100", "compute_capability": "9.0"}],
                           "env": environment})
    assert is_wanted(resolve_data({"swift": {"model": "m"}, "launch": launch}), facts) is wanted


def test_the_depth_that_ran_out_of_memory_is_the_last_trial() -> None:
    done = {"depth": 2, "peak": 2**33, "held": 0, "batches": [0.1], "rests": [0.1], "waits": [], "tokens": [8], "learned": [4],
            "losses": [1.0], "steps_per_epoch": 3, "accumulation": 1}
    failed = {"layers": 28, "error": "OutOfMemoryError: no", "out_of_memory": True}
    assert [one.depth for one in foretell([{**failed, "depths": [done], "depth": 4}], accumulation=1).trials] == [2, 4]
    assert [one.depth for one in foretell([{**failed, "depths": [], "depth": 2}], accumulation=1).trials] == [2]


def test_why_it_cannot_be_is_said_in_both_languages() -> None:
    """Each reason that the script, the plan, the forecast and the story give stands in the table, and nothing else does."""
    said: set[str] = set()
    for file in (Path(SCRIPT), *(Path(module.__file__) for module in (plan_module, forecast_module, story_module))):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name == "why_not_rehearsed":
                places = [one.value for one in ast.walk(node) if isinstance(one, ast.Yield) and one.value]
            elif isinstance(node, ast.Call):
                places = [*(node.args if ast.unparse(node.func) == "Cannot" else ()),
                          *(keyword.value for keyword in node.keywords if keyword.arg == "cannot")]
            else:
                continue
            said |= {one.value.partition(": ")[0] for place in places for one in ast.walk(place)
                     if isinstance(one, ast.Constant) and isinstance(one.value, str) and " " in one.value.partition(": ")[0]}
    assert said == set(CANNOT)
