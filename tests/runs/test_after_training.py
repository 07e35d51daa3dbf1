"""`swift-fa train` with a stand-in for `swift sft` that exits 7: whatever goes wrong after its end, the exit code stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

#: The stand-in: does what the variable says, in the run's folder, and fails.
SFT = """import os, pathlib, shutil, sys
run = pathlib.Path("runs", os.environ["SWIFT_FA_RUN_ID"])
print("KeyError: 'x'", flush=True)
exec(os.environ["DEED"])
sys.exit(7)
"""
CONFIG = """swift: {{attn_impl: sdpa, packing: false}}
swanlab: {{mode: disabled}}
launch: {{python: {python}, grace: 2}}
"""


class Stand:
    """A folder with a config and the stand-in, and the words that start a training whatever the checks say."""

    def __init__(self, folder: Path, material: Path) -> None:
        self.folder = folder
        self.env = {**os.environ, "SWIFT_FA_CACHE": str(folder / "cache"), "LC_ALL": "C.UTF-8",
                    "PYTHONPATH": os.pathsep.join(filter(None, (str(material), os.environ.get("PYTHONPATH"))))}
        (folder / "c.yaml").write_text(CONFIG.format(python=material / "venv" / "bin" / "python"), encoding="utf-8")
        self.allowed: list[str] = []

    def allow_all(self) -> list[str]:
        plan = subprocess.run(self.words("--dry-run", "--json"), cwd=self.folder, env=self.env, capture_output=True, check=False)
        blocking = {f["code"] for f in json.loads(plan.stdout)["findings"] if f["severity"] == "error"}
        return [word for code in sorted(blocking) for word in ("--allow", code)]

    def words(self, *more: str) -> list[str]:
        return [sys.executable, "-m", "swift_fa_launcher", "train", "c.yaml", "--no-install", *more]

    def train(self, deed: str, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.words(*self.allowed, *more), cwd=self.folder, env={**self.env, "DEED": deed}, text=True,
                              capture_output=True, check=False, timeout=100)

    def runs(self) -> list[Path]:
        return [path for path in (self.folder / "runs").glob("2*")]

    def record(self) -> dict[str, Any]:
        (run,) = self.runs()
        return dict(json.loads((run / "run.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with nothing in it, and the stand-in beside it."""
    folder = tmp_path_factory.mktemp("material")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (folder / "swift" / "cli").mkdir(parents=True)
    (folder / "swift" / "__init__.py").touch()
    (folder / "swift" / "cli" / "sft.py").write_text(SFT, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def allowed(tmp_path_factory: pytest.TempPathFactory, material: Path) -> list[str]:
    return Stand(tmp_path_factory.mktemp("asked"), material).allow_all()


@pytest.fixture
def stand(tmp_path: Path, material: Path, allowed: list[str]) -> Stand:
    made = Stand(tmp_path, material)
    made.allowed = allowed
    return made


def test_a_plain_failure_is_recorded(stand: Stand) -> None:
    done = stand.train("")
    record = stand.record()
    assert done.returncode == 7 and "KeyError" in done.stdout
    assert (record["status"], record["exit_code"], record["detail"]) == ("failed", 7, None)
    assert record["diagnoses"][0]["code"] == "unknown"


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_run_folder_that_a_file_stands_for(stand: Stand, words: tuple[str, ...]) -> None:
    done = stand.train("shutil.rmtree(run); run.touch()", *words)
    assert done.returncode == 7, done.stderr
    assert done.stderr.count("the run record cannot be written") == 1 and "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_run_folder_that_cannot_be_written(stand: Stand) -> None:
    done = stand.train("run.chmod(0o500)")
    assert done.returncode == 7 and done.stderr.count("the run record cannot be written") == 1
    stand.runs()[0].chmod(0o700)


@pytest.mark.parametrize("deed", [
    "log = run / 'train.log'; log.unlink(); log.mkdir()", "(run / 'train.log').unlink()",
    "log = run / 'train.log'; log.unlink(); os.mkfifo(log)", "log = run / 'train.log'; log.unlink(); log.symlink_to(log)"])
def test_a_log_that_cannot_be_read(stand: Stand, deed: str) -> None:
    done = stand.train(deed)
    record = stand.record()
    assert done.returncode == 7 and "could not determine the cause" in done.stderr
    assert (record["status"], record["exit_code"]) == ("failed", 7)
    assert "could not determine the cause" in record["detail"] and str(stand.runs()[0] / "train.log") in record["detail"]


@pytest.mark.skipif(signal.getsignal(signal.SIGINT) is signal.SIG_IGN, reason="Ctrl-C is ignored here, as in the background")
def test_an_interrupt_after_the_end(stand: Stand) -> None:
    """Ctrl-C while a log that takes minutes to read is looked through."""
    deed = "os.truncate(run / 'train.log', 2**40)"
    child = subprocess.Popen(stand.words(*stand.allowed), cwd=stand.folder, env={**stand.env, "DEED": deed},
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not stand.runs() or stand.record()["status"] == "unfinished":
            assert time.monotonic() < deadline and child.poll() is None
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=60)
    finally:
        child.kill()
    record = stand.record()
    assert child.returncode == 7 and "could not determine the cause: interrupted" in said
    assert (record["status"], record["exit_code"]) == ("failed", 7) and "interrupted" in record["detail"]


@pytest.mark.parametrize(("words", "both"), [((), True), (("--json",), False)])
def test_a_screen_that_is_gone(stand: Stand, words: tuple[str, ...], both: bool) -> None:
    """As in `swift-fa train | head`, and with 2>&1."""
    reader, writer = os.pipe()
    child = subprocess.Popen(stand.words(*stand.allowed, *words), cwd=stand.folder, stdout=writer,
                             env={**stand.env, "DEED": "import time; time.sleep(1)"},
                             stderr=writer if both else subprocess.DEVNULL)
    os.close(writer)
    while not stand.runs():
        time.sleep(0.05)
    os.close(reader)
    assert child.wait(timeout=60) == 7
    assert stand.record()["status"] == "failed"
