"""Arguments that exclude each other: each rule on a config that breaks it, on its neighbours, and after its own fixes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from machines import MODEL, config_data, gpus, machine
from packaging.requirements import Requirement

from swift_fa_launcher.config.conditions import holds, parse_condition
from swift_fa_launcher.config.layers import resolve_config, resolve_data
from swift_fa_launcher.config.needed_packages import NEEDS, Need
from swift_fa_launcher.errors import render_words
from swift_fa_launcher.findings.finding import Finding
from swift_fa_launcher.preflight.checks import check_all
from swift_fa_launcher.preflight.checks.conflicts import RULES, arguments_conflict

V3_8, V3_12 = {"ms-swift": "3.8.3", "transformers": "4.56.1"}, {"ms-swift": "3.12.6", "transformers": "4.57.3"}
V4, V4_6 = {"ms-swift": "4.0.4", "transformers": "5.3.0"}, {"ms-swift": "4.6.0", "transformers": "5.19.0"}
ALL = (V3_8, V3_12, V4, V4_6)
DS = {"deepspeed": "0.18.3"}
PLAIN: dict[str, Any] = {"attn_impl": "sdpa", "packing": False}
STREAM = {"streaming": True, "max_steps": 9}
BEST = {"load_best_model_at_end": True}
VALIDATED = {"split_dataset_ratio": 0.01}
DDP = {"nproc_per_node": 2}


def judged(swift: dict[str, Any], packages: dict[str, str], launch: dict[str, Any], cards: int, file: Path,
           fix: str = "") -> list[Finding]:
    """The conflicts of a config after a fix, on as many GPUs as it has processes, or on `cards`."""
    file.write_text(json.dumps(config_data({**PLAIN, **swift}, launch=launch)), encoding="utf-8")
    facts = machine(gpus=gpus(cards or launch.get("nproc_per_node", 1)), packages=DS | packages)
    findings = check_all(resolve_config([file], shlex.split(fix)), facts)
    return [finding for finding in findings if finding.code == "arg-conflict"]


CASES: list[tuple[dict[str, Any], tuple[dict[str, str], ...], dict[str, Any], int]] = [
    ({**STREAM, "lazy_tokenize": True}, ALL, {}, 0),
    ({**STREAM, "cached_dataset": ["c"]}, ALL, {}, 0),
    ({"cached_dataset": ["c"], "lazy_tokenize": True}, (V3_8,), {}, 0),
    ({"group_by_length": True, "lazy_tokenize": "true"}, (V3_12, V4, V4_6), {}, 0),
    ({"group_by_length": True, "packing": True, "attn_impl": "flash_attn"}, (V3_12, V4, V4_6), {}, 0),
    ({"group_by_length": True, "train_dataloader_shuffle": False}, (V3_12, V4, V4_6), {}, 0),
    ({"group_by_length": True, **STREAM}, (V3_8, V3_12), {}, 0),
    ({"warmup_ratio": 0.1, "warmup_steps": 10}, (V4_6,), {}, 0),
    ({"deepspeed": "zero2", "fsdp": "fsdp2"}, ALL, DDP, 0),
    ({"fsdp": "fsdp2", "save_only_model": True}, (V3_12, V4, V4_6), DDP, 0),
    ({"fsdp": "fsdp2"}, (V3_12, V4, V4_6), {}, 2),
    *(({"save_only_model": True, **BEST, **VALIDATED, **more}, ALL, DDP, 0) for more in (
        {"deepspeed": "zero2"}, {"fsdp": '{"fsdp_config": {"state_dict_type": "FULL_STATE_DICT"}}'})),
    *(({"auto_find_batch_size": True, "deepspeed": zero3}, ALL, DDP, 0) for zero3 in (
        "zero3", "zero3_offload", {"zero_optimization": {"stage": 3}}, '{"zero_optimization": {"stage": 3}}')),
    ({"use_flash_ckpt": True, "fsdp": "fsdp2"}, ALL, DDP, 0),
    ({"fp16": True, "bf16": True}, ALL, {}, 0),
    ({"fp16": True}, ALL, {}, 0),  # torch_dtype: bfloat16
    ({"fp16": True, "torch_dtype": None}, ALL, {}, 0),  # the model's own bfloat16
    ({"bf16": True, "torch_dtype": "float16"}, ALL, {}, 0),
    ({"fp16_full_eval": True, "bf16_full_eval": True}, ALL, {}, 0),
    ({"use_liger_kernel": True}, ALL, {}, 2),
    ({"use_liger_kernel": True}, ALL, DDP, 4),
    ({"device_map": "auto"}, ALL, DDP, 0),
    ({"device_map": "cuda:0", "deepspeed": "zero3"}, ALL, DDP, 0),
    ({"lr_scheduler_type": "reduce_lr_on_plateau"}, ALL, {}, 0),
    ({"lr_scheduler_type": "greedy", "eval_strategy": "no", **VALIDATED}, ALL, {}, 0),
    (BEST, ALL, {}, 0),
    ({**VALIDATED, "save_strategy": "best"}, ALL, {}, 0),
    ({"dataloader_prefetch_factor": 4, "dataloader_num_workers": 0}, ALL, {}, 0),
    ({"lisa_activated_layers": 2}, ALL, {}, 0),
    ({"tuner_backend": "unsloth", "tuner_type": "longlora", "model": "o/unknown"}, ALL, {}, 0),
    ({"tuner_type": "longlora"}, ALL, {}, 0),  # the model is a qwen2
    ({"use_galore": True, "optim": "sgd", "tuner_type": "full"}, (V4, V4_6), {}, 0),
    ({"optim": "galore_adamw_layerwise", "optim_target_modules": "all-linear"}, ALL, {}, 0),  # 16 passes by default
    ({"optim": "apollo_adamw_layerwise", "optim_target_modules": "all-linear", "gradient_accumulation_steps": 1}, ALL, DDP, 0),
    ({"quant_method": "bnb", "quant_bits": 3}, ALL, {}, 0),
    ({"quant_method": "eetq", "quant_bits": 4}, ALL, {}, 0),
    ({"quant_method": "quanto", "quant_bits": 6}, ALL, {}, 0),
    ({"quant_method": "bnb", "quant_bits": 4, "tuner_type": "full"}, ALL, {}, 0),
    ({}, ALL, {"nproc_per_node": 6}, 8),
    ({"sequence_parallel_size": 4}, ALL, DDP, 0),
    ({"sequence_parallel_size": 2}, ALL, {}, 0),
    ({**BEST, **VALIDATED, "eval_strategy": "epoch"}, ALL, {}, 0),
    ({**BEST, **VALIDATED, "eval_steps": 200}, ALL, {}, 0),
    ({"dataset": ["a.jsonl", "b.jsonl"], "interleave_prob": [0.5, 0.3, 0.2]}, ALL, {}, 0),
]


@pytest.mark.parametrize(("swift", "versions", "launch", "cards"), CASES)
def test_what_excludes_each_other(swift: dict[str, Any], versions: tuple[dict[str, str], ...], launch: dict[str, Any],
                                  cards: int, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    for packages in ALL:
        assert len(judged(swift, packages, launch, cards, file)) == (packages in versions), packages
    finding = judged(swift, versions[-1], launch, cards, file)[0]
    assert finding.fix
    for line in finding.fix:
        assert not judged(swift, versions[-1], launch, cards, file, render_words(line, "en")), line


@pytest.mark.parametrize(("swift", "launch", "cards"), [
    ({"group_by_length": True}, {}, 0), ({"group_by_length": True, "lazy_tokenize": False}, {}, 0),
    ({"group_by_length": True, "lazy_tokenize": True, "sequence_parallel_size": 2}, DDP, 0),  # another loader
    ({"lazy_tokenize": True}, {}, 0), ({"fsdp": "fsdp2"}, DDP, 0),
    ({"fsdp": '{"fsdp_config": {"state_dict_type": "FULL_STATE_DICT"}}', "save_only_model": True}, DDP, 0),
    ({"save_only_model": True, **BEST, **VALIDATED}, {}, 0), ({"save_only_model": True, "deepspeed": "zero2"}, DDP, 0),
    ({"auto_find_batch_size": True, "deepspeed": "zero2"}, DDP, 0),
    ({"auto_find_batch_size": True, "deepspeed": "ds.json"}, DDP, 0),
    ({"fp16": True, "torch_dtype": "float16"}, {}, 0), ({"fp16": True, "torch_dtype": "float32"}, {}, 0),
    ({"fp16": True, "bf16": False}, {}, 0), ({"bf16": True}, {}, 0), ({"fp16": False, "bf16": True}, {}, 0),
    ({"use_liger_kernel": True}, DDP, 0), ({"use_liger_kernel": False}, {}, 2),
    ({"device_map": "auto"}, {}, 2), ({"device_map": "auto"}, DDP, 4), ({"device_map": "sequential"}, DDP, 0),
    ({"device_map": {"": 0}}, DDP, 0), ({"deepspeed": "zero3"}, DDP, 0),
    ({"lr_scheduler_type": "reduce_lr_on_plateau", "val_dataset": ["v.jsonl"]}, {}, 0),
    ({**BEST, **VALIDATED}, {}, 0), ({**BEST, "val_dataset": ["v.jsonl"], "eval_strategy": "steps"}, {}, 0),
    ({**BEST, "save_strategy": "no"}, {}, 0),
    ({**BEST, **VALIDATED, "save_strategy": "best", "eval_strategy": "steps", "eval_steps": 7}, {}, 0),
    ({"save_strategy": "best"}, {}, 0),
    ({**BEST, "save_strategy": False}, {}, 0), ({"lr_scheduler_type": "cosine", "eval_strategy": False}, {}, 0),
    ({**BEST, **VALIDATED, "eval_steps": 100}, {}, 0), ({**BEST, **VALIDATED, "eval_steps": 0.1, "save_steps": 0.2}, {}, 0),
    ({"dataloader_num_workers": 0}, {}, 0), ({"dataloader_prefetch_factor": 4}, {}, 0),
    ({"lisa_activated_layers": 2, "tuner_type": "full"}, {}, 0), ({"lisa_activated_layers": 0}, {}, 0),
    *(({"use_galore": True, "tuner_type": "full", **optim}, {}, 0) for optim in (
        {}, {"optim": "adafactor"}, {"optim": "paged_adamw_8bit"})),
    ({"quant_method": "bnb", "quant_bits": 4}, {}, 0), ({"quant_method": "quanto", "quant_bits": "float8"}, {}, 0),
    ({"quant_method": "gptq", "tuner_type": "lora"}, {}, 0), ({"quant_method": "hqq", "quant_bits": 3}, {}, 0),
    ({}, {"nproc_per_node": 4}, 8), ({}, {"nproc_per_node": 8}, 2), ({"sequence_parallel_size": 2}, {"nproc_per_node": 4}, 0),
    ({"sequence_parallel_size": 4}, {"nproc_per_node": 2, "nnodes": 2, "master_addr": "n0"}, 0),
    ({"dataset": ["a.jsonl", "b.jsonl"], "interleave_prob": [0.5, 0.5]}, {}, 0),
    ({"dataset": ["o/a:x/y", "o/b"], "interleave_prob": [0.5, 0.3, 0.2]}, {}, 0),
])
def test_neighbours_that_train(swift: dict[str, Any], launch: dict[str, Any], cards: int, tmp_path: Path) -> None:
    for packages in ALL:
        assert not judged(swift, packages, launch, cards, tmp_path / "a.yaml")


def test_every_rule_is_broken_above() -> None:
    broken = set()
    for swift, versions, launch, cards in CASES:
        data = config_data({**PLAIN, **swift}, launch=dict(launch))
        facts = machine(gpus=gpus(cards or launch.get("nproc_per_node", 1)), packages=DS | versions[-1])
        broken |= {tuple(f.context["arguments"]) for f in arguments_conflict(resolve_data(data), facts)}
    assert broken == {tuple(parse_condition(condition)[0] for condition in rule.when[:2]) for rule in RULES}


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: need.package)
def test_what_does_without_a_package_is_accepted(need: Need, tmp_path: Path) -> None:
    """Each row's conditions give its finding, and its override takes it away."""
    given = {name: "x" if not sign else wanted.split(",")[0].replace("*", "adamw") for name, sign, wanted in map(
        parse_condition, need.when) if sign in ("", "=") and not name.startswith(("config_", "evaluates"))}
    file, kind = tmp_path / "a.yaml", parse_condition(need.when[0])[2].split(",")[0]
    file.write_text(json.dumps(config_data({**PLAIN, **VALIDATED, **given})), encoding="utf-8")
    version = {} if not need.of else V3_12 if need.of == "transformers<5" else V4_6
    facts = machine(packages={"tensorboard": "2.20", **version, Requirement(need.package).name: None},
                    paths={MODEL: {"kind": "dir", "missing_files": [], "model_config": {
                        "model_type": kind, "quant_method": kind if need.when[0].startswith("config_quant") else None}}})

    def lacks(fix: str) -> bool:
        return any(f.code == "package-missing" for f in check_all(resolve_config([file], shlex.split(fix)), facts))

    assert lacks("") and (not need.without or not lacks(need.without))


@pytest.mark.parametrize(("condition", "value", "expected"), [
    ("a", None, False), ("a", False, False), ("a", "false", False), ("a", [], False), ("a", "", False), ("a", "x", True),
    ("a", {"b": 1}, True), ("a", 0, False), ("a=true", "yes", True), ("a=true", None, False), ("a=false", False, True),
    ("a!=true", None, True), ("a!=true", True, False), ("a=x,y*", "Yes-no", True), ("a=x", ["z", "x"], True),
    ("a!=x,y", ["x"], False), ("a!=x,y", "z", True), ("a>2", 3, True), ("a>2", "2", False), ("a>2", None, False),
    ("a<2", "1", True),
])
def test_conditions(condition: str, value: Any, expected: bool) -> None:
    assert holds(condition, {"a": value}.get) is expected
