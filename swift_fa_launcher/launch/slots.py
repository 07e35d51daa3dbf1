"""Which GPUs the members of a sweep train on. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.machine.facts import Facts, Gpu
from swift_fa_launcher.machine.reading import launch_number, visible_gpus

_FREE = 0.9  # of its memory, as `gpu-memory-low` asks


def gpu_pool(config: ResolvedConfig, facts: Facts) -> tuple[int, ...]:
    """The physical indices of the GPUs that may be used; empty where there are none, or none that are known."""
    return tuple(gpu.index for gpu in visible_gpus(config, facts).gpus or ())


def gpus_needed(config: ResolvedConfig, facts: Facts) -> int:
    """One for each process on this machine."""
    return launch_number(config, facts, "nproc_per_node") or 1


def take_gpus(pool: Sequence[int], busy: Collection[int], count: int) -> tuple[int, ...] | None:
    """The first `count` of the pool that nobody has; None where there are not so many."""
    free = [index for index in pool if index not in busy]
    return tuple(free[:count]) if len(free) >= count else None


def free_gpus(gpus: Sequence[Gpu], pool: Collection[int]) -> tuple[int, ...]:
    """Those of the pool whose memory is free."""
    def is_free(gpu: Gpu) -> bool:
        memory, free = known(gpu.memory_gib), known(gpu.free_memory_gib)
        return memory is not None and free is not None and free >= _FREE * memory

    return tuple(gpu.index for gpu in gpus if gpu.index in pool and is_free(gpu))
