# ruff: noqa: E501  (logs have long lines)
"""Lines of real logs from public threads: (what a right diagnosis may be, source, lines). The lines that decide are real; the
rest is written around them. `START`, `TRAINED` and `ENDED` are what ms-swift says when it begins, has trained and has ended."""

from __future__ import annotations

SITE = "/opt/conda/lib/python3.11/site-packages"
START = (f"run sh: `/opt/conda/bin/python {SITE}/swift/cli/sft.py --model Qwen/Qwen3-8B --dataset d.jsonl`\n"
         "[INFO:swift] rank: 0, local_rank: 0, world_size: 8, local_world_size: 8\n[INFO:swift] swift.__version__: 4.2.0\n")
TRACE = f'Traceback (most recent call last):\n  File "{SITE}/swift/cli/sft.py", line 20, in <module>\n    sft_main()\n'
TORCHRUN = ("E0412 10:11:12.431000 4011 site-packages/torch/distributed/elastic/multiprocessing/api.py:882] failed (exitcode: 1) "
            "local_rank: 0 (pid: 4090) of binary: /opt/conda/bin/python\n"
            "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n")


def step(at: int, loss: str = "", grad: str = "1.21") -> str:
    """Two lines of a training's log."""
    return (f"{{'loss': {loss or 2 - at / 10:.6}, 'grad_norm': {grad}, 'learning_rate': 9e-05, 'epoch': 0.1, "
            f"'global_step/max_steps': '{at}/9'}}\nTrain:  {11 * at}%|██▌      | {at}/9 [00:0{at}<00:09,  1.00s/it]\n")


STEPS = "".join(step(at) for at in range(1, 10))
TRAINED = ("[INFO:swift] Saving model checkpoint to /o/v0-20260901-101500/checkpoint-9\n"
           "{'train_runtime': '126.1', 'train_loss': '0.8123', 'epoch': '1', 'global_step/max_steps': '9/9'}\n"
           "[INFO:swift] last_model_checkpoint: /o/v0-20260901-101500/checkpoint-9\n")
ENDED = "[INFO:swift] End time of running main: 2026-09-01 10:19:31.402131\n"


def at(*frames: str) -> str:
    """Frames of a traceback, each `path:function`, within site-packages."""
    return "".join(f'  File "{SITE}/{path}", line 9, in {name}\n    {name}()\n' for path, name in (f.rsplit(":", 1) for f in frames))


def ranked(text: str, rank: int = 0) -> str:
    return "".join(f"[rank{rank}]: {line}\n" for line in text.splitlines())


