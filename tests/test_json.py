"""docs/json.md is what the commands print: every command with its top-level keys."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny  # type: ignore[import-not-found]
from run_records import start  # type: ignore[import-not-found]

from swift_fa_launcher.cli import main
from swift_fa_launcher.commands import COMMANDS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
FACTS = str(ROOT / "docs" / "example-facts.json")
EMPTY = "swanlab.enabled=false"

#: The command's section, which of its tables, and what is typed.
TYPED: list[tuple[str, int, list[str]]] = [
    ("preflight", 0, ["preflight", "--facts", FACTS]), ("rehearse", 0, ["rehearse", "swift-fa:lora", EMPTY]),
    ("tune", 0, ["tune", "swift-fa:lora", EMPTY]),
    ("train, rerun, resume", 0, ["train", "swift-fa:lora", "--dry-run", EMPTY]),
    ("train, rerun, resume", 0, ["rerun", "one", "--dry-run"]), ("train, rerun, resume", 1, ["train", "swift-fa:lora", EMPTY]),
    ("init", 0, ["init", "a.yaml", "--model", tiny.MODEL_NAME, "--dataset", tiny.ROWS_NAME]),
    ("install", 0, ["install", "--facts", FACTS, "--index", "wheels", "--dry-run"]),
    ("config", 0, ["config", "swift-fa:lora"]), ("diagnose", 0, ["diagnose", "a.log"]), ("explain", 0, ["explain", "gpu-none"]),
    ("explain", 1, ["explain"]), ("runs", 0, ["runs"]), ("show", 0, ["show", "one"]), ("diff", 0, ["diff", "one", "latest"]),
    ("import", 0, ["import", "a.sh"]), ("sweep", 0, ["sweep", "swift-fa:lora", "swift.seed=1,2", EMPTY, "--dry-run"]),
    ("compare", 0, ["compare", "one", "two"]), ("tag", 0, ["tag", "one", "x"]), ("note", 0, ["note", "one", "x"]),
    ("report", 0, ["report", "one"]), ("prune", 0, ["prune", "--name", "one"]), ("pack", 0, ["pack", "one", "r.tar.gz"]),
    ("schema", 0, ["schema", "--out", "s.json"]), ("completion", 0, ["completion", "bash"]),
    ("An error, from any command", 0, ["show", "nothing"]), ("An error, from any command", 0, ["train", "nix.yaml"]),
]
OF_THE_STACK = [("args", 0, ["args", "learning_rate"])]
#: Held elsewhere: `show` is what `train` prints, bench.json in tests/bench; unpack takes what pack has written.
LONG = {"bench", "resume", "unpack"}


def section(title: str) -> str:
    return re.split(r"(?m)^## ", PAGE.split(f"\n## {title}\n")[1])[0]


def keys(table: str) -> tuple[set[str], set[str]]:
    """The keys that a table names: those that are always there, and all."""
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = [match for cell in cells for match in re.findall(r"`(\w+)`(°?)", cell)]
    return {name for name, mark in named if not mark}, {name for name, _ in named}


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    start(tmp_path)
    start(tmp_path, "two")
    (tmp_path / "a.sh").write_text("swift sft --model Qwen/Qwen2.5-7B-Instruct --dataset a.jsonl\n")
    (tmp_path / "a.log").write_text("torch.OutOfMemoryError: CUDA out of memory.\n")
    (tmp_path / "wheels").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("title", "which", "words"),
                         [*TYPED, *(pytest.param(*one, marks=pytest.mark.stack) for one in OF_THE_STACK)])
def test_the_page_names_what_is_printed(work: Path, capfd: pytest.CaptureFixture[str], title: str, which: int,
                                        words: list[str]) -> None:
    main([*words, "--json", "--quiet"])
    printed: dict[str, Any] = json.loads(capfd.readouterr().out)
    tables = re.split(r"(?m)^\| key \|.*\n", section(title))[1:]
    always, every = keys(tables[which])
    assert always <= set(printed) <= every, (always - set(printed), set(printed) - every)
    assert printed["schema"] == 1


def test_every_command_has_its_section() -> None:
    titles = {name for title in re.findall(r"(?m)^## (.+)$", PAGE) for name in title.split(", ")}
    assert set(COMMANDS) <= titles, set(COMMANDS) - titles
    tried = {words[0] for _, _, words in (*TYPED, *OF_THE_STACK)}
    assert set(COMMANDS) - LONG <= tried, f"TYPED lacks {set(COMMANDS) - LONG - tried}"


def test_the_bench_prints_what_its_section_says() -> None:
    kept = json.loads((ROOT / "docs" / "h200" / "bench.json").read_text(encoding="utf-8"))
    assert set(kept) == keys(section("bench"))[1]


def test_quiet_says_nothing_but_the_result(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for words in (["preflight", f"launch.python={sys.executable}", "--offline"], ["runs"], ["show", "one"]):
        main([*words, "--quiet"])
        quiet = capfd.readouterr()
        assert quiet.out and "..." not in quiet.err and not quiet.err
