"""A Qwen2 of billions of random weights, and rows of very uneven length: what a GPU is measured with.

    python tests/large.py FOLDER [--shape 3b] [--rows 500] [--no-weights]

makes FOLDER/Qwen2.5-SHAPE-Instruct and FOLDER/rows.jsonl.

Needs torch, for a GPU's speed at drawing numbers where there is one. The tokenizer and the words are those of tests/tiny.py.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from pathlib import Path
from typing import Any

import tiny

#: hidden, inner, layers, heads, key heads; Qwen2.5's own shapes, and a small one to try this with.
SHAPES = {"small": (256, 512, 4, 4, 2), "1.5b": (1536, 8960, 28, 12, 2), "3b": (2048, 11008, 36, 16, 2),
          "7b": (3584, 18944, 28, 28, 4)}
VOCABULARY, POSITIONS = 32000, 8192
FEWEST, MOST = 8, 2900  # tokens of a row
SHARD = 4 << 30  # bytes


def make_large_model(folder: Path, shape: str, *, weights: bool = True) -> int:
    """Writes config, tokenizer and weights in bfloat16 into `folder`; returns how many parameters there are."""
    hidden, inner, layers, heads, key_heads = SHAPES[shape]
    folder.mkdir(parents=True, exist_ok=True)
    tiny.write_tokenizer(folder)
    tiny.write_config(folder, (VOCABULARY, *SHAPES[shape]), max_position_embeddings=POSITIONS, rope_theta=1000000.0,
                      tie_word_embeddings=False, torch_dtype="bfloat16")
    shapes = tiny.parameter_shapes(VOCABULARY, hidden, inner, layers, hidden * key_heads // heads)
    shapes["lm_head.weight"] = (VOCABULARY, hidden)
    if weights:
        _write_weights(folder, shapes)
    return sum(math.prod(size) for size in shapes.values())


def _write_weights(folder: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """In shards, as a hub's model of this size; normal(0, 0.02), ones for the norms, zero biases."""
    import torch
    from safetensors.torch import save_file

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    shards: list[dict[str, Any]] = [{}]
    held = 0
    for name, size in shapes.items():
        if held > SHARD:
            shards.append({})
            held = 0
        tensor = torch.empty(size, dtype=torch.bfloat16, device=device)
        tensor = tensor.fill_(1) if "norm" in name else tensor.zero_() if "bias" in name else tensor.normal_(0, 0.02)
        shards[-1][name] = tensor.cpu()
        held += tensor.numel() * 2
    places = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file(shard, str(folder / file), metadata={"format": "pt"})
        places.update(dict.fromkeys(shard, file))
    total = sum(2 * math.prod(size) for size in shapes.values())
    tiny.write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": places})


def make_rows(file: Path, n: int, tokenizer_file: Path) -> int:
    """Writes `n` chat rows whose answers have FEWEST to MOST tokens, most of them short; returns all rows' tokens, about."""
    from tokenizers import Tokenizer

    tokenizer, draw, total = Tokenizer.from_file(str(tokenizer_file)), random.Random(0), 0
    with file.open("w", encoding="utf-8") as out:
        for _ in range(n):
            wanted = min(MOST, max(FEWEST, round(draw.lognormvariate(math.log(420), 1.0))))
            answer, length = [], 0
            while length < wanted:
                answer.append(tiny.sentence(draw, draw.choice(tiny.SUBJECTS)))
                length += len(tokenizer.encode(answer[-1]).ids) + 1
            turns = [{"role": "user", "content": "What was seen?"}, {"role": "assistant", "content": " ".join(answer)}]
            out.write(json.dumps({"messages": turns}, ensure_ascii=False) + "\n")
            total += length
    return total


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="3b")
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--no-weights", action="store_true", help="which a rehearsal does not need")
    given = parser.parse_args()
    model = given.folder / f"Qwen2.5-{given.shape}-Instruct"
    parameters = make_large_model(model, given.shape, weights=not given.no_weights)
    tokens = make_rows(given.folder / "rows.jsonl", given.rows, model / "tokenizer.json")
    print(f"{model}: {parameters / 1e9:.2f} billion parameters; {given.rows} rows of about {tokens:,} tokens in all")
