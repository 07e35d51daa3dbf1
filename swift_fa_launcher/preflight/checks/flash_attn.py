"""flash-attn as it is installed: there, whole, its own, and built for this Python, torch, CUDA, libc and GPU.

What a library needs is read from the file; what an import said is used where the file was not read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Unknown, known
from swift_fa_launcher.errors import Text, Words
from swift_fa_launcher.findings.finding import ERROR, INFO, WARNING, Check, Finding
from swift_fa_launcher.machine.facts import Extension, Facts, FlashAttn, Gpu, ProbedDevice
from swift_fa_launcher.machine.reading import (
    WITHOUT_FLASH_ATTN,
    has_cpu_torch,
    has_no_gpu,
    installed_version,
    is_absent,
    is_proven,
    minor,
    on_ascend,
    on_rocm,
    pip,
    torch_cuda,
    torch_version,
    visible_gpus,
    wanted_flash_attn,
)

INSTALL = "swift-fa install"
FROM_SOURCE = "swift-fa install --from-source"

#: A probe's largest difference from the float32 reference that half precision explains.
LARGEST_ERROR = 0.1

#: GPUs on a system-on-chip: a desktop GPU's cubins do not run on them, nor theirs elsewhere.
#: https://docs.nvidia.com/cuda/cuda-c-programming-guide/ (binary compatibility)
INTEGRATED = frozenset(map(Version, ("5.3", "6.2", "7.2", "8.7", "10.1", "11.0")))

#: Distributions of the other implementations.
VARIANTS = {"flash_attention_3": "flash-attn-3", "flash_attention_4": "flash-attn-4"}


def flash_attn_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """FlashAttention 2 is asked for and its distribution is not there.

    transformers asks for the distribution, not for an importable module; since 4.56 it takes a kernel from the hub
    instead where `kernels` is installed (modeling_utils.py, `_check_and_adjust_attn_implementation`).
    https://github.com/huggingface/transformers/issues/44559
    """
    if not config.swift.wants_flash_attn_2 or on_ascend(facts):
        return
    if not is_absent(facts, "flash-attn") if isinstance(facts.flash_attn, Unknown) else \
            facts.flash_attn is not None and facts.flash_attn.distribution is not None:
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
    impl = config.swift.attn_impl or ""
    name = VARIANTS.get(impl)
    if name is None or on_ascend(facts):
        return
    installed = {"flash-attn-3": facts.flash_attn_3, "flash-attn-4": facts.flash_attn_4}[name]
    there = known(installed)
    version = facts.package(name) or (known(there.version) if there and known(there.distribution) else None)
    if version is not None and version.release[:2] != (0, 0):
        return
    if version is None and not (is_absent(facts, name) or (installed is None and not facts.package(name)
                                                           and isinstance(facts.packages, Unknown))):
        return
    said = Text(f"only the placeholder {name} {version}", f"只有占位的 {name} {version}") if version else \
        Text(f"{name} is not installed", f"没有安装 {name}")
    yield Finding("flash-attn-variant-missing", ERROR, Text(f"attn_impl={impl}: {said.en}", f"attn_impl={impl}：{said.zh}"),
                  _of_no_use(config, facts) or ("swift.attn_impl=flash_attn", f"{INSTALL} swift.attn_impl={impl}"),
                  {"attn_impl": impl, "distribution": name, "version": version})


def flash_attn_too_old(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """transformers asks for 2.1.0, from 5 on for 2.3.3 (utils/import_utils.py, `is_flash_attn_2_available`).

    https://github.com/hiyouga/LlamaFactory/issues/3464
    """
    transformers = facts.package("transformers")
    flash_attn = wanted_flash_attn(config, facts) if config.swift.wants_flash_attn_2 else None
    version = installed_version(facts, flash_attn) if flash_attn else None
    if transformers is None or version is None:
        return
    floor = Version("2.3.3") if transformers.major >= 5 else Version("2.1.0")
    if version < floor:
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
    if flash_attn.distribution is None or on_rocm(facts):
        return
    extension = flash_attn.extension
    if isinstance(extension, Unknown) and "No module named 'flash_attn_2_cuda'" in (known(flash_attn.import_error) or ""):
        extension = None  # nobody read the file, and the import found none
    if extension is None and flash_attn.distribution == "flash-attn-4":
        return  # its kernels are compiled when they are first used
    if extension is None and not shadowed:
        yield Finding("flash-attn-extension-missing", ERROR,
                      Text(f"flash-attn {known(flash_attn.version)} is installed without its compiled extension",
                           f"flash-attn {known(flash_attn.version)} 缺少编译好的扩展"),
                      (INSTALL,), {"version": known(flash_attn.version)})
    elif not shadowed or extension is not None:
        read = known(extension) or Extension()
        yield from _python_mismatch(read, facts)
        yield from _symbol_mismatch(flash_attn, read, facts)
        yield from _cuda_mismatch(flash_attn, read, facts)
        yield from _glibc_too_new(flash_attn, read, facts)


def _shadowed(flash_attn: FlashAttn, facts: Facts) -> Iterator[Finding]:
    """A checkout in the working folder, a stub module, or the namespace that flash-attn-4 leaves.

    https://github.com/Dao-AILab/flash-attention/issues/1387, https://github.com/modelscope/ms-swift/issues/7990
    """
    origin, error = known(flash_attn.origin), known(flash_attn.import_error) or ""
    distribution = known(flash_attn.distribution)
    own = _MODULE_FILES.get(distribution, _FA2_FILE) if distribution else (_FA2_FILE, *_MODULE_FILES.values())
    where, fix = _outsider(origin, error, own, _imports_whole(flash_attn), facts), (INSTALL,)
    if where is None:
        return
    folder = (origin or "").replace("\\", "/").removesuffix("/__init__.py").rpartition("/")[0]
    yield Finding("flash-attn-shadowed", ERROR,
                  Text(f"flash_attn is {where.en}, not the installed flash-attn",
                       f"flash_attn 是{where.zh}，而不是安装的 flash-attn"),
                  ((Text(f"run from another folder than {folder}, and take it off PYTHONPATH",
                         f"换一个目录运行（不要在 {folder}），并从 PYTHONPATH 中去掉它"), *fix) if folder else fix),
                  {"origin": origin, "import_error": error or None})


#: The end of the file that an import runs, by distribution.
_FA2_FILE = "/flash_attn/__init__.py"
_MODULE_FILES = {"flash-attn-3": "/flash_attn_interface.py", "flash-attn-4": "/flash_attn/cute/__init__.py"}


def _imports_whole(flash_attn: FlashAttn) -> bool:
    """Whether a distribution imports with its extension, wherever it lies: installed editable, or into a folder of its own."""
    extension = known(flash_attn.extension)
    return flash_attn.import_error is None and bool(known(flash_attn.distribution)) and flash_attn.extension is not None \
        and not (extension and known(extension.unresolved))


def _outsider(origin: str | None, error: str, own: str | tuple[str, ...], whole: bool, facts: Facts) -> Text | None:
    """What `flash_attn` is, when it is not the package of a distribution.

    own: how that one's file ends. whole: it imports with its extension, in whichever folder.
    """
    if "is not a package" in error:
        return Text(f"a stub without a package {origin or ''}".rstrip(), f"一个空壳模块 {origin or ''}".rstrip())
    if "(unknown location)" in error:
        return Text("a namespace without FlashAttention 2 (flash-attn-4 leaves one)",
                    "一个不含 FlashAttention 2 的命名空间（flash-attn-4 会留下它）")
    if origin is None:
        return None
    path = origin.replace("\\", "/")
    python = known(facts.python)
    home = (known(python.site_packages) if python else None) or ""
    if not path.endswith(own):
        return Text(f"the file {origin}", f"文件 {origin}")
    installed = "/site-packages/" in path or "/dist-packages/" in path or (home and path.startswith(home.replace("\\", "/")))
    return None if installed or whole else Text(f"the folder of {origin}", f"{origin} 所在的目录")


def _python_mismatch(extension: Extension, facts: Facts) -> Iterator[Finding]:
    """The extension's file name carries the Python that it was built for."""
    file, python = known(extension.file) or "", known(facts.python)
    built = re.search(r"\.(?:cpython-|cp)([0-9]{2,4}t?)-", file)
    abi = known(python.abi) if python else None
    version = known(python.version) if python else None
    here = abi.removeprefix("cp") if abi and abi.startswith("cp") else f"{version.major}{version.minor}" if version else None
    if built and here and built[1] != here:
        yield Finding("flash-attn-python-mismatch", ERROR,
                      Text(f"{file} is for Python {built[1]}; this one is {here}",
                           f"{file} 适用于 Python {built[1]}，而这里是 {here}"),
                      (INSTALL,), {"file": file, "python": here})


