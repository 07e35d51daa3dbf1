"""The head dimensions that an implementation of flash attention runs. Pure.

FlashAttention 2: csrc/flash_attn/flash_api.cpp (before 2.5.5 the backward over 192 on 8.0 and 9.0 alone). FlashAttention 3:
hopper/flash_api.cpp. FlashAttention 4: flash_attn/cute/interface.py, `_validate_head_dims` and `use_dedicated_hd256_kernel`;
flash_fwd_sm120.py, `can_implement` (a tile of 128 rows, and 64 of keys and values, in 99 KiB).
transformers pads values to the dimension of queries and keys (integrations/flash_attention.py): that one counts.
"""

from __future__ import annotations

from packaging.version import Version

from swift_fa_launcher.decode import known
from swift_fa_launcher.flash.implementations import FA2, FA4, Implementation
from swift_fa_launcher.machine.facts import ModelConfig

MOST = 256
#: FlashAttention 4 on Blackwell: up to this, and 256 where the release has a kernel for it.
MOST_ON_BLACKWELL = 128
FIRST_WITH_256 = {10: Version("4.0.0b11"), 11: Version("4.0.0b16")}
#: Before it, FlashAttention 2 goes backward over 192 on these GPUs alone.
BACKWARD_EVERYWHERE, WIDE_BACKWARD = Version("2.5.5"), (Version("8.0"), Version("9.0"))

#: Models whose full-attention layers have a dimension of their own, and what it is where config.json leaves it out
#: (`global_head_dim` in transformers/models/gemma4/configuration_gemma4.py and its like).
GLOBAL_HEAD_DIM = {name: 512 for name in ("gemma4", "gemma4_text", "gemma4_unified", "gemma4_unified_text", "diffusion_gemma",
                                          "diffusion_gemma_text", "embedding_gemma2", "embedding_gemma2_text")}


def head_dims_of(model: ModelConfig) -> tuple[int, ...]:
    """Every layer's head dimensions, as far as they are known; facts saved by an older release lack a global one."""
    dims, usual = known(model.head_dims) or (), GLOBAL_HEAD_DIM.get(known(model.model_type) or "")
    return (*dims, usual) if usual and (not dims or max(dims) == MOST) else dims


def most_head_dim(implementation: Implementation, version: Version | None, capability: Version | None, dim: int) -> int | None:
    """The largest dimension that runs where this one does not; None where it does, or nobody knows.

    version, capability: None where they are not known, and only what holds for all of them counts.
    """
    if dim > MOST:
        return MOST
    if implementation is FA2:
        old = version is not None and version < BACKWARD_EVERYWHERE and capability is not None and capability not in WIDE_BACKWARD
        return 192 if old and dim > 192 else None
    major = capability.major if implementation is FA4 and capability else None
    if major == 12:
        return 192 if dim > 192 else None
    first = FIRST_WITH_256.get(major) if major else None
    if first is None or dim <= MOST_ON_BLACKWELL or (dim == 256 and (version is None or version >= first)):
        return None
    return MOST_ON_BLACKWELL
