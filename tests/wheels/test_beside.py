"""flash-linear-attention into a real virtual environment: added where it is missing, and nothing else changes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from machines import config, machine, machine_data
from wheel_factory import HERE, SUFFIX, compile_extension, make_wheel, module_source, sha256
from wheel_server import free_port, good, page, running_server

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.errors import InstallError, Voice, Words, render_words
from swift_fa_launcher.findings.finding import ERROR, WARNING, Finding
from swift_fa_launcher.flash.name import Candidate
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.stories.install import Choice, choose_beside, read_lock, would_mend, write_lock
from swift_fa_launcher.stories.install import install_beside as of_findings
from swift_fa_launcher.wheels.beside import install_beside
from swift_fa_launcher.wheels.choose import Resolution
from swift_fa_launcher.wheels.install import read_receipt
from swift_fa_launcher.wheels.lock import LockedBeside

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
    assert install_beside([NAME], python, environment, said.append) == {NAME: "0.5.0"} and said
    assert version(python, environment) == "0.5.0 4.57.3"
    assert "No broken requirements" in run(python, environment, "-m", "pip", "check")
    before = files(python)
    assert install_beside([NAME], python, environment, said.append) == {} and files(python) == before


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
    assert of_findings(config(), facts, (finding, finding), Voice()) == {NAME: "0.6.0"}
    assert version(python, dict(os.environ)) == "0.6.0 5.7.0" and of_findings(config(), facts, (), Voice()) == {}


# causal-conv1d: a wheel for each torch, as of flash-attn ---------------------------------------------------------------

CONV, WHEEL = "causal-conv1d", f"causal_conv1d-1.6.1+cu12torch2.8cxx11abiTRUE-{HERE}-{HERE}-linux_x86_64.whl"
LABELLED = WHEEL.split("-")[1]
SLOW = Finding("linear-attention-slow", WARNING, "x", ("y",), {"missing": [NAME, CONV]})


class Heard(Voice):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, words: Words) -> None:
        self.said.append(render_words(words, "en"))


@pytest.fixture(scope="session")
def conv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of causal-conv1d with a real extension, in a folder of its own."""
    folder = tmp_path_factory.mktemp("conv")
    extension = compile_extension(folder / "c", module_source("causal_conv1d_cuda"), "causal_conv1d_cuda")
    return make_wheel(folder / "wheels", WHEEL, {"causal_conv1d/__init__.py": "import causal_conv1d_cuda",
                                                 f"causal_conv1d_cuda{SUFFIX}": extension},
                      name="causal_conv1d", version="1.6.1", tag=f"{HERE}-{HERE}-linux_x86_64", requires=("torch", "packaging"))


def here(python: str, **changes: Any) -> Facts:
    """A machine like `machine()` with the Python and the glibc of this one, for which the extension is compiled; it has no code
    for GPUs, and of the one here nobody knows what it wants."""
    (site,) = Path(python).parents[1].glob("lib/python3*/site-packages")
    told = {"executable": python, "site_packages": str(site), "version": f"3.{HERE[3:]}.1", "abi": HERE}
    return machine(**{"host__glibc": "2.36", "gpus": [{"index": 0}], "python": told, **changes})


def without_network(folder: Path, **section: Any) -> ResolvedConfig:
    nowhere = f"http://127.0.0.1:{free_port()}"
    return config(flash_attn={"sources": [str(folder)], **section}, env={
        "PATH": "/usr/bin:/bin", "HOME": str(folder), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder),
        "GITHUB_API_URL": nowhere})


