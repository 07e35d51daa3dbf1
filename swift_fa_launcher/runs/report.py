"""Runs as text: the list, one run's story, what differs between two, and the words after a training."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from swift_fa_launcher.decode import Unknown, encode
from swift_fa_launcher.errors import Text, render_words
from swift_fa_launcher.files import read_group, read_json
from swift_fa_launcher.layout import cells, columns, fill, pad
from swift_fa_launcher.runs.after import next_commands
from swift_fa_launcher.runs.curves import read_curves, sparkline
from swift_fa_launcher.runs.diff import Difference, Row
from swift_fa_launcher.runs.monitor import read_measured, read_monitor, render_measured
from swift_fa_launcher.runs.output import Checkpoint, Progress, list_checkpoints, newest_complete
from swift_fa_launcher.runs.record import RunRecord, log_of
from swift_fa_launcher.runs.store import Entry, moment_of, run_word

_STATES = {"finished": Text("finished", "已完成"), "failed": Text("failed", "失败"),
           "interrupted": Text("interrupted", "已中断"), "unfinished": Text("not finished", "未完成"),
           "running": Text("running", "运行中"), "orphaned": Text("still running", "仍在运行"),
           "queued": Text("queued", "排队中"), "unknown": Text("unknown", "未知"), "damaged": Text("damaged", "已损坏"),
           "waiting": Text("waiting", "等待中"), "refused": Text("not started", "未启动")}
_GROUPS = {"config": Text("config", "配置"), "command": Text("command", "命令"), "environment": Text("environment", "环境变量"),
           "packages": Text("packages", "软件包"), "wheel": Text("flash-attn", "flash-attn"), "machine": Text("machine", "机器"),
           "git": Text("git", "git"), "data": Text("data and models", "数据和模型"), "result": Text("result", "结果")}
_FEW, _MANY = 3, 8  # checkpoints on a screen; runs made from one
#: Of a run's values; the others are paths, names and settings.
_READ = ("progress", "measured", "attempts", "tags", "notes", "detail")


def run_to_json(entry: Entry) -> dict[str, Any]:
    """One run for programs."""
    return {"schema": 1, **entry_to_json(entry), "findings": read_json(entry.folder / "findings.json") or [],
            "next": list(next_commands(entry.folder, entry.record)) if entry.record else [],
            "measured": _measured(entry), "monitor": read_monitor(entry.folder),
            "checkpoints": [{"path": str(c.path), "step": c.step, "complete": not c.problem,
                             "problem": render_words(c.problem, "en") or None} for c in _checkpoints(entry)]}


def entry_to_json(entry: Entry) -> dict[str, Any]:
    """One line of the list for programs; a damaged record says so in `problem`."""
    if entry.record is None:
        return {"run_dir": str(entry.folder), "id": entry.folder.name, "status": "damaged", "state": "damaged",
                "problem": render_words(entry.problem, "en")}
    told = {"run_dir": str(entry.folder), **encode(entry.record), "state": entry.state, "progress": encode(entry.progress),
            **({"job": encode(entry.job)} if entry.job else {})}
    return told if entry.measured is entry.record.measured else {**told, "measured": encode(entry.measured)}


def say_state(state: str, lang: str) -> str:
    """A run's state in words."""
    return _STATES[state].render(lang) if state in _STATES else state


def say_group(group: str) -> Text:
    """A group of differences in words."""
    return _GROUPS[group]


def render_run(entry: Entry, record: RunRecord, lang: str, width: int | None = None, children: Sequence[Entry] = (), *,
               blocks: bool = False) -> str:
    """One run's story on a screen: what it was, how it went, what was found, what it left. Paths and commands are not broken.

    children: the runs made from it. blocks: whether the screen can show the loss as a line of blocks."""
    state = say_state(entry.state, lang)
    checkpoints = _checkpoints(entry)
    rows = [
        (Text("run", "运行"), record.id), (Text("name", "名称"), record.name),
        (Text("state", "状态"), state + (f" ({record.exit_code})" if record.exit_code is not None else "")),
        (Text("started", "开始"), render_moment(record.started)),
        (Text("ended", "结束"), render_moment(record.ended or "")),
        (Text("duration", "时长"), render_duration(record)), (Text("progress", "进度"), _progress(entry.progress, lang)),
        (Text("loss", "损失"), _loss_line(entry) if blocks else ""),
        (Text("measured", "实测"), render_measured(_measured(entry), lang)), (Text("made from", "来自"), _parent(record, lang)),
        *_job_rows(entry, record),
        (Text("led to", "派生出"), _some([child.folder.name for child in children], lang)),
        (Text("attempts", "尝试"), "" if record.slurm else _attempts(record, lang)),
        (Text("tags", "标签"), ", ".join(record.tags)), (Text("notes", "备注"), record.notes or ""),
        (Text("configs", "配置"), ", ".join(record.config_files)), (Text("settings", "覆盖项"), " ".join(record.overrides)),
        *_places(entry.folder, record, lang), (Text("detail", "说明"), record.detail or ""),
    ]
    parts = [_titled(rows, lang, width), _render_found(entry, lang, width),
             _render_diagnoses(record, lang, width), _render_checkpoints(checkpoints, lang), _render_upload(record, lang),
             _render_ways(entry, record, checkpoints, lang)]
    return "\n\n".join(part for part in parts if part)


