"""The story of a sweep: many runs of one config, checked together, started side by side, listed the best first.

Each member is a launch of its own in a process of its own, forked from this one, and a record of its own. A member hears TERM
when the sweep's launcher dies, however it does, and ends its training as it would after a Ctrl-C; the same command then goes on
with what is left.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import NoReturn

from swift_fa_launcher.cache import keep_traceback
from swift_fa_launcher.config.grid import Settings, make_members, overlay_settings
from swift_fa_launcher.config.layers import expand_user, override_config, parse_layer, resolve_config
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import (
    LauncherError,
    LaunchError,
    RecordError,
    Text,
    UsageError,
    Voice,
    joined,
    refused_as,
    titled,
)
from swift_fa_launcher.findings.finding import blocking
from swift_fa_launcher.findings.table import words_of
from swift_fa_launcher.launch import keeper
from swift_fa_launcher.launch.plan import LaunchPlan
from swift_fa_launcher.launch.slots import gpu_pool, gpus_needed, take_gpus
from swift_fa_launcher.machine.facts import Facts, Rehearsal
from swift_fa_launcher.machine.reading import uses_torchrun
from swift_fa_launcher.runs import again as repeats
from swift_fa_launcher.runs import record as records
from swift_fa_launcher.runs.output import list_checkpoints, newest_complete
from swift_fa_launcher.runs.report import say_state
from swift_fa_launcher.runs.store import Entry, list_runs, readable_run, run_word, see_run, with_states
from swift_fa_launcher.runs.sweeps import (
    KIND,
    Became,
    Member,
    SweepPlan,
    note_member,
    read_became,
    read_plan,
    render_plan,
    see_members,
)
from swift_fa_launcher.secrets import redact, redact_data
from swift_fa_launcher.stories import cluster
from swift_fa_launcher.stories import launch as single
from swift_fa_launcher.stories.install import would_mend
from swift_fa_launcher.stories.rehearse import rehearse_launch

_TICK, _LOOK = 0.3, 2.0  # seconds between two looks at the members, at jobs of Slurm
_OF_JOBS = ("queued", "running", "unknown")  # states of a job that has not ended
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ENDING = 90.0  # seconds for what a killed sweep left to end
#: What says how to learn and how long, and changes neither what is looked at on a machine nor what the checks make of it.
_OF_LEARNING = frozenset((
    "learning_rate", "seed", "data_seed", "weight_decay", "warmup_ratio", "warmup_steps", "num_train_epochs", "lr_scheduler_type",
    "max_grad_norm", "adam_beta1", "adam_beta2", "adam_epsilon", "lora_alpha", "output_dir"))


@dataclass(frozen=True)
class Sweep:
    """configs: of the members, in their order. base: what they have in common. folder: the record's, once there is one."""

    plan: SweepPlan
    base: ResolvedConfig
    configs: tuple[ResolvedConfig, ...]
    root: Path
    name: str
    folder: Path | None = None


@dataclass(frozen=True)
class Checked:
    """A sweep whose members may start. facts: of the machine. judgements: of each member that is to start, by its number."""

    sweep: Sweep
    facts: Facts
    judgements: Mapping[int, single.Judgement]


@dataclass(frozen=True)
class Ended:
    """asked: the signal by which the launcher was told to end."""

    folder: Path
    members: tuple[Member, ...]
    asked: int | None = None


# What it is


def plan_sweep(files: Sequence[Path], words: Sequence[str], *, overlays: Path | None, count: int | None,
               allow: Sequence[str]) -> Sweep:
    """The sweep of a command line; where the same one was stopped, that. Raises UsageError for one without members."""
    common, members = make_members(words, _read_overlays(overlays) if overlays else (), count)
    if not members:
        raise UsageError("sweep-of-nothing")
    base = resolve_config(files, common)
    name = records.run_name(base)
    members = tuple(tuple(dict.fromkeys(member)) for member in members)
    configs = tuple(resolve_config(files, (*common, *_own(base, name, number, member), *member))
                    for number, member in enumerate(members, 1))
    root = expand_user(base.run.root).absolute()
    sweep = Sweep(SweepPlan(_key(configs), members, tuple(allow)), base, configs, root, name)
    for entry in _sweeps(root):
        with suppress(RecordError):  # a damaged one is none that could go on
            if entry.state in ("unfinished", "interrupted") and read_plan(entry.folder).key == sweep.plan.key \
                    and _refuse_running(entry).state not in ("finished", "failed"):
                return replace(sweep, folder=entry.folder)
    return sweep


