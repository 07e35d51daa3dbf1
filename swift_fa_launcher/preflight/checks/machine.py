"""The machine and the training interpreter: Python, torch, GPUs, driver, memory, disk."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Unknown, known
from swift_fa_launcher.errors import Text, Words
from swift_fa_launcher.findings.finding import ERROR, WARNING, Check, Finding
from swift_fa_launcher.flash.architectures import runs_on
from swift_fa_launcher.flash.building import builds, must_build, needs_install
from swift_fa_launcher.flash.implementations import BY_NAME, FA2
from swift_fa_launcher.flash.versions import needed_driver
from swift_fa_launcher.machine.facts import Driver, Facts, Gpu
from swift_fa_launcher.machine.reading import (
    ANOTHER_PYTHON,
    WITHOUT_FLASH_ATTN,
    environment,
    gpu_computed,
    installed_version,
    is_login_node,
    launch_number,
    on_ascend,
    on_other_accelerator,
    on_rocm,
    pip,
    pip_install,
    probed_ok,
    same_torch,
    torch_cuda,
    torch_index,
    visible_gpus,
    wanted_flash_attn,
    written,
)
from swift_fa_launcher.preflight.packing import dataset_rows

#: (distribution, from this version on, oldest Python), the newest version first: ms-swift's from its README's table (the
#: METADATA is laxer than the code), the others' from Requires-Python.
PYTHON_FLOORS = (
    ("ms-swift", Version("4.6"), Version("3.10")),
    ("ms-swift", Version("3.0"), Version("3.9")),
    ("ms-swift", Version("2.0"), Version("3.8")),
    ("flash-attn", Version("2.7"), Version("3.9")),
    ("flash-attn", Version("2.6"), Version("3.8")),
    ("flash-attn-4", Version("4.0.0a0"), Version("3.10")),
)

#: CUDA major: (first driver of the major, what it is called). Within a major any toolkit's binaries run on any driver.
#: https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
FIRST_DRIVERS = {11: Version("450.80.02"), 12: Version("525.60.13"), 13: Version("580.65.06")}

#: Arguments of full training that leave most parameters untrained, or their optimizer states small; optimizers likewise.
FEW_STATES = ("freeze_llm", "freeze_parameters", "freeze_parameters_regex", "freeze_parameters_ratio", "trainable_parameters",
              "trainable_parameters_regex", "use_galore", "lisa_activated_layers")
LEAN_OPTIMIZERS = ("8bit", "4bit", "adafactor", "galore", "apollo", "lion", "sgd", "lomo")


def python_unsupported(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Python under the Requires-Python of what is installed: pip would not have put it there, a copied folder would."""
    python = known(facts.python)
    version = known(python.version) if python else None
    seen = set()
    for package, since, floor in PYTHON_FLOORS:
        installed = facts.package(package)
        if version is None or installed is None or installed < since or package in seen:
            continue
        seen.add(package)
        if version < floor:
            yield Finding("python-unsupported", ERROR,
                          Text(f"Python {version}: {package} {installed} needs {floor} or newer",
                               f"Python {version}：{package} {installed} 需要 {floor} 或更新版本"),
                          (f"conda create -n swift python=3.11 && conda activate swift && pip install {package}",
                           ANOTHER_PYTHON),
                          {"python": version, "package": package, "installed": installed, "minimum": floor})


