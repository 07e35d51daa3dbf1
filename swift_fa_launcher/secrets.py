"""Secret values struck out of texts and of plain data. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

REDACTED = "<redacted>"


def redact(text: str, values: Iterable[str]) -> str:
    """`text` with every secret value replaced, also where it stands escaped as JSON and YAML write it."""
    pattern = _pattern(values)
    return pattern.sub(REDACTED, text) if pattern else text


def redact_data(data: Any, values: Iterable[str]) -> Any:
    """Plain data with the secrets replaced in its texts; keys, numbers and everything else stay. Tuples become lists."""
    pattern = _pattern(values)
    return _redacted(data, pattern) if pattern else data


def _redacted(data: Any, pattern: re.Pattern[str]) -> Any:
    if isinstance(data, str):
        return pattern.sub(REDACTED, data)
    if isinstance(data, Mapping):
        return {key: _redacted(value, pattern) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_redacted(item, pattern) for item in data]
    return data


def _pattern(values: Iterable[str]) -> re.Pattern[str] | None:
    """Any of the values, the longest first; None for no values."""
    forms = {form for value in values if value for form in _forms(value)}
    return re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True)))) if forms else None


def _forms(value: str) -> tuple[str, ...]:
    """The value as it is, in double quotes (JSON, YAML), and in YAML's single quotes."""
    return value, json.dumps(value, ensure_ascii=False)[1:-1], json.dumps(value)[1:-1], value.replace("'", "''")
