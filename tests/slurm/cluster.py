"""A real Slurm of several "nodes" on this one machine: loopback only, no systemd, its own folder, ended by its own pid files.

Each slurmd lives in a mount and a UTS namespace of its own: `hostname` says node1, node2, its /etc/hosts knows them all under
127.0.1.x, and a folder can be hidden from one node alone. Needs root; installs Slurm with apt-get where it is not there.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = {"slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client", "munged": "munge"}


def why_not() -> str:
    """Why no Slurm can run here; empty where one can. Installs it."""
    if os.geteuid() != 0:
        return "not root"
    missing = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    if not missing:
        return "" if _may_unshare() else "no namespaces"
    if shutil.which("apt-get") is None:
        return "Slurm is not installed, and there is no apt-get"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", *missing]
    for words in (install, ["apt-get", "update", "-qq"], install):
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        if words is install and done.returncode == 0:
            return "" if _may_unshare() else "no namespaces"
    return f"apt-get: {done.stderr.strip()[-200:]}"


def _may_unshare() -> bool:
    return subprocess.run(["unshare", "--mount", "--uts", "true"], capture_output=True, check=False).returncode == 0


def wait_for(what: Callable[[], object], seconds: float, told: str) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, told
        time.sleep(0.1)


def free_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    for first in range(30000 + secrets.randbelow(2000) * 10, 60000, count):
        with suppress(OSError):
            for port in range(first, first + count):
                socket.create_server(("127.0.0.1", port)).close()
            return first
    raise AssertionError("no free ports")


class Cluster:
    """Nodes node1, node2, ... of four CPUs each, in one partition `main`, which `urgent` may preempt."""

    def __init__(self, base: Path, nodes: int = 2, kill_wait: int = 10) -> None:
        self.base, self.nodes, self.kill_wait = base, nodes, kill_wait
        self.names = [f"node{i + 1}" for i in range(nodes)]
        self.port = free_ports(nodes + 1)
        self.conf = base / "slurm.conf"

    def __enter__(self) -> Cluster:
        for name in ("log", "pid", "state", "spool", "munge"):
            (self.base / name).mkdir(parents=True)
        for name in self.names:
            (self.base / "spool" / name).mkdir()
        (self.base / "munge" / "key").write_bytes(secrets.token_bytes(1024))
        for file in (self.base / "munge" / "key", self.base / "munge", self.base / "state"):
            file.chmod(0o600 if file.is_file() else 0o711)
        hosts = [f"127.0.0.1 localhost {socket.gethostname()}", *(f"127.0.1.{i + 1} {n}" for i, n in enumerate(self.names))]
        (self.base / "hosts").write_text("\n".join(hosts) + "\n")
        self.configure()
        try:
            self._run("munged", "--force", f"--socket={self.base}/munge/socket", f"--key-file={self.base}/munge/key",
                      f"--log-file={self.base}/log/munged.log", f"--pid-file={self.base}/pid/munged",
                      f"--seed-file={self.base}/munge/seed")
            self.start_controller()
            for name in self.names:
                self.start_node(name)
            self.wait_for_nodes()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.pid("slurmctld"):
            self.empty()
        for name in (*(f"slurmd-{name}" for name in self.names), "slurmctld", "munged"):
            self.end(name)

    def configure(self) -> None:
        nodes = "\n".join(f"NodeName={name} NodeHostname={name} NodeAddr=127.0.1.{i + 1} Port={self.port + 1 + i} CPUs=4 "
                          "RealMemory=8000 State=UNKNOWN" for i, name in enumerate(self.names))
        self.conf.write_text(f"""
