"""The config's JSON Schema: its own sections, ms-swift's arguments, and what the real YAML language server makes of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from machines import ARGUMENTS_4_6

from swift_fa_launcher.config.json_schema import make_schema
from swift_fa_launcher.config.layers import DEFAULTS_FILE
from swift_fa_launcher.config.names import closed_keys
from swift_fa_launcher.config.schema import CHOICES
from swift_fa_launcher.config.schema_file import own_schema, schema_line

SERVER = "yaml-language-server@2.0.0"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "swift-fa-tests" / SERVER
DEFAULTS = DEFAULTS_FILE.read_text(encoding="utf-8")
SCHEMA = make_schema(DEFAULTS, ARGUMENTS_4_6, "4.6.0")


def test_every_key_is_there_with_its_help() -> None:
    for key in closed_keys():
        at: Any = SCHEMA
        for name in key.split("."):
            at = at["properties"][name]
        assert key not in CHOICES or {"enum": [*CHOICES[key]]} in at["anyOf"]
    assert SCHEMA["properties"]["launch"]["properties"]["grace"]["description"].startswith("seconds between")
    assert {*ARGUMENTS_4_6} <= {*SCHEMA["properties"]["swift"]["properties"]}


def test_without_ms_swift_any_argument_is_taken() -> None:
    assert "properties" not in own_schema()["properties"]["swift"]
    assert own_schema()["properties"]["launch"] == SCHEMA["properties"]["launch"]


def swift_fa(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "swift_fa_launcher", *words], capture_output=True, text=True, check=False,
                          env={**os.environ, **environment})


def test_where_there_is_no_ms_swift_the_command_says_so(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    python = str(tmp_path / "bare/bin/python")
    done = swift_fa("schema", "--python", python, "--out", str(tmp_path / "s.json"), SWIFT_FA_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0 and "only swift-fa's own sections" in done.stderr
    assert json.loads((tmp_path / "s.json").read_text()) == own_schema()
    assert done.stdout == f"# yaml-language-server: $schema={(tmp_path / 's.json').as_uri()}\n"


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    done = swift_fa("schema", "--out", "/proc/no/s.json", SWIFT_FA_CACHE=str(tmp_path))
    assert done.returncode == 1 and "the schema cannot be written" in done.stderr


@pytest.mark.stack
def test_the_installed_ms_swifts_arguments_are_in_it(tmp_path: Path) -> None:
    done = swift_fa("schema", SWIFT_FA_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    swift = json.loads(done.stdout)["properties"]["swift"]["properties"]
    assert len(swift) > 300 and swift["per_device_train_batch_size"]["default"] == 1
    assert json.loads((tmp_path / "config.schema.json").read_text()) == json.loads(done.stdout)


def test_the_line_names_a_file_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWIFT_FA_CACHE", str(tmp_path / "a b"))
    assert schema_line() == f"# yaml-language-server: $schema=file://{tmp_path}/a%20b/config.schema.json"
    assert json.loads((tmp_path / "a b" / "config.schema.json").read_text()) == own_schema()


# --- the real language server ---


class Editor:
    """An editor that has one file open: the language server's other end."""

    def __init__(self, program: Path) -> None:
        self._server = subprocess.Popen(["node", program, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._number = self._version = 0
        self.ask("initialize", {"processId": os.getpid(), "rootUri": None, "capabilities": {
            "textDocument": {"publishDiagnostics": {}, "completion": {}}}})
        self.tell("initialized", {})
        self.tell("workspace/didChangeConfiguration", {"settings": {"yaml": {"validate": True, "completion": True}}})

    def tell(self, method: str, params: Any, **more: Any) -> None:
        self._send({"jsonrpc": "2.0", "method": method, "params": params, **more})

    def _send(self, message: Any) -> None:
        body = json.dumps(message).encode()
        assert self._server.stdin
        self._server.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._server.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self._server.stdout
        size = 0
        while (line := self._server.stdout.readline().strip()) or not size:
            assert line or not size or self._server.poll() is None
            if line.lower().startswith(b"content-length:"):
                size = int(line.split(b":")[1])
        message: dict[str, Any] = json.loads(self._server.stdout.read(size))
        if "id" in message and "method" in message:  # what the server asks of an editor: nothing is configured
            items = (message["params"] or {}).get("items")
            self._send({"jsonrpc": "2.0", "id": message["id"], "result": [{} for _ in items] if items else None})
        return message

    def ask(self, method: str, params: Any) -> Any:
        self._number += 1
        self.tell(method, params, id=self._number)
        while (message := self.hear()).get("id") != self._number or "method" in message:
            pass
        return message["result"]

    def open(self, file: Path) -> list[dict[str, Any]]:
        """What is underlined in the file."""
        self._version += 1
        self.tell("textDocument/didOpen", {"textDocument": {"uri": file.as_uri(), "languageId": "yaml", "version": self._version,
                                                            "text": file.read_text(encoding="utf-8")}})
        while (message := self.hear()).get("method") != "textDocument/publishDiagnostics" or file.as_uri() not in str(message):
            pass
        found: list[dict[str, Any]] = message["params"]["diagnostics"]
        return found

    def complete(self, file: Path, line: int, column: int) -> list[str]:
        """What is offered at a place, both from 0."""
        answer = self.ask("textDocument/completion", {"textDocument": {"uri": file.as_uri()},
                                                      "position": {"line": line, "character": column}})
        return [item["label"] for item in (answer["items"] if isinstance(answer, dict) else answer)]

    def close(self) -> None:
        self._server.kill()
        self._server.wait()


@pytest.fixture(scope="module")
def editor() -> Iterator[Editor]:
    program = CACHE / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("needs node and npm")
    if not program.exists():
        got = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", CACHE, SERVER],
                             capture_output=True, text=True, timeout=300, check=False)
        if got.returncode:
            pytest.skip(f"npm cannot fetch {SERVER}: {got.stderr[-200:]}")
    editor = Editor(program)
    yield editor
    editor.close()


@pytest.fixture
def written(tmp_path: Path) -> Any:
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))

    def write(text: str) -> Path:
        file = tmp_path / f"{abs(hash(text))}.yaml"
        file.write_text(f"{schema_line(tmp_path / 'schema.json')}\n{text}", encoding="utf-8")
        return file

    return write


