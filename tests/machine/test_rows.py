"""Dataset rows: the table is what ms-swift 4.6.0's own readers answered, and where it is installed they are asked again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from swift_fa_launcher.decode import Unknown, known
from swift_fa_launcher.machine import dataset_files, line_sample
from swift_fa_launcher.machine.dataset_files import judge_dataset, read_sample
from swift_fa_launcher.machine.facts import FirstBad, PathFacts
from swift_fa_launcher.machine.rows import make_judge, reason_in_both

ASK: dict[str, Any] = {"role": "user", "content": "hi"}
REPLY: dict[str, Any] = {"role": "assistant", "content": "yo"}

#: Rows of one dataset, and how many of them can be used.
TABLE: list[tuple[list[dict[str, Any]], int]] = [
    ([{"messages": [ASK, REPLY]}], 1),
    ([{"messages": [REPLY]}], 1),
    ([{"messages": []}], 0),
    ([{"messages": None}, {"messages": [ASK, REPLY]}], 1),
    ([{"messages": json.dumps([ASK, REPLY])}], 1),
    ([{"messages": "plain"}], 0),
    ([{"messages": ASK}], 0),
    ([{"messages": [["user", "x"], ["assistant", "y"]]}], 0),
    ([{"messages": [{"role": "user", "content": None}, REPLY]}], 0),
    ([{"messages": [{"content": "x"}, REPLY]}], 0),
    ([{"messages": [{"role": "tool", "content": "x"}, REPLY]}], 1),
    ([{"messages": [{"role": "function-call", "content": "x"}, REPLY]}], 1),
    ([{"messages": [ASK, REPLY], "rejected_response": None}], 0),
    ([{"messages": [ASK, REPLY], "rejected_response": "yo"}], 0),
    ([{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}, REPLY]}], 1),
    ([{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}], 1),
    ([{"conversations": [{"from": "human", "value": "q"}, {"from": "model", "value": "a"}]}], 0),
    ([{"conversation": [{"human": "q", "assistant": "a"}]}], 1),
    ([{"conversation": [{"system": "s", "input": "q", "output": "a"}]}], 0),
    ([{"query": "q", "response": "a"}], 1),
    ([{"Query": "q", "Response": "a"}], 1),
    ([{"prompt": "q", "completion": "a"}], 1),
    ([{"instruction": "q", "input": "", "output": "a"}], 1),
    ([{"instruction": "q", "input": "i", "output": "a", "response": "b"}], 1),
    ([{"instruction": None, "input": None, "output": "a"}], 0),
    ([{"instruction": "q", "output": "a"}], 1),
    ([{"text": "abc"}], 1),
    ([{"foo": "abc", "bar": 1}], 0),
    ([{"query": None, "response": None, "x": 1}], 0),
    ([{"history": [["a", "b"]], "query": "q", "response": "r"}], 1),
    ([{"history": "[['a', 'b']]", "query": "q", "response": "r"}], 1),
    ([{"response": ["a", "b"], "query": "q"}], 1),
    ([{"response": [], "query": "q"}], 0),
    ([{"question": "q", "choices": ["a"], "answer_key": "A"}], 1),
]
#: Rows that are read, and that hold nothing to learn: ms-swift masks every label.
NOTHING_TO_LEARN: list[list[dict[str, Any]]] = [
    [{"messages": [ASK]}], [{"query": "q"}], [{"system": "s", "foo": 1}], [{"chosen": "x", "rejected": "y", "prompt": "q"}],
    [{"question": "q", "answer": "a", "solution": "b"}]]  # two columns for one: neither is taken


def usable(rows: list[dict[str, Any]], **columns: str) -> list[str | None]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    judge = make_judge(names, columns)
    return [judge({name: row.get(name) for name in names}) for row in rows]


@pytest.mark.parametrize(("rows", "count"), TABLE, ids=range(len(TABLE)))
def test_rows_as_ms_swift_reads_them(rows: list[dict[str, Any]], count: int) -> None:
    assert usable(rows).count(None) == count


@pytest.mark.parametrize("rows", NOTHING_TO_LEARN, ids=range(len(NOTHING_TO_LEARN)))
def test_rows_without_a_reply(rows: list[dict[str, Any]]) -> None:
    assert all(reason and "no reply" in reason for reason in usable(rows))


def test_every_reason_is_said_in_chinese_too(tmp_path: Path) -> None:
    said = {reason for rows in (*(rows for rows, _ in TABLE), *NOTHING_TO_LEARN, [{"label": None, "query": "q"}])
            for reason in (*usable(rows), make_judge(rows[0], {}, needs_label=True)(rows[0])) if reason}
    for name, content in (("a.jsonl", b""), ("b.jsonl", b'{"a": '), ("c.jsonl", b"\xff\xfe"), ("d.json", b'[{"a": 1}'),
                          ("e.csv", b'a,b\n"1\r2,\r')):
        bad = known(judged(tmp_path / name, content).first_bad)
        said |= {known(bad.why)} if bad else set()  # type: ignore[arg-type]
    assert len(said) > 12
    for reason in said:
        both = reason_in_both(reason)
        assert both.en == reason and any("\u4e00" <= letter <= "\u9fff" for letter in both.zh), reason
    assert reason_in_both("it has no rhyme") == ("it has no rhyme", "it has no rhyme")


def test_the_configs_own_column_names() -> None:
    rows = [{"ask": "q", "tell": "a"}]
    assert usable(rows, ask="query", tell="response") == [None]
    assert usable(rows) != [None]


def test_classification_needs_labels_and_no_reply() -> None:
    judge = make_judge(["messages", "label"], {}, needs_label=True)
    assert judge({"messages": [ASK], "label": 0}) is None
    assert judge({"messages": [ASK], "label": None}) == "it has no label"
    assert judge({"messages": None, "label": 1}) == "its messages are empty"


@pytest.mark.training
def test_the_table_against_the_installed_ms_swift(tmp_path: Path) -> None:
    datasets = [rows for rows, _ in TABLE] + NOTHING_TO_LEARN
    for number, rows in enumerate(datasets):
        (tmp_path / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code = f"""
