"""Processes, nodes, ports."""

from __future__ import annotations

from swift_fa_launcher.preflight.finding import Check

CHECKS: tuple[Check, ...] = ()
