"""What a training does with SwanLab under the plugin: against a server that plays SwanLab's cloud, and real files."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from swift_fa_launcher.config.schema import Notification, ResolvedConfig, SwanLabSection, SwiftArguments
from swift_fa_launcher.launch.plan import PLUGIN, PLUGIN_VARIABLE
from swift_fa_launcher.launch.swanlab import SENT, SwanLabSettings, make_swanlab_settings, notification_secrets

pytestmark = pytest.mark.stack

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
from fake_swanlab import FakeSwanLab, fake_swanlab  # noqa: E402
from tiny import make_chat_rows, make_tiny_model  # noqa: E402

KEY = "MARKER0KEY0000000042x"


@dataclass
class Place:
    """Where a training starts and where its run folder is."""

    cwd: Path
    run: Path

    @property
    def log(self) -> Path:
        return self.run / "train.log"

    @property
    def told(self) -> dict[str, Any]:
        return dict(json.loads((self.run / "swanlab.json").read_text()))


@dataclass
class Trained:
    code: int
    output: str
    command_lines: str = ""  # of the training and all its children


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "cwd").mkdir()
    (tmp_path / "run").mkdir()
    return Place(tmp_path / "cwd", tmp_path / "run")


@pytest.fixture
def cloud() -> Iterator[FakeSwanLab]:
    with fake_swanlab(keys=(KEY,)) as fake:
        yield fake


def config(swift: Mapping[str, Any] | None = None, **section: Any) -> ResolvedConfig:
    return ResolvedConfig(SwiftArguments(swift or {}),
                          swanlab=SwanLabSection(**{"project": "harbour", "experiment": "first tide", **section}))


@dataclass
class Imitation:
    """The process that forks imitated trainings."""

    process: subprocess.Popen[str]

    def train(self, config: ResolvedConfig, place: Place, **env: str) -> Trained:
        settings = make_swanlab_settings(config, None, str(place.run))
        self._say({"plugin": PLUGIN, "arguments": {**config.swift, **settings.arguments},
                   "cwd": str(place.cwd), "log": str(place.log), "env": environment(config, settings, env)})
        return Trained(self.hear()["code"], place.log.read_text())

    def _say(self, training: Mapping[str, Any]) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(training) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout
        return dict(json.loads(self.process.stdout.readline()))


@pytest.fixture(scope="session")
def imitation() -> Iterator[Imitation]:
    words = [sys.executable, str(Path(__file__).with_name("imitate_swift.py"))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        imitation = Imitation(process)
        assert imitation.hear() == {"ready": True}
        yield imitation


def environment(config: ResolvedConfig, settings: SwanLabSettings, more: Mapping[str, str]) -> dict[str, str]:
    """What the launcher gives the child; without SwanLab's own `pip list`, which takes a second."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", "SWANLAB_PROBE_REQUIREMENTS": "false", **settings.env,
            PLUGIN_VARIABLE: json.dumps(settings.jobs), **notification_secrets(config), **more}


def files_with(word: str, *folders: Path) -> list[Path]:
    files = (file for folder in folders for file in folder.rglob("*") if file.is_file())
    return [file for file in files if word.encode() in file.read_bytes()]


def test_cloud(imitation: Imitation, place: Place, cloud: FakeSwanLab) -> None:
    trained = imitation.train(config(host=cloud.address), place, SWANLAB_API_KEY=KEY)

    assert trained.code == 0, trained.output
    assert cloud.projects == {"harbour"}
    assert cloud.asked("POST", "/harbour/experiment")[0].body["name"] == "first tide"
    assert "train/loss" in cloud.metrics
    assert cloud.asked("PUT", "/state")[0].body["state"] == "FINISHED"
    assert place.told["url"].startswith(f"{cloud.address}/@tester/harbour/runs/")
    assert f"swift-fa: SwanLab: cloud run {place.told['run_id']}, {place.told['url']}\n" in trained.output
    assert Path(place.told["dir"]).parent == place.run / "swanlab"
    assert list(place.cwd.iterdir()) == []
    assert files_with(KEY, place.cwd, place.run) == []


def test_offline_asks_nobody_and_can_be_synced(imitation: Imitation, place: Place, cloud: FakeSwanLab) -> None:
    trained = imitation.train(config(mode="offline", host=cloud.address), place, SWANLAB_API_KEY=KEY)

    assert trained.code == 0, trained.output
    assert cloud.requests == []
    assert place.told["mode"] == "offline" and place.told["url"] is None
    assert "Run `swanlab sync" in trained.output, "what SwanLab says of an offline run, and not of a local one"
    sync = [str(Path(sys.executable).with_name("swanlab")), "sync", place.told["dir"]]
    subprocess.run(sync, cwd=place.cwd, check=True, timeout=60, stdout=subprocess.DEVNULL,
                   env={**os.environ, "SWANLAB_API_KEY": KEY, "SWANLAB_API_HOST": cloud.address})
    assert "train/loss" in cloud.metrics


