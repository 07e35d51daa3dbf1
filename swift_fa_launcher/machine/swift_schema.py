"""The arguments that the installed ms-swift's `swift sft` takes, asked of the training interpreter and kept.

The answer is kept in the cache folder under what is installed, with the files that it was read from: it holds while none
of them has another size or time of change.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.version import Version

from swift_fa_launcher.cache import cache_dir
from swift_fa_launcher.config.swift_args import Argument
from swift_fa_launcher.decode import Maybe, Unknown, known
from swift_fa_launcher.errors import Say, Text
from swift_fa_launcher.files import keep_answer, kept_answer, text_of
from swift_fa_launcher.machine.interpreter import only_step, run_script

TARGET = Path(__file__).with_name("swift_schema_target.py")
READ_TIMEOUT, IMPORT_TIMEOUT = 60.0, 300.0
#: What the arguments and their defaults are made of.
PARTS = ("ms-swift", "transformers", "accelerate", "torch", "trl")

Packages = Mapping[str, Maybe[Version]]


def collect_swift_arguments(python: str, module: str | None = None, packages: Maybe[Packages] = None, *,
                            environment: Mapping[str, str] | None = None, say: Say = lambda text: None
                            ) -> Maybe[Mapping[str, Argument]]:
    """Name to argument, in the parser's order; Unknown(why) where there is no ms-swift or it cannot be read.

    module: the file that `import swift` runs in that Python. Reading the sources takes 0.3 s, importing ms-swift, where the
    sources do not tell, some 7 s, a kept answer 2 ms.
    """
    installed = known(packages)
    if installed is not None and "ms-swift" in installed and installed["ms-swift"] is None:
        return Unknown("ms-swift is not installed in the training interpreter")
    place = cache_dir() / "swift-args" / f"{_key(python, module, installed)}.json"
    kept = kept_answer(place, lambda answer: _make_arguments(answer["arguments"]))
    if kept is not None:
        return kept
    answer = _ask(python, dict(os.environ if environment is None else environment), Path.cwd(), say)
    if isinstance(answer, Unknown):
        return answer
    keep_answer(place, {"arguments": answer["arguments"]}, answer["files"])
    return _make_arguments(answer["arguments"])


def newest_kept_arguments() -> Mapping[str, Argument]:
    """The arguments that were kept last, whichever interpreter's, for what must be fast and may be wrong (completion of a word,
    2 ms); empty where none are kept or what they were read from has changed."""
    places = sorted((cache_dir() / "swift-args").glob("*.json"), key=lambda place: place.stat().st_mtime, reverse=True)
    kept = (kept_answer(place, lambda answer: _make_arguments(answer["arguments"])) for place in places)
    return next(filter(None, kept), {})


def _ask(python: str, environment: Mapping[str, str], cwd: Path, say: Say) -> dict[str, Any] | Unknown:
    """The script's answer with "arguments" and "files"."""
    who = "reading ms-swift's arguments"
    answer = only_step(run_script(python, TARGET, environment=environment, cwd=cwd, timeout=READ_TIMEOUT, quick=True), who)
    if not isinstance(answer, Unknown) and "not_static" in answer:
        say(Text("importing ms-swift for its arguments (about 7 s, once)", "正在导入 ms-swift 以读取其参数（约 7 秒，仅一次）"))
        answer = only_step(run_script(python, TARGET, "--import", environment=environment, cwd=cwd,
                                      timeout=IMPORT_TIMEOUT), "importing ms-swift")
    if isinstance(answer, Unknown):
        return answer
    return answer if "arguments" in answer else Unknown(f"{who}: {answer.get('error', 'no answer')}")


def _key(python: str, module: str | None, installed: Packages | None) -> str:
    """A name for what is installed; another interpreter, place, version or reader has another."""
    versions = [f"{part}={known((installed or {}).get(part))}" for part in PARTS]
    reader = hashlib.sha256(text_of(TARGET).encode()).hexdigest()
    return hashlib.sha256("\n".join((reader, python, module or "", *versions)).encode()).hexdigest()[:24]


def _make_arguments(data: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Argument]:
    return {name: Argument(given["type"], None if given["choices"] is None else tuple(given["choices"]),
                           given["default"], given["help"]) for name, given in data.items()}
