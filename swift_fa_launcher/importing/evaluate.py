"""What a script would run, found without running anything: its commands, their words and variables, as far as they are certain.

A variable that the script does not set is the environment's, and stays open (`Env`). What another program would say stays open,
too. A condition that hangs on either is decided as in a shell where the variable is not set, and told; where that does not help,
both branches are looked at. Pure.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NoReturn

from swift_fa_launcher.errors import Text
from swift_fa_launcher.importing import parse
from swift_fa_launcher.importing.braces import expand_braces
from swift_fa_launcher.importing.parse import Commands, Parameter, ShellError, Word
from swift_fa_launcher.importing.patterns import has_pattern, matcher, remove, shell_pattern
from swift_fa_launcher.importing.tools import OWN_TOOLS, TRANSPARENT, run_tool
from swift_fa_launcher.importing.values import (
    Env,
    Field,
    NoNumber,
    Value,
    assumed,
    compute,
    has_veil,
    make_value,
    read_number,
    text_of,
    unveiled,
    veiled,
)

_ROUNDS = 1000  # of a loop
_DEPTH = 20  # of functions that call each other
_STEPS = 50_000  # commands in all: a script that loops over a loop ends
#: What bash sets by itself and differs from start to start.
_BASHS_OWN = frozenset(("RANDOM", "SECONDS", "LINENO", "BASHPID", "EPOCHSECONDS", "EPOCHREALTIME", "SRANDOM", "FUNCNAME"))
#: What every shell is given by its parent: an assignment reaches the training without `export`.
_GIVEN = ("PATH", "HOME", "USER", "SHELL", "PWD", "LANG", "TERM", "LOGNAME")


@dataclass(frozen=True)
class Setting:
    """A variable of a command's environment."""

    value: Value
    line: int


@dataclass(frozen=True)
class Ran:
    """A command that the script would start, other than the shell's own.

    env: the variables that the script gives it. unset: those that it takes away. when: the lines of the conditions that could
    not be decided. folder: where it would run, None where the script does not change it. before: what prepared its shell
    (`source`, `conda activate`, …), with lines. given: its standard input, where the script has it.
    """

    words: tuple[Field, ...]
    env: Mapping[str, Setting]
    line: int
    unset: tuple[str, ...] = ()
    when: tuple[int, ...] = ()
    folder: Setting | None = None
    before: tuple[tuple[int, str], ...] = ()
    given: Value | None = None


@dataclass(frozen=True)
class Note:
    """Something that the reader of the config must know. line: 0 where it belongs to none."""

    line: int
    text: Text


def run_script(script: parse.Script, path: str | None = None,
               given: Mapping[str, str] | None = None) -> tuple[tuple[Ran, ...], tuple[Note, ...]]:
    """The commands in order, and what was decided. path: the script's own, absolute. given: variables that are known to be set.
    Raises ShellError."""
    shell = _Shell(path)
    shell.state.variables |= {name: make_value([text]) for name, text in (given or {}).items()}
    try:
        with suppress(_Exit):
            shell.run(script.body)
    except RecursionError:
        raise ShellError(0, Text("functions or commands call each other without an end", "函数或命令无休止地互相调用")) from None
    return tuple(shell.ran), tuple(dict.fromkeys(shell.notes))


class _Flow(Exception):
    """How a command list ends before its end."""


class _Exit(_Flow):
    pass


class _Return(_Flow):
    pass


class _Break(_Flow):
    pass


class _Continue(_Flow):
    pass


@dataclass
class _State:
    """A shell's variables. A list is an array; None is a variable that the script has unset."""

    variables: dict[str, Value | list[Field] | None] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    exported: set[str] = field(default_factory=lambda: set(_GIVEN))
    functions: dict[str, parse.Command] = field(default_factory=dict)
    positional: list[Field] | None = None
    folder: Setting | None = None
    before: list[tuple[int, str]] = field(default_factory=list)
    exports_all: bool = False

    def copied(self) -> _State:
        return replace(self, variables={k: [*v] if isinstance(v, list) else v for k, v in self.variables.items()},
                       lines=dict(self.lines), exported=set(self.exported), functions=dict(self.functions), before=[*self.before])


#: A stream of expanded pieces: what, whether it is quoted, whether it came from an expansion. None: a new word begins.
_Piece = tuple["str | Env", bool, bool]


