"""A report: one HTML file on one or several runs, which needs nothing but a browser.

The curves are drawn by uPlot (page_files/, 1.6.32 as npm has it, MIT licence), which stands in the file with everything else.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from swift_fa_launcher import __version__
from swift_fa_launcher.errors import Text, Words, in_both, render_words
from swift_fa_launcher.files import read_group, read_json, text_of
from swift_fa_launcher.runs.curves import SERIES, Curves, read_curves, thinned
from swift_fa_launcher.runs.diff import Row
from swift_fa_launcher.runs.listing import compare_entries, show_value
from swift_fa_launcher.runs.monitor import figure, read_measured, read_monitor_lines, render_measured
from swift_fa_launcher.runs.record import RunRecord
from swift_fa_launcher.runs.report import render_duration, say_group, say_state, short_moment
from swift_fa_launcher.runs.store import Entry

GENERATOR = "swift-fa report"
_FILES = Path(__file__).parent / "page_files"
_POINTS, _FEWEST = 9000, 60  # steps of all runs together, which keep the page below 1 MB; of one run at least
_NAMED = 5  # runs in the title
_SHORT = 24  # characters of a value that is not broken
_LONG = 20_000  # characters of a text that is shown whole
_CHARTS = (("loss eval_loss", Text("Loss (dashed: evaluation)", "损失（虚线：评估）")),
           ("learning_rate", Text("Learning rate", "学习率")), ("grad_norm", Text("Gradient norm", "梯度范数")),
           ("tokens_per_second", Text("Real tokens a second", "每秒真实 token 数")),
           ("peak_memory_gib", Text("Peak memory, GiB", "峰值内存（GiB）")))
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_TEXTS = {"steps": Text("step", "步"), "tokens": Text("tokens", "token 数"), "nothing": Text("nothing was logged", "没有记录")}
_FORETOLD = (("tokens_per_second", Text("tokens/s", "tokens/s")), ("step_seconds", Text("seconds a step", "每步秒数")),
             ("peak_gib", Text("allocated memory, GiB", "已分配显存（GiB）")))


@dataclass(frozen=True)
class _Run:
    """What the page shows of a run."""

    entry: Entry
    record: RunRecord
    curves: Curves
    label: str


def render_page(runs: Sequence[tuple[Entry, RunRecord]], lang: str, now: datetime) -> str:
    """The page in both languages, shown in `lang` first. Reads the runs' files."""
    most = max(_FEWEST, _POINTS // len(runs))
    names = [record.name for _, record in runs]
    shown = [_Run(entry, record, read_curves(entry), record.name if names.count(record.name) == 1 else record.id)
             for entry, record in runs]
    some = ", ".join([*dict.fromkeys(names)][:_NAMED]) + (", ..." if len({*names}) > _NAMED else "")
    title = Text(shown[0].label, shown[0].label) if len(shown) == 1 else Text(f"{len(shown)} runs: {some}",
                                                                              f"{len(shown)} 个运行：{some}")
    data = {"runs": [_data(run, most) for run in shown],
            "texts": {name: {"en": text.en, "zh": text.zh} for name, text in _TEXTS.items()}}
    rows = compare_entries([run.entry for run in shown]) if len(shown) > 1 else ()
    parts = [_header(title, now), "<main>", _table(shown), _charts(), _differences(shown, rows) if len(shown) > 1 else "",
             f"<h2>{_both(Text('Each run', '各个运行'))}</h2>", *(_story(run, is_open=len(shown) == 1) for run in shown),
             "</main>"]
    return _whole(title, lang, "\n".join(parts), data)


def _whole(title: Text, lang: str, body: str, data: Mapping[str, Any]) -> str:
    styles, scripts = ((text_of(_FILES / names[0]), text_of(_FILES / names[1])) for names in (
        ("uPlot.min.css", "page.css"), ("uPlot.iife.min.js", "page.js")))
    told = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return "\n".join([
        "<!DOCTYPE html>", f'<html lang="{lang}" data-lang="{lang}">', '<head><meta charset="utf-8">',
        f'<meta name="generator" content="{GENERATOR} {__version__}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">', f"<title>{escape(title.render(lang))}</title>",
        f"<!-- uPlot:\n{text_of(_FILES / 'uPlot.LICENSE')}-->", *(f"<style>{style}</style>" for style in styles),
        "</head>", "<body>", body,
        f'<script type="application/json" id="data">{told}</script>', *(f"<script>{script}</script>" for script in scripts),
        "</body></html>", ""])


def _both(words: Words) -> str:
    """The words in both languages, of which the page shows one."""
    if isinstance(words, str) or words.en == words.zh:
        return escape(render_words(words, "en"))
    return f'<span lang="en">{escape(words.en)}</span><span lang="zh">{escape(words.zh)}</span>'


def _header(title: Text, now: datetime) -> str:
    at = f"{now.astimezone():%Y-%m-%d %H:%M}"
    written = Text(f"swift-fa {__version__}, {at}", f"swift-fa {__version__}，{at}")
    buttons = (("axis", Text("over tokens", "按 token 数"), ' aria-pressed="false"'), ("lang", Text("中文", "English"), ""),
               ("theme", Text("light / dark", "浅色 / 深色"), ""))
    return (f"<header><h1>{_both(title)}</h1><p>{_both(written)}</p><nav>"
            + " ".join(f'<button type="button" id="{name}"{more}>{_both(text)}</button>' for name, text, more in buttons)
            + "</nav></header>")


def _table(runs: Sequence[_Run]) -> str:
    titles = (Text("run", "运行"), Text("state", "状态"), Text("started", "开始"), Text("duration", "时长"), Text("step", "步数"),
              Text("loss", "损失"), Text("eval loss", "评估损失"), Text("tokens/s", "tokens/s"), Text("peak GiB", "峰值 GiB"),
              Text("tags", "标签"), Text("notes", "备注"))
    head = "".join(f"<th scope=col>{_both(title)}</th>" for title in titles)
    return (f"<h2>{_both(Text('Runs', '运行'))}</h2>" + _scrolled(f"<thead><tr>{head}</tr></thead><tbody>"
            + "".join(_table_row(at, run) for at, run in enumerate(runs)) + "</tbody>", "runs"))


def _table_row(at: int, run: _Run) -> str:
    entry, record, progress = run.entry, run.record, run.entry.progress
    evaluated = run.curves.of("eval_loss")
    step = "" if progress.step is None else f"{progress.step}/{progress.steps}" if progress.steps else str(progress.step)
    speed, memory = (figure(_measured(entry), name) for name in ("tokens_per_second", "peak_memory_gib"))
    numbers = (step, show_value(progress.loss), show_value(evaluated[-1]) if evaluated else "",
               "" if speed is None else f"{speed:,.0f}", "" if memory is None else f"{memory:.1f}")
    name = (f'<label><input type="checkbox" data-run="{at}" checked><i class="swatch" data-swatch="{at}"></i>'
            f"<span>{at + 1}. {escape(run.label)}</span></label>")
    state = in_both(lambda lang: say_state(entry.state, lang))
    started = short_moment(record.started)
    return (f'<tr><th scope=row class="run">{name}</th><td>{_both(state)}</td><td>{escape(started)}</td>'
            f"<td>{escape(render_duration(record))}</td>"
            + "".join(f'<td class="number">{escape(number)}</td>' for number in numbers)
            + f"<td>{escape(', '.join(record.tags))}</td><td>{escape(record.notes or '')}</td></tr>")


def _charts() -> str:
    keys = Text("Drag to zoom, double-click to see all. Keyboard, on a chart: ← → move, ↑ ↓ choose a run, + - zoom, 0 shows all.",
                "拖动可放大，双击恢复。键盘（焦点在图上时）：← → 移动，↑ ↓ 选择运行，+ - 缩放，0 恢复。")
    figures = (f'<figure data-series="{series}" tabindex="0" role="group" aria-label="{escape(title.en)} / {escape(title.zh)}">'
               f'<figcaption>{_both(title)}<output aria-live="polite"></output></figcaption><div class="plot"></div></figure>'
               for series, title in _CHARTS)
    return (f"<h2>{_both(Text('Curves', '曲线'))}</h2><p class=keys>{_both(keys)}</p>"
            f'<div class="charts">{"".join(figures)}</div>')


def _data(run: _Run, most: int) -> dict[str, Any]:
    """The curves for the page, in six digits."""
    curves = thinned(run.curves, most)
    return {"name": run.label, "steps": curves.steps, "tokens": curves.tokens,
            **{name: [None if value is None else float(f"{value:.6g}") for value in curves.series.get(name, ())]
               for name in SERIES if curves.of(name)}}


def _differences(runs: Sequence[_Run], rows: Sequence[Row]) -> str:
    head = "".join(f'<th scope=col title="{escape(run.label)}">{at}. <i class="swatch" data-swatch="{at - 1}"></i></th>'
                   for at, run in enumerate(runs, 1))
    lines = []
    for group, members in groupby(rows, key=lambda row: row.group):
        lines.append(f'<tr><th scope=row class="group">{_both(say_group(group))}</th>'
                     f'<td class="group" colspan="{len(runs)}"></td></tr>')
        lines += [f"<tr><th scope=row>{escape(row.key)}</th>"
                  + "".join(map(_cell, row.values)) + "</tr>" for row in members]
    body = "".join(lines) or f"<tr><td>{_both(Text('no difference', '没有差异'))}</td></tr>"
    return (f"<h2>{_both(Text('What differs', '差异'))}</h2>"
            + _scrolled(f"<thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody>", "differs"))


def _cell(value: Any) -> str:
    """A short value stays on one line."""
    text = show_value(value)
    return f"<td{' class=short' if len(text) <= _SHORT else ''}>{escape(text)}</td>"


def _story(run: _Run, *, is_open: bool) -> str:
    """A run's findings, what was foretold and came, its environment, command and config."""
    entry, record = run.entry, run.record
    facts, monitor = read_group(entry.folder / "facts.json"), read_group(entry.folder / "monitor.json")
    measured = in_both(lambda lang: render_measured(_measured(entry), lang))
    parts = [f"<p>{_both(measured)}</p>" if measured.en else "",
             _list(Text("Why it failed", "失败原因"), (_found(one, "error") for one in record.diagnoses)),
             _list(Text("Findings at the start", "启动时的检查结果"),
                   (_found(one, str(one.get("severity"))) for one in _groups(read_json(entry.folder / "findings.json")))),
             _foretold(run, facts), _environment(run, facts, monitor),
             _text(Text("Command", "命令"), shlex.join(record.command)),
             _text(Text("Config", "配置"), text_of(entry.folder / "config.yaml"))]
    opened = " open" if is_open else ""
    return f"<details{opened}><summary>{escape(run.label)} <small>{escape(record.id)}</small></summary>{''.join(parts)}</details>"


def _found(one: Mapping[str, Any], severity: str) -> str:
    fixes = "".join(f"<li><code>{escape(str(fix))}</code></li>" for fix in one.get("fix") or ())
    return (f'<li><b class="{escape(severity)}">{escape(str(one.get("code")))}</b> {escape(str(one.get("summary")))}'
            + (f"<ul>{fixes}</ul>" if fixes else "") + "</li>")


def _foretold(run: _Run, facts: Mapping[str, Any]) -> str:
    """What the rehearsal said, beside what the training measured."""
    rehearsal = facts.get("rehearsal")
    if not isinstance(rehearsal, Mapping) or "unknown" in rehearsal:
        return ""
    lines = read_monitor_lines(run.entry.folder)
    allocated = figure(lines[-1], "allocated_gib") if lines else None
    came = {"tokens_per_second": figure(_measured(run.entry), "tokens_per_second"), "peak_gib": allocated or None,
            "step_seconds": run.entry.progress.speed}
    rows = []
    for name, title in _FORETOLD:
        said, real = figure(rehearsal, name), came[name]
        if said is not None:
            off = f"{said / real - 1:+.1%}" if real else ""
            rows.append(f'<tr><th scope=row>{_both(title)}</th><td class="number">{_amount(said)}</td><td class="number">'
                        f'{"" if real is None else _amount(real)}</td><td class="number">{off}</td></tr>')
    head = "".join(f"<th scope=col>{_both(one)}</th>" for one in (
        "", Text("foretold", "预测"), Text("measured", "实测"), Text("off by", "偏差")))
    table = _scrolled(f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>")
    return f"<h3>{_both(Text('Rehearsal and reality', '预演与实际'))}</h3>{table}" if rows else ""


def _amount(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:.4g}"


def _environment(run: _Run, facts: Mapping[str, Any], monitor: Mapping[str, Any]) -> str:
    host, python, torch, driver = (_group(facts.get(name)) for name in ("host", "python", "torch", "driver"))
    gpus = [f"{gpu.get('name')}, {gpu.get('memory_gib')} GiB" for gpu in _groups(facts.get("gpus"))]
    versions = _group(monitor.get("versions"))
    git = read_group(run.entry.folder / "git.json")
    rows: list[tuple[Words, Any]] = [
        (Text("host", "主机"), run.record.host), (Text("system", "系统"), host.get("os")), ("glibc", host.get("glibc")),
        ("Python", python.get("version")), ("torch", torch.get("version")), ("CUDA", torch.get("cuda")),
        (Text("driver", "驱动"), driver.get("version")),
        ("GPU", ", ".join(f"{len([*same])} × {name}" for name, same in groupby(gpus))),
        *((name, version) for name, version in versions.items() if name != "torch"), ("git", git.get("commit")),
        (Text("folder", "目录"), run.record.cwd), (Text("record", "记录"), str(run.entry.folder)),
        (Text("checkpoint", "检查点"), run.record.checkpoint), (Text("made from", "来自"), run.record.parent),
        ("SwanLab", run.record.swanlab.get("url"))]
    told = "".join(f"<tr><th scope=row>{_both(title)}</th><td>{escape(str(value))}</td></tr>" for title, value in rows
                   if value and not isinstance(value, Mapping))
    return f"<h3>{_both(Text('Environment', '环境'))}</h3>{_scrolled(f'<tbody>{told}</tbody>')}"


def _text(title: Text, text: str) -> str:
    cut = text if len(text) <= _LONG else f"{text[:_LONG]}\n..."
    return f"<h3>{_both(title)}</h3><pre tabindex=0>{escape(cut)}</pre>" if text else ""


def _list(title: Text, lines: Iterable[str]) -> str:
    told = "".join(lines)
    return f"<h3>{_both(title)}</h3><ul>{told}</ul>" if told else ""


def _scrolled(table: str, name: str = "") -> str:
    return f'<div class="scroll" tabindex="0"><table class="{name}">{table}</table></div>'


def _measured(entry: Entry) -> Mapping[str, Any]:
    return entry.measured or read_measured(entry.folder)


def _group(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _groups(value: Any) -> Iterator[Mapping[str, Any]]:
    return (one for one in (value if isinstance(value, list) else ()) if isinstance(one, Mapping))
