"""The whole of it on a real GPU. Needs FLASH_ATTN_WHEEL (a wheel that fits the machine) and an environment without
flash-attn, TRAINING_PYTHON's or this one; changes that environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("end_to_end.py")


@pytest.mark.gpu
def test_the_main_job_end_to_end(tmp_path: Path) -> None:
    from gpu.end_to_end import has_gpu

    if not has_gpu():
        pytest.skip("no NVIDIA GPU here")
    wheel = os.environ.get("FLASH_ATTN_WHEEL")
    if not wheel:
        pytest.skip("FLASH_ATTN_WHEEL names no wheel to install")
    python = os.environ.get("TRAINING_PYTHON", sys.executable)
    done = subprocess.run([sys.executable, str(SCRIPT), wheel, str(tmp_path), "--python", python], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:]
