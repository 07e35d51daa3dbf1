"""The training in small: run by the training's interpreter in the place of ms-swift's own script, with the same arguments.

Models are made from their config with few layers and random weights, on the device; all else is the training's own: rows,
packing, template, tuner, plugin, optimizer. Two depths one after another in one process, so that imports are paid once. What each
showed goes into `folder`/rank-N.json, one file a process, anew after each depth.

Told what to do by SWIFT_FA_REHEARSAL, a JSON object: script (ms-swift's own), folder, sample (how many tokens of a row to show);
whole: all layers at once, steps: how many, and nothing waited for that a training does not wait for. With `orders` alone it does
many, each as the files in the folder say.
"""
# mypy: disable-error-code="import-not-found,import-untyped,no-any-return,misc"

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import importlib
import itertools
import json
import math
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    Job = dict[str, Any]

VARIABLE = "SWIFT_FA_REHEARSAL"
IGNORED = -100  # the label of a token that is not learned
STEPS = 10  # of each depth; in one more a GPU is kept busy to be timed
#: Seconds: a GPU that rests between short steps runs at a higher clock than one that trains (by some 20 % on an H100).
BUSY = 4.0
LINGERS = 30.0  # seconds after which what does not die is left
LINK = 60.0  # seconds that the first all-reduce of several processes may take
RECENT = 8  # batches that it goes through meanwhile: rows differ in length
PERIODS = ("decoder_sparse_step", "full_attention_interval", "sliding_window_pattern", "attn_layer_period", "expert_layer_period")


class Cannot(Exception):
    """The rehearsal itself cannot be done, which says nothing of the training."""


class Rehearsal:
    """What the two trainings showed so far. which: 0 for the first depth, 1 for the second."""

    def __init__(self, job: Job) -> None:
        self.file = Path(job["folder"], f"rank-{os.environ.get('RANK', '0')}.json")
        self.job, self.which, self.cannot = job, 0, ""
        self.whole, self.steps = bool(job.get("whole")), job.get("steps", STEPS)
        self.shown: list[Job] = []
        self.layers: int | None = None
        self.link: float | None = None  # seconds of the first all-reduce
        self.seen: Job = {}

    def write(self, **more: Any) -> None:
        told = {"layers": self.layers, "link": self.link, "depths": self.shown,
                **({"cannot": self.cannot} if self.cannot else {}), **more}
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(told), encoding="utf-8")
        os.replace(str(part), str(self.file))

    def give_up(self, why: str) -> NoReturn:
        self.cannot = why
        raise Cannot(why)


def main() -> None:
    job = json.loads(os.environ[VARIABLE])
    if job.get("orders"):
        obey_orders(Path(job["folder"]), job["script"])
    else:
        rehearse(job, sys.argv[1:])


def rehearse(job: Job, words: list[str]) -> None:
    rehearsal, script = Rehearsal(job), job["script"]
    make_small(rehearsal)
    watch_link(rehearsal)
    watch(rehearsal)
    sys.path[0] = str(Path(script).parent)  # as if it had been started itself
    for which in (0, 1):
        rehearsal.which, rehearsal.seen = which, {"held": free()}
        sys.argv = [script, *words]
        try:
            runpy.run_path(script, run_name="__main__")
        except BaseException as error:
            if rehearsal.cannot:
                rehearsal.write()
                return
            oom = "out of memory" in str(error).lower()
            said = str(error) or traceback.extract_tb(error.__traceback__)[-1].line or ""  # an assertion without words
            rehearsal.write(error=f"{type(error).__name__}: {' '.join(said.split())[:500]}", out_of_memory=oom,
                            depth=rehearsal.seen.get("depth"))
            raise
        rehearsal.shown.append(rehearsal.seen)
        rehearsal.write()
        if rehearsal.seen.get("depth") == rehearsal.layers:
            return


