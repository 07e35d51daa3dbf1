"""The story of a training on the nodes of a Slurm job: submit; every node checks itself; all train; one end is written.

    login node      submit        judge, `sbatch --test-only`, the record (queued), sbatch
    first node      run_job       the job's own script: both steps below with srun, then the end, judged from all nodes
    every node      check_node    its own facts and findings into <run>/nodes/<rank>/, the first node reached
    every node      train_node    the training of this node; the first node's is the record's, the others refer to it

A key travels in the environment of sbatch, which Slurm hands to the nodes: it is in no script, argument or file of ours.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Unknown, decode, encode
from swift_fa_launcher.errors import (
    LauncherError,
    LaunchError,
    RecordError,
    Say,
    Text,
    joined,
    refused_as,
    render_words,
)
from swift_fa_launcher.files import read_group, text_of, write_whole
from swift_fa_launcher.findings.finding import blocking
from swift_fa_launcher.findings.table import words_of
from swift_fa_launcher.launch import slurm
from swift_fa_launcher.launch.local import Outcome, run_training
from swift_fa_launcher.launch.plan import LaunchPlan, make_plan
from swift_fa_launcher.launch.swanlab import SECRET_VARIABLE, WEBHOOK_VARIABLE, notification_secrets
from swift_fa_launcher.machine import slurm as asked
from swift_fa_launcher.machine.checkpoint_files import read_trainer_state
from swift_fa_launcher.machine.reading import DEFAULT_PORT, launch_number
from swift_fa_launcher.machine.saved import read_facts
from swift_fa_launcher.runs import again as repeats
from swift_fa_launcher.runs import output as outputs
from swift_fa_launcher.runs import record as records
from swift_fa_launcher.runs.diff import compare, read_texts
from swift_fa_launcher.runs.store import Entry, see_run, see_runs
from swift_fa_launcher.runs.surroundings import collect_surroundings
from swift_fa_launcher.secrets import REDACTED, is_secret_name, redact, redact_data
from swift_fa_launcher.stories import launch as story

#: Handed to the steps by the job: the name of its first node.
FIRST_VARIABLE = "SWIFT_FA_FIRST_NODE"
#: Seconds for the first node to be reached: it may still be starting Python from a cold disk.
_MEETING = 60.0
#: Seconds for the first node's record to be seen by the others: a network disk shows it late. What the first node says first.
_SHARED, _GREETING = 30.0, b"swift-fa\n"
#: A file in the run's folder that asks the monitor to save and end at the next logged step, on all processes at once.
LEAVE = "leave"
_TIME_LIMIT = "time limit"
_STEP_TELLS = "swift-fa node: "  # how a line begins with which a node tells its verdict to the job
_OF_A_NODE = ("facts.json", "findings.json", "packages.txt", "wheels.json", "data.json")
_UNLIKE = ("packages", "wheel", "data")  # groups of differences that let nodes compute differently
_DUE_TO = re.compile(r"DUE TO (TIME LIMIT|PREEMPTION|NODE FAILURE)|(Node failure) on ")  # slurmstepd's words, and srun's
#: What the log of a node says whose peer has failed.
_FOLLOWING = frozenset(("nccl-network", "rendezvous-timeout", "nccl-timeout", "unknown"))


@dataclass(frozen=True)
class Place:
    """Where a process stands in a job. first: the first node's name."""

    rank: int
    nodes: int
    host: str
    first: str
    port: int


@dataclass(frozen=True)
class Verdict:
    """What a node says of itself before the training. codes: of what is in the way; empty where it is ready."""

    rank: int
    host: str
    codes: tuple[str, ...] = ()
    summary: str = ""
    fix: tuple[str, ...] = ()


@dataclass(frozen=True)
class End:
    """How the training of one node ended. asked: the signal by which its launcher was told to end it."""

    rank: int
    host: str
    exit_code: int
    ended: str
    signal: int | None = None
    asked: int | None = None
    detail: str | None = None


