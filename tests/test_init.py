"""`swift-fa init`: what it chooses for a machine, and the file as its reader and the preflight meet it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny  # type: ignore[import-not-found]
import yaml
from machines import MODEL, gpu, machine  # type: ignore[import-not-found]

from swift_fa_launcher.config.first import First, render_first
from swift_fa_launcher.config.layers import resolve_config, resolve_data
from swift_fa_launcher.preflight.checks import check_all
from swift_fa_launcher.stories.init import choose_first

ASKED = resolve_data({"swift": {"model": MODEL, "dataset": ["data/chat.jsonl"], "tuner_type": "lora"}})


def chosen(**facts: Any) -> First:
    return choose_first(Path("my run.yaml"), ASKED, machine(**facts))


def swift_fa(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "swift_fa_launcher", *words], cwd=folder, text=True, capture_output=True,
                          check=False, timeout=120, stdin=subprocess.DEVNULL)


def test_free_gpus_are_taken_and_busy_ones_are_not() -> None:
    one, two = gpu(), gpu(index=1)
    busy = gpu(index=2, free_memory_gib=1.0)
    assert (chosen(gpus=[one]).gpus, chosen(gpus=[one, two]).gpus, chosen(gpus=[one, busy, two]).gpus) == (None, (0, 1), (0, 1))
    assert (chosen(gpus=[busy, one]).gpus, chosen(gpus=[busy, one]).count) == ((0,), 1)
    assert chosen(gpus=[one, two, busy], env={"CUDA_VISIBLE_DEVICES": "1"}).gpus is None
    assert chosen(gpus=[busy]).on == "gpu", "the preflight says that it is busy"


def test_a_machine_without_bfloat16_or_without_a_gpu() -> None:
    assert (chosen(gpus=[]).on, chosen(gpus=[gpu(compute_capability="7.5")]).on, chosen().on) == ("cpu", "old", "gpu")
    old = gpu(index=1, compute_capability="7.5")
    assert chosen(gpus=[gpu(), old]).gpus == (0,), "one of them has flash attention"


def test_more_memory_takes_more_rows() -> None:
    sizes = [chosen(gpus=[gpu(memory_gib=gib, free_memory_gib=gib)]).room for gib in (16.0, 24.0, 40.0, 80.0)]
    assert sizes == sorted(sizes) and sizes[0] == 1 and sizes[-1] == 8
    assert chosen(gpus=[gpu(free_memory_gib=None)]).room == 1, "what is not known is not guessed"


@pytest.mark.parametrize(("on", "room", "count", "rows", "times"), [
    ("gpu", 8, 1, 4, 1), ("gpu", 1, 1, 1, 4), ("gpu", 8, 2, 2, 1), ("gpu", 8, 8, 1, 1), ("cpu", 1, 1, 1, 16),
    ("old", 8, 2, 8, 1)])
def test_a_step_sees_as_many_examples_on_every_machine(on: str, room: int, count: int, rows: int, times: int) -> None:
    first = First("a.yaml", "a", "m", ("d",), on, None, count, room, "in")
    assert (first.rows, first.accumulated) == (rows, times)


def test_swanlab_as_it_is_here() -> None:
    assert (chosen().swanlab, chosen(swanlab__api_key=None).swanlab, chosen(packages={"swanlab": None}).swanlab) == (
        "in", "out", "absent")


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("facts", [
    {}, {"gpus": []}, {"gpus": [gpu(compute_capability="7.5")]}, {"gpus": [gpu(), gpu(index=1)]},
    {"swanlab__api_key": None}, {"packages": {"swanlab": None}}])
def test_the_checks_find_no_error_in_what_is_written(facts: dict[str, Any], lang: str, tmp_path: Path) -> None:
    """Each value is one that the machine can do: the preflight of the same facts blocks nothing."""
    (file := tmp_path / "a.yaml").write_text(render_first(chosen(**facts), lang), encoding="utf-8")
    config = resolve_config([file])
    assert config.swift.text("model") == MODEL and config.swift.names("dataset") == ("data/chat.jsonl",)
    paths = {"output/my-run": {"kind": "dir", "writable": True, "free_gib": 900.0, "entries": 0}}
    errors = [f"{f.code}: {f.summary}" for f in check_all(config, machine(paths=paths, **facts)) if f.severity == "error"]
    assert not [error for error in errors if not error.startswith("swanlab-mode-unsupported")]
    lines = file.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ") and "swift-fa preflight 'my run.yaml'" in lines[1] and max(map(len, lines)) <= 130


def test_names_that_yaml_would_read_otherwise_stay(tmp_path: Path) -> None:
    odd = First("a.yaml", "1e3", "org/it's: #1", ("a b.jsonl #5", "数据.jsonl#5", "yes"), "gpu", (0, 1), 2, 1, "in")
    read = yaml.safe_load(render_first(odd, "en"))
    assert (read["swift"]["model"], read["swift"]["dataset"]) == (odd.model, list(odd.datasets))
    (file := tmp_path / "a.yaml").write_text(render_first(odd, "en"), encoding="utf-8")
    config = resolve_config([file])
    assert (config.run.name, config.launch.gpus, config.launch.nproc_per_node) == ("1e3", (0, 1), 2)
    assert config.swift["learning_rate"] == 1e-4


@pytest.mark.stack
def test_a_file_that_trains_here_is_written_and_never_over_another(tmp_path: Path) -> None:
    tiny.make_tiny_model(tmp_path / tiny.MODEL_NAME)
    tiny.make_chat_rows(tmp_path / tiny.ROWS_NAME, 40)
    words = ("init", "sub/a.yaml", "--model", tiny.MODEL_NAME, "--dataset", tiny.ROWS_NAME)
    done = swift_fa(tmp_path, *words)
    text = (tmp_path / "sub" / "a.yaml").read_text(encoding="utf-8")
    assert done.returncode == 0 and "swift-fa train sub/a.yaml" in done.stderr and "ready" in done.stdout
    assert "extends: swift-fa:lora" in text
    again = swift_fa(tmp_path, "init", "sub/a.yaml", "--model", "another")
    assert again.returncode == 1 and "-> replace it: swift-fa init sub/a.yaml --model another --force" in again.stderr
    assert (tmp_path / "sub" / "a.yaml").read_text(encoding="utf-8") == text
    answer = json.loads(swift_fa(tmp_path, *words, "--force", "--json").stdout)
    assert (answer["schema"], answer["file"]) == (1, "sub/a.yaml") and answer["status"] != "blocked"
    assert swift_fa(tmp_path, "preflight", "sub/a.yaml").returncode == 0
    (tmp_path / "wall").write_text("")
    assert "cannot be written" in swift_fa(tmp_path, "init", "wall/a.yaml").stderr


@pytest.mark.stack
def test_on_a_terminal_it_asks(tmp_path: Path) -> None:
    tiny.make_tiny_model(tmp_path / tiny.MODEL_NAME)
    tiny.make_chat_rows(tmp_path / tiny.ROWS_NAME, 4)
    (tmp_path / "my.yaml").write_text("mine")
    assert talk(tmp_path, "\n")[0] == 1 and (tmp_path / "my.yaml").read_text() == "mine"
    code, said = talk(tmp_path, f"y\n{tiny.MODEL_NAME}\n{tiny.ROWS_NAME}#2 {tiny.ROWS_NAME}\n")
    config = resolve_config([tmp_path / "my.yaml"])
    assert code == 0 and "Replace it?" in said and "[Qwen/" in said
    assert config.swift["model"] == tiny.MODEL_NAME and config.swift.names("dataset") == (f"{tiny.ROWS_NAME}#2", tiny.ROWS_NAME)


def talk(folder: Path, answers: str) -> tuple[int, str]:
    """The exit code and the screen of `swift-fa init` on a terminal whose user types the answers."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-m", "swift_fa_launcher", "init"], cwd=folder, stdin=theirs, stdout=theirs,
                          stderr=theirs) as child:
        os.close(theirs)
        os.write(ours, answers.encode())
        said = b""
        try:
            while piece := os.read(ours, 65536):
                said += piece
        except OSError:  # Linux's end of a terminal
            pass
        code = child.wait(timeout=60)
    os.close(ours)
    return code, said.decode(errors="replace")


@pytest.mark.stack
def test_the_demo_is_ready_to_train(tmp_path: Path) -> None:
    done = swift_fa(tmp_path, "init", "demo.yaml", "--demo")
    config = resolve_config([tmp_path / "demo.yaml"])
    assert done.returncode == 0 and "ready" in done.stdout and "swift-fa train demo.yaml" in done.stderr
    assert (tmp_path / str(config.swift["model"]) / "model.safetensors").is_file() and config.run.root == ".demo/runs"
    (tmp_path / "wall" / ".demo").parent.mkdir()
    (tmp_path / "wall" / ".demo").write_text("")
    assert "demo-not-made" in swift_fa(tmp_path / "wall", "init", "--demo", "--json").stdout
