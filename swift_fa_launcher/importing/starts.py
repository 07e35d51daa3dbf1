"""Which of a script's commands train, and what each says: arguments, variables, its launch, what Slurm is asked for. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from swift_fa_launcher.errors import Text
from swift_fa_launcher.importing.evaluate import Note, Ran, Setting, run_script
from swift_fa_launcher.importing.parse import Comment, Script, ShellError, parse_script
from swift_fa_launcher.importing.values import (
    Env,
    Field,
    Value,
    assumed,
    make_value,
    shown,
    text_of,
    unknowns,
    unveiled,
    veiled,
)

#: Variables that `launch` has keys for, and those keys.
LAUNCH_KEYS = {"NPROC_PER_NODE": "nproc_per_node", "NNODES": "nnodes", "NODE_RANK": "node_rank", "MASTER_ADDR": "master_addr",
               "MASTER_PORT": "master_port", "CUDA_VISIBLE_DEVICES": "gpus"}
_WHOLE = ("nproc_per_node", "nnodes", "node_rank", "master_port")


@dataclass(frozen=True)
class Given:
    """One argument. values: none for a switch that stands alone."""

    name: str
    values: tuple[Value, ...]
    line: int


@dataclass(frozen=True)
class Training:
    """One command that trains, taken apart.

    arguments: of `swift sft`, each name once. env, launch, slurm: what goes to these sections; slurm None where Slurm does not
    start it. file: the YAML that it names as its first word. direct: it starts ms-swift's script itself, so that NPROC_PER_NODE
    and its like are not read. ran: the command itself.
    """

    arguments: tuple[Given, ...]
    env: Mapping[str, Setting]
    launch: Mapping[str, Setting]
    slurm: Mapping[str, tuple[str, ...]] | None
    line: int
    last_line: int
    file: Value | None = None
    direct: bool = False
    when: tuple[int, ...] = ()
    folder: Setting | None = None
    before: tuple[tuple[int, str], ...] = ()
    notes: tuple[Note, ...] = ()
    comments: tuple[Comment, ...] = ()
    said: str = ""


@dataclass
class _Reading:
    """What is found while a command is taken apart."""

    launch: dict[str, Setting] = field(default_factory=dict)
    slurm: dict[str, tuple[str, ...]] = field(default_factory=dict)
    on_slurm: bool = False
    notes: list[Note] = field(default_factory=list)

    def note(self, line: int, text: Text) -> None:
        self.notes.append(Note(line, text))


def find_trainings(script: Script, path: str | None = None) -> tuple[Training, ...]:
    """Every command of the script that runs `swift sft`, in order. Raises ShellError: it cannot be followed, or has none."""
    found, ran = _look_through(script, path)
    if not found:
        raise _none(ran)
    return found


def _look_through(script: Script, path: str | None, outer: Ran | None = None) -> tuple[tuple[Training, ...], tuple[Ran, ...]]:
    """The trainings, and all commands. outer: the command that is handed the script, and hands on what it was given."""
    batch, passed = _Reading(), dict(outer.env) if outer else {}
    if any(comment.text.startswith("SBATCH") for comment in script.comments):
        _read_sbatch(script.comments, batch)
    if outer and _name(outer.words[0]) == "sbatch":
        batch.on_slurm = True
        _read_slurm(outer.words[1:], batch, batch=True)  # sbatch's own options win over the script's
        passed = {} if any(word.text == "--export=NONE" for word in outer.words) else passed
    told = {name: text for name, setting in passed.items() if (text := text_of(setting.value)) is not None}
    ran, notes = run_script(script, path, {**told, **_slurms_own(batch)})
    comments = tuple(comment for comment in script.comments if not re.match(r"SBATCH\b|!", comment.text))
    lost = _lost(ran, script)
    found: list[Training] = []
    for one in (replace(each, env={k: v for k, v in passed.items() if k not in each.unset} | {**each.env}) for each in ran):
        inner = _handed_on(one)
        if inner is not None:
            found += _look_through(inner, None, one)[0]
        elif training := _take_apart(one, batch):
            found.append(replace(training, notes=(*notes, *lost, *training.notes), comments=comments))
    return tuple(found), ran


def arguments_of(words: Sequence[Field], line: int) -> Training | None:
    """The training that one command is; None for any other. Raises ShellError."""
    return _take_apart(Ran(tuple(words), {}, line), _Reading()) if words else None


def _handed_on(ran: Ran) -> Script | None:
    """The script that a here-document hands to bash or sbatch."""
    kept: list[Env] = []
    inner = veiled(ran.given or (), kept)
    return parse_script(inner) if inner and not kept and _name(ran.words[0]) in ("sbatch", "bash", "sh") else None


# --- which commands train ---

_METHODS = ("pt", "rlhf", "infer", "merge-lora", "merge_lora", "web-ui", "web_ui", "deploy", "rollout", "sample", "export",
            "eval", "app")


def _name(word: Field | None) -> str:
    """The last part of a program's path."""
    return ((word.text if word else None) or "").rpartition("/")[2]


