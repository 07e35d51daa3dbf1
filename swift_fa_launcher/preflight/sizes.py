"""What a training takes of a GPU at the least: weights, gradients and the optimizer's states. Pure.

Activations, buffers and the CUDA context come on top: what is over these alone cannot train. Sources: ms-swift keeps the
weights in torch_dtype (arguments/base_args/model_args.py), and torch's AdamW its two states in the weights' type; deepspeed
keeps a copy of the weights and two states in float32 (arXiv:1910.02054, section 3), divided as swift/config/zero*.json say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from swift_fa_launcher.config.schema import ResolvedConfig, SwiftArguments
from swift_fa_launcher.decode import known
from swift_fa_launcher.machine.facts import GIB, Facts
from swift_fa_launcher.machine.reading import (
    launch_number,
    model_config,
    process_count,
    spreads_model,
    visible_gpus,
    zero_settings,
)

#: Arguments of full training that leave most parameters untrained, or their optimizer states small; optimizers likewise.
FEW_STATES = ("freeze_llm", "freeze_parameters", "freeze_parameters_regex", "freeze_parameters_ratio", "trainable_parameters",
              "trainable_parameters_regex", "use_galore", "lisa_activated_layers")
LEAN_OPTIMIZERS = ("8bit", "4bit", "adafactor", "galore", "apollo", "lion", "sgd", "lomo")
_TORCH_ADAMW = ("adamw_torch", "adamw_torch_fused", "adamw_hf")

#: Of the parameters that a name promises, those that are there at the least (Llama-2-7b has 6.74 billion).
NAMED = 0.95
#: Of a multimodal model's parameters, those that are trained while its towers are frozen, as they are by default.
BESIDE_TOWERS = 0.75
_QUANTISED = re.compile(r"(?i)awq|gptq|gguf|(?:int|fp|mxfp|nvfp)[48](?![0-9])|[48]-?bits?(?![a-z])|w[48]a\d+|gpt-oss")
_MULTIMODAL = re.compile(r"vl|omni|vision|llava|intern|minicpm|gemma3|gemma4|ovis|llama4|janus|4v|kimi|molmo|paligemma|idefics"
                         r"|pixtral|mistral3|qwen3_5|audio")


@dataclass(frozen=True)
class Held:
    """GiB that a GPU holds at the least. by_name: only the model's name says how many parameters it has."""

    weights: float
    gradients: float = 0.0
    optimizer: float = 0.0
    by_name: bool = False

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer


def billions_named(model: str | None) -> float | None:
    """The parameters that a model's name promises ("Qwen2.5-7B"), in billions; internlm2_5-1_8b is of 1.8."""
    last = re.sub(r"(?<=[0-9])_(?=[0-9]{1,2}b)", ".", (model or "").rstrip("/").rpartition("/")[2], flags=re.IGNORECASE)
    named = re.search(r"(?<![\w.])(\d{1,4}(?:\.\d+)?)[bB](?![a-zA-Z])", last.replace("_", "-"))
    return float(named[1]) if named else None


def parameters(config: ResolvedConfig, facts: Facts) -> tuple[float, bool] | None:
    """The model's parameters at the least, and whether its name alone says so; None where that cannot be told."""
    model = config.swift.text("model")
    size, about = known(facts.path(model).size_gib), model_config(config, facts)
    if _QUANTISED.search(model or "") or known(about.quant_method):
        return None
    stored = 4 if known(about.torch_dtype) == "float32" else 2
    billions = billions_named(model)
    return (min(size, 1e6) * GIB / stored, False) if size and size > 0 else (billions * 1e9 * NAMED, True) if billions else None


def gpu_holds(config: ResolvedConfig, facts: Facts) -> Held | None:
    """What one GPU holds at the least; None where that cannot be told, or something lies in the machine's memory instead."""
    swift, told = config.swift, parameters(config, facts)
    gpus, here = visible_gpus(config, facts).gpus, launch_number(config, facts, "nproc_per_node") or 1
    if told is None or not gpus or swift.flag("use_cpu") or swift.get("deepspeed_autotp_size") or swift.get("max_memory") \
            or swift.text("device_map") not in (None, "auto"):
        return None
    full, zero = swift.text("tuner_type") == "full", zero_settings(swift)
    if (swift.get("deepspeed") and zero is None) or (swift.get("fsdp") and swift.text("fsdp") != "fsdp2"):
        return None
    spread = max(1, len(gpus) // max(1, here)) if spreads_model(config, facts) and not swift.get("deepspeed") else 1
    if spread > 1 and not full:
        return None  # what does not fit is left in the machine's memory by then
    count, by_name = told
    width, trained = (4 if swift.text("torch_dtype") == "float32" else 2), count * _trained_share(config, facts) if full else 0.0
    bits = swift.whole("quant_bits") if swift.get("quant_method") and not full else None
    if bits not in (None, 2, 3, 4, 8):
        return None
    states = _state_bytes(swift, width) * trained
    gradients = 0.0 if "lomo" in (swift.text("optim") or "") or "layerwise" in (swift.text("optim") or "") else width * trained
    parts = (count * (bits / 8 if bits else width), gradients, states)
    held = Held(parts[0] / GIB / spread, parts[1] / GIB / spread, parts[2] / GIB / spread, by_name)
    processes = min(max(1, process_count(config, facts)), 10**6)
    return _divided(swift, zero, processes, held, quantised=bits is not None)


def _trained_share(config: ResolvedConfig, facts: Facts) -> float:
    """Of the parameters, those that full training trains at the least."""
    if any(config.swift.get(key) for key in FEW_STATES if key != "use_galore"):
        return 0.0
    about = model_config(config, facts)
    architectures, kind = known(about.architectures), known(about.model_type)
    name = kind or (config.swift.text("model") or "").rpartition("/")[2].lower()
    plain = all(each.endswith("ForCausalLM") for each in architectures or ()) and not _MULTIMODAL.search(name)
    return 1.0 if plain else BESIDE_TOWERS


def _state_bytes(swift: SwiftArguments, width: int) -> int:
    """Bytes of the optimizer for each trained parameter, at the least."""
    if swift.text("optim") not in (None, *_TORCH_ADAMW) or swift.get("use_galore") or \
            swift.text("optimizer") not in (None, "default", "multimodal"):
        return 0
    return 12 if swift.get("deepspeed") else 2 * width


def _divided(swift: SwiftArguments, zero: Any, processes: int, held: Held, *, quantised: bool) -> Held:
    """What is left on one GPU after deepspeed or FSDP have divided it. Quantised weights are not divided while they load."""
    if zero is None and not swift.get("fsdp"):
        return held
    stage = 3 if zero is None else zero.get("stage") if type(zero.get("stage")) is int else 0
    away = {name: (zero.get(f"offload_{name}") or {}).get("device", "none") != "none" if zero else False
            for name in ("optimizer", "param")}
    weights, gradients, states = (1 if stage < first else processes for first in (4 if quantised else 3, 2, 1))
    return Held(0.0 if away["param"] else held.weights / weights, 0.0 if away["optimizer"] else held.gradients / gradients,
                0.0 if away["optimizer"] else held.optimizer / states, held.by_name)
