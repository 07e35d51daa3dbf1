"""Torch's own flash attention and flash-attn against attention in float32, forward and backward, on a GPU:

    python tests/gpu/attention_kernels.py [--out FILE]

For each head size, number of key heads, set of row lengths and half precision: the largest error of output and gradients, over
the error of the same computed plainly in that precision. A kernel may be off by what the number format costs, and no more: 3
times it and 0.002. Prints a table and exits 1 where one is further off. flash-attn's column is empty where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

HEAD_DIMS, KEY_HEADS, HEADS = (64, 80, 96, 128, 192, 256), (1, 2, 4, 8), 8
LENGTHS = ((1, 1, 1, 5), (37, 200, 113), (1, 4096, 17), (1024, 1024))
MACHINE = Path(__file__).resolve().parents[2] / "swift_fa_launcher" / "machine"


def load_probe() -> Any:
    """The launcher's own probe script: its reference, its yardstick, and how it calls torch's kernel."""
    spec: Any = importlib.util.spec_from_file_location("probe_script", MACHINE / "probe_script.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def find_kernels(probe: Any) -> dict[str, Any]:
    kernels = {"torch": probe.Plugin()}
    if importlib.util.find_spec("flash_attn"):
        import flash_attn  # type: ignore[import-not-found]

        kernels["flash-attn"] = flash_attn
    return kernels


def compare(probe: Any, kernels: dict[str, Any], dtype: str) -> list[dict[str, Any]]:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    found: list[dict[str, Any]] = []
    probe.HEADS = HEADS
    for size in HEAD_DIMS:
        for key_heads in KEY_HEADS:
            probe.KV_HEADS = key_heads
            for name, kernel in kernels.items():
                for lengths in LENGTHS:
                    error, allowed = probe.run_case(kernel, lengths, True, size, getattr(torch, dtype), "cuda")
                    found.append({"kernel": name, "dtype": dtype, "head_dim": size, "key_heads": key_heads,
                                  "lengths": lengths, "error": error, "allowed": allowed, "ok": error <= allowed})
    return found


def main() -> int:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    probe = load_probe()
    kernels = find_kernels(probe)
    found = [one for dtype in ("bfloat16", "float16") for one in compare(probe, kernels, dtype)]
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}: largest error (share of what is allowed)")
    for dtype in ("bfloat16", "float16"):
        for size in HEAD_DIMS:
            told = []
            for name in kernels:
                of = [one for one in found if (one["kernel"], one["dtype"], one["head_dim"]) == (name, dtype, size)]
                worst = max(of, key=lambda one: one["error"] / one["allowed"])
                told.append(f"{name} {worst['error']:.4f} ({worst['error'] / worst['allowed']:.0%})")
            print(f"{dtype:<9} head_dim {size:>3}: {'   '.join(told)}")
    wrong = [one for one in found if not one["ok"]]
    print(f"{len(found) - len(wrong)} of {len(found)} cases right" + "".join(f"\nwrong: {one}" for one in wrong))
    if given.out:
        given.out.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
