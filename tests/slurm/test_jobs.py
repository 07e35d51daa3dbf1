"""`swift-fa train launch.target=slurm` against a real Slurm of two nodes: what is submitted, refused, trained, ended, recorded.

Most trainings are an imitation of `swift sft` (`imitation/`), which takes a second; the nodes' own checks are real throughout.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import tiny  # type: ignore[import-not-found]
from slurm.cluster import Cluster, wait_for, why_not  # type: ignore[import-not-found]

pytestmark = pytest.mark.training

KEY = "marker0a1b2c3d4e5f6a7b8c9d"
IMITATION = Path(__file__).with_name("imitation")
CONFIG = tiny.CPU_LORA + """
  max_steps: {steps}
  logging_steps: 1
  save_steps: 4
  seed: 7
  output_dir: out
swanlab: {{mode: offline, project: p, experiment: e}}
run: {{name: "{name}"}}
launch: {{target: slurm, nnodes: 2, nproc_per_node: 1, grace: 4}}
env: {{OMP_NUM_THREADS: 1, PYTHONPATH: "{path}", IMITATE: "{imitate}", SWIFT_FA_MEETING: "{meeting}"}}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if why := why_not():
        pytest.skip(f"no Slurm here: {why}")
    with Cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    tiny.make_tiny_model(folder / tiny.MODEL_NAME)
    tiny.make_chat_rows(folder / tiny.ROWS_NAME, 60)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


class Work:
    """A folder with a config, and the launcher called in it."""

    def __init__(self, folder: Path, cluster: Cluster, material: Path, cache: Path) -> None:
        self.folder, self.cluster, self.material = folder, cluster, material
        self.environment = {**cluster.environment, "SWANLAB_API_KEY": KEY, "SWIFT_FA_CACHE": str(cache), "LANG": "C.UTF-8"}

    def write(self, imitate: str = "", *, steps: int = 8, real: bool = False, name: str = "two") -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = CONFIG.format(folder=self.material, steps=steps, name=name, imitate=imitate, meeting=self.meeting,
                             path="" if real else IMITATION)
        (self.folder / "c.yaml").write_text(text, encoding="utf-8")

    @property
    def meeting(self) -> Path:
        return self.material.parent / "meetings"

    def call(self, *words: str, code: int | None = 0, **env: str) -> Any:
        done = subprocess.run([sys.executable, "-m", "swift_fa_launcher", *words, "--json"], cwd=self.folder, timeout=200,
                              env={**self.environment, **env}, capture_output=True, text=True, check=False)
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout) if done.stdout else done.stderr

    def train(self, *words: str, **more: Any) -> Any:
        return self.call("train", "c.yaml", *words, **more)

    def show(self) -> Any:
        return self.call("show", "latest")

    def started(self, run: Any) -> list[Path]:
        """What the training's own processes wrote, one file each."""
        return sorted((self.meeting / run["id"]).glob("rank-*"))

    def occupy(self, *words: str, seconds: int) -> str:
        """Another's job on whole nodes; its number."""
        wrapped = ("--exclusive", "-o", "/dev/null", "--wrap", f"sleep {seconds}")
        return self.cluster.ask("sbatch", "--parsable", *words, *wrapped).strip()

    def wait_for_step(self, step: int) -> None:
        wait_for(lambda: (self.show()["progress"]["step"] or 0) >= step, 60, "the training makes no steps")


@pytest.fixture
def work(tmp_path: Path, cluster: Cluster, material: Path, cache: Path) -> Iterator[Work]:
    yield Work(tmp_path / "work", cluster, material, cache)
    cluster.empty()
    wait_for(lambda: not _left(tmp_path), 15, str(_left(tmp_path)))


def _left(folder: Path) -> list[Any]:
    return [p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(p.info["cmdline"] or [])]


