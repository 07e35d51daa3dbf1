"""What packing makes of an epoch. That a dataset is packed as ms-swift packs it: tests/machine/test_row_tokens.py."""

from __future__ import annotations

from typing import Any

import pytest
from machines import DATA, MODEL, config, machine

from swift_fa_launcher.errors import Text
from swift_fa_launcher.preflight.checks import check_all
from swift_fa_launcher.preflight.packing import Batch, count_packed, make_packed, smaller_batch

OTHER = "/data/other.jsonl"
ON = {"packing": True, "max_length": 1000, "dataset": [DATA], "per_device_train_batch_size": 8,
      "gradient_accumulation_steps": 4}


def rows(**changes: Any) -> dict[str, Any]:
    tokens = changes.pop("row_tokens", [100, 300])
    limit = changes.pop("limit", 1000)
    return {"kind": "file", "rows": 6400, "rows_checked": len(tokens), "usable_rows": len(tokens), "row_tokens": tokens,
            "mean_row_tokens": sum(min(t, limit) for t in tokens) / len(tokens),
            "rows_over_max_length": sum(t > limit for t in tokens), **changes}


def epoch(swift: dict[str, Any] | None = None, path: dict[str, Any] | None = None, paths: Any = None, **sections: Any) -> Any:
    packed = make_packed(config({**ON, **(swift or {})}, **sections), machine(paths=paths or {DATA: path or rows()}))
    assert packed is not None
    return packed


def test_steps_of_an_epoch() -> None:
    packed = epoch()  # 500 of 100 and 500 of 300 tokens: three long ones and one short, or ten short ones, to a row
    assert (packed.rows, packed.steps_unpacked) == (6400, 200)
    assert packed.examples_per_row == pytest.approx(1000 / 200, rel=0.02)
    assert packed.steps == pytest.approx(200 / 5, rel=0.03)


@pytest.mark.parametrize(("swift", "sections", "trained"), [
    ({"split_dataset_ratio": 0.01}, {}, 6336), ({"split_dataset_ratio": 0.00001}, {}, 6399),
    ({"split_dataset_ratio": 0.01, "eval_strategy": "no"}, {}, 6400),
    ({"split_dataset_ratio": 0.01, "val_dataset": ["v.jsonl"]}, {}, 6400), ({"split_dataset_ratio": "none"}, {}, 6400)])
def test_rows_kept_for_validation(swift: dict[str, Any], sections: dict[str, Any], trained: int) -> None:
    assert epoch(swift).rows == trained


def test_the_ratio_that_this_ms_swift_has_by_default() -> None:
    arguments = {"split_dataset_ratio": {"type": "<class 'float'>", "choices": None, "default": 0.01}}
    packed = make_packed(config(ON), machine(paths={DATA: rows()}, ms_swift_args=arguments))
    assert packed is not None and packed.rows == 6336


@pytest.mark.parametrize(("swift", "launch", "batch"), [
    ({}, {}, Batch(8, 4, 1)), ({}, {"nproc_per_node": 4, "nnodes": 2}, Batch(8, 4, 8)),
    ({"sequence_parallel_size": 2}, {"nproc_per_node": 4}, Batch(8, 4, 2)),
    ({"gradient_accumulation_steps": None}, {}, Batch(8, 2, 1)),  # ms-swift's own default: 16 rows to a step
    ({"gradient_accumulation_steps": None, "per_device_train_batch_size": None}, {"nproc_per_node": 4}, Batch(1, 4, 4)),
    ({"gradient_accumulation_steps": None, "per_device_train_batch_size": 64}, {}, Batch(64, 1, 1))])
def test_the_batch_in_effect(swift: dict[str, Any], launch: dict[str, Any], batch: Batch) -> None:
    assert epoch(swift, launch=launch).batch == batch


@pytest.mark.parametrize(("batch", "per_row", "expected"), [
    (Batch(8, 4, 1), 6.4, (5, 1)), (Batch(8, 4, 1), 1.0, (8, 4)), (Batch(1, 16, 1), 4.0, (1, 4)), (Batch(2, 8, 1), 5.33, (1, 3)),
    (Batch(1, 1, 1), 9.0, (1, 1)), (Batch(8, 4, 1), 1.5, (7, 3)),
    (Batch(8, 4, 1), 32 / 11, (6, 2)), (Batch(2, 16, 1), 32 / 11, (2, 6))])
def test_the_batch_that_keeps_the_examples(batch: Batch, per_row: float, expected: tuple[int, int]) -> None:
    assert smaller_batch(batch, per_row) == expected


@pytest.mark.parametrize(("strategy", "trained", "per_row"), [
    (None, 3200, 2.0), ("delete", 3200, 2.0), ("right", 6400, 4 / 3), ("left", 6400, 4 / 3), ("split", 12800, 4 / 3)])
def test_rows_that_are_too_long(strategy: str | None, trained: int, per_row: float) -> None:
    """Half of the rows have 2500 tokens: dropped, cut to a whole packed row, or split into two whole
    ones and a half, each a row of its own."""
    packed = epoch({"truncation_strategy": strategy}, rows(row_tokens=[500, 2500]))
    assert packed.rows == trained
    assert packed.examples_per_row == pytest.approx(per_row, rel=0.02)


