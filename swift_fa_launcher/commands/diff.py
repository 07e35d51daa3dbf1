"""diff: what differs between two recorded runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from swift_fa_launcher.commands import DONE
from swift_fa_launcher.commands.options import Parser
from swift_fa_launcher.commands.screen import print_json

EXAMPLE = "swift-fa diff qwen7b latest"


def declare(parser: Parser) -> None:
    parser.run_word("runs", nargs=2)
    parser.shared("--root")


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.runs import diff, report, store

    (first, _), (second, _) = (store.readable_run(Path(options.root), word) for word in options.runs)
    found = diff.compare(diff.read_texts(first.folder), diff.read_texts(second.folder))
    if options.json:
        print_json(diff.differences_to_json(first.folder.name, second.folder.name, found))
    else:
        print(f"- {first.folder.name}\n+ {second.folder.name}\n{report.render_differences(found, options.lang)}")
    return DONE
