"""`swift-fa install` as a user meets it, where nothing is installed: what it refuses, and what it says of the choice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

FACTS: dict[str, Any] = {
    "schema": 1, "host": {"os": "Linux", "machine": "x86_64", "glibc": "2.35"},
    "python": {"version": "3.10.14", "implementation": "CPython", "abi": "cp310"},
    "torch": {"version": "2.6.0+cu124", "cuda": "12.4", "hip": None, "npu": None, "cxx11_abi": False},
    "gpus": [{"index": 0, "compute_capability": "9.0"}], "toolchain": {"nvcc": "12.4", "gcc": "11.4.0"},
    "packages": {"transformers": "4.55.4"},
}


@pytest.fixture
def install(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    facts = tmp_path / "facts.json"
    facts.write_text(json.dumps(FACTS))

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "swift_fa_launcher", "install", "--facts", facts, "--dry-run", *words]
        return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, cwd=tmp_path,
                              env={**os.environ, "SWIFT_FA_CACHE": str(tmp_path / "cache"), "LANG": "C.UTF-8"}, check=False)

    return run


@pytest.mark.parametrize("version", ["foo", ">=x", "2.8.3.whl"])
def test_a_version_that_is_none_is_said_before_anybody_is_asked(install: Any, version: str) -> None:
    asked: list[str] = []

    class Listens(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    with ThreadingHTTPServer(("127.0.0.1", 0), Listens) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        index = f"http://127.0.0.1:{server.server_port}/simple/"
        heard = install("--index", index)
        assert heard.returncode == 1 and asked
        asked.clear()
        for words in (["--version", version], [f"flash_attn.version={version}"]):
            done = install("--index", index, *words)
            assert done.returncode == 2 and version in done.stderr and words[0].partition("=")[0] in done.stderr
        assert not asked
        server.shutdown()


def test_source_archives_alone_are_said_to_be_that(install: Any, tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(json.dumps(["flash_attn-2.8.3.tar.gz", "flash_attn-2.8.2.tar.gz"]))
    told = install("--index", "list.json")
    assert told.returncode == 1 and "only source archives (2)" in told.stdout and "--from-source" in told.stdout
    assert "源码包" in install("--index", "list.json", "--lang", "zh").stdout
    answer = json.loads(install("--index", "list.json", "--json").stdout)
    assert answer["plan"] == "none" and "source archives" in answer["remark"]
    assert "source archives" not in install("--index", "list.json", "--from-source").stdout


@pytest.mark.parametrize(("torch", "gpu", "why", "advice"), [
    ("2.14.0+cu130", "9.0", "torch 2.14.0+cu130 needs C++20", "torch<2.14"),
    ("2.12.0+cu130", "11.0", "GPU 0 (11.0)", "provider=torch")])
def test_what_no_release_compiles_for_is_not_built(install: Any, tmp_path: Path, torch: str, gpu: str, why: str,
                                                   advice: str) -> None:
    told = {**FACTS["torch"], "version": torch, "cuda": "13.0", "cxx11_abi": True}
    (tmp_path / "facts.json").write_text(json.dumps({**FACTS, "torch": told, "toolchain": {"nvcc": "13.0"},
                                                     "gpus": [{"index": 0, "compute_capability": gpu}]}))
    (tmp_path / "list.json").write_text(json.dumps(["flash_attn-2.8.3+cu130torch2.9-cp310-cp310-linux_x86_64.whl"]))
    shown = install("--index", "list.json")
    assert shown.returncode == 1 and why in shown.stdout and advice in shown.stdout
    assert json.loads(install("--index", "list.json", "--json").stdout)["plan"] == "none"
    assert json.loads(install("--index", "list.json", "--version", ">=2.9", "--json").stdout)["plan"] == "source-build"


def test_flash_attention_3_is_not_built_and_4_need_not_be(install: Any, tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(json.dumps(["flash_attn_4-4.0.0b36-py3-none-any.whl", "flash_attn_4-4.0.0b36.tar.gz"]))
    refused = install("--from-source", "swift.attn_impl=flash_attention_3")
    assert refused.returncode == 1 and "hopper" in refused.stderr and "bdist_wheel" in refused.stderr and not refused.stdout
    nothing = json.loads(install("--index", "list.json", "swift.attn_impl=flash_attention_3", "--json").stdout)
    assert nothing["plan"] == "none" and "--from-source" in nothing["remark"]  # and never FlashAttention 2 in its place
    taken = install("--index", "list.json", "--from-source", "swift.attn_impl=flash_attention_4", "--json")
    assert taken.returncode == 0 and "pure Python" in taken.stderr
    assert json.loads(taken.stdout)["chosen"]["filename"] == "flash_attn_4-4.0.0b36-py3-none-any.whl"


def on_a_cpu(tmp_path: Path) -> Path:
    torch = {"version": "2.13.0+cpu", "cuda": None, "hip": None, "npu": None, "cxx11_abi": True}
    facts = tmp_path / "cpu.json"
    facts.write_text(json.dumps({**FACTS, "torch": torch, "gpus": [], "toolchain": {"nvcc": None, "gcc": "12"}}))
    return facts


def test_a_torch_without_cuda_is_said_first_and_what_each_source_answered(install: Any, tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(json.dumps([f"flash_attn-2.8.{i}.tar.gz" for i in range(4)]))
    words = ("--facts", on_a_cpu(tmp_path), "--index", "list.json", "--index", "nowhere.json", "--index", "http://127.0.0.1:9/{cuda}/")
    told = install(*words, "--version", "9.9.9")
    heading, first, *lines = told.stdout.splitlines()
    assert told.returncode == 1 and heading == "no wheel fits" and first.startswith("torch 2.13.0+cpu is a build without CUDA")
    assert "answered: list.json" in lines and "nowhere.json: no such file or folder" in lines
    assert sum("nowhere.json" in line for line in (*lines, *told.stderr.splitlines())) == 1
    assert any("skipped: it has CUDA builds only" in line for line in lines) and "2.8.0.tar.gz" not in told.stdout
    assert any("9.9.9" in line and "newest is 2.8.3" in line for line in lines)
    assert "swift-fa install" not in "".join(line for line in lines if "->" in line)
    advice = json.loads(install(*words, "--json").stdout)["advice"]
    assert ["sdpa" in line for line in advice] == [False, True], "another machine, or another attention"
    (tmp_path / "four.json").write_text(json.dumps(["flash_attn_4-4.0.0b36-py3-none-any.whl"]))
    four = install("--facts", on_a_cpu(tmp_path), "--index", "four.json", "swift.attn_impl=flash_attention_4")
    assert four.returncode == 0 and "warning: torch 2.13.0+cpu is a build without CUDA" in four.stdout


def test_a_build_says_what_it_takes_or_what_it_lacks(install: Any, tmp_path: Path) -> None:
    planned = install("--from-source")
    assert planned.returncode == 0 and "building flash-attn for sm_90" in planned.stdout
    assert "为 sm_90 编译" in install("--from-source", "--lang", "zh").stdout
    lacking = install("--facts", on_a_cpu(tmp_path), "--from-source")
    assert lacking.returncode == 1 and "a CUDA build of torch" in lacking.stdout and "nvcc (not found)" in lacking.stdout
    assert "--from-source" not in lacking.stdout and "no wheel" not in lacking.stdout


@pytest.mark.parametrize("words", [("--mirror", "foo"), ("flash_attn.mirrors=[ftp://x]",), ("--download-only", "facts.json")])
def test_a_mirror_that_is_no_address_and_a_folder_that_is_a_file(install: Any, words: tuple[str, ...]) -> None:
    refused = install("--offline", *words)
    assert refused.returncode == 2 and words[-1].split("[")[-1].rstrip("]") in refused.stderr and not refused.stdout


@pytest.mark.parametrize(("wanted", "gpu", "asked"), [("flash_attn", "9.0", False), ("flash_attention_3", "9.0", True),
                                                      ("flash_attention_3", "8.0", False)])
def test_pytorchs_index_is_asked_for_flash_attention_3_on_hopper_only(install: Any, tmp_path: Path, wanted: str, gpu: str,
                                                                      asked: bool) -> None:
    facts = tmp_path / "other.json"
    facts.write_text(json.dumps({**FACTS, "gpus": [{"index": 0, "compute_capability": gpu}]}))
    done = install("--facts", facts, "--offline", "--json", f"swift.attn_impl={wanted}")
    sources = [each["source"] for each in json.loads(done.stdout)["sources"]]
    assert ("https://download.pytorch.org/whl/{cuda}/flash-attn-3/" in sources) is asked and "https://pypi.org/simple/" in sources
