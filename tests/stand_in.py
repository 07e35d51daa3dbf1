"""A folder to launch in without torch or ms-swift: a tiny model, rows, a config, and a Python whose ms-swift is a stand-in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import tiny

TRAINING = """
import pathlib
out = pathlib.Path("output/v0-20261127-101112").absolute()
(out / "checkpoint-2").mkdir(parents=True, exist_ok=True)
print(f"[INFO:swift] output_dir: {out}")
for i in (1, 2):
    print({"loss": f"1.{i}", "grad_norm": "0.5", "global_step/max_steps": f"{i}/2"})
print("[INFO:swift] End time of running main: 2026-11-27")
raise SystemExit(7)
"""


def make_stage(folder: Path, training: str = TRAINING) -> Path:
    """The folder, with c.yaml. training: what stands for ms-swift's `sft.py`; it ends with 7."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    site = next((folder / "venv" / "lib").glob("python3*")) / "site-packages"
    (site / "swift" / "cli").mkdir(parents=True)
    for module, text in (("__init__", ""), ("cli/__init__", ""), ("cli/sft", training)):
        (site / "swift" / f"{module}.py").write_text(text)
    (site / "ms_swift-4.6.0.dist-info").mkdir()
    (site / "ms_swift-4.6.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: ms-swift\nVersion: 4.6.0\n")
    tiny.make_tiny_model(folder / tiny.MODEL_NAME)
    tiny.make_chat_rows(folder / tiny.ROWS_NAME, 20)
    (folder / "c.yaml").write_text(
        tiny.CPU_LORA.format(folder=folder) + f"\n  max_steps: 2\nswanlab: {{enabled: false}}\nrun: {{name: one, root: runs}}\n"
        f"launch: {{python: {folder / 'venv/bin/python'}}}\npreflight: {{allow: [torch-missing, package-missing]}}\n")
    return folder