def _symbol_mismatch(flash_attn: FlashAttn, extension: Extension, facts: Facts) -> Iterator[Finding]:
    """Which torch the extension was built for, by the symbols that this torch lacks; else by the wheel's label.

    c10::Error's constructor takes a std::string: the old C++11 ABI mangles it `Ss`, the new one `__cxx1112basic_string`.
    https://github.com/Dao-AILab/flash-attention/issues/1783 (ABI), /836 and /954 (another torch)
    """
    torch = known(facts.torch)
    abi = known(torch.cxx11_abi) if torch else None
    version = torch_version(facts)
    symbols = unresolved_symbols(flash_attn, extension)
    foreign = tuple(s for s in symbols if _is_torchs(s))
    by_abi = tuple(s for s in foreign if _string_abi(s) is not None and _string_abi(s) is not abi)
    others = tuple(s for s in foreign if s not in by_abi)
    built_abi, built_torch = _label(flash_attn) if not _proven(flash_attn, extension) else (None, None)
    if known(facts.host.os) == "Windows":
        built_abi = None  # its compiler has no such ABI, whatever wheels are called
    copies = known(extension.copies) or ()
    fix: tuple[Words, ...] = (INSTALL, FROM_SOURCE)
    if by_abi or (built_abi is not None and abi is not None and built_abi is not abi and not others):
        asks = _string_abi(by_abi[0]) if by_abi else built_abi
        words = (Text("the new", "新"), Text("the old", "旧")) if asks else (Text("the old", "旧"), Text("the new", "新"))
        yield Finding("flash-attn-abi-mismatch", ERROR,
                      Text(f"flash-attn {known(flash_attn.version)} was built for {words[0].en} C++11 ABI, "
                           f"torch {version} has {words[1].en} one",
                           f"flash-attn {known(flash_attn.version)} 按{words[0].zh} C++11 ABI 编译，"
                           f"而 torch {version} 用的是{words[1].zh} ABI"),
                      fix, {"unresolved": list(by_abi[:5]), "label": known(flash_attn.wheel_label), "torch": version})
    if others or (built_torch and version and built_torch != minor(version)):
        several = Text(f"; further copies: {', '.join(copies)}", f"；另有副本：{'、'.join(copies)}") if copies else Text("", "")
        shown = others[0] if others else known(flash_attn.wheel_label)
        yield Finding("flash-attn-torch-mismatch", ERROR,
                      Text(f"flash-attn {known(flash_attn.version)} was built for another torch than {version}: "
                           f"{shown}{several.en}",
                           f"flash-attn {known(flash_attn.version)} 不是为 torch {version} 编译的：{shown}{several.zh}"),
                      fix, {"unresolved": list(others[:5]), "label": known(flash_attn.wheel_label), "torch": version,
                            "copies": list(copies)})


