"""Installing and building flash-attn; only where an install is needed or asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.findings.finding import ERROR, WARNING, Check, Finding, Severity
from swift_fa_launcher.findings.table import found
from swift_fa_launcher.flash import building
from swift_fa_launcher.flash.hosts import DIRECT, MIRRORS, PYPI, host_of, source_hosts
from swift_fa_launcher.flash.implementations import BY_NAME, FA2, FA4
from swift_fa_launcher.flash.installed import is_missing, too_old
from swift_fa_launcher.flash.name import WheelNameError, parse_wheel_name
from swift_fa_launcher.flash.tags import fits_here
from swift_fa_launcher.machine import reading
from swift_fa_launcher.machine.facts import Facts, Reach, Toolchain


def wheel_not_found(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A machine for which nobody publishes wheels; which of the published ones fits is for `swift-fa install` to say."""
    reason = building.no_public_wheel(facts)
    local = any(not source.startswith(("github:", "http:", "https:")) for source in config.flash_attn.sources)
    if reason and not local and building.needs_install(config, facts):
        yield found("wheel-not-found", reason, severity=ERROR if config.flash_attn.build == "never" else WARNING,
                    reason=reason, torch=reading.torch_version(facts), processor=known(facts.host.machine))


def rocm_build(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """What flash-attn needs on AMD's GPUs: a build of its own, with the kernels that are for these (flash-attn's README)."""
    flash_attn = reading.wanted_flash_attn(config, facts)
    broken = flash_attn is not None and known(flash_attn.import_error) is not None
    unfit = broken or is_missing(config, facts) or too_old(config, facts) is not None
    torch, here = known(facts.torch), reading.amd_architectures(facts)
    if reading.on_rocm(facts) and config.swift.attn_impl in BY_NAME and unfit and not (here and torch and torch.hip is None):
        way = "" if not here else "ck" if building.CK_ARCHITECTURES.issuperset(here) else "triton"
        yield found("rocm-build", way, torch=reading.torch_version(facts), pip=reading.pip(facts), architectures=list(here),
                    targets=";".join(here))


def build_torch_mismatch(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """The source asks the compiler for C++17, and ATen.h is an #error below C++20."""
    if config.flash_attn.build != "never" and known(facts.host.os) != "Windows" and building.needs_install(config, facts) \
            and config.swift.attn_impl not in FA4.names and building.asks_for_old_cxx(config, facts):
        yield found("build-torch-mismatch", severity=ERROR if building.must_build(config, facts) else WARNING,
                    torch=reading.torch_version(facts), pip=reading.pip(facts))


def wheel_sources(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A wheel that the config names as a source: a whole file name, and one for this interpreter and platform.

    The name is all that the config knows; the content is proven before it is installed.
    """
    if not building.needs_install(config, facts):
        return
    for source in config.flash_attn.sources:
        name = unquote(source.partition("?")[0].partition("#")[0].rstrip("/").replace("\\", "/").rpartition("/")[2])
        if not name.endswith(".whl"):
            continue
        where = reading.written(config, "flash_attn.sources")
        try:
            wheel = parse_wheel_name(name)
        except WheelNameError as error:
            yield found("wheel-invalid", name=name, origin=where, wheel=source, error=str(error))
            continue
        unfit = [] if fits_here(wheel, facts) else [str(tag) for tag in wheel.tags]
        if unfit:
            yield found("wheel-unsupported-here", name=name, origin=where, wheel=source, tags=sorted(unfit))


def cuda_home_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """deepspeed looks for nvcc through CUDA_HOME when it is imported, and trl imports it wherever it is installed.
    https://github.com/hiyouga/LlamaFactory/issues/9270"""
    tools, wanted = _toolchain(facts), bool(config.swift.get("deepspeed"))
    torch, elsewhere = known(facts.torch), reading.is_login_node(config, facts)
    if tools is None or tools.nvcc is not None or facts.package("deepspeed") is None \
            or reading.on_ascend(facts) or reading.on_rocm(facts) or (torch is not None and torch.cuda is None) \
            or (elsewhere and not wanted):
        return  # without CUDA nobody asks nvcc; what a login node lacks the compute node may have
    yield found("cuda-home-missing", "wanted" if wanted else "installed",
                severity=ERROR if wanted and not elsewhere else WARNING, cuda_home=known(tools.cuda_home),
                pip=reading.pip(facts))


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
    if tools is None or not building.builds(config, facts):
        return
    nvcc, cuda = known(tools.nvcc), reading.torch_cuda(facts)
    if tools.nvcc is None:
        yield found("nvcc-missing", "always" if config.flash_attn.build == "always" else "",
                    cuda_home=known(tools.cuda_home), torch_cuda=cuda)
    if nvcc is None:
        return
    if cuda is not None and nvcc.major != cuda.major:
        yield found("nvcc-torch-mismatch", nvcc=nvcc, torch=reading.torch_version(facts), torch_cuda=cuda)
    floor, why = building.oldest_nvcc(config, facts)  # setup.py's, and the GPU's
    if nvcc < floor:
        yield found("nvcc-too-old", nvcc=nvcc, needed_by=why, minimum=floor)
    yield from _gcc_unsupported(tools, nvcc)


def _gcc_unsupported(tools: Toolchain, nvcc: Version) -> Iterator[Finding]:
    newest, gcc = building.newest_gcc(nvcc), known(tools.gcc)
    way = "none" if tools.gcc is None else "" if gcc is None else "old" if gcc.major < building.OLDEST_GCC else \
        "new" if newest is not None and gcc.major > newest else ""
    if way:
        yield found("gcc-unsupported", way, nvcc=nvcc, gcc=gcc, newest=newest, oldest=building.OLDEST_GCC,
                    use=newest or building.OLDEST_GCC)


def build_deps_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """What flash-attn's setup.py imports; build isolation hides it, so the launcher builds without.
    https://github.com/Dao-AILab/flash-attention/issues/1421"""
    tools = _toolchain(facts)
    missing = [p for p in building.BUILD_PACKAGES
               if reading.is_absent(facts, p) and not (p == "ninja" and tools and known(tools.ninja))]
    if missing and building.builds(config, facts):
        yield found("build-deps-missing", missing=missing, pip=reading.pip(facts))


def build_memory_low(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """As many jobs as CPUs have taken machines down. https://github.com/Dao-AILab/flash-attention/issues/347"""
    available = known(facts.host.available_memory_gib)
    if available is not None and available < 2 * building.GIB_PER_JOB and building.builds(config, facts):
        asked = config.flash_attn.max_jobs
        jobs = asked or building.build_jobs(available, known(facts.host.cpus))
        yield found("build-memory-low", "" if jobs > 1 else "one job", available_gib=available,
                    job_gib=building.GIB_PER_JOB, max_jobs=jobs)


def site_packages_not_writable(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """An install is needed and the environment is another's, or its distribution's own (PEP 668)."""
    python = known(facts.python)
    if python is None or not building.needs_install(config, facts):
        return
    managed = known(python.externally_managed) is True
    if managed or known(python.site_packages_writable) is False:
        yield found("site-packages-not-writable", "managed" if managed else "",
                    python=known(python.executable) or "python",
                    interpreter=reading.pip(facts).removesuffix(" -m pip"), externally_managed=managed)


def wheel_hosts(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Whether any source of wheels answers.
    https://github.com/Dao-AILab/flash-attention/issues/559 (dropped connection), /756 (certificates)"""
    if not building.needs_install(config, facts):
        return
    hosts, local = source_hosts(config.flash_attn.sources, config.flash_attn.mirrors, config.swift.attn_impl)
    reaches: dict[str, Reach | None] = {host: known(facts.network.get(host)) for host in hosts}
    down = {h: r for h, r in reaches.items() if r is not None and known(r.ok) is False}
    if not down:
        return
    cut_off = not local and len(down) == len(hosts)
    tools = _toolchain(facts)
    may_build = config.flash_attn.build != "never" and config.swift.attn_impl in FA2.names \
        and known(facts.host.os) != "Windows" and not reading.has_cpu_torch(facts) \
        and not (tools is not None and tools.nvcc is None)
    severity: Severity = ERROR if cut_off and not may_build else WARNING
    tls = {h: known(r.error) or "" for h, r in down.items() if reading.says_tls(known(r.error) or "")}
    if tls:
        host, error = next(iter(tls.items()))
        yield found("tls-failed", severity=severity, hosts=dict(tls), host=host, error=error, pip=reading.pip(facts))
    if cut_off or "github.com" in down:
        up = [host for host, reach in reaches.items() if reach is not None and known(reach.ok)]
        way = ("archives" if _has_archives(config, facts) else "none") if cut_off else "some answer" if up else "some"
        untried = [mirror for mirror in MIRRORS if host_of(mirror) not in reaches] if "github.com" in reaches else []
        yield found("mirror-unreachable", way, severity=severity, errors=_by_error(down), reached=up,
                    mirrors=",".join((*untried, DIRECT)) if untried else None,
                    answering=tuple(up) if not untried else (),
                    context={"hosts": {h: known(r.error) for h, r in down.items()}})


def _by_error(down: Mapping[str, Reach]) -> str:
    """Each error once, behind the hosts that have it."""
    hosts: dict[str, list[str]] = {}
    for host, reach in down.items():
        hosts.setdefault(known(reach.error) or "?", []).append(host)
    return "; ".join(f"{', '.join(names)}: {error}" for error, names in hosts.items())


def _has_archives(config: ResolvedConfig, facts: Facts) -> bool:
    """Whether PyPI, which has source archives only, is among the sources and answers."""
    index = known(facts.network.get(PYPI))
    return index is not None and known(index.ok) is True and any(host_of(source) == PYPI for source in config.flash_attn.sources)


CHECKS: tuple[Check, ...] = (wheel_not_found, rocm_build, build_torch_mismatch, wheel_sources, cuda_home_missing, build_tools,
                             build_deps_missing, build_memory_low, site_packages_not_writable, wheel_hosts)
