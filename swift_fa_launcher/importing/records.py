"""Trainings that are written down otherwise: ms-swift's YAML or JSON, a run's args.json, the log of a run. Pure."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import yaml

from swift_fa_launcher.config.names import OTHER_KINDS
from swift_fa_launcher.config.swift_args import Arguments, takes_many
from swift_fa_launcher.errors import Text
from swift_fa_launcher.importing.evaluate import Note, Setting
from swift_fa_launcher.importing.parse import Comment, ShellError
from swift_fa_launcher.importing.starts import LAUNCH_KEYS, Given, Training, arguments_of, fits_launch
from swift_fa_launcher.importing.values import Field, Value, make_value

#: What ms-swift works out by itself and writes into args.json, and what is ours.
_WORKED_OUT = frozenset(("logging_dir", "local_rank", "rank", "world_size", "global_world_size", "local_world_size", "model_dir",
                         "model_info", "model_meta", "args_type", "training_args", "swift_version", "ckpt_dir", "hub"))
_VERSION_FOLDER = re.compile(r"/v\d+-\d{8}-\d{6}/?$")
_RUN_LINE = re.compile(r"run sh: `(.*)`", re.S)
_ARGS_LINE = re.compile(r"args: SftArguments\(")
_MODULES = ("swift_fa_plugin.py",)


def kind_of(text: str, name: str) -> str:
    """What a text is: "config" (of the launcher), "yaml", "args", "log" or "script"."""
    if _ARGS_LINE.search(text) or _RUN_LINE.search(text):
        return "log"
    if text.lstrip()[:1] == "{":
        return "args" if '"output_dir"' in text and '"lora_rank"' in text and '"adam_beta1"' in text else "yaml"
    keys = re.findall(r"^([\w-]+):(?: |$)", text, re.M)
    if name.endswith((".yaml", ".yml")) or (len(keys) > 1 and not re.search(r"\b(swift|megatron)\s+\w+\s*(\\|--)", text)):
        return "config" if {"swift", "extends", "launch"} & {*keys} and "model" not in keys else "yaml"
    return "script"


def read_yaml(text: str) -> Training:
    """ms-swift's own YAML or JSON, as its main reads it (swift/cli/main.py, parse_yaml_args). Raises ShellError."""
    data, node = _load(text)
    if other := next((said for key, said in OTHER_KINDS.items() if key in data), None):
        raise ShellError(1, other)
    lines = {key.value: key.start_mark.line + 1 for key, _ in node.value}
    env = data.pop("ENV", None) or {}
    if not isinstance(env, dict):
        raise ShellError(lines["ENV"], Text("ENV must hold names and values", "ENV 应包含名称和值"))
    notes, given = [], []
    for key, value in data.items():
        line = lines.get(str(key), 0)
        name = str(key).replace("-", "_")
        if value is None:
            notes.append(Note(line, Text(f"{name} is empty and is left out", f"{name} 为空，已略去")))
        else:
            given.append(Given(name, _words(value), line))
    settings = {str(name): Setting(make_value([str(value)]), lines.get("ENV", 0)) for name, value in env.items()}
    comments = tuple(Comment(line, said[1].strip()) for line, row in enumerate(text.splitlines(), 1)
                     if (said := re.search(r"(?:^|\s)#(.*)$", row)) and _is_comment(row))
    return _sorted_env(Training(tuple(given), settings, {}, None, 0, max(lines.values(), default=0), notes=tuple(notes),
                                comments=comments))


def _is_comment(row: str) -> bool:
    """Whether the last `#` of a row is outside quotes."""
    head = row[:re.search(r"(?:^|\s)#", row).start()]  # type: ignore[union-attr]
    return head.count("'") % 2 == 0 and head.count('"') % 2 == 0


def _load(text: str) -> tuple[dict[Any, Any], yaml.MappingNode]:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ShellError(mark.line + 1 if mark else 0, Text(f"this is not YAML: {getattr(error, 'problem', error)}",
                                                            f"不是合法的 YAML：{getattr(error, 'problem', error)}")) from None
    except (ValueError, RecursionError) as error:
        raise ShellError(0, Text(f"this is not YAML: {error}", f"不是合法的 YAML：{error}")) from None
    if not isinstance(data, dict) or not isinstance(node, yaml.MappingNode):
        raise ShellError(1, Text("it holds no names and values", "其中没有名称和值"))
    return data, node


def _words(value: Any) -> tuple[Value, ...]:
    """A value as the words that ms-swift passes on."""
    if isinstance(value, list):
        return tuple(make_value([_text(item)]) for item in value)
    return (make_value([_text(value)]),)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (dict, list)) else str(value)


