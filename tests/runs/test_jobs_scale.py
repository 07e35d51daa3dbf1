"""Jobs by the thousand, and answers of Slurm that no cluster of two nodes gives: squeue and sacct are programs on PATH here."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from run_records import start  # type: ignore[import-not-found]

from swift_fa_launcher.decode import Unknown
from swift_fa_launcher.machine.slurm import Job, read_jobs, submission_environment
from swift_fa_launcher.runs.record import read_record, update_record
from swift_fa_launcher.runs.store import list_runs, see_run, with_states
from swift_fa_launcher.stories.cluster import unlike_nodes


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    write(folder / "sacct", "exit 1")
    return folder


def write(program: Path, body: str) -> None:
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


def job_run(tmp_path: Path, number: str, name: str = "one") -> Path:
    folder: Path = start(tmp_path, name)
    update_record(folder, replace(read_record(folder), status="queued", slurm={"job": number}))
    return folder


def test_a_thousand_runs_are_one_question_and_a_second(tmp_path: Path, programs: Path) -> None:
    text = json.loads((job_run(tmp_path, "1") / "run.json").read_text())
    for number in range(2, 1001):
        folder = tmp_path / "runs" / f"20261123-{number:06}-n-{number:04x}"
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps({**text, "id": folder.name, "slurm": {"job": str(number)}}))
    (programs / "rows").write_text("".join(f"{n}|PENDING|Resources|2026-11-28T10:00:00||n/a\n" for n in range(1, 1001)))
    write(programs / "squeue", f"echo asked >> {programs}/asked; cat {programs}/rows")
    entries = list_runs(tmp_path / "runs")
    begun = time.process_time()
    states = [entry.state for entry in with_states(entries)]
    assert states == ["queued"] * 1000 and time.process_time() - begun < 1
    assert (programs / "asked").read_text() == "asked\n"


def test_facts_of_512_nodes_are_compared_in_seconds(tmp_path: Path) -> None:
    hosts = [f"n{i}" for i in range(512)]
    packages = "".join(f"package{i}==1.{i}\n" for i in range(300))
    for rank in range(512):
        folder = tmp_path / "nodes" / str(rank)
        folder.mkdir(parents=True)
        (folder / "packages.txt").write_text(packages + ("odd==2\n" if rank == 400 else ""))
        (folder / "facts.json").write_text("{}")
    begun = time.process_time()
    (found,) = unlike_nodes(tmp_path, hosts)
    assert (found.host, found.codes) == ("n400", ("nodes-differ",)) and "odd: 2" in found.summary
    assert time.process_time() - begun < 5


def test_a_job_that_slurm_has_forgotten_gets_its_end(tmp_path: Path, programs: Path) -> None:
    folder = job_run(tmp_path, "7")
    write(programs / "squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    entry = see_run(folder)
    assert entry.state == "failed" and entry.record and entry.record.ended and "not known" in (entry.record.detail or "")
    other = job_run(tmp_path, "8", "two")
    write(programs / "sacct", "echo '8|CANCELLED by 0|2026-11-28T10:00:00|node1'")
    assert see_run(other).state == "interrupted"  # the accounting knows it


@pytest.mark.parametrize(("body", "said"), [
    ("exit 1", ""), ("echo 'Unable to contact slurm controller' >&2; exit 1", "Unable to contact")])
def test_an_answer_that_is_none_is_unknown(tmp_path: Path, programs: Path, body: str, said: str) -> None:
    write(programs / "squeue", body)
    answer = read_jobs(["7"])
    assert isinstance(answer, Unknown) and said in answer.why
    entry = see_run(job_run(tmp_path, "7"))
    assert entry.state == "unknown" and entry.record and not entry.record.ended


def test_a_controller_that_hangs_is_waited_for_five_seconds(programs: Path) -> None:
    write(programs / "squeue", "exec sleep 60")
    begun = time.monotonic()
    assert isinstance(read_jobs(["7"]), Unknown) and time.monotonic() - begun < 20


def test_what_a_row_says(programs: Path) -> None:
    write(programs / "squeue", "echo '7|RUNNING|None|2026-11-28T10:00:00|node[1-2]|node1'")
    assert read_jobs(["7", "8"]) == {"7": Job("RUNNING", "", "2026-11-28T10:00:00", "node[1-2]", "node1"), "8": None}


def test_an_allocation_does_not_leak_into_a_job() -> None:
    assert submission_environment({"SLURM_JOB_ID": "1", "SLURM_CONF": "/c", "PATH": "/bin", "SBATCH_ACCOUNT": "a"}) == {
        "SLURM_CONF": "/c", "PATH": "/bin", "SBATCH_ACCOUNT": "a"}
