"""A launch as a job of Slurm: sbatch's words, the script, and what srun starts on each node. Pure.

The script is the same text for every run; each value travels as an argument of its own, so no name can be read as a command.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.errors import ConfigError, Text

#: USR1 is Slurm's warning, which the job hears once it is up. $1: lines that run first (`launch.slurm.setup`); the rest: the
#: command.
SCRIPT = """#!/bin/bash
trap "" USR1
set -e
eval "$1"
set +e
shift
exec "$@"
"""
SCRIPT_NAME, LOG_NAME, NODES = "job.sh", "slurm.log", "nodes"
#: Seconds before a time limit in which a training that may go on saves and ends; Slurm's warning comes up to 90 s earlier.
WARNING = 120
#: Keys of `launch.slurm` that are no options of sbatch, all lists of texts: lines run first on every node; words for srun; words
#: before the command, for apptainer; further words for sbatch.
LISTS = ("setup", "srun", "prefix", "extra")
#: What the launcher says itself.
_OWN = ("output", "error", "open_mode", "chdir", "parsable", "wait", "wrap", "array", "test_only", "ntasks", "ntasks_per_node",
        "export", "input", "help", "version")
_GPUS = ("gpus", "gpus_per_node", "gpus_per_task", "gres")
#: What the nodes' own ports begin at; a job's number is added, so that two jobs on one node differ.
FIRST_PORT, PORTS = 20_000, 10_000


def sbatch_words(config: ResolvedConfig, *, run_id: str, run_dir: str, cwd: str, after: str | None = None) -> tuple[str, ...]:
    """sbatch and its options. after: a job that must have ended, however it did. Raises ConfigError for an option that the
    launcher sets itself."""
    slurm = {name.replace("-", "_"): value for name, value in config.launch.slurm.items()}
    if taken := [name for name in slurm if name in _OWN]:
        raise ConfigError("slurm-option-own", Text(f"launch.slurm.{taken[0]} is set by the launcher itself",
                                                   f"launch.slurm.{taken[0]} 由启动器自行设置"),
                          where=str(config.origin(f"launch.slurm.{taken[0]}") or ""))
    wanted: dict[str, Any] = {"job_name": run_id, "nodes": config.launch.nnodes or 1}
    if not config.swift.flag("use_cpu") and not any(slurm.get(name) for name in _GPUS):
        wanted["gpus_per_node"] = config.launch.nproc_per_node or 1
    wanted["requeue"] = True
    if config.launch.restarts:
        wanted["signal"] = f"B:USR1@{WARNING}"
    wanted |= {name: value for name, value in slurm.items() if name not in LISTS}
    if after:
        wanted["dependency"] = ",".join((*_list(wanted, "dependency"), f"afterany:{after}"))
    if wanted["requeue"] is False:
        wanted["no_requeue"] = True
    own = ("--ntasks-per-node=1", "--open-mode=append", f"--output={_file_pattern(f'{run_dir}/{LOG_NAME}')}", f"--chdir={cwd}",
           "--export=ALL")
    return ("sbatch", *_options(wanted), *_list(slurm, "extra"), *own)


def _file_pattern(name: str) -> str:
    """The name of a file as sbatch takes it: `%` begins a pattern, unless there is a backslash, which takes its sense from all of
    them and vanishes (Slurm 22.05, slurmd's io.c)."""
    return name.replace("\\", "\\\\") if "\\" in name else name.replace("%", "%%")


def _options(wanted: Mapping[str, Any]) -> Iterator[str]:
    for name, value in wanted.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            yield option
        elif isinstance(value, (list, tuple)):
            yield f"{option}={','.join(map(str, value))}"
        elif value is not None and value is not False:
            yield f"{option}={value}"


def job_words(config: ResolvedConfig, *, python: str, run_dir: str) -> tuple[str, ...]:
    """The script with its arguments, behind sbatch's options."""
    return (f"{run_dir}/{SCRIPT_NAME}", _setup(config), python, "-m", "swift_fa_launcher", "node", "job", run_dir)


def step_words(config: ResolvedConfig, step: str, *, python: str, run_dir: str, cpus: str | None) -> tuple[str, ...]:
    """srun and what it starts on every node. cpus: a task's, which srun of 22.05 and later does not inherit.

    kill-on-bad-exit: or the other nodes live on for ever. mpi=none: torchrun does its own.
    """
    tasks = (*((f"--cpus-per-task={cpus}",) if cpus else ()), "--ntasks-per-node=1", "--kill-on-bad-exit=1", "--mpi=none")
    inner = (*_list(config.launch.slurm, "prefix"), python, "-m", "swift_fa_launcher", "node", step, run_dir)
    return ("srun", *tasks, *_list(config.launch.slurm, "srun"), "bash", "-c", SCRIPT, "swift-fa", _setup(config), *inner)


def _setup(config: ResolvedConfig) -> str:
    return "\n".join(_list(config.launch.slurm, "setup"))


def _list(slurm: Mapping[str, Any], name: str) -> Sequence[str]:
    value = slurm.get(name) or ()
    return tuple(map(str, value if isinstance(value, (list, tuple)) else (value,)))


def job_port(number: str) -> int:
    """Where the first node of a job listens if nobody says otherwise."""
    return FIRST_PORT + int(number) % PORTS
