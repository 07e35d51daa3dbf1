"""In the place of torch's kernel, which runs on a GPU alone: plain attention, row by row, as torch's function promises it.

Given to `swift sft --external_plugins` (with KERNEL_CALLS naming a file, to which each call adds the lengths of its rows), or
imported by a test.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention


def varlen_attn(query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any, max_q: int, max_k: int, *,
                scale: float | None = None, window_size: tuple[int, int] = (-1, -1), enable_gqa: bool = False) -> Any:
    """torch.nn.attention.varlen.varlen_attn of 2.12; refuses what that would refuse."""
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32 and query.shape[-1] % 8 == 0
    assert enable_gqa or query.shape[1] == key.shape[1]
    assert type(max_q) is int and int(cu_seq_q.diff().max()) == max_q and int(cu_seq_k.diff().max()) == max_k
    if "KERNEL_CALLS" in os.environ:
        with open(os.environ["KERNEL_CALLS"], "a", encoding="utf-8") as file:
            file.write(f"{cu_seq_q.diff().tolist()}\n")
    found, (left, right) = [], window_size
    for q0, q1, k0, k1 in zip(cu_seq_q, cu_seq_q[1:], cu_seq_k, cu_seq_k[1:]):  # noqa: B905
        q, k, v = (t.transpose(0, 1) for t in (query[q0:q1], key[k0:k1], value[k0:k1]))
        apart = torch.arange(k.shape[1]) - torch.arange(q.shape[1])[:, None] - (k.shape[1] - q.shape[1])
        seen = (apart <= (right if right >= 0 else max_k)) & (apart >= (-left if left >= 0 else -max_k))
        found.append(scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale, enable_gqa=True).transpose(0, 1))
    return torch.cat(found)


def take_its_place() -> None:
    from torch.nn.attention import varlen

    varlen.varlen_attn = varlen_attn


if "KERNEL_CALLS" in os.environ:
    take_its_place()
