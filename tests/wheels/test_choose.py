"""The choice: one verdict per candidate, the best first, never a wheel for another Python or platform."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from open_cases import SHARED, expected
from packaging.version import Version

from swift_fa_launcher.decode import decode
from swift_fa_launcher.errors import ConfigError, InstallError, Text
from swift_fa_launcher.flash.fits import CODES, WheelContents, make_need, misfits
from swift_fa_launcher.flash.implementations import BY_NAME
from swift_fa_launcher.flash.name import Candidate, WheelNameError, parse_wheel_name
from swift_fa_launcher.layout import cells
from swift_fa_launcher.machine.facts import Facts, parse_facts
from swift_fa_launcher.wheels.choose import Resolution, choice_to_json, choose_wheel, render_choice
from swift_fa_launcher.wheels.download import AllRefused, download_wheel

PLAIN = "linux_x86_64"
NEW_ABI = "_ZN3c105ErrorC2ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
OLD_ABI = "_ZN3c105ErrorC2ENS_14SourceLocationESs"


def make_facts(**changes: Any) -> Facts:
    """The seed's machine: Python 3.10, torch 2.6.0+cu124, an H100; `a__b=value` changes a.b, None included."""
    data: dict[str, Any] = {
        "schema": 1,
        "host": {"os": "Linux", "machine": "x86_64", "glibc": "2.35"},
        "python": {"version": "3.10.14", "implementation": "CPython", "abi": "cp310"},
        "torch": {"version": "2.6.0+cu124", "cuda": "12.4", "hip": None, "npu": None, "cxx11_abi": False},
        "gpus": [{"index": 0, "name": "NVIDIA H100", "compute_capability": "9.0"}],
        "driver": {"version": "550.54.15", "cuda": "12.4"},
        "toolchain": {"nvcc": "12.4", "gcc": "11.4.0"},
        "packages": {"transformers": "4.55.4"},
    }
    for key, value in changes.items():
        section, _, name = key.partition("__")
        if name:
            data[section] = {**data[section], name: value}
        else:
            data[section] = value
    return parse_facts(data, "made up")


def wheel(label: str = "cu124torch2.6", version: str = "2.8.3", python: str = "cp310-cp310", platform: str = PLAIN,
          distribution: str = "flash_attn") -> str:
    return f"{distribution}-{version}{'+' if label else ''}{label}-{python}-{platform}.whl"


def choose(names: list[str], facts: Facts | None = None, **options: Any) -> Resolution:
    offered = [Candidate(name, f"https://github.com/a/b/releases/download/v1/{name}", "test") for name in names]
    return choose_wheel(facts or make_facts(), offered, **options)


def code_of(name: str, facts: Facts | None = None, **options: Any) -> str | None:
    return choose([name], facts, **options).verdicts[0].code


def parse_contents(inside: dict[str, Any]) -> WheelContents:
    """Shared cases call the extension's file `extension`."""
    contents: WheelContents = decode(WheelContents, {"file": inside.get("extension"), **inside})
    return contents


def best(*names: str, facts: Facts | None = None, **options: Any) -> str | None:
    chosen = choose(list(names), facts, **options).chosen
    return chosen and chosen.filename


FITS: list[tuple[str, dict[str, Any]]] = [
    (wheel(), {}),
    (wheel("cu12torch2.6cxx11abiFALSE"), {}),
    (wheel("cu.12.4.torch.2.6"), {}),
    (wheel("cu126torch2.6"), {}),  # any minor of the same major runs
    (wheel("cu121torch2.6"), {}),
    (wheel(platform="manylinux_2_24_x86_64.manylinux_2_28_x86_64"), {}),
    (wheel(platform="manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64"), {}),
    (wheel(platform="manylinux_2_34_x86_64"), {}),
    (wheel(platform="manylinux_2_39_x86_64"), {"host__glibc": {"unknown": "not asked"}}),  # never guessed from
    (wheel(""), {}),  # says nothing that could be held against it
    (wheel("cu12torch2.6cxx11abiTRUE"), {"torch__cxx11_abi": {"unknown": "no libc10"}}),
    (wheel(python="cp310-cp310", platform="linux_aarch64"), {"host__machine": "aarch64"}),
    (wheel(platform="win_amd64"), {"host__os": "Windows", "host__machine": "AMD64", "host__glibc": None}),
    (wheel("cu130torch2.10", python="cp313-cp313t"),
     {"python__version": "3.13.1", "python__abi": "cp313t", "torch__version": "2.10.0+cu130", "torch__cuda": "13.0"}),
    (wheel("cu124torch2.6.0cxx11abiFALSE"), {}),
    (wheel(python="py3-none", platform="any"), {}),
    (wheel("cu118torch2.2", "2.5.8"), {"torch__version": "2.2.2+cu118", "torch__cuda": "11.8"}),
    (wheel("cu11torch2.2cxx11abiFALSE", "2.7.3"), {"torch__version": "2.2.2+cu118", "torch__cuda": "11.8"}),
    (wheel("cu124torch2.6", "2.1.0"), {}),  # the least for transformers 4, and for 5
    (wheel("cu124torch2.6", "2.3.3"), {"packages": {"transformers": "5.3.0"}}),
]


