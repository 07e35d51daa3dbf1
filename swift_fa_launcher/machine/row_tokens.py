"""How long the training's rows are in tokens: a sample, counted in the training interpreter, kept while nothing changes."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from swift_fa_launcher.cache import cache_dir
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Maybe, Unknown, known
from swift_fa_launcher.errors import Say, Text
from swift_fa_launcher.files import keep_answer, kept_answer, stamp
from swift_fa_launcher.machine.dataset_files import UnreadableRows, UnseenRows, as_columns, judge_rows, read_sample
from swift_fa_launcher.machine.facts import PathFacts
from swift_fa_launcher.machine.hub import cached_folder
from swift_fa_launcher.machine.interpreter import find_interpreter, only_step, run_script
from swift_fa_launcher.machine.paths import DATASET, MODEL, Named, local_path
from swift_fa_launcher.machine.rows import Conversation, has_media, make_reader, row_limit

TARGET = Path(__file__).with_name("row_tokens_target.py")
#: Whose change makes kept counts worthless.
READERS = (TARGET, *(Path(__file__).with_name(name) for name in (
    "swift_schema_target.py", "row_tokens.py", "rows.py", "dataset_files.py", "line_sample.py")))
#: Seconds; a second as a rule.
TIMEOUT = 30.0
#: Characters of rows that are counted: some three seconds of one processor at most.
BUDGET = 4_000_000
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "chat_template.json")

Paths = Mapping[str, Maybe[PathFacts]]


class NotCounted(Exception):
    """Why the rows are not counted."""


@dataclass(frozen=True)
class Layout:
    """What decides how rows become tokens."""

    python: str
    tokenizer: Path
    template: str | None
    chat: bool
    system: str | None
    prefix: bool  # whether ms-swift may put an empty thought before a reply
    columns: Mapping[str, str]


def with_row_tokens(paths: Paths, config: ResolvedConfig, environment: Mapping[str, str], cwd: Path,
                    say: Say = lambda text: None) -> Paths:
    """`paths` with `row_tokens`, `mean_row_tokens` and `rows_over_max_length` of the training's dataset files.

    They are Unknown(why) where they cannot be counted or no setting depends on them. environment and cwd: the training's.
    """
    changed = dict(paths)
    longest = row_limit(config, known(paths.get(config.swift.text("model") or "")) or PathFacts())
    for name in config.swift.names("dataset"):
        facts = known(paths.get(name))
        if facts is None or facts.kind != "file" or not known(facts.usable_rows):
            continue
        try:
            layout = make_layout(config, environment)
            tokens: Maybe[tuple[int, ...]] = count_tokens(local_path(Named(name, DATASET)), layout, environment, cwd, say)
        except NotCounted as error:
            tokens = Unknown(str(error))
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            tokens = Unknown(f"{type(error).__name__}: {error}"[:300])  # rows of a form that nobody thought of
        changed[name] = with_counts(facts, tokens, longest)
    return changed


def with_counts(facts: PathFacts, tokens: Maybe[tuple[int, ...]], longest: int | None) -> PathFacts:
    """`facts` with the counted rows' tokens and what follows from them.

    Where not all checked rows were counted, `rows_over_max_length` is their share of the usable ones.
    """
    if tokens is None or isinstance(tokens, Unknown):
        return replace(facts, row_tokens=tokens, mean_row_tokens=tokens, rows_over_max_length=tokens)
    over = sum(1 for count in tokens if longest and count > longest)
    usable = known(facts.usable_rows) or len(tokens)
    mean = sum(min(count, longest or count) for count in tokens) / len(tokens)
    return replace(facts, row_tokens=tokens, mean_row_tokens=round(mean, 2),
                   rows_over_max_length=round(over * usable / len(tokens)) if longest else Unknown("max_length is not known"))


def make_layout(config: ResolvedConfig, environment: Mapping[str, str]) -> Layout:
    """How this config's rows are laid out. Raises NotCounted, OSError where `system` names a file that cannot be read."""
    swift = config.swift
    if not swift.flag("packing") and not swift.whole("max_length"):
        raise NotCounted("neither packing nor max_length is set")
    if swift.flag("streaming"):
        raise NotCounted("the dataset is streamed")
    if swift.text("task_type") not in (None, "causal_lm"):
        raise NotCounted(f"rows for task_type {swift.text('task_type')} are not counted")
    python = find_interpreter(config.launch.python or sys.executable, environment)
    if python is None:
        raise NotCounted("launch.python was not found")
    columns = swift.get("columns")
    return Layout(python=python, tokenizer=find_tokenizer(config, environment),
                  template=None if swift.get("template_backend") == "jinja" else swift.text("template"),
                  chat=swift.flag("use_chat_template") is not False, system=_system(swift.text("system")),
                  prefix=swift.flag("add_non_thinking_prefix") is not False,
                  columns=columns if isinstance(columns, Mapping) else {})


