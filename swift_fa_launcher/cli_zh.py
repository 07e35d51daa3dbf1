"""The command line's help in Chinese: each English sentence of cli.py to its own. A test holds that none is missing."""

from __future__ import annotations

from collections.abc import Mapping

ZH: Mapping[str, str] = {
    # commands
    "check everything, install flash-attn if it must, train, record": "检查一切，必要时安装 flash-attn，训练，并留下记录",
    "the checks alone; installs nothing, starts nothing": "只做检查；不安装，也不启动",
    "choose and install a flash-attn wheel, with the reason for every one passed over":
        "选择并安装 flash-attn 的 wheel，说明其余各个为何不用",
    "the resolved config, and where each value was written": "解析后的配置，以及每个值写在哪里",
    "the installed ms-swift's arguments: type, default, choices, help": "已安装的 ms-swift 的参数：类型、默认值、可选值、说明",
    "names the cause of a failed training in its log": "从日志中找出训练失败的原因",
    "the recorded runs, newest first": "已记录的运行，最新的在前",
    "one recorded run": "一次已记录的运行",
    "what differs between two runs, and in what they came to": "两次运行的差异，以及结果的差异",
    "a recorded run once more: the recorded config through today's launcher": "再运行一次：用当前的启动器执行记录中的配置",
    "go on with a run that was cut off, from its newest whole checkpoint": "从最新的完整检查点继续中断的运行",
    "the same rows through sdpa, flash attention, padding_free and packing, compared in a table and a plot":
        "用同样的数据比较 sdpa、flash attention、padding_free 和 packing，给出表格和图",
    # all commands
    "show this help message and exit": "显示此帮助",
    "language of messages (default: the locale's)": "消息的语言（默认随 locale）",
    "print one JSON document and nothing else": "只输出一个 JSON 文档",
    "config files, the later over the earlier; settings such as swift.learning_rate=1e-4 over all of them":
        "配置文件，后面的覆盖前面的；swift.learning_rate=1e-4 这样的设置覆盖所有文件",
    "config files, the later over the earlier (optional); settings such as swift.learning_rate=1e-4 over all of them":
        "配置文件（可选），后面的覆盖前面的；swift.learning_rate=1e-4 这样的设置覆盖所有文件",
    "let this error pass as a warning (may be repeated)": "把这个错误降为警告（可重复）",
    'a run: its id, a unique beginning of it, its name, or "latest"': "一次运行：其 id、id 的唯一开头、名称，或 latest",
    "folder of the run records (default: runs)": "运行记录所在的文件夹（默认 runs）",
    "do not install flash-attn, even if it is missing": "即使缺少 flash-attn 也不安装",
    # train, preflight
    "print the command and start nothing": "只打印命令，不启动",
    "judge saved facts instead of this machine; - reads standard input": "依据保存的环境信息而非本机；- 表示标准输入",
    "write what this machine is like": "保存本机的环境信息",
    "do not run flash attention on the GPUs": "不在 GPU 上试运行 flash attention",
    "ask nothing of the network": "不访问网络",
    # install
    'exact (2.8.3) or a range (">=2.7,<2.9")': '确切版本（2.8.3）或范围（">=2.7,<2.9"）',
    "this wheel or none; #sha256=... gives its digest": "只用这个 wheel；#sha256=... 给出其摘要",
    "build it, even if a wheel fits": "即使有合适的 wheel 也从源码编译",
    "ask this source instead of the config's (may be repeated)": "查询这个来源，代替配置中的（可重复）",
    "fetch through this prefix instead of the config's (may be repeated)": "经由这个前缀下载，代替配置中的（可重复）",
    "choose for saved facts; with --dry-run or --download-only": "为保存的环境信息选择；与 --dry-run 或 --download-only 同用",
    "fetch and prove, install nothing": "下载并验证，不安装",
    "write the exact URL and digest beside the config": "把确切的 URL 和摘要写在配置旁",
    "use only indexes and wheels that are on this machine": "只用本机已有的索引和 wheel",
    "choose and say why; fetch and install nothing": "选择并说明原因；不下载，不安装",
    # config, args, diagnose
    "show where each value was written": "显示每个值写在哪里",
    "show the built-in defaults": "显示内置的默认值",
    "part of a name or of its help, or a glob": "名称或说明的一部分，或通配符",
    "the interpreter that has ms-swift (default: this one)": "装有 ms-swift 的解释器（默认为当前的）",
    "a recorded run, a log file, or - for standard input": "一次已记录的运行、日志文件，或 - 表示标准输入",
    # runs, show, rerun
    "only runs of this name; * and ? stand for any text": "只列出这个名称的运行；* 和 ? 为通配符",
    "only runs with this tag": "只列出带这个标签的运行",
    "only runs in this state": "只列出处于这个状态的运行",
    "started since: 2026-11-23, 2026-11-23T18:30, 36h, 7d": "此后启动的：2026-11-23、2026-11-23T18:30、36h、7d",
    "started until, the day included": "此前启动的，含当天",
    "end the processes of a run whose launcher is gone (or not)": "结束一次运行的进程，无论其启动器是否还在",
    "print a pip requirements file that installs the run's packages": "打印能装出该运行所用各包的 pip requirements 文件",
    "settings over the recorded ones": "覆盖记录中的设置",
    "print what differs and the command, and start nothing": "打印差异和命令，不启动",
    "the recorded command as it is, but for the run's own id and folder; takes no settings":
        "原样执行记录的命令，只换运行自己的 id 和文件夹；不接受设置",
    "refuse when anything that matters differs from then": "有重要差异时拒绝启动",
    # bench
    "folder of bench.json, table.md and the plot (default: bench/NAME); what was measured there already is not measured again":
        "bench.json、table.md 和图所在的文件夹（默认 bench/NAME）；其中已测过的不再重测",
}

#: What argparse itself writes, in the order in which it is replaced.
HEADINGS: Mapping[str, str] = {
    "usage: ": "用法：", "\npositional arguments:\n": "\n参数：\n", "\noptions:\n": "\n选项：\n", "\nexample:\n": "\n示例：\n"}