@dataclass(frozen=True)
class Submission:
    """What sbatch is given. tried: the same without the script, to be asked first. forecast: Slurm's own words on when the job
    will start."""

    argv: tuple[str, ...]
    script: str
    tried: tuple[str, ...] = ()
    number: str | None = None
    forecast: str = ""
    folder: Path = Path()


# On the login node ----------------------------------------------------------------------------------------------------


def make_submission(prepared: story.Prepared, after: str | None = None) -> Submission:
    """The job as it would be submitted. Raises ConfigError for an option that the launcher sets itself."""
    config, plan = prepared.judgement.config, prepared.plan
    words = slurm.sbatch_words(config, run_id=prepared.run_id, run_dir=plan.run_dir, cwd=plan.cwd, after=after)
    return Submission((*words, "--parsable", *slurm.job_words(config, python=sys.executable, run_dir=plan.run_dir)), slurm.SCRIPT,
                      tried=words)


def submit(prepared: story.Prepared, *, allow: Sequence[str], say: Say, after: str | None = None) -> Submission:
    """Hands the launch to Slurm. after: a job that must have ended before it starts. Raises LaunchError, before anything is
    written, where findings block or Slurm refuses."""
    judgement, plan = prepared.judgement, prepared.plan
    config = judgement.config
    story.refuse_blocked(judgement)
    hidden = records.secret_values(config, os.environ)
    submission = make_submission(prepared, after)
    _refuse_secrets(prepared, submission.argv, hidden)
    environment = asked.submission_environment({**os.environ, **_travelling(config)})
    forecast = asked.try_submission(submission.tried, slurm.SCRIPT, environment)
    if (seconds := asked.kill_wait()) is not None and seconds < config.launch.grace:
        say(Text(f"Slurm kills a job {seconds} s after it asks it to end (KillWait), sooner than launch.grace="
                 f"{config.launch.grace:g}: the job may not write its end itself",
                 f"Slurm 通知作业结束 {seconds} 秒后就会强制结束（KillWait），早于 launch.grace={config.launch.grace:g}："
                 "作业可能来不及写下结尾"))
    around = prepared.around or collect_surroundings(config, judgement.facts, Path(plan.cwd), say)
    record = replace(story.make_record(prepared), status="queued", pid=None, pid_started=None,
                     slurm={"nodes": config.launch.nnodes or 1, "allow": list(allow)})
    texts = story.texts_of(replace(prepared, around=around), record, hidden)
    folder = records.start_record(prepared.root, record, {**texts, slurm.SCRIPT_NAME: slurm.SCRIPT})
    try:
        number = asked.submit(submission.argv, environment)
    except LaunchError as error:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        told = f"{joined(words_of(error)[:1]).en}: {render_words(error.why, 'en')}"
        records.update_launched(folder, replace(record, status="failed", exit_code=1, ended=now, detail=told), hidden)
        raise
    records.update_launched(folder, replace(record, slurm={**record.slurm, "job": number}), hidden)  # the job waits for this
    return replace(submission, number=number, forecast=forecast, folder=folder)


def _travelling(config: ResolvedConfig) -> dict[str, str]:
    """The secrets that stand in the config and no record holds: they go to the nodes in the environment, by name."""
    named = {name: value for name, value in config.env.items() if is_secret_name(name)}
    return {**named, **notification_secrets(config)}


def _refuse_secrets(prepared: story.Prepared, argv: Sequence[str], hidden: Sequence[str]) -> None:
    """A secret in an argument could be read by every user of the cluster; one in `swift` would be lost on the way."""
    where = [word for word in (*argv, *prepared.plan.argv) if redact(word, hidden) != word]
    if where:
        raise LaunchError("record-lacks-secrets",
                          Text("a secret stands in an argument, where other users of the cluster could read it",
                               "参数中含有密钥，集群的其他用户能看到它"), where=redact(where[0], hidden),
                          hint=(Text("hand it over in the environment: export NAME=VALUE", "改用环境变量传递：export NAME=值"),))


