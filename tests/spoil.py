"""Machines and configs with odd values in them: `python tests/spoil.py 10000` judges so many, and no check may raise."""

from __future__ import annotations

import json
import random
import sys
from typing import Any

from machines import build_config, config_data, machine_data
from preflight_cases import ALL

from swift_fa_launcher.decode import DecodeError
from swift_fa_launcher.errors import FactsError
from swift_fa_launcher.machine.facts import parse_facts
from swift_fa_launcher.preflight.checks import check_all

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 10**30, 10**400, -(2**63), 0.0, -0.5, 1e308, float("nan"), float("inf"),
    "", " ", "\\", "0", "-1", "true", "nan", "9.9.9", "8.0", "x" * 3000, "好\n", "a,b,,", "sm_", "sm_\u0668\u0660", "²", "http://[",
    "[", "#9", "a/b#\u0661", "GLIBC_\u0661.2' not found", "undefined symbol: _ZN99999", "libcudart.so.9", "${x}",
    [], [None], ["x", 1, {}], [[]], {}, {"unknown": "w"}, {"a": {"b": [1]}}, {"index": 1},
    {"devices": [{"index": 0, "ok": False}]},
)


def spoil(value: Any, rng: random.Random, odds: float) -> Any:
    """The plain data with odd values in some places, mostly of the right type, keys dropped and others strewn in."""
    if rng.random() < odds:
        alike = [odd for odd in ODD if type(odd) is type(value)] if rng.random() < 0.8 else ODD
        return rng.choice([*alike, None, {"unknown": "w"}])
    if isinstance(value, dict):
        kept = {k: spoil(v, rng, odds) for k, v in value.items() if rng.random() > odds}
        return kept | ({str(rng.choice(ODD)): rng.choice(ODD)} if rng.random() < odds else {})
    return [spoil(v, rng, odds) for v in value] if isinstance(value, list) else value


def run_spoilt(seed: int) -> bool:
    """Judges one spoilt machine and config; whether both could be read at all."""
    rng = random.Random(seed)
    _, facts, swift, sections = rng.choice(ALL).values
    odds = rng.choice((0.005, 0.02, 0.1))
    saved, written = machine_data(**facts), config_data(swift, **sections)
    keys = ("sequence_parallel_size", "ddp_timeout", "lora_rank", "resume_from_checkpoint", "packing_cache", "swanlab_token",
            "bf16", "dataset_num_proc", "save_total_limit", "max_steps", "save_steps", "train_type", "model_type", "deepspeed")
    written["swift"] |= {key: rng.choice(ODD) for key in rng.sample(keys, 3)}
    try:
        read = parse_facts({key: spoil(value, rng, odds) if key != "schema" else 1 for key, value in saved.items()}, "spoilt")
        meant = build_config({section: {key: spoil(value, rng, odds) for key, value in group.items()}
                              for section, group in written.items()})
    except (FactsError, DecodeError):
        return False
    for finding in check_all(meant, read):
        json.dumps(finding.to_json("zh"))
    return True


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(f"{sum(map(run_spoilt, range(number)))} of {number} could be read, and none gave a traceback")