FAILED: list[tuple[str, str, str]] = [
    # Packages that a library asks for, or that do not go together
    ("package-missing", "modelscope/ms-swift/issues/3311", START + TRACE + at("swift/llm/model/model/qwen.py:patch_qwen_vl_utils") + "ModuleNotFoundError: No module named 'qwen_vl_utils'\n"),
    ("package-missing", "modelscope/ms-swift/issues/4709", START + TRACE + '[WARNING:swift] Please install the package: pip install "decord" -U\n' + TRACE + "ModuleNotFoundError: No module named 'decord'\n"),
    ("package-missing", "huggingface/trl/issues/2997", START + TRACE + at("transformers/trainer.py:__init__") + "ImportError: You have set `use_liger_kernel` to `True` but liger-kernel >= 0.3.0 is not available. Please install it with `pip install liger-kernel`\n"),
    ("package-missing", "VikhrModels/effective_llm_alignment/pull/2", START + TRACE + "ModuleNotFoundError: No module named 'liger_kernel'\n"),
    ("package-missing", "huggingface/text-generation-inference/issues/1006", START + TRACE + at("transformers/modeling_utils.py:from_pretrained") + "ImportError: Loading GPTQ quantized model requires optimum library : `pip install optimum` and auto-gptq library 'pip install auto-gptq'\n"),
    ("package-missing", "oobabooga/textgen/issues/7007", START + TRACE + at("transformers/quantizers/quantizer_awq.py:validate_environment") + "ImportError: Loading an AWQ quantized model requires auto-awq library (`pip install autoawq`)\n"),
    ("package-missing", "hiyouga/LlamaFactory/issues/2930", START + TRACE + "importlib.metadata.PackageNotFoundError: No package metadata was found for The 'optimum>=1.16.0' distribution was not found and is required by this application. \nTo fix: pip install optimum>=1.16.0\n"),
    ("requirement-conflict", "hiyouga/LlamaFactory/issues/2930", START + TRACE + "ImportError: auto_gptq>=0.5.0 is required for a normal functioning of this module, but found auto_gptq==0.4.2.\nTo fix: pip install auto_gptq>=0.5.0\n"),
    ("requirement-conflict", "modelscope/ms-swift/issues/6371", START + ranked(TRACE + "ImportError: qwen_vl_utils>=0.0.14 is required for a normal functioning of this module, but found qwen_vl_utils==0.0.11.\n")),
    ("requirement-conflict", "IDEA-Research/Rex-Omni/issues/180", START + TRACE + f"ImportError: cannot import name 'apply_liger_kernel_to_qwen2_5_vl' from 'liger_kernel.transformers' ({SITE}/liger_kernel/transformers/__init__.py)\n"),
    ("requirement-conflict", "modelscope/ms-swift/issues/4", START + "RuntimeError: Failed to import swift.tuners.base because of the following error (look up to see its traceback):\ncannot import name 'SAFETENSORS_WEIGHTS_NAME' from 'peft.utils.other' (/w/peft/utils/other.py)\n"),
    ("requirement-conflict", "WoodScene/LDST/issues/2", START + TRACE + at("bitsandbytes/cextension.py:<module>") + "RuntimeError: \n        CUDA Setup failed despite GPU being available. Please run the following command to get more information:\n\n        python -m bitsandbytes\n" + TORCHRUN),
    ("kernel-mismatch", "sgl-project/sglang/pull/26704", TRACE + at("transformers/integrations/hub_kernels.py:<module>") + "ValueError: Either a revision or a version must be specified.\n"),
    ("kernel-missing", "huggingface/kernels/issues/179", START + TRACE + at("kernels/utils.py:_load_kernel_from_path") + "FileNotFoundError: Kernel at path `/root/.cache/huggingface/hub/models--kernels-community--flash-attn2/snapshots/4c6b6ddc` does not have build: torch28-cxx11-cu128-x86_64-linux\n"),
    # Arguments
    ("arg-invalid", "OptimalScale/LMFlow/issues/125", START + TRACE + at("peft/tuners/tuners_utils.py:inject_adapter") + "ValueError: Target modules ['q_proj', 'v_proj'] not found in the base model. Please check the target modules and try again.\n"),
    ("arg-invalid", "wp931120/baichuan_sft_lora/issues/1", START + TRACE + at("peft/tuners/lora.py:_find_and_replace") + "ValueError: Target modules [] not found in the base model. Please check the target modules and try again.\n"),
    ("arg-unknown", "modelscope/ms-swift/issues/5979", START + TRACE + "ValueError: remaining_argv: ['--ld_alpha', '0.8']\n"),
    ("deepspeed-launch", "modelscope/ms-swift/issues/1996", START.replace("--dataset", "--deepspeed default-zero3 --dataset").replace("world_size: 8", "world_size: 1").replace("rank: 0", "rank: -1") + ranked(TRACE + at("torch/nn/functional.py:embedding") + "RuntimeError: 'weight' must be 2-D\n")),
    # Models that cannot be trained so
    ("model-not-trainable", "MiniMax-AI/MiniMax-M2/issues/48", START + TRACE + at("transformers/trainer.py:__init__") + "ValueError: The model you are trying to fine-tune is quantized with fp8 but that quantization method do not support training. Please open an issue on GitHub: https://github.com/huggingface/transformers to request the support for training support for fp8\n"),
    ("model-not-trainable", "unslothai/unsloth/issues/1110", START + TRACE + at("transformers/trainer.py:__init__") + "ValueError: You cannot perform fine-tuning on purely quantized models. Please attach trainable adapters on top of the quantized model to correctly perform fine-tuning.\n"),
    ("model-not-trainable", "huggingface/transformers/issues/28193", START + TRACE + at("peft/tuners/lora/model.py:_create_new_module") + "ValueError: Target module WQLinear_GEMM(in_features=4096, out_features=4096, bias=False, w_bit=4, group_size=128) is not supported. Currently, only the following modules are supported: `torch.nn.Linear`, `torch.nn.Embedding`, `torch.nn.Conv2d`, `transformers.pytorch_utils.Conv1D`.\n"),
    ("model-not-trainable", "hiyouga/LlamaFactory/issues/9101", START + TRACE + at("peft/tuners/lora/model.py:_create_new_module") + "ValueError: Target module TritonV2QuantLinear() is not supported. Currently, only the following modules are supported: `torch.nn.Linear`, `torch.nn.Embedding`, `torch.nn.Conv2d`, `torch.nn.Conv3d`, `transformers.pytorch_utils.Conv1D`.\n"),
    ("model-incomplete model-missing", "modelscope/modelscope/issues/968", START + TRACE + "modelscope.hub.errors.FileIntegrityError: File /root/.cache/modelscope/hub/._____temp/qwen/Qwen2-VL-7B-Instruct/model-00002-of-00002.safetensors integrity check failed, expected sha256 signature is e41d9af0, actual is ec708eee, the download may be incomplete, please try again.\n"),
    # Data
    ("dataset-format", "modelscope/ms-swift/issues/2095", START + ranked(TRACE + at("swift/llm/utils/preprocess.py:preprocess", "datasets/formatting/formatting.py:__getitem__") + "KeyError: 'messages' \n")),
    ("dataset-format", "modelscope/ms-swift/issues/9267", START + "[INFO:swift] Dataset filtered, origin length: 10, filtered dataset length: 0\n[INFO:swift] train_dataset: None\n[INFO:swift] val_dataset: None\n" + TRACE + at("swift/pipelines/train/sft.py:_show_dataset") + "TypeError: object of type 'NoneType' has no len()\n"),
    ("dataset-missing", "huggingface/datasets/issues/6488", START + TRACE + at("datasets/load.py:load_dataset") + "requests.exceptions.HTTPError: 429 Client Error: Too Many Requests for url: https://huggingface.co/datasets/cerebras/SlimPajama-627B/resolve/2d0accdd/train/chunk1/example_train_3300.jsonl.zst\n"),
    ("rows-too-long", "modelscope/ms-swift/issues/6557", START + ranked(TRACE + at("swift/llm/template/base.py:_encode_truncated") + "swift.llm.template.base.MaxLengthError: Current length of row(7756) is larger than the max_length(4096).\n", 5) + TORCHRUN),
    # Kernels
    ("flash-attn-head-dim", "NovaSky-AI/SkyRL/issues/1564", START + TRACE + at("transformers/models/gemma4/modeling_gemma4.py:forward", "flash_attn/flash_attn_interface.py:_flash_attn_forward") + "RuntimeError: FlashAttention forward only supports head dimension at most 256\n"),
    ("flash-attn-head-dim", "modelscope/ms-swift/issues/6617", START + TRACE + "RuntimeError: This flash attention build does not support headdim not being a multiple of 32.\n"),
    ("flash-attn-head-dim gpu-arch-unsupported", "modelscope/ms-swift/issues/9", START + TRACE + at("flash_attn/flash_attn_interface.py:_flash_attn_backward") + "RuntimeError: FlashAttention backward for head dim > 64 requires A100 or H100 GPUs as the implementation needs a large amount of shared memory.\n"),
    ("gpu-arch-unsupported", "Dao-AILab/flash-attention/issues/1853", START + TRACE + "AssertionError: FA version 3 is not supported due to FA3 is only supported on devices with compute capability >= 8 excluding 8.6 and 8.9 and Blackwell archs (>=10)\n"),
    ("flash-attn-missing flash-attn-shadowed", "huggingface/transformers/issues/44559", START + TRACE + at("transformers/modeling_flash_attention_utils.py:_lazy_imports") + "ImportError: cannot import name 'flash_attn_func' from 'flash_attn' (unknown location)\n"),
    ("flash-attn-import-failed requirement-conflict package-missing flash-attn-variant-missing", "Dao-AILab/flash-attention/issues/2205", START + TRACE + at("flash_attn/cute/flash_fwd.py:<module>") + "ModuleNotFoundError: No module named 'quack'\n"),
    ("flash-attn-import-failed requirement-conflict", "NovaSky-AI/SkyRL/pull/2132", START + TRACE + at("flash_attn/cute/flash_fwd.py:<module>") + "AttributeError: module 'cutlass.cute' has no attribute 'ThrMma'\n"),
    ("flash-attn-cuda-mismatch", "Dao-AILab/flash-attention/issues/2118", "PyTorch: 2.9.1+cu130\n" + TRACE + at("flash_attn/flash_attn_interface.py:<module>") + "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory\n"),
    ("flash-attn-torch-mismatch", "Dao-AILab/flash-attention/issues/867", "Failed to import transformers.models.qwen2.modeling_qwen2 because of the following error (look up to see its traceback):\n/w/site-packages/flash_attn-2.5.5-py3.10-linux-x86_64.egg/flash_attn_2_cuda.cpython-310-x86_64-linux-gnu.so: undefined symbol: _ZN2at4_ops15sum_IntList_out4callERKNS_6TensorEN3c1016OptionalArrayRefIlEEbSt8optionalINS5_10ScalarTypeEERS2_\n"),
    ("flash-attn-dtype", "modelscope/ms-swift/issues/2850", START + ranked(TRACE + at("flash_attn/flash_attn_interface.py:_flash_attn_forward") + "RuntimeError: FlashAttention only support fp16 and bf16 data type\n")),
    ("nvcc-too-old", "triton-lang/triton/issues/8539", START + TRACE + "triton.runtime.errors.PTXASError: PTXAS error: Internal Triton PTX codegen error\n`ptxas` stderr:\nptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'\n\nRepro command: /w/triton/backends/nvidia/bin/ptxas -lineinfo -v --gpu-name=sm_121a /tmp/tmpkw7ug6t8.ptx\n"),
    # Machines
    ("gpu-none driver-too-old", "huggingface/huggingface_hub/issues/4134", START + TRACE + at("torch/cuda/__init__.py:_lazy_init") + "RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling NumCudaDevices() that might have already set an error? Error 802: system not yet initialized\n"),
    ("gpu-arch-unsupported", "pytorch/pytorch/issues/152077", START + f"{SITE}/torch/cuda/__init__.py:173: UserWarning: \nNVIDIA GeForce RTX 5090 with CUDA capability sm_120 is not compatible with the current PyTorch installation.\n" + TRACE + "RuntimeError: NCCL Error 1: unhandled cuda error\n"),
    ("gpu-arch-unsupported", "ROCm/flash-attention/issues/24", "PyTorch version: 2.3.0+rocm6.0\n" + TRACE + at("flash_attn/flash_attn_interface.py:_flash_attn_forward") + "RuntimeError: FlashAttention only supports AMD MI200 GPUs or newer.\n"),
    ("gpu-arch-unsupported rocm-build", "pccr10001/comfyui-gfx1151-fa/issues/3", TRACE + at("flash_attn/flash_attn_interface.py:_flash_attn_forward") + "RuntimeError: FlashAttention currently only supports MI100 and RX7000 and above\n"),
    ("rocm-build gpu-arch-unsupported", "ROCm/flash-attention/issues/93", "Building wheels for collected packages: flash-attn\n  torch.__version__  = 2.4.0+rocm6.2\n      RuntimeError: gfx1100 is invalid or not supported by Flash-Attention\n      [end of output]\n"),
    ("flash-attn-missing", "huggingface/transformers/pull/36383", "[2026-01-08 09:21:44,813] [INFO] [real_accelerator.py:254:get_accelerator] Setting ds_accelerator to npu (auto detect)\n" + START + TRACE + "ImportError: FlashAttention2 has been toggled on, but it cannot be used due to the following error: the package flash_attn seems to be not installed. Please refer to the documentation of https://huggingface.co/docs/transformers/perf_infer_gpu_one#flashattention-2 to install Flash Attention 2.\n"),
    # Several processes
    ("nccl-network", "NVIDIA/nccl/issues/2013", START + "[2026-03-13 22:26:02] host-01:4001 [5] ibvwrap.c:262 NCCL WARN Call to ibv_modify_qp failed with 110 Connection timed out, on dev mlx_5:1, curr state INIT, next state RTR, local GID index 3, local GID ::ffff:10.1.1.1, remote GID ::ffff:10.1.1.2\n" + ranked(TRACE + "torch.distributed.DistBackendError: NCCL error in: /pytorch/torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:3353, unhandled system error (run with NCCL_DEBUG=INFO for details), NCCL version 2.27.3\n")),
    ("nccl-network", "NVIDIA/nccl/issues/426", START + "worker-1:946:988 [0] transport/net_ib.cc:839 NCCL WARN NET/IB : Got completion with error 12, opcode 1, len 0, vendor err 129\n" + ranked(TRACE + "RuntimeError: NCCL error in: ProcessGroupNCCL.cpp:784, unhandled system error, NCCL version 2.7.8\n")),
    ("nccl-network", "marin-community/marin/issues/6940", START + "n1:11:11 [0] bootstrap.cc:45 NCCL WARN Bootstrap : no socket interface found\n" + ranked(TRACE + "torch.distributed.DistBackendError: NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.hpp:328, invalid usage (run with NCCL_DEBUG=WARN for details), NCCL version 2.21.5\n")),
    ("nccl-network", "NVIDIA/nccl/issues/1105", START + "ps-8:795:822 [0] include/socket.h:409 NCCL WARN Net : Connect to 192.168.1.9<54263> failed : No route to host\n" + ranked(TRACE + "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1269, unhandled system error, NCCL version 2.14.3\nncclSystemError: System call (e.g. socket, malloc) or external library call failed or device error.\n")),
    ("nccl-network", "NVIDIA/nccl/issues/1837", START + "n1:1958:1958 [3] NCCL INFO NCCL_SOCKET_IFNAME set by environment to eth2\n[trainer0|0]:ncclInternalError: Internal check failed.\n[trainer0|0]:Last error:\n[trainer0|0]:ncclSocketInit: connecting to address  with family 59936 is neither AF_INET(2) nor AF_INET6(10)\n"),
    ("nccl-network nccl-timeout", "ray-project/ray_lightning/issues/24", START + "z-pc:909608:910337 [0] transport/p2p.cc:238 NCCL WARN failed to open CUDA IPC handle : 217 peer access is not supported between these two devices\n" + TRACE + "RuntimeError: NCCL error in: ProcessGroupNCCL.cpp:784, unhandled cuda error, NCCL version 2.7.8\n"),
    ("rendezvous-timeout", "pytorch/pytorch/issues/107021", "[E socket.cpp:860] [c10d] The client socket has timed out after 60s while trying to connect to 192.0.0.1:1234\ntorch.distributed.elastic.rendezvous.api.RendezvousConnectionError: The connection to the C10d store has failed. See inner exception for details.\n"),
    ("rendezvous-timeout", "ymcui/Chinese-LLaMA-Alpaca-2/issues/274", "WARNING:torch.distributed.launcher.api:config has no run_id, generated a random run_id: 17458\n" + TRACE + at("torch/distributed/elastic/rendezvous/dynamic_rendezvous.py:next_rendezvous") + "torch.distributed.elastic.rendezvous.api.RendezvousTimeoutError\n"),
    ("nccl-timeout", "modelscope/ms-swift/issues/5409", START + step(3) + "[rank2]:[E816 00:34:01.133910474 ProcessGroupNCCL.cpp:629] [Rank 2] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=137429, OpType=_ALLGATHER_BASE, NumelIn=71552, NumelOut=572416, Timeout(ms)=600000) ran for 600004 milliseconds before timing out.\n"),
    ("nccl-timeout", "hiyouga/LlamaFactory/pull/975", START + TRACE + "RuntimeError: npuSynchronizeDevice:/usr1/02/torch_npu/csrc/core/npu/NPUStream.cpp:370 NPU error, error code is 107020.\nEI0002: The wait execution of the Notify register times out. Reason: The Notify register has not received the Notify record from remote rank [4294967295].\n"),
    ("nccl-timeout rendezvous-timeout nccl-network", "vllm-project/vllm-ascend/issues/486", START + ranked(TRACE + "RuntimeError: InnerRunOpApi:torch_npu/csrc/framework/OpParamMaker.cpp:281 OPS function error: HcclAllreduce, error code is 6\n[ERROR] 2025-04-08-18:07:20 (PID:1292363, Device:1, RankID:1) ERR01100 OPS call acl api failed.\nEI0006: [PID: 1292363] 2025-04-08-18:07:20.444.436 Getting socket times out. Reason: Remote Rank did not send the data in time.\n", 1)),
    ("interrupted", "modelscope/ms-swift/issues/8315", START + step(3) + TRACE + "torch.distributed.elastic.multiprocessing.api.SignalException: Process 3952512 got signal: 1\n"),
    ("unknown", "modelscope/ms-swift/issues/1506", START + "E0726 10:11:12.431000 4011 torch/distributed/elastic/multiprocessing/api.py:826] failed (exitcode: -11) local_rank: 5 (pid: 11514) of binary: /w/python\n"),
    # Checkpoints
    ("checkpoint-world-size", "deepspeedai/DeepSpeed/issues/6441", START + ranked(TRACE + at("deepspeed/runtime/engine.py:_load_zero_checkpoint") + "deepspeed.runtime.zero.utils.ZeRORuntimeException: The checkpoint being loaded used a DP world size of 8 but the current world size is 16. Automatic adjustment of ZeRO's optimizer state partitioning with a new world size is not currently supported.\n", 5)),
    ("checkpoint-unloadable", "hiyouga/LlamaFactory/issues/8379", START + TRACE + at("transformers/trainer.py:_load_optimizer_and_scheduler") + "ValueError: Due to a serious vulnerability issue in `torch.load`, even with `weights_only=True`, we now require users to upgrade torch to at least v2.6 in order to use the function.\n"),
    # SwanLab
    ("swanlab-login-failed", "SwanHubX/SwanLab/issues/1313", START + "swanlab: swanlab api error ('Trace id: mh0g73vh1nlvdo4r', 'POST https://api.swanlab.cn/api/house/metrics', '401 Authorization Required')\n"),
    ("swanlab-login-failed", "SwanHubX/SwanLab/issues/1715", START + TRACE + at("swanlab/sdk/internal/run.py:init") + "swanlab: [ERR] code=Unauthorized message=未经授权\n"),
    ("swanlab-login-failed", "SwanHubX/SwanLab/pull/1620", "2026-05-13 12:44:59.625 | ERROR    | swanlab.sdk.internal.pkg.safe:block:101 - run start error: request:589 -> send:138 -> \nApiError: API Request Failed: [Unauthorized] 未经授权 | Trace ID: mp3ksq76r4vg8u97 | POST https://api.swanlab.cn/api/project\n"),
    # Building and installing
    ("install-cross-device", "easybuilders/easybuild-easyconfigs/pull/21083", "Building wheels for collected packages: flash-attn\n  Building wheel for flash-attn (setup.py): started\n  running bdist_wheel\n  Guessing wheel URL:  https://github.com/Dao-AILab/flash-attention/releases/download/v2.6.3/flash_attn-2.6.3+cu123torch2.1cxx11abiTRUE-cp311-cp311-linux_x86_64.whl\n  Raw wheel path /tmp/eb/pip-wheel-teg_ahm9/flash_attn-2.6.3-cp311-cp311-linux_x86_64.whl\n  error: [Errno 18] Invalid cross-device link: 'flash_attn-2.6.3+cu123torch2.1cxx11abiTRUE-cp311-cp311-linux_x86_64.whl' -> '/tmp/eb/flash_attn-2.6.3-cp311-cp311-linux_x86_64.whl'\n  ERROR: Failed building wheel for flash-attn\n"),
    ("install-cross-device", "Dao-AILab/flash-attention/issues/2213", " Building wheel for flash-attn (pyproject.toml) ... error\n  error: subprocess-exited-with-error\n      torch.__version__  = 2.8.0+cu126\n      running bdist_wheel\n      Guessing wheel URL:  https://github.com/Dao-AILab/flash-attention/releases/download/v2.8.3/flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-cp313-cp313-linux_x86_64.whl\n      OSError: [Errno 18] Invalid cross-device link: 'flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-cp313-cp313-linux_x86_64.whl' -> '/.cache/pip/wheels/85/41/flash_attn-2.8.3-cp313-cp313-linux_x86_64.whl'\n      [end of output]\n  ERROR: Failed building wheel for flash-attn\n"),
    ("nvcc-torch-mismatch", "Dao-AILab/flash-attention/issues/2783", "Building wheels for collected packages: flash-attn\n      RuntimeError: ('The detected CUDA version (%s) mismatches the version that was used to compilePyTorch (%s). Please make sure to use the same CUDA versions.', '12.6', '13.0')\n      [end of output]\n"),
    ("nvcc-too-old", "haotian-liu/LLaVA/issues/1369", "Collecting flash-attn\n  Preparing metadata (setup.py) ... error\n      fatal: not a git repository (or any of the parent directories): .git\n      RuntimeError: FlashAttention is only supported on CUDA 11.6 and above.  Note: make sure nvcc has a supported version by running nvcc -V.\n      torch.__version__  = 2.1.2+cu121\n      [end of output]\nerror: metadata-generation-failed\n"),
    ("gcc-unsupported", "Dao-AILab/flash-attention/issues/246", "Building wheels for collected packages: flash-attn\n      RuntimeError: The current installed version of g++ (4.8.5) is less than the minimum required version by CUDA 11.7 (6.0.0). Please make sure to use an adequate version of g++ (>=6.0.0, <12.0).\n"),
    # What exit code 0 hides
    ("loss-degenerate", "modelscope/ms-swift/issues/4711", START + "".join(step(i, "0.0", "0.0") for i in range(1, 10)) + TRAINED + ENDED),
    ("loss-degenerate", "modelscope/ms-swift/issues/2283", START + "".join(step(i, "0.0", "nan") for i in range(1, 10)) + TRAINED + ENDED),
    ("loss-degenerate", "modelscope/ms-swift/issues/923", START + "".join(step(i, "nan", "nan") for i in range(1, 10)) + TRAINED + ENDED),
    ("nothing-trained", "modelscope/ms-swift/issues/3863", START + "[WARNING:swift] No training was carried out, which may be due to the dataset being too small or incorrect usage of resume_from_checkpoint.\n" + ENDED),
]