def test_a_packing_length_of_its_own_and_the_models() -> None:
    assert epoch({"packing_length": 4000}).examples_per_row == pytest.approx(20, rel=0.02)
    model = {MODEL: {"kind": "dir", "missing_files": [], "model_config": {"max_length": 2000}}}
    assert epoch({"max_length": None}, paths={DATA: rows(), **model}).examples_per_row == pytest.approx(10, rel=0.02)
    assert make_packed(config({**ON, "max_length": None}), machine(paths={DATA: rows()})) is None


def test_several_datasets_count_by_their_rows() -> None:
    names = [DATA, f"{OTHER}#3200"]
    paths = {DATA: rows(row_tokens=[100], rows=3200), f"{OTHER}#3200": rows(row_tokens=[900], rows=100)}
    packed = epoch({"dataset": names}, paths=paths)
    assert packed.rows == 6400 and packed.examples_per_row == pytest.approx(2, rel=0.02)
    for unseen in (rows(rows={"unknown": "not counted"}), {"kind": "hub"}):  # an epoch of unknown length
        packed = epoch({"dataset": [DATA, OTHER]}, paths={DATA: rows(), OTHER: unseen})
        assert packed.steps is None and packed.examples_per_row == pytest.approx(5, rel=0.02)


def test_facts_that_have_only_the_mean() -> None:
    packed = epoch(path={"kind": "file", "rows": 6400, "mean_row_tokens": 200.0})
    assert (packed.examples_per_row, packed.steps) == (5.0, 40)


def test_rows_that_do_not_fit_together() -> None:
    assert count_packed([600] * 10, 1000) == 10 and count_packed([600, 400] * 5, 1000) == 5
    assert count_packed([600, 600, 400, 400], 1000, "sequential") == 3 and count_packed([], 1000) == 0
    assert count_packed([3000, 10], 1000) == 2


def test_the_word_before_the_start() -> None:
    finding = next(f for f in check_all(config(ON), machine(paths={DATA: rows()})) if f.code == "packing-changes-batch")
    assert finding.summary.en == ("packing puts about 5.0 examples into each row, so a step sees 160 examples instead of 32; "
                                  "steps an epoch: 40 instead of 200")
    assert isinstance(finding.fix[0], Text)
    assert finding.fix[0].en == ("swift.per_device_train_batch_size=6 swift.gradient_accumulation_steps=1  "
                                 "(now 8 × 4; a step then sees about 30 examples)")


@pytest.mark.parametrize(("swift", "path", "words"), [
    ({"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}, rows(rows=10),
     ("; steps an epoch: 1 instead of 5", "a step then sees about 5 examples)")),
    ({}, rows(row_tokens=[900]), None),  # one row to a row: nothing changes
    ({}, rows(row_tokens=[1200], rows=1), None),  # no row is left
    ({"attn_impl": "sdpa"}, rows(), None), ({"attn_impl": "flash_atn"}, rows(), None), ({"lazy_tokenize": True}, rows(), None)])
def test_a_word_only_where_there_is_one_to_say(swift: dict[str, Any], path: dict[str, Any],
                                               words: tuple[str, str] | None) -> None:
    found = {f.code: f for f in check_all(config({**ON, **swift}), machine(paths={DATA: path}))}
    assert ("packing-changes-batch" in found) == (words is not None)
    if words:
        finding = found["packing-changes-batch"]
        assert finding.summary.en.endswith(words[0]) and finding.fix[0].en.endswith(words[1])  # type: ignore[union-attr]


def test_a_sample_is_called_one() -> None:
    finding = next(f for f in check_all(config(ON), machine(paths={DATA: rows(row_tokens=[10, 2000, 2000, 2000], rows=60_000)}))
                   if f.code == "rows-too-long")
    assert "3 of 4 sampled rows (75%, about 45,000 of 60,000 in the file) are longer than 1000 tokens" in finding.summary.en


@pytest.mark.parametrize(("swift", "path", "stops"), [
    ({}, {}, True), ({"truncation_strategy": "right"}, {}, False), ({}, {"rows": 60}, False),
    ({}, {"row_tokens": [2201, 1990, 3000]}, False),  # twice as long is certain, whatever the tools' layout
    ({}, {"usable_rows": 2}, False), ({"cached_dataset": ["c"]}, {}, False)])
def test_no_row_that_is_short_enough(swift: dict[str, Any], path: dict[str, Any], stops: bool) -> None:
    facts = machine(paths={DATA: rows(**{"row_tokens": [2201, 2500, 3000], "rows": 3, **path})})
    found = {f.code: f for f in check_all(config({**ON, **swift}), facts)}
    assert ("dataset-format" in found) == stops and ("rows-too-long" in found) != stops
    if stops:
        assert "all 3 rows are longer than max_length=1000" in found["dataset-format"].summary.en
        assert found["dataset-format"].fix[0] == "swift.max_length=3008"
