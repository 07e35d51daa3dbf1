"""Where wheels are offered, read: GitHub's releases, simple indexes, saved lists, folders, single files.

A source that cannot be read is a value that says why, never an exception. Lists from the network are kept in the cache
with their ETag and age: within an hour nobody is asked again, and an older one serves where the network fails.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

from packaging.utils import canonicalize_name
from packaging.version import Version

from swift_fa_launcher.cache import cache_dir
from swift_fa_launcher.decode import NOT_COLLECTED, Maybe, Unknown
from swift_fa_launcher.errors import Say, Text, Words, render_words
from swift_fa_launcher.files import keep_answer, kept_answer
from swift_fa_launcher.flash.implementations import IN_WHEELS
from swift_fa_launcher.flash.name import Candidate, without_password
from swift_fa_launcher.machine.connection import Unreached, begin, exchange, follow, open_session
from swift_fa_launcher.wheels.listing import Listing, ListingError, make_candidate, parse_listing

if TYPE_CHECKING:
    import requests

GITHUB_API = "https://api.github.com"
#: Lists of releases that projects publish as a file of their own: asked where GitHub's API does not answer.
PUBLISHED_LISTS: Mapping[str, str] = {
    "mjun0812/flash-attention-prebuild-wheels": "https://mjunya.com/flash-attention-prebuild-wheels/data/releases.json",
}
PAGES = 50  # of a hundred releases each
LARGEST = 64 << 20  # bytes of one list
#: Folders for a CUDA in an index that has none for torch's own minor: any of the same major runs with it. PyTorch's
#: FlashAttention 3 lies in these two, and beside them in cu128 and cu129 (https://github.com/NVIDIA-NeMo/RL/issues/2148).
FOLDERS: Mapping[int, str] = {12: "cu126", 13: "cu130"}
_GITHUB = re.compile(r"(?:github:|https://github\.com/)([\w.-]+)/([\w.-]+?)(?:\.git)?/?(?:releases/?)?$")


@dataclass(frozen=True)
class Network:
    """How lists are asked for; times in seconds."""

    connect: float = 5.0
    silence: float = 15.0  # between two pieces of an answer
    whole: float = 60.0  # for one answer
    fresh: float = 3600.0  # a list of this age is not asked for again
    offline: bool = False  # only what is on this machine
    api: str = ""  # GitHub's; empty: GITHUB_API_URL, else the public one
    published: Mapping[str, str] = field(default_factory=lambda: PUBLISHED_LISTS)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)  # of the training


@dataclass(frozen=True)
class SourceReport:
    """What one source offers. spec: as the config names it, without password.

    error: why it could not be read, or not whole and anew; code: of the finding that says so. age: seconds since the
    list came over the network, None for what lies on this machine.
    """

    spec: str
    candidates: tuple[Candidate, ...] = ()
    error: Words | None = None
    code: str | None = None
    age: float | None = None


def read_sources(specs: Sequence[str], *, implementation: str = "flash_attn", cuda: Maybe[Version] = NOT_COLLECTED,
                 network: Network = Network(), say: Say | None = None) -> tuple[SourceReport, ...]:
    """A report on each of `specs`, in their order; they are read at the same time.

    cuda: torch's, None for a torch without, for `{cuda}` in an address.
    say: hears what a user may want to know, such as the age of an old list.
    """
    waiting = [begin(partial(read_source, spec, implementation=implementation, cuda=cuda, network=network, say=say))
               for spec in specs]
    return tuple(wait(None) for wait in waiting)


def read_source(spec: str, *, implementation: str = "flash_attn", cuda: Maybe[Version] = NOT_COLLECTED,
                network: Network = Network(), say: Say | None = None) -> SourceReport:
    """What one source offers.

    spec: `github:OWNER/REPO`, the address or path of a wheel, a folder, a simple index, a saved list of releases.
    """
    try:
        name = without_password(spec)
    except ValueError as error:  # brackets that hold no address
        return SourceReport(spec, (), Text(f"not a valid address: {error}",
                                           f"不是有效的地址：{error}"), "mirror-unreachable")
    reader = _Reader(name, IN_WHEELS[implementation].distribution, network, say or (lambda words: None))
    try:
        specs = _filled(spec, cuda) if "{cuda}" in spec else (spec,)
        if github := _GITHUB.fullmatch(spec):
            files = [file for listing in reader.releases(f"{github[1]}/{github[2]}") for file in listing.files]
        elif urlsplit(spec).scheme in ("http", "https"):
            files = [*reader.first(specs)]
        else:
            files = [*_read_path(spec, name)]
        return SourceReport(name, tuple(files), reader.trouble, reader.code, reader.age)
    except _TROUBLES as error:
        return SourceReport(name, (), error.words, error.code)


class _Missing(Unreached):
    """The server answers, and has nothing under this address."""


_TROUBLES = (Unreached, ListingError)


def _filled(spec: str, cuda: Maybe[Version]) -> Sequence[str]:
    """The address with torch's CUDA in place of `{cuda}`, and with another of the same major, which will do. Raises Unreached."""
    if isinstance(cuda, Unknown):
        raise Unreached(Text("skipped: torch's CUDA version is not known", "已跳过：不知道 torch 的 CUDA 版本"))
    if cuda is None:
        raise Unreached(Text("skipped: it has CUDA builds only", "已跳过：它只提供 CUDA 版本"))
    own = f"cu{cuda.major}{cuda.minor}"
    return [spec.replace("{cuda}", folder) for folder in dict.fromkeys((own, FOLDERS.get(cuda.major, own)))]


