"""Repeating and continuing recorded runs, up to the start."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from run_records import make_checkpoint, start  # type: ignore[import-not-found]

from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.errors import LauncherError, LaunchError, RecordError, UsageError
from swift_fa_launcher.launch.plan import LaunchPlan
from swift_fa_launcher.runs.again import (
    continue_run,
    continue_swanlab,
    news,
    read_plan,
    recorded_kernel,
    refuse_to_repeat,
    renew_plan,
    repeated_config,
    unexpected,
)
from swift_fa_launcher.runs.diff import Difference
from swift_fa_launcher.runs.record import RunRecord, read_record, update_record
from swift_fa_launcher.runs.store import Entry, see_run

TEXT = "swift: {seed: 1, system: '${oc.env:GREETING,hello}'}\n"


def seen(folder: Path, **changes: object) -> tuple[Entry, RunRecord]:
    record = replace(read_record(folder), **changes)  # type: ignore[arg-type]
    update_record(folder, record)
    return see_run(folder), record


def test_layers_are_resolved_again_without_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "base.yaml").write_text("swift: {seed: 5, max_length: 99}\n")
    folder = start(tmp_path, text=f"extends: base.yaml\n{TEXT}", overrides=["swift.lora_rank=4"])
    for file in (tmp_path / "work").iterdir():
        file.unlink()
    entry, record = seen(folder)
    then = json.loads((folder / "config.json").read_text())["values"]
    config = repeated_config(entry, record, ())
    assert dict(config.values) == then and config.swift["max_length"] == 99 and config.swift["seed"] == 1
    assert str(config.origins["swift.max_length"]) == f"{folder}/layers/0/base.yaml:1"
    assert repeated_config(entry, record, ["swift.seed=2", "swift.lora_rank=8"]).swift["lora_rank"] == 8
    # the environment is today's, unless the recorded values are asked for
    monkeypatch.setenv("GREETING", "good evening")
    assert repeated_config(entry, record, ()).swift["system"] == "good evening"
    assert dict(repeated_config(entry, record, (), exact=True).values) == then


def test_a_secret_that_is_not_in_the_record_is_asked_for(tmp_path: Path) -> None:
    folder = start(tmp_path, text="env: {X_TOKEN: marker-7f3a9c}\n", hidden=("marker-7f3a9c",))
    entry, record = seen(folder)
    for exact in (False, True):
        with pytest.raises(LaunchError, match=r"env\.X_TOKEN") as caught:
            repeated_config(entry, record, (), exact=exact)
        assert "env.X_TOKEN='${oc.env:NAME}'" in str(caught.value.hint)
    assert repeated_config(entry, record, ["env.X_TOKEN=new"]).env["X_TOKEN"] == "new"


def test_a_plan_is_renewed_in_nothing_but_id_and_folder(tmp_path: Path) -> None:
    env = {"SWIFT_FA_RUN_ID": "old-1", "P": '{"log_dir": "/r/old-1/swanlab"}'}
    plan = LaunchPlan(argv=("swift", "sft", "--logging_dir", "/r/old-1/tb"), starts=("python", "/r/old-1/x"), env=env,
                      secrets=("K",), cwd="/w", run_dir="/r/old-1")
    new = renew_plan(plan, "new-2", "/s/new-2")
    assert new.argv[-1] == "/s/new-2/tb" and new.starts[-1] == "/s/new-2/x" and new.run_dir == "/s/new-2" and new.cwd == "/w"
    assert dict(new.env) == {"SWIFT_FA_RUN_ID": "new-2", "P": '{"log_dir": "/s/new-2/swanlab"}'} and new.secrets == ("K",)
    folder = start(tmp_path)
    assert read_plan(see_run(folder)).argv == read_record(folder).command
    for text in ("", "{", '{"argv": []}', '{"argv": ["<redacted>"]}'):
        (folder / "plan.json").write_text(text)
        with pytest.raises(RecordError):
            read_plan(see_run(folder))


def test_the_hub_kernel_of_a_run_is_meant_again(tmp_path: Path) -> None:
    assert recorded_kernel(tmp_path) is None
    for told, commit in (({"revision": "0" * 40}, "0" * 40), ({"revision": {"unknown": "?"}}, None), (None, None)):
        (tmp_path / "facts.json").write_text(json.dumps({"hub_kernel": told}))
        assert recorded_kernel(tmp_path) == commit


def test_what_was_asked_for_is_not_unexpected() -> None:
    seed, rank = Difference("config", "swift.seed", 1, 2), Difference("config", "swift.lora_rank", 8, 4)
    command, package = Difference("command", "--seed", "1", "2"), Difference("packages", "peft", "1", "2")
    host = Difference("machine", "host", "a", "b", matters=False)
    everything = (seed, rank, command, package, host)
    assert unexpected(everything, ["swift.seed=2"]) == (rank, package)
    assert unexpected(everything, []) == (seed, rank, command, package)


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """A run that was cut off while it saved step 20."""
    folder: Path = start(tmp_path, text="swift: {lora_rank: 8}\n", overrides=["swift.seed=3"])
    output = tmp_path / 'out "put"' / "v0-20261123-051500"
    make_checkpoint(output, 10)
    (make_checkpoint(output, 20) / "trainer_state.json").unlink()
    update_record(folder, replace(read_record(folder), status="failed", output_dir=str(output)))
    return folder


def test_a_run_goes_on_in_place_from_its_newest_whole_checkpoint(cut: Path) -> None:
    entry, record = see_run(cut), read_record(cut)
    there = continue_run(entry, record, ["swift.learning_rate=1e-5"])
    config = repeated_config(entry, replace(record, overrides=()), there.overrides)
    assert there.checkpoint.step == 10 and [c.step for c in there.skipped] == [20]
    assert config.swift["resume_from_checkpoint"] == str(there.checkpoint.path)
    assert config.swift["output_dir"] == record.output_dir and config.swift["add_version"] is False
    assert config.swift["seed"] == 3 and config.swift["learning_rate"] == 1e-5
    # and once more: what the first continuation set is replaced, not heaped up
    again = continue_run(entry, replace(record, overrides=there.overrides), ())
    assert len(again.overrides) == len(there.overrides)
    with pytest.raises(LaunchError, match="same folder"):
        refuse_to_repeat(entry, replace(record, resumed_from="x", parent="y"))


def test_what_a_continuation_brings_itself_is_no_news(cut: Path) -> None:
    entry, record = see_run(cut), read_record(cut)
    there = continue_run(entry, record, ["swift.learning_rate=1e-5"])
    point = str(there.checkpoint.path)
    own = (Difference("config", "swift.resume_from_checkpoint", None, point), Difference("command", "--output_dir", "a", "b"),
           Difference("environment", "SWANLAB_RUN_ID", None, "r"), Difference("data", f"checkpoint {point}: a digest", None, "d"))
    asked, other = Difference("config", "swift.learning_rate", None, 1e-5), Difference("data", "dataset c.jsonl digest", "a", "b")
    moved = Difference("machine", "host", "a", "b", matters=False)
    assert news((*own, asked, moved, other), there) == (asked, other)


@pytest.mark.parametrize(("words", "said"), [
    (["swift.output_dir=x"], "swift.output_dir"), (["swift.resume_from_checkpoint=x"], "resume_from_checkpoint"),
])
def test_what_resume_sets_cannot_be_given(cut: Path, words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        continue_run(see_run(cut), read_record(cut), words)


def test_what_cannot_go_on_is_refused(cut: Path) -> None:
    entry, record = see_run(cut), read_record(cut)
    for state in ("running", "orphaned"):
        with pytest.raises(LaunchError, match="still running"):
            continue_run(replace(entry, state=state), record, ())
    (output,) = cut.parents[1].glob("out*/v0-*")
    state_file = output / "checkpoint-10" / "trainer_state.json"
    state_file.write_text('{"global_step": 20, "max_steps": 20}')
    with pytest.raises(LaunchError, match="is the last of its 20 steps"):
        continue_run(entry, record, ())
    assert continue_run(entry, record, ["swift.max_steps=40"]).checkpoint.step == 10
    state_file.unlink()
    with pytest.raises(LaunchError, match="no complete checkpoint") as caught:
        continue_run(entry, record, ())
    assert "checkpoint-20: trainer_state.json is missing" in str(caught.value.why)


@pytest.mark.parametrize(("mode", "continued", "said"), [
    ("cloud", True, "continues run abc123"), ("offline", True, "another part of run abc123"),
    ("local", False, "cannot continue"), ("disabled", False, ""),
])
def test_the_same_swanlab_run_where_its_mode_allows_it(cut: Path, mode: str, continued: bool, said: str) -> None:
    swanlab = {"run_id": "abc123", "dir": "/old/swanlab/run-1", "mode": mode}
    (cut / "swanlab.json").write_text(json.dumps(swanlab))  # a killed launcher has not put it into its record
    entry, record = see_run(cut), read_record(cut)
    config = resolve_config([], [f"swanlab.mode={mode}"])
    there = continue_swanlab(continue_run(entry, record, ()), entry, record, config)
    env = dict(resolve_config([], there.overrides).env)
    assert env == ({"SWANLAB_RUN_ID": "abc123", "SWANLAB_RESUME": "allow"} if continued else {}) and said in str(there.words)
    assert there.earlier == (("/old/swanlab/run-1",) if mode == "offline" else ())
    unsent = continue_swanlab(there, entry, replace(record, unsent=True), config)
    assert ("swanlab sync --id abc123 /old/swanlab/run-1" in str(unsent.words)) == (mode == "cloud")
    os.unlink(cut / "swanlab.json")
    none = continue_swanlab(continue_run(entry, record, ()), entry, record, config)
    assert not resolve_config([], none.overrides).env and ("no run to continue" in str(none.words)) == (mode != "disabled")


def test_errors_are_in_both_languages(cut: Path) -> None:
    with pytest.raises(LauncherError) as caught:
        continue_run(replace(see_run(cut), state="running"), read_record(cut), ())
    assert "仍在运行" in str(caught.value.message)