class _Shell:
    def __init__(self, path: str | None) -> None:
        self.path = path
        self.state = _State()
        self.ran: list[Ran] = []
        self.notes: list[Note] = []
        self._when: list[int] = []
        self._wrapped: list[Field] = []  # `srun bash -c`: what stands before
        self._depth = self._steps = 0
        self._unset: set[str] = set()  # variables that the decision at hand took for not set
        self._line = 0
        self._assigned = ""  # the variable that is being set
        self._locals: list[dict[str, Value | list[Field] | None]] = []

    def note(self, line: int, text: Text) -> None:
        self.notes.append(Note(line, text))

    # --- lists and compound commands ---

    def run(self, commands: Commands) -> int | None:
        """The exit status of the last command: 0, 1, or None where it is not certain."""
        status: int | None = 0
        for chain in commands:
            status = self._chain(chain)
        return status

    def _chain(self, chain: parse.Chain) -> int | None:
        status = self._pipeline(chain.links[0][1])
        previous = chain.links[0][1]
        for sign, pipeline in chain.links[1:]:
            if status is None and (sign == "||" or _is_test(previous)):
                self._perhaps([pipeline], pipeline_line(pipeline))
            elif status is None or (status == 0) == (sign == "&&"):
                status = self._pipeline(pipeline)
            previous = pipeline
        return status

    def _perhaps(self, pipelines: Sequence[parse.Pipeline], line: int) -> None:
        self._branches([lambda: [self._pipeline(pipeline) for pipeline in pipelines], lambda: None], line)

    def _pipeline(self, pipeline: parse.Pipeline) -> int | None:
        if len(pipeline.commands) == 1:
            status = self._command(pipeline.commands[0])
        else:
            for command in pipeline.commands:
                status = self._in_subshell(partial(self._command, command))
        return status if status is None or not pipeline.negated else int(not status)

    def _in_subshell(self, act: Callable[[], int | None]) -> int | None:
        state, self.state = self.state, self.state.copied()
        try:
            with suppress(_Exit, _Return, _Break, _Continue):
                return act()
            return None
        finally:
            self.state = state

    def _command(self, command: parse.Command) -> int | None:
        self._steps += 1
        if self._steps > _STEPS:
            raise ShellError(self._line, Text("too many commands: a loop does not end", "命令过多：循环没有终止"))
        if isinstance(command, parse.Simple):
            self._line = command.line
            return self._simple(command)
        if isinstance(command, parse.Group):
            return self._in_subshell(lambda: self.run(command.body)) if command.subshell else self.run(command.body)
        if isinstance(command, parse.Function):
            self.state.functions[command.name] = command.body
            return 0
        if isinstance(command, parse.If):
            return self._if(command.branches, command.line)
        if isinstance(command, parse.For):
            return self._for(command)
        if isinstance(command, parse.Loop):
            return self._loop(command)
        if isinstance(command, parse.Case):
            return self._case(command)
        self._line = command.line
        return self._test(command)

    def _if(self, branches: Sequence[tuple[Commands | None, Commands]], line: int) -> int | None:
        for i, (condition, body) in enumerate(branches):
            unset, self._unset = self._unset, set()
            status = 0 if condition is None else self.run(condition)
            names, self._unset = self._unset, unset
            if status == 0:
                return self._decided(names, partial(self.run, body))
            if status is None:
                rest = branches[i + 1:]
                self._branches([partial(self.run, body), partial(self._if, rest, line)], line)
                return None
        return 0

    def _decided(self, names: set[str], act: Callable[[], int | None]) -> int | None:
        """Where a variable counts as not set, what it is set to then is its default."""
        status = act()
        for name in names:
            value = self.state.variables.get(name)
            if isinstance(value, tuple) and text_of(value) is not None:
                self.state.variables[name] = (Env(name, value),)
        return status

    def _branches(self, acts: Sequence[Callable[[], object]], line: int) -> None:
        """All that may happen, one beside the other; what then differs is open."""
        before, ends = self.state, []
        for act in acts:
            self.state = before.copied()
            self._when.append(line)
            try:
                act()
                ends.append(self.state)
            except _Flow:
                pass  # what follows does not follow this branch
            finally:
                self._when.pop()
        if not ends:
            self.state = before
            raise _Exit
        self.state = self._merged(before, ends, line)

    def _merged(self, before: _State, ends: Sequence[_State], line: int) -> _State:
        merged = ends[0]
        for other in ends[1:]:
            for name in sorted({*merged.variables, *other.variables}):
                a, b = (state.variables.get(name, (Env(name),)) for state in (merged, other))
                if a != b and (isinstance(a, list) or isinstance(b, list)):
                    self.note(line, Text(f"the condition on line {line} cannot be decided: {name} is taken as it was before it",
                                         f"第 {line} 行的条件无法判断：{name} 按条件之前的值处理"))
                    merged.variables[name] = before.variables.get(name)
                elif a != b:
                    was = before.variables.get(name)
                    default = was if isinstance(was, tuple) and text_of(was) is not None else None
                    merged.variables[name] = (Env(name, default, line=line, why=_HANGS_ON),)
            merged.exported |= other.exported & {*merged.variables}
        return merged

    def _for(self, command: parse.For) -> int | None:
        words = self.fields(command.words) if command.words is not None else self.state.positional
        if words is None or any(word.vague for word in words):
            self._keep(command.name, (Env(command.name, line=command.line, why=_HANGS_ON),), command.line)
            self._perhaps_often(command.body, command.line)
            return None
        if len(words) > _ROUNDS:
            raise ShellError(command.line, Text("the loop goes over too many words", "循环的词过多"))
        for word in words:
            self._assign(command.name, word.value, command.line)
            with suppress(_Continue):
                try:
                    self.run(command.body)
                except _Break:
                    break
        return None

    def _loop(self, command: parse.Loop) -> int | None:
        for _ in range(_ROUNDS):
            status = self.run(command.condition)
            if status is None:
                break
            if (status == 0) == command.until:
                return 0
            with suppress(_Continue):
                try:
                    self.run(command.body)
                except _Break:
                    return 0
        self._perhaps_often(command.body, command.line)
        return None

    def _perhaps_often(self, body: Commands, line: int) -> None:
        """A body that may run any number of times: what it sets is open behind it, and no training in it may hang on that."""
        before, ran = self.state.variables, len(self.ran)
        self._branches([lambda: self.run(body), lambda: None], line)
        trains = any("sft" in (word.text or "") for one in self.ran[ran:] for word in one.words)
        if trains and self.state.variables != before:
            raise ShellError(line, Text("a loop that trains, sets variables and runs who knows how often is not followed",
                                        "不支持次数不确定、给变量赋值并启动训练的循环"))

    def _case(self, command: parse.Case) -> int | None:
        value = self.value(command.word)
        said = self._assume(value, command.line)
        if said is None:
            bodies = [body for _, body in command.branches]
            self._branches([*(partial(self.run, body) for body in bodies), lambda: None], command.line)
            return None
        for patterns, body in command.branches:
            if any(matcher(self.pattern(pattern)).fullmatch(said) for pattern in patterns):
                return self.run(body)
        return 0

    # --- simple commands ---

    def _simple(self, command: parse.Simple) -> int | None:
        words = self.fields(command.words)
        name = words[0].text if words else None
        if not words or name in parse.DECLARES:
            for assignment in command.assignments:
                self._assign_one(assignment)
            return self._declare(words, command) if words else 0
        kept = self.state
        self.state = kept.copied()
        try:
            for assignment in command.assignments:
                self._assign_one(assignment)
            local = {a.name: Setting(v, a.line) for a in command.assignments
                     if isinstance(v := self.state.variables.get(a.name), tuple)}
            separator = text_of(local["IFS"].value) if "IFS" in local else None
        finally:
            self.state = kept
        given = self.value(command.given[-1]) if command.given else None
        return self._call(words, local, command.line, given, separator)

    def _call(self, words: list[Field], local: Mapping[str, Setting], line: int, given: Value | None,
              separator: str | None = None) -> int | None:
        name = words[0].text
        if name in ("command", "builtin", "exec") and len(words) > 1 and not (words[1].text or "-").startswith("-"):
            return self._call(words[1:], local, line, given)
        if name in self.state.functions:
            return self._function(self.state.functions[name], words[1:], line)
        if name in _BUILTINS:
            return _BUILTINS[name](self, words, line)
        if name == "read":
            return self._read(words, given, separator, line)
        if name in ("source", ".", "module", "ulimit", "ml") or (name in ("conda", "mamba", "micromamba") and
                                                                 words[1:2] and words[1].text == "activate"):
            self.state.before.append((line, _said(words)))
            return None
        self._start(words, local, line, given)
        return None

    def _function(self, body: parse.Command, words: list[Field], line: int) -> int | None:
        if self._depth >= _DEPTH:
            raise ShellError(line, Text("a function calls itself without an end", "函数无休止地调用自身"))
        positional, self.state.positional = self.state.positional, words
        self._depth += 1
        self._locals.append({})
        try:
            with suppress(_Return):
                return self._command(body)
            return None
        finally:
            self._depth -= 1
            self.state.positional = positional
            for name, value in self._locals.pop().items():
                self._restore(name, value)

    def _restore(self, name: str, value: Value | list[Field] | None) -> None:
        if value is _ABSENT:
            self.state.variables.pop(name, None)
        else:
            self.state.variables[name] = value

    def _start(self, words: Sequence[Field], local: Mapping[str, Setting], line: int, given: Value | None) -> None:
        """A program: its environment is what is exported, and its own assignments."""
        env = {name: Setting(value, self.state.lines.get(name, 0)) for name in self.state.variables
               if name in self.state.exported and isinstance(value := self.state.variables[name], tuple)} | dict(local)
        unset = tuple(name for name, value in self.state.variables.items() if value is None)
        inner = next((i for i, word in enumerate(words) if (word.text or "").rpartition("/")[2] in ("bash", "sh", "zsh")), None)
        if inner is not None and inner + 2 < len(words) and re.fullmatch(r"-\w*c", words[inner + 1].text or ""):
            self._inner(words, inner, env, line)
            return
        self.ran.append(Ran((*self._wrapped, *words), env, line, unset, tuple(self._when), self.state.folder,
                            tuple(self.state.before), given))

    def _inner(self, words: Sequence[Field], at: int, env: Mapping[str, Setting], line: int) -> None:
        """`bash -c TEXT`: a shell that knows only what is exported."""
        script = words[at + 2]
        kept: list[Env] = []
        veil = veiled(script.value, kept)
        if kept:
            raise ShellError(line, Text(f"what `{words[at].text} -c` runs is not certain: it depends on {kept[0].name}",
                                        f"`{words[at].text} -c` 执行的内容不确定：它取决于 {kept[0].name}"))
        state, wrapped = self.state, self._wrapped
        hidden = dict.fromkeys(name for name in state.variables if name not in env)
        self.state = _State({**hidden, **{name: setting.value for name, setting in env.items()}},
                            {name: setting.line for name, setting in env.items()}, {*env, *_GIVEN}, folder=state.folder,
                            positional=list(words[at + 4:]), before=[*state.before])
        self._wrapped = [*wrapped, *words[:at]]
        try:
            with suppress(_Exit, _Return):
                self.run(parse.parse_commands(veil, script.line))
        finally:
            self.state, self._wrapped = state, wrapped

    def _declare(self, words: list[Field], command: parse.Simple) -> int | None:
        name, options = words[0].text or "", "".join(w.text or "" for w in words[1:] if (w.text or "").startswith("-"))
        done = {assignment.name for assignment in command.assignments}
        for word in words[1:]:
            text = word.text if word.text is not None else veiled(word.value, [])
            if text.startswith("-"):
                continue
            target, equals, _ = text.partition("=")
            if not re.fullmatch(r"[A-Za-z_]\w*", target):
                continue
            if name == "local" and self._locals:
                self._locals[-1].setdefault(target, self.state.variables.get(target, _ABSENT))
            if equals:
                kept: list[Env] = []
                self._assign(target, unveiled(veiled(word.value, kept)[len(target) + 1:], kept), word.line)
            elif name == "local" and target not in done:
                self.state.variables[target] = ()
            if (name == "export" and "n" not in options) or "x" in options:
                self.state.exported.add(target)
            elif name == "export":
                self.state.exported.discard(target)
            if ("a" in options or "A" in options) and not isinstance(self.state.variables.get(target), list):
                self.state.variables[target] = []
        return 0

    def _read(self, words: list[Field], given: Value | None, separator: str | None, line: int) -> int | None:
        """`read -ra NAME <<< TEXT`; anything else that is read is open."""
        said = text_of(given) if given is not None else None
        options = "".join(w.text or "" for w in words[1:] if (w.text or "").startswith("-"))
        names = [w.text for w in words[1:] if w.text and not w.text.startswith("-")]
        if "a" in options and names and said is not None:
            first = said.split("\n")[0]
            items = first.split() if separator is None else re.split(f"[{re.escape(separator)}]", first)
            self.state.variables[names[0]] = [Field(make_value([item]), line) for item in items]
            return 0
        for name in names:
            self._keep(name, (Env(name, line=line, why=Text("it is read while the script runs", "脚本运行时才读入")),), line)
        return None

    # --- variables ---

    def _assign_one(self, assignment: parse.Assignment) -> None:
        name, value = assignment.name, assignment.value
        self._assigned = name
        if isinstance(value, tuple):
            fields = self.fields(value)
            was = self.state.variables.get(name) if assignment.adds else None
            self.state.variables[name] = [*(was if isinstance(was, list) else []), *fields]
            self.state.lines[name] = assignment.line
        else:
            self._assign(name, self.value(value), assignment.line, adds=assignment.adds)

    def _assign(self, name: str, value: Value, line: int, *, adds: bool = False) -> None:
        was = self.state.variables.get(name, (Env(name),))
        if adds and isinstance(was, list):
            was[:1] = [Field(make_value([*(was[0].value if was else ()), *value]), line)]
            return
        if adds:
            value = make_value([*(was if isinstance(was, tuple) else ()), *value])
        elif len(value) == 1 and isinstance(value[0], Env) and value[0].why and value[0].name not in self.state.variables:
            # the name that people know it by
            value = (replace(value[0], name=name),)
        self._keep(name, value, line)

    def _keep(self, name: str, value: Value, line: int) -> None:
        self.state.variables[name] = value
        self.state.lines[name] = line
        if self.state.exports_all:
            self.state.exported.add(name)

    def _assume(self, value: Value, line: int) -> str | None:
        """The text that a decision goes by; the defaults that it relies on are told."""
        def relied(env: Env, text: str) -> None:
            self.note(line, _as_unset(env.name) if not text else
                      Text(f"decided or computed with {env.name}={text}, its default",
                           f"按 {env.name} 的默认值 {text} 判断或计算"))

        return assumed(value, relied)

    def _number(self, text: str) -> int:
        return compute(text, self._look, lambda name, value: self._keep(name, (str(value),), self._line))

    def _look(self, name: str) -> int:
        value = self._variable(name)
        said = self._assume(value or (), self._line)
        if said is None:
            raise NoNumber(name)
        if not said.strip():
            return 0
        try:
            return read_number(said)
        except NoNumber:
            return self._number(said) if said != name else 0

    # --- conditions ---

    def _test(self, command: parse.Test) -> int | None:
        if command.arithmetic is not None:
            said = self._assume(self.value(command.arithmetic), command.line)
            try:
                return int(self._number(said) == 0) if said is not None else None
            except NoNumber:
                return None
        return self._status(_Condition(self, command.words, command.line, double=True).holds())

    def single_test(self, words: list[Field], line: int) -> int | None:
        """`[ … ]` and `test …`."""
        inside = words[1:-1] if words[0].text == "[" else words[1:]
        quoted = tuple(Word((parse.Literal("", True),), line) for _ in inside)
        return self._status(_Condition(self, quoted, line, values=[word.value for word in inside]).holds())

    @staticmethod
    def _status(holds: bool | None) -> int | None:
        return None if holds is None else int(not holds)

    def decide(self, value: Value, line: int) -> str | None:
        """The text of an operand. A plain variable of the environment counts as not set, which is told."""
        plain = [piece for piece in value if isinstance(piece, Env) and piece.default is None and piece.why is None]
        for piece in plain:
            self._unset.add(piece.name)
            self.note(line, _as_unset(piece.name))
        return self._assume(tuple(piece for piece in value if piece not in plain), line)

    # --- expansion ---

    def value(self, word: Word) -> Value:
        """A word as one text: no splitting."""
        return make_value(piece[0] if piece is not None else " " for piece in self._pieces(word))

    def pattern(self, word: Word) -> str:
        """A word as a shell pattern; quoted signs stand for themselves."""
        found = []
        for part in word.parts:
            value = self.value(Word((part,), word.line))
            said = self._assume(value, word.line) or ""
            found.append(shell_pattern(said) if part.quoted else said)
        return "".join(found)

    def fields(self, words: Iterable[Word]) -> list[Field]:
        return [field for word in words for single in expand_braces(word) for field in self._split(single)]

    def _split(self, word: Word) -> Iterator[Field]:
        """The words that one becomes: unquoted expansions fall apart at blanks, `"$@"` at its own."""
        if len(word.parts) == 1 and (items := self._array_itself(word.parts[0])) is not None:
            yield from items  # each keeps its line
            return
        pieces: list[_Piece] = []
        begun = False
        for piece in [*self._pieces(word), None]:
            if piece is None:
                if begun:
                    yield _field(pieces, word.line)
                pieces, begun = [], False
                continue
            what, quoted, expanded = piece
            if isinstance(what, Env) or quoted or not expanded:
                begun = begun or quoted or what != ""
                pieces.append(piece)
                continue
            for i, said in enumerate(re.split(r"([ \t\n]+)", what)):
                if i % 2 and begun:
                    yield _field(pieces, word.line)
                    pieces, begun = [], False
                elif not i % 2 and said:
                    pieces.append((said, False, True))
                    begun = True

    def _array_itself(self, part: parse.Part) -> list[Field] | None:
        """The items of `"${name[@]}"`; None for anything else."""
        if not isinstance(part, Parameter) or not part.quoted or part.op or part.length or part.index is None or \
                parse.plain_text(part.index) != "@":
            return None
        items = self._listed(part.name)
        return None if items is None else [replace(item, vague=False, pattern=False) for item in items]

    def _pieces(self, word: Word) -> Iterator[_Piece | None]:
        for i, part in enumerate(word.parts):
            if isinstance(part, parse.Literal):
                yield from self._literal(part, first=i == 0, last=i == len(word.parts) - 1)
            elif isinstance(part, Parameter):
                yield from self._parameter(part, word.line)
            elif isinstance(part, parse.Arithmetic):
                yield self._computed(part, word.line), part.quoted, True
            else:
                for piece in self._substituted(part, word.line):
                    yield piece, part.quoted, True
                if part.quoted:
                    yield "", True, True

    def _literal(self, part: parse.Literal, *, first: bool, last: bool) -> Iterator[_Piece]:
        text = part.text
        if not part.quoted and first and (text.startswith("~/") or (text == "~" and last)):
            yield from ((piece, True, True) for piece in self._variable("HOME") or ())
            text = text[1:]
        yield text, part.quoted, False

    def _variable(self, name: str) -> Value | None:
        """A variable as one text; None where it is unset."""
        if name == "PWD" and self.state.folder:
            return self.state.folder.value
        value = self.state.variables.get(name, (Env(name),))
        if name not in self.state.variables and name == self._assigned and name not in _GIVEN:
            return (Env(name, ()),)  # `LIST="$LIST more"` begins with nothing
        if name not in self.state.variables and name in _BASHS_OWN:
            return (Env(name, line=self._line, why=Text(f"bash makes {name} anew each time", f"{name} 由 bash 每次重新生成")),)
        if isinstance(value, list):
            return value[0].value if value else None
        return value

    def _listed(self, name: str) -> list[Field] | None:
        """The items of `$@` or of an array; None for what is neither."""
        if name in ("@", "*"):
            if self.state.positional is None:
                self.note(self._line, Text("$@, the words given to the script, is taken as empty", "传给脚本的参数 $@ 按空处理"))
            return self.state.positional or []
        value = self.state.variables.get(name)
        return value if isinstance(value, list) else None

    def _single(self, name: str, line: int) -> Value | None:
        """The value of a parameter that is no list; None where it is unset."""
        if name == "0" or name in ("BASH_SOURCE",):
            return (self.path,) if self.path else (Env("SCRIPT", line=line, why=Text("the script's own path", "脚本自身的路径")),)
        if name.isdigit():
            if self.state.positional is None:
                why = Text(f"it is the script's argument ${name}", f"它是脚本的第 {name} 个参数")
                return (Env(f"ARG_{name}", line=line, why=why),)
            at = int(name) - 1
            return self.state.positional[at].value if at < len(self.state.positional) else None
        if name == "#" and self.state.positional is not None:
            return (str(len(self.state.positional)),)
        if name in "#?$!-":
            return (_shells_value(f"${name}", line),)
        return self._variable(name)

    def _parameter(self, part: Parameter, line: int) -> Iterator[_Piece | None]:
        index = self._assume(self.value(part.index), line) if part.index else None
        name = part.name
        if name in ("@", "*") or index in ("@", "*"):
            items = self._listed(name)
            if items is None and name not in ("@", "*"):
                value = self._single(name, line)
                items = [Field(value, line)] if value is not None else []
            yield from self._items(part, items or [], line, joined="*" in (name, index) and part.quoted)
            return
        array = self._listed(name) if index is not None else None
        if index is not None:
            try:
                at = self._number(index)
                value = array[at].value if array is not None and -len(array) <= at < len(array) else \
                    self._single(name, line) if array is None and at == 0 else None
            except NoNumber:
                value = (Env(name, line=line, why=Text(f"{name}[{index}] is not certain", f"{name}[{index}] 不确定")),)
        else:
            value = self._single(name, line)
        yield from ((piece, part.quoted, True) for piece in self._operated(part, name, value, line))
        if part.quoted:
            yield "", True, True

    def _items(self, part: Parameter, items: list[Field], line: int, *, joined: bool) -> Iterator[_Piece | None]:
        if part.length:
            yield str(len(items)), part.quoted, True
            return
        if part.op in (":-", "-", ":+", "+") and part.word is not None:
            if bool(items) == ("+" in part.op):
                yield from self._pieces(part.word)
                return
            items = [] if "+" in part.op else items
        elif part.op and part.word is not None:
            items = self._slice(part, items) if part.op == ":" else \
                [replace(item, value=self._operated(part, part.name, item.value, line)) for item in items]
        for i, item in enumerate(items):
            if i:
                yield (" ", True, True) if joined else None
            for piece in item.value:
                yield piece, part.quoted, True
            if part.quoted:
                yield "", True, True

    def _slice(self, part: Parameter, items: list[Field]) -> list[Field]:
        """`${name[@]:start:count}`."""
        try:
            bounds = [self._number(said) for said in (text_of(self.value(part.word or Word((), 0))) or "").split(":")]
        except NoNumber:
            return []
        start = max(bounds[0] - (1 if part.name in "@*" else 0), 0)
        return items[start:start + bounds[1]] if len(bounds) > 1 else items[start:]

    def _operated(self, part: Parameter, name: str, value: Value | None, line: int) -> Value:
        """`${name op word}`."""
        op, operand = part.op, part.word or Word((), line)
        open_ = value is not None and len(value) == 1 and isinstance(value[0], Env) and not value[0].default
        if part.length:
            said = self._assume(value or (), line)
            return (str(len(said)),) if said is not None else self._unclear(part, line)
        if op in (":-", "-", ":=", "="):
            if value is not None and open_ and isinstance(value[0], Env):
                value = (replace(value[0], default=self.value(operand)),)
            elif value is None or (not value and op.startswith(":")):
                value = self.value(operand)
            if op.endswith("=") and name.isidentifier():
                self._assign(name, value, line)
            return value
        if op in (":+", "+"):
            if open_:
                self.note(line, Text(f"${{{name}{op}…}} is left out, as where {name} is not set in your shell",
                                     f"${{{name}{op}…}} 被略去：按 shell 中没有设置 {name} 处理"))
            unset = value is None or open_ or (not value and op.startswith(":"))
            return () if unset else self.value(operand)
        if not op or op in (":?", "?"):
            return value or ()
        return self._edited(part, value or (), operand, line)

    def _edited(self, part: Parameter, value: Value, operand: Word, line: int) -> Value:
        """`#`, `%`, `/`, `^`, `,` and `:` with numbers."""
        kept: list[Env] = []
        veil = veiled(value, kept)
        if part.op in ("#", "##", "%", "%%"):
            left = remove(part.op, veil, self.pattern(operand))
            cut = veil[len(left):] if part.op.startswith("%") else veil[:len(veil) - len(left)]
            if not kept or (cut and part.op != "%%" and not has_veil(left if part.op == "##" else cut)):
                return unveiled(left, kept)
        said = self._assume(value, line)
        if said is None:
            return self._unclear(part, line)
        if part.op[0] in "#%":
            return make_value([remove(part.op, said, self.pattern(operand))])
        if part.op in ("/", "//"):
            return make_value([self._replaced(part.op, said, operand)])
        if part.op in ("^", "^^", ",", ",,"):
            change = str.upper if "^" in part.op else str.lower
            return make_value([change(said) if len(part.op) == 2 else change(said[:1]) + said[1:]])
        try:
            bounds = [self._number(n) for n in (self._assume(self.value(operand), line) or "").split(":")]
            start = bounds[0] if bounds[0] >= 0 else max(len(said) + bounds[0], 0)
            end = len(said) if len(bounds) < 2 else start + bounds[1] if bounds[1] >= 0 else len(said) + bounds[1]
            return make_value([said[start:end]])
        except NoNumber:
            return self._unclear(part, line)

    def _replaced(self, op: str, said: str, operand: Word) -> str:
        """`${name/pattern/text}`: the first slash outside quotes parts the two."""
        at = next(((i, part.text.index("/")) for i, part in enumerate(operand.parts)
                   if isinstance(part, parse.Literal) and "/" in part.text and not (i == 0 and part.text == "/")), None)
        if at is None:
            pattern, text = self.pattern(operand), ""
        else:
            i, cut = at
            part = operand.parts[i]
            assert isinstance(part, parse.Literal)
            left = Word((*operand.parts[:i], replace(part, text=part.text[:cut])), operand.line)
            right = Word((replace(part, text=part.text[cut + 1:]), *operand.parts[i + 1:]), operand.line)
            pattern, text = self.pattern(left), self._assume(self.value(right), operand.line) or ""
        anchored = pattern[:1] if op == "/" and pattern[:1] in ("#", "%") else ""
        compiled = matcher(pattern[len(anchored):], anchored)
        return compiled.sub(lambda match: text, said, count=1 if op == "/" else 0) if pattern else said

    def _unclear(self, part: Parameter, line: int) -> Value:
        shown = f"${{{part.name}{part.op}…}}"
        return (Env(f"{part.name}_PART", line=line, why=Text(f"{shown} hangs on what the script does not set",
                                                                       f"{shown} 取决于脚本没有设置的变量")),)

    def _computed(self, part: parse.Arithmetic, line: int) -> str | Env:
        self._line = line
        said = self._assume(self.value(part.word), line)
        try:
            if said is not None:
                return str(self._number(said))
        except NoNumber:
            pass
        return Env("NUMBER", line=line, why=Text("the sum hangs on what the script does not set", "算式取决于脚本没有设置的变量"))

    def _substituted(self, part: parse.Substitution, line: int) -> Value:
        said = self._output(part.body)
        if said is not None:
            kept: list[Env] = []
            return unveiled(veiled(said, kept).rstrip("\n"), kept)
        shown = part.text if len(part.text) <= 60 else part.text[:57] + "..."
        program = re.sub(r"\W", "_", (re.findall(r"[\w.-]+", part.text) or ["OUTPUT"])[0].rpartition("/")[2]).upper()
        return (Env(program, line=line, why=Text(f"`{shown}` is not executed", f"`{shown}` 不会被执行")),)

    # --- what text tools would say ---

    def _output(self, commands: Commands) -> Value | None:
        """The output of commands that only work on text; None where that is not certain."""
        said: list[str | Env] = []
        state, self.state = self.state, self.state.copied()
        try:
            for chain in commands:
                for sign, pipeline in chain.links:
                    piece = None if sign == "||" else self._piped(pipeline)
                    if piece is None:
                        return None
                    said += piece
        except _Flow:
            return None
        finally:
            self.state = state
        return make_value(said)

    def _piped(self, pipeline: parse.Pipeline) -> Value | None:
        said: Value | None = None
        for command in pipeline.commands:
            if not isinstance(command, parse.Simple) or (not command.words and not command.assignments):
                return None
            if command.given:
                said = (*self.value(command.given[-1]), "\n")
            said = self._told(command, said)
            if said is None:
                return None
        return said

    def _told(self, command: parse.Simple, given: Value | None) -> Value | None:
        words = self.fields(command.words)
        name = words[0].text if words else None
        if name is None:
            for assignment in command.assignments:
                self._assign_one(assignment)
            return ()
        if name == "cd":
            self.change_folder(words, command.line)
            return ()
        if name == "pwd":
            return (*(self.state.folder.value if self.state.folder else self._variable("PWD") or ()), "\n")
        if name not in OWN_TOOLS or any(word.pattern and name != "expr" for word in words):
            return None
        kept: list[Env] = []
        veils = [veiled(word.value, kept) for word in words[1:]]
        if name in TRANSPARENT and not (kept and name in ("dirname", "basename") and has_veil(_last_name(veils))):
            result = run_tool(name, veils, veiled(given, kept) if given is not None else None)
            return unveiled(result, kept) if result is not None else None
        texts = [self._assume(word.value, command.line) for word in words[1:]]
        read = self._assume(given, command.line) if given is not None else None
        if None in texts or (given is not None and read is None):
            return None
        result = run_tool(name, [text for text in texts if text is not None], read)
        return make_value([result]) if result is not None else None

    def change_folder(self, words: list[Field], line: int) -> int | None:
        """`cd`: the folder that follows from it."""
        targets = [word.value for word in words[1:] if not (word.text or "").startswith("-")]
        target = targets[0] if targets else self._variable("HOME") or ()
        kept: list[Env] = []
        said = veiled(target, kept)
        if not said.startswith("/") and not has_veil(said[:1]):
            base = self.state.folder.value if self.state.folder else (Env("PWD"),)
            kept = []
            said = veiled((*base, "/", *target), kept)
        self.state.folder = Setting(unveiled(_tidy(said), kept), line)
        return 0


