"""The addresses that are tried for a file."""

from __future__ import annotations

import pytest

from swift_fa_launcher.flash.hosts import is_mirrored, mirror_urls

ORIGIN = "https://github.com/a/b/releases/download/v1/x-1+cu12-cp310-cp310-linux_x86_64.whl"
BARE = ORIGIN.removeprefix("https://")


def test_both_forms_of_each_mirror_then_the_origin() -> None:
    assert mirror_urls(ORIGIN, ("https://ghproxy.net/", "https://ghfast.top")) == (
        f"https://ghproxy.net/{ORIGIN}", f"https://ghproxy.net/{BARE}",
        f"https://ghfast.top/{ORIGIN}", f"https://ghfast.top/{BARE}", ORIGIN)


def test_direct_stands_where_it_is_written() -> None:
    urls = mirror_urls(ORIGIN, ("direct", "https://ghproxy.net/"))
    assert urls[0] == ORIGIN
    assert len(urls) == 3


@pytest.mark.parametrize("prefixes", [(), ("direct",), ("", "  ")])
def test_without_mirrors_only_the_origin(prefixes: tuple[str, ...]) -> None:
    assert mirror_urls(ORIGIN, prefixes) == (ORIGIN,)


def test_the_same_mirror_twice_is_asked_once() -> None:
    assert len(mirror_urls(ORIGIN, ("https://m/", "https://m"))) == 3


@pytest.mark.parametrize("url", ["https://wheels.astral.sh/x.whl", "https://pypi.org/x.whl", "file:///x.whl", "/x.whl",
                                 "https://notgithub.com/x.whl", "https://github.com.evil.org/x.whl"])
def test_mirrors_serve_github_only(url: str) -> None:
    assert mirror_urls(url, ("https://ghproxy.net/",)) == (url,)


def test_files_behind_github_are_served_too() -> None:
    assert len(mirror_urls("https://release-assets.githubusercontent.com/x", ("https://m/",))) == 3


def test_an_address_of_a_mirror_is_recognised() -> None:
    assert is_mirrored(f"https://m/{ORIGIN}", ("direct", "https://m"))
    assert not is_mirrored(ORIGIN, ("direct", "https://m"))
    assert not is_mirrored("direct/x", ("direct",))