def render_finished(folder: Path, record: RunRecord, lang: str, width: int | None = None) -> str:
    """The last words of `train`: how it ended and where everything is."""
    ended = Text(f"run {record.id} {record.status}", f"运行 {record.id}：{_STATES[record.status].zh}").render(lang)
    rows = [*_places(folder, record, lang), (Text("look at it", "查看"), f"swift-fa show {shlex.quote(str(folder))}")]
    entry = Entry(folder, record, state=record.status)
    parts = [f"{ended} ({record.exit_code}), {render_duration(record)}",
             _titled(rows, lang, width), _render_upload(record, lang), _render_ways(entry, record, _checkpoints(entry), lang)]
    return "\n".join(part for part in parts if part)


def render_differences(found: Sequence[Difference], lang: str) -> str:
    """What differs, by group: the key, then the first run's value and the second's, each with its origin."""
    if not found:
        return Text("no difference", "没有差异").render(lang)
    from swift_fa_launcher.config.schema import name_origins  # here, since a list of runs does without the schema

    lines = []
    for group, members in groupby(found, key=lambda one: one.group):
        lines.append(_GROUPS[group].render(lang))
        for one in members:
            lines.append(f"  {one.key}")
            lines += [f"    {sign} {_shown(value)}{f'  # {name_origins(origin, lang)}' if origin else ''}"
                      for sign, value, origin in (("-", one.first, one.origins[0]), ("+", one.second, one.origins[1]))
                      if value is not None]
    return "\n".join(lines)


