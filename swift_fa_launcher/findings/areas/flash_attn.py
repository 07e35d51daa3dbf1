"""flash-attn as it is installed: what each code means, when it comes, what mends it, and how a check says it."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.entry import Entry, entry
from swift_fa_launcher.findings.lines import INSTALL, OR_SDPA, REINSTALL

ENTRIES: Mapping[str, Entry] = {
    "flash-attn-missing": entry(
        "EI", Text("flash-attn is wanted and not installed", "需要 flash-attn，但没有安装"),
        Text("TODO", "TODO"),
        INSTALL,
        OR_SDPA,
    ),
    "flash-attn-extension-missing": entry(
        "E", Text("flash-attn is installed without its compiled extension", "flash-attn 安装时没有编译出扩展模块"),
        Text("TODO", "TODO"),
        *REINSTALL,
    ),
    "flash-attn-shadowed": entry(
        "E", Text("the flash_attn that was imported is not the installed one", "导入的 flash_attn 不是安装的那一个"),
        Text("TODO", "TODO"),
        "python -c 'import flash_attn; print(flash_attn)'",
        Text("start outside the source checkout, or remove the file or folder that shadows it; then swift-fa install",
             "不要在源码目录里启动，或删除遮挡它的文件或目录；然后 swift-fa install"),
    ),
    "flash-attn-python-mismatch": entry(
        "E", Text("flash-attn was built for another Python", "flash-attn 是为另一个 Python 版本编译的"),
        Text("TODO", "TODO"),
        *REINSTALL,
    ),
    "flash-attn-abi-mismatch": entry(
        "E", Text("flash-attn was built with the other C++11 ABI than torch", "flash-attn 与 torch 的 C++11 ABI 不一致"),
        Text("TODO", "TODO"),
        *REINSTALL,
    ),
    "flash-attn-torch-mismatch": entry(
        "E", Text("flash-attn was built for another torch", "flash-attn 是为另一个版本的 torch 编译的"),
        Text("TODO", "TODO"),
        *REINSTALL,
    ),
    "flash-attn-cuda-mismatch": entry(
        "E", Text("flash-attn was built for another CUDA than torch brings", "flash-attn 所需的 CUDA 与 torch 自带的不同"),
        Text("TODO", "TODO"),
        *REINSTALL,
    ),
    "flash-attn-glibc-too-new": entry(
        "E", Text("flash-attn needs newer system libraries than this host has", "flash-attn 需要的系统库比本机的新"),
        Text("TODO", "TODO"),
        *REINSTALL,
    ),
    "flash-attn-arch-missing": entry(
        "E", Text("this flash-attn holds no code for this GPU", "这个 flash-attn 不含该 GPU 架构的代码"),
        Text("TODO", "TODO"),
        *REINSTALL,
    ),
    "flash-attn-too-old": entry(
        "E", Text("flash-attn is older than transformers asks for", "flash-attn 版本低于 transformers 的要求"),
        Text("TODO", "TODO"),
        *REINSTALL,
    ),
    "flash-attn-import-failed": entry(
        "E", Text("flash-attn cannot be imported", "flash-attn 无法导入"),
        Text("TODO", "TODO"),
        *REINSTALL,
    ),
    "flash-attn-probe-failed": entry(
        "E", Text("flash attention fails on this GPU", "flash attention 在该 GPU 上运行失败"),
        Text("TODO", "TODO"),
        "swift-fa preflight",
        *REINSTALL,
    ),
    "flash-attn-probe-wrong": entry(
        "E", Text("flash attention computes wrong numbers on this GPU", "flash attention 在该 GPU 上计算结果错误"),
        Text("TODO", "TODO"),
        "swift-fa preflight",
        *REINSTALL,
    ),
    "flash-attn-variant-missing": entry(
        "E", Text("the wanted generation of flash attention is not usable here", "所要求的 flash attention 版本在此不可用"),
        Text("TODO", "TODO"),
        "swift.attn_impl=flash_attention_2",
        "swift-fa preflight",
    ),
    "torch-prerelease": entry(
        "W", Text("TODO", "TODO"),
        Text("TODO", "TODO"),
    ),
}