@pytest.mark.parametrize(("name", "changes"), FITS, ids=[f"{i}-{name}" for i, (name, _) in enumerate(FITS)])
def test_fits(name: str, changes: dict[str, Any]) -> None:
    resolution = choose([name], make_facts(**changes))
    assert resolution.chosen and resolution.chosen.filename == name
    assert resolution.plan == "wheel"
    assert resolution.verdicts[0].accepted and resolution.verdicts[0].code is None


PASSED: list[tuple[str, str, dict[str, Any]]] = [
    ("flash_attl", "not-a-wheel", {}),
    ("flash_attn-2.8.3.tar.gz", "not-a-wheel", {}),
    (wheel(distribution="flash_attn_3", version="3.0.0", python="cp39-abi3"), "implementation-mismatch", {}),
    (wheel(distribution="xformers"), "implementation-mismatch", {}),
    (wheel(python="cp311-cp311"), "python-tag-mismatch", {}),
    (wheel(python="cp310-cp310"), "python-tag-mismatch", {"python__version": "3.12.7", "python__abi": "cp312"}),
    (wheel(python="cp313-cp313t"), "python-tag-mismatch", {"python__version": "3.13.1", "python__abi": "cp313"}),
    (wheel(python="cp313-cp313"), "python-tag-mismatch", {"python__version": "3.13.1", "python__abi": "cp313t"}),
    (wheel(platform="win_amd64"), "platform-mismatch", {}),
    (wheel(platform="linux_aarch64"), "platform-mismatch", {}),
    (wheel(platform="manylinux_2_34_aarch64"), "platform-mismatch", {}),
    (wheel(platform="macosx_11_0_arm64"), "platform-mismatch", {"host__os": "Darwin", "host__machine": "arm64"}),
    (wheel(platform="manylinux_2_28_x86_64"), "platform-mismatch", {"host__glibc": None}),  # musl
    (wheel("cu124torch2.5"), "torch-mismatch", {}),
    (wheel("cu124torch2.10"), "torch-mismatch", {"torch__version": "2.1.0+cu121"}),
    (wheel(), "torch-mismatch", {"torch": None}),
    (wheel(), "torch-mismatch", {"torch__version": None}),
    (wheel(), "torch-mismatch", {"torch__version": "2.6.0a0+ecf3bae40a.nv25.01"}),
    (wheel(), "torch-mismatch", {"torch__version": "2.6.0.dev20241112+cu124"}),
    (wheel("cu118torch2.6"), "cuda-mismatch", {}),
    (wheel("cu130torch2.6"), "cuda-mismatch", {}),
    (wheel(), "cuda-mismatch", {"torch__version": "2.6.0+cpu", "torch__cuda": None}),
    (wheel("rocm62torch2.6"), "cuda-mismatch", {}),
    (wheel("cu12torch2.6cxx11abiTRUE"), "abi-mismatch", {}),
    (wheel("cu12torch2.6cxx11abiFALSE"), "abi-mismatch", {"torch__cxx11_abi": True}),
    (wheel(platform="manylinux_2_34_x86_64"), "glibc-too-new", {"host__glibc": "2.31"}),
    (wheel("cu12torch2.6cxx11abiFALSE"), "glibc-too-new", {"host__glibc": "2.31"}),  # the official 2.8 needs 2.32
    (wheel("cu124torch2.6", "2.0.9"), "version-excluded", {}),
    (wheel("cu124torch2.6", "2.3.2"), "version-excluded", {"packages": {"transformers": "5.3.0"}}),
    (wheel("cu124torch2.6", "2.8.1"), "version-excluded", {"driver__version": "535.161.08"}),
    (wheel("cu124torch2.6", "2.9.0b1"), "version-excluded", {}),
]


@pytest.mark.parametrize(("name", "code", "changes"), PASSED, ids=[f"{i}-{c}-{n}" for i, (n, c, _) in enumerate(PASSED)])
def test_passed_over(name: str, code: str, changes: dict[str, Any]) -> None:
    resolution = choose([name], make_facts(**changes))
    assert [(v.accepted, v.code) for v in resolution.verdicts] == [(False, code)]
    assert isinstance(resolution.verdicts[0].reason, Text)
    assert resolution.chosen is None and resolution.ranked == () and resolution.plan != "wheel"


