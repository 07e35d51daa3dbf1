"""Run records and checkpoints for tests, made as they are in a training; nothing is started."""

from __future__ import annotations

import json
import struct
import subprocess
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from packaging.version import Version

from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.findings.finding import WARNING, Finding
from swift_fa_launcher.launch.plan import make_plan
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.runs.record import make_record, new_run_id, render_record, start_record
from swift_fa_launcher.runs.surroundings import collect_surroundings

NOW = datetime(2026, 11, 23, 5, 0, tzinfo=timezone.utc)
FACTS = Facts(packages={"ms-swift": Version("4.6.0"), "gone": None})


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e@x", *words], cwd=folder, check=True, capture_output=True)


def start(tmp_path: Path, name: str = "one", text: str = "swift: {seed: 1}\n", hidden: tuple[str, ...] = (), *,
          facts: Facts = FACTS, overrides: Sequence[str] = (), now: datetime = NOW) -> Path:
    """The folder of a fresh record below `tmp_path`/runs, of a config `name`.yaml in `tmp_path`/work."""
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    file = work / f"{name}.yaml"
    file.write_text(f"{text}run: {{name: {name}}}\n", encoding="utf-8")
    config = resolve_config([file], overrides)
    run_id, root = new_run_id(name, now), tmp_path / "runs"
    plan = make_plan(config, facts, run_id=run_id, run_dir=str(root / run_id), cwd=str(work))
    record = replace(make_record(config, plan, run_id, now), pid_started=1.0)
    around = collect_surroundings(config, facts, work, lambda words: None)
    findings = (Finding("gpu-none", WARNING, "none"),)
    return start_record(root, record, render_record(record, config, facts, findings, plan, around, hidden))


def write_safetensors(file: Path) -> None:
    header = json.dumps({"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))


def write_zip(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02." * 100)


def make_checkpoint(folder: Path, step: int) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    write_safetensors(checkpoint / "adapter_model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        write_zip(checkpoint / name)
    (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": step, "max_steps": 20}))
    return checkpoint


def write_curves(folder: Path, output: Path, steps: int, level: float = 2.0) -> None:
    """What the monitor and ms-swift leave of a training of `steps` logged steps, its loss falling from `level`, with ten
    evaluations."""
    output.mkdir(parents=True, exist_ok=True)
    monitor, logged = [], []
    for step in range(1, steps + 1):
        loss, place = level / (1 + step / 50) + (step * 7919 % 97) / 1000, f"{step}/{steps}"
        monitor.append({"step": step, "loss": loss, "tokens_per_second": 9000.0 + step * 31 % 700, "padding": 0.01,
                        "examples_per_step": 16.0, "peak_memory_gib": 40.5, "allocated_gib": 38.25, "tokens": 8000,
                        "seconds": 0.9, "monitor_seconds": 0.001})
        logged.append({"loss": loss, "grad_norm": 1 + step * 13 % 50 / 40, "learning_rate": 1e-4 * (1 - step / steps),
                       "global_step/max_steps": place})
        if step % max(1, steps // 10) == 0:
            logged.append({"eval_loss": loss * 1.1, "global_step/max_steps": place})
    (folder / "monitor.jsonl").write_text("".join(json.dumps(line) + "\n" for line in monitor))
    (output / "logging.jsonl").write_text("".join(json.dumps(line) + "\n" for line in logged))
