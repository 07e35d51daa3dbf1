"""Saved facts: read from and written to a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from swift_fa_launcher.errors import FactsError, LauncherError, Text, Words, refused_as
from swift_fa_launcher.files import write_whole
from swift_fa_launcher.machine.facts import Facts, facts_to_json, parse_facts
from swift_fa_launcher.secrets import redact_data


def read_facts(source: str | Path) -> Facts:
    """Facts from a file, or from standard input for "-". Raises FactsError where they cannot be read or are none."""
    name = "standard input" if str(source) == "-" else str(source)
    try:
        data = sys.stdin.buffer.read() if str(source) == "-" else Path(source).read_bytes()
        return parse_facts(json.loads(data.decode("utf-8-sig")), name)
    except OSError as error:
        raise _unreadable(name, error.strerror or str(error)) from None
    except UnicodeDecodeError as error:
        raise _unreadable(name, Text(f"it is not UTF-8 text (byte {error.start})",
                                     f"不是 UTF-8 文本（第 {error.start} 字节）")) from None
    except json.JSONDecodeError as error:
        raise _unreadable(f"{name}:{error.lineno}", Text(f"it is not complete JSON: {error.msg}",
                                                         f"不是完整的 JSON：{error.msg}")) from None
    except (RecursionError, ValueError):  # a number of thousands of digits is a ValueError
        raise _unreadable(name, Text("it is not readable JSON", "不是可读取的 JSON")) from None


def _unreadable(where: str, why: Words) -> FactsError:
    return FactsError("facts-unreadable", where=where, why=why)


def write_facts(facts: Facts, path: str | Path, hidden: Iterable[str] = ()) -> None:
    """Writes the facts as JSON without the secret values `hidden`: completely or not at all. Raises LauncherError where the file
    cannot be written."""
    target, data = Path(path), redact_data(facts_to_json(facts), hidden)
    text = f"{json.dumps(data, indent=2, ensure_ascii=False)}\n"
    with refused_as(LauncherError("facts-not-written", where=str(target))):
        if target.exists() and not target.is_file() and not target.is_dir():  # /dev/stdout is not to be replaced by a file
            target.write_text(text, encoding="utf-8")
        else:
            write_whole(target.resolve(), text)  # a link stays one