@pytest.mark.parametrize(("version", "excluded"), [
    ("2.8.3", False), (" 2.8.3 ", False), ("v2.8.3", False), ("==2.8.3", False), ("2.8.*", False), (">=2.7,<2.9", False),
    ("~=2.8.0", False), ("2.8.3+cu124torch2.6", False), ("", False), (None, False),
    ("2.6.3", True), ("2.7.*", True), (">=2.9", True), ("!=2.8.3", True), ("2.8.3+cu124torch2.5", True), ("2.8.3.post1", True),
])
def test_wanted_version(version: str | None, excluded: bool) -> None:
    assert code_of(wheel(), version=version) == ("version-excluded" if excluded else None)


@pytest.mark.parametrize("version", ["latest", "2.8,", ">=", "2.8.3 2.8.2", "--index-url", "cu124"])
def test_a_version_that_is_none_is_the_configs_error(version: str) -> None:
    with pytest.raises(ConfigError) as raised:
        choose([wheel()], version=version)
    assert raised.value.where == "flash_attn.version"


def test_driver_550_is_asked_for_2_8_1_only() -> None:
    """Later releases took the compressed kernels back: https://github.com/Dao-AILab/flash-attention/pull/1751"""
    old = make_facts(driver__version="535.161.08")
    assert best(wheel(version="2.8.1"), wheel(version="2.8.0"), facts=old) == wheel(version="2.8.0")
    assert code_of(wheel(version="2.8.2"), old) is None
    assert code_of(wheel(version="2.8.1"), make_facts(driver=None)) is None


# The best -----------------------------------------------------------------------------------------------------------

BEST: list[tuple[str, list[str], dict[str, Any]]] = [
    (wheel(version="2.8.3"), [wheel(version="2.7.4.post1"), wheel(version="2.10.0rc1"), wheel(version="2.8.2")], {}),
    (wheel(version="2.7.4.post1"), [wheel(version="2.7.4"), wheel(version="2.7.3")], {}),
    (wheel(version="2.10.0"), [wheel(version="2.9.1")], {}),
    # CUDA's minor goes before the version
    (wheel("cu124torch2.6", "2.7.4"), [wheel("cu126torch2.6", "2.8.3"), wheel("cu12torch2.6cxx11abiFALSE", "2.8.3")], {}),
    # without the same minor: the version, then the nearest, the older first
    (wheel("cu118torch2.2", "2.5.9"), [], {"torch__version": "2.2.2+cu118", "torch__cuda": "11.8"}),
    (wheel("cu122torch2.5"), [wheel("cu126torch2.5")], {"torch__version": "2.5.1+cu123", "torch__cuda": "12.3"}),
    (wheel("cu12torch2.5cxx11abiFALSE"), [wheel("cu121torch2.5cxx11abiFALSE")], {"torch__version": "2.5.1+cu124"}),
    # a named ABI before none where torch has two
    (wheel("cu12torch2.6cxx11abiFALSE", "2.7.4"), [wheel("cu121torch2.6", "2.7.4")], {}),
    # torch 2.6: what was built against cu126 has the new ABI, the official abiFALSE files since 2.8.0.post2 too
    (wheel("cu12torch2.6cxx11abiFALSE", "2.7.4.post1"), [wheel("cu12torch2.6cxx11abiFALSE", "2.8.3"),
                                                         wheel("cu126torch2.6", "2.8.3")], {}),
    # CUDA 12.6 does not compile for compute capability 12
    (wheel("cu128torch2.7", "2.7.4"), [wheel("cu126torch2.7", "2.8.3")],
     {"torch__version": "2.7.1+cu126", "torch__cuda": "12.6", "torch__cxx11_abi": True,
      "gpus": [{"index": 0, "compute_capability": "12.0"}]}),
    # of two files of one build the plain one; on an old glibc the one that promises to run there
    (wheel(), [wheel(platform="manylinux_2_24_x86_64.manylinux_2_28_x86_64")], {}),
    (wheel(platform="manylinux_2_28_x86_64"), [wheel()], {"host__glibc": "2.31"}),
    # a name that says what it was built for before one that does not
    (wheel(version="2.5.8"), [wheel("", "2.8.3")], {}),
]


