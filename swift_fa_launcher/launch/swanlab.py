"""The `swanlab` section as what a training is given: arguments, variables, and the plugin that carries them out. Pure.

ms-swift's own arguments are not enough: its parser knows the modes cloud and local only and always passes one on,
it shows `swanlab_secret` in args.json, in checkpoints and in the log, and a swanlab.yaml in the folder where training
starts outranks the environment (ms-swift 3.8 to 4.6, SwanLab 0.8 to 0.10). So a plugin inside the training sets what
SwanLab ranks highest. It is told what by one variable, `SWIFT_FA_PLUGIN`, which holds no secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig

KEY_VARIABLE = "SWANLAB_API_KEY"
WEBHOOK_VARIABLE, SECRET_VARIABLE = "SWIFT_FA_NOTIFY_WEBHOOK_URL", "SWIFT_FA_NOTIFY_SECRET"

#: In the run's folder once the training has sent its message.
SENT = "notified"

#: What ms-swift reports to when it is not told (swift/trainers/arguments.py, 3.8 to 4.6).
DEFAULT_TRACKERS = ("tensorboard",)

#: From here on SwanLab has settings with a rank order, and a server's address without /api.
SETTINGS_SINCE = Version("0.8.0a0")


@dataclass(frozen=True)
class SwanLabSettings:
    """arguments: for the swift section, over what it holds. env: variables to set. secrets: names of variables that the
    training needs and nothing may show. jobs: entries for the plugin's variable."""

    arguments: Mapping[str, Any]
    env: Mapping[str, str]
    secrets: tuple[str, ...]
    jobs: Mapping[str, Any]


def make_swanlab_settings(config: ResolvedConfig, swanlab: Version | None, run_dir: str) -> SwanLabSettings:
    """What makes a training track itself as the `swanlab` section says, or not at all.

    `swift.swanlab_*` written by the user stays as written and wins over the section. Logs go to `run_dir`/swanlab; the
    plugin leaves the run's id and its address or folder in `run_dir`/swanlab.json.
    """
    section, mode = config.swanlab, config.swift.text("swanlab_mode") or config.swanlab.mode
    if not section.tracks:
        return _untracked(config)
    values = notification_secrets(config)
    log_dir = str(PurePath(run_dir, "swanlab"))
    arguments = _tracked(config, mode)
    job = {
        "mode": mode, "host": section.host, "names": _names({**config.swift, **arguments}), "log_dir": log_dir,
        "result": str(PurePath(run_dir, "swanlab.json")),
        "notification": make_notification_job(config, run_dir),
    }
    env = {"SWANLAB_MODE": mode, "SWANLAB_LOG_DIR": log_dir, **_host(section.host, swanlab)}
    return SwanLabSettings(arguments, env, (KEY_VARIABLE, *values), {"swanlab": job})


def notification_secrets(config: ResolvedConfig) -> dict[str, str]:
    """Variable to value of what the notification keeps secret; for the child's environment and nothing else."""
    notification = config.swanlab.notification
    if not config.swanlab.tracks or not notification.method:
        return {}
    values = {WEBHOOK_VARIABLE: notification.webhook_url, SECRET_VARIABLE: notification.secret}
    return {name: value for name, value in values.items() if value}


def _tracked(config: ResolvedConfig, mode: str) -> dict[str, Any]:
    trackers = [name for name in config.swift.names("report_to") or DEFAULT_TRACKERS if name != "none"]
    wanted = {
        "swanlab_project": config.swanlab.project,
        "swanlab_exp_name": config.swanlab.experiment or config.run.name,
        "swanlab_workspace": config.swanlab.workspace,
        # the parser's two modes: the one that sends nothing stands for offline until the plugin says which it is
        "swanlab_mode": "cloud" if mode == "cloud" else "local",
    }
    return {"report_to": trackers if {"all", "swanlab"} & {*trackers} else [*trackers, "swanlab"],
            **{name: value for name, value in wanted.items() if value is not None and config.swift.get(name) is None}}


def _names(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What ms-swift hands to SwanLab, for `report_to all`, with which it hands over nothing."""
    words = {"project": "swanlab_project", "workspace": "swanlab_workspace", "experiment_name": "swanlab_exp_name"}
    return {word: arguments[name] for word, name in words.items() if arguments.get(name) is not None}


def _untracked(config: ResolvedConfig) -> SwanLabSettings:
    """The user's other trackers stay; `none` where SwanLab was the only one, else ms-swift's own default comes back."""
    trackers, env = config.swift.names("report_to"), {"SWANLAB_MODE": "disabled"}
    if "all" in trackers:
        return SwanLabSettings({}, env, (), {"swanlab_off": {}})
    if "swanlab" not in trackers:
        return SwanLabSettings({}, env, (), {})
    return SwanLabSettings({"report_to": [name for name in trackers if name != "swanlab"] or ["none"]}, env, (), {})


def _host(host: str | None, swanlab: Version | None) -> dict[str, str]:
    if host is None:
        return {}
    host = host.rstrip("/")
    if swanlab is not None and swanlab < SETTINGS_SINCE:
        return {"SWANLAB_API_HOST": host if host.endswith("/api") else f"{host}/api", "SWANLAB_WEB_HOST": host}
    return {"SWANLAB_API_HOST": host}


def make_notification_job(config: ResolvedConfig, run_dir: str) -> dict[str, Any] | None:
    """What the plugin is told: everything but the secrets, and which variables hold those. None where the `swanlab` section asks
    for no message, or ms-swift's own arguments do."""
    notification, values = config.swanlab.notification, notification_secrets(config)
    if not config.swanlab.tracks or not notification.method or _notifies_itself(config):
        return None
    told = {"method": notification.method, "sent": str(PurePath(run_dir, SENT)), "errors": config.launch.restarts == 0,
            "webhook_url_from": WEBHOOK_VARIABLE if WEBHOOK_VARIABLE in values else None,
            "secret_from": SECRET_VARIABLE if SECRET_VARIABLE in values else None,
            "sender_email": notification.sender_email, "receiver_email": notification.receiver_email,
            "smtp_server": notification.smtp_server, "port": notification.smtp_port,
            "language": notification.email_language}
    return {name: value for name, value in told.items() if value is not None}


def _notifies_itself(config: ResolvedConfig) -> bool:
    """Whether the user wrote ms-swift's own notification arguments (3.8 had Lark's only)."""
    return any(config.swift.text(key) for key in ("swanlab_notification_method", "swanlab_lark_webhook_url"))
