"""Plain data (what JSON and YAML give) to frozen dataclasses and back, checked against the type hints.

Two values stand beside every type: `None` (looked for and absent) and `Unknown` (could not look). Both survive the way to
JSON and back: `null` and `{"unknown": "why"}`.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias, TypeVar, Union

from packaging.version import InvalidVersion, Version

from swift_fa_launcher.errors import Text, Words, render_words

T = TypeVar("T")
#: Data and the path to it, to a value. Raises DecodeError.
Decoder: TypeAlias = Callable[[Any, str], Any]


@dataclass(frozen=True)
class Unknown:
    """A fact that could not be looked at, and why. Never guess in its place."""

    why: str


NOT_COLLECTED = Unknown("not collected")

#: A fact: known, absent (None), or not to be seen from here (Unknown).
Maybe: TypeAlias = T | Unknown | None


class SpokenVersion(Version):
    """A version that prints as it was spelled: NVIDIA's driver 580.159.04 is 580.159.4 to the rules of PEP 440."""

    def __init__(self, version: str) -> None:
        super().__init__(version)
        self._spoken = version.strip()

    def __str__(self) -> str:
        return getattr(self, "_spoken", None) or super().__str__()


def known(value: Maybe[T]) -> T | None:
    """The value where there is one; None where it is absent or unknown."""
    return None if isinstance(value, Unknown) else value


class DecodeError(ValueError):
    """Data that does not fit: `path` says where (`gpus[0].index`), `message` what was expected and found.

    `sentence` is both together; so is, in English, the error's own text.
    """

    def __init__(self, path: str, message: Text) -> None:
        self.path, self.message = path, message
        self.sentence = Text(f"{path}: {message.en}", f"{path}：{message.zh}") if path else message
        super().__init__(self.sentence.en)


_SCALAR_NAMES = {bool: Text("true or false", "true 或 false"), int: Text("a whole number", "整数"),
                 float: Text("a number", "数字"), str: Text("text", "文本")}
_SCALARS = frozenset((*_SCALAR_NAMES, type(None)))
_LIST, _VERSION = Text("a list", "列表"), Text("a version", "版本号")
_GROUP = Text("a group of named values", "一组带名字的值")


def decode(kind: Any, data: Any, path: str = "") -> Any:
    """`data` as a value of type `kind`.

    Dataclass fields that `data` leaves out take their default; keys that `kind` does not have are passed over.
    Raises DecodeError.
    """
    return data if type(data) is kind else _decoder(kind)(data, path)


@cache
def _decoder(kind: Any) -> Decoder:
    """What decodes a type, found once: thousands of run records are read in a second."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _optional(arguments)
    if kind is Any:
        return lambda data, path: data
    if isinstance(kind, type) and issubclass(kind, Version):
        return partial(_decode_version, kind)
    if dataclasses.is_dataclass(kind):
        return partial(_decode_fields, kind)
    if origin is tuple:
        return partial(_decode_list, arguments[0])
    if origin is not None and issubclass(origin, Mapping):
        return partial(_decode_mapping, arguments[1])
    return partial(_decode_scalar, kind)


def _optional(arguments: tuple[Any, ...]) -> Decoder:
    kind = next(a for a in arguments if a not in (type(None), Unknown))

    def decode_optional(data: Any, path: str) -> Any:
        if data is None and type(None) in arguments:
            return None
        if Unknown in arguments and isinstance(data, dict) and set(data) == {"unknown"}:
            return Unknown(str(data["unknown"]))
        return decode(kind, data, path)

    return decode_optional


def encode(value: Any) -> Any:
    """The value as plain data for JSON; the inverse of `decode`."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, Unknown):
        return {"unknown": value.why}
    if isinstance(value, Version):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: item if type(item := getattr(value, name)) in _SCALARS else encode(item)
                for name in field_types(type(value))}
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, frozenset, set)):
        items = sorted(value) if isinstance(value, (set, frozenset)) else value
        return list(items) if _SCALARS.issuperset(map(type, items)) else [encode(item) for item in items]
    return value


@cache
def field_types(kind: type) -> Mapping[str, Any]:
    """Field name to type hint of a dataclass."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _decode_fields(kind: Any, data: Any, path: str) -> Any:
    _expect(isinstance(data, dict), path, _GROUP, data)
    for name in _required(kind):
        if name not in data:
            raise DecodeError(dotted(path, name), Text("is missing", "缺失"))
    return kind(**{name: data[name] if type(data[name]) in as_is else decoder(data[name], dotted(path, name))
                   for name, decoder, as_is in _fields(kind) if name in data})


@cache
def _required(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind)
                 if field.default is field.default_factory is dataclasses.MISSING)


@cache
def _fields(kind: type) -> tuple[tuple[str, Decoder, tuple[type, ...]], ...]:
    """Name, decoder, and the types that are taken as they are."""
    return tuple((name, _decoder(hint), _plain_types(hint)) for name, hint in field_types(kind).items())


def _plain_types(kind: Any) -> tuple[type, ...]:
    if typing.get_origin(kind) in (Union, types.UnionType):
        arguments = typing.get_args(kind)
        first = next(a for a in arguments if a not in (type(None), Unknown))
        return (*_plain_types(first), *(a for a in arguments if a is type(None)))
    return (kind,) if isinstance(kind, type) and kind is not type(None) else ()


def _decode_list(kind: Any, data: Any, path: str) -> tuple[Any, ...]:
    if data == []:
        return ()  # most lists of a run's record are
    _expect(isinstance(data, (list, tuple)), path, _LIST, data)
    if {kind}.issuperset(map(type, data)):
        return tuple(data)
    return tuple(decode(kind, item, f"{path}[{i}]") for i, item in enumerate(data))


def _decode_mapping(kind: Any, data: Any, path: str) -> Mapping[str, Any]:
    _expect(isinstance(data, dict), path, _GROUP, data)
    if kind is Any:
        return types.MappingProxyType({str(k): v for k, v in data.items()})
    return types.MappingProxyType({str(k): decode(kind, v, dotted(path, str(k))) for k, v in data.items()})


def _decode_version(kind: type[Version], data: Any, path: str) -> Version | Unknown:
    _expect(isinstance(data, str), path, _VERSION, data)
    try:
        return kind(data)
    except InvalidVersion:
        return Unknown(f"not a version: {data!r}")  # a broken package must not hide all other facts


def _decode_scalar(kind: Any, data: Any, path: str) -> Any:
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data) if abs(data) < 1e300 else _expect(False, path, _SCALAR_NAMES[kind], data)
    _expect(type(data) is kind, path, _SCALAR_NAMES.get(kind, getattr(kind, "__name__", str(kind))), data)
    return data


def _expect(holds: bool, path: str, wanted: Words, data: Any) -> None:
    if not holds:
        shown = repr(data)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        raise DecodeError(path, Text(f"expected {render_words(wanted, 'en')}, found {shown}",
                                     f"应为{render_words(wanted, 'zh')}，实际是 {shown}"))


def dotted(path: str, key: str) -> str:
    """The key below a path, which may be empty."""
    return f"{path}.{key}" if path else key
