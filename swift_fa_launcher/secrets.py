"""Secret values struck out of texts and of plain data. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

REDACTED = "<redacted>"


def redact(text: str, values: Iterable[str]) -> str:
    """`text` with every secret value replaced, also where it stands escaped, folded or indented as JSON and YAML write it."""
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
    split = {tuple(re.findall(r"[^ \t\r\n]+", value)) for value in values} - {()}
    secrets = sorted(split, key=lambda words: -sum(map(len, words)))
    return re.compile("|".join(_GAP.join(map(_forms, words)) for words in secrets)) if secrets else None


#: What may stand between two words of a secret: YAML indents the lines of a block, folds lines at spaces, ends them with a
#: backslash or writes line ends as such; a diff and a comment put a sign before each.
_GAP = r"(?:\s|\\[nrt]|\\(?=\s)|(?<=\n)[+-]|#)+"


def _forms(word: str) -> str:
    """A word as it is, in double quotes (JSON, YAML), and in YAML's single quotes."""
    forms = {word, json.dumps(word, ensure_ascii=False)[1:-1], json.dumps(word)[1:-1], word.replace("'", "''")}
    return f"(?:{'|'.join(map(re.escape, sorted(forms, key=len, reverse=True)))})"
