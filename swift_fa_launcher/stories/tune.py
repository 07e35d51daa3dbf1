"""The story of tuning: rehearse one setting after another in one process that has imported everything, run the best two with all
layers, write what was found. What was measured is kept at once; the same command goes on where it was cut off."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from swift_fa_launcher.bench import tune as searches
from swift_fa_launcher.bench.bench import file_name
from swift_fa_launcher.cache import cache_dir
from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import decode, encode, known
from swift_fa_launcher.errors import LaunchError, Say, Text, refused_as
from swift_fa_launcher.files import keep_answer, kept_answer, write_whole
from swift_fa_launcher.findings.finding import blocking
from swift_fa_launcher.launch.local import run_training
from swift_fa_launcher.launch.rehearsal import WHOLE_STEPS, make_order, orders_plan, rehearsal_key, why_not_rehearsed
from swift_fa_launcher.machine.reading import process_count, visible_gpus
from swift_fa_launcher.machine.rehearsal import read_ranks, static_gib, steady_rate, waiting
from swift_fa_launcher.runs.record import run_name
from swift_fa_launcher.stories.launch import Judgement, judge, refuse_target, training_environment
from swift_fa_launcher.stories.rehearse import folder_of_its_own, read_rehearsed, row_stamps

_ENDED = re.compile(rb"swift-fa: rehearsal (\d+) ended with (\d+)")
#: Seconds that a setting may take and one with all layers, how many times as long as the slowest so far at most; the share of the
#: time that is kept for all layers.
_SMALL, _WHOLE, _SLOWER, _KEPT = 240.0, 600.0, 4, 0.3


@dataclass(frozen=True)
class Wish:
    """What the command line asks for. minutes: of the search and the runs with all layers. memory_gib: that a GPU may be filled
    with, None for nearly all. may_change: see LEARNS_OTHERWISE."""

    minutes: float = 15.0
    memory_gib: float | None = None
    may_change: tuple[str, ...] = ()
    out: Path | None = None
    allow: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tuned:
    """tried: every setting; done: whether the search came to its end. overlay: the file, None where nothing ran at all."""

    tried: tuple[searches.Tried, ...]
    search: searches.Search
    best: searches.Tried | None
    overlay: Path | None
    done: bool
    why: str = ""


@dataclass
class _Course:
    """One process that takes orders, and what came of each."""

    ground: searches.Ground
    wish: Wish
    folder: Path
    place: Path
    until: float
    say: Say
    tried: list[searches.Tried] = field(default_factory=list)
    number: int = -1
    now: searches.Tried = searches.Tried()
    began: float = 0.0
    ended: int = 0  # processes that are done with the order
    done: bool = False
    error: Exception | None = None

    def on_line(self, line: bytes) -> None:
        found = _ENDED.match(line)
        if not found or int(found[1]) != self.number:
            return
        self.ended += 1
        if self.ended < max(1, process_count(self.ground.config, self.ground.facts)):
            return
        try:
            self.take(int(found[2]))
            self.give()
        except Exception as error:  # `run_training` would only stop to look at lines, and the process wait for ever
            self.error = error
            (self.folder / "stop").touch()

    def give(self) -> None:
        """The next order, or that there is none."""
        while (following := self.following()) is not None:
            changes, whole = following
            self.number, self.ended, self.began = self.number + 1, 0, time.monotonic()
            self.now = searches.Tried(changes, whole)
            config = self.ground.at(changes)
            judged = judge(config, self.ground.facts, self.wish.allow)
            folder = self.folder / str(self.number)
            folder.mkdir()
            order = make_order(judged.config, self.ground.facts, str(folder), str(Path.cwd()),
                               whole=WHOLE_STEPS if whole else 0, seconds=_WHOLE if whole else self.patience())
            errors = blocking(judged.findings)
            if order and not errors:
                write_whole(self.folder / f"order-{self.number}.json", json.dumps(order))
                return
            self.number -= 1
            shutil.rmtree(folder)
            self.keep(replace(self.now, failed=errors[0].code if errors else "rehearsal"))
        (self.folder / "stop").touch()

    def patience(self) -> float:
        spent = [one.seconds for one in self.tried if not one.whole and one.tokens_per_second]
        return min(_SMALL, _SLOWER * max(spent)) if spent else _SMALL

    def following(self) -> tuple[searches.Changes, bool] | None:
        """The next setting, and whether with all layers; None where there is none, or no time."""
        left, spent = self.until - time.monotonic(), [one.seconds for one in self.tried if not one.whole]
        search = searches.search(self.ground, self.tried)
        self.done = search.following is None
        if search.following is not None and (not spent or left > self.wish.minutes * 60 * _KEPT + spent[-1]):
            return search.following, False
        chosen = searches.to_verify(self.tried)
        return (chosen, True) if chosen is not None and left > 0 else None

    def take(self, code: int) -> None:
        """What the order came to."""
        folder = self.folder / str(self.number)
        config = self.ground.at(self.now.changes)
        found = read_rehearsed(config, self.ground.facts, folder, code)
        ranks = read_ranks(folder)
        failed = searches.OUT_OF_MEMORY if found.out_of_memory else known(found.code) or known(found.error) or known(found.cannot)
        if code == 124:
            failed = "too slow"
        self.keep(replace(self.now, tokens_per_second=steady_rate(ranks) if self.now.whole else known(found.tokens_per_second),
                          peak_gib=known(found.peak_gib), static_gib=static_gib(ranks),
                          most_gib=self.most(known(found.gpu_gib)),
                          waiting=waiting(ranks) if self.now.whole else 0.0, failed=failed))
        shutil.rmtree(folder, ignore_errors=True)

    def most(self, gpu: float | None) -> float | None:
        return min(filter(None, (gpu and searches.FULL * gpu, self.wish.memory_gib)), default=None)

    def keep(self, one: searches.Tried) -> None:
        one = replace(one, seconds=time.monotonic() - self.began)
        self.tried.append(one)
        keep_answer(self.place, {"tried": encode(self.tried)})
        told = f"{one.tokens_per_second:,.0f} tokens/s" if one.tokens_per_second else one.failed or "?"
        memory = f", {one.peak_gib:.1f} GiB" if one.peak_gib else ""
        name, told = searches.describe(one.changes), f"{told}{memory}"
        how = Text("all layers", "全部层") if one.whole else Text("foretold", "预估")
        self.say(Text(f"{how.en}: {name or 'the config'}: {told} ({one.seconds:.0f} s)",
                      f"{how.zh}：{name or '原配置'}：{told}（{one.seconds:.0f} 秒）"))


def tune(files: Sequence[Path], overrides: Sequence[str], wish: Wish, judgement: Judgement, say: Say) -> Tuned:
    """The search, as far as the time goes. Raises LaunchError where nothing can be rehearsed or written."""
    config, facts = judgement.config, judgement.facts
    refuse_target(config)
    why = next(why_not_rehearsed(config, facts), None)
    if why or (config.launch.nnodes or 1) > 1:
        raise LaunchError("tune-impossible", why=why or "launch.nnodes")
    out = wish.out or Path(f"{file_name(run_name(config))}.tuned.yaml")
    key = rehearsal_key(config, facts, row_stamps(config))
    within = f"-{wish.memory_gib:g}" if wish.memory_gib else ""
    place = cache_dir() / "tune" / f"{key}{within}.json"
    ground = searches.Ground(config, facts, wish.may_change)
    with folder_of_its_own() as folder:
        course = _Course(ground, wish, folder, place, time.monotonic() + 60 * wish.minutes, say)
        course.tried = list(kept_answer(place, lambda answer: decode(tuple[searches.Tried, ...], answer["tried"])) or ())
        _run(course)
    search, best = searches.search(ground, course.tried), searches.fastest(course.tried)
    if best is None:
        failed = next((one.failed for one in course.tried if one.failed), "")
        return Tuned(tuple(course.tried), search, None, None, course.done, failed or "")
    _write(out, files, overrides, course, best, search)
    return Tuned(tuple(course.tried), search, best, out, course.done)


def _run(course: _Course) -> None:
    """Starts the process and gives it orders until there are none."""
    course.give()
    if (course.folder / "stop").exists():
        return
    config, facts = course.ground.config, course.ground.facts
    plan = orders_plan(config, facts, str(course.folder), str(Path.cwd()))
    if plan is None:
        raise LaunchError("tune-impossible", why="ms-swift's script is not known")
    with open(os.devnull, "wb") as nowhere:
        outcome = run_training(plan.starts, env=training_environment(config, plan), cwd=Path(plan.cwd),
                               log=course.folder / "tune.log", run_id=course.folder.name, grace=config.launch.grace,
                               stdout=nowhere, stderr=nowhere, on_line=course.on_line)
    if outcome.asked is not None:
        raise KeyboardInterrupt
    if course.error is not None:
        raise course.error
    if outcome.exit_code:
        log = (course.folder / "tune.log").read_text("utf-8", "replace").strip().splitlines()
        raise LaunchError("tune-impossible", why=log[-1] if log else f"exit code {outcome.exit_code}")


def _write(out: Path, files: Sequence[Path], overrides: Sequence[str], course: _Course, best: searches.Tried,
           search: searches.Search) -> None:
    config, facts = course.ground.config, course.ground.facts
    base = [os.path.relpath(file.absolute(), out.absolute().parent) for file in files]
    cards = visible_gpus(config, facts).gpus
    where = ", ".join(dict.fromkeys(str(known(gpu.name)) for gpu in cards)) if cards else "CPU"
    start = next((one for one in course.tried if not one.changes and not one.whole), None)
    how = "with all layers" if best.whole else "foretold from few layers"
    before = f"; {start.tokens_per_second:,.0f} foretold before" if start and start.tokens_per_second else ""
    about = [f"Written by `swift-fa tune {' '.join(map(str, files))}` on {where}.",
             f"{best.tokens_per_second:,.0f} tokens/s {how}{before}."]
    given = {word.partition("=")[0]: _value(config, word.partition("=")[0]) for word in overrides}
    text = searches.render_overlay(base, given, best.changes, search.steps, about)
    with refused_as(LaunchError("tune-impossible", where=str(out))):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, text)
    resolve_config([out])  # what is written can be read


def _value(config: ResolvedConfig, key: str) -> Any:
    found: Any = config.values
    for name in key.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
