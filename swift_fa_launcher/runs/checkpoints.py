"""Checkpoints of a version folder, and whether each is whole: a training can be cut off while it saves.

Decided from the files, without torch: what a resume reads must be there and end where its own header says.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swift_fa_launcher.errors import Text, Words

_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")
#: States of the optimizer: transformers', its FSDP folders, deepspeed's pointer to a folder of shards.
_OPTIMIZERS = ("optimizer.pt", "optimizer.bin", "optimizer_0", "latest")
_HEADER_LIMIT = 100 * 2**20  # bytes of a safetensors header; safetensors itself takes no more


@dataclass(frozen=True)
class Checkpoint:
    """step: the N of `checkpoint-N`. problem: why a training cannot go on from it; empty where it can."""

    path: Path
    step: int
    problem: Words = ""


def list_checkpoints(folder: Path) -> tuple[Checkpoint, ...]:
    """Every `checkpoint-N` of a version folder, newest first; none where there is no such folder."""
    try:
        numbered = [(int(p.name.rpartition("-")[2]), p) for p in folder.glob("checkpoint-*")
                    if p.name.rpartition("-")[2].isdigit() and p.is_dir()]
    except (OSError, ValueError):  # ValueError: a name that no file can have, in a damaged record
        return ()
    return tuple(Checkpoint(path, step, _problem(path)) for step, path in sorted(numbered, reverse=True))


def newest_complete(checkpoints: Sequence[Checkpoint]) -> Checkpoint | None:
    """The one to go on from."""
    return next((checkpoint for checkpoint in checkpoints if not checkpoint.problem), None)


def read_trainer_state(checkpoint: Path) -> dict[str, Any]:
    """transformers' own word on a checkpoint: global_step, max_steps, log_history; empty where it cannot be read."""
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _problem(folder: Path) -> Words:
    try:
        found = tuple(_problems(folder))
        return Text(", ".join(one.en for one in found), "，".join(one.zh for one in found)) if found else ""
    except OSError as error:
        return f"{folder.name}: {error.strerror or error}"


def _problems(folder: Path) -> Iterator[Text]:
    names = {file.name for file in folder.iterdir()}
    if "trainer_state.json" not in names:  # saved near the end
        yield _lacks("trainer_state.json")
    elif "global_step" not in read_trainer_state(folder):
        yield _cut_off("trainer_state.json")
    weights = [file for pattern in _WEIGHTS for file in folder.glob(pattern)]
    if not weights and not names & {"pytorch_model_fsdp_0", "latest"}:
        yield _lacks("adapter_model.safetensors / model.safetensors")
    if not names & {*_OPTIMIZERS}:
        yield _lacks("optimizer.pt")
    if "latest" in names:
        yield from _deepspeed_problems(folder)
    for index in folder.glob("*.index.json"):
        yield from _index_problems(index)
    for file in sorted((*weights, *folder.glob("*.pt"), *folder.glob("*.pth"))):
        if not _is_whole(file):
            yield _cut_off(file.name)


def _deepspeed_problems(folder: Path) -> Iterator[Text]:
    """`latest` is written last and names the folder of the shards."""
    name = (folder / "latest").read_text(encoding="utf-8", errors="replace").strip()
    shards = sorted((folder / name).glob("*.pt")) if name else []
    if not shards:
        yield _lacks(f"{name or 'latest'}/*.pt")
    for shard in shards:
        if not _is_whole(shard):
            yield _cut_off(f"{name}/{shard.name}")


def _index_problems(index: Path) -> Iterator[Text]:
    try:
        shards = {str(shard) for shard in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
    except (ValueError, KeyError, TypeError, AttributeError):
        yield _cut_off(index.name)
        return
    yield from (_lacks(shard) for shard in sorted(shards) if not (index.parent / shard).is_file())


def _is_whole(file: Path) -> bool:
    """Whether a file ends where it says it does; true for a kind of file that does not say."""
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
    import zipfile

    with file.open("rb") as opened:
        first = opened.read(2)
        if first != b"PK":
            opened.seek(0, 2)
            return first[:1] == b"\x80" and opened.tell() > 2
    return zipfile.is_zipfile(file)


def _lacks(name: str) -> Text:
    return Text(f"{name} is missing", f"缺少 {name}")


def _cut_off(name: str) -> Text:
    return Text(f"{name} is cut off", f"{name} 不完整")
