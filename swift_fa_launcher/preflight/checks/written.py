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
#: What a shell would run, and what Python would fill in, in a name that values are to stand in.
_COMMAND = re.compile(r"\$\([^()]+\)|`[^`\s][^`]*`(?=$|/)")
_PLACE = re.compile(r"(?<![$\w{])\{([a-z][a-z_]+)\}")
_NAMED_BY_VALUES = ("swift.output_dir", "run.name", "swanlab.experiment", "swanlab.project", "swift.run_name")
_PLACES = (*_NAMED_BY_VALUES, "swift.model", "swift.dataset", "swift.val_dataset", "swift.adapters", "run.root")
_QUOTES = re.compile(r"[“”‘’「『＂＇](.*)[“”‘’」』＂＇]", re.S)

#: An address, and the page of a model or dataset on a hub, with its name.
_ADDRESS = re.compile(r"https?://")
_HUB_PAGE = re.compile(r"https?://(?:www\.)?(huggingface\.co|hf-mirror\.com|modelscope\.\w+)/(?:datasets/|models/)?([\w.-]+/[\w.-]+)")
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
        if doubt := _doubt(key, value, facts):
            yield found("value-doubtful", doubt[0], **{**said, **doubt[1]})


#: A way to say value-doubtful, and its values.
_Doubt = tuple[str, dict[str, Any]]


def _doubt(key: str, value: Any, facts: Facts) -> _Doubt | None:
    """What is doubtful in the form of a value."""
    if (replaced := _replaced(value, _VARIABLE, r"${oc.env:\1}")) is not None:
        name = next(match[1] for text in _texts(value) if (match := _VARIABLE.search(text)))
        return "variable", {"variable": f"${name}", "reference": f"${{oc.env:{name}}}", "override": typed(key, replaced)}
    if key in _PLACES and (command := next(filter(None, map(_COMMAND.search, _texts(value))), None)):
        return "command", {"command": command[0]}
    if (named := _replaced(value, _PLACE, r"${swift.\1}")) is not None and key in _NAMED_BY_VALUES:
        name = next(match[1] for text in _texts(value) if (match := _PLACE.search(text)))
        return "variable", {"variable": f"{{{name}}}", "reference": f"${{swift.{name}}}", "override": typed(key, named)}
    if (bare := _replaced(value, _QUOTES, r"\1")) is not None:
        return "quotes", {"override": typed(key, bare)}
    section, _, name = key.partition(".")
    return _doubt_of_argument(key, name, value, facts) if section == "swift" else None


def _doubt_of_argument(key: str, name: str, value: Any, facts: Facts) -> _Doubt | None:
    if value == "" and name not in ("system", "model"):
        return "blank", {"override": typed(key, None)}
    if name in ("model", "adapters", "dataset", "val_dataset") and any(map(_ADDRESS.match, _texts(value))):
        return _address(key, value)
    if name == "eval_dataset" and all(text.endswith((".json", ".jsonl", ".csv", ".parquet")) for text in _texts(value) or ("",)):
        return "benchmark", {"override": f"{typed('swift.val_dataset', value)} {typed(key, None)}"}
    if any(map(_ITEMS.fullmatch, _texts(value))):
        items = [item for text in _texts(value) for item in re.split(r"(?:^|\s)-\s*", text) if item]
        return "items", {"override": typed(key, items)}
    if isinstance(value, str) and (one := _SIGN.fullmatch(value)):
        return "sign", {"sign": one[2] or one[3], "override": typed(key, one[1])}
    if value in ("None", "nil", "undefined") and _is_text(facts, name):
        return "none", {"override": typed(key, None)}
    return None


def _address(key: str, value: Any) -> _Doubt:
    """The address of a page where the name is wanted that stands in it; from anywhere else nothing is loaded."""
    names = [match[2] if (match := _HUB_PAGE.match(text)) else text for text in _texts(value)]
    if any(map(_ADDRESS.match, names)):
        return "download", {}
    of_hf = any("huggingface" in text or "hf-mirror" in text for text in _texts(value))
    named = typed(key, names if isinstance(value, (list, tuple)) else names[0])
    return "address", {"override": f"{named} swift.use_hf=true" if of_hf else named}


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


#: What SwanLab's message needs by the method, besides what every one has (its plugin.notification).
_BY_EMAIL = ("sender_email", "receiver_email", "smtp_server", "smtp_port")


def notification_incomplete(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A message that nobody gets: a method without its address."""
    said = config.swanlab.notification
    needed = [name for name in (_BY_EMAIL if said.method == "email" else ("webhook_url",)) if getattr(said, name) is None]
    if config.swanlab.tracks and said.method and needed and not any(name.startswith("swanlab_") for name in config.swift):
        method = f"swanlab.notification.method={said.method}{written(config, 'swanlab.notification.method')}"
        yield found("value-doubtful", "no address", method=method, needed=needed,
                    first=f"swanlab.notification.{needed[0]}=VALUE", drop=typed("swanlab.notification.method", None))


def slurm_unused(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """`launch.slurm` is read where the launch goes to Slurm."""
    if config.launch.slurm and config.launch.target != "slurm":
        yield found("value-doubtful", "no effect", severity=INFO, first=f"launch.slurm{written(config, 'launch.slurm')}",
                    second=f"launch.target={config.launch.target}{written(config, 'launch.target')}",
                    instead="launch.target=slurm", drop=None)


CHECKS: tuple[Check, ...] = (value_doubtful, report_to_dropped, notification_incomplete, slurm_unused)
