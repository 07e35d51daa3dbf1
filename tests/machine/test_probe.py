"""The probe of flash attention: what is tried, how answers are read and kept; the script itself is a stand-in without a GPU."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.version import Version

from swift_fa_launcher.config.schema import LaunchSection, ResolvedConfig, SwiftArguments
from swift_fa_launcher.decode import Unknown
from swift_fa_launcher.errors import Text, Words
from swift_fa_launcher.machine import probe_script
from swift_fa_launcher.machine.facts import Driver, Facts, FlashAttn, Gpu, ModelConfig, PathFacts, Probe, ProbedDevice
from swift_fa_launcher.machine.interpreter import Answer
from swift_fa_launcher.machine.probe import (
    Job,
    Tried,
    answer_key,
    describe,
    gpus_to_probe,
    hands_tensor_lengths,
    probe_flash_attn,
    read_answer,
    run_probe,
    visible,
    wanted_dtype,
    wanted_head_dims,
    with_tried,
)

H100 = Gpu(0, "NVIDIA H100", Version("9.0"), 79.6, 79.1, "GPU-aaa")
GPUS = (H100, replace(H100, index=1, uuid="GPU-bbb"), replace(H100, index=2, uuid="GPU-ccc"))
IMPORTED = ({"torch": None}, {"module": None})


def device(index: int, error: float | None = 0.002, allowed: float = 0.01, failed: str | None = None) -> dict[str, object]:
    cases = [] if failed else [{"case": "varlen, head_dim 128", "error": error, "allowed": allowed}]
    return {"device": index, "error": failed, "cases": cases}


def test_good_numbers() -> None:
    answer = Answer((*IMPORTED, device(0), device(1, 0.004)), "")
    assert read_answer(answer, GPUS[:2]) == Tried(None, None, (ProbedDevice(0, True, None, 0.002),
                                                               ProbedDevice(1, True, None, 0.004)))


def test_wrong_numbers_are_told_from_failures() -> None:
    answer = Answer((*IMPORTED, device(0, 0.8), device(1, None), device(2, failed="RuntimeError: CUDA error: x")), "")
    assert read_answer(answer, GPUS).devices == (
        ProbedDevice(0, False, None, 0.8), ProbedDevice(1, False, "the result is not a number (varlen, head_dim 128)"),
        ProbedDevice(2, False, "RuntimeError: CUDA error: x"))


def test_a_device_without_a_case_is_not_proven() -> None:
    assert read_answer(Answer((*IMPORTED, {"device": 0, "error": None, "cases": []}), ""), GPUS[:1]).devices[0].ok is False


@pytest.mark.parametrize(("answer", "tried"), [
    (Answer(({"torch": "OSError: x"},), ""), Tried("OSError: x", Unknown("torch does not import"))),
    (Answer((), "ended by SIGSEGV"), Tried("ended by SIGSEGV", Unknown("torch does not import"))),
    (Answer(({"torch": None},), "ended by SIGSEGV"), Tried(None, "ended by SIGSEGV")),
    (Answer(({"torch": None}, {"module": "ImportError: y"}), ""), Tried(None, "ImportError: y")),
    (Answer(({"torch": None},), "no answer within 9 s", True), Tried(None, Unknown("no answer within 9 s"))),
    (Answer(IMPORTED, "ended by SIGABRT: terminate"), Tried(None, None, (
        ProbedDevice(0, False, "ended by SIGABRT: terminate"),))),
    (Answer(IMPORTED, "no answer within 60 s", True), Tried(None, None, (ProbedDevice(0, False, "no answer within 60 s"),))),
    (Answer(IMPORTED, ""), Tried(None, None, (ProbedDevice(0, False, "it ended without an answer"),)))])
def test_a_crash_or_hang_is_laid_at_its_step(answer: Answer, tried: Tried) -> None:
    assert read_answer(answer, GPUS[:2]) == tried


STAND_IN = """
import json, os, signal, sys, time
job = json.loads(sys.argv[1])
def tell(step): print("swift-fa-target:" + json.dumps(step), flush=True)
with open({log!r}, "a") as log: log.write(os.environ["CUDA_VISIBLE_DEVICES"] + " " + os.environ["CUDA_DEVICE_ORDER"] + "\\n")
tell({{"torch": None}}); tell({{"module": None}})
for index, physical in enumerate(os.environ["CUDA_VISIBLE_DEVICES"].split(",")[:job["devices"]]):
    if physical == {crashes!r}: os.kill(os.getpid(), signal.SIGSEGV)
    if physical == {hangs!r}: time.sleep(300)
    tell({{"device": index, "error": None, "cases": [{{"case": "c", "error": 0.001, "allowed": 0.01}}]}})
