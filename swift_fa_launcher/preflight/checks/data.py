"""Model, datasets, output folder, checkpoints."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterator, Sequence

from packaging.version import Version

from swift_fa_launcher.config.render import typed
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.finding import WARNING, Check, Finding
from swift_fa_launcher.findings.table import found
from swift_fa_launcher.machine.checkpoint import CheckpointFiles, find_faults
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.reading import (
    environment,
    launch_number,
    parted_list,
    pip,
    process_count,
    setting,
    spreads_model,
    torch_version,
    visible_gpus,
    written,
    zero_settings,
)
from swift_fa_launcher.machine.rows import reason_in_both
from swift_fa_launcher.preflight.packing import longest_row, nothing_left

DATASET_ARGUMENTS = ("dataset", "val_dataset", "cached_dataset", "cached_val_dataset")

#: Arguments that bring models or datasets of their own, which the installed ms-swift's lists do not hold.
REGISTERING = ("external_plugins", "custom_register_path", "custom_dataset_info")

#: Since this release rank 0 alone makes the links (swift/llm/train/sft.py).
LINKS_BY_ONE_RANK = Version("3.5.0.dev0")

#: What a resumed LoRA takes from adapter_config.json (swift's tuner.py loads the adapter as it was saved).
FROM_ADAPTER = ("lora_rank", "lora_alpha", "lora_dropout", "lora_bias", "target_modules", "target_regex", "modules_to_save",
                "use_rslora", "use_dora", "init_weights", "adalora_target_r", "vera_rank", "boft_block_size")


def model_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A path that is not there, an id that the hub does not know, or one that can be had from nowhere.
    https://github.com/modelscope/ms-swift/issues/1396"""
    for key in ("model", "adapters"):
        for name in config.swift.names(key):
            if way := _absence(facts, name):
                yield _absent(config, facts, way, key, name, "model")


def dataset_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """The same for every dataset; `:subset` and `#N` are not part of the name, but facts are keyed with them.
    https://github.com/modelscope/ms-swift/issues/982"""
    for key in DATASET_ARGUMENTS:
        for name in config.swift.names(key):
            if parted_list(facts, key, name):
                continue  # arg-invalid's
            if (_is_path(name) or not _registers(config)) and (way := _absence(facts, name)):
                yield _absent(config, facts, way, key, name, "dataset")


def _is_path(name: str) -> bool:
    """Whether a dataset's name can only be a file or folder; any other may be one that a plugin registers."""
    bare = name.rpartition("#")[0] or name
    return bare.startswith(("/", "./", "../", "~")) or bare.lower().endswith((".json", ".jsonl", ".csv", ".parquet", ".txt"))


def _absence(facts: Facts, name: str) -> str:
    """In which way nothing can be loaded under this name, empty where it can or nobody knows."""
    path = facts.path(name)
    kind = known(path.kind)
    if kind not in ("missing", "hub"):
        return ""
    if kind == "missing":  # what is a path by its form is asked of no hub
        return "nowhere" if known(path.known_to_hub) is False else "missing"
    if known(path.known_to_hub) is False and not known(path.cached):
        return "unknown"
    hub = known(facts.network.get("model-hub"))
    return "unreachable" if path.cached in (False, None) and hub is not None and known(hub.ok) is False else ""


def _absent(config: ResolvedConfig, facts: Facts, way: str, key: str, name: str, kind: str) -> Finding:
    """kind: "model" or "dataset"."""
    hub, bare = known(facts.network.get("model-hub")), re.split("[#:]", name)[0]
    huggingface = config.swift.flag("use_hf") or environment(config, facts, "USE_HF") == "1"
    download = f"hf download --repo-type {kind} {shlex.quote(bare)}" if huggingface else \
        f"modelscope download --{kind} {shlex.quote(bare)}"
    return found(f"{kind}-missing", way, argument=key, name=name, origin=written(config, f"swift.{key}"), bare=bare,
                 near=_near(facts, name),
                 error=known(hub.error) if hub else None, download=download, context={kind: name})


def _near(facts: Facts, name: str) -> str | None:
    """A name beside the missing one that is nearly the same, as it is typed."""
    near = known(facts.path(name).near)
    return shlex.quote(near) if near else None