def _read_path(spec: str, source: str) -> Iterator[Candidate]:
    from swift_fa_launcher.config.layers import expand_user

    try:
        named = Path(unquote(urlsplit(spec).path)) if spec.startswith("file:") else expand_user(spec)
        path = Path(os.path.abspath(named))
        if path.is_dir():
            wheels = sorted(path.glob("*.whl"))
            if not wheels:
                raise Unreached(Text("no wheel in this folder", "文件夹中没有 wheel"))
            for wheel in wheels:
                yield make_candidate(wheel.as_uri(), source, filename=wheel.name, size=wheel.stat().st_size)
        elif path.suffix == ".whl":
            fragment = f"#{urlsplit(spec).fragment}" if spec.startswith("file:") else ""
            yield make_candidate(path.as_uri() + fragment, source, filename=path.name, size=path.stat().st_size)
        else:
            yield from parse_listing(path.read_text(encoding="utf-8"), path.as_uri(), source).files
    except FileNotFoundError:
        raise Unreached(Text("no such file or folder", "没有这个文件或文件夹")) from None
    except ListingError:
        raise
    except (OSError, ValueError) as error:  # also a name with a zero byte
        raise Unreached(Text(f"it cannot be read: {error}", f"无法读取：{error}")) from None


class _Reader:
    """Asks for the lists of one source, of one project; remembers the oldest that served, and what went wrong."""

    def __init__(self, source: str, project: str, network: Network, say: Say) -> None:
        self._source, self._project, self._network, self._say = source, project, network, say
        self.age: float | None = None
        self.trouble: Words | None = None
        self.code: str | None = None

    def first(self, specs: Sequence[str]) -> tuple[Candidate, ...]:
        """The files under the first of several addresses that has some."""
        return self._one_of([partial(self._address, spec) for spec in specs])

    def _one_of(self, ways: Sequence[Callable[[], tuple[Candidate, ...]]]) -> tuple[Candidate, ...]:
        for way in ways[:-1]:
            with suppress(_Missing, ListingError):
                return way()
        return ways[-1]()

    def _address(self, spec: str) -> tuple[Candidate, ...]:
        """A wheel's address, a list, or an index in which the project's own page is the list."""
        if urlsplit(spec).path.endswith(".whl"):
            return (make_candidate(spec, self._source),)
        own_page = urljoin(f"{spec.rstrip('/')}/", f"{self._project}/")
        last = urlsplit(spec).path.rstrip("/").rpartition("/")[2]
        if "simple" in last:  # the root of an index lists all that there is: never read
            pages: tuple[str, ...] = (own_page,)
        elif canonicalize_name(last) == self._project or "." in last:
            pages = (spec,)
        else:
            pages = (own_page, spec) if spec.endswith("/") else (spec, own_page)
        return self._one_of([partial(self._list, page) for page in pages])

    def _list(self, page: str) -> tuple[Candidate, ...]:
        found = self._page(page).listing
        link = next((a for name, a in found.projects if canonicalize_name(name) == self._project), None)
        files = found.files or (self._page(link).listing.files if link else ())
        if not files:
            raise ListingError(Text(f"it lists no files of {self._project}", f"其中没有 {self._project} 的文件"))
        return files

    def releases(self, repository: str) -> Iterator[Listing]:
        """All pages of a repository's releases; the list that the project publishes where the API does not answer."""
        own = self._network.api or self._network.environment.get("GITHUB_API_URL") or GITHUB_API
        first = f"{own.rstrip('/')}/repos/{repository}/releases?per_page=100"
        published = self._network.published.get(repository) if own == GITHUB_API or self._network.api else None
        try:
            page: _Page | None = self._page(first, github=True, fall_back=published is None)
        except _Missing:
            raise Unreached(Text(f"GitHub has no repository {repository}", f"GitHub 上没有仓库 {repository}")) from None
        except _TROUBLES as error:
            if published is None:
                raise
            try:
                yield self._page(published).listing
            except _TROUBLES:
                page = self._page(first, github=True)
            else:
                self._tell(error.words, Text("using the list on the project's own page", "使用该项目网页上的列表"))
                return
        for _ in range(PAGES):
            if page is None:
                return
            yield page.listing
            try:
                page = self._page(page.next, github=True) if page.next else None
            except _TROUBLES as error:
                self.trouble, self.code = error.words, error.code  # half a list is better than none
                return

    def _page(self, url: str, *, github: bool = False, fall_back: bool = True) -> _Page:
        """A list from the cache where it is fresh, else from the network, else, with `fall_back`, an old one."""
        file = cache_dir() / "indexes" / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"
        cached = _load_page(file, url, self._source)
        if cached and 0 <= time.time() - cached.at < self._network.fresh:
            return self._aged(cached)
        try:
            if self._network.offline:
                raise Unreached(Text("skipped (offline)", "已跳过（离线）"))
            page = _ask(url, self._source, self._network, github, cached)
        except _Missing:
            raise
        except _TROUBLES as error:
            if cached is None or not fall_back:
                raise
            self.trouble, self.code = error.words, error.code
            hours = max(0.0, time.time() - cached.at) / 3600
            self._tell(error.words, Text(f"using the list of {hours:.1f} hours ago", f"使用 {hours:.1f} 小时前的列表"))
            return self._aged(cached)
        _store_page(file, page)
        return self._aged(page)

    def _aged(self, page: _Page) -> _Page:
        self.age = max(self.age or 0.0, time.time() - page.at)
        return page

    def _tell(self, why: Words, instead: Text) -> None:
        self._say(Text(f"{self._source}: {render_words(why, 'en')}; {instead.en}",
                       f"{self._source}：{render_words(why, 'zh')}；{instead.zh}"))


