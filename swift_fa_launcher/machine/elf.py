"""Reads compiled extensions and libraries without loading them."""

from __future__ import annotations

from pathlib import Path

from swift_fa_launcher.decode import Maybe, Unknown


def read_cxx11_abi(torch_libraries: Path) -> Maybe[bool]:
    """Whether torch was built with the new C++11 ABI."""
    return Unknown("not yet read")
