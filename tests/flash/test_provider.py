"""What FlashAttention 2 comes from: the package where it lies, else torch's own where that can do it, else the package."""

from __future__ import annotations

import io
from typing import Any

import pytest
from machines import MODEL, UNKNOWN, gpu
from machines import config as make_config
from machines import machine as make_facts
from rich.console import Console

from swift_fa_launcher.flash.building import needs_install
from swift_fa_launcher.flash.provider import choose_provider, kernel_look
from swift_fa_launcher.launch.plan import make_plan
from swift_fa_launcher.preflight.checks import check_all
from swift_fa_launcher.preflight.screen import render_table

BARE: dict[str, Any] = {"torch__version": "2.11.0+cu130", "torch__cuda": "13.0", "driver": {"version": "580.1", "cuda": "13.0"},
                        "flash_attn": None, "packages": {"flash-attn": None}}


def model(**said: Any) -> dict[str, Any]:
    return {"paths": {MODEL: {"kind": "dir", "missing_files": [], "model_config": {"model_type": "qwen2", **said}}}}


def test_a_bare_machine_trains_at_once() -> None:
    config, facts = make_config(), make_facts(**BARE)
    provider = choose_provider(config, facts)
    assert provider is not None and (provider.name, provider.there) == ("torch", True)
    trace = [(name, why and why.en) for name, why in provider.trace]
    assert trace == [("package", "flash-attn is not installed"), ("torch", None)]
    assert not needs_install(config, facts)
    assert not [f for f in check_all(config, facts) if f.severity.name == "ERROR"]
    plan = make_plan(config, facts, run_id="r", run_dir="/runs/r", cwd="/")
    assert '"attention": {"provider": "torch"}' in plan.env["SWIFT_FA_PLUGIN"]


def test_the_package_goes_first_where_it_lies_and_nothing_takes_its_place() -> None:
    facts = make_facts(torch__version="2.11.0+cu130", torch__cuda="13.0")
    provider = choose_provider(make_config(), facts)
    assert provider is not None and (provider.name, provider.there) == ("package", True)
    assert "attention" not in make_plan(make_config(), facts, run_id="r", run_dir="/r", cwd="/").env["SWIFT_FA_PLUGIN"]
    asked = choose_provider(make_config(flash_attn={"provider": "torch"}), facts)
    assert asked is not None and (asked.name, asked.there) == ("torch", True)


REFUSED = [
    ({"torch__version": "2.9.1+cu130"}, {}, "2.9.1+cu130 has none"),
    ({"torch_attention": None}, {}, "has none"),
    ({"torch__version": "2.11.0+cpu", "torch__cuda": None}, {}, "NVIDIA"),
    ({"host__os": "Windows"}, {}, "Linux"),
    ({"packages": {"flash-attn": None, "transformers": "4.46.3"}}, {}, "no registry"),
    ({"gpus": []}, {}, "no GPU"),
    ({"gpus": [gpu(0, "7.5")]}, {}, "7.5"),
    ({}, {"sequence_parallel_size": 2}, "sequence parallelism"),
    ({}, {"optimizer": "muonclip"}, "muonclip"),
    (model(own_code=True), {}, "code of its own"),
    (model(model_type="falcon"), {}, "falcon"),
    (model(attention_needs=["softcap"]), {}, "softcap"),
    (model(attention_needs=["sinks"]), {}, "sinks"),
    (model(attention_needs=["dropout"]), {}, "attention_dropout"),
    ({**model(attention_needs=["window"]), "torch__version": "2.10.0+cu130"}, {}, "sliding window"),
    (model(head_dims=[512]), {}, "512"),
    ({**model(head_dims=[256]), "gpus": [gpu(0, "8.9")]}, {}, "256"),
    ({"torch_attention": {"distribution": "torch", "import_error": "no such symbol"}}, {}, "does not import"),
    ({"torch_attention": {"probe": {"devices": [{"index": 0, "ok": False, "error": "no kernel image"}]}}}, {}, "no kernel image"),
]


