"""What a wheel's file name claims. Pure.

The build that a flash-attn wheel is for stands only in the local part of its version; its METADATA often says plain
`2.8.3`. Three grammars are published, and their mixtures by individuals:

    +cu12torch2.8cxx11abiTRUE     Dao-AILab/flash-attention: CUDA's major, torch's minor, the C++ ABI
    +cu124torch2.6                mjun0812/flash-attention-prebuild-wheels; FA3 adds a commit: +cu126torch2.8gite2743ab
    +cu.12.8.torch.2.11           Astral's index

PyTorch's index of FlashAttention 3 has one name, without a label, in a folder for each CUDA: `/whl/cu130/flash_attn_3-3.0.0-…`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import urlsplit, urlunsplit

from packaging.tags import Tag
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from swift_fa_launcher.errors import InstallError, Text

_NAME = re.compile(r"(?P<distribution>[A-Za-z0-9][A-Za-z0-9._]*)-(?P<version>[^-+]+)(?:\+(?P<local>[A-Za-z0-9_.+!]+))?"
                   r"(?:-(?P<build>\d[\w.]*))?-(?P<pythons>[\w.]+)-(?P<abis>[\w.]+)-(?P<platforms>[A-Za-z0-9_.]+)\.whl", re.ASCII)
_CUDA = re.compile(r"cu(?:da)?\.?(\d+(?:\.\d+)?)")
_TORCH = re.compile(r"(?:torch|pt)\.?(\d+(?:\.\d+){0,2})")
_ABI = re.compile(r"abi\.?(true|false|0|1)")
_FOLDER = re.compile(r"https?://.*/(cu\d{2,3})/[^/]+")


class WheelNameError(InstallError):
    """A file name that is no wheel's."""


@dataclass(frozen=True)
class Candidate:
    """One offered file. source: where it was offered; sha256: lower-case hex; size: bytes; both None where not said."""

    filename: str
    url: str
    source: str
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class WheelName:
    """The claims of a wheel's name. torch is a minor release ("2.6"), cuda a major or a minor ("12", "12.4").

    torch, cuda and abi are None where the name does not say. rocm: built for AMD's GPUs.
    """

    distribution: str  # canonical: "flash-attn"
    version: Version  # without the local part
    local: str | None
    torch: Version | None
    cuda: Version | None
    abi: bool | None
    rocm: bool
    pythons: tuple[str, ...]
    abis: tuple[str, ...]
    platforms: tuple[str, ...]

    @property
    def tags(self) -> frozenset[Tag]:
        """The compatibility tags, each combination of the compressed set."""
        return frozenset(Tag(i, a, p) for i in self.pythons for a in self.abis for p in self.platforms)


def without_password(address: str) -> str:
    """The address without user and password, fit to be shown and kept."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else address


@lru_cache(maxsize=8192)
def parse_wheel_name(filename: str) -> WheelName:
    """The claims of `filename`. Raises WheelNameError where it is no wheel's name.

    >>> parse_wheel_name("flash_attn-2.6.3+cu124torch2.6-cp310-cp310-linux_x86_64.whl").cuda
    <Version('12.4')>
    """
    found = _NAME.fullmatch(filename)
    if not found:
        raise _not_a_wheel(filename)
    distribution, version, local, _, pythons, abis, platforms = found.groups()
    try:
        public = _version(version)
    except InvalidVersion:
        raise _not_a_wheel(filename) from None
    return WheelName(_canonical(distribution), public, local, *parse_label(local or ""),
                     tuple(pythons.split(".")), tuple(abis.split(".")), tuple(platforms.split(".")))


def parse_claims(candidate: Candidate) -> WheelName:
    """The claims of an offered file: its name's, and those of its folder in an index where it has no label. Raises
    WheelNameError."""
    name = parse_wheel_name(candidate.filename)
    folder = _FOLDER.fullmatch(candidate.url) if name.local is None else None
    return replace(name, cuda=parse_label(folder[1])[1]) if folder else name


def _not_a_wheel(filename: str) -> WheelNameError:
    shown = filename if len(filename) <= 120 else f"{filename[:117]}..."
    why = Text("a wheel is called NAME-VERSION-PYTHON-ABI-PLATFORM.whl", "wheel 的文件名应为 名称-版本-PYTHON-ABI-平台.whl")
    if not filename.endswith(".whl"):
        why = Text("its name does not end in .whl", "文件名不以 .whl 结尾")
    keep = Text("keep the name that the file was published under; pip and uv read it",
                "请保留文件发布时的原名，pip 和 uv 都要读取文件名")
    return WheelNameError("wheel-name-invalid", Text(f"{shown!r} is not a wheel's file name", f"{shown!r} 不是 wheel 文件名"),
                          why=why, hint=(keep,))


@lru_cache(maxsize=1024)
def parse_label(label: str) -> tuple[Version | None, Version | None, bool | None, bool]:
    """(torch, cuda, abi, rocm) of a local version, whichever of the grammars it has."""
    local = label.lower()
    torch, cuda, abi = _TORCH.search(local), _CUDA.search(local), _ABI.search(local)
    return (_torch_minor(torch[1]) if torch else None, _cuda_version(cuda[1]) if cuda else None,
            abi[1] in ("true", "1") if abi else None, "rocm" in local or "hip" in local)


def _torch_minor(digits: str) -> Version:
    """ "2.6", "2.6.0", "26", "260" and "2100" (2.10.0): without dots the last of three or more digits is the patch."""
    if "." in digits:
        return _version(".".join(digits.split(".")[:2]))
    return _version(f"{digits[0]}.{(digits[1:-1] if len(digits) > 2 else digits[1:]) or 0}")


def _cuda_version(digits: str) -> Version:
    """ "12", "124", "12.4": without a dot the first two digits are the major; CUDA has had no other since 10."""
    return _version(digits if "." in digits or len(digits) <= 2 else f"{digits[:2]}.{digits[2:]}")


_version = lru_cache(maxsize=512)(Version)
_canonical = lru_cache(maxsize=64)(canonicalize_name)
