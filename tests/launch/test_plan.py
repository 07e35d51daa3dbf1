"""The plan: what the config and the facts make of the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version

from swift_fa_launcher.config.layers import resolve_config, resolve_data
from swift_fa_launcher.config.swift_args import Argument
from swift_fa_launcher.decode import decode
from swift_fa_launcher.launch.plan import LaunchPlan, make_plan, render_command
from swift_fa_launcher.machine.facts import Facts, PathFacts, Python, Reach, Swift

SEED = Path(__file__).parents[2] / "configs" / "qwen7b-lora.yaml"
SITE = "/opt/conda/lib/python3.10/site-packages/swift"
MACHINE = Facts(python=Python(executable="/opt/conda/bin/python"), swift=Swift(module=f"{SITE}/__init__.py"))


def plan(data: dict[str, object], facts: Facts = MACHINE, ms_swift: str = "4.6.0") -> LaunchPlan:
    facts = replace(facts, packages={"ms-swift": Version(ms_swift), "swanlab": Version("0.10.3")})
    return make_plan(resolve_data(data), facts, run_id="r1", run_dir="/runs/r1", cwd="/here")


def value(plan: LaunchPlan, name: str) -> str | None:
    words = list(plan.argv)
    return words[words.index(name) + 1] if name in words else None


@pytest.mark.parametrize(("version", "spelling"), [("3.8.3", "--train_type"), ("3.12.6", "--train_type"),
                                                   ("4.0.4", "--tuner_type"), ("4.6.0", "--tuner_type")])
def test_the_seed_command_in_each_generation(version: str, spelling: str) -> None:
    facts = replace(MACHINE, packages={"ms-swift": Version(version), "swanlab": Version("0.6.8")})
    made = make_plan(resolve_config([SEED]), facts, run_id="r1", run_dir="/runs/r1", cwd="/here")
    given = dict(zip(made.argv[2::2], made.argv[3::2], strict=True))
    assert made.argv[:2] == ("swift", "sft") and given.pop("--external_plugins").endswith(".py")
    assert given == {
        "--model": "Qwen/Qwen2.5-7B-Instruct", spelling: "lora", "--dataset": "CodyWhy/mh-sharegpt-20250820",
        "--bf16": "true", "--max_length": "3072", "--packing": "true", "--attn_impl": "flash_attn",
        "--gradient_checkpointing": "true", "--per_device_train_batch_size": "8", "--gradient_accumulation_steps": "4",
        "--learning_rate": "2e-4", "--num_train_epochs": "1", "--save_steps": "200", "--save_total_limit": "3",
        "--logging_steps": "20", "--output_dir": "output/mh-sft-7B-lora", "--report_to": "swanlab",
        "--swanlab_project": "mh-sft", "--swanlab_mode": "cloud", "--swanlab_exp_name": "mh-sft-qwen2p5-7b-lora"}
    assert made.env["CUDA_VISIBLE_DEVICES"] == "6" and made.secrets == ("SWANLAB_API_KEY",)
    assert "--swanlab_token" not in made.argv


def test_without_a_known_ms_swift_the_spelling_stays() -> None:
    made = make_plan(resolve_data({"swift": {"train_type": "lora"}}), Facts(), run_id="r", run_dir="/r", cwd="/")
    assert value(made, "--train_type") == "lora" and made.starts[:4] == ("python", "-m", "swift.cli.main", "sft")


def test_values_arrive_as_written() -> None:
    made = plan({"swift": {"system": 'say "hi"\nand \'bye\'', "dataset": ["a b.jsonl", "数据.jsonl#10"], "packing": False,
                           "attn_impl": None, "model_kwargs": {"a": {"b": [1, "二"]}}, "learning_rate": 2e-4}})
    words = list(made.argv)
    at = words.index("--dataset")
    assert words[at + 1:at + 3] == ["a b.jsonl", "数据.jsonl#10"]
    assert value(made, "--system") == 'say "hi"\nand \'bye\'' and value(made, "--packing") == "false"
    assert "--attn_impl" not in words
    assert json.loads(value(made, "--model_kwargs") or "") == {"a": {"b": [1, "二"]}}
    assert float(value(made, "--learning_rate") or "") == 2e-4
    assert made.starts[2:] == made.argv[2:]


def test_what_launch_writes_goes_before_env() -> None:
    made = plan({"launch": {"gpus": [0], "nproc_per_node": 1}, "env": {"CUDA_VISIBLE_DEVICES": "2,3", "NPROC_PER_NODE": "2"}})
    assert (made.env["CUDA_VISIBLE_DEVICES"], made.env["NPROC_PER_NODE"]) == ("0", "1")
    assert made.starts[2:5] == ("torch.distributed.run", "--nproc_per_node", "1")


@pytest.mark.parametrize(("launch", "env", "used", "port"), [
    ({"nproc_per_node": 2}, {}, (29500,), "29501"), ({"nproc_per_node": 1}, {}, (29500, 29501), "29502"),
    ({}, {"NPROC_PER_NODE": "2"}, (29500,), "29501"), ({"nproc_per_node": 2}, {}, (29501,), None), ({}, {}, (29500,), None),
    ({"nproc_per_node": 2, "master_port": 29600}, {}, (29500,), "29600"),
    ({"nproc_per_node": 2}, {"MASTER_PORT": "29600"}, (29500,), None),  # the child inherits it
    ({"nproc_per_node": 2, "nnodes": 2}, {}, (29500,), None),  # which the other nodes would not know
])
def test_one_node_takes_a_free_port(launch: dict[str, int], env: dict[str, str], used: tuple[int, ...], port: str | None) -> None:
    made = plan({"launch": launch}, replace(MACHINE, env=env, ports_in_use=used))
    assert made.env.get("MASTER_PORT") == port
    assert port is None or ("--master_port" in made.starts and f"MASTER_PORT={port}" in render_command(made))


def test_gpus_are_counted_as_nvidia_smi_counts_them() -> None:
    """CUDA's own order begins with the fastest card."""
    asked = plan({"launch": {"gpus": [2, 0]}}).env
    assert (asked["CUDA_VISIBLE_DEVICES"], asked["CUDA_DEVICE_ORDER"]) == ("2,0", "PCI_BUS_ID")
    assert not {"CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"} & set(plan({}).env)
    assert plan({}).env["PYTHONUNBUFFERED"] == "1"  # else the log comes late, and a killed training's never


