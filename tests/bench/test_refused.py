"""A bench that measures nothing, since the checks refuse every variant: what it writes and what it keeps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from swift_fa_launcher.bench.bench import MEASURED, Bench, Measured, Result, bench_to_json
from swift_fa_launcher.errors import Voice
from swift_fa_launcher.stories.bench import Ended, Wish, run_bench

NEWER = '{"schema": 2}'  # a launcher's that is not here
SECRETS = ("env.SWANLAB_API_KEY=sekret-of-text", "swift.hub_token=123456789", "swanlab.notification.secret=sekret-of-mine")


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An interpreter without torch; the working folder holds a config and a dataset."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    monkeypatch.chdir(tmp_path)
    Path("chat.jsonl").write_text('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 8)
    Path("c.yaml").write_text("swift: {model: m, dataset: chat.jsonl}\nswanlab: {mode: disabled}\nrun: {name: one}\n")
    return str(tmp_path / "venv" / "bin" / "python")


def bench(python: str, *overrides: str, variants: tuple[str, ...] = ("packing",)) -> Ended:
    return run_bench([Path("c.yaml")], [f"launch.python={python}", *overrides],
                     Wish(variants, rows=4, out=Path("results"), install=False), Voice())


def test_earlier_results_are_kept_once_and_under_names_of_their_own(bare: str) -> None:
    results = Path("results")
    results.mkdir()
    for text in (NEWER, NEWER, '{"schema": 3}'):
        (results / "bench.json").write_text(text)
        assert bench(bare).bench.results[0].status == "skipped"
        assert json.loads((results / "bench.json").read_text())["schema"] == 1
    assert sorted({old.read_text() for old in results.glob("bench.2*.json")}) == [NEWER, '{"schema": 3}']


def test_what_was_measured_of_something_else_holds_no_longer(bare: str) -> None:
    measured = Measured(tokens=1000, seconds=2.0, steps=20, examples=500, padding=0.5, peak_memory_gib=1.0)
    earlier = Bench({}, (Result("packing", MEASURED, measured=measured, key={"data": {"other.jsonl": 5}}),))
    Path("results").mkdir()
    Path("results/bench.json").write_text(json.dumps(bench_to_json(earlier)))
    ended = bench(bare, *SECRETS)
    assert [one.status for one in ended.bench.results] == ["skipped"]
    (old,) = Path("results").glob("bench.2*.json")
    assert json.loads(old.read_text()) == bench_to_json(earlier)


def test_no_secret_is_in_any_file(bare: str) -> None:
    ended = bench(bare, *SECRETS)
    files = {file.name: file.read_text(encoding="utf-8") for file in Path("results").glob("*.*")}
    assert ended.bench.results[0].status == "skipped" and {"bench.json", "table.md"} <= set(files)
    assert not [name for name, text in files.items() if "sekret" in text or "123456789" in text]
