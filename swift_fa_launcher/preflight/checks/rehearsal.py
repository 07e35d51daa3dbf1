"""What the training in small foretells of the whole one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import Text, in_both
from swift_fa_launcher.findings.areas.rehearsal import CANNOT
from swift_fa_launcher.findings.finding import ERROR, WARNING, Check, Finding
from swift_fa_launcher.findings.table import found
from swift_fa_launcher.machine.facts import Facts, Rehearsal
from swift_fa_launcher.preflight.packing import make_batch

#: Of a GPU's memory: above it a longer row than those seen, or what other libraries take, is too much.
ALMOST_ALL = 0.95
FEW = 0.01  # of the tokens


def rehearsal_failed(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """It failed in ms-swift, the model, the data or a training step; running out of memory is `gpu_memory_foretold`'s."""
    rehearsal = known(facts.rehearsal)
    if rehearsal is None or not (error := known(rehearsal.error)) or rehearsal.out_of_memory:
        return
    yield found("rehearsal-failed", "cause" if known(rehearsal.code) else "", error=error, cause=known(rehearsal.code))


def gpu_memory_foretold(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Its peak, extended from two depths to the model's, against the GPU."""
    rehearsal = known(facts.rehearsal)
    if rehearsal is None:
        return
    peak, whole = known(rehearsal.peak_gib), known(rehearsal.gpu_gib)
    batch, recomputed = make_batch(config, facts), config.swift.flag("gradient_checkpointing") is not False  # ms-swift's default
    less: dict[str, Any] = {"checkpointing": None if recomputed else "true",
            "accumulation": batch.per_device * batch.accumulation if batch.per_device > 1 else None}
    if rehearsal.out_of_memory:
        depth = next((one.depth for one in rehearsal.trials if known(one.peak_gib) is None), None)  # the one that was not done
        yield found("gpu-memory-short", "rehearsed" if depth else "in small", depth=depth, layers=known(rehearsal.layers), **less)
    elif peak and whole and peak > ALMOST_ALL * whole:
        yield found("gpu-memory-short", "foretold", severity=ERROR if peak > whole else WARNING, peak=f"{peak:.1f}",
                    memory=f"{whole:.1f}", **less)


def labels_masked(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A template that does not recognise answers, or a max_length that cuts them off, trains on nothing, with exit 0."""
    rehearsal = known(facts.rehearsal)
    share = known(rehearsal.learned) if rehearsal else None
    if share is not None and share < FEW:
        yield found("labels-masked", "few" if share else "none", severity=WARNING if share else ERROR, share=f"{share:.2%}")


def loss_not_finite(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """The first loss that is no number; one of exactly 0 only where every step has it. Of no token it says nothing."""
    rehearsal = known(facts.rehearsal)
    losses = rehearsal.losses if rehearsal and known(rehearsal.learned) != 0 else ()
    if None in losses:
        yield found("loss-not-finite", severity=ERROR, step=losses.index(None) + 1)
    elif losses and not any(losses):
        yield found("loss-not-finite", "zero", severity=WARNING)


def rehearsal_told(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """What it foretells, or why there is nothing to tell."""
    rehearsal = known(facts.rehearsal)
    if rehearsal is None or rehearsal.error or rehearsal.out_of_memory:
        return
    if why := known(rehearsal.cannot):
        head, colon, rest = why.partition(": ")
        chinese = CANNOT.get(head, head) + (f"：{rest}" if colon else "")
        yield found("rehearsal", "cannot", why=Text(why, chinese), context={"why": why})
    elif rehearsal.trials:
        told = tuple(foretold(rehearsal))
        yield found("rehearsal", depths=[one.depth for one in rehearsal.trials], layers=known(rehearsal.layers),
                    told=in_both(lambda lang: ("，" if lang == "zh" else ", ").join(text.render(lang) for text in told)))


def foretold(rehearsal: Rehearsal) -> Iterator[Text]:
    """Memory, speed and time as short phrases."""
    if peak := known(rehearsal.peak_gib):
        whole = known(rehearsal.gpu_gib) or 0.0
        yield Text(f"{peak:.1f} of {whole:.1f} GiB", f"显存 {peak:.1f} / {whole:.1f} GiB")
    if speed := known(rehearsal.tokens_per_second):
        yield Text(f"{speed:,.0f} tokens/s", f"{speed:,.0f} token/秒")
    seconds, steps = known(rehearsal.step_seconds), known(rehearsal.epoch_steps)
    if seconds:
        yield Text(f"{seconds:.2f} s a step", f"每步 {seconds:.2f} 秒")
    if seconds and steps:
        minutes = seconds * steps / 60
        yield Text(f"an epoch of {steps} steps takes {minutes:,.0f} min" if minutes >= 1 else f"{steps} steps an epoch",
                   f"一轮 {steps} 步约 {minutes:,.0f} 分钟" if minutes >= 1 else f"一轮 {steps} 步")


CHECKS: tuple[Check, ...] = (rehearsal_failed, gpu_memory_foretold, labels_masked, loss_not_finite, rehearsal_told)
