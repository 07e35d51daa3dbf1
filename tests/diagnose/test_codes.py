# ruff: noqa: E501  (logs have long lines)
"""Every code that a log can show, in logs written in the shape of real ones; the first diagnosis must be it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from diagnose.found_logs import ENDED, FAILED, HARMLESS, TRAINED
from open_cases import expected

from swift_fa_launcher.diagnose.diagnosis import diagnose
from swift_fa_launcher.diagnose.signatures import SIGNATURES
from swift_fa_launcher.errors import render_words
from swift_fa_launcher.findings.table import AREA_OF, TABLE

COMPUTED = {"failed-after-training", "loss-degenerate"}  # from more than one line
SITE = "/opt/env/lib/python3.11/site-packages"
START = (f"run sh: `/opt/env/bin/python {SITE}/swift/cli/sft.py --model Qwen/Qwen2.5-7B-Instruct --dataset d.jsonl`\n"
         "[INFO:swift] rank: -1, local_rank: -1, world_size: 1, local_world_size: 1\n"
         "[INFO:swift] Loading the model using model_dir: /models/Qwen2.5-7B-Instruct\n")
TORCHRUN = ("W0612 17:10:55.201000 911 torch/distributed/elastic/multiprocessing/api.py:900] Sending process 981 closing "
            "signal SIGTERM\nE0612 17:10:57.316000 911 torch/distributed/elastic/multiprocessing/api.py:874] failed "
            "(exitcode: 1) local_rank: 0 (pid: 980) of binary: /opt/env/bin/python\n"
            "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n")


def trace(last: str, *frames: str, head: str = "") -> str:
    """A traceback through `frames` (file:function) that ends in `last`."""
    lines = [f'  File "{f.rsplit(":", 1)[0]}", line {20 + i}, in {f.rsplit(":", 1)[1]}\n    {f.rsplit(":", 1)[1]}()\n'
             for i, f in enumerate((f"{SITE}/swift/cli/sft.py:<module>", *frames))]
    return f"{head}Traceback (most recent call last):\n{''.join(lines)}{last}\n"


def flash(last: str) -> str:
    return START + trace(last, f"{SITE}/transformers/modeling_utils.py:from_pretrained", f"{SITE}/flash_attn/__init__.py:<module>",
                         f"{SITE}/flash_attn/flash_attn_interface.py:<module>")


def kernel(last: str, who: str = "") -> str:
    return trace(last, f"{SITE}/transformers/trainer.py:train", f"{SITE}/flash_attn/flash_attn_interface.py:_flash_attn_forward",
                 head="Train:   0%|          | 0/96 [00:00<?, ?it/s]\n").replace("\n", f"\n{who}")


def data(last: str) -> str:
    return START + trace(last, f"{SITE}/swift/dataset/loader.py:load_dataset", f"{SITE}/datasets/load.py:load_dataset")


def loading(last: str) -> str:
    return START + trace(last, f"{SITE}/swift/model/register.py:get_model", f"{SITE}/transformers/modeling_utils.py:from_pretrained")


def resume(last: str) -> str:
    return START + trace(last, f"{SITE}/transformers/trainer.py:_inner_training_loop",
                         f"{SITE}/transformers/trainer.py:_load_optimizer_and_scheduler")


def swanlab(last: str) -> str:
    return START + trace(last, f"{SITE}/transformers/trainer_callback.py:on_train_begin",
                         f"{SITE}/swanlab/integration/transformers.py:setup", f"{SITE}/swanlab/sdk/cmd/init.py:init")


def build(*output: str) -> str:
    """pip failing to build flash-attn, with what its setup.py printed."""
    inner = "".join(f"      {line}\n" for text in output for line in text.splitlines())
    return ("Collecting flash-attn\n  Downloading flash_attn-2.8.3.tar.gz (8.4 MB)\n"
            "Building wheels for collected packages: flash-attn\n  Building wheel for flash-attn (setup.py) ... error\n"
            "  error: subprocess-exited-with-error\n  \n  × python setup.py bdist_wheel did not run successfully.\n"
            f"  │ exit code: 1\n  ╰─> [40 lines of output]\n      torch.__version__  = 2.8.0+cu128\n{inner}      [end of output]\n"
            "  ERROR: Failed building wheel for flash-attn\nFailed to build flash-attn\n"
            "error: failed-wheel-build-for-install\n")


GUESS = ("running bdist_wheel\nGuessing wheel URL:  https://github.com/Dao-AILab/flash-attention/releases/download/v2.8.3/"
         "flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-cp311-cp311-linux_x86_64.whl")
SOURCE = f"{GUESS}\nPrecompiled wheel not found. Building from source...\nrunning build_ext\nbuilding 'flash_attn_2_cuda' extension"
THEN_404 = ('Traceback (most recent call last):\n  File "/tmp/pip-install-x/flash-attn_1/setup.py", line 486, in run\n'
            "    urllib.request.urlretrieve(wheel_url, wheel_filename)\nurllib.error.HTTPError: HTTP Error 404: Not Found\n\n"
            "During handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n"
            '  File "/opt/env/lib/python3.11/site-packages/torch/utils/cpp_extension.py", line 2100, in _run_ninja_build\n'
            "subprocess.CalledProcessError: Command '['ninja', '-v']' returned non-zero exit status 1.\n"
            "RuntimeError: Error compiling objects for extension")
EXT = f"{SITE}/flash_attn_2_cuda.cpython-311-x86_64-linux-gnu.so"
WATCHDOG = ("[rank{r}]:[E524 03:42:41.042942112 ProcessGroupNCCL.cpp:632] [Rank {r}] Watchdog caught collective operation "
            "timeout: WorkNCCL(SeqNum=57, OpType=BROADCAST, NumelIn=1, NumelOut=1, Timeout(ms)=1800000) ran for 1800015 "
            "milliseconds before timing out.\n")


def connect(host: str, path: str, why: str = "Failed to establish a new connection: [Errno 101] Network is unreachable") -> str:
    return (f"requests.exceptions.ConnectionError: HTTPSConnectionPool(host='{host}', port=443): Max retries exceeded with "
            f"url: {path} (Caused by NewConnectionError('<urllib3.connection.HTTPSConnection object at 0x7f>: {why}'))")


LOGS: list[tuple[str, str]] = [
    # Machine and interpreter
    ("python-unsupported", "ERROR: Package 'ms-swift' requires a different Python: 3.7.16 not in '>=3.8.0'\n"),
    ("python-unsupported", START + trace("TypeError: 'type' object is not subscriptable", "/w/swift/utils/env.py:<module>")),
    ("python-unsupported", START + trace("TypeError: unsupported operand type(s) for |: 'type' and 'NoneType'", "/w/a.py:<module>")),
    ("torch-missing", trace("ModuleNotFoundError: No module named 'torch'", "/w/swift/utils/torch_utils.py:<module>")),
    ("torch-missing", trace("ImportError: libcudnn.so.9: cannot open shared object file: No such file or directory", f"{SITE}/torch/__init__.py:<module>")),
    ("torch-missing", trace(f"ImportError: {SITE}/torch/lib/libtorch_cuda.so: undefined symbol: ncclCommRegister", f"{SITE}/torch/__init__.py:<module>")),
    ("torch-cpu-only", loading("AssertionError: Torch not compiled with CUDA enabled")),
    ("torch-cpu-only", build('Traceback (most recent call last):\n  File "/tmp/pip-install-q/flash-attn_1/setup.py", line 288, in <module>\n'
                             "    torch_cuda_version = parse(torch.version.cuda)\nTypeError: expected string or bytes-like object, got 'NoneType'")),
    ("gpu-none", loading("RuntimeError: No CUDA GPUs are available")),
    ("gpu-none", loading("RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU")),
    ("gpu-not-visible", loading("RuntimeError: CUDA error: invalid device ordinal")),
    ("nproc-exceeds-gpus", "[rank3]: " + trace("torch.AcceleratorError: CUDA error: invalid device ordinal", "/w/a.py:set_device").replace("\n", "\n[rank3]: ") + "\n" + TORCHRUN),
    ("nproc-exceeds-gpus", loading("torch.distributed.DistBackendError: NCCL error in: NCCLUtils.cpp:77, invalid usage\nDuplicate GPU detected : rank 1 and rank 0 both on CUDA device 5000")),
    ("gpu-memory-low", START + trace("ValueError: Free memory on device (3.1/79.1 GiB) on startup is less than desired GPU memory utilization (0.9, 71.2 GiB).", "/w/vllm/gpu_worker.py:init_device")),
    ("gpu-arch-unsupported", kernel("RuntimeError: FlashAttention only supports Ampere GPUs or newer.")),
    ("gpu-arch-unsupported", loading("ValueError: FlashAttention2 requires compute capability >= 8, but found (7, 0) with compute capability 7.x")),
    ("gpu-arch-unsupported", f"{SITE}/torch/cuda/__init__.py:262: UserWarning: \nNVIDIA GeForce RTX 5090 with CUDA capability sm_120 is not compatible with the current PyTorch installation.\n"
     + loading("RuntimeError: CUDA error: no kernel image is available for execution on the device")),
    ("gpu-flash-attn-leftover", START.replace("--dataset", "--attn_impl sdpa --dataset") + kernel("RuntimeError: FlashAttention only supports Ampere GPUs or newer.")),
    ("driver-too-old", loading("RuntimeError: The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver")),
    ("driver-too-old", loading("RuntimeError: CUDA error: CUDA driver version is insufficient for CUDA runtime version")),
    ("driver-too-old", f"{SITE}/torch/cuda/__init__.py:174: UserWarning: CUDA initialization: The NVIDIA driver on your system is too old (found version 12080).\n"
     + START + trace("ValueError: Your setup doesn't support bf16/gpu. You need to assign use_cpu if you want to train the model on CPU.", "/w/training_args.py:__post_init__")),
    ("driver-too-old", kernel("torch.AcceleratorError: CUDA error: device kernel image is invalid", "[rank0]: ")),
    ("shm-small", START + trace("RuntimeError: DataLoader worker (pid 4123) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory.", "/w/a.py:f")),
    ("shm-small", START + "gpu-3:88:412 [0] misc/shmutils.cc:87 NCCL WARN Error: failed to extend /dev/shm/nccl-Qx to 33030532 bytes, error: No space left on device (28)\n"
     + trace("torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:3384, unhandled system error", "/w/a.py:barrier")),
    ("disk-space-low", START + trace("OSError: [Errno 28] No space left on device: '/data/out/checkpoint-300/model.safetensors'", "/w/trainer.py:_save_checkpoint")),
    ("disk-space-low", START + trace("RuntimeError: [enforce fail at inline_container.cc:664] . unexpected pos 704 vs 604", "/w/torch/serialization.py:save")),
    ("disk-space-low", "ERROR: Could not install packages due to an OSError: [Errno 122] Disk quota exceeded\n"),
    ("windows-unsupported", build("nvcc fatal   : Cannot find compiler 'cl.exe' in PATH")),
    # flash-attn as installed
    ("flash-attn-missing", loading("ImportError: FlashAttention2 has been toggled on, but it cannot be used due to the following error: the package for FlashAttention2 doesn't seem to be installed.")),
    ("flash-attn-missing", loading("ImportError: FlashAttention2 has been toggled on, but it cannot be used due to the following error: the package flash_attn seems to be not installed. Please refer to the documentation")),
    ("flash-attn-missing", loading("ModuleNotFoundError: No module named 'flash_attn'")),
    ("flash-attn-missing", loading("ImportError: This modeling file requires the following packages that were not found in your environment: flash_attn. Run `pip install flash_attn`")),
    ("flash-attn-missing", loading("ImportError: cannot import name 'flash_attn_func' from 'flash_attn' (unknown location)")),
    ("flash-attn-extension-missing", flash("ModuleNotFoundError: No module named 'flash_attn_2_cuda'")),
    ("flash-attn-shadowed", trace("ModuleNotFoundError: No module named 'flash_attn_2_cuda'", "/home/u/flash-attention/flash_attn/flash_attn_interface.py:<module>")),
    ("flash-attn-shadowed", loading("ModuleNotFoundError: No module named 'flash_attn.bert_padding'; 'flash_attn' is not a package")),
    ("flash-attn-shadowed", loading("ValueError: flash_attn.__spec__ is None")),
    ("flash-attn-python-mismatch", flash(f"ImportError: {EXT}: undefined symbol: _PyThreadState_UncheckedGet")),
    ("flash-attn-abi-mismatch", flash(f"ImportError: {EXT}: undefined symbol: _ZN3c105ErrorC2ENS_14SourceLocationESs")),
    ("flash-attn-abi-mismatch", flash(f"ImportError: {EXT}: undefined symbol: _ZN3c106detail14torchCheckFailEPKcS2_jRKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE")),
    ("flash-attn-torch-mismatch", flash(f"ImportError: {EXT}: undefined symbol: _ZN3c104cuda9SetDeviceEi")),
    ("flash-attn-torch-mismatch", flash(f"ImportError: {EXT}: undefined symbol: _ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_ib")),
    ("flash-attn-torch-mismatch", flash(f"ImportError: {EXT}: undefined symbol: _ZN2at4_ops9_pad_enum4callERKNS_6TensorEN3c108ArrayRefINS5_6SymIntEEElNS5_8optionalIdEE")),
    ("flash-attn-cuda-mismatch", flash("ImportError: libcudart.so.13: cannot open shared object file: No such file or directory")),
    ("flash-attn-glibc-too-new", flash(f"ImportError: /lib64/libc.so.6: version `GLIBC_2.32' not found (required by {EXT})")),
    ("flash-attn-glibc-too-new", flash(f"ImportError: /lib64/libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by {EXT})")),
    ("flash-attn-arch-missing", kernel("RuntimeError: CUDA error: no kernel image is available for execution on the device")),
    ("flash-attn-arch-missing", START + "CUDA error (/build/flash-attn/csrc/flash_attn/src/flash_fwd_launch_template.h:184): no kernel image is available for execution on the device\n"),
    ("flash-attn-too-old", loading("ImportError: FlashAttention2 has been toggled on, but it cannot be used due to the following error: FlashAttention2 requires at least version `2.3.3`.")),
    ("flash-attn-too-old", loading("ImportError: you need flash_attn package version to be greater or equal than 2.1.0. Detected version 2.0.8.")),
    ("flash-attn-import-failed", flash("ImportError: DLL load failed while importing flash_attn_2_cuda: The specified module could not be found.")),
    ("flash-attn-import-failed", trace("ModuleNotFoundError: No module named 'flash_attn.flash_attention'", "/w/a.py:<module>")),
    ("flash-attn-probe-failed", kernel("RuntimeError: CUDA error: an illegal memory access was encountered")),
    ("flash-attn-probe-wrong", "flash-attn-probe-wrong: cuda:0 differs from the float32 reference by 0.31\n"),
    ("flash-attn-variant-missing", loading("ImportError: FlashAttention3 has been toggled on, but it cannot be used due to the following error: the package for FlashAttention3 doesn't seem to be installed.")),
    ("flash-attn-variant-missing", trace("ModuleNotFoundError: No module named 'flash_attn_interface'", "/w/a.py:<module>")),
    # Installing and building
    ("wheel-not-found", "ERROR: Could not find a version that satisfies the requirement flash-attn==2.9.9 (from versions: 2.8.3)\nERROR: No matching distribution found for flash-attn==2.9.9\n"),
    ("wheel-not-found", "ERROR: HTTP error 404 while getting https://github.com/Dao-AILab/flash-attention/releases/download/v2.8.3/flash_attn-2.8.3+cu13torch2.9-cp311-cp311-linux_x86_64.whl\n"),
    ("wheel-not-found", build(SOURCE, "ninja: build stopped: subcommand failed.", THEN_404)),
    ("wheel-invalid", "Processing ./flash_attn-2.8.3-cp311-cp311-linux_x86_64.whl\nERROR: Wheel 'flash-attn' located at /w/flash_attn-2.8.3-cp311-cp311-linux_x86_64.whl is invalid.\n"),
    ("wheel-invalid", "ERROR: Exception:\n" + trace("zipfile.BadZipFile: Bad CRC-32 for file 'flash_attn_2_cuda.so'", "/w/pip/_internal/cli/base_command.py:run")),
    ("wheel-invalid", "ERROR: Invalid wheel filename (wrong number of parts): 'flash_attn-latest'\n"),
    ("wheel-invalid", "error: Failed to install: flash_attn-2.5.8+cu122-cp310-cp310-linux_x86_64.whl\n  Caused by: Wheel version does not match filename: 2.5.8 != 2.5.8+cu122\n"),
    ("wheel-invalid", "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n    flash-attn from https://x/flash_attn.whl:\n        Expected sha256 aa\n             Got        bb\n"),
    ("wheel-unsupported-here", "ERROR: flash_attn-2.8.3+cu12torch2.8-cp312-cp312-linux_x86_64.whl is not a supported wheel on this platform.\n"),
    ("nvcc-missing", build(SOURCE, "error: [Errno 2] No such file or directory: '/usr/local/cuda/bin/nvcc'", THEN_404)),
    ("cuda-home-missing", build("OSError: CUDA_HOME environment variable is not set. Please set it to your CUDA install root.")),
    ("cuda-home-missing", START + trace("deepspeed.ops.op_builder.builder.MissingCUDAException: CUDA_HOME does not exist, unable to compile CUDA op(s)", f"{SITE}/trl/a.py:<module>")),
    ("nvcc-torch-mismatch", build(SOURCE, "RuntimeError: The detected CUDA version (11.8) mismatches the version that was used to compile", "PyTorch (12.8). Please make sure to use the same CUDA versions.").replace("compile\n      PyTorch", "compile PyTorch")),
    ("nvcc-torch-mismatch", build(SOURCE, "RuntimeError: ('The detected CUDA version (%s) mismatches the version that was used to compilePyTorch (%s). Please make sure to use the same CUDA versions.', '13.0', '12.8')")),
    ("nvcc-too-old", build("RuntimeError: FlashAttention is only supported on CUDA 11.7 and above.  Note: make sure nvcc has a supported version by running nvcc -V.")),
    ("nvcc-too-old", build(SOURCE, "nvcc fatal   : Unsupported gpu architecture 'compute_120'", "ninja: build stopped: subcommand failed.", THEN_404)),
    ("gcc-unsupported", build(SOURCE, "/usr/local/cuda/include/crt/host_config.h:143:2: error: #error -- unsupported GNU version! gcc versions later than 13 are not supported!", THEN_404)),
    ("gcc-unsupported", build(SOURCE, "/usr/include/c++/11/bits/std_function.h:435:145: error: parameter packs not expanded with ‘...’:", THEN_404)),
    ("gcc-unsupported", build(SOURCE, "error: command 'gcc' failed: No such file or directory")),
    ("gcc-unsupported", build(SOURCE, "RuntimeError: The current installed version of g++ (14.2.0) is greater than the maximum required version by CUDA 12.4.")),
    ("build-deps-missing", build('Traceback (most recent call last):\n  File "<string>", line 22, in <module>\nModuleNotFoundError: No module named \'torch\'')),
    ("build-deps-missing", build('Traceback (most recent call last):\n  File "<string>", line 9, in <module>\nModuleNotFoundError: No module named \'packaging\'')),
    ("build-deps-missing", "  × Failed to build `flash-attn==2.8.3`\n  ├─▶ The build backend returned an error\n  ╰─▶ Call to `setuptools.build_meta:__legacy__.build_wheel` failed (exit status: 1)\n\n      [stderr]\n      Traceback (most recent call last):\n"
     "        File \"<string>\", line 22, in <module>\n      ModuleNotFoundError: No module named 'torch'\n\n      hint: `flash-attn` depends on `torch`, but doesn't declare it as a build dependency.\n"),
    ("build-deps-missing", build("error: invalid command 'bdist_wheel'")),
    ("build-memory-low", build(SOURCE, "[12/73] /usr/local/cuda/bin/nvcc -c flash_bwd_hdim128_bf16_sm80.cu", "Killed", "ninja: build stopped: subcommand failed.", THEN_404)),
    ("build-memory-low", build(SOURCE, "nvcc error   : 'cicc' died due to signal 9 (Kill signal)", "ninja: build stopped: subcommand failed.", THEN_404)),
    ("build-memory-low", build(SOURCE, "c++: fatal error: Killed signal terminated program cc1plus", THEN_404)),
    ("site-packages-not-writable", "error: externally-managed-environment\n\n× This environment is externally managed\n"),
    ("site-packages-not-writable", "ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/usr/lib/python3/dist-packages/flash_attn'\nConsider using the `--user` option or check the permissions.\n"),
    ("mirror-unreachable", build(GUESS, "error: <urlopen error [Errno 110] Connection timed out>")),
    ("mirror-unreachable", build(GUESS, "error: Remote end closed connection without response")),
    ("mirror-unreachable", "WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection broken by 'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7f>: Failed to establish a new "
     "connection: [Errno -3] Temporary failure in name resolution')': /simple/flash-attn/\nERROR: Could not find a version that satisfies the requirement flash-attn (from versions: none)\nERROR: No matching distribution found for flash-attn\n"),
    ("mirror-unreachable", "  fatal: unable to access 'https://github.com/Dao-AILab/flash-attention.git/': Failed to connect to github.com port 443 after 130000 ms: Connection timed out\n  error: subprocess-exited-with-error\n"),
    ("tls-failed", build(GUESS, "error: <urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate in certificate chain (_ssl.c:1006)>")),
    ("tls-failed", "fatal: unable to access 'https://github.com/Dao-AILab/flash-attention.git/': GnuTLS recv error (-54): Error in the pull function.\n"),
    ("tls-failed", "--2025-01-01--  https://github.com/x/y.whl\nUnable to establish SSL connection.\n"),
    # ms-swift and its arguments
    ("ms-swift-missing", "run.sh: line 3: swift: command not found\n"),
    ("ms-swift-missing", trace("ModuleNotFoundError: No module named 'swift'", "/w/a.py:<module>")),
    ("swift-not-ms-swift", trace("ModuleNotFoundError: No module named 'swift.cli'", "/w/a.py:<module>")),
    ("swift-not-ms-swift", "<unknown>:0: error: unable to invoke subcommand: swift-sft (No such file or directory)\n"),
    ("arg-unknown", START + trace("ValueError: remaining_argv: ['--lora_rankk', '8']", "/w/swift/pipelines/base.py:_parse_args")),
    ("arg-unknown", "usage: sft.py [-h] [--model MODEL]\nsft.py: error: unrecognized arguments: --batchsize 3\n"),
    ("arg-invalid", "usage: sft.py [-h]\nsft.py: error: argument --max_steps/--max-steps: invalid int value: 'None'\n"),
    ("arg-invalid", START + trace("ValueError: remaining_argv: ['\\\\ ']", "/w/swift/pipelines/base.py:_parse_args")),
    ("arg-invalid", loading('ValueError: Specified `attn_implementation="flashattn"` is not supported. The only possible arguments are')),
    ("arg-invalid", START + trace("ValueError: At most one of fp16 and bf16 can be True, but not both", "/w/training_args.py:__post_init__")),
    ("arg-missing", START + trace("ValueError: Please set --model <model_id_or_path>`, model: None", "/w/model_args.py:__post_init__")),
    ("arg-missing", START + trace("ValueError: self.dataset: [], self.cached_dataset: []. Please input the training dataset.", "/w/sft_args.py:__post_init__")),
    ("arg-missing", START + trace("ValueError: args.max_steps has to be specified, since the train_dataset does not implement __len__", "/w/trainer.py:__init__")),
    ("packing-needs-flash-attn", START + trace('ValueError: The "padding_free" feature requires a flash attention implementation. Please use one of: "flash_attn".', "/w/sft_args.py:_check_padding_free")),
    ("packing-lazy-tokenize", START + trace("ValueError: Packing and lazy_tokenize are incompatible.", "/w/base_args.py:__post_init__")),
    ("packing-needs-fla", loading("ImportError: Qwen3.5 linear attention packing/padding-free with multiple sequences requires flash-linear-attention; the torch fallback does not support packed sequence boundaries.")),
    ("packing-model-unsupported", START + trace("ValueError: Template `ovis2_5` does not support padding free or packing.", "/w/sft.py:_prepare_template")),
    ("packing-cache-not-shared", START + trace("FileNotFoundError: [Errno 2] No such file or directory: '/root/.cache/modelscope/tmp/check_shared_disk.tmp'", "/w/torch_utils.py:check_shared_disk")),
    ("packing-timeout-risk", "Packing (num_proc=1):   1%|          | 857031/108919656 [30:00<67:35:04, 444.15it/s]" + WATCHDOG.format(r=1)),
    ("rows-too-long", START + trace("ValueError: Failed to retrieve the dataset. You can avoid this issue by increasing `max_length` or modifying the `truncation_strategy`.", "/w/dataset/utils.py:__getitem__")),
    ("rows-too-long", "swift.llm.template.base.MaxLengthError: Current length of row(9762) is larger than the max_length(2048).\n[INFO:swift] Dataset filtered, origin length: 100, filtered dataset length: 12\n"),
    ("flash-attn-dtype", kernel("RuntimeError: FlashAttention only support fp16 and bf16 data type")),
    ("bf16-unsupported", START + trace("ValueError: --tf32 requires Ampere or a newer GPU arch, cuda>=11 and torch>=1.7", "/w/training_args.py:__post_init__")),
    ("bf16-unsupported", START + trace("ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla V100-SXM2-32GB GPU has compute capability 7.0.", "/w/vllm.py:f")),
    ("transformers-mismatch", loading("ImportError: cannot import name 'LlamaFlashAttention2' from 'transformers.models.llama.modeling_llama' (/w/modeling_llama.py)")),
    ("transformers-mismatch", loading("ValueError: The checkpoint you are trying to load has model type `qwen3_next` but Transformers does not recognize this architecture.")),
    ("transformers-mismatch", loading("ValueError: Tokenizer class TokenizersBackend does not exist or is not currently imported.")),
    ("transformers-mismatch", loading("AttributeError: 'DynamicCache' object has no attribute 'seen_tokens'")),
    ("requirement-conflict", START + trace("ImportError: cannot import name 'GRPOConfig' from 'trl' (/w/trl/__init__.py)", "/w/a.py:<module>")),
    ("requirement-conflict", trace("ImportError: huggingface-hub>=0.34.0,<1.0 is required for a normal functioning of this module, but found huggingface-hub==1.2.0.", "/w/a.py:<module>")),
    ("requirement-conflict", "ERROR: Cannot install ms-swift==4.6.0 and trl==0.9.0 because these package versions have conflicting dependencies.\n"),
    ("requirement-conflict", trace("RuntimeError: operator torchvision::nms does not exist", "/w/torchvision/_meta_registrations.py:<module>")),
    ("deepspeed-missing", START + trace("importlib.metadata.PackageNotFoundError: No package metadata was found for deepspeed", "/w/a.py:f")),
    ("deepspeed-missing", START + trace("ModuleNotFoundError: No module named 'deepspeed'", "/w/a.py:f")),
    ("deepspeed-launch", START + trace("ValueError: DeepSpeed is not compatible with MP. n_gpu: 7, local_world_size: 1.", "/w/a.py:f")),
    # Launching
    ("launch-env-misspelt", "+ nproc_per_node=2\n+ swift sft --model m\n" + loading("KeyError: 'x'").replace("Traceback", "trace")),
    ("launch-nested", START + trace("ValueError: Error initializing torch.distributed using env:// rendezvous: environment variable RANK expected, but not set", "/w/a.py:init")),
    ("port-in-use", START + trace("torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use", "/w/a.py:f")),
    ("master-addr-loopback", "[E1121 17:17:11.702 socket.cpp:1011] [c10d] The client socket has timed out after 900000ms while trying to connect to (127.0.0.1, 29500).\n"
     + trace("torch.distributed.DistNetworkError: The client socket has timed out after 900000ms while trying to connect to (127.0.0.1, 29500).", "/w/run.py:main")),
    # Model, data, output
    ("model-missing", START + trace("requests.exceptions.HTTPError: The request model: swift/none-7b does not exist!", "/w/modelscope/hub/api.py:f")),
    ("model-missing", loading("OSError: Qwen/Qwen9 is not a local folder and is not a valid model identifier listed on 'https://huggingface.co/models'")),
    ("model-missing", START + trace("ValueError: path: '/models/none' not found", "/w/hub_utils.py:safe_snapshot_download")),
    ("model-missing", START + trace(connect("www.modelscope.cn", "/api/v1/models/Qwen/Qwen2.5-7B-Instruct/revisions"), "/w/modelscope/hub/api.py:f")),
    ("model-incomplete", loading("OSError: Error no file named pytorch_model.bin, model.safetensors, tf_model.h5 found in directory /models/q.")),
    ("model-incomplete", loading("safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge")),
    ("model-incomplete", loading("FileNotFoundError: No such file or directory: \"/models/q/model-00003-of-00004.safetensors\"")),
    ("model-type-unknown", START + trace("ValueError: model_type: 'qwen9' not in ['qwen2', 'qwen3']", "/w/model_meta.py:f")),
    ("model-type-unknown", START + trace("ValueError: Failed to automatically match `model_type` for `/m/tiny`. Multiple possible types found: ['qwen2', 'qwen2_gte'].", "/w/model_meta.py:f")),
    ("dataset-missing", data("ValueError: The local path does not exist, dataset_id: `/data/none.jsonl`. os.path.exists(dataset_id): False")),
    ("dataset-missing", data("datasets.exceptions.DatasetNotFoundError: Dataset 'org/none' doesn't exist on the Hub or cannot be accessed.")),
    ("dataset-missing", START + trace(connect("www.modelscope.cn", "/api/v1/datasets/iic/none"), "/w/modelscope/hub/api.py:get_dataset_id_and_type")),
    ("dataset-format", "[INFO:swift] Dataset filtered, origin length: 10, filtered dataset length: 0\n[INFO:swift] train_dataset: None\n" + trace("TypeError: object of type 'NoneType' has no len()", "/w/sft.py:train_dataset")),
    ("dataset-format", data("pyarrow.lib.ArrowInvalid: JSON parse error: Column(/query) changed from string to number in row 125")),
    ("dataset-format", data("ZeroDivisionError: division by zero")),
    ("output-not-writable", START + trace("PermissionError: [Errno 13] Permission denied: '/mnt/out/v0-20260101-000000'", "/w/a.py:makedirs")),
    ("output-link-exists", START + trace("FileExistsError: [Errno 17] File exists: '/o/checkpoint-30' -> '/o/last'", "/w/sft.py:_save")),
    ("checkpoint-incomplete", resume("ValueError: Can't find a valid checkpoint at /o/checkpoint-15")),
    ("checkpoint-incomplete", resume("FileNotFoundError: [Errno 2] No such file or directory: '/o/v0/checkpoint-15/trainer_state.json'")),
    ("checkpoint-unloadable", resume("_pickle.UnpicklingError: Weights only load failed. This file can still be loaded, to do so you have two options")),
    ("resume-setting-ignored", resume("ValueError: loaded state dict contains a parameter group that doesn't match the size of optimizer's group")),
    # SwanLab
    ("swanlab-missing", START + trace("ValueError: You are using swanlab as `report_to`, please install swanlab by `pip install swanlab`", "/w/sft_args.py:_init_swanlab")),
    ("swanlab-not-logged-in", swanlab("RuntimeError: Failed to initialize SwanLab in online mode: no TTY is available for interactive login.")),
    ("swanlab-not-logged-in", swanlab("swanlab.error.KeyFileError: api key not configured (no-tty), call `swanlab.login(api_key=[your_api_key])` or set `swanlab.init(mode=\"local\")`.")),
    ("swanlab-key-malformed", "swanlab.error.APIKeyFormatError: Api key length must be 21 characters long, yours was 5\n"),
    ("swanlab-unreachable", swanlab(connect("api.swanlab.cn", "/api/login/api_key")
     + "\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\nswanlab.exceptions.AuthenticationError: Failed to initialize the SwanLab client. Please check if the provided API key is correct.")),
    ("swanlab-unreachable", swanlab("requests.exceptions.ReadTimeout: HTTPConnectionPool(host='10.2.3.4', port=8000): Read timed out. (read timeout=10)")),
    ("swanlab-login-failed", swanlab("swanlab.exceptions.AuthenticationError: Failed to initialize the SwanLab client. Please check if the provided API key is correct.")),
    ("swanlab-login-failed", swanlab("swanlab.exceptions.ApiError: API Request Failed: [401] Unauthorized | POST https://api.swanlab.cn/api/login/api_key")),
    ("swanlab-mode-unsupported", "usage: sft.py [-h]\nsft.py: error: argument --swanlab_mode/--swanlab-mode: invalid choice: 'offline' (choose from 'cloud', 'local')\n"),
    ("swanlab-local-needs-dashboard", swanlab("ImportError: Please install swanboard to use 'local' mode: pip install 'swanlab[dashboard]'")),
    ("swanlab-local-needs-dashboard", swanlab("ModuleNotFoundError: No module named 'swanboard'")),
    ("swanlab-version-conflict", swanlab("RuntimeError: No active Run. Call swanlab.init() first.")),
    ("swanlab-version-conflict", trace("AttributeError: module 'swanlab' has no attribute 'get_url'", "/w/a.py:f")),
    ("swanlab-name-invalid", swanlab("ValueError: Project name `a/b` is invalid, which must be 0-9, a-z, A-Z, _ , -, +, .")),
    ("swanlab-resume", swanlab("ValueError: run_id must be provided when resume is 'must'")),
    ("swanlab-resume", swanlab("RuntimeError: Experiment k0x1abc does not exist in project p")),
    # Only in logs
    ("gpu-out-of-memory", kernel("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.15 GiB")),
    ("gpu-out-of-memory", kernel("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")),
    ("host-out-of-memory", START + TORCHRUN.replace("exitcode: 1", "exitcode: -9")),
    ("host-out-of-memory", START + WATCHDOG.format(r=1) + TORCHRUN.replace("exitcode: 1", "exitcode: -9")),  # the others lost it
    ("host-out-of-memory", START + "slurmstepd: error: Detected 1 oom_kill event in StepId=88.0. Some of the step tasks have been OOM Killed.\n"),
    ("host-out-of-memory", START + trace("RuntimeError: [enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 2147483648 bytes.", "/w/a.py:f")),
    ("host-out-of-memory", START + "run.sh: line 4: 31337 Killed                  swift sft --model m\n"),
    ("nccl-timeout", START + WATCHDOG.format(r=1) + WATCHDOG.format(r=2) + TORCHRUN.replace("exitcode: 1", "exitcode: -6")),
    ("nccl-timeout", START + "swift-fa: the first all-reduce of 2 processes did not end in 60 s (cuda:0 of n1; not through it: rank 0, 1)\n"
     + TORCHRUN),
    ("rendezvous-timeout", START + trace("torch.distributed.DistStoreError: Timed out after 901 seconds waiting for clients. 1/2 clients joined.", "/w/run.py:main")),
    ("stalled", START + "{'loss': 1.2, 'global_step/max_steps': '12/40'}\n\n[swift-fa: stalled: training and no progress for 305 s after "
     "step 12; stacks of 2 processes: /runs/a b/stacks.txt]\n" + trace("SignalException: Process 12 got signal: 15", "/w/run.py:main")),
    ("stalled", START + "[swift-fa: stalled: training and no progress for 305 s after step 12; stopped by a signal (SIGSTOP) and not "
     "continued: rank 2 (process 7), rank 3 (process 8); stacks of 4 processes: /runs/a b/stacks.txt]\n"),
    ("interrupted", START + trace("KeyboardInterrupt", "/w/trainer.py:train")),
    ("interrupted", START + "slurmstepd: error: *** JOB 412 ON gpu-3 CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***\n"),
    ("interrupted", START + "W0612 17:10:55.201000 911 torch/distributed/elastic/agent/server/api.py:719] Received Signals.SIGTERM death signal, shutting down workers\n"
     + trace("torch.distributed.elastic.multiprocessing.api.SignalException: Process 911 got signal: 15", "/w/run.py:main")),
    ("unknown", START + trace("KeyError: 'nosuch'", "/w/a.py:f")),
]

#: The same failures as other platforms, versions, terminals and libraries word them: (source, code, log). A source with
#: "issues" or "pull" in it is a thread of github.com, another is the program that says so.
ATTN = "[INFO:swift] attn_impl: flash_attn\n"  # says "flash" near by, and is not to blame
WIN = "C:\\Users\\u\\AppData\\Local\\Temp\\pip-install-q\\flash-attn_1"
THREADS: list[tuple[str, str, str]] = [
    # Whose file it is decides, not what was said before
    ("deepspeed", "unknown", ATTN + trace("ImportError: /lib/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by /r/torch_extensions/cpu_adam/cpu_adam.so)", "/w/builder.py:load")),
    ("vllm-project/vllm/issues/12945", "flash-attn-glibc-too-new", "ImportError: /usr/lib64/libstdc++.so.6: version `GLIBCXX_3.4.26' not found (required by /usr/lib/python3.9/site-packages/flash_attn_2_cuda.cpython-39-x86_64-linux-gnu.so)\n"),
    ("vllm", "requirement-conflict", ATTN + trace("ImportError: /w/vllm/_C.abi3.so: undefined symbol: _ZN3c106ivalue14ConstantString6createENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE", f"{SITE}/vllm/_custom_ops.py:<module>")),
    ("vllm", "requirement-conflict", trace("ImportError: libcudart.so.12: cannot open shared object file: No such file or directory", f"{SITE}/vllm/_custom_ops.py:<module>")),
    ("Dao-AILab/flash-attention/issues/1612", "flash-attn-torch-mismatch", f"RuntimeError: Failed to import transformers.models.bloom.modeling_bloom because of the following error (look up to see its traceback):\n{EXT}: undefined symbol: _ZN2at4_ops5zeros4callEN3c108ArrayRefINS2_6SymIntEEE\n"),
    ("Dao-AILab/flash-attention/issues/975", "flash-attn-abi-mismatch", f"ImportError: \n{EXT}: undefined \nsymbol: _ZN3c105ErrorC2ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE\n"),
    ("modelscope/ms-swift/issues/9689", "swanlab-login-failed", '[rank0]:   File "/w/swanlab/sdk/cmd/login.py", line 120, in login_raw\n[rank0]:     f(api_key=api_key, api_host=api_host, timeout=timeout)\n'
     "[rank0]: swanlab.exceptions.AuthenticationError: Failed to initialize the SwanLab client. Please check if the provided API key is correct.\n"),
    ("modelscope/ms-swift/issues/2107", "transformers-mismatch", '[rank1]:   File "/w/transformers/models/qwen2/modeling_qwen2.py", line 456, in forward\n[rank1]: AttributeError: \'Qwen2FlashAttention2\' object has no attribute \'_flash_attention_forward\'\n'),
    # flash-attn as installed
    ("Dao-AILab/flash-attention/issues/1638", "flash-attn-arch-missing", "    out, softmax_lse, S_dmask, rng_state = flash_attn_gpu.fwd(\nRuntimeError: CUDA error: no kernel image is available for execution on the device\n"),
    ("Dao-AILab/flash-attention/issues/1763", "flash-attn-probe-failed", "CUDA error (/w/third_party/flash-attention/hopper/flash_fwd_launch_template.h:188): invalid argument\n"),
    ("flash_attn/bert_padding.py", "flash-attn-import-failed", trace("ModuleNotFoundError: No module named 'einops'", f"{SITE}/flash_attn/bert_padding.py:<module>")),
    ("flash_attn/ops/layer_norm.py", "flash-attn-import-failed", "ModuleNotFoundError: No module named 'dropout_layer_norm'\n"),
    ("transformers 4.34", "flash-attn-too-old", "ImportError: cannot import name 'flash_attn_varlen_func' from 'flash_attn' (/w/site-packages/flash_attn/__init__.py)\n"),
    ("deepseek-ai/DeepSeek-VL2/issues/119", "bf16-unsupported", "NotImplementedError: No operator found for `memory_efficient_attention_forward` with inputs:\n    requires device with capability > (8, 0) but your GPU has capability (7, 5) (too old)\n    bf16 is only supported on A100+ GPUs\n"),
    ("facebookresearch/xformers/issues/891", "gpu-arch-unsupported", "ValueError: Operator `memory_efficient_attention` does not support inputs:\n`flshattF` is not supported because:\n    requires a GPU with compute capability > 7.5\n"),
    # Building and installing
    ("torch/utils/cpp_extension.py", "nvcc-torch-mismatch", build("RuntimeError:\n      The detected CUDA version (12.4) mismatches the version that was used to compile\n      PyTorch (11.8). Please make sure to use the same CUDA versions.")),
    ("deepspeed", "nvcc-torch-mismatch", "deepspeed.ops.op_builder.builder.CUDAMismatchException: >- DeepSpeed Op Builder: Installed CUDA version 11.7 does not match the version torch was compiled with 12.1, unable to compile cuda/cpp extensions without a matching cuda version.\n"),
    ("Dao-AILab/flash-attention/issues/557", "cuda-home-missing", f'  File "{WIN}\\setup.py", line 59, in get_cuda_bare_metal_version\n    raw_output = subprocess.check_output([cuda_dir + "/bin/nvcc", "-V"])\nTypeError: unsupported operand type(s) for +: \'NoneType\' and \'str\'\n'),
    ("Dao-AILab/flash-attention/issues/557", "nvcc-missing", f'  File "{WIN}\\setup.py", line 59, in get_cuda_bare_metal_version\n    raw_output = subprocess.check_output([cuda_dir + "/bin/nvcc", "-V"])\nFileNotFoundError: [WinError 2] The system cannot find the file specified\n'),
    ("Dao-AILab/flash-attention/issues/595", "windows-unsupported", trace("subprocess.CalledProcessError: Command '['where', 'cl']' returned non-zero exit status 1.", "D:\\e\\torch\\utils\\cpp_extension.py:_run_ninja_build")),
    ("Dao-AILab/flash-attention/issues/1017", "windows-unsupported", f"creating {WIN}\\build\\temp.win32-cpython-311\n[1/49] cl /showIncludes /nologo /O2\nninja: build stopped: subcommand failed.\nRuntimeError: Error compiling objects for extension\n"),
    ("astral-sh/uv/issues/6437", "torch-cpu-only", '        File "<string>", line 456, in get_wheel_url\n        File "C:\\u\\uv\\cache\\builds-v0\\.tmp\\packaging\\version.py", line 200, in __init__\n      TypeError: expected string or bytes-like object, got \'NoneType\'\n'),
    ("whyNLP/LCKV/issues/17", "build-deps-missing", "ModuleNotFoundError: No module named 'torch'\n\nhint: This error likely indicates that `flash-attn@2.8.1` depends on `torch`, but doesn't declare it as a build dependency.\n"),
    ("nvcc", "cuda-home-missing", build("/w/ATen/cuda/CUDAContextLight.h:7:10: fatal error: cusparse.h: No such file or directory\nninja: build stopped: subcommand failed.")),
    ("Dao-AILab/flash-attention/issues/489", "wheel-invalid", "has inconsistent version: filename has ‘2.0.9+cu121torch2.1cxx11abitrue’, but metadata has ‘2.0.9’\n"),
    ("urllib on Windows", "mirror-unreachable", build(f"{GUESS}\nConnectionResetError: [WinError 10054] 远程主机强迫关闭了一个现有的连接。")),
    ("Ucas-HaoranWei/GOT-OCR2.0/issues/149", "requirement-conflict", "got 0.1.0 requires transformers==4.37.2, but you have transformers 4.45.2 which is incompatible.\n"
     + trace("ImportError: cannot import name 'log' from 'torch.distributed.elastic.agent.server.api'", "/w/deepspeed/elastic_agent.py:<module>")),
    ("pip on Windows", "site-packages-not-writable", "ERROR: Could not install packages due to an OSError: [WinError 5] 拒绝访问。: 'C:\\\\conda\\\\Lib\\\\site-packages\\\\flash_attn_2_cuda.pyd'\n"),
    # ms-swift, transformers, data
    ("transformers 4.46", "transformers-mismatch", trace("TypeError: compute_loss() got an unexpected keyword argument 'num_items_in_batch'", f"{SITE}/transformers/trainer.py:training_step")),
    ("transformers 4.47", "transformers-mismatch", trace("TypeError: SwiftMixin._maybe_log_save_evaluate() missing 1 required positional argument: 'start_time'", f"{SITE}/transformers/trainer.py:_inner_training_loop")),
    ("transformers 4.46", "transformers-mismatch", "TypeError: TrainingArguments.__init__() got an unexpected keyword argument 'evaluation_strategy'\n"),
    ("transformers/hf_argparser.py", "arg-unknown", trace("ValueError: Some specified arguments are not used by the HfArgumentParser: ['--lora_rnak', '8']", "/w/hf_argparser.py:f")),
    ("modelscope/ms-swift/issues/2642", "dataset-missing", "[rank2]: ValueError: The local folder was not found, dataset_id: a.jsonl,b.json\n"),
    ("modelscope/ms-swift/issues/4058", "dataset-format", "[rank1]: KeyError: 'Column length not in the dataset. Current columns in the dataset: []'\n"),
    ("modelscope/ms-swift/issues/2008", "dataset-format", trace("ValueError: dataset.features.keys(): dict_keys(['raw_prompt', 'chosen'])", "/w/swift/llm/utils/preprocess.py:__call__")),
    ("modelscope", "model-missing", trace("requests.exceptions.HTTPError: 404 Client Error: Not Found, Request id: 7e1d for url: https://www.modelscope.cn/api/v1/models/qwen/Qwen9", "/w/modelscope/hub/api.py:get_model")),
    ("datasets", "dataset-missing", "ConnectionError: Couldn't reach 'tatsu-lab/alpaca' on the Hub (ConnectionError)\n"),
    # Machines
    ("triton", "gpu-out-of-memory", "RuntimeError: Triton Error [CUDA]: out of memory\n"),
    ("torch", "unknown", trace("RuntimeError: unable to open shared memory object </torch_12_9> in read-write mode: Too many open files (24)", "/w/a.py:f")),
    ("mittagessen/kraken/issues/699", "shm-small", "DataLoader worker (pid 270071) is killed by signal: \nBus error. It is possible that dataloader's workers are out of shared memory. \n"),
    ("datasets", "host-out-of-memory", trace("RuntimeError: One of the subprocesses has abruptly died during map operation.To debug the error, disable multiprocessing.", "/w/arrow_dataset.py:map")),
    ("Windows", "port-in-use", "OSError: [WinError 10048] 通常每个套接字地址(协议/网络地址/端口)只允许使用一次。\n"),
    ("safetensors", "disk-space-low", 'safetensors_rust.SafetensorError: Error while serializing: IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })\n'),
    ("ali-vilab/FlashFace/issues/10", "flash-attn-too-old", "ImportError: cannot import name 'flash_attn_func' from 'flash_attn' (/usr/lib/python3.10/dist-packages/flash_attn/__init__.py)\n"),
    ("xiaomi-mlab/Orion/issues/38", "flash-attn-too-old", "ImportError: cannot import name 'flash_attn_varlen_kvpacked_func' from 'flash_attn.flash_attn_interface' (/w/site-packages/flash_attn/flash_attn_interface.py)\n"),
    ("Dao-AILab/flash-attention/issues/1280", "flash-attn-import-failed", "ImportError: cannot import name 'flash_attn_unpadded_qkvpacked_func' from 'flash_attn.flash_attn_interface' (/w/site-packages/flash_attn/flash_attn_interface.py)\n"),
    ("Windows", "ms-swift-missing", "'swift' 不是内部或外部命令，也不是可运行的程序\n或批处理文件。\n"),
    ("troubling/hummingbird/issues/146", "swift-not-ms-swift", 'Traceback (most recent call last):\n  File "/usr/lib/python3/dist-packages/swiftclient/shell.py", line 1477, in main\nKeyError: \'st_sft\'\n'),
    ("transformers 4.56", "transformers-mismatch", "AttributeError: 'DynamicCache' object has no attribute 'get_max_length'\n"),
    ("accelerate 1.0", "requirement-conflict", "TypeError: Accelerator.__init__() got an unexpected keyword argument 'dispatch_batches'\n"),
    ("pyarrow 21", "requirement-conflict", "AttributeError: module 'pyarrow' has no attribute 'PyExtensionType'\n"),
    ("SwanHubX/SwanLab/pull/1445", "swanlab-resume", swanlab("RuntimeError: You can only use resume in cloud mode.")),
]


@pytest.mark.parametrize(("code", "log"), LOGS, ids=[f"{i}-{code}" for i, (code, _) in enumerate(LOGS)])
def test_names_the_cause(code: str, log: str) -> None:
    first, *_ = found = diagnose([log.encode()])
    assert first.code == code, [(one.code, one.line, one.evidence) for one in found]
    assert first.evidence and first.evidence.strip(".")[:40] in log.splitlines()[first.line - 1]
    assert first.fix or code == "unknown"
    for lang in ("en", "zh"):
        said = json.dumps(first.to_json(lang))
        assert "{" not in render_words(first.summary, lang).replace("{'", "") and said


@pytest.mark.parametrize(("source", "code", "log"), THREADS, ids=[f"{i}-{code}" for i, (_, code, _) in enumerate(THREADS)])
def test_names_the_cause_in_other_words(source: str, code: str, log: str) -> None:
    found = diagnose([log.encode()])
    assert found[0].code == code, (source, [(one.code, one.line, one.evidence) for one in found])


@pytest.mark.parametrize("before", ["2026-01-05T08:00:00.1Z stderr F ", "[2026-01-05 08:00:00] ", "2026-01-05 08:00:00 [rank1]: ",
                                    "trainer-1  | [rank0]: ", "node-3: ", "(TaskRunner pid=17) ", "> "])
def test_whoever_speaks_and_whenever_it_was(before: str) -> None:
    for source, code, log in THREADS[::6]:
        spoken = "".join(f"{before}{line}\n" for line in log.splitlines())
        assert diagnose([spoken.encode()])[0].code == code, (source, before)


def test_every_code_that_a_log_can_show_is_shown() -> None:
    shown = {code for code, _ in LOGS} | {codes.split()[0] for codes, *_ in FAILED}
    assert shown == {signature.code for signature in SIGNATURES} - {""} | COMPUTED


@pytest.mark.parametrize(("codes", "source", "log"), FAILED, ids=[f"{i}-{codes.split()[0]}" for i, (codes, *_) in enumerate(FAILED)])
def test_names_what_others_met(codes: str, source: str, log: str) -> None:
    found = diagnose([log.encode()])
    assert found[0].code in codes.split(), (source, [(one.code, one.line, one.evidence) for one in found])
    assert found[0].fix or found[0].code == "unknown"


@pytest.mark.parametrize("end", ["", TRAINED + ENDED], ids=["running", "ended"])
@pytest.mark.parametrize(("source", "log"), HARMLESS)
def test_a_warning_in_a_good_training_is_no_diagnosis(source: str, log: str, end: str) -> None:
    (only,) = diagnose([(START + log + end).encode()])
    assert (only.code, only.line) == ("unknown", 0), (source, only)


def test_every_signature_has_an_entry() -> None:
    assert not {signature.code for signature in SIGNATURES} - {"", *TABLE}


def test_every_code_of_failed_runs_has_a_signature() -> None:
    assert not {code for code, area in AREA_OF.items() if area == "run"} - {signature.code for signature in SIGNATURES} - COMPUTED


def test_every_way_that_a_log_shows_is_in_the_table() -> None:
    named = {(s.code, s.way) for s in SIGNATURES if isinstance(s.way, str) and s.way}
    assert not {(code, way) for code, way in named if way not in TABLE[code].says}


SHARED = Path(__file__).parents[2] / "../shared/cases"


@pytest.mark.parametrize("path", expected(sorted(SHARED.glob("diagnose/*.json"))))
def test_real_failures(path: Path) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    found = diagnose([case["log"].encode()])
    assert found[0].code in (*case["expect"], *case.get("accept", ()), *case.get("also_ok", ())), [(one.code, one.line, one.evidence) for one in found]


@pytest.mark.parametrize("path", expected(sorted(SHARED.glob("harmless/*.json"))))
def test_real_trainings_that_went_well(path: Path) -> None:
    (only,) = diagnose([json.loads(path.read_text(encoding="utf-8"))["log"].encode()])
    assert only.code == "failed-after-training" or (only.code, only.line) == ("unknown", 0), only
