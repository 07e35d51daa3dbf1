"""What docs/make_wheels.py says of every combination of torch, CUDA, Python, GPU and processor."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from by_path import load_file

from swift_fa_launcher.flash.name import Candidate

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    module: ModuleType = load_file(DOCS / "make_wheels.py")
    return module


def offered(*names: str) -> list[Candidate]:
    return [Candidate(name, f"https://github.com/a/b/releases/download/v1/{name}", "test") for name in names]


WHEEL = "flash_attn-2.8.3+{}-cp312-cp312-linux_x86_64.whl"
THREE = "flash_attn_3-3.0.0+cu130torch2.9git1-cp39-abi3-linux_x86_64.whl"


@pytest.mark.parametrize(("names", "torch", "gpu", "said"), [
    (["cu130torch2.11"], "2.11", "9.0", 0), (["cu130torch2.11"], "2.11", "12.0", 0), (["cu130torch2.11"], "2.11", "11.0", 1),
    (["cu130torch2.10"], "2.11", "9.0", 2), (["cu130torch2.9"], "2.11", "9.0", 4), ([], "2.11", "11.0", 5),
    ([THREE], "2.14", "9.0", 3), ([THREE], "2.14", "8.0", 5), (["cu126torch2.11"], "2.11", "9.0", 4),
])
def test_answers(script: ModuleType, names: list[str], torch: str, gpu: str, said: int) -> None:
    wheels = offered(*(name if name == THREE else WHEEL.format(name) for name in names))
    assert script.answer(script.Combination(torch, "13.0", 12, gpu, "x86_64"), wheels) == script.ANSWERS[said]


def test_a_wheel_from_before_cuda_12_8_may_lack_a_new_gpus_code(script: ModuleType) -> None:
    wheels = offered(WHEEL.format("cu126torch2.10"))
    for gpu, said in (("9.0", 0), ("12.0", 1)):
        assert script.answer(script.Combination("2.10", "12.8", 12, gpu, "x86_64"), wheels) == script.ANSWERS[said]


def test_only_what_exists_is_asked(script: ModuleType) -> None:
    found = list(script.combinations())
    assert len(found) == len(set(found)) and {one.gpu for one in found} == set(script.GPUS)
    stacks = {(one.torch, one.cuda, one.gpu) for one in found}
    assert ("2.4", "12.4", "8.0") in stacks and not stacks & {("2.4", "12.4", "12.0"), ("2.11", "12.8", "11.0")}
    assert ("2.4", 14) not in {(one.torch, one.python) for one in found}


@pytest.mark.slow
def test_the_page_says_what_the_lists_say(script: ModuleType, shared: Path) -> None:
    """For one torch, on the list that the page was written from."""
    releases = json.loads((shared / "wheels/releases-mjun0812.json").read_text())
    wheels = [Candidate(a["name"], a["browser_download_url"], "saved") for r in releases for a in r["assets"]]
    answers = {one: script.answer(one, wheels) for one in script.combinations() if one.torch == "2.6"}
    row = next(line for line in (DOCS / "wheels.md").read_text(encoding="utf-8").splitlines() if line.startswith("| 2.6 |"))
    told = Counter(answers.values())
    shares = [f"{100 * told[said] / len(answers):.1f} %" if told[said] else "–" for said in script.ANSWERS]
    assert row == f"| 2.6 | {len(answers)} | {' | '.join(shares)} |", "run: python docs/make_wheels.py LISTS"