@pytest.mark.parametrize(("change", "swift", "why"), REFUSED, ids=[why for *_, why in REFUSED])
def test_what_it_cannot_do_is_left_to_the_package(change: dict[str, Any], swift: dict[str, Any], why: str) -> None:
    facts = make_facts(**{**BARE, **change})
    provider = choose_provider(make_config(swift), facts)
    assert provider is not None and (provider.name, provider.there) == ("package", False)
    assert why in str(provider.trace[-1][1])
    wished = make_config(swift, flash_attn={"provider": "torch"})
    said = [f for f in check_all(wished, facts) if f.code == "flash-attn-missing"]
    assert len(said) == 1 and why in said[0].summary.en  # type: ignore[union-attr]
    assert not needs_install(wished, facts)


@pytest.mark.parametrize(("change", "swift"), [
    (model(attention_needs=["window"]), {}), ({**model(head_dims=[256]), "gpus": [gpu(0, "9.0")]}, {}), ({"gpus": UNKNOWN}, {}),
    (model(model_type="qwen2_moe"), {}), ({"torch__version": "2.10.0+cu128", "torch__cuda": "12.8"}, {})])
def test_what_it_can_do(change: dict[str, Any], swift: dict[str, Any]) -> None:
    change = {**BARE, "packages": {"flash-attn": None, "transformers": "5.17.0", "ms-swift": "4.6.0"}, **change}
    provider = choose_provider(make_config(swift), make_facts(**change))
    assert provider is not None and provider.name == "torch"


@pytest.mark.parametrize(("ok", "needs", "name"), [(True, [], "torch"), (False, [], "package"), (True, ["window"], "package")])
def test_on_a_gpu_of_amd_the_probe_decides(ok: bool, needs: list[str], name: str) -> None:
    own = {"distribution": "torch", "import_error": None, "probe": {"devices": [{"index": 0, "ok": ok, "max_error": 0.01}]}}
    facts = make_facts(**{**BARE, **model(attention_needs=needs), "torch__version": "2.12.0+rocm7.1", "torch__cuda": None,
                          "torch__hip": "7.1.1", "torch_attention": own, "gpus": [gpu(0, "9.4", gfx="gfx942")], "driver": None})
    provider = choose_provider(make_config(), facts)
    assert provider is not None and provider.name == name


def test_a_gpu_that_does_not_train_decides_nothing() -> None:
    facts = make_facts(**{**BARE, **model(head_dims=[256]), "gpus": [gpu(0, "9.0"), gpu(1, "8.9")]})
    for used, name in (([0], "torch"), ([1], "package")):
        provider = choose_provider(make_config(launch={"gpus": used}), facts)
        assert provider is not None and provider.name == name


@pytest.mark.parametrize("section", [{"version": "2.8.3"}, {"build": "always"}, {"provider": "package"}])
def test_what_asks_for_the_package_gets_it(section: dict[str, Any]) -> None:
    provider = choose_provider(make_config(flash_attn=section), make_facts(**BARE))
    assert provider is not None and (provider.name, provider.there) == ("package", False)


CACHED = {"repo": "kernels-community/flash-attn2", "revision": "0" * 40, "origin": "/cache/__init__.py", "import_error": None,
          "builds": True}
#: Torch's own is none here, and a kernel lies in the cache.
KERNEL: dict[str, Any] = {**BARE, "torch__version": "2.9.1+cu130", "hub_kernel": CACHED,
                          "packages": {"flash-attn": None, "kernels": "0.17.2", "transformers": "5.19.0", "ms-swift": "4.6.0"}}


def test_a_kernel_that_lies_in_the_cache_costs_no_download() -> None:
    config, facts = make_config(), make_facts(**KERNEL)
    provider = choose_provider(config, facts)
    assert provider is not None and (provider.name, provider.there) == ("kernel", True)
    assert [name for name, _ in provider.trace] == ["package", "torch", "kernel"] and provider.trace[-1][1] is None
    assert not needs_install(config, facts) and not [f for f in check_all(config, facts) if f.severity.name == "ERROR"]
    told = make_plan(config, facts, run_id="r", run_dir="/r", cwd="/").env["SWIFT_FA_PLUGIN"]
    assert '{"provider": "kernel", "repo": "kernels-community/flash-attn2", "revision": "' + "0" * 40 in told
    torchs = choose_provider(config, make_facts(**{**KERNEL, "torch__version": "2.11.0+cu130"}))
    assert torchs is not None and torchs.name == "torch"


