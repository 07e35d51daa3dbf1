"""The `swift sft` commands that ms-swift itself publishes: none is stopped on a machine that has all that they need, and each
reaches ms-swift as it is written."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from machines import ARGUMENTS_4_6, gpus, machine_data

from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.findings.finding import INFO, blocking
from swift_fa_launcher.launch.plan import make_plan
from swift_fa_launcher.machine.facts import Facts, parse_facts
from swift_fa_launcher.machine.swift_schema import collect_swift_arguments
from swift_fa_launcher.preflight.checks import check_all, settle
from swift_fa_launcher.preflight.checks.data import DATASET_ARGUMENTS
from swift_fa_launcher.preflight.checks.launch import LAUNCH_VARIABLES

FILE = Path(__file__).with_name("ms_swift_commands.yaml")
PUBLISHED = yaml.load(FILE.read_text(encoding="utf-8"), yaml.BaseLoader)  # every value as the text that is written
COMMANDS = PUBLISHED["commands"]
#: Each command's `swift` section, as the file has it.
WRITTEN = dict(re.findall(r"^  (\S+):\n(?:    (?:env|platform): .*\n(?:      .*\n)*)*((?:    swift: .*\n)(?:      .*\n)*)",
                          FILE.read_text(encoding="utf-8").partition("\ncommands:\n")[2], flags=re.M))
MODELS = yaml.safe_load(FILE.read_text(encoding="utf-8").partition("\ncommands:\n")[0])["models"]
#: What the arguments of the commands need (peft 0.19 has no Bone any more), with what ms-swift itself requires.
INSTALLED = {
    "ms-swift": "4.6.0", "transformers": "5.19.0", "trl": "0.29.1", "peft": "0.18.1", "accelerate": "1.15.0",
    "datasets": "4.8.4", "modelscope": "1.40.2", "swanlab": "0.10.3", "tensorboard": "2.20.0", "deepspeed": "0.18.4",
    "liger-kernel": "0.7.0", "bitsandbytes": "0.49.1", "hqq": "0.2.8", "gptqmodel": "5.6.2", "autoawq": "0.2.9",
    "optimum": "2.1.0", "flash-linear-attention": "0.5.0", "causal-conv1d": "1.6.0", "mamba-ssm": "2.3.0", "vllm": "0.17.0",
    "evalscope": "1.4.1", "galore-torch": "1.0", "q-galore-torch": "1.0", "unsloth": "2026.8.1", "pyreft": "0.1.0",
    "ray": "2.53.0", "dlrover": "0.6.0", "qwen-vl-utils": "0.0.14", "qwen-omni-utils": "0.0.9", "decord": "0.6.0",
    "soundfile": "0.13.1", "librosa": "0.11.0", "timm": "1.0.22", "flash-attn-3": "3.0.0b1"}
FA3 = {"distribution": "flash-attn-3", "version": "3.0.0b1",
       "origin": "/env/lib/python3.11/site-packages/flash_attn_interface.py",
       "wheel_label": None, "import_error": None, "extension": {"needs": []}, "probe": None}
CHECKPOINT = ["trainer_state.json", "optimizer.pt", "scheduler.pt", "rng_state_0.pth", "rng_state_1.pth",
              "adapter_model.safetensors", "adapter_config.json"]
ASCEND = {"gpus": [], "torch__cuda": None, "torch__npu": "2.8.0", "torch__version": "2.8.0+cpu", "driver": None,
          "flash_attn": None, "flash_attn_3": None}

#: Where the variables before a command go when it becomes a config: into `launch` and `env`, into `env` alone, or nowhere.
WAYS = ("launch", "env", "shell")
#: Commands for Ascend that name two or four of its NPUs: on eight GPUs their processes would get several each, which ms-swift
#: refuses with deepspeed and with fsdp.
NOT_ON_8_GPUS = {*(f"docs/source_en/BestPractices/NPU-support.md#{number}" for number in (4, 5)),
                 "examples/ascend/activation_cpu_offload/train.sh"}
#: Those that `packing`, our own default, gives way to.
WITHOUT_PACKING = {f"examples/{name}.sh" for name in (
    "models/deepseek_ocr/train", "models/gemma4/train", "models/gpt_oss/train", "models/hunyuan_ocr/train", "models/keye/train",
    "models/ovis2/train", "train/all_to_all/train", "train/moe/llama4", "train/multimodal/audio", "train/plugins/tuner_phi4_mm",
    "train/embedding/train_gme", "train/streaming/lazy_tokenize")}


def make_config(name: str, way: str, folder: Path) -> ResolvedConfig:
    """The command as a config file, over the built-in defaults."""
    variables = COMMANDS[name].get("env", {}) if way != "shell" else {}
    moved = [key for key in variables if key in LAUNCH_VARIABLES and way == "launch"]
    launch = {LAUNCH_VARIABLES[key].removeprefix("launch."): f"[{value}]" if key == "CUDA_VISIBLE_DEVICES" else value
              for key in moved for value in (variables[key],)}
    sections = (f"launch: {{{', '.join(f'{key}: {value}' for key, value in launch.items())}}}",
                f"env: {json.dumps({key: value for key, value in variables.items() if key not in moved})}")
    file = folder / f"{way}.yaml"
    file.write_text("\n".join((*sections, textwrap.dedent(WRITTEN[name]))), encoding="utf-8")
    return resolve_config([file])


def make_facts(name: str, way: str, config: ResolvedConfig, **machine: Any) -> Facts:
    """8 H100 with everything installed, and a hub that knows the command's model and datasets; `machine` changes them."""
    model = str(config.swift["model"])
    paths = {model: {"kind": "dir" if model.startswith("/") else "hub", "known_to_hub": True, "missing_files": [],
                     "model_config": MODELS[model]}}
    paths |= {data: {"kind": "hub", "known_to_hub": True} for key in DATASET_ARGUMENTS for data in config.swift.names(key)}
    paths |= {folder: {"kind": "dir", "files": CHECKPOINT} for folder in config.swift.names("resume_from_checkpoint")}
    env = {**COMMANDS[name].get("platform", {}), **(COMMANDS[name].get("env", {}) if way == "shell" else {})}
    full = {"gpus": gpus(8, "9.0"), "packages": INSTALLED, "flash_attn_3": FA3, "paths": paths, "env": env}
    return replace(parse_facts(machine_data(**{**full, **machine}), "test"), ms_swift_args=ARGUMENTS_4_6)


