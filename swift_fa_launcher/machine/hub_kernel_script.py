"""Looks for FlashAttention 2 as a kernel of the hub, by way of `kernels`. Run by path with the training interpreter.

Argument: a JSON object with `way`: "cached" (what lies in the cache already), "ask" (else whether the hub has a build), "fetch"
(else into the cache), `pinned`, the commit that it has to be, or null, and `silence`, the seconds in which something has to come
while it is fetched: huggingface_hub asks once more without any limit where it was not answered. Prints lines of MARKER and JSON:
{"repo"}, then what was found of "revision", "origin", "builds", or {"error"}. A kernel is loaded, to see whether it can be:
`kernels` refuses what is not for this torch, CUDA and machine.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # this script's folder, which the training does not have on its path

import importlib.util
import json
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

MARKER = "swift-fa-target:"


def tell(step: dict[str, Any]) -> None:
    print("\n" + MARKER + json.dumps(step), flush=True)


def wanted() -> tuple[str, int | None]:
    """(name, version) of the kernel that the installed transformers itself would take for flash-attn. The version: a table's from
    5.18 on, before it 1, before 5.13 none (integrations/hub_kernels.py). The name: before 5.5 it stands in modeling_utils.py."""
    import transformers
    from packaging.version import Version
    from transformers import modeling_flash_attention_utils as flash

    release = Version(transformers.__version__).release
    older = "kernels-community/flash-attn" + ("2" if release >= (5,) else "")
    repo = getattr(flash, "FLASH_ATTN_KERNEL_FALLBACK", {}).get("flash_attention_2", older)
    return repo, getattr(flash, "FLASH_ATTN_KERNEL_VERSIONS", {}).get(repo, 1 if release >= (5, 13) else None)


def cached(repo: str) -> list[str]:
    """Commits of which something lies in the cache, the newest first: `kernels` itself forgets which version a commit is."""
    from huggingface_hub import constants  # type: ignore[import-not-found,unused-ignore]

    root = Path(os.environ.get("KERNELS_CACHE") or constants.HF_HUB_CACHE)
    found = [folder for kind in ("kernels", "models") for folder in root.glob(f"{kind}--{repo.replace('/', '--')}/snapshots/*")]
    return [folder.name for folder in sorted(found, key=lambda each: each.stat().st_mtime, reverse=True)]


def end_in_silence(repo: str, seconds: float) -> None:
    """Ends this process with an error once nothing has come into the cache for so long. From now on, in a thread."""
    from huggingface_hub import constants  # type: ignore[import-not-found,unused-ignore]

    root = Path(os.environ.get("KERNELS_CACHE") or constants.HF_HUB_CACHE)
    places = [*(root / f"{kind}--{repo.replace('/', '--')}" for kind in ("kernels", "models")), Path(constants.HF_HOME, "xet")]

    def watch() -> None:
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < seconds:
            time.sleep(0.5)
            size = sum(os.path.getsize(os.path.join(folder, name)) for place in places for folder, _, names in os.walk(place)
                       for name in names if os.path.isfile(os.path.join(folder, name)))
            if size != seen:
                seen, since = size, time.monotonic()
        tell({"error": f"nothing came from the hub for {seconds:g} s"})
        os._exit(0)  # it has answered

    threading.Thread(target=watch, daemon=True).start()


def describe(kernel: Any, version: int | None) -> dict[str, Any]:
    """A loaded kernel as facts. Raises an exception where its files are not those of its metadata, or of another version."""
    import kernels

    parts = Path(kernel.__file__).parts
    place = parts.index("snapshots")  # CACHE/kernels--OWNER--NAME/snapshots/REVISION/build/VARIANT/
    folder = Path(*parts[:place + 4])
    if hasattr(kernels, "Metadata") and (folder / "metadata.json").is_file():
        metadata = kernels.Metadata.read_from_file(folder / "metadata.json")
        if version is not None and getattr(metadata, "version", None) not in (version, None):
            raise ValueError(f"it is of version {metadata.version}")
        if digest := getattr(metadata, "digest", None):
            digest.validate(digest.hash_variant(digest.algorithm, folder))
    return {"repo": parts[place - 1].partition("--")[2].replace("--", "/"), "revision": parts[place + 1],
            "origin": kernel.__file__, "builds": True}


def load_plugin() -> Any:
    file = Path(__file__).resolve().parents[1] / "training" / "swift_fa_attention.py"
    spec: Any = importlib.util.spec_from_file_location(file.stem, str(file))
    plugin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plugin)
    return plugin


def look(way: str, pinned: str | None, silence: float) -> dict[str, Any]:
    repo, version = wanted()
    tell({"repo": repo})
    plugin = load_plugin()
    if pinned:
        version = None  # whoever named the commit has decided
    for revision in (each for each in cached(repo) if pinned in (None, each)):
        with suppress(Exception):  # for another torch, another version, a part of it only
            return describe(plugin.load_kernel(repo, revision), version)
    if way == "cached":
        return {"revision": None, "origin": None}
    import kernels

    asked: dict[str, Any] = {"revision": pinned or "main"} if version is None else {"version": version}
    if way == "ask":
        return {"builds": kernels.has_kernel(repo, **asked), "revision": None, "origin": None}
    end_in_silence(repo, silence)
    found = describe(kernels.get_kernel(repo, **asked), version)
    if pinned not in (None, found["revision"]):
        raise ValueError(f"the hub gave {found['revision']}, and {pinned} is asked for")
    return found


if __name__ == "__main__":
    try:
        tell(look(**json.loads(sys.argv[1])))
    except Exception as error:
        tell({"error": f"{type(error).__name__}: {' '.join(str(error).split())}"})
