"""Readings of config and facts that several checks share. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig, SwiftArguments
from swift_fa_launcher.config.swift_args import PRESETS
from swift_fa_launcher.decode import Unknown, known
from swift_fa_launcher.flash.implementations import BY_NAME, IMPLEMENTATIONS
from swift_fa_launcher.machine.facts import Facts, FlashAttn, Gpu, ModelConfig, ProbedDevice

#: In the local version of a torch that passes for CUDA's: MetaX, Iluvatar, T-Head, Hygon.
OTHER_ACCELERATORS = ("metax", "maca", "corex", "ppu", "das", "dtk")

AMPERE = Version("8.0")

#: Where torchrun's first node listens if nobody says otherwise (torch/distributed/run.py).
DEFAULT_PORT = 29500

#: What ms-swift's own launcher reads (swift/cli/main.py), in the order in which it hands it to torchrun, and what CUDA
#: reads; each with the setting of `launch` that writes it.
LAUNCH_VARIABLES = {
    "NPROC_PER_NODE": "launch.nproc_per_node", "MASTER_PORT": "launch.master_port", "NNODES": "launch.nnodes",
    "NODE_RANK": "launch.node_rank", "MASTER_ADDR": "launch.master_addr", "CUDA_VISIBLE_DEVICES": "launch.gpus",
}

#: What a platform calls a node's rank, and the number of nodes: Slurm, Kubeflow and torchrun itself, Kubeflow's older
#: operator and PAI-DLC, ModelArts and Volcano, Volcengine.
NODE_VARIABLES = (("SLURM_NODEID", "SLURM_NNODES"), ("PET_NODE_RANK", "PET_NNODES"), ("RANK", "WORLD_SIZE"),
                  ("VC_TASK_INDEX", "MA_NUM_HOSTS"), ("MLP_ROLE_INDEX", "MLP_WORKER_NUM"))

#: By the first transformers of each: what `kernels` it takes hub kernels with, for facts that do not say
#: (KERNELS_MIN_VERSION and KERNELS_MAX_VERSION in utils/import_utils.py of 4.56.2 to 5.19.0).
KERNELS_TAKEN = (("5.18", ">=0.17.0,<0.18.0"), ("5.15", ">=0.16.0,<0.17.0"), ("5.13", ">=0.15.2,<0.16.0"), ("5.2", ">=0.10.2"),
                 ("5.0", ">=0.9.0"), ("4.56", ""))
#: Which `kernels` on a transformers that names no newest one, by its generation, fails while it is imported: it wants a newer
#: huggingface_hub than 4's, or a revision that 5's does not give (integrations/hub_kernels.py; tried with 4.56.2 to 5.14.0).
KERNELS_BREAK = {4: "0.13", 5: "0.15"}

#: PyTorch's own indexes, for builds that PyPI does not have: `torch==2.8.0+cu128`.
TORCH_INDEXES = "https://download.pytorch.org/whl"


def is_absent(facts: Facts, package: str) -> bool:
    """Whether the distribution was looked for and not found; False where nobody looked."""
    packages = known(facts.packages)
    return packages is not None and package in packages and packages[package] is None


def interpreter(facts: Facts) -> str | None:
    """The training interpreter's executable; None where it does not answer."""
    python = known(facts.python)
    return known(python.executable) if python else None


def site_packages(facts: Facts) -> Path | None:
    """Where the training interpreter's packages are installed; None where it does not answer."""
    python = known(facts.python)
    site = known(python.site_packages) if python else None
    return Path(site) if site else None


def is_installed(facts: Facts, requirement: str) -> bool:
    """Whether a distribution of these versions is there; any is where the requirement is empty."""
    if not requirement:
        return True
    wanted = Requirement(requirement)
    version = facts.package(wanted.name)
    return version is not None and wanted.specifier.contains(version.base_version)


