"""What a GPU holds at the least, and that what is advised against too much of it takes less."""

from __future__ import annotations

from typing import Any

import pytest
from machines import MODEL, config, gpu, machine

from swift_fa_launcher.errors import render_words
from swift_fa_launcher.findings.finding import Finding
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.preflight.checks import check_all
from swift_fa_launcher.preflight.checks.machine import with_settings
from swift_fa_launcher.preflight.sizes import billions_named, gpu_holds

SIZE = 16.0  # GiB of bfloat16: 8 * 2**30 parameters


def facts(cards: int = 1, gib: float = 80.0, **model: Any) -> Facts:
    about = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "torch_dtype": "bfloat16"}
    return machine(gpus=[gpu(index, memory_gib=gib) for index in range(cards)], packages={"deepspeed": "0.18.3"},
                   paths={MODEL: {"kind": "dir", "size_gib": SIZE, "missing_files": [], "model_config": about, **model}})


@pytest.mark.parametrize(("swift", "cards", "expected"), [
    ({"tuner_type": "full"}, 1, (16, 16, 32)), ({"tuner_type": "full", "torch_dtype": "float32"}, 1, (32, 32, 64)),
    ({}, 1, (16, 0, 0)), ({"quant_method": "bnb", "quant_bits": 4}, 1, (4, 0, 0)),
    ({"quant_method": "bnb", "quant_bits": 8}, 1, (8, 0, 0)),
    *(({"tuner_type": "full", "deepspeed": f"zero{stage}"}, 4, expected) for stage, expected in enumerate(
        ((16, 16, 96), (16, 16, 24), (16, 4, 24), (4, 4, 24)))),
    ({"tuner_type": "full", "deepspeed": "zero2_offload"}, 4, (16, 0, 0)),
    ({"tuner_type": "full", "deepspeed": "zero3_offload"}, 4, (0, 0, 0)),
    ({"deepspeed": "zero3"}, 4, (4, 0, 0)), ({"deepspeed": "zero2"}, 4, (16, 0, 0)),
    ({"deepspeed": "zero3", "quant_method": "bnb", "quant_bits": 4}, 4, (4, 0, 0)),
    ({"tuner_type": "full", "fsdp": "fsdp2"}, 4, (4, 4, 8)),
    ({"tuner_type": "full", "optim": "adafactor"}, 1, (16, 16, 0)), ({"tuner_type": "full", "optim": "lomo"}, 1, (16, 0, 0)),
    ({"tuner_type": "full", "optimizer": "muon"}, 1, (16, 16, 0)), ({"tuner_type": "full", "freeze_llm": True}, 1, (16, 0, 0)),
])
def test_the_least_that_a_gpu_holds(swift: dict[str, Any], cards: int, expected: tuple[float, ...]) -> None:
    held = gpu_holds(config(swift, launch={"nproc_per_node": cards}), facts(cards))
    assert held and (held.weights, held.gradients, held.optimizer) == pytest.approx(expected)


def test_one_process_spreads_a_model_over_its_gpus() -> None:
    held = gpu_holds(config({"tuner_type": "full"}), facts(4))
    assert held and held.total == pytest.approx(16)
    assert gpu_holds(config(), facts(4)) is None  # what does not fit would lie in the machine's memory


@pytest.mark.parametrize(("swift", "model"), [
    ({"deepspeed": "my_zero.json"}, {}), ({"use_cpu": True}, {}), ({"fsdp": "my_fsdp.json"}, {}), ({"device_map": "cpu"}, {}),
    ({}, {"model_config": {"quant_method": "gptq"}}), ({"model": "o/unnamed"}, {}), ({"model": "o/a-7B-AWQ"}, {}),
])
def test_what_cannot_be_told(swift: dict[str, Any], model: dict[str, Any]) -> None:
    assert gpu_holds(config(swift), facts(**model)) is None


@pytest.mark.parametrize(("name", "billions"), [
    ("Qwen/Qwen2.5-7B-Instruct", 7), ("internlm/internlm2_5-1_8b-chat", 1.8), ("/models/Qwen3-30B-A3B/", 30),
    ("o/Mixtral-8x7B", None), ("o/gemma-3n-E4B", None), ("o/Llama-3.2-1B", 1), ("o/bert-base", None), (None, None),
])
def test_parameters_by_name(name: str | None, billions: float | None) -> None:
    assert billions_named(name) == billions


@pytest.mark.parametrize(("swift", "cards", "gib", "count"), [
    ({"tuner_type": "full"}, 1, 24.0, 2), ({"tuner_type": "full"}, 1, 16.0, 1), ({"tuner_type": "full"}, 8, 32.0, 3),
    ({}, 1, 12.0, 1), ({}, 8, 12.0, 2), ({}, 1, 4.0, 0),
])
def test_what_is_advised_takes_less(swift: dict[str, Any], cards: int, gib: float, count: int) -> None:
    def short(wanted: Any) -> list[Finding]:
        return [f for f in check_all(wanted, facts(cards, gib)) if f.code == "gpu-memory-short"]

    wanted = config(swift, launch={"nproc_per_node": cards})
    (finding,) = short(wanted)
    ways = [line for line in (render_words(words, "en") for words in finding.fix) if line.startswith(("swift.", "launch."))]
    assert len(ways) == count
    assert not any(short(with_settings(wanted, way)) for way in ways)
