"""Facts of this host: operating system, memory, free space, toolchain, ports."""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from packaging.version import Version

from swift_fa_launcher.cache import cache_dir
from swift_fa_launcher.decode import Maybe, Unknown
from swift_fa_launcher.files import text_of
from swift_fa_launcher.machine.facts import GIB, Host, Toolchain

#: Seconds that `nvcc --version` and its like may take.
TOOL_TIMEOUT = 10.0


def collect_host(places: Mapping[str, Path]) -> Host:
    """This host. `places`: the folders whose free space is wanted, by the name that `free_gib` gives them."""
    total, available = collect_memory()
    return Host(os=platform.system() or Unknown("the platform gives no name"), machine=platform.machine(),
                glibc=collect_glibc(), wsl="microsoft" in platform.release().lower(), cpus=_usable_cpus(), memory_gib=total,
                available_memory_gib=available, shm_gib=_total_gib(Path("/dev/shm")),
                free_gib={name: free_gib(path) for name, path in places.items()})


def standing_places(site_packages: str | None, output: str | None) -> dict[str, Path]:
    """The folders that an install and a training write to."""
    places = {"tmp": Path(tempfile.gettempdir()), "cache": cache_dir()}
    if site_packages:
        places["site_packages"] = Path(site_packages)
    places["output"] = Path(os.path.expanduser(output or "output"))  # pathlib's raises for "~nobody/out"
    return places


def collect_glibc() -> Maybe[Version]:
    """The running glibc; None where the C library is another one (musl, Windows, macOS)."""
    name, version = platform.libc_ver()
    return Version(version) if name == "glibc" else None


def _usable_cpus() -> Maybe[int]:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count()


def collect_memory(root: Path = Path("/")) -> tuple[Maybe[float], Maybe[float]]:
    """Total and available memory in GiB: the cgroup's where its limit is the lower one."""
    import psutil

    try:
        memory = psutil.virtual_memory()
    except OSError as error:
        why = Unknown(str(error))
        return why, why
    total, available = float(memory.total), float(memory.available)
    for limit, used in _cgroup_memory(root):
        total, available = min(total, limit), min(available, max(0.0, limit - used))
    return round(total / GIB, 2), round(available / GIB, 2)


def _cgroup_memory(root: Path) -> Iterable[tuple[float, float]]:
    """Limit and use, in bytes, of this process's cgroup and every one above it that has a limit (v2 and v1).

    What the page cache holds of files counts as use in the kernel's figure, but can be given back: it is left out.
    """
    for line in text_of(root / "proc/self/cgroup").splitlines():
        _, controllers, group = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            base, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        parts = Path(group.strip("/")).parts
        for depth in range(len(parts), -1, -1):
            folder = base.joinpath(*parts[:depth])
            limit, used = _number(text_of(folder / names[0])), _number(text_of(folder / names[1]))
            if limit is not None and limit < 2**60:  # v1 writes almost 2**63 for "no limit"
                cache = re.search(rf"^{names[2]} (\d+)$", text_of(folder / "memory.stat"), re.M)
                yield limit, max(0.0, (used or 0.0) - (float(cache[1]) if cache else 0.0))


def _number(text: str) -> float | None:
    return float(text) if text.strip().isdigit() else None


def nearest_existing(path: Path) -> Path:
    """`path`, or the closest folder above it that exists."""
    path = Path(os.path.abspath(path))
    while not os.path.exists(path) and path != path.parent:
        path = path.parent
    return path


def free_gib(path: Path) -> Maybe[float]:
    """Free space in GiB of the file system that holds, or would hold, `path`."""
    try:
        return round(shutil.disk_usage(nearest_existing(path)).free / GIB, 2)
    except OSError as error:
        return Unknown(f"{path}: {error.strerror or error}")


def room_for_rows(cache: Path) -> Maybe[float]:
    """GiB for the rows of datasets: what is free, and what holds rows that were loaded before and are not loaded again."""
    free = free_gib(cache)
    try:
        held = sum(file.stat().st_size for file in cache.glob("*/*/*/*/*.arrow")) / GIB
    except OSError as error:
        return Unknown(f"{cache}: {error.strerror or error}")
    return free if free is None or isinstance(free, Unknown) else round(free + held, 2)


def _total_gib(path: Path) -> Maybe[float]:
    try:
        return round(shutil.disk_usage(path).total / GIB, 3)
    except OSError:
        return None


def collect_toolchain(environment: Mapping[str, str]) -> Toolchain:
    """nvcc, gcc and ninja as a build in `environment` would find them; None for what is not there."""
    home, nvcc = find_nvcc(environment)
    path = environment.get("PATH")
    return Toolchain(nvcc=_version_of(nvcc, r"release (\d+\.\d+)"), cuda_home=home,
                     gcc=_version_of(shutil.which(environment.get("CC") or "gcc", path=path), r"^(\d+[\d.]*)$",
                                     "-dumpfullversion", "-dumpversion"),
                     ninja=_version_of(shutil.which("ninja", path=path), r"^(\d+[\d.]*\d)"))


def find_nvcc(environment: Mapping[str, str]) -> tuple[str | None, str | None]:
    """CUDA's folder and its nvcc, looked for as torch.utils.cpp_extension does.

    CUDA_HOME or CUDA_PATH, then nvcc on the PATH, then /usr/local/cuda. A folder that a variable names is given back
    also where it holds no nvcc.
    """
    home = environment.get("CUDA_HOME") or environment.get("CUDA_PATH")
    if not home and (found := shutil.which("nvcc", path=environment.get("PATH"))):
        return str(Path(found).resolve().parent.parent), found
    home = home or ("/usr/local/cuda" if os.path.exists("/usr/local/cuda") else None)
    nvcc = f"{home}/bin/nvcc"
    return home, nvcc if home and os.access(nvcc, os.X_OK) else None


def _version_of(program: str | None, pattern: str, *arguments: str) -> Maybe[Version]:
    if program is None:
        return None
    try:
        done = subprocess.run([program, *(arguments or ("--version",))], capture_output=True, timeout=TOOL_TIMEOUT,
                              check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Unknown(f"{program}: {error}")
    found = re.search(pattern, done.stdout.decode("utf-8", "replace"), re.M)
    return Version(found[1]) if found else Unknown(f"{program} does not say its version")


def collect_ports_in_use(ports: Iterable[int]) -> tuple[int, ...]:
    """Those of `ports` that a TCP server on this host could not take now."""
    return tuple(sorted(port for port in set(ports) if 0 < port < 65536 and not _can_bind(port)))


def _can_bind(port: int) -> bool:
    for family, address in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as server:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as torch's store does
                server.bind((address, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
    return True
