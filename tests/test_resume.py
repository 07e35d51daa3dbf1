"""Real trainings that are cut off, continued and repeated, and one whose SwanLab server goes away."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny  # type: ignore[import-not-found]
from by_path import load_file

pytestmark = pytest.mark.training

CUT_AT, STEPS = 4, 6
#: Loaded into the training: ends it when half of the optimizer's file of a checkpoint is written, once each.
CUT_OFF = """
import os, signal, torch

class Dying:
    def __init__(self, file):
        self.file, self.left = open(file, "wb"), 40_000
    def write(self, data):
        self.left -= len(data)
        written = self.file.write(data)
        self.file.flush()
        if self.left < 0:
            os.kill(os.getpid(), int(os.environ.get("CUT_OFF_BY", signal.SIGKILL)))
        return written
    def flush(self):
        self.file.flush()

whole_save = torch.save

def save(obj, f, *more, **words):
    for step in os.environ.get("CUT_OFF_AT", "").split(","):
        cut = os.path.join(os.path.dirname(os.path.dirname(str(f))), f"cut-{step}")
        if str(f).endswith(f"checkpoint-{step}/optimizer.pt") and not os.path.exists(cut):
            open(cut, "w").close()
            f = Dying(f)
    whole_save(obj, f, *more, **words)

torch.save = save
"""
CONFIG = tiny.CPU_LORA + """
  lora_rank: 8
  max_steps: {steps}
  save_steps: 2
  gradient_accumulation_steps: 2
  logging_steps: 1
  learning_rate: 2e-4
  seed: 7
  external_plugins: {folder}/cut_off.py
  output_dir: out put
