"""Two launches into one output folder take turns.

ms-swift names its version folder by the next free number and the second (swift/utils/utils.py, add_version_to_work_dir)
and makes it without looking, so two that choose within a second write into one another's. With `add_version: false`, or
when a run is continued, both would do so all the time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from swift_fa_launcher.cache import cache_dir
from swift_fa_launcher.config.layers import expand_user
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.errors import LaunchError, Say, Text
from swift_fa_launcher.runs.store import list_command

#: Seconds; a training chooses its folder some ten seconds after its start. One that takes longer is waited for no more.
PATIENCE = 90.0


@contextmanager
def output_turn(config: ResolvedConfig, cwd: Path, say: Say,
                patience: float = PATIENCE) -> Iterator[Callable[[], None]]:
    """Hold the output folder of a training; gives what to call once it has a version folder of its own.

    Raises LaunchError where another launch of this user holds a folder that has no versions. Nodes of one training share
    a folder and never wait for one another.
    """
    from filelock import FileLock, Timeout

    if (config.launch.nnodes or 1) > 1:
        yield lambda: None
        return
    folder = Path(cwd, expand_user(config.swift.text("output_dir") or "output")).resolve()
    shares = config.swift.flag("add_version") is False
    lock = FileLock(cache_dir() / "locks" / f"output-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}")
    try:
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        if shares:
            raise LaunchError("output-folder-busy",
                              Text(f"another run is training into {folder}", f"另一个运行正在写入 {folder}"),
                              hint=(f"{list_command(expand_user(config.run.root))} --outcome running",)) from None
        say(Text(f"waiting for another launch to choose its folder in {folder}", f"等待另一个启动在 {folder} 中选定目录"))
        with suppress(OSError):  # a Timeout is one
            lock.acquire(timeout=patience)
    except OSError:  # a cache folder that cannot be written is no reason not to train
        pass
    try:
        yield (lambda: None) if shares else lock.release
    finally:
        lock.release()
