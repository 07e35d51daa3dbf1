"""Where a training's time goes: an external plugin that profiles a few steps and prints the kernels by their time.

    swift-fa train CONFIG 'swift.external_plugins=[benchmarks/profile_plugin.py]' swift.max_steps=12 swift.logging_steps=1

Steps 6 to 8 are profiled (PROFILE_STEPS=6,3 chooses others); `PROFILE_OUT` names a file for the table.
"""

from __future__ import annotations

import functools
import os
import time
from typing import Any

import torch
from transformers import Trainer

FIRST, COUNT = (int(word) for word in os.environ.get("PROFILE_STEPS", "6,3").split(","))


def watch() -> None:
    make = Trainer.__init__

    @functools.wraps(make)  # ms-swift looks at its signature
    def make_profiled(trainer: Any, *args: Any, **kwargs: Any) -> None:
        make(trainer, *args, **kwargs)
        step, kept = trainer.training_step, {}

        def training_step(*given: Any, **named: Any) -> Any:
            now = trainer.state.global_step
            if now == FIRST and "profiler" not in kept:
                torch.cuda.synchronize()
                kept["began"], kept["profiler"] = time.perf_counter(), torch.profiler.profile(
                    activities=[torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA])
                kept["profiler"].__enter__()
            if now == FIRST + COUNT and "told" not in kept:
                torch.cuda.synchronize()
                kept["told"] = time.perf_counter() - kept["began"]
                kept["profiler"].__exit__(None, None, None)
                tell(kept["profiler"], kept["told"])
            return step(*given, **named)

        trainer.training_step = training_step

    Trainer.__init__ = make_profiled


def gaps(profiler: Any) -> list[str]:
    """The longest times in which the GPU had nothing to do, and what the processor did meanwhile."""
    cuda = torch.autograd.DeviceType.CUDA
    events = list(profiler.events())
    work = sorted((e.time_range.start, e.time_range.end) for e in events if e.device_type == cuda)
    own = [e for e in events if e.device_type != cuda]
    found, end = [], work[0][1]
    for start, stop in work:
        if start - end > 300:  # microseconds
            found.append((start - end, end, start))
        end = max(end, stop)
    lines = []
    for length, begin, start in sorted(found, reverse=True)[:12]:
        inside = sorted(((min(e.time_range.end, start) - max(e.time_range.start, begin), e.name) for e in own
                         if e.time_range.end > begin and e.time_range.start < start), reverse=True)[:6]
        at = (begin - work[0][0]) / 1e3
        told = ", ".join(f"{name} {spent / 1e3:.2f}" for spent, name in inside)
        lines.append(f"idle {length / 1e3:.2f} ms at {at:.0f} ms: {told}")
    return [*lines, f"idle in all {sum(one[0] for one in found) / 1e3:.1f} ms in {len(found)} gaps over 0.3 ms"]


def tell(profiler: Any, seconds: float) -> None:
    averages = profiler.key_averages()
    busy = sum(one.self_device_time_total for one in averages if one.device_type == torch.autograd.DeviceType.CUDA) / 1e6
    lines = [*gaps(profiler), f"{COUNT} steps in {seconds:.3f} s, the GPU busy for {busy:.3f} s",
             averages.table(sort_by="self_cuda_time_total", row_limit=60, max_name_column_width=90)]
    text = "\n".join(lines)
    if out := os.environ.get("PROFILE_OUT"):
        with open(out, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    print("\n".join(lines[:-1]), flush=True)


watch()
