"""Whether flash attention can be imported and computes right, tried in the training interpreter; answers are kept.

An answer is kept while everything that it depends on is unchanged, and only a good one: what failed may have been
mended from outside (a library path, another process's memory).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from swift_fa_launcher.cache import cache_dir, keep_answer, kept_answer, stamp
from swift_fa_launcher.decode import Maybe, Unknown
from swift_fa_launcher.errors import Text, Words
from swift_fa_launcher.machine.facts import Driver, Gpu, ProbedDevice
from swift_fa_launcher.machine.interpreter import Answer, run_script

SCRIPT = Path(__file__).with_name("probe_script.py")


@dataclass(frozen=True)
class Job:
    """What to try. gpus: none for the import alone. files: what the answer depends on, beside the rest of this."""

    python: str
    module: str
    gpus: tuple[Gpu, ...] = ()
    driver: Maybe[Driver] = None
    dtype: str = "bfloat16"
    head_dims: tuple[int, ...] = (64, 128)
    files: tuple[Path, ...] = ()
    script: Path = SCRIPT


@dataclass(frozen=True)
class Tried:
    """torch_error and import_error: None for an import that went well, Unknown where it was not got to."""

    torch_error: Maybe[str]
    import_error: Maybe[str]
    devices: tuple[ProbedDevice, ...] = ()


def probe_flash_attn(job: Job, environment: Mapping[str, str], cwd: Path, timeout: float,
                     say: Callable[[Words], None]) -> Tried:
    """Imports and runs flash attention as `job` says, or gives back the kept answer. timeout: seconds for all of it."""
    kept = cache_dir() / "probe" / f"{answer_key(job, environment)}.json"
    if (tried := kept_answer(kept, lambda answer: _good(answer["devices"], job.gpus))) is not None:
        return tried
    say(Text(f"trying {job.module} on {len(job.gpus)} GPU(s)", f"正在 {len(job.gpus)} 块 GPU 上试运行 {job.module}")
        if job.gpus else Text(f"importing {job.module} once", f"正在试导入 {job.module}（仅一次）"))
    tried = run_probe(job, environment, cwd, timeout)
    if tried.torch_error is None and tried.import_error is None and all(device.ok for device in tried.devices):
        keep_answer(kept, {"devices": {device.index: device.max_error for device in tried.devices}})
    return tried


def answer_key(job: Job, environment: Mapping[str, str]) -> str:
    """A name for everything that the answer depends on."""
    stamps = [stamp(file) for file in (*job.files, job.script, Path(job.python))]
    told = {"stamps": stamps, "python": job.python, "module": job.module, "dtype": job.dtype, "dims": job.head_dims,
            "gpus": [(g.index, str(g.uuid), str(g.name)) for g in job.gpus], "driver": str(job.driver),
            "paths": [environment.get(name) for name in ("LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH")]}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


def _good(errors: Mapping[str, float], gpus: Sequence[Gpu]) -> Tried:
    """An answer that was kept by the GPUs' numbers. Raises KeyError where it is not of all these GPUs."""
    return Tried(None, None, tuple(ProbedDevice(gpu.index, True, None, float(errors[str(gpu.index)])) for gpu in gpus))


def run_probe(job: Job, environment: Mapping[str, str], cwd: Path, timeout: float) -> Tried:
    """Runs the script, again after a crash or a hang for the GPUs that it had not come to, while time is left."""
    deadline, waiting, devices = time.monotonic() + timeout, list(job.gpus), list[ProbedDevice]()
    while True:
        answer = run_script(job.python, job.script, describe(job, waiting), cwd=cwd, timeout=deadline - time.monotonic(),
                            environment={**environment, **visible(waiting)})
        tried = read_answer(answer, waiting)
        devices += tried.devices
        waiting = waiting[len(tried.devices):]
        if not waiting or not tried.devices or time.monotonic() >= deadline:
            return replace(tried, devices=tuple(devices))


def describe(job: Job, gpus: Sequence[Gpu]) -> str:
    """The script's argument."""
    return json.dumps({"module": job.module, "devices": len(gpus), "dtype": job.dtype, "head_dims": job.head_dims})


def visible(gpus: Iterable[Gpu]) -> dict[str, str]:
    """The environment in which the script's first GPU is the first of these, and so on (NVML counts by PCI bus)."""
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(str(gpu.index) for gpu in gpus)}


def read_answer(answer: Answer, gpus: Sequence[Gpu]) -> Tried:
    """The script's steps as facts. A crash or a hang is laid at the step that had not answered.

    An import that takes longer than the time given is Unknown: on a cold network file system torch's takes minutes.
    """
    said: dict[str, Any] = {}
    for step in answer.steps:
        said.update({key: step[key] for key in ("torch", "module") if key in step})
    failure = answer.failure or "it ended without an answer"
    ended = Unknown(failure) if answer.late else failure
    torch_error = said.get("torch", ended)
    if torch_error is not None:
        return Tried(torch_error, torch_error if answer.late else Unknown("torch does not import"))
    import_error = said.get("module", ended)
    if import_error is not None:
        return Tried(None, import_error)
    done = [step for step in answer.steps if "device" in step][:len(gpus)]
    devices = [_judge(gpu.index, step) for gpu, step in zip(gpus, done, strict=False)]
    if len(devices) < len(gpus):
        devices.append(ProbedDevice(gpus[len(devices)].index, False, failure))
    return Tried(None, None, tuple(devices))


def _judge(index: int, step: Mapping[str, Any]) -> ProbedDevice:
    """One GPU's result. Wrong numbers are `ok=False` without an error; no numbers (nan) are an error."""
    if step.get("error"):
        return ProbedDevice(index, False, str(step["error"]))
    for case in step.get("cases", ()):
        if case["error"] is None:
            return ProbedDevice(index, False, f"the result is not a number ({case['case']})")
    largest = max((case["error"] for case in step.get("cases", ())), default=None)
    right = all(case["error"] <= case["allowed"] for case in step.get("cases", ()))
    return ProbedDevice(index, right and largest is not None, None, largest)
