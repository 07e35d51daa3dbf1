"""The search with values: what is tried next, what is foretold not to fit, what is kept; and one real search on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny  # type: ignore[import-not-found]

from swift_fa_launcher.bench.tune import (
    OUT_OF_MEMORY,
    Changes,
    Ground,
    Tried,
    describe,
    fastest,
    render_overlay,
    render_tried,
    search,
    to_verify,
)
from swift_fa_launcher.config.layers import resolve_data
from swift_fa_launcher.machine.facts import Facts, Gpu

CARD = Gpu(index=0, name="card", memory_gib=80.0)


def ground(*may_change: str, gpu: bool = True, **swift: Any) -> Ground:
    given = {"packing": True, "attn_impl": "flash_attn", "max_length": 100, "per_device_train_batch_size": 4,
             "gradient_accumulation_steps": 2, "dataset": "rows.jsonl", **swift}
    return Ground(resolve_data({"swift": given}), Facts(gpus=(CARD,) if gpu else ()), may_change)


def run(base: Ground, measure: Callable[[Changes], Tried]) -> list[Tried]:
    """Every setting that the search asks for, measured; each once."""
    tried: list[Tried] = []
    while (following := search(base, tried).following) is not None:
        assert following not in [one.changes for one in tried]
        tried.append(measure(following))
        assert len(tried) < 40
    return tried


def test_the_config_itself_comes_first_and_only_what_gains_is_kept() -> None:
    def measure(changes: Changes) -> Tried:
        faster = 2.0 if changes.get("swift.gradient_checkpointing") is False else 1.0
        slower = 0.5 if changes.get("run.speedups") == "all" else 1.0
        return Tried(changes, tokens_per_second=1000 * faster * slower, peak_gib=10.0, static_gib=5.0, most_gib=73.6)

    tried = run(ground(), measure)
    found = search(ground(), tried)
    assert tried[0].changes == {} and found.best == {"swift.gradient_checkpointing": False}
    assert [(step.changes, step.times) for step in found.steps] == [({"swift.gradient_checkpointing": False}, 2.0)]


def test_a_search_that_was_cut_off_goes_on_where_it_was() -> None:
    def measure(changes: Changes) -> Tried:
        return Tried(changes, tokens_per_second=1000.0 + 100 * len(changes), peak_gib=10.0, most_gib=73.6)

    whole = run(ground(), measure)
    for cut in range(len(whole)):
        assert search(ground(), whole[:cut]).following == whole[cut].changes


def test_every_setting_keeps_the_examples_of_a_step() -> None:
    base = ground()
    for one in run(base, lambda changes: Tried(changes, tokens_per_second=1000.0 + 100 * len(changes))):
        swift = base.at(one.changes).swift
        assert (swift.whole("per_device_train_batch_size") or 0) * (swift.whole("gradient_accumulation_steps") or 0) == 8, one


def test_a_config_that_says_no_batch_has_ms_swifts() -> None:
    base = ground(per_device_train_batch_size=None, gradient_accumulation_steps=None)
    tried = run(base, lambda changes: Tried(changes, tokens_per_second=1000.0))
    assert {"swift.per_device_train_batch_size": 2, "swift.gradient_accumulation_steps": 8} in [one.changes for one in tried]


def test_what_another_batch_foretells_not_to_fit_is_not_tried() -> None:
    """Without recomputing a row takes 30 GiB beside 15 of the model: 4 rows are tried, 2 are foretold not to fit, 1 does."""
    def measure(changes: Changes) -> Tried:
        size = ground().at(changes).swift.whole("per_device_train_batch_size") or 0
        row = 30.0 if changes.get("swift.gradient_checkpointing") is False else 1.0
        return Tried(changes, tokens_per_second=2000.0 if row > 1 else 1000.0, peak_gib=15 + row * size, static_gib=15.0,
                     most_gib=73.6)

    tried = run(ground(), measure)
    sizes = [one.changes.get("swift.per_device_train_batch_size", 4) for one in tried
             if one.changes.get("swift.gradient_checkpointing") is False]
    assert sizes[:2] == [4, 1]
    best = search(ground(), tried).best
    assert measure(best).fits and best["swift.gradient_checkpointing"] is False


def test_out_of_memory_stops_nothing_and_is_not_repeated_with_more_rows() -> None:
    def measure(changes: Changes) -> Tried:
        size = ground().at(changes).swift.whole("per_device_train_batch_size") or 0
        if changes.get("swift.gradient_checkpointing") is False and size > 1:
            return Tried(changes, failed=OUT_OF_MEMORY)
        return Tried(changes, tokens_per_second=1000.0 * (1 + ("swift.gradient_checkpointing" in changes)))

    assert search(ground(), run(ground(), measure)).best["swift.per_device_train_batch_size"] == 1


@pytest.mark.parametrize(("gain", "kept"), [(1.03, False), (1.08, True)])
def test_rows_that_meet_otherwise_must_be_worth_it(gain: float, kept: bool) -> None:
    """Twice the packing_length changes which rows a step sees, and so every loss."""
    longer = {"swift.packing_length": 200, "swift.per_device_train_batch_size": 2}
    plain, long = Tried(whole=True, tokens_per_second=1000.0), Tried(longer, whole=True, tokens_per_second=1000.0 * gain)
    assert fastest([plain, long]) is (long if kept else plain)


def test_what_changes_the_learning_is_tried_only_where_it_was_allowed() -> None:
    def tried(*keys: str) -> set[str]:
        ran = run(ground(*keys), lambda changes: Tried(changes, tokens_per_second=1000.0))
        return {key for one in ran for key in one.changes}

    assert not tried() & {"swift.lora_dropout", "swift.lora_dtype"}
    assert "swift.lora_dropout" in tried("lora_dropout") and "swift.lora_dtype" not in tried("lora_dropout")


def test_a_config_without_gpu_is_asked_for_nothing_that_needs_one() -> None:
    base = ground(gpu=False, packing=False, attn_impl="sdpa", use_cpu=True)
    keys = {key for one in run(base, lambda changes: Tried(changes, tokens_per_second=1000.0)) for key in one.changes}
    assert not keys & {"swift.packing", "swift.use_liger_kernel", "swift.torch_compile", "flash_attn.provider"}


def test_the_two_fastest_are_run_whole_and_more_workers_where_they_wait() -> None:
    small = [Tried({"run.speedups": name}, tokens_per_second=speed) for name, speed in (("a", 1.0), ("b", 3.0), ("c", 2.0))]
    assert to_verify(small) == {"run.speedups": "b"}
    ran = [Tried({"run.speedups": "b"}, whole=True, failed=OUT_OF_MEMORY),
           Tried({"run.speedups": "c"}, whole=True, tokens_per_second=9.0)]
    assert to_verify([*small, ran[0]]) == {"run.speedups": "c"}
    assert to_verify([*small, *ran]) == {"run.speedups": "a"}
    both = [*small, Tried({"run.speedups": "b"}, whole=True, tokens_per_second=10.0, waiting=0.3), ran[1]]
    assert fastest(both) == both[3]
    more = {"run.speedups": "b", "swift.dataloader_num_workers": 4}
    assert to_verify(both) == more
    assert to_verify([*both, Tried(more, whole=True, tokens_per_second=8.0)]) is None


def test_the_overlay_says_what_each_line_gained(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("swift: {model: m}\n")
    base = ground("lora_dropout")
    tried = [Tried({}, tokens_per_second=100.0), Tried({"run.speedups": "all"}, tokens_per_second=110.0),
             Tried({"run.speedups": "all", "swift.lora_dropout": 0}, tokens_per_second=121.0)]
    found = search(base, tried)
    text = render_overlay(["base.yaml"], {"swift.seed": 3}, tried[-1].changes, found.steps, ["About."])
    assert 'speedups: "all"  # +10.0% tokens/s' in text and "seed: 3  # from the command line" in text
    assert "lora_dropout: 0  #" in text and "changes what is learned" in text
    (tmp_path / "over.yaml").write_text(text)
    from swift_fa_launcher.config.layers import resolve_config

    config = resolve_config([tmp_path / "over.yaml"])
    assert (config.swift["model"], config.swift["lora_dropout"], config.run.speedups) == ("m", 0, "all")
    assert describe(tried[-1].changes) in render_tried(tried, "en") and "（原配置）" in render_tried(tried, "zh")


CONFIG = tiny.CPU_LORA + """
  max_length: 512
  learning_rate: 1e-3
  output_dir: out
