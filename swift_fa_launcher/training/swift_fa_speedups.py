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
import operator
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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

#: Layers of one module that are given the same input; LoRA's products with it are made as one.
TOGETHER = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


def fuse_lora(trainer: Any) -> Job:
    """One function for frozen linear layers with the same input and their LoRAs.

    y = b + s·(x·Aᵀ)·Bᵀ + x·Wᵀ, in the type that autocast computes in; gradients as autograd would give them. The small product
    comes first and the big one is added to it, so that nothing passes over y once more; x is read once for all A, and saved once;
    scaling is part of the products; half copies of the adapters are made once a step. Dropout is drawn once more in the
    backward pass. For a plain LoRA alone; DoRA, quantised, merged and several adapters take PEFT's own way, also where they
    become so later.
    """
    if getattr(trainer.args, "torch_compile", False):
        return {"used": False, "why": "torch_compile fuses what it can itself"}
    layers = list(lora_layers(trainer.model))
    fusible = [layer for layer in layers if not why_not_fused(layer)]
    groups = [Group(members) for members in groups_of(trainer.model, fusible)]
    if not (getattr(trainer, "is_deepspeed_enabled", False) or getattr(trainer, "is_fsdp_enabled", False)):
        copy_once_a_step(trainer, groups)
    whys = sorted({why for layer in layers for why in [why_not_fused(layer)] if why})
    if not layers:
        whys = ["no LoRA layers"]
    return {"used": bool(fusible), "layers": len(fusible), "products": len(groups), **({"why": ", ".join(whys)} if whys else {})}


def groups_of(model: Any, layers: list[Any]) -> list[list[Any]]:
    """The layers by the input that they share, as their names say; `Group` sees whether they do."""
    wanted, found = {id(layer) for layer in layers}, []
    for module in model.modules():
        for names in TOGETHER:
            members: list[Any] = [getattr(module, name, None) for name in names]
            if all(id(member) in wanted for member in members) and len({member.in_features for member in members}) == 1:
                found.append(members)
                wanted -= {id(member) for member in members}
    return [*found, *([layer] for layer in layers if id(layer) in wanted)]


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


class Group:
    """Layers whose forward is one function: the first that is called computes all, the others are given what is theirs. Where one
    comes with another input, they go apart for good."""

    def __init__(self, layers: list[Any]) -> None:
        self.layers, self.plain = layers, [layer.forward for layer in layers]
        self.input: Any = None
        self.made: dict[int, Any] = {}
        self.apart = False
        self.wants: Any = None  # the adapters and the type of their copies
        self.copies: Any = None  # (A of all, B of each) while they hold
        self.buffers: Any = None
        for place, layer in enumerate(layers):
            layer.forward = functools.partial(self.forward, place)

    def forward(self, place: int, x: Any, *args: Any, **kwargs: Any) -> Any:
        if self.input is x and place in self.made and not args and not kwargs:
            found = self.made.pop(place)
            self.input = x if self.made else None
            return found
        if self.made:
            self.input, self.made, self.apart = None, {}, True
        parts = [part_of(layer, x, args or kwargs) for layer in ([self.layers[place]] if self.apart else self.layers)]
        if self.apart or place or None in parts:
            part = part_of(self.layers[place], x, args or kwargs)
            return self.plain[place](x, *args, **kwargs) if part is None else self.compute(x, [part])[0]
        found = self.compute(x, parts)
        self.made = dict(enumerate(found[1:], 1))
        self.input = x if self.made else None
        return found[0]

    def compute(self, x: Any, parts: list[Any]) -> Any:
        a, bs = self.halves(parts, autocast_dtype(x.device.type) or x.dtype)
        return autograd_function()(x, Together(parts, a, bs), *(part.a for part in parts), *(part.b for part in parts))

    def halves(self, parts: list[Any], dtype: Any) -> tuple[Any, list[Any]]:
        """A of all parts, one below the other, and each B, in the type that is computed in."""
        import torch

        adapters = [*(part.a for part in parts), *(part.b for part in parts)]
        if self.copies is not None and torch.is_grad_enabled() and self.wants[1] == dtype \
                and len(self.wants[0]) == len(adapters) and all(map(operator.is_, self.wants[0], adapters)):
            return self.copies
        if len(parts) == len(self.layers):
            self.wants = (adapters, dtype)
        with torch.no_grad():
            a = parts[0].a if len(parts) == 1 else torch.cat([part.a for part in parts])
            return a.to(dtype), [part.b.to(dtype) for part in parts]

    def places(self) -> Any:
        """(adapter, where its copy lies), made where there are none; nothing where no copy is wanted."""
        import torch

        if self.wants is None or self.wants[0][0].dtype == self.wants[1]:
            return []
        adapters, dtype = self.wants
        count = len(adapters) // 2
        if self.buffers is None or self.buffers[0].dtype != dtype or self.buffers[0].device != adapters[0].device \
                or self.buffers[0].shape[0] != sum(a.shape[0] for a in adapters[:count]):
            self.buffers = (torch.empty(sum(a.shape[0] for a in adapters[:count]), adapters[0].shape[1], dtype=dtype,
                                        device=adapters[0].device),
                            [torch.empty_like(b, dtype=dtype, requires_grad=False) for b in adapters[count:]])
        self.copies = self.buffers
        return zip(adapters, [*self.buffers[0].split([a.shape[0] for a in adapters[:count]]), *self.buffers[1]])  # noqa: B905


