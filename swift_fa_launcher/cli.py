"""The command line: words in, printing, exit codes. Nothing else in the package prints or exits."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from swift_fa_launcher import __version__
from swift_fa_launcher.errors import LauncherError, RecordError, Text, UsageError, Words, render_words

if TYPE_CHECKING:
    from rich.console import Console

    from swift_fa_launcher.config.swift_args import Argument
    from swift_fa_launcher.stories.install import Choice
    from swift_fa_launcher.stories.launch import Again, Finished, Judgement, Prepared

DONE, REFUSED, BUG, INTERRUPTED = 0, 1, 3, 130
_STEP_SECONDS = 15.0  # between two lines that say how far a training is, where they do not renew themselves
CLOSED_PIPE = 141  # 128 + SIGPIPE: what was said may not have been heard
_SETTING = re.compile(r"[A-Za-z_]\w*(\.[^.=\s/]+)+=")  # `section.key=…`; anything else names a config file


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; its exit code (see the contract: 0 done, 1 refused, 2 wrong, 3 a bug, 130 interrupted)."""
    arguments = list(sys.argv[1:] if words is None else words)
    lang = detect_language(arguments, os.environ)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a name that is no text ends nothing
    try:
        _unwind_on_signals()
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except LauncherError as error:
        if "--json" in arguments:
            _print_json({"schema": 1, "error": {"message": render_words(error.message, lang), "where": error.where,
                                                "why": render_words(error.why, lang),
                                                "hint": [render_words(line, lang) for line in error.hint]}})
        _print_error(error, lang)
        return error.exit_code
    except KeyboardInterrupt as error:
        return _print_interrupted(error, lang)
    except BrokenPipeError:  # `swift-fa runs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            _print_bug(lang)
            return BUG
        _tell(Text(f"cannot write: {error.strerror}", f"无法写入：{error.strerror}"), lang)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED
    except Exception as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # a library's way out has stumbled over it, as argparse's does
            return _print_interrupted(error.__context__, lang)
        _print_bug(lang)
        return BUG


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
    _tell(Text("interrupted", "已中断"), lang)
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


