"""What only the log of a failed run shows: what each code means, when it comes, what mends it, and how a check says it."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text, Words
from swift_fa_launcher.findings.entry import Entry, Says, entry
from swift_fa_launcher.findings.lines import INSTALL, OFFLINE, OR_SDPA, SDPA, WITHOUT_FLASH_ATTN

_FIRST_TO_STOP = Text("find the rank that stopped first: it is the one without such a message, or it failed earlier; read its output or "
                      "its node's log",
                      "找出最先停下的 rank：它没有出现在这些报错里，或更早就失败了；查看它的输出或所在节点的日志")
_INTERFACE = Text("if NCCL uses the wrong network card (`ip -br addr` lists them): export NCCL_SOCKET_IFNAME=INTERFACE",
                  "如果 NCCL 选错了网卡（用 `ip -br addr` 查看）：export NCCL_SOCKET_IFNAME=网卡名")
_SPLIT_MODEL = Text("with several GPUs, split the model among them: swift.deepspeed=zero3", "有多块 GPU 时，把模型切分到各卡：swift.deepspeed=zero3")
_ROCM_BUILD: tuple[Words, ...] = (
    Text("build flash-attn for ROCm (needs the ROCm toolkit, hipcc): {pip} install flash-attn --no-build-isolation",
         "为 ROCm 编译 flash-attn（需要 ROCm 工具链 hipcc）：{pip} install flash-attn --no-build-isolation"),
    Text("or use its Triton kernels, which need no compiler: export FLASH_ATTENTION_TRITON_AMD_ENABLE=TRUE",
         "或使用不需要编译器的 Triton 内核：export FLASH_ATTENTION_TRITON_AMD_ENABLE=TRUE"), OR_SDPA)
_CUTE = Says(Text("FlashAttention 4 does not go together with the packages that it needs", "FlashAttention 4 与它所需的软件包不匹配"),
             ('{pip} install -U "flash-attn-4>=4.0.0b1"', OR_SDPA))

ENTRIES: Mapping[str, Entry] = {
    "gpu-out-of-memory": entry(
        "E", Text("the GPU ran out of memory", "GPU 显存不足"),
        Text("torch, NCCL or a CUDA library could not get the GPU memory that it asked for", "torch、NCCL 或 CUDA 库没有申请到所需的显存"),
        Text("train one row at a time instead of {per_device_train_batch_size}: swift.per_device_train_batch_size=1",
             "每次只训练一行（现在是 {per_device_train_batch_size} 行）：swift.per_device_train_batch_size=1"),
        Text("limit rows to half of {max_length} tokens: swift.max_length={half_max_length}",
             "把每行的上限从 {max_length} 个 token 减半：swift.max_length={half_max_length}"),
        Text("make swift.per_device_train_batch_size or swift.max_length smaller", "减小 swift.per_device_train_batch_size 或 swift.max_length"),
        _SPLIT_MODEL,
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
        _FIRST_TO_STOP,
        Text("if that rank was only slow (a long evaluation or save), wait longer than {waited} s: swift.ddp_timeout={longer}",
             "如果它只是慢（评估或保存耗时长），把等待时间加长（目前 {waited} 秒）：swift.ddp_timeout={longer}"),
        _INTERFACE,
        Text("to see which one it uses: export NCCL_DEBUG=INFO", "查看它所用的网卡：export NCCL_DEBUG=INFO")),
    "stalled": entry(
        "E", Text("the training came to a standstill, and swift-fa ended it", "训练停滞，swift-fa 已将其结束"),
        Text("no batch was begun for launch.stall_timeout seconds or ten times the median step, whichever is longer",
             "在 launch.stall_timeout 秒或 step 中位时间的十倍（取较长者）之内没有开始新的 batch"),
        Text("see where every process waited: {stacks}", "查看每个进程停在哪里：{stacks}"),
        Text("continue from the newest checkpoint: swift-fa resume latest", "从最近的检查点继续：swift-fa resume latest"),
        Text("to have swift-fa do that itself: launch.restarts=3", "让 swift-fa 自动继续：launch.restarts=3"),
        Text("if a step may take that long: launch.stall_timeout=3600", "如果一步确实可能这么久：launch.stall_timeout=3600")),
    "interrupted": entry(
        "I", Text("the run was stopped from outside", "训练被外部中止"),
        Text("a user, Slurm or the system stopped the run with a signal", "用户、Slurm 或系统用信号停止了训练"),
        Text("continue from the newest checkpoint: swift-fa resume latest", "从最近的检查点继续：swift-fa resume latest"),
        Text("or, if swift-fa did not record the run: swift.resume_from_checkpoint=OUTPUT_DIR/checkpoint-N",
             "如果该训练没有 swift-fa 的记录：swift.resume_from_checkpoint=OUTPUT_DIR/checkpoint-N")),
    "rendezvous-timeout": entry(
        "E", Text("the nodes did not meet in time", "各节点没有在时限内会合"),
        Text("torchrun on one node waited for the others at master_addr and master_port, and not all came",
             "某个节点上的 torchrun 在 master_addr 和 master_port 等待其他节点，但没有等齐"),
        Text("start the same command on every node, each with its own launch.node_rank (0, 1, …)", "在每个节点上启动同一命令，各用自己的 launch.node_rank（0、1……）"),
        Text("see whether node 0 can be reached from the other nodes: nc -vz {host} {port}", "在其他节点上确认能连到 0 号节点：nc -vz {host} {port}"),
        Text("name node 0 by an address that all nodes reach: launch.master_addr=ADDRESS", "用所有节点都能访问的地址指定 0 号节点：launch.master_addr=地址")),
    "nccl-network": entry(
        "E", Text("NCCL could not use the network between the GPUs", "NCCL 无法使用 GPU 之间的网络"),
        Text("the network cards that NCCL chose do not reach each other, or NCCL found none", "NCCL 选用的网卡彼此不通，或没有找到网卡"),
        _INTERFACE,
        Text("over RoCE, name the GID that `show_gids` lists as v2 with an IPv4 address: export NCCL_IB_GID_INDEX=3",
             "使用 RoCE 时，指定 `show_gids` 中类型为 v2 且带 IPv4 地址的 GID：export NCCL_IB_GID_INDEX=3"),
        Text("if only cards of the same number reach each other: export NCCL_CROSS_NIC=0", "如果只有同编号的网卡互通：export NCCL_CROSS_NIC=0"),
        Text("or do without InfiniBand and RoCE (slower): export NCCL_IB_DISABLE=1", "或不用 InfiniBand 和 RoCE（较慢）：export NCCL_IB_DISABLE=1")),
    "failed-after-training": entry(
        "W", Text("the training is complete and its model is saved; something failed afterwards", "训练已完成，模型已保存；之后的步骤出错"),
        Text("ms-swift had trained and saved the model when the processes were taken down, or a later step failed",
             "ms-swift 已训练完并保存了模型，之后在结束进程或执行后续步骤时出错"),
        Text("use the last checkpoint: the line last_model_checkpoint in the log names it", "使用最后一个检查点：日志中 last_model_checkpoint 一行给出了它的位置")),
    "nothing-trained": entry(
        "E", Text("ms-swift ended without training anything", "ms-swift 正常结束，但没有训练"),
        Text("the exit code is 0 and no step was made: the dataset gives less than one step, or the checkpoint was already at the last step",
             "退出码为 0，但一步也没有训练：数据集不足一步，或检查点已处在最后一步"),
        Text("if it resumed, start anew: swift.resume_from_checkpoint=null", "如果是续训，从头开始：swift.resume_from_checkpoint=null"),
        Text("or train longer: swift.num_train_epochs=N", "或增加训练轮数：swift.num_train_epochs=N"),
        Text("if the dataset is small: swift.gradient_accumulation_steps=1", "如果数据集很小：swift.gradient_accumulation_steps=1")),
    "loss-degenerate": entry(
        "E", Text("the loss says that nothing is learnt", "loss 表明什么也没有学到"),
        Text("the loss is not a number, or exactly 0 with a gradient that never moves", "loss 为 NaN，或恒为 0 且梯度不变"),
        Text("compute in bfloat16: swift.torch_dtype=bfloat16", "使用 bfloat16 计算：swift.torch_dtype=bfloat16"),
        says={"nan": Says(Text("the loss is not a number (NaN or infinite)", "loss 是 NaN 或无穷大"),
                          (Text("compute in bfloat16: swift.torch_dtype=bfloat16 swift.bf16=true swift.fp16=false",
                                "使用 bfloat16 计算：swift.torch_dtype=bfloat16 swift.bf16=true swift.fp16=false"),
                           Text("or a lower rate: swift.learning_rate=1e-5 swift.max_grad_norm=1.0", "或降低学习率：swift.learning_rate=1e-5 swift.max_grad_norm=1.0"),
                           Text("or another attention: swift.attn_impl=sdpa swift.packing=false", "或换一种注意力实现：swift.attn_impl=sdpa swift.packing=false"))),
              "zero": Says(Text("the loss is exactly 0 and the gradient does not move", "loss 恒为 0，梯度不变"),
                           (Text("see in the log which tokens are trained on: the line [LABELS] must hold more than -100",
                                 "查看日志中 [LABELS] 一行：除 -100 外应有参与训练的 token"),
                            Text("if the answers are cut off: swift.max_length=N", "如果回答被截断：swift.max_length=N"),
                            Text("or compute in bfloat16: swift.torch_dtype=bfloat16", "或使用 bfloat16 计算：swift.torch_dtype=bfloat16")))}),
    "ms-swift-bug": entry(
        "E", Text("a fault in this version of ms-swift", "这个版本的 ms-swift 有错误"),
        Text("an exception in ms-swift's own code that no setting brings about", "ms-swift 自身代码中的异常，与设置无关"),
        Text("install the newest: {pip} install -U ms-swift", "安装最新版：{pip} install -U ms-swift"),
        Text("or the main branch: {pip} install git+https://github.com/modelscope/ms-swift.git", "或安装主分支：{pip} install git+https://github.com/modelscope/ms-swift.git")),
    "install-cross-device": entry(
        "E", Text("flash-attn's setup cannot move the wheel to another disk", "flash-attn 的安装脚本无法把 wheel 移动到另一块磁盘"),
        Text("flash-attn's setup.py downloads a wheel and renames it into pip's folder, which is on another file system",
             "flash-attn 的 setup.py 下载 wheel 后用重命名移入 pip 的目录，而两者不在同一文件系统"),
        INSTALL, Text("or leave pip's cache out: {pip} install flash-attn --no-build-isolation --no-cache-dir",
                      "或不用 pip 的缓存：{pip} install flash-attn --no-build-isolation --no-cache-dir")),
    # What no check finds yet
    "unknown": entry(
        "W", Text("the run failed; cause not recognised", "训练失败，未能识别原因"),
        Text("the log shows a failure that swift-fa does not recognise, or no failure at all",
             "日志中的失败不是 swift-fa 认识的，或日志中没有失败")),
}

#: Further ways in which logs show codes of other areas, or of this one.
WAYS: Mapping[str, Mapping[str, Says]] = {
    "requirement-conflict": {
        "wanted": Says(Text("an installed package needs another version of another one", "某个已安装的软件包需要另一个包的其他版本"),
                       ('{pip} install "{want}"', "{pip} check")),
        "package": Says(Text("{package} does not fit the packages that use it", "{package} 与使用它的软件包不匹配"),
                        ("{pip} check", "{pip} install -U ms-swift {package}")),
        "bitsandbytes": Says(Text("bitsandbytes has no library for this CUDA", "bitsandbytes 没有适合此 CUDA 的库"), ("{pip} install -U bitsandbytes",)),
        "deepspeed": Says(Text("deepspeed and transformers do not go together", "deepspeed 与 transformers 不匹配"),
                          ("{pip} install -U transformers accelerate", '{pip} install "deepspeed<0.16"')),
        "cute": _CUTE},
    "flash-attn-import-failed": {"cute": _CUTE},
    "rocm-build": {"gpu": Says(Text("flash-attn's ROCm kernels do not run on this GPU", "flash-attn 的 ROCm 内核不支持这块 GPU"),
                               _ROCM_BUILD[1:])},
    "kernel-mismatch": {"backward": Says(
        Text("the hub's flash-attn2 kernel fails in training (its version 3 with grouped key-value heads)",
             "hub 上的 flash-attn2 kernel 训练时出错（版本 3 不支持分组的 key-value 头）"),
        (INSTALL, Text("or take its version 2: swift.attn_impl=kernels-community/flash-attn2@v2",
                       "或使用它的版本 2：swift.attn_impl=kernels-community/flash-attn2@v2"), OR_SDPA))},
    "gpu-out-of-memory": {"evaluation": Says(
        Text("the GPU ran out of memory in an evaluation", "评估时 GPU 显存不足"),
        (Text("evaluate one row at a time: swift.per_device_eval_batch_size=1", "每次只评估一行：swift.per_device_eval_batch_size=1"),
         Text("and keep no logits: swift.prediction_loss_only=true", "并且不保留 logits：swift.prediction_loss_only=true"),
         Text("or do not evaluate: swift.eval_strategy=no", "或不做评估：swift.eval_strategy=no")))},
    "nccl-timeout": {"different work": Says(
        Text("the ranks waited for each other in different work", "各 rank 在做不同的通信，彼此等待"),
        (Text("rows of different kinds (text and images, say) make ranks use different parameters: train one kind, or freeze the part that "
              "not every row uses: swift.freeze_vit=true swift.freeze_aligner=true",
              "不同类型的数据（例如纯文本与图像）使各 rank 用到的参数不同：只用一种数据，或冻结并非每行都用到的部分：swift.freeze_vit=true "
              "swift.freeze_aligner=true"), _FIRST_TO_STOP))},
    "nccl-network": {
        "peer to peer": Says(
            Text("the GPUs cannot read each other's memory", "GPU 之间不能直接访问显存"),
            (Text("do without: export NCCL_P2P_DISABLE=1", "不用点对点访问：export NCCL_P2P_DISABLE=1"),)),
        "multicast": Says(
            Text("NVLink multicast (NVLS) does not work on this host", "本机的 NVLink 多播（NVLS）不可用"),
            (Text("do without: export NCCL_NVLS_ENABLE=0", "不用 NVLS：export NCCL_NVLS_ENABLE=0"),
             Text("or repair it: restart nvidia-fabricmanager, then the host", "或修复：重启 nvidia-fabricmanager，再重启主机")))},
    "gpu-arch-unsupported": {
        "older": Says(Text("{gpu_name} is too old for flash attention", "{gpu_name} 太旧，不支持 flash attention"),
                      (f"{WITHOUT_FLASH_ATTN} swift.torch_dtype=float16",)),
        "newer": Says(Text("{gpu_name} is newer than this torch or flash-attn", "{gpu_name} 比当前的 torch 或 flash-attn 新"),
                      ("{pip} install -U torch --index-url https://download.pytorch.org/whl/cu128", INSTALL, OR_SDPA)),
        "rocm": Says(Text("flash-attn or torch has no code for this AMD GPU", "flash-attn 或 torch 不含这块 AMD GPU 的代码"), (SDPA,))},
    "gpu-none": {"fabric manager": Says(
        Text("CUDA does not start because the fabric manager does not run or is not of the driver's version",
             "fabric manager 没有运行或与驱动版本不一致，CUDA 无法初始化"),
        ("sudo systemctl restart nvidia-fabricmanager",
         Text("if it does not start, install its version that equals the driver's (nvidia-smi shows that)",
              "如果启动失败，安装与驱动版本（见 nvidia-smi）一致的 fabric manager")))},
    "flash-attn-missing": {
        "rocm": Says(Text("flash-attn is needed, but it is not installed, and for ROCm there is no wheel of it",
                          "需要 flash-attn 但没有安装，且没有 ROCm 版的 wheel"), _ROCM_BUILD),
        "ascend": Says(Text("flash-attn does not run on Ascend, which has its own attention", "昇腾 NPU 不能使用 flash-attn，它有自己的注意力实现"),
                       (WITHOUT_FLASH_ATTN,
                        Text("or let transformers use Ascend's flash attention: {pip} install -U transformers",
                             "或使用 transformers 自带的昇腾 flash attention：{pip} install -U transformers")))},
    "nvcc-too-old": {"triton": Says(
        Text("the ptxas that Triton brings does not know this GPU", "Triton 自带的 ptxas 不认识这块 GPU"),
        ("export TRITON_PTXAS_PATH=/usr/local/cuda/bin/ptxas TRITON_PTXAS_BLACKWELL_PATH=/usr/local/cuda/bin/ptxas",
         Text("or a newer torch, which brings a newer Triton: {pip} install -U torch", "或更新 torch（附带更新的 Triton）：{pip} install -U torch")))},
    "arg-invalid": {"target_modules": Says(
        Text("LoRA cannot train the named target_modules", "LoRA 无法训练指定的 target_modules"),
        (Text("train all linear layers: 'swift.target_modules=[all-linear]'", "训练全部线性层：'swift.target_modules=[all-linear]'"),
         Text("or name them as a list, without quotes around commas: 'swift.target_modules=[q_proj,v_proj]'",
              "或写成列表，逗号不要放在引号里：'swift.target_modules=[q_proj,v_proj]'")))},
    "arg-conflict": {
        "group_by_length": Says(
            Text("group_by_length needs the rows' lengths, and lazy_tokenize leaves them unknown", "group_by_length 需要各行的长度，而 lazy_tokenize 时长度未知"),
            ("swift.lazy_tokenize=false", "swift.group_by_length=false")),
        "gradient_checkpointing": Says(
            Text("reentrant gradient checkpointing does not go with what is trained here", "可重入的梯度检查点不适合这里训练的参数"),
            ("'swift.gradient_checkpointing_kwargs={{use_reentrant: false}}'",
             Text("or do without (needs more memory): swift.gradient_checkpointing=false", "或不用梯度检查点（占用更多显存）：swift.gradient_checkpointing=false")))},
    "build-deps-missing": {"pkg_resources": Says(
        Text("pkg_resources is missing, which setuptools 82 and newer no longer have", "缺少 pkg_resources：setuptools 82 起不再包含它"),
        ('{pip} install "setuptools<82"',
         Text("if a build of flash-attn needs it, use a ready-made wheel: swift-fa install",
              "如果是编译 flash-attn 时需要它，使用预编译的 wheel：swift-fa install")))},
    "dataset-format": {"task_type": Says(
        Text("the rows lack what this task_type or rlhf_type reads", "数据行缺少该 task_type 或 rlhf_type 所需的字段"),
        (Text("for a reranker or an embedding model, write positive_messages and negative_messages beside messages in each row",
              "训练 reranker 或 embedding 模型时，每行除 messages 外还要写 positive_messages 和 negative_messages"),))},
    "deepspeed-launch": {"no torchrun": Says(
        Text("deepspeed was asked for, but the training was not started through torchrun", "要求使用 deepspeed，但训练不是由 torchrun 启动的"),
        ("launch.nproc_per_node=1", Text("or do without deepspeed: swift.deepspeed=null", "或不用 deepspeed：swift.deepspeed=null")))},
    "swanlab-unreachable": {"outage": Says(
        Text("SwanLab's server answered with an error of its own", "SwanLab 服务器自身出错"),
        (OFFLINE, Text("or try again later", "或稍后再试")))},
    "swanlab-version-conflict": {"self-hosted": Says(
        Text("the self-hosted SwanLab server failed at what this SwanLab asked of it", "私有化部署的 SwanLab 服务器无法处理该版本 SwanLab 的请求"),
        (Text("install the SwanLab version that the server's release notes name: {pip} install -U swanlab",
              "安装服务器版本说明中对应的 SwanLab：{pip} install -U swanlab"), OFFLINE))},
    **{f"{kind}-missing": {"too many requests": Says(
        Text("the hub answers no more for a while: too many requests", "hub 暂时拒绝请求：请求过多"),
        (Text("log in, which allows more: hf auth login", "登录后配额更高：hf auth login"),
         Text("or take it from ModelScope: swift.use_hf=false", "或改从 ModelScope 下载：swift.use_hf=false")))} for kind in ("model", "dataset")},
}
