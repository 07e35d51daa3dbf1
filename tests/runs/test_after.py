"""What is printed below a training that ended: ms-swift's commands for the model, or how to go on."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from run_records import FACTS, make_checkpoint, start  # type: ignore[import-not-found]

from swift_fa_launcher.runs.after import next_commands
from swift_fa_launcher.runs.record import read_record
from swift_fa_launcher.runs.report import render_finished


def ended(tmp_path: Path, args: dict[str, Any], *, text: str = "swift: {seed: 1}\n", adapter: bool = True,
          ms_swift: str = "4.6.0", packages: dict[str, Any] | None = None) -> tuple[str, ...]:
    """The commands after a run whose checkpoint was trained with `args`."""
    facts = replace(FACTS, packages={"ms-swift": Version(ms_swift), **(packages or {})})
    folder = start(tmp_path, text=text, facts=facts)
    checkpoint = make_checkpoint(tmp_path / "out put", 4)
    (checkpoint / "args.json").write_text(json.dumps({"model": "/m", "task_type": "causal_lm", **args}))
    if adapter:
        (checkpoint / "adapter_config.json").write_text("{}")
    return next_commands(folder, replace(read_record(folder), status="finished", checkpoint=str(checkpoint)))


def words(line: str, program: str) -> list[str]:
    """What is handed to `swift program`; a space in a path has survived."""
    every = shlex.split(line)
    return every[every.index(program) + 1:]


def test_an_adapter_is_talked_to_merged_and_measured(tmp_path: Path) -> None:
    infer, export, measure = ended(tmp_path, {"tuner_type": "lora"}, packages={"evalscope": Version("1.0")})
    model = ["--adapters", f"{tmp_path}/out put/checkpoint-4"]
    assert words(infer, "infer")[:2] == words(export, "export")[:2] == words(measure, "eval")[:2] == model
    assert words(export, "export")[2:] == ["--merge_lora", "true"] and "pip" not in measure and "CUDA" not in infer


@pytest.mark.parametrize(("args", "how", "programs"), [
    ({"tuner_type": "full"}, {"adapter": False}, ["infer", "eval"]), ({"tuner_type": "ia3"}, {}, ["infer", "eval"]),
    ({"tuner_type": "lora", "task_type": "seq_cls"}, {}, ["infer", "export"]),
    ({"train_type": "lora"}, {}, ["infer", "export", "eval"])])
def test_only_what_makes_sense(tmp_path: Path, args: dict[str, Any], how: dict[str, Any], programs: list[str]) -> None:
    lines = ended(tmp_path, args, **how)
    assert [next(word for word in ("infer", "export", "eval") if word in shlex.split(line)) for line in lines] == programs
    assert all(("--adapters" in line) == how.get("adapter", True) for line in lines)
    assert "pip install evalscope && " in lines[-1] or programs[-1] != "eval"


def test_the_runs_own_gpu_folder_and_generation(tmp_path: Path) -> None:
    (tmp_path / "work" / "m").mkdir(parents=True)
    infer, *_ = ended(tmp_path, {"tuner_type": "lora", "model": "m"}, text="launch: {gpus: [6, 7]}\n")
    assert infer.startswith(f"cd {tmp_path}/work && CUDA_VISIBLE_DEVICES=6 ")
    (tmp_path / "old").mkdir()
    assert "--ckpt_dir" in ended(tmp_path / "old", {"sft_type": "lora"}, ms_swift="2.6.1")[0]


def test_no_commands_without_a_model_to_run_them_on(tmp_path: Path) -> None:
    folder = start(tmp_path)
    assert next_commands(folder, read_record(folder)) == ()


def test_an_interrupted_run_says_how_it_goes_on(tmp_path: Path) -> None:
    folder = start(tmp_path)
    record = replace(read_record(folder), status="interrupted", exit_code=130, output_dir=str(tmp_path / "out"))
    assert f"start again with: swift-fa rerun {folder}" in render_finished(folder, record, "en")
    make_checkpoint(tmp_path / "out", 4)
    assert f"continue with: swift-fa resume {folder}" in render_finished(folder, record, "en")
    assert f"swift-fa resume {folder}" in render_finished(folder, record, "zh")


@pytest.mark.stack
def test_ms_swift_knows_every_word(tmp_path: Path) -> None:
    typed = [[word.removeprefix("--") for word in shlex.split(line) if word.startswith("--")]
             for line in ended(tmp_path, {"tuner_type": "lora"})]
    script = ("import dataclasses, json; from swift.arguments import EvalArguments as E, ExportArguments as X, "
              "InferArguments as I; "
              "print(json.dumps([[field.name for field in dataclasses.fields(one)] for one in (I, X, E)]))")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**os.environ})
    for names, there in zip(typed, json.loads(done.stdout.splitlines()[-1]), strict=True):
        assert names and set(names) <= set(there)
