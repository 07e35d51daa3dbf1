"""The arguments of `swift sft`: between ms-swift's generations, as argv, and as its parser would read them. Pure.

Sources of the renames: ms-swift's ReleaseNote3.0 ("BreakChange"), the compatibility code of 2.6.1
(swift/llm/utils/argument.py, handle_compatibility), of 3.12.6 (llm/argument/base_args/base_args.py, CompatArguments),
of 4.0.4 (arguments/base_args/base_args.py), and the fields of 3.0.0, 3.1 to 3.4, 3.8 to 3.12, 4.0.4, 4.6.0.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from types import MappingProxyType
from typing import Any

from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import NOT_COLLECTED, Maybe, known
from swift_fa_launcher.errors import Text


@dataclass(frozen=True)
class Argument:
    """One argument of `swift sft`, as its parser declares it."""

    type: Maybe[str] = NOT_COLLECTED  # as Python prints the annotation: "Optional[int]", "<class 'bool'>"
    choices: Maybe[tuple[Any, ...]] = NOT_COLLECTED
    default: Any = None
    help: Maybe[str] = NOT_COLLECTED


#: The installed ms-swift's arguments by name.
Arguments = Mapping[str, Argument]

#: ms-swift's own ddp_timeout, in seconds.
DDP_TIMEOUT = 18_000_000

#: Arguments that name a file of ms-swift's own (swift/config of 3.0 to 4.6), or the path or text of a JSON object.
PRESETS: Mapping[str, tuple[str, ...]] = {
    "deepspeed": ("zero0", "zero1", "zero2", "zero3", "zero2_offload", "zero3_offload"), "fsdp": ("fsdp2",)}

# --- between generations ---

_DTYPES: Mapping[Any, Any] = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32", "AUTO": None}
_NAMED_DTYPES = {old: new for old, new in _DTYPES.items() if new}
_MODULES: Mapping[Any, Any] = {"ALL": "all-linear", "DEFAULT": "all-linear", "AUTO": "all-linear"}


@dataclass(frozen=True)
class Family:
    """The names that one argument has had, oldest first, each with the ms-swift version that brought it.

    since "" marks a name that transformers brought or took away: which one holds is known from the installed arguments
    only. values: what the first name's values are called under the later names. joins: a list that is added to what the
    new name holds. apart: where both names are there they are two settings.
    """

    names: tuple[tuple[str, str], ...]
    values: Mapping[Any, Any] = field(default_factory=dict)
    joins: bool = False
    apart: bool = False


#: Arguments of which only the name changed: by the versions that brought the old and the new one, `old > new`.
_RENAMED: Mapping[tuple[str, str], str] = {
    ("2", "3"): """
        model_id_or_path > model    batch_size > per_device_train_batch_size    eval_batch_size > per_device_eval_batch_size
        check_model_is_latest > check_model    add_output_dir_suffix > add_version    lora_bias_trainable > lora_bias
        lora_lr_ratio > lorap_lr_ratio    init_lora_weights > init_weights    dataset_seed > data_seed
        additional_trainable_parameters > trainable_parameters    dataset_test_ratio > split_dataset_ratio
        preprocess_num_proc > dataset_num_proc    streaming_buffer_size > shuffle_buffer_size    loss_name > loss_type
        device_map_config > device_map    device_map_config_path > device_map    vit_use_gc > vit_gradient_checkpointing
        evaluation_strategy > eval_strategy""",
    ("2", "2"): """
        lora_target_regex > target_regex    lora_modules_to_save > modules_to_save    lora_dropout_p > lora_dropout
        only_save_model > save_only_model    neftune_alpha > neftune_noise_alpha    deepspeed_config_path > deepspeed""",
    ("2", "3.3"): "use_liger > use_liger_kernel",
    ("2", "3.4"): "tools_prompt > agent_template",
    ("3", "4.0"): "metric > eval_metric",
    ("3", "3.12"): "swanlab_lark_webhook_url > swanlab_webhook_url    swanlab_lark_secret > swanlab_secret",
    ("", ""): """
        save_safetensors > safe_serialization    no_cuda > use_cpu    per_gpu_train_batch_size > per_device_train_batch_size
        per_gpu_eval_batch_size > per_device_eval_batch_size    push_to_hub_model_id > hub_model_id
        push_to_hub_token > hub_token""",
}

FAMILIES: tuple[Family, ...] = (
    *(Family(((had, old), (since, new)))
      for (had, since), pairs in _RENAMED.items() for old, new in re.findall(r"(\w+) > (\w+)", pairs)),
    Family((("2", "sft_type"), ("3", "train_type"), ("4.0", "tuner_type"))),
    Family((("2", "template_type"), ("3", "template")), {"AUTO": None}),
    Family((("2", "quantization_bit"), ("3", "quant_bits")), {0: None}),
    Family((("2", "bnb_4bit_comp_dtype"), ("3", "bnb_4bit_compute_dtype")), _DTYPES),
    Family((("2", "dtype"), ("3", "torch_dtype")), _DTYPES),
    Family((("2", "use_flash_attn"), ("3", "attn_impl")), {True: "flash_attn", False: None}),
    Family((("2", "lora_target_modules"), ("2", "target_modules")), _MODULES),
    Family((("2", "rescale_image"), ("3", "max_pixels")), {-1: None}),
    Family((("2", "push_hub_strategy"), ("2", "hub_strategy")), {"push_best": "every_save", "push_last": "every_save"}),
    Family((("2", "custom_train_dataset_path"), ("2", "dataset")), joins=True),
    Family((("2", "custom_val_dataset_path"), ("2", "val_dataset")), joins=True),
    Family((("2", "lora_modules"), ("3", "adapters")), joins=True),
    # ms-swift 4 has the old name as its own and never looks at transformers 5's (trainers/mixin.py, get_train_dataloader)
    Family((("", "group_by_length"), ("", "train_sampling_strategy")), {True: "group_by_length", False: None}, apart=True),
    Family((("", "adafactor"), ("", "optim")), {True: "adafactor", False: None}),
)

#: Values of 2.x that later generations know by another name, where the argument kept its own.
REVALUED: Mapping[str, Mapping[Any, Any]] = {
    "deepspeed": {"default-zero2": "zero2", "default-zero3": "zero3",
                  "zero2-offload": "zero2_offload", "zero3-offload": "zero3_offload"},
    "torch_dtype": _NAMED_DTYPES, "lora_dtype": _NAMED_DTYPES, "bnb_4bit_compute_dtype": _NAMED_DTYPES,
    "target_modules": _MODULES,
    "acc_strategy": {"sentence": "seq"},
    "truncation_strategy": {"truncation_left": "left"},
}


@dataclass(frozen=True)
class Rename:
    """One argument as the config has it and as the installed ms-swift calls it.

    The names are equal where only the value changed; `new_value` None leaves the argument out.
    """

    old: str
    new: str
    old_value: Any
    new_value: Any


@dataclass(frozen=True)
class Clash:
    """Two names of one argument, both given in the same layer, with different values: nobody can say which is meant."""

    first: str
    second: str
    first_value: Any
    second_value: Any


@dataclass(frozen=True)
class Translation:
    """The `swift` section in the installed ms-swift's spelling.

    arguments: what to launch with. renamed: arguments of another generation. revalued: values of another generation
    under a name that stayed. keys: argument name to the key under which the config has it.
    """

    arguments: Mapping[str, Any]
    renamed: tuple[Rename, ...] = ()
    revalued: tuple[Rename, ...] = ()
    clashes: tuple[Clash, ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict)


def translate(swift: Mapping[str, Any], known_args: Arguments | None = None, ms_swift: Version | None = None,
              strength: Mapping[str, int] | None = None) -> Translation:
    """`swift` in the installed generation's names and values.

    known_args: the installed arguments; where they are not known, `ms_swift`, its version, decides; without both the
    spelling is kept. strength: how high the layer of a key stands (see `strengths`): of two names of one argument the
    higher wins, and equal ones with different values are a clash.
    """
    arguments: dict[str, Any] = {}
    keys: dict[str, str] = {}
    renamed: list[Rename] = []
    clashes: list[Clash] = []
    rank = strength or {}
    written = frozenset(key.replace("-", "_") for key in swift)
    for key, value in swift.items():
        name, new_value, joins = _installed(key, value, known_args, ms_swift, written)
        above = rank.get(key, 0) - rank.get(keys.get(name, key), 0)
        if name != key.replace("-", "_"):
            renamed.append(Rename(key, name, value, new_value))
        if name not in arguments:
            arguments[name], keys[name] = new_value, key
        elif joins or _joins(keys[name], name):
            first, second = (arguments[name], new_value) if joins else (new_value, arguments[name])
            arguments[name] = [*_listed(first), *_listed(second)]
        elif above > 0 or (above == 0 and arguments[name] is None):
            arguments[name], keys[name] = new_value, key
        elif above == 0 and new_value is not None and arguments[name] != new_value:
            clashes.append(Clash(keys[name], key, swift[keys[name]], value))
    if any(r.new == "swanlab_webhook_url" for r in renamed):  # the old names were Lark's, the new ones are anybody's
        arguments.setdefault("swanlab_notification_method", "lark")
    revalued = tuple(_revalued(arguments, keys, known_args, ms_swift))
    arguments.update({change.new: change.new_value for change in revalued})
    return Translation(MappingProxyType(arguments), tuple(renamed), revalued, tuple(clashes), MappingProxyType(keys))


def translate_config(config: ResolvedConfig, known_args: Arguments | None,
                     ms_swift: Version | None) -> Translation:
    """`translate` of a config's `swift` section, a higher layer winning over a lower one."""
    return translate(config.swift, known_args, ms_swift, strengths(config))


