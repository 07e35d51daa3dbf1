"""Rows of a dataset, judged as `swift sft` would read them. Pure.

Source: ms-swift's swift/dataset/preprocessor/core.py (4.x) and swift/llm/dataset/preprocessor/core.py (3.x): which
reader a dataset gets is decided by its columns, columns are renamed to the standard ones, and a row whose reading
fails is dropped with a line in the log.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import Text
from swift_fa_launcher.machine.facts import PathFacts

Row = Mapping[str, Any]

MESSAGE_COLUMNS = ("messages", "conversation", "conversations")
SYSTEM_COLUMNS = ("system", "system_prompt")
QUERY_COLUMNS = ("query", "prompt", "input", "instruction", "question", "problem")
RESPONSE_COLUMNS = ("response", "answer", "output", "targets", "target", "answer_key", "answers", "solution", "text",
                    "completion", "content")
ROLES = frozenset(("system", "user", "tool_call", "tool_response", "tool", "assistant"))
REPLIES = ("assistant", "tool_call")
#: A row without a reply is read and then trains nothing: every label is masked.
NOTHING_TO_LEARN = "it has no reply to learn from"
ROLE_NAMES = {"human": "user", "gpt": "assistant", "bot": "assistant", "function_call": "tool_call",
              "function_response": "tool_response", "observation": "tool_response", "observations": "tool_response"}

#: Why rows cannot be used. Facts hold the English, which programs read too; `reason_in_both` adds the Chinese.
REASONS: tuple[Text, ...] = (
    Text("`datasets` reads no {suffix}", "`datasets` 不支持 {suffix} 文件"),
    Text("its columns are parted by {sign}, not by commas", "各列用 {sign} 分隔，而不是逗号"),
    Text("it holds no data files", "其中没有数据文件"),
    Text("{first} and {second} have no column in common", "{first} 和 {second} 没有相同的列"),
    Text("it has no rows", "文件中没有任何行"), Text("it has no label", "没有 label"),
    Text("not JSON: {error}", "不是 JSON：{error}"), Text("not CSV: {error}", "不是 CSV：{error}"),
    Text("not UTF-8 text (byte {byte})", "不是 UTF-8 文本（字节 {byte}）"),
    Text("its messages are empty", "messages 为空"),
    Text("its messages are not a list of objects", "messages 不是由对象组成的列表"),
    Text("its rejected_response is empty or equals the response", "rejected_response 为空，或与回答相同"),
    Text("a message has no role (its keys: {keys})", "有一条消息没有 role（它的键：{keys}）"),
    Text("unknown role {role}", "不认识的 role：{role}"),
    Text("a message of {role} has no content", "{role} 的一条消息没有内容"),
    Text("a message has neither a role nor a user and an assistant (its keys: {keys})",
         "有一条消息既没有 role，也没有 user 和 assistant（它的键：{keys}）"),
    Text("neither instruction nor input is text", "instruction 和 input 都不是文本"),
    Text("its history is not a list of pairs", "history 不是由二元组组成的列表"),
    Text("its response is an empty list", "response 是空列表"),
    Text(NOTHING_TO_LEARN, "没有可供学习的回答"),
    Text(f"{NOTHING_TO_LEARN}: no column is messages or response (columns with a value: {{columns}})",
         "没有可供学习的回答：没有 messages 或 response 列（有值的列：{columns}）"))


def reason_in_both(why: str) -> Text:
    """The reason in both languages; one that is not among REASONS stays as it is.

    >>> reason_in_both("unknown role 'bot2'").zh
    "不认识的 role：'bot2'"
    """
    for reason in REASONS:
        if match := re.fullmatch(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.*)", re.escape(reason.en)), why, re.DOTALL):
            return Text(why, reason.zh.format(**match.groupdict()))
    if inner := re.fullmatch(r"in (\S+): (.*)", why, re.DOTALL):  # of a folder
        return Text(why, f"{inner[1]} 中{reason_in_both(inner[2]).zh}")
    return Text(why, why)


def row_limit(config: ResolvedConfig, model: PathFacts) -> int | None:
    """ms-swift's max_length in tokens: the config's, else the model's own; None where neither is known."""
    said = known(model.model_config)
    length = config.swift.whole("max_length") or (known(said.max_length) if said else None)
    return length if length and 1 <= length < 10**9 else None


