"""SwanLab's login state, server and settings, read from its files."""

from __future__ import annotations

import netrc
import re
from collections.abc import Mapping
from pathlib import Path

from swift_fa_launcher.decode import Maybe, Unknown
from swift_fa_launcher.machine.facts import SwanLab

#: What a SwanLab key looks like: 21 letters and digits.
KEY = re.compile(r"[0-9A-Za-z]{21}")


def collect_swanlab(environment: Mapping[str, str], cwd: Path, host: str | None) -> SwanLab:
    """Key, account and server that a training in `environment` and `cwd` would use. The key itself is never kept."""
    key = unquote(environment.get("SWANLAB_API_KEY", ""))
    source, server = ("env" if key else None), host or unquote(environment.get("SWANLAB_API_HOST", "")) or None
    if not key:
        for file in login_files(environment, cwd):
            login = read_login(file)
            if login:
                key, source, server = login[1], "login", server or login[0]
                break
    return SwanLab(api_key=source, key_shape=("ok" if KEY.fullmatch(key) else "malformed") if key else None,
                   user=None, account_shared=False, host=server)


def unquote(value: str) -> str:
    """A variable's value without a pair of quotes around it, as SwanLab reads it."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def login_files(environment: Mapping[str, str], cwd: Path) -> tuple[Path, ...]:
    """Where a saved login may be, the first that holds one wins (swanlab/sdk/internal/settings/__init__.py)."""
    home = environment.get("SWANLAB_ROOT") or environment.get("SWANLAB_SAVE_DIR")
    root = Path(home) if home else Path(environment.get("HOME") or Path.home()) / ".swanlab"
    return cwd / ".swanlab" / ".netrc", root / ".netrc"


def read_login(file: Path) -> tuple[str, str] | None:
    """Server and key of a saved login; None where there is none."""
    try:
        hosts = netrc.netrc(str(file)).hosts
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return None
    for machine, (_, _, key) in hosts.items():
        return (machine, key) if key else None
    return None


def unseen(why: str) -> Maybe[SwanLab]:
    return Unknown(why)
