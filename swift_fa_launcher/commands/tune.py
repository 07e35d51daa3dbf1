"""tune: the fastest settings that learn the same, found by rehearsals, verified with all layers, written as an overlay config."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from swift_fa_launcher.commands import DONE, REFUSED, screen
from swift_fa_launcher.commands.options import Parser, allowed, split_words
from swift_fa_launcher.errors import Text, UsageError

if TYPE_CHECKING:
    from swift_fa_launcher.stories.tune import Tuned

EXAMPLE = "swift-fa tune swift-fa:qwen7b --minutes 10 --out fast.yaml"


def declare(parser: Parser) -> None:
    from swift_fa_launcher.bench.tune import LEARNS_OTHERWISE

    parser.config_words()
    parser.option("--minutes", default="15", metavar="N", help=Text(
        "how long to search at most (default: 15); the same command goes on where it ended",
        "最多搜索多少分钟（默认 15）；再次执行同一条命令会接着进行"))
    keys = ", ".join(LEARNS_OTHERWISE)
    parser.option("--change", action="append", default=[], metavar="KEY", help=Text(
        f"also try what changes what is learned: {keys} (may be repeated)", f"也尝试会改变学习内容的设置：{keys}（可重复）"))
    parser.option("--memory", metavar="GIB", help=Text(
        "fill a GPU with this much at most (default: 92 %% of it)", "每块 GPU 最多占用多少 GiB（默认 92%%）"))
    parser.option("--out", metavar="FILE", help=Text("the overlay to write (default: NAME.tuned.yaml)",
                                                     "要写出的叠加配置（默认 NAME.tuned.yaml）"))
    parser.shared("--allow")


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.config.layers import resolve_config
    from swift_fa_launcher.findings.finding import blocking, status
    from swift_fa_launcher.stories import launch as story
    from swift_fa_launcher.stories.tune import Wish, tune

    files, overrides = split_words(options)
    memory = _number("--memory", options.memory, "40") if options.memory else None
    wish = Wish(_number("--minutes", options.minutes, "10"), memory, _keys(options.change),
                Path(options.out) if options.out else None, allowed(options.allow))
    progress = screen.Progress(options.lang)
    config = resolve_config(files, overrides)
    judgement = story.judge(config, story.look(config, say=progress.say), wish.allow)
    done = None if blocking(judgement.findings) else tune(files, overrides, wish, judgement, progress.say)
    progress.clear()
    if options.json:
        screen.print_json(_as_json(done) | {"status": status(judgement.findings),
                                            "findings": screen.findings_json(judgement, options.lang)})
    elif done is None:
        screen.print_table(judgement, options.lang, to_stderr=False)
        screen.tell(Text("not tuned: mend the errors first", "没有搜索：请先解决上面的错误"), options.lang)
    else:
        _show(done, options.lang)
    return DONE if done and done.best else REFUSED


def _show(done: Tuned, lang: str) -> None:
    from swift_fa_launcher.bench.tune import render_tried

    print(render_tried(done.tried, lang), end="")
    if done.overlay is None:
        screen.tell(Text(f"no setting trained: {done.why}", f"没有设置能够训练：{done.why}"), lang)
        return
    if not done.done:
        screen.tell(Text("the time is up; the same command goes on where it ended",
                         "时间已到；再次执行同一条命令会接着进行"), lang)
    screen.tell(Text(f"the fastest is in {done.overlay}: swift-fa train {done.overlay}",
                     f"最快的设置在 {done.overlay}：swift-fa train {done.overlay}"), lang)


def _as_json(done: Tuned | None) -> dict[str, object]:
    from swift_fa_launcher.decode import encode

    if done is None:
        return {"schema": 1, "tried": [], "best": None, "steps": [], "overlay": None, "done": False}
    return {"schema": 1, "tried": encode(done.tried), "best": encode(done.best), "steps": encode(done.search.steps),
            "overlay": str(done.overlay) if done.overlay else None, "done": done.done}


def _number(option: str, word: str, example: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e5:
        raise UsageError("option-invalid", Text(f"{option} takes a number above 0, not {word}",
                                                f"{option} 应大于 0，而不是 {word}"),
                         hint=(f"{option} {example}",))
    return number


def _keys(words: list[str]) -> tuple[str, ...]:
    from swift_fa_launcher.bench.tune import LEARNS_OTHERWISE

    keys = tuple(dict.fromkeys(word.removeprefix("swift.") for word in words))
    if wrong := ", ".join(key for key in keys if key not in LEARNS_OTHERWISE):
        raise UsageError("option-invalid", Text(f"--change does not know {wrong}", f"--change 不认识 {wrong}"),
                         hint=tuple(f"--change {key}" for key in LEARNS_OTHERWISE))
    return keys
