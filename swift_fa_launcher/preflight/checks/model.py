"""The model against what is installed: linear-attention layers and their packages, quantised weights."""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Unknown, known
from swift_fa_launcher.findings.finding import Check, Finding
from swift_fa_launcher.findings.table import found
from swift_fa_launcher.machine import reading
from swift_fa_launcher.machine.facts import Facts

#: Models with linear-attention layers, for facts that do not list their layers.
LINEAR_ATTENTION = ("qwen3_next", "qwen3_5", "qwen3_5_moe", "qwen3_5_text", "qwen3_5_moe_text")
#: Those whose layers compute with flash-linear-attention and causal-conv1d where these are there, and in a loop without
#: (transformers/models/…/modeling_….py, `use_kernel_func_from_hub_with_fallback`; before 5.16 `is_fast_path_available`).
FLA_MODELS = (*LINEAR_ATTENTION, "olmo_hybrid", "kimi_linear", "qwen4_exp", "glm5_next")
#: Those whose packed rows ms-swift computes itself, and refuses to without flash-linear-attention: from 4.3 on wherever
#: transformers hands the boundaries to the layer, and 4.2 to 4.4 with sequence parallelism, packed or not
#: (swift/model/models/qwen.py, `_get_linear_attention_kernels`, `_ensure_linear_attention_kernels`).
OF_MS_SWIFT = ("qwen3_5", "qwen3_5_moe")
HANDS_BOUNDARIES = Version("5.9.0.dev0")
LEAKY_TRANSFORMERS = SpecifierSet(">=5.2.0,<5.9", prereleases=True)

#: Quantised weights that no release of transformers trains, and those that it trains with an adapter alone.
NEVER_TRAINED = ("fp8", "fbgemm_fp8", "auto-round", "higgs", "spqr", "vptq", "quark", "nvfp4")
WITH_ADAPTER = ("gptq", "awq", "bitsandbytes", "aqlm", "hqq", "eetq", "quanto")
_PUBLISHED_QUANTISED = re.compile(r"-(GPTQ(?=-Int)|AWQ|FP8)(?:-Int[348])?$", re.IGNORECASE)


