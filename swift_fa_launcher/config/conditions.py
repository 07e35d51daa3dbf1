"""Conditions on arguments of `swift sft`, as tables of rules write them. Pure.

`a`: given, and not false. `a=x,y`: one of these values, or one of a list's is (`*` stands for anything). `a!=x,y`: none of
them, also where it is not given. `a>2`, `a>=2`, `a<2`, `a<=2`: a number beyond.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from swift_fa_launcher.config.schema import SwiftArguments

#: An argument's name to its value, None where it is not given.
ValueOf = Callable[[str], Any]

#: What holds where an argument is not given, as far as the tables ask for it.
USUAL = {"tuner_type": "lora", "save_strategy": "steps", "optimizer": "default", "optim": "adamw_torch",
         "sequence_parallel_size": 1, "task_type": "causal_lm", "report_to": "tensorboard",
         "max_steps": -1, "num_train_epochs": 3}

_CONDITION = re.compile(r"(\w+)(?:(!=|>=|<=|=|<|>)(.*))?")
_BEYOND: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def parse_condition(condition: str) -> tuple[str, str, str]:
    """Name, sign and what stands behind it; the latter two empty for `a`."""
    match = _CONDITION.fullmatch(condition)
    assert match, condition
    return match[1], match[2] or "", match[3] or ""


def values_of(swift: SwiftArguments, derived: Mapping[str, Any]) -> ValueOf:
    """What the conditions ask for: what was derived under that name, else the argument."""
    def value_of(name: str) -> Any:
        value = derived[name] if name in derived else swift.get(name, USUAL.get(name))
        return "no" if value is False and name.endswith("_strategy") else value

    return value_of


def all_hold(conditions: Iterable[str], value_of: ValueOf) -> bool:
    return all(holds(condition, value_of) for condition in conditions)


def holds(condition: str, value_of: ValueOf) -> bool:
    name, sign, wanted = parse_condition(condition)
    read = SwiftArguments({name: value_of(name)})
    if sign in _BEYOND:
        number = read.number(name)
        return number is not None and _BEYOND[sign](number, float(wanted))
    given = [text for text in read.names(name) if text.strip()]
    if not sign:
        return bool(given) and read.flag(name) is not False
    flag = read.flag(name) if wanted in ("true", "false") else None
    words = [str(flag).lower()] if flag is not None else [text.strip().lower() for text in given]
    return any(fnmatchcase(word, each) for word in words for each in wanted.split(",")) is (sign == "=")