#: Trainings that went well, whatever their log says on the way.
HARMLESS: list[tuple[str, str]] = [
    ("modelscope/ms-swift/issues/22", "`use_cache=True` is incompatible with gradient checkpointing. Setting `use_cache=False`.\n" + STEPS),
    ("modelscope/ms-swift/issues/6557", TRACE + "swift.llm.template.base.MaxLengthError: Current length of row(4102) is larger than the max_length(4096).\n" + STEPS),
    ("modelscope/ms-swift/issues/2280", step(1) + "[h264 @ 0x7fc648030400] mmco: unref short failure\n" + STEPS),
    ("modelscope/ms-swift/issues/5947", f"WARNING 09-25 09:08:19 [_custom_ops.py:21] Failed to import from vllm._C with ImportError('{SITE}/vllm/_C.abi3.so: undefined symbol: _ZN3c108ListType3getERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEENS_4Type24SingletonOrSharedTypePtrIS9_EE')\n" + STEPS),
    ("modelscope/ms-swift/issues/6671", "The fast path is not available because one of the required library is not installed. Falling back to torch implementation. To install follow https://github.com/fla-org/flash-linear-attention#installation and https://github.com/Dao-AILab/causal-conv1d\n" + STEPS),
    ("hiyouga/LlamaFactory/issues/2385", "Warning: import flash_attn rotary fail, please install FlashAttention rotary to get higher efficiency https://github.com/Dao-AILab/flash-attention/tree/main/csrc/rotary\nWarning: import flash_attn rms_norm fail, please install FlashAttention layer_norm to get higher efficiency\n" + STEPS),
    ("NVIDIA/nccl-tests/issues/188", "user:169131:169131 [6] NCCL INFO NET/Plugin : Plugin load (libnccl-net.so) returned 2 : libnccl-net.so: cannot open shared object file: No such file or directory\nuser:169131:169131 [6] NCCL INFO NET/Plugin : No plugin found, using internal implementation\nps-8:796:796 [1] NCCL INFO NET/IB : No device found.\n" + STEPS),
    ("deepspeedai/DeepSpeed/issues/5677", "[2024-06-26 11:41:45,126] [WARNING] [real_accelerator.py:162:get_accelerator] Setting accelerator to CPU. If you have GPU or other accelerator, we were unable to detect it.\n [WARNING]  async_io: please install the libaio-dev package with apt\n [WARNING]  please install triton==1.0.0 if you want to use sparse attention\n" + STEPS),
    ("bitsandbytes-foundation/bitsandbytes/issues/1559", "Could not load bitsandbytes native library: /w/bitsandbytes/libbitsandbytes_cpu.so: cannot open shared object file: No such file or directory\n" + TRACE + "OSError: /w/bitsandbytes/libbitsandbytes_cpu.so: cannot open shared object file: No such file or directory\n" + STEPS),
    ("modelscope/ms-swift/issues/3662", "".join(step(i, "0.0", f"0.{i}31") for i in range(1, 10))),  # GRPO begins with a loss of 0
    ("modelscope/ms-swift/issues/2436", "".join(step(i, "", "nan" if i == 4 else "1.3") for i in range(1, 10))),
    ("modelscope/ms-swift/issues/3042", "ERROR: pip's dependency resolver does not currently take into account all the packages that are installed. This behaviour is the source of the following dependency conflicts.\ncnstd 1.2.3 requires opencv-python>=4.0.0, which is not installed.\nSuccessfully installed ms-swift-3.1.0\n" + STEPS),
    ("modelscope/ms-swift/issues/8220", STEPS + "[rank0]:[W306 11:43:17.903446885 ProcessGroupNCCL.cpp:1476] Warning: WARNING: destroy_process_group() was not called before program exit, which can leak resources.\n"),
    ("DAMO-NLP/decord", '[WARNING:swift] Please install the package: `pip install "decord" -U`.\n' + STEPS),
    ("huggingface/transformers/issues/45399", "You do not have `flash_attn` installed, using `kernels-community/flash-attn2` from the `kernels` library instead!\n" + STEPS),
]
