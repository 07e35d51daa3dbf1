"""ms-swift itself, and what its arguments mean together."""

from __future__ import annotations

from collections.abc import Iterator

from swift_fa_launcher.config.schema import FLASH_IMPLEMENTATIONS, ResolvedConfig
from swift_fa_launcher.errors import Text
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.preflight.finding import ERROR, Check, Finding
from swift_fa_launcher.preflight.reading import is_absent, on_ascend, pip_install, written


def ms_swift_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """`swift sft` is a command of ms-swift."""
    if is_absent(facts, "ms-swift"):
        yield Finding("ms-swift-missing", ERROR,
                      Text("ms-swift is not installed in the training interpreter", "训练用的解释器里没有安装 ms-swift"),
                      (pip_install(facts, "ms-swift"),
                       Text("or name another interpreter: launch.python=PATH", "或指定另一个解释器：launch.python=路径")))


def packing_needs_flash_attn(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Packed rows are kept apart by variable-length attention alone; ms-swift refuses anything else."""
    impl = config.swift.attn_impl
    if not config.swift.packs or impl in FLASH_IMPLEMENTATIONS or on_ascend(facts):
        return
    key = "packing" if config.swift.flag("packing") else "padding_free"
    yield Finding("packing-needs-flash-attn", ERROR,
                  Text(f"{key}=true{written(config, f'swift.{key}')} with attn_impl={impl}"
                       f"{written(config, 'swift.attn_impl')}: packed rows would see each other",
                       f"{key}=true{written(config, f'swift.{key}')}，而 attn_impl={impl}"
                       f"{written(config, 'swift.attn_impl')}：拼在一起的样本会互相看见"),
                  ("swift.attn_impl=flash_attn", f"swift.{key}=false"), {"attn_impl": impl, "argument": key})


CHECKS: tuple[Check, ...] = (ms_swift_missing, packing_needs_flash_attn)
