"""Shell text as a tree: what bash's own grammar makes of it, words not yet expanded. Pure; nothing is executed.

Own, since bashlex is under the GPL and knows neither arrays nor `$((…))`, and tree-sitter's grammar leaves quoting, continuation
and here-documents to its user: what matters here. Source of the rules: the bash manual, 3.1 to 3.7.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from swift_fa_launcher.errors import Text


class ShellError(Exception):
    """Text that bash would refuse, or that cannot be followed. line: from 1."""

    def __init__(self, line: int, why: Text) -> None:
        super().__init__(why.en)
        self.line, self.why = line, why


def not_followed(line: int, what: str) -> ShellError:
    """What bash accepts and this does not: the error."""
    return ShellError(line, Text(f"{what} … is not followed: write what it gives in its place",
                                 f"不支持 {what} …：请直接写出它的结果"))


@dataclass(frozen=True)
class Literal:
    text: str
    quoted: bool


@dataclass(frozen=True)
class Parameter:
    """`$name` or `${name…}`. index: what stands in brackets. op and word: `:-`, `#`, `/` and so on, and what follows."""

    name: str
    quoted: bool
    index: Word | None = None
    op: str = ""
    word: Word | None = None
    length: bool = False


@dataclass(frozen=True)
class Substitution:
    """`$(…)` and backquotes. text: what stands inside, for people."""

    body: Commands
    text: str
    quoted: bool


@dataclass(frozen=True)
class Arithmetic:
    word: Word
    quoted: bool


Part: TypeAlias = Literal | Parameter | Substitution | Arithmetic


@dataclass(frozen=True)
class Word:
    parts: tuple[Part, ...]
    line: int


@dataclass(frozen=True)
class Assignment:
    """`name=word`, `name+=word`, or `name=(words)`."""

    name: str
    value: Word | tuple[Word, ...]
    line: int
    adds: bool = False


@dataclass(frozen=True)
class Simple:
    """given: here-documents and here-strings that are its standard input; a document is read after the line that names it."""

    assignments: tuple[Assignment, ...]
    words: tuple[Word, ...]
    given: list[Word]
    line: int


@dataclass(frozen=True)
class Pipeline:
    commands: tuple[Command, ...]
    negated: bool = False


@dataclass(frozen=True)
class Chain:
    """Pipelines with `&&` or `||` before each; the first has ''."""

    links: tuple[tuple[str, Pipeline], ...]


@dataclass(frozen=True)
class If:
    """Condition and body of each branch; the last condition is None for `else`."""

    branches: tuple[tuple[Commands | None, Commands], ...]
    line: int


@dataclass(frozen=True)
class For:
    """words: None for `for name` alone, which goes over the positional parameters."""

    name: str
    words: tuple[Word, ...] | None
    body: Commands
    line: int


@dataclass(frozen=True)
class Loop:
    """while or until."""

    condition: Commands
    body: Commands
    line: int
    until: bool = False


@dataclass(frozen=True)
class Case:
    word: Word
    branches: tuple[tuple[tuple[Word, ...], Commands], ...]
    line: int


@dataclass(frozen=True)
class Group:
    body: Commands
    subshell: bool


@dataclass(frozen=True)
class Function:
    name: str
    body: Command


@dataclass(frozen=True)
class Test:
    """`[[ … ]]`: its words and operators; or `(( … ))`, with the expression in `arithmetic`."""

    words: tuple[Word, ...]
    line: int
    arithmetic: Word | None = None


Command: TypeAlias = Simple | If | For | Loop | Case | Group | Function | Test
Commands: TypeAlias = tuple[Chain, ...]


@dataclass(frozen=True)
class Comment:
    line: int
    text: str  # without its sign


@dataclass(frozen=True)
class Script:
    body: Commands
    comments: tuple[Comment, ...]


def parse_script(text: str) -> Script:
    """The tree of a script. Raises ShellError."""
    reader = _Reader(text)
    try:
        body = reader.commands(())
    except RecursionError:
        raise ShellError(reader.line, Text("nested too deep", "嵌套层数过多")) from None
    return Script(body, tuple(Comment(line, said) for line, said in sorted(reader.comments.items())))


def parse_commands(text: str, line: int) -> Commands:
    """The commands of a text that stands on the given line of a script. Raises ShellError."""
    return _Reader(text, first_line=line).commands(())


_BLANK = " \t"
_ENDS = " \t\n;&|()<>"  # what ends a word
_NAME = re.compile(r"[A-Za-z_]\w*")
_ASSIGNED = re.compile(r"([A-Za-z_]\w*)(\[[^=\n]*\])?(\+?=)")
_REDIRECT = re.compile(r"(?:\d+|\{[A-Za-z_]\w*\})?(<<<|<<-?|<>|<&|>&|>>|>\||<(?!\()|>(?!\()|&>>|&>)")
_PARAMETER = re.compile(r"[A-Za-z_]\w*|\d+|[@*#?$!\-]")
_OPERATION = re.compile(r":[-=+?]|[-=+?]|##?|%%?|//?|\^\^?|,,?|:|@")
#: Builtins whose words are assignments, arrays included.
DECLARES = ("export", "declare", "typeset", "local", "readonly")
_CLOSES = ("then", "elif", "else", "fi", "do", "done", "esac", "}")


@dataclass
class _Reader:
    """A position in the text. Each method reads what it is named after, and leaves the position behind it."""

    text: str
    at: int = 0
    first_line: int = 1
    comments: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._newlines = [match.start() for match in re.finditer("\n", self.text)]
        self._here: list[tuple[str, bool, bool, list[Word]]] = []  # delimiter, strips tabs, expands, where it goes

    @property
    def line(self) -> int:
        return self.first_line + bisect.bisect_left(self._newlines, self.at)

    def _is(self, what: str) -> bool:
        return self.text.startswith(what, self.at)

    def _take(self, what: str) -> bool:
        found = self._is(what)
        self.at += len(what) if found else 0
        return found

    def _wrong(self, line: int | None = None) -> ShellError:
        rest = self.text[self.at:self.at + 20].split("\n")[0]
        why = Text(f"bash does not accept this: {rest}", f"bash 不接受：{rest}") if rest.strip() else \
            Text("the command is not complete", "命令不完整")
        return ShellError(line or self.line, why)

    def _blanks(self) -> None:
        while self.at < len(self.text):
            if self.text[self.at] in _BLANK:
                self.at += 1
            elif self._is("\\\n"):
                self.at += 2
            elif self._is("#"):
                end = self.text.find("\n", self.at)
                end = len(self.text) if end < 0 else end
                self.comments.setdefault(self.line, self.text[self.at + 1:end].strip())
                self.at = end
            else:
                return

    def _newline(self) -> bool:
        """A line's end, with the here-documents that follow it."""
        if not self._take("\n"):
            return False
        for delimiter, strips, expands, body in self._here:
            body.append(self._here_document(delimiter, strips, expands))
        self._here.clear()
        return True

    def _gap(self) -> None:
        """Blanks and line ends."""
        self._blanks()
        while self._newline():
            self._blanks()

    def _here_document(self, delimiter: str, strips: bool, expands: bool) -> Word:
        line, lines = self.line, []
        while self.at < len(self.text):
            end = self.text.find("\n", self.at)
            end = len(self.text) if end < 0 else end
            said = self.text[self.at:end]
            self.at = min(end + 1, len(self.text))
            said = said.lstrip("\t") if strips else said
            if said == delimiter:
                break
            lines.append(said + "\n")
        text = "".join(lines)
        if not expands:
            return Word((Literal(text, True),), line)
        return _Reader(text, first_line=line)._quoted(line, ends="")

    # --- commands ---

    def commands(self, until: tuple[str, ...]) -> Commands:
        """Chains up to one of the closing words, which is left; up to the end of the text for ()."""
        found: list[Chain] = []
        while True:
            self._gap()
            if self.at >= len(self.text):
                if until:
                    raise ShellError(self.line, Text(f"the script ends before {until[0]}", f"脚本在 {until[0]} 之前就结束了"))
                return tuple(found)
            if any(self._is(end) if end in (")", ";;", ";&") else self._peek_word() == end for end in until):
                return tuple(found)
            found.append(self._chain())
            self._blanks()
            if self._take("&"):  # in a shell of its own, beside this one
                found[-1] = Chain((("", Pipeline((Group((found[-1],), subshell=True),))),))
            elif not (self._is(";;") or self._is(";&")) and not self._take(";"):
                if self.at < len(self.text) and self.text[self.at] not in "\n)":
                    raise self._wrong()
                if not until and self.at < len(self.text) and self.text[self.at] == ")":
                    raise self._wrong()

    def _peek_word(self) -> str:
        """The plain word that follows, "" where none does."""
        match = re.compile(r"[^\s;&|()<>\"'$`\\]+").match(self.text, self.at)
        return match[0] if match else ""

    def _chain(self) -> Chain:
        links = [("", self._pipeline())]
        while True:
            self._blanks()
            sign = self.text[self.at:self.at + 2]
            if sign not in ("&&", "||"):
                return Chain(tuple(links))
            self.at += 2
            self._gap()
            links.append((sign, self._pipeline()))

    def _pipeline(self) -> Pipeline:
        negated = False
        while self._peek_word() in ("!", "time"):
            word = self._peek_word()
            negated ^= word == "!"
            self.at += len(word)
            self._blanks()
            if word == "time" and self._peek_word() == "-p":
                self.at += 2
                self._blanks()
        found = [self._command()]
        while True:
            self._blanks()
            if self._is("||") or not self._take("|"):
                return Pipeline(tuple(found), negated)
            self._take("&")
            self._gap()
            found.append(self._command())

    def _command(self) -> Command:
        line, word = self.line, self._peek_word()
        compound = self._compound(line, word)
        if compound is None:
            return self._simple()
        self._redirects([])
        return compound

    def _compound(self, line: int, word: str) -> Command | None:
        if word in _CLOSES:
            raise self._wrong()
        if self._take("(("):
            return Test((), line, self._arithmetic(line))
        if self._take("("):
            return Group(self._body_until(")"), subshell=True)
        readers: dict[str, Callable[[int], Command]] = {
            "if": self._if, "while": self._loop, "until": lambda line: self._loop(line, until=True), "for": self._for,
            "case": self._case, "function": self._named_function, "[[": self._test,
            "{": lambda line: Group(self._body_until("}"), subshell=False)}
        if word in ("select", "coproc", "let"):
            raise not_followed(line, word)
        if word in readers:
            self.at += len(word)
            return readers[word](line)
        match = re.compile(r"([^\s;&|()<>\"'$`\\=]+)[ \t]*\([ \t]*\)").match(self.text, self.at)
        if match:
            self.at = match.end()
            self._gap()
            return Function(match[1], self._command())
        return None

    def _named_function(self, line: int) -> Command:
        self._blanks()
        name = self._peek_word()
        self.at += len(name)
        self._blanks()
        if self._take("("):
            self._blanks()
            self._take(")")
        self._gap()
        return Function(name, self._command())

    def _body_until(self, *ends: str) -> Commands:
        body = self.commands(ends)
        if len(ends) == 1:
            self.at += len(ends[0])
        return body

    def _if(self, line: int) -> Command:
        branches: list[tuple[Commands | None, Commands]] = []
        condition: Commands | None = self._body_until("then")
        while True:
            body = self._body_until("fi", "elif", "else")
            branches.append((condition, body))
            word = self._peek_word()
            self.at += len(word)
            if word == "fi":
                return If(tuple(branches), line)
            condition = self._body_until("then") if word == "elif" else None

    def _loop(self, line: int, until: bool = False) -> Command:
        condition = self._body_until("do")
        return Loop(condition, self._body_until("done"), line, until)

    def _for(self, line: int) -> Command:
        self._blanks()
        if self._is("(("):
            raise not_followed(line, "for ((")
        name = self._peek_word()
        if not _NAME.fullmatch(name):
            raise self._wrong()
        self.at += len(name)
        self._gap()
        words: tuple[Word, ...] | None = None
        if self._peek_word() == "in":
            self.at += 2
            words = self._words()
        self._blanks()
        self._take(";")
        self._gap()
        return For(name, words, self._do_body(), line)

    def _do_body(self) -> Commands:
        opening = self._peek_word()
        if opening not in ("do", "{"):
            raise self._wrong()
        self.at += len(opening)
        return self._body_until("done" if opening == "do" else "}")

    def _words(self) -> tuple[Word, ...]:
        found: list[Word] = []
        while True:
            self._blanks()
            if self.at >= len(self.text) or self.text[self.at] in "\n;&|()<>":
                return tuple(found)
            found.append(self._word())

    def _case(self, line: int) -> Command:
        self._blanks()
        word = self._word()
        branches: list[tuple[tuple[Word, ...], Commands]] = []
        self._gap()
        if self._peek_word() != "in":
            raise self._wrong()
        self.at += 2
        while True:
            self._gap()
            if self._peek_word() == "esac":
                self.at += 4
                return Case(word, tuple(branches), line)
            self._take("(")
            patterns = []
            while True:
                self._blanks()
                patterns.append(self._word())
                self._blanks()
                if not self._take("|"):
                    break
            if not self._take(")"):
                raise self._wrong(line)
            branches.append((tuple(patterns), self.commands((";;", ";&", "esac"))))
            self._take(";;&") or self._take(";;") or self._take(";&")

    def _test(self, line: int) -> Command:
        """`[[ … ]]`: a word may hold what would end it elsewhere."""
        found: list[Word] = []
        while True:
            self._gap()
            if self.at >= len(self.text):
                raise ShellError(line, Text("[[ is not closed", "[[ 没有闭合"))
            if re.compile(r"\]\](?=[\s;&|)]|$)").match(self.text, self.at):
                self.at += 2
                return Test(tuple(found), line)
            sign = re.compile(r"&&|\|\||[()<>]").match(self.text, self.at)
            if sign and not (found and plain_text(found[-1]) == "=~"):
                self.at = sign.end()
                found.append(Word((Literal(sign[0], False),), line))
            else:
                start = self.at
                found.append(self._word(_BLANK + "\n" if found and plain_text(found[-1]) == "=~" else _ENDS))
                if self.at == start:
                    raise self._wrong()

    def _simple(self) -> Command:
        line = self.line
        assignments: list[Assignment] = []
        words: list[Word] = []
        given: list[Word] = []
        redirected = False
        while True:
            redirected |= self._redirects(given)
            if self.at >= len(self.text) or self.text[self.at] in "\n;&|)":
                if not assignments and not words and not redirected:
                    raise self._wrong()
                return Simple(tuple(assignments), tuple(words), given, line)
            if self.text[self.at] == "(" or (self.text[self.at] in "<>" and not self._is("<(") and not self._is(">(")):
                raise self._wrong()
            declares = bool(words) and (plain_text(words[0]) or "") in DECLARES
            assignment = self._assignment() if not words or declares else None
            if assignment and not words:
                assignments.append(assignment)
            elif assignment:  # `declare -a X=(…)`: the array goes first, the name remains
                assignments += [assignment]
                words.append(Word((Literal(assignment.name, False),), assignment.line))
            else:
                words.append(self._word())

    def _assignment(self) -> Assignment | None:
        """An assignment that stands here; None where none does."""
        match, line = _ASSIGNED.match(self.text, self.at), self.line
        if not match:
            return None
        if match[2]:
            raise not_followed(line, match[0])
        adds, self.at = match[3] == "+=", match.end()
        if self._take("("):
            return Assignment(match[1], self._array(line), line, adds)
        return Assignment(match[1], self._word(), line, adds)

    def _array(self, line: int) -> tuple[Word, ...]:
        found: list[Word] = []
        while True:
            self._gap()
            if self._take(")"):
                return tuple(found)
            if self.at >= len(self.text):
                raise ShellError(line, Text("the bracket ( is not closed", "括号 ( 没有闭合"))
            if self.text[self.at] in ";&|<>(":
                raise self._wrong()
            found.append(self._word())

    def _redirects(self, given: list[Word]) -> bool:
        """Redirections, and whether there are any; only what becomes standard input here is kept."""
        found = False
        while True:
            self._blanks()
            match = _REDIRECT.match(self.text, self.at)
            if not match:
                return found
            found, self.at = True, match.end()
            self._blanks()
            if self.at >= len(self.text) or (self.text[self.at] in "\n;&|)<>" and not self._is("<(") and not self._is(">(")):
                raise self._wrong()
            if match[1].startswith("<<") and match[1] != "<<<":
                word = self._word()
                quoted = any(part.quoted for part in word.parts)
                self._here.append((plain_text(word) or "", match[1] == "<<-", not quoted, given))
            else:
                target = self._word()
                if match[1] == "<<<":
                    given.append(target)

    # --- words ---

    def _word(self, ends: str = _ENDS) -> Word:
        """One word, quotes and expansions included; it may be empty (`A=`)."""
        line, plain = self.line, ""
        parts: list[Part] = []

        def keep() -> None:
            nonlocal plain
            if plain:
                parts.append(Literal(plain, False))
            plain = ""

        while self.at < len(self.text):
            sign = self.text[self.at]
            if self._take("\\\n"):
                continue
            if sign in "<>" and self.text[self.at + 1:self.at + 2] == "(" and ends == _ENDS and not plain and not parts:
                self.at += 2
                start = self.at
                body = self.commands((")",))
                parts.append(Substitution(body, sign + f"({self.text[start:self.at]})", True))
                self._take(")")
                continue
            if sign in ends:
                break
            if sign == "\\":
                keep()
                parts.append(Literal(self.text[self.at + 1:self.at + 2], True))
                self.at += 2
            elif sign in "'\"`$":
                keep()
                parts += self._expansion(quoted=False) if sign in "$`" else \
                    [self._single()] if sign == "'" else self._double()
            else:
                plain += sign
                self.at += 1
        keep()
        return Word(tuple(parts), line)

    def _single(self) -> Part:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise ShellError(self.line, Text("the quote ' is not closed", "引号 ' 没有闭合"))
        said, self.at = self.text[self.at + 1:end], end + 1
        return Literal(said, True)

    def _double(self) -> list[Part]:
        self.at += 1
        return list(self._quoted(self.line).parts) or [Literal("", True)]

    def _quoted(self, line: int, ends: str = '"') -> Word:
        """What stands between double quotes, or in a here-document (ends "")."""
        parts: list[Part] = []
        plain: list[str] = []
        while self.at < len(self.text):
            sign = self.text[self.at]
            if sign == ends:
                break
            if sign == "\\" and self.at + 1 < len(self.text) and self.text[self.at + 1] in '$`"\\\n':
                following = self.text[self.at + 1]
                plain.append("" if following == "\n" else following if following != '"' or ends else '\\"')
                self.at += 2
            elif sign in "$`":
                if plain:
                    parts.append(Literal("".join(plain), True))
                    plain = []
                parts += self._expansion(quoted=True)
            else:
                plain.append(sign)
                self.at += 1
        else:
            if ends:
                raise ShellError(line, Text(f"the quote {ends} is not closed", f"引号 {ends} 没有闭合"))
        self.at += len(ends)
        if plain or (not parts and ends):
            parts.append(Literal("".join(plain), True))
        return Word(tuple(parts), line)

    def _expansion(self, *, quoted: bool) -> list[Part]:
        """What a `$` or a backquote begins."""
        line = self.line
        if self._take("`"):
            return [self._backquoted(line, quoted)]
        if self._take("$(("):
            return [Arithmetic(self._arithmetic(line), quoted)]
        if self._take("$("):
            start = self.at
            body = self.commands((")",))
            text = self.text[start:self.at]
            self._take(")")
            return [Substitution(body, text.strip(), quoted)]
        if self._take("${"):
            return [self._braced(line, quoted)]
        if self._is("$[") and (end := self.text.find("]", self.at)) > 0:  # the old way to write a sum
            inside, self.at = self.text[self.at + 2:end], end + 1
            return [Arithmetic(_Reader(inside, first_line=line)._quoted(line, ends=""), quoted)]
        if not quoted and self._is("$'"):
            return [self._escaped(line)]
        if not quoted and self._is('$"'):
            self.at += 1
            return self._double()
        self.at += 1
        match = _PARAMETER.match(self.text, self.at)
        if not match:
            return [Literal("$", True)]
        name = match[0][:1] if match[0].isdigit() else match[0]
        self.at += len(name)
        return [Parameter(name, quoted)]

    def _escaped(self, line: int) -> Part:
        """`$'…'`: C's escapes."""
        match = re.compile(r"\$'((?:[^'\\]|\\.)*)'", re.S).match(self.text, self.at)
        if not match:
            raise ShellError(line, Text("the quote ' is not closed", "引号 ' 没有闭合"))
        self.at = match.end()
        known = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "a": "\a", "b": "\b", "e": "\x1b", "?": "?"}

        def read(escape: re.Match[str]) -> str:
            said = escape[1]
            if said[0] in "xuU" and len(said) > 1:
                return chr(min(int(said[1:], 16), 0x10FFFF))
            return chr(int(said, 8)) if said[0] in "01234567" else known.get(said, "\\" + said)

        said = re.sub(r"\\(x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{1,4}|U[0-9a-fA-F]{1,8}|[0-7]{1,3}|.)", read, match[1], flags=re.S)
        return Literal(said, True)

    def _backquoted(self, line: int, quoted: bool) -> Part:
        match = re.compile(r"((?:[^`\\]|\\.)*)`", re.S).match(self.text, self.at)
        if not match:
            raise ShellError(line, Text("the quote ` is not closed", "反引号 ` 没有闭合"))
        self.at = match.end()
        text = re.sub(r"\\([`$\\])", r"\1", match[1])
        return Substitution(_Reader(text, first_line=line).commands(()), text.strip(), quoted)

    def _arithmetic(self, line: int) -> Word:
        """What stands up to `))`, as a word whose expansions are read."""
        depth, start = 0, self.at
        while self.at < len(self.text):
            if depth == 0 and self._is("))"):
                inside = _Reader(self.text[start:self.at], first_line=line)._quoted(line, ends="")
                self.at += 2
                return inside
            depth += {"(": 1, ")": -1}.get(self.text[self.at], 0)
            self.at += 1
        raise ShellError(line, Text("(( is not closed", "(( 没有闭合"))

    def _braced(self, line: int, quoted: bool) -> Part:
        length = self._is("#") and not self._is("#}") and not self._is("#-") and not self._is("#:")
        self.at += length
        if self._is("!"):
            raise not_followed(line, "${!")
        match = _PARAMETER.match(self.text, self.at)
        if not match:
            raise self._wrong(line)
        self.at = match.end()
        name, index, op, word = match[0], None, "", None
        if self._take("["):
            index = self._word("]")
            if not self._take("]") or not index.parts:
                raise self._wrong(line)
        operation = _OPERATION.match(self.text, self.at)
        if operation:
            op, self.at = operation[0], operation.end()
            word = self._operand(line, quoted)
        if not self._take("}"):
            raise ShellError(line, Text("${ is not closed", "${ 没有闭合"))
        return Parameter(name, quoted, index, op, word, length)

    def _operand(self, line: int, quoted: bool) -> Word:
        """What follows an operator, up to the brace that closes; inside double quotes a single quote is itself."""
        if not quoted:
            return self._word("}")
        parts: list[Part] = []
        while self.at < len(self.text) and self.text[self.at] != "}":
            if self.text[self.at] == '"':
                parts += self._double()
            elif self.text[self.at] in "$`":
                parts += self._expansion(quoted=True)
            else:
                step = 2 if self.text[self.at] == "\\" and self.text[self.at + 1:self.at + 2] in tuple('$`"\\}') else 1
                parts.append(Literal(self.text[self.at + step - 1:self.at + step], True))
                self.at += step
        return Word(tuple(parts), line)


def plain_text(word: Word) -> str | None:
    """The text of a word without expansions; None for one that has some."""
    if not all(isinstance(part, Literal) for part in word.parts):
        return None
    return "".join(part.text for part in word.parts if isinstance(part, Literal))