def lacks(facts: Facts, requirement: str, *others: str) -> bool:
    """Whether a distribution of these versions was looked for and not found, nor another that does as well."""
    name = Requirement(requirement).name
    lacking = is_absent(facts, name) if facts.package(name) is None else not is_installed(facts, requirement)
    return lacking and not any(facts.package(other) for other in others)


def pip(facts: Facts, *words: str) -> str:
    """A pip command for the training interpreter; without words, what such a command begins with."""
    executable = interpreter(facts) or "python"
    quoted = (f'"{word}"' if set(word) & set("<>[]!*; ") else word for word in words)
    return " ".join((f'"{executable}"' if " " in executable else executable, "-m pip", *quoted))


def pip_install(facts: Facts, *requirements: str) -> str:
    """The command that installs into the training interpreter."""
    return pip(facts, "install", *requirements)


def same_torch(facts: Facts) -> str:
    """What pip is to install to have the torch that is there once more, from an index that has it: PyPI has no local versions."""
    version = torch_version(facts)
    label = torch_label(str(version))
    if version is None or label is None:
        return f"torch=={version.base_version}" if version else "torch"
    nightly = "--pre torch"  # whose index forgets the older ones
    return f"{nightly if version.is_devrelease else f'torch=={version}'} --index-url {TORCH_INDEXES}/{label}"


def torch_label(version: str) -> str | None:
    """The index among PyTorch's own that has this torch: `cu128`, `nightly/cu128`; None where that is PyPI, or none has it."""
    public, _, local = version.partition("+")
    ours = re.fullmatch(r"cu\d{2,3}|cpu|xpu|rocm\d+(?:\.\d+)*", local)
    return f"{'nightly/' if '.dev' in public else ''}{local}" if ours else None


#: The marks of a failure of TLS in what was said of it.
_TLS = re.compile(r"\bssl|certificate|\btls\b|handshake|eof occurred in violation|wrong.version.number", re.IGNORECASE)


def says_tls(error: str) -> bool:
    """Whether a connection's error is its certificate's or TLS's."""
    return _TLS.search(error) is not None


def written(config: ResolvedConfig, key: str) -> str:
    """` (configs/a.yaml:12)`: where a dotted key was written, to follow its mention; empty where nobody wrote it."""
    origin = config.origin(key)
    return f" ({origin})" if origin else ""


def setting(config: ResolvedConfig, name: str) -> str:
    """`packing=true (configs/a.yaml:12)`: an argument of `swift`, its value, and where it was written."""
    value = config.swift.get(name)
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return f"{name}={shown}{written(config, f'swift.{name}')}"


def shown_deepspeed(config: ResolvedConfig) -> str:
    """`deepspeed=zero3 (configs/a.yaml:12)`; a configuration that is written out is not shown."""
    value = config.swift.get("deepspeed")
    return setting(config, "deepspeed") if isinstance(value, str) and len(value) < 100 else \
        f"deepspeed{written(config, 'swift.deepspeed')}"


#: What `deepspeed` and `fsdp` are given that is hardly the name of a file.
_NO_FILE = re.compile(r"(?:zero|stage|fsdp|full_shard)?[ _-]?\d*(?:[_-]offload)?[,;]?|none|null|nil|off|on|false|true|no|yes"
                      r"|auto", re.IGNORECASE)


def names_no_preset(config: ResolvedConfig, facts: Facts, name: str) -> bool:
    """Whether `deepspeed` or `fsdp` is neither a name that ms-swift knows, nor a JSON object, nor a file that is or may be there.

    swift/arguments/sft_args.py, `_init_deepspeed` and `_init_fsdp` (4.0 to 4.6), swift/llm/argument/train_args.py (3.0 to 3.12).
    """
    value = config.swift.get(name)
    since = "ms-swift>=3" if name == "deepspeed" else "ms-swift>=4"
    if value is None or isinstance(value, dict) or not is_installed(facts, since):
        return False
    text = str(value).strip()
    kind = known(facts.path(text).kind)
    is_path = kind in ("file", "special") if kind else not _NO_FILE.fullmatch(text)  # where nobody looked, it may be one
    return text not in PRESETS[name] and text[:1] not in ("", "{") and not is_path


