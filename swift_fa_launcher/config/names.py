"""What people call a setting, and the setting that they mean: by its name in any section, by meaning, by likeness. Pure."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.config.swift_args import FAMILIES, likely
from swift_fa_launcher.decode import dotted, field_types
from swift_fa_launcher.errors import Text
from swift_fa_launcher.secrets import is_secret_name

_DATASET = Text("it is data: name it in a config as swift.dataset", "它是数据：请在配置的 swift.dataset 中写它")
#: Other files of keys and values, by a key that no argument of ms-swift has.
OTHER_KINDS = {**dict.fromkeys(("messages", "conversations", "instruction", "query"), _DATASET),
               "architectures": Text("it is a model's config.json: name its folder in a config as swift.model",
                                     "它是模型的 config.json：请在配置的 swift.model 中写它所在的目录"),
               "zero_optimization": Text("it is a config of DeepSpeed: name it in a config as swift.deepspeed",
                                         "它是 DeepSpeed 的配置：请在配置的 swift.deepspeed 中写它")}
#: Names of other trainers (LLaMA-Factory, axolotl, TRL, torchtune, DeepSpeed, Megatron), of shells and of habit, by the setting
#: that they mean. The first of several settings is the likeliest.
_BY_MEANING = """
    swift.model: model_name_or_path model_path model_name_or_dir base_model pretrained_model_name_or_path model_id
        checkpoint_path model_dir base_model_path pretrained_model
    swift.dataset: data data_path train_data train_file train_dataset datasets dataset_name dataset_path data_files
        train_data_path dataset_dir training_data
    swift.val_dataset: val_data eval_data eval_dataset validation_file val_file eval_file eval_data_path test_dataset
        validation_dataset
    swift.learning_rate: lr base_lr peak_lr
    swift.per_device_train_batch_size: batch_size bs batchsize micro_batch_size mbs train_batch_size per_device_batch_size
        train_micro_batch_size_per_gpu batch_size_per_gpu per_gpu_batch_size
    swift.per_device_eval_batch_size: eval_batch_size val_batch_size
    swift.gradient_accumulation_steps: grad_accum gradient_accumulation accumulation_steps grad_acc accumulate_grad_batches
        grad_accum_steps grad_accumulation_steps acc_steps
    swift.num_train_epochs: epochs epoch num_epochs n_epochs num_epoch train_epochs total_epochs nepochs
    swift.max_steps: steps train_steps num_steps total_steps max_train_steps train_iters iters
    swift.max_length: max_seq_length max_seq_len seq_length seq_len cutoff_len sequence_len max_len context_length
        model_max_length block_size max_source_length max_tokens
    swift.tuner_type: finetuning_type peft_type tuner use_lora use_peft train_method finetune_type method
    swift.lora_rank: lora_r rank r lora_dim
    swift.lora_alpha: alpha
    swift.lora_dropout: dropout
    swift.weight_decay: wd
    swift.target_modules: lora_target_linear lora_target lora_target_modules lora_modules
    swift.adapters: adapter adapter_name_or_path lora_path lora_weights adapter_path
    swift.output_dir: output out output_path save_dir save_path out_dir checkpoint_dir
    swift.attn_impl: attn attention attn_implementation flash_attn use_flash_attention_2 use_flash_attn flash_attention
        use_flash_attention attention_implementation
    swift.torch_dtype: dtype precision mixed_precision
    swift.bf16: bfloat16 use_bf16
    swift.fp16: float16 half use_fp16
    swift.gradient_checkpointing: activation_checkpointing use_gradient_checkpointing recompute grad_checkpointing
        checkpoint_activations
    swift.resume_from_checkpoint: resume resume_from checkpoint ckpt
    swift.lr_scheduler_type: scheduler lr_scheduler schedule lr_schedule lr_decay_style
    swift.optim: optimizer_type optimizer_name
    swift.deepspeed: zero deepspeed_config zero_stage ds_config
    swift.save_steps: save_interval save_every save_freq
    swift.logging_steps: log_steps log_interval log_every logging_interval log_freq
    swift.eval_steps: eval_interval eval_every
    swift.report_to: logger log_with tracker trackers reporter
    swift.template: chat_template template_type
    swift.packing: pack sample_packing packed
    swift.system: system_prompt
    swift.seed: random_seed
    swift.use_liger_kernel: liger use_liger enable_liger_kernel
    swift.dataloader_num_workers: num_workers workers
    swift.dataset_num_proc: num_proc preprocessing_num_workers
    swift.split_dataset_ratio: val_size val_ratio val_set_size test_size
    swift.max_grad_norm: grad_clip clip_grad gradient_clipping gradient_clip_val max_norm
    swift.quant_bits: load_in_4bit load_in_8bit quantization_bit bits quantization
    swift.freeze_parameters: freeze
    swift.use_hf: use_huggingface hf
    swift.early_stop_interval: early_stopping_patience early_stopping patience
    launch.gpus: gpu gpu_ids gpu_id cuda_visible_devices devices device visible_devices cuda cuda_devices
    launch.nproc_per_node: nproc num_gpus n_gpus num_processes n_gpu ngpus gpus_per_node nprocs world_size n_proc processes
        num_gpu ngpus_per_node
    launch.nnodes: nodes num_nodes num_machines n_nodes node_count
    launch.node_rank: rank_of_node machine_rank
    launch.master_addr: master_address main_process_ip rdzv_endpoint master_ip
    launch.master_port: port main_process_port
    launch.python: python_path interpreter
    launch.slurm.partition: slurm_partition partition
    launch.slurm: sbatch
    swanlab.project: project_name wandb_project swanlab_project swan_project
    swanlab.experiment: run_name experiment_name exp_name swanlab_exp_name wandb_run_name exp
    swanlab.mode: swanlab_mode wandb_mode
    swanlab.enabled: use_swanlab swanlab_enabled enable_swanlab wandb use_wandb
    run.name: job_name
    run.tags: tag
    run.notes: note comment description
    run.root: log_dir runs_dir runs logdir
    flash_attn.version: flash_attn_version
    flash_attn.mirrors: mirror
    flash_attn.sources: source index find_links
