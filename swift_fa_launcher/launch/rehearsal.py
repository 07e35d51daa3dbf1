"""The plan of a rehearsal: a launch's own, made small. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

from swift_fa_launcher.config.conditions import holds
from swift_fa_launcher.config.schema import ResolvedConfig, SwanLabSection, SwiftArguments
from swift_fa_launcher.config.swift_args import translate_config
from swift_fa_launcher.decode import encode, known
from swift_fa_launcher.launch.plan import LaunchPlan, make_plan, swift_script
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.preflight.packing import make_batch, row_count

SCRIPT = str(PurePath(__file__).parents[1] / "training" / "swift_fa_rehearsal.py")
VARIABLE = "SWIFT_FA_REHEARSAL"
WHOLE_STEPS, BRIEFLY = 30, 2.0  # of a training of all layers; seconds that a GPU is kept busy where many settings are compared
STEPS, ROWS, SAMPLE = 12, 500, 400  # optimizer steps of each depth at most; rows of each dataset; tokens of the row that is shown
#: Does not belong to a training step: what is written, evaluated, tracked, goes on from elsewhere, or counts all steps.
LEFT_OUT = (
    "num_train_epochs", "val_dataset", "resume_from_checkpoint", "resume_only_model", "load_best_model_at_end",
    "save_steps", "eval_steps", "eval_strategy", "evaluation_strategy", "save_total_limit", "push_to_hub",
    "hub_model_id", "hub_token", "create_checkpoint_symlink", "metric_for_best_model", "report_to", "save_only_model",
    "logging_dir", "run_name", "eval_on_start", "adapters", "split_dataset_ratio", "predict_with_generate",
    "adalora_tinit", "adalora_tfinal")
#: Refused by torch where there are no data workers.
OF_WORKERS = ("dataloader_prefetch_factor", "dataloader_persistent_workers")
#: Schedules that follow the evaluation, without which TrainingArguments refuses them.
OF_EVALUATION = ("reduce_lr_on_plateau", "greedy")
#: What needs the model's own depth: it divides, names or chooses layers (swift/tuners/llamapro.py, reft.py, callbacks/lisa.py).
OF_ALL_LAYERS = ("tuner_type=llamapro", "tuner_type=reft", "lisa_activated_layers>0")
#: Arguments that name parts of the model, and a layer's number in them: few layers may not have it.
NAMES_PARTS = ("target_modules", "target_regex", "target_parameters", "modules_to_save", "freeze_parameters",
               "freeze_parameters_regex", "trainable_parameters", "trainable_parameters_regex")
_LAYER_NUMBER = re.compile(r"(?:^|[._(|\[])\d")
#: Variables of the person, the job or the tracking: no training step depends on them.
_OTHERS = re.compile(r"(?:SLURM|SWANLAB)_|(?:LANG|USER|HOME|MAX_JOBS)$")


def rehearsed_config(config: ResolvedConfig, facts: Facts, folder: str, steps: int = STEPS, *,
                     whole: bool = False) -> ResolvedConfig:
    """The config of the training in small: the same arguments, few rows and steps, nothing kept. whole: with the config's own
    data workers, which take longer to start and end than few layers to train."""
    said = _spelled(config, facts)
    given = {name: value for name, value in said.items() if name not in LEFT_OUT}
    if not whole:
        given = {name: value for name, value in given.items() if name not in OF_WORKERS} | {"dataloader_num_workers": 0}
    if said.text("lr_scheduler_type") in OF_EVALUATION:
        given = {name: value for name, value in given.items() if name not in ("lr_scheduler_type", "lr_scheduler_kwargs")}
    given |= {"output_dir": f"{folder}/output", "max_steps": steps, "logging_steps": 1, "save_strategy": "no",
              "logging_nan_inf_filter": False,  # by default a loss that is no number is logged as those before it
              "report_to": "none", "split_dataset_ratio": 0,
              "dataset": [_few(name, facts) for name in said.names("dataset")]}
    written_out = said.get("deepspeed") and not re.fullmatch(r"zero[0-3](?:_offload)?", said.text("deepspeed") or "")
    if make_batch(config, facts).accumulation > 2 and not written_out:  # deepspeed's own config may name the number, too
        # with two batches gradients lie beside activations already, as with more
        given["gradient_accumulation_steps"] = 2
    return replace(config, swift=SwiftArguments(given), swanlab=SwanLabSection(enabled=False),
                   run=replace(config.run, monitor=True))


def _spelled(config: ResolvedConfig, facts: Facts) -> SwiftArguments:
    """The arguments by the installed names: one of another spelling would stand beside ours."""
    return SwiftArguments(translate_config(config, known(facts.ms_swift_args), facts.package("ms-swift")).arguments)


def why_not_rehearsed(config: ResolvedConfig, facts: Facts) -> Iterator[str]:
    """What of the config trains whole and fails in small."""
    spelled = _spelled(config, facts)
    whole = SwiftArguments({"tuner_type": spelled.get("train_type"), **spelled})
    if not whole.text("model") or whole.flag("load_args") or whole.get("ckpt_dir"):
        yield "its model or its arguments come from a checkpoint"
    for condition in OF_ALL_LAYERS:
        if holds(condition, whole.get):
            yield f"it needs the model's own number of layers: {condition.rstrip('>0')}"
    for name in NAMES_PARTS:
        if any(_LAYER_NUMBER.search(part) for part in whole.names(name)):
            yield f"an argument names layers, which few layers may not have: {name}"


def _few(name: str, facts: Facts) -> str:
    """The dataset with at most ROWS of its rows; `name#N` is ms-swift's own way to ask for N."""
    rows = row_count(name, facts.path(name))
    return name if rows is not None and rows <= ROWS else f"{re.sub(r'#[0-9]+$', '', name)}#{ROWS}"


