"""Reading configs: files, `extends`, overrides, interpolation, and the origin of every value.

The only user of OmegaConf, which does the interpolation, and is loaded only where there is any. Merging is done here,
since every leaf must keep the file and line that wrote it.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from swift_fa_launcher.cache import ROOT_VARIABLE
from swift_fa_launcher.config.gpus import GpusError, parse_gpus
from swift_fa_launcher.config.names import OTHER_KINDS, VALUES_MEANT, find_settings, number_meant, settings_in
from swift_fa_launcher.config.render import leaves, quoted, typed
from swift_fa_launcher.config.schema import (
    CHOICES,
    PACKAGED,
    RANGES,
    SECTIONS,
    SWANLAB_MODES,
    Origin,
    ResolvedConfig,
    SwiftArguments,
    origin_below,
)
from swift_fa_launcher.config.yaml_faults import find_fault, pair_in, render_excerpt
from swift_fa_launcher.decode import DecodeError, decode, dotted, encode, field_types
from swift_fa_launcher.errors import ConfigError, Text, Words, joined, render_words
from swift_fa_launcher.files import read_bounded
from swift_fa_launcher.secrets import is_secret_name, strike_assigned

DEFAULTS_FILE = Path(__file__).with_name("defaults.yaml")
_LARGEST = 4 << 20  # bytes of a config
_PACKAGED_FOLDER = Path(__file__).with_name("bases")

_SECTION_TYPES: Mapping[str, type] = {name: kind for name, kind in field_types(ResolvedConfig).items()
                                      if isinstance(kind, type) and dataclasses.is_dataclass(kind)}
_YAML_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset(_YAML_TAG + name for name in ("str", "int", "float", "bool", "null", "seq", "map", "merge"))
_MAX_NODES = 100_000  # an alias bomb is an error, not a full memory


class _Loader(yaml.SafeLoader):
    """YAML as OmegaConf reads it: 2e-4 is a number and 2024-01-01 is text, where PyYAML has it the other way round."""


_OWN_TAGS = tuple(_YAML_TAG + name for name in ("timestamp", "float", "int"))
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _OWN_TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(  # neither 010 for eight nor 12:30 for 750
    _YAML_TAG + "int", re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$|^[-+]?0x[0-9a-fA-F_]+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _YAML_TAG + "float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
               r"|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"),
    list("-+0123456789."),
)


@dataclass(frozen=True)
class Layer:
    """One layer before merging: plain nested data (interpolations unresolved) and the origin of each dotted leaf."""

    data: Mapping[str, Any]
    origins: Mapping[str, Origin]


def resolve_config(files: Sequence[Path], overrides: Sequence[str] = (), *, with_bases: bool = True) -> ResolvedConfig:
    """The config of `files` (left to right, each over its bases) and `key=value` overrides, over the built-in defaults.

    with_bases: False where `files` are all layers already, such as the copies in a run record. Raises ConfigError, naming
    file, line and key.
    """
    read: dict[Path, Layer] = {}
    layers = [default_layer(), *_environment_layers()]
    for file in files:
        layers += _file_layers(file, read, chain=(), with_bases=with_bases)
    layers += [_override_layer(words) for words in overrides]
    return _resolve(layers, tuple(read), tuple(overrides))


def resolve_text(text: str, name: Path) -> ResolvedConfig:
    """The config of one YAML text without bases, as if it stood in the file `name`. Raises ConfigError."""
    return _resolve([default_layer(), parse_layer(text, name)], (), ())


def resolve_data(data: Mapping[str, Any]) -> ResolvedConfig:
    """The config of plain data over the built-in defaults, for configs that come from no file."""
    origins = {key: Origin("override", text=key) for key, _ in leaves(data)}
    return _resolve([default_layer(), *_environment_layers(), Layer(data, origins)], (), ())


def override_config(config: ResolvedConfig, words: Sequence[str]) -> ResolvedConfig:
    """The config with further `key=value` overrides, its files not read again. What was interpolated stays as it is."""
    layers = [Layer(dict(config.values), config.origins), *map(_override_layer, words)]
    return _resolve(layers, config.files, (*config.overrides, *words))


@lru_cache(maxsize=1)
def default_layer() -> Layer:
    """The built-in defaults."""
    layer = parse_layer(DEFAULTS_FILE.read_text(encoding="utf-8"), DEFAULTS_FILE)
    return Layer(layer.data, {key: Origin("default", text=origin.text) for key, origin in layer.origins.items()})


def _environment_layers() -> list[Layer]:
    """What variables of the launcher set where neither a file nor the command line does."""
    root = os.environ.get(ROOT_VARIABLE)
    return [Layer({"run": {"root": root}}, {"run.root": Origin("environment", text=ROOT_VARIABLE)})] if root else []


def parse_layer(text: str, file: Path) -> Layer:
    """One YAML document as a layer; `file` only names it. Raises ConfigError."""
    try:
        node = yaml.compose(_without_json_tabs(text), Loader=_Loader)
        if node is None:
            return Layer({}, {})
        reader = _NodeReader(file, text)
        data = reader.read(node, "")
    except yaml.YAMLError as error:
        raise _yaml_error(error, file, text) from None
    except RecursionError:
        deep = Text("nested too deep, or an alias contains itself", "嵌套层数过多，或别名（alias）包含自身")
        raise ConfigError("config-not-yaml", deep, where=str(file)) from None
    if not isinstance(data, dict):
        raise ConfigError("config-section-invalid",
                          Text("settings must stand under sections (swift:, launch:, ...)",
                               "设置应写在各段（section）之下，如 swift:、launch:"), where=f"{file}:1",
                          hint=(*_blank_missing(data), Text(f"sections: {', '.join(SECTIONS)}",
                                                            f"可用的段：{', '.join(SECTIONS)}")))
    return Layer(data, reader.origins)


def _without_json_tabs(text: str) -> str:
    """JSON may be indented with tabs, which YAML does not take; the columns stay."""
    return re.sub(r"^[ \t]+", lambda indent: " " * len(indent[0]), text, flags=re.M) if text.lstrip()[:1] == "{" else text


def _blank_missing(value: Any) -> tuple[Text, ...]:
    """The hint where a text looks like a key and its value without the blank between them, or a list like keys with dashes."""
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return (Text("write the keys without dashes before them", "键前面不要加短横线"),)
    if isinstance(value, list) and value:
        value = value[0]  # `- A=1`, as Docker's files have it
    pair = pair_in(value) if isinstance(value, str) else None
    return (Text(f"write a colon and a blank: {pair}", f"要写冒号加空格：{pair}"),) if pair else ()


class _NodeReader:
    """YAML nodes to plain data, noting line and written text of every leaf. Never builds an object from a tag."""

    def __init__(self, file: Path, text: str = "") -> None:
        self.file = file
        self.origins: dict[str, Origin] = {}
        self._lines = text.splitlines()
        self._loader = _Loader("")
        self._nodes = 0

    def read(self, node: yaml.Node, key: str) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise self._error(node, key, Text("too many values: an alias multiplies them", "值过多：别名（alias）成倍展开"))
        if node.tag not in _PLAIN_TAGS:
            raise self._error(node, key, Text(f"the tag {node.tag.replace(_YAML_TAG, '!!')} is not allowed in a config",
                                              f"配置中不允许使用标签 {node.tag.replace(_YAML_TAG, '!!')}"),
                              why=Text("tags can build objects; a config holds plain values only",
                                       "标签会构造对象，而配置只能包含普通值"))
        if isinstance(node, yaml.MappingNode):
            return self._read_mapping(node, key)
        if isinstance(node, yaml.SequenceNode):
            self._note(node, key, None, next(filter(None, map(self._lost, node.value)), None))
            return [self.read(item, f"{key}[{i}]") for i, item in enumerate(node.value)]
        try:
            value = self._loader.construct_object(node)
        except (ValueError, yaml.YAMLError) as error:
            message = Text(f"cannot read {node.value!r}", f"无法读取 {node.value!r}")
            raise self._error(node, key, message, why=str(error)) from None
        self._note(node, key, node.value, self._lost(node))
        return value

    def _read_mapping(self, node: yaml.MappingNode, key: str) -> dict[str, Any]:
        written = {k.value: k for k, _ in reversed(node.value) if isinstance(k, yaml.ScalarNode)}
        for name_node, _ in node.value:
            if not isinstance(name_node, yaml.ScalarNode):
                raise self._error(name_node, key, Text("a key must be plain text", "键必须是普通文本"))
            if name_node.value[:1] in ("\u3000", "\u00a0"):
                raise self._error(name_node, name_node.value.strip(), Text(
                    "a wide or no-break space stands before this key; indent with plain spaces",
                    "该键前面有全角空格或不换行空格；请改用普通空格缩进"))
            first = written[name_node.value]
            if first is not name_node and name_node.tag != f"{_YAML_TAG}merge":
                raise self._error(name_node, dotted(key, name_node.value),
                                  Text("this key is written twice", "该键重复出现"),
                                  why=Text(f"first on line {first.start_mark.line + 1}",
                                           f"第一次出现在第 {first.start_mark.line + 1} 行"))
        try:
            self._loader.flatten_mapping(node)  # `<<: *base`
        except yaml.YAMLError as error:
            raise _yaml_error(error, self.file, "\n".join(self._lines)) from None
        data = {}
        for name_node, value_node in node.value:
            name = str(name_node.value)
            data[name] = self.read(value_node, dotted(key, name))
            if isinstance(data[name], dict):  # which has no value of its own whose line could be told
                self._note(name_node, dotted(key, name), None)
        if not data:
            self._note(node, key, None)
        return data

    def _note(self, node: yaml.Node, key: str, text: str | None, comment: str | None = None) -> None:
        self.origins[key] = Origin("file", self.file, node.start_mark.line + 1, text, comment)

    def _lost(self, node: yaml.Node) -> str | None:
        """A plain value with the `#500` behind it, or the `#half` in its place, that YAML takes for a comment; None where there
        is none."""
        if not isinstance(node, yaml.ScalarNode) or node.style is not None or node.end_mark.line >= len(self._lines):
            return None
        rest = self._lines[node.end_mark.line][node.end_mark.column:]
        lost = re.match(r"[ \t]+(#\d+)\s*(?:$|,|#)" if node.value else r"[ \t]*(#[^\s#].*?)\s*$", rest)
        return f"{node.value}{lost[1]}" if lost else None

    def _error(self, node: yaml.Node, key: str, message: Words, *, why: Words = "") -> ConfigError:
        return ConfigError("config-not-plain", message, where=_place(Origin("file", self.file, node.start_mark.line + 1), key),
                           why=why)


def _file_layers(file: Path, read: dict[Path, Layer], chain: tuple[Path, ...], with_bases: bool = True) -> list[Layer]:
    """The layers of a file: those of its bases, depth first, then its own."""
    identity = _identity(file)
    if identity in chain:
        loop = " -> ".join(str(p) for p in (*chain[chain.index(identity):], identity))
        raise ConfigError("config-extends-invalid",
                          Text("these configs extend each other in a circle", "配置之间循环继承（extends）"), where=str(file),
                          why=loop)
    text = _read_text(file, chain)
    _refuse_other_files(file, text)
    layer = parse_layer(text, file)
    _refuse_flat(file, layer.data)
    below: list[Layer] = []
    for base in _bases(layer, file) if with_bases else ():
        if _identity(base) not in read:  # a base that two files share stands once, below both
            below += _file_layers(base, read, (*chain, identity))
    read[identity] = layer
    own = {key: value for key, value in layer.data.items() if key != "extends"}
    return [*below, Layer(own, {k: o for k, o in layer.origins.items() if k.partition(".")[0] != "extends"})]


def _bases(layer: Layer, file: Path) -> list[Path]:
    named = layer.data.get("extends")
    bases = [named] if isinstance(named, str) else named or []
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError("config-extends-invalid",
                          Text("extends must be a path or a list of paths", "extends 应为路径或路径列表"),
                          where=_place(layer.origins.get("extends", Origin("file", file, 1)), "extends"))
    return [Path(base) if base.startswith(PACKAGED) else file.parent / expand_user(base) for base in bases]


def _identity(file: Path) -> Path:
    return file if str(file).startswith(PACKAGED) else Path(os.path.realpath(file))  # resolve() raises for a circle of links


def place_of(file: Path) -> Path:
    """Where a config lies: one of the package, `swift-fa:lora`, in there."""
    name = str(file)
    return _PACKAGED_FOLDER / f"{name.removeprefix(PACKAGED)}.yaml" if name.startswith(PACKAGED) else file


def expand_user(path: str) -> Path:
    """The path with `~` and `~name` in place; as it stands where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _read_text(file: Path, chain: tuple[Path, ...]) -> str:
    via = f"extends: {' -> '.join(str(p) for p in (*chain, file))}" if chain else ""
    try:
        return read_bounded(place_of(file), _LARGEST).decode("utf-8-sig")
    except FileNotFoundError:
        if str(file).startswith(PACKAGED):
            names = ", ".join(sorted(PACKAGED + one.stem for one in _PACKAGED_FOLDER.glob("*.yaml")))
            raise ConfigError("config-missing", Text(f"the package has no config {file}", f"软件包中没有配置 {file}"), where=via,
                              hint=(Text(f"it has: {names}", f"其中有：{names}"),)) from None
        raise ConfigError("config-missing", Text(f"there is no config {file}", f"配置文件 {file} 不存在"), where=via,
                          hint=_near_configs(file, chain)) from None
    except UnicodeDecodeError as error:
        raise ConfigError("config-unreadable", Text(f"the config {file} is not UTF-8 text", f"配置文件 {file} 不是 UTF-8 文本"),
                          where=via, why=str(error), hint=_as_utf8(file)) from None
    except OSError as error:
        if file.is_dir():
            raise _folder_error(file, via) from None
        raise ConfigError("config-unreadable", Text(f"cannot read the config {file}", f"无法读取配置文件 {file}"), where=via,
                          why=error.strerror or str(error)) from None