_ABSENT: list[Field] = []


def _last_name(words: Sequence[str]) -> str:
    """The last part of the path that dirname and basename are asked for."""
    return next((word for word in reversed(words) if not word.startswith((".", "-"))), "").rstrip("/").rpartition("/")[2]


def _tidy(path: str) -> str:
    """The path without `.` and `..`."""
    found: list[str] = []
    for name in path.split("/"):
        if name == ".." and found and found[-1] not in ("", "..") and found[-1] < "\U000f0000":
            found.pop()
        elif name != "." and not (name == "" and found):
            found.append(name)
    return "/".join(found) or "/"


def _field(pieces: list[_Piece], line: int) -> Field:
    vague = all(isinstance(what, Env) and not quoted for what, quoted, _ in pieces) and bool(pieces)
    pattern = any(isinstance(what, str) and not quoted and has_pattern(what) for what, quoted, _ in pieces)
    return Field(make_value(what for what, _, _ in pieces), line, vague, pattern)


def _shells_value(shown: str, line: int) -> Env:
    return Env("SHELL_VALUE", line=line, why=Text(f"{shown} is known only while the script runs", f"{shown} 只有运行时才知道"))


def _as_unset(name: str) -> Text:
    return Text(f"decided as if {name} were not set in your shell", f"按 shell 中没有设置 {name} 判断")