def test_local_writes_into_the_run_folder(imitation: Imitation, place: Place, cloud: FakeSwanLab) -> None:
    trained = imitation.train(config(mode="local", host=cloud.address), place)

    assert trained.code == 0, trained.output
    assert cloud.requests == []
    assert "Run `swanlab watch" in trained.output
    assert any(Path(place.told["dir"]).iterdir())
    assert list(place.cwd.iterdir()) == []


def test_only_the_first_process_begins_a_run(imitation: Imitation, place: Place, cloud: FakeSwanLab) -> None:
    trained = imitation.train(config(host=cloud.address), place, SWANLAB_API_KEY=KEY, RANK="1")

    assert trained.code == 0, trained.output
    assert cloud.requests == []
    assert not (place.run / "swanlab").exists() and not (place.run / "swanlab.json").exists()


@pytest.mark.parametrize("name, text", [
    ("swanlab.yaml", "mode: offline\napi_host: {other}\napi_key: wrong\nlog_dir: away\nproject:\n  name: theirs\n"),
    (".env", "SWANLAB_MODE=offline\nSWANLAB_API_HOST={other}\nSWANLAB_API_KEY=wrong\nexport SWANLAB_LOG_DIR='away'\n"),
])
def test_a_stray_file_does_not_win_and_is_named(
    imitation: Imitation, place: Place, cloud: FakeSwanLab, name: str, text: str
) -> None:
    with fake_swanlab() as other:
        (place.cwd / name).write_text(text.format(other=other.address))
        trained = imitation.train(config(host=cloud.address), place, SWANLAB_API_KEY=KEY)

        assert trained.code == 0, trained.output
        assert other.requests == []
    assert cloud.projects == {"harbour"} and "train/loss" in cloud.metrics
    words = f"swift-fa: SwanLab: the config overrules {place.cwd / name}: mode=offline, api_host={other.address}"
    assert words in trained.output
    assert "wrong" not in trained.output
    assert [file.name for file in place.cwd.iterdir()] == [name]


@pytest.mark.parametrize("text, words", [
    ("mode: [unclosed\n", 'in "swanlab.yaml", line 1'),
    ("core:\n  skip_store: true\n", "core.skip_store=true is only supported in online mode"),
])
def test_a_stray_file_that_swanlab_cannot_take_ends_the_training_early(
    imitation: Imitation, place: Place, text: str, words: str
) -> None:
    (place.cwd / "swanlab.yaml").write_text(text)
    trained = imitation.train(config(mode="offline"), place, SWANLAB_API_KEY=KEY)

    assert trained.code == 1 and "parsed" not in trained.output and "Traceback" not in trained.output
    assert "swift-fa: SwanLab does not accept its settings: " in trained.output and words in trained.output
    assert KEY not in trained.output


def test_with_report_to_all_the_config_arrives_too(imitation: Imitation, place: Place, cloud: FakeSwanLab) -> None:
    trained = imitation.train(config({"report_to": ["all"]}, host=cloud.address), place, SWANLAB_API_KEY=KEY)

    assert trained.code == 0, trained.output
    assert cloud.asked("POST", "/harbour/experiment")[0].body["name"] == "first tide"


def test_with_report_to_all_disabled_is_disabled(imitation: Imitation, place: Place, cloud: FakeSwanLab) -> None:
    (place.cwd / "swanlab.yaml").write_text(f"mode: online\napi_host: {cloud.address}\n")
    trained = imitation.train(config({"report_to": ["all"]}, mode="disabled"), place, SWANLAB_API_KEY=KEY)

    assert trained.code == 0, trained.output
    assert cloud.requests == []
    assert [file.name for file in place.run.iterdir()] == ["train.log"]


def test_the_plugin_is_python_3_8() -> None:
    for file in Path(PLUGIN).parent.glob("*.py"):
        ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 8))


