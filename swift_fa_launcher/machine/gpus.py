"""GPUs and driver: NVIDIA's through NVML, AMD's as the kernel shows them (amdgpu's KFD topology, which ROCm itself reads)."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.version import Version

from swift_fa_launcher.decode import Maybe, Unknown, decode
from swift_fa_launcher.machine.facts import GIB, Driver, Gpu

#: AMD's integrated GPUs that no build of torch has code for: a desktop processor's is no GPU to train on.
NO_ROCM = ("gfx902", "gfx909", "gfx90c", "gfx1033", "gfx1034", "gfx1035", "gfx1036", "gfx1037", "gfx1103")


def collect_gpus(root: Path = Path("/")) -> tuple[Maybe[tuple[Gpu, ...]], Maybe[Driver]]:
    """The NVIDIA GPUs of this host by physical index, and the driver; where there is none, AMD's, and no driver.

    No device and no driver library: no GPUs, and the driver is None. Anything else that keeps NVML from answering is
    Unknown(why): there may be GPUs then. root: where AMD's are looked for.
    """
    gpus, driver = _nvidia_gpus()
    return (gpus, driver) if gpus != () else (collect_amd_gpus(root), None)


def _nvidia_gpus() -> tuple[Maybe[tuple[Gpu, ...]], Maybe[Driver]]:
    try:
        import pynvml
    except ImportError as error:
        return _without_nvml(f"nvidia-ml-py cannot be imported: {error}")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return _without_nvml(f"NVML: {error}")
    try:
        count = pynvml.nvmlDeviceGetCount()
        return tuple(_gpu(pynvml, index) for index in range(count)), _driver(pynvml)
    except pynvml.NVMLError as error:
        why = Unknown(f"NVML: {error}")
        return why, why
    finally:
        pynvml.nvmlShutdown()


def _without_nvml(why: str) -> tuple[Maybe[tuple[Gpu, ...]], Maybe[Driver]]:
    if has_nvidia_device():
        return Unknown(why), Unknown(why)
    return (), None


def has_nvidia_device(root: Path = Path("/")) -> bool:
    """Whether the kernel shows an NVIDIA device or driver (WSL has it in a library folder of its own)."""
    signs = (root / "proc/driver/nvidia/version", root / "usr/lib/wsl/lib/libnvidia-ml.so.1")
    return bool(glob.glob(str(root / "dev/nvidia[0-9]*"))) or any(map(os.path.exists, signs))


def _gpu(nvml: Any, index: int) -> Gpu:
    def ask(call: Any, *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except nvml.NVMLError as error:
            return Unknown(f"NVML: {error}")

    handle = ask(nvml.nvmlDeviceGetHandleByIndex, index)
    if isinstance(handle, Unknown):
        return Gpu(index=index, name=handle, compute_capability=handle, memory_gib=handle, free_memory_gib=handle,
                   uuid=handle)
    memory, capability = ask(nvml.nvmlDeviceGetMemoryInfo, handle), ask(nvml.nvmlDeviceGetCudaComputeCapability, handle)
    return Gpu(
        index=index, name=ask(nvml.nvmlDeviceGetName, handle), uuid=ask(nvml.nvmlDeviceGetUUID, handle),
        compute_capability=capability if isinstance(capability, Unknown) else Version("{}.{}".format(*capability)),
        memory_gib=memory if isinstance(memory, Unknown) else round(memory.total / GIB, 2),
        free_memory_gib=memory if isinstance(memory, Unknown) else round(memory.free / GIB, 2))


def _driver(nvml: Any) -> Driver:
    cuda = nvml.nvmlSystemGetCudaDriverVersion()  # 12040 for 12.4
    driver: Driver = decode(Driver, {"version": nvml.nvmlSystemGetDriverVersion(),
                                     "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}"})
    return driver


def collect_amd_gpus(root: Path) -> Maybe[tuple[Gpu, ...]]:
    """AMD's GPUs in ROCm's order, those that this process (its container) may use; Unknown where it may not ask ROCm's driver."""
    nodes = sorted(root.glob("sys/class/kfd/kfd/topology/nodes/[0-9]*"), key=lambda node: int(node.name))
    found = [told for node in nodes if (told := _properties(node / "properties")).get("gfx_target_version")]
    named = [(f"gfx{v // 10000}{v // 100 % 100:x}{v % 100:x}", told) for told in found for v in (told["gfx_target_version"],)]
    usable = [(gfx, told) for gfx, told in named if gfx not in NO_ROCM]
    kfd = root / "dev/kfd"
    if usable and not os.access(kfd, os.R_OK | os.W_OK):
        return Unknown(f"{kfd} cannot be opened: add this user to its group (usermod -aG render,video USER)")
    return tuple(_amd_gpu(index, gfx, told, root) for index, (gfx, told) in enumerate(usable))


def _amd_gpu(index: int, gfx: str, told: Mapping[str, int], root: Path) -> Gpu:
    """compute_capability: as torch gives it, 9.4 for gfx942."""
    device = root / f"sys/class/drm/renderD{told.get('drm_render_minor')}/device"
    total, used = (_number(device / f"mem_info_vram_{part}") for part in ("total", "used"))
    version, unique = told["gfx_target_version"], told.get("unique_id")
    return Gpu(
        index=index, name=_text(device / "product_name") or f"AMD {gfx}", gfx=gfx,
        compute_capability=Version(f"{version // 10000}.{version // 100 % 100}"), uuid=f"GPU-{unique:016x}" if unique else None,
        memory_gib=Unknown("amdgpu does not say") if total is None else round(total / GIB, 2),
        free_memory_gib=Unknown("amdgpu does not say") if total is None or used is None else round((total - used) / GIB, 2))


def _properties(file: Path) -> dict[str, int]:
    """`name number` on each line; nothing where it may not be read: a GPU of another container."""
    pairs = (line.split() for line in _text(file).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text.isdigit() else None


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
