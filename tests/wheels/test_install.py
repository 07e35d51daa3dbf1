"""Installations into real virtual environments: whatever happens, the old one or the new one is there and works."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from wheel_factory import compile_extension, flash_attn_wheel, make_wheel, module_source, sha256

from swift_fa_launcher.errors import InstallError, render_words
from swift_fa_launcher.machine.facts import Facts, Python
from swift_fa_launcher.stories.install import recover
from swift_fa_launcher.wheels.install import (
    FOLDER,
    SETTLED,
    NotRunning,
    install_wheel,
    read_receipt,
    recover_environment,
)

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("SWIFT_FA_KILLS", "30"))  # benchmarks/reliability.py asks for more


class Target:
    """A virtual environment of its own, and what is in it."""

    def __init__(self, template: Path, folder: Path) -> None:
        shutil.copytree(template, folder, symlinks=True)
        self.use(folder)

    def use(self, folder: Path) -> None:
        self.python = str(folder / "bin" / "python")
        self.site = next((folder / "lib").glob("python3*")) / "site-packages"
        self.environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"}

    def install(self, wheel: Path, **options):
        return install_wheel(wheel, self.python, environment=self.environment, timeout=20.0, **options)

    def run(self, code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.python, "-B", "-c", code], env=self.environment, cwd="/", capture_output=True, text=True,
                              check=False)

    @property
    def version(self) -> str:
        """The version that imports, "none" where nothing is there; a traceback's last line where it is broken."""
        done = self.run("import importlib.util as u, importlib.metadata as m\n"
                        "if u.find_spec('flash_attn') is None: print('none')\n"
                        "else:\n import flash_attn; assert flash_attn.__version__ == m.version('flash-attn')\n"
                        " print(flash_attn.__version__)")
        return done.stdout.strip() or done.stderr.strip().splitlines()[-1]

    def snapshot(self) -> dict[str, tuple[int, bytes | str]]:
        """Every file of the environment's packages but compiled caches and the launcher's own folder."""
        return {str(path.relative_to(self.site)): (path.lstat().st_mode, os.readlink(path) if path.is_symlink()
                                                   else path.read_bytes())
                for path in self.site.rglob("*") if (path.is_file() or path.is_symlink())
                and "__pycache__" not in path.parts and path.relative_to(self.site).parts[0] != FOLDER}

    def leftovers(self) -> list[str]:
        return sorted(path.name for path in (self.site / FOLDER).iterdir() if path.name not in ("lock", "receipt.json"))


@pytest.fixture
def target(template, tmp_path):
    return Target(template, tmp_path / "venv")


@pytest.fixture(scope="session")
def extension(tmp_path_factory):
    return compile_extension(tmp_path_factory.mktemp("c"), module_source("flash_attn_2_cuda"), "flash_attn_2_cuda")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory, extension):
    """(old, new): two versions with a compiled module, some modules of their own and some in common."""
    folder = tmp_path_factory.mktemp("wheels")

    def make(version: str, *only: str) -> Path:
        files = {f"flash_attn/part{i}.py": f"VERSION = {version!r}\n" for i in range(30)}
        files |= {"flash_attn_2_cuda.so": extension, **{f"flash_attn/{name}.py": "" for name in only}}
        body = "import flash_attn_2_cuda\nfrom . import part0, part29\nassert part0.VERSION == part29.VERSION == __version__"
        return flash_attn_wheel(folder, version, body=body, files=files)
    return make("2.7.4", "only_old"), make("2.8.3", "only_new", "extra/deep")


def why(error: pytest.ExceptionInfo[InstallError]) -> str:
    return render_words(error.value.why, "en")


def test_into_an_empty_environment(target, wheels):
    receipt = target.install(wheels[1], url="https://host/wheel", proven=("sha256", "contents"))
    assert target.version == "2.8.3" and not target.leftovers()
    assert (receipt.filename, receipt.url, receipt.sha256) == (wheels[1].name, "https://host/wheel", sha256(wheels[1]))
    assert receipt.proven == ("sha256", "contents", "import")
    assert read_receipt(target.site) == receipt
    info = target.site / "flash_attn-2.8.3.dist-info"
    assert wheels[1].name in json.loads((info / "direct_url.json").read_text())["url"]
    assert target.run("import sys; from pip._internal.cli.main import main; sys.exit(main(['check']))").returncode == 0