def torch_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Nothing trains without a torch that imports."""
    if isinstance(facts.torch, Unknown):
        return
    if facts.torch is None or facts.torch.version is None:
        yield Finding("torch-missing", ERROR,
                      Text("torch is not installed in the training interpreter", "训练用的解释器里没有安装 torch"),
                      (pip_install(facts, "torch"), ANOTHER_PYTHON))
    elif error := known(facts.torch.import_error):
        yield Finding("torch-missing", ERROR, Text(f"torch does not import: {error}", f"torch 无法导入：{error}"),
                      (same_torch(facts),),
                      {"import_error": error})


def torch_cpu_only(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A CPU build of torch sees no GPU."""
    torch = known(facts.torch)
    if torch is None or on_ascend(facts) or torch.version is None or torch.cuda is not None or torch.hip is not None:
        return
    gpus = len(known(facts.gpus) or ())
    if config.swift.wants_flash_attn or (gpus and not config.swift.flag("use_cpu")):
        version = known(torch.version)
        wanted = ("--force-reinstall", f"torch=={version.base_version}" if version else "torch")
        on_windows = known(facts.host.os) == "Windows"  # where PyPI's own wheels are CPU builds
        mend: tuple[Words, ...] = (torch_index(facts, "cu126", *wanted) if on_windows else pip_install(facts, *wanted),)
        if known(facts.gpus) == ():  # another torch would find none either; gpu-none says how to train without
            mend = (Text("another torch is of use on a machine with a GPU", "在有 GPU 的机器上才需要换 torch"),)
        yield Finding("torch-cpu-only", ERROR,
                      Text(f"torch {version} is a build without CUDA ({gpus} GPUs here)",
                           f"torch {version} 是不含 CUDA 的版本（本机 GPU 数：{gpus}）"),
                      mend, {"torch": version, "gpus": gpus})


