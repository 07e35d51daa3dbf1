"""The command line's main: language, dispatch, errors, exit codes. What a command does stands in `commands/`."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import NoReturn

from swift_fa_launcher import __version__
from swift_fa_launcher.commands import COMMANDS, DONE, HIDDEN, REFUSED
from swift_fa_launcher.commands.screen import Progress, holds_chinese, print_json, tell, width_of
from swift_fa_launcher.errors import LauncherError, Text, render_words
from swift_fa_launcher.layout import advice, cells, fill, pad

BUG, INTERRUPTED = 3, 130
CLOSED_PIPE = 141  # 128 + SIGPIPE: what was said may not have been heard


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; its exit code (see the contract: 0 done, 1 refused, 2 wrong, 3 a bug, 130 interrupted)."""
    _open_closed_streams()
    arguments = list(sys.argv[1:] if words is None else words)
    lang = _spoken(detect_language(arguments, os.environ))
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a name that is no text ends nothing
    try:
        _unwind_on_signals()
        code = _run(arguments, lang)
        sys.stdout.flush()
        return code
    except LauncherError as error:
        _print_error(error, lang, "--json" in arguments)
        return error.exit_code
    except KeyboardInterrupt as error:
        return _print_interrupted(error, lang)
    except BrokenPipeError:  # `swift-fa runs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except OSError as error:
        return _print_refusal(error, lang, "--json" in arguments)
    except Exception as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # a library's way out has stumbled over it, as argparse's does
            return _print_interrupted(error.__context__, lang)
        _print_bug(lang)
        return BUG


def _open_closed_streams() -> None:
    """What was started with closed standard streams (`>&-`) gets empty ones: the next file would take their number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(number, "r" if name == "stdin" else "w", closefd=False))  # noqa: SIM115


class _Signal(KeyboardInterrupt):
    """Its argument: the signal's number. (A plain KeyboardInterrupt in an `exec`, as dataclasses have it, makes Python end
    by SIGINT, whoever catches it.)"""


def _unwind_on_signals() -> None:
    """SIGTERM and SIGHUP end a command as Ctrl-C does: by default they would leave behind what runs for it in sessions of
    its own, such as the probe. Ignored ones (nohup) stay ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):  # Windows has no SIGHUP
        if threading.current_thread() is threading.main_thread() and signal.getsignal(number) in (
                signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _unwind)


def _unwind(number: int, frame: object) -> NoReturn:
    raise _Signal(number)


def _print_interrupted(error: KeyboardInterrupt, lang: str) -> int:
    tell(Text("interrupted", "已中断"), lang)
    return 128 + error.args[0] if error.args else INTERRUPTED


def detect_language(words: Sequence[str], environ: Mapping[str, str]) -> str:
    """ "zh" or "en": `--lang`, else the locale in effect."""
    for i, word in enumerate(words):
        if word.startswith("--lang="):
            return "zh" if word.endswith("zh") else "en"
        if word == "--lang" and i + 1 < len(words):
            return "zh" if words[i + 1] == "zh" else "en"
    locale = environ.get("LC_ALL") or environ.get("LC_MESSAGES") or environ.get("LANG") or ""
    return "zh" if locale.lower().startswith("zh") else "en"


def _spoken(lang: str) -> str:
    """The language, or English where the output's encoding cannot hold it."""
    return lang if lang != "zh" or (holds_chinese(sys.stdout) and holds_chinese(sys.stderr)) else "en"


