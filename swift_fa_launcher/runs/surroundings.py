"""What a run depends on beside its config: code, packages' sources, the flash-attn build, data and model files.

Collected when a run starts, written beside it, and collected again when it is to be repeated.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from glob import escape, glob
from itertools import islice
from pathlib import Path
from typing import Any

from swift_fa_launcher.cache import cache_dir
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import Say, Text
from swift_fa_launcher.files import keep_answer, kind_of, read_group, text_of
from swift_fa_launcher.flash.implementations import IMPLEMENTATIONS
from swift_fa_launcher.flash.name import without_password
from swift_fa_launcher.machine.facts import Facts, FlashAttn
from swift_fa_launcher.machine.hub import cached_folder
from swift_fa_launcher.machine.paths import DATASET, OUTPUT, Named, local_path, looks_like_hub_name, named_paths
from swift_fa_launcher.machine.reading import site_packages
from swift_fa_launcher.wheels.download import file_sha256
from swift_fa_launcher.wheels.install import read_receipt

_GIT_SECONDS = 10
_DIFF_LIMIT = 20 * 2**20  # bytes; a larger diff is cut and says so
#: Bytes. A file below this is read whole for its digest; of a larger one, evenly spread samples are.
WHOLE_BELOW = 2**30
#: Bytes that are read whole before one start, all files together; of what is beyond, samples are.
WHOLE_TOGETHER = 2 * 2**30
_SAMPLES, _SAMPLE = 16, 256 * 1024
_WORTH_SAYING = 200 * 2**20  # bytes that take about a second to read
_MOST_FILES = 1000  # of one folder
_MOST_DIGESTS = 20_000  # that are remembered


@dataclass(frozen=True)
class Surroundings:
    """All plain data for JSON. git: None outside of a repository. diff: of the tracked files against the commit.

    wheels: by distribution. sources: by package, where it came from when that was no index. data: one entry for each
    model, dataset and further file that the config names.
    """

    git: Mapping[str, Any] | None
    diff: str
    wheels: Mapping[str, Any]
    sources: Mapping[str, Any]
    data: tuple[Mapping[str, Any], ...]


def collect_surroundings(config: ResolvedConfig, facts: Facts, cwd: Path, say: Say) -> Surroundings:
    """Everything as it is now. Files are read for their digests once, and again only when size or time have changed."""
    git, diff = _git_state(cwd)
    digests = Digests(cache_dir() / "digests.json", say)
    data = tuple(_data(config, {**os.environ, **config.env}, digests))
    wheels = {each.distribution: wheel for each in IMPLEMENTATIONS
              if (wheel := _wheel(known(getattr(facts, each.field)), digests))}
    site = site_packages(facts)
    digests.save()
    return Surroundings(git, diff, wheels, _sources(site) if site else {}, data)


# Code


def _git_state(folder: Path) -> tuple[dict[str, Any] | None, str]:
    """Commit, branch and changed files of the repository around `folder`, and its uncommitted diff; None without one."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None, ""
    changed = (_git(folder, "status", "--porcelain") or "").splitlines()
    diff = _git(folder, "diff", "--no-ext-diff", "--no-color", "HEAD") or ""
    if len(diff) > _DIFF_LIMIT:
        diff = diff[:_DIFF_LIMIT] + "\n# cut here: the diff is larger\n"
    return {"commit": commit.strip(), "branch": (_git(folder, "rev-parse", "--abbrev-ref", "HEAD") or "").strip(),
            "changed": changed}, diff


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, timeout=_GIT_SECONDS, check=False,
                              env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"})
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


# Packages


def _sources(site: Path) -> dict[str, Any]:
    """Package to pip's note of where it came from: an address, a checkout, a folder (PEP 610); no login in it."""
    found = {}
    for note in map(Path, sorted(glob(f"{escape(str(site))}/*.dist-info/direct_url.json"))):
        if "url" in (data := read_group(note)):
            name = note.parent.name.partition("-")[0].replace("_", "-").lower()
            found[name] = {**data, "url": without_password(str(data["url"]))}
    return found


def _wheel(found: FlashAttn | None, digests: Digests) -> dict[str, Any]:
    """Version, wheel and extension of an installed flash-attn; empty where there is none."""
    name, origin = (known(found.distribution), known(found.origin)) if found else (None, None)
    if found is None or not name:
        return {}
    wheel: dict[str, Any] = {"version": str(known(found.version))}
    extension = known(found.extension)
    file = known(extension.file) if extension else None
    site = Path(origin).parent if origin else None
    if site is not None and site.name.startswith("flash_attn"):  # a package's __init__.py, not a module beside it
        site = site.parent
    if site is None:
        return wheel
    receipt = read_receipt(site)
    if receipt and receipt.distribution == name and receipt.version == wheel["version"]:
        wheel |= {"url": without_password(receipt.url), "sha256": receipt.sha256, "proven": list(receipt.proven)}
    if file and (site / file).is_file():
        wheel |= {"extension": file, **digests.describe(site / file)}
    return wheel


