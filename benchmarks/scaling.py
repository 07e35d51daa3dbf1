"""How a training scales over the GPUs of one machine, what a rehearsal foretells of it, and three failures of several processes.

    python benchmarks/scaling.py CONFIG --gpus 1,2,4,8 --out scaling [--rows N] [OVERRIDE...]

in a folder where `swift-fa train CONFIG` runs. `swift-fa bench CONFIG --gpus` measures; each measured number of GPUs is rehearsed
too; then the largest trains, and one of its processes is killed, is stopped, and has its GPU hidden. Writes scaling.json and
scaling.md into the folder, anew after each part. A training without a GPU has none to hide.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LAUNCHER = (sys.executable, "-m", "swift_fa_launcher")
ENDLESS = ("swift.max_steps=100000", "swift.save_strategy='no'", "swift.eval_strategy='no'", "swift.split_dataset_ratio=0",
           "swift.logging_steps=1", "swanlab.enabled=false", "preflight.rehearsal=never", "launch.stall_timeout=60")
STEPS = 5  # logged, before a process is killed or stopped
PATIENCE = 300.0  # seconds until those, and from the failure to the end
#: Of the failures: what the launcher says that names it. {rank}: of the process.
NAMES = {"killed": r"rank {rank} \(process \d+\) was killed",
         "stopped": r"stopped by a signal \(SIGSTOP\).*rank {rank} \(process \d+\)",
         "its GPU hidden": r"^nproc-exceeds-gpus: .*"}
SIGNALS = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP}
#: Run by every Python that finds it: the last process has one GPU less.
HIDE = """import os
if os.environ.get("LOCAL_RANK") == "{rank}":
    os.environ["CUDA_VISIBLE_DEVICES"] = "{gpus}"
