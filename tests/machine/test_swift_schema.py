"""ms-swift's arguments read from the sources of an installed ms-swift, real and made up, and kept."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest
from packaging.version import Version

from swift_fa_launcher.cache import cache_dir
from swift_fa_launcher.config.swift_args import Argument, nearest
from swift_fa_launcher.decode import Maybe, Unknown
from swift_fa_launcher.errors import Words
from swift_fa_launcher.machine.swift_schema import collect_swift_arguments

SOURCES = {
    "swift/__init__.py": "raise SystemExit('ms-swift must not be imported')\n",
    "swift/names.py": "from enum import Enum\nclass Pace(str, Enum):\n    SLOW = 'slow'\n    FAST = 'fast'\n"
                      "DEFAULTS = ['x']\nKINDS = {'one': print, 'two': len}\n",
    "swift/arguments/__init__.py": "_import_structure = {'sft_args': ['SftArguments'], 'base': ['BaseArguments']}\n",
    "swift/arguments/base.py": '''
from __future__ import annotations
import os
from dataclasses import dataclass, field
from typing import ClassVar, List, Literal, Optional, Union
from swift.names import DEFAULTS, KINDS, Pace

Alias = Optional[Literal['a', 'b', None]]

class Plain:
    shared: Optional[float] = 1.0

@dataclass
class Left:
    """Left.

    Args:
        shared (int): Said on the left,
            in two lines.
        only_left (str): Another.
    """
    shared: int = 1
    only_left: str = 'l'

@dataclass
class Right:
    shared: float = 2.0
    only_right: bool = True
    pace: Union[Pace, str] = Pace.FAST
    hidden: int = field(init=False, default=3)
    counted: ClassVar[int] = 4

@dataclass
class BaseArguments(Left, Right, Plain):
    names: List[str] = field(default_factory=lambda: [*DEFAULTS] if False else ['x'], metadata={'help': 'Names.'})
    extra: Optional[Union[str, dict]] = None
    alias: Alias = None
    level: str = field(default='one', metadata={'choices': KINDS.keys(), 'help': 'How ' 'much.'})
    where: str = os.getcwd()
    small: float = 1e-8
''',
    "swift/arguments/sft_args.py": '''
from dataclasses import dataclass, field
from typing import Optional, TYPE_CHECKING
if TYPE_CHECKING:
    from nowhere import Nothing
try:
    from swift.arguments import BaseArguments
except ImportError:
    BaseArguments = object

@dataclass
class SftArguments(BaseArguments):
    """Args:
        small (float): Small."""
    best = 'first'
    if TYPE_CHECKING:
        best = 'second'
    only_left: Optional[int] = None
    best_of: str = best
''',
}
EXPECTED = {  # as transformers' HfArgumentParser has them, in its order
    "shared": ("<class 'int'>", None, 1), "only_right": ("<class 'bool'>", None, True),
    "pace": ("Union[swift.names.Pace, str]", ("slow", "fast"), "fast"), "only_left": ("Optional[int]", None, None),
    "names": ("List[str]", None, {"computed": "[*DEFAULTS] if False else ['x']"}),
    "extra": ("Union[dict, str, NoneType]", None, None),
    "alias": ("Optional[Literal['a', 'b', None]]", ("a", "b", None), None),
    "level": ("<class 'str'>", ("one", "two"), "one"), "where": ("<class 'str'>", None, {"computed": "os.getcwd()"}),
    "small": ("<class 'float'>", None, 1e-08), "best_of": ("<class 'str'>", None, "second"),
}


def install(folder: Path, sources: Mapping[str, str] = SOURCES) -> dict[str, str]:
    """Lays the sources out in `folder`; the environment in which an interpreter finds them."""
    for name, text in sources.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return {**os.environ, "PYTHONPATH": str(folder)}


def ask(environment: dict[str, str], said: list[Words] | None = None) -> Maybe[Mapping[str, Argument]]:
    return collect_swift_arguments(sys.executable, None, None, environment=environment,
                                   say=(said if said is not None else []).append)


def test_a_hierarchy_is_read_without_importing_it(tmp_path: Path) -> None:
    found = ask(install(tmp_path))
    assert isinstance(found, Mapping)
    assert {n: (a.type, a.choices, a.default) for n, a in found.items()} == EXPECTED
    assert list(found) == list(EXPECTED)
    assert (found["shared"].help, found["names"].help, found["level"].help, found["small"].help) == (
        "Said on the left, in two lines.", "Names.", "How much.", "Small.")


def test_registered_models_and_templates_become_choices(tmp_path: Path) -> None:
    sources = dict(SOURCES)
    sources["swift/arguments/sft_args.py"] += "    model_type: Optional[str] = None\n    template: Optional[str] = None\n"
    sources["swift/model/__init__.py"] = sources["swift/template/__init__.py"] = ""
    sources["swift/model/constant.py"] = "class LLM:\n    one = 'model-one'\n    two = 'two'\n"
    sources["swift/model/models/a.py"] = (
        "register_model(\n    ModelMeta(\n        LLM.one, []))\nregister_model(ModelMeta(LLM.two))\n")
    sources["swift/template/constant.py"] = ""
    sources["swift/template/templates/a.py"] = "for n in names:\n    register_template(make(n))\n"
    found = ask(install(tmp_path, sources))
    assert isinstance(found, Mapping)
    assert found["model_type"].choices == ("model-one", "two")
    assert found["template"].choices is None  # not plainly written: not known, and not guessed


def test_the_answer_is_kept_until_a_source_changes(tmp_path: Path) -> None:
    environment = install(tmp_path)
    first = ask(environment)
    (kept,) = (cache_dir() / "swift-args").iterdir()
    data = json.loads(kept.read_text(encoding="utf-8"))
    data["arguments"]["shared"]["help"] = "kept"
    kept.write_text(json.dumps(data), encoding="utf-8")
    again = ask(environment)
    assert isinstance(first, Mapping) and isinstance(again, Mapping) and again["shared"].help == "kept"
    source = tmp_path / "swift/arguments/base.py"
    source.write_text(source.read_text(encoding="utf-8").replace("only_right", "renamed"), encoding="utf-8")
    changed = ask(environment)
    assert isinstance(changed, Mapping) and "renamed" in changed and "only_right" not in changed


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"files": [], "arguments": {"a": 1}}', '{"files": [["x", 1, 2]]}',
                                    '{"files": 3, "arguments": {}}', "\x00", "[" * 100_000])
def test_a_damaged_cache_is_read_anew(tmp_path: Path, damage: str) -> None:
    environment = install(tmp_path)
    whole = ask(environment)
    (kept,) = (cache_dir() / "swift-args").iterdir()
    kept.write_text(damage, encoding="utf-8")
    assert ask(environment) == whole


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("SWIFT_FA_CACHE", str(tmp_path / "file"))
    assert isinstance(ask(install(tmp_path / "packages")), Mapping)


def test_no_ms_swift_is_unknown(tmp_path: Path) -> None:
    assert isinstance(collect_swift_arguments(sys.executable, None, {"ms-swift": None}), Unknown)
    other = ask(install(tmp_path, {"swift/__init__.py": "raise SystemExit('not ours')\n"}))
    assert isinstance(other, Unknown) and "no ms-swift" in other.why
    assert isinstance(collect_swift_arguments(str(tmp_path / "no-python")), Unknown)


def test_sources_of_unknown_shape_are_imported_once(tmp_path: Path) -> None:
    sources = {"swift/__init__.py": "", "swift/arguments/__init__.py": "",
               "swift/arguments/sft_args.py": "from dataclasses import make_dataclass\n"
                                              "SftArguments = make_dataclass('SftArguments', [('seed', int, 42)])\n",
               "transformers/__init__.py": "import argparse\n"
                                           "class HfArgumentParser(argparse.ArgumentParser):\n"
                                           "    def __init__(self, classes):\n"
                                           "        super().__init__()\n"
                                           "        self.add_argument('--seed', type=int, default=42, help='A seed.')\n"}
    said: list[Words] = []
    found = ask(install(tmp_path, sources), said)
    assert found == {"seed": Argument("<class 'int'>", None, 42, "A seed.")}
    assert len(said) == 1


def test_broken_sources_are_unknown_and_say_why(tmp_path: Path) -> None:
    found = ask(install(tmp_path, {"swift/__init__.py": "", "swift/arguments/__init__.py": "",
                                   "swift/arguments/sft_args.py": "class SftArguments(\n"}))
    assert isinstance(found, Unknown) and "SyntaxError" in found.why


# --- a real ms-swift ---


def installed() -> Mapping[str, Argument]:
    found = collect_swift_arguments(sys.executable, None, {"ms-swift": Version(metadata.version("ms-swift"))})
    assert isinstance(found, Mapping), found
    return found


@pytest.mark.stack
def test_the_installed_arguments_are_those_of_the_dump(shared: Path) -> None:
    dump = shared / "ms_swift_args" / f"sft_args_{metadata.version('ms-swift')}.json"
    if not dump.is_file():
        pytest.skip(f"no dump of ms-swift {metadata.version('ms-swift')}")
    fields = json.loads(dump.read_text(encoding="utf-8"))["fields"]
    found = installed()
    assert list(found) == list(fields)
    registered = {"model_type", "template"}  # looked up after parsing; the parser itself takes any text
    assert {n: (a.type, a.default) for n, a in found.items()} == {n: (f["type"], f["default"]) for n, f in fields.items()}
    assert {n: a.choices and list(a.choices) for n, a in found.items() if n not in registered} == {
        n: f["choices"] for n, f in fields.items() if n not in registered}


@pytest.mark.stack
def test_the_installed_registrations_are_read() -> None:
    found = installed()
    models, templates = found["model_type"].choices, found["template"].choices
    assert isinstance(models, tuple) and {"qwen2", "qwen3", "llama"} <= set(models) and len(models) > 100
    assert isinstance(templates, tuple) and {"qwen2_5", "qwen3"} <= set(templates)


@pytest.mark.stack
def test_a_kept_answer_is_quick() -> None:
    installed()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        installed()
        times.append(time.perf_counter() - start)
    assert min(times) < 0.02  # 2 ms on an idle machine


@pytest.mark.stack
def test_misspellings_of_the_installed_arguments_find_their_name() -> None:
    names, chance = tuple(installed()), random.Random(7)
    for _ in range(300):
        name = chance.choice(names)
        at = chance.randrange(len(name))
        wrong = chance.choice((name[:at] + name[at + 1:], name[:at] + name[at] + name[at:], name.replace("_", "-") + "s"))
        assert wrong.replace("-", "_") in names or len(wrong) < 3 or name in nearest(wrong, names), (name, wrong)
