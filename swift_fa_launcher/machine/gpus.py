"""GPUs and driver, through NVML."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Any

from packaging.version import Version

from swift_fa_launcher.decode import Maybe, Unknown, decode
from swift_fa_launcher.machine.facts import GIB, Driver, Gpu


def collect_gpus() -> tuple[Maybe[tuple[Gpu, ...]], Maybe[Driver]]:
    """The NVIDIA GPUs of this host by physical index, and the driver.

    No device and no driver library: no GPUs, and the driver is None. Anything else that keeps NVML from answering is
    Unknown(why): there may be GPUs then.
    """
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
