"""A training that was found, as a config: what goes to which section, and the YAML with the script's comments.

Touches nothing; it asks `config.layers` how YAML would be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swift_fa_launcher.config.layers import parse_layer
from swift_fa_launcher.config.schema import SWANLAB_MODES
from swift_fa_launcher.config.swift_args import Argument, Arguments, is_switch, render_value
from swift_fa_launcher.errors import ConfigError, Text
from swift_fa_launcher.importing.evaluate import Note
from swift_fa_launcher.importing.parse import Comment, ShellError
from swift_fa_launcher.importing.starts import Given, Training
from swift_fa_launcher.importing.values import Env, Value, make_value, shown, text_of, unknowns
from swift_fa_launcher.secrets import is_secret_name, strike_assigned

#: SwanLab's arguments of ms-swift, and the keys of the section `swanlab`.
_SWANLAB_KEYS = {"swanlab_project": "project", "swanlab_exp_name": "experiment", "swanlab_workspace": "workspace",
                 "swanlab_mode": "mode"}
_NOTIFICATION_KEYS = {"swanlab_notification_method": "method", "swanlab_webhook_url": "webhook_url", "swanlab_secret": "secret",
                      "swanlab_sender_email": "sender_email", "swanlab_receiver_email": "receiver_email",
                      "swanlab_smtp_server": "smtp_server", "swanlab_smtp_port": "smtp_port",
                      "swanlab_email_language": "email_language"}
_KEY_VARIABLE = "SWANLAB_API_KEY"
_ALWAYS_SET = ("HOME", "PWD", "PATH", "USER")
_SECTIONS = ("swift", "swanlab", "launch", "env", "run")


@dataclass(frozen=True)
class Draft:
    """A config as text. needs: the variables that must be set before it is used, and why. notes: what the reader must know."""

    text: str
    needs: Mapping[str, Text]
    notes: tuple[Note, ...]
    training: Training


@dataclass
class _Entry:
    """One key of a section. values: a list; a scalar where there is one and `many` is false; plain: the YAML itself."""

    values: tuple[Value, ...]
    line: int = 0
    many: bool = False
    plain: str | None = None
    remark: str = ""


@dataclass
class _Sheet:
    """The sections while they are filled."""

    lang: str
    known: Arguments | None
    sections: dict[str, dict[str, _Entry]] = field(default_factory=lambda: {name: {} for name in _SECTIONS})
    notification: dict[str, _Entry] = field(default_factory=dict)
    slurm: dict[str, _Entry] = field(default_factory=dict)
    needs: dict[str, Text] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    hidden: dict[str, str] = field(default_factory=dict)  # secret value to the variable that takes its place

    def note(self, line: int, text: Text) -> None:
        self.notes.append(Note(line, text))


def make_draft(training: Training, source: str, lang: str, known: Arguments | None = None) -> Draft:
    """The config that starts what the training's command starts. source: its name, for the first line. known: the installed
    ms-swift's arguments. Raises ShellError for what no config can say."""
    sheet = _Sheet(lang, known)
    sheet.notes += training.notes
    _hide(training, sheet)
    _place_arguments(training, sheet)
    _place_env(training, sheet)
    _place_launch(training, sheet)
    for name, default in (("packing", "null"), ("attn_impl", "null")):
        if name not in sheet.sections["swift"]:
            sheet.sections["swift"][name] = _Entry((), plain=default, remark=_OWN_DEFAULT[name].render(lang))
    _note_surroundings(training, sheet)
    text = _render(sheet, training, source)
    return Draft(text, sheet.needs, tuple(dict.fromkeys(sheet.notes)), training)


_OWN_DEFAULT = {
    "packing": Text("the script does not pack; true trains short rows faster", "脚本没有用 packing；设为 true 时短数据训练更快"),
    "attn_impl": Text("the script leaves it to ms-swift; flash_attn is faster", "脚本让 ms-swift 决定；flash_attn 更快"),
}


# --- secrets ---


def _hide(training: Training, sheet: _Sheet) -> None:
    """Which texts are secret, by the names that the script gives them."""
    for given in training.arguments:
        if is_secret_name(given.name) and given.values and (text := text_of(given.values[0])):
            sheet.hidden[text] = _variable_of(given.name)
    for name, setting in training.env.items():
        if is_secret_name(name) and (text := text_of(setting.value)):
            sheet.hidden[text] = name


def _variable_of(argument: str) -> str:
    return {"hub_token": "HF_TOKEN", "swanlab_token": _KEY_VARIABLE}.get(argument, argument.upper())