def free() -> int:
    """Lets go of the model before, as far as nobody holds it; bytes of the device that are held all the same."""
    import torch

    gc.collect()
    if not torch.cuda.is_initialized():
        return 0
    getattr(torch._C, "_cuda_clearCublasWorkspaces", int)()  # the second training takes its own, as the first did
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return int(torch.cuda.memory_allocated())


# Many rehearsals, imports paid once


def obey_orders(folder: Path, script: str) -> None:
    """One rehearsal after another, each in a process forked from this one, which has imported what takes long: so none meets what
    another patched, broke or left on the device. `order-N.json`: words, env, seconds at most, log; `stop` ends it."""
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # a process that has asked CUDA cannot be forked
    sys.path[0] = str(Path(script).parent)
    for module, name in (("transformers", "Trainer"), ("swift.pipelines", "sft_main")):
        getattr(importlib.import_module(module), name)
    for number in itertools.count():
        file = folder / f"order-{number}.json"
        while not file.exists():
            if (folder / "stop").exists():
                return
            time.sleep(0.02)
        order = json.loads(file.read_text(encoding="utf-8"))
        if "RANK" in os.environ:  # another rendezvous each time
            order["env"] = {**order["env"], "MASTER_PORT": str(int(os.environ["MASTER_PORT"]) + 1 + number),
                            "TORCHELASTIC_USE_AGENT_STORE": "False"}
        code = ended(begin(order), order["seconds"])
        print(f"swift-fa: rehearsal {number} ended with {code}", flush=True)


def begin(order: Job) -> int:
    """The process that carries it out."""
    if has_asked_cuda():
        with open(order["log"], "ab") as log:
            return subprocess.Popen([sys.executable, __file__, *order["words"]], env={**os.environ, **order["env"]}, stdout=log,
                                    stderr=log, start_new_session=True).pid
    if pid := os.fork():
        return pid
    code = 1
    try:
        os.setsid()
        output = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(order["env"])
        rehearse(json.loads(os.environ[VARIABLE]), order["words"])
        code = 0
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def has_asked_cuda() -> bool:
    try:
        return ctypes.CDLL("libcuda.so.1").cuDeviceGetCount(ctypes.byref(ctypes.c_int())) == 0
    except OSError:
        return False


