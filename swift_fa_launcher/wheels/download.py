"""A wheel from the first of several addresses that gives the right bytes, into the cache under the wheel's own name.

Every address but the wheel's own is a stranger: what it gives is taken only with a digest that came from elsewhere.
The file grows as `NAME.part`, is continued with Range where it broke off, and gets its name when size, digest and zip
are right.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import queue
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import unquote, urlsplit

from swift_fa_launcher.errors import InstallError, LauncherError, Text, Words, joined, render_words, titled
from swift_fa_launcher.files import read_group
from swift_fa_launcher.flash.hosts import is_trusted, shown_url
from swift_fa_launcher.flash.name import parse_wheel_name
from swift_fa_launcher.machine.connection import NO_ANSWER, Unreached, connection_words, exchange, follow, open_session
from swift_fa_launcher.wheels.listing import split_digest

if TYPE_CHECKING:
    import requests

    from swift_fa_launcher.flash.name import Candidate

CHUNK = 1 << 20
LARGEST = 8 << 30  # bytes; no wheel comes near, a server that never ends does
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: done bytes, all bytes where they are known, bytes per second
Progress = Callable[[int, "int | None", float], None]


@dataclass(frozen=True)
class Patience:
    """How long an address may keep us waiting, in seconds."""

    probe: float = 4.0  # to be among the first when there are several addresses
    connect: float = 10.0
    answer: float = 30.0  # from the request to the end of the headers, redirects included
    silence: float = 20.0  # between two pieces of the body
    slow: float = 20.0  # …or this long under `slow_rate`
    slow_rate: float = 1024.0  # bytes per second
    retry_after: float = 15.0  # longest Retry-After that is waited for
    pause: float = 0.5  # before asking the same address again
    tries: int = 5  # answers that one address may break off


@dataclass(frozen=True)
class Fetched:
    """A wheel on disk. url: who gave it. verified: held against a digest, or straight from its own origin."""

    path: Path
    sha256: str
    size: int
    url: str
    verified: bool


@dataclass(frozen=True)
class Refused:
    """An address or a wheel that was tried and given up; code as in the list of passed-over candidates, or of a finding."""

    what: str
    code: str
    reason: Words


class AllRefused(InstallError):
    """Nothing that was tried will do; `refused` has every reason of each."""

    def __init__(self, code: str, message: Words, refused: Sequence[Refused] = (), **details: Any) -> None:
        super().__init__(code, message, **details)
        self.refused = tuple(refused)


@dataclass(frozen=True)
class _Order:
    """What is to be fetched."""

    filename: str
    origin: str
    sha256: str | None
    size: int | None
    file: Path
    patience: Patience
    progress: Progress
    environment: Mapping[str, str]
    allow_unverified: bool

    def vouches(self, url: str) -> bool:
        """Whether the bytes of this address can be taken on its own word: the wheel's own, and nobody can write on the way."""
        return url == self.origin and is_trusted(url)

    @property
    def part(self) -> Path:
        return self.file.with_name(f"{self.filename}.part")

    @property
    def notes(self) -> Path:
        """Beside the file: where it, or its beginning, came from."""
        return self.file.with_name(f"{self.filename}.json")


