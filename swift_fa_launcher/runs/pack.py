"""A run as one archive that another machine can repeat, and back.

    NAME/config.yaml           the resolved config, without what belongs to this machine
    NAME/config.yaml.flash-attn.lock   the very wheel of flash-attn, where it is known
    NAME/requirements.txt      the environment; pylock.toml beside it where uv could make one
    NAME/record/               the run's record: config layers, plan, facts, findings, git state, log, monitor
    NAME/data/, NAME/adapter/  the dataset's files and the newest checkpoint's adapter, where they were asked for

No secret is in it, and no name of a home folder: `~` stands for that, and is read so again by `unpack`.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.errors import RecordError, Text, refused_as
from swift_fa_launcher.files import read_group
from swift_fa_launcher.flash.implementations import FA2, IMPLEMENTATIONS
from swift_fa_launcher.runs.again import recorded_kernel
from swift_fa_launcher.runs.output import list_checkpoints, newest_complete
from swift_fa_launcher.runs.record import RunRecord, secret_values
from swift_fa_launcher.runs.requirements import render_requirements
from swift_fa_launcher.secrets import redact
from swift_fa_launcher.wheels.lock import Lock, LockedKernel, render_lock

#: What a record's folder may hold besides and nobody needs for a repetition, or what is large: SwanLab's own log.
_LEFT_OUT = ("swanlab", "pulse.json", "members")
#: Of the config: what belongs to the machine that it ran on.
_OF_THE_MACHINE = {"launch": ("gpus", "python", "master_addr", "master_port", "node_rank"), "run": ("root",),
                   "swift": ("output_dir", "resume_from_checkpoint", "add_version")}
_UV_SECONDS = 120.0
_NOBODY = frozenset(("root", "user", "ubuntu", "home"))  # names of home folders that say nothing of a person


@dataclass(frozen=True)
class Packed:
    """names: of the files in the archive. lock: whether there is a pylock.toml, or why not. missing: local data and models that
    are not in it."""

    names: tuple[str, ...]
    lock: Text | None
    missing: tuple[str, ...]


def pack_run(folder: Path, record: RunRecord, file: Path, *, data: bool = False, adapter: bool = False,
             dockerfile: bool = False) -> Packed:
    """Write the archive. Raises RecordError where the record lacks what is needed, or the file cannot be written."""
    config = resolve_config([folder / "config.yaml"])
    hide = _Hiding(config, _fact(folder, "env"))
    requirements = render_requirements(folder)
    texts: dict[str, str] = {"requirements.txt": requirements}
    lock, why = _make_pylock(requirements, _python(folder))
    if lock:
        texts["pylock.toml"] = lock
    given = dict(_data_files(folder)) if data else {}
    texts["config.yaml"] = _portable(config, given)
    if wheel := _wheel_lock(folder):
        texts["config.yaml.flash-attn.lock"] = wheel
    if dockerfile:
        texts["Dockerfile"] = render_dockerfile(_python(folder))
    texts["README.md"] = _render_readme(record.id)
    texts |= {f"record/{path.relative_to(folder)}": path.read_text("utf-8", "replace") for path in _record_files(folder)}
    files = {name: path for path, name in given.items()}
    for name, path in _adapter_files(record) if adapter else ():
        if path.suffix == ".json":  # names the model's folder
            texts[name] = path.read_text("utf-8", "replace")
        else:
            files[name] = path
    with refused_as(RecordError("pack-not-written", where=str(file))):
        beside = file.with_name(f".{file.name}.part")
        try:
            with tarfile.open(beside, "w:gz") as archive:
                for name, text in texts.items():
                    _add(archive, f"{record.id}/{name}", hide.text(text).encode("utf-8", "backslashreplace"))
                for name, path in files.items():
                    _add(archive, f"{record.id}/{name}", path.read_bytes())
            os.replace(beside, file)
        finally:
            beside.unlink(missing_ok=True)
    return Packed((*texts, *files), why, tuple(map(hide.text, _missing(folder, given))))


def unpack(file: Path, into: Path | None) -> Path:
    """The folder that the archive became: `into`, or its own name in this folder. Raises RecordError for a folder that is there
    already and for what is no such archive."""
    broken = RecordError("pack-unreadable", where=str(file))
    try:
        with tarfile.open(file) as archive:
            members = [member for member in archive.getmembers() if member.isfile()]
            names = [PurePosixPath(member.name) for member in members]
            tops = {name.parts[0] for name in names if name.parts}
            if len(tops) != 1 or any(name.is_absolute() or ".." in name.parts for name in names) or \
                    not any(name.parts[1:] == ("config.yaml",) for name in names):
                raise broken
            folder = into or Path(tops.pop())
            with refused_as(RecordError("pack-not-unpacked", where=str(folder))):
                folder.mkdir(parents=True)
            for member, name in zip(members, names, strict=True):
                target = folder.joinpath(*name.parts[1:])
                target.parent.mkdir(parents=True, exist_ok=True)
                opened = archive.extractfile(member)
                assert opened is not None
                with opened, target.open("wb") as written:
                    shutil.copyfileobj(opened, written)
    except (tarfile.TarError, EOFError, OSError) as error:
        broken.why = str(error).partition("\n")[0].rstrip(":")  # tarfile goes on with a line for each compression
        raise broken from None
    config = folder / "config.yaml"
    values = yaml.safe_load(config.read_text(encoding="utf-8"))
    config.write_text(yaml.safe_dump(_at_home(values, str(Path.home())), allow_unicode=True, sort_keys=False), encoding="utf-8")
    return folder


def next_commands(folder: Path) -> tuple[str, ...]:
    """What leads from an unpacked archive to its training."""
    python = ".venv/bin/python"
    return (f"cd {shlex.quote(str(folder))} && python3 -m venv .venv && {python} -m pip install -r requirements.txt",
            f"swift-fa train config.yaml launch.python={python}")


def render_dockerfile(python: str) -> str:
    """A Dockerfile that builds the environment; gcc is what Triton compiles its launchers with."""
    return (f"FROM python:{python}-slim\nRUN apt-get update && apt-get install -y --no-install-recommends gcc git "
            "&& rm -rf /var/lib/apt/lists/*\nWORKDIR /run\nCOPY requirements.txt .\n"
            "RUN pip install --no-cache-dir -r requirements.txt\nCOPY . .\nCMD [\"bash\"]\n")


class _Hiding:
    """Strikes out of texts the secrets and the names of home folders: this one's, and that of the run."""

    def __init__(self, config: ResolvedConfig, recorded: Mapping[str, Any]) -> None:
        homes = {home.rstrip("/") for home in (str(Path.home()), str(recorded.get("HOME") or "")) if home.startswith("/")} - {""}
        names = {PurePosixPath(home).name for home in homes} | {str(recorded.get("USER") or ""), os.environ.get("USER", "")}
        self._secrets = secret_values(config, os.environ)
        self._homes = [re.compile(rf"{re.escape(home)}(?![\w.-])") for home in sorted(homes, key=len, reverse=True)]
        self._names = [re.compile(rf"""(?<=[/"':= ]){re.escape(name)}(?=[/"'\s,@]|$)""", re.MULTILINE)
                       for name in names - _NOBODY if len(name) > 1]

    def text(self, text: str) -> str:
        for home in self._homes:
            text = home.sub("~", text)
        for name in self._names:
            text = name.sub("user", text)
        return redact(text, self._secrets)