def _is_python(words: Sequence[Field]) -> bool:
    said = assumed(words[0].value)  # `$PYTHON -m …`: whichever it is
    return bool(re.fullmatch(r"python[\d.]*", (said or "").rpartition("/")[2])) or \
        (said is None and len(words[0].value) == 1 and len(words) > 2 and words[1].text == "-m")


def _take_apart(ran: Ran, batch: _Reading) -> Training | None:
    """The training that a command is; None for any other command."""
    for at in range(min(len(ran.words), 60)):
        words = ran.words[at:]
        reading = _Reading(dict(batch.launch), dict(batch.slurm), batch.on_slurm, list(batch.notes))
        found = _training_words(words, reading)
        if found is None:
            continue
        if any(word.text is not None and word.text.startswith("-") for word in ran.words[:1]):
            return None
        env = dict(ran.env)
        _read_wrappers(ran.words[:at], reading, env)
        rest, direct, torchrun = found
        return _make(ran, rest, direct, torchrun, env, reading)
    return None


def _training_words(words: Sequence[Field], reading: _Reading) -> tuple[Sequence[Field], bool, bool] | None:
    """The words behind `sft`, whether ms-swift's script is started directly, whether by torchrun; None for no training."""
    name, second = _name(words[0]), words[1].text if len(words) > 1 else None
    if name == "swift" and second == "sft":
        return words[2:], False, False
    if name in _LAUNCHERS and (name != "accelerate" or second == "launch"):
        options, program = _LAUNCHERS[name]
        return _behind(_launcher(words[2 if name == "accelerate" else 1:], options, reading, program), reading)
    if not _is_python(words):
        return None
    rest = list(words[1:])
    while rest and re.fullmatch(r"-[uBEsIO]+", rest[0].text or ""):
        rest.pop(0)
    if len(rest) > 1 and rest[0].text == "-m":
        module = rest[1].text or ""
        if module in _MODULES:
            options, program = _LAUNCHERS[_MODULES[module]]
            return _behind(_launcher(rest[2:], options, reading, program), reading)
    return _program(rest)


def _program(words: Sequence[Field]) -> tuple[Sequence[Field], bool, bool] | None:
    """ms-swift's own program behind `python`: its main, which reads NPROC_PER_NODE, or its script."""
    first, second = (words[i].text if len(words) > i else None for i in (0, 1))
    if first == "-m" and second in ("swift.cli.main", "swift.cli") and len(words) > 2 and words[2].text == "sft":
        return words[3:], False, False
    if first == "-m" and second == "swift.cli.sft":
        return words[2:], True, False
    path = first if first is not None else next((p for p in reversed(words[0].value) if isinstance(p, str)), "") if words else ""
    if re.search(r"(^|/)swift/cli/main\.py$", path) and second == "sft":
        return words[2:], False, False
    if re.search(r"(^|/)cli/sft\.py$|^sft\.py$", path):
        return words[1:], True, False
    return None


def _behind(words: Sequence[Field] | None, reading: _Reading) -> tuple[Sequence[Field], bool, bool] | None:
    """What a launcher of processes starts."""
    if words is None:
        return None
    found = _program(words)
    if found is None and words and re.search(r"(^|/)sft\.py$", words[0].text or ""):
        reading.note(words[0].line, Text(f"{words[0].text} is taken for ms-swift's own swift/cli/sft.py",
                                         f"{words[0].text} 按 ms-swift 自己的 swift/cli/sft.py 处理"))
        return words[1:], True, True
    if found is None or not found[1]:
        return None
    return found[0], True, True


