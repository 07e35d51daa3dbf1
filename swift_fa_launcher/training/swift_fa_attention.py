"""Gives the training flash attention without the package: loaded by swift_fa_plugin for the concern `attention`.

`torch.nn.attention.varlen` (torch 2.10 and later) is FlashAttention inside torch; a kernel of the hub is the package's own code.
It is put into transformers' registry under the name `flash_attention_2`, which ms-swift asks for, and transformers' question
whether the package is there is answered. What it cannot do (attention sinks; torch's own: dropout, softcap) ends the training; it
is never left out.
"""
# mypy: disable-error-code="import-not-found,import-untyped,no-any-return,attr-defined"

from __future__ import annotations

import functools
import inspect
import math
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "flash_attention_2"


def provide(repo: str | None = None, revision: str = "", **more: Any) -> None:
    """Registers torch's own, or the hub kernel `repo`. transformers 4.48 and later (before it each model had attention classes of
    its own)."""
    import torch
    from transformers import modeling_utils

    run.compute = of_hub(repo, revision) if repo else torchs_own
    attend.kernel = f"hub kernel {repo}@{revision}" if repo else f"torch.nn.attention.varlen (torch {torch.__version__})"
    modeling_utils.ALL_ATTENTION_FUNCTIONS[NAME] = attend
    answer_checks(modeling_utils)


def answer_checks(modeling_utils: Any) -> None:
    """transformers looks for the package before it makes a model, and from 4.55 on imports it then, for direct callers.

    modeling_utils.py: `is_flash_attn_2_available` (to 5.8), the table of checks in modeling_flash_attention_utils.py (later), and
    `lazy_import_flash_attention`.
    """
    from transformers import modeling_flash_attention_utils as flash

    def is_available(*args: Any, **kwargs: Any) -> bool:
        return True

    checks = getattr(flash, "FLASH_ATTENTION_COMPATIBILITY_MATRIX", {})
    if 2 in checks:
        checks[2] = {**checks[2], "general_availability_check": is_available}
    if hasattr(modeling_utils, "is_flash_attn_2_available"):
        modeling_utils.is_flash_attn_2_available = is_available
    load = getattr(modeling_utils, "lazy_import_flash_attention", None)
    if load is not None:
        modeling_utils.lazy_import_flash_attention = functools.wraps(load)(
            lambda name, *args, **kwargs: None if name == NAME else load(name, *args, **kwargs))


def attend(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, dropout: float = 0.0,
           scaling: float | None = None, sliding_window: int | None = None, softcap: float | None = None,
           is_causal: bool | None = None, s_aux: Any = None, position_ids: Any = None, cu_seq_lens_q: Any = None,
           cu_seq_lens_k: Any = None, max_length_q: Any = None, max_length_k: Any = None, **more: Any) -> tuple[Any, None]:
    """What transformers' `flash_attention_forward` computes.

    query, key, value: (batch, heads, length, head_dim), fewer heads for keys and values allowed; attention_mask: (batch, length)
    or None; sliding_window: tokens that one sees, itself among them. Gives back (batch, length, heads, head_dim).
    """
    refuse(attention_sinks=s_aux)
    asked = {name: value for name, value in (("dropout", dropout), ("softcap", softcap)) if value}
    batch, length, size = query.shape[0], query.shape[2], value.shape[-1]
    query, key, value = (t.transpose(1, 2) for t in in_half_precision(module, query, key, value))
    causal = bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
    seen = sliding_window - 1 if sliding_window is not None and key.shape[1] > sliding_window else -1
    window = (seen, 0 if causal else seen)
    if attention_mask is not None:
        places, rows = rows_of_mask(attention_mask, length)
        query, key, value = query.flatten(0, 1)[places[0]], key.flatten(0, 1)[places[1]], value.flatten(0, 1)[places[1]]
        found = run(query, key, value, rows, scaling, window, **asked)
        whole = found.new_zeros(batch * length, *found.shape[1:])
        return whole.index_copy(0, places[0], found).view(batch, length, *found.shape[1:])[..., :size], None
    if cu_seq_lens_q is not None and max_length_q is not None:
        rows = (cu_seq_lens_q, cu_seq_lens_k, max_length_q, max_length_k)
    else:
        rows = rows_of_positions(position_ids, query, key)
    found = run(query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1), rows, scaling, window, **asked)
    return found.view(batch, length, *found.shape[1:])[..., :size], None


def refuse(**asked: Any) -> None:
    for name, value in asked.items():
        if value is not None and (name == "attention_sinks" or value):
            raise NotImplementedError(f"this flash attention has no {name} (this model asks for {value}): "
                                      "set flash_attn.provider=package")


def in_half_precision(module: Any, *tensors: Any) -> list[Any]:
    """PEFT's float32 norms leave float32 behind; flash attention computes in the type that autocast, else the model, has."""
    import torch

    dtype, device = tensors[0].dtype, tensors[0].device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    elif dtype == torch.float32:
        dtype = next((child.weight.dtype for child in module.modules() if isinstance(child, torch.nn.Linear)), dtype)
    return [t.to(dtype) for t in tensors]


