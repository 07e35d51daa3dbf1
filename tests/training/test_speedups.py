"""Each speed-up against the plain form: outputs, all gradients, twenty training steps."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from by_path import load_file

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

FILE = Path(__file__).parents[2] / "swift_fa_launcher" / "training" / "swift_fa_speedups.py"
DEVICES = ("cpu", *(("cuda",) if torch.cuda.is_available() else ()))
HALVES = {"cpu": (torch.bfloat16,), "cuda": (torch.bfloat16, torch.float16)}
CASES = [(device, dtype) for device in DEVICES for dtype in (torch.float32, *HALVES[device])]


@pytest.fixture(scope="module")
def speedups() -> Any:
    return load_file(FILE)


def make_model(device: str, dtype: Any, *, dropout: float = 0.0, attention: str = "sdpa", **lora: Any) -> Any:
    torch.manual_seed(1)
    config = transformers.Qwen2Config(hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4,
                                      num_key_value_heads=2, vocab_size=128, attn_implementation=attention)
    model = transformers.Qwen2ForCausalLM(config).to(device, dtype)
    model = peft.get_peft_model(model, peft.LoraConfig(r=4, lora_dropout=dropout, target_modules="all-linear", **lora))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn_like(parameter, dtype=torch.float32) * 0.05
    return model.train()


def step(model: Any, ids: Any, dtype: Any, **more: Any) -> tuple[Any, Any, dict[str, Any]]:
    """(logits, loss, gradients) of one forward and backward pass, as a trainer with bf16 or fp16 makes them."""
    torch.manual_seed(2)
    model.zero_grad()
    with torch.autocast(ids.device.type, dtype=dtype, enabled=dtype != torch.float32):
        out = model(input_ids=ids, labels=ids, **more)
    scale = 4096.0 if dtype == torch.float16 else 1.0  # as a trainer's gradient scaler: small ones would vanish
    (out.loss * scale).backward()
    return out.logits, out.loss.detach(), {name: p.grad / scale for name, p in model.named_parameters() if p.grad is not None}


def trainer_of(model: Any) -> Any:
    """As much of a trainer as a speed-up looks at before it trains."""
    return SimpleNamespace(model=model, get_train_dataloader=lambda: None, training_step=lambda: None,
                           args=SimpleNamespace(logging_nan_inf_filter=False))


def ids_on(device: str, rows: int = 2, length: int = 24) -> Any:
    return torch.randint(0, 128, (rows, length), generator=torch.Generator().manual_seed(3)).to(device)


@pytest.mark.parametrize(("device", "dtype"), CASES)
def test_inputs_that_are_cast_once_give_the_same_bits(speedups: Any, device: str, dtype: Any) -> None:
    plain = make_model(device, dtype)
    fast = copy.deepcopy(plain)
    told = speedups.keep_lora_inputs(trainer_of(fast))
    assert told == {"used": True, "layers": 21}
    ids = ids_on(device)
    (logits, loss, grads), (fast_logits, fast_loss, fast_grads) = step(plain, ids, dtype), step(fast, ids, dtype)
    assert torch.equal(logits, fast_logits) and torch.equal(loss, fast_loss)
    assert grads.keys() == fast_grads.keys() and all(torch.equal(grads[name], fast_grads[name]) for name in grads)


def test_the_input_is_really_not_cast_twice(speedups: Any) -> None:
    model = make_model("cpu", torch.bfloat16)
    speedups.keep_lora_inputs(trainer_of(model))
    seen = []
    layer = next(speedups.lora_layers(model))
    layer.lora_A["default"].register_forward_pre_hook(lambda module, args: seen.append(args[0].dtype))
    step(model, ids_on("cpu"), torch.bfloat16)
    assert seen == [torch.bfloat16]
    with torch.no_grad():  # outside autocast the cast is needed, and made
        model(input_ids=ids_on("cpu"))
    assert seen[-1] == torch.float32


def test_a_layer_with_dropout_keeps_its_cast(speedups: Any) -> None:
    model = make_model("cpu", torch.bfloat16, dropout=0.1)
    assert speedups.keep_lora_inputs(trainer_of(model)) == {"used": False, "layers": 0, "why": "21 layers have dropout"}


def reference(model: Any, ids: Any, **more: Any) -> dict[str, Any]:
    return step(copy.deepcopy(model).float(), ids, torch.float32, **more)[2]


def error_of(grads: dict[str, Any], true: dict[str, Any]) -> float:
    return max(float((grads[name].float() - true[name]).norm() / true[name].norm()) for name in true)


@pytest.mark.parametrize("kinds", [{}, {"use_rslora": True}], ids=["lora", "rslora"])
@pytest.mark.parametrize(("device", "dtype"), CASES)
def test_the_fused_product_is_as_near_to_float32_as_pefts(speedups: Any, device: str, dtype: Any, kinds: dict[str, Any]) -> None:
    plain = make_model(device, dtype, **kinds)
    fast = copy.deepcopy(plain)
    assert speedups.fuse_lora(trainer_of(fast)) == {"used": True, "layers": 21, "products": 12}
    ids = ids_on(device)
    true = reference(plain, ids)
    (_, loss, grads), (_, fast_loss, fast_grads) = step(plain, ids, dtype), step(fast, ids, dtype)
    assert fast_grads.keys() == grads.keys() == true.keys()
    assert all(fast_grads[name].dtype == grads[name].dtype == torch.float32 for name in grads)
    if dtype == torch.float32:
        assert error_of(fast_grads, true) < 1e-5
    else:
        assert error_of(fast_grads, true) < 1.3 * error_of(grads, true)
    assert abs(float(loss - fast_loss)) < (1e-6 if dtype == torch.float32 else 5e-3)


@pytest.mark.parametrize(("device", "dtype"), CASES)
def test_with_dropout_the_same_places_are_dropped(speedups: Any, device: str, dtype: Any) -> None:
    plain = make_model(device, dtype, dropout=0.3)
    fast = copy.deepcopy(plain)
    assert speedups.fuse_lora(trainer_of(fast))["used"]
    if dtype != torch.float32:
        return  # the mask may depend on the type: nothing to compare bit by bit
    ids = ids_on(device)
    (_, loss, grads), (_, fast_loss, fast_grads) = step(plain, ids, dtype), step(fast, ids, dtype)
    assert abs(float(loss - fast_loss)) < 1e-6 and error_of(fast_grads, grads) < 1e-5


@pytest.mark.parametrize("level", ["exact", "all"])
def test_twenty_steps_learn_the_same(speedups: Any, level: str) -> None:
    losses = []
    for kind in (None, level):
        model = make_model("cpu", torch.bfloat16)
        for apply in speedups.SPEEDUPS[kind].values() if kind else ():
            apply(trainer_of(model))
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
        losses.append([])
        for seed in range(20):
            ids = torch.randint(0, 128, (2, 24), generator=torch.Generator().manual_seed(seed))
            losses[-1].append(float(step(model, ids, torch.bfloat16)[1].detach()))
            optimizer.step()
    if level == "exact":
        assert losses[0] == losses[1]
    else:
        assert max(abs(a - b) for a, b in zip(*losses, strict=True)) < 0.01


@pytest.mark.parametrize("checkpointing", [True, False])
def test_checkpointing_and_adapters_that_are_off_merged_or_saved(speedups: Any, checkpointing: bool, tmp_path: Path) -> None:
    plain = make_model("cpu", torch.float32)
    fast = copy.deepcopy(plain)
    speedups.fuse_lora(trainer_of(fast))
    ids = ids_on("cpu")
    for model in (plain, fast):
        if checkpointing:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable({"use_reentrant": False})
    assert error_of(step(fast, ids, torch.float32)[2], step(plain, ids, torch.float32)[2]) < 1e-5
    with torch.no_grad(), fast.disable_adapter(), plain.disable_adapter():
        assert torch.equal(fast(input_ids=ids).logits, plain(input_ids=ids).logits)
    fast.save_pretrained(tmp_path)
    loaded = peft.PeftModel.from_pretrained(make_model("cpu", torch.float32).unload(), tmp_path)
    with torch.no_grad():
        assert torch.allclose(loaded(input_ids=ids).logits, plain.eval()(input_ids=ids).logits, atol=1e-5)
        fast.merge_adapter()
        assert torch.allclose(fast.eval()(input_ids=ids).logits, plain(input_ids=ids).logits, atol=1e-5)


@pytest.mark.parametrize(("kinds", "why"), [({"use_dora": True}, "DoRA"), ({"lora_bias": True}, "bias")])
def test_what_is_no_plain_lora_takes_pefts_own_way(speedups: Any, kinds: dict[str, Any], why: str) -> None:
    told = speedups.fuse_lora(trainer_of(make_model("cpu", torch.float32, **kinds)))
    assert not told["used"] and told["layers"] == 0 and why in told["why"]


def packed(rows: tuple[int, ...]) -> dict[str, Any]:
    positions = torch.cat([torch.arange(n) for n in rows])[None]
    return {"position_ids": positions}


def test_boundaries_are_those_that_transformers_finds() -> None:
    from transformers.modeling_flash_attention_utils import prepare_fa_kwargs_from_position_ids

    module = load_file(FILE)
    for rows in ((3, 5), (1, 1, 1), (7, 2, 9, 1)):
        positions = packed(rows)["position_ids"]
        mine = module.boundaries_of(positions)
        (q, k), (longest_q, longest_k) = prepare_fa_kwargs_from_position_ids(positions)
        assert torch.equal(mine["cu_seq_lens_q"], q) and torch.equal(mine["cu_seq_lens_k"], k)
        assert q.dtype == mine["cu_seq_lens_q"].dtype and type(mine["max_length_q"]) is int
        assert (mine["max_length_q"], mine["max_length_k"]) == (int(longest_q), int(longest_k)) == (max(rows), max(rows))
    assert module.boundaries_of(torch.arange(9)[None]) == {}


def test_boundaries_reach_every_layer(speedups: Any) -> None:
    """Up to the attention's call: a registered implementation of our own stands where flash attention would."""
    from transformers import AttentionInterface

    seen = []

    def attention(module: Any, query: Any, key: Any, value: Any, mask: Any, **more: Any) -> Any:
        seen.append({name: more.get(name) for name in speedups.BOUNDARIES})
        return query.transpose(1, 2), None

    AttentionInterface.register("flash_of_a_test", attention)
    model = make_model("cpu", torch.float32)
    model.config._attn_implementation = model.get_base_model().config._attn_implementation = "flash_of_a_test"
    assert speedups.share_boundaries(trainer_of(model)) == {"used": True}
    model(input_ids=ids_on("cpu", 1, 10), **packed((4, 6)))
    assert len(seen) == 3 and all(one["max_length_q"] == 6 and one["cu_seq_lens_q"].tolist() == [0, 4, 10] for one in seen)
    assert all(one["cu_seq_lens_q"] is seen[0]["cu_seq_lens_q"] for one in seen)
    seen.clear()
    model(input_ids=ids_on("cpu", 2, 10), attention_mask=torch.ones(2, 10))
    assert all(one["cu_seq_lens_q"] is None for one in seen)


