"""What no rule foresees, provoked for real with `swift sft` on the CPU and stopped by its rehearsal; and what is to pass.

One process imports ms-swift and forks every rehearsal, as `swift-fa tune` does."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny  # type: ignore[import-not-found]
from by_path import load_file

from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.finding import blocking
from swift_fa_launcher.machine.facts import Rehearsal
from swift_fa_launcher.stories.launch import judge, look

pytestmark = pytest.mark.training
BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "rehearsal.py"
CONFIG = tiny.CPU_LORA + """
  max_length: 512
  max_steps: 3
  learning_rate: 1e-3
  output_dir: out
swanlab: {{enabled: false}}
"""
LOSS = """
import swift.trainers.seq2seq_trainer as trainers

def compute_loss(self, model, inputs, *args, **kwargs):
    {does}

trainers.Seq2SeqTrainer.compute_loss = compute_loss
"""

#: name, settings, the code, and what its error says.
FAILURES = [
    ("a schedule that lacks its least", "swift.lr_scheduler_type=cosine_with_min_lr", "min_lr"),
    ("a schedule that ends above its start", "swift.lr_scheduler_type=polynomial swift.learning_rate=1e-8", "lr_end"),
    ("a schedule's argument that is none", """swift.lr_scheduler_kwargs='{"bogus": 1}'""", "bogus"),
    ("layers that the model lacks", "swift.target_modules=nonexistent_proj", "nonexistent_proj"),
    ("blocks that do not divide", "swift.tuner_type=boft swift.boft_block_size=7", "boft_block_size"),
    ("LoftQ without its config", "swift.init_weights=loftq", "loftq_config"),
    ("CorDA without its eigenvalues", "swift.init_weights=corda", "preprocess_corda"),
    ("checkpointing's argument that is none",
     """swift.gradient_checkpointing=true swift.gradient_checkpointing_kwargs='{"bad": 1}'""", "bad"),
    ("a loss that nobody registered", "swift.loss_type=nothing", "nothing"),
    ("LISA over LoRA", "swift.callbacks=lisa", "LISA"),
    ("a plugin whose loss fails", "swift.external_plugins={folder}/raises.py", "wants a label column"),
    ("a plugin that imports what is not there", "swift.external_plugins={folder}/imports.py", "nothing_of_this_name"),
    ("more tokens than embeddings", "swift.model={folder}/few-embeddings", "index out of range"),
    ("an activation that transformers lacks", "swift.model={folder}/activation", "silu2"),
    ("a vocabulary's cache cleared never", "swift.torch_empty_cache_steps=0", "torch_empty_cache_steps"),
]
PASSING = [
    "swift.tuner_type=vera", "swift.use_dora=true", "swift.use_rslora=true swift.init_weights=eva", "swift.optim=adafactor",
    "swift.tuner_type=full swift.neftune_noise_alpha=5", "swift.streaming=true", "swift.lazy_tokenize=true",
    "swift.group_by_length=true swift.lr_scheduler_type=inverse_sqrt", "swift.tuner_type=adalora",
    "swift.bf16=true swift.torch_dtype=bfloat16 swift.optim=sgd", "swift.label_smoothing_factor=0.1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("small")
    model = made / tiny.MODEL_NAME
    tiny.make_tiny_model(model)
    tiny.make_chat_rows(made / tiny.ROWS_NAME, 40)
    (made / "c.yaml").write_text(CONFIG.format(folder=made), encoding="utf-8")
    for name, change in (("few-embeddings", {"vocab_size": 20}), ("activation", {"hidden_act": "silu2"})):
        shutil.copytree(model, made / name)
        config = json.loads((model / "config.json").read_text())
        (made / name / "config.json").write_text(json.dumps({**config, **change}))
    (made / "raises.py").write_text(LOSS.format(does="raise RuntimeError('this loss wants a label column')"))
    (made / "nan.py").write_text(LOSS.format(
        does="return model(input_ids=inputs['input_ids']).logits.mean() * float('nan')"))
    (made / "imports.py").write_text("import nothing_of_this_name\n")
    return made


@pytest.fixture(scope="module")
def rehearsed(folder: Path) -> Iterator[Any]:
    """Settings to (errors before, errors after, the rehearsal)."""
    courses: list[Any] = []

    def run(words: str) -> tuple[set[str], set[str], Rehearsal]:
        config = resolve_config([folder / "c.yaml"], shlex.split(words.replace("{folder}", str(folder))))
        before = judge(config, look(config, say=_silent), ())
        if not courses:
            courses.append(load_file(BENCHMARK).Course(before.config, before.facts, folder))
        found, *_ = courses[0].order(before.config, before.facts, 0)
        after = judge(config, replace(before.facts, rehearsal=found), ())
        return {one.code for one in blocking(before.findings)}, {one.code for one in blocking(after.findings)}, found

    yield run
    for course in courses:
        course.stop()


def _silent(text: Text) -> None:
    pass


@pytest.mark.parametrize(("words", "says"), [failure[1:] for failure in FAILURES], ids=[failure[0] for failure in FAILURES])
def test_what_no_rule_knows_is_stopped(rehearsed: Any, words: str, says: str) -> None:
    before, after, found = rehearsed(words)
    assert not before and after == {"rehearsal-failed"}, found
    assert says in found.error, found.error


def test_a_cause_is_named_only_where_the_error_says_it(rehearsed: Any) -> None:
    """BOFT warns that it lacks a compiler, and then fails of something else."""
    assert rehearsed("swift.tuner_type=boft swift.boft_block_size=7")[2].code is None
    assert rehearsed("swift.external_plugins={folder}/imports.py")[2].code == "package-missing"


def test_a_loss_that_is_no_number_is_stopped(rehearsed: Any) -> None:
    before, after, found = rehearsed("swift.external_plugins={folder}/nan.py")
    assert not before and after == {"loss-not-finite"}, found


@pytest.mark.parametrize("words", PASSING)
def test_what_trains_passes(rehearsed: Any, words: str) -> None:
    before, after, found = rehearsed(words)
    assert not before and not after and not found.error and not found.cannot, found
    assert found.losses and found.trials