def download_wheel(candidate: Candidate, urls: Sequence[str], cache: Path, *,
                   allow_unverified: bool = False, progress: Progress | None = None, patience: Patience = Patience(),
                   environment: Mapping[str, str] | None = None) -> Fetched:
    """The wheel in `cache`/wheels, from the cache or from the first of `urls` that gives it.

    urls: addresses in order of preference, `candidate.url` itself among them where the origin may be asked.
    environment: of the training, for proxies and certificates. Raises AllRefused with a reason per address, WheelNameError for a
    name that is none.
    """
    filename = candidate.filename
    parse_wheel_name(filename)  # a name, and no path
    origin, said = split_digest(candidate.url)
    digest = (candidate.sha256 or said or "").lower() or None
    if urlsplit(origin).scheme in ("", "file"):
        return _local_wheel(filename, origin, digest, candidate.size)
    key = digest or f"url-{hashlib.sha256(origin.encode()).hexdigest()[:24]}"
    order = _Order(filename, origin, digest, candidate.size, cache / "wheels" / key / filename, patience,
                   progress or (lambda done, total, rate: None), os.environ if environment is None else environment,
                   allow_unverified)
    from filelock import FileLock

    try:
        order.file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(str(order.file.parent / ".lock")):  # ends with its process; a second download of this file waits
            return _cached(order) or _fetch(order, urls or (origin,))
    except OSError as error:
        raise _disk_error(error, order.file.parent) from error


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def zip_fault(path: Path, *, members: bool) -> Words | None:
    """What keeps the file from being a wheel, or None. members: read every member against its CRC as well."""
    import zipfile

    with path.open("rb") as stream:
        head = stream.read(512)
    if fault := _not_a_zip(head):
        return fault
    try:
        with zipfile.ZipFile(path) as archive:
            if not any(name.endswith(".dist-info/RECORD") for name in archive.namelist()):
                return Text("a zip without a wheel's RECORD", "是 zip 文件，但没有 wheel 的 RECORD")
            bad = archive.testzip() if members else None
    except Exception as error:  # BadZipFile, zlib.error, LZMAError, RuntimeError …: each kind of damage has its own
        return Text(f"a damaged zip: {error}", f"zip 文件已损坏：{error}")
    return Text(f"a damaged zip: {bad} has a wrong CRC", f"zip 文件已损坏：{bad} 的 CRC 不对") if bad else None


def _fault(path: Path, found: str, sha256: str | None, size: int | None) -> tuple[str, Words] | None:
    """(code, what is wrong) of a whole file whose digest is `found`; None for the wheel that was wanted."""
    actual = path.stat().st_size
    if size is not None and actual != size:
        return "hash-mismatch", _size_words(actual, size)
    if sha256 and found != sha256:
        return "hash-mismatch", Text(f"its sha256 is {found}, not {sha256}", f"sha256 是 {found}，而不是 {sha256}")
    fault = zip_fault(path, members=sha256 is None)
    return ("not-a-wheel", fault) if fault else None


def _local_wheel(filename: str, address: str, digest: str | None, size: int | None) -> Fetched:
    """A wheel that lies on this machine already: looked at where it is, never copied."""
    path = Path(unquote(urlsplit(address).path)) if address.startswith("file:") else Path(address)
    try:
        found = file_sha256(path)
        fault = _fault(path, found, digest, size)
    except OSError as error:
        raise AllRefused("wheel-unreadable",
                         Text(f"the wheel cannot be read: {error.strerror}", f"无法读取 wheel：{error.strerror}"),
                         where=str(path)) from error
    if fault:
        raise AllRefused("wheel-invalid", Text(f"{filename} is not the expected wheel", f"{filename} 不是预期的 wheel"),
                         (Refused(str(path), *fault),), where=str(path), why=fault[1])
    return Fetched(path, found, path.stat().st_size, path.absolute().as_uri(), verified=True)


def _cached(order: _Order) -> Fetched | None:
    """The finished file of an earlier run, where it still is what it was."""
    if not order.file.is_file():
        return None
    notes = read_group(order.notes)
    found = file_sha256(order.file)
    whole = found == (order.sha256 or notes.get("sha256"))
    if whole and (order.sha256 or notes.get("verified") is True or order.allow_unverified):
        return Fetched(order.file, found, order.file.stat().st_size, str(notes.get("url", order.origin)),
                       verified=bool(order.sha256 or notes.get("verified") is True))
    if not whole:
        order.file.unlink()
    return None


def _fetch(order: _Order, urls: Sequence[str]) -> Fetched:
    refused, usable = [], []
    for url in dict.fromkeys(split_digest(url)[0] for url in urls):
        if order.sha256 or order.allow_unverified or order.vouches(url):
            usable.append(url)
        else:
            refused.append(Refused(shown_url(url), "unverified", _UNVERIFIED))
    with open_session() as session:
        for url in _fastest_first(usable, order):
            try:
                return _fetch_from(session, url, order)
            except Unreached as trouble:  # this address will not give the wheel; the next one may
                refused.append(Refused(shown_url(url), trouble.code, trouble.words))
    raise _all_refused(order, refused)


