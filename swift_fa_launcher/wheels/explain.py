"""Why there is no wheel for a machine, said of the machine and of the sources that were asked, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename
from packaging.version import Version

from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import InstallError, Text, Words, in_both, render_words, titled
from swift_fa_launcher.findings.lines import FROM_ELSEWHERE, OR_SDPA
from swift_fa_launcher.flash.building import WANTS_CXX20, why_not_built
from swift_fa_launcher.flash.implementations import FA2, FA3, IN_WHEELS
from swift_fa_launcher.flash.name import WheelNameError, parse_wheel_name
from swift_fa_launcher.flash.versions import parse_wish
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.reading import has_cpu_torch, on_rocm, pip_install, torch_version
from swift_fa_launcher.wheels.choose import Resolution
from swift_fa_launcher.wheels.sources import SourceReport

_ARCHIVES = (".tar.gz", ".zip")
BUILD = Text("to build flash-attn: swift-fa install --from-source", "如需编译：swift-fa install --from-source")


def explain(resolution: Resolution, facts: Facts, reports: Sequence[SourceReport], *, implementation: str,
            version: str | None) -> Resolution:
    """The resolution with what there is to say beside its verdicts: of the machine first, then of the sources.

    Where no wheel was even offered nothing is built unasked: an hour of compiling is no answer to a network that is down.
    """
    hopeless = without_cuda(facts)
    if resolution.plan == "wheel":
        if not hopeless:
            return resolution
        said = in_both(lambda lang: hopeless[0].render(lang) + Text("; this wheel can be installed, but it cannot "
                                                                    "run here",
                                                                    "；这个 wheel 能安装，但在本机无法运行").render(lang))
        return replace(resolution, remarks=(said,), advice=hopeless[1])
    names = [candidate.filename for report in reports for candidate in report.candidates]
    buildable = resolution.plan == "source-build"
    remarks = [*((hopeless[0],) if hopeless else ()), *_offers(names, reports, unasked=buildable),
               *_version_offered(names, implementation, version)]
    why = why_not_built(facts, version) if implementation in FA2.names and not hopeless else None
    remarks += [why] if why else []
    advice: tuple[Words, ...] = hopeless[1] if hopeless else ()
    if not hopeless and any(report.error for report in reports):
        advice = FROM_ELSEWHERE
    elif why:
        version_here = torch_version(facts)
        older = version_here is not None and version_here.release[:2] >= WANTS_CXX20.release
        advice = ("flash_attn.provider=torch", *((pip_install(facts, f"torch<{WANTS_CXX20}"),) if older else ()), OR_SDPA)
    if implementation in FA3.names:
        how = "swift-fa install --from-source swift.attn_impl=flash_attention_3"
        remarks.append(Text(f"to build it by hand, see {how}", f"手动编译的方法见 {how}"))
    elif buildable:
        if any(name.endswith(".whl") for name in names):
            return resolution  # wheels are offered and none fits: what fits is built
        advice = (BUILD, *advice)
    return replace(resolution, plan="none", remarks=tuple(remarks), advice=advice)


def without_cuda(facts: Facts) -> tuple[Text, tuple[Words, ...]] | None:
    """That this torch is for no GPU, or that there is none, and what to do; None where it may be for one."""
    here = known(facts.gpus) == ()
    there_is_none = Text(" (this machine has none)", "（本机没有）") if here else Text("", "")
    version = torch_version(facts)
    if on_rocm(facts):
        said = Text("nobody publishes flash-attn wheels for AMD GPUs; it is built on the machine, with ROCm's compiler or Triton",
                    "没有人为 AMD GPU 发布 flash-attn 的 wheel；需要在本机用 ROCm 的编译器或 Triton 编译")
        return said, (Text("see how: swift-fa explain rocm-build", "方法见：swift-fa explain rocm-build"), OR_SDPA)
    if facts.torch is None:
        said = Text("torch is not installed in the training interpreter, and each flash-attn wheel is built for one torch",
                    "训练所用的 Python 里没有安装 torch，而每个 flash-attn wheel 只对应一个版本的 torch")
    elif has_cpu_torch(facts):
        said = Text(f"torch {version} is a build without CUDA, but flash-attn needs a CUDA build of torch and an NVIDIA GPU"
                    f"{there_is_none.en}",
                    f"torch {version} 不含 CUDA，而 flash-attn 需要 CUDA 版本的 torch 和 NVIDIA GPU{there_is_none.zh}")
    else:
        return None
    if here:
        elsewhere = Text("install it on a machine with a GPU and a CUDA build of torch",
                         "在有 GPU、装有 CUDA 版本 torch 的机器上安装")
        return said, (elsewhere, OR_SDPA)
    wanted = ("--force-reinstall", f"torch=={version.base_version}") if version else ("torch",)
    return said, (pip_install(facts, *wanted), OR_SDPA)


def impossible_build(resolution: Resolution, error: InstallError) -> Resolution:
    """The resolution of a machine that is asked to build and cannot."""
    return replace(resolution, plan="none", remarks=(error.message, *((error.why,) if error.why else ())), advice=error.hint)


def _offers(names: Sequence[str], reports: Sequence[SourceReport], *, unasked: bool) -> Iterator[Text]:
    silent = [report for report in reports if report.error and not report.candidates]
    archives = sum(name.endswith(_ARCHIVES) for name in names)
    if not any(name.endswith(".whl") for name in names):
        who = Text("the sources that answered offer", "有回应的来源") if silent else Text("the sources offer", "来源")
        end = Text("; add --from-source to build", "；加上 --from-source 可编译") if unasked else Text("", "")
        yield Text(f"{who.en} no wheel, only source archives ({archives}){end.en}",
                   f"{who.zh}只有源码包（{archives} 个），没有 wheel{end.zh}") if archives else \
            Text("no source offers a wheel", "没有来源提供 wheel")
    if not any(report.error for report in reports):
        return
    answered = ", ".join(report.spec for report in reports if report.candidates or not report.error)
    if answered:
        yield titled(Text("answered", "有回应"), answered)
    reasons: dict[Text, list[str]] = {}
    for report in reports:
        if report.error:
            reasons.setdefault(in_both(partial(render_words, report.error)), []).append(report.spec)
    for reason, specs in reasons.items():
        yield titled(", ".join(specs), reason)


def _version_offered(names: Sequence[str], implementation: str, version: str | None) -> Iterator[Text]:
    """That a version was asked for which none of those who answered has, and which they have."""
    wish, distribution = parse_wish(version), IN_WHEELS[implementation].distribution
    found = {found for name in names if (found := _version(name, distribution)) is not None}
    if version and found and not any(wish.takes(one, None, prereleases=True) for one in found):
        newest = max(found)
        yield Text(f"no source offers {distribution} {version}; the newest is {newest}",
                   f"没有来源提供 {distribution} {version}，最新的是 {newest}")


def _version(filename: str, distribution: str) -> Version | None:
    with suppress(WheelNameError, InvalidSdistFilename):
        if filename.endswith(_ARCHIVES):
            name, version = parse_sdist_filename(filename)
            return version if name == distribution else None
        wheel = parse_wheel_name(filename)
        return wheel.version if canonicalize_name(wheel.distribution) == distribution else None
    return None
