"""The command line as a user meets it: real processes, exit codes, what goes to which stream."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from run_records import start  # type: ignore[import-not-found]

from swift_fa_launcher.findings.table import TABLE
from swift_fa_launcher.runs.record import read_record, update_record

ROOT = Path(__file__).parents[1]
SEED = ROOT / "configs" / "qwen7b-lora.yaml"


def swift_fa(*words: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "swift_fa_launcher", *map(str, words)], capture_output=True, text=True,
                          cwd=cwd, env={**os.environ, **env}, check=False, timeout=120)


def bare_python(folder: Path) -> str:
    """An interpreter without torch, ms-swift or anything else."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return str(folder / "bin" / "python")


def test_help_lists_every_command_with_an_example() -> None:
    from swift_fa_launcher.commands import COMMANDS

    overview = swift_fa("--help")
    assert overview.returncode == 0 and all(f"\n  {name} " in overview.stdout for name in COMMANDS)
    for name in COMMANDS:
        said = swift_fa(name, "--help")
        assert said.returncode == 0 and f"example:\n  swift-fa {name}" in said.stdout, name
    assert swift_fa("--version").stdout.startswith("swift-fa 0.")


def test_help_is_chinese_where_the_locale_is() -> None:
    assert "用法：" in swift_fa("train", "--help", LC_ALL="zh_CN.UTF-8").stdout
    assert "只做检查" in swift_fa("--help", "--lang", "zh").stdout and "usage" in swift_fa("--help", "--lang", "en").stdout


def test_chinese_where_it_cannot_be_written_is_english() -> None:
    for words in (["--help"], ["train", "--help"], ["train", "nix.yaml"], ["runs"]):
        done = swift_fa(*words, "--lang", "zh", PYTHONIOENCODING="ascii")
        asked = swift_fa(*words, "--lang", "en")
        assert (done.stdout, done.stderr) == (asked.stdout, asked.stderr) and "\\u" not in done.stdout + done.stderr
    words = [sys.executable, "-m", "swift_fa_launcher", "--help", "--lang", "zh"]
    chinese = subprocess.run(words, capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "gbk"}).stdout
    assert "用法：" in chinese.decode("gbk")


@pytest.mark.parametrize(("words", "said"), [
    (["trian"], "swift-fa train"), (["train"], "no config"), (["train", "nix.yaml"], "no config nix.yaml"),
    (["train", SEED, "--allow", "gpu-nome"], "gpu-none"), (["preflight", "--fact", "x", "--nope"], "--nope"),
    (["train", SEED, "launch.gpu=1"], "launch.gpus"), (["show"], "RUN"), (["config"], "no config"),
    (["train", SEED, "--dryrun"], f"train {SEED} --dry-run"), (["config", SEED, "swift.seed"], "swift.seed=VALUE"),
    (["config", SEED, "swift=3"], "swift.KEY=3"), (["config", SEED, "swift.seed="], "swift.seed=null"),
])
def test_a_wrong_command_line_is_exit_2_and_one_clear_message(words: list[object], said: str) -> None:
    done = swift_fa(*words)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr and done.stdout == ""


def test_an_error_without_a_hint_of_its_own_prints_the_remedy_of_its_code() -> None:
    done = swift_fa("train", "nix.yaml", "--json")
    (fix,) = TABLE["config-missing"].fix
    assert f"  -> {fix.en}\n" in done.stderr and json.loads(done.stdout)["error"]["hint"] == [fix.en]
    assert f"  -> {fix.zh}\n" in swift_fa("train", "nix.yaml", "--lang", "zh").stderr


def test_errors_are_spoken_in_chinese_too(tmp_path: Path) -> None:
    for done in (swift_fa("train", "nix.yaml", "--lang", "zh"), swift_fa("train", "nix.yaml", LANG="zh_CN.UTF-8"),
                 swift_fa("--lang", "zh", "train", "nix.yaml")):
        assert "错误" in done.stderr and "不存在" in done.stderr
    for words, said in ((["show"], "缺少参数"), (["train", SEED, "--nope"], "不认识的参数"),
                        (["install", "--version"], "需要一个值"), (["runs", "--outcome", "x"], "无效")):
        assert said in swift_fa(*words, "--lang", "zh").stderr
    (log := tmp_path / "a.log").write_text("ok\ntorch.OutOfMemoryError: CUDA out of memory.\n")
    assert "第 2 行：" in swift_fa("diagnose", log, "--lang", "zh").stdout
    assert swift_fa("--lang").returncode == swift_fa("--lang", "zh").returncode == 0
    assert "不存在" not in swift_fa("train", "nix.yaml", "--lang", "en", LANG="zh_CN.UTF-8").stderr


