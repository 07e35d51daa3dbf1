"""A run as an archive, and back."""

from __future__ import annotations

import io
import json
import shlex
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from machines import machine
from run_records import make_checkpoint, start  # type: ignore[import-not-found]

from swift_fa_launcher.errors import RecordError
from swift_fa_launcher.runs.pack import next_commands, pack_run, unpack
from swift_fa_launcher.runs.record import read_record
from swift_fa_launcher.wheels.lock import parse_lock

SECRET = "hf_0123456789abcdef"
WHEEL = "https://x.org/flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-cp311-cp311-linux_x86_64.whl"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "alice"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USER", "alice")
    monkeypatch.setenv("MY_TOKEN", SECRET)
    return folder


@pytest.fixture
def run(home: Path) -> Path:
    (home / "work").mkdir()
    (home / "rows.jsonl").write_text('{"messages": []}\n')
    (home / "model").mkdir()
    (home / "model" / "config.json").write_text("{}")
    text = (f"swift: {{model: {home}/model, dataset: ['{home}/rows.jsonl#3', org/other], output_dir: {home}/out, seed: 7}}\n"
            f"env: {{NOTE: by alice@host in /s/alice/x, A: '{SECRET}'}}\nlaunch: {{gpus: [3], python: {home}/bin/python}}\n")
    facts = machine(env={"HOME": str(home), "USER": "alice"}, packages={"torch": "2.8.0", "ms-swift": "4.6.0"})
    folder: Path = start(home, "one", text, hidden=(SECRET,), facts=facts)
    (folder / "train.log").write_text(f"loading {home}/model\nUsing {SECRET}\n{{'loss': 1.0}}\n")
    (folder / "wheels.json").write_text(json.dumps({"flash-attn": {"version": "2.8.3", "url": WHEEL, "sha256": "0" * 64}}))
    (folder / "swanlab").mkdir()
    (folder / "swanlab" / "large").write_text("x")
    return folder


def read(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as archive:
        return {member.name.partition("/")[2]: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def test_nothing_of_a_person_is_in_the_archive(run: Path, home: Path, tmp_path: Path) -> None:
    packed = pack_run(run, read_record(run), tmp_path / "a.tar.gz", dockerfile=True)
    names = read(tmp_path / "a.tar.gz")
    assert {*packed.names} == {*names} and {"config.yaml", "requirements.txt", "Dockerfile", "README.md", "record/train.log",
                                            "record/facts.json", "record/plan.json", "record/git.json"} <= {*names}
    assert "record/layers/0/one.yaml" in names and not any("swanlab/" in name for name in names)
    for name, data in names.items():
        assert b"alice" not in data and SECRET.encode() not in data, name
    assert b"torch==2.8.0" in names["requirements.txt"] and b"FROM python:3.11-slim" in names["Dockerfile"]
    assert packed.missing == ("~/model", "~/rows.jsonl") and not list(tmp_path.glob(".*.part"))
    lock = parse_lock(names["config.yaml.flash-attn.lock"].decode(), "here")
    assert (lock.url, lock.sha256, lock.torch) == (WHEEL, "0" * 64, "2.8.0+cu128")


def test_an_archive_becomes_a_folder_that_can_be_trained(run: Path, home: Path, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    record = replace(read_record(run), output_dir=str(home / "out"))
    adapter = make_checkpoint(home / "out", 4) / "adapter_config.json"
    adapter.write_text(json.dumps({"base_model_name_or_path": f"{home}/model"}))
    pack_run(run, record, tmp_path / "a.tar.gz", data=True, adapter=True)
    monkeypatch.setenv("HOME", "/home/bob")
    folder = unpack(tmp_path / "a.tar.gz", tmp_path / "new" / "here")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["swift"] == {**config["swift"], "model": "/home/bob/model", "seed": 7}
    assert config["swift"]["dataset"][1] == "org/other" and not {"output_dir"} & {*config["swift"]}
    path, _, rows = config["swift"]["dataset"][0].partition("#")
    assert rows == "3" and (folder / path).read_bytes() == (home / "rows.jsonl").read_bytes()
    assert not {"gpus", "python"} & {*config["launch"]} and "root" not in config["run"]
    assert (folder / "adapter" / "adapter_model.safetensors").is_file() and not (folder / "adapter" / "optimizer.pt").exists()
    assert json.loads((folder / "adapter" / "adapter_config.json").read_text()) == {"base_model_name_or_path": "~/model"}
    assert read_record(folder / "record").id == run.name
    create, train = next_commands(folder)
    assert shlex.split(create)[:2] == ["cd", str(folder)] and train.startswith("swift-fa train config.yaml ")
    with pytest.raises(RecordError):
        unpack(tmp_path / "a.tar.gz", folder)


@pytest.mark.parametrize("names", [["a/config.yaml", "../evil"], ["/etc/evil", "a/config.yaml"], ["a/x"], [], ["config.yaml"],
                                   ["a/config.yaml", "b/config.yaml"], ["a/config.yaml", "a/../../evil"]])
def test_a_foreign_archive_is_refused_and_leaves_nothing(names: list[str], tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = 2
            archive.addfile(entry, io.BytesIO(b"{}"))
    with pytest.raises(RecordError) as error:
        unpack(tmp_path / "bad.tar.gz", tmp_path / "out")
    assert error.value.code == "pack-unreadable" and [*tmp_path.iterdir()] == [tmp_path / "bad.tar.gz"]


def test_what_is_no_archive_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "cut.tar.gz").write_bytes(b"\x1f\x8b\x08 cut off")
    for file in (tmp_path / "cut.tar.gz", tmp_path / "nothing"):
        with pytest.raises(RecordError) as error:
            unpack(file, tmp_path / "out")
        assert error.value.code == "pack-unreadable" and error.value.why


def test_an_archive_that_cannot_be_written(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError) as error:
        pack_run(run, read_record(run), tmp_path / "nowhere" / "a.tar.gz")
    assert error.value.code == "pack-not-written"
