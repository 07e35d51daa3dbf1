"""Where the launcher keeps what it may throw away: wheel indexes, downloads, argument lists, probe answers."""

from __future__ import annotations

import os
from pathlib import Path

#: Names the folder of the run records, which are no cache.
ROOT_VARIABLE = "SWIFT_FA_ROOT"


def cache_dir() -> Path:
    """`$SWIFT_FA_CACHE`, else `$XDG_CACHE_HOME/swift-fa`, else `~/.cache/swift-fa`; not created here. One that another user
    made is not shared: `swift-fa-UID` beside it."""
    if own := os.environ.get("SWIFT_FA_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "swift-fa"
    return folder.with_name(f"swift-fa-{os.geteuid()}") if _is_anothers(folder) else folder


def _is_anothers(folder: Path) -> bool:
    try:
        return hasattr(os, "geteuid") and os.stat(folder).st_uid != os.geteuid()
    except OSError:  # not there yet
        return False


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
