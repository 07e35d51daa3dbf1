"""Whether a wheel fits a machine, and every reason why not: what its name claims, what is inside where that was read.

Pure. What a fact does not say is not held against a wheel; where nothing can be said without it (Python's ABI, the
platform, torch) `make_need` refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name
from packaging.version import Version

from swift_fa_launcher.decode import NOT_COLLECTED, Maybe, Unknown, known
from swift_fa_launcher.errors import InstallError, Text, Words
from swift_fa_launcher.flash.architectures import runs_on
from swift_fa_launcher.flash.hosts import is_mirrored, is_trusted
from swift_fa_launcher.flash.implementations import BY_DISTRIBUTION, FA2, FA3, IN_WHEELS, Implementation
from swift_fa_launcher.flash.name import Candidate, WheelName
from swift_fa_launcher.flash.symbols import torch_abi
from swift_fa_launcher.flash.tags import extension_python, interpreter_pairs, platforms, takes_pair
from swift_fa_launcher.flash.versions import STABLE_ABI, Wish, may_load, needed_driver, oldest_release, parse_wish
from swift_fa_launcher.machine.facts import Extension, Facts, Gpu

T = TypeVar("T")

#: A code of the contract and the words for people.
Misfit = tuple[str, Words]


@dataclass(frozen=True)
class WheelContents(Extension):
    """What a wheel's file turned out to hold, read without running it: its extension, and more."""

    name: Maybe[str] = NOT_COLLECTED  # of METADATA
    version: Maybe[Version] = NOT_COLLECTED  # of METADATA
    undefined: Maybe[tuple[str, ...]] = NOT_COLLECTED  # all undefined symbols


NOTHING_READ = WheelContents()


@dataclass(frozen=True)
class Need:
    """What a wheel must be for, worked out once from the facts and the config."""

    distribution: str
    python: str  # the ABI tag, "cp310"
    os: str
    machine: str
    pairs: frozenset[tuple[str, str]]  # (interpreter tag, ABI tag) that this Python takes
    platforms: frozenset[str]
    newer_glibc: frozenset[str]  # this machine's platforms if its glibc were newer
    glibc: Version | None
    torch: Version | None  # None: there is none
    cuda: Version | None  # None: torch has no CUDA build
    abi: bool | None  # None: not known
    gpus: tuple[Gpu, ...]
    driver: Version | None
    wish: Wish
    minimum: tuple[Version, str]  # and who asks for it
    mirrors: tuple[str, ...]
    allow_unverified: bool
    provable: bool  # this torch lies here, to look symbols up in, and a GPU to try on

    @property
    def implementation(self) -> Implementation:
        return BY_DISTRIBUTION[self.distribution]


def make_need(facts: Facts, implementation: str, version: str | None, mirrors: Sequence[str] = (),
              allow_unverified: bool = False) -> Need:
    """What to ask of each wheel. Raises ConfigError for a version that is none, InstallError for a fact missing."""
    python = _require(facts.python, "python")
    abi, release = _require(python.abi, "python.abi"), _require(python.version, "python.version")
    os, machine = _require(facts.host.os, "host.os"), _require(facts.host.machine, "host.machine")
    if isinstance(facts.torch, Unknown):
        raise _too_little("torch", facts.torch.why)
    for name in ("version", "cuda"):
        if facts.torch and isinstance(value := getattr(facts.torch, name), Unknown):
            raise _too_little(f"torch.{name}", value.why)
    torch, driver, glibc = facts.torch, known(facts.driver), known(facts.host.glibc)
    return Need(
        IN_WHEELS[implementation].distribution, abi, os, machine, interpreter_pairs(release, abi),
        platforms(os, machine, facts.host.glibc),
        platforms(os, machine, None if facts.host.glibc is None else NOT_COLLECTED), glibc,
        known(torch.version) if torch else None, known(torch.cuda) if torch else None,
        known(torch.cxx11_abi) if torch else None, known(facts.gpus) or (), known(driver.version) if driver else None,
        parse_wish(version), oldest_release(facts, implementation), tuple(mirrors), allow_unverified,
        bool(os == "Linux" and torch and known(torch.origin) and known(facts.gpus)))


def misfits(name: WheelName, need: Need, contents: WheelContents) -> Iterator[Misfit]:
    """The reasons against a wheel, in the order of `_REASONS`; `unverified` is one more."""
    for code, reason in _REASONS:
        if words := reason(name, need, contents):
            yield code, words


# What is needed -----------------------------------------------------------------------------------------------------


def _require(value: Maybe[T], name: str) -> T:
    if value is None or isinstance(value, Unknown):
        raise _too_little(name, value.why if isinstance(value, Unknown) else "")
    return value


def _too_little(name: str, why: str) -> InstallError:
    return InstallError("facts-incomplete",
                        Text(f"cannot choose a wheel: the facts lack {name}", f"无法选择 wheel：环境信息中没有 {name}"),
                        where=name, why=why,
                        hint=(Text("collect them on the machine that will train: swift-fa preflight CONFIG --save-facts FILE",
                                   "在训练所用的机器上收集：swift-fa preflight CONFIG --save-facts FILE"),))


