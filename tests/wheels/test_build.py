"""Source builds: the plan from facts, then real builds by pip of a small package with a C extension."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version

from swift_fa_launcher.config.schema import FlashAttnSection, ResolvedConfig
from swift_fa_launcher.diagnose.diagnosis import diagnose_file
from swift_fa_launcher.errors import ConfigError, InstallError, Voice, render_words
from swift_fa_launcher.machine.facts import Facts, Gpu, Host, Python, Toolchain, Torch
from swift_fa_launcher.stories.install import Choice, install
from swift_fa_launcher.wheels.build import cached_build, make_build_plan, render_build_plan, run_build
from swift_fa_launcher.wheels.choose import Resolution

FACTS = Facts(
    host=Host(os="Linux", machine="x86_64", glibc=Version("2.35"), cpus=64, available_memory_gib=100.0),
    python=Python(version=Version("3.10.14"), abi="cp310"),
    torch=Torch(version=Version("2.6.0+cu124"), cuda=Version("12.4"), cxx11_abi=False),
    gpus=(Gpu(0, compute_capability=Version("9.0")), Gpu(1, compute_capability=Version("9.0"))),
    toolchain=Toolchain(nvcc=Version("12.4"), cuda_home="/usr/local/cuda", ninja=None),
    packages={name: Version("1") for name in ("packaging", "psutil", "ninja", "wheel", "setuptools")})
WANTED = FlashAttnSection(version="2.8.3")


def test_only_the_gpus_that_are_there():
    plan = make_build_plan(FACTS, WANTED)
    assert plan.environment["FLASH_ATTN_CUDA_ARCHS"] == "90" and plan.requirement == "flash-attn==2.8.3"
    mixed = replace(FACTS, gpus=tuple(Gpu(i, compute_capability=Version(c)) for i, c in enumerate(("8.9", "8.0", "12.0"))))
    assert make_build_plan(mixed).environment["FLASH_ATTN_CUDA_ARCHS"] == "80;120"
    anywhere = make_build_plan(replace(FACTS, gpus=()), FlashAttnSection(version=">=2.7,<2.9"))
    assert anywhere.environment["FLASH_ATTN_CUDA_ARCHS"] == "80;90;100;120"


@pytest.mark.parametrize(("available", "cpus", "asked", "jobs"), [
    (100.0, 64, None, 11), (1000.0, 16, None, 16), (4.0, 64, None, 1), (100.0, 64, 3, 3)])
def test_jobs_from_the_memory_that_is_left(available, cpus, asked, jobs):
    facts = replace(FACTS, host=replace(FACTS.host, available_memory_gib=available, cpus=cpus))
    plan = make_build_plan(facts, FlashAttnSection(version="2.8.3", max_jobs=asked))
    assert plan.jobs == jobs and plan.environment["MAX_JOBS"] == str(jobs)


def test_the_environment_of_the_build():
    environment = make_build_plan(FACTS, WANTED).environment
    assert environment["FLASH_ATTENTION_FORCE_BUILD"] == "TRUE" and environment["CUDA_HOME"] == "/usr/local/cuda"
    assert environment["TORCH_CUDA_ARCH_LIST"] == "9.0"


def test_what_it_will_need_is_said_first():
    told = render_build_plan(make_build_plan(FACTS, WANTED))
    for part in ("29 minutes", "11 jobs", "99 GiB of memory", "3 GiB of disk", "nvcc", "gcc", "sm_90"):
        assert part in told.en
    assert "29 分钟" in told.zh


def test_machines_that_differ_do_not_share_a_wheel():
    others = [replace(FACTS, python=replace(FACTS.python, abi="cp311")),
              replace(FACTS, torch=replace(FACTS.torch, cuda=Version("12.6"))),
              replace(FACTS, gpus=(Gpu(0, compute_capability=Version("8.0")),))]
    older = make_build_plan(FACTS, FlashAttnSection(version="2.8.2"))
    keys = {older.key, *(make_build_plan(facts, WANTED).key for facts in (FACTS, *others))}
    assert len(keys) == 5
    assert make_build_plan(replace(FACTS, host=replace(FACTS.host, cpus=8)), WANTED).key in keys


def test_nothing_is_planned_that_cannot_be_built():
    for facts in (replace(FACTS, toolchain=replace(FACTS.toolchain, nvcc=None)),
                  replace(FACTS, torch=replace(FACTS.torch, cuda=None)), replace(FACTS, torch=None),
                  replace(FACTS, host=replace(FACTS.host, os="Windows"))):
        with pytest.raises(InstallError):
            make_build_plan(facts, WANTED)
    with pytest.raises(ConfigError):
        make_build_plan(FACTS, FlashAttnSection(version="newest"))


# ---------------------------------------------------------------------------------------------- real builds

SETUP = """
import os, sys
import ninja, psutil  # what flash-attn's own setup.py imports
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

