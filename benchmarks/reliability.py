"""How the launcher stands what goes wrong: refusals of the system at every place, and kills at random moments.

    python benchmarks/reliability.py [--only faults,kills,installs] [--share 1.0] [--out reliability.json]

faults: each command of COMMANDS runs once for every place where it asks the system for something, and that one call is refused
(tests/faults.py); once for each of ERRORS. kills: commands are ended with INT, TERM, HUP and KILL at random moments; then every
process that carries their mark is looked for, and the records are read. installs: the tests that kill installations, with as many
kills. share: of the kills, to try it. Takes an hour on two cores; needs ms-swift, and works in a temporary folder.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))

import faults  # noqa: E402
import tiny  # noqa: E402
from stand_in import make_stage  # noqa: E402

ERRORS = (errno.EIO, errno.EACCES, errno.ENOSPC, errno.ESTALE)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
COMMANDS = (
    "train c.yaml", "train c.yaml --dry-run", "preflight c.yaml", "config c.yaml --explain", "args", "explain torch-missing",
    "install --dry-run --index .", "rerun one --root runs --dry-run", "resume one --root runs --dry-run", "runs --root runs",
    "show one --root runs", "diff one two --root runs", "compare one two --root runs", "diagnose one --root runs",
    "report one two --root runs --out made", "pack one made --root runs", "unpack one.tar.gz --out made",
    "prune --outcome failed --root runs", "tag one a --root runs", "note one text --root runs", "import s.sh",
    "import s.sh --out made", "init made --model M --dataset D", "schema --out made", "completion bash",
    "sweep c.yaml swift.lora_rank=8,16")
WRITING = {"train c.yaml", "sweep c.yaml swift.lora_rank=8,16"}  # what adds records
SCRIPT = "export A=1\nswift sft --model m --dataset d --lora_rank 8\n"
#: A training that takes its time over start, steps and end.
SLOW = """
import pathlib, time
time.sleep(0.3)
out = pathlib.Path("output/v0").absolute()
(out / "checkpoint-2").mkdir(parents=True, exist_ok=True)
print(f"[INFO:swift] output_dir: {out}", flush=True)
for i in range(1, 21):
    print({"loss": f"1.{i}", "grad_norm": "0.5", "global_step/max_steps": f"{i}/20"}, flush=True)
    time.sleep(0.05)