def make_judge(columns: Iterable[str], renamed: Mapping[str, str], *, needs_label: bool = False,
               ) -> Callable[[Row], str | None]:
    """A function that says why a row of a dataset with these columns cannot be used, None where it can.

    renamed: the config's own `columns` argument. needs_label: for the task of classification.
    """
    read, final = _reading(columns, renamed)

    def judge(row: Row) -> str | None:
        fields = {final[column]: value for column, value in row.items() if column in final}
        reason = read(fields)
        if not needs_label:
            return reason
        if reason is None or reason.startswith(NOTHING_TO_LEARN):
            return "it has no label" if fields.get("label") is None else None
        return reason

    return judge


@dataclass(frozen=True)
class Conversation:
    """A row as ms-swift's templates get it: (role, content) with the roles system, user, assistant, tool_call and tool."""

    messages: tuple[tuple[str, str], ...]
    tools: Any = None


def make_reader(columns: Iterable[str], renamed: Mapping[str, str]) -> Callable[[Row], Conversation | None]:
    """A function that reads a row of a dataset with these columns; None for one that is no text of known form.

    Only for rows that `make_judge` finds no fault with: what is wrong in another way may raise anything.
    """
    judge, final = _reading(columns, renamed)

    def read(row: Row) -> Conversation | None:
        fields = {final[column]: value for column, value in row.items() if column in final}
        said = _said_in_messages(fields) if judge is _read_messages else _said_in_pairs(fields, judge is _read_alpaca)
        if not said or not all(isinstance(content, str) for _, content in said):
            return None
        tools = fields.get("tools")
        return Conversation(tuple(said), _parsed(tools) if tools else None)

    return read


def has_media(row: Row) -> bool:
    """Whether a row brings images, videos or audio, whose tokens only the model's own processor can count."""
    return any(value and column.lower().rstrip("s") in ("image", "video", "audio") for column, value in row.items())


def _said_in_messages(row: Row) -> list[tuple[str, Any]] | None:
    messages = _parsed(row.get("messages")) or []
    if not messages or any(message.get("tool_calls") for message in messages):
        return None  # another provider's form
    if {"role", "from", "content", "value"} & set(messages[0]):
        said = [(_role(message), message.get("content", message.get("value"))) for message in messages]
    else:
        said = [(role, next((message[name] for name in names if name in message), None)) for message in messages
                for role, names in (("user", ("user", "human")), ("assistant", ("assistant", "gpt", "bot")))]
    said = [("tool" if role == "tool_response" else role,
             json.dumps(content, ensure_ascii=False) if role == "tool_call" and isinstance(content, dict) else content)
            for role, content in said]
    system = row.get("system")
    return said if system is None or said[0][0] == "system" else [("system", system), *said]


def _said_in_pairs(row: Row, alpaca: bool) -> list[tuple[str, Any]]:
    """`history`, `query` and `response`; of the alpaca form `instruction`, `input` and `output`."""
    query, response = row.get("query"), row.get("response")
    if alpaca:
        query = "\n".join(part for part in (row.get("instruction"), row.get("input")) if part)
        response = response if row.get("output") is None else row["output"]
    if isinstance(response, (list, tuple)):
        response = response[0]
    history = _parsed(row.get("history") or ())
    system = row.get("system")
    said = [("system", system), *((role, content) for pair in (*history, (query, response))
                                  for role, content in zip(("user", "assistant"), pair, strict=False))]
    return [(role, content) for role, content in said if content is not None]


