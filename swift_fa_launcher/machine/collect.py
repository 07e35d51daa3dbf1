"""Asks this machine, the training interpreter and the network, once; everything after is a function of the answer."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Maybe, Unknown, known
from swift_fa_launcher.machine import host, installed, paths, swanlab
from swift_fa_launcher.machine.facts import Driver, Facts, FlashAttn, Gpu
from swift_fa_launcher.machine.gpus import collect_gpus
from swift_fa_launcher.machine.interpreter import TARGET_TIMEOUT, find_interpreter, run_script

TARGET = Path(__file__).with_name("target.py")
ON_LOGIN_NODE = Unknown("a login node: the training runs on another machine (launch.target: slurm)")
MASTER_PORT = 29500


def collect_facts(config: ResolvedConfig, *, offline: bool = False, probe: bool = True,
                  say: Callable[[str], None] = lambda text: None) -> Facts:
    """Everything that checks need to know of this machine for `config`.

    offline: ask nothing over the network. probe: whether flash-attn may be imported and run. say: gets one sentence
    before anything that may take over a second. Raises nothing: what cannot be looked at is Unknown(why) in its place.
    """
    import sys

    cwd = Path.cwd()
    environment = {**os.environ, **config.env}
    python = config.launch.python or sys.executable
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="facts") as pool:
        asked = pool.submit(ask_target, python, environment, cwd)
        gpus = pool.submit(_gpus, config)
        toolchain = pool.submit(host.collect_toolchain, environment)
        path_facts = pool.submit(paths.collect_paths, config, environment)
        report = asked.result()
        seen = make_installed(report, environment)
        place = None if isinstance(report, Unknown) else report["python"]["site_packages"]
        host_facts = host.collect_host(host.standing_places(place, config.swift.text("output_dir")))
        login = swanlab.collect_swanlab(environment, cwd, config.swanlab.host)
        found_gpus, driver = gpus.result()
        return Facts(where=socket.gethostname(), collected_at=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
                     host=host_facts, gpus=found_gpus, driver=driver, toolchain=toolchain.result(), swanlab=login,
                     env=kept_environment(environment), paths=path_facts.result(),
                     ports_in_use=host.collect_ports_in_use(_ports(config)), **seen)


def ask_target(python: str, environment: Mapping[str, str], cwd: Path) -> dict[str, Any] | Unknown | None:
    """The answer of `target.py`; None where there is no such interpreter, Unknown where it did not answer."""
    found = find_interpreter(python, environment)
    return None if found is None else run_script(found, TARGET, environment=environment, cwd=cwd,
                                                 timeout=TARGET_TIMEOUT)


def make_installed(report: dict[str, Any] | Unknown | None, environment: Mapping[str, str]) -> dict[str, Any]:
    """The fields of Facts that come from the interpreter's answer.

    No such interpreter: python is None, and torch and the packages too, since nothing is installed in what is not
    there. An interpreter that did not answer leaves all of them Unknown.
    """
    names = ("torch", "packages", "flash_attn", "flash_attn_3", "flash_attn_4", "requirement_conflicts", "swift")
    if report is None or isinstance(report, Unknown):
        why = report or Unknown("there is no such interpreter")
        return {"python": report, **dict.fromkeys(names, why)}
    return {"python": installed.make_python(report), "torch": installed.collect_torch(report),
            "packages": installed.make_packages(report), "swift": installed.collect_swift(report, environment),
            **{field: _flash_attn(report, name) for field, name in (
                ("flash_attn", "flash-attn"), ("flash_attn_3", "flash-attn-3"), ("flash_attn_4", "flash-attn-4"))}}


def _flash_attn(report: dict[str, Any], name: str) -> Maybe[FlashAttn]:
    entry = report["distributions"].get(name)
    origin = installed.module_file(report, "flash_attn_interface" if name == "flash-attn-3" else "flash_attn")
    if entry is None:
        return FlashAttn(distribution=None, version=None, origin=str(origin), extension=None) if (
            origin and name == "flash-attn") else None
    return FlashAttn(distribution=name, version=installed.parse_version(entry["version"]),
                     origin=str(origin) if origin else None,
                     wheel_label=installed.read_wheel_label(report["direct_urls"].get(name)))


def _gpus(config: ResolvedConfig) -> tuple[Maybe[tuple[Gpu, ...]], Maybe[Driver]]:
    return (ON_LOGIN_NODE, ON_LOGIN_NODE) if config.launch.target == "slurm" else collect_gpus()


def _ports(config: ResolvedConfig) -> range:
    first = config.launch.master_port or MASTER_PORT
    return range(first, first + 16)


#: Variables that decide how a training starts, tracks and finds its models; also in another spelling of case.
KEPT = frozenset("""
CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER NVIDIA_VISIBLE_DEVICES ASCEND_RT_VISIBLE_DEVICES RANK LOCAL_RANK WORLD_SIZE
LOCAL_WORLD_SIZE GROUP_RANK ROLE_RANK MASTER_ADDR MASTER_PORT NNODES NODE_RANK NPROC_PER_NODE SWANLAB_RUN_ID
SWANLAB_RESUME SWANLAB_MODE SWANLAB_LOG_DIR SWANLAB_LOGDIR SWANLAB_API_HOST SWANLAB_WEB_HOST SWANLAB_SAVE_DIR
SWANLAB_ROOT SWANLAB_PROJECT SWANLAB_WORKSPACE MODELSCOPE_CACHE MODELSCOPE_OFFLINE HF_HOME HF_HUB_CACHE HF_HUB_OFFLINE
HF_ENDPOINT TRANSFORMERS_OFFLINE USE_HF CUDA_HOME CUDA_PATH HOME USER LANG OMP_NUM_THREADS MAX_JOBS VIRTUAL_ENV
CONDA_PREFIX PYTHONPATH LD_LIBRARY_PATH PYTORCH_CUDA_ALLOC_CONF NCCL_SOCKET_IFNAME GLOO_SOCKET_IFNAME
SLURM_JOB_ID SLURM_PROCID SLURM_NTASKS
""".split())


def kept_environment(environment: Mapping[str, str]) -> dict[str, str | None]:
    """The variables that checks read. Keys, tokens and secrets are not among them, whatever their names."""
    return {name: value for name, value in sorted(environment.items())
            if name.upper() in KEPT or name.upper().startswith("TORCHELASTIC_")}


__all__ = ["collect_facts", "known"]
