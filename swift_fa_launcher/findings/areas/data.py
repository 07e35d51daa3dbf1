"""Model, data, output: what each code means, when it comes, what mends it, and how a check says it."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.entry import Entry, Says, entry
from swift_fa_launcher.findings.lines import HF_MIRROR

#: A row that every `swift sft` reads.
_ROW = Text('write each row like this: {{"messages": [{{"role": "user", "content": "QUESTION"}}, '
            '{{"role": "assistant", "content": "ANSWER"}}]}}',
            '每行写成这样：{{"messages": [{{"role": "user", "content": "问题"}}, {{"role": "assistant", "content": "回答"}}]}}')
_COLUMNS = Text("or name the column that holds the messages: 'swift.columns={{YOUR_COLUMN: messages}}'",
                "或指定存放对话的列：'swift.columns={{YOUR_COLUMN: messages}}'")
_SPELLING = Text("correct the name or path {bare}", "改正名称或路径 {bare}")
_LOCAL = Text("or use a local copy: swift.{argument}=PATH", "或使用本地副本：swift.{argument}=PATH")
_WEIGHTS_ONLY = Text("or load only the weights and start with a fresh optimizer: swift.resume_only_model=true",
                     "或只加载权重、重新初始化优化器：swift.resume_only_model=true")
_ANOTHER_CHECKPOINT = Text("name a complete checkpoint: swift.resume_from_checkpoint=OUTPUT_DIR/checkpoint-N",
                           "指定一个完整的检查点：swift.resume_from_checkpoint=OUTPUT_DIR/checkpoint-N")

_NEAR = Text("did you mean {near}, which is there?", "是否想写 {near}？它就在那里")

#: What is wrong with a model or dataset that cannot be had.
_ABSENT: Mapping[str, Says] = {
    "nowhere": Says(Text("{argument} {name}{origin}: no such file or folder, and not on the hub either",
                         "{argument} {name}{origin}：本机没有这个文件或文件夹，hub 上也没有"), (_NEAR, _SPELLING, _LOCAL)),
    "missing": Says(Text("{argument} {name}{origin}: no such file or folder; the hubs were not searched",
                         "{argument} {name}{origin}：本机没有这个文件或文件夹；没有查询 hub"), (_NEAR, _SPELLING, _LOCAL)),
    "unknown": Says(Text("{argument} {name}{origin}: the hub has nothing of this name",
                         "{argument} {name}{origin}：hub 上没有这个名字"),
                    (_NEAR, _SPELLING, _LOCAL)),
    "unreachable": Says(Text("{argument} {name}{origin}: no hub can be reached ({error}), and there is no local copy",
                             "{argument} {name}{origin}：连不上 hub（{error}），本机也没有缓存"),
                        (Text("on a machine with a network: {download}", "在有网络的机器上：{download}"), _NEAR, _LOCAL))}

ENTRIES: Mapping[str, Entry] = {
    "model-missing": entry(
        "E", Text("the model cannot be found or downloaded", "模型找不到或无法下载"),
        Text("the model's path does not exist, the hub has no model of this name, or no hub can be reached and there is no "
             "local copy",
             "模型路径不存在，hub 上没有这个模型，或连不上 hub 且本机没有缓存"),
        Text("correct the name, or use a local copy: swift.model=PATH", "改正名称，或使用本地副本：swift.model=PATH"),
        HF_MIRROR, says=_ABSENT),
    "model-incomplete": entry(
        "E", Text("the model folder is incomplete or damaged", "模型目录不完整或文件损坏"),
        Text("the model's folder lacks config.json or weight files that its index names, or holds Git LFS pointers in their place",
             "模型目录缺少 config.json 或索引中列出的权重文件，或只有 Git LFS 指针文件"),
        "modelscope download --model MODEL_ID --local_dir {folder}",
        Text("download the model again; in a git clone run: git lfs pull", "重新下载模型；git 克隆的目录请执行：git lfs pull"),
        says={"": Text("model {model}{origin} lacks {lacks}", "模型 {model}{origin} 缺少 {lacks}"),
              "file": Says(Text("model {model}{origin} is a file; a model is the folder with config.json and the weights",
                                "模型 {model}{origin} 是文件；应指定含 config.json 和权重的文件夹"),
                           (Text("name the folder: swift.model=FOLDER", "指定文件夹：swift.model=FOLDER"),))}),
    "model-type-unknown": entry(
        "E", Text("the installed ms-swift does not know this model type", "已安装的 ms-swift 不认识该 model_type"),
        Text("the installed ms-swift has not registered this model_type", "已安装的 ms-swift 没有注册这个 model_type"),
        "swift.model_type={nearest}", Text("list the known ones: swift-fa args model_type", "列出已知的类型：swift-fa args model_type"),
        "{pip} install -U ms-swift",
        says=Text("ms-swift {ms_swift} does not know {setting}", "ms-swift {ms_swift} 不认识 {setting}")),
    "dataset-missing": entry(
        "E", Text("the dataset cannot be found or downloaded", "数据集找不到或无法下载"),
        Text("the dataset's path does not exist, the hub has no dataset of this name, or no hub can be reached and there is no "
             "local copy",
             "数据集路径不存在，hub 上没有这个数据集，或连不上 hub 且本机没有缓存"),
        Text("correct the name, or use a local file: swift.dataset=FILE", "改正名称，或使用本地文件：swift.dataset=FILE"),
        HF_MIRROR, says=_ABSENT),
    "dataset-format": entry(
        "E", Text("the dataset's rows cannot be used for training", "数据集的内容无法用于训练"),
        Text("none of the rows checked has a format that `swift sft` can read, or all rows are longer than max_length",
             "检查过的行都不是 `swift sft` 能读的格式，或所有行都超过 max_length"),
        Text("all {rows} rows are longer than max_length, so ms-swift drops them; cut them instead: "
             "swift.truncation_strategy=right",
             "全部 {rows} 行都超过 max_length，会被 ms-swift 丢弃；改为截断：swift.truncation_strategy=right"),
        _ROW, Text("find the first bad row: swift-fa preflight CONFIG", "找出第一个有问题的行：swift-fa preflight CONFIG"),
        says={"": Says(Text("{argument} {dataset}{origin}: no usable rows ({rows_checked} checked; {at})",
                            "{argument} {dataset}{origin}：没有可用的行（检查了 {rows_checked} 行；{at}）"), (_ROW, _COLUMNS)),
              "unreadable": Says(Text("{argument} {dataset}{origin}: the file cannot be read ({at})",
                                      "{argument} {dataset}{origin}：无法读取该文件（{at}）"),
                                 (Text("correct or delete line {line}", "改正或删去第 {line} 行"), _ROW)),
              "folder": Says(Text("{argument} {dataset}{origin}: nothing in this folder can be trained on ({at})",
                                  "{argument} {dataset}{origin}：这个文件夹中没有能用于训练的内容（{at}）"),
                             (Text("name the files of rows: 'swift.{argument}=[{dataset}/FILE]'",
                                   "指定数据文件：'swift.{argument}=[{dataset}/FILE]'"), _ROW)),
              "empty": Says(Text("{argument} {dataset}{origin}: the file has no rows", "{argument} {dataset}{origin}：文件中没有任何行"),
                            (Text("name a file that has rows: swift.{argument}=FILE", "指定有内容的文件：swift.{argument}=FILE"),)),
              "too-long": Says(Text("all {rows:,} rows are longer than {limit} and would be dropped: the shortest has {shortest:,} tokens, "
                                    "the longest {longest:,}",
                                    "全部 {rows:,} 行都超过 {limit}，会被丢弃：最短 {shortest:,} 个 token，最长 {longest:,} 个"),
                               ("swift.max_length={enough}",
                                Text("or cut long rows: swift.truncation_strategy=right", "或截断过长的行：swift.truncation_strategy=right")))}),
    "output-not-writable": entry(
        "E", Text("a folder cannot be written to", "文件夹无法写入"),
        Text("the output folder, the folder of run records or SwanLab's log folder cannot be written to, or is a file",
             "输出目录、运行记录目录或 SwanLab 日志目录无法写入，或者是一个文件"),
        Text("choose a folder that you may write to: swift.output_dir=FOLDER", "换一个可写的文件夹：swift.output_dir=FOLDER"),
        says={name: Says(summary, (Text("choose a folder that you may write to: {key}=FOLDER", "换一个可写的文件夹：{key}=FOLDER"),))
              for name, summary in (("", Text("{key}={path}{origin} cannot be written to", "{key}={path}{origin} 无法写入")),
                                    ("file", Text("{key}={path}{origin} is a file, not a folder", "{key}={path}{origin} 是文件，不是文件夹")))}),
    "output-link-exists": entry(
        "EW", Text("a link or folder that the run has to create already exists", "训练要创建的链接或目录已存在"),
        Text("add_version=false and the output folder already holds a run; or, in an old ms-swift, several ranks create the "
             "same link",
             "设置了 add_version=false，而输出目录里已有一次训练；或旧版 ms-swift 的多个 rank 创建同一个链接"),
        "swift.create_checkpoint_symlink=false", Text("or another folder: swift.output_dir=FOLDER", "或换一个目录：swift.output_dir=FOLDER"),
        says={"": Says(Text("output_dir {path} is not empty ({entries} entries), and with {setting} the run would write into it",
                            "output_dir {path} 不是空的（{entries} 项），而 {setting} 会让训练直接写入其中"),
                       ("swift.add_version=true",
                        Text("or another folder: swift.output_dir=FOLDER", "或换一个目录：swift.output_dir=FOLDER"))),
              "race": Says(Text("{setting}: in ms-swift {ms_swift} every rank creates the same links, so all ranks but one "
                                "fail at the end",
                                "{setting}：ms-swift {ms_swift} 的每个 rank 都创建同样的链接，因此训练结束时除一个 rank 外都会失败"),
                           ("swift.create_checkpoint_symlink=false", "{pip} install -U 'ms-swift>=3.5'"))}),
    "checkpoint-incomplete": entry(
        "E", Text("the checkpoint lacks files that a resume needs", "检查点缺少续训所需的文件"),
        Text("the checkpoint lacks its weights, trainer_state.json or the optimizer (optimizer.pt, or deepspeed's `latest`), "
             "or saving one of these files was interrupted",
             "检查点缺少权重、trainer_state.json 或优化器（optimizer.pt，或 deepspeed 的 latest），或其中的文件没有保存完"),
        _ANOTHER_CHECKPOINT, _WEIGHTS_ONLY,
        says={"": Text("{setting}: {faults}", "{setting}：{faults}"),
              "weights": Says(Text("{setting}: {faults}", "{setting}：{faults}"), (_ANOTHER_CHECKPOINT,)),
              "absent": Says(Text("{setting}: no such folder", "{setting}：没有这个文件夹"), (_ANOTHER_CHECKPOINT,)),
              "true": Says(Text("{setting}: ms-swift needs the path of a checkpoint folder here; it does not search for one",
                                "{setting}：这里要写检查点文件夹的路径，ms-swift 不会自行寻找"), (_ANOTHER_CHECKPOINT,))}),
    "checkpoint-world-size": entry(
        "E", Text("a deepspeed checkpoint was written by another number of processes", "deepspeed 检查点是由另一数量的进程写出的"),
        Text("deepspeed's optimizer in the checkpoint is divided among another number of processes than would read it",
             "检查点中 deepspeed 的优化器按另一数量的进程切分，与将要读取它的进程数不同"),
        "launch.nproc_per_node={then}", _WEIGHTS_ONLY,
        says={"": Says(Text("{setting} was written by {written_by} processes, and {would_read} would read it",
                            "{setting} 由 {written_by} 个进程写出，而将由 {would_read} 个进程读取"),
                       ("{as_before}", _WEIGHTS_ONLY))}),
    "resume-setting-ignored": entry(
        "E", Text("the checkpoint was trained with other settings than this run", "检查点的训练设置与本次不同"),
        Text("an adapter setting such as lora_rank differs from the checkpoint's; ms-swift uses the checkpoint's value without "
             "saying so",
             "lora_rank 等适配器设置与检查点不同；ms-swift 会沿用检查点的设置，而不给出提示"),
        "{same}", Text("or start a new training: swift.resume_from_checkpoint=null",
                       "或重新训练：swift.resume_from_checkpoint=null"),
        says=Text("{setting} has no effect: {folder} was saved with {checkpoint}, and ms-swift would continue with that",
                  "{setting} 不起作用：{folder} 保存时用的是 {checkpoint}，ms-swift 会沿用它")),
    "checkpoint-unloadable": entry(
        "W", Text("torch refuses to load the checkpoint", "torch 拒绝加载该检查点"),
        Text("torch 2.6 or newer rejects deepspeed checkpoints when transformers or deepspeed is old; or torch is too old for "
             "transformers to load optimizer.pt",
             "transformers 或 deepspeed 较旧时，torch 2.6 及以上会拒绝 deepspeed 检查点；或 torch 过旧，transformers 不用它加载 "
             "optimizer.pt"),
        "{pip} install -U transformers deepspeed",
        Text("only for a checkpoint that you trust: export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1",
             "仅对可信的检查点：export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1"),
        says={"": Says(Text("torch {torch} loads files with weights_only=True, so it rejects the deepspeed checkpoints of "
                            "{packages}",
                            "torch {torch} 默认以 weights_only=True 加载，会拒绝 {packages} 的 deepspeed 检查点"),
                       ("{pip} install -U 'transformers>=4.50' 'deepspeed>=0.16.4'",
                        Text("only for a checkpoint that you trust: export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1",
                             "仅对可信的检查点：export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1"))),
              "old-torch": Says(Text("transformers {transformers} loads optimizer.pt only with torch 2.6 or newer, but torch "
                                     "{torch} is installed",
                                     "transformers {transformers} 只在 torch 2.6 及以上版本加载 optimizer.pt，当前为 torch {torch}"),
                                ("swift.resume_only_model=true", "{pip} install 'transformers<4.52'"))}),
}
