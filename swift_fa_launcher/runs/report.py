"""Runs as text: the list, one run's story, what differs between two, and the words after a training."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path
from typing import Any

from swift_fa_launcher.decode import Unknown, encode
from swift_fa_launcher.errors import Text, render_words
from swift_fa_launcher.files import read_json
from swift_fa_launcher.layout import cells, columns, fill, pad
from swift_fa_launcher.runs.after import next_commands
from swift_fa_launcher.runs.diff import Difference
from swift_fa_launcher.runs.monitor import figure, read_measured, read_monitor, render_measured
from swift_fa_launcher.runs.output import Checkpoint, Progress, list_checkpoints, newest_complete
from swift_fa_launcher.runs.record import RunRecord, log_of
from swift_fa_launcher.runs.store import Entry, moment_of, run_word

_STATES = {"finished": Text("finished", "已完成"), "failed": Text("failed", "失败"),
           "interrupted": Text("interrupted", "已中断"), "unfinished": Text("not finished", "未完成"),
           "running": Text("running", "运行中"), "orphaned": Text("still running", "仍在运行"),
           "queued": Text("queued", "排队中"), "unknown": Text("unknown", "未知"), "damaged": Text("damaged", "已损坏")}
_GROUPS = {"config": Text("config", "配置"), "command": Text("command", "命令"), "environment": Text("environment", "环境变量"),
           "packages": Text("packages", "软件包"), "wheel": Text("flash-attn", "flash-attn"), "machine": Text("machine", "机器"),
           "git": Text("git", "git"), "data": Text("data and models", "数据和模型"), "result": Text("result", "结果")}
_FEW = 3  # checkpoints on a screen
_READ = ("progress", "measured", "tags", "notes", "detail")  # of a run's values; the others are paths, names and settings


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


def render_list(entries: Sequence[Entry], lang: str, width: int | None = None) -> str:
    """The runs as a table, one line each; where that is wider than `width`, the figures below the run. Plain text: thousands
    of lines are to be there at once."""
    titles = [Text("run", "运行"), Text("state", "状态"), Text("duration", "时长"), Text("step", "步数"), Text("loss", "损失"),
              Text("tokens/s", "tokens/s"), Text("tags", "标签")]
    rows = [[title.render(lang) for title in titles], *(_line(entry, lang) for entry in entries)]
    table = columns(rows)
    if width is None or max(map(cells, table.splitlines())) <= width:
        return table
    figures = columns([row[1:-1] for row in rows]).splitlines()
    wide = max(map(cells, figures)) + 2
    return "\n".join(f"{row[0]}\n{fill(' ' * (wide - cells(told)) + row[-1], width, f'  {told}', ' ' * (wide + 2)).rstrip()}"
                     for row, told in zip(rows, figures, strict=True))


def render_run(entry: Entry, record: RunRecord, lang: str, width: int | None = None) -> str:
    """One run's story on a screen: what it was, how it went, what was found, what it left. Paths and commands are not broken."""
    state = _STATES[entry.state].render(lang) if entry.state in _STATES else entry.state
    checkpoints = _checkpoints(entry)
    rows = [
        (Text("run", "运行"), record.id), (Text("name", "名称"), record.name),
        (Text("state", "状态"), state + (f" ({record.exit_code})" if record.exit_code is not None else "")),
        (Text("started", "开始"), record.started), (Text("ended", "结束"), record.ended or ""),
        (Text("duration", "时长"), render_duration(record)), (Text("progress", "进度"), _progress(entry.progress, lang)),
        (Text("measured", "实测"), render_measured(_measured(entry), lang)), (Text("made from", "来自"), _parent(record, lang)),
        *_job_rows(entry, record),
        (Text("tags", "标签"), ", ".join(record.tags)), (Text("notes", "备注"), record.notes or ""),
        (Text("configs", "配置"), ", ".join(record.config_files)), (Text("settings", "覆盖项"), " ".join(record.overrides)),
        *_places(entry.folder, record), (Text("detail", "说明"), record.detail or ""),
    ]
    parts = [_titled(rows, lang, width), _render_found(entry, lang, width),
             _render_diagnoses(record, lang, width), _render_checkpoints(checkpoints, lang), _render_upload(record, lang),
             _render_ways(entry, record, checkpoints, lang)]
    return "\n\n".join(part for part in parts if part)


def render_finished(folder: Path, record: RunRecord, lang: str, width: int | None = None) -> str:
    """The last words of `train`: how it ended and where everything is."""
    ended = Text(f"run {record.id} {record.status}", f"运行 {record.id}：{_STATES[record.status].zh}").render(lang)
    rows = [*_places(folder, record), (Text("look at it", "查看"), f"swift-fa show {shlex.quote(str(folder))}")]
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


def _line(entry: Entry, lang: str) -> list[str]:
    record, state, progress = entry.record, entry.state, entry.progress
    said = _STATES[state].render(lang) if state in _STATES else state
    if record is None:
        return [entry.folder.name, said, render_words(entry.problem, lang)]
    now = datetime.now(timezone.utc) if state in ("running", "orphaned") else None
    step = "" if progress.step is None else f"{progress.step}/{progress.steps}" if progress.steps else str(progress.step)
    speed = figure(entry.measured, "tokens_per_second")
    return [entry.folder.name, said, render_duration(record, now), step,
            "" if progress.loss is None else f"{progress.loss:.4g}", "" if speed is None else f"{speed:,.0f}",
            ", ".join(record.tags)]


def _measured(entry: Entry) -> Any:
    """What the record keeps of the monitor; of one without, what the monitor's files say from the first step on."""
    return encode(entry.record.measured if entry.record else {}) or read_measured(entry.folder)


def _parent(record: RunRecord, lang: str) -> str:
    if record.resumed_from:
        return Text(f"{record.parent}, continued from {record.resumed_from}",
                    f"{record.parent}，从 {record.resumed_from} 续训").render(lang)
    return record.parent or ""


def _progress(progress: Progress, lang: str) -> str:
    words = [Text(f"step {progress.step}/{progress.steps}", f"第 {progress.step}/{progress.steps} 步").render(lang)
             if progress.step is not None and progress.steps else "",
             f"loss {progress.loss:.6g}" if progress.loss is not None else "",
             Text(f"{progress.speed:.3g} s a step", f"每步 {progress.speed:.3g} 秒").render(lang) if progress.speed else ""]
    return ", ".join(word for word in words if word)


def _places(folder: Path, record: RunRecord) -> list[tuple[Text, str]]:
    swanlab = record.swanlab
    return [
        (Text("record", "记录"), str(folder)), (Text("log", "日志"), str(log_of(folder, record))),
        (Text("output", "输出"), str(Path(record.cwd, record.output_dir)) if record.output_dir else ""),
        (Text("checkpoint", "检查点"), record.checkpoint or ""),
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