def _sweeps(root: Path) -> list[Entry]:
    """The newest first."""
    return [entry for entry in list_runs(root) if entry.record and entry.record.kind == KIND]


def continue_sweep(root: Path, word: str) -> Sweep:
    """A recorded sweep, to go on with. Changes to its working folder."""
    if word == "latest":  # a member is younger
        word = next((str(entry.folder) for entry in _sweeps(root)), word)
    entry, record = readable_run(root, word)
    plan = read_plan(entry.folder)
    _refuse_running(entry)
    with refused_as(LaunchError("run-folder-gone", where=record.cwd)):
        os.chdir(record.cwd)
    base = repeats.repeated_config(entry, record, ())
    configs = tuple(repeats.repeated_config(entry, record, (*_own(base, record.name, number, member), *member))
                    for number, member in enumerate(plan.members, 1))
    return Sweep(plan, base, configs, entry.folder.parent, record.name, entry.folder)


def _refuse_running(entry: Entry) -> Entry:
    """The sweep as it is now. One whose members are jobs may be gone on with at any time."""
    entry = with_states([entry])[0]
    if entry.state == "running" and entry.record and not entry.record.slurm:
        raise LaunchError("run-still-running", Text(f"{entry.folder.name} is still running", f"{entry.folder.name} 仍在运行"),
                          hint=(f"swift-fa runs --end {run_word(entry.folder)}",))
    return entry


def _read_overlays(file: Path) -> list[Settings]:
    """Each YAML document of the file is one overlay."""
    with refused_as(UsageError("config-missing", where=str(file))):
        text = file.read_text(encoding="utf-8-sig")
    layers = [parse_layer(part, file) for part in re.split(r"(?m)^---[ \t]*$", text) if part.strip()]
    return [overlay_settings(dict(layer.data)) for layer in layers if layer.data]


def _own(base: ResolvedConfig, name: str, number: int, member: Settings) -> Settings:
    """What tells the members apart where their settings do not: a name, a folder, an experiment each."""
    called = f"{name}-{number}"
    folder = str(Path(base.swift.text("output_dir") or "output", called))
    own = {"run.name": called, "swift.output_dir": folder}
    if base.swanlab.experiment:
        own["swanlab.experiment"] = f"{base.swanlab.experiment}-{number}"
    written = {setting.partition("=")[0] for setting in member}
    return tuple(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in own.items() if key not in written)


