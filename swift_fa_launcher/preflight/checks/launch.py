"""Processes, nodes, ports."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Iterator, Mapping

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.findings.finding import Check, Finding
from swift_fa_launcher.findings.table import found
from swift_fa_launcher.machine import reading
from swift_fa_launcher.machine.facts import Facts

#: What ms-swift's own launcher reads (swift/cli/main.py), and what CUDA does; each with the setting that writes it.
LAUNCH_VARIABLES: Mapping[str, str] = {
    "NPROC_PER_NODE": "launch.nproc_per_node", "NNODES": "launch.nnodes", "NODE_RANK": "launch.node_rank",
    "MASTER_ADDR": "launch.master_addr", "MASTER_PORT": "launch.master_port", "CUDA_VISIBLE_DEVICES": "launch.gpus",
}
DEFAULT_PORT = 29500
#: Settings for torchrun that its user makes, with the name that it gives to what it tells its processes.
FOR_TORCHRUN = frozenset(("TORCHELASTIC_ERROR_FILE", "TORCHELASTIC_ENABLE_FILE_TIMER", "TORCHELASTIC_HEALTH_CHECK_PORT",
                          "TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE", "TORCHELASTIC_SIGNALS_TO_HANDLE"))


def nproc_exceeds_gpus(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """`invalid device ordinal`. https://github.com/wenwenyu/PICK-pytorch/issues/14"""
    gpus, processes = reading.visible_gpus(config, facts).gpus, reading.launch_number(config, facts, "nproc_per_node")
    if not gpus or processes is None or processes <= len(gpus) or config.swift.flag("use_cpu") or _other_device(facts):
        return
    yield found("nproc-exceeds-gpus", processes=processes, gpus=len(gpus),
                origin=reading.written(config, "launch.nproc_per_node"))


