"""What stands beside flash-attn: flash-linear-attention, for models with layers of linear attention.

It is added, with what it needs, to what is there: nothing that is there changes, and nothing comes that does not import.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from packaging.requirements import Requirement

from swift_fa_launcher.errors import InstallError, Say, Text, Words
from swift_fa_launcher.machine.interpreter import run_script
from swift_fa_launcher.wheels.companions import add_companions
from swift_fa_launcher.wheels.install import SCRIPT, python_path, read_target, run_tool, tool_of

#: What a training imports of a package.
MODULES = {"flash-linear-attention": "fla"}
#: What a resolver may not take another version of, beside torch.
KEPT = ("transformers", "triton")


def install_beside(wanted: Sequence[str], python: str, environment: Mapping[str, str], say: Say, timeout: float = 900.0,
                   ) -> dict[str, str]:
    """Installs those of the distributions that the environment of `python` lacks; name to version of what came for them. wanted:
    names, or `name==version`. timeout: seconds for the tool. Raises InstallError; the environment is then as it was."""
    target = read_target(python, environment, timeout, say)
    site, installed = target.site_packages, target.installed
    missing = {need.name: need for need in map(Requirement, wanted) if need.name not in installed}
    if not missing:
        return {}
    say(Text(f"installing {', '.join(map(str, missing.values()))}", f"正在安装 {', '.join(map(str, missing.values()))}"))
    needs = [*missing.values(), *(Requirement(f"{name}=={installed[name]}") for name in KEPT if name in installed)]
    try:
        with tempfile.TemporaryDirectory(prefix=".swift-fa-beside-", dir=site) as folder:
            stage = Path(folder, "stage")
            had = add_companions(needs, Path(folder), stage, installed, tool_of(target),
                                 lambda command: run_tool(command, {**environment, "TMPDIR": folder}, Path(folder), timeout))
            staged = {**environment, "PYTHONPATH": python_path(stage, environment)}
            trial = run_script(python, SCRIPT, f"--site={stage}", *(MODULES[name] for name in missing), environment=staged,
                               cwd=Path(folder), timeout=300.0) if not had.failure else None
            last = trial.steps[-1] if trial and trial.steps else {}
            if trial is None or "files" not in last or last["torch"] != target.torch:
                raise _failed(python, wanted, had.failure or str(last.get("error") or (trial and trial.failure)))
            for entry in sorted(stage.iterdir(), key=lambda each: each.suffix == ".dist-info"):  # what names it comes last
                if (site / entry.name).is_dir():  # two distributions share `fla`
                    shutil.copytree(entry, site / entry.name, dirs_exist_ok=True)
                else:
                    os.rename(entry, site / entry.name)
    except OSError as error:
        raise _failed(python, wanted, error.strerror or str(error)) from error
    now = read_target(python, environment, timeout, say).installed
    return {name: now[name] for name in missing}


def _failed(python: str, names: Sequence[str], why: Words) -> InstallError:
    return InstallError("companions-missing", Text(f"could not install {', '.join(names)}; nothing was changed",
                                                   f"无法安装 {', '.join(names)}；没有任何改动"), where=python, why=why,
                        hint=(f"{python} -m pip install {' '.join(names)}",))
