"""The whole config as a JSON Schema (draft 7), for editors: names, types, choices, help, defaults. Pure.

What OmegaConf puts in later (`${oc.env:X}`) fits everywhere; so do the spellings that the launcher takes for a value.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from collections.abc import Mapping
from typing import Any

from swift_fa_launcher.config.schema import CHOICES, SECTIONS, ResolvedConfig
from swift_fa_launcher.config.swift_args import FAMILIES, Argument, Arguments, shape
from swift_fa_launcher.decode import dotted, field_types, known

Schema = dict[str, Any]

_ABOUT = {
    "swift": "Arguments of `swift sft`, in ms-swift's own spelling; null leaves one out.",
    "flash_attn": "Where flash attention comes from.", "swanlab": "SwanLab's tracking.",
    "launch": "Processes, GPUs and nodes.", "env": "More environment variables of the training. null takes one away.",
    "preflight": "The checks before the start.", "run": "The record of the run.",
}
_LATER: Schema = {"type": "string", "pattern": r"\$\{|^\?\?\?$"}
_BOOLEAN: Schema = {"type": "string", "pattern": r"^(?i:yes|no|on|off|y|n|t|f|true|false)$".replace("(?i:", "(").replace(
    "yes|no|on|off|y|n|t|f|true|false", "|".join(f"{w}|{w.title()}|{w.upper()}" for w in
                                                 ("yes", "no", "on", "off", "y", "n", "t", "f", "true", "false")))}
_NUMBER: Schema = {"type": "string", "pattern": r"^[-+]?[0-9_.]+([eE][-+]?[0-9]+)?$"}
_NULL: Schema = {"type": "null"}
_TEXT: Schema = {"type": ["string", "number", "boolean"]}


def make_schema(defaults: str, arguments: Arguments | None = None, ms_swift: str = "") -> Schema:
    """The schema. defaults: the text of defaults.yaml, whose comments are the help of the launcher's own keys. arguments: the
    installed ms-swift's; None where there is none, and `swift` takes any key then. ms_swift: its version."""
    help_of = _comments(defaults)
    sections: Schema = {name: _group(kind, name, help_of) for name, kind in field_types(ResolvedConfig).items()
                        if name in SECTIONS and dataclasses.is_dataclass(kind)}
    sections["swift"] = _swift(arguments)
    sections["env"] = {"type": ["object", "null"], "additionalProperties": {"type": ["string", "number", "boolean", "null"]}}
    paths = {"type": ["string", "array"], "items": {"type": "string"}, "description": "Configs below this one, lowest first."}
    described = {name: {"description": _ABOUT[name], **sections[name]} for name in SECTIONS}
    whose = f"ms-swift {ms_swift}" if arguments else "no ms-swift"
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": f"swift-fa's config, with {whose}", "type": "object",
            "additionalProperties": False, "properties": {"extends": paths, **described}}


def _comments(text: str) -> Mapping[str, str]:
    """Dotted key to the comment behind it, of a YAML text indented by twos."""
    path: list[str] = []
    found = {}
    for line in text.splitlines():
        if match := re.match(r"( *)([a-z_]+):(?:.*?\s# (.*))?", line):
            path[len(match[1]) // 2:] = [match[2]]
            if match[3]:
                found[".".join(path)] = match[3]
    return found


def _group(kind: Any, prefix: str, help_of: Mapping[str, str]) -> Schema:
    properties = {}
    for field in dataclasses.fields(kind):
        key, hint = dotted(prefix, field.name), field_types(kind)[field.name]
        inner = _group(hint, key, help_of) if dataclasses.is_dataclass(hint) else _own(key, hint)
        default = field.default if isinstance(field.default, (str, int, float, bool)) else None
        properties[field.name] = {**inner, **({"description": help_of[key]} if key in help_of else {}),
                                  **({"default": default} if default is not None else {})}
    return {"type": ["object", "null"], "additionalProperties": False, "properties": properties}


def _own(key: str, hint: Any) -> Schema:
    """A key of the launcher's own, by its type."""
    members = [m for m in (typing.get_args(hint) or (hint,)) if m is not type(None)]
    wanted = str(hint)
    if key in CHOICES:
        return _any_of({"enum": [*CHOICES[key]]}, _LATER, *([_NULL] if "None" in wanted else []))
    if key == "launch.gpus":
        gpus = {"type": ["string", "integer"], "pattern": r"^(all|auto(:\d+)?|\d+(-\d+)?([, ]+\d+(-\d+)?)*)$|\$\{"}
        return _any_of({"type": "array", "items": {"type": "integer"}}, gpus, _NULL)
    if "tuple" in wanted:
        return _any_of({"type": "array", "items": _TEXT}, _TEXT, _NULL)
    if "Mapping" in wanted:
        return {"type": ["object", "null"]}
    base = next((name for kind, name in ((bool, "bool"), (int, "int"), (float, "float")) if kind in members), "text")
    return _scalar(base, nullable=True)


def _swift(arguments: Arguments | None) -> Schema:
    if not arguments:
        return {"type": ["object", "null"]}
    properties = {name: _argument(argument) for name, argument in arguments.items()}
    for family in FAMILIES:
        names = [name for _, name in family.names]
        now = next((name for name in reversed(names) if name in arguments), None)
        for name in names if now else ():
            properties.setdefault(name, {"description": f"Another ms-swift's name of {now}.", "doNotSuggest": True})
    # `no_packing`, and `learning-rate` as argparse takes it
    return {"type": ["object", "null"], "additionalProperties": False, "properties": properties,
            "patternProperties": {r"^no_\w+$": {}, r"^\w+-[\w-]+$": {}}}


def _argument(argument: Argument) -> Schema:
    base, many, loose = shape(argument)
    choices = known(argument.choices)
    one = _any_of({"enum": [c for c in choices if c is not None]}, _LATER, _NULL) if choices and base == "choice" else \
        _scalar(base, nullable=True)
    if many:
        one = _any_of({"type": "array", "items": one}, one)
    if loose or (base in ("group", "unknown", "text") and not many):
        one = {} if loose or base != "text" else {**one, "type": [*one["type"], "object"]}
    help_text = " ".join((known(argument.help) or "").split())
    return {**one, **({"description": help_text} if help_text else {}), **_default(argument.default)}


def _default(value: Any) -> Schema:
    try:
        return {"default": json.loads(json.dumps(value))} if value is not None else {}
    except (TypeError, ValueError):
        return {}


def _scalar(base: str, *, nullable: bool) -> Schema:
    more = (_LATER, _NULL) if nullable else (_LATER,)
    if base == "bool":
        return _any_of({"type": "boolean"}, {"enum": [0, 1]}, _BOOLEAN, *more)
    if base in ("int", "float"):
        return _any_of({"type": "integer" if base == "int" else "number"}, _NUMBER, *more)
    return {"type": ["string", "number", "boolean", "null"]}


def _any_of(*schemas: Schema) -> Schema:
    """Any of these; an enum stands first, so that an editor's message is of it."""
    flat = [inner for schema in schemas for inner in schema.get("anyOf", (schema,))]
    return {"anyOf": [schema for i, schema in enumerate(flat) if schema not in flat[:i]]}
