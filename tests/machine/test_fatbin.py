"""The GPU code section, on crafted sections."""

from __future__ import annotations

from contextlib import suppress

import pytest
from fake_site import fat_binary
from hypothesis import given
from hypothesis import strategies as st

from swift_fa_launcher.machine.elf import CUBIN, PTX, ElfError, read_architectures


def test_several_binaries_with_padding_between() -> None:
    section = (fat_binary((CUBIN, 80, b"x" * 40), (CUBIN, 90, b"y" * 8)) + b"\0" * 24
               + fat_binary((PTX, 90, b"z" * 16), (CUBIN, 120, b"")) + b"\0" * 4096)
    assert read_architectures(section) == {"cubin": ("sm_80", "sm_90", "sm_120"), "ptx": ("compute_90",)}


def test_a_body_that_does_not_end_on_a_boundary() -> None:
    assert read_architectures(fat_binary((CUBIN, 80, b"x" * 13)) + b"\0" * 3 + fat_binary((CUBIN, 86, b"")))["cubin"] == (
        "sm_80", "sm_86")


def test_other_kinds_of_entries_are_no_architecture_to_run_on() -> None:
    assert read_architectures(fat_binary((8, 80, b"lto"), (CUBIN, 90, b"c")))["cubin"] == ("sm_90",)


def test_an_extension_without_gpu_code() -> None:
    assert read_architectures(b"") == {"cubin": (), "ptx": ()}
    assert read_architectures(b"\0" * 64) == {"cubin": (), "ptx": ()}


@pytest.mark.parametrize("section", [  # cut in the code, in a header, junk, a header that is cut, a size beyond the end
    fat_binary((CUBIN, 80, b"x" * 64))[:-8], fat_binary((CUBIN, 80, b"x" * 64))[:10], b"\0" * 8 + b"junkjunk",
    fat_binary((CUBIN, 80, b"x" * 8)) + b"\x50\xed\x55\xba", fat_binary((CUBIN, 80, b"x" * 64))[:60] + b"\xff" * 68],
    ids=range(5))
def test_part_of_a_section_is_never_taken_for_all_of_it(section: bytes) -> None:
    with pytest.raises(ElfError):
        read_architectures(section)


@given(st.binary(max_size=300), st.integers(0, 200), st.binary(max_size=12))
def test_no_bytes_raise_anything_else(junk: bytes, place: int, scribble: bytes) -> None:
    whole = fat_binary((CUBIN, 80, b"x" * 40), (PTX, 90, b"y" * 8)) + fat_binary((CUBIN, 90, b""))
    for section in (junk, whole[:place] + scribble + whole[place + len(scribble):]):
        with suppress(ElfError):
            read_architectures(section)
