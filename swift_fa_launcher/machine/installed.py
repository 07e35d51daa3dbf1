"""Facts from the answer of `target.py` and from the files that it points at; nothing of the training is imported."""

from __future__ import annotations

import ast
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from swift_fa_launcher.config import needed_packages
from swift_fa_launcher.decode import Maybe, Unknown, known
from swift_fa_launcher.flash.implementations import DISTRIBUTIONS
from swift_fa_launcher.machine.elf import read_cxx11_abi
from swift_fa_launcher.machine.facts import Swift, Torch

#: What `target.py` answered.
Report = Mapping[str, Any]

#: Distributions that checks ask for: present in `Facts.packages` as None where they are not installed.
ASKED_FOR = (
    "ms-swift", "torch", "transformers", "swanlab", *DISTRIBUTIONS, "trl", "accelerate", "datasets", "modelscope", "deepspeed",
    "vllm", "xformers", "swanboard", "ninja", "packaging", "psutil", "wheel", "setuptools", "pip", "uv", "flash-linear-attention",
    "fla-core", "causal-conv1d", *needed_packages.DISTRIBUTIONS,
)


def parse_version(text: Any) -> Maybe[Version]:
    """A version as a distribution states it; Unknown where it is none, None for None."""
    try:
        return Version(text) if isinstance(text, str) else None
    except InvalidVersion:
        return Unknown(f"not a version: {text!r}")


def make_packages(report: Report) -> dict[str, Maybe[Version]]:
    """Canonical distribution name to version; None for those that checks ask for and that are not there."""
    installed = report["distributions"]
    found = {name: parse_version(entry["version"]) for name, entry in installed.items()}
    return {**{name: None for name in ASKED_FOR}, **found}


def module_file(report: Report, name: str) -> Path | None:
    """The file that `import name` would run; None where it resolves to nothing or to a bare folder."""
    place = report["modules"].get(name) or {}
    origin = place.get("origin")
    return Path(origin) if origin and origin not in ("namespace", "built-in", "frozen") else None


def collect_torch(report: Report) -> Maybe[Torch]:
    """torch by its files; None where there is none.

    import_error stays None while the files that an import needs are there: importing torch takes two seconds, so
    whether it really succeeds is only known where flash-attn's import was tried.
    """
    place, entry = report["modules"].get("torch"), report["distributions"].get("torch")
    if not place and not entry:
        return None
    stated = parse_version(entry["version"]) if entry else None
    npu = report["distributions"].get("torch-npu", {}).get("version")
    origin = module_file(report, "torch")
    if origin is None:
        where = ", ".join((place or {}).get("folders") or ()) or "no module"
        broken = f"`import torch` resolves to {where}, which is not the installed torch"
        return Torch(version=stated, import_error=broken if stated else f"{broken}: there is none", npu=npu)
    folder = origin.parent
    said = read_version_file(folder / "version.py")
    if isinstance(said, Unknown):
        return Torch(version=stated, cuda=said, hip=said, cxx11_abi=said, origin=str(folder), npu=npu,
                     import_error=said.why)
    return Torch(version=parse_version(said.get("__version__")) or stated, cuda=parse_version(said.get("cuda")),
                 hip=said.get("hip"), npu=npu, cxx11_abi=read_cxx11_abi(torch_libraries(report, folder)),
                 import_error=_missing_torch_files(folder, entry), origin=str(folder))


def read_version_file(file: Path) -> dict[str, str | None] | Unknown:
    """The constants of torch/version.py (`__version__`, `cuda`, `hip`), read and not run."""
    try:
        tree = ast.parse(file.read_text("utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        return Unknown(f"{file}: {error}")
    constants: dict[str, str | None] = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and (
                value.value is None or isinstance(value.value, str)):
            constants[target.id] = value.value
    return constants if constants.get("__version__") else Unknown(f"{file} does not say a version")


def collect_kernels_range(report: Report) -> Maybe[str]:
    """The releases of `kernels` with which the installed transformers looks for hub kernels, as a specifier; None where it
    takes any (utils/import_utils.py, `is_kernels_available`), or where there is no transformers."""
    origin = module_file(report, "transformers")
    if origin is None:
        return None
    file = origin.parent / "utils" / "import_utils.py"
    try:
        bounds = dict(re.findall(r'^KERNELS_(MIN|MAX)_VERSION = "([\w.]+)"', file.read_text("utf-8"), re.M))
    except (OSError, ValueError) as error:
        return Unknown(f"{file}: {error}")
    return ",".join(f"{sign}{bounds[end]}" for end, sign in (("MIN", ">="), ("MAX", "<")) if end in bounds) or None


def torch_libraries(report: Report, folder: Path) -> Path:
    """The folder of torch's libraries: its own `lib`, or conda's, where conda-forge's build has them."""
    shared = Path(report["prefix"]) / "lib"
    own = folder / "lib"
    return shared if not os.path.exists(own / "libc10.so") and os.path.exists(shared / "libc10.so") else own


def _missing_torch_files(folder: Path, entry: Mapping[str, Any] | None) -> str | None:
    """What of its libraries torch's distribution lists and is not there; None where all is, or it lists none."""
    try:
        listed = Path(entry["place"], "RECORD").read_text("utf-8") if entry else ""
    except (OSError, ValueError):
        return None
    libraries = re.findall(r"^torch/(lib/(?:lib)?(?:c10|torch_cpu|torch_python)\.\w+),", listed, re.M)
    missing = [name for name in libraries if not os.path.exists(folder / name)]
    return f"{folder} lacks {', '.join(missing)}: torch is not completely installed" if missing else None


def read_wheel_label(url: str | None) -> str | None:
    """The local version label in the wheel's file name that direct_url.json points at ("cu12torch2.8cxx11abiTRUE");
    None where there is no such url, it is no wheel, or the name has no label."""
    name = unquote(urlsplit(url or "").path).rpartition("/")[2]
    if not name.endswith(".whl"):
        return None
    try:
        return parse_wheel_filename(name)[1].local and name.split("-")[1].partition("+")[2]
    except InvalidWheelFilename:
        return None


def collect_swift(report: Report, environment: Mapping[str, str]) -> Swift:
    """What `swift` on the training's PATH and `import swift` are."""
    command = shutil.which("swift", path=environment.get("PATH"))
    module = module_file(report, "swift")
    return Swift(command=command, command_is_ms_swift=_starts_ms_swift(Path(command)) if command else None,
                 module=str(module) if module else None)


def _starts_ms_swift(script: Path) -> Maybe[bool]:
    try:
        with script.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        return Unknown(f"{script}: {error.strerror}")
    return re.search(rb"\bswift\.cli\.main\b", head) is not None


def known_path(value: Maybe[str]) -> Path | None:
    """A known path as a Path."""
    text = known(value)
    return Path(text) if text else None
