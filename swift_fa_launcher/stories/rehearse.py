"""The story of the rehearsal: make the training small, run it, read what it showed; kept while nothing of it changes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from swift_fa_launcher.cache import cache_dir
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import decode, encode, known
from swift_fa_launcher.errors import Say, Text
from swift_fa_launcher.files import keep_answer, kept_answer, read_group, stamp
from swift_fa_launcher.findings.finding import blocking
from swift_fa_launcher.launch.local import run_training
from swift_fa_launcher.launch.rehearsal import (
    LEFT_OUT,
    make_rehearsal_plan,
    rehearsal_key,
    times_the_rows,
    why_not_rehearsed,
)
from swift_fa_launcher.machine.facts import Facts, Rehearsal
from swift_fa_launcher.machine.reading import launch_number
from swift_fa_launcher.machine.rehearsal import foretell, read_ranks
from swift_fa_launcher.preflight.packing import make_batch
from swift_fa_launcher.stories.launch import Judgement, Prepared, judge, training_environment

#: Of a model's folder: its shape, and what makes tokens of rows.
MODEL_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_SILENT = 600.0  # seconds without a line, after which it is given up
_PREFIX = "swift-fa-small-"  # of the folders that trainings in small are done in


@dataclass(frozen=True)
class Rehearsed:
    """judgement: with the rehearsal among its facts. sample: the beginning of a row as (text, whether it is learned). log: the
    last lines of a rehearsal that failed."""

    judgement: Judgement
    sample: tuple[tuple[str, bool], ...] = ()
    log: str = ""


def is_wanted(config: ResolvedConfig, facts: Facts) -> bool:
    """Whether a launch is to be rehearsed first: `auto` does where there is a GPU to lose time on, and one node."""
    wish = config.preflight.rehearsal
    return wish == "always" or (wish == "auto" and bool(known(facts.gpus)) and not _several_nodes(config, facts))


def _several_nodes(config: ResolvedConfig, facts: Facts) -> bool:
    """Each would have its own kept answer, and one would wait for another that has one."""
    return (launch_number(config, facts, "nnodes") or 1) > 1


def rehearse_launch(prepared: Prepared, *, allow: Sequence[str], say: Say) -> Prepared:
    """The launch with its rehearsal judged, where one is wanted and nothing else blocks it."""
    judgement = prepared.judgement
    if blocking(judgement.findings) or not is_wanted(judgement.config, judgement.facts):
        return prepared
    return replace(prepared, judgement=rehearse(judgement, allow=allow, say=say).judgement)


def rehearse(judgement: Judgement, *, allow: Sequence[str], say: Say, anew: bool = False) -> Rehearsed:
    """The kept answer, or the training in small. anew: also where an answer is kept. Raises LaunchError where nothing starts."""
    config, facts = judgement.config, judgement.facts
    if _several_nodes(config, facts):
        return Rehearsed(_with(judgement, Rehearsal(cannot="the training runs on several nodes"), allow))
    place = cache_dir() / "rehearsal" / f"{rehearsal_key(config, facts, row_stamps(config))}.json"
    kept = None if anew else kept_answer(place, lambda answer: decode(Rehearsal, answer["rehearsal"]))
    if kept is not None:
        return Rehearsed(_with(judgement, kept, allow))
    with folder_of_its_own() as folder:
        found, sample, log = _run(config, facts, folder, say)
    if not log:  # what failed may have been mended from outside
        keep_answer(place, {"rehearsal": encode(found)})
    return Rehearsed(_with(judgement, found, allow), sample, log)


@contextmanager
def folder_of_its_own() -> Iterator[Path]:
    """A temporary folder for trainings in small. Those of launchers that were killed are removed before."""
    import psutil

    for old in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        pid = old.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _with(judgement: Judgement, rehearsal: Rehearsal, allow: Sequence[str]) -> Judgement:
    return judge(judgement.config, replace(judgement.facts, rehearsal=rehearsal), allow)


def row_stamps(config: ResolvedConfig) -> Mapping[str, Any]:
    """The files that the rehearsal reads, as far as they lie here: rows, plugins, deepspeed's config, those of the model."""
    read = [key for key in config.swift if key not in (*LEFT_OUT, "output_dir")]  # what it writes changes with each training
    texts = {text for key in read for text in config.swift.names(key) if "\0" not in text}
    rows = {name.rpartition("#")[0] for name in texts}
    model = config.swift.text("model")
    folders = [folder for folder in map(Path, config.swift.names("dataset")) if folder.is_dir()]
    files = (*map(Path, texts | rows), *(Path(model, name) for name in MODEL_FILES if model),
             *(file for folder in folders for file in folder.iterdir()))
    return {str(file): stamp(file) for file in sorted(files) if not file.is_dir()}


