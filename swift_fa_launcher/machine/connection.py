"""The one way to make a connection: proxies and certificates, redirects, a limit on the whole, and a failure in a few words.

The launcher's own environment is not the training's: every function takes the one that counts, the config's `env` included.
"""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

from swift_fa_launcher.errors import Text, Words, render_words
from swift_fa_launcher.flash.hosts import shown_url
from swift_fa_launcher.machine.reading import says_tls

if TYPE_CHECKING:
    import requests

T = TypeVar("T")
REDIRECTS = 8
#: Seconds to connect, and between two pieces of an answer.
Timeouts = tuple[float, float]


class Unreached(Exception):
    """An address that gives nothing. code: of the finding that says so. broke_off: it may answer when it is asked once more,
    after `wait` seconds where it said so."""

    def __init__(self, words: Words, code: str = "mirror-unreachable", *, broke_off: bool = False, wait: float = 0.0) -> None:
        super().__init__(render_words(words, "en"))
        self.words, self.code, self.broke_off, self.wait = words, code, broke_off, wait


# Ways out -------------------------------------------------------------------------------------------------------------


def open_session() -> requests.Session:
    """A session that takes nothing from the launcher's own environment."""
    import requests

    session = requests.Session()
    session.trust_env = False
    return session


def request(session: requests.Session, method: str, url: str, environment: Mapping[str, str], timeouts: Timeouts,
            headers: Mapping[str, str]) -> requests.Response:
    """The headers of one answer, redirects not followed. Raises what requests raises."""
    return session.request(method, url, headers=dict(headers), timeout=timeouts, allow_redirects=False, stream=True,
                           proxies=proxies_for(url, environment), verify=certificates(environment))


def proxies_for(url: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The proxies that `environment` names for a url."""
    from requests.utils import should_bypass_proxies

    named = {name.lower(): value for name, value in environment.items() if name.lower().endswith("_proxy") and value}
    if should_bypass_proxies(url, no_proxy=named.get("no_proxy", "")):
        return {}
    return {scheme: proxy for scheme in ("http", "https")
            if (proxy := named.get(f"{scheme}_proxy") or named.get("all_proxy"))}


def certificates(environment: Mapping[str, str]) -> str | bool:
    """The file of the certificates that `environment` names, as requests and OpenSSL call it; True for requests' own."""
    named = environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE")
    openssl = environment.get("SSL_CERT_FILE")  # which OpenSSL passes over where it is not there
    return named or (openssl if openssl and Path(openssl).is_file() else True)


def follow(session: requests.Session, url: str, environment: Mapping[str, str], timeouts: Timeouts,
           headers: Mapping[str, str]) -> requests.Response:
    """The headers of the answer behind all redirects, which are its `history`. Logins of ~/.netrc are used.

    A login goes on to the same server alone. Raises Unreached for redirects without end or away from TLS, and what requests
    raises.
    """
    from requests.utils import get_netrc_auth

    address, seen = url, {url}
    hops: list[requests.Response] = []
    login = headers.get("Authorization")
    plain = {name: value for name, value in headers.items() if name != "Authorization"}
    for _ in range(REDIRECTS):
        session.auth = None if login else get_netrc_auth(address)
        answer = request(session, "GET", address, environment, timeouts, {**plain, "Authorization": login} if login else plain)
        if not answer.is_redirect:
            answer.history = hops
            return answer
        answer.close()
        hops.append(answer)
        target = urljoin(address, answer.headers["Location"])
        if target in seen:
            raise Unreached(Text("its redirects go round in a circle", "重定向形成循环"))
        if urlsplit(target).scheme not in ("http", "https") or (
                urlsplit(address).scheme == "https" and urlsplit(target).scheme == "http"):
            raise Unreached(Text(f"it redirects from TLS to {shown_url(target)}", f"它从 TLS 重定向到 {shown_url(target)}"),
                            "tls-failed")
        sent = answer.request.headers.get("Authorization")
        login = None if session.should_strip_auth(address, target) else sent  # type: ignore[no-untyped-call]
        seen.add(target)
        address = target
    raise Unreached(Text(f"more than {REDIRECTS} redirects", f"重定向超过 {REDIRECTS} 次"))


# Limits and failures --------------------------------------------------------------------------------------------------


def exchange(seconds: float, act: Callable[[], T]) -> T:
    """What `act` returns of a connection. Raises Unreached where that fails or takes longer, and what else `act` raises."""
    import requests

    try:
        return within(seconds, act)
    except (requests.RequestException, OSError) as error:
        raise unreached(error) from error


def unreached(error: BaseException) -> Unreached:
    """What a failed connection comes to."""
    said = innermost(error)
    if says_tls(said):
        found = re.search(r"certificate verify failed: ([^(]+)", said)
        detail = found[1].strip() if found else said[:160]
        return Unreached(Text(f"its certificate or TLS is not good: {detail}", f"证书或 TLS 有问题：{detail}"), "tls-failed")
    words = connection_words(error)
    return Unreached(words, broke_off=words in (RESET, ENDED))


def innermost(error: BaseException) -> str:
    """The message of the error at the bottom of a chain: what the system said, without the layers around it."""
    seen = {id(error)}
    while (inner := error.__cause__ or error.__context__) is not None and id(inner) not in seen:
        seen.add(id(inner))
        error = inner
    return str(error) or type(error).__name__


def begin(act: Callable[[], T]) -> Callable[[float | None], T]:
    """Starts `act`; what comes back waits so many seconds for what it returns or raises. It never keeps a process alive."""
    answers: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((act(), None))
        except BaseException as error:
            answers.put((None, error))

    def wait(seconds: float | None) -> T:
        try:
            value, error = answers.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"no answer within {seconds:g} s") from None
        if error is not None:
            raise error
        return value  # type: ignore[return-value]

    threading.Thread(target=run, daemon=True).start()
    return wait


def within(seconds: float, act: Callable[[], T]) -> T:
    """What `act` returns or raises; TimeoutError where it takes longer, and then it goes on unheard.

    A socket's own time-out begins anew with every byte, so that a server could hold a caller for ever.
    """
    return begin(act)(seconds)


RESET = Text("connection reset", "连接被重置")
ENDED = Text("the connection ended early", "连接提前结束")
NO_ANSWER = Text("no answer in time", "超时无响应")
_FAILURES = (
    (("proxyerror",), Text("the proxy cannot be reached", "无法连接代理")),
    (("refused",), Text("connection refused", "连接被拒绝")),
    (("timed out", "no answer within"), NO_ANSWER),
    (("resolve",), Text("the host name cannot be resolved", "无法解析主机名")),
    (("reset",), RESET),
    (("incompleteread", "closed connection", "aborted"), ENDED),
)


def connection_words(error: BaseException) -> Words:
    """The innermost reason of a failed connection, without the library's wrapping."""
    text = f"{type(error).__name__} {error}".lower()
    known = next((words for marks, words in _FAILURES if any(mark in text for mark in marks)), None)
    return known or Text(f"connection failed: {text[:160]}", f"连接失败：{text[:160]}")
