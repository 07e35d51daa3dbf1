"""flash-attn as it is installed: there, whole, its own, and built for this Python, torch, CUDA, libc and GPU.

What speaks against it is `flash.installed`'s to say; here it becomes a finding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.finding import ERROR, INFO, WARNING, Check, Finding
from swift_fa_launcher.findings.table import found
from swift_fa_launcher.flash import installed as standing
from swift_fa_launcher.flash.head_dims import BACKWARD_EVERYWHERE, MOST, head_dims_of, most_head_dim
from swift_fa_launcher.flash.implementations import BY_NAME, FA2, HUB_KERNELS
from swift_fa_launcher.flash.pairs import dies_of_unnamed
from swift_fa_launcher.flash.provider import KERNEL, TORCH, choose_provider
from swift_fa_launcher.machine import reading
from swift_fa_launcher.machine.facts import Extension, Facts, FlashAttn, Gpu

#: A probe's largest difference from the float32 reference that half precision explains.
LARGEST_ERROR = 0.1


def flash_attn_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """FlashAttention 2 is asked for and its distribution is not there.

    transformers asks for the distribution, not for an importable module; since 4.56 it takes a kernel from the hub
    instead where `kernels` is installed (modeling_utils.py, `_check_and_adjust_attn_implementation`).
    https://github.com/huggingface/transformers/issues/44559
    """
    provider = choose_provider(config, facts)
    if provider is not None and provider.name == TORCH and not provider.there:
        yield found("flash-attn-missing", "torch", why=provider.trace[-1][1])
    if not standing.is_missing(config, facts):
        return
    yield found("flash-attn-missing", _where(config, facts), attn_impl=config.swift.attn_impl)
    transformers, kernels, taken = facts.package("transformers"), facts.package("kernels"), reading.kernels_taken(facts)
    if transformers and kernels and taken and kernels in taken[0]:
        yield found("flash-attn-missing", "hub", severity=INFO, transformers=transformers, kernels=kernels,
                    kernel=HUB_KERNELS[transformers.major < 5])


def kernel_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A kernel of the hub is asked for, and none can be had or it computes wrongly."""
    provider, transformers = choose_provider(config, facts), facts.package("transformers")
    asked = config.flash_attn.provider == KERNEL and provider is not None
    if reading.is_absent(facts, "kernels") and transformers and (asked or "/" in (config.swift.attn_impl or "")):
        extra = "kernels" if transformers >= Version("5.1") else "hub-kernels"  # which holds the releases that it takes
        yield found("kernel-missing", "package", pip=reading.pip(facts), requirement=f"transformers[{extra}]=={transformers}",
                    setting="flash_attn.provider=kernel" if asked else reading.setting(config, "attn_impl"))
    elif asked and provider and (why := provider.trace[-1][1]):
        yield found("kernel-missing", why=why)