@pytest.mark.parametrize(("change", "why"), [
    ({"_attn_implementation": "sdpa"}, "takes no row boundaries"), ({"vision_config": object()}, "more than a language model"),
    ({"layer_types": ["linear_attention", "full_attention"]}, "linear attention")])
def test_who_gets_no_boundaries(speedups: Any, change: dict[str, Any], why: str) -> None:
    model = make_model("cpu", torch.float32)
    model.config._attn_implementation = "flash_attention_2"
    for name, value in change.items():
        object.__setattr__(model.config, name, value)
    assert why in speedups.share_boundaries(trainer_of(model))["why"]


def test_a_speedup_that_fails_stops_nothing(speedups: Any) -> None:
    assert speedups.tried(speedups.fuse_lora, None)["used"] is False


def names_of(model: Any) -> set[str]:
    return {name.rpartition(".")[2] for name, module in model.named_modules() if hasattr(module, "lora_A") and module.lora_A}


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_layers_with_the_same_input_are_computed_at_once(speedups: Any, dropout: float) -> None:
    """Seven products of a layer are four; each adapter has the gradient that it has alone."""
    model = make_model("cpu", torch.float32, dropout=dropout)
    plain = copy.deepcopy(model)
    assert names_of(model) >= {"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"}
    assert speedups.fuse_lora(trainer_of(model))["products"] == 3 * 4
    computed = []
    function = speedups.autograd_function()
    speedups.autograd_function = lambda: lambda x, given, *more: (computed.append(len(given.parts)), function(x, given, *more))[1]
    try:
        grads = step(model, ids_on("cpu"), torch.float32)[2]
    finally:
        del speedups.autograd_function
        speedups.autograd_function = lambda: function
    assert computed == [3, 1, 2, 1] * 3
    assert error_of(grads, step(plain, ids_on("cpu"), torch.float32)[2]) < 1e-5


