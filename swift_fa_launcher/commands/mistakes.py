"""What a wrong command line was meant to be: words of other programs, of habit, or that a shell has taken apart."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from swift_fa_launcher.commands import COMMANDS
from swift_fa_launcher.config.names import find_settings
from swift_fa_launcher.config.render import quoted
from swift_fa_launcher.config.schema import SECTIONS
from swift_fa_launcher.errors import Text, UsageError, Words
from swift_fa_launcher.secrets import is_secret_name, strike_assigned

#: Commands of other programs and of habit, by what does the same here.
_COMMANDS: Mapping[str, str] = {
    **dict.fromkeys(("sft", "run", "start", "launch", "finetune", "fine-tune", "pt", "training", "tuning", "fit"), "train"),
    **dict.fromkeys(("check", "doctor", "validate", "verify", "test", "lint", "env", "checks"), "preflight"),
    **dict.fromkeys(("list", "ls", "history", "ps", "jobs", "status", "experiments"), "runs"),
    **dict.fromkeys(("log", "logs", "info", "view", "cat"), "show"), **dict.fromkeys(("continue", "restart"), "resume"),
    **dict.fromkeys(("repeat", "again", "replay", "reproduce"), "rerun"), "cmp": "diff",
    **dict.fromkeys(("stop", "kill", "end", "cancel"), "runs --end"),
    **dict.fromkeys(("setup", "flash-attn", "wheel"), "install"),
    **dict.fromkeys(("debug", "why", "analyze", "analyse", "diagnosis"), "diagnose"),
    **dict.fromkeys(("arguments", "params", "options"), "args"),
    **dict.fromkeys(("benchmark", "speed", "perf"), "bench"), **dict.fromkeys(("code", "codes", "finding", "what"), "explain"),
    **dict.fromkeys(("configs", "conf", "print", "settings"), "config"), **dict.fromkeys(("dry-run", "dryrun"), "rehearse"),
    **dict.fromkeys(("delete", "remove", "rm", "clean"), "prune --name"), **dict.fromkeys(("grid", "search", "hparams"), "sweep"),
    **dict.fromkeys(("convert", "from-script"), "import"), **dict.fromkeys(("new", "create", "template"), "init"),
}
_MS_SWIFTS = ("infer", "export", "eval", "deploy", "rlhf", "merge-lora", "merge_lora", "app", "web-ui", "sample", "rollout")
#: Options that name a config elsewhere.
_CONFIG_OPTIONS = ("config", "config_file", "cfg", "conf", "yaml", "file", "c", "f", "config_path", "args_file")
_OVERRIDE_OPTIONS = ("set", "override", "overrides", "o", "D", "p", "param", "opt")
#: Options of other programs: what is one here, what is a setting, what is a command, and what nobody needs.
_OPTIONS: Mapping[str, str] = {
    **dict.fromkeys(("n", "dry", "noop", "just_print", "check", "validate"), "--dry-run"),
    **dict.fromkeys(("q", "silent"), "--quiet"), **dict.fromkeys(("o", "output"), "--out"), "r": "--root",
    **dict.fromkeys(("j", "jobs", "workers", "n_parallel"), "--parallel"), **dict.fromkeys(("time", "budget"), "--minutes"),
    **dict.fromkeys(("h", "usage", "man"), "--help")}
_AS_SETTINGS: Mapping[str, str] = {
    "lora": "swift.tuner_type=lora", "full": "swift.tuner_type=full", "qlora": "swift.quant_method=bnb swift.quant_bits=4",
    "cpu": "swift.use_cpu=true", "no_swanlab": "swanlab.enabled=false", "slurm": "launch.target=slurm"}
_AS_COMMANDS: Mapping[str, Mapping[str, str]] = {
    **dict.fromkeys(("swift-fa train", "swift-fa preflight"), dict.fromkeys(("resume", "continue"), "swift-fa resume latest")),
    "swift-fa runs": dict.fromkeys(("limit", "last", "head", "recent", "n"), "swift-fa runs --since 7d")}
_NEEDLESS = ("y", "yes", "v", "verbose", "debug", "local_rank", "interactive", "no_cache", "no_input")
#: ms-swift's own that are typed without a value.
_SWITCHES = ("packing", "padding_free", "streaming", "bf16", "fp16", "tf32", "gradient_checkpointing", "use_liger_kernel",
             "use_cpu", "lazy_tokenize", "use_hf", "full_determinism", "do_eval", "torch_compile")


def refuse_command(words: Sequence[str]) -> NoReturn:
    """Raises UsageError for a first word that is no command, with what it may mean."""
    name, rest = words[0], words[1:]
    file = next((word for word in words if word.endswith((".yaml", ".yml", ".json")) and "=" not in word), None)
    meant: tuple[Words, ...] = ()
    if name == file or re.match(r"[\w.]+=", name) or (name.startswith("-") and file):
        typed = shlex.join([word for word in words if word not in ("--config", "-c")])
        meant = (Text(f"to train: swift-fa train {typed}", f"开始训练：swift-fa train {typed}"),
                 Text(f"only to check it: swift-fa preflight {typed}", f"只做检查：swift-fa preflight {typed}"))
    elif name.endswith((".sh", ".bash")):
        meant = (f"swift-fa import {shlex.quote(name)}",)
    elif name.startswith("-") or (name == "sft" and any(word.startswith("--") for word in rest)):
        meant = (Text("write a `swift sft` command into a file and make a config of it: swift-fa import FILE",
                      "把 `swift sft` 命令写入文件，再转成配置：swift-fa import FILE"),)
    elif name in _MS_SWIFTS:
        meant = (Text(f"use ms-swift's own `swift {name}`; swift-fa trains",
                      f"请用 ms-swift 自己的 `swift {name}`；swift-fa 只管训练"),)
    elif same := _COMMANDS.get(name.lower()) or next(iter(difflib.get_close_matches(name.lower(), COMMANDS, n=1)), None):
        meant = (" ".join(["swift-fa", same, shlex.join(rest)]).rstrip(),)
    raise UsageError("command-unknown", Text(f"there is no command {name}", f"没有命令 {name}"), hint=meant)


def meant_by_options(prog: str, words: Sequence[str], known: Mapping[str, bool], takes_settings: bool) -> tuple[Words, ...]:
    """For every option that the command does not have, what it may mean: a config, a setting, or an option of its own.

    known: the command's options, and whether each is a flag. prog: `swift-fa train`.
    """
    hints: list[Words] = []
    settings: list[str] = []
    for option, values in _unknown_options(words, known):
        if hint := _of_habit(prog, words, option, known, takes_settings):
            hints.append(hint)
        elif takes_settings and (setting := _option_as_setting(option.lstrip("-").replace("-", "_"), values, _list_of(prog))):
            settings.append(setting)
    hints += _extra_words(prog, words, known)
    if settings:
        line = " ".join(settings[:6])
        hints.append(Text(f"settings are written without dashes: {line}", f"设置的写法不带短横线：{line}"))
    if len(settings) > 2:
        hints.append(Text("or make a config of the whole command: swift-fa import FILE",
                          "或把整条命令转成配置：swift-fa import FILE"))
    return tuple(hints)


def _extra_words(prog: str, words: Sequence[str], known: Mapping[str, bool]) -> list[Words]:
    """What words behind those that the command takes were to be: a command to be imported, the file to write."""
    if prog == "swift-fa import" and ("sft" in words or any(word.startswith("--model") for word in words)):
        line = strike_assigned(shlex.join(words if "sft" in words else ["swift", "sft", *words]))
        return [f"echo {shlex.quote(line)} | swift-fa import -"]
    files = [word for word in words if re.search(r"\.(ya?ml|json|html|tar\.gz)$", word)]
    if "--out" in known and files and files[-1] == words[-1] and "--out" not in words:
        return [f"{prog} {shlex.join([*words[:-1], '--out', words[-1]])}"]
    return []


def meant_by_value(message: str, metavars: Mapping[str, str]) -> tuple[Words, ...]:
    """How to write an option whose value is missing or of another kind. metavars: what each option's value is called."""
    wrong = re.match(r"argument ([^:]*): (expected one|invalid int|invalid choice.*choose from '?(\w+))", message, re.S)
    if not wrong:
        return ()
    option = wrong[1].rpartition(", ")[2] if ", " in wrong[1] else wrong[1].rpartition("/")[2]
    if wrong[2] == "invalid int":
        return (f"{option} 2",)
    if wrong[3]:
        return (f"{option} {wrong[3]}",)
    name = metavars.get(option, "VALUE")
    return (Text(f"write its value behind it: {option} {name}", f"在它后面写上值：{option} {name}"),)