_UNVERIFIED = Text("the wheel comes from a mirror or over a connection without TLS, and it cannot be verified: "
                   "neither its source, a lock nor you gave a sha256; flash_attn.allow_unverified=true would install "
                   "and run it all the same",
                   "wheel 来自镜像或没有 TLS 的连接，且无法验证：来源、锁定文件和您都没有给出 sha256；设 "
                   "flash_attn.allow_unverified=true 则会不经验证就安装并运行它")


def _all_refused(order: _Order, refused: Sequence[Refused]) -> AllRefused:
    why = joined(titled(each.what, each.reason) for each in refused)
    by_hand = Text("download it elsewhere, then install it: swift-fa install --wheel FILE",
                   "在别处下载，然后安装：swift-fa install --wheel FILE")
    digest: tuple[Words, ...] = ()
    if any(r.code == "unverified" for r in refused):
        digest = (Text("give the digest yourself: swift-fa install --wheel 'URL#sha256=DIGEST'",
                       "自己给出摘要：swift-fa install --wheel 'URL#sha256=摘要'"),)
    return AllRefused("download-failed", Text(f"{order.filename} could not be downloaded", f"无法下载 {order.filename}"),
                      refused, where=shown_url(order.origin), why=why, hint=(*digest, by_hand))


def _fetch_from(session: requests.Session, url: str, order: _Order) -> Fetched:
    """The whole file from one address, over as many answers as it takes. Raises Unreached."""
    for attempt in range(order.patience.tries):
        try:
            continued = _receive(session, url, order)
        except Unreached as trouble:
            if not trouble.broke_off or attempt + 1 == order.patience.tries:
                raise
            time.sleep(trouble.wait or order.patience.pause)
            continue
        if fetched := _accept(order, url, continued):
            return fetched
    raise Unreached(Text("the connection broke off every time", "连接每次都中断"))


def _receive(session: requests.Session, url: str, order: _Order) -> bool:
    """One answer, appended to the part; whether it continued bytes that were there before.

    Raises Unreached, `broke_off` where it can be continued.
    """
    start, headers = _start(order, url)
    with _ask(session, url, order, headers) as answer:
        if not (order.sha256 or order.allow_unverified or is_trusted(answer.url)):
            raise Unreached(_UNVERIFIED, "unverified")  # this machine sends us to another one
        start, total = _judge_answer(answer, start, order)
        order.notes.write_text(json.dumps({"part_of": url, "validator": _validator(answer)}))
        with order.part.open("r+b" if start else "wb") as stream:
            stream.truncate(start)
            stream.seek(start)
            end = _copy(answer, stream, start, total, order)
    if total is not None and end < total:
        raise _broken_off(Text(f"the connection ended after {end} of {total} bytes", f"连接在 {end}/{total} 字节处中断"))
    return start > 0


def _start(order: _Order, url: str) -> tuple[int, dict[str, str]]:
    """How many bytes are there already, and the headers that ask for the rest.

    Without a digest only the same address may go on with the same file: nothing at the end would tell a mixture.
    """
    headers = {"Accept-Encoding": "identity", "User-Agent": "swift-fa-launcher"}
    notes = read_group(order.notes)
    have = order.part.stat().st_size if order.part.is_file() else 0
    validator = notes.get("validator") if notes.get("part_of") == url else None
    if not have or not (order.sha256 or validator) or (order.size is not None and have >= order.size):
        return 0, headers
    return have, headers | {"Range": f"bytes={have}-"} | ({"If-Range": str(validator)} if validator else {})


def _validator(answer: requests.Response) -> str | None:
    """What tells this version of the file from another: a strong ETag, else the date."""
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified")


