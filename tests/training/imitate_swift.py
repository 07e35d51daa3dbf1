"""Trainings without a model: does with SwanLab what `swift sft` does, in the same order.

Importing takes ten seconds, so one process imports once and then forks a training for each line of its input:
`{"plugin", "arguments", "cwd", "env", "log"}`, answered by `{"code"}`. Each training has a folder, an environment and
an end of its own, like a started one.

Source: swift/arguments/sft_args.py, `_init_swanlab`, the same in 3.8.3, 3.12.6, 4.0.4 and 4.6.0.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import sys
from types import SimpleNamespace
from typing import Any

import requests  # noqa: F401  what a training has imported by then, or the plugin will
import swanlab.integration.transformers
import swanlab.plugin.notification
import torch.utils.data  # noqa: F401
import transformers.integrations
from transformers.trainer_callback import TrainerControl, TrainerState


def serve() -> dict[str, Any] | None:
    """Answers line after line; returns one in the process that is to become its training, None at the end of input."""
    gc.freeze()  # else each training spends seconds at its end on objects that it shares with this process
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        training: dict[str, Any] = json.loads(line)
        child = os.fork()
        if child == 0:
            return training
        print(json.dumps({"code": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}), flush=True)
    return None


def enter(training: dict[str, Any]) -> None:
    os.chdir(training["cwd"])
    os.environ.clear()
    os.environ.update(training["env"])
    log = os.open(training["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)


def train(plugin: str, arguments: dict[str, Any]) -> None:
    spec = importlib.util.spec_from_file_location("plugin_under_test", plugin)
    assert spec and spec.loader
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    if arguments["report_to"] == ["all"]:  # ms-swift leaves that to transformers
        callback = transformers.integrations.INTEGRATION_TO_CALLBACK["swanlab"]()
    else:
        callback = swanlab.integration.transformers.SwanLabCallback(
            project=arguments.get("swanlab_project", "ms-swift"), workspace=arguments.get("swanlab_workspace"),
            experiment_name=arguments.get("swanlab_exp_name", "output"), config={"UPPERFRAME": "ms-swift"},
            mode=arguments.get("swanlab_mode", "cloud"))
    print("parsed", flush=True)
    args = SimpleNamespace(to_dict=lambda: {"max_steps": 3}, run_name=None)
    model = SimpleNamespace(config=None)
    control, state = TrainerControl(), TrainerState(is_world_process_zero=os.environ.get("RANK", "0") == "0")
    callback.on_train_begin(args, state, control, model=model)
    for state.global_step in (1, 2, 3):
        callback.on_log(args, state, control, model=model, logs={"loss": 1.0 / state.global_step})
    callback.on_train_end(args, state, control, model=model)
    print("trained", flush=True)


if __name__ == "__main__":
    if mine := serve():
        enter(mine)
        train(mine["plugin"], mine["arguments"])
