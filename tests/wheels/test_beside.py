"""flash-linear-attention into a real virtual environment: added where it is missing, and nothing else changes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from machines import config, machine
from wheel_factory import make_wheel

from swift_fa_launcher.errors import InstallError
from swift_fa_launcher.findings.finding import ERROR, Finding
from swift_fa_launcher.stories.install import install_beside as of_findings
from swift_fa_launcher.stories.install import would_mend
from swift_fa_launcher.wheels.beside import install_beside

NAME = "flash-linear-attention"


@pytest.fixture
def python(template: Path, tmp_path: Path) -> str:
    shutil.copytree(template, tmp_path / "venv", symlinks=True)
    return str(tmp_path / "venv" / "bin" / "python")


def offer(folder: Path, *, body: str = "", needs: tuple[str, ...] = ("transformers>=4",)) -> dict[str, str]:
    """The environment of a machine that is offered both wheels, of two versions; the newer wants a newer transformers."""
    for version, more in (("0.5.0", needs), ("0.6.0", ("transformers>=5.6",))):
        make_wheel(folder, f"fla_core-{version}-py3-none-any.whl", {"fla/__init__.py": body, "fla/ops/__init__.py": ""},
                   name="fla_core", version=version)
        make_wheel(folder, f"flash_linear_attention-{version}-py3-none-any.whl", {"fla/layers/__init__.py": ""},
                   name="flash_linear_attention", version=version, requires=(f"fla-core=={version}", *more))
    for version in ("4.57.3", "5.7.0"):
        make_wheel(folder, f"transformers-{version}-py3-none-any.whl", {"transformers.py": f"version = {version!r}"},
                   name="transformers", version=version)
    return {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}


def run(python: str, environment: dict[str, str], *words: str) -> str:
    return subprocess.run([python, *words], env=environment, cwd="/", capture_output=True, text=True, check=True).stdout.strip()


def version(python: str, environment: dict[str, str]) -> str:
    return run(python, environment, "-c", "import fla.ops, fla.layers, transformers, importlib.metadata as m\n"
                                          f"print(m.version({NAME!r}), transformers.version)")


def files(python: str) -> list[str]:
    (site,) = Path(python).parents[1].glob("lib/python3*/site-packages")
    return sorted(str(file) for file in site.rglob("*") if "__pycache__" not in file.parts)


@pytest.mark.parametrize("core_is_there", [False, True])
def test_the_one_that_suits_what_is_there(python: str, tmp_path: Path, core_is_there: bool) -> None:
    environment = offer(tmp_path / "wheels")
    there = ["transformers==4.57.3", *(["fla-core==0.5.0"] if core_is_there else [])]
    run(python, environment, "-m", "pip", "install", "-q", *there)
    said = list[Any]()
    assert install_beside([NAME], python, environment, said.append) == (NAME,) and said
    assert version(python, environment) == "0.5.0 4.57.3"
    assert "No broken requirements" in run(python, environment, "-m", "pip", "check")
    before = files(python)
    assert install_beside([NAME], python, environment, said.append) == () and files(python) == before


@pytest.mark.parametrize(("body", "needs", "why"), [
    ("raise ImportError('no triton')", (), "no triton"), ("", ("no-such-package",), "ResolutionImpossible")])
def test_one_that_cannot_be_used_leaves_nothing(python: str, tmp_path: Path, body: str, needs: tuple[str, ...],
                                                why: str) -> None:
    environment = offer(tmp_path / "wheels", body=body, needs=needs)
    run(python, environment, "-m", "pip", "install", "-q", "transformers==4.57.3")
    before = files(python)
    with pytest.raises(InstallError) as caught:
        install_beside([NAME], python, environment, lambda words: None)
    assert why in str(caught.value.why) and files(python) == before


def test_a_finding_asks_for_it(python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = offer(tmp_path / "wheels")
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, environment[name])
    run(python, environment, "-m", "pip", "install", "-q", "transformers==5.7.0")
    finding = Finding("packing-needs-fla", ERROR, "x", ("y",))
    facts = machine(python__executable=python)
    assert would_mend(config(), facts, (finding,)) and not would_mend(config(flash_attn={"install": "never"}), facts, (finding,))
    assert not would_mend(config(), facts, (finding, Finding("gpu-none", ERROR, "x", ("y",))))
    assert of_findings(config(), facts, (finding, finding), lambda words: None) == (NAME,)
    assert version(python, dict(os.environ)) == "0.6.0 5.7.0" and of_findings(config(), facts, (), lambda words: None) == ()
