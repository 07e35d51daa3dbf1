"""What a list of wheels says, whatever its form. Pure: text in, candidates out.

Forms: GitHub's releases (a page of the API, a saved file, an object with `releases`), one release, a simple index as HTML
(PEP 503, or any page with links) and as JSON (PEP 691), a bare list of names, and lines of text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from packaging.version import Version

from swift_fa_launcher.decode import decode, known
from swift_fa_launcher.errors import Text, Words, render_words
from swift_fa_launcher.flash.name import Candidate

_FILE = re.compile(r"\.(whl|tar\.gz|zip)$")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class ListingError(ValueError):
    """Text that is no list of wheels; `words` say what it is. code: of the finding that says so of a source."""

    code = "mirror-unreachable"

    def __init__(self, words: Words) -> None:
        super().__init__(render_words(words, "en"))
        self.words = words


@dataclass(frozen=True)
class Listing:
    """The files of a list, newest release first, and the projects that an index names instead: name to address."""

    files: tuple[Candidate, ...] = ()
    projects: tuple[tuple[str, str], ...] = ()


def parse_listing(text: str, base: str, source: str) -> Listing:
    """The files that `text` lists; relative addresses are relative to `base`. Raises ListingError."""
    start = text.lstrip("\ufeff \t\r\n")[:1]
    if start in ("{", "["):
        try:
            data = json.loads(text.lstrip("\ufeff"))
        except (ValueError, RecursionError) as error:
            raise ListingError(Text(f"damaged JSON: {error}", f"JSON 已损坏：{error}")) from None
        return _parse_json(data, base, source)
    return _parse_html(text, base, source) if start == "<" else _parse_lines(text, base, source)


def make_candidate(address: str, source: str, *, filename: str | None = None, sha256: object = None,
                   size: object = None) -> Candidate:
    """A candidate from an address that may carry its digest as `#sha256=…`."""
    url, digest = split_digest(address)
    if isinstance(sha256, str) and _SHA256.fullmatch(sha256):
        digest = sha256.lower()
    return Candidate(filename or _last_part(url), url, source, digest, size if type(size) is int and size > 0 else None)


def split_digest(address: str) -> tuple[str, str | None]:
    """The address without its fragment, and the digest where the fragment is `#sha256=…`."""
    url, _, fragment = address.partition("#")
    found = re.search(r"(?:^|&)sha256=([0-9a-fA-F]{64})(?:&|$)", fragment) if fragment else None
    return url, found[1].lower() if found else None


def _join(base: str, link: str) -> str | None:
    """The whole address; None where `link` can be none."""
    if link.startswith("https://") and link.isascii() and "[" not in link and "]" not in link:
        return link  # whole already: a list has thousands of these
    try:
        address = urljoin(base, link)
        urlsplit(address)
    except ValueError:
        return None
    return address


def _parse_json(data: Any, base: str, source: str) -> Listing:
    if isinstance(data, dict) and isinstance(data.get("releases"), list):
        data = data["releases"]
    if isinstance(data, dict) and isinstance(data.get("files"), list):
        return Listing(tuple(_index_files(data["files"], base, source)))
    if isinstance(data, dict) and isinstance(data.get("projects"), list):
        names = [p["name"] for p in data["projects"] if isinstance(p, dict) and isinstance(p.get("name"), str)]
        return Listing(projects=tuple((name, address) for name in names if (address := _join(base, f"{quote(name)}/"))))
    if isinstance(data, dict) and isinstance(data.get("assets"), list):
        data = [data]
    if isinstance(data, list):
        if all(isinstance(item, str) for item in data):
            return _parse_names(data, base, source)
        releases = [r for r in data if isinstance(r, dict) and isinstance(r.get("assets"), list) and not r.get("draft")]
        if releases or not data:
            newest_first = sorted(releases, key=_release_age, reverse=True)
            return Listing(tuple(c for r in newest_first for c in _release_files(r["assets"], base, source)))
    message = data.get("message") if isinstance(data, dict) else None
    if isinstance(message, str):
        raise ListingError(Text(f"the server says: {message[:200]}", f"服务器返回：{message[:200]}"))
    raise ListingError(Text("JSON, but no list of wheels", "是 JSON，但不是 wheel 列表"))


def _release_age(release: Mapping[str, Any]) -> tuple[str, Version]:
    """Sorts releases by date, and by the number in their tag where no date is given."""
    number = known(decode(Version, str(release.get("tag_name"))))
    return str(release.get("published_at") or release.get("created_at") or ""), number or Version("0")


def _release_files(assets: list[Any], base: str, source: str) -> Iterator[Candidate]:
    for asset in assets:
        if not isinstance(asset, dict) or asset.get("state", "uploaded") != "uploaded":
            continue
        name, url, digest = asset.get("name"), asset.get("browser_download_url"), asset.get("digest")
        if isinstance(name, str) and name:
            address = _join(base, url if isinstance(url, str) and url else quote(name, safe="+!"))
            if address:
                yield make_candidate(address, source, filename=name, size=asset.get("size"),
                                     sha256=str(digest).removeprefix("sha256:") if digest else None)


def _index_files(files: list[Any], base: str, source: str) -> Iterator[Candidate]:
    for file in files:
        if not isinstance(file, dict) or not isinstance(file.get("url"), str) or file.get("yanked"):
            continue
        hashes, name = file.get("hashes"), file.get("filename")
        if address := _join(base, file["url"]):
            yield make_candidate(address, source, filename=name if isinstance(name, str) else None,
                                 sha256=hashes.get("sha256") if isinstance(hashes, dict) else None, size=file.get("size"))


def _parse_names(names: list[str], base: str, source: str) -> Listing:
    """Names or addresses, perhaps with their digest as `#sha256=…`."""
    found = []
    for text in names:
        name, _, fragment = text.partition("#")
        if address := _join(base, text if "/" in name else f"{quote(name, safe='+!')}#{fragment}"):
            found.append(make_candidate(address, source, filename=None if "/" in name else name))
    return Listing(tuple(found))


def _parse_html(text: str, base: str, source: str) -> Listing:
    from html.parser import HTMLParser  # an import that the other forms do not need to wait for

    bases: list[str] = []
    links: list[str] = []

    class Page(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            values = dict(attrs)
            if (address := values.get("href")) and "data-yanked" not in values and tag in ("a", "base"):
                (links if tag == "a" else bases).append(address)

    try:
        Page().feed(text)
    except (AssertionError, ValueError) as error:  # Python 3.10's parser, at "<![nonsense"
        raise ListingError(Text(f"a damaged web page: {error}", f"网页已损坏：{error}")) from None
    base = _join(base, bases[0] if bases else "") or base
    addresses = [address for link in links if (address := _join(base, link))]
    files = [a for a in addresses if _FILE.search(urlsplit(a).path)]
    if not addresses:
        raise ListingError(Text("a web page without links to wheels (a login page of the network?)",
                                "是没有 wheel 链接的网页（可能是网络登录页）"))
    return Listing(tuple(make_candidate(a, source) for a in files),
                   tuple((_last_part(a), a) for a in addresses if a not in files))


def _last_part(address: str) -> str:
    return unquote(urlsplit(address).path.rstrip("/").rpartition("/")[2])


def _parse_lines(text: str, base: str, source: str) -> Listing:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines or not all(re.fullmatch(r"\S+\.whl(#\S*)?", line) for line in lines):
        raise ListingError(Text("no list of wheels", "不是 wheel 列表"))
    return _parse_names(lines, base, source)