def unresolved_symbols(flash_attn: FlashAttn, extension: Extension) -> tuple[str, ...]:
    """Symbols that nobody provides: those read from the file, and the one that the import stopped at."""
    said = re.search(r"undefined symbol: (\w+)", known(flash_attn.import_error) or "")
    read = known(extension.unresolved) or ()
    return (*read, said[1]) if said and said[1] not in read else read


def _is_torchs(symbol: str) -> bool:
    namespaces = r"_Z(?:T[VISTC])?N?[rVKRO]*(?:3c10|2at|5torch|6caffe2)(?=[0-9ES])"
    return bool(re.match(namespaces, symbol)) or symbol.startswith(("THP", "aoti_torch_"))


def _string_abi(symbol: str) -> bool | None:
    """Which C++11 ABI a mangled name's std::string belongs to: True the new one, False the old one, None neither."""
    if "__cxx11" in symbol:
        return True
    skeleton, at = "", 0
    while at < len(symbol):  # drop the names, which are headed by their length, so that only the types are left
        digits = re.match(r"[0-9]+", symbol[at:])
        if digits and len(digits[0]) < 5:
            at += len(digits[0]) + int(digits[0])
        else:
            skeleton += symbol[at]
            at += 1
    return False if "Ss" in skeleton else None


def _label(flash_attn: FlashAttn) -> tuple[bool | None, str | None]:
    """(C++11 ABI, torch minor) that the installed wheel's label claims."""
    label = (known(flash_attn.wheel_label) or "").lower()
    abi, torch = re.search(r"abi\.?(true|false)", label), re.search(r"torch\.?([0-9]{1,3})\.([0-9]{1,3})", label)
    return (abi[1] == "true") if abi else None, f"{torch[1]}.{torch[2]}" if torch else None


def _proven(flash_attn: FlashAttn, extension: Extension) -> bool:
    """It resolves, imports and computes: then its label says nothing against it."""
    return (known(extension.unresolved) == () and flash_attn.import_error is None
            and any(d.ok for d in _devices(flash_attn)))


