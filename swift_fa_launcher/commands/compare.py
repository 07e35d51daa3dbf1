"""compare: several recorded runs side by side."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from swift_fa_launcher.commands import DONE
from swift_fa_launcher.commands.options import Parser
from swift_fa_launcher.commands.screen import print_json, width_of
from swift_fa_launcher.errors import Text, UsageError

EXAMPLE = "swift-fa compare first qwen7b"


def declare(parser: Parser) -> None:
    parser.run_word("runs", nargs="+")
    parser.shared("--root")


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.runs import diff, listing, report, store

    entries = [entry for entry, _ in store.readable_runs(Path(options.root), options.runs).values()]
    if len(entries) < 2:
        raise UsageError("option-invalid", Text("compare needs two runs or more", "compare 至少需要两个运行"),
                         hint=("swift-fa compare RUN RUN",))
    names = [entry.folder.name for entry in entries]
    rows = listing.compare_entries(entries)
    if options.json:
        print_json(diff.rows_to_json(names, rows))
    else:
        print(report.render_rows(names, rows, options.lang, width_of(sys.stdout)))
    return DONE
