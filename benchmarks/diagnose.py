"""How long `swift-fa diagnose` takes for 100 MB: python benchmarks/diagnose.py [MB]

Five logs: a training (losses, progress bars, eight ranks), text of which every line is new and one in twenty speaks of
errors (a run that prints what its model writes), the same with every line, one failure repeated without end, and
tracebacks of which each is new. Each ends in an out-of-memory error that must be found. Prints seconds by the clock and
of the processor; the promise is 3 s.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from swift_fa_launcher.diagnose.diagnosis import diagnose_file

FAILURE = "[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n"
WORDS = ("the", "model", "answers", "训练", "数据", "token", "because", "however", "therefore", "we", "compute", "a", "value",
         "and", "result", "let", "us", "consider", "step", "number", "that", "is", "what", "it", "was", "asked", "for", "in")


def training(draw: random.Random) -> Iterator[str]:
    for step in count():
        yield f"\rTrain:  {step % 100}%|████▌     | {step}/900000 [1:52:17<00:00,  1.63s/it]"
        yield (f"{{'loss': {draw.random():.8f}, 'grad_norm': {draw.random():.8f}, 'learning_rate': 9.99e-05, "
               f"'memory(GiB)': 63.11, 'epoch': 1.2, 'global_step/max_steps': '{step}/900000', 'elapsed_time': '8h 38s'}}\n")
        yield f"[INFO:swift] Saving model checkpoint to /mnt/output/v0-20260112-095311/checkpoint-{step}\n"
        yield f"[rank{step % 8}]: 2026-01-01 12:00:{step % 60:02} error_rate={draw.random()} failed=0\n"


def prose(draw: random.Random, errors: float = 0.05) -> Iterator[str]:
    while True:
        words = draw.choices(WORDS, k=draw.randrange(8, 25))
        if draw.random() < errors:
            words[3] = draw.choice(("error", "failed", "cannot", "signal", "exception", "Error", "ERROR"))
        yield " ".join(words) + "\n"


def alarms(draw: random.Random) -> Iterator[str]:
    return prose(draw, 1.0)


def complaints(draw: random.Random) -> Iterator[str]:
    while True:
        yield (f"WARNING - urllib3.connectionpool - Retrying (Retry(total={draw.randrange(3)})) after connection broken by "
               "'ProtocolError('Connection aborted.', RemoteDisconnected('Remote end closed connection'))': /api/house/metrics\n")


def tracebacks(draw: random.Random) -> Iterator[str]:
    def word() -> str:
        return "".join(draw.choices("etaoinshrdlu", k=6))
    while True:
        yield (f'Traceback (most recent call last):\n  File "/opt/{word()}/x.py", line 5, in {word()}\n    {word()}({word()})\n'
               f"{word().title()}Error: {word()} {word()} failed\n")


def main(megabytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for lines in (training, prose, alarms, complaints, tracebacks):
            log, left = Path(folder, f"{lines.__name__}.log"), megabytes * 1_000_000
            with log.open("w", encoding="utf-8") as out:
                for line in lines(random.Random(1)):
                    left -= out.write(line)
                    if left < 0:
                        break
                out.write("\n" + FAILURE)
            clock, processor = time.perf_counter(), time.process_time()
            first = diagnose_file(log)[0]
            print(f"{lines.__name__:12} {log.stat().st_size / 1e6:6.0f} MB  {time.perf_counter() - clock:6.2f} s  "
                  f"{time.process_time() - processor:6.2f} s of the processor  {first.code}")
            log.unlink()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