def run(query: Any, key: Any, value: Any, rows: Any, scaling: float | None, window: tuple[int, int], **asked: float) -> Any:
    """The kernel. query (tokens, heads, head_dim), key and value likewise; rows: boundaries and longest rows, as
    (cu_seq_q, cu_seq_k, max_q, max_k); asked: dropout, softcap."""
    from torch.nn.functional import pad

    size = query.shape[-1]
    wide = -(-size // 8) * 8  # the kernel takes multiples of 8; zeros change nothing
    query, key, value = (pad(t, (0, wide - t.shape[-1])) if t.shape[-1] != wide else t for t in (query, key, value))
    q_rows, k_rows, q_longest, k_longest = rows
    rows = (q_rows.int(), k_rows.int(), int(q_longest), int(k_longest))
    return run.compute(query, key, value, rows, size ** -0.5 if scaling is None else scaling, window, **asked)


def torchs_own(query: Any, key: Any, value: Any, rows: Any, scale: float, window: tuple[int, int], **asked: float) -> Any:
    """torch 2.10 knows neither scale nor window; 2.12 wants to be told of fewer key heads."""
    from torch.nn.attention import varlen

    refuse(**asked)
    known, given = parameters(varlen.varlen_attn), dict[str, Any]()
    if "scale" in known:
        given["scale"] = scale
    elif not math.isclose(scale, query.shape[-1] ** -0.5):
        query = query * (scale * query.shape[-1] ** 0.5)
    if "window_size" in known:
        given["window_size"] = window
    elif window[0] != -1:
        raise NotImplementedError("torch 2.10's own flash attention has no sliding window: set flash_attn.provider=package")
    else:
        given["is_causal"] = window[1] == 0
    if "enable_gqa" in known:
        given["enable_gqa"] = query.shape[1] != key.shape[1]
    return varlen.varlen_attn(query, key, value, *rows, **given)


run.compute = torchs_own


def of_hub(repo: str, revision: str) -> Callable[..., Any]:
    """The hub kernel's function, called as flash-attn's own is."""
    varlen = load_kernel(repo, revision).flash_attn_varlen_func

    def call(query: Any, key: Any, value: Any, rows: Any, scale: float, window: tuple[int, int], dropout: float = 0.0,
             softcap: float = 0.0) -> Any:
        asked: dict[str, Any] = {**({"dropout_p": dropout} if dropout else {}), **({"softcap": softcap} if softcap else {})}
        found = varlen(query, key, value, *rows, softmax_scale=scale, causal=window[1] == 0, window_size=window, **asked)
        return found[0] if isinstance(found, tuple) else found

    return call


def load_kernel(repo: str, revision: str) -> Any:
    """The module of a kernel that was fetched before: this revision from the cache and no other, whatever the hub says now."""
    import kernels
    from huggingface_hub import constants

    offline, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        kernel = kernels.get_kernel(repo, revision=revision)
    finally:
        constants.HF_HUB_OFFLINE = offline
    if revision not in Path(kernel.__file__).parts:  # LOCAL_KERNELS
        raise RuntimeError(f"kernels loads {kernel.__file__}, which is not {repo}@{revision}")
    return kernel


@functools.cache
def parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


# Where rows begin and end: asked by every layer, worked out once a step


def once(make: Callable[..., Any]) -> Callable[..., Any]:
    """Keeps the answers for the last tensors: a step's layers are given the same ones, and every answer waits for the device."""
    answers: deque[Any] = deque(maxlen=4)

    @functools.wraps(make)
    def kept(tensor: Any, *sizes: int) -> Any:
        state = (tensor._version, sizes)
        for known, known_state, answer in answers:
            if known is tensor and known_state == state:
                return answer
        answer = make(tensor, *sizes)
        answers.append((tensor, state, answer))
        return answer

    return kept


@once
def rows_of_mask(mask: Any, length: int) -> Any:
    """((places of the queries, of the keys), rows) of the tokens that a mask (batch, key length) keeps; the queries are the
    last `length` of each row."""
    if mask.dim() != 2:
        raise NotImplementedError(f"torch's own flash attention takes a mask of two axes, not {mask.dim()}: "
                                  "set flash_attn.provider=package")
    masks = (mask[:, -length:].bool(), mask.bool())
    counts = [m.sum(-1) for m in masks]
    return ([m.flatten().nonzero().flatten() for m in masks],
            (*map(starts, counts), *(int(count.max()) for count in counts)))


def rows_of_positions(positions: Any, query: Any, key: Any) -> Any:
    """Rows of a batch without a mask: those of the one packed row, else each of the batch's."""
    batch, length, keys = query.shape[0], query.shape[1], key.shape[1]
    if positions is not None and positions.dim() == 3 and batch == 1:  # Qwen2-VL's before transformers handed on the text's
        raise NotImplementedError("torch's own flash attention was given positions of three axes: "
                                  "set flash_attn.provider=package")
    if positions is not None and batch == 1 and length == keys:
        return rows_of_packed(positions)
    import torch

    counts = [torch.full((batch,), size, device=query.device) for size in (length, keys)]
    return (*map(starts, counts), length, keys)


@once
def rows_of_packed(positions: Any) -> Any:
    """positions: (1, tokens), going up by one within a row."""
    import torch

    flat = positions.flatten()
    begins = torch.cat((torch.zeros(1, dtype=torch.long, device=flat.device), (flat.diff() != 1).nonzero().flatten() + 1,
                        torch.tensor([flat.numel()], device=flat.device)))
    longest = int(begins.diff().max())
    return begins.int(), begins.int(), longest, longest


def starts(counts: Any) -> Any:
    """0, then where each row ends: (rows + 1,), int32."""
    from torch.nn.functional import pad

    return pad(counts.cumsum(0), (1, 0)).int()
