"""SwanLab: what each code means, when it comes, what mends it, and how a check says it."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.entry import Entry, entry
from swift_fa_launcher.findings.lines import OFFLINE, SYNC

ENTRIES: Mapping[str, Entry] = {
    "swanlab-missing": entry(
        "E", Text("SwanLab is asked for and not installed", "要求使用 SwanLab，但没有安装"),
        Text("TODO", "TODO"),
        "pip install swanlab",
        Text("or swanlab.enabled=false", "或 swanlab.enabled=false"),
    ),
    "swanlab-not-logged-in": entry(
        "E", Text("SwanLab has no key to log in with", "SwanLab 没有可用于登录的密钥"),
        Text("TODO", "TODO"),
        "export SWANLAB_API_KEY=...",
        "swanlab login",
        OFFLINE,
    ),
    "swanlab-account-implicit": entry(
        "W", Text("TODO", "TODO"),
        Text("TODO", "TODO"),
    ),
    "swanlab-key-malformed": entry(
        "E", Text("this cannot be a SwanLab key", "SwanLab 密钥格式不正确"),
        Text("TODO", "TODO"),
        Text("copy the whole key from your SwanLab settings page: export SWANLAB_API_KEY=...",
             "从 SwanLab 设置页复制完整密钥：export SWANLAB_API_KEY=..."),
    ),
    "swanlab-key-in-config": entry(
        "E", Text("TODO", "TODO"),
        Text("TODO", "TODO"),
    ),
    "swanlab-unreachable": entry(
        "E", Text("SwanLab's server cannot be reached", "SwanLab 服务器无法访问"),
        Text("TODO", "TODO"),
        SYNC,
        OFFLINE,
        "swanlab.enabled=false",
    ),
    "swanlab-mode-unsupported": entry(
        "EI", Text("this ms-swift or SwanLab does not know the mode", "当前 ms-swift 或 SwanLab 不支持该模式"),
        Text("TODO", "TODO"),
        Text("let the launcher provide it: write it as swanlab.mode in the config", "由启动器提供：在配置里写 swanlab.mode"),
    ),
    "swanlab-local-needs-dashboard": entry(
        "E", Text("SwanLab's local mode needs its dashboard package", "SwanLab 的 local 模式需要看板包"),
        Text("TODO", "TODO"),
        "pip install 'swanlab[dashboard]'",
        Text("or swanlab.mode=offline", "或 swanlab.mode=offline"),
    ),
    "swanlab-version-conflict": entry(
        "EW", Text("this SwanLab does not go with the code or server that it talks to", "SwanLab 版本与调用它的代码或服务器不匹配"),
        Text("TODO", "TODO"),
        "pip install -U ms-swift swanlab",
        Text("swift-fa preflight  names the pair", "swift-fa preflight  会指出不匹配的组合"),
    ),
    "swanlab-login-failed": entry(
        "E", Text("SwanLab refused the key", "SwanLab 拒绝了密钥"),
        Text("TODO", "TODO"),
        "swanlab login --relogin",
        "export SWANLAB_API_KEY=...",
        OFFLINE,
    ),
    "swanlab-name-invalid": entry(
        "E", Text("SwanLab does not accept a name", "SwanLab 不接受该名称"),
        Text("TODO", "TODO"),
        Text("swanlab.project: 1 to 100 of 0-9 a-z A-Z _ - + . ; swanlab.experiment: at most 250 characters",
             "swanlab.project：1 到 100 个字符 0-9 a-z A-Z _ - + . ；swanlab.experiment：最多 250 个字符"),
    ),
    "swanlab-resume": entry(
        "E", Text("SwanLab cannot resume a run this way", "SwanLab 无法这样续接实验"),
        Text("TODO", "TODO"),
        Text("give both a run id (21 of a-z 0-9) and resume: SWANLAB_RUN_ID=... SWANLAB_RESUME=allow",
             "同时给出实验 id（21 位 a-z 0-9）与 resume：SWANLAB_RUN_ID=... SWANLAB_RESUME=allow"),
    ),
}
