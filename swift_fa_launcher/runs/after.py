"""What one does with a model that has been trained: ms-swift's commands for it, with the run's own paths.

Sources: swift/arguments/base_args/base_args.py of 4.6.0 (`--adapters` or `--model` of a checkpoint, whose args.json says the
rest; adapters_can_be_merged for what `--merge_lora` merges; 3.x is alike), swift/llm/utils/argument.py of 2.6 (`--ckpt_dir`).
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from swift_fa_launcher.files import read_group, text_of
from swift_fa_launcher.runs.record import RunRecord

_MERGED = ("lora", "longlora", "llamapro", "adalora")
_EVAL_DATASET = "gsm8k"  # any of evalscope's: a name that exists


def next_commands(folder: Path, record: RunRecord) -> tuple[str, ...]:
    """To talk to the trained model, to merge and to measure it, as far as that makes sense for what was trained; none where there
    is no checkpoint, or nothing that says what is in it."""
    checkpoint = Path(record.checkpoint) if record.checkpoint else None
    told = read_group(checkpoint / "args.json") if checkpoint else {}
    if checkpoint is None or not told:
        return ()
    plan = read_group(folder / "plan.json")
    packages = dict(line.split("==", 1) for line in text_of(folder / "packages.txt").split() if "==" in line)
    adapter = (checkpoint / "adapter_config.json").is_file()
    old = packages.get("ms-swift", "").startswith("2.")
    start, python = _start(plan, record, told)
    model = ["--ckpt_dir" if old else "--adapters" if adapter else "--model", str(checkpoint)]
    commands = [["infer", *model, "--stream", "true"]]
    if adapter and (told.get("tuner_type") or told.get("train_type") or told.get("sft_type")) in _MERGED:
        commands.append(["export", *model, "--merge_lora", "true"])
    lines = [f"{start} {shlex.join(words)}" for words in commands]
    if told.get("task_type") in (None, "causal_lm"):
        missing = "" if "evalscope" in packages else f"{shlex.join([python, '-m', 'pip', 'install', 'evalscope'])} && "
        lines.append(f"{missing}{start} {shlex.join(['eval', *model, '--eval_dataset', _EVAL_DATASET, '--eval_limit', '20'])}")
    return tuple(lines)


def _start(plan: dict[str, object], record: RunRecord, told: dict[str, object]) -> tuple[str, str]:
    """What such a command begins with, and the training's Python: in the run's folder where the model is named from there, on the
    first of its GPUs, by the `swift` beside its Python."""
    starts, env = plan.get("starts"), plan.get("env")
    python = str(starts[0]) if isinstance(starts, list) and starts else "python"
    beside = Path(python).with_name("swift")
    swift = ["swift"] if (found := shutil.which("swift")) and os.path.realpath(found) == os.path.realpath(beside) else \
        [str(beside)] if beside.is_file() else [python, "-m", "swift.cli.main"]
    gpus = str(env.get("CUDA_VISIBLE_DEVICES") or "") if isinstance(env, dict) else ""
    model = Path(str(told.get("model") or "/"))
    from_there = not model.is_absolute() and Path(record.cwd, model).exists() and os.path.realpath(record.cwd) != os.getcwd()
    there = f"cd {shlex.quote(record.cwd)} && " if from_there else ""
    gpu = f"CUDA_VISIBLE_DEVICES={shlex.quote(gpus.split(',')[0])} " if gpus else ""
    return f"{there}{gpu}{shlex.join(swift)}", python