def strengths(config: ResolvedConfig) -> Mapping[str, int]:
    """How high the layer of each `swift` key stands."""
    return {key: strength(config, f"swift.{key}") for key in config.swift}


def strength(config: ResolvedConfig, key: str) -> int:
    """How high the layer of a dotted key stands: 0 the built-in defaults, then the files, then the command line."""
    origin, order = config.origin(key), {file: index + 1 for index, file in enumerate(config.files)}
    if origin is None or origin.layer == "default":
        return 0
    return order.get(origin.file, 1) if origin.file else len(order) + 1


def written_texts(config: ResolvedConfig, translation: Translation) -> Mapping[str, str]:
    """Argument name to the scalar as the config or the command line wrote it; none where its value was translated."""
    origins = {name: config.origins.get(f"swift.{key}") for name, key in translation.keys.items()}
    return {name: origin.scalar for name, origin in origins.items() if origin and origin.scalar is not None}


def _installed(key: str, value: Any, known_args: Arguments | None, ms_swift: Version | None,
               written: frozenset[str]) -> tuple[str, Any, bool]:
    """Name and value of one argument in the installed generation, and whether it adds to what stands there."""
    name = key.replace("-", "_")
    for family in FAMILIES:
        spelled = [n for _, n in family.names]
        if name not in spelled:
            continue
        target = _target(family, name, known_args, ms_swift, written)
        if target is not None and target != name:
            return target, _crossed(family, value, forward=spelled.index(name) < spelled.index(target)), family.joins
    if known_args and name not in known_args and name.startswith("no_") and isinstance(value, bool):
        positive = name[3:]  # the parser has `--no_…` for switches, but without a value
        if _kind(known_args.get(positive)).base == "bool":
            return positive, not value, False
    return name, value, False


