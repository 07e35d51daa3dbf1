"""ms-swift itself, and what its arguments mean together: packing, precision, versions, deepspeed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from swift_fa_launcher.config.schema import FLASH_IMPLEMENTATIONS, ResolvedConfig
from swift_fa_launcher.config.swift_args import DDP_TIMEOUT, attention_misspelt, has_plugins
from swift_fa_launcher.decode import known
from swift_fa_launcher.findings.finding import ERROR, WARNING, Check, Finding
from swift_fa_launcher.findings.table import found
from swift_fa_launcher.flash.head_dims import MOST, head_dims_of
from swift_fa_launcher.flash.implementations import DISTRIBUTIONS
from swift_fa_launcher.flash.pairs import broken_pairs
from swift_fa_launcher.machine import reading
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.preflight import packing

#: What a version of ms-swift requires of transformers (METADATA of these releases); bounds only ever rose, so a release
#: between two of these is judged by the later one's.
TRANSFORMERS_BELOW = (
    ("3.0.0", "4.48"), ("3.2.2", "4.51"), ("3.6.4", "4.53"), ("3.7.3", "4.56"), ("3.8.3", "4.57"), ("3.12.6", "4.58"),
    ("4.0.4", "5.4.0"), ("4.1.3", "5.7.0"), ("4.3.2", "5.13.0"), ("4.5.3", "5.17.0"), ("4.6.0", "5.20.0"),
)
TRANSFORMERS_FROM = Version("4.33")

#: The transformers release that brought a model_type which no repository carries code for.
FIRST_TRANSFORMERS = {
    "qwen2_vl": "4.45", "qwen2_5_vl": "4.49", "qwen2_5_omni": "4.52", "qwen3": "4.51", "qwen3_moe": "4.51",
    "qwen3_next": "4.57", "qwen3_vl": "4.57", "qwen3_vl_moe": "4.57", "qwen3_omni_moe": "4.57", "qwen3_5": "5.2",
    "qwen3_5_moe": "5.2", "gemma3": "4.50", "gemma3_text": "4.50", "llama4": "4.51", "glm4": "4.51", "glm4v": "4.53",
    "glm4_moe": "4.54", "gpt_oss": "4.55", "qwen2": "4.37", "gemma": "4.38", "qwen2_moe": "4.40", "paligemma": "4.41",
    "gemma2": "4.42", "mllama": "4.45", "qwen2_audio": "4.45", "llava_onevision": "4.45", "idefics3": "4.46", "olmo2": "4.47",
    "modernbert": "4.48", "cohere2": "4.48", "mistral3": "4.50", "gemma3n": "4.53", "smollm3": "4.53",
}

#: HF model_type: (the first ms-swift whose template refuses it, whether padding_free is refused as well).
#: `support_padding_free` in swift/template/templates, swift/pipelines/train/sft.py.
CANNOT_PACK = {"ovis2_5": (Version("0"), False), "gpt_oss": (Version("3.12"), True)}

#: Multimodal models whose templates are not written for packed rows up to ms-swift 4.6 (`support_padding_free` unset or
#: false): by architecture, and by HF model_type where facts do not say which. https://github.com/modelscope/ms-swift/issues/9384
UNPACKABLE_ARCHITECTURES = frozenset(re.findall(r"\w+", """
    CogAgentForCausalLM CogVLMForCausalLM CogVLMVideoForCausalLM DeepseekOCR2ForCausalLM DeepseekOCRForCausalLM
    DotsOCRForCausalLM Emu3ForCausalLM Ernie4_5_VLMoeForConditionalGeneration Florence2ForConditionalGeneration GOTQwenForCausalLM
    Gemma3ForConditionalGeneration Gemma3nForConditionalGeneration Gemma4ForConditionalGeneration
    Gemma4UnifiedForConditionalGeneration GlmOcrForConditionalGeneration GotOcr2ForConditionalGeneration
    HunYuanVLForConditionalGeneration Idefics3ForConditionalGeneration InternLMXComposer2ForCausalLM KeyeForConditionalGeneration
    KeyeVL1_5ForConditionalGeneration Llama4ForConditionalGeneration LlavaForConditionalGeneration LlavaLlamaForCausalLM
    LlavaMistralForCausalLM LlavaNextForConditionalGeneration LlavaNextVideoForConditionalGeneration
    LlavaOnevisionForConditionalGeneration LlavaQwenForCausalLM MegrezO MiDashengLMModel MiniCPMO MiniCPMV
    MiniMaxVL01ForConditionalGeneration Mistral3ForConditionalGeneration MllamaForConditionalGeneration
    Molmo2ForConditionalGeneration MolmoForCausalLM MultiModalityCausalLM OmniSpeech2SLlamaForCausalLM Ovis
    PaliGemmaForConditionalGeneration Phi3VForCausalLM Phi4MMForCausalLM Qwen2AudioForConditionalGeneration SAILVLModel
    Step1ForCausalLM StepAudio2ForCausalLM StepVLForConditionalGeneration ValleyQwen2ForCausalLM mPLUGDocOwl2 mPLUGOwl3Model
