"""How fast the cards that a training will use multiply matrices, measured in the training interpreter."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Unknown
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.interpreter import only_step, run_script
from swift_fa_launcher.machine.probe import visible
from swift_fa_launcher.machine.reading import interpreter, visible_gpus

SCRIPT = Path(__file__).with_name("matrix_script.py")
TIMEOUT = 180.0  # seconds; some five with torch's import, far more from a cold network file system


def measure_matrix_rate(config: ResolvedConfig, facts: Facts) -> Mapping[str, Any] | Unknown:
    """`flops` (a second), `dtype`, `size` and `device` of a large matrix product on the first card of the training, on the
    processor where it trains there; Unknown(why) where nothing was measured."""
    executable = interpreter(facts)
    if executable is None:
        return Unknown("the training interpreter does not answer")
    gpus = visible_gpus(config, facts).gpus
    on_cpu = bool(config.swift.flag("use_cpu") or config.swift.flag("no_cuda"))
    named = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(config.launch.gpus[0])} if config.launch.gpus else {}
    environment = {**os.environ, **config.env, **(visible(gpus[:1]) if gpus else named)}
    answer = run_script(executable, SCRIPT, json.dumps({"cpu": on_cpu}), environment=environment, cwd=Path.cwd(),
                        timeout=TIMEOUT)
    told = only_step(answer, executable)
    return Unknown(str(told["error"])) if isinstance(told, dict) and "error" in told else told
