"""What the speed-ups gain: the same rows with `run.speedups` never, exact and all, in turn.

    python benchmarks/speedups.py CONFIG [--rounds 1] [--levels never,exact,all] [--out FILE] [key=value ...]

in a folder where `swift-fa train CONFIG` runs. Tokens a second are those of the logged steps without the first two
(`swift.logging_steps=1`), memory is the peak that the monitor saw; the loss is the mean of the last fifth of the steps.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

WARM_UP = 2  # steps


def train(config: str, level: str, settings: list[str]) -> dict[str, Any]:
    words = [sys.executable, "-m", "swift_fa_launcher", "train", config, *settings, f"run.speedups={level}",
             "swift.logging_steps=1", "swift.save_strategy=no", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr[-3000:]}\n{done.stdout[-2000:]}")
    record = dict(json.loads(done.stdout))
    folder = Path(record["run_dir"])
    lines = [json.loads(line) for line in (folder / "monitor.jsonl").read_text().splitlines()]
    steady = lines[WARM_UP:]
    file = folder / "speedups.json"
    return {"level": level, "steps": len(lines),
            "tokens_per_second": sum(line["tokens"] for line in steady) / sum(line["seconds"] for line in steady),
            "median_step": statistics.median(line["tokens_per_second"] for line in steady),
            "peak_memory_gib": max(line["peak_memory_gib"] for line in lines), "losses": [line["loss"] for line in lines],
            "examples_per_step": statistics.mean(line["examples_per_step"] for line in lines),
            "last_fifth": statistics.mean(line["loss"] for line in lines[-max(1, len(lines) // 5):]),
            "speedups": json.loads(file.read_text()) if file.exists() else {}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--levels", default="never,exact,all")
    parser.add_argument("--out", type=Path)
    given = parser.parse_intermixed_args()
    found = []
    for _ in range(given.rounds):
        for level in given.levels.split(","):
            one = train(given.config, level, given.settings)
            found.append(one)
            print(f"{level:<6} {one['tokens_per_second']:>9,.0f} tokens/s  {one['peak_memory_gib']:6.2f} GiB  "
                  f"{one['steps']} steps of {one['examples_per_step']:.2f} examples  loss {one['last_fifth']:.4f}  "
                  + ", ".join(f"{name}: {told}" for name, told in one["speedups"].items()), flush=True)
            if given.out:
                given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    first = found[0]["losses"]
    for one in found[1:]:
        far = max(abs(a - b) for a, b in zip(first, one["losses"], strict=True))
        print(f"{one['level']}: {one['tokens_per_second'] / found[0]['tokens_per_second']:.3f} times {found[0]['level']}; "
              f"losses differ by {far:.5f} at most, by {abs(one['last_fifth'] - found[0]['last_fifth']):.5f} at the end")


if __name__ == "__main__":
    main()
