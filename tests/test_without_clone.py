"""What the README and every `--help` say is typed works after `pip install` alone, in an empty folder, in bash, zsh and fish.

A wheel is built from the clone and installed into a virtual environment of its own, which reads the other packages of this one.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from run_records import start  # type: ignore[import-not-found]

from swift_fa_launcher.cli import main
from swift_fa_launcher.commands import COMMANDS
from swift_fa_launcher.commands.options import load_command, make_parser
from swift_fa_launcher.config.layers import resolve_config

ROOT = Path(__file__).parents[1]
SHELLS = {"bash": "bash", "zsh": "zsh -f", "fish": "fish --no-config"}
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSOLE = [re.split(r" {2,}# ", line)[0] for block in re.findall(r"```console\n(.*?)```", README, re.S)
           for line in re.findall(r"(?m)^\$ (.*)$", block)]
OWN = [line for line in CONSOLE if line.startswith("swift-fa ")]
EXAMPLES = [load_command(name).EXAMPLE for name in COMMANDS]
#: What else the README types: programs of others, the installation itself.
OTHERS = r"pip install '[^']+'|pipx install \S+|swanlab login"
#: Wrong as typed (2), or a bug (3). 0 and 1 are answers: of a machine that has no GPU, a run that is complete.
ANSWERS = (0, 1)
#: Said only where something that was typed is not there.
LOST = ("config-missing", "command-unknown", "option-invalid", "setting-invalid", "run-not-found", "facts-unreadable")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment into which the wheel was installed."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(ROOT / "swift_fa_launcher", folder / "source" / "swift_fa_launcher",
                    ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source" / name)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, folder / "source"])
    run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"])
    python = folder / "venv" / "bin" / "python"
    site = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip()
    Path(site, "others.pth").write_text(sysconfig.get_path("purelib"))
    (wheel,) = folder.glob("*.whl")
    run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel])
    return python.parent


def run(words: Sequence[object]) -> str:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def type_in(folder: Path, line: str, bin_folder: Path, shell: str = "bash") -> subprocess.CompletedProcess[str]:
    """What a shell makes of a line, with the installed program first on its path."""
    env = {**os.environ, "PATH": os.pathsep.join((str(bin_folder), os.environ["PATH"])), "OMP_NUM_THREADS": "1",
           "SWIFT_FA_CACHE": str(bin_folder / "cache")}  # one for all: ms-swift's arguments are read once
    return subprocess.run([*SHELLS[shell].split(), "-c", line], cwd=folder, env=env, capture_output=True, text=True, check=False,
                          timeout=300, stdin=subprocess.DEVNULL)


def answers(done: subprocess.CompletedProcess[str]) -> bool:
    return done.returncode in ANSWERS and "Traceback" not in done.stderr and "not found" not in done.stderr


def test_the_package_holds_what_the_clone_does(installed: Path) -> None:
    """The bases are in the wheel; what `configs/` has beside the seed's own values is not a second text."""
    (wheel,) = installed.parents[1].glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    bases = sorted((ROOT / "swift_fa_launcher" / "config" / "bases").glob("*.yaml"))
    assert bases and all(f"swift_fa_launcher/config/bases/{base.name}" in names for base in bases)
    for file in (*(ROOT / "configs" / "bases").glob("*.yaml"), ROOT / "configs" / "demo-cpu.yaml"):
        assert re.fullmatch(r"extends: swift-fa:\w+ .*\n", file.read_text(encoding="utf-8")), f"{file}: one line that extends"
    where = run([installed / "python", "-I", "-c", "import swift_fa_launcher; print(swift_fa_launcher.__file__)"])
    assert where.startswith(str(installed.parent))
    seed = resolve_config([ROOT / "configs" / "qwen7b-lora.yaml"])
    assert (seed.launch.gpus, seed.swift["tuner_type"], seed.swift["report_to"]) == ((6,), "lora", "swanlab")


def test_the_readme_types_nothing_unknown() -> None:
    assert len(OWN) > 12 and {line.split()[1] for line in OWN} <= set(COMMANDS)
    assert not [line for line in CONSOLE if line not in OWN and not re.fullmatch(OTHERS, line)]
    assert "gpus: [6]" not in README