def _judge_answer(answer: requests.Response, start: int, order: _Order) -> tuple[int, int | None]:
    """From which byte on this answer goes, and how many the file has in all. Raises Unreached."""
    if answer.status_code == 416 and start:
        order.part.unlink()
        raise _broken_off(Text("the server has no further bytes; starting over", "服务器没有更多字节，从头下载"))
    _judge_status(answer, order.patience)
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise Unreached(Text("the server sends the file re-encoded", "服务器发送的是重新编码的文件"), "not-a-wheel")
    total = _whole(answer.headers.get("Content-Length"))
    if answer.status_code == 206:
        found = re.match(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if not found or int(found.group(1)) != start:
            order.part.unlink(missing_ok=True)
            raise _broken_off(Text("the server sends another part of the file than requested", "服务器返回的不是所请求的部分"))
        total = _whole(found.group(2))
    else:
        start = 0
    if order.size is not None and total is not None and total != order.size:
        raise Unreached(_size_words(total, order.size), "hash-mismatch")
    _expect_room(order, (total or order.size or 0) - start)
    return start, total if total is not None else order.size


def _judge_status(answer: requests.Response, patience: Patience) -> None:
    status = answer.status_code
    if status in (200, 206):
        return
    said = f"{status} {answer.reason or ''}".rstrip()
    words = Text(f"the server answers {said}", f"服务器返回 {said}")
    if status in (429, 503):
        wait = _whole(answer.headers.get("Retry-After"))
        if wait is not None and wait <= patience.retry_after:
            raise _broken_off(words, wait)
    expired = status in (401, 403, 410) and answer.history  # of a signed link; the first address gives a new one
    if expired or status in (500, 502, 504):
        raise _broken_off(words)
    raise Unreached(words)


def _broken_off(words: Words, wait: float = 0.0) -> Unreached:
    return Unreached(words, broke_off=True, wait=wait)


def _copy(answer: requests.Response, stream: BinaryIO, start: int, total: int | None, order: _Order) -> int:
    """The answer's body into `stream`; how many bytes the file has then. Gives up what goes on, but too slowly to ever end."""
    limit, patience = total if total is not None else LARGEST, order.patience
    end = since = watched = start
    shown = watched_at = time.monotonic()
    rate = 0.0
    for chunk in _chunks(answer):
        if end == 0 and (fault := _not_a_zip(chunk)):
            raise Unreached(fault, "not-a-wheel")
        end += len(chunk)
        if end > limit:
            raise Unreached(_size_words(end, limit), "hash-mismatch")
        stream.write(chunk)
        now = time.monotonic()
        if (over := now - watched_at) >= patience.slow:
            if end - watched < patience.slow_rate * over:
                slow = f"{(end - watched) / over:.0f}"
                raise Unreached(Text(f"too slow: {slow} bytes per second", f"太慢：每秒 {slow} 字节"))
            watched, watched_at = end, now
        if now - shown > 0.1:
            rate = (end - since) / (now - shown) if not rate else 0.8 * rate + 0.2 * (end - since) / (now - shown)
            shown, since = now, end
            order.progress(end, total, rate)
    order.progress(end, total, rate)
    return end


def _chunks(answer: requests.Response) -> Iterator[bytes]:
    """The body as it arrives, in pieces of what is there: one byte a second is seen as such. Raises Unreached."""
    import http.client

    import requests
    import urllib3

    raw: Any = answer.raw
    read = getattr(raw, "read1", None) or raw._fp.read1  # urllib3 before 2.2 has none of its own
    came = False
    try:
        while chunk := read(CHUNK):
            came = True
            yield chunk
    except (urllib3.exceptions.HTTPError, requests.RequestException, http.client.HTTPException, ConnectionError,
            TimeoutError) as error:
        words = connection_words(error)
        raise Unreached(words, broke_off=came or words != NO_ANSWER) from error


def _accept(order: _Order, url: str, continued: bool) -> Fetched | None:
    """The finished file under its name; None where bytes of several answers do not fit together: from the start, then.

    Raises Unreached where one answer as a whole is the wrong file.
    """
    digest = file_sha256(order.part)
    if fault := _fault(order.part, digest, order.sha256, order.size):
        order.part.unlink()
        if continued:
            return None
        raise Unreached(fault[1], fault[0])
    size = order.part.stat().st_size
    fetched = Fetched(order.file, digest, size, shown_url(url), bool(order.sha256) or order.vouches(url))
    order.notes.write_text(json.dumps(asdict(fetched) | {"path": order.filename}))
    order.part.replace(order.file)
    return fetched


def _ask(session: requests.Session, url: str, order: _Order, headers: dict[str, str]) -> requests.Response:
    """The headers of the answer, redirects followed. Raises Unreached."""
    patience = order.patience
    return exchange(patience.answer, lambda: follow(session, url, order.environment, (patience.connect, patience.silence),
                                                    headers))


def _fastest_first(urls: Sequence[str], order: _Order) -> Iterator[str]:
    """All of `urls`, first the one whose first byte arrives first; those that refused come last, in their order."""
    if len(urls) < 2:
        yield from urls
        return
    answers: queue.SimpleQueue[tuple[str, bool]] = queue.SimpleQueue()
    for url in urls:
        threading.Thread(target=lambda url=url: answers.put((url, _gives_wheel(url, order))), daemon=True).start()
    deadline = time.monotonic() + order.patience.probe
    said: dict[str, bool] = {}
    with suppress(queue.Empty):
        while len(said) < len(urls) and not any(said.values()):
            url, said_yes = answers.get(timeout=max(0.0, deadline - time.monotonic()))
            said[url] = said_yes
    yield from sorted(urls, key=lambda url: {True: 0, None: 1, False: 2}[said.get(url)])


def _gives_wheel(url: str, order: _Order) -> bool:
    """Whether the address answers a request for the first bytes with the first bytes of a zip."""
    try:
        with open_session() as session, _ask(session, url, order, {"Range": "bytes=0-3"}) as answer:
            return answer.status_code in (200, 206) and _not_a_zip(next(_chunks(answer), b"")) is None
    except Exception:  # the real attempt will say why
        return False


def _not_a_zip(head: bytes) -> Words | None:
    """What the beginning of a file shows it to be, where that is no zip."""
    if head.startswith(b"PK\x03\x04"[: len(head)] or b"PK"):
        return None
    start = head[:512].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<")):
        return Text("an HTML page instead of the file", "返回的是 HTML 网页而不是文件")
    if start.startswith(b"version https://git-lfs"):
        return Text("a Git LFS pointer instead of the file", "返回的是 Git LFS 指针而不是文件")
    return Text("not a zip file", "不是 zip 文件") if head else Text("an empty file", "空文件")


def _expect_room(order: _Order, needed: int) -> None:
    if shutil.disk_usage(order.file.parent).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(order.part))


