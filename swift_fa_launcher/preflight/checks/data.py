"""Model, datasets, output folder, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import Text
from swift_fa_launcher.machine.facts import Facts, PathFacts
from swift_fa_launcher.preflight.finding import ERROR, Check, Finding
from swift_fa_launcher.preflight.reading import written


def model_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A path that is not there, an id that the hub does not know, or one that can be had from nowhere."""
    model = config.swift.text("model")
    reason = _absence(facts, model) if model else None
    if reason:
        yield Finding("model-missing", ERROR,
                      Text(f"model {model}{written(config, 'swift.model')}: {reason.en}",
                           f"模型 {model}{written(config, 'swift.model')}：{reason.zh}"),
                      (Text("swift.model=PATH of a complete local copy", "swift.model=本地完整副本的路径"),), {"model": model})


def dataset_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """The same for every dataset; `:subset` and `#N` are not part of the name, but facts are keyed with them."""
    for key in ("dataset", "val_dataset", "cached_dataset", "cached_val_dataset"):
        for name in config.swift.names(key):
            reason = _absence(facts, name)
            if reason:
                yield Finding("dataset-missing", ERROR,
                              Text(f"{key} {name}{written(config, f'swift.{key}')}: {reason.en}",
                                   f"{key} {name}{written(config, f'swift.{key}')}：{reason.zh}"),
                              (Text(f"swift.{key}=[PATH] of a local file", f"swift.{key}=[本地文件的路径]"),),
                              {"argument": key, "dataset": name})


def _absence(facts: Facts, name: str) -> Text | None:
    """Why nothing can be loaded under this name, None where it can or nobody knows."""
    path = facts.path(name)
    if path is None:
        return None
    kind = known(path.kind)
    if kind == "missing":
        return Text("there is no such path, and no hub knows it", "没有这个路径，模型库里也没有这个名字")
    if kind == "hub":
        if known(path.known_to_hub) is False and not known(path.cached):
            return Text("the hub does not know it", "模型库里没有这个名字")
        if _hub_out_of_reach(facts, path):
            return Text("no hub can be reached and there is no cached copy", "连不上模型库，本机也没有缓存")
    return None


def _hub_out_of_reach(facts: Facts, path: PathFacts) -> bool:
    reach = known(facts.network.get("model-hub"))
    return path.cached is False and reach is not None and known(reach.ok) is False


def output_not_writable(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Checkpoints go to output_dir, SwanLab's local files to SWANLAB_LOG_DIR."""
    log_dir = config.env.get("SWANLAB_LOG_DIR") or facts.env.get("SWANLAB_LOG_DIR")
    folders = [("swift.output_dir", config.swift.text("output_dir"))]
    if config.swanlab.tracks:
        folders.append(("SWANLAB_LOG_DIR", log_dir))
    for key, folder in folders:
        path = facts.path(folder)
        if path is None or not (known(path.writable) is False or known(path.kind) == "file"):
            continue
        yield Finding("output-not-writable", ERROR,
                      Text(f"{key}={folder}{written(config, key)} cannot be written",
                           f"{key}={folder}{written(config, key)} 无法写入"),
                      (Text(f"{key}=FOLDER that you may write", f"{key}=可写的文件夹"),), {"key": key, "path": folder})


CHECKS: tuple[Check, ...] = (model_missing, dataset_missing, output_not_writable)
