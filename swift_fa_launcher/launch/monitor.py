"""What the plugin's attention, speed-ups and monitor are told. Pure."""

from __future__ import annotations

from typing import Any

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.flash.provider import TORCH, uses_torchs_own
from swift_fa_launcher.machine.facts import Facts


def make_monitor_job(config: ResolvedConfig, run_dir: str) -> dict[str, Any] | None:
    """The folder for its files, and why the model must run flash attention ("" where it need not); None for no monitor.

    Packing counts as asking for it, unless the user allowed packing without.
    """
    if not config.run.monitor:
        return None
    swift = config.swift
    if "flash" in (swift.attn_impl or ""):
        wants = f"attn_impl={swift.attn_impl}"
    elif swift.packs and "packing-needs-flash-attn" not in config.preflight.allow:
        wants = "packing" if swift.flag("packing") else "padding_free"
    else:
        wants = ""
    return {"folder": run_dir, "wants": wants}


def make_attention_job(config: ResolvedConfig, facts: Facts) -> dict[str, Any] | None:
    """What takes the package's place; None where nothing does."""
    return {"provider": TORCH} if uses_torchs_own(config, facts) else None


def make_speedups_job(config: ResolvedConfig, run_dir: str) -> dict[str, Any] | None:
    """How much may change (`exact`: not one bit; `all`: up to rounding) and the folder that is told; None for no speed-ups."""
    level = config.run.speedups
    return None if level == "never" else {"level": level, "folder": run_dir}
