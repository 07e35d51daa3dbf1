"""Why a text is no YAML, in plain words: the line at fault, which is often not the one where PyYAML stops. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import yaml

from swift_fa_launcher.config.schema import SECTIONS
from swift_fa_launcher.errors import Text, Words
from swift_fa_launcher.layout import cells

_SHOWN = 72  # columns of a line that are shown
_KEY = r"(?:- +)*[\"']?[\w.-]+[\"']?"


@dataclass(frozen=True)
class Fault:
    """line, column: from 0. message: what is wrong there; hint: what mends it."""

    line: int
    column: int
    message: Text
    hint: tuple[Words, ...] = ()


def find_fault(text: str, error: yaml.YAMLError) -> Fault:
    """What is wrong with a text that PyYAML refuses with `error`."""
    lines = text.splitlines() or [""]
    if isinstance(error, yaml.reader.ReaderError):
        before, code = text[:error.position], f"U+{int(error.character):04X}"
        return Fault(before.count("\n"), len(before.rpartition("\n")[2]),
                     Text(f"the character {code} is not allowed in YAML", f"YAML 中不允许出现字符 {code}"),
                     (Text("delete it; an editor may not show it", "删掉它；编辑器可能不显示这个字符"),))
    problem, mark = str(getattr(error, "problem", "") or ""), getattr(error, "problem_mark", None)
    begun = getattr(error, "context_mark", None) or mark
    at = min(mark.line, len(lines) - 1) if mark else 0
    column = min(mark.column, len(lines[at])) if mark else 0
    found = chain(_anywhere(lines, at), _by_problem(problem, lines, at, column, begun, str(getattr(error, "context", "") or "")))
    return next(found, Fault(at, column, Text(f"this is not valid YAML ({problem})", f"这里不符合 YAML 的写法（{problem}）"),
                             (_QUOTE,)))


def render_excerpt(text: str, line: int, column: int) -> str:
    """The line with its number, the one before it, and a caret below the column; without a line break at the end."""
    lines = text.expandtabs(1).splitlines() or [""]
    line = min(line, len(lines) - 1)
    start = max(0, column - _SHOWN + 12) if len(lines[line]) > _SHOWN else 0
    left = len(str(line + 1)) + 2
    above = [f"{line:>{left}} | {lines[line - 1][:_SHOWN]}"] if line and lines[line - 1].strip() and not start else []
    shown = lines[line][start:start + _SHOWN]
    return "\n".join([*above, f"{line + 1:>{left}} | {shown}", f"{'':>{left}} | {' ' * cells(lines[line][start:column])}^"])


_QUOTE = Text("quote the value if it holds a colon, a bracket or another sign", "值中有冒号、括号或其他符号时，请加引号")
_SPACES = Text("indent with spaces, the same number for keys of one group", "用空格缩进，同一组的键缩进相同")


def _anywhere(lines: Sequence[str], at: int) -> Iterator[Fault]:
    """What is wrong wherever it stands, up to the line where PyYAML stops."""
    for number, line in enumerate(lines[:at + 1]):
        if re.match(r"<<<<<<< |=======$|>>>>>>> ", line):
            yield Fault(number, 0, Text("a conflict of a git merge is left here", "这里留有 git 合并冲突的标记"),
                        (Text("keep one of the two versions and delete the markers", "保留其中一个版本，并删掉冲突标记"),))
        if re.match(r"\s*(```|~~~)", line):
            yield Fault(number, 0, Text("a code fence of Markdown was copied along", "Markdown 的代码围栏也被复制进来了"),
                        (Text("delete the lines that begin with ```", "删掉以 ``` 开头的行"),))
        if indent := re.match(r" *(\t|[\u3000\u00a0])\s*\S", line):
            tab = indent[1] == "\t"
            yield Fault(number, indent.start(1), Text(
                "a tab stands in the indentation" if tab else "a wide or no-break space stands in the indentation",
                "缩进中有制表符（tab）" if tab else "缩进中有全角空格或不换行空格"), (Text("indent with plain spaces",
                                                                    "请改用普通空格缩进"),))
        if wide := re.match(rf"\s*{_KEY}(：)", line):
            key, value = line[:wide.start(1)].strip(), line[wide.end(1):].strip()
            value = value.replace("，", ", ") if value[:1] == "[" else value
            yield Fault(number, wide.start(1), Text(f"a full-width colon stands behind {key}", f"{key} 后面是全角冒号"),
                        (Text(f"write: {key}: {value}", f"请写成：{key}: {value}"),))


def _by_problem(problem: str, lines: Sequence[str], at: int, column: int, begun: yaml.Mark | None,
                context: str) -> Iterator[Fault]:
    line = lines[at]
    sign = line[column:column + 1]
    first, first_column = (min(begun.line, len(lines) - 1), begun.column) if begun else (at, column)
    in_quotes = "quoted scalar" in context
    if "sequence entries are not allowed" in problem:
        yield Fault(at, column, Text("an item of a list cannot begin on the line of its key", "列表项不能写在键的同一行"),
                    (Text("write it on a line of its own, or the list in brackets: [a, b]",
                          "请另起一行，或把列表写在方括号中：[a, b]"),))
    if "another document" in problem:
        yield Fault(at, column, Text("a second document begins at ---; a config is one document",
                                     "--- 开始了第二个文档；一个配置只能有一个文档"),
                    (Text("put it into a file of its own, or delete the line ---", "把它放进单独的文件，或删掉 --- 这一行"),))
    if in_quotes:
        yield from _in_quotes(problem, lines, at, column, first, first_column)
    if "<stream end>" in problem and (opened := _last_open(lines)):
        first, first_column, context = *opened, "flow"
    if "flow" in context:
        yield from _in_brackets(problem, lines, at, column, first, first_column)
    if "undefined alias" in problem:
        yield _no_anchor(at, _value_start(line, column), line)
    if "cannot start any token" in problem or "expected alphabetic or numeric" in problem \
            or "indentation indicator" in problem or "expected URI" in problem or "did not find expected whitespace" in problem:
        start = _value_start(line, column)
        yield _unquoted(at, start, line)
    if any(words in problem for words in ("mapping values are not", "could not find expected ':'", "expected <block end>")):
        yield from _structure(problem, lines, at, column, first)
    if sign and "expected the node content" in problem:
        yield Fault(at, column, Text(f"a value is missing before {sign}", f"{sign} 之前缺少值"), (_QUOTE,))


def _last_open(lines: Sequence[str]) -> tuple[int, int] | None:
    """Line and column of the last bracket that is not closed."""
    opened: list[tuple[int, int]] = []
    for number, line in enumerate(lines):
        for column, sign in enumerate(line):
            if sign in "[{":
                opened.append((number, column))
            elif sign in "]}" and opened:
                opened.pop()
    return opened[-1] if opened else None


def _value_start(line: str, column: int) -> int:
    """Where the value begins that a column lies in."""
    key = re.match(rf"\s*{_KEY}:\s+|\s*(?:- +)+", line)
    return key.end() if key and key.end() <= column else column


def _unquoted(at: int, start: int, line: str) -> Fault:
    value = re.split(r"\s#", line[start:])[0].strip().strip(",")
    sign = value[:1]
    key = line[:start].strip()
    quoted = "'" + value.replace("'", "''") + "'"
    return Fault(at, start, Text(f"a text cannot begin with {sign} unless it is quoted", f"不加引号的文本不能以 {sign} 开头"),
                 (Text(f"write: {key} {quoted}", f"请写成：{key} {quoted}"),))


def _no_anchor(at: int, start: int, line: str) -> Fault:
    """`*name`, where nothing is called `&name`: a value that was left out, or a text."""
    fault, name = _unquoted(at, start, line), line[start:].strip().lstrip("*")
    return Fault(at, start, Text(f"{fault.message.en}; the anchor &{name} that it would name is not there",
                                 f"{fault.message.zh}；它所指的锚点 &{name} 不存在"),
                 (Text(f"write the value in its place, or name it where it stands: KEY: &{name} VALUE",
                       f"直接写出这个值，或在它所在处命名：KEY: &{name} VALUE"), *fault.hint))


def _open_quote(lines: Sequence[str], at: int, column: int) -> Fault:
    quote, behind = lines[at][column:column + 1], lines[at][column + 1:].rstrip()
    if quote in behind:
        return _quotes_inside(at, column, lines[at])
    return Fault(at, column, Text(f"the quote {quote} that opens here is never closed", f"这里的引号 {quote} 没有闭合"),
                 (Text(f"close it at the end of the text: {lines[at].strip()}{quote}",
                       f"在文本末尾加上引号：{lines[at].strip()}{quote}"),))


def _quotes_inside(at: int, column: int, line: str) -> Fault:
    """A quoted text with its own kind of quotes in it, or with more behind it: the other kind does."""
    value, quote = line[column:].rstrip(), line[column:column + 1]
    inner = value[1:-1] if len(value) > 1 and value.endswith(quote) else value
    other = '"' if quote == "'" and not set('"\\') & set(inner) else "'"
    right = f"{line[:column].strip()} {other}{inner.replace(other, other * 2)}{other}"
    return Fault(at, column, Text(f"the text that opens here with {quote} has another {quote} in it, which ends it",
                                  f"这里以 {quote} 开头的文本中又出现了 {quote}，文本在那里就结束了"),
                 (Text(f"write: {right}", f"请写成：{right}"),))


def _in_quotes(problem: str, lines: Sequence[str], at: int, column: int, first: int, first_column: int) -> Iterator[Fault]:
    if "end of stream" in problem or "document separator" in problem:
        yield _open_quote(lines, first, first_column)
    if "escape" in problem:
        yield Fault(at, column, Text("between double quotes a backslash begins an escape", "双引号中的反斜杠表示转义"),
                    (Text("use single quotes for this text", "请改用单引号"),))


def _in_brackets(problem: str, lines: Sequence[str], at: int, column: int, first: int, first_column: int) -> Iterator[Fault]:
    for number in range(first, at + 1):
        if comment := re.search(r"(?<![:\w])(//|/\*)", re.sub(r"\"[^\"]*\"", lambda m: "_" * len(m[0]), lines[number])):
            yield Fault(number, comment.start(), Text("JSON has no comments, and a comment of YAML begins with #",
                                                      "JSON 没有注释，YAML 的注释以 # 开头"),
                        (Text("write # in place of //", "把 // 换成 #"),))
    bracket = lines[first][first_column:first_column + 1]
    closing = {"[": "]", "{": "}"}.get(bracket, "")
    if closing and ("<stream end>" in problem or "end of stream" in problem or "<block" in problem or "'<document" in problem
                    or "':'" in problem or (at > first and closing not in "".join(lines[first:at + 1])[first_column:])):
        yield Fault(first, first_column, Text(f"the bracket {bracket} that opens here is never closed with {closing}",
                                              f"这里的括号 {bracket} 没有用 {closing} 闭合"),
                    (Text(f"close it: {lines[first].strip()}{closing}", f"请闭合：{lines[first].strip()}{closing}"),))
    if "expected ','" in problem:
        yield Fault(at, column, Text("a comma is missing before this", "这之前缺少逗号"),
                    (Text("part the items with commas, and quote a text that holds a sign",
                          "各项之间用逗号隔开；含符号的文本要加引号"),))


def _structure(problem: str, lines: Sequence[str], at: int, column: int, first: int) -> Iterator[Fault]:
    above = next((n for n in range(at - 1, -1, -1) if lines[n].strip() and not lines[n].lstrip().startswith("#")), None)
    yield from _stuck([n for n in (first, above, at) if n is not None], lines)
    yield from _bare_section([number for number in (first, above) if number is not None], lines)
    for number in range(at, max(-1, at - 30), -1):
        opened = re.match(rf"\s*{_KEY}:\s+([\"'])", lines[number])
        if opened and lines[number].count(opened[1]) % 2:
            yield _open_quote(lines, number, opened.start(1))
            break
    indent = _indent(lines[at])
    if "mapping values" in problem:
        yield from _colon_inside(at, column, lines[at])
        if above is not None and indent > _indent(lines[above]):
            yield Fault(at, indent, Text(f"this line is indented more than line {above + 1}, which has a value already",
                                         f"这一行比第 {above + 1} 行缩进更多，而第 {above + 1} 行已经有值"), (_SPACES,))
    if "could not find expected ':'" in problem:
        if first and re.search(r":\s*[|>][+-]?\s*$", lines[first - 1]):
            yield Fault(first, _indent(lines[first]), Text(
                f"the text that line {first} begins must be indented more than its key",
                f"第 {first} 行开始的文本要比它的键缩进更多"), (_SPACES,))
        if lines[first].lstrip().startswith("-") and (item := re.match(r"\s*-([^\s-].*)", lines[first])):
            yield Fault(first, _indent(lines[first]), Text("a blank is missing behind the dash", "短横线后面缺少空格"),
                        (Text(f"write: - {item[1].strip()}", f"请写成：- {item[1].strip()}"),))
        if pair := pair_in(lines[first].strip()):
            yield Fault(first, _indent(lines[first]), Text("key and value are parted by a colon and a blank",
                                                           "键和值之间要写冒号加空格"),
                        (Text(f"write: {pair}", f"请写成：{pair}"),))
        yield Fault(first, 0, Text("this line is neither `key: value` nor an item of a list",
                                   "这一行既不是 `key: value`，也不是列表项"), (_QUOTE,))
    if "<block end>" in problem:
        yield from _in_block(at, column, above, lines)


def pair_in(text: str) -> str | None:
    """`key: value` of a text that has both in another form; None where it has not.

    >>> [pair_in(text) for text in ("lora_rank = 8", "--model q", "model：[a，b]", "just words", "https://a/b")]
    ['lora_rank: 8', 'model: q', 'model: [a, b]', None, None]
    """
    text = re.sub(r"^--?([A-Za-z][\w-]*)[ =]+", r"\1: ", text)  # an option of a command line
    pair = re.match(r"([A-Za-z_][\w-]*)\s*[:：=＝]\s*(?!//)(\S+)", text)
    value = pair[2].replace("，", ", ") if pair and pair[2][0] == "[" else pair[2] if pair else ""
    return f"{pair[1]}: {value}" if pair else None


def _bare_section(numbers: Sequence[int], lines: Sequence[str]) -> Iterator[Fault]:
    """A section's name that lacks its colon."""
    for number in numbers:
        if (name := lines[number].strip()) in SECTIONS:
            yield Fault(number, len(name), Text(f"a colon is missing behind {name}", f"{name} 后面缺少冒号"),
                        (Text(f"write: {name}:", f"请写成：{name}:"),))


