"""Installing and building flash-attn; only where an install is needed or asked for."""

from __future__ import annotations

from swift_fa_launcher.preflight.finding import Check

CHECKS: tuple[Check, ...] = ()
