"""Run records: one folder a launch, complete before the training starts and closed after it ends.

    <run.root>/<id>/
        run.json        what happened: name, start, end, outcome
        config.yaml     the resolved config          config.json   the same with the origin of every value
        layers/N/       the files it was made from, lowest first    facts.json    findings.json    plan.json
        packages.txt    every installed package      sources.json  those that came from no index
        wheels.json     the flash-attn builds        git.json      git.diff
        data.json       models, datasets and files   train.log     swanlab/

A new folder is filled under a hidden name and then renamed; `run.json` is replaced whole. So a launcher that is killed
leaves either nothing or a record that says it was not finished.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from glob import escape, glob
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from swift_fa_launcher import __version__
from swift_fa_launcher.decode import DecodeError, decode, encode, known
from swift_fa_launcher.errors import RecordError, Text, Words, refused_as
from swift_fa_launcher.files import text_of, without_waiting, write_whole
from swift_fa_launcher.secrets import is_secret_name, redact, redact_data, secrets_in_addresses

if TYPE_CHECKING:
    from swift_fa_launcher.config.schema import ResolvedConfig
    from swift_fa_launcher.findings.finding import Finding
    from swift_fa_launcher.launch.local import Outcome
    from swift_fa_launcher.launch.plan import LaunchPlan
    from swift_fa_launcher.machine.facts import Facts
    from swift_fa_launcher.runs.surroundings import Surroundings

SCHEMA = 1
_PART = 2**16  # bytes; more than nearly every run.json
_PATIENCE = 5.0  # seconds; a record is written in some milliseconds
_DRAFT = ".new"  # how a folder's name ends while it is filled
_SHORTEST_SECRET = 6  # shorter values are no secrets, and replacing them would garble the record
#: What the launcher itself words in run.json: no secret, whatever it may be equal to.
_OWN_WORDS = ("id", "kind", "status", "started", "ended", "parent", "launcher", "host")


@dataclass(frozen=True)
class RunRecord:
    """What `run.json` says. Times are UTC, ISO 8601.

    status: "queued" while a job of Slurm has not begun, "unfinished" until the end is written, then "finished", "failed" or
    "interrupted". exit_code: of `train`.
    """

    id: str
    name: str
    status: str
    started: str
    cwd: str
    kind: str = "run"  # or "sweep": the parent of several
    command: tuple[str, ...] = ()
    ended: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    detail: str | None = None
    tags: tuple[str, ...] = ()
    notes: str | None = None
    parent: str | None = None
    resumed_from: str | None = None  # the checkpoint, where the parent was continued
    attempts: tuple[Mapping[str, Any], ...] = ()  # those that failed and were followed by another, see `end_attempt`
    launcher: str = __version__
    host: str | None = None
    pid: int | None = None
    pid_started: float | None = None  # seconds since the epoch: a process id alone may be another's by now
    config_files: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    output_dir: str | None = None
    checkpoint: str | None = None
    swanlab: Mapping[str, Any] = field(default_factory=dict)
    unsent: bool = False  # training had ended, SwanLab was still uploading and was ended
    result: Mapping[str, Any] = field(default_factory=dict)  # runs.output.Progress at the end
    measured: Mapping[str, Any] = field(default_factory=dict)  # runs.monitor.read_measured at the end
    diagnoses: tuple[Mapping[str, Any], ...] = ()
    slurm: Mapping[str, Any] = field(default_factory=dict)  # of a job: stories.cluster says what


def new_run_id(name: str, now: datetime) -> str:
    """`20261123-051500-qwen7b-lora-3f9a`: sorts by time, reads by name, and two in one second differ."""
    import secrets

    slug = re.sub(r"[^0-9A-Za-z._-]+", "-", name).strip("-.")[:60] or "run"
    return f"{now.astimezone(timezone.utc):%Y%m%d-%H%M%S}-{slug}-{secrets.token_hex(2)}"


def run_name(config: ResolvedConfig) -> str:
    """The run's name: as configured, else the experiment's, else the last config file's."""
    files = config.files[-1:]
    return config.run.name or config.swanlab.experiment or (files[0].stem if files else "run")


