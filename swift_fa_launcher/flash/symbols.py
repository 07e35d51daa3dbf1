"""Whose a symbol is, and which C++11 ABI it speaks: read from its mangled name. Pure; imports no other room.

c10::Error's constructor takes a std::string: the old ABI mangles it `Ss`, the new one `__cxx1112basic_string`.
https://github.com/Dao-AILab/flash-attention/issues/1783
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: A name in one of torch's namespaces (functions, and the tables, guards and thunks of its classes), of its C interface, or of
#: its Python binding.
_OF_TORCH = re.compile(
    r"_Z(?:T[VISTC]|GV|T[hv]n?\d+_(?:n?\d+_)?)?N[rVKRO]*(?:3c10|4c10d|2at|5torch|6caffe2)|aoti_torch_|THP[A-Z]")
#: What stands in a mangled name for something else than a type of its own: substitutions, template parameters, literals.
_STAND_IN = re.compile(r"S[0-9A-Z]*_|T\d*_|L[a-z]n?\d+E")
_LENGTH = re.compile(r"\d{1,4}")


def is_torchs(symbol: str) -> bool:
    """Whether torch's libraries ought to define it."""
    return _OF_TORCH.match(symbol) is not None


def string_abi(symbol: str) -> bool | None:
    """The C++11 ABI of a symbol's std::string: True the new one, False the old one, None where it has none."""
    if "__cxx11" in symbol:
        return True
    return False if "Ss" in _without_names(symbol) else None


def torch_abi(symbols: Iterable[str]) -> bool | None:
    """Whether torch is called with the new std::string (True) or the old one (False); None: with neither."""
    abis = {string_abi(symbol) for symbol in symbols if is_torchs(symbol)}
    return True if True in abis else False if False in abis else None


def _without_names(symbol: str) -> str:
    """A mangled symbol without its names, which are headed by their length, and with "." for stand-ins."""
    rest, at = "", 0
    while at < len(symbol):
        if stand_in := _STAND_IN.match(symbol, at):
            rest, at = f"{rest}.", stand_in.end()
        elif length := _LENGTH.match(symbol, at):
            rest, at = f"{rest}.", length.end() + int(length[0])
        else:
            rest, at = rest + symbol[at], at + 1
    return rest
