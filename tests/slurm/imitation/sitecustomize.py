"""In a training's PYTHONPATH: what would be torchrun becomes an imitation of `swift sft`, without torch and quick.

It prints and writes what ms-swift does: the version folder, a line a step, logging.jsonl, checkpoints with each rank's state.
$IMITATE tells how it ends: `kill=RANK`, at step 3, by SIGKILL, while the others fail as gloo does when a peer is gone;
`slow`, 0.6 s a step; `stubborn`, deaf to TERM.
"""

import json
import os
import signal
import sys
import time
import zipfile
from pathlib import Path


def value(name, otherwise=""):
    words = sys.orig_argv
    return words[words.index(name) + 1] if name in words else otherwise


def imitate():
    told = os.environ.get("IMITATE", "")
    rank, nodes, steps = int(value("--node_rank", "0")), int(value("--nnodes", "1")), int(value("--max_steps", "10"))
    if "stubborn" in told:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    output, first = Path(value("--output_dir")), 0
    run = Path(os.environ["SWIFT_FA_MEETING"], os.environ["SWIFT_FA_RUN_ID"])
    run.mkdir(parents=True, exist_ok=True)
    (run / f"rank-{rank}.{os.getpid()}").write_text(json.dumps({"argv": sys.orig_argv, "world": nodes}))
    if value("--resume_from_checkpoint"):
        first = json.loads(Path(value("--resume_from_checkpoint"), "trainer_state.json").read_text())["global_step"]
    else:
        output /= "v0-20261127-120000"
    output = output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    print(f"[INFO:swift] output_dir: {output}", flush=True)
    jobs = json.loads(os.environ["SWIFT_FA_PLUGIN"])
    folder = Path(jobs["monitor"]["folder"])
    if nodes > 1 and rank:
        folder = folder.parents[1]  # what the ranks tell each other
    else:
        swanlab = {"mode": "offline", "dir": str(run), "run_id": os.environ.get("SWANLAB_RUN_ID", "id-of-" + str(os.getpid()))}
        Path(jobs["swanlab"]["result"]).write_text(json.dumps(swanlab))
    for step in range(first + 1, steps + 1):
        time.sleep(0.6 if "slow" in told else 0.1)
        if told == f"kill={rank}" and step == 3:
            (run / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if (run / "killed").exists():
            sys.exit("RuntimeError: [gloo/transport/tcp/pair.cc:525] Connection closed by peer [127.0.1.2]:3412")
        if rank == 0:
            line = {"loss": 1 / step, "global_step/max_steps": f"{step}/{steps}"}
            print(str(line), flush=True)
            with (output / "logging.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
        leaves = has_to_leave(run / f"leave-at.{first}", step, asked=rank == 0 and (folder / "leave").exists())
        if step % 4 == 0 or leaves:
            save(output / f"checkpoint-{step}", step, steps, rank, nodes)
        if leaves:
            break
    print("[INFO:swift] End time of running main: now", flush=True)


def has_to_leave(agreed, step, asked):
    """Whether the ranks have agreed on this step, as the monitor's do: the first rank names one that none has made yet."""
    if asked and not agreed.exists():
        agreed.with_suffix(".new").write_text(str(step + 2))
        agreed.with_suffix(".new").rename(agreed)
    return agreed.exists() and step >= int(agreed.read_text())


def save(folder, step, steps, rank, nodes):
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"rng_state_{rank}.pth" if nodes > 1 else "rng_state.pth"]
    if rank == 0:
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "max_steps": steps}))
        header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
        (folder / "adapter_model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
        names += ["optimizer.pt", "scheduler.pt"]
    for name in names:
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02." * 10)


if "torch.distributed.run" in sys.orig_argv:
    imitate()
    sys.stdout.flush()
    os._exit(0)
