"""Lets the tests of this room import their two helpers, `wheel_server` and `wheel_factory`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
