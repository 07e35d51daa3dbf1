"""diagnose: the cause of a failed training, read from its log."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from swift_fa_launcher.commands import DONE
from swift_fa_launcher.commands.options import Parser
from swift_fa_launcher.commands.screen import diagnosis_text, print_json, width_of
from swift_fa_launcher.errors import RecordError, Text, UsageError

EXAMPLE = "swift-fa diagnose latest"


def declare(parser: Parser) -> None:
    parser.option("log", metavar="RUN_OR_LOGFILE", help=Text(
        "a recorded run, a log file, or - for standard input", "一次已记录的运行、日志文件，或 - 表示标准输入"))
    parser.shared("--root")


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.diagnose.diagnosis import diagnose, diagnose_file

    if options.log == "-":
        diagnoses = diagnose(iter(lambda: sys.stdin.buffer.read(1 << 20), b""))
    else:
        diagnoses = diagnose_file(_log_of(options.log, Path(options.root)))
    if options.json:
        print_json({"schema": 1, "diagnoses": [diagnosis.to_json(options.lang) for diagnosis in diagnoses]})
    else:
        print("\n".join(diagnosis_text(diagnosis, options.lang, width_of(sys.stdout)) for diagnosis in diagnoses))
    return DONE


def _log_of(word: str, root: Path) -> Path:
    from swift_fa_launcher.runs.record import log_of
    from swift_fa_launcher.runs.store import find_run

    path = Path(word)
    if path.exists() and not path.is_dir():
        return path
    try:
        entry = find_run(root, word)
        return log_of(entry.folder, entry.record) if entry.record else entry.folder / "train.log"
    except RecordError:
        if root.is_dir() and not path.is_dir() and "/" not in word and path.suffix not in (".log", ".txt", ".out", ".err"):
            raise
    if path.is_dir():
        logs = [file for file in sorted(path.glob("*.log"), key=lambda file: file.name != "train.log") if file.is_file()]
        raise UsageError("log-unreadable", Text(f"{word} is a folder", f"{word} 是一个目录"),
                         why=Text("it is neither a log nor the folder of a recorded run",
                                  "它既不是日志文件，也不是运行记录的目录"),
                         hint=tuple(f"swift-fa diagnose {shlex.quote(str(file))}" for file in logs[:3]))
    return path
