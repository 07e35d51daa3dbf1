"""The same rows trained in several ways, compared: which ways there are, what each came to, and the table. Pure.

A variant is settings over the user's config. All see the same rows: one epoch of `dataset#N`, which ms-swift draws with
`data_seed` before it tokenises, so the draw does not depend on attention or packing (swift/dataset/dataset_meta.py,
post_process). `max_steps` would not do, since a packed step holds more rows.

FLOP of a token, as Kaplan et al. 2020 count them (arXiv:2001.08361, section 2.1): each parameter is multiplied and added
once forward (2), once for the gradient of the activations (2) and, where it is trained, once for its own gradient (2);
recomputing activations for the backward pass is another forward pass (2). So full training is 6 a parameter, 8 with
gradient checkpointing; LoRA, whose frozen weights need no gradient of their own, 4, or 6. Attention's own products, which
grow with a row's length, are left out, and an embedding that is only looked up is counted as if it were multiplied.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, TypeVar

from swift_fa_launcher.config.render import leaves
from swift_fa_launcher.config.schema import FLASH_IMPLEMENTATIONS, ResolvedConfig
from swift_fa_launcher.config.swift_args import translate_config
from swift_fa_launcher.decode import DecodeError, decode, encode, known
from swift_fa_launcher.errors import Text, UsageError, Words, render_words
from swift_fa_launcher.flash.implementations import DISTRIBUTIONS
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.reading import first_gpus, visible_gpus
from swift_fa_launcher.preflight.packing import make_batch, row_count
from swift_fa_launcher.secrets import is_secret_name

T = TypeVar("T")

SCHEMA = 1
ROWS = 500  # by default: some minutes for seven billion parameters on one large card
ENOUGH_STEPS = 5  # of which the first, which warms up, is one
TAG = "bench"
MEASURED, SKIPPED, FAILED, INTERRUPTED = "measured", "skipped", "failed", "interrupted"

#: Every variant by name, in the order in which they run.
VARIANTS: Mapping[str, Text] = {
    "eager": Text("eager attention", "eager 注意力"),
    "sdpa": Text("sdpa, padded", "sdpa，填充"),
    "flash_attn": Text("flash attention, padded", "flash attention，填充"),
    "padding_free": Text("padding_free", "padding_free"),
    "packing": Text("packing", "packing"),
    "same_examples": Text("packing, same examples a step", "packing，每步样本数不变"),
    "no_recompute": Text("packing, same examples", "packing，每步样本数不变"),
}
BASELINE = "sdpa"
PADDED = ("sdpa", "flash_attn", "padding_free", "eager")  # a step of these sees the rows that the config says
DIVIDED = ("same_examples", "no_recompute")  # their batch follows from what was measured before
NOT_BY_DEFAULT = ("eager",)  # slow, and rarely of interest

#: How the processes of several GPUs go together; `ddp-4` is a variant of four. deepspeed: the setting.
TOGETHER: Mapping[str, tuple[Text, str]] = {
    "ddp": (Text("DDP", "DDP"), "null"), "zero2": (Text("ZeRO 2", "ZeRO 2"), "zero2"),
    "zero3": (Text("ZeRO 3", "ZeRO 3"), "zero3")}
_COUNTED = re.compile(rf"({'|'.join(TOGETHER)})-(\d+)")
#: Of the variants of several GPUs: the training's monitor profiles one step.
PROFILED = "env.SWIFT_FA_COMMUNICATION=1"

#: Packages whose versions a measurement depends on; flash-attn's only where it runs.
_PACKAGES = ("torch", "transformers", "ms-swift", "peft", "accelerate", "deepspeed", "liger-kernel")
_FLASH_PACKAGES = (*DISTRIBUTIONS, "kernels")
#: Arguments that say where a training writes and not what it does.
_PLACES = ("output_dir", "logging_dir", "run_name")
#: Arguments that would evaluate, save, stop early, train longer, or tokenise in a way that packing does not know.
_LEFT_OUT = ("max_steps", "val_dataset", "custom_val_dataset_path", "cached_val_dataset", "resume_from_checkpoint",
             "add_version", "add_output_dir_suffix", "load_best_model_at_end", "early_stop_interval", "streaming",
             "lazy_tokenize", "push_to_hub", "create_checkpoint_symlink", "use_flash_attn", "eval_steps", "do_eval",
             "eval_on_start")
_LORA = ("lora", "longlora", "adalora")


@dataclass(frozen=True)
class Variant:
    """settings: `key=value` words over the config. flash: whether it runs flash attention."""

    name: str
    title: Text
    settings: tuple[str, ...]
    flash: bool


@dataclass(frozen=True)
class Measured:
    """What one training came to.

    tokens: real ones, without padding, all processes together. seconds: of the training as transformers counts it
    (train_runtime: from the first batch to the last step, no start-up). steady: tokens a second without the first logged
    step. rows: of the dataset, packed ones where rows are packed. loss: mean over the last fifth of the tokens, since single
    steps of different batches do not compare. wall: seconds of the whole run, start-up included. cards: GPUs at work.
    batch: rows, or packed rows, on one device. parameters, trainable: None where they cannot be counted. communication: seconds
    that the first process communicated in one step, and waited for the others; exposed: those in which its GPU computed nothing.
    """

    tokens: int
    seconds: float
    steps: int
    examples: float
    padding: float
    peak_memory_gib: float
    rows: int | None = None
    steady: float | None = None
    loss: float | None = None
    wall: float | None = None
    memory_of: str | None = None
    parameters: int | None = None
    trainable: int | None = None
    experts: int | None = None
    recomputes: bool | None = None
    batch: int | None = None
    accumulation: int | None = None
    cards: int = 1
    device: str | None = None
    kernel: str | None = None
    versions: Mapping[str, Any] | None = None
    communication: float | None = None
    exposed: float | None = None

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds

    @property
    def steady_rate(self) -> float:
        """Without the first step, where there is another."""
        return self.steady or self.tokens_per_second

    @property
    def examples_per_step(self) -> float:
        """The mean; an epoch's last step may see fewer."""
        return self.examples / self.steps


