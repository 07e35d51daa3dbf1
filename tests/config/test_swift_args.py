"""ms-swift's arguments between generations, as argv, as its parser reads them, and by name."""

from __future__ import annotations

import argparse
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from machines import ARGUMENTS_4_6  # type: ignore[import-not-found]
from packaging.version import Version

from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.config.swift_args import (
    FAMILIES,
    Argument,
    Arguments,
    accepts,
    find_arguments,
    fits_nearly,
    likely,
    nearest,
    plain_type,
    render_arguments,
    translate,
    translate_config,
    written_texts,
)

BOOL, INT, FLOAT, TEXT = (Argument(f"<class '{name}'>", None, None, None) for name in ("bool", "int", "float", "str"))
TEXTS, GROUP = Argument("List[str]", None, [], None), Argument("Union[dict, str, NoneType]", None, None, None)
DTYPE = Argument("Literal['bfloat16', 'float16', 'float32', None]", ("bfloat16", "float16", "float32", None), None, None)
STRATEGY = Argument("transformers.trainer_utils.SaveStrategy | str", ("no", "steps", "epoch", "best"), "steps", None)

COMMON = {"model": TEXT, "dataset": TEXTS, "val_dataset": TEXTS, "torch_dtype": DTYPE, "attn_impl": Argument("Optional[str]"),
          "packing": BOOL, "deepspeed": GROUP, "target_modules": TEXTS, "lora_rank": INT, "learning_rate": FLOAT,
          "per_device_train_batch_size": INT, "adapters": TEXTS, "max_steps": INT, "gradient_checkpointing": BOOL}
V2 = {"model_id_or_path": TEXT, "dataset": TEXTS, "sft_type": TEXT, "use_flash_attn": BOOL, "dtype": TEXT, "batch_size": INT,
      "custom_train_dataset_path": TEXTS}
V3 = {**COMMON, "train_type": TEXT, "metric": TEXT, "save_safetensors": BOOL, "swanlab_lark_webhook_url": TEXT}
V4 = {**COMMON, "tuner_type": TEXT, "eval_metric": TEXT, "safe_serialization": BOOL, "swanlab_webhook_url": TEXT,
      "swanlab_notification_method": TEXT}
V404 = {**V4, "train_type": TEXT, "group_by_length": BOOL, "train_sampling_strategy": TEXT}


def shared_arguments(shared: Path, version: str) -> Arguments:
    fields = json.loads((shared / "ms_swift_args" / f"sft_args_{version}.json").read_text(encoding="utf-8"))["fields"]
    return {name: Argument(f["type"], f["choices"] and tuple(f["choices"]), f["default"], f["help"])
            for name, f in fields.items()}


