"""Reading configs: files, `extends`, overrides, interpolation, and the origin of every value.

The only user of OmegaConf, which does the interpolation, and is loaded only where there is any. Merging is done here,
since every leaf must keep the file and line that wrote it.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from swift_fa_launcher.config.render import leaves
from swift_fa_launcher.config.schema import CHOICES, SECTIONS, Origin, ResolvedConfig, SwiftArguments, origin_below
from swift_fa_launcher.decode import DecodeError, decode, dotted, encode, field_types
from swift_fa_launcher.errors import ConfigError, Text, Words, did_you_mean, joined

DEFAULTS_FILE = Path(__file__).with_name("defaults.yaml")

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
    layers = [default_layer()]
    for file in files:
        layers += _file_layers(file, read, chain=(), with_bases=with_bases)
    layers += [_override_layer(words) for words in overrides]
    return _resolve(layers, tuple(read), tuple(overrides))


def resolve_data(data: Mapping[str, Any]) -> ResolvedConfig:
    """The config of plain data over the built-in defaults, for configs that come from no file."""
    origins = {key: Origin("override", text=key) for key, _ in leaves(data)}
    return _resolve([default_layer(), Layer(data, origins)], (), ())


def override_config(config: ResolvedConfig, words: Sequence[str]) -> ResolvedConfig:
    """The config with further `key=value` overrides, its files not read again. What was interpolated stays as it is."""
    layers = [Layer(dict(config.values), config.origins), *map(_override_layer, words)]
    return _resolve(layers, config.files, (*config.overrides, *words))


@lru_cache(maxsize=1)
def default_layer() -> Layer:
    """The built-in defaults."""
    layer = parse_layer(DEFAULTS_FILE.read_text(encoding="utf-8"), DEFAULTS_FILE)
    return Layer(layer.data, {key: Origin("default", text=origin.text) for key, origin in layer.origins.items()})


def parse_layer(text: str, file: Path) -> Layer:
    """One YAML document as a layer; `file` only names it. Raises ConfigError."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is None:
            return Layer({}, {})
        reader = _NodeReader(file)
        data = reader.read(node, "")
    except yaml.YAMLError as error:
        raise _yaml_error(error, file) from None
    except RecursionError:
        deep = Text("nested too deep, or an alias contains itself", "嵌套层数过多，或别名（alias）包含自身")
        raise ConfigError("config-not-yaml", deep, where=str(file)) from None
    if not isinstance(data, dict):
        raise ConfigError("config-section-invalid",
                          Text("settings must stand under sections (swift:, launch:, ...)",
                               "设置应写在各段（section）之下，如 swift:、launch:"), where=f"{file}:1",
                          hint=(Text(f"sections: {', '.join(SECTIONS)}", f"可用的段：{', '.join(SECTIONS)}"),))
    return Layer(data, reader.origins)


class _NodeReader:
    """YAML nodes to plain data, noting line and written text of every leaf. Never builds an object from a tag."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.origins: dict[str, Origin] = {}
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
            self._note(node, key, None)
            return [self.read(item, f"{key}[{i}]") for i, item in enumerate(node.value)]
        try:
            value = self._loader.construct_object(node)
        except (ValueError, yaml.YAMLError) as error:
            message = Text(f"cannot read {node.value!r}", f"无法读取 {node.value!r}")
            raise self._error(node, key, message, why=str(error)) from None
        self._note(node, key, node.value)
        return value

    def _read_mapping(self, node: yaml.MappingNode, key: str) -> dict[str, Any]:
        written = {k.value: k for k, _ in reversed(node.value) if isinstance(k, yaml.ScalarNode)}
        for name_node, _ in node.value:
            if not isinstance(name_node, yaml.ScalarNode):
                raise self._error(name_node, key, Text("a key must be plain text", "键必须是普通文本"))
            first = written[name_node.value]
            if first is not name_node and name_node.tag != f"{_YAML_TAG}merge":
                raise self._error(name_node, dotted(key, name_node.value),
                                  Text("this key is written twice", "该键重复出现"),
                                  why=Text(f"first on line {first.start_mark.line + 1}",
                                           f"第一次出现在第 {first.start_mark.line + 1} 行"))
        try:
            self._loader.flatten_mapping(node)  # `<<: *base`
        except yaml.YAMLError as error:
            raise _yaml_error(error, self.file) from None
        data = {}
        for name_node, value_node in node.value:
            name = str(name_node.value)
            data[name] = self.read(value_node, dotted(key, name))
        if not data:
            self._note(node, key, None)
        return data

    def _note(self, node: yaml.Node, key: str, text: str | None) -> None:
        self.origins[key] = Origin("file", self.file, node.start_mark.line + 1, text)

    def _error(self, node: yaml.Node, key: str, message: Words, *, why: Words = "") -> ConfigError:
        return ConfigError("config-not-plain", message, where=_place(Origin("file", self.file, node.start_mark.line + 1), key),
                           why=why)


def _file_layers(file: Path, read: dict[Path, Layer], chain: tuple[Path, ...], with_bases: bool = True) -> list[Layer]:
    """The layers of a file: those of its bases, depth first, then its own."""
    identity = file.resolve()
    if identity in chain:
        loop = " -> ".join(str(p) for p in (*chain[chain.index(identity):], identity))
        raise ConfigError("config-extends-invalid",
                          Text("these configs extend each other in a circle", "配置之间循环继承（extends）"), where=str(file),
                          why=loop)
    layer = parse_layer(_read_text(file, chain), file)
    below: list[Layer] = []
    for base in _bases(layer, file) if with_bases else ():
        if base.resolve() not in read:  # a base that two files share stands once, below both
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
    return [file.parent / expand_user(base) for base in bases]


def expand_user(path: str) -> Path:
    """The path with `~` and `~name` in place; as it stands where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _read_text(file: Path, chain: tuple[Path, ...]) -> str:
    via = f"extends: {' -> '.join(str(p) for p in (*chain, file))}" if chain else ""
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        beside = [str(other) for other in file.parent.glob("*.y*ml")]
        raise ConfigError("config-missing", Text(f"there is no config {file}", f"配置文件 {file} 不存在"), where=via,
                          hint=did_you_mean(str(file), beside)) from None
    except UnicodeDecodeError as error:
        raise ConfigError("config-unreadable", Text(f"the config {file} is not UTF-8 text", f"配置文件 {file} 不是 UTF-8 文本"),
                          where=via, why=str(error)) from None
    except OSError as error:
        raise ConfigError("config-unreadable", Text(f"cannot read the config {file}", f"无法读取配置文件 {file}"), where=via,
                          why=error.strerror or str(error)) from None


