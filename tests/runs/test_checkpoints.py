"""Checkpoints as torch and safetensors write them, and what is left of one whose writing was cut off."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from run_records import make_checkpoint, write_safetensors, write_zip  # type: ignore[import-not-found]

from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.machine.facts import Facts, parse_facts
from swift_fa_launcher.machine.paths import collect_paths
from swift_fa_launcher.preflight.checks.data import checkpoint_incomplete
from swift_fa_launcher.runs.output import list_checkpoints, newest_complete


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
    (lambda c: (c / "checkpoint-is-incomplete.txt").write_text("x"), "checkpoint-is-incomplete.txt is cut off"),
    (lambda c: write_zip(c / "rng_state_0.pth"), "rng_state_1.pth is missing"),
    (lambda c: [write_zip(c / f"rng_state_{i}.pth") for i in (0, 1, 3)], "rng_state_2.pth is missing"),
    (make_sharded, "model-00002-of-00002.safetensors is missing"),
])
def test_a_checkpoint_cut_off_while_saving_is_named_and_passed_over(tmp_path: Path, damage: Callable[[Path], object],
                                                                    said: str) -> None:
    make_checkpoint(tmp_path, 10)
    damage(make_checkpoint(tmp_path, 20))
    found = list_checkpoints(tmp_path)
    newest = newest_complete(found)
    assert newest and newest.step == 10 and said in str(found[0].problem)


def test_several_processes_with_a_state_each_are_whole(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path, 10)
    (checkpoint / "rng_state.pth").unlink()
    for rank in range(12):
        write_zip(checkpoint / f"rng_state_{rank}.pth")
    assert not list_checkpoints(tmp_path)[0].problem


def test_a_whole_deepspeed_checkpoint(tmp_path: Path) -> None:
    make_deepspeed(make_checkpoint(tmp_path, 10))
    assert not list_checkpoints(tmp_path)[0].problem
    assert list_checkpoints(tmp_path / "nowhere") == ()


def without(*names: str) -> Callable[[Path], None]:
    def remove(checkpoint: Path) -> None:
        for name in names:
            (checkpoint / name).unlink()
    return remove


def make_full(checkpoint: Path) -> None:
    """A full training's, with the file of arguments that every checkpoint has and that holds no weights."""
    (checkpoint / "adapter_model.safetensors").rename(checkpoint / "model.safetensors")
    write_zip(checkpoint / "training_args.bin")


def make_lora(checkpoint: Path) -> None:
    (checkpoint / "adapter_config.json").write_text("{}")
    write_zip(checkpoint / "training_args.bin")


def make_adapters(checkpoint: Path) -> None:
    """Several adapters, each in a folder of its own."""
    (checkpoint / "default").mkdir()
    (checkpoint / "adapter_model.safetensors").rename(checkpoint / "default" / "adapter_model.safetensors")


def make_fsdp(checkpoint: Path) -> None:
    without("adapter_model.safetensors", "optimizer.pt")(checkpoint)
    for name in ("pytorch_model_fsdp_0", "optimizer_0"):
        (checkpoint / name).mkdir()
        for file in ("__0_0.distcp", ".metadata"):
            (checkpoint / name / file).write_bytes(b"x")


def make_fsdp_in_one_file(checkpoint: Path) -> None:
    (checkpoint / "adapter_model.safetensors").unlink()
    write_zip(checkpoint / "pytorch_model_fsdp.bin")
    (checkpoint / "optimizer.pt").rename(checkpoint / "optimizer.bin")


ZERO = ["swift.deepspeed=zero3"]
SHARD = "global_step10/zero_pp_rank_0_mp_rank_00_optim_states.pt"


@pytest.mark.parametrize(("make", "settings", "missing", "cut_off"), [
    ([], [], [], []), ([make_full], [], [], []), ([make_lora], [], [], []), ([make_adapters], [], [], []),
    ([make_lora, without("adapter_model.safetensors")], [], ["adapter_model.safetensors"], []),
    ([make_full, without("model.safetensors")], [], ["model.safetensors"], []),
    ([make_full, without("optimizer.pt", "scheduler.pt", "rng_state.pth")], [], ["optimizer.pt"], []),  # save_only_model
    ([without("trainer_state.json"), cut("optimizer.pt")], [], ["trainer_state.json"], ["optimizer.pt"]),
    ([cut("trainer_state.json")], [], [], ["trainer_state.json"]),
    ([make_sharded], [], ["model-00002-of-00002.safetensors"], []),
    ([make_fsdp], [], [], []), ([make_fsdp, without("optimizer_0/.metadata")], [], ["optimizer_0/.metadata"], []),
    ([make_fsdp_in_one_file], [], [], []),
    ([make_fsdp_in_one_file, without("optimizer.bin")], [], ["optimizer.bin"], []),
    ([make_deepspeed], ZERO, [], []),
    ([make_deepspeed, without("adapter_model.safetensors")], ZERO, [], []),  # zero3 may keep the weights in its shards
    ([make_deepspeed, without("latest")], ZERO, ["latest"], []),  # which is written last
    ([make_deepspeed, without(SHARD)], ZERO, ["global_step10/*.pt"], []),
    ([make_deepspeed, cut(SHARD)], ZERO, [], [SHARD]),
])
def test_resume_and_the_preflight_judge_alike(tmp_path: Path, make: list[Callable[[Path], object]], settings: list[str],
                                              missing: list[str], cut_off: list[str]) -> None:
    checkpoint = make_checkpoint(tmp_path, 10)
    for change in make:
        change(checkpoint)
    config = resolve_config([], [f"swift.resume_from_checkpoint={checkpoint}", *settings])
    found = list(checkpoint_incomplete(config, Facts(paths=collect_paths(config, {}))))
    said = [f"deepspeed's {name} is missing" if name == "latest" else f"{name} is missing" for name in missing]
    said += [f"{name} is cut off" for name in cut_off]
    (left,) = list_checkpoints(tmp_path)
    assert left.problem == "" if not said else str(left.problem[0]) == ", ".join(said)
    assert [one.context["missing"] for one in found] == [tuple(missing)] * bool(said)
    assert [one.context["cut_off"] for one in found] == [tuple(cut_off)] * bool(said)
    assert all(", ".join(said) in one.summary[0] for one in found)


def test_weights_alone_are_asked_for_where_nothing_else_is_loaded(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path, 10)
    without("optimizer.pt", "trainer_state.json")(checkpoint)
    config = resolve_config([], [f"swift.resume_from_checkpoint={checkpoint}", "swift.resume_only_model=true"])
    assert not list(checkpoint_incomplete(config, Facts(paths=collect_paths(config, {}))))
    cut("adapter_model.safetensors")(checkpoint)
    (found,) = checkpoint_incomplete(config, Facts(paths=collect_paths(config, {})))
    assert found.context["cut_off"] == ("adapter_model.safetensors",)
    assert "resume_only_model" not in str(found.fix), "it would not help"


def test_facts_saved_without_what_was_cut_off_are_judged_by_the_names() -> None:
    config = resolve_config([], ["swift.resume_from_checkpoint=out/checkpoint-9"])
    paths = {"out/checkpoint-9": {"kind": "dir", "files": ["model.safetensors", "trainer_state.json"]}}
    (found,) = checkpoint_incomplete(config, parse_facts({"schema": 1, "paths": paths}, "facts.json"))
    assert "optimizer.pt is missing" in found.summary[0] and "缺少 optimizer.pt" in found.summary[1]
