"""Where the plan of an imported config differs from the script's own command. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from swift_fa_launcher.importing.evaluate import Setting
from swift_fa_launcher.importing.starts import LAUNCH_KEYS, Training
from swift_fa_launcher.importing.values import Env, Value
from swift_fa_launcher.secrets import is_secret_name


@dataclass(frozen=True)
class Difference:
    """name: an argument (`--lr`) or a variable. script, plan: what each gives it; None where it does not."""

    name: str
    script: str | None
    plan: str | None


def differences(training: Training, argv: Sequence[str], env: Mapping[str, str], outside: Mapping[str, str],
                own: Sequence[str] = ()) -> tuple[Difference, ...]:
    """Arguments and variables of the script that the plan does not give the same, and arguments that only the plan gives.

    argv: of the plan, from `swift` on. outside: the environment, for what the script takes from there. own: file names of
    plugins that are the launcher's own. Variables that only the launcher sets are its own business.
    """
    script = {given.name: [_filled(value, outside) for value in given.values] for given in training.arguments}
    plan = split_arguments(argv[2:])
    if "external_plugins" in plan:
        plan["external_plugins"] = [word for word in plan["external_plugins"] if word not in own]
        plan = {name: words for name, words in plan.items() if words or name != "external_plugins"}
    return (*_arguments(script, plan), *_variables(training, env, outside))


def _arguments(script: Mapping[str, list[str]], plan: Mapping[str, list[str]]) -> Iterator[Difference]:
    for name in dict.fromkeys((*script, *plan)):
        if is_secret_name(name):
            continue
        a, b = script.get(name), plan.get(name)
        if not same_words(a, b):
            yield Difference(f"--{name}", None if a is None else " ".join(a), None if b is None else " ".join(b))


def same_words(a: Sequence[str] | None, b: Sequence[str] | None) -> bool:
    """Whether two arguments say the same to ms-swift: `--packing` and `--packing true`, 1e-4 and 0.0001."""
    if a is None or b is None:
        return a is b
    first, second = ([*words] or ["true"] for words in (a, b))
    return len(first) == len(second) and all(map(_same_word, first, second))


def _same_word(a: str, b: str) -> bool:
    if a == b:
        return True
    if a.lower() == b.lower() and a.lower() in ("true", "false", "none"):
        return True
    number = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
    if re.fullmatch(number, a) and re.fullmatch(number, b):
        return float(a) == float(b)
    try:
        return a[:1] in "{[" and json.loads(a) == json.loads(b)
    except (ValueError, RecursionError):
        return False


def _variables(training: Training, env: Mapping[str, str], outside: Mapping[str, str]) -> Iterator[Difference]:
    launched = {variable: training.launch[key] for variable, key in LAUNCH_KEYS.items() if key in training.launch}
    wanted: dict[str, Setting] = {**training.env, **launched}
    for name, setting in wanted.items():
        said, got = _filled(setting.value, outside), env.get(name, outside.get(name))
        if said != got and not is_secret_name(name):
            yield Difference(name, said, got)


def _filled(value: Value, outside: Mapping[str, str]) -> str:
    return "".join(piece if isinstance(piece, str) else _open(piece, outside) for piece in value)


def _open(env: Env, outside: Mapping[str, str]) -> str:
    if env.name in outside:
        return outside[env.name]
    return _filled(env.default or (), outside)


def split_arguments(words: Sequence[str]) -> dict[str, list[str]]:
    """Argument names to their words."""
    found: dict[str, list[str]] = {}
    name = ""
    for word in words:
        match = re.fullmatch(r"--([A-Za-z][\w-]*)(?:(=)(.*))?", word, re.S)
        if match:
            name = match[1].replace("-", "_")
            found[name] = [match[3]] if match[2] else []
        elif name:
            found[name].append(word)
    return found
