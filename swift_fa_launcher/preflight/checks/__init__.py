"""All checks, in the order of display. Each is a small generator over config and facts; none changes anything."""

from __future__ import annotations

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.preflight.checks import build, data, flash_attn, launch, machine, swanlab, swift
from swift_fa_launcher.preflight.finding import Check, Finding, run_checks

CHECKS: tuple[Check, ...] = (*machine.CHECKS, *flash_attn.CHECKS, *build.CHECKS, *swift.CHECKS, *launch.CHECKS,
                             *data.CHECKS, *swanlab.CHECKS)


def check_all(config: ResolvedConfig, facts: Facts) -> tuple[Finding, ...]:
    """What is, or will go, wrong: every finding of every check."""
    return run_checks(CHECKS, config, facts)
