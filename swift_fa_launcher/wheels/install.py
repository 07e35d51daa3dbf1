"""One wheel into one environment: the new one, working, or the old one as it was.

pip or uv unpack into a folder beside the environment's packages; there the new one is imported by the training
interpreter before anything else changes. Then the old and the new change places by renaming, the new one is tried where it
lies now, and the receipt is written. Meanwhile a `.pth` file has every interpreter that starts, but those that try, look at a
whole copy (hard links) of the old one: it appears and disappears in single steps, so there is no moment at which anybody
imports half of each, or what was not proven in its place. A journal says what a next start has to undo; see
`recover_environment`.
"""

from __future__ import annotations

import base64
import csv
import ctypes
import errno
import json
import os
import platform
import secrets
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from packaging.utils import canonicalize_name

from swift_fa_launcher import __version__
from swift_fa_launcher.decode import DecodeError, decode, encode
from swift_fa_launcher.errors import InstallError, Say, Text, Words
from swift_fa_launcher.files import read_group, write_whole
from swift_fa_launcher.flash.implementations import BY_DISTRIBUTION, CAUSAL_CONV1D
from swift_fa_launcher.machine.guard import start_guarded
from swift_fa_launcher.machine.interpreter import kill_group, run_script
from swift_fa_launcher.wheels.companions import (
    Companions,
    Tool,
    add_companions,
    last_line,
    markers_of,
    missing_requirements,
)
from swift_fa_launcher.wheels.download import NO_ROOM, file_sha256

T = TypeVar("T")
#: The launcher's folder in an environment: lock, journal, receipt, and while it works the folder that it works in.
FOLDER = ".swift-fa"
#: Has an interpreter that starts look at the old one's copy first, while entries change places and the new one is tried.
SWITCH = "swift-fa-switch.pth"
SCRIPT = Path(__file__).with_name("try_import.py")
_NOT_WRITABLE = Text("the environment cannot be written to", "没有写入该环境的权限")
_AS_BEFORE = Text("the environment is as it was before", "环境已恢复原样")
_FILE_TOO_LARGE = -25  # the exit status of a child that SIGXFSZ ended

#: The variable of those that try the new one: they do not look at the copy.
TRIES = "SWIFT_FA_TRIES"
#: Seconds after which an interpreter that was just starting, and had read its `.pth` files, has imported what it wants.
SETTLED = 0.5
#: Tries the new one on the GPU with these variables in addition; what is wrong, or None.
Probe = Callable[[Mapping[str, str]], "Words | None"]


class NotRunning(InstallError):
    """The wheel itself is no good here: it does not unpack, import or run. Another one may be."""


@dataclass(frozen=True)
class Receipt:
    """What was installed, from where, and what was proven of it; `receipt.json` in the environment."""

    filename: str
    url: str
    sha256: str
    distribution: str
    version: str
    installed_at: str  # UTC, ISO 8601
    launcher: str  # the launcher's version
    python: str
    torch: str | None
    proven: tuple[str, ...] = ()  # "sha256", "contents", "symbols", "import", "probe"
    warnings: tuple[str, ...] = ()
    record_sha256: str = ""  # of the installed RECORD
    attempt: str = ""
    schema: int = 1


@dataclass(frozen=True)
class Target:
    """The training interpreter's environment, as it says itself, and how to work in it.

    environment: of the training, for imports. timeout: seconds for an import, and ten times that for unpacking.
    """

    python: str
    site_packages: Path
    python_version: str
    torch: str | None
    installed: Mapping[str, str]  # canonical name to version
    pip: bool
    externally_managed: bool
    environment: Mapping[str, str] = field(repr=False)
    timeout: float
    say: Say

    @property
    def folder(self) -> Path:
        return self.site_packages / FOLDER


@dataclass(frozen=True)
class _Unit:
    """One entry of site-packages that changes. new: the inode of what comes, None where something only goes.

    copied: it could not be renamed as a whole (a folder of an image's lower layer); the old one was copied instead and
    the files in it are replaced one by one.
    """

    name: str
    new: int | None = None
    copied: bool = False


