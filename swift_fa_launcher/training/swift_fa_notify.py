"""Sends SwanLab's message about a training that could not send it itself: it was killed, or ended before SwanLab began.

Run by the training's interpreter; reads one JSON object: notification (as swift_fa_plugin has it), error, url.
"""
# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    told = json.load(sys.stdin)
    sys.modules["swift_fa_begun"] = sys  # the plugin is wanted for its functions, and has no training to begin with
    file = Path(__file__).resolve().with_name("swift_fa_plugin.py")
    spec: Any = importlib.util.spec_from_file_location(file.stem, str(file))
    plugin: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plugin)
    message = plugin.make_notification(**told["notification"])
    error = " ".join(filter(None, (told["error"], told["url"])))
    if hasattr(message, "send_msg"):  # SwanLab before 0.8
        message.send_msg(f"SwanLab: {error}")
    else:
        message._send_notification("crashed", error)


if __name__ == "__main__":
    main()
