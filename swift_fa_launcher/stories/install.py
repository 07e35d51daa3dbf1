"""The story of flash-attn: read the sources, choose, fetch, prove, install, try; the same for `install` and `train`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from swift_fa_launcher.config.layers import expand_user
from swift_fa_launcher.config.schema import FlashAttnSection, ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import (
    ConfigError,
    InstallError,
    Say,
    Text,
    UsageError,
    Voice,
    Words,
    joined,
    refused_as,
    titled,
)
from swift_fa_launcher.files import write_whole
from swift_fa_launcher.flash.hosts import is_mirror, may_offer
from swift_fa_launcher.flash.implementations import BY_NAME, CAUSAL_CONV1D, FA2, FA3, FA4
from swift_fa_launcher.flash.name import Candidate
from swift_fa_launcher.flash.versions import parse_wish
from swift_fa_launcher.machine.facts import Facts, Gpu, Torch
from swift_fa_launcher.machine.reading import interpreter, on_rocm, site_packages, visible_gpus
from swift_fa_launcher.wheels.choose import Resolution, Verdict, choose_wheel
from swift_fa_launcher.wheels.explain import explain, impossible_build
from swift_fa_launcher.wheels.lock import (
    Lock,
    LockedBeside,
    LockedKernel,
    lock_candidate,
    lock_path,
    make_lock,
    parse_lock,
    render_lock,
)
from swift_fa_launcher.wheels.sources import Network, SourceReport, read_sources

# What fetches, builds, proves and installs is imported where it is needed: a choice is to be had in a third of a second.
if TYPE_CHECKING:
    from swift_fa_launcher.findings.finding import Finding
    from swift_fa_launcher.wheels.install import Probe, Receipt
    from swift_fa_launcher.wheels.obtain import Means, Obtained

#: Codes of findings that packages beside flash-attn mend.
MENDED_BESIDE = frozenset(("packing-needs-fla", "linear-attention-slow"))
FLA = "flash-linear-attention"
CAUSAL_CONV1D_AT = "Dao-AILab/causal-conv1d"  # its releases on GitHub; PyPI has the sources alone


@dataclass(frozen=True)
class Wish:
    """What the command line asks for beyond the config: each wins over the config's own.

    wheel: the one file or URL to take, `#sha256=…` with its digest. build: "always" for a build from source.
    """

    version: str | None = None
    wheel: str | None = None
    build: str | None = None
    sources: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()
    offline: bool = False


@dataclass(frozen=True)
class Choice:
    """What was chosen, from which sources, for which implementation."""

    resolution: Resolution
    reports: tuple[SourceReport, ...]
    section: FlashAttnSection
    implementation: str
    version: str | None = None  # None: the wheel is named, and whatever version it is will do
    wheel: str = ""  # the file or URL that the user named
    refusals: tuple[tuple[str, Words], ...] = ()  # every reason that this file gives against itself
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)  # of the training


def would_mend(config: ResolvedConfig, facts: Facts, findings: Sequence[Finding]) -> bool:
    """Whether an installation is wanted, allowed, and all that stands between this config and its launch."""
    from swift_fa_launcher.findings.finding import blocking
    from swift_fa_launcher.flash.building import MENDED_BY_INSTALL, needs_install

    codes, allowed = {f.code for f in blocking(findings)}, config.flash_attn.install == "auto"
    slow = known(facts.gpus) and {f.code for f in findings}  # what only makes it faster is for GPUs
    wanted = needs_install(config, facts) or (allowed and MENDED_BESIDE & (slow or codes))
    return bool(wanted) and codes <= {*MENDED_BY_INSTALL, *(MENDED_BESIDE if allowed else ())}


def wanted_beside(facts: Facts, findings: Sequence[Finding]) -> tuple[str, ...]:
    """The distributions beside flash-attn that findings ask for. For AMD's GPUs nobody publishes causal-conv1d."""
    names = dict.fromkeys(name for f in findings if f.code in MENDED_BESIDE for name in f.context.get("missing") or (FLA,))
    return tuple(name for name in names if name == FLA or not on_rocm(facts))


