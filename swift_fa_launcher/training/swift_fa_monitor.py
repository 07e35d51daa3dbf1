"""What a training really does, written down as it goes: loaded by swift_fa_plugin for the concern `monitor`.

At every logging step one JSON line into `folder`/monitor.jsonl, and its figures into what the trainer logs; at the first
step `folder`/monitor.json: the attention in effect and the kernel behind it. Where flash attention was asked for and
something else is in effect, the first step ends the training.

ms-swift 3.8 to 4.6 have no callback hook in common, and callbacks do not see a batch. So a trainer's own `training_step`,
`log` and `_maybe_log_save_evaluate` are wrapped, on the trainer, when transformers has made it.

It may not cost anything to speak of: what is counted on the device stays there until a step is logged, when the trainer
itself has just waited for the device. It may not break anything: an exception in here switches the monitor off. On
several processes that happens at a logging step and to all of them at once, so that none waits for another's counts.
"""
# mypy: disable-error-code="import-not-found,import-untyped,no-any-return"

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import resource
import sys
import time
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Job = dict[str, Any]

PACKAGES = ("torch", "transformers", "ms-swift", "flash-attn", "flash-attn-3", "flash-attn-4", "kernels", "peft",
            "accelerate", "deepspeed", "liger-kernel")
IGNORED = -100  # the label of a token that is not learned
NOT_FLASH = ("sdpa", "eager", "flex_attention")
LEAVE = "leave"  # a file in the folder: save and end at the next logged step, since the job's time is nearly over
PAUSE = 5.0  # seconds in which the first process says why, before torchrun sees another one end
COMMUNICATION = "SWIFT_FA_COMMUNICATION"  # a variable: where it is set, the first process profiles one optimizer step
UNPROFILED = 2  # optimizer steps before that one, in which links are made, kernels loaded and DDP's buckets built


def watch(job: Job, say: Callable[[str], None], stop: Callable[[str], Any]) -> None:
    """Puts a monitor into every trainer that transformers makes from now on. job: folder, and wants: why flash attention
    is expected ("" where it is not)."""
    from transformers import Trainer

    make = Trainer.__init__

    @functools.wraps(make)
    def make_watched(trainer: Any, *args: Any, **kwargs: Any) -> None:
        make(trainer, *args, **kwargs)
        try:
            Monitor(trainer, job, say, stop).begin()
        except Exception as error:
            say(f"the monitor is off: {reason(error)}")

    Trainer.__init__ = make_watched


