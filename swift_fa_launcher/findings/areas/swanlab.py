"""SwanLab: what each code means, when it comes, what mends it, and how a check says it."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.entry import Entry, Says, entry
from swift_fa_launcher.findings.lines import OFFLINE, SYNC

_KEY = "export SWANLAB_API_KEY=YOUR_KEY"
_WHOLE_KEY = Text(f"copy the whole key from your SwanLab settings page: {_KEY}", f"从 SwanLab 设置页复制完整密钥：{_KEY}")
_OFF = Text("run without SwanLab: swanlab.enabled=false", "不使用 SwanLab：swanlab.enabled=false")
_NEW_RUN = Text("start a new SwanLab run: unset SWANLAB_RUN_ID SWANLAB_RESUME", "新建一个实验：unset SWANLAB_RUN_ID SWANLAB_RESUME")

ENTRIES: Mapping[str, Entry] = {
    "swanlab-missing": entry(
        "E", Text("SwanLab is switched on but not installed", "启用了 SwanLab，但没有安装"),
        Text("swanlab.enabled is true and the training's Python has no swanlab", "swanlab.enabled 为 true，而训练所用的 Python 中没有 swanlab"),
        "{pip} install swanlab", _OFF,
        says=Text("SwanLab is switched on{origin} but not installed", "启用了 SwanLab{origin}，但没有安装")),
    "swanlab-not-logged-in": entry(
        "E", Text("SwanLab has no key to log in with", "SwanLab 没有可用于登录的密钥"),
        Text("the mode is cloud, SWANLAB_API_KEY is not set and no login is saved", "mode 是 cloud，没有设置 SWANLAB_API_KEY，也没有保存的登录"),
        "swanlab login", _KEY, OFFLINE,
        says=Text("SwanLab's mode is cloud, but SWANLAB_API_KEY is not set and no login is saved",
                  "SwanLab 的 mode 是 cloud，但没有设置 SWANLAB_API_KEY，也没有保存的登录")),
    "swanlab-account-implicit": entry(
        "W", Text("the run goes to the SwanLab account of a saved login", "实验会记录到所保存的登录对应的 SwanLab 账号"),
        Text("the mode is cloud, no key is given, and someone's login is saved on this shared system account",
             "mode 是 cloud，没有给出密钥，而这个共享系统账号上保存着某人的登录"),
        Text(f"use your own key: {_KEY}", f"使用自己的密钥：{_KEY}"),
        says=Text("the run would go to {user}, whose login is saved on this shared account", "实验会记录到 {user} 名下：这个共享系统账号保存着其登录")),
    "swanlab-key-malformed": entry(
        "E", Text("this does not look like a SwanLab key", "这不像 SwanLab 密钥"),
        Text("the key's length or characters are not those of a SwanLab key (swift-fa never shows the key)",
             "密钥的长度或字符不符合 SwanLab 密钥的格式（swift-fa 从不显示密钥）"),
        _WHOLE_KEY, "swanlab login --relogin",
        says=Text("this does not look like a SwanLab key: wrong length or characters (quotes, spaces, only a part?)",
                  "这不像 SwanLab 密钥：长度或字符不对（是否多了引号、空格，或没有复制完整？）")),
    "swanlab-key-in-config": entry(
        "E", Text("a secret is written in the config", "配置中写有密钥"),
        Text("the config contains a key, a token, a password or a webhook address with a token; configs are printed and recorded",
             "配置里写有密钥、令牌、密码或带令牌的 webhook 地址，而配置会被打印和记录"),
        Text("remove {key} from the config, then: export {variable}=YOUR_SECRET", "从配置中删除 {key}，然后：export {variable}=你的密钥"),
        "{reference}",
        says=Text("{key}{place} holds a secret, which would be printed and recorded with the config",
                  "{key}{place} 中写有密钥，会随配置一起被打印和记录")),
    "swanlab-unreachable": entry(
        "E", Text("SwanLab's server cannot be reached", "SwanLab 服务器无法访问"),
        Text("the mode is cloud and the server does not answer", "mode 是 cloud，而服务器没有应答"),
        SYNC, OFFLINE, _OFF,
        says=Text("SwanLab's server {host} cannot be reached: {error}", "连不上 SwanLab 服务器 {host}：{error}")),
    "swanlab-mode-unsupported": entry(
        "EI", Text("the installed ms-swift or SwanLab does not have this mode", "已安装的 ms-swift 或 SwanLab 没有该模式"),
        Text("ms-swift does not have the mode set in swanlab.mode; if it is offline and swift-fa can provide it, this is only "
             "info",
             "ms-swift 没有 swanlab.mode 所写的模式；如果是 offline 且 swift-fa 能提供，则仅为提示"),
        Text("write the mode in the config's swanlab section, not as swift.swanlab_mode: swanlab.mode=offline",
             "把模式写在配置的 swanlab 部分，而不是 swift.swanlab_mode：swanlab.mode=offline"),
        says={"": Says(Text("swift-fa provides SwanLab's offline mode", "SwanLab 的 offline 模式由 swift-fa 提供"),
                       (Text("upload later with the command that the run prints at its end",
                             "之后用运行结束时给出的命令上传"),)),
              "no-plugin": Says(Text("ms-swift {ms_swift} supports only SwanLab's modes cloud and local, and cannot load the "
                                     "plugin that adds offline",
                                     "ms-swift {ms_swift} 只有 SwanLab 的 cloud 和 local 模式，也不能加载提供 offline 的插件"),
                                ("swanlab.mode=local", "{pip} install 'ms-swift>=3.8'"))}),
    "swanlab-local-needs-dashboard": entry(
        "E", Text("SwanLab's local mode needs its dashboard package", "SwanLab 的 local 模式需要 dashboard 包"),
        Text("the mode is local and this SwanLab needs swanboard, which is not installed", "mode 是 local，而该版本的 SwanLab 需要 swanboard，但没有安装"),
        "{pip} install 'swanlab[dashboard]'", OFFLINE,
        says=Text("SwanLab {swanlab} needs swanboard for mode local, but it is not installed",
                  "SwanLab {swanlab} 的 local 模式需要 swanboard，但没有安装")),
    "swanlab-version-conflict": entry(
        "EW", Text("this SwanLab version does not work with ms-swift or with the server", "SwanLab 的版本与 ms-swift 或服务器不匹配"),
        Text("the installed SwanLab is known not to work with this ms-swift, is too old for the mode, or is not supported by "
             "the self-hosted server",
             "已安装的 SwanLab 已知与此 ms-swift 不兼容，对该模式来说过旧，或私有化部署的服务器不支持它"),
        "{pip} install -U ms-swift swanlab",
        says={"": Says(Text("ms-swift {ms_swift} is not compatible with SwanLab {swanlab}: swanlab.get_run() raises an error without a run",
                            "ms-swift {ms_swift} 与 SwanLab {swanlab} 不兼容：没有实验时 swanlab.get_run() 会抛出异常"),
                       ("{pip} install 'ms-swift>=4.4'", "{pip} install 'swanlab<0.8'")),
              "server": Says(Text("the server {host} does not understand SwanLab {swanlab}: {error}",
                                  "服务器 {host} 不支持 SwanLab {swanlab} 的接口：{error}"),
                             (Text("install the SwanLab version that the server's release notes name: {pip} install swanlab==VERSION",
                                   "安装服务器版本说明中对应的 SwanLab：{pip} install swanlab==版本号"), OFFLINE)),
              "offline": Says(Text("SwanLab {swanlab} has no offline mode: that needs SwanLab {first} or newer",
                                   "SwanLab {swanlab} 没有 offline 模式：需要 SwanLab {first} 或更新版本"),
                              ("{pip} install 'swanlab>={first}'", "swanlab.mode=local"))}),
    "swanlab-login-failed": entry(
        "E", Text("SwanLab refused the key", "SwanLab 拒绝了密钥"),
        Text("the server answers, but does not accept the key", "服务器有应答，但不接受该密钥"),
        "swanlab login --relogin", _KEY, OFFLINE,
        says=Text("{host} refuses the SwanLab key", "{host} 拒绝了 SwanLab 密钥")),
    "swanlab-name-invalid": entry(
        "E", Text("SwanLab does not accept a name", "SwanLab 不接受该名称"),
        Text("a project's name is longer than 100 characters or has characters other than 0-9 A-Z a-z _ . + - ; or an "
             "experiment's name is longer than 250",
             "项目名含有 0-9 A-Z a-z _ . + - 以外的字符或超过 100 个字符，或实验名超过 250 个字符"),
        "{good}", Text("a project's name may have 1 to 100 characters out of 0-9 A-Z a-z _ . + - ; an experiment's name at "
                       "most 250 characters",
                       "项目名可用 1 到 100 个 0-9 A-Z a-z _ . + - 字符；实验名最多 250 个字符"),
        says={"": Text("{key}={shown}{origin}: SwanLab does not accept this project name", "{key}={shown}{origin}：SwanLab 不接受这个项目名"),
              "long": Text("{key}{origin} has {length} characters; SwanLab accepts at most 250",
                           "{key}{origin} 有 {length} 个字符，SwanLab 最多接受 250 个")}),
    "swanlab-resume": entry(
        "E", Text("SwanLab cannot resume the run this way", "SwanLab 无法这样续接实验"),
        Text("SWANLAB_RUN_ID is set without SWANLAB_RESUME, or does not have the form of a run id",
             "设置了 SWANLAB_RUN_ID 而没有 SWANLAB_RESUME，或它不符合实验 id 的格式"),
        Text("set both (the run id is the last part of the run's web address): export SWANLAB_RUN_ID=RUN_ID SWANLAB_RESUME=allow",
             "两者都要设置（实验网址的最后一段就是 id）：export SWANLAB_RUN_ID=实验id SWANLAB_RESUME=allow"), _NEW_RUN,
        says={"": Says(Text("SWANLAB_RUN_ID={run_id} is set, but SWANLAB_RESUME is neither must nor allow",
                            "设置了 SWANLAB_RUN_ID={run_id}，但 SWANLAB_RESUME 既不是 must 也不是 allow"),
                       ("export SWANLAB_RESUME=allow", _NEW_RUN)),
              "form": Says(Text("SWANLAB_RUN_ID={run_id} is not a run id: a run id has 21 characters of a-z and 0-9",
                                "SWANLAB_RUN_ID={run_id} 不是实验 id：实验 id 由 21 个 a-z 或 0-9 字符组成"), (_NEW_RUN,)),
              "free-form": Says(Text("SWANLAB_RUN_ID={run_id} is not a run id: SwanLab does not accept its length or some of "
                                     "its characters",
                                     "SWANLAB_RUN_ID={run_id} 不是实验 id：SwanLab 不接受它的长度或其中某些字符"), (_NEW_RUN,))}),
}
