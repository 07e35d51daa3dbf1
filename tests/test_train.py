"""`swift-fa train` with a real `swift sft` on a tiny model: what it records, hides, ends and returns."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import tiny  # type: ignore[import-not-found]

from swift_fa_launcher.runs.monitor import read_monitor

pytestmark = pytest.mark.training

KEY = "marker0a1b2c3d4e5f6a7b8c9d"
CONFIG = """
swift:
  model: {folder}/Qwen2.5-tiny-Instruct
  model_type: qwen2
  template: qwen2_5
  dataset: '{folder}/数据 chat.jsonl'
  tuner_type: lora
  torch_dtype: float32
  fp16: false
  use_cpu: true
  attn_impl: sdpa
  packing: false
  max_steps: 3
  logging_steps: 1
  learning_rate: 2e-4
  seed: 7
  save_strategy: 'no'
  output_dir: out put
swanlab: {{mode: offline, project: p, experiment: e}}
run: {{name: tiny, notes: "它's a \\"test\\""}}
launch: {{grace: 5}}
"""


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material dir")
    tiny.make_tiny_model(folder / tiny.MODEL_NAME)
    tiny.make_chat_rows(folder / "数据 chat.jsonl", 60)
    return folder


@pytest.fixture
def work(tmp_path: Path, material: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "c.yaml").write_text(CONFIG.format(folder=material), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    """Every process whose command line or folder names this test's folder is gone at the end."""
    yield
    deadline = time.monotonic() + 15
    while (left := [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]):
        assert time.monotonic() < deadline, [p.info["cmdline"] for p in left]
        time.sleep(0.2)


