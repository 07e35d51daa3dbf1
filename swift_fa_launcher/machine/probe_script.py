"""Imports flash attention and runs it on each GPU. Run by path with the training interpreter, in a process of its own.

Argument: a JSON object with `module` (flash_attn, flash_attn_interface, flash_attn.cute, torch.nn.attention.varlen, a hub
kernel as OWNER/NAME@REVISION, or causal_conv1d, which is tried in the same way), `devices` (how many of the visible GPUs; 0 for
the import alone), `dtype`, `head_dims`, `tensor_lengths` (whether transformers hands over the longest row's length as a tensor).
Prints a line of MARKER and JSON after each step, so that what was done before a crash is known: {"torch": error}, {"module":
error}, then {"device": i, "error": …, "cases": …}.

Each case runs forward and backward against attention in float32, and the same computed plainly in `dtype`: a kernel may
be off by what the number format costs, and no more (the yardstick of flash-attn's own tests, tests/test_flash_attn.py).
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # this script's folder, which the training does not have on its path

import importlib
import importlib.util
import json
import math
from pathlib import Path
from typing import Any

MARKER = "swift-fa-target:"
#: Lengths of the sequences of a packed row, none of them a multiple of a kernel's block.
LENGTHS = (37, 200, 113)
HEADS, KV_HEADS = 4, 2


def tell(step: dict[str, Any]) -> None:
    print("\n" + MARKER + json.dumps(step), flush=True)


def attempt(name: str) -> tuple[str | None, Any]:
    """(the error as text, None where it went well; the module) of a module's or hub kernel's import."""
    try:
        module: Any = Plugin(name) if "/" in name else importlib.import_module(name)
    except BaseException as error:
        return f"{type(error).__name__}: {error}", None
    return None, Plugin() if name.startswith("torch.") else module


def plain_attention(q: Any, k: Any, v: Any) -> Any:
    """Causal attention of one sequence (length, heads, head_dim), in the inputs' own type."""
    import torch  # type: ignore[import-not-found,unused-ignore]

    k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], dim=1) for t in (k, v))
    scores = torch.einsum("qhd,khd->hqk", q, k) * q.shape[-1] ** -0.5
    hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
    weights = scores.masked_fill(hidden, float("-inf")).softmax(-1)
    return torch.einsum("hqk,khd->qhd", weights, v)


class Plugin:
    """torch's kernel or one of the hub, called as the training plugin calls it, with the names of flash-attn's functions."""

    def __init__(self, kernel: str = "") -> None:
        file = Path(__file__).resolve().parents[1] / "training" / "swift_fa_attention.py"
        spec: Any = importlib.util.spec_from_file_location(file.stem, str(file))
        self.plugin: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.plugin)
        if kernel:
            self.plugin.run.compute = self.plugin.of_hub(*kernel.split("@"))

    def flash_attn_varlen_func(self, q: Any, k: Any, v: Any, cu_seqlens_q: Any, cu_seqlens_k: Any, max_seqlen_q: int,
                               max_seqlen_k: int, causal: bool) -> Any:
        rows = (cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k)
        return self.plugin.run(q, k, v, rows, None, (-1, 0 if causal else -1))


def gradients(compute: Any, inputs: Any, upstream: Any) -> list[Any]:
    """Output and input gradients, in float32."""
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    output = compute(*leaves)
    output.backward(upstream.to(output.dtype))
    return [t.detach().float() for t in (output, *(leaf.grad for leaf in leaves))]


def run_case(module: Any, lengths: tuple[int, ...], packed: bool, head_dim: int, dtype: Any, device: str,
             tensor_lengths: bool) -> tuple[float, float]:
    """The largest error of one case and what the number format allows, as (error, allowed); the worst tensor's."""
    import torch  # type: ignore[import-not-found,unused-ignore]

    torch.manual_seed(0)
    total = sum(lengths)
    inputs = [torch.randn(total, heads, head_dim, device=device, dtype=dtype) for heads in (HEADS, KV_HEADS, KV_HEADS)]
    upstream = torch.randn(total, HEADS, head_dim, device=device, dtype=dtype)

    def plainly(*tensors: Any) -> Any:
        parts = zip(*(t.split(lengths) for t in tensors))  # noqa: B905 (Python 3.8)
        return torch.cat([plain_attention(*part) for part in parts])

    def kernel(*tensors: Any) -> Any:
        if packed:
            ends = torch.tensor([0, *lengths], device=device).cumsum(0).to(torch.int32)
            longest = ends.diff().max() if tensor_lengths else max(lengths)
            given = module.flash_attn_varlen_func(*tensors, cu_seqlens_q=ends, cu_seqlens_k=ends, causal=True,
                                                  max_seqlen_q=longest, max_seqlen_k=longest)
        else:
            given = module.flash_attn_func(*(t.unsqueeze(0) for t in tensors), causal=True)
        given = given[0] if isinstance(given, tuple) else given
        return given if packed else given.squeeze(0)

    return worst_error(plainly, kernel, inputs, upstream)


