"""SwanLab's cloud on 127.0.0.1: logs in, makes projects and experiments, takes metrics, and keeps what it was sent.

The paths are those that swanlab 0.10.3 asks for (swanlab/sdk/internal/core_python/api). `/hook` is a chat's webhook.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USER = "tester"
LATER = "2099-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    authorization: str | None
    body: Any


@dataclass
class FakeSwanLab:
    """keys: the keys that may log in, None for every one. status: what a login is answered with instead."""

    keys: tuple[str, ...] | None = None
    status: int | None = None
    requests: list[Request] = field(default_factory=list)
    projects: set[str] = field(default_factory=set)
    experiments: set[str] = field(default_factory=set)
    address: str = ""

    def asked(self, method: str, ending: str) -> list[Request]:
        """The requests of this method whose path ends so."""
        return [r for r in self.requests if r.method == method and r.path.endswith(ending)]

    @property
    def metrics(self) -> set[str]:
        """Names of the scalars that arrived."""
        sent = [r.body for r in self.asked("POST", "/house/metrics") if r.body.get("type") == "scalar"]
        return {name for body in sent for metric in body["metrics"] for name in _names(metric)}

    def answer(self, request: Request) -> tuple[int, Any]:
        path, method = request.path.removeprefix("/api"), request.method
        if path == "/login/api_key":
            if self.status is not None:
                return self.status, {}
            if self.keys is not None and request.authorization not in self.keys:
                return 401, {"code": "Unauthorized"}
            return 200, {"sid": "session", "expiredAt": LATER, "userInfo": {"username": USER, "name": USER}}
        if method == "POST" and path == f"/projects/{USER}":
            self.projects.add(request.body["name"])
            return 201, {}
        parts = path.strip("/").split("/")
        if parts[0] == "project" and len(parts) == 3:
            return self._project(parts[1], parts[2])
        if method == "POST" and parts[0] == "project" and parts[-1] == "experiment":
            run = {"cuid": request.body["cuid"], "slug": request.body["cuid"], "name": request.body["name"]}
            if run["cuid"] in self.experiments:
                return 200, {**run, "createdAt": "2026-01-01T00:00:00.000Z"}
            self.experiments.add(run["cuid"])
            return 201, run
        return 200, {"code": 0}

    def _project(self, user: str, name: str) -> tuple[int, Any]:
        if name not in self.projects:
            return 404, {"code": "Not_Found"}
        return 200, {"cuid": "p" + name, "name": name, "path": f"/{user}/{name}", "visibility": "PRIVATE", "version": 1,
                     "group": {"username": user}, "_count": {"experiments": 0}}


@contextmanager
def fake_swanlab(keys: tuple[str, ...] | None = None, status: int | None = None) -> Iterator[FakeSwanLab]:
    """A server that listens until the end of the block."""
    fake = FakeSwanLab(keys, status)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    fake.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(fake: FakeSwanLab) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            try:
                body = json.loads(raw) if raw else None
            except ValueError:
                body = raw.decode("utf-8", "replace")
            path = self.path.partition("?")[0]
            request = Request(self.command, path, self.headers.get("authorization"), body)
            fake.requests.append(request)
            status, data = fake.answer(request)
            answer = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _names(metric: Any) -> list[str]:
    return [metric["key"]] if isinstance(metric, dict) and "key" in metric else []
