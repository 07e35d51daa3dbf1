"""rerun: a recorded config through today's launcher, or with --exact the recorded command."""

from __future__ import annotations

import argparse
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from swift_fa_launcher.commands.options import Parser, allowed
from swift_fa_launcher.commands.screen import Progress, tell
from swift_fa_launcher.commands.train import start
from swift_fa_launcher.errors import LauncherError, Text, UsageError, render_words

if TYPE_CHECKING:
    from swift_fa_launcher.stories.launch import Again

EXAMPLE = "swift-fa rerun latest swift.seed=2"


def declare(parser: Parser) -> None:
    declare_again(parser)
    parser.flag("--exact", Text("use the recorded command unchanged except for the run's id and folder; takes no settings",
                                "原样使用记录的命令，只换运行的 id 和文件夹；不接受设置"))
    parser.flag("--verify", Text("compute in a fixed order, then compare every logged step with the recorded run",
                                 "按固定顺序计算，然后逐步与记录的运行比较"))
    parser.flag("--strict", Text("do not start if anything that can change the result differs",
                                 "只要有可能影响结果的差异，就不启动"))


def declare_again(parser: Parser) -> None:
    """What `rerun` and `resume` have in common."""
    parser.run_word()
    parser.option("words", nargs="*", default=[], metavar="key=value", help=Text(
        "settings that win over the recorded ones", "优先于记录的设置"))
    parser.flag("--dry-run", Text("print the differences and the command; start nothing", "只打印差异和命令，不启动"))
    parser.shared("--wait", "--no-install", "--allow", "--root")


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.runs.store import root_words
    from swift_fa_launcher.runs.verify import DETERMINISTIC
    from swift_fa_launcher.stories import launch as story

    option = "--exact" if options.exact else "--verify"
    if (options.exact or options.verify) and options.words:
        raise UsageError("options-conflict", Text(f"{option} takes no settings", f"{option} 不接受设置"),
                         hint=(shlex.join(["swift-fa", "rerun", options.run, option, *root_words(Path(options.root))]),))
    if options.exact and options.verify:
        raise UsageError("options-conflict", Text("--exact and --verify exclude each other: --verify sets what fixes the order",
                                                  "--exact 与 --verify 不能同用：--verify 会设置固定计算顺序的选项"),
                         hint=(f"swift-fa rerun {shlex.quote(options.run)} --verify",))
    words = DETERMINISTIC if options.verify else options.words
    again = story.rerun(Path(options.root).absolute(), options.run, words, exact=options.exact,
                        allow=allowed(options.allow), say=Progress(options.lang).say)
    print_again(again, options.lang)
    if options.strict and again.unexpected:
        raise LauncherError("rerun-differs",
                            Text(f"not started: {len(again.unexpected)} differences could change the result",
                                 f"未启动：有 {len(again.unexpected)} 处差异可能改变结果"),
                            why=", ".join(f"{one.group}: {one.key}" for one in again.unexpected[:8]))
    return start(again.prepared, options, install=not (options.no_install or options.exact),
                 held=partial(story.hold_against, again) if options.verify else None)


def print_again(again: Again, lang: str) -> None:
    """From where a run is continued, and what differs from it."""
    from swift_fa_launcher.runs.report import render_differences

    there = again.continuation
    for checkpoint in there.skipped if there else ():
        tell(Text(f"skipping {checkpoint.path}: {render_words(checkpoint.problem, 'en')}",
                  f"跳过 {checkpoint.path}：{render_words(checkpoint.problem, 'zh')}"), lang)
    if there:
        tell(Text(f"continuing from {there.checkpoint.path}", f"从 {there.checkpoint.path} 继续"), lang)
        if there.words:
            tell(there.words, lang)
    tell(Text(f"differences from {again.prepared.parent}:", f"与 {again.prepared.parent} 的差异："), lang)
    print(render_differences(again.differences, lang), file=sys.stderr)
