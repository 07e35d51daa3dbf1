"""SwanLab's login, settings files and habits, from files as SwanLab writes them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

import pytest
from packaging.version import Version

from swift_fa_launcher.decode import Unknown
from swift_fa_launcher.machine.swanlab_login import (
    Login,
    find_login,
    key_shape,
    make_swanlab,
    read_get_run,
    read_settings,
)

KEY = "0123456789abcdefghijK"
NEW, OLD = ({"version": Version(v), "module": None} for v in ("0.10.3", "0.6.8"))


def save_login(folder: Path, machine: str = "https://api.swanlab.cn", login: str = "https://swanlab.cn", key: str = KEY) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".netrc").write_text(f"machine {machine}\n\tlogin {login}\n\tpassword {key}\n")


def test_the_environment_comes_first_and_its_quotes_are_not_part_of_the_key(tmp_path: Path) -> None:
    save_login(tmp_path / ".swanlab")
    login = find_login({"HOME": str(tmp_path), "SWANLAB_API_KEY": f'"{KEY[::-1]}"'}, tmp_path, None)
    assert (login.source, login.key, login.server) == ("env", KEY[::-1], None)
    assert KEY[::-1] not in repr(login) and KEY[::-1] not in str(make_swanlab(login, {}, tmp_path, None))


@pytest.mark.parametrize("place", ["home", "folder", "root", "save_dir"])
def test_a_saved_login_is_found_where_swanlab_keeps_it(tmp_path: Path, place: str) -> None:
    home, folder, other = tmp_path / "home", tmp_path / "work", tmp_path / "other"
    folder.mkdir()
    save_login({"home": home / ".swanlab", "folder": folder / ".swanlab"}.get(place, other))
    environment = {"HOME": str(home)} | {"root": {"SWANLAB_ROOT": str(other)}, "save_dir": {"SWANLAB_SAVE_DIR": str(other)}
                                         }.get(place, {})
    login = find_login(environment, folder, None)
    assert (login.source, login.key, login.server) == ("login", KEY, "https://api.swanlab.cn")


def test_a_login_to_another_server_does_not_count(tmp_path: Path) -> None:
    save_login(tmp_path / ".swanlab", "https://swanlab.lab.example/api")
    environment = {"HOME": str(tmp_path)}
    assert find_login(environment, tmp_path, "https://api.swanlab.cn").source is None
    assert find_login(environment, tmp_path, "swanlab.lab.example").source == "login"
    assert find_login(environment | {"SWANLAB_API_HOST": "http://127.0.0.1:1"}, tmp_path, None).source is None


@pytest.mark.parametrize("content", ["", "machine", "machine a login b", "\x00\xff", "machine h login l password\n"])
def test_a_damaged_login_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / ".swanlab").mkdir()
    (tmp_path / ".swanlab" / ".netrc").write_bytes(content.encode("latin-1"))
    assert find_login({"HOME": str(tmp_path)}, tmp_path, None) == Login(None, None)


def test_a_key_in_a_settings_file_is_a_login_too(tmp_path: Path) -> None:
    (tmp_path / "swanlab.yaml").write_text("api_key: x\n")
    assert find_login({"HOME": str(tmp_path)}, tmp_path, None).source == "login"


def test_shapes() -> None:
    assert key_shape(KEY, None) == "ok" and key_shape(KEY, "https://api.swanlab.cn/") == "ok"
    for wrong in (KEY[:-1], KEY + "x", KEY[:-1] + " ", KEY[:-1] + "'", "你" * 21):
        assert key_shape(wrong, None) == "malformed"
    assert key_shape("another-form-of-key", "https://swanlab.lab.example") == "ok"
    assert key_shape("with space", "https://swanlab.lab.example") == "malformed"


def test_settings_files_that_win_over_the_environment(tmp_path: Path) -> None:
    (tmp_path / "swanlab.yaml").write_text("# mode: x\nmode: offline\nproject:\n  name: p\nother: 1\n")
    (tmp_path / ".env").write_text("FOO=1\nexport swanlab_API_HOST = http://x\n")
    (tmp_path / ".swanlab").mkdir()
    (tmp_path / ".swanlab" / "config.yaml").write_text("mode: local\n")  # the environment wins over this one
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "site.yml").write_text("api_host: http://x\n")
    environment = {"HOME": str(tmp_path / "home"), "SWANLAB_CONFIG_DIR": str(tmp_path / "etc")}
    assert make_swanlab(Login(None, None), environment, tmp_path, NEW).stray_settings == (
        "swanlab.yaml", ".env", str(tmp_path / "etc" / "site.yml"))
    assert make_swanlab(Login(None, None), environment, tmp_path, OLD).stray_settings == ()
    assert read_settings(tmp_path / "swanlab.yaml") == {"mode", "project"}


def test_files_that_say_nothing_to_swanlab_are_not_stray(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HF_TOKEN=x\n# SWANLAB_MODE=local\n")
    (tmp_path / "swanlab.yaml").write_text("unrelated: 1\n")
    assert make_swanlab(Login(None, None), {"HOME": str(tmp_path)}, tmp_path, NEW).stray_settings == ()


NEW_SOURCE = '''
def get_run() -> Run:
    """Get it.

    :raises RuntimeError: If no run is currently active.
    """
    if _current_run is None:
        raise RuntimeError("No active Run.")
    return _current_run


def set_run(run): ...
'''
OLD_SOURCE = '''
def get_run() -> Optional["SwanLabRun"]:
    """Or None."""
    return run


def other():
    raise ValueError
'''


@pytest.mark.parametrize(("place", "source", "answer"), [
    ("sdk/internal/run/__init__.py", NEW_SOURCE, "raises"), ("data/run/main.py", OLD_SOURCE, "none")])
def test_get_run_by_its_source(tmp_path: Path, place: str, source: str, answer: str) -> None:
    file = tmp_path / place
    file.parent.mkdir(parents=True)
    file.write_text(source)
    assert read_get_run(tmp_path / "__init__.py") == answer


def test_get_run_where_it_cannot_be_seen(tmp_path: Path) -> None:
    assert read_get_run(None) is None
    assert isinstance(read_get_run(tmp_path / "__init__.py"), Unknown)


@pytest.mark.stack
def test_get_run_of_the_installed_swanlab() -> None:
    spec = importlib.util.find_spec("swanlab")
    assert spec and spec.origin
    expected = "raises" if Version(importlib.metadata.version("swanlab")) >= Version("0.8.0") else "none"
    assert read_get_run(Path(spec.origin)) == expected