def test_it_starts_what_swift_would_start() -> None:
    assert plan({}).starts[:2] == ("/opt/conda/bin/python", f"{SITE}/cli/sft.py")
    several = plan({"launch": {"nproc_per_node": 2, "nnodes": 2, "node_rank": 1, "master_addr": "10.0.0.1",
                               "master_port": 29501}})
    assert several.starts[:14] == (
        "/opt/conda/bin/python", "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29501",
        "--nnodes", "2", "--node_rank", "1", "--master_addr", "10.0.0.1", f"{SITE}/cli/sft.py")
    assert several.env["NPROC_PER_NODE"] == "2" and several.env["MASTER_ADDR"] == "10.0.0.1"
    inherited = plan({}, replace(MACHINE, env={"NPROC_PER_NODE": "4"}))
    assert inherited.starts[1:5] == ("-m", "torch.distributed.run", "--nproc_per_node", "4")


@pytest.mark.parametrize(("facts", "given", "expected"), [
    (replace(MACHINE, paths={"m": PathFacts(kind="dir")}), {}, "false"),
    (replace(MACHINE, paths={"m": PathFacts(kind="hub")}, network={"model-hub": Reach(False, "no route")}), {}, "false"),
    (replace(MACHINE, paths={"m": PathFacts(kind="hub")}, network={"model-hub": Reach(True)}), {}, None),
    (MACHINE, {}, None),
    (replace(MACHINE, paths={"m": PathFacts(kind="dir")}), {"check_model": True}, "true"),
    (replace(MACHINE, paths={"m": PathFacts(kind="dir")}, ms_swift_args={"model": Argument()}), {}, None),
])
def test_the_hub_is_not_asked_in_vain(facts: Facts, given: dict[str, object], expected: str | None) -> None:
    assert value(plan({"swift": {"model": "m", **given}}, facts), "--check_model") == expected


def test_secrets_appear_by_name_only() -> None:
    made = plan({"env": {"HF_TOKEN": "hf_marker_value", "WANDB_API_KEY": "marker_two", "PLAIN": "x", "MONKEY": "y"},
                 "swanlab": {"notification": {"method": "lark", "webhook_url": "https://h/marker", "secret": "marker3"}}})
    shown = render_command(made) + json.dumps(made.to_json())
    assert "marker" not in shown
    assert {"HF_TOKEN", "WANDB_API_KEY", "SWANLAB_API_KEY"} <= set(made.secrets)
    assert made.env["PLAIN"] == "x" and made.env["MONKEY"] == "y"


def test_the_typed_command_can_be_pasted() -> None:
    import subprocess

    made = plan({"swift": {"system": 'a "b" $HOME `x` \\', "dataset": ["a b", "c"]}, "env": {"A": "1 2"}})
    script = render_command(replace(made, cwd="/")).replace("swift sft", "printf '%s\\0' \"$A\"")
    said = subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout.split(b"\0")[:-1]
    assert [word.decode() for word in said[1:]] == list(made.argv[2:])


def test_json_and_back() -> None:
    made = plan({"swift": {"model": "m"}})
    assert decode(LaunchPlan, json.loads(json.dumps(made.to_json()))) == made
