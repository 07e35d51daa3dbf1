"""Where wheels come from: hosts, mirrors of GitHub, and whose bytes can be taken on trust. Pure; imports no other room.

A mirror is a prefix put before the address. Two forms exist, and which one a mirror takes is not announced:
`https://ghproxy.net/https://github.com/…` and `https://ghfast.top/github.com/…`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit, urlunsplit

from packaging.utils import canonicalize_name
from packaging.version import Version

from swift_fa_launcher.flash.implementations import BY_NAME, DISTRIBUTIONS, FA2, FA4, Implementation

GITHUB, PYPI = "https://github.com", "pypi.org"
#: Public prefixes that serve GitHub's files, for a config that names none of them.
MIRRORS = ("https://ghproxy.net/", "https://ghfast.top/")
DIRECT = "direct"


def mirror_urls(url: str, prefixes: Iterable[str]) -> tuple[str, ...]:
    """The addresses to try for `url`, in the prefixes' order, both forms of each.

    "direct" among the prefixes stands for `url` itself, which comes last where it is not named. An address that mirrors
    do not serve comes back alone.

    >>> mirror_urls("https://github.com/a/b.whl", ["https://ghproxy.net/"])[1]
    'https://ghproxy.net/github.com/a/b.whl'
    """
    host = urlsplit(url).hostname or ""
    if host != "github.com" and not host.endswith(".githubusercontent.com"):
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


def host_of(url: str) -> str:
    """The url's host, with its port where it names one: the name that it is asked, judged and shown by; "" where it has none."""
    try:
        return urlsplit(url if "://" in url else f"https://{url}").netloc.rpartition("@")[2]
    except ValueError:  # brackets that hold no address
        return ""


def shown_url(url: str) -> str:
    """The address without user, password, and query, which may hold a signature; fit for messages and records."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def source_hosts(sources: Iterable[str], mirrors: Iterable[str], attn_impl: str | None) -> tuple[Mapping[str, str], bool]:
    """({host: the address to ask it by} of the places that wheels come from, whether a source needs none).

    Without mirrors, or with "direct", GitHub itself. The page of an implementation that is not wanted is not asked. PyPI has
    wheels of FlashAttention 4 alone, of the others only the sources.
    """
    hosts: dict[str, str] = {}
    local = False
    wanted = BY_NAME.get(attn_impl or "", FA2)
    for source in tuple(sources) or ("github:",):
        if not may_offer(source, wanted):
            continue
        if source.startswith("github:"):
            addresses = [GITHUB if mirror.strip() == DIRECT else mirror for mirror in tuple(mirrors) or (DIRECT,)]
        elif "://" in source and not source.startswith("file:"):
            addresses = [source]
        else:
            addresses, local = [], True
        for address in addresses:
            hosts.setdefault(host_of(address), f"{'http' if address.startswith('http:') else 'https'}://{host_of(address)}/")
    idle = "" if attn_impl in FA4.names else PYPI
    return {host: address for host, address in hosts.items() if host not in ("", idle)}, local


def may_offer(source: str, wanted: Implementation, capabilities: Iterable[Version] = ()) -> bool:
    """Whether a source can have what is wanted. An index's page of one project has nothing of another, and nothing for GPUs
    (their compute capabilities; none: not known) that the implementation does not run on."""
    project = canonicalize_name(source.rstrip("/").rpartition("/")[2]) if source.startswith("http") else ""
    majors = {capability.major for capability in capabilities}
    return project not in DISTRIBUTIONS or (
        project == wanted.distribution and (not majors or any(major in wanted.majors for major in majors)))


def is_trusted(url: str) -> bool:
    """Whether what comes from a wheel's own address is what its publisher put there: by TLS, or from this machine itself.

    Over plain HTTP anybody on the way may have written it.
    """
    parts = urlsplit(url)
    return parts.scheme in ("https", "file", "") or (parts.scheme == "http" and _is_this_machine(parts.hostname or ""))


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, be it 127.0.0.1.example.org
        return False


def _base(prefix: str) -> str:
    prefix = prefix.strip()
    return f"{prefix.rstrip('/')}/" if prefix else ""
