"""Lines that several fixes share. Pure."""

from __future__ import annotations

from swift_fa_launcher.errors import Text

INSTALL = "swift-fa install"
OR_SDPA = Text("or without flash attention: swift.attn_impl=sdpa swift.packing=false",
             "或者不用 flash attention：swift.attn_impl=sdpa swift.packing=false")
REINSTALL = (Text("swift-fa install  (chooses a wheel for this torch and replaces the one that does not fit)",
                   "swift-fa install  （按当前 torch 选择 wheel，替换不匹配的那个）"), OR_SDPA)
LIST_ARGUMENTS = Text("see what the installed ms-swift accepts: swift-fa args NAME", "查看已安装的 ms-swift 接受什么：swift-fa args NAME")
ANOTHER_PYTHON = Text("or train with another Python: launch.python=PATH", "或换一个 Python 来训练：launch.python=PATH")
OFFLINE = Text("record offline and upload later with `swanlab sync`: swanlab.mode=offline",
               "离线记录，之后用 swanlab sync 上传：swanlab.mode=offline")
SYNC = Text("the recorded data is on this disk; upload it: swanlab sync {swanlab_folder}",
            "已记录的数据在本地磁盘上，上传命令：swanlab sync {swanlab_folder}")
HF_MIRROR = "export HF_ENDPOINT=https://hf-mirror.com"
FROM_SOURCE = "swift-fa install --from-source"
#: The overrides that do without flash attention.
WITHOUT_FLASH_ATTN = "swift.attn_impl=sdpa swift.packing=false swift.padding_free=false"
