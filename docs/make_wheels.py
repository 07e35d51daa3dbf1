"""Writes docs/wheels.md: what is offered to each combination of torch, CUDA, Python, GPU and processor.

    python docs/make_wheels.py RELEASES.json [PAGE.html ...]

The lists are read from disk, as saved from GitHub's API or an index. Each combination is a machine's facts, made up; what it is
given is `choose_wheel`'s own answer, with the torch of the facts at hand and an nvcc of its CUDA. Nothing is downloaded: that a
wheel is what its name says shows when it is installed.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from swift_fa_launcher.flash.building import FIRST_NVCC
from swift_fa_launcher.flash.fits import make_need, may_lack_code
from swift_fa_launcher.flash.implementations import FA2, FA3
from swift_fa_launcher.flash.name import Candidate, parse_claims
from swift_fa_launcher.machine.facts import Driver, Facts, Gpu, Host, Python, Toolchain, Torch
from swift_fa_launcher.wheels.choose import choose_wheel
from swift_fa_launcher.wheels.sources import read_sources

#: The CUDAs that each torch is published with (download.pytorch.org), and its oldest and newest Python of those asked about.
TORCHES: Mapping[str, tuple[str, int, int]] = {
    "2.4": ("11.8 12.1 12.4", 10, 12), "2.5": ("11.8 12.1 12.4", 10, 12), "2.6": ("11.8 12.4 12.6", 10, 13),
    "2.7": ("11.8 12.6 12.8", 10, 13), "2.8": ("12.6 12.8 12.9", 10, 13), "2.9": ("12.6 12.8 13.0", 10, 14),
    "2.10": ("12.6 12.8 13.0", 10, 14), "2.11": ("12.6 12.8 13.0", 10, 14), "2.12": ("12.6 12.9 13.0 13.2", 10, 14),
    "2.13": ("12.6 13.0 13.2", 10, 14), "2.14": ("12.6 13.0 13.2", 10, 14), "2.15": ("13.0 13.2", 11, 14),
}
GPUS = ("8.0", "8.6", "8.9", "9.0", "10.0", "10.3", "11.0", "12.0", "12.1")
MACHINES = ("x86_64", "aarch64")
#: torch carries flash attention of its own from here on, and needs no wheel for it.
OWN_ATTENTION = Version("2.10")

ANSWERS = ("wheel", "wheel, GPU code to be seen", "neighbour, to be proven", "FlashAttention 3", "build", "refused")


@dataclass(frozen=True)
class Combination:
    torch: str
    cuda: str
    python: int  # the minor
    gpu: str
    machine: str

    @property
    def facts(self) -> Facts:
        """A machine of this kind that has what a choice may ask for, transformers aside."""
        torch, cuda = Version(self.torch), Version(self.cuda)
        new_abi = torch >= Version("2.7") or (torch == Version("2.6") and cuda >= Version("12.6"))
        abi = f"cp3{self.python}"
        return Facts(
            host=Host(os="Linux", machine=self.machine, glibc=Version("2.39")),
            python=Python(version=Version(f"3.{self.python}.1"), implementation="CPython", abi=abi),
            torch=Torch(version=Version(f"{torch}.0+cu{cuda.major}{cuda.minor}"), cuda=cuda, hip=None, cxx11_abi=new_abi,
                        origin="/environment/torch"),
            gpus=(Gpu(0, compute_capability=Version(self.gpu)),), driver=Driver(version=Version("580.95"), cuda=Version("13.2")),
            toolchain=Toolchain(nvcc=cuda), packages={"transformers": Version("4.57.6")})


def combinations() -> Iterator[Combination]:
    """All that exist: torch is published so, and its CUDA has code for the GPU."""
    for torch, (cudas, oldest, newest) in TORCHES.items():
        for cuda in cudas.split():
            for gpu in GPUS:
                first = next((least for capability, least in FIRST_NVCC if Version(gpu) >= capability), Version("0"))
                if Version(cuda) >= first:
                    for python in range(oldest, newest + 1):
                        yield from (Combination(torch, cuda, python, gpu, machine) for machine in MACHINES)


def answer(one: Combination, offered: Sequence[Candidate]) -> str:
    """One of ANSWERS: the first that holds where FlashAttention 2 is wanted."""
    facts = one.facts
    two = choose_wheel(facts, offered)
    if two.chosen:
        lacking = may_lack_code(parse_claims(two.chosen), make_need(facts, FA2.names[0], None))
        return ANSWERS[lacking]
    if two.to_prove:
        return ANSWERS[2]
    if Version(one.gpu).major in FA3.majors:
        three = choose_wheel(facts, offered, implementation=FA3.names[0])
        if three.chosen or three.to_prove:
            return ANSWERS[3]
    return ANSWERS[4] if two.plan == "source-build" else ANSWERS[5]


def render_page(answers: Mapping[Combination, str], lists: Iterable[str]) -> str:
    """The page: shares by torch and by GPU, and where no wheel is labelled for."""
    whole = Counter(answers.values())
    wheel = whole[ANSWERS[0]] + whole[ANSWERS[1]] + whole[ANSWERS[2]]
    newer = sum(Version(one.torch) >= OWN_ATTENTION for one in answers)
    return "\n".join((
        _HEAD.format(total=len(answers), lists=", ".join(f"`{name}`" for name in lists), share=_share(wheel, len(answers)),
                     own=_share(newer, len(answers))),
        *_table("torch", answers, lambda one: one.torch), "", *_table("GPU", answers, lambda one: one.gpu), "",
        *_table("processor", answers, lambda one: one.machine), "", _MEANING, *_gaps(answers), "", _SYMBOLS))


def _table(title: str, answers: Mapping[Combination, str], key) -> Iterator[str]:  # type: ignore[no-untyped-def]
    yield f"| {title} | combinations | {' | '.join(ANSWERS)} |"
    yield f"|---|---:|{'---:|' * len(ANSWERS)}"
    groups: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for one, said in answers.items():
        groups[key(one)][said] += 1
        groups["all"][said] += 1
    for name in (*(name for name in groups if name != "all"), "all"):
        count = groups[name].total()
        yield f"| {name} | {count} | {' | '.join(_share(groups[name][said], count) for said in ANSWERS)} |"


def _gaps(answers: Mapping[Combination, str]) -> Iterator[str]:
    """The stacks for which no wheel is labelled, in a line for each torch and processor."""
    gaps: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for one, said in answers.items():
        if said not in ANSWERS[:2]:
            gaps[one.torch, one.machine][f"cu{one.cuda.replace('.', '')} 3.{one.python}"] = None
    for (torch, machine), stacks in gaps.items():
        by_cuda: defaultdict[str, list[str]] = defaultdict(list)
        for stack in stacks:
            by_cuda[stack.split()[0]].append(stack.split()[1])
        said = "; ".join(f"{cuda} ({', '.join(pythons)})" for cuda, pythons in by_cuda.items())
        yield f"- torch {torch}, {machine}: {said}"


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %" if count else "–"


_HEAD = """# What is offered to whom