"""


def stand_in(folder: Path, crashes: str = "", hangs: str = "") -> Job:
    script = folder / "stand_in.py"
    script.write_text(STAND_IN.format(log=str(folder / "log"), crashes=crashes, hangs=hangs))
    return Job(sys.executable, "flash_attn", GPUS, Driver(Version("570.1"), Version("12.8")), script=script)


def runs(folder: Path) -> list[str]:
    return (folder / "log").read_text().splitlines()


def test_a_crash_costs_only_its_gpu(tmp_path: Path) -> None:
    tried = run_probe(stand_in(tmp_path, crashes="1"), os.environ, tmp_path, 60)
    assert tried.devices == (ProbedDevice(0, True, None, 0.001), ProbedDevice(1, False, "ended by SIGSEGV"),
                             ProbedDevice(2, True, None, 0.001))
    assert runs(tmp_path) == ["0,1,2 PCI_BUS_ID", "2 PCI_BUS_ID"]


def test_a_hang_ends_with_the_time(tmp_path: Path) -> None:
    tried = run_probe(stand_in(tmp_path, hangs="1"), os.environ, tmp_path, 2)
    assert tried.devices == (ProbedDevice(0, True, None, 0.001), ProbedDevice(1, False, "no answer within 2 s"))


def test_a_good_answer_is_kept_and_a_bad_one_is_not(tmp_path: Path) -> None:
    said: list[Words] = []
    good = stand_in(tmp_path)
    first = probe_flash_attn(good, os.environ, tmp_path, 60, said.append)
    assert probe_flash_attn(good, os.environ, tmp_path, 60, said.append) == first and len(runs(tmp_path)) == 1
    assert said == [Text("trying flash_attn on 3 GPU(s)", "正在 3 块 GPU 上试运行 flash_attn")]
    probe_flash_attn(replace(good, driver=Driver(Version("580.1"))), os.environ, tmp_path, 60, said.append)
    assert len(runs(tmp_path)) == 2
    bad = stand_in(tmp_path, crashes="2")
    for expected in (3, 4):
        assert not probe_flash_attn(bad, os.environ, tmp_path, 60, said.append).devices[2].ok
        assert len(runs(tmp_path)) == expected


def test_a_damaged_answer_is_asked_for_again(tmp_path: Path, own_home: Path) -> None:
    job = stand_in(tmp_path)
    probe_flash_attn(job, os.environ, tmp_path, 60, lambda text: None)
    kept = next((own_home / "cache" / "swift-fa" / "probe").iterdir())
    for damage in ("", "{", "[]", '{"files": [], "devices": {"0": null}}', '{"files": [], "devices": {"9": 0.1}}'):
        kept.write_text(damage)
        assert probe_flash_attn(job, os.environ, tmp_path, 60, lambda text: None).devices[0].ok


def test_what_the_answer_depends_on(tmp_path: Path) -> None:
    extension = tmp_path / "flash_attn_2_cuda.so"
    extension.write_bytes(b"one")
    job = Job("python", "flash_attn", GPUS[:1], Driver(Version("570.1"), Version("12.8")), files=(extension,))
    keys = {answer_key(job, {})}
    for other in (replace(job, gpus=GPUS[1:2]), replace(job, driver=Driver(Version("580.1"))), replace(job, dtype="float16"),
                  replace(job, head_dims=(256,)), replace(job, tensor_lengths=True), replace(job, python="other"),
                  replace(job, module="flash_attn_interface")):
        keys.add(answer_key(other, {}))
    keys.add(answer_key(job, {"LD_LIBRARY_PATH": "/cuda"}))
    extension.write_bytes(b"two of another size")
    keys.add(answer_key(job, {}))
    assert len(keys) == 10
    assert answer_key(job, {"TERM": "x"}) in keys
    # free memory changes all the time and decides nothing
    assert answer_key(replace(job, gpus=(replace(GPUS[0], free_memory_gib=1.0),)), {}) in keys


def test_the_script_is_told_what_the_config_wants() -> None:
    job = Job("python", "flash_attn", GPUS, dtype="float16", head_dims=(80, 128))
    assert json.loads(describe(job, GPUS[:2])) == {"module": "flash_attn", "devices": 2, "dtype": "float16",
                                                   "head_dims": [80, 128], "tensor_lengths": False}
    assert visible(GPUS[1:])["CUDA_VISIBLE_DEVICES"] == "1,2"


def config_of(launch: LaunchSection | None = None, **swift: object) -> ResolvedConfig:
    return ResolvedConfig(swift=SwiftArguments(swift), launch=launch or LaunchSection())


def test_which_gpus_are_tried() -> None:
    def indices(config: ResolvedConfig, **environment: str) -> list[int] | Unknown:
        gpus = gpus_to_probe(config, Facts(gpus=GPUS, env=environment))
        return gpus if isinstance(gpus, Unknown) else [gpu.index for gpu in gpus]

    assert indices(config_of()) == [0, 1, 2]
    assert indices(config_of(LaunchSection(gpus=(2,))), CUDA_VISIBLE_DEVICES="0") == [2]
    assert indices(config_of(), CUDA_VISIBLE_DEVICES=" 0, GPU-c ") == [0, 2]
    assert indices(replace(config_of(), env={"CUDA_VISIBLE_DEVICES": "1"}), CUDA_VISIBLE_DEVICES="0") == [1]
    assert indices(config_of(), CUDA_VISIBLE_DEVICES="2,9,1") == [2]  # CUDA stops at the first that is not there
    assert indices(config_of(), CUDA_VISIBLE_DEVICES="1,1") == [1]
    assert indices(config_of(), CUDA_VISIBLE_DEVICES="") == Unknown("no GPU that it runs on")
    assert indices(config_of(), CUDA_VISIBLE_DEVICES="MIG-1") == Unknown(
        "cannot tell which GPUs CUDA_VISIBLE_DEVICES names")
    old = replace(H100, index=3, compute_capability=Version("7.5"))
    assert gpus_to_probe(config_of(), Facts(gpus=(*GPUS, old))) == GPUS
    assert isinstance(gpus_to_probe(config_of(), Facts(gpus=(old,))), Unknown)
    assert isinstance(gpus_to_probe(config_of(), Facts(gpus=())), Unknown)
    assert gpus_to_probe(config_of(), Facts(gpus=Unknown("no NVML"))) == Unknown("no NVML")


def test_type_and_head_sizes_are_the_models_where_the_config_says_nothing() -> None:
    facts = Facts(paths={"m": PathFacts(kind="dir", model_config=ModelConfig(torch_dtype="float16", head_dims=(80, 128)))})
    assert wanted_dtype(config_of(model="m"), facts) == "float16"
    assert wanted_dtype(config_of(model="m", torch_dtype="bfloat16"), facts) == "bfloat16"
    assert wanted_dtype(config_of(model="m", torch_dtype="float32", bf16="true"), facts) == "bfloat16"
    assert wanted_dtype(config_of(model="other"), facts) == "bfloat16"
    assert (wanted_head_dims(config_of(model="m"), facts), wanted_head_dims(config_of(), facts)) == ((80, 128), (64, 128))


@pytest.mark.parametrize(("transformers", "packing", "tensor"), [
    ("5.4.0", True, True), ("5.3.0", True, False), ("5.19.0", False, False), (None, True, False)])
def test_how_transformers_hands_over_the_longest_row(transformers: str | None, packing: bool, tensor: bool) -> None:
    facts = Facts(packages={"transformers": Version(transformers) if transformers else None})
    assert hands_tensor_lengths(config_of(packing=packing), facts) is tensor


def test_facts_of_what_was_tried() -> None:
    attention, devices = FlashAttn(distribution="flash-attn"), (ProbedDevice(0, True, None, 0.002),)
    assert with_tried(attention, Tried(None, None, devices), GPUS[:1]).probe == Probe(devices)
    assert with_tried(attention, Tried(None, "no"), GPUS[:1]).probe == Unknown("not run: it does not import")
    assert with_tried(attention, Tried(None, None), Unknown("no GPU")).probe == Unknown("not run: no GPU")


# ------------------------------------------------------------------------------------------------ the script itself


class PlainModule:
    """flash-attn's two functions, computed plainly: what the script compares must agree with it."""

    wrong = 0.0
    lengths_as: type = int

    def flash_attn_func(self, q, k, v, causal):  # type: ignore[no-untyped-def]
        assert causal
        return probe_script.plain_attention(q[0], k[0], v[0]).unsqueeze(0) + self.wrong

    def flash_attn_varlen_func(self, q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, causal):  # type: ignore
        import torch

        assert isinstance(max_seqlen_q, self.lengths_as), f"expects {self.lengths_as}"
        bounds = cu_seqlens_q.tolist()
        assert bounds == cu_seqlens_k.tolist() and bounds[-1] == len(q) and max_seqlen_q == max(probe_script.LENGTHS)
        parts = [probe_script.plain_attention(q[a:b], k[a:b], v[a:b]) for a, b in pairwise(bounds)]
        return torch.cat(parts) + self.wrong, "softmax_lse"  # newer versions give a pair


