"""Trainings without a model under the plugin: a trainer that does what transformers' does with a batch, in the same order.

Importing torch takes seconds, so one process imports once and then forks. A line of its input is a list of processes
that train together, each `{"plugin", "attention", "steps": [[batch, ...], ...], "env", "log", ...}`; the answer is their
exit codes. A batch is argument name to nested numbers. A process's last line is JSON: what was logged, and how many
batches the trainer itself was given. RANK and WORLD_SIZE make it one of several, which meet at $MEET.

Source: transformers/trainer.py, `_inner_training_loop` and `_maybe_log_save_evaluate`, 4.56 to 5.19.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import torch


def serve() -> dict[str, Any]:
    """Answers line after line; returns in each process that is to become a training, with its job."""
    print("ready", flush=True)
    for line in sys.stdin:
        children = []
        for job in json.loads(line):
            children.append(os.fork())
            if children[-1] == 0:
                os.environ.update(job["env"])
                log = os.open(job["log"], os.O_WRONLY | os.O_CREAT)
                for number in (1, 2):
                    os.dup2(log, number)
                return dict(job)
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)
    sys.exit()


job = serve()


class Qwen2Attention(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(_attn_implementation=job["attention"])


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = Qwen2Attention()
        self.config = self.layer.config


class Trainer:
    def __init__(self) -> None:
        self.model, self.state = Model(), SimpleNamespace(global_step=0)
        self.args = SimpleNamespace(device=torch.device("cpu"))
        self.processing_class = SimpleNamespace(pad_token_id=0)
        self.train_dataset: list[Any] = []
        self.template = SimpleNamespace(padding_free=job.get("padding_free", False), sequence_parallel_size=1)
        self.seen, self.logged = 0, []  # type: ignore[var-annotated]

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> None:
        assert num_items_in_batch == 1, "given on"
        self.seen += 1

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        self.logged.append(logs)

    def _maybe_log_save_evaluate(self) -> None:
        self.log({"loss": 1.5})
        time.sleep(job.get("wait", 0.0))  # evaluates
        self.log({"eval_loss": 1.0})

    def train(self) -> None:
        for step in job["steps"]:
            for batch in step:
                inputs = {name: torch.tensor(value) for name, value in batch.items()}
                self.training_step(self.model, inputs, num_items_in_batch=1)
            time.sleep(0.01)
            self.state.global_step += 1
            self._maybe_log_save_evaluate()


sys.modules["transformers"] = transformers = ModuleType("transformers")
transformers.Trainer = Trainer  # type: ignore[attr-defined]
world = int(os.environ.get("WORLD_SIZE", "1"))
if world > 1:
    torch.distributed.init_process_group("gloo", f"file://{os.environ['MEET']}", rank=int(os.environ["RANK"]),
                                         world_size=world)
spec = importlib.util.spec_from_file_location("swift_fa_plugin", job["plugin"])
assert spec and spec.loader
spec.loader.exec_module(importlib.util.module_from_spec(spec))
trainer = Trainer()
trainer.train()
print(json.dumps({"seen": trainer.seen, "logged": trainer.logged}), flush=True)
