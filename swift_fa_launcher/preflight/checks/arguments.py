"""The `swift` section against the arguments that the installed ms-swift takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from packaging.version import Version

from swift_fa_launcher.config import swift_args
from swift_fa_launcher.config.names import VALUES_MEANT, find_settings, number_meant, settings_in
from swift_fa_launcher.config.render import typed
from swift_fa_launcher.config.schema import CHOICES, SECTIONS, ResolvedConfig, SwiftArguments
from swift_fa_launcher.decode import known
from swift_fa_launcher.findings.finding import WARNING, Check, Finding
from swift_fa_launcher.findings.table import TABLE, found
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.reading import names_no_preset, parted_list, written
from swift_fa_launcher.secrets import is_secret_name

#: Values that ms-swift or transformers look up after parsing. A value is refused only where it is nearly one of these:
#: plugins may bring more (swift/arguments/base_args/base_args.py; transformers/trainer_utils.py, SchedulerType).
TUNERS = ("tuner_type", "train_type")
DATASETS = ("dataset", "val_dataset")
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
    "optimizer": ("default", "galore", "lorap", "muon", "muonclip", "multimodal"),
    "loss_type": ("cross_entropy", "cosine_similarity", "contrastive", "online_contrastive", "infonce", "reranker",
                  "generative_reranker", "pointwise_reranker", "listwise_reranker", "listwise_generative_reranker", "scoring",
                  "distill_rps", "smooth_brier", "ce_rps"),
    "eval_metric": ("acc", "nlg", "infonce", "paired", "reranker"),
    "callbacks": ("activation_cpu_offload", "adalora", "deepspeed_elastic", "early_stop", "graceful_exit", "lisa", "perf_log"),
}

#: What people write for a number whose default ms-swift works out.
USUAL_NUMBERS = {"learning_rate": "1e-4", "max_length": 4096, "gradient_accumulation_steps": 4}
#: Of these, those that transformers keeps to itself, as far as its versions are known: any other value ends in a ValueError.
CLOSED, CLOSED_UP_TO = ("lr_scheduler_type", "eval_strategy"), Version("5.20")
#: Of these, those that a plugin may bring more of.
REGISTERED = (*TUNERS, "report_to", "callbacks", "optimizer", "loss_type", "eval_metric")
#: Arguments that are one name; many others of text read a JSON object too.
SINGLE = frozenset(LOOKED_UP) | {"model", "model_type", "template", "system", "output_dir", "torch_dtype", "optim",
                                 "resume_from_checkpoint", "truncation_strategy"}
LOW_RANK_OPTIMIZERS = tuple(f"{name}{layerwise}" for layerwise in ("", "_layerwise") for name in (
    "galore_adamw", "galore_adamw_8bit", "galore_adafactor", "apollo_adamw"))


def argument_renamed(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Arguments of another ms-swift generation; the plan carries the installed one's. Sources: config/swift_args.py."""
    for change in _translate(config, facts).renamed:
        left_out = change.new_value is None
        yield found("arg-renamed", "left out" if left_out else "", **_said(config, change.old, change.old_value),
                    becomes=_shown(change.new, change.new_value), name=change.new, ms_swift=facts.package("ms-swift"),
                    new_value=_open(change.new, change.new_value),
                    **({} if left_out else _rewritten(config, change.old, change.new, change.new_value)))


