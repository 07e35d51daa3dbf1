"""How long a whole process takes to choose one wheel among a saved list of releases: start, imports, parsing, choice.

    python benchmarks/choose.py RELEASES.json FACTS.json [VERSION]

Once as `swift-fa install --dry-run --json` does it, all of the command line included, once by the room of the wheels alone.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

ROOM_ALONE = """
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
    releases, facts, version = sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""
    asked = ["--version", version] if version else []
    command_line = ["-m", "swift_fa_launcher", "install", "--dry-run", "--json", "--facts", facts, "--index", releases, *asked]
    for name, arguments in (("swift-fa install --dry-run --json", command_line),
                            ("the room of the wheels alone", ["-c", ROOM_ALONE, releases, facts, version])):
        print(f"{name}: {_measure([sys.executable, *arguments])}")


def _measure(command: list[str]) -> str:
    taken = []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(RUNS):
        begun = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        taken.append(time.perf_counter() - begun)
        if done.returncode not in (0, 1):  # 1: no wheel fits, which is a choice too
            sys.exit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / RUNS
    return (f"{done.stdout.count('accepted')} candidates, {RUNS} processes: "
            f"median {sorted(taken)[RUNS // 2]:.3f} s, worst {max(taken):.3f} s, processor {busy:.3f} s")


if __name__ == "__main__":
    main()
