"""Layers, origins and every way in which a config can be wrong."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

import swift_fa_launcher
from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.config.schema import SECTIONS, ResolvedConfig
from swift_fa_launcher.errors import ConfigError

DEFAULTS = Path(swift_fa_launcher.__file__).parent / "config" / "defaults.yaml"


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def resolve(folder: Path, text: str, *overrides: str) -> ResolvedConfig:
    return resolve_config([write(folder, "a.yaml", text)], overrides)


def test_defaults_ask_for_packing_and_flash_attention() -> None:
    config = resolve_config([])
    assert dict(config.swift) == {"packing": True, "attn_impl": "flash_attn"}
    assert config.flash_attn.install == "auto" and config.swanlab.mode == "cloud" and config.launch.gpus is None
    assert str(config.origin("swift.packing")) == "built-in default"


@pytest.mark.parametrize("section", [s for s in SECTIONS if s not in ("swift", "env")])
def test_every_key_has_its_default(section: str) -> None:
    """What the schema and defaults.yaml say of a key is the same, and each names all; the yaml alone names the sources."""
    written = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))[section]
    typed, read = getattr(ResolvedConfig(), section), getattr(resolve_config([]), section)
    assert {*written} == {key.name for key in fields(typed)}, f"config/schema.py and config/defaults.yaml differ in {section}"
    assert [key for key in written if key not in ("sources", "mirrors") and getattr(read, key) != getattr(typed, key)] == []


def test_later_layers_win_key_by_key_and_lists_whole(tmp_path: Path) -> None:
    write(tmp_path, "deep/base.yaml", "swift:\n  model: m0\n  dataset: [a, b]\n  lr_scheduler_kwargs: {min_lr: 1e-6, x: 1}\n")
    write(tmp_path, "mid.yaml", "extends: deep/base.yaml\nswift:\n  model: m1\n  dataset: [c]\n")
    write(tmp_path, "other.yaml", "swift: {seed: 7, lr_scheduler_kwargs: {x: 2}}\n")
    top = write(tmp_path, "top.yaml", "extends:\n  - mid.yaml\n  - other.yaml\nswift:\n  max_length: 10\n")
    last = write(tmp_path, "last.yaml", "swift: {max_length: 11}\n")
    config = resolve_config([top, last], ["swift.seed=8", "swift.lr_scheduler_kwargs.y=3"])
    assert config.swift["model"] == "m1" and config.swift["dataset"] == ["c"]
    assert config.swift["lr_scheduler_kwargs"] == {"min_lr": 1e-6, "x": 2, "y": 3}
    assert config.swift["max_length"] == 11 and config.swift["seed"] == 8
    assert [f.name for f in config.files] == ["base.yaml", "mid.yaml", "other.yaml", "top.yaml", "last.yaml"]
    places = {key: str(config.origin(f"swift.{key}")) for key in config.swift}
    assert places["model"] == f"{tmp_path / 'mid.yaml'}:3"
    assert places["dataset"] == f"{tmp_path / 'mid.yaml'}:4"
    assert places["seed"] == "command line: swift.seed=8"
    assert str(config.origins["swift.lr_scheduler_kwargs.min_lr"]) == f"{tmp_path / 'deep/base.yaml'}:4"
    assert str(config.origins["swift.lr_scheduler_kwargs.x"]) == f"{tmp_path / 'other.yaml'}:1"


def test_a_base_that_two_share_stands_below_both(tmp_path: Path) -> None:
    write(tmp_path, "root.yaml", "swift: {seed: 1}\n")
    write(tmp_path, "l.yaml", "extends: root.yaml\nswift: {seed: 2}\n")
    write(tmp_path, "r.yaml", "extends: root.yaml\n")
    config = resolve(tmp_path, "extends: [l.yaml, r.yaml]\n")
    assert config.swift["seed"] == 2 and [f.name for f in config.files] == ["root.yaml", "l.yaml", "r.yaml", "a.yaml"]


def test_replacing_a_group_by_a_value_forgets_what_was_below(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "swift: {deepspeed: {stage: 2}}\n")
    config = resolve(tmp_path, "extends: base.yaml\nswift: {deepspeed: zero2}\n")
    assert config.swift["deepspeed"] == "zero2"
    assert not [k for k in config.origins if k.startswith("swift.deepspeed.")]


@pytest.mark.parametrize("above", ["launch:\n", "launch: {}\n", "swift: {lr_scheduler_kwargs: {}}\n", "swift:\n", "{}\n"])
def test_an_empty_section_or_group_changes_nothing(tmp_path: Path, above: str) -> None:
    base = write(tmp_path, "base.yaml", "launch: {gpus: [1, 2]}\nswift: {lr_scheduler_kwargs: {min_lr: 1}}\n")
    config = resolve_config([base, write(tmp_path, "above.yaml", above)])
    assert config.launch.gpus == (1, 2) and config.swift["lr_scheduler_kwargs"] == {"min_lr": 1}
    assert str(config.origin("launch.gpus")) == f"{base}:1"
    assert resolve_config([base], ["swift.lr_scheduler_kwargs=null"]).swift["lr_scheduler_kwargs"] is None


def test_a_list_is_one_leaf_whatever_is_in_it(tmp_path: Path) -> None:
    config = resolve(tmp_path, "swift:\n  a:\n    - x\n    - {b: [1, {c: 2}]}\n    - [y]\n")
    assert config.swift["a"] == ["x", {"b": [1, {"c": 2}]}, ["y"]]
    written = {key: str(origin) for key, origin in config.origins.items() if origin.layer == "file"}
    assert written == {"swift.a": f"{tmp_path / 'a.yaml'}:3"}


def test_scalars_keep_their_written_text(tmp_path: Path) -> None:
    config = resolve(tmp_path, "swift:\n  learning_rate: 2e-4\n  name: 2024-01-01\n  flag: yes\n  id: 2024_01_02\n")
    assert config.swift["learning_rate"] == 2e-4 and config.swift["name"] == "2024-01-01" and config.swift["flag"] is True
    assert config.origins["swift.learning_rate"].text == "2e-4" and config.origins["swift.id"].text == "2024_01_02"


def test_interpolation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "/data with space")
    config = resolve(tmp_path, "swift:\n  model: ${oc.env:WHERE}/m\n  output_dir: out/${run.name}\n"
                               "swanlab: {project: '${oc.env:NOT_SET,mh-sft}'}\nrun: {name: r1}\n")
    assert config.swift["model"] == "/data with space/m" and config.swift["output_dir"] == "out/r1"
    assert config.swanlab.project == "mh-sft"


@pytest.mark.parametrize(("words", "value"), [
    ("swift.a=1e-4", 1e-4), ("swift.a=[1, 2]", [1, 2]), ('swift.a={"b": 2}', {"b": 2}), ("swift.a=null", None),
    ("swift.a=You are: helpful", "You are: helpful"), ("swift.a=#1 model", "#1 model"), ("swift.a=a=b", "a=b"),
    ("swift.a=数据 集", "数据 集"), ("swift.a='quoted'", "quoted"), ("swift.a=''", ""), ("swift.a=true", True),
    ("swift.a=You are\nhelpful: yes", "You are\nhelpful: yes"), ("swift.a=use C # please", "use C # please"),
    ("swift.a=12:30", "12:30"), ("swift.a=010", "010"), ("swift.a=*x", "*x"), ("swift.a=!tag", "!tag"),
])
def test_override_values(words: str, value: object) -> None:
    assert resolve_config([], [words]).swift["a"] == value


def test_a_quick_hand_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("N", "4")
    config = resolve(tmp_path, "launch: {nproc_per_node: '${oc.env:N}', gpus: 6}\nrun: {tags: one, name: 7}\nenv: {A: 1, B: on}\n"
                               "flash_attn: {version: 2.8}\n")
    assert config.launch.nproc_per_node == 4 and config.launch.gpus == (6,)
    assert config.run.tags == ("one",) and config.run.name == "7" and dict(config.env) == {"A": "1", "B": "on"}
    assert config.flash_attn.version == "2.8"


def test_texts_stay_texts(tmp_path: Path) -> None:
    config = resolve(tmp_path, "run: {name: 0123}\nflash_attn: {version: 2.10}\nswanlab: {experiment: 12:30, project: 1e3}\n",
                     "run.notes=2024_01_01")
    assert (config.run.name, config.flash_attn.version, config.swanlab.experiment) == ("0123", "2.10", "12:30")
    assert (config.swanlab.project, config.run.notes) == ("1e3", "2024_01_01")


def test_a_dotted_name_inside_a_group_is_one_name(tmp_path: Path) -> None:
    config = resolve(tmp_path, "swift: {model_kwargs: {'a.b': {c: 1}}}\n")
    assert config.swift["model_kwargs"] == {"a.b": {"c": 1}}


WRONG = {
    "too deep": ("swift: {a: " + "[" * 2000 + "]" * 2000 + "}", "a.yaml", "deep"),
    "bad YAML": ("swift: [", "a.yaml:1:8", "never closed"),
    "tabs": ("swift:\n\ta: 1", "a.yaml:2:1", "a tab"),
    "a list": ("- a", "a.yaml:1", "sections"),
    "unknown section": ("swfit: {a: 1}", "a.yaml:1: swfit", "unknown section"),
    "unknown key": ("launch:\n  nproc: 2", "a.yaml:2: launch.nproc", "unknown key"),
    "unknown nested key": ("swanlab: {notification: {metod: x}}", "a.yaml:1: swanlab.notification.metod", "unknown key"),
    "wrong type": ("run: {name: r}\nlaunch:\n  nproc_per_node: two", "a.yaml:3: launch.nproc_per_node", "whole number"),
    "wrong item": ("launch: {gpus: [a]}", "a.yaml:1: launch.gpus", "whole number"),
    "wrong choice": ("flash_attn: {install: atuo}", "a.yaml:1: flash_attn.install", "must be auto or never, not 'atuo'"),
    "section with a value": ("swanlab: 3", "a.yaml:1: swanlab", "keys and values"),
    "unset variable": ("swift:\n  a: ${oc.env:NOT_SET}", "a.yaml:2: swift.a", "NOT_SET"),
    "broken interpolation": ("swift:\n  a: ${b", "a.yaml:2: swift.a", "cannot be resolved"),
    "circular interpolation": ("swift: {a: '${swift.b}', b: '${swift.a}'}", "a.yaml:1: swift.", "cannot be resolved"),
    "unknown interpolation": ("swift:\n  a: ${swift.nix}", "a.yaml:2: swift.a", "cannot be resolved"),
    "missing value": ("swift:\n  a: ???", "a.yaml:2: swift.a", "needs a value"),
    "object tag": ("swift:\n  a: !!python/object/apply:os.getcwd []", "a.yaml:2: swift.a", "tag"),
    "own tag": ("swift:\n  a: !include x", "a.yaml:2: swift.a", "tag"),
    "same key twice": ("swift:\n  a: 1\n  a: 2", "a.yaml:3: swift.a", "twice"),
    "alias of itself": ("swift: &x\n  a: *x", "a.yaml", "alias"),
    "alias bomb": ("swift:\n  a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"  {c}: &{c} [{','.join(['*' + p] * 10)}]\n" for p, c in zip("abcdefg", "bcdefgh", strict=True)), "a.yaml", "alias"),
    "a key that is a list": ("? [a]\n: b", "a.yaml:1", "plain text"),
    "a list as variable": ("env: {A: [1]}", "a.yaml:1: env.A", "plain value"),
    "missing base": ("extends: nix.yaml", "a.yaml", "no config"),
    "itself as base": ("extends: a.yaml", "a.yaml", "circle"),
    "extends a number": ("extends: 3", "a.yaml:1: extends", "path"),
}


@pytest.mark.parametrize(("text", "where", "message"), WRONG.values(), ids=WRONG.keys())
def test_errors_name_file_line_and_key(tmp_path: Path, text: str, where: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(tmp_path, text)
    error = caught.value
    assert where in error.where and message in str(error), (error.where, str(error), error.why)
    assert error.exit_code == 2


def test_a_longer_circle_names_its_chain(tmp_path: Path) -> None:
    write(tmp_path, "b.yaml", "extends: c.yaml\n")
    write(tmp_path, "c.yaml", "extends: a.yaml\n")
    with pytest.raises(ConfigError) as caught:
        resolve(tmp_path, "extends: b.yaml\n")
    assert [Path(p).name for p in str(caught.value.why).split(" -> ")] == ["a.yaml", "b.yaml", "c.yaml", "a.yaml"]


def test_the_nearest_name_is_offered(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(tmp_path, "lanuch: {gpus: [0]}")
    assert "launch" in str(caught.value.hint)
    with pytest.raises(ConfigError) as caught:
        resolve(tmp_path, "run: {gpus: [0]}")
    assert "launch.gpus" in str(caught.value.hint)


def test_all_unknown_names_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("lanuch: {gpus: [0]}\n")
    with pytest.raises(ConfigError) as caught:
        resolve(tmp_path, "extends: b.yaml\nrun: {nam: x}\nswanlab: 3\n", "launch.gpu=1")
    assert len(caught.value.hint) == 4
    for lang in (0, 1):
        told = [line[lang] for line in caught.value.hint]
        assert "b.yaml:1: lanuch" in told[0] and "run.name" in told[1] and "launch.gpus" in told[3]


@pytest.mark.parametrize("words", ["x", "swift=1", "swift.a=[1", "nope.a=1", "launch.gpu=1", "swift..a=1", ".a=1"])
def test_wrong_overrides(words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_config([], [words])
    assert "command line" in caught.value.where


def test_missing_file_and_folder_and_binary(tmp_path: Path) -> None:
    for target in (tmp_path / "no.yaml", tmp_path, write(tmp_path, "x.yaml", "")):
        if target.name == "x.yaml":
            target.write_bytes(b"\xff\xfe\x00swift")
        with pytest.raises(ConfigError) as caught:
            resolve_config([target])
        assert str(target) in str(caught.value)


def test_the_seed_config_is_the_seed_command() -> None:
    config = resolve_config([Path(__file__).parents[2] / "configs" / "qwen7b-lora.yaml"])
    assert dict(config.swift) == {
        "model": "Qwen/Qwen2.5-7B-Instruct", "tuner_type": "lora", "dataset": "CodyWhy/mh-sharegpt-20250820", "bf16": True,
        "max_length": 3072, "packing": True, "attn_impl": "flash_attn", "gradient_checkpointing": True,
        "per_device_train_batch_size": 8, "gradient_accumulation_steps": 4, "learning_rate": 2e-4, "num_train_epochs": 1,
        "save_steps": 200, "save_total_limit": 3, "logging_steps": 20, "output_dir": "output/mh-sft-7B-lora",
        "report_to": "swanlab",
    }
    assert config.launch.gpus == (6,)
    assert (config.swanlab.project, config.swanlab.mode, config.swanlab.experiment) == (
        "mh-sft", "cloud", "mh-sft-qwen2p5-7b-lora")


def test_a_config_of_the_package_is_named_from_anywhere(tmp_path: Path) -> None:
    """In extends, beside files that share it, and on the command line; what does not exist names what does."""
    write(tmp_path, "mine.yaml", "extends: [swift-fa:swanlab, swift-fa:lora]\nswift: {bf16: false}\n")
    config = resolve_config([tmp_path / "mine.yaml", Path("swift-fa:lora")])
    assert config.swift["tuner_type"] == "lora" and str(config.origin("swift.tuner_type")) == "swift-fa:lora:3"
    assert [file.name for file in config.files] == ["swift-fa:swanlab", "swift-fa:lora", "mine.yaml"]
    assert not config.origins["swift.report_to"].editable
    assert resolve_config([Path("swift-fa:qwen7b")]).swift["packing"] is True
    with pytest.raises(ConfigError) as raised:
        resolve(tmp_path, "extends: swift-fa:nix\n")
    assert "swift-fa:lora" in str(raised.value.hint) and "a.yaml" in raised.value.where


def test_the_folder_of_the_records_by_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWIFT_FA_ROOT", "/data/runs")
    config = resolve_config([])
    assert (config.run.root, str(config.origin("run.root"))) == ("/data/runs", "environment: SWIFT_FA_ROOT")
    assert resolve(tmp_path, "run: {root: mine}\n").run.root == "mine", "the config wins"


def test_interpolations_that_multiply_are_refused(tmp_path: Path) -> None:
    """Ten in each, ten levels deep: ten thousand million characters."""
    levels = "".join(f"  a{i}: {f'${{swift.a{i - 1}}}' * 5}{f'${{.a{i - 1}}}' * 5}\n" for i in range(1, 11))
    (tmp_path / "bomb.yaml").write_text(f"swift:\n  a0: xxxxxxxxxx\n{levels}")
    with pytest.raises(ConfigError, match="without end"):
        resolve_config([tmp_path / "bomb.yaml"])


@pytest.mark.parametrize(("text", "why"), [("#" * (5 << 20), "larger than 4 MiB"), (None, "symbolic links")])
def test_what_is_no_config_is_refused(tmp_path: Path, text: str | None, why: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text) if text else file.symlink_to("x.yaml")
    with pytest.raises(ConfigError) as error:
        resolve_config([file])
    assert why in str(error.value.why)