def test_two_nodes_train_as_one_run(work: Work) -> None:
    """Queued, running, finished; one record, one SwanLab run, both nodes' facts; the losses of two processes on one machine."""
    work.write(real=True, steps=3)
    begun = time.monotonic()
    submitted = work.train()
    assert time.monotonic() - begun < 15  # five on an idle machine
    assert submitted["state"] in ("queued", "running") and submitted["slurm"]["job"].isdigit()
    wait_for(lambda: work.show()["state"] == "running", 30, "it does not begin")
    wait_for(lambda: work.show()["state"] not in ("queued", "running"), 150, "it does not end")
    run = work.show()
    assert (run["state"], run["exit_code"], run["slurm"]["hosts"]) == ("finished", 0, ["node1", "node2"]), run
    folder = Path(run["run_dir"])
    assert [p.name for p in folder.parent.iterdir() if not p.name.startswith(".")] == [folder.name]
    assert "world_size: 2" in (folder / "train.log").read_text()
    facts = [json.loads((folder / "nodes" / rank / "facts.json").read_text()) for rank in "01"]
    assert [one["where"] for one in facts] == ["node1", "node2"]
    assert len([*(folder / "swanlab").glob("run-*")]) == 1 and run["swanlab"]["run_id"]
    alone = work.train("launch.target=local", "launch.nnodes=null", "launch.nproc_per_node=2", "swanlab.enabled=false")
    assert alone["state"] == "finished"
    assert _losses(run) == pytest.approx(_losses(alone), rel=1e-5) and len(_losses(run)) == 3


def _losses(run: Any) -> list[float]:
    lines = Path(run["cwd"], run["output_dir"], "logging.jsonl").read_text().splitlines()
    return [line["loss"] for line in map(json.loads, lines) if "loss" in line]


def test_what_slurm_refuses_is_refused_before_a_record_in_its_own_words(work: Work) -> None:
    work.write()
    for words, said in ((["launch.slurm.partition=nope"], "partition"), (["launch.slurm.gpus_per_node=9"], "gres|Requested node"),
                        (["launch.slurm.nonsense=1"], "nonsense"), (["launch.nnodes=3"], "node")):
        refused = work.train(*words, code=1)
        assert refused["error"]["code"] == "slurm-refused"
        assert any(word in refused["error"]["why"] for word in said.split("|")), refused
    assert work.train("launch.slurm.wrap=ls", code=2)["error"]["code"] == "slurm-option-own"
    assert not (work.folder / "runs").exists()


def test_a_dry_run_holds_the_script_and_sbatchs_words(work: Work) -> None:
    work.write()
    slurm = "launch.slurm={time: 10, exclusive: true, exclude: [a, b], setup: [module load x], extra: [-v]}"
    dry = work.train("--dry-run", slurm)
    argv = dry["argv"]
    assert argv[0] == "sbatch" and {"--nodes=2", "--time=10", "--exclusive", "--exclude=a,b", "-v", "--parsable"} <= {*argv}
    assert "module load x" in argv and "module" not in dry["script"] and not (work.folder / "runs").exists()
    assert not any("gpus" in word for word in argv)  # use_cpu
    again = work.train("--dry-run")
    assert again["script"] == dry["script"]


def test_hostile_names_execute_nothing(work: Work, tmp_path: Path) -> None:
    trap = "$(touch owned) `touch owned`; touch owned & 'a' \"b\" %j %% #x \\n"
    work.folder = tmp_path / trap
    work.write(name="n")
    run = work.train("--wait", f"run.root={json.dumps('r ' + trap)}", f"run.name={json.dumps(trap)}",
                     f"run.notes={json.dumps(trap)}", f"env.X={json.dumps(trap)}")
    assert run["state"] == "finished" and run["cwd"] == str(work.folder), run
    assert (Path(run["run_dir"]) / "slurm.log").is_file() and (Path(run["run_dir"]) / "train.log").is_file()
    assert not [*tmp_path.rglob("owned")] and not [*work.cluster.base.rglob("owned")]


