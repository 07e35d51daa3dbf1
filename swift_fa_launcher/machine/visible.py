"""Which of the machine's GPUs a training will see. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Unknown, known
from swift_fa_launcher.machine.facts import Facts, Gpu


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