def secret_values(config: ResolvedConfig, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The values that must not be written anywhere: of secret-looking variables, and those in addresses; longest first."""
    notification = config.swanlab.notification
    values = {value for each in (environ, config.env, config.swift) for name, value in _named_texts(each)
              if is_secret_name(name)}
    values |= {value for value in (notification.secret, notification.webhook_url) if value}
    values |= {value for each in (environ, config.values) for _, text in _named_texts(each) if "://" in text
               for value in secrets_in_addresses(text)}
    return tuple(sorted((v for v in values if len(v) >= _SHORTEST_SECRET), key=len, reverse=True))


def _named_texts(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every name, also of groups within groups, with its text; a token of digits alone is a number in YAML."""
    for name, value in values.items():
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(one, Mapping):
                yield from _named_texts(one)
            elif one is not None:
                yield str(name), str(one)


def start_record(root: Path, record: RunRecord, texts: Mapping[str, str]) -> Path:
    """Write what `render_record` made of a run that is about to start; its folder. Raises RecordError."""
    folder, draft = root / record.id, root / f".{record.id}.{record.host}.{record.pid}{_DRAFT}"
    with refused_as(RecordError("record-not-written", where=str(folder))):
        clear_drafts(root)
        draft.mkdir(parents=True)
        try:
            for name, text in texts.items():
                (draft / name).parent.mkdir(parents=True, exist_ok=True)
                write_whole(draft / name, text, durable=True)
            draft.rename(folder)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    return folder


def clear_drafts(root: Path) -> None:
    """Removes the drafts of launchers that were killed on this host while they wrote them."""
    for draft in glob(f"{escape(str(root))}/.*.{escape(socket.gethostname())}.*{_DRAFT}"):
        import psutil  # here, since most folders have none

        pid = draft.removesuffix(_DRAFT).rpartition(".")[2]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(draft, ignore_errors=True)


def update_record(folder: Path, record: RunRecord, hidden: Sequence[str] = ()) -> None:
    """Replace `run.json` whole."""
    write_whole(folder / "run.json", _render_run(record, hidden), durable=True)


def update_launched(folder: Path, record: RunRecord, hidden: Sequence[str] = ()) -> None:
    """`update_record` by who launched the run: tags and notes stay as they stand there, since others give them meanwhile."""
    with _alone(folder):
        with suppress(RecordError):
            now = read_record(folder)
            record = replace(record, tags=now.tags, notes=now.notes)
        update_record(folder, record, hidden)


def edit_record(folder: Path, change: Callable[[RunRecord], RunRecord]) -> RunRecord:
    """What `change` makes of the record, written whole. Raises RecordError."""
    with _alone(folder), refused_as(RecordError("record-not-written", where=str(folder))):
        record = change(read_record(folder))
        update_record(folder, record)
    return record


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One at a time reads and writes a record. A folder that takes no lock, or a lock that is never let go, stops nobody."""
    from filelock import FileLock  # here, since a list of runs does without

    lock = FileLock(folder / ".run.json.lock")
    with suppress(OSError):  # a Timeout is one
        lock.acquire(timeout=_PATIENCE)
    try:
        yield
    finally:
        lock.release()


def read_record(folder: Path) -> RunRecord:
    """The record in a run folder. Raises RecordError for one that is absent, damaged or of a future schema."""
    file = f"{folder}/run.json"
    try:
        data = json.loads(_read_bytes(file).decode("utf-8"))
        if not isinstance(data, dict) or not isinstance(data.get("schema"), int):
            raise _damaged(file, Text("no schema", "没有 schema"))
        if data["schema"] > SCHEMA:
            raise _damaged(file, Text(f"schema {data['schema']} is newer than schema {SCHEMA}, which this swift-fa "
                                      "reads",
                                      f"schema {data['schema']} 比此版本 swift-fa 能读取的 {SCHEMA} 更新"))
        return decode(RunRecord, data)  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise _damaged(file, Text("there is no run.json", "没有 run.json")) from None
    except DecodeError as error:
        raise _damaged(file, error.sentence) from None
    except json.JSONDecodeError as error:
        raise _damaged(file, Text(f"not complete JSON: {error}", f"不是完整的 JSON：{error}")) from None
    except (ValueError, TypeError, OSError, RecursionError) as error:
        raise _damaged(file, str(error)) from None


def _read_bytes(file: str) -> bytes:
    """A whole file. Thousands are read for a list, and file objects cost as much again."""
    opened = without_waiting(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = [os.read(opened, _PART)]
        while len(parts[-1]) == _PART:
            parts.append(os.read(opened, _PART))
        return b"".join(parts)
    finally:
        os.close(opened)


def _damaged(file: str, why: Words) -> RecordError:
    return RecordError("record-unreadable", where=file, why=why)


def render_record(record: RunRecord, config: ResolvedConfig, facts: Facts, findings: Sequence[Finding], plan: LaunchPlan,
                  around: Surroundings, hidden: Sequence[str]) -> dict[str, str]:
    """File name to text of a whole record, the secret values `hidden` replaced. Reads the config files to copy them."""
    from swift_fa_launcher.machine.facts import facts_to_json

    data = {
        "facts.json": facts_to_json(facts),
        "findings.json": [finding.to_json() for finding in findings],
        "plan.json": plan.to_json(),
        "sources.json": around.sources,
        "wheels.json": around.wheels,
        "git.json": around.git,
        "data.json": around.data,
    }
    texts = {
        "packages.txt": "".join(f"{name}=={version}\n" for name, version in sorted((known(facts.packages) or {}).items())
                                if known(version) is not None),
    }
    if around.diff:
        texts["git.diff"] = around.diff
    return {**render_config(record, config, hidden), **{name: _json(value, hidden) for name, value in data.items()},
            **{name: redact(text, hidden) for name, text in texts.items()}}


def log_of(folder: Path, record: RunRecord) -> Path:
    """The log that tells most of a run: the training's; of a job, that of the node that failed."""
    return folder / str(record.slurm.get("log") or "train.log")


def render_config(record: RunRecord, config: ResolvedConfig, hidden: Sequence[str]) -> dict[str, str]:
    """File name to text of what is known of a launch before anything was looked at. Reads the config files to copy them."""
    import yaml

    from swift_fa_launcher.config.layers import place_of

    values = redact_data(dict(config.values), hidden)
    told = {"schema": SCHEMA, "values": values, "origins": {key: str(origin) for key, origin in config.origins.items()},
            "files": [str(f) for f in config.files], "overrides": list(config.overrides)}
    layers = {f"layers/{i}/{source.name}": text_of(source, "utf-8-sig") for i, source in enumerate(map(place_of, config.files))}
    return {"run.json": _render_run(record, hidden), "config.json": _json(told, hidden),
            "config.yaml": yaml.safe_dump(values, allow_unicode=True, sort_keys=False),
            **{name: redact(text, hidden) for name, text in layers.items()}}


def recorded_layers(folder: Path) -> tuple[Path, ...]:
    """The copies of the config files that a run was made from, lowest first."""
    files = [file for file in folder.glob("layers/*/*") if file.parent.name.isdigit()]
    return tuple(sorted(files, key=lambda file: int(file.parent.name)))


def _render_run(record: RunRecord, hidden: Sequence[str]) -> str:
    data = encode(record)
    return _json({"schema": SCHEMA, **redact_data(data, hidden), **{name: data[name] for name in _OWN_WORDS}})


def _json(value: Any, hidden: Sequence[str] = ()) -> str:
    """The secrets are replaced before texts are escaped, and only in them."""
    return json.dumps(redact_data(value, hidden), indent=1, ensure_ascii=False,
                      default=lambda other: redact(str(other), hidden)) + "\n"


class Process(NamedTuple):
    """A launcher's process. started: seconds since the epoch."""

    host: str
    pid: int
    started: float | None  # None where the system does not say


def this_process() -> Process:
    import psutil

    try:
        started = psutil.Process().create_time()
    except (OSError, psutil.Error):
        started = None
    return Process(socket.gethostname(), os.getpid(), started)


def make_record(config: ResolvedConfig, plan: LaunchPlan, run_id: str, now: datetime, *, name: str | None = None,
                parent: str | None = None, resumed_from: str | None = None) -> RunRecord:
    """The record of a run that starts now, in this process."""
    process = this_process()
    return RunRecord(id=run_id, name=name or run_name(config), status="unfinished", started=now.isoformat(timespec="seconds"),
                     cwd=plan.cwd, command=plan.argv, tags=config.run.tags, notes=config.run.notes, parent=parent,
                     resumed_from=resumed_from, host=process.host, pid=process.pid, pid_started=process.started,
                     config_files=tuple(str(f) for f in config.files), overrides=config.overrides,
                     output_dir=config.swift.text("output_dir"))


def end_attempt(record: RunRecord, outcome: Outcome, codes: Sequence[str], log: str, checkpoint: str | None,
                step: int) -> RunRecord:
    """The record with an attempt that failed and is followed by another: started, ended (ISO 8601), exit_code, signal, codes of
    its diagnoses, detail, log (its name in the run's folder), and the checkpoint and step that the next one goes on from."""
    told = {"started": outcome.started.isoformat(timespec="seconds"), "ended": outcome.ended.isoformat(timespec="seconds"),
            "exit_code": outcome.exit_code, "signal": outcome.signal, "codes": list(codes),
            "detail": outcome.detail.en if outcome.detail else None, "log": log, "checkpoint": checkpoint,
            "step": step}
    return replace(record, attempts=(*record.attempts, told))


def close_record(record: RunRecord, outcome: Outcome) -> RunRecord:
    """The record with its end."""
    status = "interrupted" if outcome.interrupted else "finished" if outcome.exit_code == 0 else "failed"
    return replace(record, status=status, ended=outcome.ended.isoformat(timespec="seconds"), exit_code=outcome.exit_code,
                   signal=outcome.signal, detail=outcome.detail.en if outcome.detail else None,
                   unsent=outcome.ended_after_training)
