"""The folder of run records: listing them, their states, and finding one by what a user types."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

from swift_fa_launcher.cache import ROOT_VARIABLE, cache_dir
from swift_fa_launcher.decode import Maybe, Unknown, decode
from swift_fa_launcher.errors import RecordError, Text, UsageError, Words, did_you_mean
from swift_fa_launcher.files import keep_answer, read_group
from swift_fa_launcher.machine.slurm import WAITING, Job, read_jobs
from swift_fa_launcher.runs.monitor import read_latest
from swift_fa_launcher.runs.output import Progress, read_progress
from swift_fa_launcher.runs.record import RunRecord, clear_drafts, read_record, update_record

#: What a run may be: as its record says; "running": its launcher lives; "orphaned": only its processes do; "unknown": it
#: is a job, and Slurm does not answer; "damaged": its record cannot be read.
STATES = ("queued", "running", "orphaned", "finished", "failed", "interrupted", "unfinished", "unknown", "damaged")
_ANOTHER_ROOT = Text("name another folder of runs: --root FOLDER", "指定别的运行记录目录：--root 目录")
_USUAL_ROOT = "runs"
_FOLDERS = 200  # of which it is remembered where their last run is
_RUN_ID = re.compile(r"\d{8}-\d{6}-.+")


@dataclass(frozen=True)
class Entry:
    """One folder below the root: its record and state, or why there is none to read.

    progress, measured: what the record says, and where that has no end, what the training has written by now. job: what Slurm
    says of it, where it is a job without an end.
    """

    folder: Path
    record: RunRecord | None
    problem: Words = ""
    state: str = "damaged"
    progress: Progress = Progress()
    measured: Mapping[str, Any] = field(default_factory=dict)
    job: Maybe[Job] = None


@dataclass(frozen=True)
class Wanted:
    """Which runs to list; every field that is given must hold. name may hold * and ?."""

    name: str | None = None
    tag: str | None = None
    state: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def list_runs(root: Path) -> tuple[Entry, ...]:
    """Every run folder below `root`, newest first; damaged ones among them. Empty where there is no such folder, or where
    nothing in it looks like a run.

    A run folder's name begins with its start time, so the names' order is the runs'.
    """
    try:
        clear_drafts(root)
        with os.scandir(root) as found:
            names = sorted((one.name for one in found if not one.name.startswith(".") and one.is_dir()), reverse=True)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise RecordError("runs-unreadable", Text(f"cannot list the runs in {root}", f"无法列出 {root} 中的运行"),
                          why=error.strerror or str(error), hint=(_ANOTHER_ROOT,)) from None
    root = root.absolute()
    entries = tuple(_entry(root / name) for name in names)
    of_runs = any(entry.record or _RUN_ID.match(entry.folder.name) or (entry.folder / "run.json").exists() for entry in entries)
    return entries if of_runs else ()


def with_states(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The entries with state and progress; looks at the machine's processes only where a run has no end, and asks Slurm once for
    all jobs that have none."""
    entries, running = tuple(entries), cache(_running)
    numbers = [number for entry in entries if (number := _open_job(entry))]
    jobs = read_jobs(numbers) if numbers else {}
    return tuple(_with_state(_with_job(entry, jobs) if _open_job(entry) else entry, running) for entry in entries)


def _open_job(entry: Entry) -> str:
    """The number of a job of Slurm that wrote no end; empty for any other run."""
    record = entry.record
    return str(record.slurm.get("job") or "") if record and not record.ended else ""


def _with_job(entry: Entry, jobs: Mapping[str, Job | None] | Unknown) -> Entry:
    """The entry with what Slurm says; where Slurm is done with a job that wrote no end, its end is written here."""
    record = read_record(entry.folder)  # it may have ended while Slurm was asked
    if record.ended:
        return replace(entry, record=record, state=record.status)
    if isinstance(jobs, Unknown):
        return replace(entry, record=record, job=jobs, state="unknown")
    job = jobs.get(str(record.slurm["job"]))
    if job is None or job.is_over:
        record = close_job(record, job)
        with suppress(OSError):  # of another user: it is shown at least
            update_record(entry.folder, record)
        return replace(entry, record=record, state=record.status, job=job)
    return replace(entry, record=record, job=job, state="queued" if job.state in WAITING else "running")


def close_job(record: RunRecord, job: Job | None) -> RunRecord:
    """The record with the end that its job did not write: it was killed, or it could not start."""
    interrupted = job is not None and job.state in ("CANCELLED", "TIMEOUT", "PREEMPTED", "DEADLINE")
    told = " ".join(filter(None, (job.state, job.reason))) if job else "the job is not known any more"
    unseen = job is not None and (job.reason == "JobLaunchFailure" or job.reason.startswith("RaisedSignal:53"))
    why = f"; not a shared disk: {job.first} cannot open the run's log" if job and unseen else ""
    return replace(record, status="interrupted" if interrupted else "failed", detail=f"Slurm: {told}{why}",
                   ended=datetime.now(timezone.utc).isoformat(timespec="seconds"), exit_code=record.exit_code or 1,
                   diagnoses=({"code": "run-root-local", "summary": why[2:], "fix": []},) if unseen else record.diagnoses,
                   slurm={**record.slurm, "log": "slurm.log", **({"failed": job.first} if job and unseen else {})})