def test_the_key_is_nowhere(work: Work, tmp_path: Path) -> None:
    work.write("slow", steps=6)
    secret = "hf_anothersecret0123456789"
    run = work.train("env.HF_TOKEN='${oc.env:MINE}'", MINE=secret)
    job = run["slurm"]["job"]
    work.wait_for_step(2)
    told = work.cluster.ask("scontrol", "show", "job", "-d", job)
    told += work.cluster.ask("scontrol", "write", "batch_script", job, "-")
    told += "\n".join(" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))
    processes = work.started(run)
    environ = Path(f"/proc/{processes[0].suffix[1:]}/environ").read_text()
    assert KEY in environ and f"HF_TOKEN={secret}" in environ, "the training needs it"
    work.call("runs", "--end", "latest")
    told += "".join(file.read_text(errors="replace") for folder in (tmp_path, work.meeting) for file in folder.rglob("*")
                    if file.is_file())
    assert KEY not in told and secret not in told


def test_from_inside_an_allocation_it_is_the_same_job(work: Work) -> None:
    work.write()
    done = subprocess.run(["salloc", "-N1", "-n1", sys.executable, "-m", "swift_fa_launcher", "train", "c.yaml", "--json"],
                          cwd=work.folder, env=work.environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    wait_for(lambda: work.show()["state"] not in ("queued", "running"), 60, "it does not end")
    run = work.show()
    assert run["state"] == "finished" and run["slurm"]["hosts"] == ["node1", "node2"], run


def test_a_node_that_is_not_ready_stops_the_job_with_its_name(work: Work) -> None:
    work.write()
    with work.cluster.hidden("node2", work.material):
        run = work.train("--wait", code=1)
    assert (run["state"], run["exit_code"], run["slurm"]["failed"]) == ("failed", 1, "node2"), run
    assert run["diagnoses"][0]["code"] == "model-missing" and "node2" in run["diagnoses"][0]["summary"]
    assert not work.started(run) and not run["attempts"]
    assert work.cluster.state(run["slurm"]["job"]) == "FAILED"
    said = subprocess.run([sys.executable, "-m", "swift_fa_launcher", "show", "latest"], cwd=work.folder, env=work.environment,
                          capture_output=True, text=True, check=True).stdout
    assert "node2" in said and "model-missing" in said


@pytest.mark.parametrize("node", ["node1", "node2"])
def test_a_run_folder_that_is_not_shared_is_named(work: Work, node: str) -> None:
    work.write()
    (work.folder / "runs").mkdir()
    with work.cluster.hidden(node, work.folder / "runs"):
        run = work.train("--wait", code=1)
    assert run["state"] == "failed" and run["ended"] and run["slurm"]["failed"] == node, run
    assert run["diagnoses"][0]["code"] == "run-root-local" and "not a shared disk" in run["diagnoses"][0]["summary"]
    assert not work.started(run)


def test_the_node_that_failed_first_is_named_and_its_log_read(work: Work) -> None:
    work.write("kill=1")
    run = work.train("--wait", code=None)
    assert (run["state"], run["slurm"]["failed"], run["exit_code"]) == ("failed", "node2", 137), run
    assert run["slurm"]["log"] == "nodes/1/train.log" and not run["attempts"]
    assert work.call("diagnose", "latest")["diagnoses"]


@pytest.mark.parametrize("imitate", ["slow", "slow stubborn"])
def test_a_running_job_is_ended_and_nothing_is_left(work: Work, imitate: str) -> None:
    """stubborn: KillWait comes before the grace is over, and Slurm kills the job's own script too."""
    work.write(imitate, steps=100)
    run = work.train(f"launch.grace={4 if imitate == 'slow' else 60}")
    work.wait_for_step(1)
    ended = work.call("runs", "--end", "latest")
    assert (ended["state"], bool(ended["ended"])) == ("interrupted", True), ended
    pids = [int(file.suffix[1:]) for file in work.started(run)]
    assert len(pids) == 2
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids), 10, "the training lives on")


def test_a_queued_job_is_seen_and_ended(work: Work) -> None:
    work.write()
    run = work.train("launch.slurm.begin=now+1hour")
    (listed,) = work.call("runs")["runs"]
    assert listed["state"] == "queued" and listed["job"]["reason"] == "BeginTime" and listed["job"]["start"], listed
    assert work.call("resume", "latest", code=1)["error"]["code"] == "run-still-running"
    ended = work.call("runs", "--end", run["id"])
    assert ended["state"] == "interrupted" and ended["ended"] and not work.started(run)


