"""The story of `import`: read what is named, find the training in it, draft a config, judge it as `preflight` would, compare."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from swift_fa_launcher.config.layers import expand_user, resolve_data, resolve_text
from swift_fa_launcher.config.schema_file import schema_line
from swift_fa_launcher.config.swift_args import Arguments
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import ConfigError, LauncherError, Say, Text, UsageError, Words, refused_as
from swift_fa_launcher.files import kind_of as kind_of_file
from swift_fa_launcher.files import read_bounded, write_whole
from swift_fa_launcher.importing.compare import Difference, differences
from swift_fa_launcher.importing.draft import Draft, make_draft
from swift_fa_launcher.importing.evaluate import Note
from swift_fa_launcher.importing.parse import Comment, ShellError, parse_script
from swift_fa_launcher.importing.records import kind_of, read_args, read_log, read_yaml
from swift_fa_launcher.importing.starts import Training, find_trainings
from swift_fa_launcher.importing.values import text_of
from swift_fa_launcher.launch.plan import PLUGIN
from swift_fa_launcher.secrets import strike_assigned
from swift_fa_launcher.stories import launch as story
from swift_fa_launcher.stories.schema import collect_schema

_LARGEST = 64 * 2**20  # bytes; a script is a thousandth of it, a log may be long
_OTHER_FILE = 1_000_000  # added to the lines of a YAML that a script names, so that its comments stay with their keys


@dataclass(frozen=True)
class Source:
    """What is imported. name: for people. path: None for standard input."""

    name: str
    text: str
    path: Path | None


@dataclass(frozen=True)
class Checked:
    """The verdict on a draft. judgement: None where it cannot be judged, and `why`. differences: of the plan from the script."""

    judgement: story.Judgement | None
    differences: tuple[Difference, ...] = ()
    why: Words = ""


def read_source(word: str) -> Source:
    """The text of a file, or of standard input for "-"; a run's folder stands for its args.json. Raises LauncherError."""
    if word == "-":
        return Source("standard input", _decoded(sys.stdin.buffer.read(_LARGEST + 1), "standard input"), None)
    path = expand_user(word)
    if not path.exists():
        shown = strike_assigned(word)
        raise LauncherError("import-unreadable", Text(f"there is no file {shown}", f"没有文件 {shown}"), hint=_meant(shown, path))
    with refused_as(LauncherError("import-unreadable", where=word)):
        if path.is_dir() and (path / "args.json").is_file():
            path = path / "args.json"
        if kind_of_file(path) in ("dir", "special"):
            raise LauncherError("import-unreadable", where=word, why=Text("it is not a file", "它不是文件"))
        data = read_bounded(path, _LARGEST)
    return Source(word, _decoded(data, word), path.absolute())


def _meant(word: str, path: Path) -> tuple[Words, ...]:
    """What a name that is none of a file may be: the command itself, or a file beside it."""
    if re.search(r"\bsft\b", word):
        return (f"echo {shlex.quote(word)} | swift-fa import -",)
    with suppress(OSError):
        near = difflib.get_close_matches(path.name, [each.name for each in path.parent.iterdir() if each.is_file()], n=1)
        return tuple(f"swift-fa import {shlex.quote(str(path.with_name(name)))}" for name in near)
    return ()


def _decoded(data: bytes, name: str) -> str:
    if len(data) > _LARGEST:
        raise LauncherError("import-unreadable", where=name, why=Text("it is over 64 MiB", "它超过 64 MiB"))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LauncherError("import-unreadable", where=f"{name}:{line}",
                            why=Text("it is not UTF-8 text", "它不是 UTF-8 文本")) from None
    if "\0" in text:
        raise LauncherError("import-unreadable", where=f"{name}:{text.count(chr(10), 0, text.index(chr(0))) + 1}",
                            why=Text("it is not text: it holds a zero byte", "它不是文本：含有零字节"))
    return text


def find(source: Source, known_args: Arguments | None = None) -> tuple[Training, ...]:
    """The trainings in a source, in order. Raises ConfigError, which names the line."""
    try:
        return _found(source, known_args)
    except ShellError as error:
        where = f"{source.name}:{error.line}" if 0 < error.line < _OTHER_FILE else source.name
        raise ConfigError("import-refused", where=where, why=error.why) from None