def ended(pid: int, seconds: float) -> int:
    """Its exit code; 128+N where signal N ended it, 124 where it took too long. Nothing is left of it then: a data worker holds
    the GPU's memory for seconds more."""
    until, late = time.monotonic() + seconds, False
    while not (done := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() > until and not late:
            os.kill(pid, signal.SIGKILL)
            late = True
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < until + LINGERS:
            os.killpg(pid, signal.SIGKILL)
            time.sleep(0.02)
    return 124 if late else os.WEXITSTATUS(done[1]) if os.WIFEXITED(done[1]) else 128 + os.WTERMSIG(done[1])


# The model, with few layers


def make_small(rehearsal: Rehearsal) -> None:
    """Every model that transformers is asked to load is made from its config instead."""
    from transformers import PreTrainedModel

    load: Any = PreTrainedModel.from_pretrained.__func__

    def from_pretrained(cls: Any, path: Any, *args: Any, config: Any = None, **kwargs: Any) -> Any:
        if config is None:
            from transformers import AutoConfig

            config = AutoConfig.from_pretrained(path, trust_remote_code=True)
        text = config.get_text_config() if hasattr(config, "get_text_config") else config
        pack_here()
        try:
            rehearsal.layers, depth = cut(text, rehearsal.which, whole=rehearsal.whole)
            rehearsal.seen.update(depth=depth)
            return make_model(rehearsal, load, cls, path, config, args, kwargs)
        except Cannot as error:
            rehearsal.give_up(str(error))

    wrapped: Any = functools.wraps(load)(from_pretrained)
    PreTrainedModel.from_pretrained = classmethod(wrapped)


def pack_here() -> None:
    """Rows are packed by a thread. Once CUDA is in use ms-swift (4.6, swift/dataset/packing.py) does it in a Python that it
    starts anew, which takes longer than all steps of a rehearsal."""
    packing: Any = sys.modules.get("swift.dataset.packing")
    if not hasattr(packing, "_spawn_workers") or hasattr(packing._spawn_workers, "__wrapped__"):
        return
    start, pack = packing._spawn_workers, packing.PackingDataset.create_packed_idx

    @functools.wraps(start)
    def start_workers(context: Any, *, target: Any, jobs: list[Any]) -> list[Any]:
        if target is not pack:
            return start(context, target=target, jobs=jobs)
        for job in jobs:
            threading.Thread(target=target, args=job, daemon=True).start()
        return []

    packing._spawn_workers = start_workers


def cut(config: Any, which: int, *, whole: bool = False) -> tuple[int, int]:
    """(layers of the model, those that are left in its text config, which is changed)."""
    names = ("num_hidden_layers", "n_layer", "num_layers")
    name = next((name for name in names if isinstance(getattr(config, name, None), int)), "")
    if not name:
        raise Cannot("the model's config does not say how many layers it has")
    layers = getattr(config, name)
    if getattr(config, "num_kv_shared_layers", 0):
        raise Cannot("its layers share keys and values, so fewer of them are another model")
    depth = layers if whole else depths_of(config, layers)[which]
    for key, value in list(vars(config).items()):
        if isinstance(value, (list, tuple)) and len(value) == layers and depth < layers:
            setattr(config, key, value[:depth])
    setattr(config, name, depth)
    return layers, depth


def depths_of(config: Any, layers: int) -> tuple[int, int]:
    """Two depths that differ by whole periods of the model's pattern of layers; the model's own where it is not deeper."""
    first = getattr(config, "first_k_dense_replace", 0) or 0
    types = getattr(config, "layer_types", None) or []
    period = next((p for p in range(1, layers) if all(a == b for a, b in zip(types[first:], types[first + p:]))), 1)  # noqa: B905
    for name in PERIODS:
        period = math.lcm(period, getattr(config, name, None) or 1)
    step = max(period, 2)
    further = next((n for n in (4, 2) if first + n * step < layers), None)  # far apart, so that what is off weighs less
    return (first + step, first + further * step) if further else (layers, layers)


def make_model(rehearsal: Rehearsal, load: Any, cls: Any, path: Any, config: Any, args: Any, kwargs: Job) -> Any:
    """A model with random weights on its device. Where loading is more than that (quantisation, ZeRO 3, several devices), they
    are written down and loaded the way that the training's own would be."""
    import torch
    from transformers.integrations import is_deepspeed_zero3_enabled

    device_map = kwargs.get("device_map")
    device = device_map.get("") if isinstance(device_map, dict) else device_map
    several = device in ("auto", "balanced", "sequential") or (isinstance(device_map, dict) and set(device_map) != {""})
    quantized = kwargs.get("quantization_config") or getattr(config, "quantization_config", None)
    method = str(getattr(quantized, "quant_method", quantized or "")).lower()
    if quantized and "bitsandbytes" not in method:
        raise Cannot("its weights are quantised already, and random ones cannot be")
    dtype = next((found for found in (kwargs.get("dtype"), kwargs.get("torch_dtype"), getattr(config, "dtype", None),
                                      getattr(config, "torch_dtype", None)) if found is not None), None)
    place = device if device is not None and not several else "cuda" if torch.cuda.is_available() else "cpu"
    named = "dtype" if "dtype" in kwargs else "torch_dtype"
    attention = {"attn_implementation": kwargs["attn_implementation"]} if kwargs.get("attn_implementation") else {}
    with torch.device(place):
        model = cls._from_config(config, **({named: dtype} if dtype not in (None, "auto") else {}), **attention)
    if not (several or quantized or is_deepspeed_zero3_enabled()):
        return model.eval()
    if world_size() > 1:
        raise Cannot("its weights would have to be written down for several processes")
    folder = Path(rehearsal.job["folder"], f"model-{rehearsal.which}")
    model.save_pretrained(folder)
    del model
    free()
    return load(cls, str(folder), *args, config=config, **kwargs)


# What is seen


def watch(rehearsal: Rehearsal) -> None:
    """Times, tokens, labels and memory of every trainer that is made from now on."""
    from transformers import Trainer, TrainerCallback

    make, whole, steps = Trainer.__init__, rehearsal.whole, rehearsal.steps
    settle: Any = (lambda device: None) if whole else wait

    class Watcher(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            start(rehearsal.seen, args, more.get("train_dataloader"))

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            last = steps + 1 if args.device.type == "cuda" and not whole else steps
            control.should_training_stop = state.global_step >= last
            (wait if control.should_training_stop else settle)(args.device)
            now = time.perf_counter()
            rehearsal.seen["rests"].append(now - rehearsal.seen["clock"])  # the optimizer's part
            rehearsal.seen["ticks"].append(now)

        def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            losses = [one["loss"] for one in state.log_history if "loss" in one]
            rehearsal.seen.update(losses=losses[:steps], **({} if "busy" in rehearsal.seen else memory(args.device)))

    @functools.wraps(make)
    def make_watched(trainer: Any, *args: Any, **kwargs: Any) -> None:
        make(trainer, *args, **kwargs)
        trainer.add_callback(Watcher())
        step, recent = trainer.training_step, deque[Any](maxlen=RECENT)

        @functools.wraps(step)
        def training_step(model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
            count(rehearsal, trainer, inputs)
            if rehearsal.seen["ticks"] and len(rehearsal.seen["waits"]) < len(rehearsal.seen["ticks"]):
                rehearsal.seen["waits"].append(time.perf_counter() - rehearsal.seen["ticks"][-1])  # for a batch
            recent.append(dict(inputs))
            settle(trainer.args.device)
            began = time.perf_counter()
            loss = step(model, dict(inputs), *more, **named)
            settle(trainer.args.device)
            rehearsal.seen["clock"] = time.perf_counter()
            rehearsal.seen["batches"].append(rehearsal.seen["clock"] - began)
            if trainer.state.global_step == steps and "busy" not in rehearsal.seen and not whole \
                    and trainer.args.device.type == "cuda":
                rehearsal.seen.update(memory(trainer.args.device))  # from now on gradients stay while others are made
                rehearsal.seen["busy"] = keep_busy(lambda one: step(model, dict(one), *more, **named), recent, rehearsal.seen,
                                                     rehearsal.job.get("busy", BUSY))
            return loss

        trainer.training_step = training_step

    Trainer.__init__ = make_watched


def keep_busy(run_batch: Any, batches: Any, seen: Job, seconds: float) -> Job:
    """Seconds that the last batches together take on a device that has been busy for a while, and their tokens. The weights are
    spoilt by it."""
    import torch

    rounds = torch.tensor(max(2, int(seconds / sum(seen["batches"][-len(batches):]))), device="cuda")
    if world_size() > 1:
        torch.distributed.all_reduce(rounds, torch.distributed.ReduceOp.MAX)  # as many everywhere
    for which in range(int(rounds)):
        if which == int(rounds) // 2:
            torch.cuda.synchronize()
            began = time.perf_counter()
        for batch in batches:
            run_batch(batch)
    torch.cuda.synchronize()
    timed = int(rounds) - int(rounds) // 2
    return {"seconds": (time.perf_counter() - began) / timed, "tokens": sum(seen["tokens"][-len(batches):])}


def watch_link(rehearsal: Rehearsal) -> None:
    """The first all-reduce of several processes comes as soon as all have met, and ends the rehearsal where it does not end."""
    from torch import distributed

    meet: Any = distributed.init_process_group

    @functools.wraps(meet)
    def meet_and_try(*args: Any, **kwargs: Any) -> None:
        meet(*args, **kwargs)
        if world_size() > 1:
            rehearsal.link = try_link(rehearsal)

    distributed.init_process_group = meet_and_try


def try_link(rehearsal: Rehearsal) -> float:
    """Seconds that an all-reduce of one number takes, connecting included."""
    import torch

    where = f"cuda:{os.environ['LOCAL_RANK']}" if torch.distributed.get_backend() == "nccl" else "cpu"
    done = rehearsal.file.with_name(f"{rehearsal.file.stem}.linked")

    def give_up() -> None:
        linked = {file.stem for file in done.parent.glob("*.linked")}
        waiting = [str(rank) for rank in range(world_size()) if f"rank-{rank}" not in linked]
        why = (f"the first all-reduce of {world_size()} processes did not end in {LINK:.0f} s "
               f"({where} of {socket.gethostname()}; not through it: rank {', '.join(waiting)})")
        print(f"swift-fa: {why}", flush=True)
        rehearsal.write(error=why)
        os._exit(1)

    alarm = threading.Timer(LINK, give_up)
    alarm.daemon = True
    alarm.start()
    began = time.perf_counter()
    torch.distributed.all_reduce(torch.ones(1, device=where))
    wait(torch.device(where))
    alarm.cancel()
    done.touch()
    return time.perf_counter() - began


def start(seen: Job, args: Any, loader: Any) -> None:
    wait(args.device)
    try:
        steps = len(loader) // args.gradient_accumulation_steps
    except TypeError:
        steps = None  # a stream
    seen.update(batches=[], rests=[], ticks=[], waits=[], tokens=[], learned=[], steps_per_epoch=steps, clock=time.perf_counter(),
                accumulation=args.gradient_accumulation_steps, static=allocated(args.device))


def count(rehearsal: Rehearsal, trainer: Any, inputs: Any) -> None:
    ids, labels, mask = inputs.get("input_ids"), inputs.get("labels"), inputs.get("attention_mask")
    places = ids if ids is not None else labels
    if places is None:
        return
    real = mask.sum() if mask is not None and mask.dim() == 2 else places.numel()
    rehearsal.seen["tokens"].append(int(real))
    if labels is not None:
        rehearsal.seen["learned"].append(int((labels != IGNORED).sum()))
    if ids is not None and labels is not None and ids.shape == labels.shape and "sample" not in rehearsal.seen:
        rehearsal.seen["sample"] = sample_of(trainer, ids[0], labels[0], rehearsal.job["sample"])


def sample_of(trainer: Any, ids: Any, labels: Any, most: int) -> list[tuple[str, bool]]:
    """The beginning of a row as (text, whether it is learned)."""
    made_by = getattr(trainer, "processing_class", None) or getattr(trainer, "tokenizer", None)
    tokenizer: Any = getattr(made_by, "tokenizer", made_by)
    runs: list[tuple[list[int], bool]] = []
    for token, label in zip(ids[:most].tolist(), labels[:most].tolist()):  # noqa: B905
        learned = label != IGNORED
        if not runs or runs[-1][1] != learned:
            runs.append(([], learned))
        runs[-1][0].append(token)
    try:
        return [(tokenizer.decode([token for token in tokens if token >= 0]), learned) for tokens, learned in runs]
    except Exception:  # a processor without a tokenizer: only the sample is lost
        return []


def world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def wait(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def allocated(device: Any) -> int | None:
    """Bytes that are held before the first step: the model."""
    import torch

    return int(torch.cuda.memory_allocated(device)) if device.type == "cuda" else None


def memory(device: Any) -> Job:
    """Bytes: the most that was allocated, and what the device has."""
    import torch

    if device.type != "cuda":
        return {"peak": None, "total": None}
    return {"peak": torch.cuda.max_memory_allocated(device), "reserved": torch.cuda.max_memory_reserved(device),
            "total": torch.cuda.get_device_properties(device).total_memory}


if __name__ == "__main__":
    main()
