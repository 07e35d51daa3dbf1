"""node: one part of a job of Slurm, started by the job itself: the whole job, a node's check, a node's training."""

from __future__ import annotations

import argparse
from pathlib import Path

from swift_fa_launcher.commands import DONE, REFUSED
from swift_fa_launcher.commands.options import Parser
from swift_fa_launcher.commands.screen import Progress
from swift_fa_launcher.errors import Text

EXAMPLE = "swift-fa node check runs/20261127-120000-qwen7b-lora-3f9a"


def declare(parser: Parser) -> None:
    parser.option("part", choices=("job", "check", "train"), metavar="PART", help=Text(
        "job, check or train", "job、check 或 train"))
    parser.option("folder", metavar="FOLDER", help=Text("the folder of the run", "运行记录的文件夹"))


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.stories import cluster

    folder, say = Path(options.folder), Progress(options.lang).say
    if options.part == "job":
        return cluster.run_job(folder, say)
    if options.part == "train":
        return cluster.train_node(folder)
    verdict, line = cluster.check_node(folder, say)
    print(line, flush=True)
    return REFUSED if verdict.codes else DONE