def _near_configs(file: Path, chain: tuple[Path, ...]) -> tuple[Text, ...]:
    """The config beside a missing one whose name is nearest, but for those that name it."""
    beside = {other.stem: str(file.parent / other.name) for other in sorted(file.parent.glob("*.y*ml"))
              if _identity(other) not in chain}
    if packaged := re.fullmatch(r"swift[-_]fa[/:\\]?(\w+)(?:\.ya?ml)?", file.name if file.parent == Path() else str(file)):
        return (Text(f"a config of the package is written {PACKAGED}{packaged[1]}",
                     f"软件包中的配置写作 {PACKAGED}{packaged[1]}"),)
    near = [name for name in (file.name, file.stem) if name in beside] or difflib.get_close_matches(file.stem, beside, n=1)
    there = ", ".join([*beside.values()][:5])
    return tuple(Text(f"did you mean {beside[name]}?", f"是否想写 {beside[name]}？") for name in near[:1]) or (
        (Text(f"the configs there: {there}", f"那里的配置：{there}"),) if beside else ())


def _folder_error(file: Path, via: str) -> ConfigError:
    """A folder where a config is wanted: of configs, or a model's."""
    inside = [Text(f"name a config in it: {one}", f"指定其中的一个配置：{one}") for one in sorted(file.glob("*.y*ml"))[:3]]
    model = typed("swift.model", str(file))
    if (file / "config.json").is_file():
        inside.append(Text(f"if it is a model: swift-fa init my.yaml, then swift-fa train my.yaml {model}",
                           f"如果它是模型：先 swift-fa init my.yaml，再 swift-fa train my.yaml {model}"))
    first = Text("write a first config: swift-fa init my.yaml", "写一份初始配置：swift-fa init my.yaml")
    return ConfigError("config-unreadable", Text(f"{file} is a folder, not a config", f"{file} 是文件夹，不是配置文件"),
                       where=via, hint=tuple(inside) or (first,))