def test_config_shows_values_and_origins() -> None:
    explained = swift_fa("config", SEED, "swift.learning_rate=1e-5", "--explain").stdout
    assert "swift.learning_rate: 1e-05" in explained and "# command line: swift.learning_rate=1e-5" in explained
    line = next(line for line in explained.splitlines() if line.startswith("swift.max_length"))
    assert line.split("# ")[1].startswith(f"{SEED}:")
    data = json.loads(swift_fa("config", SEED, "--json").stdout)
    assert data["values"]["launch"]["gpus"] == [6]
    assert data["origins"]["swift.max_length"]["layer"] == "file" and data["origins"]["run.root"]["layer"] == "default"
    assert "packing: true" in swift_fa("config", "--defaults").stdout


def test_config_hides_secrets(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("env: {X_TOKEN: '${oc.env:SWANLAB_API_KEY}'}\n")
    for option in ("--explain", "--json", "--lang=en"):
        assert "marker-0815" not in swift_fa("config", file, option, SWANLAB_API_KEY="marker-0815").stdout


def test_preflight_of_an_interpreter_that_has_nothing(tmp_path: Path) -> None:
    python = bare_python(tmp_path / "venv")
    done = swift_fa("preflight", SEED, f"launch.python={python}", "--offline", "--json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    codes = {f["code"]: f for f in answer["findings"]}
    assert done.returncode == 1 and answer["status"] == "blocked" and answer["schema"] == 1
    assert {"torch-missing", "ms-swift-missing", "swanlab-missing", "flash-attn-missing"} <= set(codes)
    assert all(f["summary"] and isinstance(f["fix"], list) for f in codes.values())
    assert answer["facts"]["schema"] == 1 and answer["facts"]["python"]["executable"] == python


def test_facts_are_saved_and_judged_again_alike(tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    first = swift_fa("preflight", SEED, "--offline", "--no-probe", "--save-facts", file, "--json", cwd=tmp_path)
    again = swift_fa("preflight", SEED, "--facts", file, "--json", cwd=tmp_path)
    piped = subprocess.run([sys.executable, "-m", "swift_fa_launcher", "preflight", str(SEED), "--facts", "-", "--json"],
                           input=file.read_text(), capture_output=True, text=True, check=False)
    assert json.loads(first.stdout) == json.loads(again.stdout) == json.loads(piped.stdout)


@pytest.mark.parametrize(("words", "asked"), [(["train", SEED, "--dry-run"], True), (["preflight", SEED], True),
                                              (["preflight", SEED, "--offline"], False)])
def test_who_asks_the_network(tmp_path: Path, words: list[object], asked: bool) -> None:
    """A training would; port 9 refuses."""
    settings = (f"launch.python={bare_python(tmp_path / 'venv')}", "swanlab.host=http://127.0.0.1:9", "flash_attn.install=never")
    done = swift_fa(*words, *settings, "--json", cwd=tmp_path)
    assert ("swanlab-unreachable" in {f["code"] for f in json.loads(done.stdout)["findings"]}) is asked


def test_facts_that_cannot_be_written_are_the_machines_matter(tmp_path: Path) -> None:
    done = swift_fa("preflight", SEED, "--offline", "--no-probe", "--save-facts", tmp_path / "no" / "facts.json", cwd=tmp_path)
    assert done.returncode == 1 and "facts.json" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 99}', '{"schema": 1, "gpus": 3}', '{"a": 1}'])
def test_foreign_facts_are_a_clear_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "f.json"
    file.write_text(text)
    done = swift_fa("preflight", SEED, "--facts", file)
    assert done.returncode == 2 and str(file) in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("by_config", [False, True])
def test_allow_lowers_and_does_not_hide(tmp_path: Path, by_config: bool) -> None:
    python = bare_python(tmp_path / "venv")
    words = ["preflight", f"launch.python={python}", "--offline", "--json"]
    codes = [f["code"] for f in json.loads(swift_fa(*words, cwd=tmp_path).stdout)["findings"] if f["severity"] == "error"]
    more = [f"preflight.allow=[{','.join(codes)}]"] if by_config else [w for code in codes for w in ("--allow", code)]
    allowed = swift_fa(*words, *more, cwd=tmp_path)
    answer = json.loads(allowed.stdout)
    assert allowed.returncode == 0 and answer["status"] == "warned"
    assert {f["code"] for f in answer["findings"] if f["severity"] == "warning"} >= set(codes)


def test_the_dry_run_prints_the_command_and_no_secret(tmp_path: Path) -> None:
    done = swift_fa("train", SEED, "--dry-run", cwd=tmp_path, SWANLAB_API_KEY="marker-4711-key")
    assert "swift sft \\\n" in done.stdout and "  --gradient_accumulation_steps 4 \\\n" in done.stdout
    assert "CUDA_VISIBLE_DEVICES=6" in done.stdout and "SWANLAB_API_KEY" in done.stdout
    assert "marker" not in done.stdout + done.stderr and list(tmp_path.iterdir()) == []
    asked = swift_fa("train", SEED, "--dry-run", "--json", cwd=tmp_path, SWANLAB_API_KEY="marker-4711-key")
    plan = json.loads(asked.stdout)
    assert plan["schema"] == 1 and plan["argv"][:2] == ["swift", "sft"] and "SWANLAB_API_KEY" in plan["secrets"]
    assert {"env", "cwd", "run_dir", "findings"} <= set(plan) and "marker" not in asked.stdout
    blocked = any(f["severity"] == "error" for f in plan["findings"])
    assert done.returncode == asked.returncode == (1 if blocked else 0)


@pytest.mark.parametrize("words", [["--dry-run"], ["--dry-run", "--json"]])
def test_no_secret_of_the_config_is_printed(tmp_path: Path, words: list[str]) -> None:
    settings = ["swift.hub_token=${oc.env:HF_TOKEN}", "env.DBURL=https://u:${oc.env:HF_TOKEN}@h", "env.PGPASSWORD=pa\"ss-s3cr3t"]
    for command in (["train", *words], ["config", "--json"], ["config", "--explain"], ["preflight", "--offline", "--json"]):
        done = swift_fa(command[0], SEED, *settings, *command[1:], cwd=tmp_path, HF_TOKEN="hf_s3cr3t_0123")
        assert "s3cr3t" not in done.stdout + done.stderr
        assert "<redacted>" in done.stdout or command[0] == "preflight"


def test_an_interpreter_that_is_not_there_is_no_ready_machine(tmp_path: Path) -> None:
    for python in ("/no/python", "/bin/false", "~nobody-here/python"):
        done = swift_fa("preflight", SEED, f"launch.python={python}", "--offline", cwd=tmp_path)
        assert done.returncode == 1 and "interpreter" in done.stderr and python in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["train", "nix.yaml"], ["show", "nix"], ["install", "--wheel", "nix"], ["diagnose", "nix"],
                                   ["train", SEED, "--no-install"]])