@dataclass(frozen=True)
class _Journal:
    """work: the folder's name. units: empty until places are about to change. records: sha256 of the RECORD of the old
    one and of the new one; any other means that somebody installed over what was left, and it is theirs now."""

    attempt: str
    work: str
    distribution: str = ""
    units: tuple[_Unit, ...] = ()
    records: tuple[str, ...] = ()


def install_wheel(wheel: Path, python: str, *, environment: Mapping[str, str], url: str = "", sha256: str | None = None,
                  proven: Sequence[str] = (), probe: Probe | None = None, timeout: float = 300.0,
                  say: Say = lambda words: None) -> Receipt:
    """Installs a wheel that was proven before; the same one twice is a check only, and gives the receipt of the first time.

    python: the training interpreter. url and sha256: for the receipt, and to know it again. environment: of the
    training, for imports. timeout: seconds for an import, and ten times that for unpacking.
    Raises InstallError; what was there before is then as it was.
    """
    digest = sha256 or file_sha256(wheel)
    target = read_target(python, environment, timeout, say)
    _expect_writable(target)
    with _alone(target):
        _recover(target.folder)
        if receipt := _installed_already(target, _distribution(wheel), digest):
            return receipt
        version = wheel.name.split("-")[1]
        draft = Receipt(wheel.name, url or wheel.absolute().as_uri(), digest, _distribution(wheel), version, "", __version__,
                        target.python_version, target.torch, tuple(proven), attempt=secrets.token_hex(8))
        return _install(wheel, target, draft, probe)


def read_target(python: str, environment: Mapping[str, str], timeout: float, say: Say) -> Target:
    """Where `python` installs to. Raises InstallError where it does not answer."""
    answer = run_script(python, SCRIPT, environment=environment, cwd=Path("/"), timeout=60.0)
    if not answer.steps:
        raise InstallError("interpreter-silent", Text("the training interpreter does not answer", "训练所用的 Python 没有响应"),
                           where=python, why=answer.failure, hint=("launch.python=PATH",))
    said = answer.steps[0]
    installed: dict[str, str] = {canonicalize_name(name): version for name, version in said["installed"].items()}
    return Target(python, Path(said["site_packages"]), said["python"], said["torch"], installed, said["pip"],
                   said["externally_managed"], environment, timeout, say)


def recover_environment(site_packages: Path) -> bool:
    """Undoes what an interrupted installation left there; whether there was anything. An installation at work is let be."""
    folder = site_packages / FOLDER
    if not _leftovers(folder):
        return False
    from filelock import FileLock, Timeout

    try:
        with FileLock(str(folder / "lock"), timeout=0):
            return _recover(folder)
    except Timeout:
        return False
    except OSError as error:
        raise InstallError("install-not-undone",
                           Text("an interrupted installation could not be undone", "无法撤销被中断的安装"), where=str(folder),
                           why=str(error)) from error


def read_receipt(site_packages: Path, distribution: str = "flash-attn") -> Receipt | None:
    """The receipt of the flash attention that the launcher installed there last, or of the distribution beside it; None where
    there is none that can be read."""
    return _read(Receipt, _receipt_file(site_packages / FOLDER, distribution))


def _receipt_file(folder: Path, distribution: str) -> Path:
    return folder / (f"receipt-{distribution}.json" if distribution == CAUSAL_CONV1D.distribution else "receipt.json")


# ---------------------------------------------------------------------------------------------- the steps, in order