@dataclass(frozen=True)
class Rate:
    """FLOP a second of a large matrix product, as measured. dtype, size: of its square factors."""

    flops: float
    dtype: str = ""
    size: int = 0
    device: str = ""


@dataclass(frozen=True)
class Result:
    """What became of a variant. reason: why it was not measured. run: folder of its record. key: what the measurement
    depends on; equal keys need not be measured twice. settings: `key=value` words over the config. reused: measured by an
    earlier bench in the same folder."""

    variant: str
    status: str
    reason: Words = ""
    run: str | None = None
    key: Mapping[str, Any] | None = None
    measured: Measured | None = None
    settings: tuple[str, ...] = ()
    reused: bool = False


@dataclass(frozen=True)
class Bench:
    """All that a bench came to. rate: None where the matrix product was not measured, `rate_problem` says why. about:
    config files, overrides, model, rows, start, machine."""

    about: Mapping[str, Any]
    results: tuple[Result, ...] = ()
    rate: Rate | None = None
    rate_problem: str = ""

    def result(self, name: str) -> Result | None:
        return next((one for one in self.results if one.variant == name), None)

    def measured(self, name: str) -> Measured | None:
        found = self.result(name)
        return found.measured if found and found.status == MEASURED else None

    def with_result(self, result: Result) -> Bench:
        """The same with this result in its place, in the variants' order."""
        others = [one for one in self.results if one.variant != result.variant]
        order = [*VARIANTS, *TOGETHER]
        return replace(self, results=tuple(sorted((*others, result), key=lambda one: (
            order.index(one.variant.partition("-")[0]), gpu_count(one.variant) or 0))))

    @property
    def base(self) -> tuple[int, Measured] | None:
        """Of the variants of several GPUs the one of fewest under DDP, else of fewest at all, and how many those are."""
        counted = [(count, not one.variant.startswith("ddp"), one.measured) for one in self.results
                   if one.measured and (count := gpu_count(one.variant))]
        found = min(counted, key=lambda one: one[:2], default=None)
        return (found[0], found[2]) if found else None


