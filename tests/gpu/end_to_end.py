"""The main job on a real GPU, as a user would run it: no flash-attn, its installation, a training, the same again.

    python tests/gpu/end_to_end.py WHEEL FOLDER [--python TRAINING_PYTHON] [--shape 3b]

WHEEL is a flash-attn that fits the machine. TRAINING_PYTHON (default: this one) has torch, ms-swift, SwanLab and no
flash-attn, which it has afterwards. FOLDER gets the model, the rows, `transcript.txt` (each command with what it said)
and `checks.json`. Ends with 1 if anything was not as it should be.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from shutil import which
from typing import Any

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(PROJECT)]

from broken_wheels import WAYS, break_wheel  # noqa: E402

#: Like configs/qwen7b-lora.yaml, which it extends, but with a model and rows that are here, and SwanLab offline.
CONFIG = """\
extends: {seed}

swift:
  model: {model}
  model_type: qwen2
  template: qwen2_5
  dataset: {rows}
  logging_steps: 1
  gradient_accumulation_steps: 1
  output_dir: {folder}/output

swanlab:
  mode: offline
  experiment: end-to-end

flash_attn:
  sources: [{wheels}]
  mirrors: []
  build: never

launch:
  gpus: [0]
  python: {python}

run:
  name: end-to-end
  root: {folder}/runs
"""


class Story:
    """Runs the commands one after another, shows and keeps what they say, and what was not as it should be."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.checks = folder, list[dict[str, Any]]()
        self.transcript = (folder / "transcript.txt").open("w", encoding="utf-8")

    def say(self, text: str) -> None:
        for stream in (sys.stdout, self.transcript):
            print(text, file=stream, flush=True)

    def check(self, right: bool, what: str) -> None:
        self.checks.append({"ok": bool(right), "what": what})
        self.say(f"{'ok' if right else 'NOT SO'}: {what}")

    def run(self, *command: str, quiet: bool = False) -> subprocess.CompletedProcess[str]:
        began = time.monotonic()
        self.say(f"\n$ {' '.join(command)}")
        words = [sys.executable, "-m", "swift_fa_launcher", *command[1:]] if command[0] == "swift-fa" else command
        path = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))
        done = subprocess.run(words, cwd=self.folder, env={**os.environ, "COLUMNS": "130", "PYTHONPATH": path}, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE if quiet else subprocess.STDOUT,
                              errors="replace", check=False)
        if not quiet:
            self.say(shorten(done.stdout))
        self.say(f"[exit status {done.returncode} after {time.monotonic() - began:.1f} s]")
        return done

    def preflight(self, config: str, *more: str) -> dict[str, Any]:
        done = self.run("swift-fa", "preflight", config, *more, "--json", quiet=True)
        try:
            return dict(json.loads(done.stdout))
        except ValueError:
            self.say(done.stdout + done.stderr)
            return {"status": "none", "findings": [], "facts": {}}


