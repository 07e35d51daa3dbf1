"""Says what only the training interpreter can see. Run by path with that interpreter; never imported by the launcher.

Standard library only, Python 3.8 to 3.14, and nothing of the training is imported: distributions are read from the
folders of sys.path, modules are located and not run. Prints one line: MARKER and a JSON object; whatever else a
sitecustomize or a .pth file prints is noise around it.
"""

import sys

# The folder of this script is not on the path of the training (ms-swift runs swift/cli/sft.py, so that is its folder).
if sys.path and sys.path[0] and __file__.startswith(sys.path[0]):
    del sys.path[0]

import json  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
import sysconfig  # noqa: E402
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder  # noqa: E402

MARKER = "swift-fa-target:"
MODULES = ("torch", "torch_npu", "flash_attn", "flash_attn_2_cuda", "flash_attn_interface", "flash_attn_3", "swift",
           "swanlab", "transformers", "modelscope", "huggingface_hub")
DIRECT_URLS = ("flash-attn", "flash-attn-3", "flash-attn-4")


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def python():
    base = "cp%d%d" % sys.version_info[:2]
    abi = base + ("t" if sysconfig.get_config_var("Py_GIL_DISABLED") else "")
    if sys.implementation.name != "cpython":
        abi = str(sysconfig.get_config_var("SOABI") or "").replace(".", "_").replace("-", "_")
    site = sysconfig.get_path("purelib")
    existing = site
    while not os.path.exists(existing) and os.path.dirname(existing) != existing:
        existing = os.path.dirname(existing)
    managed = os.path.isfile(os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED"))
    return {
        "version": "%d.%d.%d" % sys.version_info[:3] + ("" if sys.version_info[3] == "final"
                                                       else sys.version_info[3][0] + str(sys.version_info[4])),
        "implementation": {"cpython": "CPython", "pypy": "PyPy"}.get(sys.implementation.name, sys.implementation.name),
        "abi": abi,
        "executable": sys.executable,
        "externally_managed": managed and sys.prefix == sys.base_prefix,
        "site_packages": site,
        "site_packages_writable": os.access(existing, os.W_OK),
    }


def read_header(path):
    """Name, version and requirements of a METADATA file; None where it has no name or cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            head = []
            for line in file:
                if line in ("\n", "\r\n"):
                    break
                head.append(line.rstrip("\r\n"))
    except OSError:
        return None
    found = {"name": None, "version": None, "requires": [], "requires_python": None}
    for line in head:
        key, colon, value = line.partition(":")
        key = key.lower()
        if not colon or line[:1] in " \t":
            continue
        if key == "requires-dist":
            found["requires"].append(value.strip())
        elif key in ("name", "version", "requires-python"):
            found[key.replace("-", "_")] = value.strip()
    return found if found["name"] else None


def egg_requires(folder):
    """The requirements of an old-style .egg-info folder, which keeps them beside PKG-INFO; extras left out."""
    try:
        with open(os.path.join(folder, "requires.txt"), encoding="utf-8", errors="replace") as file:
            text = file.read().split("\n[")[0]
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("[")]


def distributions():
    """Canonical name to what is installed under it; the first folder on the path wins, as in importlib.metadata."""
    found = {}
    for entry in sys.path:
        folder = entry or os.getcwd()
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            if name.startswith("~") or not name.endswith((".dist-info", ".egg-info")):
                continue  # "~lash_attn" is what an interrupted pip leaves behind
            place = os.path.join(folder, name)
            header = read_header(os.path.join(place, "METADATA" if name.endswith(".dist-info") else "PKG-INFO")
                                 if os.path.isdir(place) else place)
            if header is None:
                continue
            if name.endswith(".egg-info"):
                header["requires"] = header["requires"] or egg_requires(place)
            header["place"] = place
            found.setdefault(canonical(header["name"]), header)
    return found


def locate(name):
    """Where `import name` would find a module, without running it: file, folders of the package, whether a namespace."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        try:
            spec = find(name, None) if find else None
        except Exception as error:  # a broken editable finder must not hide the rest
            return {"error": "%s: %s" % (type(error).__name__, error)}
        if spec is not None:
            folders = list(spec.submodule_search_locations or ())
            return {"origin": spec.origin, "folders": folders, "package": spec.submodule_search_locations is not None}
    return None


def extension_files(module):
    """Every file on the path that holds a compiled module of this name, the one that is imported first."""
    files = []
    for entry in sys.path:
        folder = entry or os.getcwd()
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        files += [os.path.join(folder, name) for name in sorted(names)
                  if name.split(".")[0] == module and name.endswith((".so", ".pyd"))]
    spec = PathFinder.find_spec(module)
    return sorted(files, key=lambda file: (spec is None or file != spec.origin, file))


def direct_url(place):
    try:
        with open(os.path.join(place, "direct_url.json"), encoding="utf-8") as file:
            return json.load(file).get("url")
    except (OSError, ValueError, AttributeError):
        return None


def report():
    installed = distributions()
    return {
        "python": python(),
        "suffixes": EXTENSION_SUFFIXES,
        "path": [entry or os.getcwd() for entry in sys.path],
        "distributions": installed,
        "modules": {name: locate(name) for name in MODULES},
        "extensions": {"flash_attn_2_cuda": extension_files("flash_attn_2_cuda")},
        "direct_urls": {name: direct_url(installed[name]["place"]) for name in DIRECT_URLS if name in installed},
    }


if __name__ == "__main__":
    print("\n" + MARKER + json.dumps(report()))