def times_the_rows(config: ResolvedConfig, facts: Facts) -> float | None:
    """How many times the rehearsed rows the whole training has; None where that is not known."""
    counts = [row_count(name, facts.path(name)) for name in config.swift.names("dataset")]
    rows = [count for count in counts if count]
    return sum(rows) / sum(min(count, ROWS) for count in rows) if rows and len(rows) == len(counts) else None


def make_rehearsal_plan(config: ResolvedConfig, facts: Facts, folder: str, cwd: str, most: int = STEPS,
                        **more: Any) -> LaunchPlan | None:
    """What is started for it; None where ms-swift's own script is not known. more: of what the script is told."""
    script = swift_script(facts)
    if script is None:
        return None
    small = rehearsed_config(config, facts, folder, most, whole=bool(more.get("whole")))
    plan = make_plan(small, facts, run_id="rehearsal", run_dir=folder, cwd=cwd)
    job = json.dumps({"script": script, "folder": folder, "sample": SAMPLE, **more})
    starts = tuple(SCRIPT if word == script else word for word in plan.starts)
    return replace(plan, starts=starts, env=MappingProxyType({**plan.env, VARIABLE: job}))


def make_order(config: ResolvedConfig, facts: Facts, folder: str, cwd: str, *, whole: int = 0,
               seconds: float) -> dict[str, Any] | None:
    """One rehearsal for a process that takes orders (`orders_plan`); None where it cannot be. whole: the steps of a training of
    all layers instead; seconds: after which it is ended."""
    plan = make_rehearsal_plan(config, facts, folder, cwd, whole or STEPS, whole=bool(whole), busy=BRIEFLY,
                               **({"steps": whole} if whole else {}))
    if plan is None:
        return None
    return {"words": plan.starts[plan.starts.index(SCRIPT) + 1:], "env": dict(plan.env), "seconds": seconds,
            "log": f"{folder}/rehearsal.log"}


def orders_plan(config: ResolvedConfig, facts: Facts, folder: str, cwd: str) -> LaunchPlan | None:
    """What is started to take orders, which it looks for in the folder."""
    plan = make_rehearsal_plan(config, facts, folder, cwd, orders=True)
    return plan and replace(plan, starts=plan.starts[:plan.starts.index(SCRIPT) + 1])


def rehearsal_key(config: ResolvedConfig, facts: Facts, stamps: Mapping[str, Any]) -> str:
    """A name for everything that its answer depends on. stamps: of the files of data and model."""
    small = rehearsed_config(config, facts, "")
    told = {"swift": dict(small.swift), "launch": encode(config.launch), "env": dict(config.env), "stamps": stamps,
            "batch": encode(make_batch(config, facts)), "packages": encode(facts.packages),
            "variables": {name: facts.env[name] for name in facts.env if not _OTHERS.match(name)},
            "speedups": config.run.speedups, "provider": config.flash_attn.provider,
            "gpus": [(gpu.index, str(gpu.name), str(gpu.memory_gib)) for gpu in known(facts.gpus) or ()]}
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:32]
