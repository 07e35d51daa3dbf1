"""What the checks say of a `swift` section, on facts and configs of our own."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

from swift_fa_launcher.config.layers import resolve_config, resolve_data
from swift_fa_launcher.config.schema import ResolvedConfig, SwiftArguments
from swift_fa_launcher.config.swift_args import Argument
from swift_fa_launcher.decode import Unknown
from swift_fa_launcher.findings.finding import Finding, Severity, run_checks
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.preflight.checks import check_all
from swift_fa_launcher.preflight.checks.arguments import CHECKS, translated

TEXT, TEXTS = Argument("Optional[str]", None, None), Argument("List[str]", None, [])
BOOL, INT, FLOAT = Argument("<class 'bool'>", None, False), Argument("Optional[int]"), Argument("<class 'float'>", None, 1e-4)
DTYPE = Argument("Literal['bfloat16', 'float16', 'float32', None]", ("bfloat16", "float16", "float32", None))
COMMON = {
    "model": TEXT, "model_type": Argument("Optional[str]", ("qwen2", "qwen3")), "template": Argument("Optional[str]", ("qwen",)),
    "dataset": TEXTS, "cached_dataset": TEXTS, "torch_dtype": DTYPE, "attn_impl": TEXT, "packing": BOOL, "streaming": BOOL,
    "max_length": INT, "packing_length": INT, "max_steps": INT, "learning_rate": FLOAT, "warmup_ratio": FLOAT,
    "warmup_steps": FLOAT, "lazy_tokenize": BOOL, "report_to": Argument("List[str]", None, ["tensorboard"]),
    "deepspeed": Argument("Union[dict, str, NoneType]"), "fsdp": TEXT, "quant_method": TEXT, "quant_bits": INT,
    "swanlab_mode": Argument("Literal['cloud', 'local']", ("cloud", "local"), "cloud"), "swanlab_token": TEXT, "output_dir": TEXT,
    "external_plugins": TEXTS, "eval_strategy": TEXT, "lr_scheduler_type": TEXT, "save_total_limit": INT,
}
V3 = Facts(packages={"ms-swift": Version("3.12.6")}, ms_swift_args={**COMMON, "train_type": TEXT})
V4 = Facts(packages={"ms-swift": Version("4.6.0")}, ms_swift_args={**COMMON, "tuner_type": TEXT})
GOOD = {"model": "Qwen/Qwen3-8B", "dataset": ["a.jsonl"], "max_length": 4096}


def config_of(tmp_path: Path, *overrides: str, **swift: Any) -> ResolvedConfig:
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({"swift": swift}, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return resolve_config([file], overrides)


def judge(tmp_path: Path, facts: Facts = V4, *overrides: str, **swift: Any) -> tuple[Finding, ...]:
    return run_checks(CHECKS, config_of(tmp_path, *overrides, **{**GOOD, **swift}), facts)


def codes(findings: tuple[Finding, ...]) -> list[str]:
    return [f"{f.severity.value[0].upper()} {f.code}" for f in findings]


@pytest.mark.parametrize(("facts", "swift"), [
    (V4, {"tuner_type": "lora", "learning_rate": 2e-4}), (V3, {"train_type": "lora"}), (V4, {"streaming": True, "max_steps": 9}),
    (V4, {"deepspeed": "zero2"}), (V4, {"deepspeed": {"zero_optimization": {"stage": 2}}}), (V4, {"deepspeed": "ds.json"}),
    (V4, {"tuner_type": "my_own"}), (V4, {"tuner_type": "dora", "external_plugins": ["p.py"]}),
    (V4, {"attn_impl": "kernels-community/flash-attn3"}), (V4, {"model_type": "not_mine"}),
    *((V4, {"attn_impl": name}) for name in (
        "flash_attention_4", "sdpa", "eager", "flex_attention", "auto", "paged|sdpa", "sdpa_paged", "org/kernel@v2:attention",
        "")),
    (V4, {"attn_impl": "mine", "external_plugins": ["p.py"]}), (V4, {"report_to": ["swanlab", "a_new_tracker"]}),
    (V4, {"report_to": ["swanlap"], "external_plugins": ["p.py"]}),
    (V4, {"template": "mine", "external_plugins": ["p.py"]}), (V4, {"modle": None}), (V4, {"quant_method": "fp8"}),
    (V4, {"report_to": ["swanlab"], "swanlab_mode": "cloud", "dataset": "one.jsonl", "max_length": "2048"}),
    (Facts(), {"anything": 1, "torch_dtype": "bf16"}), (Facts(ms_swift_args=Unknown("not read")), {"anything": 1}),
    (V4, {"model": None, "resume_from_checkpoint": None, "load_args": None, "max_length": None, "packing_length": 4096}),
])
def test_nothing_to_say(tmp_path: Path, facts: Facts, swift: dict[str, Any]) -> None:
    expected = ["E arg-missing"] if "model" in swift else []
    assert codes(judge(tmp_path, facts, **swift)) == expected


@pytest.mark.parametrize(("facts", "swift", "expected", "fix"), [
    (V3, {"tuner_type": "lora"}, "I arg-renamed", "train_type: lora"),
    (V4, {"train_type": "lora"}, "I arg-renamed", "tuner_type: lora"),
    (V4, {"sft_type": "full"}, "I arg-renamed", "tuner_type: full"),
    (V4, {"dtype": "bf16"}, "I arg-renamed", "torch_dtype: bfloat16"),
    (Facts(packages=V3.packages), {"tuner_type": "lora"}, "I arg-renamed", "train_type: lora"),
    (V4, {"learning_rat": 1e-4}, "E arg-unknown", "learning_rate: 0.0001"),  # a beginning that argparse would complete
    (V4, {"max_step": 5}, "E arg-unknown", "max_steps: 5"),
    (V4, {"overwrite_output_dir": True}, "E arg-unknown", "add_version"),
    (V4, {"deepspeed": "default-zero2"}, "E arg-invalid", "swift.deepspeed=zero2"),
    (V4, {"torch_dtype": "bf16"}, "E arg-invalid", "swift.torch_dtype=bfloat16"),
    (V4, {"torch_dtype": "bfloat"}, "E arg-invalid", "swift.torch_dtype=bfloat16"),
    (V4, {"swanlab_mode": "clowd"}, "E arg-invalid", "swift.swanlab_mode=cloud"),
    (V4, {"packing": "maybe"}, "E arg-invalid", "swift-fa args packing"),
    (V4, {"max_steps": "ten"}, "E arg-invalid", "swift-fa args max_steps"),
    (V4, {"output_dir": "\\"}, "E arg-invalid", "swift.output_dir=null"),
    (Facts(), {"output_dir": "\\"}, "E arg-invalid", "swift.output_dir=null"),
    (V4, {"dataset": ["a.jsonl", "\\"]}, "E arg-invalid", "swift-fa args dataset"),
    (V4, {"tuner_type": "lorra"}, "E arg-invalid", "swift.tuner_type=lora"),
    (V4, {"attn_impl": "flash_attn2"}, "E arg-invalid", "swift.attn_impl=flash_attn"),
    (V4, {"attn_impl": "foo"}, "E arg-invalid", "swift.attn_impl=sdpa"),
    (V4, {"attn_impl": "flash_atn"}, "E arg-invalid", "swift.attn_impl=flash_attn"),
    (V4, {"report_to": "swanlap"}, "E arg-invalid", "swift.report_to=swanlab"),
    (V4, {"report_to": ["tensorboard", "swanlap"]}, "E arg-invalid", "swift.report_to=[tensorboard,swanlab]"),
    (V4, {"attn_impl": 3}, "E arg-invalid", "swift-fa args attn_impl"),
    (V4, {"warmup": 0.05}, "E arg-unknown", "swift-fa args warmup"),  # two could be meant: neither is given the value
    (V4, {"foo_bar_baz": 3}, "E arg-unknown", "swift-fa args PATTERN"),
    (V4, {"template": "qwem"}, "E arg-invalid", "swift.template=qwen"),
    (V4, {"report_to": []}, "E arg-invalid", "swift-fa args report_to"),
    (V4, {"model": ["a", "b"]}, "E arg-invalid", "swift-fa args model"),
    (V4, {"model": None}, "E arg-missing", "swift.model="),
    (V4, {"dataset": None}, "E arg-missing", "swift.dataset="),
    (V4, {"dataset": []}, "E arg-missing", "swift.dataset="),
    (Facts(), {"dataset": None}, "E arg-missing", "swift.dataset="),
    (V4, {"streaming": True}, "E arg-missing", "swift.max_steps=1000"),
    (V4, {"streaming": True, "max_steps": -1}, "E arg-missing", "swift.max_steps=1000"),
    (V4, {"max_length": None}, "W arg-missing", "swift.max_length=4096"),
    (V4, {"quant_method": "bnb"}, "E arg-missing", "swift.quant_bits=4"),
    (V4, {"train_type": "lora", "tuner_type": "full"}, "E arg-invalid", "swift.tuner_type=full"),
])
def test_one_finding_with_a_fix(tmp_path: Path, facts: Facts, swift: dict[str, Any], expected: str, fix: str) -> None:
    findings = judge(tmp_path, facts, **swift)
    assert expected in codes(findings)
    assert {c for c in codes(findings) if c != expected} <= {"I arg-renamed"}
    finding = next(f for f in findings if f.code == expected[2:])
    for lang in ("en", "zh"):
        shown = finding.to_json(lang)
        assert any(fix in line for line in shown["fix"]), shown["fix"]
        assert shown["summary"].count("\n") == 0
    assert finding.to_json("en")["summary"] != finding.to_json("zh")["summary"]


def test_a_finding_names_file_and_line(tmp_path: Path) -> None:
    (finding,) = judge(tmp_path, V4, learning_rat=1e-4)
    assert f"{tmp_path / 'run.yaml'}:6" in finding.to_json()["summary"]
    assert finding.context["line"] == 6 and finding.context["nearest"][0] == "learning_rate"


def test_an_override_is_named_as_typed(tmp_path: Path) -> None:
    (finding,) = judge(tmp_path, V4, "swift.learning_rat=2e-4")
    assert "swift.learning_rat=2e-4" in finding.to_json()["summary"]
    assert finding.to_json()["fix"][0] == "swift.learning_rate=0.0002"


def test_only_what_may_be_meant_is_offered(tmp_path: Path) -> None:
    def told(**swift: Any) -> tuple[str, list[str]]:
        (finding,) = judge(tmp_path, V4, **swift)
        return finding.to_json()["summary"], finding.to_json()["fix"]

    summary, fix = told(atn_impl="sdpa")
    assert summary.endswith("the nearest: attn_impl") and len(fix) == 2 and "attn_impl: sdpa" in fix[0]
    summary, fix = told(warmup=0.05)
    assert summary.endswith("warmup_ratio, warmup_steps") and "0.05" not in "".join(fix)
    summary, fix = told(foo_bar_baz=3)
    assert "none with a similar name" in summary and len(fix) == 1
    summary, _ = told(report_to=["swanlab", "tensorbord", "wndb"])
    assert summary.endswith("the nearest: tensorbord -> tensorboard, wndb -> wandb")


def test_what_names_no_attention_is_said_once(tmp_path: Path) -> None:
    for name in ("flash_atn", 3):
        findings = check_all(config_of(tmp_path, **GOOD, packing=True, attn_impl=name), V4)
        said = [f.code for f in findings if "attn_impl" in f.to_json()["summary"]]
        assert said == ["arg-invalid"] and not [f for f in findings if f.code.startswith(("packing-needs", "flash-attn-"))]


def test_no_secret_is_shown(tmp_path: Path) -> None:
    findings = judge(tmp_path, V4, swanlab_tokem="hunter2hunter2", swanlab_secret="swordfish-1")
    assert len(findings) == 2
    for finding in findings:
        assert "hunter2" not in str(finding.to_json()) and "swordfish" not in str(finding.to_json())


def test_what_is_no_secret_is_shown(tmp_path: Path) -> None:
    facts = Facts(packages=V4.packages, ms_swift_args={**COMMON, "max_new_tokens": INT})
    said = [f.to_json()["summary"] for f in judge(tmp_path, facts, max_new_tokens="abc", lazy_tokenize="maybe")]
    assert "max_new_tokens=abc" in said[1] + said[0] and "lazy_tokenize=maybe" in said[1] + said[0]


@pytest.mark.parametrize("name", ["train_dataset_sample", "ckpt_dir", "packing_cache"])
def test_what_is_gone_has_something_instead(tmp_path: Path, name: str) -> None:
    (finding,) = judge(tmp_path, V4, **{name: 5})
    assert finding.to_json()["summary"].startswith(f"ms-swift 4.6.0 has no argument {name} (") and len(finding.fix) > 1
    assert "swift.NAME" not in str(finding.fix)


def test_of_two_names_one_is_kept(tmp_path: Path) -> None:
    two = {"train_type": "lora", "tuner_type": "full"}
    (finding,) = (f for f in judge(tmp_path, V4, **two) if f.code == "arg-invalid")
    for line, kept in zip(finding.to_json()["fix"], ("full", "lora"), strict=True):
        mended = config_of(tmp_path, line.rpartition(": ")[2], **GOOD, **two)
        assert "arg-invalid" not in str(codes(run_checks(CHECKS, mended, V4)))
        assert translated(mended, V4).swift.text("tuner_type") == kept


def test_the_machine_alone_has_no_arguments_to_miss() -> None:
    assert run_checks(CHECKS, resolve_config([]), V4) == ()
    assert codes(run_checks(CHECKS, ResolvedConfig(swift=SwiftArguments({"packing": False})), V4)) == ["E arg-missing"] * 2


def test_other_checks_can_read_one_spelling(tmp_path: Path) -> None:
    config = config_of(tmp_path, **GOOD, use_flash_attn=False, train_type="lora")
    swift = translated(config, V4).swift
    assert (swift.text("tuner_type"), swift.attn_impl, "train_type" in swift) == ("lora", None, False)


VALUES: list[Any] = [None, True, 0, -1, 1e400, "", "\\", "--x", "zero2", [], [[]], [None], {}, {"a": [1]}, "é中", "x" * 3000,
                     ["a", 1, None], 10 ** 400, float("nan"), "\x00", [{"a": None}]]


def test_no_mutation_gives_a_traceback() -> None:
    chance = random.Random(11)
    names = [*COMMON, "train_type", "tuner_type", "sft_type", "dtype", "use_flash_attn", "custom_train_dataset_path", "",
             "no_packing", "-", "learning-rate", "deepspeed_config_path", "lora_modules", "swanlab_lark_webhook_url"]
    kinds = ["Optional[int]", "<class 'bool'>", "List[str]", "Literal[1, 'a', None]", "int | None", "(", "Union[]", "Optional[]",
             "", "list", "\x00", "a.b | c", "dict[str, int] | None", Unknown("?"), None]
    for _ in range(2000):
        swift = {chance.choice(names): chance.choice(VALUES) for _ in range(chance.randrange(6))}
        arguments = {chance.choice(names): Argument(chance.choice(kinds), chance.choice([None, (), ("a", None, 1), Unknown("?")]),
                                                    chance.choice(VALUES)) for _ in range(chance.randrange(8))}
        facts = Facts(packages=chance.choice([Unknown("?"), None, {}, {"ms-swift": None}, V3.packages, V4.packages]),
                      ms_swift_args=chance.choice([None, Unknown("?"), {}, arguments, V4.ms_swift_args]))
        config = resolve_data({"swift": {k: v for k, v in swift.items() if k}}) if chance.random() < 0.02 else ResolvedConfig(
            swift=SwiftArguments(swift))
        for finding in run_checks(CHECKS, config, facts):
            assert finding.severity in tuple(Severity) and finding.to_json("zh")