# The cache ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Page:
    """One answer. at: when it came, or was last confirmed; seconds since 1970."""

    url: str
    listing: Listing
    at: float
    etag: str | None = None
    next: str | None = None


def _load_page(file: Path, url: str, source: str) -> _Page | None:
    """The cached answer; None where there is none that can be read."""
    def read(data: dict[str, Any]) -> _Page | None:
        files = tuple(Candidate(name, address, source, sha256, size) for name, address, sha256, size in data["wheels"])
        page = _Page(data["url"], Listing(files, tuple((n, a) for n, a in data["projects"])), float(data["at"]), data["etag"],
                     data["next"])
        return page if page.url == url else None

    return kept_answer(file, read)


def _store_page(file: Path, page: _Page) -> None:
    keep_answer(file, {"url": page.url, "at": page.at, "etag": page.etag, "next": page.next,
                       "wheels": [[c.filename, c.url, c.sha256, c.size] for c in page.listing.files],
                       "projects": page.listing.projects})


# The network --------------------------------------------------------------------------------------------------------


def _ask(url: str, source: str, network: Network, github: bool, cached: _Page | None) -> _Page:
    """The list under `url` as the network gives it now. Raises Unreached, and ListingError for another kind of page."""
    headers = {"User-Agent": "swift-fa-launcher", "Accept-Encoding": "gzip, deflate",
               "Accept": "application/vnd.github+json" if github else
               "application/vnd.pypi.simple.v1+json, text/html;q=0.9, application/json;q=0.8, */*;q=0.1"}
    if cached and cached.etag:
        headers["If-None-Match"] = cached.etag
    token = (network.environment.get("GITHUB_TOKEN") or network.environment.get("GH_TOKEN")) if github else None
    answer, body = _get(url, headers | ({"Authorization": f"Bearer {token}"} if token else {}), network)
    if answer.status_code == 401 and token:  # a token that has run out must not hide what everybody may read
        answer, body = _get(url, headers, network)
    if answer.status_code == 304 and cached:
        return _Page(url, cached.listing, time.time(), cached.etag, cached.next)
    _judge_status(answer, github, cached is not None)
    text = body.decode("utf-8", errors="replace")
    if github and text.lstrip()[:1] != "[":
        raise ListingError(Text("its answer is not a list of releases (a login page of the network?)",
                            "返回的不是 release 列表（可能是网络登录页）"))
    return _Page(url, parse_listing(text, answer.url, source), time.time(), answer.headers.get("ETag"), _next_page(answer, url))


