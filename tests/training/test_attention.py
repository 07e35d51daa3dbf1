"""Torch's own flash attention, or a hub kernel, under transformers' name for the package: the same numbers as SDPA, packed,
padded and windowed.

The kernels run on a GPU alone; on the CPU a plain attention, row by row, stands in for torch's function, and the hub's is one of
Python that the real `kernels` loads from a cache.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import tiny  # type: ignore[import-not-found]
from by_path import load_file
from kernel_hub import COMMIT, REPO, fill_cache

torch = pytest.importorskip("torch", minversion="2.11")
transformers = pytest.importorskip("transformers")
varlen = pytest.importorskip("torch.nn.attention.varlen")

from torch.nn.functional import scaled_dot_product_attention  # noqa: E402

FILE = Path(__file__).parents[2] / "swift_fa_launcher" / "training" / "swift_fa_attention.py"
STAND_IN = Path(__file__).with_name("row_by_row.py")


HUB_JOB = {"provider": "kernel", "repo": REPO, "revision": COMMIT}


@pytest.fixture(params=["torch", "kernel"])
def attention(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The file, loaded and in force for one test; with the stand-in where there is no GPU."""
    job = {"provider": "torch"}
    if request.param == "kernel":
        pytest.importorskip("kernels", reason="kernels is not installed (pip install 'kernels>=0.17,<0.18')")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(fill_cache(tmp_path)))
        job = HUB_JOB
    from transformers import modeling_flash_attention_utils, modeling_utils

    if not torch.cuda.is_available():
        monkeypatch.setattr(varlen, "varlen_attn", load_file(STAND_IN).varlen_attn)
    table = modeling_utils.ALL_ATTENTION_FUNCTIONS
    monkeypatch.setitem(table, "flash_attention_2", table["flash_attention_2"])
    for place, name in ((modeling_utils, "is_flash_attn_2_available"), (modeling_utils, "lazy_import_flash_attention")):
        if hasattr(place, name):
            monkeypatch.setattr(place, name, getattr(place, name))
    checks = getattr(modeling_flash_attention_utils, "FLASH_ATTENTION_COMPATIBILITY_MATRIX", {})
    if 2 in checks:
        monkeypatch.setitem(checks, 2, checks[2])
    module = load_file(FILE)
    module.provide(**job)
    module.of_hub_kernel = request.param == "kernel"
    return module


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPE = torch.bfloat16 if torch.cuda.is_available() else torch.float32
NEAR = 3e-2 if torch.cuda.is_available() else 1e-5


def make_model(attn_implementation: str, **more: Any) -> Any:
    torch.manual_seed(1)
    config = transformers.Qwen2Config(hidden_size=96, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4,
                                      num_key_value_heads=2, vocab_size=128, **more)
    config._attn_implementation = attn_implementation
    return transformers.Qwen2ForCausalLM(config).to(DEVICE, DTYPE).train()


def ids_of(*lengths: int) -> Any:
    return torch.randint(0, 128, (1, sum(lengths)), generator=torch.Generator().manual_seed(3)).to(DEVICE)


def test_packed_rows_see_themselves_alone(attention: Any) -> None:
    lengths = (5, 1, 17, 1, 1, 9)
    ids = ids_of(*lengths)
    positions = torch.cat([torch.arange(n) for n in lengths])[None].to(DEVICE)
    packed = make_model("flash_attention_2")(input_ids=ids, position_ids=positions).logits
    plain = make_model("sdpa")
    apart = torch.cat([plain(input_ids=row).logits for row in ids.split(lengths, dim=1)], dim=1)
    torch.testing.assert_close(packed, apart, atol=NEAR, rtol=NEAR)
    assert not torch.allclose(packed, plain(input_ids=ids).logits, atol=NEAR, rtol=NEAR)  # one long row is another thing


def test_boundaries_that_are_given_are_taken(attention: Any) -> None:
    ids = ids_of(7, 12)
    positions = torch.cat([torch.arange(7), torch.arange(12)])[None].to(DEVICE)
    model = make_model("flash_attention_2")
    ends = torch.tensor([0, 7, 19], dtype=torch.int32, device=DEVICE)
    given = model(input_ids=ids, position_ids=positions, cu_seq_lens_q=ends, cu_seq_lens_k=ends, max_length_q=12,
                  max_length_k=12).logits
    torch.testing.assert_close(given, model(input_ids=ids, position_ids=positions).logits)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_rows(attention: Any, side: str) -> None:
    ids, mask = ids_of(24).view(2, 12), torch.ones(2, 12, dtype=torch.long, device=DEVICE)
    mask[1, slice(0, 5) if side == "left" else slice(7, 12)] = 0
    ours, plain = (make_model(name)(input_ids=ids, attention_mask=mask).logits for name in ("flash_attention_2", "sdpa"))
    kept = mask.bool()
    torch.testing.assert_close(ours[kept], plain[kept], atol=NEAR, rtol=NEAR)


def test_gradients_and_windows(attention: Any) -> None:
    window = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}
    ids, found = ids_of(20), []
    for name in ("flash_attention_2", "sdpa"):
        model = make_model(name, **window)
        model(input_ids=ids, labels=ids).loss.backward()
        found.append({key: parameter.grad for key, parameter in model.named_parameters()})
    for key, ours in found[0].items():
        torch.testing.assert_close(ours, found[1][key], atol=NEAR, rtol=NEAR, msg=key)


