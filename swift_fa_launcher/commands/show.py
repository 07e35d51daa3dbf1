"""show: one recorded run on a screen."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from swift_fa_launcher.commands import DONE
from swift_fa_launcher.commands.options import Parser
from swift_fa_launcher.commands.screen import holds_chinese, print_json, width_of
from swift_fa_launcher.errors import Text

EXAMPLE = "swift-fa show latest"


def declare(parser: Parser) -> None:
    parser.run_word()
    parser.shared("--root")
    parser.flag("--requirements", Text("print a pip requirements file with the packages of the run",
                                       "打印该运行所用各包的 pip requirements 文件"))


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.runs import report, store, sweeps
    from swift_fa_launcher.runs.requirements import render_requirements

    entry, record = store.readable_run(Path(options.root), options.run)
    if options.requirements:
        print(render_requirements(entry.folder), end="")
    elif options.json:
        print_json({**report.run_to_json(entry), "children": [child.folder.name for child in store.children_of(entry)]})
    else:
        is_sweep = record.kind == sweeps.KIND
        children = () if is_sweep else store.children_of(entry)  # its members have a table
        print(report.render_run(entry, record, options.lang, width_of(sys.stdout), children, blocks=holds_chinese(sys.stdout)))
        if is_sweep:
            print("\n" + sweeps.render_members(sweeps.see_members(entry.folder), options.lang))
    return DONE