def _install(wheel: Path, target: Target, draft: Receipt, probe: Probe | None) -> Receipt:
    say = target.say
    work = target.folder / f"work-{draft.attempt}"
    stage = work / "stage"
    try:
        _write_json(target.folder / "journal.json", _Journal(draft.attempt, work.name))
        stage.mkdir(parents=True)
        (work / "tmp").mkdir()
        say(Text(f"unpacking {wheel.name}", f"正在解压 {wheel.name}"))
        _unpack(wheel, stage, target)
        companions = _add_companions(wheel, stage, target)
        say(Text("trying to import it before anything is replaced", "替换之前先试导入"))
        modules = _modules(draft.distribution, stage)
        staged = {**target.environment, "PYTHONPATH": python_path(stage, target.environment)}
        _expect_import(replace(target, environment=staged), modules, stage, companions)
        units = _plan_units(target.site_packages, stage, draft.distribution)
        _sync_tree(stage)
        _link_entries(units, target.site_packages, work / "keep")
        infos = _dist_infos(target.site_packages, draft.distribution) + _dist_infos(stage, draft.distribution)
        journal = _Journal(draft.attempt, work.name, draft.distribution, units,
                           tuple(file_sha256(info / "RECORD") for info in infos if (info / "RECORD").is_file()))
        _write_json(target.folder / "journal.json", journal)
        _look_at(work / "keep", units, target.site_packages)
        for unit in units:
            _change_places(unit, journal, target.folder)
        after = _expect_import(replace(target, environment={**target.environment, TRIES: "1"}), modules, target.site_packages)
        if after["torch"] != target.torch:
            raise _failed(Text(f"torch changed from {target.torch} to {after['torch']}",
                               f"torch 从 {target.torch} 变成了 {after['torch']}"), target)
        say(Text("trying it on the GPU", "正在 GPU 上试运行") if probe else Text("the import works", "导入成功"))
        if probe and (fault := probe({TRIES: "1"})):
            raise _failed(fault, target, Text("the wheel can be installed and imported, but it does not run on this GPU",
                                              "wheel 能安装、能导入，但在本机 GPU 上无法运行"))
        record = _dist_infos(target.site_packages, draft.distribution)[0] / "RECORD"
        receipt = replace(draft, installed_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
                          proven=(*draft.proven, "import", *(("probe",) if probe else ())),
                          warnings=_warnings(companions, say), record_sha256=file_sha256(record))
        _look_at_site(target.site_packages)
        _write_json(_receipt_file(target.folder, draft.distribution), receipt)
    except BaseException as error:
        with suppress(OSError):  # the next start tries again
            _recover(target.folder)
        if isinstance(error, OSError):
            raise _disk_error(error, target) from error
        raise
    _clean(target.folder)
    return receipt


def _expect_writable(target: Target) -> None:
    """Raises InstallError where nothing may be installed, before anything is touched."""
    own = (Text("create an environment of your own: python -m venv DIR", "创建自己的环境：python -m venv DIR"),
           Text("then train with it: launch.python=DIR/bin/python", "然后用它训练：launch.python=DIR/bin/python"))
    if target.externally_managed:
        raise InstallError("python-of-system",
                           Text("the operating system manages this Python and allows no installation into it (PEP 668)",
                                "这个 Python 由操作系统管理，不允许安装软件包（PEP 668）"), where=target.python, hint=own)
    try:
        target.folder.mkdir(parents=True, exist_ok=True)
        trial = target.folder / f"trial-{secrets.token_hex(4)}"
        trial.touch()
        trial.unlink()
    except OSError as error:
        if error.errno in NO_ROOM:
            raise _disk_error(error, target) from error
        raise InstallError("site-packages-not-writable", _NOT_WRITABLE, where=str(target.site_packages),
                           why=os.strerror(error.errno or 0), hint=own) from error


def _alone(target: Target) -> AbstractContextManager[object]:
    """The environment's lock, held; it ends with its process."""
    from filelock import FileLock, Timeout

    lock = FileLock(str(target.folder / "lock"))
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        target.say(Text("another installation is running in this environment; waiting for it to end",
                        "此环境中有另一个安装正在进行，等待其完成"))
        return lock.acquire()


