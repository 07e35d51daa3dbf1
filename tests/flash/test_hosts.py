"""The addresses that are tried for a file."""

from __future__ import annotations

import pytest
from packaging.version import Version

from swift_fa_launcher.flash.hosts import is_mirrored, may_offer, mirror_urls, source_hosts
from swift_fa_launcher.flash.implementations import FA2, FA3

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


@pytest.mark.parametrize(("source", "wanted", "gpus", "asked"), [
    ("https://download.pytorch.org/whl/{cuda}/flash-attn-3/", FA3, ["9.0"], True),
    ("https://download.pytorch.org/whl/{cuda}/flash-attn-3/", FA3, [], True),  # which GPU is not known
    ("https://download.pytorch.org/whl/{cuda}/flash-attn-3/", FA3, ["8.0", "12.0"], False),
    ("https://download.pytorch.org/whl/{cuda}/flash-attn-3/", FA2, ["9.0"], False),
    ("https://pypi.org/simple/flash_attn", FA3, ["9.0"], False), ("https://pypi.org/simple/", FA3, ["9.0"], True),
    ("github:Dao-AILab/flash-attention", FA3, ["8.0"], True), ("/wheels/flash-attn", FA3, ["9.0"], True),
])
def test_a_projects_page_is_asked_for_that_project_only(source: str, wanted: object, gpus: list[str], asked: bool) -> None:
    assert may_offer(source, wanted, map(Version, gpus)) is asked


@pytest.mark.parametrize(("wanted", "hosts"), [("flash_attn", {"github.com"}),
                                               ("flash_attention_3", {"github.com", "download.pytorch.org"})])
def test_the_host_of_a_page_that_is_not_asked_is_not_looked_for(wanted: str, hosts: set[str]) -> None:
    sources = ("github:a/b", "https://download.pytorch.org/whl/{cuda}/flash-attn-3/")
    assert set(source_hosts(sources, ("direct",), wanted)[0]) == hosts
