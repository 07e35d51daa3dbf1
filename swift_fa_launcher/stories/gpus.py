"""The story of a launch that waits its turn: until enough GPUs are free, and then they are its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path

from filelock import FileLock, Timeout

from swift_fa_launcher.cache import cache_dir
from swift_fa_launcher.config.layers import override_config
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Maybe, known
from swift_fa_launcher.errors import LaunchError, Say, Text
from swift_fa_launcher.launch.slots import free_gpus, gpu_pool, gpus_needed
from swift_fa_launcher.machine.facts import Facts, Gpu
from swift_fa_launcher.machine.gpus import collect_gpus

_PAUSE = 10.0  # seconds between two looks


def _look() -> Maybe[tuple[Gpu, ...]]:
    return collect_gpus()[0]


@contextmanager
def free_gpus_awaited(config: ResolvedConfig, say: Say, look: Callable[[], Maybe[tuple[Gpu, ...]]] = _look,
                      pause: float = _PAUSE) -> Iterator[ResolvedConfig]:
    """The config with `launch.gpus` set to as many free GPUs as it needs, of those that it may use: all that it names, one for
    each process where it names none. Waits until there are so many.

    A launch that was given one holds it to its end: another that waits does not take it before its memory is in use. Raises
    LaunchError where there are not so many GPUs at all.
    """
    said = False
    with ExitStack() as held:
        while True:
            gpus = known(look()) or ()
            facts = Facts(gpus=gpus, env=dict(os.environ))
            pool = gpu_pool(config, facts)
            named = len(config.launch.gpus or ())
            count = max(gpus_needed(config, facts), named if config.launch.nproc_per_node is None else 0)
            if count > len(pool):
                raise LaunchError("gpus-too-few", Text(f"{count} GPUs are needed, and there are {len(pool)}",
                                                       f"需要 {count} 块 GPU，但只有 {len(pool)} 块"))
            ours = (index for index in free_gpus(gpus, pool) if _hold(held, _name(gpus, index)))
            taken = [*islice(ours, count)]
            if len(taken) == count:
                yield override_config(config, [f"launch.gpus={taken}"])
                return
            held.close()  # another that needs fewer may have them
            if not said:
                said = True
                say(Text(f"waiting for {count} free GPUs of {len(pool)}", f"等待 {len(pool)} 块 GPU 中有 {count} 块空闲"))
            time.sleep(pause)


def _hold(held: ExitStack, name: str) -> bool:
    """Whether the GPU is ours from now on."""
    file = cache_dir() / "locks" / f"gpu-{name}"
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(Path(file))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    held.callback(lock.release)
    return True


def _name(gpus: tuple[Gpu, ...], index: int) -> str:
    return str(next((known(gpu.uuid) for gpu in gpus if gpu.index == index), None) or index)