def test_a_resumed_job_goes_on(work: Work) -> None:
    """One that was ended is resumed by a job of its own, from its newest checkpoint."""
    work.write("slow", steps=9)
    work.train()
    work.wait_for_step(5)
    work.call("runs", "--end", "latest")
    run = work.call("resume", "latest", "--wait")
    assert run["state"] == "finished" and run["resumed_from"].endswith("checkpoint-4") and run["progress"]["step"] == 9, run
    assert run["slurm"]["hosts"] == ["node1", "node2"] and os.path.exists(run["resumed_from"])


def test_a_repeated_job_is_a_job_of_its_own(work: Work) -> None:
    work.write(steps=4)
    first = work.train("launch.nnodes=1", "--wait")
    run = work.call("rerun", "latest", "--wait")
    assert (run["state"], run["parent"], run["slurm"]["hosts"][:1]) == ("finished", first["id"], ["node1"]), run
    assert run["slurm"]["job"] != first["slurm"]["job"] and run["progress"]["step"] == 4


def test_a_preempted_job_goes_on_in_the_same_run(work: Work) -> None:
    """From the newest whole checkpoint: the newest has lost a process's state."""
    work.write("slow", steps=14)
    run = work.train()
    work.wait_for_step(9)
    urgent = work.occupy("-p", "urgent", "-N2", seconds=3)
    work.cluster.wait_until(run["slurm"]["job"], "PENDING", "COMPLETING", "REQUEUED")
    first = Path(work.show()["output_dir"])
    (first / "checkpoint-8" / "rng_state_1.pth").unlink()
    swanlab = json.loads((Path(run["run_dir"]) / "swanlab.json").read_text())["run_id"]
    work.cluster.wait_until(urgent, "RUNNING", "COMPLETED")
    assert work.show()["state"] == "queued"
    wait_for(lambda: work.show()["ended"], 90, "it does not go on")
    ended = work.show()
    assert (ended["id"], ended["state"], len(ended["attempts"])) == (run["id"], "finished", 1), ended
    assert ended["slurm"]["resumed_from"].endswith("checkpoint-4") and ended["output_dir"] == str(first)
    assert ended["swanlab"]["run_id"] == swanlab and ended["progress"]["step"] == 14
    assert len([*(work.folder / "runs").glob("2*")]) == 1


def test_a_lost_node_is_done_without(work: Work) -> None:
    """Slurm starts the job anew on the spare node."""
    work.write("slow", steps=10)
    filler = work.occupy("-w", "node1", seconds=60)
    work.cluster.wait_until(filler, "RUNNING")
    run = work.train("launch.nnodes=1")
    work.wait_for_step(5)
    work.cluster.ask("scancel", filler)
    assert run["id"] == work.show()["id"] and work.show()["slurm"]["hosts"] == ["node2"]
    with work.cluster.lost("node2"):
        wait_for(lambda: work.show()["ended"], 90, "it does not go on")
    ended = work.show()
    assert (ended["state"], len(ended["attempts"]), ended["slurm"]["hosts"]) == ("finished", 1, ["node1"]), ended
    assert int(ended["slurm"]["resumed_from"].rpartition("/checkpoint-")[2]) >= 4 and ended["progress"]["step"] == 10


def test_before_its_time_limit_a_job_saves_and_is_started_anew(work: Work) -> None:
    """As often as launch.restarts says; no step is made twice. The warning is sent by hand: Slurm's comes by the minute."""
    work.write("slow", steps=12)
    run = work.train("launch.restarts=1", "launch.slurm.time=10")
    job, folder = run["slurm"]["job"], Path(run["run_dir"])
    assert "B:USR1@" in " ".join(work.train("--dry-run", "launch.restarts=1")["argv"])
    work.wait_for_step(2)
    work.cluster.ask("scancel", "-b", "-s", "USR1", job)
    wait_for(lambda: len(work.show()["attempts"]) == 1, 30, "it does not save and end")
    wait_for(lambda: (work.show()["progress"]["step"] or 0) >= 6, 60, "it does not go on")
    work.cluster.ask("scancel", "-b", "-s", "USR1", job)  # no restart is left: it trains on
    wait_for(lambda: work.show()["ended"], 60, "it does not end")
    ended = work.show()
    assert (ended["state"], len(ended["attempts"])) == ("finished", 1) and ended["attempts"][0]["detail"] == "time limit", ended
    lines = Path(ended["cwd"], ended["output_dir"], "logging.jsonl").read_text().splitlines()
    assert [json.loads(line)["global_step/max_steps"] for line in lines] == [f"{step}/12" for step in range(1, 13)]
    assert folder.name == ended["id"]


