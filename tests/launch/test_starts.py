"""The launcher starts what `swift sft` would start: asked of the real ms-swift, without its parent process.

Other generations: TRAINING_PYTHON=/path/to/python pytest tests/launch/test_starts.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from swift_fa_launcher.config.layers import resolve_data
from swift_fa_launcher.launch.plan import make_plan
from swift_fa_launcher.machine.collect import collect_facts

pytestmark = pytest.mark.stack
PYTHON = os.environ.get("TRAINING_PYTHON", sys.executable)

#: Imports swift's command line, then lets it start a command that only notes what it was given.
ASK = """
import json, os, subprocess, sys
import swift.cli.main as main
before, seen = dict(os.environ), {}
def note(args, **options):
    seen.update(args=args, options=sorted(options), env={k: v for k, v in os.environ.items() if before.get(k) != v})
    return subprocess.CompletedProcess(args, 0)
subprocess.run = note
sys.argv = ["swift", "sft", *json.loads(sys.argv[1])]
main.cli_main()
print("ANSWER" + json.dumps(seen))
"""
#: What importing swift leaves in the environment of everything that it starts.
IMPORTED = """
import json, os
before = dict(os.environ)
import swift.cli.main
print("ANSWER" + json.dumps({k: v for k, v in os.environ.items() if before.get(k) != v}))
"""


def ask(script: str, *words: str, **env: str) -> Any:
    done = subprocess.run([PYTHON, "-c", script, *words], capture_output=True, text=True, check=False,
                          env={**os.environ, **env})
    if "No module named 'swift'" in done.stderr:
        pytest.skip(f"ms-swift is not installed in {PYTHON}")
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.partition("ANSWER")[2])


@pytest.mark.parametrize("launch", [{}, {"nproc_per_node": 2, "master_port": 29511},
                                    {"nnodes": 2, "node_rank": 1, "master_addr": "127.0.0.1", "nproc_per_node": 4}],
                         ids=["one process", "two processes", "two nodes"])
def test_the_program_is_the_one_that_swift_starts(tmp_path: Path, launch: dict[str, object]) -> None:
    config = resolve_data({"swift": {"model": "a b", "dataset": ["x", "y"], "learning_rate": 2e-4},
                           "swanlab": {"enabled": False}, "launch": {**launch, "python": PYTHON}})
    facts = collect_facts(config, offline=True, probe=False)
    plan = make_plan(config, facts, run_id="r", run_dir=str(tmp_path), cwd=str(tmp_path))
    seen = ask(ASK, json.dumps(plan.argv[2:]), **plan.env)
    assert seen["args"][0] == PYTHON and [str(w) for w in seen["args"][1:]] == list(plan.starts[1:])
    assert seen["options"] == []


def test_the_parent_hands_on_nothing_else() -> None:
    """What the parent's imports put into the environment, the child's own imports put there as well."""
    from_parent = ask(IMPORTED)
    in_child = ask(IMPORTED.replace("swift.cli.main", "swift.cli.main, swift.utils"))
    assert from_parent.items() <= in_child.items()
