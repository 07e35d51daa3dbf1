"""The door to files that are written whole: beside first, then renamed, so that what fails leaves the old one, and no litter."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any


def write_whole(path: Path, text: str, *, durable: bool = False) -> None:
    """`text` in UTF-8 (names that are no UTF-8 escaped), completely or not at all. durable: on the disk when this returns.

    Raises OSError.
    """
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.chmod(beside, 0o644)  # a temporary file is its owner's alone
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise


def read_group(path: Path) -> dict[str, Any]:
    """The group of named values (a JSON object) in a file; empty where there is none that can be read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def keep_answer(path: Path, data: Any) -> None:
    """Keeps an answer that can be had again, as JSON. A cache that cannot be written costs the time of asking, no more."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(data))
