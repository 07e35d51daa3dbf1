"""Whether flash-attn is to be installed or built here, and with what. Pure."""

from __future__ import annotations

from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import ConfigError, Text
from swift_fa_launcher.flash.implementations import BY_NAME, FA2, FA3, FA4
from swift_fa_launcher.flash.installed import gpus_without_code, is_broken, is_missing, missing_variant, too_old
from swift_fa_launcher.flash.versions import parse_wish
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.reading import on_ascend, on_rocm, torch_version, visible_gpus, wanted_flash_attn

#: GiB of memory that one of flash-attn's compiler jobs takes (its setup.py counts 8 to 9 with four nvcc threads).
GIB_PER_JOB = 9.0

#: The newest gcc that nvcc accepts: (from this CUDA on, gcc major), newest first. Of CUDA 14 nothing is known yet.
#: https://docs.nvidia.com/cuda/cuda-installation-guide-linux/#host-compiler-support-policy
NEWEST_GCC = ((Version("14"), None), (Version("13.0"), 15), (Version("12.8"), 14), (Version("12.4"), 13), (Version("12.0"), 12),
              (Version("11.5"), 11), (Version("11.1"), 10), (Version("11.0"), 9))
OLDEST_GCC = 9

#: The first nvcc that can write machine code for a GPU: (compute capability, CUDA), newest first.
FIRST_NVCC = ((Version("12.1"), Version("12.9")), (Version("12.0"), Version("12.8")), (Version("11.0"), Version("13.0")),
              (Version("10.3"), Version("12.9")), (Version("10.0"), Version("12.8")), (Version("9.0"), Version("11.8")))

#: What flash-attn's setup.py imports.
BUILD_PACKAGES = ("packaging", "psutil", "ninja", "wheel", "setuptools")
#: Compute capability's major to the architecture that its GPUs run; 8.6 and 8.9 run 8.0's code.
ARCHITECTURES = {8: "80", 9: "90", 10: "100", 11: "110", 12: "120"}

#: AMD's architectures that flash-attn's CK kernels are compiled for (setup.py of 2.8.3, `allowed_archs`; its newest source has
#: RDNA 3 and 4 too). The Triton kernels are compiled when they first run.
CK_ARCHITECTURES = frozenset(("gfx90a", "gfx942", "gfx950"))

#: Codes of findings that another wheel or a build would mend.
MENDED_BY_INSTALL = frozenset((
    "flash-attn-missing", "flash-attn-extension-missing", "flash-attn-python-mismatch", "flash-attn-abi-mismatch",
    "flash-attn-torch-mismatch", "flash-attn-cuda-mismatch", "flash-attn-glibc-too-new", "flash-attn-arch-missing",
    "flash-attn-too-old", "flash-attn-variant-missing",
))


def needs_install(config: ResolvedConfig, facts: Facts) -> bool:
    """Whether flash-attn is to be installed: wanted, allowed, and missing, broken or of another version than asked. Not on an AMD
    machine: what is installed and built here is for CUDA."""
    if config.flash_attn.install != "auto" or on_ascend(facts) or on_rocm(facts) or config.swift.attn_impl not in BY_NAME:
        return False
    flash_attn = wanted_flash_attn(config, facts)
    return (is_missing(config, facts) or missing_variant(config, facts) is not None or too_old(config, facts) is not None
            or (flash_attn is not None and is_broken(flash_attn, facts)) or any(gpus_without_code(config, facts))
            or _asks_another(config, facts))


def _asks_another(config: ResolvedConfig, facts: Facts) -> bool:
    """Whether what is installed is not what the config wishes for. A wish that is none is a config's error elsewhere."""
    flash_attn = wanted_flash_attn(config, facts)
    version = known(flash_attn.version) if flash_attn else None
    try:
        wish = parse_wish(config.flash_attn.version)
    except ConfigError:
        return False
    return flash_attn is not None and version is not None and not wish.takes(
        version, known(flash_attn.wheel_label) or version.local, prereleases=True)


def no_public_wheel(facts: Facts) -> str | None:
    """What nobody publishes wheels for and this machine has: a "torch", a "processor", no "glibc"; None where there may
    be some."""
    version, host = torch_version(facts), facts.host
    machine = known(host.machine)
    if version is not None and version.is_prerelease:
        return "torch"
    if machine is not None and machine.lower() not in ("x86_64", "amd64", "aarch64", "arm64"):
        return "processor"
    return "glibc" if host.glibc is None and known(host.os) == "Linux" else None


