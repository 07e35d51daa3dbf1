"""The story of a bench: the same rows through each variant, each a recorded run; what was measured is kept at once.

What is in the folder of an earlier bench, cut off or not, and still holds is not measured again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from swift_fa_launcher.bench import bench as benches
from swift_fa_launcher.bench.table import render_line, render_table
from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.config.schema import ResolvedConfig, name_origins
from swift_fa_launcher.decode import Unknown
from swift_fa_launcher.errors import LauncherError, LaunchError, Text, Voice, Words, joined, refused_as, titled
from swift_fa_launcher.files import text_of, write_whole
from swift_fa_launcher.findings.finding import Finding, blocking
from swift_fa_launcher.findings.table import words_of
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.matrix import measure_matrix_rate
from swift_fa_launcher.machine.network import Question, Reply
from swift_fa_launcher.machine.reading import visible_gpus
from swift_fa_launcher.preflight.packing import make_batch
from swift_fa_launcher.runs.monitor import read_monitor, read_monitor_lines
from swift_fa_launcher.runs.output import parse_step
from swift_fa_launcher.runs.record import run_name, secret_values
from swift_fa_launcher.runs.surroundings import Surroundings, collect_surroundings
from swift_fa_launcher.secrets import redact, redact_data
from swift_fa_launcher.stories.launch import Finished, Prepared, launch, look, mend, prepare, refuse_target

FILE, TABLE, LOCK = "bench.json", "table.md", ".lock"


@dataclass(frozen=True)
class Wish:
    """What the command line asks for. names: variants, none for all. rows: None for all. out: folder of the results. gpus:
    numbers of GPUs to compare; names are then of `bench.TOGETHER`."""

    names: tuple[str, ...] = ()
    rows: int | None = benches.ROWS
    out: Path | None = None
    install: bool = True
    allow: tuple[str, ...] = ()
    gpus: tuple[int, ...] = ()


@dataclass(frozen=True)
class Ended:
    """A bench that has ended. exit_code: 0 where something was measured and nothing failed, 130 after Ctrl-C, else 1.

    interrupted: variants that were wanted are left.
    """

    bench: benches.Bench
    folder: Path
    titles: Mapping[str, Text]
    exit_code: int
    interrupted: bool = False

    def table(self, lang: str) -> str:
        return render_table(self.bench, self.titles, lang)


@dataclass
class _Course:
    """What the steps of one bench share. install_problem: why flash-attn could not be installed; not tried twice. asked:
    what the network answered."""

    files: Sequence[Path]
    overrides: Sequence[str]
    wish: Wish
    config: ResolvedConfig
    facts: Facts
    folder: Path
    voice: Voice
    asked: dict[Question, Reply] = field(default_factory=dict)
    variants: Mapping[str, benches.Variant] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)  # what the config names, with a digest of its files
    install_problem: Words = ""
    exit_code: int | None = None  # of an interruption

    def settings(self, variant: benches.Variant, division: Sequence[str]) -> tuple[str, ...]:
        datasets = benches.sample_datasets(self.config, self.facts, self.rows)
        shared = benches.shared_settings(self.config, datasets, name=f"{run_name(self.config)}-bench-{variant.name}",
                                         output=str(self.folder / "output" / variant.name))
        return (*self.overrides, *shared, *variant.settings, *division)

    @property
    def rows(self) -> int | None:
        """Of the variants of several GPUs as many as fill steps: what is left of an epoch is not shared out equally."""
        rows = self.wish.rows
        if rows is None or not self.wish.gpus or self.config.swift.packs:
            return rows
        step = make_batch(self.config, self.facts).per_step
        return max(step, rows - rows % step)

    def resolve(self, words: Sequence[str]) -> ResolvedConfig:
        """The config of a variant. Its datasets are the user's, cut: what is said of them names where they were written."""
        config = resolve_config(self.files, words)
        written = self.config.origins.get("swift.dataset")
        return replace(config, origins={**config.origins, "swift.dataset": written}) if written else config

    @property
    def hidden(self) -> tuple[str, ...]:
        """The config's and the environment's secrets, which no file of the bench may hold."""
        return secret_values(self.config, os.environ)

    def key(self, config: ResolvedConfig, facts: Facts, variant: benches.Variant) -> dict[str, Any]:
        """What `make_key` says, without secrets."""
        key = benches.make_key(config, facts, self.data, flash=variant.flash)
        return dict(redact_data(key, secret_values(config, os.environ)))


