"""Lets the tests of this room import their two helpers, `wheel_server` and `wheel_factory`, and share an environment."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A virtual environment with pip, to be copied."""
    folder = tmp_path_factory.mktemp("template") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder
