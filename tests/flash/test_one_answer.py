"""A question that several commands ask has one answer: the preflight, the choice of a wheel, a build and a diagnosis agree."""

from __future__ import annotations

import io
import socket
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from machines import config, machine
from preflight_cases import ALL, NO_FA

from swift_fa_launcher.config.schema import FlashAttnSection
from swift_fa_launcher.diagnose.diagnosis import diagnose
from swift_fa_launcher.errors import render_words
from swift_fa_launcher.flash.fits import WheelContents
from swift_fa_launcher.flash.name import Candidate
from swift_fa_launcher.machine.network import ask_all, make_plan, with_network
from swift_fa_launcher.machine.swanlab_login import Login
from swift_fa_launcher.preflight.checks import check_all
from swift_fa_launcher.wheels.build import make_build_plan
from swift_fa_launcher.wheels.choose import choose_wheel


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def found(facts: dict[str, Any], swift: dict[str, Any] | None = None, **sections: Any) -> list[str]:
    return [f"{f.severity.value[0].upper()} {f.code}" for f in check_all(config(swift, **sections), machine(**facts))]


def verdict(filename: str, version: str | None = None, **facts: Any) -> str | None:
    """The code for which a wheel of this name is passed over on the healthy machine, None where it is taken."""
    candidate = Candidate(filename, f"https://github.com/a/b/{filename}", "test")
    return choose_wheel(machine(**facts), [candidate], version=version).verdicts[0].code


def wheel(version: str = "2.8.3", label: str = "cu12torch2.8cxx11abiTRUE", tags: str = "cp311-cp311-linux_x86_64") -> str:
    return f"flash_attn-{version}{'+' if label else ''}{label}-{tags}.whl"


# Hosts ----------------------------------------------------------------------------------------------------------------


class Answers(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


def asked_and_judged(source: str, **section: Any) -> list[str]:
    """What is found where the sources of the config were really asked."""
    wanted = config(flash_attn={"sources": [source], "mirrors": [], "build": "never", **section}, swanlab={"enabled": False})
    facts = replace(machine(**NO_FA), network={})
    plan = make_plan(wanted, facts, Login(None, None), {})
    facts = with_network(facts, plan, ask_all(plan.questions, {}), False)
    return [f"{f.severity.value[0].upper()} {f.code}" for f in check_all(wanted, facts)]


def test_a_source_on_a_port_is_judged_under_the_name_that_it_was_asked_by() -> None:
    missing = "E flash-attn-missing"
    assert asked_and_judged(f"https://127.0.0.1:{free_port()}/simple/") == [missing, "E mirror-unreachable"]
    assert asked_and_judged(f"https://ME:secret@127.0.0.1:{free_port()}/simple/") == [missing, "E mirror-unreachable"]
    assert asked_and_judged("github:a/b", mirrors=[f"https://127.0.0.1:{free_port()}/"]) == [missing, "E mirror-unreachable"]
    assert asked_and_judged("https://[no-address/simple/") == [missing]
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as plain:
        threading.Thread(target=plain.serve_forever, daemon=True).start()
        here = f"127.0.0.1:{plain.server_port}/simple/"
        assert asked_and_judged(f"http://{here}") == [missing]  # in its own scheme: it answers
        assert asked_and_judged(f"https://{here}") == [missing, "E tls-failed", "E mirror-unreachable"]
        plain.shutdown()


# Versions -------------------------------------------------------------------------------------------------------------

WISHES = ("2.8.*", "v2.8.*", "2.8.3", "v2.8.3", " 2.8.3 ", "==2.8.*", ">=2.7,<2.9", ">=2.8", "!=2.8.1", "~=2.8.0", "2.7.4",
          "2.8.3+cu12torch2.8cxx11abiTRUE", "2.8.3+cu12torch2.7cxx11abiTRUE", None, "")


@pytest.mark.parametrize("wish", WISHES)
@pytest.mark.parametrize("version", ["2.7.4", "2.8.1", "2.8.3", "2.8.3.post1", "2.9.0"])
def test_what_is_installed_is_another_where_a_wheel_of_it_would_be_passed_over(wish: str | None, version: str) -> None:
    label = "cu12torch2.8cxx11abiTRUE"
    closed = {"python__site_packages_writable": False, "flash_attn__version": version, "flash_attn__wheel_label": label}
    installs = "E site-packages-not-writable" in found(closed, flash_attn={"version": wish})
    assert installs is (verdict(wheel(version, label), wish) == "version-excluded")


def test_a_version_without_its_label_is_the_one_that_was_asked_for() -> None:
    """METADATA seldom says the label: `train` would install the same wheel again each time."""
    closed = {"python__site_packages_writable": False, "flash_attn__wheel_label": None}
    assert found(closed, flash_attn={"version": "2.8.3+cu12torch2.8cxx11abiTRUE"}) == []


@pytest.mark.parametrize(("wish", "requirement"), [
    ("2.8.*", "flash-attn==2.8.*"), ("v2.8.*", "flash-attn==2.8.*"), ("v2.8.3", "flash-attn==2.8.3"), (None, "flash-attn"),
    (">=2.7,<2.9", "flash-attn<2.9,>=2.7"), ("2.8.3+cu12torch2.8", "flash-attn==2.8.3")])
def test_a_build_understands_what_the_choice_understands(wish: str | None, requirement: str) -> None:
    assert make_build_plan(machine(), FlashAttnSection(version=wish)).requirement == requirement


@pytest.mark.parametrize(("transformers", "least", "under"), [("4.57.3", "2.1.0", "2.0.9"), ("5.0.0", "2.3.3", "2.3.2")])
def test_the_oldest_that_transformers_takes(transformers: str, least: str, under: str) -> None:
    """transformers 4.57.3 and 5.5.0, utils/import_utils.py: is_flash_attn_2_available, 2.1.0 and 2.3.3."""
    packages = {"transformers": transformers, "ms-swift": "4.6.0" if transformers > "5" else "3.12.6"}
    for version, old in ((least, False), (under, True)):
        facts = {"packages": packages, "flash_attn__version": version}
        assert ("E flash-attn-too-old" in found(facts)) is old
        assert verdict(wheel(version), packages=packages) == ("version-excluded" if old else None)


def test_the_release_that_an_old_driver_cannot_load() -> None:
    for driver, version, bad in (("549.99", "2.8.1", True), ("550.54.15", "2.8.1", False), ("535.161.08", "2.8.2", False)):
        facts = {"driver__version": driver, "driver__cuda": "12.4", "flash_attn__version": version}
        assert ("E driver-too-old" in found(facts)) is bad
        assert verdict(wheel(version), driver={"version": driver, "cuda": "12.4"}) == ("version-excluded" if bad else None)


# Tags, labels, symbols ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tags", "facts"), [
    ("cp311-cp311-linux_x86_64", {}), ("cp311-cp311-musllinux_1_2_x86_64", {}), ("cp311-cp311-manylinux_2_28_x86_64", {}),
    ("cp311-cp311-musllinux_1_2_x86_64", {"host__glibc": None}), ("cp311-cp311-manylinux_2_28_x86_64", {"host__glibc": None}),
    ("cp311-cp311-manylinux_2_39_x86_64", {}), ("cp311-cp311-manylinux2014_x86_64", {}), ("py3-none-any", {}),
    ("cp39-abi3-linux_x86_64", {}), ("cp312-abi3-linux_x86_64", {}), ("cp310-cp310-linux_x86_64", {}),
    ("cp311-none-linux_x86_64", {}), ("cp311-cp311-win_amd64", {}), ("cp311-cp311-linux_aarch64", {}),
    ("cp311-cp311.cp311t-linux_x86_64", {}), ("cp311-cp311-macosx_11_0_arm64", {"host__os": "Darwin", "host__machine": "arm64"}),
    ("cp311-cp311-win_arm64", {"host__os": "Windows", "host__machine": "ARM64", "host__glibc": None})])
