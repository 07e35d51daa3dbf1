"""The model hubs' caches on this machine, and the names under which the hubs know a thing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from swift_fa_launcher.config.layers import expand_user


def hub_name(text: str) -> str:
    """A hub's own name for it: without hub, subset and row count."""
    return text.split("::", 1)[-1].rsplit("#", 1)[0].split(":", 1)[0].strip()


def uses_huggingface(name: str, environment: Mapping[str, str], use_hf: bool | None) -> bool:
    """Whether ms-swift asks Hugging Face for `name` (`HF::…`, the argument, USE_HF) and not ModelScope."""
    prefix = name.partition("::")[0].lower() if "::" in name else ""
    if prefix in ("hf", "ms"):
        return prefix == "hf"
    return bool(use_hf) or environment.get("USE_HF", "").lower() in ("1", "true", "yes", "on", "y", "t")


def cached_folder(text: str, kind: str, environment: Mapping[str, str], use_hf: bool | None) -> Path | None:
    """The local copy of what a config calls `text` on a hub (`kind`: "models" or "datasets"); None where there is none."""
    owner, _, bare = hub_name(text).partition("/")
    places = _huggingface if uses_huggingface(text, environment, use_hf) else _modelscope
    return next((folder for folder in places(owner, bare, kind, environment) if _has_files(folder)), None)


def datasets_cache(environment: Mapping[str, str]) -> Path:
    """Where ms-swift writes the rows that it loads (swift/dataset/loader.py; modelscope/hub/utils/utils.py, get_cache_dir)."""
    return expand_user(environment.get("MODELSCOPE_CACHE") or str(_cache(environment) / "modelscope" / "hub")) / "datasets"


def _huggingface(owner: str, bare: str, kind: str, environment: Mapping[str, str]) -> Iterator[Path]:
    """huggingface_hub's cache layout."""
    home = environment.get("HF_HOME") or str(_cache(environment) / "huggingface")
    root = expand_user(environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub")
    yield from _snapshots(root / f"{kind}--{owner}{f'--{bare}' if bare else ''}")


def _modelscope(owner: str, bare: str, kind: str, environment: Mapping[str, str]) -> Iterator[Path]:
    """Every layout that an SDK has written (modelscope_hub/_download.py, modelscope/hub/utils/utils.py)."""
    root = expand_user(environment.get("MODELSCOPE_CACHE") or str(_cache(environment) / "modelscope"))
    yield from _snapshots(root / kind / f"{owner}--{bare}")
    for base in (root, root / "hub"):
        for folder in (base / kind / owner, base / owner):
            yield from (folder / bare.replace(".", "___"), folder / bare)
        yield base / kind / f"{owner}___{bare}"


def _snapshots(folder: Path) -> list[Path]:
    """The snapshots that a hub's library keeps, the newest first."""
    kept = folder / "snapshots"
    try:
        return sorted(kept.iterdir(), key=lambda each: each.stat().st_mtime, reverse=True)
    except OSError:
        return []


def _cache(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME") or Path.home()) / ".cache"


def _has_files(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:
        return False


def has_login(environment: Mapping[str, str]) -> bool:
    """Whether there is a token or a saved login for a hub, under which more may be seen than a stranger sees."""
    tokens = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MODELSCOPE_API_TOKEN", "MODELSCOPE_SDK_TOKEN")
    home = Path(environment.get("HOME") or Path.home())
    return any(environment.get(name) for name in tokens) or any(
        os.path.exists(home / place) for place in (".cache/huggingface/token", ".modelscope/credentials"))
