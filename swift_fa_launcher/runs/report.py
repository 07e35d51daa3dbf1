"""Runs as text: the list, one run's story, and the words after a training."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swift_fa_launcher.decode import encode
from swift_fa_launcher.errors import Text, render_words
from swift_fa_launcher.runs.record import RunRecord
from swift_fa_launcher.runs.store import Entry

if TYPE_CHECKING:
    from rich.console import RenderableType

_STATES = {"finished": Text("finished", "已完成"), "failed": Text("failed", "失败"),
           "interrupted": Text("interrupted", "已中断"), "unfinished": Text("not finished", "未完成"),
           "damaged": Text("damaged", "已损坏")}
_STYLES = {"finished": "green", "failed": "red", "damaged": "red"}


def run_to_json(folder: Path, record: RunRecord) -> dict[str, Any]:
    """One run for programs."""
    return {"schema": 1, "run_dir": str(folder), **encode(record)}


def entry_to_json(entry: Entry) -> dict[str, Any]:
    """One line of the list for programs; a damaged record says so in `problem`."""
    if entry.record is None:
        return {"run_dir": str(entry.folder), "id": entry.folder.name, "status": "damaged",
                "problem": render_words(entry.problem, "en")}
    return {"run_dir": str(entry.folder), **encode(entry.record)}


def render_list(entries: Sequence[Entry], lang: str) -> RenderableType:
    """The runs as a table, one line each."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in (Text("run", "运行"), Text("state", "状态"), Text("duration", "时长"), Text("started", "开始")):
        table.add_column(title.render(lang), no_wrap=True)
    for entry in entries:
        record = entry.record
        state = record.status if record else "damaged"
        style = _STYLES.get(state, "yellow")
        table.add_row(entry.folder.name, f"[{style}]{_STATES[state].render(lang)}[/]",
                      render_duration(record) if record else "", record.started if record else render_words(entry.problem, lang))
    return table


def render_run(folder: Path, record: RunRecord, lang: str) -> str:
    """One run's story on a screen."""
    rows = [
        (Text("run", "运行"), record.id), (Text("name", "名称"), record.name),
        (Text("state", "状态"), _STATES[record.status].render(lang)
         + (f" ({record.exit_code})" if record.exit_code is not None else "")),
        (Text("started", "开始"), record.started), (Text("ended", "结束"), record.ended or ""),
        (Text("duration", "时长"), render_duration(record)), (Text("tags", "标签"), ", ".join(record.tags)),
        (Text("notes", "备注"), record.notes or ""), (Text("configs", "配置"), ", ".join(record.config_files)),
        (Text("settings", "覆盖项"), " ".join(record.overrides)), *_places(folder, record),
        (Text("detail", "说明"), record.detail or ""),
    ]
    return _aligned([(title.render(lang), value) for title, value in rows if value])


def render_finished(folder: Path, record: RunRecord, lang: str) -> str:
    """The last words of `train`: how it ended and where everything is."""
    ended = Text(f"run {record.id} {record.status}", f"运行 {record.id}：{_STATES[record.status].zh}").render(lang)
    rows = [(title.render(lang), value) for title, value in _places(folder, record) if value]
    return "\n".join([f"{ended} ({record.exit_code}), {render_duration(record)}", _aligned(rows)])


def render_duration(record: RunRecord) -> str:
    """How long the run took: "1h 02m", "3m 07s", "12s"; empty where it has no end."""
    if record.ended is None:
        return ""
    try:
        seconds = int((_moment(record.ended) - _moment(record.started)).total_seconds())
    except ValueError:
        return ""
    minutes, seconds = divmod(max(seconds, 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {seconds:02}s" if minutes else f"{seconds}s"


def _places(folder: Path, record: RunRecord) -> list[tuple[Text, str]]:
    swanlab = record.swanlab
    directory, url = str(swanlab.get("dir") or ""), str(swanlab.get("url") or "")
    upload = f"swanlab sync {shlex.quote(directory)}" if swanlab.get("mode") == "offline" and directory else ""
    return [
        (Text("record", "记录"), str(folder)), (Text("log", "日志"), str(folder / "train.log")),
        (Text("checkpoint", "检查点"), record.checkpoint or ""),
        (Text("SwanLab", "SwanLab"), url or directory),
        (Text("upload it", "上传"), upload),
        (Text("look at it", "查看"), f"swift-fa show {shlex.quote(str(folder))}"),
    ]


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _aligned(rows: Sequence[tuple[str, str]]) -> str:
    from rich.cells import cell_len

    width = max((cell_len(title) for title, _ in rows), default=0)
    return "\n".join(f"  {title}{' ' * (width - cell_len(title))}  {value}" for title, value in rows)
