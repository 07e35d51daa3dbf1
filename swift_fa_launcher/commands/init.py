"""init: a first config for this machine, with comments to learn from."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from swift_fa_launcher.commands import DONE, screen
from swift_fa_launcher.commands.options import Parser
from swift_fa_launcher.errors import Text

EXAMPLE = "swift-fa init my.yaml --model Qwen/Qwen2.5-7B-Instruct"


def declare(parser: Parser) -> None:
    parser.option("file", nargs="?", default="my.yaml", metavar="FILE", help=Text(
        "the config to write (default: my.yaml)", "要写入的配置文件（默认 my.yaml）"))
    parser.option("--model", metavar="MODEL", help=Text("a hub id or a folder", "hub 上的 id 或本地目录"))
    parser.option("--dataset", metavar="DATASET", action="append", help=Text(
        "a hub id or a file; #500 behind it takes 500 rows (may be repeated)",
        "hub 上的 id 或文件；后面加 #500 表示取 500 行（可重复）"))
    parser.flag("--demo", Text("a tiny model and rows to try everything with, on any machine, in .demo/",
                               "在 .demo/ 中生成微型模型和数据，在任何机器上都能试用"))
    parser.flag("--force", Text("replace the file if it exists", "文件已存在时替换它"))


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.findings.finding import blocking, status
    from swift_fa_launcher.stories import init as story

    file, asks = Path(options.file), sys.stdin.isatty() and sys.stderr.isatty() and not options.json
    if not options.force and not (asks and file.exists() and _may_replace(file, options.lang)):
        typed = [*(["--model", options.model] if options.model else []), *(["--demo"] if options.demo else []),
                 *(word for dataset in options.dataset or () for word in ("--dataset", dataset))]
        story.refuse_existing(file, typed)
    say = screen.Progress(options.lang).say
    if options.demo:
        written = story.write_demo(file, say)
    else:
        model, datasets = options.model or story.MODEL, options.dataset or [story.DATASET]
        if asks and not options.model:
            model = _ask(Text("model (a hub id or a folder)", "模型（hub 上的 id 或本地目录）"), model, options.lang)
        if asks and not options.dataset:
            datasets = _ask(Text("dataset (hub ids or files)", "数据集（hub 上的 id 或文件）"), datasets[0], options.lang).split()
        written = story.write_first(file, model, tuple(datasets), options.lang, say)
    judgement = written.judgement
    if options.json:
        screen.print_json({"schema": 1, "file": str(file), "status": status(judgement.findings),
                           "findings": screen.findings_json(judgement, options.lang)})
        return DONE
    screen.print_table(judgement, options.lang, to_stderr=False)
    then = f"swift-fa {'preflight' if blocking(judgement.findings) else 'train'} {shlex.quote(str(file))}"
    screen.tell(Text(f"{file} is written; read it, mend what is above, then: {then}",
                     f"已写入 {file}；读一遍，解决上面的问题，然后：{then}") if blocking(judgement.findings) else
                Text(f"{file} is written; read it, then: {then}", f"已写入 {file}；读一遍，然后：{then}"), options.lang)
    return DONE


def _ask(what: Text, usual: str, lang: str) -> str:
    print(f"{what.render(lang)} [{usual}]: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() or usual


def _may_replace(file: Path, lang: str) -> bool:
    told = Text(f"{file} exists. Replace it? [y/N]: ", f"{file} 已存在。替换它？[y/N]：").render(lang)
    print(told, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes", "是")