def run_bench(files: Sequence[Path], overrides: Sequence[str], wish: Wish, voice: Voice) -> Ended:
    """Measure the variants that are wanted and not measured yet; results are written after each.

    A variant that this machine cannot run is skipped, one whose training fails is kept as failed; the others go on.
    Raises LauncherError where nothing could begin: the config is wrong, there is no training interpreter, or another bench
    writes into the folder.
    """
    course = _begin(files, overrides, wish, voice)
    with _held(course.folder):
        return _run(course)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Two that write one bench.json would each drop what the other has measured."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise LaunchError("bench-folder-busy", where=str(folder)) from None
    except (OSError, NotImplementedError):  # a file system without locks is no reason not to measure
        pass
    try:
        yield
    finally:
        lock.release()


def _run(course: _Course) -> Ended:
    wish = course.wish
    names = list(course.variants) if wish.gpus else \
        [name for name in benches.choose_names(wish.names) if name in course.variants or name in wish.names]
    bench = _earlier(course, names)
    try:
        for place, name in enumerate(names, 1):
            bench = _step(course, bench, name, f"({place}/{len(names)}) {name}")
            if course.exit_code is not None:
                break
        else:
            bench = _with_rate(course, bench) if any(one.measured for one in bench.results) else bench
    except KeyboardInterrupt:  # between two trainings; what was measured is written
        course.exit_code = 130
    bench = _save(course, bench)
    _plot(course, bench)
    return Ended(bench, course.folder, _titles(course), _exit_code(course, bench, names), course.exit_code is not None)


def _begin(files: Sequence[Path], overrides: Sequence[str], wish: Wish, voice: Voice) -> _Course:
    config = resolve_config(files, overrides)
    refuse_target(config)
    if (config.launch.nnodes or 1) > 1:
        raise LaunchError("bench-one-machine", where="launch.nnodes")
    facts = look(config, offline=True, probe=False, say=voice.say)
    names = benches.counted_names(config, facts, wish.gpus, wish.names) if wish.gpus else tuple(benches.VARIANTS)
    folder = (wish.out or Path("bench", benches.file_name(run_name(config)) + ("-gpus" if wish.gpus else ""))).absolute()
    why = Text("this is a file", "这是一个文件") if folder.is_file() else ""
    with refused_as(LaunchError("bench-not-written", where=str(folder), why=why)):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / LOCK).touch()
    made = {name: benches.make_variant(name, config, facts) for name in names}
    return _Course(files, overrides, wish, config, facts, folder, voice,
                   variants={name: variant for name, variant in made.items() if variant},
                   data=_digest_data(collect_surroundings(config, facts, Path.cwd(), voice.say)))


def _digest_data(around: Surroundings) -> dict[str, str]:
    """What tells another file of the same name. Not its time: on the next rented machine that is another."""
    return {entry["name"]: hashlib.sha256(json.dumps(
        {file: told.get("digest") for file, told in entry.get("files", {}).items()}, sort_keys=True).encode()).hexdigest()
        for entry in around.data}


def _titles(course: _Course) -> dict[str, Text]:
    return {name: variant.title for name, variant in course.variants.items()}


def _exit_code(course: _Course, bench: benches.Bench, names: Sequence[str]) -> int:
    if course.exit_code is not None:
        return course.exit_code
    statuses = {one.status for one in bench.results if one.variant in names}
    return 0 if benches.MEASURED in statuses and benches.FAILED not in statuses else 1


# What an earlier bench left


def _earlier(course: _Course, wanted: Sequence[str]) -> benches.Bench:
    """The bench as it stands in the folder: every result that still holds. What does not is put aside, as is a file that is
    damaged or a newer launcher's."""
    data = _read_json(course.folder / FILE)
    results, rate, whole = benches.results_from_json(data)
    machine = benches.describe_machine(course.config, course.facts)
    same_machine = isinstance(data, dict) and data.get("machine") == machine
    about = {"started": _now(), "configs": [str(file) for file in course.files],
             "overrides": [redact(word, course.hidden) for word in course.overrides],
             "model": course.config.swift.text("model"), "rows": course.wish.rows, "machine": machine}
    bench = benches.Bench(about, rate=rate if same_machine else None)
    passed = dict[str, list[str]]()
    for found in results:
        why, name = _outdated(course, bench, found), found.variant
        if not why:
            bench = bench.with_result(found)
        elif name in wanted:
            course.voice.say(Text(f"measuring {name} again, because this differs: {why}",
                                  f"重新测量 {name}，因为以下不同：{why}"))
        else:
            passed.setdefault(why, []).append(name)
    for why, names in passed.items():
        course.voice.say(Text(f"what was measured of {', '.join(names)} does not compare, since this differs: {why}",
                              f"{'、'.join(names)} 之前的结果无法比较，因为以下不同：{why}"))
    if data is not None and (not whole or len(bench.results) < len(results)):
        _keep_old(course)
    return bench


def _read_json(file: Path) -> Any:
    """What the file says, its text where that is no JSON; None where there is nothing."""
    text = text_of(file)
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return text


