"""The machine and the training interpreter: Python, torch, GPUs, driver, memory, disk."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig, SwiftArguments
from swift_fa_launcher.decode import Unknown, known
from swift_fa_launcher.findings.finding import ERROR, WARNING, Check, Finding
from swift_fa_launcher.findings.table import found
from swift_fa_launcher.flash.architectures import runs_on
from swift_fa_launcher.flash.building import builds, must_build, needs_install
from swift_fa_launcher.flash.implementations import BY_NAME, FA2
from swift_fa_launcher.flash.versions import needed_driver
from swift_fa_launcher.machine import reading
from swift_fa_launcher.machine.facts import Driver, Facts, Gpu
from swift_fa_launcher.preflight.packing import dataset_rows
from swift_fa_launcher.preflight.sizes import FEW_STATES, LEAN_OPTIMIZERS, billions_named, gpu_holds

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

#: The share of a GPU that weights, gradients and optimizer may take in what is advised; the rest is for activations.
ROOMY = 0.8
#: How far above a GPU's memory an estimate by the model's name must be to be sure.
ROUGHLY = 1.25


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
            yield found("python-unsupported", python=version, package=package, installed=installed, minimum=floor)


def torch_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Nothing trains without a torch that imports."""
    if isinstance(facts.torch, Unknown):
        return
    if facts.torch is None or facts.torch.version is None:
        yield found("torch-missing", pip=reading.pip(facts))
    elif error := known(facts.torch.import_error):
        yield found("torch-missing", "not imported", import_error=error, pip=reading.pip(facts),
                    requirement=reading.same_torch(facts))


