"""Model, datasets, output folder, checkpoints."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import Text, Words
from swift_fa_launcher.findings.finding import ERROR, WARNING, Check, Finding
from swift_fa_launcher.machine.facts import Facts, PathFacts
from swift_fa_launcher.machine.reading import environment, launch_number, setting, torch_version, written
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

    https://github.com/modelscope/ms-swift/issues/1396
    """
    for key in ("model", "adapters"):
        for name in config.swift.names(key):
            reason = _absence(facts, name)
            if reason:
                yield Finding("model-missing", ERROR,
                              Text(f"{key} {name}{written(config, f'swift.{key}')}: {reason.en}",
                                   f"{key} {name}{written(config, f'swift.{key}')}：{reason.zh}"),
                              _get(facts, key, name, "model"), {"argument": key, "model": name})


def dataset_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """The same for every dataset; `:subset` and `#N` are not part of the name, but facts are keyed with them.

    https://github.com/modelscope/ms-swift/issues/982
    """
    for key in DATASET_ARGUMENTS:
        for name in config.swift.names(key):
            reason = None if _registers(config) and not _is_path(name) else _absence(facts, name)
            if reason:
                yield Finding("dataset-missing", ERROR,
                              Text(f"{key} {name}{written(config, f'swift.{key}')}: {reason.en}",
                                   f"{key} {name}{written(config, f'swift.{key}')}：{reason.zh}"),
                              _get(facts, key, name, "dataset"), {"argument": key, "dataset": name})


def _is_path(name: str) -> bool:
    """Whether a dataset's name can only be a file or folder; any other may be one that a plugin registers."""
    bare = name.rpartition("#")[0] or name
    return bare.startswith(("/", "./", "../", "~")) or bare.lower().endswith((".json", ".jsonl", ".csv", ".parquet", ".txt"))


def _absence(facts: Facts, name: str) -> Text | None:
    """Why nothing can be loaded under this name, None where it can or nobody knows."""
    path = facts.path(name)
    kind = known(path.kind) if path else None
    if path is None or kind not in ("missing", "hub"):
        return None
    if kind == "missing" and known(path.known_to_hub) is False:
        return Text("there is no such path, and no hub knows it", "没有这个路径，模型库里也没有这个名字")
    if kind == "missing":  # what is a path by its form is asked of no hub
        return Text("there is no such path, and no hub was asked for it", "没有这个路径，也没有向模型库查询过")
    if known(path.known_to_hub) is False and not known(path.cached):
        return Text("the hub does not know it", "模型库里没有这个名字")
    hub = known(facts.network.get("model-hub"))
    if path.cached in (False, None) and hub is not None and known(hub.ok) is False:
        return Text(f"no hub can be reached ({known(hub.error)}) and there is no cached copy",
                    f"连不上模型库（{known(hub.error)}），本机也没有缓存")
    return None


def _get(facts: Facts, key: str, name: str, kind: str) -> tuple[Words, ...]:
    """How to have it: a name that a hub may know can be fetched where one is reached."""
    path, bare = facts.path(name), re.split("[#:]", name)[0]
    here = Text(f"swift.{key}=PATH of a local copy", f"swift.{key}=本地副本的路径")
    if path is None or known(path.kind) != "hub" or known(path.known_to_hub) is False:
        return (Text(f"correct {'the path or ' if bare.startswith(('/', '.', '~')) else ''}the name {bare}",
                     f"改正{'路径或' if bare.startswith(('/', '.', '~')) else ''}名称 {bare}"), here)
    return (Text(f"where there is a network: modelscope download --{kind} {bare}",
                 f"在有网络的机器上：modelscope download --{kind} {bare}"), here)