def zero_settings(swift: SwiftArguments) -> Mapping[str, Any] | None:
    """deepspeed's `zero_optimization`, of a name that ms-swift knows (swift/config) or of what is written out; None where
    deepspeed is not used, or its configuration is a file."""
    value = swift.get("deepspeed")
    if isinstance(value, str):
        if named := re.fullmatch(r"zero([0-3])(_offload)?", value):
            offload = {"device": "cpu"}
            return {"stage": int(named[1]), **({"offload_optimizer": offload} if named[2] else {}),
                    **({"offload_param": offload} if value == "zero3_offload" else {})}
        try:
            value = json.loads(value)
        except ValueError:
            return None
    zero = value.get("zero_optimization", {}) if isinstance(value, Mapping) else None
    return zero if isinstance(zero, Mapping) else None


def evaluates(config: ResolvedConfig, facts: Facts) -> bool | None:
    """Whether there is validation data; None where ms-swift's own split_dataset_ratio is not known (base_args/data_args.py)."""
    swift = config.swift
    if swift.strategy("eval_strategy") == "no":
        return False
    if any(any(swift.names(key)) for key in ("val_dataset", "cached_val_dataset", "eval_dataset")):
        return True
    ratio = split_ratio(config, facts)
    return None if ratio is None else ratio > 0 and not swift.flag("streaming")


def split_ratio(config: ResolvedConfig, facts: Facts) -> float | None:
    """ms-swift's split_dataset_ratio: the share of the rows that is kept for validation; None where it is not known."""
    if "split_dataset_ratio" in config.swift:
        return config.swift.number("split_dataset_ratio")
    declared = (known(facts.ms_swift_args) or {}).get("split_dataset_ratio")
    return declared.default if declared and isinstance(declared.default, (int, float)) else \
        0.0 if is_installed(facts, "ms-swift>=3.6") else None


def weights_dtype(config: ResolvedConfig, facts: Facts) -> tuple[str | None, str]:
    """(torch dtype of the weights, where it comes from); None where neither config nor model says."""
    asked = config.swift.text("torch_dtype")
    if asked and asked != "auto":
        return asked.removeprefix("torch."), f"torch_dtype{written(config, 'swift.torch_dtype')}"
    own = known(model_config(config, facts).torch_dtype)
    return (own or "").removeprefix("torch.") or None, f"{config.swift.text('model')}/config.json"


#: Lists in whose items neither a comma nor a blank can stand, of ms-swift 3.8 to 4.6: those of files and hub names, and others.
_LISTS_OF_FILES = ("dataset", "val_dataset", "cached_dataset", "cached_val_dataset", "custom_dataset_info", "external_plugins",
                   "custom_register_path", "adapters")
_LISTS = (*_LISTS_OF_FILES, "eval_dataset", "target_modules", "target_parameters", "modules_to_save", "freeze_parameters",
          "trainable_parameters", "galore_target_modules", "report_to", "callbacks", "interleave_prob", "reft_layers")
#: What can only be a file or a hub name of its own, with a subset and a count behind it.
_ONE_FILE = re.compile(r"(?:\S+\.(?:jsonl?|csv|txt|parquet|py)|[\w.-]+/[\w.-]+)(?::[\w/.-]+)?(?:#\d+)?")


def parted_list(facts: Facts, name: str, value: Any) -> list[str] | None:
    """The items that were meant where a text of a list holds several, parted by commas or blanks; None where none does.
    ms-swift takes such a text for one name."""
    texts = [str(item) for item in (value if isinstance(value, (list, tuple)) else (value,)) if item is not None]
    parts = [part for text in texts for part in _parts(facts, name, text)] if name in _LISTS else texts
    return parts if parts != texts else None