def _of_habit(prog: str, words: Sequence[str], option: str, known: Mapping[str, bool], takes_settings: bool) -> Words:
    """What an option of other programs is here: one of the command's own, a command, a config, or needless; empty for none."""
    name = option.lstrip("-").replace("-", "_")
    own, near = _OPTIONS.get(name), difflib.get_close_matches(option, [o for o in known if o.startswith("--")], n=1, cutoff=0.75)
    if own in known:
        return _retyped(prog, words, option, str(own))
    if near and not find_settings(name, near=False):
        return _retyped(prog, words, option, near[0])
    if name in _AS_COMMANDS.get(prog, {}):
        return _AS_COMMANDS[prog][name]
    if name in _NEEDLESS or (own == "--dry-run" and prog == "swift-fa preflight"):
        line = _retyped(prog, [word for word in words if word.partition("=")[0] != option], "", "")
        return Text(f"leave it out: {line}", f"不需要它：{line}")
    if takes_settings and name in (*_CONFIG_OPTIONS, *_OVERRIDE_OPTIONS):
        line = _retyped(prog, words, option, "")
        return Text(f"configs and settings are written without an option: {line}", f"配置文件和设置直接写出，不用选项：{line}")
    return ""


def _list_of(prog: str) -> str:
    """How several values are written: as one list, or where each is a run of its own."""
    return "{}" if prog.endswith("sweep") else "[{}]"


