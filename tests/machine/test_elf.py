"""Extensions and libraries read as files: against binutils, against a real flash-attn, and against damage."""

from __future__ import annotations

import importlib.util
import lzma
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from fake_site import EXTENSION_SOURCE, NEW_ABI, OLD_ABI, TORCH_SOURCE, compile_library, make_flash_attn, make_torch
from packaging.version import Version

from swift_fa_launcher.decode import Unknown
from swift_fa_launcher.machine.elf import ElfError, ElfFile, gnu_hash, newest_glibc, read_cxx11_abi, read_extension

WHEEL = "flash_attn-2.8.3.post2-cp312-cp312-linux_x86_64.whl"


def lines_of(*command: str) -> list[str]:
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} to compare with")
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def defined_by(file: Path) -> set[str]:
    return {line.split()[-1].partition("@")[0] for line in lines_of("nm", "-D", "--defined-only", str(file))}


@pytest.mark.parametrize("abi", [NEW_ABI, OLD_ABI])
def test_the_abi_is_in_the_names_of_libc10(tmp_path: Path, abi: int) -> None:
    compile_library(tmp_path / "libc10.so", TORCH_SOURCE, abi=abi)
    assert read_cxx11_abi(tmp_path) is bool(abi)


def test_no_abi_is_guessed_where_no_name_tells_it(tmp_path: Path) -> None:
    compile_library(tmp_path / "libc10.so", "namespace c10 { void f(int) {} }")
    assert isinstance(read_cxx11_abi(tmp_path), Unknown)
    assert isinstance(read_cxx11_abi(tmp_path / "absent"), Unknown)


@pytest.mark.parametrize("style", ["gnu", "both"])
def test_look_ups_agree_with_nm(tmp_path: Path, style: str) -> None:
    code = "\n".join(f'extern "C" int function_{i}() {{ return {i}; }}' for i in range(300))
    library = compile_library(tmp_path / "lib.so", code, f"-Wl,--hash-style={style}")
    defined = defined_by(library)
    assert len(defined) >= 300
    with ElfFile(library) as elf:
        for name in defined | {"function_300", "", "strlen", "function_"}:
            assert elf.defines(name.encode(), gnu_hash(name.encode())) is (name in defined), name


def test_a_matching_extension_has_nothing_unresolved(tmp_path: Path) -> None:
    libraries = make_torch(tmp_path)
    file = make_flash_attn(tmp_path, libraries, more="double root(double x) { return sqrt(x) + floor(x); }")
    extension = read_extension(file, libraries)
    assert extension.unresolved == ()
    assert extension.file == file.name
    assert extension.needs is not None and not isinstance(extension.needs, Unknown) and "libc10.so" in extension.needs
    assert isinstance(extension.glibc, Version)
    assert (extension.cubins, extension.ptx) == ((), ())


def test_undefined_symbols_and_versions_agree_with_binutils(tmp_path: Path) -> None:
    libraries = make_torch(tmp_path)
    file = make_flash_attn(tmp_path, libraries, more="#include <stdio.h>\nvoid* p = (void*)&PyModule_Create2; int q = helper();"
                                                     "void say(const char* s) { puts(s); }")
    with ElfFile(file) as elf:
        ours = {(s.name.decode(), s.version) for s in elf.undefined()}
    theirs = {line.split()[-1] for line in lines_of("nm", "-D", "--undefined-only", str(file)) if line.split()[0] == "U"}
    assert {name + (f"@{version}" if version else "") for name, version in ours} == theirs
    assert ("PyModule_Create2", None) in ours


@pytest.mark.parametrize(("extension_abi", "torch_abi", "mark"), [(NEW_ABI, OLD_ABI, "cxx1112basic_string"),
                                                                (OLD_ABI, NEW_ABI, "SourceLocationESs")])
def test_another_abi_leaves_symbols_unresolved(tmp_path: Path, extension_abi: int, torch_abi: int, mark: str) -> None:
    built_against = make_torch(tmp_path / "built", abi=extension_abi)
    running = make_torch(tmp_path / "running", abi=torch_abi)
    file = make_flash_attn(tmp_path / "built", built_against, abi=extension_abi)
    unresolved = read_extension(file, running).unresolved
    assert isinstance(unresolved, tuple) and len(unresolved) == 1 and mark in unresolved[0]