def test_what_the_config_leaves_open_comes_from_the_file_and_is_said(
    imitation: Imitation, place: Place, cloud: FakeSwanLab
) -> None:
    (place.cwd / "swanlab.yaml").write_text(f"api_host: {cloud.address}\nproject:\n  workspace: crew\n")
    cloud.projects.add("harbour")
    trained = imitation.train(config(), place, SWANLAB_API_KEY=KEY)

    assert trained.code == 0, trained.output
    assert cloud.asked("POST", "/project/crew/harbour/experiment")
    words = f"taken from {place.cwd / 'swanlab.yaml'}, since the config leaves it open: api_host={cloud.address}"
    assert words in trained.output


def test_a_key_is_not_sent_to_a_server_it_is_not_for(imitation: Imitation, place: Place, cloud: FakeSwanLab) -> None:
    (place.cwd / "swanlab.yaml").write_text(f"api_host: http://127.0.0.1:1\napi_key: {KEY}\n")
    trained = imitation.train(config(host=cloud.address), place)

    assert trained.code == 1 and "set SWANLAB_API_KEY to a key for it" in trained.output
    assert cloud.requests == []


def test_a_saved_login_is_used_for_its_own_server_only(
    imitation: Imitation, place: Place, cloud: FakeSwanLab, own_home: Path
) -> None:
    (own_home / ".swanlab").mkdir()
    login = own_home / ".swanlab" / ".netrc"
    login.write_text(f"machine {cloud.address}\nlogin {cloud.address}\npassword {KEY}\n")
    assert imitation.train(config(host=cloud.address), place).code == 0
    assert "train/loss" in cloud.metrics

    with fake_swanlab() as other:
        trained = imitation.train(config(host=other.address), place)
        assert trained.code == 1 and f"SwanLab has no key for {other.address}" in trained.output
        assert other.requests == []


@pytest.mark.parametrize("status, words", [(401, "refuses the key"), (503, "does not answer: HTTP 503")])
def test_a_login_that_fails_ends_the_training_before_the_model_is_loaded(
    imitation: Imitation, place: Place, status: int, words: str
) -> None:
    with fake_swanlab(status=status) as fake:
        trained = imitation.train(config(host=fake.address), place, SWANLAB_API_KEY=KEY)

    assert trained.code == 1 and "parsed" not in trained.output
    assert f"swift-fa: SwanLab's server {fake.address} {words}" in trained.output
    assert "Traceback" not in trained.output


def test_a_message_is_sent_at_the_end_and_its_secrets_are_in_no_file(
    imitation: Imitation, place: Place, cloud: FakeSwanLab
) -> None:
    message = Notification(method="lark", webhook_url=f"{cloud.address}/hook/MARKER1TOKEN", secret="MARKER2SECRET",
                           email_language="en")
    trained = imitation.train(config(mode="offline", host=cloud.address, notification=message), place)

    assert trained.code == 0, trained.output
    (sent,) = cloud.asked("POST", "/hook/MARKER1TOKEN")
    assert sent.body["sign"] and "completed successfully" in sent.body["content"]["text"]
    for marker in ("MARKER1TOKEN", "MARKER2SECRET"):
        assert files_with(marker, place.cwd, place.run) == []
    assert (place.run / SENT).exists(), "or the launcher would send another"