def _ask_secret(sheet: _Sheet, variable: str, line: int, *, needed: bool) -> None:
    sheet.note(line, Text(f"a secret is not written: set the variable {variable} in your shell",
                          f"密钥不写入配置：请在 shell 中设置变量 {variable}"))
    if needed:
        sheet.needs[variable] = Text("a secret", "密钥")


def _without_secrets(value: Value, sheet: _Sheet) -> Value:
    """The value with secret texts of other arguments replaced by the variables that hold them."""
    for secret, variable in sheet.hidden.items():
        if len(secret) >= 6 and any(isinstance(piece, str) and secret in piece for piece in value):
            value = make_value(part for piece in value for part in
                               (_parted(piece, secret, variable) if isinstance(piece, str) else [piece]))
            sheet.needs[variable] = Text("a secret", "密钥")
    return value


def _parted(text: str, secret: str, variable: str) -> list[str | Env]:
    found: list[str | Env] = []
    for i, piece in enumerate(text.split(secret)):
        found += [Env(variable), piece] if i else [piece]
    return found


def _strike(text: str, sheet: _Sheet) -> str:
    for secret in sheet.hidden:
        text = text.replace(secret, "***") if len(secret) >= 6 else text
    return strike_assigned(text)


# --- sections ---


def _place_arguments(training: Training, sheet: _Sheet) -> None:
    trackers = next((given.values for given in training.arguments if given.name == "report_to"), ())
    tracks = any(text_of(value) in ("swanlab", "all") or text_of(value) is None for value in trackers)
    notifies = any(given.name == "swanlab_notification_method" and text_of(given.values[0] if given.values else ())
                   for given in training.arguments)
    sheet.sections["swanlab"]["enabled"] = _Entry((), plain="true" if tracks else "false")
    for given in training.arguments:
        if given.name == "swanlab_token":
            _ask_secret(sheet, _KEY_VARIABLE, given.line, needed=False)
        elif tracks and given.name in _SWANLAB_KEYS and len(given.values) == 1 and given.values[0]:
            sheet.sections["swanlab"][_SWANLAB_KEYS[given.name]] = _entry(given, sheet)
        elif tracks and notifies and given.name in _NOTIFICATION_KEYS and given.values:
            sheet.notification[_NOTIFICATION_KEYS[given.name]] = _entry(given, sheet)
        else:
            sheet.sections["swift"][given.name] = _entry(given, sheet)
    if tracks and "project" not in sheet.sections["swanlab"] and "swanlab_project" not in sheet.sections["swift"]:
        sheet.sections["swanlab"]["project"] = _Entry((), plain="null")


def _entry(given: Given, sheet: _Sheet) -> _Entry:
    if is_secret_name(given.name) and given.values and text_of(given.values[0]) is not None:
        variable = _variable_of(given.name)
        _ask_secret(sheet, variable, given.line, needed=True)
        return _Entry(((Env(variable),),), given.line)
    argument = (sheet.known or {}).get(given.name)
    if not given.values:
        return _switch(given, sheet)
    values = tuple(_without_secrets(value, sheet) for value in given.values)
    if len(values) == 1 and is_switch(argument) and (text_of(values[0]) or "").lower() in ("true", "false"):
        return _Entry((), given.line, plain=(text_of(values[0]) or "").lower())
    many = len(values) > 1 or given.name in ("dataset", "val_dataset")
    return _Entry(values, given.line, many=many)


def _switch(given: Given, sheet: _Sheet) -> _Entry:
    """An argument without a value: true, as for ms-swift's parser."""
    argument = (sheet.known or {}).get(given.name)
    if argument is not None and not is_switch(argument):
        sheet.note(given.line, Text(f"--{given.name} has no value", f"--{given.name} 没有取值"))
    return _Entry((), given.line, plain="true")


def _place_env(training: Training, sheet: _Sheet) -> None:
    for name, setting in training.env.items():
        text = text_of(setting.value)
        if is_secret_name(name):
            if text != "" and setting.value != (Env(name),):
                _ask_secret(sheet, name, setting.line, needed=False)
        elif name == "SWANLAB_MODE" and text in SWANLAB_MODES and "mode" not in sheet.sections["swanlab"]:
            sheet.sections["swanlab"]["mode"] = _Entry((setting.value,), setting.line)
        elif setting.value != (Env(name),) or text is not None:  # what is handed on as it is needs no word
            sheet.sections["env"][name] = _Entry((_without_secrets(setting.value, sheet),), setting.line)