def _target(family: Family, name: str, known_args: Arguments | None, ms_swift: Version | None,
            written: frozenset[str]) -> str | None:
    """What the installed generation calls `name`. A name of its own stays, unless another of the same argument is written
    too: two of them reach ms-swift as one, by the layers and not by which it prefers."""
    if known_args is not None:
        there = [n for _, n in reversed(family.names) if n in known_args]
        stays = name in there and (family.apart or not written & {n for _, n in family.names} - {name})
        return None if stays else next(iter(there), None)
    if ms_swift is None or not all(since for since, _ in family.names):
        return None
    return next((n for since, n in reversed(family.names) if ms_swift.release >= Version(since).release), None)


def _crossed(family: Family, value: Any, *, forward: bool) -> Any:
    backward = {new: old for old, new in family.values.items() if new is not None}
    return _revalue(value, family.values if forward else backward)


def _revalue(value: Any, values: Mapping[Any, Any]) -> Any:
    """`value`, or each of a list's, by the table; a list that would become empty is left out."""
    if isinstance(value, (list, tuple)):
        return [_revalue(item, values) for item in value]
    if isinstance(value, str) and value.lower() in ("true", "false") and any(isinstance(k, bool) for k in values):
        value = value.lower() == "true"
    for old, new in values.items():
        if type(old) is type(value) and old == value:
            return new
    return value


