"""How a log is read and weighed: noise, ranks, chains, what a run overcame, and every way that bytes can be broken."""

from __future__ import annotations

import os
import random
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from swift_fa_launcher.diagnose.diagnosis import diagnose, diagnose_file
from swift_fa_launcher.diagnose.signatures import SIGNATURES, Kind
from swift_fa_launcher.errors import LauncherError, render_words

OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.15 GiB"
TRACE = f'Traceback (most recent call last):\n  File "/w/swift/cli/sft.py", line 10, in <module>\n    sft_main()\n{OOM}\n'
WATCHDOG = ("[rank{r}]:[E524 03:42:41.04 ProcessGroupNCCL.cpp:632] [Rank {r}] Watchdog caught collective operation timeout: "
            "WorkNCCL(SeqNum=57, OpType=ALLREDUCE, NumelIn=1, NumelOut=1, Timeout(ms)=600000) ran for 600015 milliseconds\n")
RETRY = "WARNING: Retrying (Retry(total=4)) after connection broken by 'ConnectTimeoutError(...)': /simple/flash-attn/\n"
SWANBOARD = "ImportError: Please install swanboard to use 'local' mode: pip install 'swanlab[dashboard]'\n"


def loss(step: int, of: int = 900) -> str:
    return (f"{{'loss': 1.{step:06}, 'grad_norm': 0.7, 'learning_rate': 9.9e-05, 'epoch': 0.1, "
            f"'global_step/max_steps': '{step}/{of}'}}\n")


def bar(step: int, of: int = 900) -> str:
    return f"\rTrain:  {100 * step // of}%|███▌      | {step}/{of} [{step}:{step % 60:02}<1:00:00,  1.63s/it]"


def steps(first: int, last: int) -> str:
    return "".join(bar(step) + loss(step) for step in range(first, last))


def codes(log: str | bytes, exit_code: int | None = None) -> list[str]:
    return [one.code for one in diagnose([log.encode() if isinstance(log, str) else log], exit_code=exit_code)]


# -- what is no failure