def torch_cpu_only(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A CPU build of torch sees no GPU, and any but ROCm's no GPU of AMD's."""
    torch, amd = known(facts.torch), reading.amd_architectures(facts)
    if torch is None or torch.version is None or (torch.cuda is not None and not amd) or torch.hip is not None \
            or reading.on_ascend(facts):
        return
    gpus = len(known(facts.gpus) or ())
    if amd and not config.swift.flag("use_cpu"):
        yield found("torch-cpu-only", "amd", torch=known(torch.version), gpus=gpus, architectures=list(amd),
                    pip=reading.pip(facts))
    elif config.swift.wants_flash_attn or (gpus and not config.swift.flag("use_cpu")):
        version = known(torch.version)
        wanted = f"torch=={version.base_version}" if version else "torch"
        if known(facts.host.os) == "Windows":  # where PyPI's own wheels are CPU builds
            wanted += f" --index-url {reading.TORCH_INDEXES}/cu126"
        # where there is no GPU another torch would find none either; gpu-none says how to train without
        yield found("torch-cpu-only", "no gpu" if known(facts.gpus) == () else "", torch=version, gpus=gpus,
                    pip=reading.pip(facts), requirement=wanted)


def gpu_none(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """flash-attn runs on GPUs only; an Ascend or AMD machine is judged by its own means."""
    if not config.swift.wants_flash_attn or reading.is_another_makers(facts):
        return
    seen, present = reading.visible_gpus(config, facts), [gpu.index for gpu in known(facts.gpus) or ()]
    if seen.gpus == () and not (present and seen.missing):
        yield found("gpu-none", "hidden" if present else "", gpus=len(present), chosen_by=seen.chosen_by,
                    origin=_chosen_at(config, seen.chosen_by), indexes=_listed(present))


def _chosen_at(config: ResolvedConfig, chosen_by: str | None) -> str:
    return reading.written(config, "launch.gpus" if chosen_by == "launch.gpus" else f"env.{chosen_by}")


def _listed(gpus: list[int]) -> str:
    """`0,1`: GPUs as launch.gpus takes them, which goes before CUDA_VISIBLE_DEVICES."""
    return ",".join(map(str, gpus))


def gpu_not_visible(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """CUDA silently ends the list at the first index that is not there.

    Where there is no GPU at all, gpu-none says so, or a variable left in the environment of a CPU machine is no matter.
    """
    seen = reading.visible_gpus(config, facts)
    present = [gpu.index for gpu in known(facts.gpus) or ()]
    if not seen.missing or reading.on_ascend(facts) or (reading.on_rocm(facts) and not present) or not (
            present or (seen.chosen_by == "launch.gpus" and not config.swift.wants_flash_attn)):
        return
    yield found("gpu-not-visible", "" if present else "no gpu", chosen_by=seen.chosen_by, missing=list(seen.missing),
                present=present, origin=_chosen_at(config, seen.chosen_by), indexes=_listed(present))


def gpu_memory_low(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Somebody else's process on a GPU that this training wants."""
    idle = [gpu.index for gpu in known(facts.gpus) or () if reading.is_idle(gpu)]
    for gpu in reading.visible_gpus(config, facts).gpus or ():
        if reading.is_idle(gpu) is False:
            yield found("gpu-memory-low", gpu=gpu.index, free_gib=known(gpu.free_memory_gib),
                        memory_gib=known(gpu.memory_gib), indexes=_listed(idle))


def gpu_memory_short(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Weights, gradients and the optimizer's states alone are more than the smallest GPU has. What a name says of the
    parameters is rough; and on Windows the driver lends the machine's memory to the GPU."""
    totals = {gpu.index: known(gpu.memory_gib) for gpu in reading.visible_gpus(config, facts).gpus or ()}
    held, borrows = gpu_holds(config, facts), known(facts.host.os) == "Windows" or known(facts.host.wsl)
    if held is None or borrows or None in totals.values() or not totals:
        return
    smallest = min(totals, key=lambda index: totals[index] or 0)
    memory = totals[smallest] or 0.0
    if held.total > memory:
        ways = [way for way in _smaller(config, facts)
                if (less := gpu_holds(with_settings(config, way), facts)) and less.total < ROOMY * memory]
        first, second, third = (*ways, None, None, None)[:3]
        rough = held.by_name and held.total < ROUGHLY * memory
        yield found("gpu-memory-short", severity=WARNING if rough else ERROR, gpu=smallest, memory_gib=memory,
                    needed_gib=round(held.total, 1), weights_gib=round(held.weights, 1), gradients_gib=round(held.gradients, 1),
                    optimizer_gib=round(held.optimizer, 1), first=first, second=second, third=third)


def _smaller(config: ResolvedConfig, facts: Facts) -> Iterator[str]:
    """Settings that take less of a GPU, those that change the training least first."""
    gpus = len(reading.visible_gpus(config, facts).gpus or ())
    if gpus * (reading.launch_number(config, facts, "nnodes") or 1) > 1 and not (
            config.swift.get("quant_method") or config.swift.get("fsdp")):
        yield f"launch.nproc_per_node={gpus} swift.deepspeed=zero3"
    if config.swift.text("tuner_type") == "full":
        yield "swift.tuner_type=lora"
    yield "swift.tuner_type=lora swift.quant_method=bnb swift.quant_bits=4"


def with_settings(config: ResolvedConfig, overrides: str) -> ResolvedConfig:
    """The config with `swift.name=value` and `launch.nproc_per_node=n` on top."""
    set_ = dict(word.split("=") for word in overrides.split())
    swift = {key.removeprefix("swift."): value for key, value in set_.items() if key.startswith("swift.")}
    processes = set_.get("launch.nproc_per_node")
    return replace(config, swift=SwiftArguments({**config.swift, **swift}),
                   launch=replace(config.launch, nproc_per_node=int(processes)) if processes else config.launch)


def gpu_arch_unsupported(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """FA2 starts at Ampere, FA3 is Hopper's alone, FA4 runs on Hopper and Blackwell.
    https://github.com/Dao-AILab/flash-attention/issues/762 (Turing), README of FA3 and FA4."""
    if not config.swift.wants_flash_attn or reading.on_ascend(facts) or reading.on_rocm(facts):
        return
    impl = config.swift.attn_impl
    row = BY_NAME.get(impl or "", FA2)
    flash_attn = reading.wanted_flash_attn(config, facts)
    unfit = [g for g in reading.visible_gpus(config, facts).gpus or ()
             if (c := _capability(g)) and c.major not in row.majors
             and not (flash_attn and reading.probed_ok(flash_attn, g))]
    if unfit:
        others_run = impl != "flash_attn" and all((_capability(g) or Version("0")).major >= 8 for g in unfit)
        yield found("gpu-arch-unsupported", "flash-attn runs" if others_run else "", attn_impl=impl, needs=row.gpus,
                    name=impl if impl and impl.startswith("flash") else "flash attention",
                    gpus={str(g.index): _capability(g) for g in unfit},
                    unfit=[f"GPU {g.index} ({', '.join(str(one) for one in (known(g.name), _capability(g)) if one)})"
                           for g in unfit])


def _capability(gpu: Gpu) -> Version | None:
    return known(gpu.compute_capability)


def gpu_flash_attn_leftover(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Remote model code calls flash-attn wherever it can be imported, whatever attn_impl says.
    https://github.com/modelscope/ms-swift/issues/5002"""
    flash_attn = known(facts.flash_attn)
    if (config.swift.wants_flash_attn or flash_attn is None or flash_attn.import_error is not None
            or known(flash_attn.distribution) is None or reading.on_ascend(facts) or reading.on_rocm(facts)):
        return
    if old := reading.gpus_before_ampere(config, facts):
        yield found("gpu-flash-attn-leftover", gpu=old[0].index, capability=_capability(old[0]),
                    gpus=[g.index for g in old], flash_attn=known(flash_attn.version), pip=reading.pip(facts))


def driver_too_old(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """The driver is of an older CUDA major than torch, or before its major's first driver; or PTX must be compiled by a
    driver older than the toolkit that wrote it; or a flash-attn release is known to need a newer one.

    Within a major, binaries of a newer minor run: cu128 on driver 535 is fine. What the driver says it runs counts more
    than its number: a container's compatibility libraries let driver 570 run CUDA 13, and Jetson numbers its own way.
    """
    driver, cuda = known(facts.driver), reading.torch_cuda(facts)
    if driver is None or config.swift.flag("use_cpu") or any(is_so(facts) for is_so in (
            reading.on_ascend, reading.on_rocm, reading.gpu_computed)):
        return
    runs, needed = known(driver.cuda), FIRST_DRIVERS.get(cuda.major) if cuda else None
    way = _driver_lack(driver, cuda, needed) if cuda else None
    if way is not None:
        yield found("driver-too-old", way, driver=known(driver.version), driver_cuda=runs,
                    torch=reading.torch_version(facts), torch_cuda=cuda, minimum=needed,
                    index={11: "cu118", 12: "cu126"}.get(runs.major) if runs else None, pip=reading.pip(facts))
    else:
        yield from _flash_attn_driver(config, facts, driver, cuda)


def _driver_lack(driver: Driver, cuda: Version, needed: Version | None) -> str | None:
    """In which way the driver is too old for torch's CUDA, None where it is not: what it runs ("") or its number."""
    runs, version = known(driver.cuda), known(driver.version)
    if runs is not None and (runs.major < cuda.major or (runs.major == cuda.major < 11 and runs < cuda)):
        return ""
    if (runs is not None and runs.major >= cuda.major) or version is None or needed is None or version >= needed \
            or version.major < 100:  # Tegra's numbers (35.x, 36.x) are no driver branches
        return None
    return "number"


def _flash_attn_driver(config: ResolvedConfig, facts: Facts, driver: Driver, cuda: Version | None) -> Iterator[Finding]:
    flash_attn, version, runs = reading.wanted_flash_attn(config, facts), known(driver.version), known(driver.cuda)
    gpus = reading.visible_gpus(config, facts).gpus or ()
    if flash_attn is None or (gpus and all(reading.probed_ok(flash_attn, g) for g in gpus)):
        return
    installed = reading.installed_version(facts, flash_attn)
    needed = needed_driver(installed) if installed else None
    if needed and version is not None and version < needed:
        yield found("driver-too-old", "flash-attn", driver=version, flash_attn=installed, minimum=needed,
                    release=installed.public if installed else None)
    extension = known(flash_attn.extension)
    cubins, ptx = (known(extension.cubins), known(extension.ptx)) if extension else (None, None)
    if not (cubins is not None and ptx and cuda and runs and runs.major == cuda.major and runs < cuda):
        return
    for gpu in gpus:
        capability = _capability(gpu)
        if (capability and not reading.probed_ok(flash_attn, gpu) and runs_on(capability, (), ptx)
                and not runs_on(capability, cubins, ())):
            yield found("driver-too-old", "ptx", gpu=gpu.index, capability=capability, driver=version, driver_cuda=runs,
                        torch_cuda=cuda)
            return


def shm_small(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """NCCL and data loaders of several processes share /dev/shm; containers start with 64 MiB of it."""
    processes, shm = reading.launch_number(config, facts, "nproc_per_node") or 1, known(facts.host.shm_gib)
    if processes > 1 and shm is not None and shm < 1 and not reading.is_login_node(config, facts):
        without = reading.environment(config, facts, "NCCL_SHM_DISABLE") == "1"
        yield found("shm-small", severity=ERROR if shm < 0.125 and not without else WARNING, shm_gib=shm,
                    shm_mib=shm * 1024, processes=processes)


def disk_space_low(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Room for what is about to happen: the checkpoints, and an install or build where one is needed.
    https://github.com/huggingface/lerobot/issues/59 (a full temp partition beside an empty disk)."""
    if needs_install(config, facts):
        building = must_build(config, facts)
        for place, gib in (("site_packages", 1.0), ("tmp", 2.0 if building else 0.3), ("cache", 0.5)):
            if (here := known(facts.host.free_gib.get(place))) is not None and here < gib:
                yield found("disk-space-low", place, place=place, free_gib=here, needed_gib=gib, pip=reading.pip(facts))
    free = known(facts.path(config.swift.get("output_dir")).free_gib)
    if free is None:
        free = known(facts.host.free_gib.get("output"))
    size, count = checkpoint_gib(config, facts), _kept_checkpoints(config)
    if size is not None and free is not None and free < size * count:
        yield found("disk-space-low", place=config.swift.text("output_dir") or "output", free_gib=free, count=count,
                    each_gib=size, needed_gib=round(size * count, 2))
    yield from _rows_cache(config, facts)


def _rows_cache(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """ms-swift writes all rows into its cache before it takes the first, and a second time once they are brought into shape
    (swift/dataset/loader.py, preprocessor/core.py). https://github.com/modelscope/ms-swift/issues/2974"""
    named = reading.environment(config, facts, "MODELSCOPE_CACHE")
    rooms = (facts.host.free_gib.get("datasets"), facts.path(named).free_gib,
             None if named else facts.host.free_gib.get("cache"))
    room = next((gib for room in rooms if (gib := known(room)) is not None), None)
    files = {name.rpartition("#")[0] or name: path for key in ("dataset", "val_dataset") for name in config.swift.names(key)
             if known((path := facts.path(name)).kind) == "file"}
    size = sum(known(path.size_gib) or 0 for path in files.values())
    if room is not None and size > room and not config.swift.flag("streaming"):
        yield found("disk-space-low", "datasets", place=named or "~/.cache/modelscope", free_gib=room, needed_gib=size)


def _kept_checkpoints(config: ResolvedConfig) -> int:
    """Checkpoints on the disk at once: the kept ones and the one being written."""
    limit, steps, every = (config.swift.whole(k) for k in ("save_total_limit", "max_steps", "save_steps"))
    due = math.ceil(steps / every) if steps and every and steps > 0 and every > 0 else None
    if limit and limit > 0:
        return min(limit + 1, due or limit + 1, 10**6)
    return min(max(1, due or 1), 10**6)


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
    size = known(facts.path(model).size_gib)
    billions = size * 2**30 / 2e9 if size else billions_named(model)
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
    if available is None or reading.is_login_node(config, facts):
        return
    if available < 4 and builds(config, facts):
        yield found("host-memory-low", "build", available_gib=available)
    sizes = [known(facts.path(name).size_gib) for name in config.swift.names("dataset")]
    version, rows = facts.package("ms-swift"), dataset_rows(config, facts)
    in_lists = config.swift.flag("packing") and version is not None and version < Version("3.8")
    need = max(3 * sum(size for size in sizes if size), rows * 8 / 2**20 if in_lists else 0.0)
    if need > available and not config.swift.flag("streaming"):
        yield found("host-memory-low", rows=rows, needed_gib=round(need, 1), available_gib=available)


def windows_unsupported(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Native Windows has prebuilt wheels of a few people and no source build that works."""
    if known(facts.host.os) == "Windows" and config.swift.wants_flash_attn:
        yield found("windows-unsupported")


CHECKS: tuple[Check, ...] = (
    python_unsupported, torch_missing, torch_cpu_only, gpu_none, gpu_not_visible, gpu_memory_low, gpu_memory_short,
    gpu_arch_unsupported, gpu_flash_attn_leftover, driver_too_old, shm_small, disk_space_low, host_memory_low,
    windows_unsupported,
)
