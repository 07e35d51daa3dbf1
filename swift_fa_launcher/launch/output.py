"""What the training writes, on its way to the screen and the log: without secrets, live, and never in its way."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

REDACTED = b"<redacted>"
LONGEST_LINE = 1 << 16


class Redactor:
    """Replaces secrets in a stream, also where chunks split them.

    Only an end of a chunk that may be the beginning of a secret is held back, so that a progress bar stays live.
    """

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, self._secrets))) if self._secrets else None
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What may go on of all that was fed so far."""
        if self._pattern is None:
            return data
        data = self._held + data
        cut = self._beginning(data)
        for match in self._pattern.finditer(data):
            if match.start() < cut < match.end():  # one secret ends where another may begin
                cut = match.start()
        self._held = data[cut:]
        return self._pattern.sub(REDACTED, data[:cut])

    def finish(self) -> bytes:
        """What was held back."""
        held, self._held = self._held, b""
        return self._pattern.sub(REDACTED, held) if self._pattern else held

    def _beginning(self, data: bytes) -> int:
        """Where the longest end of `data` starts that is the beginning of a secret and not the whole of it."""
        return min((at for secret in self._secrets for at in range(max(0, len(data) - len(secret) + 1), len(data))
                    if secret.startswith(data[at:])), default=len(data))


class Lines:
    """Cuts a stream into lines, at carriage returns too, as progress bars write them; an endless one is cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, without their ends; none is empty."""
        *lines, self._rest = re.split(rb"[\r\n]", self._rest + data)
        if len(self._rest) > LONGEST_LINE:
            lines.append(self._rest)
            self._rest = b""
        return [line for line in lines if line]


class Log:
    """The log file. What cannot be written, on a full disk say, is left out and counted; the training goes on."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._gap = 0
        self.lost = 0
        self.error: OSError | None = None  # the first one

    def write(self, data: bytes) -> None:
        try:
            if self._gap:
                os.write(self._fd, b"\n[swift-fa: %d bytes are missing here]\n" % self._gap)
                self._gap = 0
            while data:
                data = data[os.write(self._fd, data):]
        except OSError as error:
            self.error = self.error or error
            self._gap += len(data)
            self.lost += len(data)

    def close(self) -> None:
        os.close(self._fd)


class Screen:
    """One stream of ours that the training's output passes through to. It never blocks where the system allows that.

    A terminal that went away or a pipe that nobody reads any more is given up in silence: the log goes on.
    """

    def __init__(self, stream: BinaryIO | None) -> None:
        self.pending = bytearray()
        self.fd: int | None = None
        if stream is not None:
            with suppress(OSError):  # closed, gone, or no real file
                stream.flush()
                self.fd = _open_without_blocking(stream.fileno())

    def write(self, data: bytes) -> None:
        """Writes what it can now and keeps the rest as `pending`."""
        if self.fd is None:
            return
        self.pending += data
        try:
            while self.pending:
                del self.pending[: os.write(self.fd, self.pending[:65536])]
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def close(self) -> None:
        self.pending.clear()
        if self.fd is not None:
            os.close(self.fd)
        self.fd = None


def _open_without_blocking(fd: int) -> int:
    """Another way to the same file, a non-blocking one where it is a terminal or a pipe and the system has such a way.

    Setting `fd` itself to non-blocking would do so for everyone who shares it, the user's shell for one.
    """
    if sys.platform == "linux" and (stat.S_ISFIFO(os.fstat(fd).st_mode) or os.isatty(fd)):
        with suppress(OSError):
            return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    return os.dup(fd)
