"""Run records on a real disk and in a real repository."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from packaging.version import Version
from run_records import NOW, git, start  # type: ignore[import-not-found]

from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.decode import decode
from swift_fa_launcher.errors import RecordError
from swift_fa_launcher.launch.local import Outcome
from swift_fa_launcher.launch.plan import LaunchPlan
from swift_fa_launcher.machine.facts import parse_facts
from swift_fa_launcher.runs.record import close_record, read_record, redact, secret_values, start_record, update_record
from swift_fa_launcher.runs.store import find_run, list_runs
from swift_fa_launcher.secrets import redact_data


def test_a_record_holds_what_a_run_was_made_of(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    git(tmp_path / "work", "init", "-q")
    tracked = tmp_path / "work" / "train.py"
    tracked.write_text("a = 1\n")
    git(tmp_path / "work", "add", "train.py")
    git(tmp_path / "work", "commit", "-qm", "first")
    tracked.write_text("a = 2\n")
    folder = start(tmp_path)
    record = read_record(folder)
    assert record.status == "unfinished" and record.name == "one" and record.command[:2] == ("swift", "sft")
    assert "-a = 1\n+a = 2" in (folder / "git.diff").read_text()
    state = json.loads((folder / "git.json").read_text())
    assert len(state["commit"]) == 40 and " M train.py" in state["changed"]
    assert (folder / "packages.txt").read_text() == "ms-swift==4.6.0\n"
    assert (folder / "layers" / "0" / "one.yaml").read_text().startswith("swift: {seed: 1}")
    assert resolve_config([folder / "config.yaml"]).values == resolve_config([tmp_path / "work" / "one.yaml"]).values
    assert json.loads((folder / "config.json").read_text())["origins"]["swift.seed"].endswith("one.yaml:1")
    assert parse_facts(json.loads((folder / "facts.json").read_text()), "x").package("ms-swift") == Version("4.6.0")
    assert decode(LaunchPlan, json.loads((folder / "plan.json").read_text())).run_dir == str(folder)
    assert not list(folder.parent.glob(".*"))


def test_a_record_names_what_was_given(tmp_path: Path) -> None:
    words = ("swift.output_dir=out", "run.tags=[a,b]", "run.notes=first try")
    record = read_record(start(tmp_path, overrides=words))
    assert record.config_files == (str(tmp_path / "work" / "one.yaml"),) and record.overrides == words
    assert (record.tags, record.notes, record.output_dir) == (("a", "b"), "first try", "out")
    assert (record.cwd, record.host, record.pid) == (str(tmp_path / "work"), socket.gethostname(), os.getpid())
    assert (record.started, record.ended, record.exit_code, record.parent) == (NOW.isoformat(), None, None, None)


def test_the_end_is_written_whole(tmp_path: Path) -> None:
    folder = start(tmp_path)
    record = close_record(read_record(folder), Outcome(143, 15, NOW, NOW + timedelta(seconds=5), interrupted=True))
    update_record(folder, record)
    assert read_record(folder) == record and record.status == "interrupted"
    assert not list(folder.glob(".run.json*"))


def test_two_in_one_second_do_not_meet(tmp_path: Path) -> None:
    folders = {start(tmp_path) for _ in range(20)}
    assert len(folders) == 20


@pytest.mark.parametrize(("damage", "why"), [
    ("", "Expecting value"), ("{\"schema\": 1, \"id\": ", "Expecting value"), ("[]", "no schema"), ("{\"schema\": 99}", "newer"),
    ("{\"schema\": 1, \"id\": 3}", "missing"), ("{\"schema\": 1}", "missing"), ("\x00\x01", "Expecting value"),
])
def test_damaged_records_are_shown_and_hide_nothing(tmp_path: Path, damage: str, why: str) -> None:
    good, bad = start(tmp_path, "good"), start(tmp_path, "bad")
    (bad / "run.json").write_text(damage)
    (tmp_path / "runs" / "empty-folder").mkdir()
    entries = {e.folder.name: e for e in list_runs(tmp_path / "runs")}
    assert entries[good.name].record is not None
    assert entries[bad.name].record is None and why in str(entries[bad.name].problem)
    assert "no run.json" in str(entries["empty-folder"].problem)


def test_a_run_is_found_by_what_one_types(tmp_path: Path) -> None:
    one, two = start(tmp_path, "alpha"), start(tmp_path, "beta")
    root = tmp_path / "runs"
    assert find_run(root, one.name).folder == one and find_run(root, "beta").folder == two
    assert find_run(root, str(two)).folder == two and find_run(root, "latest").folder == max(one, two)
    assert find_run(root, one.name[:-2]).folder == one
    for word in ("2026", "gamma", ""):
        with pytest.raises(RecordError):
            find_run(root, word)
    with pytest.raises(RecordError, match="no run alpah") as caught:
        find_run(root, "alpah")
    assert "alpha" in str(caught.value.hint)


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RecordError, match="record-not-written") as caught:
        start(tmp_path)
    assert caught.value.why == "Not a directory"


def test_no_secret_is_written(tmp_path: Path) -> None:
    text = "swift: {system: 'key is marker-7f3a9c'}\nenv: {HF_TOKEN: marker-7f3a9c}\n"
    folder = start(tmp_path, text=text, hidden=("marker-7f3a9c",))
    written = {p: p.read_text() for p in folder.rglob("*") if p.is_file()}
    assert written and not [p for p, content in written.items() if "marker" in content]


def test_secret_values_come_from_names(tmp_path: Path) -> None:
    config = replace(resolve_config([]), env={"X_TOKEN": "from-config"})
    values = secret_values(config, {"SWANLAB_API_KEY": "from-environ", "PATH": "/usr/bin", "SHORT_KEY": "abc"})
    assert set(values) == {"from-config", "from-environ"}
    assert redact("a from-config b", values) == "a <redacted> b"


@pytest.mark.parametrize("secret", ['quo"ted\\secret', "it's a secret", "geheim\u00fcber", "two\nlines-of-it"])
def test_a_secret_is_found_however_it_is_written(tmp_path: Path, secret: str) -> None:
    quoted = json.dumps(secret)
    folder = start(tmp_path, text=f"swift: {{system: {quoted}}}\n", hidden=(secret,))
    update_record(folder, replace(read_record(folder), notes=f"is {secret}"), (secret,))
    texts = {p: p.read_text(encoding="utf-8") for p in folder.rglob("*") if p.is_file()}
    forms = (secret, quoted[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], secret.replace("'", "''"))
    assert not [(p, form) for p, text in texts.items() for form in forms if form in text]
    assert json.loads((folder / "config.json").read_text())["values"]["swift"]["system"] == "<redacted>"
    assert read_record(folder).notes == "is <redacted>"
    assert resolve_config([folder / "config.yaml"]).swift.text("system") == "<redacted>"


@pytest.mark.parametrize("written", [
    "swift:\n  system: |-\n    -----BEGIN KEY-----\n    MIIx'9f\n      q7\n    -----END KEY-----\n",
    "swift:\n  system: >-\n    -----BEGIN KEY-----\n\n    MIIx'9f\n\n    q7\n\n    -----END KEY-----\n",
    "swift:\n  system: '-----BEGIN\n    KEY-----\n\n    MIIx''9f\n\n    q7\n\n    -----END KEY-----'\n",
    'swift:\n  system: "-----BEGIN KEY-----\\nMIIx\'9f\\n\\\n    q7\\n-----END\\\n    \\ KEY-----"\n',
    "swift:\n  # -----BEGIN KEY-----\n  # MIIx'9f\n  # q7\n  # -----END KEY-----\n  system: x\n",
])
def test_a_secret_of_several_lines_is_found_however_they_are_laid_out(tmp_path: Path, written: str) -> None:
    secret = "-----BEGIN KEY-----\nMIIx'9f\nq7\n-----END KEY-----\n"
    folder = start(tmp_path, text=written, hidden=(secret, "2026-other"))
    (copy,) = (folder / "layers").rglob("*.yaml")
    assert "<redacted>" in copy.read_text() and "MIIx" not in copy.read_text() and "q7" not in copy.read_text()
    assert resolve_config([copy]).swift.text("system") in ("<redacted>", "x")
    diff = "".join(f"+{line}\n" for line in written.splitlines())
    assert "q7" not in redact(diff, [secret]) and redact(diff, [secret]).endswith("\n")


@pytest.mark.parametrize("word", ["swift.hub_token=sekret-9", "swift.hub_token=12345678", "swift.a={b: [{api_key: sekret-9}]}",
                                  "swift.hub_token=[sekret-9]", "env.MY_KEY=sekret-9", "swanlab.notification.secret=12345678"])
def test_secrets_of_any_form_are_known(word: str) -> None:
    (value,) = secret_values(resolve_config([], [word]), {"HOME": "/home/someone", "SHORT_KEY": "12345"})
    assert value in word


def test_hiding_leaves_the_record_itself_alone(tmp_path: Path) -> None:
    secrets = ("123456", "started", "unfinished", "2026-11")
    folder = start(tmp_path, text="swift: {seed: 1234567}\n", hidden=secrets)
    record = read_record(folder)
    assert record.status == "unfinished" and record.started.startswith("2026-11-23")
    assert json.loads((folder / "config.json").read_text())["values"]["swift"]["seed"] == 1234567
    assert resolve_config([folder / "config.yaml"]).values["swift"]["seed"] == 1234567
    update_record(folder, replace(record, notes="is 123456", exit_code=123456), secrets)
    assert (read_record(folder).notes, read_record(folder).exit_code) == ("is <redacted>", 123456)


def test_data_is_redacted_in_its_texts_only() -> None:
    data = {"started": ["was started", 1, None, True], "n": {"x": ("started",)}}
    assert redact_data(data, ["started"]) == {"started": ["was <redacted>", 1, None, True], "n": {"x": ["<redacted>"]}}
    assert redact_data(data, []) == data


def test_names_that_are_no_utf_8_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    data = tmp_path / "work" / "data"
    data.mkdir()
    name = os.fsdecode(b"caf\xe9.jsonl")
    (data / name).write_text("{}\n")
    folder = start(tmp_path, text="swift: {dataset: data}\n")
    assert name in json.loads((folder / "data.json").read_text(encoding="utf-8"))[0]["files"]


def test_a_record_that_cannot_be_written_leaves_no_draft(tmp_path: Path) -> None:
    record = read_record(start(tmp_path))
    root = tmp_path / "other"
    with pytest.raises(ValueError, match="null"):
        start_record(root, record, {"run.json": "{}", "layers/0/a\0b": ""})
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("following", [lambda folder: start(folder, "two"), lambda folder: list_runs(folder / "runs")])
def test_the_draft_of_a_killed_launcher_is_cleared_away(tmp_path: Path, following: Callable[[Path], object]) -> None:
    """SIGKILL while the folder is filled; the next look on this host removes what is left, and nobody else's."""
    root = tmp_path / "runs"
    script = ("import os, sys; sys.path[:0] = sys.argv[2:]\nfrom pathlib import Path\nimport run_records\n"
              "sys.addaudithook(lambda what, args: what == 'os.rename' and '.new/' in str(args[0]) and os.kill(os.getpid(), 9))\n"
              "run_records.start(Path(sys.argv[1]))\n")
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path), *sys.path], check=False)
    assert done.returncode == -signal.SIGKILL
    (draft,) = root.glob(".*")
    foreign = root / draft.name.replace(socket.gethostname(), "another-host")
    foreign.mkdir()
    following(tmp_path)
    assert list(root.glob(".*")) == [foreign]
