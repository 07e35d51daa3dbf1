"""Readings of config and facts that several checks share. Pure."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import Any

from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Unknown, known
from swift_fa_launcher.flash.implementations import BY_NAME, IMPLEMENTATIONS
from swift_fa_launcher.machine.facts import Facts, FlashAttn, Gpu, ModelConfig, ProbedDevice

#: In the local version of a torch that passes for CUDA's: MetaX, Iluvatar, T-Head, Hygon.
OTHER_ACCELERATORS = ("metax", "maca", "corex", "ppu", "das", "dtk")

#: PyTorch's own indexes, for builds that PyPI does not have: `torch==2.8.0+cu128`.
TORCH_INDEXES = "https://download.pytorch.org/whl"


def is_absent(facts: Facts, package: str) -> bool:
    """Whether the distribution was looked for and not found; False where nobody looked."""
    packages = known(facts.packages)
    return packages is not None and package in packages and packages[package] is None


def lacks(facts: Facts, *names: str) -> bool:
    """Whether none of these distributions is among those that are installed; False where nobody looked."""
    return known(facts.packages) is not None and not any(facts.package(name) for name in names)


def pip(facts: Facts, *words: str) -> str:
    """A pip command for the training interpreter; without words, what such a command begins with."""
    python = known(facts.python)
    executable = (known(python.executable) if python else None) or "python"
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


def typed(key: str, value: Any) -> str:
    """`key=value` as it is typed into a shell to set the value."""
    return shlex.quote(f"{key}={_typed(value)}")


def _typed(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_typed, value))}]"
    return value if isinstance(value, str) and re.fullmatch(r"[\w./-]+", value) else json.dumps(value, ensure_ascii=False)


def environment(config: ResolvedConfig, facts: Facts, name: str) -> str | None:
    """A variable as the training process will have it: the config's, else the machine's."""
    return config.env[name] if name in config.env else facts.env.get(name)


def on_ascend(facts: Facts) -> bool:
    """An Ascend machine: torch_npu brings its own attention, nothing of NVIDIA's or flash-attn's applies."""
    torch = known(facts.torch)
    if torch is None or isinstance(torch.npu, Unknown):
        return facts.env.get("ASCEND_RT_VISIBLE_DEVICES") is not None  # which CANN alone reads
    return bool(known(torch.npu))


def on_rocm(facts: Facts) -> bool:
    """An AMD machine: no driver, architecture or GPU fact of NVIDIA's applies."""
    torch, version = known(facts.torch), torch_version(facts)
    return bool(torch and known(torch.hip)) or (version is not None and (version.local or "").startswith("rocm"))


def on_other_accelerator(facts: Facts) -> bool:
    """Another maker's device, whose torch passes for CUDA's and which NVML does not see."""
    version = torch_version(facts)
    return version is not None and any(name in (version.local or "") for name in OTHER_ACCELERATORS)


def has_cpu_torch(facts: Facts) -> bool:
    """A torch that was built for no GPU: nothing of flash-attn's can be installed for it."""
    torch = known(facts.torch)
    return (torch is not None and torch.version is not None and torch.cuda is None
            and not (on_rocm(facts) or on_ascend(facts) or on_other_accelerator(facts)))


def has_no_gpu(config: ResolvedConfig, facts: Facts) -> bool:
    """A machine that was looked at and has no GPU of any maker; a node that only submits is none."""
    return known(facts.gpus) == () and not (on_rocm(facts) or on_ascend(facts) or on_other_accelerator(facts)
                                            or is_login_node(config, facts))


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


def launch_number(config: ResolvedConfig, facts: Facts, name: str) -> int | None:
    """`nproc_per_node`, `nnodes`, `node_rank` or `master_port` in effect: the config's, else the environment's."""
    value = getattr(config.launch, name)
    if value is None:
        try:
            value = int(environment(config, facts, name.upper()) or "")
        except ValueError:
            return None
    return int(value)


def model_config(config: ResolvedConfig, facts: Facts) -> ModelConfig | None:
    """What the config.json of the model says."""
    path = facts.path(config.swift.get("model"))
    return known(path.model_config) if path else None


def process_count(config: ResolvedConfig, facts: Facts) -> int:
    """Training processes over all nodes, as far as config and environment say."""
    return (launch_number(config, facts, "nproc_per_node") or 1) * (launch_number(config, facts, "nnodes") or 1)


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
    """`launch.gpus`, else CUDA_VISIBLE_DEVICES, applied to the GPUs that are there.

    As CUDA does it, the list ends at the first entry that is not there. On a login node that submits to Slurm neither
    an empty list of GPUs nor the node's own variable says anything about the compute node.
    """
    slurm = config.launch.target == "slurm"
    if isinstance(facts.gpus, Unknown) or (slurm and not facts.gpus):
        return VisibleGpus(None)
    present = facts.gpus or ()
    if config.launch.gpus is not None:
        return _choose(present, tuple(str(i) for i in config.launch.gpus), "launch.gpus")
    value = config.env.get("CUDA_VISIBLE_DEVICES", facts.env.get("CUDA_VISIBLE_DEVICES"))
    if value is None or (slurm and "CUDA_VISIBLE_DEVICES" not in config.env):
        return VisibleGpus(present)
    named = (name.strip() for name in value.split(",")) if value.strip() != "NoDevFiles" else ()  # Slurm's word for none
    return _choose(present, tuple(name for name in named if name), "CUDA_VISIBLE_DEVICES")


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
