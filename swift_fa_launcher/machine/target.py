"""Says what only the training interpreter can see. Run by path with that interpreter; never imported by the launcher.

Standard library only, Python 3.8 to 3.14, and nothing of the training is imported: distributions are read from the
folders of sys.path, modules are located and not run. Prints one line: MARKER and a JSON object; whatever else a
sitecustomize or a .pth file prints is noise around it.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # this script's folder, which the training does not have on its path

import json
import os
import re
import sysconfig
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from typing import Any

MARKER = "swift-fa-target:"
MODULES = ("torch", "transformers", "flash_attn", "flash_attn_interface", "flash_attn_3", "swift", "swanlab")
EXTENSIONS = ("flash_attn_2_cuda", "flash_attn_3_cuda")
DIRECT_URLS = ("flash-attn", "flash-attn-3", "flash-attn-4")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def folders() -> list[str]:
    """The folders of the path, in order."""
    return [entry or os.getcwd() for entry in sys.path]


def listing(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def python() -> dict[str, Any]:
    major, minor, micro, level, serial = sys.version_info
    abi = f"cp{major}{minor}" + ("t" if sysconfig.get_config_var("Py_GIL_DISABLED") else "")
    if sys.implementation.name != "cpython":
        abi = str(sysconfig.get_config_var("SOABI") or "").replace(".", "_").replace("-", "_")
    site = sysconfig.get_path("purelib")
    existing = site
    while not os.path.exists(existing) and os.path.dirname(existing) != existing:
        existing = os.path.dirname(existing)
    managed = os.path.isfile(os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED"))
    return {
        "version": f"{major}.{minor}.{micro}" + ("" if level == "final" else level[0] + str(serial)),
        "implementation": {"cpython": "CPython", "pypy": "PyPy"}.get(sys.implementation.name, sys.implementation.name),
        "abi": abi,
        "executable": sys.executable,
        "externally_managed": managed and sys.prefix == sys.base_prefix,
        "site_packages": site,
        "site_packages_writable": os.access(existing, os.W_OK),
    }


def read(*path: str) -> str:
    """The text of a file; empty where it cannot be read."""
    try:
        with open(os.path.join(*path), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def read_header(path: str) -> dict[str, Any] | None:
    """Name, version and requirements of a METADATA file; None where it has no name or cannot be read."""
    found: dict[str, Any] = {"name": None, "version": None, "requires": []}
    for line in read(path).splitlines():
        if not line.strip():
            break
        key, _, value = line.partition(":")
        if key == "Requires-Dist":
            found["requires"].append(value.strip())
        elif key in ("Name", "Version"):
            found[key.lower()] = value.strip()
    return found if found["name"] else None


def egg_requires(folder: str) -> list[str]:
    """The requirements of an old-style .egg-info folder, which keeps them beside PKG-INFO; extras left out."""
    return [line.strip() for line in read(folder, "requires.txt").split("[")[0].splitlines() if line.strip()]


def distributions() -> dict[str, dict[str, Any]]:
    """Canonical name to what is installed under it; the first folder on the path wins, as in importlib.metadata."""
    found: dict[str, dict[str, Any]] = {}
    for folder in folders():
        for name in listing(folder):
            if name.startswith("~") or not name.endswith((".dist-info", ".egg-info")):
                continue  # "~lash_attn" is what an interrupted pip leaves behind
            place = os.path.join(folder, name)
            file = "METADATA" if name.endswith(".dist-info") else "PKG-INFO"
            header = read_header(os.path.join(place, file) if os.path.isdir(place) else place)
            if header is None:
                continue
            header["requires"] = header["requires"] or egg_requires(place)
            header["place"] = place
            found.setdefault(canonical(header["name"]), header)
    return found


def locate(name: str) -> dict[str, Any] | None:
    """Where `import name` would find a module, without running it: its file, and its folders where it is a package."""
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, None)
        except Exception:  # a broken editable finder must not hide the rest
            continue
        if spec is not None:
            return {"origin": spec.origin, "folders": list(spec.submodule_search_locations or ())}
    return None


def extension_files(module: str) -> list[str]:
    """Every file on the path that holds a compiled module of this name, the one that is imported first."""
    files = [os.path.join(folder, name) for folder in folders() for name in listing(folder)
             if name.split(".")[0] == module and name.endswith((".so", ".pyd"))]
    spec = PathFinder.find_spec(module)
    return sorted(files, key=lambda file: spec is None or file != spec.origin)


def direct_url(place: str) -> str | None:
    try:
        return str(json.loads(read(place, "direct_url.json"))["url"])
    except (ValueError, KeyError, TypeError):
        return None


def report() -> dict[str, Any]:
    installed = distributions()
    return {
        "python": python(),
        "suffixes": EXTENSION_SUFFIXES,
        "prefix": sys.prefix,
        "distributions": installed,
        "modules": {name: locate(name) for name in MODULES},
        "extensions": {name: extension_files(name) for name in EXTENSIONS},
        "direct_urls": {name: direct_url(installed[name]["place"]) for name in DIRECT_URLS if name in installed},
    }


if __name__ == "__main__":
    print("\n" + MARKER + json.dumps(report()))