@pytest.mark.parametrize(("chosen", "others", "changes"), BEST, ids=[f"{i}-{b[0]}" for i, b in enumerate(BEST)])
def test_best(chosen: str, others: list[str], changes: dict[str, Any]) -> None:
    facts = make_facts(**changes)
    for names in ([chosen, *others], [*others, chosen]):
        resolution = choose(names, facts)
        assert resolution.chosen and resolution.chosen.filename == chosen
        assert resolution.ranked[0] == resolution.chosen
        assert {v.code for v in resolution.verdicts[1:]} <= {"not-best", "version-excluded"}


def test_one_name_several_times_the_one_with_a_digest_first() -> None:
    offers = [Candidate(wheel(), f"https://github.com/a/b/releases/download/v{i}/{wheel()}", "test", digest)
              for i, digest in enumerate((None, "ab" * 32, None))]
    resolution = choose_wheel(make_facts(), offers)
    assert resolution.chosen == offers[1]
    assert resolution.ranked == (offers[1], offers[0], offers[2])
    assert [v.code for v in resolution.verdicts] == [None, "not-best", "not-best"]


def test_between_equals_the_first_source_wins() -> None:
    offers = [Candidate(wheel(), f"https://{host}/{wheel()}", host, "ab" * 32) for host in ("b.org", "a.org")]
    assert choose_wheel(make_facts(), offers).chosen == offers[0]


def test_near_misses_come_before_far_ones() -> None:
    names = [wheel(python="cp311-cp311"), "x.txt", wheel(version="2.0.1"), wheel("cu130torch2.6"), wheel(version="2.7.4"),
             wheel()]
    assert [v.code for v in choose(names).verdicts] == [None, "not-best", "version-excluded", "cuda-mismatch",
                                                        "python-tag-mismatch", "not-a-wheel"]


# What is inside -----------------------------------------------------------------------------------------------------

CONTENTS: list[tuple[str | None, dict[str, Any]]] = [
    (None, {}),
    (None, {"extension": "flash_attn_2_cuda.cpython-310-x86_64-linux-gnu.so", "glibc": "2.14", "undefined": [OLD_ABI],
            "needs": ["libc10.so", "libcudart.so.12"], "cubins": ["sm_80", "sm_90"]}),
    ("python-tag-mismatch", {"extension": "flash_attn_2_cuda.cpython-311-x86_64-linux-gnu.so"}),
    ("python-tag-mismatch", {"extension": "flash_attn_2_cuda.cp311-win_amd64.pyd"}),
    ("torch-mismatch", {"unresolved": ["_ZN3c104cuda20CUDACachingAllocator9allocatorE"]}),
    ("torch-mismatch", {"unresolved": [OLD_ABI], "undefined": [OLD_ABI]}),  # the right ABI, and torch has none such
    ("abi-mismatch", {"undefined": [NEW_ABI]}),
    ("abi-mismatch", {"unresolved": [NEW_ABI]}),
    ("cuda-mismatch", {"needs": ["libcudart.so.11.0"]}),
    ("cuda-mismatch", {"needs": ["libcudart.so.13"]}),
    ("glibc-too-new", {"glibc": "2.38"}),
    ("arch-missing", {"cubins": ["sm_80", "sm_86"]}),
    ("arch-missing", {"cubins": []}),
    (None, {"cubins": ["sm_80"], "ptx": ["compute_80"]}),
    ("not-a-wheel", {"version": "2.7.4"}),
    ("not-a-wheel", {"name": "flash_attn_3"}),
    (None, {"name": "flash_attn", "version": "2.8.3"}),  # METADATA without the local label
]


@pytest.mark.parametrize(("code", "inside"), CONTENTS)
def test_what_is_inside_decides(code: str | None, inside: dict[str, Any]) -> None:
    assert code_of(wheel(), contents={wheel(): parse_contents(inside)}) == code


@pytest.mark.parametrize(("inside", "named"), [
    ({"cubins": ["sm_80"]}, "sm_80"), ({"cubins": [], "ptx": ["compute_99"]}, "compute_99"), ({"cubins": []}, "-")])
def test_a_wheel_for_other_gpus_says_for_which(inside: dict[str, Any], named: str) -> None:
    verdict = choose([wheel()], contents={wheel(): parse_contents(inside)}).verdicts[0]
    assert verdict.code == "arch-missing" and all(named in said and "sm_90" in said for said in verdict.reason)


def test_a_proven_wheel_leaves_no_doubt() -> None:
    """Unlabelled or labelled abiFALSE of the doubtful releases: once its symbols were seen it is as good as any."""
    doubtful = wheel("cu12torch2.6cxx11abiFALSE", "2.8.3")
    inside = parse_contents({"undefined": [OLD_ABI], "cubins": ["sm_90"]})
    older = wheel("cu12torch2.6cxx11abiFALSE", "2.7.4.post1")
    assert best(doubtful, older) == older
    assert best(doubtful, older, contents={doubtful: inside}) == doubtful


