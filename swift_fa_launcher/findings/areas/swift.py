"""ms-swift and its arguments: what each code means, when it comes, what mends it, and how a check says it."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.entry import Entry, entry
from swift_fa_launcher.findings.lines import LIST_ARGUMENTS

ENTRIES: Mapping[str, Entry] = {
    "ms-swift-missing": entry(
        "E", Text("ms-swift is not installed here", "这里没有安装 ms-swift"),
        Text("TODO", "TODO"),
        "pip install ms-swift",
    ),
    "swift-not-ms-swift": entry(
        "E", Text("`swift` is not the ms-swift that was meant", "`swift` 不是所要的 ms-swift"),
        Text("TODO", "TODO"),
        "python -c 'import swift; print(swift)'",
        "pip install -U ms-swift",
    ),
    "arg-unknown": entry(
        "E", Text("ms-swift does not know an argument", "ms-swift 不认识该参数"),
        Text("TODO", "TODO"),
        LIST_ARGUMENTS,
        Text("names of another ms-swift generation are translated in a config: swift-fa config CONFIG --explain",
             "其他版本的参数名写在配置里会自动翻译：swift-fa config 配置 --explain"),
    ),
    "arg-renamed": entry(
        "I", Text("TODO", "TODO"),
        Text("TODO", "TODO"),
    ),
    "arg-invalid": entry(
        "E", Text("an argument's value is not accepted", "参数的取值不被接受"),
        Text("TODO", "TODO"),
        LIST_ARGUMENTS,
    ),
    "arg-missing": entry(
        "EW", Text("a required argument is absent", "缺少必需的参数"),
        Text("TODO", "TODO"),
        Text("write it in the config, or after it: swift.{name}=...", "写进配置，或写在命令后：swift.{name}=..."),
        LIST_ARGUMENTS,
    ),
    "packing-needs-flash-attn": entry(
        "E", Text("packing needs flash attention", "packing 需要 flash attention"),
        Text("TODO", "TODO"),
        "swift.attn_impl=flash_attn",
        Text("or swift.packing=false swift.padding_free=false",
             "或 swift.packing=false swift.padding_free=false"),
    ),
    "packing-lazy-tokenize": entry(
        "E", Text("packing and lazy_tokenize exclude each other", "packing 与 lazy_tokenize 不能同时使用"),
        Text("TODO", "TODO"),
        "swift.lazy_tokenize=false",
    ),
    "packing-leaks": entry(
        "E", Text("packing on a model with linear attention needs flash-linear-attention", "线性注意力模型的 packing 需要 flash-linear-attention"),
        Text("TODO", "TODO"),
        "pip install -U flash-linear-attention",
        Text("or swift.packing=false", "或 swift.packing=false"),
    ),
    "packing-model-unsupported": entry(
        "E", Text("this model's template cannot pack", "该模型的 template 不支持 packing"),
        Text("TODO", "TODO"),
        "swift.packing=false swift.padding_free=true",
    ),
    "packing-cache-not-shared": entry(
        "E", Text("the packing cache is not on a disk that all nodes share", "packing 缓存不在各节点共享的磁盘上"),
        Text("TODO", "TODO"),
        "export MODELSCOPE_CACHE=/shared/modelscope",
        "swift.packing_cache=/shared/packing",
    ),
    "packing-timeout-risk": entry(
        "W", Text("packing took longer than the other processes wait", "packing 的时间超过了其他进程的等待时间"),
        Text("TODO", "TODO"),
        "swift.ddp_timeout={longer}",
        Text("swift.packing_num_proc=16, or pack once: swift export --to_cached_dataset true",
             "swift.packing_num_proc=16，或先缓存：swift export --to_cached_dataset true"),
    ),
    "rows-too-long": entry(
        "W", Text("rows longer than max_length are dropped", "超过 max_length 的数据行被丢弃"),
        Text("TODO", "TODO"),
        Text("swift.max_length=8192, or swift.truncation_strategy=right", "swift.max_length=8192，或 swift.truncation_strategy=right"),
    ),
    "packing-changes-batch": entry(
        "I", Text("TODO", "TODO"),
        Text("TODO", "TODO"),
    ),
    "flash-attn-dtype": entry(
        "E", Text("flash attention was given float32", "flash attention 收到的是 float32"),
        Text("TODO", "TODO"),
        "swift.torch_dtype=bfloat16",
    ),
    "bf16-unsupported": entry(
        "E", Text("bfloat16 or tf32 on a device that cannot do it", "设备不支持 bfloat16 或 tf32"),
        Text("TODO", "TODO"),
        "swift.torch_dtype=float16 swift.bf16=false swift.fp16=true",
        "nvidia-smi",
    ),
    "transformers-mismatch": entry(
        "E", Text("this transformers does not go with this ms-swift, model or code", "transformers 与 ms-swift、模型或代码不匹配"),
        Text("TODO", "TODO"),
        "pip install -U ms-swift transformers",
        Text("swift-fa preflight  says which range the installed ms-swift wants", "swift-fa preflight  会给出已安装的 ms-swift 需要的范围"),
    ),
    "requirement-conflict": entry(
        "EW", Text("installed packages do not go with each other", "已安装的软件包互相冲突"),
        Text("TODO", "TODO"),
        "pip check",
        "pip install -U ms-swift",
    ),
    "deepspeed-missing": entry(
        "E", Text("deepspeed is asked for and not installed", "要求使用 deepspeed，但没有安装"),
        Text("TODO", "TODO"),
        "pip install deepspeed",
        Text("or swift.deepspeed=null", "或 swift.deepspeed=null"),
    ),
    "deepspeed-launch": entry(
        "E", Text("several GPUs are visible to too few processes, so the model was to be spread over them (device_map)",
        "可见 GPU 多于进程数，模型将被切分到多卡（device_map）"),
        Text("TODO", "TODO"),
        Text("one process per GPU: launch.nproc_per_node=<GPUs>", "每卡一个进程：launch.nproc_per_node=<GPU 数>"),
        Text("or one GPU: launch.gpus=[0]", "或只用一张卡：launch.gpus=[0]"),
    ),
}
