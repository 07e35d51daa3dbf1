"""rehearse: the same training in small; does it run, does it fit, how fast, what is learned of the rows."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from swift_fa_launcher.commands import DONE, REFUSED, screen
from swift_fa_launcher.commands.options import Parser, allowed, split_words
from swift_fa_launcher.errors import Text

if TYPE_CHECKING:
    from swift_fa_launcher.stories.rehearse import Rehearsed

EXAMPLE = "swift-fa rehearse swift-fa:qwen7b"


def declare(parser: Parser) -> None:
    parser.config_words()
    parser.shared("--allow")


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.config.layers import resolve_config
    from swift_fa_launcher.decode import encode
    from swift_fa_launcher.findings.finding import blocking, status
    from swift_fa_launcher.stories import launch as story
    from swift_fa_launcher.stories.rehearse import rehearse

    progress = screen.Progress(options.lang)
    allow = (*allowed(options.allow), "model-incomplete")  # it needs config.json and the tokenizer alone
    config = resolve_config(*split_words(options))
    judgement = story.judge(config, story.look(config, say=progress.say), allow)
    done = None if blocking(judgement.findings) else rehearse(judgement, allow=allow, say=progress.say, anew=True)
    judgement = done.judgement if done else judgement
    if options.json:
        screen.print_json({"schema": 1, "status": status(judgement.findings),
                           "rehearsal": encode(judgement.facts.rehearsal) if done else None,
                           "findings": screen.findings_json(judgement, options.lang)})
    else:
        if done:
            _show(done, options.lang)
        screen.print_table(judgement, options.lang, to_stderr=False)
        if not done:
            screen.tell(Text("not rehearsed: mend the errors first", "没有预演：请先解决上面的错误"), options.lang)
    return REFUSED if blocking(judgement.findings) else DONE


def _show(done: Rehearsed, lang: str) -> None:
    """The row with what is learned of it, or the end of a log; before the table, which ends with the verdict."""
    from rich.console import Console
    from rich.text import Text as Line

    if done.log:
        print(done.log, file=sys.stderr)
    if not done.sample:
        return
    console = Console(highlight=False)
    plain = not console.is_terminal
    title = Text("What is learned of a row", "一行数据中参与训练的部分").render(lang)
    console.print(Line(title + (Text(" (in brackets)", "（方括号内）").render(lang) if plain else ""), "bold"))
    line = Line()
    for text, learned in done.sample:
        line.append(f"[{text}]" if plain and learned else text, "green" if learned else "dim")
    console.print(line, "...\n", soft_wrap=True)