"""
_MEANT_ROW = r"([\w.]+): ([\w\s]+?)(?=\s+\w+(?:\.\w+)+:|\s*\Z)"
MEANT: Mapping[str, str] = {name: key for key, names in re.findall(_MEANT_ROW, _BY_MEANING)
                            for name in names.split()}

#: What a value may be called, by the keys whose value it means: YAML reads a plain `off` as false.
VALUES_MEANT: Mapping[str, Mapping[str, str]] = {
    "swanlab.mode": dict.fromkeys(("off", "no", "false", "none", "disable"), "disabled") | dict.fromkeys(
        ("online", "on", "yes", "true", "remote", "enabled"), "cloud"),
    "launch.target": {"here": "local", "localhost": "local", "host": "local", "sbatch": "slurm", "cluster": "slurm"},
    **{key: dict.fromkeys(("off", "no", "false", "none", "disable", "disabled", "0"), "never")
       | dict.fromkeys(("on", "yes", "true", "enable", "enabled", "1"), "auto")
       for key in ("flash_attn.install", "flash_attn.build", "preflight.probe", "preflight.rehearsal")},
    "swift.attn_impl": dict.fromkeys(("fa", "fa2", "flash", "flashattention", "flashattention2", "flash_attn_2", "flash-attn-2"),
                                     "flash_attn") | {
                                         "fa3": "flash_attention_3", **dict.fromkeys(("torch", "pytorch", "xformers"), "sdpa")},
    "swift.lr_scheduler_type": dict.fromkeys(("cosine_annealing", "cosine_decay", "cosine_lr", "cos"), "cosine")
       | dict.fromkeys(("wsd",), "warmup_stable_decay") | dict.fromkeys(("none", "fixed", "no"), "constant")
       | {"cosine_annealing_with_warmup": "cosine", "constant_warmup": "constant_with_warmup", "linear_decay": "linear"},
    "swanlab.notification.method": {"feishu": "lark", "dingding": "dingtalk", "ding": "dingtalk", "mail": "email",
                                    **dict.fromkeys(("wechat", "weixin", "wecom", "qywx"), "wxwork")},
    "swift.optim": dict.fromkeys(("adamw", "adam", "adamw_hf"), "adamw_torch"),
    "swift.target_modules": dict.fromkeys(("all", "linear", "all_linear", "all-linears", "all linear", "true"), "all-linear"),
    "swift.deepspeed": {f"{word}{stage}": f"zero{stage}" for stage in range(4)
                        for word in ("", "zero", "stage", "stage_", "zero_", "zero-", "zero stage ", "default-zero", "z")},
    "swift.task_type": dict.fromkeys(("sft", "lm", "causal", "chat", "generation", "text-generation"), "causal_lm")
       | dict.fromkeys(("classification", "cls", "sequence_classification"), "seq_cls"),
    "swift.tuner_type": dict.fromkeys(("full_finetune", "full_parameter", "sft", "none"), "full"),
    "run.speedups": dict.fromkeys(("off", "no", "false", "none", "0"), "never") | dict.fromkeys(("on", "yes", "true"), "exact"),
    "flash_attn.provider": {"kernels": "kernel", "hub": "kernel", "pytorch": "torch", "sdpa": "torch", "flash_attn": "package",
                            "flash-attn": "package", "pip": "package", "wheel": "package"},
}

#: Dashes of word processors; other signs of full width NFKC makes plain.
_DASHES = str.maketrans(dict.fromkeys("–—−", "-"))
_TIMES: Mapping[str, int | Decimal] = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1), **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600)}
_UNITS: Mapping[str, int | Decimal] = {
    "k": 1000, "m": 10**6, "%": Decimal("0.01"),
    **dict.fromkeys(("", "l", "f", "step", "steps", "epoch", "epochs", "token", "tokens"), 1)}

#: Arguments that any ms-swift has, for where the installed one cannot be asked.
USUAL_ARGUMENTS = (frozenset(key.removeprefix("swift.") for key in MEANT.values() if key.startswith("swift.")) | {
    name for family in FAMILIES for _, name in family.names}) - MEANT.keys()


def number_meant(key: str, text: str, *, whole: bool) -> str | None:
    """The plain number that a quantity with a unit, thousands or a word processor's dash means; None where it means none.

    A k of tokens is 1024; a key of the section `launch` counts seconds.

    >>> [number_meant("swift.max_length", said, whole=True) for said in ("4k", "4,096", "two")]
    ['4096', '4096', None]
    >>> number_meant("launch.grace", "5m", whole=False), number_meant("swift.warmup_ratio", "5%", whole=False)
    ('300', '0.05')
    >>> [number_meant("swift.a", said, whole=False) for said in ("0,05", "1 024", "8 // rows", "8#x", "8 \\\\", "1 e-4", "10^-4")]
    ['0.05', '1024', '8', '8', '8', '1e-4', '1e-4']
    """
    if len(text) > 99:
        return None
    plain = unicodedata.normalize("NFKC", text).translate(_DASHES).lower()
    plain = re.sub(r"\s*(?://|#|\\$|\(.*\)$).*", "", plain).strip().rstrip(",;。\"'").lstrip("\"'")
    plain = re.sub(r"(?<=[1-9])(\d*)[,_ ](?=\d{3}(?!\d))", r"\1", plain)
    plain = re.sub(r"^(-?\d+),(\d+)$", r"\1.\2", plain)
    plain = re.sub(r"(?<=\d)\s*(?:e|[*x]?\s*10\s*\^)\s*(?=-?\d+$)", "e", re.sub(r"^10\s*(?:\^|\*\*)", "1e", plain))
    if re.fullmatch(r"\d{1,6}(\s*[*x]\s*\d{1,6}){1,4}", plain):
        plain = str(math.prod(map(int, re.split(r"[*x]", plain))))
    if power := re.fullmatch(r"(\d{1,3})\s*(?:\^|\*\*)\s*(\d{1,2})", plain):
        plain = str(int(power[1]) ** int(power[2]))
    parts = re.fullmatch(r"(-?\d{1,18}(?:\.\d{1,18})?(?:e-?\d{1,3})?)\s*([a-z%]*)", plain)
    units = _TIMES if key.startswith("launch.") else {**_UNITS, "k": 1024} if "length" in key else _UNITS
    if parts is None or parts[2] not in {"", *units}:
        return None
    if not parts[2] and not whole:
        return parts[1]
    number = Decimal(parts[1]) * units.get(parts[2], 1)
    if whole and number != int(number):
        return None
    return str(int(number)) if number == int(number) else format(number.normalize(), "f")


def closed_keys() -> tuple[str, ...]:
    """The dotted keys of all sections but `swift` and `env`, groups included."""
    return tuple(_keys(ResolvedConfig, ""))


def _keys(kind: type, prefix: str) -> Iterator[str]:
    for name, hint in field_types(kind).items():
        group = isinstance(hint, type) and dataclasses.is_dataclass(hint)
        if prefix:
            yield dotted(prefix, name)
        if group:
            yield from _keys(hint, dotted(prefix, name))


def find_settings(name: str, arguments: Collection[str] = (), *, near: bool = True) -> tuple[str, ...]:
    """The dotted keys that a name without its section means, the likeliest first; empty where it means none that is known.

    arguments: the installed ms-swift's; empty where they are not known. near: whether what is only alike counts. A name in
    capitals is a variable: `env.NAME`, where `launch` has no key for it.
    """
    word = re.sub(r"\W+", "_", name.strip().strip("-")).strip("_")
    plain, keys = word.lower(), closed_keys()
    known = set(arguments) or USUAL_ARGUMENTS
    same = [f"swift.{plain}"] if plain in known else []
    same += [key for key in keys if plain in (key.rpartition(".")[2], key.replace(".", "_"))]
    if plain in MEANT and (not same or plain not in known):
        meant = MEANT[plain]
        same = [meant, *(key for key in same if key != meant)] if _there(meant, known, arguments) else same
    if same:
        return tuple(same)
    if re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", word):
        return (f"env.{word}",)
    return tuple(_alike(plain, known, keys)) if near else ()


def settings_in(name: str, group: Mapping[str, object], arguments: Collection[str] = ()) -> tuple[tuple[str, object], ...]:
    """The dotted keys that a group of another program means (`lora: {r: 8}`), with their values, but for secrets; none for what
    is not known.

    >>> settings_in("lora", {"r": 8, "dropout": 0.1, "x": {}})
    (('swift.lora_rank', 8), ('swift.lora_dropout', 0.1))
    """
    known = set(arguments) or USUAL_ARGUMENTS
    if name.lower() == "slurm":
        return tuple((f"launch.slurm.{key}", value) for key, value in group.items())
    found = [((f"swift.{name}_{key}",) if f"{name}_{key}" in known else find_settings(key, arguments, near=False), value)
             for key, value in group.items() if value is not None and not isinstance(value, Mapping)]
    return tuple((keys[0], "VALUE" if is_secret_name(keys[0]) else value) for keys, value in found if keys)


def _there(key: str, known: Collection[str], arguments: Collection[str]) -> bool:
    return not arguments or not key.startswith("swift.") or key.removeprefix("swift.") in known


def _alike(word: str, arguments: Collection[str], keys: Collection[str]) -> Iterator[str]:
    last = {key.rpartition(".")[2]: key for key in keys}
    own = difflib.get_close_matches(word, last, n=1, cutoff=0.84)
    yield from (last[name] for name in own)
    meant = difflib.get_close_matches(word, MEANT, n=1, cutoff=0.84)
    arguments_near = likely(word, arguments)
    yield from (f"swift.{name}" for name in arguments_near)
    if not own and not arguments_near:
        yield from (MEANT[name] for name in meant)
