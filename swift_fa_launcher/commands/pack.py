"""pack: a run as one archive that a colleague can repeat."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from swift_fa_launcher.commands import DONE, screen
from swift_fa_launcher.commands.options import Parser
from swift_fa_launcher.errors import Text
from swift_fa_launcher.layout import render_size

EXAMPLE = "swift-fa pack latest run.tar.gz --data"


def declare(parser: Parser) -> None:
    parser.run_word()
    parser.option("file", metavar="FILE", help=Text("the archive to write (.tar.gz)", "要写出的归档文件（.tar.gz）"))
    parser.flag("--data", Text("with the dataset's local files", "包含本地的数据集文件"))
    parser.flag("--adapter", Text("with the adapter of the newest checkpoint", "包含最新检查点的 adapter"))
    parser.flag("--dockerfile", Text("with a Dockerfile that builds the environment", "包含用来构建环境的 Dockerfile"))
    parser.shared("--root")


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.runs.pack import pack_run
    from swift_fa_launcher.runs.store import readable_run

    entry, record = readable_run(Path(options.root), options.run)
    file = Path(options.file)
    packed = pack_run(entry.folder, record, file, data=options.data, adapter=options.adapter, dockerfile=options.dockerfile)
    if packed.lock:
        screen.tell(packed.lock, options.lang)
    if packed.missing:
        named = ", ".join(packed.missing)
        screen.tell(Text(f"not in the archive: {named}", f"归档中不包含：{named}"), options.lang)
    if options.json:
        screen.print_json({"schema": 1, "file": str(file), "size": file.stat().st_size, "names": list(packed.names),
                           "missing": list(packed.missing)})
    else:
        print(f"{file}  {render_size(file.stat().st_size)}  swift-fa unpack {shlex.quote(str(file))}")
    return DONE
