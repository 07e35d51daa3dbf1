"""The corridor: modules import only from rooms above them, and the deciding ones touch nothing but their arguments."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import swift_fa_launcher

PACKAGE = Path(swift_fa_launcher.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

#: Rooms from the top of the corridor down; a module imports from its own room and those above. Rooms on one line are
#: siblings, which do not import each other. Three tables and rules of `flash` need nothing of ours, and stand where every room
#: can ask them.
CORRIDOR = (("errors",), ("secrets", "decode", "layout"), ("flash.implementations", "flash.hosts", "flash.symbols"), ("cache",),
            ("files",), ("config",), ("importing",), ("machine",), ("flash",), ("findings",),
            ("preflight", "diagnose", "wheels"), ("launch",), ("runs",), ("bench",), ("stories",), ("commands",), ("cli",))
PLACE = {room: i for i, rooms in enumerate(CORRIDOR) for room in rooms}

PURE = ("errors", "secrets", "decode", "layout", "config.schema", "config.first", "config.render", "config.conditions",
        "config.needed_packages", "config.swift_args", "config.gpus", "config.grid", "config.names", "config.json_schema",
        "config.yaml_faults", "machine.facts", "machine.reading",
        "machine.checkpoint", "flash.*", "findings.*", "importing.*", "preflight.packing", "preflight.sizes",
        "preflight.checks.*", "wheels.choose", "wheels.explain", "wheels.listing", "wheels.lock", "launch.plan", "launch.swanlab",
        "launch.stall", "launch.restart", "launch.slots",
        "bench.bench", "bench.table", "bench.tune")
#: What reaches the world. `pathlib` is allowed for its values; calls of its reaching methods are looked for by name.
WORLDLY = {"os", "sys", "io", "subprocess", "socket", "time", "random", "secrets", "shutil", "tempfile", "glob", "requests",
           "urllib", "http", "psutil", "pynvml", "platform", "threading", "multiprocessing", "signal", "ctypes",
           "importlib", "filelock"}
REACHING = {"read_text", "write_text", "read_bytes", "write_bytes", "exists", "is_file", "is_dir", "is_symlink", "iterdir",
            "glob", "rglob", "mkdir", "rmdir", "unlink", "rename", "open", "chmod", "symlink_to", "hardlink_to", "readlink",
            "resolve", "stat", "lstat", "cwd", "home", "expanduser", "samefile", "touch", "now", "today", "utcnow"}
#: `replace` is a text's and a dataclass's too; a path's takes one value.
PATHS_OWN = "replace"


def is_script(file: Path) -> bool:
    """A program of its own, run by another interpreter."""
    return '__name__ == "__main__"' in file.read_text(encoding="utf-8")


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def place(name: str) -> int | None:
    """How far down the corridor a module, or what it holds, is; None where that is nowhere."""
    room, _, rest = name.partition(".")
    return PLACE.get(f"{room}.{rest.partition('.')[0]}", PLACE.get(room))


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(name == p or (p.endswith(".*") and (name + ".").startswith(p[:-1])) for p in patterns)


@pytest.mark.parametrize("file", MODULES, ids=module_name)
def test_imports_run_down_the_corridor(file: Path) -> None:
    name = module_name(file)
    room = name.partition(".")[0]
    own = [i.removeprefix("swift_fa_launcher.") for i in imports(ast.parse(file.read_text(encoding="utf-8")))
           if i.startswith("swift_fa_launcher.")]
    if room in ("", "__main__", "training"):  # training/ is loaded inside ms-swift and imports nothing of ours
        assert room != "training" or not own
        return
    here = place(name)
    assert here is not None, f"{name} is in no room of the corridor"
    for imported in own:
        there = place(imported)
        assert there is None or there < here or (there == here and imported.partition(".")[0] == room), \
            f"{name} imports {imported}, which lies below it or beside it"
        is_check = room == "preflight" and name.startswith("preflight.checks.") and imported.startswith("preflight.checks")
        assert not is_check, f"the check {name} imports the check {imported}"


@pytest.mark.parametrize("file", [f for f in MODULES if matches(module_name(f), PURE)], ids=module_name)
def test_deciding_modules_touch_nothing(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    worldly = {i.partition(".")[0] for i in imports(tree) if not i.startswith("urllib.parse")} & WORLDLY
    assert not worldly, f"imports {worldly}"
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    reaching = {c.func.attr for c in calls if isinstance(c.func, ast.Attribute)
                and (c.func.attr in REACHING or (c.func.attr == PATHS_OWN and len(c.args) == 1 and not c.keywords))}
    assert not reaching, f"calls {reaching}"
    assert not {c.func.id for c in calls if isinstance(c.func, ast.Name)} & {"open", "print", "input", "exec", "eval"}


def test_every_pure_name_exists() -> None:
    names = {module_name(file) for file in MODULES}
    assert not [p for p in PURE if not p.endswith(".*") and p not in names]


@pytest.mark.parametrize("file", [f for f in MODULES if module_name(f).partition(".")[0] not in ("cli", "commands", "training")
                                  and not is_script(f)], ids=module_name)
def test_only_the_command_line_prints_and_exits(file: Path) -> None:
    if file.name == "__main__.py":
        return
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("print", "sys.exit", "exit", "quit"), f"line {node.lineno}: {called}"


def test_the_launcher_never_imports_heavy_packages() -> None:
    modules = [f"swift_fa_launcher.{module_name(f)}" for f in MODULES
               if module_name(f).partition(".")[0] not in ("", "__main__", "training") and not is_script(f)]
    script = ("import sys, importlib\n"
              f"for m in {modules!r}: importlib.import_module(m)\n"
              "heavy = {'torch', 'transformers', 'swift', 'swanlab', 'numpy', 'requests', 'rich', 'pynvml', 'matplotlib'} "
              "& set(sys.modules)\n"
              "print(sorted(heavy))")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