# Data and models


def _data(config: ResolvedConfig, environment: Mapping[str, str], digests: Digests) -> Iterator[dict[str, Any]]:
    seen = set()
    for named in named_paths(config, environment):
        if named.role == OUTPUT or named.text in seen:
            continue
        seen.add(named.text)
        try:
            yield {"name": named.text, "role": named.role, **_described(named, config, environment, digests)}
        except OSError as error:
            yield {"name": named.text, "role": named.role, "kind": "unknown", "why": error.strerror or str(error)}


def _described(named: Named, config: ResolvedConfig, environment: Mapping[str, str], digests: Digests) -> dict[str, Any]:
    path, revision = local_path(named), None
    kind = kind_of(path)
    if kind == "missing" and looks_like_hub_name(named.text):
        what = "datasets" if named.role == DATASET else "models"
        folder = cached_folder(named.text, what, environment, config.swift.flag("use_hf"))
        if folder is None:
            return {"kind": "hub", "revision": None}
        kind, path, revision = "hub", folder, _revision(folder)
    files = list(islice(_files(path), _MOST_FILES + 1)) if kind in ("dir", "hub") else [path] if kind == "file" else []
    told = {"kind": kind, "path": str(path.absolute()), **({"revision": revision} if kind == "hub" else {})}
    if len(files) > _MOST_FILES:
        told["more"] = f"only the first {_MOST_FILES} files"
    base = path if path.is_dir() else path.parent
    return {**told, "files": {str(file.relative_to(base)): digests.describe(file) for file in files[:_MOST_FILES]}}


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder in a fixed order; hidden ones are no part of a model or dataset."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _revision(folder: Path) -> str | None:
    """The revision of a hub's cached copy: the snapshot's name, or what ModelScope's older layout notes in `.mv`."""
    if folder.parent.name == "snapshots":
        return folder.name
    return text_of(folder / ".mv").strip() or None


# Digests


class Digests:
    """SHA-256 of files, remembered by path, size and time of change. budget: bytes of files that are read whole."""

    def __init__(self, file: Path, say: Say, budget: int = WHOLE_TOGETHER) -> None:
        self.file, self.say, self.budget = file, say, budget
        self.read, self.said = 0, False  # bytes of this start
        self.known, self.fresh = read_group(file), False

    def describe(self, file: Path) -> dict[str, Any]:
        """Size, time of change and digest of a file; why there is none where it cannot be read."""
        try:
            status = file.stat()
            return {"size": status.st_size, "mtime": round(status.st_mtime, 3), "digest": self._digest(file, status)}
        except OSError as error:
            return {"why": error.strerror or str(error)}

    def _digest(self, file: Path, status: os.stat_result) -> str:
        key, size = str(file.resolve()), status.st_size
        seen = self.known.get(key)
        if isinstance(seen, list) and seen[:2] == [size, status.st_mtime_ns]:
            return str(seen[2])
        # Sampling saves nothing where the samples are as much as the file.
        whole = size <= _SAMPLES * _SAMPLE or (size < WHOLE_BELOW and size <= self.budget)
        self.read += size if whole else _SAMPLES * _SAMPLE
        if self.read > _WORTH_SAYING and not self.said:
            self.said = True
            self.say(Text(f"computing digests of data and model files, now {file}",
                          f"正在计算数据和模型文件的摘要，当前 {file}"))
        digest = make_digest(file, size, whole=whole)
        self.budget -= size if whole else 0
        self.known[key], self.fresh = [size, status.st_mtime_ns, digest], True
        return digest

    def save(self) -> None:
        """Keeps what was read for the next time; a cache that cannot be written costs only time."""
        if self.fresh:
            keep_answer(self.file, dict(list(self.known.items())[-_MOST_DIGESTS:]))


def make_digest(file: Path, size: int, *, whole: bool) -> str:
    """`sha256:…` of a file, or, not whole, `sampled-sha256:…` of its size and 16 spread pieces of 256 KiB.

    A sampled digest tells two trainings' weights apart, not a file from one that was changed to have the same.
    """
    if whole:
        return f"sha256:{file_sha256(file)}"
    digest = hashlib.sha256(str(size).encode())
    with file.open("rb") as opened:
        for i in range(_SAMPLES):
            opened.seek((size - _SAMPLE) * i // (_SAMPLES - 1))
            digest.update(opened.read(_SAMPLE))
    return f"sampled-sha256:{digest.hexdigest()}"
