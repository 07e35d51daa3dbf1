"""Facts of whole machines: this one, and small made-up installations in real interpreters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_site import NEW_ABI, OLD_ABI, fat_binary, make_distribution, make_flash_attn, make_torch
from packaging.version import Version

from swift_fa_launcher.config.schema import (
    FlashAttnSection,
    LaunchSection,
    PreflightSection,
    ResolvedConfig,
    SwanLabSection,
    SwiftArguments,
)
from swift_fa_launcher.decode import Unknown, known
from swift_fa_launcher.errors import Text, Words
from swift_fa_launcher.machine.collect import collect_facts, kept_environment
from swift_fa_launcher.machine.facts import Facts, FlashAttn, facts_to_json, parse_facts

WANTED = {"attn_impl": "flash_attn", "packing": True}


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return str(folder / "bin" / "python")


def config_of(python: str, *path: Path, target: str = "local", probe: str = "auto", **swift: object) -> ResolvedConfig:
    return ResolvedConfig(swift=SwiftArguments(swift), launch=LaunchSection(python=python, target=target),
                          swanlab=SwanLabSection(enabled=False), preflight=PreflightSection(probe=probe),
                          flash_attn=FlashAttnSection(install="never"),
                          env={"PYTHONPATH": os.pathsep.join(map(str, path))})


def flash_attn_of(facts: Facts) -> FlashAttn:
    found = known(facts.flash_attn)
    assert found is not None, facts.flash_attn
    return found


def test_an_interpreter_without_anything(bare: str) -> None:
    facts = collect_facts(config_of(bare, **WANTED), offline=True)
    assert (facts.torch, facts.flash_attn, facts.flash_attn_3, facts.flash_attn_4) == (None,) * 4
    assert facts.package("ms-swift") is None and "ms-swift" in (known(facts.packages) or {})
    assert known(facts.python) and known(facts.python).executable == bare  # type: ignore[union-attr]
    assert known(facts.swanlab).get_run_without_init is None  # type: ignore[union-attr]
    assert parse_facts(json.loads(json.dumps(facts_to_json(facts))), "again") == facts


def test_no_interpreter_leaves_the_rest_of_the_machine_known(tmp_path: Path) -> None:
    facts = collect_facts(config_of(str(tmp_path / "python")), offline=True)
    assert facts.python is None
    assert isinstance(facts.torch, Unknown) and isinstance(facts.packages, Unknown) and isinstance(facts.swift, Unknown)
    assert known(facts.host.cpus) and known(facts.host.memory_gib)
    assert parse_facts(json.loads(json.dumps(facts_to_json(facts))), "again") == facts


def test_a_home_of_nobody_is_a_place_that_is_not_there() -> None:
    facts = collect_facts(config_of("~no-such-user/python", model="~no-such-user/model", output_dir="~no-such-user/out"),
                          offline=True)
    assert facts.python is None
    model = facts.path("~no-such-user/model")
    assert model.kind == "missing"


def test_torch_and_flash_attn_by_their_files(bare: str, tmp_path: Path) -> None:
    libraries = make_torch(tmp_path, "2.6.0+cu124", "12.4", abi=OLD_ABI)
    file = make_flash_attn(tmp_path, libraries, abi=OLD_ABI)
    said: list[Words] = []
    facts = collect_facts(config_of(bare, tmp_path, **WANTED), offline=True, say=said.append)
    torch, attention = known(facts.torch), flash_attn_of(facts)
    assert torch is not None
    assert (torch.version, torch.cuda, torch.hip, torch.npu) == (Version("2.6.0+cu124"), Version("12.4"), None, None)
    assert (torch.cxx11_abi, torch.import_error, torch.origin) == (False, None, str(tmp_path / "torch"))
    assert (attention.distribution, attention.version) == ("flash-attn", Version("2.8.3"))
    assert attention.origin == str(tmp_path / "flash_attn" / "__init__.py")
    assert attention.import_error is None and said == [Text("importing flash_attn once", "正在试导入 flash_attn（仅一次）")]
    assert isinstance(attention.probe, Unknown)  # no GPU here
    extension = known(attention.extension)
    assert extension is not None and (extension.file, extension.unresolved, extension.copies) == (file.name, (), ())
    conflicts = known(facts.requirement_conflicts) or ()
    assert [(c.package, c.requires, c.installed) for c in conflicts] == [("flash-attn", "einops", None)]


@pytest.mark.parametrize(("text", "taken"), [
    ('KERNELS_MIN_VERSION = "0.17.0"\nKERNELS_MAX_VERSION = "0.18.0"\n', ">=0.17.0,<0.18.0"),
    ('KERNELS_MIN_VERSION = "0.9.0"\n', ">=0.9.0"), ("", None), (None, None)])
def test_the_range_of_kernels(bare: str, tmp_path: Path, text: str | None, taken: str | None) -> None:
    if text is not None:
        (tmp_path / "transformers" / "utils").mkdir(parents=True)
        (tmp_path / "transformers" / "__init__.py").write_text("raise ImportError('not to be imported')")
        (tmp_path / "transformers" / "utils" / "import_utils.py").write_text(text)
    assert collect_facts(config_of(bare, tmp_path), offline=True).kernels_range == taken


def test_an_import_is_tried_once_while_nothing_changes(bare: str, tmp_path: Path) -> None:
    libraries = make_torch(tmp_path)
    count = tmp_path / "count"
    init = f"import torch\nopen({str(count)!r}, 'a').write('x')\n"
    make_flash_attn(tmp_path, libraries, init=init)
    config = config_of(bare, tmp_path, **WANTED)
    for _ in range(2):
        assert flash_attn_of(collect_facts(config, offline=True)).import_error is None
    assert count.read_text() == "x"
    (tmp_path / "flash_attn" / "__init__.py").write_text("raise RuntimeError('changed')")
    assert flash_attn_of(collect_facts(config, offline=True)).import_error == "RuntimeError: changed"
    (tmp_path / "flash_attn" / "__init__.py").write_text(init)  # a failure is not kept
    assert flash_attn_of(collect_facts(config, offline=True)).import_error is None
    assert count.read_text() == "xx"


@pytest.mark.parametrize(("init", "told"), [
    ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"), ("import no_such_module", "No module named 'no_such_module'"),
    ("import sys; sys.exit(5)", "SystemExit"), ("import os; os._exit(4)", "exit status 4")])
def test_an_import_that_fails_in_any_way(bare: str, tmp_path: Path, init: str, told: str) -> None:
    make_flash_attn(tmp_path, make_torch(tmp_path), init=init)
    attention = flash_attn_of(collect_facts(config_of(bare, tmp_path, **WANTED), offline=True))
    assert isinstance(attention.import_error, str) and told in attention.import_error
    assert attention.probe == Unknown("not run: it does not import")


def test_an_import_that_hangs(bare: str, tmp_path: Path) -> None:
    make_flash_attn(tmp_path, make_torch(tmp_path), init="import time; time.sleep(60)")
    config = ResolvedConfig(swift=SwiftArguments(WANTED), launch=LaunchSection(python=bare), swanlab=SwanLabSection(False),
                            preflight=PreflightSection(timeout=1.0), env={"PYTHONPATH": str(tmp_path)})
    began = time.monotonic()
    attention = flash_attn_of(collect_facts(config, offline=True))
    assert attention.import_error == Unknown("no answer within 1 s") and time.monotonic() - began < 20


def test_a_torch_that_does_not_import_is_told_apart(bare: str, tmp_path: Path) -> None:
    make_flash_attn(tmp_path, make_torch(tmp_path))
    (tmp_path / "torch" / "__init__.py").write_text("raise OSError('libcudart.so.12: cannot open shared object file')")
    facts = collect_facts(config_of(bare, tmp_path, **WANTED), offline=True)
    assert known(facts.torch).import_error == "OSError: libcudart.so.12: cannot open shared object file"  # type: ignore
    assert flash_attn_of(facts).import_error == Unknown("torch does not import")


@pytest.mark.parametrize(("arguments", "keywords", "why"), [
    ({"attn_impl": "sdpa"}, {}, "not run: no flash implementation is wanted"),
    ({"attn_impl": "flash_attention_3"}, {}, "not run: another implementation is wanted"),
    (WANTED, {"probe": False}, "not run: --no-probe")])
def test_nothing_is_imported_without_need(bare: str, tmp_path: Path, arguments: dict[str, object], keywords: dict[str, bool],
                                          why: str) -> None:
    make_flash_attn(tmp_path, make_torch(tmp_path), init="raise RuntimeError('imported')")
    attention = flash_attn_of(collect_facts(config_of(bare, tmp_path, **arguments), offline=True, **keywords))
    assert (attention.import_error, attention.probe) == (Unknown(why), Unknown(why))


def test_what_the_files_explain_is_not_tried(bare: str, tmp_path: Path) -> None:
    built = make_torch(tmp_path / "built", abi=NEW_ABI)
    make_torch(tmp_path / "site", abi=OLD_ABI)
    make_flash_attn(tmp_path / "site", built, abi=NEW_ABI)
    attention = flash_attn_of(collect_facts(config_of(bare, tmp_path / "site", **WANTED), offline=True))
    assert isinstance(attention.import_error, Unknown) and "undefined symbols" in attention.import_error.why
    assert len(attention.extension.unresolved) == 1  # type: ignore[union-attr, arg-type]


def test_extensions_that_are_missing_or_of_another_python(bare: str, tmp_path: Path) -> None:
    libraries = make_torch(tmp_path)
    file = make_flash_attn(tmp_path, libraries, suffix=".cpython-37m-x86_64-linux-gnu.so")
    attention = flash_attn_of(collect_facts(config_of(bare, tmp_path, **WANTED), offline=True))
    assert attention.extension.file == file.name  # type: ignore[union-attr]
    assert isinstance(attention.import_error, Unknown) and "another Python" in attention.import_error.why
    file.unlink()
    attention = flash_attn_of(collect_facts(config_of(bare, tmp_path, **WANTED), offline=True))
    assert attention.extension is None and attention.import_error == Unknown("not run: it has no extension")


def test_a_source_checkout_before_the_distribution(bare: str, tmp_path: Path) -> None:
    make_flash_attn(tmp_path / "site", make_torch(tmp_path / "site"))
    (tmp_path / "checkout" / "flash_attn").mkdir(parents=True)
    (tmp_path / "checkout" / "flash_attn" / "__init__.py").touch()
    attention = flash_attn_of(collect_facts(config_of(bare, tmp_path / "checkout", tmp_path / "site"), offline=True))
    assert attention.distribution == "flash-attn"
    assert attention.origin == str(tmp_path / "checkout" / "flash_attn" / "__init__.py")


def test_what_flash_attn_4_leaves_is_no_flash_attn(bare: str, tmp_path: Path) -> None:
    (tmp_path / "flash_attn" / "cute").mkdir(parents=True)
    (tmp_path / "flash_attn" / "cute" / "__init__.py").touch()
    make_distribution(tmp_path, "flash-attn-4", "4.0.0b1")
    facts = collect_facts(config_of(bare, tmp_path, **WANTED), offline=True)
    attention, fourth = flash_attn_of(facts), known(facts.flash_attn_4)
    assert (attention.distribution, attention.origin, attention.extension) == (None, None, None)
    assert isinstance(attention.import_error, str) and "cannot import name" in attention.import_error
    assert fourth is not None and fourth.origin == str(tmp_path / "flash_attn" / "cute" / "__init__.py")


def test_flash_attn_3_by_its_own_names(bare: str, tmp_path: Path) -> None:
    libraries = make_torch(tmp_path)
    file = make_flash_attn(tmp_path, libraries)
    (tmp_path / "flash_attn_3").mkdir()
    file.rename(tmp_path / "flash_attn_3" / "_C.abi3.so")
    (tmp_path / "flash_attn_interface.py").touch()
    make_distribution(tmp_path, "flash_attn_3", "3.0.0",
                      url="https://example.org/flash_attn_3-3.0.0%2Bcu126torch2.8gitabc-cp39-abi3-linux_x86_64.whl")
    facts = collect_facts(config_of(bare, tmp_path, attn_impl="flash_attention_3"), offline=True)
    third = known(facts.flash_attn_3)
    assert third is not None and third.origin == str(tmp_path / "flash_attn_interface.py")
    assert third.wheel_label == "cu126torch2.8gitabc" and third.import_error is None
    assert third.extension.file == "_C.abi3.so"  # type: ignore[union-attr]


@pytest.mark.parametrize(("damage", "told"), [
    ("version.py", "version.py"), ("lib/libtorch_cpu.so", "lacks lib/libtorch_cpu.so"),
    ("__init__.py", "which is not the installed torch")])
def test_half_a_torch(bare: str, tmp_path: Path, damage: str, told: str) -> None:
    make_torch(tmp_path)
    (tmp_path / "torch" / damage).unlink()
    torch = known(collect_facts(config_of(bare, tmp_path), offline=True).torch)
    assert torch is not None and torch.version == Version("2.8.0+cu128")
    assert isinstance(torch.import_error, str) and told in torch.import_error


def test_gpu_code_in_an_extension(bare: str, tmp_path: Path) -> None:
    code = fat_binary((2, 80, b"x" * 40), (1, 90, b"y" * 8)) + fat_binary((2, 90, b""))
    values = ",".join(map(str, code))
    more = f'__attribute__((section(".nv_fatbin"), used)) extern const unsigned char gpu_code[] = {{{values}}};'
    make_flash_attn(tmp_path, make_torch(tmp_path), more=more)
    extension = flash_attn_of(collect_facts(config_of(bare, tmp_path), offline=True)).extension
    assert (extension.cubins, extension.ptx) == (("sm_80", "sm_90"), ("compute_90",))  # type: ignore[union-attr]


def test_a_login_node_does_not_speak_for_the_compute_node(bare: str) -> None:
    facts = collect_facts(config_of(bare, target="slurm"), offline=True)
    assert isinstance(facts.gpus, Unknown) and isinstance(facts.driver, Unknown) and "login node" in facts.gpus.why


def test_secrets_are_not_among_the_variables() -> None:
    kept = kept_environment({"SWANLAB_API_KEY": "s", "HF_TOKEN": "s", "nproc_per_node": "2", "CUDA_VISIBLE_DEVICES": "",
                             "TORCHELASTIC_RUN_ID": "none", "Rank": "0", "MODELSCOPE_API_TOKEN": "s"})
    assert kept == {"nproc_per_node": "2", "CUDA_VISIBLE_DEVICES": "", "TORCHELASTIC_RUN_ID": "none", "Rank": "0"}


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter that runs these tests; where it has torch and ms-swift they are seen, quickly."""
    monkeypatch.setenv("SWANLAB_API_KEY", "0123456789abcdefghijK")
    config = ResolvedConfig(swift=SwiftArguments({"model": "Qwen/Qwen2.5-7B-Instruct", "dataset": ["a/b#5"], **WANTED}))
    collect_facts(config, offline=True)  # caches and disks warm
    fastest = min(_time(lambda: collect_facts(config, offline=True)) for _ in range(3))
    facts = collect_facts(config, offline=True)
    assert fastest < 2.0  # 0.15 s where nothing else runs
    assert "0123456789abcdefghijK" not in json.dumps(facts_to_json(facts))
    assert known(facts.swanlab).api_key == "env"  # type: ignore[union-attr]
    assert all(isinstance(reach, Unknown) for reach in facts.network.values()) and facts.network
    import importlib.metadata

    packages = known(facts.packages) or {}
    for name in ("torch", "ms-swift", "transformers", "packaging", "pytest"):
        try:
            assert str(packages.get(name)) == importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            assert packages.get(name) is None