@pytest.mark.parametrize("message, words", [
    (Notification(method="pigeon"), "SwanLab has no notification method pigeon; it has lark, "),
    (Notification(method="slack"), "swanlab.notification is incomplete for slack: missing"),
])
def test_a_notification_that_cannot_work_ends_the_training_early(
    imitation: Imitation, place: Place, message: Notification, words: str
) -> None:
    trained = imitation.train(config(mode="offline", notification=message), place)

    assert trained.code == 1 and "parsed" not in trained.output and "Traceback" not in trained.output
    assert words in trained.output


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The script and arguments of a real training of three steps, without those of tracking."""
    import swift

    folder = tmp_path_factory.mktemp("tiny")
    model, rows = make_tiny_model(folder / "model"), make_chat_rows(folder / "chat.jsonl", 40)
    return [str(Path(swift.__file__).parent / "cli" / "sft.py"), "--model", str(model), "--model_type", "qwen2",
            "--template", "qwen2_5", "--dataset", str(rows), "--tuner_type", "lora", "--torch_dtype", "float32",
            "--check_model", "false", "--use_cpu", "true", "--max_steps", "3", "--logging_steps", "1"]


def train(tiny: list[str], config: ResolvedConfig, place: Place, *words: str, **env: str) -> Trained:
    """Runs `swift sft` as the launcher would, and notes every command line that it and its children have."""
    settings = make_swanlab_settings(config, None, str(place.run))
    arguments = {**settings.arguments, "external_plugins": PLUGIN if settings.jobs else "",
                 "output_dir": str(place.run / "output")}
    given = [word for name, value in arguments.items() if value
             for word in (f"--{name}", *([value] if isinstance(value, str) else value))]
    seen: set[str] = set()
    with place.log.open("wb") as log:
        child = psutil.Popen([sys.executable, *words, *tiny, *given], cwd=place.cwd, stdout=log, stderr=log,
                             stdin=subprocess.DEVNULL, env=environment(config, settings, env))
        give_up = time.monotonic() + 300
        while child.poll() is None:
            with suppress(psutil.Error):
                family = (child, *child.children(recursive=True))
                seen |= {" ".join(process.cmdline()) for process in family}
                if time.monotonic() > give_up:
                    [process.kill() for process in family]
            time.sleep(0.2)
    return Trained(child.returncode, place.log.read_text(errors="replace"), "\n".join(seen))


@pytest.mark.training
def test_a_real_training_in_the_cloud(tiny: list[str], place: Place, cloud: FakeSwanLab) -> None:
    (place.cwd / "swanlab.yaml").write_text("mode: disabled\napi_host: http://127.0.0.1:1\n")
    message = Notification(method="lark", webhook_url=f"{cloud.address}/hook", secret="MARKER2SECRET")
    trained = train(tiny, config(host=cloud.address, notification=message), place, SWANLAB_API_KEY=KEY)

    assert trained.code == 0, trained.output
    assert cloud.asked("POST", "/harbour/experiment")[0].body["name"] == "first tide"
    assert {"train/loss", "train/grad_norm"} <= cloud.metrics
    assert len(cloud.asked("POST", "/hook")) == 1
    assert [file.name for file in place.cwd.iterdir()] == ["swanlab.yaml"]
    for marker in (KEY, "MARKER2SECRET"):
        assert marker not in trained.command_lines
        assert files_with(marker, place.cwd, place.run) == []


@pytest.mark.training
def test_two_processes_make_one_offline_run(tiny: list[str], place: Place, cloud: FakeSwanLab) -> None:
    trained = train(tiny, config(mode="offline", host=cloud.address), place,
                    "-m", "torch.distributed.run", "--nproc_per_node", "2", SWANLAB_API_KEY=KEY)

    assert trained.code == 0, trained.output
    assert cloud.requests == []
    assert [str(folder) for folder in (place.run / "swanlab").glob("run-*")] == [place.told["dir"]]
    assert list(place.cwd.iterdir()) == []


@pytest.mark.training
def test_disabled_writes_and_sends_nothing(tiny: list[str], place: Place, cloud: FakeSwanLab) -> None:
    trained = train(tiny, config({"report_to": ["swanlab", "tensorboard"]}, mode="disabled", host=cloud.address), place,
                    SWANLAB_API_KEY=KEY)

    assert trained.code == 0, trained.output
    assert cloud.requests == [] and "swanlab.cn" not in trained.output
    assert sorted(path.name for path in place.run.iterdir()) == ["output", "train.log"]
    assert list(place.cwd.iterdir()) == []
    assert list((place.run / "output").glob("*/runs")), "the user's other tracker stays"


@pytest.mark.parametrize("mode", ["cloud", "offline"])
def test_a_run_is_continued_under_its_id(mode: str, tmp_path: Path, imitation: Imitation, cloud: FakeSwanLab) -> None:
    """SWANLAB_RUN_ID and SWANLAB_RESUME, which `swift-fa resume` sets, hold against what the plugin sets."""
    told = []
    for name in ("first", "second"):
        place = Place(tmp_path / name / "cwd", tmp_path / name / "run")
        place.cwd.mkdir(parents=True)
        place.run.mkdir()
        env = {"SWANLAB_RUN_ID": told[0]["run_id"], "SWANLAB_RESUME": "allow"} if told else {}
        done = imitation.train(config(mode=mode, host=cloud.address), place, SWANLAB_API_KEY=KEY, **env)
        assert done.code == 0, done.output
        told.append(place.told)
    assert told[0]["run_id"] == told[1]["run_id"] and told[0]["dir"] != told[1]["dir"]
    if mode == "offline":  # and uploading both parts makes one run of them
        assert not cloud.requests
        for part in told:
            words = [str(Path(sys.executable).with_name("swanlab")), "sync", "--id", part["run_id"], part["dir"]]
            subprocess.run([*words, "--host", cloud.address, "--api-key", KEY], check=True, capture_output=True, timeout=60)
    assert [request.body["cuid"] for request in cloud.asked("POST", "/experiment")] == [told[0]["run_id"]] * 2
