"""A resolved config as text: YAML, JSON, or values beside their origins. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml

from swift_fa_launcher.config.schema import Origin, ResolvedConfig, name_origins


def render_yaml(config: ResolvedConfig) -> str:
    """The config as one YAML file that gives the same config again."""
    return yaml.safe_dump(dict(config.values), allow_unicode=True, sort_keys=False)


def render_explained(config: ResolvedConfig, lang: str = "en") -> str:
    """Value and origin of every leaf, side by side."""
    rows = [(key, json.dumps(value, ensure_ascii=False, default=str), str(config.origins.get(key) or Origin("default")))
            for key, value in leaves(dict(config.values))]
    left = min(72, max(len(key) + len(value) + 2 for key, value, _ in rows))
    return "".join(f"{f'{key}: {value}':<{left}}  # {name_origins(origin, lang)}\n" for key, value, origin in rows)


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
    return {"layer": origin.layer, **({"text": origin.text} if origin.layer == "override" else {})}
