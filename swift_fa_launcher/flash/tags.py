"""The compatibility tags that a machine takes. Pure."""

from __future__ import annotations

import re

from packaging.tags import compatible_tags, cpython_tags
from packaging.version import Version

from swift_fa_launcher.decode import Maybe, known
from swift_fa_launcher.flash.name import WheelName
from swift_fa_launcher.machine.facts import Facts

_LEGACY = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
_NEWEST_GLIBC = 99
_EXTENSION_PYTHON = re.compile(r"\.(?:cpython-|cp)(\d{2,4}t?)-")


def extension_python(file: str) -> re.Match[str] | None:
    """The Python in an extension's file name, as group 1: "311" of `x.cpython-311-x86_64-linux-gnu.so`; None for any."""
    return _EXTENSION_PYTHON.search(file)


def interpreter_pairs(release: Version, abi: str) -> frozenset[tuple[str, str]]:
    """(interpreter, ABI) of every wheel that this Python takes, `cp39-abi3` and `py3-none` among them."""
    python, interpreter = (release.major, release.minor), f"cp{release.major}{release.minor}"
    tags = (*cpython_tags(python, [abi], ["any"]), *compatible_tags(python, interpreter, ["any"]))
    # packaging before 24.1 offers the stable ABI to a free-threaded Python, which does not have it
    return frozenset((t.interpreter, t.abi) for t in tags if not (t.abi == "abi3" and abi.endswith("t")))


def platforms(os: str, machine: str, glibc: Maybe[Version]) -> frozenset[str]:
    """The platform tags that a machine takes. glibc: None for another C library, Unknown for whichever."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine.lower(), machine.lower())
    tags = {"any"}
    if os == "Windows":
        tags.add({"x86_64": "win_amd64", "aarch64": "win_arm64"}.get(machine, "win32"))
    elif os == "Linux":
        tags.add(f"linux_{machine}")
        if glibc is None:
            tags.update(f"musllinux_1_{minor}_{machine}" for minor in range(10))
        else:
            found = known(glibc)
            newest = found.minor if found else _NEWEST_GLIBC
            tags.update(f"manylinux_2_{minor}_{machine}" for minor in range(5, newest + 1))
            tags.update(f"{name}_{machine}" for minor, name in _LEGACY.items() if minor <= newest)
    return frozenset(tags)


def fits_here(name: WheelName, facts: Facts) -> bool:
    """Whether a wheel's tags are this machine's, as far as that is known."""
    python, os, machine = known(facts.python), known(facts.host.os), known(facts.host.machine)
    release, abi = (known(python.version), known(python.abi)) if python else (None, None)
    return (not (release and abi) or takes_pair(name, interpreter_pairs(release, abi))) and (
        not (os and machine) or any(p in platforms(os, machine, facts.host.glibc) for p in name.platforms))


def takes_pair(name: WheelName, pairs: frozenset[tuple[str, str]]) -> bool:
    """Whether one of a wheel's (interpreter, ABI) is among `pairs`."""
    return any((interpreter, abi) in pairs for interpreter in name.pythons for abi in name.abis)
