"""What FlashAttention 2 comes from: the package flash-attn, torch's own (`torch.nn.attention.varlen`), a hub kernel. Pure.

The package goes first where it is there: it is what ms-swift and transformers were written for. Torch's own costs no download
and is as fast on an H100 (docs/attention.md), but cannot do everything that the package can. A kernel of the hub is the
package's own code, built by Hugging Face and loaded by `kernels`; nobody is given one unasked that is not in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Unknown, known
from swift_fa_launcher.errors import Text
from swift_fa_launcher.flash.head_dims import head_dims_of
from swift_fa_launcher.flash.implementations import FA2
from swift_fa_launcher.machine.facts import Facts, FlashAttn, HubKernel
from swift_fa_launcher.machine.reading import (
    gpus_before_ampere,
    has_no_gpu,
    is_absent,
    is_proven,
    kernels_taken,
    model_config,
    on_ascend,
    on_other_accelerator,
    on_rocm,
    probed_devices,
    torch_cuda,
    torch_version,
    visible_gpus,
)

PACKAGE, TORCH, KERNEL = "package", "torch", "kernel"

#: transformers' own classes that call the package themselves instead of asking the registry, by the last transformers that has
#: them so (grep for `_flash_attention_forward(` and `flash_attn_varlen_func` in 4.52.4, 4.55.4, 4.57.6, 5.0.0 and 5.19.0).
_ALWAYS, _UNTIL_5, _UNTIL_4_54 = Version("999"), Version("5.0"), Version("4.54")
_OWN_CALLS = {
    **dict.fromkeys(("bark", "falcon", "gpt_neo", "gptj", "diffllama", "mimi", "modernbert", "moshi", "nemotron",
                     "kyutai_speech_to_text"), _ALWAYS),
    **dict.fromkeys(("dbrx", "distilbert", "esm", "evolla", "jamba", "jetmoe", "olmoe", "phimoe", "qwen2_moe", "stablelm"),
                    _UNTIL_5),
    **dict.fromkeys(("bart", "gpt_bigcode", "m2m_100", "mbart", "qwen2_5_omni", "qwen2_5_vl", "qwen2_audio", "qwen2_vl",
                     "whisper"), _UNTIL_4_54)}


@dataclass(frozen=True)
class Provider:
    """name: PACKAGE, TORCH or KERNEL. there: whether it needs no installation and nothing is to be fetched. trace: what was
    asked in turn, each with why it was not taken (None for the one that was)."""

    name: str
    there: bool
    trace: tuple[tuple[str, Text | None], ...]


def choose_provider(config: ResolvedConfig, facts: Facts) -> Provider | None:
    """What the FlashAttention 2 of a config comes from on a machine; None where it asks for none, or an Ascend has its own."""
    if not config.swift.wants_flash_attn_2 or on_ascend(facts):
        return None
    wish, package = config.flash_attn.provider, _why_not_package(facts)
    if wish == PACKAGE or (wish == "auto" and package is None):
        return Provider(PACKAGE, package is None, ((PACKAGE, package),))
    kernel = known(facts.hub_kernel)
    if wish == KERNEL:
        refusal = next(why_not_kernel(config, facts), None)
        return Provider(KERNEL, refusal is None and kernel is not None and kernel.cached, ((KERNEL, refusal),))
    refusal = (_asks_for_package(config) if wish == "auto" else None) or next(why_not_torch(config, facts), None)
    if wish == TORCH:
        return Provider(TORCH, refusal is None, ((TORCH, refusal),))
    asked = ((PACKAGE, package), (TORCH, refusal))
    if refusal is None or kernel is None:
        return Provider(PACKAGE if refusal else TORCH, refusal is None, asked)
    refusal = next(_why_not_kernel_unasked(config, facts, kernel), None)
    return Provider(PACKAGE if refusal else KERNEL, refusal is None, (*asked, (KERNEL, refusal)))


def kernel_look(config: ResolvedConfig, facts: Facts) -> str | None:
    """How far to look for a kernel of the hub: "ask" the hub where it is wanted, what is "cached" where nothing else is there;
    None for not at all."""
    provider = choose_provider(config, facts)
    if provider is None or provider.there or next(why_not_kernel(config, facts), None):
        return None
    unasked = config.flash_attn.provider == "auto" and facts.package("kernels") and not _asks_for_package(config)
    return "ask" if provider.name == KERNEL else "cached" if unasked else None


def _why_not_package(facts: Facts) -> Text | None:
    """Whether a flash-attn lies there, working or not: what is broken is to be mended or removed, not passed over, since
    transformers imports it wherever it finds it."""
    unknown = isinstance(facts.flash_attn, Unknown)
    absent = is_absent(facts, FA2.distribution) if unknown else facts.flash_attn is None
    return Text("flash-attn is not installed", "没有安装 flash-attn") if absent else None


def _asks_for_package(config: ResolvedConfig) -> Text | None:
    """What of the config only makes sense for the package."""
    if config.flash_attn.version is not None:
        return Text("flash_attn.version asks for the package", "flash_attn.version 要求使用软件包")
    if config.flash_attn.build == "always":
        return Text("flash_attn.build=always asks for the package", "flash_attn.build=always 要求使用软件包")
    return None


def why_not_torch(config: ResolvedConfig, facts: Facts) -> Iterator[Text]:
    """What speaks against torch's own for this model, config and machine, one reason after another."""
    yield from _why_not_here(config, facts)
    yield from _why_not_computed(known(facts.torch_attention))
    yield from _why_not_gpus(config, facts)
    yield from _why_not_asked(config)
    gpus = visible_gpus(config, facts).gpus or ()
    small = {known(gpu.compute_capability) for gpu in gpus} - {*map(Version, ("8.0", "9.0", "10.0")), None}
    yield from _why_not_model(config, facts, tuple(_NEEDS), 192 if small else 256)


