"""Where lines break, and where they do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift_fa_launcher.errors import Text
from swift_fa_launcher.layout import advice, cells, columns, fill


@pytest.mark.parametrize(("text", "lines"), [
    ("no word is broken here", ["no word is", "  broken", "  here"]),
    ("see `a b c d e f` there", ["see", "  `a b c d e f`", "  there"]),
    ("/a/very/long/path/to/it is gone", ["/a/very/long/path/to/it", "  is gone"]),
    ("检查环境，必要时安装。", ["检查环境，", "  必要时安", "  装。"]),
    ("缺少 GPU（见 nvidia-smi）", ["缺少 GPU", "  （见", "  nvidia-smi）"]),
])
def test_prose_breaks_between_words_and_between_chinese_characters(text: str, lines: list[str]) -> None:
    assert fill(text, 10, rest="  ").splitlines() == lines


@pytest.mark.parametrize(("line", "lines"), [
    ("swift-fa install --version '!=2.8.1'", ["-> swift-fa install --version '!=2.8.1'"]),
    (Text("or build: CC=gcc-11 swift-fa install --from-source", ""),
     ["-> or build:", "   CC=gcc-11 swift-fa install --from-source"]),
    (Text("swift-fa install  (chooses a wheel for this torch)", ""),
     ["-> swift-fa install", "   (chooses a wheel", "   for this torch)"]),
    (Text("swift.packing=false swift.padding_free=false, or cut the rows", ""),
     ["-> swift.packing=false swift.padding_free=false,", "   or cut the rows"]),
    (Text("", "或不用 flash attention：swift.attn_impl=sdpa swift.packing=false"),
     ["-> 或不用 flash", "   attention：", "   swift.attn_impl=sdpa swift.packing=false"]),
    (Text("one object a line: {\"messages\": [{\"role\": \"user\"}, ...]}", ""),
     ["-> one object a", "   line:", "   {\"messages\": [{\"role\": \"user\"}, ...]}"]),
])
def test_a_command_in_an_advice_stays_on_one_line(line: Text | str, lines: list[str]) -> None:
    lang = "zh" if isinstance(line, Text) and line.zh else "en"
    assert advice(line, lang, 20, "-> ").splitlines() == lines
    assert "\n" not in advice(line, lang, None)


@given(st.text(st.sampled_from("ab=`/：，（）中文 "), max_size=40), st.integers(4, 30))
def test_nothing_is_lost_and_only_what_is_whole_is_wider(text: str, width: int) -> None:
    assert "".join(fill(text, width).split()) == "".join(text.split())
    assert fill(text, None, "> ") == "> " + text


def test_columns_count_a_chinese_character_twice() -> None:
    assert cells("a中文b") == 6
    assert columns([["运行", "b"], ["abcde", "c"]]) == "运行   b\nabcde  c"
