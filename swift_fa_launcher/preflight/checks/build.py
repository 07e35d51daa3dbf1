"""Installing and building flash-attn; only where an install is needed or asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import Text, Words
from swift_fa_launcher.findings.finding import ERROR, WARNING, Check, Finding, Severity
from swift_fa_launcher.flash.building import (
    BUILD_PACKAGES,
    GIB_PER_JOB,
    OLDEST_GCC,
    build_jobs,
    builds,
    needs_install,
    newest_gcc,
    no_public_wheel,
    oldest_nvcc,
)
from swift_fa_launcher.flash.hosts import MIRRORS, PYPI, host_of, source_hosts
from swift_fa_launcher.flash.implementations import FA2
from swift_fa_launcher.flash.name import WheelNameError, parse_wheel_name
from swift_fa_launcher.flash.tags import fits_here
from swift_fa_launcher.machine.facts import Facts, Reach, Toolchain
from swift_fa_launcher.machine.reading import (
    FROM_ELSEWHERE,
    has_cpu_torch,
    is_absent,
    is_login_node,
    on_ascend,
    on_rocm,
    pip,
    pip_install,
    says_tls,
    torch_cuda,
    torch_version,
    written,
)


def wheel_not_found(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A machine for which nobody publishes wheels; which of the published ones fits is for `swift-fa install` to say."""
    reason = no_public_wheel(facts)
    local = any(not source.startswith(("github:", "http:", "https:")) for source in config.flash_attn.sources)
    if reason and not local and needs_install(config, facts):
        yield Finding("wheel-not-found", ERROR if config.flash_attn.build == "never" else WARNING,
                      Text(f"no source has a flash-attn wheel: {reason.en}", f"没有来源提供 flash-attn 的 wheel：{reason.zh}"),
                      ("swift-fa install --from-source", "flash_attn.build=auto"), {"reason": reason.en})


