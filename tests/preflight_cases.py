"""Machines and configs with the findings that they give: every code, and its healthy neighbours without it."""

from __future__ import annotations

from typing import Any

import pytest
from machines import DATA, MODEL, OUTPUT, UNKNOWN, gpu, gpus

NEW = "_ZN3c105ErrorC2ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
OLD = "_ZN3c105ErrorC2ENS_14SourceLocationESs"
RENAMED = "_ZN3c104cuda9SetDeviceEa"

SDPA = {"attn_impl": "sdpa", "packing": False}
FA3, FA4 = {"attn_impl": "flash_attention_3"}, {"attn_impl": "flash_attention_4"}
ON = {"packing": True}
NO_FA: dict[str, Any] = {"flash_attn": None, "packages": {"flash-attn": None}}
BUILD = {"flash_attn": {"build": "always"}}
HUB = {"flash_attn": {"provider": "kernel"}}
HUB_PACKAGES = {"kernels": "0.17.2", "transformers": "5.19.0", "ms_swift": "4.6.0"}
KEPT = {"builds": True, "revision": "0" * 40, "origin": "/cache/__init__.py", "import_error": None}
NEVER = {"flash_attn": {"build": "never", "mirrors": []}}
HOPPER = {"gpus": [gpu(0, "9.0")], "packages": {"flash-attn-3": "3.0.0b1"}}


def amd(gfx: str = "gfx942", capability: str = "9.4", index: int = 0) -> dict[str, Any]:
    return gpu(index, capability, name="AMD Instinct MI300X", gfx=gfx)


def ext(**changes: Any) -> dict[str, Any]:
    return {f"flash_attn__extension__{name}": value for name, value in changes.items()}


def probe(ok: bool, error: str | None = None, off: float | None = None, index: int = 0) -> dict[str, Any]:
    return {"flash_attn__probe": {"devices": [{"index": index, "ok": ok, "error": error, "max_error": off}]}}


def path(name: str, **facts: Any) -> dict[str, Any]:
    return {"paths": {name: facts}}


def variant(distribution: str, version: str, file: str, extension: dict[str, Any] | None) -> dict[str, Any]:
    return {"distribution": distribution, "version": version, "origin": f"/opt/conda/lib/python3.10/site-packages/{file}",
            "import_error": None, "extension": extension}


def model(kind: str, **more: Any) -> dict[str, Any]:
    return {"paths": {MODEL: {"kind": "dir", "missing_files": [], "model_config": {"model_type": kind, **more}}}}


def cards(count: int, gib: float) -> list[dict[str, Any]]:
    return [gpu(index, memory_gib=float(gib), free_memory_gib=float(gib)) for index in range(count)]


