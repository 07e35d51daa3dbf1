"""Every fix that can be printed is accepted when it is typed: the table's, in all ways to say a code, those that checks and
diagnoses fill in, and what an error of the launcher itself advises."""

from __future__ import annotations

import ast
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from machines import config, machine
from preflight_cases import ALL
from typed_lines import accept, typed

import swift_fa_launcher
from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.diagnose.diagnosis import diagnose
from swift_fa_launcher.errors import LauncherError, Words, render_words
from swift_fa_launcher.findings.table import TABLE, USUAL, fill, value_names
from swift_fa_launcher.preflight.checks import check_all

PACKAGE = Path(swift_fa_launcher.__file__).parent
CODES = Path(__file__).parents[1] / "diagnose" / "test_codes.py"
#: What stands for the values of a line, where 7 would not do.
SAMPLES = {"pip": "/env/bin/python -m pip", "interpreter": "/env/bin/python", "index": "cu126", "indexes": "0,1",
           "requirement": "torch==2.8.0", "wanted": ">=5.2", "setting": "launch.nproc_per_node", "argument": "model",
           "name": "model", "key": "swift.output_dir", "num_proc": "dataset_num_proc", "nearest": "qwen3",
           "mirrors": "https://ghproxy.net/,direct", "attn_impl": "flash_attention_3", "meant": "NPROC_PER_NODE",
           "bare": "org/Base", "download": "modelscope download --model org/Base", "variable": "SWANLAB_API_KEY",
           "variables": "RANK WORLD_SIZE", "reference": "export SWANLAB_API_KEY=KEY"}
#: Values that a check writes as they are typed.
SETTINGS = dict.fromkeys(("override", "second", "third", "keep", "or_keep", "same", "good"), "swift.seed=7")


#: What stands for an expression in a text outside of the table.
VALUES = {"self.prog": "swift-fa train", "options.command": "train", "command": "train", "target.python": "/env/bin/python",
          "name": "NAME"}


def said(line: Words) -> Iterator[str]:
    yield from dict.fromkeys(render_words(line, lang) for lang in ("en", "zh"))


def wrong(lines: Iterable[Words]) -> list[str]:
    """What of the lines is not accepted, and why."""
    found = []
    for line in lines:
        for text in said(line):
            try:
                for command in typed(text):
                    accept(command)
            except (AssertionError, ValueError, SyntaxError, LauncherError) as error:
                found.append(f"{text}: {error}")
    return list(dict.fromkeys(found))


def with_samples(line: Words) -> Words:
    first = {"{first}": "swift.seed=7", "'launch.gpus={first}'": "[0]"}.get(str(line), 7)
    named = {name: {**USUAL, **SAMPLES, **SETTINGS}.get(name, 7) for name in value_names(line)}
    return fill(line, {**named, "first": first, "other": "model" if "swift.{other}" in str(line) else 7})


@pytest.mark.parametrize("code", TABLE)
def test_what_the_table_advises(code: str) -> None:
    lines = [line for fix in (TABLE[code].fix, *(way.fix or () for way in TABLE[code].says.values())) for line in fix]
    assert not wrong(map(with_samples, lines))


@pytest.mark.parametrize(("expect", "facts", "swift", "sections"), ALL)
def test_what_a_check_advises(expect: str, facts: dict[str, Any], swift: dict[str, Any], sections: dict[str, Any]) -> None:
    assert not wrong(line for finding in check_all(config(swift, **sections), machine(**facts)) for line in finding.fix)


def test_what_a_diagnosis_advises() -> None:
    logs = runpy.run_path(str(CODES))
    texts = [*(log for _, log in logs["LOGS"]), *(log for _, _, log in logs["THREADS"])]
    advice = [line for text in texts for one in diagnose([text.encode()], exit_code=1) for line in one.fix]
    assert len(advice) > 500 and not wrong(advice)


