"""`swift-fa bench --gpus`: the same examples a step on every number of processes; and one that is killed or stopped."""

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
from typing import Any

import pytest
import tiny  # type: ignore[import-not-found]

from swift_fa_launcher.bench.bench import (
    MEASURED,
    Bench,
    Measured,
    Result,
    bench_to_json,
    counted_names,
    make_measured,
    make_variant,
)
from swift_fa_launcher.bench.table import render_table
from swift_fa_launcher.cli import main
from swift_fa_launcher.config.layers import resolve_data
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.errors import UsageError
from swift_fa_launcher.launch.processes import find_run_processes
from swift_fa_launcher.machine.facts import Facts, Gpu
from swift_fa_launcher.runs.store import list_runs

CONFIG = f"""{tiny.CPU_LORA.format(folder=".")}
  gradient_accumulation_steps: 4
swanlab: {{enabled: false}}
env: {{OMP_NUM_THREADS: "1"}}
"""
CARDS = Facts(gpus=tuple(Gpu(index, name="NVIDIA H100") for index in range(4)))


def config(**launch: Any) -> ResolvedConfig:
    swift = {"model": "m", "per_device_train_batch_size": 2, "gradient_accumulation_steps": 8}
    return resolve_data({"swift": swift, "launch": launch})


def test_a_step_has_as_many_examples_on_each_number_of_gpus() -> None:
    assert counted_names(config(), CARDS, (1, 2, 4), ()) == ("ddp-1", "ddp-2", "ddp-4")
    with_deepspeed = Facts(gpus=CARDS.gpus, packages={"deepspeed": "0.18"})  # type: ignore[dict-item]
    assert counted_names(config(), with_deepspeed, (1, 4), ()) == ("ddp-1", "ddp-4", "zero2-4", "zero3-4")
    assert counted_names(config(), CARDS, (1, 4), ("zero3",)) == ("zero3-1", "zero3-4")
    for processes, count, accumulation in ((1, 1, 8), (1, 4, 2), (2, 4, 4), (4, 1, 32)):
        variant = make_variant(f"zero2-{count}", config(nproc_per_node=processes), CARDS)
        assert variant and {f"launch.nproc_per_node={count}", f"swift.gradient_accumulation_steps={accumulation}",
                            f"launch.gpus=[{','.join(map(str, range(count)))}]", "swift.deepspeed=zero2"} <= {*variant.settings}


