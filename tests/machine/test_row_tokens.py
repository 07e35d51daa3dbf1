"""Tokens of dataset rows: counted as the installed ms-swift counts them, or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import make_chat_rows, make_tiny_model

from swift_fa_launcher.config.schema import LaunchSection, ResolvedConfig, SwiftArguments
from swift_fa_launcher.decode import Unknown, known
from swift_fa_launcher.errors import Words
from swift_fa_launcher.machine.collect import collect_facts
from swift_fa_launcher.machine.facts import Facts, PathFacts, facts_to_json, parse_facts
from swift_fa_launcher.machine.paths import collect_paths
from swift_fa_launcher.machine.row_tokens import with_row_tokens
from swift_fa_launcher.machine.rows import make_reader
from swift_fa_launcher.preflight.checks import check_all
from swift_fa_launcher.preflight.packing import make_packed

pytestmark = pytest.mark.stack


def say_user(*contents: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[number % 2], "content": content} for number, content in enumerate(contents)]


#: Rows of every shape that ms-swift reads, one dataset each.
SHAPES: dict[str, list[dict[str, Any]]] = {
    "mixed": [{"messages": say_user("hi", "<think>\nwell\n</think>\n\nyo 12", "and?", "<think>\nso\n</think>\n\n那么")},
              {"messages": [{"role": "system", "content": "be brief"}, *say_user("hi", "yo")]},
              {"messages": [*say_user("a"), *say_user("b", "yo"), {"role": "assistant", "content": "and more"}]},
              {"messages": [{"role": "assistant", "content": "alone I talk"}]}],
    "sharegpt": [{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "system": "be kind"}],
    "alpaca": [{"instruction": "do this", "input": "with that", "output": "done"},
               {"instruction": "do this", "input": "", "output": "done"}],
    "pairs": [{"query": "q", "response": "answer 5", "history": [["before", "then"]], "system": "sys"}],
    "text": [{"text": "plain words to learn"}],
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model and a dataset of every shape."""
    folder = tmp_path_factory.mktemp("rows")
    make_tiny_model(folder / "model")
    make_chat_rows(folder / "chat.jsonl", 200)
    for name, rows in SHAPES.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def config_of(folder: Path, dataset: str = "chat", **swift: Any) -> ResolvedConfig:
    file = dataset if dataset.endswith(".jsonl") else f"{folder}/{dataset}.jsonl"
    given = {"model": str(folder / "model"), "dataset": file, "packing": True, "max_length": 1024}
    return ResolvedConfig(swift=SwiftArguments({**given, **swift}), launch=LaunchSection(python=sys.executable))


def collected(config: ResolvedConfig, said: list[Words] | None = None) -> Facts:
    environment = dict(os.environ)
    paths = collect_paths(config, environment)
    return Facts(paths=with_row_tokens(paths, config, environment, Path.cwd(), (said if said is not None else []).append))


def counted(config: ResolvedConfig, said: list[Words] | None = None) -> PathFacts:
    facts = collected(config, said).path(config.swift.names("dataset")[0])
    assert facts is not None
    return facts


# ------------------------------------------------------------------------------------------ as ms-swift counts

#: Settings of the template, and ms-swift's name of the templates that put text together in different ways: a system by
#: default, an empty thought, a beginning of the text as a token, a system in the last prompt, no roles.
JOBS = [*({"template": "qwen2_5", "dataset": data} for data in SHAPES),
        *({"template": name, "dataset": "mixed"} for name in ("qwen3", "chatml", "llama3", "gemma", "default", "mistral_nemo")),
        {"template": "qwen2_5", "dataset": "mixed", "use_chat_template": False},
        {"template": "qwen2_5", "dataset": "mixed", "system": "You speak.\\nAlways."},
        {"template": "qwen2_5", "dataset": "chat", "max_length": 200},
        {"template": "qwen2_5", "dataset": "chat", "max_length": 200, "truncation_strategy": "right"},
        {"template": "qwen2_5", "dataset": "chat", "max_length": 1024, "packing_length": 512},
        {"template": "qwen2_5", "dataset": "chat", "max_length": 1024, "packing_strategy": "sequential"}]
ANSWER = "ANSWER "
ASK_SWIFT = f"""
import json, sys
from swift import get_processor, get_template
from swift.dataset import AddLengthPreprocessor, LazyLLMDataset, PackingDataset, load_dataset
folder, jobs = sys.argv[1], json.loads(sys.argv[2])
processor = get_processor(folder + "/model", model_type="qwen2")
for job in jobs:
    system = job.get("system")
    template = get_template(processor, system and system.replace("\\\\n", "\\n"), job.get("max_length"),
                            template_type=job["template"], use_chat_template=job.get("use_chat_template", True),
                            truncation_strategy=job.get("truncation_strategy", "raise"))
    template.set_mode("train")
    data, _ = load_dataset([f"{{folder}}/{{job['dataset']}}.jsonl"], load_from_cache_file=False)
    data = AddLengthPreprocessor(template=template)(data, num_proc=1, load_from_cache_file=False, strict=False)
    packed = PackingDataset(template, LazyLLMDataset(data, template.encode), packing_length=job.get("packing_length"),
                            packing_strategy=job.get("packing_strategy", "binpack"))
    print("{ANSWER}" + json.dumps([[length[0] for length in data["lengths"]], len(packed)]), flush=True)
"""


