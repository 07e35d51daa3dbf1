"""Which compiled code a GPU runs."""

from __future__ import annotations

import pytest
from packaging.version import Version

from swift_fa_launcher.flash.architectures import runs_on

RUNS = [
    ("9.0", ["sm_80"], [], False), ("9.0", ["sm_90"], [], True), ("9.0", ["sm_90a"], [], True), ("8.9", ["sm_80"], [], True),
    ("8.6", ["sm_89"], [], False), ("12.0", ["sm_80", "sm_90"], [], False), ("12.1", ["sm_120"], [], True),
    ("12.1", ["sm_120a"], [], False), ("10.3", ["sm_100f"], [], True), ("12.0", ["sm_100f"], [], False),
    ("12.0", [], ["compute_80"], True), ("8.0", [], ["compute_90"], False), ("12.0", [], ["compute_90a"], False),
    ("10.3", [], ["compute_100f"], True), ("12.0", [], ["compute_100f"], False),
    ("8.7", ["sm_80", "sm_86"], [], False), ("8.7", ["sm_87"], [], True), ("8.9", ["sm_87"], [], False),
    ("8.7", ["sm_80"], ["compute_80"], True), ("9.0", ["nonsense", ""], ["sm"], False), ("9.0", [], [], False),
]


@pytest.mark.parametrize(("capability", "cubins", "ptx", "expected"), RUNS)
def test_which_gpu_runs_what(capability: str, cubins: list[str], ptx: list[str], expected: bool) -> None:
    assert runs_on(Version(capability), cubins, ptx) is expected
