"""Processes, nodes, ports."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterator
from typing import Any

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.config.swift_args import strength
from swift_fa_launcher.decode import known
from swift_fa_launcher.findings.finding import ERROR, WARNING, Check, Finding
from swift_fa_launcher.findings.table import found
from swift_fa_launcher.machine import reading
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.reading import DEFAULT_PORT, LAUNCH_VARIABLES, NODE_VARIABLES

#: Settings for torchrun that its user makes, with the name that it gives to what it tells its processes.
FOR_TORCHRUN = frozenset(("TORCHELASTIC_ERROR_FILE", "TORCHELASTIC_ENABLE_FILE_TIMER", "TORCHELASTIC_HEALTH_CHECK_PORT",
                          "TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE", "TORCHELASTIC_SIGNALS_TO_HANDLE"))


def nproc_exceeds_gpus(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """`invalid device ordinal`. https://github.com/wenwenyu/PICK-pytorch/issues/14"""
    gpus, processes = reading.visible_gpus(config, facts).gpus, reading.launch_number(config, facts, "nproc_per_node")
    if not gpus or processes is None or processes <= len(gpus) or config.swift.flag("use_cpu") or _other_device(facts):
        return
    yield found("nproc-exceeds-gpus", processes=processes, gpus=len(gpus),
                origin=reading.launch_written(config, facts, "nproc_per_node"))