def test_json_is_one_document_also_when_it_fails(tmp_path: Path, words: list[object]) -> None:
    done = swift_fa(*words, "--json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert done.returncode in (1, 2) and answer["schema"] == 1
    assert answer["status"] == "blocked" if "status" in answer else \
        set(answer["error"]) == {"code", "message", "where", "why", "hint"}


def test_origins_are_chinese_in_json_too_and_a_place_in_a_file_keeps_its_colons(tmp_path: Path) -> None:
    words = ["preflight", "configs/qwen7b-lora.yaml", "--facts", ROOT / "docs" / "example-facts.json", "--json", "--lang", "zh"]
    found = {f["code"]: f for f in json.loads(swift_fa(*words, cwd=ROOT).stdout)["findings"]}
    assert found["arg-renamed"]["fix"] == ["swift.train_type=lora"]
    words = ["preflight", f"launch.python={bare_python(tmp_path / 'venv')}", "--offline", "--json", "--lang", "zh"]
    found = {f["code"]: f for f in json.loads(swift_fa(*words, cwd=tmp_path).stdout)["findings"]}
    assert "内置默认值" in found["swanlab-missing"]["summary"]
    assert not any("built-in default" in f["summary"] for f in found.values())
    wrong = json.loads(swift_fa("config", SEED, "flash_attn.build=perhaps", "--json", "--lang", "zh").stdout)["error"]
    assert "命令行：flash_attn.build=perhaps" in wrong["where"] and not wrong["where"].startswith("command line")


@pytest.mark.parametrize("words", [["train"], ["show", "nix"], ["trian"], ["config", SEED, "swift.seed"],
                                   ["preflight", "launch.python=/no/python", "--offline"]])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_json_error_says_all_that_the_screen_says(tmp_path: Path, words: list[object], lang: str) -> None:
    done = swift_fa(*words, "--json", "--lang", lang, cwd=tmp_path)
    error = json.loads(done.stdout)["error"]
    assert error["code"] in TABLE
    head, *more = done.stderr.splitlines()
    assert error["hint"] and [line.removeprefix("  -> ") for line in more if line.startswith("  -> ")] == error["hint"]
    assert error["message"] and head.endswith((f": {error['message']}", f"：{error['message']}"))
    for part in ("where", "why") if lang == "en" else ("why",):  # an origin in the place is translated on the screen
        assert not error[part] or any(line.endswith((f": {error[part]}", f"：{error[part]}")) for line in more), part


def test_nothing_is_cut_where_nobody_looks(tmp_path: Path) -> None:
    done = swift_fa("preflight", SEED, "--offline", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) > 80 and lines == [line.rstrip() for line in lines]


def test_a_full_disk_and_a_code_that_is_none(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "swift_fa_launcher", "config", "--defaults"], stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1 and "cannot write" in done.stderr
    wrong = swift_fa("preflight", SEED, "preflight.allow=[torch-mising]", "--offline", cwd=tmp_path)
    assert wrong.returncode == 2 and "torch-missing" in wrong.stderr


def test_ctrl_c_while_it_is_still_imported_says_nothing() -> None:
    program = "import os, signal\nimport swift_fa_launcher.__main__\nos.kill(os.getpid(), signal.SIGINT)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-2, "", "")


def test_ctrl_c_while_python_cleans_up_changes_nothing() -> None:
    program = ("import atexit, os, signal, sys\nfrom swift_fa_launcher.__main__ import main\n"
               "sys.argv[1:] = ['explain', 'torch-missing']\n"
               "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\nsys.exit(main())")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "") and "torch-missing" in done.stdout


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a folder away")
def test_the_cache_of_another_user_is_not_shared(tmp_path: Path) -> None:
    theirs = tmp_path / "swift-fa"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    environment = {key: value for key, value in os.environ.items() if key != "SWIFT_FA_CACHE"} | {"XDG_CACHE_HOME": str(tmp_path)}
    program = "from swift_fa_launcher.cache import cache_dir; print(cache_dir())"

    def asked() -> str:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
        return done.stdout.strip()

    assert asked() == f"{theirs}-0"
    os.chown(theirs, 0, 0)
    assert asked() == str(theirs)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_empty_ones(tmp_path: Path, closed: str) -> None:
    """A file that is opened later must not take the number of a stream, and get what was meant for it."""
    line = f"{sys.executable} -m swift_fa_launcher preflight --offline {SEED} --save-facts facts.json {closed}"
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert json.loads((tmp_path / "facts.json").read_text())["schema"] == 1