def test_the_new_one_replaces_the_old_one_whole(target, wheels):
    target.install(wheels[0])
    target.install(wheels[1])
    assert target.version == "2.8.3"
    assert not (target.site / "flash_attn" / "only_old.py").exists()
    assert [path.name for path in target.site.glob("flash_attn*.dist-info")] == ["flash_attn-2.8.3.dist-info"]


def test_the_same_again_is_a_check_only(target, wheels):
    first = target.install(wheels[1])
    assert target.install(wheels[1]) == first
    (target.site / "flash_attn" / "part7.py").write_text("broken = ")
    assert target.install(wheels[1]).attempt != first.attempt  # damaged since: installed anew
    assert target.version == "2.8.3"


@pytest.mark.parametrize(("body", "told"), [
    ("raise ImportError('undefined symbol: _ZN3c10')", "undefined symbol: _ZN3c10"),
    ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
    ("import time; time.sleep(60)", "no answer within"),
    ("import sys; sys.exit(0)", "SystemExit"),
], ids=["raises", "crashes", "hangs", "exits"])
def test_one_that_does_not_import_leaves_the_old_one(target, wheels, tmp_path, body, told):
    target.install(wheels[0])
    before = target.snapshot()
    bad = flash_attn_wheel(tmp_path, "2.9.0", body=body)
    with pytest.raises(InstallError) as error:
        install_wheel(bad, target.python, environment=target.environment, timeout=1.5 if "sleep" in body else 20.0)
    assert "not imported" in str(error.value) and told in why(error)
    assert target.snapshot() == before and target.version == "2.7.4" and not target.leftovers()
    assert read_receipt(target.site).version == "2.7.4"


def test_one_that_imports_only_outside_of_the_environment(target, wheels, tmp_path):
    """In the staging folder it works, in its place it does not: the old one comes back."""
    target.install(wheels[0])
    before = target.snapshot()
    bad = flash_attn_wheel(tmp_path, "2.9.0", body="assert 'stage' in __file__, 'not here'")
    with pytest.raises(InstallError) as error:
        target.install(bad)
    assert "not here" in why(error) and target.snapshot() == before and not target.leftovers()


def test_a_failed_probe_brings_the_old_one_back(target, wheels):
    target.install(wheels[0])
    before, seen = target.snapshot(), []

    def probe(more):
        seen.append(target.version)
        target.environment |= more
        seen.append(target.version)
        del target.environment[next(iter(more))]
        return "no kernel image is available"
    with pytest.raises(InstallError) as error:
        target.install(wheels[1], probe=probe)
    assert seen == ["2.7.4", "2.8.3"] and "no kernel image" in why(error)
    assert target.snapshot() == before and target.version == "2.7.4" and not target.leftovers()
    assert target.install(wheels[1], probe=lambda more: None).proven[-1] == "probe"


