"""Launches of a stand-in for the training, whose record meets trouble."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from kernel_hub import COMMIT, REPO, build, kernel_hub
from machines import DATA, MODEL, OUTPUT, machine
from run_records import FACTS  # type: ignore[import-not-found]

from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.errors import LaunchError, Words, render_words
from swift_fa_launcher.findings.finding import blocking
from swift_fa_launcher.runs.record import read_record
from swift_fa_launcher.stories.launch import Finished, Judgement, judge, launch, plan_launch

MOVED = "import os, sys; os.rename(sys.argv[1], sys.argv[1] + '.moved'); open(sys.argv[1], 'w'); sys.exit(7)"


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWIFT_FA_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def train(script: str, said: list[Words], *overrides: str, program: str = sys.executable) -> Finished:
    config = resolve_config([], ["swanlab.mode=disabled", "run.name=one", *overrides])
    prepared = plan_launch(Judgement(config, FACTS, ()))
    plan = replace(prepared.plan, starts=(program, "-c", script, prepared.plan.run_dir))
    with open("screen", "wb") as screen:
        return launch(replace(prepared, plan=plan), screen=screen, screen_errors=screen, say=said.append)


@pytest.mark.parametrize("code", [0, 7])
def test_a_run_folder_that_vanishes_takes_no_exit_code(code: int) -> None:
    said = list[Words]()
    finished = train(MOVED.replace("7", str(code)), said)
    assert finished.outcome.exit_code == code == finished.record.exit_code
    assert any("the run record cannot be written" in render_words(words, "en") for words in said)


def test_a_version_folder_that_cannot_be_noted_ends_no_training() -> None:
    said = list[Words]()
    script = MOVED.replace("sys.exit", "print('output_dir: /x/v0-20261123-051500'); sys.exit")
    finished = train(script, said)
    assert finished.outcome.exit_code == 7 and finished.record.output_dir == "/x/v0-20261123-051500"
    assert finished.outcome.detail is None


def test_a_version_folder_is_in_the_record_while_the_training_runs() -> None:
    script = ("import json, pathlib, sys, time\n"
              "print('output_dir: /x/v0-20261123-051500')\nprint('and more', flush=True)\n"
              "for _ in range(100):\n"
              "    time.sleep(0.1)\n"
              "    if json.loads((pathlib.Path(sys.argv[1]) / 'run.json').read_text())['output_dir'].endswith('-051500'):\n"
              "        print('seen')\n        sys.exit(0)\n"
              "sys.exit(9)")
    finished = train(script, [])
    assert finished.outcome.exit_code == 0 and finished.record.output_dir == "/x/v0-20261123-051500"


def test_a_start_that_fails_says_so_and_is_recorded() -> None:
    with pytest.raises(LaunchError):
        train("", [], program="./nothing")
    (folder,) = [p for p in Path("runs").iterdir() if not p.name.startswith(".")]
    assert read_record(folder).status == "failed"


def test_nothing_is_taken_from_the_working_folder(work: Path) -> None:
    (work / "logging.jsonl").write_text('{"loss": 1.0, "global_step/max_steps": "1/3"}\n')
    finished = train("", [], "swift.output_dir=null")
    assert finished.record.output_dir is None and not finished.record.result and finished.record.checkpoint is None


def test_what_the_monitor_measured_is_in_the_record_without_an_output_folder_too() -> None:
    lines = [{"step": n, "seconds": 2.0, "tokens": 80 * n, "tokens_per_second": 40.0 * n, "padding": 0.5, "monitor_seconds": 0.01,
              "examples_per_step": 4, "peak_memory_gib": 1.5} for n in (1, 2, 3)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    told = {"attention": "sdpa", "kernel": "torch's SDPA", "packing": "none", "memory_of": "process", "device_name": "x"}
    script = (f"import pathlib, sys; run = pathlib.Path(sys.argv[1]); (run / 'monitor.jsonl').write_text({text!r}); "
              f"(run / 'monitor.json').write_text({json.dumps(told)!r}); sys.exit(3)")
    finished = train(script, [], "swift.output_dir=null")
    assert finished.record.measured == read_record(finished.folder).measured == {
        "attention": "sdpa", "kernel": "torch's SDPA", "packing": "none", "memory_of": "process", "tokens_per_second": 100.0,
        "padding": 0.5, "examples_per_step": 4.0, "monitor_share": 0.005, "peak_memory_gib": 1.5}


def test_a_secret_of_other_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD_TOKEN", os.fsdecode(b"gef\xe9hrlich"))
    finished = train("import os, sys; sys.stdout.buffer.write(os.environb[b'ODD_TOKEN'] + b'\\n')", [])
    log = (finished.folder / "train.log").read_bytes()
    assert finished.outcome.exit_code == 0 and log == b"<redacted>\n"


@pytest.mark.stack
@pytest.mark.parametrize("fits", [True, False])
def test_a_hub_kernel_is_fetched_before_the_training_starts(fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kernels", reason="kernels is not installed (pip install 'kernels>=0.17,<0.18')")
    script = tmp_path / "swift" / "cli" / "sft.py"
    script.parent.mkdir(parents=True)
    script.write_text("import os; print(os.environ['SWIFT_FA_PLUGIN'])")
    facts = machine(python__executable=sys.executable, swift__module=str(script.parents[1] / "__init__.py"), flash_attn=None,
                    packages={"flash-attn": None, "kernels": "0.17.2", "transformers": "5.19.0", "ms-swift": "4.6.0"})
    config = resolve_config([], ["swanlab.mode=disabled", "flash_attn.provider=kernel", "preflight.probe=never",
                                 f"swift.model={MODEL}", f"swift.dataset=[{DATA}]", f"swift.output_dir={OUTPUT}"])
    prepared, said = plan_launch(judge(config, facts)), list[Words]()
    assert not blocking(prepared.judgement.findings) and "attention" not in prepared.plan.env["SWIFT_FA_PLUGIN"]
    with kernel_hub() as hub, open("screen", "wb") as screen:
        hub.files = build(variant="torch-universal" if fits else "torch-cuda")
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        if not fits:
            with pytest.raises(LaunchError, match="kernel-missing"):
                launch(prepared, screen=screen, screen_errors=screen, say=said.append)
            assert not Path("runs").exists()
            return
        finished = launch(prepared, screen=screen, screen_errors=screen, say=said.append)
    assert finished.outcome.exit_code == 0, (finished.folder / "train.log").read_text()
    named = f'"attention": {{"provider": "kernel", "repo": "{REPO}", "revision": "{COMMIT}"}}'
    assert named in (finished.folder / "train.log").read_text()  # the training is told
    assert COMMIT in (finished.folder / "plan.json").read_text() and COMMIT in (finished.folder / "facts.json").read_text()


LEAVES = {"monitor.json": "[1, 2]", "monitor.jsonl": '{"loss": "x"}\n[]\n' + "[" * 100_000 + "\n",
          "speedups.json": '{"a": {"used": "yes"}}'}


@pytest.mark.parametrize("spoil", [
    "import shutil; shutil.rmtree(folder)",
    "os.remove(folder + '/train.log'); os.mkdir(folder + '/train.log')",
    f"[open(f'{{folder}}/{{name}}', 'w').write(text) for name, text in {LEAVES!r}.items()]",
    "os.remove(folder + '/run.json'); os.mkdir(folder + '/run.json')",
    "open(folder + '/swanlab.json', 'w').write('[[[')",
], ids=["gone", "log is a folder", "garbage", "record is a folder", "swanlab garbage"])
def test_whatever_the_training_left_it_keeps_its_exit_code(spoil: str) -> None:
    said = list[Words]()
    finished = train(f"import os, sys; folder = sys.argv[1]; {spoil}; print('RuntimeError: x'); sys.exit(7)", said)
    assert finished.outcome.exit_code == 7 == finished.record.exit_code and finished.record.status == "failed"
    written = Path(finished.folder, "run.json")
    if written.is_file():
        assert read_record(finished.folder).status == "failed"
    assert not any("Error:" in render_words(words, "en") and "last-bug" in render_words(words, "en") for words in said)


def test_a_bug_of_ours_after_the_training_is_said_and_recorded(monkeypatch: pytest.MonkeyPatch, work: Path) -> None:
    """A line watcher that fails as a table without an entry did: the training goes on, and its end is its own."""
    def bug(line: bytes) -> None:
        raise KeyError("flash-attn-unheard-of")

    config = resolve_config([], ["swanlab.mode=disabled", "run.name=one"])
    prepared = plan_launch(Judgement(config, FACTS, ()))
    plan = replace(prepared.plan, starts=(sys.executable, "-c", "print('a'); print('b'); raise SystemExit(7)"))
    said: list[Words] = []
    with open("screen", "wb") as screen:
        finished = launch(replace(prepared, plan=plan), screen=screen, screen_errors=screen, say=said.append, on_line=bug)
    record = read_record(finished.folder)
    assert finished.outcome.exit_code == record.exit_code == 7 and record.status == "failed"
    assert "KeyError" in (record.detail or "") and Path(os.environ["SWIFT_FA_CACHE"], "last-bug.txt").is_file()
    assert len([words for words in said if "KeyError" in render_words(words, "en")]) == 1
