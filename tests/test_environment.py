"""docs/environment.md names every variable that the package reads or sets, and every place in the cache."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import swift_fa_launcher

PACKAGE = Path(swift_fa_launcher.__file__).parent
PAGE = (Path(__file__).parents[1] / "docs" / "environment.md").read_text(encoding="utf-8")
#: Texts that look like a variable's name and are none: values, names in other programs' code, placeholders of a help.
NO_VARIABLES = {"ALL_ATTENTION_FUNCTIONS", "BASH_SOURCE", "BOOT_FAIL", "FILE_OR_URL",
                "FLASH_ATTENTION_COMPATIBILITY_MATRIX", "FLASH_ATTN_KERNEL_FALLBACK",
                "FLASH_ATTN_KERNEL_VERSIONS", "NODE_FAIL", "OUT_OF_MEMORY", "PCI_BUS_ID", "REQUEUE_FED", "REQUEUE_HOLD",
                "RESV_DEL_HOLD", "RUN_OR_LOGFILE", "SHELL_VALUE", "SPECIAL_EXIT", "TYPE_CHECKING", "URL_OR_FILE"}
#: Rooms whose texts are sentences and patterns of logs.
OF_WORDS = ("findings", "diagnose")


@cache
def trees() -> list[ast.Module]:
    files = [file for file in PACKAGE.rglob("*.py") if file.relative_to(PACKAGE).parts[0] not in OF_WORDS]
    return [ast.parse(file.read_text(encoding="utf-8")) for file in sorted(files)]


def read_directly(node: ast.AST) -> str | None:
    """The name in `environment["X"]`, `os.environ.get("X")`, `os.getenv("X")`."""
    if isinstance(node, ast.Subscript) and "environ" in ast.unparse(node.value):
        key: ast.expr | None = node.slice
    elif isinstance(node, ast.Call) and re.search(r"environ\w*\.(get|setdefault|pop)$|getenv$", ast.unparse(node.func)):
        key = node.args[0] if node.args else None
    else:
        return None
    return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) and key.value.isupper() else None


def test_every_variable_is_on_the_page() -> None:
    named = {name for line in re.findall(r"`([^`]+)`", PAGE) for name in re.findall(r"[A-Z][A-Z0-9_]*", line)}
    nodes = [node for tree in trees() for node in ast.walk(tree)]
    direct = {name for node in nodes if (name := read_directly(node))}
    alike = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
             and re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", node.value)}
    assert {"HOME", "SWIFT_FA_CACHE", "SWANLAB_API_KEY", "USE_HF"} <= direct
    missing = {name for name in direct | alike - NO_VARIABLES if name not in named and not name.startswith("TORCHELASTIC_")}
    assert not missing, f"docs/environment.md lacks {sorted(missing)}"
    assert alike >= NO_VARIABLES, f"in no module any more: {NO_VARIABLES - alike}"


def test_every_place_in_the_cache_is_on_the_page() -> None:
    told = PAGE.split("In the cache: ")[1]
    places = {part.value for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.BinOp)
              and re.match(r"(?:cache_dir\(\)|means\.cache or cache_dir\(\)|cache) / ", ast.unparse(node))
              for part in [leftmost(node)] if isinstance(part, ast.Constant)}
    assert {"probe", "run-roots.json", "last-bug.txt"} <= places
    assert not [place for place in places if f"`{place}" not in told]


def leftmost(node: ast.BinOp) -> ast.expr:
    """What stands behind the first slash."""
    while isinstance(node.left, ast.BinOp):
        node = node.left
    return node.right