def test_layers_that_turn_out_to_have_other_inputs_go_apart(speedups: Any) -> None:
    plain = make_model("cpu", torch.float32)
    fast = copy.deepcopy(plain)
    speedups.fuse_lora(trainer_of(fast))
    x, other = torch.randn(2, 5, 64), torch.randn(2, 5, 64)
    for model in (plain, fast):
        model.attention = model.get_base_model().model.layers[0].self_attn
    for _ in range(2):
        for name, given in (("q_proj", x), ("k_proj", other), ("v_proj", x)):
            layers = [getattr(model.attention, name) for model in (plain, fast)]
            assert torch.allclose(layers[0](given), layers[1](given), atol=1e-6), name


def test_half_copies_are_those_of_the_step(speedups: Any) -> None:
    """Made before each batch, used in it, gone after it: an optimizer that changes weights behind autograd's back is seen."""
    losses = []
    for copied in (False, True):
        model = make_model("cpu", torch.bfloat16)
        trainer = trainer_of(model)
        trainer.is_deepspeed_enabled = not copied
        ids = ids_on("cpu")
        trainer.training_step = lambda model=model, ids=ids: step(model, ids, torch.bfloat16)[1]
        speedups.fuse_lora(trainer)
        losses.append([])
        for _ in range(4):
            losses[-1].append(float(trainer.training_step()))
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.data.sub_(parameter.grad, alpha=0.1)  # no version is counted
    assert losses[0] == losses[1] and len(set(losses[0])) == 4