"""))
UNPACKABLE_TYPES = frozenset(re.findall(r"\w+", """
    cogvlm florence2 gemma3 gemma3n gemma4 glm_ocr got_ocr2 idefics3 internlmxcomposer2 llama4 llava llava_next llava_next_video
    llava_onevision minicpmo minicpmv mistral3 mllama molmo molmo2 paligemma phi3_v phi4mm qwen2_audio
"""))

#: Rows that one worker packs in a second. https://github.com/modelscope/ms-swift/issues/4340
ROWS_PER_SECOND = 450
HEAVY_PACKAGES = frozenset(("torch", "transformers", "trl", "peft", "datasets"))
#: What every `swift sft` imports; transformers takes torchvision along wherever it is (image_utils.py).
ALWAYS_IMPORTED = frozenset(("ms-swift", "torch", "torchvision", "transformers", "peft", "trl", "accelerate", "datasets"))
#: What some import, by package: the argument and the value that asks for it, None any.
IMPORTED_FOR = {"deepspeed": ("deepspeed", None), "liger-kernel": ("use_liger_kernel", True),
                "bitsandbytes": ("quant_method", "bnb"), "unsloth": ("tuner_backend", "unsloth")}
#: What transformers looks for while it is imported, and raises ImportError (dependency_versions_check.py).
ASKED_AT_IMPORT = frozenset(("tqdm", "regex", "requests", "packaging", "filelock", "numpy", "tokenizers", "huggingface-hub",
                             "safetensors", "pyyaml"))


def ms_swift_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """`swift sft` is a command of ms-swift."""
    if reading.is_absent(facts, "ms-swift"):
        yield found("ms-swift-missing", pip=reading.pip(facts))


def swift_not_ms_swift(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """OpenStack's client, Apple's compiler and another environment's ms-swift are called `swift` as well."""
    swift = known(facts.swift)
    if swift is None:
        return
    command, module = known(swift.command), known(swift.module)
    shadowed = swift.module is None and facts.package("ms-swift") is not None
    if swift.command_is_ms_swift is False or shadowed:
        yield found("swift-not-ms-swift", "not found" if shadowed else "", command=command, module=module,
                    pip=reading.pip(facts))