def _outdated(course: _Course, bench: benches.Bench, found: benches.Result) -> str:
    """What an earlier measurement depended on and is otherwise now; "" where it holds."""
    variant = course.variants.get(found.variant)
    if variant is None:
        return "--gpus" if course.wish.gpus or benches.gpu_count(found.variant) else "gradient_checkpointing, lora_dropout"
    division, why = benches.division_settings(bench) if variant.name in benches.DIVIDED else ((), "")
    if why:
        return "packing"
    config = course.resolve(course.settings(variant, division))
    return ", ".join(benches.changed_keys(found.key, course.key(config, course.facts, variant))[:4])


def _keep_old(course: _Course) -> None:
    """Numbers that no longer hold here may still be wanted; each time under a name of its own. Raises LaunchError where
    they cannot be kept: the file is about to be written over."""
    file = course.folder / FILE
    moving = Text("the earlier results cannot be moved aside", "无法另存之前的结果")
    with refused_as(LaunchError("bench-not-written", moving, where=str(file))):
        data = file.read_bytes()
        written = datetime.fromtimestamp(file.stat().st_mtime, timezone.utc)
        names = (f"bench.{written:%Y%m%d-%H%M%S}{more}.json" for more in ("", *(f"-{i}" for i in range(2, 1000))))
        old = next(old for name in names if not (old := file.with_name(name)).exists() or old.read_bytes() == data)
        old.write_bytes(data)
    course.voice.say(Text(f"the earlier results are kept in {old}", f"之前的结果保存在 {old}"))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


# One variant


def _step(course: _Course, bench: benches.Bench, name: str, place: str) -> benches.Bench:
    """The bench with this variant measured, or why it was not; written down."""
    found = bench.result(name)
    if found is None or found.status != benches.MEASURED:
        bench, found = _measure(course, bench, name, place)
        found = replace(found, reason=Text(*redact_data(joined((found.reason,)), course.hidden)))
        bench = _save(course, bench.with_result(found))
    line = render_line(bench, found)
    course.voice.say(Text(f"{place}: {line.en}", f"{place}：{line.zh}"))
    return bench


def _measure(course: _Course, bench: benches.Bench, name: str, place: str) -> tuple[benches.Bench, benches.Result]:
    """What becomes of a variant; and the bench, with the machine's rate once anything can train at all."""
    variant = course.variants.get(name)
    if variant is None:
        return bench, benches.Result(name, benches.SKIPPED, Text(
            "gradient checkpointing and dropout are off in this config already",
            "此配置已关闭 gradient checkpointing 和 dropout"))
    division, why = benches.division_settings(bench) if name in benches.DIVIDED else ((), "")
    if not why and name == "same_examples" and benches.changes_nothing(bench, division):
        why = Text("packing runs with this batch already: it cannot be divided", "packing 已使用此批大小，无法再减小")
    prepared = why or _prepare(course, course.settings(variant, division))
    if not isinstance(prepared, Prepared):
        return bench, benches.Result(name, benches.SKIPPED, prepared)
    bench = _with_rate(course, bench)
    key = course.key(prepared.judgement.config, prepared.judgement.facts, variant)
    return bench, replace(_train(course, prepared, name, place), settings=(*variant.settings, *division), key=key)


def _prepare(course: _Course, words: Sequence[str]) -> Prepared | Words:
    """The launch of a variant, with flash-attn installed where that is wanted and all that is missing; or why it is skipped."""
    from swift_fa_launcher.stories.install import would_mend

    try:
        prepared = prepare(course.resolve(words), allow=course.wish.allow, say=course.voice.say, asked=course.asked)
    except (LauncherError, OSError) as error:
        return _words(error)
    judgement = prepared.judgement
    mendable = course.wish.install and would_mend(judgement.config, judgement.facts, judgement.findings)
    if mendable and not course.install_problem:
        try:
            prepared = mend(prepared, course.wish.allow, course.voice)
        except (LauncherError, OSError) as error:
            course.install_problem = _words(error)
    errors = blocking(prepared.judgement.findings)
    return _join(errors, course.install_problem) if errors else prepared


def _train(course: _Course, prepared: Prepared, name: str, place: str) -> benches.Result:
    course.voice.say(Text(f"{place}: training, its output goes to {prepared.plan.run_dir}/train.log",
                          f"{place}：正在训练，输出写入 {prepared.plan.run_dir}/train.log"))

    def notice(line: bytes) -> None:
        if step := parse_step(line):
            course.voice.training(place, *step)

    try:
        with open(os.devnull, "wb") as nowhere:
            finished = launch(prepared, screen=nowhere, screen_errors=nowhere, say=course.voice.say, on_line=notice)
    except (LauncherError, OSError) as error:
        return benches.Result(name, benches.FAILED, _words(error))
    return replace(_judge(course, prepared, finished, name), run=str(finished.folder))


