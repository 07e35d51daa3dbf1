"""FlashAttention 2 as a kernel of the hub: looked for in the cache, asked for at the hub, fetched, and tried."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from swift_fa_launcher.cache import cache_dir
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Maybe, Unknown, decode, known
from swift_fa_launcher.errors import Say, Text
from swift_fa_launcher.files import keep_answer, kept_answer, stamp
from swift_fa_launcher.flash.implementations import HUB_KERNELS
from swift_fa_launcher.machine.facts import Facts, HubKernel
from swift_fa_launcher.machine.hub import cached_folder
from swift_fa_launcher.machine.interpreter import run_script
from swift_fa_launcher.machine.probe import (
    Job,
    gpus_to_probe,
    probe_flash_attn,
    wanted_dtype,
    wanted_head_dims,
    with_tried,
)
from swift_fa_launcher.machine.reading import interpreter

SCRIPT = Path(__file__).with_name("hub_kernel_script.py")
#: Seconds for some hundred MB; a fetch in which nothing comes for `preflight.timeout` ends by itself.
FETCH_TIMEOUT = 1800.0


def collect_hub_kernel(config: ResolvedConfig, facts: Facts, way: str, environment: Mapping[str, str], cwd: Path,
                       say: Say, pinned: str | None = None) -> Maybe[HubKernel]:
    """The kernel that fits the training interpreter, tried on the GPUs. way: "cached" for one that lies in the cache, "ask" to
    ask the hub too, "fetch" to fetch it. pinned: the commit that it has to be. Unknown where the interpreter has not come to
    look."""
    if way == "cached" and not (environment.get("KERNELS_CACHE") or any(
            cached_folder(name, kind, environment, True) for name in HUB_KERNELS for kind in ("kernels", "models"))):
        return HubKernel("kernels", revision=None, origin=None, pinned=pinned)  # the interpreter takes seconds
    executable = interpreter(facts) or config.launch.python or "python"
    kept = cache_dir() / "hub-kernel" / f"{_key(executable, facts, environment, pinned)}.json"
    said = kept_answer(kept, lambda answer: dict(answer["said"]))
    if said is None:
        say(_FETCHING if way == "fetch" else _LOOKING)
        answer = run_script(executable, SCRIPT, json.dumps({"way": way, "pinned": pinned, "silence": config.preflight.timeout}),
                            environment=environment, cwd=cwd,
                            timeout=FETCH_TIMEOUT if way == "fetch" else config.preflight.timeout,
                            errors=None if way == "fetch" else subprocess.STDOUT)  # huggingface_hub shows how far it is
        said = {name: value for step in answer.steps for name, value in step.items()}
        if said.get("origin"):
            keep_answer(kept, {"said": said}, map(str, Path(said["origin"]).parent.iterdir()))
        elif answer.failure and "repo" not in said:
            return Unknown(answer.failure)
        elif answer.failure:
            said["error"] = answer.failure
    kernel: HubKernel = decode(HubKernel, {"distribution": "kernels", "pinned": pinned, **said})
    if not kernel.cached or config.preflight.probe == "never":
        return kernel
    gpus = gpus_to_probe(config, facts)
    job = Job(python=executable, module=f"{kernel.repo}@{kernel.revision}", gpus=known(gpus) or (), driver=facts.driver,
              dtype=wanted_dtype(config, facts), head_dims=wanted_head_dims(config, facts), files=(Path(said["origin"]),))
    tried = probe_flash_attn(job, environment, cwd, config.preflight.timeout, say)
    return replace(kernel, **vars(with_tried(kernel, tried, gpus)))


def _key(executable: str, facts: Facts, environment: Mapping[str, str], pinned: str | None) -> str:
    """A name for everything, beside the kernel's own files, that the answer depends on."""
    places = ("HOME", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "KERNELS_CACHE", "LOCAL_KERNELS")
    told: Any = [stamp(SCRIPT), executable, pinned, str(facts.torch), [environment.get(name) for name in places],
                 [str(facts.package(name)) for name in ("kernels", "transformers", "huggingface-hub")]]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


_LOOKING = Text("looking for a hub kernel with flash attention", "正在查找 flash attention 的 hub kernel")
_FETCHING = Text("fetching the hub kernel with flash attention (some hundred MB)",
                 "正在下载 flash attention 的 hub kernel（数百 MB）")
