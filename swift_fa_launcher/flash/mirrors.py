"""Where else a file of GitHub can be had. Pure.

A mirror is a prefix put before the address. Two forms exist, and which one a mirror takes is not announced:
`https://ghproxy.net/https://github.com/…` and `https://ghfast.top/github.com/…`.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

DIRECT = "direct"


def mirror_urls(url: str, prefixes: Iterable[str]) -> tuple[str, ...]:
    """The addresses to try for `url`, in the prefixes' order, both forms of each.

    "direct" among the prefixes stands for `url` itself, which comes last where it is not named. An address that mirrors
    do not serve comes back alone.

    >>> mirror_urls("https://github.com/a/b.whl", ["https://ghproxy.net/"])[1]
    'https://ghproxy.net/github.com/a/b.whl'
    """
    if not _is_mirrorable(url):
        return (url,)
    found: dict[str, None] = {}
    for prefix in (*prefixes, DIRECT):
        if prefix.strip() == DIRECT:
            found.setdefault(url)
        elif base := _base(prefix):
            found.setdefault(f"{base}{url}")
            found.setdefault(f"{base}{url.partition('://')[2]}")
    return tuple(found)


def is_mirror(prefix: str) -> bool:
    """Whether a prefix can be put before an address: it is one's beginning itself, or "direct"; "" is passed over."""
    prefix = prefix.strip()
    try:
        return prefix in ("", DIRECT) or (urlsplit(prefix).scheme in ("http", "https") and bool(urlsplit(prefix).hostname))
    except ValueError:
        return False


def is_mirrored(url: str, prefixes: Iterable[str]) -> bool:
    """Whether `url` is itself an address of one of the mirrors."""
    return any((base := _base(prefix)) and prefix.strip() != DIRECT and url.startswith(base) for prefix in prefixes)


def _base(prefix: str) -> str:
    prefix = prefix.strip()
    return f"{prefix.rstrip('/')}/" if prefix else ""


def _is_mirrorable(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "github.com" or host.endswith(".githubusercontent.com")
