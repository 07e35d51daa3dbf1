"""`swift-fa sweep` in real processes, with a stand-in for the training: what is started, where it goes on, what is left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from imitation import make_swift  # type: ignore[import-not-found]

CONFIG = """
swift: {model: org/m, dataset: rows.jsonl, max_steps: 6, save_steps: 2, learning_rate: 1e-4, packing: false, attn_impl: sdpa,
        output_dir: out}
swanlab: {mode: disabled}
run: {speedups: never}
launch: {grace: 2}
"""
#: What stands in the way of a training where neither torch nor a hub is.
ALLOWED = ("torch-missing", "model-missing", "model-incomplete", "ms-swift-missing", "swift-not-ms-swift", "torch-cpu-only",
           "package-missing")
GRID = ("swift.learning_rate=1e-4,2e-4,3e-4", "swift.lora_rank=8,16")


class Work:
    """A folder with a config, and sweeps in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        make_swift(folder / "site")
        (self.folder / "c.yaml").write_text(CONFIG)
        (self.folder / "rows.jsonl").write_text(json.dumps({"messages": [{"role": "user", "content": "a"},
                                                                         {"role": "assistant", "content": "b"}]}) + "\n")
        self.env = {**os.environ, "PYTHONPATH": str(folder / "site"), "HF_HUB_OFFLINE": "1"}

    def start(self, *words: str, **does: Any) -> subprocess.Popen[str]:
        allow = [word for code in ALLOWED for word in ("--allow", code)] if "--continue" not in words else []
        return subprocess.Popen([sys.executable, "-m", "swift_fa_launcher", "sweep", *words, *allow], cwd=self.folder, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**self.env, "IMITATION": json.dumps(does)})

    def sweep(self, *words: str, code: int = 0, **does: Any) -> dict[str, Any]:
        child = self.start(*words, "--json", **does)
        out, err = child.communicate(timeout=240)
        assert child.returncode == code, f"{out[-3000:]}\n{err[-3000:]}"
        told: dict[str, Any] = json.loads(out)
        return told

    def runs(self) -> list[dict[str, Any]]:
        said = subprocess.run([sys.executable, "-m", "swift_fa_launcher", "runs", "--json"], cwd=self.folder, env=self.env,
                              capture_output=True, text=True, check=True).stdout
        listed: list[dict[str, Any]] = json.loads(said)["runs"]
        return listed

    def steps(self) -> int:
        """Lines that all trainings have logged together."""
        return sum(len(log.read_text().splitlines()) for log in self.folder.glob("out/*/v*/logging.jsonl"))

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline", "cwd"]):
            if str(self.folder.parent) in " ".join([*(process.info["cmdline"] or ()), process.info["cwd"] or ""]):
                found.append(process)
        return found


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    made = Work(tmp_path)
    yield made
    wait(lambda: not made.processes(), "nothing is left behind")


def wait(holds: Callable[[], Any], what: str, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.1)


def wait_for_steps(work: Work, child: subprocess.Popen[str], count: int) -> None:
    """Until the trainings have logged so many together."""
    while work.steps() < count:
        assert child.poll() is None, child.communicate()
        time.sleep(0.1)


def losses(run: dict[str, Any]) -> dict[str, float]:
    rows = [json.loads(line) for line in (Path(run["output_dir"]) / "logging.jsonl").read_text().splitlines()]
    return {row["global_step/max_steps"]: row["loss"] for row in rows if "loss" in row}


def test_a_sweep_whose_launcher_is_killed_goes_on_to_its_table(work: Work, tmp_path: Path) -> None:
    does: dict[str, Any] = {"seconds": 0.25, "fail_if": {"learning_rate": "1e-4", "lora_rank": "16"}}
    child = work.start("c.yaml", *GRID, "--parallel", "2", **does)
    wait_for_steps(work, child, 13)
    child.kill()
    child.communicate()
    wait(lambda: len(work.processes()) == 0, "a killed sweep takes its members with it")
    before = {run["id"]: run for run in work.runs()}
    (parent,) = (run for run in before.values() if run["kind"] == "sweep")
    assert parent["status"] == "unfinished" and {run["parent"] for run in before.values()} == {None, parent["id"]}
    done = {run["id"] for run in before.values() if run["status"] in ("finished", "failed")}
    assert done and len(before) < 7

    told = work.sweep("c.yaml", *GRID, "--parallel", "2", code=1, **does)  # the same command
    assert told["sweep"] == parent["id"] and len(told["members"]) == 6
    *good, bad = told["members"]
    assert {one["state"] for one in good} == {"finished"} and [one["loss"] for one in good] == sorted(one["loss"] for one in good)
    assert bad["state"] == "failed" and bad["settings"] == {"swift.learning_rate": "1e-4", "swift.lora_rank": "16"}
    assert bad["exit_code"] == 1 and bad["diagnoses"][0]["code"] == "unknown"
    after = {run["id"]: run for run in work.runs()}
    assert done <= {one["runs"][0] for one in told["members"] if len(one["runs"]) == 1}, "what had ended was not started again"
    # a member that was cut off went on from its checkpoint to the losses of one that was not
    resumed = [run for run in after.values() if run["resumed_from"]]
    assert all(before[run["parent"]]["status"] == "interrupted" for run in resumed)
    whole = {one["settings"]["swift.learning_rate"]: losses(after[one["runs"][0]]) for one in good if len(one["runs"]) == 1}
    for one in good:
        assert losses(after[one["runs"][-1]]) == whole.get(one["settings"]["swift.learning_rate"], losses(after[one["runs"][-1]]))
        assert len(losses(after[one["runs"][-1]])) == 6
    # and now it is through: its table comes without a training, and the same command is another sweep
    assert work.sweep("--continue", "latest", code=1) == told and len(work.runs()) == len(after)
    shown = subprocess.run([sys.executable, "-m", "swift_fa_launcher", "show", parent["id"]], cwd=work.folder, env=work.env,
                           capture_output=True, text=True, check=True).stdout
    assert all(one["runs"][-1] in shown for one in told["members"]) and "train.log" not in shown