print("Guessing wheel URL:  https://github.com/")
if os.environ.get("FLASH_ATTENTION_FORCE_BUILD") != "TRUE":
    sys.exit("urllib.error.HTTPError: HTTP Error 404: Not Found")

class Ninja(build_ext):
    def run(self):
        for step in (1, 2, 3):
            print(f"[{step}/3] nvcc -gencode arch={os.environ['FLASH_ATTN_CUDA_ARCHS']} jobs={os.environ['MAX_JOBS']}",
                  flush=True)
        super().run()

setup(name="flash_attn", version="2.8.3", py_modules=["flash_attn"], cmdclass={"build_ext": Ninja},
      ext_modules=[Extension("flash_attn_2_cuda", ["flash_attn_2_cuda.c"])])
"""
GOOD = """#include <Python.h>
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "flash_attn_2_cuda"};
PyMODINIT_FUNC PyInit_flash_attn_2_cuda(void) { return PyModule_Create(&def); }
"""


@pytest.fixture(scope="session")
def builder(template, tmp_path_factory):
    """An interpreter with pip and this one's setuptools, and nothing else that flash-attn's build wants."""
    setuptools = pytest.importorskip("setuptools", "70.1", reason="an older setuptools builds no wheel by itself")
    folder = tmp_path_factory.mktemp("builder") / "venv"
    shutil.copytree(template, folder, symlinks=True)
    site, own = next((folder / "lib").glob("python3*")) / "site-packages", Path(setuptools.__file__).parents[1]
    for name in ("setuptools", "pkg_resources", "_distutils_hack", "setuptools-*.dist-info"):
        for old in site.glob(name):
            shutil.rmtree(old)
        for new in own.glob(name):
            shutil.copytree(new, site / new.name)
    return str(folder / "bin" / "python")


@pytest.fixture
def offer(tmp_path):
    """Puts a source package of flash-attn, with stand-ins for its build packages, where pip will look; the environment."""
    def make(code: str) -> dict[str, str]:
        links = tmp_path / "links"
        source = tmp_path / "flash_attn-2.8.3"
        for folder in (links, source):
            folder.mkdir(exist_ok=True)
        (source / "setup.py").write_text(SETUP)
        (source / "flash_attn_2_cuda.c").write_text(code)
        (source / "flash_attn.py").write_text("__version__ = '2.8.3'\n")
        (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: flash_attn\nVersion: 2.8.3\n")
        with tarfile.open(links / "flash_attn-2.8.3.tar.gz", "w:gz") as archive:
            archive.add(source, source.name)
        wheel_package(links, "ninja")
        wheel_package(links, "psutil")
        return {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(links)}
    return make


def wheel_package(links: Path, name: str) -> None:
    from wheel_factory import make_wheel

    make_wheel(links, f"{name}-1.0-py3-none-any.whl", {f"{name}/__init__.py": ""}, name=name, version="1.0")


def small_plan():
    """The plan for this test's package, with what the interpreter lacks."""
    plan = make_build_plan(replace(FACTS, packages={}), FlashAttnSection(version="2.8.3", max_jobs=2))
    assert plan.missing == ("packaging", "psutil", "ninja", "wheel", "setuptools")
    return replace(plan, missing=("ninja", "psutil"), disk_gib=0.1)