def select_runs(entries: Iterable[Entry], wanted: Wanted) -> tuple[Entry, ...]:
    """The entries that are wanted. A damaged record is judged by its folder's name, which holds time and name."""
    return tuple(entries) if wanted == Wanted() else tuple(entry for entry in entries if _fits(entry, wanted))


def say_none(root: Path, *, chosen: bool) -> Text:
    """Why no run is listed. chosen: whether only some were asked for."""
    if not root.is_dir():
        return Text(f"no runs: there is no folder {root} ({_ANOTHER_ROOT.en})",
                    f"没有运行记录：目录 {root} 不存在（{_ANOTHER_ROOT.zh}）")
    if any(folder.is_dir() for folder in root.iterdir()) and not list_runs(root):
        return Text(f"no runs: {root} is not a folder of run records ({_ANOTHER_ROOT.en})",
                    f"没有运行记录：{root} 不是运行记录的目录（{_ANOTHER_ROOT.zh}）")
    if not chosen:
        return Text(f"no runs in {root}", f"{root} 中没有运行记录")
    return Text(f"no runs in {root} match", f"{root} 中没有符合条件的运行")


def usual_root() -> Path:
    """The folder of the records that a command means which names none: $SWIFT_FA_ROOT, else where the last run that was started
    here is, else ./runs, else where the last run at all is."""
    if named := os.environ.get(ROOT_VARIABLE):
        return Path(os.path.expanduser(named))
    used = [(folder, root) for folder, root in _used_roots().items() if os.path.isdir(root)]
    here = dict(used).get(os.getcwd())
    if not used or (os.path.isdir(_USUAL_ROOT) and here in (None, os.path.abspath(_USUAL_ROOT))):
        return Path(_USUAL_ROOT)
    return Path(here or used[-1][1])


def remember_root(root: Path, cwd: Path) -> None:
    """`usual_root` finds the folder of records from now on."""
    others = [(folder, one) for folder, one in _used_roots().items() if folder != str(cwd)]
    keep_answer(_memory(), {"used": dict([*others[-_FOLDERS:], (str(cwd), str(root))])})


def _used_roots() -> dict[str, str]:
    """Working folder to the folder of its last run's record, the last one last."""
    used = read_group(_memory()).get("used")
    return {str(folder): str(root) for folder, root in used.items()} if isinstance(used, dict) else {}


def _memory() -> Path:
    return cache_dir() / "run-roots.json"


def run_word(folder: Path) -> str:
    """What names the run of a record's folder on a command line: its id, its folder where that is not in the usual root."""
    return shlex.quote(folder.name if is_usual(folder.parent) else str(folder))


def list_command(root: Path) -> str:
    """The command that lists the runs of `root`."""
    return shlex.join(["swift-fa", "runs", *root_words(root)])


def root_words(root: Path) -> list[str]:
    """The option that makes a command find this folder of records; none where it does by itself."""
    return [] if is_usual(root) else ["--root", str(root)]


def is_usual(root: Path) -> bool:
    """Whether a command finds this folder of records without being told."""
    return os.path.abspath(root) == os.path.abspath(usual_root())


def find_run(root: Path, word: str) -> Entry:
    """The run that `word` names, with its state: its folder, "latest", a unique beginning of its id, or a name (the newest
    of it).

    Raises RecordError where nothing or more than one run fits.
    """
    if (Path(word) / "run.json").is_file():
        return see_run(Path(word).absolute())
    return with_states([_find(root, word)])[0]


def see_run(folder: Path) -> Entry:
    """The run of a folder, with its state."""
    return see_runs([folder])[0]


def see_runs(folders: Iterable[Path]) -> tuple[Entry, ...]:
    """The runs of these folders, with their states."""
    return with_states(map(_entry, folders))


def children_of(entry: Entry) -> tuple[Entry, ...]:
    """The runs beside it that were made from it, newest first."""
    return tuple(other for other in list_runs(entry.folder.parent)
                 if other.record and other.record.parent == entry.folder.name and other.folder != entry.folder)


def readable_runs(root: Path, words: Iterable[str]) -> dict[Path, tuple[Entry, RunRecord]]:
    """The runs that the words name, by folder; the members of a sweep in its place. Raises RecordError."""
    runs: dict[Path, tuple[Entry, RunRecord]] = {}
    for word in words:
        entry, record = readable_run(root, word)
        members = with_states(reversed(children_of(entry))) if record.kind == "sweep" else ()
        runs |= {one.folder: (one, one.record) for one in members or (entry,) if one.record}
    return runs


def readable_run(root: Path, word: str) -> tuple[Entry, RunRecord]:
    """`find_run`, and its record. Raises RecordError also where that cannot be read."""
    entry = find_run(root, word)
    if entry.record is None:
        raise RecordError("record-unreadable", where=str(entry.folder), why=entry.problem)
    return entry, entry.record


