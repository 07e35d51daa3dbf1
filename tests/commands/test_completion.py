"""Tab: what is offered where, and that bash, zsh and fish complete by it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from machines import ARGUMENTS_4_6

from swift_fa_launcher.commands.completion import SCRIPTS, offers
from swift_fa_launcher.decode import encode
from swift_fa_launcher.runs.store import remember_root

PROGRAM = Path(sys.executable).with_name("swift-fa")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with configs, data and runs, and ms-swift 4.6's arguments kept."""
    kept = tmp_path / "cache" / "swift-args"
    kept.mkdir(parents=True)
    (kept / "x.json").write_text(json.dumps({"arguments": {name: encode(one) for name, one in ARGUMENTS_4_6.items()}}))
    work = tmp_path / "work"
    for name in ("ok.yaml", "other.yaml", "data.jsonl", "conf/deep.yaml"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text("{}")
    for run, name in (("20260101-000000-first-aaaa", "first"), ("20260102-000000-second-bbbb", "second")):
        (work / "runs" / run).mkdir(parents=True)
        (work / "runs" / run / "run.json").write_text(json.dumps({"name": name}))
    monkeypatch.setenv("SWIFT_FA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SWIFT_FA_ROOT", raising=False)
    monkeypatch.chdir(work)
    return work


def offered(line: str) -> list[str]:
    return [word for word, _ in offers(line, "en")]


@pytest.mark.parametrize(("line", "among"), [
    ("swift-fa ", {"train", "runs", "completion"}), ("swift-fa tr", {"train"}), ("swift-fa --v", {"--version"}),
    ("swift-fa train ", {"ok.yaml", "other.yaml", "conf/", "swift.", "launch."}), ("swift-fa train conf/", {"conf/deep.yaml"}),
    ("swift-fa train ok.yaml swift.per_dev", {"swift.per_device_train_batch_size="}), ("swift-fa train --no", {"--no-install"}),
    ("swift-fa train ok.yaml launch.", {"launch.gpus=", "launch.nproc_per_node="}),
    ("swift-fa train ok.yaml swanlab.mode=", {"swanlab.mode=cloud", "swanlab.mode=offline"}),
    ("swift-fa train ok.yaml 'swanlab.mode=", {"swanlab.mode=cloud"}),
    ("swift-fa train ok.yaml swift.packing=", {"swift.packing=true", "swift.packing=false"}),
    ("swift-fa train ok.yaml swift.truncation_strategy=r", {"swift.truncation_strategy=right"}),
    ("swift-fa train ok.yaml swift.dataset=d", {"swift.dataset=data.jsonl"}),
    ("swift-fa train ok.yaml run.monitor=", {"run.monitor=true"}),
    ("swift-fa train ok.yaml launch.gpus=a", {"launch.gpus=all", "launch.gpus=auto:2"}),
    ("swift-fa preflight ok.yaml --allow gpu-n", {"gpu-none"}), ("swift-fa preflight --lang=z", {"--lang=zh"}),
    ("swift-fa preflight --lang ", {"en", "zh"}), ("swift-fa explain swanlab-m", {"swanlab-missing"}),
    ("swift-fa show ", {"latest", "20260102-000000-second-bbbb"}), ("swift-fa diff latest fir", {"first"}),
    ("swift-fa rerun latest swift.see", {"swift.seed="}), ("swift-fa diagnose d", {"data.jsonl"}),
    ("swift-fa args learning_r", {"learning_rate"}), ("swift-fa completion z", {"zsh"}),
])
def test_what_is_offered(here: Path, line: str, among: set[str]) -> None:
    assert among <= {*offered(line)}


def test_runs_are_offered_from_where_commands_look_for_them(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "own" / "20260103-000000-third-cccc").mkdir(parents=True)
    remember_root(here / "own", here)
    (here / "runs").rename(here / "gone")
    assert offered("swift-fa show ") == ["latest", "20260103-000000-third-cccc"]
    assert "20260101-000000-first-aaaa" in offered("swift-fa show --root gone ")


def test_what_is_not_offered(here: Path) -> None:
    assert "data.jsonl" not in offered("swift-fa train ") and offered("swift-fa show latest ") == []
    assert offered("swift-fa nonsense ") == [] and offered("swift-fa train ok.yaml nothing.a=") == []
    assert offered("swift-fa show ")[1] == "20260102-000000-second-bbbb"  # the newest first


def test_an_offer_says_what_it_is(here: Path) -> None:
    assert dict(offers("swift-fa expl", "zh")) == {"explain": dict(offers("swift-fa expl", "zh"))["explain"]}
    assert "检查" in dict(offers("swift-fa expl", "zh"))["explain"]


def test_tab_is_quick(here: Path) -> None:
    """Of the processor, which others may hold: 0.15 s of it, on the machine where this was written."""
    before = os.times()
    for _ in range(3):
        subprocess.run([PROGRAM, "completion", "--line", "swift-fa train ok.yaml swift.per_dev"], check=True, capture_output=True)
    now = os.times()
    assert (now.children_user + now.children_system - before.children_user - before.children_system) / 3 < 1


# --- in the real shells ---

SHELLS = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"], "fish": ["fish", "--no-config", "-i"]}
LOADS = {"bash": 'eval "$(swift-fa completion bash)"', "zsh": 'eval "$(swift-fa completion zsh)"',
         "fish": "swift-fa completion fish | source"}
END = "tab-test-end"


def completed(shell: str, lines: Iterable[str], folder: Path) -> list[str]:
    """Each command line after Tab was pressed at its end in an interactive shell."""
    environment = {**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "TERM": "dumb", "HOME": str(folder.parent),
                   "XDG_CONFIG_HOME": str(folder.parent), "XDG_DATA_HOME": str(folder.parent), "LANG": "C.UTF-8"}
    process, screen = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execvpe(SHELLS[shell][0], SHELLS[shell], environment)
    try:
        type_line(screen, f"{LOADS[shell]}; echo load''ed\r", "loaded")
        made = []
        for line in lines:
            os.write(screen, line.encode() + b"\t")
            time.sleep(1)  # a key that comes while a shell completes may be lost
            made.append(type_line(screen, f"{END}\x01echo made: \r", END, twice=True))
        return made
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(screen)


def type_line(screen: int, keys: str, until: str, *, twice: bool = False) -> str:
    """Types, and reads until a text stands at the end of a line of output; the text before it on that line."""
    os.write(screen, keys.encode())
    seen, end = "", time.monotonic() + 60
    wanted = re.compile(rf"(?:^|[\r\n])made: (.*?){until}\s*[\r\n]" if twice else rf"[\r\n]({until})")
    while not (found := wanted.search(seen)):
        assert time.monotonic() < end, f"the shell has not said {until}: {seen[-2000:]!r}"
        if select.select([screen], [], [], 0.5)[0]:
            seen += re.sub(r"\x1b\[[\d;?]*[A-Za-z]|\x1b[()=>][B0]?", "", os.read(screen, 65536).decode(errors="replace"))
    return found[1]


BECOMES = {
    "swift-fa trai": "swift-fa train ",
    "swift-fa train ok.yaml swift.per_device_tr": "swift-fa train ok.yaml swift.per_device_train_batch_size=",
    "swift-fa train ok.yaml swanlab.mode=off": "swift-fa train ok.yaml swanlab.mode=offline ",
    "swift-fa train ok": "swift-fa train ok.yaml ",
    "swift-fa show 20260101": "swift-fa show 20260101-000000-first-aaaa ",
    "swift-fa train ok.yaml launch.gpus=auto:8": "swift-fa train ok.yaml launch.gpus=auto:8 ",
    "swift-fa preflight --allow swanlab-mis": "swift-fa preflight --allow swanlab-missing ",
}


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_shell_completes(here: Path, shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"needs {shell}")
    assert completed(shell, BECOMES, here) == [*BECOMES.values()]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_script_is_printed(here: Path, shell: str) -> None:
    done = subprocess.run([PROGRAM, "completion", shell], capture_output=True, text=True, check=True)
    assert done.stdout == SCRIPTS[shell]


def test_a_shell_that_is_none(here: Path) -> None:
    done = subprocess.run([PROGRAM, "completion", "tcsh"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "bash" in done.stderr
    done = subprocess.run([PROGRAM, "completion"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "swift-fa completion zsh" in done.stderr