def _cuda_mismatch(flash_attn: FlashAttn, extension: Extension, facts: Facts) -> Iterator[Finding]:
    """Binaries need the CUDA runtime of their own major, and torch brings one only.

    https://github.com/Dao-AILab/flash-attention/issues/2118
    """
    cuda = torch_cuda(facts)
    needs = known(extension.needs)
    text = " ".join(needs) if needs is not None else known(flash_attn.import_error) or ""
    found = re.search(r"libcudart\.so\.([0-9]{1,4})|cudart64_([0-9]{2})", text)
    major = int(found[1] or found[2]) if found else None
    if cuda is not None and major is not None and major != cuda.major:
        yield Finding("flash-attn-cuda-mismatch", ERROR,
                      Text(f"flash-attn {known(flash_attn.version)} needs CUDA {major}'s runtime ({found[0] if found else ''}); "
                           f"torch {torch_version(facts)} brings CUDA {cuda}",
                           f"flash-attn {known(flash_attn.version)} 需要 CUDA {major} 的运行库（{found[0] if found else ''}），"
                           f"而 torch {torch_version(facts)} 带的是 CUDA {cuda}"),
                      (INSTALL, FROM_SOURCE), {"needs": found[0] if found else None, "torch_cuda": cuda})


def _glibc_too_new(flash_attn: FlashAttn, extension: Extension, facts: Facts) -> Iterator[Finding]:
    """Official 2.8.x wheels need GLIBC_2.32. https://github.com/Dao-AILab/flash-attention/issues/1762"""
    host = facts.host.glibc
    said = re.search(r"GLIBC_([0-9]{1,4}\.[0-9]{1,4})' not found", known(flash_attn.import_error) or "")
    needed = known(extension.glibc) or (Version(said[1]) if said else None)
    if needed is None or (isinstance(host, Unknown) and not said) or (host is None and known(facts.host.os) != "Linux"):
        return
    if not isinstance(host, Version) or host < needed:
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
    flash_attn = wanted_flash_attn(config, facts)
    extension = known(flash_attn.extension) if flash_attn else None
    cubins, ptx = (known(extension.cubins), known(extension.ptx)) if extension else (None, None)
    if flash_attn is None or cubins is None or ptx is None or not (cubins or ptx) or on_rocm(facts):
        return
    for gpu in visible_gpus(config, facts).gpus or ():
        capability = known(gpu.compute_capability)
        if capability is None or probed_ok(flash_attn, gpu) or any(cubin_fits(c, capability) for c in cubins) \
                or any(ptx_fits(p, capability) for p in ptx):
            continue
        has = ", ".join((*cubins, *ptx))
        yield Finding("flash-attn-arch-missing", ERROR,
                      Text(f"flash-attn {known(flash_attn.version)} holds {has}; GPU {gpu.index} {known(gpu.name) or ''} "
                           f"is {capability}",
                           f"flash-attn {known(flash_attn.version)} 只含 {has}，而 GPU {gpu.index} {known(gpu.name) or ''} "
                           f"是 {capability}"),
                      (INSTALL, FROM_SOURCE), {"gpu": gpu.index, "capability": capability, "cubins": list(cubins),
                                               "ptx": list(ptx)})
        return


def cubin_fits(cubin: str, capability: Version) -> bool:
    """Whether machine code for `sm_86` runs: same major, minor not above; `a` is for one GPU alone, as are integrated ones."""
    read = _architecture(cubin)
    if read is None:
        return False
    built, suffix = read
    if suffix == "a" or built in INTEGRATED or capability in INTEGRATED:
        return built == capability
    return built.major == capability.major and built <= capability


def ptx_fits(ptx: str, capability: Version) -> bool:
    """Whether `compute_80` can be compiled for the GPU: any newer one, except for the architecture's own variants."""
    read = _architecture(ptx)
    if read is None:
        return False
    built, suffix = read
    if suffix == "f":
        return built.major == capability.major and built <= capability
    return built == capability if suffix == "a" else built <= capability


def _architecture(name: str) -> tuple[Version, str] | None:
    found = re.fullmatch(r"(?:sm|compute)_([0-9]{1,3})([0-9])([af]?)", name)
    return (Version(f"{found[1]}.{found[2]}"), found[3]) if found else None


def flash_attn_probe(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """What the forward and backward probe saw on each wanted GPU.

    https://github.com/verl-project/verl/issues/5876 (imports, and the driver refuses the first kernel)
    """
    flash_attn = wanted_flash_attn(config, facts)
    gpus = visible_gpus(config, facts).gpus
    for device in _devices(flash_attn) if flash_attn else ():
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


def probed_ok(flash_attn: FlashAttn, gpu: Gpu) -> bool:
    """Whether the probe ran on this very GPU: stronger than what a file says."""
    return any(d.ok and d.index == gpu.index for d in _devices(flash_attn))


def _devices(flash_attn: FlashAttn) -> tuple[ProbedDevice, ...]:
    probe = known(flash_attn.probe)
    return probe.devices if probe else ()


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
