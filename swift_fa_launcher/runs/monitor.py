"""What the monitor inside a training left in the run's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swift_fa_launcher.errors import Text
from swift_fa_launcher.runs.output import read_end

_TAIL = 4096  # bytes; more than a monitor.json or two lines of a monitor.jsonl
_TOLD = ("attention", "kernel", "packing", "memory_of", "speedups")
_KERNELS_ZH = {"torch's SDPA": "torch 的 SDPA", "eager attention": "eager 注意力"}  # as the training's monitor names them
_DIGITS = {"tokens_per_second": 1, "padding": 4, "examples_per_step": 2, "monitor_share": 6}
_FIGURES = ("seconds", "tokens", "padding", "examples_per_step", "monitor_seconds", "tokens_per_second", "peak_memory_gib")
_LARGEST = 1e15  # of any figure; what is beyond is damage


def read_monitor(run_dir: Path) -> Mapping[str, Any]:
    """monitor.json's entries, `last` (the last line of monitor.jsonl) and `mean`; empty where there is no such file.

    The means are over the logged steps but the first, which warms up, unless it is the only one. `monitor_share` is the
    monitor's own part of the training's time.
    """
    told = _read_told(run_dir)
    lines = read_monitor_lines(run_dir)
    if not lines:
        return told
    counted = lines[1:] or lines
    total = {name: sum(line[name] for line in counted) for name in _FIGURES}
    mean = {"tokens_per_second": total["tokens"] / total["seconds"], "padding": total["padding"] / len(counted),
            "examples_per_step": total["examples_per_step"] / len(counted),
            "monitor_share": total["monitor_seconds"] / total["seconds"]}
    return {**told, "last": lines[-1], "mean": mean}


def _read_told(run_dir: Path) -> dict[str, Any]:
    """What runs: monitor.json, and the names of the speed-ups in effect."""
    speedups = _parse(read_end(run_dir / "speedups.json", _TAIL))
    used = [name for name, one in speedups.items() if isinstance(one, dict) and one.get("used")]
    return {**_parse(read_end(run_dir / "monitor.json", _TAIL)), **({"speedups": ", ".join(used)} if used else {})}


def _named(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: told[name] for name in _TOLD if isinstance(told.get(name), str)}


def read_measured(run_dir: Path) -> Mapping[str, Any]:
    """What a record keeps of the monitor: attention, kernel, packing, speedups, memory_of ("process" or the kind of device),
    tokens_per_second, padding (0 to 1), examples_per_step, monitor_share (0 to 1), peak_memory_gib.

    Only what is known is there.
    """
    found = read_monitor(run_dir)
    told = _named(found)
    if "mean" not in found:
        return told
    mean = {name: round(found["mean"][name], digits) for name, digits in _DIGITS.items()}
    return {**told, **mean, "peak_memory_gib": round(found["last"]["peak_memory_gib"], 3)}


def read_latest(run_dir: Path) -> Mapping[str, Any]:
    """What a training that goes on measured at its last logged step, as in `read_measured`; reads the files' ends only."""
    told = _named(_read_told(run_dir))
    for text in read_end(run_dir / "monitor.jsonl", _TAIL).splitlines()[:-3:-1]:  # the last may be cut off
        line = _parse(text)
        if _numbers(line):
            return {**told, **{name: line[name] for name in _DIGITS if name in line},
                    "peak_memory_gib": round(line["peak_memory_gib"], 3)}
    return told


def figure(measured: Mapping[str, Any], name: str) -> float | None:
    """A number of `read_measured`; None where it is not there."""
    value = measured.get(name)
    return value if isinstance(value, (int, float)) and abs(value) < _LARGEST else None


def render_measured(measured: Mapping[str, Any], lang: str) -> str:
    """One line: the attention in effect, tokens a second, padding, examples a step, peak memory; "" if nothing is known."""
    kernel = str(measured.get("kernel") or "")
    words = [_KERNELS_ZH.get(kernel, kernel) if lang == "zh" else kernel]
    if measured.get("packing") in ("packing", "padding_free"):
        words.append(measured["packing"])
    if measured.get("speedups"):
        words.append(Text(f"speed-ups {measured['speedups']}", f"加速 {measured['speedups']}").render(lang))
    if (speed := figure(measured, "tokens_per_second")) is not None:
        words.append(f"{speed:,.0f} tokens/s")
    if (padding := figure(measured, "padding")) is not None:
        words.append(Text(f"padding {padding:.1%}", f"填充 {padding:.1%}").render(lang))
    if (examples := figure(measured, "examples_per_step")) is not None:
        words.append(Text(f"{examples:.4g} examples a step", f"每步 {examples:.4g} 条样本").render(lang))
    if (memory := figure(measured, "peak_memory_gib")) is not None:
        place = Text("RAM", "内存") if measured.get("memory_of") == "process" else Text("GPU", "显存")
        words.append(f"{memory:.1f} GiB {place.render(lang)}")
    return ("，" if lang == "zh" else ", ").join(word for word in words if word)


def read_monitor_lines(run_dir: Path) -> list[Mapping[str, Any]]:
    """The whole lines of monitor.jsonl, one a logged step; those that were cut off or lack a figure are left out."""
    parsed = (_parse(line) for line in read_end(run_dir / "monitor.jsonl").splitlines())
    return [line for line in parsed if _numbers(line)]


def _numbers(line: Mapping[str, Any]) -> bool:
    return all(figure(line, name) is not None for name in _FIGURES) and line["seconds"] > 0


def _parse(text: str) -> dict[str, Any]:
    """A line that was cut off by the training's end is no entry."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