def test_a_named_wheel_is_unsupported_here_where_the_choice_would_pass_over_it(tags: str, facts: dict[str, Any]) -> None:
    named = found({**NO_FA, **facts}, flash_attn={"sources": [f"/srv/{wheel(tags=tags)}"], "build": "never"})
    passed = verdict(wheel(tags=tags, version="2.7.4"), **facts)
    assert ("E wheel-unsupported-here" in named) is (passed in ("python-tag-mismatch", "platform-mismatch", "glibc-too-new"))


@pytest.mark.parametrize(("label", "code"), [
    ("cu128torch26", "flash-attn-torch-mismatch"), ("cu128pt2.7", "flash-attn-torch-mismatch"), ("cu128torch2.8", None),
    ("cu128torch2100", "flash-attn-torch-mismatch"), ("cu128.torch280", None), ("cu128pt28", None), ("cu.12.8.torch.2.8", None),
    ("cu12torch2.8cxx11abi0", "flash-attn-abi-mismatch"), ("cu12torch2.8cxx11abi1", None)])
def test_a_label_is_read_alike_of_a_wheel_and_of_what_is_installed(label: str, code: str | None) -> None:
    assert found({"flash_attn__wheel_label": label}) == ([f"E {code}"] if code else [])
    assert verdict(wheel(label=label)) == (code and code.removeprefix("flash-attn-"))