def _key(configs: Sequence[ResolvedConfig]) -> str:
    told = json.dumps(redact_data([dict(config.values) for config in configs], _hidden(configs)), sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def _hidden(configs: Sequence[ResolvedConfig]) -> list[str]:
    return [value for config in configs for value in records.secret_values(config, os.environ)]


# Before the first starts


def check_sweep(sweep: Sweep, *, install: bool, voice: Voice) -> Checked:
    """Every member that is still to start looked at, judged and, where `train` would, rehearsed. Installs flash-attn where it is
    missing and may be. Starts nothing."""
    allow = sweep.plan.allow
    checked: dict[int, single.Judgement] = {}
    first: single.Judgement | None = None
    left = _left(sweep)
    for number in left:
        config = sweep.configs[number - 1]
        voice.say(titled(Text(f"member {number}", f"成员 {number}"), " ".join(sweep.plan.members[number - 1])))
        if first is not None and _looks_alike(sweep.configs[left[0] - 1], config):
            facts = first.facts if _rehearsed(first) else replace(first.facts, rehearsal=Facts().rehearsal)
        else:
            prepared = single.prepare(config, allow=allow, say=voice.say)
            if install and would_mend(config, prepared.judgement.facts, prepared.judgement.findings):
                prepared = single.mend(prepared, allow, voice)
            facts = prepared.judgement.facts
        prepared = single.plan_launch(single.judge(config if _by_slurm(sweep) else _placed(config, facts), facts, allow))
        if not _rehearsed(prepared.judgement) and not _by_slurm(sweep):
            prepared = rehearse_launch(prepared, allow=allow, say=voice.say)
        first = first or prepared.judgement
        checked[number] = prepared.judgement
    return Checked(sweep, first.facts if first else Facts(), checked)


def _by_slurm(sweep: Sweep) -> bool:
    """Whether each member is a job."""
    return sweep.base.launch.target == "slurm"


def _rehearsed(judgement: single.Judgement) -> Rehearsal | None:
    """The rehearsal that a member was judged by, where it holds for other ways to learn too."""
    rehearsal = known(judgement.facts.rehearsal)
    return rehearsal if rehearsal and None not in rehearsal.losses else None


def _placed(config: ResolvedConfig, facts: Facts) -> ResolvedConfig:
    """With as many GPUs as it will have."""
    gpus = take_gpus(gpu_pool(config, facts), (), gpus_needed(config, facts))
    return override_config(config, [f"launch.gpus={[*gpus]}"]) if gpus else config


def _looks_alike(first: ResolvedConfig, other: ResolvedConfig) -> bool:
    """Whether the machine need not be looked at again for the other."""
    differ = {key for key in {*first.swift, *other.swift} if first.swift.get(key) != other.swift.get(key)}
    return differ <= _OF_LEARNING and (first.flash_attn, first.env, first.preflight, first.launch.python) == (
        other.flash_attn, other.env, other.preflight, other.launch.python)


def refuse_blocked(checked: Checked) -> None:
    """Raises LaunchError where a member would not start."""
    blocked = [(judgement.config.run.name, finding.code) for judgement in checked.judgements.values()
               for finding in blocking(judgement.findings)]
    if blocked:
        told = ", ".join(dict.fromkeys(code for _, code in blocked))
        raise LaunchError("launch-blocked", Text(f"not started: {told}", f"未启动：{told}"),
                          where=", ".join(dict.fromkeys(str(name) for name, _ in blocked)))


def _left(sweep: Sweep) -> list[int]:
    """The members that have not come to their end: a failed one has."""
    if sweep.folder is None:
        return [*range(1, len(sweep.configs) + 1)]
    return [member.number for member in see_members(sweep.folder)
            if member.state not in ("finished", "failed", *_OF_JOBS)]


# Running


def run_sweep(checked: Checked, *, parallel: int | None, command: Sequence[str], voice: Voice, wait: bool = False) -> Ended:
    """Start what is left, as many at once as there are GPUs or as `parallel` says, and wait for all. Jobs of Slurm start when it
    lets them, and are waited for only with `wait`."""
    sweep = checked.sweep
    if _by_slurm(sweep):
        return _submit_sweep(replace(checked, sweep=replace(sweep, folder=sweep.folder or _start_record(sweep, command))),
                             parallel, wait, voice)
    if sweep.folder and not checked.judgements:
        return Ended(sweep.folder, see_members(sweep.folder))
    folder = sweep.folder or _start_record(sweep, command)
    process = records.this_process()
    record = replace(records.read_record(folder), status="unfinished", ended=None, exit_code=None, signal=None, host=process.host,
                     pid=process.pid, pid_started=process.started)
    records.update_launched(folder, record)
    floor = _Floor(replace(checked, sweep=replace(sweep, folder=folder)), parallel, voice)
    asked = None
    try:
        floor.run([*checked.judgements])
    except KeyboardInterrupt as stop:
        asked = stop.args[0] if stop.args else int(signal.SIGINT)
        voice.say(Text("stopping all members", "正在停止所有成员"))
        floor.end_all()
    members = see_members(folder)
    good = all(member.state == "finished" for member in members)
    status = "interrupted" if asked else "finished" if good else "failed"
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    records.update_launched(folder, replace(record, status=status, ended=now, exit_code=128 + asked if asked else int(not good),
                                          signal=asked))
    return Ended(folder, members, asked)


def _start_record(sweep: Sweep, command: Sequence[str]) -> Path:
    run_id = records.new_run_id(sweep.name, datetime.now(timezone.utc))
    plan = LaunchPlan(tuple(command), (), {}, (), str(Path.cwd()), str(sweep.root / run_id))
    record = replace(records.make_record(sweep.base, plan, run_id, datetime.now(timezone.utc), name=sweep.name), kind=KIND,
                     output_dir=None)
    hidden = _hidden(sweep.configs)
    texts = records.render_config(record, sweep.base, hidden)
    folder = records.start_record(sweep.root, record, {**texts, "sweep.json": redact(render_plan(sweep.plan), hidden)})
    (folder / "members").mkdir()
    return folder


def _submit_sweep(checked: Checked, parallel: int | None, wait: bool, voice: Voice) -> Ended:
    """One job for each member that is left. With `parallel` each waits for the one so many before it."""
    folder, asked = checked.sweep.folder, None
    assert folder is not None
    records.edit_record(folder, lambda now: replace(now, status="unfinished", ended=None, exit_code=None, pid=None,
                                                    slurm={"members": len(checked.sweep.configs)}))
    jobs = [str(run.record.slurm.get("job")) for run in _open_runs(folder) if run.record]
    try:
        for number in checked.judgements:
            after = jobs[-parallel] if parallel and len(jobs) >= parallel else None
            with suppress(LauncherError):  # noted: the others are submitted
                jobs.append(_submit_member(checked, number, after, voice))
        while wait and _open_runs(folder):
            time.sleep(_LOOK)
    except KeyboardInterrupt as stop:
        asked = stop.args[0] if stop.args else int(signal.SIGINT)
        if asked == signal.SIGHUP:  # the terminal is gone: the jobs need none
            voice.say(Text("the jobs stay with Slurm", "作业仍由 Slurm 运行"))
        else:
            voice.say(Text("cancelling all jobs", "正在取消所有作业"))
            cluster.end_jobs([run.folder for run in _open_runs(folder)], voice.say)
    see_run(folder)  # writes the end, where all have theirs
    return Ended(folder, see_members(folder), asked)


def _open_runs(folder: Path) -> list[Entry]:
    """The members' runs whose jobs have not ended."""
    return [member.entry for member in see_members(folder) if member.entry and member.state in _OF_JOBS]


def _submit_member(checked: Checked, number: int, after: str | None, voice: Voice) -> str:
    """The number of its job. Raises LauncherError, which is noted."""
    sweep, allow = checked.sweep, checked.sweep.plan.allow
    assert sweep.folder is not None
    before = read_became(sweep.folder, number)
    try:
        if (stopped := _stopped_run(sweep.root, before)) is not None:
            prepared = single.resume(sweep.root, str(stopped), (), allow=allow, say=voice.say).prepared
        else:
            prepared = replace(single.plan_launch(checked.judgements[number]), parent=sweep.folder.name)
        note_member(sweep.folder, number, Became((*before.runs, prepared.run_id)))
        job = cluster.submit(prepared, allow=allow, say=voice.say, after=after).number or ""
    except LauncherError as error:
        why = joined((words_of(error)[0], error.why))
        _note_error(sweep.folder, number, why.en)
        voice.say(Text(f"member {number} is refused: {why.en}", f"成员 {number} 被拒绝：{why.zh}"))
        raise
    voice.say(Text(f"member {number} is job {job}: {' '.join(sweep.plan.members[number - 1])}",
                   f"成员 {number} 是作业 {job}：{' '.join(sweep.plan.members[number - 1])}"))
    return job


class _Floor:
    """The members that run now, by process id, each with its number and its GPUs."""

    def __init__(self, checked: Checked, parallel: int | None, voice: Voice) -> None:
        self.checked, self.sweep, self.facts, self.voice = checked, checked.sweep, checked.facts, voice
        self.pool = gpu_pool(self.sweep.base, self.facts)
        self.places = parallel or (len(self.pool) or 1)
        self.running: dict[int, tuple[int, tuple[int, ...]]] = {}

    def run(self, numbers: Sequence[int]) -> None:
        waiting = [*numbers]
        while waiting or self.running:
            while waiting and (gpus := self.room_for(waiting[0])) is not None:
                self.start(waiting.pop(0), gpus)
            self.collect()
            time.sleep(_TICK)

    def room_for(self, number: int) -> tuple[int, ...] | None:
        """The GPUs that the member would get, none where there are none at all; None where it must wait."""
        if len(self.running) >= self.places:
            return None
        if not self.pool:
            return ()
        busy = {index for _, gpus in self.running.values() for index in gpus}
        count = min(gpus_needed(self.sweep.configs[number - 1], self.facts), len(self.pool))  # more is refused by its preflight
        return take_gpus(self.pool, busy, count)

    def start(self, number: int, gpus: tuple[int, ...]) -> None:
        place = Text(f" on GPU {', '.join(map(str, gpus))}", f"，GPU {', '.join(map(str, gpus))}") if gpus else Text("", "")
        settings = " ".join(self.sweep.plan.members[number - 1])
        self.voice.say(Text(f"member {number} starts{place.en}: {settings}", f"成员 {number} 启动{place.zh}：{settings}"))
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        waiting = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)  # so that a Ctrl-C finds each of the two where it belongs
        if (pid := os.fork()) == 0:
            _be_member(self.checked, number, gpus, parent, self.voice)
        self.running[pid] = (number, gpus)
        signal.pthread_sigmask(signal.SIG_SETMASK, waiting)

    def collect(self) -> None:
        for pid, (number, _) in [*self.running.items()]:
            ended, _status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self.running[pid]
                assert self.sweep.folder is not None
                member = see_members(self.sweep.folder)[number - 1]
                why = f" ({member.became.error})" if member.became.error else ""
                loss = "" if member.loss is None else f", loss {member.loss:.5g}"
                en, zh = (say_state(member.state, lang) for lang in ("en", "zh"))
                self.voice.say(Text(f"member {number} {en}{loss}{why}", f"成员 {number}：{zh}{loss}{why}"))

    def end_all(self) -> None:
        """Tells every member to end, as a Ctrl-C would; the next Ctrl-C once more, which kills."""
        while self.running:
            for pid in self.running:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)
            try:
                while self.running:
                    self.collect()
                    time.sleep(_TICK)
            except KeyboardInterrupt:
                continue