# Reasons ------------------------------------------------------------------------------------------------------------


def _other_implementation(name: WheelName, need: Need, contents: WheelContents) -> Words | None:
    if name.distribution == need.distribution:
        return None
    row, wanted = BY_DISTRIBUTION.get(name.distribution), BY_DISTRIBUTION[need.distribution].title
    found = row.title if row else name.distribution
    return Text(f"{found}; wanted is {wanted}", f"这是 {found}，需要的是 {wanted}")


def _other_python(name: WheelName, need: Need, contents: WheelContents) -> Words | None:
    made_for = None
    if not takes_pair(name, need.pairs):
        made_for = f"{'.'.join(name.pythons)}-{'.'.join(name.abis)}"
    elif inside := extension_python(known(contents.file) or ""):
        made_for = f"cp{inside[1]}" if f"cp{inside[1]}" != need.python else None
    return made_for and _for_another(made_for, f"Python {need.python}")


def _other_platform(name: WheelName, need: Need, contents: WheelContents) -> Words | None:
    if any(p in need.newer_glibc for p in name.platforms):
        return None
    return _for_another(".".join(name.platforms), f"{need.os} {need.machine}")


def _other_torch(name: WheelName, need: Need, contents: WheelContents) -> Words | None:
    here = f"torch {need.torch}" if need.torch else "no torch"
    if is_stable(name) and (need.torch is None or need.torch < STABLE_ABI):
        return _for_another(f"torch {STABLE_ABI} and newer", here)
    if name.torch:
        if need.torch is None or (is_of_other_torch(name, need) and not is_proven(name, need, contents)):
            return _for_another(f"torch {name.torch}", here)
        if _is_unreleased(need.torch):
            return Text(f"torch {need.torch} is a vendor or nightly build, which public wheels do not fit",
                        f"torch {need.torch} 是厂商版或 nightly 版，公开的 wheel 不适用")
    lacking = known(contents.unresolved) or ()
    if lacking and (torch_abi(lacking) is None or torch_abi(lacking) is need.abi):
        return Text(f"torch {need.torch} lacks symbols that it needs ({len(lacking)}), such as {lacking[0]}",
                    f"torch {need.torch} 缺少它需要的 {len(lacking)} 个符号，例如 {lacking[0]}")
    return None


def is_of_other_torch(name: WheelName, need: Need) -> bool:
    """Whether its label names another minor of torch."""
    return name.torch is not None and need.torch is not None and name.torch.release[:2] != need.torch.release[:2]


def is_proven(name: WheelName, need: Need, contents: WheelContents) -> bool:
    """Whether a wheel for another torch loads with this one all the same: its symbols were looked up, and all are there."""
    return known(contents.unresolved) == () and _is_near(name, need)


def may_be_proven(name: WheelName, need: Need, contents: WheelContents) -> bool:
    """Whether nothing stands against a wheel but its label's torch, and its own symbols may speak for it."""
    return (need.provable and isinstance(contents.unresolved, Unknown) and _is_near(name, need)
            and [code for code, _ in misfits(name, need, contents)] == ["torch-mismatch"])


def _is_near(name: WheelName, need: Need) -> bool:
    return bool(name.torch and need.torch and not _is_unreleased(need.torch)
                and may_load(need.implementation, name.torch, need.torch))


def _is_unreleased(torch: Version) -> bool:
    """Whether it is a vendor's or nightly build: 2.6.0a0+nv25.01, 2.11.0.dev20260101."""
    return torch.is_devrelease or bool(torch.pre and torch.pre[0] == "a")


def is_stable(name: WheelName) -> bool:
    """Whether it is built for no torch in particular: PyTorch's own FlashAttention 3."""
    return name.distribution == FA3.distribution and name.local is None and "abi3" in name.abis


def _other_cuda(name: WheelName, need: Need, contents: WheelContents) -> Words | None:
    here = f"CUDA {need.cuda}" if need.cuda else "a torch without CUDA"
    if name.rocm:
        return _for_another("ROCm", here)
    inside = next((m[1] for n in known(contents.needs) or () if (m := re.match(r"libcudart\.so\.(\d+)", n))), None)
    for made_for in (name.cuda, Version(inside) if inside else None):
        if made_for and (need.cuda is None or made_for.major != need.cuda.major):
            return _for_another(f"CUDA {made_for}", here)
    return None


def _other_abi(name: WheelName, need: Need, contents: WheelContents) -> Words | None:
    inside = torch_abi(known(contents.unresolved) or known(contents.undefined) or ())
    for made_for, claim in ((name.abi, ""), (inside, " (its symbols)")):
        if made_for is not None and need.abi is not None and made_for is not need.abi:
            return _for_another(f"cxx11abi{str(made_for).upper()}{claim}", f"cxx11abi{str(need.abi).upper()}")
    return None