def _in_block(at: int, column: int, above: int | None, lines: Sequence[str]) -> Iterator[Fault]:
    """A line that fits into no group or list above it."""
    indent = _indent(lines[at])
    if re.match(r"['\"]?[^\s-]", lines[at][column:]) and lines[at][:column].rstrip().endswith(("'", '"', "]", "}")):
        if (start := _value_start(lines[at], column)) < column and lines[at][start] in "'\"":
            yield _quotes_inside(at, start, lines[at])
        yield Fault(at, column, Text("text follows behind the end of a bracketed value", "括号已经结束，后面还有文本"),
                    (Text("quote the whole value", "给整个值加引号"),))
    if lines[at].lstrip().startswith("- ") and above is not None and not lines[above].lstrip().startswith("-"):
        yield Fault(at, indent, Text(f"an item of a list stands below line {above + 1}, which has a value already",
                                     f"列表项写在第 {above + 1} 行下面，而第 {above + 1} 行已经有值"),
                    (Text("make the first value an item too, with a dash before it", "把第一个值也写成带短横线的列表项"),))
    yield Fault(at, indent, Text("this line is indented differently from the others of its group",
                                 "这一行的缩进与同组的其他行不同"), (_SPACES,))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _stuck(numbers: Sequence[int], lines: Sequence[str]) -> Iterator[Fault]:
    """A key whose value follows its colon without a blank; an address is none."""
    for number in dict.fromkeys(numbers):
        if stuck := re.match(rf"\s*({_KEY}):(?=[^\s:/\\])", lines[number]):
            key, value = stuck[1], lines[number][stuck.end():].strip()
            yield Fault(number, stuck.end() - 1, Text(f"a blank is missing behind the colon of {key}",
                                                      f"{key} 的冒号后面缺少空格"),
                        (Text(f"write: {key}: {value}", f"请写成：{key}: {value}"),))


def _colon_inside(at: int, column: int, line: str) -> Iterator[Fault]:
    key = re.match(rf"\s*{_KEY}:\s+", line)
    section = re.match(r"([a-z_]+):\s+([a-z_]+:\s.*)", line)
    if section and section[1] in SECTIONS:
        below = section[2].strip()
        yield Fault(at, column, Text(f"the keys of {section[1]} stand on lines of their own, indented",
                                     f"{section[1]} 的键要另起一行并缩进"),
                    (Text(f"or in braces: {section[1]}: {{{below}}}", f"或写在花括号中：{section[1]}: {{{below}}}"),))
    if key and column >= key.end():
        value = re.split(r"\s#", line[key.end():])[0].rstrip()
        right = f"{line[:key.end()].strip()} '" + value.replace("'", "''") + "'"
        yield Fault(at, column, Text("a colon with a blank behind it stands inside a text that is not quoted",
                                     "没有加引号的文本中出现了“冒号加空格”"),
                    (Text(f"write: {right}", f"请写成：{right}"),))