def test_what_an_error_advises() -> None:
    lines = dict(advised())
    assert len(lines) > 90 and not [f"{place}: {why}" for line, place in lines.items() for why in wrong([line])]


def advised() -> Iterator[tuple[str, str]]:
    """Each text that a `hint=` of the package writes, itself or by a name of its module, with its place."""
    for path in sorted(PACKAGE.rglob("*.py")):
        nodes = [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
        named: dict[str, list[ast.expr]] = {}
        for node in nodes:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                named.setdefault(node.targets[0].id, []).append(node.value)
        calls = [node for node in nodes if isinstance(node, ast.Call)]
        for hint in (keyword.value for call in calls for keyword in call.keywords if keyword.arg == "hint"):
            inside = {one for text in ast.walk(hint) if isinstance(text, ast.JoinedStr) for one in ast.walk(text)}
            names = (name.id for name in ast.walk(hint) if isinstance(name, ast.Name) and name not in inside)
            for part in (hint, *(value for name in names for value in named.get(name, ()))):
                yield from ((text, f"{path.relative_to(PACKAGE)}:{part.lineno}") for text in literals(part))


def literals(node: ast.AST) -> Iterator[str]:
    """The texts that an expression writes, with a sample for each value in them; what other calls make is not looked into."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else VALUES.get(ast.unparse(part.value), "7")
                      for part in node.values if isinstance(part, (ast.Constant, ast.FormattedValue)))
    elif not isinstance(node, (ast.Call, ast.Compare, ast.Subscript)) or is_text(node):
        for child in ast.iter_child_nodes(node):
            yield from literals(child)


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Text"


@pytest.mark.parametrize("line", [
    "swift.dataset=[FILE]", "pip install swanlab>=0.6", "swift.model=<path>", "swift.seed=1 or else", "launch.gpus=[0",
    "swift.columns={a: messages}", "flash_attn.mirrors=[https://a.example/]", "swift-fa install --from-sauce", "export A-B=1",
    "swift-fa install --version >=2.8", "swift.packings=false", "swift.packing=perhaps", "swift.max_length=long",
    "or: swift.seed=1; and then swift.model=a", "pip instal a", "swanlab synk FOLDER", "python -c 'import'", "--from-sauce",
    "set swift.seed=1 in the config", "run `swift-fa instal`", "use pip install a", "nvidia-smi --list", "git lfs pull 'a"])
def test_what_would_not_be_accepted_is_noticed(line: str) -> None:
    assert wrong([line])


def test_a_typed_value_survives_the_shell_and_the_command_line() -> None:
    for saved in ("q_proj", ["q_proj", "v_proj"], r"^(model\.language_model).*\.(q|k)_proj$", 0.05, True, ["a b", "c"]):
        path = {"out/checkpoint-9": {"kind": "dir", "files": [], "args": {"target_modules": saved}}}
        wanted = config({"resume_from_checkpoint": "out/checkpoint-9", "target_modules": ["nothing"]})
        (finding,) = [f for f in check_all(wanted, machine(paths=path)) if f.code == "resume-setting-ignored"]
        (word,) = shlex.split(str(finding.fix[0]))
        assert resolve_config([], [word]).swift.get("target_modules") == saved


@pytest.mark.stack
def test_programs_of_others_know_what_the_table_has_typed_into_them() -> None:
    """With `--help` behind it, a command of SwanLab's or Hugging Face's reads its words and does nothing."""
    lines = {text for code in TABLE for fix in (TABLE[code].fix, *(way.fix or () for way in TABLE[code].says.values()))
             for line in fix for text in said(with_samples(line))}
    commands = {command for line in lines for command in typed(line) if re.match("swanlab |hf ", command)}
    for words in map(shlex.split, commands):
        program = Path(sys.executable).with_name(words[0])
        run = subprocess.run([program, *words[1:], "--help"], capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"{words}: {run.stderr}"
    assert len(commands) > 2