def copy_once_a_step(trainer: Any, groups: list[Group]) -> None:
    """Half copies of all adapters in one go before a batch, valid until its backward pass is done: nothing else changes weights
    meanwhile."""
    import torch

    step = trainer.training_step

    @functools.wraps(step)
    def training_step(*args: Any, **kwargs: Any) -> Any:
        pairs = [pair for group in groups for pair in group.places()]
        if pairs:
            with torch.no_grad():
                torch._foreach_copy_([copy for _, copy in pairs], [adapter for adapter, _ in pairs])
        try:
            return step(*args, **kwargs)
        finally:
            for group in groups:
                group.copies = None

    trainer.training_step = training_step


class Part(NamedTuple):
    """A linear layer and its LoRA: W (out, in), b (out) or None, A (rank, in), B (out, rank); dropout: how likely."""

    weight: Any
    bias: Any
    a: Any
    b: Any
    scale: float
    dropout: float


class Together(NamedTuple):
    """Parts with the same input; a: their A, one below the other, bs: their B, both in the type that is computed in."""

    parts: list[Part]
    a: Any
    bs: list[Any]


def part_of(layer: Any, x: Any, more: Any) -> Part | None:
    """What of a layer is computed with; None where PEFT's own forward is to do it."""
    name = layer.active_adapters[0] if len(layer.active_adapters) == 1 else None
    base = layer.get_base_layer()
    if more or layer.disable_adapters or layer.merged or name not in layer.lora_A or base.weight.numel() == 0 \
            or layer.lora_A[name].weight.numel() == 0:  # ZeRO 3 holds a part of them only
        return None
    a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
    cast = autocast_dtype(x.device.type)
    dtype = cast or x.dtype
    if not (dtype == x.dtype == base.weight.dtype) or (a.dtype != dtype and cast is None):
        return None
    dropout = getattr(layer.lora_dropout[name], "p", 0.0) if layer.training else 0.0
    return Part(base.weight, base.bias, a, b, layer.scaling[name], dropout)


def drop(x: Any, rate: float) -> tuple[Any, Any]:
    """(x with dropout, the mask that `undrop` takes); drawn as torch's own dropout draws it."""
    import torch

    if x.is_cuda:
        return torch.native_dropout(x, rate, True)
    mask = torch.empty_like(x).bernoulli_(1 - rate).div_(1 - rate)
    return x * mask, mask


def undrop(g: Any, mask: Any, rate: float) -> Any:
    import torch

    return torch.ops.aten.native_dropout_backward(g, mask, 1 / (1 - rate)) if g.is_cuda else g * mask


def random_state(x: Any) -> Any:
    """Where the numbers on its device stand: a few bytes on the CPU, which the GPU is not waited for."""
    import torch

    return torch.cuda.get_rng_state(x.device) if x.is_cuda else torch.get_rng_state()


def set_random_state(x: Any, state: Any) -> None:
    import torch

    if x.is_cuda:
        torch.cuda.set_rng_state(state, x.device)
    else:
        torch.set_rng_state(state)


def flat(x: Any) -> Any:
    return x.reshape(-1, x.shape[-1])


def of_each(given: Together, whole: Any) -> Any:
    """The parts' rows of what has all ranks in its rows."""
    return whole.split([b.shape[1] for b in given.bs])