def packing_needs_flash_attn(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Packed rows are kept apart by variable-length attention alone; ms-swift refuses anything else.

    https://github.com/modelscope/ms-swift/issues/5690, swift/arguments/sft_args.py `_check_padding_free` (4.1.3 does not
    know flash_attention_4 yet, 4.2.3 does)
    """
    impl, version = config.swift.attn_impl, facts.package("ms-swift")
    too_new = impl == "flash_attention_4" and version is not None and version < Version("4.2.0.dev0")
    if not config.swift.packs or (impl in FLASH_IMPLEMENTATIONS and not too_new) or attention_misspelt(config, impl):
        return  # what names no attention is arg-invalid's
    key = "packing" if config.swift.flag("packing") else "padding_free"
    too_wide = max(head_dims_of(reading.model_config(config, facts)), default=0) > MOST  # then none runs: Gemma 4
    yield found("packing-needs-flash-attn", "too wide" if too_wide else "too new" if too_new else "" if impl else "unset",
                setting=reading.setting(config, key), attention=reading.setting(config, "attn_impl"), attn_impl=impl,
                argument=key, ms_swift=version)


def packing_lazy_tokenize(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Packing needs every row's length first. https://github.com/modelscope/ms-swift/issues/4054"""
    if config.swift.flag("packing") and config.swift.flag("lazy_tokenize"):
        version = facts.package("ms-swift")
        silent = version is not None and version < Version("3.8")
        yield found("packing-lazy-tokenize", "silent" if silent else "", packing=reading.setting(config, "packing"),
                    lazy_tokenize=reading.setting(config, "lazy_tokenize"), ms_swift=version)


