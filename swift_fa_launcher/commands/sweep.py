"""sweep: one config with every combination of several values, one recorded run each."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from swift_fa_launcher.commands import DONE, REFUSED, screen
from swift_fa_launcher.commands.options import Parser, allowed, split_words
from swift_fa_launcher.errors import Text, UsageError

if TYPE_CHECKING:
    from swift_fa_launcher.stories.sweep import Checked, Ended, Sweep

EXAMPLE = "swift-fa sweep swift-fa:qwen7b swift.learning_rate=1e-4,2e-4"


def declare(parser: Parser) -> None:
    parser.config_words(needed=False)
    parser.option("--parallel", type=int, metavar="N", help=Text(
        "runs at once (default: as many as there are GPUs for, 1 without any; jobs of Slurm: as many as it lets)",
        "同时运行的个数（默认由 GPU 数决定，没有 GPU 时为 1；Slurm 作业由 Slurm 决定）"))
    parser.option("--random", type=int, metavar="N", help=Text(
        "only N of the combinations, the same ones each time", "只取其中 N 种组合，每次取法相同"))
    parser.option("--overlays", metavar="FILE", help=Text(
        "a YAML file; each of its documents is a group of settings to try",
        "YAML 文件，其中每个文档是一组要尝试的设置"))
    parser.option("--continue", dest="again", metavar="RUN", help=Text(
        "go on with this sweep instead; so does the same command again", "继续这个 sweep；重复同一命令也会继续"))
    parser.flag("--dry-run", Text("check all runs and list them; start nothing", "检查并列出所有运行，不启动"))
    parser.shared("--wait", "--no-install", "--allow", "--root")


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.findings.finding import blocking
    from swift_fa_launcher.stories import sweep as story

    sweep, progress = _sweep(options), screen.Progress(options.lang)
    if sweep.folder is not None:
        progress.say(Text(f"continuing {sweep.folder.name}", f"继续 {sweep.folder.name}"))
    checked = story.check_sweep(sweep, install=not options.no_install and not options.dry_run, voice=progress)
    _show_findings(checked, options.lang)
    if options.dry_run:
        _print_members(sweep, options)
        return REFUSED if any(blocking(judgement.findings) for judgement in checked.judgements.values()) else DONE
    story.refuse_blocked(checked)
    ended = story.run_sweep(checked, parallel=options.parallel, command=("swift-fa", *sys.argv[1:]), voice=progress,
                            wait=options.wait)
    return _tell_end(ended, options)


def _sweep(options: argparse.Namespace) -> Sweep:
    from swift_fa_launcher.config.grid import values_meant
    from swift_fa_launcher.config.render import quoted
    from swift_fa_launcher.secrets import strike_assigned
    from swift_fa_launcher.stories import sweep as story

    for name in ("parallel", "random"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise UsageError("option-invalid", Text(f"--{name} must be 1 or more", f"--{name} 至少为 1"),
                             hint=("swift-fa sweep --help",))
    if options.again:
        if options.words or options.overlays or options.random:
            raise UsageError("options-conflict", Text("--continue takes no settings", "--continue 不接受设置"),
                             hint=("swift-fa sweep --continue latest",))
        return story.continue_sweep(Path(options.root).absolute(), options.again)
    files, words = split_words(options)
    try:
        return story.plan_sweep(files, words, overlays=Path(options.overlays) if options.overlays else None,
                                count=options.random, allow=allowed(options.allow))
    except UsageError as error:
        if error.code == "sweep-of-nothing" and (meant := values_meant(words)):
            others = [word for word in words if word.partition("=")[0] not in {each.partition("=")[0] for each in meant}]
            error.hint = (strike_assigned(" ".join(["swift-fa sweep", *map(quoted, (*map(str, files), *others, *meant))])),)
        raise


def _show_findings(checked: Checked, lang: str) -> None:
    """The findings of each member that has others than the one before."""
    shown = None
    for judgement in checked.judgements.values():
        if judgement.findings and judgement.findings != shown:
            screen.tell(judgement.config.run.name or "", lang)
            screen.print_table(judgement, lang, to_stderr=True)
        shown = judgement.findings


def _print_members(sweep: Sweep, options: argparse.Namespace) -> None:
    members = [dict(setting.split("=", 1) for setting in member) for member in sweep.plan.members]
    if options.json:
        screen.print_json({"schema": 1, "members": members})
        return
    for number, member in enumerate(sweep.plan.members, 1):
        print(f"{number}  {' '.join(member)}")


def _tell_end(ended: Ended, options: argparse.Namespace) -> int:
    from swift_fa_launcher.runs.store import run_word
    from swift_fa_launcher.runs.sweeps import members_to_json, render_members

    if options.json:
        screen.print_json(members_to_json(ended.folder, ended.members))
    else:
        print(render_members(ended.members, options.lang))
    if ended.asked:
        command = f"swift-fa sweep --continue {run_word(ended.folder)}"
        screen.tell(Text(f"go on with: {command}", f"继续：{command}"), options.lang)
        return 128 + ended.asked
    good = ("finished",) if options.wait else ("finished", "queued", "running")  # jobs of Slurm go on by themselves
    return DONE if all(member.state in good for member in ended.members) else REFUSED
