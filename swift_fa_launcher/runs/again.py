"""A recorded run started once more: repeated from its recorded layers or plan, or continued from a checkpoint."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.config.render import leaves
from swift_fa_launcher.config.schema import ResolvedConfig, SwiftArguments
from swift_fa_launcher.decode import decode
from swift_fa_launcher.errors import LaunchError, RecordError, Text, UsageError, Words, render_words
from swift_fa_launcher.files import read_group
from swift_fa_launcher.launch.plan import LaunchPlan
from swift_fa_launcher.machine.checkpoint_files import read_trainer_state
from swift_fa_launcher.runs.diff import Difference
from swift_fa_launcher.runs.output import Checkpoint, list_checkpoints, newest_complete, read_swanlab
from swift_fa_launcher.runs.record import RunRecord, recorded_layers
from swift_fa_launcher.runs.report import upload_command
from swift_fa_launcher.runs.store import Entry, run_word
from swift_fa_launcher.secrets import REDACTED

#: What `resume` sets itself, so that training goes on in place (ms-swift opens a new version folder otherwise).
_OWN = ("swift.resume_from_checkpoint", "swift.output_dir", "swift.add_version", "env.SWANLAB_RUN_ID", "env.SWANLAB_RESUME")
#: Settings that give a finished training more to do.
_LONGER = ("swift.max_steps", "swift.num_train_epochs")


@dataclass(frozen=True)
class Continuation:
    """Where a run goes on and how. skipped: newer checkpoints that are not whole. words: what becomes of its SwanLab run.

    earlier: folders of its offline SwanLab run, to be uploaded before the next part's. env: variables by which SwanLab finds it.
    """

    overrides: tuple[str, ...]
    checkpoint: Checkpoint
    skipped: tuple[Checkpoint, ...]
    words: Words = ""
    earlier: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


def repeated_config(entry: Entry, record: RunRecord, overrides: Sequence[str], *, exact: bool = False) -> ResolvedConfig:
    """The config of a recorded run: its layers and overrides resolved today, then `overrides`; exact: as it was resolved.

    Raises LaunchError where a value was a secret and so is not in the record.
    """
    if exact:
        config = resolve_config([entry.folder / "config.yaml"])
    else:
        config = layers_again(entry.folder, (*record.overrides, *overrides))
    lost = [key for key, value in leaves(dict(config.values)) if REDACTED in str(value)]
    if lost:
        raise LaunchError("record-lacks-secrets",
                          Text(f"the record does not hold these secret values: {', '.join(lost)}",
                               f"记录中没有保存这些密钥：{', '.join(lost)}"), where=str(entry.folder),
                          hint=(" ".join([f"swift-fa rerun {run_word(entry.folder)}",
                                          *(f"{key}='${{oc.env:NAME}}'" for key in lost)]),))
    return config


def layers_again(folder: Path, overrides: Sequence[str]) -> ResolvedConfig:
    """The config of a record's layers under `overrides`, resolved today."""
    return resolve_config(recorded_layers(folder), overrides, with_bases=False)


def refuse_to_repeat(entry: Entry, record: RunRecord) -> None:
    """Raises LaunchError for a run that was itself a continuation: it would train over what it continued."""
    if record.resumed_from:
        raise LaunchError("rerun-of-resumed",
                          Text(f"{record.id} continued {record.parent}: repeating it would write into the same folder",
                               f"{record.id} 是 {record.parent} 的继续：重复运行会写入同一目录"),
                          hint=(f"swift-fa rerun {run_word(entry.folder.with_name(str(record.parent)))}",))


def read_plan(entry: Entry) -> LaunchPlan:
    """The recorded plan. Raises RecordError where it cannot be read or lacks what was secret."""
    file = entry.folder / "plan.json"
    try:
        text = file.read_text(encoding="utf-8")
        plan: LaunchPlan = decode(LaunchPlan, json.loads(text))
    except (OSError, ValueError) as error:
        raise RecordError("record-unreadable", where=str(file), why=str(error)) from None
    if REDACTED in text:
        raise RecordError("record-lacks-secrets", where=str(file), hint=(f"swift-fa rerun {run_word(entry.folder)}",))
    return plan