def test_an_extension_alone_will_do() -> None:
    inside = WheelContents(file="flash_attn_2_cuda.cpython-310-x86_64-linux-gnu.so", cubins=("sm_80",), glibc=Version("2.14"))
    assert code_of(wheel(), contents={wheel(): inside}) == "arch-missing"


def test_every_reason_is_named_when_asked() -> None:
    """The wheel of an H200 with Python 3.12, held against Python 3.11, glibc 2.36 and a CPU build of torch."""
    facts = make_facts(host__glibc="2.36", python__version="3.11.2", python__abi="cp311", torch__version="2.13.0+cpu",
                       torch__cuda=None, torch__cxx11_abi=True, gpus=None, driver=None)
    name = "flash_attn-2.8.3.post2-cp312-cp312-linux_x86_64.whl"
    inside = parse_contents({"extension": "flash_attn_2_cuda.cpython-312-x86_64-linux-gnu.so", "glibc": "2.38",
                             "needs": ["libc10_cuda.so", "libcudart.so.13"], "undefined": [NEW_ABI],
                             "unresolved": ["_ZN3c104cuda12device_countEv"], "cubins": ["sm_90"]})
    codes = [code for code, _ in misfits(parse_wheel_name(name), make_need(facts, "flash_attn", None), inside)]
    assert codes == ["python-tag-mismatch", "torch-mismatch", "cuda-mismatch", "glibc-too-new"]


# What is asked for --------------------------------------------------------------------------------------------------


def test_flash_attention_3_and_4() -> None:
    three, four = (wheel(f"cu{c}torch2.6gite2743ab", "3.0.0", "cp39-abi3", distribution="flash_attn_3") for c in (126, 124))
    assert best(wheel(), three, four, implementation="flash_attention_3") == four
    placeholder = "flash_attn_3-0.0.1-py3-none-any.whl"
    assert code_of(placeholder, implementation="flash_attention_3") == "version-excluded"
    fa4 = ["flash_attn_4-4.0.0b5-py3-none-any.whl", "flash_attn_4-4.0.0b11-py3-none-any.whl"]
    assert best(wheel(), *fa4, implementation="flash_attention_4") == fa4[1]
    assert best(*fa4, implementation="flash_attention_4", version=">=4.0.0b1,<4.0.0b9") == fa4[0]
    assert code_of(fa4[0]) == "implementation-mismatch"


def test_the_stable_abi_is_not_for_free_threaded_pythons() -> None:
    three = wheel("cu130torch2.10git1234567", "3.0.0", "cp39-abi3", distribution="flash_attn_3")
    changes = {"python__version": "3.14.0", "torch__version": "2.10.0+cu130", "torch__cuda": "13.0", "torch__cxx11_abi": True}
    for abi, code in (("cp314", None), ("cp314t", "python-tag-mismatch")):
        assert code_of(three, make_facts(**changes, python__abi=abi), implementation="flash_attention_3") == code


PYTORCHS = "flash_attn_3-3.0.0-cp39-abi3-manylinux_2_28_x86_64.whl"
ON_211 = {"torch__version": "2.11.0+cu130", "torch__cuda": "13.0", "torch__cxx11_abi": True, "torch__origin": "/env/torch"}


@pytest.mark.parametrize(("torch", "cuda", "code"), [("2.11.0+cu130", "13.0", None), ("2.9.0+cu130", "13.0", None),
                                                     ("2.8.0+cu129", "13.0", "torch-mismatch"),
                                                     ("2.11.0+cu126", "12.6", "cuda-mismatch")])
def test_pytorchs_flash_attention_3_is_for_the_cuda_of_its_folder(torch: str, cuda: str, code: str | None) -> None:
    """All CUDAs have one file name; any torch from 2.9 on."""
    offered = [Candidate(PYTORCHS, f"https://download.pytorch.org/whl/{folder}/{PYTORCHS}", "index", "ab" * 32)
               for folder in ("cu130", "cu126")]
    facts = make_facts(torch__version=torch, torch__cuda=cuda, torch__cxx11_abi=True)
    verdicts = choose_wheel(facts, offered, implementation="flash_attention_3").verdicts
    assert {v.candidate.url: v.code for v in verdicts}[offered[0].url] == code
    assert [v.candidate for v in verdicts if v.accepted] == ([offered[code is not None]] if code != "torch-mismatch" else [])


