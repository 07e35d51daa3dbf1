"""What the training monitor costs: the same training with and without it, in turn.

    python benchmarks/monitor.py CONFIG [ROUNDS] [key=value ...]      in a folder where `swift-fa train CONFIG` runs

Compares `train_runtime`, transformers' own seconds from the first batch to the last step. Beside it stands the share of
time that the monitor counted as its own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any


def train(config: str, monitor: bool, settings: list[str]) -> dict[str, Any]:
    """The run's record, as `swift-fa train --json` prints it."""
    words = [sys.executable, "-m", "swift_fa_launcher", "train", config, *settings, f"run.monitor={str(monitor).lower()}",
             "--json"]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout))


def main(config: str, rounds: int, settings: list[str]) -> None:
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for number in range(rounds):
        for monitor in (True, False) if number % 2 else (False, True):
            record = train(config, monitor, settings)
            seconds[monitor].append(record["result"]["runtime"])
            own = (record.get("measured") or {}).get("monitor_share")
            print(f"monitor {'on ' if monitor else 'off'}  train_runtime {seconds[monitor][-1]:.2f} s"
                  + (f", of the steps' time its own {own:.3%}" if own is not None else ""), flush=True)
    with_it, without = (statistics.median(seconds[key]) for key in (True, False))
    print(f"median with {with_it:.2f} s, without {without:.2f} s: ratio {with_it / without:.4f}")


if __name__ == "__main__":
    rest = sys.argv[2:]
    main(sys.argv[1], int(rest.pop(0)) if rest and rest[0].isdigit() else 3, rest)