HEALTHY = {
    "empty": "",
    "words": "".join(f"step {i} error_rate=0.1 failed=0 killed: none, no errors found\n" for i in range(50)),
    "swallowed": SWANBOARD + steps(1, 9),
    "absent extras": "[INFO:swift] No vLLM installed, if you are using vLLM, you will get `ImportError: cannot import name "
                     "'get_vllm_engine' from 'swift.llm'`\n" + steps(1, 9),
    "retry": "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError(...: Failed to establish a new "
             "connection: [Errno 110] Connection timed out')': /simple/torch/\nSuccessfully installed torch-2.8.0\n",
    "network comes back": "swanlab: network error, swanlab will resume uploads when the network improves\n" + steps(3, 9),
    "caught out of memory": f"WARNING {OOM}, trying half the batch\n" + steps(1, 9),
    "caught traceback": TRACE + steps(1, 9),
    "some rows dropped": "swift.llm.template.base.MaxLengthError: Current length of row(5762) is larger than the max_length"
                         "(2048).\n[INFO:swift] Dataset filtered, origin length: 1000, filtered dataset length: 990\n",
    "finished": TRACE + "[INFO:swift] End time of running main: 2026-01-01 00:00:00\n",
    "fallback": "You do not have `flash_attn` installed, using `kernels-community/flash-attn2` instead\n",
    "table": "| `swanlab` | `host` (self-hosted) | on timeout | Connection refused |\n",
    "setting": "swanlab: finish_timeout 120.0\n",
    "quoted source": "  raise ValueError(f'remaining_argv: {remaining_argv}')\n    assert x, 'No module named \\'torch\\''\n",
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_log_is_not_named(name: str) -> None:
    assert codes(HEALTHY[name]) == ["unknown"]


def test_nothing_failed_has_no_evidence_and_no_fix() -> None:
    (only,) = diagnose([HEALTHY["words"].encode()])
    assert (only.line, only.evidence, only.fix) == (0, "", ())


@pytest.mark.parametrize(("log", "said"), [
    (b"", "is empty"), (bytes(range(256)) * 9, "not a text file"), (b"\x7fELF" + bytes(99), "not a text file"),
    (b"\x1b[1;31mfine\x1b[0m\r", "no failure")])
def test_what_is_no_log_is_said(log: bytes, said: str) -> None:
    (only,) = diagnose([log])
    assert only.code == "unknown" and said in str(only.summary)


def test_exit_code_0_means_that_nothing_failed() -> None:
    assert codes(TRACE, exit_code=0) == ["unknown"]
    assert codes(TRACE, exit_code=1) == ["gpu-out-of-memory"]


@pytest.mark.parametrize(("exit_code", "code"), [(-9, "host-out-of-memory"), (137, "host-out-of-memory"), (143, "interrupted"),
                                                 (-2, "interrupted"), (1, "unknown"), (None, "unknown")])
def test_the_exit_code_speaks_where_the_log_does_not(exit_code: int | None, code: str) -> None:
    assert codes(loss(1), exit_code) == [code]


def test_a_failure_counts_even_where_only_an_omen_explains_it() -> None:
    log = RETRY + "Collecting torch\nCollecting numpy\nDownloading numpy\n"
    assert codes(log) == ["unknown"]
    assert codes(log, exit_code=1) == ["mirror-unreachable"]


def test_an_old_warning_is_not_blamed_for_an_unknown_exception() -> None:
    warning = "You do not have `flash_attn` installed, using `kernels-community/flash-attn2` instead\n"
    died = "Traceback (most recent call last):\n  File \"/w/a.py\", line 1, in f\nKeyError: 'nosuch'\n"
    assert codes(warning + died) == ["flash-attn-missing"]
    assert codes(warning + "loading\n" * 100 + died) == ["unknown", "flash-attn-missing"]


def test_a_log_that_ends_while_it_is_still_trying() -> None:
    assert codes("Collecting flash-attn\n" + RETRY) == ["mirror-unreachable"]
    uploads = "swanlab: Upload failed: timed out, retrying automatically\n"
    assert codes(steps(1, 9) + "[INFO:swift] End time of running main: now\n" + uploads * 9) == ["swanlab-unreachable"]


# -- the cause among its consequences


def test_the_first_rank_that_failed() -> None:
    late = "".join(WATCHDOG.format(r=r) for r in range(1, 8))
    log = steps(1, 40) + "[rank3]: " + TRACE.replace("\n", "\n[rank3]: ") + "\n" + bar(39) + late
    first, second, *_ = diagnose([log.encode()])
    assert (first.code, second.code) == ("gpu-out-of-memory", "nccl-timeout")
    assert first.evidence == f"[rank3]: {OOM}" and first.line == log[: log.index(OOM)].count("\n") + 1
    assert "2.00 GiB" in first.summary.en and "2.00 GiB" in first.summary.zh  # type: ignore[union-attr]


def test_interleaved_ranks_look_back_at_their_own_lines() -> None:
    """rank 1 dies in flash-attn, rank 0 prints other frames in between."""
    mine = ['Traceback (most recent call last):',
            '  File "/x/site-packages/flash_attn/flash_attn_interface.py", line 91, in fwd',
            "RuntimeError: CUDA error: no kernel image is available for execution on the device"]
    others = ['Traceback (most recent call last):',
              '  File "/x/site-packages/torch/nn/modules/linear.py", line 1, in forward', "x"]
    log = "".join(f"[rank1]: {a}\n[rank0]: {b}\n" for a, b in zip(mine, others, strict=True))
    assert codes(log) == ["flash-attn-arch-missing"]
    assert codes(log.replace("flash_attn", "other")) == ["gpu-arch-unsupported"]


def test_the_compiler_before_the_404() -> None:
    log = ("Guessing wheel URL:  https://github.com/Dao-AILab/flash-attention/releases/download/v2.8.3/flash_attn.whl\n"
           "Precompiled wheel not found. Building from source...\n"
           "/usr/include/crt/host_config.h:143:2: error: #error -- unsupported GNU version! gcc versions later than 13 are not "
           "supported!\nninja: build stopped: subcommand failed.\nurllib.error.HTTPError: HTTP Error 404: Not Found\n\n"
           "During handling of the above exception, another exception occurred:\n\nRuntimeError: Error compiling objects\n")
    assert codes(log)[:2] == ["gcc-unsupported", "wheel-not-found"]


def test_a_chain_is_named_by_its_root() -> None:
    log = ("urllib3.exceptions.NameResolutionError: <...>: Failed to resolve 'api.swanlab.cn' ([Errno -3] Temporary failure)\n\n"
           "The above exception was the direct cause of the following exception:\n\nTraceback (most recent call last):\n"
           "swanlab.exceptions.AuthenticationError: Failed to initialize the SwanLab client. Please check if the provided API "
           "key is correct.\n")
    assert codes(log) == ["swanlab-unreachable", "swanlab-login-failed"]


def test_only_the_last_failure_of_a_run_that_went_on() -> None:
    """A cause that was overcome does not hide the one that ended the run, although it has the same shape."""
    log = TRACE + steps(1, 30) + TRACE.replace("2.00 GiB", "8.00 GiB") + bar(29)
    (only,) = diagnose([log.encode()])
    assert "8.00 GiB" in only.evidence and only.line == log[: log.index("8.00 GiB")].count("\n") + 1


def test_ranks_that_waited_for_one_that_died_of_something_unknown() -> None:
    died = "Traceback (most recent call last):\n  File \"/w/a.py\", line 1, in f\nKeyError: 'nosuch'\n"
    first, second = diagnose([(died + WATCHDOG.format(r=1)).encode()])
    assert (first.code, first.evidence, second.code) == ("unknown", "KeyError: 'nosuch'", "nccl-timeout")
    assert codes(WATCHDOG.format(r=1) + died) == ["nccl-timeout"]


def test_a_redrawn_bar_and_one_late_loss_are_no_progress() -> None:
    log = steps(1, 40) + TRACE + bar(39) + loss(40) + bar(40) + "\n"
    assert codes(log) == ["gpu-out-of-memory"]


def test_signals_from_torchrun_are_no_interruption() -> None:
    log = ("W0612 17:10:55.20 911 elastic/multiprocessing/api.py:900] Sending process 981 closing signal SIGTERM\n"
           "E0612 17:10:57.31 911 elastic/multiprocessing/api.py:874] failed (exitcode: 1) local_rank: 0 (pid: 1)\n")
    assert codes(log) == ["unknown"]


# -- bytes


@pytest.mark.parametrize("change", [
    lambda log: log.replace("\n", "\r\n").encode(),
    lambda log: log.encode("utf-16"),
    lambda log: "".join(f"\x1b[31m{line}\x1b[0m\n" for line in log.splitlines()).encode(),
    lambda log: log.replace("CUDA out", "\x1b[1mCUDA\x1b[0m out").encode(),
    lambda log: ("训练开始，显存不足会报错\n" + log).encode("gb18030"),
    lambda log: log.encode() + "半".encode()[:2],
    lambda log: b"\xff\xfe\x00 broken \xc3\x28\n"[2:] + log.encode(),
    lambda log: "".join(f"(WorkerDict pid={i}) {line}\n" for i, line in enumerate(log.splitlines())).encode(),
    lambda log: log.rstrip("\n").encode(),
], ids=["crlf", "utf-16", "colours", "colour inside", "gb18030", "cut character", "not utf-8", "ray", "no last newline"])
def test_the_same_failure_in_other_bytes(change: object) -> None:
    found = diagnose([change(steps(1, 3).replace("\r", "\n") + TRACE)])  # type: ignore[operator]
    assert found[0].code == "gpu-out-of-memory" and OOM[:40] in found[0].evidence and "\x1b" not in found[0].evidence


def test_a_log_cut_at_its_beginning() -> None:
    assert codes(TRACE[TRACE.index("sft_main"):]) == ["gpu-out-of-memory"]


def test_a_progress_bar_of_megabytes_in_one_line() -> None:
    log = "start\n" + "".join(bar(i % 700, 99999) for i in range(80_000)) + "\r" + OOM
    assert len(log) > 4_000_000
    (first,) = diagnose(chunked(log.encode(), 65536))
    assert (first.code, first.line, first.evidence) == ("gpu-out-of-memory", 2, OOM)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 4096, 1 << 22])