def recorded_kernel(folder: Path) -> str | None:
    """The commit of the hub kernel that a run trained with; None for none."""
    kernel = read_group(folder / "facts.json").get("hub_kernel")
    revision = kernel.get("revision") if isinstance(kernel, dict) else None
    return revision if isinstance(revision, str) else None


def renew_plan(plan: LaunchPlan, run_id: str, run_dir: str) -> LaunchPlan:
    """The same plan for another run: nothing but the run's id and folder is replaced, wherever they stand. Pure."""
    old_dir, old_id = plan.run_dir, Path(plan.run_dir).name

    def renew(text: str) -> str:
        return text.replace(old_dir, run_dir).replace(old_id, run_id)

    return replace(plan, argv=tuple(map(renew, plan.argv)), starts=tuple(map(renew, plan.starts)), run_dir=run_dir,
                   env=MappingProxyType({name: renew(value) for name, value in plan.env.items()}))


def unexpected(found: Iterable[Difference], overrides: Sequence[str]) -> tuple[Difference, ...]:
    """The differences that matter and that nobody asked for: settings given anew, and the command and variables that
    follow from them, were. Pure."""
    keys = {words.partition("=")[0].strip() for words in overrides}

    def asked(one: Difference) -> bool:
        if one.group == "config":
            return any(one.key == key or one.key.startswith(f"{key}.") for key in keys)
        return bool(keys) and one.group in ("command", "environment")

    return tuple(one for one in found if one.matters and not asked(one))


def news(found: Iterable[Difference], there: Continuation) -> tuple[Difference, ...]:
    """What of the differences is worth a look before a run goes on: what was asked for and what else matters, without what
    the continuation itself brings. Pure."""
    names = {key.partition(".")[2] for key in _OWN}
    folder = f"checkpoint {there.checkpoint.path.parent}/"

    def own(one: Difference) -> bool:
        return (one.key in _OWN if one.group == "config" else
                one.key.removeprefix("--") in names if one.group in ("command", "environment") else
                one.group == "data" and one.key.startswith(folder))

    return tuple(one for one in found if one.matters and not own(one))


def continue_run(entry: Entry, record: RunRecord, overrides: Sequence[str]) -> Continuation:
    """How a run goes on: from its newest whole checkpoint, in the same output folder, as the same SwanLab run.

    Raises LaunchError where it still runs, has nothing left to do, or left no whole checkpoint.
    """
    given = {words.partition("=")[0].strip() for words in overrides}
    if own := sorted(given & {*_OWN}):
        word = shlex.split(run_word(entry.folder))[0]
        raise UsageError("resume-setting-refused",
                         Text(f"swift-fa resume sets {', '.join(own)} itself",
                              f"swift-fa resume 会自行设置 {', '.join(own)}"),
                         hint=(f"swift-fa rerun {shlex.join([word, *overrides])}",))
    if entry.state in ("queued", "running", "orphaned"):
        raise LaunchError("run-still-running", Text(f"{record.id} is still running", f"{record.id} 仍在运行"),
                          hint=(f"swift-fa runs --end {run_word(entry.folder)}",))
    output = Path(record.cwd, record.output_dir or "")
    checkpoints = list_checkpoints(output) if record.output_dir else ()
    newest = newest_complete(checkpoints)
    skipped = tuple(c for c in checkpoints if c.problem and (newest is None or c.step > newest.step))
    if newest is None:
        why = "; ".join(f"{c.path.name}: {render_words(c.problem, 'en')}" for c in skipped)
        raise LaunchError("checkpoint-missing",
                          Text(f"{record.id} has no complete checkpoint to continue from",
                               f"{record.id} 没有可以继续的完整检查点"), where=str(output), why=why,
                          hint=(f"swift-fa rerun {run_word(entry.folder)}",))
    _refuse_the_finished(entry, record, newest, given)
    kept = tuple(words for words in record.overrides if words.partition("=")[0].strip() not in _OWN)
    base = (*kept, *overrides, f"swift.resume_from_checkpoint={_quoted(newest.path)}", f"swift.output_dir={_quoted(output)}",
            "swift.add_version=false")
    return Continuation(base, newest, skipped)