def parse_moment(text: str, now: datetime, *, end: bool = False) -> datetime:
    """`2026-11-23`, `2026-11-23T18:30` (local time unless it says its own) or `36h`, `7d` before now.

    end: a day means its end. Raises UsageError.
    """
    if ago := re.fullmatch(r"(\d{1,5})([hd])", text):
        return now - timedelta(hours=int(ago[1]) * (24 if ago[2] == "d" else 1))
    try:
        moment = datetime.fromisoformat(text).astimezone()
        return moment + timedelta(days=1) if end and len(text) <= len("2026-11-23") else moment
    except (ValueError, OverflowError):
        raise UsageError("option-invalid", Text(f"not a time: {text}", f"不是时间：{text}"),
                         hint=("2026-11-23, 2026-11-23T18:30, 36h, 7d",)) from None


def _find(root: Path, word: str) -> Entry:
    entries = list_runs(root)
    if word == "latest" and entries:
        return next((e for e in entries if e.record), entries[0])
    exact = [e for e in entries if e.folder.name == word]
    begun = [e for e in entries if word and e.folder.name.startswith(word)]
    named = [e for e in entries if e.record and e.record.name == word]
    if exact or len(begun) == 1 or named:
        return (exact or (begun if len(begun) == 1 else named))[0]
    if begun:
        some = ", ".join(e.folder.name for e in begun[:4])
        raise RecordError("run-ambiguous",
                          Text(f"{len(begun)} runs begin with {word}: {some}", f"有 {len(begun)} 个运行以 {word} 开头：{some}"))
    if not root.is_dir():
        raise RecordError("run-not-found", Text(f"there is no run {word}", f"没有运行 {word}"),
                          why=Text(f"there is no folder {root}", f"目录 {root} 不存在"), hint=(_ANOTHER_ROOT,))
    names = ["latest", *(e.folder.name for e in entries)] + [e.record.name for e in entries if e.record]
    raise RecordError("run-not-found", Text(f"there is no run {word} in {root}", f"{root} 中没有运行 {word}"),
                      hint=did_you_mean(word, names) or (list_command(root),))


def _entry(folder: Path) -> Entry:
    try:
        record = read_record(folder)
    except RecordError as error:
        return Entry(folder, None, error.why)
    return Entry(folder, record, state=record.status)


def _with_state(entry: Entry, running: Callable[[], Collection[str]]) -> Entry:
    record = entry.record
    if record is None:
        return entry
    state = entry.state
    if record.kind == "sweep" and record.slurm and not record.ended:
        from swift_fa_launcher.runs.sweeps import with_end  # it stands on this module

        record = with_end(entry.folder, record)
        return replace(entry, record=record, state=record.status)
    here = record.host == socket.gethostname() and not record.slurm  # elsewhere nobody can tell from here
    if record.status == "unfinished" and here:
        state = "running" if _lives(record) else "orphaned" if record.id in running() else state
    measured = record.measured
    if record.status == "unfinished" and not measured:
        measured = read_latest(entry.folder)
    return replace(entry, state=state, progress=_progress(record), measured=measured)


def _progress(record: RunRecord) -> Progress:
    """What was recorded at the end, else what the training's log says by now."""
    with suppress(ValueError):
        if record.result:
            return decode(Progress, dict(record.result))  # type: ignore[no-any-return]
    return read_progress(Path(record.cwd, record.output_dir)) if record.output_dir else Progress()


def _running() -> Collection[str]:
    from swift_fa_launcher.launch.processes import find_running

    return find_running().keys()


def _lives(record: RunRecord) -> bool:
    """Whether the launcher that wrote this record is there: the same process id, started at the same time."""
    import psutil

    try:
        return record.pid is not None and record.pid_started is not None and psutil.pid_exists(record.pid) and \
            abs(psutil.Process(record.pid).create_time() - record.pid_started) < 1
    except (psutil.Error, ValueError, OverflowError):  # no number of a process
        return False


def _fits(entry: Entry, wanted: Wanted) -> bool:
    record, folder = entry.record, entry.folder.name
    name = record.name if record else folder[16:-5]
    started = _started(entry) if wanted.since or wanted.until else None
    return ((wanted.name is None or fnmatch.fnmatchcase(name, wanted.name))
            and (wanted.tag is None or (record is not None and wanted.tag in record.tags))
            and (wanted.state is None or entry.state == wanted.state)
            and (wanted.since is None or (started is not None and wanted.since <= started))
            and (wanted.until is None or (started is not None and started <= wanted.until)))


def moment_of(text: str) -> datetime:
    """A time of a record; UTC unless it says its own zone. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _started(entry: Entry) -> datetime | None:
    with suppress(ValueError):
        if entry.record:
            return moment_of(entry.record.started)
        return datetime.strptime(entry.folder.name[:15], "%Y%m%d-%H%M%S").replace(tzinfo=timezone.utc)
    return None