def wait(folder: Path, say: Say, pause: float = 2.0) -> Entry:
    """Follows a job to its end."""
    told = ""
    while True:
        entry = see_run(folder)
        if entry.record is None or entry.record.ended:
            return entry
        if entry.state != told:
            told = entry.state
            say(f"{entry.record.slurm.get('job')}: {told}")
        time.sleep(pause)


def end_jobs(folders: Sequence[Path], say: Say) -> None:
    """Cancels the jobs of these runs and waits until nothing of them is left; each writes its own end, or it is written here.
    Raises LaunchError."""
    runs = {}
    for folder in folders:
        record = records.edit_record(folder, lambda now: replace(now, slurm={**now.slurm, "ended_by": "swift-fa runs --end"}))
        runs[str(record.slurm["job"])] = folder
        asked.cancel(str(record.slurm["job"]))
    until, left = time.monotonic() + 120.0, [*runs]
    while left:
        if time.monotonic() > until:
            raise LaunchError("slurm-missing", Text(f"job {left[0]} has not ended", f"作业 {left[0]} 尚未结束"))
        jobs = asked.read_jobs(left)
        if not isinstance(jobs, Unknown):
            left = [number for number in left if (job := jobs[number]) is not None and not job.is_over]
        time.sleep(0.2)
    for entry in see_runs(folders):
        say(Text(f"{entry.folder.name} has ended", f"{entry.folder.name} 已结束"))


# The job, on its first node -----------------------------------------------------------------------------------------------


def run_job(folder: Path, say: Say) -> int:
    """Both steps, and the end; the exit code of the run."""
    record = _submitted(folder)
    config = _recorded_config(folder, record)
    hosts = _hosts()
    attempt = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    if attempt > len(record.attempts):  # Slurm ended the one before without a word
        record = _with_attempt(record, "ended by Slurm")
    more = _continuation(folder, record) if attempt else {}
    record = replace(record, status="unfinished", started=now, ended=None, host=hosts[0],
                     slurm={**record.slurm, "job": os.environ["SLURM_JOB_ID"], "hosts": hosts, **more})
    if more.get("complete"):
        record = replace(record, status="finished", ended=now, exit_code=0)
        records.update_launched(folder, record)
        return 0
    records.update_launched(folder, record)
    asked_to_end: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked_to_end.append(number))  # srun hears it too, and ends
    _forget_attempt(folder)
    by_limit = sum(one["detail"] == _TIME_LIMIT for one in record.attempts)
    if by_limit < config.launch.restarts:
        signal.signal(signal.SIGUSR1, lambda number, frame: (folder / LEAVE).touch())
    said = len(text_of(folder / slurm.LOG_NAME))  # by the attempts before
    code, verdicts = _step(config, "check", folder, hosts[0])
    record = _not_ready(record, hosts, verdicts, code, folder, bool(asked_to_end))
    if record.exit_code is None:
        code, _ = _step(config, "train", folder, hosts[0])
        record = _with_end(records.read_record(folder), folder, hosts, code, text_of(folder / slurm.LOG_NAME)[said:])
    if record.exit_code == 0 and (folder / LEAVE).exists() and not _is_complete(record):
        if _has_saved_more(record):
            return _requeue(folder, record)
        record = replace(record, status="interrupted", exit_code=1,
                         detail=f"Slurm: {_TIME_LIMIT}; not requeued: it saved no complete checkpoint")
    if record.ended:
        record = story.with_results(record, folder, tuple(record.slurm.get("earlier") or ()))
    records.update_launched(folder, record)
    return record.exit_code or 0


def _read(folder: Path) -> records.RunRecord:
    try:
        return records.read_record(folder)
    except RecordError as error:
        host = _host()
        raise LaunchError("run-root-local", Text(f"not a shared disk: {host} cannot read {folder}",
                                                 f"不是共享磁盘：{host} 无法读取 {folder}"), where=host, why=error.why) from None


def _submitted(folder: Path) -> records.RunRecord:
    """The record once the login node has written the job's number; from then on it is this job's to write."""
    until = time.monotonic() + _MEETING
    while not (record := _read(folder)).slurm.get("job") and time.monotonic() < until:
        time.sleep(0.1)
    return record


