"""Proofs of real wheels: zips with METADATA and RECORD, extensions compiled with gcc, and the one of an H200."""

from __future__ import annotations

import importlib.util
import lzma
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version
from wheel_factory import HERE, SUFFIX, compile_extension, flash_attn_wheel, make_wheel, module_source

from swift_fa_launcher.errors import Text, render_words
from swift_fa_launcher.machine.facts import Facts, Gpu, Host, Python, Torch
from swift_fa_launcher.wheels.prove import prove_wheel

REAL = Path(__file__).parents[3] / "shared/gpu/flash_attn-2.8.3.post2-cp312-cp312-linux_x86_64.whl.xz"
NAME = f"flash_attn-2.8.3-{HERE}-{HERE}-linux_x86_64.whl"
TAG = f"{HERE}-{HERE}-linux_x86_64"

FACTS = Facts(
    host=Host(os="Linux", machine="x86_64", glibc=Version("2.36")),
    python=Python(version=Version(f"3.{HERE[3:]}.1"), implementation="CPython", abi=HERE),
    torch=Torch(version=Version("2.6.0+cu124"), cuda=Version("12.4"), hip=None, cxx11_abi=False, origin=None),
    gpus=(), packages={})


@pytest.fixture(scope="module")
def extension(tmp_path_factory):
    """Compiles an extension module called flash_attn_2_cuda from C, once per source."""
    known: dict[tuple[str, ...], bytes] = {}

    def make(extra: str = "", *flags: str) -> bytes:
        key = (extra, *flags)
        if key not in known:
            source = module_source("flash_attn_2_cuda", extra)
            known[key] = compile_extension(tmp_path_factory.mktemp("c"), source, "flash_attn_2_cuda", *flags)
        return known[key]
    return make


@pytest.fixture
def wheel(tmp_path, extension):
    """A sound wheel for this Python, with changes."""
    def make(filename: str = NAME, body: bytes | None = None, **options) -> Path:
        files = {"flash_attn/__init__.py": "", f"flash_attn_2_cuda{SUFFIX}": extension() if body is None else body}
        return make_wheel(tmp_path, filename, files, **{"tag": TAG, **options})
    return make


def codes(path: Path, facts: Facts = FACTS) -> list[str]:
    proof = prove_wheel(path, facts)
    for _, words in proof.reasons:
        assert isinstance(words, Text) and words.en and words.zh
    return [code for code, _ in proof.reasons]


def test_a_sound_wheel_passes(wheel):
    proof = prove_wheel(wheel(requires=("torch", "einops")), FACTS)
    assert proof.ok and proof.requires == ("torch", "einops")
    assert proof.extension.file == f"flash_attn_2_cuda{SUFFIX}"


def test_a_label_beyond_metadata_is_no_contradiction(wheel):
    assert codes(wheel(f"flash_attn-2.8.3+cu12torch2.6cxx11abiFALSE-{HERE}-{HERE}-linux_x86_64.whl")) == []


def test_a_name_that_metadata_contradicts(wheel):
    assert "wheel-invalid" in codes(wheel(name="something_else"))
    assert "wheel-invalid" in codes(wheel(version="2.7.0"))


def test_a_renamed_wheel_for_another_python(wheel, extension):
    assert "python-tag-mismatch" in codes(wheel(tag="cp36-cp36m-linux_x86_64"))
    other = {"flash_attn/__init__.py": "", "flash_attn_2_cuda.cpython-39-x86_64-linux-gnu.so": extension()}
    assert "python-tag-mismatch" in codes(make_wheel(wheel().parent / "other", NAME, other, tag=TAG))


@pytest.mark.parametrize("member", ["../evil.py", "/etc/evil", "flash_attn/../../evil.py", "a\\..\\b", "C:/evil.py",
                                    "flash_attn-2.8.3.data/data/lib/evil.py", "flash_attn-2.8.3.data/scripts/pip",
                                    "flash_attn-2.8.3.data/purelib/torch/x.py", "flash.pth", "flash_attn.pth", "sitecustomize.py",
                                    "usercustomize/__init__.py", "torch/nn.py", "typing_extensions.py",
                                    "flash_attn/__INIT__.py"])