def test_ctrl_c_ends_all_members_and_leaves_nothing(work: Work) -> None:
    child = work.start("c.yaml", "swift.learning_rate=1e-4,2e-4,3e-4", "--parallel", "2", seconds=1.0)
    wait_for_steps(work, child, 6)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130 and not work.processes(), err
    (sweep,) = [run for run in work.runs() if run["kind"] == "sweep"]
    assert sweep["status"] == "interrupted" and f"swift-fa sweep --continue {sweep['id']}" in err
    assert len(re.findall(r"interrupted", out)) == 2 and "waiting" in out
    told = work.sweep("--continue", sweep["id"])
    assert [one["state"] for one in told["members"]] == ["finished"] * 3 and told["members"][0]["settings"] == {
        "swift.learning_rate": "3e-4"}


def test_an_end_from_outside(work: Work) -> None:
    child = work.start("c.yaml", "swift.learning_rate=1e-4,2e-4", seconds=3)
    wait_for_steps(work, child, 1)
    (sweep,) = [run for run in work.runs() if run["kind"] == "sweep"]
    assert sweep["state"] == "running"
    subprocess.run([sys.executable, "-m", "swift_fa_launcher", "runs", "--end", sweep["id"]], cwd=work.folder, env=work.env,
                   check=True, capture_output=True)
    child.communicate(timeout=60)
    assert child.returncode == 143 and {run["status"] for run in work.runs()} == {"interrupted"}


def test_overlays_evaluations_and_a_choice(work: Work) -> None:
    (work.folder / "o.yaml").write_text("swift: {learning_rate: 5e-4, tuner_type: full}\n---\nswift: {learning_rate: 1e-4}\n")
    told = work.sweep("c.yaml", "--overlays", "o.yaml", "swift.seed=1,2", "--parallel", "4", every=2, evaluate=0.01)
    assert told["metric"] == "eval_loss" and len(told["members"]) == 4
    best = told["members"][0]
    assert best["settings"] == {"swift.learning_rate": "0.0005", "swift.tuner_type": '"full"', "swift.seed": "1"}
    assert best["eval_loss"] == pytest.approx(best["loss"] * 1.1)
    few = work.sweep("c.yaml", *GRID, "--random", "2", "--dry-run")["members"]
    assert len(few) == 2 and few == work.sweep("c.yaml", *GRID, "--random", "2", "--dry-run")["members"]


def test_nothing_starts_where_one_member_could_not(work: Work) -> None:
    child = work.start("c.yaml", "swift.dataset=rows.jsonl,nix.jsonl")
    _, err = child.communicate(timeout=60)
    assert child.returncode == 1 and "dataset-missing" in err and "c-2" in err and not (work.folder / "runs").exists()
    assert work.sweep("c.yaml", "swift.dataset=rows.jsonl,nix.jsonl", "--dry-run", code=1)["members"]


@pytest.mark.parametrize(("words", "said"), [
    (["c.yaml"], "swift.lora_rank=8,16"), (["c.yaml", "swift.lora_rank=8"], "swift.lora_rank=8,16"),
    (["c.yaml", *GRID, "--parallel", "0"], "--parallel"), (["--continue", "x", "swift.seed=1,2"], "--continue"),
    (["c.yaml", "--overlays", "nix.yaml"], "nix.yaml"), (["c.yaml", "swift.seed=1,"], "swift.seed=null"),
    (["--continue", "nothing"], "nothing"), (["swift.seed=1,2"], "config")])
def test_a_wrong_sweep_is_refused_with_one_clear_message(work: Work, words: list[str], said: str) -> None:
    child = work.start(*words)
    out, err = child.communicate(timeout=60)
    assert child.returncode in (1, 2) and said in err and "Traceback" not in err and not out