def _recorded_config(folder: Path, record: records.RunRecord) -> ResolvedConfig:
    """The config of the record, for a node: to be launched here, with the secrets that came in the environment."""
    overrides = (*record.overrides, *(record.slurm.get("overrides") or ()))
    config = repeats.layers_again(folder, overrides)
    env = {name: os.environ.get(name, value) if REDACTED in value else value for name, value in config.env.items()}
    notification = replace(config.swanlab.notification,
                           webhook_url=os.environ.get(WEBHOOK_VARIABLE, config.swanlab.notification.webhook_url),
                           secret=os.environ.get(SECRET_VARIABLE, config.swanlab.notification.secret))
    return replace(config, env=env, swanlab=replace(config.swanlab, notification=notification))


def _hosts() -> list[str]:
    answer = asked.ask("scontrol", "show", "hostnames", os.environ.get("SLURM_JOB_NODELIST", ""))
    return [_host()] if isinstance(answer, Unknown) or not answer.out.strip() else answer.out.split()


def _host() -> str:
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def _continuation(folder: Path, record: records.RunRecord) -> dict[str, Any]:
    """Where a job that was started anew goes on; from the beginning where it had saved nothing whole."""
    entry = Entry(folder, record)
    try:
        there = repeats.continue_run(entry, replace(record, overrides=()), ())
        there = repeats.continue_swanlab(there, entry, record, _recorded_config(folder, record))
    except LauncherError as error:
        return {"complete": error.code == "run-complete"}
    return {"overrides": list(there.overrides), "resumed_from": str(there.checkpoint.path), "earlier": list(there.earlier)}


def _with_attempt(record: records.RunRecord, why: str) -> records.RunRecord:
    """The record of a job that waits to be started anew."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    attempt = {"started": record.started, "ended": now, "detail": why, "resumed_from": record.slurm.get("resumed_from")}
    return replace(record, status="queued", ended=None, exit_code=None, attempts=(*record.attempts, attempt))


def _is_complete(record: records.RunRecord) -> bool:
    """Whether the training has saved its last step."""
    newest = outputs.newest_complete(outputs.list_checkpoints(Path(record.cwd, record.output_dir or "")))
    state = read_trainer_state(newest.path) if newest else {}
    return bool(state) and state.get("global_step", 0) >= state.get("max_steps", 1)


def _has_saved_more(record: records.RunRecord) -> bool:
    """Whether there is a whole checkpoint that this attempt did not begin with."""
    newest = outputs.newest_complete(outputs.list_checkpoints(Path(record.cwd, record.output_dir or "")))
    return newest is not None and str(newest.path) != record.slurm.get("resumed_from")


def _requeue(folder: Path, record: records.RunRecord) -> int:
    """Lets Slurm start the job anew, since its time was over before the training was; the record says so first."""
    records.update_launched(folder, _with_attempt(record, _TIME_LIMIT))
    answer = asked.ask("scontrol", "requeue", os.environ["SLURM_JOB_ID"])
    if isinstance(answer, Unknown) or answer.code:
        why = answer.why if isinstance(answer, Unknown) else answer.words
        told = f"Slurm: {_TIME_LIMIT}; not requeued: {why}"
        records.update_launched(folder, replace(record, status="interrupted", detail=told))
    return 0


def _forget_attempt(folder: Path) -> None:
    """Removes what the attempt before left for this job to read."""
    for file in (folder / LEAVE, *folder.glob(f"{slurm.NODES}/*/end.json")):
        file.unlink(missing_ok=True)


def _step(config: ResolvedConfig, step: str, folder: Path, first: str) -> tuple[int, tuple[Verdict, ...]]:
    """One srun to its end: its exit code, and what the nodes told. The rest of its output goes to the job's log."""
    words = slurm.step_words(config, step, python=sys.executable, run_dir=str(folder), cpus=os.environ.get("SLURM_CPUS_PER_TASK"))
    verdicts = []
    with subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, errors="replace",
                          env={**os.environ, FIRST_VARIABLE: first}) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith(_STEP_TELLS):
                verdicts.append(decode(Verdict, json.loads(line.removeprefix(_STEP_TELLS)), ""))
            else:
                sys.stderr.write(line)
    return running.returncode, tuple(verdicts)


