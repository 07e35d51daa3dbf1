"""Slurm's own commands, asked with a limit of time: they are the one interface that every version and site has."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from swift_fa_launcher.decode import Unknown
from swift_fa_launcher.errors import LaunchError, Text

#: Seconds. A dead controller blocks squeue for 38 (measured with Slurm 22.05).
ASKING, SUBMITTING = 5.0, 60.0
#: States in which Slurm is done with a job (squeue's manual, JOB STATE CODES).
OVER = frozenset(("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
                  "REVOKED", "TIMEOUT"))
WAITING = frozenset(("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"))


@dataclass(frozen=True)
class Job:
    """state: Slurm's word. reason: why it waits or ended so. start: when it began or is expected to, local time; empty: not
    known. nodes: as Slurm writes them, `node[1-2]`. first: the node that runs the job's script."""

    state: str
    reason: str = ""
    start: str = ""
    nodes: str = ""
    first: str = ""

    @property
    def is_over(self) -> bool:
        return self.state in OVER


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """What a command said of its failure, on one line, without its own name."""
        lines = (line.strip().removeprefix("sbatch: ").removeprefix("error: ") for line in (self.err or self.out).splitlines())
        return "; ".join(line for line in lines if line)


def ask(*words: str, timeout: float = ASKING, env: Mapping[str, str] | None = None, stdin: str = "") -> Answer | Unknown:
    """What a command of Slurm answered; Unknown where there is none, or none in time."""
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, errors="replace", timeout=timeout, check=False,
                              env=None if env is None else dict(env))
    except subprocess.TimeoutExpired:
        return Unknown(f"{words[0]} did not answer within {timeout:.0f} s")
    except OSError as error:
        return Unknown(f"{words[0]}: {error.strerror or error}")
    return Answer(done.returncode, done.stdout, done.stderr)


def read_jobs(numbers: Iterable[str]) -> Mapping[str, Job | None] | Unknown:
    """The state of jobs by number, None for one that Slurm does not know any more; Unknown where Slurm does not answer.

    One squeue for all: it remembers an ended job for MinJobAge. What it has forgotten the accounting knows, where there is one.
    """
    wanted = tuple(dict.fromkeys(numbers))
    answer = ask("squeue", "-h", "-a", "-t", "all", "-o", "%A|%T|%r|%S|%N|%B", "-j", ",".join(wanted))
    if isinstance(answer, Unknown):
        return answer
    if answer.code and "Invalid job id" not in answer.err:  # which it says where it is asked for one alone that it has forgotten
        return Unknown(answer.words)
    rows = (line.split("|") for line in answer.out.splitlines() if line.count("|") == 5)
    found: dict[str, Job | None] = {row[0]: _job(*row[1:]) for row in rows}
    if forgotten := [number for number in wanted if number not in found]:
        found |= _accounted(forgotten)
    return {number: found.get(number) for number in wanted}


def _accounted(numbers: Sequence[str]) -> dict[str, Job]:
    answer = ask("sacct", "-n", "-P", "-X", "-o", "JobIDRaw,State,Start,NodeList", "-j", ",".join(numbers))
    if isinstance(answer, Unknown) or answer.code:  # most small clusters keep no accounting
        return {}
    rows = (line.split("|", 3) for line in answer.out.splitlines() if line.count("|") >= 3)
    return {number: _job(state.partition(" ")[0], "", start, nodes) for number, state, start, nodes in rows if state}


def _job(state: str, *told: str) -> Job:
    none = ("None", "N/A", "n/a", "(null)", "Unknown", "None assigned")
    return Job(state, *("" if word in none else word for word in told))


def submission_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for sbatch: inside an allocation SLURM_* speak of that one, and break the job that inherits them."""
    return {name: value for name, value in environment.items() if not name.startswith("SLURM_") or name == "SLURM_CONF"}


def try_submission(words: Sequence[str], script: str, environment: Mapping[str, str]) -> str:
    """Slurm's own forecast, `to start at ...`, of a job that is not submitted. words: sbatch and its options.

    Raises LaunchError where Slurm would not take it or cannot be asked.
    """
    answer = ask(*words, "--test-only", timeout=SUBMITTING, env=environment, stdin=script)
    if isinstance(answer, Unknown):
        raise LaunchError("slurm-missing", why=answer.why)
    if answer.code:
        raise _refusal(answer)
    return answer.words.partition(" to start ")[2] and f"to start {answer.words.partition(' to start ')[2]}"


def submit(words: Sequence[str], environment: Mapping[str, str]) -> str:
    """Hands a job to Slurm; its number. Raises LaunchError."""
    answer = ask(*words, timeout=SUBMITTING, env=environment)
    if isinstance(answer, Unknown):
        raise LaunchError("slurm-missing", why=answer.why)
    if answer.code:
        raise _refusal(answer)
    return answer.out.strip().partition(";")[0]  # `number;cluster` where there are several clusters


def _refusal(answer: Answer) -> LaunchError:
    if "Unable to contact slurm controller" in answer.err or "Socket timed out" in answer.err:
        return LaunchError("slurm-missing", why=answer.words)
    return LaunchError("slurm-refused", why=answer.words)


def cancel(number: str) -> None:
    """Tells Slurm to end a job. Raises LaunchError where it cannot be told."""
    answer = ask("scancel", number, timeout=4 * ASKING)
    if isinstance(answer, Unknown) or (answer.code and "Invalid job id" not in answer.err):
        why = answer.why if isinstance(answer, Unknown) else answer.words
        raise LaunchError("slurm-missing", Text(f"Slurm cannot be told to end job {number}", f"无法通知 Slurm 结束作业 {number}"),
                          why=why)


def kill_wait() -> int | None:
    """Seconds between Slurm's TERM and its KILL; None where it does not say."""
    answer = ask("scontrol", "show", "config")
    lines = () if isinstance(answer, Unknown) else answer.out.splitlines()
    words = next((line.split() for line in lines if line.startswith("KillWait")), [])
    return int(words[2]) if len(words) > 2 and words[2].isdigit() else None  # `KillWait = 30 sec`
