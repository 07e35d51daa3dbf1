"""Whether a training that failed is worth another try. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from swift_fa_launcher.errors import Text

#: Causes that pass by themselves: another process that was lost, a network, a kill from outside, a standstill, a server away.
PASSING = frozenset(("nccl-timeout", "nccl-network", "rendezvous-timeout", "interrupted", "stalled", "swanlab-unreachable"))
#: A hub that does not answer says so with these; a name that is wrong, too, but a run that has trained had its model and data.
OF_A_HUB = frozenset(("model-missing", "dataset-missing", "mirror-unreachable", "tls-failed"))
#: Servers want time to come back.
OF_A_SERVER = OF_A_HUB | {"swanlab-unreachable"}
#: Comes again whatever else was seen beside it.
LASTING = frozenset(("gpu-out-of-memory", "host-out-of-memory", "loss-degenerate", "failed-after-training"))
_SOON, _LATER = 1.0, 60.0  # seconds before another try


@dataclass(frozen=True)
class Decision:
    """again: whether to try once more, after `pause` seconds. why: the words for it."""

    again: bool
    why: Text
    pause: float = 0.0


def decide_restart(codes: Sequence[str], *, allowed: int, tried: Sequence[int], step: int, trained: bool) -> Decision:
    """What to do after a failure. codes: of its diagnoses, the cause first. allowed: `launch.restarts`. tried: the steps that
    earlier restarts went on from, 0 for the beginning. step: that of the newest whole checkpoint, 0 without one. trained:
    whether this run has made a step before."""
    cause = codes[0] if codes else "unknown"
    lasting = next((code for code in codes if code in LASTING), None)
    if lasting or not (cause in PASSING or (trained and cause in OF_A_HUB)):
        code = lasting or cause
        return Decision(False, Text(f"not restarted: {code} would come again", f"不重启：{code} 还会再次出现"))
    if len(tried) >= allowed:
        return Decision(False, Text(f"not restarted: it has been restarted {allowed} times (launch.restarts)",
                                    f"不重启：已重启 {allowed} 次（launch.restarts）"))
    if tried and step <= tried[-1]:
        return Decision(False, Text(f"not restarted: no new whole checkpoint since step {tried[-1]}",
                                    f"不重启：第 {tried[-1]} 步之后没有新的完整检查点"))
    place = Text(f"from step {step}", f"从第 {step} 步继续") if step else Text("from the beginning", "从头开始")
    return Decision(True, Text(f"{cause}: restart {len(tried) + 1} of {allowed}, {place.en}",
                               f"{cause}：第 {len(tried) + 1}/{allowed} 次重启，{place.zh}"),
                    _LATER if cause in OF_A_SERVER else _SOON)
