"""Which of the offered wheels to install, and why not the others. Pure: facts and names in, a resolution out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.version import Version

from swift_fa_launcher.decode import Unknown, known
from swift_fa_launcher.errors import Text, Words, joined, render_words
from swift_fa_launcher.flash.building import why_not_built
from swift_fa_launcher.flash.fits import (
    CODES,
    NOTHING_READ,
    Misfit,
    Need,
    WheelContents,
    is_of_other_torch,
    is_official,
    is_stable,
    make_need,
    may_be_proven,
    may_lack_code,
    misfits,
    unverified,
)
from swift_fa_launcher.flash.implementations import FA2
from swift_fa_launcher.flash.name import Candidate, WheelName, WheelNameError, parse_claims, without_password
from swift_fa_launcher.layout import advice, fill
from swift_fa_launcher.machine.facts import Facts

_Named = tuple[Candidate, WheelName]


@dataclass(frozen=True)
class Verdict:
    """One line per candidate; code is None where it was accepted."""

    candidate: Candidate
    accepted: bool
    code: str | None
    reason: Words


@dataclass(frozen=True)
class Resolution:
    """The choice and its trace.

    ranked: all that fit, best first, so that the installer can try the next. verdicts: one per candidate, best first;
    of those passed over, the ones that came nearest first. plan: "wheel", "source-build" or "none". remarks: what else
    is to be said of the plan, one sentence each. advice: what to do, one line or command each. to_prove: where none fits by
    its label, the best of each neighbouring torch, nearest first; it is taken if its symbols and a run on the GPU speak for it.
    otherwise: the plan where none of these does.
    """

    chosen: Candidate | None
    ranked: tuple[Candidate, ...]
    verdicts: tuple[Verdict, ...]
    plan: str
    remarks: tuple[Words, ...] = ()
    advice: tuple[Words, ...] = ()
    to_prove: tuple[Candidate, ...] = ()
    otherwise: str = "none"


def choose_wheel(facts: Facts, candidates: Sequence[Candidate], *, implementation: str = "flash_attn",
                 version: str | None = None, build: str = "auto", mirrors: Sequence[str] = (),
                 allow_unverified: bool = False, contents: Mapping[str, WheelContents] | None = None) -> Resolution:
    """The best of `candidates` for the machine of `facts`, and a verdict on each: the first reason that holds.

    version: exact, a range of PEP 440, or None for the best that fits. build: `flash_attn.build`; "never" where the
    user named the wheel. contents: by file name, what a wheel's file was found to hold. Cards that the training will
    not use are to be left out of `facts.gpus`.

    Best means, in this order: torch's minor in its label; nothing known that speaks against it; CUDA's minor equal to
    torch's; an ABI that is named or goes without saying; the highest version; CUDA's nearest minor; a digest; the order in
    which it was offered.
    Raises ConfigError for a version that is none, InstallError where the facts do not say enough to choose.
    """
    need = make_need(facts, implementation, version, mirrors, allow_unverified)
    inside = contents or {}
    fitting: list[_Named] = []
    near: list[_Named] = []
    passed: defaultdict[str, list[Verdict]] = defaultdict(list)
    seen: dict[str, tuple[WheelName | None, Misfit | None, bool]] = {}  # a list offers many files more than once
    for candidate in candidates:
        key = candidate.filename if "+" in candidate.filename else candidate.url
        if key not in seen:
            seen[key] = _judge(candidate, need, inside.get(candidate.filename, NOTHING_READ))
        claims, misfit, provable = seen[key]
        if (misfit is None or provable) and (words := unverified(candidate, need)):
            misfit, provable = ("unverified", words), False
        if misfit:
            passed[misfit[0]].append(Verdict(candidate, False, *misfit))
        if claims and (misfit is None or provable):
            (near if misfit else fitting).append((candidate, claims))
    ranked = tuple(candidate for candidate, _ in _rank(fitting, need, inside))
    nearest: dict[Version | None, Candidate] = {}  # of a torch's wheels all call the same of it
    for candidate, name in () if ranked or build == "always" else _rank(near, need, inside):
        nearest.setdefault(name.torch, candidate)
    plan = _make_plan(facts, bool(ranked or nearest), build, implementation, version)
    otherwise = _make_plan(facts, False, build, implementation, version) if nearest else "none"
    chosen = ranked[0] if ranked and plan == "wheel" else None
    verdicts = (*_verdicts_on_fitting(ranked, chosen), *(v for code in reversed(CODES) for v in passed[code]))
    return Resolution(chosen, ranked, verdicts, plan, to_prove=tuple(nearest.values()), otherwise=otherwise)


def choice_to_json(resolution: Resolution, lang: str = "en") -> dict[str, Any]:
    """The contract's form of `install --dry-run --json`, texts in `lang`."""
    chosen = resolution.chosen
    return {
        "schema": 1,
        "chosen": chosen and {"filename": chosen.filename, "url": without_password(chosen.url), "source": chosen.source,
                              "sha256": chosen.sha256},
        "candidates": [{"filename": v.candidate.filename, "accepted": v.accepted, "code": v.code,
                        "reason": render_words(v.reason, lang)} for v in resolution.verdicts],
        "plan": resolution.plan,
        **({"to_prove": [each.filename for each in resolution.to_prove]} if resolution.to_prove else {}),
        **({"remark": joined(resolution.remarks).render(lang),
            "advice": [render_words(line, lang) for line in resolution.advice]} if resolution.remarks else {}),
    }