def choose_beside(config: ResolvedConfig, facts: Facts, *, offline: bool = False, say: Say) -> Choice:
    """The wheel of causal-conv1d for the machine of `facts`: the lock's, else the best of its project's and of what the config
    names beside GitHub. Raises InstallError and ConfigError."""
    row, section, environment = CAUSAL_CONV1D, config.flash_attn, {**os.environ, **config.env}
    own = (f"github:{CAUSAL_CONV1D_AT}", *(s for s in section.sources if not s.startswith("github:") and may_offer(s, row)))
    section, facts = replace(section, version=None, build="never", sources=own), _with_cards_used(config, facts)
    pinned = _locked_beside(config, row.distribution)
    if pinned and (named := lock_candidate(pinned)):
        return _choose_named(named, facts, section, row.names[0], environment, named.filename, say)
    return _choose_offered(facts, section, row.names[0], offline, environment, say)


def plan_beside(config: ResolvedConfig, facts: Facts, *, offline: bool = False, say: Say) -> dict[str, Choice | None]:
    """What would be installed beside flash-attn for the config's model: each with its wheel, None for what pip finds."""
    from swift_fa_launcher.preflight.checks import check_all

    findings = check_all(config, facts) if config.swift.get("model") else ()
    return {name: choose_beside(config, facts, offline=offline, say=say) if name != FLA else None
            for name in wanted_beside(facts, findings)}


def _locked_beside(config: ResolvedConfig, name: str) -> LockedBeside | None:
    lock = read_lock(config)
    return lock.beside.get(name) if lock else None


def install_beside(config: ResolvedConfig, facts: Facts, findings: Sequence[Finding], voice: Voice) -> dict[str, str]:
    """Installs what stands beside flash-attn and the findings ask for; name to version of what came. Raises InstallError where a
    finding blocks that it would mend; of what only makes the training faster it says why it could not be had."""
    from swift_fa_launcher.findings.finding import blocking
    from swift_fa_launcher.wheels.beside import install_beside as add

    came, must = dict[str, str](), wanted_beside(facts, blocking(findings))
    for name in wanted_beside(facts, findings):
        try:
            if name == CAUSAL_CONV1D.distribution:
                came[name] = install(config, facts, choose_beside(config, facts, say=voice.say), voice).version
            else:
                pinned = _locked_beside(config, name)
                came |= add([f"{name}=={pinned.version}" if pinned else name], _python(config, facts),
                            {**os.environ, **config.env}, voice.say)
        except InstallError as error:
            if name in must:
                raise
            voice.say(titled(error.message, error.why))
    return came


def wished_config(config: ResolvedConfig, wish: Wish) -> ResolvedConfig:
    """The config with the command line's wishes in its `flash_attn` section.

    Raises ConfigError for a version or a mirror that is none.
    """
    section = config.flash_attn
    wrong = next((m for m in wish.mirrors or section.mirrors if not is_mirror(m)), None)
    if wrong is not None:
        raise ConfigError("mirror-invalid",
                          Text(f"{wrong!r} is not a mirror; give a URL prefix or `direct`",
                               f"{wrong!r} 不是镜像，请给出地址前缀或 `direct`"),
                          where="--mirror" if wish.mirrors else f"{config.origin('flash_attn.mirrors')}: flash_attn.mirrors",
                          hint=("--mirror https://ghproxy.net/" if wish.mirrors else
                                "'flash_attn.mirrors=[https://ghproxy.net/,direct]'",))
    parse_wish(wish.version or section.version,
               "--version" if wish.version else f"{config.origin('flash_attn.version')}: flash_attn.version")
    return replace(config, flash_attn=replace(
        section, version=wish.version or section.version, build=wish.build or section.build,
        sources=wish.sources or section.sources, mirrors=wish.mirrors or section.mirrors))


