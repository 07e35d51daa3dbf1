"""What is known of the files, folders and hub names that a config mentions, without asking a network."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Maybe, Unknown
from swift_fa_launcher.files import kind_of
from swift_fa_launcher.machine.checkpoint_files import read_checkpoint
from swift_fa_launcher.machine.dataset_files import judge_dataset, judge_folder, unseen
from swift_fa_launcher.machine.facts import PathFacts
from swift_fa_launcher.machine.host import free_gib, nearest_existing
from swift_fa_launcher.machine.hub import cached_folder, hub_name
from swift_fa_launcher.machine.model_files import missing_model_files, read_adapter, read_model_config, weights_gib

MODEL, DATASET, ADAPTER, CHECKPOINT, OUTPUT, FILE = "model", "dataset", "adapter", "checkpoint", "output", "file"
ON_HUB = (MODEL, DATASET, ADAPTER)

#: Arguments of `swift sft` that name a file, a folder or something on a hub, and what that is.
ARGUMENTS: Mapping[str, str] = {
    "model": MODEL, "ref_model": MODEL, "teacher_model": MODEL, "reward_model": MODEL,
    "dataset": DATASET, "val_dataset": DATASET,
    "adapters": ADAPTER, "resume_from_checkpoint": CHECKPOINT, "ckpt_dir": CHECKPOINT,
    "output_dir": OUTPUT, "packing_cache": OUTPUT, "logging_dir": OUTPUT,
    "cached_dataset": FILE, "cached_val_dataset": FILE, "external_plugins": FILE, "custom_register_path": FILE,
    "custom_dataset_info": FILE, "deepspeed": FILE, "fsdp": FILE}
#: Names of configurations that ms-swift ships, where a path may stand as well (swift/arguments/sft_args.py).
BUILT_IN = re.compile(r"zero[0-3](_offload)?|fsdp2?|\s*\{.*", re.S)
#: Folders of the training's environment.
VARIABLES = ("SWANLAB_LOG_DIR", "MODELSCOPE_CACHE")
FILE_SUFFIXES = (".jsonl", ".json", ".csv", ".txt", ".parquet", ".tsv", ".arrow", ".py", ".bin", ".safetensors", ".gz")
MAX_FILES = 1000
NOT_ASKED = Unknown("the hub was not asked")
NOT_HERE = Unknown("it is not on this machine")
#: How the names of file systems begin that other machines share. FUSE's are, as a rule: ceph, juicefs, s3fs.
NETWORK_FILE_SYSTEMS = ("nfs", "lustre", "gpfs", "beegfs", "cifs", "smb", "ceph", "glusterfs", "fuse.", "wekafs", "panfs")


@dataclass(frozen=True)
class Named:
    """A path or hub name: as the config writes it, and what it is to be."""

    text: str
    role: str


def collect_paths(config: ResolvedConfig, environment: Mapping[str, str]) -> dict[str, Maybe[PathFacts]]:
    """Each path and hub name of the config, keyed as it is written there."""
    found: dict[str, Maybe[PathFacts]] = {}
    for named in named_paths(config, environment):
        if named.text not in found:
            try:
                found[named.text] = collect_path(named, config, environment)
            except (OSError, ValueError) as error:  # too long a name, a folder that may not be looked into, a stale mount
                found[named.text] = Unknown(str(error))
    return found


def named_paths(config: ResolvedConfig, environment: Mapping[str, str]) -> Iterator[Named]:
    """Every path and hub name of the config and the training's environment."""
    for argument, role in ARGUMENTS.items():
        for text in config.swift.names(argument):
            if text.strip() and not (argument in ("deepspeed", "fsdp") and BUILT_IN.fullmatch(text)):
                yield Named(text, role)
    yield Named(config.run.root, OUTPUT)
    yield from (Named(environment[name], OUTPUT) for name in VARIABLES if environment.get(name))


def collect_path(named: Named, config: ResolvedConfig, environment: Mapping[str, str]) -> PathFacts:
    """What is there. Raises OSError where it may not be looked at."""
    path = local_path(named)
    facts = _place(path)
    if facts.kind == "missing" and named.role != OUTPUT:
        facts = replace(facts, near=_near(named.text, path))
    if facts.kind == "missing" and named.role in ON_HUB and looks_like_hub_name(named.text):
        return _cached(named, config, environment)
    if named.role == DATASET and facts.kind in ("file", "dir"):
        return _dataset(path, facts, config)
    if facts.kind == "dir" and named.role == MODEL:
        return replace(facts, model_config=read_model_config(path), missing_files=missing_model_files(path),
                       size_gib=weights_gib(path))
    if facts.kind == "dir" and named.role == CHECKPOINT:
        there = read_checkpoint(path)
        return replace(facts, args=read_adapter(path), files=there.files[:MAX_FILES], missing_files=there.absent,
                       cut_off=there.cut_off)
    if facts.kind == "dir" and named.role == ADAPTER:
        facts = replace(facts, args=read_adapter(path))
    if facts.kind == "dir" and named.role in (ADAPTER, OUTPUT):
        return replace(facts, files=tuple(sorted(file.name for file in path.iterdir()))[:MAX_FILES])
    return facts