def _judge(course: _Course, prepared: Prepared, finished: Finished, name: str) -> benches.Result:
    """The result of a training that has ended."""
    outcome, folder = finished.outcome, finished.folder
    if outcome.asked is not None:  # also where this training heard it and ended well: the next is not wanted
        course.exit_code = 128 + outcome.asked
    if outcome.interrupted:
        return benches.Result(name, benches.INTERRUPTED, Text("it was ended before its end", "训练被提前结束"))
    log = folder / "train.log"
    complete = [one.code for one in finished.diagnoses[:1]] == ["failed-after-training"]  # torch may abort while it ends
    if outcome.exit_code != 0 and not complete:
        causes = (titled(one.code, one.summary) for one in finished.diagnoses[:1])
        why = joined((*causes, f"exit code {outcome.exit_code}", str(log)))
        return benches.Result(name, benches.FAILED, why)
    gpus = visible_gpus(prepared.judgement.config, prepared.judgement.facts).gpus
    measured = benches.make_measured(read_monitor(folder), read_monitor_lines(folder),
                                     runtime=finished.record.result.get("runtime"),
                                     wall=(outcome.ended - outcome.started).total_seconds(),
                                     gpus=len(gpus) if gpus else None)
    if measured is None:
        return benches.Result(name, benches.FAILED, Text(f"it trained, but its monitor wrote nothing: {log}",
                                                         f"训练完成，但监视器没有写入数据：{log}"))
    return benches.Result(name, benches.MEASURED, measured=measured)


def _join(findings: Sequence[Finding], more: Words) -> Text:
    """What blocks a variant: the first finding, the codes of the others, why flash-attn could not be installed, and what
    mends the first."""
    first = findings[0]
    others = dict.fromkeys(one.code for one in findings[1:] if one.code != first.code)
    summary, mends = joined((first.summary,)), joined(first.fix[:1])
    if mends.en.endswith(":"):  # the head of what follows it: how to do without what this variant is about
        mends = Text(mends.en.rpartition("; ")[0], mends.zh.rpartition("；")[0])
    summary = Text(summary.en, name_origins(summary.zh, "zh"))
    told = joined((titled(first.code, summary), joined(others, by=Text(", ", "、")), more))
    return joined((told, mends), by=" -> ")


def _words(error: LauncherError | OSError) -> Words:
    """An error on one line."""
    if not isinstance(error, LauncherError):
        return str(error)
    told = joined((words_of(error)[0], error.where, error.why), by=": ")
    return Text(*(" ".join(line.split()) for line in told))


# The matrix rate, the files


def _with_rate(course: _Course, bench: benches.Bench) -> benches.Bench:
    """The bench with the machine's rate, measured once."""
    if bench.rate is not None or bench.rate_problem or course.wish.gpus:
        return bench
    course.voice.say(Text("measuring the speed of a large matrix multiplication", "正在测量大矩阵乘法的速度"))
    told = measure_matrix_rate(course.config, course.facts)
    if isinstance(told, Unknown):
        return replace(bench, rate_problem=told.why)
    return replace(bench,
                   rate=benches.Rate(float(told["flops"]), str(told["dtype"]), int(told["size"]), str(told["device"])))


def _save(course: _Course, bench: benches.Bench) -> benches.Bench:
    """bench.json and table.md, each replaced whole. A disk that is full is said; the bench goes on and prints its table."""
    bench = replace(bench, about={**bench.about, "updated": _now()})
    texts = {FILE: json.dumps(benches.bench_to_json(bench), ensure_ascii=False, indent=1, default=str) + "\n",
             TABLE: render_table(bench, _titles(course), "en")}
    for name, text in texts.items():
        try:
            write_whole(course.folder / name, text)
        except OSError as error:
            place = course.folder / name
            course.voice.say(Text(f"{place} cannot be written: {error}", f"无法写入 {place}：{error}"))
    return bench


def _plot(course: _Course, bench: benches.Bench) -> None:
    """The picture comes last, and no trouble with it takes anything from the table."""
    if not any(one.measured for one in bench.results):
        return
    try:
        from swift_fa_launcher.bench.plot import write_plots

        write_plots(bench, _titles(course), course.folder)
    except ImportError as error:
        course.voice.say(Text(f"no plot: {error} (pip install matplotlib)", f"没有图：{error}（pip install matplotlib）"))
    except Exception as error:  # matplotlib fails in many ways: fonts, caches, backends
        course.voice.say(Text(f"no plot: {type(error).__name__}: {error}", f"没有图：{type(error).__name__}: {error}"))