swanlab: {{mode: offline, project: p, experiment: e}}
run: {{name: cut}}
launch: {{grace: 5}}
"""


def start(work: Path, *words: str, **env: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "swift_fa_launcher", *words], cwd=work, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1", **env})


def swift_fa(work: Path, *words: str, code: int = 0, **env: str) -> tuple[str, str]:
    child = start(work, *words, **env)
    out, err = (text.decode() for text in child.communicate())
    assert child.returncode == code, f"{out[-3000:]}\n{err[-3000:]}"
    return out, err


def runs(work: Path) -> list[dict[str, Any]]:
    """Oldest first."""
    listed: list[dict[str, Any]] = json.loads(swift_fa(work, "runs", "--json")[0])["runs"]
    return listed[::-1]


def losses(run: dict[str, Any]) -> dict[str, float]:
    """Step to loss, as the version folder's log has it."""
    lines = [json.loads(line) for line in (Path(run["output_dir"]) / "logging.jsonl").read_text().splitlines()]
    return {line["global_step/max_steps"]: line["loss"] for line in lines if "loss" in line}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with two runs that were started in the same second: one whole, one cut off while it saved."""
    folder = tmp_path_factory.mktemp("cut off")
    tiny.make_tiny_model(folder / tiny.MODEL_NAME)
    tiny.make_chat_rows(folder / "chat.jsonl", 60)
    (folder / "cut_off.py").write_text(CUT_OFF)
    work = folder / "work"
    work.mkdir()
    (work / "c.yaml").write_text(CONFIG.format(folder=folder, steps=STEPS), encoding="utf-8")
    cache = {"SWIFT_FA_CACHE": str(folder / "cache")}
    children = [start(work, "train", "c.yaml", **cache), start(work, "train", "c.yaml", CUT_OFF_AT=str(CUT_AT), **cache)]
    said = [child.communicate() for child in children]
    assert [child.returncode for child in children] == [0, 137], said
    yield work


@pytest.fixture
def whole(work: Path) -> dict[str, Any]:
    return next(run for run in runs(work) if run["status"] == "finished" and not run["parent"])


@pytest.fixture
def cut(work: Path) -> dict[str, Any]:
    return next(run for run in runs(work) if run["status"] == "failed")


def test_two_launches_at_once_share_nothing(work: Path, whole: dict[str, Any], cut: dict[str, Any]) -> None:
    assert whole["name"] == cut["name"] and whole["run_dir"] != cut["run_dir"] and whole["output_dir"] != cut["output_dir"]
    assert Path(whole["output_dir"]).parent == Path(cut["output_dir"]).parent
    assert len(losses(whole)) == STEPS and whole["progress"]["step"] == STEPS
    for run in (whole, cut):
        assert json.loads((Path(run["run_dir"]) / "plan.json").read_text())["run_dir"] == run["run_dir"]


def test_a_run_cut_off_while_saving_goes_on_as_if_it_had_not_been(work: Path, whole: dict[str, Any],
                                                                  cut: dict[str, Any]) -> None:
    shown = swift_fa(work, "show", cut["id"])[0]
    assert "optimizer.pt is cut off" in shown and f"swift-fa resume {cut['id']}" in shown
    # a setting that the checkpoint decides is refused, and nothing is started
    assert "resume-setting-ignored" in swift_fa(work, "resume", cut["id"], "swift.lora_rank=4", code=1)[1]
    assert len(runs(work)) == 2

    err = swift_fa(work, "resume", cut["id"])[1]
    assert f"checkpoint-{CUT_AT}: trainer_state.json is missing, optimizer.pt is cut off" in err
    assert f"continuing from {cut['output_dir']}/checkpoint-2" in err
    resumed = runs(work)[-1]
    assert resumed["parent"] == cut["id"] and resumed["resumed_from"].endswith("checkpoint-2")
    assert resumed["output_dir"] == cut["output_dir"] and resumed["status"] == "finished"
    after = {step: loss for step, loss in losses(whole).items() if int(step.partition("/")[0]) > 2}
    assert len(after) == STEPS - 2 and {step: losses(resumed)[step] for step in after} == after
    assert {c["step"]: c["complete"] for c in json.loads(swift_fa(work, "show", "latest", "--json")[0])["checkpoints"]} == {
        2: True, 4: True, 6: True}
    # one SwanLab run in two parts, and the command that joins them
    before = json.loads((Path(cut["run_dir"]) / "swanlab.json").read_text())
    assert resumed["swanlab"]["run_id"] == before["run_id"] and resumed["swanlab"]["dir"] != before["dir"]
    sync = f"swanlab sync --id {before['run_id']}"
    assert f"{sync} '{before['dir']}' && {sync} '{resumed['swanlab']['dir']}'" in err
    # and now there is nothing left to do
    assert "is the last of its 6 steps" in swift_fa(work, "resume", "latest", code=1)[1]
    assert resumed["id"] in swift_fa(work, "rerun", "latest", code=1)[1] and len(runs(work)) == 3


def test_a_run_that_is_stopped_twice_goes_on_by_itself(work: Path, whole: dict[str, Any]) -> None:
    err = swift_fa(work, "train", "c.yaml", "launch.restarts=3", f"run.root={work}/kept", CUT_OFF_AT="4,6",
                   CUT_OFF_BY=str(int(signal.SIGTERM)))[1]
    (run,) = json.loads(swift_fa(work, "runs", "--root", "kept", "--json")[0])["runs"]
    assert run["status"] == "finished" and [(one["codes"], one["step"]) for one in run["attempts"]] == [
        (["interrupted"], 2), (["interrupted"], 4)], err[-3000:]
    assert losses(run) == losses(whole) and len(losses(run)) == STEPS
    pulse = json.loads((Path(run["run_dir"]) / "pulse.json").read_text())
    assert pulse["longest"]["saving"] >= 0 and pulse["step"] == STEPS - 1, pulse
    # one SwanLab run in three parts
    assert len(run["swanlab"]["earlier"]) == 2 and err.count(f"swanlab sync --id {run['swanlab']['run_id']}") == 3
    assert not (Path(run["run_dir"]) / "stacks.txt").exists()


def test_a_repetition_gives_the_same(work: Path, whole: dict[str, Any]) -> None:
    # the files that it was made from may be gone
    (work / "c.yaml").rename(work / "moved.yaml")
    (work.parent / "chat.jsonl").touch()
    try:
        swift_fa(work, "rerun", whole["id"], "--strict")
    finally:
        (work / "moved.yaml").rename(work / "c.yaml")
    again = runs(work)[-1]
    assert again["parent"] == whole["id"] and again["name"] == whole["name"] and again["output_dir"] != whole["output_dir"]
    assert losses(again) == losses(whole) and len(losses(again)) == STEPS
    found = json.loads(swift_fa(work, "diff", whole["id"], again["id"], "--json")[0])["differences"]
    assert not found.keys() - {"data", "result"}, found  # the same command, environment, packages, machine
    assert [one["key"].rpartition(" ")[2] for one in found["data"]] == ["time"]
    assert {one["key"] for one in found.get("result", ())} <= {"runtime", "speed", "tokens_per_second", "peak_memory_gib"}


def test_a_repetition_is_verified_to_the_bit(work: Path, whole: dict[str, Any]) -> None:
    err = swift_fa(work, "rerun", whole["id"], "--verify")[1]
    assert f"the same to the bit: {STEPS} logged steps, and so are the weights" in err
    lines = [json.loads(line) for line in (Path(whole["run_dir"]) / "monitor.jsonl").read_text().splitlines()]
    assert all(line["grad_norm"] > 0 for line in lines)
    told = json.loads(swift_fa(work, "rerun", whole["id"], "--verify", "--json", f"swift.seed={8}", code=2)[0])
    assert told["error"]["code"] == "options-conflict"


def test_an_archive_is_repeated_in_a_fresh_folder_and_environment(work: Path, whole: dict[str, Any], tmp_path: Path) -> None:
    home = {"HOME": str(work.parent)}
    swift_fa(work, "pack", whole["id"], str(tmp_path / "run.tar.gz"), "--data", **home)
    swift_fa(tmp_path, "unpack", "run.tar.gz", "--out", "again", **home)
    fresh = tmp_path / "again"
    venv.create(fresh / ".venv", with_pip=False)  # what pip would install there lies here already
    (site,) = (fresh / ".venv" / "lib").glob("python*/site-packages")
    (site / "here.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")) + "\n")
    swift_fa(fresh, "train", "config.yaml", "launch.python=.venv/bin/python", **home)
    (run,) = runs(fresh)
    assert losses(run) == losses(whole) and str(fresh) in run["output_dir"] and len(losses(run)) == STEPS


def test_a_server_that_goes_away_costs_neither_the_result_nor_the_machine(tmp_path: Path, work: Path) -> None:
    fake_swanlab = load_file(Path(__file__).parent / "training" / "fake_swanlab.py")
    with fake_swanlab.fake_swanlab() as fake:
        child = start(work, "train", "c.yaml", "swanlab.mode=cloud", f"swanlab.host={fake.address}", "run.name=lost",
                      "swanlab.finish_timeout=5", "swift.save_strategy=no", f"run.root={tmp_path}", SWANLAB_API_KEY="k" * 21)
        log = ""
        while not re.search(r"'loss'", log):
            assert child.poll() is None, child.communicate()
            time.sleep(0.2)
            log = "".join(file.read_text(errors="replace") for file in tmp_path.glob("*/train.log"))
    begun = time.monotonic()
    err = child.communicate()[1].decode()
    assert child.returncode == 0, err[-3000:]
    (run,) = json.loads(swift_fa(work, "runs", "--root", str(tmp_path), "--json")[0])["runs"]
    assert run["status"] == "finished" and run["unsent"] and run["progress"]["step"] == STEPS
    assert run["swanlab"]["url"].startswith(fake.address) and Path(run["swanlab"]["dir"]).is_dir()
    assert "upload the rest" in err
    assert f"swanlab sync --id {run['swanlab']['run_id']} {shlex.quote(run['swanlab']['dir'])}" in err
    assert time.monotonic() - begun < 240
    assert not [p for p in Path("/proc").glob("[0-9]*/environ") if _mentions(p, run["id"])]


def _mentions(file: Path, text: str) -> bool:
    try:
        return text.encode() in file.read_bytes()
    except OSError:
        return False
