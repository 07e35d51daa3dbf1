"""What speaks against the flash attention that is installed: absent, too old, another's, built for another machine. Pure.

What a library needs is read from the file; what an import said is used where the file was not read. Where the probe computed
with it on a GPU, neither says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Maybe, Unknown, known
from swift_fa_launcher.flash.architectures import runs_on
from swift_fa_launcher.flash.implementations import BY_DISTRIBUTION, BY_NAME, FA2, FA4, IMPLEMENTATIONS
from swift_fa_launcher.flash.name import parse_label
from swift_fa_launcher.flash.provider import PACKAGE, choose_provider
from swift_fa_launcher.flash.symbols import is_torchs, string_abi
from swift_fa_launcher.flash.tags import extension_python
from swift_fa_launcher.flash.versions import least_for
from swift_fa_launcher.machine.facts import Extension, Facts, FlashAttn, Gpu
from swift_fa_launcher.machine.reading import (
    installed_version,
    is_absent,
    is_proven,
    on_ascend,
    on_rocm,
    probed_ok,
    torch_cuda,
    torch_version,
    visible_gpus,
    wanted_flash_attn,
)

# Absent, or too old ---------------------------------------------------------------------------------------------------


def is_missing(config: ResolvedConfig, facts: Facts) -> bool:
    """Whether FlashAttention 2 is to come from the package and its distribution is not there."""
    provider = choose_provider(config, facts)
    if provider is None or provider.name != PACKAGE:
        return False
    if isinstance(facts.flash_attn, Unknown):
        return is_absent(facts, FA2.distribution)
    return facts.flash_attn is None or facts.flash_attn.distribution is None


def missing_variant(config: ResolvedConfig, facts: Facts) -> tuple[str, Version | None] | None:
    """(distribution, version of its placeholder) of the FlashAttention 3 or 4 that is asked for and is not there; else None."""
    row = BY_NAME.get(config.swift.attn_impl or "")
    if row is None or row is FA2 or on_ascend(facts):
        return None
    installed, name = getattr(facts, row.field), row.distribution
    there = known(installed)
    version = facts.package(name) or (known(there.version) if there and known(there.distribution) else None)
    if version is not None:
        return (name, version) if version < row.first else None
    absent = is_absent(facts, name) or (installed is None and isinstance(facts.packages, Unknown))
    return (name, None) if absent else None


def too_old(config: ResolvedConfig, facts: Facts) -> tuple[Version, Version, Version] | None:
    """(flash-attn, transformers, the oldest flash-attn that it takes) where the one that is installed is older; else None."""
    transformers = facts.package("transformers")
    flash_attn = wanted_flash_attn(config, facts) if config.swift.wants_flash_attn_2 else None
    version = installed_version(facts, flash_attn) if flash_attn else None
    floor = least_for(transformers)
    return (version, transformers, floor) if transformers and version and version < floor else None


# Another's ------------------------------------------------------------------------------------------------------------


def outsider(flash_attn: FlashAttn, facts: Facts) -> str | None:
    """What `flash_attn` is, when it is not the package of a distribution: a "stub" of unknown origin, a
    "namespace", another "file" or "folder".

    https://github.com/Dao-AILab/flash-attention/issues/1387, https://github.com/modelscope/ms-swift/issues/7990
    """
    origin, error = known(flash_attn.origin), known(flash_attn.import_error) or ""
    if "is not a package" in error:
        return "file" if origin else "stub"
    if "(unknown location)" in error:
        return "namespace"
    if origin is None:
        return None
    path = origin.replace("\\", "/")
    python, distribution = known(facts.python), known(flash_attn.distribution)
    home = (known(python.site_packages) if python else None) or ""
    row = BY_DISTRIBUTION.get(distribution, FA2) if distribution else None
    if not path.endswith(row.file if row else tuple(each.file for each in IMPLEMENTATIONS)):
        return "file"
    installed = "/site-packages/" in path or "/dist-packages/" in path or (home and path.startswith(home.replace("\\", "/")))
    return None if installed or _imports_whole(flash_attn) else "folder"


def _imports_whole(flash_attn: FlashAttn) -> bool:
    """Whether a distribution has its extension and no import of it failed, wherever it lies: installed editable, or into a folder
    of its own. An import that took too long failed nothing."""
    extension = known(flash_attn.extension)
    return not known(flash_attn.import_error) and bool(known(flash_attn.distribution)) and flash_attn.extension is not None \
        and not (extension and known(extension.unresolved))


# Built for another machine --------------------------------------------------------------------------------------------


def extension_of(flash_attn: FlashAttn, facts: Facts) -> Maybe[Extension]:
    """What is known of its extension: None where it has none and ought to, Unknown where it need not or is nobody's."""
    if flash_attn.distribution is None or on_rocm(facts):
        return Unknown("it is judged by other means")
    extension = flash_attn.extension
    if isinstance(extension, Unknown):
        found_none = "No module named 'flash_attn_2_cuda'" in (known(flash_attn.import_error) or "")
        extension = None if found_none else Extension()  # nobody read the file: what the import said tells of it
    if extension is None and (flash_attn.distribution == FA4.distribution or flash_attn is facts.flash_attn_4):
        return Unknown("its kernels are compiled when they are first used")
    return extension


