"""What is known of the files, folders and hub names that a config mentions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Maybe
from swift_fa_launcher.machine.facts import PathFacts
from swift_fa_launcher.machine.host import free_gib, nearest_existing


def collect_paths(config: ResolvedConfig, environment: Mapping[str, str]) -> dict[str, Maybe[PathFacts]]:
    """Each path and hub name of the config, keyed as it is written there."""
    return {name: _plain(name, hub) for name, hub in named_paths(config, environment)}


def named_paths(config: ResolvedConfig, environment: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    """Each value, and whether it may be a hub's name."""
    swift = config.swift
    for key in ("output_dir", "resume_from_checkpoint"):
        if text := swift.text(key):
            yield text, False
    for key in ("model", "dataset", "val_dataset", "adapters"):
        yield from ((name, True) for name in swift.names(key))
    yield from ((name, False) for name in swift.names("external_plugins"))
    if log := environment.get("SWANLAB_LOG_DIR"):
        yield log, False


def _plain(name: str, hub: bool) -> PathFacts:
    bare = name.rsplit("#", 1)[0]
    path = Path(name if os.path.exists(name) else bare).expanduser()
    if path.is_dir():
        return PathFacts(kind="dir", writable=os.access(path, os.W_OK), entries=sum(1 for _ in path.iterdir()),
                         free_gib=free_gib(path))
    if path.is_file():
        return PathFacts(kind="file", writable=os.access(path, os.W_OK))
    if hub and looks_like_hub_name(bare):
        return PathFacts(kind="hub")
    return PathFacts(kind="missing", writable=os.access(nearest_existing(path), os.W_OK), free_gib=free_gib(path))


def looks_like_hub_name(name: str) -> bool:
    return not name.startswith(("/", ".", "~")) and name.count("/") == 1 and "\\" not in name