def _option_as_setting(name: str, values: Sequence[str], several: str) -> str:
    """The setting that an option means; empty where it means none that is known."""
    if name in _AS_SETTINGS:
        return _AS_SETTINGS[name]
    if name.startswith("no_") and not values:
        return setting_for(name[3:], ["false"])
    meant = len(name) > 1 and (values or find_settings(name, near=False) or name in _SWITCHES)
    return setting_for(name, values, several) if meant else ""


def _retyped(prog: str, words: Sequence[str], option: str, other: str) -> str:
    """The whole command with `other` in the option's place, or without it."""
    kept = (word.replace(option, other, 1) if word.partition("=")[0] == option else word for word in words)
    return strike_assigned(f"{prog} {shlex.join(word.lstrip('=') for word in kept if word)}")


def _unknown_options(words: Sequence[str], known: Mapping[str, bool]) -> Iterable[tuple[str, list[str]]]:
    """Each option that is not known, and the words behind it that may be its values; a YAML file or a setting is none, but for
    an option that names a config."""
    at = 0
    while at < len(words):
        option, equals, value = words[at].partition("=")
        at += 1
        if not re.match(r"--?[A-Za-z]", option) or option in known:
            at += option in known and not equals and not known[option]
            continue
        values = [value] if equals else []
        config = option.lstrip("-").replace("-", "_") in _CONFIG_OPTIONS
        while not equals and at < len(words) and not re.match(r"--?[A-Za-z]", words[at]) \
                and (config or not re.search(r"\.ya?ml$|^[\w]+\.[\w.]+=", words[at])):
            values.append(words[at])
            at += 1
        yield option, values


def setting_for(name: str, values: Sequence[str], several: str = "[{}]") -> str:
    """`swift.learning_rate=1e-4`: what `--learning_rate 1e-4`, or a word `lr=1e-4`, is as a setting, quoted for a shell."""
    section, _, rest = name.partition(".")
    key = name if rest and section in SECTIONS else next(iter(find_settings(name)), f"swift.{name}")
    if is_secret_name(key):
        return f"{key}=VALUE"
    value = "true" if not values else values[0] if len(values) == 1 else several.format(",".join(values))
    return quoted(f"{key}={value}")


