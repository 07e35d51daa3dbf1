"""The command line of a command: its parser, and the words and options that several commands share."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from swift_fa_launcher.commands import COMMANDS, HIDDEN
from swift_fa_launcher.commands.screen import width_of
from swift_fa_launcher.errors import Text, UsageError, Words
from swift_fa_launcher.layout import cells, fill, pad
from swift_fa_launcher.secrets import strike_assigned

_SETTING = re.compile(r"[A-Za-z_]\w*(\.[^.=\s/]+)+=")  # `section.key=…`; anything else names a config file
_LEFT = 26  # columns for the options; what is longer has its help below
_WIDEST = 100  # of a help text; longer lines are hard to read

_USAGE, _OPTIONS = Text("usage: ", "用法："), Text("[OPTIONS]", "[选项]")
_HEADINGS = Text("arguments:", "参数："), Text("options:", "选项："), Text("example:", "示例：")

#: What argparse says of a wrong command line, and the same in Chinese.
_REFUSALS = (
    (r"unrecognized arguments: (.*)", r"不认识的参数：\1"),
    (r"the following arguments are required: (.*)", r"缺少参数：\1"),
    (r"argument (.*?): expected one argument", r"参数 \1 需要一个值"),
    (r"argument (.*?): expected at least one argument", r"参数 \1 至少需要一个值"),
    (r"argument (.*?): expected (\d+) arguments?", r"参数 \1 需要 \2 个值"),
    (r"argument (.*?): invalid choice: (.*?) \(choose from (.*)\)", r"参数 \1 的取值 \2 无效，可选：\3"),
    (r"argument (.*?): invalid (\w+) value: (.*)", r"参数 \1 的取值 \3 无效（应为 \2）"),
    (r"argument (.*?): ignored explicit argument (.*)", r"参数 \1 不接受值 \2"),
    (r"argument (.*?): not allowed with argument (.*)", r"参数 \1 不能与 \2 同时使用"),
    (r"ambiguous option: (.*?) could match (.*)", r"选项 \1 有歧义，可能是 \2"),
)

#: The options that several commands have: what each is for, and argparse's part of it.
_SHARED: Mapping[str, tuple[Text, Mapping[str, Any]]] = {
    "--allow": (Text("treat this error as a warning (may be repeated)", "把这个错误当作警告（可重复）"),
                {"action": "append", "default": [], "metavar": "CODE"}),
    "--wait": (Text("with launch.target=slurm: follow the job to its end", "launch.target=slurm 时：等待作业结束"),
               {"action": "store_true"}),
    "--no-install": (Text("do not install flash-attn, even if it is missing", "即使缺少 flash-attn 也不安装"),
                     {"action": "store_true"}),
    "--python": (Text("the Python that has ms-swift (default: the one that runs swift-fa)",
                      "装有 ms-swift 的 Python（默认是运行 swift-fa 的那个）"), {"metavar": "FILE"}),
    "--root": (Text("folder of the run records (default: $SWIFT_FA_ROOT, else where the last run is)",
                    "运行记录所在的文件夹（默认 $SWIFT_FA_ROOT，否则为最近一次运行所在的文件夹）"),
               {"default": "", "type": lambda text: text or _usual_root(), "metavar": "FOLDER"}),
}


def _usual_root() -> str:
    from swift_fa_launcher.runs.store import usual_root

    return str(usual_root())


class Parser(argparse.ArgumentParser):
    """What a command declares its options with: each with its help in both languages beside it."""

    def __init__(self, name: str, story: Text, example: str, lang: str) -> None:
        super().__init__(prog=f"swift-fa {name}", usage="", add_help=False)
        self.lang, self._story, self._example = lang, story, example
        self._typed: list[str] = []  # argparse hides the words from itself while it reads the options
        self.given: list[str] = []  # all words behind the command
        self.option("-h", "--help", action="help", help=Text("show this help", "显示此帮助"))

    def option(self, *names: str, help: Text, **more: Any) -> None:
        """Declare an option (`--name`) or a word (`name`); `more` is argparse's."""
        action = self.add_argument(*names, help=help.render(self.lang), **more)
        if not action.option_strings:
            self._typed.append(_typed(action))

    def flag(self, name: str, help: Text) -> None:
        """Declare an option that takes no value."""
        self.option(name, action="store_true", help=help)

    def config_words(self, *, needed: bool = True) -> None:
        """Declare config files and settings; `split_words` takes them apart."""
        optional = Text("", "") if needed else Text(" (optional)", "（可不写）")
        self.option("words", nargs="*", metavar="CONFIG.yaml | key=value", help=Text(
            f"config files and settings{optional.en}; later files win, and key=value wins over files",
            f"配置文件和设置{optional.zh}；后面的文件优先，key=value 优先于文件"))

    def run_word(self, name: str = "run", **more: Any) -> None:
        """Declare a word that names a recorded run."""
        self.option(name, metavar="RUN", type=partial(self._run_name, one="nargs" not in more), help=Text(
            'a run: its id, a unique prefix of its id, its name, or "latest"',
            "运行：id、能唯一确定它的 id 前缀、名称，或 latest"), **more)

    def _run_name(self, word: str, one: bool) -> str:
        """The word. Raises UsageError for a config, which a run was made from."""
        if word.endswith((".yaml", ".yml", ".json")):
            latest = Text(f"the latest one: {self.prog} latest", f"最近一次：{self.prog} latest")
            raise UsageError("option-invalid", Text(f"RUN is a recorded run, and {word} is a config",
                                                    f"RUN 是一次已记录的运行，而 {word} 是配置"),
                             hint=(*((latest,) if one else ()),
                                   Text("list them all: swift-fa runs", "列出所有运行：swift-fa runs")))
        return word

    @property
    def known(self) -> dict[str, bool]:
        """The options that there are, and whether each is a flag."""
        return {name: action.nargs == 0 for name, action in self._option_string_actions.items()}

    def shared(self, *names: str) -> None:
        """Declare options that several commands have, by name."""
        for name in names:
            help_text, more = _SHARED[name]
            self.option(name, help=help_text, **more)

    def format_help(self) -> str:
        """The help as text, no wider than the terminal; the example stands on one line."""
        width = min(width_of(sys.stdout) or 80, _WIDEST)
        words = [action for action in self._actions if not action.option_strings]
        options = [action for action in self._actions if action.option_strings]
        usage = " ".join([self.prog, _OPTIONS.render(self.lang), *self._typed])
        parts = [fill(self._story.render(self.lang), width), fill(_USAGE.render(self.lang) + usage, width, rest="  ")]
        for heading, listed in zip(_HEADINGS[:2], (words, options), strict=True):
            if listed:
                lines = (line for action in listed for line in _help_lines(action, width))
                parts.append("\n".join([heading.render(self.lang), *lines]))
        return "\n\n".join([*parts, f"{_HEADINGS[2].render(self.lang)}\n  {self._example}"]) + "\n"

    def error(self, message: str) -> NoReturn:
        from swift_fa_launcher.commands.mistakes import meant_by_options, meant_by_value

        if message.startswith("unrecognized"):  # argparse lists what stands behind them too
            message = " ".join(word for word in message.split(" ") if not _SETTING.match(word))
        takes_settings = any(action.dest in ("words", "overrides") for action in self._actions)
        meant = meant_by_options(self.prog, self.given, self.known, takes_settings) if message.startswith("unrecognized") else \
            (self._example,) if "are required" in message else meant_by_value(message, {
                name: str(action.metavar) for name, action in self._option_string_actions.items()})
        raise UsageError("option-invalid", _in_both_languages(strike_assigned(message)), hint=(*meant, f"{self.prog} --help"))