def test_chunks_do_not_matter(size: int) -> None:
    log = (steps(1, 20) + "训练" + TRACE + bar(19)).encode()
    assert diagnose(chunked(log, size)) == diagnose([log])


def chunked(log: bytes, size: int) -> Iterator[bytes]:
    return (log[at: at + size] for at in range(0, len(log), size))


def test_line_numbers_far_down() -> None:
    log = "".join(f"row {i}\n" for i in range(200_000)) + OOM
    (first,) = diagnose([log.encode()])
    assert first.line == 200_001


def test_memory_stays_constant() -> None:
    """20 MB in which every line is new, with a failure now and then, in a few mebibytes."""
    words = random.Random(1)
    piece = [f"{words.getrandbits(200):x}".translate(str.maketrans("0123456789", "ghijklmnop")) for _ in range(1000)]

    def chunks() -> Iterator[bytes]:
        for i in range(300):
            mark = "".join(chr(97 + int(digit)) for digit in str(i))
            yield "".join(f"{mark} {line} ValueError: {mark}\n" if at == 5 else f"{mark} {line}\n"
                          for at, line in enumerate(piece)).encode()
    tracemalloc.start()
    diagnose(chunks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20


@pytest.mark.parametrize("after", [0, 12_000], ids=["at the end", "amid the noise"])
def test_a_failure_in_a_wall_of_new_lines_that_all_speak_of_errors(after: int) -> None:
    draw = random.Random(5)
    words = [f"{draw.getrandbits(40):x}".translate(str.maketrans("0123456789", "ghijklmnop")) for _ in range(500)]

    def noise(lines: int) -> str:
        return "".join(f"{' '.join(draw.choices(words, k=9))} {draw.choice(('Error', 'failed', 'ERROR', '错误 Exception'))} "
                       f"{draw.choice(words)}\n" for _ in range(lines))
    before = noise(25_000)
    head = "Traceback (most recent call last):\n"
    for failure, code in ((TRACE, "gpu-out-of-memory"), (head + SWANBOARD, "swanlab-local-needs-dashboard"),
                          ("ERROR: flash_attn-x.whl is not a supported wheel on this platform.\n", "wheel-unsupported-here"),
                          (head + "ModuleNotFoundError: No module named 'flash_attn'\n", "flash-attn-missing")):
        first = diagnose(chunked((before + failure + noise(after)).encode(), 100_001))[0]
        assert (first.code, first.line >= 25_000) == (code, True)


def test_advice_names_what_the_log_shows() -> None:
    def advice(log: str) -> str:
        first = diagnose([log.encode()])[0].to_json("en")
        return f"{first['code']} {first['fix']}"
    failed = "[rank1]: torch.distributed.DistBackendError: NCCL error in: x\n"
    assert "ddp_timeout" not in advice(failed)
    assert "swift.ddp_timeout=14400" in advice("run sh: `python sft.py --ddp_timeout 3600`\n" + failed)
    assert "ddp_timeout" not in advice("run sh: `python sft.py --ddp_timeout 18000000`\n" + failed)  # ms-swift's own, 208 days
    assert "swift.ddp_timeout=7200" in advice("[rank0]: [Rank 0] Watchdog caught collective operation timeout: "
                                              "WorkNCCL(SeqNum=9, OpType=ALLREDUCE, Timeout(ms)=1800000) ran for 1800001 ms\n")
    full = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n"
    ran = "run sh: `python sft.py --attn_impl sdpa --per_device_train_batch_size {} --max_length {} --packing true`\n"
    assert "train_batch_size=" not in advice(full) and "max_length=" not in advice(full)
    told = advice(ran.format(4, 9000) + full)
    assert "instead of 4: swift.per_device_train_batch_size=1" in told and "swift.max_length=4500" in told
    assert "train_batch_size=" not in advice(ran.format(1, 9000) + full)
    dump = "[INFO:swift] args: SftArguments(model='m', max_length=512, dataset_num_proc=16, dataloader_num_workers=1)\n"
    eaten = advice(dump + "slurmstepd: error: Detected 1 oom_kill event in StepId=1.0.\n")
    assert "swift.dataset_num_proc=8" in eaten and "dataloader_num_workers" not in eaten
    silent = "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='api.swanlab.cn', port=443): Max retries exceeded\n"
    assert "swanlab sync /" not in advice(silent)
    saved = "swanlab: \x1b[35m💾 Run data saved at /w/swanlab/run-1a\x1b[0m\n"
    assert "swanlab sync /w/swanlab/run-1a'" in advice(saved + silent)
    emptied = "[INFO:swift] Dataset filtered, origin length: 200, filtered dataset length: 0\n"
    assert "all 200 rows are longer than max_length" in advice(emptied)
    assert "swift.truncation_strategy=right" in advice(emptied)
    assert "max_length" not in advice("pyarrow.lib.ArrowInvalid: JSON parse error: Column(/query) changed\n")


def said(log: str) -> str:
    """The first diagnosis: code, summary and fixes."""
    first = diagnose([log.encode()])[0].to_json("en")
    return f"{first['code']}: {first['summary']} {first['fix']}"


@pytest.mark.parametrize(("line", "age"), [
    ("GPU 0: NVIDIA RTX 2000 Ada Generation", ""), ("Quadro RTX 5000", "too old"), ("NVIDIA GeForce RTX 5090", "is newer"),
    ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "is newer"), ("Tesla T4", "too old"), ("NVIDIA A100-SXM4-80GB", ""),
    ("NVIDIA GB10", "is newer"), ("NVIDIA H20", ""), ("NVIDIA Release 24.06 (build 96418707)", "")])
