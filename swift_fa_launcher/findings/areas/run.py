"""What only the log of a failed run shows: what each code means, when it comes, what mends it, and how a check says it."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.entry import Entry, entry

ENTRIES: Mapping[str, Entry] = {
    "gpu-out-of-memory": entry(
        "E", Text("the GPU ran out of memory", "GPU 显存不足"),
        Text("TODO", "TODO"),
        "swift.per_device_train_batch_size=1 swift.max_length=2048",
        "swift.gradient_checkpointing=true swift.deepspeed=zero3",
        "export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
    ),
    "host-out-of-memory": entry(
        "E", Text("the machine (or its memory limit) ran out of memory and a process was killed", "主机内存（或内存配额）耗尽，进程被杀"),
        Text("TODO", "TODO"),
        Text("ask for more memory (Slurm: --mem, container: --memory)", "申请更多内存（Slurm：--mem，容器：--memory）"),
        Text("swift.dataset_num_proc=4 swift.dataloader_num_workers=1, or swift.streaming=true",
             "swift.dataset_num_proc=4 swift.dataloader_num_workers=1，或 swift.streaming=true"),
    ),
    "nccl-timeout": entry(
        "E", Text("processes waited for each other in vain", "进程之间互相等待超时"),
        Text("TODO", "TODO"),
        Text("find the rank that was late: the one absent from the messages, or the first that failed; its own lines, or its "
             "node's log, say what it did meanwhile. NCCL_DEBUG=INFO shows the network in use",
             "找出落后的 rank：没有出现在报错里的，或最先失败的那个；它自己的日志（或所在节点的日志）说明它当时在做什么。"
             "NCCL_DEBUG=INFO 会显示所用的网络"),
        Text("if it was slow and not dead (a long evaluation or save), wait longer than {waited} s: swift.ddp_timeout={longer}",
             "如果它只是慢而没有挂掉（评估或保存耗时长），把等待时间加长（目前 {waited} 秒）：swift.ddp_timeout={longer}"),
        Text("a wrong network card: export NCCL_SOCKET_IFNAME=eth0", "选错网卡时：export NCCL_SOCKET_IFNAME=eth0"),
    ),
    "interrupted": entry(
        "I", Text("the run was stopped from outside", "训练被外部中止"),
        Text("TODO", "TODO"),
        Text("go on from the last checkpoint: swift.resume_from_checkpoint=<output>/checkpoint-N",
             "从最近的 checkpoint 继续：swift.resume_from_checkpoint=<output>/checkpoint-N"),
    ),
    "unknown": entry(
        "W", Text("no cause that we know", "没有发现已知的原因"),
        Text("TODO", "TODO"),
    ),
}