def wheel_sources(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A wheel that the config names as a source: a whole file name, and one for this interpreter and platform.

    The name is all that the config knows; the content is proven before it is installed.
    """
    if not needs_install(config, facts):
        return
    for source in config.flash_attn.sources:
        name = unquote(source.partition("?")[0].partition("#")[0].rstrip("/").replace("\\", "/").rpartition("/")[2])
        if not name.endswith(".whl"):
            continue
        where = written(config, "flash_attn.sources")
        try:
            wheel = parse_wheel_name(name)
        except WheelNameError as error:
            yield Finding("wheel-invalid", ERROR,
                          Text(f"{name}{where} is no wheel's name", f"{name}{where} 不是合法的 wheel 文件名"),
                          (Text("download it again under its own name (wget without -O)", "用原文件名重新下载（wget 不加 -O）"),),
                          {"wheel": source, "error": str(error)})
            continue
        unfit = [] if fits_here(wheel, facts) else [str(tag) for tag in wheel.tags]
        if unfit:
            yield Finding("wheel-unsupported-here", ERROR,
                          Text(f"{name}{where} does not fit this interpreter or platform",
                               f"{name}{where} 不适用于当前解释器或平台"),
                          ("swift-fa install",), {"wheel": source, "tags": sorted(unfit)})


def cuda_home_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """deepspeed looks for nvcc through CUDA_HOME when it is imported, and trl imports it wherever it is installed.

    https://github.com/hiyouga/LlamaFactory/issues/9270
    """
    tools, wanted = _toolchain(facts), bool(config.swift.get("deepspeed"))
    torch, elsewhere = known(facts.torch), is_login_node(config, facts)
    if tools is None or tools.nvcc is not None or facts.package("deepspeed") is None or on_ascend(facts) or on_rocm(facts) \
            or (torch is not None and torch.cuda is None) or (elsewhere and not wanted):
        return  # without CUDA nobody asks nvcc; what a login node lacks the compute node may have
    home = known(tools.cuda_home)
    yield Finding("cuda-home-missing", ERROR if wanted and not elsewhere else WARNING,
                  Text(f"deepspeed is {'asked for' if wanted else 'installed'} and CUDA_HOME={home or ''} leads to no nvcc",
                       f"{'要用' if wanted else '安装了'} deepspeed，但 CUDA_HOME={home or ''} 下没有 nvcc"),
                  ("conda install -c nvidia cuda-nvcc", "export CUDA_HOME=/usr/local/cuda") if wanted else
                  (pip(facts, "uninstall -y", "deepspeed"), "export CUDA_HOME=/usr/local/cuda"),
                  {"cuda_home": home})


def _toolchain(facts: Facts) -> Toolchain | None:
    """The tools; all absent where the whole is, None where nobody looked."""
    if facts.toolchain is None:
        return Toolchain(None, None, None, None)
    return known(facts.toolchain)


def build_tools(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """nvcc there, of torch's CUDA major, new enough; gcc within what it accepts.

    https://github.com/Dao-AILab/flash-attention/issues/1736 (no nvcc), /1477 (FA3 needs 12.3);
    https://github.com/Eyeline-Labs/FlashDepth/issues/2 (gcc)
    """
    tools = _toolchain(facts)
    if tools is None or on_rocm(facts) or not builds(config, facts):
        return
    nvcc, cuda = known(tools.nvcc), torch_cuda(facts)
    if tools.nvcc is None:
        yield Finding("nvcc-missing", ERROR,
                      Text("flash-attn must be built from source and there is no nvcc", "flash-attn 只能从源码编译，但没有 nvcc"),
                      (f"conda install -c nvidia cuda-nvcc{f'={cuda}' if cuda else ''}", "flash_attn.build=auto"),
                      {"cuda_home": known(tools.cuda_home)})
    if nvcc is None:
        return
    if cuda is not None and nvcc.major != cuda.major:
        yield Finding("nvcc-torch-mismatch", ERROR,
                      Text(f"nvcc {nvcc} and torch {torch_version(facts)} are of different CUDA majors",
                           f"nvcc {nvcc} 与 torch {torch_version(facts)} 的 CUDA 大版本不同"),
                      (f"export CUDA_HOME=/usr/local/cuda-{cuda}", f"conda install -c nvidia cuda-nvcc={cuda}"),
                      {"nvcc": nvcc, "torch_cuda": cuda})
    yield from _nvcc_too_old(config, facts, nvcc)
    yield from _gcc_unsupported(tools, nvcc)


def _nvcc_too_old(config: ResolvedConfig, facts: Facts, nvcc: Version) -> Iterator[Finding]:
    """setup.py's floor, and the GPU's."""
    floor, why = oldest_nvcc(config, facts)
    if nvcc < floor:
        yield Finding("nvcc-too-old", ERROR, Text(f"nvcc {nvcc}: {why} needs CUDA {floor} or newer",
                                                  f"nvcc {nvcc}：{why} 需要 CUDA {floor} 或更新"),
                      (f"conda install -c nvidia cuda-nvcc={floor}", f"export CUDA_HOME=/usr/local/cuda-{floor}"),
                      {"nvcc": nvcc, "minimum": floor})


def _gcc_unsupported(tools: Toolchain, nvcc: Version) -> Iterator[Finding]:
    newest, gcc = newest_gcc(nvcc), known(tools.gcc)
    if tools.gcc is None or (gcc is not None and (gcc.major < OLDEST_GCC or (newest is not None and gcc.major > newest))):
        limits = f"{OLDEST_GCC} .. {newest}" if newest else f">= {OLDEST_GCC}"
        use = newest or OLDEST_GCC
        yield Finding("gcc-unsupported", ERROR,
                      Text(f"nvcc {nvcc} accepts gcc {limits}; here is {gcc or 'none'}",
                           f"nvcc {nvcc} 接受的 gcc 版本为 {limits}，本机为 {gcc or '无'}"),
                      (f"conda install -c conda-forge gxx_linux-64={use}",
                       f"export CC=gcc-{use} CXX=g++-{use} NVCC_PREPEND_FLAGS='-ccbin g++-{use}'"),
                      {"nvcc": nvcc, "gcc": gcc, "newest": newest})


def build_deps_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """What flash-attn's setup.py imports; build isolation hides it, so the launcher builds without.

    https://github.com/Dao-AILab/flash-attention/issues/1421
    """
    tools = _toolchain(facts)
    missing = [p for p in BUILD_PACKAGES if is_absent(facts, p) and not (p == "ninja" and tools and known(tools.ninja))]
    if missing and builds(config, facts):
        yield Finding("build-deps-missing", WARNING,
                      Text(f"the build needs {', '.join(missing)}: installed first", f"编译需要 {'、'.join(missing)}：会先安装"),
                      (pip_install(facts, *missing),), {"missing": missing})


def build_memory_low(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """As many jobs as CPUs have taken machines down. https://github.com/Dao-AILab/flash-attention/issues/347"""
    available = known(facts.host.available_memory_gib)
    if available is not None and available < 2 * GIB_PER_JOB and builds(config, facts):
        asked = config.flash_attn.max_jobs
        jobs = asked or build_jobs(available, known(facts.host.cpus))
        yield Finding("build-memory-low", WARNING,
                      Text(f"{available:.1f} GiB available, a compiler job takes up to {GIB_PER_JOB:.0f}: builds with "
                           f"max_jobs={jobs}",
                           f"可用内存 {available:.1f} GiB，每个编译任务最多占 {GIB_PER_JOB:.0f} GiB：以 max_jobs={jobs} 编译"),
                      ("flash_attn.max_jobs=1", "export NVCC_THREADS=1") if jobs > 1 else ("export NVCC_THREADS=1",),
                      {"available_gib": available, "max_jobs": jobs})


def site_packages_not_writable(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """An install is needed and the environment is another's, or its distribution's own (PEP 668)."""
    python = known(facts.python)
    if python is None or not needs_install(config, facts):
        return
    managed = known(python.externally_managed) is True
    if managed or known(python.site_packages_writable) is False:
        why = Text("the environment is externally managed", "该环境由系统管理（externally managed）") if managed else \
            Text("its site-packages cannot be written", "它的 site-packages 不可写")
        executable = known(python.executable) or "python"
        yield Finding("site-packages-not-writable", ERROR,
                      Text(f"flash-attn cannot be installed into {executable}: {why.en}",
                           f"无法向 {executable} 安装 flash-attn：{why.zh}"),
                      (f"{executable} -m venv --system-site-packages ~/swift-env", "launch.python=~/swift-env/bin/python"),
                      {"python": executable, "externally_managed": managed})


def wheel_hosts(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Whether any source of wheels answers.

    https://github.com/Dao-AILab/flash-attention/issues/559 (dropped connection), /756 (certificates)
    """
    if not needs_install(config, facts):
        return
    hosts, local = source_hosts(config.flash_attn.sources, config.flash_attn.mirrors, config.swift.attn_impl)
    reaches: dict[str, Reach | None] = {host: known(facts.network.get(host)) for host in hosts}
    down = {h: r for h, r in reaches.items() if r is not None and known(r.ok) is False}
    if not down:
        return
    cut_off = not local and len(down) == len(hosts)
    tools = _toolchain(facts)
    may_build = config.flash_attn.build != "never" and known(facts.host.os) != "Windows" and not has_cpu_torch(facts) \
        and config.swift.attn_impl in FA2.names and not (tools is not None and tools.nvcc is None)
    severity: Severity = ERROR if cut_off and not may_build else WARNING
    tls = {h: known(r.error) or "" for h, r in down.items() if says_tls(known(r.error) or "")}
    if tls:
        host, error = next(iter(tls.items()))
        yield Finding("tls-failed", severity, Text(f"{host} fails TLS: {error}", f"{host} 的 TLS 连接失败：{error}"),
                      (pip_install(facts, "--upgrade", "certifi"), "export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"),
                      {"hosts": dict(tls)})
    if cut_off or "github.com" in down:
        shown, up = _by_error(down), _answering(config, facts, reaches)
        yield Finding("mirror-unreachable", severity,
                      Text(f"{'no source of wheels' if cut_off else 'not every source of wheels'} can be reached: {shown}{up.en}",
                           f"{'提供 wheel 的来源都' if cut_off else '部分 wheel 来源'}连不上：{shown}{up.zh}"),
                      _ways_to_a_wheel(reaches),
                      {"hosts": {h: known(r.error) for h, r in down.items()}})


def _by_error(down: Mapping[str, Reach]) -> str:
    """Each error once, behind the hosts that have it."""
    hosts: dict[str, list[str]] = {}
    for host, reach in down.items():
        hosts.setdefault(known(reach.error) or "?", []).append(host)
    return "; ".join(f"{', '.join(names)}: {error}" for error, names in hosts.items())


def _answering(config: ResolvedConfig, facts: Facts, reaches: Mapping[str, Reach | None]) -> Text:
    """The sources that do answer; of PyPI's what it has of this implementation."""
    up = [host for host, reach in reaches.items() if reach is not None and known(reach.ok)]
    index = known(facts.network.get(PYPI))
    archives = index is not None and known(index.ok) and PYPI not in reaches and any(
        host_of(source) == PYPI for source in config.flash_attn.sources)
    answers = Text(f"; reached: {', '.join(up)}", f"；连得上的：{'、'.join(up)}") if up else Text("", "")
    return Text(f"{answers.en}; {PYPI} is reached and has source archives only", f"{answers.zh}；{PYPI} 连得上，但只有源码包") \
        if archives else answers


def _ways_to_a_wheel(reaches: Mapping[str, Reach | None]) -> tuple[Words, ...]:
    """What helps where some hosts do not answer: those that do, a mirror that has not failed yet, a way round the network."""
    answering = [host for host, reach in reaches.items() if reach is not None and known(reach.ok)]
    untried = [mirror for mirror in MIRRORS if host_of(mirror) not in reaches] if "github.com" in reaches else []
    if untried:
        return f"flash_attn.mirrors=[{','.join((*untried, 'direct'))}]", *FROM_ELSEWHERE
    if answering:
        return (Text(f"nothing, if {', '.join(answering)} will do: what answers is taken",
                     f"若 {', '.join(answering)} 够用则无需处理：启动器会使用能访问的来源"), *FROM_ELSEWHERE)
    return Text("another mirror that you can reach: flash_attn.mirrors=[https://...]",
                "换用能访问的镜像：flash_attn.mirrors=[https://...]"), *FROM_ELSEWHERE


CHECKS: tuple[Check, ...] = (wheel_not_found, wheel_sources, cuda_home_missing, build_tools, build_deps_missing,
                             build_memory_low, site_packages_not_writable, wheel_hosts)
