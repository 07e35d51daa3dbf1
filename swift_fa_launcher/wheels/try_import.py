"""Says where the training interpreter installs to, and imports the modules named. Run by path, never imported.

Standard library only, Python 3.8 to 3.14. Prints lines of MARKER and a JSON object.
"""

from __future__ import annotations

import sys

if not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # this script's folder, which the training does not have on its path

import importlib
import json
import os
import site
import sysconfig
from importlib import metadata, util

MARKER = "swift-fa-target:"


def version_of(name: str) -> str | None:
    try:
        return metadata.version(name)
    except Exception:  # absent, or damaged beyond reading
        return None


def installed() -> dict[str, str]:
    """Name to version of every distribution on the path; einops also where it was copied there without one."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        try:
            found.setdefault(distribution.metadata["Name"], distribution.version)
        except Exception:  # damaged beyond reading
            continue
    if util.find_spec("einops") is not None:
        found.setdefault("einops", "")
    return {str(name): str(version) for name, version in found.items() if name}


def say(answer: dict[str, object]) -> None:
    print(MARKER + json.dumps(answer), flush=True)


def main(modules: list[str]) -> None:
    """The modules are imported as from the site-packages that a first word `--site=FOLDER` names."""
    if modules and modules[0].startswith("--site="):
        folder = modules.pop(0)[len("--site="):]
        if folder != sysconfig.get_path("platlib"):  # which had its .pth files read at the start
            site.addsitedir(folder)
    stdlib = sysconfig.get_path("stdlib")
    managed = sys.prefix == sys.base_prefix and os.path.isfile(os.path.join(stdlib, "EXTERNALLY-MANAGED"))
    say({"site_packages": sysconfig.get_path("platlib"), "externally_managed": managed, "python": sys.version.split()[0],
         "torch": version_of("torch"), "pip": util.find_spec("pip") is not None,
         "installed": installed()})
    files: dict[str, str | None] = {}
    for name in modules:
        say({"module": name, "error": None})  # the last word, should the import take the process with it
        try:
            files[name] = getattr(importlib.import_module(name), "__file__", None)
        except BaseException as error:
            say({"module": name, "error": f"{type(error).__name__}: {error}"})
            break
    else:
        say({"files": files, "torch": version_of("torch")})
    sys.stdout.flush()
    os._exit(0)  # what was imported may crash or hang on its way out, and has answered already


if __name__ == "__main__":
    main(sys.argv[1:])
