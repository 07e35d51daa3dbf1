"""How well a rehearsal foretells: settings of one config, each rehearsed and then really trained.

    python benchmarks/rehearsal.py CONFIG SETTINGS.txt [--steps 14] [--out FILE]

in a folder where `swift-fa train CONFIG` runs. Each line of SETTINGS.txt is a name, a tab, and overrides of the config. Peak
memory is what torch allocated; tokens a second are those of the logged steps without the first four. A training that runs out
of memory is a result too.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

WARM_UP = 4  # steps


def call(*words: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run([sys.executable, "-m", "swift_fa_launcher", *words, "--json"], capture_output=True, text=True,
                          errors="replace", check=False)
    try:
        return done.returncode, dict(json.loads(done.stdout)), done.stderr
    except ValueError:
        return done.returncode, {}, done.stdout + done.stderr


def compare(config: str, name: str, settings: list[str], steps: int) -> dict[str, Any]:
    began = time.monotonic()
    _, told, said = call("rehearse", config, *settings)
    foretold, seconds = told.get("rehearsal") or {"error": said[-800:]}, time.monotonic() - began
    code, record, said = call("train", config, *settings, f"swift.max_steps={steps}", "swift.logging_steps=1",
                              "preflight.rehearsal=never")
    lines: list[dict[str, Any]] = []
    if record.get("run_dir") and (file := Path(record["run_dir"], "monitor.jsonl")).exists():
        lines = [json.loads(line) for line in file.read_text().splitlines()]
    steady = lines[WARM_UP:]
    speed = sum(line["tokens"] for line in steady) / sum(line["seconds"] for line in steady) if steady else None
    return {"name": name, "settings": settings, "rehearsal": foretold, "rehearsal_seconds": seconds, "exit_code": code,
            "allocated_gib": max((line["allocated_gib"] for line in lines), default=None),
            "out_of_memory": "out of memory" in said, "tokens_per_second": speed}


def render(one: dict[str, Any]) -> str:
    told = one["rehearsal"]
    peak, speed = told.get("peak_gib"), told.get("tokens_per_second")
    if one["tokens_per_second"] is None or not peak:
        ended = "out of memory" if one["out_of_memory"] else f"exit code {one['exit_code']}"
        foretold = "out of memory" if told.get("out_of_memory") else f"{peak or 0:.2f} of {told.get('gpu_gib') or 0:.1f} GiB"
        return f"{one['name']:<50} {foretold} foretold; {ended}; {told.get('error') or told.get('cannot') or ''}"
    memory, real = one["allocated_gib"], one["tokens_per_second"]
    return (f"{one['name']:<50} {peak:6.2f} GiB foretold, {memory:6.2f} measured ({peak / memory - 1:+.1%}); "
            f"{speed:8,.0f} tokens/s foretold, {real:8,.0f} measured ({speed / real - 1:+.1%}); "
            f"rehearsed in {one['rehearsal_seconds']:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("settings", type=Path)
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found = []
    for line in given.settings.read_text(encoding="utf-8").splitlines():
        name, _, words = line.partition("\t")
        found.append(compare(given.config, name, shlex.split(words), given.steps))
        print(render(found[-1]), flush=True)
        if given.out:
            given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
