"""All checks, in the order of display. Each is a small generator over config and facts; none changes anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig, SwiftArguments
from swift_fa_launcher.config.swift_args import translate_config
from swift_fa_launcher.errors import in_both, render_words
from swift_fa_launcher.findings.finding import ERROR, INFO, Check, Finding, run_checks
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.reading import with_free_gpus
from swift_fa_launcher.preflight.checks import (
    arguments,
    build,
    conflicts,
    data,
    flash_attn,
    launch,
    machine,
    model,
    packages,
    rehearsal,
    swanlab,
    swift,
    values,
    written,
)

#: Checks of the config as it is written, in whichever ms-swift's spelling.
AS_WRITTEN: tuple[Check, ...] = (*arguments.CHECKS, *swanlab.CHECKS, *written.CHECKS)

CHECKS: tuple[Check, ...] = (
    *machine.CHECKS, *flash_attn.CHECKS, *build.CHECKS, *arguments.CHECKS, *written.CHECKS, *conflicts.CHECKS, *packages.CHECKS,
    *values.CHECKS, *swift.CHECKS, *model.CHECKS, *launch.CHECKS, *data.CHECKS, *swanlab.CHECKS, *rehearsal.CHECKS)


#: The ms-swift whose spelling the other checks read, whichever is installed.
SPELLING = Version("4.6")


#: Our own defaults, and the errors to which each gives way where nobody wrote it: `swift sft` trains without it.
GIVES_WAY: Mapping[str, tuple[str, ...]] = {
    "packing": ("packing-needs-flash-attn", "packing-lazy-tokenize", "packing-leaks", "packing-needs-fla",
                "packing-model-unsupported", "arg-conflict"),
    "attn_impl": ("flash-attn-head-dim",),
}


def check_all(config: ResolvedConfig, facts: Facts) -> tuple[Finding, ...]:
    """What is, or will go, wrong: every finding of every check."""
    return settle(config, facts)[1]


def settle(config: ResolvedConfig, facts: Facts) -> tuple[ResolvedConfig, tuple[Finding, ...]]:
    """(the config with the GPUs that it takes, without those of our own defaults that its training cannot have; every finding of
    every check on it)."""
    config = with_free_gpus(config, facts)
    findings = _run_all(config, facts)
    for name, codes in GIVES_WAY.items():
        barred = [f for f in findings if f.code in codes and f.severity is ERROR and f.code not in config.preflight.allow]
        if barred and config.swift.get(name) is not None and config.is_default(f"swift.{name}"):
            settled, found = settle(_without(config, name), facts)
            if mended := [finding for finding in barred if finding not in found]:
                return settled, (*found, *(_left_out(finding, name) for finding in mended))
    return config, findings


def _run_all(config: ResolvedConfig, facts: Facts) -> tuple[Finding, ...]:
    meant = replace(config, swift=SwiftArguments(translate_config(config, None, SPELLING).arguments))
    return tuple(finding for check in CHECKS
                 for finding in run_checks((check,), config if check in AS_WRITTEN else meant, facts))


def _without(config: ResolvedConfig, name: str) -> ResolvedConfig:
    swift = {**config.swift, name: None}
    return replace(config, swift=SwiftArguments(swift), values={**config.values, "swift": swift})


def _left_out(finding: Finding, name: str) -> Finding:
    summary = in_both(lambda lang: render_words(finding.summary, lang) + {
        "en": f"; your config does not ask for {name}, so it is left out",
        "zh": f"；配置没有要求 {name}，因此不使用它"}[lang])
    return replace(finding, severity=INFO, summary=summary, fix=(f"swift.{name}=null",))
