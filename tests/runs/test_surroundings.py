"""What a run depends on, looked at on a real disk; requirements that a real pip installs from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
from packaging.version import Version
from run_records import FACTS, git, start  # type: ignore[import-not-found]

from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.errors import LaunchError, RecordError, Words
from swift_fa_launcher.machine.facts import Extension, Facts, FlashAttn, Python
from swift_fa_launcher.runs import surroundings
from swift_fa_launcher.runs.requirements import render_requirements
from swift_fa_launcher.runs.surroundings import Digests, collect_surroundings
from swift_fa_launcher.runs.turns import output_turn


def quiet(words: Words) -> None:
    pass


def look(folder: Path, *words: str, facts: Facts = FACTS) -> surroundings.Surroundings:
    return collect_surroundings(resolve_config([], words), facts, folder, quiet)


def test_data_and_model_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_bytes(b"{}\n")
    (tmp_path / "model" / ".git").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / ".git" / "HEAD").write_text("x")
    around = look(tmp_path, "swift.dataset=[rows.jsonl#500, gone.jsonl]", "swift.model=model")
    found = {item["name"]: item for item in around.data}
    assert found["rows.jsonl#500"]["files"]["rows.jsonl"]["digest"] == f"sha256:{sha256(b'{}' + bytes([10])).hexdigest()}"
    assert found["rows.jsonl#500"]["files"]["rows.jsonl"]["size"] == 3
    assert found["gone.jsonl"]["kind"] == "missing" and list(found["model"]["files"]) == ["config.json"]


def test_the_revision_of_a_hub_model_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("USE_HF", "1")
    assert look(tmp_path, "swift.model=Qwen/Qwen3-8B").data[0]["revision"] is None
    snapshot = tmp_path / "hub" / "models--Qwen--Qwen3-8B" / "snapshots" / "0a1b2c"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (item,) = look(tmp_path, "swift.model=Qwen/Qwen3-8B").data
    assert item["kind"] == "hub" and item["revision"] == "0a1b2c" and "config.json" in item["files"]


def test_digests_are_remembered_until_a_file_changes(tmp_path: Path) -> None:
    file, cache = tmp_path / "a", tmp_path / "cache" / "digests.json"
    file.write_text("one")
    os.utime(file, (1, 1))
    first = Digests(cache, quiet)
    told = first.describe(file)
    first.save()
    remembered = json.loads(cache.read_text())
    remembered[str(file)][2] = "sha256:remembered"
    cache.write_text(json.dumps(remembered))
    assert Digests(cache, quiet).describe(file)["digest"] == "sha256:remembered"
    os.utime(file, (2, 2))
    assert Digests(cache, quiet).describe(file)["digest"] == told["digest"]
    cache.write_text("[not a cache")
    assert Digests(cache, quiet).describe(file)["digest"] == told["digest"]
    assert "why" in Digests(cache, quiet).describe(tmp_path / "absent")


def test_a_large_file_is_sampled_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "shard"
    with file.open("wb") as opened:
        opened.truncate(2 * 2**30)  # a hole: takes no space
    digest = Digests(tmp_path / "digests.json", quiet).describe(file)["digest"]
    assert digest.startswith("sampled-sha256:")
    with file.open("r+b") as opened:
        opened.seek(-1, 2)
        opened.write(b"x")
    assert Digests(tmp_path / "digests.json", quiet).describe(file)["digest"] != digest


def test_many_files_are_read_whole_up_to_a_budget_and_said_once(tmp_path: Path) -> None:
    said = list[Words]()
    digests = Digests(tmp_path / "digests.json", said.append, budget=250 * 2**20)
    kinds = []
    for i in range(3):
        file = tmp_path / f"shard-{i}"
        with file.open("wb") as opened:
            opened.truncate(120 * 2**20)
        kinds.append(digests.describe(file)["digest"].partition(":")[0])
    small = tmp_path / "small"
    small.write_text("{}")
    assert kinds == ["sha256", "sha256", "sampled-sha256"] and digests.describe(small)["digest"].startswith("sha256:")
    assert len(said) == 1 and "shard-1" in str(said[0])


def test_a_cache_folder_below_a_file_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    digests = Digests(tmp_path / "cache" / "swift-fa" / "digests.json", quiet)
    (tmp_path / "a").write_text("one")
    assert digests.describe(tmp_path / "a")["digest"]
    digests.save()


def test_the_diff_is_plain_whatever_git_is_set_to(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("one\n")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "first")
    (tmp_path / "a").write_text("two\n")
    git(tmp_path, "config", "diff.external", "false")
    git(tmp_path, "config", "color.ui", "always")
    assert "\n-one\n+two\n" in look(tmp_path).diff


def test_the_installed_flash_attn_build(tmp_path: Path) -> None:
    (tmp_path / "flash_attn").mkdir()
    (tmp_path / "flash_attn" / "__init__.py").write_text("")
    (tmp_path / "flash_attn_2_cuda.so").write_bytes(b"machine code")
    info = tmp_path / "flash_attn-2.8.3.dist-info"
    info.mkdir()
    (info / "direct_url.json").write_text(json.dumps({
        "url": "https://user:word@wheels.example/flash_attn-2.8.3.whl", "archive_info": {"hashes": {"sha256": "ab" * 32}}}))
    flash_attn = FlashAttn(distribution="flash-attn", version=Version("2.8.3"), extension=Extension(file="flash_attn_2_cuda.so"),
                           origin=str(tmp_path / "flash_attn" / "__init__.py"))
    facts = Facts(flash_attn=flash_attn, python=Python(site_packages=str(tmp_path)))
    around = look(tmp_path, facts=facts)
    assert around.wheels["flash-attn"]["digest"] == f"sha256:{sha256(b'machine code').hexdigest()}"
    assert around.sources["flash-attn"]["url"] == "https://wheels.example/flash_attn-2.8.3.whl"  # no login in a record


def make_wheel(folder: Path, name: str, version: str) -> Path:
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}.py", f"version = {version!r}\n")
        archive.writestr(f"{name}-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{name}-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{name}-{version}.dist-info/RECORD", "")
    return wheel


def pip(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", *words],
                          capture_output=True, text=True, check=False)


def test_requirements_that_pip_installs_from(tmp_path: Path) -> None:
    wheel, other = make_wheel(tmp_path, "flash_attn", "2.8.3"), make_wheel(tmp_path, "swift_tool", "1.0")
    folder = start(tmp_path)
    (folder / "packages.txt").write_text("flash-attn==2.8.3\npip==25.0\nswift-tool==1.0\nmine==0.1\n")
    digest = sha256(wheel.read_bytes()).hexdigest()
    (folder / "wheels.json").write_text(json.dumps({"flash-attn": {"version": "2.8.3", "url": wheel.as_uri(), "sha256": digest}}))
    (folder / "sources.json").write_text(json.dumps({"mine": {"url": "file:///home/me/mine", "dir_info": {"editable": True}}}))
    text = render_requirements(folder)
    assert f"flash-attn @ {wheel.as_uri()}#sha256={digest}\n" in text and "\n# mine==0.1 was installed from" in text
    assert "pip==" not in text
    file = tmp_path / "requirements.txt"
    file.write_text(text)
    words = ("install", "--no-index", "--find-links", str(other.parent), "--target", str(tmp_path / "there"), "-r", str(file))
    done = pip(*words)
    assert done.returncode == 0, done.stderr
    assert "2.8.3" in (tmp_path / "there" / "flash_attn.py").read_text() and (tmp_path / "there" / "swift_tool.py").exists()
    file.write_text(text.replace(digest, "0" * 64))
    assert "hash" in pip(*words).stderr.lower()


def test_requirements_name_where_packages_came_from(tmp_path: Path) -> None:
    folder = start(tmp_path)
    (folder / "packages.txt").write_text("ms-swift==4.7.0.dev0\ntorch==2.8.0+cu128\nflash-attn==2.8.3\n")
    (folder / "sources.json").write_text(json.dumps({
        "ms-swift": {"url": "https://github.com/modelscope/ms-swift", "vcs_info": {"vcs": "git", "commit_id": "a1b2"}},
        "flash-attn": {"url": "https://x/flash_attn.whl", "archive_info": {"hash": "sha256=" + "ab" * 32}}}))
    lines = render_requirements(folder).splitlines()
    assert "ms-swift @ git+https://github.com/modelscope/ms-swift@a1b2" in lines and "torch==2.8.0+cu128" in lines
    assert "--extra-index-url https://download.pytorch.org/whl/cu128" in lines
    assert f"flash-attn @ https://x/flash_attn.whl#sha256={'ab' * 32}" in lines
    (folder / "packages.txt").unlink()
    with pytest.raises(RecordError):
        render_requirements(folder)


def test_launches_into_one_folder_take_turns(tmp_path: Path) -> None:
    config, said, order = resolve_config([], ["swift.output_dir=out"]), list[Words](), list[str]()

    def second() -> None:
        with output_turn(config, tmp_path, said.append, patience=10):
            order.append("second")

    with output_turn(config, tmp_path, quiet) as has_folder:
        waiting = threading.Thread(target=second)
        waiting.start()
        deadline = time.monotonic() + 10
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
        order.append("first")
        has_folder()
        waiting.join(10)
        assert order == ["first", "second"] and "waiting" in str(said)
    with output_turn(config, tmp_path, quiet), output_turn(resolve_config([], ["swift.output_dir=other"]), tmp_path, quiet):
        pass
    nodes = resolve_config([], ["swift.output_dir=out", "launch.nnodes=2"])
    with output_turn(nodes, tmp_path, quiet), output_turn(nodes, tmp_path, quiet):  # they wait for one another elsewhere
        pass


def test_a_folder_without_versions_is_one_launch_s_alone(tmp_path: Path) -> None:
    config = resolve_config([], ["swift.output_dir=out", "swift.add_version=false"])
    with output_turn(config, tmp_path, quiet) as has_folder:
        has_folder()
        with pytest.raises(LaunchError, match="another run"), output_turn(config, tmp_path, quiet):
            pass
    with output_turn(config, tmp_path, quiet):
        pass
