"""Which GPUs a member of a sweep, or a launch that waits, gets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from machines import gpu, gpus, machine, machine_data

from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.errors import LaunchError, Voice
from swift_fa_launcher.launch.slots import free_gpus, gpu_pool, gpus_needed, take_gpus
from swift_fa_launcher.machine.facts import Facts, Gpu
from swift_fa_launcher.runs.sweeps import SweepPlan
from swift_fa_launcher.stories.gpus import free_gpus_awaited
from swift_fa_launcher.stories.sweep import Checked, Sweep, _Floor


def facts(count: int = 4, **changes: Any) -> Facts:
    return machine(gpus=gpus(count), **changes)


def test_the_pool_is_what_the_config_and_the_environment_leave() -> None:
    assert gpu_pool(resolve_config([]), facts()) == (0, 1, 2, 3)
    assert gpu_pool(resolve_config([], ["launch.gpus=[3,1]"]), facts()) == (3, 1)
    assert gpu_pool(resolve_config([]), facts(env={"CUDA_VISIBLE_DEVICES": "2,0"})) == (2, 0)
    assert gpu_pool(resolve_config([]), facts(0)) == () == gpu_pool(resolve_config([]), machine(gpus={"unknown": "no NVML"}))


def test_a_run_gets_one_for_each_process_and_none_twice() -> None:
    assert [gpus_needed(resolve_config([], words), facts()) for words in ([], ["launch.nproc_per_node=2"])] == [1, 2]
    assert take_gpus((4, 5, 6), {4}, 2) == (5, 6) and take_gpus((4, 5, 6), {4, 5}, 2) is None


def floor(members: list[int], count: int, parallel: int | None = None) -> _Floor:
    """Members that need so many GPUs each, on so many."""
    configs = tuple(resolve_config([], [f"launch.nproc_per_node={need}"]) for need in members)
    plan = SweepPlan("k", tuple(() for _ in members))
    return _Floor(Checked(Sweep(plan, resolve_config([]), configs, Path("runs"), "n"), facts(count), {}), parallel, Voice())


def test_members_share_the_machine() -> None:
    made = floor([1, 2, 1, 2], 4)
    for pid, number in enumerate((1, 2, 3)):
        gpus_taken = made.room_for(number)
        assert gpus_taken == {1: (0,), 2: (1, 2), 3: (3,)}[number]
        made.running[pid] = (number, gpus_taken)
    assert made.room_for(4) is None
    del made.running[0]
    assert made.room_for(4) is None, "two are needed and one is free"
    del made.running[2]
    assert made.room_for(4) == (0, 3)


def test_no_more_at_once_than_asked() -> None:
    made = floor([1, 1], 4, parallel=1)
    made.running[1] = (1, (0,))
    assert made.room_for(2) is None
    cpu = floor([2, 2, 2], 0, parallel=2)
    assert cpu.room_for(1) == ()
    cpu.running = {1: (1, ()), 2: (2, ())}
    assert cpu.room_for(3) is None and floor([1], 0).places == 1


# Waiting


def seen(*free: float) -> tuple[Gpu, ...]:
    """GPUs with so much of their 80 GiB free."""
    return machine(gpus=[gpu(i, uuid=f"GPU-{i}", free_memory_gib=gib) for i, gib in enumerate(free)]).gpus  # type: ignore[return-value]


def test_only_gpus_whose_memory_is_free_are_taken() -> None:
    assert free_gpus(seen(79, 3, 78.5, 60), (0, 1, 2, 3)) == (0, 2) and free_gpus(seen(79, 79), (1,)) == (1,)


def test_a_launch_waits_until_enough_are_free() -> None:
    looks, said = iter([seen(3, 79, 3), seen(3, 79, 3), seen(79, 79, 3)]), list[Any]()
    config = resolve_config([], ["launch.nproc_per_node=2"])
    with free_gpus_awaited(config, said.append, lambda: next(looks), 0.01) as given:
        assert given.launch.gpus == (0, 1) and given.swift == config.swift and len(said) == 1
    named = resolve_config([], ["launch.gpus=[2,1]"])
    with free_gpus_awaited(named, said.append, lambda: seen(79, 79, 79), 0.01) as given:
        assert given.launch.gpus == (1, 2), "all that it names"
    with pytest.raises(LaunchError, match="3 GPUs"), \
            free_gpus_awaited(resolve_config([], ["launch.nproc_per_node=3"]), said.append, lambda: seen(79, 79), 0.01):
        pass


HOLDER = """
import json
import sys
from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.machine.facts import parse_facts
from swift_fa_launcher.stories.gpus import free_gpus_awaited

gpus = parse_facts(json.loads(sys.argv[1]), "here").gpus
with free_gpus_awaited(resolve_config([]), lambda words: None, lambda: gpus) as given:
    print(given.launch.gpus, flush=True)
    sys.stdin.read()
"""


def test_a_gpu_that_was_given_is_not_given_again_before_its_memory_is_in_use() -> None:
    here = json.dumps(machine_data(gpus=[gpu(i, uuid=f"GPU-{i}") for i in range(2)]))
    other = subprocess.Popen([sys.executable, "-c", HOLDER, here], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout and other.stdout.readline() == "(0,)\n"
    with free_gpus_awaited(resolve_config([]), lambda words: None, lambda: seen(79, 79), 0.01) as given:
        assert given.launch.gpus == (1,)
    other.kill()
    other.communicate()
    with free_gpus_awaited(resolve_config([]), lambda words: None, lambda: seen(79, 79), 0.01) as given:
        assert given.launch.gpus == (0,)
