"""The lock: exactly which file flash-attn is installed from, or which commit of a hub kernel, beside the config. Pure.

`swift-fa install --lock` writes `CONFIG.flash-attn.lock`; a launch that finds it installs that file or nothing, and so for what
stands beside flash-attn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from swift_fa_launcher.decode import DecodeError, decode, encode, known
from swift_fa_launcher.errors import ConfigError, Text, Words
from swift_fa_launcher.flash.implementations import BY_NAME
from swift_fa_launcher.flash.name import Candidate, WheelNameError, parse_wheel_name, without_password
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.reading import torch_cuda, torch_version

SCHEMA = 1


@dataclass(frozen=True)
class LockedKernel:
    repo: str
    revision: str  # a commit


@dataclass(frozen=True)
class LockedBeside:
    """What stands beside flash-attn: a version for pip, or one file."""

    version: str
    filename: str | None = None
    url: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Lock:
    """One file and its digest, or a hub kernel in its place. torch, cuda, python: of the environment that it was locked for, as
    text. beside: by distribution."""

    implementation: str
    filename: str = ""
    url: str = ""
    sha256: str = ""
    size: int | None = None  # bytes
    torch: str | None = None
    cuda: str | None = None
    python: str | None = None  # the ABI tag, "cp310"
    kernel: LockedKernel | None = None
    beside: Mapping[str, LockedBeside] = field(default_factory=dict)


def lock_path(config: Path) -> Path:
    """Where the lock of a config file lies."""
    return config.with_name(f"{config.name}.flash-attn.lock")


def make_lock(candidate: Candidate, facts: Facts, *, implementation: str, sha256: str,
              beside: Mapping[str, LockedBeside] = MappingProxyType({})) -> Lock:
    """The lock for a wheel whose bytes were seen: sha256 is of the file itself."""
    python = known(facts.python)
    torch, cuda = (str(version) if version else None for version in (torch_version(facts), torch_cuda(facts)))
    return Lock(implementation, candidate.filename, without_password(candidate.url), sha256.lower(), candidate.size, torch, cuda,
                known(python.abi) if python else None, beside=beside)


def lock_candidate(lock: Lock | LockedBeside) -> Candidate | None:
    """The one candidate that a locked launch may install; None where it locks no file."""
    size = lock.size if isinstance(lock, Lock) else None
    return Candidate(lock.filename, lock.url or "", "lock", lock.sha256, size) if lock.filename else None


def render_lock(lock: Lock) -> str:
    """The lock as the text of its file (JSON, which is YAML too)."""
    told = {name: value for name, value in encode(lock).items() if value or name not in ("kernel", "beside")}
    return json.dumps({"schema": SCHEMA, **told}, indent=2, ensure_ascii=False) + "\n"


def parse_lock(text: str, where: str) -> Lock:
    """The lock from its file's text; `where` names the file. Raises ConfigError."""
    try:
        data: Any = json.loads(text)
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise _broken(where, Text(f'there is no "schema": {SCHEMA}', f'没有 "schema": {SCHEMA}'))
        lock: Lock = decode(Lock, data)
        digests = list[str | None]()
        files: tuple[Lock | LockedBeside, ...] = (lock, *lock.beside.values())
        for file in files:
            if file.filename or (file is lock and not lock.kernel):
                parse_wheel_name(file.filename or "")
                digests.append(file.sha256)
    except (DecodeError, WheelNameError) as error:
        raise _broken(where, error.sentence if isinstance(error, DecodeError) else error.message) from None
    except (ValueError, RecursionError) as error:
        raise _broken(where, Text(f"damaged JSON: {error}", f"JSON 已损坏：{error}")) from None
    if lock.implementation not in BY_NAME:
        raise _broken(where, Text(f"unknown implementation {lock.implementation!r}",
                                  f"未知的 implementation {lock.implementation!r}"))
    if not all(re.fullmatch(r"[0-9a-f]{64}", digest or "") for digest in digests):
        raise _broken(where, Text("sha256 is not 64 hexadecimal digits", "sha256 不是 64 位十六进制数"))
    if lock.kernel and not re.fullmatch(r"[0-9a-f]{40}", lock.kernel.revision):
        raise _broken(where, Text("revision is not a commit of 40 hexadecimal digits", "revision 不是 40 位十六进制的 commit"))
    return lock


def _broken(where: str, why: Words) -> ConfigError:
    return ConfigError("lock-unreadable", Text("the flash-attn lock cannot be read", "无法读取 flash-attn 的锁定文件"),
                       where=where, why=why,
                       hint=("swift-fa install --lock",
                             Text("or delete the file, so that a wheel is chosen again", "或删除该文件，重新选择 wheel")))
