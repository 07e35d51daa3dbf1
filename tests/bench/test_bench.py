"""`swift-fa bench` with a real `swift sft` on a tiny model: what is measured, what fails, and what is not done twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny  # type: ignore[import-not-found]

from swift_fa_launcher.bench.bench import bench_to_json
from swift_fa_launcher.cli import main
from swift_fa_launcher.errors import Say, Voice, Words, render_words
from swift_fa_launcher.runs.store import list_runs
from swift_fa_launcher.stories.bench import Wish, run_bench

pytestmark = pytest.mark.training

CONFIG = """
swift:
  model: Qwen2.5-tiny-Instruct
  model_type: qwen2
  template: qwen2_5
  dataset: chat.jsonl
  tuner_type: lora
  torch_dtype: float32
  fp16: false
  use_cpu: true
  max_steps: 1
  dataloader_num_workers: 0
  external_plugins: [trouble.py]
swanlab: {mode: offline}
run: {name: tiny, tags: [mine]}
"""
TROUBLE = """import pathlib, sys
if 'eager' in sys.argv and pathlib.Path('full').exists():
    raise RuntimeError('CUDA out of memory. Tried to allocate 2.00 GiB')
"""
NEWER = '{"schema": 2}'  # a launcher's that is not here
WORDS = ("bench", "c.yaml", "--rows", "16", "--out", "results", "--json")


class Heard(Voice):
    """Hands on what is said, and keeps the steps."""

    def __init__(self, say: Say) -> None:
        self._say, self.steps = say, list[tuple[str, int, int]]()

    def say(self, words: Words) -> None:
        self._say(words)

    def training(self, place: str, step: int, steps: int) -> None:
        self.steps.append((place, step, steps))


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tiny.make_tiny_model(tmp_path / tiny.MODEL_NAME)
    tiny.make_chat_rows(tmp_path / "chat.jsonl", 40)
    (tmp_path / "c.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "trouble.py").write_text(TROUBLE, encoding="utf-8")
    return tmp_path


def test_a_bench_goes_on_where_it_failed_or_was_cut_off(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (work / "full").touch()
    assert main([*WORDS, "--variants", "eager,sdpa,packing"]) == 1, "one failed"
    out, err = capfd.readouterr()
    eager, sdpa, packing = json.loads(out)["variants"]
    assert (eager["name"], eager["status"]) == ("eager", "failed") and "out of memory" in eager["reason"]
    assert (packing["name"], packing["status"]) == ("packing", "skipped") and "gpu-none" in packing["reason"]
    check_measured(sdpa["measured"])
    assert sdpa["matrix_share"] > 0 and sdpa["ratio"] == 1 and "'loss'" not in out + err, "the training's output is in its log"
    records = [entry.record for entry in list_runs(work / "runs") if entry.record]
    assert sorted(record.name for record in records) == ["tiny-bench-eager", "tiny-bench-sdpa"]
    assert all(record.tags == ("mine", "bench") for record in records)
    assert not list(work.rglob("checkpoint-*")) and not list(work.rglob("swanlab-*"))

    # cut off before the second training: what was measured is there
    def interrupt(words: Words) -> None:
        if "training" in render_words(words, "en"):
            raise KeyboardInterrupt

    cut = run_bench([Path("c.yaml")], [], Wish(("eager", "sdpa"), rows=16, out=Path("results")), Heard(interrupt))
    assert cut.exit_code == 130 and cut.interrupted
    assert cut.bench.measured("sdpa") and "sdpa" in (work / "results" / "table.md").read_text()

    (work / "full").unlink()
    heard = Heard(print)
    went_on = run_bench([Path("c.yaml")], [], Wish(("eager", "sdpa"), rows=16, out=Path("results")), heard)
    assert went_on.exit_code == 0 and heard.steps[0] == ("(1/2) eager", 1, 1)
    eager, again = bench_to_json(went_on.bench)["variants"]
    assert again["measured"] == sdpa["measured"] and again["run"] == sdpa["run"], "not measured twice"
    check_measured(eager["measured"])
    assert eager["measured"]["tokens"] == sdpa["measured"]["tokens"], "the same rows"
    assert {"bench.json", "table.md", "output"} <= {p.name for p in (work / "results").iterdir()}

    # other rows are another bench: the old numbers are put aside; nothing is measured for what cannot run
    said = list[str]()
    other_rows = Wish(("packing",), rows=8, out=Path("results"), install=False)
    other = run_bench([Path("c.yaml")], ["swift.dataset=gone.jsonl"], other_rows,
                      Heard(lambda words: said.append(render_words(words, "en"))))
    assert other.exit_code == 1 and not other.bench.measured("sdpa") and any("arguments.dataset" in line for line in said)
    assert not any("again" in line or "matrix" in line for line in said), "sdpa was not asked for, packing cannot run"
    assert [json.loads(old.read_text())["variants"][0]["name"] for old in (work / "results").glob("bench.2*.json")] == ["eager"]


def check_measured(found: dict[str, Any]) -> None:
    assert [found[name] for name in ("steps", "examples", "rows", "batch", "accumulation")] == [1, 16, 16, 1, 16]
    assert 16_384 == found["trainable"] < found["parameters"] < 200_000 and found["recomputes"] is True
    assert found["tokens"] > 1_000 and found["wall"] > found["seconds"] > 0 and found["loss"] > 1


def test_no_secret_is_written_and_no_other_bench_at_the_same_time(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    secrets = ("env.SWANLAB_API_KEY=sekret-of-text", "swift.hub_token=123456789", "swanlab.notification.secret=sekret-of-mine")
    heard = list[int]()

    def listen(words: Words) -> None:
        if ") packing" in render_words(words, "en"):  # while the first is at it
            heard.append(main([*WORDS, "--variants", "padding_free"]))

    (work / "results").mkdir()
    (work / "results" / "bench.json").write_text(NEWER)
    wish = Wish(("packing",), rows=8, out=Path("results"), install=False)
    ended = run_bench([Path("c.yaml")], secrets, wish, Heard(listen))
    assert (work / "results" / "bench.json").read_text() != NEWER
    assert [old.read_text() for old in (work / "results").glob("bench.2*.json")] == [NEWER], "not thrown away"
    assert ended.bench.results[0].status == "skipped" and heard == [1] and "another bench" in capfd.readouterr().err
    files = {file.name: file.read_text(encoding="utf-8") for file in (work / "results").glob("*.*")}
    assert "swift.hub_token=<redacted>" in files["bench.json"] and "table.md" in files
    assert not [name for name, text in files.items() if "sekret" in text or "123456789" in text]


def test_words_that_are_no_variants_are_refused(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "c.yaml", "--variants", "sdpa,flash"]) == 2 and "--variants eager,sdpa" in capfd.readouterr().err
    assert main(["bench", "c.yaml", "--rows", "0"]) == 2
    assert main(["bench", "c.yaml", "launch.nnodes=2"]) == 1 and "launch.nnodes=1" in capfd.readouterr().err
    (work / "file").touch()
    assert main(["bench", "c.yaml", "--out", "file"]) == 1 and "--out FOLDER" in capfd.readouterr().err
