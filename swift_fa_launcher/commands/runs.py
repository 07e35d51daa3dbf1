"""runs: the list of recorded runs; `--end` stops one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from swift_fa_launcher.commands import DONE
from swift_fa_launcher.commands.options import Parser
from swift_fa_launcher.commands.screen import Progress, print_json, tell, width_of
from swift_fa_launcher.errors import Text

EXAMPLE = "swift-fa runs --outcome failed --since 7d"


def declare(parser: Parser) -> None:
    from swift_fa_launcher.runs.store import STATES

    parser.shared("--root")
    parser.option("--name", metavar="NAME", help=Text(
        "only runs with this name; * and ? match any text", "只列出这个名称的运行；* 和 ? 匹配任意文字"))
    parser.option("--tag", metavar="TAG", help=Text("only runs with this tag", "只列出带这个标签的运行"))
    parser.option("--outcome", choices=STATES, metavar="STATE", help=Text(
        f"only runs in this state: {', '.join(STATES)}", f"只列出处于这个状态的运行：{'、'.join(STATES)}"))
    parser.option("--since", metavar="TIME", help=Text(
        "only runs that started after this time: 2026-11-23, 2026-11-23T18:30, 36h, 7d",
        "只列出此后启动的运行：2026-11-23、2026-11-23T18:30、36h、7d"))
    parser.option("--until", metavar="TIME", help=Text(
        "only runs that started before this time; a date includes that day", "只列出此前启动的运行；写日期则含当天"))
    parser.option("--where", metavar="CONDITION", action="append", default=[], help=Text(
        "only runs for which this holds: swift.lora_rank=8, 'loss<1.5', 'swift.packing!=true' (may be repeated)",
        "只列出满足条件的运行：swift.lora_rank=8、'loss<1.5'、'swift.packing!=true'（可重复）"))
    parser.option("--columns", metavar="A,B", help=Text(
        "show these columns: keys of the config, results (loss, eval_loss, peak_memory_gib), or of the record (notes)",
        "显示这些列：配置的键、结果（loss、eval_loss、peak_memory_gib）或记录中的项（notes）"))
    parser.option("--sort", metavar="COLUMN", help=Text(
        "sort by this column, the smallest first, instead of newest first with children below their parents",
        "按这一列从小到大排序；不写时最新的在前，子运行列在父运行之下"))
    parser.flag("--reverse", Text("sort the other way round", "反向排序"))
    parser.option("--end", metavar="RUN", help=Text(
        "stop this run, even if its launcher died", "停止这次运行，即使其启动器已经退出"))


def run(options: argparse.Namespace) -> int:
    import gc
    from datetime import datetime, timezone

    from swift_fa_launcher.runs import listing, report, store

    if options.end:
        return _end(options)
    gc.disable()  # nothing of a list is garbage before it is printed, and looking for it takes a tenth of the time
    now = datetime.now(timezone.utc)
    names = listing.USUAL if options.columns is None else listing.parse_columns(options.columns)
    conditions = [listing.parse_condition(text) for text in options.where]
    sort = listing.require_column(options.sort) if options.sort else None
    wanted = store.Wanted(options.name, options.tag, options.outcome,
                          store.parse_moment(options.since, now) if options.since else None,
                          store.parse_moment(options.until, now, end=True) if options.until else None)
    root = Path(options.root)
    entries = listing.pick(store.select_runs(store.with_states(store.list_runs(root)), wanted), conditions)
    if sort:
        entries = listing.sort_entries(entries, sort, reverse=options.reverse)
    elif options.reverse:
        entries = entries[::-1]
    if options.json:
        told = [{**report.entry_to_json(entry), **({"columns": listing.values_to_json(entry, names)} if options.columns else {})}
                for entry in entries]
        print_json({"schema": 1, "runs": told}, indent=None)  # indented, thousands take seconds
    elif not entries:
        tell(store.say_none(root, chosen=bool(conditions) or wanted != store.Wanted()), options.lang)
    else:
        rows = listing.as_tree(entries) if not sort else [(0, entry) for entry in entries]
        print(listing.render_list(rows, names, options.lang, width_of(sys.stdout)))
        if root.absolute() != Path("runs").absolute():  # found, maybe, where nobody named it
            tell(Text(f"runs in {root}", f"{root} 中的运行"), options.lang)
    return DONE


def _end(options: argparse.Namespace) -> int:
    from swift_fa_launcher.runs import report
    from swift_fa_launcher.stories import launch as story

    entry = story.end(Path(options.root), options.end, say=Progress(options.lang).say)
    if options.json:
        print_json(report.run_to_json(entry))
    return DONE
