"""Small real installations: folders for PYTHONPATH with distributions, modules and libraries compiled on the spot."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sysconfig
import tempfile
from functools import cache
from pathlib import Path

import pytest

NEW_ABI, OLD_ABI = 1, 0
#: What torch's libraries define, as far as these tests ask for it.
TORCH_SOURCE = """
#include <string>
namespace c10 {
struct SourceLocation { int line; };
struct Error { Error(SourceLocation, std::string); };
Error::Error(SourceLocation, std::string) {}
namespace detail { void torchCheckFail(const char*, const std::string& why) {} }
}
"""
#: An extension module that asks for a part of it. {more} is further code.
EXTENSION_SOURCE = """
#include <string>
#include <cmath>
namespace c10 {{
struct SourceLocation {{ int line; }};
struct Error {{ Error(SourceLocation, std::string); }};
}}
extern "C" void* PyModule_Create2(void*, int);
extern "C" int helper();
{more}
extern "C" void* PyInit_flash_attn_2_cuda() {{ c10::Error e(c10::SourceLocation{{1}}, "x"); return nullptr; }}
"""


def compile_library(file: Path, source: str, *arguments: str, folder: Path | None = None, abi: int = NEW_ABI) -> Path:
    """Compiles C++ into a shared library, linked in `folder`; skips the test where there is no compiler."""
    file.parent.mkdir(parents=True, exist_ok=True)
    links = {place.name: place.read_bytes() for place in (folder.glob("*.so") if folder else ())}
    file.write_bytes(_compile(source, arguments, tuple(sorted(links.items())), abi))
    return file


@cache
def _compile(source: str, arguments: tuple[str, ...], links: tuple[tuple[str, bytes], ...], abi: int) -> bytes:
    if shutil.which("g++") is None:
        pytest.skip("no g++ to build a real ELF file with")
    with tempfile.TemporaryDirectory() as scratch:
        for name, content in links:
            Path(scratch, name).write_bytes(content)
        Path(scratch, "code.cpp").write_text(source)
        subprocess.run(["g++", "-shared", "-fPIC", "-O0", f"-D_GLIBCXX_USE_CXX11_ABI={abi}", "-o", "out", "code.cpp", "-L.",
                        *arguments], cwd=scratch, check=True, capture_output=True)
        return Path(scratch, "out").read_bytes()


def make_torch(site: Path, version: str = "2.8.0+cu128", cuda: str | None = "12.8", abi: int = NEW_ABI) -> Path:
    """A `torch` of this version with real, tiny libraries; its `lib` folder comes back."""
    package = site / "torch"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(f"__version__ = {version!r}\n")
    (package / "version.py").write_text(
        f"from typing import Optional\n__version__ = {version!r}\ncuda: Optional[str] = {cuda!r}\nhip: Optional[str] = None\n")
    library = package / "lib"
    compile_library(library / "libc10.so", TORCH_SOURCE, abi=abi)
    for name in ("libtorch_cpu.so", "libtorch_python.so"):
        compile_library(library / name, "int unused;", "-l:libc10.so", folder=library)
    record = make_distribution(site, "torch", version) / "RECORD"
    record.write_text("".join(f"torch/lib/{file.name},sha256=x,1\n" for file in library.iterdir()))
    return library


def make_distribution(site: Path, name: str, version: str, *requires: str, url: str | None = None) -> Path:
    """Metadata of an installed distribution; its folder comes back."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    (folder / "METADATA").write_text("\n".join(lines) + "\n\nRequires-Dist: not-a-header\n", encoding="utf-8")
    (folder / "RECORD").write_text("")
    if url:
        (folder / "direct_url.json").write_text(f'{{"url": "{url}", "archive_info": {{}}}}')
    return folder


def make_flash_attn(site: Path, libraries: Path, *, version: str = "2.8.3", abi: int = NEW_ABI, more: str = "",
                    suffix: str | None = None, init: str = "") -> Path:
    """A flash-attn with an extension linked to `libraries`; the extension's file comes back."""
    package = site / "flash_attn"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(init or f"import torch\n__version__ = {version!r}\n")
    make_distribution(site, "flash-attn", version, "torch", "einops")
    suffix = suffix or sysconfig.get_config_var("EXT_SUFFIX")
    return compile_library(site / f"flash_attn_2_cuda{suffix}", EXTENSION_SOURCE.format(more=more), "-Wl,--no-as-needed",
                           "-l:libc10.so", "-l:libtorch_cpu.so", folder=libraries, abi=abi)


def fat_binary(*entries: tuple[int, int, bytes]) -> bytes:
    """One fat binary of entries (kind, architecture, payload)."""
    body = b"".join(struct.pack("<HHIQQIIHHIQ", kind, 0x101, 64, len(code), 0, 0, arch, 0, 0, 0, 0).ljust(64, b"\0") + code
                    for kind, arch, code in entries)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body
