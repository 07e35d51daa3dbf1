"""What a wheel really is, read from its bytes without running any of them, held against the machine it is meant for.

A file name is only a claim: some say the wrong C++ ABI, some METADATA another version, and a mirror may send anything.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from email.parser import BytesHeaderParser
from functools import partial
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name
from packaging.version import Version

from swift_fa_launcher.decode import NOT_COLLECTED, Maybe, Unknown, decode, known
from swift_fa_launcher.errors import InstallError, Text, Words
from swift_fa_launcher.flash.fits import Misfit, Need, WheelContents, make_need, misfits
from swift_fa_launcher.flash.implementations import BY_DISTRIBUTION
from swift_fa_launcher.flash.name import WheelName, WheelNameError, parse_wheel_name
from swift_fa_launcher.machine.facts import Extension, Facts

_SMALL = 64 << 20  # bytes; a larger METADATA, WHEEL or RECORD is an attack on memory
_LARGE = 8 << 30  # bytes; flash-attn for all GPUs unpacks to 2 GiB
_IN_MEMORY = 1 << 30  # bytes; a larger extension is unpacked on disk
#: What wheels of flash attention and causal-conv1d put into site-packages; anything else would change other programs.
_OWN = re.compile(r"(?:flash_?attn|causal_conv1d)\w*(?:[.-][^/]*)?|hopper")
_ELF_MACHINES = {62: "x86_64", 183: "aarch64"}


@dataclass(frozen=True)
class Proof:
    """What was read from a wheel, and every reason, (code, words), for which it is refused here.

    requires: its Requires-Dist, as written.
    """

    requires: tuple[str, ...] = ()
    extension: Extension | None = None
    reasons: tuple[Misfit, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.reasons

    @property
    def shown(self) -> tuple[str, ...]:
        """What it shows of a wheel that is `ok`, as a receipt says it; "symbols": this torch has all that it needs."""
        return ("contents", *(("symbols",) if self.extension and self.extension.unresolved == () else ()))


@dataclass(frozen=True)
class _Scratch:
    """Room for unpacking; all of it goes when `opened` is closed."""

    folder: Path
    opened: ExitStack


class _Invalid(Exception):
    """The file is no wheel, or none that can be installed safely."""

    def __init__(self, message: Words) -> None:
        super().__init__(message)
        self.message = message


def prove_wheel(path: Path, facts: Facts, *, implementation: str = "flash_attn", version: str | None = None) -> Proof:
    """Everything that the file itself says against installing it on the machine of `facts`; nothing in it is run.

    implementation and version: as the config wants them. Raises InstallError where the file cannot be read or
    unpacked, or the facts do not say enough.
    """
    need = make_need(facts, implementation, version)
    try:
        claimed = parse_wheel_name(path.name)
        with ExitStack() as opened:
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="swift-fa-")))
            return _prove(opened.enter_context(zipfile.ZipFile(path)), claimed, need, facts, _Scratch(folder, opened))
    except (WheelNameError, _Invalid) as error:
        return Proof(reasons=(("wheel-invalid", error.message),))
    except OSError as error:
        raise InstallError("wheel-unreadable", Text("the wheel cannot be read or unpacked", "无法读取或解压 wheel"),
                           where=str(path), why=str(error),
                           hint=(Text("use a folder on a disk with free space: export TMPDIR=FOLDER",
                                      "使用有空间的磁盘上的目录：export TMPDIR=目录"),)) from error
    except Exception as error:  # zipfile has no common base for what damage does to it and to its decompressors
        return Proof(reasons=(("wheel-invalid", Text(f"a damaged zip: {error}", f"zip 文件已损坏：{error}")),))


def _prove(archive: zipfile.ZipFile, claimed: WheelName, need: Need, facts: Facts, scratch: _Scratch) -> Proof:
    members = _safe_members(archive)
    info = _dist_info(members)
    _expect_own(archive, members, info)
    metadata, tags = (BytesHeaderParser().parsebytes(_read_small(archive, f"{info}/{part}")) for part in ("METADATA", "WHEEL"))
    _read_small(archive, f"{info}/RECORD")
    name = str(metadata.get("Name", ""))
    extension = _extension_member(members, canonicalize_name(name))
    for member in members:  # reading to its end holds a member against its CRC
        if member != extension:
            with archive.open(member) as stream:
                size = sum(map(len, iter(partial(stream.read, 1 << 20), b"")))
            if size != archive.getinfo(member).file_size:
                raise _Invalid(Text(f"{member} is not as large as the zip says", f"{member} 的大小与 zip 记录不符"))
    file = _unpack(archive, extension, scratch) if extension else None
    read = _read_extension(file, facts) if file else WheelContents()
    contents = replace(read, name=name or NOT_COLLECTED, version=decode(Version, str(metadata.get("Version"))))
    reasons = [("wheel-invalid" if code == "not-a-wheel" else code, words) for code, words in misfits(claimed, need, contents)]
    reasons += _contradictions(claimed, facts, name, info, tags.get_all("Tag") or [], file, contents.undefined)
    return Proof(tuple(metadata.get_all("Requires-Dist") or ()), contents if file else None, tuple(reasons))


def _safe_members(archive: zipfile.ZipFile) -> tuple[str, ...]:
    """The names of all files in it. Raises _Invalid where one would land outside of its folder, or twice."""
    seen: dict[str, str] = {}
    if sum(entry.file_size for entry in archive.infolist()) > _LARGE:
        raise _Invalid(Text("unpacked it would take more than 8 GiB", "解压后会超过 8 GiB"))
    for entry in archive.infolist():
        name = entry.filename
        parts = name.rstrip("/").split("/")
        if not name or name.startswith(("/", "\\")) or "\\" in name or "\0" in name or ":" in parts[0] or (
                any(part in ("", ".", "..") for part in parts)):
            raise _Invalid(Text(f"{name!r} would be written outside the folder into which the wheel is unpacked",
                                f"{name!r} 会写到解压目录之外"))
        mode = entry.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _Invalid(Text(f"{name!r} is a link or a device", f"{name!r} 是链接或设备文件"))
        if entry.flag_bits & 1:
            raise _Invalid(Text(f"{name!r} is encrypted", f"{name!r} 已加密"))
        if parts[0].endswith(".data") and parts[1:2] not in ([], ["purelib"], ["platlib"]):
            raise _Invalid(Text(f"{name!r} would be installed outside site-packages",
                                f"{name!r} 会安装到 site-packages 之外"))
        if twin := seen.get(name.lower()):
            raise _Invalid(Text(f"{name!r} is in the wheel twice", f"{name!r} 在 wheel 中出现了两次") if twin == name else
                           Text(f"{name!r} and {twin!r} differ by case alone", f"{name!r} 与 {twin!r} 仅大小写不同"))
        seen[name.lower()] = name
    return tuple(name for name in seen.values() if not name.endswith("/"))


def _expect_own(archive: zipfile.ZipFile, members: tuple[str, ...], info: str) -> None:
    """Raises _Invalid where the wheel would change more of the environment than flash attention: a `.pth` file or
    `sitecustomize` runs in every Python, a module or program of another name hides the one that is there."""
    for member in members:
        top, _, rest = member.partition("/")
        if top.endswith(".data"):
            top = rest.partition("/")[2].partition("/")[0]
        if top != info and (top.endswith(".pth") or not (_OWN.fullmatch(top) or top.endswith(".libs"))):
            raise _Invalid(Text(f"{member!r} does not belong to flash attention", f"{member!r} 不属于 flash attention"))
    if f"{info}/entry_points.txt" in members and b"_scripts]" in _read_small(archive, f"{info}/entry_points.txt"):
        raise _Invalid(Text("it would install programs", "它会安装可执行程序"))


def _dist_info(members: tuple[str, ...]) -> str:
    found = {member.split("/")[0] for member in members if re.fullmatch(r"[^/]+\.dist-info/.+", member)}
    if len(found) != 1 or not {f"{info}/{part}" for info in found for part in ("METADATA", "WHEEL", "RECORD")} <= set(members):
        raise _Invalid(Text("the zip does not have exactly one .dist-info folder with METADATA, WHEEL and RECORD",
                            "zip 中应当只有一个 .dist-info 目录，并含 METADATA、WHEEL 和 RECORD"))
    return found.pop()


def _read_small(archive: zipfile.ZipFile, member: str) -> bytes:
    with archive.open(member) as stream:
        data = stream.read(_SMALL + 1)
    if len(data) > _SMALL:
        raise _Invalid(Text(f"{member} is too large to be real", f"{member} 大得不正常"))
    return data


def _extension_name(distribution: str) -> re.Pattern[str] | None:
    row = BY_DISTRIBUTION.get(distribution)
    return row.extension if row else None


def _extension_member(members: tuple[str, ...], distribution: str) -> str | None:
    """The compiled module of a known distribution, else any; libraries that auditwheel put in are not modules."""
    compiled = [m for m in members if m.endswith((".so", ".pyd")) and not m.split("/")[0].endswith(".libs")]
    wanted = _extension_name(distribution)
    named = [m for m in compiled if wanted and wanted.fullmatch(m)]
    return next(iter(named or ([] if wanted else sorted(compiled))), None)


def _read_extension(file: Path, facts: Facts) -> WheelContents:
    from swift_fa_launcher.machine.elf import ElfError, ElfFile, read_extension

    torch = known(facts.torch)
    origin = known(torch.origin) if torch else None
    extension = read_extension(file, Path(origin) / "lib" if origin else None)
    undefined: Maybe[tuple[str, ...]]
    try:
        with ElfFile(file) as elf:
            undefined = tuple(symbol.name.decode("utf-8", "replace") for symbol in elf.undefined())
    except ElfError as error:
        undefined = Unknown(str(error))
    return WheelContents(**vars(extension), undefined=undefined)


def _unpack(archive: zipfile.ZipFile, member: str, scratch: _Scratch) -> Path:
    """The member as a file: in memory where the system can (a fifth of the time for 200 MB), else on disk."""
    file = scratch.folder / PurePosixPath(member).name
    if hasattr(os, "memfd_create") and archive.getinfo(member).file_size <= _IN_MEMORY and Path("/proc/self/fd").is_dir():
        descriptor = os.memfd_create(file.name)
        scratch.opened.callback(os.close, descriptor)
        file.symlink_to(f"/proc/self/fd/{descriptor}")
    with archive.open(member) as source, file.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 22)
    return file


def _contradictions(claimed: WheelName, facts: Facts, name: str, info: str, tags: list[str], file: Path | None,
                    undefined: Maybe[tuple[str, ...]]) -> Iterator[Misfit]:
    """What the inside says that the file name does not. undefined: the extension's symbols, Unknown for a damaged one."""
    own = {canonicalize_name(name), canonicalize_name(info[:-len(".dist-info")].rpartition("-")[0])}
    if len(own) > 1:
        yield "wheel-invalid", Text(f"its METADATA says {name}, its folder {info}", f"METADATA 写的是 {name}，目录却是 {info}")
    pairs = {tuple(tag.split("-")[:2]) for tag in tags}
    if pairs and not any((i, a) in pairs for i in claimed.pythons for a in claimed.abis):
        inside = ", ".join(sorted("-".join(pair) for pair in pairs))
        yield "python-tag-mismatch", Text(f"its WHEEL file says {inside}", f"WHEEL 文件写的是 {inside}")
    if file is None and _extension_name(canonicalize_name(name)):
        yield "wheel-invalid", Text("it contains no compiled extension: the CUDA build was skipped",
                                    "其中没有编译好的扩展模块：打包时跳过了 CUDA 编译")
    if file is None:
        return
    machine, found = known(facts.host.machine), _elf_machine(file)
    if known(facts.host.os) == "Linux" and machine in _ELF_MACHINES.values() and found != machine:
        yield "platform-mismatch", Text(f"its extension is for {found or 'no Linux machine'}, this is {machine}",
                                        f"扩展模块适用于 {found or '非 Linux 平台'}，本机是 {machine}")
    elif found and isinstance(undefined, Unknown):
        yield "wheel-invalid", Text(f"its extension {file.name} cannot be loaded: {undefined.why}",
                                    f"扩展模块 {file.name} 无法加载：{undefined.why}")


def _elf_machine(file: Path) -> str | None:
    with file.open("rb") as stream:
        head = stream.read(20)
    return _ELF_MACHINES.get(struct.unpack_from("<H", head, 18)[0]) if len(head) == 20 and head[:4] == b"\x7fELF" else None
