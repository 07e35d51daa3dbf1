"""schema: a JSON Schema of the config, for editors."""

from __future__ import annotations

import argparse
from pathlib import Path

from swift_fa_launcher.commands import DONE
from swift_fa_launcher.commands.options import Parser
from swift_fa_launcher.commands.screen import Progress, print_json, tell
from swift_fa_launcher.errors import LauncherError, Text, refused_as

EXAMPLE = "swift-fa schema --out config.schema.json"


def declare(parser: Parser) -> None:
    parser.option("--out", metavar="FILE", help=Text("write it into this file (default: print it)",
                                                     "写入这个文件（默认输出到屏幕）"))
    parser.shared("--python")


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.config.layers import resolve_data
    from swift_fa_launcher.config.schema_file import keep_schema, schema_line
    from swift_fa_launcher.stories.schema import collect_schema

    schema = collect_schema(resolve_data({"launch": {"python": options.python}}), Progress(options.lang).say)
    if options.out is None:
        print_json(schema)
        return DONE
    with refused_as(LauncherError("schema-not-written", where=options.out)):
        place = keep_schema(schema, Path(options.out))
    if options.json:
        print_json({"schema": 1, "written": str(place), "line": schema_line(place)})
        return DONE
    tell(Text(f"written: {place}; put this line above a config:", f"已写入：{place}；把这一行写在配置开头："), options.lang)
    print(schema_line(place))
    return DONE