class Monitor:
    """Counts since the last logged step, and the clock of the time that was spent training."""

    def __init__(self, trainer: Any, job: Job, say: Callable[[str], None], stop: Callable[[str], Any]) -> None:
        self.trainer, self.job, self.say, self.stop = trainer, job, say, stop
        self.folder = Path(job["folder"])
        self.tokens: Any = 0  # not padding; a tensor once it was counted on a device
        self.places: int = 0
        self.examples: Any = 0
        self.last_step: int = 0
        self.opened: float | None = None
        self.own = 0.0  # seconds spent in here
        self.failed = self.off = False
        self.profiler: Any = None  # torch's, as long as it runs
        self.profiles = bool(os.environ.get(COMMUNICATION)) and is_first()

    def begin(self) -> None:
        trainer = self.trainer
        step, log, finish_step = trainer.training_step, trainer.log, trainer._maybe_log_save_evaluate

        @functools.wraps(step)
        def training_step(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            self.guarded(self.see, inputs)
            return step(model, inputs, *args, **kwargs)

        @functools.wraps(log)
        def log_more(logs: Job, *args: Any, **kwargs: Any) -> Any:
            if "loss" in logs:  # a training step's; evaluation's and the summary's have other names
                self.guarded(self.report, logs)
            return log(logs, *args, **kwargs)

        @functools.wraps(finish_step)
        def log_save_evaluate(*args: Any, **kwargs: Any) -> Any:
            """Evaluating and saving are not training: the clock stands still meanwhile."""
            began = time.perf_counter()
            try:
                return finish_step(*args, **kwargs)
            finally:
                if self.opened is not None:
                    self.opened += time.perf_counter() - max(began, self.opened)

        trainer.training_step, trainer.log, trainer._maybe_log_save_evaluate = training_step, log_more, log_save_evaluate

    def guarded(self, act: Callable[[Any], None], given: Any) -> None:
        if self.off:
            return
        began = time.perf_counter()
        try:
            act(given)
        except Exception as error:
            if not self.failed:
                self.say(f"the monitor is off: {reason(error)}")
            self.failed = True
        self.own += time.perf_counter() - began

    def see(self, inputs: Any) -> None:
        """One batch of this process, before the forward pass."""
        if self.failed:
            return
        if self.opened is None:
            self.last_step = self.trainer.state.global_step
            self.opened = time.perf_counter()
            self.describe()
        if self.profiles:
            self.profile()
        tokens, places, examples = count(inputs, pad_token(self.trainer), is_packed(self.trainer))
        self.tokens, self.places, self.examples = self.tokens + tokens, self.places + places, self.examples + examples

    def describe(self) -> None:
        """Writes down what runs, and ends the training if it is not what was asked for."""
        told = attention_of(self.trainer.model)
        wants = self.job["wants"]
        if is_first():
            device = self.trainer.args.device
            told.update(wants=wants, packing=packing_of(self.trainer), world_size=world_size(), device=str(device.type),
                        device_name=device_name(device), memory_of=device.type if device_memory(device) else "process",
                        rows=rows_of(self.trainer), **size_of(self.trainer.model),
                        **batch_of(self.trainer.args, self.trainer.model),
                        versions={name: found for name in PACKAGES for found in [version(name)] if found})
            part = self.folder / "monitor.json.part"
            part.write_text(json.dumps(told, ensure_ascii=False) + "\n", encoding="utf-8")
            os.replace(str(part), str(self.folder / "monitor.json"))
        if wants and told["attention"] in NOT_FLASH and not told["flash_modules"]:
            if not is_first():
                time.sleep(PAUSE)
                sys.exit(1)
            self.stop(f"flash attention was asked for ({wants}), but the model runs {told['kernel']}; "
                      "stopped in the first step; `swift-fa preflight` looks for the reason")

    def profile(self) -> None:
        """Begins to write down what this process does in an optimizer step, once the first ones are over."""
        import torch

        state, kinds = self.trainer.state, torch.profiler.ProfilerActivity
        if world_size() > 1 and state.global_step >= min(UNPROFILED, state.max_steps - 1):
            self.profiles = False
            on_gpu = self.trainer.args.device.type == "cuda"
            profiler = torch.profiler.profile(activities=[kinds.CUDA if on_gpu else kinds.CPU])
            with contextlib.suppress(RuntimeError):  # another one profiles already
                profiler.start()
                self.profiler = profiler

    def communication(self) -> Job:
        """Seconds of communication since `profile`; nothing where it did not begin."""
        if self.profiler is None:
            return {}
        self.profiler, profiler = None, self.profiler
        profiler.stop()
        return communication_of(profiler.events())

    def report(self, logs: Job) -> None:
        """One line about the steps since the last one, from all processes, and its figures into `logs`."""
        device, communication = self.trainer.args.device, self.communication()
        mine = [0, 0, 0] if self.failed else [int(self.tokens), self.places, int(self.examples)]
        rows = from_all([*mine, peak_memory(device), int(self.failed), int((self.folder / LEAVE).exists())], device)
        now, step = time.perf_counter(), self.trainer.state.global_step
        tokens, places, examples, failures = (sum(row[i] for row in rows) for i in (0, 1, 2, 4))
        if any(row[5] for row in rows):  # all hear it at the same step: none saves or waits alone
            self.trainer.control.should_save = self.trainer.control.should_training_stop = True
        if failures:
            self.off = True
            return
        seconds, steps = now - (self.opened or now), step - self.last_step
        self.tokens, self.places, self.examples, self.last_step, self.opened = 0, 0, 0, step, now
        shared = getattr(getattr(self.trainer, "template", None), "sequence_parallel_size", 1) or 1  # see the same rows
        if seconds <= 0 or steps <= 0 or not places:
            return
        figures = {"tokens_per_second": round(tokens / shared / seconds, 1), "padding": round(1 - tokens / places, 4),
                   "examples_per_step": round(examples / shared / steps, 2)}
        if is_first():
            line = {"step": step, "loss": logs["loss"], "grad_norm": number(logs.get("grad_norm")), **figures,
                    "peak_memory_gib": max(r[3] for r in rows) / 2 ** 30, "allocated_gib": allocated(device) / 2 ** 30,
                    "tokens": tokens // shared, "seconds": seconds, "monitor_seconds": self.own, **communication}
            with open(str(self.folder / "monitor.jsonl"), "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        self.own = 0.0
        logs.update(figures)


def number(value: Any) -> float | None:
    """A figure of the trainer's, which some of its releases keep on the device."""
    return None if value is None else float(value)


# Counting


def count(inputs: Any, pad: int | None, packed: bool) -> tuple[Any, int, Any]:
    """(tokens that are not padding, all places, examples) of a batch; numbers, or tensors that nobody waited for."""
    import torch

    mask, ids, labels = inputs.get("attention_mask"), inputs.get("input_ids"), inputs.get("labels")
    if not packed and mask is not None and mask.dim() == 2:
        return mask.sum(), mask.numel(), mask.shape[0]
    grid = ids if ids is not None else labels
    rows, places = grid.shape[0], grid.numel()
    if ids is None or pad is None:
        ends = torch.full((rows, 1), grid.shape[-1], device=grid.device)
    else:  # padding is at the end, where the padding token is not to be learned either
        used = ids != pad
        if labels is not None and labels.shape == ids.shape:
            used = used | (labels != IGNORED)
        ends = (used * torch.arange(1, ids.shape[-1] + 1, device=ids.device)).amax(-1, keepdim=True)
    positions = inputs.get("text_position_ids")
    positions = inputs.get("position_ids") if positions is None else positions
    if positions is not None and positions.dim() == 3:  # (time, height, width), which go back where a new row begins
        positions = positions[0]
        begins = torch.ones_like(positions, dtype=torch.bool)
        begins[:, 1:] = positions[:, 1:] < positions[:, :-1]
    elif positions is not None:
        begins = positions == 0
    elif inputs.get("cu_seq_lens_q") is not None:
        return ends.sum(), places, inputs["cu_seq_lens_q"].numel() - 1
    else:
        return ends.sum(), places, rows
    inside = torch.arange(positions.shape[-1], device=positions.device) < ends.to(positions.device)
    return ends.sum(), places, (begins & inside).sum()


def is_packed(trainer: Any) -> bool:
    """Whether rows are joined without padding; ms-swift's templates say padding_free for packing too."""
    return bool(getattr(getattr(trainer, "template", None), "padding_free", False))


def packing_of(trainer: Any) -> str:
    if "Packing" in type(trainer.train_dataset).__name__:
        return "packing"
    return "padding_free" if is_packed(trainer) else "none"


def rows_of(trainer: Any) -> int | None:
    """Rows of the training's dataset, packed ones where rows are packed; None for a stream."""
    try:
        return len(trainer.train_dataset)
    except Exception:
        return None


def pad_token(trainer: Any) -> int | None:
    made_by = getattr(trainer, "processing_class", None)
    return getattr(getattr(made_by, "tokenizer", made_by), "pad_token_id", None)


# What runs


def attention_of(model: Any) -> Job:
    """The attention that the language model's layers read from their config at every forward pass, and what it is."""
    config = model.config
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    name = getattr(text, "_attn_implementation", None) or getattr(config, "_attn_implementation", None)
    modules = [module for module in model.modules() if "Attention" in type(module).__name__]
    found = Counter(str(getattr(getattr(module, "config", None), "_attn_implementation", None)) for module in modules)
    # the model's own code may have a class for each attention and not read the config
    flash = sum("Flash" in type(module).__name__ for module in modules)
    return {"attention": name, "kernel": kernel_of(name), "modules": dict(found), "flash_modules": flash}


def kernel_of(name: str | None) -> str:
    """What carries out an attention of this name, in words: what swift_fa_attention registered says it itself."""
    modeling = sys.modules.get("transformers.modeling_utils")  # which whoever has a model has imported
    own = getattr(getattr(modeling, "ALL_ATTENTION_FUNCTIONS", {}).get(name), "kernel", None)
    if own:
        return str(own)
    packages = {"flash_attention_2": "flash-attn", "flash_attention_3": "flash-attn-3", "flash_attention_4": "flash-attn-4"}
    if name in packages:
        found = version(packages[name])
        return f"{packages[name]} {found}" if found else f"{name}, not from the package {packages[name]}"
    if name and "/" in name:
        return f"hub kernel {name}"
    return {"sdpa": "torch's SDPA", "eager": "eager attention"}.get(name or "", name or "unknown")


def size_of(model: Any) -> Job:
    """How many parameters the model has and how many are trained; None where that cannot be counted. Reads no weight.

    experts: how many a mixture has, of which a token meets only some; None for a model without. DeepSpeed keeps the size of
    a parameter that it has taken apart in `ds_numel`; bitsandbytes puts two 4-bit weights into a byte; other quantized
    models keep their weights elsewhere.
    """
    config = model.config
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    names = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
    experts = next((found for found in (getattr(text, name, None) for name in names) if isinstance(found, int)), None)
    told = {"parameters": None, "trainable": None, "experts": experts if experts and experts > 1 else None}
    quantized = getattr(config, "quantization_config", None)
    if quantized is not None and "bitsandbytes" not in str(getattr(quantized, "quant_method", quantized)).lower():
        return told
    try:
        sizes = [(whole_size(one), one.requires_grad) for one in model.parameters()]
    except Exception:  # a kind of parameter that nobody has heard of is no reason to switch the monitor off
        return told
    return {**told, "parameters": sum(size for size, _ in sizes), "trainable": sum(size for size, trained in sizes if trained)}


def whole_size(parameter: Any) -> int:
    if type(parameter).__name__ == "Params4bit":
        return 2 * parameter.numel() * parameter.element_size()
    return getattr(parameter, "ds_numel", None) or parameter.numel()


def batch_of(args: Any, model: Any) -> Job:
    """Rows (packed ones where rows are packed) in a batch of one device, batches in an optimizer step, and whether
    activations are computed anew for the backward pass."""
    recomputes = getattr(args, "gradient_checkpointing", None) or getattr(model, "is_gradient_checkpointing", None)
    return {"batch": getattr(args, "per_device_train_batch_size", None),
            "accumulation": getattr(args, "gradient_accumulation_steps", None), "recomputes": bool(recomputes)}


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def device_memory(device: Any) -> Any:
    """The function of torch that tells a device's peak; None for the CPU."""
    import torch

    return getattr(getattr(torch, device.type, None), "max_memory_reserved", None)


def device_name(device: Any) -> str | None:
    import torch

    name = getattr(getattr(torch, device.type, None), "get_device_name", None)
    return name(device) if name else None


def peak_memory(device: Any) -> int:
    """Bytes, the most until now: what torch held of the device, or what the process held of the machine."""
    of_device = device_memory(device)
    return of_device(device) if of_device else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def allocated(device: Any) -> int:
    """Bytes, the most that tensors of this process took of its device; 0 on the CPU."""
    import torch

    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def communication_of(events: Any) -> Job:
    """Seconds that a profile's events communicate: NCCL's kernels, which also wait for the other processes' in them, and those of
    them in which the GPU computes nothing; on the CPU gloo's calls alone."""
    kernels = [one for one in events if one.device_type.name == "CUDA" and not getattr(one, "is_user_annotation", False)]
    for_others = re.compile("nccl(Dev)?Kernel" if kernels else "gloo:")
    seconds = covered([one for one in kernels or events if for_others.match(one.name)])
    computing = covered([one for one in kernels if not for_others.match(one.name)])
    return {"communication_seconds": seconds, "exposed_seconds": covered(kernels) - computing if kernels else None}


def covered(events: Any) -> float:
    """Seconds in which at least one of these events runs."""
    total, end = 0.0, float("-inf")
    for start, until in sorted((one.time_range.start, one.time_range.end) for one in events):
        total, end = total + max(0.0, until - max(start, end)), max(end, until)
    return total / 1e6


def from_all(numbers: list[int], device: Any) -> list[list[int]]:
    """The numbers of every process, in rank order."""
    import torch

    if world_size() == 1:
        return [numbers]
    mine = torch.tensor(numbers, device="cpu" if torch.distributed.get_backend() == "gloo" else device)
    rows = [torch.empty_like(mine) for _ in range(world_size())]
    torch.distributed.all_gather(rows, mine)
    return torch.stack(rows).tolist()


def world_size() -> int:
    import torch

    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if ready else 1


def is_first() -> bool:
    return os.environ.get("RANK", "-1") in ("-1", "0")


def reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