GRID = ("swift.learning_rate=1e-4,2e-4,3e-4", "launch.nnodes=1")


def test_a_sweep_is_a_job_for_each_member(work: Work) -> None:
    """One at once, though there is room for all; the command returns, and Slurm does the rest; `--continue` shows what came."""
    work.write("slow", steps=4)
    (work.folder / "runs").mkdir()
    begun = work.call("sweep", "c.yaml", *GRID, "--parallel", "1")
    assert sorted(one["state"] for one in begun["members"]).count("queued") >= 2, begun
    (sweep,) = [one for one in work.call("runs")["runs"] if one["kind"] == "sweep"]
    assert sweep["state"] in ("queued", "running"), sweep
    states = set()
    wait_for(lambda: states.add(_running(work)) or work.call("show", sweep["id"])["ended"], 90, "it does not end")
    assert max(states) == 1, states
    again = work.call("sweep", "--continue", sweep["id"], "--wait")
    assert [one["state"] for one in again["members"]] == ["finished"] * 3 and len([*(work.folder / "runs").glob("2*")]) == 4
    assert work.call("show", sweep["id"])["state"] == "finished"


def _running(work: Work) -> int:
    return len(work.cluster.ask("squeue", "-h", "-t", "RUNNING", "-o", "%A").split())


def test_a_sweep_that_is_stopped_leaves_no_job_and_goes_on(work: Work) -> None:
    """Ctrl-C cancels all; the same command goes on: the member that had a checkpoint from there."""
    work.write("slow", steps=8)
    words = [sys.executable, "-m", "swift_fa_launcher", "sweep", "c.yaml", *GRID, "--wait", "--parallel", "1"]
    with subprocess.Popen(words, cwd=work.folder, env=work.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True) as child:
        wait_for(lambda: [*work.folder.glob("out/*/v0*/checkpoint-4/adapter_model.safetensors")], 60, "it does not save")
        child.send_signal(signal.SIGINT)
        said, _ = child.communicate(timeout=90)
    assert child.returncode == 130 and "sweep --continue" in said, said
    assert not work.cluster.ask("squeue", "-h", "-o", "%A").split()
    (sweep,) = [one for one in work.call("runs")["runs"] if one["kind"] == "sweep"]
    assert sweep["state"] == "interrupted", sweep
    ended = work.call("sweep", "c.yaml", *GRID, "--wait")
    assert ended["sweep"] == sweep["id"] and [one["state"] for one in ended["members"]] == ["finished"] * 3, ended
    resumed = [work.call("show", one["runs"][-1])["resumed_from"] for one in ended["members"]]
    assert sum(bool(one) for one in resumed) == 1, resumed


def test_a_refused_member_hides_nothing(work: Work) -> None:
    work.write(steps=4)
    told = work.call("sweep", "c.yaml", "launch.nnodes=1,9", "--wait", code=1)
    assert {one["member"]: one["state"] for one in told["members"]} == {1: "finished", 2: "refused"}, told
    assert "Slurm" in told["members"][1]["error"]


def test_without_a_controller_the_state_is_unknown(work: Work) -> None:
    """The last test: nodes take half a minute to come back to a controller that was away."""
    work.write()
    work.train("launch.slurm.begin=now+1hour")
    with work.cluster.without_controller():
        begun = time.monotonic()
        (listed,) = work.call("runs")["runs"]
        assert listed["state"] == "unknown" and listed["job"]["unknown"] and time.monotonic() - begun < 10
        assert work.train(code=1)["error"]["code"] in ("slurm-missing", "slurm-refused")
    assert work.call("runs")["runs"][0]["state"] == "queued"
