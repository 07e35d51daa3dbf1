"""preflight: the checks alone, on this machine or on saved facts."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from swift_fa_launcher.commands import DONE, REFUSED
from swift_fa_launcher.commands.options import Parser, allowed, split_words
from swift_fa_launcher.commands.screen import Progress, findings_json, print_json, print_table, tell
from swift_fa_launcher.errors import Text

EXAMPLE = "swift-fa preflight swift-fa:qwen7b --save-facts facts.json"


def declare(parser: Parser) -> None:
    parser.config_words(needed=False)
    parser.option("--facts", metavar="FILE", help=Text(
        "check saved facts instead of this machine; - reads standard input", "检查保存的环境信息而非本机；- 表示标准输入"))
    parser.option("--save-facts", metavar="FILE", help=Text("save this machine's facts", "保存本机的环境信息"))
    parser.flag("--no-probe", Text("do not try flash attention on the GPUs", "不在 GPU 上试运行 flash attention"))
    parser.flag("--offline", Text("do not use the network", "不访问网络"))
    parser.shared("--allow")


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.config.layers import resolve_config
    from swift_fa_launcher.decode import known
    from swift_fa_launcher.findings.finding import blocking, status
    from swift_fa_launcher.machine.facts import facts_to_json
    from swift_fa_launcher.machine.saved import read_facts, write_facts
    from swift_fa_launcher.runs.record import secret_values
    from swift_fa_launcher.secrets import redact_data
    from swift_fa_launcher.stories import launch as story

    config = resolve_config(*split_words(options, needed=False))
    facts = read_facts(options.facts) if options.facts else story.look(
        config, offline=options.offline, probe=not options.no_probe, say=Progress(options.lang).say)
    judgement = story.judge(config, facts, allowed(options.allow))
    hidden = secret_values(config, os.environ)
    if options.save_facts:
        write_facts(judgement.facts, Path(options.save_facts), hidden)
        tell(Text(f"facts saved to {options.save_facts}", f"环境信息已保存到 {options.save_facts}"), options.lang)
    if options.facts:
        told = f"{known(judgement.facts.where)}, {known(judgement.facts.collected_at)}"
        tell(Text(f"checked the saved facts of {told}", f"检查的是保存的环境信息：{told}"), options.lang)
    if options.json:
        print_json({"schema": 1, "status": status(judgement.findings), "findings": findings_json(judgement, options.lang),
                    "facts": redact_data(facts_to_json(judgement.facts), hidden)})
    else:
        print_table(judgement, options.lang, to_stderr=False)
    return REFUSED if blocking(judgement.findings) else DONE
