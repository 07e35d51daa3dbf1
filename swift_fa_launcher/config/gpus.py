"""`launch.gpus` as people write it. Pure."""

from __future__ import annotations

import re
from typing import Any

from swift_fa_launcher.errors import Text

_COUNT = re.compile(r"(?:auto|free)(?:[:= ](\d+))?")
_RANGE = re.compile(r"(\d{1,4})\s*(?:-|\.\.)\s*(\d{1,4})")
_NO_GPU = ("", "-1", "none", "no", "cpu", "false", "off")


class GpusError(ValueError):
    """What is wrong, and what to type instead."""

    def __init__(self, message: Text, *hint: Text | str) -> None:
        super().__init__(message.en)
        self.message, self.hint = message, hint


def parse_gpus(value: Any) -> tuple[list[int] | None, int | None]:
    """(indices, None for all visible GPUs; how many free ones to take, None where indices or all are meant).

    Takes a list, `0,1`, `0-3`, `0 1`, `all`, `cuda:0`, `auto:2`. Raises GpusError.

    >>> parse_gpus("0-1,4"), parse_gpus("auto:2"), parse_gpus("all")
    (([0, 1, 4], None), (None, 2), (None, None))
    """
    if value is None or value is True:
        return None, None
    items = value if isinstance(value, (list, tuple)) else [value]
    text = ",".join("" if item is None else str(item) for item in items).strip().lower()
    text = re.sub(r"[，、；;\s]+", ",", re.sub(r"[][(){}\"'“”]", "", text).replace("－", "-").strip()).strip(",")
    if text in ("all", "null", "*", "any"):
        return None, None
    if free := _COUNT.fullmatch(text.replace(",", " ")):
        return None, _positive(int(free[1] or 1), value)
    if text in _NO_GPU:
        raise GpusError(Text(f"launch.gpus={_shown(value)} names no GPU", f"launch.gpus={_shown(value)} 没有指定任何 GPU"),
                        Text("to take all visible GPUs: launch.gpus=null", "使用所有可见的 GPU：launch.gpus=null"),
                        Text("to train on the CPU: swift.use_cpu=true", "在 CPU 上训练：swift.use_cpu=true"))
    gpus = [index for part in text.split(",") if part for index in _indices(part, value)]
    if len(set(gpus)) < len(gpus):
        twice = next(index for index in gpus if gpus.count(index) > 1)
        once = ",".join(map(str, dict.fromkeys(gpus)))
        raise GpusError(Text(f"launch.gpus={_shown(value)} names GPU {twice} twice",
                             f"launch.gpus={_shown(value)} 重复写了 GPU {twice}"),
                        f"launch.gpus={once}")
    return gpus, None


def _indices(part: str, value: Any) -> list[int]:
    part = re.sub(r"^(?:cuda:|cuda|gpu:?)(?=\d)", "", part)
    if part.isascii() and part.isdigit() and len(part) < 5:
        return [int(part)]
    span = _RANGE.fullmatch(part)
    if span and int(span[1]) <= int(span[2]):
        return [*range(int(span[1]), int(span[2]) + 1)]
    raise GpusError(Text(f"launch.gpus={_shown(value)}: each GPU is a whole number (nvidia-smi -L lists them)",
                         f"launch.gpus={_shown(value)}：每块 GPU 应写成整数（用 nvidia-smi -L 查看）"),
                    Text("name them: launch.gpus=0,1", "逐一写出：launch.gpus=0,1"),
                    Text("a range: launch.gpus=0-3", "写成范围：launch.gpus=0-3"),
                    Text("two that are free: launch.gpus=auto:2", "取两块空闲的：launch.gpus=auto:2"))


def _positive(count: int, value: Any) -> int:
    if count < 1:
        raise GpusError(Text(f"launch.gpus={_shown(value)} names no GPU", f"launch.gpus={_shown(value)} 没有指定任何 GPU"),
                        Text("one that is free: launch.gpus=auto:1", "取一块空闲的：launch.gpus=auto:1"))
    return count


def _shown(value: Any) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, (list, tuple)) else str(value)