def _portable(config: ResolvedConfig, given: Mapping[Path, str]) -> str:
    values = {section: {key: value for key, value in keys.items() if key not in _OF_THE_MACHINE.get(section, ())}
              if isinstance(keys, Mapping) else keys for section, keys in config.values.items()}
    names = {str(path): name for path, name in given.items()}

    def packed(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [packed(one) for one in value]
        if not isinstance(value, str):
            return value
        path, mark, rows = value.partition("#")
        name = names.get(str(Path(path).absolute())) if path else None
        return f"{name}{mark}{rows}" if name else value

    values["swift"] = {key: packed(value) if "dataset" in key else value for key, value in values["swift"].items()}
    return yaml.safe_dump(values, allow_unicode=True, sort_keys=False)


def _at_home(value: Any, home: str) -> Any:
    if isinstance(value, dict):
        return {key: _at_home(one, home) for key, one in value.items()}
    if isinstance(value, list):
        return [_at_home(one, home) for one in value]
    return home + value[1:] if isinstance(value, str) and value.startswith("~/") else value


def _record_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.relative_to(folder).parts[0] not in _LEFT_OUT and not path.name.startswith("."):
            yield path


def _recorded_data(folder: Path) -> Iterator[Mapping[str, Any]]:
    try:
        data = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    yield from (one for one in data if isinstance(one, dict) and one.get("kind") in ("file", "dir"))


def _data_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """The dataset's files and their names in the archive."""
    for number, one in enumerate(_recorded_data(folder)):
        path = Path(str(one.get("path")))
        if one.get("role") == "dataset" and path.is_file():
            yield path, f"data/{number}-{path.name}"


def _missing(folder: Path, given: Mapping[Path, str]) -> Iterator[str]:
    """What the config names on this machine's disk, and the archive does not hold."""
    for one in _recorded_data(folder):
        path = str(one.get("path"))
        if Path(path) not in given and one.get("role") in ("dataset", "model"):
            yield path


def _adapter_files(record: RunRecord) -> Iterator[tuple[str, Path]]:
    newest = newest_complete(list_checkpoints(Path(record.cwd, record.output_dir))) if record.output_dir else None
    for path in sorted(newest.path.glob("adapter_*")) if newest else ():
        yield f"adapter/{path.name}", path


def _wheel_lock(folder: Path) -> str:
    """The lock that has a launch install the very wheel again; empty where it is not known."""
    wheels, torch, python = read_group(folder / "wheels.json"), _fact(folder, "torch"), _fact(folder, "python")
    for each in IMPLEMENTATIONS:
        wheel = wheels.get(each.distribution) or {}
        if wheel.get("url") and wheel.get("sha256"):
            return render_lock(Lock(each.names[0], str(wheel["url"]).rpartition("/")[2], wheel["url"], wheel["sha256"],
                                    torch=torch.get("version"), cuda=torch.get("cuda"), python=python.get("abi")))
    if revision := recorded_kernel(folder):
        return render_lock(Lock(FA2.names[0], torch=torch.get("version"), cuda=torch.get("cuda"), python=python.get("abi"),
                                kernel=LockedKernel(str(_fact(folder, "hub_kernel").get("repo")), revision)))
    return ""


def _python(folder: Path) -> str:
    """`3.11`."""
    return ".".join(str(_fact(folder, "python").get("version") or "3.11").split(".")[:2])


def _fact(folder: Path, name: str) -> Mapping[str, Any]:
    found = read_group(folder / "facts.json").get(name)
    return found if isinstance(found, dict) else {}


def _make_pylock(requirements: str, python: str) -> tuple[str, Text | None]:
    """The environment as a lock with digests (PEP 751), and why there is none."""
    uv = shutil.which("uv")
    if uv is None:
        return "", Text("no pylock.toml: uv is not installed", "没有 pylock.toml：没有安装 uv")
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch, "requirements.txt"), Path(scratch, "pylock.toml")
        source.write_text(requirements, encoding="utf-8")
        try:
            done = subprocess.run([uv, "pip", "compile", "--no-deps", "--no-header", "--no-annotate", "--quiet",
                                   "--index-strategy", "unsafe-best-match",  # as pip looks through several indexes
                                   "--python-version", python, "--format", "pylock.toml", "--output-file", target, source],
                                  capture_output=True, text=True, timeout=_UV_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return "", Text(f"no pylock.toml: {error}", f"没有 pylock.toml：{error}")
        if done.returncode or not target.is_file():
            said = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "uv failed").strip()
            return "", Text(f"no pylock.toml: {said}", f"没有 pylock.toml：{said}")
        return target.read_text(encoding="utf-8"), None


def _render_readme(name: str) -> str:
    lines = [f"# {name}", "", "Repeat this run:", "", "```", f"swift-fa unpack {name}.tar.gz",
             *next_commands(Path(name)), "```", "", "`record/` is what was recorded of it: `swift-fa show` reads it."]
    return "\n".join(lines) + "\n"


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    archive.addfile(entry, io.BytesIO(data))
