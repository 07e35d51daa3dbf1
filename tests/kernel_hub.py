"""A kernel hub on this machine, as `kernels` 0.17 and huggingface_hub 1.33 ask the real one: HF_ENDPOINT names it.

It has one kernel, of Python alone, whose flash_attn_varlen_func is plain attention, row by row.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

REPO, VERSION, COMMIT = "kernels-community/flash-attn2", 3, "0123456789abcdef0123456789abcdef01234567"
UNIVERSAL = "torch-universal"
KERNEL = '''
import torch
from torch.nn.functional import scaled_dot_product_attention


def flash_attn_varlen_func(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p=0.0, softmax_scale=None,
                           causal=False, window_size=(-1, -1), softcap=0.0):
    found, (left, right) = [], window_size
    k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], dim=1) for t in (k, v))
    for q0, q1, k0, k1 in zip(cu_seqlens_q, cu_seqlens_q[1:], cu_seqlens_k, cu_seqlens_k[1:]):
        rows = [t.transpose(0, 1) for t in (q[q0:q1], k[k0:k1], v[k0:k1])]
        apart = torch.arange(k1 - k0) - torch.arange(q1 - q0)[:, None] - int((k1 - k0) - (q1 - q0))
        right = 0 if causal else max_seqlen_k if right < 0 else right
        seen = (apart <= right) & (apart >= -(max_seqlen_k if left < 0 else left))
        scores = rows[0] @ rows[1].transpose(1, 2) * softmax_scale
        scores = softcap * (scores / softcap).tanh() if softcap else scores
        found.append((scores.masked_fill(~seen, float("-inf")).softmax(-1) @ rows[2]).transpose(0, 1))
    return torch.cat(found)
'''


def build(code: str = KERNEL, variant: str = UNIVERSAL, version: int = VERSION, digest_of: str | None = None) -> dict[str, bytes]:
    """The files of a build. digest_of: the code that the metadata has the digest of; None for metadata without."""
    metadata = {"id": "_flash_attn2_0123456", "name": "flash-attn2", "version": version, "license": "BSD-3-Clause",
                "python-depends": [], "backend": {"type": "cpu"}}
    files = {"__init__.py": code.encode()}
    if digest_of is not None:
        value = base64.b64encode(hashlib.sha256(digest_of.encode()).digest()).decode()
        metadata["digest"] = {"algorithm": "sha256", "files": {"__init__.py": value}}
    files["metadata.json"] = json.dumps(metadata).encode()
    return {f"build/{variant}/{name}": content for name, content in files.items()}


def fill_cache(folder: Path) -> Path:
    """The folder as a cache of huggingface_hub's with the kernel in it."""
    for name, content in build().items():
        file = folder / f"kernels--{REPO.replace('/', '--')}" / "snapshots" / COMMIT / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


@dataclass
class Hub:
    """files: path to content. hangs: the part of a path that nothing is answered to. asked: what was."""

    url: str = ""
    files: Mapping[str, bytes] = field(default_factory=build)
    hangs: str | None = None
    asked: list[str] = field(default_factory=list)


def api(files: Mapping[str, bytes]) -> dict[str, object]:
    """Path to answer."""
    kernel = f"/api/kernels/{REPO}"
    return {
        "/api/organizations/kernels-community/overview": {
            "avatarUrl": "", "name": "kernels-community", "fullname": "Kernels", "trustedKernelPublisher": True},
        f"{kernel}/refs": {"tags": [], "converts": [], "branches": [
            {"name": f"v{VERSION}", "ref": f"refs/heads/v{VERSION}", "targetCommit": COMMIT}]},
        f"{kernel}/tree/{COMMIT}/build": [{"type": "directory", "oid": "0", "size": 0, "path": folder}
                                          for folder in sorted({name.rpartition("/")[0] for name in files})],
        f"{kernel}/tree/{COMMIT}": [{"type": "file", "path": name, "oid": "0", "size": len(content)}
                                    for name, content in files.items()]}


@contextmanager
def kernel_hub() -> Iterator[Hub]:
    hub, over = Hub(), threading.Event()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            hub.asked.append(f"{self.command} {path}")
            if hub.hangs and hub.hangs in path:
                over.wait(60)
                return
            told, content = api(hub.files).get(path), hub.files.get(path.rpartition(f"/resolve/{COMMIT}/")[2])
            if content is not None:
                self.answer(content, 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'})
            elif told is not None:
                self.answer(json.dumps(told).encode(), 200, {"Content-Type": "application/json"})
            else:
                self.answer(b"{}", 404, {"Content-Type": "application/json", "X-Error-Code": "EntryNotFound"})

        do_HEAD = do_GET

        def answer(self, body: bytes, status: int, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield hub
        finally:
            over.set()
            server.shutdown()