@pytest.mark.stack
@pytest.mark.parametrize("packed", [False, True])
def test_the_script_judges_an_implementation_by_its_numbers(packed: bool) -> None:
    import torch

    lengths = probe_script.LENGTHS if packed else (sum(probe_script.LENGTHS),)
    module = PlainModule()
    error, allowed = probe_script.run_case(module, lengths, packed, 64, torch.bfloat16, "cpu", False)
    assert 0 < error <= allowed < 0.2
    module.wrong = 0.5
    error, allowed = probe_script.run_case(module, lengths, packed, 64, torch.bfloat16, "cpu", False)
    assert error > allowed


@pytest.mark.stack
def test_leaking_across_packed_rows_is_seen() -> None:
    import torch

    class Leaks(PlainModule):
        def flash_attn_varlen_func(self, q, k, v, **rest):  # type: ignore[no-untyped-def]
            return probe_script.plain_attention(q, k, v)

    error, allowed = probe_script.run_case(Leaks(), probe_script.LENGTHS, True, 64, torch.float16, "cpu", False)
    assert error > allowed


@pytest.mark.stack
def test_the_kernel_is_called_as_transformers_calls_it() -> None:
    """From 5.4 on with a tensor, which flash-attn-4 4.0.0b25 to b30 does not take on Blackwell."""
    import torch

    module = PlainModule()
    with pytest.raises(AssertionError, match="expects"):
        probe_script.run_case(module, probe_script.LENGTHS, True, 64, torch.float16, "cpu", True)
    module.lengths_as = torch.Tensor
    error, allowed = probe_script.run_case(module, probe_script.LENGTHS, True, 64, torch.float16, "cpu", True)
    assert error <= allowed