def argument_clash(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Two names of one argument with different values, written in the same layer."""
    for clash in _translate(config, facts).clashes:
        yield found("arg-invalid", "twice", **_said(config, clash.second, clash.second_value), other=clash.first,
                    first=_shown(clash.first, clash.first_value), first_origin=_where(config, clash.first),
                    keep=_typed(clash.second, clash.second_value), or_keep=_typed(clash.first, clash.first_value))


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
        settings = find_settings(name, known_args, near=False)
        if settings and not settings[0].startswith("swift."):
            yield found("arg-unknown", "elsewhere", **_said(config, key, value), ms_swift=facts.package("ms-swift"),
                        setting=settings[0], instead=typed(settings[0], _open(key, value)))
            continue
        if name in SECTIONS and isinstance(value, dict):
            yield found("arg-unknown", "section", **_said(config, key, value), ms_swift=facts.package("ms-swift"))
            continue
        if isinstance(value, dict) and (inside := settings_in(key, value, known_args)):
            yield found("arg-unknown", "group", **_said(config, key, value), ms_swift=facts.package("ms-swift"),
                        settings=" ".join(typed(setting, below) for setting, below in inside))
            continue
        same = tuple(one.removeprefix("swift.") for one in settings[:1])
        if same == ("adapters",) and value in LOOKED_UP["tuner_type"]:  # axolotl's `adapter: lora`
            same = ("tuner_type",)
        near, meant = same or swift_args.nearest(name, known_args), same or swift_args.likely(name, known_args)
        shown = "***" if any(is_secret_name(other) for other in (key, *near)) else value  # a misspelt secret is one too
        way = f"gone {name}" if f"gone {name}" in TABLE["arg-unknown"].says else "" if meant else "nothing near"
        # of several, nobody knows whose value it is
        rename = _rewritten(config, key, meant[0], plain) if len(meant) == 1 and (
            plain := _plain(meant[0], shown, known_args[meant[0]])) is not None else {}
        pattern = _pattern(name, meant, known_args) or ("PATTERN" if way == "nothing near" else None)
        yield found("arg-unknown", way, **_said(config, key, shown), ms_swift=facts.package("ms-swift"), meant=meant,
                    nearest=list(near), pattern=pattern, **rename)


def _plain(name: str, value: Any, argument: swift_args.Argument) -> Any:
    """Another name's value as this argument takes it; None where it does not."""
    if meant := _value_meant(name, value):
        return meant
    if groups := _groups(name, value, argument):
        texts = _texts_in(groups)
        return texts if None not in texts else None
    return value if _takes(argument, value) else None


def _takes(argument: swift_args.Argument, value: Any) -> bool:
    """Whether another name's value may be this argument's: `load_in_4bit: true` says nothing that quant_bits could take."""
    return swift_args.is_switch(argument) if isinstance(value, bool) else swift_args.accepts(argument, value) is None


def _pattern(name: str, meant: tuple[str, ...], known_args: Mapping[str, swift_args.Argument]) -> str | None:
    """What shows the arguments in question: the one meant, else those that share a word with the name; None for none."""
    shared = (word for word in name.split("_") if len(word) > 2 and any(word in other for other in known_args))
    return meant[0] if len(meant) == 1 else next(shared, None)


def argument_invalid(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Values that ms-swift's parser, or what comes right after it, would refuse."""
    translation = _translate(config, facts)
    known_args = known(facts.ms_swift_args) or {}
    texts = swift_args.written_texts(config, translation)
    revalued = {change.new: change for change in translation.revalued}
    for name, value in translation.arguments.items():
        key = translation.keys.get(name, name)
        if name in revalued:
            change = revalued[name]
            yield found("arg-invalid", "ms-swift 2", **_said(config, change.old, change.old_value),
                        new_value=_word(change.new_value), ms_swift=facts.package("ms-swift"),
                        override=_typed(change.new, change.new_value))
            continue
        if miswritten := _miswritten(config, facts, key, name, value, known_args):
            way, values = miswritten
            yield found("arg-invalid", way, **_said(config, key, value), name=name, **values)
            continue
        argument = known_args.get(name)
        if name == "model_type" or (name == "template" and swift_args.has_plugins(config)):
            argument = argument and replace(argument, choices=None)  # model-type-unknown's; plugins register templates
        said = {**_said(config, key, value), "name": name}
        if (why := swift_args.accepts(argument, value, texts.get(name))) is not None:
            yield found("arg-invalid", **said, why=why, **_instead(name, value, argument, texts.get(name)))
        elif near := _nearest_values(config, facts, name, value, argument, texts.get(name)):
            yield found("arg-invalid", "no such", **said, nearest=near,
                        **_instead(name, value, argument, texts.get(name)))


def _miswritten(config: ResolvedConfig, facts: Facts, key: str, name: str, value: Any,
                known_args: swift_args.Arguments) -> tuple[str, dict[str, Any]] | None:
    """What is wrong with the form of a value that the parser would take, or refuse without a word on the form."""
    if name in swift_args.PRESETS and names_no_preset(config, facts, name):
        instead = _instead(name, value, None, None)
        return "preset", {"presets": swift_args.PRESETS[name], "first": instead.get("first"), "second": instead.get("second"),
                          "without": typed(f"swift.{name}", None)}
    if counts := _wrong_counts(name, value):
        items = [value] if isinstance(value, str) else value
        bare = [item.rpartition("#")[0] if item in counts else item for item in items]
        return "count", {"first": typed(f"swift.{name}", bare),
                         "second": typed(f"swift.{name}", [f"{bare[0]}#500", *bare[1:]])}
    if patterns := _patterns(facts, name, value):
        return "pattern", {"pattern": patterns[0]}
    if groups := _groups(name, value, known_args.get(name)):
        return "group", {"below": next(iter(groups[0]), ""), **_ungrouped(name, groups, known_args)}
    if items := parted_list(facts, name, value):
        return "list", {"items": items, **_rewritten(config, key, name, items)}
    return None


def _groups(name: str, value: Any, argument: swift_args.Argument | None) -> list[Mapping[str, Any]]:
    """The groups of keys that a value is or holds, for an argument that takes none."""
    items = value if isinstance(value, (list, tuple)) else [value]
    takes_none = name in SINGLE or (argument is not None and swift_args.shape(argument)[1])
    return [item for item in items if isinstance(item, dict)] if takes_none else []


def _ungrouped(name: str, groups: Sequence[Mapping[str, Any]], known_args: Mapping[str, swift_args.Argument]) -> dict[str, Any]:
    """What a group may have been meant to be: settings that its keys name, or the one text in each of several."""
    settings = settings_in(name, groups[0], known_args) if len(groups) == 1 else ()
    others = " ".join(typed(key, value) for key, value in settings if key != f"swift.{name}")
    texts = _texts_in(groups)
    return {"settings": others} if others else {} if None in texts else {
        "settings": typed(f"swift.{name}", texts if len(texts) > 1 else texts[0])}


def _texts_in(groups: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """The first text in each group, such as a dataset's path; None where it has none."""
    return [next((text for text in group.values() if isinstance(text, str)), None) for group in groups]


#: What people write behind a dataset's # that is no number of rows, and hardly part of a file's name.
_NO_COUNT = re.compile(r"\.(?:jsonl?|csv|txt|parquet)#(?:0*|-\d+|\d*\.\d+|\d+[%kKmM]|all|full|half|none|\*)$")


def _wrong_counts(name: str, value: Any) -> list[str]:
    """Datasets with something behind their # that is no number of rows: dataset_syntax.py makes an int of it."""
    items = value if isinstance(value, (list, tuple)) else [value]
    return [item for item in items if isinstance(item, str)
            and _NO_COUNT.search(item)] if name in DATASETS else []


def _patterns(facts: Facts, name: str, value: Any) -> list[str]:
    """Names of data files with a shell's signs in them, which are no files themselves."""
    items = value if isinstance(value, (list, tuple)) else [value]
    return [item for item in items if isinstance(item, str) and re.fullmatch(r"(?!https?:)[^\s#]*[*?][^\s#]*(#\d+)?", item)
            and facts.path(item).kind != "file"] if name in DATASETS else []


def _nearest_values(config: ResolvedConfig, facts: Facts, name: str, value: Any, argument: swift_args.Argument | None,
                    text: str | None) -> list[str]:
    """What a value may mean that ms-swift looks up after parsing and would not find; of a list, each wrong item's nearest."""
    names = LOOKED_UP.get(name)
    if names and value is not None and not isinstance(value, dict) and not (argument and known(argument.choices)) \
            and not (name in REGISTERED and swift_args.has_plugins(config)):
        words = swift_args.render_value(value, text, argument or swift_args.Argument(type="Optional[str]"))
        version = facts.package("transformers")
        closed = name in CLOSED and version is not None and version < CLOSED_UP_TO
        wrong = tuple(word for word in words if word not in names) if closed else _misspelt(words, names)
        if len(words) > 1 and wrong:
            return [f"{word} -> {_near(word, names)[0]}" for word in wrong]
        if wrong:
            return [meant] if (meant := _value_meant(name, wrong[0])) else list(_near(wrong[0], names))
    misspelt = name == "attn_impl" and swift_args.attention_misspelt(config, value)
    meant = _value_meant(name, value)
    if name == "target_modules" and meant:  # peft: "Target modules {'all'} not found in the base model"
        return [meant]
    return [meant] if misspelt and meant else list(_near(_word(value), LOOKED_UP[name])) if misspelt else []


def _value_meant(name: str, value: Any) -> str | None:
    """What the one word of a value is called in ms-swift; None where it is no word of another program."""
    words = value if isinstance(value, (list, tuple)) else [value]
    return VALUES_MEANT.get(f"swift.{name}", {}).get(str(words[0]).lower()) if len(words) == 1 else None


def _misspelt(words: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for word in words if word not in names and swift_args.fits_nearly(word, names))


def _near(word: str, names: Sequence[str]) -> tuple[str, ...]:
    return swift_args.likely(word, names) or swift_args.nearest(word, names)


#: Words of other programs for a value that is not set.
_UNSET = ("\\", "none", "nil", "~", "undefined", "nan", "unset", "default")
_OFF = ("off", "false", "no", "disable", "disabled")


def _instead(name: str, value: Any, argument: swift_args.Argument | None, text: str | None) -> dict[str, Any]:
    """The overrides that the value may have been meant to be, and the name to look up."""
    word = str(value).strip().lower()
    if word in (*_UNSET, *(("auto",) if swift_args.is_number(argument) else _OFF if name in swift_args.PRESETS else ())):
        return {"first": f"swift.{name}=null", "look_up": name}
    if name in TUNERS and word == "qlora":
        return {"first": f"swift.{name}=lora swift.quant_method=bnb swift.quant_bits=4", "look_up": name}
    if isinstance(value, dict):
        return {"first": f"swift.{name}=VALUE", "look_up": name}
    if isinstance(value, (str, float, bool)) and swift_args.is_number(argument):
        number = next((said for whole in (True, False) if (said := number_meant(f"swift.{name}", word, whole=whole)) is not None
                       and swift_args.accepts(argument, said, said) is None), None)
        several = [part for part in re.split(r"[,;\s]+", str(value)) if part]
        if number is None and len(several) > 1 and all(swift_args.accepts(argument, part, part) is None for part in several):
            return {"sweep": f"swift.{name}={','.join(several)}", "look_up": name}
        usual = USUAL_NUMBERS.get(name, argument.default if argument else None)
        return {"first": typed(f"swift.{name}", number) if number is not None else None, "look_up": name,
                "usual": typed(f"swift.{name}", usual) if number is None and usual is not None else None}
    if isinstance(value, (list, tuple)) and len(value) > 1 and swift_args.is_number(argument):
        return {"sweep": f"swift.{name}={','.join(map(str, value))}", "look_up": name}
    if swift_args.is_switch(argument):
        likely = not re.match(r"n|f|off|disab|0", word)
        return {"first": typed(f"swift.{name}", likely), "second": typed(f"swift.{name}", not likely), "look_up": name}
    own = (known(argument.choices) if argument else None) or swift_args.PRESETS.get(name) or LOOKED_UP.get(name, ())
    choices = [str(choice) for choice in own if choice is not None]
    section = name.replace("_", ".", 1)  # `swanlab_mode: offline`, which the launcher's own section has
    if word in CHOICES.get(section, ()) and word not in choices:
        return {"first": f"{section}={word} swift.{name}=null", "look_up": name}
    words = swift_args.render_value(value, text, argument)
    if isinstance(value, list) and len(words) > 1:
        wrong = _misspelt(words, choices)
        right = [_near(word, choices)[0] if word in wrong else word for word in words]
        return {**({"first": typed(f"swift.{name}", right)} if wrong else {}), "look_up": name}
    meant = _value_meant(name, value)
    near = (meant,) if meant else _near(words[0], choices) if choices and words else ()
    return {**dict(zip(("first", "second", "third"), (typed(f"swift.{name}", choice) for choice in near), strict=False)),
            "look_up": name}


def argument_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """What `swift sft` cannot do without.

    Sources: swift/arguments/base_args/model_args.py ("Please set --model"), sft_args.py ("Please input the training
    dataset"), quant_args.py, model/model_meta.py ("Please pass the parameter `num_labels`"), transformers/trainer.py (a
    streaming dataset has no length), trainer_optimizer.py (_setup_low_rank_optimizer); all of 3.8.3, 3.12.6, 4.0.4, 4.6.0.
    """
    if not config.files and not config.overrides and all(config.is_default(f"swift.{key}") for key in config.swift):
        return  # the machine alone was asked about
    swift = translated(config, facts).swift
    if swift.get("model") in (None, "") and not _model_comes_otherwise(swift, facts):
        yield found("arg-missing", "model not type" if "model_type" in swift else "model", argument="model")
    if not any(swift.names("dataset")) and not any(swift.names("cached_dataset")):
        yield found("arg-missing", "dataset", argument="dataset")
    if swift.flag("streaming") and (swift.get("max_steps") is None or (swift.whole("max_steps") or 1) <= 0):
        yield found("arg-missing", "max_steps", argument="max_steps", origin=_where(config, "streaming"))
    for name, first, values in (("quant_bits", "quant_method", ("bnb", "hqq", "eetq", "quanto")),
                                ("num_labels", "task_type", ("seq_cls",) if not swift.flag("load_args") else ()),
                                ("optim_target_modules", "optim", LOW_RANK_OPTIMIZERS)):
        if swift.get(name) is None and swift.text(first) in values:
            yield found("arg-missing", name, argument=name, setting=f"{_shown(first, swift[first])}{_where(config, first)}")
    if swift.packs and swift.flag("packing") and swift.get("max_length") is None and swift.get("packing_length") is None:
        yield found("arg-missing", "max_length", severity=WARNING, argument="max_length")


def translated(config: ResolvedConfig, facts: Facts) -> ResolvedConfig:
    """The config with its `swift` section in the installed ms-swift's names and values; origins keep the written keys."""
    return replace(config, swift=SwiftArguments(_translate(config, facts).arguments))


def _translate(config: ResolvedConfig, facts: Facts) -> swift_args.Translation:
    return swift_args.translate_config(config, known(facts.ms_swift_args), facts.package("ms-swift"))


def _model_comes_otherwise(swift: SwiftArguments, facts: Facts) -> bool:
    """A checkpoint names the model, or, before ms-swift 3, model_type does."""
    version = facts.package("ms-swift")
    if version is not None and version.major < 3 and (swift.text("model_type") or swift.text("model_id_or_path")):
        return True
    resumed = swift.text("resume_from_checkpoint")
    full = swift.text("tuner_type") == "full" or swift.text("train_type") == "full"
    return bool(swift.flag("load_args") or swift.text("ckpt_dir") or (resumed and (full or swift.flag("resume_only_model"))))


# --- values as they are shown ---


def _where(config: ResolvedConfig, key: str) -> str:
    return written(config, f"swift.{key}")


def _word(value: Any) -> str:
    words = swift_args.render_value(value)
    return words[0] if len(words) == 1 and not isinstance(value, list) else f"[{','.join(words)}]"


def _shown(name: str, value: Any) -> str:
    """`name=value`, shortened; never a secret."""
    shown = _word(_open(name, value)) if value is not None else "null"
    return f"{name}={shown if len(shown) <= 80 else shown[:77] + '...'}"


def _open(name: str, value: Any) -> Any:
    return "***" if is_secret_name(name) and value is not None else value


def _typed(name: str, value: Any) -> str:
    """The override that sets an argument; never a secret."""
    return typed(f"swift.{name}", "VALUE" if _open(name, value) == "***" else value)


def _rewritten(config: ResolvedConfig, key: str, name: str, value: Any) -> dict[str, Any]:
    """How to write an argument under its right name: the place and its new line, or an override."""
    origin = config.origin(f"swift.{key}")
    if origin is None or not origin.editable:
        return {"override": _typed(name, value)}
    return {"place": str(origin), "rewritten": f"{name}: {'VALUE' if _open(name, value) == '***' else _word(value)}"}


def _said(config: ResolvedConfig, key: str, value: Any) -> dict[str, Any]:
    """An argument as it is written: for the text, and for programs."""
    origin = config.origin(f"swift.{key}")
    place = {"file": str(origin.file), "line": origin.line} if origin and origin.file else {}
    return {"argument": key, "value": _open(key, value), "shown": _shown(key, value), "origin": _where(config, key), **place}


CHECKS: tuple[Check, ...] = (argument_renamed, argument_clash, argument_unknown, argument_invalid, argument_missing)
