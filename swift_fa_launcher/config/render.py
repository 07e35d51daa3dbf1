"""A resolved config as text: YAML, JSON, or values beside their origins. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import yaml

from swift_fa_launcher.config.schema import Origin, ResolvedConfig, name_origins
from swift_fa_launcher.layout import cells, fill, pad


def render_yaml(config: ResolvedConfig) -> str:
    """The config as one YAML file that gives the same config again."""
    return yaml.safe_dump(dict(config.values), allow_unicode=True, sort_keys=False)


def render_explained(config: ResolvedConfig, lang: str = "en", width: int | None = None) -> str:
    """Value and origin of every leaf, side by side; the origin below where the line would be longer than `width`."""
    rows = [(f"{key}: {json.dumps(value, ensure_ascii=False, default=str)}",
             f"# {name_origins(str(config.origins.get(key) or Origin('default')), lang)}")
            for key, value in leaves(dict(config.values))]
    short = [(cells(said), cells(origin)) for said, origin in rows if width is None or cells(said) + cells(origin) + 2 <= width]
    left = min(72, max((said for said, _ in short), default=0))
    if width is not None:
        left = min(left, *(width - origin - 2 for _, origin in short)) if short else 0
    return "".join(f"{pad(said, left)}  {origin}\n" if width is None or max(cells(said), left) + 2 + cells(origin) <= width else
                   f"{fill(said, width, rest='    ')}\n  {origin}\n" for said, origin in rows)


def render_json(config: ResolvedConfig) -> str:
    """Values and origins as one JSON document."""
    origins = {key: _origin_to_json(config.origins.get(key, Origin("default"))) for key, _ in leaves(dict(config.values))}
    document = {"schema": 1, "values": dict(config.values), "origins": origins}
    return json.dumps(document, ensure_ascii=False, indent=1, default=str) + "\n"


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every leaf; lists and empty groups are leaves."""
    if isinstance(value, dict) and value:
        for name, below in value.items():
            yield from leaves(below, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, value


def _origin_to_json(origin: Origin) -> dict[str, Any]:
    if origin.layer == "file":
        return {"layer": "file", "file": str(origin.file), "line": origin.line}
    return {"layer": origin.layer, **({"text": origin.text} if origin.layer in ("override", "environment") else {})}


def typed(key: str, value: Any) -> str:
    """`key=value` as it is typed into a shell to set the value."""
    return quoted(f"{key}={_typed(value)}")


def _typed(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_typed, value))}]"
    return value if isinstance(value, str) and re.fullmatch(r"[\w./-]+", value) else json.dumps(value, ensure_ascii=False)


def quoted(word: str) -> str:
    """A word as it is typed: in quotes where bash, zsh or fish would read more in it than a word."""
    return word if re.fullmatch(r"[\w@%+:,./-]+(?:=[\w@%+:,./=-]*)?", word, re.ASCII) and "=~" not in word else shlex.quote(word)