def _not_ready(record: records.RunRecord, hosts: Sequence[str], verdicts: Sequence[Verdict], code: int, folder: Path,
               ended: bool) -> records.RunRecord:
    """The record, with its end where a node is not ready."""
    bad = sorted((one for one in verdicts if one.codes), key=lambda one: one.rank)
    if not bad and not code:
        bad = [*unlike_nodes(folder, hosts)]
    if not bad and code:
        missing = [host for i, host in enumerate(hosts) if i not in {one.rank for one in verdicts}] or [*hosts]
        bad = [_verdict(LaunchError("node-not-ready", why=f"{', '.join(missing)}"), hosts.index(missing[0]), missing[0])]
    if not bad:
        return record
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    if ended:
        return replace(record, status="interrupted", ended=now, exit_code=128 + signal.SIGTERM, signal=int(signal.SIGTERM),
                       slurm={**record.slurm, "log": slurm.LOG_NAME})
    first = bad[0]
    diagnoses = tuple({"code": one.codes[0], "summary": f"{one.host}: {one.summary}", "fix": list(one.fix)} for one in bad)
    return replace(record, status="failed", ended=now, exit_code=1, diagnoses=diagnoses,
                   detail=f"{first.host}: {', '.join(first.codes)}; no training was started",
                   slurm={**record.slurm, "failed": first.host, "log": slurm.LOG_NAME})


def _verdict(error: LauncherError, rank: int, host: str) -> Verdict:
    message, fix = words_of(error)
    return Verdict(rank, host, (error.code,), joined((message, error.why)).en, tuple(render_words(line, "en") for line in fix))


def unlike_nodes(folder: Path, hosts: Sequence[str]) -> Iterator[Verdict]:
    """The nodes that have other packages, wheels or data than the first."""
    first = read_texts(folder / slurm.NODES / "0")
    for rank, host in enumerate(hosts[1:], 1):
        found = [one for one in compare(first, read_texts(folder / slurm.NODES / str(rank)))
                 if one.group in _UNLIKE and one.matters]
        if found:
            told = "; ".join(f"{one.key}: {one.second} / {one.first}" for one in found[:4])
            yield _verdict(LaunchError("nodes-differ", Text(f"it differs from {hosts[0]}: {told}",
                                                            f"与 {hosts[0]} 不同：{told}")), rank, host)