def test_a_gpu_is_older_or_newer_by_its_name(line: str, age: str) -> None:
    told = said(f"{line}\nRuntimeError: CUDA error: no kernel image is available for execution on the device\n")
    assert told.startswith("gpu-arch-unsupported") and "Release" not in told
    assert {word for word in ("too old", "is newer") if word in told} == ({age} if age else set())


def test_the_log_itself_chooses_the_advice() -> None:
    """The same error, on machines on which it means something else."""
    home = "      OSError: CUDA_HOME environment variable is not set. Please set it to your CUDA install root.\n"
    assert said(home).startswith("cuda-home-missing")
    assert said("      torch.__version__  = 2.7.0+rocm6.3\n" + home) == said(home + "torch: 2.7.0+rocm6.3\n")
    assert said("torch: 2.7.0+rocm6.3\n" + home).startswith("rocm-build")
    warned = "<string>:106: UserWarning: flash_attn was requested, but nvcc was not found.\n"
    assert "nvcc-missing" in codes(warned + home) and codes("torch: 2.7.0+rocm6.3\n" + warned + home) == ["rocm-build"]
    absent = "ImportError: the package flash_attn seems to be not installed.\n"
    assert "swift-fa install" in said(absent) and "swift-fa install" not in said("ds_accelerator to npu\n" + absent)
    assert "swift.attn_impl=sdpa" in said("ds_accelerator to npu\n" + absent)
    image = "RuntimeError: CUDA error: no kernel image is available for execution on the device\n"
    assert "Tesla V100" in (old := said("GPU 0: Tesla V100-SXM2-32GB\n" + image)) and "whl/" not in old
    new = said("NVIDIA GeForce RTX 5090 with CUDA capability sm_120 is not compatible with the current PyTorch installation.\n"
               + image)
    assert "RTX 5090" in new and "whl/cu128" in new and "float16" not in new
    assert "Torch not compiled" not in said("torch_npu 2.6\nTraceback\nAssertionError: Torch not compiled with CUDA enabled\n")
    ran = "run sh: `python sft.py --per_device_train_batch_size 8`\n"
    evaluated = ran + TRACE.replace("sft_main()", "sft_main()\n  File \"/w/transformers/trainer.py\", line 1, in evaluation_loop")
    assert "swift.per_device_train_batch_size=1" in said(ran + TRACE)
    assert "eval_batch_size=1" in said(evaluated) and "train_batch_size" not in said(evaluated)
    bound = "[W socket.cpp:464] [c10d] The server socket has failed to bind to [::]:29501 (errno: 98 - Address already in use).\n"
    assert "port 29501" in said(bound)
    assert "clients" not in said(bound)
    late = ("torch.distributed.DistStoreError: The client socket has timed out after 900s while trying to connect to "
            "(gpu-01, 29500).\n")
    assert "nc -vz gpu-01 29500" in said(late)