def test_files_of_another_distribution_stay(target, wheels, tmp_path):
    """flash-attn-4 lives in flash_attn/cute, where flash-attn has files of the same names."""
    other = make_wheel(tmp_path, "flash_attn_4-4.0.0-py3-none-any.whl", {"flash_attn/cute/interface.py": "FOUR = True\n"},
                       name="flash_attn_4", version="4.0.0")
    subprocess.run([target.python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", other], check=True)
    mine = flash_attn_wheel(tmp_path, "2.8.3", files={"flash_attn/cute/interface.py": "TWO = True\n",
                                                      "flash_attn/cute/mask.py": ""})
    target.install(mine)
    assert "FOUR" in (target.site / "flash_attn/cute/interface.py").read_text()
    assert (target.site / "flash_attn/cute/mask.py").exists() and target.version == "2.8.3"
    target.install(wheels[0])
    assert "FOUR" in (target.site / "flash_attn/cute/interface.py").read_text()
    assert not (target.site / "flash_attn/cute/mask.py").exists() and target.version == "2.7.4"


def test_one_shadowed_by_a_checkout_on_the_path_is_not_called_installed(target, wheels, tmp_path):
    shadow = tmp_path / "checkout" / "flash_attn"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("__version__ = 'mine'")
    (target.site / "checkout.pth").write_text(f"import sys; sys.path.insert(0, {str(shadow.parent)!r})\n")
    before = target.snapshot()
    with pytest.raises(InstallError) as error:
        target.install(wheels[1])
    assert str(shadow) in why(error) and target.snapshot() == before


def test_einops_is_looked_after(target, tmp_path):
    links = tmp_path / "links"
    links.mkdir()
    needs = make_wheel(tmp_path, "flash_attn-2.8.3-py3-none-any.whl",
                       {"flash_attn/__init__.py": "__version__ = '2.8.3'", "flash_attn/bert_padding.py": "import einops\n"},
                       requires=("torch", "einops"))
    target.environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(links), "UV_OFFLINE": "1", "UV_FIND_LINKS": str(links)}
    with pytest.raises(InstallError) as error:
        target.install(needs)
    assert not isinstance(error.value, NotRunning), "the next wheel would lack it too"
    assert "No module named 'einops'" in why(error) and str(error.value).endswith("could not be installed: einops")
    assert f"{target.python} -m pip install einops" in error.value.hint and target.version == "none"
    make_wheel(links, "einops-0.8.0-py3-none-any.whl", {"einops/__init__.py": ""}, name="einops", version="0.8.0")
    assert target.install(needs).warnings == () and target.version == "2.8.3"
    assert (target.site / "einops").is_dir()


def test_without_a_network_what_lies_beside_the_wheel_is_taken(target, tmp_path):
    """Also more than einops: what that needs in its turn comes too, and what is there is not replaced."""
    carried = tmp_path / "carried"
    needs = make_wheel(carried, "flash_attn_4-4.0.0b9-py3-none-any.whl", {"flash_attn/cute/__init__.py": "import dsl, einops"},
                       name="flash_attn_4", version="4.0.0b9", requires=("torch", "einops", "dsl>=2", 'no; extra == "dev"'))
    for name, version, requires in (("einops", "0.8.0", ()), ("dsl", "2.1", ("core", "there>=1")), ("dsl", "1.0", ()),
                                    ("core", "3", ()), ("there", "2", ())):
        inside = f"dsl/packages/{name}/__init__.py" if name == "dsl" else f"{name}/__init__.py"
        hook = {"dsl.pth": "dsl/packages\n"} if name == "dsl" else {}
        make_wheel(carried, f"{name}-{version}-py3-none-any.whl", {inside: "", **hook}, name=name, version=version,
                   requires=requires)
    make_wheel(tmp_path, "there-1-py3-none-any.whl", {"there/__init__.py": ""}, name="there", version="1")
    subprocess.run([target.python, "-m", "pip", "install", "-q", "--no-index", tmp_path / "there-1-py3-none-any.whl"], check=True)
    target.environment |= {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "UV_INDEX_URL": "http://127.0.0.1:9/simple"}
    assert target.install(needs).warnings == ()
    shown = target.run("import flash_attn.cute, importlib.metadata as m\nprint(*map(m.version, ('dsl', 'core', 'there')))")
    assert shown.stdout.split() == ["2.1", "3", "1"], shown.stderr


@pytest.mark.skipif(not shutil.which("uv"), reason="uv is not on the PATH")
def test_with_uv_where_it_is_there(target, wheels):
    target.install(wheels[0])  # PATH of the launcher has uv, that of the training does not
    assert (target.site / "flash_attn-2.7.4.dist-info" / "INSTALLER").read_text() == "uv"
    target.install(wheels[1])
    assert target.version == "2.8.3"


# ---------------------------------------------------------------------------------------------- the world is against us

INSTALL = """
import json, os, resource, sys
from pathlib import Path
from swift_fa_launcher.errors import InstallError
from swift_fa_launcher.wheels.install import install_wheel
wheel, python, environment, limit = sys.argv[1:]
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    receipt = install_wheel(Path(wheel), python, environment=json.loads(environment), timeout=20.0,
                            say=lambda words: print(words.en, flush=True))
    print("installed by", receipt.attempt)
except InstallError as error:
    sys.exit(f"{error}: {error.why}")
"""


def start_install(target: Target, wheel: Path, limit: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", INSTALL, wheel, target.python, json.dumps(target.environment), str(limit)],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def test_two_at_once(target, wheels):
    processes = [start_install(target, wheels[1]) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len({output.splitlines()[-1] for output in outputs}) == 1 and any("waiting" in output for output in outputs)
    assert target.version == "2.8.3" and not target.leftovers()


def test_disk_full_by_a_file_size_limit(target, wheels, tmp_path):
    target.install(wheels[0])
    before = target.snapshot()
    large = flash_attn_wheel(tmp_path, "2.9.0", padding=3_000_000)
    process = start_install(target, large, limit=1_000_000)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "the disk is full" in output and "Traceback" not in output
    assert target.snapshot() == before and target.version == "2.7.4" and not target.leftovers()


@contextmanager
def mounted(where: Path, *options: str):
    """A file system mounted on `where` while the block runs; skips the test where that is not allowed."""
    where.mkdir(exist_ok=True)
    if os.geteuid() or subprocess.run(["mount", *options, where], check=False, capture_output=True).returncode:
        pytest.skip(f"mount {options[1]} needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", where], check=True)


@pytest.mark.parametrize("spare", [0, 16, 64, 200, 400])
def test_disk_really_full(template, wheels, tmp_path, spare):
    """From not a block free to just too few for the wheel: `spare` KiB are left."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=80m", "tmpfs"):
        target = Target(template, tmp_path / "disk" / "venv")
        target.install(wheels[0])
        before = target.snapshot()
        free = shutil.disk_usage(tmp_path / "disk").free
        filler = tmp_path / "disk" / "filler"
        with filler.open("wb") as stream:
            stream.write(bytes(free - spare * 1024))
        large = flash_attn_wheel(tmp_path, "2.9.0", padding=500_000)
        process = start_install(target, large)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 1 and "the disk is full" in output and "Traceback" not in output, output
        assert target.snapshot() == before and target.version == "2.7.4" and not target.leftovers()
        filler.unlink()
        target.install(large)
        assert target.version == "2.9.0"


def test_no_permission_to_write(target, wheels):
    before = target.snapshot()
    if os.geteuid():
        target.site.chmod(0o555)
        with pytest.raises(InstallError, match="cannot be written"):
            target.install(wheels[1])
        target.site.chmod(0o755)
    else:
        with mounted(target.site, "--bind", str(target.site)):
            subprocess.run(["mount", "-o", "remount,ro,bind", target.site], check=True)
            with pytest.raises(InstallError, match="cannot be written"):
                target.install(wheels[1])
    assert target.snapshot() == before


def test_an_externally_managed_python_is_left_alone(wheels, tmp_path):
    python = "/usr/bin/python3"
    if not any(Path("/usr/lib").glob("python3*/EXTERNALLY-MANAGED")) or not Path(python).exists():
        pytest.skip("this system's own Python has no PEP 668 marker")
    with pytest.raises(InstallError, match="operating system"):
        install_wheel(wheels[1], python, environment={"HOME": str(tmp_path)})


def test_an_interpreter_that_does_not_answer(target, wheels, tmp_path):
    with pytest.raises(InstallError, match="does not answer"):
        install_wheel(wheels[1], str(tmp_path / "absent"), environment=target.environment)
    with pytest.raises(InstallError, match="does not answer"):
        install_wheel(wheels[1], "/bin/false", environment=target.environment)


def kill_all(process: subprocess.Popen[str], *, children: bool) -> None:
    """SIGKILL to the installing process, and to what it started; the moment is when it stops."""
    family: list[psutil.Process] = []
    process.send_signal(signal.SIGSTOP)
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True) if children else []
    process.kill()
    for child in family:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    process.communicate()


def wait_for_change(target: Target, process: subprocess.Popen[str]) -> None:
    """Until the journal names what is about to change places."""
    journal = target.site / FOLDER / "journal.json"
    while process.poll() is None:
        try:
            if '"name"' in journal.read_text():
                return
        except OSError:
            pass


def test_killed_at_random_moments(target, wheels):
    """A third of the moments anywhere from start to end, a third within milliseconds of the exchange, a third after it."""
    whole = {}
    for wheel, version in zip(wheels, ("2.7.4", "2.8.3"), strict=True):
        began = time.monotonic()
        target.install(wheel)
        took = time.monotonic() - began
        whole[version] = target.snapshot()
    chance = random.Random(4)
    undone, version = 0, "2.8.3"
    for kill in range(KILLS):
        process = start_install(target, wheels[0] if version == "2.8.3" else wheels[1])
        if kill % 3:
            wait_for_change(target, process)
            time.sleep(SETTLED + chance.random() ** 3 * 0.004 if kill % 3 == 1 else chance.random() * 1.5)
        else:
            time.sleep(chance.random() * (took + 0.3))
        kill_all(process, children=kill % 4 < 3)
        assert target.version in whole, f"broken right after kill {kill}"
        undone += recover_environment(target.site)
        now = target.snapshot()
        version = next((version for version in whole if whole[version] == now), "")
        assert version, f"neither the old nor the new one after kill {kill}"
        assert read_receipt(target.site).version == version
    assert target.version == version and undone > KILLS // 3, undone
    deadline = time.monotonic() + 10
    while recover_environment(target.site) and time.monotonic() < deadline:
        time.sleep(0.2)  # an orphaned unpacking may still be writing
    assert not target.leftovers()


@contextmanager
def watched(target: Target) -> Iterator[set[str]]:
    """What an interpreter that starts sees of flash-attn, asked over and over meanwhile."""
    seen: set[str] = set()
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            seen.add(target.version)
    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield seen
    finally:
        over.set()
        asking.join()


@pytest.mark.parametrize("old", ["2.7.4", "none"])
def test_nobody_sees_what_was_not_proven_in_its_place(target, wheels, tmp_path, old):
    """A wheel that works in the staging folder only, killed at random moments from the exchange on."""
    if old != "none":
        target.install(wheels[0])
    before = target.snapshot()
    bad = flash_attn_wheel(tmp_path, "2.9.0", body="import time; time.sleep(0.2)\nassert 'stage' in __file__, 'not here'")
    chance = random.Random(5)
    with watched(target) as seen:
        for kill in range(KILLS // 3):
            process = start_install(target, bad)
            wait_for_change(target, process)
            time.sleep(chance.random() * 1.5)
            kill_all(process, children=kill % 2 == 0)
            assert target.version == old, kill
            recover_environment(target.site)
            assert target.snapshot() == before, kill
    assert seen == {old}


def test_every_look_at_the_environment_undoes_what_a_killed_installation_left(target, wheels):
    target.install(wheels[0])
    process = start_install(target, wheels[1])
    wait_for_change(target, process)
    kill_all(process, children=True)
    facts, said = Facts(python=Python(executable=target.python, site_packages=str(target.site))), []
    assert recover(facts, said.append) is True and len(said) == 1
    assert target.version == "2.7.4" and not target.leftovers()
    assert recover(facts, said.append) is recover(Facts(python=None), said.append) is False and len(said) == 1


def test_recovery_lets_alone_what_somebody_changed_since(target, wheels):
    target.install(wheels[0])
    process = start_install(target, wheels[1])
    wait_for_change(target, process)
    time.sleep(0.01)
    kill_all(process, children=True)
    newest = flash_attn_wheel(target.site.parent, "3.0.0")
    subprocess.run([target.python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--force-reinstall", newest],
                   check=True)
    recover_environment(target.site)
    assert target.version == "3.0.0" and not target.leftovers()


def test_a_journal_that_was_being_written_is_cleared_away(target, wheels):
    """Killed there an installation has changed nothing, and left a file that nobody would ever read."""
    target.install(wheels[0])
    (target.site / FOLDER / ".journal.json.0badcafe").write_text("{")
    assert recover_environment(target.site) is True and not target.leftovers() and target.version == "2.7.4"
    assert recover_environment(target.site) is False


def test_an_installation_at_work_is_not_recovered(target, wheels):
    process = start_install(target, wheels[1])
    while process.poll() is None and not any((target.site / FOLDER).glob("work-*")):
        time.sleep(0.005)
    assert recover_environment(target.site) is False
    process.communicate(timeout=60)
    assert process.returncode == 0 and target.version == "2.8.3"


def test_recovery_does_not_wait_for_an_installation_at_work(target):
    (target.site / FOLDER / "work-1").mkdir(parents=True)
    lock = (target.site / FOLDER / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    threading.Timer(0.8, lock.close).start()
    assert recover_environment(target.site) is False


def test_in_an_image_whose_folders_cannot_be_renamed(template, wheels, tmp_path):
    """overlayfs refuses to rename a folder of the lower layer; files are replaced one by one then."""
    lower = Target(template, tmp_path / "lower")
    lower.install(wheels[0])
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    with mounted(tmp_path / "merged", "-t", "overlay", "overlay", "-o", options):
        lower.use(tmp_path / "merged")
        before = lower.snapshot()
        with pytest.raises(InstallError, match="on this GPU"):
            lower.install(wheels[1], probe=lambda more: "wrong numbers")
        assert lower.snapshot() == before and lower.version == "2.7.4" and not lower.leftovers()
        for _ in range(3):
            process = start_install(lower, wheels[1])
            wait_for_change(lower, process)
            time.sleep(random.random() * 0.05)
            kill_all(process, children=True)
            recover_environment(lower.site)
            if lower.version == "2.7.4":
                assert lower.snapshot() == before
        lower.install(wheels[1])
        assert lower.version == "2.8.3" and not lower.leftovers()
        assert not (lower.site / "flash_attn" / "only_old.py").exists()


def test_a_wait_for_another_installation_is_said(target, wheels):
    said: list[str] = []
    (target.site / FOLDER).mkdir()
    lock = (target.site / FOLDER / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    threading.Timer(1.0, lock.close).start()
    target.install(wheels[1], say=lambda words: said.append(words.en))
    assert "waiting" in said[0] and target.version == "2.8.3"
