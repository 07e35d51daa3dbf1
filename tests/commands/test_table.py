"""The table of commands, and the help of each: complete, in both languages, 80 columns wide, no word broken."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

import swift_fa_launcher.commands
from swift_fa_launcher.cli import main
from swift_fa_launcher.commands import COMMANDS, HIDDEN
from swift_fa_launcher.commands.options import Parser, load_command, make_parser

FOLDER = Path(swift_fa_launcher.commands.__file__).parent
SHARED = {"__init__", "mistakes", "options", "screen"}
CHINESE = re.compile("[\u4e00-\u9fff]")


def test_every_module_is_in_the_table_and_every_line_has_its_module() -> None:
    assert {file.stem for file in FOLDER.glob("*.py")} - SHARED == {*COMMANDS, *HIDDEN}
    for name, story in COMMANDS.items():
        assert story.en and not CHINESE.search(story.en) and CHINESE.search(story.zh), name


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_what_it_needs(name: str) -> None:
    command = load_command(name)
    assert (command.__doc__ or "").startswith(f"{name}: ") and callable(command.run)
    program, typed, *words = shlex.split(command.EXAMPLE)
    assert (program, typed) == ("swift-fa", name) and len(command.EXAMPLE) <= 78
    make_parser(name, "en").parse_intermixed_args(words)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_its_help_in_both_languages(name: str) -> None:
    for en, zh in zip(make_parser(name, "en")._actions, make_parser(name, "zh")._actions, strict=True):
        place = f"commands/{name}.py: {en.option_strings or en.dest}"
        assert en.help and not CHINESE.search(en.help), f"{place} has no English help"
        assert zh.help and CHINESE.search(zh.help), f"{place} has no Chinese help"


def test_help_cannot_be_left_out() -> None:
    with pytest.raises(TypeError, match="help"):
        Parser("train", COMMANDS["train"], "swift-fa train", "en").option("--more")  # type: ignore[call-arg]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_the_help_fits_80_columns_and_breaks_no_word(name: str, lang: str, capfd: pytest.CaptureFixture[str]) -> None:
    if name:
        parser = make_parser(name, lang)
        said = parser.format_help()
        told = [COMMANDS[name].render(lang), *(action.help or "" for action in parser._actions)]
        assert f"\n  {load_command(name).EXAMPLE}\n" in said, "the example is to be copied"
    else:
        assert main(["--help", "--lang", lang]) == 0
        said = capfd.readouterr().out
        told = [story.render(lang) for story in COMMANDS.values()]
    assert not [line for line in said.splitlines() if cell_len(line) > 80]
    words = set(re.findall("[!-~]+", said))
    for text in told:
        assert not set(re.findall("[!-~]+", text)) - words, "a word is broken"
        assert "".join(text.split()) in "".join(said.split())


def test_the_overview_needs_no_command_no_findings_and_no_rich() -> None:
    script = "import sys; from swift_fa_launcher.cli import main; main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = eval(done.stderr)
    allowed = {"errors", "layout", "cli", "commands", "commands.screen"}
    assert {m.removeprefix("swift_fa_launcher.") for m in modules if m.startswith("swift_fa_launcher.")} <= allowed
    assert not {"rich", "argparse", "yaml", "omegaconf"} & set(modules)