import json
from swift.dataset import load_dataset
counts = []
for number in range({len(datasets)}):
    try:
        counts.append(len(load_dataset([f'{tmp_path}/{{number}}.jsonl'], load_from_cache_file=False)[0]))
    except ZeroDivisionError:  # what ms-swift says when no row is left
        counts.append(0)
print('COUNTS' + json.dumps(counts))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    said = [line[6:] for line in done.stdout.splitlines() if line.startswith("COUNTS")]
    assert said, done.stderr[-2000:]
    assert json.loads(said[0]) == [count for _, count in TABLE] + [1] * len(NOTHING_TO_LEARN)


# ------------------------------------------------------------------------------------------------ files


def judged(file: Path, content: str | bytes, task: str | None = None) -> PathFacts:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return judge_dataset(file, PathFacts(kind="file"), {}, task)


GOOD = json.dumps({"messages": [ASK, REPLY]})


def test_jsonl(tmp_path: Path) -> None:
    facts = judged(tmp_path / "d.jsonl", f"{GOOD}\n\n{GOOD}\r\n" + '{"messages": []}\n')
    assert (facts.rows, facts.rows_checked, facts.usable_rows) == (3, 3, 2)
    assert facts.first_bad == FirstBad(4, "its messages are empty")


def test_one_broken_line_spoils_the_file_as_it_does_for_datasets(tmp_path: Path) -> None:
    facts = judged(tmp_path / "d.jsonl", f"{GOOD}\n{GOOD[:-5]}\n{GOOD}\n")
    assert (facts.rows_checked, facts.usable_rows) == (0, 0) and isinstance(facts.rows, Unknown)
    assert known(facts.first_bad).line == 2 and "not JSON" in known(facts.first_bad).why  # type: ignore[union-attr, operator]


def test_text_of_another_encoding(tmp_path: Path) -> None:
    facts = judged(tmp_path / "d.jsonl", GOOD.encode() + b"\n" + '{"query": "你好", "response": "x"}\n'.encode("gbk"))
    assert facts.usable_rows == 0 and known(facts.first_bad).line == 2  # type: ignore[union-attr]
    assert "UTF-8" in str(known(facts.first_bad).why)  # type: ignore[union-attr]


@pytest.mark.parametrize("text", [f"[{GOOD}, {GOOD}]", json.dumps([json.loads(GOOD)] * 2, indent=2), f"{GOOD}\n{GOOD}",
                                  "\ufeff" + f"{GOOD}\n{GOOD}\n"])
def test_json_as_lines_or_as_a_list(tmp_path: Path, text: str) -> None:
    facts = judged(tmp_path / "d.json", text)
    assert (facts.rows, facts.usable_rows, facts.first_bad) == (2, 2, None)


def test_json_of_another_form_is_left_to_datasets(tmp_path: Path) -> None:
    facts = judged(tmp_path / "d.json", json.dumps({"data": [json.loads(GOOD)]}, indent=1))
    assert isinstance(facts.usable_rows, Unknown) and isinstance(facts.first_bad, Unknown)