def _override_layer(words: str) -> Layer:
    """`swift.learning_rate=1e-4` as a layer of one leaf; the value is read as YAML, except that `a: b` stays text."""
    key, equals, text = words.partition("=")
    key = key.strip()
    if not equals or not re.fullmatch(r"[^.=\s]+(\.[^.=\s]+)+", key):
        raise ConfigError("setting-invalid", Text(f"not a setting: {words}", f"不是有效的设置：{words}"), where="command line",
                          why=Text("a setting is section.key=value", "设置的形式为 section.key=value"))
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
        why = error.why or error.message if isinstance(error, ConfigError) else getattr(error, "problem", "") or str(error)
        raise ConfigError("setting-invalid", Text(f"cannot read the value of {words}", f"无法读取 {words} 的值"),
                          where="command line", why=why,
                          hint=(Text(f"quote the value: {name}='\"TEXT\"'", f"给值加引号：{name}='\"文本\"'"),)) from None


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
            yield _unknown_key(key, [dotted(prefix, k) for k in hints], origin, what)
        elif not prefix and below is not None and not isinstance(below, dict):
            yield ConfigError("config-section-invalid",
                              Text(f"the section {name} holds keys and values, not {below!r}",
                                   f"段 {name} 应包含键和值，而不是 {below!r}"), where=_place(origin, name))
        elif dataclasses.is_dataclass(hints[name]) and isinstance(below, dict):
            yield from _unknown_names(origins, below, field_types(hints[name]), key)


def _unknown_key(key: str, names: Sequence[str], origin: Origin | None, what: Text) -> ConfigError:
    last = key.rpartition(".")[2]
    begun = [n for n in names if n.rpartition(".")[2].startswith(last)]
    elsewhere = [f"{s}.{n}" for s, k in _SECTION_TYPES.items() for n in field_types(k) if n == last]
    near = difflib.get_close_matches(last, [n.rpartition(".")[2] for n in names], n=1)
    guess = next(iter([*begun, *elsewhere, *(key[: -len(last)] + n for n in near)]), None)
    listed = ", ".join(n.rpartition(".")[2] for n in names)
    return ConfigError("config-key-unknown", Text(f"unknown {what.en} {key}", f"未知的{what.zh} {key}"),
                       where=_place(origin, key),
                       hint=(Text(f"did you mean {guess}?", f"是否想写 {guess}？") if guess else
                             Text(f"known: {listed}", f"可用：{listed}"),))


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
    tree = OmegaConf.create(data)
    return {str(name): _plain(tree, name, str(name), origins) for name in tree}


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
    return ConfigError("config-interpolation-failed",
                       Text(f"the interpolation in {key} cannot be resolved", f"无法解析 {key} 的插值"),
                       where=_place(origin, key), why=_first_line(error))


def _decode_section(name: str, kind: type, value: Any, origins: Mapping[str, Origin]) -> Any:
    try:
        section = decode(kind, _lenient(kind, value or {}, origins, name))
    except DecodeError as error:
        key = dotted(name, error.path)
        raise ConfigError("config-value-invalid", Text(f"{key}: {error.message.en}", f"{key} 的类型不对：{error.message.zh}"),
                          where=_place(_origin_near(origins, key), key)) from None
    for key, choices in CHOICES.items():
        section_name, _, field_name = key.partition(".")
        if section_name == name and getattr(section, field_name) not in choices:
            found = getattr(section, field_name)
            raise ConfigError("config-value-invalid",
                              Text(f"{key} must be {', '.join(choices[:-1])} or {choices[-1]}, not {found!r}",
                                   f"{key} 必须是 {'、'.join(choices)} 之一，而不是 {found!r}"),
                              where=_place(origins.get(key), key), hint=did_you_mean(str(found), choices))
    return section


def _lenient(hint: Any, value: Any, origins: Mapping[str, Origin], key: str) -> Any:
    """What an environment variable or a quick hand writes: "8" for 8, "true" for true, one item for a list of it."""
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        hints = field_types(hint)  # type: ignore[arg-type]
        return {name: _lenient(hints.get(name), item, origins, dotted(key, name)) for name, item in value.items()}
    wanted = str(hint)
    if "tuple" in wanted and isinstance(value, (str, int, float)) and not isinstance(value, bool):
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
    return f"{origin}: {key}" if origin else key


def _yaml_error(error: yaml.YAMLError, file: Path) -> ConfigError:
    mark = getattr(error, "problem_mark", None)
    where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)
    return ConfigError("config-not-yaml", where=where, why=getattr(error, "problem", None) or _first_line(error))


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
