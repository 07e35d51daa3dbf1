"""Lists of wheels from real servers, good and bad, from files and folders."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import machine
from packaging.version import Version
from wheel_server import (
    Behaviour,
    Handler,
    WheelServer,
    free_port,
    in_turn,
    make_certificate,
    page,
    redirect,
    running_server,
    silent,
    status,
    trickle,
)

from swift_fa_launcher.cache import cache_dir
from swift_fa_launcher.errors import Words, render_words
from swift_fa_launcher.flash.name import Candidate
from swift_fa_launcher.wheels.choose import choose_wheel
from swift_fa_launcher.wheels.listing import ListingError, parse_listing
from swift_fa_launcher.wheels.sources import Network, SourceReport, read_source, read_sources

ONE = "flash_attn-2.8.3+cu124torch2.6-cp310-cp310-linux_x86_64.whl"
TWO = "flash_attn-2.7.4+cu124torch2.6-cp310-cp310-linux_x86_64.whl"
DIGEST = "ab" * 32
RELEASES = "/repos/some/wheels/releases"


@pytest.fixture
def server() -> Iterator[WheelServer]:
    with running_server() as running:
        yield running


@pytest.fixture
def network(server: WheelServer) -> Network:
    """Asks `server` as GitHub's API, and does not wait long."""
    return Network(connect=1.0, silence=0.5, whole=1.5, api=server.url, published={})


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_TOKEN", "GH_TOKEN", "GITHUB_API_URL"):
        monkeypatch.delenv(name, raising=False)


def answer(body: object, **headers: object) -> Behaviour:
    """JSON, or text as it is, with 200."""
    data = (body if isinstance(body, str) else json.dumps(body)).encode()

    def behave(handler: Handler) -> None:
        handler.begin(200, Content_Length=len(data), **headers)
        handler.wfile.write(data)
    return behave


def release(tag: str, *names: str, digest: str | None = DIGEST, **more: object) -> dict[str, Any]:
    return {"tag_name": tag, **more, "assets": [
        {"name": name, "browser_download_url": f"https://github.com/some/wheels/releases/download/{tag}/"
         + name.replace("+", "%2B"), "size": 7, **({"digest": f"sha256:{digest}"} if digest else {})} for name in names]}


def read(spec: str, network: Network, **options: Any) -> SourceReport:
    return read_source(spec, network=network, **options)


def names(report: SourceReport) -> list[str]:
    return [candidate.filename for candidate in report.candidates]


def english(words: Words | None) -> str:
    return render_words(words or "", "en")


def make_older(hours: float) -> None:
    """Lets the whole cache of lists be `hours` old."""
    for file in (cache_dir() / "indexes").glob("*.json"):
        data = json.loads(file.read_text())
        file.write_text(json.dumps({**data, "at": data["at"] - hours * 3600}))


# GitHub -------------------------------------------------------------------------------------------------------------


def test_releases_over_pages_with_digests(server: WheelServer, network: Network) -> None:
    server.serve(RELEASES, in_turn(
        answer([release("v2", ONE)], Link=f'<{server.url}{RELEASES}?per_page=100&page=2>; rel="next"'),
        answer([release("v1", TWO, digest=None)], Link=f'<{server.url}{RELEASES}?per_page=100&page=1>; rel="prev"')))
    report = read("github:some/wheels", network)
    assert report.candidates == (
        Candidate(ONE, "https://github.com/some/wheels/releases/download/v2/" + ONE.replace("+", "%2B"), "github:some/wheels",
                  DIGEST, 7),
        Candidate(TWO, "https://github.com/some/wheels/releases/download/v1/" + TWO.replace("+", "%2B"), "github:some/wheels",
                  None, 7))
    assert report.error is None and report.age is not None and report.age < 5
    assert [path for path, _ in server.log] == [f"{RELEASES}?per_page=100", f"{RELEASES}?per_page=100&page=2"]


@pytest.mark.parametrize("spec", ["github:some/wheels", "https://github.com/some/wheels", "https://github.com/some/wheels/",
                                  "https://github.com/some/wheels.git", "https://github.com/some/wheels/releases"])