def kernel_mismatch(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A `kernels` that this transformers does not take ends its import, or brings no attention: then it is an ImportError
    where attn_impl names a hub's kernel (integrations/hub_kernels.py, `get_kernel`), and one way out less elsewhere. For
    flash_attn.provider=kernel the launcher loads it itself."""
    kernels, known_range = facts.package("kernels"), reading.kernels_taken(facts)
    if kernels is None or known_range is None or kernels in known_range[0]:
        return
    taken, breaks = known_range
    provider = choose_provider(config, facts)
    way = "import" if breaks and kernels >= breaks else "asked" if "/" in (config.swift.attn_impl or "") else \
        "provider" if provider and provider.name == KERNEL else ""
    if way or standing.is_missing(config, facts):
        yield found("kernel-mismatch", way, severity=ERROR if way in ("import", "asked") else WARNING, kernels=kernels,
                    taken=str(taken), transformers=facts.package("transformers"), pip=reading.pip(facts),
                    setting=reading.setting(config, "attn_impl"))


def _where(config: ResolvedConfig, facts: Facts) -> str:
    """Whether an installation could run here, or what it lacks."""
    if reading.on_rocm(facts):
        return "rocm"
    return "cpu torch" if reading.has_cpu_torch(facts) else "no gpu" if reading.has_no_gpu(config, facts) else "here"


def _rocm(facts: Facts) -> str:
    """Where rocm-build says how it is installed."""
    return "rocm" if reading.on_rocm(facts) else ""


def flash_attn_variant_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """FA3 and FA4 are distributions of their own; FA2's folder flash_attn/cute is not FA4, version 0.0.x is a placeholder.
    https://github.com/NVIDIA/Megatron-LM/pull/6964"""
    if missing := standing.missing_variant(config, facts):
        name, version = missing
        where = _where(config, facts)
        yield found("flash-attn-variant-missing", f"placeholder {where}" if version else where,
                    attn_impl=config.swift.attn_impl, distribution=name, version=version)


def flash_attn_too_old(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """transformers asks for 2.1.0, from 5 on for 2.3.3 (utils/import_utils.py, `is_flash_attn_2_available`).
    https://github.com/hiyouga/LlamaFactory/issues/3464"""
    if old := standing.too_old(config, facts):
        version, transformers, floor = old
        yield found("flash-attn-too-old", _rocm(facts), flash_attn=version, transformers=transformers, minimum=floor)


def flash_attn_broken(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Why the installed extension cannot be imported; `flash-attn-import-failed` only where nothing else explains it."""
    flash_attn = reading.wanted_flash_attn(config, facts)
    if flash_attn is None or reading.is_proven(flash_attn):
        return
    causes = tuple(_causes(flash_attn, facts))
    yield from causes
    error = known(flash_attn.import_error)
    torch = known(facts.torch)
    if error and not causes and flash_attn.distribution is not None and torch is not None \
            and known(torch.import_error) is None and (torch.cuda is not None or reading.on_rocm(facts)):
        yield found("flash-attn-import-failed", _rocm(facts), why=_one_line(error), context={"import_error": error})


def _causes(flash_attn: FlashAttn, facts: Facts) -> Iterator[Finding]:
    shadowed = tuple(_shadowed(flash_attn, facts))
    yield from shadowed
    extension = standing.extension_of(flash_attn, facts)
    if extension is None and not shadowed:
        yield found("flash-attn-extension-missing", version=known(flash_attn.version))
    elif read := known(extension):
        yield from _built_elsewhere(flash_attn, read, facts)


def _built_elsewhere(flash_attn: FlashAttn, extension: Extension, facts: Facts) -> Iterator[Finding]:
    """The extension was built for another Python (its file name says which), torch, CUDA runtime, or a newer glibc."""
    installed = known(flash_attn.version)
    if python := standing.other_python(extension, facts):
        built, here = python
        yield found("flash-attn-python-mismatch", file=known(extension.file), built=built[1], python=here)
    yield from _symbol_mismatch(flash_attn, extension, facts)
    if other := standing.other_cuda(flash_attn, extension, facts):
        library, major, cuda = other
        yield found("flash-attn-cuda-mismatch", flash_attn=installed, cuda=major, needs=library[0],
                    torch=reading.torch_version(facts), torch_cuda=cuda)
    if needed := standing.newer_glibc(flash_attn, extension, facts):
        host = known(facts.host.glibc)
        yield found("flash-attn-glibc-too-new", "" if host else "absent", flash_attn=installed, needs=needed, glibc=host)


def _shadowed(flash_attn: FlashAttn, facts: Facts) -> Iterator[Finding]:
    """A checkout in the working folder, a stub module, or the namespace that flash-attn-4 leaves."""
    if way := standing.outsider(flash_attn, facts):
        origin = known(flash_attn.origin)
        folder = (origin or "").replace("\\", "/").removesuffix("/__init__.py").rpartition("/")[0]
        yield found("flash-attn-shadowed", way, origin=origin, folder=folder,
                    context={"import_error": known(flash_attn.import_error) or None})


def _symbol_mismatch(flash_attn: FlashAttn, extension: Extension, facts: Facts) -> Iterator[Finding]:
    """Which torch the extension was built for."""
    foreign, version = standing.foreign_build(flash_attn, extension, facts), reading.torch_version(facts)
    copies, label, installed = known(extension.copies) or (), known(flash_attn.wheel_label), known(flash_attn.version)
    if foreign.abi is not None:
        yield found("flash-attn-abi-mismatch", "new" if foreign.abi else "old", flash_attn=installed, torch=version,
                    context={"unresolved": list(foreign.by_abi[:5]), "label": label})
    if foreign.torch:
        yield found("flash-attn-torch-mismatch", "copies" if copies else "", flash_attn=installed, torch=version,
                    evidence=foreign.others[0] if foreign.others else label, copies=list(copies),
                    context={"unresolved": list(foreign.others[:5]), "label": label})


def flash_attn_arch_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """No cubin for the GPU and no PTX to compile: `no kernel image is available for execution on the device`.
    https://github.com/Dao-AILab/flash-attention/issues/1146"""
    flash_attn, lacking = reading.wanted_flash_attn(config, facts), next(standing.gpus_without_code(config, facts), None)
    extension = known(flash_attn.extension) if flash_attn else None
    if flash_attn and extension and lacking:
        gpu, capability = lacking
        cubins, ptx = known(extension.cubins) or (), known(extension.ptx) or ()
        device = " ".join(filter(None, (f"GPU {gpu.index}", known(gpu.name))))
        yield found("flash-attn-arch-missing", flash_attn=known(flash_attn.version), has=[*cubins, *ptx], device=device,
                    capability=capability, context={"gpu": gpu.index, "cubins": list(cubins), "ptx": list(ptx)})


def flash_attn_probe(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """What the forward and backward probe saw on each wanted GPU.
    https://github.com/verl-project/verl/issues/5876 (imports, and the driver refuses the first kernel)"""
    flash_attn = reading.wanted_flash_attn(config, facts)
    gpus = reading.visible_gpus(config, facts).gpus
    for device in reading.probed_devices(flash_attn) if flash_attn else ():
        if gpus is not None and device.index not in {g.index for g in gpus}:
            continue
        error, off = known(device.error), known(device.max_error)
        if not device.ok and _unfit_head_dim(config, facts):
            continue  # which flash-attn-head-dim says
        if off is not None and not error and (not device.ok or off > LARGEST_ERROR or math.isnan(off)):
            yield found("flash-attn-probe-wrong", gpu=device.index, max_error=off, context={"error": error})
        elif not device.ok:
            yield found("flash-attn-probe-failed", gpu=device.index, why=_one_line(error or "?"),
                        context={"error": error, "max_error": off})


def flash_attn_head_dim(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A layer whose head dimension the implementation does not run on a wanted GPU: it dies in the first step.
    https://github.com/Dao-AILab/flash-attention/issues/2427 (Gemma 4)"""
    row, unfit = BY_NAME.get(config.swift.attn_impl or ""), _unfit_head_dim(config, facts)
    if row is not None and unfit is not None:
        dim, most, gpu = unfit
        way = "" if dim > MOST else "newer" if row is FA2 else "FlashAttention 2"
        on = f"GPU {gpu.index} ({known(gpu.compute_capability)})" if gpu else ""
        yield found("flash-attn-head-dim", way, head_dim=dim, most=most, title=row.title,
                    model_type=known(reading.model_config(config, facts).model_type) or config.swift.text("model"),
                    minimum=BACKWARD_EVERYWHERE, where=Text(f" on {on}", f"（{on}）") if on else "")


def _unfit_head_dim(config: ResolvedConfig, facts: Facts) -> tuple[int, int, Gpu | None] | None:
    """(the largest head dimension that does not run, the largest that does, on which GPU); no GPU where it is so on all."""
    row = BY_NAME.get(config.swift.attn_impl or "")
    if row is None or reading.on_ascend(facts):
        return None
    flash_attn = reading.wanted_flash_attn(config, facts)
    version = reading.installed_version(facts, flash_attn) if flash_attn else facts.package(row.distribution)
    for dim in sorted(head_dims_of(reading.model_config(config, facts)), reverse=True):
        if (most := most_head_dim(row, version, None, dim)) is not None:
            return dim, most, None
        for gpu in () if reading.on_rocm(facts) else reading.visible_gpus(config, facts).gpus or ():
            if (most := most_head_dim(row, version, known(gpu.compute_capability), dim)) is not None:
                return dim, most, gpu
    return None


def flash_attn_unnamed(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A `flash_attn` of no distribution kills `import transformers`, whatever attention is asked for."""
    flash_attn, unnamed = known(facts.flash_attn), dies_of_unnamed(facts)
    shadowed = flash_attn is not None and standing.is_missing(config, facts) and standing.outsider(flash_attn, facts) is not None
    if unnamed is not None and not shadowed:
        module, origin = unnamed
        yield found("flash-attn-shadowed", "kills transformers", module=module, origin=origin,
                    transformers=facts.package("transformers"), pip=reading.pip(facts))


def torch_prerelease(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A vendor's or nightly torch has no public wheels of its own.
    https://github.com/Dao-AILab/flash-attention/issues/836, /709 and /347 (NGC images)"""
    version = reading.torch_version(facts)
    if version is not None and version.is_prerelease and config.swift.wants_flash_attn and not reading.on_ascend(facts):
        yield found("torch-prerelease", torch=version)


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:197]}..."


CHECKS: tuple[Check, ...] = (
    flash_attn_missing, kernel_missing, kernel_mismatch, flash_attn_variant_missing, flash_attn_too_old, flash_attn_broken,
    flash_attn_arch_missing, flash_attn_probe, flash_attn_head_dim, flash_attn_unnamed, torch_prerelease)