def test_csv_and_text(tmp_path: Path) -> None:
    facts = judged(tmp_path / "d.csv", '\ufeffquery,response\n"a ""q""\nof two lines",b\nc,d\n')
    assert (facts.rows, facts.usable_rows, facts.first_bad) == (2, 2, None)
    facts = judged(tmp_path / "e.csv", "foo,bar\n1,2\n")
    assert facts.usable_rows == 0 and known(facts.first_bad).line == 2  # type: ignore[union-attr]
    assert judged(tmp_path / "d.txt", "one\ntwo\n").usable_rows == 2


@pytest.mark.parametrize("name", ["d.jsonl", "d.json", "d.csv", "d.txt"])
def test_an_empty_file(tmp_path: Path, name: str) -> None:
    facts = judged(tmp_path / name, b"")
    assert (facts.rows, facts.rows_checked, facts.usable_rows) == (0, 0, 0) and facts.first_bad == FirstBad(1, "it has no rows")


@pytest.mark.parametrize("name", ["d.parquet", "d.arrow", "d"])
def test_a_format_that_is_not_read_here_is_unknown(tmp_path: Path, name: str) -> None:
    facts = judged(tmp_path / name, b"PAR1\x00\xff")
    assert isinstance(facts.usable_rows, Unknown) and isinstance(facts.rows_checked, Unknown)


@pytest.mark.parametrize("name", ["d.jsonl.gz", "d.tsv", "d.xlsx", "d.yaml"])
def test_a_format_that_datasets_does_not_read_is_refused(tmp_path: Path, name: str) -> None:
    """ms-swift 4.6.0 ends in "Couldn't reach 'tsv' on the Hub"."""
    bad = known(judged(tmp_path / name, b"a\tb\n").first_bad)
    assert bad and bad.why == f"`datasets` reads no .{name.rpartition('.')[2]}"


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_columns_that_are_parted_by_another_sign(tmp_path: Path, sign: str) -> None:
    bad = known(judged(tmp_path / "d.csv", f"query{sign}response\na{sign}b\n").first_bad)
    assert bad and "not by commas" in bad.why


def test_rows_of_other_tasks_are_unknown(tmp_path: Path) -> None:
    assert isinstance(judged(tmp_path / "d.jsonl", '{"a": 1}', task="reranker").usable_rows, Unknown)
    assert judged(tmp_path / "d.jsonl", '{"query": "a", "label": 1}', task="seq_cls").usable_rows == 1


def test_a_large_file_is_sampled_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.dumps({"query": "q" * (i % 700), "response": "a"}) for i in range(20_000)]
    file = tmp_path / "d.jsonl"
    file.write_text("\n".join(lines) + "\n")
    assert file.stat().st_size > dataset_files.WHOLE
    facts = judge_dataset(file, PathFacts(kind="file"), {}, None)
    assert (facts.rows, facts.rows_checked, facts.usable_rows, facts.first_bad) == (20_000, 1000, 1000, None)
    file.write_text("\n".join(lines[:10_000] + ['{"x": 1}'] * 150_000) + "\n")
    facts = judge_dataset(file, PathFacts(kind="file"), {}, None)
    assert known(facts.usable_rows) == pytest.approx(1000 / 16, abs=2)
    assert 10_000 < known(facts.first_bad).line <= 10_320  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("read_through", [2**28, 2**20])
def test_long_rows_are_drawn_no_oftener_than_short_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                        read_through: int) -> None:
    """Where they sit together, and where lengths recur: of a file that is counted, and of one that is too large for that."""
    monkeypatch.setattr(line_sample, "READ_THROUGH", read_through)
    monkeypatch.setattr(line_sample, "BLOCK", 2**16)
    file = tmp_path / "d.txt"
    file.write_text(f"{'a' * 100}\n" * 15_000 + f"{'a' * 1900}\n" * 5_000)
    drawn = [len(row) for _, row in read_sample(file).rows]
    assert sum(length > 1000 for length in drawn) / len(drawn) == pytest.approx(1 / 4, abs=0.03) and len(drawn) > 700
    file.write_text("".join(f"{'a' * (number % 400)}b\n" for number in range(40_000)))
    drawn = [len(row) for _, row in read_sample(file).rows]
    assert len(set(drawn)) > 300 and sum(drawn) / len(drawn) == pytest.approx(201, rel=0.05)


def test_a_large_list_is_read_from_its_beginning(tmp_path: Path) -> None:
    file = tmp_path / "d.json"
    file.write_text(json.dumps([{"query": "é" * 300, "response": "a"}] * 9000, ensure_ascii=False))
    facts = judge_dataset(file, PathFacts(kind="file"), {}, None)
    assert (facts.rows_checked, facts.usable_rows) == (1000, 1000) and isinstance(facts.rows, Unknown)