def _parts(facts: Facts, name: str, text: str) -> list[str]:
    if listed := re.fullmatch(r"\s*\[([^][(){}|\\^$]+)\]\s*", text):  # a list within quotes
        return [part.strip("\"'") for part in re.split(r"[,，\s]+", listed[1].strip())]
    parts = [part for part in re.split(r"[,;，；\s]+", text.strip()) if part]
    if all(re.match(r"-[^\s\d-]", part) for part in parts):  # items whose dashes lack their blanks
        parts = [part[1:] for part in parts]
    if len(parts) < 2 or re.search(r"[][(){}|\\^$]", text):  # a pattern
        return [text]
    if name not in _LISTS_OF_FILES:
        return parts
    kind = known(facts.path(text).kind)
    told = kind == "missing" and re.search("[,;，；]", text) is not None  # a blank may stand in the name of what is not there
    return parts if told or (kind not in ("file", "dir") and all(map(_ONE_FILE.fullmatch, parts))) else [text]


def environment(config: ResolvedConfig, facts: Facts, name: str) -> str | None:
    """A variable as the training process will have it: the config's, else the machine's."""
    return config.env[name] if name in config.env else facts.env.get(name)


def environment_count(config: ResolvedConfig, facts: Facts, name: str) -> int | None:
    """A variable that torchrun or a platform sets to a number; None where it is none."""
    told = environment(config, facts, name) or ""
    return int(told) if told.isdigit() and told.isascii() and len(told) < 9 else None


def on_ascend(facts: Facts) -> bool:
    """An Ascend machine: torch_npu brings its own attention, nothing of NVIDIA's or flash-attn's applies."""
    torch = known(facts.torch)
    if torch is None or isinstance(torch.npu, Unknown):
        return facts.env.get("ASCEND_RT_VISIBLE_DEVICES") is not None  # which CANN alone reads
    return bool(known(torch.npu))


def on_rocm(facts: Facts) -> bool:
    """An AMD machine, by its torch or its GPUs: no driver, architecture or GPU fact of NVIDIA's applies."""
    torch, version = known(facts.torch), torch_version(facts)
    return bool(torch and known(torch.hip)) or (version is not None and (version.local or "").startswith("rocm")) or \
        bool(amd_architectures(facts))


def amd_architectures(facts: Facts) -> tuple[str, ...]:
    """What AMD calls the architectures of its GPUs here: "gfx942"."""
    return tuple(sorted({gfx for gpu in known(facts.gpus) or () if (gfx := known(gpu.gfx))}))


def on_other_accelerator(facts: Facts) -> bool:
    """Another maker's device, whose torch passes for CUDA's and which NVML does not see."""
    version = torch_version(facts)
    return version is not None and any(name in (version.local or "") for name in OTHER_ACCELERATORS)


def is_another_makers(facts: Facts) -> bool:
    return on_rocm(facts) or on_ascend(facts) or on_other_accelerator(facts)


def has_cpu_torch(facts: Facts) -> bool:
    """A torch that was built for no GPU: nothing of flash-attn's can be installed for it."""
    torch = known(facts.torch)
    return torch is not None and torch.version is not None and torch.cuda is None and not is_another_makers(facts)


def has_no_gpu(config: ResolvedConfig, facts: Facts) -> bool:
    """A machine that was looked at and has no GPU of any maker; a node that only submits is none."""
    return known(facts.gpus) == () and not (is_another_makers(facts) or is_login_node(config, facts))


def gpu_computed(facts: Facts) -> bool:
    """Whether a probe of any implementation ran on a GPU here: then torch and the driver get on."""
    return any(is_proven(known(getattr(facts, each.field))) for each in IMPLEMENTATIONS)


def is_proven(flash_attn: FlashAttn | None) -> bool:
    """Whether it imports and the probe computed with it on a GPU: then neither file, label nor version says otherwise."""
    return bool(flash_attn and flash_attn.import_error is None and any(device.ok for device in probed_devices(flash_attn)))


