"""What listing many runs costs: `swift-fa runs` of 5,000 records, every tenth of them damaged or without an end.

    python benchmarks/runs.py [RECORDS] [ROUNDS]

Prints the median and the spread of the whole command in seconds, the interpreter's start included, as text and as JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

DAMAGE = ("", '{"schema": 1, "id": "cut o', '{"schema": 99}', None)
LINE = '{"loss": 1.25, "epoch": 0.8, "global_step/max_steps": "8/10", "train_speed(s/it)": 3.3}\n'
MEASURED = ('{"step": 8, "loss": 1.25, "tokens_per_second": 100.0, "padding": 0.1, "examples_per_step": 16.0, '
            '"peak_memory_gib": 1.5, "tokens": 300, "seconds": 3.0, "monitor_seconds": 0.01}\n')


def make_records(root: Path, count: int) -> None:
    """Records as `train` writes them: a command of 60 words, tags, a result; some open, some damaged; logs of 1000 lines."""
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    (root / "output").mkdir(parents=True)
    (root / "output" / "logging.jsonl").write_text(LINE * 1000)
    for i in range(count):
        at = start + timedelta(minutes=i)
        folder = root / "runs" / f"{at:%Y%m%d-%H%M%S}-run-{i:04x}"
        folder.mkdir(parents=True)
        record = {"schema": 1, "id": folder.name, "name": "run", "status": "finished", "started": at.isoformat(),
                  "ended": (at + timedelta(hours=1)).isoformat(), "exit_code": 0, "cwd": str(root), "output_dir": "output",
                  "command": ["swift", "sft", *(word for n in range(29) for word in (f"--argument_{n}", f"value {n}"))],
                  "tags": ["benchmark"], "host": os.uname().nodename, "pid": 2**22 + i, "pid_started": 1.0,
                  "result": {"step": 10, "steps": 10, "loss": 1.2, "train_loss": 1.5, "speed": 3.0},
                  "measured": {"attention": "flash_attention_2", "kernel": "flash-attn 2.8.3", "packing": "packing",
                               "memory_of": "cuda", "tokens_per_second": 9876.5 + i, "padding": 0.01, "examples_per_step": 64.0,
                               "monitor_share": 0.001, "peak_memory_gib": 40.5}}
        if i % 10 == 1:  # its launcher was killed
            record |= {"status": "unfinished", "ended": None, "result": {}, "measured": {}}
            (folder / "monitor.jsonl").write_text(MEASURED * 1000)
        damage = DAMAGE[i // 10 % len(DAMAGE)] if i % 10 == 0 else json.dumps(record, indent=1)
        if damage is not None:
            (folder / "run.json").write_text(damage)


def children_seconds() -> float:
    """Processor time of the commands that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def main(count: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="runs-") as name:
        make_records(Path(name), count)
        for words in ([], ["--json"], ["--outcome", "damaged"]):
            spent, busy = [], []
            for _ in range(rounds):
                begin, used = time.perf_counter(), children_seconds()
                done = subprocess.run([sys.executable, "-m", "swift_fa_launcher", "runs", *words], cwd=name,
                                      capture_output=True, text=True, check=True)
                spent.append(time.perf_counter() - begin)
                busy.append(children_seconds() - used)
            print(f"{count} records, runs {' '.join(words)}: {statistics.median(spent):.2f} s ({min(spent):.2f} to "
                  f"{max(spent):.2f}), {statistics.median(busy):.2f} s of a processor, {len(done.stdout)} characters", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000, int(sys.argv[2]) if len(sys.argv) > 2 else 5)
