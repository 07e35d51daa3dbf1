"""What only the log of a failed run shows: what each code means, when it comes, what mends it, and how a check says it."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.entry import Entry, entry

ENTRIES: Mapping[str, Entry] = {
    "gpu-out-of-memory": entry(
        "E", Text("the GPU ran out of memory", "GPU 显存不足"),
        Text("torch, NCCL or a CUDA library could not get the GPU memory that it asked for", "torch、NCCL 或 CUDA 库没有申请到所需的显存"),
        Text("train one row at a time instead of {per_device_train_batch_size}: swift.per_device_train_batch_size=1",
             "每次只训练一行（现在是 {per_device_train_batch_size} 行）：swift.per_device_train_batch_size=1"),
        Text("limit rows to half of {max_length} tokens: swift.max_length={half_max_length}",
             "把每行的上限从 {max_length} 个 token 减半：swift.max_length={half_max_length}"),
        Text("make swift.per_device_train_batch_size or swift.max_length smaller", "减小 swift.per_device_train_batch_size 或 swift.max_length"),
        Text("with several GPUs, split the model among them: swift.deepspeed=zero3", "有多块 GPU 时，把模型切分到各卡：swift.deepspeed=zero3"),
        Text("if memory is reserved but unallocated (fragmented): export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
             "如果显存碎片多（已保留但未分配）：export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True")),
    "host-out-of-memory": entry(
        "E", Text("the machine's memory, or the memory allowed to the job, ran out", "主机内存或任务的内存配额已用完"),
        Text("the system, Slurm or a container killed a process because memory ran out, or a process could not get more memory",
             "系统、Slurm 或容器因内存不足结束了进程，或进程申请不到内存"),
        Text("ask for more memory (Slurm: --mem, a container: --memory)", "申请更多内存（Slurm：--mem，容器：--memory）"),
        Text("prepare the dataset with half of the {dataset_num_proc} processes: swift.dataset_num_proc={half_dataset_num_proc}",
             "把处理数据集的 {dataset_num_proc} 个进程减半：swift.dataset_num_proc={half_dataset_num_proc}"),
        Text("load rows with half of the {dataloader_num_workers} workers: swift.dataloader_num_workers={half_dataloader_num_workers}",
             "把加载数据的 {dataloader_num_workers} 个进程减半：swift.dataloader_num_workers={half_dataloader_num_workers}"),
        Text("or do not load the whole dataset at once: swift.streaming=true swift.max_steps=STEPS",
             "或不一次性加载整个数据集：swift.streaming=true swift.max_steps=步数")),
    "nccl-timeout": entry(
        "E", Text("a training process waited too long for another one", "训练进程等待其他进程超时"),
        Text("NCCL or torch's store gave up waiting for another rank, or lost the connection to it",
             "NCCL 或 torch 的 store 等待另一个 rank 超时，或与它断开了连接"),
        Text("find the rank that stopped first: it is the one without such a message, or it failed earlier; read its output or "
             "its node's log",
             "找出最先停下的 rank：它没有出现在这些报错里，或更早就失败了；查看它的输出或所在节点的日志"),
        Text("if that rank was only slow (a long evaluation or save), wait longer than {waited} s: swift.ddp_timeout={longer}",
             "如果它只是慢（评估或保存耗时长），把等待时间加长（目前 {waited} 秒）：swift.ddp_timeout={longer}"),
        Text("if NCCL uses the wrong network card (`ip -br addr` lists them): export NCCL_SOCKET_IFNAME=INTERFACE",
             "如果 NCCL 选错了网卡（用 `ip -br addr` 查看）：export NCCL_SOCKET_IFNAME=网卡名"),
        Text("to see which one it uses: export NCCL_DEBUG=INFO", "查看它所用的网卡：export NCCL_DEBUG=INFO")),
    "interrupted": entry(
        "I", Text("the run was stopped from outside", "训练被外部中止"),
        Text("a user, Slurm or the system stopped the run with a signal", "用户、Slurm 或系统用信号停止了训练"),
        Text("continue from the newest checkpoint: swift-fa resume latest", "从最近的检查点继续：swift-fa resume latest"),
        Text("or, if swift-fa did not record the run: swift.resume_from_checkpoint=OUTPUT_DIR/checkpoint-N",
             "如果该训练没有 swift-fa 的记录：swift.resume_from_checkpoint=OUTPUT_DIR/checkpoint-N")),
    "unknown": entry(
        "W", Text("the run failed; cause not recognised", "训练失败，未能识别原因"),
        Text("the log shows a failure that swift-fa does not recognise, or no failure at all",
             "日志中的失败不是 swift-fa 认识的，或日志中没有失败")),
}