def probed_devices(flash_attn: FlashAttn) -> tuple[ProbedDevice, ...]:
    probe = known(flash_attn.probe)
    return probe.devices if probe else ()


def probed_ok(flash_attn: FlashAttn, gpu: Gpu) -> bool:
    """Whether the probe ran on this very GPU: stronger than what a file says."""
    return any(d.ok and d.index == gpu.index for d in probed_devices(flash_attn))


def spreads_model(config: ResolvedConfig, facts: Facts) -> bool:
    """Whether ms-swift may give a process several GPUs: not under ray, nor where each is told to take one for itself.

    swift/utils/env.py `is_mp`, swift/arguments/sft_args.py `_init_deepspeed` (3.10 and later)
    """
    return not config.swift.flag("use_ray") and environment(config, facts, "SWIFT_SINGLE_DEVICE_MODE") != "1"


def torch_version(facts: Facts) -> Version | None:
    torch = known(facts.torch)
    return known(torch.version) if torch else None


def torch_cuda(facts: Facts) -> Version | None:
    """The CUDA that torch was built with; where it was not asked, the one that its version names (`2.9.1+cu130`)."""
    torch = known(facts.torch)
    version = known(torch.version) if torch and isinstance(torch.cuda, Unknown) else None
    named = re.fullmatch(r"cu([0-9]{2})([0-9])", (version.local or "") if version else "")
    return Version(f"{named[1]}.{named[2]}") if named else known(torch.cuda) if torch else None


def installed_version(facts: Facts, flash_attn: FlashAttn) -> Version | None:
    """The version of an installed flash-attn: its own word, else what the list of packages says."""
    name = known(flash_attn.distribution)
    return known(flash_attn.version) or (facts.package(name) if name else None)


def minor(version: Version) -> str:
    """`2.6` of 2.6.0+cu124."""
    return f"{version.major}.{version.minor}"


def is_login_node(config: ResolvedConfig, facts: Facts) -> bool:
    """Whether the facts are of a node that only submits: what it lacks, the compute node may have."""
    return config.launch.target == "slurm" and not known(facts.gpus)


def placed_by_platform(config: ResolvedConfig, facts: Facts) -> ResolvedConfig:
    """With the nodes, the rank and the first node's address that Kubeflow, PAI-DLC or another platform has written into the
    environment, where the config and ms-swift's own variables leave them out; ms-swift reads none of a platform's.

    Slurm's own are left alone: in an allocation they are there also for who trains on one node.
    """
    def told(name: str) -> str | None:
        return environment(config, facts, name)

    if config.launch.target != "local" or any(told(name) for name in ("LOCAL_RANK", "NNODES", "NODE_RANK")):
        return config
    for rank, count, prefix in (("PET_NODE_RANK", "PET_NNODES", "PET_"), ("RANK", "WORLD_SIZE", "")):
        number, nodes, address = told(rank), told(count), told(f"{prefix}MASTER_ADDR") or told("MASTER_ADDR")
        if not (number and nodes and address and number.isdecimal() and nodes.isdecimal() and int(number) < int(nodes)):
            continue
        own = config.launch
        if int(nodes) < 2 or own.nnodes not in (None, int(nodes)) or (not prefix and nodes == str(own.nproc_per_node)):
            return config  # one node; or counted in another way; or one node's processes
        found = {"nnodes": nodes, "node_rank": number, "master_port": told(f"{prefix}MASTER_PORT"),
                 "nproc_per_node": told(f"{prefix}NPROC_PER_NODE") or "1"}
        new: dict[str, Any] = {name: int(value) for name, value in found.items() if value and value.isdecimal()}
        new["master_addr"] = address
        if told("NPROC_PER_NODE"):
            del new["nproc_per_node"]
        return replace(config, launch=replace(own, **{name: value for name, value in new.items() if getattr(own, name) is None}))
    return config


