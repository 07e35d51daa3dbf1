"""No line makes a pattern take more than linear time: texts made against each one, see `attack_patterns`."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import attack_patterns as attack
import pytest

from swift_fa_launcher.diagnose.reader import _LONGEST
from swift_fa_launcher.diagnose.signatures import SIGNATURES

#: Characters, and seconds of a processor. A pattern of quadratic time takes five seconds and more for that many.
LENGTH, MOST = 60_000, 1.0
#: What is slow with long texts and is given none, with the reason.
SHORT = {
    r"[\w.+/-]*\d[\w.+/-]*": "a word of the command line",
    r"(?<=[1-9])(\d*)[,_ ](?=\d{3}(?!\d))": "number_meant takes 99 characters at most",
    r"(?<=\d)\s*(?:e|[*x]?\s*10\s*\^)\s*(?=-?\d+$)": "number_meant takes 99 characters at most",
    r"\s*(?://|#|\\$|\(.*\)$).*": "number_meant takes 99 characters at most",
    r"dict\[.*?\]": "the type of an argument of the installed ms-swift",
    r"Literal\[(.*?)\]": "the type of an argument of the installed ms-swift",
    r"(\w+) > (\w+)": "a condition of the package's own tables",
    r"(?:.*/)?(?:_C|flash_attn_3_cuda)[^/]*\.(?:so|pyd)": "the path of a file",
}


@pytest.fixture(autouse=True)
def ended_when_slow() -> Iterator[None]:
    before = signal.signal(signal.SIGVTALRM, attack.stop)
    yield
    signal.signal(signal.SIGVTALRM, before)


def test_a_quadratic_pattern_is_found() -> None:
    """The search itself: what it must find, and what it must not."""
    for text, slow in ((r"\s+$", True), (r"(a|a)*b", True), (r"x.*y.*z", True), (r"(?<!\d)\d+k", False),
                       (r"step \d+/\d+", False)):
        one = attack.Literal("here", text, 0, ("search",))
        assert (attack.slowest(one, LENGTH, MOST)[0] == MOST) is slow, text


def test_the_patterns_of_the_package() -> None:
    found = [*attack.literals()]
    assert len(found) > 250
    slow = {}
    for one in found:
        if one.text not in SHORT and not one.where.startswith(attack.TYPED):
            seconds, text = attack.slowest(one, LENGTH, MOST)
            if seconds == MOST:
                slow[one.where] = (one.text, text)
    assert not slow


def test_the_signatures_of_the_diagnosis() -> None:
    """A line of which is cut at so many characters."""
    patterns = {text for one in SIGNATURES for text in (one.pattern, one.around, one.beside, one.frames) if text}
    assert len(patterns) > 300
    slow = {}
    for pattern in patterns:
        seconds, text = attack.slowest(attack.Literal("", pattern, 0, ("search",)), _LONGEST, 0.3)
        if seconds == 0.3:
            slow[pattern] = text
    assert not slow
