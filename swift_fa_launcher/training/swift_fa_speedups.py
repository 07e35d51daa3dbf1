"""Makes the training faster without changing what it learns: loaded by swift_fa_plugin for the concern `speedups`.

Each speed-up is looked for in the model that a trainer is given, and leaves the plain path wherever its conditions do not
hold. `exact` are bit-identical; `all` are equal up to the rounding that half precision has anyway. What is in effect, in how
many layers, and why something is not, goes into `folder`/speedups.json and, on one line, to people.
"""
# mypy: disable-error-code="import-not-found,import-untyped,no-any-return,misc"

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Job = dict[str, Any]

FLASH = "flash"  # in the name of every attention implementation that takes row boundaries
BOUNDARIES = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k")


def speed_up(job: Job, say: Callable[[str], None]) -> None:
    """Puts the speed-ups into the model of every trainer that transformers makes from now on. job: level (`exact` or `all`) and
    folder."""
    from transformers import Trainer

    make = Trainer.__init__

    @functools.wraps(make)
    def make_fast(trainer: Any, *args: Any, **kwargs: Any) -> None:
        make(trainer, *args, **kwargs)
        if getattr(trainer, "args", None) is None or not is_training(trainer):
            return
        told = {name: tried(apply, trainer) for name, apply in SPEEDUPS[job["level"]].items()}
        if os.environ.get("RANK", "-1") in ("-1", "0"):
            write_down(Path(job["folder"]) / "speedups.json", told)
            used = [f"{name} ({found['layers']} layers)" if "layers" in found else name
                    for name, found in told.items() if found["used"]]
            say(f"speed-ups: {', '.join(used) or 'none holds for this model'}")

    Trainer.__init__ = make_fast


def is_training(trainer: Any) -> bool:
    return getattr(trainer, "train_dataset", None) is not None


def tried(apply: Callable[[Any], Job], trainer: Any) -> Job:
    """What came of a speed-up; one that fails is left out, and the training goes on without it."""
    try:
        return apply(trainer)
    except Exception as error:
        return {"used": False, "why": " ".join(str(error).split()) or type(error).__name__}


