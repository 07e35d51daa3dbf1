"""What a flash-attn wheel needs beside itself: einops, and for FlashAttention 4 the compiler that it is written for.

torch is never among it, and what an environment has stays as it is: only what is missing comes with the wheel. It is
fetched beside the wheel for a machine without a network, and taken from there when that wheel is installed.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from swift_fa_launcher.decode import decode, known
from swift_fa_launcher.errors import Say, Text
from swift_fa_launcher.flash.fits import make_need
from swift_fa_launcher.machine.facts import Facts

#: Decides what fits, and is never fetched, nor anything on its account.
NEVER = frozenset(("torch",))
#: What needs nothing itself: no resolver is asked for these.
LEAVES = frozenset(("einops", "ninja", "packaging"))

#: Runs a command; its exit status and what it said.
Run = Callable[[Sequence[str]], "tuple[int, str]"]


@dataclass(frozen=True)
class Companions:
    """names: what was missing, as the wheel asks for it. files: what was fetched. failure: why it could not be had."""

    names: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    failure: str = ""


class Tool(NamedTuple):
    """pip or uv, up to the word "install", for the environment that is installed into."""

    command: tuple[str, ...]
    is_uv: bool


def missing_requirements(requires: Iterable[str], there: Container[str], markers: Mapping[str, str]) -> tuple[Requirement, ...]:
    """Of a distribution's Requires-Dist what is not among the canonical names `there`.

    markers: of the environment that it is for, see `markers_of`. Extras are asked for by nobody.
    """
    found = []
    for text in requires:
        try:
            need = Requirement(text)
        except InvalidRequirement:
            continue
        name = canonicalize_name(need.name)
        if name not in NEVER and name not in there and (not need.marker or need.marker.evaluate({**markers, "extra": ""})):
            need.marker = None
            found.append(need)
    return tuple(found)


def markers_of(python: str, os: str = "Linux", machine: str = "x86_64") -> dict[str, str]:
    """The values of a requirement's markers for another interpreter; python: "3.10.14"."""
    return {"python_full_version": python, "python_version": ".".join(python.split(".")[:2]), "platform_system": os,
            "sys_platform": {"Windows": "win32", "Darwin": "darwin"}.get(os, "linux"), "platform_machine": machine,
            "os_name": "nt" if os == "Windows" else "posix"}


# Into an environment ------------------------------------------------------------------------------------------------


def add_companions(needs: Sequence[Requirement], beside: Path, stage: Path, installed: Mapping[str, str], tool: Tool,
                   run: Run) -> Companions:
    """Installs `needs` into `stage`: from the wheels in the folder `beside` where they are, else as the tool is set up.

    installed: canonical name to version of what the environment has, none of which is replaced.
    """
    names = tuple(str(need) for need in needs)
    lying = {_name(file) for file in beside.glob("*.whl")}
    ways: list[list[str]] = [[] if tool.is_uv else ["--no-input", "--timeout", "10", "--retries", "1"]]
    if any(canonicalize_name(need.name) in lying for need in needs):
        ways.insert(0, ["--no-index", "--find-links", str(beside.absolute())])
    said = ""
    for options in ways:
        pins: Sequence[str] = names
        if not _are_leaves(needs):
            pins, said = _resolve(names, options, installed, stage.parent, tool, run)
        if pins:
            code, said = run([*tool.command, "--quiet", *options, "--target", str(stage), "--no-deps", *pins])
            if code == 0:
                return Companions(names)
    return Companions(names, failure=last_line(said))


def _resolve(names: Sequence[str], options: Sequence[str], installed: Mapping[str, str], scratch: Path, tool: Tool,
             run: Run) -> tuple[Sequence[str], str]:
    """(`name==version` of all that has to come for this torch, and what the tool said).

    What is there and would be replaced is left out: the trial that follows shows whether it will do.
    """
    rules, report = scratch / "rules.txt", scratch / "report.json"
    ask = [*tool.command, *options, "--dry-run"]
    if tool.is_uv:  # which sees only what lies in the environment itself, and may be told that nobody needs torch
        rules.write_text("".join(f"{name} ; sys_platform == 'none'\n" for name in NEVER))
        code, said = run([*ask, "--override", str(rules), *names])
        found = dict(re.findall(r"^ \+ ([^\s=]+)==(\S+)", said, re.MULTILINE))
    else:
        kept = (name for name in NEVER if known(decode(Version, installed.get(name, ""))))
        rules.write_text("".join(f"{name}=={installed[name]}\n" for name in kept))
        code, said = run([*ask, "--quiet", "--report", str(report), "--constraint", str(rules), *names])
        if code and "no such option" in said:  # pip before 22.2 cannot tell: by name then
            return names, said
        found = {name: str(metadata["version"]) for name, metadata in ({} if code else _read_report(report)).items()}
    coming = () if code else [f"{name}=={version}" for name, version in found.items() if canonicalize_name(name) not in installed]
    return coming, said