def sized(gib: float, **config: Any) -> dict[str, Any]:
    return {"paths": {MODEL: {"kind": "dir", "missing_files": [], "size_gib": gib, "model_config": {
        "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], **config}}}}


def packages(**versions: str | None) -> dict[str, Any]:
    return {"packages": {name.replace("_", "-"): version for name, version in versions.items()}}


def conflict(package: str, requires: str, installed: str | None) -> dict[str, Any]:
    return {"requirement_conflicts": [{"package": package, "version": "1.0", "requires": requires, "installed": installed}]}


def linear(swift: str, transformers: str, fla: str | None, conv: str | None = "1.6.0") -> dict[str, Any]:
    """The packages that linear-attention layers compute with."""
    return packages(ms_swift=swift, transformers=transformers, flash_linear_attention=fla, causal_conv1d=conv)


def down(host: str, error: str = "timed out") -> dict[str, Any]:
    return {"network": {host: {"ok": False, "error": error}}}


def case(expect: str, facts: dict[str, Any] | None = None, swift: dict[str, Any] | None = None, /,
         **sections: dict[str, Any]) -> Any:
    """`expect`: each finding as `E code`, in any order, separated by commas; empty for a healthy machine."""
    return pytest.param(expect, facts or {}, swift or {}, sections)


MACHINE = [
    case(""),
    case("E python-unsupported", {"python__version": "3.8.17", "python__abi": "cp38", **ext(file="x.cpython-38-x.so"),
                                  **packages(flash_attn="2.6.3")}),
    case("E python-unsupported", {"python__version": "3.9.18", "python__abi": "cp39", **ext(file="x.cpython-39-x.so"),
                                  **packages(ms_swift="4.6.0", transformers="5.5.0")}),
    case("", {"python__version": "3.9.18", "python__abi": "cp39", **ext(file="x.cpython-39-x.so")}),
    case("E torch-missing", {"torch": None}),
    case("E torch-missing", {"torch__import_error": "libcudnn.so.9: cannot open"}),
    case("", {"torch": UNKNOWN}),
    case("E torch-cpu-only", {"torch__version": "2.8.0+cpu", "torch__cuda": None}),
    case("E torch-cpu-only", {"torch__version": "2.8.0+cpu", "torch__cuda": None}, SDPA),
    case("", {"torch__version": "2.8.0+cpu", "torch__cuda": None, "gpus": []}, {**SDPA, "torch_dtype": "float32"}),
    case("", {"torch__version": "2.8.0+cpu", "torch__cuda": None}, {**SDPA, "torch_dtype": "float32", "use_cpu": True}),
    case("E gpu-none", {"gpus": []}),
    case("E gpu-none", {"gpus": None}),
    case("E gpu-none", {"gpus": [], "env": {"CUDA_VISIBLE_DEVICES": "0"}}, launch={"gpus": [0]}),
    case("", {"gpus": [], "flash_attn": None, "env": {"CUDA_VISIBLE_DEVICES": "0"}}, SDPA),
    case("E gpu-not-visible", {"gpus": [], "flash_attn": None}, SDPA, launch={"gpus": [0]}),
    case("E gpu-none", {"env": {"CUDA_VISIBLE_DEVICES": ""}}),
    case("E gpu-none", {"env": {"CUDA_VISIBLE_DEVICES": "-1"}}),
    case("", {"gpus": [], "torch__npu": "2.5.1", "torch__cuda": None, "flash_attn": None}),
    case("", {"gpus": [], "torch__npu": UNKNOWN, "torch__cuda": None, "flash_attn": None,
              "env": {"ASCEND_RT_VISIBLE_DEVICES": "0"}}),
    case("", {"gpus": [], "torch__hip": "6.3", "torch__cuda": None}),
    case("", {"gpus": [], "torch__version": "2.9.1+rocm6.4", "torch__hip": UNKNOWN, "torch__cuda": None}),
    case("", {"gpus": UNKNOWN, "driver": UNKNOWN}),
    case("", {"gpus": [], "driver": None}, launch={"target": "slurm", "nproc_per_node": 8}),
    case("E gpu-not-visible", {}, launch={"gpus": [3]}),
    case("E gpu-not-visible", {"env": {"CUDA_VISIBLE_DEVICES": "0,4"}, "gpus": gpus(2)}),
    case("W launch-env-conflict", {"env": {"CUDA_VISIBLE_DEVICES": "4"}}, launch={"gpus": [0]}),
    case("", {"env": {"CUDA_VISIBLE_DEVICES": " 0, 1,"}, "gpus": gpus(2)}, launch={"nproc_per_node": 2}),
    case("", {"env": {"CUDA_VISIBLE_DEVICES": "GPU-ab"}, "gpus": [gpu(0, uuid="GPU-abcd"), gpu(1, uuid="GPU-ffff")]}),
    case("E gpu-not-visible", {"env": {"CUDA_VISIBLE_DEVICES": "GPU-77"}, "gpus": [gpu(0, uuid="GPU-abcd")]}),
    case("", {"env": {"CUDA_VISIBLE_DEVICES": "MIG-1f2e"}}),
    case("", {"env": {"CUDA_VISIBLE_DEVICES": "9"}, "gpus": gpus(2)}, launch={"target": "slurm", "nproc_per_node": 2}),
    case("W gpu-memory-low", {"gpus": [gpu(free_memory_gib=40.0)]}),
    case("", {"gpus": [gpu(), gpu(1, free_memory_gib=1.0)]}, launch={"gpus": [0]}),
    # weights, gradients and two states in bfloat16: 8 bytes a parameter; deepspeed adds float32
    *(case("E gpu-memory-short", {"gpus": cards(1, gib)}, {"model": name, "train_type": "full"}) for name, gib in (
        ("o/Llama-3.1-8B", 40), ("o/Qwen2.5-32B", 80), ("o/a-7b", 24))),
    case("W gpu-memory-short", {"gpus": cards(1, 48)}, {"model": "o/Llama-3.1-8B", "train_type": "full"}),  # by a rough name
    case("", {"gpus": cards(1, 24), "host__wsl": True, "driver__version": "576.88"}, {"model": "o/a-7b", "train_type": "full"}),
    *(case("", {"gpus": cards(1, gib)}, {"model": name, "train_type": "full"}) for name, gib in (
        ("o/Llama-3.1-8B", 80), ("o/Qwen2.5-3B", 24), ("o/Qwen2.5-0.5B", 8), ("o/unnamed", 8), ("o/Mixtral-8x7B", 8))),
    case("E gpu-memory-short", {"gpus": cards(1, 24), **sized(15.2)}, {"train_type": "full"}),
    case("E gpu-memory-short", {"gpus": cards(1, 14), **sized(15.2)}),  # the weights alone
    case("", {"gpus": cards(1, 16), **sized(15.2)}), case("", {"gpus": cards(1, 14), **sized(15.2, torch_dtype="float32")}),
    case("E gpu-memory-short", {"gpus": cards(1, 24)}, {"model": "o/Qwen2.5-32B"}),
    case("", {"gpus": cards(1, 24)}, {"model": "o/Qwen2.5-32B", "quant_method": "bnb", "quant_bits": 4}),
    case("E gpu-memory-short", {"gpus": cards(1, 24)}, {"model": "o/Qwen2.5-72B", "quant_method": "bnb", "quant_bits": 4}),
    case("", {"gpus": cards(1, 24)}, {"model": "o/Qwen2.5-72B-Instruct-GPTQ-Int4"}),
    case("E gpu-memory-short", {"gpus": cards(8, 80)}, {"model": "o/Qwen2.5-72B"}, launch={"nproc_per_node": 8}),
    case("W gpus-unused", {"gpus": cards(8, 80)}, {"model": "o/Qwen2.5-72B"}),  # spread over all of them
    *(case(expect, {"gpus": cards(8, 80), **packages(deepspeed="0.18.3")}, {
        "model": f"o/{name}", "train_type": kind, "deepspeed": stage, "save_only_model": True}, launch={"nproc_per_node": 8})
      for expect, name, kind, stage in (
        ("E gpu-memory-short", "Qwen2.5-14B", "full", "zero0"), ("", "Qwen2.5-3B", "full", "zero0"),
        ("E gpu-memory-short", "Qwen2.5-32B", "full", "zero2"), ("", "Qwen2.5-14B", "full", "zero2"),
        ("", "Qwen2.5-32B", "full", "zero3"), ("E gpu-memory-short", "Qwen2.5-72B", "full", "zero3"),
        ("", "Qwen2.5-72B", "full", "zero3_offload"), ("", "Qwen2.5-72B", "full", "ds.json"),
        ("E gpu-memory-short", "Qwen2.5-72B", "lora", "zero2"), ("", "Qwen2.5-72B", "lora", "zero3"),
        ("E gpu-memory-short", "Qwen2.5-32B", "full", {"zero_optimization": {"stage": 1}}),
        ("", "Qwen2.5-14B", "full", {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}))),
    case("", {"gpus": cards(16, 80), **packages(deepspeed="0.18.3")}, {
        "model": "o/Qwen2.5-72B", "train_type": "full", "deepspeed": "zero3", "save_only_model": True},
         launch={"nproc_per_node": 16}),
    case("", {"gpus": cards(8, 80)}, {"model": "o/Qwen2.5-32B", "train_type": "full", "fsdp": "fsdp2"},
         launch={"nproc_per_node": 8}),
    *(case("", {"gpus": cards(1, 24)}, {"model": "o/a-7b", "train_type": "full", **less}) for less in (
        {"freeze_parameters_ratio": 0.9}, {"optim": "lomo"}, {"freeze_llm": True})),
    case("E gpu-memory-short", {"gpus": cards(1, 24)}, {"model": "o/Qwen2.5-14B", "train_type": "full", "optim": "adamw_8bit"}),
    case("", {"gpus": cards(1, 48), **model("qwen2_5_vl")}, {**SDPA, "train_type": "full"}),  # its tower is frozen
    *(case("E gpu-arch-unsupported, E bf16-unsupported, E flash-attn-arch-missing", {"gpus": [gpu(0, c)]})
      for c in ("6.0", "7.0", "7.5")),
    case("E gpu-arch-unsupported", HOPPER | {"gpus": [gpu(0, "8.0")]}, FA3),
    case("E gpu-arch-unsupported", HOPPER | {"gpus": [gpu(0, "12.0")]}, FA3),
    case("", HOPPER, FA3),
    case("", {**HOPPER, "flash_attn_3": variant("flash-attn-3", "3.0.0b1", "flash_attn_interface.py", {"needs": []})}, FA3),
    case("E flash-attn-shadowed", {**HOPPER, "flash_attn_3": variant("flash-attn-3", "3.0.0b1", "x/other.py", {})}, FA3),
    case("", {"gpus": [gpu(0, "9.0")], "flash_attn_4": variant("flash-attn-4", "4.0.0b4", "flash_attn/cute/__init__.py", None),
              **packages(flash_attn_4="4.0.0b4", ms_swift="4.6.0", transformers="5.5.0")}, FA4),
    case("E gpu-arch-unsupported", packages(flash_attn_4="4.0.0b4", ms_swift="4.6.0", transformers="5.5.0"), FA4),
    *(case("", {"gpus": [gpu(0, c)], **packages(flash_attn_4="4.0.0b4", ms_swift="4.6.0", transformers="5.5.0")}, FA4)
      for c in ("9.0", "10.0", "10.3", "11.0", "12.0", "12.1")),
    case("W gpu-flash-attn-leftover", {"gpus": [gpu(0, "7.5")]}, {**SDPA, "torch_dtype": "float16"}),
    case("", {"gpus": [gpu(0, "7.5")], "flash_attn__import_error": "x"}, {**SDPA, "torch_dtype": "float16"}),
    case("E driver-too-old", {"driver__cuda": "11.8", "driver__version": "520.61.05"}),
    case("E driver-too-old", {"torch__cuda": "13.0", "torch__version": "2.9.1+cu130", **ext(needs=["libcudart.so.13"])}),
    case("E driver-too-old", {"driver__cuda": UNKNOWN, "driver__version": "470.182.03"}),
    case("E driver-too-old", {"torch__cuda": UNKNOWN, "torch__version": "2.9.1+cu130", **ext(needs=["libcudart.so.13"])}),
    case("", {"torch__cuda": UNKNOWN}),
    case("E driver-too-old", {"driver__version": "535.161.08", "driver__cuda": "12.2", "flash_attn__version": UNKNOWN,
                              **packages(flash_attn="2.8.1")}),
    *(case("", {"driver__cuda": c, "driver__version": v})  # any 12.x binary runs on any driver of 12.x, or newer
      for c, v in (("12.0", "525.105.17"), ("12.2", "535.161.08"), ("12.4", "550.54.15"), ("13.0", "580.95.05"))),
    case("", {"torch__version": "2.4.1+cu118", "torch__cuda": "11.8", **ext(needs=["libcudart.so.11.0"])}),
    case("E driver-too-old", {"driver__version": "535.161.08", "driver__cuda": "12.2", "flash_attn__version": "2.8.1"}),
    case("", {"driver__version": "550.54.15", "driver__cuda": "12.4", "flash_attn__version": "2.8.1"}),
    case("", {"driver__version": "535.161.08", "driver__cuda": "12.2", "flash_attn__version": "2.8.1", **probe(True, off=.01)}),
    # NVIDIA's container 25.08 and later: CUDA 13 on a driver of the 12 branch, through the container's own libcuda
    case("", {"torch__version": "2.9.1+cu130", "torch__cuda": "13.0", "driver__version": "570.133.20", "driver__cuda": "13.0",
              **ext(needs=["libcudart.so.13"])}),
    case("", {"torch__version": "2.9.1+cu130", "torch__cuda": "13.0", **ext(needs=["libcudart.so.13"]), **probe(True, off=.01)}),
    # JetPack 7 numbers its driver 580.00
    case("", {"gpus": [gpu(0, "11.0")], "torch__version": "2.9.1+cu130", "torch__cuda": "13.0", "driver__version": "580.00",
              "driver__cuda": "13.0", **ext(needs=["libcudart.so.13"], cubins=["sm_110"])}),
    case("E driver-too-old", {"driver__version": "535.1", "driver__cuda": "12.2", **ext(cubins=["sm_70"], ptx=["compute_80"])}),
    case("", ext(cubins=["sm_70"], ptx=["compute_80"])),
    case("E shm-small", {"host__shm_gib": 0.0625, "gpus": gpus(2)}, launch={"nproc_per_node": 2}),
    case("W shm-small", {"host__shm_gib": 0.5, "gpus": gpus(2)}, launch={"nproc_per_node": 2}),
    case("", {"host__shm_gib": 0.0625}),
    case("W shm-small", {"host__shm_gib": 0.0625, "gpus": gpus(2), "env": {"NCCL_SHM_DISABLE": "1"}},
         launch={"nproc_per_node": 2}),
    # MetaX's image torch 2.6.0+metax3.0: flash-attn and a CUDA number, and nothing for NVML to see
    case("", {"gpus": [], "driver": None, "torch__version": "2.6.0+metax3.0.0.3", "torch__cuda": "11.6",
              **ext(needs=["libmcruntime.so"], cubins=[])}),
    case("E disk-space-low", {"host__free_gib__output": 20.0}, {"train_type": "full", "save_total_limit": 2}),
    case("", {"host__free_gib__output": 20.0}, {"save_total_limit": 2}),
    case("E disk-space-low", path(OUTPUT, kind="dir", writable=True, free_gib=0.1), {"save_total_limit": 4}),
    case("", {"host__free_gib__output": 60.0}, {"train_type": "full", "save_total_limit": 2, "save_only_model": True}),
    case("", {"host__free_gib__output": 60.0}, {"train_type": "full", "save_total_limit": 2, "save_steps": 50, "max_steps": 50}),
    case("", {"host__free_gib__output": 60.0}, {"train_type": "full", "save_total_limit": 2, "freeze_llm": True}),
    case("", {"host__free_gib__output": 60.0}, {"model": "internlm/internlm2_5-1_8b-chat", "train_type": "full",
                                                "save_total_limit": 2}),
    case("E disk-space-low, E flash-attn-missing", {**NO_FA, "host__free_gib__site_packages": 0.2}),
    case("E disk-space-low, E flash-attn-missing", {**NO_FA, "host__free_gib__tmp": 1.0}, **BUILD),
    case("E flash-attn-missing", {**NO_FA, "host__free_gib__tmp": 0.0}, flash_attn={"install": "never"}),
    case("W host-memory-low", {"host__available_memory_gib": 8.0, **path(DATA, kind="file", size_gib=30.0)}),
    case("", {"host__available_memory_gib": 8.0, **path(DATA, kind="file", size_gib=30.0)}, {"streaming": True, "max_steps": 9}),
    case("W host-memory-low", {"host__available_memory_gib": 120.0, **path(DATA, kind="file", rows=22_000_000),
                               "packages": {"ms-swift": "3.4.1", "transformers": "4.51.3"}}),
    case("", {"host__available_memory_gib": 120.0, **path(DATA, kind="file", rows=22_000_000)}),
    case("W host-memory-low, W build-memory-low, E flash-attn-missing", {**NO_FA, "host__available_memory_gib": 3.0}, **BUILD),
    # 69 GiB of rows: https://github.com/modelscope/ms-swift/issues/2974
    case("E disk-space-low", {"host__free_gib__cache": 14.0, **path(DATA, kind="file", size_gib=30.0)}),
    case("", {"host__free_gib__cache": 14.0, "host__free_gib__datasets": 40.0, **path(DATA, kind="file", size_gib=30.0)}),
    case("E disk-space-low", {"host__free_gib__datasets": 14.0, **path(DATA, kind="file", size_gib=30.0)},
         {"dataset": [f"{DATA}#500"]}),  # all of it is loaded
    case("E disk-space-low", {"env": {"MODELSCOPE_CACHE": "/c"}, "paths": {"/c": {"kind": "dir", "free_gib": 9.0},
                                                                           DATA: {"kind": "file", "size_gib": 30.0}}}),
    case("", {"env": {"MODELSCOPE_CACHE": "/c"}, "host__free_gib__cache": 14.0, **path(DATA, kind="file", size_gib=30.0)}),
    case("", {"host__free_gib__cache": 14.0, **path(DATA, kind="file", size_gib=30.0)}, {"streaming": True, "max_steps": 9}),
    case("", {"host__free_gib__cache": 14.0, **path(DATA, kind="file", size_gib=9.0)}),
    case("W windows-unsupported", {"host__os": "Windows", "host__glibc": None, **ext(glibc=None)}),
    case("", {"host__os": "Windows", "host__glibc": None, "flash_attn": None}, SDPA),
    case("", {"host__wsl": True, "driver__version": "576.88"}),
]

FLASH_ATTN = [
    case("E flash-attn-missing", NO_FA),
    case("E flash-attn-missing, I flash-attn-missing", {"flash_attn": None, **packages(flash_attn=None, kernels="0.10.2")}),
    case("E kernel-missing", NO_FA, **HUB),
    case("E kernel-missing", packages(), {"attn_impl": "kernels-community/flash-attn2", "packing": False}),
    case("", {"flash_attn": None, **packages(flash_attn=None, **HUB_PACKAGES)}, **HUB),  # fetched when the training starts
    case("", {**NO_FA, "packages": UNKNOWN}, **HUB), case("", {"torch": UNKNOWN}, flash_attn={"provider": "torch"}),
    *(case(expect, {"flash_attn": None, "hub_kernel": {"repo": "kernels-community/flash-attn2", **said},
                    **packages(flash_attn=None, **HUB_PACKAGES)}, **HUB)
      for expect, said in (("", KEPT), ("", {"builds": True}), ("E kernel-missing", {"builds": False}),
                           ("E kernel-missing", {"error": "no answer within 60 s"}),
                           ("E kernel-missing", {**KEPT, "probe": {"devices": [{"index": 0, "ok": False, "error": "x"}]}}))),
    case("W kernel-mismatch", {"flash_attn": None, "hub_kernel": KEPT, **packages(
        flash_attn=None, ms_swift="4.6.0", transformers="5.19.0", kernels="0.16.3")}, **HUB),
    *(case(f"E flash-attn-missing, {more}", {"flash_attn": None, **packages(
        flash_attn=None, ms_swift="4.6.0", transformers=transformers, kernels=kernels)})
      for transformers, kernels, more in (
          ("5.19.0", "0.17.0", "I flash-attn-missing"), ("5.19.0", "0.16.3", "W kernel-mismatch"),
          ("5.19.0", "0.18.0", "W kernel-mismatch"), ("5.14.0", "0.15.2", "I flash-attn-missing"),
          ("5.14.0", "0.14.1", "W kernel-mismatch"),
          ("4.57.3", "0.12.3", "I flash-attn-missing"))),
    case("E flash-attn-missing, W kernel-mismatch", {  # what is read in the installed transformers goes before the table
        "flash_attn": None, "kernels_range": ">=0.21.0,<0.22.0",
        **packages(flash_attn=None, ms_swift="4.6.0", transformers="5.19.0", kernels="0.17.0")}),
    case("", packages(ms_swift="4.6.0", transformers="5.19.0", kernels="0.12.3")),  # it looks, and goes on without
    *(case("E kernel-mismatch", packages(ms_swift=ms_swift, transformers=transformers, kernels=kernels))
      for ms_swift, transformers, kernels in (
          ("3.12.6", "4.57.3", "0.13.0"), ("4.6.0", "5.8.0", "0.15.2"), ("4.0.4", "5.2.0", "0.17.0"))),
    *(case("", packages(ms_swift=ms_swift, transformers=transformers, kernels=kernels))
      for ms_swift, transformers, kernels in (
          ("3.12.6", "4.57.3", "0.12.3"), ("4.6.0", "5.8.0", "0.14.1"), ("3.8.3", "4.55.4", "0.9.0"))),
    case("E kernel-mismatch", packages(ms_swift="4.6.0", transformers="5.19.0", kernels="0.12.3"),
         {"attn_impl": "kernels-community/flash-attn2", "packing": False}),
    *(case("", packages(ms_swift="4.6.0", transformers=transformers, kernels=kernels),
           {"attn_impl": "kernels-community/flash-attn2", "packing": False})
      for transformers, kernels in (("5.19.0", "0.17.1"), ("5.8.0", "0.13.0"))),
    case("", {"flash_attn": UNKNOWN}),
    case("E flash-attn-missing", {"flash_attn": UNKNOWN, **packages(flash_attn=None)}),
    case("E flash-attn-extension-missing", {"flash_attn__extension": UNKNOWN,
                                            "flash_attn__import_error": "No module named 'flash_attn_2_cuda'"}),
    case("E flash-attn-extension-missing", {"flash_attn__extension": None, "flash_attn__import_error": "No module named x"}),
    case("E flash-attn-shadowed", {"flash_attn__origin": "/home/u/flash-attention/flash_attn/__init__.py",
                                   "flash_attn__extension": None, "flash_attn__import_error": "No module flash_attn_2_cuda"}),
    case("", {"flash_attn__origin": "/src/flash-attention/flash_attn/__init__.py", **probe(True, off=0.01)}),
    case("", {"flash_attn__origin": "/src/flash-attention/flash_attn/__init__.py"}),  # installed editable; nobody probed
    case("", {"flash_attn__origin": "/opt/target/flash_attn/__init__.py", "flash_attn__import_error": UNKNOWN}),  # took too long
    case("", {**ext(unresolved=[RENAMED], needs=["libcudart.so.11.0"]), **probe(True, off=0.01)}),  # it has computed
    case("E flash-attn-shadowed", {"flash_attn__origin": "/lib/flash_attn.py", "flash_attn__extension": None,
                                   "flash_attn__import_error": "No module named 'flash_attn.x'; 'flash_attn' is not a package"}),
    case("E flash-attn-missing, E flash-attn-shadowed", {"flash_attn__distribution": None, "flash_attn__extension": None,
                                                         "flash_attn__origin": "/lib/flash_attn/__init__.py"}),
    case("", {"flash_attn__origin": "D:\\env\\Lib\\site-packages\\flash_attn\\__init__.py"}),
    case("E flash-attn-python-mismatch", ext(file="flash_attn_2_cuda.cpython-310-x86_64-linux-gnu.so")),
    case("", ext(file="flash_attn_2_cuda.abi3.so")),
    case("E flash-attn-python-mismatch", {"python__abi": "cp313t", "python__version": "3.13.1",
                                          **ext(file="flash_attn_2_cuda.cp313-win_amd64.pyd")}),
    case("E flash-attn-abi-mismatch", ext(unresolved=[OLD])),
    case("E flash-attn-abi-mismatch", {"torch__cxx11_abi": False, **ext(unresolved=[NEW])}),
    case("E flash-attn-abi-mismatch", {"flash_attn__wheel_label": "cu12torch2.8cxx11abiFALSE"}),
    case("E flash-attn-torch-mismatch", {"flash_attn__wheel_label": "cu12torch2.7cxx11abiTRUE"}),
    # kingbri1's wheels for Windows are all called abiFALSE
    case("W windows-unsupported", {"host__os": "Windows", "host__glibc": None, **ext(glibc=None),
                                   "flash_attn__wheel_label": "cu128torch2.8.0cxx11abiFALSE"}),
    case("", {"flash_attn__wheel_label": "cu.12.8.torch.2.8"}),
    # an official wheel for torch 2.6 labelled abiFALSE was built with the new ABI: what loads and computes is right
    case("", {"flash_attn__wheel_label": "cu12torch2.8cxx11abiFALSE", **probe(True, off=0.002)}),
    case("E flash-attn-torch-mismatch", ext(unresolved=[RENAMED], copies=["/usr/lib/flash_attn_2_cuda.so"])),
    case("E flash-attn-torch-mismatch", ext(unresolved=[NEW])),  # this torch has that ABI: the signature is another
    case("E flash-attn-torch-mismatch, E flash-attn-abi-mismatch", ext(unresolved=[RENAMED, OLD])),
    case("E flash-attn-torch-mismatch", {"flash_attn__import_error": f"x.so: undefined symbol: {RENAMED}",
                                         **ext(unresolved=UNKNOWN)}),
    case("E flash-attn-cuda-mismatch", ext(needs=["libcudart.so.11.0"])),
    case("E flash-attn-cuda-mismatch", {"flash_attn__import_error": "libcudart.so.13: cannot open", **ext(needs=UNKNOWN)}),
    case("", ext(needs=["cudart64_12.dll"])),
    case("E flash-attn-glibc-too-new", {"host__glibc": "2.31"}),
    case("E flash-attn-glibc-too-new, W wheel-not-found", {"host__glibc": None}),
    case("", {"host__glibc": UNKNOWN}),
    *(case("E flash-attn-arch-missing", {"gpus": [gpu(0, c)]}) for c in ("8.7", "10.0", "12.0")),
    *(case("", {"gpus": [gpu(0, c)]}) for c in ("8.0", "8.6", "8.9", "9.0")),
    case("", {"gpus": [gpu(0, "12.1")], **ext(cubins=["sm_120"])}),
    case("E flash-attn-arch-missing", {"gpus": [gpu(0, "12.0")], **ext(cubins=["sm_121", "sm_100f", "sm_90a"])}),
    case("", {"gpus": [gpu(0, "10.3")], **ext(cubins=["sm_100f"])}),
    case("E flash-attn-arch-missing", {"gpus": [gpu(0, "8.9")], **ext(cubins=["sm_87"])}),
    case("", {"gpus": [gpu(0, "8.7")], **ext(cubins=["sm_87"])}),
    case("", {"gpus": [gpu(0, "12.0")], **ext(ptx=["compute_90"])}),
    case("E flash-attn-arch-missing", {"gpus": [gpu(0, "12.0")], **ext(ptx=["compute_90a"])}),
    case("", {"gpus": [gpu(0, "12.0")], **ext(cubins=UNKNOWN)}),
    case("", {"gpus": [gpu(), gpu(1, "12.0")]}, launch={"gpus": [0]}),
    case("E flash-attn-too-old", {"flash_attn__version": "2.0.9"}),
    case("", {"flash_attn__version": "2.1.0"}),
    *(case(expect, {"flash_attn__version": version, **packages(ms_swift="4.6.0", transformers="5.5.0")})
      for version, expect in (("2.3.0", "E flash-attn-too-old"), ("2.3.2", "E flash-attn-too-old"), ("2.3.3", ""))),
    case("", {"flash_attn__version": "2.3.0"}),
    case("E flash-attn-too-old", {"flash_attn__version": UNKNOWN, **packages(flash_attn="2.0.4")}),
    case("E flash-attn-import-failed", {"flash_attn__import_error": "ImportError: DLL load failed"}),
    case("", {"flash_attn__import_error": "ImportError: DLL load failed"}, SDPA),
    case("E torch-missing", {"flash_attn__import_error": "No module named 'torch'", "torch": None}),
    case("E flash-attn-probe-failed", probe(False, "CUDA error: invalid device function")),
    case("E flash-attn-probe-wrong", probe(False, None, 0.8)),
    case("E flash-attn-probe-wrong", probe(True, None, 3.0)),
    case("", probe(True, None, 0.004)),
    case("", probe(False, "busy", index=5)),
    case("E flash-attn-variant-missing", {"gpus": [gpu(0, "9.0")]}, FA3),
    case("E flash-attn-variant-missing", {"gpus": [gpu(0, "9.0")], **packages(flash_attn_3="0.0.1")}, FA3),
    case("", {"gpus": [gpu(0, "9.0")], "packages": UNKNOWN, "flash_attn_3": UNKNOWN}, FA3),
    case("W torch-prerelease", {"torch__version": "2.8.0a0+5228986c39.nv25.5"}),
    case("W torch-prerelease", {"torch__version": "2.9.0.dev20250801+cu128"}),
]

LABELLED = "flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-{}.whl"
ROCM: dict[str, Any] = {"torch__version": "2.9.1+rocm6.4", "torch__hip": "6.4", "torch__cuda": None, "gpus": [], "driver": None}
CXX20: dict[str, Any] = {**NO_FA, "torch__version": "2.14.0+cu128"}
INSTALLING = [
    *(case("E flash-attn-missing, W rocm-build", ROCM | NO_FA, **how) for how in ({}, BUILD, NEVER)),
    case("E flash-attn-import-failed, W rocm-build", ROCM | {"flash_attn__import_error": "libcudart.so.12: cannot open"}),
    case("", ROCM | NO_FA, SDPA),
    case("E flash-attn-missing, W rocm-build", ROCM | NO_FA | {"gpus": [amd()]}),
    case("E flash-attn-missing, W rocm-build", ROCM | NO_FA | {"gpus": [amd(), amd("gfx1100", "11.0", 1)]},
         {"device_map": "auto"}),
    case("E nproc-exceeds-gpus", ROCM | {"gpus": [amd()]}, launch={"nproc_per_node": 2}),
    case("W gpus-unused", ROCM | {"gpus": [amd(), amd(index=1)]}),
    case("", ROCM | {"gpus": [amd(), amd(index=1)], "env": {"HIP_VISIBLE_DEVICES": "1", "CUDA_VISIBLE_DEVICES": "0,1"}}),
    case("E gpu-not-visible", ROCM | {"gpus": [amd()], "env": {"HIP_VISIBLE_DEVICES": "1"}}),
    case("E torch-cpu-only", {"gpus": [amd()], "driver": None}),
    case("", {"gpus": [amd()], "driver": None}, {**SDPA, "use_cpu": True}),
    case("", ROCM),
    case("E flash-attn-missing, E build-torch-mismatch", CXX20, **BUILD),
    case("E flash-attn-missing, W build-torch-mismatch", CXX20, flash_attn={"provider": "package"}),
    case("", CXX20),  # torch's own will do
    case("E flash-attn-missing", CXX20, flash_attn={"provider": "package", "build": "never"}),
    case("E flash-attn-missing", CXX20 | {"torch__version": "2.13.0+cu128"}, **BUILD),
    case("E flash-attn-missing", CXX20, flash_attn={"build": "always", "version": "2.9.0"}),
    case("", {"torch__version": "2.14.0+cu128"}, **BUILD),
    case("E flash-attn-missing, W wheel-not-found", {**NO_FA, "host__machine": "ppc64le"}),
    case("E flash-attn-missing, E wheel-not-found", {**NO_FA, "host__machine": "ppc64le"}, **NEVER),
    case("E flash-attn-missing, E wheel-invalid", NO_FA, flash_attn={"sources": ["/home/u/flash_attl.whl"]}),
    case("E flash-attn-missing, E wheel-unsupported-here", NO_FA,
         flash_attn={"sources": [f"./{LABELLED.format('cp310-cp310-linux_x86_64')}"]}),
    case("E flash-attn-missing, E wheel-unsupported-here", NO_FA,
         flash_attn={"sources": [LABELLED.format("cp311-cp311-win_amd64")]}),
    *(case("E flash-attn-missing", NO_FA, flash_attn={"sources": [LABELLED.format(tags)]})
      for tags in ("cp311-cp311-linux_x86_64", "cp39-abi3-manylinux_2_28_x86_64", "py3-none-any")),
    case("", {}, flash_attn={"sources": [LABELLED.format("cp310-cp310-linux_x86_64")]}),
    case("E flash-attn-missing, E nvcc-missing", {**NO_FA, "toolchain__nvcc": None}, **BUILD),
    case("E flash-attn-missing", {**NO_FA, "toolchain__nvcc": None}),
    case("", {"toolchain": None, **packages(ninja=None, wheel=None)}, **BUILD),
    case("E deepspeed-missing", {"toolchain__nvcc": None}, {"deepspeed": "zero2"}),
    case("E cuda-home-missing", {"toolchain__nvcc": None, **packages(deepspeed="0.17.5")}, {"deepspeed": "zero2"}),
    case("W cuda-home-missing", {"toolchain__nvcc": None, **packages(deepspeed="0.17.5")}),
    case("W cuda-home-missing", {"toolchain__nvcc": None, "gpus": UNKNOWN, **packages(deepspeed="0.17.5")},
         {"deepspeed": "zero2"}, launch={"target": "slurm", "nproc_per_node": 8}),
    case("", {"toolchain__nvcc": None, "gpus": UNKNOWN, **packages(deepspeed="0.17.5")}, launch={"target": "slurm"}),
    case("E flash-attn-missing, E nvcc-torch-mismatch", {**NO_FA, "toolchain__nvcc": "11.8", "toolchain__gcc": "11.4"}, **BUILD),
    case("E flash-attn-missing, E nvcc-too-old, E nvcc-torch-mismatch",
         {**NO_FA, "toolchain__nvcc": "11.6", "toolchain__gcc": "10.2"}, **BUILD),
    case("E flash-attn-variant-missing, E nvcc-too-old", {"gpus": [gpu(0, "9.0")], "toolchain__nvcc": "12.1"}, FA3, **BUILD),
    case("E flash-attn-missing, E nvcc-too-old", {**NO_FA, "gpus": [gpu(0, "12.0")], "toolchain__nvcc": "12.4"}, **BUILD),
    case("E flash-attn-missing, E gcc-unsupported", {**NO_FA, "toolchain__gcc": "15.1"}, **BUILD),
    case("E flash-attn-missing, E gcc-unsupported", {**NO_FA, "toolchain__gcc": "8.5"}, **BUILD),
    case("E flash-attn-missing, E gcc-unsupported", {**NO_FA, "toolchain__nvcc": "12.2", "toolchain__gcc": "13.2"}, **BUILD),
    case("E flash-attn-missing", {**NO_FA, "toolchain__nvcc": "12.4", "toolchain__gcc": "13.2"}, **BUILD),
    case("E flash-attn-missing, W build-deps-missing", {"flash_attn": None, **packages(flash_attn=None, psutil=None)}, **BUILD),
    case("E flash-attn-missing, W build-memory-low", {**NO_FA, "host__available_memory_gib": 12.0}, **BUILD),
    case("E flash-attn-missing, E site-packages-not-writable", {**NO_FA, "python__site_packages_writable": False}),
    case("E flash-attn-missing, E site-packages-not-writable", {**NO_FA, "python__externally_managed": True}),
    case("", {"python__site_packages_writable": False, "python__externally_managed": True}),
    case("E site-packages-not-writable", {"python__site_packages_writable": False}, flash_attn={"version": ">=2.9"}),
    case("", {"python__site_packages_writable": False}, flash_attn={"version": "2.8.3"}),
    case("W torch-prerelease", {"python__site_packages_writable": False, "flash_attn__version": "2.7.4.post1+25.8",
                                "torch__version": "2.8.0a0+34c6371d24.nv25.8"}, flash_attn={"version": "2.7.4.post1"}),
    case("E flash-attn-missing, E mirror-unreachable", {**NO_FA, **down("github.com")}, **NEVER),
    case("E flash-attn-missing", {**NO_FA, "network": UNKNOWN, "env": None}, **NEVER),
    case("E flash-attn-missing, W mirror-unreachable", {**NO_FA, **down("github.com")}, flash_attn={"mirrors": []}),
    case("E flash-attn-missing", {**NO_FA, **down("github.com")}, flash_attn={"mirrors": ["https://m.example/"]}),
    case("E flash-attn-missing, E mirror-unreachable", {**NO_FA, **down("github.com")}, flash_attn={
        "build": "never", "mirrors": [], "sources": ["github:Dao-AILab/flash-attention", "https://pypi.org/simple/"]}),
    case("E flash-attn-missing, W mirror-unreachable", {**NO_FA, **down("github.com")}, flash_attn={
        "build": "never", "sources": ["github:Dao-AILab/flash-attention", "https://other.example/simple/"]}),
    case("E flash-attn-missing, W mirror-unreachable", {**NO_FA, **down("github.com")}, flash_attn={
        "build": "never", "mirrors": [], "sources": ["github:Dao-AILab/flash-attention", "/srv/wheels"]}),
    case("", down("github.com"), **NEVER),
    case("E flash-attn-missing, E tls-failed, E mirror-unreachable",
         {**NO_FA, **down("github.com", "[SSL: CERTIFICATE_VERIFY_FAILED]")}, **NEVER),
    case("E flash-attn-missing, W tls-failed, W mirror-unreachable",
         {**NO_FA, **down("github.com", "EOF occurred in violation of protocol")}, flash_attn={"mirrors": []}),
]

LINEAR = {**model("qwen3_5", layer_types=["linear_attention", "full_attention"]),
          **packages(ms_swift="4.3.2", transformers="5.5.0", flash_linear_attention="0.4.2", causal_conv1d="1.6.0")}
FA4_B200 = {"gpus": [gpu(0, "10.0")], "flash_attn": None, "flash_attn_4": variant(
    "flash-attn-4", "4.0.0b31", "flash_attn/cute/__init__.py", None)}
LONG = path(DATA, kind="file", rows=109_000_000)
TO_3_8 = {"truncation_strategy": {"type": "Literal", "choices": ["delete", "left", "right", None]}, **{n: {} for n in (
    "model", "dataset", "packing", "attn_impl", "output_dir", "train_type", "torch_dtype", "max_length")}}
SWIFT = [
    case("E ms-swift-missing", packages(ms_swift=None)),
    case("E swift-not-ms-swift", {"swift__command": "/usr/bin/swift", "swift__command_is_ms_swift": False}),
    case("E swift-not-ms-swift", {"swift__module": None}),
    case("E arg-unknown", {"ms_swift_args": {"model": {}, "dataset": {}, "packing": {}, "attn_impl": {}, "output_dir": {},
                                             "train_type": {}, "torch_dtype": {}, "max_length": {}}}, {"lora_rnak": 8}),
    case("I arg-renamed", {}, {"sft_type": "lora"}),
    case("E arg-invalid", packages(deepspeed="0.17.5"), {"deepspeed": "default-zero2"}),
    # what ms-swift 4.6.0 did with each: a ZeroDivisionError, a refusal of torch, transformers or peft, or no step at all
    *(case("E arg-invalid", {}, swift) for swift in (
        {"per_device_train_batch_size": 0}, {"per_device_train_batch_size": "-1"}, {"gradient_accumulation_steps": 0},
        {"max_length": 0}, {"num_train_epochs": -1}, {"logging_steps": 0}, {"learning_rate": -1}, {"dataloader_num_workers": -1},
        {"train_type": "lora", "lora_rank": 0}, {"warmup_ratio": 10}, {"warmup_ratio": -0.1}, {"warmup_steps": -1},
        {"save_steps": 1.5}, {"eval_steps": 1.5, "split_dataset_ratio": 0.1},
        {"lora_dropout": 5}, {"split_dataset_ratio": 1}, {"split_dataset_ratio": -0.1}, {"adam_beta2": 1}, {"adam_beta1": -0.1},
        {"adam_epsilon": -1}, {"seed": -1}, {"data_seed": -1}, {"neftune_noise_alpha": -1},
        {"train_type": "full", "freeze_parameters_ratio": 1},
        {"per_device_eval_batch_size": 0, "split_dataset_ratio": 0.1})),
    # what trains to its end, and nothing of use
    *(case("W value-doubtful", {}, swift) for swift in (
        {"learning_rate": 5}, {"learning_rate": "1e4"}, {"learning_rate": 0}, {"num_train_epochs": 0, "max_steps": 0},
        {"num_train_epochs": 0}, {"max_steps": 0}, {"lora_alpha": 0}, {"lora_dropout": 1}, {"lora_dropout": -0.1},
        {"save_steps": 0}, {"label_smoothing_factor": 2}, {"weight_decay": 10}, {"num_train_epochs": 5000}, {"max_length": 9})),
    # what does nothing beside another setting
    *(case("W value-doubtful", {}, swift) for swift in (
        {"train_type": "full", "lora_rank": 8, "target_modules": ["all-linear"]}, {"freeze_parameters_ratio": 0.5},
        {"eval_strategy": "steps", "eval_steps": 9, "split_dataset_ratio": 0},
        {"lr_scheduler_type": "constant", "warmup_ratio": 0.1})),
    *(case("I value-doubtful", {}, swift) for swift in (
        {"eval_steps": 9, "split_dataset_ratio": 0}, {"max_steps": 9, "num_train_epochs": 2}, {"report_to": "none"})),
    # a preset of deepspeed, or a file
    *(case("E arg-invalid", {}, {"deepspeed": value}) for value in ("None", "zero4", "stage2", 2, False)),
    case("E deepspeed-missing", {}, {"deepspeed": "ds.json"}), case("E deepspeed-missing", {}, {"deepspeed": "zero2_offload"}),
    case("", packages(deepspeed="0.17.5"), {"deepspeed": '{"zero_optimization": {}}'}),
    case("", {**packages(deepspeed="0.17.5"), **path("ds", kind="file")}, {"deepspeed": "ds"}),
    # what ends without an error
    *(case("", {}, swift) for swift in (
        {"num_train_epochs": -1, "max_steps": 3}, {"logging_steps": -1}, {"max_grad_norm": 0}, {"warmup_ratio": 0.5},
        {"save_steps": 0.5}, {"save_steps": 1.5, "save_strategy": "epoch"}, {"per_device_eval_batch_size": 0},
        {"eval_strategy": "no", "split_dataset_ratio": 0}, {"learning_rate": 0.05},
        {"eval_steps": 9, "split_dataset_ratio": 0.1}, {"split_dataset_ratio": 10, "val_dataset": DATA},
        {"train_type": "full", "lora_rank": None}, {"save_steps": 0, "save_strategy": "no"}, {"freeze_parameters_ratio": 0},
        {"logging_steps": 0, "logging_strategy": "epoch"}, {"logging_steps": 0.1}, {"save_total_limit": 0},
        {"train_type": "lora", "lora_rank": 0, "adapters": ["a"]})),
    # ms-swift 2.6.1, swift/llm/utils/argument.py: no limit
    case("I arg-renamed, I arg-renamed, I arg-renamed",
         packages(ms_swift="2.6.1", transformers="4.46.3", trl="0.11.4", peft="0.13.2"), {**SDPA, "max_length": -1}),
    case("E arg-missing", {}, {"dataset": None}),
    *(case("E packing-needs-flash-attn", {}, {"attn_impl": impl, **how})
      for impl in ("sdpa", "eager", None) for how in (ON, {"packing": False, "padding_free": True})),
    case("E packing-needs-flash-attn, E transformers-mismatch", {"gpus": [gpu(0, "9.0")],
                                                                 **packages(flash_attn_4="4.0.0b4")}, FA4),
    case("E packing-lazy-tokenize", {}, {"lazy_tokenize": True}),
    case("", {}, {**SDPA, "lazy_tokenize": True}),
    case("E packing-leaks", LINEAR),
    case("E packing-leaks", LINEAR | model("qwen3_next") | linear("4.3.2", "5.2.0", "0.4.2")),
    case("", {**LINEAR, "gpus": gpus(2)}, {"sequence_parallel_size": 2}, launch={"nproc_per_node": 2}),
    case("", LINEAR | linear("4.3.2", "5.9.0", "0.4.2")),
    case("", LINEAR, SDPA),
    # ms-swift 4.3 and later compute Qwen3.5's packed rows themselves, once transformers hands over where they end
    *(case("E packing-needs-fla", LINEAR | linear(swift, tr, None)) for swift, tr in (("4.3.2", "5.9.0"), ("4.6.0", "5.14.1"))),
    *(case(expect, {**LINEAR, **linear(swift, tr, None), "gpus": gpus(2)}, {**SDPA, "sequence_parallel_size": 2},
           launch={"nproc_per_node": 2}) for expect, swift, tr in (
             ("E packing-needs-fla", "4.4.1", "5.10.0"), ("W linear-attention-slow", "4.6.0", "5.14.1"))),
    case("E packing-leaks", LINEAR | linear("4.4.1", "5.8.1", None)),
    case("E packing-leaks, W linear-attention-slow", LINEAR | model("qwen3_next") | linear("4.6.0", "5.14.1", None)),
    case("", LINEAR | linear("4.6.0", "5.14.1", "0.4.2")),
    case("W linear-attention-slow", LINEAR | linear("4.6.0", "5.14.1", None), SDPA),
    case("W linear-attention-slow", LINEAR | linear("4.6.0", "5.14.1", "0.4.2", conv=None), SDPA),
    case("", LINEAR | linear("4.6.0", "5.14.1", "0.4.2", conv=None)),  # packed, flash-linear-attention has a convolution itself
    case("", LINEAR | model("minimax", layer_types=["linear_attention"]) | linear("4.6.0", "5.14.1", None), SDPA),
    case("", {**LINEAR, **linear("4.6.0", "5.14.1", None), "gpus": [], "torch__npu": "2.9.0", "torch__cuda": None,
              "flash_attn": None}, SDPA),
    # transformers/quantizers: `is_trainable`; FP8 becomes bfloat16 where no GPU computes in it, from transformers 5 on
    case("E model-not-trainable", {**model("qwen3", quant_method="fp8"), **HOPPER}),
    case("E model-not-trainable", {**HOPPER, **path("Qwen/Qwen3-8B-FP8", kind="hub", model_config={"model_type": "qwen3"})},
         {"model": "Qwen/Qwen3-8B-FP8"}),
    case("E model-not-trainable", model("qwen3", quant_method="fp8") | packages(ms_swift="3.12.6", transformers="4.57.3")),
    case("", model("qwen3", quant_method="fp8") | packages(ms_swift="4.6.0", transformers="5.14.1")),  # an A100
    case("E model-not-trainable", {**model("qwen3", quant_method="fp8"), **packages(ms_swift="4.6.0", transformers="5.14.1"),
                                   "gpus": [gpu(0, "9.0")]}),
    case("", path("zai-org/GLM-4.5-FP8", kind="hub"), {"model": "zai-org/GLM-4.5-FP8"}),  # of another form
    *(case("E model-not-trainable", model("qwen2", quant_method=method), {"train_type": "full"})
      for method in ("gptq", "awq", "bitsandbytes")),
    *(case("", model("qwen2", quant_method=method)) for method in ("gptq", "awq", "bitsandbytes", "compressed-tensors", None)),
    case("E model-not-trainable", model("qwen2", quant_method="awq") | packages(ms_swift="4.6.0", transformers="5.14.1",
                                                                               gptqmodel="4.2.5")),
    case("", model("qwen2", quant_method="awq") | packages(ms_swift="4.6.0", transformers="5.14.1", gptqmodel="5.6.0")),
    *(case(expect, {**FA4_B200, **packages(flash_attn_4=kernel, ms_swift="4.6.0", transformers=tr)}, {**FA4, **how})
      for expect, kernel, tr, how in (
          ("E transformers-mismatch", "4.0.0b25", "5.14.1", {}), ("E transformers-mismatch", "4.0.0b30", "5.5.0", {}),
          ("E transformers-mismatch", "4.0.0b30", "5.14.1", {"packing": False, "padding_free": True}),
          ("W transformers-mismatch", "4.0.0b21", "5.14.1", {}), ("", "4.0.0b24", "5.14.1", {}), ("", "4.0.0b31", "5.14.1", {}),
          ("", "4.0.0b30", "5.14.1", {"packing": False}), ("E transformers-mismatch", "4.0.0b31", "5.3.0", {}))),
    case("", {**FA4_B200, "flash_attn_4__distribution": UNKNOWN, **packages(
        flash_attn_4="4.0.0b31", ms_swift="4.6.0", transformers="5.19.0")}, FA4),
    case("", {**FA4_B200, "gpus": [gpu(0, "9.0")], **packages(flash_attn_4="4.0.0b30", ms_swift="4.6.0", transformers="5.14.1")},
         FA4),
    case("E transformers-mismatch", HOPPER | packages(ms_swift="3.5.3", transformers="4.52.4", flash_attn_3="3.0.0b1"), FA3),
    case("E transformers-mismatch", HOPPER | packages(ms_swift="3.8.3", transformers="4.55.1",
                                                      flash_attn_3="3.0.0b1+cu.12.8.torch.2.7"), FA3),
    *(case(expect, {**HOPPER, **packages(ms_swift=swift, transformers=tr, flash_attn_3="3.0.0b1"), "flash_attn_3": variant(
        "flash-attn-3", "3.0.0b1", "flash_attn_interface.py", {"file": file})}, FA3)
      for expect, file, swift, tr in (
          ("E transformers-mismatch", "flash_attn_3_cuda.cpython-311-x86_64-linux-gnu.so", "3.8.3", "4.56.2"),
          ("", "flash_attn_3_cuda.cpython-311-x86_64-linux-gnu.so", "4.6.0", "5.4.0"), ("", "_C.abi3.so", "3.8.3", "4.55.4"))),
    *(case(expect, {**HOPPER, **model(kind), **packages(ms_swift=swift, transformers=tr, flash_attn_3="3.0.0b1")}, FA3)
      for expect, kind, swift, tr in (
          ("E transformers-mismatch", "qwen2_moe", "3.8.3", "4.56.2"), ("E transformers-mismatch", "olmoe", "3.7.2", "4.55.4"),
          ("", "qwen2_moe", "4.6.0", "5.5.0"), ("", "qwen3_moe", "3.8.3", "4.56.2"))),
    *(case(expect, {"gpus": [gpu(0, capability)], **ext(cubins=["sm_80", "sm_90", "sm_100"]), **packages(
        ms_swift="3.7.2", transformers=tr, flash_attn_3="3.0.0b1")}) for expect, capability, tr in (
          ("E transformers-mismatch", "10.0", "4.54.1"), ("", "9.0", "4.54.1"), ("", "10.0", "4.55.1"))),
    *(case(expect, {"gpus": [], "torch__npu": "2.5.1", "torch__cuda": None, "flash_attn": None, **packages(
        ms_swift="3.7.2", transformers=tr, flash_attn=None)}, how) for expect, tr, how in (
          ("E transformers-mismatch", "4.54.1", {}), ("E transformers-mismatch", "4.55.2", {}), ("", "4.55.3", {}),
          ("", "4.53.3", {}), ("", "4.54.1", SDPA))),
    *(case(expect, {**packages(ms_swift="3.12.6", transformers=tr), "gpus": gpus(2)}, {"sequence_parallel_size": size},
           launch={"nproc_per_node": 2}) for expect, tr, size in (
        ("E transformers-mismatch", "4.50.3", 2), ("", "4.51.0", 2), ("", "4.50.3", 1))),
    *(case(expect, {"flash_attn__distribution": None, "flash_attn__extension": None, **packages(
        ms_swift="4.6.0", transformers=tr, flash_attn=None, flash_attn_4=fa4)}, SDPA) for expect, tr, fa4 in (
          ("E flash-attn-shadowed", "5.5.4", None), ("E flash-attn-shadowed", "5.9.0", None), ("", "5.10.0", None),
          ("", "5.3.0", None), ("", "5.5.4", "4.0.0b31"))),
    *(case(expect, {"flash_attn_3": {"distribution": None, "origin": "/opt/x/flash_attn_interface.py"}, **packages(
        ms_swift="4.6.0", transformers=tr, flash_attn_3=None)}, SDPA) for expect, tr in (
          ("E flash-attn-shadowed", "5.5.4"), ("", "5.10.0"))),
    *(case(expect, {"gpus": [gpu(0, capability)], **model("llama", head_dims=dims), **ext(cubins=["sm_80", "sm_90", "sm_100"]),
                    "flash_attn__version": version, **packages(flash_attn=version)}) for expect, dims, capability, version in (
          ("E flash-attn-head-dim", [64, 512], "8.0", "2.8.3"), ("", [72, 256], "8.0", "2.8.3"),
          ("E flash-attn-head-dim", [256], "8.9", "2.5.4"), ("", [256], "8.9", "2.5.5"), ("", [256], "8.0", "2.5.4"),
          ("", [192], "8.9", "2.5.4"))),
    *(case(expect, {**FA4_B200, "gpus": [gpu(0, capability)], **model("qwen3_5", layer_types=["full_attention"], head_dims=dims),
                    "flash_attn_4__version": kernel,
                    **packages(flash_attn_4=kernel, ms_swift="4.6.0", transformers="5.14.1")}, {**FA4, "packing": False})
      for expect, dims, capability, kernel in (
          ("E flash-attn-head-dim", [256], "10.0", "4.0.0b10"), ("", [256], "10.0", "4.0.0b11"),
          ("E flash-attn-head-dim", [256], "11.0", "4.0.0b15"), ("E flash-attn-head-dim", [192], "10.3", "4.0.0b31"),
          ("E flash-attn-head-dim", [256], "12.0", "4.0.0b36"), ("", [192], "12.0", "4.0.0b36"),
          ("", [192], "9.0", "4.0.0b31"), ("", [128], "10.0", "4.0.0b10"), ("E flash-attn-head-dim", [512], "9.0", "4.0.0b31"))),
    # Gemma 4 as its config.json stands, and as facts of an older release tell of it
    *(case("E flash-attn-head-dim", {**model("gemma4", head_dims=dims), **packages(ms_swift="4.6.0", transformers="5.14.1")},
           {"packing": False}) for dims in (None, [72, 256], [72, 256, 512])),
    case("", {**model("gemma4", head_dims=[72, 256, 512]), **packages(ms_swift="4.6.0", transformers="5.14.1")}, SDPA),
    case("", {**model("gemma4", head_dims=[16, 32]), **packages(ms_swift="4.6.0", transformers="5.14.1")}, {"packing": False}),
    case("E packing-model-unsupported", model("ovis2_5")),
    case("", model("ovis2_5"), {"packing": False, "padding_free": True}),
    case("E packing-model-unsupported", model("gpt_oss")),
    case("", {**model("gpt_oss"), **packages(ms_swift="3.8.3", transformers="4.56.0")}),
    # https://github.com/modelscope/ms-swift/issues/9384: a multimodal template that is not written for packed rows
    case("E packing-model-unsupported", model("gemma3", architectures=["Gemma3ForConditionalGeneration"])),
    case("E packing-model-unsupported", model("minicpmv"), {"packing": False, "padding_free": True}),
    case("", model("gemma3_text", architectures=["Gemma3ForCausalLM"])),
    case("", model("minicpmv", architectures=["MiniCPMV4_6ForConditionalGeneration"])),
    case("", model("gemma3"), SDPA),
    case("E packing-cache-not-shared", {**path("/tmp/p", kind="dir", mount="local"), **packages(ms_swift="3.6.4",
         transformers="4.52.4")}, {"packing_cache": "/tmp/p"}, launch={"nnodes": 2, "master_addr": "10.0.0.5"}),
    case("E packing-cache-not-shared", {**path("/c", kind="dir", mount="local"), "env": {"MODELSCOPE_CACHE": "/c"},
         **packages(ms_swift="3.5.0", transformers="4.51.3")}, launch={"nnodes": 2, "master_addr": "10.0.0.5"}),
    case("", {**path("/c", kind="dir", mount="local"), "env": {"MODELSCOPE_CACHE": "/c"}},
         launch={"nnodes": 2, "master_addr": "10.0.0.5"}),
    case("", {**path("/n", kind="dir", mount="nfs"), **packages(ms_swift="3.6.4", transformers="4.52.4")},
         {"packing_cache": "/n"}, launch={"nnodes": 2, "master_addr": "10.0.0.5"}),
    case("W packing-timeout-risk", {**LONG, "gpus": gpus(2)}, {"ddp_timeout": 1800}, launch={"nproc_per_node": 2}),
    case("", {**LONG, "gpus": gpus(2)}, {"ddp_timeout": 1800, "packing": False}, launch={"nproc_per_node": 2}),
    case("", {**LONG, "gpus": gpus(2)}, {}, launch={"nproc_per_node": 2}),
    case("", LONG, {"ddp_timeout": 1800}),
    case("W rows-too-long", path(DATA, kind="file", rows_checked=200, usable_rows=200, rows_over_max_length=30)),
    case("I packing-changes-batch", path(DATA, kind="file", rows=5000, mean_row_tokens=300.0)),
    case("I packing-changes-batch, W rows-too-long", path(
        DATA, kind="file", rows=5000, rows_checked=3, usable_rows=3, rows_over_max_length=1, mean_row_tokens=1200.0,
        row_tokens=[200, 400, 9000]),
         {"packing_length": 4096, "split_dataset_ratio": 0.01, "truncation_strategy": "split", "use_chat_template": False}),
    case("E arg-conflict", {}, {"truncation_strategy": "split"}),
    case("", {}, {"truncation_strategy": "split", "load_args": True}),
    case("E arg-invalid", {"ms_swift_args": TO_3_8}, {**SDPA, "truncation_strategy": "split"}),
    case("E arg-conflict", {}, {"truncation_strategy": "split", "use_chat_template": False, **SDPA, "lazy_tokenize": True}),
    case("", path(DATA, kind="file", rows=5000, mean_row_tokens=UNKNOWN)),
    case("E flash-attn-dtype", {}, {"torch_dtype": "float32", "fp16": False, "bf16": False}),
    case("E flash-attn-dtype", {**model("qwen2", torch_dtype="float32")}, {"torch_dtype": None, "fp16": False}),
    case("", {}, {"torch_dtype": "float32"}),  # ms-swift turns fp16 on
    case("", {}, {"torch_dtype": "float32", "bf16": True, "fp16": False}),
    case("E bf16-unsupported", {"gpus": [gpu(0, "7.5")], "flash_attn": None}, SDPA),
    case("E bf16-unsupported", {"gpus": [gpu(0, "7.0")], "flash_attn": None}, {**SDPA, "torch_dtype": None}),
    case("E bf16-unsupported", {"gpus": [gpu(0, "7.0")], "flash_attn": None}, {**SDPA, "torch_dtype": "float16", "tf32": True}),
    case("", {"gpus": [gpu(0, "7.0")], "flash_attn": None}, {**SDPA, "torch_dtype": "float16"}),
    case("E transformers-mismatch", packages(transformers="5.0.0")),
    case("E transformers-mismatch", packages(transformers="4.30.2")),
    case("E transformers-mismatch", {**model("qwen3"), **packages(transformers="4.49.0")}),
    # https://github.com/modelscope/ms-swift/issues/2799
    case("E transformers-mismatch", {**model("modernbert"), **packages(ms_swift="3.0.0", transformers="4.46.0")}),
    case("E transformers-mismatch", {**model("qwen2_5_vl"), **packages(transformers="4.53.0")}),
    case("", {**model("qwen2_5_vl"), **packages(transformers="4.53.1")}),
    case("", {**model("qwen2_5_vl"), **packages(transformers="4.53.0")}, SDPA),
    case("", packages(ms_swift="3.6.1", transformers="4.52.4")),
    case("", packages(ms_swift="4.9.0", transformers="5.40.0")),
    *(case("W requirement-conflict", conflict(package, requires, installed)) for package, requires, installed in (
        ("vllm", "torch==2.6.0", "2.8.0"), ("vllm", "transformers<5,>=4.56.0", "transformers 5.3.0"),
        ("lmdeploy", "peft<=0.14.0", "peft 0.17.1"),  # ModelScope's images hold it, and its bounds lag behind
        ("sglang", "transformers==4.57.1", "5.3.0"), ("compressed-tensors", "transformers<5", "5.3.0"),
        ("autoawq", "transformers<=4.51.3", "4.57.3"), ("xformers", "torch==2.7.0", "2.8.0"),
        ("datasets", "fsspec<=2025.3", "2025.9"), ("deepspeed", "torch>=2.9", "2.8.0"),
        ("liger-kernel", "transformers>=4.60", "4.57.3"), ("ms-swift", "attrdict", None),
        ("vllm", "numba==0.61.2", None), ("torchvision", "torch==2.8.0", "2.8.1"),
        ("peft", "torch>=2.7", "2.7.0a0+79aa17489c.nv25.4"))),
    *(case("E requirement-conflict", conflict(package, requires, installed)) for package, requires, installed in (
        ("ms-swift", "datasets<4.8.5,>=4.0", "4.9.0"), ("trl", "transformers>=4.60", "4.57.3"),
        ("torchvision", "torch==2.6.0", "2.8.0"), ("transformers", "tokenizers<=0.23.0,>=0.22.0", "0.23.3"),
        ("transformers", "huggingface-hub<1.0,>=0.34", "1.2.0"),
        ("transformers", "safetensors>=0.4.3", None), ("ms-swift", "binpacking", None))),
    case("E requirement-conflict", {**conflict("deepspeed", "torch>=2.9", "2.8.0"), **packages(deepspeed="0.20")},
         {"deepspeed": "zero2"}),
    case("E requirement-conflict", conflict("liger-kernel", "transformers>=4.60", "4.57.3"), {"use_liger_kernel": True}),
    case("W requirement-conflict", conflict("ms-swift", "binpacking", None), {"packing": False}),
    case("W requirement-conflict", conflict("ms-swift", "binpacking", None), {"packing_strategy": "sequential"}),
    case("W requirement-conflict", {**conflict("vllm", "transformers<5,>=4.56.0", "5.2.0"), **model("qwen3_5"),
                                    **packages(ms_swift="4.0.2", transformers="5.2.0")}, SDPA),
    case("E deepspeed-missing", {}, {"deepspeed": "zero3"}),
    case("E deepspeed-launch, W gpus-unused", {"gpus": gpus(4), **packages(deepspeed="0.17.5")}, {"deepspeed": "zero3"}),
    case("", {"gpus": gpus(4), **packages(deepspeed="0.17.5")}, {"deepspeed": {"zero_optimization": {"stage": 2}}},
         launch={"nproc_per_node": 4}),
    case("", packages(deepspeed="0.17.5"), {"deepspeed": "zero3"}),
    case("", {"gpus": gpus(4), "env": {"SWIFT_SINGLE_DEVICE_MODE": "1"}, **packages(deepspeed="0.17.5")}, {"deepspeed": "zero3"},
         launch={"nproc_per_node": 2}),
    # swift/llm/argument/train_args.py of 3.6.4 turns lazy_tokenize off by itself, base_args.py of 3.7.3 refuses
    case("", packages(ms_swift="3.6.4", transformers="4.52.4"), {**SDPA, "streaming": True, "max_steps": 9,
                                                                  "lazy_tokenize": True}),
    case("E arg-conflict", {}, {**SDPA, "streaming": True, "max_steps": 9, "lazy_tokenize": True}),
]

CONFLICTS = [
    *(case("E arg-invalid", {}, swift) for swift in (
        {"target_modules": "q_proj,v_proj"}, {"target_modules": ["q_proj, v_proj", "o_proj"]},
        {"target_modules": "q_proj v_proj"}, {"modules_to_save": "embed_tokens；lm_head"}, {"report_to": "wandb,tensorboard"},
        {"dataset": f"{DATA},data/b.jsonl"}, {"dataset": ["org/a#500 org/b:sub"]},
        {"freeze_parameters": "model.a,model.b", "train_type": "full"},
        {"interleave_prob": "0.5,0.5", "dataset": [DATA, "b.jsonl"]})),
    case("E arg-invalid, I arg-renamed", {}, {"lora_target_modules": "q_proj,v_proj"}),
    case("E arg-invalid", path("a,b", kind="missing"), {"dataset": "a,b"}),
    *(case("", {}, swift) for swift in (
        {"target_modules": "all-linear"}, {"target_modules": ["q_proj", "v_proj"]}, {"target_modules": r"^model\.(q,v)_proj$"},
        {"model_name": "小黄, Xiao Huang"}, {"new_special_tokens": "<a>,<b>"}, {"target_regex": "q_proj,v_proj"},
        {"dataset": "swift/self-cognition:a/b#500"})),
    *(case("", path(name, kind="file"), {"dataset": name}) for name in ("my data/a,b.jsonl", "a.jsonl b.jsonl")),
    case("E dataset-missing", path("my data/a.jsonl", kind="missing"), {"dataset": "my data/a.jsonl"}),
    case("E arg-conflict", {}, {**SDPA, "group_by_length": True, "lazy_tokenize": True}),
    case("", {}, {**SDPA, "group_by_length": True}),
    case("E arg-missing", {}, {"optim": "galore_adamw"}),
    case("", {}, {"optim": "galore_adamw", "optim_target_modules": "all-linear"}),
    case("E arg-missing", {}, {"quant_method": "bnb"}),
    case("E arg-missing", {}, {"task_type": "seq_cls"}), case("", {}, {"task_type": "seq_cls", "num_labels": 4}),
    case("E arg-invalid", {}, {"optimizer": "moun"}), case("", {}, {"optimizer": "moun", "external_plugins": ["p.py"]}),
    case("E arg-invalid", {}, {"loss_type": "info_nce"}), case("", {}, {"loss_type": "my_own_loss"}),
    case("E arg-invalid", {}, {"quant_method": "fp8"}),
    case("E arg-invalid", {}, {"adapters": ["a/b", "c/d"]}), case("", {}, {"adapters": ["a/b"]}),
    case("E package-missing", packages(liger_kernel=None), {"use_liger_kernel": True}),
    case("", packages(liger_kernel=None, liger_kernel_nightly="0.6"), {"use_liger_kernel": True}),
    case("", packages(liger_kernel=None), {"use_liger_kernel": "false"}),
    case("", {}, {"use_liger_kernel": True}),  # nobody looked
    *(case("E package-missing", packages(bitsandbytes=None), swift) for swift in (
        {"quant_method": "bnb", "quant_bits": 4}, {"optim": "paged_adamw_8bit"}, {"optim": "adamw_8bit"})),
    case("", packages(bitsandbytes=None), {"optim": "adamw_torch_fused"}),
    case("", packages(bitsandbytes=None), {"optim": "adamw_8bit", "optimizer": "muon"}),  # which asks for no other
    case("E package-missing", packages(wandb=None), {"report_to": ["tensorboard", "wandb"]}),
    case("", packages(wandb=None, tensorboardx="2.6", tensorboard=None)),
    case("E package-missing", packages(tensorboard=None)),  # ms-swift's own tracker
    case("E package-missing", packages(schedulefree="1.2.7"), {"optim": "schedule_free_radam"}),
    case("", packages(schedulefree="1.2.7"), {"optim": "schedule_free_adamw"}),
    case("E package-missing", packages(autoawq=None), {"model": "Qwen/Qwen2.5-7B-Instruct-AWQ"}),
    case("", packages(autoawq="0.2.9"), {"model": "Qwen/Qwen2.5-7B-Instruct-AWQ"}),
    case("E package-missing", packages(peft="0.20.0"), {"train_type": "bone"}),
    case("", packages(peft="0.18.1"), {"train_type": "bone"}),
    case("E package-missing", packages(eetq=None, kernels="0.10.2"), {"quant_method": "eetq", "quant_bits": 8}),
    case("E package-missing", {**model("qwen2_5_vl"), **packages(qwen_vl_utils=None)}, SDPA),
    case("", {**model("qwen2_5_vl"), **packages(qwen_vl_utils="0.0.11")}, SDPA),
    case("", {**model("qwen2"), **packages(qwen_vl_utils=None)}),
    case("E package-missing", {**model("qwen3_vl"), **packages(qwen_vl_utils=None, ms_swift="4.6.0", transformers="5.5.0")},
         SDPA),
    case("E package-missing", {**model("qwen3_vl"), **packages(qwen_vl_utils="0.0.11", ms_swift="4.6.0", transformers="5.5.0")},
         SDPA),
]

LAUNCH = [
    case("E nproc-exceeds-gpus", {"gpus": gpus(2)}, launch={"nproc_per_node": 4}),
    case("E nproc-exceeds-gpus", {"gpus": gpus(4), "env": {"CUDA_VISIBLE_DEVICES": "1,2", "NPROC_PER_NODE": "4"}}),
    case("", {"gpus": [], "flash_attn": None}, {**SDPA, "use_cpu": True}, launch={"nproc_per_node": 2}),
    case("W gpus-unused", {"gpus": gpus(2)}),
    case("", {"gpus": gpus(2)}, {"device_map": "auto"}),
    case("E arg-conflict, E arg-conflict", {"gpus": gpus(8)}, {"device_map": "auto"},
         launch={"nproc_per_node": 6}),
    case("", {"gpus": gpus(4)}, launch={"free_gpus": 1}),
    case("", {"gpus": gpus(4)}, launch={"free_gpus": 2, "nproc_per_node": 2}),
    case("E gpus-not-free, W gpu-memory-low", {"gpus": [gpu(0, free_memory_gib=3.0)]}, launch={"free_gpus": 1}),
    case("E gpus-not-free, W gpu-memory-low, W gpus-unused", {"gpus": [gpu(0), gpu(1, free_memory_gib=3.0)]},
         launch={"free_gpus": 2}),
    case("E gpus-not-free", {"gpus": UNKNOWN}, launch={"free_gpus": 1}),
    case("W value-doubtful", {}, {"hub_model_id": "$TEAM/m"}),
    case("W value-doubtful", {}, {"system": "“Be brief.”"}),
    case("", {}, {"system": "It costs $HOME money: say “no”."}),
    case("I value-doubtful", {}, {"report_to": ["swanlab", "tensorboard"]}, swanlab={"enabled": False}),
    case("W launch-env-misspelt, W gpus-unused", {"gpus": gpus(2), "env": {"Nproc_per_node": "2"}}),
    case("", {"gpus": gpus(2), "env": {"nproc_per_node": "2"}}, launch={"nproc_per_node": 2}),
    case("", {"env": {"NVIDIA_VISIBLE_DEVICES": "all", "HIP_VISIBLE_DEVICES": "0", "LOCAL_CACHE": "x", "MASTER": "1"}}),
    case("E launch-nested", {"env": {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}, "gpus": gpus(2)},
         launch={"nproc_per_node": 2}),
    case("E launch-nested", {"env": {"TORCHELASTIC_RUN_ID": "x", "NNODES": "1"}}),
    case("E launch-nested", {"env": {"RANK": "1", "WORLD_SIZE": "4"}}),
    case("", {"env": {"RANK": "1", "WORLD_SIZE": "4"}}, launch={"nnodes": 4, "node_rank": 1, "master_addr": "10.0.0.5"}),
    case("", {"env": {"RANK": "0", "WORLD_SIZE": "1"}}),
    # Kubeflow's training operator counts processes: one node of four
    case("", {"env": {"RANK": "0", "WORLD_SIZE": "4"}, "gpus": gpus(4)}, launch={"nproc_per_node": 4}),
    case("E launch-nested", {"env": {"RANK": "3", "WORLD_SIZE": "4"}, "gpus": gpus(4)}, launch={"nproc_per_node": 4}),
    case("", {"env": {"TORCHELASTIC_ERROR_FILE": "/tmp/e.json"}, "gpus": gpus(2)}, launch={"nproc_per_node": 2}),
    case("", {"ports_in_use": [29500], "gpus": gpus(2)}, launch={"nproc_per_node": 2}),  # the launcher takes a free one
    case("", {"ports_in_use": [29500], "gpus": gpus(2), "env": {"NPROC_PER_NODE": "2"}}),
    case("", {"ports_in_use": [29500]}),
    case("E port-in-use", {"ports_in_use": [29500], "gpus": gpus(2)}, launch={"nproc_per_node": 2, "master_port": 29500}),
    case("E port-in-use", {"ports_in_use": [29500], "gpus": gpus(2), "env": {"MASTER_PORT": "29500"}},
         launch={"nproc_per_node": 2}),
    case("E port-in-use", {"ports_in_use": [29700]}, launch={"nproc_per_node": 1, "master_port": 29700}),  # torchrun all the same
    case("", {"ports_in_use": [29700]}, launch={"master_port": 29700}),
    case("E port-in-use", {"ports_in_use": [29500]}, launch={"nnodes": 2, "node_rank": 0, "master_addr": "10.0.0.5"}),
    case("", {"ports_in_use": [29500], "gpus": gpus(2)}, launch={"nproc_per_node": 2, "master_port": 29501}),
    case("", {"ports_in_use": [29500]}, launch={"nnodes": 2, "node_rank": 1, "master_addr": "10.0.0.5"}),
    *(case("E master-addr-loopback", {}, launch={"nnodes": 2, "node_rank": 1, "master_addr": a})
      for a in (None, "localhost", "127.0.0.1", "::1")),
    *(case("W master-addr-loopback", {}, launch={"nnodes": 2, "node_rank": rank, "master_addr": a})
      for a in (None, "127.0.0.1") for rank in (None, 0)),
    # ms-swift's examples/train/multi-node: swift/train_node1.sh, train_node2.sh, torchrun's, dlc/train.sh
    case("W master-addr-loopback", {"gpus": gpus(4), "env": {
        "CUDA_VISIBLE_DEVICES": "0,1,2,3", "NNODES": "2", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
        "NPROC_PER_NODE": "4"}}),
    case("", {"gpus": gpus(4)}, env={"CUDA_VISIBLE_DEVICES": "0,1,2,3", "NNODES": "2", "NODE_RANK": "1", "NPROC_PER_NODE": "4",
                                     "MASTER_ADDR": "10.0.0.5", "MASTER_PORT": "29500"}),
    case("", {"gpus": gpus(8), "env": {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "dlc-master-0", "MASTER_PORT": "23456",
                                       "NPROC_PER_NODE": "8", "NNODES": "2", "NODE_RANK": "1"}}),
    case("", {"gpus": gpus(2), "env": {"PET_NNODES": "2", "PET_NODE_RANK": "1", "PET_MASTER_ADDR": "job-node-0-0"}},
         launch={"nproc_per_node": 2, "nnodes": 2}),
    *(case("", {"gpus": gpus(2), "env": {"NPROC_PER_NODE": word}}) for word in ("gpu", "auto", "2")),
    case("W gpus-unused", {"gpus": gpus(2), "env": {"NPROC_PER_NODE": "1"}}),

    *(case("E launch-env-conflict", {"gpus": gpus(4)}, env={variable: told}, launch={"nproc_per_node": 2, "gpus": [0, 1], **more})
      for variable, told, more in (
          ("CUDA_VISIBLE_DEVICES", "2,3", {}), ("CUDA_VISIBLE_DEVICES", "0,1,2,3", {}), ("CUDA_VISIBLE_DEVICES", "", {}),
          ("NPROC_PER_NODE", "4", {}), ("NPROC_PER_NODE", "x", {}), ("NNODES", "2", {"nnodes": 1}),
          ("MASTER_PORT", "29501", {"master_port": 29502}))),
    case("E launch-env-conflict", {"gpus": gpus(4), "env": {"NPROC_PER_NODE": "4"}},
         launch={"gpus": [0, 1], "nproc_per_node": 2}),
    case("W launch-env-conflict", {"gpus": gpus(4), "env": {"CUDA_VISIBLE_DEVICES": "2,3"}}, launch={"gpus": [0]}),
    case("W launch-env-conflict", {"env": {"MASTER_ADDR": "10.0.0.6"}}, launch={"nnodes": 2, "master_addr": "10.0.0.5"}),
    *(case("", {"gpus": gpus(4), "env": {variable: told}}, launch={
        "gpus": [0, 1], "nproc_per_node": 2, "nnodes": 2, "node_rank": 1, "master_addr": "node-0.train", "master_port": 29501})
      for variable, told in (
          ("CUDA_VISIBLE_DEVICES", "0,1,2,3"), ("CUDA_VISIBLE_DEVICES", "1, 0"), ("CUDA_VISIBLE_DEVICES", "GPU-8aa0,GPU-13cc"),
          ("NPROC_PER_NODE", "2"), ("NNODES", "2"), ("NODE_RANK", "1"), ("NODE_RANK", ""), ("MASTER_ADDR", "10.0.0.5"),
          ("MASTER_ADDR", "node-0"), ("MASTER_ADDR", "localhost"), ("MASTER_PORT", "29501"))),
    case("", {"gpus": gpus(2)}, env={"CUDA_VISIBLE_DEVICES": "0, 1", "NPROC_PER_NODE": "2"},
         launch={"gpus": [0, 1], "nproc_per_node": 2}),

    *(case("E node-rank-mismatch", {"env": {rank: "1", nodes: "2"}},
           launch={"nnodes": 2, "node_rank": 0, "master_addr": "10.0.0.5"})
      for rank, nodes in (("SLURM_NODEID", "SLURM_NNODES"), ("PET_NODE_RANK", "PET_NNODES"), ("RANK", "WORLD_SIZE"),
                          ("VC_TASK_INDEX", "MA_NUM_HOSTS"), ("MLP_ROLE_INDEX", "MLP_WORKER_NUM"))),
    case("E node-rank-mismatch", {"env": {"SLURM_NODEID": "1", "SLURM_NNODES": "2"}},
         launch={"nnodes": 2, "master_addr": "10.0.0.5"}),  # torchrun takes 0
    case("E node-rank-mismatch", {"env": {"RANK": "0", "WORLD_SIZE": "2", "NODE_RANK": "1"}},
         launch={"nnodes": 2, "master_addr": "10.0.0.5"}),
    *(case("", {"env": {"SLURM_NODEID": node, "SLURM_NNODES": nodes}},
           launch={"nnodes": 2, "node_rank": 1, "master_addr": "10.0.0.5"})
      for node, nodes in (("1", "2"), ("3", "4"), ("0", "4"))),  # two launches in one job of four nodes
    case("", {"env": {"SLURM_NODEID": "1", "SLURM_NNODES": "2"}}),
    case("", {"env": {"RANK": "1", "WORLD_SIZE": "4"}, "gpus": gpus(2)},  # WORLD_SIZE counts processes here
         launch={"nnodes": 2, "nproc_per_node": 2, "node_rank": 0, "master_addr": "10.0.0.5"}),
    case("", {"env": {"MASTER_ADDR": "node-0.train"}}, launch={"nnodes": 2}),
    # Kubeflow's first node is told `localhost`, the others its name
    case("", {"env": {"MASTER_ADDR": "localhost", "RANK": "0", "WORLD_SIZE": "2"}},
         launch={"nnodes": 2, "node_rank": 0, "master_addr": "localhost"}),
    case("E master-addr-loopback", {"env": {"MASTER_ADDR": "localhost", "RANK": "1", "WORLD_SIZE": "2"}},
         launch={"nnodes": 2, "node_rank": 1}),
]

RESUMED = "out/run/checkpoint-9"
RESUME = {"resume_from_checkpoint": RESUMED}
WHOLE = ["adapter_model.safetensors", "optimizer.pt", "trainer_state.json"]
STORED = {"model_type": {"choices": ["qwen2", "internvl2_5"]}, **{n: {} for n in (
    "model", "dataset", "packing", "attn_impl", "output_dir", "train_type", "torch_dtype", "max_length")}}
PATHS = [
    case("E model-missing", path(MODEL, kind="missing")),
    case("E model-missing", {"paths": {MODEL: {"kind": "hub", "cached": False}}, **down("model-hub")}),
    case("E model-missing", path(MODEL, kind="hub", known_to_hub=False)),
    case("", {"paths": {MODEL: {"kind": "hub", "cached": True}}, **down("model-hub")}),
    case("", {"paths": {MODEL: {"kind": "hub", "cached": False}}, "network": {"model-hub": {"unknown": "offline"}}}),
    case("", {"paths": {MODEL: {"kind": "hub"}}, **down("model-hub")}),
    case("E model-incomplete", path(MODEL, kind="dir", missing_files=["model-2.safetensors"], model_config={})),
    case("E model-incomplete", path(MODEL, kind="file", missing_files=None, model_config=None)),
    case("E model-incomplete", path(MODEL, kind="dir", missing_files=[], model_config=None)),
    case("E model-type-unknown", {"ms_swift_args": STORED}, {"model_type": "internvl2_5-38b"}),
    case("", {"ms_swift_args": STORED}, {"model_type": "qwen2"}),
    case("E dataset-missing", path(DATA, kind="missing")),
    case("E dataset-missing", path("data/none.jsonl", kind="missing"), {"dataset": ["data/none.jsonl#500"]}),
    case("E dataset-missing", path("a/b", kind="hub", known_to_hub=False), {"dataset": ["a/b:x#50"]}),
    case("E dataset-missing", path(DATA, kind="missing"), {"external_plugins": ["reader.py"]}),
    case("", path("mine#500", kind="missing"), {"dataset": ["mine#500"], "external_plugins": ["reader.py"]}),
    case("E dataset-missing", {"paths": {"a/b:x#50": {"kind": "hub", "cached": None}}, **down("model-hub")},
         {"dataset": ["a/b:x#50"]}),
    case("E dataset-format", path(DATA, kind="file", rows_checked=9, usable_rows=0, first_bad={"line": 1, "why": "no messages"})),
    case("", path(DATA, kind="file", rows_checked=9, usable_rows=3, first_bad={"line": 1, "why": "no messages"})),
    case("", path(DATA, kind="file", rows=100, rows_checked=0, usable_rows=0)),
    case("E dataset-format", path(DATA, kind="file", rows=0, rows_checked=0, usable_rows=0, first_bad={"line": 1, "why": "no"})),
    case("E output-not-writable", path(OUTPUT, kind="dir", writable=False)),
    case("E output-not-writable", {"env": {"SWANLAB_LOG_DIR": "/logs"}, **path("/logs", kind="dir", writable=False)}),
    case("E output-not-writable", path("/records", kind="missing", writable=False), run={"root": "/records"}),
    case("E output-not-writable", path("runs", kind="file", writable=True)),
    case("", path("/records", kind="missing", writable=True), run={"root": "/records"}),
    case("E output-link-exists", path(OUTPUT, kind="dir", entries=4), {"add_version": False}),
    case("", path(OUTPUT, kind="dir", entries=4)),
    case("", path(OUTPUT, kind="dir", entries=2, files=[".gitkeep", "logs"]), {"add_version": False}),
    case("", {"paths": {OUTPUT: {"kind": "dir", "entries": 4}, RESUMED: {"kind": "dir", "files": WHOLE}}},
         {"add_version": False, **RESUME}),
    case("W output-link-exists", {"gpus": gpus(2), **packages(ms_swift="3.4.1", transformers="4.51.3")},
         {"create_checkpoint_symlink": True}, launch={"nproc_per_node": 2}),
    case("E checkpoint-incomplete", path(RESUMED, kind="missing"), RESUME),
    case("E checkpoint-incomplete", path(RESUMED, kind="dir", files=WHOLE[:2]), RESUME),
    case("E checkpoint-incomplete", path(RESUMED, kind="dir", files=["trainer_state.json", "model.safetensors"]), RESUME),
    case("E checkpoint-incomplete", {**path(RESUMED, kind="dir", files=WHOLE), **packages(deepspeed="0.17.5")},
         {**RESUME, "deepspeed": "zero2"}),
    case("", path(RESUMED, kind="dir", files=WHOLE), RESUME),
    case("", path(RESUMED, kind="dir", files=WHOLE[:1]), {**RESUME, "resume_only_model": True}),
    case("E resume-setting-ignored", path(RESUMED, kind="dir", files=WHOLE, args={"lora_rank": 8}), {**RESUME, "lora_rank": 4}),
    case("", path(RESUMED, kind="dir", files=WHOLE, args={"lora_rank": UNKNOWN}), {**RESUME, "lora_rank": 4}),
    case("", path(RESUMED, kind="dir", files=WHOLE, args={"lora_rank": 8, "target_modules": ["q_proj"], "lora_alpha": 32}),
         {**RESUME, "lora_rank": "8", "target_modules": "all-linear"}),
    # a multimodal model's layers are saved as one pattern
    case("", path(RESUMED, kind="dir", files=WHOLE, args={"target_modules": r"^(model\.language_model).*\.q_proj$"}),
         {**RESUME, "target_modules": ["all-linear"]}),
    case("W checkpoint-unloadable", {**path(RESUMED, kind="dir", files=["latest", "trainer_state.json"]),
         **packages(deepspeed="0.15.4", transformers="4.46.3")}, {**RESUME, "deepspeed": "zero2"}),
    case("", {**path(RESUMED, kind="dir", files=["latest", "trainer_state.json"]), **packages(deepspeed="0.17.5")},
         {**RESUME, "deepspeed": "zero2"}),
    # https://github.com/hiyouga/LlamaFactory/issues/8379
    case("W checkpoint-unloadable", {**path(RESUMED, kind="dir", files=WHOLE), "torch__version": "2.5.1+cu124",
                                     "torch__cuda": "12.4"}, RESUME),
    case("", {**path(RESUMED, kind="dir", files=WHOLE), "torch__version": "2.5.1+cu124", "torch__cuda": "12.4",
              **packages(ms_swift="3.4.1", transformers="4.51.3")}, RESUME),
]


def zero_files(ranks: int) -> list[str]:
    return ["latest", "trainer_state.json", "model.safetensors", "global_step9",
            *(f"global_step9/bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt" for rank in range(ranks))]


def zero(ranks: int, cards: int) -> dict[str, Any]:
    return {**path(RESUMED, kind="dir", files=zero_files(ranks)), "gpus": gpus(cards), **packages(deepspeed="0.18.3")}


PATHS += [
    case("E checkpoint-world-size", zero(8, 4), {**RESUME, "deepspeed": "zero2"}, launch={"nproc_per_node": 4}),
    case("E checkpoint-world-size", zero(8, 8), {**RESUME, "deepspeed": "zero3"},
         launch={"nproc_per_node": 8, "nnodes": 2, "master_addr": "10.0.0.5"}),
    case("E checkpoint-world-size", zero(4, 1), {**RESUME, "deepspeed": "zero1"}),
    case("", zero(4, 4), {**RESUME, "deepspeed": "zero2"}, launch={"nproc_per_node": 4}),
    case("", zero(8, 4), {**RESUME, "deepspeed": "zero2"}, launch={"nproc_per_node": 4, "nnodes": 2, "master_addr": "10.0.0.5"}),
    case("", zero(8, 4), {**RESUME, "deepspeed": "zero2", "resume_only_model": True}, launch={"nproc_per_node": 4}),
    case("", zero(8, 4), {**RESUME, "deepspeed": {"zero_optimization": {"stage": 2, "elastic_checkpoint": True}}},
         launch={"nproc_per_node": 4}),
]

OFF = {"swanlab": {"mode": "offline"}}
SWANLAB = [
    case("E swanlab-missing", packages(swanlab=None)),
    case("", packages(swanlab=None), swanlab={"enabled": False}),
    case("E swanlab-not-logged-in", {"swanlab__api_key": None}),
    case("", {"swanlab__api_key": None}, swanlab={"mode": "disabled"}),
    case("W swanlab-account-implicit", {"swanlab__api_key": "login", "swanlab__account_shared": True, "swanlab__user": "li"}),
    case("", {"swanlab__api_key": "login", "swanlab__user": "li"}),
    case("E swanlab-key-malformed", {"swanlab__key_shape": "malformed"}),
    case("E swanlab-unreachable", down("api.swanlab.cn")),
    case("E swanlab-unreachable", down("s.example"), swanlab={"host": "https://s.example:8000"}),
    case("", down("api.swanlab.cn"), swanlab={"host": "http://s.example"}),
    case("E swanlab-login-failed", down("api.swanlab.cn", "HTTP 401 Unauthorized")),
    case("E swanlab-login-failed", {"swanlab__key_accepted": False}),
    case("I swanlab-mode-unsupported", {"swanlab__api_key": None, **down("api.swanlab.cn")}, **OFF),
    case("E swanlab-mode-unsupported", {"ms_swift_args": {**STORED, "model_type": {}}}, **OFF),
    case("E swanlab-local-needs-dashboard", {}, swanlab={"mode": "local"}),
    case("", packages(swanboard="0.1.8b1"), swanlab={"mode": "local"}),
    case("", packages(swanlab="0.10.3"), swanlab={"mode": "local"}),
    case("E swanlab-version-conflict", packages(swanlab="0.6.1"), **OFF),
    # `swift sft` of 3.3 and later tracks through SwanLab's own callback, which catches what get_run() raises
    case("W swanlab-version-conflict", {"swanlab__get_run_without_init": "raises"}),
    case("E swanlab-version-conflict", {"swanlab__get_run_without_init": "raises",
                                        **packages(ms_swift="3.0.3", transformers="4.47.1")}),
    case("W swanlab-version-conflict", {"swanlab__get_run_without_init": UNKNOWN, **packages(swanlab="0.9.2")}),
    case("", {"swanlab__get_run_without_init": UNKNOWN}),
    case("", {"swanlab__get_run_without_init": "none", **packages(swanlab="0.9.2")}),
    case("", {"swanlab__get_run_without_init": "raises", **packages(ms_swift="4.4.0", transformers="5.5.0")}),
    case("E swanlab-version-conflict", down("s.example", "404 Not Found"), swanlab={"host": "http://s.example"}),
    case("E swanlab-name-invalid", {}, swanlab={"project": "2024/10 run"}),
    case("E swanlab-name-invalid", {}, swanlab={"experiment": "x" * 251}),
    case("", {}, swanlab={"project": "mh-sft_1.0+a", "experiment": "名字 with spaces"}),
    case("", {}, swanlab={"project": "", "experiment": ""}),
    case("E swanlab-resume", {"env": {"SWANLAB_RUN_ID": "abcdefghijklmnopqrstu"}}),
    case("E swanlab-resume", {"env": {"SWANLAB_RUN_ID": "Mine", "SWANLAB_RESUME": "must"}}),
    case("", {"env": {"SWANLAB_RUN_ID": "abcdefghijklmnopqrstu", "SWANLAB_RESUME": "allow"}}),
    case("E swanlab-key-in-config", {"swanlab__api_key": None}, {"swanlab_token": "k" * 21}),
    case("E swanlab-key-in-config", {}, swanlab={"notification": {
        "method": "lark", "secret": "s3cr3t-s3cr3t", "webhook_url": "https://open.example/hook/1"}}),
    case("E swanlab-key-in-config", {}, env={"HF_TOKEN": "hf_abcdefgh"}),
    case("E swanlab-key-in-config", {}, swanlab={"notification": {"webhook_url": "https://d.example/?access_token=0123456789"}}),
    case("", {}, {"new_special_tokens": ["<a>"]}, env={"IMAGE_MAX_TOKEN_NUM": "1024", "TOKENIZERS_PARALLELISM": "false",
                                                        "SSL_KEY": "/etc/key.pem"}),
    case("", {}, {"train_type": "reft", "reft_layer_key": "model.layers"}),
    case("", {}, swanlab={"notification": {"webhook_url": "https://open.example/hook/1"}}),
]


def rehearsed(**told: Any) -> dict[str, Any]:
    """What a training of 2 and of 4 of 28 layers showed."""
    trials = [{"depth": depth, "peak_gib": peak} for depth, peak in ((2, 6.0), (4, 8.0))]
    return {"rehearsal": {"layers": 28, "trials": trials, "losses": [9.5, 8.7], "learned": 0.4, "peak_gib": 32.0, "gpu_gib": 80.0,
                          "step_seconds": 0.5, "tokens_per_second": 12000.0, "epoch_steps": 480, **told}}


REHEARSED = [
    case("I rehearsal", rehearsed()),
    case("I rehearsal", {"rehearsal": {"cannot": "its weights are quantised already"}}),
    case("E rehearsal-failed", {"rehearsal": {"error": "KeyError: 'images'"}}),
    case("E rehearsal-failed", {"rehearsal": {"error": "exit code 1", "code": "dataset-format", "layers": 28}}),
    case("E gpu-memory-short", rehearsed(out_of_memory=True)),
    case("E gpu-memory-short", {"rehearsal": {"out_of_memory": True}}),
    case("E gpu-memory-short, I rehearsal", rehearsed(peak_gib=81.0)),
    case("W gpu-memory-short, I rehearsal", rehearsed(peak_gib=77.0)),
    case("I rehearsal", rehearsed(peak_gib=75.0)),
    case("E labels-masked, I rehearsal", rehearsed(learned=0.0)),
    case("W labels-masked, I rehearsal", rehearsed(learned=0.004)),
    case("E loss-not-finite, I rehearsal", rehearsed(losses=[9.5, None])),
    case("W loss-not-finite, I rehearsal", rehearsed(losses=[0.0, 0.0])),
    case("E labels-masked, I rehearsal", rehearsed(learned=0.0, losses=[0.0, 0.0])),  # of nothing the loss is 0 or none
    case("E labels-masked, I rehearsal", rehearsed(learned=0.0, losses=[None])),
    case("I rehearsal", rehearsed(losses=[0.0, 0.1])),
]

ALL = [*REHEARSED, *MACHINE, *FLASH_ATTN, *INSTALLING, *SWIFT, *CONFLICTS, *LAUNCH, *PATHS, *SWANLAB]
