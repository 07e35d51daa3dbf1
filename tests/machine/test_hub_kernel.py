"""A hub kernel by way of the real `kernels`: asked for, fetched and refused, from a hub that is good, lies or is silent."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from machines import config as make_config
from machines import machine as make_facts

from swift_fa_launcher.decode import Unknown
from swift_fa_launcher.errors import InstallError
from swift_fa_launcher.flash.provider import choose_provider, kernel_look
from swift_fa_launcher.launch.plan import make_plan
from swift_fa_launcher.machine.facts import Facts, HubKernel
from swift_fa_launcher.machine.hub_kernel import collect_hub_kernel
from swift_fa_launcher.preflight.checks import check_all
from swift_fa_launcher.stories.install import fetch_kernel, read_lock, with_hub_kernel, write_kernel_lock
from swift_fa_launcher.wheels.lock import LockedKernel, lock_candidate

pytestmark = pytest.mark.stack
pytest.importorskip("kernels", reason="kernels is not installed (pip install 'kernels>=0.17,<0.18')")

from kernel_hub import COMMIT, KERNEL, REPO, Hub, build, kernel_hub  # noqa: E402

OTHER = "f" * 40
CONFIG = make_config(flash_attn={"provider": "kernel"}, preflight={"timeout": 120.0})


@pytest.fixture
def hub() -> Iterator[Hub]:
    with kernel_hub() as hub:
        yield hub


def facts(kernel: Any = Unknown("not looked for"), **more: Any) -> Facts:
    found = make_facts(python__executable=sys.executable, flash_attn=None,
                       packages={"flash-attn": None, "kernels": "0.17.2", "transformers": "5.19.0"}, **more)
    return replace(found, hub_kernel=kernel)


def look(hub: Hub, home: Path, way: str, config: Any = CONFIG, pinned: str | None = None, **env: str) -> HubKernel:
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1", **env}
    kernel = collect_hub_kernel(config, facts(gpus=[]), way, environment, home, lambda words: None, pinned)
    assert isinstance(kernel, HubKernel), kernel
    return kernel


def findings(kernel: HubKernel) -> list[str]:
    return [f"{f.severity.value[0].upper()} {f.code}: {f.summary.en}"  # type: ignore[union-attr]
            for f in check_all(CONFIG, facts(kernel)) if f.code.startswith(("kernel-", "flash-attn-missing"))]


def test_it_is_asked_for_then_fetched_then_never_asked_for_again(hub: Hub, tmp_path: Path) -> None:
    assert kernel_look(CONFIG, facts()) == "ask"
    for env in ({}, {"KERNELS_CACHE": str(tmp_path / "none")}):
        assert not look(hub, tmp_path, "cached", **env).cached and not hub.asked
    asked = look(hub, tmp_path, "ask")
    assert (asked.repo, asked.builds, asked.cached) == (REPO, True, False)
    assert not [path for path in hub.asked if path.endswith("__init__.py")]  # nothing but its metadata was fetched
    waits = choose_provider(CONFIG, facts(asked))
    assert waits is not None and (waits.name, waits.there) == ("kernel", False) and not findings(asked)

    fetched = look(hub, tmp_path, "fetch")
    assert (fetched.revision, fetched.import_error, fetched.error) == (COMMIT, None, None)
    plan = make_plan(CONFIG, facts(fetched), run_id="r", run_dir="/r", cwd="/")
    assert f'"attention": {{"provider": "kernel", "repo": "{REPO}", "revision": "{COMMIT}"}}' in plan.env["SWIFT_FA_PLUGIN"]
    hub.asked.clear()
    for env in ({}, {"HF_HUB_CACHE": str(tmp_path / "hub")}):  # kept; and found anew
        assert look(hub, tmp_path, "fetch", **env) == fetched
    assert not hub.asked


def test_one_without_a_build_for_this_machine(hub: Hub, tmp_path: Path) -> None:
    hub.files = build(variant="torch29-cxx11-cu128-aarch64-linux")
    fetched = look(hub, tmp_path, "fetch")
    assert not fetched.cached and len(findings(fetched)) == 1 and "Cannot find a build variant" in str(fetched.error)
    kernel = look(hub, tmp_path, "ask")
    assert kernel.builds is False
    assert findings(kernel) == [f"E kernel-missing: flash_attn.provider=kernel, but {REPO} has no build for torch 2.8.0+cu128, "
                                "CUDA 12.8, x86_64"]


@pytest.mark.parametrize(("files", "why"), [
    (build(KERNEL + "# more\n", digest_of=KERNEL), "DigestValidationError"), (build("import no_such_module"), "no_such_module"),
    (build(version=1), "version 1")])
def test_one_that_is_not_what_it_says(hub: Hub, tmp_path: Path, files: dict[str, bytes], why: str) -> None:
    hub.files = files
    kernel = look(hub, tmp_path, "fetch")
    assert not kernel.cached and why in str(kernel.error)
    (said,) = findings(kernel)
    assert said.startswith(f"E kernel-missing: flash_attn.provider=kernel, but {REPO} cannot be had: ")


def test_what_was_fetched_wrongly_is_not_found_in_the_cache(hub: Hub, tmp_path: Path) -> None:
    hub.files = build(digest_of=KERNEL)
    fetched = look(hub, tmp_path, "fetch")
    assert fetched.cached
    Path(str(fetched.origin)).resolve().write_text(KERNEL + "# more\n")
    assert not look(hub, tmp_path, "cached").cached


def test_a_hub_that_is_silent(hub: Hub, tmp_path: Path) -> None:
    hub.hangs = "/refs"
    kernel = look(hub, tmp_path, "ask", make_config(flash_attn={"provider": "kernel"}, preflight={"timeout": 25.0}))
    assert kernel.error == "no answer within 25 s" and len(findings(kernel)) == 1


def test_a_hub_that_falls_silent_while_it_is_fetched(hub: Hub, tmp_path: Path) -> None:
    hub.hangs = "__init__.py"
    kernel = look(hub, tmp_path, "fetch", make_config(flash_attn={"provider": "kernel"}, preflight={"timeout": 15.0}))
    assert kernel.error == "nothing came from the hub for 15 s" and len(findings(kernel)) == 1


def test_the_commit_that_is_asked_for_and_no_other(hub: Hub, tmp_path: Path) -> None:
    for way in ("ask", "fetch"):
        kernel = look(hub, tmp_path, way, pinned=OTHER)
        assert (kernel.pinned, kernel.cached, len(findings(kernel))) == (OTHER, False, 1), kernel
    asked = look(hub, tmp_path, "ask", pinned=COMMIT)
    assert (asked.builds, asked.cached) == (True, False)
    fetched = look(hub, tmp_path, "fetch", pinned=COMMIT)
    assert fetched.cached and (fetched.revision, fetched.pinned) == (COMMIT, COMMIT)
    assert not look(hub, tmp_path, "cached", pinned=OTHER).cached and look(hub, tmp_path, "cached").cached


def test_the_lock_says_which(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HF_ENDPOINT", hub.url), ("HF_HOME", str(tmp_path)), ("NO_PROXY", "127.0.0.1")):
        monkeypatch.setenv(name, value)
    config = replace(CONFIG, files=(tmp_path / "c.yaml",))
    found = fetch_kernel(config, facts(gpus=[]), "fetch", lambda words: None)
    path = write_kernel_lock(config, found)
    lock = read_lock(config)
    assert lock and lock.kernel == LockedKernel(REPO, COMMIT) and lock_candidate(lock) is None
    assert fetch_kernel(config, facts(gpus=[]), "cached", lambda words: None).hub_kernel.pinned == COMMIT  # type: ignore[union-attr]
    path.write_text(path.read_text("utf-8").replace(COMMIT, OTHER), "utf-8")
    with pytest.raises(InstallError) as caught:
        fetch_kernel(config, facts(gpus=[]), "fetch", lambda words: None)
    assert caught.value.code == "kernel-missing" and REPO in str(caught.value.why)
    assert with_hub_kernel(config, facts(gpus=[]), "cached", lambda words: None, COMMIT).hub_kernel.cached  # type: ignore


def test_offline_the_hub_is_left_alone(hub: Hub, tmp_path: Path) -> None:
    kernel = look(hub, tmp_path, "ask", HF_HUB_OFFLINE="1")
    assert "offline mode" in str(kernel.error) and not hub.asked and len(findings(kernel)) == 1
