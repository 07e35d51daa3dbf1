"""Host facts, from made-up /proc and /sys trees and real programs on the PATH."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil
import pytest
from packaging.version import Version

from swift_fa_launcher.decode import Unknown
from swift_fa_launcher.machine.facts import Facts, Toolchain, facts_to_json, parse_facts
from swift_fa_launcher.machine.gpus import collect_amd_gpus, collect_gpus, has_nvidia_device
from swift_fa_launcher.machine.host import (
    GIB,
    collect_glibc,
    collect_host,
    collect_memory,
    collect_ports_in_use,
    collect_toolchain,
    free_gib,
    nearest_existing,
    room_for_rows,
)

#: What amdgpu shows of a processor, an MI300X, a desktop processor's own GPU and a Radeon RX 7900 XTX (KFD's topology).
NODE = "sys/class/kfd/kfd/topology/nodes/{}/properties"
KFD = {
    NODE.format(0): "cpu_cores_count 64\nsimd_count 0\ngfx_target_version 0\n",
    NODE.format(1): "cpu_cores_count 0\nsimd_count 1216\ngfx_target_version 90402\ndrm_render_minor 128\nvendor_id 4098\n"
                    "unique_id 1311768467463790320\n",
    NODE.format(2): "simd_count 4\ngfx_target_version 100306\ndrm_render_minor 129\n",
    NODE.format(10): "simd_count 192\ngfx_target_version 110000\ndrm_render_minor 130\nunique_id 0\n",
    "sys/class/drm/renderD128/device/product_name": "AMD Instinct MI300X OAM\n",
    "sys/class/drm/renderD128/device/mem_info_vram_total": "206141652992\n",
    "sys/class/drm/renderD128/device/mem_info_vram_used": "1073741824\n",
    "dev/kfd": ""}


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def program(folder: Path, name: str, script: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


WHOLE = round(psutil.virtual_memory().total / GIB, 2)


def test_memory_without_a_limit(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "max\n"})
    assert collect_memory(root)[0] == WHOLE
    assert collect_memory(tmp_path / "absent")[0] == WHOLE


def test_the_lowest_limit_above_a_process_counts(tmp_path: Path) -> None:
    root = tree(tmp_path, {
        "proc/self/cgroup": "0::/pod/task\n", "sys/fs/cgroup/pod/task/memory.max": "max\n",
        "sys/fs/cgroup/pod/task/memory.current": "1", "sys/fs/cgroup/pod/memory.max": str(2**29),
        "sys/fs/cgroup/pod/memory.current": str(2**28 + 2**27),
        "sys/fs/cgroup/pod/memory.stat": f"anon 5\ninactive_file {2**27}\n"})
    assert collect_memory(root) == (0.5, 0.25)  # the file cache can be given back


def test_a_container_that_sees_only_its_own_cgroup(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": str(2**28),
                           "sys/fs/cgroup/memory.current": str(2**30)})
    assert collect_memory(root) == (0.25, 0.0)


def test_the_older_cgroups(tmp_path: Path) -> None:
    base = "sys/fs/cgroup/memory/docker/x"
    root = tree(tmp_path, {"proc/self/cgroup": "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n",
                           f"{base}/memory.limit_in_bytes": str(2**28), f"{base}/memory.usage_in_bytes": "0",
                           "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"})
    assert collect_memory(root) == (0.25, 0.25)


def test_free_space_of_what_does_not_exist_yet(tmp_path: Path) -> None:
    assert nearest_existing(tmp_path / "a" / "b") == tmp_path
    assert free_gib(tmp_path / "a" / "b" / "c") == pytest.approx(free_gib(tmp_path), abs=0.5)
    assert free_gib(Path("\0")) is not None


def test_this_host() -> None:
    host = collect_host({"tmp": Path("/tmp")})
    assert host.cpus == len(os.sched_getaffinity(0)) and host.machine == os.uname().machine and host.wsl is False
    assert isinstance(collect_glibc(), Version) and isinstance(host.free_gib["tmp"], float)


def test_a_toolchain_on_the_path(tmp_path: Path) -> None:
    program(tmp_path / "cuda" / "bin", "nvcc", "echo 'Cuda compilation tools, release 12.4, V12.4.131'")
    program(tmp_path / "bin", "gcc", "echo 13.2.0")
    program(tmp_path / "bin", "ninja", "echo 1.11.1.git.kitware")
    environment = {"PATH": f"{tmp_path}/bin:{tmp_path}/cuda/bin"}
    assert collect_toolchain(environment) == Toolchain(Version("12.4"), str(tmp_path / "cuda"), Version("13.2.0"),
                                                       Version("1.11.1"))


def test_cuda_home_without_nvcc_is_told(tmp_path: Path) -> None:
    program(tmp_path / "other" / "bin", "nvcc", "echo release 11.8,")
    found = collect_toolchain({"PATH": f"{tmp_path}/other/bin", "CUDA_HOME": str(tmp_path / "cuda")})
    assert (found.nvcc, found.cuda_home, found.gcc, found.ninja) == (None, str(tmp_path / "cuda"), None, None)


def test_programs_that_do_not_say_their_version(tmp_path: Path) -> None:
    program(tmp_path / "bin", "nvcc", "echo something; exit 1")
    program(tmp_path / "bin", "gcc", "kill -9 $$")
    (tmp_path / "bin" / "ninja").write_bytes(b"\x7fELF")
    (tmp_path / "bin" / "ninja").chmod(0o755)
    found = collect_toolchain({"PATH": str(tmp_path / "bin")})
    assert isinstance(found.nvcc, Unknown) and isinstance(found.gcc, Unknown) and isinstance(found.ninja, Unknown)


def test_ports() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as closed:
        ports = [taken.getsockname()[1], closed.getsockname()[1]]
        closed.close()
        assert collect_ports_in_use([*ports, 0, 70000]) == (ports[0],)


def test_gpus_of_amd(tmp_path: Path) -> None:
    assert collect_amd_gpus(tmp_path) == ()
    first, second = collect_amd_gpus(tree(tmp_path, KFD))  # type: ignore[misc]
    assert (first.name, first.gfx, first.compute_capability) == ("AMD Instinct MI300X OAM", "gfx942", Version("9.4"))
    assert (first.memory_gib, first.free_memory_gib, first.uuid) == (191.98, 190.98, "GPU-123456789abcdef0")
    assert (second.index, second.name, second.gfx, second.uuid) == (1, "AMD gfx1100", "gfx1100", None)
    assert isinstance(second.memory_gib, Unknown)
    facts = Facts(gpus=(first, second))
    assert parse_facts(facts_to_json(facts), "again").gpus == (first, second)
    if collect_gpus() == ((), None):  # no NVIDIA here
        assert collect_gpus(tmp_path) == ((first, second), None)


def test_gpus_of_amd_that_are_not_ours(tmp_path: Path) -> None:
    tree(tmp_path, KFD)
    tree(tmp_path, {NODE.format(1): "", NODE.format(10): "gfx_target_version 90010\n"})  # the first is another container's
    only, = collect_amd_gpus(tmp_path)  # type: ignore[misc]
    assert (only.index, only.gfx) == (0, "gfx90a")
    (tmp_path / "dev/kfd").unlink()
    assert "render,video" in collect_amd_gpus(tmp_path).why  # type: ignore[union-attr]


def test_signs_of_a_gpu(tmp_path: Path) -> None:
    assert not has_nvidia_device(tmp_path)
    assert has_nvidia_device(tree(tmp_path / "a", {"dev/nvidia0": ""}))
    assert has_nvidia_device(tree(tmp_path / "b", {"proc/driver/nvidia/version": ""}))
    assert not has_nvidia_device(tree(tmp_path / "c", {"dev/nvidia-caps": ""}))


def test_gpus_of_this_machine() -> None:
    gpus, driver = collect_gpus()
    if has_nvidia_device():
        assert isinstance(gpus, Unknown) or len(gpus or ()) > 0
    else:
        assert (gpus, driver) == ((), None)


def test_rows_that_were_loaded_before_need_no_more_room(tmp_path: Path) -> None:
    free = free_gib(tmp_path)
    assert isinstance(free, float) and room_for_rows(tmp_path / "datasets") == pytest.approx(free, abs=0.5)
    arrow = tmp_path / "datasets" / "json" / "default-1" / "0.0.0" / "abc" / "json-train.arrow"
    arrow.parent.mkdir(parents=True)
    with arrow.open("wb") as file:
        file.truncate(2**33)  # a sparse file: it takes no room
    assert room_for_rows(tmp_path / "datasets") == pytest.approx(free + 8, abs=0.5)