def test_as_ms_swift_counts_and_packs(folder: Path) -> None:
    """ms-swift's own template and PackingDataset: each row's tokens, and how many rows they are packed into."""
    done = subprocess.run([sys.executable, "-c", ASK_SWIFT, str(folder), json.dumps(JOBS)], capture_output=True, text=True,
                          timeout=300, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    answers = [json.loads(line[len(ANSWER):]) for line in done.stdout.splitlines() if line.startswith(ANSWER)]
    assert len(answers) == len(JOBS), done.stderr[-2000:]
    for job, (lengths, packed) in zip(JOBS, answers, strict=True):
        config = config_of(folder, **{"max_length": None, "gradient_accumulation_steps": 1, **job})
        facts = collected(config)
        found = facts.path(config.swift.names("dataset")[0])
        assert found is not None
        ours, limit, cut = known(found.row_tokens) or (), job.get("max_length"), job.get("truncation_strategy")
        assert [min(n, limit or n) for n in ours if cut or n <= (limit or n)] == lengths, job
        assert found.rows_over_max_length == (sum(n > limit for n in ours) if limit else 0), job
        assert known(found.mean_row_tokens) == pytest.approx(sum(min(n, limit or n) for n in ours) / len(ours), abs=0.01), job
        epoch = make_packed(config, facts)
        assert epoch is not None and (epoch.rows, epoch.steps) == (len(lengths), packed), job
        assert epoch.examples_per_row == pytest.approx(len(lengths) / packed), job


def test_the_tokenizers_own_chat_template(folder: Path, tmp_path: Path) -> None:
    """Where the config names no template: what the template drops of a reply, ms-swift learns."""
    make_tiny_model(tmp_path / "model")
    text = ("{%- if messages[0].role != 'system' %}{{ '<|im_start|>system\\nbe good<|im_end|>\\n' }}{% endif %}"
            "{% for m in messages %}{% generation %}<|im_start|>{{ m.role }}\n"
            "{{ m.content.split('</think>')[-1] | trim }}<|im_end|>\n{% endgeneration %}{% endfor %}")
    (tmp_path / "model" / "chat_template.jinja").write_text(text)
    for rows in ("mixed", "pairs"):
        (tmp_path / f"{rows}.jsonl").write_bytes((folder / f"{rows}.jsonl").read_bytes())
        own = counted(config_of(tmp_path, rows))
        named = counted(config_of(folder, rows, template="chatml", system="be good"))
        assert own.row_tokens == named.row_tokens and isinstance(own.row_tokens, tuple)


def test_tools_are_counted_where_the_template_has_a_place_for_them(folder: Path, tmp_path: Path) -> None:
    row = {"tools": json.dumps([{"type": "function", "function": {"name": "weather", "description": "d" * 500}}]),
           "messages": [*say_user("Rome?"), {"role": "tool_call", "content": '{"name": "weather"}'},
                        {"role": "tool_response", "content": "sunny"}, {"role": "assistant", "content": "It is sunny."}]}
    make_tiny_model(tmp_path / "model")
    (tmp_path / "tools.jsonl").write_text(json.dumps(row))
    config = config_of(tmp_path, "tools", template="qwen2_5")
    assert counted(config).row_tokens == Unknown("the chat template took 0 of 1 rows")
    (tmp_path / "model" / "chat_template.jinja").write_text(
        "{{ tools | tojson }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}")
    tokens = counted(config).row_tokens
    assert isinstance(tokens, tuple) and tokens[0] > 400


# ------------------------------------------------------------------------------------------ what is not counted

@pytest.mark.parametrize(("change", "why"), [
    ({"packing": False, "max_length": None}, "neither packing nor max_length"), ({"streaming": True}, "streamed"),
    ({"model": "Qwen/Qwen2.5-7B-Instruct"}, "not on this machine"), ({"model": None}, "not on this machine"),
    ({"system": "absent.txt"}, "FileNotFoundError")])
def test_nothing_is_counted_without_need_or_means(folder: Path, change: dict[str, Any], why: str) -> None:
    said: list[Words] = []
    facts = counted(config_of(folder, **change), said)
    for value in (facts.row_tokens, facts.mean_row_tokens, facts.rows_over_max_length):
        assert isinstance(value, Unknown) and why in value.why
    assert not said and make_packed(config_of(folder, **change), Facts(paths={})) is None


@pytest.mark.parametrize(("rows", "why"), [
    ([{"messages": say_user("q", "a"), "images": ["a.png"]}], "images"),
    ([{"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}, *say_user("", "a")[1:]]}], "1 of 1 rows"),
    ([{"messages": [{**say_user("q")[0], "tool_calls": [1]}, *say_user("", "a")[1:]]}], "1 of 1 rows")])
def test_rows_of_another_form(folder: Path, tmp_path: Path, rows: list[Any], why: str) -> None:
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tokens = counted(config_of(folder, f"{tmp_path}/d.jsonl")).row_tokens
    assert isinstance(tokens, Unknown) and why in tokens.why


@pytest.mark.parametrize(("name", "content", "why"), [
    ("tokenizer.json", "{", "Exception"), ("tokenizer.json", None, "no tokenizer.json"),
    ("tokenizer_config.json", "{}", "no chat template"), ("chat_template.jinja", "{% for %}", "chat template"),
    ("chat_template.jinja", "{{ raise_exception('no') }}", "took 0 of")])
def test_a_tokenizer_that_cannot_be_used(folder: Path, tmp_path: Path, name: str, content: str | None, why: str) -> None:
    model = make_tiny_model(tmp_path / "model")
    (model / name).unlink() if content is None else (model / name).write_text(content)
    tokens = counted(config_of(folder, model=str(model))).row_tokens
    assert isinstance(tokens, Unknown) and why in tokens.why


def test_counted_once_while_nothing_changes(folder: Path, tmp_path: Path) -> None:
    file, said = tmp_path / "d.jsonl", list[Words]()
    file.write_bytes((folder / "pairs.jsonl").read_bytes())
    for max_length in (1024, 10):  # the counts are the same, what follows from them is not
        facts = counted(config_of(folder, dataset=str(file), max_length=max_length), said)
        assert facts.rows_over_max_length == (max_length == 10)
    assert len(said) == 1
    file.write_bytes((folder / "mixed.jsonl").read_bytes())
    assert len(known(counted(config_of(folder, dataset=str(file)), said).row_tokens) or ()) == 4
    counted(config_of(folder, dataset=str(file), system="be brief"), said)
    assert len(said) == 3


def test_another_ms_swift_has_templates_of_its_own(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "swift" / "template"
    (home / "templates").mkdir(parents=True)
    for init in (tmp_path / "swift", home, home / "templates"):
        (init / "__init__.py").touch()
    text = """from dataclasses import dataclass
@dataclass
class Meta:
    template_type: str
    prefix: list
    prompt: list
    chat_sep: list
    suffix: list
    default_system: str = None
register_template(Meta("plain", [], ["{{QUERY}}" + PAD], [" "], [["eos_token_id"]]))
"""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (home / "templates" / "all.py").write_text("")
    unknown = counted(config_of(folder, "pairs", template="plain")).row_tokens
    assert unknown == Unknown("ms-swift itself has no template plain"), "a plugin's may be anything"
    counts, said = [], list[Words]()
    for pad in ("", "!?" * 5):
        (home / "templates" / "all.py").write_text(text.replace("PAD", repr(pad)))
        counts += [known(counted(config_of(folder, "pairs", template="plain"), said).row_tokens) for _ in range(2)]
    assert counts[0] == counts[1] and counts[2] == counts[3] == (counts[0][0] + 2 * 10,) and len(said) == 2  # type: ignore


def test_a_machines_facts_have_them(folder: Path) -> None:
    config = config_of(folder, attn_impl="flash_attn", template="qwen2_5", max_length=200, packing_length=1000)
    facts = collect_facts(config, offline=True, probe=False)
    found = {finding.code: finding for finding in check_all(config, facts)}
    assert "52 of 200 rows (26%)" in found["rows-too-long"].summary.en
    assert found["packing-changes-batch"].context["rows"] == 148
    assert parse_facts(json.loads(json.dumps(facts_to_json(facts))), "again") == facts


def test_unusable_rows_are_left_out(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*SHAPES["mixed"], {"messages": []}] * 5))
    facts = counted(config_of(folder, dataset=str(tmp_path / "d.jsonl"), max_length=30, template="chatml"))
    assert (facts.rows_checked, facts.usable_rows, len(known(facts.row_tokens) or ())) == (25, 20, 20)
    assert facts.rows_over_max_length == sum(count > 30 for count in known(facts.row_tokens) or ()) == 10


def test_a_large_file_is_counted_by_a_sample(folder: Path, tmp_path: Path) -> None:
    """Within a few per cent of what all of its rows have."""
    file = make_chat_rows(tmp_path / "d.jsonl", 20_000)
    lines = file.read_text("utf-8").splitlines(keepends=True)
    mean = known(counted(config_of(folder, dataset=str(file))).mean_row_tokens)
    (tmp_path / "all.jsonl").write_text("".join(lines[::20]), "utf-8")
    assert mean == pytest.approx(known(counted(config_of(folder, dataset=str(tmp_path / "all.jsonl"))).mean_row_tokens), rel=0.05)


def test_a_row_that_nobody_thought_of_is_no_error() -> None:
    read = make_reader(["messages"], {})
    assert read({"messages": [{"role": "user", "content": None}]}) is None
    assert read({"messages": []}) is None
