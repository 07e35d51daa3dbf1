"""Asks the training interpreter: runs a script with it, in the training's environment and folder, and reads the answer."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swift_fa_launcher.decode import Unknown

MARKER = "swift-fa-target:"
#: Seconds. An interpreter on a cold network file system takes several.
TARGET_TIMEOUT = 60.0


def find_interpreter(python: str, environment: Mapping[str, str]) -> str | None:
    """The executable that `python` names (a path, or a command on the training's PATH); None where there is none."""
    expanded = str(Path(python).expanduser())
    return shutil.which(expanded, path=environment.get("PATH"))


def run_script(python: str, script: Path, *arguments: str, environment: Mapping[str, str], cwd: Path,
               timeout: float) -> dict[str, Any] | Unknown:
    """The JSON object that `script` prints behind MARKER when `python` runs it; Unknown(why) where none came.

    The script gets a process group of its own; when `timeout` seconds have passed all of it is killed. Whatever else
    is printed is noise, and its last line is quoted where the answer is missing.
    """
    quiet = {**environment, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        child = subprocess.Popen([python, str(script), *arguments], cwd=cwd, env=quiet, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    except (OSError, ValueError) as error:
        return Unknown(f"{python} could not be started: {error}")
    try:
        output, _ = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill_group(child)
        return Unknown(f"{python} gave no answer within {timeout:g} s")
    return parse_answer(output.decode("utf-8", "replace"), child.returncode, python)


def parse_answer(output: str, code: int, python: str) -> dict[str, Any] | Unknown:
    """The JSON object behind MARKER in `output`. `code`: the process's exit status, negative for a signal."""
    for line in reversed(output.splitlines()):
        if line.startswith(MARKER):
            try:
                answer = json.loads(line[len(MARKER):])
            except ValueError:
                break
            if isinstance(answer, dict):
                return answer
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    ending = f"ended by signal {-code}" if code < 0 else f"exit status {code}"
    return Unknown(f"{python}: {ending}" + (f", last line: {lines[-1][:200]}" if lines else ", no output"))


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    import os
    import signal

    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (OSError, AttributeError):  # gone, or Windows, which has no process groups
        child.kill()
    child.communicate()
