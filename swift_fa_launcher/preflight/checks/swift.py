"""ms-swift itself, and what its arguments mean together: packing, precision, versions, deepspeed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from swift_fa_launcher.config.schema import FLASH_IMPLEMENTATIONS, ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.finding import ERROR, INFO, WARNING, Check, Finding
from swift_fa_launcher.machine.facts import Facts, ModelConfig
from swift_fa_launcher.machine.reading import (
    ANOTHER_PYTHON,
    environment,
    is_absent,
    launch_number,
    on_ascend,
    on_rocm,
    pip_install,
    process_count,
    setting,
    spreads_model,
    visible_gpus,
    written,
)
from swift_fa_launcher.preflight.checks.arguments import attention_misspelt
from swift_fa_launcher.preflight.packing import (
    MOST_ROWS,
    NEARLY,
    Packed,
    cuts,
    dataset_rows,
    longest_row,
    make_packed,
    nothing_left,
)

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

#: (transformers, model types, only with flash attention, the repaired release, thread).
BROKEN_PAIRS = (
    (SpecifierSet("==4.53.0"), ("qwen2_vl", "qwen2_5_vl", "qwen2_5_omni", "glm4v"), True, "4.53.1",
     "https://github.com/huggingface/transformers/issues/39095"),
)

#: Models with linear-attention layers, for facts that do not list their layers.
LINEAR_ATTENTION = ("qwen3_next", "qwen3_5", "qwen3_5_moe", "qwen3_5_text", "qwen3_5_moe_text")
LEAKY_TRANSFORMERS = SpecifierSet(">=5.2.0,<5.9", prereleases=True)

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
#: What stands beside ms-swift in many an image, with bounds of its own, and which `swift sft` does not import.
BESIDE_TRAINING = frozenset(("lmdeploy", "sglang", "evalscope", "ms-opencompass", "opencompass", "ms-vlmeval", "gradio",
                             "llamafactory", "axolotl", "verl", "openrlhf", "funasr", "sentence-transformers"))


def ms_swift_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """`swift sft` is a command of ms-swift."""
    if is_absent(facts, "ms-swift"):
        yield Finding("ms-swift-missing", ERROR,
                      Text("ms-swift is not installed in the training interpreter", "训练用的解释器里没有安装 ms-swift"),
                      (pip_install(facts, "ms-swift"), ANOTHER_PYTHON))


def swift_not_ms_swift(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """OpenStack's client, Apple's compiler and another environment's ms-swift are called `swift` as well."""
    swift = known(facts.swift)
    if swift is None:
        return
    command, module = known(swift.command), known(swift.module)
    shadowed = swift.module is None and facts.package("ms-swift") is not None
    if swift.command_is_ms_swift is False or shadowed:
        yield Finding("swift-not-ms-swift", ERROR,
                      Text("ms-swift is installed and `import swift` finds nothing",
                           "安装了 ms-swift，但 `import swift` 找不到它")
                      if shadowed else Text(f"the command swift is {command}, not this environment's ms-swift",
                                            f"命令 swift 是 {command}，而不是本环境的 ms-swift"),
                      (pip_install(facts, "--force-reinstall", "--no-deps", "ms-swift"), ANOTHER_PYTHON),
                      {"command": command, "module": module})


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
    yield Finding("packing-needs-flash-attn", ERROR,
                  Text(f"{setting(config, key)} with {setting(config, 'attn_impl')}: "
                       f"{f'ms-swift {version} refuses it' if too_new else 'packed rows would see each other'}",
                       f"{setting(config, key)}，而 {setting(config, 'attn_impl')}："
                       f"{f'ms-swift {version} 不接受' if too_new else '拼在一起的样本会互相看见'}"),
                  ("swift.attn_impl=flash_attn", f"swift.{key}=false"), {"attn_impl": impl, "argument": key})


