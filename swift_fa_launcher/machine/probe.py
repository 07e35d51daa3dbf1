"""Whether flash attention can be imported and computes right: what of it is worth trying for a config on a machine, tried in
the training interpreter; answers are kept.

An answer is kept while everything that it depends on is unchanged, and only a good one: what failed may have been
mended from outside (a library path, another process's memory).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from swift_fa_launcher.cache import cache_dir
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Maybe, Unknown, known
from swift_fa_launcher.errors import Say, Text
from swift_fa_launcher.files import keep_answer, kept_answer, stamp
from swift_fa_launcher.flash.implementations import (
    BY_NAME,
    FA2,
    IMPLEMENTATIONS,
    TENSOR_LENGTHS,
    TORCHS_OWN,
    Implementation,
)
from swift_fa_launcher.machine.facts import Driver, Facts, FlashAttn, Gpu, Probe, ProbedDevice
from swift_fa_launcher.machine.flash_attention import explain, extension_files, unproven
from swift_fa_launcher.machine.installed import Report, known_path
from swift_fa_launcher.machine.interpreter import Answer, run_script
from swift_fa_launcher.machine.reading import model_config, visible_gpus

SCRIPT = Path(__file__).with_name("probe_script.py")
HALF_PRECISION = ("bfloat16", "float16")
#: Head sizes to try where the model's are not known.
USUAL_HEAD_DIMS = (64, 128)


@dataclass(frozen=True)
class Job:
    """What to try. gpus: none for the import alone. files: what the answer depends on, beside the rest of this."""

    python: str
    module: str
    gpus: tuple[Gpu, ...] = ()
    driver: Maybe[Driver] = None
    dtype: str = "bfloat16"
    head_dims: tuple[int, ...] = USUAL_HEAD_DIMS
    tensor_lengths: bool = False  # as the installed transformers calls the kernel for packed rows
    files: tuple[Path, ...] = ()
    script: Path = SCRIPT


@dataclass(frozen=True)
class Tried:
    """torch_error and import_error: None for an import that went well, Unknown where it was not got to."""

    torch_error: Maybe[str]
    import_error: Maybe[str]
    devices: tuple[ProbedDevice, ...] = ()


# What is worth trying ------------------------------------------------------------------------------------------------


def prove_flash_attn(facts: Facts, report: Report, config: ResolvedConfig, environment: Mapping[str, str], cwd: Path, *,
                     may_run: bool, say: Say) -> Facts:
    """The facts with flash attention imported and run, as far as that is wanted and can succeed.

    What is not tried has `import_error` and `probe` Unknown("not run: …").
    """
    for variant in (*IMPLEMENTATIONS, TORCHS_OWN):
        attention = known(getattr(facts, variant.field))
        if attention is None or attention.origin is None:
            continue
        wanted = variant is wanted_variant(config, facts)
        reason = why_not_try(attention, variant, facts, config, report["suffixes"], may_run)
        if reason:
            facts = _with(facts, variant, unproven(attention, f"not run: {reason}"))
            continue
        gpus = gpus_to_probe(config, facts) if wanted else Unknown("no flash implementation is wanted")
        tried = probe_flash_attn(make_job(variant, known(gpus) or (), facts, report, config), environment, cwd,
                                 config.preflight.timeout, say)
        facts = _with(facts, variant, with_tried(attention, tried, gpus))
        if isinstance(tried.torch_error, str) and (torch := known(facts.torch)):
            facts = replace(facts, torch=replace(torch, import_error=tried.torch_error))
    return facts


def _with(facts: Facts, variant: Implementation, attention: FlashAttn) -> Facts:
    changes: dict[str, Any] = {variant.field: attention}
    return replace(facts, **changes)


def wanted_variant(config: ResolvedConfig, facts: Facts) -> Implementation | None:
    """What the training will run of flash attention, as far as is known before it is tried; None where it asks for none."""
    row = BY_NAME.get(config.swift.attn_impl or "") or (FA2 if config.swift.wants_flash_attn else None)
    wish = config.flash_attn.provider
    if wish == "kernel" and row is FA2:
        return None  # machine.hub_kernel tries it
    instead = wish == "torch" or (wish == "auto" and facts.flash_attn is None)
    return TORCHS_OWN if row is FA2 and instead and isinstance(facts.torch_attention, FlashAttn) else row


def why_not_try(attention: FlashAttn, variant: Implementation, facts: Facts, config: ResolvedConfig, suffixes: tuple[str, ...],
                may_run: bool) -> str | None:
    """The reason for not importing it, None where it should be: an import costs seconds.

    One that nobody wants is imported only beside a GPU too old for it, where a model's own code may still call it.
    """
    wanted = wanted_variant(config, facts)
    if variant is not wanted and not (variant is FA2 and any(map(_is_old, known(facts.gpus) or ()))):
        return "another implementation is wanted" if wanted else "no flash implementation is wanted"
    if not may_run:
        return "--no-probe"
    if config.preflight.probe == "never":
        return "preflight.probe is never"
    torch = known(facts.torch)
    if torch is None:
        return "there is no torch"
    return None if known(torch.hip) else explain(attention, suffixes)  # AMD's build may do without an extension


def _is_old(gpu: Gpu) -> bool:
    capability = known(gpu.compute_capability)
    return capability is not None and capability.major < FA2.majors.start


def gpus_to_probe(config: ResolvedConfig, facts: Facts) -> tuple[Gpu, ...] | Unknown:
    """The GPUs that the training will use, as far as flash attention may run on them; Unknown(why) for none."""
    if facts.gpus is None or isinstance(facts.gpus, Unknown):
        return facts.gpus or Unknown("no GPU")
    seen = visible_gpus(config, facts)
    if seen.gpus is None:
        return Unknown(f"cannot tell which GPUs {seen.chosen_by} names" if seen.chosen_by else "no GPU")
    return tuple(dict.fromkeys(gpu for gpu in seen.gpus if not _is_old(gpu))) or Unknown("no GPU that it runs on")


def make_job(variant: Implementation, gpus: tuple[Gpu, ...], facts: Facts, report: Report, config: ResolvedConfig) -> Job:
    """What to try, and the files that the answer depends on."""
    torch, attention = known(facts.torch), known(getattr(facts, variant.field))
    entry = report["distributions"].get(variant.distribution)
    files = [*map(Path, extension_files(report, variant)[:1]), known_path(attention.origin) if attention else None,
             Path(entry["place"], "RECORD") if entry else None]
    if torch and (folder := known_path(torch.origin)):
        files += [folder / "version.py", folder / "lib/libtorch_cpu.so", folder / "lib/libtorch_cuda.so"]
    return Job(python=report["python"]["executable"], module=variant.module, gpus=gpus, driver=facts.driver,
               dtype=wanted_dtype(config, facts), head_dims=wanted_head_dims(config, facts),
               tensor_lengths=hands_tensor_lengths(config, facts),
               files=tuple(file for file in files if file))


def wanted_dtype(config: ResolvedConfig, facts: Facts) -> str:
    """The half precision that attention will compute in: the trainer's flags, the config's type, the model's own."""
    if config.swift.flag("bf16") or config.swift.flag("fp16"):
        return "bfloat16" if config.swift.flag("bf16") else "float16"
    named = (config.swift.text("torch_dtype"), known(model_config(config, facts).torch_dtype))
    return next((dtype for dtype in named if dtype in HALF_PRECISION), "bfloat16")


