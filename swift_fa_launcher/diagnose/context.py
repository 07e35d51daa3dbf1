"""What a log says of the machine and the run, apart from what failed. The table of signatures chooses by it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from packaging.version import Version

#: Compute capabilities of GPUs by a part of their names, the longer names first. https://developer.nvidia.com/cuda-gpus
_CAPABILITIES = {"P100": "6.0", "GTX 10": "6.1", "V100": "7.0", "T4": "7.5", "GTX 16": "7.5", "GeForce RTX 20": "7.5", "Quadro RTX": "7.5",
                 "A100": "8.0", "A800": "8.0", "A30": "8.0", "A10": "8.6", "A40": "8.6", "A5000": "8.6", "A6000": "8.6", "GeForce RTX 30": "8.6",
                 "Ada": "8.9", "GeForce RTX 40": "8.9", "L40": "8.9", "L20": "8.9", "L4": "8.9", "H100": "9.0", "H800": "9.0", "H20": "9.0",
                 "GH200": "9.0", "B200": "10.0", "B300": "10.3", "Thor": "11.0", "GeForce RTX 50": "12.0", "RTX PRO": "12.0", "GB10": "12.1"}


@dataclass(frozen=True)
class Context:
    """settings: arguments and launch variables by name, as the log shows them, the last of several. platform: "cuda", "rocm" or
    "ascend". gpu: as the log calls it; capability: its compute capability. trained, ended: the lines that say that all steps
    were made, and that ms-swift had nothing left to do; 0 where none does."""

    settings: Mapping[str, str] = field(default_factory=dict)
    platform: str = "cuda"
    gpu: str | None = None
    capability: Version | None = None
    trained: int = 0
    ended: int = 0

    def has(self, name: str, pattern: str) -> bool:
        """Whether a setting's value fits."""
        return bool(re.search(pattern, self.settings.get(name, "")))


def make_context(notes: Mapping[str, str], trained: int = 0, ended: int = 0) -> Context:
    """The context that the notes of a log make."""
    platform = next((name for name in ("rocm", "ascend") if name in notes), "cuda")
    gpu, sm = notes.get("gpu"), notes.get("sm")
    named = next((number for part, number in _CAPABILITIES.items() if gpu and part in gpu), None)
    number = f"{sm[:-1]}.{sm[-1]}" if sm else named
    return Context(notes, platform, gpu or (f"sm_{sm}" if sm else None), Version(number) if number else None, trained, ended)