def test_its_wheel_comes_from_its_releases_and_is_locked(python: str, tmp_path: Path, conv: Path) -> None:
    environment = offer(tmp_path / "wheels")
    make_wheel(tmp_path / "wheels", "packaging-25.0-py3-none-any.whl", {"packaging.py": ""}, name="packaging", version="25.0")
    make_wheel(tmp_path / "wheels", "torch-2.8.0-py3-none-any.whl", {"torch.py": ""}, name="torch", version="2.8.0")
    run(python, environment, "-m", "pip", "install", "-q", "torch", "transformers==4.57.3")
    with running_server() as server:
        url = server.serve(f"/{WHEEL}", good(conv.read_bytes()))
        other = {"name": WHEEL.replace("torch2.8", "torch2.7"), "browser_download_url": url}
        server.serve("/repos/Dao-AILab/causal-conv1d/releases", page(json.dumps([{"tag_name": "v1.6.1", "assets": [
            other, {"name": WHEEL, "browser_download_url": url, "digest": f"sha256:{sha256(conv)}"}]}])))
        wanted = without_network(tmp_path / "wheels")
        wanted = replace(wanted, files=(tmp_path / "c.yaml",), env={**wanted.env, "GITHUB_API_URL": server.url})
        facts, heard = here(python, gpus=[]), Heard()
        assert would_mend(wanted, here(python), (SLOW,)) and not would_mend(wanted, facts, (SLOW,))
        with_gpu = Heard()  # for which this torch is none: what was not proven does not stay
        assert CONV not in of_findings(wanted, here(python), (SLOW,), with_gpu)
        assert any("causal_conv1d was run on the GPU: " in line for line in with_gpu.said), with_gpu.said
        run(python, environment, "-m", "pip", "uninstall", "-qy", NAME)
        assert of_findings(wanted, facts, (SLOW,), heard) == {NAME: "0.5.0", CONV: LABELLED}, heard.said
        run(python, environment, "-c", "import causal_conv1d, packaging")
        (site,) = Path(python).parents[1].glob("lib/python3*/site-packages")
        receipt = read_receipt(site, CONV)
        assert receipt and (receipt.url, receipt.proven) == (url, ("sha256", "contents", "import")) and not read_receipt(site)

        wheel = Candidate("flash_attn-2.8.3-py3-none-any.whl", "https://a/b.whl", "test")
        flash = replace(receipt, filename=wheel.filename, url=wheel.url, sha256="ab" * 32)
        choice = Choice(Resolution(wheel, (wheel,), (), "wheel"), (), wanted.flash_attn, "flash_attn")
        write_lock(wanted, here(python, packages={NAME: "0.5.0"}), choice, flash, {CONV: LABELLED})
        lock = read_lock(wanted)
        assert lock and lock.beside == {NAME: LockedBeside("0.5.0"), CONV: LockedBeside(LABELLED, WHEEL, url, sha256(conv))}

    run(python, environment, "-m", "pip", "uninstall", "-qy", NAME, CONV)
    offer(tmp_path / "wheels", needs=())  # the newer would do now, and the server is gone: what is locked comes
    heard = Heard()
    assert of_findings(wanted, facts, (SLOW,), heard) == {NAME: "0.5.0", CONV: LABELLED}, heard.said


def test_from_a_folder_where_github_is_not(python: str, tmp_path: Path, conv: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    choice = choose_beside(without_network(conv.parent), here(python), say=lambda words: None)
    assert choice.resolution.chosen and choice.resolution.chosen.filename == WHEEL
    refused = choose_beside(without_network(conv.parent), here(python, torch__version="2.7.1+cu128"), say=lambda words: None)
    assert [v.code for v in refused.resolution.verdicts] == ["torch-mismatch"] and refused.resolution.plan == "none"
    assert run(python, environment, "-c", "print(1)") == "1"


def test_what_only_makes_it_faster_does_not_end_a_start(python: str, tmp_path: Path) -> None:
    before, heard = files(python), Heard()
    (tmp_path / "empty").mkdir()
    assert of_findings(without_network(tmp_path / "empty"), here(python), (SLOW,), heard) == {} and files(python) == before
    assert [line.partition(";")[0].partition(":")[0] for line in heard.said if line.startswith(("could not", "no causal"))] == [
        "could not install flash-linear-attention", "no causal-conv1d wheel could be installed"]
    needed = Finding("packing-needs-fla", ERROR, "x", ("y",))
    with pytest.raises(InstallError):
        of_findings(without_network(tmp_path / "empty"), here(python), (SLOW, needed), heard)


def test_a_dry_run_shows_it(tmp_path: Path, conv: Path) -> None:
    facts = machine_data(host__glibc="2.36", packages={NAME: None, "fla-core": None, CONV: None}, paths={"q": {
        "kind": "dir", "missing_files": [], "model_config": {"model_type": "qwen3_next"}}})
    (tmp_path / "facts.json").write_text(json.dumps({**facts, "python": {**facts["python"], "abi": HERE}}))
    command = [sys.executable, "-m", "swift_fa_launcher", "install", "--facts", tmp_path / "facts.json", "--dry-run", "--offline",
               "swift.model=q", "swift.packing=false", f"flash_attn.sources=[{conv.parent}]"]
    told = [subprocess.run([*map(str, command), *more], env={**os.environ, "SWIFT_FA_CACHE": str(tmp_path), "LANG": "C.UTF-8"},
                           cwd=tmp_path, capture_output=True, text=True, check=False).stdout for more in ([], ["--json"])]
    assert f"beside it: {NAME}\n  installed by pip" in told[0] and f"beside it: {CONV}\n{WHEEL}\n" in told[0]
    beside = json.loads(told[1])["beside"]
    assert beside[NAME] is None and beside[CONV]["chosen"]["filename"] == WHEEL