# --- which variants ---


def gpu_count(name: str) -> int | None:
    """The number of GPUs, or on the CPU of processes, that a variant compares; None for the others."""
    found = _COUNTED.fullmatch(name)
    return int(found[2]) if found else None


def title_of(name: str) -> Text:
    found = _COUNTED.fullmatch(name)
    if not found:
        return VARIANTS[name]
    title = TOGETHER[found[1]][0]
    return Text(f"{title.en}, {found[2]}", f"{title.zh}，{found[2]}")


def counted_names(config: ResolvedConfig, facts: Facts, counts: Sequence[int], wanted: Sequence[str]) -> tuple[str, ...]:
    """The variants of these numbers of GPUs. wanted: of TOGETHER; by default all where deepspeed is installed and GPUs are there.

    Raises UsageError where this machine has not as many, or the examples of a step cannot be shared out equally.
    """
    gpus = None if config.swift.flag("use_cpu") else visible_gpus(config, facts).gpus
    if gpus is not None and max(counts) > len(gpus):
        there = ", ".join(f"{gpu.index} {known(gpu.name) or 'GPU'}" for gpu in gpus)
        fit = ",".join(str(count) for count in counts if count <= len(gpus))
        raise UsageError("option-invalid", Text(
            f"--gpus {max(counts)}: {len(gpus)} can be used here{f' ({there})' if there else ''}",
            f"--gpus {max(counts)}：这里可用 {len(gpus)} 块{f'（{there}）' if there else ''}"),
            hint=(f"--gpus {fit}",) if fit else ())
    batch = make_batch(config, facts)
    if any(batch.accumulation * batch.processes % shared_out(config, count) for count in counts):
        whole = math.lcm(*(shared_out(config, count) for count in counts))
        times = whole // math.gcd(whole, batch.processes)
        raise UsageError("option-invalid", Text(
            f"a step of {batch.per_step} examples, {batch.per_device} at a time, cannot be shared out equally among "
            f"{', '.join(map(str, counts))}",
            f"每步 {batch.per_step} 个样本（每次 {batch.per_device} 个）无法平均分给 {'、'.join(map(str, counts))}"),
            hint=(f"swift.gradient_accumulation_steps={-(-batch.accumulation // times) * times}",))
    kinds = tuple(wanted) or (tuple(TOGETHER) if gpus and facts.package("deepspeed") else ("ddp",))
    alone = "ddp" in kinds  # ZeRO of one process shares nothing out
    return tuple(f"{kind}-{count}" for kind in TOGETHER if kind in kinds for count in sorted(counts)
                 if count > 1 or kind == "ddp" or not alone)


