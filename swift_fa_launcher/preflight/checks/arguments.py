"""The `swift` section against the arguments that the installed ms-swift takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig, SwiftArguments
from swift_fa_launcher.config.swift_args import (
    Argument,
    Rename,
    Translation,
    accepts,
    fits_nearly,
    likely,
    nearest,
    render_value,
    translate_config,
    written_texts,
)
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import Text, Words
from swift_fa_launcher.findings.finding import ERROR, INFO, WARNING, Check, Finding
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.reading import written

_SECRET = re.compile(r"token|secret|password|api_?key|webhook", re.IGNORECASE)

#: Arguments that are gone without a successor of the same meaning, and what to write instead.
GONE: Mapping[str, Text] = {
    "train_dataset_sample": Text("append the number of rows to the dataset: swift.dataset=[NAME#1000]",
                                 "把条数写在数据集名后面：swift.dataset=[名称#1000]"),
    "val_dataset_sample": Text("append the number of rows to the dataset: swift.val_dataset=[NAME#1000]",
                               "把条数写在数据集名后面：swift.val_dataset=[名称#1000]"),
    "self_cognition_sample": Text("name the dataset: swift.dataset=[…,swift/self-cognition#500]",
                                  "直接写数据集：swift.dataset=[…,swift/self-cognition#500]"),
    "do_sample": Text("swift.temperature=0 turns sampling off", "swift.temperature=0 即不采样"),
    "ckpt_dir": Text("swift.adapters=[PATH] or swift.model=PATH, or swift.resume_from_checkpoint=PATH to go on",
                     "改用 swift.adapters=[路径] 或 swift.model=路径；续训用 swift.resume_from_checkpoint=路径"),
    "overwrite_output_dir": Text("leave it out; swift.add_version=false writes into the folder itself",
                                 "删去即可；swift.add_version=false 会直接写入该目录"),
    "packing_cache": Text("leave it out: later versions keep no packing cache", "删去即可：新版本不再有 packing 缓存"),
}

#: Before this release ms-swift turns lazy_tokenize off by itself where rows are streamed (3.6.4 does, 3.7.3 refuses).
LAZY_REFUSED = Version("3.7.0.dev0")

#: Values that ms-swift or transformers look up after parsing. A value is refused only where it is nearly one of these:
#: plugins may bring more (swift/arguments/base_args/base_args.py; transformers/trainer_utils.py, SchedulerType).
TUNERS = ("tuner_type", "train_type")
LOOKED_UP: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(TUNERS, ("lora", "full", "longlora", "adalora", "llamapro", "adapter", "vera", "boft", "fourierft",
                             "reft", "bone", "ia3", "lora_llm", "dummy")),
    "lr_scheduler_type": ("linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup",
                          "inverse_sqrt", "reduce_lr_on_plateau", "cosine_with_min_lr", "cosine_warmup_with_min_lr",
                          "warmup_stable_decay", "greedy"),
    "attn_impl": ("flash_attn", "flash_attention_2", "flash_attention_3", "flash_attention_4", "sdpa", "eager",
                  "flex_attention"),
    "eval_strategy": ("no", "steps", "epoch"),
    "report_to": ("azure_ml", "clearml", "codecarbon", "comet_ml", "dagshub", "dvclive", "flyte", "kubeflow", "mlflow", "neptune",
                  "swanlab", "tensorboard", "trackio", "wandb", "all", "none"),
    "callbacks": ("activation_cpu_offload", "adalora", "deepspeed_elastic", "early_stop", "graceful_exit", "lisa", "perf_log"),
}

#: What names an attention in transformers 4.36 to 5.19: its own names, paged ones as each release wrote them, and a hub's
#: kernel (modeling_utils.py, AttentionInterface; integrations/hub_kernels.py, is_kernel). Anything else is refused when the
#: model is built, minutes later.
_ATTENTION = re.compile(r"(?:paged\|)?(?:flash_attn|flash_attention_\d|sdpa|eager|flex_attention|auto)|paged_attention"
                        r"|(?:sdpa|eager)_paged|(?:paged\|)?[^/:]+/[^/:]+(?:@[^/:]+)?(?::[^/:]+)?")


def argument_renamed(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Arguments of another ms-swift generation; the plan carries the installed one's. Sources: config/swift_args.py."""
    for change in _translate(config, facts).renamed:
        old, new = _shown(change.old, change.old_value), _shown(change.new, change.new_value)
        left_out = change.new_value is None
        yield Finding("arg-renamed", INFO,
                      Text(f"{old}{_where(config, change.old)} is passed to {_ms_swift(facts)} as "
                           f"{'no ' + change.new if left_out else new}",
                           f"{old}{_where(config, change.old)} 会以 "
                           f"{change.new + ' 不设置' if left_out else new} 传给 {_ms_swift(facts)}"),
                      () if left_out else (_write(config, change.old, change.new, change.new_value),),
                      _context(config, change.old, change.old_value) | {"name": change.new,
                                                                        "new_value": _open(change.new, change.new_value)})