@pytest.mark.parametrize(("given", "known_args", "expected"), [
    ({"sft_type": "lora"}, V3, {"train_type": "lora"}),
    ({"sft_type": "lora"}, V4, {"tuner_type": "lora"}),
    ({"train_type": "lora"}, V4, {"tuner_type": "lora"}),
    ({"train_type": "lora"}, V404, {"train_type": "lora"}),  # a name of its own
    ({"train_type": "lora", "tuner_type": "lora"}, V404, {"tuner_type": "lora"}),
    ({"sft_type": "lora", "train_type": "lora"}, V404, {"tuner_type": "lora"}),
    ({"group_by_length": True}, V404, {"group_by_length": True}),
    ({"group_by_length": True, "train_sampling_strategy": "random"}, V404,
     {"group_by_length": True, "train_sampling_strategy": "random"}),
    ({"train_sampling_strategy": "group_by_length"}, {**V3, "group_by_length": BOOL}, {"group_by_length": True}),
    ({"group_by_length": True}, {**COMMON, "train_sampling_strategy": TEXT}, {"train_sampling_strategy": "group_by_length"}),
    ({"tuner_type": "full"}, V3, {"train_type": "full"}),
    ({"tuner_type": "full"}, V2, {"sft_type": "full"}),
    ({"train-type": "lora"}, V4, {"tuner_type": "lora"}),
    ({"model_id_or_path": "a/b"}, V4, {"model": "a/b"}),
    ({"model": "a/b"}, V2, {"model_id_or_path": "a/b"}),
    ({"use_flash_attn": True}, V4, {"attn_impl": "flash_attn"}),
    ({"use_flash_attn": "true"}, V4, {"attn_impl": "flash_attn"}),
    ({"use_flash_attn": False}, V4, {"attn_impl": None}),
    ({"attn_impl": "flash_attn"}, V2, {"use_flash_attn": True}),
    ({"dtype": "bf16"}, V4, {"torch_dtype": "bfloat16"}),
    ({"dtype": "AUTO"}, V4, {"torch_dtype": None}),
    ({"torch_dtype": "float16"}, V2, {"dtype": "fp16"}),
    ({"batch_size": 4}, V3, {"per_device_train_batch_size": 4}),
    ({"lora_target_modules": ["ALL"]}, V4, {"target_modules": ["all-linear"]}),
    ({"custom_train_dataset_path": "a.jsonl"}, V4, {"dataset": "a.jsonl"}),
    ({"dataset": ["a"], "custom_train_dataset_path": ["b"]}, V4, {"dataset": ["a", "b"]}),
    ({"custom_train_dataset_path": "b", "dataset": "a"}, V4, {"dataset": ["a", "b"]}),
    ({"metric": "acc"}, V4, {"eval_metric": "acc"}),
    ({"eval_metric": "acc"}, V3, {"metric": "acc"}),
    ({"save_safetensors": True}, V4, {"safe_serialization": True}),
    ({"lora_modules": ["x"]}, V4, {"adapters": ["x"]}),
    ({"no_gradient_checkpointing": True}, V4, {"gradient_checkpointing": False}),
    ({"swanlab_lark_webhook_url": "https://x"}, V4,
     {"swanlab_webhook_url": "https://x", "swanlab_notification_method": "lark"}),
    ({"deepspeed": "default-zero2"}, V3, {"deepspeed": "zero2"}),
    ({"deepspeed": "default-zero2", "model": "m"}, V2, {"deepspeed": "default-zero2", "model_id_or_path": "m"}),
    ({"model": "m", "packing": True}, V4, {"model": "m", "packing": True}),
    ({"made_up": 1}, V4, {"made_up": 1}),
])
def test_translation_by_what_is_installed(given: dict[str, Any], known_args: Arguments, expected: dict[str, Any]) -> None:
    assert translate(given, known_args).arguments == expected


@pytest.mark.parametrize(("given", "version", "expected"), [
    ({"train_type": "lora"}, "4.6.0", "tuner_type"), ({"tuner_type": "lora"}, "3.12.6", "train_type"),
    ({"sft_type": "lora"}, "3.0.0", "train_type"), ({"sft_type": "lora"}, "2.6.1", "sft_type"),
    ({"tools_prompt": "react_en"}, "3.4.0", "agent_template"), ({"tools_prompt": "react_en"}, "3.3.0", "tools_prompt"),
    ({"swanlab_secret": "s"}, "3.11.0", "swanlab_lark_secret"), ({"use_liger": True}, "3.12.0", "use_liger_kernel"),
    ({"adapters": ["x"]}, "3.12.6", "adapters"), ({"dataset": ["x"]}, "2.6.1", "dataset"),
    ({"save_safetensors": True}, "4.6.0", "save_safetensors"),  # transformers' business, not to be told from the version
])
def test_translation_by_version_alone(given: dict[str, Any], version: str, expected: str) -> None:
    assert list(translate(given, None, Version(version)).arguments) == [expected]


def test_without_any_knowledge_the_spelling_stays() -> None:
    given = {"sft_type": "lora", "tuner_type": "lora", "deepspeed": "default-zero2"}
    assert translate(given).arguments == given


