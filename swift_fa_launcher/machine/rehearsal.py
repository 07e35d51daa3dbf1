"""What a rehearsal foretells: from trainings of two depths, in a straight line, to the depth of the model.

Peak memory and the time of a step are a part that each layer adds and a part that none does (docs/rehearsal.md, on one H100).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from swift_fa_launcher.decode import known
from swift_fa_launcher.files import read_group
from swift_fa_launcher.machine.facts import GIB, Rehearsal, Trial

#: Of the batches and steps of each depth, how many compile kernels and fill caches.
WARM_UP = 0.4


def read_ranks(folder: Path) -> tuple[Mapping[str, Any], ...]:
    """What each process wrote, in rank order; empty where none came so far."""
    files = sorted(folder.glob("rank-*.json"), key=lambda file: int(file.stem.partition("-")[2]))
    return tuple(group for group in map(read_group, files) if group)


def foretell(ranks: Sequence[Mapping[str, Any]], *, accumulation: int, attention: str | None = None,
             rows: float | None = None) -> Rehearsal:
    """What the processes' files say of the whole training. accumulation: batches in an optimizer step of that training; rows:
    how many times the rehearsed rows it has, None where that is not known. Pure."""
    failed = next((rank for rank in ranks if rank.get("error")), None)
    layers = next((rank["layers"] for rank in ranks if rank.get("layers")), None)
    seen = [rank["depths"] for rank in ranks if rank.get("depths")]
    found = Rehearsal(cannot=next((str(rank["cannot"]) for rank in ranks if rank.get("cannot")), None),
                      error=str(failed["error"]) if failed else None, layers=layers, attention=attention,
                      out_of_memory=bool(failed and failed.get("out_of_memory")),
                      trials=(Trial(int(failed["depth"])),) if failed and failed.get("depth") else ())
    if not seen or layers is None:
        return found
    by_rank = [[_trial(one) for one in rank] for rank in seen]
    trials = max(by_rank, key=lambda rank: max(known(one.peak_gib) or 0.0 for one in rank))
    if not seen[0][-1]["batches"]:
        return replace(found, cannot=found.cannot or "no step was made, since its rows do not fill one batch of every process")
    batch = _extended(trials, layers, [known(one.batch_seconds) for one in trials])
    rest = _extended(trials, layers, [known(one.rest_seconds) for one in trials]) or 0.0
    last, step = seen[0][-1], batch and batch * accumulation + max(rest, 0.0)
    tokens = sum(statistics.mean(rank[-1]["tokens"]) for rank in seen if rank[-1]["tokens"]) * accumulation
    epoch = last["steps_per_epoch"] and rows and last["steps_per_epoch"] * last["accumulation"] / accumulation * rows
    totals = [one["total"] for rank in seen for one in rank if one.get("total")]
    links = [rank["link"] for rank in ranks if rank.get("link") is not None]
    return replace(
        found, trials=(*trials, *found.trials), link_seconds=max(links, default=None),
        ranks_gib=tuple(_extended(rank, layers, [known(one.peak_gib) for one in rank]) for rank in by_rank),
        losses=tuple(loss if math.isfinite(loss := float(one)) else None for one in last["losses"]),
        learned=sum(last["learned"]) / sum(last["tokens"]) if last["learned"] and sum(last["tokens"]) else None,
        peak_gib=_extended(trials, layers, [known(one.peak_gib) for one in trials]),
        gpu_gib=min(totals) / GIB if totals else None, step_seconds=step,
        tokens_per_second=tokens / step if step and tokens else None, epoch_steps=max(1, round(epoch)) if epoch else None)


def steady_rate(ranks: Sequence[Mapping[str, Any]]) -> float | None:
    """Tokens a second of all processes in a training of all layers, without its first steps, in which kernels are compiled and
    loaded; None where it made too few."""
    rates = []
    for one in (rank["depths"][-1] for rank in ranks if rank.get("depths")):
        ticks = _warm(one["ticks"])
        tokens = one["tokens"][len(one["tokens"]) - (len(ticks) - 1) * one["accumulation"]:]
        rates += [sum(tokens) / (ticks[-1] - ticks[0])] if len(ticks) > 1 else []
    return sum(rates) if rates and len(rates) == len(ranks) else None


def static_gib(ranks: Sequence[Mapping[str, Any]]) -> float | None:
    """GiB that the whole model takes on the fullest GPU before a step."""
    found = []
    for rank in ranks:
        seen = [one for one in rank.get("depths", ()) if one.get("static")]
        trials = [Trial(int(one["depth"]), (one["static"] - one["held"]) / GIB) for one in seen]
        found.append(_extended(trials, rank["layers"], [known(one.peak_gib) for one in trials]) if trials else None)
    return max((one for one in found if one is not None), default=None)


def waiting(ranks: Sequence[Mapping[str, Any]]) -> float:
    """The share of an optimizer step that it waits for its rows, as a rule, in a training of all layers."""
    shares = []
    for one in (rank["depths"][-1] for rank in ranks if rank.get("depths")):
        steps = [after - before for before, after in zip(one["ticks"], one["ticks"][1:], strict=False)]
        shares += [statistics.median(_warm(one["waits"])) / statistics.median(_warm(steps))] if one["waits"] and steps else []
    return max(shares, default=0.0)


def _trial(one: Mapping[str, Any]) -> Trial:
    tokens, busy = one["tokens"] or [1] * len(one["batches"]), one.get("busy")
    rates = [seconds / max(count, 1) for seconds, count in zip(one["batches"], tokens, strict=False)]
    rate = busy["seconds"] / max(busy["tokens"], 1) if busy else statistics.median(_warm(rates)) if rates else None
    rests = [one["rests"]] if busy else [one["rests"], one["waits"]]  # a busy GPU computes while the next batch is fetched
    return Trial(int(one["depth"]), (one["peak"] - one["held"]) / GIB if one.get("peak") else None,
                 rate and rate * statistics.mean(tokens),
                 sum(statistics.median(_warm(some)) for some in rests if some) if one["rests"] else None)


def _warm(values: Sequence[float]) -> Sequence[float]:
    return values[math.floor(len(values) * WARM_UP):]


def _extended(trials: Sequence[Trial], layers: int, values: Sequence[float | None]) -> float | None:
    """The straight line through two depths at `layers`; the value itself where that depth was tried."""
    if trials[-1].depth == layers or values[-1] is None:
        return values[-1]
    if len(trials) != 2 or values[0] is None:
        return None
    more = max(values[1] - values[0], 0.0) / (trials[1].depth - trials[0].depth)  # type: ignore[operator]
    return values[1] + more * (layers - trials[1].depth)  # type: ignore[operator]
