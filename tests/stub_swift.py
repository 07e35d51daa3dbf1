"""What bash really gives to `swift sft`: a script run by bash with stubs first on PATH that write down their words and variables.

Beside it, what the plan of the imported config would give, and where the two differ.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import yaml
from machines import ARGUMENTS_4_6, machine

from swift_fa_launcher.config.layers import resolve_text
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.importing.compare import same_words, split_arguments
from swift_fa_launcher.importing.draft import Draft
from swift_fa_launcher.importing.starts import LAUNCH_KEYS
from swift_fa_launcher.launch.plan import PLUGIN, LaunchPlan, make_plan
from swift_fa_launcher.stories.import_script import Source, make_one

#: Programs that only write down how they were called.
STUBS = ("swift", "torchrun", "accelerate", "deepspeed", "megatron", "python", "python3", "pip", "conda", "module", "sbatch",
         "scontrol", "nvidia-smi", "hostname", "tee")
#: Programs that a script may really use for its text.
REAL = ("expr", "cat", "dirname", "basename", "tr", "wc", "awk", "cut", "head", "seq", "env", "nohup", "date", "mkdir", "bc",
        "bash", "sh", "sed", "printf", "sleep")
#: Wrappers that start the rest of their words, options aside.
SRUN = """#!/bin/bash
while [[ $1 == -* ]]; do case $1 in -N|-n|-p|-w|-c) shift 2;; *) shift;; esac; done
exec "$@"
"""
RECORDER = """#!/bin/sh
at="$STUB_RECORDS/$(/bin/date +%s%N)-$$"
printf '%s\\0' "${0##*/}" "$@" > "$at.argv.new"
/usr/bin/env -0 > "$at.env"
/bin/mv "$at.argv.new" "$at.argv"
"""
HOME = "/home/tester"
#: Variables that bash itself or this test sets.
OUTSIDE = ("PATH", "HOME", "PWD", "OLDPWD", "SHLVL", "_", "STUB_RECORDS", "LANG")
#: Variables and arguments that the launcher adds for itself.
OURS = ("PYTHONUNBUFFERED", "SWIFT_FA_RUN_ID", "SWIFT_FA_PLUGIN", "SWANLAB_MODE", "SWANLAB_LOG_DIR", "CUDA_DEVICE_ORDER")


@dataclass(frozen=True)
class Called:
    """One call of a stub: the program's name and words, and its variables without those of the test."""

    words: tuple[str, ...]
    env: Mapping[str, str]


def make_stubs(folder: Path) -> Path:
    """A folder for PATH."""
    folder.mkdir()
    for name in STUBS:
        (folder / name).write_text(RECORDER)
        (folder / name).chmod(0o755)
    (folder / "srun").write_text(SRUN)
    (folder / "srun").chmod(0o755)
    for name in REAL:
        real = next((Path(place, name) for place in ("/usr/bin", "/bin") if Path(place, name).exists()), None)
        if real:
            (folder / name).symlink_to(real)
    return folder


def run_in_bash(script: Path, stubs: Path, records: Path, cwd: Path, given: Mapping[str, str] | None = None) -> list[Called]:
    """The calls of stubs, in order, that bash makes of the script."""
    records.mkdir()
    env = {"PATH": str(stubs), "HOME": HOME, "LANG": "C.UTF-8", "STUB_RECORDS": str(records), **(given or {})}
    subprocess.run(["/bin/bash", str(script)], cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, timeout=30, check=False)
    calls = []
    for file in sorted(records.glob("*.argv")):
        words = file.read_bytes().decode("utf-8", "surrogateescape").split("\0")[:-1]
        pairs = file.with_suffix(".env").read_bytes().decode("utf-8", "surrogateescape").split("\0")[:-1]
        seen = dict(pair.partition("=")[::2] for pair in pairs)
        calls.append(Called(tuple(words), {name: value for name, value in seen.items()
                                           if name not in OUTSIDE or (name == "PATH" and value != str(stubs))}))
    return calls


def imported(text: str, path: Path | None = None, number: int | None = None, lang: str = "en") -> Draft:
    """The draft of a script, as the command makes it where ms-swift 4.6 is installed."""
    source = Source(str(path) if path else "train.sh", text, path)
    return make_one(source, number, lang, ARGUMENTS_4_6)


def plan_of(draft: Draft, given: Mapping[str, str] | None = None) -> tuple[ResolvedConfig, LaunchPlan]:
    """The config and its plan, in an environment like that of `run_in_bash`."""
    facts = replace(machine(), ms_swift_args=ARGUMENTS_4_6)
    with mock.patch.dict(os.environ, {"HOME": HOME, **(given or {})}, clear=False):
        config = resolve_text(draft.text, Path("train.yaml"))
    return config, make_plan(config, facts, run_id="one", run_dir="/runs/one", cwd="/work")


def unlike(called: Called, draft: Draft, given: Mapping[str, str] | None = None, cwd: Path = Path()) -> list[str]:
    """Where the plan differs from `swift sft …` as bash called it; empty where nowhere."""
    _, plan = plan_of(draft, given)
    assert called.words[:2] == ("swift", "sft"), called.words
    return [*unlike_words(with_yaml(called.words[2:], cwd), plan), *unlike_env(called.env, plan, given or {})]


def with_yaml(words: Sequence[str], cwd: Path) -> tuple[str, ...]:
    """The words with a YAML that is named first in its place, as ms-swift 4.6's main puts it there."""
    if not words or not words[0].endswith((".yaml", ".yml")):
        return tuple(words)
    found = []
    for name, value in yaml.safe_load((cwd / words[0]).read_text(encoding="utf-8")).items():
        if name != "ENV":
            found += [f"--{name}", *(map(str, value) if isinstance(value, list) else
                                     [json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)])]
    return (*found, *words[1:])


def unlike_words(words: tuple[str, ...], plan: LaunchPlan) -> list[str]:
    script, ours = split_arguments(words), split_arguments(plan.argv[2:])
    ours["external_plugins"] = [word for word in ours.get("external_plugins", []) if word != PLUGIN]
    ours = {name: said for name, said in ours.items() if said or name != "external_plugins"}
    return [f"--{name}: bash {script.get(name)}, plan {ours.get(name)}" for name in {**script, **ours}
            if not same_words(script.get(name), ours.get(name))]


def unlike_env(env: Mapping[str, str], plan: LaunchPlan, given: Mapping[str, str], without: tuple[str, ...] = ()) -> list[str]:
    wanted = {name: value for name, value in env.items() if given.get(name) != value and name not in without}
    found = {name: value for name, value in plan.env.items() if name not in OURS and given.get(name) != value}
    found |= {name: plan.env[name] for name in wanted if name in plan.env}
    return [f"{name}: bash {wanted.get(name)!r}, plan {found.get(name)!r}" for name in sorted({*wanted, *found})
            if wanted.get(name) != found.get(name)]


__all__ = ["LAUNCH_KEYS", "Called", "imported", "make_stubs", "plan_of", "run_in_bash", "unlike", "unlike_env", "unlike_words"]
