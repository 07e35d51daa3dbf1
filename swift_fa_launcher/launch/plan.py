"""The plan of a launch: one frozen value that is printed, run and recorded. Pure.

The plan names secrets and never holds one: their values go from the launcher's environment, or from `env` in the config,
straight into the child's.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.config.swift_args import render_arguments, translate_config, written_texts
from swift_fa_launcher.decode import encode, known
from swift_fa_launcher.errors import Text
from swift_fa_launcher.flash.provider import KERNEL, PACKAGE, choose_provider
from swift_fa_launcher.launch.stall import STACKS_SIGNAL
from swift_fa_launcher.launch.swanlab import make_swanlab_settings
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.reading import LAUNCH_VARIABLES, chosen_port, interpreter
from swift_fa_launcher.secrets import is_secret_name

SCHEMA = 1

#: Given to the training through --external_plugins; told what to do by the variable, a JSON object.
PLUGIN = str(PurePath(__file__).parents[1] / "training" / "swift_fa_plugin.py")
PLUGIN_VARIABLE = "SWIFT_FA_PLUGIN"


@dataclass(frozen=True)
class LaunchPlan:
    """What will be started.

    argv: the command as one would type it. starts: what the launcher executes in its place, the same program that `swift`
    itself starts (its own parent process imports torch only to find it). env: the variables that the launcher sets.
    secrets: names of variables that the child inherits and nothing ever shows. cwd, run_dir: folders, absolute.
    """

    argv: tuple[str, ...]
    starts: tuple[str, ...]
    env: Mapping[str, str]
    secrets: tuple[str, ...]
    cwd: str
    run_dir: str

    def to_json(self) -> dict[str, Any]:
        """The plan as plain data; `decode` reads it back."""
        return {"schema": SCHEMA, **encode(self)}


def make_plan(config: ResolvedConfig, facts: Facts, *, run_id: str, run_dir: str, cwd: str) -> LaunchPlan:
    """The plan for this config on the machine of these facts."""
    settings = make_swanlab_settings(config, facts.package("swanlab"), run_dir)
    own_jobs = {"attention": _attention_job(config, facts), "speedups": _speedups_job(config, run_dir),
                "monitor": monitor_job(config, run_dir), "pulse": _pulse_job(config, run_dir)}
    jobs = {**settings.jobs, **{name: job for name, job in own_jobs.items() if job}}
    known_arguments = known(facts.ms_swift_args)
    translated = translate_config(config, known_arguments, facts.package("ms-swift"))
    arguments = {**translated.arguments, **_model_check(config, facts), **settings.arguments}
    if jobs:
        arguments["external_plugins"] = [*config.swift.names("external_plugins"), PLUGIN]
    words = render_arguments(arguments, written_texts(config, translated), known_arguments)
    open_env = {name: value for name, value in config.env.items() if not is_secret_name(name)}
    plugin_env = {PLUGIN_VARIABLE: json.dumps(jobs, ensure_ascii=False)} if jobs else {}
    launch = _launch_env(config, facts)
    # what `launch` writes goes first and before `env`, as every check reads it
    env = {"PYTHONUNBUFFERED": "1", **launch, **settings.env, **plugin_env, **open_env, **launch, "SWIFT_FA_RUN_ID": run_id}
    secrets = dict.fromkeys((*settings.secrets, *(name for name in config.env if name not in open_env)))
    return LaunchPlan(argv=("swift", "sft", *words), starts=(*_program(config, facts, env), *words),
                      env=MappingProxyType(env), secrets=tuple(secrets), cwd=cwd, run_dir=run_dir)


def monitor_job(config: ResolvedConfig, run_dir: str) -> dict[str, Any] | None:
    """The folder for its files, and why the model must run flash attention ("" where it need not); None for no monitor.

    Packing counts as asking for it, unless the user allowed packing without.
    """
    if not config.run.monitor:
        return None
    swift = config.swift
    if "flash" in (swift.attn_impl or ""):
        wants = f"attn_impl={swift.attn_impl}"
    elif swift.packs and "packing-needs-flash-attn" not in config.preflight.allow:
        wants = "packing" if swift.flag("packing") else "padding_free"
    else:
        wants = ""
    return {"folder": run_dir, "wants": wants}


def _pulse_job(config: ResolvedConfig, run_dir: str) -> dict[str, Any] | None:
    """The folder for its files and the signal that asks for stacks; None where nobody waits for a stall."""
    watched = config.run.monitor and config.launch.stall_timeout is not None
    return {"folder": run_dir, "signal": STACKS_SIGNAL} if watched else None


def _speedups_job(config: ResolvedConfig, run_dir: str) -> dict[str, Any] | None:
    """How much may change (`exact`: not one bit; `all`: up to rounding) and the folder that is told; None for no speed-ups."""
    level = config.run.speedups
    return None if level == "never" else {"level": level, "folder": run_dir}


def _attention_job(config: ResolvedConfig, facts: Facts) -> dict[str, Any] | None:
    """What takes the package's place; None where nothing does."""
    provider, kernel = choose_provider(config, facts), known(facts.hub_kernel)
    if provider is None or provider.name == PACKAGE or not provider.there:
        return None
    named = {"repo": known(kernel.repo), "revision": known(kernel.revision)} if kernel and provider.name == KERNEL else {}
    return {"provider": provider.name, **named}