def find_tokenizer(config: ResolvedConfig, environment: Mapping[str, str]) -> Path:
    """The folder of the model's tokenizer. Raises NotCounted where it is not here, or of a form that is not read."""
    model = config.swift.text("model")
    folder = local_path(Named(model, MODEL)) if model else None
    if model and folder and not folder.is_dir():
        folder = cached_folder(model, "models", environment, config.swift.flag("use_hf"))
    if folder is None:
        raise NotCounted("the model is not on this machine")
    if not (folder / "tokenizer.json").is_file():
        raise NotCounted(f"{folder} has no tokenizer.json")
    return folder


def _system(text: str | None) -> str | None:
    """The system prompt that `swift.system` says or names a file of (arguments/base_args/template_args.py)."""
    if text is None:
        return None
    return Path(text).read_text("utf-8") if text.endswith(".txt") else text.replace("\\n", "\n")


def count_tokens(file: Path, layout: Layout, environment: Mapping[str, str], cwd: Path, say: Say) -> tuple[int, ...]:
    """The tokens of a sample of the file's usable rows, in its order. Raises NotCounted, OSError."""
    place = cache_dir() / "row-tokens" / f"{_key(file, layout)}.json"
    if kept := kept_answer(place, _read_counts):
        return kept
    rows = read_conversations(file, layout.columns)
    say(Text(f"counting the tokens of {len(rows)} rows of {file.name}", f"正在统计 {file.name} 中 {len(rows)} 行的 token 数"))
    answer = _ask(rows, layout, environment, cwd)
    tokens = tuple(count for count in answer["tokens"] if count is not None)
    if len(tokens) < 0.9 * len(rows):
        raise NotCounted(f"the chat template took {len(tokens)} of {len(rows)} rows")
    keep_answer(place, {"tokens": tokens}, answer["files"])
    return tokens


def read_conversations(file: Path, columns: Mapping[str, str]) -> Sequence[Conversation]:
    """Usable rows from all over the file, no more than BUDGET characters. Raises NotCounted."""
    try:
        sampled = read_sample(file).rows
    except (UnreadableRows, UnseenRows) as error:
        raise NotCounted(str(error)) from None
    rows = [as_columns(row) for _, row in sampled]
    if any(map(has_media, rows)):
        raise NotCounted("rows with images, videos or audio need the model's own processor")
    read = make_reader(dict.fromkeys(column for row in rows for column in row), columns)
    usable = [row for row in rows if not judge_rows([(None, row)], columns, needs_label=False)]
    said = [conversation for row in usable if (conversation := read(row))]
    if len(said) < 0.9 * len(usable) or not said:
        raise NotCounted(f"{len(usable) - len(said)} of {len(usable)} rows have a form that cannot be counted")
    size = sum(len(content) for row in said for _, content in row.messages)
    step = max(1, -(-size // BUDGET))
    return said[::step]


def _ask(rows: Sequence[Conversation], layout: Layout, environment: Mapping[str, str], cwd: Path) -> dict[str, Any]:
    """The script's answer, with `tokens` and `files`. Raises NotCounted."""
    job = {**asdict(layout), "tokenizer": str(layout.tokenizer), "swift": str(TARGET.parent), "rows": [asdict(r) for r in rows]}
    with tempfile.TemporaryDirectory(prefix="swift-fa-") as folder:
        file = Path(folder, "rows.json")
        file.write_text(json.dumps(job), encoding="utf-8")
        answer = run_script(layout.python, TARGET, str(file), environment=environment, cwd=cwd, timeout=TIMEOUT)
    said = only_step(answer, "counting tokens")
    if isinstance(said, Unknown):
        raise NotCounted(said.why)
    if "tokens" not in said:
        raise NotCounted(said.get("error", "no answer"))
    return said


def _key(file: Path, layout: Layout) -> str:
    """A name for everything that the counts depend on."""
    stamps = [stamp(f) for f in (file.resolve(), *(layout.tokenizer / name for name in TOKENIZER_FILES))]
    readers = hashlib.sha256(b"".join(f.read_bytes() for f in READERS)).hexdigest()
    said: list[Any] = [readers, stamps, {**asdict(layout), "tokenizer": str(layout.tokenizer)}]
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:24]


def _read_counts(kept: Mapping[str, Any]) -> tuple[int, ...] | None:
    tokens = tuple(kept["tokens"])
    return tokens if all(type(count) is int for count in tokens) else None
