"""What is printed as a fix is accepted when it is typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from machines import config, machine
from preflight_cases import FLASH_ATTN, INSTALLING, LAUNCH, MACHINE, PATHS, SWANLAB

from swift_fa_launcher.commands.options import make_parser
from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.errors import UsageError, render_words
from swift_fa_launcher.findings.table import AREA_OF, TABLE, with_names
from swift_fa_launcher.preflight.checks import check_all

AREAS = ("machine", "flash-attn", "build", "launch", "data", "swanlab", "run")
#: How a line begins, or goes on after its colon, where it is to be typed.
TYPED = re.compile(r"(?:^|: |：)('?(?:swift|flash_attn|swanlab|launch|run|env)\.\w+=|export |unset |(?:\S+ -m )?pip |"
                   r"\S+ -m venv |python -c |conda |CC=|swift-fa |modelscope |hf |swanlab |HF_)")


def typed(fix: Any) -> Iterator[str]:
    """What of the lines is typed, in both languages."""
    for line in fix:
        for lang in ("en", "zh"):
            text = render_words(line, lang)
            if found := TYPED.search(text):
                yield text[found.start(1):]
            yield from re.findall(r"`(swift-fa [^`]+)`", text)


def accept(line: str) -> None:
    for command in line.split(" && "):
        accept_one(command)


def accept_one(command: str) -> None:
    words = shlex.split(command)
    marks = [token for token in shlex.shlex(command, posix=True, punctuation_chars=True) if set(token) <= set("();<>|&")]
    unquoted = re.sub(r"'[^']*'", "", command)
    assert not marks and not re.search(r"[\[*?{]", unquoted), f"the shell reads more than words: {command}"
    while re.fullmatch(r"[A-Z]+=\S+", words[0]):  # variables before a command
        words.pop(0)
    settings = [word for word in words if re.match(r"(?:swift|flash_attn|swanlab|launch|run|env)\.\w+=", word)]
    if words[0] == "swift-fa":
        make_parser(words[1], "en").parse_intermixed_args(words[2:])
    elif settings and "=" in words[0]:
        assert settings == words, f"words among the settings: {command}"
    with pytest.MonkeyPatch.context() as shell:
        for name in re.findall(r"\$\{oc\.env:(\w+)\}", command):
            shell.setenv(name, "1")
        resolve_config([], [re.sub(r"=(STEPS|步数)$", "=10", word) for word in settings])


@pytest.mark.parametrize(("expect", "facts", "swift", "sections"),
                         [*MACHINE, *FLASH_ATTN, *INSTALLING, *LAUNCH, *PATHS, *SWANLAB])
def test_what_a_check_advises(expect: str, facts: dict[str, Any], swift: dict[str, Any], sections: dict[str, Any]) -> None:
    for finding in check_all(config(swift, **sections), machine(**facts)):
        if AREA_OF[finding.code] in AREAS:
            for command in typed(finding.fix):
                accept(command)


@pytest.mark.parametrize("wrong", ["swift.dataset=[FILE]", "pip install swanlab>=0.6", "swift.model=<path>",
                                   "swift.seed=1 or else", "swift.columns={a: messages}", "launch.gpus=[0",
                                   "flash_attn.mirrors=[https://a.example/]", "swift-fa install --from-sauce",
                                   "swift-fa install --version >=2.8"])
def test_what_would_not_be_accepted_is_noticed(wrong: str) -> None:
    with pytest.raises((AssertionError, ValueError, UsageError)):
        accept(wrong)


@pytest.mark.parametrize("code", [code for code in TABLE if AREA_OF[code] in AREAS])
def test_what_the_table_advises(code: str) -> None:
    for fix in (TABLE[code].fix, *(one.fix or () for one in TABLE[code].says.values())):
        for command in typed(map(with_names, fix)):
            number = re.search("max_length|num_proc|workers|timeout|nproc_per_node|node_rank|master_port|SETTING", command)
            put = command.replace("SETTING=", "launch.nnodes=").replace("gpus=FIRST", "gpus=[0]")
            accept(re.sub(r"(='?)[A-Z_]+", r"\g<1>7", put) if number else put.replace("gpus=[INDEXES]", "gpus=[0,1]"))


def test_a_typed_value_survives_the_shell_and_the_command_line() -> None:
    for saved in ("q_proj", ["q_proj", "v_proj"], r"^(model\.language_model).*\.(q|k)_proj$", 0.05, True, ["a b", "c"]):
        path = {"out/checkpoint-9": {"kind": "dir", "files": [], "args": {"target_modules": saved}}}
        facts = machine(paths=path)
        wanted = config({"resume_from_checkpoint": "out/checkpoint-9", "target_modules": ["nothing"]})
        (finding,) = [f for f in check_all(wanted, facts) if f.code == "resume-setting-ignored"]
        (word,) = shlex.split(str(finding.fix[0]))
        assert resolve_config([], [word]).swift.get("target_modules") == saved
