"""Decides what of flash attention is worth trying for a config on a machine, and has it tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Maybe, Unknown, known
from swift_fa_launcher.errors import Words
from swift_fa_launcher.flash.implementations import BY_NAME, FA2, IMPLEMENTATIONS, Implementation
from swift_fa_launcher.machine.facts import Facts, FlashAttn, Gpu, ModelConfig, Probe
from swift_fa_launcher.machine.flash_attention import explain, extension_files, unproven
from swift_fa_launcher.machine.installed import Report, known_path
from swift_fa_launcher.machine.probe import Job, Tried, probe_flash_attn
from swift_fa_launcher.machine.reading import visible_gpus

HALF_PRECISION = ("bfloat16", "float16")
#: Head sizes to try where the model's are not known.
USUAL_HEAD_DIMS = (64, 128)


def prove_flash_attn(facts: Facts, report: Report, config: ResolvedConfig, environment: Mapping[str, str], cwd: Path, *,
                     may_run: bool, say: Callable[[Words], None]) -> Facts:
    """The facts with flash attention imported and run, as far as that is wanted and can succeed.

    What is not tried has `import_error` and `probe` Unknown("not run: …").
    """
    for variant in IMPLEMENTATIONS:
        attention = known(getattr(facts, variant.field))
        if attention is None or attention.origin is None:
            continue
        wanted = variant is wanted_variant(config)
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


def wanted_variant(config: ResolvedConfig) -> Implementation | None:
    """The generation of flash attention that the config asks for; None where it asks for none."""
    return BY_NAME.get(config.swift.attn_impl or "") or (FA2 if config.swift.wants_flash_attn else None)


def why_not_try(attention: FlashAttn, variant: Implementation, facts: Facts, config: ResolvedConfig, suffixes: tuple[str, ...],
                may_run: bool) -> str | None:
    """The reason for not importing it, None where it should be: an import costs seconds.

    One that nobody wants is imported only beside a GPU too old for it, where a model's own code may still call it.
    """
    wanted = wanted_variant(config)
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
               files=tuple(file for file in files if file))


def wanted_dtype(config: ResolvedConfig, facts: Facts) -> str:
    """The half precision that attention will compute in: the trainer's flags, the config's type, the model's own."""
    if config.swift.flag("bf16") or config.swift.flag("fp16"):
        return "bfloat16" if config.swift.flag("bf16") else "float16"
    model = _model(config, facts)
    named = (config.swift.text("torch_dtype"), known(model.torch_dtype) if model else None)
    return next((dtype for dtype in named if dtype in HALF_PRECISION), "bfloat16")


def wanted_head_dims(config: ResolvedConfig, facts: Facts) -> tuple[int, ...]:
    """The head sizes of the model's config, else the usual ones."""
    model = _model(config, facts)
    return (known(model.head_dims) if model else None) or USUAL_HEAD_DIMS


def _model(config: ResolvedConfig, facts: Facts) -> ModelConfig | None:
    path = facts.path(config.swift.text("model"))
    return known(path.model_config) if path else None


def with_tried(attention: FlashAttn, tried: Tried, gpus: tuple[Gpu, ...] | Unknown) -> FlashAttn:
    """The facts with what was tried. `gpus`: those that were to be probed, or why none was."""
    probe: Maybe[Probe] = Probe(tried.devices)
    if tried.import_error is not None:
        probe = Unknown("not run: it does not import")
    elif isinstance(gpus, Unknown):
        probe = Unknown(f"not run: {gpus.why}")
    return replace(attention, import_error=tried.import_error, probe=probe)