_WARNING = Text("warning: ", "警告：")
_NO_WHEEL: Mapping[str, Words] = {
    "source-build": Text("no wheel is used: flash-attn will be built from source",
                         "不使用 wheel：将从源码编译 flash-attn"),
    "none": Text("no wheel fits", "没有合适的 wheel"),
    "wheel": Text("no wheel is labelled for this torch; these, for a neighbouring one, are tried in turn, and one is taken only "
                  "if its symbols, glibc, CUDA and GPU code fit and a run on the GPU succeeds:",
                  "没有标明适用于此 torch 的 wheel；将依次尝试以下相邻版本的 wheel，只有符号、glibc、CUDA 和 GPU 代码都相符、"
                  "且在 GPU 上试运行成功才会采用："),
}


def render_choice(resolution: Resolution, lang: str = "en", width: int | None = None, limit: int = 5) -> str:
    """The choice as text: the chosen wheel, then for each code how many were passed over, and `limit` of them."""
    lines, remarks = list[str](), [render_words(line, lang) for line in resolution.remarks]
    if chosen := resolution.chosen:
        digest: Words = chosen.sha256 or Text("none given", "未给出")
        lines += [chosen.filename, f"  {without_password(chosen.url)}", f"  sha256: {render_words(digest, lang)}"]
        lines += [fill(_WARNING.render(lang) + line, width, rest="  ") for line in remarks]
    else:
        asked = resolution.verdicts or resolution.plan != "none" or not remarks
        remarks = [*([render_words(_NO_WHEEL[resolution.plan], lang)] if asked else []), *remarks]
        lines += [fill(line, width, rest="  ") for line in remarks]
        lines += [f"  {candidate.filename}" for candidate in resolution.to_prove[:limit]]
    lines += [advice(line, lang, width) for line in resolution.advice]
    passed: defaultdict[str, list[Verdict]] = defaultdict(list)
    for verdict in resolution.verdicts:
        if verdict.code:
            passed[verdict.code].append(verdict)
    for code, verdicts in passed.items():
        others = [v for v in verdicts if not v.candidate.filename.endswith((".tar.gz", ".zip"))]  # nobody chooses among those
        archives = len(verdicts) - len(others)
        among = Text(f"  (source archives: {archives})", f"  （其中源码包 {archives} 个）").render(lang) if archives else ""
        lines.append(f"{code}: {len(verdicts)}{among}")
        lines += [fill(f"{v.candidate.filename}  {render_words(v.reason, lang)}", width, "  ", "      ") for v in others[:limit]]
        if more := max(0, len(others) - limit):
            lines.append(Text(f"  and {more} more", f"  另有 {more} 个").render(lang))
    return "\n".join(lines)


def _judge(candidate: Candidate, need: Need, contents: WheelContents) -> tuple[WheelName | None, Misfit | None, bool]:
    """(what a file claims, the first reason against it, whoever offers it, whether its symbols may outweigh that one)."""
    try:
        name = parse_claims(candidate)
    except WheelNameError as error:
        return None, ("not-a-wheel", error.message), False
    misfit = next(misfits(name, need, contents), None)
    return name, misfit, bool(misfit and misfit[0] == "torch-mismatch" and may_be_proven(name, need, contents))


