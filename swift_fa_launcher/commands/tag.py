"""tag: give a recorded run tags, or take some away, also while it runs."""

from __future__ import annotations

import argparse
import re
import shlex
from dataclasses import replace
from pathlib import Path

from swift_fa_launcher.commands import DONE
from swift_fa_launcher.commands.options import Parser
from swift_fa_launcher.commands.screen import print_result
from swift_fa_launcher.errors import Text, UsageError

EXAMPLE = "swift-fa tag latest keep best"


def declare(parser: Parser) -> None:
    parser.run_word()
    parser.option("tags", nargs="*", metavar="TAG", help=Text(
        'tags to add; `swift-fa prune` never removes a run with the tag "keep"',
        "要添加的标签；swift-fa prune 不会删除带 keep 标签的运行"))
    parser.option("--remove", metavar="TAG", action="append", default=[], help=Text(
        "take this tag away (may be repeated)", "去掉这个标签（可重复）"))
    parser.shared("--root")


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.runs import record, store

    for tag in (*options.tags, *options.remove):
        if not tag.strip() or "," in tag:
            tags = re.findall(r"[^,，\s]+", tag) or ["keep"]
            raise UsageError("option-invalid", Text(f"not a tag: {tag!r}", f"不是标签：{tag!r}"),
                             hint=(shlex.join(["swift-fa", "tag", options.run, *tags]),))
    if not options.tags and not options.remove:
        raise UsageError("option-invalid", Text("no tag was named", "没有给出标签"), hint=("swift-fa tag RUN keep",))
    entry, _ = store.readable_run(Path(options.root), options.run)

    def tagged(there: record.RunRecord) -> record.RunRecord:
        tags = [tag for tag in dict.fromkeys((*there.tags, *options.tags)) if tag not in options.remove]
        return replace(there, tags=tuple(tags))

    changed = record.edit_record(entry.folder, tagged)
    print_result({"schema": 1, "run": changed.id, "tags": list(changed.tags)}, as_json=options.json)
    return DONE
