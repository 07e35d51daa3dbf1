"""Modules that lie in no package: what runs inside the training, scripts of docs/, stand-ins."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any


def load_file(file: Path) -> Any:
    """The module in a file, loaded anew each time; found in sys.modules too, where its dataclasses look for it."""
    spec: Any = importlib.util.spec_from_file_location(file.stem, file)
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
