"""What packing makes of a dataset: rows in a packed row, steps in an epoch. Pure.

Source: ms-swift's swift/dataset/packing.py (PackingDataset, calculate_matched_group), dataset_meta.py (post_process),
trainers/arguments.py (gradient_accumulation_steps), transformers' Trainer.set_initial_training_values.
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.machine.facts import Facts, PathFacts
from swift_fa_launcher.machine.reading import process_count, split_ratio
from swift_fa_launcher.machine.rows import row_limit

#: Rows that are packed together (PackingDataset.PACKING_BATCH_SIZE).
TOGETHER = 1000
MOST_ROWS = 10**12
#: How far a step's examples may be from as many as before packing, for fewer passes.
NEARLY = 0.1


@dataclass(frozen=True)
class Batch:
    """per_device × accumulation × processes rows make a step. processes: those that get rows of their own."""

    per_device: int
    accumulation: int
    processes: int

    @property
    def per_step(self) -> int:
        return self.per_device * self.accumulation * self.processes


@dataclass(frozen=True)
class Packed:
    """What an epoch becomes. rows and the steps are None where the number of rows is not known."""

    examples_per_row: float
    batch: Batch
    rows: int | None  # that are trained on: usable, not too long, not kept for validation; with `split`, their pieces
    steps: int | None
    steps_unpacked: int | None
    same_examples: tuple[int, int]  # per_device and accumulation with which a step sees as many examples as unpacked


def longest_row(config: ResolvedConfig, facts: Facts) -> int | None:
    """ms-swift's max_length: the config's, else the model's own."""
    return row_limit(config, facts.path(config.swift.get("model")))


def make_packed(config: ResolvedConfig, facts: Facts) -> Packed | None:
    """What packing makes of the config's datasets; None where that cannot be told."""
    longest, packing_length = longest_row(config, facts), config.swift.whole("packing_length")
    length = packing_length or longest
    names = config.swift.names("dataset")
    paths = [(name, path) for name in names if _mean(path := facts.path(name))]
    if not paths or not length or not 1 <= length < 10**9:
        return None
    shares = [(share_kept(path, config), path, row_count(name, path)) for name, path in paths]
    left = [(path, kept, rows) for kept, path, rows in shares if kept and rows != 0]
    if not left:
        return None
    per_row, pieces = _examples_per_row(left, config, longest, length)
    batch = make_batch(config, facts)
    counts = [None if rows is None else round(trained(rows, config, facts) * kept * pieces) for kept, _, rows in shares]
    rows = sum(count or 0 for count in counts) if len(paths) == len(names) and None not in counts else None
    if config.swift.flag("streaming"):
        rows = None
    return Packed(per_row, batch, rows, same_examples=smaller_batch(batch, per_row),
                  steps=math.ceil(math.ceil(rows / per_row) / batch.per_step) if rows else None,
                  steps_unpacked=math.ceil(rows / batch.per_step) if rows else None)


def nothing_left(config: ResolvedConfig, facts: Facts) -> tuple[int, ...] | None:
    """The tokens of all rows of all datasets, where each of them is certainly too long and dropped; else None.

    Certainly: no sample, no row that the launcher judged otherwise, no data of another origin, nothing that changes the
    limit or how rows are laid out. And twice as long at least: rows with tools, or without a template in the config, are
    counted by the tokenizer's own chat template, which may lay out tools with far more spaces than ms-swift does.
    """
    swift, limit = config.swift, longest_row(config, facts)
    others = ("cached_dataset", "external_plugins", "custom_register_path", "custom_dataset_info", "load_args", "agent_template",
              "rope_scaling", "max_model_len")
    if limit is None or cuts(config) or any(swift.get(key) for key in others):
        return None
    found: list[int] = []
    for path in map(facts.path, swift.names("dataset")):
        tokens = known(path.row_tokens)
        if not tokens or {known(path.rows), known(path.rows_checked), known(path.usable_rows)} != {len(tokens)}:
            return None
        found += tokens
    return tuple(found) if found and min(found) > 2 * limit else None


def _mean(path: PathFacts) -> float | None:
    mean = known(path.mean_row_tokens)
    return mean if mean and math.isfinite(mean) and mean >= 1 else None


def cuts(config: ResolvedConfig) -> bool:
    """Whether rows that are too long are cut; the default drops them."""
    return config.swift.get("truncation_strategy") in ("left", "right", "split")


def share_kept(path: PathFacts, config: ResolvedConfig) -> float:
    """The share of a file's rows that are trained on: those that can be used and are not dropped for their length."""
    checked, usable, over = (None if value is None else _bounded(value) for value in map(known, (
        path.rows_checked, path.usable_rows, path.rows_over_max_length)))
    if not checked:
        return 1.0
    usable = checked if usable is None else usable
    return min(1.0, max(0.0, (usable - (0 if cuts(config) else over or 0)) / checked))


def _bounded(rows: int) -> int:
    """What saved facts say, as a number that can be reckoned with."""
    return min(max(rows, 0), MOST_ROWS)


def row_count(name: str, path: PathFacts) -> int | None:
    """Rows of a dataset; with `#N` that many, some of them repeatedly where it has fewer. None where it is not known."""
    limit = re.search(r"#(\d{1,12})$", name)
    rows = int(limit[1]) if limit else known(path.rows)
    return None if rows is None else _bounded(rows)


def dataset_rows(config: ResolvedConfig, facts: Facts) -> int:
    """Rows of all datasets whose number is known, `#N` taken into account."""
    counts = [row_count(name, facts.path(name)) for name in config.swift.names("dataset")]
    return min(sum(count or 0 for count in counts), MOST_ROWS)


def trained(rows: int, config: ResolvedConfig, facts: Facts) -> int:
    """Of a dataset's rows those that are not kept for validation."""
    swift, ratio = config.swift, split_ratio(config, facts) or 0.0
    strategy = swift.strategy("eval_strategy") or swift.strategy("save_strategy")
    if swift.names("val_dataset") or strategy == "no" or not 0 < ratio < 1:
        return rows
    return max(0, rows - max(int(rows * ratio), 1))


def make_batch(config: ResolvedConfig, facts: Facts) -> Batch:
    """The batch in effect. Without gradient_accumulation_steps ms-swift takes what brings a step to 16 rows."""
    swift = config.swift
    processes = min(max(1, process_count(config, facts)), 10**6)
    per_device = min(max(1, swift.whole("per_device_train_batch_size") or 1), 10**6)
    accumulation = swift.whole("gradient_accumulation_steps") or math.ceil(16 / per_device / processes)
    parallel = min(max(1, swift.sequence_parallel), processes)
    return Batch(per_device, min(max(1, accumulation), 10**6), processes // parallel)


def smaller_batch(batch: Batch, per_row: float) -> tuple[int, int]:
    """The per_device and accumulation with which a step sees nearly as many examples as before packing.

    The one of fewest passes that is NEARLY right, else the nearest.
    """
    wanted = batch.per_device * batch.accumulation / per_row
    pairs = [(size, max(1, round(wanted / size))) for size in range(min(batch.per_device, 1000), 0, -1)]
    off = {pair: abs(pair[0] * pair[1] - wanted) for pair in pairs}
    near = [pair for pair in pairs if off[pair] <= NEARLY * wanted]
    return min(near, key=lambda pair: (pair[1], off[pair])) if near else min(pairs, key=lambda pair: (off[pair], pair[1]))


def _examples_per_row(datasets: Sequence[tuple[PathFacts, float, int | None]], config: ResolvedConfig,
                      longest: int | None, length: int) -> tuple[float, float]:
    """Examples of the datasets, in their shares, that a packed row holds; and how many a row of theirs becomes (`split`)."""
    known_rows = [rows for _, _, rows in datasets if rows is not None]
    weights = [(rows if len(known_rows) == len(datasets) and rows is not None else 1) * kept for _, kept, rows in datasets]
    samples = [tuple(_as_trained(known(path.row_tokens) or (), config, longest)) for path, _, _ in datasets]
    if not all(samples):
        means = [_mean(path) or 1.0 for path, _, _ in datasets]
        return max(1.0, length * sum(weights) / sum(m * w for m, w in zip(means, weights, strict=True))), 1.0
    size = min(TOGETHER, max(1, round(sum(weights)))) if len(known_rows) == len(datasets) else TOGETHER
    rows = [part for sample, weight in zip(samples, weights, strict=True)
            for part in _stretched(sample, round(size * weight / sum(weights)))]
    pieces = [tokens for row in rows for tokens in row]
    packed = count_packed(pieces, length, config.swift.text("packing_strategy"))
    return (len(pieces) / packed, len(pieces) / len(rows)) if packed else (1.0, 1.0)


def _as_trained(tokens: Sequence[int], config: ResolvedConfig, longest: int | None) -> Iterator[tuple[int, ...]]:
    """Each row's parts in tokens: too long ones dropped, cut, or split as `truncation_strategy` says."""
    for count in map(_bounded, tokens):
        if longest is None or count <= longest:
            yield (max(1, count),)
        elif config.swift.get("truncation_strategy") == "split":
            whole, rest = divmod(min(count, longest * 64), longest)
            yield (longest,) * whole + ((rest,) if rest else ())
        elif cuts(config):
            yield (longest,)


def _stretched(sample: Sequence[tuple[int, ...]], size: int) -> Iterator[tuple[int, ...]]:
    """`size` of the sample's rows, evenly; each several times where there are fewer."""
    return (sample[place * len(sample) // size] for place in range(size))


def count_packed(tokens: Sequence[int], length: int, strategy: str | None = None) -> int:
    """Packed rows that ms-swift makes of rows of these lengths, of no more than TOGETHER rows."""
    if strategy == "sequential":
        return _count_in_order(tokens, length)
    loads: list[int] = []
    for count in sorted(tokens, reverse=True):  # each goes where most is free (binpacking.to_constant_volume)
        if loads and loads[0] + count <= length:
            heapq.heapreplace(loads, loads[0] + count)
        else:
            heapq.heappush(loads, count)
    return len(loads)


def _count_in_order(tokens: Sequence[int], length: int) -> int:
    rows, load = 0, 0
    for count in tokens:
        if load and load + count <= length:
            load += count
        else:
            rows, load = rows + 1, count
    return rows