def _with_end(record: records.RunRecord, folder: Path, hosts: Sequence[str], code: int, said: str) -> records.RunRecord:
    """The end of the run, judged from all nodes and from what Slurm said. Left open where Slurm starts the job anew."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    ends = [decode(End, found, "") for i in range(len(hosts)) if (found := read_group(_node_folder(folder, i) / "end.json"))]
    if len(ends) == len(hosts) and not any(one.exit_code for one in ends):
        return replace(record, status="finished", ended=now, exit_code=0)
    due = next(((one[1] or one[2]).lower() for one in _DUE_TO.finditer(said)), "")
    if due and due != _TIME_LIMIT and _is_requeued():
        return _with_attempt(record, due)
    if ended_by := record.slurm.get("ended_by") or (due and f"Slurm: {due}"):
        return replace(record, status="interrupted", ended=now, exit_code=128 + signal.SIGTERM, signal=int(signal.SIGTERM),
                       detail=str(ended_by))
    return _failed(replace(record, status="failed", ended=now), folder, hosts, ends, code)


def _failed(record: records.RunRecord, folder: Path, hosts: Sequence[str], ends: Sequence[End], code: int) -> records.RunRecord:
    """With the node that failed first. A node without an end was lost or its launcher was killed: that comes before all; one that
    failed since its peer was gone says so in its log."""
    silent = [rank for rank in range(len(hosts)) if rank not in {one.rank for one in ends}]
    if silent:
        return replace(record, exit_code=code or 1, detail=f"{hosts[silent[0]]}: its launcher wrote no end",
                       slurm={**record.slurm, "failed": hosts[silent[0]], "log": _log_name(silent[0])})
    failed = [one for one in ends if one.exit_code and one.asked is None]
    if not failed:
        last = max(ends, key=lambda one: one.exit_code)
        return replace(record, status="interrupted", exit_code=last.exit_code, signal=last.signal)
    found = {one.rank: story.diagnose_log(folder / _log_name(one.rank), one.exit_code) for one in failed}
    first = min(failed, key=lambda one: (bool(_FOLLOWING & {each.code for each in found[one.rank][:1]}), one.ended))
    return replace(record, exit_code=first.exit_code, signal=first.signal, detail=joined((first.host, first.detail or "")).en,
                   diagnoses=tuple(one.to_json("en") for one in found[first.rank]),
                   slurm={**record.slurm, "failed": first.host, "log": _log_name(first.rank)})


def _is_requeued() -> bool:
    answer = asked.ask("scontrol", "-o", "show", "job", os.environ["SLURM_JOB_ID"])
    return not isinstance(answer, Unknown) and " Requeue=1 " in answer.out


def _node_folder(folder: Path, rank: int) -> Path:
    return folder / slurm.NODES / str(rank)


def _log_name(rank: int) -> str:
    return f"{slurm.NODES}/{rank}/train.log" if rank else "train.log"


# On every node ------------------------------------------------------------------------------------------------------------


def check_node(folder: Path, say: Say) -> tuple[Verdict, str]:
    """Whether this node is ready, and the line that tells the job so."""
    rank, host = int(os.environ.get("SLURM_NODEID") or 0), _host()
    try:
        verdict = _judge_node(folder, rank, host, say)
    except LauncherError as error:
        verdict = _verdict(error, rank, host)
    return verdict, _STEP_TELLS + json.dumps(encode(verdict))


def _judge_node(folder: Path, rank: int, host: str, say: Say) -> Verdict:
    record = _read(folder)
    place, config = _placed(folder, record)
    with refused_as(LaunchError("run-root-local", Text(f"not a shared disk: {host} cannot enter {record.cwd}",
                                                       f"不是共享磁盘：{host} 无法进入 {record.cwd}"))):
        os.chdir(record.cwd)
    _meet(place)
    facts = story.look(config, say=say)
    judgement = story.judge(config, facts, tuple(record.slurm.get("allow") or ()))
    hidden = records.secret_values(config, os.environ)
    around = collect_surroundings(config, facts, Path(record.cwd), say)
    plan = make_plan(config, facts, run_id=record.id, run_dir=str(folder), cwd=record.cwd)
    texts = records.render_record(record, replace(judgement.config, files=()), facts, judgement.findings, plan, around, hidden)
    own = _node_folder(folder, rank)
    with refused_as(LaunchError("record-not-written", where=str(own))):
        own.mkdir(parents=True, exist_ok=True)
        for name in _OF_A_NODE:
            write_whole(own / name, texts[name])
    errors = blocking(judgement.findings)
    if not errors:
        return Verdict(rank, host)
    first = redact_data(errors[0].to_json("en"), hidden)
    return Verdict(rank, host, tuple(dict.fromkeys(one.code for one in errors)), first["summary"],
                   tuple(first["fix"]))


def _placed(folder: Path, record: records.RunRecord) -> tuple[Place, ResolvedConfig]:
    """Where this node stands, and the config as it is launched there: nodes judge as the machines that train."""
    config = _recorded_config(folder, record)
    nodes = int(os.environ.get("SLURM_NNODES") or 1)
    port = config.launch.master_port or slurm.job_port(os.environ["SLURM_JOB_ID"])
    first = config.launch.master_addr or os.environ.get(FIRST_VARIABLE) or _host()
    place = Place(int(os.environ.get("SLURM_NODEID") or 0), nodes, _host(), first, port)
    several = {"nnodes": nodes, "node_rank": place.rank, "master_addr": first, "master_port": port,
               "nproc_per_node": config.launch.nproc_per_node or 1} if nodes > 1 else {"nnodes": None}
    return place, replace(config, launch=replace(config.launch, target="local", **several))


def _meet(place: Place, patience: float = _MEETING) -> None:
    """The first node listens where the training will; the others reach it by name. Raises LaunchError."""
    if place.nodes < 2:
        return
    if place.rank:
        _reach(place, patience)
        return
    with refused_as(LaunchError("port-in-use", Text(f"port {place.port} of {place.host} is taken",
                                                    f"{place.host} 的端口 {place.port} 已被占用"))):
        listening = socket.create_server(("", place.port), backlog=place.nodes)
    with closing(listening):
        until = time.monotonic() + patience
        for _ in range(place.nodes - 1):
            listening.settimeout(max(0.1, until - time.monotonic()))
            with suppress(OSError):  # who did not come says so itself
                listening.accept()[0].close()


def _reach(place: Place, patience: float) -> None:
    until, why = time.monotonic() + patience, ""
    while time.monotonic() < until:
        try:
            socket.create_connection((place.first, place.port), timeout=5.0).close()
            return
        except OSError as error:
            why = error.strerror or str(error)
            time.sleep(0.2)
    raise LaunchError("master-addr-unreachable",
                      Text(f"{place.host} cannot reach {place.first}:{place.port}",
                           f"{place.host} 无法连接 {place.first}:{place.port}"), why=why)


def train_node(folder: Path) -> int:
    """The training of this node, into a log of its own; its exit code. Its end is left for the job to judge."""
    record = _read(folder)
    place, config = _placed(folder, record)
    os.chdir(record.cwd)
    own = _node_folder(folder, place.rank)
    facts = read_facts(own / "facts.json")
    config = story.judge(config, facts, tuple(record.slurm.get("allow") or ())).config
    plan = make_plan(config, facts, run_id=record.id, run_dir=str(own if place.rank else folder), cwd=record.cwd)

    def notice(line: bytes) -> None:
        found = None if place.rank else outputs.parse_version_folder(line)
        if found and found != (now := records.read_record(folder)).output_dir:
            records.update_launched(folder, replace(now, output_dir=found))

    outcome = _run(folder, record.id, Path(record.cwd), place.rank, config, plan, notice)
    _write_end(own / "end.json", place, outcome)
    return outcome.exit_code


def _run(folder: Path, run_id: str, cwd: Path, rank: int, config: ResolvedConfig, plan: LaunchPlan,
         notice: Callable[[bytes], None] = lambda line: None) -> Outcome:
    """The training of one node, into the log of its own in the run's folder."""
    hidden = records.secret_values(config, os.environ)
    waits = config.swanlab.tracks and config.swanlab.mode == "cloud"
    with open(os.devnull, "wb") as nowhere:
        return run_training(plan.starts, env=story.training_environment(config, plan), cwd=cwd, log=folder / _log_name(rank),
                            run_id=run_id, grace=config.launch.grace, stdout=nowhere, stderr=nowhere,
                            redact=tuple(os.fsencode(value) for value in hidden), on_line=notice,
                            finish_timeout=config.swanlab.finish_timeout if waits else None,
                            ended_marker=lambda line: outputs.TRAINING_ENDED in line)