def write_down(file: Path, told: Job) -> None:
    part = file.with_name(file.name + ".part")
    try:
        part.write_text(json.dumps(told, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(str(part), str(file))
    except OSError:
        pass  # a record that cannot be written ends no training


# A LoRA layer's input, cast once


def keep_lora_inputs(trainer: Any) -> Job:
    """PEFT casts a LoRA layer's input to the adapter's float32, and autocast casts it back to half precision at once: two
    passes over memory and a second saved copy in each layer. Left out where autocast would undo it anyway.

    Bit-identical: half precision to float32 and back is the same number. Not where dropout lies between the two casts, since
    its mask may depend on the type. peft/tuners/tuners_utils.py `_cast_input_dtype` (0.13 and later).
    """
    layers = [layer for layer in lora_layers(trainer.model) if hasattr(layer, "_cast_input_dtype")]
    if not layers:
        return {"used": False, "why": "no LoRA layers whose input is cast"}
    exact = [layer for layer in layers if not has_dropout(layer)]
    for layer in exact:
        layer._cast_input_dtype = functools.partial(cast_unless_undone, layer._cast_input_dtype)
    left = f"{len(layers) - len(exact)} layers have dropout" if len(exact) < len(layers) else ""
    return {"used": bool(exact), "layers": len(exact), **({"why": left} if left else {})}


def cast_unless_undone(cast: Callable[[Any, Any], Any], x: Any, dtype: Any) -> Any:
    return x if x is not None and x.dtype == autocast_dtype(x.device.type) else cast(x, dtype)


def autocast_dtype(device: str) -> Any:
    """The type that autocast computes in on a device; None where it is off."""
    import torch

    try:
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    except (AttributeError, TypeError):  # before torch 2.4 each device had functions of its own
        cuda = device == "cuda"
        on = torch.is_autocast_enabled() if cuda else torch.is_autocast_cpu_enabled()
        return (torch.get_autocast_gpu_dtype() if cuda else torch.get_autocast_cpu_dtype()) if on else None


# Row boundaries, once a step


def share_boundaries(trainer: Any) -> Job:
    """transformers works out in every layer where the rows of a packed row begin, from position_ids, each time waiting for the
    device. Given to the model once a step instead, in the form that it would find itself; worked out before the batch goes to
    the device where ms-swift's loader lets us (its module's `to_device`, 3.8 to 4.6), so that nothing waits at all.

    modeling_flash_attention_utils.py (`_flash_attention_forward`, `prepare_fa_kwargs_from_position_ids`), which takes them from
    the model's keyword arguments. Not for models with more than a language model (their towers would take them too) or with
    layers of linear attention, which read the same names.
    """
    why = no_boundaries(trainer.model)
    if why:
        return {"used": False, "why": why}
    trainer.model.register_forward_pre_hook(add_boundaries, with_kwargs=True)
    make_loader = trainer.get_train_dataloader

    @functools.wraps(make_loader)
    def get_train_dataloader(*args: Any, **kwargs: Any) -> Any:
        loader = make_loader(*args, **kwargs)
        module = sys.modules[type(loader).__module__]
        move = getattr(module, "to_device", None)
        if move is not None and not hasattr(move, "swift_fa"):
            module.to_device = functools.wraps(move)(functools.partial(move_with_boundaries, move))  # type: ignore[attr-defined]
            module.to_device.swift_fa = True
        return loader

    trainer.get_train_dataloader = get_train_dataloader
    return {"used": True}


def move_with_boundaries(move: Callable[..., Any], batch: Any, *args: Any, **kwargs: Any) -> Any:
    if type(batch) is dict and needs_boundaries(batch) and batch["position_ids"].device.type == "cpu":
        batch = {**batch, **boundaries_of(batch["position_ids"])}
    return move(batch, *args, **kwargs)


def needs_boundaries(batch: Job) -> bool:
    """A batch of one packed row, without a mask, that has none yet."""
    positions = batch.get("position_ids")
    return positions is not None and positions.dim() == 2 and positions.shape[0] == 1 and batch.get("attention_mask") is None \
        and all(batch.get(name) is None for name in BOUNDARIES)


def no_boundaries(model: Any) -> str:
    """Why the boundaries are not to be given to this model; empty where they are."""
    config = getattr(model, "config", None)
    if FLASH not in str(getattr(config, "_attn_implementation", "")):
        return "the attention takes no row boundaries"
    if any(getattr(config, name, None) is not None for name in ("vision_config", "audio_config", "text_config")):
        return "the model has more than a language model"
    if any("linear" in str(kind) or "mamba" in str(kind) for kind in getattr(config, "layer_types", None) or ()):
        return "the model has layers of linear attention"
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    inner = getattr(base, "model", base)
    if not all(takes_more(module.forward) for module in (base, inner)):
        return "the model does not hand them on to its layers"
    attentions = [module for name, module in base.named_modules() if name.endswith("self_attn")]
    if not attentions or not all(takes_more(module.forward) for module in attentions):
        return "its attention layers do not take them"
    return ""


def takes_more(function: Callable[..., Any]) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())


def add_boundaries(module: Any, args: Any, kwargs: Job) -> Any:
    if not module.training or not needs_boundaries(kwargs):
        return None
    return args, {**kwargs, **boundaries_of(kwargs["position_ids"])}


def boundaries_of(positions: Any) -> Job:
    """Where the rows of a packed row begin and how long the longest is; nothing where it holds but one row.

    positions: (1, tokens), from 0 on in each row.
    """
    import torch

    begins = (positions.view(-1) == 0).nonzero().view(-1).to(torch.int32)
    if begins.numel() < 2:
        return {}
    ends = torch.cat((begins, torch.tensor([positions.numel()], device=begins.device, dtype=torch.int32)))
    longest = int(ends.diff().max())
    return {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": longest, "max_length_k": longest}


# What the trainer waits for, or counts again, in every step


def judge_loss_later(trainer: Any) -> Job:
    """transformers looks at every loss before it goes on (`logging_nan_inf_filter`), for which the processor waits until the
    device has done all its work. The same rule on the device: a loss that is no number counts as the mean of those since the
    last logged step. transformers 5 (`_run_epoch`); before it the sum is out of reach.
    """
    import torch

    step = trainer.training_step
    if not getattr(trainer.args, "logging_nan_inf_filter", False):
        return {"used": False, "why": "every loss is taken as it is already"}
    if not hasattr(type(trainer), "_run_epoch"):
        return {"used": False, "why": "this transformers keeps the sum of losses to itself"}

    @functools.wraps(step)
    def training_step(*args: Any, **kwargs: Any) -> Any:
        loss = step(*args, **kwargs)
        so_far = trainer._tr_loss / (1 + trainer.state.global_step - trainer._globalstep_last_logged)
        return torch.where(torch.isfinite(loss), loss, so_far.to(loss.device))

    trainer.training_step = training_step
    trainer.args.logging_nan_inf_filter = False
    return {"used": True}


def count_parameters_once(trainer: Any) -> Job:
    """transformers walks through all modules in every step, to count parameters for `total_flos`; their number stays the same.

    modeling_utils.py `num_parameters`, called by `floating_point_ops` with the same words each time.
    """
    model = trainer.model.get_base_model() if hasattr(trainer.model, "get_base_model") else trainer.model
    if not hasattr(model, "num_parameters"):
        return {"used": False, "why": "the model does not count its parameters"}
    model.num_parameters = functools.lru_cache(maxsize=None)(model.num_parameters)
    return {"used": True}


# LoRA's product as part of the base layer's


def fuse_lora(trainer: Any) -> Job:
    """One function for a frozen linear layer and its LoRA: x is saved once, scaling and adding are part of the products.

    y = x·Wᵀ + b + s·(x·Aᵀ)·Bᵀ, in the type that autocast computes in; gradients as autograd would give them, each product
    accumulated into the one before. With dropout, x·Aᵀ stays autograd's own. For a plain LoRA alone; DoRA, quantised, merged and
    several adapters take PEFT's own way, also where they become so later.
    """
    layers = list(lora_layers(trainer.model))
    fusible = [layer for layer in layers if not why_not_fused(layer)]
    for layer in fusible:
        layer.forward = functools.partial(fused_forward, layer, layer.forward)
    whys = sorted({why for layer in layers for why in [why_not_fused(layer)] if why})
    if not layers:
        whys = ["no LoRA layers"]
    return {"used": bool(fusible), "layers": len(fusible), **({"why": ", ".join(whys)} if whys else {})}


def lora_layers(model: Any) -> Any:
    try:
        from peft.tuners.lora import LoraLayer
    except ImportError:
        return
    for module in model.modules():
        if isinstance(module, LoraLayer):
            yield module


def has_dropout(layer: Any) -> bool:
    return any(getattr(dropout, "p", 0) for dropout in layer.lora_dropout.values())


def why_not_fused(layer: Any) -> str:
    """Why PEFT's own forward stays; empty where the fused one may take its place."""
    import torch
    from peft.tuners.lora import Linear

    base: Any = layer.get_base_layer() if hasattr(layer, "get_base_layer") else None
    names = list(layer.lora_A)
    if not isinstance(layer, Linear) or type(base) is not torch.nn.Linear:
        return f"a base layer that is a {type(base).__name__}"
    if base.weight.requires_grad or (base.bias is not None and base.bias.requires_grad):
        return "a base layer that is trained too"
    if not base.weight.is_floating_point() or base.weight.element_size() < 2:
        return "a quantised base layer"
    if len(names) != 1 or getattr(layer, "fan_in_fan_out", False):
        return "several adapters in one layer"
    if getattr(layer, "lora_variant", None) or any(getattr(layer, "use_dora", {}).values()):
        return "DoRA or another variant"
    if any(part[names[0]].bias is not None for part in (layer.lora_A, layer.lora_B)):
        return "an adapter with bias"
    return ""


def fused_forward(layer: Any, plain: Callable[..., Any], x: Any, *args: Any, **kwargs: Any) -> Any:
    name = layer.active_adapters[0] if len(layer.active_adapters) == 1 else None
    base = layer.get_base_layer()
    if args or kwargs or layer.disable_adapters or layer.merged or name not in layer.lora_A or base.weight.numel() == 0 \
            or layer.lora_A[name].weight.numel() == 0:  # ZeRO 3 holds a part of them only
        return plain(x, *args, **kwargs)
    a, b, scale = layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
    dtype = autocast_dtype(x.device.type) or x.dtype
    if not (dtype == x.dtype == base.weight.dtype) or (a.dtype != dtype and autocast_dtype(x.device.type) is None):
        return plain(x)
    dropout = layer.lora_dropout[name]
    functions = autograd_functions()
    if getattr(dropout, "p", 0) and layer.training:
        return functions.up(x, base.weight, base.bias, layer.lora_A[name](dropout(x)), b.to(dtype), scale)
    return functions.whole(x, base.weight, base.bias, a.to(dtype), b.to(dtype), scale)


@functools.cache
def autograd_functions() -> Any:
    """The two functions; made when first needed, since this file is loaded before torch may be touched."""
    import torch

    def flat(x: Any) -> Any:
        return x.reshape(-1, x.shape[-1])

    class Whole(torch.autograd.Function):
        """x (…, in), W (out, in), b (out) or None, A (rank, in), B (out, rank) to (…, out)."""

        @staticmethod
        def forward(ctx: Any, x: Any, weight: Any, bias: Any, a: Any, b: Any, scale: float) -> Any:
            rows = flat(x)
            h = rows @ a.t()
            y = torch.nn.functional.linear(rows, weight, bias).addmm_(h, b.t(), alpha=scale)
            ctx.save_for_backward(x, weight, a, b, h)
            ctx.scale = scale
            return y.view(*x.shape[:-1], weight.shape[0])

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            x, weight, a, b, h = ctx.saved_tensors
            g, rows = flat(g), flat(x)
            g_h = (g @ b).mul_(ctx.scale)
            g_x = (g @ weight).addmm_(g_h, a).view(x.shape) if ctx.needs_input_grad[0] else None
            return g_x, None, None, g_h.t() @ rows, (g.t() @ h).mul_(ctx.scale), None

    class Up(torch.autograd.Function):
        """The same from h = (…, rank), which autograd knows the way to."""

        @staticmethod
        def forward(ctx: Any, x: Any, weight: Any, bias: Any, h: Any, b: Any, scale: float) -> Any:
            y = torch.nn.functional.linear(flat(x), weight, bias).addmm_(flat(h), b.t(), alpha=scale)
            ctx.save_for_backward(weight, h, b)
            ctx.scale = scale
            return y.view(*x.shape[:-1], weight.shape[0])

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            weight, h, b = ctx.saved_tensors
            rows = flat(g)
            g_x = (rows @ weight).view(*g.shape[:-1], weight.shape[1]) if ctx.needs_input_grad[0] else None
            return g_x, None, None, (rows @ b).mul_(ctx.scale).view(h.shape), (rows.t() @ flat(h)).mul_(ctx.scale), None

    class Functions:
        whole, up = staticmethod(without_autocast(Whole.apply)), staticmethod(without_autocast(Up.apply))

    return Functions


def without_autocast(function: Callable[..., Any]) -> Callable[..., Any]:
    """The types are chosen already: autocast would look at every product again."""
    import torch

    def apply(x: Any, *args: Any) -> Any:
        with torch.autocast(x.device.type, enabled=False):
            return function(x, *args)

    return apply


EXACT: dict[str, Callable[[Any], Job]] = {"lora-input": keep_lora_inputs, "row-boundaries": share_boundaries,
                                          "loss-judged-later": judge_loss_later, "parameters-counted-once": count_parameters_once}
SPEEDUPS: dict[str, dict[str, Callable[[Any], Job]]] = {"exact": EXACT, "all": {**EXACT, "fused-lora": fuse_lora}}