# --- launchers of processes ---

#: Options of each: the key of `launch` that it is, "" for one that changes nothing here, "?" for one that cannot be kept (and is
#: told), "!" for one that decides too much. A trailing space: it takes no value.
_TORCHRUN = {"nproc_per_node": "nproc_per_node", "nnodes": "nnodes", "node_rank": "node_rank", "master_addr": "master_addr",
             "master_port": "master_port", "standalone": " ", "rdzv_backend": "?", "rdzv_id": "?", "rdzv_endpoint": "rdzv",
             "rdzv_conf": "?", "max_restarts": "?", "monitor_interval": "?", "start_method": "?", "role": "?", "log_dir": "?",
             "redirects": "?", "tee": "?", "local_addr": "?", "local_ranks_filter": "?", "module": "module", "no_python": "!",
             "run_path": "! ", "use_env": " "}
_DEEPSPEED = {"num_gpus": "nproc_per_node", "num_nodes": "nnodes", "node_rank": "node_rank", "master_addr": "master_addr",
              "master_port": "master_port", "include": "include", "exclude": "!", "hostfile": "!", "no_local_rank": " ",
              "no_ssh": " ", "launcher": "!", "launcher_args": "!", "autotuning": "!", "module": " ",
              "bind_cores_to_rank": "? ", "enable_each_rank_log": "?", "no_ssh_check": " ", "force_multi": " "}
_ACCELERATE = {"num_processes": "processes", "num_machines": "nnodes", "machine_rank": "node_rank",
               "main_process_ip": "master_addr", "main_process_port": "master_port", "gpu_ids": "gpus", "mixed_precision": "?",
               "multi_gpu": " ", "config_file": "!",
               "use_deepspeed": "! ", "use_fsdp": "! ", "use_megatron_lm": "! ", "same_network": " ", "dynamo_backend": "?",
               "num_cpu_threads_per_process": "?", "rdzv_backend": "?", "module": " ", "cpu": "? ", "debug": " ", "tee": "?",
               "max_restarts": "?", "log_dir": "?", "main_training_function": "?"}
_LAUNCHERS = {"torchrun": (_TORCHRUN, "torchrun"), "deepspeed": (_DEEPSPEED, "deepspeed"),
              "accelerate": (_ACCELERATE, "accelerate launch")}
_MODULES = {"torch.distributed.run": "torchrun", "torch.distributed.launch": "torchrun", "deepspeed": "deepspeed",
            "deepspeed.launcher.runner": "deepspeed", "accelerate.commands.launch": "accelerate"}
_SHORT = {"r": "redirects", "t": "tee", "m": "module", "i": "include", "e": "exclude", "H": "hostfile"}


def _launcher(words: Sequence[Field], options: Mapping[str, str], reading: _Reading, program: str) -> Sequence[Field] | None:
    """The words behind the options of a launcher, which go to `launch`."""
    at, module = 0, False
    values: dict[str, Setting] = {}
    while at < len(words):
        word = words[at]
        kept: list[Env] = []
        match = re.fullmatch(r"--?([A-Za-z][\w-]*)(?:=(.*))?", veiled(word.value, kept), re.S)
        if not match:
            break
        name = _SHORT.get(match[1], match[1].replace("-", "_"))
        means = options.get(name)
        if means is None:
            raise ShellError(word.line, Text(f"{program}'s option --{name} is not known here",
                                             f"不认识 {program} 的选项 --{name}"))
        alone = means.endswith(" ") or (name == "module" and program == "torchrun")
        value = unveiled(match[2], kept) if match[2] is not None else None
        if value is None and not alone:
            at += 1
            value = words[at].value if at < len(words) else ()
        at += 1
        means = means.strip()
        if means == "!":
            raise ShellError(word.line, Text(f"{program}'s option --{name} has no equal in a config: write what it says under "
                                             "launch: or swift:",
                                             f"{program} 的选项 --{name} 在配置中没有对应，请把其内容写到 launch: 或 swift: 下"))
        module = module or name == "module"
        if means == "?":
            reading.note(word.line, Text(f"{program}'s --{name} is left out", f"略去 {program} 的 --{name}"))
        elif means and means != "module":
            values[means] = Setting(value or (), word.line)
    line = words[0].line if words else 0
    if program == "torchrun":
        values.setdefault("nproc_per_node", Setting(("1",), line))
    _keep_launch(values, reading, program)
    rest = list(words[at:])
    return [Field(("-m",), line), *rest] if module else rest