def test_ranks_that_did_different_work() -> None:
    other = WATCHDOG.format(r=1).replace("NumelIn=1", "NumelIn=402653184")
    assert "different work" in said(WATCHDOG.format(r=0) + other)
    assert "different work" not in said(WATCHDOG.format(r=0) + WATCHDOG.format(r=1))
    assert "different work" not in said(WATCHDOG.format(r=0) + other.replace("SeqNum=57", "SeqNum=58"))


END = "{'train_runtime': 126.1, 'train_loss': 0.81}\n", "[INFO:swift] End time of running main: 2026-01-01 00:00:00\n"


def test_what_fails_after_the_end() -> None:
    crash = "terminate called after throwing an instance of 'c10::Error'\n"
    assert codes(steps(1, 9) + "".join(END) + crash + WATCHDOG.format(r=6)) == ["failed-after-training"]
    assert codes(steps(1, 9) + "".join(END), exit_code=134) == ["failed-after-training"]
    link = "FileExistsError: [Errno 17] File exists: '/o/checkpoint-9' -> '/o/last'\n"
    assert codes(steps(1, 9) + END[0] + link) == ["output-link-exists"]
    assert codes(steps(1, 9) + END[0] + crash) == ["failed-after-training"]
    again = "[INFO:swift] Start time of running main: 2026-01-01 01:00:00\n"
    assert codes(steps(1, 9) + "".join(END) + again + TRACE) == ["gpu-out-of-memory"]
    ignored = "Exception ignored in: <function X.__del__>\n" + TRACE.replace(OOM, "KeyError: 1")
    assert codes(steps(1, 9) + "".join(END) + ignored) == ["unknown"]