@pytest.mark.parametrize(("counts", "launch", "words", "hint"), [
    ((1, 8), {}, "4 can be used here (0 NVIDIA H100, 1 NVIDIA H100", "--gpus 1"),
    ((1, 2), {"gpus": [3]}, "1 can be used here (3 NVIDIA H100)", "--gpus 1"),
    ((1, 3), {}, "16 examples, 2 at a time, cannot be shared out equally among 1, 3", "swift.gradient_accumulation_steps=9"),
    ((3, 4), {"nproc_per_node": 2}, "cannot be shared out", "swift.gradient_accumulation_steps=12"),
])
def test_what_cannot_be_compared_is_refused_with_what_can(counts: tuple[int, ...], launch: dict[str, Any], words: str,
                                                          hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        counted_names(config(**launch), CARDS, counts, ())
    assert words in str(raised.value) and hint in raised.value.hint


def test_the_table_compares_each_gpu_with_the_fewest() -> None:
    def measured(rate: float, **more: Any) -> Measured:
        return Measured(tokens=10_000, seconds=1.0, steps=10, examples=80, padding=0.0, peak_memory_gib=40.0, steady=rate, **more)

    bench = Bench({}, (Result("zero3-2", MEASURED, measured=measured(12_000)),)).with_result(
        Result("ddp-2", MEASURED, measured=measured(18_000, communication=0.25, exposed=0.05))).with_result(
        Result("ddp-1", MEASURED, measured=measured(10_000)))
    assert [(one["name"], round(one["efficiency"], 3)) for one in bench_to_json(bench)["variants"]] == [
        ("ddp-1", 1.0), ("ddp-2", 0.9), ("zero3-2", 0.6)]
    row = next(line for line in render_table(bench, {}, "en").splitlines() if line.startswith("| DDP, 2"))
    assert [cell.strip() for cell in row.split("|")[2:8]] == ["18,000", "90.0%", "0.0556 s", "0.25 s", "0.05 s", "40.0 GiB"]


def test_a_profiled_step_is_not_timed() -> None:
    told = {"tokens": 100, "examples_per_step": 4, "padding": 0, "peak_memory_gib": 1, "loss": 1}
    lines: list[dict[str, Any]] = [{**told, "step": step, "seconds": took} for step, took in ((1, 9), (2, 1), (3, 5), (4, 1))]
    lines[2] |= {"communication_seconds": 0.2, "exposed_seconds": None}
    found = make_measured({}, lines, runtime=None, wall=None, gpus=None)
    assert found and (found.steady, found.communication, found.exposed) == (100.0, 0.2, None)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tiny.make_tiny_model(tmp_path / tiny.MODEL_NAME)
    tiny.make_chat_rows(tmp_path / tiny.ROWS_NAME, 40)
    (tmp_path / "c.yaml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


@pytest.mark.training
def test_as_many_processes_as_wanted_learn_the_same(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "c.yaml", "--gpus", "4,1,2", "--rows", "18", "--out", "results", "--json"]
    assert main(words) == 0, capfd.readouterr().err
    one, two, four = json.loads(capfd.readouterr().out)["variants"]
    assert [found["name"] for found in (one, two, four)] == ["ddp-1", "ddp-2", "ddp-4"] and one["efficiency"] == 1
    assert one["measured"]["communication"] is None
    alone = monitor_lines(one)
    for found in (two, four):
        seen = monitor_lines(found)
        assert [line["tokens"] for line in seen] == [line["tokens"] for line in alone] and len(seen) == 4, "the same rows"
        assert [line["loss"] for line in seen] == pytest.approx([line["loss"] for line in alone], abs=1e-3)
        assert 0 < found["measured"]["communication"] < seen[2]["seconds"] and found["efficiency"] > 0
    assert "| DDP, 4" in (work / "results" / "table.md").read_text()
    assert main(words) == 0 and len(list_runs(work / "runs")) == 3, "not measured twice"


def monitor_lines(variant: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(variant["run"], "monitor.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.training
def test_a_stopped_and_a_killed_process_are_named(work: Path) -> None:
    command = [sys.executable, "-m", "swift_fa_launcher", "train", "c.yaml"]
    words = ("launch.nproc_per_node=4", "swift.max_steps=100000", "swift.logging_steps=1", "swift.save_strategy='no'",
             "launch.stall_timeout=60")
    output = work / "output.txt"
    with output.open("wb") as file:
        launcher = subprocess.Popen([*command, *words], stdout=file, stderr=file)
    try:
        wait_for(lambda: any(work.glob("runs/2*/monitor.jsonl")) or launcher.poll() is not None, 120)
        run = next(work.glob("runs/2*")).name
        os.kill(process_of(run, 1), signal.SIGSTOP)
        wait_for(lambda: "stopped by a signal (SIGSTOP)" in output.read_text(errors="replace"), 60)
        assert re.search(r"SIGSTOP\) and not continued: rank 1 \(process \d+\)", output.read_text(errors="replace"))
        os.kill(process_of(run, 1), signal.SIGCONT)
        os.kill(process_of(run, 2), signal.SIGKILL)
        assert launcher.wait(60) == 1
    finally:
        launcher.terminate()
        launcher.wait()
    assert re.search(r"rank 2 \(process \d+\) was killed", output.read_text(errors="replace")), output.read_text()[-3000:]
    assert not find_run_processes(run)


def process_of(run: str, rank: int) -> int:
    """The first process of this rank: what it starts has the same mark."""
    return min(pid for pid, its in ranks(run) if its == rank)


def ranks(run: str) -> Iterator[tuple[int, int]]:
    for process in find_run_processes(run):
        if found := re.search(rb"\0RANK=(\d+)", Path(f"/proc/{process.pid}/environ").read_bytes()):
            yield process.pid, int(found[1])


def wait_for(happened: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.1)
