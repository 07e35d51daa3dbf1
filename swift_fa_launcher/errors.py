"""What can go wrong, said one way: what, where, why, and the command that mends it.

Every error that a user may meet is a `LauncherError`; anything else that escapes is a bug of the launcher (exit code 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias


class Text(NamedTuple):
    """One sentence in both languages of the command line."""

    en: str
    zh: str

    def render(self, lang: str) -> str:
        """The sentence in `lang`: "zh" gives Chinese, everything else English."""
        return self.zh if lang == "zh" else self.en


def in_both(render: Callable[[str], str]) -> Text:
    """The sentence that `render` makes for "en" and for "zh"."""
    return Text(render("en"), render("zh"))


#: A text for people. A plain string is the same in both languages: a command, a path, a name.
Words: TypeAlias = Text | str
#: Hears a sentence on what is being done.
Say: TypeAlias = Callable[[Words], None]


def render_words(words: Words, lang: str) -> str:
    """`words` in `lang` ("en" or "zh")."""
    return words.render(lang) if isinstance(words, Text) else words


def titled(title: Words, said: Words) -> Text:
    """What is said of something, behind its name and a colon."""
    return Text(f"{render_words(title, 'en')}: {render_words(said, 'en')}",
                f"{render_words(title, 'zh')}：{render_words(said, 'zh')}")


class Voice:
    """Hears what long work says while it goes on. This one keeps silent; a command's shows it."""

    def say(self, words: Words) -> None:
        """What is being done."""

    def download(self, done: int, whole: int | None, rate: float) -> None:
        """Bytes that have come, of how many, and how many a second."""

    def build(self, step: int, steps: int, line: str) -> None:
        """The compiler's own count."""

    def training(self, place: str, step: int, steps: int) -> None:
        """The step that a bench's training has made, of how many. place: the variant, as in "(2/6) packing"."""


def joined(parts: Iterable[Words], by: Words = Text("; ", "；")) -> Text:
    """The parts that are not empty, one behind the other."""
    told = tuple(parts)
    return in_both(lambda lang: render_words(by, lang).join(filter(None, (render_words(part, lang) for part in told))))


def did_you_mean(word: str, names: Iterable[str]) -> tuple[Text, ...]:
    """The hint that names the nearest of the names; none where nothing is near."""
    import difflib  # here, since most commands end well

    near = difflib.get_close_matches(word, [*names], n=1, cutoff=0.65)
    return tuple(Text(f"did you mean {name}?", f"是否想写 {name}？") for name in near)


class LauncherError(Exception):
    """A failure that the user can understand and mend.

    code: a literal of the table of findings, which `swift-fa explain` tells about. message: what went wrong, on one line; hint:
    what to do, one line or command each; without either, the table's own words are shown. where: file, line, key or host. why:
    the cause, when it is not the message itself. excerpt: the lines of a file that are wrong, shown as they stand. exit_code:
    what the program returns (1 refused or failed, 2 the command line or the config is wrong).
    """

    exit_code = 1

    def __init__(self, code: str, message: Words = "", *, where: str = "", why: Words = "", hint: tuple[Words, ...] = (),
                 excerpt: str = "") -> None:
        super().__init__(render_words(message, "en") or code)
        self.code, self.message, self.where, self.why, self.hint, self.excerpt = code, message, where, why, hint, excerpt


@contextmanager
def refused_as(error: LauncherError) -> Iterator[None]:
    """Raises `error` where the system refuses what is done within, with its reason."""
    try:
        yield
    except OSError as refusal:
        error.why = error.why or refusal.strerror or str(refusal)
        raise error from None


class UsageError(LauncherError):
    """The command line is wrong."""

    exit_code = 2


class ConfigError(LauncherError):
    """The config is wrong; `where` names file, line and key."""

    exit_code = 2


class FactsError(LauncherError):
    """Saved facts cannot be read: truncated, foreign, or of a future schema."""

    exit_code = 2


class InstallError(LauncherError):
    """flash-attn could not be chosen, fetched, proven or installed; what was there before is untouched or back."""


class LaunchError(LauncherError):
    """The training could not be started."""


class RecordError(LauncherError):
    """A run record cannot be found, read or written."""