def lossy(losses: str, gradients: str) -> str:
    return "".join(f"{{'loss': {loss}, 'grad_norm': {gradient}}}\n"
                   for loss, gradient in zip(losses.split(), gradients.split(), strict=True))


@pytest.mark.parametrize(("losses", "gradients", "degenerate"), [
    ("0.0 0.0 0.0", "nan nan nan", True), ("nan nan", "nan nan", True), ("0.0 0.0 0.0", "1.25 1.25 1.25", True),
    ("'0.0' '0.0'", "'0.0' '0.0'", True), ("'0' '0'", "'0' '0'", True), ("'0.05' '0'", "'0' '0'", False),
    ("2.1 0.0 0.0 0.0", "1.0 nan nan nan", True), ("inf inf", "1.0 2.0", True),
    ("0.0 0.0 0.0", "0.1 0.2 0.3", False), ("0.0 0.0 1.2", "0.0 0.0 1.0", False), ("0.0", "0.0", False),
    ("0.01 0.02", "0.0 0.0", False), ("2.1 1.9 1.7 1.5 1.3 0.0 0.0", "1.0 1.0 1.0 1.0 1.0 0.0 0.0", False)])
def test_losses_that_say_that_nothing_is_learnt(losses: str, gradients: str, degenerate: bool) -> None:
    log = lossy(losses, gradients) + "".join(END)
    for exit_code in (None, 0):
        assert codes(log, exit_code) == ["loss-degenerate" if degenerate else "unknown"]
    assert codes(log + TRACE)[0] == "failed-after-training" or degenerate


@pytest.mark.parametrize("size", [1, 7, 64, 1 << 20])
def test_losses_in_chunks_of_any_size(size: int) -> None:
    log = (steps(1, 5).replace("\r", "\n") + lossy("0.0 " * 9, "nan " * 9)).encode()
    (only,) = diagnose(chunked(log, size))
    assert (only.code, only.line) == ("loss-degenerate", log[: log.index(b"'loss': 0.0")].count(b"\n") + 1)


def test_a_run_that_trained_nothing() -> None:
    warned = "[WARNING:swift] No training was carried out, which may be due to the dataset being too small.\n"
    assert codes(warned + END[1]) == codes(warned + END[1], 0) == ["nothing-trained"]
    zero = "{'train_runtime': '0.95', 'train_loss': '0', 'epoch': 0, 'global_step/max_steps': '0/10'}\n"  # 4.6
    assert codes(zero + END[1], 0) == ["nothing-trained"] and codes(steps(1, 9) + zero + END[1], 0) == ["unknown"]
    assert codes(warned + TRACE)[0] == "gpu-out-of-memory"  # ms-swift says so too where a step failed
    assert codes(steps(1, 9) + warned + END[1]) == ["unknown"]  # and where it only wrote no checkpoint


