"""The members of a sweep from the words of a command line: `swift.lora_rank=8,16` stands for two settings. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from swift_fa_launcher.config.render import leaves

#: The settings of one member, each `key=value`.
Settings = tuple[str, ...]


def split_values(word: str) -> Settings:
    """The settings that `key=v1,v2` stands for. A comma within brackets or quotes separates nothing.

    >>> split_values("swift.target_modules=[q_proj,v_proj],all-linear")
    ('swift.target_modules=[q_proj,v_proj]', 'swift.target_modules=all-linear')
    """
    key, _, text = word.partition("=")
    return tuple(f"{key}={value}" for value in _parts(text))


def _parts(text: str) -> Iterator[str]:
    part, depth, quote = "", 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        else:
            depth += (sign in "[{") - (sign in "]}")
        if sign == "," and not quote and depth <= 0:
            yield part
            part = ""
        else:
            part += sign
    yield part


def values_meant(words: Sequence[str]) -> Settings:
    """The words that hold several values in another form, as a sweep takes them; empty where none does.

    >>> values_meant(["swift.learning_rate=[1e-4,2e-4]", "swift.lora_rank=8 16", "swift.seed=1..3", "swift.model=q"])
    ('swift.learning_rate=1e-4,2e-4', 'swift.lora_rank=8,16', 'swift.seed=1,3')
    """
    parts = ((key, [part.strip("\"'") for part in re.split(r"[,;|\s]+|\.\.+", text.strip("[](){}")) if part])
             for key, _, text in (word.partition("=") for word in words))
    return tuple(f"{key}={','.join(values)}" for key, values in parts
                 if len(values) > 1 and all(re.fullmatch(r"[\w.+/-]*\d[\w.+/-]*", value) for value in values))


def make_members(words: Sequence[str], overlays: Sequence[Settings] = (),
                 count: int | None = None) -> tuple[Settings, tuple[Settings, ...]]:
    """What all members have in common, and what each has of its own: every combination of the overlays and of the words that
    hold several values, or `count` of them. The choice looks random, and is the same for the same words."""
    split = [split_values(word) for word in words]
    axes = [*([overlays] if overlays else []), *([(value,) for value in values] for values in split if len(values) > 1)]
    members = tuple(tuple(setting for part in parts for setting in part) for parts in product(*axes)) if axes else ()
    if count is not None and count < len(members):
        chosen = {*sorted(members, key=_shuffled)[:count]}
        members = tuple(member for member in members if member in chosen)
    return tuple(values[0] for values in split if len(values) == 1), members


def _shuffled(member: Settings) -> str:
    return hashlib.sha256("\0".join(member).encode()).hexdigest()


def overlay_settings(data: Any) -> Settings:
    """An overlay's values as settings, as one would type them."""
    return tuple(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in leaves(data))


def swept_keys(members: Sequence[Settings]) -> tuple[str, ...]:
    """The keys in which members differ, in the order in which they were written."""
    return tuple(dict.fromkeys(setting.partition("=")[0] for member in members for setting in member))
