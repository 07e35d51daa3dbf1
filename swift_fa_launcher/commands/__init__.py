"""The commands: one module each, named as the command, imported only when it runs.

A module has a docstring, an EXAMPLE that can be typed, `declare(parser)` for its options, and `run(options)`, which does the
work, prints, and returns the exit code. `options` holds what the command line says, `options.lang` included.
"""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text

DONE, REFUSED = 0, 1

#: What each command does, in the order of the overview.
COMMANDS: Mapping[str, Text] = {
    "init": Text("write a first config for this machine, with comments", "为本机写一份带注释的初始配置"),
    "train": Text("check everything, install flash-attn if needed, train, record the run",
                  "检查环境，必要时安装 flash-attn，然后训练并记录"),
    "sweep": Text("train with every combination of several values, each run on GPUs of its own",
                  "用多组设置的所有组合分别训练，每次运行使用各自的 GPU"),
    "preflight": Text("run the checks only; install nothing, start nothing", "只做检查；不安装，也不启动"),
    "import": Text("turn a `swift sft` script, a YAML or a log into a config", "把 `swift sft` 脚本、YAML 或日志转换成配置"),
    "rehearse": Text("run the same training in small: does it run, does it fit, how fast",
                     "用很小的规模预演训练：能否运行、显存是否够、有多快"),
    "tune": Text("find the fastest settings that learn the same; write them as an overlay config",
                 "找出学习效果不变的最快设置，并写成叠加配置"),
    "install": Text("choose and install a flash-attn wheel; say why others do not fit",
                    "选择并安装 flash-attn 的 wheel，并说明其他 wheel 为何不合适"),
    "config": Text("show the resolved config and where each value comes from", "显示解析后的配置，以及每个值的来源"),
    "args": Text("list the installed ms-swift's arguments: type, default, choices",
                 "列出已安装的 ms-swift 的参数：类型、默认值、可选值"),
    "schema": Text("write a JSON Schema of the config, with which editors complete and check it",
                   "写出配置的 JSON Schema，编辑器可据此补全和检查"),
    "completion": Text("print the completion of commands, options and keys for bash, zsh or fish",
                       "输出 bash、zsh 或 fish 的补全脚本，补全命令、选项和键"),
    "diagnose": Text("find the cause of a failed training in its log", "从日志中找出训练失败的原因"),
    "explain": Text("say what a finding code means, when it appears, how to fix it",
                    "说明检查代码的含义、出现的条件和解决办法"),
    "runs": Text("list the recorded runs, newest first", "列出运行记录，最新的在前"),
    "show": Text("show one recorded run", "显示一次运行的记录"),
    "diff": Text("compare two runs: settings and results", "比较两次运行的设置和结果"),
    "compare": Text("show several runs side by side: what differs, and the results", "并排比较多个运行：差异和结果"),
    "report": Text("write one HTML page on one or several runs", "把一个或多个运行写成一个 HTML 页面"),
    "tag": Text("tag a recorded run", "给运行加标签"),
    "note": Text("add a note to a recorded run", "给运行加备注"),
    "prune": Text("remove old records or checkpoints", "删除旧的记录或检查点"),
    "rerun": Text("run a recorded config again", "用记录的配置再运行一次"),
    "resume": Text("continue a stopped run from its newest complete checkpoint", "从最新的完整检查点继续中断的运行"),
    "pack": Text("write a run into one archive that a colleague can repeat", "把一次运行打包成可供同事重复的归档文件"),
    "unpack": Text("make a folder of a packed run, ready to train", "把归档文件还原成可直接训练的文件夹"),
    "bench": Text("compare the speed of sdpa, flash attention, padding_free and packing",
                  "比较 sdpa、flash attention、padding_free 和 packing 的速度"),
}

#: What the launcher itself starts on other machines: in no overview, and told in `--help` all the same.
HIDDEN: Mapping[str, Text] = {
    "node": Text("one part of a job of Slurm; started by the job itself", "Slurm 作业的一个步骤，由作业自己启动"),
}
