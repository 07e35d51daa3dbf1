"""What the plugin's monitor counts, writes, ends and survives; on plain tensors, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from by_path import load_file

from swift_fa_launcher.launch.plan import PLUGIN, PLUGIN_VARIABLE
from swift_fa_launcher.runs.monitor import read_measured, read_monitor, render_measured

pytestmark = pytest.mark.stack
torch = pytest.importorskip("torch")
NO = -100

#: Two rows of 3 and 5 tokens, padded to 5; the other way round; and both joined.
PADDED = {"input_ids": [[7, 8, 9, 0, 0], [1, 2, 3, 4, 5]], "attention_mask": [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]],
          "labels": [[NO, 8, 9, NO, NO], [NO, 2, 3, 4, 5]]}
JOINED = {"input_ids": [[7, 8, 9, 1, 2, 3, 4, 5]], "position_ids": [[0, 1, 2, 0, 1, 2, 3, 4]],
          "labels": [[NO, 8, 9, NO, 2, 3, 4, 5]]}


def load_monitor() -> Any:
    return load_file(Path(PLUGIN).with_name("swift_fa_monitor.py"))


def count(inputs: dict[str, Any], packed: bool) -> tuple[int, int, int]:
    monitor = load_monitor()
    tensors = {name: torch.tensor(value) for name, value in inputs.items()}
    tokens, places, examples = monitor.count(tensors, 0, packed)
    return int(tokens), places, int(examples)


@pytest.mark.parametrize(("inputs", "packed", "counted"), [
    (PADDED, False, (8, 10, 2)),
    ({**PADDED, "attention_mask": [[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]], "position_ids": [[0, 0, 0, 1, 2], [0, 1, 2, 3, 4]]},
     False, (8, 10, 2)),  # padded at the left, with positions
    ({k: v for k, v in PADDED.items() if k != "attention_mask"}, False, (8, 10, 2)),
    (JOINED, True, (8, 8, 2)),
    ({**JOINED, "attention_mask": [[1] * 8]}, True, (8, 8, 2)),
    # filled up for several devices: positions there begin anew, and are no examples
    ({"input_ids": [[7, 8, 9, 0, 0, 0]], "position_ids": [[0, 1, 2, 0, 1, 0]], "labels": [[NO, 8, 9, NO, NO, NO]]},
     True, (3, 6, 1)),
    # a model whose end-of-text is its padding too, and is learned
    ({"input_ids": [[7, 0, 8, 0]], "position_ids": [[0, 1, 0, 1]], "labels": [[NO, 0, NO, 0]]}, True, (4, 4, 2)),
    ({"input_ids": [[7, 8, 9, 1, 2]], "position_ids": [[[0, 1, 1, 0, 1]]] * 3, "labels": [[7, 8, 9, 1, 2]]}, True, (5, 5, 2)),
    ({"input_ids": [[7, 8, 9, 1, 2]], "position_ids": [[[0, 0, 0, 0, 0]]] * 3, "text_position_ids": [[0, 1, 0, 1, 2]]},
     True, (5, 5, 2)),
    ({"input_ids": [[7, 8, 9, 1, 2]], "cu_seq_lens_q": [0, 2, 3, 5]}, True, (5, 5, 3)),
])
def test_tokens_places_and_examples_of_a_batch(inputs: dict[str, Any], packed: bool, counted: tuple[int, int, int]) -> None:
    assert count(inputs, packed) == counted


@dataclass
class Ended:
    code: int
    told: dict[str, Any]  # the trainer's own account
    output: str

    @property
    def said(self) -> list[str]:
        return [line for line in self.output.splitlines() if line.startswith("swift-fa: ")]


class Trainings:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def run(self, folder: Path, *ranks: Any, attention: str = "sdpa", wants: str = "", **more: Any) -> list[Ended]:
        """One training; a list of steps for each of its processes."""
        assert self.process.stdin and self.process.stdout
        logs = [Path(f"{folder}.{rank}.log") for rank in range(len(ranks))]
        told = {PLUGIN_VARIABLE: json.dumps({"monitor": {"folder": str(folder), "wants": wants}})}
        several = {"WORLD_SIZE": str(len(ranks)), "MEET": f"{folder}.meet"} if len(ranks) > 1 else {}
        print(json.dumps([{"plugin": PLUGIN, "attention": attention, "steps": steps, "log": str(log), **more,
                           "env": {**told, **several, **({"RANK": str(rank)} if several else {})}}
                          for rank, (steps, log) in enumerate(zip(ranks, logs, strict=True))]),
              file=self.process.stdin, flush=True)
        codes = json.loads(self.process.stdout.readline())
        outputs = [log.read_text() for log in logs]
        last = [(output.splitlines() or [""])[-1] for output in outputs]
        return [Ended(code, json.loads(line) if line.startswith("{") else {}, output)
                for code, line, output in zip(codes, last, outputs, strict=True)]


@pytest.fixture(scope="module")
def trainings() -> Iterator[Trainings]:
    words = [sys.executable, str(Path(__file__).with_name("imitate_trainer.py"))]
    without = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    with subprocess.Popen(words, env=without, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "ready\n"
        yield Trainings(process)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "monitor.jsonl").read_text().splitlines()]


def shown(folder: Path, lang: str = "en") -> str:
    return render_measured(read_measured(folder), lang)


def test_a_training_is_written_down_and_its_figures_are_logged(trainings: Trainings, tmp_path: Path) -> None:
    (ended,) = trainings.run(tmp_path, [[PADDED, PADDED], [PADDED], [PADDED]], wait=0.6)
    assert ended.code == 0 and ended.said == [] and ended.told["seen"] == 4, ended.output
    first, second, third = lines(tmp_path)
    assert (first["step"], first["tokens"], first["examples_per_step"], first["padding"]) == (1, 16, 4, 0.2)
    assert (second["step"], second["tokens"], second["examples_per_step"], second["loss"]) == (2, 8, 2, 1.5)
    assert second["seconds"] < 0.3 and third["seconds"] < 0.3, "evaluating is not training"
    assert second["tokens_per_second"] == pytest.approx(8 / second["seconds"], rel=0.01)
    assert 0.05 < third["peak_memory_gib"] < 8
    assert ended.told["logged"][0] == {"loss": 1.5, **{name: first[name] for name in
                                                      ("tokens_per_second", "padding", "examples_per_step")}}
    assert ended.told["logged"][1] == {"eval_loss": 1.0}
    # and the launcher reads it
    found = read_monitor(tmp_path)
    assert (found["attention"], found["kernel"], found["packing"], found["world_size"]) == ("sdpa", "torch's SDPA", "none", 1)
    assert found["versions"]["torch"] == torch.__version__ and found["last"] == third
    assert found["mean"]["examples_per_step"] == 2, "without the first, which warms up"
    assert "torch's SDPA" in shown(tmp_path) and "padding 20.0%" in shown(tmp_path)
    assert "填充 20.0%" in shown(tmp_path, "zh")


def test_all_processes_are_counted_and_one_writes(trainings: Trainings, tmp_path: Path) -> None:
    ended = trainings.run(tmp_path, [[JOINED], [JOINED]], [[JOINED], [{**JOINED, "position_ids": [[0, 1, 2, 3, 0, 1, 0, 1]]}]],
                  padding_free=True)
    assert [e.code for e in ended] == [0, 0], ended
    counted = [(x["step"], x["tokens"], x["examples_per_step"], x["padding"]) for x in lines(tmp_path)]
    assert counted == [(1, 16, 4, 0), (2, 16, 5, 0)]
    assert [[x["examples_per_step"] for x in e.told["logged"][::2]] for e in ended] == [[4, 5], [4, 5]]
    assert read_monitor(tmp_path)["world_size"] == 2


def test_flash_attention_that_is_not_there_ends_the_first_step(trainings: Trainings, tmp_path: Path) -> None:
    (ended,) = trainings.run(tmp_path, [[PADDED]], wants="attn_impl=flash_attn")
    assert ended.code == 1 and ended.told == {}
    assert len(ended.said) == 1 and "attn_impl=flash_attn" in ended.said[0] and "torch's SDPA" in ended.said[0]
    assert "Traceback" not in ended.output
    assert read_monitor(tmp_path)["attention"] == "sdpa" and not (tmp_path / "monitor.jsonl").exists()
    assert shown(tmp_path) == "torch's SDPA"


def test_of_several_processes_one_says_why_before_the_others_end(trainings: Trainings, tmp_path: Path) -> None:
    ended = trainings.run(tmp_path, [[PADDED]], [[PADDED]], wants="packing")
    assert [(e.code, len(e.said)) for e in ended] == [(1, 1), (1, 0)], ended


@pytest.mark.parametrize(("attention", "kernel"), [
    ("kernels-community/flash-attn2", "hub kernel kernels-community/flash-attn2"), ("flash_attention_2", "flash")])
def test_flash_attention_under_any_of_its_names_goes_on(
    trainings: Trainings, tmp_path: Path, attention: str, kernel: str
) -> None:
    (ended,) = trainings.run(tmp_path, [[PADDED]], wants="packing", attention=attention)
    assert ended.code == 0 and ended.said == [] and kernel in read_monitor(tmp_path)["kernel"]


def test_a_monitor_that_fails_says_so_once_and_the_training_goes_on(trainings: Trainings, tmp_path: Path) -> None:
    (ended,) = trainings.run(tmp_path / "gone", [[PADDED], [PADDED], [PADDED]])
    assert ended.code == 0 and ended.told["seen"] == 3
    assert ended.told["logged"] == [{"loss": 1.5}, {"eval_loss": 1.0}] * 3
    assert len(ended.said) == 1 and "the monitor is off: FileNotFoundError" in ended.said[0]
    assert read_monitor(tmp_path / "gone") == {} and shown(tmp_path / "gone") == ""


def test_where_one_process_cannot_count_none_waits_for_it(trainings: Trainings, tmp_path: Path) -> None:
    ended = trainings.run(tmp_path, [[PADDED]] * 3, [[PADDED], [{"pixels": [1]}], [PADDED]])
    assert [(e.code, e.told.get("seen")) for e in ended] == [(0, 3), (0, 3)], ended
    assert len(lines(tmp_path)) == 1 and [len(e.said) for e in ended] == [0, 1]


def test_a_line_that_was_cut_off_is_no_entry(tmp_path: Path) -> None:
    whole = {"step": 1, "tokens": 8, "seconds": 2.0, "tokens_per_second": 4.0, "padding": 0.5, "examples_per_step": 2,
             "peak_memory_gib": 1.0, "monitor_seconds": 0.01}
    (tmp_path / "monitor.jsonl").write_text(json.dumps(whole) + '\n{"step": 2, "tok')
    assert read_monitor(tmp_path)["last"] == whole and read_monitor(tmp_path)["mean"]["tokens_per_second"] == 4.0


def test_parameters_are_counted_as_the_model_would_be_whole() -> None:
    class Params4bit(torch.nn.Parameter):
        pass

    monitor = load_monitor()
    whole, taken_apart = torch.nn.Linear(4, 4, bias=False), torch.nn.Parameter(torch.empty(0))
    taken_apart.ds_numel = 100
    whole.register_parameter("shard", taken_apart)
    whole.register_parameter("four_bit", Params4bit(torch.zeros(8, dtype=torch.uint8), requires_grad=False))
    whole.config = SimpleNamespace(quantization_config=SimpleNamespace(quant_method="bitsandbytes"))
    assert monitor.size_of(whole) == {"parameters": 132, "trainable": 116, "experts": None}
    whole.config = SimpleNamespace(quantization_config={"quant_method": "gptq"}, num_experts=64)
    assert monitor.size_of(whole) == {"parameters": None, "trainable": None, "experts": 64}
