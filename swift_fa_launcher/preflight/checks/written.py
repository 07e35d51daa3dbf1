"""Values that are taken as they are written, and probably not as they were meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from swift_fa_launcher.config.render import leaves, typed
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.config.swift_args import PRESETS, accepts
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.finding import INFO, Check, Finding
from swift_fa_launcher.findings.table import found
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.reading import written
from swift_fa_launcher.secrets import is_secret_name

#: A shell's variable at the beginning of a value or of a part of a path.
_VARIABLE = re.compile(r"(?:(?<=^)|(?<=[/:=,]))\$([A-Z_][A-Z0-9_]*|[a-z_]+(?=/|$))")
_QUOTES = re.compile(r"[“”‘’「『＂＇](.*)[“”‘’」』＂＇]", re.S)

#: Items of a list, each with a dash, that YAML joins to one text where they are indented as what goes on or lack a blank.
_ITEMS = re.compile(r"-[^\s\d-]\S*|\S+(?: -\s*[^\s-]\S*)+")
#: What stands behind a value that another language lets stand there: a comma, a shell's backslash, a comment.
_SIGN = re.compile(r"(\S*[^\s,;，；])(?:\s*([,;，；])|\s+(\\+|//.*))")


def value_doubtful(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """`$HOME/output` makes a folder of that name, `“Qwen”` looks for a model in quotes, `data.jsonl #500` takes all rows."""
    for key, value in leaves(dict(config.values)):
        origin, name = config.origin(key), key.rpartition(".")[2]
        if (origin and origin.layer == "default") or is_secret_name(name):
            continue
        said: dict[str, Any] = {"key": key, "name": name, "shown": f"{key}={value}"[:80],
                                "origin": written(config, key), "place": str(origin)}
        if value is None and origin and origin.layer == "file" and origin.text == "" and not origin.comment:
            yield found("value-doubtful", "empty", **said)
        if origin and origin.comment:
            value_before, _, lost = origin.comment.rpartition("#")
            yield found("value-doubtful", "comment", **said, lost=f"#{lost}", meant=f"'{value_before}#{lost}'")
        if (replaced := _replaced(value, _VARIABLE, r"${oc.env:\1}")) is not None:
            name = next(match[1] for text in _texts(value) if (match := _VARIABLE.search(text)))
            yield found("value-doubtful", "variable", **said, variable=f"${name}", reference=f"${{oc.env:{name}}}",
                        override=typed(key, replaced))
        elif key.startswith("swift.") and any(map(_ITEMS.fullmatch, _texts(value))):
            items = [item for text in _texts(value) for item in re.split(r"(?:^|\s)-\s*", text) if item]
            yield found("value-doubtful", "items", **said, override=typed(key, items))
        elif key.startswith("swift.") and isinstance(value, str) and (one := _SIGN.fullmatch(value)):
            yield found("value-doubtful", "sign", **said, sign=one[2] or one[3], override=typed(key, one[1]))
        elif key.startswith("swift.") and value in ("None", "nil", "undefined") and _is_text(facts, name):
            yield found("value-doubtful", "none", **said, override=typed(key, None))
        elif (bare := _replaced(value, _QUOTES, r"\1")) is not None:
            yield found("value-doubtful", "quotes", **said, override=typed(key, bare))


def _is_text(facts: Facts, name: str) -> bool:
    """Whether an argument takes any text; what its parser refuses is arg-invalid's."""
    argument = (known(facts.ms_swift_args) or {}).get(name)
    return argument is not None and name not in PRESETS and accepts(argument, "None") is None


def _texts(value: Any) -> list[str]:
    return [item for item in (value if isinstance(value, (list, tuple)) else (value,)) if isinstance(item, str)]


def _replaced(value: Any, pattern: re.Pattern[str], by: str) -> Any:
    """The value, or a list's items, with what the pattern finds replaced; None where it finds nothing. Typographic quotes count
    only around a whole value."""
    around = pattern is _QUOTES
    if not any(pattern.fullmatch(text) if around else pattern.search(text) for text in _texts(value)):
        return None
    if isinstance(value, (list, tuple)):
        return [_replaced(item, pattern, by) or item for item in value]
    return pattern.sub(by, value)


def report_to_dropped(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """`report_to: swanlab` beside a SwanLab that is switched off, and `report_to: none` beside one that is on."""
    trackers = config.swift.names("report_to")
    if config.swanlab.tracks and "none" in trackers:
        told = [name for name in trackers if name != "none"]
        yield found("value-doubtful", "reported all the same", severity=INFO, shown=",".join(trackers),
                    origin=written(config, "swift.report_to"), on=written(config, "swanlab.enabled"),
                    trackers=told if "swanlab" in told else [*told, "swanlab"])
    if config.swanlab.tracks or not {"swanlab", "all"} & {*trackers}:
        return
    left = [name for name in trackers if name not in ("swanlab", "all")]
    off = "swanlab.enabled" if not config.swanlab.enabled else "swanlab.mode"
    yield found("value-doubtful", "not reported", severity=INFO, shown=",".join(trackers),
                origin=written(config, "swift.report_to"), off=written(config, off), left=left or Text("nobody", "无"),
                on="swanlab.enabled=true" if not config.swanlab.enabled else "swanlab.mode=cloud",
                same=typed("swift.report_to", left or "none"))


CHECKS: tuple[Check, ...] = (value_doubtful, report_to_dropped)
