"""What a training leaves behind: its version folder, its newest checkpoint, its SwanLab run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: ms-swift's word on where a run writes (swift/trainers, 3.8 to 4.6): `<output_dir>/v0-<time>/logging.jsonl`.
_LOGGING_FILE = re.compile(rb"The logging file will be saved in: (.+?)[/\\]logging\.jsonl")
#: ms-swift's last word (swift/pipelines/base.py, swift/llm/base.py): what follows is uploading and tearing down.
TRAINING_ENDED = b"End time of running main"


def parse_version_folder(line: bytes) -> str | None:
    """The folder `<output_dir>/v<N>-<time>` that a line of ms-swift's log names, if it does."""
    found = _LOGGING_FILE.search(line)
    return found[1].decode("utf-8", "replace") if found else None


def says_training_ended(line: bytes) -> bool:
    """Whether a line of ms-swift's log says that its work is done."""
    return TRAINING_ENDED in line


def newest_checkpoint(folder: Path) -> Path | None:
    """The `checkpoint-N` of the highest N in a version folder, None where there is none."""
    try:
        found = [(int(p.name.rpartition("-")[2]), p) for p in folder.glob("checkpoint-*") if p.name.rpartition("-")[2].isdigit()]
    except OSError:
        return None
    return max(found)[1] if found else None


def read_swanlab(run_dir: Path) -> Mapping[str, Any]:
    """What the plugin wrote about the SwanLab run: mode, dir, url, run_id; empty where it wrote nothing readable."""
    try:
        data = json.loads((run_dir / "swanlab.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
