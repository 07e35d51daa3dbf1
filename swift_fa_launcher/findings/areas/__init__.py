"""The table's parts, in the order of display."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.areas import (
    build,
    data,
    flash_attn,
    launch,
    launcher,
    machine,
    rehearsal,
    run,
    swanlab,
    swift,
)
from swift_fa_launcher.findings.entry import Entry

#: Areas in the order of display.
AREAS: Mapping[str, Text] = {
    "machine": Text("Machine and interpreter", "机器与解释器"),
    "flash-attn": Text("flash-attn as installed", "已安装的 flash-attn"),
    "build": Text("Installing and building", "安装与编译"),
    "swift": Text("ms-swift and its arguments", "ms-swift 及其参数"),
    "launch": Text("Launching", "启动"),
    "data": Text("Model, data, output", "模型、数据与输出"),
    "swanlab": Text("SwanLab", "SwanLab"),
    "rehearsal": Text("The training in small", "小规模预演"),
    "run": Text("A failed run", "失败的训练"),
    "launcher": Text("Errors of the launcher", "启动器的错误"),
}

ENTRIES: Mapping[str, Mapping[str, Entry]] = {
    "machine": machine.ENTRIES, "flash-attn": flash_attn.ENTRIES, "build": build.ENTRIES, "swift": swift.ENTRIES,
    "launch": launch.ENTRIES, "data": data.ENTRIES, "swanlab": swanlab.ENTRIES,
    "rehearsal": rehearsal.ENTRIES, "run": run.ENTRIES, "launcher": launcher.ENTRIES,
}