def _rank(fitting: Sequence[_Named], need: Need, contents: Mapping[str, WheelContents]) -> list[_Named]:
    newest_first = {v: i for i, v in enumerate(sorted({name.version for _, name in fitting}, reverse=True))}

    def key(item: _Named) -> tuple[int, ...]:
        candidate, name = item
        distance = _cuda_distance(name.cuda, need.cuda)
        return (_torch_distance(name, need), _doubts(name, need, contents.get(candidate.filename, NOTHING_READ)), distance > 0,
                name.abi is None and not _has_one_abi(need), newest_first[name.version], distance,
                not is_stable(name), _platform_rank(name, need), candidate.sha256 is None)

    return sorted(fitting, key=key)  # stable: between equals the order of the sources decides


def _torch_distance(name: WheelName, need: Need) -> int:
    """0 for the same minor, or none named; then the older ones, nearest first: of a newer torch more may be asked."""
    if not is_of_other_torch(name, need) or name.torch is None or need.torch is None:
        return 0
    gap = need.torch.minor - name.torch.minor
    return gap if gap > 0 else 100 - gap


def _doubts(name: WheelName, need: Need, contents: WheelContents) -> int:
    """How many things speak against a wheel without proving anything; what was read leaves no doubt."""
    doubts = 0
    if isinstance(contents.undefined, Unknown) and isinstance(contents.unresolved, Unknown):
        unnamed = name.torch is None and "none" not in name.abis  # compiled for a torch that nobody named
        doubts += unnamed and not is_stable(name)
        doubts += _is_likely_of_other_abi(name, need)
    return doubts + (isinstance(contents.cubins, Unknown) and may_lack_code(name, need))


def _is_likely_of_other_abi(name: WheelName, need: Need) -> bool:
    """torch 2.6 is the release that pip has with both ABIs: the old one for CUDA 11.8 and 12.4, the new one for 12.6.

    A file without ABI label was built against the torch of its CUDA label. Dao-AILab's abiFALSE files from 2.8.0.post2
    on were built against 2.6.0+cu126: https://github.com/Dao-AILab/flash-attention/issues/1783
    """
    if need.abi is None or name.torch != Version("2.6") or name.cuda is None:
        return False
    if name.abi is None:
        return len(name.cuda.release) > 1 and (name.cuda >= Version("12.6")) is not need.abi
    return name.abi is False and is_official(name) and name.version >= Version("2.8.0.post2")


def _has_one_abi(need: Need) -> bool:
    """Whether this torch exists with one ABI only: on Windows, and from 2.7 on."""
    return need.os != "Linux" or (need.torch is not None and need.torch.release[:2] >= (2, 7))


def _cuda_distance(label: Version | None, torch: Version | None) -> int:
    """0 for the same minor, 1 where the label says only the major, then the nearest below, then the nearest above."""
    if label is None or torch is None:
        return 1000
    if len(label.release) == 1:
        return 1
    gap = torch.minor - label.minor
    return 0 if gap == 0 else 1 + gap if gap > 0 else 100 - gap


def _platform_rank(name: WheelName, need: Need) -> int:
    """Of two files of one build the plain `linux_…` one first, whose extension no tool has rewritten; on a host with a
    glibc older than the builders' (2.35, Ubuntu 22.04) the one whose manylinux tag promises to run there."""
    promises = any(p.startswith("manylinux") for p in name.platforms)
    return int(promises is not (need.glibc is not None and need.glibc < Version("2.35")))


def _verdicts_on_fitting(ranked: Sequence[Candidate], chosen: Candidate | None) -> Iterator[Verdict]:
    for candidate in ranked:
        words = Text("fits, but another fits better", "合适，但有更合适的")
        if candidate is chosen:
            words = Text("fits best", "最合适")
        elif chosen is None:
            words = Text("fits, but flash_attn.build=always", "合适，但 flash_attn.build=always")
        elif candidate.filename == chosen.filename:
            words = Text("a file of the same name was offered before", "同名文件前面已出现过")
        yield Verdict(candidate, candidate is chosen, None if candidate is chosen else "not-best", words)


def _make_plan(facts: Facts, found: bool, build: str, implementation: str, version: str | None) -> str:
    if found and build != "always":
        return "wheel"
    toolchain, torch = known(facts.toolchain), known(facts.torch)
    buildable = (known(facts.host.os) == "Linux" and torch is not None and torch.cuda is not None
                 and not (toolchain and toolchain.nvcc is None) and implementation in FA2.names
                 and (build == "always" or why_not_built(facts, version) is None))
    return "source-build" if build != "never" and buildable else "none"
