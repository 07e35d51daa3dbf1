"""A pip requirements file that installs what a run was made with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swift_fa_launcher.errors import RecordError, refused_as
from swift_fa_launcher.files import read_group
from swift_fa_launcher.machine.reading import TORCH_INDEXES, torch_label

#: What an environment brings itself; pip cannot replace itself while it installs.
_LEFT_OUT = frozenset(("pip", "setuptools", "wheel"))


def render_requirements(folder: Path) -> str:
    """The requirements of the run recorded in `folder`. Raises RecordError where its packages are not recorded.

    What came from an address is named by it, with its digest where that is known; what came from a folder cannot be
    had elsewhere and stands as a comment.
    """
    unrecorded = RecordError("packages-not-recorded", where=str(folder))
    with refused_as(unrecorded):
        lines = (folder / "packages.txt").read_text(encoding="utf-8").splitlines()
    packages = dict(line.split("==", 1) for line in lines if "==" in line)
    if not packages:
        raise unrecorded
    sources, wheels, facts = (read_group(folder / name) for name in ("sources.json", "wheels.json", "facts.json"))
    python = facts.get("python")
    version = python.get("version") if isinstance(python, dict) else None
    label = torch_label(packages.get("torch", ""))
    head = [f"# {folder.name}, Python {version}", *([f"--extra-index-url {TORCH_INDEXES}/{label}"] if label else [])]
    return "\n".join([*head, *(_line(name, version, sources.get(name) or {}, wheels.get(name) or {})
                               for name, version in packages.items() if name not in _LEFT_OUT)]) + "\n"


def _line(name: str, version: str, source: Mapping[str, Any], wheel: Mapping[str, Any]) -> str:
    if wheel.get("url"):
        digest = wheel.get("sha256")
        return f"{name} @ {wheel['url']}{f'#sha256={digest}' if digest else ''}"
    url = source.get("url")
    if not url:
        return f"{name}=={version}"
    if vcs := source.get("vcs_info"):
        return f"{name} @ {vcs.get('vcs')}+{url}@{vcs.get('commit_id')}"
    if "dir_info" in source:
        return f"# {name}=={version} was installed from the folder {url}"
    return f"{name} @ {url}{_fragment(source.get('archive_info') or {})}"


def _fragment(archive: Mapping[str, Any]) -> str:
    """PEP 610 has the digest under `hashes`, older pips as `hash: sha256=…`."""
    digest = (archive.get("hashes") or {}).get("sha256") or str(archive.get("hash") or "").removeprefix("sha256=")
    return f"#sha256={digest}" if digest else ""
