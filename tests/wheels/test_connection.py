"""An installation goes where the preflight goes: through the proxies and with the certificates of the config's environment."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

import pytest
from wheel_factory import flash_attn_wheel, sha256
from wheel_server import WheelServer, free_port, good, make_certificate, page, redirect, running_server

from swift_fa_launcher.errors import render_words
from swift_fa_launcher.flash.hosts import is_trusted
from swift_fa_launcher.flash.name import Candidate
from swift_fa_launcher.machine.network import Question, ask
from swift_fa_launcher.wheels.download import AllRefused, Fetched, Patience, download_wheel
from swift_fa_launcher.wheels.sources import Network, SourceReport, read_source

QUICK = Patience(probe=0.5, connect=2.0, answer=2.0, silence=2.0, pause=0.02)
WAYS_OUT = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
                               "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


class Tunnel(BaseRequestHandler):
    """A proxy's answer to CONNECT: bytes to and fro, whatever they are."""

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (chunk := self.request.recv(4096)):
            head += chunk
        method, target = head.decode("latin-1").split()[:2]
        self.server.asked.append(f"{method} {target}")  # type: ignore[attr-defined]
        host, port = target.rsplit(":", 1)
        with suppress(OSError), socket.create_connection((host, int(port))) as there:
            self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=self.pump, args=(there, self.request), daemon=True)
            back.start()
            self.pump(self.request, there)
            back.join(5)

    @staticmethod
    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def running_proxy() -> Iterator[tuple[str, list[str]]]:
    """(the address of a proxy for TLS, what it was asked for)."""
    ThreadingTCPServer.daemon_threads = True
    with ThreadingTCPServer(("127.0.0.1", 0), Tunnel) as server:
        server.asked = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", server.asked  # type: ignore[attr-defined]
        server.shutdown()


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher's own environment knows no way out: a proxy that is not there, and no certificate."""
    for name in WAYS_OUT:
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return flash_attn_wheel(tmp_path / "made")


@pytest.fixture
def secure(tmp_path: Path, wheel: Path) -> Iterator[tuple[WheelServer, Path]]:
    """A server of TLS that has the wheel and an index of it, and the certificate that vouches for it."""
    certificate = make_certificate(tmp_path, days=3)
    with running_server(certificate) as server:
        server.serve(f"/{wheel.name}", good(wheel.read_bytes()))
        server.serve("/simple/flash-attn/", page(f'<a href="/{wheel.name}#sha256={sha256(wheel)}">{wheel.name}</a>'))
        yield server, certificate


def listed(server: WheelServer, environment: dict[str, str]) -> SourceReport:
    return read_source(f"{server.url}/simple/", network=Network(connect=2.0, silence=2.0, whole=3.0, environment=environment))


def fetched(wheel: Path, url: str, cache: Path, environment: dict[str, str], digest: str | None = None) -> Fetched:
    return download_wheel(Candidate(wheel.name, url, "test", digest), (url,), cache, environment=environment, patience=QUICK)


@pytest.mark.parametrize("names", [("HTTPS_PROXY", "REQUESTS_CA_BUNDLE"), ("https_proxy", "SSL_CERT_FILE"),
                                   ("ALL_PROXY", "CURL_CA_BUNDLE"), ("all_proxy", "REQUESTS_CA_BUNDLE")])
def test_the_configs_proxy_and_certificate_serve_question_list_and_wheel(
        secure: tuple[WheelServer, Path], wheel: Path, tmp_path: Path, names: tuple[str, str]) -> None:
    server, certificate = secure
    with running_proxy() as (proxy, asked):
        environment = {names[0]: proxy, names[1]: str(certificate)}
        assert ask(Question("here", f"{server.url}/simple/flash-attn/", "GET"), environment).status == 200
        report = listed(server, environment)
        assert [candidate.filename for candidate in report.candidates] == [wheel.name] and report.error is None
        got = fetched(wheel, f"{server.url}/{wheel.name}", tmp_path / "cache", environment)
        assert got.path.read_bytes() == wheel.read_bytes() and got.verified
        assert asked == [f"CONNECT {server.url.removeprefix('https://')}"] * 3


def test_no_proxy_of_the_config_is_a_direct_connection(secure: tuple[WheelServer, Path], wheel: Path, tmp_path: Path) -> None:
    server, certificate = secure
    environment = {"HTTPS_PROXY": f"http://127.0.0.1:{free_port()}", "NO_PROXY": "127.0.0.1", "SSL_CERT_FILE": str(certificate)}
    assert listed(server, environment).candidates
    assert fetched(wheel, f"{server.url}/{wheel.name}", tmp_path / "cache", environment).verified
    del environment["NO_PROXY"]
    report = listed(server, environment)
    with pytest.raises(AllRefused) as error:
        fetched(wheel, f"{server.url}/{wheel.name}", tmp_path / "other", environment)
    assert "proxy" in render_words(error.value.refused[0].reason, "en") and report.error is None  # the list of a moment ago


def test_a_certificate_that_nobody_vouches_for_is_said_alike(secure: tuple[WheelServer, Path], wheel: Path,
                                                             tmp_path: Path) -> None:
    server, _ = secure
    report = listed(server, {})
    with pytest.raises(AllRefused) as error:
        fetched(wheel, f"{server.url}/{wheel.name}", tmp_path / "cache", {})
    refusal = error.value.refused[0]
    assert report.code == refusal.code == "tls-failed" and report.error == refusal.reason
    assert "self-signed" in render_words(refusal.reason, "en")


