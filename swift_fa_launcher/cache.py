"""Where the launcher keeps what it may throw away: wheel indexes, downloads, argument lists, probe answers."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def cache_dir() -> Path:
    """`$SWIFT_FA_CACHE`, else `$XDG_CACHE_HOME/swift-fa`, else `~/.cache/swift-fa`; not created here."""
    if own := os.environ.get("SWIFT_FA_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "swift-fa"


def stamp(file: str | Path) -> tuple[str | int, ...]:
    """A file's name, its size in bytes and its time of change in ns; the name alone where it cannot be looked at."""
    try:
        status = os.stat(file)
    except OSError:
        return (str(file),)
    return str(file), status.st_size, status.st_mtime_ns


def keep_answer(place: Path, answer: Mapping[str, Any], files: Iterable[str] = ()) -> None:
    """Writes an answer that was read from `files`. A cache that cannot be written only costs time."""
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, json.dumps({"files": [stamp(file) for file in files], **answer}))


def kept_answer(place: Path, read: Callable[[dict[str, Any]], T]) -> T | None:
    """What `read` makes of the kept answer; None where there is none, it is damaged, or one of its files has changed."""
    try:
        kept = json.loads(place.read_bytes())
        fresh = all(len(seen) == 3 and seen == [*stamp(seen[0])] for seen in kept["files"])
        return read(kept) if fresh else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # whatever is wrong with it, it can be had again


def write_whole(file: Path, text: str, mode: int = 0o600) -> None:
    """Writes a file, completely or not at all. Raises OSError."""
    import tempfile

    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with open(handle, "w", encoding="utf-8") as opened:
            opened.write(text)
        os.chmod(temporary, mode)
        os.replace(temporary, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def keep_traceback() -> str:
    """Writes the exception at hand into last-bug.txt, for a report; the file's path, or the traceback where it has none."""
    import traceback

    from swift_fa_launcher import __version__

    text = traceback.format_exc()
    file = cache_dir() / "last-bug.txt"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"swift-fa {__version__}\n{text}", encoding="utf-8")
    except OSError:
        return text
    return str(file)
