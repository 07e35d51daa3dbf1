"""How fast a wheel arrives from a local server, beside curl: `python benchmarks/download.py [MIB] [ROUNDS]`.

Both fetch the same file in turns; the launcher's time holds the request, the file and its sha256.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

from swift_fa_launcher.flash.name import Candidate
from swift_fa_launcher.wheels.download import download_wheel


class Server(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def copyfile(self, source, outputfile) -> None:  # type: ignore[no-untyped-def]
        self.wfile.flush()
        self.connection.sendfile(source)

    def log_message(self, *_: object) -> None:
        pass


def measure(mib: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        wheel = root / "served" / "flash_attn-2.8.3-py3-none-any.whl"
        wheel.parent.mkdir()
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("flash_attn/ballast.bin", hashlib.shake_128(b"ballast").digest(mib << 20))
            archive.writestr("flash_attn-2.8.3.dist-info/RECORD", "")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Server, directory=str(wheel.parent)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{wheel.name}"
        candidate = Candidate(wheel.name, url, "benchmark", digest)
        import requests  # noqa: F401 - its import is not the download
        curl: list[float] = []
        ours: list[float] = []
        for _ in range(rounds):
            began = time.perf_counter()
            subprocess.run(["curl", "-s", "-o", root / "curl.whl", url], check=True)
            curl.append(time.perf_counter() - began)
            (root / "curl.whl").unlink()
            began = time.perf_counter()
            download_wheel(candidate, (url,), root / "cache")
            ours.append(time.perf_counter() - began)
            shutil.rmtree(root / "cache")
        best, median = min(curl) / min(ours), statistics.median(curl) / statistics.median(ours)
        print(f"{mib} MiB, {rounds} rounds: curl {mib / min(curl):.0f} MiB/s, swift-fa {mib / min(ours):.0f} MiB/s; "
              f"{best:.0%} of curl (best), {median:.0%} (median)")


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 200, int(sys.argv[2]) if len(sys.argv) > 2 else 7)
