"""How a model is made small, and real rehearsals on the CPU: one that is fine, three that stop a training."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny  # type: ignore[import-not-found]
from by_path import load_file

FILE = Path(__file__).parents[2] / "swift_fa_launcher" / "training" / "swift_fa_rehearsal.py"


@pytest.fixture(scope="module")
def rehearsal() -> Any:
    return load_file(FILE)


@pytest.mark.parametrize(("config", "depths"), [
    ({"num_hidden_layers": 28}, (2, 8)),
    ({"num_hidden_layers": 6}, (2, 4)),
    ({"num_hidden_layers": 4}, (4, 4)),  # no deeper than what is tried
    ({"num_hidden_layers": 48, "layer_types": (["linear"] * 3 + ["full"]) * 12}, (4, 16)),
    ({"num_hidden_layers": 61, "first_k_dense_replace": 3}, (5, 11)),
    ({"num_hidden_layers": 48, "decoder_sparse_step": 2, "full_attention_interval": 3}, (6, 24)),
    ({"num_hidden_layers": 62, "layer_types": (["sliding"] * 5 + ["full"]) * 10 + ["sliding"] * 2}, (6, 24)),
])
def test_depths_differ_by_whole_periods(rehearsal: Any, config: dict[str, Any], depths: tuple[int, int]) -> None:
    assert rehearsal.depths_of(SimpleNamespace(**config), config["num_hidden_layers"]) == depths


def test_a_config_is_cut_with_its_lists(rehearsal: Any) -> None:
    config = SimpleNamespace(num_hidden_layers=28, layer_types=["full"] * 28, other=[1, 2], hidden_size=64)
    assert rehearsal.cut(config, 0) == (28, 2)
    assert (config.num_hidden_layers, config.layer_types, config.other) == (2, ["full"] * 2, [1, 2])
    with pytest.raises(rehearsal.Cannot, match="how many layers"):
        rehearsal.cut(SimpleNamespace(hidden_size=64), 0)


def test_nothing_is_left_of_an_order_that_has_ended(rehearsal: Any, tmp_path: Path) -> None:
    """Like a data worker, which outlives its training for seconds and holds the GPU's memory."""
    left = subprocess.Popen(["sh", "-c", "sleep 60 & echo $! > worker; exit 3"], start_new_session=True, cwd=tmp_path)
    assert rehearsal.ended(left.pid, 30.0) == 3
    worker = Path("/proc", (tmp_path / "worker").read_text().strip(), "stat")
    assert not worker.exists() or worker.read_text().rpartition(")")[2].split()[0] == "Z"
    late = subprocess.Popen(["sleep", "60"], start_new_session=True)
    assert rehearsal.ended(late.pid, 0.1) == 124


CONFIG = tiny.CPU_LORA + """
  max_length: 512
  max_steps: 3
  learning_rate: 1e-3
  output_dir: out
swanlab: {{enabled: false}}
preflight: {{rehearsal: always}}
"""


ONLY_ONE_TRAINER = """
import functools, os
from transformers import Trainer

make = Trainer.__init__

@functools.wraps(make)
def make_one(*args, **kwargs):
    os.mkdir({begun!r})  # there already when the second is made
    make(*args, **kwargs)

Trainer.__init__ = make_one
"""


#: Of two processes that meet, as ms-swift's do. The second one's all-reduce may not come.
MEETING = """
import os, sys, time
sys.path.insert(0, os.path.dirname({file!r}))
import swift_fa_rehearsal as script, torch
found = script.Rehearsal({{"folder": {folder!r}}})
script.LINK = {seconds}
script.watch_link(found)
if os.environ["RANK"] == {silent!r}:
    torch.distributed.all_reduce = lambda *args: time.sleep(600)
torch.distributed.init_process_group("gloo")
found.write()
"""


