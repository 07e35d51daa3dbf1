"""The machine and its interpreter: what each code means, when it comes, what mends it, and how a check says it."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.entry import Entry, Says, entry
from swift_fa_launcher.findings.lines import ANOTHER_PYTHON, FROM_SOURCE, INSTALL, SDPA, WITHOUT_FLASH_ATTN

_ON_A_GPU = Text("run this on a machine with a GPU (container: start it with --gpus all; Slurm: ask for --gres=gpu:1)",
                 "请在有 GPU 的机器上运行（容器：启动时加 --gpus all；Slurm：用 --gres=gpu:1 申请）")
_CUDA_TORCH = "{pip} install --force-reinstall torch --index-url https://download.pytorch.org/whl/"
_SEE_MEMORY = Text("see which processes hold the memory, and wait for them or end them: nvidia-smi",
                   "查看占用显存的进程，等待或结束它们：nvidia-smi")
_UPDATE_DRIVER = Text("update the NVIDIA driver", "升级 NVIDIA 驱动")
_OLDER_TORCH = (_CUDA_TORCH + "{index}", _UPDATE_DRIVER)
_NEWEST_CHECKPOINT = Text("keep only the newest checkpoint: swift.save_total_limit=1", "只保留最新的检查点：swift.save_total_limit=1")
_LARGER_DISK = Text("save checkpoints on a larger disk: swift.output_dir=FOLDER", "把检查点保存到更大的磁盘：swift.output_dir=文件夹")
_TEMPORARY = Text("put temporary files of pip and builds on a larger disk: export TMPDIR=FOLDER",
                  "把 pip 和编译的临时文件放到更大的磁盘：export TMPDIR=文件夹")


def _no_room(folder: Text, *fix: Text | str) -> Says:
    return Says(Text(f"{folder.en} has {{free_gib:.2f}} GiB free; installing flash-attn needs about {{needed_gib:.1f}} GiB there",
                     f"{folder.zh}剩余 {{free_gib:.2f}} GiB，安装 flash-attn 大约需要 {{needed_gib:.1f}} GiB"), fix)


_LESS_MEMORY = (
    Text("compute activations anew: swift.gradient_checkpointing={checkpointing}",
         "重新计算激活值：swift.gradient_checkpointing={checkpointing}"),
    Text("one row at a time, and as many in a step: swift.per_device_train_batch_size=1 swift.gradient_accumulation_steps={accumulation}",
         "每次一行，每步行数不变：swift.per_device_train_batch_size=1 swift.gradient_accumulation_steps={accumulation}"),
    Text("shorter rows: make swift.max_length smaller", "缩短每行：减小 swift.max_length"),
    Text("with several GPUs, divide the model among them: swift.deepspeed=zero3", "有多块 GPU 时，把模型分到各卡：swift.deepspeed=zero3"))

ENTRIES: Mapping[str, Entry] = {
    "python-unsupported": entry(
        "E", Text("this Python is too old for a package that the training needs", "当前 Python 版本低于训练所需软件包的要求"),
        Text("the training's Python is older than the installed ms-swift or flash-attn supports",
             "训练用的 Python 比已安装的 ms-swift 或 flash-attn 所支持的版本旧"),
        "conda create -n swift python=3.11 && conda activate swift && pip install ms-swift", ANOTHER_PYTHON,
        says=Text("Python {python} is too old for {package} {installed}, which needs {minimum} or newer",
                  "Python {python} 对 {package} {installed} 来说太旧：需要 {minimum} 或更新版本")),
    "torch-missing": entry(
        "E", Text("torch is not installed or cannot be imported", "没有安装 torch，或 torch 无法导入"),
        Text("the training's Python has no torch, or `import torch` fails",
             "用于训练的 Python 里没有 torch，或 import torch 失败"),
        "{pip} install --force-reinstall torch", ANOTHER_PYTHON,
        says={"": Says(Text("torch is not installed in the training's Python", "用于训练的 Python 里没有安装 torch"),
                       ("{pip} install torch", ANOTHER_PYTHON)),
              "not imported": Says(Text("torch cannot be imported: {import_error}", "torch 无法导入：{import_error}"),
                                   ("{pip} install --force-reinstall {requirement}", ANOTHER_PYTHON))}),
    "torch-cpu-only": entry(
        "E", Text("the installed torch is a CPU build", "安装的 torch 是 CPU 版本"),
        Text("torch was built without CUDA, but the machine has GPUs or the config asks for flash attention",
             "torch 不含 CUDA，但机器上有 GPU，或配置要用 flash attention"),
        Text(f"on a machine with GPUs: {_CUDA_TORCH}cu128", f"有 GPU 的机器：{_CUDA_TORCH}cu128"),
        Text(f"on a machine without GPUs: {WITHOUT_FLASH_ATTN}", f"没有 GPU 的机器：{WITHOUT_FLASH_ATTN}"),
        says={"": Says(Text("torch {torch} is a CPU build and cannot use a GPU", "torch {torch} 是 CPU 版本，无法使用 GPU"),
                       ("{pip} install --force-reinstall {requirement}",)),
              "amd": Says(Text("torch {torch} is not a ROCm build and cannot use the AMD GPUs here ({gpus}: {architectures})",
                               "torch {torch} 不是 ROCm 版本，无法使用本机的 AMD GPU（{gpus} 块：{architectures}）"),
                          ("{pip} install --force-reinstall torch --index-url https://download.pytorch.org/whl/rocm6.4",)),
              "no gpu": Says(Text("torch {torch} is a CPU build, and this machine has no GPU", "torch {torch} 是 CPU 版本，这台机器也没有 GPU"),
                             (Text("a CUDA build of torch only helps where there is a GPU: run this on such a machine",
                                   "CUDA 版的 torch 只在有 GPU 的机器上有用：请在有 GPU 的机器上运行"),))}),
    "gpu-none": entry(
        "E", Text("torch sees no NVIDIA GPU", "torch 看不到任何 NVIDIA GPU"),
        Text("flash attention is wanted, and the machine has no GPU or a setting hides all of them",
             "需要 flash attention，但机器上没有 GPU，或所有 GPU 都被设置隐藏了"),
        Text("check that the driver sees a GPU: nvidia-smi", "确认驱动能看到 GPU：nvidia-smi"), _ON_A_GPU,
        says={"": Says(Text("flash attention is wanted, but this machine has no GPU", "需要 flash attention，但这台机器没有 GPU"),
                       (_ON_A_GPU, SDPA)),
              "hidden": Says(Text("flash attention is wanted, but {chosen_by}{origin} hides all GPUs of this machine ({gpus})",
                                  "需要 flash attention，但 {chosen_by}{origin} 隐藏了本机的全部 GPU（{gpus} 块）"), ("'launch.gpus=[{indexes}]'", SDPA))}),
    "gpu-not-visible": entry(
        "E", Text("the training asks for a GPU that this machine does not have", "指定了本机没有的 GPU"),
        Text("launch.gpus or CUDA_VISIBLE_DEVICES names a GPU that is not there", "launch.gpus 或 CUDA_VISIBLE_DEVICES 指定了不存在的 GPU"),
        Text("list the GPUs of this machine: nvidia-smi -L", "列出本机的 GPU：nvidia-smi -L"),
        Text("name only these in launch.gpus or CUDA_VISIBLE_DEVICES", "launch.gpus 或 CUDA_VISIBLE_DEVICES 只写其中的编号"),
        says={"": Says(Text("{chosen_by}{origin} asks for GPU {missing}; this machine has GPU {present}",
                            "{chosen_by}{origin} 指定了 GPU {missing}；本机只有 GPU {present}"), ("'launch.gpus=[{indexes}]'",)),
              "no gpu": Says(Text("{chosen_by}{origin} asks for GPU {missing}; this machine has no GPU",
                                  "{chosen_by}{origin} 指定了 GPU {missing}；本机没有 GPU"), (_ON_A_GPU, "launch.gpus=null"))}),
    "gpu-memory-low": entry(
        "W", Text("other processes use the GPU's memory", "GPU 显存已被其他进程占用"),
        Text("a GPU that the training would use has less than 90 % of its memory free", "训练要使用的 GPU 空闲显存不足 90 %"),
        _SEE_MEMORY, Text("or name idle GPUs in launch.gpus", "或在 launch.gpus 中指定空闲的 GPU"),
        says={"": Says(Text("GPU {gpu} has only {free_gib:.1f} of {memory_gib:.1f} GiB free",
                            "GPU {gpu} 的 {memory_gib:.1f} GiB 显存只剩 {free_gib:.1f} GiB 空闲"),
                       (_SEE_MEMORY, Text("or use idle GPUs: 'launch.gpus=[{indexes}]'", "或使用空闲的 GPU：'launch.gpus=[{indexes}]'")))}),
    "gpu-memory-short": entry(
        "EW", Text("the GPU has too little memory for this training", "GPU 显存不够进行这次训练"),
        Text("weights, gradients and the optimizer's states alone take more memory than a GPU has, or the rehearsal foretells more "
             "than it has (error), or over 95 % of it (warning)",
             "仅权重、梯度和优化器状态就超过 GPU 的显存；或预演推算的显存超过其容量（错误），或超过其 95%（警告）"),
        Text("train fewer parameters: swift.tuner_type=lora", "训练更少的参数：swift.tuner_type=lora"),
        Text("divide the model among several GPUs: swift.deepspeed=zero3", "把模型分到多块 GPU：swift.deepspeed=zero3"),
        says={"": Says(Text("GPU {gpu} has {memory_gib:.1f} GiB, but weights ({weights_gib:.1f}), gradients ({gradients_gib:.1f}) and "
                            "optimizer ({optimizer_gib:.1f}) take at least {needed_gib:.1f} GiB of it",
                            "GPU {gpu} 有 {memory_gib:.1f} GiB 显存，但权重（{weights_gib:.1f}）、梯度（{gradients_gib:.1f}）和优化器"
                            "（{optimizer_gib:.1f}）至少需要 {needed_gib:.1f} GiB"),
                       ("{first}", "{second}", "{third}", Text("or train on GPUs with more memory, or a smaller model: swift.model=NAME",
                                                               "或换用显存更大的 GPU，或更小的模型：swift.model=NAME"))),
              "foretold": Says(Text("the training is foretold to take {peak} GiB, and the GPU has {memory} GiB",
                                    "推算训练需要 {peak} GiB 显存，而 GPU 只有 {memory} GiB"), _LESS_MEMORY),
              "rehearsed": Says(Text("the GPU runs out of memory with {depth} of {layers} layers already",
                                     "只用 {layers} 层中的 {depth} 层，GPU 显存就已用完"), _LESS_MEMORY),
              "in small": Says(Text("the GPU runs out of memory in the training in small already", "小规模预演时 GPU 显存就已用完"),
                               _LESS_MEMORY)}),
    "gpu-arch-unsupported": entry(
        "E", Text("flash attention or torch does not support this GPU", "flash attention 或 torch 不支持这块 GPU"),
        Text("attn_impl does not support the GPU's compute capability, or torch has no code for this GPU",
             "所用的 attn_impl 不支持该 GPU 的计算能力，或 torch 不含它的代码"),
        Text(f"on a GPU below compute capability 8.0: {WITHOUT_FLASH_ATTN} swift.torch_dtype=float16",
             f"计算能力低于 8.0 的 GPU：{WITHOUT_FLASH_ATTN} swift.torch_dtype=float16"),
        Text("on a GPU newer than this torch: {pip} install -U torch --index-url https://download.pytorch.org/whl/cu128",
             "GPU 比 torch 新：{pip} install -U torch --index-url https://download.pytorch.org/whl/cu128"),
        says={way: Says(Text("{name} does not run on {unfit}; supported compute capability: {needs}",
                             "{name} 不能在 {unfit} 上运行；支持的计算能力：{needs}"), fix)
              for way, fix in {"": (SDPA,), "flash-attn runs": ("swift.attn_impl=flash_attn", SDPA)}.items()}),
    "gpu-flash-attn-leftover": entry(
        "W", Text("an installed flash-attn can be called on a GPU that is too old for it", "已安装的 flash-attn 可能在不支持它的 GPU 上被调用"),
        Text("the config does not use flash attention, but flash-attn is installed and the GPU's compute capability is below 8.0",
             "配置没有使用 flash attention，但安装了 flash-attn，而 GPU 的计算能力低于 8.0"),
        "{pip} uninstall -y flash-attn",
        says=Text("GPU {gpu} ({capability}) is too old for the installed flash-attn: a model's own code may call it and fail",
                  "GPU {gpu}（{capability}）不支持已安装的 flash-attn：模型自带的代码可能调用它而失败")),
    "driver-too-old": entry(
        "E", Text("the NVIDIA driver is too old for torch or flash-attn", "NVIDIA 驱动对 torch 或 flash-attn 来说太旧"),
        Text("the driver does not support the CUDA version that torch or flash-attn was built with",
             "驱动不支持编译 torch 或 flash-attn 所用的 CUDA 版本"),
        _UPDATE_DRIVER,
        Text(f"if the driver supports CUDA 12.6 at most: {_CUDA_TORCH}cu126", f"如果驱动最高支持 CUDA 12.6：{_CUDA_TORCH}cu126"),
        Text("if it is flash-attn 2.8.1, which needs driver 550: swift-fa install --version '!=2.8.1'",
             "如果是 flash-attn 2.8.1（需要驱动 550）：swift-fa install --version '!=2.8.1'"),
        says={"": Says(Text("the NVIDIA driver {driver} supports CUDA {driver_cuda} at most; torch {torch} was built with CUDA {torch_cuda}",
                            "NVIDIA 驱动 {driver} 最高支持 CUDA {driver_cuda}；torch {torch} 是用 CUDA {torch_cuda} 编译的"), _OLDER_TORCH),
              "number": Says(Text("torch {torch} (CUDA {torch_cuda}) needs NVIDIA driver {minimum} or newer; this machine has {driver}",
                                  "torch {torch}（CUDA {torch_cuda}）需要 NVIDIA 驱动 {minimum} 或更新；本机是 {driver}"), _OLDER_TORCH),
              "flash-attn": Says(Text("flash-attn {flash_attn} needs NVIDIA driver {minimum} or newer to load its kernels; "
                                      "this machine has {driver}",
                                      "flash-attn {flash_attn} 需要 NVIDIA 驱动 {minimum} 或更新才能加载内核；本机是 {driver}"),
                                 ("swift-fa install --version '!={release}'", _UPDATE_DRIVER)),
              "ptx": Says(Text("GPU {gpu} ({capability}) needs flash-attn's PTX, made with CUDA {torch_cuda}; NVIDIA driver "
                               "{driver} supports CUDA {driver_cuda} and cannot compile it",
                               "GPU {gpu}（{capability}）需要 flash-attn 的 PTX（由 CUDA {torch_cuda} 生成）；NVIDIA 驱动 {driver} "
                               "只支持 CUDA {driver_cuda}，无法编译它"), (_UPDATE_DRIVER, FROM_SOURCE))}),
    "shm-small": entry(
        "EW", Text("shared memory (/dev/shm) is full or too small", "共享内存 /dev/shm 已满或太小"),
        Text("several processes train on a node whose /dev/shm is smaller than 1 GiB (an error below 128 MiB)",
             "一个节点上有多个训练进程，而 /dev/shm 不足 1 GiB（小于 128 MiB 时为错误）"),
        Text("start the container with --shm-size=16g or --ipc=host", "启动容器时加 --shm-size=16g 或 --ipc=host"),
        Text("as root: mount -o remount,size=16G /dev/shm", "以 root 执行：mount -o remount,size=16G /dev/shm"),
        Text("load rows without worker processes: swift.dataloader_num_workers=0",
             "不用额外进程加载数据：swift.dataloader_num_workers=0"),
        says=Text("/dev/shm holds only {shm_mib:.0f} MiB for {processes} processes",
                  "/dev/shm 只有 {shm_mib:.0f} MiB，却要供 {processes} 个进程使用")),
    "disk-space-low": entry(
        "E", Text("a disk is full or too small", "磁盘已满或空间不足"),
        Text("a disk has too little free space for the checkpoints, an installation or a build",
             "磁盘剩余空间不够保存检查点、安装或编译"),
        _NEWEST_CHECKPOINT, _LARGER_DISK, _TEMPORARY,
        says={"": Says(Text("{place} has {free_gib:.2f} GiB free; {count} checkpoint(s) of about {each_gib:.1f} GiB need {needed_gib:.1f} GiB",
                            "{place} 剩余 {free_gib:.2f} GiB；{count} 个约 {each_gib:.1f} GiB 的检查点需要 {needed_gib:.1f} GiB"),
                       (_NEWEST_CHECKPOINT,
                        Text("save without the optimizer (the run then cannot be resumed): swift.save_only_model=true",
                             "不保存优化器状态（之后无法续训）：swift.save_only_model=true"), _LARGER_DISK)),
              "datasets": Says(Text("{place} has {free_gib:.1f} GiB free; the datasets' rows are written there and take about "
                                    "{needed_gib:.1f} GiB",
                                    "{place} 剩余 {free_gib:.1f} GiB；数据集的行会写到那里，约需 {needed_gib:.1f} GiB"),
                               (Text("put the cache on a larger disk: export MODELSCOPE_CACHE=FOLDER",
                                     "把缓存放到更大的磁盘：export MODELSCOPE_CACHE=文件夹"),
                                Text("or read the rows one by one: swift.streaming=true swift.max_steps=STEPS",
                                     "或逐行读取：swift.streaming=true swift.max_steps=步数"))),
              "tmp": _no_room(Text("the temporary folder", "临时文件夹"), _TEMPORARY),
              "cache": _no_room(Text("swift-fa's cache folder", "swift-fa 的缓存文件夹"),
                                Text("put the cache on a larger disk: export SWIFT_FA_CACHE=FOLDER",
                                     "把缓存放到更大的磁盘：export SWIFT_FA_CACHE=文件夹")),
              "site_packages": _no_room(Text("the Python environment's disk", "Python 环境所在的磁盘"), "{pip} cache purge",
                                        Text("or train with an environment on a larger disk: launch.python=PATH",
                                             "或使用更大磁盘上的 Python 环境：launch.python=路径"))}),
    "host-memory-low": entry(
        "W", Text("the machine's memory may not be enough", "主机内存可能不够"),
        Text("reading the datasets, or building flash-attn, takes more memory than is available", "读取数据集或编译 flash-attn 所需的内存超过可用内存"),
        Text("read the dataset row by row: swift.streaming=true swift.max_steps=STEPS",
             "逐行读取数据集：swift.streaming=true swift.max_steps=步数"),
        says={"": Text("reading the datasets takes about {needed_gib:.0f} GiB of memory; {available_gib:.1f} GiB are available",
                       "读取数据集大约需要 {needed_gib:.0f} GiB 内存；可用内存只有 {available_gib:.1f} GiB"),
              "build": Says(Text("one compiler job takes 4 GiB of memory or more; {available_gib:.1f} GiB are available",
                                 "一个编译任务需要 4 GiB 以上内存；可用内存只有 {available_gib:.1f} GiB"),
                            (Text("install a ready-made wheel instead of building one: flash_attn.build=never",
                                  "安装预编译的 wheel，不编译：flash_attn.build=never"),))}),
    "windows-unsupported": entry(
        "W", Text("flash-attn cannot be built from source on native Windows", "原生 Windows 上无法从源码编译 flash-attn"),
        Text("flash attention is wanted on native Windows", "在原生 Windows 上需要 flash attention"),
        INSTALL, Text("or use WSL 2: wsl --install", "或使用 WSL 2：wsl --install"),
        says={"": Says(Text("on native Windows flash-attn can be installed as a ready-made wheel only, not built from source",
                            "原生 Windows 上只能安装预编译的 flash-attn wheel，无法从源码编译"),
                       (Text("use WSL 2: wsl --install", "使用 WSL 2：wsl --install"), SDPA))}),
}