def _disk_error(error: OSError, folder: Path) -> LauncherError:
    """The error of a full or closed disk; the part goes, so that the disk has room again."""
    full, message = error.errno in NO_ROOM, Text("the download cannot be written", "无法写入下载文件")
    if full:
        message = Text("the disk is full: the download does not fit", "磁盘已满：放不下下载文件")
        for part in folder.glob("*.part"):
            part.unlink(missing_ok=True)
    return AllRefused("disk-space-low" if full else "download-not-written", message, where=str(folder),
                         why=os.strerror(error.errno) if error.errno else str(error),
                         hint=(Text("free some space, or name another cache folder: export SWIFT_FA_CACHE=DIR",
                                    "释放空间，或指定别的缓存目录：export SWIFT_FA_CACHE=DIR"),))


def _whole(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"\d{1,18}", text.strip()) else None


def _size_words(found: int, wanted: int) -> Words:
    return Text(f"{found} bytes instead of {wanted}", f"大小为 {found} 字节，应为 {wanted} 字节")


def render_progress(done: int, total: int | None, rate: float, lang: str = "en", width: int = 24) -> str:
    """One line for a terminal: bar, share, rate and time left; without a total, what has come and the rate."""
    speed = f"{rate / 2**20:.1f} MiB/s"
    if not total:
        return f"{done / 2**20:.1f} MiB  {speed}"
    share = min(done / total, 1.0)
    bar = "=" * int(share * width)
    left = f"{int((total - done) / rate) // 60}:{int((total - done) / rate) % 60:02}" if rate > 0 else "-:--"
    remaining = render_words(Text(f"{left} left", f"剩余 {left}"), lang)
    return f"[{bar:<{width}}] {share:4.0%} {done / 2**20:.1f}/{total / 2**20:.1f} MiB  {speed}  {remaining}"