def test_boundaries_are_worked_out_once_a_step(attention: Any) -> None:
    made = []
    counted = attention.once(lambda tensor, *sizes: made.append(sizes) or len(made))
    first, second = torch.zeros(3), torch.zeros(3)
    assert [counted(first, 1), counted(first, 1), counted(second, 1), counted(first, 2), counted(first, 1)] == [1, 1, 2, 3, 1]
    first.add_(1)  # the same tensor with other content
    assert counted(first, 1) == 4


@pytest.mark.parametrize("asked", [{"softcap": 50.0}, {"dropout": 0.1}, {"s_aux": torch.zeros(4)}])
def test_what_the_kernel_cannot_do_is_refused(attention: Any, asked: dict[str, Any]) -> None:
    states = [torch.zeros(1, 4, 6, 8)] * 3
    if attention.of_hub_kernel and "s_aux" not in asked:
        pytest.skip("flash-attn's own code can")
    with pytest.raises(NotImplementedError, match=r"flash_attn\.provider=package"):
        attention.attend(torch.nn.Module(), *states, None, **asked)


def test_other_head_sizes_and_values_that_are_narrower(attention: Any) -> None:
    """Multi-head latent attention has narrower values; sizes that are no multiple of 8 are widened by zeros."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, heads, 6, size).to(DEVICE, DTYPE) for heads, size in ((4, 12), (2, 12), (2, 10)))
    ours, _ = attention.attend(torch.nn.Module(), query, key, value, None)
    plain = scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True).transpose(1, 2)
    torch.testing.assert_close(ours, plain, atol=NEAR, rtol=NEAR)


def test_the_monitor_names_it(attention: Any) -> None:
    monitor = load_file(FILE.with_name("swift_fa_monitor.py"))
    told = monitor.attention_of(make_model("flash_attention_2"))
    torchs = f"torch.nn.attention.varlen (torch {torch.__version__})"
    assert told["kernel"] == (f"hub kernel {REPO}@{COMMIT}" if attention.of_hub_kernel else torchs)


def test_a_hub_kernel_caps_scores(attention: Any) -> None:
    if not attention.of_hub_kernel:
        pytest.skip("torch's own cannot")
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 2, 6, 8).to(DEVICE, DTYPE) for _ in range(3))
    ours, _ = attention.attend(torch.nn.Module(), query, key, value, None, softcap=0.5)
    scores = 0.5 * (query @ key.transpose(2, 3) * 8 ** -0.5 / 0.5).tanh()
    hidden = torch.ones(6, 6, dtype=torch.bool, device=DEVICE).triu(1)
    plain = scores.masked_fill(hidden, float("-inf")).softmax(-1) @ value
    torch.testing.assert_close(ours, plain.transpose(1, 2), atol=NEAR, rtol=NEAR)


def test_the_probe_calls_it_as_the_training_does(attention: Any) -> None:
    probe = load_file(FILE.parents[1] / "machine" / "probe_script.py")
    module = probe.Plugin(f"{REPO}@{COMMIT}" if attention.of_hub_kernel else "")
    error, allowed = probe.run_case(module, (5, 9), True, 16, DTYPE, DEVICE, True)
    assert error <= allowed < 0.1


def test_no_other_revision_than_the_one_of_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kernels", reason="kernels is not installed (pip install 'kernels>=0.17,<0.18')")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(fill_cache(tmp_path)))
    module = load_file(FILE)
    with pytest.raises(FileNotFoundError, match="f" * 40):
        module.load_kernel(REPO, "f" * 40)
    (variant,) = tmp_path.glob("*/snapshots/*/build/*")
    monkeypatch.setenv("LOCAL_KERNELS", f"{REPO}={variant.rename(tmp_path / 'mine')}")
    with pytest.raises(RuntimeError, match="which is not"):
        module.load_kernel(REPO, COMMIT)


@pytest.mark.training
def test_a_real_training_calls_it_and_learns_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Padding-free through the plugin against padded with SDPA; other ms-swifts: replay_generations.py."""
    pytest.importorskip("swift")
    replay = load_file(Path(__file__).with_name("replay_generations.py"))
    material = replay.make_material(tmp_path)
    plain = replay.train(material, tmp_path / "plain", "--attn_impl", "sdpa")
    words = ("--attn_impl", "flash_attn", "--padding_free", "true")
    free = replay.train(material, tmp_path / "free", *words, job={"provider": "torch"})
    assert plain == pytest.approx(free, abs=replay.NEAR) and len(plain) == replay.STEPS
    assert len((tmp_path / "free.calls").read_text().splitlines()) == 2 * tiny.LAYERS * replay.STEPS  # 2: checkpointing
    if importlib.util.find_spec("kernels"):
        monkeypatch.setenv("HF_HUB_CACHE", str(fill_cache(tmp_path / "hub")))
        of_hub = replay.train(material, tmp_path / "kernel", *words, job=HUB_JOB)
        assert of_hub == pytest.approx(plain, abs=replay.NEAR)