@pytest.mark.parametrize("words", ["config --defaults", "preflight --offline", "runs", "explain"])
def test_a_working_folder_that_is_gone(tmp_path: Path, words: str) -> None:
    done = subprocess.run(["sh", "-c", f"mkdir gone; cd gone; rmdir ../gone; {sys.executable} -m swift_fa_launcher {words}"],
                          cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1) and "bug in swift-fa" not in done.stderr and "Traceback" not in done.stderr
    assert done.returncode == 0 or "where: this folder" in done.stderr


def test_train_refuses_and_leaves_nothing(tmp_path: Path) -> None:
    python = bare_python(tmp_path / "venv")
    work = tmp_path / "work"
    work.mkdir()
    done = swift_fa("train", SEED, f"launch.python={python}", "--no-install", cwd=work)
    assert done.returncode == 1 and "torch-missing" in done.stderr and list(work.iterdir()) == []
    slurm = swift_fa("train", SEED, "launch.target=slurm", cwd=work)
    assert slurm.returncode == 1 and list(work.iterdir()) == []


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_table_on_a_terminal(tmp_path: Path, lang: str, columns: int) -> None:
    from rich.text import Text

    python = bare_python(tmp_path / "venv")
    words = ["preflight", str(SEED), f"launch.python={python}", "--offline", "--lang", lang]
    code, shown = on_a_terminal(words, columns)
    plain = Text.from_ansi(shown.replace("\r", "")).plain
    assert code == 1 and "ms-swift-missing" in plain and f"-> {python} -m pip install ms-swift\n" in plain and "\x1b[" in shown
    assert ("blocked" if lang == "en" else "已阻止") in plain
    assert_fits(plain, swift_fa(*words).stdout, columns)


