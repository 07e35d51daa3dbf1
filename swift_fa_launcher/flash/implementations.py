"""The implementations of flash attention that a training can ask for, one row each. Pure; imports no other room."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from swift_fa_launcher.errors import Text


@dataclass(frozen=True)
class Implementation:
    """One generation of flash attention, a distribution of its own."""

    names: tuple[str, ...]  # values of attn_impl
    title: str
    distribution: str  # canonical
    field: str  # of Facts
    module: str  # what a training imports
    file: str  # the end of the file that this import runs
    modules: tuple[str, ...]  # that must import after an installation
    extension: re.Pattern[str] | None  # the compiled module in a wheel; None: its kernels are compiled when they are first used
    first: Version  # before it the name was a placeholder's
    majors: range  # of the compute capabilities that it runs on
    gpus: Text  # the same in words
    nvcc: Version  # the oldest that builds it


#: `bert_padding` is what transformers takes from it, and needs einops.
FA2 = Implementation(
    ("flash_attn", "flash_attention_2"), "FlashAttention 2", "flash-attn", "flash_attn", "flash_attn", "/flash_attn/__init__.py",
    ("flash_attn", "flash_attn_2_cuda", "flash_attn.bert_padding"), re.compile(r"flash_attn_2_cuda[^/]*\.(?:so|pyd)"),
    Version("2.0"), range(8, 1000), Text("8.0 or newer", "8.0 或更新"), Version("11.7"))
FA3 = Implementation(
    ("flash_attention_3",), "FlashAttention 3", "flash-attn-3", "flash_attn_3", "flash_attn_interface",
    "/flash_attn_interface.py", ("flash_attn_interface",), re.compile(r"(?:.*/)?(?:_C|flash_attn_3_cuda)[^/]*\.(?:so|pyd)"),
    Version("3.0.0a0"), range(9, 10), Text("9.0 only", "仅 9.0"), Version("12.3"))
FA4 = Implementation(
    ("flash_attention_4",), "FlashAttention 4", "flash-attn-4", "flash_attn_4", "flash_attn.cute", "/flash_attn/cute/__init__.py",
    ("flash_attn.cute",), None, Version("4.0.0a0"), range(9, 13), Text("9.0, 10.x, 11.x or 12.x", "9.0、10.x、11.x 或 12.x"),
    Version("0"))

#: FlashAttention 2 inside torch, 2.10 and later; nobody asks for it by a name of its own (flash.provider).
TORCHS_OWN = Implementation(
    (), "torch's own FlashAttention", "torch", "torch_attention", "torch.nn.attention.varlen", "/torch/nn/attention/varlen.py",
    ("torch.nn.attention.varlen",), None, Version("2.10"), range(8, 1000), FA2.gpus, Version("0"))

#: What layers of linear attention compute their convolution with: no attention, and offered in wheels of the same kind. 1.4 is
#: the first that flash-linear-attention takes.
CAUSAL_CONV1D = Implementation(
    ("causal_conv1d",), "causal-conv1d", "causal-conv1d", "", "causal_conv1d", "/causal_conv1d/__init__.py",
    ("causal_conv1d", "causal_conv1d_cuda"), re.compile(r"causal_conv1d_cuda[^/]*\.(?:so|pyd)"), Version("1.4"), range(7, 1000),
    Text("7.5 or newer", "7.5 或更新"), Version("11.6"))

IMPLEMENTATIONS = (FA2, FA3, FA4)
DISTRIBUTIONS = tuple(each.distribution for each in IMPLEMENTATIONS)
BY_NAME: Mapping[str, Implementation] = {name: each for each in IMPLEMENTATIONS for name in each.names}
#: All that wheels are chosen and installed of, by name and by distribution.
IN_WHEELS: Mapping[str, Implementation] = {**BY_NAME, CAUSAL_CONV1D.names[0]: CAUSAL_CONV1D}
BY_DISTRIBUTION: Mapping[str, Implementation] = {each.distribution: each for each in IN_WHEELS.values()}

#: What transformers calls FlashAttention 2's kernel on the hub: 5 and later, 4.
HUB_KERNELS = ("kernels-community/flash-attn2", "kernels-community/flash-attn")

#: The transformers that hand over `max_seqlen` of packed rows as a tensor without dimensions, not as a number
#: (modeling_flash_attention_utils.py, prepare_fa_kwargs_from_position_ids; ms-swift's get_packed_seq_params does as well).
TENSOR_LENGTHS = SpecifierSet(">=5.4", prereleases=True)