def _revalued(arguments: Mapping[str, Any], keys: Mapping[str, str], known_args: Arguments | None,
              ms_swift: Version | None) -> Iterator[Rename]:
    modern = "model" in known_args if known_args is not None else ms_swift is not None and ms_swift.major >= 3
    for name, values in REVALUED.items():
        value = arguments.get(name)
        if modern and value is not None and (new := _revalue(value, values)) != value:
            yield Rename(keys[name], name, value, new)


def _joins(key: str, name: str) -> bool:
    return any(f.joins and key in (n for _, n in f.names) and key != name for f in FAMILIES)


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


# --- as ms-swift's parser reads them ---


@dataclass(frozen=True)
class _Kind:
    """What transformers' HfArgumentParser makes of an annotation.

    base: "bool", "int", "float", "text", "choice", "group" (nothing that a command line could carry) or "unknown".
    many: takes several words. loose: the annotation also holds groups or lists that a later conversion reads from text.
    """

    base: str
    many: bool = False
    loose: bool = False


_UNKNOWN = _Kind("unknown")


def is_switch(argument: Argument | None) -> bool:
    """Whether the parser takes true or false."""
    return _kind(argument).base == "bool"


def is_number(argument: Argument | None) -> bool:
    """Whether the parser takes a number, whole or not."""
    return _kind(argument).base in ("int", "float")


def takes_many(argument: Argument | None) -> bool:
    """Whether the parser takes several words."""
    return _kind(argument).many


def _kind(argument: Argument | None) -> _Kind:
    if argument is None or not isinstance(argument.type, str):
        return _UNKNOWN
    kind = _parse_annotation(argument.type)
    return _Kind("choice", kind.many) if known(argument.choices) and kind.base in ("text", "unknown") else kind


def shape(argument: Argument) -> tuple[str, bool, bool]:
    """(base, many, loose) of what the parser makes of an argument: see `_Kind`."""
    kind = _kind(argument)
    return kind.base, kind.many, kind.loose


@cache
def _parse_annotation(annotation: str) -> _Kind:
    """The rules of transformers/hf_argparser.py, _parse_dataclass_field, the same in 4.56 and 5.19."""
    try:
        tree = ast.parse(re.sub(r"<(?:class|enum) '([^']*)'>", r"\1", annotation), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _UNKNOWN
    members = _members(tree)
    names = [_name(member) for member in members]
    loose = any(name in ("dict", "list") for name in names)
    if len(members) == 1:
        chosen = members[0]
    elif "None" not in names:
        chosen = members[0] if names[1] == "str" else members[1]
    elif "bool" in names:
        return _Kind("bool") if len(members) == 2 else _UNKNOWN
    else:
        chosen = members[0] if names[1] == "None" else members[1]
    many = _name(chosen) == "list"
    if many:
        loose = False
        chosen = chosen.slice if isinstance(chosen, ast.Subscript) else ast.Name("str")
    base = {"bool": "bool", "int": "int", "float": "float", "str": "text", "Path": "text", "Literal": "choice",
            "dict": "group"}.get(_name(chosen), "unknown")
    return _Kind(base, many, loose)


def _members(node: ast.expr) -> list[ast.expr]:
    """The members of a union, in order; of anything else, itself."""
    if isinstance(node, ast.BinOp):
        return [*_members(node.left), *_members(node.right)]
    if isinstance(node, ast.Subscript) and _name(node) in ("Optional", "Union"):
        inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        found = [member for item in inside for member in _members(item)]
        return [*found, ast.Constant(None)] if _name(node) == "Optional" else found
    return [node]


def _name(node: ast.expr) -> str:
    """The last part of a dotted name; what is subscribed; "None"; "" for anything else."""
    if isinstance(node, ast.Subscript):
        return _name(node.value)
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Name):
        return {"NoneType": "None", "List": "list", "Dict": "dict"}.get(node.id, node.id)
    return "None" if isinstance(node, ast.Constant) and node.value is None else ""


