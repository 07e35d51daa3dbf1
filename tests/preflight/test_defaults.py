"""Our own defaults give way to what a config asks for; what it asks for itself does not."""

from __future__ import annotations

from typing import Any

import pytest
from machines import MODEL, config_data, machine

from swift_fa_launcher.config.layers import resolve_data
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.findings.finding import ERROR, INFO
from swift_fa_launcher.findings.table import TABLE
from swift_fa_launcher.launch.plan import make_plan
from swift_fa_launcher.preflight.checks import GIVES_WAY, settle
from swift_fa_launcher.stories.launch import judge

GEMMA = {"paths": {MODEL: {"kind": "dir", "missing_files": [], "model_config": {
    "model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"]}}}}


def asked(swift: dict[str, Any], **sections: Any) -> ResolvedConfig:
    """A config that writes these arguments, and neither packing nor attn_impl unless they are among them."""
    return resolve_data(config_data({"packing": None, "attn_impl": None, **swift}, **sections))


@pytest.mark.parametrize(("code", "swift", "facts"), [
    ("packing-lazy-tokenize", {"lazy_tokenize": True}, {}), ("packing-needs-flash-attn", {"attn_impl": "sdpa"}, {}),
    ("packing-model-unsupported", {}, GEMMA),
])
def test_packing_is_left_out_where_nobody_asked_for_it(code: str, swift: dict[str, Any], facts: dict[str, Any]) -> None:
    judged = judge(asked(swift), machine(**facts))
    (told,) = [finding for finding in judged.findings if finding.code == code]
    assert told.severity is INFO and told.fix == ("swift.packing=null",) and told.summary[0].endswith("so it is left out")
    plan = make_plan(judged.config, judged.facts, run_id="1", run_dir="/runs/1", cwd="/here")
    assert "--packing" not in plan.argv and judged.config.values["swift"]["packing"] is None
    assert {*swift} <= {word.removeprefix("--") for word in plan.argv}

    written = settle(asked({**swift, "packing": True}), machine(**facts))
    allowed = settle(asked(swift, preflight={"allow": [code]}), machine(**facts))
    for config, findings in (written, allowed):
        assert config.swift["packing"] is True and [f.severity for f in findings if f.code == code] == [ERROR]


def test_what_a_default_gives_way_to_may_be_said_so() -> None:
    codes = {code for codes in GIVES_WAY.values() for code in codes} & {*TABLE}
    assert codes and not {code for code in codes if INFO not in TABLE[code].may_be}


def test_what_fits_stays() -> None:
    config, findings = settle(asked({}), machine())
    assert config.swift["packing"] is True and config.swift["attn_impl"] == "flash_attn" and not findings
