"""Compiled extensions and libraries, read without loading them: what they need, define and were built for.

Only what 64-bit little-endian ELF files (x86-64, aarch64) need, over mmap with struct: 70 ms sooner than importing a
general ELF library, and 5,000 symbols in 3 ms. Layouts: System V gABI chapters 4 and 5, and the GNU hash table as in
https://sourceware.org/legacy-ml/binutils/2006-10/msg00377.html
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from swift_fa_launcher.decode import Maybe, Unknown
from swift_fa_launcher.flash.symbols import is_torchs
from swift_fa_launcher.machine.facts import Extension

DT_NEEDED = 1
GLOBAL = 1  # symbol binding; a weak undefined symbol may stay unresolved


class ElfError(ValueError):
    """Not an ELF file of a kind that is read here, or a damaged one."""


@dataclass(frozen=True)
class Section:
    offset: int
    size: int


@dataclass(frozen=True)
class Symbol:
    """An undefined symbol. version: the one that it is bound to ("GLIBC_2.17"), which names the library that has it."""

    name: bytes
    version: str | None


class ElfFile:
    """An ELF file, open within its `with`. Raises ElfError, also from its methods, and OSError.

    Tables stay where they are, in the mapped file: those of a large library take 100 MB.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            try:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:
                raise ElfError("the file is empty") from None
        self._sections = self._read_sections()
        self._strings = self.section(".dynstr")
        self._symbols = self.section(".dynsym")
        self._hash = self._read_hash_header()

    def __enter__(self) -> ElfFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._data.close()

    def section(self, name: str) -> Section:
        """Where a section lies in the file; an empty one where there is none of that name."""
        section = self._sections.get(name, Section(0, 0))
        if section.offset + section.size > len(self._data):
            raise ElfError(f"section {name} ends beyond the end of the file: it is truncated")
        return section

    def view(self, name: str) -> memoryview:
        """The bytes of a section, not copied. Release it before the file is closed."""
        section = self.section(name)
        return memoryview(self._data)[section.offset:section.offset + section.size]

    def needed(self) -> tuple[str, ...]:
        """The libraries that it asks for by name, in order."""
        return tuple(self._string(value) for tag, value in self._table("<qQ", ".dynamic") if tag == DT_NEEDED)

    def needed_versions(self) -> dict[int, str]:
        """The symbol versions of other libraries that it asks for ("GLIBC_2.17"), by their number in this file."""
        versions: dict[int, str] = {}
        section = self.section(".gnu.version_r")
        at, end = section.offset, section.offset + section.size
        while at < end:
            _, count, _, first, following = self._read("<HHIII", at)
            entry = at + first
            for _ in range(count):
                _, _, number, name, step = self._read("<IHHII", entry)
                versions[number & 0x7FFF] = self._string(name)
                entry += step
            if not following:
                break
            at += following
        return versions

    def undefined(self) -> Iterator[Symbol]:
        """Every symbol that some other library must define."""
        versions, numbers = self.needed_versions(), self._table("<H", ".gnu.version")
        for place, (name, info, _, section, _, _) in enumerate(self._table("<IBBHQQ", ".dynsym")):
            if section == 0 and info >> 4 == GLOBAL and name:
                number = numbers[place][0] & 0x7FFF if place < len(numbers) else 0
                yield Symbol(self._name(name), versions.get(number))

    def defines(self, name: bytes, hashed: int) -> bool:
        """Whether it defines `name`, whose `gnu_hash` is given; looked up, without a walk through all symbols."""
        if self._hash is None:
            raise ElfError("it has no GNU hash table")
        start, buckets, first, bloom, shift = self._hash
        (word,) = self._read("<Q", start + 8 * (hashed // 64 % bloom))
        if not word >> hashed % 64 & word >> (hashed >> shift) % 64 & 1:
            return False
        start += 8 * bloom
        (index,) = self._read("<I", start + 4 * (hashed % buckets))
        while index >= first:
            (chained,) = self._read("<I", start + 4 * (buckets + index - first))
            if chained | 1 == hashed | 1 and self._name(*self._read("<I", self._symbols.offset + 24 * index)) == name:
                return True
            if chained & 1:
                break
            index += 1
        return False

    @property
    def can_look_up(self) -> bool:
        """Whether it has the table that `defines` reads."""
        return self._hash is not None

    def _read_hash_header(self) -> tuple[int, int, int, int, int] | None:
        section = self.section(".gnu.hash")
        if not section.size:
            return None
        buckets, first, bloom, shift = self._read("<IIII", section.offset)
        if not buckets or not bloom:
            raise ElfError("its hash table is damaged")
        return section.offset + 16, buckets, first, bloom, shift

    def _read_sections(self) -> dict[str, Section]:
        if self._data[:4] != b"\x7fELF":
            raise ElfError("not an ELF file")
        if self._data[4:6] != b"\x02\x01":
            raise ElfError("not a 64-bit little-endian ELF file")
        (start,), (size, count, names) = self._read("<Q", 40), self._read("<HHH", 58)
        headers = [self._read("<IIQQQQ", start + size * i) for i in range(count)]
        if names >= count:
            raise ElfError("it has no section names")
        strings = headers[names][4]
        # A section without bytes in the file (SHT_NOBITS, 8) has an offset that says nothing.
        return {self._bytes(strings + name).decode("utf-8", "replace"): Section(offset, length if kind != 8 else 0)
                for name, kind, _, _, offset, length in headers}

    def _read(self, form: str, offset: int) -> tuple[int, ...]:
        return _unpack(form, self._data, offset)

    def _table(self, form: str, name: str) -> list[tuple[int, ...]]:
        with self.view(name) as view:
            return list(struct.iter_unpack(form, view[:len(view) - len(view) % struct.calcsize(form)]))

    def _bytes(self, offset: int) -> bytes:
        if offset >= len(self._data):
            raise ElfError("it is truncated or damaged")
        return self._data[offset:self._data.find(b"\0", offset)]

    def _name(self, offset: int) -> bytes:
        return self._bytes(self._strings.offset + offset)

    def _string(self, offset: int) -> str:
        return self._name(offset).decode("utf-8", "replace")


def gnu_hash(name: bytes) -> int:
    """The hash under which a symbol stands in a GNU hash table."""
    value = 5381
    for byte in name:
        value = value * 33 + byte & 0xFFFFFFFF
    return value


# ---------------------------------------------------------------------------------------------- torch's C++ ABI

#: Names in torch's libraries that take a std::string: as the C++11 ABI mangles it, and as the one before did.
_NEW_ABI = re.compile(rb"\0_ZNK?3c10[^\0]*St7__cxx1112basic_string")
_OLD_ABI = re.compile(rb"\0_ZNK?3c10[^\0]*(?:E|RK|PK|R|P|S\d?_)Ss(?:\0|[A-Z])")


def read_cxx11_abi(torch_libraries: Path) -> Maybe[bool]:
    """Whether torch was built with the C++11 ABI, by the names in its libc10.so; Unknown where that is no ELF file."""
    file = torch_libraries / "libc10.so"
    try:
        with ElfFile(file) as library, library.view(".dynstr") as names:
            if _NEW_ABI.search(names):
                return True
            return False if _OLD_ABI.search(names) else Unknown(f"{file} has no name that tells its C++ ABI")
    except (OSError, ElfError) as error:
        return Unknown(f"{file}: {getattr(error, 'strerror', None) or error}")


# ---------------------------------------------------------------------------------------------- extensions

#: What Python itself defines.
PYTHON_SYMBOL = re.compile(rb"_?Py[A-Z_]")


def read_extension(file: Path, torch_libraries: Path | None, search: Sequence[Path] = ()) -> Extension:
    """What a compiled extension needs and was built for, from the file alone and torch's libraries beside it.

    torch_libraries: torch's `lib` folder, or None where there is no torch. search: further folders with libraries that
    it may need. A file that cannot be read, or is none for this platform, has Unknown(why) in every field.
    """
    try:
        with ElfFile(file) as elf:
            needs = elf.needed()
            undefined = tuple(elf.undefined())
            cubins, ptx = _architectures(elf)
            return Extension(file=file.name, needs=needs, glibc=newest_glibc(elf.needed_versions().values()), copies=(),
                             unresolved=find_unresolved(undefined, needs, torch_libraries, search),
                             cubins=cubins, ptx=ptx)
    except (OSError, ElfError) as error:
        why = Unknown(f"{file}: {getattr(error, 'strerror', None) or error}")
        return Extension(file=file.name, needs=why, glibc=why, copies=(), unresolved=why, cubins=why, ptx=why)


def newest_glibc(versions: Iterable[str]) -> Version | None:
    """The newest of "GLIBC_2.17", "GLIBC_2.38"; None where there is none."""
    found = [Version(v[6:]) for v in versions if re.fullmatch(r"GLIBC_\d+(\.\d+)+", v)]
    return max(found, default=None)


def find_unresolved(undefined: Iterable[Symbol], needs: Iterable[str], torch_libraries: Path | None,
                    search: Sequence[Path] = ()) -> Maybe[tuple[str, ...]]:
    """The undefined symbols that nothing will define when the extension is loaded, sorted.

    A symbol bound to a library's version ("GLIBC_2.17", "libcudart.so.12") is that library's affair. Of the others, one
    of torch's own is unresolved when no torch library has it (one that `needs` names and that is not there has
    nothing); any other only when every library named was found and none has it.
    """
    if torch_libraries is None or not torch_libraries.is_dir():
        return Unknown("torch's libraries are not there")
    wanted = [s.name for s in undefined if s.version is None and not PYTHON_SYMBOL.match(s.name)]
    with ExitStack() as opened:
        libraries, complete = _open_libraries(needs, (torch_libraries, *search), opened)
        if not libraries:
            return Unknown(f"none of the libraries that it needs is in {torch_libraries}")
        hashed = ((name, gnu_hash(name)) for name in wanted if complete or is_torchs(name.decode("utf-8", "replace")))
        missing = [name for name, key in hashed if not any(library.defines(name, key) for library in libraries)]
    return tuple(sorted(name.decode("utf-8", "replace") for name in missing))


#: Libraries of the system, and CUDA's runtime, whose symbols are all bound to a version.
_VERSIONED = re.compile(r"(?:libstdc\+\+|libgcc_s|libc|libm|libdl|librt|libpthread|libcudart|ld-linux[\w-]*)\.so[.\d]*")


def _open_libraries(needs: Iterable[str], folders: Sequence[Path], opened: ExitStack) -> tuple[list[ElfFile], bool]:
    """The libraries needed, and those that these need, as far as they are in `folders`; whether all of the former are,
    and can be looked up in. They stay open until `opened` is closed."""
    libraries: list[ElfFile] = []
    waiting, seen, complete, direct = list(needs), set(), True, set(needs)
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        file = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if file is None:
            complete = complete and (name not in direct or _VERSIONED.fullmatch(name) is not None)
            continue
        try:
            library = opened.enter_context(ElfFile(file))
            waiting += library.needed()
        except (OSError, ElfError):
            complete = False
            continue
        complete = complete and library.can_look_up
        libraries += [library] if library.can_look_up else []
    return libraries, complete


def _architectures(elf: ElfFile) -> tuple[Maybe[tuple[str, ...]], Maybe[tuple[str, ...]]]:
    try:
        with elf.view(".nv_fatbin") as section:
            found = read_architectures(section)
    except ElfError as error:
        return Unknown(str(error)), Unknown(str(error))
    return found["cubin"], found["ptx"]


# ---------------------------------------------------------------------------------------------- GPU code

# The section `.nv_fatbin` is a row of fat binaries, each with a header and, behind it, entries of PTX text or machine code
# (cubins); zeros may pad between them. Only headers are touched, so 200 MB take some milliseconds and compressed code does
# not matter. The layout is not documented by NVIDIA; the fields used here are those that `cuobjdump`'s listing agrees with.
MAGIC = 0xBA55ED50
PTX, CUBIN = 1, 2


def read_architectures(section: bytes | memoryview) -> dict[str, tuple[str, ...]]:
    """{"cubin": ("sm_80", …), "ptx": ("compute_90", …)}, each in order of the architecture.

    Raises ElfError where the section does not hold together: what was read of it may not be all.
    """
    cubins: set[int] = set()
    ptx: set[int] = set()
    at = 0
    while (at := _next_binary(section, at)) < len(section):
        _, _, header, size = _unpack("<IHHQ", section, at)
        start, at = at + header, at + header + size
        if header < 16 or at > len(section):
            raise ElfError("the GPU code section is truncated or damaged")
        while start < at:
            kind, _, entry, length = _unpack("<HHIQ", section, start)
            (architecture,) = _unpack("<I", section, start + 28)
            if entry < 32 or start + entry + length > at:
                raise ElfError("the GPU code section is damaged")
            if kind in (PTX, CUBIN):
                (ptx if kind == PTX else cubins).add(architecture)
            start += entry + length
    return {"cubin": tuple(f"sm_{a}" for a in sorted(cubins)), "ptx": tuple(f"compute_{a}" for a in sorted(ptx))}


def _next_binary(section: bytes | memoryview, at: int) -> int:
    """The offset of the next fat binary at or behind `at`, over padding; the section's length where there is none."""
    at += -at % 8
    while at + 4 <= len(section):
        (word,) = struct.unpack_from("<I", section, at)
        if word == MAGIC:
            return at
        if word:
            raise ElfError("the GPU code section holds something that is no fat binary")
        at += 4
    return len(section)


def _unpack(form: str, data: bytes | memoryview | mmap.mmap, offset: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, data, offset)
    except (struct.error, OverflowError):
        raise ElfError("it is truncated or damaged") from None
