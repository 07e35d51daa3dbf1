"""The search for the fastest settings that learn the same: from what was measured so far to the next setting, or none. Pure.

One thing after another is tried over the best settings so far, and kept where it is faster by more than chance. What was measured
is all that the search remembers, so one that was cut off goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from swift_fa_launcher.bench.bench import effective
from swift_fa_launcher.bench.table import columns
from swift_fa_launcher.config.schema import FLASH_IMPLEMENTATIONS, Origin, ResolvedConfig, SwiftArguments
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import Text
from swift_fa_launcher.flash.provider import PACKAGE, TORCH, choose_provider
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.reading import process_count
from swift_fa_launcher.preflight.packing import NEARLY, longest_row, make_batch, make_packed

Changes = Mapping[str, Any]

#: How much faster a setting must be to be more than chance, and how full a GPU may become.
CHANCE, FULL = 1.015, 0.92
#: What lets other rows meet in a step, so that losses are those of another order, and how much faster it must be for that.
MIXES, WORTH_MIXING = ("swift.packing", "swift.packing_length", "swift.padding_free"), 1.05
#: Share of a step that it may wait for rows before more workers are tried.
WAITING, WORKERS = 0.02, 4
#: What changes the learning, and the value that is tried once it is allowed.
LEARNS_OTHERWISE: Mapping[str, Any] = {"lora_dropout": 0, "lora_dtype": "bfloat16", "optim": "adamw_bnb_8bit"}
BATCH = ("swift.per_device_train_batch_size", "swift.gradient_accumulation_steps")


@dataclass(frozen=True)
class Tried:
    """What a setting came to. changes: dotted key to value, over the config. whole: measured with all layers, else foretold from
    few. static_gib: of the model before a step; most_gib: that it may take. failed: why it did not train, None where it did.
    waiting: share of a step, for rows."""

    changes: Changes = field(default_factory=dict)
    whole: bool = False
    tokens_per_second: float | None = None
    peak_gib: float | None = None
    static_gib: float | None = None
    most_gib: float | None = None
    waiting: float = 0.0
    failed: str | None = None
    seconds: float = 0.0

    @property
    def fits(self) -> bool:
        return self.failed is None and not is_too_much(self.peak_gib, self.most_gib)

    @property
    def score(self) -> float:
        """Tokens a second, as far as they count."""
        speed = self.tokens_per_second if self.fits else None
        return (speed or 0.0) / (WORTH_MIXING if any(key in self.changes for key in MIXES) else 1.0)


def is_too_much(peak: float | None, most: float | None) -> bool:
    return peak is not None and most is not None and peak > most


@dataclass(frozen=True)
class Step:
    """A change that was kept, and how many times as fast it made the training; None where nothing had run before it."""

    changes: Changes
    times: float | None


@dataclass(frozen=True)
class Search:
    """following: what to try next; None where the search is done. best: the fastest so far, steps: the way there."""

    following: Changes | None
    best: Changes
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Ground:
    """What the search stands on. may_change: keys of LEARNS_OTHERWISE that were allowed."""

    config: ResolvedConfig
    facts: Facts
    may_change: tuple[str, ...] = ()

    def at(self, changes: Changes) -> ResolvedConfig:
        return applied(self.config, changes)

    def examples(self, changes: Changes) -> float | None:
        """Rows of the dataset in an optimizer step of one process; None where packing makes that unknown."""
        config = self.at(changes)
        batch, factor = make_batch(config, self.facts), packing_factor(config, self.facts)
        return None if factor is None else batch.per_device * batch.accumulation * factor

    def same_examples(self, changes: Changes, per_device: int) -> Changes | None:
        """The changes with the accumulation that leaves a step its examples; None where that cannot be had."""
        wanted, factor = self.examples({}), packing_factor(self.at(changes), self.facts)
        if wanted is None or factor is None:
            return None
        accumulation = max(1, round(wanted / (per_device * factor)))
        made = {**changes, BATCH[0]: per_device, BATCH[1]: accumulation}
        return made if abs(per_device * accumulation * factor / wanted - 1) <= NEARLY else None


def applied(config: ResolvedConfig, changes: Changes) -> ResolvedConfig:
    """The config with these values."""
    groups: dict[str, dict[str, Any]] = {}
    for key, value in changes.items():
        section, _, name = key.partition(".")
        groups.setdefault(section, {})[name] = value
    origins = {key: Origin("override", text=f"{key}={json.dumps(value)}") for key, value in changes.items()}
    swift = SwiftArguments({**config.swift, **groups.get("swift", {})})
    return replace(config, swift=swift, origins={**config.origins, **origins},
                   run=replace(config.run, **groups.get("run", {})),
                   flash_attn=replace(config.flash_attn, **groups.get("flash_attn", {})))


def packing_factor(config: ResolvedConfig, facts: Facts) -> float | None:
    """Rows of the dataset in a row that is trained on."""
    if not config.swift.flag("packing"):
        return 1.0
    packed = make_packed(config, facts)
    return packed.examples_per_row if packed else None


# What is tried, over the best settings so far


def more_speedups(ground: Ground, best: Changes, tried: Sequence[Tried]) -> Iterator[Changes]:
    if ground.at(best).run.speedups == "exact":
        yield {**best, "run.speedups": "all"}


def liger(ground: Ground, best: Changes, tried: Sequence[Tried]) -> Iterator[Changes]:
    if has_gpu(ground) and ground.facts.package("liger-kernel") and not ground.at(best).swift.flag("use_liger_kernel"):
        yield {**best, "swift.use_liger_kernel": True}


def what_learns_otherwise(ground: Ground, best: Changes, tried: Sequence[Tried]) -> Iterator[Changes]:
    """One change at a time that was allowed; each goes on over the others where they gained."""
    for key in ground.may_change:
        wanted = str(LEARNS_OTHERWISE[key])
        if str(effective(ground.at(best), ground.facts, key, None)) not in (wanted, f"{wanted}.0"):
            yield {**best, f"swift.{key}": LEARNS_OTHERWISE[key]}


def packed(ground: Ground, best: Changes, tried: Sequence[Tried]) -> Iterator[Changes]:
    """Packing, where the config does without: with the batch that sees as many examples."""
    swift = ground.at(best).swift
    if swift.flag("packing") or not (has_gpu(ground) or swift.packs):
        return  # it needs flash attention
    flash = {} if swift.attn_impl in FLASH_IMPLEMENTATIONS else {"swift.attn_impl": FLASH_IMPLEMENTATIONS[0]}
    changes = {**best, **flash, "swift.packing": True, "swift.padding_free": False}
    factor = packing_factor(ground.at(changes), ground.facts)
    batch = make_batch(ground.at(best), ground.facts).per_device
    if factor and (made := ground.same_examples(changes, max(1, round(batch / factor)))):
        yield made


def unpacked(ground: Ground, best: Changes, tried: Sequence[Tried]) -> Iterator[Changes]:
    """padding_free where rows are packed: rows as they come, joined anew in every batch."""
    config = ground.at(best)
    factor = packing_factor(config, ground.facts)
    if config.swift.flag("packing") and factor:
        changes = {**best, "swift.packing": False, "swift.padding_free": True}
        if made := ground.same_examples(changes, max(1, round(make_batch(config, ground.facts).per_device * factor))):
            yield made


def no_recomputing(ground: Ground, best: Changes, tried: Sequence[Tried]) -> Iterator[Changes]:
    """Activations kept, with the largest batch that fits."""
    if str(effective(ground.at(best), ground.facts, "gradient_checkpointing", True)).lower() == "false":
        return
    for changes in batches({**best, "swift.gradient_checkpointing": False}, ground, largest=None):
        yield changes
        if any(one.changes == changes and one.fits for one in tried):
            return


def larger_batches(ground: Ground, best: Changes, tried: Sequence[Tried]) -> Iterator[Changes]:
    now = make_batch(ground.at(best), ground.facts)
    for changes in reversed([*batches(best, ground, largest=now.per_device * now.accumulation)]):
        if make_batch(ground.at(changes), ground.facts).per_device > now.per_device:
            yield changes
            if not any(one.changes == changes and one.fits for one in tried):
                return


def batches(changes: Changes, ground: Ground, *, largest: int | None) -> Iterator[Changes]:
    """The changes with each batch that divides what a step sees, from the largest (the batch now, for None) down."""
    now = make_batch(ground.at(changes), ground.facts)
    rows = now.per_device * now.accumulation
    for size in range(largest or now.per_device, 0, -1):
        if rows % size == 0:
            yield {**changes, BATCH[0]: size, BATCH[1]: rows // size} if size != now.per_device else changes


def longer_rows(ground: Ground, best: Changes, tried: Sequence[Tried]) -> Iterator[Changes]:
    """Packed rows of twice the length, half as many: less is left empty."""
    config = ground.at(best)
    length = config.swift.whole("packing_length") or longest_row(config, ground.facts)
    batch = make_batch(config, ground.facts).per_device
    if config.swift.flag("packing") and length and batch % 2 == 0:
        made = ground.same_examples({**best, "swift.packing_length": 2 * length}, batch // 2)
        if made:
            yield made


def other_provider(ground: Ground, best: Changes, tried: Sequence[Tried]) -> Iterator[Changes]:
    now = choose_provider(ground.at(best), ground.facts)
    for name in (PACKAGE, TORCH) if now else ():
        changes = {**best, "flash_attn.provider": name}
        other = choose_provider(ground.at(changes), ground.facts)
        if now and name != now.name and other and other.there:
            yield changes


def fused_optimizer(ground: Ground, best: Changes, tried: Sequence[Tried]) -> Iterator[Changes]:
    if has_gpu(ground) and effective(ground.at(best), ground.facts, "optim", None) == "adamw_torch":
        yield {**best, "swift.optim": "adamw_torch_fused"}


def compiled(ground: Ground, best: Changes, tried: Sequence[Tried]) -> Iterator[Changes]:
    """Last, since compiling takes long and does not run with everything."""
    if has_gpu(ground) and process_count(ground.config, ground.facts) == 1 and not ground.at(best).swift.flag("torch_compile"):
        yield {**best, "swift.torch_compile": True}


def has_gpu(ground: Ground) -> bool:
    return bool(known(ground.facts.gpus)) and not ground.config.swift.flag("use_cpu")


KNOBS: tuple[Callable[[Ground, Changes, Sequence[Tried]], Iterator[Changes]], ...] = (
    packed, more_speedups, liger, what_learns_otherwise, no_recomputing, larger_batches, longer_rows, other_provider, unpacked,
    fused_optimizer, compiled)


# The search


def search(ground: Ground, tried: Sequence[Tried]) -> Search:
    """What to try next. The config itself comes first."""
    found = [one for one in tried if not one.whole]
    start = _find(found, {})
    if start is None:
        return Search({}, {}, ())
    best, steps = start, list[Step]()
    for knob in KNOBS:
        before = best
        for changes in knob(ground, before.changes, found):
            one = _find(found, changes)
            if one is None:
                if _foretold_too_much(ground, changes, found):
                    continue
                return Search(changes, best.changes, tuple(steps))
            if one.score > best.score * CHANCE:
                best = one
        if best is not before:
            steps.append(Step({key: value for key, value in best.changes.items() if before.changes.get(key) != value},
                              (best.tokens_per_second or 0.0) / before.tokens_per_second
                              if before.fits and before.tokens_per_second else None))
    return Search(None, best.changes, tuple(steps))


def to_verify(tried: Sequence[Tried], wanted: int = 2) -> Changes | None:
    """The next of the fastest settings to run with all layers, then with more data workers where the fastest waits for its rows;
    None where `wanted` of them ran, or none is left."""
    ran = [one for one in tried if one.whole]
    best = fastest(ran)
    if sum(one.fits for one in ran) < wanted:
        ranked = sorted((one for one in tried if not one.whole and one.score), key=lambda one: -one.score)
        return next((one.changes for one in ranked[:wanted + 2] if _find(ran, one.changes) is None), None)
    more = {**best.changes, "swift.dataloader_num_workers": WORKERS} if best else {}
    return more if best and best.waiting > WAITING and _find(ran, more) is None else None


def fastest(tried: Sequence[Tried]) -> Tried | None:
    """The fastest with all layers, where any ran; else the fastest that was foretold."""
    ran = [one for one in tried if one.whole and one.score]
    return max(ran or [one for one in tried if one.score and not one.whole], key=lambda one: one.score, default=None)


def _find(tried: Sequence[Tried], changes: Changes) -> Tried | None:
    return next((one for one in tried if one.changes == changes), None)


def _foretold_too_much(ground: Ground, changes: Changes, tried: Sequence[Tried]) -> bool:
    """Whether what was measured with another batch leaves no doubt: beside the model, memory goes with the rows of a batch."""
    size = make_batch(ground.at(changes), ground.facts).per_device
    for one in tried:
        if _without_batch(one.changes) != _without_batch(changes):
            continue
        other = make_batch(ground.at(one.changes), ground.facts).per_device
        if one.failed == OUT_OF_MEMORY and other <= size:
            return True
        if one.peak_gib and one.static_gib and \
                is_too_much(one.static_gib + (one.peak_gib - one.static_gib) * size / other, one.most_gib):
            return True
    return False


def _without_batch(changes: Changes) -> Changes:
    return {key: value for key, value in changes.items() if key not in BATCH}


OUT_OF_MEMORY = "gpu-out-of-memory"


# For people


def describe(changes: Changes) -> str:
    """The changes as they are typed, without what says no more than where.

    >>> describe({"swift.packing": True, "run.speedups": "all"})
    'packing=true run.speedups=all'
    """
    return " ".join(f"{key.removeprefix('swift.')}={json.dumps(value).strip(chr(34))}" for key, value in changes.items())


_AS_IT_IS = Text("(the config)", "（原配置）")
_HEADS = (Text("setting", "设置"), Text("tokens/s", "tokens/s"), Text("peak memory", "峰值内存"), Text("measured", "测法"))
_FORETOLD, _WHOLE = Text("foretold", "预估"), Text("all layers", "全部层")
_SHORT = 60  # characters of an error
_FULL = Text("does not fit", "放不下")


def render_tried(tried: Sequence[Tried], lang: str) -> str:
    """All settings as a Markdown table, the fastest last."""
    rows = [[head.render(lang) for head in _HEADS]]
    for one in sorted(tried, key=lambda one: (one.whole, one.score)):
        how = (one.failed or "")[:_SHORT] or (_WHOLE if one.whole else _FORETOLD if one.fits else _FULL).render(lang)
        speed = f"{one.tokens_per_second:,.0f}" if one.tokens_per_second else ""
        rows.append([describe(one.changes) or _AS_IT_IS.render(lang), speed,
                     f"{one.peak_gib:.1f} GiB" if one.peak_gib else "", how])
    return "\n".join([*columns(rows), ""])


def render_overlay(base: Sequence[str], given: Changes, best: Changes, steps: Sequence[Step], about: Sequence[str]) -> str:
    """A config over `base` with the best settings, each line with what it gained. given: what the command line said besides."""
    lines = [*(f"# {line}" for line in about), f"extends: {json.dumps(list(base), ensure_ascii=False)}"]
    gains = {key: step.times for step in steps for key in step.changes}
    sections: dict[str, list[str]] = {}
    for key, value in {**given, **best}.items():
        section, _, name = key.partition(".")
        why = "from the command line" if key not in best else _gain(gains[key]) if key in gains else "faster with all layers"
        if key.partition(".")[2] in LEARNS_OTHERWISE and key in best:
            why += "; changes what is learned"
        sections.setdefault(section, []).append(f"  {name}: {json.dumps(value, ensure_ascii=False)}  # {why}")
    for section, written in sections.items():
        lines += ["", f"{section}:", *written]
    return "\n".join([*lines, ""])


def _gain(times: float | None) -> str:
    return "what makes it fit" if times is None else f"{times - 1:+.1%} tokens/s"