_HANGS_ON = Text("it hangs on the condition or loop there", "它取决于那里的条件或循环")


def _said(words: Sequence[Field]) -> str:
    """A command as text, for people and for `launch.slurm.setup`."""
    return " ".join("".join(shlex.quote(piece) if isinstance(piece, str) else f"${piece.name}" for piece in word.value) or "''"
                    for word in words)


def pipeline_line(pipeline: parse.Pipeline) -> int:
    """The line that it begins on; 0 where that is not known."""
    return getattr(pipeline.commands[0], "line", 0)


def _is_test(pipeline: parse.Pipeline) -> bool:
    command = pipeline.commands[0]
    return isinstance(command, parse.Test) or (isinstance(command, parse.Simple) and bool(command.words) and
                                              parse.plain_text(command.words[0]) in ("[", "test"))


# --- the shell's own commands ---


def _raise(flow: type[_Flow]) -> Callable[[_Shell, list[Field], int], NoReturn]:
    def ends(shell: _Shell, words: list[Field], line: int) -> NoReturn:
        raise flow

    return ends


def _set(shell: _Shell, words: list[Field], line: int) -> int:
    for i, word in enumerate(words[1:], 1):
        if word.text == "--":
            shell.state.positional = words[i + 1:]
            return 0
        text = word.text or "x"
        if not text.startswith(("-", "+")):
            shell.state.positional = words[i:]
            return 0
        if ("a" in text and re.fullmatch(r"[-+]\w+", text)) or (words[i - 1].text in ("-o", "+o") and text == "allexport"):
            shell.state.exports_all = text.startswith("-")
    return 0


