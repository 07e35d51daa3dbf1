"""Paths and hub names of a config, on real folders."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from swift_fa_launcher.config.schema import ResolvedConfig, RunSection, SwiftArguments
from swift_fa_launcher.decode import Unknown, known
from swift_fa_launcher.machine.facts import ModelConfig, PathFacts
from swift_fa_launcher.machine.hub import cached_folder, datasets_cache, has_login, hub_name, uses_huggingface
from swift_fa_launcher.machine.model_files import (
    make_model_config,
    missing_model_files,
    read_adapter,
    read_model_config,
    weights_gib,
)
from swift_fa_launcher.machine.paths import collect_paths, looks_like_hub_name, mount_kind


def collected(environment: dict[str, str] | None = None, **swift: Any) -> dict[str, PathFacts]:
    config = ResolvedConfig(swift=SwiftArguments(swift), run=RunSection(root="/"))
    found = collect_paths(config, environment or {"HOME": "/nonexistent"})
    return {name: path for name, path in found.items() if isinstance(path, PathFacts)}


def write_json(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value))


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-7B-Instruct", "gpt2", "HF::a/b", "ms::a/b:sub#500", "swift/self-cognition#500",
                                  "CodyWhy/mh-sharegpt-20250820"])
def test_names_that_a_hub_may_know(name: str) -> None:
    assert looks_like_hub_name(name)
    assert collected(dataset=[name])[name].kind == "hub"


@pytest.mark.parametrize("name", ["/mnt/models/x", "./x", "../x/y", "~/x", "a/b/c", "data.jsonl", "data/train.jsonl#500", "a\\b",
                                  "x y", "数据/训练.json", "-x"])
def test_names_that_are_paths(name: str) -> None:
    assert collected(dataset=[name])[name].kind == "missing"


def test_what_is_there_is_local_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "Qwen" / "Qwen2").mkdir(parents=True)
    assert collected(model="Qwen/Qwen2")["Qwen/Qwen2"].kind == "dir"


def test_parts_of_a_dataset_that_are_no_path(tmp_path: Path) -> None:
    row = '{"query": "q", "response": "a"}\n'
    for name in ("train.jsonl", "odd#5"):
        (tmp_path / name).write_text(row)
    found = collected(dataset=["train.jsonl#500", "odd#5", f"{tmp_path}/train.jsonl#3", "train.jsonl:default"])
    assert {path.kind for path in found.values() if path.kind != "dir"} == {"file"}
    assert found["train.jsonl#500"].usable_rows == 1


def test_a_dataset_with_a_reader_of_the_users_own_is_not_judged(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "plugin.py").touch()
    found = collected(dataset=["d.jsonl"])
    assert found["d.jsonl"].usable_rows == 0 and known(found["d.jsonl"].first_bad).line == 1  # type: ignore[union-attr]
    found = collected(dataset=["d.jsonl"], external_plugins=["plugin.py"])
    assert isinstance(found["d.jsonl"].usable_rows, Unknown) and found["plugin.py"].kind == "file"
    assert collected(dataset=["d.jsonl"], columns={"a": "response"})["d.jsonl"].usable_rows == 1


CHAT = json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})


@pytest.mark.parametrize(("files", "why"), [
    # each tried with ms-swift 4.6.0 and datasets 4.8
    ({"a.json": '{"a": 1}', "b.json": '{"b": [1], "c": 2}'}, "in a.json: it has no reply"),
    ({"a.jsonl": CHAT, "meta.json": '{"x": 1}'}, "a.jsonl and meta.json have no column in common"),
    ({"notes.md": "hi", "sub/run.log": ""}, "it holds no data files"), ({}, "it holds no data files"),
    ({"a.jsonl": CHAT, "b.jsonl": CHAT}, None), ({"data/train.jsonl": CHAT, "README.md": "x"}, None),
    ({"train.jsonl": CHAT, "test.jsonl": '{"x": 1}'}, None), ({"a.parquet": "x"}, None),
    ({"a.json": '{"a": 1}', "b.csv": "x"}, None),
])
def test_a_folder_of_data_is_judged(tmp_path: Path, files: dict[str, str], why: str | None) -> None:
    for name, text in {**{f"rows/{name}": text for name, text in files.items()}, "rows/.git/x": ""}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = collected(dataset=["rows"])["rows"]
    bad = known(found.first_bad)
    assert (bad is None) == (why is None) and str(bad.why if bad else "").startswith(why or "")
    assert known(found.usable_rows) == (None if why is None else 0)


def test_what_lies_beside_a_missing_path(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text("")
    (tmp_path / "Qwen2.5-7B").mkdir()
    found = collected(model="Qwen2-7B", dataset=[
        "data/trian.jsonl#500", "./data/train.json", "data/other.csv", "dat/train.jsonl"])
    assert [found[name].near for name in found if name != "/"] == [
        "Qwen2.5-7B", "data/train.jsonl", "./data/train.jsonl", None, None]


def test_an_output_folder_before_it_exists(tmp_path: Path) -> None:
    found = collected(output_dir="output/x")["output/x"]
    assert (found.kind, found.writable, found.entries) == ("missing", True, None) and known(found.free_gib)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "v0-x").mkdir()
    found = collected(output_dir="full")["full"]
    assert (found.kind, found.entries, found.files) == ("dir", 1, ("v0-x",))
    (tmp_path / "file").touch()
    assert collected(output_dir="file")["file"].kind == "file"
    assert collected(output_dir="file/below")["file/below"].writable is False


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    assert collected(output_dir="locked/x")["locked/x"].writable is False


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "x/" * 3000])
def test_names_that_no_file_system_takes(name: str) -> None:
    config = ResolvedConfig(swift=SwiftArguments({"output_dir": name, "model": name, "dataset": [name]}))
    found = collect_paths(config, {"HOME": "/nonexistent"})[name]
    assert isinstance(found, Unknown) or found.kind == "missing"  # type: ignore[union-attr]


def test_which_arguments_name_paths() -> None:
    found = collected({"HOME": "/", "SWANLAB_LOG_DIR": "/tmp/swanlog", "MODELSCOPE_CACHE": "/tmp/ms"}, deepspeed="zero2",
                      adapters=["a/b"], packing_cache="/tmp/pack", resume_from_checkpoint="out/checkpoint-5")
    assert set(found) == {"a/b", "/tmp/pack", "/tmp/swanlog", "/tmp/ms", "out/checkpoint-5", "/"}
    assert found["out/checkpoint-5"].kind == "missing"  # a checkpoint to resume from is never on a hub
    assert set(collected(deepspeed="default-zero2")) == {"default-zero2", "/"}
    assert set(collected(deepspeed='{"zero_optimization": {}}')) == {"/"}


MOUNTS = {"/": "overlay", "/mnt": "nfs4", "/mnt/local disk": "ext4", "/dev/shm": "tmpfs", "/ceph": "fuse.ceph-fuse"}


@pytest.mark.parametrize(("path", "kind"), [("/home/x", "local"), ("/mnt/data", "nfs"), ("/mnt/local disk/x", "local"),
                                            ("/dev/shm/x", "tmpfs"), ("/ceph", "nfs"), ("/cephalopod", "local")])
def test_mounts(path: str, kind: str) -> None:
    assert mount_kind(Path(path), MOUNTS) == kind


def test_the_mounts_of_this_machine_are_seen() -> None:
    assert collected(output_dir="/dev/shm/output")["/dev/shm/output"].mount == "tmpfs"


# ------------------------------------------------------------------------------------------------ models

CONFIG = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "hidden_size": 3584, "num_attention_heads": 28,
          "torch_dtype": "bfloat16", "max_position_embeddings": 32768}


def test_a_complete_model(tmp_path: Path) -> None:
    write_json(tmp_path / "m" / "config.json", CONFIG)
    (tmp_path / "m" / "model.safetensors").write_bytes(b"x")
    found = collected(model="m")["m"]
    assert found.model_config == ModelConfig("qwen2", ("Qwen2ForCausalLM",), None, "bfloat16", (128,), None, 32768,
                                             attention_needs=(), own_code=False)
    assert found.missing_files == ()


def test_shards_that_are_missing_or_only_pointers(tmp_path: Path) -> None:
    write_json(tmp_path / "model.safetensors.index.json", {"weight_map": {"a": "1.safetensors", "b": "2.safetensors",
                                                                          "c": "3.safetensors"}})
    (tmp_path / "1.safetensors").write_bytes(b"x" * 2000)
    (tmp_path / "2.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    assert missing_model_files(tmp_path) == ("2.safetensors", "3.safetensors", "config.json")


def test_the_size_of_weights(tmp_path: Path) -> None:
    assert weights_gib(tmp_path) is None
    (tmp_path / "training_args.bin").write_bytes(b"x" * 2**21)
    assert weights_gib(tmp_path) is None
    (tmp_path / "pytorch_model.bin").write_bytes(b"x" * 2**22)
    assert weights_gib(tmp_path) == pytest.approx(4 / 1024, abs=1e-3)
    (tmp_path / "model.safetensors").write_bytes(b"x" * 2**21)  # which is loaded where both are there
    assert weights_gib(tmp_path) == pytest.approx(2 / 1024, abs=1e-3)
    write_json(tmp_path / "model.safetensors.index.json", {"metadata": {"total_size": 3 * 2**30}, "weight_map": {}})
    assert weights_gib(tmp_path) == 3.0  # also of shards that are not there yet
    write_json(tmp_path / "model.safetensors.index.json", {"weight_map": {}})
    assert isinstance(weights_gib(tmp_path), Unknown)
    write_json(tmp_path / "config.json", {"model_type": "qwen2"})
    (tmp_path / "model.safetensors.index.json").unlink()
    assert collected(model=str(tmp_path))[str(tmp_path)].size_gib == weights_gib(tmp_path)


def test_where_loaded_rows_are_kept(tmp_path: Path) -> None:
    assert datasets_cache({"HOME": "/h"}) == Path("/h/.cache/modelscope/hub/datasets")
    assert datasets_cache({"HOME": "/h", "MODELSCOPE_CACHE": "/c"}) == Path("/c/datasets")


def test_a_model_without_weights_or_with_a_broken_index(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", CONFIG)
    assert missing_model_files(tmp_path) == ("model.safetensors",)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    assert missing_model_files(tmp_path) == ()
    (tmp_path / "model.safetensors.index.json").write_text("{")
    assert isinstance(missing_model_files(tmp_path), Unknown)


@pytest.mark.parametrize(("text", "expected"), [(None, None), ("{", Unknown), ("[]", Unknown), ("\xff", Unknown)])
def test_a_config_that_cannot_be_read(tmp_path: Path, text: str | None, expected: Any) -> None:
    if text is not None:
        (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    found = read_model_config(tmp_path)
    assert found is expected or isinstance(found, expected)


def test_what_a_config_says_in_other_ways() -> None:
    nested = make_model_config({"model_type": "qwen3_5", "dtype": "float32", "text_config": {
        "layer_types": ["linear_attention", "full_attention"], "head_dim": 256, "dtype": "bfloat16"},
        "vision_config": {"hidden_size": 1280, "num_heads": 16}})
    assert (nested.model_type, nested.torch_dtype, nested.layer_types, nested.head_dims) == (
        "qwen3_5", "bfloat16", ("linear_attention", "full_attention"), (80, 256))
    interval = make_model_config({"full_attention_interval": 4, "num_hidden_layers": 4})
    assert interval.layer_types == ("linear_attention",) * 3 + ("full_attention",)
    assert make_model_config({"qk_nope_head_dim": 128, "qk_rope_head_dim": 64}).head_dims == (192,)
    # Gemma 4's full-attention layers; Qwen2-VL-72B's tower, whose hidden_size is the language model's
    assert make_model_config({"text_config": {"head_dim": 256, "global_head_dim": 512}}).head_dims == (256, 512)
    assert make_model_config({"vision_config": {"embed_dim": 1280, "hidden_size": 8192, "num_heads": 16}}).head_dims == (80,)
    assert make_model_config({"thinker_config": {"text_config": {"head_dim": 128}, "vision_config": {
        "hidden_size": 1152, "num_heads": 16}}}).head_dims == (72, 128)
    fp8 = {"quant_method": "fp8"}
    for quantised, method in ((fp8, "fp8"), ({**fp8, "dequantize": True}, None), (None, None)):
        assert make_model_config({"quantization_config": quantised}).quant_method == method
    for odd in ({"hidden_size": "x", "num_attention_heads": 0}, {"text_config": [], "architectures": "x", "layer_types": {}},
                {"torch_dtype": 3, "model_type": None}):
        assert make_model_config(odd).head_dims is None


def test_what_a_checkpoint_fixes(tmp_path: Path) -> None:
    write_json(tmp_path / "c" / "adapter_config.json", {"r": 8, "lora_alpha": 32, "peft_type": "LORA", "target_modules": ["q"]})
    (tmp_path / "c" / "trainer_state.json").touch()
    found = collected(resume_from_checkpoint="c")["c"]
    assert found.args == {"lora_rank": 8, "lora_alpha": 32, "target_modules": ["q"]}
    assert found.files == ("adapter_config.json", "trainer_state.json")
    assert read_adapter(tmp_path) is None


# ------------------------------------------------------------------------------------------------ hubs


@pytest.mark.parametrize("place", ["models/Qwen--Qwen2.5/snapshots/master", "hub/models/Qwen/Qwen2___5", "models/Qwen/Qwen2___5",
                                   "hub/Qwen/Qwen2___5", "Qwen/Qwen2.5"])
def test_copies_that_modelscope_left(tmp_path: Path, place: str) -> None:
    write_json(tmp_path / "cache" / place / "config.json", CONFIG)
    environment = {"MODELSCOPE_CACHE": str(tmp_path / "cache"), "HOME": "/nonexistent"}
    found = collected(environment, model="Qwen/Qwen2.5")["Qwen/Qwen2.5"]
    assert (found.kind, found.cached) == ("hub", True)
    assert known(found.model_config).head_dims == (128,)  # type: ignore[union-attr]
    assert collected(environment, model="Qwen/Qwen3")["Qwen/Qwen3"].cached is False
    assert collected(environment, model="Qwen/Qwen2.5", use_hf=True)["Qwen/Qwen2.5"].cached is False


@pytest.mark.parametrize("variable", ["HF_HOME", "HF_HUB_CACHE", "HOME"])
def test_copies_that_huggingface_left(tmp_path: Path, variable: str) -> None:
    root = {"HF_HOME": "h/hub", "HF_HUB_CACHE": "h", "HOME": "h/.cache/huggingface/hub"}[variable]
    write_json(tmp_path / root / "models--a--b" / "snapshots" / "0123" / "config.json", CONFIG)
    (tmp_path / root / "datasets--a--b" / "snapshots").mkdir(parents=True)
    environment = {"HOME": "/nonexistent", variable: str(tmp_path / "h")}
    assert cached_folder("a/b", "models", environment, True) == tmp_path / root / "models--a--b" / "snapshots" / "0123"
    assert cached_folder("a/b", "datasets", environment, True) is None
    assert collected({**environment, "USE_HF": "1"}, model="a/b")["a/b"].cached is True


def test_which_hub_is_asked() -> None:
    assert uses_huggingface("HF::a/b", {}, None) and not uses_huggingface("MS::a/b", {"USE_HF": "1"}, True)
    assert uses_huggingface("a/b", {"USE_HF": "True"}, None) and not uses_huggingface("a/b", {"USE_HF": "0"}, False)
    assert hub_name("HF::a/b:x/y#5") == "a/b"


def test_logins_of_hubs(tmp_path: Path) -> None:
    assert not has_login({"HOME": str(tmp_path)})
    assert has_login({"HOME": str(tmp_path), "HF_TOKEN": "x"})
    (tmp_path / ".modelscope" / "credentials").mkdir(parents=True)
    assert has_login({"HOME": str(tmp_path)})