def packing_model_unsupported(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Templates that cannot pack."""
    model = reading.model_config(config, facts)
    kind = known(model.model_type) or ""
    name = (config.swift.text("model") or "").lower()
    if not kind and ("ovis2.5" in name or "ovis2_5" in name):
        kind = "ovis2_5"
    version = facts.package("ms-swift")
    architectures = known(model.architectures) or ()
    multimodal = set(architectures) <= UNPACKABLE_ARCHITECTURES if architectures else kind in UNPACKABLE_TYPES
    if has_plugins(config) or config.swift.get("template") or (config.swift.text("model_type") or "").endswith("text"):
        multimodal = False  # another template than the model's own
    since, padding_too = CANNOT_PACK.get(kind, (None, False))
    if since is None and multimodal and version and version < Version("4.7.0.dev0"):
        since, padding_too = Version("3.8"), True
    if since is None or (since > Version("0") and (version is None or version < since)):
        return
    key = "packing" if config.swift.flag("packing") else "padding_free" if padding_too else None
    if key and config.swift.flag(key):
        yield found("packing-model-unsupported", "padding_free neither" if padding_too else "",
                    setting=reading.setting(config, key), template=kind or config.swift.get("model"), model_type=kind,
                    argument=key)


def packing_cache_not_shared(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """ms-swift 3.5 and 3.6 pack on one node and read the result on all.
    https://github.com/modelscope/ms-swift/issues/4462, swift/llm/argument/base_args/base_args.py `_check_packing`"""
    version = facts.package("ms-swift")
    cache = config.swift.text("packing_cache")
    concerned = version is None or Version("3.5.0.dev0") <= version < Version("3.7.0.dev0")
    if not config.swift.flag("packing") or (reading.launch_number(config, facts, "nnodes") or 1) < 2 or not concerned:
        return
    key = "packing_cache" if cache else "MODELSCOPE_CACHE"
    folder = cache or reading.environment(config, facts, key)
    mount = known(facts.path(folder).mount)
    if folder and mount in ("local", "tmpfs") and (cache or version):
        yield found("packing-cache-not-shared", "" if cache else "ModelScope's", key=key, path=folder, mount=mount,
                    origin=reading.written(config, f"swift.{key}" if cache else f"env.{key}"))


def packing_timeout_risk(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """All ranks wait in one collective while the first packs. https://github.com/modelscope/ms-swift/issues/4340"""
    swift = config.swift
    timeout, rows = swift.whole("ddp_timeout"), packing.dataset_rows(config, facts)
    if not swift.flag("packing") or swift.flag("streaming") or not timeout or not rows \
            or reading.process_count(config, facts) < 2:
        return
    workers = max(swift.whole("dataset_num_proc") or 1, swift.whole("packing_num_proc") or 1)
    seconds = rows / (ROWS_PER_SECOND * workers)
    if 0 < timeout < seconds:
        own = "packing_num_proc" in (known(facts.ms_swift_args) or ())
        yield found("packing-timeout-risk", rows=rows, workers=workers, hours=seconds / 3600, seconds=round(seconds),
                    ddp_timeout=timeout, setting=reading.setting(config, "ddp_timeout"), longer=DDP_TIMEOUT,
                    num_proc="packing_num_proc" if own else "dataset_num_proc")


def rows_too_long(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """`truncation_strategy` decides: `delete` (the default) drops such rows, `left` and `right` cut them.
    https://github.com/modelscope/ms-swift/issues/2745"""
    if packing.nothing_left(config, facts):
        return  # dataset-format's
    given, limit = config.swift.whole("max_length"), packing.longest_row(config, facts)
    fate = {"left": "cut", "right": "cut", "split": "split"}.get(str(config.swift.get("truncation_strategy")), "dropped")
    for name in config.swift.names("dataset"):
        path = facts.path(name)
        rows, checked = known(path.rows_over_max_length), known(path.rows_checked)
        if not rows or rows < 0:
            continue
        rows, checked, total = (min(count or 0, packing.MOST_ROWS) for count in (rows, checked, known(path.rows)))
        share = min(rows / checked, 1) if checked > 0 else 1.0
        of_all = round(share * total)
        yield found("rows-too-long", f"{'uncounted' if checked < 1 else 'sample' if total > checked else 'checked'} {fate}",
                    dataset=name, rows=rows, checked=checked, share=share, total=total,
                    of_all=round(of_all, min(0, 2 - len(str(of_all)))),  # no more digits than a sample knows
                    limit=limit, origin=reading.written(config, "swift.max_length") if given else "")


def packing_changes_batch(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A packed row holds several examples: the same batch size means fewer, larger steps."""
    packed = packing.make_packed(config, facts) if config.swift.flag("packing") else None
    if packed is None or packed.examples_per_row < 1.05 or _refuses_packing(config, facts):
        return
    batch, per_row, (size, accumulation) = packed.batch, packed.examples_per_row, packed.same_examples
    values: dict[str, Any] = {
        "examples_per_packed_row": round(per_row, 2), "rows_per_step": batch.per_step,
        "examples_per_step": round(per_row * batch.per_step, 1), "packed_batch": size * accumulation}
    if packed.steps is not None:
        values |= {"rows": packed.rows, "steps_per_epoch": packed.steps, "steps_per_epoch_unpacked": packed.steps_unpacked}
    now = f"{batch.per_device} × {batch.accumulation}"
    values |= {"nearest": now} if (size, accumulation) == (batch.per_device, batch.accumulation) else {
        "batch": now, "size": size, "accumulation": accumulation, "sees": size * accumulation * batch.processes * per_row}
    yield found("packing-changes-batch", "steps" if packed.steps is not None else "", **values)


def _refuses_packing(config: ResolvedConfig, facts: Facts) -> bool:
    """Whether another finding stops packing; one that the user allowed does not."""
    checks = (packing_needs_flash_attn, packing_lazy_tokenize, packing_model_unsupported)
    return attention_misspelt(config, config.swift.attn_impl) or any(
        finding.code not in config.preflight.allow for check in checks for finding in check(config, facts))


def flash_attn_dtype(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """`FlashAttention only support fp16 and bf16 data type`.

    ms-swift sets fp16 by itself for float32 weights (model_args.py, `_init_mixed_precision`); only a config that says
    `fp16: false` computes in float32. https://github.com/QwenLM/Qwen3/issues/406
    """
    swift = config.swift
    dtype, source = reading.weights_dtype(config, facts)
    if swift.attn_impl in FLASH_IMPLEMENTATIONS and dtype == "float32" and swift.flag("fp16") is False \
            and not swift.flag("bf16") and not reading.on_ascend(facts):
        yield found("flash-attn-dtype", source=source, setting=reading.setting(config, "fp16"), torch_dtype=dtype)


def bf16_unsupported(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """bfloat16 and tf32 start at Ampere. https://github.com/lm-sys/FastChat/issues/399"""
    swift = config.swift
    if reading.on_ascend(facts) or reading.on_rocm(facts) or swift.flag("use_cpu"):
        return
    old = reading.gpus_before_ampere(config, facts)
    dtype, source = reading.weights_dtype(config, facts)
    asked = [reading.setting(config, key) for key in ("bf16", "tf32") if swift.flag(key)]
    if not asked and dtype == "bfloat16" and not swift.flag("fp16"):
        asked = [reading.setting(config, "torch_dtype") if swift.get("torch_dtype") else f"bfloat16 ({source})"]
    if old and asked:
        yield found("bf16-unsupported", asked=asked, gpu=f"{old[0].index} {known(old[0].name) or ''}".strip(),
                    capability=known(old[0].compute_capability), gpus=[gpu.index for gpu in old])


def transformers_mismatch(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Outside the range of the installed ms-swift, older than the model, or known to be broken for it."""
    swift, transformers = facts.package("ms-swift"), facts.package("transformers")
    if transformers is None:
        return
    way, values = _swift_range(swift, transformers) or _model_problem(config, facts, transformers) or ("", {})
    if way:
        yield found("transformers-mismatch", way, transformers=transformers, ms_swift=swift, pip=reading.pip(facts),
                    **values)
    for pair, version in () if way else broken_pairs(config, facts):
        yield found("transformers-mismatch", pair.says, severity=ERROR if pair.blocks else WARNING, transformers=transformers,
                    ms_swift=swift, version=version, attn_impl=config.swift.attn_impl, mend=_within(pair.mend, swift),
                    pip=reading.pip(facts))


def _swift_range(swift: Version | None, transformers: Version) -> tuple[str, dict[str, Any]] | None:
    """What the installed ms-swift requires, where this transformers is outside of it."""
    if swift is None or swift < Version("3.0"):
        return None
    below = _below(swift)
    wanted = f">={TRANSFORMERS_FROM}" + (f",<{below}" if below else "")
    return None if Version(transformers.base_version) in SpecifierSet(wanted) else ("ms-swift", {"wanted": wanted})


def _below(swift: Version) -> str | None:
    """The transformers that this ms-swift excludes, and all newer ones."""
    return next((bound for release, bound in TRANSFORMERS_BELOW if swift.release <= Version(release).release), None)


def _within(requirement: str, swift: Version | None) -> str:
    """What pip is to install: `requirement` within what this ms-swift takes of transformers, else a newer ms-swift too."""
    name, _, least = requirement.partition(">=")
    below = _below(swift) if swift is not None and name == "transformers" and least else None
    if below is None:
        return f'"{requirement}"'
    return f'"{requirement},<{below}"' if Version(least) < Version(below) else f'-U ms-swift "{requirement}"'


def _model_problem(config: ResolvedConfig, facts: Facts, transformers: Version) -> tuple[str, dict[str, Any]] | None:
    kind = known(reading.model_config(config, facts).model_type) or ""
    first = FIRST_TRANSFORMERS.get(kind)
    if first and Version(transformers.base_version) < Version(first):
        return "model", {"model_type": kind, "wanted": f">={first}"}
    return None


def requirement_conflict(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Installed distributions that contradict each other's requirements. https://github.com/modelscope/ms-swift/issues/3268

    ms-swift's own images hold vllm, lmdeploy and others with bounds of their own, which `swift sft` does not import; only
    those that it imports break it. With transformers 5.2 vllm 0.17 and 0.18 cannot make their own config of Qwen3.5 (a list
    | a set, modeling_rope_utils.py); AutoConfig gives transformers' own to the training.
    https://github.com/modelscope/ms-swift/issues/8286
    """
    kind = known(reading.model_config(config, facts).model_type) or ""
    for conflict in known(facts.requirement_conflicts) or ():
        requires, installed = (known(conflict.requires) or "?").partition(";")[0].strip(), known(conflict.installed)
        try:
            name = canonicalize_name(Requirement(requires).name)
        except InvalidRequirement:
            name = canonicalize_name((re.match(r"[\w.-]+", requires) or [""])[0])
        package = canonicalize_name(conflict.package)
        hangs = package == "ms-swift" and name == "binpacking" and _packs_bins(config)
        imported = _is_imported(config, package)
        breaks = imported and (name in HEAVY_PACKAGES or (package == "transformers" and name in ASKED_AT_IMPORT))
        serves = package == "vllm" and kind.startswith("qwen3_5") and str(facts.package("transformers")).startswith("5.2.")
        way = "hangs" if hangs else "missing" if not installed else "" if imported else "vllm" if serves else "beside"
        yield found("requirement-conflict", way, package=conflict.package, requires=requires, installed=installed,
                    severity=ERROR if hangs or (breaks and not _same_minor(requires, installed)) else WARNING,
                    dependent=f"{conflict.package} {known(conflict.version) or ''}".strip(),
                    requirement=requires if name else None, pip=reading.pip(facts))


def _is_imported(config: ResolvedConfig, package: str) -> bool:
    argument, value = IMPORTED_FOR.get(package, (None, None))
    given = config.swift.get(argument) if argument else None
    return package in ALWAYS_IMPORTED or (bool(given) and value in (None, given)) \
        or (package in DISTRIBUTIONS and config.swift.wants_flash_attn)


def _packs_bins(config: ResolvedConfig) -> bool:
    """Whether binpacking is imported: in processes of their own, whose end the main one does not notice
    (swift/dataset/packing.py `calculate_matched_group`)."""
    return bool(config.swift.flag("packing")) and config.swift.text("packing_strategy") in (None, "binpack")


def _same_minor(requires: str, installed: str | None) -> bool:
    """Whether another patch of the torch that is there would do: those agree, and vendors' builds count as earlier ones."""
    try:
        requirement, version = Requirement(requires), Version((installed or "").split(" ")[-1])
    except (InvalidRequirement, InvalidVersion):
        return False
    return canonicalize_name(requirement.name) == "torch" and any(
        requirement.specifier.contains(f"{version.major}.{version.minor}.{patch}") for patch in range(10))


def deepspeed_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """deepspeed is no requirement of ms-swift: it is installed where it is wanted."""
    if config.swift.get("deepspeed") and reading.is_absent(facts, "deepspeed") \
            and not reading.names_no_preset(config, facts, "deepspeed"):
        yield found("deepspeed-missing", setting=reading.shown_deepspeed(config), pip=reading.pip(facts))


def deepspeed_launch(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """With fewer processes than GPUs ms-swift spreads the model over several, which deepspeed refuses.
    https://github.com/modelscope/ms-swift/issues/479 and /5328, swift/utils/env.py `is_mp`"""
    gpus = reading.visible_gpus(config, facts).gpus
    if not config.swift.get("deepspeed") or gpus is None or len(gpus) < 2 or not reading.spreads_model(config, facts) \
            or reading.names_no_preset(config, facts, "deepspeed"):
        return
    processes = reading.launch_number(config, facts, "nproc_per_node")
    if processes is None and reading.environment(config, facts, "LOCAL_RANK") is not None:
        local = reading.environment_count(config, facts, "LOCAL_WORLD_SIZE")
        processes = len(gpus) if local is None else local
    if (processes or 1) < len(gpus):
        yield found("deepspeed-launch", setting=reading.shown_deepspeed(config), gpus=len(gpus), processes=processes or 1,
                    first=reading.first_gpus(gpus, processes))


CHECKS: tuple[Check, ...] = (
    ms_swift_missing, swift_not_ms_swift, packing_needs_flash_attn, packing_lazy_tokenize, packing_model_unsupported,
    packing_cache_not_shared, packing_timeout_risk, rows_too_long, packing_changes_batch,
    flash_attn_dtype, bf16_unsupported, transformers_mismatch, requirement_conflict, deepspeed_missing, deepspeed_launch,
)