@pytest.mark.stack
@pytest.mark.parametrize(("silent", "seconds", "code"), [("", 60.0, 0), ("1", 2.0, 1)])
def test_a_link_that_hangs_is_named(tmp_path: Path, silent: str, seconds: float, code: int) -> None:
    text = MEETING.format(file=str(FILE), folder=str(tmp_path), silent=silent, seconds=seconds)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    running = [subprocess.Popen([sys.executable, "-c", text], env={**env, "RANK": rank, "LOCAL_RANK": rank}) for rank in "01"]
    try:
        assert {one.wait(120) for one in running} == {code}
    finally:
        for one in running:
            one.kill()
    told = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in "01"]
    if silent:
        hangs = re.compile(r"first all-reduce of 2 processes did not end in 2 s \(cpu of .*rank 0, 1\)")
        assert all(hangs.search(one["error"]) for one in told)
    else:
        assert all(0 < one["link"] < seconds for one in told)


def rehearse(folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run([sys.executable, "-m", "swift_fa_launcher", "rehearse", "c.yaml", *words, "--json"], cwd=folder,
                          capture_output=True, text=True, check=False,
                          env={**os.environ, "SWIFT_FA_CACHE": str(folder / "cache"), "TMPDIR": str(folder)})
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    tiny.make_tiny_model(tmp_path / tiny.MODEL_NAME)
    tiny.make_chat_rows(tmp_path / tiny.ROWS_NAME, 40)
    (tmp_path / "c.yaml").write_text(CONFIG.format(folder=tmp_path), encoding="utf-8")
    return tmp_path


@pytest.mark.training
def test_a_training_that_is_fine_is_rehearsed_once_and_leaves_nothing(folder: Path) -> None:
    before = {*folder.iterdir()}
    code, told = rehearse(folder)
    found = told["rehearsal"]
    assert (code, found["error"], found["cannot"]) == (0, None, None)
    assert [trial["depth"] for trial in found["trials"]] == [tiny.LAYERS] and found["layers"] == tiny.LAYERS
    assert 0.2 < found["learned"] < 0.6 and found["losses"][-1] < found["losses"][0] and found["step_seconds"] > 0
    left = {file.name for file in {*folder.iterdir()} - before if not file.name.startswith("torch")}  # torch's own cache
    assert left == {"cache"}  # no output, no temporary folder
    done = subprocess.run([sys.executable, "-m", "swift_fa_launcher", "train", "c.yaml"], cwd=folder, capture_output=True,
                          text=True, check=False, env={**os.environ, "SWIFT_FA_CACHE": str(folder / "cache"), "LANG": "C"})
    assert done.returncode == 0 and "rehearsed with 2 of 2 layers" in done.stderr and "... rehearsing" not in done.stderr


@pytest.mark.training
def test_a_training_that_ran_once_is_not_blamed_for_not_running_twice(folder: Path) -> None:
    """Two depths run in one process; what ends the second one alone is the rehearsal's. Weights are not needed."""
    (folder / tiny.MODEL_NAME / "model.safetensors").unlink()
    config = folder / tiny.MODEL_NAME / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "num_hidden_layers": 12}))
    (folder / "once.py").write_text(ONLY_ONE_TRAINER.format(begun=str(folder / "begun")))
    code, told = rehearse(folder, f"swift.external_plugins={folder / 'once.py'}")
    found = told["rehearsal"]
    assert (code, found["error"], found["trials"][0]["depth"]) == (0, None, 2)
    assert "began anew" in found["cannot"]


@pytest.mark.training
def test_what_only_a_step_shows_stops_the_training(folder: Path) -> None:
    """Rows whose answers are cut off: ms-swift would train on nothing."""
    rows = [{"messages": [{"role": "user", "content": "a " * 40}, {"role": "assistant", "content": "b"}]} for _ in range(20)]
    (folder / tiny.ROWS_NAME).write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, told = rehearse(folder, "swift.max_length=32", "swift.truncation_strategy=right")
    errors = {finding["code"] for finding in told["findings"] if finding["severity"] == "error"}
    assert code == 1 and errors == {"labels-masked"}, told