def shorten(text: str, most: int = 60) -> str:
    """The last line of what was overwritten by carriage returns, and no more than `most` lines."""
    lines = [line.rpartition("\r")[2] for line in text.rstrip().splitlines()]
    left = len(lines) - most
    return "\n".join(lines if left <= 0 else [*lines[:most // 2], f"… {left} lines …", *lines[-most // 2:]])


def tell(story: Story, wheel: Path, python: str, shape: str) -> None:
    folder = story.folder
    story.run(sys.executable, str(PROJECT / "tests" / "large.py"), ".", "--shape", shape)
    (folder / "gpu.yaml").write_text(CONFIG.format(
        seed=PROJECT / "configs" / "qwen7b-lora.yaml", model=folder / f"Qwen2.5-{shape}-Instruct", python=python,
        rows=folder / "rows.jsonl", folder=folder, wheels=wheel.parent), encoding="utf-8")

    story.say("\n# Without flash-attn")
    refused = story.run("swift-fa", "preflight", "gpu.yaml")
    story.check(refused.returncode == 1 and "flash-attn-missing" in refused.stdout, "the preflight misses flash-attn")
    story.check("swift-fa install" in refused.stdout, "it says how to install it")

    story.say("\n# A wheel that fits")
    installed = story.run("swift-fa", "install", "gpu.yaml", "--wheel", str(wheel))
    story.check(installed.returncode == 0, "the wheel is proven and installed")
    story.check(run_ok(story, "gpu.yaml"), "the preflight lets the launch through")
    story.run("swift-fa", "preflight", "gpu.yaml")

    story.say("\n# The same wheel, broken in three ways")
    before = digest_of_extension(python)
    for what, (way, code) in WAYS.items():
        story.say(f"\n## {what}")
        broken = break_wheel(wheel, folder / "broken", way)
        answer = story.run("swift-fa", "install", "gpu.yaml", "--wheel", str(broken))
        story.check(answer.returncode == 1 and code in answer.stdout, f"{what}: refused as {code}")
        broken.unlink()
        story.check(digest_of_extension(python) == before and run_ok(story, "gpu.yaml"), f"{what}: the old one still works")

    story.say("\n# The training")
    trained = story.run("swift-fa", "train", "gpu.yaml")
    story.check(trained.returncode == 0, "the training ends well")
    if trained.returncode:
        return
    look_at_run(story)
    story.run("swift-fa", "show", "latest", "--root", "runs")

    story.say("\n# The same again")
    again = story.run("swift-fa", "rerun", "latest", "--root", "runs", "--strict")
    story.check(again.returncode == 0, "the repetition ends well, and nothing that matters differs")
    look_at_run(story)
    compare_losses(story)

    story.say("\n# All in one command")
    story.run(python, "-m", "pip", "uninstall", "-y", "-q", "flash-attn")
    short = story.run("swift-fa", "train", "gpu.yaml", "swift.max_steps=2")
    story.check("flash-attn-missing" in short.stdout and "unpacking" in short.stdout, "`train` installs flash-attn by itself")
    story.check(short.returncode == 0 and digest_of_extension(python) == before, "and trains with it")

    story.say("\n# More than the GPU holds")
    failed = story.run("swift-fa", "train", "gpu.yaml", "swift.packing=false", "swift.gradient_checkpointing=false",
                       "swift.per_device_train_batch_size=400")
    story.check(failed.returncode == 1 and "gpu-out-of-memory" in failed.stdout[-4000:],
                "the failure is named at the end")
    story.run("swift-fa", "runs", "--root", "runs")


def run_ok(story: Story, config: str) -> bool:
    """Whether the preflight lets `config` through, with the probe run on every GPU."""
    told = story.preflight(config)
    devices = ((told["facts"].get("flash_attn") or {}).get("probe") or {}).get("devices") or []
    story.say(f"status {told['status']}, findings {[f['code'] for f in told['findings']]}, probe {devices}")
    return told["status"] != "blocked" and bool(devices) and all(device["ok"] for device in devices)


def digest_of_extension(python: str) -> str:
    """sha256 of the file that `import flash_attn_2_cuda` loads; "" where there is none."""
    script = "import importlib.util as u; s = u.find_spec('flash_attn_2_cuda'); print(s.origin if s else '')"
    found = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    return hashlib.sha256(Path(found).read_bytes()).hexdigest() if found else ""


def records(folder: Path) -> list[Path]:
    return sorted((file.parent for file in (folder / "runs").glob("*/run.json")), key=lambda one: one.stat().st_ctime)


def look_at_run(story: Story) -> None:
    """Of the newest record: what the monitor saw, where the log, the checkpoint and SwanLab's folder are."""
    newest = records(story.folder)[-1]
    record = json.loads((newest / "run.json").read_text("utf-8"))
    told = json.loads((newest / "monitor.json").read_text("utf-8")) if (newest / "monitor.json").is_file() else {}
    lines = [json.loads(line) for line in read(newest / "monitor.jsonl").splitlines()]
    story.say(f"monitor.json {json.dumps(told)}")
    for line in lines:
        story.say(f"monitor.jsonl {json.dumps(line)}")
    story.check(str(told.get("kernel", "")).startswith("flash-attn "), "the model runs flash-attn, says the monitor")
    story.check(told.get("packing") == "packing", "rows are packed, says the monitor")
    spent = sum(line["monitor_seconds"] for line in lines[1:]) / (sum(line["seconds"] for line in lines[1:]) or 1)
    story.check(spent < 0.01, f"the monitor took {spent:.3%} of the time after the first step")
    story.check(bool(record.get("checkpoint")) and Path(record["checkpoint"]).is_dir(), "the record names the checkpoint")
    story.check(bool(record.get("swanlab")), f"and SwanLab's run: {record.get('swanlab')}")
    story.check((newest / "train.log").stat().st_size > 0, "the log is kept")


def compare_losses(story: Story) -> None:
    """flash-attn's backward pass adds in no fixed order, so the losses of two runs are near, not equal."""
    losses = [{line["step"]: line["loss"] for line in map(json.loads, read(run / "monitor.jsonl").splitlines())}
              for run in records(story.folder)[-2:]]
    apart = max((abs(losses[0][step] - losses[1].get(step, float("inf"))) for step in losses[0]), default=float("inf"))
    story.check(apart < 0.05, f"the losses of both runs differ by {apart:.2g} at most")


def read(file: Path) -> str:
    return file.read_text("utf-8") if file.is_file() else ""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--shape", default="3b")
    given = parser.parse_args(arguments)
    if not has_gpu():
        print("skipped: there is no NVIDIA GPU here")
        return 0
    given.folder.mkdir(parents=True, exist_ok=True)
    story = Story(given.folder.resolve())
    try:
        tell(story, given.wheel.resolve(), given.python, given.shape)
    finally:
        (story.folder / "checks.json").write_text(json.dumps(story.checks, indent=1), encoding="utf-8")
    wrong = [check["what"] for check in story.checks if not check["ok"]]
    story.say(f"\n{len(story.checks) - len(wrong)} of {len(story.checks)} as it should be")
    story.say("".join(f"NOT SO: {what}\n" for what in wrong))
    return 1 if wrong else 0


def has_gpu() -> bool:
    tool = which("nvidia-smi")
    return tool is not None and subprocess.run([tool, "-L"], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