def _unset_names(shell: _Shell, words: list[Field], line: int) -> int:
    for word in words[1:]:
        if word.text and not word.text.startswith("-"):
            shell.state.variables[word.text] = None
            shell.state.functions.pop(word.text, None)
            shell.state.lines[word.text] = line
    return 0


def _shift(shell: _Shell, words: list[Field], line: int) -> int | None:
    if shell.state.positional is None:
        return None
    count = words[1].text if len(words) > 1 else "1"
    shell.state.positional = shell.state.positional[int(count) if count and count.isdigit() else 1:]
    return 0


def _eval(shell: _Shell, words: list[Field], line: int) -> int | None:
    kept: list[Env] = []
    text = " ".join(veiled(word.value, kept) for word in words[1:])
    if kept:
        raise ShellError(line, Text(f"what eval runs is not certain: it depends on {kept[0].name}",
                                    f"eval 执行的内容不确定：它取决于 {kept[0].name}"))
    return shell.run(parse.parse_commands(text, words[1].line if len(words) > 1 else line))


_BUILTINS: Mapping[str | None, Callable[[_Shell, list[Field], int], int | None]] = {
    ":": lambda shell, words, line: 0, "true": lambda shell, words, line: 0, "false": lambda shell, words, line: 1,
    "exit": _raise(_Exit), "return": _raise(_Return), "break": _raise(_Break), "continue": _raise(_Continue),
    "set": _set, "unset": _unset_names, "shift": _shift, "eval": _eval, "cd": _Shell.change_folder,
    "[": _Shell.single_test, "test": _Shell.single_test, "echo": lambda shell, words, line: 0,
    "printf": lambda shell, words, line: 0, "trap": lambda shell, words, line: 0, "wait": lambda shell, words, line: 0,
    "shopt": lambda shell, words, line: 0, "pwd": lambda shell, words, line: 0,
}


