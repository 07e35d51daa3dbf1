"""Every finding code from a machine and a config that give it, and none on their healthy neighbours."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from machines import MODEL, config, gpus, machine
from open_cases import expected
from preflight_cases import ALL, NO_FA, ROCM, amd
from replay_shared_cases import judge, read_cases
from spoil import run_spoilt

from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.errors import Text, render_words
from swift_fa_launcher.findings.finding import Finding
from swift_fa_launcher.findings.table import AREA_OF, TABLE
from swift_fa_launcher.preflight import checks
from swift_fa_launcher.preflight.checks import check_all
from swift_fa_launcher.preflight.screen import render_table


@pytest.mark.parametrize(("expect", "facts", "swift", "sections"), ALL)
def test_findings(expect: str, facts: dict[str, Any], swift: dict[str, Any], sections: dict[str, Any]) -> None:
    findings = check_all(config(swift, **sections), machine(**facts))
    assert sorted(f"{f.severity.value[0].upper()} {f.code}" for f in findings) == \
        sorted(filter(None, expect.split(", "))), "\n".join(str(f) for f in findings)
    for finding in findings:
        assert_well_said(finding)


def assert_well_said(finding: Finding) -> None:
    assert finding.severity in TABLE[finding.code].may_be, finding
    assert isinstance(finding.summary, Text), "both languages"
    for words in (*finding.summary, *(w for line in finding.fix for w in (line if isinstance(line, Text) else (line,)))):
        assert words and "\n" not in words, "one line"
    assert any("\u4e00" <= c <= "\u9fff" for c in finding.summary.zh), "Chinese"
    assert finding.fix, "what mends it"
    finding.to_json("zh")


def test_the_table_of_a_fine_machine_is_in_its_language() -> None:
    from rich.console import Console

    wanted = config(launch={"nproc_per_node": 2, "nnodes": 1}, swanlab={"enabled": False})
    shown = {}
    for lang in ("en", "zh"):
        console = Console(width=200)
        with console.capture() as capture:
            console.print(render_table((), wanted, machine(), lang))
        shown[lang] = capture.get()
    for en, zh in (("2 processes, 1 node", "2 个进程，1 个节点"), ("driver ", "驱动 "), ("off", "关闭")):
        assert en in shown["en"] and zh in shown["zh"] and en not in shown["zh"]


@pytest.mark.parametrize(("sections", "facts", "shown"), [
    ({}, {"env": {"NPROC_PER_NODE": "2"}}, "2 processes"),
    ({"env": {"CUDA_VISIBLE_DEVICES": "2,3", "NPROC_PER_NODE": "2"}}, {}, "GPU 2,3, 2 processes"),
    ({"env": {"CUDA_VISIBLE_DEVICES": "2,3", "NPROC_PER_NODE": "2"}, "launch": {"gpus": [0], "nproc_per_node": 1}}, {},
     "GPU 0, 1 process"),
    ({"launch": {"nnodes": 2}}, {"env": {"NODE_RANK": "1"}}, "1 process, 2 nodes, node_rank 1"),
    ({"launch": {"nproc_per_node": 2}}, {"ports_in_use": [29500]}, "2 processes, master_port 29501 (29500 is taken)"),
])
def test_the_table_shows_what_the_plan_will_do(sections: dict[str, Any], facts: dict[str, Any], shown: str) -> None:
    from rich.console import Console

    console = Console(width=200)
    with console.capture() as capture:
        console.print(render_table((), config(**sections), machine(**facts), "en"))
    assert shown in capture.get()


def test_what_is_typed_goes_before_what_stands_in_a_file(tmp_path: Path) -> None:
    """And so the settings that findings advise are heard."""
    file = tmp_path / "c.yaml"
    file.write_text("env: {NPROC_PER_NODE: 2, CUDA_VISIBLE_DEVICES: '2,3'}\nlaunch: {nproc_per_node: 1, gpus: [0]}\n", "utf-8")
    facts = machine(gpus=gpus(4), env={"NNODES": "2"})

    def conflicts(*typed: str) -> list[Finding]:
        return [f for f in check_all(resolve_config([file], typed), facts) if f.code == "launch-env-conflict"]

    assert len(conflicts()) == 2
    for finding in conflicts():
        for line in finding.fix:
            words = shlex.split(str(line))
            assert len(conflicts(*words)) == 1, line
    assert conflicts("launch.nproc_per_node=1", "launch.gpus=[0]", "launch.nnodes=1") == []
    assert len(conflicts("env.NPROC_PER_NODE=4")) == 2


@pytest.mark.parametrize(("words", "env", "shown"), [
    ((), {"MASTER_PORT": "29500"}, "29500 ($MASTER_PORT)"),
    (("env.MASTER_PORT=29500",), {}, "29500 (command line: env.MASTER_PORT=29500)"),
    (("launch.master_port=29500",), {}, "29500 (command line: launch.master_port=29500)"),
    (("launch.nnodes=2", "launch.master_addr=10.0.0.5"), {}, "master_port 29500"),
])
def test_a_setting_of_launch_says_where_it_is_from(words: tuple[str, ...], env: dict[str, str], shown: str) -> None:
    facts = machine(ports_in_use=[29500], env={"NPROC_PER_NODE": "1", **env})
    (busy,) = [f for f in check_all(resolve_config([], words), facts) if f.code == "port-in-use"]
    assert render_words(busy.summary, "en").endswith(shown)


@pytest.mark.parametrize(("archs", "says", "fixes"), [
    (("gfx942", "gfx942"), "CK kernels or its Triton", ("GPU_ARCHS='gfx942'", "FLASH_ATTENTION_TRITON_AMD_ENABLE", "env.FLASH")),
    (("gfx942", "gfx1100"), "its CK kernels are not for gfx1100, gfx942", ("FLASH_ATTENTION_TRITON_AMD_ENABLE", "env.FLASH"))])
def test_the_kernels_that_flash_attn_has_for_a_gpu_of_amd(archs: tuple[str, ...], says: str, fixes: tuple[str, ...]) -> None:
    facts = machine(**{**ROCM, **NO_FA, "gpus": [amd(gfx, index=i) for i, gfx in enumerate(archs)]})
    (build,) = [f for f in check_all(config(), facts) if f.code == "rocm-build"]
    assert says in render_words(build.summary, "en")
    for fix, line in zip(fixes, build.fix, strict=False):
        assert fix in render_words(line, "en")


def test_a_mirror_that_failed_is_not_what_helps() -> None:
    missing: dict[str, Any] = {"flash_attn": None, "packages": {"flash-attn": None}}

    def advice(mirrors: list[str], **answers: bool) -> str:
        network = {host.replace("_", "."): {"ok": ok, "error": None if ok else "timed out"} for host, ok in answers.items()}
        wanted = config(flash_attn={"mirrors": mirrors, "sources": ["github:Dao-AILab/flash-attention"]})
        found = [f for f in check_all(wanted, machine(**missing, network=network)) if f.code == "mirror-unreachable"]
        return " ".join(line if isinstance(line, str) else line.en for line in found[0].fix)

    both = ["https://ghproxy.net/", "https://ghfast.top/", "direct"]
    nothing = advice(both, github_com=False, ghproxy_net=False, ghfast_top=False)
    assert "ghproxy" not in nothing and "ghfast" not in nothing and "HTTPS_PROXY" in nothing and "--download-only" in nothing
    assert "mirrors=[https://ghfast.top/,direct]" in advice(both[::2], github_com=False, ghproxy_net=False)
    assert "nothing to do if ghfast.top has a wheel" in advice(both, github_com=False, ghproxy_net=False, ghfast_top=True)


def test_what_answers_is_said_and_each_error_once() -> None:
    reaches = {host: {"ok": False, "error": "[Errno -3] no name"} for host in ("github.com", "a.example")}
    sources = ["github:Dao-AILab/flash-attention", "https://a.example/simple/", "https://pypi.org/simple/"]

    def told(**more: Any) -> str:
        section = config(flash_attn={"sources": tuple(sources), "mirrors": ()})
        facts = machine(**NO_FA, network={**reaches, "pypi.org": {"ok": True}, **more})
        return next(f for f in check_all(section, facts) if f.code == "mirror-unreachable").to_json("en")["summary"]

    assert told() == ("only pypi.org can be reached, and it has no wheels; the others cannot: github.com, a.example: [Errno -3] "
                      "no name")
    assert told(**{"pypi.org": {"ok": False, "error": "[Errno -3] no name"}}) == (
        "no source of wheels can be reached: github.com, a.example: [Errno -3] no name")
    assert told(**{"a.example": {"ok": True}}) == (
        "some sources of wheels cannot be reached: github.com: [Errno -3] no name; reached: a.example")


@pytest.mark.parametrize(("swift", "facts", "gib"), [
    # 7e9 parameters: a LoRA of rank 8 trains 0.3 % of them, and keeps weights and two AdamW states in 4 bytes each
    ({}, {}, 0.235), ({"lora_rank": 64}, {}, 1.88), ({"lora_rank": 16, "save_total_limit": 1}, {}, 0.94),
    ({"train_type": "full"}, {}, 39.1), ({"tuner_type": "full", "torch_dtype": "float32"}, {}, 78.2),
    ({"train_type": "full", "deepspeed": "zero2"}, {"packages": {"deepspeed": "0.17.5"}}, 91.3),
    ({"train_type": "full", "save_only_model": True}, {}, 13.0), ({"train_type": "full", "optim": "adamw_8bit"}, {}, 13.0),
    ({"train_type": "full", "freeze_llm": True}, {}, 13.0),
    ({"train_type": "full", "save_total_limit": 2}, {}, 3 * 39.1),  # the kept ones and the one being written
    ({"train_type": "full", "save_total_limit": 4, "save_steps": 50, "max_steps": 101}, {}, 3 * 39.1),
    ({"train_type": "full", "save_steps": 50, "max_steps": 100}, {}, 2 * 39.1),
    ({"train_type": "full"}, {"paths": {MODEL: {"kind": "dir", "size_gib": 1.0}}}, 3.0),  # its folder says more than its name
    ({"train_type": "full", "model": "a/b-1_8b-chat"}, {}, 10.06), ({"model": "a/unnamed"}, {}, 0.02),
])
def test_the_room_that_checkpoints_take(swift: dict[str, Any], facts: dict[str, Any], gib: float) -> None:
    found = [f for f in check_all(config(swift), machine(host__free_gib__output=0.0, **facts)) if f.code == "disk-space-low"]
    assert [f.context["needed_gib"] for f in found] == [pytest.approx(gib, rel=0.03)]


def test_room_for_checkpoints_that_nobody_writes_or_whose_size_nobody_knows() -> None:
    for swift in ({"save_strategy": "no"}, {"train_type": "full", "model": "a/unnamed"}):
        assert "disk-space-low" not in {f.code for f in check_all(config(swift), machine(host__free_gib__output=0.0))}


@pytest.mark.parametrize(("name", "saved", "asked"), [
    ("lora_rank", 8, 4), ("lora_alpha", 32, 16), ("lora_dropout", 0.05, 0.1), ("lora_bias", "none", "all"),
    ("target_modules", ["q_proj", "k_proj"], ["q_proj"]), ("target_regex", ".*q_proj", ".*k_proj"),
    ("modules_to_save", ["lm_head"], ["embed_tokens"]), ("use_rslora", False, True), ("use_dora", True, False),
    ("init_weights", "true", "pissa"), ("adalora_target_r", 8, 4), ("vera_rank", 256, 128), ("boft_block_size", 4, 8),
])
def test_what_an_adapter_fixes(name: str, saved: object, asked: object) -> None:
    resumed = {"kind": "dir", "files": ["trainer_state.json", "optimizer.pt"], "args": {name: saved}}
    facts = machine(paths={"out/checkpoint-9": resumed})

    def told(**swift: object) -> list[Any]:
        found = check_all(config({"resume_from_checkpoint": "out/checkpoint-9", **swift}), facts)
        return [{key: f.context[key] for key in ("argument", "config", "checkpoint")} for f in found
                if f.code == "resume-setting-ignored"]

    assert told(**{name: asked}) == [{"argument": name, "config": asked, "checkpoint": saved}]
    assert told(**{name: saved}) == told() == told(**{name: asked}, train_type="full") == []


def test_no_advice_that_does_not_help() -> None:
    """Another torch finds no GPU either where there is none, and what no hub was asked for is unknown to none."""
    cpu = {"torch__version": "2.8.0+cpu", "torch__cuda": None}

    def told(code: str, **facts: Any) -> str:
        return str(next(f for f in check_all(config(), machine(**facts)) if f.code == code).to_json("en"))
    assert "pip install" in told("torch-cpu-only", **cpu)
    none = {**cpu, "gpus": [], **NO_FA}
    all_three = [told(code, **none) for code in ("torch-cpu-only", "gpu-none", "flash-attn-missing")]
    assert ["attn_impl=sdpa" in one for one in all_three] == [False, True, False]  # one way out, said once
    assert not any(command in one.partition("'fix'")[2] for one in all_three for command in ("swift-fa install", "pip install"))
    assert "swift-fa install" not in told("flash-attn-missing", **NO_FA, **cpu) + told("flash-attn-missing", **NO_FA, gpus=[])
    assert "swift-fa install" in told("flash-attn-missing", **NO_FA)
    assert "hub knows" not in told("model-missing", paths={MODEL: {"kind": "missing"}})
    assert "on the hub either" in told("model-missing", paths={MODEL: {"kind": "missing", "known_to_hub": False}})
    lost: dict[str, Any] = {"paths": {MODEL: {"kind": "hub", "cached": False}},
                            "network": {"model-hub": {"ok": False, "error": "x"}}}
    assert f"modelscope download --model {MODEL}" in told("model-missing", **lost)
    assert f"hf download --repo-type model {MODEL}" in told("model-missing", **lost, env={"USE_HF": "1"})


@pytest.mark.parametrize("attention", ["flash_attn", "sdpa", None])
def test_the_advice_for_gemma_4_leads_to_a_training(attention: str | None) -> None:
    """Its full-attention layers run with no flash attention: every setting that is advised, one after the other, does without."""
    gemma = {"paths": {MODEL: {"kind": "dir", "missing_files": [], "model_config": {
        "model_type": "gemma4", "architectures": ["Gemma4ForConditionalGeneration"], "head_dims": [72, 256, 512]}}},
        "packages": {"ms-swift": "4.6.0", "transformers": "5.14.1"}}
    swift: dict[str, Any] = {"attn_impl": attention}
    findings = [f for f in check_all(config(swift), machine(**gemma)) if f.severity.value == "error"]
    assert findings
    for finding in findings:
        advised = re.findall(r"swift\.(\w+)=(\w+)", str(finding.fix[0]))
        swift |= {name: {"false": False}.get(value, value) for name, value in dict(advised).items()}
    assert swift["attn_impl"] in ("sdpa", None)
    assert not [f for f in check_all(config(swift), machine(**gemma)) if f.severity.value == "error"]


def test_every_code_is_found_above() -> None:
    found = {word for param in ALL for word in str(param.values[0]).replace(",", "").split()}
    assert {code for code in TABLE if AREA_OF[code] not in ("launcher", "run")} <= found


def test_every_check_is_listed() -> None:
    """A check is any public function of a module of checks that yields findings from config and facts."""
    for module in pkgutil.iter_modules(checks.__path__, f"{checks.__name__}."):
        defined = vars(importlib.import_module(module.name)).items()
        listed = set(checks.CHECKS)
        forgotten = [name for name, one in defined if not name.startswith("_") and inspect.isgeneratorfunction(one)
                     and one.__annotations__.get("return") == "Iterator[Finding]" and one not in listed]
        assert not forgotten, f"{module.name}: {', '.join(forgotten)} belongs into CHECKS, or takes a name with an underscore"


def test_a_secret_is_never_shown() -> None:
    key = "abcd1234efgh5678ijkl9"
    findings = check_all(config({"swanlab_token": key}, env={"MY_SECRET": key}), machine())
    assert key not in "".join(str(f.to_json(lang)) for f in findings for lang in ("en", "zh"))


def test_a_secret_that_the_config_only_names_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_HOOK_SECRET", "s3cr3t-s3cr3t")
    file = tmp_path / "run.yaml"
    file.write_text("swanlab: {notification: {secret: '${oc.env:MY_HOOK_SECRET}'}}\n")
    named = [f.code for f in check_all(resolve_config([file]), machine())]
    file.write_text("swanlab:\n  notification:\n    secret: s3cr3t-s3cr3t\n")
    written = [f for f in check_all(resolve_config([file]), machine()) if f.code == "swanlab-key-in-config"]
    given = [f for f in check_all(resolve_config([], ["swift.swanlab_token=k-k-k-k-k"]), machine())
             if f.code == "swanlab-key-in-config"]
    assert "swanlab-key-in-config" not in named
    assert f"{file}:3" in written[0].summary[0] and "k-k" not in str(given)


def test_a_finding_names_the_line_that_is_to_blame(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("swift:\n  packing: true\n  attn_impl: sdpa\n")
    finding = next(f for f in check_all(resolve_config([file]), machine()) if f.code == "packing-needs-flash-attn")
    assert f"{file}:2" in finding.summary[0] and f"{file}:3" in finding.summary[0]


@pytest.mark.parametrize("case", expected(read_cases()))
def test_shared_cases(case: Path) -> None:
    _, missed, alarms = judge(json.loads(case.read_text(encoding="utf-8")))
    assert (missed, alarms) == ([], [])


@pytest.mark.parametrize("start", range(0, 2000, 500))
def test_no_machine_or_config_gives_a_traceback(start: int) -> None:
    assert sum(run_spoilt(seed) for seed in range(start, start + 500)) > 150