def refuse_words(command: str, words: Sequence[str], setting: re.Pattern[str]) -> None:
    """Raises UsageError for a word that is neither a setting nor a file, where it is known what it was meant to be."""
    for at, word in enumerate(words):
        if setting.match(word):
            _refuse_torn(words, at)
        elif not Path(word).exists():
            _refuse_name_with_blanks(command, words, at)
            if command == "install":
                _refuse_install(word)
            _refuse_copied(command, words, at)
            _refuse_setting([_ascii(each) for each in words], at)
            _refuse_item(words, at, setting, _list_of(command))


def _ascii(word: str) -> str:
    """The word with the full-width signs of a Chinese keyboard as the shell's own."""
    return word.translate(str.maketrans("＝：，", "=:,"))


def _refuse_copied(command: str, words: Sequence[str], at: int) -> None:
    """What a page or a script leaves behind: dashes that a word processor has made long, a backslash that continues no line."""
    if words[at].strip() in ("", "\\"):
        raise UsageError("setting-invalid", Text("a backslash or a blank stands alone: a line was meant to go on",
                                                 "有单独的反斜杠或空格：换行续写没有生效"), hint=(
            Text("let nothing follow the backslash at the end of a line", "行末反斜杠之后不要有任何字符"),))
    if words[at][0] in "–—－−":
        option = "--" + words[at].lstrip("–—－−-")
        known = known_options(command)
        plain = Text(f"type two short dashes: {option}", f"请输入两个短横线：{option}")
        meant = (plain,) if option in known else meant_by_options(f"swift-fa {command}", [option, *words[at + 1:]], known, True)
        raise UsageError("option-invalid", Text(f"{words[at]} begins with a long dash, not with --",
                                                f"{words[at]} 以长破折号开头，而不是 --"), hint=meant)


def known_options(command: str) -> dict[str, bool]:
    """The options of a command, and whether each is a flag."""
    from swift_fa_launcher.commands.options import make_parser

    return make_parser(command, "en").known


def _refuse_install(word: str) -> None:
    """What pip would take behind `install`: the package's name, a version of it, a wheel."""
    named = re.fullmatch(r"(?:flash[-_]attn(?:[-_]\d)?)?(?:==|@)?(\d[\w.+]*)?", word)
    if word.endswith(".whl"):
        line = f"swift-fa install --wheel {shlex.quote(word)}"
    elif named:
        line = f"swift-fa install --version {named[1]}" if named[1] else "swift-fa install"
    else:
        return
    raise UsageError("option-invalid", Text(f"`install` is for flash-attn alone and takes no {word}",
                                            f"`install` 只安装 flash-attn，不需要写 {word}"), hint=(line,))


def _refuse_item(words: Sequence[str], at: int, setting: re.Pattern[str], several: str) -> None:
    """More values behind a setting: `swift.dataset=a.jsonl b.jsonl`, `swift.dataset= a.jsonl`."""
    before = next((i for i in range(at - 1, -1, -1) if setting.match(words[i])), None)
    if before is None or words[at].endswith((".yaml", ".yml", ".json")) or not all(
            not Path(word).exists() or not word.endswith((".yaml", ".yml")) for word in words[before + 1:at]):
        return
    key, _, value = words[before].partition("=")
    items = [bare for item in (value, *words[before + 1:at + 1]) if (bare := item.strip("[],"))]
    whole = f"{key}={items[0] if len(items) == 1 else several.format(','.join(items))}"
    raise UsageError("setting-invalid", Text(f"neither a setting nor a file: {words[at]}", f"既不是设置也不是文件：{words[at]}"),
                     hint=(Text(f"if it belongs to {key}: {quoted(whole)}", f"如果它属于 {key}：{quoted(whole)}"),))