def launch_number(config: ResolvedConfig, facts: Facts, name: str) -> int | None:
    """`nproc_per_node`, `nnodes`, `node_rank` or `master_port` in effect: the config's, else the environment's."""
    value, told = getattr(config.launch, name), environment(config, facts, name.upper())
    if value is None and name == "nproc_per_node" and told in ("gpu", "auto"):  # torchrun's words for one on each GPU
        return len(visible_gpus(config, facts).gpus or ()) or None
    if value is None:
        try:
            value = int(told or "")
        except ValueError:
            return None
    return int(value)


def launch_written(config: ResolvedConfig, facts: Facts, name: str) -> str:
    """` (configs/a.yaml:12)`, ` ($MASTER_PORT)`: where a setting of `launch` that is in effect was written; empty: nowhere."""
    if getattr(config.launch, name) is not None:
        return written(config, f"launch.{name}")
    variable = name.upper()
    inherited = f" (${variable})" if facts.env.get(variable) else ""
    return written(config, f"env.{variable}") if variable in config.env else inherited


def uses_torchrun(config: ResolvedConfig, facts: Facts) -> bool:
    """Whether ms-swift starts the training through torchrun, be it one process (swift/cli/main.py, `use_torchrun`)."""
    return any(getattr(config.launch, name) is not None or environment(config, facts, name.upper()) is not None
               for name in ("nproc_per_node", "nnodes"))


def chosen_port(config: ResolvedConfig, facts: Facts) -> int | None:
    """The master_port that the launcher chooses: on one node, where nobody wrote one and torchrun's own is taken.

    ms-swift hands on only what is written, and torchrun looks for a free one by itself only in torch releases of 2026
    (https://github.com/pytorch/pytorch/pull/175699).
    """
    used = known(facts.ports_in_use) or ()
    if DEFAULT_PORT not in used or config.launch.target == "slurm" or not uses_torchrun(config, facts) \
            or (launch_number(config, facts, "nnodes") or 1) > 1 or launch_number(config, facts, "master_port") is not None:
        return None
    return free_port(used, DEFAULT_PORT)


def free_port(used: tuple[int, ...], above: int) -> int | None:
    return next((port for port in range(max(above, 1023) + 1, 65536) if port not in used), None)


def model_config(config: ResolvedConfig, facts: Facts) -> ModelConfig:
    """What the config.json of the model says; nothing where it was not read."""
    return known(facts.path(config.swift.get("model")).model_config) or ModelConfig()


def process_count(config: ResolvedConfig, facts: Facts) -> int:
    """Training processes over all nodes, as far as config and environment say."""
    return (launch_number(config, facts, "nproc_per_node") or 1) * (launch_number(config, facts, "nnodes") or 1)


def kernels_taken(facts: Facts) -> tuple[SpecifierSet, Version | None] | None:
    """The releases of `kernels` that the installed transformers can get its attention with, and from which on it cannot even be
    imported, None where it looks first; None where it knows nothing of kernels."""
    transformers, told = facts.package("transformers"), facts.kernels_range
    by_release = next((taken for first, taken in KERNELS_TAKEN if transformers and transformers >= Version(first)), None)
    if transformers is None or by_release is None:
        return None
    taken = by_release if isinstance(told, Unknown) else told or ""
    breaks = None if "<" in taken else KERNELS_BREAK.get(transformers.major)
    specifier = ",".join(part for part in (taken, f"<{breaks}" if breaks else "") if part)
    return SpecifierSet(specifier, prereleases=True), Version(breaks) if breaks else None


def wanted_flash_attn(config: ResolvedConfig, facts: Facts) -> FlashAttn | None:
    """What is installed of the implementation that attn_impl names; None where it is not there or nobody looked."""
    row = BY_NAME.get(config.swift.attn_impl or "")
    return known(getattr(facts, row.field)) if row and not on_ascend(facts) else None


