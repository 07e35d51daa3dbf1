"""Model folders: what config.json says, and whether the weights that it is to be loaded with are all there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from swift_fa_launcher.decode import Maybe, Unknown
from swift_fa_launcher.machine.facts import ModelConfig

WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.gguf")
#: A file that Git LFS was to bring and did not is this text and two lines more.
LFS_POINTER = b"version https://git-lfs"


def read_json(file: Path) -> Any:
    """Parsed JSON. Raises OSError or ValueError."""
    return json.loads(file.read_text("utf-8"))


def read_model_config(folder: Path) -> Maybe[ModelConfig]:
    """What a model's config.json says; None where there is none, Unknown where it cannot be read."""
    said = _read_object(folder / "config.json")
    return make_model_config(said) if isinstance(said, dict) else said


#: What a config.json calls the longest row; ms-swift takes the smallest (utils/hf_config.py, get_max_model_len).
LENGTHS = ("seq_length", "max_position_embeddings", "n_positions", "model_max_length", "seq_len", "max_seq_len",
           "max_sequence_length", "max_seq_length")

#: Whose attention layers hand `s_aux` on (grep in transformers/models, 5.19.0).
MODELS_WITH_SINKS = ("deepseek_v4", "gpt_oss", "granite_swa", "granitemoe_swa", "hy_v4", "mimo_v2_flash", "openai_privacy_filter")


def make_model_config(said: Mapping[str, Any]) -> ModelConfig:
    """The facts in a config.json. A multimodal one has its language model's below `text_config` and the like."""
    text = next((inner for key in ("text_config", "llm_config", "language_config", "thinker_config")
                 if isinstance(inner := said.get(key), dict)), {})
    if isinstance(text.get("text_config"), dict):  # thinker_config has it one level further down
        text = text["text_config"]
    thinker = said.get("thinker_config")
    tower = thinker.get("vision_config") if isinstance(thinker, dict) else None
    both = {**said, **{key: value for key, value in text.items() if value is not None}}
    dtype = both.get("torch_dtype") or both.get("dtype")
    architectures = said.get("architectures")
    return ModelConfig(
        model_type=_text(said.get("model_type")), torch_dtype=_text(dtype), layer_types=_layer_types(both),
        architectures=tuple(map(str, architectures)) if isinstance(architectures, list) else None,
        max_length=min((both[key] for key in LENGTHS if type(both.get(key)) is int and both[key] > 0), default=None),
        head_dims=tuple(sorted({*_head_dims(both), *_head_dims(said.get("vision_config")), *_head_dims(tower)})) or None,
        quant_method=_quant_method(both.get("quantization_config")),
        attention_needs=tuple(_attention_needs(both)), own_code="auto_map" in said)


def _attention_needs(said: Mapping[str, Any]) -> Iterator[str]:
    """What a model's attention has beside the plain product, by the names of transformers' configs."""
    if said.get("attn_logit_softcapping"):
        yield "softcap"
    if said.get("model_type") in MODELS_WITH_SINKS:
        yield "sinks"
    if said.get("attention_dropout"):
        yield "dropout"
    if said.get("sliding_window") and said.get("use_sliding_window", True):
        yield "window"


def _text(value: Any) -> str | None:
    return value.removeprefix("torch.") if isinstance(value, str) else None