def _place_launch(training: Training, sheet: _Sheet) -> None:
    launch = sheet.sections["launch"]
    for key in ("gpus", "nproc_per_node", "nnodes", "node_rank", "master_addr", "master_port"):
        setting = training.launch.get(key)
        if setting is None:
            continue
        text = text_of(setting.value)
        plain = f"[{', '.join(text.split(','))}]" if key == "gpus" and text else None
        launch[key] = _Entry((setting.value,), setting.line, plain=plain)
    if training.slurm is None:
        return
    launch["target"] = _Entry((), plain="slurm")
    for key, values in training.slurm.items():
        if key == "job_name":
            if sheet.sections["swanlab"]["enabled"].plain == "false":  # SwanLab would call its experiment so
                sheet.sections["run"]["name"] = _Entry((make_value(values),))
        else:
            sheet.slurm[key] = _Entry(tuple(make_value([value]) for value in values), many=key == "extra")
    if training.before:
        sheet.slurm["setup"] = _Entry(tuple(make_value([said]) for _, said in training.before), many=True)


def _note_surroundings(training: Training, sheet: _Sheet) -> None:
    for line, said in training.before if training.slurm is None else ():
        sheet.note(line, Text(f"`{said}` is not run: do it before swift-fa", f"不会执行 `{said}`：请在运行 swift-fa 之前执行"))
    if training.folder:
        folder = shown(training.folder.value)
        sheet.note(training.folder.line, Text(f"the script changes to {folder}: run swift-fa there",
                                              f"脚本切换到 {folder}：请在那里运行 swift-fa"))
    for line in training.when:
        sheet.note(line, Text("whether the command runs hangs on this line; it is taken as run",
                              "命令是否执行取决于这一行；这里按执行处理"))


# --- YAML ---


def _render(sheet: _Sheet, training: Training, source: str) -> str:
    head = Text(f"Imported from {source}, line {training.line}: swift-fa import. Nothing was executed.",
                f"由 swift-fa import 从 {source} 第 {training.line} 行导入，没有执行任何命令。") if training.line else \
        Text(f"Imported from {source}: swift-fa import.", f"由 swift-fa import 从 {source} 导入。")
    placed = _Comments(sheet, training)
    lines = [_comment(head.render(sheet.lang)), *placed.first]
    for name, section in sheet.sections.items():
        nested = {"notification": sheet.notification} if name == "swanlab" else {"slurm": sheet.slurm} if name == "launch" else {}
        if not section and not any(nested.values()):
            continue
        lines += ["", f"{name}:"]
        for key, entry in section.items():
            lines += _entry_lines(sheet, placed, name, key, entry, 2)
        for inner, entries in nested.items():
            if entries:
                lines.append(f"  {inner}:")
                for key, entry in entries.items():
                    lines += _entry_lines(sheet, placed, f"{name}.{inner}", key, entry, 4)
    return "\n".join([*lines, *([""] if placed.last else []), *placed.last]) + "\n"


class _Comments:
    """The script's comments: beside the key of their line, else above the next, else at the top or the end."""

    def __init__(self, sheet: _Sheet, training: Training) -> None:
        entries = [entry for section in (*sheet.sections.values(), sheet.notification, sheet.slurm) for entry in section.values()]
        self._lines = sorted({entry.line for entry in entries if entry.line})
        self._above: dict[int, list[str]] = {}
        self._beside: dict[int, list[str]] = {}
        self.first: list[str] = []
        self.last: list[str] = []
        for comment in training.comments:
            self._put(comment, sheet)

    def _put(self, comment: Comment, sheet: _Sheet) -> None:
        text = _strike(comment.text, sheet)
        following = next((line for line in self._lines if line >= comment.line), None)
        if comment.line in self._lines:
            self._beside.setdefault(comment.line, []).append(text)
        elif following is None:
            self.last.append(_comment(text))
        elif following == self._lines[0]:
            self.first.append(_comment(text))
        else:
            self._above.setdefault(following, []).append(text)

    def above(self, line: int) -> list[str]:
        return self._above.pop(line, [])

    def beside(self, line: int) -> list[str]:
        return self._beside.pop(line, [])


def _comment(text: str) -> str:
    """A comment's line; YAML takes no control signs."""
    return "# " + "".join(sign if sign.isprintable() else "?" for sign in text) if text else "#"


