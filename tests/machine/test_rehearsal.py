"""What two trainings in small foretell of the whole one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swift_fa_launcher.machine.facts import GIB
from swift_fa_launcher.machine.rehearsal import foretell, read_ranks, steady_rate


def depth(layers: int, peak: float | None, seconds: float, **more: Any) -> dict[str, Any]:
    """A training of ten steps of two batches, the first ones slow; its last batches as a busy GPU made them."""
    return {"depth": layers, "peak": peak and peak * GIB, "held": 0, "total": 80 * GIB, "batches": [9.0] * 8 + [seconds] * 12,
            "rests": [1.0] * 4 + [0.01 * layers] * 6, "tokens": [1000] * 20, "learned": [250] * 20, "losses": [9.0, 8.5],
            "waits": [5.0] * 3 + [0.02] * 6, "steps_per_epoch": 40, "accumulation": 2, **more}


def test_a_straight_line_through_two_depths() -> None:
    ranks = [{"layers": 28, "depths": [depth(2, 5.0, 0.1), depth(4, 7.0, 0.14)]}]
    found = foretell(ranks, accumulation=4, rows=10.0)
    assert found.peak_gib == pytest.approx(5.0 + 26 * 1.0)
    assert found.step_seconds == pytest.approx(4 * (0.1 + 26 * 0.02) + 0.28 + 0.02)
    assert found.tokens_per_second == pytest.approx(4 * 1000 / found.step_seconds)  # type: ignore[operator]
    assert (found.learned, found.losses, found.gpu_gib) == (0.25, (9.0, 8.5), 80.0)
    assert found.epoch_steps == 40 * 2 / 4 * 10
    assert foretell(ranks, accumulation=4).epoch_steps is None  # nobody knows how many rows there are


def test_a_busy_gpu_is_believed_more_than_one_that_rests() -> None:
    busy = [depth(n, 5.0, 0.05, busy={"seconds": 8 * n * 0.05, "tokens": 8000}) for n in (2, 4)]
    found = foretell([{"layers": 28, "depths": busy}], accumulation=1)
    assert found.step_seconds == pytest.approx(28 * 0.05 + 0.28)


def test_a_whole_training_is_measured_without_its_slow_first_steps() -> None:
    ticks = [0.0, 50.0, 90.0, 100.0, 101.0, 103.0, 104.0, 106.0, 107.0, 109.0]
    whole = depth(28, 5.0, 0.1, ticks=ticks, tokens=[900] * 10 + [1000] * 10)
    assert steady_rate([{"depths": [whole]}]) == pytest.approx(10 * 1000 / 8.0)  # from the fifth step's end on
    assert steady_rate([{"depths": [whole]}, {"depths": [whole]}]) == pytest.approx(2 * 10 * 1000 / 8.0)
    assert steady_rate([{"depths": [whole]}, {}]) is None and steady_rate([{"depths": [depth(2, 5.0, 0.1, ticks=[1.0])]}]) is None


def test_the_fullest_process_and_the_tokens_of_all() -> None:
    ranks = [{"layers": 28, "depths": [depth(2, low, 0.1), depth(4, low + 2, 0.14)]} for low in (5.0, 6.0)]
    found = foretell(ranks, accumulation=1)
    assert found.peak_gib == pytest.approx(6.0 + 26)
    assert found.tokens_per_second == pytest.approx(2 * 1000 / found.step_seconds)  # type: ignore[operator]


def test_a_model_that_is_no_deeper_is_measured_itself() -> None:
    found = foretell([{"layers": 2, "depths": [depth(2, None, 0.1)]}], accumulation=2)
    assert (found.peak_gib, found.step_seconds) == (None, pytest.approx(2 * 0.1 + 0.02 + 0.02))


def test_what_failed_and_what_cannot_be() -> None:
    shown = {"layers": 28, "depths": [depth(2, 5.0, 0.1)]}
    later = foretell([{**shown, "error": "OutOfMemoryError: CUDA out of memory", "out_of_memory": True}], accumulation=1)
    assert later.out_of_memory and later.peak_gib is None and [one.depth for one in later.trials] == [2]
    assert foretell([{"layers": None, "depths": [], "cannot": "why"}], accumulation=1).cannot == "why"
    assert foretell([], accumulation=1).error is None
    assert foretell([{"layers": 28, "depths": [], "error": "KeyError: 'x'"}], accumulation=1).error == "KeyError: 'x'"


def test_a_training_of_no_step_foretells_nothing() -> None:
    none = depth(2, None, 0.1, batches=[], rests=[], waits=[], tokens=[], learned=[], losses=[])
    found = foretell([{"layers": 2, "depths": [none]}], accumulation=1)
    assert found.cannot is not None and found.trials == ()


def test_a_loss_that_is_no_number() -> None:
    shown = [depth(2, 5.0, 0.1, losses=[9.0, float("nan")]), depth(4, 7.0, 0.14, losses=[9.0, float("nan")])]
    assert foretell([{"layers": 28, "depths": shown}], accumulation=1).losses == (9.0, None)


def test_files_of_the_processes_in_rank_order(tmp_path: Path) -> None:
    for rank in (10, 2, 0):
        (tmp_path / f"rank-{rank}.json").write_text(json.dumps({"layers": rank}))
    (tmp_path / "rank-1.json").write_text("{")  # killed while it wrote
    assert [rank["layers"] for rank in read_ranks(tmp_path)] == [0, 2, 10]
