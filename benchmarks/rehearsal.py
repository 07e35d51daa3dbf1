"""How well rehearsals foretell: settings of one config, each rehearsed and then trained with all layers.

    python benchmarks/rehearsal.py CONFIG SETTINGS.txt [--steps 14] [--out FILE]

in a folder where `swift-fa rehearse CONFIG` runs. Each line of SETTINGS.txt is a name, a tab, and overrides of the config. One
process imports everything once, as for `swift-fa tune`; every rehearsal and training is a process forked from it. The training
has the config's own layers, arguments and rows, and random weights. Peak memory is what torch allocated; tokens a second are
those of its steps without the first two fifths. A training that runs out of memory is a result too.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.decode import known
from swift_fa_launcher.launch.rehearsal import make_order, orders_plan
from swift_fa_launcher.machine.rehearsal import read_ranks, steady_rate
from swift_fa_launcher.stories.launch import judge, look, training_environment
from swift_fa_launcher.stories.rehearse import read_rehearsed

PATIENCE = 300.0  # seconds of one rehearsal or training


class Course:
    """The process that takes orders: as `swift-fa tune` starts it for the first setting."""

    def __init__(self, config: Any, facts: Any, folder: Path) -> None:
        plan = orders_plan(config, facts, str(folder), str(Path.cwd()))
        assert plan is not None, "ms-swift's script is not known"
        self.folder, self.log, self.number = folder, folder / "orders.log", 0
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(plan.starts, env=training_environment(config, plan), stdout=log, stderr=log)

    def order(self, config: Any, facts: Any, steps: int) -> tuple[Any, tuple[Any, ...], float]:
        """(what was foretold or shown, the files of its ranks, seconds). steps: of a training of all layers, 0 to rehearse."""
        folder = self.folder / f"{self.number}"
        folder.mkdir()
        order = make_order(config, facts, str(folder), str(Path.cwd()), whole=steps, seconds=PATIENCE)
        began, done = time.monotonic(), f"rehearsal {self.number} ended with "
        (self.folder / "part").write_text(json.dumps(order))
        (self.folder / "part").rename(self.folder / f"order-{self.number}.json")
        while done not in (text := self.log.read_text(errors="replace")):
            assert self.process.poll() is None, text[-2000:]
            time.sleep(0.02)
        self.number += 1
        code = int(text.partition(done)[2].split()[0])
        return read_rehearsed(config, facts, folder, code), read_ranks(folder), time.monotonic() - began

    def stop(self) -> None:
        (self.folder / "stop").touch()
        self.process.wait(60)


def compare(course: Course, config: Any, facts: Any, steps: int) -> dict[str, Any]:
    told, small, seconds = course.order(config, facts, 0)
    real, ranks, took = course.order(config, facts, steps)
    trained = not (real.out_of_memory or real.error or real.cannot)
    return {"foretold_gib": known(told.peak_gib), "foretold_tokens_per_second": known(told.tokens_per_second),
            "gpu_gib": known(told.gpu_gib), "foretold_out_of_memory": told.out_of_memory, "rehearsal_seconds": seconds,
            "problem": known(told.error) or known(told.cannot), "training_seconds": took,
            "gib": known(real.peak_gib) if trained else None, "tokens_per_second": steady_rate(ranks) if trained else None,
            "out_of_memory": real.out_of_memory, "training_problem": known(real.error) or known(real.cannot),
            "ranks": [_told(small), _told(ranks)]}


def _told(ranks: Any) -> list[Any]:
    return [[{key: value for key, value in one.items() if key != "sample"} for one in rank.get("depths", ())] for rank in ranks]


def render(one: dict[str, Any]) -> str:
    name, peak, speed = f"{one['name']:<44}", one["foretold_gib"], one["foretold_tokens_per_second"]
    if one["tokens_per_second"] is None or not (peak or speed):
        foretold = f"{peak:.1f} of {one['gpu_gib']:.1f} GiB" if peak and one["gpu_gib"] else "out of memory" \
            if one["foretold_out_of_memory"] else one["problem"]
        return f"{name} {foretold} foretold; {'out of memory' if one['out_of_memory'] else one['training_problem'] or 'trained'}"
    real = one["gib"]
    memory = f"{peak:6.2f} GiB foretold, {real:6.2f} measured ({peak / real - 1:+.1%}); " if peak and real else ""
    return (f"{name} {memory}{speed:8,.0f} tokens/s foretold, {one['tokens_per_second']:8,.0f} measured "
            f"({speed / one['tokens_per_second'] - 1:+.1%}); {one['rehearsal_seconds']:.0f} and {one['training_seconds']:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("settings", type=Path)
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found: list[dict[str, Any]] = []
    course = None
    with tempfile.TemporaryDirectory() as folder:
        for line in given.settings.read_text(encoding="utf-8").splitlines():
            name, _, words = line.partition("\t")
            config = resolve_config([given.config], shlex.split(words))
            judgement = judge(config, look(config, say=lambda text: None), ())
            config, facts = judgement.config, judgement.facts
            course = course or Course(config, facts, Path(folder))
            found.append({"name": name, "overrides": words, **compare(course, config, facts, given.steps)})
            print(render(found[-1]), flush=True)
            if given.out:
                given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        if course:
            course.stop()


if __name__ == "__main__":
    sys.exit(main())