def packing_lazy_tokenize(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Packing needs every row's length first. https://github.com/modelscope/ms-swift/issues/4054"""
    if config.swift.flag("packing") and config.swift.flag("lazy_tokenize"):
        version = facts.package("ms-swift")
        silent = version is not None and version < Version("3.8")
        yield Finding("packing-lazy-tokenize", ERROR,
                      Text(f"{setting(config, 'packing')} and {setting(config, 'lazy_tokenize')}: "
                           f"{'packing would silently do nothing' if silent else 'ms-swift refuses both together'}",
                           f"{setting(config, 'packing')} 与 {setting(config, 'lazy_tokenize')}："
                           f"{'packing 会悄悄失效' if silent else 'ms-swift 不允许两者同时使用'}"),
                      ("swift.lazy_tokenize=false", "swift.packing=false"), {"ms_swift": version})


def packing_leaks(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """transformers 5.2.0 to 5.8 drop the boundaries of packed rows before linear-attention layers: no error, a wrong loss.

    https://github.com/modelscope/ms-swift/issues/9618
    """
    model, transformers = _model_config(config, facts), facts.package("transformers")
    if not config.swift.packs or model is None or transformers is None or transformers not in LEAKY_TRANSFORMERS:
        return
    layers = known(model.layer_types)
    linear = any("linear" in layer for layer in layers) if layers else known(model.model_type) in LINEAR_ATTENTION
    if linear and (config.swift.whole("sequence_parallel_size") or 1) == 1:
        yield Finding("packing-leaks", ERROR,
                      Text(f"{known(model.model_type)} has linear-attention layers: with transformers {transformers} packed "
                           "rows leak into each other",
                           f"{known(model.model_type)} 含线性注意力层：在 transformers {transformers} 下，"
                           "拼接的样本会互相泄漏"),
                      (pip_install(facts, "transformers>=5.9"), "swift.packing=false swift.padding_free=false"),
                      {"model_type": known(model.model_type), "transformers": transformers})


def packing_model_unsupported(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Templates that cannot pack."""
    model = _model_config(config, facts)
    kind = (known(model.model_type) if model else None) or ""
    name = (config.swift.text("model") or "").lower()
    if not kind and ("ovis2.5" in name or "ovis2_5" in name):
        kind = "ovis2_5"
    version = facts.package("ms-swift")
    architectures = (known(model.architectures) if model else None) or ()
    multimodal = set(architectures) <= UNPACKABLE_ARCHITECTURES if architectures else kind in UNPACKABLE_TYPES
    if config.swift.get("external_plugins") or config.swift.get("custom_register_path") or config.swift.get("template") \
            or (config.swift.text("model_type") or "").endswith("text"):
        multimodal = False  # another template than the model's own
    since, padding_too = CANNOT_PACK.get(kind, (None, False))
    if since is None and multimodal and version and version < Version("4.7.0.dev0"):
        since, padding_too = Version("3.8"), True
    if since is None or (since > Version("0") and (version is None or version < since)):
        return
    key = "packing" if config.swift.flag("packing") else "padding_free" if padding_too else None
    if key and config.swift.flag(key):
        fix = "swift.packing=false swift.padding_free=false" if padding_too else "swift.packing=false swift.padding_free=true"
        yield Finding("packing-model-unsupported", ERROR,
                      Text(f"{setting(config, key)}: the template of {kind} cannot",
                           f"{setting(config, key)}：{kind} 的模板不支持"),
                      (fix,), {"model_type": kind, "argument": key})


def packing_cache_not_shared(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """ms-swift 3.5 and 3.6 pack on one node and read the result on all.

    https://github.com/modelscope/ms-swift/issues/4462, swift/llm/argument/base_args/base_args.py `_check_packing`
    """
    version = facts.package("ms-swift")
    cache = config.swift.text("packing_cache")
    concerned = version is None or Version("3.5.0.dev0") <= version < Version("3.7.0.dev0")
    if not config.swift.flag("packing") or (launch_number(config, facts, "nnodes") or 1) < 2 or not concerned:
        return
    key, folder = ("packing_cache", cache) if cache else ("MODELSCOPE_CACHE", environment(config, facts, "MODELSCOPE_CACHE"))
    path = facts.path(folder)
    if folder and path and known(path.mount) in ("local", "tmpfs") and (cache or version):
        yield Finding("packing-cache-not-shared", ERROR,
                      Text(f"{key}={folder}{written(config, f'swift.{key}')} is on this node's own disk",
                           f"{key}={folder}{written(config, f'swift.{key}')} 位于本节点的本地磁盘"),
                      (Text("swift.packing_cache=FOLDER that all nodes share", "swift.packing_cache=所有节点共享的文件夹"),),
                      {"key": key, "path": folder, "mount": known(path.mount)})


def packing_timeout_risk(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """All ranks wait in one collective while the first packs. https://github.com/modelscope/ms-swift/issues/4340"""
    swift = config.swift
    timeout, rows = swift.whole("ddp_timeout"), dataset_rows(config, facts)
    if not swift.flag("packing") or swift.flag("streaming") or process_count(config, facts) < 2 or not timeout or not rows:
        return
    workers = max(swift.whole("dataset_num_proc") or 1, swift.whole("packing_num_proc") or 1)
    seconds = rows / (ROWS_PER_SECOND * workers)
    if 0 < timeout < seconds:
        yield Finding("packing-timeout-risk", WARNING,
                      Text(f"packing {rows:,} rows with {workers} workers takes about {seconds / 3600:.1f} h; "
                           f"{setting(config, 'ddp_timeout')} (seconds) ends it first",
                           f"用 {workers} 个进程打包 {rows:,} 行大约需要 {seconds / 3600:.1f} 小时，"
                           f"而 {setting(config, 'ddp_timeout')}（秒）会先超时"),
                      ("swift.ddp_timeout=18000000", "swift.dataset_num_proc=16",
                       Text("or swift.streaming=true swift.max_steps=N", "或 swift.streaming=true swift.max_steps=步数")),
                      {"rows": rows, "workers": workers, "seconds": round(seconds), "ddp_timeout": timeout})


def rows_too_long(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """`truncation_strategy` decides: `delete` (the default) drops such rows, `left` and `right` cut them.

    https://github.com/modelscope/ms-swift/issues/2745
    """
    if nothing_left(config, facts):
        return  # dataset-format's
    given = config.swift.whole("max_length")
    limit = Text(*[setting(config, "max_length")] * 2) if given else Text(
        f"the model's own {longest_row(config, facts)} tokens", f"模型自身的 {longest_row(config, facts)} 个 token")
    for name in config.swift.names("dataset"):
        path = facts.path(name)
        long, checked = (known(path.rows_over_max_length), known(path.rows_checked)) if path else (None, None)
        if not long or long < 0:
            continue
        long, checked = min(long, MOST_ROWS), min(checked or 0, MOST_ROWS)
        rows = _long_rows(long, checked, known(path.rows) if path else None)
        cut = cuts(config)
        becomes = Text("split", "切开") if config.swift.get("truncation_strategy") == "split" else \
            Text("cut", "截断") if cut else Text("dropped", "丢弃")
        yield Finding("rows-too-long", WARNING,
                      Text(f"{name}: {rows.en} are longer than {limit.en} and will be {becomes.en}",
                           f"{name}：{rows.zh} 超过 {limit.zh}，将被{becomes.zh}"),
                      (Text("raise swift.max_length", "增大 swift.max_length"),
                       "swift.truncation_strategy=delete" if cut else "swift.truncation_strategy=right"),
                      {"dataset": name, "rows": long, "checked": checked})


def _long_rows(long: int, checked: int, total: int | None) -> Text:
    """`30 of 200 rows (15%)`; of a sample, what that is of the whole file."""
    if checked < 1:
        return Text(f"{long:,} rows", f"{long:,} 行")
    share = min(long / checked, 1)
    if total is not None and total <= checked:
        return Text(f"{long:,} of {checked:,} rows ({share:.0%})", f"{long:,}/{checked:,} 行（{share:.0%}）")
    of_all = round(share * min(total, MOST_ROWS)) if total else 0
    of_all = round(of_all, min(0, 2 - len(str(of_all))))  # no more digits than a sample knows
    whole = Text(f", about {of_all:,} of the file's {total:,}" if total else "",
                 f"，即全部 {total:,} 行中约 {of_all:,} 行" if total else "")
    return Text(f"{long:,} of {checked:,} sampled rows ({share:.0%}{whole.en})",
                f"抽样 {checked:,} 行中的 {long:,} 行（{share:.0%}{whole.zh}）")


def packing_changes_batch(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A packed row holds several examples: the same batch size means fewer, larger steps."""
    packed = make_packed(config, facts) if config.swift.flag("packing") else None
    if packed is None or packed.examples_per_row < 1.05 or _refuses_packing(config, facts):
        return
    batch, per_row = packed.batch, packed.examples_per_row
    seen = per_row * batch.per_step
    context: dict[str, float | None] = {"examples_per_packed_row": round(per_row, 2), "rows_per_step": batch.per_step,
               "examples_per_step": round(seen, 1), "packed_batch": math.prod(packed.same_examples)}
    steps = Text("", "")
    if packed.steps is not None:
        context |= {"rows": packed.rows, "steps_per_epoch": packed.steps, "steps_per_epoch_unpacked": packed.steps_unpacked}
        steps = Text(f"; {packed.steps:,} step{'s' * (packed.steps != 1)} an epoch instead of {packed.steps_unpacked:,}",
                     f"；每轮 {packed.steps:,} 步（不打包时 {packed.steps_unpacked:,} 步）")
    yield Finding("packing-changes-batch", INFO,
                  Text(f"packing puts about {per_row:.1f} examples into a row: a step sees {seen:,.0f} instead of "
                       f"{batch.per_step:,}{steps.en}",
                       f"packing 使每行约含 {per_row:.1f} 个样本：每步看到 {seen:,.0f} 个而非 {batch.per_step:,} 个{steps.zh}"),
                  (_same_examples(packed),), context)


def _refuses_packing(config: ResolvedConfig, facts: Facts) -> bool:
    """Whether another finding stops packing; one that the user allowed does not."""
    checks = (packing_needs_flash_attn, packing_lazy_tokenize, packing_model_unsupported)
    return attention_misspelt(config, config.swift.attn_impl) or any(
        finding.code not in config.preflight.allow for check in checks for finding in check(config, facts))


def _same_examples(packed: Packed) -> Text:
    """What keeps the examples of a step near what they were, or that nothing smaller does."""
    batch, (size, accumulation) = packed.batch, packed.same_examples
    if (size, accumulation) == (batch.per_device, batch.accumulation):
        return Text(f"the batch of {batch.per_device} × {batch.accumulation} is the nearest to an unpacked step's examples",
                    f"批大小 {batch.per_device} × 梯度累积 {batch.accumulation} 已最接近不打包时每步的样本数")
    see = size * accumulation * batch.processes * packed.examples_per_row
    override = f"swift.per_device_train_batch_size={size} swift.gradient_accumulation_steps={accumulation}"
    far = abs(see - batch.per_step) > 1.5 * NEARLY * batch.per_step
    return Text(f"{override} (now {batch.per_device} and {batch.accumulation}): a step then sees about {see:,.0f} examples"
                f"{', the nearest there is' if far else ''}",
                f"{override}（现为 {batch.per_device} 和 {batch.accumulation}）：每步约看到 {see:,.0f} 个样本"
                f"{'，这已是最接近的' if far else ''}")


def flash_attn_dtype(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """`FlashAttention only support fp16 and bf16 data type`.

    ms-swift sets fp16 by itself for float32 weights (model_args.py, `_init_mixed_precision`); only a config that says
    `fp16: false` computes in float32. https://github.com/QwenLM/Qwen3/issues/406
    """
    swift = config.swift
    dtype, source = _dtype(config, facts)
    if swift.attn_impl in FLASH_IMPLEMENTATIONS and dtype == "float32" and swift.flag("fp16") is False \
            and not swift.flag("bf16") and not on_ascend(facts):
        yield Finding("flash-attn-dtype", ERROR,
                      Text(f"{source} is float32 with {setting(config, 'fp16')} and {setting(config, 'bf16')}: "
                           "flash-attn takes half precision only",
                           f"{source} 为 float32，且 {setting(config, 'fp16')}、{setting(config, 'bf16')}："
                           "flash-attn 只支持半精度"),
                      ("swift.torch_dtype=bfloat16 swift.bf16=true", "swift.attn_impl=sdpa swift.packing=false"),
                      {"torch_dtype": dtype, "source": source})


def bf16_unsupported(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """bfloat16 and tf32 start at Ampere. https://github.com/lm-sys/FastChat/issues/399"""
    swift = config.swift
    if on_ascend(facts) or on_rocm(facts) or swift.flag("use_cpu"):
        return
    old = [g for g in visible_gpus(config, facts).gpus or () if (known(g.compute_capability) or Version("99")) < Version("8.0")]
    dtype, source = _dtype(config, facts)
    asked = [setting(config, key) for key in ("bf16", "tf32") if swift.flag(key)]
    if not asked and dtype == "bfloat16" and not swift.flag("fp16"):
        asked = [setting(config, "torch_dtype") if swift.get("torch_dtype") else f"{source} bfloat16"]
    if old and asked:
        gpu = old[0]
        yield Finding("bf16-unsupported", ERROR,
                      Text(f"{' and '.join(asked)}: GPU {gpu.index} {known(gpu.name) or ''} is {known(gpu.compute_capability)}, "
                           "they need 8.0",
                           f"{'、'.join(asked)}：GPU {gpu.index} {known(gpu.name) or ''} 的计算能力是 "
                           f"{known(gpu.compute_capability)}，至少需要 8.0"),
                      ("swift.torch_dtype=float16 swift.fp16=true swift.bf16=false swift.tf32=null",),
                      {"asked": asked, "gpus": [g.index for g in old]})


def _dtype(config: ResolvedConfig, facts: Facts) -> tuple[str | None, str]:
    """(torch dtype of the weights, where it comes from); None where neither config nor model says."""
    asked = config.swift.text("torch_dtype")
    if asked and asked != "auto":
        return asked.removeprefix("torch."), f"torch_dtype{written(config, 'swift.torch_dtype')}"
    model = _model_config(config, facts)
    own = known(model.torch_dtype) if model else None
    return (own or "").removeprefix("torch.") or None, f"{config.swift.text('model')}/config.json"


def _model_config(config: ResolvedConfig, facts: Facts) -> ModelConfig | None:
    path = facts.path(config.swift.get("model"))
    return known(path.model_config) if path else None


def transformers_mismatch(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Outside the range of the installed ms-swift, older than the model, or known to be broken for it."""
    swift, transformers = facts.package("ms-swift"), facts.package("transformers")
    if transformers is None:
        return
    problem: tuple[Text, str] | None = None
    if swift is not None:
        below = next((bound for release, bound in TRANSFORMERS_BELOW if swift.release <= Version(release).release), None)
        allowed = SpecifierSet(f">={TRANSFORMERS_FROM}" + (f",<{below}" if below else ""))
        release = Version(transformers.base_version)
        if swift >= Version("3.0") and release not in allowed:
            problem = Text(f"ms-swift {swift} needs {allowed}", f"ms-swift {swift} 需要 {allowed}"), f"transformers{allowed}"
    problem = problem or _model_problem(config, facts, transformers)
    if problem:
        yield Finding("transformers-mismatch", ERROR,
                      Text(f"transformers {transformers}: {problem[0].en}", f"transformers {transformers}：{problem[0].zh}"),
                      (pip_install(facts, problem[1]),), {"transformers": transformers, "ms_swift": swift})


def _model_problem(config: ResolvedConfig, facts: Facts, transformers: Version) -> tuple[Text, str] | None:
    model = _model_config(config, facts)
    kind = (known(model.model_type) if model else None) or ""
    first = FIRST_TRANSFORMERS.get(kind)
    if first and Version(transformers.base_version) < Version(first):
        return Text(f"{kind} needs {first} or newer", f"{kind} 需要 {first} 或更新"), f"transformers>={first}"
    for broken, kinds, with_flash, repaired, thread in BROKEN_PAIRS:
        if kind in kinds and transformers in broken and (config.swift.wants_flash_attn or not with_flash):
            return Text(f"broken for {kind} with flash attention ({thread})",
                        f"在 flash attention 下与 {kind} 不兼容（{thread}）"), f"transformers=={repaired}"
    return None


def requirement_conflict(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Installed distributions that contradict each other's requirements.

    https://github.com/modelscope/ms-swift/issues/3268
    """
    for conflict in known(facts.requirement_conflicts) or ():
        requires, installed = (known(conflict.requires) or "?").partition(";")[0].strip(), known(conflict.installed)
        try:
            name = canonicalize_name(Requirement(requires).name)
        except InvalidRequirement:
            name = canonicalize_name((re.match(r"[\w.-]+", requires) or [""])[0])
        here = Text(f"here is {installed}", f"当前为 {installed}") if installed else Text("it is not installed", "但没有安装")
        loaded = canonicalize_name(conflict.package) not in BESIDE_TRAINING
        yield Finding("requirement-conflict", ERROR if loaded and name in HEAVY_PACKAGES else WARNING,
                      Text(f"{conflict.package} {known(conflict.version) or ''} requires {requires}; {here.en}",
                           f"{conflict.package} {known(conflict.version) or ''} 需要 {requires}，{here.zh}"),
                      (pip_install(facts, requires),) if name else (),
                      {"package": conflict.package, "requires": requires, "installed": installed})


def deepspeed_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """deepspeed is no requirement of ms-swift: it is installed where it is wanted."""
    if config.swift.get("deepspeed") and is_absent(facts, "deepspeed"):
        yield Finding("deepspeed-missing", ERROR,
                      Text(f"{_deepspeed(config)} and deepspeed is not installed", f"{_deepspeed(config)}，但没有安装 deepspeed"),
                      (pip_install(facts, "deepspeed"), "swift.deepspeed=null"))


def deepspeed_launch(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """With fewer processes than GPUs ms-swift spreads the model over several, which deepspeed refuses.

    https://github.com/modelscope/ms-swift/issues/479 and /5328, swift/utils/env.py `is_mp`
    """
    gpus = visible_gpus(config, facts).gpus
    if not config.swift.get("deepspeed") or gpus is None or len(gpus) < 2 or not spreads_model(config, facts):
        return
    processes = launch_number(config, facts, "nproc_per_node")
    if processes is None and environment(config, facts, "LOCAL_RANK") is not None:
        local = environment(config, facts, "LOCAL_WORLD_SIZE") or ""
        processes = int(local) if local.isdigit() and local.isascii() and len(local) < 9 else len(gpus)
    if (processes or 1) < len(gpus):
        yield Finding("deepspeed-launch", ERROR,
                      Text(f"{_deepspeed(config)}: {len(gpus)} visible GPUs and {processes or 1} process a node; "
                           "deepspeed needs one for each",
                           f"{_deepspeed(config)}：可见 {len(gpus)} 块 GPU，但每节点只有 {processes or 1} 个进程；"
                           "deepspeed 需要一卡一进程"),
                      (f"launch.nproc_per_node={len(gpus)}",
                       f"launch.gpus={[g.index for g in gpus[:processes or 1]]}".replace(" ", "")),
                      {"gpus": len(gpus), "processes": processes})


def _deepspeed(config: ResolvedConfig) -> str:
    value = config.swift.get("deepspeed")
    return setting(config, "deepspeed") if isinstance(value, str) and len(value) < 100 else \
        f"deepspeed{written(config, 'swift.deepspeed')}"


CHECKS: tuple[Check, ...] = (
    ms_swift_missing, swift_not_ms_swift, packing_needs_flash_attn, packing_lazy_tokenize, packing_leaks,
    packing_model_unsupported, packing_cache_not_shared, packing_timeout_risk, rows_too_long, packing_changes_batch,
    flash_attn_dtype, bf16_unsupported, transformers_mismatch, requirement_conflict, deepspeed_missing, deepspeed_launch,
)