def _be_member(checked: Checked, number: int, gpus: tuple[int, ...], parent: int, voice: Voice) -> NoReturn:
    """The forked process: one launch, from looking at the machine to its record's end."""
    folder, code = checked.sweep.folder, 3
    assert folder is not None
    try:
        keeper.die_with_parent()
        if os.getppid() != parent:
            os._exit(code)
        os.setpgid(0, 0)  # a Ctrl-C at the terminal is for the sweep, which passes it on
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)
        _speak_into(folder / "members" / f"{number}.log")
        code = _train_member(checked, number, gpus, voice)
    except LauncherError as error:
        code = error.exit_code
        _note_error(folder, number, joined(words_of(error)[:1]).en)
    except KeyboardInterrupt:
        code = 130
    except BaseException as error:
        with suppress(BaseException):
            _note_error(folder, number, f"{type(error).__name__}: {error} ({keep_traceback()})")
    finally:
        os._exit(code)


def _speak_into(log: Path) -> None:
    for source, flags, targets in ((os.devnull, os.O_RDONLY, (0,)), (str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, (1, 2))):
        opened = os.open(source, flags, 0o644)
        for target in targets:
            os.dup2(opened, target)


def _note_error(folder: Path, number: int, said: str) -> None:
    note_member(folder, number, replace(read_became(folder, number), error=said))


