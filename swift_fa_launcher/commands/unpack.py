"""unpack: a packed run as a folder, and how to train it again."""

from __future__ import annotations

import argparse
from pathlib import Path

from swift_fa_launcher.commands import DONE, screen
from swift_fa_launcher.commands.options import Parser
from swift_fa_launcher.errors import RecordError, Text

EXAMPLE = "swift-fa unpack run.tar.gz"


def declare(parser: Parser) -> None:
    parser.option("file", metavar="FILE", help=Text("an archive that swift-fa pack wrote", "swift-fa pack 写出的归档文件"))
    parser.option("--out", metavar="FOLDER", help=Text("the new folder (default: named as the run)",
                                                       "新建的文件夹（默认与运行同名）"))


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.runs.pack import next_commands, unpack

    if not Path(options.file).is_file():
        raise RecordError("pack-unreadable", Text(f"there is no archive {options.file}", f"没有归档文件 {options.file}"),
                          hint=(Text("write one where the run is: swift-fa pack latest run.tar.gz",
                                     "在运行所在的机器上写出：swift-fa pack latest run.tar.gz"),))
    folder = unpack(Path(options.file), Path(options.out) if options.out else None)
    if options.json:
        screen.print_json({"schema": 1, "folder": str(folder), "next": list(next_commands(folder))})
        return DONE
    screen.tell(Text(f"unpacked into {folder}; train it again with:", f"已解包到 {folder}；再次训练："), options.lang)
    print("\n".join(next_commands(folder)))
    return DONE