def _run(config: ResolvedConfig, facts: Facts, folder: Path, say: Say) -> tuple[Rehearsal, tuple[tuple[str, bool], ...], str]:
    if why := next(why_not_rehearsed(config, facts), None):
        return Rehearsal(cannot=why), (), ""
    plan = make_rehearsal_plan(config, facts, str(folder), str(Path.cwd()))
    if plan is None:
        return Rehearsal(cannot="ms-swift's script is not known"), (), ""
    say(Text("rehearsing: the same training with few layers, a minute or two as a rule",
             "正在预演：用少量的层跑同样的训练，通常一两分钟"))
    log = folder / "rehearsal.log"
    environment = training_environment(config, plan)
    with open(os.devnull, "wb") as nowhere:
        outcome = run_training(plan.starts, env=environment, cwd=Path(plan.cwd), log=log, run_id=folder.name,
                               grace=config.launch.grace, stdout=nowhere, stderr=nowhere,
                               finish_timeout=_SILENT, ended_marker=lambda line: True)
    if outcome.asked is not None:  # also where it had just ended: the training is not to begin
        raise KeyboardInterrupt
    found, ranks = _foretold(config, facts, folder)
    first: Mapping[str, Any] = next(iter(ranks[0].get("depths", ())), {}) if ranks else {}
    sample = tuple((text, learned) for text, learned in first.get("sample", ()))
    if outcome.exit_code == 0 and not outcome.ended_after_training:
        return found, sample, ""
    if outcome.ended_after_training:
        found = replace(found, error=None, cannot="it said nothing for ten minutes, and was ended")
    elif found.cannot is None:
        found = _failed(found, log, outcome.exit_code, first_ran=bool(first))
    return found, sample, log.read_text("utf-8", "replace")[-4000:]


def read_rehearsed(config: ResolvedConfig, facts: Facts, folder: Path, exit_code: int) -> Rehearsal:
    """What a rehearsal that has ended left in its folder."""
    found, ranks = _foretold(config, facts, folder)
    if exit_code == 0 or found.cannot is not None:
        return found
    return _failed(found, folder / "rehearsal.log", exit_code, first_ran=any(rank.get("depths") for rank in ranks))


def _foretold(config: ResolvedConfig, facts: Facts, folder: Path) -> tuple[Rehearsal, tuple[Mapping[str, Any], ...]]:
    ranks, told = read_ranks(folder), read_group(folder / "monitor.json")
    return foretell(ranks, accumulation=make_batch(config, facts).accumulation, attention=told.get("kernel"),
                    rows=times_the_rows(config, facts)), ranks


def _failed(found: Rehearsal, log: Path, exit_code: int, *, first_ran: bool) -> Rehearsal:
    """With the cause that the log names. A process that ended without a word of its own is not taken for the training's fault."""
    from swift_fa_launcher.diagnose.diagnosis import diagnose_file

    diagnosis = next(iter(diagnose_file(log, exit_code=exit_code)), None)
    error, code = known(found.error), diagnosis.code if diagnosis and diagnosis.code != "unknown" else None
    if diagnosis and error and not _names(diagnosis.evidence, error):
        code = None  # of a warning before it
    if code == "gpu-out-of-memory":
        return replace(found, out_of_memory=True)
    if first_ran:  # the same training ran once: that it does not run twice in one process says nothing of it
        return replace(found, error=None, cannot="it ran with few layers, and failed when it began anew with more")
    error = error or (diagnosis.evidence if diagnosis and code else None)
    if error is None:
        return replace(found, cannot="a process of it ended and does not say why")
    return replace(found, error=error, code=code)


def _names(evidence: str, error: str) -> bool:
    """Whether a line of the log says what the error says."""
    line, message = " ".join(evidence.split()), error.partition(": ")[2] or error
    return message[:60] in line or line in error