def _refuse_torn(words: Sequence[str], at: int) -> None:
    """A list or group that the shell has taken apart at its blanks: `launch.gpus=[0, 1]`."""
    for end in range(at + 1, len(words) + 1):
        whole = " ".join(words[at:end])
        if all(whole.count(left) <= whole.count(right) for left, right in ("[]", "{}")):
            break
    if end > at + 1:
        raise UsageError("setting-invalid", Text(f"the shell has taken {whole} apart at its blanks",
                                                 f"shell 在空格处拆开了 {whole}"),
                         hint=(quoted(whole),))


def _refuse_name_with_blanks(command: str, words: Sequence[str], at: int) -> None:
    for end in range(at + 2, len(words) + 1):
        whole = " ".join(words[at:end])
        if Path(whole).is_file():
            raise UsageError("config-missing", Text(f"the shell has taken {whole} apart at its blanks",
                                                    f"shell 在空格处拆开了 {whole}"),
                             hint=(f"swift-fa {command} {shlex.quote(whole)}",))


def _refuse_setting(words: Sequence[str], at: int) -> None:
    word, behind = words[at], words[at + 1] if at + 1 < len(words) else ""
    key, equals, value = (part.strip() for part in re.sub(r"^[$\s+]+", "", word).partition("="))
    if (parted := re.fullmatch(r"~?(\w+)[./:]+([\w.]+)", key)) and parted[1] in SECTIONS and (equals or word[0] == "~"):
        key, equals, value = f"{parted[1]}.{parted[2]}", "=", value if equals else "null"  # as Hydra leaves one out
    is_key = re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+", key) and key.partition(".")[0] in SECTIONS
    if is_key and not equals and not key.endswith((".yaml", ".yml")):
        if behind[:1] == "=":
            value = behind[1:] or (words[at + 2] if at + 2 < len(words) else "VALUE")
            raise UsageError("setting-invalid", Text(f"no blank may stand beside the = of {key}", f"{key} 的 = 两边不能有空格"),
                             hint=(quoted(f"{key}={value}"),))
        raise UsageError("setting-without-value", Text(f"the setting {word} has no value", f"设置 {word} 没有给出值"),
                         hint=(Text(f"{word}=VALUE", f"{word}=值"), Text(f"{word}=null leaves it out",
                                                                        f"{word}=null 表示不设置")))
    if not equals and (found := find_settings(key, near=False)) and re.fullmatch(r"\w+", key):
        raise UsageError("setting-without-value", Text(f"the setting {found[0]} has no value", f"设置 {found[0]} 没有给出值"),
                         hint=(Text(f"{found[0]}=VALUE", f"{found[0]}=值"),))
    if all(Path(part).is_file() for part in word.split(",")):
        raise UsageError("config-missing", Text(f"there is no config {word}", f"配置文件 {word} 不存在"),
                         hint=(Text(f"part them with blanks: {shlex.join(word.split(','))}",
                                    f"用空格隔开：{shlex.join(word.split(','))}"),))
    colon = re.fullmatch(r"([A-Za-z_][\w.]*)[:：](.*)", word)
    if colon and not equals and (value := colon[2] or behind) and not word.endswith((".yaml", ".yml")):
        key, equals = colon[1], "="
    elif equals and not value and behind:
        value = behind
    if equals and re.fullmatch(r"[A-Za-z_][\w.-]*", key) and not Path(key).suffix.startswith((".y", ".js")):
        raise UsageError("setting-invalid", Text(f"neither a setting nor a file: {strike_assigned(word)}",
                                                 f"既不是设置也不是文件：{strike_assigned(word)}"), hint=(_meant(key, value),))


def _meant(key: str, value: str) -> str:
    section, dot, name = key.partition(".")
    value = "VALUE" if is_secret_name(name or key) else value
    if key in SECTIONS:
        switch = key == "swanlab" and value.lower() in ("true", "false", "1", "0", "on", "off", "yes", "no")
        return quoted(f"{key}.{'enabled' if switch else 'KEY'}={value}")
    if dot and section in SECTIONS:
        return quoted(f"{key}={value}")
    return setting_for(name if dot else key, [value] if value else [])
