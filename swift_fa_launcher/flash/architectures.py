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
    return (any(_fits(name, capability, compiled=True) for name in cubins)
            or any(_fits(name, capability, compiled=False) for name in ptx))


def _fits(name: str, capability: Version, *, compiled: bool) -> bool:
    """Whether machine code for `sm_86` runs: same major, minor not above. Whether `compute_80` can be compiled for the GPU:
    any newer one. Variants: `a` is for one GPU alone, as is an integrated one's machine code; `f` for its major."""
    read = _architecture(name)
    if read is None:
        return False
    built, variant = read
    if variant == "a" or (compiled and (built in INTEGRATED or capability in INTEGRATED)):
        return built == capability
    return built <= capability and (built.major == capability.major or not (compiled or variant == "f"))


@lru_cache(maxsize=64)
def _architecture(name: str) -> tuple[Version, str] | None:
    found = re.fullmatch(r"(?:sm|compute)_([0-9]{1,3})([0-9])([af]?)", name)
    return (Version(f"{found[1]}.{found[2]}"), found[3]) if found else None
