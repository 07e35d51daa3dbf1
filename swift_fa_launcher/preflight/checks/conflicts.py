"""Arguments that ms-swift, transformers or accelerate refuse together, most of them after the model is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from swift_fa_launcher.config.conditions import all_hold, holds, parse_condition, values_of
from swift_fa_launcher.config.schema import PACKAGED, ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import Text, Words
from swift_fa_launcher.findings.finding import INFO, WARNING, Check, Finding, Severity
from swift_fa_launcher.findings.table import found
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.reading import (
    environment,
    evaluates,
    first_gpus,
    is_installed,
    is_login_node,
    launch_number,
    model_config,
    process_count,
    setting,
    shown_deepspeed,
    spreads_model,
    visible_gpus,
    weights_dtype,
    written,
    zero_settings,
)
from swift_fa_launcher.preflight.packing import make_batch

NO_VALIDATION = Text("no validation data (val_dataset is not set, and split_dataset_ratio takes nothing off)",
                     "没有验证数据（没有设置 val_dataset，split_dataset_ratio 也没有分出数据）")
NEEDED = Text("validation data, and there is none", "验证数据，但这里没有")
_NPROC = "launch.nproc_per_node={gpus}"
_VALIDATE = "swift.split_dataset_ratio=0.01"


@dataclass(frozen=True)
class Rule:
    """when: conditions that all hold; the sentence names the first two. fix: what to write, the best first. of: the versions it
    holds for ("" any). needs: the first does without it no more than with it: what it needs, where that is not the second."""

    of: str
    when: tuple[str, ...]
    fix: tuple[str, ...]
    needs: Words | None = None


#: ms-swift's own loader sorts rows by the lengths that encoding has written, and not where rows are streamed or split.
_SORTED = ("streaming!=true", "sequence_parallel_size<2")

#: Besides arguments: `config_model_type` (the model's own), `zero` (deepspeed's stage), `dtype` (of the weights), `gpus_each`
#: (GPUs that one process takes), `processes`, `evaluates`. Sources: swift 4.6.0 unless said otherwise; transformers 5.19 and
#: 4.57, accelerate 1.15.
RULES: tuple[Rule, ...] = (
    # arguments/base_args/base_args.py, _init_lazy_tokenize; 3.6.4 turns lazy_tokenize off by itself, 3.7.3 refuses
    Rule("ms-swift>=3.7.0.dev0", ("streaming=true", "lazy_tokenize=true"),
         ("swift.lazy_tokenize=false", "swift.streaming=false")),
    # pipelines/train/sft.py, _prepare_dataset; until 3.10.3 also lazy_tokenize
    Rule("", ("cached_dataset", "streaming=true"), ("swift.streaming=false", "swift.cached_dataset=null")),
    Rule("ms-swift>=3.5,<3.11", ("cached_dataset", "lazy_tokenize=true"),
         ("swift.lazy_tokenize=false", "swift.cached_dataset=null")),
    # trainers/mixin.py, get_train_dataloader: train_dataset['lengths']; from 3.12 on, 3.11.3 passes the argument over
    Rule("ms-swift>=3.12", ("group_by_length=true", "lazy_tokenize=true", "packing!=true", *_SORTED),
         ("swift.lazy_tokenize=false", "swift.group_by_length=false")),
    Rule("ms-swift>=3.12", ("group_by_length=true", "packing=true", *_SORTED),
         ("swift.group_by_length=false", "swift.packing=false")),
    # dataloader/shard.py, BatchSamplerShard
    Rule("ms-swift>=3.12", ("group_by_length=true", "train_dataloader_shuffle=false", *_SORTED),
         ("swift.train_dataloader_shuffle=true", "swift.group_by_length=false")),
    # transformers 4.57, Trainer.__init__; gone with 5
    Rule("transformers<5", ("group_by_length=true", "streaming=true"),
         ("swift.group_by_length=false", "swift.streaming=false")),
    # trainers/arguments.py, _handle_hf_removed_args
    Rule("ms-swift>=4.6", ("warmup_ratio>0", "warmup_steps>0"), ("swift.warmup_steps=null", "swift.warmup_ratio=null")),
    # arguments/sft_args.py, _init_fsdp and _check_fsdp2_compatibility (3.12 and later); transformers' Trainer.__init__
    Rule("", ("deepspeed", "fsdp"), ("swift.fsdp=null", "swift.deepspeed=null")),
    Rule("ms-swift>=3.12", ("save_only_model=true", "fsdp=fsdp2"), ("swift.save_only_model=false",)),
    Rule("ms-swift>=3.12", ("fsdp", "gpus_each>1"), (_NPROC, "swift.fsdp=null")),
    Rule("", ("save_only_model=true", "load_best_model_at_end=true", "deepspeed"),
         ("swift.save_only_model=false", "swift.load_best_model_at_end=false")),
    Rule("", ("save_only_model=true", "load_best_model_at_end=true", "fsdp"),
         ("swift.save_only_model=false", "swift.load_best_model_at_end=false")),
    Rule("", ("auto_find_batch_size=true", "zero=3"), ("swift.auto_find_batch_size=false", "swift.deepspeed=zero2")),
    # trainers/mixin.py, _save_flash_checkpoint
    Rule("", ("use_flash_ckpt=true", "fsdp"), ("swift.use_flash_ckpt=false", "swift.fsdp=null")),
    # arguments/base_args/model_args.py, _init_mixed_precision, sets what was not; TrainingArguments refuses both
    Rule("", ("fp16=true", "bf16=true"), ("swift.fp16=false", "swift.bf16=false")),
    Rule("ms-swift>=3.0", ("fp16=true", "dtype=bfloat16", "bf16!=true", "bf16!=false"),
         ("swift.torch_dtype=float16", "swift.fp16=null")),
    Rule("ms-swift>=3.0", ("bf16=true", "dtype=float16", "fp16!=true", "fp16!=false"),
         ("swift.torch_dtype=bfloat16", "swift.bf16=null")),
    Rule("", ("fp16_full_eval=true", "bf16_full_eval=true"),
         ("swift.fp16_full_eval=false", "swift.bf16_full_eval=false")),
    # trainers/arguments.py, __post_init__
    Rule("ms-swift>=3.7", ("use_liger_kernel=true", "gpus_each>1"), (_NPROC, "swift.use_liger_kernel=false")),
    # accelerate's prepare_model: "loaded with device_map='auto' in any distributed mode"; transformers' check_and_set_device_map
    Rule("", ("device_map=auto,balanced,balanced_low_0", "processes>1", "gpus_each<2", "zero!=3"), ("swift.device_map=null",)),
    Rule("", ("device_map", "zero=3"), ("swift.device_map=null",)),
    # transformers' TrainingArguments: eval_strategy is no without validation data (arguments/sft_args.py, __post_init__)
    Rule("", ("lr_scheduler_type=reduce_lr_on_plateau,greedy", "evaluates=false"),
         (_VALIDATE, "swift.lr_scheduler_type=cosine"), NEEDED),
    Rule("", ("load_best_model_at_end=true", "evaluates=false", "save_strategy!=no,best"),
         (_VALIDATE, "swift.load_best_model_at_end=false"), NEEDED),
    # arguments/sft_args.py, _init_eval_strategy, takes save_strategy, and IntervalStrategy has no best
    Rule("", ("save_strategy=best", "evaluates=true", "eval_strategy!=*"),
         ("swift.eval_strategy=steps", "swift.save_strategy=steps"), "eval_strategy=steps"),
    Rule("", ("dataloader_prefetch_factor>0", "dataloader_num_workers=0"),
         ("swift.dataloader_num_workers=1", "swift.dataloader_prefetch_factor=null")),
    # callbacks/lisa.py; pipelines/train/tuner.py, prepare_adapter
    Rule("", ("lisa_activated_layers>0", "tuner_type!=full"),
         ("swift.tuner_type=full", "swift.lisa_activated_layers=0"), "tuner_type=full"),
    Rule("", ("tuner_backend=unsloth", "tuner_type=longlora"), ("swift.tuner_type=lora", "swift.tuner_backend=peft")),
    Rule("", ("tuner_type=longlora", "config_model_type", "config_model_type!=*llama*"), ("swift.tuner_type=lora",)),
    # optimizers/galore/utils.py; transformers' trainer_optimizer.py, _setup_low_rank_optimizer
    Rule("ms-swift>=4.0", ("use_galore=true", "optim!=adafactor,adamw_hf,adamw_torch,adamw_torch_fused,*adamw*8bit*",
                           "optimizer=default,galore"), ("swift.optim=adamw_torch", "swift.use_galore=false")),
    *(Rule("", ("optim=galore_*_layerwise,apollo_*_layerwise", other, "optimizer=default"), fix) for other, fix in (
        ("gradient_accumulation_steps>1", ("swift.gradient_accumulation_steps=1",)),
        ("processes>1", ("launch.nproc_per_node=1", "swift.optim=adamw_torch")))),
    # arguments/base_args/quant_args.py; transformers' EetqConfig, validate_quantization_for_training
    *(Rule("", (f"quant_method={method}", f"quant_bits!={bits}", "quant_bits"), (f"swift.quant_bits={bits.split(',')[0]}",))
      for method, bits in (("bnb", "4,8"), ("quanto", "8,4,2,float8"), ("eetq", "8"))),
    Rule("", ("quant_method=bnb,hqq,eetq,quanto", "tuner_type=full"), ("swift.tuner_type=lora", "swift.quant_method=null")),
)


@dataclass(frozen=True)
class Idle:
    """Arguments that do nothing where the conditions hold, the first of which the sentence names. instead: what gives them an
    effect. Tried with ms-swift 4.6.0, whose loss is the same with and without them."""

    arguments: tuple[str, ...]
    when: tuple[str, ...]
    instead: str
    severity: Severity = WARNING


IDLE: tuple[Idle, ...] = (
    # pipelines/train/tuner.py, prepare_model
    Idle(("lora_rank", "lora_alpha", "lora_dropout", "lora_bias", "use_rslora", "use_dora", "target_modules", "target_regex"),
         ("tuner_type=full",), "swift.tuner_type=lora"),
    Idle(("freeze_parameters", "freeze_parameters_ratio", "freeze_parameters_regex", "trainable_parameters",
          "trainable_parameters_regex"), ("tuner_type!=full",), "swift.tuner_type=full"),
    # arguments/sft_args.py, __post_init__, sets eval_strategy=no where there is nothing to evaluate
    Idle(("eval_strategy",), ("evaluates=false", "eval_strategy!=no"), _VALIDATE),
    Idle(("eval_steps",), ("evaluates=false", "eval_strategy!=*"), _VALIDATE, INFO),
    # transformers/optimization.py, get_constant_schedule; trainer.py, set_initial_training_values
    Idle(("warmup_ratio", "warmup_steps"), ("lr_scheduler_type=constant",), "swift.lr_scheduler_type=constant_with_warmup"),
    Idle(("num_train_epochs",), ("max_steps>0", "num_train_epochs>0"), "swift.max_steps=-1", INFO),
)


def without_effect(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """The arguments of IDLE that somebody has written; a base of the package serves several trainings."""
    value_of = values_of(config.swift, _derived(config, facts))
    for idle in IDLE:
        names = [name for name in idle.arguments if holds(name, config.swift.get) and _written_by_hand(config, f"swift.{name}")]
        if names and all_hold(idle.when, value_of):
            beside = parse_condition(idle.when[0])[0]
            yield found("value-doubtful", "no effect", severity=idle.severity, arguments=names,
                        first=", ".join(setting(config, name) for name in names), instead=idle.instead,
                        second=NO_VALIDATION if beside == "evaluates" else _named(config, facts, beside, value_of(beside)),
                        drop=" ".join(f"swift.{name}=null" for name in names))


def _written_by_hand(config: ResolvedConfig, key: str) -> bool:
    origin = config.origin(key)
    return origin is None or not (origin.layer == "default" or str(origin.file).startswith(PACKAGED))


def arguments_conflict(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """The rules of the table."""
    value_of, gpus = values_of(config.swift, _derived(config, facts)), visible_gpus(config, facts).gpus or ()
    for rule in RULES:
        if is_installed(facts, rule.of) and all_hold(rule.when, value_of):
            first, second = (parse_condition(condition)[0] for condition in rule.when[:2])
            lines = [line.replace("{gpus}", str(len(gpus))) for line in rule.fix
                     if line != _VALIDATE or not config.swift.flag("streaming")]  # which splits nothing off
            if rule.needs is NEEDED and config.swift.strategy("eval_strategy") == "no":
                lines = [f"swift.eval_strategy=null {line}" if line == _VALIDATE else line for line in lines]
            yield _conflict("needs" if rule.needs else "", _named(config, facts, first, value_of(first)),
                            rule.needs or _named(config, facts, second, value_of(second)), lines, (first, second))


def _conflict(way: str, first: Words, second: Words, lines: Sequence[str], arguments: tuple[str, ...] = ()) -> Finding:
    write, or_write = (*lines, None, None)[:2]
    return found("arg-conflict", way, first=first, second=second, write=write, or_write=or_write, arguments=arguments)


def _derived(config: ResolvedConfig, facts: Facts) -> dict[str, Any]:
    """What the rules ask for that is no argument; None where it is not known."""
    swift, seen = config.swift, visible_gpus(config, facts).gpus
    here = launch_number(config, facts, "nproc_per_node") or 1
    on_gpus = seen and not swift.flag("use_cpu") and here > 0
    return {"config_model_type": known(model_config(config, facts).model_type),
            "zero": (zero_settings(swift) or {}).get("stage"), "dtype": weights_dtype(config, facts)[0],
            "processes": process_count(config, facts),
            "gpus_each": (len(seen or ()) // here if spreads_model(config, facts) else 1) if on_gpus else None,
            "evaluates": evaluates(config, facts),
            "gradient_accumulation_steps": make_batch(config, facts).accumulation}


def _named(config: ResolvedConfig, facts: Facts, name: str, value: Any) -> Words:
    """An argument with its value and place, or what stands for something that is no argument."""
    if name == "gpus_each":
        return Text("several GPUs for one process", "一个进程使用多块 GPU")
    if name == "processes":
        return Text(f"{value} processes", f"{value} 个进程")
    if name == "config_model_type":
        return Text(f"a {value} model", f"{value} 模型")
    if name == "zero":
        return shown_deepspeed(config)
    if name == "dtype" and config.swift.text("torch_dtype") in (None, "auto"):
        return Text(f"the model's own {value} weights", f"模型自身的 {value} 权重")
    name = "torch_dtype" if name == "dtype" else name
    return f"{name}={value}" if config.swift.get(name) is None else \
        shown_deepspeed(config) if name == "deepspeed" else setting(config, name)


def _needs(first: Words, second: Words, *lines: str) -> Finding:
    return _conflict("needs", first, second, tuple(filter(None, lines)))


def processes_conflict(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """swift/utils/env.py, is_mp, asserts it (3.0.3 to 4.6.0); sequence_parallel/sequence_parallel.py, _init_device_mesh."""
    if not is_installed(facts, "ms-swift>=3.0"):
        return
    seen, processes = visible_gpus(config, facts).gpus or (), launch_number(config, facts, "nproc_per_node") or 1
    if len(seen) > processes > 1 and len(seen) % processes and spreads_model(config, facts) and not config.swift.flag("use_cpu"):
        yield _needs(f"nproc_per_node={processes}", Text(f"a multiple of it as visible GPUs, not {len(seen)}",
                                                         f"可见 GPU 数为其整数倍，而不是 {len(seen)}"),
                     f"'launch.gpus={first_gpus(seen, processes)}'", f"launch.nproc_per_node={len(seen)}")
    parallel, all_processes = config.swift.sequence_parallel, process_count(config, facts)
    if parallel > 1 and all_processes % parallel and environment(config, facts, "WORLD_SIZE") is None \
            and not is_login_node(config, facts):
        yield _needs(setting(config, "sequence_parallel_size"),
                     Text(f"a multiple of it as processes, not {all_processes}", f"进程数为其整数倍，而不是 {all_processes}"),
                     f"launch.nproc_per_node={len(seen)}" if seen and len(seen) % parallel == 0 else "",
                     "swift.sequence_parallel_size=1")


def best_model_conflict(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """transformers' TrainingArguments. What eval_ does not say, ms-swift takes from save_ (sft_args.py, _init_eval_strategy)."""
    swift, save = config.swift, config.swift.strategy("save_strategy") or "steps"
    if not swift.flag("load_best_model_at_end") or save == "best" or not evaluates(config, facts):
        return
    evaluated = swift.strategy("eval_strategy") or save
    steps, every = swift.number("save_steps") or 500, swift.number("eval_steps")
    first = setting(config, "load_best_model_at_end")
    if evaluated != save:
        yield _needs(first, Text(f"one strategy for saving and evaluating, not {save} and {evaluated}",
                                 f"保存与评估使用同一种 strategy，而不是 {save} 与 {evaluated}"),
                     f"swift.eval_strategy={save}", "swift.load_best_model_at_end=false")
    elif save == "steps" and every and min(steps, every) >= 1 and steps % every:
        yield _needs(first, Text(f"save_steps to be a multiple of eval_steps, not {steps:g} and {every:g}",
                                 f"save_steps 为 eval_steps 的整数倍，而不是 {steps:g} 与 {every:g}"),
                     f"swift.eval_steps={steps:g}", "swift.load_best_model_at_end=false")


def interleave_conflict(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """dataset/loader.py, interleave_datasets; a dataset of several subsets counts as often."""
    names, shares = config.swift.names("dataset"), config.swift.names("interleave_prob")
    if len(names) > 1 and len(shares) > 1 and len(shares) != len(names) and not any(":" in name for name in names):
        yield _needs(f"interleave_prob{written(config, 'swift.interleave_prob')}",
                     Text(f"one number for each of the {len(names)} datasets, not {len(shares)}",
                          f"为 {len(names)} 个数据集各写一个数，而不是 {len(shares)} 个"), "swift.interleave_prob=null")


CHECKS: tuple[Check, ...] = (arguments_conflict, without_effect, processes_conflict, best_model_conflict,
                            interleave_conflict)