swanlab: {{enabled: false}}
"""


@pytest.mark.training
def test_a_tiny_model_is_tuned_for_real(tmp_path: Path) -> None:
    tiny.make_tiny_model(tmp_path / tiny.MODEL_NAME)
    tiny.make_chat_rows(tmp_path / tiny.ROWS_NAME, 40)
    (tmp_path / "c.yaml").write_text(CONFIG.format(folder=tmp_path), encoding="utf-8")

    def tune(minutes: float) -> tuple[int, dict[str, Any], str]:
        done = subprocess.run([sys.executable, "-m", "swift_fa_launcher", "tune", "c.yaml", "--minutes", str(minutes), "--out",
                               "fast.yaml", "--json"], cwd=tmp_path, capture_output=True, text=True, check=False,
                              env={**os.environ, "SWIFT_FA_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"})
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout), done.stderr

    code, told, said = tune(10)
    assert code == 0 and told["done"], said
    assert told["tried"][0]["changes"] == {} and sum(one["whole"] for one in told["tried"]) in (2, 3)  # with more workers
    assert all(one["failed"] is None and one["tokens_per_second"] > 0 for one in told["tried"])
    assert (tmp_path / "fast.yaml").read_text().count("extends: [\"c.yaml\"]") == 1
    again, known, said = tune(10)
    assert again == 0 and known["tried"] == told["tried"], said  # nothing is measured twice
