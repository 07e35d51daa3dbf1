"""flash-attn as it is installed: there, whole, its own, and built for this Python, torch, CUDA, libc and GPU.

What speaks against it is `flash.installed`'s to say; here it gets its words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import Text, Words
from swift_fa_launcher.findings.finding import ERROR, INFO, WARNING, Check, Finding
from swift_fa_launcher.flash.installed import (
    extension_of,
    foreign_build,
    gpus_without_code,
    is_missing,
    missing_variant,
    newer_glibc,
    other_cuda,
    other_python,
    outsider,
    too_old,
)
from swift_fa_launcher.machine.facts import Extension, Facts, FlashAttn
from swift_fa_launcher.machine.reading import (
    WITHOUT_FLASH_ATTN,
    has_cpu_torch,
    has_no_gpu,
    is_proven,
    on_ascend,
    on_rocm,
    pip,
    probed_devices,
    torch_version,
    visible_gpus,
    wanted_flash_attn,
)

INSTALL = "swift-fa install"
FROM_SOURCE = "swift-fa install --from-source"

#: A probe's largest difference from the float32 reference that half precision explains.
LARGEST_ERROR = 0.1


def flash_attn_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """FlashAttention 2 is asked for and its distribution is not there.

    transformers asks for the distribution, not for an importable module; since 4.56 it takes a kernel from the hub
    instead where `kernels` is installed (modeling_utils.py, `_check_and_adjust_attn_implementation`).
    https://github.com/huggingface/transformers/issues/44559
    """
    if not is_missing(config, facts):
        return
    impl = config.swift.attn_impl
    yield Finding("flash-attn-missing", ERROR,
                  Text(f"attn_impl={impl} and flash-attn is not installed", f"attn_impl={impl}，但没有安装 flash-attn"),
                  _of_no_use(config, facts) or (INSTALL, WITHOUT_FLASH_ATTN), {"attn_impl": impl})
    transformers, kernels = facts.package("transformers"), facts.package("kernels")
    if transformers and kernels and transformers >= Version("4.56"):
        name = "kernels-community/flash-attn2" if transformers.major >= 5 else "kernels-community/flash-attn"
        yield Finding("flash-attn-missing", INFO,
                      Text(f"without flash-attn, transformers {transformers} tries {name} from the hub, "
                           f"as kernels {kernels} is installed",
                           f"没有 flash-attn 时，transformers {transformers} 会尝试使用模型库中的 {name}"
                           f"（因为安装了 kernels {kernels}）"),
                      (pip(facts, "uninstall -y", "kernels"),), {"kernel": name})


def _of_no_use(config: ResolvedConfig, facts: Facts) -> tuple[Words, ...]:
    """What comes before an installation that could not run here; the machine's own findings say how to train without."""
    if has_cpu_torch(facts):
        return (Text("a torch with CUDA comes first, and a GPU", "先要有带 CUDA 的 torch 和 GPU"),)
    return (Text("it is of use on a machine with a GPU", "需在有 GPU 的机器上使用"),) if has_no_gpu(config, facts) else ()


def flash_attn_variant_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """FA3 and FA4 are distributions of their own; FA2's folder flash_attn/cute is not FA4, version 0.0.x is a placeholder.

    https://github.com/NVIDIA/Megatron-LM/pull/6964
    """
    impl, missing = config.swift.attn_impl or "", missing_variant(config, facts)
    if missing is None:
        return
    name, version = missing
    said = Text(f"only the placeholder {name} {version}", f"只有占位的 {name} {version}") if version else \
        Text(f"{name} is not installed", f"没有安装 {name}")
    yield Finding("flash-attn-variant-missing", ERROR, Text(f"attn_impl={impl}: {said.en}", f"attn_impl={impl}：{said.zh}"),
                  _of_no_use(config, facts) or ("swift.attn_impl=flash_attn", f"{INSTALL} swift.attn_impl={impl}"),
                  {"attn_impl": impl, "distribution": name, "version": version})