def _run(words: list[str]) -> int:
    if words[:1] == ["--lang"] or (words[:1] and words[0].startswith("--lang=")):  # also before the command
        count = 2 if words[0] == "--lang" else 1
        words = [*words[count:count + 1], *words[:count], *words[count + 1:]]
    name = words[0] if words else "--help"
    if name in ("-h", "--help", "help") or name.startswith("--lang"):
        print(_overview(detect_language(words, os.environ)))
        return DONE
    if name in ("-V", "--version"):
        print(f"swift-fa {__version__}")
        return DONE
    command = COMMANDS.get(name)
    if command is None:
        raise UsageError(Text(f"there is no command {name}", f"没有命令 {name}"), hint=(_nearest_command(name),))
    parser = _Parser(prog=f"swift-fa {name}", description=command.story, epilog=f"example:\n  {command.example}",
                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.lang = detect_language(words, os.environ)
    command.declare(parser)
    parser.add_argument("--lang", choices=("en", "zh"), help="language of messages (default: the locale's)")
    if command.has_json:
        parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    options = parser.parse_intermixed_args(words[1:])
    options.command = name
    options.lang = options.lang or detect_language((), os.environ)
    return command.run(options)


class _Parser(argparse.ArgumentParser):
    lang = "en"

    def format_help(self) -> str:
        if self.lang != "zh":
            return super().format_help()
        from swift_fa_launcher.cli_zh import HEADINGS, ZH

        self.description = ZH.get(self.description or "", self.description)
        for action in self._actions:
            action.help = ZH.get(action.help or "", action.help)
        text = super().format_help()
        for said, zh in HEADINGS.items():
            text = text.replace(said, zh, 1)
        return text

    def error(self, message: str) -> NoReturn:
        near = _nearest_option(message, self._option_string_actions)
        raise UsageError(_in_both_languages(message), hint=(*((f"{self.prog} {near}",) if near else ()), f"{self.prog} --help"))


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


def _in_both_languages(message: str) -> Words:
    for said, zh in _REFUSALS:
        if match := re.fullmatch(said, message, re.S):
            return Text(message, match.expand(zh))
    return message


def _nearest_option(message: str, options: Mapping[str, object]) -> str | None:
    import difflib

    wrong = re.match(r"unrecognized arguments: .*?(--?[\w-]+)", message)
    near = difflib.get_close_matches(wrong[1], [option for option in options if option.startswith("--")], n=1) if wrong else []
    return near[0] if near else None


@dataclass(frozen=True)
class Command:
    story: str
    example: str
    declare: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    has_json: bool = True


# --- train -----------------------------------------------------------------------------------------------------------


def _declare_train(parser: argparse.ArgumentParser) -> None:
    _config_words(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the command and start nothing")
    parser.add_argument("--no-install", action="store_true", help="do not install flash-attn, even if it is missing")
    _allow_option(parser)


def _run_train(options: argparse.Namespace) -> int:
    from swift_fa_launcher.stories import launch as flow

    files, overrides = _split_words(options)
    prepared = flow.prepare(files, overrides, allow=_allowed(options.allow), say=_say)
    return _start(prepared, options, install=not options.no_install)


def _mendable(prepared: Prepared) -> bool:
    from swift_fa_launcher.stories.install import would_mend

    return would_mend(prepared.judgement.config, prepared.judgement.facts, prepared.judgement.findings)


def _start(prepared: Prepared, options: argparse.Namespace, *, install: bool) -> int:
    from swift_fa_launcher.findings.finding import blocking
    from swift_fa_launcher.stories import launch as flow

    if options.dry_run:
        return _print_dry_run(prepared, options)
    flow.refuse_target(prepared.judgement.config)
    if install and _mendable(prepared):
        _print_table(prepared.judgement, options.lang, to_stderr=True)
        prepared = flow.mend(prepared, allow=_allowed(options.allow), say=_say, progress=_show_download,
                             build_progress=_show_build)
    _print_table(prepared.judgement, options.lang, to_stderr=True)
    if options.json and blocking(prepared.judgement.findings):
        _print_json({"schema": 1, "status": "blocked", "findings": _findings_json(prepared.judgement, options.lang)})
        return REFUSED
    screen = sys.stderr.buffer if options.json else sys.stdout.buffer
    sys.stdout.flush()
    sys.stderr.flush()
    finished = flow.launch(prepared, screen=screen, screen_errors=sys.stderr.buffer, say=_say)
    _print_finished(finished, options)
    return finished.outcome.exit_code


def _print_dry_run(prepared: Prepared, options: argparse.Namespace) -> int:
    from swift_fa_launcher.findings.finding import blocking
    from swift_fa_launcher.launch.plan import render_command
    from swift_fa_launcher.runs.record import secret_values
    from swift_fa_launcher.secrets import redact, redact_data

    judgement = prepared.judgement
    hidden = secret_values(judgement.config, os.environ)
    if options.json:
        _print_json(redact_data({**prepared.plan.to_json(), "findings": _findings_json(judgement, options.lang)}, hidden))
    else:
        _print_table(judgement, options.lang, to_stderr=True)
        print(redact(render_command(prepared.plan, options.lang), hidden))
    mended = not getattr(options, "no_install", True) and _mendable(prepared)
    refused = judgement.config.launch.target != "local" or (blocking(judgement.findings) and not mended)
    return REFUSED if refused else DONE


def _findings_json(judgement: Judgement, lang: str) -> list[dict[str, Any]]:
    from swift_fa_launcher.runs.record import secret_values
    from swift_fa_launcher.secrets import redact_data

    hidden = secret_values(judgement.config, os.environ)
    return [redact_data(finding.to_json(lang), hidden) for finding in judgement.findings]


def _print_finished(finished: Finished, options: argparse.Namespace) -> None:
    from swift_fa_launcher.runs.report import render_finished, run_to_json
    from swift_fa_launcher.runs.store import see_run

    if options.json:
        _print_json(run_to_json(see_run(finished.folder)))
    lines = [render_finished(finished.folder, finished.record, options.lang),
             *(_diagnosis_text(diagnosis.to_json(options.lang), options.lang) for diagnosis in finished.diagnoses)]
    print("\n" + "\n".join(lines), file=sys.stderr)


# --- preflight -------------------------------------------------------------------------------------------------------


def _declare_preflight(parser: argparse.ArgumentParser) -> None:
    _config_words(parser, needed=False)
    parser.add_argument("--facts", metavar="FILE", help="judge saved facts instead of this machine; - reads standard input")
    parser.add_argument("--save-facts", metavar="FILE", help="write what this machine is like")
    parser.add_argument("--no-probe", action="store_true", help="do not run flash attention on the GPUs")
    parser.add_argument("--offline", action="store_true", help="ask nothing of the network")
    _allow_option(parser)


def _run_preflight(options: argparse.Namespace) -> int:
    from swift_fa_launcher.decode import known
    from swift_fa_launcher.findings.finding import blocking, status
    from swift_fa_launcher.machine.facts import facts_to_json
    from swift_fa_launcher.machine.saved import read_facts, write_facts
    from swift_fa_launcher.stories import launch as flow

    files, overrides = _split_words(options, needed=False)
    judgement = flow.preflight(files, overrides, saved=read_facts(options.facts) if options.facts else None,
                               allow=_allowed(options.allow), offline=options.offline, probe=not options.no_probe, say=_say)
    if options.save_facts:
        write_facts(judgement.facts, Path(options.save_facts))
        _tell(Text(f"facts written to {options.save_facts}", f"环境信息已写入 {options.save_facts}"), options.lang)
    if options.facts:
        told = f"{known(judgement.facts.where)}, {known(judgement.facts.collected_at)}"
        _tell(Text(f"judged by the saved facts of {told}", f"依据保存的环境信息：{told}"), options.lang)
    if options.json:
        _print_json({"schema": 1, "status": status(judgement.findings),
                     "findings": _findings_json(judgement, options.lang),
                     "facts": facts_to_json(judgement.facts)})
    else:
        _print_table(judgement, options.lang, to_stderr=False)
    return REFUSED if blocking(judgement.findings) else DONE


# --- install ---------------------------------------------------------------------------------------------------------


def _declare_install(parser: argparse.ArgumentParser) -> None:
    _config_words(parser, needed=False)
    parser.add_argument("--version", metavar="SPEC", help='exact (2.8.3) or a range (">=2.7,<2.9")')
    parser.add_argument("--wheel", metavar="FILE_OR_URL", help="this wheel or none; #sha256=... gives its digest")
    parser.add_argument("--from-source", action="store_true", help="build it, even if a wheel fits")
    parser.add_argument("--index", action="append", default=[], metavar="URL_OR_FILE",
                        help="ask this source instead of the config's (may be repeated)")
    parser.add_argument("--mirror", action="append", default=[], metavar="PREFIX",
                        help="fetch through this prefix instead of the config's (may be repeated)")
    parser.add_argument("--facts", metavar="FILE", help="choose for saved facts; with --dry-run or --download-only")
    parser.add_argument("--download-only", metavar="FOLDER", nargs="?", const=".", help="fetch and prove, install nothing")
    parser.add_argument("--lock", action="store_true", help="write the exact URL and digest beside the config")
    parser.add_argument("--offline", action="store_true", help="use only indexes and wheels that are on this machine")
    parser.add_argument("--dry-run", action="store_true", help="choose and say why; fetch and install nothing")


def _run_install(options: argparse.Namespace) -> int:
    from swift_fa_launcher.config.layers import resolve_config
    from swift_fa_launcher.machine.saved import read_facts
    from swift_fa_launcher.stories import install as flow_install

    if options.facts and not options.dry_run and options.download_only is None:
        raise UsageError(Text("--facts are another machine's: nothing can be installed there from here",
                              "--facts 来自另一台机器：无法在此为它安装"), hint=("--dry-run", "--download-only FOLDER"))
    if options.download_only and Path(options.download_only).exists() and not Path(options.download_only).is_dir():
        raise UsageError(Text(f"not a folder: {options.download_only}", f"不是文件夹：{options.download_only}"),
                         where="--download-only", hint=("--download-only wheels/",))
    files, overrides = _split_words(options, needed=options.lock)
    config = resolve_config(files, overrides)
    wish = flow_install.Wish(options.version, options.wheel, "always" if options.from_source else None,
                             tuple(options.index), tuple(options.mirror), options.offline)
    wished = flow_install.wished_config(config, wish)  # a version that is none is said before anybody is asked
    facts = read_facts(options.facts) if options.facts else flow_install.look(config, _say)
    choice = flow_install.choose(config, facts, wish, say=_say)
    if options.dry_run:
        return _print_choice(choice, options)
    if options.download_only is not None:
        obtained, beside = flow_install.download(facts, choice, Path(options.download_only), offline=options.offline,
                                                 say=_say, progress=_show_download)
        _print_result({"schema": 1, "file": str(obtained.fetched.path), "url": obtained.fetched.url,
                       "sha256": obtained.fetched.sha256, "beside": [str(file) for file in beside]}, options)
        return DONE
    flow_install.recover(facts, _say)
    installed = flow_install.install(wished, facts, choice, say=_say, progress=_show_download, build_progress=_show_build)
    lock = flow_install.write_lock(config, facts, choice, installed.receipt) if options.lock else None
    receipt = installed.receipt
    _print_result({"schema": 1, "installed": f"{receipt.distribution} {receipt.version}", "file": receipt.filename,
                   "url": receipt.url, "sha256": receipt.sha256, "proven": list(receipt.proven), "python": receipt.python,
                   **({"lock": str(lock)} if lock else {})}, options)
    return DONE


def _print_choice(choice: Choice, options: argparse.Namespace) -> int:
    from swift_fa_launcher.wheels.choose import choice_to_json, render_choice

    if options.json:
        refusals = [{"code": code, "reason": render_words(words, options.lang)} for code, words in choice.refusals]
        sources = [{"source": r.spec, "wheels": len(r.candidates), "error": render_words(r.error or "", options.lang) or None}
                   for r in choice.reports]
        print(json.dumps({**choice_to_json(choice.resolution, options.lang), "refusals": refusals, "sources": sources},
                         ensure_ascii=False))
    else:
        print(render_choice(choice.resolution, options.lang))
        print("".join(f"  {code}: {render_words(words, options.lang)}\n" for code, words in choice.refusals), end="")
    return REFUSED if choice.resolution.plan == "none" else DONE


def _print_result(result: Mapping[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        _print_json(result)
        return
    width = max(map(len, result))
    for name, value in result.items():
        if name != "schema" and value:
            print(f"{name:<{width}}  {', '.join(value) if isinstance(value, list) else value}")


def _show_download(done: int, whole: int | None, rate: float) -> None:
    """One line that renews itself: how much, how fast, how long still."""
    if not sys.stderr.isatty():
        return
    from swift_fa_launcher.wheels.download import render_progress

    line = render_progress(done, whole, rate, detect_language(sys.argv, os.environ))
    print(f"\r{line}\x1b[K", end="\n" if whole and done >= whole else "", file=sys.stderr, flush=True)


def _show_build(step: int, steps: int, line: str) -> None:
    """The compiler's own count; a renewing line on a terminal, one in ten elsewhere."""
    if sys.stderr.isatty():
        print(f"\r... [{step}/{steps}] {line[:100]}\x1b[K", end="\n" if step == steps else "", file=sys.stderr, flush=True)
    elif step == steps or step % max(1, steps // 10) == 0:
        print(f"... [{step}/{steps}]", file=sys.stderr, flush=True)


# --- config ----------------------------------------------------------------------------------------------------------


def _declare_config(parser: argparse.ArgumentParser) -> None:
    _config_words(parser, needed=False)
    parser.add_argument("--explain", action="store_true", help="show where each value was written")
    parser.add_argument("--defaults", action="store_true", help="show the built-in defaults")


def _run_config(options: argparse.Namespace) -> int:
    from swift_fa_launcher.config import layers, render
    from swift_fa_launcher.runs.record import secret_values
    from swift_fa_launcher.secrets import redact

    files, overrides = _split_words(options, needed=not options.defaults)
    if options.defaults and not files and not overrides and not options.json:
        print(layers.DEFAULTS_FILE.read_text(encoding="utf-8"), end="")
        return DONE
    config = layers.resolve_config(files, overrides)
    text = (render.render_json(config) if options.json else
            render.render_explained(config, options.lang) if options.explain else render.render_yaml(config))
    print(redact(text, secret_values(config, os.environ)), end="")
    return DONE


# --- args and diagnose -----------------------------------------------------------------------------------------------


def _declare_args(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", nargs="?", default="", metavar="PATTERN", help="part of a name or of its help, or a glob")
    parser.add_argument("--python", metavar="FILE", help="the interpreter that has ms-swift (default: this one)")


def _run_args(options: argparse.Namespace) -> int:
    from swift_fa_launcher.config.layers import resolve_data
    from swift_fa_launcher.config.swift_args import find_arguments, likely
    from swift_fa_launcher.decode import encode
    from swift_fa_launcher.stories import launch as flow

    config = resolve_data({"launch": {"python": options.python}})
    arguments = flow.installed_arguments(config, _say)
    found = find_arguments(arguments, options.pattern)
    if options.json:
        _print_json({"schema": 1, "arguments": {name: encode(argument) for name, argument in found}})
    elif not found:
        near = likely(options.pattern, arguments)
        raise LauncherError(Text(f"no argument fits {options.pattern}", f"没有匹配 {options.pattern} 的参数"),
                            hint=(*(f"swift-fa args {name}" for name in near), *(() if near else ("swift-fa args",))))
    else:
        print("\n".join(_argument_line(name, argument) for name, argument in found))
    return DONE


def _argument_line(name: str, argument: Argument) -> str:
    from swift_fa_launcher.decode import known

    kind = (known(argument.type) or "").removeprefix("<class '").removesuffix("'>")
    choices = known(argument.choices)
    listed = f"  one of {', '.join(map(str, choices[:12]))}{', ...' if len(choices) > 12 else ''}" if choices else ""
    text = f"{name}: {kind} = {json.dumps(argument.default, ensure_ascii=False, default=str)}"
    help_text = " ".join((known(argument.help) or "").split())
    return text + (f"\n   {listed}" if listed else "") + (f"\n    {help_text}" if help_text else "")


def _declare_diagnose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("log", metavar="RUN_OR_LOGFILE", help="a recorded run, a log file, or - for standard input")
    _root_option(parser)


def _run_diagnose(options: argparse.Namespace) -> int:
    from swift_fa_launcher.diagnose.diagnosis import diagnose, diagnose_file

    if options.log == "-":
        diagnoses = diagnose(iter(lambda: sys.stdin.buffer.read(1 << 20), b""))
    else:
        diagnoses = diagnose_file(*_log_of(options.log, Path(options.root)))
    if options.json:
        _print_json({"schema": 1, "diagnoses": [d.to_json(options.lang) for d in diagnoses]})
    else:
        print("\n".join(_diagnosis_text(d.to_json(options.lang), options.lang) for d in diagnoses))
    return DONE


def _log_of(word: str, root: Path) -> tuple[Path]:
    from swift_fa_launcher.runs.store import find_run

    path = Path(word)
    if path.exists() and not path.is_dir():
        return (path,)
    try:
        return (find_run(root, word).folder / "train.log",)
    except RecordError:
        if root.is_dir() and not path.is_dir():
            raise
    if path.is_dir():
        logs = [file for file in sorted(path.glob("*.log"), key=lambda file: file.name != "train.log") if file.is_file()]
        raise UsageError(Text(f"{word} is a folder", f"{word} 是一个目录"),
                         why=Text("neither a log nor a run's record", "既不是日志，也不是运行记录"),
                         hint=(*(f"swift-fa diagnose {shlex.quote(str(file))}" for file in logs[:3]),
                               *(() if logs else ("swift-fa diagnose FOLDER/train.log",))))
    return (path,)


def _diagnosis_text(diagnosis: Mapping[str, Any], lang: str) -> str:
    lines = [f"{diagnosis['code']}: {diagnosis['summary']}"]
    if diagnosis["line"]:
        number, said = diagnosis["line"], diagnosis["evidence"]
        lines.append("  " + Text(f"line {number}: {said}", f"第 {number} 行：{said}").render(lang))
    return "\n".join([*lines, *(f"  -> {line}" for line in diagnosis["fix"])])


# --- runs ------------------------------------------------------------------------------------------------------------


def _declare_runs(parser: argparse.ArgumentParser) -> None:
    from swift_fa_launcher.runs.store import STATES

    _root_option(parser)
    parser.add_argument("--name", metavar="NAME", help="only runs of this name; * and ? stand for any text")
    parser.add_argument("--tag", help="only runs with this tag")
    parser.add_argument("--outcome", choices=STATES, help="only runs in this state")
    parser.add_argument("--since", metavar="TIME", help="started since: 2026-11-23, 2026-11-23T18:30, 36h, 7d")
    parser.add_argument("--until", metavar="TIME", help="started until, the day included")
    parser.add_argument("--end", metavar="RUN", help="end the processes of a run whose launcher is gone (or not)")


def _run_runs(options: argparse.Namespace) -> int:
    from datetime import datetime, timezone

    from swift_fa_launcher.runs import report, store

    if options.end:
        return _run_end(options)
    now = datetime.now(timezone.utc)
    wanted = store.Wanted(options.name, options.tag, options.outcome,
                          store.parse_moment(options.since, now) if options.since else None,
                          store.parse_moment(options.until, now, end=True) if options.until else None)
    entries = store.select_runs(store.with_states(store.list_runs(Path(options.root))), wanted)
    if options.json:
        listed = [report.entry_to_json(entry) for entry in entries]
        print(json.dumps({"schema": 1, "runs": listed}, ensure_ascii=False, default=str))  # indented, thousands take seconds
    elif not entries:
        _tell(store.say_none(Path(options.root), wanted), options.lang)
    else:
        print(report.render_list(entries, options.lang))
    return DONE


def _run_end(options: argparse.Namespace) -> int:
    from swift_fa_launcher.runs import report
    from swift_fa_launcher.stories import launch as flow

    entry = flow.end(Path(options.root), options.end, say=_say)
    if options.json:
        _print_json(report.run_to_json(entry))
    return DONE


def _declare_show(parser: argparse.ArgumentParser) -> None:
    _run_word(parser)
    _root_option(parser)
    parser.add_argument("--requirements", action="store_true",
                        help="print a pip requirements file that installs the run's packages")


def _run_show(options: argparse.Namespace) -> int:
    from swift_fa_launcher.runs import report, store
    from swift_fa_launcher.runs.requirements import render_requirements

    entry, record = store.readable_run(Path(options.root), options.run)
    if options.requirements:
        print(render_requirements(entry.folder), end="")
    elif options.json:
        _print_json(report.run_to_json(entry))
    else:
        print(report.render_run(entry, record, options.lang))
    return DONE


def _declare_diff(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs=2, help='a run: its id, a unique beginning of it, its name, or "latest"')
    _root_option(parser)


def _run_diff(options: argparse.Namespace) -> int:
    from swift_fa_launcher.runs import diff, report, store

    (first, _), (second, _) = (store.readable_run(Path(options.root), word) for word in options.runs)
    found = diff.compare(diff.read_texts(first.folder), diff.read_texts(second.folder))
    if options.json:
        _print_json(diff.differences_to_json(first.folder.name, second.folder.name, found))
    else:
        print(f"- {first.folder.name}\n+ {second.folder.name}\n{report.render_differences(found, options.lang)}")
    return DONE


# --- rerun, resume ---------------------------------------------------------------------------------------------------


def _again_words(parser: argparse.ArgumentParser) -> None:
    _run_word(parser)
    parser.add_argument("words", nargs="*", metavar="key=value", help="settings over the recorded ones")
    parser.add_argument("--dry-run", action="store_true", help="print what differs and the command, and start nothing")
    parser.add_argument("--no-install", action="store_true", help="do not install flash-attn, even if it is missing")
    _allow_option(parser)
    _root_option(parser)


def _declare_rerun(parser: argparse.ArgumentParser) -> None:
    _again_words(parser)
    parser.add_argument("--exact", action="store_true",
                        help="the recorded command as it is, but for the run's own id and folder; takes no settings")
    parser.add_argument("--strict", action="store_true", help="refuse when anything that matters differs from then")


def _run_rerun(options: argparse.Namespace) -> int:
    from swift_fa_launcher.stories import launch as flow

    overrides = _settings(options.words)
    if options.exact and overrides:
        root = [] if options.root == "runs" else ["--root", options.root]
        raise UsageError(Text("--exact takes no settings", "--exact 不接受设置"),
                         hint=(shlex.join(["swift-fa", "rerun", options.run, "--exact", *root]),))
    again = flow.rerun(Path(options.root).absolute(), options.run, overrides, exact=options.exact,
                       allow=_allowed(options.allow), say=_say)
    _print_again(again, options)
    if options.strict and again.unexpected:
        raise LauncherError(Text(f"not started: {len(again.unexpected)} things differ that matter",
                                 f"未启动：有 {len(again.unexpected)} 处重要差异"),
                            why=", ".join(f"{one.group}: {one.key}" for one in again.unexpected[:8]))
    return _start(again.prepared, options, install=not (options.no_install or options.exact))


def _run_resume(options: argparse.Namespace) -> int:
    from swift_fa_launcher.stories import launch as flow

    again = flow.resume(Path(options.root).absolute(), options.run, _settings(options.words),
                        allow=_allowed(options.allow), say=_say)
    _print_again(again, options)
    return _start(again.prepared, options, install=not options.no_install)


def _print_again(again: Again, options: argparse.Namespace) -> None:
    from swift_fa_launcher.runs.report import render_differences

    there = again.continuation
    for checkpoint in there.skipped if there else ():
        _tell(Text(f"{checkpoint.path} is passed over: {render_words(checkpoint.problem, 'en')}",
                   f"跳过 {checkpoint.path}：{render_words(checkpoint.problem, 'zh')}"), options.lang)
    if there:
        _tell(Text(f"going on from {there.checkpoint.path}", f"从 {there.checkpoint.path} 继续"), options.lang)
        if there.words:
            _tell(there.words, options.lang)
    _tell(Text(f"what differs from {again.prepared.parent}:", f"与 {again.prepared.parent} 的差异："), options.lang)
    print(render_differences(again.differences, options.lang), file=sys.stderr)


def _settings(words: Sequence[str]) -> list[str]:
    for word in words:
        _refuse_bare_key(word)
        if not _SETTING.match(word):
            raise UsageError(Text(f"not a setting: {word}", f"不是有效的设置：{word}"), hint=("swift.learning_rate=1e-4",))
    return list(words)


# --- bench -----------------------------------------------------------------------------------------------------------


def _declare_bench(parser: argparse.ArgumentParser) -> None:
    from swift_fa_launcher.bench.bench import NOT_BY_DEFAULT, ROWS, VARIANTS

    _config_words(parser)
    lang = getattr(parser, "lang", "en")
    named = Text(" (only if named)", "（须点名）").render(lang)
    listed = ", ".join(name + (named if name in NOT_BY_DEFAULT else "") for name in VARIANTS)
    parser.add_argument("--variants", metavar="A,B,...", default="", help=Text(
        f"only these, and what they follow from: {listed}", f"只测这些及其所依据的：{listed}").render(lang))
    parser.add_argument("--rows", default=str(ROWS), metavar="N", help=Text(
        f"how many rows each trains on, or all (default: {ROWS})", f"每种方式训练多少行，或 all（默认 {ROWS}）").render(lang))
    parser.add_argument("--out", metavar="FOLDER", help="folder of bench.json, table.md and the plot (default: bench/NAME); "
                                                        "what was measured there already is not measured again")
    parser.add_argument("--no-install", action="store_true", help="do not install flash-attn, even if it is missing")
    _allow_option(parser)


def _run_bench(options: argparse.Namespace) -> int:
    from swift_fa_launcher.bench.bench import bench_to_json
    from swift_fa_launcher.stories import bench as flow_bench

    files, overrides = _split_words(options)
    wish = flow_bench.Wish(_variant_names(options.variants), _row_count(options.rows),
                           Path(options.out) if options.out else None, not options.no_install, _allowed(options.allow))
    steps = _StepLine(options.lang)
    ended = flow_bench.run_bench(files, overrides, wish, say=steps.say, progress=_show_download, build_progress=_show_build,
                                 on_step=steps.show)
    steps.clear()
    if options.json:
        _print_json(bench_to_json(ended.bench, options.lang))
    elif not ended.interrupted or any(one.measured for one in ended.bench.results):
        print(ended.table(options.lang), end="")
    if ended.interrupted:
        _tell(Text(f"interrupted; the same command goes on with what is not measured yet; so far: {ended.folder}",
                   f"已中断；用同一条命令继续测量剩余部分；目前的结果在 {ended.folder}"), options.lang)
    else:
        _tell(Text(f"the results are in {ended.folder}", f"结果在 {ended.folder}"), options.lang)
    return ended.exit_code


class _StepLine:
    """How far a training is: one line that renews itself on a terminal, elsewhere one now and then."""

    def __init__(self, lang: str) -> None:
        self.lang, self.shown, self.at = lang, False, time.monotonic()

    def show(self, place: str, step: int, steps: int) -> None:
        line = Text(f"{place}: step {step}/{steps}", f"{place}：第 {step}/{steps} 步").render(self.lang)
        if sys.stderr.isatty():
            print(f"\r... {line}\x1b[K", end="", file=sys.stderr, flush=True)
            self.shown = True
        elif time.monotonic() - self.at >= _STEP_SECONDS:
            print(f"... {line}", file=sys.stderr, flush=True)
            self.at = time.monotonic()

    def clear(self) -> None:
        if self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        self.shown = False

    def say(self, words: Words) -> None:
        self.clear()
        _say(words)
        self.at = time.monotonic()


def _variant_names(words: str) -> tuple[str, ...]:
    from swift_fa_launcher.bench.bench import VARIANTS

    names = tuple(name.strip() for name in words.split(",") if words)
    wrong = ", ".join(name or "''" for name in names if name not in VARIANTS)
    if wrong:
        raise UsageError(Text(f"there is no variant {wrong}", f"没有变体 {wrong}"), hint=(f"--variants {','.join(VARIANTS)}",))
    return names


def _row_count(word: str) -> int | None:
    if word == "all":
        return None
    if not word.isdecimal() or int(word) < 1:
        raise UsageError(Text(f"--rows takes a number from 1, or all, not {word}", f"--rows 应为正整数或 all，而不是 {word}"),
                         hint=("--rows 500",))
    return int(word)


# --- shared ----------------------------------------------------------------------------------------------------------


def _config_words(parser: argparse.ArgumentParser, *, needed: bool = True) -> None:
    parser.add_argument("words", nargs="*", metavar="CONFIG.yaml | key=value",
                        help="config files, the later over the earlier" + ("" if needed else " (optional)")
                             + "; settings such as swift.learning_rate=1e-4 over all of them")


def _allow_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--allow", action="append", default=[], metavar="CODE",
                        help="let this error pass as a warning (may be repeated)")


def _run_word(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help='a run: its id, a unique beginning of it, its name, or "latest"')


def _root_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", default="runs", metavar="FOLDER", help="folder of the run records (default: runs)")


def _split_words(options: argparse.Namespace, *, needed: bool = True) -> tuple[list[Path], list[str]]:
    words = options.words
    for word in words:
        _refuse_bare_key(word)
    files = [Path(word) for word in words if not _SETTING.match(word)]
    for file in files:
        if re.match(r"\w+=", file.name) and not file.exists():
            from swift_fa_launcher.config.schema import SECTIONS

            key, _, value = str(file).partition("=")
            raise UsageError(Text(f"not a setting and not a file: {file}", f"既不是设置也不是文件：{file}"),
                             hint=(f"{key}.KEY={value}" if key in SECTIONS else f"swift.{file}",))
    if needed and not files:
        raise UsageError(Text("no config named", "没有指定配置文件"),
                         hint=(f"swift-fa {options.command} configs/qwen7b-lora.yaml",))
    return files, [word for word in words if _SETTING.match(word)]


def _refuse_bare_key(word: str) -> None:
    """A key of a config without a value, `swift.seed`, would be taken for the name of a file."""
    from swift_fa_launcher.config.schema import SECTIONS

    if re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+", word) and word.partition(".")[0] in SECTIONS and not Path(word).exists() \
            and not word.endswith((".yaml", ".yml")):
        raise UsageError(Text(f"the setting {word} has no value", f"设置 {word} 没有给出值"),
                         hint=(Text(f"{word}=VALUE", f"{word}=值"),
                               Text(f"{word}=null leaves it out", f"{word}=null 表示不设置")))


def _allowed(codes: Sequence[str]) -> tuple[str, ...]:
    from swift_fa_launcher.findings.table import require_codes

    return require_codes(codes, "--allow")


def _print_table(judgement: Judgement, lang: str, *, to_stderr: bool) -> None:
    from swift_fa_launcher.preflight.screen import render_table
    from swift_fa_launcher.runs.record import secret_values
    from swift_fa_launcher.secrets import redact

    hidden = secret_values(judgement.config, os.environ)
    console = _console(stderr=to_stderr)
    with console.capture() as captured:
        console.print(render_table(judgement.findings, judgement.config, judgement.facts, lang))
    lines = redact(captured.get(), hidden).splitlines()
    print("\n".join(line.rstrip() for line in lines), file=sys.stderr if to_stderr else sys.stdout)


def _print_json(data: Any) -> None:
    print(json.dumps(data, ensure_ascii=False, indent=1, default=str))


def _print_error(error: LauncherError, lang: str) -> None:
    from swift_fa_launcher.config.schema import name_origins

    labels = {"error": Text("error", "错误"), "where": Text("where", "位置"), "why": Text("why", "原因")}
    lines = [f"swift-fa: {labels['error'].render(lang)}: {render_words(error.message, lang)}"]
    if error.where:
        lines.append(f"  {labels['where'].render(lang)}: {name_origins(error.where, lang)}")
    if error.why:
        lines.append(f"  {labels['why'].render(lang)}: {render_words(error.why, lang)}")
    lines += [f"  -> {render_words(line, lang)}" for line in error.hint]
    print("\n".join(lines), file=sys.stderr)


def _print_bug(lang: str) -> None:
    """One line for the user, the traceback in a file for the report."""
    from swift_fa_launcher.cache import cache_dir

    text = traceback.format_exc()
    try:
        file = cache_dir() / "last-bug.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"swift-fa {__version__}\n{text}", encoding="utf-8")
        place = str(file)
    except OSError:
        place = text
    _tell(Text(f"this is a bug in the launcher, please report it with {place}",
               f"这是启动器的错误，请附上 {place} 报告"), lang)


def _say(text: Words) -> None:
    print(f"... {render_words(text, detect_language(sys.argv, os.environ))}", file=sys.stderr, flush=True)


def _tell(words: Words, lang: str) -> None:
    print(f"swift-fa: {render_words(words, lang)}", file=sys.stderr)


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    # into a file or a pipe nothing is cut in two: a fix is to be copied
    wide = None if (sys.stderr if stderr else sys.stdout).isatty() or "COLUMNS" in os.environ else 400
    return Console(stderr=stderr, highlight=False, soft_wrap=False, width=wide)


def _nearest_command(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    return f"swift-fa {near[0]}" if near else "swift-fa --help"


def _overview(lang: str) -> str:
    from swift_fa_launcher.cli_zh import ZH

    width = max(len(name) for name in COMMANDS)
    listed = "\n".join(f"  {name:<{width}}  {ZH[command.story] if lang == 'zh' else command.story}"
                       for name, command in COMMANDS.items())
    say = Text(f"swift-fa {__version__}: `swift sft` with packing, flash attention and SwanLab, checked before it starts\n\n"
               f"usage: swift-fa COMMAND ...\n\n{listed}\n\nexample:\n  ",
               f"swift-fa {__version__}：带 packing、flash attention 和 SwanLab 的 `swift sft`，启动前先检查\n\n"
               f"用法：swift-fa COMMAND ...\n\n{listed}\n\n示例：\n  ").render(lang)
    more = Text("`swift-fa COMMAND --help` says more.", "详见 `swift-fa COMMAND --help`。").render(lang)
    return f"{say}swift-fa train configs/qwen7b-lora.yaml swift.learning_rate=1e-4\n\n{more}"


COMMANDS: Mapping[str, Command] = {
    "train": Command("check everything, install flash-attn if it must, train, record",
                     "swift-fa train configs/qwen7b-lora.yaml launch.gpus=[0,1] --dry-run", _declare_train, _run_train),
    "preflight": Command("the checks alone; installs nothing, starts nothing",
                         "swift-fa preflight configs/qwen7b-lora.yaml --save-facts facts.json", _declare_preflight,
                         _run_preflight),
    "install": Command("choose and install a flash-attn wheel, with the reason for every one passed over",
                       'swift-fa install --version ">=2.7" --dry-run', _declare_install, _run_install),
    "config": Command("the resolved config, and where each value was written",
                      "swift-fa config configs/qwen7b-lora.yaml --explain", _declare_config, _run_config),
    "args": Command("the installed ms-swift's arguments: type, default, choices, help", "swift-fa args learning_rate",
                    _declare_args, _run_args),
    "diagnose": Command("names the cause of a failed training in its log", "swift-fa diagnose latest", _declare_diagnose,
                        _run_diagnose),
    "runs": Command("the recorded runs, newest first", "swift-fa runs --outcome failed --since 7d", _declare_runs, _run_runs),
    "show": Command("one recorded run", "swift-fa show latest", _declare_show, _run_show),
    "diff": Command("what differs between two runs, and in what they came to", "swift-fa diff qwen7b-lora latest", _declare_diff,
                    _run_diff),
    "rerun": Command("a recorded run once more: the recorded config through today's launcher",
                     "swift-fa rerun latest swift.seed=2", _declare_rerun, _run_rerun),
    "resume": Command("go on with a run that was cut off, from its newest whole checkpoint", "swift-fa resume latest",
                      _again_words, _run_resume),
    "bench": Command("the same rows through sdpa, flash attention, padding_free and packing, compared in a table and a plot",
                     "swift-fa bench configs/qwen7b-lora.yaml --rows 500 --out bench/h200", _declare_bench, _run_bench),
}


if __name__ == "__main__":
    sys.exit(main())
