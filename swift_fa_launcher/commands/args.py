"""args: the arguments that the installed ms-swift accepts."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from swift_fa_launcher.commands import DONE
from swift_fa_launcher.commands.options import Parser
from swift_fa_launcher.commands.screen import Progress, print_json, width_of
from swift_fa_launcher.errors import LauncherError, Text
from swift_fa_launcher.layout import fill

if TYPE_CHECKING:
    from swift_fa_launcher.config.swift_args import Argument

EXAMPLE = "swift-fa args learning_rate"


def declare(parser: Parser) -> None:
    parser.option("pattern", nargs="?", default="", metavar="PATTERN", help=Text(
        "part of a name or of its help; * and ? match any text", "名称或说明的一部分；* 和 ? 匹配任意文字"))
    parser.shared("--python")


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.config.layers import resolve_data
    from swift_fa_launcher.config.swift_args import find_arguments, likely, plain_type
    from swift_fa_launcher.decode import encode
    from swift_fa_launcher.stories import launch as story

    arguments = story.installed_arguments(resolve_data({"launch": {"python": options.python}}), Progress(options.lang).say)
    found = find_arguments(arguments, options.pattern)
    if options.json:
        plain = {name: {**encode(argument), "type": plain_type(argument)} for name, argument in found}
        print_json({"schema": 1, "arguments": plain})
    elif not found:
        raise LauncherError("args-none-match",
                            Text(f"no argument matches {options.pattern}", f"没有匹配 {options.pattern} 的参数"),
                            hint=tuple(f"swift-fa args {name}" for name in
                                       likely(options.pattern, arguments) or _of_a_word_like(options.pattern, arguments)))
    else:
        print("\n".join(_argument_text(name, argument, width_of(sys.stdout)) for name, argument in found))
    return DONE


def _of_a_word_like(pattern: str, names: Iterable[str]) -> list[str]:
    """The arguments with a word in their names that the pattern may be, misspelt."""
    words = {word for name in names for word in name.split("_")}
    near = difflib.get_close_matches(pattern.lower(), words, n=1)
    return [name for word in near for name in names if word in name.split("_")][:3]


def _argument_text(name: str, argument: Argument, width: int | None) -> str:
    from swift_fa_launcher.config.swift_args import plain_type
    from swift_fa_launcher.decode import known

    choices = known(argument.choices)
    default = json.dumps(argument.default, ensure_ascii=False, default=str)
    told = (f"one of {', '.join(map(str, choices[:12]))}{', ...' if len(choices) > 12 else ''}" if choices else "",
            " ".join((known(argument.help) or "").split()))
    return "\n".join([fill(f"{name}: {plain_type(argument)} = {default}", width, rest="    "),
                      *(fill(text, width, "    ", "    ") for text in told if text)])
