"""Calls run_training in a process of its own, so that a test can signal it: python start_training.py SPEC.json."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

from swift_fa_launcher.errors import LauncherError
from swift_fa_launcher.launch.local import run_training


def main() -> int:
    spec = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(spec["folder"])

    def on_line(line: bytes) -> None:
        if line.decode() == spec.get("fail_at"):
            raise SystemExit("the record could not be written")

    marker = spec.get("marker")
    try:
        outcome = run_training(
            spec["command"],
            env={**os.environ, **spec.get("env", {})},
            cwd=Path(spec.get("cwd", folder)),
            log=Path(spec.get("log", folder / "log")),
            run_id=spec["run_id"],
            grace=spec.get("grace", 5.0),
            redact=[secret.encode() for secret in spec.get("redact", ())],
            on_line=on_line,
            finish_timeout=spec.get("finish_timeout"),
            ended_marker=lambda line: bool(marker) and line == marker.encode(),
        )
    except LauncherError as error:
        (folder / "error").write_text(json.dumps({"message": str(error), "where": error.where, "why": str(error.why)}))
        return error.exit_code
    values = {**dataclasses.asdict(outcome), "detail": outcome.detail and outcome.detail.en}
    (folder / "outcome").write_text(json.dumps(values, default=str))
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main())