def gpu_none(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """flash-attn runs on GPUs only; an Ascend or AMD machine is judged by its own means."""
    if not config.swift.wants_flash_attn or on_ascend(facts) or on_rocm(facts) or on_other_accelerator(facts):
        return
    seen, present = visible_gpus(config, facts), len(known(facts.gpus) or ())
    if seen.gpus == () and not (present and seen.missing):
        yield Finding("gpu-none", ERROR,
                      Text(f"flash attention is wanted and {seen.chosen_by} hides all {present} GPUs",
                           f"需要 flash attention，但 {seen.chosen_by} 把全部 {present} 块 GPU 都隐藏了")
                      if present else
                      Text("flash attention is wanted and this machine has no GPU", "需要 flash attention，但这台机器没有 GPU"),
                      (("unset CUDA_VISIBLE_DEVICES",) if present else
                       (Text("run this on a GPU node", "请在 GPU 节点上运行"),)) + (WITHOUT_FLASH_ATTN,),
                      {"gpus": present, "chosen_by": seen.chosen_by})


def gpu_not_visible(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """CUDA silently ends the list at the first index that is not there.

    Where there is no GPU at all, gpu-none says so, or a variable left in the environment of a CPU machine is no matter.
    """
    seen = visible_gpus(config, facts)
    present = [gpu.index for gpu in known(facts.gpus) or ()]
    names, key = ", ".join(seen.missing), str(seen.chosen_by)
    if not seen.missing or on_ascend(facts) or on_rocm(facts) or not (
            present or (key == "launch.gpus" and not config.swift.wants_flash_attn)):
        return
    place = written(config, key if key == "launch.gpus" else f"env.{key}")
    yield Finding("gpu-not-visible", ERROR,
                  Text(f"{key}{place} names GPU {names}; here are {present or 'none'}",
                       f"{key}{place} 指定了 GPU {names}，而本机有 {present or '0 块'}"),
                  (f"launch.gpus={present}".replace(" ", ""),) if present else
                  (Text("run this on a GPU node", "请在 GPU 节点上运行"),),
                  {"missing": list(seen.missing), "present": present})


def gpu_memory_low(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Somebody else's process on a GPU that this training wants."""
    for gpu in visible_gpus(config, facts).gpus or ():
        total, free = known(gpu.memory_gib), known(gpu.free_memory_gib)
        if total and free is not None and free < 0.9 * total:
            yield Finding("gpu-memory-low", WARNING,
                          Text(f"GPU {gpu.index} has {free:.1f} of {total:.1f} GiB free",
                               f"GPU {gpu.index} 空闲显存 {free:.1f} / {total:.1f} GiB"),
                          ("nvidia-smi", Text("or choose idle ones: launch.gpus=[…]", "或选择空闲的卡：launch.gpus=[…]")),
                          {"gpu": gpu.index, "free_gib": free, "memory_gib": total})


def gpu_arch_unsupported(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """FA2 starts at Ampere, FA3 is Hopper's alone, FA4 runs on Hopper and Blackwell.

    https://github.com/Dao-AILab/flash-attention/issues/762 (Turing), README of FA3 and FA4.
    """
    if not config.swift.wants_flash_attn or on_ascend(facts) or on_rocm(facts):
        return
    impl = config.swift.attn_impl
    row = BY_NAME.get(impl or "", FA2)
    needs, majors = row.gpus, row.majors
    flash_attn = wanted_flash_attn(config, facts)
    unfit = [g for g in visible_gpus(config, facts).gpus or () if (c := _capability(g)) and c.major not in majors
             and not (flash_attn and probed_ok(flash_attn, g))]
    if unfit:
        shown = ", ".join(f"GPU {g.index} {known(g.name) or ''} ({_capability(g)})" for g in unfit)
        name = impl if impl and impl.startswith("flash") else "flash attention"
        fix = ("swift.attn_impl=flash_attn",) if impl != "flash_attn" and all(
            (_capability(g) or Version("0")).major >= 8 for g in unfit) else ()
        yield Finding("gpu-arch-unsupported", ERROR,
                      Text(f"{name} needs compute capability {needs.en}: {shown}", f"{name} 需要计算能力 {needs.zh}：{shown}"),
                      (*fix, WITHOUT_FLASH_ATTN),
                      {"attn_impl": impl, "gpus": {str(g.index): _capability(g) for g in unfit}})


def _capability(gpu: Gpu) -> Version | None:
    return known(gpu.compute_capability)


def gpu_flash_attn_leftover(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Remote model code calls flash-attn wherever it can be imported, whatever attn_impl says.

    https://github.com/modelscope/ms-swift/issues/5002
    """
    flash_attn = known(facts.flash_attn)
    if (config.swift.wants_flash_attn or flash_attn is None or flash_attn.import_error is not None
            or known(flash_attn.distribution) is None or on_ascend(facts) or on_rocm(facts)):
        return
    old = [g for g in visible_gpus(config, facts).gpus or () if (_capability(g) or Version("99")) < Version("8.0")]
    if old:
        yield Finding("gpu-flash-attn-leftover", WARNING,
                      Text(f"flash-attn {known(flash_attn.version)} is importable on GPU {old[0].index} "
                           f"({_capability(old[0])}): a model's own code may call it and fail",
                           f"flash-attn {known(flash_attn.version)} 可被导入，而 GPU {old[0].index} "
                           f"（{_capability(old[0])}）不支持：模型自带代码可能调用它而失败"),
                      (pip(facts, "uninstall -y", "flash-attn"),),
                      {"gpus": [g.index for g in old], "flash_attn": known(flash_attn.version)})


def driver_too_old(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """The driver is of an older CUDA major than torch, or before its major's first driver; or PTX must be compiled by a
    driver older than the toolkit that wrote it; or a flash-attn release is known to need a newer one.

    Within a major, binaries of a newer minor run: cu128 on driver 535 is fine. What the driver says it runs counts more
    than its number: a container's compatibility libraries let driver 570 run CUDA 13, and Jetson numbers its own way.
    """
    driver, cuda = known(facts.driver), torch_cuda(facts)
    if driver is None or on_ascend(facts) or on_rocm(facts) or config.swift.flag("use_cpu"):
        return
    if gpu_computed(facts):
        return
    if cuda is not None and (reason := _driver_reason(driver, cuda)):
        yield Finding("driver-too-old", ERROR,
                      Text(f"driver {known(driver.version)} (CUDA {known(driver.cuda)}) is too old for torch "
                           f"{_torch(facts)} (CUDA {cuda}): {reason.en}",
                           f"驱动 {known(driver.version)}（CUDA {known(driver.cuda)}）对 torch {_torch(facts)}"
                           f"（CUDA {cuda}）太旧：{reason.zh}"),
                      (*_older_torch(facts, driver), Text("or update the NVIDIA driver", "或升级 NVIDIA 驱动")),
                      {"driver": known(driver.version), "driver_cuda": known(driver.cuda), "torch_cuda": cuda})
    else:
        yield from _flash_attn_driver(config, facts, driver, cuda)


def _driver_reason(driver: Driver, cuda: Version) -> Text | None:
    runs, version, first = known(driver.cuda), known(driver.version), FIRST_DRIVERS.get(cuda.major)
    if runs is not None and runs.major < cuda.major:
        return Text(f"it stops at CUDA {runs}", f"它最高支持 CUDA {runs}")
    if runs is not None and runs.major == cuda.major and cuda.major < 11 and runs < cuda:
        return Text(f"it stops at CUDA {runs}", f"它最高支持 CUDA {runs}")
    if (runs is not None and runs.major >= cuda.major) or version is None or first is None or version >= first \
            or version.major < 100:  # Tegra's numbers (35.x, 36.x) are no driver branches
        return None
    return Text(f"CUDA {cuda.major}.x needs driver {first}", f"CUDA {cuda.major}.x 需要驱动 {first}")


def _torch(facts: Facts) -> str:
    torch = known(facts.torch)
    return str(known(torch.version)) if torch else "?"


def _older_torch(facts: Facts, driver: Driver) -> Iterator[str]:
    runs = known(driver.cuda)
    wheel = {11: "cu118", 12: "cu126"}.get(runs.major) if runs else None
    if wheel:
        yield torch_index(facts, wheel, "--force-reinstall", "torch")


def _flash_attn_driver(config: ResolvedConfig, facts: Facts, driver: Driver, cuda: Version | None) -> Iterator[Finding]:
    flash_attn, version, runs = wanted_flash_attn(config, facts), known(driver.version), known(driver.cuda)
    gpus = visible_gpus(config, facts).gpus or ()
    if flash_attn is None or (gpus and all(probed_ok(flash_attn, g) for g in gpus)):
        return
    installed = installed_version(facts, flash_attn)
    needed = needed_driver(installed) if installed else None
    if needed and version is not None and version < needed:
        yield Finding("driver-too-old", ERROR,
                      Text(f"flash-attn {installed} needs driver {needed}; here is {version}: its kernels do not load",
                           f"flash-attn {installed} 需要驱动 {needed}，本机为 {version}：它的内核无法加载"),
                      ('swift-fa install --version "!=2.8.1"', Text("or update the NVIDIA driver", "或升级 NVIDIA 驱动")),
                      {"driver": version, "flash_attn": installed, "minimum": needed})
    extension = known(flash_attn.extension)
    cubins, ptx = (known(extension.cubins), known(extension.ptx)) if extension else (None, None)
    if not (cubins is not None and ptx and cuda and runs and runs.major == cuda.major and runs < cuda):
        return
    for gpu in gpus:
        capability = _capability(gpu)
        if (capability and not probed_ok(flash_attn, gpu) and runs_on(capability, (), ptx)
                and not runs_on(capability, cubins, ())):
            yield Finding("driver-too-old", ERROR,
                          Text(f"GPU {gpu.index} ({capability}) must compile flash-attn's PTX, which driver {version} "
                               f"(CUDA {runs}) cannot: it comes from CUDA {cuda}",
                               f"GPU {gpu.index}（{capability}）需要即时编译 flash-attn 的 PTX，而驱动 {version}"
                               f"（CUDA {runs}）做不到：它来自 CUDA {cuda}"),
                          (Text("update the NVIDIA driver", "升级 NVIDIA 驱动"), "swift-fa install --from-source"),
                          {"gpu": gpu.index, "driver_cuda": runs, "torch_cuda": cuda})
            return


def shm_small(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """NCCL and data loaders of several processes share /dev/shm; containers start with 64 MiB of it."""
    processes, shm = launch_number(config, facts, "nproc_per_node") or 1, known(facts.host.shm_gib)
    if processes > 1 and shm is not None and shm < 1 and not is_login_node(config, facts):
        without = environment(config, facts, "NCCL_SHM_DISABLE") == "1"
        yield Finding("shm-small", ERROR if shm < 0.125 and not without else WARNING,
                      Text(f"/dev/shm holds {shm * 1024:.0f} MiB for {processes} processes",
                           f"/dev/shm 只有 {shm * 1024:.0f} MiB，而每个节点有 {processes} 个进程"),
                      ("docker run --shm-size=16g …", "mount -o remount,size=16G /dev/shm"),
                      {"shm_gib": shm, "processes": processes})


def disk_space_low(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Room for what is about to happen: the checkpoints, and an install or build where one is needed.

    https://github.com/huggingface/lerobot/issues/59 (a full temp partition beside an empty disk).
    """
    needs: list[tuple[str, str, float, float | None]] = []
    if needs_install(config, facts):
        building = must_build(config, facts)
        needs += [(place, "flash-attn", gib, known(facts.host.free_gib.get(place)))
                  for place, gib in (("site_packages", 1.0), ("tmp", 2.0 if building else 0.3), ("cache", 0.5))]
    output = facts.path(config.swift.get("output_dir"))
    free = known(output.free_gib) if output else None
    size, count = checkpoint_gib(config, facts), _kept_checkpoints(config)
    if size is not None:
        needs.append((config.swift.text("output_dir") or "output", f"{count} × {size:.1f} GiB", size * count,
                      free if free is not None else known(facts.host.free_gib.get("output"))))
    for place, what, gib, here in needs:
        if here is not None and here < gib:
            yield Finding("disk-space-low", ERROR,
                          Text(f"{place}: {here:.2f} GiB free, about {gib:.1f} GiB needed ({what})",
                               f"{place}：剩余 {here:.2f} GiB，大约需要 {gib:.1f} GiB（{what}）"),
                          _room(place), {"place": place, "free_gib": here, "needed_gib": round(gib, 2)})


def _room(place: str) -> tuple[Text | str, ...]:
    if place == "tmp":
        return (Text("export TMPDIR=FOLDER on a disk with room", "export TMPDIR=有空间的文件夹"),)
    if place == "cache":
        return (Text("export SWIFT_FA_CACHE=FOLDER on a disk with room", "export SWIFT_FA_CACHE=有空间的文件夹"),)
    if place == "site_packages":
        return (Text("free some space there", "清理出一些空间"), "pip cache purge")
    return ("swift.save_total_limit=1", "swift.save_only_model=true",
            Text("swift.output_dir=FOLDER on a disk with room", "swift.output_dir=有空间的文件夹"))


def _kept_checkpoints(config: ResolvedConfig) -> int:
    """Checkpoints on the disk at once: the kept ones and the one being written."""
    limit, steps, every = (config.swift.whole(k) for k in ("save_total_limit", "max_steps", "save_steps"))
    written = math.ceil(steps / every) if steps and every and steps > 0 and every > 0 else None
    if limit and limit > 0:
        return min(limit + 1, written or limit + 1, 10**6)
    return min(max(1, written or 1), 10**6)


def checkpoint_gib(config: ResolvedConfig, facts: Facts) -> float | None:
    """About what one checkpoint takes, in GiB; None where the model's size cannot be told.

    Parameters come from the size of the model's folder, else from its name ("7B"). Full training: the weights, and 8
    bytes of AdamW state a parameter, 12 with deepspeed's fp32 master copy. LoRA: about 0.3 % of the parameters at
    rank 8.
    """
    swift = config.swift
    if swift.get("save_strategy") in ("no", False):
        return None
    model = swift.text("model")
    path = facts.path(model)
    size = known(path.size_gib) if path else None
    last = re.sub(r"(?<=[0-9])_(?=[0-9]{1,2}b)", ".", (model or "").rstrip("/").rpartition("/")[2], flags=re.IGNORECASE)
    last = last.replace("_", "-")  # internlm2_5-1_8b is of 1.8 billion
    named = re.search(r"(?<![\w.])(\d{1,4}(?:\.\d+)?)[bB](?![a-zA-Z])", last)
    billions = size * 2**30 / 2e9 if size else float(named[1]) if named else None
    if next((swift.get(k) for k in ("tuner_type", "train_type", "sft_type") if swift.get(k)), "lora") != "full":
        rank = min(swift.whole("lora_rank") or 8, 4096)
        return max(0.02, (billions or 0) * 0.003 * rank / 8 * 12e9 / 2**30)
    if billions is None:
        return None
    weights = 4 if swift.get("torch_dtype") == "float32" else 2
    small = any(swift.get(key) for key in FEW_STATES) or any(name in (swift.text("optim") or "") for name in LEAN_OPTIMIZERS)
    state = 0 if small or swift.flag("save_only_model") else 12 if swift.get("deepspeed") else 2 * weights
    return billions * 1e9 * (weights + state) / 2**30


def host_memory_low(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A build under one compiler job's needs, or a dataset that is loaded and tokenised in memory.

    9 GB of JSONL have killed a machine of 32 GB, 2.7 GB have not: https://github.com/modelscope/ms-swift/issues/195. Before
    3.8, packing kept every row's tokens in lists (some 8 KiB a row): https://github.com/modelscope/ms-swift/issues/3964.
    """
    available = known(facts.host.available_memory_gib)
    if available is None or is_login_node(config, facts):
        return
    if available < 4 and builds(config, facts):
        yield Finding("host-memory-low", WARNING,
                      Text(f"{available:.1f} GiB of memory available; one compiler job takes 4 GiB and more",
                           f"可用内存 {available:.1f} GiB；一个编译任务就要 4 GiB 以上"),
                      ("flash_attn.build=never",), {"available_gib": available})
    sizes = [known(path.size_gib) for name in config.swift.names("dataset") if (path := facts.path(name))]
    version, rows = facts.package("ms-swift"), dataset_rows(config, facts)
    in_lists = config.swift.flag("packing") and version is not None and version < Version("3.8")
    need = max(3 * sum(size for size in sizes if size), rows * 8 / 2**20 if in_lists else 0.0)
    if need > available and not config.swift.flag("streaming"):
        yield Finding("host-memory-low", WARNING,
                      Text(f"the datasets take about {need:.0f} GiB while they are read; {available:.1f} GiB are available",
                           f"读取数据集大约需要 {need:.0f} GiB 内存，而可用内存只有 {available:.1f} GiB"),
                      (Text("swift.streaming=true swift.max_steps=N", "swift.streaming=true swift.max_steps=步数"),),
                      {"rows": rows, "needed_gib": round(need, 1), "available_gib": available})


def windows_unsupported(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Native Windows has prebuilt wheels of a few people and no source build that works."""
    if known(facts.host.os) == "Windows" and config.swift.wants_flash_attn:
        yield Finding("windows-unsupported", WARNING,
                      Text("native Windows: prebuilt flash-attn wheels only, no source build",
                           "原生 Windows：只能用预编译的 flash-attn，无法从源码编译"),
                      (Text("use WSL 2: wsl --install", "使用 WSL 2：wsl --install"), WITHOUT_FLASH_ATTN))


CHECKS: tuple[Check, ...] = (
    python_unsupported, torch_missing, torch_cpu_only, gpu_none, gpu_not_visible, gpu_memory_low, gpu_arch_unsupported,
    gpu_flash_attn_leftover, driver_too_old, shm_small, disk_space_low, host_memory_low, windows_unsupported,
)
