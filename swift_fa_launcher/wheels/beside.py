"""What stands beside flash-attn: flash-linear-attention, for models with layers of linear attention.

It is added, with what it needs, to what is there: nothing that is there changes, and nothing comes that does not import.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from swift_fa_launcher.errors import InstallError, Text, Words
from swift_fa_launcher.machine.interpreter import run_script
from swift_fa_launcher.wheels.companions import Tool, add_companions
from swift_fa_launcher.wheels.install import SCRIPT, python_path, run_tool

#: What a training imports of a package.
MODULES = {"flash-linear-attention": "fla"}
#: What a resolver may not take another version of, beside torch.
KEPT = ("transformers", "triton")


def install_beside(names: Sequence[str], python: str, environment: Mapping[str, str], say: Callable[[Words], None],
                   timeout: float = 900.0) -> tuple[str, ...]:
    """Installs those of the distributions that the environment of `python` lacks; which. timeout: seconds for the tool.
    Raises InstallError; the environment is then as it was."""
    answer = run_script(python, SCRIPT, environment=environment, cwd=Path("/"), timeout=60.0)
    there = answer.steps[0] if answer.steps else {"installed": {}, "site_packages": "/", "torch": None}
    installed: dict[str, str] = {canonicalize_name(name): str(version) for name, version in there["installed"].items()}
    missing = [name for name in names if name not in installed]
    if not missing:
        return ()
    say(Text(f"installing {', '.join(missing)}", f"正在安装 {', '.join(missing)}"))
    site = Path(there["site_packages"])
    uv = shutil.which("uv")
    tool = Tool((uv, "pip", "install", "--python", python), True) if uv else Tool(
        (python, "-m", "pip", "--disable-pip-version-check", "install"), False)
    needs = [*map(Requirement, missing), *(Requirement(f"{name}=={installed[name]}") for name in KEPT if name in installed)]
    try:
        with tempfile.TemporaryDirectory(prefix=".swift-fa-beside-", dir=site) as folder:
            stage = Path(folder, "stage")
            had = add_companions(needs, Path(folder), stage, installed, tool,
                                 lambda command: run_tool(command, {**environment, "TMPDIR": folder}, Path(folder), timeout))
            staged = {**environment, "PYTHONPATH": python_path(stage, environment)}
            trial = run_script(python, SCRIPT, f"--site={stage}", *(MODULES[name] for name in missing), environment=staged,
                               cwd=Path(folder), timeout=300.0) if not had.failure else answer
            last = trial.steps[-1] if trial.steps else {}
            if had.failure or "files" not in last or last["torch"] != there["torch"]:
                raise _failed(python, missing, had.failure or str(last.get("error") or trial.failure))
            for entry in sorted(stage.iterdir(), key=lambda each: each.suffix == ".dist-info"):  # what names it comes last
                if (site / entry.name).is_dir():  # two distributions share `fla`
                    shutil.copytree(entry, site / entry.name, dirs_exist_ok=True)
                else:
                    os.rename(entry, site / entry.name)
    except OSError as error:
        raise _failed(python, missing, error.strerror or str(error)) from error
    return tuple(missing)


def _failed(python: str, names: Sequence[str], why: Words) -> InstallError:
    return InstallError("companions-missing", Text(f"could not install {', '.join(names)}; nothing was changed",
                                                   f"无法安装 {', '.join(names)}；没有任何改动"), where=python, why=why,
                        hint=(f"{python} -m pip install {' '.join(names)}",))