def test_a_way_from_tls_to_an_open_connection_is_refused_alike(secure: tuple[WheelServer, Path], wheel: Path,
                                                               tmp_path: Path) -> None:
    server, certificate = secure
    with running_server() as plain:
        server.serve("/down/flash-attn/", redirect(plain.serve("/list", page("<a href='x.whl'>x</a>"))))
        server.serve("/down.whl", redirect(plain.serve("/wheel", good(wheel.read_bytes()))))
        environment = {"SSL_CERT_FILE": str(certificate)}
        report = read_source(f"{server.url}/down/", network=Network(whole=3.0, environment=environment))
        with pytest.raises(AllRefused) as error:
            fetched(wheel, f"{server.url}/down.whl", tmp_path / "cache", environment, sha256(wheel))
        assert report.code == error.value.refused[0].code == "tls-failed" and not plain.log
        assert "redirects from TLS" in str(report.error) and "redirects from TLS" in str(error.value.refused[0].reason)


def test_a_password_goes_on_with_a_redirect_to_the_same_server_alone(wheel: Path) -> None:
    with running_server() as index, running_server(host="127.0.0.2") as stranger:
        listing = page(f'<a href="/{wheel.name}">{wheel.name}</a>')
        index.serve("/simple/flash-attn/", redirect(index.serve("/moved/", listing)))
        index.serve("/away/flash-attn/", redirect(stranger.serve("/list/", listing)))
        address = index.url.replace("http://", "http://me:secret@")
        for path in ("/simple/", "/away/"):
            assert read_source(f"{address}{path}", network=Network(whole=3.0, environment={})).candidates
        assert all("Authorization" in headers for _, headers in index.log)
        assert stranger.log and not any("Authorization" in headers for _, headers in stranger.log)


def test_the_command_takes_the_configs_way(secure: tuple[WheelServer, Path], wheel: Path, tmp_path: Path) -> None:
    server, certificate = secure
    facts: dict[str, Any] = {
        "schema": 1, "host": {"os": "Linux", "machine": "x86_64", "glibc": "2.35"},
        "python": {"version": "3.10.14", "implementation": "CPython", "abi": "cp310"},
        "torch": {"version": "2.6.0+cu124", "cuda": "12.4", "hip": None, "npu": None, "cxx11_abi": False},
        "gpus": [{"index": 0, "compute_capability": "9.0"}], "packages": {"transformers": "4.55.4", "einops": "0.8"}}
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    with running_proxy() as (proxy, asked):
        done = subprocess.run(
            [sys.executable, "-m", "swift_fa_launcher", "install", "--facts", "facts.json", "--download-only", "usb", "--index",
             f"{server.url}/simple/", f"env.HTTPS_PROXY={proxy}", f"env.SSL_CERT_FILE={certificate}"],
            capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False,
            env={**os.environ, "SWIFT_FA_CACHE": str(tmp_path / "cache"), "LANG": "C.UTF-8"})
        assert len(asked) == 2, done.stderr  # the list, and the wheel, whose inside is then found to be no flash-attn
        assert "no compiled extension" in done.stderr


# Whose word is taken ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("url", "trusted"), [
    ("https://wheels.example/x.whl", True), ("http://wheels.example/x.whl", False), ("HTTP://wheels.example/x.whl", False),
    ("http://10.0.0.7/x.whl", False), ("http://wheels.local/x.whl", False), ("ftp://wheels.example/x.whl", False),
    ("http://127.0.0.1:8000/x.whl", True), ("http://[::1]/x.whl", True), ("http://localhost/x.whl", True),
    ("http://127.0.0.1.example.org/x.whl", False), ("http://localhost.example.org/x.whl", False),
    ("http://127.0.0.1@example.org/x.whl", False), ("file:///x.whl", True)])
def test_plain_http_is_nobodys_word(url: str, trusted: bool) -> None:
    assert is_trusted(url) is trusted


def test_without_a_digest_nothing_is_taken_over_plain_http(wheel: Path, tmp_path: Path) -> None:
    """The proxy really gives the file, and it is the wheel's own address: anybody on the way could have written it."""
    with running_server() as proxy:
        url = f"http://wheels.invalid/{wheel.name}"
        proxy.serve(url, good(wheel.read_bytes()))
        environment = {"HTTP_PROXY": proxy.url}
        with pytest.raises(AllRefused) as error:
            fetched(wheel, url, tmp_path / "cache", environment)
        assert [refusal.code for refusal in error.value.refused] == ["unverified"] and not proxy.log
        assert fetched(wheel, url, tmp_path / "cache", environment, sha256(wheel)).verified  # a digest from elsewhere vouches


def test_this_machines_word_ends_where_it_sends_one_away(wheel: Path, tmp_path: Path) -> None:
    with running_server() as here:
        url = here.serve("/x.whl", redirect("http://wheels.invalid/x.whl"))
        here.serve("http://wheels.invalid/x.whl", good(wheel.read_bytes()))
        environment = {"HTTP_PROXY": here.url, "NO_PROXY": "127.0.0.1"}
        with pytest.raises(AllRefused) as error:
            fetched(wheel, url, tmp_path / "cache", environment)
        assert [refusal.code for refusal in error.value.refused] == ["unverified"]