def shared_out(config: ResolvedConfig, count: int) -> int:
    """Among how many a step's examples are shared out: those of one sequence see the same."""
    return max(1, count // max(1, config.swift.sequence_parallel))


def _make_counted(kind: str, count: int, config: ResolvedConfig, facts: Facts) -> Variant:
    """The config on so many GPUs, with as many examples a step."""
    batch, gpus = make_batch(config, facts), visible_gpus(config, facts).gpus
    accumulation = batch.accumulation * batch.processes // shared_out(config, count)
    words = (f"launch.nproc_per_node={count}", *_batch_settings(batch.per_device, accumulation),
             f"swift.deepspeed={TOGETHER[kind][1]}", "swift.fsdp=null", PROFILED)
    chosen = (f"launch.gpus={first_gpus(gpus, count)}",) if gpus and not config.swift.flag("use_cpu") else ()
    return Variant(f"{kind}-{count}", title_of(f"{kind}-{count}"), (*words, *chosen), "flash" in (config.swift.attn_impl or ""))


def choose_names(wanted: Sequence[str]) -> tuple[str, ...]:
    """The variants to run, in order: all but those not by default, or those wanted and what they follow from."""
    names = set(wanted) if wanted else {name for name in VARIANTS if name not in NOT_BY_DEFAULT}
    if names & {*DIVIDED}:
        names |= {"packing"} | (set() if names & {*PADDED} else {BASELINE})
    return tuple(name for name in VARIANTS if name in names)


def make_variant(name: str, config: ResolvedConfig, facts: Facts) -> Variant | None:
    """The variant of this config; None where it would be the same as another."""
    if counted := _COUNTED.fullmatch(name):
        return _make_counted(counted[1], int(counted[2]), config, facts)
    asked = config.swift.attn_impl or ""
    flash = asked if "flash" in asked else FLASH_IMPLEMENTATIONS[0]
    attention = name if name in ("sdpa", "eager") else flash
    packs = name in ("packing", *DIVIDED)
    words: tuple[str, ...] = (f"swift.attn_impl={attention}", f"swift.packing={_quoted(packs)}",
                              f"swift.padding_free={_quoted(name == 'padding_free')}")
    title = VARIANTS[name]
    if name == "no_recompute":
        more, names = _without_recomputing(config, facts)
        if not more:
            return None
        words, title = (*words, *more), Text(f"{title.en}, {', '.join(n.en for n in names)}",
                                             f"{title.zh}，{'，'.join(n.zh for n in names)}")
    return Variant(name, title, words, attention == flash)


def _without_recomputing(config: ResolvedConfig, facts: Facts) -> tuple[tuple[str, ...], tuple[Text, ...]]:
    """Settings that leave out what is on of gradient checkpointing and LoRA's dropout, and their names."""
    words, names = list[str](), list[Text]()
    if effective(config, facts, "gradient_checkpointing", True) not in (False, "false", "False"):
        words.append("swift.gradient_checkpointing=false")
        names.append(Text("no checkpointing", "不重算激活"))
        if config.swift.flag("vit_gradient_checkpointing"):
            words.append("swift.vit_gradient_checkpointing=false")
    tuner = next((value for name in ("tuner_type", "train_type", "sft_type")
                  if (value := effective(config, facts, name, None)) is not None), "lora")
    if tuner in _LORA and str(effective(config, facts, "lora_dropout", 0.05)) not in ("0", "0.0", "None"):
        words.append("swift.lora_dropout=0")
        names.append(Text("no dropout", "无 dropout"))
    return tuple(words), tuple(names)


def effective(config: ResolvedConfig, facts: Facts, name: str, default: Any) -> Any:
    """An argument's value: as configured, else the installed ms-swift's default, else `default`."""
    declared = known(facts.ms_swift_args) or {}
    given = translate_config(config, known(facts.ms_swift_args), facts.package("ms-swift")).arguments.get(name)
    return given if given is not None else declared[name].default if name in declared else default


def shared_settings(config: ResolvedConfig, datasets: Sequence[str], *, name: str, output: str) -> tuple[str, ...]:
    """What all variants have in common: the rows, one epoch, every step logged; nothing saved, evaluated or reported."""
    tags = list(dict.fromkeys((*config.run.tags, TAG)))
    return ("swift.num_train_epochs=1", "swift.save_strategy='no'", "swift.eval_strategy='no'", "swift.split_dataset_ratio=0",
            "swift.logging_steps=1", "swift.report_to=none", "swanlab.mode=disabled",
            *(f"swift.{key}=null" for key in config.swift if key.replace("-", "_") in _LEFT_OUT),
            *([f"swift.dataset={_quoted(list(datasets))}"] if datasets else []),
            f"swift.output_dir={_quoted(output)}", "run.monitor=true", f"run.name={_quoted(name)}", f"run.tags={_quoted(tags)}")


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def file_name(name: str) -> str:
    """A run's name as a folder's; 60 characters of any script fit into the 255 bytes of one."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:60] or "bench"


def sample_datasets(config: ResolvedConfig, facts: Facts, rows: int | None) -> tuple[str, ...]:
    """The config's datasets with `#N` so that they have `rows` rows together; as they are for None.

    Each gives in proportion to what it has; where that is not known of one, all give alike. None of which that is known
    gives more than the config takes from it: ms-swift would repeat rows.
    """
    names = config.swift.names("dataset")
    if rows is None or not names:
        return names
    counts = [row_count(name, facts.path(name)) for name in names]
    if all(count is not None for count in counts):
        total = sum(count or 0 for count in counts)
        if total <= rows:
            return names
        shares = [max(1, round(rows * (count or 0) / total)) for count in counts]
    else:
        shares = [max(1, rows // len(names))] * len(names)
    return tuple(name if count is not None and count <= share else re.sub(r"#\d+$", "", name) + f"#{share}"
                 for name, count, share in zip(names, counts, shares, strict=True))


def divide_batch(batch: int, accumulation: int, factor: float) -> tuple[int, int]:
    """(batch, accumulation) for packed rows of `factor` examples each, so that a step sees about as many as before.

    The batch is divided, and no less than 1; from there on the accumulation makes up for what is left. (The preflight's
    advice prefers few passes. Here the memory that a small batch frees pays for leaving recomputation out.)
    """
    divided = max(1, round(batch / factor))
    if divided > 1:
        return divided, accumulation
    return divided, max(1, round(accumulation * batch / factor))


def division_settings(bench: Bench) -> tuple[tuple[str, ...], Words]:
    """The settings that keep examples per step as they were without packing, from what was measured; else why not."""
    packed = bench.measured("packing")
    padded = next((found for name in PADDED if (found := bench.measured(name))), None)
    if packed is None or padded is None:
        return (), Text("needs packing and one variant without it measured before",
                        "需要先测得 packing 和一个不打包的变体")
    if packed.batch is None or packed.accumulation is None or padded.examples <= 0 or packed.examples <= 0:
        return (), Text("the batch of the packed run is not known", "不知道 packing 运行的批大小")
    factor = packed.examples / packed.rows if packed.rows else packed.examples_per_step / padded.examples_per_step
    batch, accumulation = divide_batch(packed.batch, packed.accumulation, factor)
    return _batch_settings(batch, accumulation), ""


def _batch_settings(batch: int | None, accumulation: int | None) -> tuple[str, ...]:
    return f"swift.per_device_train_batch_size={batch}", f"swift.gradient_accumulation_steps={accumulation}"


def changes_nothing(bench: Bench, division: Sequence[str]) -> bool:
    """Whether the divided batch is the one that packing ran with."""
    packed = bench.measured("packing")
    return packed is not None and tuple(division) == _batch_settings(packed.batch, packed.accumulation)


# --- what a measurement depends on ---


def make_key(config: ResolvedConfig, facts: Facts, data: Mapping[str, Any], *, flash: bool) -> dict[str, Any]:
    """Everything that a variant's numbers depend on, for JSON. data: model, datasets and plugins, each with its files' digest."""
    arguments = translate_config(config, known(facts.ms_swift_args), facts.package("ms-swift")).arguments
    packages = (*_PACKAGES, *(_FLASH_PACKAGES if flash else ()))
    return encode({  # type: ignore[no-any-return]
        "arguments": {name: _plain(value) for name, value in sorted(arguments.items())
                      if value is not None and name not in _PLACES and not is_secret_name(name)},
        "env": {name: value for name, value in sorted(config.env.items()) if not is_secret_name(name)},
        "processes": config.launch.nproc_per_node, "data": data, "machine": describe_machine(config, facts),
        "packages": {name: _known_text(facts.package(name)) for name in packages}})


def describe_machine(config: ResolvedConfig, facts: Facts) -> dict[str, Any]:
    """The cards that the training sees, their driver and torch. Another machine of the same kind is the same."""
    gpus, driver = visible_gpus(config, facts).gpus, known(facts.driver)
    return {"gpus": None if gpus is None else [_known_text(gpu.name) for gpu in gpus],
            "driver": _known_text(driver.version) if driver else None, "torch": _known_text(facts.package("torch"))}


def _known_text(value: Any) -> str | None:
    found = known(value)
    return None if found is None else str(found)


def _plain(value: Any) -> Any:
    """A value as JSON gives it back."""
    return json.loads(json.dumps(value, default=str))


def changed_keys(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> tuple[str, ...]:
    """What differs between two keys, by dotted name; nothing for equal ones."""
    first, second = ({key: value for key, value in leaves(each) if value != {}} for each in (before or {}, now))
    return tuple(name for name in {**first, **second} if first.get(name) != second.get(name))


# --- what a training came to ---


def make_measured(told: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], *, runtime: float | None, wall: float | None,
                  gpus: int | None) -> Measured | None:
    """From the monitor's account and its lines; None where it wrote no line. runtime: transformers' seconds.

    gpus: how many the training saw. One process that sees several spreads the model over them (ms-swift's device_map).
    """
    if not lines:
        return None
    tokens, steps = sum(int(line["tokens"]) for line in lines), int(lines[-1].get("step") or len(lines))
    later = [line for line in lines[1:] if "communication_seconds" not in line] or lines[1:]  # a profiled one takes longer
    steady = sum(line["tokens"] for line in later) / sum(line["seconds"] for line in later) if later else None
    before = [0, *(int(line.get("step") or 0) for line in lines)]
    examples = sum(line["examples_per_step"] * max(1, step - last)
                   for line, last, step in zip(lines, before, before[1:], strict=False))
    world = _of(int, told.get("world_size")) or 1
    on_gpu = told.get("device") not in (None, "cpu")
    return Measured(
        tokens=tokens, seconds=runtime or sum(line["seconds"] for line in lines), steps=steps, steady=steady, examples=examples,
        rows=_of(int, told.get("rows")), padding=sum(line["padding"] for line in lines) / len(lines),
        peak_memory_gib=max(float(line["peak_memory_gib"]) for line in lines), loss=last_loss(lines), wall=wall,
        memory_of=_of(str, told.get("memory_of")), parameters=_of(int, told.get("parameters")),
        trainable=_of(int, told.get("trainable")), experts=_of(int, told.get("experts")),
        recomputes=_of(bool, told.get("recomputes")),
        batch=_of(int, told.get("batch")), accumulation=_of(int, told.get("accumulation")),
        cards=(world if world > 1 else gpus or 1) if on_gpu else 1,
        device=_of(str, told.get("device_name")) or _of(str, told.get("device")), kernel=_of(str, told.get("kernel")),
        versions=told["versions"] if isinstance(told.get("versions"), Mapping) else None,
        communication=next((line["communication_seconds"] for line in lines if "communication_seconds" in line), None),
        exposed=next((line["exposed_seconds"] for line in lines if "exposed_seconds" in line), None))


def last_loss(lines: Sequence[Mapping[str, Any]], part: float = 0.2) -> float | None:
    """The mean loss over the last `part` of the tokens, each step by its tokens; None where no loss is a number."""
    told = [line for line in lines if isinstance(line.get("loss"), (int, float)) and line["tokens"] > 0]
    wanted, seen, weighed = part * sum(line["tokens"] for line in told), 0.0, 0.0
    for line in reversed(told):
        seen, weighed = seen + line["tokens"], weighed + line["tokens"] * line["loss"]
        if seen >= wanted:
            break
    return weighed / seen if seen and isfinite(weighed) else None


def _of(kind: type[T], value: Any) -> T | None:
    """The value where it is of exactly this type: True is no number."""
    return value if type(value) is kind else None


def flop_per_token(parameters: int, trainable: int, *, recomputes: bool) -> float:
    """FLOP that one token costs in training; the counting is in the module's docstring.

    >>> [flop_per_token(100, t, recomputes=r) / 100 for t, r in ((0, False), (0, True), (100, False), (100, True))]
    [4.0, 6.0, 6.0, 8.0]
    """
    return 2.0 * parameters * (3 if recomputes else 2) + 2.0 * trainable


def matrix_share(measured: Measured, rate: Rate | None) -> float | None:
    """The part of the cards' matrix rate that the model's arithmetic came to, over the whole training.

    None where one of its factors is not known: for a mixture of experts, of which a token meets only some, it is not.
    """
    if rate is None or rate.flops <= 0 or not measured.parameters or measured.trainable is None or measured.experts:
        return None
    cost = flop_per_token(measured.parameters, measured.trainable, recomputes=bool(measured.recomputes))
    return measured.tokens_per_second * cost / (rate.flops * measured.cards)


def ratio(bench: Bench, measured: Measured) -> float | None:
    """Tokens a second against the baseline's; None where that was not measured."""
    base = bench.measured(BASELINE)
    return measured.tokens_per_second / base.tokens_per_second if base else None


def efficiency(bench: Bench, name: str, measured: Measured) -> float | None:
    """Steady tokens a second of each GPU against the bench's `base`; None where that was not measured."""
    base, count = bench.base, gpu_count(name)
    if base is None or count is None:
        return None
    return measured.steady_rate / count / (base[1].steady_rate / base[0])


def unsure(bench: Bench, measured: Measured) -> bool:
    """Whether either side of the ratio made so few steps that the first, which warms up, decides it."""
    base = bench.measured(BASELINE)
    return base is not None and base is not measured and min(base.steps, measured.steps) < ENOUGH_STEPS


# --- as JSON ---


def bench_to_json(bench: Bench, lang: str = "en") -> dict[str, Any]:
    """bench.json: the measurements, and beside each what follows from it."""
    return {"schema": SCHEMA, **bench.about, "matrix": {**encode(bench.rate), "problem": None} if bench.rate
            else {"flops": None, "problem": bench.rate_problem},
            "variants": [_result_to_json(bench, one, lang) for one in bench.results]}


def _result_to_json(bench: Bench, result: Result, lang: str) -> dict[str, Any]:
    found = result.measured
    follows = {} if found is None else {
        "tokens_per_second": round(found.tokens_per_second, 1), "examples_per_step": found.examples_per_step,
        "ratio": ratio(bench, found), "efficiency": efficiency(bench, result.variant, found), "unsure": unsure(bench, found),
        "matrix_share": matrix_share(found, bench.rate)}
    return {"name": result.variant, "status": result.status, "reason": render_words(result.reason, lang) or None, **follows,
            "measured": encode(found) if found else None, "settings": list(result.settings), "run": result.run, "key": result.key}


def results_from_json(data: Any) -> tuple[tuple[Result, ...], Rate | None, bool]:
    """The measured variants and the matrix rate of an earlier bench.json, and whether that is all that it has measured."""
    if not isinstance(data, Mapping) or data.get("schema") != SCHEMA:
        return (), None, False
    listed = data.get("variants")
    found = [_result_from_json(one) for one in (listed if isinstance(listed, list) else ())
             if isinstance(one, Mapping) and one.get("status") == MEASURED]
    try:
        rate = decode(Rate, data.get("matrix"))
    except DecodeError:
        rate = None
    return tuple(one for one in found if one), rate, None not in found


def _result_from_json(data: Mapping[str, Any]) -> Result | None:
    try:
        measured = decode(Measured, data.get("measured"))
    except DecodeError:
        return None
    name, key, settings = data.get("name"), data.get("key"), data.get("settings")
    whole = (name in VARIANTS or gpu_count(str(name))) and isinstance(key, Mapping) and min(measured.seconds, measured.steps) > 0
    if not whole:
        return None
    return Result(str(name), MEASURED, run=_of(str, data.get("run")), key=key, measured=measured, reused=True,
                  settings=tuple(map(str, settings)) if isinstance(settings, list) else ())