class _Condition:
    """`[ … ]` and `[[ … ]]`: True, False, or None where it cannot be decided."""

    def __init__(self, shell: _Shell, words: Sequence[Word], line: int, values: Sequence[Value] | None = None, *,
                 double: bool = False) -> None:
        self._shell, self._words, self._line, self._double = shell, list(words), line, double
        self._values = list(values) if values is not None else [shell.value(word) for word in words]
        self._plain = [*map(text_of, self._values)] if values is not None else [*map(parse.plain_text, words)]

    def holds(self) -> bool | None:
        if not self._plain:
            return False
        result = self._either()
        return result if not self._plain else None

    def _sign(self) -> str | None:
        return self._plain[0] if self._plain else None

    def _pop(self) -> tuple[Value, Word]:
        self._plain.pop(0)
        return self._values.pop(0), self._words.pop(0)

    def _either(self) -> bool | None:
        return self._joined("||" if self._double else "-o", True, self._both)

    def _both(self) -> bool | None:
        return self._joined("&&" if self._double else "-a", False, self._one)

    def _joined(self, sign: str, settles: bool, read: Callable[[], bool | None]) -> bool | None:
        """Operands with a sign between them; settles: what one of them says for all."""
        result = read()
        while self._sign() == sign:
            self._pop()
            both = (result, read())
            result = settles if settles in both else None if None in both else not settles
        return result

    def _one(self) -> bool | None:
        if self._sign() == "!" and len(self._plain) > 1:
            self._pop()
            result = self._one()
            return None if result is None else not result
        if self._sign() == "(" and len(self._plain) > 2:
            self._pop()
            result = self._either()
            if self._sign() == ")":
                self._pop()
            return result
        if not self._plain:
            return None
        if len(self._plain) >= 3 and self._plain[1] in _COMPARES:
            return self._compared()
        sign = self._sign() or ""
        if re.fullmatch(r"-[a-zA-Z]", sign) and len(self._plain) > 1:
            self._pop()
            value, _ = self._pop()
            return self._unary(sign, value)
        value, _ = self._pop()
        said = self._shell.decide(value, self._line)
        return None if said is None else said != ""

    def _unary(self, sign: str, value: Value) -> bool | None:
        if sign == "-v":
            name = text_of(value) or ""
            known = self._shell.state.variables.get(name, ()) if name in self._shell.state.variables else None
            if known is None:
                self._shell.decide((Env(name),), self._line)
            return known is not None
        if sign not in ("-z", "-n"):
            return None  # files, terminals
        said = self._shell.decide(value, self._line)
        if said is None and any(isinstance(piece, str) for piece in value):
            return sign == "-n"
        return None if said is None else (said == "") == (sign == "-z")

    def _compared(self) -> bool | None:
        left, _ = self._pop()
        sign = self._pop()[0][0]
        right, word = self._pop()
        a, b = self._shell.decide(left, self._line), self._shell.decide(right, self._line)
        if a is None or b is None:
            return None
        if sign in ("=", "==", "!=") and self._double:
            return bool(matcher(self._shell.pattern(word)).fullmatch(a)) == (sign != "!=")
        if sign in ("=", "==", "!="):
            return (a == b) == (sign != "!=")
        if sign == "=~":
            try:
                return bool(re.search(b, a))
            except re.error:
                return None
        if sign in ("<", ">"):
            return a < b if sign == "<" else a > b
        try:
            x, y = (self._shell._number(said) if said.strip() or self._double else int("x") for said in (a, b))
        except (NoNumber, ValueError):
            return None
        return {"-eq": x == y, "-ne": x != y, "-lt": x < y, "-le": x <= y, "-gt": x > y, "-ge": x >= y}.get(str(sign))


_COMPARES = ("=", "==", "!=", "=~", "<", ">", "-eq", "-ne", "-lt", "-le", "-gt", "-ge")
