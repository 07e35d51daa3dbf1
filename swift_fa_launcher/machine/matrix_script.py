"""Measures how fast this machine multiplies large matrices. Run by path with the training interpreter.

Argument: a JSON object with `cpu`: stay on the processor. Prints one line of MARKER and JSON: {"flops": FLOP a second,
"dtype", "size", "device"}, or {"error": …}. On a GPU bfloat16 (float16 before compute capability 8), else float32.
A product of two n × n matrices is 2 n³ FLOP. The factors are random: with zeros a GPU draws less power and runs faster.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # this script's folder, which the training does not have on its path

import json
import statistics
import time
from typing import Any

MARKER = "swift-fa-target:"
GPU_SIZES = (16384, 8192, 4096)  # the first whose three matrices fit into the memory that is free
CPU_SIZE = 1024
#: Seconds: of a measurement, before the first, and how many there are. Longer, since a GPU's clock falls under load.
TURN, WARM_UP, TURNS = 0.25, 0.5, 9


def measure(torch: Any, device: str, dtype: Any, size: int) -> float:
    """FLOP a second, the median of the turns."""
    first, second = (torch.randn(size, size, device=device, dtype=torch.float32).to(dtype) for _ in range(2))
    result = torch.empty(size, size, device=device, dtype=dtype)

    def turn(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            torch.mm(first, second, out=result)
        if device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    turn(1)
    count = max(1, int(TURN / max(turn(1), 1e-6)))
    until = time.perf_counter() + WARM_UP
    while time.perf_counter() < until:
        turn(count)
    return 2.0 * size ** 3 * count / statistics.median(turn(count) for _ in range(TURNS))


def answer(job: dict[str, Any]) -> dict[str, Any]:
    import torch  # type: ignore[import-not-found,unused-ignore]

    if job["cpu"] or not torch.cuda.is_available():
        return {"flops": measure(torch, "cpu", torch.float32, CPU_SIZE), "dtype": "float32", "size": CPU_SIZE, "device": "cpu"}
    modern = torch.cuda.get_device_capability(0)[0] >= 8
    dtype, name = (torch.bfloat16, "bfloat16") if modern else (torch.float16, "float16")
    free = torch.cuda.mem_get_info(0)[0]
    # while it is made, a factor stands there in float32 too
    size = next((size for size in GPU_SIZES if 12 * size ** 2 < 0.8 * free), GPU_SIZES[-1])
    return {"flops": measure(torch, "cuda:0", dtype, size), "dtype": name, "size": size,
            "device": torch.cuda.get_device_name(0)}


def main() -> None:
    try:
        said = answer(json.loads(sys.argv[1]))
    except Exception as error:
        said = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
    print("\n" + MARKER + json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