def _installed_already(target: Target, distribution: str, digest: str) -> Receipt | None:
    """The receipt where this very wheel is there, whole, and imports."""
    receipt = read_receipt(target.site_packages, distribution)
    if not receipt or receipt.sha256 != digest or receipt.torch != target.torch:
        return None
    infos = _dist_infos(target.site_packages, receipt.distribution)
    if len(infos) != 1 or not _is_whole(infos[0], receipt.record_sha256):
        return None
    with suppress(InstallError):
        _expect_import(target, _modules(receipt.distribution, target.site_packages), target.site_packages)
        return receipt
    return None


def _unpack(wheel: Path, stage: Path, target: Target) -> None:
    """The wheel's files into `stage`: nothing but this file, no index, and none of the user's settings for the tool."""
    tool = tool_of(target)
    alone = ["--no-config", "--no-cache"] if tool.is_uv else ["--isolated", "--no-cache-dir", "--no-input", "--no-compile"]
    command = [*tool.command, "--quiet", *alone, "--target", str(stage), "--no-deps", "--no-index", str(wheel)]
    plain = {k: v for k, v in target.environment.items() if not k.startswith(("PIP_", "UV_", "PYTHONPATH", "PYTHONHOME"))}
    plain |= {"TMPDIR": str(stage.parent / "tmp"), "PIP_CONFIG_FILE": os.devnull, "PYTHONNOUSERSITE": "1"}
    code, output = run_tool(command, plain, stage.parent, target.timeout * 10)
    if code:
        if code == _FILE_TOO_LARGE or any(os.strerror(number) in output for number in NO_ROOM):
            raise OSError(errno.ENOSPC, last_line(output))
        raise _failed(last_line(output) or f"exit status {code}", target,
                      Text(f"{wheel.name} could not be unpacked", f"无法解压 {wheel.name}"))
    infos = list(stage.glob("*.dist-info"))
    if len(infos) != 1 or not _is_whole(infos[0]):
        raise _failed(Text("the unpacked files are not those that the wheel's RECORD lists",
                           "解压出的文件与 wheel 的 RECORD 不符"), target)


def tool_of(target: Target) -> Tool:
    """uv where it is there, else the environment's pip."""
    if uv := shutil.which("uv"):
        return Tool((uv, "pip", "install", "--python", target.python), True)
    if target.pip:
        return Tool((target.python, "-m", "pip", "--disable-pip-version-check", "install"), False)
    raise InstallError("installer-missing", Text("neither uv nor pip is available", "没有可用的 uv 或 pip"),
                       where=target.python, hint=(f"{target.python} -m ensurepip", "pip install uv"))


def _add_companions(wheel: Path, stage: Path, target: Target) -> Companions:
    """einops, and what else the wheel asks for and the environment lacks, beside it: see `companions`."""
    metadata = (next(stage.glob("*.dist-info")) / "METADATA").read_text("utf-8", "replace")
    requires = [line.partition(":")[2].strip() for line in metadata.partition("\n\n")[0].splitlines()
                if line.startswith("Requires-Dist:")]
    markers = markers_of(target.python_version, platform.system(), platform.machine())
    needs = missing_requirements(requires, target.installed, markers)
    if not needs:
        return Companions()
    names, of = ", ".join(str(need) for need in needs), _distribution(wheel)
    target.say(Text(f"installing missing packages that {of} needs: {names}", f"安装 {of} 缺少的依赖：{names}"))
    there = {**target.environment, "TMPDIR": str(stage.parent / "tmp")}
    return add_companions(needs, wheel.absolute().parent, stage, target.installed, tool_of(target),
                          lambda command: run_tool(command, there, stage.parent, 900.0))