# For another machine ------------------------------------------------------------------------------------------------


def fetch_companions(requires: Iterable[str], facts: Facts, into: Path, run: Run,
                     say: Say = lambda words: None) -> Companions:
    """Fetches into the folder `into` what a wheel `requires` and the machine of `facts` does not say that it has.

    By pip of the launcher's own interpreter, from the indexes that it is set up for. Raises InstallError where the facts
    do not say for which machine.
    """
    need, python = make_need(facts, "flash_attn", None), known(facts.python)
    release = str(known(python.version)) if python else ""
    markers = markers_of(release, need.os, need.machine)
    there = {name for name, version in (known(facts.packages) or {}).items() if version is not None}
    missing = missing_requirements(requires, there, markers)
    names = tuple(str(each) for each in missing)
    if not missing:
        return Companions()
    say(Text(f"downloading packages that flash-attn needs: {', '.join(names)}",
             f"下载 flash-attn 需要的软件包：{', '.join(names)}"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    target = ["--quiet", "--no-input", "--only-binary", ":all:", "--implementation", "cp", "--python-version", release,
              *(word for abi in (need.python, "abi3", "none") for word in ("--abi", abi)),
              *(word for tag in sorted(need.platforms - {"any"}) for word in ("--platform", tag))]
    with tempfile.TemporaryDirectory(prefix="swift-fa-") as folder:
        scratch, pins = Path(folder), names
        if not _are_leaves(missing):
            report = scratch / "report.json"
            code, said = run([*pip, "install", "--dry-run", "--ignore-installed", "--report", str(report),
                              "--target", str(scratch / "nowhere"), *target, *names])
            if code:
                return Companions(names, failure=last_line(said))
            pins = _closure(missing, _read_report(report), there, markers)
        code, said = run([*pip, "download", "--no-deps", "--dest", str(scratch), *target, *pins])
        if code:
            return Companions(names, failure=last_line(said))
        return Companions(names, tuple(copy_into(file, into) for file in sorted(scratch.glob("*.whl"))))


def _closure(roots: Sequence[Requirement], resolved: Mapping[str, Mapping[str, Any]], there: Container[str],
             markers: Mapping[str, str]) -> tuple[str, ...]:
    """`name==version` of what the roots lead to, except through torch and through what is there."""
    pins: dict[str, str] = {}
    ahead = [canonicalize_name(root.name) for root in roots]
    while ahead:
        name = ahead.pop()
        if name not in pins and name in resolved:
            pins[name] = f"{name}=={resolved[name]['version']}"
            below = missing_requirements(resolved[name].get("requires_dist") or (), there, markers)
            ahead += [canonicalize_name(need.name) for need in below]
    return tuple(pins.values())


def copy_into(file: Path, folder: Path) -> Path:
    """The file of the same name in `folder`, which is never there in part."""
    target, part = folder / file.name, folder / f"{file.name}.part"
    if target.resolve() != file.resolve():
        shutil.copyfile(file, part)
        part.replace(target)
    return target


def _read_report(report: Path) -> dict[str, Mapping[str, Any]]:
    """pip's report: canonical name to metadata."""
    found = (item["metadata"] for item in json.loads(report.read_text(encoding="utf-8"))["install"])
    return {canonicalize_name(metadata["name"]): metadata for metadata in found}


def _are_leaves(needs: Iterable[Requirement]) -> bool:
    return all(canonicalize_name(need.name) in LEAVES for need in needs)


def _name(wheel: Path) -> str:
    return canonicalize_name(wheel.name.split("-")[0])


def last_line(output: str) -> str:
    """What a tool said last of an error, else last of all."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or [""])[-1][:300]