def test_secrets_are_struck_out() -> None:
    (first,) = diagnose([b"ValueError: remaining_argv: ['--swanlab_token', 'abcdefghij0123456789x', '--lora_rankk', '8']\n"])
    assert "abcdefghij" not in first.evidence + first.summary.en and "lora_rankk" in first.evidence  # type: ignore[union-attr]


def test_a_file(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text(TRACE, encoding="utf-8")
    assert diagnose_file(log)[0].code == "gpu-out-of-memory"
    for wrong in (tmp_path / "none.log", tmp_path):
        with pytest.raises(LauncherError) as raised:
            diagnose_file(wrong)
        assert raised.value.where == str(wrong)


def test_random_logs_never_raise() -> None:
    """Seeded: slices, splices and flipped bytes of logs that say much."""
    from_seed = random.Random(20261122)
    parts = [TRACE, SWANBOARD, WATCHDOG, loss(3), bar(3), *HEALTHY.values(), *(s.pattern for s in SIGNATURES),
             *(needle for s in SIGNATURES for needle in s.needles)]
    text = "\n".join(parts).encode()
    for _ in range(150):
        log = bytearray(b"".join(text[at: at + from_seed.randrange(2000)] for at in from_seed.sample(range(len(text)), 3)))
        for _ in range(from_seed.randrange(20)):
            if log:
                log[from_seed.randrange(len(log))] = from_seed.randrange(256)
        found = diagnose(chunked(bytes(log), from_seed.randrange(1, 4000)), exit_code=from_seed.choice([None, 0, 1, -9]))
        assert found and all(one.line <= log.count(b"\n") + 1 and len(one.evidence) <= 320 for one in found)


@pytest.mark.parametrize("before", ["[rank3]: ", "3: ", "(TaskRunner pid=3121) ", "2026-01-01T00:00:00.12Z stderr F ",
                                    "2026-01-01 00:00:00,123 - trainer - ERROR - ", "worker-0: ", "[1,3]<stderr>:"])
def test_what_stands_before_each_line_does_not_matter(before: str) -> None:
    build = ("Guessing wheel URL:  https://github.com/x/flash_attn.whl\n"
             "      error: <urlopen error [Errno 110] Connection timed out>\n")
    for log, code in ((TRACE, "gpu-out-of-memory"), (build, "mirror-unreachable"), ("Killed\n", "host-out-of-memory"),
                      (SWANBOARD, "swanlab-local-needs-dashboard")):
        assert codes("".join(f"{before}{line}\n" for line in log.splitlines()))[0] == code


# -- the table


def test_signatures_can_be_found() -> None:
    for signature in SIGNATURES:
        for needle in signature.needles:
            assert len(needle) > 2 and not any(character.isdigit() for character in needle), signature
        assert signature.code or signature.kind in (Kind.NOTE, Kind.PROOF, Kind.STARTED, Kind.TRAINED, Kind.ENDED)


def test_a_long_value_ends_with_a_whole_word() -> None:
    why = "fmax() takes 2 positional arguments but 3 positional arguments (and 3 keyword-only arguments) were given"
    at = '  File "/env/flash_attn/cute/softmax.py", line 7, in fmax\n    fmax()\n'
    log = f"Traceback (most recent call last):\n{at}TypeError: {why}\n"
    assert render_words(diagnose([log.encode()])[0].summary, "en").endswith(why)


def test_a_device_without_end_is_given_up_and_a_pipe_is_read(tmp_path: Path) -> None:
    with pytest.raises(LauncherError) as refused:
        diagnose_file(Path("/dev/zero"))
    assert "larger than" in str(refused.value.why)
    os.mkfifo(pipe := tmp_path / "pipe")
    with subprocess.Popen(["sh", "-c", f"echo 'torch.OutOfMemoryError: CUDA out of memory.' > {pipe}"]):
        (found,) = diagnose_file(pipe)
    assert found.code == "gpu-out-of-memory"