def must_build(config: ResolvedConfig, facts: Facts) -> bool:
    """Whether flash-attn can only come from source: `build: always`, or no wheel and building is allowed."""
    build = config.flash_attn.build
    compiled = config.swift.attn_impl not in FA4.names  # FA4 is plain Python
    on_windows = known(facts.host.os) == "Windows"
    return compiled and not on_windows and (build == "always" or (build == "auto" and no_public_wheel(facts) is not None))


#: The first torch whose headers want C++20, and the releases of flash-attn that ask the compiler for C++17 by name, as
#: FlashAttention 3 does (setup.py). https://github.com/Dao-AILab/flash-attention/issues/2863
WANTS_CXX20 = Version("2.14")
ASK_FOR_CXX17 = tuple(map(Version, (
    "2.8.3.post2", "2.8.3.post1", "2.8.3", "2.8.2", "2.8.1", "2.8.0.post2", "2.7.4.post1", "2.7.3", "2.6.3", "2.5.9.post1")))


def asks_for_old_cxx(config: ResolvedConfig, facts: Facts) -> bool:
    """Whether what would be built here asks for an older C++ than torch's headers take."""
    version = torch_version(facts)
    return version is not None and version.release[:2] >= WANTS_CXX20.release and _takes_known_release(config.flash_attn.version)


def why_not_built(facts: Facts, version: str | None) -> Text | None:
    """Why no release of flash-attn that is known compiles here, whatever the toolchain; None where one may. version: the wish."""
    torch = torch_version(facts)
    if not _takes_known_release(version):
        return None
    if torch is not None and torch.release[:2] >= WANTS_CXX20.release:
        return Text(f"it cannot be built either: flash-attn asks the compiler for C++17, and torch {torch} needs C++20",
                    f"也无法编译：flash-attn 指定了 C++17，而 torch {torch} 需要 C++20")
    for gpu in known(facts.gpus) or ():  # cuda_archs in setup.py, which passes over what it does not know
        capability = known(gpu.compute_capability)
        if capability and capability.major == 11:
            return Text(f"it cannot be built either: no release of flash-attn has code for GPU {gpu.index} ({capability})",
                        f"也无法编译：flash-attn 没有任何版本支持 GPU {gpu.index}（{capability}）")
    return None


def _takes_known_release(version: str | None) -> bool:
    """Whether a wish takes one of the releases that there are. One that is no wish is a config's error elsewhere."""
    try:
        wish = parse_wish(version)
    except ConfigError:
        return False
    return any(wish.takes(release, None) for release in ASK_FOR_CXX17)


def builds(config: ResolvedConfig, facts: Facts) -> bool:
    """Whether a build is what comes next."""
    return must_build(config, facts) and needs_install(config, facts)


def build_jobs(available_gib: float, cpus: int | None = None) -> int:
    """Compiler jobs that the memory allows, at least 1 and at most one for each CPU."""
    return max(1, min(int(min(max(available_gib, 0.0), 1e6) // GIB_PER_JOB), cpus or 1_000_000))


def oldest_nvcc(config: ResolvedConfig, facts: Facts) -> tuple[Version, str]:
    """(the oldest nvcc that will do, what asks for it): setup.py has its floor, and a GPU's code needs the nvcc that knows it.

    https://github.com/Dao-AILab/flash-attention/issues/1477 (FA3 needs 12.3)
    """
    third = config.swift.attn_impl in FA3.names
    floor, why = (FA3.nvcc, "FlashAttention-3") if third else (FA2.nvcc, "flash-attn")
    for gpu in visible_gpus(config, facts).gpus or ():
        capability = known(gpu.compute_capability)
        first = next((cuda for least, cuda in FIRST_NVCC if capability and capability.major == least.major
                      and capability >= least), None)
        if first and first > floor:
            floor, why = first, f"GPU {gpu.index} ({capability})"
    return floor, why


def newest_gcc(nvcc: Version) -> int | None:
    """The major of the newest gcc that this nvcc accepts; None where that is not known."""
    return next((gcc for cuda, gcc in NEWEST_GCC if nvcc >= cuda), None)


def build_architectures(facts: Facts) -> tuple[str, ...]:
    """Those of the GPUs that are there; where none is to be seen (a login node), all that flash-attn has."""
    found = {ARCHITECTURES[c.major] for gpu in known(facts.gpus) or ()
             if (c := known(gpu.compute_capability)) is not None and c.major in ARCHITECTURES}
    return tuple(sorted(found or {"80", "90", "100", "120"}, key=int))