def packing_leaks(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """transformers 5.2.0 to 5.8 drop the boundaries of packed rows before linear-attention layers: no error, a wrong loss. Newer
    ones hand them to flash-linear-attention; without it they compute in a loop that does not know of them.
    https://github.com/modelscope/ms-swift/issues/9618"""
    kind, transformers = _linear_kind(config, facts), facts.package("transformers")
    if not config.swift.packs or kind is None or transformers is None or config.swift.sequence_parallel > 1:
        return
    in_a_loop = transformers >= HANDS_BOUNDARIES and kind in FLA_MODELS and _without_fla(facts)
    if transformers in LEAKY_TRANSFORMERS or (in_a_loop and not _is_refused(config, facts, kind)):
        yield found("packing-leaks", "no package" if in_a_loop else "", model_type=kind, transformers=transformers,
                    pip=reading.pip(facts))


def packing_needs_fla(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """ms-swift's own layers for Qwen3.5 refuse several rows in one, or sequence parallelism, without flash-linear-attention."""
    kind = _linear_kind(config, facts)
    if kind and _without_fla(facts) and _is_refused(config, facts, kind):
        key = "packing" if config.swift.flag("packing") else "padding_free" if config.swift.packs else "sequence_parallel_size"
        yield found("packing-needs-fla", "" if config.swift.packs else "parallel", model_type=kind, pip=reading.pip(facts),
                    setting=reading.setting(config, key), ms_swift=facts.package("ms-swift"))


def linear_attention_slow(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Without the two packages the layers compute in a loop of torch, more than ten times slower.
    https://github.com/modelscope/ms-swift/issues/7210"""
    kind = _linear_kind(config, facts)
    missing = [name for name, absent in (("flash-linear-attention", _without_fla(facts)), (
        "causal-conv1d", reading.lacks(facts, "causal-conv1d") and kind != "olmo_hybrid")) if absent]
    packs_itself = kind in OF_MS_SWIFT and config.swift.packs  # with flash-linear-attention's own convolution
    on_gpu = not (reading.on_ascend(facts) or config.swift.flag("use_cpu"))
    if kind in FLA_MODELS and missing and on_gpu and not packs_itself and not _is_refused(config, facts, kind):
        yield found("linear-attention-slow", model_type=kind, missing=missing, packages=" ".join(missing), pip=reading.pip(facts))


def _linear_kind(config: ResolvedConfig, facts: Facts) -> str | None:
    """The type of a model that has linear-attention layers; else None."""
    model = reading.model_config(config, facts)
    kind, layers = known(model.model_type), known(model.layer_types)
    linear = any("linear" in layer for layer in layers) if layers else kind in FLA_MODELS
    return kind if linear else None


def _without_fla(facts: Facts) -> bool:
    return reading.lacks(facts, "flash-linear-attention", "fla-core")


def _is_refused(config: ResolvedConfig, facts: Facts, kind: str) -> bool:
    """Whether ms-swift raises ImportError for this model without flash-linear-attention."""
    swift, transformers = facts.package("ms-swift"), facts.package("transformers")
    if kind not in OF_MS_SWIFT or swift is None or swift < Version("4.2.0.dev0") or reading.on_ascend(facts):
        return False
    if config.swift.sequence_parallel > 1:
        return config.swift.packs or swift < Version("4.5.0.dev0")
    return config.swift.packs and swift >= Version("4.3.0.dev0") and transformers is not None and transformers >= HANDS_BOUNDARIES


def model_not_trainable(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Quantised weights that the Trainer refuses (transformers/trainer_utils.py, validate_quantization_for_training): all of them
    without an adapter, some with one (`is_trainable` in transformers/quantizers).
    https://github.com/huggingface/transformers/issues/41516 and /46736"""
    name, transformers = config.swift.text("model") or "", facts.package("transformers")
    method = _quant_method(config, facts, name)
    if method is None or transformers is None or _is_dequantised(config, facts, method, transformers):
        return
    package, least = ("gptqmodel", "5.0.0") if transformers.major >= 5 else ("autoawq", "0.2.0")
    installed = facts.package(package)
    full = config.swift.text("tuner_type") == "full" and method in WITH_ADAPTER
    old = method == "awq" and installed is not None and installed < Version(least)
    way = "never" if method in NEVER_TRAINED else "full" if full else "old" if old else None
    if way:
        yield found("model-not-trainable", way, model=name, method=method, setting=reading.setting(config, "tuner_type"),
                    plain=_PUBLISHED_QUANTISED.sub("", name) if name.startswith("Qwen/") else None, package=package, least=least,
                    installed=installed, pip=reading.pip(facts))


def _quant_method(config: ResolvedConfig, facts: Facts, name: str) -> str | None:
    """How the weights are quantised: config.json's word, else what the name of a published model ends in."""
    model = reading.model_config(config, facts)
    if not isinstance(model.quant_method, Unknown):
        return model.quant_method
    ends = _PUBLISHED_QUANTISED.search(name)
    method = ends[1].lower() if ends else None
    return method if method != "fp8" or re.search(r"(?:^|/)Qwen[^/]*$", name) else None  # others publish other forms of FP8


def _is_dequantised(config: ResolvedConfig, facts: Facts, method: str, transformers: Version) -> bool:
    """Whether the weights may become bfloat16 when they are loaded: FP8 from transformers 5 on, where no GPU computes in it
    (quantizer_finegrained_fp8.py, validate_environment)."""
    if method != "fp8" or transformers.major < 5:
        return False
    capabilities = [known(gpu.compute_capability) for gpu in reading.visible_gpus(config, facts).gpus or ()]
    return reading.on_ascend(facts) or not capabilities or any(c is None or c < Version("8.9") for c in capabilities)


CHECKS: tuple[Check, ...] = (packing_leaks, packing_needs_fla, linear_attention_slow, model_not_trainable)