def test_ways_to_name_a_repository(server: WheelServer, network: Network, spec: str) -> None:
    server.serve(RELEASES, answer([release("v1", ONE)]))
    assert names(read(spec, network)) == [ONE]


def test_newest_release_first_and_no_drafts(server: WheelServer, network: Network) -> None:
    dated = [release("v1", ONE, published_at="2026-01-01T00:00:00Z"), release("v0", TWO, published_at="2026-02-01T00:00:00Z"),
             release("v9", "x.whl", draft=True)]
    server.serve(RELEASES, answer(dated))
    assert names(read("github:some/wheels", network)) == [TWO, ONE]
    by_number = parse_listing(json.dumps([release("v0.9.9", ONE), release("v0.9.10", TWO), release("nightly", "x.whl")]), "", "")
    assert [c.filename for c in by_number.files] == [TWO, ONE, "x.whl"]


def test_a_fresh_list_is_not_asked_for_again(server: WheelServer, network: Network) -> None:
    server.serve(RELEASES, answer([release("v1", ONE)]))
    first = read("github:some/wheels", network)
    assert read("github:some/wheels", network).candidates == first.candidates
    assert len(server.log) == 1


def test_an_older_one_is_asked_for_by_etag(server: WheelServer, network: Network) -> None:
    server.serve(RELEASES, in_turn(answer([release("v1", ONE)], ETag='"one"'), status(304), answer([release("v2", TWO)])))
    read("github:some/wheels", network)
    make_older(2)
    report = read("github:some/wheels", network)
    assert names(report) == [ONE] and report.age is not None and report.age < 5
    assert [headers.get("If-None-Match") for _, headers in server.log] == [None, '"one"']
    make_older(2)
    assert names(read("github:some/wheels", network)) == [TWO]


