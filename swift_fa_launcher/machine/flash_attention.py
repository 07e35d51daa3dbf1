"""flash-attn 2, 3 and 4 as installed: distribution, what the import would run, the extension read as a file.

FA2: distribution flash-attn, package flash_attn, extension flash_attn_2_cuda beside it. FA3: distribution flash-attn-3,
module flash_attn_interface, extension flash_attn_3/_C.abi3.so, or flash_attn_3_cuda in its first releases
(Dao-AILab/flash-attention hopper/setup.py). FA4: distribution flash-attn-4, package flash_attn.cute, no extension: its
kernels are compiled on first use (flash_attn/cute/pyproject.toml).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from swift_fa_launcher.decode import Maybe, Unknown, known
from swift_fa_launcher.flash.implementations import FA2, FA4, TORCHS_OWN, Implementation
from swift_fa_launcher.machine.elf import read_extension
from swift_fa_launcher.machine.facts import Extension, FlashAttn, Torch
from swift_fa_launcher.machine.installed import Report, module_file, parse_version, read_wheel_label, torch_libraries


def collect_flash_attn(report: Report, variant: Implementation, torch: Maybe[Torch]) -> FlashAttn | None:
    """One generation as it is installed; None where neither its distribution nor its module is there.

    A `flash_attn` without the distribution has `distribution` None, and where it is a bare folder `origin` None too.
    import_error and probe are left Unknown: nothing is run here.
    """
    entry = report["distributions"].get(variant.distribution)
    place = report["modules"].get(variant.module.partition(".")[0])
    if entry is None and (variant is not FA2 or not place):
        return None
    origin = module_file(report, "flash_attn") if variant is FA2 else _origin(report, variant)
    attention = FlashAttn(
        distribution=variant.distribution if entry else None, version=parse_version(entry["version"]) if entry else None,
        origin=str(origin) if origin else None,
        wheel_label=read_wheel_label(report["direct_urls"].get(variant.distribution)),
        extension=_extension(report, variant, torch) if variant.extension else None)
    return attention if origin else replace(attention, import_error=_why_not(place, variant), probe=None)


def find_torchs_own(torch: Maybe[Torch]) -> Maybe[FlashAttn]:
    """The module inside torch, not tried yet; None where this torch has none."""
    found = known(torch)
    folder = known(found.origin) if found else None
    if folder is None:
        return torch if found is None else Unknown("it is not known where torch lies")  # type: ignore[return-value]
    file = Path(folder, "nn/attention/varlen.py")
    return FlashAttn(TORCHS_OWN.distribution, found.version, str(file)) if found and os.path.isfile(file) else None


def _origin(report: Report, variant: Implementation) -> Path | None:
    if variant is not FA4:
        return module_file(report, variant.module)
    folders = (report["modules"].get("flash_attn") or {}).get("folders") or ()
    return next((file for folder in folders if os.path.isfile(file := Path(folder, "cute", "__init__.py"))), None)


def _why_not(place: object, variant: Implementation) -> str:
    if not place:
        return f"ModuleNotFoundError: No module named {variant.module!r}"
    return f"ImportError: cannot import name 'flash_attn_func' from {variant.module!r} (unknown location)"


def _extension(report: Report, variant: Implementation, torch: Maybe[Torch]) -> Extension | None:
    files = extension_files(report, variant)
    if not files:
        return None
    found = known(torch)
    libraries = torch_libraries(report, Path(origin)) if found and (origin := known(found.origin)) else None
    cuda = sorted(Path(report["python"]["site_packages"]).glob("nvidia/*/lib"))  # nvidia-cuda-runtime's and its like
    return replace(read_extension(Path(files[0]), libraries, cuda), copies=tuple(files[1:]))


def extension_files(report: Report, variant: Implementation) -> list[str]:
    """Files of the extension, the one that is imported first."""
    if variant.extension is None:
        return []
    if variant is FA2:
        return list(report["extensions"]["flash_attn_2_cuda"])
    folders = (report["modules"].get("flash_attn_3") or {}).get("folders") or ()
    inside = [str(file) for folder in folders for file in sorted(Path(folder).glob("_C*.so"))]
    return [*inside, *report["extensions"]["flash_attn_3_cuda"]]


def explain(attention: FlashAttn, suffixes: Sequence[str]) -> str | None:
    """Why the import must fail, from the files alone; None where nothing says so. `suffixes`: the interpreter's own."""
    extension = known(attention.extension)
    if extension is None:
        return "it has no extension" if attention.extension is None else None
    name = known(extension.file) or ""
    if not any(name[name.index("."):] == suffix for suffix in suffixes if "." in name):
        return f"{name} is for another Python"
    unresolved = known(extension.unresolved)
    return f"its extension has undefined symbols ({unresolved[0]})" if unresolved else None


def unproven(attention: FlashAttn, why: str) -> FlashAttn:
    """The same with import and probe Unknown, where they are not known already."""
    reason = Unknown(why)
    return replace(attention, import_error=reason if isinstance(attention.import_error, Unknown) else
                   attention.import_error, probe=reason)
