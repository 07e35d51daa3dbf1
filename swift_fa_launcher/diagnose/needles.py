"""Which lines of a text hold one of some hundred words, in the time of one pass: a search tree keyed on rare letters.

A pattern of many alternatives costs most where text may begin one of them, which is everywhere in prose. So each word is
looked for by its rarest letter, and what stands around that is compared only there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

_BY_FREQUENCY = b" eationsrldchumpf._/:-'gybwvkxzjq"  # of letters in English and in logs; what is not here is rarer still
_FREQUENT = b" eationsrldchumpf._/:-'gybw"  # as keys they would stop a pass through prose or paths all the time
_TELLING = (b"out of memory", b"undefined symbol", b"cannot import name", b"ermission denied")  # though of frequent letters
_HEARD = 500  # different lines that one word is listened to in: what so many say is noise


class Needles:
    """The words that are looked for. A word that very many different lines held says no more about a failure, and is passed
    over from then on, unless `all_of` is asked for."""

    def __init__(self, groups: Sequence[tuple[bytes, ...]], ticks: Sequence[bytes]) -> None:
        """groups: each one's words, digits never among them. ticks: words of lines that come without a group."""
        self._groups: dict[bytes, list[int]] = {}
        for index, words in enumerate(groups):
            for word in words:
                self._groups.setdefault(word, []).append(index)
        self._ticks = tuple(ticks)
        self._heard: Counter[bytes] = Counter()
        self._muted: set[bytes] = set()
        self._compiled_for = 0
        words = (*self._groups, *ticks)
        self._every = self._listened = re.compile(any_of(words))
        self._telling = re.compile(any_of(tuple(filter(_is_telling, words))))
        self._each = re.compile(b"(?=(" + _longest_first(tuple(self._groups)) + b"))")
        self._beginnings = {word: [word[:end] for end in range(1, len(word) + 1) if word[:end] in self._groups]
                            for word in self._groups}

    def lines(self, text: bytes, *, all_of: bool = False) -> Iterator[tuple[bytes, bool]]:
        """The lines that hold a word, and whether nothing but a tick's word is to be expected in it."""
        self._compile()
        return self._lines_of(self._every if all_of else self._listened, text)

    def telling_lines(self, text: bytes) -> Iterator[tuple[bytes, bool]]:
        """Those that hold one of the rarer words: most of the words, four times as fast."""
        self._compile()
        yield from self._lines_of(self._telling, text)
        for word in _TELLING:
            if word not in self._muted:
                yield from self._lines_of(re.compile(re.escape(word)), text)

    def lines_after(self, head: bytes, text: bytes, size: int) -> Iterator[tuple[bytes, bool]]:
        """The lines that hold a word, within `size` bytes after each `head`, while that is no noise itself. The last line may
        be cut."""
        at = text.find(head)
        while at >= 0 and self._heard[head] <= _HEARD:
            self._heard[head] += 1
            start = text.rfind(b"\n", 0, at + 1) + 1
            yield from self._lines_of(self._every, text[start: at + size])
            at = text.find(head, at + 1)

    def groups_of(self, line: bytes, *, all_of: bool = False) -> tuple[int, ...]:
        """The groups that have a word in the line; none where it holds only words that too many lines held."""
        words = {word for longest in set(self._each.findall(line)) for word in self._beginnings[longest]}
        if not all_of:
            self._heard.update(words)
            for word in words:
                if self._heard[word] > _HEARD:
                    self._muted.add(word)
            if self._muted.issuperset(words):
                return ()
        return tuple(sorted({index for word in words for index in self._groups[word]}))

    def _compile(self) -> None:
        if len(self._muted) > self._compiled_for:
            self._compiled_for = len(self._muted)
            words = (*(word for word in self._groups if word not in self._muted), *self._ticks)
            self._listened = re.compile(any_of(words))
            self._telling = re.compile(any_of(tuple(filter(_is_telling, words))))

    def _lines_of(self, pattern: re.Pattern[bytes], text: bytes) -> Iterator[tuple[bytes, bool]]:
        match = pattern.search(text)
        while match:
            start, end = text.rfind(b"\n", 0, match.start()) + 1, text.find(b"\n", match.end())
            end = len(text) if end < 0 else end
            ticked = next((tick for tick in self._ticks if text.endswith(tick, start, match.end())), None)
            if ticked:
                self._heard[ticked] += 1
            yield text[start:end], ticked is not None and self._heard[ticked] > _HEARD
            match = pattern.search(text, end)


@cache
def _longest_first(words: tuple[bytes, ...]) -> bytes:
    """A pattern for the longest of the words that begins at a place; shorter ones there are beginnings of it."""
    by_letter: dict[bytes, list[bytes]] = {}
    for word in sorted(words, reverse=True):
        by_letter.setdefault(word[:1], []).append(re.escape(word[1:]))
    return b"|".join(re.escape(letter) + b"(?:" + b"|".join(rests) + b")" for letter, rests in by_letter.items()) or rb"(?!)"


@cache  # a log is read up to three times, for the same words
def any_of(words: tuple[bytes, ...]) -> bytes:
    """A pattern for any of the words. Its match ends where the word ends, and begins somewhere in it."""
    tails: dict[bytes, list[bytes]] = {}
    for word in words:
        tails.setdefault(word[_key_of(word):], []).append(word)
    return _branches(tails, 0, {tail: _ending(tail, whole) for tail, whole in tails.items()}) or rb"(?!)"


def _branches(tails: Mapping[bytes, object], depth: int, endings: Mapping[bytes, bytes]) -> bytes:
    """Alternatives by the letter at `depth` of the tails, to the third letter; the commonest first."""
    by_letter: dict[bytes, list[bytes]] = {}
    for tail in tails:
        by_letter.setdefault(tail[depth:depth + 1], []).append(tail)
    found = []
    for letter in sorted(by_letter, key=lambda letter: (_rarity(letter), letter)):
        ones = dict.fromkeys(by_letter[letter])
        if not letter or (len(ones) == 1 and depth):
            found += [re.escape(tail[depth:]) + endings[tail] for tail in ones]
        elif depth < 2:
            found.append(re.escape(letter) + b"(?:" + _branches(ones, depth + 1, endings) + b")")
        else:
            found += [re.escape(tail[depth:]) + endings[tail] for tail in sorted(ones)]
    return b"|".join(found)


def _ending(tail: bytes, whole: Sequence[bytes]) -> bytes:
    """What must hold at the end of the tail: that one of the words stands before, whole."""
    return b"" if tail in whole else b"(?:" + b"|".join(b"(?<=" + re.escape(word) + b")" for word in sorted(whole)) + b")"


@cache
def _key_of(word: bytes) -> int:
    """Where the word's rarest letter stands, the first of several."""
    return max(range(len(word)), key=lambda at: (_rarity(word[at:at + 1]), -at))


def _rarity(letter: bytes) -> int:
    at = _BY_FREQUENCY.find(letter) if letter else -1
    return at if at >= 0 else len(_BY_FREQUENCY)


def _is_telling(word: bytes) -> bool:
    key = _key_of(word)
    return word[key:key + 1] not in _FREQUENT