def choose(config: ResolvedConfig, facts: Facts, wish: Wish = Wish(), *, say: Say) -> Choice:
    """The wheel for the machine of `facts`: the user's, else the lock's beside the config, else the best of the sources.

    Raises InstallError and ConfigError; installs nothing.
    """
    config = wished_config(config, wish)
    section, environment = config.flash_attn, {**os.environ, **config.env}
    wanted = config.swift.attn_impl
    implementation = wanted if wanted in (*FA3.names, *FA4.names) else FA2.names[0]
    facts = _with_cards_used(config, facts)
    named = user_candidate(wish.wheel) if wish.wheel else _locked_wheel(config, wish)
    if named:
        return _choose_named(named, facts, section, implementation, environment, wish.wheel or named.filename, say)
    if section.build == "always":
        section = _buildable(section, implementation, say)
    if section.build == "always":
        built = choose_wheel(facts, (), implementation=implementation, version=section.version, build=section.build)
        return Choice(_as_build(built, facts, section), (), section, implementation, section.version, environment=environment)
    capabilities = [c for gpu in known(facts.gpus) or () if (c := known(gpu.compute_capability)) is not None]
    sources = [s for s in section.sources if wish.sources or may_offer(s, BY_NAME[implementation], capabilities)]
    return _choose_offered(facts, replace(section, sources=tuple(sources)), implementation, wish.offline, environment, say)


def _choose_named(named: Candidate, facts: Facts, section: FlashAttnSection, implementation: str, environment: Mapping[str, str],
                  called: str, say: Say) -> Choice:
    """One wheel, or none."""
    reasons = _proven_reasons(named, facts, implementation, say)
    resolution = choose_wheel(facts, [named], implementation=implementation, build="never", mirrors=section.mirrors,
                              allow_unverified=section.allow_unverified)
    return Choice(_without(resolution, reasons), (), section, implementation, None, called, reasons, environment)


def _choose_offered(facts: Facts, section: FlashAttnSection, implementation: str, offline: bool, environment: Mapping[str, str],
                    say: Say) -> Choice:
    """The best of what the section's sources offer."""
    torch = facts.torch
    reports = read_sources(section.sources, implementation=implementation, cuda=torch.cuda if isinstance(torch, Torch) else torch,
                           network=Network(offline=offline, environment=environment), say=say)
    offered = [candidate for report in reports for candidate in report.candidates]
    resolution = choose_wheel(facts, offered, implementation=implementation, version=section.version, build=section.build,
                              mirrors=section.mirrors, allow_unverified=section.allow_unverified)
    resolution = explain(resolution, facts, reports, implementation=implementation, version=section.version)
    for report in reports:
        if report.error and resolution.plan != "none":  # else the remarks have it
            say(titled(report.spec, report.error))
    return Choice(resolution, reports, section, implementation, section.version, environment=environment)


def _as_build(resolution: Resolution, facts: Facts, section: FlashAttnSection) -> Resolution:
    """What a build here would be, or why there is none."""
    from swift_fa_launcher.wheels.build import make_build_plan, render_build_plan

    try:
        plan = make_build_plan(facts, section)
    except InstallError as error:
        return impossible_build(resolution, error)
    return replace(resolution, remarks=(render_build_plan(plan),))


def _buildable(section: FlashAttnSection, implementation: str, say: Say) -> FlashAttnSection:
    """The section where a build is asked for: of FlashAttention 4 there is nothing to build, of 3 we cannot."""
    if implementation in FA3.names:
        from swift_fa_launcher.wheels.build import fa3_not_built

        raise fa3_not_built()
    if implementation in FA4.names:
        say(Text("FlashAttention 4 is pure Python: there is nothing to build, so its wheel is used",
                 "FlashAttention 4 是纯 Python：无需编译，直接使用其 wheel"))
        return replace(section, build="never")
    return section


def look(config: ResolvedConfig, say: Say) -> Facts:
    """This machine, as far as an installation needs to know it."""
    from swift_fa_launcher.machine.collect import collect_facts  # here, since a choice for saved facts needs none of it

    return collect_facts(config, offline=True, probe=False, say=say)