#: How archives, programs and pictures begin; gzip's has two bytes alone.
_PACKED = (b"PK\x03\x04", b"\x7fELF", b"\x89PNG", b"%PDF", b"BZh9", b"7z\xbc\xaf", b"\xfd7zX", b"\x28\xb5\x2f\xfd")


def _as_utf8(file: Path) -> tuple[Words, ...]:
    """How to write the file anew in UTF-8: by its first bytes UTF-16, else Chinese Windows' own."""
    try:
        begin = file.read_bytes()[:4]
    except OSError:
        return ()
    if begin in _PACKED or begin[:2] == b"\x1f\x8b":
        return (Text("it is packed or compiled, not text: name a YAML file", "这是压缩包或程序，不是文本：请指定一个 YAML 文件"),)
    encoding = "UTF-16" if begin[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in begin else "GB18030"
    into = shlex.quote(str(file.with_name(f"utf8-{file.name}")))
    return (Text(f"write it as UTF-8: iconv -f {encoding} -t UTF-8 -o {into} {shlex.quote(str(file))}",
                 f"转成 UTF-8：iconv -f {encoding} -t UTF-8 -o {into} {shlex.quote(str(file))}"),)


#: What else people name where a config is wanted.
_DATA, _SCRIPTS = (".jsonl", ".csv", ".tsv", ".parquet", ".arrow"), (".sh", ".bash", ".zsh", ".sbatch", ".slurm", ".log")


def _refuse_other_files(file: Path, text: str) -> None:
    """Data, scripts, logs and commands that `import` makes a config of, and a file with nothing in it."""
    if not text.strip():
        first = shlex.quote(str(file.with_name(f"first-{file.name}")))
        raise ConfigError("config-section-invalid", Text(f"the config {file} is empty", f"配置文件 {file} 是空的"),
                          where=str(file), hint=(Text(f"write a first config: swift-fa init {first}",
                                                      f"写一份初始配置：swift-fa init {first}"),))
    if file.suffix.lower() in _DATA:
        setting = typed("swift.dataset", [str(file)])
        raise ConfigError("config-section-invalid", Text(f"{file} is data, not a config",
                                                         f"{file} 是数据文件，不是配置"), where=str(file),
                          hint=(Text(f"train on it: swift-fa train CONFIG {setting}",
                                     f"用它训练：swift-fa train CONFIG {setting}"),))
    if re.match(r"(?:#.*\n|\s)*\[[\w.-]+\]\s*\n\s*[\w.-]+\s*=", text):
        raise ConfigError("config-not-yaml", Text(f"{file} is TOML or INI; a config is YAML",
                                                  f"{file} 是 TOML 或 INI，配置应为 YAML"),
                          where=str(file), hint=(Text("write KEY: VALUE indented below a line swift:",
                                                      "在 swift: 行下面缩进写 KEY: VALUE"),))
    if file.suffix.lower() in _SCRIPTS or text.startswith("#!") or re.search(r"^[^#:{]*\bswift\s+(sft|pt|rlhf)\s", text, re.M):
        raise ConfigError("config-section-invalid", Text(f"{file} is a script or a log, not a config",
                                                         f"{file} 是脚本或日志，不是配置"),
                          where=str(file), hint=(_import(file),))


def _refuse_flat(file: Path, data: Mapping[str, Any]) -> None:
    """Keys without any section: ms-swift's own `--config` or args.json, or another trainer's YAML."""
    if any(name.partition(".")[0] in SECTIONS or name == "extends" for name in data) or not data:
        return  # of sections, or unknown keys with dots
    if any(isinstance(below, dict) and difflib.get_close_matches(name, SECTIONS, n=1) for name, below in data.items()):
        return  # a section's name, misspelt
    if other := next((said for key, said in OTHER_KINDS.items() if key in data), None):
        raise ConfigError("config-section-invalid", Text(f"{file} is not a config", f"{file} 不是配置"), where=f"{file}:1",
                          hint=(other,))
    if all(isinstance(below, dict) for below in data.values()):
        name = next(iter(data))
        inside = [pair for group, below in data.items() for pair in settings_in(group, below)]
        raise ConfigError("config-section-invalid", Text(f"there is no section {name}", f"没有段（section）{name}"),
                          where=f"{file}:1",
                          hint=(*([_in_sections(inside)] if inside else ()),
                                Text("arguments of ms-swift stand under swift:", "ms-swift 的参数写在 swift: 下面"),
                                Text(f"sections: {', '.join(SECTIONS)}", f"可用的段：{', '.join(SECTIONS)}")))
    names = ", ".join([*data][:3]) + (", ..." if len(data) > 3 else "")
    raise ConfigError("config-section-invalid",
                      Text(f"{names}: these settings stand under no section", f"{names}：这些设置没有写在任何段（section）之下"),
                      where=f"{file}:1",
                      why=Text("this looks like ms-swift's own YAML or args.json; swift-fa has them under swift:, launch: …",
                               "这像是 ms-swift 自己的 YAML 或 args.json；swift-fa 把设置写在 swift:、launch: 等段之下"),
                      hint=(_import(file), Text("or write swift: above them and indent them",
                                                "或在它们上面写 swift:，并把它们缩进")))


def _import(file: Path) -> Text:
    command = f"swift-fa import {shlex.quote(str(file))}"
    return Text(f"make a config of it: {command}", f"把它转成配置：{command}")


def _override_layer(words: str) -> Layer:
    """`swift.learning_rate=1e-4` as a layer of one leaf; the value is read as YAML, except that `a: b` stays text."""
    key, equals, text = words.partition("=")
    key = key.strip()
    if not equals or not re.fullmatch(r"[^.=\s]+(\.[^.=\s]+)+", key):
        meant = find_settings(key) if equals and re.fullmatch(r"[\w-]+", key) else ()
        raise ConfigError("setting-invalid", Text(f"not a setting: {strike_assigned(words)}",
                                                  f"不是有效的设置：{strike_assigned(words)}"), where="command line",
                          why=Text("a setting is section.key=value", "设置的形式为 section.key=value"),
                          hint=tuple(quoted(strike_assigned(f"{one}={text}")) for one in meant[:1]))
    value = _override_value(text, words)
    parts = key.split(".")
    data: Any = value
    for part in reversed(parts):
        data = {part: data}
    below = [k for k, _ in leaves(value)] if isinstance(value, dict) else []
    origin = Origin("override", text=words)
    return Layer(data, {dotted(key, k): origin for k in below} or {key: origin})


def _override_value(text: str, words: str) -> Any:
    """A list, a group or a quoted text is read as YAML; all else is one scalar, whatever YAML would see in it."""
    text = text.strip()
    if not text:  # YAML would read null, which leaves an argument out: more likely a shell variable that is not set
        raise ConfigError("setting-without-value", Text(f"the setting {words} has no value", f"设置 {words} 没有给出值"),
                          where="command line",
                          hint=(Text(f"to leave the argument out: {words}null", f"不设置该参数：{words}null"),
                                Text(f"to set an empty text: {words}'\"\"'", f"设为空文本：{words}'\"\"'")))
    if text[:1] not in ("{", "[", '"', "'"):
        tag = _Loader("").resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        return _Loader("").construct_object(yaml.ScalarNode(tag, text))
    place = Path("command line")
    try:
        node = yaml.compose(text, Loader=_Loader)
        return None if node is None else _NodeReader(place).read(node, "")
    except (yaml.YAMLError, ConfigError, RecursionError) as error:
        name = words.partition("=")[0]
        why = error.why or error.message if isinstance(error, ConfigError) else find_fault(text, error).message \
            if isinstance(error, yaml.YAMLError) else str(error)
        raise ConfigError("setting-invalid", Text(f"cannot read the value of {words}", f"无法读取 {words} 的值"),
                          where="command line", why=why, hint=(*_closed(name, text),
                                                               Text(f"quote the value: {name}='\"TEXT\"'",
                                                                    f"给值加引号：{name}='\"文本\"'"))) from None


def _closed(name: str, text: str) -> tuple[str, ...]:
    """The setting with its bracket closed, or without a quote that stands alone; none where neither makes it readable."""
    whole = text + {"[": "]", "{": "}"}.get(text[:1], "") if text[:1] in "[{" else text.strip("\"'")
    try:
        yaml.compose(whole, Loader=_Loader)
    except yaml.YAMLError:
        return ()
    return (quoted(f"{name}={whole}"),)


def _resolve(layers: Sequence[Layer], files: tuple[Path, ...], overrides: tuple[str, ...]) -> ResolvedConfig:
    data: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    sections = {name: _SECTION_TYPES.get(name) for name in SECTIONS}
    _refuse(error for layer in layers for error in _unknown_names(layer.origins, layer.data, sections))
    for layer in layers:
        _merge(data, origins, layer.data, layer.origins, "")
    values = _interpolate(data, origins)
    swift, env = values.get("swift") or {}, _decode_env(values.get("env") or {}, origins)
    typed = {name: _decode_section(name, kind, values.get(name), origins) for name, kind in _SECTION_TYPES.items()}
    plain = {"swift": swift, **{name: encode(section) for name, section in typed.items()}, "env": dict(env)}
    return ResolvedConfig(swift=SwiftArguments(swift), env=env, origins=MappingProxyType(origins),
                          values=MappingProxyType({name: plain[name] for name in SECTIONS}), files=files,
                          overrides=overrides, **typed)


def _merge(data: dict[str, Any], origins: dict[str, Origin], above: Mapping[str, Any], written: Mapping[str, Origin],
           prefix: str) -> None:
    """Lay `above` over `data`, key by key; lists and scalars are replaced whole, a null section changes nothing."""
    for name, value in above.items():
        key = dotted(prefix, name)
        if isinstance(value, dict) and value:
            if not isinstance(data.get(name), dict):
                _drop(origins, key)
                data[name] = {}
            origins.pop(key, None)
            _merge(data[name], origins, value, written, key)
        elif (value is None and key in SECTIONS) or (value == {} and isinstance(data.get(name), dict)):
            continue
        else:
            _drop(origins, key)
            data[name] = dict(value) if isinstance(value, dict) else value  # never the layer's own
            if key in written:
                origins[key] = written[key]


def _drop(origins: dict[str, Origin], key: str) -> None:
    for below in [k for k in origins if k == key or k.startswith(f"{key}.")]:
        del origins[below]


def _refuse(errors: Iterable[ConfigError]) -> None:
    """Raises what is wrong, if anything is, in one error."""
    found = [*errors]
    if len(found) == 1:
        raise found[0]
    if found:
        raise ConfigError("config-key-unknown",
                          Text(f"{len(found)} entries of the config are wrong", f"配置中有 {len(found)} 处错误"),
                          hint=tuple(joined((error.where, error.message, *error.hint)) for error in found))


def _unknown_names(origins: Mapping[str, Origin], value: Mapping[str, Any], hints: Mapping[str, Any],
                   prefix: str = "") -> Iterator[ConfigError]:
    """Unknown sections and keys, and values where a section belongs, with the nearest name. hints: name to type."""
    for name, below in value.items():
        key = dotted(prefix, name)
        origin = origin_below(origins, key)
        if name not in hints:
            what = Text("key", "键") if prefix else Text("section", "段（section）")
            error = _unknown_key(key, [dotted(prefix, k) for k in hints], origin, what)
            if isinstance(below, dict) and not prefix and (inside := settings_in(name, below)):
                error.hint = (_in_sections(inside),)
            yield error
        elif not prefix and below is not None and not isinstance(below, dict):
            yield ConfigError("config-section-invalid",
                              Text(f"the section {name} holds keys and values, not {below!r}",
                                   f"段 {name} 应包含键和值，而不是 {below!r}"), where=_place(origin, name),
                              hint=_blank_missing(below) or _as_group(name, below))
        elif dataclasses.is_dataclass(hints[name]) and isinstance(below, dict):
            yield from _unknown_names(origins, below, field_types(hints[name]), key)


def _in_sections(settings: Sequence[tuple[str, Any]]) -> Text:
    """Settings that stand in a group of another program."""
    line = " ".join(typed(key, value) for key, value in settings)
    return Text(f"as settings of swift-fa: {line}", f"写成 swift-fa 的设置：{line}")


def _as_group(section: str, value: Any) -> tuple[str, ...]:
    """The one value that stands for a section, under the key that it most likely means."""
    word = str(value).lower()
    keys = {"swift": "model", "swanlab": "enabled" if isinstance(value, bool) else "mode" if word in SWANLAB_MODES else "project",
            "launch": "gpus" if re.fullmatch(r"[\d,-]+", word) else "target", "run": "name"}
    return (f"{section}: {{{keys[section]}: {word if isinstance(value, bool) else value}}}",) if section in keys else ()


#: What other programs call `extends`.
_EXTENDS = ("extend", "base", "bases", "_base_", "inherit", "inherits", "include", "includes", "parent", "defaults", "import")


def _unknown_key(key: str, names: Sequence[str], origin: Origin | None, what: Text) -> ConfigError:
    """What a name that no section has may mean: one of its own section, or a key of another by name, meaning or likeness."""
    section, dot, rest = key.partition(".")
    if dot and what.en == "section" and section in SECTIONS:
        return ConfigError("config-section-invalid",
                           Text(f"{key}: a file has sections; key=value on the command line has dots",
                                f"{key}：文件中要写成段；带点的写法用于命令行的 key=value"), where=_place(origin, key),
                           hint=(Text(f"write {rest} indented below a line {section}:", f"在 {section}: 行下面缩进写 {rest}"),))
    group, _, last = key.rpartition(".")
    own = [n.rpartition(".")[2] for n in names]
    begun = [dotted(group, n) for n in own if n.startswith(last)]
    elsewhere = find_settings(last, near=False)
    near = [dotted(group, n) for n in difflib.get_close_matches(last, own, n=1)]
    alike = find_settings(last) if group else ()
    bases = ["extends"] if not group and last in _EXTENDS else []
    guess = next(iter([*bases, *begun, *elsewhere, *near, *alike]), None)
    here = guess is not None and (guess.rpartition(".")[0] == group)
    listed = ", ".join(own)
    hint = (Text(f"did you mean {guess}?", f"是否想写 {guess}？") if guess and here else
            Text(f"it belongs under {guess.partition('.')[0]}: {guess}",
                 f"它应写在 {guess.partition('.')[0]} 段：{guess}") if guess else
            Text(f"known: {listed}", f"可用：{listed}"))
    more = () if guess else (Text(f"if it is an argument of ms-swift: swift.{last}", f"如果它是 ms-swift 的参数：swift.{last}"),)
    if not guess and is_secret_name(last):
        variable = "SWANLAB_API_KEY" if group == "swanlab" else last.upper()
        hint, more = Text(f"a secret belongs in no config; in the shell: export {variable}=VALUE",
                          f"密钥不能写入配置；请在 shell 中：export {variable}=值"), ()
    return ConfigError("config-key-unknown", Text(f"unknown {what.en} {key}", f"未知的{what.zh} {key}"),
                       where=_place(origin, key), hint=(hint, *more))


def _interpolate(data: dict[str, Any], origins: Mapping[str, Origin]) -> dict[str, Any]:
    """`data` with every `${…}` resolved by OmegaConf; a failure names the leaf that asked."""
    if not any(mark in str(value) for _, value in leaves(data) for mark in ("${", "???")):
        return copy.deepcopy(data)
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for key, value in leaves(data):  # OmegaConf names no place when it cannot read the whole
        if "${" in str(value):
            try:
                OmegaConf.create({"value": value})
            except (OmegaConfBaseException, ValueError) as error:
                raise _interpolation_error(error, key, origins) from None
    _refuse_multiplied(data, origins)
    tree = OmegaConf.create(data)
    return {str(name): _plain(tree, name, str(name), origins) for name in tree}


def _refuse_multiplied(data: Mapping[str, Any], origins: Mapping[str, Origin]) -> None:
    """Raises ConfigError where interpolations of interpolations make a text without end: ten in each, ten levels deep."""
    texts = {key: str(value) for key, value in leaves(data) if "${" in str(value)}
    sizes: dict[str, int] = {}

    def size(key: str) -> int:
        if key not in sizes:
            sizes[key] = 0  # a circle is for OmegaConf to tell
            named = re.findall(r"\$\{(\.*)(\w[\w.]*)\}", texts.get(key, ""))
            sizes[key] = len(texts.get(key, "")) + sum(
                size(dotted(key.rsplit(".", len(dots))[0], name) if dots else name) for dots, name in named)
        return sizes[key]
    for key in texts:
        if size(key) > _LARGEST:
            raise ConfigError("config-interpolation-failed",
                              Text(f"the interpolations in {key} multiply each other without end",
                                   f"{key} 中的插值层层相乘，没有尽头"),
                              where=_place(origins.get(key), key))


def _plain(parent: Any, name: Any, key: str, origins: Mapping[str, Origin]) -> Any:
    from omegaconf import DictConfig, ListConfig
    from omegaconf.errors import OmegaConfBaseException

    try:
        value = parent[name]
    except OmegaConfBaseException as error:
        raise _interpolation_error(error, key, origins) from None
    if isinstance(value, DictConfig):
        return {str(k): _plain(value, k, dotted(key, str(k)), origins) for k in value}
    if isinstance(value, ListConfig):
        return [_plain(value, i, key, origins) for i in range(len(value))]
    return value


def _interpolation_error(error: Exception, key: str, origins: Mapping[str, Origin]) -> ConfigError:
    origin = origins.get(key)
    variable = re.search(r"[Ee]nvironment variable '([^']+)' not found", str(error))
    if variable:
        name = variable[1]
        return ConfigError("config-interpolation-failed",
                           Text(f"{key} needs the environment variable {name}, which is not set",
                                f"{key} 需要环境变量 {name}，但它没有设置"), where=_place(origin, key),
                           hint=(f"export {name}=VALUE",
                                 Text(f"or give a default: ${{oc.env:{name},default}}",
                                      f"或给出默认值：${{oc.env:{name},default}}")))
    if "Missing mandatory value" in str(error):
        return ConfigError("config-value-missing", Text(f"{key} needs a value", f"{key} 需要一个值"), where=_place(origin, key))
    written = re.search(r"\$\{(?:env[:.])?([A-Za-z_]\w*)(?:,([^{}]*)|:-([^{}]*))?\}", str(origin.text if origin else ""))
    if written and (written[1].isupper() or "env" in written[0][:5]):
        default = written[2] or written[3]
        right = f"${{oc.env:{written[1]}{',' + default if default else ''}}}"
        return ConfigError("config-interpolation-failed",
                           Text(f"{key}: an environment variable is written {right}, not {written[0]}",
                                f"{key}：环境变量应写成 {right}，而不是 {written[0]}"), where=_place(origin, key),
                           hint=(Text(f"write {right}", f"请写成 {right}"),))
    return ConfigError("config-interpolation-failed",
                       Text(f"the interpolation in {key} cannot be resolved", f"无法解析 {key} 的插值"),
                       where=_place(origin, key), why=_first_line(error), hint=_INTERPOLATIONS)


_INTERPOLATIONS = (Text("a variable is written ${oc.env:NAME}, another value of the config ${swift.model}",
                        "环境变量写成 ${oc.env:NAME}，配置中的其他值写成 ${swift.model}"),)


def _decode_section(name: str, kind: type, value: Any, origins: Mapping[str, Origin]) -> Any:
    try:
        value = _with_gpus(value, origins) if name == "launch" and isinstance(value, dict) else value
        section = decode(kind, _lenient(kind, value or {}, origins, name))
    except DecodeError as error:
        key = dotted(name, error.path)
        raise ConfigError("config-value-invalid", Text(f"{key}: {error.message.en}", f"{key} 的类型不对：{error.message.zh}"),
                          where=_place(_origin_near(origins, key), key),
                          hint=_value_hint(kind, value, error.path, key)) from None
    for key, choices in CHOICES.items():
        found = _at(section, key) if key.startswith(f"{name}.") else None
        if found is not None and found not in choices:
            meant = VALUES_MEANT.get(key, {}).get(str(found).lower())
            raise ConfigError("config-value-invalid",
                              Text(f"{key} must be {', '.join(choices[:-1])} or {choices[-1]}, not {found!r}",
                                   f"{key} 必须是 {'、'.join(choices)} 之一，而不是 {found!r}"),
                              where=_place(origins.get(key), key),
                              hint=tuple(typed(key, choice) for choice in ([meant] if meant else _nearest(str(found), choices))))
    for key, (least, most) in RANGES.items():
        number = _at(section, key) if key.startswith(f"{name}.") else None
        if number is not None and not least <= number <= most:
            raise ConfigError("config-value-invalid",
                              Text(f"{key} must be from {least} to {most}, not {number}",
                                   f"{key} 必须在 {least} 到 {most} 之间，而不是 {number}"), where=_place(origins.get(key), key),
                              hint=(typed(key, min(max(number, least), most)),))
    return section


def _at(section: Any, key: str) -> Any:
    """The value of a dotted key, whose first name is the section's."""
    return reduce(getattr, key.split(".")[1:], section)


def _nearest(word: str, choices: Sequence[str]) -> Sequence[str]:
    """The choice that a word is like; the first ones where it is like none."""
    return difflib.get_close_matches(word, choices, n=1) or choices[:3]


def _value_hint(kind: type, value: Any, path: str, key: str) -> tuple[Words, ...]:
    """What a value of the wrong kind may mean: a word of another program, a number with a unit, a key of the group."""
    *groups, name = path.split(".")
    for group in groups:
        kind, value = field_types(kind).get(group, kind), value.get(group) if isinstance(value, dict) else None
    found, hint = value.get(name) if isinstance(value, dict) else None, field_types(kind).get(name)
    wanted = str(hint)
    if meant := VALUES_MEANT.get(key, {}).get(str(found).lower()):
        return (typed(key, meant),)
    if dataclasses.is_dataclass(hint):
        return (typed(dotted(key, next(iter(field_types(hint)))), found),)  # type: ignore[arg-type]
    if "Mapping" in wanted and found is not None:
        return (Text(f"names and values belong there: {name}: {{NAME: VALUE}}", f"这里应写名称和值：{name}: {{NAME: VALUE}}"),)
    if "bool" in wanted:
        return typed(key, True), typed(key, False)
    if not isinstance(found, (str, bool)) or not ("int" in wanted or "float" in wanted):
        return ()
    if isinstance(found, str) and (number := number_meant(key, found, whole="int" in wanted)) is not None:
        return (typed(key, number),)
    leave = typed(key, None)
    if "None" in wanted:
        return (Text(f"leave it to swift-fa: {leave}", f"由 swift-fa 决定：{leave}"),)
    usual = typed(key, getattr(kind(), name))
    return (Text(f"write a number, such as {usual}", f"请写数字，如 {usual}"),)


def _with_gpus(launch: dict[str, Any], origins: Mapping[str, Origin]) -> dict[str, Any]:
    """`launch` with `gpus` as indices, however they were written, and how many free ones are meant beside them."""
    try:
        gpus, free = parse_gpus(launch.get("gpus"))
    except GpusError as error:
        place = _place(origin_below(origins, "launch.gpus"), "launch.gpus")
        raise ConfigError("config-value-invalid", error.message, where=place, hint=error.hint) from None
    return {**launch, "gpus": gpus, "free_gpus": free or launch.get("free_gpus")}


def _lenient(hint: Any, value: Any, origins: Mapping[str, Origin], key: str) -> Any:
    """What an environment variable or a quick hand writes: "8" for 8, "true" for true, one item for a list of it."""
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        hints = field_types(hint)  # type: ignore[arg-type]
        return {name: _lenient(hints.get(name), item, origins, dotted(key, name)) for name, item in value.items()}
    wanted = str(hint)
    if "tuple" in wanted and isinstance(value, str):
        value = [part.strip() for part in re.split("[,，]", value) if part.strip()]
    elif "tuple" in wanted and isinstance(value, (int, float)) and not isinstance(value, bool):
        value = [value]
    if "tuple" in wanted and isinstance(value, list):
        return [_lenient_scalar(wanted, item, None) for item in value]
    return _lenient_scalar(wanted, value, origins.get(key))


def _lenient_scalar(wanted: str, value: Any, origin: Origin | None) -> Any:
    if isinstance(value, str) and "str" not in wanted:
        try:
            read = yaml.load(value, Loader=_Loader)  # a SafeLoader
        except yaml.YAMLError:
            return value
        return read if isinstance(read, (bool, int, float)) else value
    if "str" in wanted and isinstance(value, bool) and (_written(origin) or "").lower() not in ("true", "false"):
        return _written(origin) or value  # a word such as off, which YAML reads as false
    if "str" in wanted and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _written(origin) or str(value)  # a name such as 1e3 or a version such as 2.10 stays what it is
    return value


def _written(origin: Origin | None) -> str | None:
    """The scalar as the user wrote it; None for what was interpolated or never written."""
    return None if origin is None or "${" in (origin.text or "") else origin.scalar


def _decode_env(values: Mapping[str, Any], origins: Mapping[str, Origin]) -> Mapping[str, str]:
    env = {}
    for name, value in values.items():
        origin = origins.get(f"env.{name}")
        if bare := re.fullmatch(r"(?:export\s+)?(\w+)\s*", name if re.search(r"\s", name) else ""):
            raise ConfigError("config-value-invalid", Text(f"env.{name}: the name of a variable holds no blank",
                                                           f"env.{name}：变量名中不能有空格"),
                              where=_place(origin, f"env.{name}"), hint=(f"env.{bare[1]}=VALUE",))
        if isinstance(value, (dict, list)) or "=" in name or "\0" in f"{name}{value}":
            raise ConfigError("config-value-invalid",
                              Text(f"env.{name} must be one plain value", f"env.{name} 必须是单个普通值"),
                              where=_place(origin, f"env.{name}"))
        if value is not None:
            plain = str(value).lower() if isinstance(value, bool) else str(value)
            env[name] = plain if isinstance(value, str) else _written(origin) or plain
    return MappingProxyType(env)


def _origin_near(origins: Mapping[str, Origin], key: str) -> Origin | None:
    key = re.sub(r"\[\d+\].*", "", key)
    while key:
        if found := origin_below(origins, key):
            return found
        key = key.rpartition(".")[0]
    return None


def _place(origin: Origin | None, key: str) -> str:
    return f"{strike_assigned(str(origin))}: {key}" if origin else key


def _yaml_error(error: yaml.YAMLError, file: Path, text: str) -> ConfigError:
    fault = find_fault(text, error)
    hint = tuple(Text(*(strike_assigned(render_words(line, lang)) for lang in ("en", "zh"))) for line in fault.hint)
    excerpt = "\n".join(map(strike_assigned, render_excerpt(text, fault.line, fault.column).split("\n")))
    return ConfigError("config-not-yaml", fault.message, where=f"{file}:{fault.line + 1}:{fault.column + 1}", hint=hint,
                       excerpt=excerpt)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