_TRUTHS = frozenset(("yes", "true", "t", "y", "1", "no", "false", "f", "n", "0"))


def accepts(argument: Argument | None, value: Any, written: str | None = None) -> Text | None:
    """Why ms-swift's parser would refuse the value, None where it would not or where that cannot be told."""
    items = value if isinstance(value, (list, tuple)) else (value,)
    if any(isinstance(item, str) and item.strip() == "\\" for item in items):
        return Text("stray backslash (shell line continuation)", "多余的反斜杠（命令换行时留下的）")
    kind = _kind(argument)
    words = render_value(value, written, argument)
    if argument is not None and kind.many and not words and value is not None and argument.default:
        default = f"[{','.join(map(str, argument.default))}]" if isinstance(argument.default, list) else argument.default
        return Text(f"an empty list cannot be passed on a command line, and leaving the argument out means {default}",
                    f"命令行无法传递空列表，而不写这个参数则表示 {default}")
    if "--" in words:
        return Text("-- cannot be passed as a value", "-- 不能作为取值传递")
    if kind.base == "group" and any(words):
        return Text("ms-swift does not accept this on its command line", "ms-swift 的命令行不接受这个取值")
    if len(words) > 1 and not kind.many and kind.base != "unknown":
        return Text(f"must be one value, not {len(words)}", f"只能是一个值，而这里有 {len(words)} 个")
    if len(words) > 1 and (dashed := next((word for word in words if _looks_like_option(word)), None)):
        return Text(f"the item {dashed!r} begins with a dash, so the command line reads it as the next argument",
                    f"列表项 {dashed!r} 以短横线开头，命令行会把它当成下一个参数")
    for word in words:
        if argument is not None and (problem := _word_problem(kind, argument, word)):
            return problem
    return None


def _word_problem(kind: _Kind, argument: Argument, word: str) -> Text | None:
    if kind.base == "bool" and word.lower() not in _TRUTHS:
        return Text("must be true or false", "必须是 true 或 false")
    if kind.base == "int" and _reads(int, word) is None:
        return Text("must be a whole number", "必须是整数")
    if kind.base == "float" and _reads(float, word) is None:
        return Text("must be a number", "必须是数字")
    choices = known(argument.choices)
    if kind.base == "choice" and choices and word not in (names := [str(choice) for choice in choices]):
        listed = ", ".join(names if len(names) <= 12 else [*nearest(word, names, 5), "…"])
        return Text(f"must be one of {listed}", f"必须是以下之一：{listed}")
    return None


#: What names an attention in transformers 4.36 to 5.19: its own names, paged ones as each release wrote them, and a hub's
#: kernel (modeling_utils.py, AttentionInterface; integrations/hub_kernels.py, is_kernel). Anything else is refused when the
#: model is built, minutes later.
_ATTENTION = re.compile(r"(?:paged\|)?(?:flash_attn|flash_attention_\d|sdpa|eager|flex_attention|auto)|paged_attention"
                        r"|(?:sdpa|eager)_paged|(?:paged\|)?[^/:]+/[^/:]+(?:@[^/:]+)?(?::[^/:]+)?")


def attention_misspelt(config: ResolvedConfig, value: Any) -> bool:
    """Whether attn_impl's value can name no attention; none at all is ms-swift's default, and plugins bring their own."""
    return not (has_plugins(config) or value is None or isinstance(value, (dict, list)) or not str(value).strip()
                or _ATTENTION.fullmatch(_render_word(value, None, None).strip()))


