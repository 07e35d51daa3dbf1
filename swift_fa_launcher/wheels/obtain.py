"""From a resolution to a receipt: each wheel that fits is fetched, proven and installed in turn, until one runs.

What was refused on the way, and why, is said; where none runs the error has all of it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from swift_fa_launcher.cache import cache_dir
from swift_fa_launcher.config.schema import FlashAttnSection
from swift_fa_launcher.decode import Unknown
from swift_fa_launcher.errors import InstallError, Say, Text, Words, joined, titled
from swift_fa_launcher.flash.hosts import mirror_urls, shown_url
from swift_fa_launcher.flash.implementations import FA2, FA3, IN_WHEELS
from swift_fa_launcher.flash.name import Candidate, parse_claims
from swift_fa_launcher.machine.facts import Facts, Torch
from swift_fa_launcher.machine.reading import torch_version
from swift_fa_launcher.wheels.build import FA3_BUILD, ReadLog, make_build_plan, run_build
from swift_fa_launcher.wheels.build import Progress as BuildProgress
from swift_fa_launcher.wheels.choose import Resolution
from swift_fa_launcher.wheels.companions import Companions, copy_into, fetch_companions
from swift_fa_launcher.wheels.download import AllRefused, Fetched, Patience, Progress, Refused, download_wheel
from swift_fa_launcher.wheels.install import NotRunning, Probe, Receipt, install_wheel, run_tool
from swift_fa_launcher.wheels.prove import Proof, prove_wheel

#: Wheels that are tried: each may be a download of 200 MB.
MOST_TRIED = 5
FETCH_SECONDS = 900.0  # for what a wheel needs beside itself; FlashAttention 4 brings 300 MB


@dataclass(frozen=True)
class Obtained:
    """A wheel on disk, proven for the machine that it is meant for."""

    candidate: Candidate
    fetched: Fetched
    proof: Proof


@dataclass(frozen=True)
class Means:
    """How wheels are fetched and shown; the same for every step. implementation, version: as the config wants them."""

    section: FlashAttnSection = FlashAttnSection()
    implementation: str = "flash_attn"
    version: str | None = None
    cache: Path | None = None  # None: the launcher's own
    patience: Patience = Patience()
    progress: Progress | None = None
    build_progress: BuildProgress = lambda step, steps, line: None
    read_log: ReadLog = lambda log, code: None  # of a build that failed
    environment: Mapping[str, str] = field(default_factory=lambda: {**os.environ}, repr=False)  # of the training
    say: Say = lambda words: None


def install_flash_attn(facts: Facts, resolution: Resolution, python: str, means: Means, *,
                       probe: Probe | None = None) -> Receipt:
    """The best wheel of the resolution that turns out sound and runs, else one built from source where that is planned.

    facts: of the machine where `python`, the training interpreter, is. A lock or a wheel named by the user is a resolution
    with that one candidate, made with `build="never"`. Raises AllRefused, or InstallError where the environment itself
    is what is wrong; it is as it was then.
    """
    refused: list[Refused] = []
    near = resolution.to_prove if probe else ()  # what symbols do not tell, a run does
    for obtained in _obtain_each(facts, (*resolution.ranked, *near), means, refused):
        verified = ("sha256",) if obtained.fetched.verified else ()
        if obtained.candidate in near:
            means.say(_outweighs_its_label(obtained.candidate, facts))
        try:
            return install_wheel(obtained.fetched.path, python, url=obtained.fetched.url, sha256=obtained.fetched.sha256,
                                 proven=(*verified, *obtained.proof.shown), environment=means.environment, probe=probe,
                                 say=means.say)
        except NotRunning as error:
            refused.append(Refused(obtained.candidate.filename, "flash-attn-import-failed", titled(error.message, error.why)))
            means.say(titled(obtained.candidate.filename, refused[-1].reason))
    if "source-build" in (resolution.plan, resolution.otherwise):
        means.say(Text("building from source", "从源码编译"))
        return _build_and_install(facts, python, means, probe)
    raise _nothing(resolution, refused, means.implementation)


def _outweighs_its_label(candidate: Candidate, facts: Facts) -> Words:
    built, here = parse_claims(candidate).torch, torch_version(facts)
    return Text(f"{candidate.filename} is labelled for torch {built}, and proven for {here}: torch has every symbol that it "
                "needs, and its glibc, CUDA and GPU code fit; the run on the GPU is still to come",
                f"{candidate.filename} 标明适用于 torch {built}，已证实可用于 {here}：torch 有它需要的全部符号，glibc、CUDA 和 "
                "GPU 代码也相符；接下来在 GPU 上试运行")


def obtain_wheel(facts: Facts, resolution: Resolution, means: Means, *, into: Path) -> Obtained:
    """The best wheel of the resolution that turns out sound for the machine of `facts`, installed nowhere.

    facts: may be of another machine, whose torch is not looked for here then (`elsewhere`). into: a folder that gets it
    under its own name. Raises AllRefused.
    """
    refused: list[Refused] = []
    for obtained in _obtain_each(facts, resolution.ranked, means, refused):
        try:
            into.mkdir(parents=True, exist_ok=True)
            target = copy_into(obtained.fetched.path, into)
        except OSError as error:
            raise InstallError("wheel-not-written", Text("the wheel cannot be written", "无法写入 wheel"), where=str(into),
                               why=str(error)) from error
        return replace(obtained, fetched=replace(obtained.fetched, path=target))
    raise _nothing(resolution, refused, means.implementation)


def fetch_beside(facts: Facts, obtained: Obtained, means: Means) -> Companions:
    """What the wheel needs beside itself on the machine of `facts`, into the wheel's folder; says what could not be had."""
    folder = obtained.fetched.path.parent
    found = fetch_companions(obtained.proof.requires, facts, folder,
                             lambda command: run_tool(command, means.environment, folder, FETCH_SECONDS), means.say)
    names = shlex.join(found.names)
    if found.failure:
        by_hand = f"pip download --no-deps {names} --dest {folder}"
        means.say(Text(f"flash-attn also needs {names}, which could not be downloaded: {found.failure}; download by "
                       f"hand: {by_hand}",
                       f"flash-attn 还需要 {names}，但下载失败：{found.failure}；手动下载：{by_hand}"))
    return found


def elsewhere(facts: Facts) -> Facts:
    """Facts of another machine: its torch's folder is not to be looked for on this one."""
    away = Unknown("the facts are another machine's")
    return replace(facts, torch=replace(facts.torch, origin=away)) if isinstance(facts.torch, Torch) else facts


def _obtain_each(facts: Facts, candidates: Sequence[Candidate], means: Means, refused: list[Refused]) -> Iterator[Obtained]:
    """Each candidate that can be had and proves sound; the others go to `refused`."""
    distinct: dict[str, Candidate] = {}
    for candidate in candidates:
        distinct.setdefault(candidate.sha256 or candidate.url, candidate)
    for candidate in list(distinct.values())[:MOST_TRIED]:
        means.say(Text(f"downloading {candidate.filename}", f"下载 {candidate.filename}"))
        try:
            addresses = mirror_urls(candidate.url, means.section.mirrors)
            fetched = download_wheel(candidate, addresses, means.cache or cache_dir(),
                                     allow_unverified=means.section.allow_unverified, progress=means.progress,
                                     patience=means.patience, environment=means.environment)
        except AllRefused as error:
            if not error.refused:
                raise  # the disk, or a name that is none
            refused += [Refused(candidate.filename, r.code, titled(r.what, r.reason)) for r in error.refused]
            means.say(titled(candidate.filename, error.refused[-1].reason))
            continue
        if not fetched.verified:
            means.say(Text(f"{candidate.filename} could not be verified; using it anyway (flash_attn.allow_unverified=true)",
                           f"无法验证 {candidate.filename}，仍然使用（flash_attn.allow_unverified=true）"))
        proof = prove_wheel(fetched.path, facts, implementation=means.implementation, version=means.version)
        if not proof.ok:
            refused += [Refused(candidate.filename, code, words) for code, words in proof.reasons]
            means.say(titled(candidate.filename, proof.reasons[0][1]))
            continue
        yield Obtained(candidate, fetched, proof)


def _build_and_install(facts: Facts, python: str, means: Means, probe: Probe | None) -> Receipt:
    plan = make_build_plan(facts, means.section)
    wheel = run_build(plan, python, means.cache or cache_dir(), environment=means.environment,
                      progress=means.build_progress, say=means.say, read_log=means.read_log)
    proof = prove_wheel(wheel, facts, implementation=means.implementation)
    if not proof.ok:
        raise AllRefused("wheel-refused", Text("the built wheel does not fit this machine", "编译出的 wheel 不适用于本机"),
                         [Refused(wheel.name, code, words) for code, words in proof.reasons], where=str(wheel),
                         why=proof.reasons[0][1])
    return install_wheel(wheel, python, url=f"built from source: {plan.requirement}", proven=proof.shown,
                         environment=means.environment, probe=probe, say=means.say)


def _nothing(resolution: Resolution, refused: Sequence[Refused], implementation: str) -> AllRefused:
    """The error that says of every wheel why it was not taken; of those never tried, the nearest."""
    if not refused:
        near = [v for v in resolution.verdicts if v.code not in (None, "not-a-wheel", "implementation-mismatch")]
        shown = near or (() if resolution.remarks else resolution.verdicts)
        refused = [Refused(v.candidate.filename, v.code or "", v.reason) for v in shown[:3]]
    lines: list[Words] = [titled(f"{r.what}: {r.code}", r.reason) for r in refused]
    remarks = () if resolution.plan == "wheel" else resolution.remarks
    if remarks or not lines:
        said = remarks or (Text("no source offers a wheel", "没有来源提供 wheel"),)
        lines = [*said, *lines]
    why = joined(lines, by="\n       ")
    hints: list[Words] = ["swift-fa install --dry-run"]
    if resolution.ranked:
        hints.append(Text("install a wheel that you downloaded elsewhere: swift-fa install --wheel FILE",
                          "安装在别处下载的 wheel：swift-fa install --wheel FILE"))
    how = FA3_BUILD if implementation in FA3.names else ("swift-fa install --from-source",) if implementation in FA2.names else ()
    hints += resolution.advice or how
    where = shown_url(resolution.ranked[0].url) if resolution.ranked else ""
    name = IN_WHEELS[implementation].distribution
    return AllRefused("wheel-not-found", Text(f"no {name} wheel could be installed", f"没有能安装的 {name} wheel"),
                      refused, where=where, why=why, hint=tuple(hints))
