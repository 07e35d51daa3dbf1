"""Machines and configs as plain data, for tests: a healthy one, and any change to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from swift_fa_launcher.config.schema import (
    FlashAttnSection,
    LaunchSection,
    PreflightSection,
    ResolvedConfig,
    RunSection,
    SwanLabSection,
    SwiftArguments,
)
from swift_fa_launcher.config.swift_args import Argument
from swift_fa_launcher.decode import decode
from swift_fa_launcher.machine.facts import Facts, parse_facts

UNKNOWN = {"unknown": "could not look"}
MODEL, DATA, OUTPUT = "org/Base-7B-Chat", "data/chat.jsonl", "out/run"
#: The arguments of ms-swift 4.6.0's `swift sft`.
ARGUMENTS_4_6 = {name: Argument(kind, choices and tuple(choices), default, None) for name, (kind, choices, default) in json.loads(
    Path(__file__).with_name("ms_swift_4_6_arguments.json").read_text(encoding="utf-8")).items()}


def gpu(index: int = 0, capability: str = "8.0", **more: Any) -> dict[str, Any]:
    return {"index": index, "name": f"GPU of {capability}", "compute_capability": capability, "memory_gib": 80.0,
            "free_memory_gib": 79.0, **more}


def gpus(count: int, capability: str = "8.0") -> list[dict[str, Any]]:
    return [gpu(i, capability) for i in range(count)]


def machine_data(**changes: Any) -> dict[str, Any]:
    """Saved facts of a healthy machine: an A100, torch 2.8.0+cu128, flash-attn 2.8.3, ms-swift 3.12.6.

    A change names a fact by `__` (`torch__cuda="12.4"`); a dictionary for `packages`, `paths`, `network` or `env` is laid
    over what is there.
    """
    data: dict[str, Any] = {
        "schema": 1, "where": "rack-7",
        "host": {"os": "Linux", "machine": "x86_64", "glibc": "2.35", "wsl": False, "cpus": 32, "memory_gib": 256.0,
                 "available_memory_gib": 200.0, "shm_gib": 64.0,
                 "free_gib": {"site_packages": 300.0, "tmp": 100.0, "cache": 300.0, "output": 900.0}},
        "python": {"version": "3.11.9", "implementation": "CPython", "abi": "cp311", "executable": "/env/bin/python",
                   "externally_managed": False, "site_packages": "/env/lib/python3.11/site-packages",
                   "site_packages_writable": True},
        "torch": {"version": "2.8.0+cu128", "cuda": "12.8", "hip": None, "npu": None, "cxx11_abi": True, "import_error": None},
        "gpus": [gpu()],
        "driver": {"version": "570.86.15", "cuda": "12.8"},
        "toolchain": {"nvcc": "12.8", "cuda_home": "/usr/local/cuda", "gcc": "12.3.0", "ninja": "1.11.1"},
        "flash_attn": {
            "distribution": "flash-attn", "version": "2.8.3", "wheel_label": None, "import_error": None,
            "origin": "/env/lib/python3.11/site-packages/flash_attn/__init__.py",
            "extension": {"file": "flash_attn_2_cuda.cpython-311-x86_64-linux-gnu.so", "glibc": "2.32", "copies": [],
                          "needs": ["libc10.so", "libtorch.so", "libcudart.so.12"], "unresolved": [],
                          "cubins": ["sm_80", "sm_90"], "ptx": []},
            "probe": None},
        "flash_attn_3": None, "flash_attn_4": None,
        "packages": {"ms-swift": "3.12.6", "transformers": "4.57.3", "swanlab": "0.7.5", "flash-attn": "2.8.3",
                     "flash-attn-3": None, "flash-attn-4": None, "kernels": None, "deepspeed": None, "swanboard": None,
                     "packaging": "25.0", "psutil": "7.0.0", "ninja": "1.11.1", "wheel": "0.45.1", "setuptools": "80.9.0"},
        "requirement_conflicts": [],
        "swift": {"command": "/env/bin/swift", "command_is_ms_swift": True,
                  "module": "/env/lib/python3.11/site-packages/swift/__init__.py"},
        "swanlab": {"api_key": "env", "key_shape": "ok", "user": None, "account_shared": False, "host": None,
                    "get_run_without_init": "none"},
        "env": {}, "ports_in_use": [],
        "paths": {
            MODEL: {"kind": "dir", "missing_files": [], "model_config": {"model_type": "qwen2", "torch_dtype": "bfloat16"}},
            DATA: {"kind": "file", "rows": 5000, "rows_checked": 200, "usable_rows": 200, "first_bad": None},
            OUTPUT: {"kind": "dir", "writable": True, "entries": 0}},
        "network": {"github.com": {"ok": True, "error": None}, "api.swanlab.cn": {"ok": True, "error": None}},
    }
    for name, value in changes.items():
        *groups, last = name.split("__")
        place = data
        for group in groups:
            place = place[group]
        if last in ("packages", "paths", "network", "env") and isinstance(value, dict) and value != UNKNOWN:
            place[last] |= value
        else:
            place[last] = value
    return data


def machine(**changes: Any) -> Facts:
    return parse_facts(machine_data(**changes), "test")


def config_data(swift: dict[str, Any] | None = None, **sections: dict[str, Any]) -> dict[str, Any]:
    """A config that suits `machine()`; `swift` is laid over its arguments, None takes one away."""
    arguments = {"model": MODEL, "dataset": [DATA], "torch_dtype": "bfloat16", "max_length": 2048, "packing": True,
                 "attn_impl": "flash_attn", "output_dir": OUTPUT, **(swift or {})}
    return {"swift": {name: value for name, value in arguments.items() if value is not None}, **sections}


def config(swift: dict[str, Any] | None = None, **sections: dict[str, Any]) -> ResolvedConfig:
    return build_config(config_data(swift, **sections))


def build_config(data: dict[str, Any]) -> ResolvedConfig:
    """The typed sections of plain data, without files, interpolation and origins. Raises DecodeError."""
    kinds = {"flash_attn": FlashAttnSection, "swanlab": SwanLabSection, "launch": LaunchSection,
             "preflight": PreflightSection, "run": RunSection}
    sections = {name: decode(kind, data.get(name, {}), name) for name, kind in kinds.items()}
    return ResolvedConfig(swift=SwiftArguments(data["swift"]), env=data.get("env", {}), values=data, **sections)