def _lacks(companions: Companions, why: str, target: Target) -> InstallError:
    """The error that says what is missing beside flash-attn, and the ways to have it."""
    names = shlex.join(companions.names)
    return InstallError("companions-missing",
                        Text(f"flash-attn needs packages that are missing and could not be installed: {names}",
                             f"缺少 flash-attn 所需的包，且无法安装：{names}"), where=str(target.site_packages),
                        why=f"{why}; {companions.failure}",
                        hint=(f"{target.python} -m pip install {names}",
                              Text("or, on a machine with a network, fetch all wheels: swift-fa install --download-only FOLDER",
                                   "或在有网络的机器上下载全部 wheel：swift-fa install --download-only 目录"), _AS_BEFORE))


def _warnings(companions: Companions, say: Say) -> tuple[str, ...]:
    """For the receipt: what flash-attn asks for, imports without, and could not be had."""
    if not companions.failure:
        return ()
    names = ", ".join(companions.names)
    say(Text(f"flash-attn works without {names}, although it lists them as requirements; they could not be installed: "
             f"{companions.failure}",
             f"flash-attn 声明依赖 {names}，但没有它们也能运行；它们未能安装：{companions.failure}"))
    return (f"{names} could not be installed: {companions.failure}",)


def _modules(distribution: str, folder: Path) -> tuple[str, ...]:
    """Those of the distribution's modules that are in `folder`, and in any case the one that a training imports: there are
    wheels of FlashAttention 3 with nothing but the extension."""
    def is_there(name: str) -> bool:
        place = folder.joinpath(*name.split("."))
        return place.is_dir() or any(place.parent.glob(f"{place.name}.*")) if place.parent.is_dir() else False
    row = BY_DISTRIBUTION.get(distribution)
    wanted = row.module if row else ""
    return tuple(name for name in (row.modules if row else (distribution.replace("-", "_"),)) if name == wanted or is_there(name))


def _expect_import(target: Target, modules: Sequence[str], folder: Path,
                   companions: Companions = Companions()) -> dict[str, Any]:
    """The interpreter's last word when all of `modules` import, from `folder`. Raises NotRunning.

    companions: those that could not be had; where one of them is what an import lacks, another wheel would lack it too.
    """
    answer = run_script(target.python, SCRIPT, f"--site={folder}", *modules, environment=target.environment, cwd=target.folder,
                        timeout=target.timeout)
    message = Text("the wheel can be installed, but not imported", "wheel 能安装，但无法导入")
    last = answer.steps[-1] if answer.steps else {}
    if "files" not in last:
        why = f"import {last.get('module', '')}: {last.get('error') or answer.failure}"
        if companions.failure and "No module named" in why:
            raise _lacks(companions, why, target)
        raise _failed(why, target, message)
    for name, file in last["files"].items():
        if not file or not Path(file).resolve().is_relative_to(folder.resolve()):
            raise _failed(Text(f"`import {name}` resolves to {file} instead", f"`import {name}` 实际导入的是 {file}"), target,
                          message)
    return last


# ---------------------------------------------------------------------------------------------- changing places


def _plan_units(site: Path, stage: Path, distribution: str) -> tuple[_Unit, ...]:
    """The entries of site-packages that change. Files of others in a shared folder are linked into the new one."""
    old = {file for info in _dist_infos(site, distribution) for file in _owned(site, info)}
    leaving = {path.relative_to(site).parts[0] for path in old}
    coming = {path.name for path in stage.iterdir() if not (path.name == "bin" and path.is_dir())}
    theirs = _files_of_others(site, leaving | coming, distribution)
    old -= theirs
    units = []
    for name in sorted(leaving | coming, key=lambda name: (name.endswith(".dist-info"), name)):
        here = site / name
        if here.is_dir() and not here.is_symlink():
            _carry_over(here, stage / name, old, theirs)
        if os.path.lexists(stage / name):
            units.append(_Unit(name, (stage / name).lstat().st_ino))
        elif os.path.lexists(here):
            units.append(_Unit(name))
    return tuple(units)


