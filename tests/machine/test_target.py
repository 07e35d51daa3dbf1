"""The script that the training interpreter runs, in real interpreters that are well, odd, broken or not there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fake_site import make_distribution

from swift_fa_launcher.decode import Unknown
from swift_fa_launcher.machine.collect import TARGET, ask_target
from swift_fa_launcher.machine.interpreter import Answer, parse_answer, run_script

OTHERS = [found for minor in range(8, 15) if (found := shutil.which(f"python3.{minor}"))] + [
    str(found) for found in sorted(Path(os.environ.get("PYENV_ROOT", "/nowhere")).glob("versions/3.*/bin/python"))
    if int(found.parts[-3].split(".")[1]) >= 8]


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python of its own with nothing installed."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return str(folder / "bin" / "python")


def ask(python: str, *path: Path, **variables: str) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), **variables}
    answer = ask_target(python, environment, Path.cwd())
    assert isinstance(answer, dict), answer
    return answer


def test_a_bare_environment(bare: str) -> None:
    answer = ask(bare)
    assert answer["python"]["version"] == ".".join(map(str, sys.version_info[:3]))
    assert answer["python"]["abi"] == f"cp{sys.version_info[0]}{sys.version_info[1]}"
    assert answer["python"]["site_packages_writable"] is True and answer["python"]["externally_managed"] is False
    assert answer["distributions"] == {}
    assert answer["modules"] == dict.fromkeys(answer["modules"])


@pytest.mark.parametrize("python", OTHERS)
def test_every_python_that_is_here_answers(python: str, tmp_path: Path) -> None:
    make_distribution(tmp_path, "Flash_Attn", "2.8.3", "torch>=2; extra == 'x'", "einops")
    try:
        version = subprocess.run([python, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"], check=True,
                                 capture_output=True, text=True).stdout.strip()
    except subprocess.CalledProcessError:
        pytest.skip(f"{python} is a shim without a Python")
    answer = ask(python, tmp_path)
    assert answer["python"]["version"].startswith(version)
    assert answer["distributions"]["flash-attn"]["requires"] == ["torch>=2; extra == 'x'", "einops"]


def test_distributions_as_importlib_metadata_sees_them(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    make_distribution(first, "flash-attn", "2.8.3")
    make_distribution(second, "flash.attn", "2.5.0")  # hidden by the first
    make_distribution(first, "torch", "2.8.0").rename(first / "~orch-2.8.0.dist-info")  # an interrupted pip's leftover
    (first / "gone-1.0.dist-info").mkdir()  # without METADATA
    egg = second / "old_style.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Name: old-style\nVersion: 1.5\n")
    (egg / "requires.txt").write_text("numpy>=1\n\n[extra]\nscipy\n")
    found = ask(sys.executable, first, second, PYTHONNOUSERSITE="1")["distributions"]
    assert (found["flash-attn"]["version"], found["old-style"]["version"]) == ("2.8.3", "1.5")
    assert found["old-style"]["requires"] == ["numpy>=1"]
    assert "gone" not in found and "-orch" not in found and "orch" not in found


def test_nothing_is_imported_to_be_located(tmp_path: Path) -> None:
    for name in ("torch", "flash_attn"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('imported')")
    modules = ask(sys.executable, tmp_path)["modules"]
    assert modules["torch"]["origin"] == str(tmp_path / "torch" / "__init__.py")
    assert modules["flash_attn"]["folders"] == [str(tmp_path / "flash_attn")]


def test_a_folder_without_init_is_told_from_a_package(tmp_path: Path) -> None:
    (tmp_path / "flash_attn" / "cute").mkdir(parents=True)
    place = ask(sys.executable, tmp_path)["modules"]["flash_attn"]
    assert place == {"origin": None, "folders": [str(tmp_path / "flash_attn")]}


def test_extensions_of_other_pythons_and_copies_are_listed_behind_the_one_imported(bare: str, tmp_path: Path) -> None:
    version = f"{sys.version_info[0]}{sys.version_info[1]}"
    names = ["a/flash_attn_2_cuda.cpython-36m-x86_64-linux-gnu.so", f"a/flash_attn_2_cuda.cpython-{version}-x86_64-linux-gnu.so",
             "b/flash_attn_2_cuda.abi3.so"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = ask(bare, tmp_path / "a", tmp_path / "b")["extensions"]["flash_attn_2_cuda"]
    assert found == [str(tmp_path / names[1]), str(tmp_path / names[0]), str(tmp_path / names[2])]


def test_noise_around_the_answer(bare: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import atexit, sys\nprint('hello', end='')\nprint('héllo', file=sys.stderr)\n"
                                               "atexit.register(print, '{\"bye\": 1}')\n")
    assert ask(bare, tmp_path)["python"]["executable"]


def test_a_folder_of_the_launcher_is_not_on_the_path(bare: str) -> None:
    code = f"import runpy, sys; sys.argv = [{str(TARGET)!r}]"
    assert subprocess.run([bare, "-c", code], check=False).returncode == 0
    answer = run_script(bare, TARGET, environment=dict(os.environ), cwd=Path.cwd(), timeout=30)
    assert "probe" not in str(answer.steps[0]["modules"])


def test_no_such_interpreter(tmp_path: Path) -> None:
    assert ask_target(str(tmp_path / "no" / "python"), dict(os.environ), tmp_path) is None
    assert ask_target("no-such-python", {"PATH": str(tmp_path)}, tmp_path) is None


@pytest.mark.parametrize(("script", "told"), [
    ("echo nonsense; exit 3", "exit status 3: nonsense"), ("exit 0", "it printed no answer"),
    ("kill -SEGV $$", "SIGSEGV"), ("echo swift-fa-target:{broken", "it printed no answer"),
    ("head -c 100000 /dev/urandom; exit 1", "exit status 1")])
def test_an_interpreter_that_is_none(tmp_path: Path, script: str, told: str) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    answer = ask_target(str(program), dict(os.environ), tmp_path)
    assert isinstance(answer, Unknown) and told in answer.why


def test_a_file_that_cannot_be_run(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_bytes(b"\x7fELF not really")
    program.chmod(0o755)
    answer = ask_target(str(program), dict(os.environ), tmp_path)
    assert isinstance(answer, Unknown) and "could not be started" in answer.why


def test_a_hang_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\nsleep 300 & echo $! > {tmp_path}/pid; echo 'swift-fa-target:{{\"step\": 1}}'; wait\n")
    program.chmod(0o755)
    began = time.monotonic()
    answer = run_script(str(program), TARGET, environment=dict(os.environ), cwd=tmp_path, timeout=1.0)
    assert time.monotonic() - began < 10
    assert answer == Answer(({"step": 1},), "no answer within 1 s", late=True)
    pid = int((tmp_path / "pid").read_text())
    for _ in range(50):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the sleep goes on")


def test_only_whole_objects_are_an_answer() -> None:
    assert parse_answer("x\nswift-fa-target:[1]\nswift-fa-target:{\"a\": 1}\nlast", 1) == Answer(
        ({"a": 1},), "exit status 1: last")
    assert parse_answer("", -9) == Answer((), "ended by SIGKILL")