def has_plugins(config: ResolvedConfig) -> bool:
    """Whether the config loads code that may register more values than ms-swift knows."""
    return any(config.swift.names("external_plugins")) or any(config.swift.names("custom_register_path"))


# --- as argv ---

_FLOAT = re.compile(r"[+-]?(\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)([eE][+-]?\d+)?")
_NEGATIVE = re.compile(r"-\d+|-\d*\.\d+")  # what argparse takes for a number rather than for an option
_TEXT = Argument(type="Optional[str]")


def render_arguments(swift: Mapping[str, Any], written: Mapping[str, str] | None = None,
                     known_args: Arguments | None = None) -> tuple[str, ...]:
    """The words that `swift sft` gets: `--key value…`.

    None and an empty list leave the argument out. written: argument name to the scalar as it was written, so that
    `2e-4` arrives as `2e-4` and a text such as `2024_01_01` unharmed. known_args: the installed arguments, to tell text
    from numbers.
    """
    words: list[str] = []
    for key, value in swift.items():
        name = key.replace("-", "_")
        argument = (known_args or {}).get(name, _TEXT if name.endswith("_strategy") else None)
        values = render_value(value, (written or {}).get(key), argument)
        if len(values) == 1 and _looks_like_option(values[0]):
            words.append(f"--{name}={values[0]}")
        elif values:
            words += [f"--{name}", *values]
    return tuple(words)


def render_value(value: Any, written: str | None = None, argument: Argument | None = None) -> tuple[str, ...]:
    """The words of one value; none where the argument is left out."""
    if isinstance(value, (list, tuple)) and not _kind(argument).loose:
        return tuple(_render_word(item, None, argument) for item in value if item is not None)
    return () if value is None or value == [] else (_render_word(value, written, argument),)


def _render_word(value: Any, written: str | None, argument: Argument | None) -> str:
    base = _kind(argument).base
    if isinstance(value, bool):
        return _render_bool(value, written, argument) if base in ("text", "choice") else "true" if value else "false"
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and base == "int" and value.is_integer() and abs(value) < 1e15:
        return str(int(value))  # `max_steps: 1e3`
    if isinstance(value, int):
        return written if written is not None and (base == "text" or _reads(int, written) == value) else str(value)
    if isinstance(value, float):
        plain = written is not None and _FLOAT.fullmatch(written) is not None and _reads(float, written) == value
        return str(written) if plain or (base == "text" and written is not None) else repr(value)
    return str(value)


def _render_bool(value: bool, written: str | None, argument: Argument | None) -> str:
    """A word such as `no`, which YAML reads as a boolean, for an argument that wants words (`save_strategy: no`)."""
    if written is not None and written.lower() not in ("true", "false"):
        return written
    choices = (known(argument.choices) if argument else None) or ()
    return "no" if not value and "no" in choices else "true" if value else "false"


def _looks_like_option(word: str) -> bool:
    return word.startswith("-") and word != "-" and " " not in word and not _NEGATIVE.fullmatch(word)


def _reads(kind: Callable[[str], Any], word: str) -> Any:
    try:
        return kind(word)
    except (ValueError, OverflowError):
        return None


# --- by name ---