def user_candidate(wheel: str) -> Candidate:
    """The candidate that a file or URL of the user's names."""
    from swift_fa_launcher.wheels.listing import split_digest

    address, digest = split_digest(wheel)
    if "://" in address:
        return Candidate(unquote(urlsplit(address).path.rpartition("/")[2]), address, "user", digest)
    path = expand_user(address).absolute()
    return Candidate(path.name, path.as_uri(), "user", digest,
                     path.stat().st_size if path.is_file() else None)


def install(config: ResolvedConfig, facts: Facts, choice: Choice, voice: Voice) -> Receipt:
    """Fetch, prove and install what was chosen, and try it as the training would use it. Raises InstallError."""
    from swift_fa_launcher.wheels.build import make_build_plan
    from swift_fa_launcher.wheels.download import AllRefused
    from swift_fa_launcher.wheels.obtain import install_flash_attn

    python, facts = _python(config, facts), _with_cards_used(config, facts)
    if choice.section.build == "always" and choice.resolution.plan == "none":
        make_build_plan(facts, choice.section)  # says why not
    for line in choice.resolution.remarks if choice.resolution.plan == "wheel" else ():
        voice.say(line)
    if choice.refusals:
        why = joined((titled(code, words) for code, words in choice.refusals), by="\n       ")
        raise AllRefused("wheel-refused", "", where=choice.wheel, why=why)
    return install_flash_attn(facts, choice.resolution, python, _means(choice, voice),
                              probe=_probe(config, facts, choice.implementation, python, voice.say))


def _probe(config: ResolvedConfig, facts: Facts, implementation: str, python: str, say: Say) -> Probe | None:
    """What tries an installation on the GPUs; None where there is none."""
    gpus = known(facts.gpus)
    if not gpus:
        return None
    return partial(_what_is_wrong, config, say) if implementation in BY_NAME else \
        partial(_what_is_wrong_beside, config, gpus, CAUSAL_CONV1D.module, python)


def recover(facts: Facts, say: Say) -> bool:
    """Undo what an interrupted installation left in the training environment; whether there was anything."""
    from swift_fa_launcher.wheels.install import recover_environment

    site = site_packages(facts)
    if site is None or not recover_environment(site):
        return False
    say(Text("undid an interrupted installation of flash-attn", "已撤销一次中断的 flash-attn 安装"))
    return True


def download(facts: Facts, choice: Choice, into: Path, voice: Voice, *, offline: bool) -> tuple[Obtained, tuple[Path, ...]]:
    """Fetch and prove for the machine of `facts`, and leave the file in `into`; (it, the files that it needs beside it)."""
    from swift_fa_launcher.wheels.obtain import elsewhere, fetch_beside, obtain_wheel

    if choice.section.build == "always":
        raise InstallError("options-conflict",
                           Text("--download-only fetches ready-made wheels and builds nothing",
                                "--download-only 只下载现成的 wheel，不编译"),
                           hint=(Text("leave out --from-source", "去掉 --from-source"),
                                 Text("or, where the config sets it: flash_attn.build=auto",
                                      "或改掉配置中的设置：flash_attn.build=auto")))
    means = _means(choice, voice)
    obtained = obtain_wheel(elsewhere(facts), choice.resolution, means, into=into)
    return obtained, () if offline else fetch_beside(facts, obtained, means).files


def _means(choice: Choice, voice: Voice) -> Means:
    from swift_fa_launcher.wheels.obtain import Means

    return Means(choice.section, choice.implementation, choice.version, progress=voice.download, build_progress=voice.build,
                 read_log=_cause, environment=choice.environment, say=voice.say)


def _cause(log: Path, code: int) -> tuple[Words, tuple[Words, ...]] | None:
    """The first cause that a failed build's log shows, and what mends it."""
    from swift_fa_launcher.diagnose.diagnosis import diagnose_file

    found = next((d for d in diagnose_file(log, exit_code=code) if d.code != "unknown"), None)
    return (found.summary, found.fix) if found else None