def _newer_glibc(name: WheelName, need: Need, contents: WheelContents) -> Words | None:
    if not any(p in need.platforms for p in name.platforms):
        return _for_another(".".join(name.platforms), f"glibc {need.glibc}")
    needed = known(contents.glibc)
    if needed is None and is_official(name) and name.version.release[:2] == (2, 8):
        needed = Version("2.32")  # these were built on Ubuntu 22.04: GLIBC_2.32 is what they ask for
    if needed and need.glibc and needed > need.glibc:
        return _for_another(f"glibc {needed}", f"glibc {need.glibc}")
    return None


def may_lack_code(name: WheelName, need: Need) -> bool:
    """Whether a published wheel may have no code for one of the GPUs: 12.8 is the first CUDA that compiles for compute
    capability 10 and 12, and flash-attn's setup.py compiles for 8.0, 9.0, 10.0 and 12.0 where nothing else is asked."""
    majors = {c.major for gpu in need.gpus if (c := known(gpu.compute_capability)) is not None}
    early = name.cuda is not None and Version("12") < name.cuda < Version("12.8")
    return 11 in majors or (early and max(majors, default=0) >= 10)


def is_official(name: WheelName) -> bool:
    """Named as Dao-AILab names its own Linux files: CUDA's major alone, and the ABI."""
    return (name.abi is not None and name.cuda is not None and len(name.cuda.release) == 1
            and name.platforms[0].startswith("linux_"))


def _missing_arch(name: WheelName, need: Need, contents: WheelContents) -> Words | None:
    cubins, ptx = known(contents.cubins), known(contents.ptx) or ()
    for gpu in need.gpus if cubins is not None else ():
        capability = known(gpu.compute_capability)
        if capability and not runs_on(capability, cubins or (), ptx):
            has = ", ".join((*(cubins or ()), *ptx)) or "-"
            return _for_another(has, f"GPU {gpu.index} = sm_{capability.major}{capability.minor}")
    return None


def _unwanted_version(name: WheelName, need: Need, contents: WheelContents) -> Words | None:
    version, wish = name.version, need.wish
    fa2 = need.distribution == FA2.distribution  # of the others there is nothing but pre-releases
    if not wish.takes(version, None, None if wish.versions and fa2 else not fa2):
        asked = str(wish.versions) or "a final release"
        return Text(f"{version} is not {asked}", f"{version} 不符合 {asked}")
    if not wish.takes(version, name.local or "", prereleases=True):
        return Text(f"+{name.local} is not +{wish.local}", f"+{name.local} 不是 +{wish.local}")
    oldest, who = need.minimum
    if version < oldest:
        return Text(f"{version} is older than {oldest}, the least for {who}", f"{version} 低于 {who} 要求的 {oldest}")
    driver = needed_driver(version)
    if driver and need.driver and need.driver < driver:
        return Text(f"{version} needs driver {driver} or newer, here is {need.driver}",
                    f"{version} 需要 {driver} 或更新的驱动，这里是 {need.driver}")
    return None


def _other_metadata(name: WheelName, need: Need, contents: WheelContents) -> Words | None:
    inside, version = known(contents.name), known(contents.version)
    if (inside and canonicalize_name(inside) != name.distribution) or (version and version.public != name.version.public):
        said = f"{inside or ''} {version or ''}".strip()
        return Text(f"its METADATA says {said}", f"其 METADATA 写的是 {said}")
    return None


def unverified(candidate: Candidate, need: Need) -> Words | None:
    """Nobody vouches for the bytes: there is no digest, and the address is a mirror's or not encrypted."""
    if candidate.sha256 or need.allow_unverified:
        return None
    if is_mirrored(candidate.url, need.mirrors) or not is_trusted(candidate.url):
        host = urlsplit(candidate.url).hostname
        return Text(f"no digest to hold against what {host} sends; flash_attn.allow_unverified=true takes it",
                    f"没有摘要可核对 {host} 给出的内容；flash_attn.allow_unverified=true 可以接受它")
    return None


def _for_another(made_for: str, here: str) -> Words:
    return Text(f"for {made_for}; here: {here}", f"适用于 {made_for}；这里是：{here}")


_Reason = Callable[[WheelName, Need, WheelContents], "Words | None"]
_REASONS: tuple[tuple[str, _Reason], ...] = (
    ("implementation-mismatch", _other_implementation),
    ("python-tag-mismatch", _other_python),
    ("platform-mismatch", _other_platform),
    ("torch-mismatch", _other_torch),
    ("cuda-mismatch", _other_cuda),
    ("abi-mismatch", _other_abi),
    ("glibc-too-new", _newer_glibc),
    ("arch-missing", _missing_arch),
    ("version-excluded", _unwanted_version),
    ("not-a-wheel", _other_metadata),
)

#: All codes, from what is furthest from fitting to what fits and lost.
CODES = ("not-a-wheel", *(code for code, _ in _REASONS[:-1]), "unverified", "not-best")
