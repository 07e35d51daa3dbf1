"""Asks this machine, the training interpreter and the network, once; everything after is a function of the answer."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from threading import Event
from typing import Any

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Unknown, decode
from swift_fa_launcher.errors import Say, Text
from swift_fa_launcher.flash.hosts import host_of
from swift_fa_launcher.flash.implementations import IMPLEMENTATIONS
from swift_fa_launcher.machine import host, installed, network, paths, swanlab_login
from swift_fa_launcher.machine.facts import Facts, Python
from swift_fa_launcher.machine.flash_attention import collect_flash_attn, find_torchs_own
from swift_fa_launcher.machine.gpus import collect_gpus
from swift_fa_launcher.machine.hub import datasets_cache, has_login
from swift_fa_launcher.machine.interpreter import ending_scripts, find_interpreter, only_step, run_script, start_until
from swift_fa_launcher.machine.probe import prove_flash_attn
from swift_fa_launcher.machine.reading import DEFAULT_PORT, NODE_VARIABLES, launch_number
from swift_fa_launcher.machine.requirements import find_conflicts
from swift_fa_launcher.machine.row_tokens import with_row_tokens

TARGET = Path(__file__).with_name("target.py")
#: Seconds for the training interpreter's answer: a tenth as a rule, far more from a cold network file system.
TARGET_TIMEOUT = 60.0
ON_LOGIN_NODE = Unknown("this is a login node: the training runs elsewhere (launch.target: slurm)")


def collect_facts(config: ResolvedConfig, *, offline: bool = False, probe: bool = True,
                  say: Say = lambda text: None, asked: dict[network.Question, network.Reply] | None = None) -> Facts:
    """Everything that checks need to know of this machine for `config`.

    offline: ask nothing over the network. probe: whether flash-attn may be imported and run. say: gets one sentence
    before anything that may take over a second. asked: replies of this command's earlier questions, which are not asked
    again; the new ones are added. Raises nothing: what cannot be looked at is Unknown(why) in its place.
    `ms_swift_args` is left out: `machine.swift_schema` asks for those.
    """
    cwd, environment = Path.cwd(), {**os.environ, **config.env}
    login = swanlab_login.find_login(environment, cwd, config.swanlab.host)
    over = Event()
    with ThreadPoolExecutor(8, "facts", start_until, (over,)) as pool, ending_scripts(over):
        answer = pool.submit(ask_target, config.launch.python or sys.executable, environment, cwd)
        on_login_node = config.launch.target == "slurm"
        devices = pool.submit(lambda: (ON_LOGIN_NODE, ON_LOGIN_NODE) if on_login_node else collect_gpus())
        toolchain = pool.submit(host.collect_toolchain, environment)
        path_facts = pool.submit(lambda: with_row_tokens(paths.collect_paths(config, environment), config, environment, cwd, say))
        port = launch_number(config, Facts(env=kept_environment(environment)), "master_port") or DEFAULT_PORT
        ports = pool.submit(host.collect_ports_in_use, range(port, port + 16))
        report = answer.result()
        seen = make_installed(report, environment, cwd, login)
        site = report["python"]["site_packages"] if isinstance(report, dict) else None
        host_facts = host.collect_host(host.standing_places(site, config.swift.text("output_dir")))
        rows = {"datasets": host.room_for_rows(datasets_cache(environment))}
        host_facts = replace(host_facts, free_gib={**host_facts.free_gib, **rows})
        gpus, driver = devices.result()
        facts = Facts(
            where=socket.gethostname(), collected_at=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            host=host_facts, gpus=gpus, driver=driver, toolchain=toolchain.result(), env=kept_environment(environment),
            paths=path_facts.result(), ports_in_use=ports.result(), **seen)
        plan = network.make_plan(config, facts, login, environment)
        replies = pool.submit(_ask_network, plan, environment, offline, {} if asked is None else asked, say)
        if isinstance(report, dict):
            facts = prove_flash_attn(facts, report, config, environment, cwd, may_run=probe, say=say)
        return network.with_network(facts, plan, replies.result(), has_login(environment))


def _ask_network(plan: network.Plan, environment: Mapping[str, str], offline: bool,
                 asked: dict[network.Question, network.Reply], say: Say) -> Mapping[str, network.Reply] | Unknown:
    if offline or not plan.questions:
        return Unknown("offline")
    fresh = [question for question in plan.questions if question not in asked]
    if fresh:
        hosts = ", ".join(dict.fromkeys(host_of(question.url) for question in fresh))
        say(Text(f"asking {hosts}", f"正在询问 {hosts}"))
        replies = network.ask_all(fresh, environment)
        asked.update({question: replies[question.key] for question in fresh})
    return {question.key: asked[question] for question in plan.questions}


def ask_target(python: str, environment: Mapping[str, str], cwd: Path) -> dict[str, Any] | Unknown | None:
    """The answer of `target.py`; None where there is no such interpreter, Unknown where it did not answer."""
    found = find_interpreter(python, environment)
    if found is None:
        return None
    answer = run_script(found, TARGET, environment=environment, cwd=cwd, timeout=TARGET_TIMEOUT, quick=True)
    return only_step(answer, found)


def make_installed(report: dict[str, Any] | Unknown | None, environment: Mapping[str, str], cwd: Path,
                   login: swanlab_login.Login) -> dict[str, Any]:
    """The fields of Facts that come from the interpreter's answer.

    No such interpreter: `python` is None and the rest Unknown. One that did not answer leaves all of them Unknown.
    """
    if not isinstance(report, dict):
        why = report or Unknown("there is no such Python interpreter")
        names = ("torch", "torch_attention", "packages", "requirement_conflicts", "kernels_range", "swift",
                 *(variant.field for variant in IMPLEMENTATIONS))
        return {"python": report, **dict.fromkeys(names, why),
                "swanlab": swanlab_login.make_swanlab(login, environment, cwd, why)}
    torch, packages = installed.collect_torch(report), installed.make_packages(report)
    swanlab = {"version": packages["swanlab"], "module": installed.module_file(report, "swanlab")}
    return {
        "python": decode(Python, report["python"]), "torch": torch, "packages": packages,
        "requirement_conflicts": find_conflicts(report["distributions"], report["python"]["version"]),
        "kernels_range": installed.collect_kernels_range(report), "swift": installed.collect_swift(report, environment),
        "swanlab": swanlab_login.make_swanlab(login, environment, cwd, swanlab),
        "torch_attention": find_torchs_own(torch),
        **{variant.field: collect_flash_attn(report, variant, torch) for variant in IMPLEMENTATIONS}}


#: Variables that decide how a training starts, tracks and finds its models; kept also in another spelling of case.
KEPT = frozenset((
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "HIP_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES", "RANK", "LOCAL_RANK",
    "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT", "NNODES", "NODE_RANK", "NPROC_PER_NODE",
    "SWANLAB_RUN_ID", "SWANLAB_RESUME", "SWANLAB_MODE", "SWANLAB_LOG_DIR", "SWANLAB_LOGDIR", "SWANLAB_API_HOST",
    "SWANLAB_SAVE_DIR", "SWANLAB_ROOT", "MODELSCOPE_CACHE", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT",
    "USE_HF", "CUDA_HOME", "CUDA_PATH", "HOME", "USER", "LANG", "MAX_JOBS", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH",
    "LD_LIBRARY_PATH", "SLURM_JOB_ID", "SLURM_NTASKS", "NCCL_SHM_DISABLE", "SWIFT_SINGLE_DEVICE_MODE",
    "PET_MASTER_ADDR", "PET_MASTER_PORT", "PET_NPROC_PER_NODE", *(name for pair in NODE_VARIABLES for name in pair)))


def kept_environment(environment: Mapping[str, str]) -> dict[str, str | None]:
    """The variables that checks read. Keys, tokens and secrets are not among them."""
    return {name: value for name, value in sorted(environment.items())
            if name.upper() in KEPT or name.upper().startswith("TORCHELASTIC_")}
