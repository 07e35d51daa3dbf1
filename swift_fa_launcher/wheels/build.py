"""flash-attn from its source, where no wheel fits: planned from facts, then built into a wheel that the cache keeps.

What the plan counts on, read from setup.py of flash-attn 2.8.3.post2 on PyPI: 72 kernels and one interface to compile;
FLASH_ATTN_CUDA_ARCHS picks among 80, 90, 100 and 120 (nothing else does); MAX_JOBS is otherwise guessed from the host's
memory, not the cgroup's; without FLASH_ATTENTION_FORCE_BUILD it asks github.com for a wheel first, without a time-out.
Measured: 1,185 s with 16 jobs on 16 cores for one architecture, 222 MB of extension.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from swift_fa_launcher.config.schema import FlashAttnSection
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import InstallError, Say, Text, Words, in_both, render_words
from swift_fa_launcher.findings.lines import OR_SDPA
from swift_fa_launcher.flash.building import BUILD_PACKAGES, GIB_PER_JOB, build_architectures, build_jobs
from swift_fa_launcher.flash.versions import parse_wish
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.guard import start_guarded
from swift_fa_launcher.machine.interpreter import kill_group
from swift_fa_launcher.wheels.install import python_path

UNITS = 73  # files to compile
UNIT_SECONDS = 260  # of one core, for one architecture

#: FlashAttention 3 has no source archive: it is built from a clone, whose submodule its setup.py fetches through git.
FA3_WHY = Text("FlashAttention 3 is published only as a folder of a git repository, not as a source archive",
               "FlashAttention 3 只以 git 仓库中的一个目录发布，没有源码包")
FA3_BUILD: tuple[Words, ...] = (
    Text("build its wheel with the training's Python, on a machine with nvcc 12.3 or newer, and install it:",
         "在有 nvcc 12.3 或更新版本的机器上，用训练所用的 Python 编译 wheel，然后安装："),
    "git clone https://github.com/Dao-AILab/flash-attention && cd flash-attention/hopper",
    "pip install packaging psutil ninja wheel setuptools",
    "FLASH_ATTENTION_FORCE_BUILD=TRUE MAX_JOBS=4 python setup.py bdist_wheel",
    "swift-fa install swift.attn_impl=flash_attention_3 --wheel dist/flash_attn_3-*.whl",
)

#: Step, of how many, the line that said so.
Progress = Callable[[int, int, str], None]
#: What a log and an exit status say first of all causes, and what mends it; None where that is nothing known.
ReadLog = Callable[[Path, int], "tuple[Words, tuple[Words, ...]] | None"]


@dataclass(frozen=True)
class BuildPlan:
    """What will be run, and what it will need. minutes: about; memory_gib and disk_gib: at the same time.

    missing: packages that the build imports and that the environment lacks. key: machines with the same one can share
    the wheel.
    """

    requirement: str
    architectures: tuple[str, ...]
    jobs: int
    environment: Mapping[str, str]
    missing: tuple[str, ...]
    minutes: int
    memory_gib: float
    disk_gib: float
    key: str


def make_build_plan(facts: Facts, section: FlashAttnSection = FlashAttnSection()) -> BuildPlan:
    """The plan for the machine of `facts`; without a version in `section` for the newest on PyPI. Pure.

    Raises InstallError where nothing can be built, ConfigError for a version that is none.
    """
    torch, toolchain = known(facts.torch), known(facts.toolchain)
    if known(facts.host.os) == "Windows":
        raise InstallError("windows-unsupported",
                           Text("flash-attn cannot be built on Windows", "不支持在 Windows 上编译 flash-attn"),
                           hint=(Text("use WSL 2", "改用 WSL 2"), OR_SDPA))
    if lacking := tuple(_lacking(facts)):
        needs = Text(", and ".join(what.en for what, _ in lacking), "、".join(what.zh for what, _ in lacking))
        raise InstallError("torch-missing" if not torch else "torch-cpu-only" if torch.cuda is None else "nvcc-missing",
                           Text(f"flash-attn cannot be built here: a build needs {needs.en}",
                                f"无法在此编译 flash-attn：编译需要{needs.zh}"), hint=(*(how for _, how in lacking), OR_SDPA))
    requirement, archs = parse_wish(section.version).requirement, build_architectures(facts)
    cpus, available = known(facts.host.cpus), known(facts.host.available_memory_gib)
    jobs = section.max_jobs or (build_jobs(available, cpus) if available is not None else 1)
    home = known(toolchain.cuda_home) if toolchain else None
    environment = {
        "FLASH_ATTENTION_FORCE_BUILD": "TRUE", "FLASH_ATTENTION_SKIP_CUDA_BUILD": "FALSE",
        "FLASH_ATTN_CUDA_ARCHS": ";".join(archs), "MAX_JOBS": str(jobs), "NVCC_THREADS": str(min(4, len(archs))),
        "TORCH_CUDA_ARCH_LIST": ";".join(f"{arch[:-1]}.{arch[-1]}" for arch in archs), **({"CUDA_HOME": home} if home else {}),
    }
    seconds = UNITS * UNIT_SECONDS * len(archs) / max(1, min(jobs, cpus or jobs))
    packages = known(facts.packages) or {}
    ninja = known(toolchain.ninja) if toolchain else None
    missing = tuple(p for p in BUILD_PACKAGES if known(packages.get(p)) is None and not (p == "ninja" and ninja))
    return BuildPlan(requirement, archs, jobs, environment, missing, max(1, round(seconds / 60)), jobs * GIB_PER_JOB,
                     2.0 + len(archs), _key(facts, requirement, archs))


def _lacking(facts: Facts) -> Iterator[tuple[Text, Text]]:
    """What a build needs and the machine has not, each with what to do."""
    torch, toolchain = known(facts.torch), known(facts.toolchain)
    if torch is None or torch.cuda is None:
        version = known(torch.version) or "" if torch else ""
        here = Text(f"torch {version} is a CPU build", f"torch {version} 是 CPU 版本") if torch else \
            Text("torch is not installed", "没有安装 torch") if facts.torch is None else \
            Text("it is not known which torch is installed", "不清楚安装的是哪个 torch")
        yield (Text(f"a CUDA build of torch ({here.en})", f"CUDA 版本的 torch（{here.zh}）"),
               Text("build on the machine that will train: it needs a GPU, a CUDA build of torch and the CUDA toolkit",
                    "在将要训练的机器上编译：需要 GPU、CUDA 版本的 torch 和 CUDA toolkit"))
    if facts.toolchain is None or (toolchain and toolchain.nvcc is None):
        yield (Text("nvcc (not found)", "nvcc（没有找到）"),
               Text("install the CUDA toolkit and set CUDA_HOME", "安装 CUDA toolkit 并设置 CUDA_HOME"))


def render_build_plan(plan: BuildPlan) -> Text:
    """What the build will need, in a sentence."""
    archs = ", ".join(f"sm_{arch}" for arch in plan.architectures)
    return Text(
        f"building {plan.requirement} for {archs}: about {plan.minutes} minutes with {plan.jobs} jobs, up to "
        f"{plan.memory_gib:.0f} GiB of memory and {plan.disk_gib:.0f} GiB of disk; it uses nvcc, gcc and ninja",
        f"为 {archs} 编译 {plan.requirement}：{plan.jobs} 个任务约需 {plan.minutes} 分钟，最多占用 "
        f"{plan.memory_gib:.0f} GiB 内存、{plan.disk_gib:.0f} GiB 磁盘；需要 nvcc、gcc 和 ninja")


def fa3_not_built() -> InstallError:
    """The refusal to build FlashAttention 3, with the commands that do."""
    return InstallError("fa3-not-built", Text("swift-fa does not build FlashAttention 3",
                                              "swift-fa 不编译 FlashAttention 3"),
                        why=FA3_WHY, hint=FA3_BUILD)


def cached_build(plan: BuildPlan, cache: Path) -> Path | None:
    """The wheel of an earlier build on a machine alike."""
    return min((cache / "builds" / plan.key / "wheel").glob("*.whl"), default=None)


def run_build(plan: BuildPlan, python: str, cache: Path, *, environment: Mapping[str, str],
              progress: Progress = lambda step, steps, line: None, say: Say = lambda words: None,
              read_log: ReadLog = lambda log, code: None) -> Path:
    """The wheel, from the cache or built now by `python`, whose environment stays as it is; the log lies beside it.

    What the build imports and the environment lacks is installed into the build's own folder. environment: of the
    training. Raises InstallError with what the compiler said, and what `read_log` makes of it.
    """
    folder = cache / "builds" / plan.key
    from filelock import FileLock

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(str(folder / ".lock")):
            if built := cached_build(plan, cache):
                return built
            say(render_build_plan(plan))
            with tempfile.TemporaryDirectory(prefix="swift-fa-build-", dir=_room(plan, folder)) as scratch:
                return _build(plan, python, folder, Path(scratch), environment, progress, read_log)
    except OSError as error:
        raise InstallError("build-not-written", Text("the build's files cannot be written", "无法写入编译所需的文件"),
                           where=str(folder), why=str(error), hint=("export SWIFT_FA_CACHE=DIR",)) from error


def _build(plan: BuildPlan, python: str, folder: Path, scratch: Path, environment: Mapping[str, str],
           progress: Progress, read_log: ReadLog) -> Path:
    tools, out, log = scratch / "tools", scratch / "wheel", folder / "build.log"
    (scratch / "tmp").mkdir()
    child = {**environment, **plan.environment, "TMPDIR": str(scratch / "tmp"),
             "PATH": os.pathsep.join((str(tools / "bin"), str(Path(python).parent), environment.get("PATH", os.defpath))),
             "PYTHONPATH": python_path(tools, environment)}
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    with log.open("wb") as stream:
        if plan.missing:
            code = _run([*pip, "install", "--quiet", "--target", str(tools), *plan.missing], child, scratch, stream, progress)
            if code:
                raise _build_failed(plan, log, code, read_log)
        code = _run([*pip, "wheel", "-v", "--no-build-isolation", "--no-deps", "--no-cache-dir", "--no-binary", "flash-attn",
                     "--wheel-dir", str(out), plan.requirement], child, scratch, stream, progress)
    wheels = sorted(out.glob("*.whl")) if out.is_dir() else []
    if code or len(wheels) != 1:
        raise _build_failed(plan, log, code or 1, read_log)
    kept = folder / "wheel" / wheels[0].name
    kept.parent.mkdir(exist_ok=True)
    shutil.move(wheels[0], kept.with_suffix(".part"))
    return kept.with_suffix(".part").rename(kept)


def _run(command: list[str], environment: Mapping[str, str], cwd: Path, log: IO[bytes], progress: Progress) -> int:
    """The child's exit status; its output goes to the log as it comes, ninja's steps to `progress`."""
    log.write(f"$ {' '.join(command)}\n".encode())
    child = start_guarded(command, env=dict(environment), cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert child.stdout is not None
    try:
        for line in iter(partial(child.stdout.readline, 1 << 16), b""):
            log.write(line)
            log.flush()
            if found := re.match(rb"\s*\[(\d+)/(\d+)\]", line):
                progress(int(found[1]), int(found[2]), line.decode("utf-8", "replace").strip())
        return child.wait()
    except BaseException:
        kill_group(child)
        child.wait()
        raise
    finally:
        child.stdout.close()


def _room(plan: BuildPlan, folder: Path) -> Path:
    """A folder on a disk with room: the usual one for temporary files, else the cache. Raises InstallError."""
    places = [Path(tempfile.gettempdir()), folder]
    for place in places:
        with suppress(OSError):
            if shutil.disk_usage(place).free >= plan.disk_gib * 2**30:
                return place
    raise InstallError("disk-space-low",
                       Text(f"no disk has the {plan.disk_gib:.0f} GiB of free space that the build needs",
                            f"编译需要 {plan.disk_gib:.0f} GiB 空间，但没有一块磁盘够用"), where=", ".join(map(str, places)),
                       hint=("export TMPDIR=DIR", "export SWIFT_FA_CACHE=DIR"))


def _build_failed(plan: BuildPlan, log: Path, code: int, read_log: ReadLog) -> InstallError:
    """What the log says first of all causes; a 404 of a wheel that was asked for before is none of them."""
    said = _compiler_error(log)
    summary, hints = read_log(log, code) or ("", ())
    why = in_both(lambda lang: ": ".join(filter(None, (render_words(summary, lang), said))) or f"exit status {code}")
    return InstallError("build-failed", Text(f"building {plan.requirement} failed", f"编译 {plan.requirement} 失败"),
                        where=str(log), why=why, hint=(*hints, Text(f"the whole log: {log}", f"完整日志：{log}")))


_ERROR = re.compile(r"(?:^|\s|:)(?:fatal )?error(?: #?\w+)?:|: undefined reference|cannot find -l|\bKilled\b")
_NOT_AN_ERROR = re.compile(r"HTTP Error 404|subprocess-exited|metadata-generation|Failed building wheel|^\s*error: command")


def _compiler_error(log: Path) -> str:
    """The first line in which a compiler or linker complains; "" where none does."""
    with log.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            if _ERROR.search(line) and not _NOT_AN_ERROR.search(line) and not line.startswith(("ERROR:", "$ ")):
                return line.strip()[:400]
    return ""


def _key(facts: Facts, requirement: str, archs: tuple[str, ...]) -> str:
    """A folder's name for machines that can share the wheel: it says what counts, and a digest tells the rest apart."""
    torch, python = known(facts.torch), known(facts.python)
    parts = (requirement, f"torch{torch and torch.version}", f"cu{torch and torch.cuda}", f"abi{torch and torch.cxx11_abi}",
             str(python and python.abi), str(known(facts.host.machine)), f"glibc{known(facts.host.glibc)}",
             *(f"sm{arch}" for arch in archs))
    text = "-".join(parts)
    return f"{re.sub(r'[^A-Za-z0-9.+-]+', '_', text)[:120]}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