Written by `python docs/make_wheels.py LISTS`, from {lists}; a list is of its day, and new wheels come every week. Asked about
are {total} combinations of torch 2.4 to 2.15, the CUDAs that each is published with, Python 3.10 to 3.14, nine kinds of GPU,
x86-64 and aarch64; those whose CUDA has no code for the GPU are left out, since torch itself does not run there. FlashAttention 2
is wanted. {share} are offered a wheel; and torch 2.10 and newer ({own}) carry flash attention of their own besides, which needs
none.
"""

_MEANING = """What the columns mean:

- **wheel**: one is labelled for this torch, a CUDA of the same major, this Python and processor.
- **wheel, GPU code to be seen**: the same, but its label lets expect no code for this GPU (compiled before CUDA 12.8, or the GPU
  is a Thor); the file is looked at before it is installed.
- **neighbour, to be proven**: the nearest label is for another torch, between which and this one no change is known that would
  keep it from loading; its symbols, glibc, CUDA and GPU code are looked up and it is tried on the GPU before it is taken.
- **FlashAttention 3**: no wheel of FlashAttention 2, but one of 3.
- **build**: only from source. **refused**: not even that: flash-attn's releases ask the compiler for C++17, and torch 2.14 and
  newer need C++20; and none of them has code for compute capability 11.0.

No wheel is labelled for:
"""

_SYMBOLS = """## Which torch loads what was built for another

A wheel of flash-attn 2.8.3.post2 that was built with torch 2.11 calls 307 functions from outside. Looked up in the libraries of
PyPI's torch (November 2026), these are missing:

| torch | missing |
|---|---|
| 2.8.0 | 7: those of 2.9.1, and two slow paths of `SymInt` |
| 2.9.1 | 5: those of 2.10.0, `c10_cuda_check_implementation` (its line was an int), `incref_pyobject`, `decref_pyobject` |
| 2.10.0 | 2: `CUDAStream::query`, `CUDAStream::synchronize` |
| 2.11.0, 2.12.1 | none |
| 2.13.0 | 1: `materialize_cow_storage` |
| 2.14.1, 2.15.0 | 2: that one, and `c10_cuda_check_implementation` (it takes a log besides) |

Of the functions that it calls, torch took one away, or its form, in 2.8 (`SetDevice`), 2.10, 2.13 and 2.14, and brought new ones
in 2.6, 2.9 and 2.11 too. So what was built for 2.10 may load with 2.11 and 2.12 (848 tests of flash-attn say that it does:
[unsloth#7495](https://github.com/unslothai/unsloth/pull/7495)), what was built for 2.9 does not load with 2.10, and nothing that
was built for 2.11 loads with an older one. FlashAttention 3 built with torch 2.9 or newer calls torch's stable ABI alone and
loads with all of them.
"""


def main(lists: Sequence[str]) -> None:
    """Reads the lists, asks for every combination, and writes the page."""
    reports = read_sources(lists)
    if failed := [f"{report.spec}: {report.error}" for report in reports if report.error]:
        sys.exit("\n".join(failed))
    offered = list({c.url if "+" not in c.filename else c.filename: c for report in reports for c in report.candidates}.values())
    answers = {one: answer(one, offered) for one in combinations()}
    page = render_page(answers, [Path(name).name for name in lists])
    Path(__file__).with_name("wheels.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