def gpus_unused(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """One process and several GPUs: ms-swift cuts the model into stages, and one GPU works at a time.

    https://github.com/modelscope/ms-swift/issues/4625 and /1538. It gives each process as many GPUs as any other, and asserts
    that none is left over (swift/utils/env.py `is_mp`, asked by swift/trainers/arguments.py; 3.8.3, 3.12.6, 4.0.4, 4.6.0).
    """
    gpus, processes = reading.visible_gpus(config, facts).gpus, reading.launch_number(config, facts, "nproc_per_node")
    if not gpus or (processes or 1) >= len(gpus) or config.swift.flag("use_cpu") \
            or reading.environment(config, facts, "LOCAL_RANK") is not None \
            or _other_device(facts) or not reading.spreads_model(config, facts):
        return
    if not (uneven := processes and len(gpus) % processes) and config.swift.get("device_map"):
        return
    first = ",".join(str(gpu.index) for gpu in gpus[:processes or 1])
    yield found("gpus-unused", "uneven" if uneven else "", gpus=len(gpus), processes=processes, first=f"[{first}]")


def _other_device(facts: Facts) -> bool:
    return reading.on_ascend(facts) or reading.on_rocm(facts)


def launch_env_misspelt(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A look-alike of a launch variable does nothing. https://github.com/modelscope/ms-swift/issues/4625"""
    for name in dict.fromkeys((*facts.env, *config.env)):
        if name in LAUNCH_VARIABLES or reading.environment(config, facts, name) is None or len(name) > 40:
            continue
        meant = difflib.get_close_matches(name.upper().replace("-", "_"), LAUNCH_VARIABLES, n=1, cutoff=0.92)
        if meant and not _is_set(config, facts, meant[0]):
            yield found("launch-env-misspelt", name=name, meant=meant[0],
                        value=reading.environment(config, facts, name), setting=LAUNCH_VARIABLES[meant[0]])


def _is_set(config: ResolvedConfig, facts: Facts, variable: str) -> bool:
    return reading.environment(config, facts, variable) is not None or \
        getattr(config.launch, LAUNCH_VARIABLES[variable].removeprefix("launch.")) is not None


def launch_nested(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Inside torchrun the processes are there already; a platform's WORLD_SIZE asks for nodes that `launch` leaves out.

    https://github.com/modelscope/ms-swift/issues/8133. A platform (PAI-DLC, Kubeflow) sets RANK and WORLD_SIZE for nodes
    and no LOCAL_RANK; a config that uses them is not nested.
    """
    names = [n for n in (*facts.env, *config.env) if reading.environment(config, facts, n) is not None]
    inside = [n for n in names if n == "LOCAL_RANK" or (n.startswith("TORCHELASTIC_") and n not in FOR_TORCHRUN)]
    nodes, per_node = (reading.launch_number(config, facts, n) for n in ("nnodes", "nproc_per_node"))
    world = reading.environment(config, facts, "WORLD_SIZE") or ""
    size = int(world) if world.isdigit() and world.isascii() and len(world) < 9 else None
    if "RANK" in names and size is None:
        inside.append("RANK")
    if inside and (nodes is not None or per_node is not None):
        yield found("launch-nested", inside=inside[:3], nproc_per_node=per_node, nnodes=nodes,
                    variables=" ".join(sorted({*inside, "RANK", "WORLD_SIZE"} & set(names))))
    elif not inside and size is not None and size > 1 and nodes is None and not (  # they may be one node's processes
            size == per_node and reading.environment(config, facts, "RANK") in (None, "0")):
        yield found("launch-nested", "platform", world_size=size)


def port_in_use(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """torchrun's first node listens on master_port; a taken one ends with EADDRINUSE after the imports."""
    nodes, per_node = (reading.launch_number(config, facts, n) for n in ("nnodes", "nproc_per_node"))
    used = known(facts.ports_in_use) or ()
    if (nodes is None and per_node is None) or (nodes or 1) * (per_node or 1) < 2 \
            or reading.is_login_node(config, facts) or (reading.launch_number(config, facts, "node_rank") or 0) > 0:
        return
    port = reading.launch_number(config, facts, "master_port") or DEFAULT_PORT
    if port in used:
        free = next((p for p in range(max(port, 1023) + 1, 65536) if p not in used), None)
        yield found("port-in-use", port=port, free=free, origin=reading.written(config, "launch.master_port"))


def master_addr_loopback(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """The other nodes cannot reach this one's loopback: they wait 15 minutes.
    https://github.com/modelscope/ms-swift/issues/2485"""
    own, platforms = config.launch.master_addr, reading.environment(config, facts, "MASTER_ADDR")
    address = own or platforms
    if (reading.launch_number(config, facts, "nnodes") or 1) < 2 or (not address and config.launch.target == "slurm"):
        return
    if own in (None, platforms) and _is_platforms_first(config, facts):
        return
    if not address or _is_loopback(address):
        yield found("master-addr-loopback", "" if address else "unset", master_addr=address,
                    origin=reading.written(config, "launch.master_addr"))


def _is_platforms_first(config: ResolvedConfig, facts: Facts) -> bool:
    """Kubeflow tells the first node `localhost`, where torchrun listens for all, and the others that node's name."""
    told = {name: reading.environment(config, facts, name) for name in ("MASTER_ADDR", "RANK", "WORLD_SIZE")}
    nodes = reading.launch_number(config, facts, "nnodes")
    return told == {"MASTER_ADDR": "localhost", "RANK": "0", "WORLD_SIZE": str(nodes)} and \
        (reading.launch_number(config, facts, "node_rank") or 0) == 0


def _is_loopback(address: str) -> bool:
    name = address.strip().lower().strip("[]")
    try:
        ip = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.startswith("localhost.")
    return ip.is_loopback or ip.is_unspecified


CHECKS: tuple[Check, ...] = (nproc_exceeds_gpus, gpus_unused, launch_env_misspelt, launch_nested, port_in_use,
                             master_addr_loopback)
