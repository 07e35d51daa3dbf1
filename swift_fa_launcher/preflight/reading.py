"""Readings of config and facts that several checks share. Pure."""

from __future__ import annotations

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.machine.facts import Facts


def is_absent(facts: Facts, package: str) -> bool:
    """Whether the distribution was looked for and not found; False where nobody looked."""
    packages = known(facts.packages)
    return packages is not None and package in packages and packages[package] is None


def pip_install(facts: Facts, *requirements: str) -> str:
    """The command that installs into the training interpreter."""
    python = known(facts.python)
    executable = (known(python.executable) if python else None) or "python"
    quoted = (f'"{r}"' if any(c in r for c in "<>[]!*; ") else r for r in requirements)
    return " ".join((f'"{executable}"' if " " in executable else executable, "-m pip install", *quoted))


def written(config: ResolvedConfig, key: str) -> str:
    """` (configs/a.yaml:12)`: where a dotted key was written, to append to its mention; empty where nobody wrote it."""
    origin = config.origin(key)
    return f" ({origin})" if origin else ""


def on_ascend(facts: Facts) -> bool:
    """An Ascend machine: torch_npu brings its own attention, nothing of NVIDIA's or flash-attn's applies."""
    torch = known(facts.torch)
    return bool(torch and known(torch.npu))