# A neighbouring torch -----------------------------------------------------------------------------------------------


def neighbours(*torches: str, label: str = "cu130") -> list[str]:
    return [wheel(f"{label}torch{torch}") for torch in torches]


def test_where_no_label_fits_those_of_a_neighbouring_torch_are_to_be_proven() -> None:
    older = wheel("cu130torch2.10", "2.8.2")
    resolution = choose([older, *neighbours("2.9", "2.13", "2.12", "2.10")], make_facts(**ON_211))
    assert resolution.chosen is None and resolution.ranked == ()
    assert [c.filename for c in resolution.to_prove] == neighbours("2.10", "2.12")  # none from behind a known change
    assert (resolution.plan, resolution.otherwise) == ("wheel", "source-build")
    assert {v.code for v in resolution.verdicts} == {"torch-mismatch"}
    shown = choice_to_json(resolution)
    assert shown["chosen"] is None and shown["to_prove"] == neighbours("2.10", "2.12")
    for lang in ("en", "zh"):
        assert f"  {neighbours('2.10')[0]}" in render_choice(resolution, lang).splitlines()


@pytest.mark.parametrize(("names", "changes", "options"), [
    (neighbours("2.10", "2.11"), {}, {}),  # one fits by its label
    (neighbours("2.10"), {"torch__origin": {"unknown": "another machine's"}}, {}), (neighbours("2.10"), {"gpus": []}, {}),
    (neighbours("2.10", label="cu126"), {}, {}), (neighbours("2.10"), {"python__abi": "cp311"}, {}),
    (neighbours("2.10"), {}, {"build": "always"}), (neighbours("2.10"), {}, {"version": ">=2.9"}),
    (neighbours("2.10"), {"torch__version": "2.11.0.dev20260101+cu130"}, {}),
])
def test_nothing_is_to_be_proven(names: list[str], changes: dict[str, Any], options: dict[str, Any]) -> None:
    resolution = choose(names, make_facts(**{**ON_211, **changes}), **options)
    assert resolution.to_prove == () and resolution.otherwise == "none"


@pytest.mark.parametrize(("unresolved", "code"), [([], None), (["_ZNK3c104cuda10CUDAStream5queryEv"], "torch-mismatch")])
def test_symbols_outweigh_a_label(unresolved: list[str], code: str | None) -> None:
    near, inside = neighbours("2.10")[0], {"unresolved": unresolved, "glibc": "2.28", "needs": ["libcudart.so.13"]}
    resolution = choose([near], make_facts(**ON_211), contents={near: parse_contents(inside)})
    assert resolution.verdicts[0].code == code and resolution.to_prove == ()
    exact = neighbours("2.11")[0]
    assert best(near, exact, facts=make_facts(**ON_211), contents={near: parse_contents(inside)}) == exact


@pytest.mark.parametrize(("options", "changes", "plan"), [
    ({}, {}, "source-build"), ({"build": "never"}, {}, "none"), ({}, {"toolchain__nvcc": None}, "none"),
    ({}, {"toolchain": {"unknown": "not asked"}}, "source-build"), ({}, {"torch": None}, "none"),
    ({}, {"torch__cuda": None}, "none"), ({}, {"host__os": "Windows"}, "none"),
    ({"implementation": "flash_attention_4"}, {}, "none"),
])
def test_plan_without_a_wheel(options: dict[str, Any], changes: dict[str, Any], plan: str) -> None:
    assert choose([], make_facts(**changes), **options).plan == plan


def test_build_always_takes_no_wheel() -> None:
    resolution = choose([wheel()], build="always")
    assert (resolution.chosen, resolution.plan) == (None, "source-build")
    assert [v.code for v in resolution.verdicts] == ["not-best"]
    assert choose([wheel()], make_facts(toolchain__nvcc=None), build="always").plan == "none"


@pytest.mark.parametrize(("url", "sha256", "allowed", "code"), [
    ("https://github.com/a/x.whl", None, False, None),
    ("https://ghproxy.net/https://github.com/a/x.whl", None, False, "unverified"),
    ("https://ghproxy.net/github.com/a/x.whl", "ab" * 32, False, None),
    ("https://ghproxy.net/github.com/a/x.whl", None, True, None),
    ("http://intranet/x.whl", None, False, "unverified"), ("http://intranet/x.whl", "ab" * 32, False, None),
    ("http://127.0.0.1:8000/x.whl", None, False, None), ("file:///wheels/x.whl", None, False, None),
])
def test_nobody_vouches(url: str, sha256: str | None, allowed: bool, code: str | None) -> None:
    offered = Candidate(wheel(), url, "test", sha256)
    resolution = choose_wheel(make_facts(), [offered], mirrors=("https://ghproxy.net/", "direct"), allow_unverified=allowed)
    assert resolution.verdicts[0].code == code