def test_what_no_library_has_is_unresolved_only_where_all_libraries_were_seen(tmp_path: Path) -> None:
    libraries = make_torch(tmp_path)
    more = "namespace at { void gone(); } void use() { at::gone(); helper(); }"
    file = make_flash_attn(tmp_path, libraries, more=more)
    assert read_extension(file, libraries).unresolved == ("_ZN2at4goneEv", "helper")
    other = compile_library(tmp_path / "other" / "libother.so", 'extern "C" int helper() { return 1; }')
    shutil.copy(libraries / "libc10.so", other.parent)
    file = compile_library(tmp_path / "x.so", EXTENSION_SOURCE.format(more=more), "-l:libc10.so", "-l:libother.so",
                           folder=other.parent)
    assert read_extension(file, libraries).unresolved == ("_ZN2at4goneEv",)  # libother.so was not found: it may have helper
    assert read_extension(file, libraries, (other.parent,)).unresolved == ("_ZN2at4goneEv",)


def test_without_torch_nothing_is_said_of_symbols(tmp_path: Path) -> None:
    file = make_flash_attn(tmp_path, make_torch(tmp_path))
    assert isinstance(read_extension(file, None).unresolved, Unknown)
    assert isinstance(read_extension(file, tmp_path / "absent").unresolved, Unknown)
    assert read_extension(file, None).glibc is not None


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"version https://git-lfs.github.com/spec/v1\n", b"MZ\x90\0" * 100,
                                     b"\x7fELF\x01\x01" + b"\0" * 90, b"\x7fELF\x02\x01" + b"\xff" * 200])
def test_what_is_no_elf_file_is_unknown(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "flash_attn_2_cuda.so"
    file.write_bytes(content)
    extension = read_extension(file, tmp_path)
    assert isinstance(extension.needs, Unknown) and isinstance(extension.unresolved, Unknown)
    assert isinstance(extension.cubins, Unknown) and extension.file == file.name


def test_a_truncated_or_scribbled_extension_never_raises(tmp_path: Path) -> None:
    libraries = make_torch(tmp_path)
    whole = make_flash_attn(tmp_path, libraries).read_bytes()
    file = tmp_path / "damaged.so"
    for length in range(0, len(whole) - 64, 311):
        file.write_bytes(whole[:length])
        assert isinstance(read_extension(file, libraries).needs, Unknown)  # section headers stand at the end
    for place in range(0, len(whole) - 8, 111):
        file.write_bytes(whole[:place] + b"\xff\xfe\xfd\xfc\xff\xff\xff\x7f" + whole[place + 8:])
        read_extension(file, libraries)


def test_a_missing_file_is_unknown(tmp_path: Path) -> None:
    assert isinstance(read_extension(tmp_path / "absent.so", None).needs, Unknown)
    with pytest.raises(ElfError):
        (tmp_path / "empty").touch()
        ElfFile(tmp_path / "empty")


def test_newest_glibc() -> None:
    assert newest_glibc(["GLIBC_2.9", "GLIBC_2.17", "GLIBCXX_3.4.30", "GLIBC_PRIVATE", "libcudart.so.12"]) == Version("2.17")
    assert newest_glibc([]) is None


@pytest.fixture(scope="session")
def real_extension(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    packed = shared / "gpu" / f"{WHEEL}.xz"
    if not packed.is_file():
        pytest.skip(f"no {packed.name} beside this checkout")
    folder = tmp_path_factory.mktemp("wheel")
    with lzma.open(packed) as source, (folder / WHEEL).open("wb") as target:
        shutil.copyfileobj(source, target, 2**22)
    with zipfile.ZipFile(folder / WHEEL) as archive:
        name = next(n for n in archive.namelist() if n.startswith("flash_attn_2_cuda"))
        return Path(archive.extract(name, folder))


def test_a_real_flash_attn_is_judged(real_extension: Path) -> None:
    torch = importlib.util.find_spec("torch")
    libraries = Path(torch.origin).parent / "lib" if torch else None
    extension = read_extension(real_extension, libraries)
    assert extension.needs == ("libc10.so", "libtorch_cpu.so", "libtorch_python.so", "libcudart.so.13", "libc10_cuda.so",
                               "libtorch_cuda.so", "libgcc_s.so.1", "libc.so.6", "ld-linux-x86-64.so.2")
    assert (extension.glibc, extension.cubins, extension.ptx) == (Version("2.38"), ("sm_90",), ())
    with ElfFile(real_extension) as elf:
        assert len(list(elf.undefined())) == 307
    if libraries and not (libraries / "libtorch_cuda.so").exists():  # a CPU torch has none of the CUDA symbols
        assert isinstance(extension.unresolved, tuple)
        assert "_ZN3c104cuda9SetDeviceEab" in extension.unresolved
        assert all("c10" in name or "2at" in name for name in extension.unresolved)