def argument_clash(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Two names of one argument with different values, written in the same layer."""
    for clash in _translate(config, facts).clashes:
        first, second = _shown(clash.first, clash.first_value), _shown(clash.second, clash.second_value)
        yield Finding("arg-invalid", ERROR,
                      Text(f"{first}{_where(config, clash.first)} and {second}{_where(config, clash.second)} are one "
                           "argument with two values",
                           f"{first}{_where(config, clash.first)} 与 {second}{_where(config, clash.second)} "
                           "是同一个参数，却有两个值"),
                      (f"swift.{clash.first}=null", f"swift.{clash.second}=null"),
                      _context(config, clash.second, clash.second_value) | {"other": clash.first})


def argument_unknown(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Keys that the installed ms-swift does not have.

    It would say so after all its imports (`ValueError: remaining_argv`), and take a unique beginning of a name such as
    `learning_rat` for the whole (argparse's abbreviations).
    """
    known_args = known(facts.ms_swift_args)
    if not known_args:
        return
    translation = _translate(config, facts)
    for name, value in translation.arguments.items():
        if name in known_args or value is None:
            continue
        key = translation.keys.get(name, name)
        near, meant, advice = nearest(name, known_args), likely(name, known_args), GONE.get(name)
        shown = "***" if any(_SECRET.search(other) for other in (key, *near)) else value  # a misspelt secret is one too
        rename = (_write(config, key, meant[0], shown),) if len(meant) == 1 else ()  # of several, nobody knows whose value it is
        told = Text("", "") if advice else _told_near(meant)
        yield Finding("arg-unknown", ERROR,
                      Text(f"{_ms_swift(facts)} has no argument {key}{_where(config, key)}{told.en}",
                           f"{_ms_swift(facts)} 没有参数 {key}{_where(config, key)}{told.zh}"),
                      (*((advice,) if advice else rename), _look_up(name, meant, known_args)),
                      _context(config, key, shown) | {"nearest": list(near)})


def _told_near(meant: tuple[str, ...]) -> Text:
    if not meant:
        return Text(", and none with a name like it", "，也没有名字相近的参数")
    return Text(f"; the nearest {'is' if len(meant) == 1 else 'are'} {', '.join(meant)}", f"；最接近的是 {'、'.join(meant)}")


def _look_up(name: str, meant: tuple[str, ...], known_args: Mapping[str, Argument]) -> Words:
    """The command that shows the arguments in question: the one meant, else those that share a word with the name."""
    shared = (word for word in name.split("_") if len(word) > 2 and any(word in other for other in known_args))
    pattern = meant[0] if len(meant) == 1 else next(shared, None)
    return f"swift-fa args {pattern}" if pattern else Text("by a part of its name or help: swift-fa args PATTERN",
                                                           "按名称或说明的一部分查找：swift-fa args PATTERN")


def argument_invalid(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Values that ms-swift's parser, or what comes right after it, would refuse."""
    translation = _translate(config, facts)
    known_args = known(facts.ms_swift_args) or {}
    texts = written_texts(config, translation)
    revalued = {change.new: change for change in translation.revalued}
    for name, value in translation.arguments.items():
        key = translation.keys.get(name, name)
        if name in revalued:
            yield _revalued(config, facts, revalued[name])
            continue
        argument = known_args.get(name)
        if name == "model_type" or (name == "template" and _has_plugins(config)):
            argument = argument and replace(argument, choices=None)  # model-type-unknown's; plugins register templates
        problem = accepts(argument, value, texts.get(name))
        if problem is None and not (name in (*TUNERS, "report_to", "callbacks") and _has_plugins(config)):
            problem = _looked_up_problem(name, value, texts.get(name), argument)
        if problem is None and name == "attn_impl" and attention_misspelt(config, value):
            problem = _no_such("attn_impl", (_word(value),), LOOKED_UP["attn_impl"])
        if problem is not None:
            yield Finding("arg-invalid", ERROR,
                          Text(f"{_shown(key, value)}{_where(config, key)}: {problem.en}",
                               f"{_shown(key, value)}{_where(config, key)}：{problem.zh}"),
                          _value_fixes(name, value, argument, texts.get(name)), _context(config, key, value))


def _revalued(config: ResolvedConfig, facts: Facts, change: Rename) -> Finding:
    new = _word(change.new_value)
    return Finding("arg-invalid", ERROR,
                   Text(f"{_shown(change.old, change.old_value)}{_where(config, change.old)} is ms-swift 2's; "
                        f"{_ms_swift(facts)} calls it {new}",
                        f"{_shown(change.old, change.old_value)}{_where(config, change.old)} 是 ms-swift 2 的写法，"
                        f"{_ms_swift(facts)} 里叫 {new}"),
                   (f"swift.{change.new}={new}",), _context(config, change.old, change.old_value) | {"new_value": new})


def _looked_up_problem(name: str, value: Any, text: str | None, argument: Argument | None) -> Text | None:
    names = LOOKED_UP.get(name)
    if not names or value is None or isinstance(value, dict) or (argument and known(argument.choices)):
        return None
    words = render_value(value, text, argument or Argument(type="Optional[str]"))
    wrong = _misspelt(words, names)
    return _no_such(name, wrong, names, alone=len(words) == 1) if wrong else None


def _misspelt(words: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for word in words if word not in names and fits_nearly(word, names))


def attention_misspelt(config: ResolvedConfig, value: Any) -> bool:
    """Whether attn_impl's value can name no attention; none at all is ms-swift's default, and plugins bring their own."""
    return not (_has_plugins(config) or value is None or isinstance(value, (dict, list)) or not str(value).strip()
                or _ATTENTION.fullmatch(_word(value).strip()))


def _no_such(name: str, words: tuple[str, ...], names: tuple[str, ...], *, alone: bool = True) -> Text:
    if alone:
        listed = ", ".join(likely(words[0], names) or nearest(words[0], names))
        return Text(f"there is no such {name}; the nearest: {listed}", f"没有这样的 {name}；最接近的：{listed}")
    each = [(word, (likely(word, names) or nearest(word, names))[0]) for word in words]
    return Text(f"there is no {name} " + ", no ".join(f"{word} (the nearest: {near})" for word, near in each),
                f"没有这样的 {name}：" + "，".join(f"{word}（最接近的：{near}）" for word, near in each))


def _value_fixes(name: str, value: Any, argument: Argument | None, text: str | None) -> tuple[Words, ...]:
    if isinstance(value, str) and value.strip() == "\\":
        return (f"swift.{name}=null",)
    choices = [str(c) for c in (known(argument.choices) if argument else None) or LOOKED_UP.get(name, ()) if c is not None]
    words = render_value(value, text, argument)
    if isinstance(value, list) and len(words) > 1:
        wrong = _misspelt(words, choices)
        right = ",".join((likely(word, choices) or nearest(word, choices))[0] if word in wrong else word for word in words)
        return (*((f"swift.{name}=[{right}]",) if wrong else ()), f"swift-fa args {name}")
    near = likely(words[0], choices) or nearest(words[0], choices) if choices and words else ()
    return (*(f"swift.{name}={choice}" for choice in near), f"swift-fa args {name}")


def argument_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """What `swift sft` cannot do without.

    Sources: swift/arguments/base_args/model_args.py ("Please set --model"), sft_args.py ("Please input the training
    dataset"), transformers/trainer.py (a streaming dataset has no length); all of 3.8.3, 3.12.6, 4.0.4 and 4.6.0.
    """
    if not config.files and not config.overrides and all(_is_default(config, key) for key in config.swift):
        return  # the machine alone was asked about
    swift = translated(config, facts).swift
    if swift.get("model") in (None, "") and not _model_comes_otherwise(swift, facts):
        old = Text("; model_type no longer names the model", "；model_type 已不再表示模型") if "model_type" in swift else None
        yield Finding("arg-missing", ERROR, Text("swift.model is not set" + (old.en if old else ""),
                                                 "没有设置 swift.model" + (old.zh if old else "")),
                      (Text("swift.model=NAME or a folder, e.g. swift.model=Qwen/Qwen2.5-7B-Instruct",
                            "swift.model=模型名或目录，例如 swift.model=Qwen/Qwen2.5-7B-Instruct"),), {"argument": "model"})
    if not any(swift.names("dataset")) and not any(swift.names("cached_dataset")):
        yield Finding("arg-missing", ERROR, Text("swift.dataset is not set", "没有设置 swift.dataset"),
                      (Text("swift.dataset=[NAME or file, …], e.g. swift.dataset=[data/train.jsonl]",
                            "swift.dataset=[数据集名或文件, …]，例如 swift.dataset=[data/train.jsonl]"),),
                      {"argument": "dataset"})
    if swift.flag("streaming") and (swift.get("max_steps") is None or (swift.whole("max_steps") or 1) <= 0):
        yield Finding("arg-missing", ERROR,
                      Text(f"streaming=true{written(config, 'swift.streaming')} without max_steps: a streamed dataset has no "
                           "length, so the number of steps must be given",
                           f"streaming=true{written(config, 'swift.streaming')} 却没有 max_steps：流式数据集没有长度，"
                           "必须给出步数"),
                      ("swift.max_steps=1000", "swift.streaming=false"), {"argument": "max_steps"})
    if swift.packs and swift.flag("packing") and swift.get("max_length") is None and swift.get("packing_length") is None:
        yield Finding("arg-missing", WARNING,
                      Text("packing without max_length or packing_length: rows are packed up to the model's whole context",
                           "packing 时没有设置 max_length 或 packing_length：会按模型的最大上下文长度打包"),
                      ("swift.max_length=4096",), {"argument": "max_length"})


def argument_conflict(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Pairs that ms-swift refuses only after loading.

    Sources: swift/arguments/base_args/base_args.py (_init_lazy_tokenize), pipelines/train/sft.py (_prepare_dataset),
    sft_args.py (_init_fsdp), base_args/quant_args.py, and trainers/arguments.py (_handle_hf_removed_args, 4.6).
    """
    swift = translated(config, facts).swift
    version = facts.package("ms-swift")
    pairs: list[tuple[str, str, tuple[str, ...]]] = []
    if swift.flag("streaming") and swift.flag("lazy_tokenize") and not (version and version < LAZY_REFUSED):
        pairs.append(("streaming", "lazy_tokenize", ("swift.lazy_tokenize=false", "swift.streaming=false")))
    if swift.flag("streaming") and any(swift.names("cached_dataset")):
        pairs.append(("streaming", "cached_dataset", ("swift.streaming=false",)))
    if swift.get("deepspeed") and swift.get("fsdp"):
        pairs.append(("deepspeed", "fsdp", ("swift.fsdp=null", "swift.deepspeed=null")))
    if version and version >= Version("4.6") and _number(swift, "warmup_ratio") and _number(swift, "warmup_steps"):
        pairs.append(("warmup_ratio", "warmup_steps", ("swift.warmup_steps=null", "swift.warmup_ratio=null")))
    for first, second, fix in pairs:
        yield Finding("arg-invalid", ERROR,
                      Text(f"{_shown(first, swift[first])}{_where(config, first)} and {_shown(second, swift[second])}"
                           f"{_where(config, second)} exclude each other in ms-swift",
                           f"ms-swift 不允许同时使用 {_shown(first, swift[first])}{_where(config, first)} 和 "
                           f"{_shown(second, swift[second])}{_where(config, second)}"),
                      fix, {"argument": first, "other": second})
    if swift.text("quant_method") in ("bnb", "hqq", "eetq", "quanto") and swift.get("quant_bits") is None:
        yield Finding("arg-missing", ERROR,
                      Text(f"{_shown('quant_method', swift['quant_method'])}{_where(config, 'quant_method')} needs quant_bits",
                           f"{_shown('quant_method', swift['quant_method'])}{_where(config, 'quant_method')} 需要 quant_bits"),
                      ("swift.quant_bits=4", "swift.quant_bits=8"), {"argument": "quant_bits"})


def translated(config: ResolvedConfig, facts: Facts) -> ResolvedConfig:
    """The config with its `swift` section in the installed ms-swift's names and values; origins keep the written keys."""
    return replace(config, swift=SwiftArguments(_translate(config, facts).arguments))


def _translate(config: ResolvedConfig, facts: Facts) -> Translation:
    return translate_config(config, known(facts.ms_swift_args), facts.package("ms-swift"))


def _is_default(config: ResolvedConfig, key: str) -> bool:
    origin = config.origin(f"swift.{key}")
    return origin is not None and origin.layer == "default"


def _model_comes_otherwise(swift: SwiftArguments, facts: Facts) -> bool:
    """A checkpoint names the model, or, before ms-swift 3, model_type does."""
    version = facts.package("ms-swift")
    if version is not None and version.major < 3 and (swift.text("model_type") or swift.text("model_id_or_path")):
        return True
    resumed = swift.text("resume_from_checkpoint")
    full = swift.text("tuner_type") == "full" or swift.text("train_type") == "full"
    return bool(swift.flag("load_args") or swift.text("ckpt_dir") or (resumed and (full or swift.flag("resume_only_model"))))


def _has_plugins(config: ResolvedConfig) -> bool:
    return any(config.swift.names("external_plugins")) or any(config.swift.names("custom_register_path"))


def _number(swift: SwiftArguments, key: str) -> float:
    try:
        return float(swift.text(key) or 0)
    except ValueError:
        return 0.0


# --- words ---


def _ms_swift(facts: Facts) -> str:
    version = facts.package("ms-swift")
    return f"ms-swift {version}" if version else "the installed ms-swift"


def _where(config: ResolvedConfig, key: str) -> str:
    return written(config, f"swift.{key}")


def _word(value: Any) -> str:
    words = render_value(value)
    return words[0] if len(words) == 1 and not isinstance(value, list) else f"[{','.join(words)}]"


def _shown(name: str, value: Any) -> str:
    """`name=value`, shortened; never a secret."""
    shown = _word(_open(name, value)) if value is not None else "null"
    return f"{name}={shown if len(shown) <= 80 else shown[:77] + '...'}"


def _open(name: str, value: Any) -> Any:
    return "***" if _SECRET.search(name) and value is not None else value


def _write(config: ResolvedConfig, key: str, name: str, value: Any) -> Words:
    """How to write an argument under its right name, where it stands now."""
    origin = config.origin(f"swift.{key}")
    if origin is None or origin.layer != "file":
        return f"swift.{_shown(name, value)}"
    return f"{origin}: {name}: {_word(_open(name, value))}"


def _context(config: ResolvedConfig, key: str, value: Any) -> dict[str, Any]:
    origin = config.origin(f"swift.{key}")
    place = {"file": str(origin.file), "line": origin.line} if origin and origin.file else {}
    return {"argument": key, "value": _open(key, value), **place}


CHECKS: tuple[Check, ...] = (argument_renamed, argument_clash, argument_unknown, argument_invalid, argument_missing,
                             argument_conflict)