def test_a_rename_says_names_and_values() -> None:
    (rename,) = translate({"dtype": "bf16"}, V4).renamed
    assert (rename.old, rename.new, rename.old_value, rename.new_value) == ("dtype", "torch_dtype", "bf16", "bfloat16")
    (revalued,) = translate({"deepspeed": "default-zero3"}, V4).revalued
    assert (revalued.old, revalued.new_value) == ("deepspeed", "zero3")


def test_two_names_with_one_value_are_no_clash() -> None:
    assert translate({"train_type": "lora", "tuner_type": "lora"}, V4).clashes == ()
    assert translate({"dtype": "bf16", "torch_dtype": "bfloat16"}, V4).clashes == ()


def test_two_names_with_two_values_clash_unless_one_layer_is_higher() -> None:
    given = {"train_type": "lora", "tuner_type": "full"}
    (clash,) = translate(given, V4).clashes
    assert {clash.first, clash.second} == set(given)
    higher = translate(given, V4, strength={"train_type": 2, "tuner_type": 1})
    assert (higher.clashes, dict(higher.arguments)) == ((), {"tuner_type": "lora"})


def test_a_config_wins_over_the_defaults_under_an_old_name(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("swift: {use_flash_attn: false, train_type: lora}\n", encoding="utf-8")
    config = resolve_config([file], ["swift.tuner_type=full"])
    translated = translate_config(config, V4, None)
    assert translated.clashes == ()
    assert (translated.arguments["attn_impl"], translated.arguments["tuner_type"]) == (None, "full")


def test_one_of_two_names_of_its_own_goes_by_the_layers() -> None:
    """ms-swift 4.0 would let train_type win (arguments/base_args/base_args.py), whichever layer it stands in."""
    given = {"train_type": "full", "tuner_type": "lora"}
    above = translate(given, V404, strength={"train_type": 1, "tuner_type": 2})
    assert (above.clashes, dict(above.arguments)) == ((), {"tuner_type": "lora"})
    assert len(translate(given, V404).clashes) == 1


@pytest.mark.parametrize("version", ["3.8.3", "3.12.6", "4.0.4", "4.6.0"])
def test_what_an_ms_swift_has_itself_is_never_renamed(shared: Path, version: str) -> None:
    arguments = shared_arguments(shared, version)
    assert {name for name in arguments for rename in translate({name: "x"}, arguments).renamed} == set()


def test_every_family_has_distinct_names() -> None:
    for family in FAMILIES:
        names = [name for _, name in family.names]
        assert len(set(names)) == len(names) > 1


def written_words(tmp_path: Path, text: str, *overrides: str, known_args: Arguments | None = V4) -> tuple[str, ...]:
    file = tmp_path / "c.yaml"
    file.write_text(f"swift:\n  packing: null\n  attn_impl: null\n{text}", encoding="utf-8")
    config = resolve_config([file], overrides)
    translated = translate_config(config, known_args, None)
    return render_arguments(translated.arguments, written_texts(config, translated), known_args)


@pytest.mark.parametrize(("text", "words"), [
    ("  learning_rate: 2e-4\n", ("--learning_rate", "2e-4")),
    ("  learning_rate: 1.0E-05\n", ("--learning_rate", "1.0E-05")),
    ("  learning_rate: 0.00010\n", ("--learning_rate", "0.00010")),
    ("  max_steps: 1e3\n", ("--max_steps", "1000")),
    ("  lora_rank: 8\n", ("--lora_rank", "8")),
    ("  lora_rank: 010\n", ("--lora_rank", "010")),
    ("  model: 2024_01_01\n", ("--model", "2024_01_01")),
    ("  model: 1.10\n", ("--model", "1.10")),
    ("  model: yes\n", ("--model", "yes")),
    ("  gradient_checkpointing: yes\n", ("--gradient_checkpointing", "true")),
    ("  gradient_checkpointing: False\n", ("--gradient_checkpointing", "false")),
    ("  dataset: [a b, 'c#500']\n", ("--dataset", "a b", "c#500")),
    ("  dataset: one\n", ("--dataset", "one")),
    ("  dataset: []\n", ()),
    ("  model: null\n", ()),
    ("  model: ''\n", ("--model", "")),
    ("  deepspeed: {zero: {stage: 2}, 名: 值}\n", ("--deepspeed", '{"zero": {"stage": 2}, "名": "值"}')),
    ("  dataset: [{a: 1}]\n", ("--dataset", '{"a": 1}')),
    ("  lora-rank: 4\n", ("--lora_rank", "4")),
    ("  learning_rate: -1e-4\n", ("--learning_rate=-1e-4",)),
    ("  model: -foo\n", ("--model=-foo",)),
    ("  max_steps: -1\n", ("--max_steps", "-1")),
])
def test_words_as_written(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    assert written_words(tmp_path, text) == words


def test_words_of_an_override_are_as_written(tmp_path: Path) -> None:
    assert written_words(tmp_path, "", "swift.learning_rate=2e-4") == ("--learning_rate", "2e-4")


def test_words_without_known_arguments(tmp_path: Path) -> None:
    text = "  learning_rate: 2e-4\n  save_strategy: no\n  seed: 2024_01\n"
    assert written_words(tmp_path, text, known_args=None) == ("--learning_rate", "2e-4", "--save_strategy", "no",
                                                              "--seed", "2024_01")


def test_words_arrive_through_a_real_parser() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--text")
    parser.add_argument("--number", type=float)
    parser.add_argument("--many", nargs="+")
    given = {"text": "-v --packing $(x) 'q' \n 中文", "number": -2e-05, "many": ["-only"]}
    assert vars(parser.parse_args(list(render_arguments(given)))) == given
    assert vars(parser.parse_args(list(render_arguments({"text": "--many", "many": ["a b", "- c"]})))) == {
        "text": "--many", "number": None, "many": ["a b", "- c"]}


@pytest.mark.parametrize(("argument", "value"), [
    (BOOL, True), (BOOL, "Yes"), (BOOL, 1), (INT, 8), (INT, "8"), (INT, 1e3), (FLOAT, 1), (FLOAT, "2e-4"), (TEXT, 5),
    (TEXT, {"a": 1}), (TEXTS, "one"), (TEXTS, ["a", "b"]), (TEXTS, []), (GROUP, {"a": 1}), (GROUP, "zero2"),
    (DTYPE, "bfloat16"), (DTYPE, None), (DTYPE, "None"), (STRATEGY, "no"), (STRATEGY, False), (None, ["a", "b"]),
    (Argument(), 7), (Argument("made.up.Type | str"), "x"), (Argument("not an annotation ("), [1, 2]),
    (Argument("Literal[4, 8, 'float8']", (4, 8, "float8")), 4), (Argument("Optional[List[int]]"), [1, 2]),
])
def test_accepted(argument: Argument | None, value: object) -> None:
    assert accepts(argument, value) is None


@pytest.mark.parametrize(("argument", "value", "word"), [
    (BOOL, "maybe", "true or false"), (BOOL, 2, "true or false"), (INT, "x", "whole number"), (INT, 1.5, "whole number"),
    (INT, True, "whole number"), (FLOAT, "1e-", "number"), (FLOAT, [1, 2], "one value"), (TEXT, ["a", "b"], "one value"),
    (DTYPE, "bf16", "bfloat16"), (STRATEGY, "step", "steps"), (Argument("Optional[List[int]]"), [1, "x"], "whole number"),
    (TEXT, "\\", "backslash"), (None, ["a", " \\ "], "backslash"), (TEXTS, ["a", "-b"], "dash"), (TEXT, "--", "--"),
    (Argument("List[str]", None, ["all-linear"]), [], "[all-linear]"),
    (Argument("dict[str, bool] | None"), {"a": True}, "command line"),
    (Argument("Optional[Literal['fork', 'spawn']]", ("fork", "spawn")), "thread", "fork"),
])
def test_refused(argument: Argument | None, value: object, word: str) -> None:
    problem = accepts(argument, value)
    assert problem is not None and word in problem.en and problem.zh != problem.en


def misspell(name: str, chance: random.Random) -> str:
    """One slip of a typing hand."""
    at, letter = chance.randrange(len(name)), chance.choice("abcdefghijklmnopqrstuvwxyz")
    return chance.choice((name[:at] + name[at + 1:], name[:at] + name[at] + name[at:], name[:at] + letter + name[at + 1:],
                          name[:at] + name[at + 1:at + 2] + name[at] + name[at + 2:], name.replace("_", ""),
                          name.replace("_", "-")[:-1], name[:-chance.randrange(1, 4)], f"{name}s", name.upper()[:-1]))


@pytest.mark.parametrize("version", ["3.8.3", "3.12.6", "4.0.4", "4.6.0"])
def test_300_misspellings_find_their_name(shared: Path, version: str) -> None:
    names = tuple(shared_arguments(shared, version))
    chance, tried, missed = random.Random(20260228), 0, []
    while tried < 300:
        name = chance.choice(names)
        wrong = misspell(name, chance)
        if wrong.replace("-", "_") not in names and len(wrong) > 2:
            tried += 1
            missed += [(name, wrong)] if name not in nearest(wrong, names) else []
    assert not missed


def test_nearest_knows_beginnings_and_words() -> None:
    names = ("learning_rate", "logging_steps", "lr_scheduler_type", "per_device_train_batch_size", "max_steps")
    assert nearest("learning_rat", names)[0] == "learning_rate"
    assert nearest("train_batch_size", names)[0] == "per_device_train_batch_size"
    assert nearest("", names, 2) == nearest("", names)[:2]
    assert likely("adamwx", ("ademamix", "adagrad", "adalomo", "lomo", "adamw_torch", "adamw_8bit"))[1] == "adamw_torch"
    assert likely("packin", ("packing", "packing_length", "model")) == ("packing",) and likely("foo_bar", names) == ()
    assert fits_nearly("lroa", ("lora", "full")) and not fits_nearly("my_own_tuner", ("lora", "full"))


def test_find_arguments() -> None:
    arguments = {"lora_rank": Argument(help="rank of LoRA"), "seed": Argument(help="for lora_rank too"), "model": Argument()}
    assert [name for name, _ in find_arguments(arguments, "LORA-rank")] == ["lora_rank"]
    assert [name for name, _ in find_arguments(arguments, "lora")] == ["lora_rank", "seed"]
    assert [name for name, _ in find_arguments(arguments, "*_rank")] == ["lora_rank"]
    assert len(find_arguments(arguments)) == 3


@pytest.mark.parametrize(("printed", "plain"), [
    ("<class 'int'>", "int"), ("Optional[int]", "int"), ("float | None", "float"), ("Optional[List[str]]", "list of str"),
    ("Union[dict, str, NoneType]", "dict or str"), ("dict[str, bool] | None", "dict"),
    ("None | str | list[str]", "str or list of str"),
    ("Literal[1, 2, 'float8', None]", "int or str"), ("Union[str, NoneType, Literal[False]]", "str or bool"),
    ("transformers.trainer_utils.IntervalStrategy | str", "str"), ("accelerate.x.ParallelismConfig | None", "str"),
    ("str | list[transformers.debug_utils.DebugOption]", "str or list of str"), ("Optional[List[float]]", "list of float")])
def test_types_are_named_plainly(printed: str, plain: str) -> None:
    assert plain_type(Argument(printed)) == plain


def test_every_type_of_ms_swift_has_a_plain_name() -> None:
    names = {plain_type(argument) for argument in ARGUMENTS_4_6.values()}
    assert not [name for name in names if not re.fullmatch(r"((list of )?(str|int|float|bool|dict)( or )?)+", name)]