def wanted_head_dims(config: ResolvedConfig, facts: Facts) -> tuple[int, ...]:
    """The head sizes of the model's config, else the usual ones."""
    return known(model_config(config, facts).head_dims) or USUAL_HEAD_DIMS


def hands_tensor_lengths(config: ResolvedConfig, facts: Facts) -> bool:
    """Whether transformers will hand the kernel the length of the longest row as a tensor."""
    transformers = facts.package("transformers")
    return config.swift.packs and transformers is not None and transformers in TENSOR_LENGTHS


def with_tried(attention: FlashAttn, tried: Tried, gpus: tuple[Gpu, ...] | Unknown) -> FlashAttn:
    """The facts with what was tried. `gpus`: those that were to be probed, or why none was."""
    probe: Maybe[Probe] = Probe(tried.devices)
    if tried.import_error is not None:
        probe = Unknown("not run: it does not import")
    elif isinstance(gpus, Unknown):
        probe = Unknown(f"not run: {gpus.why}")
    return replace(attention, import_error=tried.import_error, probe=probe)


# Trying it ------------------------------------------------------------------------------------------------------------


def probe_flash_attn(job: Job, environment: Mapping[str, str], cwd: Path, timeout: float,
                     say: Say) -> Tried:
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
            "tensor": job.tensor_lengths,
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
    return json.dumps({"module": job.module, "devices": len(gpus), "dtype": job.dtype, "head_dims": job.head_dims,
                       "tensor_lengths": job.tensor_lengths})


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