NEW = "_ZN3c105ErrorC2ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
OLD = "_ZN3c105ErrorC2ENS_14SourceLocationESs"
SYMBOLS = [  # symbol; of torch; the ABI of its std::string
    (NEW, True, True), (OLD, True, False), ("_ZN3c104cuda9SetDeviceEa", True, None), ("_ZNK2at6Tensor4sizeEl", True, None),
    ("_ZTIN3c105ErrorE", True, None), ("_ZTVN5torch8autograd4NodeE", True, None), ("_ZN3c10lsERSoRKNS_6DeviceE", True, None),
    ("_ZGVN3c1012_GLOBAL__N_14flagE", True, None), ("_ZThn16_N5torch3jit6ModuleD1Ev", True, None),
    ("aoti_torch_delete_tensor_object", True, None), ("THPVariableClass", True, None),
    # read off real builds: a template's number, a substitution before a short, names that hold the letters
    ("_ZN3c1011SmallVectorILj32EE6appendESs", True, False), ("_ZN2at4callES1_s", True, None),
    ("_ZN3c1021throwNullDataPtrErrorEv", True, None), ("_ZN3c106ivalue9ClassSssEv", True, None),
    ("_ZN2at7x_SsA3fEv", True, None),
    ("_ZN5flash7mha_fwdERN2at6TensorE", False, None), ("_ZNSt6vectorIN2at6TensorESaIS1_EED1Ev", False, None),
    ("_ZNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEED1Ev", False, True), ("cudaLaunchKernelExC", False, None),
    ("_Z5torchv", False, None), ("PyModule_Create2", False, None)]


@pytest.mark.parametrize(("symbol", "of_torch", "abi"), SYMBOLS)
def test_a_symbol_is_read_alike_in_a_file_a_wheel_and_a_log(symbol: str, of_torch: bool, abi: bool | None) -> None:
    by_abi, other = "flash-attn-abi-mismatch", "flash-attn-torch-mismatch"
    for here in (True, False):
        expected = [] if not of_torch else [other] if abi in (None, here) else [by_abi]
        facts = {"torch__cxx11_abi": here, "flash_attn__extension__unresolved": [symbol]}
        assert [code[2:] for code in found(facts) if "mismatch" in code] == expected, "as it is installed"
        inside = {wheel(label=""): WheelContents(unresolved=(symbol,), undefined=(symbol,))}
        candidate = Candidate(wheel(label=""), "https://github.com/a/b.whl", "test")
        taken = choose_wheel(machine(torch__cxx11_abi=here), [candidate], contents=inside).verdicts[0].code
        assert [f"flash-attn-{taken}"] == expected if of_torch else taken in (None, "torch-mismatch"), "in a wheel"
    if of_torch:
        log = f"ImportError: /x/flash_attn_2_cuda.cpython-311-x86_64-linux-gnu.so: undefined symbol: {symbol}\n"
        assert diagnose(io.BytesIO(log.encode()), exit_code=1)[0].code == (other if abi is None else by_abi), "in a log"


# What an installation would mend ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("expect", "facts", "swift", "sections"), ALL)
def test_an_installation_is_needed_where_a_finding_says_what_it_would_mend(
        expect: str, facts: dict[str, Any], swift: dict[str, Any], sections: dict[str, Any]) -> None:
    from swift_fa_launcher.flash.building import MENDED_BY_INSTALL, needs_install

    wanted, here = config(swift, **sections), machine(**facts)
    mended = {f.code for f in check_all(wanted, here)} & MENDED_BY_INSTALL
    if needs_install(wanted, here):
        assert mended or wanted.flash_attn.version
    elif wanted.flash_attn.install == "auto" and "rocm-build" not in expect:  # which the launcher does not install
        assert not mended


# Advice that works when typed -------------------------------------------------------------------------------------------

INDEX = "https://download.pytorch.org/whl"


@pytest.mark.parametrize(("version", "words"), [
    ("2.8.0+cu128", f"torch==2.8.0+cu128 --index-url {INDEX}/cu128"), ("2.8.0", "torch==2.8.0"),
    ("2.8.0+cpu", f"torch==2.8.0+cpu --index-url {INDEX}/cpu"),
    ("2.9.1+rocm6.4", f"torch==2.9.1+rocm6.4 --index-url {INDEX}/rocm6.4"),
    ("2.8.0a0+5228986c39.nv25.5", "torch==2.8.0"), ("2.6.0+metax3.0.0.3", "torch==2.6.0"),
    ("2.9.0.dev20250801+cu128", f"--pre torch --index-url {INDEX}/nightly/cu128")])
def test_torch_is_had_again_from_an_index_that_has_it(version: str, words: str) -> None:
    """PyPI has no local versions: `No matching distribution found for torch==2.8.0+cu128`."""
    facts = machine(torch__version=version, torch__import_error="libcudnn.so.9: cannot open")
    told = next(f for f in check_all(config(), facts) if f.code == "torch-missing")
    assert render_words(told.fix[0], "en") == f"/env/bin/python -m pip install --force-reinstall {words}"


def test_an_older_torch_replaces_the_one_that_is_there() -> None:
    facts = {"torch__cuda": "13.0", "torch__version": "2.9.1+cu130"}
    told = next(f for f in check_all(config(), machine(**facts)) if f.code == "driver-too-old")
    assert "--force-reinstall torch" in str(told.fix[0]) and str(told.fix[0]).endswith(f"--index-url {INDEX}/cu126")
