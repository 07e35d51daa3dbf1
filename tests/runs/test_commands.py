"""runs, show, diff, rerun and resume as a user meets them; nothing is trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from run_records import make_checkpoint, start  # type: ignore[import-not-found]

from swift_fa_launcher.decode import decode
from swift_fa_launcher.launch.plan import LaunchPlan
from swift_fa_launcher.runs.record import read_record, update_record

OFFLINE = "swanlab: {mode: offline}\nswift: {seed: 1, output_dir: out, attn_impl: sdpa, packing: false}\n"


def swift_fa(folder: Path, *words: str, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "swift_fa_launcher", *words], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, **env}, check=False, timeout=120)
    assert done.returncode == code and "Traceback" not in done.stderr, done.stdout + done.stderr
    return done


@pytest.mark.parametrize(("words", "code", "said"), [
    (["runs", "--since", "soon"], 2, "7d"), (["runs", "--outcome", "fine"], 2, "finished"),
    (["runs", "--end", "nothing"], 1, "no run"), (["show", "nothing"], 1, "no run"),
    (["show", "last"], 1, "did you mean latest?"),
    (["diff", "latest"], 2, "RUN"), (["diff", "one", "nothing"], 1, "no run nothing"),
    (["rerun", "one", "seed=3"], 2, "not a setting"), (["rerun", "one", "--exact", "swift.seed=3"], 2, "--exact"),
    (["rerun", "nothing"], 1, "no run"), (["resume", "one"], 1, "no complete checkpoint"),
    (["resume", "one", "swift.add_version=true"], 2, "itself"),
    (["show", "one", "--requirements", "--root", "elsewhere"], 1, "there is no folder elsewhere"),
    (["runs", "--root", "elsewhere"], 0, "--root FOLDER"), (["runs", "--root", "work/one.yaml"], 1, "Not a directory"),
    (["show", "latest", "--root", "work/one.yaml"], 1, "--root FOLDER"), (["runs", "--root", "work"], 0, "no runs in work"),
    (["runs", "--root", "."], 0, "not a folder of run records"), (["bench"], 2, "-> swift-fa bench swift-fa:qwen7b"),
    (["diagnose", "work"], 2, "FOLDER/train.log"), (["diagnose", "nothing"], 1, "there is no run nothing"),
    (["show", "nothing", "--root", "runs/../runs"], 1, "-> swift-fa runs\n"),
    (["show", "nothing", "--root", "work"], 1, "-> swift-fa runs --root work"),
])
def test_what_cannot_be_done_is_said(tmp_path: Path, words: list[str], code: int, said: str) -> None:
    start(tmp_path)
    assert said in swift_fa(tmp_path, *words, code=code).stderr


def test_the_list_and_the_story(tmp_path: Path) -> None:
    folder = start(tmp_path)
    output = tmp_path / "out" / "v0-20261123-051500"
    make_checkpoint(output, 10)
    (make_checkpoint(output, 20) / "optimizer.pt").write_bytes(b"PK")
    diagnosis = {"code": "gpu-out-of-memory", "line": 7, "evidence": "x", "summary": "no memory",
                 "fix": ["swift.max_length=1024"]}
    update_record(folder, replace(read_record(folder), status="failed", exit_code=1, tags=("a", "b"), output_dir=str(output),
                                  result={"step": 12, "steps": 20, "loss": 1.23456789}, diagnoses=(diagnosis,),
                                  swanlab={"mode": "offline", "dir": "/sw/run 1", "run_id": "r"}))
    (tmp_path / "runs" / "other").mkdir()
    assert "other" in swift_fa(tmp_path, "runs", "--outcome", "damaged").stdout, "shown among records"
    (tmp_path / "runs" / "other").rmdir()
    listed = swift_fa(tmp_path, "runs").stdout.splitlines()
    assert listed[1].split() == [folder.name, "failed", "11-23", "05:00", "12/20", "1.235", "a,", "b"]
    assert swift_fa(tmp_path, "runs", "--tag", "c").stdout == ""
    shown = swift_fa(tmp_path, "show", "one").stdout
    for words in ("failed (1)", "step 12/20, loss 1.23457", "swanlab sync '/sw/run 1'",
                  "gpu-out-of-memory: no memory (train.log:7)", "-> swift.max_length=1024", "warning  gpu-none",
                  "checkpoint-20  (optimizer.pt is cut off)", f"swift-fa resume {folder.name}"):
        assert words in shown
    for step in (1, 2, 3, 4, 5):
        make_checkpoint(output, step)
    shown = swift_fa(tmp_path, "show", "one").stdout
    assert "checkpoint-5\n" in shown and "checkpoint-4" not in shown and "and 4 more; --json lists them all" in shown
    (output / "checkpoint-10" / "optimizer.pt").unlink()
    (output / "checkpoint-5" / "optimizer.pt").unlink()
    assert "checkpoint-4\n  and 3 more" in swift_fa(tmp_path, "show", "one").stdout, "the one to go on from"
    elsewhere = swift_fa(tmp_path, "show", "one", "--root", str(tmp_path / "work" / ".." / "runs")).stdout
    assert f"swift-fa resume {folder.name}" in elsewhere, "the same folder"
    (tmp_path / "runs").rename(tmp_path / "kept")
    assert f"swift-fa resume {tmp_path}/kept/{folder.name}" in swift_fa(tmp_path, "show", "one", "--root", "kept").stdout
    (tmp_path / "kept").rename(tmp_path / "runs")
    assert "失败原因" in swift_fa(tmp_path, "show", "one", "--lang", "zh").stdout
    story = json.loads(swift_fa(tmp_path, "show", "one", "--json").stdout)
    assert story["schema"] == 1 and story["state"] == "failed" and story["findings"][0]["code"] == "gpu-none"
    assert [(c["step"], c["complete"]) for c in story["checkpoints"]] == [
        (20, False), (10, False), (5, False), (4, True), (3, True), (2, True), (1, True)]
    assert json.loads(swift_fa(tmp_path, "runs", "--json").stdout)["runs"][0]["progress"]["loss"] == 1.23456789
    assert swift_fa(tmp_path, "show", "one", "--requirements").stdout.splitlines()[1:] == ["ms-swift==4.6.0"]


def test_a_difference_on_the_command_line(tmp_path: Path) -> None:
    first, second = start(tmp_path), start(tmp_path, overrides=["swift.seed=2"])
    data = json.loads(swift_fa(tmp_path, "diff", first.name, second.name, "--json").stdout)
    assert data["first"] == first.name and data["differences"]["config"] == [{
        "key": "swift.seed", "first": 1, "second": 2, "matters": True,
        "origins": [f"{tmp_path}/work/one.yaml:1", "command line: swift.seed=2"]}]
    assert "  swift.seed\n    - 1" in swift_fa(tmp_path, "diff", first.name, second.name).stdout


def test_a_repetition_is_planned_as_the_run_was(tmp_path: Path) -> None:
    folder = start(tmp_path, text=OFFLINE)
    then = decode(LaunchPlan, json.loads((folder / "plan.json").read_text()))
    os.unlink(tmp_path / "work" / "one.yaml")
    planned = json.loads(swift_fa(tmp_path, "rerun", "one", "swift.seed=2", "--dry-run", "--json", code=1).stdout)
    assert planned["cwd"] == str(tmp_path / "work") and "--seed" in planned["argv"]
    assert planned["argv"][planned["argv"].index("--seed") + 1] == "2"
    exact = swift_fa(tmp_path, "rerun", "one", "--exact", "--dry-run", "--json", code=1)
    again = decode(LaunchPlan, json.loads(exact.stdout))
    assert again.argv == then.argv and again.run_dir != then.run_dir
    assert {n: v.replace(again.run_dir, then.run_dir).replace(Path(again.run_dir).name, folder.name)
            for n, v in again.env.items()} == dict(then.env)
    # this machine is not the one of the record: what differs is said, and strict refuses
    assert "packages\n  " in exact.stderr
    refused = swift_fa(tmp_path, "rerun", "one", "--strict", code=1)
    assert "differences could change the result" in refused.stderr and refused.stdout == ""
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == [folder.name]


def test_a_repetition_whose_folder_is_gone(tmp_path: Path) -> None:
    folder = start(tmp_path)
    update_record(folder, replace(read_record(folder), cwd=str(tmp_path / "gone")))
    assert str(tmp_path / "gone") in swift_fa(tmp_path, "rerun", "one", code=1).stderr