def _carry_over(here: Path, coming: Path, old: set[Path], theirs: set[Path]) -> None:
    """Links into `coming` what is in the folder `here` and is not the old distribution's."""
    for folder, _, names in os.walk(here):
        for name in names:
            file = Path(folder) / name
            source = file.parent.parent / f"{name.split('.')[0]}.py" if file.parent.name == "__pycache__" else file
            if file in old or source in old:
                continue
            into = coming / file.relative_to(here)
            if into.exists() and source not in theirs:
                continue  # nobody's: a leftover gives way
            into.parent.mkdir(parents=True, exist_ok=True)
            into.unlink(missing_ok=True)
            _link(file, into)


def _files_of_others(site: Path, names: Iterable[str], distribution: str) -> set[Path]:
    """The files under the entries `names` that the RECORD of another distribution lists."""
    tops = tuple(f"{name}/" for name in names if (site / name).is_dir() and not name.endswith(".dist-info"))
    found: set[Path] = set()
    if not tops:
        return found
    for info in site.glob("*.dist-info"):
        if _distribution(info) != distribution:
            found.update(site / name for name, _, _ in _read_record(info) if name.startswith(tops))
    return found


def _link_entries(units: Iterable[_Unit], source: Path, target: Path) -> None:
    """The entries as they are in `source`, under `target` too: folders anew, files as hard links."""
    target.mkdir()
    for unit in units:
        entry = source / unit.name
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, target / unit.name, symlinks=True, copy_function=_link)
        elif os.path.lexists(entry):
            _link(entry, target / unit.name)


def _link(file: str | Path, into: str | Path) -> None:
    try:
        os.link(file, into, follow_symlinks=False)
    except OSError:  # a file system without hard links
        shutil.copy2(file, into, follow_symlinks=False)


def _look_at(tree: Path, units: Iterable[_Unit], site: Path) -> None:
    """In one step: interpreters that start from now on see of `units` what is in `tree`, and nothing else."""
    here, kept = ascii(str(site)), {path.name for path in tree.iterdir()}
    absent = sorted({unit.name.split(".")[0] for unit in units if unit.name not in kept and not unit.name.endswith("-info")}
                    - {name.split(".")[0] for name in kept})
    scratch = site / f"{SWITCH}.new"
    # a module that is None in sys.modules is one that is not there
    scratch.write_text(f"import os, sys; {TRIES!r} in os.environ or (sys.path.insert(sys.path.index({here}) if {here} in "
                       f"sys.path else 0, {str(tree)!a}), sys.modules.update(dict.fromkeys({absent!a})))\n")
    scratch.replace(site / SWITCH)
    _sync(site)
    time.sleep(SETTLED)


def _look_at_site(site: Path) -> None:
    """In one step: interpreters that start from now on see what stands in `site`."""
    if os.path.lexists(site / SWITCH):
        os.unlink(site / SWITCH)
        _sync(site)
        time.sleep(SETTLED)


def _change_places(unit: _Unit, journal: _Journal, folder: Path) -> None:
    """The new entry into site-packages; the old one lies in the work folder afterwards."""
    here, work = folder.parent / unit.name, folder / journal.work
    coming, parked = work / "stage" / unit.name, work / "old" / unit.name
    exists = os.path.lexists(here)
    if unit.new is not None and exists and _exchange(here, coming):
        return
    parked.parent.mkdir(exist_ok=True)
    if exists:
        try:
            here.rename(parked)
        except OSError as error:
            if error.errno != errno.EXDEV or not here.is_dir():
                raise
            _replace_inside(unit, journal, folder)
            return
    if unit.new is not None:
        coming.rename(here)


def _exchange(one: Path, other: Path) -> bool:
    """Both change places in one step; False where this system or its file system cannot. Linux, renameat2(2)."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # glibc before 2.28, another C library, Windows
        return False
    here = -100  # AT_FDCWD
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), 2) == 0)  # RENAME_EXCHANGE


def _replace_inside(unit: _Unit, journal: _Journal, folder: Path) -> None:
    """File by file, for a folder that cannot be renamed: one from an image's lower layer (overlayfs gives EXDEV)."""
    here, work = folder.parent / unit.name, folder / journal.work
    shutil.copytree(here, work / "old" / unit.name, symlinks=True)
    _sync_tree(work / "old" / unit.name)
    units = tuple(replace(u, copied=True) if u.name == unit.name else u for u in _read_journal(folder).units)
    _write_json(folder / "journal.json", replace(journal, units=units))
    _make_alike(here, work / "stage" / unit.name if unit.new is not None else None)


