"""Secret values struck out of texts and of plain data. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

REDACTED = "<redacted>"

#: Words of a name: HF_TOKEN, hub-token, hubToken and APIKey are two each.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
#: The last word of a secret's name, whatever stands before it.
_SECRETS = frozenset(("secret", "secrets", "pat", "credential", "credentials", "authorization", "webhook"))
#: Ends of its last word, for names such as PGPASSWORD.
_ENDS = ("password", "passwd", "passphrase", "apikey", "secretkey", "authtoken", "accesstoken")
#: What comes before the `token` of a vocabulary, and before the `key` of a table or a generator.
_VOCABULARY = frozenset(("pad", "bos", "eos", "unk", "cls", "sep", "mask", "stop", "start", "end", "image", "video", "audio",
                         "special", "think", "first", "next", "last", "per", "each", "max", "min", "num"))
_NO_LOCK = frozenset(("primary", "foreign", "public", "partition", "sort", "group", "cache", "dict", "index", "map", "column",
                      "field", "label", "metric", "text", "image", "prompt", "query", "response", "layer", "prng", "rng"))


def is_secret_name(name: str) -> bool:
    """Whether the value of a variable, argument or header of this name is nobody's business, by the words of the name.

    >>> [is_secret_name(name) for name in ("hub_token", "AWS_SECRET_ACCESS_KEY", "max_new_tokens", "lazy_tokenize", "PWD")]
    [True, True, False, False, False]
    """
    *above, last = ["", *(word.lower() for word in _WORD.findall(name))]
    before = above[-1] if above else ""
    if last == "token":
        return before not in _VOCABULARY
    if last == "tokens":  # of several services; any other tokens are counted
        return before in ("access", "api", "auth", "bearer", "refresh")
    if last == "key":
        return before not in _NO_LOCK
    if last == "pwd":  # but PWD is the working folder
        return bool(before)
    return last in _SECRETS or last.endswith(_ENDS) or (before, last) == ("webhook", "url") \
        or (*above[-2:], last) == ("secret", "key", "base")


#: The user part of an address, and a parameter in its query.
_USER = re.compile(r"[A-Za-z][\w+.-]{0,30}://([^/\s@'\"]+)@")
_PARAMETER = re.compile(r"[?&;]([\w.-]+)=([^&;\s#'\"]+)")


def secrets_in_addresses(text: str) -> tuple[str, ...]:
    """The passwords, and tokens in a password's place, of the addresses in a text.

    >>> secrets_in_addresses("https://me:pass-word@host/x https://tok-en@host/y?token=t-1&rows=5")
    ('pass-word', 'tok-en', 't-1')
    """
    users = (user.partition(":") for user in _USER.findall(text))
    return (*(password if colon else name for name, colon, password in users),
            *(value for name, value in _PARAMETER.findall(text) if is_secret_name(name)))


#: A name in a text, and the value that follows it. A word alone is a value where it is told apart from prose.
_NAME = re.compile(r"(?<![A-Za-z0-9_.])[A-Za-z_][\w.-]*")
_VALUE = re.compile(r"""(?:['"]?\s*[:=]\s*|['"]\s*,\s*|(?P<gap>\s+))['"]?(?:(?:bearer|basic|token)\s+)?"""
                    r"""(?!(?:true|false|none|null)\b)(?P<value>[^\s'"]{6,})""", re.IGNORECASE)


def strike_assigned(text: str) -> str:
    """A line of a log with `***` for what follows a secret's name.

    >>> strike_assigned("--hub_token hf_0123456 --max_new_tokens 1000000")
    '--hub_token *** --max_new_tokens 1000000'
    """
    told, at = [], 0
    for name in _NAME.finditer(text):
        if name.start() < at or name[0].lower() in ("key", "pat") or not is_secret_name(name[0]):
            continue
        found = _VALUE.match(text, name.end())
        if found and (found["gap"] is None or text[:name.start()].endswith("--") or re.search(r"\d|.{20}", found["value"])):
            told += [text[at:found.start("value")], "***"]
            at = found.end("value")
    return "".join([*told, text[at:]])


def redact(text: str, values: Iterable[str]) -> str:
    """`text` with every secret value replaced, also where it stands escaped, folded or indented as JSON and YAML write it."""
    pattern = _pattern(values)
    return pattern.sub(REDACTED, text) if pattern else text


def redact_data(data: Any, values: Iterable[str]) -> Any:
    """Plain data with the secrets replaced in its texts, and in keys that are addresses; numbers, other keys and everything else
    stay. Tuples become lists."""
    pattern = _pattern(values)
    return _redacted(data, pattern) if pattern else data


def _redacted(data: Any, pattern: re.Pattern[str]) -> Any:
    if isinstance(data, str):
        return pattern.sub(REDACTED, data)
    if isinstance(data, Mapping):
        return {_redacted(key, pattern) if "://" in str(key) else key: _redacted(value, pattern) for key, value in data.items()}
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