print("[INFO:swift] End time of running main: 2026-11-27", flush=True)
time.sleep(0.3)
"""
#: name, words, kills, and whether ms-swift itself trains.
KILLED = (
    ("train, a stand-in for ms-swift", "train c.yaml", 100, False),
    ("sweep of two", "sweep c.yaml swift.lora_rank=8,16", 40, False),
    ("preflight", "preflight c.yaml", 20, False), ("pack", "pack one made --root runs", 20, False),
    ("import", "import s.sh --out made", 20, False), ("train, ms-swift itself, SwanLab offline", "train real.yaml", 40, True),
    ("rehearse, ms-swift itself", "rehearse real.yaml", 20, True))
MARK = "SWIFT_FA_RELIABILITY"
SETTLES = 20.0  # seconds that a killed command's processes may take to end


def launch(words: str, mark: str = "") -> subprocess.Popen[bytes]:
    environment = {**os.environ, "LANG": "C", **({MARK: mark} if mark else {})}
    return subprocess.Popen([sys.executable, "-m", "swift_fa_launcher", *words.split()], env=environment, start_new_session=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def marked(mark: str) -> list[int]:
    """The living processes that carry it."""
    wanted, found = f"\0{MARK}={mark}\0".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            if wanted in b"\0" + (folder / "environ").read_bytes() and \
                    (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.append(int(folder.name))
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def make_runs(work: Path) -> None:
    for name in ("one", "two"):
        assert launch(f"train c.yaml run.name={name}").wait() in (0, 7)
    (work / "s.sh").write_text(SCRIPT)
    assert launch("pack one one.tar.gz --root runs").wait() == 0
    shutil.copytree(work / "runs", work / "as-it-was", symlinks=True)


def as_it_was(work: Path) -> None:
    shutil.rmtree(work / "runs", ignore_errors=True)
    shutil.copytree(work / "as-it-was", work / "runs", symlinks=True)
    shutil.rmtree(work / "made", ignore_errors=True)
    (work / "made").unlink(missing_ok=True)


def walk(work: Path) -> Iterator[dict[str, Any]]:
    """Every place of every command."""
    for line in COMMANDS:
        as_it_was(work)
        places, told = faults.places(line.split()), []
        as_it_was(work)
        before, count = contents(work / "runs"), 0
        for number in ERRORS:
            for at in places:
                ended = faults.with_fault(line.split(), at, number)
                count += 1
                after = contents(work / "runs")
                wrong = [word for word, is_wrong in (
                    ("exit code", ended.code not in (0, 1, 2, 7)), ("traceback", "Traceback" in ended.said),
                    ("a bug", "bug in swift-fa" in ended.said), ("a record lost", bool(before.keys() - after.keys())),
                    ("a draft left", any(Path(name).parts[0].startswith(".") for name in after)),
                    ("half a record", any(Path(name).name == "run.json" and not is_json(text) for name, text in after.items())),
                    ("a record too many", line not in WRITING and bool(after.keys() - before.keys()))) if is_wrong]
                if wrong:
                    told.append(f"{', '.join(wrong)}: {errno.errorcode[number]} at {at.module}:{at.line} {at.call}")
                if after != before:
                    as_it_was(work)
        yield {"command": line, "places": len(places), "faults": count, "wrong": told}


def is_json(text: bytes) -> bool:
    try:
        return bool(json.loads(text))
    except ValueError:
        return False


def kill(work: Path, share: float) -> Iterator[dict[str, Any]]:
    chance = random.Random(17)
    for name, words, count, real in KILLED:
        as_it_was(work)
        began = time.monotonic()
        launch(words).communicate()
        whole = time.monotonic() - began
        told: list[str] = []
        for which in range(max(1, round(count * share))):
            as_it_was(work)
            mark, number = uuid.uuid4().hex, SIGNALS[which % len(SIGNALS)]
            process = launch(words, mark)
            after = chance.random() * whole
            with suppress(subprocess.TimeoutExpired):
                process.wait(after)
            process.send_signal(number)
            said, _ = process.communicate()
            until = time.monotonic() + SETTLES
            while (left := marked(mark)) and time.monotonic() < until:
                time.sleep(0.05)
            wrong = wrong_after_kill(work, left, said)
            if wrong:
                told.append(f"{', '.join(wrong)}: {number.name} after {after:.2f} s")
            for pid in left:  # those with our mark alone
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        yield {"command": name, "kills": max(1, round(count * share)), "whole_seconds": whole, "real": real, "wrong": told}


def wrong_after_kill(work: Path, left: list[int], said: bytes) -> list[str]:
    """After the next command, which writes what a killed launcher could not."""
    listed = launch("runs --root runs --json")
    answer, _ = listed.communicate()
    runs = json.loads(answer)["runs"] if is_json(answer) else []
    drafts = [name for name in os.listdir(work / "runs") if name.startswith(".")]
    folders = [name for name in os.listdir(work / "runs") if (work / "runs" / name).is_dir() and not name.startswith(".")]
    return [word for word, is_wrong in (
        (f"{len(left)} processes left", bool(left)), ("traceback", b"swift_fa_launcher" in said.partition(b"Traceback (most")[2]),
        ("runs failed", listed.returncode != 0), ("a record lost", len(runs) != len(folders)), (f"left {drafts}", bool(drafts)),
        ("an end without a word", any(run["state"] in ("running", None) for run in runs))) if is_wrong]


def install(share: float) -> dict[str, Any]:
    kills = max(3, round(100 * share))
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "random_moments or nobody_sees",
                           str(TESTS / "wheels" / "test_install.py")], capture_output=True, text=True, check=False,
                          env={**os.environ, "SWIFT_FA_KILLS": str(kills)})
    return {"kills": kills + 2 * (kills // 3), "said": done.stdout.strip().splitlines()[-1], "code": done.returncode}


def render(found: dict[str, Any]) -> str:
    """The tables of docs/reliability.md."""
    lines = []
    if walked := found.get("faults"):
        lines += ["| command | places | faults | not as it should be |", "|---|---:|---:|---|"]
        lines += [f"| `{one['command']}` | {one['places']} | {one['faults']} | {'; '.join(one['wrong']) or '0'} |"
                  for one in walked]
        lines += [f"| together | {sum(one['places'] for one in walked)} | {sum(one['faults'] for one in walked)} | "
                  f"{sum(len(one['wrong']) for one in walked)} |", ""]
    if killed := found.get("kills"):
        lines += ["| killed | kills | not as it should be |", "|---|---:|---|"]
        lines += [f"| {one['command']} | {one['kills']} | {'; '.join(one['wrong']) or '0'} |" for one in killed]
        lines += [f"| together | {sum(one['kills'] for one in killed)} | {sum(len(one['wrong']) for one in killed)} |", ""]
    if installs := found.get("installs"):
        lines += [f"Installs: {installs['kills']} kills; {installs['said']}", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="faults,kills,installs")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=Path("reliability.json"))
    given = parser.parse_args()
    out, found = given.out.absolute(), dict[str, Any]()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.environ["SWIFT_FA_CACHE"] = str(work / "cache")
        os.chdir(work)
        for part in given.only.split(","):
            if part == "installs":
                found[part] = install(given.share)
                print(found[part], flush=True)
                continue
            for name in ("runs", "as-it-was", "venv", tiny.MODEL_NAME):
                shutil.rmtree(work / name, ignore_errors=True)
            make_stage(work, *((SLOW,) if part == "kills" else ()))
            (work / "real.yaml").write_text(tiny.CPU_LORA.format(folder=work) + "\n  max_steps: 5\n  logging_steps: 1\n"
                                            "  output_dir: out\nswanlab: {mode: offline}\nrun: {name: real, root: runs}\n"
                                            "launch: {grace: 5}\n")
            make_runs(work)
            found[part] = []
            for one in walk(work) if part == "faults" else kill(work, given.share):
                found[part].append(one)
                print(one, flush=True)
                out.write_text(json.dumps(found, indent=1) + "\n")
        out.write_text(json.dumps(found, indent=1) + "\n")
    print(render(found))


if __name__ == "__main__":
    main()
