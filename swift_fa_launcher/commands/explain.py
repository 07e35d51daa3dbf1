"""explain: what a finding's code means, when it comes, and what mends it; without a code, all of them."""

from __future__ import annotations

import argparse
import difflib
import re
import sys

from swift_fa_launcher.commands import DONE
from swift_fa_launcher.commands.options import Parser
from swift_fa_launcher.commands.screen import print_json, width_of
from swift_fa_launcher.errors import Text, UsageError

#: What people call a failure.
_SHORT = {"oom": "memory", "hang": "hung", "cuda": "gpu", "crash": "killed"}

EXAMPLE = "swift-fa explain torch-missing"


def declare(parser: Parser) -> None:
    parser.option("code", nargs="?", metavar="CODE", help=Text(
        "a finding's code, such as torch-missing (default: list all codes)", "检查代码，例如 torch-missing（默认列出全部）"))


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.findings import page
    from swift_fa_launcher.findings.table import TABLE

    code = options.code
    if code and code not in TABLE:
        said = code.lower().replace("_", "-")
        near = difflib.get_close_matches(said, TABLE, n=1) or [name for name in TABLE if said in name][:5] or [
            name for name, entry in TABLE.items() if re.search(rf"\b{re.escape(_SHORT.get(said, said))}", entry.means.en)][:5]
        raise UsageError("code-unknown", Text(f"there is no code {code}", f"没有代码 {code}"),
                         hint=tuple(f"swift-fa explain {name}" for name in near))
    if options.json:
        print_json({"schema": 1, **page.entry_to_json(code, options.lang)} if code else
                   {"schema": 1, "findings": [page.entry_to_json(one, options.lang) for one in TABLE]})
    else:
        width = width_of(sys.stdout)
        print(page.render_entry(code, options.lang, width) if code else page.render_list(options.lang, width))
    return DONE
