"""A stand-in for `swift sft`: a package `swift` whose training only counts, says what ms-swift says, and leaves what it leaves.

It needs neither torch nor ms-swift. What it does is told by its arguments (output_dir, add_version, max_steps, save_steps,
learning_rate, seed, resume_from_checkpoint) and by one variable, IMITATION, a JSON object:

    seconds   of a step                     die_at    {step: signal}, once each, before that step is logged
    stall_at  a step that never ends        fail_if   {argument: value}: an exception at the start, where all are so
    evaluate  seconds of an evaluation      every     steps between two evaluations
"""

from __future__ import annotations

import sys
from pathlib import Path

SCRIPT = r'''
import faulthandler, importlib.util, io, json, os, random, signal, struct, sys, time, zipfile
from pathlib import Path

given = {}
for word in sys.argv[1:]:
    if word.startswith("--"):
        name = word[2:]
        given[name] = []
    else:
        given[name].append(word)
one = {name: values[0] if values else "true" for name, values in given.items()}
told = json.loads(os.environ.get("IMITATION", "{}"))


def write_safetensors(file, value):
    data = struct.pack("<4f", *[value] * 4)
    header = json.dumps({"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + data)


def save(folder, step, steps, state):
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True, exist_ok=True)
    write_safetensors(checkpoint / "adapter_model.safetensors", state)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        with zipfile.ZipFile(checkpoint / name, "w") as archive:
            archive.writestr("archive/data.pkl", json.dumps(state).ljust(200))
    (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": step, "max_steps": steps, "state": state}))


class Nothing:
    def beat(self, step): pass
    def apart(self, doing): return io.StringIO()


def pulse():
    job = json.loads(os.environ.get("SWIFT_FA_PLUGIN", "{}")).get("pulse")
    if not job:
        return Nothing()
    plugin = Path(given["external_plugins"][-1]).with_name("swift_fa_pulse.py")
    spec = importlib.util.spec_from_file_location("pulse", str(plugin))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    faulthandler.register(job["signal"], file=open(os.path.join(job["folder"], "stacks.txt"), "ab"))
    return module.Pulse(os.path.join(job["folder"], "pulse.json"))


if (wrong := told.get("fail_if")) and all(one.get(name) == value for name, value in wrong.items()):
    raise ValueError(f"cannot train with {wrong}")
output = Path(one.get("output_dir", "output")).absolute()
if one.get("add_version") != "false":
    n = len(list(output.glob("v*"))) if output.is_dir() else 0
    output = output / f"v{n}-20261127-000000"
output.mkdir(parents=True, exist_ok=True)
print(f"[INFO:swift] output_dir: {output}", flush=True)
steps, save_steps = int(one.get("max_steps", 4)), int(one.get("save_steps", 2))
rate, begin = float(one.get("learning_rate", 1e-4)), 0
state = 1.0 + int(one.get("seed", 42)) / 100
if resumed := one.get("resume_from_checkpoint"):
    before = json.loads(Path(resumed, "trainer_state.json").read_text())
    begin, state = before["global_step"], before["state"]
heart, log = pulse(), output / "logging.jsonl"
for step in range(begin + 1, steps + 1):
    heart.beat(step - 1)
    if step == told.get("stall_at") and not (output / "stalled").exists():
        (output / "stalled").touch()
        time.sleep(600)
    number = told.get("die_at", {}).get(str(step))
    if number and not (output / f"died-{step}").exists():
        (output / f"died-{step}").touch()
        os.kill(os.getpid(), number)
        time.sleep(60)
    time.sleep(told.get("seconds", 0.01))
    state = state * (1 - 0.1 * rate * 1e4 / (1 + rate * 1e4))
    row = {"loss": state, "grad_norm": state / 3, "global_step/max_steps": f"{step}/{steps}"}
    print(row, flush=True)
    with log.open("a") as file:
        file.write(json.dumps(row) + "\n")
    if step % told.get("every", 10 ** 9) == 0:
        with heart.apart("evaluating"):
            time.sleep(told["evaluate"])
        with log.open("a") as file:
            file.write(json.dumps({"eval_loss": state * 1.1, "global_step/max_steps": f"{step}/{steps}"}) + "\n")
    if step % save_steps == 0 or step == steps:
        with heart.apart("saving"):
            save(output, step, steps, state)
with log.open("a") as file:
    file.write(json.dumps({"train_runtime": 1.0, "train_loss": state, "global_step/max_steps": f"{steps}/{steps}"}) + "\n")
print("[INFO:swift] End time of running main: 2026-11-27 00:00:00", flush=True)
'''


def make_swift(folder: Path) -> Path:
    """The package below `folder`, for PYTHONPATH; its __init__.py."""
    package = folder / "swift"
    (package / "cli").mkdir(parents=True)
    for name in ("__init__.py", "cli/__init__.py"):
        (package / name).write_text("")
    (package / "cli" / "sft.py").write_text(SCRIPT)
    info = folder / "ms_swift-4.6.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ms-swift\nVersion: 4.6.0\n")
    (info / "top_level.txt").write_text("swift\n")
    (info / "RECORD").write_text("swift/__init__.py,,\nswift/cli/sft.py,,\n")
    return package / "__init__.py"


if __name__ == "__main__":
    print(make_swift(Path(sys.argv[1])))