def model_incomplete(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A folder whose index names weight files that are not there, or without config.json."""
    name = config.swift.text("model")
    path = facts.path(name)
    if path is None or known(path.kind) != "dir":
        return
    missing, files = list(known(path.missing_files) or ()), known(path.files)
    if "config.json" not in missing and (path.model_config is None or (files is not None and "config.json" not in files)):
        missing.insert(0, "config.json")
    if missing:
        more = f" … (+{len(missing) - 3})" if len(missing) > 3 else ""
        yield Finding("model-incomplete", ERROR,
                      Text(f"model {name}{written(config, 'swift.model')} lacks {', '.join(missing[:3])}{more}",
                           f"模型 {name}{written(config, 'swift.model')} 缺少 {'、'.join(missing[:3])}{more}"),
                      (f"modelscope download --model ID --local_dir {name}",), {"model": name, "missing": missing[:50]})


def model_type_unknown(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """`model_type: … is not registered`. https://github.com/modelscope/ms-swift/issues/2676"""
    asked, arguments = config.swift.text("model_type"), known(facts.ms_swift_args)
    argument = arguments.get("model_type") if arguments else None
    choices = [c for c in (known(argument.choices) if argument else None) or () if isinstance(c, str)]
    if asked is None or not choices or asked in choices or _registers(config):
        return
    near = difflib.get_close_matches(asked[:100], choices, n=3, cutoff=0.5)
    yield Finding("model-type-unknown", ERROR,
                  Text(f"ms-swift {facts.package('ms-swift')} does not know {setting(config, 'model_type')}",
                       f"ms-swift {facts.package('ms-swift')} 不认识 {setting(config, 'model_type')}"),
                  (*(f"swift.model_type={name}" for name in near), "pip install -U ms-swift"), {"near": near})


def _registers(config: ResolvedConfig) -> bool:
    return any(config.swift.get(key) for key in REGISTERING)


def dataset_format(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """No sampled row can be used. https://github.com/modelscope/ms-swift/issues/9267"""
    for key in DATASET_ARGUMENTS[:2]:
        for name in config.swift.names(key):
            path = facts.path(name)
            if path is None or known(path.usable_rows) != 0 or known(path.rows_checked) is None or _registers(config):
                continue
            bad = known(path.first_bad)
            line, why = (known(bad.line), known(bad.why)) if bad else (None, None)
            if not known(path.rows_checked) and known(path.rows) != 0 and not why:
                continue  # nobody looked
            what = _unusable(path, line, why)
            yield Finding("dataset-format", ERROR,
                          Text(f"{key} {name}{written(config, f'swift.{key}')}: {what.en}",
                               f"{key} {name}{written(config, f'swift.{key}')}：{what.zh}"),
                          _other_rows(key, path, line), {"dataset": name, "line": line, "why": why})


def _unusable(path: PathFacts, line: int | None, why: str | None) -> Text:
    """Why no row of a file can be used."""
    if known(path.rows) == 0:
        return Text("it has no rows", "文件中没有任何行")
    at = Text(f"line {line}: {why}" if line else f"{why}", f"第 {line} 行：{why}" if line else f"{why}")
    if not known(path.rows_checked):
        return Text(f"the file cannot be read ({at.en})", f"无法读取该文件（{at.zh}）")
    return Text(f"none of {known(path.rows_checked)} rows is usable ({at.en})",
                f"{known(path.rows_checked)} 行中没有一行可用（{at.zh}）")


def _other_rows(key: str, path: PathFacts, line: int | None) -> tuple[Words, ...]:
    if known(path.rows) == 0:
        return (Text(f"swift.{key}=[FILE] with rows", f"swift.{key}=[有内容的文件]"),)
    if not known(path.rows_checked) and line:
        return (Text(f"correct or remove line {line}", f"改正或删去第 {line} 行"),)
    return ('{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}',
            "swift.columns={…: messages}")


def rows_all_too_long(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """`truncation_strategy: delete` leaves no row, and ms-swift fails over a dataset that is None.

    swift/pipelines/train/sft.py (`_encode_dataset`, `_show_dataset`); `raise` is no choice of 3.8 or later.
    """
    tokens, longest = nothing_left(config, facts), longest_row(config, facts)
    if tokens is None:
        return
    limit = setting(config, "max_length") if config.swift.whole("max_length") else f"max_length={longest}"
    yield Finding("dataset-format", ERROR,
                  Text(f"all {len(tokens):,} rows are longer than {limit} and would be dropped: the shortest has "
                       f"{min(tokens):,} tokens, the longest {max(tokens):,}",
                       f"全部 {len(tokens):,} 行都超过 {limit}，会被全部丢弃：最短 {min(tokens):,} 个 token，"
                       f"最长 {max(tokens):,} 个"),
                  (f"swift.max_length={-(-max(tokens) // 64) * 64}", "swift.truncation_strategy=right"),
                  {"max_length": longest, "rows": len(tokens), "shortest": min(tokens), "longest": max(tokens)})


def output_not_writable(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Checkpoints go to output_dir, the record to run.root, SwanLab's local files to SWANLAB_LOG_DIR."""
    folders = [("swift.output_dir", config.swift.text("output_dir")), ("run.root", config.run.root)]
    if config.swanlab.tracks:
        folders.append(("env.SWANLAB_LOG_DIR", environment(config, facts, "SWANLAB_LOG_DIR")))
    for key, folder in folders:
        path = facts.path(folder)
        if path is None or not (known(path.writable) is False or known(path.kind) == "file"):
            continue
        why = (Text("is a file, no folder", "是文件，不是文件夹") if known(path.kind) == "file" else
               Text("cannot be written", "无法写入"))
        yield Finding("output-not-writable", ERROR,
                      Text(f"{key}={folder}{written(config, key)} {why.en}", f"{key}={folder}{written(config, key)} {why.zh}"),
                      (Text(f"{key}=FOLDER that you may write", f"{key}=可写的文件夹"),), {"key": key, "path": folder})


def output_link_exists(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Links and checkpoints of a run that collide with an earlier one's, or with another rank's.

    https://github.com/modelscope/ms-swift/issues/4264
    """
    swift, version = config.swift, facts.package("ms-swift")
    folder, links, same = swift.text("output_dir"), swift.flag("create_checkpoint_symlink"), swift.flag("add_version") is False
    path = facts.path(folder)
    files = known(path.files) if path else None
    entries = (known(path.entries) or 0) if path else 0
    resumes = bool(swift.get("resume_from_checkpoint"))
    holds_run = entries > 0 if files is None else \
        any(f in ("best", "last", "args.json") or f.startswith("checkpoint-") for f in files)
    collides = bool(links and files and {"best", "last"} & set(files)) or \
        (holds_run and not resumes and not swift.flag("overwrite_output_dir"))
    if same and collides:
        what = setting(config, "create_checkpoint_symlink" if links else "add_version")
        yield Finding("output-link-exists", ERROR,
                      Text(f"output_dir {folder} already holds {entries} entries; with add_version=false, {what} "
                           "would collide with them",
                           f"output_dir {folder} 中已有 {entries} 项；在 add_version=false 下，{what} 会与之冲突"),
                      ("swift.add_version=true", Text("swift.output_dir=a new FOLDER", "swift.output_dir=新的文件夹")),
                      {"path": folder, "entries": entries})
    elif links and version is not None and version < LINKS_BY_ONE_RANK and \
            (launch_number(config, facts, "nproc_per_node") or 1) > 1:
        yield Finding("output-link-exists", WARNING,
                      Text(f"{setting(config, 'create_checkpoint_symlink')}: with ms-swift {version} every rank tries to make "
                           "the link, and all but one fail at the end",
                           f"{setting(config, 'create_checkpoint_symlink')}：ms-swift {version} 的每个 rank 都会创建链接，"
                           "训练结束时除一个外都会失败"),
                      ("swift.create_checkpoint_symlink=false", "pip install -U 'ms-swift>=3.5'"), {"ms_swift": version})


def checkpoint_incomplete(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A resume reads trainer_state.json and the optimizer: deepspeed's under the name in `latest`, else optimizer.pt.

    ms-swift takes `true` for a path. https://github.com/modelscope/ms-swift/issues/574
    """
    asked = config.swift.get("resume_from_checkpoint")
    name = config.swift.text("resume_from_checkpoint")
    if not asked or name is None:
        return
    missing: list[str] = []
    path = facts.path(name)
    if asked is True or (path is not None and known(path.kind) in ("missing", "file", "hub")):
        missing = [name]
    elif path is not None and known(path.files) is not None and not config.swift.flag("resume_only_model"):
        files = {file.rstrip("/") for file in known(path.files) or ()}
        state = {"latest"} if config.swift.get("deepspeed") else {"optimizer.pt", "optimizer.bin", "optimizer_0"}
        missing = [*(["trainer_state.json"] if "trainer_state.json" not in files else []),
                   *([min(state, key=len)] if not state & files else [])]
    if missing:
        yield Finding("checkpoint-incomplete", ERROR,
                      Text(f"{setting(config, 'resume_from_checkpoint')} lacks {', '.join(missing)}",
                           f"{setting(config, 'resume_from_checkpoint')} 缺少 {'、'.join(missing)}"),
                      (Text("swift.resume_from_checkpoint=…/checkpoint-N that is complete",
                            "swift.resume_from_checkpoint=完整的 …/checkpoint-N"),
                       "swift.resume_only_model=true"), {"checkpoint": name, "missing": missing})


def resume_setting_ignored(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A resumed adapter keeps the shape that it was saved with: `lora_rank: 4` on a rank 8 one trains rank 8."""
    name = config.swift.text("resume_from_checkpoint")
    path = facts.path(name)
    saved = known(path.args) if path else None
    if not name or not saved or (config.swift.get("tuner_type") or config.swift.get("train_type")) == "full":
        return
    for key in FROM_ADAPTER:
        asked = config.swift.get(key)
        if asked is None or saved.get(key) is None or _same(asked, saved[key]):
            continue
        yield Finding("resume-setting-ignored", ERROR,
                      Text(f"{setting(config, key)}, but {name} has {saved[key]}, and that is what would be trained",
                           f"{setting(config, key)}，但 {name} 中是 {saved[key]}，实际会按后者训练"),
                      (f"swift.{key}={saved[key]}", "swift.resume_from_checkpoint=null"),
                      {"argument": key, "config": asked, "checkpoint": saved[key]})


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
    path, torch = facts.path(config.swift.get("resume_from_checkpoint")), torch_version(facts)
    files = (known(path.files) if path else None) or ()
    if torch is None or config.swift.flag("resume_only_model"):
        return
    if torch < Version("2.6.0a0"):
        transformers = facts.package("transformers")
        if transformers and transformers >= Version("4.52") and "optimizer.pt" in files:
            yield Finding("checkpoint-unloadable", WARNING,
                          Text(f"transformers {transformers} loads optimizer.pt with torch 2.6 or newer only; here is {torch}",
                               f"transformers {transformers} 只在 torch 2.6 及以上版本加载 optimizer.pt，当前为 {torch}"),
                          ("swift.resume_only_model=true", "pip install 'transformers<4.52'"),
                          {"torch": torch, "transformers": transformers})
        return
    if "latest" not in files:
        return
    old = [(name, version) for name, least in (("transformers", "4.50"), ("deepspeed", "0.16.4"))
           if (version := facts.package(name)) and version < Version(least)]
    if old:
        shown = ", ".join(f"{name} {version}" for name, version in old)
        yield Finding("checkpoint-unloadable", WARNING,
                      Text(f"torch {torch} loads with weights_only=True, which {shown} do not prepare a deepspeed checkpoint for",
                           f"torch {torch} 默认 weights_only=True，而 {shown} 的 deepspeed 检查点不支持"),
                      ("pip install -U 'transformers>=4.50' 'deepspeed>=0.16.4'", "export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1"),
                      {"torch": torch, **{name: version for name, version in old}})


CHECKS: tuple[Check, ...] = (
    model_missing, model_incomplete, model_type_unknown, dataset_missing, dataset_format, rows_all_too_long,
    output_not_writable, output_link_exists, checkpoint_incomplete, resume_setting_ignored, checkpoint_unloadable,
)