@pytest.mark.parametrize("missing", ["python", "python__abi", "python__version", "host__os", "host__machine", "torch",
                                     "torch__version", "torch__cuda"])
def test_what_nobody_looked_at_is_not_guessed(missing: str) -> None:
    with pytest.raises(InstallError) as raised:
        choose([wheel()], make_facts(**{missing: {"unknown": "a login node"}}))
    assert raised.value.where == missing.replace("__", ".")
    assert raised.value.why == "a login node"


def test_unknown_gpus_driver_and_toolchain_are_not_held_against_it() -> None:
    facts = make_facts(gpus={"unknown": "x"}, driver={"unknown": "x"}, toolchain={"unknown": "x"}, packages={"unknown": "x"})
    assert code_of(wheel(version="2.8.1"), facts, contents={wheel(version="2.8.1"): parse_contents({"cubins": []})}) is None


# What is shown ------------------------------------------------------------------------------------------------------


def test_json_is_the_contracts() -> None:
    resolution = choose([wheel(), wheel(python="cp39-cp39")])
    shown = json.loads(json.dumps(choice_to_json(resolution)))
    assert set(shown) == {"schema", "chosen", "candidates", "plan"}
    assert shown["schema"] == 1 and shown["plan"] == "wheel"
    assert shown["chosen"] == {"filename": wheel(), "url": f"https://github.com/a/b/releases/download/v1/{wheel()}",
                               "source": "test", "sha256": None}
    assert [(c["filename"], c["accepted"], c["code"]) for c in shown["candidates"]] == [
        (wheel(), True, None), (wheel(python="cp39-cp39"), False, "python-tag-mismatch")]
    assert all(c["reason"] for c in shown["candidates"])
    assert choice_to_json(choose([], build="never"))["chosen"] is None


def test_passwords_are_not_shown() -> None:
    resolution = choose_wheel(make_facts(), [Candidate(wheel(), f"https://me:secret@host/{wheel()}", "index")])
    assert "secret" not in json.dumps(choice_to_json(resolution)) + render_choice(resolution)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_text_names_the_chosen_first_and_counts_the_rest(lang: str) -> None:
    names = [wheel(), *(wheel(python=f"cp3{i}-cp3{i}") for i in range(11, 31))]
    lines = render_choice(choose(names), lang, limit=3).splitlines()
    assert lines[0] == wheel()
    assert "python-tag-mismatch: 20" in lines
    assert len(lines) == 3 + 1 + 3 + 1
    assert "17" in lines[-1]
    assert render_choice(choose([], build="never"), lang)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_terminal_breaks_reasons_and_no_name_address_or_command(lang: str) -> None:
    said = Text("it is for another Python and cannot be imported " * 3, "它适用于别的 Python，无法导入。" * 8)
    command = "swift-fa install" + " --index x" * 12
    refused = replace(choose([wheel(), wheel(python="cp39-cp39")]), remarks=(said,), advice=(command,))
    for resolution in (refused, replace(refused, chosen=None, plan="none")):
        lines = render_choice(resolution, lang, 80).splitlines()
        wide = {line.strip() for line in lines if cells(line) > 80}
        addresses = {line for line in wide if line.startswith("https://")}
        assert f"-> {command}" in wide and wide <= {wheel(), wheel(python="cp39-cp39"), f"-> {command}"} | addresses
        assert len(lines) > len(render_choice(resolution, lang).splitlines())


# The shared cases and the whole list --------------------------------------------------------------------------------


def shared_cases() -> list[Path]:
    return [file for room in ("install", "install-content") for file in sorted((SHARED / "cases" / room).glob("*.json"))]


def code_of_file(name: str, told: dict[str, str], folder: Path) -> str:
    """Why a file with these first bytes is not taken, which is known to have another digest."""
    file = folder / name
    file.write_bytes(bytes.fromhex(told["magic"]))
    with pytest.raises(AllRefused) as raised:
        download_wheel(Candidate(name, file.as_uri(), "user", told["sha256_expected"]), (), folder)
    return raised.value.refused[0].code


