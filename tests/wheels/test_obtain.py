"""From a resolution to a receipt, against a real server and a real environment: the next wheel when one is no good."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from packaging.version import Version
from wheel_factory import HERE, SUFFIX, compile_extension, make_wheel, module_source, sha256
from wheel_server import good, page, running_server, status

from swift_fa_launcher.config.schema import FlashAttnSection
from swift_fa_launcher.decode import Unknown
from swift_fa_launcher.errors import InstallError, render_words
from swift_fa_launcher.flash.name import Candidate
from swift_fa_launcher.machine.facts import Facts, Gpu, Host, Python, Toolchain, Torch
from swift_fa_launcher.wheels.build import make_build_plan
from swift_fa_launcher.wheels.choose import Resolution, choose_wheel
from swift_fa_launcher.wheels.companions import Companions
from swift_fa_launcher.wheels.download import AllRefused, Patience, render_progress
from swift_fa_launcher.wheels.install import read_receipt
from swift_fa_launcher.wheels.obtain import (
    Means,
    elsewhere,
    fetch_beside,
    install_flash_attn,
    obtain_wheel,
)

FACTS = Facts(
    host=Host(os="Linux", machine="x86_64", glibc=Version("2.36"), cpus=2, available_memory_gib=8.0),
    python=Python(version=Version(f"3.{HERE[3:]}.1"), implementation="CPython", abi=HERE),
    torch=Torch(version=Version("2.6.0+cu124"), cuda=Version("12.4"), hip=None, cxx11_abi=False, origin=None),
    gpus=(), packages={}, toolchain=Toolchain(nvcc=Version("12.4"), gcc=Version("12")))


@pytest.fixture(scope="module")
def extension(tmp_path_factory):
    return compile_extension(tmp_path_factory.mktemp("c"), module_source("flash_attn_2_cuda"), "flash_attn_2_cuda")


@pytest.fixture(scope="module")
def python(template, tmp_path_factory):
    folder = tmp_path_factory.mktemp("target") / "venv"
    shutil.copytree(template, folder, symlinks=True)
    return folder / "bin" / "python"


@pytest.fixture
def server():
    with running_server() as running:
        yield running


@pytest.fixture
def offer(server, tmp_path, extension):
    """Makes a wheel and serves it; the candidate."""
    def make(version: str, *, body: str = "", behaviour=None, digest: str | None = None, **options) -> Candidate:
        files = {"flash_attn/__init__.py": f"__version__ = {version!r}\n{body}\n", f"flash_attn_2_cuda{SUFFIX}": extension}
        name = f"flash_attn-{version}-{HERE}-{HERE}-linux_x86_64.whl"
        wheel = make_wheel(tmp_path / version, name, files, **{"version": version, "tag": f"{HERE}-{HERE}-linux_x86_64",
                                                               **options})
        url = server.serve(f"/{name}", behaviour or good(wheel.read_bytes()))
        return Candidate(name, url, "test", digest or sha256(wheel))
    return make


@pytest.fixture
def means(tmp_path):
    return Means(cache=tmp_path / "cache", patience=Patience(probe=0.5, connect=2, answer=2, silence=2, pause=0.02),
                 environment={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})


@pytest.fixture
def install(python, means):
    def act(*ranked: Candidate, plan: str = "wheel", facts: Facts = FACTS, say=lambda words: None):
        resolution = Resolution(ranked[0] if ranked else None, ranked, (), plan)
        return install_flash_attn(facts, resolution, str(python), replace(means, say=say))
    return act


def installed(python: Path) -> str:
    done = subprocess.run([python, "-c", "import flash_attn; print(flash_attn.__version__)"], capture_output=True, text=True,
                          check=False)
    return done.stdout.strip()


def test_each_wheel_that_is_no_good_gives_way_to_the_next(install, offer, python):
    ranked = (offer("2.8.9", behaviour=status(404)), offer("2.8.8", behaviour=page("<html>")),
              offer("2.8.7", name="flash_atn"), offer("2.8.6", body="raise ImportError('undefined symbol')"), offer("2.8.5"))
    said: list[str] = []
    done = install(*ranked, say=lambda words: said.append(render_words(words, "en")))
    assert done.version == "2.8.5" == installed(python)
    for wheel, reason in zip(ranked, ("404", "an HTML page", "METADATA says flash_atn", "undefined symbol"), strict=False):
        assert any(line.startswith(f"{wheel.filename}: ") and reason in line for line in said), reason
    assert done.proven == ("sha256", "contents", "import") and done.url == ranked[4].url


def test_when_none_is_good_every_reason_is_told_and_the_old_one_stays(install, offer, python):
    install(offer("2.7.0"))
    bad = (offer("2.8.9", behaviour=status(403)), offer("2.8.8", tag="cp36-cp36m-linux_x86_64"))
    with pytest.raises(AllRefused) as error:
        install(*bad)
    assert [refused.code for refused in error.value.refused] == ["mirror-unreachable", "python-tag-mismatch"]
    for lang in ("en", "zh"):
        assert all(candidate.filename in render_words(error.value.why, lang) for candidate in bad)
    assert installed(python) == "2.7.0"


def test_a_lock_installs_its_file_or_nothing(install, offer, python):
    install(offer("2.7.0"))
    locked = offer("2.8.3", digest="0" * 64)
    with pytest.raises(AllRefused) as error:
        install(locked, plan="none")
    assert error.value.refused[0].code == "hash-mismatch" and installed(python) == "2.7.0"


@pytest.mark.parametrize(("symbol", "fault", "end"), [
    ("there", None, "2.8.3"), ("absent", None, "torch-mismatch"), ("there", "wrong numbers", "flash-attn-import-failed"),
    ("there", "no GPU to try", "")])
def test_a_wheel_of_a_neighbouring_torch_is_proven_before_it_is_believed(offer, server, means, python, tmp_path, symbol, fault,
                                                                         end):
    """Its symbols are looked up in the torch that is installed, and a run on the GPU has the last word."""
    lib = tmp_path / "torch" / "lib" / "libc10.so"
    lib.parent.mkdir(parents=True)
    lib.write_bytes(compile_extension(tmp_path / "c10", "void _ZN3c106detail5thereEv(void) {}\n", "libc10"))
    name = f"_ZN3c106detail{len(symbol)}{symbol}Ev"
    source = module_source("flash_attn_2_cuda", f"void {name}(void); void use(void) {{ {name}(); }}")
    body = compile_extension(tmp_path / "c", source, "flash_attn_2_cuda", f"-L{lib.parent}", f"-Wl,-rpath,{lib.parent}",
                             "-Wl,--no-as-needed", "-lc10", "-Wl,--unresolved-symbols=ignore-all", "-Wl,-z,lazy")
    label = f"flash_attn-2.8.3+cu124torch2.5-{HERE}-{HERE}-linux_x86_64.whl"
    inside = {"flash_attn/__init__.py": "__version__ = '2.8.3'\n", f"flash_attn_2_cuda{SUFFIX}": body}
    file = make_wheel(tmp_path / "near", label, inside, tag=f"{HERE}-{HERE}-linux_x86_64")
    near = Candidate(label, server.serve(f"/{label}", good(file.read_bytes())), "test", sha256(file))
    facts = replace(FACTS, torch=replace(FACTS.torch, origin=str(tmp_path / "torch")), gpus=(Gpu(0),))
    resolution = choose_wheel(facts, [near], build="never")
    assert resolution.chosen is None and resolution.to_prove == (near,)
    said = []
    probe = None if fault == "no GPU to try" else lambda more: fault
    act = partial(install_flash_attn, facts, resolution, str(python), replace(means, say=said.append), probe=probe)
    if end == "2.8.3":
        receipt = act()
        assert receipt.proven == ("sha256", "contents", "symbols", "import", "probe") and installed(python) == end
        assert any("labelled for torch 2.5, and proven for 2.6.0+cu124" in render_words(line, "en") for line in said)
    else:
        with pytest.raises(AllRefused) as error:
            act()
        assert [each.code for each in error.value.refused] == [end or "torch-mismatch"]


def test_through_a_mirror_with_the_digest_of_the_origin(install, offer, server, means, python):
    wheel = offer("2.8.4")
    origin = replace(wheel, url=f"https://github.com/nobody-{sha256(Path(sys.executable))[:12]}/x/{wheel.filename}")
    server.serve(f"/gh/{origin.url}", server.routes[f"/{wheel.filename}"])
    mirrored = replace(means, section=FlashAttnSection(mirrors=(f"{server.url}/gh/",)))
    resolution = Resolution(origin, (origin,), (), "wheel")
    done = install_flash_attn(FACTS, resolution, str(python), mirrored)
    assert done.url.startswith(server.url) and done.sha256 == wheel.sha256
    unknown = replace(origin, sha256=None, filename=wheel.filename.replace("2.8.4", "2.8.2"))
    with pytest.raises(AllRefused) as error:
        install_flash_attn(FACTS, replace(resolution, ranked=(unknown,)), str(python), mirrored)
    assert "unverified" in [refused.code for refused in error.value.refused]


def test_a_wheel_for_another_machine_is_only_fetched(offer, means, tmp_path):
    there = elsewhere(FACTS)
    assert isinstance(there.torch.origin, Unknown)
    wheel = offer("2.8.3")
    obtained = obtain_wheel(there, Resolution(wheel, (wheel,), (), "wheel"), means, into=tmp_path / "usb")
    assert obtained.fetched.path == tmp_path / "usb" / wheel.filename and obtained.proof.ok
    assert sha256(obtained.fetched.path) == wheel.sha256 == obtained.fetched.sha256


def test_for_another_machine_what_the_wheel_needs_lies_beside_it(offer, means, tmp_path):
    """Fetched by a real pip, from a folder of wheels; what that machine says that it has is not."""
    links = tmp_path / "links"
    for name, tag, needs in (("einops", "py3-none-any", ()), ("dsl", f"{HERE}-{HERE}-linux_x86_64", ("core", "torch")),
                             ("dsl", f"{HERE}-{HERE}-win_amd64", ()), ("core", "py3-none-any", ()),
                             ("torch", "py3-none-any", ("huge",)), ("huge", "py3-none-any", ())):
        make_wheel(links, f"{name}-1-{tag}.whl", {}, name=name, version="1", tag=tag, requires=needs)
    means = replace(means, environment={**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(links),
                                        "PIP_CONFIG_FILE": os.devnull})
    wheel = offer("2.8.3", requires=("torch", "einops"))
    obtained = obtain_wheel(elsewhere(FACTS), Resolution(wheel, (wheel,), (), "wheel"), means, into=tmp_path / "usb")
    assert [file.name for file in fetch_beside(FACTS, obtained, means).files] == ["einops-1-py3-none-any.whl"]
    has_it = replace(FACTS, packages={"einops": Version("0.8")})
    assert fetch_beside(has_it, obtained, means) == Companions()
    more = replace(obtained, proof=replace(obtained.proof, requires=("torch", "dsl>=1", "einops")))
    beside = [file.name for file in fetch_beside(has_it, more, means).files]
    assert beside == ["core-1-py3-none-any.whl", f"dsl-1-{HERE}-{HERE}-linux_x86_64.whl"]
    (links / "einops-1-py3-none-any.whl").unlink()
    said = []
    assert not fetch_beside(FACTS, obtained, replace(means, say=said.append)).files
    assert "pip download --no-deps einops" in said[-1].en


def test_a_build_kept_from_a_machine_alike_is_installed(install, offer, means, python, tmp_path):
    made = offer("2.8.1")
    plan = make_build_plan(FACTS)
    kept = means.cache / "builds" / plan.key / "wheel" / made.filename
    kept.parent.mkdir(parents=True)
    kept.write_bytes((tmp_path / "2.8.1" / made.filename).read_bytes())
    done = install(plan="source-build")
    assert done.url == "built from source: flash-attn" and installed(python) == "2.8.1"
    assert read_receipt(next((python.parents[1] / "lib").glob("python3*")) / "site-packages") == done


def test_what_is_wrong_with_the_environment_is_not_the_wheels_fault(offer, means, server):
    wheel = offer("2.8.3")
    with pytest.raises(InstallError, match="does not answer"):
        install_flash_attn(FACTS, Resolution(wheel, (wheel, wheel), (), "wheel"), "/bin/false", means)


def test_the_progress_line():
    line = render_progress(50 << 20, 200 << 20, 10 << 20)
    assert line == f"[{'=' * 6}{' ' * 18}]  25% 50.0/200.0 MiB  10.0 MiB/s  0:15 left"
    assert render_progress(0, 200 << 20, 0, "zh").endswith("剩余 -:--")
    assert render_progress(5 << 20, None, 1 << 20) == "5.0 MiB  1.0 MiB/s"
