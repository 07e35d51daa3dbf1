"""The machine and its interpreter: what each code means, when it comes, what mends it, and how a check says it."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.entry import Entry, entry
from swift_fa_launcher.findings.lines import INSTALL

ENTRIES: Mapping[str, Entry] = {
    "python-unsupported": entry(
        "E", Text("this Python is too old for a package that the training needs", "当前 Python 版本低于训练所需软件包的要求"),
        Text("TODO", "TODO"),
        Text("make an environment with Python 3.10 or newer and name it: target.python=/path/to/python",
             "建一个 Python 3.10 以上的环境，并指定：target.python=/path/to/python"),
    ),
    "torch-missing": entry(
        "E", Text("torch is not there or cannot be imported", "没有 torch，或 torch 无法导入"),
        Text("TODO", "TODO"),
        "pip install --force-reinstall torch",
        "swift-fa preflight",
    ),
    "torch-cpu-only": entry(
        "E", Text("this torch is a CPU build", "安装的 torch 是 CPU 版本"),
        Text("TODO", "TODO"),
        Text("on a machine with GPUs: pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu128",
             "有 GPU 的机器：pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu128"),
        Text("on one without: swift.attn_impl=sdpa swift.packing=false swift.padding_free=false",
             "没有 GPU 的机器：swift.attn_impl=sdpa swift.packing=false swift.padding_free=false"),
    ),
    "gpu-none": entry(
        "E", Text("torch sees no NVIDIA GPU", "torch 看不到任何 NVIDIA GPU"),
        Text("TODO", "TODO"),
        "nvidia-smi",
        Text("in a container, start it with --gpus all; under Slurm, ask for one with --gres=gpu:1",
             "容器请加 --gpus all 启动；Slurm 请用 --gres=gpu:1 申请"),
    ),
    "gpu-not-visible": entry(
        "E", Text("a GPU index was asked for that is not visible", "所用的 GPU 编号不可见"),
        Text("TODO", "TODO"),
        "nvidia-smi -L",
        Text("list only indexes that exist in launch.gpus / CUDA_VISIBLE_DEVICES",
             "launch.gpus / CUDA_VISIBLE_DEVICES 只写存在的编号"),
    ),
    "gpu-memory-low": entry(
        "W", Text("the GPU's memory is in use by something else", "GPU 显存已被其他进程占用"),
        Text("TODO", "TODO"),
        "nvidia-smi",
        Text("end what holds the memory, or choose other GPUs: launch.gpus=[...]",
             "结束占用显存的进程，或换其他 GPU：launch.gpus=[...]"),
    ),
    "gpu-arch-unsupported": entry(
        "E", Text("this GPU's architecture is not supported", "该 GPU 的架构不受支持"),
        Text("TODO", "TODO"),
        Text("below compute capability 8.0: swift.attn_impl=sdpa swift.packing=false swift.torch_dtype=float16",
             "计算能力低于 8.0 时：swift.attn_impl=sdpa swift.packing=false swift.torch_dtype=float16"),
        Text("a GPU newer than this torch: pip install -U torch --index-url https://download.pytorch.org/whl/cu128",
             "GPU 比 torch 新时：pip install -U torch --index-url https://download.pytorch.org/whl/cu128"),
    ),
    "gpu-flash-attn-leftover": entry(
        "W", Text("flash attention is not asked for, yet an installed flash-attn was called on a GPU too old for it",
        "没有要求使用 flash attention，但已安装的 flash-attn 仍在不支持它的 GPU 上被调用"),
        Text("TODO", "TODO"),
        "pip uninstall -y flash-attn",
    ),
    "driver-too-old": entry(
        "E", Text("the NVIDIA driver is too old for this CUDA code", "NVIDIA 驱动对这份 CUDA 代码来说太旧"),
        Text("TODO", "TODO"),
        Text("update the driver (flash-attn 2.8.1 needs 550 or newer)", "升级驱动（flash-attn 2.8.1 需要 550 以上）"),
        Text("or take an older build: swift-fa install --version '!=2.8.1'", "或换一个版本：swift-fa install --version '!=2.8.1'"),
    ),
    "shm-small": entry(
        "EW", Text("shared memory (/dev/shm) is full or too small", "共享内存 /dev/shm 已满或太小"),
        Text("TODO", "TODO"),
        Text("start the container with --shm-size=16g or --ipc=host", "用 --shm-size=16g 或 --ipc=host 启动容器"),
        "swift.dataloader_num_workers=0",
    ),
    "disk-space-low": entry(
        "E", Text("a disk is full", "磁盘已满"),
        Text("TODO", "TODO"),
        "df -h",
        Text("swift.save_total_limit=2, or swift.output_dir on a larger disk; pip: TMPDIR=/large/disk",
             "swift.save_total_limit=2，或把 swift.output_dir 放到更大的盘；pip：TMPDIR=/large/disk"),
    ),
    "host-memory-low": entry(
        "W", Text("TODO", "TODO"),
        Text("TODO", "TODO"),
    ),
    "windows-unsupported": entry(
        "W", Text("flash-attn is not built from source on native Windows", "原生 Windows 上不支持从源码编译 flash-attn"),
        Text("TODO", "TODO"),
        INSTALL,
        Text("or use WSL2", "或改用 WSL2"),
    ),
}
