"""Scripts of every kind, each compared with what a real bash gives to `swift sft`."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from import_cases import LAUNCHED, SCRIPTS
from stub_swift import OURS, Called, imported, make_stubs, plan_of, run_in_bash, unlike, unlike_env, unlike_words

from swift_fa_launcher.importing.starts import LAUNCH_KEYS
from swift_fa_launcher.stories.import_script import Source, find


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stubs(tmp_path_factory.mktemp("stubs") / "bin")


def calls_of(text: str, folder: Path, stubs: Path) -> tuple[Path, list[Called]]:
    script = folder / "scripts" / "train.sh"
    script.parent.mkdir()
    script.write_text(text, encoding="utf-8")
    return script, run_in_bash(script, stubs, folder / "records", folder)


@pytest.mark.parametrize("name", SCRIPTS)
def test_swift_gets_what_bash_gives_it(name: str, tmp_path: Path, stubs: Path) -> None:
    text = SCRIPTS[name].lstrip("\n")
    script, calls = calls_of(text, tmp_path, stubs)
    trained = [call for call in calls if call.words[:2] == ("swift", "sft")]
    found = find(Source(str(script), text, script))
    assert len(found) == len(trained) > 0
    for number, call in enumerate(trained, 1):
        assert unlike(call, imported(text, script, number), {"PATH": str(stubs)}) == [], imported(text, script, number).text


@pytest.mark.parametrize("name", LAUNCHED)
def test_other_launchers_become_launch(name: str, tmp_path: Path, stubs: Path) -> None:
    text, launch = LAUNCHED[name]
    script, calls = calls_of(text.lstrip("\n"), tmp_path, stubs)
    [call] = calls
    draft = imported(text, script)
    config, plan = plan_of(draft)
    start = next(i for i, word in enumerate(call.words) if word.endswith("sft.py") or word in ("swift.cli.sft", "sft"))
    assert unlike_words(call.words[start + 1:], plan) == []
    assert unlike_env({k: v for k, v in call.env.items() if k not in LAUNCH_KEYS},
                      plan, {k: v for k, v in plan.env.items() if k in LAUNCH_KEYS or k in OURS}) == []
    written = {key: config.values["launch"][key] for key in LAUNCH_KEYS.values() if config.values["launch"][key] is not None}
    assert written == launch


def test_the_stubs_are_not_the_import_itself(tmp_path: Path, stubs: Path) -> None:
    """The comparison sees a difference."""
    script, [call] = calls_of("A=1 swift sft --model m --dataset d\n", tmp_path, stubs)
    assert unlike(call, imported("A=2 swift sft --model m --dataset d", script)) == ["A: bash '1', plan '2'"]
    assert unlike(call, imported("A=1 swift sft --model m --dataset e", script)) == ["--dataset: bash ['d'], plan ['e']"]
    assert shlex.split(" ".join(call.words)) == ["swift", "sft", "--model", "m", "--dataset", "d"]