def write_lock(config: ResolvedConfig, facts: Facts, choice: Choice, receipt: Receipt, came: Mapping[str, str]) -> Path:
    """Write the exact URL and digest beside the last config file, and the versions of what stands beside; its path. came: of
    that, what was installed just now."""
    _expect_config(config)
    tried = (*choice.resolution.ranked, *choice.resolution.to_prove)
    offered = next((c for c in tried if c.filename == receipt.filename), None)
    candidate = offered or Candidate(receipt.filename, receipt.url, "installed")
    lock = make_lock(candidate, facts, implementation=choice.implementation, sha256=receipt.sha256,
                     beside=dict(_standing_beside(facts, came)))
    return _write_lock(config, lock)


def write_kernel_lock(config: ResolvedConfig, facts: Facts) -> Path:
    """Write the commit of the hub kernel in the facts beside the last config file; its path."""
    _expect_config(config)
    kernel = known(facts.hub_kernel)
    assert kernel is not None
    wheel = make_lock(Candidate("", "", ""), facts, implementation=FA2.names[0], sha256="")
    return _write_lock(config, replace(wheel, kernel=LockedKernel(str(kernel.repo), str(kernel.revision)),
                                       beside=dict(_standing_beside(facts, {}))))


def _expect_config(config: ResolvedConfig) -> None:
    if not config.files:
        raise UsageError("config-not-named",
                         Text("--lock needs a config: the lock is written beside it",
                              "--lock 需要一个配置文件：锁定文件写在它旁边"),
                         hint=("swift-fa install --lock swift-fa:qwen7b",))


def _write_lock(config: ResolvedConfig, lock: Lock) -> Path:
    path = lock_path(config.files[-1])
    with refused_as(InstallError("lock-not-written", where=str(path))):
        write_whole(path, render_lock(lock))
    return path


def with_hub_kernel(config: ResolvedConfig, facts: Facts, way: str, say: Say, pinned: str | None = None) -> Facts:
    """The facts with what is known of the hub kernel: of the commit that is `pinned`, else of the lock's, else of any. way: as in
    `collect_hub_kernel`."""
    from swift_fa_launcher.machine.hub_kernel import collect_hub_kernel

    lock = read_lock(config)
    pinned = pinned or (lock.kernel.revision if lock and lock.kernel else None)
    environment = {**os.environ, **config.env}
    return replace(facts, hub_kernel=collect_hub_kernel(config, facts, way, environment, Path.cwd(), say, pinned))


def fetch_kernel(config: ResolvedConfig, facts: Facts, way: str, say: Say) -> Facts:
    """The facts with a hub kernel that can be had ("ask") or lies in the cache ("fetch", "cached"). Raises InstallError."""
    from swift_fa_launcher.flash.provider import why_not_kernel

    facts = with_hub_kernel(config, facts, way, say)
    kernel = known(facts.hub_kernel)
    if kernel is None or not (kernel.cached or (way == "ask" and kernel.builds)):
        why = next(why_not_kernel(config, facts), None) or str(facts.hub_kernel)
        raise InstallError("kernel-missing", where=config.launch.python or sys.executable, why=why,
                           hint=("flash_attn.provider=auto",))
    return facts


def _standing_beside(facts: Facts, came: Mapping[str, str]) -> Iterator[tuple[str, LockedBeside]]:
    from swift_fa_launcher.wheels.install import read_receipt

    site = site_packages(facts)
    for name in (FLA, CAUSAL_CONV1D.distribution):
        version = came.get(name) or str(facts.package(name) or "")
        receipt = read_receipt(site, name) if site and name != FLA else None
        if receipt and receipt.version.partition("+")[0] == version.partition("+")[0]:  # METADATA may lack the label
            yield name, LockedBeside(receipt.version, receipt.filename, receipt.url, receipt.sha256)
        elif version:
            yield name, LockedBeside(version)


