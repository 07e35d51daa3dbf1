"""The lock: exactly which file flash-attn is installed from, beside the config. Pure.

`swift-fa install --lock` writes `CONFIG.flash-attn.lock`; a launch that finds it installs that file or nothing.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swift_fa_launcher.decode import DecodeError, decode, encode, known
from swift_fa_launcher.errors import ConfigError, Text, Words
from swift_fa_launcher.flash.implementations import BY_NAME
from swift_fa_launcher.flash.name import Candidate, WheelNameError, parse_wheel_name, without_password
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.reading import torch_cuda, torch_version

SCHEMA = 1


@dataclass(frozen=True)
class Lock:
    """One file and its digest. torch, cuda, python: of the environment that it was locked for, as text."""

    implementation: str
    filename: str
    url: str
    sha256: str
    size: int | None = None  # bytes
    torch: str | None = None
    cuda: str | None = None
    python: str | None = None  # the ABI tag, "cp310"


def lock_path(config: Path) -> Path:
    """Where the lock of a config file lies."""
    return config.with_name(f"{config.name}.flash-attn.lock")


def make_lock(candidate: Candidate, facts: Facts, *, implementation: str, sha256: str) -> Lock:
    """The lock for a wheel whose bytes were seen: sha256 is of the file itself."""
    python = known(facts.python)
    torch, cuda = (str(version) if version else None for version in (torch_version(facts), torch_cuda(facts)))
    return Lock(implementation, candidate.filename, without_password(candidate.url), sha256.lower(), candidate.size, torch, cuda,
                known(python.abi) if python else None)


def lock_candidate(lock: Lock) -> Candidate:
    """The one candidate that a locked launch may install."""
    return Candidate(lock.filename, lock.url, "lock", lock.sha256, lock.size)


def render_lock(lock: Lock) -> str:
    """The lock as the text of its file (JSON, which is YAML too)."""
    return json.dumps({"schema": SCHEMA, **encode(lock)}, indent=2, ensure_ascii=False) + "\n"


def parse_lock(text: str, where: str) -> Lock:
    """The lock from its file's text; `where` names the file. Raises ConfigError."""
    try:
        data: Any = json.loads(text)
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise _broken(where, Text(f'there is no "schema": {SCHEMA}', f'没有 "schema": {SCHEMA}'))
        lock: Lock = decode(Lock, data)
        parse_wheel_name(lock.filename)
    except (DecodeError, WheelNameError) as error:
        raise _broken(where, error.sentence if isinstance(error, DecodeError) else error.message) from None
    except (ValueError, RecursionError) as error:
        raise _broken(where, Text(f"damaged JSON: {error}", f"JSON 已损坏：{error}")) from None
    if lock.implementation not in BY_NAME:
        raise _broken(where, Text(f"unknown implementation {lock.implementation!r}",
                                  f"未知的 implementation {lock.implementation!r}"))
    if not re.fullmatch(r"[0-9a-f]{64}", lock.sha256):
        raise _broken(where, Text("sha256 is not 64 hexadecimal digits", "sha256 不是 64 位十六进制数"))
    return lock


def _broken(where: str, why: Words) -> ConfigError:
    return ConfigError("lock-unreadable", Text("the flash-attn lock cannot be read", "无法读取 flash-attn 的锁定文件"),
                       where=where, why=why,
                       hint=("swift-fa install --lock",
                             Text("or delete the file, so that a wheel is chosen again", "或删除该文件，重新选择 wheel")))