def _time(act: object) -> float:
    began = time.perf_counter()
    act()  # type: ignore[operator]
    return time.perf_counter() - began


def test_a_torch_with_its_libraries_elsewhere_is_not_called_broken(bare: str, tmp_path: Path) -> None:
    library = make_torch(tmp_path)
    shared = Path(bare).parents[1] / "lib"
    moved = [file.rename(shared / file.name) for file in library.iterdir()]
    (tmp_path / "torch-2.8.0+cu128.dist-info" / "RECORD").write_text("torch/__init__.py,,\n")
    try:
        torch = known(collect_facts(config_of(bare, tmp_path), offline=True).torch)
    finally:
        for file in moved:
            file.unlink()
    assert torch is not None and (torch.cxx11_abi, torch.import_error) == (True, None)


def test_an_interrupt_ends_what_was_started(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 300\n")
    python.chmod(0o755)
    code = f"""
from swift_fa_launcher.config.schema import LaunchSection, ResolvedConfig
from swift_fa_launcher.machine.collect import collect_facts
collect_facts(ResolvedConfig(launch=LaunchSection(python={str(python)!r})), offline=True)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    for _ in range(200):
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip():
            break
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    child.wait(timeout=20)
    pid = int((tmp_path / "pid").read_text())
    state = Path(f"/proc/{pid}/stat")
    assert not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z"