def why_not_kernel(config: ResolvedConfig, facts: Facts) -> Iterator[Text]:
    """What speaks against a kernel of the hub, one reason after another."""
    if is_absent(facts, "kernels"):
        yield Text("kernels is not installed", "没有安装 kernels")
    yield from _why_not_registered(config, facts)
    if kernel := known(facts.hub_kernel):
        if kernel.builds is False:
            torch, cuda = torch_version(facts), torch_cuda(facts)
            here = f"torch {torch}, CUDA {cuda}, {known(facts.host.machine)}"
            yield Text(f"{kernel.repo} has no build for {here}", f"{kernel.repo} 没有适用于 {here} 的构建")
        if error := known(kernel.error):
            yield Text(f"{kernel.repo} cannot be had: {error}", f"无法取得 {kernel.repo}：{error}")
        yield from _why_not_computed(kernel)
    yield from _why_not_gpus(config, facts)
    yield from _why_not_asked(config)
    yield from _why_not_model(config, facts, ("sinks",), 256)


def _why_not_kernel_unasked(config: ResolvedConfig, facts: Facts, kernel: HubKernel) -> Iterator[Text]:
    if asks := _asks_for_package(config):
        yield asks
    if not kernel.cached:
        yield Text("no kernel of the hub that fits is in the cache", "缓存中没有适用的 hub kernel")
    kernels, taken = facts.package("kernels"), kernels_taken(facts)
    if kernels and (taken is None or kernels not in taken[0]):
        yield Text("transformers does not take this kernels", "transformers 不支持这个版本的 kernels")
    yield from why_not_kernel(config, facts)


def _why_not_here(config: ResolvedConfig, facts: Facts) -> Iterator[Text]:
    torch, own = torch_version(facts), facts.torch_attention
    if torch is None and _is_asked(config) and isinstance(facts.torch, Unknown):
        return
    if torch is None or torch.release < (2, 10) or own is None:
        yield Text(f"torch {torch or '?'} has none (2.10 and later do)", f"torch {torch or '？'} 没有（2.10 起才有）")
    if on_rocm(facts):  # pytorch's own tests of it were left out on ROCm (pytorch#168880): the probe decides, without windows
        if not is_proven(known(own)) or "window" in (known(model_config(config, facts).attention_needs) or ()):
            yield Text("on AMD GPUs it is taken only where the probe has proven it, and not for sliding windows",
                       "在 AMD GPU 上，只有经试运行验证且模型不用滑动窗口时才采用")
    elif torch_cuda(facts) is None or on_other_accelerator(facts) or known(facts.host.os) != "Linux":
        yield Text("it runs on NVIDIA GPUs under Linux", "torch 自带的实现需要 Linux 和 NVIDIA GPU")
    yield from _why_not_registered(config, facts)


