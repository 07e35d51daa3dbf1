"""All checks, in the order of display. Each is a small generator over config and facts; none changes anything."""

from __future__ import annotations

from dataclasses import replace

from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig, SwiftArguments
from swift_fa_launcher.config.swift_args import translate_config
from swift_fa_launcher.findings.finding import Check, Finding, run_checks
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.preflight.checks import (
    arguments,
    build,
    data,
    flash_attn,
    launch,
    machine,
    model,
    swanlab,
    swift,
    values,
)

#: Checks of the config as it is written, in whichever ms-swift's spelling.
AS_WRITTEN: tuple[Check, ...] = (*arguments.CHECKS, *swanlab.CHECKS)

CHECKS: tuple[Check, ...] = (*machine.CHECKS, *flash_attn.CHECKS, *build.CHECKS, *arguments.CHECKS, *values.CHECKS,
                             *swift.CHECKS, *model.CHECKS, *launch.CHECKS, *data.CHECKS, *swanlab.CHECKS)


#: The ms-swift whose spelling the other checks read, whichever is installed.
SPELLING = Version("4.6")


def check_all(config: ResolvedConfig, facts: Facts) -> tuple[Finding, ...]:
    """What is, or will go, wrong: every finding of every check."""
    meant = replace(config, swift=SwiftArguments(translate_config(config, None, SPELLING).arguments))
    return tuple(finding for check in CHECKS
                 for finding in run_checks((check,), config if check in AS_WRITTEN else meant, facts))
