"""The config's JSON Schema for the installed ms-swift, kept for editors."""

from __future__ import annotations

from contextlib import suppress

from swift_fa_launcher.config.json_schema import Schema, make_schema
from swift_fa_launcher.config.layers import DEFAULTS_FILE
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.config.schema_file import keep_schema, own_schema
from swift_fa_launcher.errors import LauncherError, Say, Text, titled
from swift_fa_launcher.stories.launch import installed_stack


def collect_schema(config: ResolvedConfig, say: Say) -> Schema:
    """The schema with the arguments of the ms-swift that this config trains with, also kept where `schema_line` points to; of the
    launcher's own sections, saying so, where there is no ms-swift."""
    try:
        arguments, version = installed_stack(config, say)
    except LauncherError as error:
        say(titled(Text("the schema holds only swift-fa's own sections, and takes any key under swift",
                        "schema 只含 swift-fa 自己的段，swift 段接受任何键"), error.message))
        return own_schema()
    schema = make_schema(DEFAULTS_FILE.read_text(encoding="utf-8"), arguments, version)
    with suppress(OSError):  # it is for editors only
        keep_schema(schema)
    return schema
