"""explain as a user meets it."""

from __future__ import annotations

import json

import pytest

from swift_fa_launcher.cli import main
from swift_fa_launcher.findings.areas import AREAS, ENTRIES
from swift_fa_launcher.findings.table import TABLE


def test_one_code(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "nproc-exceeds-gpus"]) == 0
    said = capfd.readouterr().out
    assert "there are more processes than GPUs" in said and "Launching" in said and "error" in said
    assert "-> launch.nproc_per_node=GPUS\n" in said and "Words in capitals" in said
    assert main(["explain", "nproc-exceeds-gpus", "--lang", "zh"]) == 0 and "进程数多于 GPU 数" in capfd.readouterr().out
    assert main(["explain", "launch-nested", "--json"]) == 0
    answer = json.loads(capfd.readouterr().out)
    assert (answer["schema"], answer["code"], answer["area"], answer["severities"]) == (1, "launch-nested", "launch", ["error"])
    assert "unset WORLD_SIZE RANK" in answer["ways"][0]["fix"]


def test_all_codes(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(TABLE)
    assert [line for line in lines if line in {title.en for title in AREAS.values()}] == [
        title.en for area, title in AREAS.items() if ENTRIES[area]]
    assert main(["explain", "--json"]) == 0
    assert [one["code"] for one in json.loads(capfd.readouterr().out)["findings"]] == list(TABLE)


def test_an_unknown_code_is_a_usage_error_with_the_nearest(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "torch-mising"]) == 2 and "-> swift-fa explain torch-missing\n" in capfd.readouterr().err
    assert main(["explain", "xyzzy"]) == 2 and "-> list all codes: swift-fa explain\n" in capfd.readouterr().err