def down(given: Together, rows: Any) -> tuple[Any, Any]:
    """(x·Aᵀ of all parts side by side, the random state that their dropouts were drawn from; None without one)."""
    import torch

    if not any(part.dropout for part in given.parts):
        return rows @ given.a.t(), None
    h, state = rows.new_empty(rows.shape[0], given.a.shape[0]), random_state(rows)
    for part, a, its in zip(given.parts, of_each(given, given.a), of_each(given, h.t())):  # noqa: B905
        torch.mm(drop(rows, part.dropout)[0] if part.dropout else rows, a.t(), out=its.t())
    return h, state


def up(part: Part, rows: Any, h: Any, b: Any) -> Any:
    """b + s·h·Bᵀ, and x·Wᵀ added to it."""
    import torch

    y = rows.new_empty(rows.shape[0], b.shape[0])
    if part.bias is None:
        y.addmm_(h, b.t(), beta=0, alpha=part.scale)
    else:
        torch.addmm(part.bias, h, b.t(), alpha=part.scale, out=y)
    return y.addmm_(rows, part.weight.t())


def up_grads(given: Together, grads: list[Any], h: Any) -> tuple[Any, list[Any]]:
    """(gradient of h, that of each B), from those of the outputs, which are None where one was not used."""
    import torch

    g_h, g_bs = torch.empty_like(h), list[Any]()
    for part, g, b, its, its_g in zip(given.parts, grads, given.bs, of_each(given, h.t()), of_each(given, g_h.t())):  # noqa: B905
        if g is None:
            its_g.zero_()
            g_bs.append(None)
            continue
        its_g.t().addmm_(g, b, beta=0, alpha=part.scale)
        g_bs.append(torch.empty_like(b).addmm_(g.t(), its.t(), beta=0, alpha=part.scale))
    return g_h, g_bs


def down_grads(given: Together, rows: Any, g_h: Any, state: Any, *, wants_x: bool) -> tuple[list[Any], Any]:
    """(gradient of each A, what the adapters add to that of x). Dropout is drawn once more: its masks would take more memory
    than all else that LoRA saves."""
    if state is None:
        return list(of_each(given, g_h.t() @ rows)), g_h @ given.a if wants_x else None
    now = random_state(rows)
    set_random_state(rows, state)
    g_as, g_x = list[Any](), None
    for part, a, its_g in zip(given.parts, of_each(given, given.a), of_each(given, g_h.t())):  # noqa: B905
        dropped, mask = drop(rows, part.dropout) if part.dropout else (rows, None)
        g_as.append(its_g @ dropped)
        if wants_x:
            g = its_g.t() @ a
            g = g if mask is None else undrop(g, mask, part.dropout)
            g_x = g if g_x is None else g_x.add_(g)
    set_random_state(rows, now)
    return g_as, g_x


@functools.cache
def autograd_function() -> Any:
    """x (…, in), what is computed with it, every A, every B to a tuple of (…, out); made when first needed, since this file is
    loaded before torch may be touched."""
    import torch

    class Fused(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, given: Together, *adapters: Any) -> Any:
            rows = flat(x)
            h, ctx.state = down(given, rows)
            ctx.save_for_backward(x, h, given.a, *given.bs)
            ctx.parts, ctx.types = given.parts, [adapter.dtype for adapter in adapters]
            ctx.set_materialize_grads(False)
            return tuple(up(part, rows, its.t(), b).view(*x.shape[:-1], b.shape[0])
                         for part, b, its in zip(given.parts, given.bs, of_each(given, h.t())))  # noqa: B905

        @staticmethod
        def backward(ctx: Any, *gs: Any) -> Any:
            x, h, a, *bs = ctx.saved_tensors
            given, rows = Together(ctx.parts, a, bs), flat(x)
            grads = [None if g is None else flat(g) for g in gs]
            g_h, g_bs = up_grads(given, grads, h)
            g_as, g_x = down_grads(given, rows, g_h, ctx.state, wants_x=ctx.needs_input_grad[0])
            for part, g in zip(ctx.parts, grads):  # noqa: B905
                if g_x is not None and g is not None:
                    g_x.addmm_(g, part.weight)
            found = [None if g is None else g.to(dtype) for g, dtype in zip([*g_as, *g_bs], ctx.types)]  # noqa: B905
            return (None if g_x is None else g_x.view(x.shape), None, *found)

    return without_autocast(Fused.apply)


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
