"""What of a config is rehearsed, and what would fail in small though it trains whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from machines import machine
from packaging.version import Version

from swift_fa_launcher.config.layers import resolve_data
from swift_fa_launcher.launch.rehearsal import make_rehearsal_plan, rehearsal_key, why_not_rehearsed

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
