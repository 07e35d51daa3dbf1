"""resume: a run that was stopped, continued from its newest complete checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path

from swift_fa_launcher.commands.options import Parser, allowed
from swift_fa_launcher.commands.rerun import declare_again, print_again
from swift_fa_launcher.commands.screen import Progress
from swift_fa_launcher.commands.train import start

EXAMPLE = "swift-fa resume latest"


def declare(parser: Parser) -> None:
    declare_again(parser)


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.stories import launch as story

    again = story.resume(Path(options.root).absolute(), options.run, options.words,
                         allow=allowed(options.allow), say=Progress(options.lang).say)
    print_again(again, options.lang)
    return start(again.prepared, options, install=not options.no_install)