def render_command(plan: LaunchPlan, lang: str = "en") -> str:
    """The plan as one would type it: the variables, then one argument on a line; no secret."""
    lines = [f"cd {shlex.quote(plan.cwd)}"]
    if plan.secrets:
        taken = Text("taken from your environment (values hidden):", "取自您的环境变量（不显示取值）：").render(lang)
        lines.append(f"# {taken} {' '.join(plan.secrets)}")
    starts = Text("runs directly, instead of the `swift sft` below:", "直接运行以下程序，代替下面的 `swift sft`：").render(lang)
    lines.append(f"# {starts} {shlex.join(plan.starts[:len(plan.starts) - len(plan.argv) + 2])} ...")
    command = [f"{name}={shlex.quote(value)}" for name, value in plan.env.items()]
    command.append(shlex.join(plan.argv[:2]))
    command += [f"  {shlex.join(group)}" for group in _argument_groups(plan.argv[2:])]
    return "\n".join([*lines, " \\\n".join(command)])


def _argument_groups(words: tuple[str, ...]) -> list[list[str]]:
    groups: list[list[str]] = []
    for word in words:
        if re.match(r"--[A-Za-z]", word) or not groups:
            groups.append([word])
        else:
            groups[-1].append(word)
    return groups


def _launch_env(config: ResolvedConfig, facts: Facts) -> dict[str, str]:
    launch = replace(config.launch, master_port=chosen_port(config, facts) or config.launch.master_port)
    given = {name: getattr(launch, key.partition(".")[2]) for name, key in LAUNCH_VARIABLES.items()}
    # CUDA numbers the fastest card first unless told to count as nvidia-smi does
    env = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if launch.gpus is not None else {}
    return env | {name: ",".join(map(str, value)) if name == "CUDA_VISIBLE_DEVICES" else str(value)
                  for name, value in given.items() if value is not None}


def _program(config: ResolvedConfig, facts: Facts, env: Mapping[str, str]) -> tuple[str, ...]:
    """The program that `swift sft` starts, found without importing ms-swift.

    Source: swift/cli/main.py of 3.8.3, 3.12.6, 4.0.4 and 4.6.0, which all run `python swift/cli/sft.py ARGUMENTS`, or
    `python -m torch.distributed.run` with the launch variables as options and the same script.
    """
    python, script = interpreter(facts) or config.launch.python or "python", swift_script(facts)
    if script is None:
        return (python, "-m", "swift.cli.main", "sft")
    seen = {name: env.get(name, facts.env.get(name)) for name in LAUNCH_VARIABLES if name != "CUDA_VISIBLE_DEVICES"}
    if seen["NPROC_PER_NODE"] is None and seen["NNODES"] is None:
        return (python, script)
    options = [word for name, value in seen.items() if value is not None for word in (f"--{name.lower()}", value)]
    return (python, "-m", "torch.distributed.run", *options, script)


def swift_script(facts: Facts) -> str | None:
    """ms-swift's own script of `swift sft`; None where its module is not known."""
    swift = known(facts.swift)
    module = known(swift.module) if swift else None
    return str(PurePath(module).parent / "cli" / "sft.py") if module else None


def _model_check(config: ResolvedConfig, facts: Facts) -> dict[str, Any]:
    """`check_model false` where ms-swift's question to the hub would only wait.

    It asks ModelScope whether a model is the latest; with no hub in reach that took 22 s before training went on (seen with
    4.6.0). A local folder has no newer version to ask for.
    """
    hub = known(facts.network.get("model-hub"))
    known_arguments = known(facts.ms_swift_args)
    useless = facts.path(config.swift.text("model")).kind == "dir" or (hub is not None and hub.ok is False)
    if "check_model" in config.swift or not useless or (known_arguments and "check_model" not in known_arguments):
        return {}
    return {"check_model": False}
