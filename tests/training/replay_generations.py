"""Trains a tiny model with torch's own flash attention under the ms-swift that is installed, or under others:

    python tests/training/replay_generations.py [FOLDER ...]

A FOLDER holds another ms-swift with what it wants beside torch, and goes before what is installed:

    pip install --no-deps --target FOLDER ms-swift==3.8.3 transformers==4.55.4 'tokenizers<0.22' peft==0.17.1 trl==0.20.0 \
        datasets==3.6.0 'huggingface_hub<1' accelerate==1.10.1 'fsspec<=2025.3.0' 'dill<0.3.9' 'multiprocess<0.70.17'

Prints, for each, the losses of six steps unpacked with SDPA and padding-free through the plugin up to the kernel's call (on a
CPU plain attention stands in for the kernel), how many rows the kernel was given, and packing's losses. Exits 1 where the first
two differ by more than rounding, or packing fails.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import tiny

HERE = Path(__file__).resolve().parent
PLUGIN = HERE.parents[1] / "swift_fa_launcher" / "training" / "swift_fa_plugin.py"
STEPS, NEAR = 6, 2e-4


def make_material(folder: Path) -> Path:
    tiny.make_tiny_model(folder / tiny.MODEL_NAME)
    tiny.make_chat_rows(folder / tiny.ROWS_NAME, 40)
    return folder


def train(material: Path, output: Path, *words: str, generation: Path | None = None,
          job: dict[str, str] | None = None) -> list[float]:
    """The losses of each step. job: what the plugin takes for the package. Raises CalledProcessError with the output."""
    jobs = json.dumps({"attention": job} if job else {})
    paths = os.pathsep.join(filter(None, (str(generation or ""), os.environ.get("PYTHONPATH"))))
    plugins = ("--external_plugins", str(HERE / "row_by_row.py"), str(PLUGIN)) if job else ()
    subprocess.run(
        [sys.executable, "-m", "swift.cli.main", "sft", "--model", str(material / tiny.MODEL_NAME), "--model_type", "qwen2",
         "--template", "qwen2_5", "--dataset", str(material / tiny.ROWS_NAME), "--torch_dtype", "float32", "--use_cpu", "true",
         "--fp16", "false", "--bf16", "false", "--max_steps", str(STEPS), "--logging_steps", "1", "--save_strategy", "no",
         "--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "1", "--learning_rate", "1e-3", "--seed", "7",
         "--lora_dropout", "0", "--split_dataset_ratio", "0", "--max_length", "256", "--output_dir", str(output),
         "--add_version", "false", "--dataloader_num_workers", "0", "--report_to", "none", "--check_model", "false",
         *words, *plugins],
        env={**os.environ, "PYTHONPATH": paths, "SWIFT_FA_PLUGIN": jobs, "KERNEL_CALLS": str(output) + ".calls",
             "CUDA_VISIBLE_DEVICES": "", "MODELSCOPE_CACHE": str(output.parent / "cache")},
        cwd=output.parent, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = (output / "logging.jsonl").read_text(encoding="utf-8").splitlines()
    return [line["loss"] for line in map(json.loads, lines) if "loss" in line]


def compare(generation: Path | None, folder: Path) -> tuple[list[float], list[float], list[float], list[list[int]]]:
    """(losses with SDPA, padding-free and packed through the plugin; the rows of each call of the kernel)."""
    make_material(folder)
    plain = train(folder, folder / "plain", "--attn_impl", "sdpa", generation=generation)
    free, packed = (train(folder, folder / way, "--attn_impl", "flash_attn", f"--{way}", "true", generation=generation,
                          job={"provider": "torch"}) for way in ("padding_free", "packing"))
    calls = [ast.literal_eval(line) for line in (folder / "padding_free.calls").read_text().splitlines()]
    return plain, free, packed, calls


def main(generations: Sequence[Path | None]) -> int:
    wrong = 0
    for generation in generations:
        with tempfile.TemporaryDirectory() as folder:
            try:
                plain, free, packed, calls = compare(generation, Path(folder))
            except subprocess.CalledProcessError as error:
                print(f"{generation or 'installed'}: failed\n{error.stdout[-3000:]}")
                wrong += 1
                continue
        off = max(abs(a - b) for a, b in zip(plain, free, strict=True))
        wrong += off > NEAR or not calls
        print(f"{generation or 'installed'}: sdpa {plain}, padding_free {free}: at most {off:.1e} apart; the kernel was called "
              f"{len(calls)} times for {sum(map(len, calls))} rows; packing {packed}", flush=True)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main([Path(word).resolve() for word in sys.argv[1:]] or [None]))