def _layer_types(said: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The kind of each layer. Some models say it as an interval: every n-th has full attention, the others linear."""
    types, layers = said.get("layer_types"), said.get("num_hidden_layers")
    if isinstance(types, list):
        return tuple(map(str, types))
    interval = said.get("full_attention_interval")
    if isinstance(interval, int) and isinstance(layers, int) and interval > 0 and 0 < layers < 10_000:
        return tuple("full_attention" if (i + 1) % interval == 0 else "linear_attention" for i in range(layers))
    return None


def _quant_method(said: Any) -> str | None:
    """`fp8`, `gptq`, …; None where the weights are not quantised, or no longer when they are loaded."""
    return _text(said.get("quant_method")) if isinstance(said, dict) and said.get("dequantize") is not True else None


def _head_dims(said: Any) -> Iterator[int]:
    """The head sizes that attention is called with. In Qwen2-VL's tower `hidden_size` is the language model's."""
    if not isinstance(said, dict):
        return
    heads = next((said[key] for key in ("num_attention_heads", "num_heads", "n_head") if key in said), None)
    hidden = next((said[key] for key in ("embed_dim", "hidden_size", "n_embd") if key in said), None)
    sizes = [said.get("head_dim")]
    if isinstance(said.get("qk_nope_head_dim"), int) and isinstance(said.get("qk_rope_head_dim"), int):
        sizes = [said["qk_nope_head_dim"] + said["qk_rope_head_dim"]]
    elif sizes[0] is None and isinstance(heads, int) and isinstance(hidden, int) and heads > 0:
        sizes = [hidden // heads]
    yield from (size for size in (*sizes, said.get("global_head_dim")) if type(size) is int and 0 < size <= 1024)


#: What a saved adapter fixes (peft's LoraConfig), and ms-swift's names for it (swift/tuners, swift/arguments/tuner_args.py).
ADAPTER_SETTINGS = {
    "r": "lora_rank", "lora_alpha": "lora_alpha", "lora_dropout": "lora_dropout", "bias": "lora_bias",
    "use_rslora": "use_rslora", "use_dora": "use_dora", "target_modules": "target_modules",
    "modules_to_save": "modules_to_save", "init_lora_weights": "init_weights"}


def read_adapter(folder: Path) -> Maybe[dict[str, Any]]:
    """What a checkpoint's adapter_config.json fixes, by ms-swift's names; None where there is none."""
    said = _read_object(folder / "adapter_config.json")
    if not isinstance(said, dict):
        return said
    return {name: said[key] for key, name in ADAPTER_SETTINGS.items() if key in said}


def missing_model_files(folder: Path) -> Maybe[tuple[str, ...]]:
    """Files without which the model cannot be loaded, sorted: config.json, the shards that an index names, or any weights.

    A file that is only Git LFS's pointer to the real one counts as missing.
    """
    try:
        wanted = [] if (folder / "config.json").is_file() else ["config.json"]
        indexes = sorted(folder.glob("*.safetensors.index.json")) or sorted(folder.glob("*.bin.index.json"))
        for index in indexes[:1]:
            wanted += sorted({str(shard) for shard in read_json(index)["weight_map"].values()})
        if not indexes:
            weights = [file for pattern in WEIGHTS for file in folder.glob(pattern)]
            wanted += [file.name for file in weights] or ["model.safetensors"]
        return tuple(sorted(name for name in wanted if not (folder / name).is_file() or _is_pointer(folder / name)))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        return Unknown(f"{folder}: {error}")


def weights_gib(folder: Path) -> Maybe[float]:
    """The size of the weights that a model is loaded with: what their index says, else what their files take."""
    try:
        for pattern in ("*.safetensors", "*.bin"):
            for index in sorted(folder.glob(f"{pattern}.index.json")):
                return round(float(read_json(index)["metadata"]["total_size"]) / 2**30, 3)
            if files := [file for file in folder.glob(pattern) if file.name != "training_args.bin" and not _is_pointer(file)]:
                return round(sum(file.stat().st_size for file in files) / 2**30, 3)
        return None
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        return Unknown(f"{folder}: {error}")


def _is_pointer(file: Path) -> bool:
    if file.stat().st_size > 1024:
        return False
    with file.open("rb") as opened:
        return opened.read(len(LFS_POINTER)) == LFS_POINTER


def _read_object(file: Path) -> Maybe[dict[str, Any]]:
    """The JSON object in a file; None where there is no file, Unknown where it holds no such thing."""
    try:
        said = read_json(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return Unknown(f"{file}: {error}")
    return said if isinstance(said, dict) else Unknown(f"{file} is not a JSON object")