def test_a_token_goes_to_github_and_nowhere_else(server: WheelServer, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_secret")
    with running_server() as elsewhere:
        elsewhere.serve("/more", answer([release("v0", TWO)]))
        server.serve(RELEASES, answer([release("v1", ONE)], Link=f'<{elsewhere.url}/more>; rel="next"'))
        server.serve("/list.json", answer([release("v1", ONE)]))
        heard: list[Words] = []
        report = read("github:some/wheels", network, say=heard.append)
        read(f"{server.url}/list.json", network)
        assert [headers.get("Authorization") for _, headers in server.log] == ["Bearer ghp_secret", None]
        assert elsewhere.log == []
    assert "ghp_secret" not in repr(report) + repr(heard)
    assert not [f for f in cache_dir().rglob("*") if f.is_file() and "ghp_secret" in f.read_text()]


def test_a_token_that_has_run_out_does_not_hide_what_is_public(server: WheelServer, network: Network,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GH_TOKEN", "ghp_old")
    server.serve(RELEASES, in_turn(status(401), answer([release("v1", ONE)])))
    assert names(read("github:some/wheels", network)) == [ONE]
    assert "Authorization" not in server.log[1][1]


def test_rate_limit_says_for_how_long(server: WheelServer, network: Network) -> None:
    server.serve(RELEASES, status(403, X_RateLimit_Remaining=0, X_RateLimit_Reset=int(time.time()) + 1500))
    report = read("github:some/wheels", network)
    assert report.candidates == () and report.code == "mirror-unreachable"
    assert "25 more minutes" in english(report.error) and "GITHUB_TOKEN" in english(report.error)


def reset(handler: Handler) -> None:
    handler.begin(200, Content_Length=1000)
    handler.wfile.write(b"[")
    handler.reset()


TROUBLES: list[tuple[str, Behaviour, str]] = [
    ("rate limit", status(429), "GitHub's limit of requests"),
    ("forbidden", status(403), "403"),
    ("server error", status(500), "500"),
    ("bad gateway", status(502), "502"),
    ("no content", status(204), "204"),
    ("web page", page("<html><a href='/login'>Log in</a></html>"), "login page"),
    ("garbage", answer("[{]"), "damaged JSON"),
    ("cut", answer('[{"tag_name": "v1", "assets": [{"na'), "damaged JSON"),
    ("another list", answer([1, 2]), "no list of wheels"),
    ("an object", answer({"message": "Bad credentials"}), "not a list of releases"),
    ("nothing", answer(""), "not a list of releases"),
    ("reset", reset, "reset"),
    ("circle", redirect(RELEASES), "redirects go round in a circle"),
    ("deep", answer("[" * 100_000), "damaged JSON"),
]


@pytest.mark.parametrize(("behaviour", "words"), [t[1:] for t in TROUBLES], ids=[t[0] for t in TROUBLES])
def test_troubles_are_values_and_an_old_list_serves(server: WheelServer, network: Network, behaviour: Behaviour,
                                                    words: str) -> None:
    server.serve(RELEASES, behaviour)
    report = read("github:some/wheels", network)
    assert report.candidates == () and words in english(report.error), english(report.error)
    assert report.code == "mirror-unreachable"
    assert isinstance(report.error, tuple) and report.error.zh != report.error.en

    server.serve(RELEASES, answer([release("v1", ONE)]))
    read("github:some/wheels", network)
    make_older(30)
    server.serve(RELEASES, behaviour)
    heard: list[Words] = []
    report = read("github:some/wheels", network, say=heard.append)
    assert names(report) == [ONE] and words in english(report.error)
    assert report.age is not None and 30 * 3600 <= report.age < 30 * 3600 + 60
    assert "30.0 hours" in english(heard[0])


def test_no_such_repository_is_said_even_with_an_old_list(server: WheelServer, network: Network) -> None:
    server.serve(RELEASES, answer([release("v1", ONE)]))
    read("github:some/wheels", network)
    make_older(2)
    server.serve(RELEASES, status(404))
    report = read("github:some/wheels", network)
    assert "no repository some/wheels" in english(report.error) and report.candidates == ()


@pytest.mark.parametrize("kind", ["silent", "body", "headers"])
def test_a_server_that_takes_its_time_is_given_up(server: WheelServer, network: Network, kind: str) -> None:
    behaviour = {"silent": silent(server.over), "body": trickle(b"[" * 1000, server.over),
                 "headers": trickle(b"[" * 1000, server.over, headers_too=True)}[kind]
    server.serve(RELEASES, behaviour)
    begun = time.monotonic()
    assert "no answer in time" in english(read("github:some/wheels", network).error)
    assert time.monotonic() - begun < 3


def test_nobody_listens(network: Network) -> None:
    report = read("github:some/wheels", replace(network, api=f"http://127.0.0.1:{free_port()}"))
    assert "connection refused" in english(report.error)


def test_a_host_that_is_none(network: Network) -> None:
    assert read("https://no-such-host.invalid/simple/", network).error


def test_a_certificate_that_nobody_signed(network: Network, tmp_path: Path) -> None:
    with running_server(make_certificate(tmp_path, days=1)) as strange:
        strange.serve("/list.json", answer([release("v1", ONE)]))
        report = read(f"{strange.url}/list.json", network)
    assert report.code == "tls-failed" and report.candidates == ()


def test_half_a_list_is_used_and_said(server: WheelServer, network: Network) -> None:
    first = answer([release("v2", ONE)], Link=f'<{server.url}{RELEASES}?page=2>; rel="next"')
    server.serve(RELEASES, in_turn(first, status(500)))
    report = read("github:some/wheels", network)
    assert names(report) == [ONE] and "500" in english(report.error)


def test_pages_that_lead_back_come_to_an_end(server: WheelServer, network: Network) -> None:
    server.serve(RELEASES, answer([release("v2", ONE)], Link=f'<{server.url}{RELEASES}?page=2>; rel="next"'))
    assert set(names(read("github:some/wheels", network))) == {ONE}


def test_the_projects_own_list_where_the_api_fails(server: WheelServer, network: Network) -> None:
    own = server.serve("/data/releases.json", answer({"generatedAt": "x", "releases": [release("v1", ONE)]}))
    server.serve(RELEASES, status(403, X_RateLimit_Remaining=0))
    heard: list[Words] = []
    report = read("github:some/wheels", replace(network, published={"some/wheels": own}), say=heard.append)
    assert names(report) == [ONE] and report.candidates[0].sha256 == DIGEST and report.error is None
    assert "own page" in english(heard[0])
    server.serve("/data/releases.json", status(500))
    (cache_dir() / "indexes").rename(cache_dir() / "gone")
    report = read("github:some/wheels", replace(network, published={"some/wheels": own}))
    assert "GitHub's limit of requests" in english(report.error)


# Indexes ------------------------------------------------------------------------------------------------------------

SIMPLE = f"""<!DOCTYPE html><html><body>
<a href="../../files/{ONE.replace('+', '%2B')}#sha256={DIGEST}" data-requires-python="&gt;=3.9">{ONE}</a><br/>
<a href="https://files.example.org/{TWO}">{TWO}</a>
<a href="x-1-py3-none-any.whl" data-yanked="broken">x</a>
</body></html>"""


@pytest.mark.parametrize("spec", ["/simple/", "/simple", "/simple/cu124/", "/simple/cu124", "/simple/flash-attn/",
                                  "/simple/flash_attn"])
def test_pep_503(server: WheelServer, network: Network, spec: str) -> None:
    for path in ("/simple/flash-attn/", "/simple/cu124/flash-attn/"):
        server.serve(path, page(SIMPLE))
    server.serve("/simple/flash_attn", redirect("/simple/flash-attn/"))
    server.serve("/simple/cu124", redirect("/simple/cu124/"))
    server.serve("/simple/cu124/", page('<a href="torch/">torch</a><a href="flash-attn/">flash-attn</a>'))
    report = read(server.url + spec, network)
    folder = "/simple/files/" if "cu124" in spec else "/files/"
    assert report.candidates == (
        Candidate(ONE, f"{server.url}{folder}{ONE.replace('+', '%2B')}", server.url + spec, DIGEST),
        Candidate(TWO, f"https://files.example.org/{TWO}", server.url + spec))
    assert report.error is None
    assert names(read(server.url + spec, network)) == [ONE, TWO]  # from the cache


def test_pep_691(server: WheelServer, network: Network) -> None:
    server.serve("/simple/flash-attn-4/", answer({"meta": {"api-version": "1.1"}, "name": "flash-attn-4", "files": [
        {"filename": "flash_attn_4-4.0.0b5-py3-none-any.whl", "url": "/f/flash_attn_4-4.0.0b5-py3-none-any.whl",
         "hashes": {"sha256": DIGEST.upper()}, "size": 12},
        {"filename": "flash_attn_4-4.0.0b4-py3-none-any.whl", "url": "f", "hashes": {}, "yanked": "bad"}, "nonsense"]},
        Content_Type="application/vnd.pypi.simple.v1+json"))
    report = read(f"{server.url}/simple/", network, implementation="flash_attention_4")
    assert report.candidates == (Candidate("flash_attn_4-4.0.0b5-py3-none-any.whl",
                                           f"{server.url}/f/flash_attn_4-4.0.0b5-py3-none-any.whl", report.spec, DIGEST, 12),)
    assert "vnd.pypi.simple" in server.log[0][1]["Accept"]


def test_the_root_of_an_index_is_never_read(server: WheelServer, network: Network) -> None:
    server.serve("/simple/", page("<a href='torch/'>torch</a>"))
    report = read(f"{server.url}/simple/", network, implementation="flash_attention_3")
    assert "404" in english(report.error)
    assert [path for path, _ in server.log] == ["/simple/flash-attn-3/"]


def test_a_page_of_links_and_an_index_elsewhere(server: WheelServer, network: Network) -> None:
    server.serve("/find-links/", page(f"<base href='{server.url}/deep/'><a href='{ONE}'>here</a>"))
    assert read(f"{server.url}/find-links/", network).candidates[0].url == f"{server.url}/deep/{ONE}"
    server.serve("/index", answer({"projects": [{"name": "Flash_Attn"}, {"name": "torch"}]}))
    server.serve("/Flash_Attn/", page(SIMPLE))
    assert names(read(f"{server.url}/index", network)) == [ONE, TWO]


def test_cuda_in_an_address(server: WheelServer, network: Network) -> None:
    server.serve("/simple/cu124/flash-attn/", page(SIMPLE))
    spec = f"{server.url}/simple/{{cuda}}/"
    assert names(read(spec, network, cuda=Version("12.4"))) == [ONE, TWO]
    assert "CUDA version is not known" in english(read(spec, network).error)


def test_an_index_without_flash_attn(server: WheelServer, network: Network) -> None:
    server.serve("/root/", page("<a href='torch/'>torch</a>"))
    assert "no files of flash-attn" in english(read(f"{server.url}/root/", network).error)


@pytest.mark.parametrize("body", [
    [release("v1", ONE)], {"releases": [release("v1", ONE)]}, release("v1", ONE), [ONE], ONE + "\n",
    f"# by hand\n{ONE}#sha256={DIGEST}\n", f"https://example.org/{ONE}",
])
def test_saved_lists_at_an_address_and_in_a_file(server: WheelServer, network: Network, tmp_path: Path, body: object) -> None:
    server.serve("/lists/some.json", answer(body))
    file = tmp_path / "some list.json"
    file.write_text(body if isinstance(body, str) else json.dumps(body))
    for spec in (f"{server.url}/lists/some.json", str(file), file.as_uri()):
        report = read(spec, network)
        assert names(report) == [ONE] and report.error is None
        url = report.candidates[0].url
        assert url.startswith(("https://", f"{server.url}/lists/", tmp_path.as_uri())) and "#" not in url
    assert report.age is None


def test_passwords_stay_out_of_reports(server: WheelServer, network: Network) -> None:
    server.serve("/simple/flash-attn/", page(SIMPLE))
    report = read(server.url.replace("//", "//me:secret@") + "/simple/", network)
    assert names(report) == [ONE, TWO]
    assert "secret" not in report.spec + report.candidates[0].source
    assert server.log[0][1]["Authorization"].startswith("Basic ")


# Files, folders, several at once ------------------------------------------------------------------------------------


def test_a_wheel_by_address_or_path(network: Network, tmp_path: Path) -> None:
    url = f"https://example.org/{ONE.replace('+', '%2B')}"
    assert read(f"{url}#sha256={DIGEST}", network).candidates == (Candidate(ONE, url, f"{url}#sha256={DIGEST}", DIGEST),)
    wheel = tmp_path / ONE
    wheel.write_bytes(b"PK..")
    assert read(str(wheel), network).candidates == (Candidate(ONE, wheel.as_uri(), str(wheel), None, 4),)
    assert read(f"{wheel.as_uri()}#sha256={DIGEST}", network).candidates[0].sha256 == DIGEST
    assert read(os.path.relpath(wheel), network).candidates[0].url == wheel.as_uri()


def test_a_folder(network: Network, tmp_path: Path) -> None:
    for name in (TWO, ONE, "README.md"):
        (tmp_path / name).write_bytes(b"1234")
    assert names(read(str(tmp_path), network)) == [TWO, ONE]
    assert read(str(tmp_path), network).candidates[0].url == (tmp_path / TWO).as_uri()


@pytest.mark.parametrize(("content", "words"), [
    (None, "no such file"), ("", "no list"), ("hello", "no list"), ("{}", "no list"), ("[1]", "no list"), ("[", "damaged"),
    ("<html></html>", "web page"), (b"PK\x03\x04\xff\xfe", "cannot be read"),
])
def test_bad_files(network: Network, tmp_path: Path, content: str | bytes | None, words: str) -> None:
    file = tmp_path / "list.json"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    report = read(str(file), network)
    assert words in english(report.error) and report.candidates == ()


@pytest.mark.parametrize("spec", ["http://[", "https://[x]/simple/", "http://", "http:///x", "https://a b/", "ftp://x/y", "//"])
def test_addresses_that_are_none(network: Network, spec: str) -> None:
    report = read(spec, network)
    assert report.error and report.candidates == ()


@pytest.mark.parametrize("text", [
    f'<a href="http://[">x</a><a href="https://example.org/{ONE}">y</a>', json.dumps(["http://[/x.whl", ONE]),
    json.dumps([release("v1", ONE, "x") | {"assets": [{"name": ONE, "browser_download_url": u} for u in ("http://[", "/y")]}]),
    json.dumps({"files": [{"url": "http://["}, {"url": f"/{ONE}"}]}),
])
def test_one_bad_address_does_not_spoil_a_list(text: str) -> None:
    assert [c.filename for c in parse_listing(text, "https://example.org/", "test").files] == [ONE]


@pytest.mark.parametrize("text", ["<![nonsense", "<!DOCTYPE [", "<", "<a href", "<!-- ", "<a href='x'"])
def test_a_damaged_page_is_an_error(text: str) -> None:
    with pytest.raises(ListingError):
        parse_listing(text, "https://example.org/", "test")


def test_a_folder_that_may_not_be_read_or_an_empty_name(network: Network) -> None:
    assert read("\0", network).error
    assert read("~nobody-at-all/x", network).error


PAGES = Path(__file__).with_name("pages")
PAGE = PAGES / "pytorch-cu130-flash-attn-3.html"


@pytest.mark.parametrize(("file", "implementation", "first", "count", "digests"), [
    ("pypi-flash-attn.html", "flash_attn", "flash_attn-2.8.3.tar.gz", 3, 3),
    ("pypi-flash-attn.json", "flash_attn", "flash_attn-2.8.3.tar.gz", 2, 2),
    ("pypi-flash-linear-attention.json", "flash_attn", "flash_linear_attention-0.6.0-py3-none-any.whl", 2, 2),
    ("pypi-causal-conv1d.json", "causal_conv1d", "causal_conv1d-1.6.1.tar.gz", 2, 2),
    ("mjun0812-releases.json", "flash_attn", "flash_attn_3-3.0.0+cu124torch2.5gite2743ab-cp39-abi3-linux_x86_64.whl", 6, 0),
    ("github-causal-conv1d.json", "causal_conv1d", "causal_conv1d-1.7.0+cu12torch2.10cxx11abiTRUE-cp312-cp312-linux_x86_64.whl",
     8, 5),
    (PAGE.name, "flash_attention_3", "flash_attn_3-3.0.0-cp39-abi3-manylinux_2_28_x86_64.whl", 2, 2)])
def test_the_pages_that_are_kept(network: Network, file: str, implementation: str, first: str, count: int, digests: int) -> None:
    report = read(str(PAGES / file), network, implementation=implementation)
    assert report.error is None and first in names(report)
    assert (len(report.candidates), sum(c.sha256 is not None for c in report.candidates)) == (count, digests), names(report)
    told = (PAGES / "README.md").read_text("utf-8")
    assert all(f"`{path.name}`" in told for path in PAGES.iterdir() if path.suffix != ".md")


@pytest.mark.parametrize(("change", "chosen"), [
    ({}, "1.7.0+cu12torch2.8cxx11abiTRUE-cp311-cp311-linux_x86_64"),
    ({"torch__version": "2.6.0+cu124", "torch__cuda": "12.4", "torch__cxx11_abi": False,
      "python": {"version": "3.10.1", "abi": "cp310"}},
     "1.6.1+cu12torch2.6cxx11abiFALSE-cp310-cp310-linux_x86_64"),
    ({"host__machine": "aarch64", "python": {"version": "3.12.1", "abi": "cp312"}},
     "1.6.1+cu12torch2.8cxx11abiTRUE-cp312-cp312-linux_aarch64"),
    ({"torch__version": "2.13.0+cu130", "torch__cuda": "13.0", "python": {"version": "3.12.1", "abi": "cp312"}}, None)])
def test_causal_conv1d_is_chosen_from_its_releases(network: Network, change: dict[str, Any], chosen: str | None) -> None:
    offered = read(str(PAGES / "github-causal-conv1d.json"), network, implementation="causal_conv1d").candidates
    found = choose_wheel(machine(**change), offered, implementation="causal_conv1d", build="never").chosen
    assert (found and found.filename) == (chosen and f"causal_conv1d-{chosen}.whl")


@pytest.mark.parametrize(("cuda", "asked"), [("13.0", ["cu130"]), ("13.2", ["cu132", "cu130"])])
def test_pytorchs_page_of_flash_attention_3(server: WheelServer, network: Network, cuda: str, asked: list[str]) -> None:
    """Its server says 403 of a folder that is not there; any CUDA of the same major will do."""
    server.serve("/whl/cu130/flash-attn-3/", page(PAGE.read_text()))
    server.serve("/whl/cu132/flash-attn-3/", status(403))
    report = read(f"{server.url}/whl/{{cuda}}/flash-attn-3/", network, implementation="flash_attention_3", cuda=Version(cuda))
    assert [path.split("/")[2] for path, _ in server.log] == asked and report.error is None
    assert [(c.url, c.sha256) for c in report.candidates] == [
        (f"{server.url}/whl/cu130/flash_attn_3-3.0.0-cp39-abi3-manylinux_2_28_x86_64.whl", "1" * 64),
        (f"{server.url}/whl/cu130/flash_attn_3-3.0.0-cp39-abi3-manylinux_2_34_aarch64.whl", "2" * 64)]


def test_sources_keep_their_order_and_one_failure_is_its_own(server: WheelServer, network: Network, tmp_path: Path) -> None:
    (tmp_path / ONE).write_bytes(b"1")
    server.serve("/repos/slow/slow/releases", silent(server.over))
    server.serve(RELEASES, answer([release("v1", TWO)]))
    begun = time.monotonic()
    reports = read_sources(["github:slow/slow", str(tmp_path), "github:some/wheels", "github:slow/slow"], network=network)
    assert time.monotonic() - begun < 2.5  # at the same time, not one after the other
    assert [names(report) for report in reports] == [[], [ONE], [TWO], []]
    assert [bool(report.error) for report in reports] == [True, False, False, True]
    assert read_sources([], network=network) == ()


def test_offline_asks_nobody(server: WheelServer, network: Network) -> None:
    server.serve(RELEASES, answer([release("v1", ONE)]))
    offline = replace(network, offline=True)
    assert "offline" in english(read("github:some/wheels", offline).error)
    read("github:some/wheels", network)
    make_older(100)
    report = read("github:some/wheels", offline)
    assert names(report) == [ONE]
    assert len(server.log) == 1


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"url": 1}', b"\xff"])
def test_a_damaged_cache_is_asked_anew(server: WheelServer, network: Network, damage: bytes) -> None:
    server.serve(RELEASES, answer([release("v1", ONE)]))
    read("github:some/wheels", network)
    for file in (cache_dir() / "indexes").iterdir():
        file.write_bytes(damage)
    assert names(read("github:some/wheels", network)) == [ONE]
    assert len(server.log) == 2


def test_a_cache_that_cannot_be_written(server: WheelServer, network: Network) -> None:
    cache_dir().mkdir(parents=True)
    (cache_dir() / "indexes").write_text("a file where the folder should be")
    server.serve(RELEASES, answer([release("v1", ONE)]))
    assert names(read("github:some/wheels", network)) == [ONE]


def test_two_at_once_share_the_cache(server: WheelServer, network: Network) -> None:
    server.serve(RELEASES, answer([release("v1", ONE)]))
    threads = [threading.Thread(target=read, args=("github:some/wheels", network)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [f.suffix for f in (cache_dir() / "indexes").iterdir()] == [".json"]


def test_a_proxy_of_the_environment_is_used(server: WheelServer, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    server.serve("http://intranet.example/list.json", answer([release("v1", ONE)]))
    assert names(read("http://intranet.example/list.json", network)) == [ONE]


@given(st.text() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(
    st.sampled_from(["assets", "releases", "files", "name", "url", "tag_name", "hashes", "projects", "browser_download_url"]),
    x)).map(json.dumps))
def test_any_text_is_a_list_or_an_error(text: str) -> None:
    try:
        listing = parse_listing(text, "https://example.org/", "test")
    except ListingError as error:
        assert english(error.words)
    else:
        assert all(isinstance(c.filename, str) and isinstance(c.url, str) for c in listing.files)


def test_the_published_list_is_read_whole(shared: Path, network: Network) -> None:
    report = read(str(shared / "wheels/releases-mjun0812.json"), network)
    assert len(report.candidates) == 3567
    assert "/v0.9.52/" in report.candidates[0].url and "/v0.0.0/" in report.candidates[-1].url
