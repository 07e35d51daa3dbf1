"""What the plugin's attention, speed-ups and monitor are told. Pure."""

from __future__ import annotations

from typing import Any

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.flash.provider import KERNEL, PACKAGE, choose_provider
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
    provider, kernel = choose_provider(config, facts), known(facts.hub_kernel)
    if provider is None or provider.name == PACKAGE or not provider.there:
        return None
    named = {"repo": kernel.repo, "revision": kernel.revision} if kernel and provider.name == KERNEL else {}
    return {"provider": provider.name, **named}


def make_speedups_job(config: ResolvedConfig, run_dir: str) -> dict[str, Any] | None:
    """How much may change (`exact`: not one bit; `all`: up to rounding) and the folder that is told; None for no speed-ups."""
    level = config.run.speedups
    return None if level == "never" else {"level": level, "folder": run_dir}
