"""Every finding code from a machine and a config that give it, and none on their healthy neighbours."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from machines import build_config, config, config_data, machine, machine_data
from preflight_cases import ALL
from replay_shared_cases import judge, read_cases

from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.decode import DecodeError
from swift_fa_launcher.errors import FactsError, Text
from swift_fa_launcher.machine.facts import parse_facts
from swift_fa_launcher.preflight.checks import check_all
from swift_fa_launcher.preflight.codes import AREAS, CODES, DIAGNOSE_ONLY
from swift_fa_launcher.preflight.finding import Finding


@pytest.mark.parametrize(("expect", "facts", "swift", "sections"), ALL)
def test_findings(expect: str, facts: dict[str, Any], swift: dict[str, Any], sections: dict[str, Any]) -> None:
    findings = check_all(config(swift, **sections), machine(**facts))
    assert sorted(f"{f.severity.value[0].upper()} {f.code}" for f in findings) == \
        sorted(filter(None, expect.split(", "))), "\n".join(str(f) for f in findings)
    for finding in findings:
        assert_well_said(finding)


def assert_well_said(finding: Finding) -> None:
    assert finding.severity in CODES[finding.code].severities, finding
    assert isinstance(finding.summary, Text), "both languages"
    for words in (*finding.summary, *(w for line in finding.fix for w in (line if isinstance(line, Text) else (line,)))):
        assert words and "\n" not in words, "one line"
    assert any("\u4e00" <= c <= "\u9fff" for c in finding.summary.zh), "Chinese"
    assert finding.fix, "what mends it"
    finding.to_json("zh")


def test_every_code_is_found_above() -> None:
    found = {word for param in ALL for word in str(param.values[0]).replace(",", "").split()}
    assert {*CODES} - {*DIAGNOSE_ONLY} <= found
    assert {code.area for code in CODES.values()} == {*AREAS}


def test_a_secret_is_never_shown() -> None:
    key = "abcd1234efgh5678ijkl9"
    findings = check_all(config({"swanlab_token": key}, env={"MY_SECRET": key}), machine())
    assert key not in "".join(str(f.to_json(lang)) for f in findings for lang in ("en", "zh"))


def test_a_secret_that_the_config_only_names_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_HOOK_SECRET", "s3cr3t-s3cr3t")
    file = tmp_path / "run.yaml"
    file.write_text("swanlab: {notification: {secret: '${oc.env:MY_HOOK_SECRET}'}}\n")
    named = [f.code for f in check_all(resolve_config([file]), machine())]
    file.write_text("swanlab:\n  notification:\n    secret: s3cr3t-s3cr3t\n")
    written = [f for f in check_all(resolve_config([file]), machine()) if f.code == "swanlab-key-in-config"]
    given = [f for f in check_all(resolve_config([], ["swift.swanlab_token=k-k-k-k-k"]), machine())
             if f.code == "swanlab-key-in-config"]
    assert "swanlab-key-in-config" not in named
    assert f"{file}:3" in written[0].summary[0] and "k-k" not in str(given)


def test_a_finding_names_the_line_that_is_to_blame(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("swift:\n  packing: true\n  attn_impl: sdpa\n")
    finding = next(f for f in check_all(resolve_config([file]), machine()) if f.code == "packing-needs-flash-attn")
    assert f"{file}:2" in finding.summary[0] and f"{file}:3" in finding.summary[0]


@pytest.mark.parametrize("case", read_cases() or [None], ids=lambda p: p.stem if p else "none")
def test_shared_cases(case: Path | None) -> None:
    if case is None:
        pytest.skip("no shared cases beside this checkout")
    _, missed, alarms = judge(json.loads(case.read_text(encoding="utf-8")))
    assert (missed, alarms) == ([], [])


ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 10**30, 10**400, -(2**63), 0.0, -0.5, 1e308, float("nan"), float("inf"), "", " ", "\\", "0", "-1",
    "true", "nan", "9.9.9", "8.0", "x" * 3000, "好\n", "a,b,,", "sm_", "sm_\u0668\u0660", "²", "http://[", "[", "#9", "a/b#\u0661",
    "GLIBC_\u0661.2' not found", "undefined symbol: _ZN99999", "libcudart.so.9", "${x}", [], [None], ["x", 1, {}], [[]], {},
    {"unknown": "w"}, {"a": {"b": [1]}}, {"index": 1}, {"devices": [{"index": 0, "ok": False}]},
)


def spoil(value: Any, rng: random.Random, odds: float) -> Any:
    """The plain data with odd values in some places, mostly of the right type, keys dropped and others strewn in."""
    if rng.random() < odds:
        alike = [odd for odd in ODD if type(odd) is type(value)] if rng.random() < 0.8 else ODD
        return rng.choice([*alike, None, {"unknown": "w"}])
    if isinstance(value, dict):
        kept = {k: spoil(v, rng, odds) for k, v in value.items() if rng.random() > odds}
        return kept | ({str(rng.choice(ODD)): rng.choice(ODD)} if rng.random() < odds else {})
    return [spoil(v, rng, odds) for v in value] if isinstance(value, list) else value


def run_spoilt(seed: int) -> bool:
    """Judges one spoilt machine and config; whether both could be read at all."""
    rng = random.Random(seed)
    _, facts, swift, sections = rng.choice(ALL).values
    odds = rng.choice((0.005, 0.02, 0.1))
    saved, written = machine_data(**facts), config_data(swift, **sections)
    keys = [*saved["paths"], "sequence_parallel_size", "ddp_timeout", "lora_rank", "resume_from_checkpoint", "packing_cache",
            "swanlab_token", "bf16", "dataset_num_proc", "save_total_limit", "max_steps", "save_steps", "train_type", "model_type"]
    written["swift"] |= {key: rng.choice(ODD) for key in rng.sample(keys, 3)}
    try:
        read = parse_facts({key: spoil(value, rng, odds) if key != "schema" else 1 for key, value in saved.items()}, "spoilt")
        meant = build_config({section: {key: spoil(value, rng, odds) for key, value in group.items()}
                              for section, group in written.items()})
    except (FactsError, DecodeError):
        return False
    for finding in check_all(meant, read):
        json.dumps(finding.to_json("zh"))
    return True


@pytest.mark.parametrize("start", range(0, 2000, 500))
def test_no_machine_or_config_gives_a_traceback(start: int) -> None:
    assert sum(run_spoilt(seed) for seed in range(start, start + 500)) > 50