def _next_page(answer: requests.Response, url: str) -> str | None:
    """The next page where it is the same server's: a token must not travel elsewhere."""
    target = urljoin(url, answer.links.get("next", {}).get("url", ""))
    return target if urlsplit(target)[:2] == urlsplit(url)[:2] and target != url else None


def _judge_status(answer: requests.Response, github: bool, cached: bool) -> None:
    status, left = answer.status_code, answer.headers.get("X-RateLimit-Remaining")
    if status == 200:
        return
    if status in (404, 410) or (status == 403 and not github and not cached):  # an index in S3 says 403 of what is not there
        raise _Missing(Text(f"the server answers {status}", f"服务器返回 {status}"))
    if github and (status == 429 or (status == 403 and (left == "0" or "Retry-After" in answer.headers))):
        reset = answer.headers.get("X-RateLimit-Reset", "")
        minutes = max(1, round((int(reset) - time.time()) / 60)) if reset.isdigit() else None
        en = f", for {minutes} more minutes" if minutes else ""
        zh = f"，还需 {minutes} 分钟" if minutes else ""
        raise Unreached(Text(f"GitHub's limit of requests from this address is reached{en}; set GITHUB_TOKEN to raise "
                             "it",
                             f"此地址对 GitHub 的请求已达到限额{zh}；设置 GITHUB_TOKEN 可提高限额"))
    raise Unreached(Text(f"the server answers {status}", f"服务器返回 {status}"))


def _get(url: str, headers: Mapping[str, str], network: Network) -> tuple[requests.Response, bytes]:
    """A whole answer and its body within the time that `network` allows. Raises Unreached."""
    def receive() -> tuple[requests.Response, bytes]:
        with open_session() as session, follow(session, url, network.environment, (network.connect, network.silence),
                                               headers) as answer:
            return answer, _read_body(answer)

    return exchange(network.whole, receive)


def _read_body(answer: requests.Response) -> bytes:
    body = bytearray()
    for chunk in answer.iter_content(1 << 16):
        body += chunk
        if len(body) > LARGEST:
            raise Unreached(Text(f"the list is larger than {LARGEST >> 20} MiB", f"列表超过 {LARGEST >> 20} MiB"))
    return bytes(body)