def test_members_that_reach_beyond_flash_attention(wheel, member):
    assert codes(wheel(raw={member: b"evil"})) == ["wheel-invalid"]


def test_programs_and_bombs_are_refused(wheel):
    programs = b"[console_scripts]\npip = x:y\n"
    assert codes(wheel(raw={"flash_attn-2.8.3.dist-info/entry_points.txt": programs})) == ["wheel-invalid"]
    bomb = wheel()
    data = bytearray(bomb.read_bytes())
    at = data.rindex(b"flash_attn/__init__.py") - 46 + 24  # the central directory's uncompressed size
    data[at:at + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    bomb.write_bytes(data)
    assert codes(bomb) == ["wheel-invalid"]


@pytest.mark.parametrize("member", ["hopper/x.py", "flash_attn.libs/libx.so", "flash_attn_2_cuda-stub.py",
                                    "flashattn_hopper_cuda.so", "flash_attn-2.8.3.data/platlib/flash_attn/y.py"])
def test_what_real_wheels_have_beside_it(wheel, member):
    assert codes(wheel(raw={member: b""})) == []


def test_links_and_twins_are_refused(wheel):
    linked = wheel()
    with zipfile.ZipFile(linked, "a") as archive:
        link = zipfile.ZipInfo("flash_attn/link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert codes(linked) == ["wheel-invalid"]
    twice = wheel()
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(twice, "a") as archive:
        archive.writestr("flash_attn/__init__.py", "evil")
    assert codes(twice) == ["wheel-invalid"]


def test_damage_anywhere_is_seen(wheel):
    sound = wheel()
    data = sound.read_bytes()
    for cut in (0, 3, 100, len(data) // 2, len(data) - 1):
        sound.write_bytes(data[:cut])
        assert codes(sound) == ["wheel-invalid"], cut
    damaged = bytearray(data)
    damaged[data.index(b"flash_attn/__init__.py") + 22 + 40] ^= 0xFF  # inside the compressed extension
    sound.write_bytes(damaged)
    assert codes(sound) == ["wheel-invalid"]
    sound.write_text("<!DOCTYPE html>")
    assert codes(sound) == ["wheel-invalid"]


def test_a_zip_that_is_no_wheel(tmp_path):
    path = tmp_path / NAME
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert codes(path) == ["wheel-invalid"]
    shutil.move(path, tmp_path / "flash_attl.whl")
    assert codes(tmp_path / "flash_attl.whl") == ["wheel-invalid"]


def test_a_wheel_without_its_extension(tmp_path):
    assert codes(flash_attn_wheel(tmp_path)) == ["wheel-invalid"]


def test_an_extension_that_is_none(wheel):
    """An object for another machine, and a text file called .so."""
    other = bytearray(prove_source(wheel))
    other[18:20] = (183).to_bytes(2, "little")  # e_machine: aarch64
    assert "platform-mismatch" in codes(wheel(body=bytes(other)))
    assert codes(wheel(body=b"not an ELF file")) != []


def test_a_truncated_extension_in_a_sound_zip(wheel):
    whole = prove_source(wheel)
    assert codes(wheel(body=whole[:len(whole) // 2])) == ["wheel-invalid"]
    assert codes(wheel(body=whole[:-100])) == ["wheel-invalid"]


def prove_source(wheel) -> bytes:
    with zipfile.ZipFile(wheel()) as archive:
        return archive.read(f"flash_attn_2_cuda{SUFFIX}")


@pytest.fixture
def torch_libraries(tmp_path):
    """A torch folder whose libc10.so defines one function, and the facts that name it."""
    library = tmp_path / "torch" / "lib" / "libc10.so"
    library.parent.mkdir(parents=True)
    source = 'void _ZN3c106detail5thereEv(void) {}\nvoid _ZN3c105ErrorC2ENS_14SourceLocationESs(void) {}\n'
    library.write_bytes(compile_extension(tmp_path / "c10", source, "libc10"))
    return replace(FACTS, torch=replace(FACTS.torch, origin=str(tmp_path / "torch")))


def calls(symbol: str) -> str:
    return f"void {symbol}(void); void use(void) {{ {symbol}(); }}"


def test_symbols_are_looked_up_in_the_installed_torch(wheel, extension, torch_libraries):
    link = (f"-L{torch_libraries.torch.origin}/lib", "-Wl,--no-as-needed", "-lc10")
    assert codes(wheel(body=extension(calls("_ZN3c106detail5thereEv"), *link)), torch_libraries) == []
    absent = extension(calls("_ZN3c106detail6absentEv"), *link, "-Wl,--unresolved-symbols=ignore-all")
    assert codes(wheel(body=absent), torch_libraries) == ["torch-mismatch"]


@pytest.mark.parametrize(("label", "symbol", "expected"), [
    ("torch2.5", "_ZN3c106detail5thereEv", []), ("torch2.5", "_ZN3c106detail6absentEv", ["torch-mismatch"]),
    ("torch2.2", "_ZN3c106detail5thereEv", ["torch-mismatch"]),  # too far: symbols do not tell everything
])
def test_symbols_speak_for_a_wheel_of_a_neighbouring_torch(wheel, extension, torch_libraries, label, symbol, expected):
    body = extension(calls(symbol), f"-L{torch_libraries.torch.origin}/lib", "-Wl,--no-as-needed", "-lc10",
                     "-Wl,--unresolved-symbols=ignore-all")
    proof = prove_wheel(wheel(f"flash_attn-2.8.3+cu124{label}-{HERE}-{HERE}-linux_x86_64.whl", body), torch_libraries)
    assert [code for code, _ in proof.reasons] == expected
    assert ("symbols" in proof.shown) is ("there" in symbol)


def test_a_wheel_that_lies_about_its_abi(wheel, extension, torch_libraries):
    new_abi = "_ZN3c105ErrorC2ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
    body = extension(calls(new_abi), f"-L{torch_libraries.torch.origin}/lib", "-Wl,--no-as-needed", "-lc10",
                     "-Wl,--unresolved-symbols=ignore-all")
    lying = wheel(f"flash_attn-2.8.3+cu12torch2.6cxx11abiFALSE-{HERE}-{HERE}-linux_x86_64.whl", body)
    assert codes(lying, torch_libraries) == ["abi-mismatch"]


@pytest.mark.stack
def test_the_real_wheel_is_refused_here_for_every_reason_that_holds(tmp_path):
    """Built for Python 3.12, CUDA 13 and glibc 2.38; held against Python 3.11, a CPU torch, glibc 2.36."""
    torch = importlib.util.find_spec("torch")
    if not REAL.exists():
        pytest.skip("needs the real wheel beside the repository")
    path = tmp_path / REAL.name.removesuffix(".xz")
    with lzma.open(REAL) as packed, path.open("wb") as target:
        shutil.copyfileobj(packed, target, 1 << 22)
    origin = torch.submodule_search_locations[0]
    facts = replace(FACTS, python=replace(FACTS.python, version=Version("3.11.7"), abi="cp311"), gpus=(),
                    torch=Torch(version=Version("2.13.0+cpu"), cuda=None, hip=None, cxx11_abi=True, origin=origin))
    proof = prove_wheel(path, facts)
    told = {code: render_words(words, "en") for code, words in proof.reasons}
    assert set(told) == {"python-tag-mismatch", "torch-mismatch", "cuda-mismatch", "glibc-too-new"}
    assert "cp312" in told["python-tag-mismatch"] and "2.38" in told["glibc-too-new"] and "13" in told["cuda-mismatch"]
    assert proof.extension.cubins == ("sm_90",)
    gpus = (Gpu(0, compute_capability=Version("8.0")),)
    assert "arch-missing" in [code for code, _ in prove_wheel(path, replace(facts, gpus=gpus)).reasons]
