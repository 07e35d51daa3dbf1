"""Every finding code: the area it belongs to and the severities it may have. Pure.

A code is never reused for another meaning. `--allow` accepts these names, the display groups by area, and a test holds
that each is produced by a check (those of the area "run" by `diagnose` alone).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from swift_fa_launcher.errors import Text, UsageError
from swift_fa_launcher.findings.finding import ERROR, INFO, WARNING, Severity

#: Areas in the order of display.
AREAS: Mapping[str, Text] = {
    "machine": Text("Machine and interpreter", "机器与解释器"),
    "flash-attn": Text("flash-attn as installed", "已安装的 flash-attn"),
    "build": Text("Installing and building", "安装与编译"),
    "swift": Text("ms-swift and its arguments", "ms-swift 及其参数"),
    "launch": Text("Launching", "启动"),
    "data": Text("Model, data, output", "模型、数据与输出"),
    "swanlab": Text("SwanLab", "SwanLab"),
    "run": Text("A failed run", "失败的训练"),
}


@dataclass(frozen=True)
class Code:
    name: str
    area: str
    severities: frozenset[Severity]


_SEVERITIES = {"E": ERROR, "W": WARNING, "I": INFO}

_LISTED = {
    "machine": """
        python-unsupported E    torch-missing E         torch-cpu-only E           gpu-none E
        gpu-not-visible E       gpu-memory-low W        gpu-arch-unsupported E     gpu-flash-attn-leftover W
        driver-too-old E        shm-small EW            disk-space-low E           host-memory-low W
        windows-unsupported W
    """,
    "flash-attn": """
        flash-attn-missing EI           flash-attn-extension-missing E  flash-attn-shadowed E
        flash-attn-python-mismatch E    flash-attn-abi-mismatch E       flash-attn-torch-mismatch E
        flash-attn-cuda-mismatch E      flash-attn-glibc-too-new E      flash-attn-arch-missing E
        flash-attn-too-old E            flash-attn-import-failed E      flash-attn-probe-failed E
        flash-attn-probe-wrong E        flash-attn-variant-missing E    torch-prerelease W
    """,
    "build": """
        wheel-not-found EW      wheel-invalid E         wheel-unsupported-here E  nvcc-missing E
        cuda-home-missing EW    nvcc-torch-mismatch E   nvcc-too-old E            gcc-unsupported E
        build-deps-missing W    build-memory-low W      site-packages-not-writable E
        mirror-unreachable EW   tls-failed EW
    """,
    "swift": """
        ms-swift-missing E          swift-not-ms-swift E        arg-unknown E           arg-renamed I
        arg-invalid E               arg-missing EW              packing-needs-flash-attn E
        packing-lazy-tokenize E     packing-leaks E             packing-model-unsupported E
        packing-cache-not-shared E  packing-timeout-risk W      rows-too-long W         packing-changes-batch I
        flash-attn-dtype E          bf16-unsupported E          transformers-mismatch E requirement-conflict EW
        deepspeed-missing E         deepspeed-launch E
    """,
    "launch": """
        nproc-exceeds-gpus E    gpus-unused W       launch-env-misspelt W   launch-nested E
        port-in-use E           master-addr-loopback E
    """,
    "data": """
        model-missing E         model-incomplete E      model-type-unknown E    dataset-missing E
        dataset-format E        output-not-writable E   output-link-exists EW   checkpoint-incomplete E
        resume-setting-ignored E    checkpoint-unloadable W
    """,
    "swanlab": """
        swanlab-missing E           swanlab-not-logged-in E     swanlab-account-implicit W
        swanlab-key-malformed E     swanlab-key-in-config E     swanlab-unreachable E
        swanlab-mode-unsupported EI swanlab-local-needs-dashboard E     swanlab-version-conflict EW
        swanlab-login-failed E      swanlab-name-invalid E      swanlab-resume E
    """,
    "run": """
        gpu-out-of-memory E     host-out-of-memory E    nccl-timeout E      interrupted I       unknown W
    """,
}


def _listed_codes() -> Iterator[Code]:
    for area, text in _LISTED.items():
        words = text.split()
        for name, letters in zip(words[::2], words[1::2], strict=True):
            yield Code(name, area, frozenset(_SEVERITIES[letter] for letter in letters))


#: All codes by name, in the order of display.
CODES: Mapping[str, Code] = {code.name: code for code in _listed_codes()}

#: Codes that only a log shows; no check yields them.
DIAGNOSE_ONLY = frozenset(name for name, code in CODES.items() if code.area == "run")


def require_codes(names: Iterable[str], where: str) -> tuple[str, ...]:
    """The names, all of which are codes. Raises UsageError for one that is none, with the nearest; `where` says who named it."""
    for name in names:
        if name not in CODES:
            near = difflib.get_close_matches(name, CODES, n=1)
            raise UsageError(Text(f"there is no finding code {name}", f"没有检查代码 {name}"), where=where,
                             hint=(Text(f"did you mean {near[0]}?", f"是否想写 {near[0]}？"),) if near else ())
    return tuple(names)
