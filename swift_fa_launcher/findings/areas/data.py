"""Model, data, output: what each code means, when it comes, what mends it, and how a check says it."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.entry import Entry, entry
from swift_fa_launcher.findings.lines import HF_MIRROR

ENTRIES: Mapping[str, Entry] = {
    "model-missing": entry(
        "E", Text("the model cannot be found or fetched", "模型找不到或无法下载"),
        Text("TODO", "TODO"),
        Text("check the id or path, or download it elsewhere and give its folder: swift.model=/path/to/model",
             "检查 id 或路径，或在别处下载后写本地路径：swift.model=/path/to/model"),
        HF_MIRROR,
    ),
    "model-incomplete": entry(
        "E", Text("the model folder is incomplete or damaged", "模型目录不完整或文件损坏"),
        Text("TODO", "TODO"),
        Text("download it again; from git, run: git lfs pull", "重新下载；git 克隆的请执行：git lfs pull"),
    ),
    "model-type-unknown": entry(
        "E", Text("this ms-swift does not know the model's type", "这个 ms-swift 不认识该模型的 model_type"),
        Text("TODO", "TODO"),
        "swift-fa args model_type",
        "swift.model_type=<type>",
        "pip install -U ms-swift",
    ),
    "dataset-missing": entry(
        "E", Text("the dataset cannot be found or fetched", "数据集找不到或无法下载"),
        Text("TODO", "TODO"),
        Text("check the id or path, or download it elsewhere and give the file: swift.dataset=[/path/to/data.jsonl]",
             "检查 id 或路径，或在别处下载后写本地文件：swift.dataset=[/path/to/data.jsonl]"),
        HF_MIRROR,
    ),
    "dataset-format": entry(
        "E", Text("the dataset's rows cannot be used for training", "数据集的内容无法用于训练"),
        Text("TODO", "TODO"),
        Text("where none of the {rows} rows fits into max_length (ms-swift drops them without a word): swift.max_length=8192",
             "若 {rows} 行都超过 max_length（ms-swift 会不加提示地丢弃）：swift.max_length=8192"),
        Text('one JSON object per line: {{"messages": [{{"role": "user", "content": "..."}}, ...]}}',
             '每行一个 JSON 对象：{{"messages": [{{"role": "user", "content": "..."}}, ...]}}'),
        "swift-fa preflight",
    ),
    "output-not-writable": entry(
        "E", Text("a folder cannot be written to", "目录不可写"),
        Text("TODO", "TODO"),
        Text("swift.output_dir=/a/folder/of/yours", "swift.output_dir=/你的/目录"),
    ),
    "output-link-exists": entry(
        "EW", Text("what should be created is there already", "要创建的链接或目录已存在"),
        Text("TODO", "TODO"),
        "swift.create_checkpoint_symlink=false",
        Text("or another swift.output_dir", "或换一个 swift.output_dir"),
    ),
    "checkpoint-incomplete": entry(
        "E", Text("the checkpoint lacks what a resume needs", "checkpoint 缺少续训所需的文件"),
        Text("TODO", "TODO"),
        Text("name a complete checkpoint-N folder: swift.resume_from_checkpoint=.../checkpoint-N",
             "指定一个完整的 checkpoint-N 目录：swift.resume_from_checkpoint=.../checkpoint-N"),
        "swift.resume_only_model=true",
    ),
    "resume-setting-ignored": entry(
        "E", Text("the checkpoint was trained with other settings than this run", "checkpoint 的训练设置与本次不同"),
        Text("TODO", "TODO"),
        Text("use the settings of the checkpoint's args.json, or start anew without resume_from_checkpoint",
             "使用 checkpoint 中 args.json 的设置，或不带 resume_from_checkpoint 重新训练"),
    ),
    "checkpoint-unloadable": entry(
        "W", Text("torch refuses to load the checkpoint", "torch 拒绝加载该 checkpoint"),
        Text("TODO", "TODO"),
        "pip install -U transformers deepspeed",
        Text("only for a checkpoint that you trust: export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1",
             "仅对可信的 checkpoint：export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1"),
    ),
}
