"""What the plugin's monitor is told, and that the plugin is given for it alone too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swift_fa_launcher.config.layers import resolve_data
from swift_fa_launcher.launch.plan import PLUGIN, LaunchPlan, make_plan, monitor_job
from swift_fa_launcher.launch.stall import STACKS_SIGNAL
from swift_fa_launcher.machine.facts import Facts


def plan(data: dict[str, Any]) -> LaunchPlan:
    return make_plan(resolve_data(data), Facts(), run_id="r1", run_dir="/runs/r1", cwd="/here")


def jobs(made: LaunchPlan) -> dict[str, Any]:
    return dict(json.loads(made.env.get("SWIFT_FA_PLUGIN", "{}")))


@pytest.mark.parametrize(("swift", "allow", "wants"), [
    ({"attn_impl": "flash_attn"}, [], "attn_impl=flash_attn"),
    ({"attn_impl": "flash_attention_3", "packing": True}, [], "attn_impl=flash_attention_3"),
    ({"attn_impl": "kernels-community/flash-attn2"}, [], "attn_impl=kernels-community/flash-attn2"),
    ({"packing": "true"}, [], "packing"), ({"padding_free": True}, [], "padding_free"),
    ({"packing": True, "attn_impl": "sdpa"}, ["packing-needs-flash-attn"], ""),
    ({"packing": True, "attn_impl": "flash_attn"}, ["packing-needs-flash-attn"], "attn_impl=flash_attn"),
    ({"attn_impl": "sdpa"}, [], ""), ({}, [], ""),
])
def test_why_flash_attention_is_expected(swift: dict[str, Any], allow: list[str], wants: str) -> None:
    # the built-in defaults ask for packing
    config = resolve_data({"swift": {"packing": False, "attn_impl": None, **swift}, "preflight": {"allow": allow}})
    assert monitor_job(config, "/runs/r1") == {"folder": "/runs/r1", "wants": wants}


def test_all_concerns_are_in_one_variable() -> None:
    made = plan({"swanlab": {"mode": "offline", "project": "p"}})
    assert set(jobs(made)) == {"swanlab", "monitor", "speedups", "pulse"} and made.argv.count(PLUGIN) == 1
    for name in ("swift_fa_plugin.py", "swift_fa_monitor.py", "swift_fa_speedups.py", "swift_fa_pulse.py"):
        assert Path(PLUGIN).with_name(name).is_file()


@pytest.mark.parametrize("level", ["exact", "all"])
def test_the_speedups_are_told_their_level_and_where_to_tell(level: str) -> None:
    assert jobs(plan({"run": {"speedups": level}}))["speedups"] == {"level": level, "folder": "/runs/r1"}


def test_the_plugin_is_given_for_the_monitor_alone_after_the_users_own() -> None:
    made = plan({"swift": {"external_plugins": ["mine.py"]}, "swanlab": {"mode": "disabled"}, "run": {"speedups": "never"}})
    at = made.argv.index("--external_plugins")
    assert set(jobs(made)) == {"monitor", "pulse"} and made.argv[at + 1:at + 3] == ("mine.py", PLUGIN)


def test_without_any_there_is_no_plugin() -> None:
    made = plan({"swanlab": {"mode": "disabled"}, "run": {"monitor": False, "speedups": "never"}})
    assert "SWIFT_FA_PLUGIN" not in made.env and "--external_plugins" not in made.argv
    assert set(jobs(plan({"run": {"monitor": False, "speedups": "never"}}))) == {"swanlab"}


def test_the_pulse_is_told_its_folder_and_the_signal_for_stacks() -> None:
    assert jobs(plan({}))["pulse"] == {"folder": "/runs/r1", "signal": STACKS_SIGNAL}
    for off in ({"launch": {"stall_timeout": None}}, {"run": {"monitor": False}}):
        assert "pulse" not in jobs(plan(off))
