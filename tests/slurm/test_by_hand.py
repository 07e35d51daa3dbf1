"""The same `swift-fa train CONFIG` started on every node by a platform: one run. The nodes are processes of this machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny  # type: ignore[import-not-found]

pytestmark = pytest.mark.training

IMITATION = Path(__file__).with_name("imitation")
CONFIG = tiny.CPU_LORA + """
  max_steps: 4
  logging_steps: 1
  save_steps: 4
  output_dir: out
swanlab: {{mode: offline, project: p, experiment: e}}
launch: {{grace: 4}}
"""


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    tiny.make_tiny_model(folder / tiny.MODEL_NAME)
    tiny.make_chat_rows(folder / tiny.ROWS_NAME, 60)
    return folder


def _nodes(folder: Path, material: Path, variables: list[dict[str, str]], *words: str, real: bool = False) -> list[Any]:
    """The same command on every node, each in the environment that its platform gives it: exit codes, and what they said."""
    folder.mkdir()
    (folder / "c.yaml").write_text(CONFIG.format(folder=material))
    environment = {**os.environ, "PYTHONPATH": "" if real else str(IMITATION), "SWIFT_FA_MEETING": str(folder / "meetings"),
                   "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    command = [sys.executable, "-m", "swift_fa_launcher", "train", "c.yaml", "run.speedups=never", "--allow",
               "master-addr-loopback", *words]
    nodes = [subprocess.Popen(command, text=True, cwd=folder, env={**environment, **own}, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT) for own in variables]
    try:
        said = [node.communicate(timeout=100)[0] for node in nodes]
    finally:
        for node in nodes:
            node.terminate()
    return [(node.returncode, text) for node, text in zip(nodes, said, strict=True)]


def _port() -> str:
    with socket.socket() as one:
        one.bind(("", 0))
        return str(one.getsockname()[1])


def _platforms(kind: str, ranks: tuple[int, ...] = (0, 1)) -> list[dict[str, str]]:
    port = _port()
    if kind == "dlc":
        return [{"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_PORT": port} for rank in ranks]
    return [{"PET_NODE_RANK": str(rank), "PET_NNODES": "2", "PET_NPROC_PER_NODE": "1", "PET_MASTER_PORT": port,
             "PET_MASTER_ADDR": "127.0.0.1"} for rank in ranks]


@pytest.mark.parametrize("kind", ["dlc", "kubeflow"])
def test_the_same_command_on_every_node_is_one_run(tmp_path: Path, material: Path, kind: str) -> None:
    ends = _nodes(tmp_path / "work", material, _platforms(kind))
    assert [code for code, _ in ends] == [0, 0], ends
    (run,) = (tmp_path / "work" / "runs").glob("2*")
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "finished" and json.loads((run / "nodes" / "1" / "end.json").read_text())["exit_code"] == 0
    assert (run / "nodes" / "1" / "train.log").is_file() and run.name in ends[1][1]
    started = [*(tmp_path / "work" / "meetings" / run.name).glob("rank-*")]
    assert sorted(file.name.partition(".")[0] for file in started) == ["rank-0", "rank-1"]


def test_two_real_processes_train_as_one(tmp_path: Path, material: Path) -> None:
    ends = _nodes(tmp_path / "work", material, _platforms("kubeflow"), "swift.max_steps=2", real=True)
    assert [code for code, _ in ends] == [0, 0], ends
    (run,) = (tmp_path / "work" / "runs").glob("2*")
    assert "world_size: 2" in (run / "train.log").read_text()


def test_a_rank_that_another_node_has_is_refused(tmp_path: Path, material: Path) -> None:
    ((code, said),) = _nodes(tmp_path / "work", material, _platforms("dlc", (1,)), "launch.node_rank=0")
    assert code == 1 and "node-rank-mismatch" in said, said
    three = [{**one, "WORLD_SIZE": "3"} for one in _platforms("dlc", (0, 1, 1))]
    for code, said in _nodes(tmp_path / "twice", material, three):
        assert code == 1 and "two of the 3 nodes have node_rank=1" in said, said
    assert not (tmp_path / "twice" / "runs").exists() and not (tmp_path / "twice" / "meetings").exists()