def local_path(named: Named) -> Path:
    """The path that ms-swift would look at.

    A dataset's `hub::`, `:subset` and `#rows` are no part of it, unless a path of the full name is there
    (swift/dataset/dataset_syntax.py).
    """
    texts = [named.text]
    if named.role == DATASET:
        plain = named.text.split("::", 1)[-1]
        texts += [plain, plain.rsplit("#", 1)[0], hub_name(named.text)]
    found = next((text for text in texts if os.path.exists(text)), texts[0] if len(texts) == 1 else texts[2])
    return Path(os.path.expanduser(found))  # pathlib's raises for "~nobody/data"


def looks_like_hub_name(text: str) -> bool:
    """Whether something that is not there may be on a hub: `owner/name` or a bare name, and no path by its form."""
    name = hub_name(text)
    return bool(re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", name)) and not name.lower().endswith(FILE_SUFFIXES)


def _place(path: Path) -> PathFacts:
    """Kind, whether it may be written, entries, free space and mount of a path that may not exist yet."""
    there = nearest_existing(path)
    kind = kind_of(path)
    writable = os.access(there, os.W_OK | os.X_OK) if os.path.isdir(there) else kind == "file" and os.access(path, os.W_OK)
    return PathFacts(kind=kind, writable=writable, free_gib=free_gib(there), mount=mount_kind(there, _mounts()),
                     entries=sum(1 for _ in path.iterdir()) if kind == "dir" else None)


def _near(text: str, path: Path) -> str | None:
    """What lies where a path is missing and has nearly its name, written as the config would; None where nothing does."""
    try:
        beside = [entry.name for entry in islice(os.scandir(path.parent), MAX_FILES)]
    except OSError:
        return None
    near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.75)
    return text.rpartition(path.name)[0] + near[0] if near and path.name and path.name in text else None


def _cached(named: Named, config: ResolvedConfig, environment: Mapping[str, str]) -> PathFacts:
    """A hub's model or dataset, as far as there is a local copy."""
    kind = "datasets" if named.role == DATASET else "models"
    folder = cached_folder(named.text, kind, environment, config.swift.flag("use_hf"))
    model = folder if named.role == MODEL else None
    return PathFacts(kind="hub", near=_near(named.text, Path(named.text)), cached=folder is not None, known_to_hub=NOT_ASKED,
                     model_config=read_model_config(model) if model else NOT_HERE,
                     size_gib=weights_gib(model) if model else NOT_HERE)


def _dataset(path: Path, facts: PathFacts, config: ResolvedConfig) -> PathFacts:
    """The rows of a file or folder, judged by ms-swift's own readers where no reader of the user's may take their place."""
    for argument in ("external_plugins", "custom_register_path", "custom_dataset_info"):
        if config.swift.names(argument):
            return unseen(facts, f"swift.{argument} may register a reader of its own")
    columns = config.swift.get("columns")
    task = config.swift.text("task_type") or ("seq_cls" if config.swift.get("num_labels") else None)  # as ms-swift guesses it
    judge = judge_folder if facts.kind == "dir" else judge_dataset
    return judge(path, facts, columns if isinstance(columns, Mapping) else {}, task)


def _mounts() -> dict[str, str]:
    """Mount point to file system; of two at one point the later, which hides the other."""
    import psutil

    return {mount.mountpoint: mount.fstype for mount in psutil.disk_partitions(all=True)}


def mount_kind(path: Path, mounts: Mapping[str, str]) -> str:
    """ "local", "nfs" (any file system that other machines share) or "tmpfs": what holds an existing path."""
    kind = mounts.get(max((point for point in mounts if path.is_relative_to(point)), key=len, default=""), "local")
    if kind in ("tmpfs", "ramfs"):
        return "tmpfs"
    return "nfs" if kind.startswith(NETWORK_FILE_SYSTEMS) and "overlay" not in kind else "local"
