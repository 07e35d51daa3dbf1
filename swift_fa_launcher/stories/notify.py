"""The story of the message at the end: the launcher sends it where the training could not."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path, PurePath

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.errors import Say, Text
from swift_fa_launcher.launch.swanlab import SENT, make_notification_job
from swift_fa_launcher.runs.record import RunRecord

SCRIPT = str(PurePath(__file__).parents[1] / "training" / "swift_fa_notify.py")
_SECONDS = 60.0


def send_message(config: ResolvedConfig, record: RunRecord, folder: Path, python: str, environment: Mapping[str, str],
                 say: Say) -> None:
    """One message about a run that failed and has not said so: its training was killed, or ended before SwanLab began."""
    job = make_notification_job(config, str(folder))
    if job is None or record.status not in ("failed", "interrupted") or (folder / SENT).exists() or config.launch.node_rank:
        return
    cause = next((str(one.get("summary")) for one in record.diagnoses), record.detail or "")
    error = f"{record.id} {record.status} ({record.exit_code}): {cause}"
    told = json.dumps({"notification": job, "error": error, "url": record.swanlab.get("url")})
    done = subprocess.run([python, SCRIPT], input=told, env={**environment}, capture_output=True, text=True, timeout=_SECONDS,
                          check=False)
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2]
        say(Text(f"the message could not be sent: {why}", f"无法发送通知：{why}"))
        return
    (folder / SENT).touch()
