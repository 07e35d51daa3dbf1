"""How long a whole process takes to choose one wheel among a saved list of releases: start, imports, parsing, choice.

    python benchmarks/choose.py RELEASES.json FACTS.json [VERSION]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

PROGRAM = """
import json, sys
from swift_fa_launcher.machine.facts import parse_facts
from swift_fa_launcher.wheels.choose import choice_to_json, choose_wheel
from swift_fa_launcher.wheels.sources import read_sources

releases, facts_file, version = sys.argv[1:4]
with open(facts_file) as stream:
    facts = parse_facts(json.load(stream), facts_file)
offered = [c for report in read_sources([releases]) for c in report.candidates]
print(json.dumps(choice_to_json(choose_wheel(facts, offered, version=version or None))))
"""
RUNS = 9


def main() -> None:
    """Prints the median and the worst of several processes, and the processor's share of one, in seconds."""
    arguments = [*sys.argv[1:3], sys.argv[3] if len(sys.argv) > 3 else ""]
    taken = []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(RUNS):
        begun = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
        taken.append(time.perf_counter() - begun)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / RUNS
    print(f"{done.stdout.count('filename') - 1} candidates, {RUNS} processes: "
          f"median {sorted(taken)[RUNS // 2]:.3f} s, worst {max(taken):.3f} s, processor {busy:.3f} s")


if __name__ == "__main__":
    main()