def _write_end(file: Path, place: Place, outcome: Outcome) -> None:
    end = End(place.rank, place.host, outcome.exit_code, outcome.ended.isoformat(), outcome.signal, outcome.asked,
              outcome.detail.en if outcome.detail else None)
    write_whole(file, json.dumps(encode(end)))


# Nodes that nobody placed: the same command started on each -------------------------------------------------------------


def meet_by_hand(prepared: story.Prepared, say: Say) -> Path | None:
    """Where the launch is one of several nodes': node 0 tells the others its run's folder before it trains. For another node that
    folder, where it sees it; None for node 0, for a node of its own, and where the nodes share no disk: it keeps a record then.

    Raises LaunchError where two nodes have the same rank: each would wait for the other.
    """
    config, facts = prepared.judgement.config, prepared.judgement.facts
    nodes, rank = (launch_number(config, facts, name) or 0 for name in ("nnodes", "node_rank"))
    first = config.launch.master_addr or os.environ.get("MASTER_ADDR")
    if nodes < 2 or not (first or rank == 0):
        return None
    place = Place(rank, nodes, _host(), first or _host(), launch_number(config, facts, "master_port") or DEFAULT_PORT)
    say(Text(f"node {rank} of {nodes} meets the others at {place.first}:{place.port}",
             f"节点 {rank}（共 {nodes} 个）在 {place.first}:{place.port} 与其他节点会合"))
    if rank == 0:
        _tell_others(place, prepared.plan.run_dir)
        return None
    folder = _ask_first(place)
    until = time.monotonic() + _SHARED
    while folder and time.monotonic() < until:
        if (folder / "run.json").is_file():
            return folder
        time.sleep(0.2)
    return None