def stopped(name: str, folder: Path, ways: Sequence[str] = WAYS, **machine: Any) -> Iterator[str]:
    """What would stop the command, in each way to write its variables."""
    for way in ways:
        config = make_config(name, way, folder)
        yield from (f"{way}: {finding.code}: {finding.to_json()['summary']}"
                    for finding in blocking(check_all(config, make_facts(name, way, config, **machine))))


def test_each_command_is_there_as_it_is_written() -> None:
    assert len(COMMANDS) == 150 and {*WRITTEN} == {*COMMANDS}
    assert all({*yaml.safe_load(WRITTEN[name])["swift"]} == {*command["swift"]} for name, command in COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_trains_is_not_stopped(name: str, tmp_path: Path) -> None:
    assert [*stopped(name, tmp_path)] == [] or name in NOT_ON_8_GPUS
    if "ASCEND_RT_VISIBLE_DEVICES" in COMMANDS[name].get("env", {}):
        assert [*stopped(name, tmp_path, **ASCEND)] == []


def test_what_would_fail_is_stopped(tmp_path: Path) -> None:
    """The machine above is looked at: without what a command needs it is stopped, and so are those that ms-swift refuses."""
    without = {**INSTALLED, "deepspeed": None}
    for name, command in COMMANDS.items():
        found = "".join(stopped(name, tmp_path, ["launch"], packages=without))
        assert ("deepspeed-missing" in found) == ("deepspeed" in command["swift"]), name
    assert all("deepspeed-launch" in why for name in NOT_ON_8_GPUS for why in stopped(name, tmp_path)
               if "deepspeed" in COMMANDS[name]["swift"])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_reaches_ms_swift_as_it_is_written(name: str, tmp_path: Path) -> None:
    config = make_config(name, "launch", tmp_path)
    facts = make_facts(name, "launch", config)
    settled, findings = settle(config, facts)
    plan = make_plan(settled, facts, run_id="1", run_dir="/runs/1", cwd="/here")
    words: dict[str, list[str]] = {}
    for word in plan.argv[2:]:
        words.setdefault(word[2:], []) if word.startswith("--") else words[[*words][-1]].append(word)
    for argument, value in COMMANDS[name]["swift"].items():
        wanted = value if isinstance(value, list) else [value]
        passed = words[argument] if isinstance(value, (list, str)) else [yaml.load(words[argument][0], yaml.BaseLoader)]
        assert passed[:len(wanted)] == wanted, argument
    left_out = any(f.severity is INFO and f.fix == ("swift.packing=null",) for f in findings)
    assert ("packing" not in words) == left_out and (left_out or name not in WITHOUT_PACKING)


@pytest.mark.stack
def test_the_arguments_are_those_of_ms_swift_4_6() -> None:
    installed = known(collect_swift_arguments(sys.executable)) or {}
    assert {name: replace(one, help=None) for name, one in installed.items()} == ARGUMENTS_4_6


@pytest.mark.parametrize(("written", "argument", "passed"), [
    ("dataset: [a/b#500, 'c/d:default#500']", "dataset", ["a/b#500", "c/d:default#500"]),
    ("dataset: a/b#500", "dataset", ["a/b#500"]), ("target_modules: all-linear", "target_modules", ["all-linear"]),
    ("target_modules: [q_proj, v_proj]", "target_modules", ["q_proj", "v_proj"]), ("deepspeed: zero2", "deepspeed", ["zero2"]),
    ("deepspeed: ./ds_config.json", "deepspeed", ["./ds_config.json"]),
    ("deepspeed: {zero_optimization: {stage: 2}}", "deepspeed", ['{"zero_optimization": {"stage": 2}}']),
    ("""model_kwargs: '{"fps_max_frames": 12}'""", "model_kwargs", ['{"fps_max_frames": 12}']),
    ("model_kwargs: {fps_max_frames: 12}", "model_kwargs", ['{"fps_max_frames": 12}']),
    ("""columns: '{"text": "query"}'""", "columns", ['{"text": "query"}']),
    ("columns: {text: query}", "columns", ['{"text": "query"}']),
    ("""lr_scheduler_kwargs: '{"min_lr": 1e-6}'""", "lr_scheduler_kwargs", ['{"min_lr": 1e-6}']),
    ("system: 'You are a helpful assistant.'", "system", ["You are a helpful assistant."]),
    ("use_chat_template: false\n  loss_scale: all", "loss_scale", ["all"]),  # what `swift pt` is
    ("learning_rate: 1e-4", "learning_rate", ["1e-4"]), ("save_strategy: no", "save_strategy", ["no"]),
    ("report_to: [tensorboard, swanlab]", "report_to", ["tensorboard", "swanlab"]),
    ("max_pixels: 1003520", "max_pixels", ["1003520"]),
    ("target_regex: ^(model).*(q|k)_proj$", "target_regex", ["^(model).*(q|k)_proj$"]), ("bf16: true", "bf16", ["true"]),
    ("freeze_parameters_ratio: 0.", "freeze_parameters_ratio", ["0."]), ("warmup_ratio: .05", "warmup_ratio", [".05"]),
])
def test_a_value_of_any_form_reaches_ms_swift(written: str, argument: str, passed: list[str], tmp_path: Path) -> None:
    file, data = tmp_path / "run.yaml", "" if written.startswith("dataset") else "dataset: a/b\n  "
    file.write_text(f"launch: {{nproc_per_node: 8}}\nswift:\n  model: Qwen/Qwen2.5-7B-Instruct\n  {data}{written}\n", "utf-8")
    config = resolve_config([file])
    facts = make_facts(next(iter(COMMANDS)), "launch", config)
    assert not blocking(check_all(config, facts))
    argv = make_plan(config, facts, run_id="1", run_dir="/runs/1", cwd="/here").argv
    start = argv.index(f"--{argument}") + 1
    assert [*argv[start:start + len(passed)]] == passed