def is_broken(flash_attn: FlashAttn, facts: Facts) -> bool:
    """Whether it cannot be imported and another build of it could."""
    if is_proven(flash_attn):
        return False
    extension = extension_of(flash_attn, facts)
    if extension is None:
        return outsider(flash_attn, facts) is None
    if isinstance(extension, Unknown):
        return False
    foreign = foreign_build(flash_attn, extension, facts)
    return (foreign.abi is not None or foreign.torch or other_python(extension, facts) is not None
            or other_cuda(flash_attn, extension, facts) is not None or newer_glibc(flash_attn, extension, facts) is not None)


def other_python(extension: Extension, facts: Facts) -> tuple[re.Match[str], str] | None:
    """(the Python in the extension's file name, as group 1, this one) where they differ; else None."""
    python, built = known(facts.python), extension_python(known(extension.file) or "")
    abi, version = (known(python.abi), known(python.version)) if python else (None, None)
    here = abi.removeprefix("cp") if abi and abi.startswith("cp") else f"{version.major}{version.minor}" if version else None
    return (built, here) if built and here and built[1] != here else None


@dataclass(frozen=True)
class ForeignBuild:
    """What an extension was built for instead of this torch, by the symbols that this one lacks; else by the wheel's label.

    abi: the C++11 ABI that it asks for and torch does not have; by_abi: its symbols of that ABI. torch: it is for another
    torch; others: symbols that show it. Both None or False, and empty, where nothing says so.
    """

    abi: bool | None
    by_abi: tuple[str, ...]
    torch: bool
    others: tuple[str, ...]


def foreign_build(flash_attn: FlashAttn, extension: Extension, facts: Facts) -> ForeignBuild:
    """https://github.com/Dao-AILab/flash-attention/issues/1783 (ABI), /836 and /954 (another torch)"""
    torch, version = known(facts.torch), torch_version(facts)
    here = known(torch.cxx11_abi) if torch else None
    foreign = tuple(s for s in _unresolved_symbols(flash_attn, extension) if is_torchs(s))
    by_abi = tuple(s for s in foreign if string_abi(s) not in (None, here))
    others = tuple(s for s in foreign if s not in by_abi)
    computes = known(extension.unresolved) == () and is_proven(flash_attn)  # then its label says nothing against it
    built_torch, _, built_abi, _ = parse_label("" if computes else known(flash_attn.wheel_label) or "")
    if known(facts.host.os) == "Windows":
        built_abi = None  # its compiler has no such ABI, whatever wheels are called
    other_label = built_abi is not None and here is not None and built_abi is not here and not others
    other_torch = built_torch is not None and version is not None and built_torch.release[:2] != version.release[:2]
    return ForeignBuild(string_abi(by_abi[0]) if by_abi else built_abi if other_label else None, by_abi,
                        bool(others) or other_torch, others)


def _unresolved_symbols(flash_attn: FlashAttn, extension: Extension) -> tuple[str, ...]:
    """Symbols that nobody provides: those read from the file, and the one that the import stopped at."""
    said = re.search(r"undefined symbol: (\w+)", known(flash_attn.import_error) or "")
    read = known(extension.unresolved) or ()
    return (*read, said[1]) if said and said[1] not in read else read


def other_cuda(flash_attn: FlashAttn, extension: Extension, facts: Facts) -> tuple[re.Match[str], int, Version] | None:
    """(the library that it needs, of which CUDA major, torch's CUDA) where that is another major; else None.

    Binaries need the CUDA runtime of their own major, and torch brings one only.
    https://github.com/Dao-AILab/flash-attention/issues/2118
    """
    cuda, needs = torch_cuda(facts), known(extension.needs)
    text = " ".join(needs) if needs is not None else known(flash_attn.import_error) or ""
    found = re.search(r"libcudart\.so\.([0-9]{1,4})|cudart64_([0-9]{2})", text)
    major = int(found[1] or found[2]) if found else None
    return (found, major, cuda) if found and major is not None and cuda is not None and major != cuda.major else None


def newer_glibc(flash_attn: FlashAttn, extension: Extension, facts: Facts) -> Version | None:
    """The glibc that it needs, where this system's is older or there is none; else None.

    Official 2.8.x wheels need GLIBC_2.32. https://github.com/Dao-AILab/flash-attention/issues/1762
    """
    host = facts.host.glibc
    said = re.search(r"GLIBC_([0-9]{1,4}\.[0-9]{1,4})' not found", known(flash_attn.import_error) or "")
    needed = known(extension.glibc) or (Version(said[1]) if said else None)
    if (isinstance(host, Unknown) and not said) or (host is None and known(facts.host.os) != "Linux"):
        return None
    return needed if needed and (not isinstance(host, Version) or host < needed) else None


def gpus_without_code(config: ResolvedConfig, facts: Facts) -> Iterator[tuple[Gpu, Version]]:
    """The wanted GPUs, each with its compute capability, for which the extension holds no cubin and no PTX to compile."""
    flash_attn = wanted_flash_attn(config, facts)
    extension = known(flash_attn.extension) if flash_attn else None
    cubins, ptx = (known(extension.cubins), known(extension.ptx)) if extension else (None, None)
    if flash_attn is None or cubins is None or ptx is None or not (cubins or ptx) or on_rocm(facts):
        return
    for gpu in visible_gpus(config, facts).gpus or ():
        capability = known(gpu.compute_capability)
        if capability is not None and not probed_ok(flash_attn, gpu) and not runs_on(capability, cubins, ptx):
            yield gpu, capability