def flash_attn_too_old(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """transformers asks for 2.1.0, from 5 on for 2.3.3 (utils/import_utils.py, `is_flash_attn_2_available`).

    https://github.com/hiyouga/LlamaFactory/issues/3464
    """
    if old := too_old(config, facts):
        version, transformers, floor = old
        yield Finding("flash-attn-too-old", ERROR,
                      Text(f"flash-attn {version}: transformers {transformers} needs {floor} or newer",
                           f"flash-attn {version}：transformers {transformers} 需要 {floor} 或更新"),
                      (f'{INSTALL} --version ">={floor}"',), {"flash_attn": version, "minimum": floor})


def flash_attn_broken(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Why the installed extension cannot be imported; `flash-attn-import-failed` only where nothing else explains it."""
    flash_attn = wanted_flash_attn(config, facts)
    if flash_attn is None or is_proven(flash_attn):
        return
    causes = tuple(_causes(flash_attn, facts))
    yield from causes
    error = known(flash_attn.import_error)
    torch = known(facts.torch)
    if error and not causes and flash_attn.distribution is not None and torch is not None \
            and known(torch.import_error) is None and (torch.cuda is not None or on_rocm(facts)):
        yield Finding("flash-attn-import-failed", ERROR, Text(f"flash-attn does not import: {_one_line(error)}",
                                                              f"flash-attn 无法导入：{_one_line(error)}"),
                      (INSTALL, WITHOUT_FLASH_ATTN), {"import_error": error})


def _causes(flash_attn: FlashAttn, facts: Facts) -> Iterator[Finding]:
    shadowed = tuple(_shadowed(flash_attn, facts))
    yield from shadowed
    extension = extension_of(flash_attn, facts)
    if extension is None and not shadowed:
        yield Finding("flash-attn-extension-missing", ERROR,
                      Text(f"flash-attn {known(flash_attn.version)} is installed without its compiled extension",
                           f"flash-attn {known(flash_attn.version)} 缺少编译好的扩展"),
                      (INSTALL,), {"version": known(flash_attn.version)})
    elif read := known(extension):
        yield from _python_mismatch(read, facts)
        yield from _symbol_mismatch(flash_attn, read, facts)
        yield from _cuda_mismatch(flash_attn, read, facts)
        yield from _glibc_too_new(flash_attn, read, facts)


def _shadowed(flash_attn: FlashAttn, facts: Facts) -> Iterator[Finding]:
    """A checkout in the working folder, a stub module, or the namespace that flash-attn-4 leaves."""
    origin, error = known(flash_attn.origin), known(flash_attn.import_error) or ""
    where, fix = outsider(flash_attn, facts), (INSTALL,)
    if where is None:
        return
    folder = (origin or "").replace("\\", "/").removesuffix("/__init__.py").rpartition("/")[0]
    yield Finding("flash-attn-shadowed", ERROR,
                  Text(f"flash_attn is {where.en}, not the installed flash-attn",
                       f"flash_attn 是{where.zh}，而不是安装的 flash-attn"),
                  ((Text(f"run from another folder than {folder}, and take it off PYTHONPATH",
                         f"换一个目录运行（不要在 {folder}），并从 PYTHONPATH 中去掉它"), *fix) if folder else fix),
                  {"origin": origin, "import_error": error or None})


def _python_mismatch(extension: Extension, facts: Facts) -> Iterator[Finding]:
    """The extension's file name carries the Python that it was built for."""
    file = known(extension.file) or ""
    if other := other_python(extension, facts):
        built, here = other
        yield Finding("flash-attn-python-mismatch", ERROR,
                      Text(f"{file} is for Python {built[1]}; this one is {here}",
                           f"{file} 适用于 Python {built[1]}，而这里是 {here}"),
                      (INSTALL,), {"file": file, "python": here})


def _symbol_mismatch(flash_attn: FlashAttn, extension: Extension, facts: Facts) -> Iterator[Finding]:
    """Which torch the extension was built for."""
    foreign, version = foreign_build(flash_attn, extension, facts), torch_version(facts)
    by_abi, others, asks = foreign.by_abi, foreign.others, foreign.abi
    copies = known(extension.copies) or ()
    fix: tuple[Words, ...] = (INSTALL, FROM_SOURCE)
    if asks is not None:
        words = (Text("the new", "新"), Text("the old", "旧")) if asks else (Text("the old", "旧"), Text("the new", "新"))
        yield Finding("flash-attn-abi-mismatch", ERROR,
                      Text(f"flash-attn {known(flash_attn.version)} was built for {words[0].en} C++11 ABI, "
                           f"torch {version} has {words[1].en} one",
                           f"flash-attn {known(flash_attn.version)} 按{words[0].zh} C++11 ABI 编译，"
                           f"而 torch {version} 用的是{words[1].zh} ABI"),
                      fix, {"unresolved": list(by_abi[:5]), "label": known(flash_attn.wheel_label), "torch": version})
    if foreign.torch:
        several = Text(f"; further copies: {', '.join(copies)}", f"；另有副本：{'、'.join(copies)}") if copies else Text("", "")
        shown = others[0] if others else known(flash_attn.wheel_label)
        yield Finding("flash-attn-torch-mismatch", ERROR,
                      Text(f"flash-attn {known(flash_attn.version)} was built for another torch than {version}: "
                           f"{shown}{several.en}",
                           f"flash-attn {known(flash_attn.version)} 不是为 torch {version} 编译的：{shown}{several.zh}"),
                      fix, {"unresolved": list(others[:5]), "label": known(flash_attn.wheel_label), "torch": version,
                            "copies": list(copies)})


def _cuda_mismatch(flash_attn: FlashAttn, extension: Extension, facts: Facts) -> Iterator[Finding]:
    """The extension needs another CUDA's runtime than torch brings."""
    if other := other_cuda(flash_attn, extension, facts):
        found, major, cuda = other
        yield Finding("flash-attn-cuda-mismatch", ERROR,
                      Text(f"flash-attn {known(flash_attn.version)} needs CUDA {major}'s runtime ({found[0] if found else ''}); "
                           f"torch {torch_version(facts)} brings CUDA {cuda}",
                           f"flash-attn {known(flash_attn.version)} 需要 CUDA {major} 的运行库（{found[0] if found else ''}），"
                           f"而 torch {torch_version(facts)} 带的是 CUDA {cuda}"),
                      (INSTALL, FROM_SOURCE), {"needs": found[0] if found else None, "torch_cuda": cuda})


def _glibc_too_new(flash_attn: FlashAttn, extension: Extension, facts: Facts) -> Iterator[Finding]:
    """The extension needs a newer glibc than this system's."""
    host = facts.host.glibc
    if needed := newer_glibc(flash_attn, extension, facts):
        here = Text(f"this system has {host}", f"本机为 {host}") if isinstance(host, Version) else \
            Text("this system has no such glibc", "本机没有这个版本的 glibc")
        yield Finding("flash-attn-glibc-too-new", ERROR,
                      Text(f"flash-attn {known(flash_attn.version)} needs glibc {needed}; {here.en}",
                           f"flash-attn {known(flash_attn.version)} 需要 glibc {needed}，{here.zh}"),
                      (INSTALL, FROM_SOURCE, Text("or use a container with a newer system", "或使用系统更新的容器")),
                      {"needs": needed, "glibc": known(host)})


def flash_attn_arch_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """No cubin for the GPU and no PTX to compile: `no kernel image is available for execution on the device`.

    https://github.com/Dao-AILab/flash-attention/issues/1146
    """
    for gpu, capability in gpus_without_code(config, facts):
        flash_attn = wanted_flash_attn(config, facts)
        extension = known(flash_attn.extension) if flash_attn else None
        if flash_attn is None or extension is None:
            return
        cubins, ptx = known(extension.cubins) or (), known(extension.ptx) or ()
        has = ", ".join((*cubins, *ptx))
        yield Finding("flash-attn-arch-missing", ERROR,
                      Text(f"flash-attn {known(flash_attn.version)} holds {has}; GPU {gpu.index} {known(gpu.name) or ''} "
                           f"is {capability}",
                           f"flash-attn {known(flash_attn.version)} 只含 {has}，而 GPU {gpu.index} {known(gpu.name) or ''} "
                           f"是 {capability}"),
                      (INSTALL, FROM_SOURCE), {"gpu": gpu.index, "capability": capability, "cubins": list(cubins),
                                               "ptx": list(ptx)})
        return


def flash_attn_probe(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """What the forward and backward probe saw on each wanted GPU.

    https://github.com/verl-project/verl/issues/5876 (imports, and the driver refuses the first kernel)
    """
    flash_attn = wanted_flash_attn(config, facts)
    gpus = visible_gpus(config, facts).gpus
    for device in probed_devices(flash_attn) if flash_attn else ():
        if gpus is not None and device.index not in {g.index for g in gpus}:
            continue
        error, off = known(device.error), known(device.max_error)
        context = {"gpu": device.index, "error": error, "max_error": off}
        if off is not None and not error and (not device.ok or off > LARGEST_ERROR or math.isnan(off)):
            yield Finding("flash-attn-probe-wrong", ERROR,
                          Text(f"flash-attn on GPU {device.index} differs from the reference by {off:.3g}",
                               f"GPU {device.index} 上 flash-attn 的结果与参考值相差 {off:.3g}"),
                          (FROM_SOURCE, WITHOUT_FLASH_ATTN), context)
        elif not device.ok:
            yield Finding("flash-attn-probe-failed", ERROR,
                          Text(f"flash-attn fails on GPU {device.index}: {_one_line(error or '?')}",
                               f"flash-attn 在 GPU {device.index} 上运行失败：{_one_line(error or '?')}"),
                          (INSTALL, FROM_SOURCE, WITHOUT_FLASH_ATTN), context)


def torch_prerelease(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A vendor's or nightly torch has no public wheels of its own.

    https://github.com/Dao-AILab/flash-attention/issues/836, /709 and /347 (NGC images)
    """
    version = torch_version(facts)
    if version is not None and version.is_prerelease and config.swift.wants_flash_attn and not on_ascend(facts):
        yield Finding("torch-prerelease", WARNING,
                      Text(f"torch {version} is a vendor or nightly build: public flash-attn wheels do not fit",
                           f"torch {version} 是厂商或每夜构建版：公开的 flash-attn wheel 不适用"),
                      (FROM_SOURCE,), {"torch": version})


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:197]}..."


CHECKS: tuple[Check, ...] = (flash_attn_missing, flash_attn_variant_missing, flash_attn_too_old, flash_attn_broken,
                             flash_attn_arch_missing, flash_attn_probe, torch_prerelease)
