"""The door to files that are written whole: beside first, then renamed, so that what fails leaves the old one, and no litter."""

from __future__ import annotations

import errno
import json
import os
import secrets
import select
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def write_whole(path: Path, text: str, *, durable: bool = False) -> None:
    """`text` in UTF-8 (names that are no UTF-8 escaped), completely or not at all. durable: on the disk when this returns.

    Raises OSError.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")  # by open, so that the user's umask holds
    try:
        with open(beside, "x", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise


def without_waiting(path: str, flags: int) -> int:
    """An opener: a pipe in a file's place has nothing to say, and nobody waits for it."""
    return os.open(path, flags | os.O_NONBLOCK)


def read_json(path: Path) -> Any:
    """What a JSON file holds; None where it cannot be read."""
    try:
        with open(path, encoding="utf-8", opener=without_waiting) as file:
            return json.load(file)
    except (OSError, ValueError, RecursionError):
        return None


def read_group(path: Path) -> dict[str, Any]:
    """The group of named values (a JSON object) in a file; empty where there is none that can be read."""
    data = read_json(path)
    return data if isinstance(data, dict) else {}


def text_of(path: Path, encoding: str = "utf-8") -> str:
    """The text of a file; empty where it cannot be read."""
    try:
        with open(path, encoding=encoding, errors="replace", opener=without_waiting) as file:
            return file.read()
    except OSError:
        return ""


def kind_of(path: str | Path) -> str:
    """ "dir", "file", "missing", or "special": a pipe, socket or device, whose end may never come.

    Raises OSError where it may not be looked at.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last for a name with a NUL
        return "missing"
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "missing"
        raise
    return "dir" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "special"


def read_bounded(file: Path, limit: int, patience: float = 10.0) -> bytes:
    """What a file or pipe holds; see `pieces_of`."""
    return b"".join(pieces_of(file, limit, patience))


def pieces_of(file: Path, limit: float, patience: float) -> Iterator[bytes]:
    """What a file or pipe holds, bit by bit. limit: bytes. patience: seconds to wait for a pipe to say something.

    Raises OSError, also for more than `limit` and for a pipe that says nothing.
    """
    size = 0
    with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as opened:
        while select.select([opened], [], [], patience)[0]:
            piece = opened.read(1 << 20)
            if not piece:
                return
            yield piece
            if (size := size + len(piece)) > limit:
                raise OSError(errno.EFBIG, f"it is larger than {int(limit) >> 20} MiB")
    raise OSError(errno.ETIMEDOUT, f"nothing came out of this pipe for {patience:g} s")


def stamp(file: str | Path) -> tuple[str | int, ...]:
    """A file's name, its size in bytes and its time of change in ns; the name alone where it cannot be looked at."""
    try:
        status = os.stat(file)
    except OSError:
        return (str(file),)
    return str(file), status.st_size, status.st_mtime_ns


def keep_answer(place: Path, answer: Mapping[str, Any], files: Iterable[str] = ()) -> None:
    """Writes an answer that was read from `files`. A cache that cannot be written only costs time."""
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, json.dumps({**({"files": [stamp(file) for file in files]} if files else {}), **answer}))


def kept_answer(place: Path, read: Callable[[dict[str, Any]], T]) -> T | None:
    """What `read` makes of the kept answer; None where there is none, it is damaged, or one of its files has changed."""
    try:
        kept = json.loads(place.read_bytes())
        fresh = all(len(seen) == 3 and seen == [*stamp(seen[0])] for seen in kept.get("files", ()))
        return read(kept) if fresh else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # whatever is wrong with it, it can be had again