def load_command(name: str) -> ModuleType:
    """The module of a command of the table."""
    return importlib.import_module(f"{__package__}.{name}")


def make_parser(name: str, lang: str) -> Parser:
    """The parser of a command: its own options, and those of every command."""
    command = load_command(name)
    parser = Parser(name, {**COMMANDS, **HIDDEN}[name], command.EXAMPLE, lang)
    command.declare(parser)
    parser.option("--lang", choices=("en", "zh"), help=Text("language of messages: en or zh (default: the locale's)",
                                                            "消息的语言：en 或 zh（默认随 locale）"), metavar="LANG")
    parser.flag("--quiet", Text("show no progress; only results, warnings and errors", "不显示进度，只显示结果、警告和错误"))
    parser.flag("--json", Text("print one JSON document and nothing else", "只输出一个 JSON 文档"))
    return parser


def _help_lines(action: argparse.Action, width: int) -> list[str]:
    left = f"  {_called(action)}"
    first, rest = pad(left, _LEFT), " " * _LEFT
    below = [] if cells(left) <= _LEFT - 2 else [left]
    return [*below, fill(action.help or "", width, rest if below else first, rest)]


def _called(action: argparse.Action) -> str:
    """An option as it is typed: `--index URL_OR_FILE`."""
    if not action.option_strings:
        return str(action.metavar)
    value = "" if action.nargs == 0 else f" [{action.metavar}]" if action.nargs == "?" else f" {action.metavar}"
    return ", ".join(action.option_strings) + value


def _typed(action: argparse.Action) -> str:
    """A word in the usage line: `RUN`, `[PATTERN]`, `[key=value ...]`."""
    word = str(action.metavar)
    return f"[{word} ...]" if action.nargs == "*" else f"[{word}]" if action.nargs == "?" else \
        " ".join([word] * (action.nargs if isinstance(action.nargs, int) else 1))


def _in_both_languages(message: str) -> Words:
    for said, zh in _REFUSALS:
        if match := re.fullmatch(said, message, re.S):
            return Text(message, match.expand(zh))
    return message


# --- what several commands make of their words ---


def split_words(options: argparse.Namespace, *, needed: bool = True) -> tuple[list[Path], list[str]]:
    """Config files and settings. Raises UsageError for a word that is neither, and for no file where one is needed."""
    words = options.words
    files = [Path(word) for word in words if not _SETTING.match(word)]
    if any(not file.exists() for file in files) or any(word.count("[") != word.count("]") for word in words):
        from swift_fa_launcher.commands.mistakes import refuse_words

        refuse_words(options.command, words, _SETTING)
    if needed and not files:
        raise UsageError("config-not-named", hint=(f"swift-fa {options.command} swift-fa:qwen7b", "swift-fa init my.yaml"))
    return files, [word for word in words if _SETTING.match(word)]


def allowed(codes: Sequence[str]) -> tuple[str, ...]:
    """The codes of `--allow`, also several in one word with commas. Raises UsageError for one that is none."""
    from swift_fa_launcher.findings.table import require_codes

    return require_codes([code for word in codes for code in re.split("[,，\\s]+", word) if code], "--allow")