def _train_member(checked: Checked, number: int, gpus: tuple[int, ...], voice: Voice) -> int:
    sweep = checked.sweep
    folder, config, allow = sweep.folder, sweep.configs[number - 1], sweep.plan.allow
    assert folder is not None
    own = [f"launch.gpus={[*gpus]}"] if gpus else []
    before = read_became(folder, number)
    if (stopped := _stopped_run(sweep.root, before)) is not None:
        prepared = single.resume(sweep.root, str(stopped), own, allow=allow, say=voice.say).prepared
    else:
        prepared = single.prepare(override_config(config, own), allow=allow, say=voice.say)
        if uses_torchrun(prepared.judgement.config, prepared.judgement.facts) and config.launch.master_port is None:
            port = [f"launch.master_port={_free_port()}"]  # of its own: members that start together would all take the same
            prepared = single.plan_launch(single.judge(override_config(config, [*own, *port]), prepared.judgement.facts, allow))
        prepared = replace(prepared, parent=folder.name)
    if rehearsal := _rehearsed(checked.judgements[number]):
        now = prepared.judgement
        prepared = replace(prepared, judgement=single.judge(now.config, replace(now.facts, rehearsal=rehearsal), allow))
    else:
        prepared = rehearse_launch(prepared, allow=allow, say=voice.say)
    note_member(folder, number, Became((*before.runs, prepared.run_id)))
    with open(os.devnull, "wb") as nowhere:
        return single.launch(prepared, screen=nowhere, screen_errors=nowhere, say=voice.say).outcome.exit_code


def _stopped_run(root: Path, became: Became) -> Path | None:
    """The run that a member goes on with: it was stopped and left a whole checkpoint. Waits for one that is still ending."""
    if not became.runs:
        return None
    folder, until = root / became.runs[-1], time.monotonic() + _ENDING
    while (entry := see_run(folder)).state in ("running", "orphaned") and time.monotonic() < until:
        time.sleep(_TICK)
    record = entry.record
    whole = record and record.output_dir and newest_complete(list_checkpoints(Path(record.cwd, record.output_dir)))
    return folder if whole else None


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
