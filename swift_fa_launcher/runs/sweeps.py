"""The record of a sweep: what its members are, which runs they became, and the table of what came of them.

    <run.root>/<id>/        run.json (kind "sweep"), config.yaml, config.json, layers/ as any run has them
        sweep.json          the members' settings
        members/N.json      the runs that member N became, the newest last, or why there is none
        members/N.log       what the launcher said of it
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from swift_fa_launcher.config.grid import Settings, swept_keys
from swift_fa_launcher.decode import DecodeError, decode, encode
from swift_fa_launcher.errors import RecordError, Text
from swift_fa_launcher.files import read_group, read_json, write_whole
from swift_fa_launcher.layout import columns
from swift_fa_launcher.runs.output import read_eval_loss
from swift_fa_launcher.runs.record import RunRecord, update_launched
from swift_fa_launcher.runs.report import render_duration, render_figure, say_state
from swift_fa_launcher.runs.store import Entry, see_runs

KIND = "sweep"


@dataclass(frozen=True)
class SweepPlan:
    """key: the same for the same configs, settings and members. allow: codes of findings that are to block nothing."""

    key: str
    members: tuple[Settings, ...]
    allow: tuple[str, ...] = ()


@dataclass(frozen=True)
class Became:
    """What a member became. runs: their ids, the newest last. error: why the launcher did not start the newest."""

    runs: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Member:
    """One member as it is now. number: from 1. entry: its newest run. eval_loss: the last, where it evaluates."""

    number: int
    settings: Settings
    became: Became = Became()
    entry: Entry | None = None
    eval_loss: float | None = None

    @property
    def state(self) -> str:
        """As of a run; "waiting" before there is one, "refused" where the launcher did not start it."""
        if self.entry is None or (self.became.error and self.entry.state == "damaged"):
            return "refused" if self.became.error else "waiting"
        return self.entry.state

    @property
    def loss(self) -> float | None:
        """The mean over the training, else the last that was logged."""
        progress = self.entry.progress if self.entry else None
        return None if progress is None else progress.loss if progress.train_loss is None else progress.train_loss


def render_plan(plan: SweepPlan) -> str:
    return json.dumps({"schema": 1, **encode(plan)}, indent=1, ensure_ascii=False) + "\n"


def read_plan(folder: Path) -> SweepPlan:
    """Raises RecordError where the folder is not that of a sweep."""
    try:
        return decode(SweepPlan, read_json(folder / "sweep.json"))  # type: ignore[no-any-return]
    except DecodeError as error:
        raise RecordError("record-unreadable", Text(f"{folder.name} is not a sweep", f"{folder.name} 不是 sweep"),
                          where=str(folder / "sweep.json"), why=error.sentence) from None


def note_member(folder: Path, number: int, became: Became) -> None:
    """Raises OSError."""
    write_whole(folder / "members" / f"{number}.json", json.dumps(encode(became), ensure_ascii=False) + "\n", durable=True)


def read_became(folder: Path, number: int) -> Became:
    try:
        return decode(Became, read_group(folder / "members" / f"{number}.json"))  # type: ignore[no-any-return]
    except DecodeError:
        return Became()


def see_members(folder: Path) -> tuple[Member, ...]:
    """The members as they are now, in their order. Raises RecordError."""
    members = [Member(number, settings, read_became(folder, number))
               for number, settings in enumerate(read_plan(folder).members, 1)]
    seen = see_runs(folder.parent / one.became.runs[-1] for one in members if one.became.runs)  # Slurm is asked once for all
    runs = {entry.folder.name: entry for entry in seen}
    return tuple(_with_run(one, runs[one.became.runs[-1]]) if one.became.runs else one for one in members)


def _with_run(member: Member, entry: Entry) -> Member:
    output = entry.record and entry.record.output_dir
    loss = read_eval_loss(Path(entry.record.cwd, output)) if entry.record and output else None
    return replace(member, entry=entry, eval_loss=loss)


def with_end(folder: Path, record: RunRecord) -> RunRecord:
    """The record of a sweep whose members are jobs of Slurm, as its members are now; its end is written once all have theirs."""
    states = {member.state for member in see_members(folder)}
    for state in ("running", "queued", "unknown"):
        if state in states:
            return replace(record, status=state)
    if states - {"finished", "failed", "interrupted", "refused"}:
        return record
    status = "interrupted" if "interrupted" in states else "finished" if states == {"finished"} else "failed"
    ended = datetime.now(timezone.utc).isoformat(timespec="seconds")
    record = replace(record, status=status, ended=ended, exit_code=int(status != "finished"))
    with suppress(OSError):  # of another user: it is shown at least
        update_launched(folder, record)
    return record


def rank_members(members: Sequence[Member]) -> tuple[Member, ...]:
    """The best first: by the loss of the evaluation where any has one, else of the training; then those without a result."""
    metric = metric_of(members)

    def place(member: Member) -> tuple[bool, float, int]:
        value = getattr(member, metric)
        there = member.state == "finished" and value is not None and not math.isnan(value)
        return (not there, value if there else 0.0, member.number)

    return tuple(sorted(members, key=place))


def best_member(members: Sequence[Member]) -> Member | None:
    """The first of `rank_members`; None where none has finished with a finite result."""
    best = next(iter(rank_members(members)), None)
    value = getattr(best, metric_of(members)) if best else None
    return best if best and best.state == "finished" and value is not None and math.isfinite(value) else None


def metric_of(members: Sequence[Member]) -> str:
    return "eval_loss" if any(member.eval_loss is not None for member in members) else "loss"


def render_members(members: Sequence[Member], lang: str) -> str:
    """A table, the best first: the settings in which they differ, the result, the run."""
    keys = swept_keys([member.settings for member in members])
    evaluated = metric_of(members) == "eval_loss"
    titles = [Text("no.", "序号"), *(Text(key, key) for key in keys), *([Text("eval_loss", "eval_loss")] if evaluated else []),
              Text("loss", "损失"), Text("state", "状态"), Text("duration", "时长"), Text("run", "运行")]
    rows = [[title.render(lang) for title in titles]]
    for member in rank_members(members):
        values = dict(setting.split("=", 1) for setting in member.settings)
        record = member.entry.record if member.entry else None
        results = [member.eval_loss, member.loss] if evaluated else [member.loss]
        rows.append([str(member.number), *(values.get(key, "") for key in keys), *map(render_figure, results),
                     say_state(member.state, lang), render_duration(record) if record else "", _told(member)])
    return columns(rows)


def _told(member: Member) -> str:
    """The run, and why it came to nothing."""
    record = member.entry.record if member.entry else None
    codes = [str(one.get("code")) for one in record.diagnoses][:1] if record and record.exit_code else []
    words = [record.id if record else "", *codes, member.became.error or ""]
    return "  ".join(word for word in words if word)


def members_to_json(folder: Path, members: Sequence[Member]) -> dict[str, Any]:
    """The table for programs, the best first."""
    def told(member: Member) -> dict[str, Any]:
        record = member.entry.record if member.entry else None
        return {"member": member.number, "settings": dict(setting.split("=", 1) for setting in member.settings),
                "state": member.state, "eval_loss": member.eval_loss, "loss": member.loss, "runs": list(member.became.runs),
                "exit_code": record.exit_code if record else None, "error": member.became.error,
                "diagnoses": encode(record.diagnoses) if record else []}

    return {"schema": 1, "sweep": folder.name, "run_dir": str(folder), "metric": metric_of(members),
            "members": [told(member) for member in rank_members(members)]}
