"""Checkpoints as torch and safetensors write them, and what is left of one whose writing was cut off."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from run_records import make_checkpoint, write_safetensors, write_zip  # type: ignore[import-not-found]

from swift_fa_launcher.runs.checkpoints import list_checkpoints, newest_complete


def cut(name: str) -> Callable[[Path], object]:
    def half(checkpoint: Path) -> None:
        file = checkpoint / name
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return half


def make_deepspeed(checkpoint: Path) -> None:
    (checkpoint / "optimizer.pt").unlink()
    (checkpoint / "global_step10").mkdir()
    write_zip(checkpoint / "global_step10" / "zero_pp_rank_0_mp_rank_00_optim_states.pt")
    (checkpoint / "latest").write_text("global_step10")


def make_sharded(checkpoint: Path) -> None:
    write_safetensors(checkpoint / "model-00001-of-00002.safetensors")
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {
        "a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}))


def test_the_newest_by_number_not_by_name(tmp_path: Path) -> None:
    for step in (5, 100, 20):
        make_checkpoint(tmp_path, step)
    (tmp_path / "checkpoint-last").mkdir()
    (tmp_path / "checkpoint-7").write_text("")
    found = list_checkpoints(tmp_path)
    assert [c.step for c in found] == [100, 20, 5] and not any(c.problem for c in found)
    newest = newest_complete(found)
    assert newest and newest.step == 100


@pytest.mark.parametrize(("damage", "said"), [
    (cut("adapter_model.safetensors"), "adapter_model.safetensors is cut off"), (cut("optimizer.pt"), "optimizer.pt is cut off"),
    (cut("rng_state.pth"), "rng_state.pth is cut off"), (cut("trainer_state.json"), "trainer_state.json is cut off"),
    (lambda c: (c / "trainer_state.json").unlink(), "trainer_state.json is missing"),
    (lambda c: (c / "optimizer.pt").unlink(), "optimizer.pt is missing"),
    (lambda c: (c / "optimizer.pt").write_bytes(b""), "optimizer.pt is cut off"),
    (lambda c: (c / "adapter_model.safetensors").unlink(), "model.safetensors is missing"),
    (lambda c: (c / "adapter_model.safetensors").write_bytes(bytes(4)), "is cut off"),
    (lambda c: (make_deepspeed(c), (c / "latest").write_text("global_step11")), "global_step11/*.pt is missing"),
    (lambda c: (make_deepspeed(c), cut("global_step10/zero_pp_rank_0_mp_rank_00_optim_states.pt")(c)), "is cut off"),
    (make_sharded, "model-00002-of-00002.safetensors is missing"),
])
def test_a_checkpoint_cut_off_while_saving_is_named_and_passed_over(tmp_path: Path, damage: Callable[[Path], object],
                                                                    said: str) -> None:
    make_checkpoint(tmp_path, 10)
    damage(make_checkpoint(tmp_path, 20))
    found = list_checkpoints(tmp_path)
    newest = newest_complete(found)
    assert newest and newest.step == 10 and said in str(found[0].problem)


def test_a_whole_deepspeed_checkpoint(tmp_path: Path) -> None:
    make_deepspeed(make_checkpoint(tmp_path, 10))
    assert not list_checkpoints(tmp_path)[0].problem
    assert list_checkpoints(tmp_path / "nowhere") == ()
