"""What a wheel's name claims."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from swift_fa_launcher.flash.name import Candidate, WheelNameError, parse_claims, parse_wheel_name, without_password

# local version, torch, cuda, ABI: the published grammars, then those of individuals
LABELS = [
    ("cu12torch2.8cxx11abiTRUE", "2.8", "12", True),
    ("cu12torch2.5cxx11abiFALSE", "2.5", "12", False),
    ("cu122torch2.3cxx11abiFALSE", "2.3", "12.2", False),
    ("cu124torch2.6", "2.6", "12.4", None),
    ("cu118torch2.0", "2.0", "11.8", None),
    ("cu130torch2.10", "2.10", "13.0", None),
    ("cu126torch2.8gite2743ab", "2.8", "12.6", None),
    ("cu132torch2.13gite2743ab", "2.13", "13.2", None),
    ("cu.12.8.torch.2.11", "2.11", "12.8", None),
    ("cu128.torch270", "2.7", "12.8", None),
    ("cu124torch2.7.0cxx11abiFALSE", "2.7", "12.4", False),
    ("cu13torch2.13cxx11abitrue", "2.13", "13", True),
    ("20250907.cu126torch270cxx11abitrue.d29afb", "2.7", "12.6", True),
    ("cu128torch2100cxx11abitrue", "2.10", "12.8", True),
    ("cu128pt27", "2.7", "12.8", None),
    ("torch2.8", "2.8", None, None),
    ("g1a2b3c4", None, None, None),
]


@pytest.mark.parametrize(("label", "torch", "cuda", "abi"), LABELS)
def test_labels(label: str, torch: str | None, cuda: str | None, abi: bool | None) -> None:
    name = parse_wheel_name(f"flash_attn-2.8.3+{label}-cp312-cp312-linux_x86_64.whl")
    assert (name.torch, name.cuda, name.abi) == (torch and Version(torch), cuda and Version(cuda), abi)
    assert name.local == label
    assert not name.rocm


def test_rocm_is_not_cuda() -> None:
    name = parse_wheel_name("flash_attn-2.8.3+rocm62torch2.5-cp311-cp311-linux_x86_64.whl")
    assert name.rocm
    assert name.cuda is None


def test_parts() -> None:
    name = parse_wheel_name("flash_attn_3-3.0.0b1+cu126torch2.8gite2743ab-1-cp39-abi3-"
                            "manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl")
    assert name.distribution == "flash-attn-3"
    assert name.version == Version("3.0.0b1")
    assert {str(tag) for tag in name.tags} == {"cp39-abi3-manylinux_2_24_x86_64", "cp39-abi3-manylinux_2_28_x86_64"}


@pytest.mark.parametrize("filename", [
    "", "flash_attl", "flash_attn.whl", "flash_attn-2.8.3.tar.gz", "flash_attn-2.8.3-cp312-linux_x86_64.whl",
    "flash_attn-2.8.3+cu12torch2.8-cp312-cp312-linux_x86_64 (1).whl", "flash_attn-two-cp312-cp312-linux_x86_64.whl",
    "flash_attn-2.8.3%2Bcu12-cp312-cp312-linux_x86_64.whl", "../flash_attn-2.8.3-cp312-cp312-linux_x86_64.whl",
    "flash_attn-2.8.3-cp312-cp312-linux_x86_64.whl.part", "flash_attn-2.8.3-x-cp312-cp312-linux_x86_64.whl", "-----.whl",
])
def test_names_that_are_none(filename: str) -> None:
    with pytest.raises(WheelNameError) as raised:
        parse_wheel_name(filename)
    assert raised.value.why and len(raised.value.hint) == 1


def test_every_published_name_says_torch_and_cuda(shared: Path) -> None:
    releases = json.loads((shared / "wheels/releases-mjun0812.json").read_text())
    names = {asset["name"] for release in releases for asset in release["assets"]}
    assert len(names) == 2263
    for filename in names:
        name = parse_wheel_name(filename)
        distribution, version, _, tags = parse_wheel_filename(filename)
        assert (name.distribution, name.version.public, name.tags) == (distribution, version.public, tags)
        assert name.torch and name.cuda and len(name.cuda.release) == 2 and name.abi is None
        assert f"cu{name.cuda.major}{name.cuda.minor}torch{name.torch}" in filename


def test_passwords_are_not_shown() -> None:
    assert without_password("https://me:secret@host:8443/a.whl") == "https://host:8443/a.whl"
    assert without_password("https://host/a@b.whl") == "https://host/a@b.whl"


@pytest.mark.parametrize(("url", "label", "cuda"), [
    ("https://download.pytorch.org/whl/cu130/", "", "13.0"), ("https://mirror/pytorch/cu126/", "", "12.6"),
    ("https://download.pytorch.org/whl/", "", None), ("file:///data/cu118/", "", None),
    ("https://mirror/cu126/", "+cu130torch2.11", "13.0"),
])
def test_an_indexs_folder_says_the_cuda_of_a_name_without_a_label(url: str, label: str, cuda: str | None) -> None:
    filename = f"flash_attn_3-3.0.0{label}-cp39-abi3-manylinux_2_28_x86_64.whl"
    claims = parse_claims(Candidate(filename, url + filename, "test"))
    assert claims.cuda == (Version(cuda) if cuda else None)
