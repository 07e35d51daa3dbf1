"""Which compiled code a GPU runs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from packaging.version import Version

#: GPUs on a system-on-chip: a desktop GPU's cubins do not run on them, nor theirs elsewhere.
#: https://docs.nvidia.com/cuda/cuda-c-programming-guide/ (binary compatibility)
INTEGRATED = frozenset(map(Version, ("5.3", "6.2", "7.2", "8.7", "10.1", "11.0")))


def runs_on(capability: Version, cubins: Iterable[str], ptx: Iterable[str]) -> bool:
    """Whether a GPU of this compute capability runs one of the cubins ("sm_80") or can compile the PTX ("compute_80")."""
    return any(cubin_fits(name, capability) for name in cubins) or any(ptx_fits(name, capability) for name in ptx)


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


@lru_cache(maxsize=64)
def _architecture(name: str) -> tuple[Version, str] | None:
    found = re.fullmatch(r"(?:sm|compute)_([0-9]{1,3})([0-9])([af]?)", name)
    return (Version(f"{found[1]}.{found[2]}"), found[3]) if found else None
