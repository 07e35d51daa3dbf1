"""Whatever the system refuses, at whichever place: an answer, no traceback, no lost record, no litter."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import faults
import pytest
from stand_in import make_stage

pytestmark = pytest.mark.slow
WRITES = ("open", "mkdir", "replace", "rename", "fsync")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture
def work(stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SWIFT_FA_CACHE", str(tmp_path / "cache"))
    shutil.copy(stage / "c.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def check(ended: faults.Ended, at: faults.Place, codes: tuple[int, ...]) -> None:
    said = f"{at}\n{ended.said}"
    assert ended.code in codes, said
    assert "Traceback" not in ended.said and "bug in swift-fa" not in ended.said, said


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC])
def test_a_training(work: Path, number: int) -> None:
    """Where it was started, its exit code comes back; its record says so, or the screen says that it could not be written."""
    root = work / "runs"
    for at in faults.places(["train", "c.yaml"]):
        if number == errno.ENOSPC and at.call not in WRITES:
            continue
        shutil.rmtree(root, ignore_errors=True)
        ended = faults.with_fault(["train", "c.yaml"], at, number)
        check(ended, at, (1, 2, 7))
        started = "[INFO:swift] output_dir" in ended.said
        assert (ended.code == 7) == started, (at, ended)
        left = os.listdir(root) if root.is_dir() else []
        assert not [name for name in left if name.startswith(".")], (at, left)
        for name in left:
            record = json.loads((root / name / "run.json").read_text())
            assert record["exit_code"] == ended.code or "record cannot be written" in ended.said, (at, record, ended.said)


@pytest.fixture
def runs(work: Path) -> None:
    for name in ("one", "two"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LANG", "C")
            assert faults.run(["train", "c.yaml", f"run.name={name}"], lambda place: None).code == 7


READING = ("preflight c.yaml", "config c.yaml --explain", "args", "explain torch-missing", "install --dry-run --index .",
           "train c.yaml --dry-run")
OF_RUNS = ("runs --root runs", "show one --root runs", "diff one two --root runs", "rerun one --root runs --dry-run",
           "diagnose one --root runs", "resume one --root runs --dry-run", "compare one two --root runs",
           "report one two --root runs --out made", "pack one made --root runs", "prune --outcome failed --root runs")


@pytest.mark.parametrize("line", READING)
def test_a_command(work: Path, line: str) -> None:
    for at in faults.places(line.split()):
        check(faults.with_fault(line.split(), at, errno.EACCES), at, (0, 1, 2))


@pytest.mark.parametrize("line", OF_RUNS)
def test_a_command_on_runs(runs: None, line: str) -> None:
    before = {file: file.read_bytes() for file in Path("runs").rglob("*") if file.is_file()}
    for at in faults.places(line.split()):
        Path("made").unlink(missing_ok=True)
        check(faults.with_fault(line.split(), at, errno.EACCES), at, (0, 1, 2))
    assert before == {file: file.read_bytes() for file in Path("runs").rglob("*") if file.is_file()}