def render_duration(record: RunRecord, now: datetime | None = None) -> str:
    """How long the run took, or has taken by `now`: "1h 02m", "3m 07s", "12s"; empty where it has no end."""
    try:
        end = moment_of(record.ended) if record.ended else now
        if end is None:
            return ""
        seconds = int((end - moment_of(record.started)).total_seconds())
    except ValueError:
        return ""
    minutes, seconds = divmod(max(seconds, 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {seconds:02}s" if minutes else f"{seconds}s"


def render_moment(moment: str) -> str:
    """A time of a record in this machine's zone, `2026-11-23 13:00:00 +08:00`; as it stands there where it is none."""
    local = _local(moment)
    return f"{local[:19]} {local[19:]}" if len(local) == 25 else local


def short_moment(moment: str) -> str:
    """The same without seconds and zone."""
    return _local(moment)[:16]


def _local(moment: str) -> str:
    try:
        return moment_of(moment).astimezone().isoformat(" ", "seconds") if moment else ""  # strftime takes thrice as long
    except (ValueError, OverflowError):
        return moment


def upload_command(record: RunRecord) -> str:
    """What uploads a run that SwanLab has not, or not all of; empty where there is nothing to upload.

    `swanlab sync` opens a new run unless it is given an id, and takes one folder at a time with it (0.10.3). So what has a
    run in the cloud already, and what was continued offline, is uploaded by id, the older part first.
    """
    swanlab = record.swanlab
    earlier, last = [str(folder) for folder in swanlab.get("earlier") or ()], str(swanlab.get("dir") or "")
    if not last or not (swanlab.get("mode") == "offline" or record.unsent):
        return ""
    same = ["--id", str(swanlab["run_id"])] if swanlab.get("run_id") and (earlier or record.unsent) else []
    return " && ".join(shlex.join(["swanlab", "sync", *same, folder]) for folder in (*earlier, last))


def render_rows(names: Sequence[str], rows: Sequence[Row], lang: str, width: int | None = None) -> str:
    """What differs between several runs: a column a run, the results last; where that is wider than `width`, a line a run."""
    marks = [str(number) for number in range(1, len(names) + 1)]
    legend = columns(list(zip(marks, names, strict=True)))
    if not rows:
        return f"{legend}\n{Text('no difference', '没有差异').render(lang)}"
    lines: list[list[str]] = [["", *marks]]
    for group, members in groupby(rows, key=lambda row: row.group):
        lines.append([_GROUPS[group].render(lang)])
        lines += [[f"  {row.key}", *(render_figure(value) for value in row.values)] for row in members]
    table = columns([[*line, ""] for line in lines])
    if width is None or max(map(cells, table.splitlines())) <= width:
        return f"{legend}\n\n{table}"
    wide = len(marks[-1])
    return "\n".join([legend, "", *(said for line in lines[1:] for said in (
        line[0], *(f"    {mark:>{wide}}  {value}" for mark, value in zip(marks, line[1:], strict=False) if value)))])


def render_figure(value: Any) -> str:
    """A value of a table; empty where there is none."""
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else _shown(value)


def _measured(entry: Entry) -> Any:
    """What the record keeps of the monitor; of one without, what the monitor's files say from the first step on."""
    return encode(entry.record.measured if entry.record else {}) or read_measured(entry.folder)


def _parent(record: RunRecord, lang: str) -> str:
    if record.resumed_from:
        return Text(f"{record.parent}, continued from {record.resumed_from}",
                    f"{record.parent}，从 {record.resumed_from} 续训").render(lang)
    return record.parent or ""


def _attempts(record: RunRecord, lang: str) -> str:
    """What went before the last attempt: the cause, its log, the step that the next one went on from."""
    def told(cause: object, log: object, step: object) -> Text:
        return Text(f"{cause} ({log}), continued from step {step}", f"{cause}（{log}），从第 {step} 步继续")

    return ", ".join(told(next(iter(one.get("codes") or ()), "?"), one.get("log"), one.get("step")).render(lang)
                     for one in record.attempts)


def _progress(progress: Progress, lang: str) -> str:
    words = [Text(f"step {progress.step}/{progress.steps}", f"第 {progress.step}/{progress.steps} 步").render(lang)
             if progress.step is not None and progress.steps else "",
             f"loss {progress.loss:.6g}" if progress.loss is not None else "",
             Text(f"{progress.speed:.3g} s a step", f"每步 {progress.speed:.3g} 秒").render(lang) if progress.speed else ""]
    return ", ".join(word for word in words if word)


def _places(folder: Path, record: RunRecord, lang: str) -> list[tuple[Text, str]]:
    swanlab = record.swanlab
    output = str(Path(record.cwd, record.output_dir)) if record.output_dir else ""
    return [
        (Text("record", "记录"), str(folder) + _moved(folder, lang)),
        (Text("log", "日志"), str(log_of(folder, record)) if record.kind == "run" else ""),
        (Text("output", "输出"), output + _gone(output, lang)),
        (Text("checkpoint", "检查点"), (record.checkpoint or "") + _gone(record.checkpoint, lang)),
        (Text("SwanLab", "SwanLab"), str(swanlab.get("url") or swanlab.get("dir") or "")),
    ]


def _job_rows(entry: Entry, record: RunRecord) -> list[tuple[Text, str]]:
    """What Slurm says of the run's job, and what its nodes said of themselves."""
    slurm, job = record.slurm, entry.job
    if not slurm.get("job"):
        return []
    said = job.why if isinstance(job, Unknown) else ", ".join(filter(None, (job.state, job.reason, job.start))) if job else ""
    rows = [(Text("Slurm's job", "Slurm 作业"), f"{slurm['job']} {said}".strip()),
            (Text("nodes", "节点"), " ".join(map(str, slurm.get("hosts") or ()))),
            (Text("failed node", "出错的节点"), str(slurm.get("failed") or ""))]
    for i, one in enumerate(record.attempts):
        told = ", ".join(str(one[name]) for name in ("started", "ended", "detail", "resumed_from") if one.get(name))
        rows.append((Text(f"attempt {i + 1}", f"第 {i + 1} 次尝试"), told))
    return rows


def _moved(folder: Path, lang: str) -> str:
    """From where a record was moved or copied, as far as its plan says where it was made."""
    before = read_group(folder / "plan.json").get("run_dir")
    if not isinstance(before, str) or os.path.realpath(before) == os.path.realpath(folder):
        return ""
    is_copy = os.path.isfile(os.path.join(before, "run.json"))
    told = Text(f"a copy of {before}", f"{before} 的副本") if is_copy else Text(f"moved from {before}", f"原在 {before}")
    return f"  ({told.render(lang)})"


def _gone(place: str | None, lang: str) -> str:
    return "" if not place or os.path.exists(place) else f"  ({Text('not there any more', '已不存在').render(lang)})"


def _loss_line(entry: Entry) -> str:
    losses = read_curves(entry).of("loss")
    line = sparkline(losses)
    return f"{losses[0]:.4g} {line} {losses[-1]:.4g}" if line else ""


def _some(names: Sequence[str], lang: str) -> str:
    more = len(names) - _MANY
    rest = [Text(f"and {more} more", f"另有 {more} 个").render(lang)] if more > 0 else []
    return ", ".join([*names[:_MANY], *rest])


def _render_upload(record: RunRecord, lang: str) -> str:
    """The command that uploads, at the beginning of a line of its own, so that it can be copied as it is."""
    title = Text("upload the rest with:", "上传其余部分：") if record.unsent else Text("upload it with:", "上传：")
    command = upload_command(record)
    return f"{title.render(lang)}\n{command}" if command else ""


def _render_found(entry: Entry, lang: str, width: int | None) -> str:
    """The findings that the run was started with; recorded in English."""
    found = [f for f in read_json(entry.folder / "findings.json") or [] if isinstance(f, dict)]
    lines = [fill(f"{f.get('code')}  {f.get('summary')}", width, f"  {f.get('severity')}  ", "    ")
             for f in found if f.get("severity") != "info"]
    return "\n".join([Text("findings at the start", "启动时的检查结果").render(lang), *lines]) if lines else ""


def _render_diagnoses(record: RunRecord, lang: str, width: int | None) -> str:
    lines = []
    for one in record.diagnoses:
        place = f" ({record.slurm.get('log') or 'train.log'}:{one['line']})" if one.get("line") else ""
        said = [f"    {one['evidence']}"] if one.get("code") == "unknown" and one.get("evidence") else []
        lines += [fill(f"{one.get('code')}: {one.get('summary')}{place}", width, "  ", "    "), *said,
                  *(f"    -> {fix}" for fix in one.get("fix") or ())]
    title = Text("why it failed", "失败原因") if record.exit_code else Text("what it did not do", "没有达到的目的")
    return "\n".join([title.render(lang), *lines]) if lines else ""


def _render_checkpoints(checkpoints: Sequence[Checkpoint], lang: str) -> str:
    """The newest few and the one to go on from; a long training leaves hundreds."""
    whole = newest_complete(checkpoints)
    shown = [c for i, c in enumerate(checkpoints) if i < _FEW or c is whole]
    lines = [f"  {c.path}" + (f"  ({render_words(c.problem, lang)})" if c.problem else "") for c in shown]
    more = len(checkpoints) - len(shown)
    if more:
        lines.append("  " + Text(f"and {more} more; --json lists them all",
                                 f"另有 {more} 个，--json 可列出全部").render(lang))
    return "\n".join([Text("checkpoints", "检查点").render(lang), *lines]) if lines else ""


def _render_ways(entry: Entry, record: RunRecord, checkpoints: Sequence[Checkpoint], lang: str) -> str:
    """The commands that come next."""
    run = run_word(entry.folder)
    if entry.state == "orphaned":
        return Text(f"the launcher died, but the training is still running; stop it with: swift-fa runs --end {run}",
                    f"启动器已意外退出，但训练仍在运行；停止它：swift-fa runs --end {run}").render(lang)
    if entry.state in ("failed", "interrupted", "unfinished") and newest_complete(checkpoints):
        return Text(f"continue with: swift-fa resume {run}", f"继续训练：swift-fa resume {run}").render(lang)
    if entry.state == "interrupted":
        return Text(f"no checkpoint was saved; start again with: swift-fa rerun {run}",
                    f"还没有保存检查点；重新开始：swift-fa rerun {run}").render(lang)
    commands = next_commands(entry.folder, record) if entry.state == "finished" else ()
    title = Text("next:", "接下来可以：").render(lang)
    return "\n".join([title, *commands]) if commands else ""


def _checkpoints(entry: Entry) -> tuple[Checkpoint, ...]:
    record = entry.record
    return list_checkpoints(Path(record.cwd, record.output_dir)) if record and record.output_dir else ()


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _titled(rows: Sequence[tuple[Text, str]], lang: str, width: int | None) -> str:
    """Titles and values, one a line; what is read and not copied, in several lines where it is long."""
    there = [(title.render(lang), value, width if title.en in _READ else None) for title, value in rows if value]
    wide = max(cells(title) for title, _, _ in there) + 2
    return "\n".join(fill(value, room, f"  {pad(title, wide)}", " " * (wide + 2)) for title, value, room in there)
