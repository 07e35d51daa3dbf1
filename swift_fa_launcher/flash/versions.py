"""What a version wish means, and which releases will not do. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from swift_fa_launcher.errors import ConfigError, Text
from swift_fa_launcher.flash.implementations import FA2, FA3, IN_WHEELS, Implementation
from swift_fa_launcher.machine.facts import Facts

#: flash-attn releases whose binaries older drivers cannot load, though they import: compressed kernels, taken back in 2.8.2.
#: https://github.com/Dao-AILab/flash-attention/issues/1749, /pull/1751
RELEASE_DRIVERS: Mapping[Version, Version] = {Version("2.8.1"): Version("550")}


#: torch releases that took away a function which FlashAttention 2 calls, or its form: what was built before does not load from
#: there on. 2.8: SetDevice; 2.10, 2.14: c10_cuda_check_implementation; 2.13: materialize_cow_storage. And those that brought
#: one: what was built from there on does not load before. Read from PyPI's torch 2.5.1 to 2.15.0, see docs/wheels.md;
#: https://github.com/unslothai/unsloth/pull/7495
TAKEN_AWAY = tuple(map(Version, ("2.8", "2.10", "2.13", "2.14")))
BROUGHT = tuple(map(Version, ("2.6", "2.9", "2.11")))
#: FlashAttention 3 built with this torch or a newer one calls only torch's stable ABI, as this one had it (hopper/setup.py,
#: TORCH_TARGET_VERSION; https://github.com/Dao-AILab/flash-attention/issues/1730).
STABLE_ABI = Version("2.9")
#: Minors between the torch that a wheel was built with and the one that it is tried with.
FARTHEST = 3


def may_load(implementation: Implementation, built: Version, torch: Version) -> bool:
    """Whether a wheel that was built for another torch may load with this one: nothing that is known stands against it.

    Its symbols decide then.
    """
    older, newer = sorted(Version(f"{each.major}.{each.minor}") for each in (built, torch))
    if implementation is FA3 and older >= STABLE_ABI:
        return True
    changes = TAKEN_AWAY if built < torch else (*TAKEN_AWAY, *BROUGHT)
    return (older.major == newer.major and newer.minor - older.minor <= FARTHEST
            and not any(older < changed <= newer for changed in changes))


@dataclass(frozen=True)
class Wish:
    """`flash_attn.version` as a range, and the local label of an exact version."""

    versions: SpecifierSet = SpecifierSet()
    local: str | None = None

    def takes(self, version: Version, label: str | None, prereleases: bool | None = None) -> bool:
        """Whether this release, built as `label` says, is what is wished for; of an unlabelled one it may be.

        prereleases: None where the wish itself decides, as PEP 440 has it.
        """
        return _in_range(version, self.versions, prereleases) and (
            self.local is None or label is None or label.lower() == self.local)

    @property
    def requirement(self) -> str:
        """flash-attn as pip is asked for it; no index has its local labels."""
        return f"{FA2.distribution}{self.versions}"


@lru_cache(maxsize=1024)
def _in_range(version: Version, versions: SpecifierSet, prereleases: bool | None) -> bool:
    return versions.contains(version, prereleases=prereleases)


def parse_wish(text: str | None, where: str = "flash_attn.version") -> Wish:
    """`2.8.3`, `2.8.*`, `>=2.7,<2.9`, or nothing at all, which takes any.

    where: names the setting in the ConfigError that a text that is none raises.
    """
    text = (text or "").strip()
    try:
        exact = Version(text)
        return Wish(SpecifierSet(f"=={exact.public}"), exact.local)
    except InvalidVersion:
        pass
    series = re.fullmatch(r"v?(\d[\d.]*\.\*)", text)
    try:
        return Wish(SpecifierSet(f"=={series[1]}" if series else text))
    except InvalidSpecifier:
        message = Text(f"{text!r} is neither a version nor a range of versions", f"{text!r} 不是版本号，也不是版本范围")
        asked = "--version " if where == "--version" else "flash_attn.version="
        raise ConfigError("version-invalid", message, where=where, hint=(f"{asked}2.8.3", f'{asked}">=2.7,<2.9"')) from None


def least_for(transformers: Version | None) -> Version:
    """The oldest flash-attn that transformers takes: 2.1.0, from 5 on 2.3.3.

    transformers/utils/import_utils.py, `is_flash_attn_2_available`; https://github.com/hiyouga/LlamaFactory/issues/3464
    """
    return Version("2.3.3" if transformers and transformers.major >= 5 else "2.1.0")


def oldest_release(facts: Facts, implementation: str) -> tuple[Version, str]:
    """The oldest release that will do, and who says so: transformers, or the implementation's first real one."""
    row = IN_WHEELS[implementation]
    if row is not FA2:
        return row.first, row.title
    transformers = facts.package("transformers")
    return least_for(transformers), f"transformers {transformers or ''}".rstrip()


def needed_driver(version: Version) -> Version | None:
    """The driver that this release of flash-attn cannot do without; None where any will do."""
    return next((driver for release, driver in RELEASE_DRIVERS.items() if version.release[:3] == release.release), None)
