"""Lines of advice: what of a line is typed, and whether the program or a shell accepts it."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from dataclasses import replace
from functools import cache

from machines import ARGUMENTS_4_6
from packaging.requirements import Requirement

from swift_fa_launcher.commands import COMMANDS
from swift_fa_launcher.commands.options import make_parser
from swift_fa_launcher.config.grid import split_values
from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.config.swift_args import accepts
from swift_fa_launcher.errors import LauncherError

SETTING = r"(?:swift|flash_attn|swanlab|launch|run|env|preflight)\.\w+="
#: Programs of others that lines name, and what each takes: as their own help says it.
PROGRAMS = {
    "nvidia-smi": r"(-L)?", "ss": r"-ltnp", "grep": r"\w+", "mount": r"-o remount,size=\d+G /dev/shm", "kill": r"-KILL [\w ]+",
    "wsl": r"--install", "git": r"lfs pull", "hostname": r"-I", "conda": r"install -c (nvidia|conda-forge) [\w.=-]+"
    r"|create -n \w+ python=[\d.]+|activate \w+", "modelscope": r"download --(model|dataset) \S+( --local_dir \S+)?",
    "hf": r"download (--repo-type (model|dataset) )?\S+|auth login", "swanlab": r"login( --relogin)?|sync \S+",
    "python": r"-m (venv( --system-site-packages)?|ensurepip)( \S+)?|-c .+", ".": r"\S+/activate", "apt": r"install \S+",
    "iconv": r"-f \S+ -t UTF-8 -o \S+ \S+"}
#: How what is typed begins; before a program there may be variables.
BEGINS = re.compile(rf"(?:[A-Z_]+=\S+ )*'?(?:{SETTING}|--\w|(?:export|unset|pip|\S+ -m (?:pip|venv|ensurepip)|swift-fa|"
                    rf"{'|'.join(map(re.escape, PROGRAMS))})(?: |$))")
#: Words for the reader's own: a file, a number, a name.
OWN = re.compile(r"[A-Z][A-Z_]*|[\u4e00-\u9fff]+(?:id)?")
PIP = {"install": {"-U", "--upgrade", "--force-reinstall", "--no-deps", "--no-build-isolation", "--no-cache-dir",
                   "--index-url"},
       "uninstall": {"-y"}, "check": set(), "cache": set()}
#: What looks typed wherever it stands.
ALIKE = re.compile(rf"{SETTING}|\b(?:swift-fa (?:import|{'|'.join(COMMANDS)})|pip (?:{'|'.join(PIP)})|export [A-Z])\b")
#: `swift sft`'s; model types are each version's own.
ARGUMENTS = {**ARGUMENTS_4_6, "model_type": replace(ARGUMENTS_4_6["model_type"], choices=None)}
#: Arguments that only other versions of ms-swift have.
OF_OTHERS = {"packing_cache", "model_id_or_path", "dtype", "use_flash_attn", "train_type"}


def typed(line: str) -> list[str]:
    """What of a line is typed: what stands between backquotes, and the rest of the line from where a command begins, without a
    remark in brackets behind two spaces. Raises AssertionError where something else looks so too."""
    text = re.split(" {2}[(（]", line)[0]
    quoted = [part for part in re.findall(r"`([^`]+)`", text) if BEGINS.match(part)]
    text = re.sub(r"`[^`]+`", "…", text)
    start = next((at.end() for at in re.finditer(r"^|: |：", text) if BEGINS.match(text, at.end())
                  and len(re.findall("[(（]", text[:at.end()])) == len(re.findall("[)）]", text[:at.end()]))), len(text))
    assert not ALIKE.search(text[:start]), f"typed or not? {line}"
    return [*quoted, *filter(None, [text[start:]])]


@cache
def accept(command: str) -> None:
    """Raises AssertionError, ValueError or LauncherError where a shell or the program does not accept what is typed."""
    assert not re.search(r"[\[*?{]", re.sub(r"'[^']*'", "", command)), f"a shell may read more than words: {command}"
    assert parses(command), f"no shell accepts this: {command}"
    tokens = [*shlex.shlex(command, posix=True, punctuation_chars=True)]
    signs = {*"".join(token for token in tokens if set(token) <= set("();<>|&"))}
    assert signs <= {"&", "|"}, f"a shell reads more than words: {command}"
    for part in re.split(r" && | \| ", command):
        accept_words(shlex.split(part))


def parses(command: str) -> bool:
    return subprocess.run(["sh", "-n"], input=command, text=True, stderr=subprocess.DEVNULL, check=False).returncode == 0


def accept_words(words: list[str]) -> None:
    """One command without operators."""
    while re.fullmatch(r"[A-Z_]+=\S+", words[0]) and len(words) > 1:
        words = words[1:]
    first, rest = words[0], words[1:]
    if re.match(SETTING, first) or first == "KEY=null":
        accept_settings(words)
    elif first.startswith("--"):
        assert any(first.partition("=")[0] in make_parser(name, "en")._option_string_actions for name in COMMANDS), first
    elif first == "swift-fa":
        accept_own(rest)
    elif first in ("export", "unset"):
        assert rest and all(re.fullmatch(r"[A-Za-z_]\w*" + ("=.+" if first == "export" else ""), word) for word in rest), words
    elif first == "pip" or words[1:3] == ["-m", "pip"]:
        accept_pip(rest if first == "pip" else words[3:])
    else:
        program = "python" if re.search(r"python[\d.]*$", first) else first
        if program == "python" and rest[0] == "-c":
            ast.parse(rest[1])
        assert program in PROGRAMS and re.fullmatch(PROGRAMS[program], " ".join(rest)), f"unknown program or words: {words}"


def accept_own(words: list[str]) -> None:
    if words[0] in ("--help", "COMMAND"):
        return
    if words[0] == "import" and words[0] not in COMMANDS:  # of the contract, which another change brings
        assert len(words) == 2, words
        return
    assert words[0] in COMMANDS, words
    if words[1:] != ["--help"]:
        make_parser(words[0], "en").parse_intermixed_args(words[1:])
    settings = [word for word in words if re.match(SETTING, word)]
    accept_settings([one for word in settings for one in split_values(word)] if words[0] == "sweep" else settings)


def accept_pip(words: list[str]) -> None:
    assert words[0] in PIP, words
    if words[0] == "cache":
        assert words[1:] == ["purge"]
        return
    options = {word for word in words[1:] if word.startswith("-")}
    assert options <= PIP[words[0]], words
    for word in words[1:]:
        if word not in options and not word.startswith(("https://", "git+https://")):
            Requirement(re.sub(r"==[A-Z\u4e00-\u9fff]+$", "==7", word))


def accept_settings(words: list[str]) -> None:
    """Settings that stand on one command line: the launcher reads them, and ms-swift 4.6 has these arguments and takes their
    values."""
    words = [re.sub(r"\$\{oc\.env:\w+\}", "2", word) for word in words]  # a variable that the platform sets
    for word in words:
        assert re.match(SETTING, word) or word == "KEY=null", f"words among the settings: {words}"
        key, _, value = word.partition("=")
        if OWN.fullmatch(value):
            assert any(is_accepted(f"{key}={sample}") for sample in ("x", "7")), word
        else:
            assert is_accepted(word), word
    resolve_config([], [word for word in words if not OWN.fullmatch(word.partition("=")[2])])


def is_accepted(word: str) -> bool:
    section, _, name = word.partition("=")[0].partition(".")
    try:
        config = resolve_config([], [word])
    except LauncherError:
        return False
    return section != "swift" or name in OF_OTHERS or (name in ARGUMENTS and accepts(ARGUMENTS[name], config.swift[name]) is None)