def model_incomplete(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A folder whose index names weight files that are not there, or without config.json."""
    name = config.swift.text("model")
    path = facts.path(name)
    if name is not None and known(path.kind) == "file":
        yield found("model-incomplete", "file", model=name, origin=written(config, "swift.model"))
    if name is None or known(path.kind) != "dir":
        return
    missing, files = list(known(path.missing_files) or ()), known(path.files)
    if "config.json" not in missing and (path.model_config is None or (files is not None and "config.json" not in files)):
        missing.insert(0, "config.json")
    if missing:
        yield found("model-incomplete", model=name, origin=written(config, "swift.model"), lacks=_some(missing),
                    folder=shlex.quote(name), missing=missing[:50])


def _some(names: Sequence[str]) -> Text:
    """The first three names, and how many more there are."""
    more = len(names) - 3
    return Text(", ".join(names[:3]) + (f" and {more} more" if more > 0 else ""),
                "、".join(names[:3]) + (f" 等 {len(names)} 个文件" if more > 0 else ""))


def model_type_unknown(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """`model_type: … is not registered`. https://github.com/modelscope/ms-swift/issues/2676"""
    asked, arguments = config.swift.text("model_type"), known(facts.ms_swift_args)
    argument = arguments.get("model_type") if arguments else None
    choices = [c for c in (known(argument.choices) if argument else None) or () if isinstance(c, str)]
    if asked is None or not choices or asked in choices or _registers(config):
        return
    near = difflib.get_close_matches(asked[:100], choices, n=3, cutoff=0.6)
    yield found("model-type-unknown", ms_swift=facts.package("ms-swift"), setting=setting(config, "model_type"),
                nearest=next(iter(near), None), near=near, pip=pip(facts))


def _registers(config: ResolvedConfig) -> bool:
    return any(config.swift.get(key) for key in REGISTERING)


def dataset_format(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """No sampled row can be used. https://github.com/modelscope/ms-swift/issues/9267"""
    for key in DATASET_ARGUMENTS[:2]:
        for name in config.swift.names(key):
            path = facts.path(name)
            if known(path.usable_rows) != 0 or known(path.rows_checked) is None or _registers(config):
                continue
            bad = known(path.first_bad)
            line, why = (known(bad.line), known(bad.why)) if bad else (None, None)
            way = "folder" if known(path.kind) == "dir" else "empty" if known(path.rows) == 0 else \
                "" if known(path.rows_checked) else "unreadable"
            if way != "unreadable" or why:  # else nobody looked
                yield found("dataset-format", way, argument=key, dataset=name, origin=written(config, f"swift.{key}"),
                            rows_checked=known(path.rows_checked), line=line, why=why, at=_place(line, why))


def _place(line: int | None, why: str | None) -> Text:
    reason = reason_in_both(why or "")
    return Text(f"line {line}: {reason.en}", f"第 {line} 行：{reason.zh}") if line else reason


def rows_all_too_long(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """`truncation_strategy: delete` leaves no row, and ms-swift fails over a dataset that is None.

    swift/pipelines/train/sft.py (`_encode_dataset`, `_show_dataset`); `raise` is no choice of 3.8 or later.
    """
    tokens, longest = nothing_left(config, facts), longest_row(config, facts)
    if tokens is not None:
        limit = setting(config, "max_length") if config.swift.whole("max_length") else f"max_length={longest}"
        yield found("dataset-format", "too-long", limit=limit, max_length=longest, rows=len(tokens), shortest=min(tokens),
                    longest=max(tokens), enough=-(-max(tokens) // 64) * 64)


def output_not_writable(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Checkpoints go to output_dir, the record to run.root, SwanLab's local files to SWANLAB_LOG_DIR."""
    folders = [("swift.output_dir", config.swift.text("output_dir")), ("run.root", config.run.root)]
    if config.swanlab.tracks:
        folders.append(("env.SWANLAB_LOG_DIR", environment(config, facts, "SWANLAB_LOG_DIR")))
    for key, folder in folders:
        path = facts.path(folder)
        if known(path.writable) is False or known(path.kind) in ("file", "special"):
            yield found("output-not-writable", "file" if known(path.kind) != "dir" else "", key=key, path=folder,
                        origin=written(config, key))


def output_link_exists(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Links and checkpoints of a run that collide with an earlier one's, or with another rank's.
    https://github.com/modelscope/ms-swift/issues/4264"""
    swift, version = config.swift, facts.package("ms-swift")
    folder, links, same = swift.text("output_dir"), swift.flag("create_checkpoint_symlink"), swift.flag("add_version") is False
    path = facts.path(folder)
    files, entries = known(path.files), known(path.entries) or 0
    resumes = bool(swift.get("resume_from_checkpoint"))
    holds_run = entries > 0 if files is None else \
        any(f in ("best", "last", "args.json") or f.startswith("checkpoint-") for f in files)
    collides = bool(links and files and {"best", "last"} & set(files)) or \
        (holds_run and not resumes and not swift.flag("overwrite_output_dir"))
    if same and collides:
        yield found("output-link-exists", setting=setting(config, "create_checkpoint_symlink" if links else "add_version"),
                    path=folder, entries=entries)
    elif links and version is not None and version < LINKS_BY_ONE_RANK and \
            (launch_number(config, facts, "nproc_per_node") or 1) > 1:
        yield found("output-link-exists", "race", severity=WARNING, setting=setting(config, "create_checkpoint_symlink"),
                    ms_swift=version, pip=pip(facts))


def checkpoint_incomplete(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A resume reads the weights, trainer_state.json and the optimizer; what of them is not there, or is cut off.
    ms-swift takes `true` for a path. https://github.com/modelscope/ms-swift/issues/574"""
    asked = config.swift.get("resume_from_checkpoint")
    name = config.swift.text("resume_from_checkpoint")
    if not asked or name is None:
        return
    path, said = facts.path(name), setting(config, "resume_from_checkpoint")
    if asked is True or known(path.kind) in ("missing", "file", "hub"):
        yield found("checkpoint-incomplete", "true" if asked is True else "absent", setting=said, checkpoint=name, missing=[name])
    elif (files := known(path.files)) is not None:
        there = CheckpointFiles(files, known(path.missing_files) or (), known(path.cut_off) or ())
        deepspeed = bool(config.swift.get("deepspeed"))
        of_weights = find_faults(there, deepspeed=deepspeed, only_weights=True)
        faults = of_weights if config.swift.flag("resume_only_model") else find_faults(there, deepspeed=deepspeed)
        if faults:
            yield found("checkpoint-incomplete", "weights" if of_weights else "", setting=said, checkpoint=name,
                        missing=faults.missing, cut_off=faults.cut_off, faults=faults.words)


def checkpoint_world_size(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """deepspeed divides its optimizer among the ranks, and no other number of them reads what was divided so: "Automatic
    adjustment of ZeRO's optimizer state partitioning with a new world size is not currently supported"
    (deepspeed/runtime/engine.py, _get_all_zero_checkpoints)."""
    swift, name = config.swift, config.swift.text("resume_from_checkpoint")
    files, here = known(facts.path(name).files) or (), launch_number(config, facts, "nproc_per_node")
    shards = {match[1] for file in files if (match := re.search(r"zero_pp_rank_(\d+)_mp_rank_\d+_optim_states\.pt$", file))}
    written_by, would_read = len(shards), process_count(config, facts)
    told = here is not None or not spreads_model(config, facts) or len(visible_gpus(config, facts).gpus or ()) == 1
    if not shards or written_by == would_read or not told or not swift.get("deepspeed") or swift.flag("resume_only_model") \
            or swift.get("deepspeed_autotp_size") or "deepspeed_elastic" in swift.names("callbacks") \
            or (zero_settings(swift) or {}).get("elastic_checkpoint"):
        return
    nodes = launch_number(config, facts, "nnodes") or 1
    fits = written_by % nodes == 0 and written_by // nodes <= len(visible_gpus(config, facts).gpus or ())
    yield found("checkpoint-world-size", setting=setting(config, "resume_from_checkpoint"), written_by=written_by,
                would_read=would_read, as_before=f"launch.nproc_per_node={written_by // nodes}" if fits else None)


def resume_setting_ignored(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A resumed adapter keeps the shape that it was saved with: `lora_rank: 4` on a rank 8 one trains rank 8."""
    name = config.swift.text("resume_from_checkpoint")
    saved = known(facts.path(name).args)
    if not name or not saved or (config.swift.get("tuner_type") or config.swift.get("train_type")) == "full":
        return
    for key in FROM_ADAPTER:
        asked, kept = config.swift.get(key), known(saved.get(key))
        if asked is not None and kept is not None and not _same(asked, kept):
            yield found("resume-setting-ignored", setting=setting(config, key), folder=name, argument=key, config=asked,
                        checkpoint=kept, same=typed(f"swift.{key}", kept))


def _same(asked: object, saved: object) -> bool:
    def plain(value: object) -> object:
        if isinstance(value, (list, tuple)):
            return sorted(str(v) for v in value)
        if isinstance(value, bool) or value is None:
            return str(value).lower()
        try:
            return float(str(value))
        except ValueError:
            return str(value).lower()
    left, right = plain(asked), plain(saved)
    if left in ("all-linear", ["all-linear"]):
        return True  # saved as the layers that it stood for: their names, or one pattern for a multimodal model
    wrapped = [left] if isinstance(right, list) and not isinstance(left, list) else left
    return wrapped == right


def checkpoint_unloadable(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """torch 2.6 loads with weights_only; older deepspeed and transformers have not allowed what their files hold. Newer
    transformers do not load an optimizer's file with an older torch at all.

    https://github.com/modelscope/ms-swift/issues/5808, https://github.com/hiyouga/LlamaFactory/issues/8379
    """
    files, torch = known(facts.path(config.swift.get("resume_from_checkpoint")).files) or (), torch_version(facts)
    if torch is None or config.swift.flag("resume_only_model"):
        return
    if torch < Version("2.6.0a0"):
        transformers = facts.package("transformers")
        if transformers and transformers >= Version("4.52") and "optimizer.pt" in files:
            yield found("checkpoint-unloadable", "old-torch", torch=torch, transformers=transformers, pip=pip(facts))
        return
    old = {name: version for name, least in (("transformers", "4.50"), ("deepspeed", "0.16.4"))
           if (version := facts.package(name)) and version < Version(least)}
    if old and "latest" in files:
        yield found("checkpoint-unloadable", torch=torch, packages=[f"{name} {version}" for name, version in old.items()],
                    pip=pip(facts), context=old)


CHECKS: tuple[Check, ...] = (
    model_missing, model_incomplete, model_type_unknown, dataset_missing, dataset_format, rows_all_too_long,
    output_not_writable, output_link_exists, checkpoint_incomplete, checkpoint_world_size, resume_setting_ignored,
    checkpoint_unloadable,
)
