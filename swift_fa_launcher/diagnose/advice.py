"""What each code means for someone with a failed run in front of them, and what mends it; in both languages.

`{name}` stands for a value that the log gave. A line of advice whose value the log did not give is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from swift_fa_launcher.errors import Text, Words


@dataclass(frozen=True)
class Advice:
    """means: the first half of the summary; the values follow it. fix: one line or command each, the best first."""

    means: Text
    fix: tuple[Words, ...]


_INSTALL = "swift-fa install"
_SDPA = Text("or without flash attention: swift.attn_impl=sdpa swift.packing=false",
             "或者不用 flash attention：swift.attn_impl=sdpa swift.packing=false")
_REINSTALL = (Text("swift-fa install  (chooses a wheel for this torch and replaces the one that does not fit)",
                   "swift-fa install  （按当前 torch 选择 wheel，替换不匹配的那个）"), _SDPA)
_ARGS = Text("swift-fa args NAME  lists what the installed ms-swift accepts", "swift-fa args 名称  列出已安装的 ms-swift 接受什么")
_OFFLINE = Text("swanlab.mode=offline; the run ends with the `swanlab sync` line that uploads it",
                "swanlab.mode=offline；运行结束时会给出用于上传的 swanlab sync 命令")
_SYNC = Text("what was recorded is here, and uploads with: swanlab sync {swanlab_folder}",
             "已记录的数据在本地，可用此命令上传：swanlab sync {swanlab_folder}")
_MIRROR = "HF_ENDPOINT=https://hf-mirror.com"

ADVICE: Mapping[str, Advice] = {
    # Machine and interpreter
    "python-unsupported": Advice(
        Text("this Python is too old for a package that the training needs", "当前 Python 版本低于训练所需软件包的要求"),
        (Text("make an environment with Python 3.10 or newer and name it: target.python=/path/to/python",
              "建一个 Python 3.10 以上的环境，并指定：target.python=/path/to/python"),)),
    "torch-missing": Advice(
        Text("torch is not there or cannot be imported", "没有 torch，或 torch 无法导入"),
        ("pip install --force-reinstall torch", "swift-fa preflight")),
    "torch-cpu-only": Advice(
        Text("this torch is a CPU build", "安装的 torch 是 CPU 版本"),
        (Text("on a machine with GPUs: pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu128",
              "有 GPU 的机器：pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu128"),
         Text("on one without: swift.attn_impl=sdpa swift.packing=false swift.padding_free=false",
              "没有 GPU 的机器：swift.attn_impl=sdpa swift.packing=false swift.padding_free=false"))),
    "gpu-none": Advice(
        Text("torch sees no NVIDIA GPU", "torch 看不到任何 NVIDIA GPU"),
        ("nvidia-smi", Text("in a container, start it with --gpus all; under Slurm, ask for one with --gres=gpu:1",
                            "容器请加 --gpus all 启动；Slurm 请用 --gres=gpu:1 申请"))),
    "gpu-not-visible": Advice(
        Text("a GPU index was asked for that is not visible", "所用的 GPU 编号不可见"),
        ("nvidia-smi -L", Text("list only indexes that exist in launch.gpus / CUDA_VISIBLE_DEVICES",
                               "launch.gpus / CUDA_VISIBLE_DEVICES 只写存在的编号"))),
    "gpu-memory-low": Advice(
        Text("the GPU's memory is in use by something else", "GPU 显存已被其他进程占用"),
        ("nvidia-smi", Text("end what holds the memory, or choose other GPUs: launch.gpus=[...]",
                            "结束占用显存的进程，或换其他 GPU：launch.gpus=[...]"))),
    "gpu-arch-unsupported": Advice(
        Text("this GPU's architecture is not supported", "该 GPU 的架构不受支持"),
        (Text("below compute capability 8.0: swift.attn_impl=sdpa swift.packing=false swift.torch_dtype=float16",
              "计算能力低于 8.0 时：swift.attn_impl=sdpa swift.packing=false swift.torch_dtype=float16"),
         Text("a GPU newer than this torch: pip install -U torch --index-url https://download.pytorch.org/whl/cu128",
              "GPU 比 torch 新时：pip install -U torch --index-url https://download.pytorch.org/whl/cu128"))),
    "gpu-flash-attn-leftover": Advice(
        Text("flash attention is not asked for, yet an installed flash-attn was called on a GPU too old for it",
             "没有要求使用 flash attention，但已安装的 flash-attn 仍在不支持它的 GPU 上被调用"),
        ("pip uninstall -y flash-attn",)),
    "driver-too-old": Advice(
        Text("the NVIDIA driver is too old for this CUDA code", "NVIDIA 驱动对这份 CUDA 代码来说太旧"),
        (Text("update the driver (flash-attn 2.8.1 needs 550 or newer)", "升级驱动（flash-attn 2.8.1 需要 550 以上）"),
         Text("or take an older build: swift-fa install --version '!=2.8.1'", "或换一个版本：swift-fa install --version '!=2.8.1'"))),
    "shm-small": Advice(
        Text("shared memory (/dev/shm) is full or too small", "共享内存 /dev/shm 已满或太小"),
        (Text("start the container with --shm-size=16g or --ipc=host", "用 --shm-size=16g 或 --ipc=host 启动容器"),
         "swift.dataloader_num_workers=0")),
    "disk-space-low": Advice(
        Text("a disk is full", "磁盘已满"),
        ("df -h", Text("swift.save_total_limit=2, or swift.output_dir on a larger disk; pip: TMPDIR=/large/disk",
                       "swift.save_total_limit=2，或把 swift.output_dir 放到更大的盘；pip：TMPDIR=/large/disk"))),
    "windows-unsupported": Advice(
        Text("flash-attn is not built from source on native Windows", "原生 Windows 上不支持从源码编译 flash-attn"),
        (_INSTALL, Text("or use WSL2", "或改用 WSL2"))),
    # flash-attn as installed
    "flash-attn-missing": Advice(
        Text("flash-attn is wanted and not installed", "需要 flash-attn，但没有安装"), (_INSTALL, _SDPA)),
    "flash-attn-extension-missing": Advice(
        Text("flash-attn is installed without its compiled extension", "flash-attn 安装时没有编译出扩展模块"), _REINSTALL),
    "flash-attn-shadowed": Advice(
        Text("the flash_attn that was imported is not the installed one", "导入的 flash_attn 不是安装的那一个"),
        ("python -c 'import flash_attn; print(flash_attn)'",
         Text("start outside the source checkout, or remove the file or folder that shadows it; then swift-fa install",
              "不要在源码目录里启动，或删除遮挡它的文件或目录；然后 swift-fa install"))),
    "flash-attn-python-mismatch": Advice(
        Text("flash-attn was built for another Python", "flash-attn 是为另一个 Python 版本编译的"), _REINSTALL),
    "flash-attn-abi-mismatch": Advice(
        Text("flash-attn was built with the other C++11 ABI than torch", "flash-attn 与 torch 的 C++11 ABI 不一致"), _REINSTALL),
    "flash-attn-torch-mismatch": Advice(
        Text("flash-attn was built for another torch", "flash-attn 是为另一个版本的 torch 编译的"), _REINSTALL),
    "flash-attn-cuda-mismatch": Advice(
        Text("flash-attn was built for another CUDA than torch brings", "flash-attn 所需的 CUDA 与 torch 自带的不同"), _REINSTALL),
    "flash-attn-glibc-too-new": Advice(
        Text("flash-attn needs newer system libraries than this host has", "flash-attn 需要的系统库比本机的新"), _REINSTALL),
    "flash-attn-arch-missing": Advice(
        Text("this flash-attn holds no code for this GPU", "这个 flash-attn 不含该 GPU 架构的代码"), _REINSTALL),
    "flash-attn-too-old": Advice(
        Text("flash-attn is older than transformers asks for", "flash-attn 版本低于 transformers 的要求"), _REINSTALL),
    "flash-attn-import-failed": Advice(
        Text("flash-attn cannot be imported", "flash-attn 无法导入"), _REINSTALL),
    "flash-attn-probe-failed": Advice(
        Text("flash attention fails on this GPU", "flash attention 在该 GPU 上运行失败"),
        ("swift-fa preflight", *_REINSTALL)),
    "flash-attn-probe-wrong": Advice(
        Text("flash attention computes wrong numbers on this GPU", "flash attention 在该 GPU 上计算结果错误"),
        ("swift-fa preflight", *_REINSTALL)),
    "flash-attn-variant-missing": Advice(
        Text("the wanted generation of flash attention is not usable here", "所要求的 flash attention 版本在此不可用"),
        ("swift.attn_impl=flash_attention_2", "swift-fa preflight")),
    # Installing and building
    "wheel-not-found": Advice(
        Text("there is no ready-made flash-attn wheel for this combination", "没有适合当前组合的 flash-attn 预编译 wheel"),
        (Text("swift-fa install --dry-run  shows every source and why each wheel was passed over",
              "swift-fa install --dry-run  列出每个来源以及每个 wheel 被跳过的原因"), "swift-fa install --from-source")),
    "wheel-invalid": Advice(
        Text("the file is not a usable wheel", "该文件不是可用的 wheel"),
        ("pip cache purge", Text("delete the file and fetch it again: swift-fa install", "删除该文件后重新获取：swift-fa install"))),
    "wheel-unsupported-here": Advice(
        Text("this wheel is for another Python or platform", "该 wheel 属于另一个 Python 版本或平台"), (_INSTALL,)),
    "nvcc-missing": Advice(
        Text("a build from source needs nvcc and there is none", "从源码编译需要 nvcc，但找不到"),
        (_INSTALL, Text("or install the CUDA toolkit of torch's CUDA version and export CUDA_HOME=/usr/local/cuda",
                        "或安装与 torch 同版本的 CUDA toolkit，并 export CUDA_HOME=/usr/local/cuda"))),
    "cuda-home-missing": Advice(
        Text("CUDA_HOME does not lead to a CUDA toolkit", "CUDA_HOME 没有指向 CUDA toolkit"),
        ("export CUDA_HOME=/usr/local/cuda", Text("a flash-attn wheel needs no toolkit: swift-fa install",
                                                  "使用预编译 wheel 则不需要 toolkit：swift-fa install"))),
    "nvcc-torch-mismatch": Advice(
        Text("nvcc is of another CUDA than torch", "nvcc 与 torch 的 CUDA 版本不同"),
        (_INSTALL, Text("or export CUDA_HOME to the toolkit of torch's CUDA version", "或把 CUDA_HOME 指向与 torch 相同版本的 toolkit"))),
    "nvcc-too-old": Advice(
        Text("nvcc is too old for this flash-attn", "nvcc 对这个 flash-attn 来说太旧"),
        (_INSTALL, Text("or install a newer CUDA toolkit (FA2: 11.7, FA3: 12.3) and export CUDA_HOME",
                        "或安装更新的 CUDA toolkit（FA2：11.7，FA3：12.3）并设置 CUDA_HOME"))),
    "gcc-unsupported": Advice(
        Text("this gcc does not go with this nvcc or torch", "gcc 版本与 nvcc 或 torch 不匹配"),
        (_INSTALL, Text("or build with another gcc: CC=gcc-11 CXX=g++-11 swift-fa install --from-source",
                        "或换用其他 gcc：CC=gcc-11 CXX=g++-11 swift-fa install --from-source"))),
    "build-deps-missing": Advice(
        Text("the build cannot see a package that it needs", "编译时看不到所需的软件包"),
        (_INSTALL, "pip install packaging psutil ninja wheel setuptools && pip install flash-attn --no-build-isolation")),
    "build-memory-low": Advice(
        Text("the build ran out of memory", "编译时内存不足"),
        (_INSTALL, "MAX_JOBS=2 pip install flash-attn --no-build-isolation")),
    "site-packages-not-writable": Advice(
        Text("the environment cannot be written to", "该 Python 环境不可写"),
        ("python -m venv .venv && . .venv/bin/activate",)),
    "mirror-unreachable": Advice(
        Text("a package source cannot be reached", "软件包来源无法访问"),
        (Text("swift-fa install --mirror https://your.mirror/prefix", "swift-fa install --mirror https://镜像/前缀"),
         Text("or carry the wheel over: swift-fa install --wheel FILE", "或拷贝 wheel 过来：swift-fa install --wheel 文件"))),
    "tls-failed": Advice(
        Text("a server's certificate or TLS answer was refused", "服务器证书或 TLS 握手失败"),
        (Text("give your proxy's certificate: export REQUESTS_CA_BUNDLE=/path/ca.pem SSL_CERT_FILE=/path/ca.pem",
              "指定代理的证书：export REQUESTS_CA_BUNDLE=/path/ca.pem SSL_CERT_FILE=/path/ca.pem"),
         Text("or carry the wheel over: swift-fa install --wheel FILE", "或拷贝 wheel 过来：swift-fa install --wheel 文件"))),
    # ms-swift and its arguments
    "ms-swift-missing": Advice(Text("ms-swift is not installed here", "这里没有安装 ms-swift"), ("pip install ms-swift",)),
    "swift-not-ms-swift": Advice(
        Text("`swift` is not the ms-swift that was meant", "`swift` 不是所要的 ms-swift"),
        ("python -c 'import swift; print(swift)'", "pip install -U ms-swift")),
    "arg-unknown": Advice(Text("ms-swift does not know an argument", "ms-swift 不认识该参数"), (
        _ARGS, Text("names of another ms-swift generation are translated in a config: swift-fa config CONFIG --explain",
                    "其他版本的参数名写在配置里会自动翻译：swift-fa config 配置 --explain"))),
    "arg-invalid": Advice(Text("an argument's value is not accepted", "参数的取值不被接受"), (_ARGS,)),
    "arg-missing": Advice(Text("a required argument is absent", "缺少必需的参数"), (
        Text("write it in the config, or after it: swift.{name}=...", "写进配置，或写在命令后：swift.{name}=..."), _ARGS)),
    "packing-needs-flash-attn": Advice(
        Text("packing needs flash attention", "packing 需要 flash attention"),
        ("swift.attn_impl=flash_attn", Text("or swift.packing=false swift.padding_free=false",
                                            "或 swift.packing=false swift.padding_free=false"))),
    "packing-lazy-tokenize": Advice(
        Text("packing and lazy_tokenize exclude each other", "packing 与 lazy_tokenize 不能同时使用"), ("swift.lazy_tokenize=false",)),
    "packing-leaks": Advice(
        Text("packing on a model with linear attention needs flash-linear-attention", "线性注意力模型的 packing 需要 flash-linear-attention"),
        ("pip install -U flash-linear-attention", Text("or swift.packing=false", "或 swift.packing=false"))),
    "packing-model-unsupported": Advice(
        Text("this model's template cannot pack", "该模型的 template 不支持 packing"), ("swift.packing=false swift.padding_free=true",)),
    "packing-cache-not-shared": Advice(
        Text("the packing cache is not on a disk that all nodes share", "packing 缓存不在各节点共享的磁盘上"),
        ("export MODELSCOPE_CACHE=/shared/modelscope", "swift.packing_cache=/shared/packing")),
    "packing-timeout-risk": Advice(
        Text("packing took longer than the other processes wait", "packing 的时间超过了其他进程的等待时间"),
        ("swift.ddp_timeout={longer}", Text("swift.packing_num_proc=16, or pack once: swift export --to_cached_dataset true",
                                            "swift.packing_num_proc=16，或先缓存：swift export --to_cached_dataset true"))),
    "rows-too-long": Advice(
        Text("rows longer than max_length are dropped", "超过 max_length 的数据行被丢弃"),
        (Text("swift.max_length=8192, or swift.truncation_strategy=right", "swift.max_length=8192，或 swift.truncation_strategy=right"),)),
    "flash-attn-dtype": Advice(
        Text("flash attention was given float32", "flash attention 收到的是 float32"), ("swift.torch_dtype=bfloat16",)),
    "bf16-unsupported": Advice(
        Text("bfloat16 or tf32 on a device that cannot do it", "设备不支持 bfloat16 或 tf32"),
        ("swift.torch_dtype=float16 swift.bf16=false swift.fp16=true", "nvidia-smi")),
    "transformers-mismatch": Advice(
        Text("this transformers does not go with this ms-swift, model or code", "transformers 与 ms-swift、模型或代码不匹配"),
        ("pip install -U ms-swift transformers",
         Text("swift-fa preflight  says which range the installed ms-swift wants", "swift-fa preflight  会给出已安装的 ms-swift 需要的范围"))),
    "requirement-conflict": Advice(
        Text("installed packages do not go with each other", "已安装的软件包互相冲突"), ("pip check", "pip install -U ms-swift")),
    "deepspeed-missing": Advice(
        Text("deepspeed is asked for and not installed", "要求使用 deepspeed，但没有安装"),
        ("pip install deepspeed", Text("or swift.deepspeed=null", "或 swift.deepspeed=null"))),
    "deepspeed-launch": Advice(
        Text("several GPUs are visible to too few processes, so the model was to be spread over them (device_map)",
             "可见 GPU 多于进程数，模型将被切分到多卡（device_map）"),
        (Text("one process per GPU: launch.nproc_per_node=<GPUs>", "每卡一个进程：launch.nproc_per_node=<GPU 数>"),
         Text("or one GPU: launch.gpus=[0]", "或只用一张卡：launch.gpus=[0]"))),
    # Launching
    "nproc-exceeds-gpus": Advice(
        Text("there are more processes than GPUs", "进程数多于 GPU 数"),
        ("nvidia-smi -L", Text("launch.nproc_per_node=<GPUs>", "launch.nproc_per_node=<GPU 数>"))),
    "launch-env-misspelt": Advice(
        Text("a launch variable is misspelt, so it has no effect", "启动变量拼写有误，因此不起作用"),
        (Text("launch.nproc_per_node=<GPUs>, or export NPROC_PER_NODE", "launch.nproc_per_node=<GPU 数>，或 export NPROC_PER_NODE"),)),
    "launch-nested": Advice(
        Text("a distributed launcher's variables are set here already, or only in part", "环境中已有（或只有部分）分布式启动变量"),
        ("unset RANK LOCAL_RANK WORLD_SIZE", Text("let one launcher start the processes", "只用一个启动器来启动进程"))),
    "port-in-use": Advice(
        Text("the rendezvous port is taken", "通信端口已被占用"),
        ("launch.master_port=29511", "ss -ltnp | grep {port}")),
    "master-addr-loopback": Advice(
        Text("a node looks for the first node on itself (loopback)", "节点在本机（回环地址）上寻找主节点"),
        (Text("launch.master_addr=<address of node 0 that the others reach>", "launch.master_addr=<其他节点能访问的 0 号节点地址>"),)),
    # Model, data, output
    "model-missing": Advice(Text("the model cannot be found or fetched", "模型找不到或无法下载"), (
        Text("check the id or path, or download it elsewhere and give its folder: swift.model=/path/to/model",
             "检查 id 或路径，或在别处下载后写本地路径：swift.model=/path/to/model"), _MIRROR)),
    "model-incomplete": Advice(
        Text("the model folder is incomplete or damaged", "模型目录不完整或文件损坏"),
        (Text("download it again; from git, run: git lfs pull", "重新下载；git 克隆的请执行：git lfs pull"),)),
    "model-type-unknown": Advice(
        Text("this ms-swift does not know the model's type", "这个 ms-swift 不认识该模型的 model_type"),
        ("swift-fa args model_type", "swift.model_type=<type>", "pip install -U ms-swift")),
    "dataset-missing": Advice(Text("the dataset cannot be found or fetched", "数据集找不到或无法下载"), (
        Text("check the id or path, or download it elsewhere and give the file: swift.dataset=[/path/to/data.jsonl]",
             "检查 id 或路径，或在别处下载后写本地文件：swift.dataset=[/path/to/data.jsonl]"), _MIRROR)),
    "dataset-format": Advice(
        Text("the dataset's rows cannot be used for training", "数据集的内容无法用于训练"),
        (Text("where none of the {rows} rows fits into max_length (ms-swift drops them without a word): swift.max_length=8192",
              "若 {rows} 行都超过 max_length（ms-swift 会不加提示地丢弃）：swift.max_length=8192"),
         Text('one JSON object per line: {{"messages": [{{"role": "user", "content": "..."}}, ...]}}',
              '每行一个 JSON 对象：{{"messages": [{{"role": "user", "content": "..."}}, ...]}}'), "swift-fa preflight")),
    "output-not-writable": Advice(
        Text("a folder cannot be written to", "目录不可写"),
        (Text("swift.output_dir=/a/folder/of/yours", "swift.output_dir=/你的/目录"),)),
    "output-link-exists": Advice(
        Text("what should be created is there already", "要创建的链接或目录已存在"),
        ("swift.create_checkpoint_symlink=false", Text("or another swift.output_dir", "或换一个 swift.output_dir"))),
    "checkpoint-incomplete": Advice(
        Text("the checkpoint lacks what a resume needs", "checkpoint 缺少续训所需的文件"),
        (Text("name a complete checkpoint-N folder: swift.resume_from_checkpoint=.../checkpoint-N",
              "指定一个完整的 checkpoint-N 目录：swift.resume_from_checkpoint=.../checkpoint-N"),
         "swift.resume_only_model=true")),
    "resume-setting-ignored": Advice(
        Text("the checkpoint was trained with other settings than this run", "checkpoint 的训练设置与本次不同"),
        (Text("use the settings of the checkpoint's args.json, or start anew without resume_from_checkpoint",
              "使用 checkpoint 中 args.json 的设置，或不带 resume_from_checkpoint 重新训练"),)),
    "checkpoint-unloadable": Advice(
        Text("torch refuses to load the checkpoint", "torch 拒绝加载该 checkpoint"),
        ("pip install -U transformers deepspeed", Text("only for a checkpoint that you trust: export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1",
                                                       "仅对可信的 checkpoint：export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1"))),
    # SwanLab
    "swanlab-missing": Advice(Text("SwanLab is asked for and not installed", "要求使用 SwanLab，但没有安装"),
                              ("pip install swanlab", Text("or swanlab.enabled=false", "或 swanlab.enabled=false"))),
    "swanlab-not-logged-in": Advice(Text("SwanLab has no key to log in with", "SwanLab 没有可用于登录的密钥"),
                                    ("export SWANLAB_API_KEY=...", "swanlab login", _OFFLINE)),
    "swanlab-key-malformed": Advice(Text("this cannot be a SwanLab key", "SwanLab 密钥格式不正确"),
                                    (Text("copy the whole key from your SwanLab settings page: export SWANLAB_API_KEY=...",
                                          "从 SwanLab 设置页复制完整密钥：export SWANLAB_API_KEY=..."),)),
    "swanlab-unreachable": Advice(Text("SwanLab's server cannot be reached", "SwanLab 服务器无法访问"),
                                  (_SYNC, _OFFLINE, "swanlab.enabled=false")),
    "swanlab-mode-unsupported": Advice(
        Text("this ms-swift or SwanLab does not know the mode", "当前 ms-swift 或 SwanLab 不支持该模式"),
        (Text("let the launcher provide it: write it as swanlab.mode in the config", "由启动器提供：在配置里写 swanlab.mode"),)),
    "swanlab-local-needs-dashboard": Advice(
        Text("SwanLab's local mode needs its dashboard package", "SwanLab 的 local 模式需要看板包"),
        ("pip install 'swanlab[dashboard]'", Text("or swanlab.mode=offline", "或 swanlab.mode=offline"))),
    "swanlab-version-conflict": Advice(
        Text("this SwanLab does not go with the code or server that it talks to", "SwanLab 版本与调用它的代码或服务器不匹配"),
        ("pip install -U ms-swift swanlab",
         Text("swift-fa preflight  names the pair", "swift-fa preflight  会指出不匹配的组合"))),
    "swanlab-login-failed": Advice(Text("SwanLab refused the key", "SwanLab 拒绝了密钥"),
                                   ("swanlab login --relogin", "export SWANLAB_API_KEY=...", _OFFLINE)),
    "swanlab-name-invalid": Advice(
        Text("SwanLab does not accept a name", "SwanLab 不接受该名称"),
        (Text("swanlab.project: 1 to 100 of 0-9 a-z A-Z _ - + . ; swanlab.experiment: at most 250 characters",
              "swanlab.project：1 到 100 个字符 0-9 a-z A-Z _ - + . ；swanlab.experiment：最多 250 个字符"),)),
    "swanlab-resume": Advice(
        Text("SwanLab cannot resume a run this way", "SwanLab 无法这样续接实验"),
        (Text("give both a run id (21 of a-z 0-9) and resume: SWANLAB_RUN_ID=... SWANLAB_RESUME=allow",
              "同时给出实验 id（21 位 a-z 0-9）与 resume：SWANLAB_RUN_ID=... SWANLAB_RESUME=allow"),)),
    # Only in logs
    "gpu-out-of-memory": Advice(
        Text("the GPU ran out of memory", "GPU 显存不足"),
        ("swift.per_device_train_batch_size=1 swift.max_length=2048",
         "swift.gradient_checkpointing=true swift.deepspeed=zero3",
         "export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True")),
    "host-out-of-memory": Advice(
        Text("the machine (or its memory limit) ran out of memory and a process was killed", "主机内存（或内存配额）耗尽，进程被杀"),
        (Text("ask for more memory (Slurm: --mem, container: --memory)", "申请更多内存（Slurm：--mem，容器：--memory）"),
         Text("swift.dataset_num_proc=4 swift.dataloader_num_workers=1, or swift.streaming=true",
              "swift.dataset_num_proc=4 swift.dataloader_num_workers=1，或 swift.streaming=true"))),
    "nccl-timeout": Advice(
        Text("processes waited for each other in vain", "进程之间互相等待超时"),
        (Text("find the rank that was late: the one absent from the messages, or the first that failed; its own lines, or its "
              "node's log, say what it did meanwhile. NCCL_DEBUG=INFO shows the network in use",
              "找出落后的 rank：没有出现在报错里的，或最先失败的那个；它自己的日志（或所在节点的日志）说明它当时在做什么。"
              "NCCL_DEBUG=INFO 会显示所用的网络"),
         Text("if it was slow and not dead (a long evaluation or save), wait longer than {waited} s: swift.ddp_timeout={longer}",
              "如果它只是慢而没有挂掉（评估或保存耗时长），把等待时间加长（目前 {waited} 秒）：swift.ddp_timeout={longer}"),
         Text("a wrong network card: export NCCL_SOCKET_IFNAME=eth0", "选错网卡时：export NCCL_SOCKET_IFNAME=eth0"))),
    "interrupted": Advice(
        Text("the run was stopped from outside", "训练被外部中止"),
        (Text("go on from the last checkpoint: swift.resume_from_checkpoint=<output>/checkpoint-N",
              "从最近的 checkpoint 继续：swift.resume_from_checkpoint=<output>/checkpoint-N"),)),
    "unknown": Advice(
        Text("no cause that we know", "没有发现已知的原因"), ()),
}
