"""A run that is kept alive: restarted after what passes, ended where it stalls; with a stand-in for the training."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from by_path import load_file
from imitation import make_swift  # type: ignore[import-not-found]
from machines import machine

from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.errors import Words, render_words
from swift_fa_launcher.runs.record import read_record
from swift_fa_launcher.runs.store import see_run
from swift_fa_launcher.stories.launch import Finished, Judgement, launch, plan_launch

OOM_COUNTED = "oom_kill " in Path("/proc/vmstat").read_text() if Path("/proc/vmstat").is_file() else False


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def train(work: Path, monkeypatch: pytest.MonkeyPatch, does: dict[str, Any], *overrides: str) -> tuple[Finished, list[str]]:
    facts = machine(python__executable=sys.executable, swift__module=str(make_swift(work / "site")))
    monkeypatch.setenv("IMITATION", json.dumps(does))
    config = resolve_config([], ["swanlab.mode=disabled", "run.name=one", "run.speedups=never", "launch.grace=1",
                                 "swift.max_steps=8", "swift.save_steps=2", "swift.learning_rate=1e-4", "swift.output_dir=out",
                                 *overrides])
    said: list[Words] = []
    with open("screen", "wb") as screen:
        finished = launch(plan_launch(Judgement(config, facts, ())), screen=screen, screen_errors=screen, say=said.append)
    return finished, [render_words(words, "en") for words in said]


def losses(finished: Finished) -> dict[str, float]:
    """Step to loss, the last that was logged for it."""
    log = Path(finished.record.output_dir or "", "logging.jsonl").read_text()
    rows = [json.loads(line) for line in log.splitlines()]
    return {row["global_step/max_steps"]: row["loss"] for row in rows if "loss" in row}


def test_a_run_that_is_stopped_twice_ends_as_one_that_was_not(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished, said = train(work, monkeypatch, {"die_at": {"4": signal.SIGTERM, "7": signal.SIGTERM}}, "launch.restarts=3")
    record = read_record(finished.folder)
    assert finished.outcome.exit_code == 0 and record.status == "finished", said
    assert [(one["exit_code"], one["codes"][0], one["step"], one["log"]) for one in record.attempts] == [
        (143, "interrupted", 2, "train-1.log"), (143, "interrupted", 6, "train-2.log")]
    assert record.attempts[1]["checkpoint"].endswith("checkpoint-6") and (finished.folder / "train-2.log").is_file()
    assert "interrupted: restart 1 of 3, from step 2" in said
    whole, _ = train(work / "again", monkeypatch, {})
    assert losses(finished) == losses(whole) and len(losses(whole)) == 8
    assert see_run(finished.folder).progress.step == 8


@pytest.mark.skipif(not OOM_COUNTED, reason="this kernel does not count what it kills for memory")
def test_a_kill_that_was_not_for_memory_passes(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished, said = train(work, monkeypatch, {"die_at": {"4": signal.SIGKILL}}, "launch.restarts=1")
    assert finished.outcome.exit_code == 0 and [one["codes"] for one in finished.record.attempts] == [["interrupted"]], said


def test_a_run_that_dies_at_the_same_place_is_given_up(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished, said = train(work, monkeypatch, {"die_at": {"3": signal.SIGTERM, "4": signal.SIGTERM}}, "launch.restarts=5",
                           "swift.add_version=false")
    assert finished.outcome.exit_code == 143 and finished.record.status == "failed" and len(finished.record.attempts) == 1
    assert said[-1] == "not restarted: no new whole checkpoint since step 2"
    assert [one.code for one in finished.diagnoses] == ["interrupted"]


@pytest.mark.parametrize(("overrides", "does"), [
    (["launch.restarts=3"], {"fail_if": {"learning_rate": "1e-4"}}), ([], {"die_at": {"3": signal.SIGTERM}})])
def test_a_lasting_cause_and_a_run_that_may_not(work: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str],
                                                 does: dict[str, Any]) -> None:
    finished, _ = train(work, monkeypatch, does, *overrides)
    assert finished.record.status == "failed" and not finished.record.attempts and not (finished.folder / "train-1.log").exists()


def test_a_run_without_a_checkpoint_begins_anew_once(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished, said = train(work, monkeypatch, {"die_at": {"1": signal.SIGTERM}}, "launch.restarts=5", "swift.add_version=false")
    assert finished.outcome.exit_code == 0 and "interrupted: restart 1 of 5, from the beginning" in said
    assert finished.record.attempts[0]["checkpoint"] is None


def test_a_stalled_run_is_ended_with_its_stacks_kept_and_continued(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished, said = train(work, monkeypatch, {"stall_at": 6, "seconds": 0.3}, "launch.restarts=1", "launch.stall_timeout=2")
    (attempt,) = finished.record.attempts
    assert finished.outcome.exit_code == 0 and attempt["codes"] == ["stalled"] and attempt["step"] == 4, said
    stacks = (finished.folder / "stacks.txt").read_text()
    assert "sft.py" in stacks.splitlines()[0] and 'sft.py", line' in stacks
    assert "no progress for" in attempt["detail"] and "stacks of 1 processes" in (finished.folder / "train-1.log").read_text()
    assert len(losses(finished)) == 8


def test_a_slow_evaluation_and_no_limit_end_nothing(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = {"every": 4, "evaluate": 3.0, "seconds": 0.1}
    finished, _ = train(work, monkeypatch, slow, "launch.stall_timeout=0.5")
    assert finished.outcome.exit_code == 0 and not (finished.folder / "stacks.txt").exists()
    pulse = json.loads((finished.folder / "pulse.json").read_text())
    assert pulse["longest"]["evaluating"] >= 3.0 and 0.05 < pulse["median"] < 3.0
    finished, _ = train(work / "off", monkeypatch, slow, "launch.stall_timeout=null")
    assert finished.outcome.exit_code == 0 and not (finished.folder / "pulse.json").exists()


@pytest.mark.stack
def test_one_message_is_sent_of_a_run_that_was_killed(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with load_file(Path(__file__).parents[1] / "training" / "fake_swanlab.py").fake_swanlab() as cloud:
        message = ("swanlab.mode=offline", "swanlab.notification.method=lark", "swanlab.notification.email_language=en",
                   f"swanlab.notification.webhook_url={cloud.address}/hook/MARKER1TOKEN",
                   "swanlab.notification.secret=MARKER2SECRET")
        finished, said = train(work, monkeypatch, {"die_at": {"3": signal.SIGTERM, "4": signal.SIGTERM}}, "launch.restarts=3",
                               "swift.add_version=false", *message)
        assert finished.record.status == "failed" and len(finished.record.attempts) == 1, said
        (sent,) = cloud.asked("POST", "/hook/MARKER1TOKEN")
        assert sent.body["sign"] and finished.record.id in sent.body["content"]["text"]
        assert not [file for file in finished.folder.rglob("*") if file.is_file() and b"MARKER" in file.read_bytes()]
        train(work / "well", monkeypatch, {}, *message)
        assert len(cloud.requests) == 1, "a training that ends well tells that itself"