@pytest.mark.parametrize(("said", "shown"), [
    (CACHED, "hub kernel kernels-community/flash-attn2@" + "0" * 40 + "\n"),
    ({"repo": "a/b", "builds": True}, "a/b, fetched when")])
def test_the_table_names_the_kernel(said: dict[str, Any], shown: str) -> None:
    config, facts = make_config(flash_attn={"provider": "kernel"}), make_facts(**{**KERNEL, "hub_kernel": said})
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render_table(check_all(config, facts), config, facts, "en"))
    assert shown in console.export_text().replace(" \n", "\n")


@pytest.mark.parametrize(("said", "why"), [
    ({"revision": None, "origin": None}, "in the cache"),
    ({"import_error": "no symbol"}, "no symbol"),
    ({"probe": {"devices": [{"index": 0, "ok": False, "max_error": 3.0}]}}, "3.0")])
def test_a_kernel_that_will_not_do_is_left_for_the_package(said: dict[str, Any], why: str) -> None:
    provider = choose_provider(make_config(), make_facts(**{**KERNEL, "hub_kernel": {**CACHED, **said}}))
    assert provider is not None and (provider.name, provider.there) == ("package", False) and why in str(provider.trace[-1][1])


@pytest.mark.parametrize(("change", "swift", "takes"), [
    (model(attention_needs=["softcap"]), {}, True), (model(attention_needs=["dropout"]), {}, True),
    (model(attention_needs=["window"]), {}, True), ({**model(head_dims=[256]), "gpus": [gpu(0, "8.9")]}, {}, True),
    (model(attention_needs=["sinks"]), {}, False), (model(head_dims=[512]), {}, False), (model(own_code=True), {}, False),
    ({}, {"sequence_parallel_size": 2}, False), ({"gpus": [gpu(0, "7.5")]}, {}, False), (model(model_type="falcon"), {}, False)])
def test_what_a_kernel_can_do(change: dict[str, Any], swift: dict[str, Any], takes: bool) -> None:
    config, facts = make_config(swift, flash_attn={"provider": "kernel"}), make_facts(**{**KERNEL, **change})
    provider = choose_provider(config, facts)
    assert provider is not None and (provider.name, provider.there) == ("kernel", takes)
    assert ("kernel-missing" in {f.code for f in check_all(config, facts)}) is not takes


NOT_LOOKED = {**KERNEL, "hub_kernel": UNKNOWN}


@pytest.mark.parametrize(("change", "section", "way"), [
    ({}, {}, "cached"), ({}, {"provider": "kernel"}, "ask"), ({"packages": {"flash-attn": None, "kernels": None}}, {}, None),
    ({"packages": {"flash-attn": None, "kernels": None}}, {"provider": "kernel"}, None), ({}, {"provider": "torch"}, None),
    ({}, {"provider": "package"}, None), ({}, {"version": "2.8.3"}, None), ({"torch__version": "2.11.0+cu130"}, {}, None),
    ({"gpus": []}, {"provider": "kernel"}, None), ({"hub_kernel": CACHED}, {"provider": "kernel"}, None)])
def test_a_kernel_is_looked_for_where_it_would_be_taken(change: dict[str, Any], section: dict[str, Any], way: str | None) -> None:
    assert kernel_look(make_config(flash_attn=section), make_facts(**{**NOT_LOOKED, **change})) == way


def test_a_broken_package_is_not_passed_over() -> None:
    """transformers imports a flash_attn wherever it finds one."""
    facts = make_facts(**{**BARE, "flash_attn": {"distribution": None, "origin": "/work/flash_attn/__init__.py"}})
    provider = choose_provider(make_config(), facts)
    assert provider is not None and provider.name == "package"


@pytest.mark.parametrize("attn_impl", ["sdpa", "flash_attention_3", None])
def test_others_are_not_asked(attn_impl: str | None) -> None:
    assert choose_provider(make_config({"attn_impl": attn_impl, "packing": False}), make_facts(**BARE)) is None
