"""import: a script, a command, an ms-swift YAML, an args.json or a log becomes a config; nothing of it is executed."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import TYPE_CHECKING, Any

from swift_fa_launcher.commands import DONE
from swift_fa_launcher.commands.options import Parser
from swift_fa_launcher.commands.screen import Progress, findings_json, print_json, print_table, tell, width_of
from swift_fa_launcher.errors import Text, render_words
from swift_fa_launcher.layout import advice

if TYPE_CHECKING:
    from swift_fa_launcher.importing.draft import Draft
    from swift_fa_launcher.stories.import_script import Checked

EXAMPLE = "swift-fa import train.sh --out train.yaml"


def declare(parser: Parser) -> None:
    parser.option("script", metavar="SCRIPT", help=Text(
        "a shell script with swift sft, an ms-swift YAML, a run's args.json or train.log; - reads standard input",
        "含 swift sft 的 shell 脚本、ms-swift 的 YAML、运行的 args.json 或 train.log；- 表示标准输入"))
    parser.option("--out", metavar="FILE", help=Text("write the config to this file (default: print it)",
                                                     "把配置写入此文件（默认打印）"))
    parser.option("--command", dest="number", type=int, metavar="N", help=Text(
        "which command, where the script has several", "脚本中有多个命令时，选择第几个"))


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.config.schema_file import schema_line
    from swift_fa_launcher.stories import import_script as story

    draft, checked = story.draft_config(story.read_source(options.script), options.number, options.lang,
                                        Progress(options.lang).say)
    if options.out:
        story.write_config(draft.text, options.out, Progress(options.lang).say)
    if options.json:
        print_json(_to_json(draft, checked, options))
        return DONE
    if not options.out:
        print(f"{schema_line()}\n{draft.text}", end="", flush=True)
    _tell(draft, checked, options)
    return DONE


def _tell(draft: Draft, checked: Checked, options: argparse.Namespace) -> None:
    """What to know of the config, on standard error: notes, what to set, the verdict, what differs."""
    from swift_fa_launcher.findings.finding import status

    lang, width = options.lang, width_of(sys.stderr)
    if checked.judgement:
        print_table(checked.judgement, lang, to_stderr=True)
    for note in draft.notes:
        place = Text(f"line {note.line}: ", f"第 {note.line} 行：") if note.line else Text("", "")
        tell(Text(place.en + note.text.en, place.zh + note.text.zh), lang, "  ", "    ")
    for name, why in draft.needs.items():
        line = Text(f"set this first: export {name}=VALUE  ({why.en})", f"请先设置：export {name}=值  （{why.zh}）")
        print(advice(line, lang, width), file=sys.stderr)
    if not checked.judgement:
        tell(Text(f"not checked: {render_words(checked.why, 'en')}", f"没有检查：{render_words(checked.why, 'zh')}"), lang)
    _tell_differences(checked, lang)
    if options.out:
        tell(Text(f"written to {options.out}", f"已写入 {options.out}"), lang)
        command = "train" if checked.judgement and status(checked.judgement.findings) != "blocked" else "preflight"
        print(advice(f"swift-fa {command} {shlex.quote(options.out)}", lang, width), file=sys.stderr)


def _tell_differences(checked: Checked, lang: str) -> None:
    if not checked.judgement:
        return
    added = [f"{one.name} {one.plan}" for one in checked.differences if one.script is None]
    if not [one for one in checked.differences if one.script is not None]:
        tell(Text("swift sft gets the same arguments and variables as from the script",
                  "swift sft 得到的参数和变量与脚本相同"), lang)
    for one in checked.differences:
        if one.script is not None:
            tell(Text(f"{one.name} differs: the script gives {one.script!r}, swift-fa {one.plan!r}",
                      f"{one.name} 不同：脚本给出 {one.script!r}，swift-fa 给出 {one.plan!r}"), lang)
    if added:
        tell(Text(f"swift-fa adds {', '.join(added)}", f"swift-fa 另外加上 {', '.join(added)}"), lang)


def _to_json(draft: Draft, checked: Checked, options: argparse.Namespace) -> dict[str, Any]:
    from swift_fa_launcher.decode import encode
    from swift_fa_launcher.findings.finding import status

    judgement = checked.judgement
    return {"schema": 1, "config": draft.text, "out": options.out,
            "notes": [{"line": note.line or None, "text": note.text.render(options.lang)} for note in draft.notes],
            "needs": {name: why.render(options.lang) for name, why in draft.needs.items()},
            "differences": encode(checked.differences),
            "status": status(judgement.findings) if judgement else "not checked",
            "findings": findings_json(judgement, options.lang) if judgement else []}