def _make_alike(folder: Path, model: Path | None) -> None:
    """The folder's files as in `model` (None: no files, no folder), each replaced in one step."""
    wanted = {path.relative_to(model) for path in _walk(model)} if model else set()
    for path in sorted(_walk(folder), reverse=True):
        if path.relative_to(folder) not in wanted:
            path.unlink()
    for relative in wanted:
        assert model is not None
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_name(f".{target.name}.swift-fa")
        shutil.copy2(model / relative, scratch, follow_symlinks=False)
        scratch.replace(target)
    for place, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):  # not empty
            os.rmdir(place)


def _walk(folder: Path) -> list[Path]:
    """All files and links below `folder`."""
    return [path for place, folders, files in os.walk(folder) for name in (*files, *folders)
            if (path := Path(place, name)).is_symlink() or not path.is_dir()]


# ---------------------------------------------------------------------------------------------- undoing


def _recover(folder: Path) -> bool:
    """Undoes an installation that has no receipt, and cleans up; whether there was anything."""
    journal = _read_journal(folder)
    receipt = read_receipt(folder.parent, journal.distribution)
    finished = receipt is not None and receipt.attempt == journal.attempt
    site, work = folder.parent, folder / journal.work
    if journal.units and not finished and (ours := _left_beside(site, journal)) is not None:
        for info in ours:
            shutil.rmtree(info, ignore_errors=True)
    elif journal.units and not finished:
        _look_at(work / "keep", journal.units, site)
        for unit in reversed(journal.units):
            _put_back(unit, site / unit.name, work)
    _look_at_site(site)
    return _clean(folder)


def _left_beside(site: Path, journal: _Journal) -> list[Path] | None:
    """Our metadata folders beside somebody else's, who has installed since; None where nobody has. pip took away those of the
    copy that it looked at."""
    records = {info: info / "RECORD" for info in _dist_infos(site, journal.distribution) if (info / "RECORD").is_file()}
    ours = [info for info, record in records.items() if file_sha256(record) in journal.records]
    return ours if len(ours) < len(records) else None


def _put_back(unit: _Unit, here: Path, work: Path) -> None:
    coming, parked = work / "stage" / unit.name, work / "old" / unit.name
    if unit.copied:
        _make_alike(here, parked)
        return
    if unit.new is not None and os.path.lexists(here) and here.lstat().st_ino == unit.new:
        if not os.path.lexists(coming):
            here.rename(coming)
        elif not _exchange(here, coming):  # they had changed places
            here.rename(work / f"undone-{unit.name}")
            coming.rename(here)
    if os.path.lexists(parked) and not os.path.lexists(here):
        parked.rename(here)


def _clean(folder: Path) -> bool:
    """Removes journal and work folders, the journal first: without it nothing is undone twice."""
    found = _leftovers(folder)
    for path in found:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
        if path.name == "journal.json":
            _sync(folder)
    return bool(found)


def _leftovers(folder: Path) -> list[Path]:
    """What an installation has while it works, the journal first; `.journal.json.…` is one that was being written."""
    return [path for path in (folder / "journal.json", *folder.glob("work-*"), *folder.glob(".*.json.*"),
                              folder.parent / f"{SWITCH}.new") if path.exists()]


def _read_journal(folder: Path) -> _Journal:
    return _read(_Journal, folder / "journal.json") or _Journal("", "")


def _read(kind: type[T], file: Path) -> T | None:
    with suppress(DecodeError):
        return decode(kind, read_group(file))  # type: ignore[no-any-return]
    return None