def start(work: Path, *words: str, **env: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "swift_fa_launcher", "train", "c.yaml", *words], cwd=work,
                            env={**os.environ, "SWANLAB_API_KEY": KEY, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def the_run(work: Path) -> Path:
    (folder,) = [p for p in (work / "runs").iterdir() if not p.name.startswith(".")]
    return folder


def losses(run: Path) -> list[float]:
    return [float(x) for x in re.findall(r"'loss': '?([0-9.]+)", (run / "train.log").read_text(encoding="utf-8"))]


def test_a_training_from_start_to_record(work: Path) -> None:
    child = start(work)
    commands = set()
    while child.poll() is None:
        for process in [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]:
            try:
                commands.add("\0".join(process.cmdline()))
            except psutil.Error:
                continue
        time.sleep(0.3)
    out, err = child.communicate()
    assert child.returncode == 0, err.decode()[-3000:]
    run = the_run(work)
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "finished" and record["exit_code"] == 0 and record["ended"] >= record["started"]
    assert record["output_dir"].startswith(str(work / "out put" / "v0-"))
    assert len(losses(run)) == 3
    # what passed through is what was kept
    assert b"'loss'" in out + err and (run / "train.log").stat().st_size > 1000
    # arguments arrived as written
    arguments = json.loads((Path(record["output_dir"]) / "args.json").read_text())
    assert arguments["learning_rate"] == 2e-4 and arguments["seed"] == 7
    assert any("数据 chat.jsonl" in c for c in commands)
    # SwanLab wrote into the run's folder, and nowhere else
    assert list((run / "swanlab").rglob("*")) and not (work / "swanlog").exists()
    # the monitor inside said what ran, and its figures went where the loss went
    seen = read_monitor(run)
    assert (seen["attention"], seen["packing"], seen["world_size"], seen["last"]["step"]) == ("sdpa", "none", 1, 3)
    assert seen["last"]["loss"] == pytest.approx(losses(run)[-1], abs=1e-3) and seen["mean"]["tokens_per_second"] > 1
    logged = [json.loads(line) for line in (Path(record["output_dir"]) / "logging.jsonl").read_text().splitlines()]
    assert [line["examples_per_step"] for line in logged if "loss" in line] == [16, 16, 16]
    assert any(b"tokens_per_second" in p.read_bytes() for p in (run / "swanlab").rglob("*") if p.is_file())
    assert seen["mean"]["monitor_share"] < 0.05, "of steps that take half a second"
    assert record["measured"]["attention"] == "sdpa" and record["measured"]["peak_memory_gib"] > 0
    assert record["measured"]["tokens_per_second"] == pytest.approx(seen["mean"]["tokens_per_second"], abs=0.1)
    # the key is nowhere
    assert commands and not [c for c in commands if KEY in c]
    leaks = [p for p in [*work.rglob("*")] if p.is_file() and KEY.encode() in p.read_bytes()]
    assert not leaks and KEY.encode() not in out + err
    # and the record can be looked at
    shown = subprocess.run([sys.executable, "-m", "swift_fa_launcher", "show", "latest"], cwd=work, capture_output=True,
                           text=True, check=True).stdout
    assert run.name in shown and "finished" in shown and "torch's SDPA" in shown


def test_two_processes_are_data_parallel(work: Path) -> None:
    child = start(work, "launch.nproc_per_node=2", "swift.max_steps=2", "swanlab.mode=disabled", "launch.master_port=29541")
    _, err = child.communicate(timeout=240)
    assert child.returncode == 0, err.decode()[-3000:]
    log = (the_run(work) / "train.log").read_text(encoding="utf-8")
    assert len(list((work / "out put").iterdir())) == 1  # one training, not two
    assert "world_size: 2" in log or re.search(r"distributed_type.*MULTI_CPU", log), log[-3000:]
    assert len(losses(the_run(work))) == 2  # one rank reports
    seen = read_monitor(the_run(work))
    # ms-swift accumulates until an optimizer step has seen 16 examples, however many processes there are
    assert (seen["world_size"], seen["last"]["step"], seen["last"]["examples_per_step"]) == (2, 2, 16)


@pytest.mark.parametrize(("code", "row", "settings"), [
    ("loss-degenerate", json.dumps({"messages": [{"role": "user", "content": "a " * 40}, {"role": "assistant", "content": "b"}]}),
     ("swift.max_length=32", "swift.truncation_strategy=right")),
    ("nothing-trained", None, ("swift.dataloader_drop_last=true", "swift.per_device_train_batch_size=100"))])
def test_exit_code_0_is_not_believed_of_a_training_that_learnt_nothing(work: Path, code: str, row: str | None,
                                                                        settings: tuple[str, ...]) -> None:
    if row:
        (work / "rows.jsonl").write_text(f"{row}\n" * 40, encoding="utf-8")
        settings = (*settings, "swift.dataset=rows.jsonl")
    child = start(work, *settings, "swift.split_dataset_ratio=0", "swanlab.enabled=false", LANG="C")
    _, said = child.communicate(timeout=120)
    assert child.returncode == 0 and f"{code}: " in said.decode()
    assert [one["code"] for one in json.loads((the_run(work) / "run.json").read_text())["diagnoses"]] == [code]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_whole_training(work: Path, number: int, code: int) -> None:
    child = start(work, "swift.max_steps=500", "launch.nproc_per_node=2", "launch.master_port=29542")
    run = wait_for_steps(work, child)
    child.send_signal(number)
    child.communicate(timeout=60)
    assert child.returncode == code
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "interrupted" and record["exit_code"] == code


def test_a_killed_launcher_takes_the_training_with_it_and_leaves_an_open_record(work: Path) -> None:
    child = start(work, "swift.max_steps=500")
    run = wait_for_steps(work, child)
    child.kill()
    child.communicate(timeout=60)
    assert json.loads((run / "run.json").read_text())["status"] == "unfinished"
    listed = subprocess.run([sys.executable, "-m", "swift_fa_launcher", "runs"], cwd=work, capture_output=True, text=True,
                            check=True).stdout
    assert run.name in listed


def wait_for_steps(work: Path, child: subprocess.Popen[bytes]) -> Path:
    """Wait until the training has logged a step; its run folder."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        assert child.poll() is None, child.communicate()[1].decode()[-3000:]
        logs = list((work / "runs").glob("[0-9]*/train.log"))
        if logs and losses(logs[0].parent):
            return logs[0].parent
        time.sleep(0.3)
    raise AssertionError("no step in time")
