"""Lines that several fixes share. Pure."""

from __future__ import annotations

from swift_fa_launcher.errors import Text, Words

INSTALL = "swift-fa install"
FROM_SOURCE = "swift-fa install --from-source"
#: The overrides that do without flash attention.
WITHOUT_FLASH_ATTN = "swift.attn_impl=sdpa swift.packing=false swift.padding_free=false"
SDPA = Text(f"train without flash attention: {WITHOUT_FLASH_ATTN}", f"不用 flash attention 训练：{WITHOUT_FLASH_ATTN}")
OR_SDPA = Text(f"or train without flash attention: {WITHOUT_FLASH_ATTN}", f"或不用 flash attention 训练：{WITHOUT_FLASH_ATTN}")
REPLACE = Text("replace it with a wheel that fits this machine: swift-fa install", "换成适合本机的 wheel：swift-fa install")
REINSTALL = (REPLACE, OR_SDPA)
BUILD_HERE = Text(f"or build it on this machine: {FROM_SOURCE}", f"或在本机编译：{FROM_SOURCE}")
#: Through a proxy, or by hand through a machine that has a network.
FROM_ELSEWHERE: tuple[Words, ...] = (
    Text("use this network's proxy: export HTTPS_PROXY=http://HOST:PORT", "使用本网络的代理：export HTTPS_PROXY=http://HOST:PORT"),
    Text("or copy the wheel from another machine: run `swift-fa preflight --save-facts node.json` on this machine, `swift-fa "
         "install --facts node.json --download-only DIR` on a machine with a network, then `swift-fa install --wheel DIR/FILE` "
         "on this machine",
         "或从别的机器拷贝 wheel：先在本机运行 `swift-fa preflight --save-facts node.json`，再在有网络的机器上运行 `swift-fa install "
         "--facts node.json --download-only DIR`，最后在本机运行 `swift-fa install --wheel DIR/FILE`"))
LIST_ARGUMENTS = Text("see what the installed ms-swift accepts: swift-fa args NAME", "查看已安装的 ms-swift 接受什么：swift-fa args NAME")
ANOTHER_PYTHON = Text("or train with another Python: launch.python=PATH", "或换一个 Python 来训练：launch.python=PATH")
OFFLINE = Text("record offline and upload later with `swanlab sync FOLDER`: swanlab.mode=offline",
               "离线记录，之后用 `swanlab sync FOLDER` 上传：swanlab.mode=offline")
SYNC = Text("the recorded data is on this disk; upload it: swanlab sync {swanlab_folder}",
            "已记录的数据在本地磁盘上，上传命令：swanlab sync {swanlab_folder}")
HF_MIRROR = "export HF_ENDPOINT=https://hf-mirror.com"
