"""A real HTTP server on 127.0.0.1 that plays origin and mirrors: it truncates, stalls, lies and redirects as told."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Behaviour = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        routes: dict[str, Behaviour] = self.server.routes  # type: ignore[attr-defined]
        log: list[tuple[str, dict[str, str]]] = self.server.log  # type: ignore[attr-defined]
        log.append((self.path, dict(self.headers)))
        self.close_connection = True
        with suppress(BrokenPipeError, ConnectionResetError):
            routes.get(self.path.partition("?")[0], status(404))(self)

    def log_message(self, *_: object) -> None:
        pass

    def begin(self, code: int, **headers: object) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Connection", "close")
        self.end_headers()

    def asked_from(self) -> int:
        """The first byte that the client wants."""
        found = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found.group(1)) if found else 0

    def send_slice(self, data: bytes, ranges: bool, etag: str, upto: int | None = None) -> None:
        """The headers of a whole or partial answer and the bytes up to `upto`."""
        start = self.asked_from() if ranges else 0
        if self.headers.get("If-Range", etag) != etag:
            start = 0
        found = re.match(r"bytes=\d+-(\d+)", self.headers.get("Range", ""))
        end = min(int(found.group(1)) + 1, len(data)) if found and ranges else len(data)
        if ranges and "Range" in self.headers and self.headers.get("If-Range", etag) == etag:
            self.begin(206, Content_Length=end - start, Content_Range=f"bytes {start}-{end - 1}/{len(data)}", ETag=etag)
        else:
            self.begin(200, Content_Length=len(data), ETag=etag)
            end = len(data)
        self.wfile.write(data[start:end if upto is None else min(upto, end)])

    def reset(self) -> None:
        """Ends the connection with RST."""
        self.wfile.flush()
        time.sleep(0.05)  # what was sent must arrive first
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


def good(data: bytes, *, ranges: bool = True, etag: str = '"one"') -> Behaviour:
    return lambda handler: handler.send_slice(data, ranges, etag)


def status(code: int, **headers: object) -> Behaviour:
    return lambda handler: handler.begin(code, Content_Length=0, **headers)


def redirect(target: str) -> Behaviour:
    return status(302, Location=target)


def page(text: str) -> Behaviour:
    def behave(handler: Handler) -> None:
        handler.begin(200, Content_Length=len(text.encode()), Content_Type="text/html")
        handler.wfile.write(text.encode())
    return behave


def reset_after(data: bytes, count: int, *, ranges: bool = True, etag: str = '"one"') -> Behaviour:
    """Every answer breaks off with RST after `count` more bytes."""
    def behave(handler: Handler) -> None:
        handler.send_slice(data, ranges, etag, (handler.asked_from() if ranges else 0) + count)
        handler.reset()
    return behave


def ends_after(data: bytes, count: int) -> Behaviour:
    """Promises all, sends `count` bytes, closes without a word."""
    return lambda handler: handler.send_slice(data, False, '"one"', count)


def silent(event: threading.Event) -> Behaviour:
    """Takes the request and never answers."""
    return lambda handler: (event.wait(30), None)[1]


def trickle(data: bytes, event: threading.Event, *, headers_too: bool = False) -> Behaviour:
    """One byte at a time, for ever."""
    def behave(handler: Handler) -> None:
        if headers_too:
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n" * 50:
                handler.wfile.write(bytes([byte]))
                if event.wait(0.1):
                    return
        handler.begin(200, Content_Length=len(data), ETag='"one"')
        for byte in data:
            handler.wfile.write(bytes([byte]))
            if event.wait(0.1):
                return
    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """The first request meets the first behaviour, …, and all later ones the last."""
    left = list(behaviours)

    def behave(handler: Handler) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(handler)
    return behave


@dataclass
class WheelServer:
    url: str
    routes: dict[str, Behaviour]
    log: list[tuple[str, dict[str, str]]]
    over: threading.Event = field(default_factory=threading.Event)  # set when the test ends: lets stalls go

    def serve(self, path: str, behaviour: Behaviour) -> str:
        """The address under which `behaviour` now answers."""
        self.routes[path] = behaviour
        return self.url + path

    def asked(self, path: str) -> list[dict[str, str]]:
        """The headers of every request for `path`, in order."""
        return [headers for asked, headers in self.log if asked == path]


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def running_server(certificate: Path | None = None, host: str = "127.0.0.1") -> Iterator[WheelServer]:
    """A server on a free port; with `certificate` (PEM with its key) it speaks TLS."""
    http = _Quiet((host, 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        http.socket = context.wrap_socket(http.socket, server_side=True)
    scheme = "https" if certificate else "http"
    server = WheelServer(f"{scheme}://{host}:{http.server_port}", {}, [])
    http.routes, http.log = server.routes, server.log  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        http.shutdown()
        http.server_close()
        thread.join()


def make_certificate(folder: Path, *, days: int) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key in one PEM file; with negative `days` it has expired."""
    key, request, extension = folder / "key", folder / "request", folder / "extension"
    extension.write_text("subjectAltName=IP:127.0.0.1\n")
    for command in (
        ["req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", "/CN=127.0.0.1"],
        ["x509", "-req", "-in", request, "-signkey", key, "-days", str(days), "-extfile", extension,
         "-out", folder / "cert"],
    ):
        subprocess.run(["openssl", *command], capture_output=True, check=True)
    pem = folder / f"certificate{days}.pem"
    pem.write_text(key.read_text() + (folder / "cert").read_text())
    return pem


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
