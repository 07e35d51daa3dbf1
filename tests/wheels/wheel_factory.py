"""Tiny real wheels: a zip with METADATA, WHEEL and RECORD, and where asked a real extension compiled with gcc."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sysconfig
import zipfile
from pathlib import Path

HERE = f"cp{sysconfig.get_config_var('py_version_nodot')}"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


def make_wheel(folder: Path, filename: str, files: dict[str, bytes | str], *,
               name: str = "flash_attn",
               version: str = "2.8.3", tag: str = "py3-none-any", raw: dict[str, bytes] | None = None,
               requires: tuple[str, ...] = ()) -> Path:
    """A wheel called `filename` with `files`; name, version and tag are what its metadata says.

    raw: members that RECORD does not list.
    """
    info = f"{name}-{version}.dist-info"
    members: dict[str, bytes] = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
    needs = "".join(f"Requires-Dist: {need}\n" for need in requires)
    members[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}".encode()
    members[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
    rows = [f"{path},sha256={_record_digest(data)},{len(data)}" for path, data in members.items()]
    members[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / filename
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in {**members, **(raw or {})}.items():
            archive.writestr(path, data)
    return target


def flash_attn_wheel(folder: Path, version: str = "2.8.3", *, body: str = "", label: str = "",
                     padding: int = 0, files: dict[str, bytes | str] | None = None) -> Path:
    """A flash-attn for any Python; `body` runs at import. padding: bytes of incompressible ballast."""
    inside: dict[str, bytes | str] = {"flash_attn/__init__.py": f"__version__ = {version!r}\n{body}\n", **(files or {})}
    if padding:
        inside["flash_attn/ballast.bin"] = ballast(padding)
    return make_wheel(folder, f"flash_attn-{version}{label}-py3-none-any.whl", inside, version=version)


def ballast(count: int) -> bytes:
    """Bytes that do not compress, the same ones each time."""
    return hashlib.shake_128(b"ballast").digest(count)


def compile_extension(folder: Path, source: str, module: str, *flags: str) -> bytes:
    """The bytes of an extension module made from C `source`."""
    folder.mkdir(parents=True, exist_ok=True)
    code, library = folder / f"{module}.c", folder / f"{module}.so"
    code.write_text(source)
    include = sysconfig.get_paths()["include"]
    subprocess.run(["gcc", "-shared", "-fPIC", "-O0", f"-I{include}", str(code), "-o", str(library), *flags],
                   check=True, capture_output=True)
    return library.read_bytes()


def module_source(module: str, extra: str = "") -> str:
    """C of an extension module that imports; `extra` goes before its init function."""
    return (f"#include <Python.h>\n{extra}\nstatic struct PyModuleDef def = {{PyModuleDef_HEAD_INIT, \"{module}\"}};\n"
            f"PyMODINIT_FUNC PyInit_{module}(void) {{ return PyModule_Create(&def); }}\n")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _record_digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
