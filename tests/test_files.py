"""Files that are written whole, on a disk that fails and by a process that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swift_fa_launcher.files import keep_answer, kept_answer, kind_of, read_bounded, read_json, text_of, write_whole

WRITER = """
import sys
from pathlib import Path
from swift_fa_launcher.files import write_whole
n = 0
print("begun", flush=True)
while True:
    write_whole(Path(sys.argv[1]), str(n % 10) * 200_000)
    n += 1
"""


def test_it_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    for text in ("one", "two\udcff"):
        write_whole(file, text, durable=True)
    assert file.read_text() == "two\\udcff" and os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_the_users_umask_holds(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "a", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


def test_what_fails_leaves_the_old_one_and_no_litter(tmp_path: Path) -> None:
    taken = tmp_path / "folder"
    (taken / "inside").mkdir(parents=True)
    with pytest.raises(OSError):
        write_whole(taken, "text")
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(taken) == ["inside"]
    with pytest.raises(OSError):
        write_whole(tmp_path / "gone" / "a", "text")


def test_an_answer_that_cannot_be_kept_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    keep_answer(tmp_path / "file" / "cache" / "a.json", {"a": 1})
    place, source = tmp_path / "cache" / "a.json", tmp_path / "file"
    keep_answer(place, {"a": 1}, [str(source)])
    assert kept_answer(place, lambda answer: answer["a"]) == 1
    source.write_text("changed")
    assert kept_answer(place, lambda answer: answer["a"]) is None
    for damaged in ("", "[]", "{}", "[" * 100_000):
        place.write_text(damaged)
        assert kept_answer(place, lambda answer: answer["a"]) is None


def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "a"
    for moment in range(8):
        with subprocess.Popen([sys.executable, "-c", WRITER, file], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None and writer.stdout.readline()
            time.sleep(0.02 + 0.013 * moment)
            os.kill(writer.pid, signal.SIGKILL)
        text = file.read_text()
        assert len(text) == 200_000 and len(set(text)) == 1


def test_pipes_and_devices_are_told_from_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    os.symlink("loop", tmp_path / "loop")
    kinds = {name: kind_of(tmp_path / name) for name in ("pipe", "file", "loop", ".")}
    assert kinds == {"pipe": "special", "file": "file", "loop": "missing", ".": "dir"} and kind_of("/dev/zero") == "special"
    assert read_json(tmp_path / "pipe") is None and text_of(tmp_path / "pipe") == ""  # and nobody waits


def test_what_is_read_has_a_bound(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 5000)
    assert read_bounded(tmp_path / "file", 5000) == b"x" * 5000
    with pytest.raises(OSError, match="larger"):
        read_bounded(Path("/dev/zero"), 1 << 20)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="nothing came"):
        read_bounded(tmp_path / "pipe", 100, patience=0.05)
    with subprocess.Popen(["sh", "-c", "sleep 0.2; printf abc; sleep 0.2; printf def"], stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert read_bounded(Path(f"/proc/self/fd/{child.stdout.fileno()}"), 100) == b"abcdef"
