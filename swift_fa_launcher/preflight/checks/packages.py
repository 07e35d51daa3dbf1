"""Optional packages that an argument needs and that are not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from packaging.requirements import Requirement

from swift_fa_launcher.config.conditions import all_hold, parse_condition
from swift_fa_launcher.config.needed_packages import NEEDS, Need
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Unknown, known
from swift_fa_launcher.findings.finding import Check, Finding
from swift_fa_launcher.findings.table import found
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.reading import (
    evaluates,
    is_absent,
    is_installed,
    model_config,
    pip_install,
    setting,
    written,
)

#: What holds where an argument is not given, as far as the table asks for it.
USUAL = {"optimizer": "default", "task_type": "causal_lm", "report_to": "tensorboard", "optim": "adamw_torch"}


def package_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """The rows of config/needed_packages.py; deepspeed and SwanLab have codes of their own."""
    model = model_config(config, facts)
    method = known(model.quant_method)
    if isinstance(model.quant_method, Unknown):  # what a published model's name says
        method = next(iter(re.findall(r"-(gptq|awq)\b", (config.swift.text("model") or "").lower())), None)
    derived = {"config_model_type": known(model.model_type), "config_quant_method": method,
               "evaluates": evaluates(config, facts)}

    def value_of(name: str) -> Any:
        return derived[name] if name in derived else config.swift.get(name, USUAL.get(name))

    said = set()
    for need in NEEDS:
        wanted = Requirement(need.package)
        if wanted.name not in said and _lacks(facts, need) and is_installed(facts, need.of) and all_hold(need.when, value_of):
            said.add(wanted.name)
            name, _, value = parse_condition(need.when[0])
            installed = facts.package(wanted.name)
            yield found("package-missing", "version" if installed else "", package=need.package, installed=installed,
                        argument=name, setting=setting(config, "model") if name in derived else _shown(config, name, value),
                        install=pip_install(facts, need.package), without=need.without)


def _shown(config: ResolvedConfig, name: str, value: str) -> str:
    """The argument as it is written; of a list, the item in question."""
    given = config.swift.get(name)
    return f"{name}={value}{written(config, f'swift.{name}')}" if given is None or isinstance(given, (list, tuple)) else \
        setting(config, name)


def _lacks(facts: Facts, need: Need) -> bool:
    """Whether the package, in these versions, and all that would do as well were looked for and are not there."""
    name = Requirement(need.package).name
    lacks = is_absent(facts, name) if facts.package(name) is None else not is_installed(facts, need.package)
    return lacks and not any(facts.package(other) for other in need.or_else)


CHECKS: tuple[Check, ...] = (package_missing,)
