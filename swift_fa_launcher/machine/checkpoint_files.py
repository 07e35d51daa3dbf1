"""The files of a checkpoint's folder, and whether each ends where its own header says: a training can be cut off while it
saves. Read without torch."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from swift_fa_launcher.machine.checkpoint import LATEST, STATE, CheckpointFiles, is_folder_of_fsdp, is_weights

_HEADER_LIMIT = 100 * 2**20  # bytes of a safetensors header; safetensors itself takes no more


def read_checkpoint(folder: Path) -> CheckpointFiles:
    """What lies in the folder. Raises OSError where it cannot be read."""
    entries = sorted(folder.iterdir())
    folders = [entry for entry in entries if entry.is_dir()]
    inner = [f"{entry.name}/{file.name}" for entry in folders for file in sorted(entry.iterdir()) if is_weights(file.name)]
    absent = [f"{entry.name}/.metadata" for entry in folders  # written last
              if is_folder_of_fsdp(entry.name) and not (entry / ".metadata").is_file()]
    cut_off = [STATE] if (folder / STATE).is_file() and "global_step" not in read_trainer_state(folder) else []
    files = [entry.name for entry in entries if entry.suffix in (".pt", ".pth") or is_weights(entry.name)]
    if (folder / LATEST).is_file():
        name = (folder / LATEST).read_text(encoding="utf-8", errors="replace").strip()  # names deepspeed's folder
        shards = [f"{name}/{shard.name}" for shard in sorted((folder / name).glob("*.pt"))] if name else []
        files += shards
        absent += [] if shards else [f"{name or LATEST}/*.pt"]
    for index in folder.glob("*.index.json"):
        named = _named_shards(index)
        cut_off += [index.name] if named is None else []
        absent += sorted(shard for shard in named or () if not (folder / shard).is_file())
    cut_off += sorted(file for file in (*files, *inner) if not _is_whole(folder / file))
    return CheckpointFiles((*(entry.name for entry in entries), *inner), tuple(absent), tuple(cut_off))


def read_trainer_state(folder: Path) -> dict[str, Any]:
    """transformers' own word on a checkpoint: global_step, max_steps, log_history; empty where it cannot be read."""
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _named_shards(index: Path) -> set[str] | None:
    """The files that an index of weights names; None where it cannot be read."""
    try:
        return {str(shard) for shard in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_whole(file: Path) -> bool:
    """Whether a file ends where it says it does; true for a kind of file that does not say, and for a folder."""
    if file.is_dir():
        return True
    if file.suffix == ".safetensors":
        return _is_whole_safetensors(file)
    if file.suffix in (".pt", ".pth", ".bin"):
        return _is_whole_pickle(file)
    return file.stat().st_size > 0


def _is_whole_safetensors(file: Path) -> bool:
    """Eight bytes of header length, a JSON header, then as many bytes as its last tensor ends at."""
    with file.open("rb") as opened:
        first = opened.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else _HEADER_LIMIT + 1
        if length > _HEADER_LIMIT:
            return False
        try:
            header = json.loads(opened.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return False
    return bool(file.stat().st_size == 8 + length + max(ends, default=0))


def _is_whole_pickle(file: Path) -> bool:
    """torch writes a zip, whose directory stands at its end; before 1.6, and numpy's states, a bare pickle (ends in ".")."""
    import zipfile  # here: most runs read no checkpoint

    with file.open("rb") as opened:
        first = opened.read(2)
        if first != b"PK":
            opened.seek(0, 2)
            return first[:1] == b"\x80" and opened.tell() > 2
    return zipfile.is_zipfile(file)
