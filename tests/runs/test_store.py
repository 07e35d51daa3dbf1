"""Listing runs: states from real processes, filters, and many records with damaged ones among them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psutil
import pytest
from run_records import NOW, start  # type: ignore[import-not-found]

from swift_fa_launcher.cli import main
from swift_fa_launcher.errors import LaunchError, UsageError, render_words
from swift_fa_launcher.launch.local import Outcome
from swift_fa_launcher.runs.listing import USUAL, as_tree, render_list
from swift_fa_launcher.runs.output import Progress, parse_progress, parse_version_folder
from swift_fa_launcher.runs.record import close_record, read_record, update_record
from swift_fa_launcher.runs.report import entry_to_json, render_run, run_to_json
from swift_fa_launcher.runs.store import (
    Wanted,
    find_run,
    list_command,
    list_runs,
    parse_moment,
    remember_root,
    run_word,
    see_run,
    select_runs,
    usual_root,
    with_states,
)
from swift_fa_launcher.stories.launch import end

SWIFT_4 = ('{"loss": 6.2, "epoch": 0.1, "global_step/max_steps": "9/10", "train_speed(s/it)": 3.5}\n'
           '{"loss": 6.1, "epoch": 0.2, "global_step/max_steps": "10/10", "train_speed(s/it)": 3.25}\n')
ENDED = ('{"train_runtime": 34.5, "train_loss": 6.14, "epoch": 0.8, "global_step/max_steps": "10/10", "train_speed(s/it)": 3.3}\n'
         '{"last_model_checkpoint": "/x/checkpoint-10", "global_step": 10, "log_history": [%s{"loss": 6.06, "step": 10}, '
         '{"train_runtime": 34.5, "train_loss": 6.14, "step": 10}], "memory": 0}\n')


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[Path]:
    """A run whose launcher is gone and whose training goes on."""
    folder: Path = start(tmp_path)
    update_record(folder, replace(read_record(folder), pid=2**22 + 1, host=socket.gethostname()))
    child = subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], stdout=subprocess.PIPE,
                             env={**os.environ, "SWIFT_FA_RUN_ID": folder.name})
    assert child.stdout and child.stdout.readline()
    yield folder
    child.kill()
    child.communicate()


def finish(folder: Path, **changes: object) -> None:
    record = close_record(read_record(folder), Outcome(0, None, NOW, NOW + timedelta(seconds=5)))
    update_record(folder, replace(record, **changes))  # type: ignore[arg-type]


def test_a_run_is_running_while_its_launcher_lives(tmp_path: Path) -> None:
    folder = start(tmp_path)
    record = replace(read_record(folder), pid=os.getpid(), host=socket.gethostname())
    update_record(folder, replace(record, pid_started=psutil.Process().create_time()))
    assert see_run(folder).state == "running"
    update_record(folder, replace(record, pid_started=1.0))  # the process id is another's by now
    assert see_run(folder).state == "unfinished"
    update_record(folder, replace(record, host="elsewhere"))
    assert see_run(folder).state == "unfinished"


def test_what_a_killed_launcher_left_running_is_shown_and_can_be_ended(orphan: Path) -> None:
    assert see_run(orphan).state == "orphaned"
    listed = subprocess.run([sys.executable, "-m", "swift_fa_launcher", "runs"], cwd=orphan.parents[1], capture_output=True,
                            text=True, check=True).stdout
    assert "still running" in listed
    ended = end(orphan.parent, orphan.name, say=lambda words: None)
    assert ended.state == "interrupted" and ended.record and ended.record.ended
    said = list[str]()
    assert end(orphan.parent, orphan.name, say=lambda words: said.append(str(words))).record == ended.record
    assert len(said) == 1 and "already" in said[0]
    deadline = time.monotonic() + 10
    while [p for p in psutil.process_iter(["status"]) if p.info["status"] != psutil.STATUS_ZOMBIE and _of(p, orphan.name)]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_run_of_another_host_is_not_ended_here(tmp_path: Path) -> None:
    folder = start(tmp_path)
    update_record(folder, replace(read_record(folder), host="node-7"))
    with pytest.raises(LaunchError) as caught:
        end(folder.parent, folder.name, say=lambda words: None)
    assert "node-7" in str(caught.value.hint) and read_record(folder).status == "unfinished"


def _of(process: psutil.Process, run_id: str) -> bool:
    try:
        return process.pid != os.getpid() and process.environ().get("SWIFT_FA_RUN_ID") == run_id
    except psutil.Error:
        return False


def test_many_runs_with_damaged_ones_among_them(tmp_path: Path) -> None:
    good = start(tmp_path, "good")
    text = (good / "run.json").read_bytes()
    root = good.parent
    for i in range(400):
        folder = root / f"20260101-0000{i % 60:02}-x-{i:04x}"
        folder.mkdir()
        damage = {0: b"", 1: text[:90], 2: b'{"schema": 99}', 3: None}.get(i % 8, text)
        if damage is not None:
            (folder / "run.json").write_bytes(damage)
    (root / "a file").write_text("")
    entries = with_states(list_runs(root))
    assert len(entries) == 401 and [e.folder.name for e in entries] == sorted((e.folder.name for e in entries), reverse=True)
    assert sum(e.state == "damaged" for e in entries) == 200 and all(e.problem for e in entries if e.state == "damaged")
    assert len(select_runs(entries, Wanted(state="damaged"))) == 200
    listed = subprocess.run([sys.executable, "-m", "swift_fa_launcher", "runs"], cwd=tmp_path, capture_output=True, text=True,
                            check=True).stdout
    assert listed.count("damaged") == 200 and len(listed.splitlines()) == 402


@pytest.mark.parametrize("odd", [{"pid": 2**70}, {"pid": -5}, {"output_dir": "a\0b"}, {"cwd": "\0"}, {"result": {"loss": "x"}},
                                 {"started": "0000"}, {"ended": "never"}, {"tags": []}])
def test_odd_values_in_a_record_hide_nothing(tmp_path: Path, odd: dict[str, object]) -> None:
    folder, other = start(tmp_path), start(tmp_path, "other")
    update_record(folder, replace(read_record(folder), **odd))  # type: ignore[arg-type]
    for words in (["runs"], ["runs", "--json"], ["runs", "--since", "2020-01-01"], ["show", folder.name]):
        code = main([*words, "--root", str(tmp_path / "runs")])
        assert code == 0
    listed = render_list(as_tree(with_states(list_runs(folder.parent))), USUAL, "en")
    assert folder.name in listed and other.name in listed


def test_a_damaged_record_says_so_in_both_languages(tmp_path: Path) -> None:
    folder = start(tmp_path)
    (folder / "run.json").write_text(json.dumps({**json.loads((folder / "run.json").read_text()), "command": [1]}))
    problem = see_run(folder).problem
    assert render_words(problem, "en").startswith("command[0]: expected text") and "应为文本" in render_words(problem, "zh")


def test_what_was_measured_is_listed_from_the_record_or_of_an_open_run_at_its_last_step(tmp_path: Path) -> None:
    folder = start(tmp_path)
    lines = [{"seconds": 1.0, "tokens": 1000 if n < 400 else 1234, "tokens_per_second": 1000.0 + n, "padding": 0.25,
              "monitor_seconds": 0, "examples_per_step": 4, "peak_memory_gib": 1.5} for n in range(500)]
    (folder / "monitor.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"seconds": 1, "tok')
    assert see_run(folder).measured["tokens_per_second"] == 1499
    assert "1,047 tokens/s, padding 25.0%" in render_run(see_run(folder), read_record(folder), "en")
    assert render_list([(0, see_run(folder))], USUAL, "en").split()[-1] == "1,499"
    finish(folder, measured={"tokens_per_second": 12345.6, "padding": "odd"})
    entry = see_run(folder)
    assert render_list([(0, entry)], USUAL, "en").split()[-1] == "12,346"
    assert entry_to_json(entry)["measured"]["tokens_per_second"] == run_to_json(entry)["measured"]["tokens_per_second"] == 12345.6
    finish(folder, measured={})  # a record from before the monitor's summary was in it
    assert see_run(folder).measured == {} and run_to_json(see_run(folder))["measured"]["padding"] == 0.25


def test_filters(tmp_path: Path) -> None:
    one = start(tmp_path, "alpha", now=NOW - timedelta(days=2))
    two = start(tmp_path, "alpine", now=NOW)
    finish(two, tags=("best",))
    broken = start(tmp_path, "broken")
    (broken / "run.json").write_text("")
    entries = with_states(list_runs(tmp_path / "runs"))

    def named(wanted: Wanted) -> set[Path]:
        return {entry.folder for entry in select_runs(entries, wanted)}

    assert named(Wanted()) == {one, two, broken}
    assert named(Wanted(name="alp*")) == {one, two} and named(Wanted(name="broken")) == {broken}
    assert named(Wanted(tag="best")) == {two} and named(Wanted(state="finished")) == {two}
    assert named(Wanted(since=NOW - timedelta(days=1))) == {two, broken}
    assert named(Wanted(until=NOW - timedelta(days=1))) == {one}


def test_times_as_people_write_them() -> None:
    now = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
    assert parse_moment("36h", now) == now - timedelta(hours=36) and parse_moment("7d", now) == now - timedelta(days=7)
    assert parse_moment("2026-11-23", now, end=True) - parse_moment("2026-11-23", now) == timedelta(days=1)
    assert parse_moment("2026-11-23T18:30+00:00", now, end=True) == now + timedelta(hours=6.5)
    for text in ("", "soon", "7", "2026-13-01", "99999999d", "9999-12-31"):
        with pytest.raises(UsageError):
            parse_moment(text, now, end=True)


def test_progress_is_read_from_the_end_of_the_log() -> None:
    assert parse_progress(SWIFT_4) == Progress(step=10, steps=10, loss=6.1, speed=3.25)
    assert parse_progress(SWIFT_4 + ENDED % "") == Progress(step=10, steps=10, loss=6.06, train_loss=6.14, speed=3.3,
                                                                runtime=34.5)
    long = SWIFT_4 + ENDED % ('{"loss": 7.0, "step": 1}, ' * 1000)
    assert parse_progress(long[-4096:]) == Progress(step=10, loss=6.06, train_loss=6.14, runtime=34.5)
    assert parse_progress('{"loss": 6.2, "global_step/max_steps": "1/3", "train_speed(iter/s)": 0.5}') == Progress(
        step=1, steps=3, loss=6.2, speed=2.0)  # ms-swift 3.8
    for text in ("", "\x00", '{"loss": ', '{"eval_loss": 1.0}', "[]"):
        assert parse_progress(text) == Progress()


def test_the_version_folder_is_read_from_what_ms_swift_says() -> None:
    folder = "/data/out put/v12-20261123-051500"
    assert parse_version_folder(f"[INFO:swift] output_dir: {folder}\n".encode()) == folder
    assert parse_version_folder(f"[INFO:swift] The logging file will be saved in: {folder}/logging.jsonl".encode()) == folder
    assert parse_version_folder(b"output_dir: /data/out") is None


def test_a_run_is_found_with_its_state(tmp_path: Path) -> None:
    folder = start(tmp_path)
    finish(folder, result={"step": 3, "steps": 3, "loss": 1.5})
    entry = find_run(tmp_path / "runs", "one")
    assert entry.state == "finished" and entry.progress == Progress(step=3, steps=3, loss=1.5)


def test_records_are_found_where_the_last_run_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$SWIFT_FA_ROOT, the root of this folder's last run, ./runs, the last root at all; one that is gone does not count."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here / "own", there / "runs", tmp_path / "new", tmp_path / "named"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    assert usual_root() == Path("runs")
    remember_root(here / "own", here)
    remember_root(there / "runs", there)
    assert usual_root() == here / "own" and run_word(here / "own" / "x") == "x" and run_word(here / "runs" / "x") != "x"
    monkeypatch.chdir(there)
    assert usual_root() == Path("runs") and list_command(here / "own") == f"swift-fa runs --root {here}/own"
    monkeypatch.chdir(tmp_path / "new")
    assert usual_root() == there / "runs"
    (tmp_path / "new" / "runs").mkdir()
    assert usual_root() == Path("runs")
    monkeypatch.chdir(here)
    (here / "own").rmdir()
    assert usual_root() == there / "runs"
    monkeypatch.setenv("SWIFT_FA_ROOT", str(tmp_path / "named"))
    assert usual_root() == tmp_path / "named" and run_word(tmp_path / "named" / "x") == "x"
