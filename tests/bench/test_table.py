"""Which variants a bench has, what it makes of a training's figures, and the table; on plain values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from swift_fa_launcher.bench.bench import (
    MEASURED,
    SKIPPED,
    VARIANTS,
    Bench,
    Measured,
    Rate,
    Result,
    bench_to_json,
    changed_keys,
    changes_nothing,
    choose_names,
    divide_batch,
    division_settings,
    flop_per_token,
    last_loss,
    make_key,
    make_measured,
    make_variant,
    matrix_share,
    ratio,
    results_from_json,
    sample_datasets,
    shared_settings,
)
from swift_fa_launcher.bench.table import render_table
from swift_fa_launcher.config.layers import resolve_data
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.config.swift_args import Argument
from swift_fa_launcher.errors import Text
from swift_fa_launcher.machine.facts import Facts, Gpu, PathFacts

H200 = Gpu(0, name="NVIDIA H200", memory_gib=139.8)
FACTS = Facts(gpus=(H200,), packages={"ms-swift": Version("4.6.0"), "torch": Version("2.11.0"), "flash-attn": Version("2.8.3")})


def swift(**arguments: Any) -> ResolvedConfig:
    return resolve_data({"swift": arguments})


def measured(tokens_per_second: float, *, steps: int = 63, tokens: int = 337_081, **more: Any) -> Measured:
    told = {"peak_memory_gib": 34.6, "batch": 8, "accumulation": 1, "parameters": 6_750_000_000, "trainable": 20_000_000,
            "recomputes": True, "loss": 7.307, "device": "NVIDIA H200", **more}
    return Measured(tokens=tokens, seconds=tokens / tokens_per_second, steps=steps, examples=500, padding=0.5, **told)


#: What was measured once on an H200 that reached 788 TFLOP/s.
H200_BENCH = Bench({"model": "m", "updated": "2026-11-26T00:00:00"}, (
    Result("sdpa", MEASURED, measured=measured(2_597), key={"a": 1}),
    Result("packing", MEASURED, measured=measured(7_392, steps=15, rows=118, loss=9.677)),
    Result("no_recompute", MEASURED, measured=measured(10_164, steps=60, recomputes=False, batch=2, accumulation=1))),
    Rate(788e12, "bfloat16", 16384, "NVIDIA H200"))


def test_what_a_variant_follows_from_runs_too() -> None:
    assert "eager" not in choose_names(()) and len(choose_names(())) == len(VARIANTS) - 1
    assert choose_names(("eager", "sdpa")) == ("eager", "sdpa")
    assert choose_names(("same_examples",)) == ("sdpa", "packing", "same_examples")
    assert choose_names(("no_recompute", "padding_free")) == ("padding_free", "packing", "no_recompute")


@pytest.mark.parametrize(("arguments", "more"), [
    ({}, ["swift.gradient_checkpointing=false", "swift.lora_dropout=0"]),  # on in ms-swift unless turned off
    ({"gradient_checkpointing": False}, ["swift.lora_dropout=0"]),
    ({"lora_dropout": 0.0}, ["swift.gradient_checkpointing=false"]),
    ({"train_type": "full"}, ["swift.gradient_checkpointing=false"]),
    ({"lora_dropout_p": 0, "gradient_checkpointing": "false"}, None),
    ({"tuner_type": "full", "gradient_checkpointing": False}, None),
])
def test_the_last_variant_turns_off_what_is_on(arguments: dict[str, Any], more: list[str] | None) -> None:
    variant = make_variant("no_recompute", swift(**arguments), FACTS)
    assert (list(variant.settings[3:]) if variant else None) == more


def test_a_default_of_the_installed_ms_swift_counts() -> None:
    facts = Facts(ms_swift_args={"gradient_checkpointing": Argument(type="bool", default=False),
                                 "lora_dropout": Argument(type="float", default=0.0)})
    assert make_variant("no_recompute", swift(), facts) is None


def test_the_flash_attention_of_the_config_is_the_one_measured() -> None:
    variant = make_variant("padding_free", swift(attn_impl="flash_attention_3"), FACTS)
    assert variant and variant.flash and variant.settings == (
        "swift.attn_impl=flash_attention_3", "swift.packing=false", "swift.padding_free=true")
    plain = make_variant("sdpa", swift(attn_impl="flash_attention_3"), FACTS)
    assert plain and not plain.flash and plain.settings[0] == "swift.attn_impl=sdpa"
    assert make_variant("packing", swift(attn_impl="sdpa"), FACTS).settings[:2] == (  # type: ignore[union-attr]
        "swift.attn_impl=flash_attn", "swift.packing=true")


def test_nothing_is_saved_evaluated_or_cut_short() -> None:
    config = resolve_data({"swift": {"dataset": "a", "max_steps": 10, "val_dataset": "b", "resume_from_checkpoint": "c"},
                           "run": {"tags": ["mine"]}})
    words = shared_settings(config, ["it's ü#5"], name="n", output="/o ut")
    told = resolve_config_of(words)
    assert told.swift["dataset"] == ["it's ü#5"] and told.swift["output_dir"] == "/o ut"
    assert {"swift.max_steps=null", "swift.val_dataset=null", "swift.resume_from_checkpoint=null"} <= {*words}
    assert told.swift["save_strategy"] == "no" and told.run.tags == ("mine", "bench") and not told.swanlab.tracks


def resolve_config_of(words: tuple[str, ...]) -> ResolvedConfig:
    from swift_fa_launcher.config.layers import resolve_config

    return resolve_config([], words)


@pytest.mark.parametrize(("datasets", "known_rows", "rows", "expected"), [
    ("a", {"a": 1000}, 500, ("a#500",)),
    ("a", {"a": 200}, 500, ("a",)),  # ms-swift would repeat rows
    ("a", {}, 500, ("a#500",)),  # a hub's
    ("a#300", {"a#300": 9000}, 500, ("a#300",)),
    ("a#9000", {}, 500, ("a#500",)),
    ("a", {"a": 1000}, None, ("a",)),
    (["a", "b"], {"a": 3000, "b": 1000}, 400, ("a#300", "b#100")),
    (["a", "b"], {"a": 100}, 400, ("a", "b#200")),
])
def test_the_rows_are_drawn_once_for_all(datasets: Any, known_rows: dict[str, int], rows: int | None,
                                         expected: tuple[str, ...]) -> None:
    facts = Facts(paths={name: PathFacts(kind="file", rows=count) for name, count in known_rows.items()})
    assert sample_datasets(swift(dataset=datasets), facts, rows) == expected


@pytest.mark.parametrize(("batch", "accumulation", "factor", "expected"), [
    (8, 1, 4.2, (2, 1)), (8, 4, 4.2, (2, 4)), (1, 16, 4.2, (1, 4)), (2, 8, 4.2, (1, 4)), (8, 4, 30, (1, 1)), (1, 1, 4.2, (1, 1)),
    (8, 4, 1.0, (8, 4)), (8, 4, 5.5, (1, 6)),
])
def test_the_batch_is_divided_and_then_the_accumulation(batch: int, accumulation: int, factor: float,
                                                        expected: tuple[int, int]) -> None:
    divided = divide_batch(batch, accumulation, factor)
    assert divided == expected


def test_the_division_follows_from_what_was_measured() -> None:
    assert division_settings(H200_BENCH) == (
        ("swift.per_device_train_batch_size=2", "swift.gradient_accumulation_steps=1"), "")
    without = Bench({}, H200_BENCH.results[:1]).with_result(
        Result("packing", MEASURED, measured=measured(7_392, steps=15)))
    assert division_settings(without) == division_settings(H200_BENCH), "by the steps, where packed rows were not counted"
    assert division_settings(Bench({}, H200_BENCH.results[:1]))[0] == ()
    unknown = Bench({}).with_result(H200_BENCH.results[0]).with_result(
        Result("packing", MEASURED, measured=measured(7_392, batch=None)))
    assert division_settings(unknown)[0] == () and division_settings(unknown)[1]
    assert changes_nothing(H200_BENCH, ("swift.per_device_train_batch_size=8", "swift.gradient_accumulation_steps=1"))


def lines(*steps: tuple[int, float, float]) -> list[dict[str, Any]]:
    """(tokens, seconds, loss) of each logged step."""
    return [{"step": i, "tokens": tokens, "seconds": seconds, "loss": loss, "examples_per_step": 8.0 if i < 4 else 4.0,
             "padding": 0.25, "peak_memory_gib": 10.0 + i, "tokens_per_second": 1.0, "monitor_seconds": 0.0}
            for i, (tokens, seconds, loss) in enumerate(steps, 1)]


def test_figures_of_a_training() -> None:
    told = {"device": "cuda", "device_name": "NVIDIA H200", "world_size": 2, "parameters": 100, "trainable": True, "batch": 8}
    found = make_measured(told, lines((100, 9.0, 9.0), (100, 1.0, 8.0), (100, 1.0, 7.0), (50, 0.5, 6.0)), runtime=10.0,
                          wall=70.0, gpus=4)
    assert found is not None
    assert (found.tokens, found.tokens_per_second, found.steady, found.steps, found.examples) == (350, 35.0, 100.0, 4, 28)
    assert (found.examples_per_step, found.peak_memory_gib, found.cards) == (7, 14, 2)
    assert found.trainable is None, "no number"
    assert found.loss == pytest.approx((50 * 6 + 100 * 7) / 150), "the last fifth, each step by its tokens"
    assert make_measured(told, [], runtime=1.0, wall=1.0, gpus=None) is None
    spread = make_measured({**told, "world_size": 1}, lines((1, 1.0, 1.0)), runtime=None, wall=None, gpus=4)
    assert spread and spread.cards == 4 and spread.seconds == 1.0 and spread.steady is None
    assert last_loss([{"tokens": 5, "loss": float("nan")}]) is None


def test_flop_and_shares_as_they_were_counted_by_hand() -> None:
    assert flop_per_token(6_750_000_000, 0, recomputes=False) == 27e9
    rate, fastest = H200_BENCH.rate, H200_BENCH.measured("no_recompute")
    assert fastest and rate and matrix_share(fastest, rate) == pytest.approx(10_164 / 29_000, rel=0.01)
    packed = H200_BENCH.measured("packing")
    assert packed and matrix_share(packed, rate) == pytest.approx(7_392 / 19_500, rel=0.01)
    assert ratio(H200_BENCH, packed) == pytest.approx(2.85, abs=0.01)
    for unknown in ({"parameters": None}, {"trainable": None}, {"experts": 64}):
        assert matrix_share(measured(1_000, **unknown), rate) is None
    assert matrix_share(packed, None) is None


def test_the_table_has_numbers_and_reasons() -> None:
    bench = H200_BENCH.with_result(Result("flash_attn", SKIPPED, Text("no wheel", "没有 wheel"))).with_result(
        Result("padding_free", SKIPPED, Text("no wheel", "没有 wheel")))
    text = render_table(bench, {}, "en")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1 and [row.split("|")[1].strip() for row in rows[2:]] == [
        VARIANTS[name].en for name in ("sdpa", "flash_attn", "padding_free", "packing", "no_recompute")]
    assert all(cell in rows[5] for cell in ("7,392", "2.85", "38.0%", "34.6 GiB", " 15 ", " 33.3 ", "9.677", "45.6 s"))
    assert text.count("no wheel") == 1 and "per-device batch 2" in text and "788 TFLOP/s" in text
    assert "did not see the same tokens" not in text
    assert "?" not in text
    other = bench.with_result(Result("eager", MEASURED, measured=measured(100, tokens=5, steps=4)))
    assert "| 0.04 ? |" in render_table(other, {}, "en"), "its first step warms up"
    assert "did not see the same tokens" in render_table(other, {}, "en")
    assert "没有 wheel" in render_table(bench, {}, "zh")
    empty = render_table(Bench({}, rate_problem="no GPU"), {}, "en")
    assert empty.startswith("| variant")


def test_results_survive_the_file_and_damage_does_not() -> None:
    data = json.loads(json.dumps(bench_to_json(H200_BENCH)))
    results, rate, whole = results_from_json(data)
    assert rate == H200_BENCH.rate and [one.variant for one in results] == ["sdpa"], "without a key nothing can be compared"
    assert results[0].measured == H200_BENCH.measured("sdpa") and results[0].reused and not whole
    data["variants"][0]["measured"]["tokens"] = "many"
    data["matrix"] = None
    assert results_from_json(data) == ((), None, False)
    for foreign in (None, [], {"schema": 2}):
        assert results_from_json(foreign) == ((), None, False)
    assert results_from_json({"schema": 1, "variants": [3, {"name": "sdpa"}]}) == ((), None, True), "there is nothing to lose"


def test_a_measurement_holds_while_nothing_it_depends_on_changes() -> None:
    config = swift(model="m", dataset="a", packing=False, attn_impl="sdpa", output_dir="x")
    key = json.loads(json.dumps(make_key(config, FACTS, {"a": [5, 0.1]}, flash=False)))
    assert changed_keys(key, make_key(swift(model="m", dataset="a", packing=False, attn_impl="sdpa", output_dir="y"), FACTS,
                                      {"a": [5, 0.1]}, flash=False)) == ()
    assert changed_keys(key, make_key(config, FACTS, {"a": [6, 0.1]}, flash=False)) == ("data.a",)
    newer = Facts(gpus=(Gpu(0, name="NVIDIA H100"),), packages={**FACTS.packages, "flash-attn": Version("3")})  # type: ignore[dict-item]
    assert changed_keys(key, make_key(config, newer, {"a": [5, 0.1]}, flash=False)) == ("machine.gpus",)
    assert "packages.flash-attn" in changed_keys(key, make_key(config, FACTS, {"a": [5, 0.1]}, flash=True))


@pytest.mark.stack
def test_the_plot_has_its_words_as_text(tmp_path: Path) -> None:
    from swift_fa_launcher.bench.plot import write_plots

    write_plots(H200_BENCH, {}, tmp_path)
    svg = (tmp_path / "plot.svg").read_text(encoding="utf-8")
    assert "2.85 ×" in svg and "NVIDIA H200" in svg and (tmp_path / "plot.png").stat().st_size > 5_000
    assert re.search(r"\bsans-serif\b", svg)
    from matplotlib import rc_context

    with rc_context({"font.family": "monospace", "font.size": 20, "text.color": "red", "svg.fonttype": "path"}):
        write_plots(H200_BENCH, {}, tmp_path)
    assert (tmp_path / "plot.svg").read_text(encoding="utf-8") == svg, "whatever the user's own settings are"