def _tell_others(place: Place, run_dir: str) -> None:
    """Until all have come, or for as long as a meeting may take: who comes later finds torchrun's own waiting."""
    until, ranks = time.monotonic() + _MEETING, [0]
    told: list[Any] = [run_dir, None]  # the folder, and a rank that two have
    with ExitStack() as stack:
        with refused_as(LaunchError("port-in-use", where=f"{place.host}:{place.port}")):
            listening = stack.enter_context(socket.create_server(("", place.port), backlog=place.nodes))
        others = []
        while len(ranks) < place.nodes and told[1] is None and time.monotonic() < until:
            listening.settimeout(max(0.1, until - time.monotonic()))
            with suppress(OSError):
                other = stack.enter_context(listening.accept()[0])
                other.settimeout(5.0)
                other.sendall(_GREETING)
                rank = other.makefile().readline().strip()
                if not rank.isdecimal():
                    break  # no launcher: torchrun's own is waited for
                others.append(other)
                if int(rank) in ranks:
                    told = [None, int(rank)]
                ranks.append(int(rank))
        for other in others:
            with suppress(OSError):
                other.sendall(f"{json.dumps(told)}\n".encode())
    _refuse_twice(told[1], place)


def _ask_first(place: Place) -> Path | None:
    """The folder of the first node's run; None where no launcher answers there."""
    until = time.monotonic() + _MEETING
    told: list[Any] = [None, None]
    while time.monotonic() < until:
        with suppress(OSError, ValueError), socket.create_connection((place.first, place.port), timeout=5.0) as there:
            if there.recv(len(_GREETING)) != _GREETING:
                break  # torchrun itself
            there.settimeout(_MEETING + 5.0)
            there.sendall(f"{place.rank}\n".encode())
            told = json.loads(there.makefile().readline())
            break
        time.sleep(0.3)
    _refuse_twice(told[1], place)
    return Path(told[0]) if told[0] else None


def _refuse_twice(rank: Any, place: Place) -> None:
    if rank is not None:
        raise LaunchError("node-rank-mismatch", Text(f"two of the {place.nodes} nodes have node_rank={rank}",
                                                     f"{place.nodes} 个节点中有两个的 node_rank 为 {rank}"), where=place.host)


def train_by_hand(prepared: story.Prepared, folder: Path) -> int:
    """The training of a node that is not the first, as a part of the first's run; its exit code."""
    config, facts = prepared.judgement.config, prepared.judgement.facts
    rank = launch_number(config, facts, "node_rank") or 0
    own = _node_folder(folder, rank)
    with refused_as(LaunchError("record-not-written", where=str(own))):
        own.mkdir(parents=True, exist_ok=True)
    plan = make_plan(config, facts, run_id=folder.name, run_dir=str(own), cwd=prepared.plan.cwd)
    outcome = _run(folder, folder.name, Path(plan.cwd), rank, config, plan)
    _write_end(own / "end.json", Place(rank, 0, _host(), "", 0), outcome)
    return outcome.exit_code
