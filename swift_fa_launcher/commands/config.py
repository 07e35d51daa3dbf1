"""config: the resolved config, and where each of its values was written."""

from __future__ import annotations

import argparse
import os
import sys

from swift_fa_launcher.commands import DONE
from swift_fa_launcher.commands.options import Parser, split_words
from swift_fa_launcher.commands.screen import width_of
from swift_fa_launcher.errors import Text

EXAMPLE = "swift-fa config swift-fa:qwen7b --explain"


def declare(parser: Parser) -> None:
    parser.config_words(needed=False)
    parser.flag("--explain", Text("show where each value comes from", "显示每个值的来源"))
    parser.flag("--defaults", Text("show the built-in defaults", "显示内置的默认值"))


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.config import layers, render
    from swift_fa_launcher.runs.record import secret_values
    from swift_fa_launcher.secrets import redact

    files, overrides = split_words(options, needed=not options.defaults)
    if options.defaults and not files and not overrides and not options.json:
        print(layers.DEFAULTS_FILE.read_text(encoding="utf-8"), end="")
        return DONE
    config = layers.resolve_config(files, overrides)
    text = (render.render_json(config) if options.json else
            render.render_explained(config, options.lang, width_of(sys.stdout)) if options.explain else
            render.render_yaml(config))
    print(redact(text, secret_values(config, os.environ)), end="")
    return DONE