def test_a_build_shows_its_steps_and_keeps_wheel_and_log(builder, offer, tmp_path):
    environment, steps, said = offer(GOOD), [], []
    plan = small_plan()
    wheel = run_build(plan, builder, tmp_path / "cache", environment=environment, say=lambda words: said.append(words.en),
                      progress=lambda step, steps_, line: steps.append((step, steps_, line)))
    assert wheel.name.startswith("flash_attn-2.8.3-cp") and wheel.stat().st_size
    assert steps == [(n, 3, f"[{n}/3] nvcc -gencode arch=90 jobs=2") for n in (1, 2, 3)] and "minutes" in said[0]
    assert "[3/3]" in (wheel.parent.parent / "build.log").read_text()
    assert cached_build(plan, tmp_path / "cache") == wheel
    again = run_build(plan, "/no/such/python", tmp_path / "cache", environment=environment)
    assert again == wheel  # the next machine alike takes it from the cache
    listed = subprocess.run([builder, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert "psutil" not in listed  # the environment was not touched


def test_a_failed_build_says_what_the_compiler_said(builder, offer, tmp_path):
    environment = offer(GOOD.replace("PyModule_Create(&def)", "PyModule_Create(&undeclared_thing)"))
    with pytest.raises(InstallError) as error:
        run_build(small_plan(), builder, tmp_path / "cache", environment=environment)
    why = render_words(error.value.why, "en")
    assert "undeclared_thing" in why and "404" not in why and len(error.value.hint) == 1
    assert Path(error.value.where).name == "build.log" and Path(error.value.where).exists()
    assert cached_build(small_plan(), tmp_path / "cache") is None


def test_a_failed_builds_log_is_diagnosed_as_a_trainings_is(builder, offer, tmp_path):
    packages = {name: Version("1") for name in ("packaging", "wheel", "setuptools")}
    facts = replace(FACTS, python=replace(FACTS.python, executable=builder), packages=packages, gpus=FACTS.gpus[:1])
    environment = offer(f"#include <cuda_runtime_that_is_not_there.h>\n{GOOD}")
    resolution = Resolution(None, (), (), "source-build")
    choice = Choice(resolution, (), FlashAttnSection(max_jobs=2), "flash_attn", "2.8.3", environment=environment)
    with pytest.raises(InstallError) as error:
        install(ResolvedConfig(), facts, choice, Voice())
    cause = diagnose_file(Path(error.value.where), exit_code=1)[0]
    assert cause.code != "unknown" and cause.fix == error.value.hint[:-1]
    assert render_words(error.value.why, "en").startswith(f"{render_words(cause.summary, 'en')}: ")


def test_a_source_that_is_not_to_be_had(builder, offer, tmp_path):
    environment = offer(GOOD) | {"PIP_FIND_LINKS": str(tmp_path / "empty")}
    with pytest.raises(InstallError) as error:
        run_build(replace(small_plan(), missing=()), builder, tmp_path / "cache", environment=environment)
    assert "flash-attn" in str(error.value)


def test_no_disk_with_room(builder, offer, tmp_path):
    with pytest.raises(InstallError, match="no disk"):
        run_build(replace(small_plan(), disk_gib=1e9), builder, tmp_path / "cache", environment=offer(GOOD))


def test_an_interrupted_build_leaves_no_wheel_and_no_process(builder, offer, tmp_path):
    def stop(step: int, steps: int, line: str) -> None:
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        run_build(small_plan(), builder, tmp_path / "cache", environment=offer(GOOD), progress=stop)
    assert cached_build(small_plan(), tmp_path / "cache") is None
    assert run_build(small_plan(), builder, tmp_path / "cache", environment=offer(GOOD)).exists()