# ---------------------------------------------------------------------------------------------- distributions on disk


def _distribution(info: Path) -> str:
    return canonicalize_name(info.name.removesuffix(".dist-info").removesuffix(".egg-info").split("-")[0])


def _dist_infos(site: Path, distribution: str) -> list[Path]:
    """The metadata folders of a distribution; more than one where something went wrong before."""
    return sorted(path for kind in ("dist-info", "egg-info") for path in site.glob(f"*.{kind}")
                  if _distribution(path) == distribution)


def _owned(site: Path, info: Path) -> set[Path]:
    """The files below site-packages that the distribution's RECORD lists, and all in its metadata folder."""
    listed = {Path(os.path.normpath(site / name)) for name, _, _ in _read_record(info)}
    inside = set(_walk(info)) if info.is_dir() else {info}
    return {path for path in listed | inside if path.is_relative_to(site)}


def _read_record(info: Path) -> list[tuple[str, str, str]]:
    try:
        with (info / "RECORD").open(newline="", encoding="utf-8", errors="replace") as stream:
            return [(row[0], row[1], row[2]) for row in csv.reader(stream) if len(row) == 3]
    except (OSError, csv.Error):
        return []


def _is_whole(info: Path, record_sha256: str | None = None) -> bool:
    """Whether every file is what RECORD says, and RECORD itself what it was."""
    rows = _read_record(info)
    if not rows or (record_sha256 is not None and file_sha256(info / "RECORD") != record_sha256):
        return False
    for name, digest, _ in rows:
        file = info.parent / name
        if not digest or file.suffix == ".pyc":
            continue  # RECORD itself, and what Python writes anew
        kind, _, value = digest.partition("=")
        if kind != "sha256" or not file.is_file():
            return False
        if base64.urlsafe_b64encode(bytes.fromhex(file_sha256(file))).rstrip(b"=").decode() != value:
            return False
    return True


# ---------------------------------------------------------------------------------------------- files and processes


def _write_json(file: Path, value: Any) -> None:
    """The value on disk, whole or not at all."""
    write_whole(file, json.dumps(encode(value), indent=1), durable=True)
    _sync(file.parent)


def _sync(folder: Path) -> None:
    with suppress(OSError):  # some file systems cannot; then there is nothing more to do
        _flush(folder)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(folder: Path) -> None:
    """What was unpacked really on disk, before names point at it."""
    for file in _walk(folder):
        if not file.is_symlink():
            _flush(file)


def run_tool(command: Sequence[str], environment: Mapping[str, str], cwd: Path, timeout: float) -> tuple[int, str]:
    """Exit status and output of a child with a process group of its own, all of which ends with us or in `timeout`."""
    try:
        child = start_guarded(command, env=dict(environment), cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
    except OSError as error:
        return 127, str(error)
    try:
        output, _ = child.communicate(timeout=timeout)
    except BaseException as error:
        kill_group(child)
        child.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            return 124, f"no end within {timeout:g} s"
        raise
    return child.returncode, output.decode("utf-8", "replace")


def python_path(first: Path, environment: Mapping[str, str]) -> str:
    """PYTHONPATH with a folder before all that it holds."""
    return os.pathsep.join(filter(None, (str(first), environment.get("PYTHONPATH"))))


def _failed(why: Words, target: Target, message: Words | None = None) -> NotRunning:
    return NotRunning("install-failed",
                      message or Text("the installation failed; the environment is as it was", "安装失败，环境保持原样"),
                      where=str(target.site_packages), why=why, hint=(_AS_BEFORE,))


def _disk_error(error: OSError, target: Target) -> InstallError:
    full = error.errno in NO_ROOM
    message = Text("the disk is full: nothing was installed", "磁盘已满：没有安装任何内容") if full else _NOT_WRITABLE
    return InstallError("disk-space-low" if full else "site-packages-not-writable", message,
                        where=str(target.site_packages), why=str(error), hint=(_AS_BEFORE,))
