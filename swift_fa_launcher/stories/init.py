"""The story of a first config: look at the machine, choose what it can do, write the file, judge it as any other."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swift_fa_launcher.config.first import MAX_LENGTH, First, render_first
from swift_fa_launcher.config.layers import resolve_config, resolve_data
from swift_fa_launcher.config.schema_file import schema_line
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import LauncherError, Say, Text, refused_as
from swift_fa_launcher.files import write_whole
from swift_fa_launcher.machine.collect import collect_facts
from swift_fa_launcher.machine.facts import Facts, Gpu
from swift_fa_launcher.machine.reading import gpus_before_ampere, is_idle, visible_gpus
from swift_fa_launcher.preflight.sizes import gpu_holds
from swift_fa_launcher.stories.launch import Judgement, judge, look
from swift_fa_launcher.stories.schema import collect_schema

if TYPE_CHECKING:
    from swift_fa_launcher.config.schema import ResolvedConfig

#: A model and rows that every machine can train with, where nobody names others: one GB and 500 rows.
MODEL, DATASET = "Qwen/Qwen2.5-0.5B-Instruct", "AI-ModelScope/alpaca-gpt4-data-en#500"
#: What makes the demo, and the folder for it, which the config `swift-fa:demo` names.
TINY, DEMO = Path(__file__).parents[1] / "training" / "tiny.py", Path(".demo")
#: GiB that a token takes beside weights of 14 GiB with gradient checkpointing; less beside smaller ones, though not by much.
#: By docs/h200.md 8 packed rows took 45.5 GiB and 2 took 18.0, of some 4,700 tokens each: 1 MiB, and half as much to be safe.
_TOKEN_GIB, _OF_WEIGHTS, _LEAST = 1.5 / 1024, 14.0, 0.7
_TAKEN = 0.85  # of the free memory; the rest is the CUDA context's and what the rows' lengths scatter
_ROWS = (8, 4, 2, 1)


@dataclass(frozen=True)
class Written:
    file: Path
    judgement: Judgement


def refuse_existing(file: Path, typed: Sequence[str]) -> None:
    """Raises LauncherError where there is a file already. typed: the options that were given."""
    if file.exists():
        words = shlex.join(["swift-fa", "init", str(file), *typed, "--force"])
        raise LauncherError("config-exists",
                            Text(f"{file} exists already; nothing was written", f"{file} 已存在，没有写入任何内容"),
                            hint=(Text(f"replace it: {words}", f"替换它：{words}"),))


def write_first(file: Path, model: str, datasets: tuple[str, ...], lang: str, say: Say) -> Written:
    """A first config for this machine in `file`, whatever was there, and what the preflight says of it."""
    config = resolve_data({"swift": {"model": model, "dataset": list(datasets), "tuner_type": "lora"}})
    say(Text("looking at this machine", "正在查看本机"))
    first = choose_first(file, config, collect_facts(config, offline=True, probe=False, say=say))
    collect_schema(config, say)  # for the editor, which the first line tells of it
    return _write(file, f"{schema_line()}\n{render_first(first, lang)}", say)


def write_demo(file: Path, say: Say) -> Written:
    """A tiny model with random weights, 200 rows and a config of one line that trains with them on any machine. Raises
    LauncherError."""
    say(Text(f"making a tiny model and 200 rows in {DEMO}", f"正在 {DEMO} 中生成微型模型和 200 行数据"))
    done = subprocess.run([sys.executable, str(TINY), str(DEMO)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LauncherError("demo-not-made", where=str(DEMO), why=(done.stderr.strip() or str(done.returncode)).splitlines()[-1])
    return _write(file, f"extends: swift-fa:demo  # what it sets: swift-fa config {shlex.quote(str(file))} --explain\n", say)


def _write(file: Path, text: str, say: Say) -> Written:
    with refused_as(LauncherError("config-not-written", where=str(file))):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, text)
    written = resolve_config([file])
    return Written(file, judge(written, look(written, say=say)))


def choose_first(file: Path, config: ResolvedConfig, facts: Facts) -> First:
    """What the machine of these facts can train with: its free GPUs (all, where none is), rows that fit, SwanLab."""
    seen = visible_gpus(config, facts).gpus
    free = tuple(gpu for gpu in seen or () if is_idle(gpu)) or seen or ()
    old = {gpu.index for gpu in gpus_before_ampere(config, facts)}
    free = tuple(gpu for gpu in free if gpu.index not in old) or free
    login, swanlab = known(facts.swanlab), facts.package("swanlab")
    chosen = bool(free) and (len(free) < len(seen or ()) or len(free) > 1)
    return First(
        file=shlex.quote(str(file)), name=re.sub(r"[^0-9A-Za-z_.+-]+", "-", file.stem).strip("-.")[:100] or "first",
        model=config.swift.text("model") or "", datasets=config.swift.names("dataset"),
        on="cpu" if seen == () else "old" if free and all(gpu.index in old for gpu in free) else "gpu",
        gpus=tuple(gpu.index for gpu in free) if chosen else None, count=max(1, len(free)),
        room=rows_that_fit(config, facts, free),
        swanlab="absent" if swanlab is None else "in" if login and known(login.api_key) else "out")


def rows_that_fit(config: ResolvedConfig, facts: Facts, gpus: tuple[Gpu, ...]) -> int:
    """Packed rows of MAX_LENGTH tokens that each GPU has room for beside the weights; 1 where that cannot be told."""
    held, room = gpu_holds(config, facts), [known(gpu.free_memory_gib) for gpu in gpus]
    if held is None or not gpus or None in room:
        return 1
    row = MAX_LENGTH * _TOKEN_GIB * max(held.weights / _OF_WEIGHTS, _LEAST)
    least = min(free for free in room if free is not None)
    return next((rows for rows in _ROWS if held.total + rows * row <= _TAKEN * least), 1)
