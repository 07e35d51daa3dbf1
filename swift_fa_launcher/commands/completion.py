"""completion: what a shell offers when Tab is pressed.

The script of each shell asks `swift-fa completion --line TEXT`, the line up to the cursor, for what may stand at its end: one a
line, a tab and what it is behind it. That is answered in under 0.2 s, from what is kept: nothing asks ms-swift or the machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from swift_fa_launcher.commands import COMMANDS, DONE
from swift_fa_launcher.commands.options import Parser, make_parser
from swift_fa_launcher.commands.screen import print_json
from swift_fa_launcher.errors import LauncherError, Text, UsageError

EXAMPLE = "swift-fa completion bash"
SHELLS = ("bash", "zsh", "fish")

#: What each shell is given; where it goes stands in its first line.
SCRIPTS = {
    "bash": r"""# for bash: eval "$(swift-fa completion bash)" in ~/.bashrc
_swift_fa() {
    local line="${COMP_LINE:0:COMP_POINT}" reply word IFS=$'\n'
    reply=($(swift-fa completion --line "$line" 2>/dev/null))
    reply=("${reply[@]%%$'\t'*}")
    word="${line##*[[:space:]]}"
    [[ $COMP_WORDBREAKS == *=* && $word == *=* ]] && reply=("${reply[@]#"${word%"${word##*=}"}"}")
    [[ $COMP_WORDBREAKS == *:* && ${word##*=} == *:* ]] && { word="${word##*=}"; reply=("${reply[@]#"${word%"${word##*:}"}"}"); }
    COMPREPLY=("${reply[@]}")
    [[ ${#reply[@]} -gt 0 && ${reply[0]} == *[=./] ]] && compopt -o nospace
    [[ ${#reply[@]} -gt 0 ]] && compopt +o default
}
complete -o default -o nosort -F _swift_fa swift-fa 2>/dev/null || complete -o default -F _swift_fa swift-fa
""",
    "zsh": r"""# for zsh: eval "$(swift-fa completion zsh)" in ~/.zshrc, behind compinit
_swift_fa() {
    local -a open closed open_told closed_told
    local reply word told
    for reply in "${(@f)$(swift-fa completion --line "$LBUFFER" 2>/dev/null)}"; do
        [[ -z $reply ]] && continue
        word="${reply%%$'\t'*}"
        told="${reply/$'\t'/  -- }"
        if [[ $word == *[=./] ]]; then open+=("$word"); open_told+=("$told"); else closed+=("$word"); closed_told+=("$told"); fi
    done
    (( $#open + $#closed )) || { _files; return }
    (( $#open )) && compadd -V swift-fa -l -S '' -d open_told -- "${open[@]}"
    (( $#closed )) && compadd -V swift-fa -l -d closed_told -- "${closed[@]}"
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -u; }
compdef _swift_fa swift-fa
""",
    "fish": r"""# for fish: swift-fa completion fish > ~/.config/fish/completions/swift-fa.fish
complete -c swift-fa -e
complete -c swift-fa -f -k -a '(swift-fa completion --line (commandline -cp | string collect) 2>/dev/null)'
""",
}
_FILES = ("FILE", "FOLDER", "LOG", "PATH")


def declare(parser: Parser) -> None:
    parser.option("shell", nargs="?", choices=SHELLS, metavar="SHELL", help=Text("bash, zsh or fish",
                                                                                           "bash、zsh 或 fish"))
    parser.option("--line", metavar="TEXT", help=Text("print what may stand at the end of this command line",
                                                      "输出这一命令行末尾可以写什么"))


def run(options: argparse.Namespace) -> int:
    if options.line is not None:
        print_offers(options.line, options.lang)
        return DONE
    if options.shell is None:
        raise UsageError("option-invalid", Text("name your shell", "请指定 shell"),
                         hint=tuple(f"swift-fa completion {shell}" for shell in SHELLS))
    _keep_arguments()
    if options.json:
        print_json({"schema": 1, "shell": options.shell, "script": SCRIPTS[options.shell]})
    else:
        print(SCRIPTS[options.shell], end="")
    return DONE


def _keep_arguments() -> None:
    """Reads ms-swift's arguments once, so that the first Tab knows them."""
    from swift_fa_launcher.machine.swift_schema import newest_kept_arguments

    if not newest_kept_arguments():
        from swift_fa_launcher.config.layers import resolve_data
        from swift_fa_launcher.stories.launch import installed_arguments

        with suppress(LauncherError):
            installed_arguments(resolve_data({}), lambda words: None)


def print_offers(line: str, lang: str) -> None:
    """What may stand at the end of the line, with what it is, for a shell."""
    for word, told in offers(line, lang):
        print(f"{word}\t{' '.join(told.split())[:100]}" if told else word)


def offers(line: str, lang: str) -> Iterator[tuple[str, str]]:
    """What may stand at the end of a command line, and what each is."""
    words = _split(line)[1:]
    if len(words) < 2:
        begun = words[0] if words else ""
        yield from _begun(begun, ((name, story.render(lang)) for name, story in COMMANDS.items()))
        yield from _begun(begun, [("--help", ""), ("--version", "")] if begun.startswith("-") else [])
        return
    name, given, begun = words[0], words[1:-1], words[-1]
    if name not in COMMANDS:
        return
    parser = make_parser(name, lang)
    options = {text: action for action in parser._actions for text in action.option_strings}
    waiting = options.get(given[-1]) if given else None
    if waiting is not None and waiting.nargs != 0:
        yield from _values(waiting, begun, given, lang)
    elif begun.startswith("-") and "=" in begun and begun.partition("=")[0] in options:
        option, _, value = begun.partition("=")
        yield from ((f"{option}={word}", told) for word, told in _values(options[option], value, given, lang))
    elif begun.startswith("-"):
        yield from _begun(begun, ((text, action.help or "") for text, action in options.items() if text.startswith("--")))
    else:
        places = [action for action in parser._actions if not action.option_strings]
        at = sum(not word.startswith("-") and not _is_value(given, i, options) for i, word in enumerate(given))
        many = [action for action in places[-1:] if action.nargs not in (None, "?")]
        for action in places[at:at + 1] or many:
            yield from _values(action, begun, given, lang)


def _is_value(given: list[str], at: int, options: dict[str, argparse.Action]) -> bool:
    before = options.get(given[at - 1]) if at else None
    return before is not None and before.nargs != 0


def _split(line: str) -> list[str]:
    """The words of a line as a shell reads them, the last of which may be begun or empty."""
    for close in ("", "'", '"'):
        with suppress(ValueError):
            words = shlex.split(line + close, comments=False)
            return [*words, ""] if not close and line[-1:].isspace() else words
    return line.split()


def _begun(begun: str, words: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return (pair for pair in words if pair[0].startswith(begun))


def _values(action: argparse.Action, begun: str, given: list[str], lang: str) -> Iterator[tuple[str, str]]:
    """What an option or a word of a command may be."""
    metavar = str(action.metavar or "")
    if action.choices:
        yield from _begun(begun, ((str(choice), "") for choice in action.choices if choice is not None))
    elif "key=value" in metavar:
        yield from _settings(begun)
        if "=" not in begun and "CONFIG" in metavar:
            yield from _paths(begun, (".yaml", ".yml", ".json"))
    elif metavar.startswith("CODE"):
        yield from _codes(begun, lang)
    elif "RUN" in metavar:
        yield from _runs(begun, given)
        if "LOG" in metavar:
            yield from _paths(begun)
    elif metavar == "PATTERN":
        yield from _begun(begun, _arguments())
    elif any(word in metavar for word in _FILES):
        yield from _paths(begun, folders=metavar == "FOLDER")


def _codes(begun: str, lang: str) -> Iterator[tuple[str, str]]:
    from swift_fa_launcher.errors import render_words
    from swift_fa_launcher.findings.table import TABLE

    return _begun(begun, ((code, render_words(entry.means, lang)) for code, entry in TABLE.items()))


def _arguments() -> Iterator[tuple[str, str]]:
    from swift_fa_launcher.decode import known
    from swift_fa_launcher.machine.swift_schema import newest_kept_arguments

    return ((name, known(argument.help) or "") for name, argument in newest_kept_arguments().items())


def _settings(begun: str) -> Iterator[tuple[str, str]]:
    """Sections, then keys, then values behind `key=`."""
    from swift_fa_launcher.config.names import closed_keys
    from swift_fa_launcher.config.schema import SECTIONS

    key, equals, value = begun.partition("=")
    section, dot, _ = begun.partition(".")
    if equals:
        yield from ((f"{key}={word}", told) for word, told in _setting_values(key, value))
    elif not dot:
        yield from _begun(begun, ((f"{name}.", "") for name in SECTIONS))
    elif section == "swift":
        yield from _begun(begun, ((f"swift.{name}=", told) for name, told in _arguments()))
    else:
        groups = {one.rpartition(".")[0] for one in closed_keys()}
        yield from _begun(begun, ((f"{one}{'.' if one in groups else '='}", "") for one in closed_keys()))


def _setting_values(key: str, begun: str) -> Iterator[tuple[str, str]]:
    from swift_fa_launcher.config.schema import CHOICES
    from swift_fa_launcher.decode import known

    if key in CHOICES:
        yield from _begun(begun, ((choice, "") for choice in CHOICES[key]))
    elif key == "launch.gpus":
        yield from _begun(begun, (("all", ""), ("auto:1", ""), ("auto:2", ""), ("auto:4", ""), ("auto:8", "")))
    elif key.startswith("swift."):
        from swift_fa_launcher.config.swift_args import shape
        from swift_fa_launcher.machine.swift_schema import newest_kept_arguments

        argument = newest_kept_arguments().get(key.removeprefix("swift.").replace("-", "_"))
        choices = (known(argument.choices) if argument else None) or ()
        if argument and shape(argument)[0] == "bool":
            choices = ("true", "false")
        yield from _begun(begun, ((str(choice), "") for choice in choices if choice is not None))
        if not choices and (argument is None or shape(argument)[0] in ("text", "unknown")):
            yield from _paths(begun)
    elif _is_flag(key):
        yield from _begun(begun, (("true", ""), ("false", "")))
    elif key in ("run.root", "launch.python"):
        yield from _paths(begun)


def _is_flag(key: str) -> bool:
    from swift_fa_launcher.config.schema import ResolvedConfig
    from swift_fa_launcher.decode import field_types

    section, _, name = key.partition(".")
    kind = field_types(ResolvedConfig).get(section)
    return isinstance(kind, type) and dataclasses.is_dataclass(kind) and field_types(kind).get(name) is bool


def _runs(begun: str, given: list[str]) -> Iterator[tuple[str, str]]:
    """`latest`, then the ids of the newest runs with their names; by name too where one begins so."""
    from swift_fa_launcher.files import read_group
    from swift_fa_launcher.runs.store import usual_root

    root = given[given.index("--root") + 1] if "--root" in given[:-1] else usual_root()
    yield from _begun(begun, [("latest", "")])
    ids: list[str] = []
    with suppress(OSError):
        ids = sorted((one.name for one in os.scandir(root) if one.is_dir() and not one.name.startswith(".")), reverse=True)
    for run in ids[:200] if begun else ids[:30]:
        name = str(read_group(Path(root, run, "run.json")).get("name") or "")
        if run.startswith(begun):
            yield run, name
        elif begun and name.startswith(begun):
            yield name, run


def _paths(begun: str, endings: tuple[str, ...] = (), *, folders: bool = False) -> Iterator[tuple[str, str]]:
    """Folders, and files with one of the endings (any, where none is named), as far as they begin so."""
    folder, slash, name = begun.rpartition("/")
    try:
        found = sorted(os.scandir(os.path.expanduser(folder + slash) or "."), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in found:
        if not entry.name.startswith(name) or (entry.name.startswith(".") and not name.startswith(".")):
            continue
        if entry.is_dir():
            yield f"{folder}{slash}{entry.name}/", ""
        elif not folders and (not endings or entry.name.endswith(endings)):
            yield f"{folder}{slash}{entry.name}", ""