def test_an_editor_completes_keys_and_choices(editor: Editor, written: Any) -> None:
    file = written("swift:\n  per_dev\n")
    editor.open(file)
    assert {"per_device_train_batch_size", "per_device_eval_batch_size"} <= {*editor.complete(file, 2, 9)}
    file = written("swanlab:\n  mode: \n")
    editor.open(file)
    assert {"cloud", "local", "offline", "disabled"} <= {*editor.complete(file, 2, 8)}
    file = written("swift:\n  truncation_strategy: \n")
    editor.open(file)
    assert {"delete", "left", "right"} <= {*editor.complete(file, 2, 23)}


@pytest.mark.parametrize(("text", "line", "says"), [
    ("swanlab:\n  mode: clod\n", 2, "cloud"), ("swift:\n  truncation_strategy: rigth\n", 2, "right"),
    ("swift:\n  learning_rat: 1\n", 2, "learning_rat"), ("launch:\n  gpu: [0]\n", 2, "gpu"), ("swfit:\n  a: 1\n", 1, "swfit"),
    ("swift:\n  max_length: long\n", 2, ""), ("launch:\n  gpus: two\n", 2, ""), ("swift:\n  packing: perhaps\n", 2, ""),
])
def test_an_editor_underlines_what_is_wrong(editor: Editor, written: Any, text: str, line: int, says: str) -> None:
    found = editor.open(written(text))
    assert [one["range"]["start"]["line"] for one in found] == [line] and says in found[0]["message"], found


@pytest.mark.parametrize("text", [
    "swift:\n  max_length: ${oc.env:X}\n  packing: ${oc.env:P,true}\n  learning_rate: ${oc.env:L}\n  truncation_strategy: ${T}\n",
    "swift:\n  learning_rate: 2e-4\n  dataset: [a.jsonl, 'b.jsonl#500']\n  lora_rank: null\n  bf16: yes\n  save_strategy: no\n",
    "swift:\n  dataset: a.jsonl\n  target_modules: all-linear\n  batch_size: 8\n  report_to: swanlab\n  deepspeed: {a: 1}\n",
    "launch:\n  gpus: 0,1\n  nproc_per_node: ${oc.env:N}\nextends: [base.yaml]\nenv: {A: 1, B: null}\nrun: {tags: a}\nswanlab:\n",
    "launch: {gpus: 'auto:2', master_port: 29501}\nswanlab: {mode: '${oc.env:M,offline}', project: '${oc.env:P}'}\n",
])
def test_an_editor_leaves_what_is_right_alone(editor: Editor, written: Any, text: str) -> None:
    assert not editor.open(written(text)), yaml.safe_load(text)


@pytest.mark.parametrize("config", sorted((Path(__file__).parents[2] / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_an_editor_finds_no_fault_in_our_own_configs(editor: Editor, written: Any, config: Path) -> None:
    assert not editor.open(written(config.read_text(encoding="utf-8")))


def test_the_defaults_fit_their_own_schema(editor: Editor, written: Any) -> None:
    assert not editor.open(written(DEFAULTS))
