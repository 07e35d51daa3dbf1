"""SwanLab's login state, server and settings, read from its files and its source; it is not imported.

Where it looks: swanlab/sdk/internal/settings/__init__.py (0.8 to 0.10), swanlab/env.py and package.py (before).
"""

from __future__ import annotations

import netrc
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from glob import escape, glob
from pathlib import Path
from typing import Any

from packaging.version import Version

from swift_fa_launcher.decode import Maybe, Unknown, known
from swift_fa_launcher.files import text_of
from swift_fa_launcher.flash.hosts import host_of
from swift_fa_launcher.machine.facts import SwanLab

DEFAULT_SERVER = "https://api.swanlab.cn"
#: A key of swanlab.cn. SwanLab before 0.7 refused any other length itself; another server may have its own form.
KEY = re.compile(r"[0-9A-Za-z_-]{21}")
#: From this version on settings also come from files in the working folder, which win over the environment.
SETTINGS_FILES_SINCE = Version("0.8.0")
#: The settings of those files, top level (swanlab/sdk/internal/settings/__init__.py).
SETTINGS = frozenset(("interactive", "mode", "log_dir", "api_key", "api_host", "web_host", "project", "experiment", "run",
                      "terminal", "integration", "core", "probe"))


@dataclass(frozen=True)
class Login:
    """What a training would log in with. source: "env", "login", or None for no key. Never printed, never saved."""

    source: str | None
    server: str | None  # None: SwanLab's own
    key: str = field(default="", repr=False)


def find_login(environment: Mapping[str, str], cwd: Path, host: str | None) -> Login:
    """The key that a training in `environment` and `cwd` would use, and the server. host: the config's own server.

    Of the places where a login may be saved the first that holds one wins; one for another server than the one wanted does
    not count.
    """
    server = host or _unquoted(environment.get("SWANLAB_API_HOST", "")) or None
    if key := _unquoted(environment.get("SWANLAB_API_KEY", "")):
        return Login("env", server, key)
    places = (cwd / ".swanlab" / ".netrc", _home(environment) / ".netrc")
    saved = next((login for file in places if (login := read_login(file))), None)
    if saved and (server is None or host_of(server) == host_of(saved[0])):
        return Login("login", saved[0], saved[1])
    lower = [folder / name for folder in (cwd / ".swanlab", _home(environment))  # the environment wins over these
             for name in ("config.yaml", "config.yml")]
    settings = [*dict(stray_settings(environment, cwd)).values(), *map(read_settings, lower)]
    return Login("login" if any("api_key" in names for names in settings) else None, server)


def make_swanlab(login: Login, environment: Mapping[str, str], cwd: Path, installed: Maybe[Mapping[str, Any]]) -> SwanLab:
    """The facts. installed: `version` (Maybe[Version]) and `module` (Maybe[Path]) of SwanLab in the training's Python."""
    found = known(installed) or {}
    version = known(found.get("version"))
    stray = {} if version and version < SETTINGS_FILES_SINCE else dict(stray_settings(environment, cwd))
    module: Maybe[Path] = found.get("module") if found else None if installed is None else Unknown("not looked at")
    return SwanLab(api_key=login.source, key_shape=key_shape(login.key, login.server) if login.key else None, user=None,
                   account_shared=Unknown("a saved login does not say whose it is") if login.source == "login" else False,
                   host=login.server, stray_settings=tuple(stray), get_run_without_init=read_get_run(module))


def key_shape(key: str, server: str | None) -> str:
    """ "ok" or "malformed". Another server's keys are only asked to be printable, without white space."""
    ours = server is None or host_of(server) == host_of(DEFAULT_SERVER)
    return "ok" if (KEY.fullmatch(key) if ours else re.fullmatch(r"[!-~]+", key)) else "malformed"


def read_login(file: Path) -> tuple[str, str] | None:
    """Server and key of a saved login; None where there is none. SwanLab keeps one login at a time."""
    try:
        hosts = netrc.netrc(str(file)).hosts
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return None
    return next(((machine, key) for machine, (_, _, key) in hosts.items() if key), None)


def stray_settings(environment: Mapping[str, str], cwd: Path) -> Iterator[tuple[str, frozenset[str]]]:
    """Settings files that win over the environment, by name, with the settings that each makes."""
    system = Path(environment.get("SWANLAB_CONFIG_DIR") or "/etc/swanlab")
    candidates = [(name, cwd / name) for name in ("swanlab.yaml", "swanlab.yml", ".env")]
    candidates += [(file, Path(file)) for file in sorted(glob(f"{escape(str(system))}/*.y*ml"))
                   if file.endswith((".yaml", ".yml"))]
    for name, file in candidates:
        if settings := read_settings(file):
            yield name, settings


def read_settings(file: Path) -> frozenset[str]:
    """The SwanLab settings that a YAML file or a .env makes, by name; none where it cannot be read."""
    text = text_of(file, "utf-8-sig")
    if file.name == ".env":
        names = re.findall(r"^\s*(?:export\s+)?swanlab_(\w+)\s*=", text, re.M | re.I)
        return frozenset(name.lower() for name in names)
    return SETTINGS & frozenset(re.findall(r"""^["']?(\w+)["']?\s*:""", text, re.M))


def read_get_run(module: Maybe[Path]) -> Maybe[str]:
    """What `swanlab.get_run()` does without a run, from its source: gives None ("none"; to 0.7) or "raises" (since 0.8).

    module: SwanLab's `__init__.py`; None where there is no SwanLab.
    """
    if module is None or isinstance(module, Unknown):
        return module
    for place in ("sdk/internal/run/__init__.py", "data/run/main.py"):
        if function := re.search(r"^def get_run\(.*?(?=^\S)", text_of(module.parent / place), re.M | re.S):
            return "raises" if re.search(r"^\s+raise\b", function[0], re.M) else "none"
    return Unknown("get_run() was not found in this SwanLab's source")


def _home(environment: Mapping[str, str]) -> Path:
    named = environment.get("SWANLAB_ROOT") or environment.get("SWANLAB_SAVE_DIR")
    return Path(named) if named else Path(environment.get("HOME") or Path.home()) / ".swanlab"


def _unquoted(value: str) -> str:
    """A variable's value without the pair of quotes that a shell may have left around it, as SwanLab reads it."""
    value = value.strip()
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value
