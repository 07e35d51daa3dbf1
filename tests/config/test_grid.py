"""The members of a sweep from the words of its command line."""

from __future__ import annotations

from itertools import product

import pytest

from swift_fa_launcher.config.grid import make_members, overlay_settings, split_values, swept_keys
from swift_fa_launcher.config.layers import override_config, resolve_config


@pytest.mark.parametrize(("word", "values"), [
    ("a.b=1", ["1"]), ("a.b=1,2", ["1", "2"]), ("a.b=[1,2]", ["[1,2]"]), ("a.b=[1,2],[3]", ["[1,2]", "[3]"]),
    ("a.b='x,y'", ["'x,y'"]), ('a.b="x,y",z', ['"x,y"', "z"]), ("a.b={c: [1,2], d: 3},{c: 4}", ["{c: [1,2], d: 3}", "{c: 4}"]),
    ("a.b=c=1,2", ["c=1", "2"]), ("a.b=", [""]), ("a.b=1,", ["1", ""])])
def test_values_are_parted_at_commas_outside_of_brackets_and_quotes(word: str, values: list[str]) -> None:
    assert split_values(word) == tuple(f"a.b={value}" for value in values)


def test_every_combination_in_the_order_of_the_words() -> None:
    common, members = make_members(["s.a=1,2", "s.x=0", "s.b=3,4"])
    assert common == ("s.x=0",) and members == (("s.a=1", "s.b=3"), ("s.a=1", "s.b=4"), ("s.a=2", "s.b=3"), ("s.a=2", "s.b=4"))
    assert swept_keys(members) == ("s.a", "s.b")
    assert make_members(["s.x=0"]) == (("s.x=0",), ())


def test_overlays_are_one_more_value() -> None:
    _, members = make_members(["s.b=3,4"], [("s.a=1", "s.c=2"), ("s.a=2",)])
    assert members == (("s.a=1", "s.c=2", "s.b=3"), ("s.a=1", "s.c=2", "s.b=4"), ("s.a=2", "s.b=3"), ("s.a=2", "s.b=4"))


def test_a_choice_is_the_same_each_time_and_keeps_the_order() -> None:
    words = ["s.a=" + ",".join(map(str, range(10))), "s.b=" + ",".join(map(str, range(10)))]
    _, whole = make_members(words)
    _, few = make_members(words, count=7)
    assert few == make_members(words, count=7)[1] and len(few) == 7 and [one for one in whole if one in few] == [*few]
    assert few != whole[:7] and make_members(words, count=1000)[1] == whole


def test_an_overlay_is_typed_as_its_values_are() -> None:
    data = {"swift": {"a": None, "b": True, "c": [1, "x"], "d": "1e-4", "e": 1e-4, "f": 'say "ä, b"'}, "env": {"N": "7"}}
    settings = overlay_settings(data)
    config = resolve_config([], settings)
    assert dict(config.swift).items() >= data["swift"].items() and config.env == {"N": "7"}


def test_a_config_is_overridden_as_if_the_words_had_been_there_at_first() -> None:
    words = ["swift.seed=1", "launch.gpus=[0]", "env.A=b"]
    for more in (["swift.seed=2", "launch.gpus=[1,2]"], ["swift.new=x", "run.tags=[a]"]):
        once, later = resolve_config([], [*words, *more]), override_config(resolve_config([], words), more)
        assert dict(later.values) == dict(once.values) and later.overrides == once.overrides
        assert dict(later.origins) == dict(once.origins) and (later.launch, later.run) == (once.launch, once.run)


def test_many_members_differ() -> None:
    _, members = make_members(["s.a=1,2,3", "s.b=4,5,6", "s.c=7,8"])
    assert len({*members}) == len([*product(range(3), range(3), range(2))])