def continue_swanlab(there: Continuation, entry: Entry, record: RunRecord, config: ResolvedConfig) -> Continuation:
    """`there` with what lets SwanLab go on with the same run, where `config`'s mode allows it, and the words for it.

    SwanLab 0.10 finds a run again by SWANLAB_RUN_ID and SWANLAB_RESUME in the cloud. Offline it writes a second folder of
    the same id, and `swanlab sync --id` puts both into one run. A local run cannot be opened again.
    """
    if not config.swanlab.tracks:
        return there
    swanlab = record.swanlab or read_swanlab(entry.folder)
    run_id, mode = swanlab.get("run_id"), config.swift.text("swanlab_mode") or config.swanlab.mode
    if not run_id:
        return replace(there, words=Text("SwanLab has no run to continue; it starts a new one",
                                         "SwanLab 没有可续接的实验，将新建一个"))
    if mode == "local":
        return replace(there, words=Text("SwanLab cannot continue a local run; it starts a new one beside it",
                                         "SwanLab 无法续接本地实验，将另外新建一个"))
    env = {"SWANLAB_RUN_ID": str(run_id), "SWANLAB_RESUME": "allow"}
    own = tuple(f"env.{name}={json.dumps(value)}" for name, value in env.items())
    there = replace(there, env=env, overrides=(*there.overrides, *own))
    folders = tuple(map(str, (*(swanlab.get("earlier") or ()), swanlab.get("dir") or "")))
    if mode == "offline":
        words = Text(f"SwanLab records another part of run {run_id}; `swanlab sync --id` joins the parts",
                     f"SwanLab 将记录实验 {run_id} 的后续部分；swanlab sync --id 会把各部分合在一起")
        return replace(there, words=words, earlier=folders)
    unsent = upload_command(replace(record, swanlab=swanlab))
    first = Text(f"; it drops steps older than those it already has, so first run: {unsent}",
                 f"；它会丢弃早于已有数据的步，所以请先执行：{unsent}") if unsent else Text("", "")
    words = Text(f"SwanLab continues run {run_id}{first.en}", f"SwanLab 续接实验 {run_id}{first.zh}")
    return replace(there, words=words)


def continue_in_place(folder: Path, record: RunRecord, config: ResolvedConfig,
                      earlier: Sequence[str]) -> tuple[ResolvedConfig, Continuation | None]:
    """The config with which a run whose training failed goes on under the same record, and from where: its newest whole
    checkpoint. None, and the config as it was, where there is none. earlier: folders of its offline SwanLab run so far."""
    output = Path(record.cwd, record.output_dir or "")
    newest = newest_complete(list_checkpoints(output)) if record.output_dir else None
    if newest is None:
        return config, None
    known = replace(record, swanlab={**read_swanlab(folder), "earlier": list(earlier)})
    there = continue_swanlab(Continuation((), newest, ()), Entry(folder, known), known, config)
    own = {"resume_from_checkpoint": str(newest.path), "output_dir": str(output), "add_version": False}
    origins = {key: origin for key, origin in config.origins.items() if key.partition(".")[2] not in own}
    return replace(config, swift=SwiftArguments({**config.swift, **own}), env={**config.env, **there.env}, origins=origins), there


def _refuse_the_finished(entry: Entry, record: RunRecord, newest: Checkpoint, given: set[str]) -> None:
    state: Mapping[str, Any] = read_trainer_state(newest.path)
    done, all_of_it = state.get("global_step"), state.get("max_steps")
    if isinstance(done, int) and isinstance(all_of_it, int) and done >= all_of_it > 0 and not given & {*_LONGER}:
        raise LaunchError("run-complete",
                          Text(f"{record.id} is complete: {newest.path.name} is the last of its {all_of_it} steps",
                               f"{record.id} 已经完成：{newest.path.name} 是它 {all_of_it} 步中的最后一步"),
                          hint=(f"swift-fa resume {run_word(entry.folder)} swift.max_steps={2 * all_of_it}",))


def _quoted(path: Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)
