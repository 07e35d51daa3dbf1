"""What every connection needs: a limit on the whole exchange, and a failure in a few words."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable
from typing import TypeVar

from swift_fa_launcher.errors import Text, Words

T = TypeVar("T")


def within(seconds: float, act: Callable[[], T]) -> T:
    """What `act` returns or raises; TimeoutError where it takes longer, and then it goes on unheard.

    A socket's own time-out begins anew with every byte, so that a server could hold a caller for ever.
    """
    answers: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((act(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        value, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]

RESET = Text("connection reset", "连接被重置")
ENDED = Text("the connection ended early", "连接提前结束")
NO_ANSWER = Text("no answer in time", "超时无响应")
_FAILURES = (
    (("refused",), Text("connection refused", "连接被拒绝")),
    (("timed out", "no answer within"), NO_ANSWER),
    (("resolve",), Text("the host name cannot be resolved", "无法解析主机名")),
    (("proxyerror",), Text("the proxy cannot be reached", "无法连接代理")),
    (("reset",), RESET),
    (("incompleteread", "closed connection", "aborted"), ENDED),
)


def connection_words(error: BaseException) -> Words:
    """The innermost reason of a failed connection, without the library's wrapping."""
    text = f"{type(error).__name__} {error}".lower()
    known = next((words for marks, words in _FAILURES if any(mark in text for mark in marks)), None)
    return known or Text(f"connection failed: {text[:160]}", f"连接失败：{text[:160]}")


def tls_words(error: BaseException) -> Words:
    """What is wrong with a server's certificate or protocol."""
    found = re.search(r"certificate verify failed: ([^(]+)", str(error))
    detail = found[1].strip() if found else "TLS"
    return Text(f"its certificate or TLS is not good: {detail}", f"证书或 TLS 有问题：{detail}")
