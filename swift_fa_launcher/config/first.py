"""The text of a first config, commented so that one learns from it. Pure.

What the machine is like was looked at before: here it is a value of `First`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from swift_fa_launcher.errors import Text
from swift_fa_launcher.layout import cells, pad

#: Rows of a step over all GPUs; a packed row holds some four conversations (docs/h200.md: 4.2 of 3072 tokens).
ROWS_A_STEP, PACKED_A_STEP = 16, 4
MAX_LENGTH = 2048
_PLACE = 40  # columns before a comment, where the values leave them


@dataclass(frozen=True)
class First:
    """file: what the config is called on a command line. on: "gpu"; "old", a GPU without bfloat16; "cpu". gpus: those to train
    on, None for all. room: rows that each GPU has memory for. swanlab: "in", logged in; "out"; "absent"."""

    file: str
    name: str
    model: str
    datasets: tuple[str, ...]
    on: str
    gpus: tuple[int, ...] | None
    count: int
    room: int
    swanlab: str

    @property
    def rows(self) -> int:
        """Rows that each GPU takes at a time."""
        return max(1, min(self.room, self._a_step // self.count))

    @property
    def accumulated(self) -> int:
        """How many times a step takes them."""
        return max(1, self._a_step // (self.rows * self.count))

    @property
    def _a_step(self) -> int:
        return PACKED_A_STEP if self.on == "gpu" else ROWS_A_STEP


#: A value and what a reader learns of it.
_Line = tuple[str, Any, "Text | None"]

_BASE = ("extends", "swift-fa:lora", Text("LoRA, bfloat16, packing, flash attention", "LoRA、bfloat16、packing、flash attention"))


def render_first(first: First, lang: str) -> str:
    """The config as YAML; its comments in `lang`."""
    on = Text("the CPU, since no GPU was found", "CPU（没有找到 GPU）") if first.on == "cpu" else \
        Text("the GPUs that were free", "写入时空闲的 GPU")
    head = (Text(f"LoRA training of {first.model} on {on.en}. Written by swift-fa init.",
                 f"用 LoRA 训练 {first.model}，使用{on.zh}。由 swift-fa init 写入。"),
            Text(f"check: swift-fa preflight {first.file}    start: swift-fa train {first.file}",
                 f"检查：swift-fa preflight {first.file}    启动：swift-fa train {first.file}"),
            Text(f"every value and where it comes from: swift-fa config {first.file} --explain",
                 f"所有值及其来源：swift-fa config {first.file} --explain"))
    sections = (("swift", _swift(first)), ("swanlab", _swanlab(first)), ("launch", _launch(first)),
                ("run", [("name", first.name, Text("the record is in runs/, under this name", "记录在 runs/ 中，用这个名称"))]))
    text = [*(f"# {line.render(lang)}" for line in head), "", *_render([_BASE], "", lang)]
    for name, lines in sections:
        if lines:
            text += ["", f"{name}:", *_render(lines, "  ", lang)]
    return "\n".join(text) + "\n"


def _swift(first: First) -> list[_Line]:
    rows, times, count = first.rows, first.accumulated, first.count
    kind = Text("packed rows", "个打包行") if first.on == "gpu" else Text("rows", "行")
    return [
        ("model", first.model, Text("a hub id or a folder", "hub 上的 id 或本地目录")),
        ("dataset", list(first.datasets), Text("hub ids or files; #500 behind one takes 500 of its rows",
                                               "hub 上的 id 或文件；后面加 #500 表示只取 500 行")),
        *_differences(first),
        ("max_length", MAX_LENGTH, Text("tokens; a longer row is left out", "token 数；更长的行不参与训练")),
        ("per_device_train_batch_size", rows, Text(
            f"{kind.en} at a time; does it fit? swift-fa rehearse {first.file}",
            f"每次的{kind.zh.lstrip('个')}数；显存够吗？swift-fa rehearse {first.file}")),
        ("gradient_accumulation_steps", times, Text(f"{rows} x {times} x {count} = {rows * times * count} {kind.en} a step",
                                                    f"每步 {rows} x {times} x {count} = {rows * times * count} {kind.zh}")),
        ("learning_rate", 1e-4, Text("LoRA takes 1e-4 to 2e-4, full training 1e-5", "LoRA 常用 1e-4 到 2e-4，全参训练 1e-5")),
        ("num_train_epochs", 1, None),
        ("logging_steps", 5, None),
        ("save_steps", 50, Text("a checkpoint; `swift-fa resume` goes on from it", "保存检查点；`swift-fa resume` 从它继续")),
        ("save_total_limit", 2, Text("older checkpoints are removed", "更早的检查点会被删除")),
        ("output_dir", f"output/{first.name}", Text("the model comes here", "模型写在这里")),
    ]


def _differences(first: First) -> Iterator[_Line]:
    """What this machine cannot do of the base."""
    if first.on == "cpu":
        yield "use_cpu", True, Text("on a machine with a GPU remove these five lines", "在有 GPU 的机器上请删去这五行")
        yield "torch_dtype", "float32", None
    elif first.on == "old":
        yield "fp16", True, Text("the GPU is older than Ampere", "GPU 早于 Ampere")
    if first.on != "gpu":
        yield "bf16", False, None
        yield "attn_impl", "sdpa", Text("flash attention: Ampere or newer", "flash attention 需要 Ampere 或更新的 GPU")
        yield "packing", False, Text("and packing needs flash attention", "packing 需要 flash attention")


def _swanlab(first: First) -> list[_Line]:
    if first.swanlab == "absent":
        return [("enabled", False, Text("to track in SwanLab: pip install swanlab", "要用 SwanLab 跟踪：pip install swanlab"))]
    mode: _Line = ("mode", "cloud", Text("you are logged in", "您已登录")) if first.swanlab == "in" else \
        ("mode", "offline", Text("not logged in; after `swanlab login` write cloud", "未登录；`swanlab login` 之后改为 cloud"))
    return [mode, ("project", "swift-fa", None),
            ("experiment", "${run.name}", Text("a value may name another", "值可以引用别的值"))]


def _launch(first: First) -> list[_Line]:
    if first.gpus is None:
        return []
    gpus: _Line = ("gpus", list(first.gpus), Text("as nvidia-smi counts them", "编号与 nvidia-smi 一致"))
    processes: _Line = ("nproc_per_node", first.count, Text("one process for each GPU", "每个 GPU 一个进程"))
    return [gpus, processes] if first.count > 1 else [gpus]


def _render(lines: Iterable[_Line], indent: str, lang: str) -> Iterator[str]:
    for key, value, comment in lines:
        line = f"{indent}{key}: {_written(value)}"
        yield f"{pad(line, max(_PLACE, cells(line)))}  # {comment.render(lang)}" if comment else line


def _written(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0e}".replace("e-0", "e-")
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()
