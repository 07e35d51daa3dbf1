"""Saved facts: read from and written to a file."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from swift_fa_launcher.errors import FactsError, Text
from swift_fa_launcher.machine.facts import Facts, facts_to_json, parse_facts


def read_facts(source: str | Path) -> Facts:
    """Facts from a file, or from standard input for "-". Raises FactsError where they cannot be read or are none."""
    name = "standard input" if str(source) == "-" else str(source)
    unreadable = Text("saved facts cannot be read", "无法读取保存的环境信息")
    again = (Text("write them again: swift-fa preflight CONFIG --save-facts FILE",
                  "重新写出：swift-fa preflight CONFIG --save-facts FILE"),)
    try:
        data = sys.stdin.buffer.read() if str(source) == "-" else Path(source).read_bytes()
        return parse_facts(json.loads(data.decode("utf-8-sig")), name)
    except OSError as error:
        raise FactsError(unreadable, where=name, why=error.strerror or str(error), hint=again) from None
    except UnicodeDecodeError as error:
        raise FactsError(unreadable, where=name, why=Text(f"it is not UTF-8 text (byte {error.start})",
                                                          f"不是 UTF-8 文本（第 {error.start} 字节）"), hint=again) from None
    except json.JSONDecodeError as error:
        where = f"{name}:{error.lineno}"
        raise FactsError(unreadable, where=where, why=Text(f"it is not complete JSON: {error.msg}",
                                                           f"不是完整的 JSON：{error.msg}"), hint=again) from None
    except RecursionError:
        raise FactsError(unreadable, where=name, why=Text("it is nested too deeply", "嵌套层数过深"), hint=again) from None


def write_facts(facts: Facts, path: str | Path) -> None:
    """Writes the facts as JSON; the file is there complete or not at all. Raises FactsError where it cannot be written."""
    target = Path(path)
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}.",
                                         delete=False) as file:
            temporary = file.name
            json.dump(facts_to_json(facts), file, indent=2, ensure_ascii=False)
            file.write("\n")
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise FactsError(Text("the facts cannot be written", "无法写出环境信息"), where=str(target),
                         why=error.strerror or str(error)) from None
