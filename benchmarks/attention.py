"""flash-attn and torch's own flash attention side by side: the same config trained with each in turn.

    python benchmarks/attention.py CONFIG --package FOLDER [--rounds 3] [--out FILE] [key=value ...]

in a folder where `swift-fa train CONFIG` runs without flash-attn; FOLDER holds it (`pip install --no-deps --target FOLDER
WHEEL`) and goes onto the path for its turns. Tokens a second are those of the logged steps without the first two. Exits 1 where
the two see other tokens, or a step's losses differ by more than 0.003 in the first round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

WARM_UP, NEAR = 2, 0.003


def train(config: str, provider: str, settings: list[str], folder: Path | None) -> dict[str, Any]:
    words = [sys.executable, "-m", "swift_fa_launcher", "train", config, *settings, "swift.logging_steps=1",
             "flash_attn.install=never", "--json"]
    paths = os.pathsep.join(filter(None, (str(folder or ""), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False,
                          env={**os.environ, "PYTHONPATH": paths})
    if done.returncode:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr[-3000:]}\n{done.stdout[-2000:]}")
    run = Path(json.loads(done.stdout)["run_dir"])
    lines = [json.loads(line) for line in (run / "monitor.jsonl").read_text().splitlines()]
    told = json.loads((run / "monitor.json").read_text())
    steady = lines[WARM_UP:]
    return {"provider": provider, "kernel": told["kernel"], "versions": told["versions"], "device": told["device_name"],
            "tokens_per_second": sum(line["tokens"] for line in steady) / sum(line["seconds"] for line in steady),
            "peak_memory_gib": max(line["peak_memory_gib"] for line in lines), "tokens": [line["tokens"] for line in lines],
            "losses": [line["loss"] for line in lines]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_intermixed_args()
    found: list[dict[str, Any]] = []
    for _ in range(given.rounds):
        for provider, folder in (("package", given.package), ("torch", None)):
            one = train(given.config, provider, given.settings, folder)
            found.append(one)
            print(f"{one['kernel']:<45} {one['tokens_per_second']:>9,.0f} tokens/s  {one['peak_memory_gib']:6.2f} GiB  "
                  f"{len(one['losses'])} steps, last loss {one['losses'][-1]:.4f}", flush=True)
            if given.out:
                given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    package, own = found[:2]
    speeds = {name: statistics.median(one["tokens_per_second"] for one in found if one["provider"] == name)
              for name in ("package", "torch")}
    far = max(abs(a - b) for a, b in zip(package["losses"], own["losses"], strict=True))
    again = found[2] if given.rounds > 1 else package
    noise = max(abs(a - b) for a, b in zip(package["losses"], again["losses"], strict=True))
    print(f"median of {given.rounds}: package {speeds['package']:,.0f}, torch {speeds['torch']:,.0f} tokens/s "
          f"({speeds['torch'] / speeds['package']:.3f}); losses differ by {far:.5f} at most, two of the package by {noise:.5f}")
    return bool(package["tokens"] != own["tokens"] or far > NEAR)


if __name__ == "__main__":
    sys.exit(main())