def test_what_the_readme_says_within_its_sentences(tmp_path: Path) -> None:
    """Its commands are parsed, its config is read."""
    inline = [line for line in re.findall(r"`(swift-fa [^`]+)`", README) if "..." not in line and "[" not in line]
    for line in inline:
        name, *words = shlex.split(line.partition(" | ")[0])[1:]
        assert name in COMMANDS or name == "COMMAND", line
        if words and name != "COMMAND":  # a command's name alone is not typed
            make_parser(name, "en").parse_intermixed_args([word for word in words if word != "--help"])
    configs = []
    for text in re.findall(r"```yaml\n(.*?)```", README, re.S):
        (tmp_path / "my.yaml").write_text(text, encoding="utf-8")
        configs.append(resolve_config([tmp_path / "my.yaml"]))
    config = configs[0]
    assert len(inline) > 10 and config.swift["tuner_type"] == "lora" and config.swift["output_dir"] == "output/first-try"


@pytest.mark.parametrize("line", EXAMPLES)
def test_the_example_of_a_help_works_in_an_empty_folder(line: str, installed: Path, tmp_path: Path) -> None:
    """Runs are there, since an example of `show` needs one; nothing else is."""
    for name in ("first", "qwen7b"):
        start(tmp_path, name=name)
    (folder := tmp_path / "empty").mkdir()
    (tmp_path / "runs").rename(folder / "runs")
    for run in (folder / "runs").iterdir():
        (run / "train.log").write_text("torch.OutOfMemoryError: CUDA out of memory.\n")
    done = type_in(folder, f"{line} --json", installed)
    assert answers(done), done.stderr
    assert json.loads(done.stdout).get("error", {}).get("code") not in LOST, done.stdout


def test_every_shell_reads_the_same_words(tmp_path: Path) -> None:
    """A program in the place of swift-fa says what it was given."""
    stub = tmp_path / "bin" / "swift-fa"
    stub.parent.mkdir()
    stub.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    stub.chmod(0o755)
    there = [shell for shell, words in SHELLS.items() if shutil.which(words.split()[0])]
    assert "bash" in there
    for line in (*EXAMPLES, *OWN):
        for shell in there:
            done = type_in(tmp_path, line, stub.parent, shell)
            assert done.returncode == 0 and json.loads(done.stdout) == shlex.split(line)[1:], f"{shell}: {line}: {done.stderr}"
    if absent := set(SHELLS) - set(there):
        pytest.skip(f"tried in {', '.join(there)}; not installed: {', '.join(sorted(absent))}")


@pytest.mark.training
def test_the_readme_from_top_to_bottom_in_one_empty_folder(installed: Path, tmp_path: Path,
                                                           capfd: pytest.CaptureFixture[str]) -> None:
    """One after the other, as its reader types them; the demo trains, and then `swift-fa show latest` finds it."""
    trained = 0
    (tmp_path / "train.sh").write_text("swift sft --model Qwen/Qwen2.5-7B-Instruct --dataset data.jsonl\n")
    (tmp_path / ".demo").mkdir()
    start(tmp_path / ".demo", name="first-try")  # which the demo is compared with
    for line in OWN:
        again = trained and line.startswith(("swift-fa train", "swift-fa rerun", "swift-fa resume"))
        done = type_in(tmp_path, f"{line} --dry-run" if again else line, installed)
        assert answers(done) and not re.search("there is no (config|run)|unrecognized", done.stderr), f"{line}\n{done.stderr}"
        if line.startswith("swift-fa train demo.yaml"):
            trained += 1
            assert done.returncode == 0 and " infer --adapters" in done.stderr
        if line == "swift-fa show latest":
            assert done.returncode == 0 and "demo-cpu" in done.stdout
    assert trained and main(["runs", "--root", str(tmp_path / ".demo" / "runs")]) == 0 and "demo-cpu" in capfd.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} <= {
        ".demo", "demo.yaml", "my.yaml", "node7.json", "report.html", "run.tar.gz", "runs", "swanlog", "train.sh", "train.yaml",
        "fast.yaml", "config.schema.json"}
