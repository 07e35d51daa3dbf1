"""The story of a launch, a repetition and a continuation in plain order: look, judge, plan, start, record.

Nothing here prints: results are values, progress goes through `say`, and `commands` show both.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from swift_fa_launcher.cache import keep_traceback
from swift_fa_launcher.config.layers import expand_user
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.config.swift_args import Argument
from swift_fa_launcher.decode import Maybe, Unknown, encode, known
from swift_fa_launcher.errors import LauncherError, LaunchError, Say, Text, Voice, Words, joined, refused_as, titled
from swift_fa_launcher.findings.finding import Finding, blocking, lower_allowed
from swift_fa_launcher.findings.table import require_codes, words_of
from swift_fa_launcher.flash.building import needs_install
from swift_fa_launcher.flash.provider import KERNEL, choose_provider, kernel_look
from swift_fa_launcher.launch.local import Outcome, StallWatch, run_training
from swift_fa_launcher.launch.plan import LaunchPlan, make_plan
from swift_fa_launcher.launch.processes import end_run, find_running
from swift_fa_launcher.launch.restart import decide_restart
from swift_fa_launcher.launch.swanlab import notification_secrets
from swift_fa_launcher.machine.collect import collect_facts
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.reading import interpreter, placed_by_platform, site_packages
from swift_fa_launcher.machine.swift_schema import collect_swift_arguments
from swift_fa_launcher.preflight.checks import settle
from swift_fa_launcher.runs import again as repeats
from swift_fa_launcher.runs import output as outputs
from swift_fa_launcher.runs import record as records
from swift_fa_launcher.runs.diff import Difference, compare, read_texts
from swift_fa_launcher.runs.monitor import read_measured
from swift_fa_launcher.runs.store import Entry, readable_run, remember_root, see_run
from swift_fa_launcher.runs.surroundings import Surroundings, collect_surroundings
from swift_fa_launcher.runs.sweeps import KIND, see_members
from swift_fa_launcher.runs.turns import output_turn
from swift_fa_launcher.runs.verify import Verdict, verify
from swift_fa_launcher.stories.notify import send_message
from swift_fa_launcher.wheels.install import FOLDER as INSTALL_FOLDER

if TYPE_CHECKING:
    from swift_fa_launcher.diagnose.diagnosis import Diagnosis
    from swift_fa_launcher.machine.network import Question, Reply

_UNWRITTEN = Text("the run record cannot be written", "无法写入运行记录")
_UNWATCHED = Text("could not read the training's output", "无法读取训练的输出")


@dataclass(frozen=True)
class Judgement:
    """A config, the facts it was judged by, and what was found."""

    config: ResolvedConfig
    facts: Facts
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Prepared:
    """A launch that needs only to be started.

    name: of the run. parent: the run that it repeats or continues, resumed_from: at which checkpoint. earlier: folders of
    the SwanLab run that it continues offline. around: what it depends on, where that was looked at already.
    """

    judgement: Judgement
    plan: LaunchPlan
    run_id: str
    root: Path
    name: str
    parent: str | None = None
    resumed_from: str | None = None
    earlier: tuple[str, ...] = ()
    around: Surroundings | None = None


@dataclass(frozen=True)
class Again:
    """A recorded run about to be started once more. differences: from then, for a continuation those that are news;
    unexpected: those that nobody asked for and that matter. before: the recorded run's folder. continuation: where it goes on,
    None for a repetition."""

    prepared: Prepared
    differences: tuple[Difference, ...]
    unexpected: tuple[Difference, ...]
    before: Path
    continuation: repeats.Continuation | None = None


@dataclass(frozen=True)
class Finished:
    record: records.RunRecord
    folder: Path
    outcome: Outcome
    diagnoses: tuple[Diagnosis, ...] = ()


def look(config: ResolvedConfig, *, offline: bool = False, probe: bool = True, say: Say,
         asked: dict[Question, Reply] | None = None, kernel: str | None = None) -> Facts:
    """What this machine, its training interpreter and the paths of the config are like. asked: as in `collect_facts`. kernel: the
    hub kernel's commit, where the lock's is not meant."""
    collect = partial(collect_facts, config, offline=offline, probe=probe, say=say, asked=asked)
    facts = collect()
    site = site_packages(facts)
    if site and os.path.isdir(site / INSTALL_FOLDER):  # of a killed installation, which is undone before anything is judged by it
        from swift_fa_launcher.stories.install import recover  # here, since most environments have nothing to undo

        facts = collect() if recover(facts, say) else facts
    if known(facts.python) is None:
        why = facts.python.why if isinstance(facts.python, Unknown) else Text("there is no such program", "没有这个程序")
        origin = config.origin("launch.python")
        raise LaunchError("interpreter-silent", why=why,
                          where=f"{config.launch.python or sys.executable}{f' ({origin})' if origin else ''}")
    facts = replace(facts, ms_swift_args=_swift_arguments(config, facts, say))
    way = kernel_look(config, facts) if probe else None
    return _with_hub_kernel(config, facts, "cached" if offline else way, say, kernel) if way else facts


def _with_hub_kernel(config: ResolvedConfig, facts: Facts, way: str, say: Say, pinned: str | None = None) -> Facts:
    from swift_fa_launcher.stories.install import with_hub_kernel  # here, since most trainings take none

    return with_hub_kernel(config, facts, way, say, pinned or _pinned_kernel(facts))


def _pinned_kernel(facts: Facts) -> str | None:
    kernel = known(facts.hub_kernel)
    return known(kernel.pinned) if kernel else None


def installed_arguments(config: ResolvedConfig, say: Say) -> Mapping[str, Argument]:
    """The arguments of the ms-swift that this config trains with. Raises LauncherError where there is none."""
    return installed_stack(config, say)[0]


def installed_stack(config: ResolvedConfig, say: Say) -> tuple[Mapping[str, Argument], str]:
    """The arguments of the ms-swift that this config trains with, and its version. Raises LauncherError where there is none."""
    facts = collect_facts(config, offline=True, probe=False, say=say)
    arguments = _swift_arguments(config, facts, say)
    if isinstance(arguments, Unknown) or arguments is None:
        raise LauncherError("ms-swift-missing" if arguments is None else "swift-args-unreadable",
                            Text("ms-swift's arguments cannot be read", "无法读取 ms-swift 的参数"),
                            where=config.launch.python or sys.executable, why=arguments.why if arguments else "",
                            hint=("pip install ms-swift",))
    return arguments, str(facts.package("ms-swift") or "")


def _swift_arguments(config: ResolvedConfig, facts: Facts, say: Say) -> Maybe[Mapping[str, Argument]]:
    swift = known(facts.swift)
    if known(facts.python) is None:
        return Unknown("the training interpreter does not answer")
    return collect_swift_arguments(interpreter(facts) or config.launch.python or sys.executable,
                                   known(swift.module) if swift else None, facts.packages,
                                   environment={**os.environ, **config.env}, say=say)


def judge(config: ResolvedConfig, facts: Facts, allow: Sequence[str] = ()) -> Judgement:
    """Every check on this config and these facts; `allow` (and the config's own list) lowers errors to warnings.

    Raises UsageError for a code in the config's list that is none.
    """
    require_codes(config.preflight.allow, f"{config.origin('preflight.allow')}: preflight.allow")
    config, findings = settle(placed_by_platform(config, facts), facts)
    return Judgement(config, facts, lower_allowed(findings, (*config.preflight.allow, *allow)))


def prepare(config: ResolvedConfig, *, allow: Sequence[str], say: Say, asked: dict[Question, Reply] | None = None,
            name: str | None = None, kernel: str | None = None) -> Prepared:
    """Facts, findings and plan of a launch on this machine. Starts and changes nothing. asked, kernel: as in `look`. name: for
    a config that names no run."""
    return plan_launch(judge(config, look(config, say=say, asked=asked, kernel=kernel), allow), name)


def mend(prepared: Prepared, allow: Sequence[str], voice: Voice) -> Prepared:
    """The same launch with flash-attn installed, judged and planned anew. Raises InstallError; the old one is back then."""
    from swift_fa_launcher.stories import install as flow_install  # here, since most starts install nothing

    config, facts = prepared.judgement.config, prepared.judgement.facts
    if needs_install(config, facts):
        flow_install.install(config, facts, flow_install.choose(config, facts, say=voice.say), voice)
    flow_install.install_beside(config, facts, prepared.judgement.findings, voice)
    return _judged_anew(prepared, look(config, say=voice.say, kernel=_pinned_kernel(facts)), allow)


def _judged_anew(prepared: Prepared, facts: Facts, allow: Sequence[str]) -> Prepared:
    config, plan = prepared.judgement.config, prepared.plan
    plan = make_plan(config, facts, run_id=prepared.run_id, run_dir=plan.run_dir, cwd=plan.cwd)
    return replace(prepared, judgement=judge(config, facts, allow), plan=plan, around=None)


def _with_what_it_awaits(prepared: Prepared, say: Say) -> Prepared:
    """The same launch with the hub kernel that it trains with in the cache. Raises LaunchError where that cannot be had."""
    config, facts, findings = prepared.judgement.config, prepared.judgement.facts, prepared.judgement.findings
    provider = choose_provider(config, facts)
    if provider is None or provider.name != KERNEL or provider.there:
        return prepared
    fetched = _with_hub_kernel(config, facts, "fetch", say)
    prepared = _judged_anew(prepared, fetched, tuple(f.code for f in findings if f.allowed))
    refuse_blocked(prepared.judgement)
    provider = choose_provider(config, fetched)
    if provider and not provider.there:
        raise LaunchError("launch-blocked", Text("not started: kernel-missing", "未启动：kernel-missing"),
                          why=str(fetched.hub_kernel))
    return prepared


def refuse_blocked(judgement: Judgement) -> None:
    """Raises LaunchError where findings block."""
    if errors := blocking(judgement.findings):
        codes = ", ".join(dict.fromkeys(f.code for f in errors))
        why = errors[0].summary if errors[0].code.startswith("kernel-") else ""
        raise LaunchError("launch-blocked", Text(f"not started: {codes}", f"未启动：{codes}"), why=why)


def plan_launch(judgement: Judgement, name: str | None = None) -> Prepared:
    """The plan for what was judged, under a new run id. name: for a config that names no run."""
    config = judgement.config
    name = config.run.name or config.swanlab.experiment or name or records.run_name(config)
    run_id = records.new_run_id(name, datetime.now(timezone.utc))
    root = expand_user(config.run.root).absolute()
    plan = make_plan(config, judgement.facts, run_id=run_id, run_dir=str(root / run_id), cwd=str(Path.cwd()))
    return Prepared(judgement, plan, run_id, root, name)


def rerun(root: Path, word: str, overrides: Sequence[str], *, exact: bool, allow: Sequence[str], say: Say) -> Again:
    """A recorded run through today's launcher, or exact: by its recorded plan. Changes to its working folder; starts nothing."""
    entry, record = readable_run(root, word)
    repeats.refuse_to_repeat(entry, record)
    _enter(record)
    config = repeats.repeated_config(entry, record, overrides, exact=exact)
    prepared = prepare(config, allow=allow, say=say, name=record.name, kernel=repeats.recorded_kernel(entry.folder))
    if exact:
        recorded = repeats.read_plan(entry)
        prepared = replace(prepared, plan=repeats.renew_plan(recorded, prepared.run_id, prepared.plan.run_dir))
    return _again(entry, replace(prepared, parent=record.id), overrides, None, say)


def hold_against(again: Again, finished: Finished) -> Verdict:
    """The repetition that has ended, held against the run that it repeats."""
    return verify((again.before, records.read_record(again.before)), (finished.folder, finished.record), again.differences)


def resume(root: Path, word: str, overrides: Sequence[str], *, allow: Sequence[str], say: Say) -> Again:
    """A recorded run that goes on from its newest whole checkpoint. Changes to its working folder; starts nothing."""
    entry, record = readable_run(root, word)
    there = repeats.continue_run(entry, record, overrides)
    _enter(record)
    original = replace(record, overrides=())
    there = repeats.continue_swanlab(there, entry, record, repeats.repeated_config(entry, original, there.overrides))
    config = repeats.repeated_config(entry, original, there.overrides)
    kernel = repeats.recorded_kernel(entry.folder)
    prepared = replace(prepare(config, allow=allow, say=say, name=record.name, kernel=kernel), parent=record.id,
                       resumed_from=str(there.checkpoint.path), earlier=there.earlier)
    return _again(entry, prepared, there.overrides, there, say)


def _again(entry: Entry, prepared: Prepared, asked: Sequence[str], there: repeats.Continuation | None,
           say: Say) -> Again:
    judgement = prepared.judgement
    around = collect_surroundings(judgement.config, judgement.facts, Path(prepared.plan.cwd), say)
    prepared = replace(prepared, around=around)
    texts = texts_of(prepared, make_record(prepared), records.secret_values(judgement.config, os.environ))
    found = tuple(one for one in compare(read_texts(entry.folder), texts) if one.group != "result")
    return Again(prepared, repeats.news(found, there) if there else found, repeats.unexpected(found, asked), entry.folder,
                 there)


def _enter(record: records.RunRecord) -> None:
    """Make the run's working folder ours: its paths are relative to it."""
    with refused_as(LaunchError("run-folder-gone", where=record.cwd)):
        os.chdir(record.cwd)


def launch(prepared: Prepared, *, screen: BinaryIO, screen_errors: BinaryIO, say: Say,
           on_line: Callable[[bytes], None] = lambda line: None) -> Finished:
    """Record, start, wait, record. on_line: gets each line of the training's output.

    Raises LaunchError where findings block or nothing can be started.
    """
    refuse_target(prepared.judgement.config)
    refuse_blocked(prepared.judgement)
    prepared = _with_what_it_awaits(prepared, say)
    with output_turn(prepared.judgement.config, Path(prepared.plan.cwd), say) as has_folder:
        return _launch(prepared, screen, screen_errors, has_folder, on_line, say)


def _launch(prepared: Prepared, screen: BinaryIO, screen_errors: BinaryIO, has_folder: Callable[[], None],
            on_line: Callable[[bytes], None], say: Say) -> Finished:
    judgement, plan = prepared.judgement, prepared.plan
    config = judgement.config
    hidden = records.secret_values(config, os.environ)
    around = prepared.around or collect_surroundings(config, judgement.facts, Path(plan.cwd), say)
    record = make_record(prepared)
    folder = records.start_record(prepared.root, record, texts_of(replace(prepared, around=around), record, hidden))

    remember_root(prepared.root, Path(plan.cwd))

    failures: list[str] = []  # beside the training

    def write(record: records.RunRecord) -> None:
        with _only_said(_UNWRITTEN, say, failures):
            records.update_launched(folder, record, hidden)

    def notice(line: bytes) -> None:
        nonlocal record
        with _only_said(_UNWATCHED, say, failures):
            on_line(line)
            found = outputs.parse_version_folder(line)
            if found and found != record.output_dir:  # at once: a launcher that is killed writes no end
                has_folder()
                record = replace(record, output_dir=found)
                write(record)

    while True:
        try:
            outcome = _run(prepared, folder, hidden, screen, screen_errors, notice, say)
        except LaunchError as error:
            detail = joined(words_of(error)[:1]).en
            write(replace(record, status="failed", exit_code=error.exit_code, detail=detail))
            raise
        # The training has had its say: from here on nothing takes its exit code from it.
        closed = records.close_record(record, outcome)
        write(closed)  # at once: a long log takes a while to read, and that may be cut off
        diagnoses: tuple[Diagnosis, ...] = ()
        if not outcome.interrupted:
            with _only_said(Text("could not determine the cause", "无法确定失败原因"), say, failures):
                diagnoses = diagnose_log(folder / "train.log", outcome.exit_code, outcome.killed_for_memory)
        another = None
        with _only_said(Text("could not be restarted", "无法重启"), say, failures):
            another = _next_attempt(prepared, record, folder, outcome, [one.code for one in diagnoses], say)
        if another is None:
            record = closed
            break
        prepared, record = another
        write(record)
    with _only_said(Text("could not read the files that the training wrote", "无法读取训练写出的文件"), say, failures):
        record = replace(record, diagnoses=tuple(diagnosis.to_json("en") for diagnosis in diagnoses))
        record = with_results(record, folder, prepared.earlier)
    write(replace(record, detail="; ".join(filter(None, (record.detail, *failures))) or None))
    if outcome.asked != signal.SIGINT:  # whoever pressed Ctrl-C knows
        with _only_said(Text("the message could not be sent", "无法发送通知"), say, failures):
            send_message(config, record, folder, plan.starts[0], training_environment(config, plan), say)
    return Finished(record, folder, outcome, diagnoses)


def _run(prepared: Prepared, folder: Path, hidden: Sequence[str], screen: BinaryIO, screen_errors: BinaryIO,
         on_line: Callable[[bytes], None], say: Say) -> Outcome:
    config, plan = prepared.judgement.config, prepared.plan
    waits_for_swanlab = config.swanlab.tracks and config.swanlab.mode == "cloud"
    stall = StallWatch(folder / "pulse.json", folder / "stacks.txt", config.launch.stall_timeout or 0.0, say)
    with suppress(OSError):
        stall.pulse.unlink()  # of the attempt before
    try:
        return run_training(plan.starts, env=training_environment(config, plan), cwd=Path(plan.cwd), log=folder / "train.log",
                            run_id=prepared.run_id, grace=config.launch.grace, stdout=screen, stderr=screen_errors,
                            redact=tuple(os.fsencode(value) for value in hidden), on_line=on_line,
                            finish_timeout=config.swanlab.finish_timeout if waits_for_swanlab else None,
                            ended_marker=lambda line: outputs.TRAINING_ENDED in line, stall=stall if stall.timeout else None)
    finally:
        with suppress(OSError):
            if not stall.stacks.stat().st_size:
                stall.stacks.unlink()


def _next_attempt(prepared: Prepared, record: records.RunRecord, folder: Path, outcome: Outcome, codes: Sequence[str],
                  say: Say) -> tuple[Prepared, records.RunRecord] | None:
    """The same run once more, from its newest whole checkpoint, where `launch.restarts` allows it and the cause passes; and its
    record, with the failed attempt in it. None where this was the end."""
    config = prepared.judgement.config
    if not config.launch.restarts or outcome.exit_code == 0 or outcome.interrupted:
        return None
    anew, there = repeats.continue_in_place(folder, record, config, prepared.earlier)
    tried = [int(str(one["step"])) for one in record.attempts]
    step = there.checkpoint.step if there else 0
    decision = decide_restart(codes, allowed=config.launch.restarts, tried=tried, step=step,
                              trained=bool(step or read_measured(folder)))
    say(decision.why)
    if not decision.again:
        return None
    log = folder / f"train-{len(tried) + 1}.log"
    time.sleep(decision.pause)
    (folder / "train.log").rename(log)
    plan = make_plan(anew, prepared.judgement.facts, run_id=prepared.run_id, run_dir=prepared.plan.run_dir, cwd=prepared.plan.cwd)
    again = replace(prepared, judgement=replace(prepared.judgement, config=anew), plan=plan,
                    earlier=there.earlier if there else prepared.earlier)
    return again, records.end_attempt(record, outcome, codes, log.name, str(there.checkpoint.path) if there else None, step)


@contextmanager
def _only_said(what: Text, say: Say, failures: list[str]) -> Iterator[None]:
    """Whatever fails beside a training is said, and noted for its record: the training's own end matters more."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        told = titled(what, _why(error))
        if told.en not in failures:
            failures.append(told.en)
            say(told)


def _why(error: BaseException) -> Words:
    """One line on what failed beside a training; a bug's traceback is saved."""
    if isinstance(error, KeyboardInterrupt):
        return Text("interrupted", "已中断")
    if isinstance(error, LauncherError):
        message, where = words_of(error)[0], error.where
        return titled(message, where) if where else message
    if isinstance(error, OSError):
        return error.strerror or str(error)  # which temporary file it was is of no use
    return f"{type(error).__name__}: {error} ({keep_traceback()})"


def end(root: Path, word: str, *, say: Say) -> Entry:
    """End a run from outside, also where its launcher is gone. Raises LaunchError for processes that cannot be ended, and
    for a run of another host."""
    entry, record = readable_run(root, word)
    if record.ended and record.id not in find_running():
        say(Text(f"{record.id} had already ended: {record.ended}", f"{record.id} 此前已经结束：{record.ended}"))
        return entry
    if record.slurm.get("job"):
        return _end_jobs(entry, [entry], say)
    if record.kind == KIND and record.slurm:
        return _end_jobs(entry, [member.entry for member in see_members(entry.folder) if member.entry], say)
    if record.host not in (None, socket.gethostname()):
        raise LaunchError("run-on-other-host",
                          Text(f"{record.id} was started on {record.host}", f"{record.id} 是在 {record.host} 上启动的"),
                          hint=(Text(f"run this on {record.host}", f"请在 {record.host} 上执行此命令"),))
    say(Text(f"stopping {record.id}", f"正在停止 {record.id}"))
    if record.kind == KIND and entry.state == "running" and record.pid:  # it tells its members
        os.kill(record.pid, signal.SIGTERM)
        while (entry := see_run(entry.folder)).state == "running":
            time.sleep(0.2)
    left = end_run(record.id, grace=20.0)
    if left:
        pids = ", ".join(str(process.pid) for process in left)
        raise LaunchError("processes-not-ended",
                          Text(f"these processes of {record.id} cannot be ended: {pids}",
                               f"{record.id} 的进程无法结束：{pids}"), hint=(f"kill -KILL {pids.replace(',', '')}",))
    if entry.state in ("orphaned", "unfinished"):  # a living launcher writes the end itself
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        records.update_launched(entry.folder, replace(
            record, status="interrupted", ended=now, detail="ended by swift-fa runs --end",
            result=encode(entry.progress), measured=read_measured(entry.folder)))
    say(Text(f"{record.id} has ended", f"{record.id} 已结束"))
    return see_run(entry.folder)


def _end_jobs(entry: Entry, runs: Sequence[Entry], say: Say) -> Entry:
    from swift_fa_launcher.stories import cluster  # it stands on this module

    cluster.end_jobs([run.folder for run in runs if run.record and run.record.slurm.get("job") and not run.record.ended], say)
    return see_run(entry.folder)


def make_record(prepared: Prepared) -> records.RunRecord:
    """The record of a launch that begins now."""
    return records.make_record(prepared.judgement.config, prepared.plan, prepared.run_id, datetime.now(timezone.utc),
                               name=prepared.name, parent=prepared.parent, resumed_from=prepared.resumed_from)


def texts_of(prepared: Prepared, record: records.RunRecord, hidden: Sequence[str]) -> Mapping[str, str]:
    """The files of a record whose surroundings were looked at."""
    assert prepared.around is not None
    return records.render_record(record, prepared.judgement.config, prepared.judgement.facts,
                                 prepared.judgement.findings, prepared.plan, prepared.around, hidden)


def with_results(record: records.RunRecord, folder: Path, earlier: tuple[str, ...]) -> records.RunRecord:
    """The record with what the training left behind; without an output folder of its own that is what the monitor
    measured and SwanLab's run at most."""
    swanlab = {**outputs.read_swanlab(folder), **({"earlier": list(earlier)} if earlier else {})}
    record = replace(record, swanlab=swanlab, measured=read_measured(folder))
    if not record.output_dir:
        return record
    output = Path(record.cwd, record.output_dir)
    checkpoint = outputs.newest_complete(outputs.list_checkpoints(output))
    return replace(record, checkpoint=str(checkpoint.path) if checkpoint else None,
                   result=encode(outputs.read_progress(output, outputs.LONG_TAIL)))


def diagnose_log(log: Path, exit_code: int, killed_for_memory: bool | None = None) -> tuple[Diagnosis, ...]:
    """Why it failed; with exit code 0, what it did not do."""
    from swift_fa_launcher.diagnose.diagnosis import diagnose_file

    if not log.is_file():  # gone, a folder, or a pipe, which would be waited for
        raise LauncherError("log-unreadable", Text("the log is not a file any more", "日志已不是文件"), where=str(log))
    found = diagnose_file(log, exit_code=exit_code, killed_for_memory=killed_for_memory)
    return found if exit_code else tuple(one for one in found if one.code != "unknown")


def refuse_target(config: ResolvedConfig) -> None:
    """Raises LaunchError where the config wants a launch that is not built."""
    if config.launch.target != "local":
        raise LaunchError("target-unsupported")


def training_environment(config: ResolvedConfig, plan: LaunchPlan) -> Mapping[str, str]:
    """The child's whole environment: ours, the secrets that the config hands on, what the plan sets."""
    secrets = {name: config.env[name] for name in plan.secrets if name in config.env}
    return {**os.environ, **secrets, **notification_secrets(config), **plan.env}
