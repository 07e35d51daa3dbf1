"""The installed ms-swift refuses what the checks refuse, and takes the neighbours: its own SftArguments, on a tiny model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from machines import config_data, machine
from tiny import make_chat_rows, make_tiny_model

from swift_fa_launcher.config.layers import resolve_data
from swift_fa_launcher.config.swift_args import render_arguments
from swift_fa_launcher.findings.finding import blocking
from swift_fa_launcher.preflight.checks import check_all

pytestmark = pytest.mark.stack

BEST, VALIDATED = {"load_best_model_at_end": True}, {"split_dataset_ratio": 0.1}
#: The arguments, and the code that refuses them; empty where ms-swift takes them.
CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("", {}),
    ("arg-conflict", {"streaming": True, "max_steps": 9, "lazy_tokenize": True}),
    ("", {"streaming": True, "max_steps": 9}),
    ("arg-conflict", {"warmup_ratio": 0.1, "warmup_steps": 10}), ("", {"warmup_ratio": 0.1}),
    ("arg-invalid", {"warmup_ratio": 1}), ("arg-invalid", {"warmup_steps": -1}), ("", {"warmup_ratio": 0.99}),
    ("arg-conflict", {"fsdp": "fsdp2", "save_only_model": True}), ("", {"fsdp": "fsdp2"}),
    ("", {"fsdp": {"fsdp_config": {"state_dict_type": "FULL_STATE_DICT"}}, "save_only_model": True}),
    ("arg-conflict", {"fp16": True, "bf16": True}), ("arg-conflict", {"fp16": True, "torch_dtype": "bfloat16"}),
    ("", {"fp16": True, "torch_dtype": "float16"}), ("", {"fp16": True, "bf16": False, "torch_dtype": "bfloat16"}),
    ("arg-conflict", {"bf16": True, "torch_dtype": "float16"}), ("", {"fp16": True, "torch_dtype": "float32"}),
    ("arg-conflict", {"fp16_full_eval": True, "bf16_full_eval": True}),
    ("arg-conflict", {"lr_scheduler_type": "reduce_lr_on_plateau"}),
    ("", {"lr_scheduler_type": "reduce_lr_on_plateau", **VALIDATED}),
    ("arg-conflict", {"lr_scheduler_type": "greedy", **VALIDATED, "eval_strategy": "no"}),
    ("arg-conflict", BEST), ("", {**BEST, **VALIDATED}), ("", {**BEST, "save_strategy": "no"}),
    ("arg-conflict", {**BEST, **VALIDATED, "eval_strategy": "epoch"}),
    ("arg-conflict", {**BEST, **VALIDATED, "eval_steps": 200}),
    ("", {**BEST, **VALIDATED, "eval_steps": 100}), ("arg-conflict", {**BEST, **VALIDATED, "save_strategy": "best"}),
    ("", {**BEST, **VALIDATED, "save_strategy": "best", "eval_strategy": "steps", "eval_steps": 7}),
    ("", {"save_strategy": "best"}),
    ("arg-conflict", {"dataloader_prefetch_factor": 4, "dataloader_num_workers": 0}), ("", {"dataloader_num_workers": 0}),
    ("arg-conflict", {"quant_method": "eetq", "quant_bits": 4}), ("", {"quant_method": "eetq", "quant_bits": 8}),
    ("arg-missing", {"quant_method": "hqq"}), ("arg-missing", {"task_type": "seq_cls"}),
    ("", {"task_type": "seq_cls", "num_labels": 3}),
    ("arg-conflict", {"quant_method": "bnb", "quant_bits": 3}), ("arg-conflict", {"quant_method": "quanto", "quant_bits": 3}),
    ("", {"quant_method": "quanto", "quant_bits": 8}),
    ("package-missing", {"use_liger_kernel": True}), ("package-missing", {"eval_use_evalscope": True}),
    ("package-missing", {"predict_with_generate": True, **VALIDATED}), ("", {"predict_with_generate": False, **VALIDATED}),
)
PROGRAM = """
import json, sys
from swift.arguments import SftArguments
from swift.utils import parse_args
for words in json.loads(sys.stdin.read()):
    try:
        parse_args(SftArguments, words)
        said = None
    except BaseException as error:
        said = f"{type(error).__name__}: {error}"
    print("SAID " + json.dumps(said), flush=True)
"""


def test_ms_swift_says_the_same(tmp_path: Path) -> None:
    model, rows = make_tiny_model(tmp_path / "tiny"), make_chat_rows(tmp_path / "chat.jsonl", 20)
    common = {"model": str(model), "model_type": "qwen2", "template": "qwen2_5", "dataset": [str(rows)], "use_cpu": True,
              "output_dir": str(tmp_path / "out"), "torch_dtype": "float32", "report_to": ["none"]}
    words = [render_arguments({**common, **swift}) for _, swift in CASES]
    ran = subprocess.run([sys.executable, "-c", PROGRAM], input=json.dumps(words), capture_output=True, text=True, timeout=300,
                         check=False)
    said = [json.loads(line[5:]) for line in ran.stdout.splitlines() if line.startswith("SAID ")]
    assert len(said) == len(CASES), ran.stderr[-3000:]
    assert [bool(answer) for answer in said] == [bool(code) for code, _ in CASES], [
        (swift, answer) for (code, swift), answer in zip(CASES, said, strict=True) if bool(code) != bool(answer)]
    facts = machine(packages={"ms-swift": "4.6.0", "transformers": "5.19.0", "liger-kernel": None, "evalscope": None,
                              "jieba": None, "kernels": "0.10.2"})
    for code, swift in CASES:
        config = resolve_data(config_data({**common, "attn_impl": None, "packing": False, **swift}))
        assert {f.code for f in blocking(check_all(config, facts))} == ({code} if code else set()), swift
