"""Architectures of the GPU code inside an extension: its `.nv_fatbin` section, read from header to header.

The section is a row of fat binaries, each with a header and, behind it, entries of PTX text or machine code (cubins);
zeros may pad between them. Only headers are touched, so 200 MB take some milliseconds and compressed code does not
matter. The layout is not documented by NVIDIA; the fields used here are those that `cuobjdump`'s listing agrees with.
"""

from __future__ import annotations

import struct

MAGIC = 0xBA55ED50
PTX, CUBIN = 1, 2


class FatbinError(ValueError):
    """The section does not hold together: what was read of it may not be all."""


def read_architectures(section: bytes | memoryview) -> dict[str, tuple[str, ...]]:
    """{"cubin": ("sm_80", …), "ptx": ("compute_90", …)}, each in order of the architecture. Raises FatbinError."""
    cubins: set[int] = set()
    ptx: set[int] = set()
    at = 0
    while (at := _next_binary(section, at)) < len(section):
        _, _, header, size = _unpack("<IHHQ", section, at)
        start, at = at + header, at + header + size
        if header < 16 or at > len(section):
            raise FatbinError("the GPU code section is truncated or damaged")
        while start < at:
            kind, _, entry, length = _unpack("<HHIQ", section, start)
            (architecture,) = _unpack("<I", section, start + 28)
            if entry < 32 or start + entry + length > at:
                raise FatbinError("the GPU code section is damaged")
            if kind in (PTX, CUBIN):
                (ptx if kind == PTX else cubins).add(architecture)
            start += entry + length
    return {"cubin": tuple(f"sm_{a}" for a in sorted(cubins)), "ptx": tuple(f"compute_{a}" for a in sorted(ptx))}


def _next_binary(section: bytes | memoryview, at: int) -> int:
    """The offset of the next fat binary at or behind `at`, over padding; the section's length where there is none."""
    at += -at % 8
    while at + 4 <= len(section):
        (word,) = struct.unpack_from("<I", section, at)
        if word == MAGIC:
            return at
        if word:
            raise FatbinError("the GPU code section holds something that is no fat binary")
        at += 4
    return len(section)


def _unpack(form: str, data: bytes | memoryview, offset: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, data, offset)
    except struct.error:
        raise FatbinError("the GPU code section is truncated") from None
