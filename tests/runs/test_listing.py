"""Columns, conditions, order and trees of the list; tags and notes afterwards; several runs side by side."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from run_records import NOW, start, write_curves  # type: ignore[import-not-found]

from swift_fa_launcher.cli import main
from swift_fa_launcher.errors import UsageError
from swift_fa_launcher.runs.listing import NAMES, Values, as_tree, parse_columns, parse_condition, pick, sort_entries
from swift_fa_launcher.runs.record import edit_record, read_record, update_launched, update_record
from swift_fa_launcher.runs.store import list_runs, see_run, with_states


def make(tmp_path: Path, name: str, minute: int, *overrides: str, **changes: Any) -> Path:
    folder: Path = start(tmp_path, name, overrides=overrides, now=NOW + timedelta(minutes=minute))
    update_record(folder, replace(read_record(folder), status="finished", **changes))
    return folder


def swift_fa(tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main([*words, "--root", str(tmp_path / "runs"), "--lang", "en"]) == code
    told = capsys.readouterr()
    return told.err if code else told.out


@pytest.fixture
def three(tmp_path: Path) -> tuple[Path, ...]:
    """A run without a rank, one of rank 8 and one of rank 16, the oldest first; the last has no loss."""
    return (make(tmp_path, "a", 1, "swift.learning_rate=1e-4", result={"loss": 2.0, "step": 5}, tags=("x", "y")),
            make(tmp_path, "b", 2, "swift.lora_rank=8", result={"loss": 1.0}, measured={"peak_memory_gib": 3.5}),
            make(tmp_path, "c", 3, "swift.lora_rank=16", "swift.packing=false", notes="two\nlines"))


def test_conditions(tmp_path: Path, three: tuple[Path, ...]) -> None:
    entries = with_states(list_runs(tmp_path / "runs"))

    def names(*texts: str) -> str:
        return "".join(sorted(e.record.name for e in pick(entries, [parse_condition(text) for text in texts]) if e.record))

    assert names("swift.lora_rank=8") == "b" and names("swift.lora_rank=8,16") == "bc" and names("swift.lora_rank!=8") == "ac"
    assert names("loss<1.5") == "b" and names("loss>1") == "a" and names("swift.learning_rate=0.0001") == "a"
    assert names("tags=y") == "a" and names("swift.packing=false") == "c" and names("swift.lora_rank=null") == "a"
    assert names("name=?", "swift.lora_rank>8") == "c" and names("state=fin*") == "abc" and names("kind=run") == "abc"
    for wrong in ("loss", "loss<low", "swift.lora_rank", "lose=1", "swiftx.y=1", "=3", ""):
        with pytest.raises(UsageError):
            parse_condition(wrong)


def test_order_puts_what_has_no_value_last(tmp_path: Path, three: tuple[Path, ...]) -> None:
    entries = with_states(list_runs(tmp_path / "runs"))
    assert [e.folder for e in sort_entries(entries, "loss")] == [three[1], three[0], three[2]]
    assert [e.folder for e in sort_entries(entries, "loss", reverse=True)] == [three[0], three[1], three[2]]
    assert [e.folder for e in sort_entries(entries, "swift.lora_rank", reverse=True)] == [three[2], three[1], three[0]]


def test_columns_on_the_command_line(tmp_path: Path, three: tuple[Path, ...], capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    write_curves(three[1], output, 10)
    update_record(three[1], replace(read_record(three[1]), output_dir=str(output)))
    listed = swift_fa(tmp_path, capsys, "runs", "--columns", "swift.lora_rank, loss,eval_loss,peak_memory_gib", "--sort", "loss",
                      "--where", "swift.lora_rank!=16").splitlines()
    assert [line.split() for line in listed[1:]] == [[three[1].name, "8", "1", "1.875", "3.5"], [three[0].name, "2"]]
    told = json.loads(swift_fa(tmp_path, capsys, "runs", "--columns", "swift.lora_rank,notes", "--json"))["runs"]
    assert [(one["columns"]["swift.lora_rank"], one["columns"]["notes"]) for one in told] == [
        (16, "two\nlines"), (8, None), (None, None)]
    assert "two lines" in swift_fa(tmp_path, capsys, "runs", "--columns", "notes")
    assert "did you mean loss?" in swift_fa(tmp_path, capsys, "runs", "--columns", "los", code=2)
    assert main(["runs", "--where", "loss<0", "--root", str(tmp_path / "runs"), "--lang", "en"]) == 0
    assert "match" in capsys.readouterr().err
    everything = swift_fa(tmp_path, capsys, "runs", "--columns", ",".join(NAMES)).splitlines()
    assert len(everything) == 4 and Values(see_run(three[0])).get("duration") is None
    assert parse_columns(" loss,,state ") == ("loss", "state")


def test_children_stand_below_their_parents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = make(tmp_path, "old", 1)
    alone = make(tmp_path, "alone", 2)
    child = make(tmp_path, "child", 3, parent=old.name)
    grandchild = make(tmp_path, "grandchild", 4, parent=child.name)
    make(tmp_path, "orphan", 5, parent="20200101-000000-gone-0000")
    rows = as_tree(list_runs(tmp_path / "runs"))
    assert [(depth, e.record.name) for depth, e in rows if e.record] == [
        (0, "orphan"), (0, "old"), (1, "child"), (2, "grandchild"), (0, "alone")]
    assert f"\n  {child.name}" in swift_fa(tmp_path, capsys, "runs") and alone.name in swift_fa(tmp_path, capsys, "runs")
    assert ["led", "to", child.name] in [line.split() for line in swift_fa(tmp_path, capsys, "show", "old").splitlines()]
    assert json.loads(swift_fa(tmp_path, capsys, "show", "child", "--json"))["children"] == [grandchild.name]
    update_record(old, replace(read_record(old), parent=grandchild.name))  # by hand
    assert len(as_tree(list_runs(tmp_path / "runs"))) == 5


def test_a_moved_record_is_called_moved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(tmp_path, "one", 1, output_dir="gone")
    shown = swift_fa(tmp_path, capsys, "show", "one")
    assert "(moved" not in shown and "gone  (not there any more)" in shown
    (tmp_path / "kept").mkdir()
    folder.rename(tmp_path / "kept" / folder.name)
    assert main(["show", "one", "--root", str(tmp_path / "kept"), "--lang", "en"]) == 0
    assert f"{folder.name}  (moved from {folder})" in capsys.readouterr().out


def test_times_are_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import time

    make(tmp_path, "one", 0)
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        assert "2026-11-23 13:00:00 +08:00" in swift_fa(tmp_path, capsys, "show", "one")
        assert "11-23 13:00" in swift_fa(tmp_path, capsys, "runs")
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


def test_tags_and_notes_afterwards(tmp_path: Path, three: tuple[Path, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert "x, y, keep" in swift_fa(tmp_path, capsys, "tag", "a", "keep", "x")
    assert json.loads(swift_fa(tmp_path, capsys, "tag", "a", "--remove", "x", "--json"))["tags"] == ["y", "keep"]
    swift_fa(tmp_path, capsys, "note", "c", "three")
    assert read_record(three[2]).notes == "two\nlines\nthree"
    swift_fa(tmp_path, capsys, "note", "c", "new", "--replace")
    assert read_record(three[2]).notes == "new"
    for words in (["tag", "a"], ["tag", "a", "x,y"], ["tag", "a", " "]):
        assert "swift-fa tag" in swift_fa(tmp_path, capsys, *words, code=2)


def test_tags_given_while_a_run_is_running_outlive_its_end(tmp_path: Path) -> None:
    folder = make(tmp_path, "one", 1)
    mine = read_record(folder)  # what the launcher holds
    threads = [threading.Thread(target=edit_record, args=(folder, lambda there, n=n: replace(there, tags=(*there.tags, str(n)))))
               for n in range(20)]
    threads += [threading.Thread(target=update_launched, args=(folder, replace(mine, detail=f"{n}"))) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    update_launched(folder, replace(mine, status="failed"))
    record = read_record(folder)
    assert sorted(record.tags, key=int) == [str(n) for n in range(20)] and record.status == "failed"
    (folder / "run.json").write_text("")  # damaged meanwhile: the launcher writes what it knows
    update_launched(folder, mine)
    assert read_record(folder) == mine


def test_several_runs_side_by_side(tmp_path: Path, three: tuple[Path, ...], capsys: pytest.CaptureFixture[str]) -> None:
    told = swift_fa(tmp_path, capsys, "compare", "a", "b", "c")
    lines = [line.split() for line in told.splitlines()]
    assert ["1", three[0].name] in lines and ["swift.learning_rate", "0.0001"] in lines and ["loss", "2", "1"] in lines
    assert "swift.seed" not in told and "--lora_rank" not in told, "the same in all, or said by the config"
    data = json.loads(swift_fa(tmp_path, capsys, "compare", "a", "b", "c", "--json"))
    assert {"key": "swift.lora_rank", "values": [None, 8, 16]} in data["differences"]["config"]
    assert list(data["differences"])[-1] == "result" and data["runs"] == [folder.name for folder in three]
    for words in (["compare", "a"], ["compare", "a", "a"]):
        assert "two runs" in swift_fa(tmp_path, capsys, *words, code=2)
    sweep = make(tmp_path, "sweep", 9, kind="sweep")
    for folder in three[:2]:
        update_record(folder, replace(read_record(folder), parent=sweep.name))
    assert json.loads(swift_fa(tmp_path, capsys, "compare", "sweep", "--json"))["runs"] == [folder.name for folder in three[:2]]
