"""prune: remove old records, or checkpoints alone; without `--yes` only say what would go."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from swift_fa_launcher.commands import DONE
from swift_fa_launcher.commands.options import Parser
from swift_fa_launcher.commands.screen import print_json, tell
from swift_fa_launcher.errors import Text, UsageError, render_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swift_fa_launcher.runs.prune import Removal
    from swift_fa_launcher.runs.store import Entry

EXAMPLE = "swift-fa prune --outcome failed --older-than 30d"
_CHOICES = ("older_than", "outcome", "tag", "parent", "name")


def declare(parser: Parser) -> None:
    from swift_fa_launcher.runs.store import STATES

    parser.option("--older-than", metavar="TIME", help=Text(
        "runs that started before this: 30d, 36h, 2026-11-23", "此前启动的运行：30d、36h、2026-11-23"))
    parser.option("--outcome", choices=STATES, metavar="STATE", help=Text(
        "runs in this state, such as failed", "处于这个状态的运行，如 failed"))
    parser.option("--tag", metavar="TAG", help=Text("runs with this tag", "带这个标签的运行"))
    parser.option("--parent", metavar="RUN", help=Text("runs made from this one", "由这个运行派生的运行"))
    parser.option("--name", metavar="NAME", help=Text(
        "runs with this name; * and ? match any text", "这个名称的运行；* 和 ? 匹配任意文字"))
    parser.flag("--checkpoints", Text("remove the checkpoints alone; the records stay", "只删除检查点，保留记录"))
    parser.flag("--yes", Text("remove; without it, only show what would go", "真正删除；不写则只显示将删除什么"))
    parser.shared("--root")


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.runs import prune, store

    if not any(getattr(options, name) for name in _CHOICES):
        raise UsageError("option-invalid", Text("no runs were chosen", "没有选择运行"), hint=(EXAMPLE,))
    everything = store.with_states(store.list_runs(Path(options.root)))
    removals = prune.plan_removals(_pick(options, everything), everything, checkpoints=options.checkpoints)
    if options.yes:
        removals = tuple(one if one.kept else replace(one, kept=prune.remove(one, everything)) for one in removals)
    if options.json:
        print_json(prune.removals_to_json(removals, done=options.yes))
    else:
        _print(options, removals)
    return DONE


def _pick(options: argparse.Namespace, everything: Sequence[Entry]) -> tuple[Entry, ...]:
    from datetime import datetime, timezone

    from swift_fa_launcher.runs import store

    until = store.parse_moment(options.older_than, datetime.now(timezone.utc)) if options.older_than else None
    picked = store.select_runs(everything, store.Wanted(options.name, options.tag, options.outcome, until=until))
    if options.parent:
        parent = store.find_run(Path(options.root), options.parent).folder.name
        picked = tuple(entry for entry in picked if entry.record and entry.record.parent == parent)
    return picked if options.outcome == "damaged" else tuple(entry for entry in picked if entry.record)


def _print(options: argparse.Namespace, removals: Sequence[Removal]) -> None:
    from swift_fa_launcher.layout import columns, render_size
    from swift_fa_launcher.runs.prune import list_own_checkpoints, size_of
    from swift_fa_launcher.runs.report import say_state

    going = [one for one in removals if not one.kept]
    lines = [[one.entry.folder.name, say_state(one.entry.state, options.lang),
              Text("stays: ", "保留：").render(options.lang) + render_words(one.kept, options.lang) if one.kept
              else render_size(one.size)] for one in removals]
    if lines:
        print(columns(lines))
    size = render_size(sum(one.size for one in going))
    what = Text("checkpoints of ", "的检查点") if options.checkpoints else Text("", "")
    verb = Text("removed: ", "已删除：") if options.yes else Text("would be removed: ", "将删除：")
    tell(Text(f"{verb.en}{what.en}{len(going)} of {len(removals)} runs, {size}",
              f"{verb.zh}{len(removals)} 个运行中的 {len(going)} 个{what.zh}，共 {size}"), options.lang)
    if going and not options.yes:
        if left := 0 if options.checkpoints else sum(size_of(path) for one in going for path in list_own_checkpoints(one.entry)):
            first = _again(options, "--checkpoints")
            tell(Text(f"their checkpoints stay, {render_size(left)}; to remove these first: {first}",
                      f"它们的检查点会保留，共 {render_size(left)}；如要先删除检查点：{first}"), options.lang)
        tell(Text(f"remove: {_again(options)}", f"删除：{_again(options)}"), options.lang)


def _again(options: argparse.Namespace, *more: str) -> str:
    """The same command with --yes."""
    from swift_fa_launcher.runs.store import root_words

    given = [(f"--{name.replace('_', '-')}", getattr(options, name)) for name in _CHOICES if getattr(options, name)]
    flags = [*(["--checkpoints"] if options.checkpoints else more), "--yes"]
    return shlex.join(["swift-fa", "prune", *(word for pair in given for word in pair), *root_words(Path(options.root)), *flags])
