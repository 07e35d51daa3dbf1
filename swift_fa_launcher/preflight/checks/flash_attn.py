"""flash-attn as it is installed."""

from __future__ import annotations

from collections.abc import Iterator

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Unknown, known
from swift_fa_launcher.errors import Text
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.preflight.finding import ERROR, Check, Finding
from swift_fa_launcher.preflight.reading import on_ascend

INSTALL = "swift-fa install"
WITHOUT = "swift.attn_impl=sdpa swift.packing=false swift.padding_free=false"


def flash_attn_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """FlashAttention 2 is asked for and its distribution is not there."""
    if not config.swift.wants_flash_attn_2 or on_ascend(facts) or isinstance(facts.flash_attn, Unknown):
        return
    if facts.flash_attn is None or facts.flash_attn.distribution is None:
        impl = config.swift.attn_impl
        yield Finding("flash-attn-missing", ERROR,
                      Text(f"attn_impl={impl} and flash-attn is not installed", f"attn_impl={impl}，但没有安装 flash-attn"),
                      (INSTALL, WITHOUT), {"attn_impl": impl})


CHECKS: tuple[Check, ...] = (flash_attn_missing,)