def test_what_runs_left_on_a_narrow_terminal(tmp_path: Path) -> None:
    folder = start(tmp_path)
    kept = f"/kept/{'a long folder/' * 6}run-1"
    fix = "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu128"
    diagnosis = {"code": "gpu-out-of-memory", "line": 7, "evidence": "x", "summary": "no memory " * 12, "fix": [fix]}
    update_record(folder, replace(read_record(folder), status="failed", exit_code=1, tags=("ablation", "long context", "best"),
                                  notes="a note " * 20, diagnoses=(diagnosis,), result={"step": 12, "steps": 20, "loss": 1.25},
                                  swanlab={"mode": "offline", "dir": kept}))
    for words in (["runs"], ["show", "one"], ["config", str(SEED), "--explain"], ["explain", "launch-nested"], ["explain"]):
        for lang in ("en", "zh"):
            code, shown = on_a_terminal([*words, "--lang", lang], 80, cwd=tmp_path)
            assert code == 0
            assert_fits(shown.replace("\r", ""), swift_fa(*words, "--lang", lang, cwd=tmp_path).stdout, 80,
                        copied=(f"swanlab sync '{kept}'", kept, f"-> {fix}", str(folder), str(tmp_path)))
    shown = on_a_terminal(["show", "one"], 80, cwd=tmp_path)[1].replace("\r", "")
    assert f"\nswanlab sync '{kept}'\n" in shown and f"-> {fix}\n" in shown and f"  {folder}/train.log\n" in shown
    assert f"\n{folder.name}\n" in on_a_terminal(["runs"], 80, cwd=tmp_path)[1].replace("\r", "")


def on_a_terminal(words: list[str], columns: int = 100, cwd: Path | None = None, **env: str) -> tuple[int, str]:
    """Run on a real pseudo-terminal; exit code and everything shown."""
    import fcntl
    import struct
    import termios

    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd or ".")
        os.environ.update({"TERM": "xterm-256color", "COLUMNS": str(columns), **env})
        os.execv(sys.executable, [sys.executable, "-m", "swift_fa_launcher", *words])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    shown = b""
    while True:
        try:
            shown += (chunk := os.read(terminal, 65536))
        except OSError:  # the other side is gone
            break
        if not chunk:
            break
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def assert_fits(shown: str, unbroken: str, columns: int, copied: tuple[str, ...] = ()) -> None:
    """No line is wider than the terminal, but for one with what is to be copied; no word is broken."""
    from rich.cells import cell_len

    wide = [line for line in shown.splitlines() if cell_len(line.rstrip()) > columns]
    assert not [line for line in wide if not line.lstrip().startswith("->") and not any(text in line for text in copied)], wide
    words = set(re.findall(r"[!-~]+", unbroken))
    assert not {word for word in re.findall(r"[!-~]+", re.sub(r"\.\.\. .*|swift-fa: .*", "", shown)) if word not in words}


def test_a_closed_pipe_is_no_bug(tmp_path: Path) -> None:
    done = subprocess.run(f"{sys.executable} -m swift_fa_launcher config {SEED} --json | head -c 10", shell=True,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""


def test_runs_of_an_empty_folder(tmp_path: Path) -> None:
    done = swift_fa("runs", cwd=tmp_path)
    assert done.returncode == 0 and "no runs" in done.stderr
    assert json.loads(swift_fa("runs", "--json", cwd=tmp_path).stdout) == {"schema": 1, "runs": []}
    assert swift_fa("show", "latest", cwd=tmp_path).returncode == 1
