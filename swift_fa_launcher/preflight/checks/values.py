"""Values of `swift sft` that parse, and with which a training cannot run, or does not do what was meant."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from swift_fa_launcher.config.conditions import all_hold, parse_condition, values_of
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.config.swift_args import accepts
from swift_fa_launcher.decode import known
from swift_fa_launcher.findings.finding import Check, Finding
from swift_fa_launcher.findings.table import found
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.reading import evaluates, is_installed, setting
from swift_fa_launcher.preflight.packing import cuts


@dataclass(frozen=True)
class Bound:
    """Values of an argument that cannot be trained with, or do not do what they seem to.

    when: conditions that all hold, the first on the argument itself. way: how it is said. instead: what to write. of: the
    versions that it holds for ("" any).
    """

    when: tuple[str, ...]
    way: str
    instead: str
    of: str = ""

    @property
    def argument(self) -> str:
        return parse_condition(self.when[0])[0]


def _bound(when: str, way: str, instead: str, of: str = "") -> Bound:
    return Bound(tuple(when.split()), way, instead, of)


#: What ends in an error of ms-swift, transformers, torch or peft, or in a training of no step at all. Each was tried with
#: ms-swift 4.6.0, transformers 5.19, torch 2.13 and peft 0.20.
REFUSED: tuple[Bound, ...] = (
    _bound("per_device_train_batch_size<1", "positive", "1"),
    _bound("per_device_eval_batch_size<1 evaluates=true", "positive", "1"),
    _bound("gradient_accumulation_steps<1", "positive", "null"),
    # before 3.0, max_length=-1 means no limit (2.6.1: swift/llm/utils/argument.py)
    _bound("max_length<1 cuts!=true", "no row", "4096", "ms-swift>=3.0"),
    _bound("num_train_epochs<0 max_steps<1", "no step", "1"),
    _bound("logging_steps<=0 logging_steps>=0 logging_strategy!=no,epoch", "above 0", "5"),
    _bound("save_steps>1 save_steps_whole=false save_strategy=steps", "whole", "100"),
    _bound("eval_steps>1 eval_steps_whole=false evaluates=true eval_strategy!=epoch", "whole", "100"),
    _bound("learning_rate<0", "not negative", "1e-4"),
    _bound("dataloader_num_workers<0", "not negative", "0"),
    # with the rank of what is loaded
    _bound("lora_rank<1 tuner_type=lora goes_on!=true", "positive", "8"),
    _bound("lora_dropout>1 tuner_type=lora goes_on!=true", "a share", "0.05"),
    # transformers' TrainingArguments; trainers/arguments.py, _handle_hf_removed_args
    _bound("warmup_ratio>1", "below 1", "0.05"), _bound("warmup_ratio>=1", "below 1", "0.05", "ms-swift>=4.6"),
    _bound("warmup_ratio<0", "below 1", "0.05"), _bound("warmup_steps<0", "not negative", "0"),
    # dataset/dataset_meta.py, post_process; with validation data of its own it is not used
    *(_bound(f"{ratio} val_dataset!=* streaming!=true", "below 1", "0.01")
      for ratio in ("split_dataset_ratio>=1", "split_dataset_ratio<0")),
    # utils/transformers_utils.py, freeze_parameters
    _bound("freeze_parameters_ratio>=1 tuner_type=full", "below 1", "0.5"),
    *(_bound(f"{beta} optim=adamw*", "below 1", "0.95")
      for beta in ("adam_beta1>=1", "adam_beta1<0", "adam_beta2>=1", "adam_beta2<0")),
    _bound("adam_epsilon<0 optim=adamw*", "not negative", "1e-8"),
    _bound("seed<0", "not negative", "42"), _bound("data_seed<0", "not negative", "42"),
    _bound("neftune_noise_alpha<0", "not negative", "null"),
    _bound("quant_method=fp8", "not trained", "null"),  # transformers' FineGrainedFP8HfQuantizer is not trainable
)

#: What trains without an error, and can hardly be meant. Tried in the same way.
DOUBTFUL: tuple[Bound, ...] = (
    _bound("learning_rate>0.05 optim=adamw*", "too high", "1e-4"),
    _bound("learning_rate<=0", "learns nothing", "1e-4"),
    _bound("num_train_epochs<=0 max_steps<1", "no step", "1"),
    _bound("max_steps=0 num_train_epochs>0", "one step", "-1"),
    _bound("lora_alpha<=0 lora_alpha>=0 tuner_type=lora goes_on!=true", "learns nothing", "32"),
    _bound("lora_dropout>=1 tuner_type=lora goes_on!=true", "learns nothing", "0.05"),
    _bound("lora_dropout<0 tuner_type=lora goes_on!=true", "a share", "0.05"),
    _bound("lora_dropout>0.9 lora_dropout<1", "too high", "0.05"),
    _bound("save_steps<=0 save_strategy=steps", "saved at the end", "500"),
    _bound("label_smoothing_factor>=1", "below 1", "0.1"),
    _bound("weight_decay>1", "too high", "0.1"), _bound("weight_decay<0", "not negative", "0.1"),
    _bound("num_train_epochs>1000 max_steps<1", "too high", "3"),
    _bound("max_length<16 max_length>0 cuts!=true", "too short", "4096"),
)


def value_that_cannot_train(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """What fails minutes later, and what trains otherwise than was meant."""
    told = set[str]()
    adapters = config.swift.names("adapters")
    if len(adapters) > 1 and config.swift.text("tuner_type") != "full":  # pipelines/train/tuner.py, prepare_model
        told.add("adapters")
        yield found("arg-invalid", "one", **_said(config, "adapters", shlex.quote(adapters[0])))
    value_of = values_of(config.swift, _derived(config, facts))
    for code, bounds in (("arg-invalid", REFUSED), ("value-doubtful", DOUBTFUL)):
        for bound in bounds:
            if bound.argument not in told and is_installed(facts, bound.of) and all_hold(bound.when, value_of):
                told.add(bound.argument)
                yield found(code, bound.way, **_said(config, bound.argument, bound.instead))


def _derived(config: ResolvedConfig, facts: Facts) -> dict[str, Any]:
    """What the conditions ask for beside arguments."""
    swift = config.swift
    return {"cuts": cuts(config), "goes_on": any(swift.names("adapters")) or bool(swift.text("resume_from_checkpoint")),
            "evaluates": evaluates(config, facts),
            **{f"{name}_whole": (swift.number(name) or 0) % 1 == 0 for name in ("save_steps", "eval_steps")}}


def _said(config: ResolvedConfig, name: str, instead: str) -> dict[str, Any]:
    return {"setting": setting(config, name), "argument": name, "value": config.swift.get(name), "instead": instead}


def split_refused(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """`split` is for plain text. pipelines/train/sft.py (`_encode_dataset`) of 3.12.6, 4.0.4 and 4.6.0; 3.8.3 has no `split`."""
    swift = config.swift
    argument = (known(facts.ms_swift_args) or {}).get("truncation_strategy")
    if swift.text("truncation_strategy") != "split" or not any(swift.names("dataset")) or accepts(argument, "split"):
        return  # what the parser refuses is said already
    loaded = swift.flag("load_args") and swift.get("use_chat_template") is None  # from a checkpoint's args.json
    other = "use_chat_template" if swift.flag("use_chat_template") is not False and not loaded else \
        "task_type" if swift.text("task_type") not in (None, "causal_lm") else \
        "lazy_tokenize" if swift.flag("lazy_tokenize") else None
    if other is None:
        return
    shown = setting(config, other) if swift.get(other) is not None else f"{other}=true"
    yield found("arg-conflict", "split", first=setting(config, "truncation_strategy"), second=shown,
                arguments=["truncation_strategy", other], write="swift.truncation_strategy=right",
                or_write="swift.truncation_strategy=delete")


CHECKS: tuple[Check, ...] = (value_that_cannot_train, split_refused)
