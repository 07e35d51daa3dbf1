"""Pruning: what goes, what stays and why, and that nothing outside a run's own folders is touched."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from run_records import NOW, make_checkpoint, start, write_curves  # type: ignore[import-not-found]

from swift_fa_launcher.cli import main
from swift_fa_launcher.runs.record import read_record, update_record

CHOSEN = ("--name", "*")


def make(tmp_path: Path, name: str, minute: int = 0, **changes: Any) -> Path:
    folder: Path = start(tmp_path, name, now=NOW + timedelta(minutes=minute))
    update_record(folder, replace(read_record(folder), **{"status": "finished", "host": socket.gethostname(), **changes}))
    return folder


def prune(tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["prune", *words, "--root", str(tmp_path / "runs"), "--json", "--lang", "en"]) == 0
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    return data


def left(tmp_path: Path) -> set[str]:
    return {folder.name.split("-")[2] for folder in (tmp_path / "runs").iterdir()}


def why(data: dict[str, Any]) -> dict[str, str]:
    return {one["run"].split("-")[2]: one["why"] for one in data["kept"]}


def test_first_it_says_what_would_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(tmp_path, "bad", status="failed", tags=("t",))
    make(tmp_path, "good", 1)
    (folder / "train.log").write_bytes(b"x" * 5000)
    told = prune(tmp_path, capsys, "--outcome", "failed", "--older-than", "1h")
    assert told["removed"] is False and 5000 < told["bytes"] < 100_000 and [one["run"] for one in told["runs"]] == [folder.name]
    assert main(["prune", "--outcome", "failed", "--root", str(tmp_path / "runs"), "--lang", "en"]) == 0
    said = capsys.readouterr()
    assert "1 of 1 runs" in said.err and f"swift-fa prune --outcome failed --root {tmp_path}/runs --yes" in said.err
    assert "KiB" in said.out and left(tmp_path) == {"bad", "good"}
    assert main(["prune", "--yes", "--root", str(tmp_path / "runs"), "--lang", "en"]) == 2, "nothing was chosen"
    assert "no runs were chosen" in capsys.readouterr().err
    assert prune(tmp_path, capsys, "--outcome", "failed", "--yes")["removed"] is True and left(tmp_path) == {"good"}
    assert not [name for name in os.listdir(tmp_path / "runs") if name.startswith(".")]


def test_the_printed_command_names_the_folder_that_was_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """./runs is not where a command looks that names no folder, while $SWIFT_FA_ROOT names another."""
    make(tmp_path, "bad", status="failed", exit_code=1)
    monkeypatch.chdir(tmp_path)
    for elsewhere, words in ((tmp_path / "elsewhere", "--outcome failed --root runs --yes"),
                             (tmp_path / "runs", "--outcome failed --yes")):
        monkeypatch.setenv("SWIFT_FA_ROOT", str(elsewhere))
        assert main(["prune", "--outcome", "failed", "--root", "runs", "--lang", "en"]) == 0
        assert f"swift-fa prune {words}" in capsys.readouterr().err


def test_by_age_tag_and_parent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = make(tmp_path, "old", tags=("old",))
    make(tmp_path, "child", 5, parent=old.name)
    make(tmp_path, "other", 10)
    for option, word, names in (("--older-than", "2026-11-23T05:07+00:00", ["child", "old"]), ("--tag", "old", ["old"]),
                                ("--parent", "old", ["child"]), ("--name", "oth*", ["other"])):
        assert [one["run"].split("-")[2] for one in prune(tmp_path, capsys, option, word)["runs"]] == names


def test_what_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, "going")
    make(tmp_path, "tagged", 1, tags=("keep",))
    make(tmp_path, "elsewhere", 2, status="unfinished", host="node-7")
    make(tmp_path, "queued", 3, status="queued")  # a state of a later version
    make(tmp_path, "alive", 4, status="unfinished", pid=os.getpid(), pid_started=psutil.Process().create_time())
    gone = make(tmp_path, "gone", 5, status="unfinished", pid=2**22 + 1)
    busy = make(tmp_path, "busy", 6)  # its end is written, its processes upload
    child = subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], stdout=subprocess.PIPE,
                             env={**os.environ, "SWIFT_FA_RUN_ID": busy.name})
    try:
        assert child.stdout and child.stdout.readline()
        told = prune(tmp_path, capsys, *CHOSEN, "--yes")
    finally:
        child.kill()
        child.communicate()
    assert left(tmp_path) == {"tagged", "elsewhere", "queued", "alive", "busy"}
    assert why(told) == {"tagged": "it has the tag keep", "busy": "its processes are running", **{
        name: f"it may still be running on {host}" for name, host in (
            ("elsewhere", "node-7"), ("queued", socket.gethostname()), ("alive", socket.gethostname()))}}
    assert not gone.exists()


def test_the_best_of_a_sweep_and_the_sweep_itself_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = make(tmp_path, "sweep", kind="sweep")
    for number, (loss, evaluated) in enumerate(((1.0, 3.0), (2.0, 1.0), (0.5, None))):
        output = tmp_path / "out" / f"v{number}-20261123-050000"
        if evaluated:
            write_curves(sweep, output, 1)
            (output / "logging.jsonl").write_text(json.dumps({"eval_loss": evaluated, "global_step/max_steps": "1/1"}))
        make(tmp_path, f"m{number}", number + 1, parent=sweep.name, result={"loss": loss}, output_dir=str(output))
    told = prune(tmp_path, capsys, *CHOSEN, "--yes")
    assert left(tmp_path) == {"sweep", "m1"} and why(told) == {
        "m1": "it is the best of its sweep", "sweep": "runs of this sweep stay"}


def test_checkpoints_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out" / "v0-20261123-050000"
    for step in (10, 20):
        make_checkpoint(output, step)
    (output / "logging.jsonl").write_text("{}")
    precious = make_checkpoint(tmp_path / "elsewhere", 30)
    (output / "checkpoint-30").symlink_to(precious)
    one = make(tmp_path, "one", output_dir=str(output))
    kept = make(tmp_path, "kept", 1, output_dir=str(output), parent=one.name, tags=("keep",))
    shared = tmp_path / "shared"
    make_checkpoint(shared, 5)
    make(tmp_path, "unversioned", 2, output_dir=str(shared))
    linked = tmp_path / "out" / "v9-20261123-050000"
    linked.symlink_to(tmp_path / "elsewhere")
    make(tmp_path, "linked", 3, output_dir=str(linked))
    assert main(["prune", *CHOSEN, "--root", str(tmp_path / "runs"), "--lang", "en"]) == 0
    assert f"--name '*' --root {tmp_path}/runs --checkpoints --yes" in capsys.readouterr().err, "a record's end loses them"
    words = (*CHOSEN, "--checkpoints", "--yes")
    assert why(prune(tmp_path, capsys, *words))["one"] == "another run has the same output folder"
    update_record(kept, replace(read_record(kept), tags=()))
    told = prune(tmp_path, capsys, "--name", "[ok]*", "--checkpoints", "--yes")
    assert sorted(path.name for path in output.iterdir()) == ["checkpoint-30", "logging.jsonl"] and told["bytes"] > 0
    others = "may hold other runs' checkpoints"
    assert why(prune(tmp_path, capsys, *words)) == {
        "one": "it has no checkpoints", "kept": "it has no checkpoints", "linked": f"{tmp_path}/elsewhere {others}",
        "unversioned": f"{shared} {others}"}
    assert precious.is_dir() and (shared / "checkpoint-5").is_dir() and left(tmp_path) == {"one", "kept", "linked", "unversioned"}


def test_no_link_is_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "weights").write_text("x" * 10_000)
    folder = make(tmp_path, "one")
    (folder / "link").symlink_to(precious)
    (folder / "file").symlink_to(precious / "weights")
    outside = shutil.copytree(folder, tmp_path / "20261101-000000-outside-0000", symlinks=True)
    (tmp_path / "runs" / outside.name).symlink_to(outside)
    (tmp_path / "runs" / "no-run-mine").mkdir()
    told = prune(tmp_path, capsys, *CHOSEN, "--yes")
    assert (precious / "weights").is_file() and outside.is_dir() and left(tmp_path) == {"outside", "mine"}
    assert told["bytes"] < 100_000 and why(told) == {"outside": "its folder is a link"}
    told = prune(tmp_path, capsys, "--outcome", "damaged", "--yes")
    assert why(told) == {"mine": "it is no run's folder: there is no run.json"}


def test_what_a_cut_off_removal_left_goes_with_the_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, "one")
    half = tmp_path / "runs" / ".20260101-000000-half-0000.removed"
    half.mkdir()
    (half / "run.json").write_text("{}")
    prune(tmp_path, capsys, *CHOSEN, "--yes")
    assert not any((tmp_path / "runs").iterdir())


def test_a_damaged_record_goes_only_where_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (make(tmp_path, "one") / "run.json").write_text("{")
    assert prune(tmp_path, capsys, *CHOSEN, "--yes")["runs"] == [] and left(tmp_path) == {"one"}
    assert prune(tmp_path, capsys, "--outcome", "damaged", "--yes")["runs"] and left(tmp_path) == set()
