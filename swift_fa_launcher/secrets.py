"""Secret values struck out of texts and of plain data. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

REDACTED = "<redacted>"
#: How the name of a secret ends, word by word. `PWD` alone is the working folder, and tokens in the plural are those of texts.
_SECRET_NAME = re.compile(
    r"(^|_)(api_?key|key|token|secret|pat|credentials?|webhook(_url)?|secret_key_base|authorization)$|_pwd$|passw(or)?d$|passphrase$",
    re.IGNORECASE)
_NOT_SECRET = frozenset(("pad_token", "bos_token", "eos_token", "unk_token", "stop_token", "cls_token", "sep_token", "mask_token",
                         "primary_key", "foreign_key", "reft_layer_key", "vera_projection_prng_key"))
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_ASSIGNED = re.compile(r"""(?P<name>[A-Za-z][\w.-]*)(?P<sign>['"]?\s*[:=,]\s*['"]?|\s+['"]?)(?P<value>[^\s'",;)}\]]{6,})""")


def is_secret_name(name: str) -> bool:
    """Whether the value of a variable, argument or option of this name is nobody's business.

    >>> [is_secret_name(name) for name in ("HF_TOKEN", "accessToken", "--api-key", "max_new_tokens", "lazy_tokenize", "PWD")]
    [True, True, True, False, False, False]
    """
    words = _HUMP.sub("_", name).replace("-", "_").replace(".", "_").lower()
    return _SECRET_NAME.search(words) is not None and words.strip("_") not in _NOT_SECRET


def strike_assigned(text: str) -> str:
    """`text` with every value struck out that stands behind a secret's name: `hf_token=…`, `"api_key": "…"`, `--token …`.

    >>> strike_assigned("--hub_token abcdefgh --max_new_tokens 12345678 lazy_tokenize=disabled")
    '--hub_token *** --max_new_tokens 12345678 lazy_tokenize=disabled'
    """
    return _ASSIGNED.sub(lambda m: f"{m['name']}{m['sign']}***" if is_secret_name(m["name"]) else m[0], text)


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
