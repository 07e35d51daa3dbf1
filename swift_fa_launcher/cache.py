"""Where the launcher keeps what it may throw away: wheel indexes, downloads, argument lists, probe answers."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """`$SWIFT_FA_CACHE`, else `$XDG_CACHE_HOME/swift-fa`, else `~/.cache/swift-fa`; not created here."""
    if own := os.environ.get("SWIFT_FA_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "swift-fa"