ClusterName=test
SlurmctldHost={socket.gethostname().partition(".")[0]}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={self.base}/munge/socket,cred_expire=5
CredType=cred/munge
SlurmctldPort={self.port}
SlurmctldPidFile={self.base}/pid/slurmctld
SlurmdPidFile={self.base}/pid/slurmd-%n
SlurmctldLogFile={self.base}/log/slurmctld.log
SlurmdLogFile={self.base}/log/slurmd-%n.log
StateSaveLocation={self.base}/state
SlurmdSpoolDir={self.base}/spool/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
KillWait={self.kill_wait}
SlurmdTimeout=9
BatchStartTimeout=20
MessageTimeout=10
MinJobAge=300
OverTimeLimit=0
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0,batch_sched_delay=0,defer_batch,requeue_setup_env_fail
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL Default=NO MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
""")

    # Asking

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SLURM_CONF": str(self.conf)}

    def ask(self, *words: str) -> str:
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60, check=False).stdout

    def state(self, job: str) -> str:
        return self.ask("squeue", "-h", "-t", "all", "-j", job, "-o", "%T").strip()

    def wait_until(self, job: str, *states: str, seconds: float = 60) -> None:
        wait_for(lambda: self.state(job) in states, seconds, f"job {job} is {self.state(job)}, not {states}")

    def empty(self) -> None:
        """Ends every job."""
        jobs = self.ask("squeue", "-h", "-o", "%A").split()
        if jobs:
            self.ask("scancel", *jobs)
        wait_for(lambda: not self.ask("squeue", "-h", "-o", "%A").strip(), 40, "jobs are left")

    def wait_for_nodes(self) -> None:
        wait_for(lambda: self.ask("sinfo", "-h", "-N", "-p", "main", "-o", "%t").split() == ["idle"] * self.nodes, 30,
                 f"the nodes are not up; see {self.base}/log")

    # Parts

    def start_controller(self) -> None:
        self._run("slurmctld")
        wait_for(lambda: "UP" in self.ask("scontrol", "ping"), 20, f"the controller does not answer; see {self.base}/log")

    def start_node(self, name: str) -> None:
        self._run("unshare", "--mount", "--uts", "bash", "-c", 'hostname "$1"; mount --bind "$2" /etc/hosts; exec slurmd -N "$1"',
                  "-", name, str(self.base / "hosts"))
        wait_for(lambda: self.pid(f"slurmd-{name}"), 20, f"{name} is not up; see {self.base}/log")

    def pid(self, name: str) -> int | None:
        """Of a pid file's process, where that is still the program of this name."""
        with suppress(OSError, ValueError):
            pid = int((self.base / "pid" / name).read_text())
            if name.startswith(Path(f"/proc/{pid}/comm").read_text().strip()):
                return pid
        return None

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        pid = self.pid(name)
        if pid is None:
            return
        os.kill(pid, number)
        with suppress(AssertionError):
            wait_for(lambda: self.pid(name) is None, 15, "")
        if (pid := self.pid(name)) is not None:
            os.kill(pid, signal.SIGKILL)

    @contextmanager
    def without_controller(self) -> Iterator[None]:
        self.end("slurmctld")
        try:
            yield
        finally:
            self.start_controller()

    @contextmanager
    def hidden(self, name: str, folder: Path) -> Iterator[None]:
        """The folder is empty for this node, as one that is not shared."""
        nothing = self.base / "nothing"
        nothing.mkdir(exist_ok=True)
        enter = ["nsenter", "-t", str(self.pid(f"slurmd-{name}")), "-m"]
        subprocess.run([*enter, "mount", "--bind", str(nothing), str(folder)], check=True)
        try:
            yield
        finally:
            subprocess.run([*enter, "umount", str(folder)], check=True)

    @contextmanager
    def lost(self, name: str) -> Iterator[None]:
        """The node goes out like a light: everything in its namespace is killed, the last thing first."""
        own = os.readlink(f"/proc/{self.pid(f'slurmd-{name}')}/ns/mnt")
        for pid in sorted((int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()), reverse=True):
            with suppress(OSError):
                if os.readlink(f"/proc/{pid}/ns/mnt") == own:
                    os.kill(pid, signal.SIGKILL)
        try:
            yield
        finally:
            self.start_node(name)
            self.wait_for_nodes()

    def _run(self, *words: str) -> None:
        log = self.base / "log" / "starts.log"
        with log.open("a") as out:
            done = subprocess.run(words, env=self.environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL, timeout=60,
                                  check=False)
        assert done.returncode == 0, f"{words}: {log.read_text()[-500:]}"
