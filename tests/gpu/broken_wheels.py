"""A real flash-attn wheel, broken in the three ways in which real ones are: cut short, for another torch, for another GPU.

The zip, its RECORD and its name stay right: only who reads the extension inside can tell.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

from swift_fa_launcher.machine.elf import CUBIN, MAGIC, ElfFile

#: Of torch 2.11 (the line's number is unsigned), and the same function of the releases before it.
TORCH_SYMBOL = (b"_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_jb",
                b"_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_ib")
OTHER_ARCHITECTURE = 75


def truncate(extension: Path) -> bytes:
    data = extension.read_bytes()
    return data[:len(data) // 2]


def swap_torch_symbol(extension: Path) -> bytes:
    data = extension.read_bytes()
    if TORCH_SYMBOL[0] not in data:
        raise ValueError(f"{extension.name} does not ask for {TORCH_SYMBOL[0].decode()}")
    return data.replace(*TORCH_SYMBOL)


def swap_architecture(extension: Path) -> bytes:
    """Every cubin says that it is for OTHER_ARCHITECTURE. The layout is the one that machine/elf.py reads."""
    data = bytearray(extension.read_bytes())
    with ElfFile(extension) as elf:
        section = elf.section(".nv_fatbin")
    at, end = section.offset, section.offset + section.size
    while at < end:
        magic, _, header, size = struct.unpack_from("<IHHQ", data, at)
        if magic != MAGIC:
            at += 4
            continue
        entry, at = at + header, at + header + size
        while entry < at:
            kind, _, head, length = struct.unpack_from("<HHIQ", data, entry)
            if kind == CUBIN:
                struct.pack_into("<I", data, entry + 28, OTHER_ARCHITECTURE)
            entry += head + length
    return bytes(data)


#: What is broken, how, and a code that `swift-fa install` must name.
WAYS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "a truncated extension": (truncate, "wheel-invalid"),
    "symbols of another torch": (swap_torch_symbol, "torch-mismatch"),
    "cubins of another architecture only": (swap_architecture, "arch-missing"),
}


def break_wheel(wheel: Path, folder: Path, way: Callable[[Path], bytes]) -> Path:
    """The wheel under its own name in `folder`, with its extension broken in this way."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(folder / wheel.name, "w") as target:
        member = next(name for name in source.namelist() if name.endswith(".so"))
        broken = way(Path(source.extract(member, folder)))
        (folder / member).unlink()
        digest = base64.urlsafe_b64encode(hashlib.sha256(broken).digest()).rstrip(b"=").decode()
        for entry in source.infolist():
            data = broken if entry.filename == member else source.read(entry)
            if entry.filename.endswith(".dist-info/RECORD"):
                rows = [f"{member},sha256={digest},{len(broken)}" if row.startswith(f"{member},") else row
                        for row in data.decode().splitlines()]
                data = ("\n".join(rows) + "\n").encode()
            target.writestr(entry.filename, data)
    return folder / wheel.name