@pytest.mark.stack
@pytest.mark.parametrize("wrong", [False, True])
def test_a_convolution_is_judged_in_the_same_way(wrong: bool) -> None:
    import torch

    class Convolution:
        def causal_conv1d_fn(self, x, weight, bias, activation):  # type: ignore[no-untyped-def]
            width = weight.shape[1] - wrong  # one number of the row less
            padded = torch.nn.functional.pad(x, (width - 1, 0))
            whole = torch.nn.functional.conv1d(padded, weight[:, None, -width:], bias, groups=len(weight))
            assert activation == "silu" and whole.shape == x.shape
            return torch.nn.functional.silu(whole)

    error, allowed = probe_script.run_convolution(Convolution(), torch.bfloat16, "cpu")
    assert error > 0 and (error > allowed) is wrong


@pytest.mark.stack
@pytest.mark.gpu
def test_a_real_probe(tmp_path: Path) -> None:
    import torch

    if not torch.cuda.is_available() or pytest.importorskip("flash_attn") is None:
        pytest.skip("no GPU")
    from swift_fa_launcher.machine.gpus import collect_gpus

    gpus, driver = collect_gpus()
    tried = run_probe(Job(sys.executable, "flash_attn", gpus, driver), os.environ, tmp_path, 300)  # type: ignore[arg-type]
    assert tried.import_error is None and all(device.ok for device in tried.devices)
