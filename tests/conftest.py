"""A home of its own for every test, and a watch on the real one."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


#: What `pip install '.[train]'` brings; tests marked `stack` or `training` use it.
STACK = ("torch", "swift", "swanlab")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips the tests of the training's packages, saying so, where one of those is not installed."""
    if absent := [name for name in STACK if importlib.util.find_spec(name) is None]:
        why = pytest.mark.skip(reason=f"not installed: {', '.join(absent)} (pip install -e '.[train,dev]')")
        for item in items:
            if item.get_closest_marker("stack") or item.get_closest_marker("training"):
                item.add_marker(why)


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """HOME, caches and SwanLab's folders in a temporary folder; no secret of the real user in the environment."""
    home = tmp_path_factory.mktemp("home")
    for name in [n for n in os.environ if n.startswith(("SWANLAB_", "SWIFT_FA_"))]:
        monkeypatch.delenv(name)
    for name in ("CUDA_VISIBLE_DEVICES", "NPROC_PER_NODE", "NNODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "LANG",
                 "LC_ALL", "LC_MESSAGES", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("SWIFT_FA_CACHE", str(home / "cache" / "swift-fa"))
    yield home


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared cases that may stand beside a checkout; skips where it does not."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared cases at {SHARED}")
    return SHARED
