"""Optional packages that an argument needs and that are not there."""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.requirements import Requirement

from swift_fa_launcher.config.conditions import all_hold, parse_condition, values_of
from swift_fa_launcher.config.needed_packages import NEEDS
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Unknown, known
from swift_fa_launcher.findings.finding import Check, Finding
from swift_fa_launcher.findings.table import found
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.reading import (
    evaluates,
    is_installed,
    lacks,
    model_config,
    pip_install,
    setting,
    written,
)


def package_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """The rows of config/needed_packages.py; deepspeed and SwanLab have codes of their own."""
    model = model_config(config, facts)
    method = known(model.quant_method)
    if isinstance(model.quant_method, Unknown):  # what a published model's name says
        method = next(iter(re.findall(r"-(gptq|awq)\b", (config.swift.text("model") or "").lower())), None)
    derived = {"config_model_type": known(model.model_type), "config_quant_method": method,
               "evaluates": evaluates(config, facts)}
    value_of, said = values_of(config.swift, derived), set()
    for need in NEEDS:
        wanted = Requirement(need.package)
        asked = wanted.name not in said and is_installed(facts, need.of) and all_hold(need.when, value_of)
        if asked and lacks(facts, need.package, *need.or_else):
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


CHECKS: tuple[Check, ...] = (package_missing,)
