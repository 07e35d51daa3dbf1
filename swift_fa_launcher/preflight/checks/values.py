"""Values of `swift sft` that parse, and with which a training cannot run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig, SwiftArguments
from swift_fa_launcher.config.swift_args import accepts
from swift_fa_launcher.decode import known
from swift_fa_launcher.findings.finding import Check, Finding
from swift_fa_launcher.findings.table import found
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.reading import setting
from swift_fa_launcher.preflight.packing import cuts

#: Before it, max_length=-1 means no limit (2.6.1: swift/llm/utils/argument.py).
LIMITS_ALWAYS = Version("3.0.0.dev0")


def value_that_cannot_train(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """What ends minutes later in a ZeroDivisionError, an error of torch or peft, or in a training of no step at all.

    Each was tried with ms-swift 4.6.0 and transformers 5; what trains in spite of its value (save_steps=0, max_steps=0,
    logging_steps=-1, num_train_epochs=0) is let through.
    """
    for name, (way, instead) in _refused(config, facts).items():
        yield found("arg-invalid", way, setting=setting(config, name), argument=name, value=config.swift.get(name),
                    instead=instead)


def _refused(config: ResolvedConfig, facts: Facts) -> dict[str, tuple[str, str]]:
    """By argument, in which way its value cannot be trained with, and what to write instead."""
    swift, version = config.swift, facts.package("ms-swift")
    steps = swift.whole("max_steps")
    refused = {name: ("positive", instead) for name, instead in (
        ("per_device_train_batch_size", "1"), ("gradient_accumulation_steps", "null")) if _below(swift, name, 1)}
    if _below(swift, "max_length", 1) and not cuts(config) and version and version >= LIMITS_ALWAYS:
        refused["max_length"] = "no row", "4096"
    if _below(swift, "num_train_epochs", 0) and (steps is None or steps <= 0):
        refused["num_train_epochs"] = "no step", "1"
    if swift.number("logging_steps") == 0 and swift.text("logging_strategy") in (None, "steps"):
        refused["logging_steps"] = "above 0", "5"
    if _below(swift, "learning_rate", 0):
        refused["learning_rate"] = "not negative", "1e-4"
    if _below(swift, "dataloader_num_workers", 0):
        refused["dataloader_num_workers"] = "not negative", "0"
    goes_on = any(swift.names("adapters")) or swift.text("resume_from_checkpoint")  # with the rank of what is loaded
    if "lora" in (swift.text("tuner_type"), swift.text("train_type")) and not goes_on and _below(swift, "lora_rank", 1):
        refused["lora_rank"] = "positive", "8"
    # pipelines/train/tuner.py, prepare_model; transformers' FineGrainedFP8HfQuantizer is not trainable
    if len(adapters := swift.names("adapters")) > 1 and swift.text("tuner_type") != "full":
        refused["adapters"] = "one", shlex.quote(adapters[0])
    if swift.text("quant_method") == "fp8":
        refused["quant_method"] = "not trained", "null"
    return refused


def _below(swift: SwiftArguments, name: str, least: int) -> bool:
    value = swift.number(name)
    return value is not None and value < least


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