def _reading(columns: Iterable[str], renamed: Mapping[str, str]) -> tuple[Callable[[Row], str | None], dict[str, str]]:
    """The judge of rows with these columns, and each column's standard name."""
    names = _rename(columns, renamed)
    present = set(names.values())
    if present & set(MESSAGE_COLUMNS):
        judge, mapping = _read_messages, {**dict.fromkeys(MESSAGE_COLUMNS, "messages"),
                                          **dict.fromkeys(SYSTEM_COLUMNS, "system")}
    else:
        judge = _read_alpaca if {"instruction", "input"} <= present else _read_response
        mapping = {**dict.fromkeys(SYSTEM_COLUMNS, "system"), **dict.fromkeys(QUERY_COLUMNS, "query"),
                   **dict.fromkeys(RESPONSE_COLUMNS, "response")}
    standard = _rename(present, mapping)
    return judge, {column: standard[name] for column, name in names.items()}


def _rename(columns: Iterable[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Column to its new name. Names are compared in lower case; where two columns would get one name, none does."""
    by_name = {column.lower(): column for column in columns}
    wanted = {by_name[old.lower()]: new for old, new in mapping.items() if old.lower() in by_name}
    count = Counter(wanted.values())
    return {column: wanted[column] if count[wanted.get(column, "")] == 1 else column for column in by_name.values()}


def _read_messages(row: Row) -> str | None:
    messages = _parsed(row.get("messages"))
    if not messages:
        return "its messages are empty"
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        return "its messages are not a list of objects"
    if "rejected_response" in row and row["rejected_response"] in (None, messages[-1].get("content")):
        return "its rejected_response is empty or equals the response"
    if row.get("positive_messages") or row.get("negative_messages"):
        return None  # an embedding's or a reranker's, which the model's own type may ask for without a task_type
    if any(message.get("tool_calls") or isinstance(message.get("content"), list) for message in messages):
        return None  # another provider's form of messages, which newer versions translate
    if not {"role", "from", "content", "value"} & set(messages[0]):
        return _read_pairs(messages)
    faults = [_fault(message) for message in messages]
    if any(faults):
        return next(fault for fault in faults if fault)
    return None if any(_role(message) in REPLIES for message in messages) else NOTHING_TO_LEARN


def _role(message: Mapping[str, Any]) -> Any:
    """The message's role under its standard name; None where it has none."""
    role = message.get("role", message.get("from"))
    return ROLE_NAMES.get(role.replace("-", "_"), role) if isinstance(role, str) else role


def _fault(message: Mapping[str, Any]) -> str | None:
    role = _role(message)
    if role is None:
        return f"a message has no role (its keys: {', '.join(map(str, message))})"
    if not isinstance(role, str) or role not in ROLES:
        return f"unknown role {role!r}"
    return f"a message of {role!r} has no content" if message.get("content", message.get("value")) is None else None


def _read_pairs(messages: list[dict[str, Any]]) -> str | None:
    """Messages that are pairs: {"user": …, "assistant": …}."""
    for message in messages:
        if not {"user", "human"} & set(message) or not {"assistant", "gpt", "bot"} & set(message):
            return f"a message has neither a role nor a user and an assistant (its keys: {', '.join(map(str, message))})"
    return None


def _read_alpaca(row: Row) -> str | None:
    query = row.get("instruction") or row.get("input")
    if not isinstance(query, str):
        return "neither instruction nor input is text"
    return _read_response({**row, "query": query, "response": row.get("output", row.get("response"))})


def _read_response(row: Row) -> str | None:
    history = _parsed(row.get("history") or [])
    if not isinstance(history, list) or not all(isinstance(pair, (list, tuple)) and len(pair) > 1 for pair in history):
        return "its history is not a list of pairs"
    response = row.get("response")
    if isinstance(response, (list, tuple)):
        if not response:
            return "its response is an empty list"
        response = response[0]
    if response is None and not any(pair[1] is not None for pair in history):
        found = ", ".join(column for column, value in row.items() if value is not None) or "none"
        return f"{NOTHING_TO_LEARN}: no column is messages or response (columns with a value: {found})"
    return None


def _parsed(value: Any) -> Any:
    """The value, where it is text what stands there as JSON or as Python writes it; None where it is neither."""
    if not isinstance(value, str):
        return value
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            continue
    return None
