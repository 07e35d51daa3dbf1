"""The lock beside the config."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift_fa_launcher.errors import ConfigError
from swift_fa_launcher.flash.name import Candidate
from swift_fa_launcher.machine.facts import parse_facts
from swift_fa_launcher.wheels.lock import (
    Lock,
    LockedBeside,
    LockedKernel,
    lock_candidate,
    lock_path,
    make_lock,
    parse_lock,
    render_lock,
)

NAME = "flash_attn-2.6.3+cu124torch2.6-cp310-cp310-linux_x86_64.whl"
LOCK = Lock("flash_attn", NAME, f"https://example.org/{NAME}", "ab" * 32, 1234, "2.6.0+cu124", "12.4", "cp310")


def test_goes_to_text_and_back() -> None:
    assert parse_lock(render_lock(LOCK), "x.lock") == LOCK
    bare = replace(LOCK, size=None, torch=None, cuda=None, python=None)
    assert parse_lock(render_lock(bare), "x.lock") == bare


def test_holds_a_hub_kernel_in_the_place_of_a_file_and_what_stands_beside() -> None:
    kernel = Lock("flash_attn", kernel=LockedKernel("org/kernel", "0" * 40), beside={
        "fla": LockedBeside("0.5.0"), "conv": LockedBeside("1.6", NAME, "https://a/b", "cd" * 32)})
    assert parse_lock(render_lock(kernel), "x.lock") == kernel and lock_candidate(kernel) is None
    assert lock_candidate(kernel.beside["conv"]) == Candidate(NAME, "https://a/b", "lock", "cd" * 32)
    for broken in (replace(kernel, kernel=None), replace(kernel, kernel=LockedKernel("org/kernel", "main")),
                   replace(kernel, beside={"conv": LockedBeside("1.6", NAME)})):
        with pytest.raises(ConfigError):
            parse_lock(render_lock(broken), "x.lock")


def test_lies_beside_the_config() -> None:
    assert lock_path(Path("configs/qwen.yaml")) == Path("configs/qwen.yaml.flash-attn.lock")


def test_is_made_of_what_was_seen_and_keeps_no_password() -> None:
    facts = parse_facts({"schema": 1, "python": {"abi": "cp310"}, "torch": {"version": "2.6.0+cu124", "cuda": "12.4"}}, "")
    offered = Candidate(NAME, f"https://me:secret@example.org/{NAME}", "index", None, 1234)
    assert make_lock(offered, facts, implementation="flash_attn", sha256="AB" * 32) == LOCK
    assert "secret" not in render_lock(make_lock(offered, facts, implementation="flash_attn", sha256="ab" * 32))


def test_without_facts_says_nothing_of_the_environment() -> None:
    lock = make_lock(lock_candidate(LOCK), parse_facts({"schema": 1}, ""), implementation="flash_attn", sha256="ab" * 32)
    assert (lock.torch, lock.cuda, lock.python) == (None, None, None)


def test_offers_one_candidate_with_its_digest() -> None:
    assert lock_candidate(LOCK) == Candidate(NAME, LOCK.url, "lock", LOCK.sha256, 1234)


@pytest.mark.parametrize("change", [
    {"schema": 2}, {"schema": None}, {"sha256": "ab"}, {"sha256": "A" * 64}, {"sha256": None}, {"url": 1},
    {"filename": "../../etc/passwd"}, {"filename": "flash_attl"}, {"implementation": "sdpa"}, {"size": "big"}, {"torch": 2.6},
])
def test_a_broken_one_says_where(change: dict[str, object]) -> None:
    data = {**json.loads(render_lock(LOCK)), **change}
    with pytest.raises(ConfigError) as raised:
        parse_lock(json.dumps(data), "configs/x.lock")
    assert raised.value.where == "configs/x.lock"
    assert raised.value.why


@given(st.text() | st.binary().map(lambda b: b.decode("latin-1")) | st.recursive(
    st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)).map(json.dumps))
def test_any_text_is_a_lock_or_an_error(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_lock(text, "x.lock")


def test_a_cut_file_is_an_error() -> None:
    whole = render_lock(LOCK)
    for end in range(0, len(whole) - 2, 7):
        with pytest.raises(ConfigError):
            parse_lock(whole[:end], "x.lock")
