"""A Qwen2 of 100 thousand random weights, its own tokenizer and chat rows: enough for a real `swift sft` on a CPU.

    python tiny.py FOLDER     makes FOLDER/Qwen2.5-tiny-Instruct and FOLDER/chat.jsonl, in about a second

A program for the training's Python: `swift-fa init --demo` runs it there.

Files are written without torch or transformers, and the same bytes come out every time. The tokenizer is one that
transformers 4 and 5 both read (what transformers 5 saves itself, transformers 4 refuses). ms-swift cannot tell from the
folder what it is: give it `--model_type qwen2 --template qwen2_5`.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

MODEL_NAME, ROWS_NAME = "Qwen2.5-tiny-Instruct", "chat.jsonl"
HIDDEN, INNER, LAYERS, HEADS, KEY_HEADS, POSITIONS = 64, 128, 2, 4, 2, 2048
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: What Qwen2's tokenizers take as one word (transformers/models/qwen2/tokenization_qwen2.py).
WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")
SUBJECTS = ("a gauge", "the harbour", "ein Zug", "une horloge", "一台机器", "黄河", "the north wind", "a ledger")
DEEDS = ("counts", "forgets", "measures", "carries", "repeats", "等待", "记录", "mends")
THINGS = ("seven stones", "the same letter", "two rivers", "每一个字", "an empty room", "三分之一", "what was left")


def make_tiny_model(folder: Path, seed: int = 0) -> Path:
    """Writes config, weights and tokenizer into `folder`, which comes back."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = write_tokenizer(folder)
    write_config(folder, (vocabulary, HIDDEN, INNER, LAYERS, HEADS, KEY_HEADS), max_position_embeddings=POSITIONS,
                 rope_theta=10000.0, tie_word_embeddings=True, torch_dtype="float32")
    _write_weights(folder / "model.safetensors", vocabulary, seed)
    return folder


def write_config(folder: Path, shape: tuple[int, int, int, int, int, int], **more: Any) -> None:
    """Qwen2's config.json and generation_config.json. shape: vocabulary, hidden, inner, layers, heads, key heads."""
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
             "num_key_value_heads")
    write_json(folder / "config.json", {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", **dict(zip(names, shape, strict=True)),
        "hidden_act": "silu", "rms_norm_eps": 1e-6, "initializer_range": 0.02, "attention_dropout": 0.0,
        "use_sliding_window": False, "use_cache": True, "eos_token_id": 2, "pad_token_id": 0, **more})
    write_json(folder / "generation_config.json", {"eos_token_id": 2, "pad_token_id": 0})


def make_chat_rows(file: Path, n: int, seed: int = 0) -> Path:
    """Writes `n` conversations of uneven length, one JSON line each, into `file`, which comes back."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)
    rows = [{"messages": _conversation(draw)} for _ in range(n)]
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def _conversation(draw: random.Random) -> list[dict[str, str]]:
    turns = []
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        subject = draw.choice(SUBJECTS)
        turns.append({"role": "user", "content": f"What does {subject} do?"})
        answer = " ".join(sentence(draw, subject) for _ in range(draw.randint(1, 6)))
        turns.append({"role": "assistant", "content": answer})
    return turns


def sentence(draw: random.Random, subject: str) -> str:
    return f"{subject} {draw.choice(DEEDS)} {draw.choice(THINGS)} {draw.randint(0, 99)} times."


def write_tokenizer(folder: Path) -> int:
    """Byte-level BPE over the rows' own words; returns how many tokens it knows.

    Text is cut as Qwen2's tokenizers cut it (each digit alone): transformers 5 does that whatever the file says.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(WORDS), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    draw = random.Random(0)
    text = [turn["content"] for _ in range(200) for turn in _conversation(draw)]
    tokenizer.train_from_iterator(text, trainers.BpeTrainer(
        vocab_size=512, special_tokens=list(SPECIAL_TOKENS), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
        "model_max_length": POSITIONS, "clean_up_tokenization_spaces": False, "chat_template": CHAT_TEMPLATE})
    return int(tokenizer.get_vocab_size())


def _write_weights(file: Path, vocabulary: int, seed: int) -> None:
    """normal(0, 0.02) as Qwen2 starts, ones for the norms, zero biases."""
    import numpy
    from safetensors.numpy import save_file

    draw = numpy.random.default_rng(seed)
    weights: dict[str, Any] = {}
    for name, size in parameter_shapes(vocabulary, HIDDEN, INNER, LAYERS, HIDDEN * KEY_HEADS // HEADS).items():
        if "norm" in name:
            weights[name] = numpy.ones(size, numpy.float32)
        elif "bias" in name:
            weights[name] = numpy.zeros(size, numpy.float32)
        else:
            weights[name] = draw.normal(0.0, 0.02, size).astype(numpy.float32)
    save_file(weights, file, metadata={"format": "pt"})


def parameter_shapes(vocabulary: int, hidden: int, inner: int, layers: int, keys: int) -> dict[str, tuple[int, ...]]:
    """Qwen2's parameters by name, but for lm_head. keys: width of all key heads together."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for layer in (f"model.layers.{i}" for i in range(layers)):
        for name, size in (("q", hidden), ("k", keys), ("v", keys)):
            shapes[f"{layer}.self_attn.{name}_proj.weight"] = (size, hidden)
            shapes[f"{layer}.self_attn.{name}_proj.bias"] = (size,)
        shapes[f"{layer}.self_attn.o_proj.weight"] = (hidden, hidden)
        shapes[f"{layer}.mlp.gate_proj.weight"] = (inner, hidden)
        shapes[f"{layer}.mlp.up_proj.weight"] = (inner, hidden)
        shapes[f"{layer}.mlp.down_proj.weight"] = (hidden, inner)
        shapes.update({f"{layer}.{norm}.weight": (hidden,) for norm in ("input_layernorm", "post_attention_layernorm")})
    shapes["model.norm.weight"] = (hidden,)
    return shapes


def write_json(file: Path, data: dict[str, Any]) -> None:
    file.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make_tiny_model(Path(sys.argv[1]) / MODEL_NAME)
    make_chat_rows(Path(sys.argv[1]) / ROWS_NAME, 200)