def _keep_launch(values: dict[str, Setting], reading: _Reading, program: str) -> None:
    if rdzv := values.pop("rdzv", None):
        kept: list[Env] = []
        host, colon, port = veiled(rdzv.value, kept).rpartition(":")
        if colon:
            values.setdefault("master_addr", Setting(unveiled(host, kept), rdzv.line))
            values.setdefault("master_port", Setting(unveiled(port, kept), rdzv.line))
    if include := values.pop("include", None):
        match = re.fullmatch(r"localhost:([\d,]+)", text_of(include.value) or "")
        if not match:
            raise ShellError(include.line, Text("only --include localhost:0,1,… can be followed",
                                                "只支持 --include localhost:0,1,…"))
        values["gpus"] = Setting((match[1],), include.line)
        values.setdefault("nproc_per_node", Setting((str(len(match[1].split(","))),), include.line))
    if processes := values.pop("processes", None):
        count, nodes = (assumed(one.value) if one else "1" for one in (processes, values.get("nnodes")))
        if not (count and nodes and count.isdecimal() and nodes.isdecimal() and int(nodes)):
            raise ShellError(processes.line, Text("--num_processes must be a number that is known",
                                                  "--num_processes 必须是已知的数字"))
        values["nproc_per_node"] = Setting((str(int(count) // int(nodes)),), processes.line)
    if values.get("nnodes") and text_of(values["nnodes"].value) == "1" and program != "torchrun":
        del values["nnodes"]
    for key, setting in values.items():
        text = text_of(setting.value)
        if key in _WHOLE and text is not None and not text.isdecimal():
            raise ShellError(setting.line, Text(f"{program}: {key} is {text}, not a number",
                                                f"{program}：{key} 是 {text}，不是数字"))
        reading.launch[key] = setting


# --- wrappers, Slurm ---

_SLURM_SHORT = {"p": "partition", "t": "time", "A": "account", "q": "qos", "C": "constraint", "x": "exclude",
                "c": "cpus-per-task", "N": "nodes", "J": "job-name", "o": "output", "e": "error", "n": "ntasks", "w": "nodelist",
                "G": "gpus", "i": "input", "D": "chdir", "d": "dependency", "u": "unbuffered", "l": "label",
                "K": "kill-on-bad-exit"}
_SLURM_KEYS = ("partition", "time", "account", "qos", "constraint", "exclude", "mem", "cpus_per_task", "gpus_per_node", "gres")
#: What the launcher decides by itself: one task a node, its own log.
_SLURM_OURS = ("ntasks", "ntasks-per-node", "output", "error", "input", "open-mode", "unbuffered", "label", "kill-on-bad-exit",
               "jobid", "export", "wait", "no-kill", "requeue", "gpus-per-task", "cpu-bind", "mpi", "exact", "overlap")
_SWITCHES = ("unbuffered", "label", "exclusive", "requeue", "no-requeue", "overcommit", "exact", "overlap", "hold", "no-kill")


def _read_sbatch(comments: Iterable[Comment], reading: _Reading) -> None:
    reading.on_slurm = True
    for comment in comments:
        if re.match(r"SBATCH\s", comment.text):
            try:
                words = shlex.split(comment.text[6:], comments=True)
            except ValueError:
                raise ShellError(comment.line, Text("a quote on this #SBATCH line is not closed",
                                                    "这一行 #SBATCH 的引号没有闭合")) from None
            _read_slurm([Field((word,), comment.line) for word in words], reading, batch=True)


def _read_slurm(words: Sequence[Field], reading: _Reading, *, batch: bool) -> int:
    """Options of sbatch or srun; how many words they are."""
    at = 0
    while at < len(words):
        match = re.fullmatch(r"--([a-z-]+)(?:=(.*))?|-([a-zA-Z])(.*)", text_of(words[at].value) or "", re.S)
        if not match:
            break
        name = match[1] or _SLURM_SHORT.get(match[3], match[3])
        value, line = match[2] if match[1] else match[4].removeprefix("=") or None, words[at].line
        at += 1
        if value is None and name not in _SWITCHES and at < len(words) and not (words[at].text or "").startswith("-"):
            value = words[at].text
            at += 1
        _keep_slurm(name, value, line, reading, batch=batch)
    return at


def _keep_slurm(name: str, value: str | None, line: int, reading: _Reading, *, batch: bool) -> None:
    key = name.replace("-", "_")
    if name == "nodes" and value:
        reading.launch["nnodes"] = Setting((value.partition("-")[0],), line)
    elif name == "gpus" and value and value.rpartition(":")[2].isdecimal():
        nodes = int(text_of(reading.launch["nnodes"].value) or 1) if "nnodes" in reading.launch else 1
        reading.slurm["gpus_per_node"] = (str(int(value.rpartition(":")[2]) // nodes),)
    elif key in _SLURM_KEYS and value is not None:
        reading.slurm[key] = (value,)
    elif name == "job-name" and value:
        reading.slurm["job_name"] = (value,)
    elif name in _SLURM_OURS or not batch:
        if name not in ("ntasks", "ntasks-per-node", "output", "error"):
            reading.note(line, Text(f"Slurm's --{name} is left out: the launcher starts one task on each node and keeps the log",
                                    f"略去 Slurm 的 --{name}：启动器在每个节点启动一个任务，并自己保存日志"))
    else:
        reading.slurm["extra"] = (*reading.slurm.get("extra", ()), f"--{name}" + (f"={value}" if value is not None else ""))


def _gpus_per_node(slurm: Mapping[str, tuple[str, ...]]) -> str | None:
    gres = re.search(r"gpu(?::[\w-]+)?:(\d+)", ",".join(slurm.get("gres", ())))
    per_node = re.fullmatch(r"(?:[\w-]+:)?(\d+)", "".join(slurm.get("gpus_per_node", ())))
    return gres[1] if gres else per_node[1] if per_node else None


def _slurms_own(batch: _Reading) -> dict[str, str]:
    """What Slurm sets in the job that the script's own lines ask for."""
    if not batch.on_slurm:
        return {}
    nodes = text_of(batch.launch["nnodes"].value) if "nnodes" in batch.launch else "1"
    gpus, cpus = _gpus_per_node(batch.slurm), "".join(batch.slurm.get("cpus_per_task", ()))
    told = {"SLURM_NNODES": nodes, "SLURM_JOB_NUM_NODES": nodes, "SLURM_GPUS_ON_NODE": gpus, "SLURM_GPUS_PER_NODE": gpus,
            "SLURM_CPUS_PER_TASK": cpus or None}
    return {name: value for name, value in told.items() if value}


#: Words before a command that change nothing of what it does here.
_NO_MATTER = ("nohup", "time", "exec", "command", "setsid", "unbuffer", "stdbuf", "env", "srun", "sudo")


def _read_wrappers(words: Sequence[Field], reading: _Reading, env: dict[str, Setting]) -> None:
    at = 0
    while at < len(words):
        name = _name(words[at])
        if name == "srun":
            reading.on_slurm = True
            at += 1 + _read_slurm(words[at + 1:], reading, batch=False)
        elif name == "env":
            at += 1
            while at < len(words):
                kept: list[Env] = []
                variable, equals, value = veiled(words[at].value, kept).partition("=")
                if equals and variable.isidentifier():
                    env[variable] = Setting(unveiled(value, kept), words[at].line)
                elif variable in ("-u", "--unset") and at + 1 < len(words):
                    at += 1
                    env.pop(words[at].text or "", None)
                elif not variable.startswith("-"):
                    break
                at += 1
        else:
            if name not in _NO_MATTER and not (words[at].text or "-").startswith("-") and not name.isdecimal():
                reading.note(words[at].line, Text(f"{name} before the command is left out", f"略去命令之前的 {name}"))
            at += 1


# --- arguments ---


def _make(ran: Ran, words: Sequence[Field], direct: bool, torchrun: bool, env: dict[str, Setting], reading: _Reading) -> Training:
    file, words = _config_file(words)
    arguments = _arguments(words, reading)
    launch = dict(reading.launch)
    for name, key in LAUNCH_KEYS.items():
        setting = env.get(name)
        if setting is None or (key == "gpus" and key in launch):
            continue
        if torchrun and key != "gpus":
            del env[name]  # torchrun and its like do not look at it
        elif direct and key != "gpus":
            reading.note(setting.line, Text(f"{name} is left out: swift/cli/sft.py itself does not read it",
                                            f"略去 {name}：swift/cli/sft.py 本身不读取它"))
            del env[name]
        elif fits_launch(key, setting.value, env):
            launch[key] = setting
            del env[name]
    if reading.on_slurm:
        launch = _on_slurm(launch, reading)
    lines = [ran.line, *(word.line for word in ran.words), *(setting.line for setting in env.values())]
    slurm = reading.slurm if reading.on_slurm else None
    return Training(arguments, env, launch, slurm, ran.line, max(lines), file, direct and not torchrun, ran.when, ran.folder,
                    ran.before, tuple(reading.notes), said=" ".join(shown(word.value) for word in ran.words))


def fits_launch(key: str, value: Value, env: Mapping[str, Setting]) -> bool:
    """Whether `launch` can say the same."""
    text = text_of(value)
    if key == "gpus":
        order = env.get("CUDA_DEVICE_ORDER")
        return text is not None and bool(re.fullmatch(r"(0|[1-9]\d*)(,(0|[1-9]\d*))*", text)) and \
            (order is None or text_of(order.value) == "PCI_BUS_ID")
    return bool(value) if key == "master_addr" or text is None else bool(re.fullmatch(r"0|[1-9]\d*", text))


def _on_slurm(launch: dict[str, Setting], reading: _Reading) -> dict[str, Setting]:
    """What the launcher finds out on the job's nodes itself is left to it."""
    for key in ("node_rank", "master_addr", "master_port", "nnodes", "nproc_per_node"):
        setting = launch.get(key)
        if setting is None:
            continue
        open_ = [*unknowns(setting.value)]
        if key in ("node_rank", "master_addr") or open_:
            reading.note(setting.line, Text(f"launch.{key} is left to the launcher, which asks Slurm",
                                            f"launch.{key} 由启动器向 Slurm 询问"))
            del launch[key]
    gpus = _gpus_per_node(reading.slurm)
    if "nproc_per_node" not in launch and gpus and "nnodes" in launch:
        launch["nproc_per_node"] = Setting((gpus,), 0)
    return launch


def _config_file(words: Sequence[Field]) -> tuple[Value | None, Sequence[Field]]:
    """ms-swift takes a YAML or JSON as the first word (swift/cli/main.py, parse_yaml_args)."""
    if words and words[0].text == "--config" and len(words) > 1:
        return words[1].value, words[2:]
    last = words[0].value[-1] if words and words[0].value else ""
    if isinstance(last, str) and last.endswith((".yaml", ".yml", ".json")) and not last.startswith("-"):
        return words[0].value, words[1:]
    return None, words


def _arguments(words: Sequence[Field], reading: _Reading) -> tuple[Given, ...]:
    found: dict[str, Given] = {}
    name, values, line = "", [], 0  # type: ignore[var-annotated]

    def keep() -> None:
        if not name:
            return
        if name in found:
            reading.note(line, Text(f"--{name} stands twice; the last one counts, as for ms-swift",
                                    f"--{name} 出现了两次；与 ms-swift 一样，以最后一次为准"))
            del found[name]
        found[name] = Given(name, tuple(values), line)

    for word in _opened(words, reading):
        kept: list[Env] = []
        match = re.fullmatch(r"--([A-Za-z][\w-]*)(?:(=)(.*))?", veiled(word.value, kept), re.S)
        if match and not (match[2] is None and kept):
            keep()
            name, line = match[1].replace("-", "_"), word.line
            values = [unveiled(match[3], kept)] if match[2] else []
            continue
        if word.text is not None and _lone(word.text, last=word is words[-1]):
            raise ShellError(word.line, _BLANK if word.text in (" ", "\t") else
                             Text(f"{word.text!r} is not an argument of swift sft", f"{word.text!r} 不是 swift sft 的参数"))
        if not name:
            raise ShellError(word.line, Text(f"{word.text or 'an unknown word'} stands before the first --argument",
                                             f"{word.text or '未知的词'} 出现在第一个 --参数 之前"))
        if word.pattern:
            reading.note(word.line, Text(f"the shell would put the files that match in the place of {word.text}: name them",
                                         f"shell 会把 {word.text} 换成匹配的文件名：请逐个写出"))
        values.append(word.value)
    keep()
    return tuple(found.values())


_BLANK = Text("a blank follows the backslash, so the command ends there", "反斜杠后面有空格，命令在这里结束")


def _lone(text: str, *, last: bool) -> bool:
    """A word that is neither an argument nor a value of one, as argparse tells them apart. A blank at the end is what a
    backslash makes of it."""
    return (last and text in (" ", "\t")) or text in ("\\", "--") or (
        text.startswith("-") and text != "-" and " " not in text and not re.fullmatch(r"-\d+|-\d*\.\d+", text))


def _opened(words: Sequence[Field], reading: _Reading) -> Iterable[Field]:
    """The words; an unknown one that may be several, or none, is taken as its default says, or left out."""
    begun = False
    for word in words:
        if not word.vague:
            begun = bool(re.match(r"--[A-Za-z][\w-]*$", word.text or ""))
            yield word
            continue
        default = assumed(word.value)
        if default is None and begun:
            yield word
        elif default is None or not default.strip() or default.strip().startswith("--"):
            names = ", ".join(dict.fromkeys(env.name for env in unknowns(word.value)))
            for text in (default or "").split():
                yield Field(make_value([text]), word.line)
            if default is None:
                reading.note(word.line, Text(f"{names}, which the script does not set, is left out: write its arguments under "
                                             "swift:", f"脚本没有设置 {names}，已略去：请把其中的参数写到 swift: 下"))
        else:
            yield word
        begun = False


# --- what is not there ---


def _none(ran: Sequence[Ran]) -> ShellError:
    """Why a script has no training in it."""
    for one in ran:
        for at, word in enumerate(one.words):
            second = one.words[at + 1].text if at + 1 < len(one.words) else None
            if _name(word) == "megatron" and second in ("sft", "pt", "rlhf", "export"):
                return ShellError(one.line, Text(f"megatron {second} is another trainer with other arguments: swift-fa starts "
                                                 "swift sft only",
                                                 f"megatron {second} 是另一个训练程序，参数不同：swift-fa 只启动 swift sft"))
            if _name(word) == "swift" and second in _METHODS:
                return ShellError(one.line, Text(f"this is swift {second}: swift-fa starts swift sft only",
                                                 f"这是 swift {second}：swift-fa 只启动 swift sft"))
    return ShellError(0, Text("there is no swift sft command in it", "其中没有 swift sft 命令"))


def _lost(ran: Sequence[Ran], script: Script) -> tuple[Note, ...]:
    """Lines of arguments that no command takes: a comment or an empty line within the chain has cut them off."""
    comments = {comment.line for comment in script.comments}
    notes = []
    for one in ran:
        text = one.words[0].text or ""
        if re.match(r"--?[A-Za-z]", text):
            why = Text("the line before it does not go on (no backslash at its very end)", "前一行末尾没有反斜杠，命令已结束")
            if one.line - 1 in comments:
                why = Text(f"the comment on line {one.line - 1} ends the command before it",
                           f"第 {one.line - 1} 行的注释结束了前面的命令")
            notes.append(Note(one.line, Text(f"{text} … is not part of the command: {why.en}",
                                             f"{text} … 不属于该命令：{why.zh}")))
    return tuple(dict.fromkeys(notes))