def gpus_unused(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """One process and several GPUs: ms-swift cuts the model into stages, and one GPU works at a time.
    https://github.com/modelscope/ms-swift/issues/4625 and /1538"""
    gpus, processes = reading.visible_gpus(config, facts).gpus, reading.launch_number(config, facts, "nproc_per_node")
    if not gpus or (processes or 1) >= len(gpus) or config.swift.flag("use_cpu") \
            or reading.environment(config, facts, "LOCAL_RANK") is not None \
            or _other_device(facts) or not reading.spreads_model(config, facts):
        return
    if len(gpus) % (processes or 1) == 0 and not config.swift.get("device_map"):  # what is left over is arg-conflict's
        yield found("gpus-unused", gpus=len(gpus), processes=processes, first=reading.first_gpus(gpus, processes))


def gpus_not_free(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """`launch.gpus=auto:2` on a machine with fewer idle GPUs, or one whose GPUs cannot be seen; where there are enough they are
    named by now."""
    wanted, visible = config.launch.free_gpus, reading.visible_gpus(config, facts).gpus
    if wanted is None or config.launch.gpus is not None:
        return
    idle = [gpu for gpu in visible or () if reading.is_idle(gpu)]
    way = "unseen" if visible is None or any(reading.is_idle(gpu) is None for gpu in visible) else ""
    yield found("gpus-not-free", way, wanted=wanted, idle=len(idle), gpus=len(visible or ()), fewer=len(idle) or None,
                origin=reading.written(config, "launch.gpus"))


def _other_device(facts: Facts) -> bool:
    """Devices that these facts do not list."""
    return reading.on_ascend(facts) or (reading.on_rocm(facts) and not reading.amd_architectures(facts))


def launch_env_misspelt(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A look-alike of a launch variable does nothing. https://github.com/modelscope/ms-swift/issues/4625"""
    for name in dict.fromkeys((*facts.env, *config.env)):
        if name in LAUNCH_VARIABLES or reading.environment(config, facts, name) is None or len(name) > 40:
            continue
        meant = difflib.get_close_matches(name.upper().replace("-", "_"), LAUNCH_VARIABLES, n=1, cutoff=0.92)
        if meant and reading.environment(config, facts, meant[0]) is None and _set(config, LAUNCH_VARIABLES[meant[0]]) is None:
            yield found("launch-env-misspelt", name=name, meant=meant[0],
                        value=reading.environment(config, facts, name), setting=LAUNCH_VARIABLES[meant[0]])


def launch_env_no_number(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """ms-swift hands both to torchrun, which takes a number, a range of nodes, or a kind of device (torch/distributed/run.py)."""
    for variable in ("NPROC_PER_NODE", "NNODES"):
        told, key = (reading.environment(config, facts, variable) or "").strip(), LAUNCH_VARIABLES[variable]
        if told and _set(config, key) is None and not re.fullmatch(r"\d+(:\d+)?|auto|cpu|gpu|xpu|npu|mlu|musa|hpu", told):
            yield found("arg-invalid", "variable", variable=variable, told=told, setting=key,
                        origin=reading.written(config, f"env.{variable}"))


def launch_env_conflict(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """`env` or the environment sets what `launch` sets, to something else: `launch` is what the training gets.

    It is meant where it stands in a higher layer than `env`; where it is typed, it is against the environment.
    """
    for variable, key in LAUNCH_VARIABLES.items():
        value, told = _set(config, key), reading.environment(config, facts, variable)
        in_config = variable in config.env
        above = strength(config, f"env.{variable}") if in_config else len(config.files)
        if value is None or told is None or strength(config, key) > above or _agrees(config, facts, variable, in_config):
            continue
        gpus = key == "launch.gpus"
        fits = key == "launch.master_addr" or re.fullmatch(r"\d+(, *\d+)*" if gpus else r"\d+", told, re.ASCII)
        counts = in_config or key in ("launch.nproc_per_node", "launch.nnodes", "launch.node_rank")
        yield found("launch-env-conflict", "config" if in_config else "environment", severity=ERROR if counts else WARNING,
                    variable=variable, told=f"{told}{reading.written(config, f'env.{variable}')}", setting=key,
                    value=f"[{','.join(map(str, value))}]" if gpus else value, origin=reading.written(config, key),
                    other=(f"[{told}]" if gpus else told) if fits else None)


def _set(config: ResolvedConfig, key: str) -> Any:
    return getattr(config.launch, key.removeprefix("launch."))


def _agrees(config: ResolvedConfig, facts: Facts, variable: str, in_config: bool) -> bool:
    """Whether a variable says what `launch` says, or nothing that can be compared with it.

    A platform gives more GPUs than one launch takes, and an address in another form than the config's (a name for a number,
    and `localhost` to the first node).
    """
    value, told = _set(config, LAUNCH_VARIABLES[variable]), reading.environment(config, facts, variable) or ""
    if variable == "CUDA_VISIBLE_DEVICES":
        given, names = [str(gpu) for gpu in value], [name.strip() for name in told.split(",") if name.strip()]
        return given == names or any(name.startswith(("GPU-", "MIG-")) for name in names) \
            or (not in_config and (not names or set(given) <= set(names)))
    if variable == "MASTER_ADDR" and not in_config:
        names = [host if _is_address(host) else host.partition(".")[0] for host in (told, value)]
        return _is_loopback(told) or _is_address(told) != _is_address(value) or names[0] == names[1]
    if variable == "NPROC_PER_NODE" and told in ("gpu", "auto"):
        return len(reading.visible_gpus(config, facts).gpus or ()) in (0, value)
    return told.strip() in ("", str(value))


def node_rank_mismatch(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """The platform says which of the nodes this is; with two of one rank each waits for the other.

    Unset, torchrun takes PET_NODE_RANK, else 0. A launch on fewer nodes than the platform has counts them in its own way.
    How Slurm's number goes astray: https://github.com/huggingface/accelerate/issues/2816
    """
    nodes, rank = (reading.launch_number(config, facts, name) for name in ("nnodes", "node_rank"))
    if (nodes or 1) < 2 or config.launch.target == "slurm" or reading.environment(config, facts, "LOCAL_RANK") is not None:
        return
    for variable, count in NODE_VARIABLES:
        told, of = (reading.environment(config, facts, name) for name in (variable, count))
        if told is not None and told.isdecimal() and of in (None, str(nodes)):
            if told != str(rank or 0) and not (rank is None and variable == "PET_NODE_RANK"):
                yield found("node-rank-mismatch", "" if rank is not None else "unset", node_rank=rank, variable=variable,
                            told=told, nodes=nodes, from_environment=f"${{oc.env:{variable}}}",
                            origin=reading.launch_written(config, facts, "node_rank"))
            return


def launch_nested(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Inside torchrun the processes are there already; a platform's WORLD_SIZE asks for nodes that `launch` leaves out.

    https://github.com/modelscope/ms-swift/issues/8133. A platform (PAI-DLC, Kubeflow) sets RANK and WORLD_SIZE for nodes
    and no LOCAL_RANK; a config that uses them is not nested.
    """
    names = [n for n in (*facts.env, *config.env) if reading.environment(config, facts, n) is not None]
    inside = [n for n in names if n == "LOCAL_RANK" or (n.startswith("TORCHELASTIC_") and n not in FOR_TORCHRUN)]
    nodes, per_node = (reading.launch_number(config, facts, n) for n in ("nnodes", "nproc_per_node"))
    size = reading.environment_count(config, facts, "WORLD_SIZE")
    if "RANK" in names and size is None:
        inside.append("RANK")
    if inside and (nodes is not None or per_node is not None):
        yield found("launch-nested", inside=inside[:3], nproc_per_node=per_node, nnodes=nodes,
                    variables=" ".join(sorted({*inside, "RANK", "WORLD_SIZE"} & set(names))))
    elif not inside and size is not None and size > 1 and nodes is None and not (  # they may be one node's processes
            size == per_node and reading.environment(config, facts, "RANK") in (None, "0")):
        yield found("launch-nested", "platform", world_size=size)


def port_in_use(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """torchrun's first node listens on master_port; a taken one ends with EADDRINUSE after the imports.

    The nodes must agree on it; on one node, where nobody wrote one, the launcher takes a free one.
    """
    used = known(facts.ports_in_use) or ()
    if not reading.uses_torchrun(config, facts) or reading.chosen_port(config, facts) or reading.is_login_node(config, facts) \
            or (reading.launch_number(config, facts, "node_rank") or 0) > 0:
        return
    port = reading.launch_number(config, facts, "master_port") or DEFAULT_PORT
    if port in used:
        yield found("port-in-use", port=port, free=reading.free_port(used, port),
                    origin=reading.launch_written(config, facts, "master_port"))


def master_addr_loopback(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """The other nodes cannot reach this one's loopback: they wait 15 minutes.
    https://github.com/modelscope/ms-swift/issues/2485

    The first node itself listens for all: ms-swift's examples/train/multi-node/swift/train_node1.sh starts it so.
    """
    own, platforms = config.launch.master_addr, reading.environment(config, facts, "MASTER_ADDR")
    address = own or platforms or reading.environment(config, facts, "PET_MASTER_ADDR")  # torchrun's own look-up
    if (reading.launch_number(config, facts, "nnodes") or 1) < 2 or (not address and config.launch.target == "slurm"):
        return
    if own in (None, platforms) and _is_platforms_first(config, facts):
        return
    if not address or _is_loopback(address):
        first = not reading.launch_number(config, facts, "node_rank")
        yield found("master-addr-loopback", f"{'first ' if first else ''}{'' if address else 'unset'}".strip(),
                    severity=WARNING if first else ERROR, master_addr=address,
                    origin=reading.launch_written(config, facts, "master_addr"))


def _is_platforms_first(config: ResolvedConfig, facts: Facts) -> bool:
    """Kubeflow tells the first node `localhost`, where torchrun listens for all, and the others that node's name."""
    told = {name: reading.environment(config, facts, name) for name in ("MASTER_ADDR", "RANK", "WORLD_SIZE")}
    nodes = reading.launch_number(config, facts, "nnodes")
    return told == {"MASTER_ADDR": "localhost", "RANK": "0", "WORLD_SIZE": str(nodes)} and \
        (reading.launch_number(config, facts, "node_rank") or 0) == 0


def _is_loopback(address: str) -> bool:
    name = address.strip().lower().strip("[]")
    if not _is_address(name):
        return name == "localhost" or name.startswith("localhost.")
    ip = ipaddress.ip_address(name)
    return ip.is_loopback or ip.is_unspecified


def _is_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


CHECKS: tuple[Check, ...] = (nproc_exceeds_gpus, gpus_unused, gpus_not_free, launch_env_misspelt, launch_env_no_number,
                             launch_env_conflict, launch_nested, node_rank_mismatch, port_in_use, master_addr_loopback)