def run_convolution(module: Any, dtype: Any, device: str) -> tuple[float, float]:
    """As `run_case`, of causal-conv1d's own function: rows of channels, each with the four numbers before it."""
    import torch  # type: ignore[import-not-found,unused-ignore]

    torch.manual_seed(0)
    rows, channels, length, width = 2, 64, LENGTHS[1], 4
    sizes = ((rows, channels, length), (channels, width), (channels,))
    inputs = [torch.randn(*size, device=device, dtype=dtype) for size in sizes]

    def plainly(x: Any, weight: Any, bias: Any) -> Any:
        padded = torch.nn.functional.pad(x, (width - 1, 0))
        whole = sum(padded[..., i:i + length] * weight[:, i, None] for i in range(width))
        return torch.nn.functional.silu(whole + bias[:, None])

    def kernel(*tensors: Any) -> Any:
        return module.causal_conv1d_fn(*tensors, activation="silu")

    return worst_error(plainly, kernel, inputs, torch.randn(*sizes[0], device=device, dtype=dtype))


def worst_error(plainly: Any, kernel: Any, inputs: Any, upstream: Any) -> tuple[float, float]:
    """(error, allowed) of the worst tensor: the output and all gradients of `kernel` against `plainly` in float32."""
    exact = gradients(plainly, [t.float() for t in inputs], upstream.float())
    rounded = gradients(plainly, inputs, upstream)
    ours = gradients(kernel, inputs, upstream)
    worst = (0.0, 0.0)
    for want, near, got in zip(exact, rounded, ours):  # noqa: B905
        error = (got - want).abs().max().item()
        allowed = 3 * (near - want).abs().max().item() + 2e-3
        if not error <= allowed or error > worst[0]:
            worst = (error, allowed)
            if not error <= allowed:
                break
    return worst


def run_device(module: Any, index: int, dtype: str, head_dims: list[int], tensor_lengths: bool) -> list[dict[str, Any]]:
    import torch  # type: ignore[import-not-found,unused-ignore]

    torch.backends.cuda.matmul.allow_tf32 = False
    cases = []
    for head_dim in () if hasattr(module, "causal_conv1d_fn") else head_dims:
        ways = (("fixed", (sum(LENGTHS),), False), ("varlen", LENGTHS, True))
        for name, lengths, packed in ways if hasattr(module, "flash_attn_func") else ways[1:]:
            error, allowed = run_case(module, lengths, packed, head_dim, getattr(torch, dtype), f"cuda:{index}", tensor_lengths)
            number = error if math.isfinite(error) else None  # JSON has no nan
            cases.append({"case": f"{name}, head_dim {head_dim}", "error": number, "allowed": allowed})
    if hasattr(module, "causal_conv1d_fn"):
        error, allowed = run_convolution(module, getattr(torch, dtype), f"cuda:{index}")
        cases.append({"case": "convolution", "error": error if math.isfinite(error) else None, "allowed": allowed})
    torch.cuda.synchronize(index)
    return cases


def main() -> None:
    job = json.loads(sys.argv[1])
    for step, name in (("torch", "torch"), ("module", job["module"])):
        error, module = attempt(name)
        tell({step: error})
        if error:
            return
    for index in range(job["devices"]):
        try:
            tell({"device": index, "error": None,
                  "cases": run_device(module, index, job["dtype"], job["head_dims"], job["tensor_lengths"])})
        except Exception as error:
            tell({"device": index, "error": f"{type(error).__name__}: {error}".splitlines()[0], "cases": []})


if __name__ == "__main__":
    main()
