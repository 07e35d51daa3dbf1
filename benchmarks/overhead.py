"""What the launcher costs: the same training by hand and through `swift-fa train`, side by side, in turn.

    python benchmarks/overhead.py [ROUNDS]      needs ms-swift and torch in this interpreter; about 40 s a round

Also: `swift-fa --help` beside `swift sft --help`, and `train --dry-run` with warm caches. Prints medians and ratios.
"""

from __future__ import annotations

import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


def seconds(command: list[str], cwd: Path, **env: str) -> float:
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **env}, capture_output=True, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stderr.decode()[-2000:]}")
    return time.perf_counter() - begin


def report(name: str, ours: list[float], theirs: list[float]) -> None:
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"{name}: swift-fa {a:.2f} s ({min(ours):.2f} to {max(ours):.2f}), by hand {b:.2f} s ({min(theirs):.2f} to "
          f"{max(theirs):.2f}), difference {a - b:+.2f} s, ratio {a / b:.3f}", flush=True)


def main(rounds: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="overhead-"))
    subprocess.run([sys.executable, str(ROOT / "swift_fa_launcher" / "training" / "tiny.py"), str(folder / ".demo")], check=True)
    config = ROOT / "configs" / "demo-cpu.yaml"
    us = [sys.executable, "-m", "swift_fa_launcher"]
    plan = json.loads(subprocess.run([*us, "train", str(config), "--dry-run", "--json"], cwd=folder, capture_output=True,
                                     check=True).stdout)
    by_hand = [str(BIN / "swift"), *plan["argv"][1:]]
    report("--help", *zip(*[(seconds([*us, "--help"], folder), seconds([str(BIN / "swift"), "sft", "--help"], folder))
                            for _ in range(5)], strict=True))  # type: ignore[arg-type]
    dry = [seconds([*us, "train", str(config), "--dry-run"], folder) for _ in range(5)]
    print(f"train --dry-run, warm: {statistics.median(dry):.2f} s ({min(dry):.2f} to {max(dry):.2f})", flush=True)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(seconds([*us, "train", str(config)], folder))
        theirs.append(seconds(by_hand, folder, **plan["env"]))
    report("training of 10 steps", ours, theirs)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
