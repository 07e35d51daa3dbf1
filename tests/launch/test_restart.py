"""After which failures a run is started once more."""

from __future__ import annotations

import pytest

from swift_fa_launcher.findings.table import AREA_OF, TABLE
from swift_fa_launcher.launch.restart import LASTING, OF_A_HUB, PASSING, decide_restart


def decide(*codes: str, allowed: int = 3, tried: tuple[int, ...] = (), step: int = 10, trained: bool = True) -> bool:
    return decide_restart(codes, allowed=allowed, tried=tried, step=step, trained=trained).again


def test_only_causes_that_pass_are_tried_again() -> None:
    assert {code for code in TABLE if decide(code)} == PASSING | OF_A_HUB
    assert not (PASSING | OF_A_HUB | LASTING) - {*TABLE}
    assert not decide() and not decide("unknown")


@pytest.mark.parametrize("code", [c for c in TABLE if AREA_OF[c] in ("data", "swift", "rehearsal", "flash-attn", "build")])
def test_a_config_is_not_tried_again(code: str) -> None:
    assert code in OF_A_HUB or not decide(code)


def test_memory_that_ran_out_beside_a_lost_peer_is_not_tried_again() -> None:
    assert decide("nccl-timeout", "shm-small") and not decide("nccl-timeout", "gpu-out-of-memory")
    assert not decide("gpu-out-of-memory", "nccl-timeout")


def test_a_model_that_was_never_there_is_no_outage() -> None:
    assert decide("model-missing") and not decide("model-missing", step=0, trained=False)
    assert decide("interrupted", step=0, trained=False)


def test_never_twice_without_a_new_checkpoint_between() -> None:
    assert decide("stalled", tried=(5,), step=10) and not decide("stalled", tried=(10,), step=10)
    assert decide("stalled", tried=(), step=0) and not decide("stalled", tried=(0,), step=0)


def test_no_more_often_than_allowed() -> None:
    assert not decide("stalled", allowed=2, tried=(2, 4)) and decide("stalled", allowed=3, tried=(2, 4))
    assert not decide("stalled", allowed=0)


def test_a_server_gets_time_to_come_back() -> None:
    pauses = {code: decide_restart([code], allowed=1, tried=(), step=3, trained=True).pause for code in PASSING}
    assert pauses["swanlab-unreachable"] >= 30 and pauses["nccl-timeout"] <= 5