def nearest(name: str, names: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """The `count` of `names` that a misspelt `name` most likely means, the likeliest first."""
    distance = _distance_from(_plain(name))
    return tuple(sorted(names, key=lambda other: (distance(_plain(other)), other))[:count])


def likely(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """Those of the `nearest` that `name` may well mean: one where it is clear, none where nothing is like it."""
    plain, words = _plain(name), set(_plain(name).split("_"))
    distance, edits = _distance_from(plain), _edits_from(plain)
    near = [other for other in nearest(name, names)
            if distance(_plain(other)) <= max(2.0, 0.4 * len(plain)) or words <= set(_plain(other).split("_"))]
    apart = [edits(_plain(other)) for other in near]
    return tuple(near[:1] if near and apart[0] <= 2 and min(apart[1:], default=9) >= apart[0] + 2 else near)


def fits_nearly(word: str, words: Iterable[str]) -> bool:
    """Whether `word` is likely one of `words`, misspelt: at most two edits away, and fewer than half of its letters."""
    edits = _edits_from(_plain(word))
    return any(edits(_plain(other)) <= min(2, len(other) // 2) for other in words)


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").strip("_")


def _distance_from(meant: str) -> Callable[[str], float]:
    """Edits to another name; a beginning of it, also misspelt, its words in another order, and lost underscores count less."""
    words, edits_from, bare_edits_from = set(meant.split("_")), _edits_from(meant), _edits_from(meant.replace("_", ""))

    def distance(other: str) -> float:
        begun = meant != "" and other.startswith(meant)
        others = set(other.split("_"))
        alike = len(words & others) >= 2 or words <= others
        apart = abs(len(meant) - len(other))
        if apart > 6 and not begun and not alike:
            return apart + 6.0  # too far to be worth counting
        edits = float(edits_from(other))
        if begun:
            edits = min(edits, 1 + apart / 20)
        elif len(meant) > 4 and edits_from(other[:len(meant)]) == 1:
            edits = min(edits, 2 + apart / 20)
        if alike:
            edits = min(edits, 2.0 + len(words ^ others))
        return min(edits, 0.5 + bare_edits_from(other.replace("_", ""))) if 1 < edits < 8 else edits

    return distance


def _edits_from(first: str) -> Callable[[str], int]:
    """Counts insertions, deletions, replacements and swaps of neighbours between `first` and another word.

    Bit-parallel (Hyyrö 2003, "A bit-vector algorithm for computing Levenshtein and Damerau edit distances"), so that
    all of ms-swift's names are compared in a few milliseconds.
    """
    places: dict[str, int] = {}
    for index, letter in enumerate(first):
        places[letter] = places.get(letter, 0) | (1 << index)
    last, every = 1 << max(len(first) - 1, 0), (1 << len(first)) - 1

    def edits(second: str) -> int:
        if not first:
            return len(second)
        up, down, zero, before, score = every, 0, 0, 0, len(first)
        for letter in second:
            match = places.get(letter, 0)
            swapped = ((~zero & match) << 1) & before
            zero = ((((match & up) + up) ^ up) | match | down | swapped) & every
            rise, fall = down | ~(zero | up), zero & up
            score += bool(rise & last) - bool(fall & last)
            rise, fall = (rise << 1) | 1, fall << 1
            up, down, before = (fall | ~(zero | rise)) & every, zero & rise & every, match
        return score

    return edits


def plain_type(argument: Argument) -> str:
    """What an argument takes, without Python's own spelling: "int", "list of str", "dict or str".

    >>> plain_type(Argument("Optional[List[str]]")), plain_type(Argument("Literal[1, 'float8', None]"))
    ('list of str', 'int or str')
    """
    def kinds(values: re.Match[str]) -> str:
        return " ".join(type(value).__name__ for value in ast.literal_eval(f"[{values[1]}]"))

    text = re.sub(r"Literal\[(.*?)\]", kinds, known(argument.type) or "")
    found = re.findall(r"\b[Ll]ist\[(\w+)|\b(dict|str|int|float|bool)\b", re.sub(r"dict\[.*?\]", "dict", text))
    names = (f"list of {item if item in ('int', 'float', 'bool') else 'str'}" if item else name for item, name in found)
    return " or ".join(dict.fromkeys(names)) or "str"


def find_arguments(arguments: Arguments, pattern: str | None = None) -> tuple[tuple[str, Argument], ...]:
    """The arguments whose name or help holds `pattern`, a piece of text or a shell pattern (`lora*`) for the name.

    Those found by name come first. Upper and lower case, dashes and underscores are the same.
    """
    if not pattern:
        return tuple(arguments.items())
    wanted = pattern.lower().replace("-", "_")
    if any(sign in wanted for sign in "*?["):
        return tuple(item for item in arguments.items() if fnmatchcase(item[0].lower(), wanted))
    by_name = [item for item in arguments.items() if wanted in item[0].lower()]
    by_help = [item for item in arguments.items() if item not in by_name
               and pattern.lower() in (known(item[1].help) or "").lower()]
    return (*by_name, *by_help)
