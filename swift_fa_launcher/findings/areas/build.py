"""Installing and building: what each code means, when it comes, what mends it, and how a check says it."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.entry import Entry, entry
from swift_fa_launcher.findings.lines import INSTALL

ENTRIES: Mapping[str, Entry] = {
    "wheel-not-found": entry(
        "EW", Text("there is no ready-made flash-attn wheel for this combination", "没有适合当前组合的 flash-attn 预编译 wheel"),
        Text("TODO", "TODO"),
        Text("swift-fa install --dry-run  shows every source and why each wheel was passed over",
             "swift-fa install --dry-run  列出每个来源以及每个 wheel 被跳过的原因"),
        "swift-fa install --from-source",
    ),
    "wheel-invalid": entry(
        "E", Text("the file is not a usable wheel", "该文件不是可用的 wheel"),
        Text("TODO", "TODO"),
        "pip cache purge",
        Text("delete the file and fetch it again: swift-fa install", "删除该文件后重新获取：swift-fa install"),
    ),
    "wheel-unsupported-here": entry(
        "E", Text("this wheel is for another Python or platform", "该 wheel 属于另一个 Python 版本或平台"),
        Text("TODO", "TODO"),
        INSTALL,
    ),
    "nvcc-missing": entry(
        "E", Text("a build from source needs nvcc and there is none", "从源码编译需要 nvcc，但找不到"),
        Text("TODO", "TODO"),
        INSTALL,
        Text("or install the CUDA toolkit of torch's CUDA version and export CUDA_HOME=/usr/local/cuda",
             "或安装与 torch 同版本的 CUDA toolkit，并 export CUDA_HOME=/usr/local/cuda"),
    ),
    "cuda-home-missing": entry(
        "EW", Text("CUDA_HOME does not lead to a CUDA toolkit", "CUDA_HOME 没有指向 CUDA toolkit"),
        Text("TODO", "TODO"),
        "export CUDA_HOME=/usr/local/cuda",
        Text("a flash-attn wheel needs no toolkit: swift-fa install",
             "使用预编译 wheel 则不需要 toolkit：swift-fa install"),
    ),
    "nvcc-torch-mismatch": entry(
        "E", Text("nvcc is of another CUDA than torch", "nvcc 与 torch 的 CUDA 版本不同"),
        Text("TODO", "TODO"),
        INSTALL,
        Text("or export CUDA_HOME to the toolkit of torch's CUDA version", "或把 CUDA_HOME 指向与 torch 相同版本的 toolkit"),
    ),
    "nvcc-too-old": entry(
        "E", Text("nvcc is too old for this flash-attn", "nvcc 对这个 flash-attn 来说太旧"),
        Text("TODO", "TODO"),
        INSTALL,
        Text("or install a newer CUDA toolkit (FA2: 11.7, FA3: 12.3) and export CUDA_HOME",
             "或安装更新的 CUDA toolkit（FA2：11.7，FA3：12.3）并设置 CUDA_HOME"),
    ),
    "gcc-unsupported": entry(
        "E", Text("this gcc does not go with this nvcc or torch", "gcc 版本与 nvcc 或 torch 不匹配"),
        Text("TODO", "TODO"),
        INSTALL,
        Text("or build with another gcc: CC=gcc-11 CXX=g++-11 swift-fa install --from-source",
             "或换用其他 gcc：CC=gcc-11 CXX=g++-11 swift-fa install --from-source"),
    ),
    "build-deps-missing": entry(
        "W", Text("the build cannot see a package that it needs", "编译时看不到所需的软件包"),
        Text("TODO", "TODO"),
        INSTALL,
        "pip install packaging psutil ninja wheel setuptools && pip install flash-attn --no-build-isolation",
    ),
    "build-memory-low": entry(
        "W", Text("the build ran out of memory", "编译时内存不足"),
        Text("TODO", "TODO"),
        INSTALL,
        "MAX_JOBS=2 pip install flash-attn --no-build-isolation",
    ),
    "site-packages-not-writable": entry(
        "E", Text("the environment cannot be written to", "该 Python 环境不可写"),
        Text("TODO", "TODO"),
        "python -m venv .venv && . .venv/bin/activate",
    ),
    "mirror-unreachable": entry(
        "EW", Text("a package source cannot be reached", "软件包来源无法访问"),
        Text("TODO", "TODO"),
        Text("swift-fa install --mirror https://your.mirror/prefix", "swift-fa install --mirror https://镜像/前缀"),
        Text("or carry the wheel over: swift-fa install --wheel FILE", "或拷贝 wheel 过来：swift-fa install --wheel 文件"),
    ),
    "tls-failed": entry(
        "EW", Text("a server's certificate or TLS answer was refused", "服务器证书或 TLS 握手失败"),
        Text("TODO", "TODO"),
        Text("give your proxy's certificate: export REQUESTS_CA_BUNDLE=/path/ca.pem SSL_CERT_FILE=/path/ca.pem",
             "指定代理的证书：export REQUESTS_CA_BUNDLE=/path/ca.pem SSL_CERT_FILE=/path/ca.pem"),
        Text("or carry the wheel over: swift-fa install --wheel FILE", "或拷贝 wheel 过来：swift-fa install --wheel 文件"),
    ),
}