def read_lock(config: ResolvedConfig) -> Lock | None:
    """The lock beside the last config file; None where there is none. Raises ConfigError."""
    path = lock_path(config.files[-1]) if config.files else None
    if path is None or not path.exists():
        return None
    with refused_as(ConfigError("lock-unreadable", where=str(path))):
        return parse_lock(path.read_text("utf-8", "replace"), str(path))


def _locked_wheel(config: ResolvedConfig, wish: Wish) -> Candidate | None:
    """The lock's candidate, where the command line asks for nothing else."""
    lock = None if wish.version or wish.build or wish.sources else read_lock(config)
    return lock_candidate(lock) if lock else None


def _proven_reasons(candidate: Candidate, facts: Facts, implementation: str,
                    say: Say) -> tuple[tuple[str, Words], ...]:
    """What a wheel that lies on this machine says against itself; none where it is still to be fetched."""
    place = Path(unquote(urlsplit(candidate.url).path))
    if not candidate.url.startswith("file:"):
        return ()
    if not place.is_file():
        if place.suffix != ".whl":
            raise InstallError("wheel-unreadable", Text(f"there is no file {place}", f"文件 {place} 不存在"))
        say(Text(f"{place} does not exist: checked by its name only", f"{place} 不存在：仅根据文件名判断"))
        return ()
    from swift_fa_launcher.wheels.prove import prove_wheel

    return prove_wheel(place, facts, implementation=implementation).reasons


def _without(resolution: Resolution, reasons: Sequence[tuple[str, Words]]) -> Resolution:
    """The resolution of one candidate, which its own content may condemn although its name does not."""
    if not reasons or resolution.chosen is None:
        return resolution
    return Resolution(None, (), (Verdict(resolution.chosen, False, *reasons[0]),), "none")


def _with_cards_used(config: ResolvedConfig, facts: Facts) -> Facts:
    used = visible_gpus(config, facts).gpus
    return facts if used is None or not facts.gpus else replace(facts, gpus=used)


def _python(config: ResolvedConfig, facts: Facts) -> str:
    named = config.launch.python or sys.executable
    if known(facts.python) is None:
        raise InstallError("interpreter-silent", where=named)
    return interpreter(facts) or named


def _what_is_wrong(config: ResolvedConfig, say: Say, more: Mapping[str, str]) -> Words | None:
    """The first reason why the flash-attn that stands there now would not do, as the preflight sees it. more: variables."""
    from swift_fa_launcher.findings.finding import ERROR
    from swift_fa_launcher.findings.table import AREA_OF
    from swift_fa_launcher.machine.collect import collect_facts
    from swift_fa_launcher.preflight.checks import check_all

    facts = collect_facts(replace(config, env={**config.env, **more}), offline=True, say=say)
    wrong = [f for f in check_all(config, facts) if f.severity is ERROR and AREA_OF[f.code] == "flash-attn"]
    return wrong[0].summary if wrong else None


def _what_is_wrong_beside(config: ResolvedConfig, gpus: Sequence[Gpu], module: str, python: str, more: Mapping[str, str],
                          ) -> Words | None:
    """The first reason why a module beside flash-attn would not do: it is run on each GPU, against float32."""
    from swift_fa_launcher.machine.probe import Job, run_probe

    job = Job(python=python, module=module, gpus=tuple(gpus), driver=None, dtype="bfloat16", head_dims=())
    tried = run_probe(job, {**os.environ, **config.env, **more}, Path("/"), config.preflight.timeout)
    bad = next((device for device in tried.devices if not device.ok), None)
    if wrong := known(tried.torch_error) or known(tried.import_error) or (bad and (known(bad.error) or known(bad.max_error))):
        return Text(f"{module} was run on the GPU: {wrong}", f"在 GPU 上试运行 {module}：{wrong}")
    return None if tried.devices else Text(f"{module} could not be run on the GPU", f"无法在 GPU 上试运行 {module}")