@pytest.mark.parametrize("file", expected(shared_cases()))
def test_shared_cases(file: Path, tmp_path: Path) -> None:
    case = json.loads(file.read_text(encoding="utf-8"))
    by_file = {name: code_of_file(name, told, tmp_path) for name, told in case.get("wheel_facts", {}).items() if "magic" in told}
    if by_file:
        assert case["expect_chosen"] is None and by_file == case["expect_rejected"]
        return
    names = [case["user_wheel"]] if case["user_wheel"] else case["index"]
    config = case["config"] or {}
    wanted = config.get("swift", {}).get("attn_impl")
    resolution = choose(names, parse_facts(case["facts"], case["id"]),
                        implementation=wanted if wanted in BY_NAME else "flash_attn",
                        version=config.get("flash_attn", {}).get("version"),
                        contents={name: parse_contents(data) for name, data in case.get("wheel_facts", {}).items()})
    assert (resolution.chosen.filename if resolution.chosen else None) == case["expect_chosen"]
    codes = {v.candidate.filename: v.code for v in resolution.verdicts}
    assert all(codes[name] in code.split("|") for name, code in case["expect_rejected"].items())


def published(shared: Path) -> list[Candidate]:
    releases = json.loads((shared / "wheels/releases-mjun0812.json").read_text())
    return [Candidate(a["name"], a["browser_download_url"], "saved") for r in releases for a in r["assets"]]


def test_the_seeds_machine_gets_the_seeds_file(shared: Path) -> None:
    facts = parse_facts(json.loads((shared / "contracts/facts-h100.json").read_text()), "facts-h100.json")
    offered = published(shared)
    resolution = choose_wheel(facts, offered, version="2.6.3")
    assert resolution.chosen and resolution.chosen.filename == "flash_attn-2.6.3+cu124torch2.6-cp310-cp310-linux_x86_64.whl"
    assert len(resolution.verdicts) == len(offered) == 3567
    assert {v.code for v in resolution.verdicts} - {None} <= set(CODES)


def test_never_for_another_python_or_platform(shared: Path) -> None:
    """Whatever the machine, what fits has its tags, its torch and its CUDA."""
    offered = published(shared)
    for os, machine, glibc, python, torch, cuda in (
            ("Linux", "x86_64", "2.39", "3.12", "2.8.0+cu128", "12.8"),
            ("Linux", "aarch64", "2.39", "3.12", "2.9.1+cu130", "13.0"),
            ("Windows", "AMD64", None, "3.11", "2.7.1+cu128", "12.8"),
            ("Linux", "x86_64", "2.17", "3.10", "2.4.1+cu121", "12.1"),
            ("Linux", "x86_64", "2.31", "3.13", "2.10.0+cu130", "13.0")):
        abi = f"cp{python.replace('.', '')}"
        facts = make_facts(host={"os": os, "machine": machine, "glibc": glibc}, torch__cuda=cuda, torch__version=torch,
                           torch__cxx11_abi={"unknown": "x"}, python__version=f"{python}.1", python__abi=abi)
        ranked = choose_wheel(facts, offered).ranked
        assert ranked
        for candidate in ranked:
            name = parse_wheel_name(candidate.filename)
            assert name.pythons == name.abis == (abi,)
            assert {"x86_64": "x86_64", "aarch64": "aarch64", "AMD64": "amd64"}[machine] in candidate.filename
            assert ("win_" in candidate.filename) == (os == "Windows")
            assert name.torch and torch.startswith(str(name.torch)) and name.cuda and name.cuda.major == Version(cuda).major


def test_the_command_line_judges_every_wheel_of_a_real_list(shared: Path) -> None:
    """How long it takes is benchmarks/choose.py's question."""
    command = [sys.executable, "-m", "swift_fa_launcher", "install", "--version", "2.6.3", "--dry-run", "--json",
               "--facts", shared / "contracts/facts-h100.json", "--index", shared / "wheels/releases-mjun0812.json"]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert len(json.loads(done.stdout)["candidates"]) == 3567


def test_a_choice_loads_nothing_that_it_does_not_need() -> None:
    program = "import swift_fa_launcher.stories.install, swift_fa_launcher.cli, sys; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout.split())
    assert not loaded & {"omegaconf", "requests", "rich", "torch", "zipfile", "swift_fa_launcher.preflight.checks",
                         "swift_fa_launcher.wheels.obtain", "swift_fa_launcher.machine.collect"}


@settings(max_examples=200, deadline=None)
@given(st.text() | st.from_regex(r"flash_attn-\d+\.\d+(\.\d+)?(\+[a-z0-9.]{0,20})?-cp\d+-cp\d+-[a-z0-9_.]+\.whl", fullmatch=True))
def test_any_name_gets_a_verdict(name: str) -> None:
    verdict = choose([name]).verdicts[0]
    try:
        parse_wheel_name(name)
    except WheelNameError:
        assert verdict.code == "not-a-wheel"
    assert verdict.accepted == (verdict.code is None)