def _sorted_env(training: Training) -> Training:
    """The variables that `launch` has keys for, moved there."""
    env, launch = dict(training.env), {}
    for name, key in LAUNCH_KEYS.items():
        if name in env and fits_launch(key, env[name].value, env):
            launch[key] = env.pop(name)
    return replace(training, env=env, launch=launch)


def read_args(text: str, known: Arguments | None) -> Training:
    """A run's args.json: what differs from the installed ms-swift's defaults. Raises ShellError."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ShellError(getattr(error, "lineno", 0), Text(f"this is not JSON: {error}", f"不是合法的 JSON：{error}")) from None
    if not isinstance(data, dict):
        raise ShellError(1, Text("it holds no names and values", "其中没有名称和值"))
    return _from_values(data, known)


def _from_values(data: Mapping[str, Any], known: Arguments | None) -> Training:
    given, notes = [], []
    output = str(data.get("output_dir") or "")
    for name, written in data.items():
        value = written
        if name == "external_plugins" and isinstance(value, list):
            value = [one for one in value if not str(one).endswith(_MODULES)]
        if name in _WORKED_OUT or value in (None, [], {}, "") or (name == "run_name" and value == output):
            continue
        if known and (name not in known or _same(value, known[name].default)):
            continue
        if name == "output_dir" and data.get("add_version", True):
            value = _VERSION_FOLDER.sub("", str(value))  # each start makes a folder of its own
        given.append(Given(name, _words(value), 0))
    if not known:
        notes.append(Note(0, Text("ms-swift is not here to say which values are its defaults: all are written",
                                  "此处没有 ms-swift，无法判断哪些是默认值：全部写出")))
    return Training(tuple(given), {}, {}, None, 0, 0, notes=tuple(notes))


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, float) or isinstance(default, float):
        try:
            return float(value) == float(default)
        except (TypeError, ValueError):
            return False
    return value == default or (isinstance(value, list) and isinstance(default, (list, tuple)) and [*value] == [*default])


def read_log(text: str, known: Arguments | None) -> Training:
    """The log of a run: the command that `swift` printed, else the arguments as ms-swift prints them. Raises ShellError."""
    if match := _RUN_LINE.search(text):
        line = text.count("\n", 0, match.start()) + 1
        return _from_run_line(match[1].split("`\n")[0], line, known)
    match = _ARGS_LINE.search(text)
    assert match
    inside = text[match.end():]
    end = re.search(r"^\s*\)\s*$", inside, re.M)
    line = text.count("\n", 0, match.start()) + 1
    if end is None:
        raise ShellError(line, Text("the log ends within the arguments", "日志在参数中间就结束了"))
    data = {}
    for name, said in re.findall(r"^(\w+)=(.*?),?$(?=\n\w+=|\Z)", inside[:end.start()].strip("\n"), re.M | re.S):
        try:
            data[name] = ast.literal_eval(said)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            data[name] = said
    if not data:
        raise ShellError(line, Text("the log shows no arguments here", "日志此处没有参数"))
    return _from_values(data, known)


def _from_run_line(text: str, line: int, known: Arguments | None) -> Training:
    """`python [-m torch.distributed.run OPTIONS] …/sft.py ARGUMENTS`, joined by blanks without quotes."""
    words = [Field(make_value([word]), line) for word in text.split()]
    training = arguments_of(words, line)
    if training is None:
        raise ShellError(line, Text("the command that was run is not swift sft", "运行的命令不是 swift sft"))
    given, notes = [], list(training.notes)
    for one in training.arguments:
        argument = (known or {}).get(one.name)
        if len(one.values) > 1 and argument is not None and not takes_many(argument):
            joined = " ".join(str(piece) for value in one.values for piece in value)
            notes.append(Note(line, Text(f"--{one.name}: the log does not show where words begin; taken as one text",
                                         f"--{one.name}：日志不显示词的边界，按一段文本处理")))
            given.append(replace(one, values=(make_value([joined]),)))
        else:
            given.append(one)
    if not known and any(len(one.values) > 1 for one in given):
        notes.append(Note(line, Text("the log does not show which values are one text with blanks: look at them",
                                     "日志不显示哪些取值是带空格的一段文本：请检查")))
    return replace(training, arguments=tuple(_without_ours(given)), notes=tuple(notes))


def _without_ours(given: Iterable[Given]) -> Iterable[Given]:
    for one in given:
        if one.name == "external_plugins":
            kept = tuple(value for value in one.values if not str(value[-1] if value else "").endswith(_MODULES))
            if kept:
                yield replace(one, values=kept)
        else:
            yield one