"""


def bench(given: argparse.Namespace) -> dict[str, Any]:
    folder = str(given.out / "bench")
    words = [given.config, *given.overrides, "--gpus", given.gpus, "--rows", given.rows, "--out", folder]
    done = subprocess.run([*LAUNCHER, "bench", *words, "--json"], stdout=subprocess.PIPE, text=True, check=False)
    return dict(json.loads(done.stdout))


def rehearse(given: argparse.Namespace, variant: dict[str, Any]) -> dict[str, Any]:
    """What a rehearsal foretells of a variant, beside what was measured."""
    settings = [word for word in variant["settings"] if "SWIFT_FA_COMMUNICATION" not in word]
    done = subprocess.run([*LAUNCHER, "rehearse", given.config, *given.overrides, *settings, "--json"], stdout=subprocess.PIPE,
                          text=True, check=False)
    try:
        told = json.loads(done.stdout).get("rehearsal") or {}
    except ValueError:
        told = {"error": "it printed no JSON"}
    lines = [json.loads(line) for line in Path(variant["run"], "monitor.jsonl").read_text(encoding="utf-8").splitlines()]
    return {"name": variant["name"], "peak_gib": told.get("peak_gib"), "tokens_per_second": told.get("tokens_per_second"),
            "problem": told.get("error") or told.get("cannot"),
            "measured_gib": max(line["allocated_gib"] for line in lines) or None,
            "measured_tokens_per_second": variant["measured"]["steady"]}


def fail(given: argparse.Namespace, what: str, variant: dict[str, Any]) -> dict[str, Any]:
    """Seconds from the failure (from the start, where the GPU is hidden) until it was named and until the launcher had ended, and
    the processes left then."""
    count = int(variant["name"].partition("-")[2])
    rank, root, number = count - 1, given.out / what.replace(" ", "-"), SIGNALS.get(what)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    env = dict(os.environ)
    if number is None:
        chosen = next((word for word in variant["settings"] if word.startswith("launch.gpus=")), "")
        (root / "sitecustomize.py").write_text(HIDE.format(rank=rank, gpus=",".join(re.findall(r"\d+", chosen)[:-1])))
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(root.absolute()), env.get("PYTHONPATH"))))
    output = root / "output.txt"
    words = [*LAUNCHER, "train", given.config, *given.overrides, *variant["settings"], *ENDLESS, f"run.root={root / 'runs'}",
             f"swift.output_dir={root / 'checkpoints'}"]
    with output.open("wb") as file:
        launcher = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT, env=env)
    began = time.monotonic()
    while number and steps(root) < STEPS and launcher.poll() is None and time.monotonic() - began < PATIENCE:
        time.sleep(0.1)
    if number and launcher.poll() is None:
        began = time.monotonic()
        os.kill(min(pid for pid, its in processes(root) if its == str(rank)), number)
    name, named = re.compile(NAMES[what].format(rank=rank), re.MULTILINE), None
    said = None
    while launcher.poll() is None and time.monotonic() - began < PATIENCE:
        said = said or name.search(output.read_text(errors="replace"))
        named = named or (time.monotonic() - began if said else None)
        time.sleep(0.05)
    ended = time.monotonic() - began
    said = said or name.search(output.read_text(errors="replace"))
    if launcher.poll() is None:
        launcher.terminate()
        launcher.wait()
    return {"what": what, "processes": count, "rank": rank, "said": said[0] if said else None, "exit_code": launcher.returncode,
            "named_seconds": named or (ended if said else None), "ended_seconds": ended,
            "left": [pid for pid, _ in processes(root)]}


def steps(root: Path) -> int:
    file = next((root / "runs").glob("2*/monitor.jsonl"), None)
    return len(file.read_text(encoding="utf-8").splitlines()) if file else 0


def processes(root: Path) -> Iterator[tuple[int, str]]:
    """(process id, rank) of what lives of the run that is recorded there."""
    run = next((folder.name for folder in (root / "runs").glob("2*")), "")
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            env = Path("/proc", pid, "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if run and f"SWIFT_FA_RUN_ID={run}".encode() in env:
            yield int(pid), next((word[5:].decode() for word in env if word.startswith(b"RANK=")), "")


def render(found: dict[str, Any], table: str) -> str:
    lines = [table, "![Tokens a second on each number of GPUs](bench/plot.svg)", ""]
    if found["foretold"]:
        lines += ["| | peak GiB foretold | allocated | tokens/s foretold | measured |", "|---|---:|---:|---:|---:|"]
        for one in found["foretold"]:
            memory = compared(one["peak_gib"], one["measured_gib"], ".2f")
            speed = compared(one["tokens_per_second"], one["measured_tokens_per_second"], ",.0f")
            lines.append(f"| {one['name']} | {memory} | {speed} |{' ' + one['problem'] if one['problem'] else ''}")
    if found["failures"]:
        lines += ["", "| of the processes one is | named after | launcher ended after | exit code | processes left | words |",
                  "|---|---:|---:|---:|---:|---|"]
        lines += [f"| {one['what']} ({one['processes']} processes, rank {one['rank']}) | {seconds(one['named_seconds'])} | "
                  f"{seconds(one['ended_seconds'])} | {one['exit_code']} | {len(one['left'])} | {one['said'] or 'not named'} |"
                  for one in found["failures"]]
    return "\n".join([*lines, ""])


def compared(foretold: float | None, measured: float | None, form: str) -> str:
    """Two cells."""
    off = f" ({foretold / measured - 1:+.1%})" if foretold and measured else ""
    return f"{format(foretold, form) if foretold else ''} | {format(measured, form) + off if measured else ''}"


def seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--gpus", default="1,2,4,8")
    parser.add_argument("--rows", default="500")
    parser.add_argument("--out", type=Path, default=Path("scaling"))
    parser.add_argument("--only", choices=("bench", "foretold", "failures"), action="append")
    given = parser.parse_intermixed_args()
    given.out.mkdir(parents=True, exist_ok=True)
    parts = given.only or ("bench", "foretold", "failures")
    found: dict[str, Any] = {"bench": bench(given), "foretold": [], "failures": []}
    measured = [one for one in found["bench"]["variants"] if one["status"] == "measured"]

    def keep() -> None:
        (given.out / "scaling.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        table = (given.out / "bench" / "table.md").read_text(encoding="utf-8")
        (given.out / "scaling.md").write_text(render(found, table), encoding="utf-8")

    keep()
    for variant in measured if "foretold" in parts else ():
        found["foretold"].append(rehearse(given, variant))
        keep()
    largest = max((one for one in measured if one["name"].startswith("ddp")), key=lambda one: int(one["name"][4:]))
    on_gpu = any(word.startswith("launch.gpus=") for word in largest["settings"])
    for what in NAMES if "failures" in parts else ():
        if on_gpu or what != "its GPU hidden":
            found["failures"].append(fail(given, what, largest))
            keep()
    print((given.out / "scaling.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
