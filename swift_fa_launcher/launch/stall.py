"""Whether a training has come to a standstill, from what its plugin says of itself (`training/swift_fa_pulse.py`). Pure.

Only training itself is held to time: a batch must begin within `stall_timeout`, or ten times the median step where that is
longer. Loading, packing and the wait for an epoch's first batch take as long as they take. So do an evaluation and a save,
until there was one of its kind to compare with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from swift_fa_launcher.errors import Text, joined

#: At this signal a process with the plugin writes the stacks of its threads: a real-time signal of Linux, which no library uses.
STACKS_SIGNAL = 40
TICK = 5.0  # seconds between two looks
_STEPS = 3  # optimizer steps whose time tells something; the first ones compile and tune
_TIMES = 10  # the usual time
_UNTIL_KNOWN, _APART = 6, 12  # times `stall_timeout`: for the first steps, and at least for an evaluation or a save


@dataclass(frozen=True)
class Pulse:
    """What the plugin says. beats: batches begun. median: seconds an optimizer step. longest: seconds of the longest
    evaluation and save that have ended."""

    doing: str = "loading"
    beats: int = 0
    step: int = 0
    steps_timed: int = 0
    median: float | None = None
    longest: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Silence:
    """How long the same pulse has been seen. looked: when, on a clock that never goes back; both in seconds."""

    pulse: Pulse = Pulse()
    seconds: float = 0.0
    looked: float | None = None


def listen(before: Silence, pulse: Pulse | None, now: float) -> Silence:
    """The silence after another look. None: nothing can be read.

    A look that comes late counts as one that came in time: then the launcher did not run either, and the training may have
    been stopped with it.
    """
    pulse = pulse or before.pulse
    if pulse != before.pulse or before.looked is None:
        return Silence(pulse, 0.0, now)
    return replace(before, seconds=before.seconds + min(now - before.looked, 2 * TICK), looked=now)


def longest_silence(pulse: Pulse, stall_timeout: float) -> float | None:
    """Seconds after which a training that says this has come to a standstill; None: never."""
    if pulse.doing == "training":
        if pulse.steps_timed < _STEPS or pulse.median is None:
            return _UNTIL_KNOWN * stall_timeout
        return max(stall_timeout, _TIMES * pulse.median)
    longest = pulse.longest.get(pulse.doing)
    return None if longest is None else max(_APART * stall_timeout, _TIMES * longest)


def is_stalled(silence: Silence, stall_timeout: float) -> bool:
    limit = longest_silence(silence.pulse, stall_timeout)
    return limit is not None and silence.seconds > limit


def describe_stall(silence: Silence) -> Text:
    """What a stalled training is said to have done last. Its English words are looked for in logs."""
    pulse, seconds = silence.pulse, silence.seconds
    return Text(f"stalled: {pulse.doing} and no progress for {seconds:.0f} s after step {pulse.step}",
                f"停滞：第 {pulse.step} 步之后 {seconds:.0f} 秒没有进展（{_DOING_ZH.get(pulse.doing, pulse.doing)}）")


def describe_halted(halted: Mapping[int, str]) -> Text:
    """The processes that somebody has stopped, by their ids and ranks; "" for none. The others wait for them."""
    names = joined((Text(f"rank {rank} (process {pid})" if rank else f"process {pid}",
                         f"rank {rank}（进程 {pid}）" if rank else f"进程 {pid}") for pid, rank in halted.items()),
                   by=Text(", ", "、"))
    return Text(f"stopped by a signal (SIGSTOP) and not continued: {names.en}", f"被信号 (SIGSTOP) 暂停且未恢复：{names.zh}") \
        if halted else Text("", "")


_DOING_ZH = {"training": "训练中", "evaluating": "评估中", "saving": "保存中"}