def _is_asked(config: ResolvedConfig) -> bool:
    """Whether the config names one: then what nobody looked at does not speak against it."""
    return config.flash_attn.provider in (TORCH, KERNEL)


def _why_not_registered(config: ResolvedConfig, facts: Facts) -> Iterator[Text]:
    transformers = facts.package("transformers")
    if transformers is None and _is_asked(config) and not is_absent(facts, "transformers"):
        return
    if transformers is None or transformers < Version("4.48"):
        yield Text(f"transformers {transformers or '?'} has no registry of attentions (4.48 and later do)",
                   f"transformers {transformers or '？'} 没有注意力注册表（4.48 起才有）")


def _why_not_computed(own: FlashAttn | None) -> Iterator[Text]:
    """What the probe said of it."""
    if own and (error := known(own.import_error)):
        yield Text(f"it does not import: {error}", f"无法导入：{error}")
    for device in probed_devices(own) if own else ():
        if not device.ok:
            yield Text(f"it computed wrongly on GPU {device.index}: {known(device.error) or known(device.max_error)}",
                       f"在 GPU {device.index} 上计算出错：{known(device.error) or known(device.max_error)}")


def _why_not_gpus(config: ResolvedConfig, facts: Facts) -> Iterator[Text]:
    if has_no_gpu(config, facts):
        yield Text("there is no GPU", "没有 GPU")
    for gpu in gpus_before_ampere(config, facts):
        yield Text(f"GPU {gpu.index} is of compute capability {known(gpu.compute_capability)}, and it needs 8.0",
                   f"GPU {gpu.index} 的计算能力是 {known(gpu.compute_capability)}，需要 8.0")


def _why_not_asked(config: ResolvedConfig) -> Iterator[Text]:
    """Arguments whose code in ms-swift imports the package: sequence_parallel/, optimizers/muonclip.py, tuners/longlora/."""
    swift = config.swift
    if swift.sequence_parallel > 1:
        yield Text("sequence parallelism calls the package", "序列并行会直接调用软件包")
    for name in ("optimizer", "tuner_type", "train_type", "tuner_backend"):
        if swift.text(name) in ("muonclip", "longlora"):
            yield Text(f"{name}={swift.text(name)} calls the package", f"{name}={swift.text(name)} 会直接调用软件包")


def _why_not_model(config: ResolvedConfig, facts: Facts, lacks: Sequence[str], largest: int) -> Iterator[Text]:
    """lacks: names in _NEEDS. largest: head size.

    torch/csrc aten/native/transformers/cuda: head_dim at most 256; over 192 no backward but on 8.0, 9.0 and 10.0; no dropout,
    softcap or sinks (`varlen_attn` has no argument for them).
    """
    model = model_config(config, facts)
    transformers, kind = facts.package("transformers") or Version("0"), known(model.model_type) or ""
    if known(model.own_code):
        yield Text("the model brings code of its own", "模型自带代码")
    if kind in _OWN_CALLS and transformers < _OWN_CALLS[kind]:
        yield Text(f"transformers' {kind} calls the package itself", f"transformers 的 {kind} 会直接调用软件包")
    needs = known(model.attention_needs) or ()
    for need, words in _NEEDS.items():
        if need in needs and need in lacks and (need != "window" or (torch_version(facts) or Version("0")).release < (2, 11)):
            yield words
    if (size := max(head_dims_of(model), default=0)) > largest:
        yield Text(f"head_dim {size} is too large for it on this GPU", f"head_dim {size} 在这块 GPU 上超出它的范围")


_NEEDS = {
    "softcap": Text("the model caps its attention scores (softcap), which it cannot", "模型对注意力分数做 softcap，它不支持"),
    "sinks": Text("the model has attention sinks, which it does not", "模型使用 attention sink，它不支持"),
    "dropout": Text("the model has attention_dropout, which it cannot", "模型设置了 attention_dropout，它不支持"),
    "window": Text("the model has a sliding window, and torch 2.10's own does not", "模型使用滑动窗口，torch 2.10 自带的不支持")}
