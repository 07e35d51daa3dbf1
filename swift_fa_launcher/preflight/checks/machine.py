"""The machine and the training interpreter: Python, torch, GPUs, driver, memory, disk."""

from __future__ import annotations

from collections.abc import Iterator

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Unknown, known
from swift_fa_launcher.errors import Text
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.preflight.finding import ERROR, Check, Finding
from swift_fa_launcher.preflight.reading import on_ascend, pip_install


def torch_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Nothing trains without a torch that imports."""
    if isinstance(facts.torch, Unknown):
        return
    error = known(facts.torch.import_error) if facts.torch else None
    if facts.torch is None or facts.torch.version is None:
        yield Finding("torch-missing", ERROR,
                      Text("torch is not installed in the training interpreter", "训练用的解释器里没有安装 torch"),
                      (pip_install(facts, "torch"),
                       Text("or name another interpreter: launch.python=PATH", "或指定另一个解释器：launch.python=路径")))
    elif error:
        yield Finding("torch-missing", ERROR, Text(f"torch does not import: {error}", f"torch 无法导入：{error}"),
                      (pip_install(facts, "--force-reinstall", f"torch=={facts.torch.version}"),),
                      {"import_error": error})


def gpu_none(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """flash-attn runs on GPUs only; an Ascend machine has its own attention."""
    if config.swift.wants_flash_attn and not on_ascend(facts) and known(facts.gpus) in (None, ()):
        if isinstance(facts.gpus, Unknown):
            return
        yield Finding("gpu-none", ERROR, Text("flash attention is wanted and this machine has no GPU",
                                              "需要 flash attention，但这台机器没有 GPU"),
                      (Text("run this on a GPU node", "请在 GPU 节点上运行"),
                       "swift.attn_impl=sdpa swift.packing=false swift.padding_free=false"))


CHECKS: tuple[Check, ...] = (torch_missing, gpu_none)
