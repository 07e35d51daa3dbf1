"""report: one HTML page on one or several recorded runs, for any browser, without a network."""

from __future__ import annotations

import argparse
from pathlib import Path

from swift_fa_launcher.commands import DONE
from swift_fa_launcher.commands.options import Parser
from swift_fa_launcher.commands.screen import print_result
from swift_fa_launcher.errors import RecordError, Text, UsageError, refused_as

EXAMPLE = "swift-fa report first qwen7b --out report.html"


def declare(parser: Parser) -> None:
    parser.run_word("runs", nargs="+")
    parser.option("--out", metavar="FILE.html", help=Text(
        "write here (default: the run's id with .html, or report.html for several runs)",
        "写到这个文件（默认：运行 id 加 .html；多个运行时为 report.html）"))
    parser.shared("--root")


def run(options: argparse.Namespace) -> int:
    from datetime import datetime, timezone

    from swift_fa_launcher.files import text_of, write_whole
    from swift_fa_launcher.runs import page, store

    runs = store.readable_runs(Path(options.root), options.runs)
    out = Path(options.out or (f"{next(iter(runs)).name}.html" if len(runs) == 1 else "report.html"))
    if out.exists() and page.GENERATOR not in text_of(out)[:400]:
        raise UsageError("option-invalid", Text(f"{out} exists, and it is no report", f"{out} 已存在，且不是报告"),
                         hint=("--out FILE.html",))
    text = page.render_page(list(runs.values()), options.lang, datetime.now(timezone.utc))
    with refused_as(RecordError("report-not-written", where=str(out))):
        write_whole(out, text)
    print_result({"schema": 1, "report": str(out.absolute()), "runs": [folder.name for folder in runs]}, as_json=options.json)
    return DONE
