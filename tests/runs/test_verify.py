"""A repetition held against its run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from run_records import make_checkpoint, start  # type: ignore[import-not-found]

from swift_fa_launcher.runs.diff import Difference
from swift_fa_launcher.runs.record import RunRecord, read_record
from swift_fa_launcher.runs.verify import Parting, Verdict, compare_steps, find_causes, render_verdict, verify


def steps(*losses: float, **more: Any) -> dict[int, dict[str, Any]]:
    return {step: {"loss": loss, **more} for step, loss in enumerate(losses, 1)}


def test_the_first_step_that_differs_is_named() -> None:
    assert compare_steps(steps(1.0, 0.5), steps(1.0, 0.5)) == (2, None)
    assert compare_steps(steps(1.0, 0.5, 0.25), steps(1.0, 0.5000001, 0.3)) == (3, Parting(2, "loss", 0.5, 0.5000001))
    assert compare_steps(steps(1.0, grad_norm=3.0), steps(1.0, grad_norm=3.0000002))[1] == Parting(1, "grad_norm", 3.0, 3.0000002)
    assert compare_steps(steps(1.0, grad_norm=None), steps(1.0, grad_norm=3.0)) == (1, None), "of an older launcher"
    assert compare_steps(steps(1.0, 2.0), steps(1.0)) == (1, None) and compare_steps({}, steps(1.0)) == (0, None)


RECORD = RunRecord("20261127-000000-a-0000", "a", "finished", "2026-11-27T00:00:00+00:00", "/w")
ON_GPU = replace(RECORD, measured={"memory_of": "cuda", "kernel": "flash-attn 2.8.3"})


@pytest.mark.parametrize(("record", "differences", "said"), [
    (ON_GPU, (), ["atomic additions", "fixed order"]), (replace(ON_GPU, measured={"memory_of": "cuda"}), (), ["fixed order"]),
    (replace(ON_GPU, command=("swift", "sft", "--full_determinism", "true")), (), []), (RECORD, (), []),
    (RECORD, (Difference("packages", "torch", "2.8", "2.9"), Difference("config", "swift.full_determinism", None, True)),
     ["packages torch: 2.8 -> 2.9"]),
    (RECORD, (Difference("machine", "host", "a", "b", matters=False),), [])])
def test_what_is_known_of_a_difference(record: RunRecord, differences: tuple[Difference, ...], said: list[str]) -> None:
    causes = [cause.en for cause in find_causes(record, differences)]
    assert len(causes) == len(said) and all(part in cause for part, cause in zip(said, causes, strict=True))


def run(tmp_path: Path, name: str, losses: list[float], weights: bytes = b"") -> tuple[Path, RunRecord]:
    folder = start(tmp_path, name)
    line = {"seconds": 1.0, "tokens": 9, "padding": 0.0, "examples_per_step": 1, "monitor_seconds": 0.0, "tokens_per_second": 9.0,
            "peak_memory_gib": 1.0}
    rows = [{"step": step, "loss": loss, **line} for step, loss in enumerate(losses, 1)]
    (folder / "monitor.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tmp_path / f"out-{name}"
    file = make_checkpoint(output, len(losses)) / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes() + weights)
    return folder, replace(read_record(folder), output_dir=str(output))


def test_equal_to_the_bit_means_the_weights_too(tmp_path: Path) -> None:
    first = run(tmp_path, "a", [1.0, 0.5])
    same = verify(first, run(tmp_path, "b", [1.0, 0.5]), ())
    assert same == Verdict(2, None, True) and same.same and "2 logged steps, and so are the weights" in render_verdict(same, "en")
    other = verify(first, run(tmp_path, "c", [1.0, 0.5], b"x"), ())
    assert not other.same and other.weights is False and "权重不同" in render_verdict(other, "zh")
    parted = verify(first, run(tmp_path, "d", [1.0, 0.25]), ())
    assert not parted.same and render_verdict(parted, "en").startswith("differs at step 2: loss 0.5, now 0.25")
    assert parted.to_json()["differs"] == {"step": 2, "value": "loss", "first": 0.5, "second": 0.25}


def test_without_a_step_in_common_nothing_is_verified(tmp_path: Path) -> None:
    nothing = verify(run(tmp_path, "a", []), run(tmp_path, "b", [1.0]), ())
    assert not nothing.same and "not verified" in render_verdict(nothing, "en")