def _entry_lines(sheet: _Sheet, placed: _Comments, section: str, key: str, entry: _Entry, indent: int) -> list[str]:
    pad = " " * indent
    lines = [pad + _comment(text) for text in placed.above(entry.line)]
    remarks = [entry.remark, *placed.beside(entry.line), *_asked(sheet, entry, f"{section}.{key}")]
    tail = "  " + _comment("; ".join(filter(None, remarks))) if any(remarks) else ""
    name = key if re.fullmatch(r"[A-Za-z_]\w*", key) else json.dumps(key)
    if entry.plain is not None:
        return [*lines, f"{pad}{name}: {entry.plain}{tail}"]
    argument = (sheet.known or {}).get(key) if section == "swift" else None
    if not entry.many:
        return [*lines, f"{pad}{name}: {_scalar(entry.values[0], entry.line, argument, listed=False, section=section)}{tail}"]
    items = [f"{pad}  - {_scalar(value, entry.line, argument, listed=True, section=section)}" for value in entry.values]
    return [*lines, f"{pad}{name}:{tail}", *items]


def _asked(sheet: _Sheet, entry: _Entry, key: str) -> Iterable[str]:
    """What must be set for the entry, noted on the way."""
    for env in (env for value in entry.values for env in unknowns(value)):
        if env.default is None or env.why:
            why = env.why or Text("the script takes it from your shell", "脚本从 shell 中读取它")
            if env.default is None and env.name not in _ALWAYS_SET:
                sheet.needs.setdefault(env.name, Text(f"{key}: {why.en}", f"{key}：{why.zh}"))
            if env.why:
                if env.default is not None:
                    sheet.note(env.line, Text(f"{key} is {env.name} of your shell, else a default: {why.en}",
                                              f"{key} 取 shell 中的 {env.name}，否则取默认值：{why.zh}"))
                yield Text(f"line {env.line}: {why.en}", f"第 {env.line} 行：{why.zh}").render(sheet.lang)


def _scalar(value: Value, line: int, argument: Argument | None, *, listed: bool, section: str) -> str:
    """The YAML of a value that comes out of the plan as the same word."""
    text = text_of(value)
    if text == "???":
        raise ShellError(line, Text("the text ??? cannot be written in a config", "配置中无法写入文本 ???"))
    said = _interpolated(value)
    forms = [said, "'" + said.replace("'", "''") + "'", json.dumps(said, ensure_ascii=False), json.dumps(said)]
    for form in forms[1:] if text is not None and _swallowed(text) else forms:
        if _reads_as(form, said, text is not None, argument, listed=listed, section=section):
            return form
    return forms[-1]


def _swallowed(text: str) -> bool:
    """Words that YAML or its readers take for something else."""
    return text == "" or text.lower() in ("null", "~", "yes", "no", "on", "off", "y", "n", "none")


def _reads_as(form: str, said: str, known: bool, argument: Argument | None, *, listed: bool, section: str) -> bool:
    if "\n" in form or not form.isprintable():
        return False
    try:
        layer = parse_layer(f"swift:\n  key: {form}\n", Path())
    except ConfigError:
        return False
    value: Any = layer.data["swift"].get("key")
    origin = layer.origins.get("swift.key")
    written = origin.text if origin else None
    if not known or "${" in said:
        return bool(value == said)
    if section == "env":
        return (value if isinstance(value, str) else written) == said and not isinstance(value, (list, dict, type(None), bool))
    if section != "swift":
        return not isinstance(value, (list, dict, type(None))) and (value if isinstance(value, str) else written) == said
    return [*render_value(value, None if listed else written, argument)] == [said]


def _interpolated(value: Value) -> str:
    return "".join(_escaped(piece) if isinstance(piece, str) else _reference(piece) for piece in value)


def _escaped(text: str) -> str:
    """OmegaConf reads `${`; a backslash before it keeps it as it is."""
    return re.sub(r"(?<!\\)(\\*)\$\{", lambda match: match[1] * 2 + "\\${", text)


def _reference(env: Env) -> str:
    if env.default is None:
        return f"${{oc.env:{env.name}}}"
    text = text_of(env.default)
    if text is not None and re.fullmatch(r"0|[1-9]\d*|(?!(?:null|true|false|inf|nan)$)[A-Za-z_/.][\w./-]*", text, re.I | re.A):
        return f"${{oc.env:{env.name},{text}}}"
    if len(env.default) == 1 and isinstance(env.default[0], Env):
        return f"${{oc.env:{env.name},{_reference(env.default[0])}}}"
    quoted = "".join(re.sub(r"(?<!\\)(\\*)'", lambda m: m[1] * 2 + "\\'", _escaped(p)) if isinstance(p, str) else _reference(p)
                     for p in env.default)
    ends = len(quoted) - len(quoted.rstrip("\\"))
    return f"${{oc.env:{env.name},'{quoted}{chr(92) * ends}'}}"
