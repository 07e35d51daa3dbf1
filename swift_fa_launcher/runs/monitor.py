"""What the monitor inside a training left in the run's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swift_fa_launcher.errors import Text


def read_monitor(run_dir: Path) -> Mapping[str, Any]:
    """monitor.json's entries, `last` (the last line of monitor.jsonl) and `mean`; empty where there is no such file.

    The means are over the logged steps but the first, which warms up, unless it is the only one. `monitor_share` is the
    monitor's own part of the training's time.
    """
    told = _parse(_text(run_dir / "monitor.json"))
    parsed = (_parse(line) for line in _text(run_dir / "monitor.jsonl").splitlines())
    lines = [line for line in parsed if _numbers(line)]
    if not lines:
        return told
    counted = lines[1:] or lines
    seconds = sum(line["seconds"] for line in counted)
    mean = {"tokens_per_second": sum(line["tokens"] for line in counted) / seconds,
            "padding": sum(line["padding"] for line in counted) / len(counted),
            "examples_per_step": sum(line["examples_per_step"] for line in counted) / len(counted),
            "monitor_share": sum(line["monitor_seconds"] for line in counted) / seconds}
    return {**told, "last": lines[-1], "mean": mean}


def render_monitor(run_dir: Path, lang: str) -> str:
    """One line: the attention in effect, tokens a second, padding, examples a step, peak memory; "" if nothing is known."""
    found = read_monitor(run_dir)
    words = [str(found.get("kernel") or "")]
    if found.get("packing") in ("packing", "padding_free"):
        words.append(found["packing"])
    if "mean" in found:
        mean, place = found["mean"], Text("RAM", "内存") if found.get("memory_of") == "process" else Text("GPU", "显存")
        words += [f"{mean['tokens_per_second']:,.0f} tokens/s",
                  Text(f"padding {mean['padding']:.1%}", f"填充 {mean['padding']:.1%}").render(lang),
                  Text(f"{mean['examples_per_step']:.4g} examples a step",
                       f"每步 {mean['examples_per_step']:.4g} 条样本").render(lang),
                  f"{found['last']['peak_memory_gib']:.1f} GiB {place.render(lang)}"]
    return ", ".join(word for word in words if word)


def _numbers(line: Mapping[str, Any]) -> bool:
    names = ("seconds", "tokens", "padding", "examples_per_step", "monitor_seconds", "tokens_per_second", "peak_memory_gib")
    return all(isinstance(line.get(name), (int, float)) for name in names) and line["seconds"] > 0


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _parse(text: str) -> dict[str, Any]:
    """A line that was cut off by the training's end is no entry."""
    try:
        data = json.loads(text)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
