"""note: add a line to a recorded run's notes, also while it runs."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from swift_fa_launcher.commands import DONE
from swift_fa_launcher.commands.options import Parser
from swift_fa_launcher.commands.screen import print_result
from swift_fa_launcher.errors import Text

EXAMPLE = 'swift-fa note latest "the loss jumps at step 300: two broken rows"'


def declare(parser: Parser) -> None:
    parser.run_word()
    parser.option("text", metavar="TEXT", help=Text("what to note", "要记下的话"))
    parser.flag("--replace", Text("replace the notes instead of adding to them", "替换原有备注，而不是追加"))
    parser.shared("--root")


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.runs import record, store

    entry, _ = store.readable_run(Path(options.root), options.run)

    def noted(there: record.RunRecord) -> record.RunRecord:
        before = "" if options.replace else there.notes
        return replace(there, notes="\n".join(filter(None, (before, options.text))) or None)

    changed = record.edit_record(entry.folder, noted)
    print_result({"schema": 1, "run": changed.id, "notes": changed.notes}, as_json=options.json)
    return DONE
