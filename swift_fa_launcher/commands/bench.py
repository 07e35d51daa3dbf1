"""bench: the same rows through several kinds of attention and packing, or on several GPUs, compared in a table and a plot."""

from __future__ import annotations

import argparse
from pathlib import Path

from swift_fa_launcher.commands.options import Parser, allowed, split_words
from swift_fa_launcher.commands.screen import Progress, print_json, tell
from swift_fa_launcher.errors import Text, UsageError

EXAMPLE = "swift-fa bench swift-fa:qwen7b --rows 500 --out bench/h200"


def declare(parser: Parser) -> None:
    from swift_fa_launcher.bench.bench import NOT_BY_DEFAULT, ROWS, VARIANTS

    parser.config_words()
    usual = ", ".join(name for name in VARIANTS if name not in NOT_BY_DEFAULT)
    more = ", ".join(NOT_BY_DEFAULT)
    parser.option("--variants", metavar="A,B,...", default="", help=Text(
        f"measure only these and what they depend on; by default all of {usual}; also {more}",
        f"只测这些及其所依赖的；默认全测：{usual}；另有 {more}"))
    parser.option("--gpus", metavar="1,2,...", default="", help=Text(
        "compare these numbers of GPUs (on the CPU: of processes) with equal examples a step: DDP, and with deepspeed ZeRO 2 "
        "and 3 (--variants ddp,zero2,zero3)",
        "比较这些 GPU 数（CPU 上为进程数），每步样本数相同：DDP，装有 deepspeed 时还有 ZeRO 2、3（--variants ddp,zero2,zero3）"))
    parser.option("--rows", default=str(ROWS), metavar="N", help=Text(
        f"train each on this many rows, or all (default: {ROWS})", f"每种方式训练多少行，或 all（默认 {ROWS}）"))
    parser.option("--out", metavar="FOLDER", help=Text(
        "folder for bench.json, table.md and the plot (default: bench/NAME); what it has already is not measured again",
        "bench.json、table.md 和图所在的文件夹（默认 bench/NAME）；其中已有的结果不再重测"))
    parser.shared("--no-install", "--allow")


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.bench.bench import bench_to_json
    from swift_fa_launcher.stories import bench as story

    files, overrides = split_words(options)
    gpus = _gpu_counts(options.gpus)
    wish = story.Wish(_variant_names(options.variants, several=bool(gpus)), _row_count(options.rows),
                      Path(options.out) if options.out else None, not options.no_install, allowed(options.allow), gpus)
    progress = Progress(options.lang)
    ended = story.run_bench(files, overrides, wish, progress)
    progress.clear()
    if options.json:
        print_json(bench_to_json(ended.bench, options.lang))
    elif not ended.interrupted or any(one.measured for one in ended.bench.results):
        print(ended.table(options.lang), end="")
    if ended.interrupted:
        tell(Text("interrupted; run the same command again to measure the rest; the results so far are in "
                  f"{ended.folder}",
                  f"已中断；再次执行同一条命令可测量剩余部分；目前的结果在 {ended.folder}"), options.lang)
    else:
        tell(Text(f"the results are in {ended.folder}", f"结果在 {ended.folder}"), options.lang)
    return ended.exit_code


def _variant_names(words: str, *, several: bool) -> tuple[str, ...]:
    from swift_fa_launcher.bench.bench import TOGETHER, VARIANTS

    there = tuple(TOGETHER if several else VARIANTS)
    names = tuple(name.strip() for name in words.split(",") if words)
    wrong = ", ".join(name or "''" for name in names if name not in there)
    if wrong:
        raise UsageError("option-invalid", Text(f"there is no variant {wrong}", f"没有变体 {wrong}"),
                         hint=(f"--variants {','.join(there)}",))
    return names


def _gpu_counts(words: str) -> tuple[int, ...]:
    counts = [word.strip() for word in words.split(",") if words]
    if any(not word.isdecimal() or not 1 <= int(word) <= 1024 for word in counts):
        raise UsageError("option-invalid", Text(f"--gpus takes numbers from 1, with commas between, not {words}",
                                                f"--gpus 应为以逗号分隔的正整数，而不是 {words}"), hint=("--gpus 1,2,4",))
    return tuple(sorted({int(word) for word in counts}))


def _row_count(word: str) -> int | None:
    if word == "all":
        return None
    if not word.isdecimal() or int(word) < 1:
        raise UsageError("option-invalid",
                         Text(f"--rows takes a number from 1, or all, not {word}", f"--rows 应为正整数或 all，而不是 {word}"),
                         hint=("--rows 500",))
    return int(word)