def _run(words: list[str], lang: str) -> int:
    if words[:1] == ["--lang"] or (words[:1] and words[0].startswith("--lang=")):  # also before the command
        count = 2 if words[0] == "--lang" else 1
        words = [*words[count:count + 1], *words[:count], *words[count + 1:]]
    if words[:1] == ["help"] and words[1:2] and words[1] in COMMANDS:
        words = [words[1], "--help", *words[2:]]
    name = words[0] if words else "--help"
    if name in ("-h", "--help", "help") or name.startswith("--lang"):
        print(_overview(lang))
        return DONE
    if name in ("-V", "-v", "--version", "version"):
        print(f"swift-fa {__version__}")
        return DONE
    if name not in COMMANDS and name not in HIDDEN:
        from swift_fa_launcher.commands.mistakes import refuse_command

        refuse_command(words)
    from swift_fa_launcher.commands.options import load_command, make_parser

    parser = make_parser(name, lang)
    parser.given = words[1:]
    options = parser.parse_intermixed_args(words[1:])
    options.command, Progress.quiet = name, options.quiet
    options.lang = _spoken(options.lang or lang)
    code: int = load_command(name).run(options)
    return code


def _overview(lang: str) -> str:
    width = width_of(sys.stdout) or 80
    about = Text(f"swift-fa {__version__}: `swift sft` with packing, flash attention and SwanLab, checked before it starts",
                 f"swift-fa {__version__}：带 packing、flash attention 和 SwanLab 的 `swift sft`，启动前先检查")
    usage = Text("usage: swift-fa COMMAND ...", "用法：swift-fa COMMAND ...")
    left = max(map(cells, COMMANDS)) + 4
    listed = (fill(story.render(lang), width, pad(f"  {name}", left), " " * left) for name, story in COMMANDS.items())
    example = Text("example:", "示例：").render(lang) + "\n  swift-fa train swift-fa:qwen7b swift.learning_rate=1e-4"
    more = Text("`swift-fa COMMAND --help` says more.", "详见 `swift-fa COMMAND --help`。")
    return "\n\n".join([fill(about.render(lang), width), usage.render(lang), "\n".join(listed), example, more.render(lang)])


def _print_error(error: LauncherError, lang: str, as_json: bool) -> None:
    from swift_fa_launcher.config.schema import name_origins
    from swift_fa_launcher.findings.table import words_of

    message, hint = words_of(error)
    where, why = name_origins(error.where, lang), name_origins(render_words(error.why, lang), lang)
    if as_json:
        print_json({"schema": 1, "error": {"code": error.code, "message": render_words(message, lang), "where": where, "why": why,
                                           "hint": [render_words(line, lang) for line in hint],
                                           **({"excerpt": error.excerpt} if error.excerpt else {})}})
    tell(message, lang, f"swift-fa: {Text('error: ', '错误：').render(lang)}")
    for label, said in ((Text("where: ", "位置："), where), (Text("why: ", "原因："), why)):
        if said:
            tell(said, lang, f"  {label.render(lang)}", "    ")
    if error.excerpt:
        print(error.excerpt, file=sys.stderr)
    for line in hint:
        print(advice(line, lang, width_of(sys.stderr)), file=sys.stderr)


def _print_refusal(error: OSError, lang: str, as_json: bool) -> int:
    """What the system refuses where nobody foresaw it: the screen (a full disk), or a file, which is named."""
    if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        tell(Text(f"cannot write: {error.strerror}", f"无法写入：{error.strerror}"), lang)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED
    from swift_fa_launcher.cache import keep_traceback

    place = keep_traceback()
    report = Text(f"if that looks right to you, report it with {place}", f"如果看起来没有问题，请附上 {place} 报告此问题")
    where = str(error.filename or (Text("this folder", "当前目录").render(lang) if _is_gone() else ""))
    _print_error(LauncherError("system-refused", where=where, why=error.strerror or str(error),
                               hint=(Text("look at the file or folder that is named, then type the command again",
                                          "检查上面的文件或目录，然后重新输入命令"), report)), lang, as_json)
    return REFUSED


def _is_gone() -> bool:
    """Whether the working folder was removed or cannot be asked for."""
    try:
        return not os.path.isdir(os.getcwd())
    except OSError:
        return True


def _print_bug(lang: str) -> None:
    from swift_fa_launcher.cache import keep_traceback

    place = keep_traceback()
    tell(Text(f"this is a bug in swift-fa; please report it with {place}",
              f"这是 swift-fa 的 bug；报告此问题时请附上 {place}"), lang)


if __name__ == "__main__":
    sys.exit(main())
