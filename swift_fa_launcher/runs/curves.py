"""A training's figures over its steps, from what the monitor and ms-swift wrote down."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from swift_fa_launcher.runs.monitor import figure, read_monitor_lines
from swift_fa_launcher.runs.output import read_end
from swift_fa_launcher.runs.store import Entry

#: losses; learning rate; norm of the gradients; real tokens a second; the most memory until then, GiB.
SERIES = ("loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_second", "peak_memory_gib")
_LOGGED = re.compile(r"""\{['"](?:eval_)?loss['"]: [^{}]*\}""")
_LOG_END = 2**26  # bytes of a log that are read
_BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Curves:
    """steps: ascending. tokens: real ones seen until each, as far as it is known. series: name to a value or None a step."""

    steps: tuple[int, ...] = ()
    tokens: tuple[int | None, ...] = ()
    series: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)

    def of(self, name: str) -> tuple[float, ...]:
        """The values that are there."""
        return tuple(value for value in self.series.get(name, ()) if value is not None)


def read_curves(entry: Entry) -> Curves:
    """What a run's files say. A step that was made twice, as after a restart, counts as it was made last."""
    steps: dict[int, dict[str, Any]] = {}
    for line in _logged(entry):
        at = str(line.get("global_step/max_steps", line.get("step", ""))).partition("/")[0]
        if at.isdecimal():
            steps.setdefault(int(at), {}).update(line)
    for line in read_monitor_lines(entry.folder):
        if isinstance(line.get("step"), int):
            steps.setdefault(line["step"], {}).update(line)
    order = sorted(steps)
    return Curves(tuple(order), tuple(_counted([figure(steps[step], "tokens") for step in order])),
                  {name: tuple(_value(steps[step].get(name)) for step in order) for name in SERIES})


def _logged(entry: Entry) -> Iterator[Mapping[str, Any]]:
    """The lines of logging.jsonl in the output folder, else those of the log in the record, which moves with it."""
    record = entry.record
    text = read_end(Path(record.cwd, record.output_dir, "logging.jsonl")) if record and record.output_dir else ""
    for found in _LOGGED.findall(text or read_end(entry.folder / "train.log", _LOG_END)):
        try:
            line = json.loads(found) if text else ast.literal_eval(found)
        except (ValueError, SyntaxError, RecursionError):
            continue
        if isinstance(line, dict) and "global_step/max_steps" in line:
            yield line


def _counted(tokens: Sequence[float | None]) -> Iterator[int | None]:
    whole = 0
    for one in tokens:
        whole += int(one or 0)
        yield whole or None


def _value(value: Any) -> float | None:
    """A number, also one in quotes, as ms-swift's screen has them; None for one that is none or not finite."""
    try:
        return figure({"": float(value)}, "")
    except (TypeError, ValueError):
        return None


def thinned(curves: Curves, most: int) -> Curves:
    """At most about `most` steps: of every stretch the lowest and the highest loss, and every evaluation, so that no spike is
    lost."""
    if len(curves.steps) <= most:
        return curves
    losses, evaluated = curves.series["loss"], curves.series["eval_loss"]
    stretch = max(2, -(-2 * len(curves.steps) // most))
    kept = {0, len(curves.steps) - 1, *(i for i, loss in enumerate(evaluated) if loss is not None)}
    for begin in range(0, len(curves.steps), stretch):
        places = [i for i in range(begin, min(begin + stretch, len(curves.steps))) if losses[i] is not None]
        kept |= {pick(places, key=lambda i: losses[i] or 0.0) for pick in (min, max) if places}
    order = sorted(kept)
    return Curves(tuple(curves.steps[i] for i in order), tuple(curves.tokens[i] for i in order),
                  {name: tuple(values[i] for i in order) for name, values in curves.series.items()})


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """The values as a line of blocks, the mean of each stretch; empty for fewer than two."""
    if len(values) < 2:
        return ""
    count = min(width, len(values))
    cuts = [len(values) * i // count for i in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(cuts)]
    low, high = min(means), max(means)
    return "".join(_BLOCKS[round((mean - low) / (high - low) * (len(_BLOCKS) - 1)) if high > low else 0] for mean in means)
