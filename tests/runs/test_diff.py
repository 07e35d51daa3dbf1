"""What differs between two runs: each change alone, in its group, under its name."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version
from run_records import FACTS, git, start  # type: ignore[import-not-found]

from swift_fa_launcher.machine.facts import Driver, Gpu, Swift
from swift_fa_launcher.runs.diff import Difference, compare, differences_to_json, read_texts
from swift_fa_launcher.runs.record import read_record, update_record
from swift_fa_launcher.runs.report import render_differences

TEXT = "swift: {seed: 1, dataset: rows.jsonl}\n"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "rows.jsonl").write_text('{"a": 1}\n')
    (folder / "train.py").write_text("a = 1\n")
    git(folder, "init", "-q")
    git(folder, "add", "train.py")
    git(folder, "commit", "-qm", "first")
    monkeypatch.chdir(folder)
    return folder


def found(first: Path, second: Path) -> dict[tuple[str, str], Difference]:
    return {(one.group, one.key): one for one in compare(read_texts(first), read_texts(second))}


def test_the_same_twice_differs_in_nothing(tmp_path: Path, work: Path) -> None:
    first = start(tmp_path, text=TEXT)
    (work / "runs").mkdir()  # what a first run leaves behind is no change
    (work / "runs" / "note").write_text("")
    assert found(first, start(tmp_path, text=TEXT)) == {}
    assert render_differences((), "en") == "no difference"


def test_another_free_port_is_no_difference(tmp_path: Path, work: Path) -> None:
    facts = replace(FACTS, env={"NPROC_PER_NODE": "2"}, swift=Swift(module="/site/swift/__init__.py"))
    first, second = (start(tmp_path, text=TEXT, facts=replace(facts, ports_in_use=used)) for used in ((29500,), (29500, 29501)))
    assert "--master_port" in (first / "plan.json").read_text("utf-8") and found(first, second) == {}


def test_a_changed_seed(tmp_path: Path, work: Path) -> None:
    differs = found(start(tmp_path, text=TEXT), start(tmp_path, text=TEXT, overrides=["swift.seed=2"]))
    assert set(differs) == {("config", "swift.seed"), ("command", "--seed")}
    one = differs["config", "swift.seed"]
    assert (one.first, one.second) == (1, 2) and one.matters
    assert str(one.origins[0]).endswith("one.yaml:1") and one.origins[1] == "command line: swift.seed=2"
    shown = render_differences(tuple(differs.values()), "zh")
    assert "配置" in shown and "    + 2  # 命令行：swift.seed=2" in shown


def test_what_was_measured_is_a_result(tmp_path: Path, work: Path) -> None:
    first, second = start(tmp_path, text=TEXT), start(tmp_path, text=TEXT)
    for folder, speed in ((first, 100.0), (second, 285.0)):
        update_record(folder, replace(read_record(folder), measured={"kernel": "flash-attn 2.8.3", "tokens_per_second": speed,
                                                                     "monitor_share": speed / 1e6}))
    differs = found(first, second)
    assert {key: (one.first, one.second) for key, one in differs.items()} == {("result", "tokens_per_second"): (100.0, 285.0)}
    assert not differs["result", "tokens_per_second"].matters


def test_a_changed_package(tmp_path: Path, work: Path) -> None:
    newer = replace(FACTS, packages={"ms-swift": Version("4.6.1"), "peft": Version("0.20")})
    differs = found(start(tmp_path, text=TEXT), start(tmp_path, text=TEXT, facts=newer))
    assert {key: (one.first, one.second) for key, one in differs.items()} == {
        ("packages", "ms-swift"): ("4.6.0", "4.6.1"), ("packages", "peft"): (None, "0.20")}


def test_a_changed_file(tmp_path: Path, work: Path) -> None:
    first = start(tmp_path, text=TEXT)
    os.utime(work / "rows.jsonl", (1, 1))
    touched = found(first, start(tmp_path, text=TEXT))
    assert set(touched) == {("data", "dataset rows.jsonl time")} and not any(one.matters for one in touched.values())
    (work / "rows.jsonl").write_text('{"a": 2}\n')
    changed = found(first, start(tmp_path, text=TEXT))
    assert set(changed) == {("data", f"dataset rows.jsonl {what}") for what in ("digest", "time")}
    assert changed["data", "dataset rows.jsonl digest"].matters
    (work / "rows.jsonl").unlink()
    assert found(first, start(tmp_path, text=TEXT))["data", "dataset rows.jsonl"].second == "missing"


def test_a_changed_commit_and_an_uncommitted_change(tmp_path: Path, work: Path) -> None:
    first = start(tmp_path, text=TEXT)
    (work / "train.py").write_text("a = 2\n")
    second = start(tmp_path, text=TEXT)
    (one,) = found(first, second).values()
    assert one.key == "uncommitted changes" and "train.py" in one.second and one.matters
    git(work, "commit", "-qam", "second")
    third = start(tmp_path, text=TEXT)
    assert set(found(first, third)) == {("git", "commit")}
    assert set(found(second, third)) == {("git", "commit"), ("git", "uncommitted changes")}


def test_another_machine(tmp_path: Path, work: Path) -> None:
    def facts(name: str, driver: str) -> object:
        return replace(FACTS, gpus=(Gpu(0, name=name, memory_gib=80.0),), driver=Driver(version=Version(driver)))

    first = start(tmp_path, text=TEXT, facts=facts("NVIDIA H100", "570.1"))
    second = start(tmp_path, text=TEXT, facts=facts("NVIDIA A100", "580.2"))
    update_record(second, replace(read_record(second), host="other"))
    differs = found(first, second)
    assert set(differs) == {("machine", key) for key in ("GPU 0", "driver version", "host")}
    assert differs["machine", "GPU 0"].second == "NVIDIA A100, 80.0 GiB" and not differs["machine", "host"].matters


def test_another_result_and_another_build(tmp_path: Path, work: Path) -> None:
    first, second = start(tmp_path, text=TEXT), start(tmp_path, text=TEXT)
    update_record(first, replace(read_record(first), result={"loss": 1.5, "step": 3}))
    update_record(second, replace(read_record(second), result={"loss": 1.25, "step": 3}, status="failed"))
    (second / "wheels.json").write_text(json.dumps({"flash-attn": {"version": "2.8.3", "sha256": "ab" * 32}}))
    differs = found(first, second)
    assert set(differs) == {("result", "loss"), ("result", "outcome"), ("wheel", "flash-attn version"),
                            ("wheel", "flash-attn sha256")}
    assert not differs["result", "loss"].matters and differs["wheel", "flash-attn sha256"].matters
    data = differences_to_json("a", "b", tuple(differs.values()))
    assert {"key": "loss", "first": 1.5, "second": 1.25, "matters": False} in data["differences"]["result"]
    assert json.loads(json.dumps(data)) == data


@pytest.mark.parametrize("name", ["plan.json", "facts.json", "data.json", "git.json", "config.json", "wheels.json"])
@pytest.mark.parametrize("damage", ["", "[1]", "null", '"x"', "{"])
def test_a_damaged_file_is_compared_as_empty(tmp_path: Path, work: Path, name: str, damage: str) -> None:
    first, second = start(tmp_path, text=TEXT), start(tmp_path, text=TEXT)
    (second / name).write_text(damage)
    assert compare(read_texts(second), read_texts(second)) == ()
    groups = {"plan.json": {"command", "environment"}, "facts.json": {"machine"}, "data.json": {"data"},
              "git.json": {"git"}, "config.json": {"config"}, "wheels.json": set()}
    differs = compare(read_texts(first), read_texts(second))
    assert {one.group for one in differs} == groups[name] and not any(one.second for one in differs)


def test_a_whole_and_a_sampled_digest_say_nothing(tmp_path: Path, work: Path) -> None:
    first, second = start(tmp_path, text=TEXT), start(tmp_path, text=TEXT)
    text = (second / "data.json").read_text()
    (second / "data.json").write_text(text.replace("sha256:", "sampled-sha256:"))
    (one,) = found(first, second).values()
    assert one.key == "dataset rows.jsonl digest" and not one.matters
