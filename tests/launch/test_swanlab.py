"""The `swanlab` section as arguments, variables and the plugin's job."""

from __future__ import annotations

from typing import Any

import pytest
from packaging.version import Version

from swift_fa_launcher.config.schema import Notification, ResolvedConfig, RunSection, SwanLabSection, SwiftArguments
from swift_fa_launcher.launch.swanlab import SwanLabSettings, make_swanlab_settings, notification_secrets


def settings(swift: dict[str, Any] | None = None, *, name: str | None = None, swanlab: str | None = "0.10.3",
             **section: Any) -> SwanLabSettings:
    config = ResolvedConfig(SwiftArguments(swift or {}), swanlab=SwanLabSection(**section), run=RunSection(name=name))
    return make_swanlab_settings(config, Version(swanlab) if swanlab else None, "/runs/one")


def job(made: SwanLabSettings) -> dict[str, Any]:
    return dict(made.jobs["swanlab"])


def test_project_experiment_workspace_mode_and_host_reach_the_training() -> None:
    made = settings(project="harbour", experiment="tide", workspace="crew", host="https://lab.example/")
    assert made.arguments == {"report_to": ["tensorboard", "swanlab"], "swanlab_project": "harbour",
                              "swanlab_exp_name": "tide", "swanlab_workspace": "crew", "swanlab_mode": "cloud"}
    assert made.env["SWANLAB_API_HOST"] == "https://lab.example"
    assert made.env["SWANLAB_LOG_DIR"] == "/runs/one/swanlab"
    assert job(made)["host"] == "https://lab.example/"
    assert made.secrets == ("SWANLAB_API_KEY",)


@pytest.mark.parametrize("mode, argument", [("cloud", "cloud"), ("local", "local"), ("offline", "local")])
def test_ms_swift_is_given_a_mode_that_its_parser_knows_and_the_plugin_the_real_one(mode: str, argument: str) -> None:
    made = settings(mode=mode)
    assert made.arguments["swanlab_mode"] == argument
    assert job(made)["mode"] == made.env["SWANLAB_MODE"] == mode


@pytest.mark.parametrize("written, tracked, untracked", [
    (None, ["tensorboard", "swanlab"], None),
    ("wandb", ["wandb", "swanlab"], None),
    (["swanlab", "wandb"], ["swanlab", "wandb"], ["wandb"]),
    ("swanlab", ["swanlab"], ["none"]),
    ("none", ["swanlab"], None),
    ("all", ["all"], None),
])
def test_other_trackers_stay(written: Any, tracked: list[str], untracked: list[str] | None) -> None:
    assert settings({"report_to": written}).arguments["report_to"] == tracked
    for off in ({"mode": "disabled"}, {"enabled": False}):
        made = settings({"report_to": written}, **off)
        assert made.arguments.get("report_to") == untracked
        assert made.env["SWANLAB_MODE"] == "disabled" and made.secrets == ()
        assert bool(made.jobs) == (written == "all"), "only `all` must be talked out of SwanLab from the inside"


def test_what_the_user_wrote_for_ms_swift_stays_as_written() -> None:
    made = settings({"swanlab_project": "mine", "swanlab_mode": "local", "swanlab_workspace": None},
                    project="section", workspace="crew")
    assert made.arguments == {"report_to": ["tensorboard", "swanlab"], "swanlab_workspace": "crew"}
    assert job(made)["mode"] == "local" and job(made)["names"] == {"project": "mine", "workspace": "crew"}


def test_the_run_s_name_stands_in_for_the_experiment_s() -> None:
    assert settings(name="tide").arguments["swanlab_exp_name"] == "tide"
    assert settings(name="tide", experiment="ebb").arguments["swanlab_exp_name"] == "ebb"
    assert "swanlab_exp_name" not in settings().arguments


@pytest.mark.parametrize("version, address", [
    ("0.7.20", "http://lab:1/api"), ("0.8.0", "http://lab:1"), ("0.10.3", "http://lab:1"), (None, "http://lab:1")])
def test_the_server_s_address_has_the_form_that_the_version_reads(version: str | None, address: str) -> None:
    assert settings(host="http://lab:1", swanlab=version).env["SWANLAB_API_HOST"] == address


def test_secrets_of_the_notification_are_named_and_nowhere_shown() -> None:
    message = Notification(method="email", webhook_url="https://hook/TOKEN", secret="PASSWORD", sender_email="a@b",
                           smtp_port=465)
    made = settings(notification=message)
    assert made.secrets == ("SWANLAB_API_KEY", "SWIFT_FA_NOTIFY_WEBHOOK_URL", "SWIFT_FA_NOTIFY_SECRET")
    assert "TOKEN" not in repr(made) and "PASSWORD" not in repr(made)
    assert job(made)["notification"] == {
        "method": "email", "sender_email": "a@b", "port": 465, "sent": "/runs/one/notified", "errors": True,
        "webhook_url_from": "SWIFT_FA_NOTIFY_WEBHOOK_URL", "secret_from": "SWIFT_FA_NOTIFY_SECRET"}
    assert notification_secrets(ResolvedConfig(swanlab=SwanLabSection(notification=message))) == {
        "SWIFT_FA_NOTIFY_WEBHOOK_URL": "https://hook/TOKEN", "SWIFT_FA_NOTIFY_SECRET": "PASSWORD"}


@pytest.mark.parametrize("key", ["swanlab_notification_method", "swanlab_lark_webhook_url"])
def test_a_notification_written_for_ms_swift_is_not_sent_twice(key: str) -> None:
    assert job(settings({key: "lark"}, notification=Notification(method="lark", webhook_url="https://hook")))[
        "notification"] is None
