"""SwanLab: installed, logged in, reachable, and no secrets in the config."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Unknown, known
from swift_fa_launcher.errors import Text
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.preflight.finding import ERROR, Check, Finding
from swift_fa_launcher.preflight.reading import is_absent, pip_install, written

SECRET_NAME = re.compile(r"(^|_)(api_?key|access_?key|key|token|secret|password|passwd|credentials?)(_|$)", re.IGNORECASE)


def swanlab_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """SwanLab is switched on and not installed."""
    if config.swanlab.tracks and is_absent(facts, "swanlab"):
        yield Finding("swanlab-missing", ERROR, Text("SwanLab is on and not installed", "启用了 SwanLab，但没有安装它"),
                      (pip_install(facts, "swanlab"), "swanlab.enabled=false"))


def swanlab_not_logged_in(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Mode cloud without a key ends in `no TTY is available for interactive login`, after the model is loaded.

    https://github.com/SwanHubX/SwanLab/issues/1503
    """
    swanlab = known(facts.swanlab)
    if _to_cloud(config) and swanlab and swanlab.api_key is None:
        yield Finding("swanlab-not-logged-in", ERROR,
                      Text("SwanLab mode cloud, no SWANLAB_API_KEY and no saved login",
                           "SwanLab 的 mode 是 cloud，但没有 SWANLAB_API_KEY，也没有登录过"),
                      ("swanlab login", "export SWANLAB_API_KEY=…", "swanlab.mode=offline"))


def swanlab_key_in_config(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A key written in a config is printed, recorded and uploaded with it; an interpolated one is not written."""
    for key, _ in written_secrets(config):
        yield Finding("swanlab-key-in-config", ERROR,
                      Text(f"{key}{written(config, key)} holds a secret", f"{key}{written(config, key)} 里写着密钥"),
                      (Text("remove it and export the variable instead: export SWANLAB_API_KEY=…",
                            "把它删掉，改用环境变量：export SWANLAB_API_KEY=…"),), {"key": key})


def written_secrets(config: ResolvedConfig) -> Iterator[tuple[str, str]]:
    """(dotted key, value) of every secret that stands in the config itself."""
    candidates = [(f"swift.{name}", value) for name, value in config.swift.items() if _is_secret_argument(name)]
    notification = config.swanlab.notification
    candidates += [("swanlab.notification.secret", notification.secret)]
    candidates += [(f"env.{name}", value) for name, value in config.env.items() if SECRET_NAME.search(name)]
    if notification.webhook_url and _carries_credentials(notification.webhook_url):
        candidates.append(("swanlab.notification.webhook_url", notification.webhook_url))
    for key, value in candidates:
        if isinstance(value, str) and value.strip() and not _interpolated(config, key):
            yield key, value


def _is_secret_argument(name: str) -> bool:
    return name.endswith(("_token", "_secret", "_api_key", "_password")) and not name.startswith("new_special")


def _carries_credentials(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.password) or bool(re.search(r"[/=][0-9A-Za-z_-]{16,}", parts.path + "?" + parts.query))


def _interpolated(config: ResolvedConfig, key: str) -> bool:
    origin = config.origins.get(key)
    return origin is not None and (origin.text is None or "${" in origin.text)


def _to_cloud(config: ResolvedConfig) -> bool:
    return config.swanlab.tracks and config.swanlab.mode == "cloud"


CHECKS: tuple[Check, ...] = (swanlab_missing, swanlab_not_logged_in, swanlab_key_in_config)
