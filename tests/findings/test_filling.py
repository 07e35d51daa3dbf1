"""How values come into a finding's words, and what is left out without them."""

from __future__ import annotations

from typing import Any

import pytest

from swift_fa_launcher.errors import Text, UsageError, Words
from swift_fa_launcher.findings.finding import ERROR, WARNING
from swift_fa_launcher.findings.table import TABLE, fill, fill_fix, found, require_codes, value_names, with_names


@pytest.mark.parametrize(("words", "values", "expected"), [
    ("plain", {"a": 1}, "plain"), ("{a}", {"a": 1}, "1"), ("{a}", {}, ""), ("{a}", {"a": True}, "true"),
    ("{a:.1f} GiB", {"a": 1.26}, "1.3 GiB"), ("x={{{a}}}", {"a": "b"}, "x={b}"), ("{a}", {"a": (0, 1)}, "0, 1"),
    (Text("{a}", "{a}"), {"a": ["x", "y"]}, Text("x, y", "x、y")),
    (Text("{a}!", "{a}！"), {"a": Text("no", "无")}, Text("no!", "无！")),
])
def test_values_are_filled_in(words: Words, values: dict[str, Any], expected: Words) -> None:
    assert fill(words, values) == expected


def test_a_line_of_a_fix_without_its_value_is_left_out() -> None:
    lines = ("{pip} install x", "launch.gpus={gpus}", Text("in {place}", "在 {place}"), "always")
    assert fill_fix(lines, {}) == ("pip install x", "always")
    assert fill_fix(lines, {"gpus": "", "place": None, "pip": "/env/bin/python -m pip"}) == (
        "/env/bin/python -m pip install x", "always")
    assert fill_fix(lines, {"gpus": 0, "place": "f:3"})[1:] == ("launch.gpus=0", Text("in f:3", "在 f:3"), "always")


def test_for_a_reader_without_values_they_have_names() -> None:
    assert value_names(Text("{a} {b:.1f} {{c}}", "")) == ("a", "b") and value_names("'${{oc.env:{a}}}'") == ("a",)
    assert with_names("x={gpus} {{y}} {{{gpus}}}") == "x=GPUS {y} {GPUS}"
    assert with_names(Text("{free_gib:.1f} GiB", "剩 {free_gib:.1f}")) == Text("FREE_GIB GiB", "剩 FREE_GIB")


def test_only_codes_of_findings_are_taken() -> None:
    assert require_codes(["gpu-none", "port-in-use"], "--allow") == ("gpu-none", "port-in-use")
    for wrong, hints in (("gpu-nome", 1), ("zzz", 0)):
        with pytest.raises(UsageError) as raised:
            require_codes([wrong], "--allow")
        assert raised.value.where == "--allow" and len(raised.value.hint) == hints
        assert all("gpu-none" in str(hint) for hint in raised.value.hint)


def test_a_finding_has_its_entrys_severity_and_no_other_than_it_may_have() -> None:
    code = next(code for code, entry in TABLE.items() if "" in entry.says and entry.may_be == {ERROR})
    finding = found(code, context={"more": 1}, words=Text("a", "一"), number=2)
    assert finding.severity is ERROR and finding.context == {"number": 2, "more": 1}
    with pytest.raises(AssertionError):
        found(code, severity=WARNING)