def _found(source: Source, known_args: Arguments | None) -> tuple[Training, ...]:
    kind = kind_of(source.text, source.name)
    if kind == "config":
        raise ShellError(1, Text(f"it is a config already: swift-fa train {source.name}",
                                 f"它已经是配置：swift-fa train {source.name}"))
    if kind == "yaml":
        return (read_yaml(source.text),)
    if kind != "script":
        return ((read_args if kind == "args" else read_log)(source.text, known_args),)
    text = source.text.replace("\r\n", "\n")
    notes = (Note(0, Text("the lines end as Windows writes them, which bash does not take; read as if they did not",
                          "行尾是 Windows 格式，bash 不接受；这里按普通行尾读取")),) if text != source.text else ()
    found = find_trainings(parse_script(text), str(source.path) if source.path else None)
    return tuple(replace(_with_file(one, source), notes=(*notes, *one.notes)) for one in found)


def _with_file(training: Training, source: Source) -> Training:
    """The training with the arguments of the YAML that it names; its own words win, as they stand behind."""
    if training.file is None:
        return training
    name = text_of(training.file)
    if name is None:
        raise ShellError(training.line, Text("which YAML it reads is not certain", "无法确定它读取哪个 YAML"))
    above = [Path.cwd(), *(source.path.parents if source.path else ())]
    file = next((folder / expand_user(name) for folder in above if (folder / expand_user(name)).is_file()), None)
    if file is None:
        raise ShellError(training.line, Text(f"the file {name} that it names is not there", f"它指定的文件 {name} 不存在"))
    inner = read_yaml(read_source(str(file)).text)
    ours = {given.name for given in training.arguments}
    arguments = (*(replace(given, line=given.line + _OTHER_FILE) for given in inner.arguments if given.name not in ours),
                 *training.arguments)
    comments = (*training.comments, *(Comment(one.line + _OTHER_FILE, one.text) for one in inner.comments))
    told = Note(training.line, Text(f"read from {file}", f"读取自 {file}"))
    return replace(training, arguments=arguments, comments=comments, env={**inner.env, **training.env},
                   launch={**inner.launch, **training.launch}, notes=(*training.notes, told))


def choose(found: tuple[Training, ...], number: int | None, source: Source) -> Training:
    """The command of that number, from 1; the only one where no number is given. Raises UsageError."""
    if number is not None and 1 <= number <= len(found):
        return found[number - 1]
    if number is None and len(found) == 1:
        return found[0]
    listed = tuple(Text(f"--command {i}: line {one.line}: {said}", f"--command {i}：第 {one.line} 行：{said}")
                   for i, one in enumerate(found[:20], 1) for said in [_short(one.said)])
    message = Text(f"there are {len(found)} swift sft commands: say which", f"其中有 {len(found)} 个 swift sft 命令：请指定")
    if number is not None:
        message = Text(f"there is no command {number}: there are {len(found)}", f"没有第 {number} 个命令：共有 {len(found)} 个")
    raise UsageError("import-several", message, where=source.name, hint=listed)


def _short(text: str) -> str:
    plain = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return plain if len(plain) <= 90 else f"{plain[:87]}..."


def draft_config(source: Source, number: int | None, lang: str, say: Say) -> tuple[Draft, Checked]:
    """The config of the chosen command, and the verdict on it. Starts and writes nothing. Raises LauncherError."""
    arguments: Arguments | None = None
    draft = make_one(source, number, lang, None)
    try:
        config = resolve_text(draft.text, Path(source.name))
    except ConfigError as error:
        with suppress(LauncherError):
            arguments = story.installed_arguments(resolve_data({}), say)
        return make_one(source, number, lang, arguments), Checked(None, why=error.message)
    facts = story.look(config, say=say)
    draft = make_one(source, number, lang, known(facts.ms_swift_args))
    config = resolve_text(draft.text, Path(source.name))
    judgement = story.judge(config, facts)
    plan = story.plan_launch(judgement).plan
    outside: Mapping[str, str] = os.environ
    return draft, Checked(judgement, differences(draft.training, plan.argv, {**plan.env, **config.env}, outside, (PLUGIN,)))


def make_one(source: Source, number: int | None, lang: str, known_args: Arguments | None) -> Draft:
    """The config of one command, not judged. Raises LauncherError."""
    training = choose(find(source, known_args), number, source)
    try:
        return make_draft(training, PurePath(source.name).name, lang, known_args)
    except ShellError as error:
        raise ConfigError("import-refused", where=f"{source.name}:{error.line}", why=error.why) from None


def write_config(text: str, out: str, say: Say) -> None:
    """Writes a config below the line that tells editors of its schema; a file that is there stays. Raises LauncherError."""
    target = expand_user(out)
    if target.exists():
        raise LauncherError("import-exists", where=out)
    collect_schema(resolve_data({}), say)  # for the editor
    with refused_as(LauncherError("import-not-written", where=out)):
        write_whole(target, f"{schema_line()}\n{text}")