# The GPUs that a training will see ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VisibleGpus:
    """The GPUs that the training will see.

    gpus: None where that cannot be known. missing: named indices that are not there. chosen_by: the setting that chose
    among those present, None where all are taken.
    """

    gpus: tuple[Gpu, ...] | None
    missing: tuple[str, ...] = ()
    chosen_by: str | None = None


def visible_gpus(config: ResolvedConfig, facts: Facts) -> VisibleGpus:
    """`launch.gpus`, else CUDA_VISIBLE_DEVICES (HIP's own for AMD), applied to the GPUs that are there.

    As CUDA does it, the list ends at the first entry that is not there. On a login node that submits to Slurm neither
    an empty list of GPUs nor the node's own variable says anything about the compute node.
    """
    slurm = config.launch.target == "slurm"
    if isinstance(facts.gpus, Unknown) or (slurm and not facts.gpus):
        return VisibleGpus(None)
    present = facts.gpus or ()
    if config.launch.gpus is not None:
        return _choose(present, tuple(str(i) for i in config.launch.gpus), "launch.gpus")
    name = "HIP_VISIBLE_DEVICES"  # goes before CUDA's, which HIP reads too
    if not on_rocm(facts) or environment(config, facts, name) is None:
        name = "CUDA_VISIBLE_DEVICES"
    value = environment(config, facts, name)
    if value is None or (slurm and name not in config.env):
        return VisibleGpus(present)
    named = (each.strip() for each in value.split(",")) if value.strip() != "NoDevFiles" else ()  # Slurm's word for none
    return _choose(present, tuple(each for each in named if each), name)


def is_idle(gpu: Gpu) -> bool | None:
    """Whether nearly all of its memory is free; None where that is not known."""
    total, free = known(gpu.memory_gib), known(gpu.free_memory_gib)
    return free >= 0.9 * total if total and free is not None else None


def gpus_before_ampere(config: ResolvedConfig, facts: Facts) -> tuple[Gpu, ...]:
    """The wanted GPUs that are known to have neither bfloat16 nor what FlashAttention 2 needs."""
    return tuple(gpu for gpu in visible_gpus(config, facts).gpus or ()
                 if (known(gpu.compute_capability) or AMPERE) < AMPERE)


def first_gpus(gpus: Sequence[Gpu], processes: int | None) -> str:
    """`[0,1]`: as many of them as there are processes, as launch.gpus takes them."""
    return f"[{','.join(str(gpu.index) for gpu in gpus[:processes or 1])}]"


def with_free_gpus(config: ResolvedConfig, facts: Facts) -> ResolvedConfig:
    """The config with the GPUs in `launch.gpus` that `auto:2` takes on this machine: the first idle ones of those visible.
    As it was where it asks for none, or where there are too few."""
    launch = config.launch
    idle = [gpu.index for gpu in visible_gpus(config, facts).gpus or () if is_idle(gpu)]
    if launch.free_gpus is None or launch.gpus is not None or len(idle) < launch.free_gpus:
        return config
    gpus = idle[:launch.free_gpus]
    return replace(config, launch=replace(launch, gpus=tuple(gpus)),
                   values={**config.values, "launch": {**(config.values.get("launch") or {}), "gpus": gpus}})


def _choose(present: tuple[Gpu, ...], names: tuple[str, ...], chosen_by: str) -> VisibleGpus:
    gpus: list[Gpu] = []
    for name in names:
        if name == "-1":
            break
        if name.startswith("MIG-") or (name.startswith("GPU-") and any(known(g.uuid) is None for g in present)):
            return VisibleGpus(None, chosen_by=chosen_by)
        found = next((g for g in present if str(g.index) == name
                      or (name.startswith("GPU-") and (known(g.uuid) or "").startswith(name))), None)
        if found is None:
            missing = tuple(n for n in names if n not in {str(g.index) for g in present} and not n.startswith("GPU-"))
            return VisibleGpus(tuple(gpus), missing or (name,), chosen_by)
        gpus.append(found)
    return VisibleGpus(tuple(gpus), (), chosen_by)
