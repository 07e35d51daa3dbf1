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

#: What is wrong with a model or dataset that cannot be had.
_ABSENT: Mapping[str, Says] = {
    "nowhere": Says(Text("{argument} {name}{origin}: no such file or folder, and no hub knows it",
                         "{argument} {name}{origin}：本机没有这个文件或文件夹，模型库里也没有"), (_SPELLING, _LOCAL)),
    "missing": Says(Text("{argument} {name}{origin}: no such file or folder; the hubs were not searched",
                         "{argument} {name}{origin}：本机没有这个文件或文件夹；没有查询模型库"), (_SPELLING, _LOCAL)),
    "unknown": Says(Text("{argument} {name}{origin}: the hub does not know it", "{argument} {name}{origin}：模型库里没有这个名字"),
                    (_SPELLING, _LOCAL)),
    "unreachable": Says(Text("{argument} {name}{origin}: no hub can be reached ({error}), and there is no local copy",
                             "{argument} {name}{origin}：连不上模型库（{error}），本机也没有缓存"),
                        (Text("on a machine with a network: {download}", "在有网络的机器上：{download}"), _LOCAL))}

ENTRIES: Mapping[str, Entry] = {
    "model-missing": entry(
        "E", Text("the model cannot be found or downloaded", "模型找不到或无法下载"),
        Text("the model's path does not exist, the hub does not know its name, or no hub can be reached and there is no local copy",
             "模型路径不存在，模型库里没有这个名字，或连不上模型库且本机没有缓存"),
        Text("correct the name, or use a local copy: swift.model=PATH", "改正名称，或使用本地副本：swift.model=PATH"),
        HF_MIRROR, says=_ABSENT),
    "model-incomplete": entry(
        "E", Text("the model folder is incomplete or damaged", "模型目录不完整或文件损坏"),
        Text("the model's folder lacks config.json or weight files that its index names, or holds Git LFS pointers in their place",
             "模型目录缺少 config.json 或索引中列出的权重文件，或只有 Git LFS 指针文件"),
        "modelscope download --model MODEL_ID --local_dir {folder}",
        Text("download the model again; in a git clone run: git lfs pull", "重新下载模型；git 克隆的目录请执行：git lfs pull"),
        says=Text("model {model}{origin} lacks {lacks}", "模型 {model}{origin} 缺少 {lacks}")),
    "model-type-unknown": entry(
        "E", Text("the installed ms-swift does not know this model type", "已安装的 ms-swift 不认识该 model_type"),
        Text("model_type is not among those that the installed ms-swift has registered", "model_type 不在已安装的 ms-swift 注册的类型之中"),
        "swift.model_type={nearest}", Text("list the known ones: swift-fa args model_type", "列出已知的类型：swift-fa args model_type"),
        "{pip} install -U ms-swift",
        says=Text("ms-swift {ms_swift} does not know {setting}", "ms-swift {ms_swift} 不认识 {setting}")),
    "dataset-missing": entry(
        "E", Text("the dataset cannot be found or downloaded", "数据集找不到或无法下载"),
        Text("the dataset's path does not exist, the hub does not know its name, or no hub can be reached and there is no local copy",
             "数据集路径不存在，数据集库里没有这个名字，或连不上且本机没有缓存"),
        Text("correct the name, or use a local file: swift.dataset=FILE", "改正名称，或使用本地文件：swift.dataset=FILE"),
        HF_MIRROR, says=_ABSENT),
    "dataset-format": entry(
        "E", Text("the dataset's rows cannot be used for training", "数据集的内容无法用于训练"),
        Text("no row that was looked at has a form that `swift sft` reads, or all rows are longer than max_length",
             "检查过的行都不是 `swift sft` 能读的格式，或所有行都超过 max_length"),
        Text("none of the {rows} rows fits into max_length and ms-swift drops them; cut them instead: swift.truncation_strategy=right",
             "{rows} 行都超过 max_length，ms-swift 会丢弃它们；改为截断：swift.truncation_strategy=right"),
        _ROW, Text("find the first bad row: swift-fa preflight CONFIG", "找出第一个有问题的行：swift-fa preflight CONFIG"),
        says={"": Says(Text("{argument} {dataset}{origin}: no usable rows ({rows_checked} checked; {at})",
                            "{argument} {dataset}{origin}：没有可用的行（检查了 {rows_checked} 行；{at}）"), (_ROW, _COLUMNS)),
              "unreadable": Says(Text("{argument} {dataset}{origin}: the file cannot be read ({at})",
                                      "{argument} {dataset}{origin}：无法读取该文件（{at}）"),
                                 (Text("correct or delete line {line}", "改正或删去第 {line} 行"), _ROW)),
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
        "EW", Text("a link or folder that the run should make already exists", "训练要创建的链接或目录已存在"),
        Text("with add_version=false, the output folder already holds a run; or several ranks of an old ms-swift make the same link",
             "在 add_version=false 下，输出目录里已有一次训练；或旧版 ms-swift 的多个 rank 创建同一个链接"),
        "swift.create_checkpoint_symlink=false", Text("or another folder: swift.output_dir=FOLDER", "或换一个目录：swift.output_dir=FOLDER"),
        says={"": Says(Text("output_dir {path} is not empty ({entries} entries), and {setting} would write into it",
                            "output_dir {path} 不是空的（{entries} 项），{setting} 会写入其中"),
                       ("swift.add_version=true",
                        Text("or another folder: swift.output_dir=FOLDER", "或换一个目录：swift.output_dir=FOLDER"))),
              "race": Says(Text("{setting}: in ms-swift {ms_swift} every rank makes the links, and all but one fail at the end",
                                "{setting}：ms-swift {ms_swift} 的每个 rank 都会创建链接，训练结束时除一个外都会失败"),
                           ("swift.create_checkpoint_symlink=false", "{pip} install -U 'ms-swift>=3.5'"))}),
    "checkpoint-incomplete": entry(
        "E", Text("the checkpoint lacks files that a resume needs", "检查点缺少续训所需的文件"),
        Text("the checkpoint to resume from lacks its weights, trainer_state.json or the optimizer (optimizer.pt, or `latest` of "
             "deepspeed), or one of them was cut off while it was saved",
             "要续训的检查点缺少权重、trainer_state.json 或优化器（optimizer.pt，或 deepspeed 的 latest），或其中的文件在保存时中断"),
        _ANOTHER_CHECKPOINT, _WEIGHTS_ONLY,
        says={"": Text("{setting}: {faults}", "{setting}：{faults}"),
              "weights": Says(Text("{setting}: {faults}", "{setting}：{faults}"), (_ANOTHER_CHECKPOINT,)),
              "absent": Says(Text("{setting}: no such folder", "{setting}：没有这个文件夹"), (_ANOTHER_CHECKPOINT,)),
              "true": Says(Text("{setting}: ms-swift wants the checkpoint's folder here and does not look for it",
                                "{setting}：这里应写检查点的文件夹，ms-swift 不会自行寻找"), (_ANOTHER_CHECKPOINT,))}),
    "resume-setting-ignored": entry(
        "E", Text("the checkpoint was trained with other settings than this run", "检查点的训练设置与本次不同"),
        Text("a setting of the adapter, such as lora_rank, differs from the checkpoint's, and ms-swift silently goes on with the checkpoint's",
             "lora_rank 等适配器设置与检查点不同，而 ms-swift 会不加提示地沿用检查点的设置"),
        "{same}", Text("or start anew: swift.resume_from_checkpoint=null", "或重新训练：swift.resume_from_checkpoint=null"),
        says=Text("{setting} has no effect: {folder} was saved with {checkpoint}, and training goes on with that",
                  "{setting} 不起作用：{folder} 保存时是 {checkpoint}，训练会沿用它")),
    "checkpoint-unloadable": entry(
        "W", Text("torch refuses to load the checkpoint", "torch 拒绝加载该检查点"),
        Text("a deepspeed checkpoint with torch 2.6 or newer and an old transformers or deepspeed, or an older torch than transformers "
             "takes for optimizer.pt",
             "torch 2.6 及以上配合旧的 transformers 或 deepspeed 加载 deepspeed 检查点，或 torch 过旧，transformers 不加载 optimizer.pt"),
        "{pip} install -U transformers deepspeed",
        Text("only for a checkpoint that you trust: export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1",
             "仅对可信的检查点：export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1"),
        says={"": Says(Text("torch {torch} loads with weights_only=True and so refuses the deepspeed checkpoints of {packages}",
                            "torch {torch} 默认以 weights_only=True 加载，会拒绝 {packages} 的 deepspeed 检查点"),
                       ("{pip} install -U 'transformers>=4.50' 'deepspeed>=0.16.4'",
                        Text("only for a checkpoint that you trust: export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1",
                             "仅对可信的检查点：export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1"))),
              "old-torch": Says(Text("transformers {transformers} loads optimizer.pt only with torch 2.6 or newer; installed is torch {torch}",
                                     "transformers {transformers} 只在 torch 2.6 及以上版本加载 optimizer.pt，当前为 torch {torch}"),
                                ("swift.resume_only_model=true", "{pip} install 'transformers<4.52'"))}),
}
