"""Saved facts, written and read back, and the files that are none."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from swift_fa_launcher.decode import DecodeError, Unknown, decode
from swift_fa_launcher.errors import FactsError, LauncherError, Text, render_words
from swift_fa_launcher.findings.table import words_of
from swift_fa_launcher.machine.facts import Driver, Facts, Gpu, PathFacts, facts_to_json, parse_facts
from swift_fa_launcher.machine.saved import read_facts, write_facts

FACTS = Facts(where="中文主机", gpus=(Gpu(3, "H100"),), driver=Unknown("no NVML"), torch=None,
              paths={"数据.jsonl": PathFacts(kind="file", rows=3)}, env={"A": "1"})


def test_there_and_back(tmp_path: Path) -> None:
    write_facts(FACTS, tmp_path / "facts.json")
    assert read_facts(tmp_path / "facts.json") == FACTS
    assert [file.name for file in tmp_path.iterdir()] == ["facts.json"]
    assert "中文主机" in (tmp_path / "facts.json").read_text("utf-8")


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_facts(FACTS, tmp_path / "facts.json")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((tmp_path / "facts.json").read_bytes())))
    assert read_facts("-") == FACTS


@pytest.mark.parametrize(("content", "told"), [
    (b"", "not complete JSON"), (b'{"schema": 1, "host": {', "not complete JSON"), (b"\xff\xfe{}", "not UTF-8"),
    (b"<html>", "not complete JSON"), (b"[" * 100_000, ""), (b"1" * 5000, ""), (b"[]", "no \"schema\""),
    (b'{"schema": 2}', "schema 2"), (b'{"schema": 1, "gpus": 3}', "gpus"),
    (b'{"schema": 1, "host": {"cpus": "x"}}', "host.cpus")])
def test_files_that_are_no_facts(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "facts.json"
    file.write_bytes(content)
    with pytest.raises(FactsError) as caught:
        read_facts(file)
    message, hint = words_of(caught.value)
    shown = render_words(message, "en") + render_words(caught.value.why, "en")
    assert told in shown and str(file) in caught.value.where and hint and caught.value.exit_code == 2
    assert render_words(message, "zh") != render_words(message, "en")


def test_what_does_not_fit_is_told_in_both_languages() -> None:
    with pytest.raises(FactsError) as caught:
        parse_facts({"schema": 1, "host": {"cpus": "x"}}, "test")
    assert caught.value.why == Text("host.cpus: expected a whole number, found 'x'", "host.cpus：应为整数，实际是 'x'")
    with pytest.raises(DecodeError) as error:
        decode(Driver, 3, "driver")
    assert str(error.value) == "driver: expected a group of named values, found 3"
    assert (error.value.path, *error.value.message) == ("driver", "expected a group of named values, found 3",
                                                        "应为一组带名字的值，实际是 3")


def test_a_file_that_is_not_there_and_a_folder(tmp_path: Path) -> None:
    for place in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(FactsError):
            read_facts(place)
    with pytest.raises(LauncherError) as error:
        write_facts(FACTS, tmp_path / "no" / "facts.json")
    assert error.value.exit_code == 1  # as for every other place that cannot be written


def test_a_driver_is_called_what_it_calls_itself() -> None:
    facts = parse_facts({"schema": 1, "driver": {"version": "535.104.05", "cuda": "12.2"}}, "test")
    driver = facts_to_json(facts)["driver"]
    assert driver == {"version": "535.104.05", "cuda": "12.2"} and parse_facts(facts_to_json(facts), "test") == facts
    assert facts.driver == parse_facts({"schema": 1, "driver": {"version": "535.104.5", "cuda": "12.2"}}, "test").driver


def test_an_old_file_stays_where_a_new_one_cannot_be_written(tmp_path: Path) -> None:
    target = tmp_path / "facts.json"
    target.mkdir()
    with pytest.raises(LauncherError, match="facts-not-written"):
        write_facts(FACTS, target)
    assert [file.name for file in tmp_path.iterdir()] == ["facts.json"]


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text("\ufeff" + json.dumps({"schema": 1, "where": "x"}), encoding="utf-8")
    assert read_facts(tmp_path / "f.json").where == "x"
