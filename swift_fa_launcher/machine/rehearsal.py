"""What a rehearsal foretells: from trainings of two depths, in a straight line, to the depth of the model.

Peak memory and the time of a step are a part that each layer adds and a part that none does (docs/rehearsal.md, on one H100).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from swift_fa_launcher.files import read_group
from swift_fa_launcher.machine.facts import Rehearsal

#: Steps of each depth that compile kernels and fill caches.
WARM_UP = 3
GIB = 2.0 ** 30


def read_ranks(folder: Path) -> tuple[Mapping[str, Any], ...]:
    """What each process wrote, in rank order; empty where none came so far."""
    files = sorted(folder.glob("rank-*.json"), key=lambda file: int(file.stem.partition("-")[2]))
    return tuple(group for group in map(read_group, files) if group)


def foretell(ranks: Sequence[Mapping[str, Any]], *, accumulation: int, attention: str | None = None,
             rows: float = 1.0) -> Rehearsal:
    """What the processes' files say of the whole training. accumulation: batches in an optimizer step of that training; rows:
    how many times the rehearsed rows it has. Pure."""
    failed = next((rank for rank in ranks if rank.get("error")), None)
    cannot = next((str(rank["cannot"]) for rank in ranks if rank.get("cannot")), None)
    seen = [rank["depths"] for rank in ranks if rank.get("depths")]
    first = seen[0] if seen else []
    if not first:
        return Rehearsal(cannot, str(failed["error"]) if failed else None, attention=attention,
                         out_of_memory=bool(failed and failed.get("out_of_memory")),
                         layers=ranks[0].get("layers") if ranks else None)
    layers, depths, last = int(ranks[0]["layers"]), tuple(one["depth"] for one in first), first[-1]
    peaks = [peak for rank in seen if (peak := _extended(depths, [_peak(one) for one in rank], layers))]
    totals = [one["total"] for rank in seen for one in rank if one.get("total")]
    batch = _extended(depths, [_batch_seconds(one) for one in first], layers)
    tokens = sum(statistics.mean(rank[-1]["tokens"]) for rank in seen if rank[-1]["tokens"])
    learned = [sum(one["learned"]) / sum(one["tokens"]) for one in first if one["learned"] and sum(one["tokens"])]
    whole = last["steps_per_epoch"] and last["steps_per_epoch"] * last["accumulation"] / accumulation * rows
    too_deep = failed is not None and bool(failed.get("out_of_memory"))  # the first depth ran, so the whole one needs more still
    return Rehearsal(
        cannot, None if too_deep or failed is None else f"at {depths[-1]} layers it ran; then: {failed['error']}", None, too_deep,
        layers, depths, attention, tuple(map(float, last["losses"])), learned[-1] if learned else None,
        max(peaks) / GIB if peaks else None, min(totals) / GIB if totals else None, batch and batch * accumulation,
        tokens / batch if batch and tokens else None, max(1, round(whole)) if whole else None)


def _peak(one: Mapping[str, Any]) -> float | None:
    """Bytes allocated at one depth, without what was left of the depth before; None without a GPU."""
    return one["peak"] - one["held"] if one["peak"] else None


def _batch_seconds(one: Mapping[str, Any]) -> float | None:
    """Seconds that one batch takes at one depth, when everything is warm."""
    steady = one["seconds"][WARM_UP:] or one["seconds"][-1:]
    return statistics.median(steady) / one["accumulation"] if steady else None


def _extended(depths: Sequence[int], values: Sequence[float | None], layers: int) -> float | None:
    """The straight line through two depths at `layers`; the value itself where that depth was measured."""
    found = [value for value in values if value is not None and math.isfinite(value)]
    if not found or len(found) < len(depths):
        return None
    if depths[-1] == layers:
        return found[-1]
    return found[0] + (found[1] - found[0]) * (layers - depths[0]) / (depths[1] - depths[0]) if len(found) == 2 else None
