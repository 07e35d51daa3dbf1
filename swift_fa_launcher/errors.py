"""What can go wrong, said one way: what, where, why, and the command that mends it.

Every error that a user may meet is a `LauncherError`; anything else that escapes is a bug of the launcher (exit code 3).
"""

from __future__ import annotations

from collections.abc import Callable
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
#: Shows one short sentence of progress.
Say: TypeAlias = Callable[[Words], None]


def render_words(words: Words, lang: str) -> str:
    """`words` in `lang` ("en" or "zh")."""
    return words.render(lang) if isinstance(words, Text) else words


def titled(title: Words, said: Words) -> Text:
    """What is said of something, behind its name and a colon."""
    return Text(f"{render_words(title, 'en')}: {render_words(said, 'en')}",
                f"{render_words(title, 'zh')}：{render_words(said, 'zh')}")


class LauncherError(Exception):
    """A failure that the user can understand and mend.

    code: a literal of the table of findings, which `swift-fa explain` tells about. message: what went wrong, on one line. where:
    file, line, key or host. why: the cause, when it is not the message itself. hint: what to do, one line or command each.
    exit_code: what the program returns (1 refused or failed, 2 the command line or the config is wrong).
    """

    exit_code = 1

    def __init__(self, code: str, message: Words, *, where: str = "", why: Words = "", hint: tuple[Words, ...] = ()) -> None:
        super().__init__(render_words(message, "en"))
        self.code, self.message, self.where, self.why, self.hint = code, message, where, why, hint


class UsageError(LauncherError):
    """The command line is wrong."""

    exit_code = 2


class ConfigError(LauncherError):
    """The config is wrong; `where` names file, line and key."""

    exit_code = 2


class FactsError(LauncherError):
    """Saved facts cannot be read: truncated, foreign, or of a future schema."""

    exit_code = 2


class FactsNotWritten(FactsError):
    """There is no place for the facts where the command line wants them; a matter of the machine, as for other output."""

    exit_code = 1


class InstallError(LauncherError):
    """flash-attn could not be chosen, fetched, proven or installed; what was there before is untouched or back."""


class LaunchError(LauncherError):
    """The training could not be started."""


class RecordError(LauncherError):
    """A run record cannot be found, read or written."""
