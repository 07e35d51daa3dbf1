"""Given to `swift sft` through --external_plugins: carries out, inside the training, what its arguments cannot say.

Loaded by the training's interpreter, where the launcher may not be installed: standard library, and what training has;
Python 3.8 and later. Told what to do by one variable, `SWIFT_FA_PLUGIN`: a JSON object with one entry per concern;
secrets are in variables of their own. The file has a name of its own because ms-swift before 4.6 imports plugins by
name alone, where the second `plugin.py` would silently be the first.

What it says begins with `swift-fa: ` and is for people; the launcher reads the files that it writes.
"""
# mypy: disable-error-code="import-not-found,import-untyped,misc"

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    Job = dict[str, Any]  # a concern's entry

VARIABLE = "SWIFT_FA_PLUGIN"
BEGUN = "swift_fa_begun"
LOGIN_PAUSES = (1.0, 3.0)  # seconds between the tries to reach SwanLab's server


def start() -> None:
    """Begins every concern that the variable names. A concern that cannot begin ends the training, on one line."""
    if BEGUN in sys.modules:
        return  # a rehearsal trains twice in one process: everything is in its place already
    from torch.utils.data import get_worker_info

    if get_worker_info() is not None:
        return  # ms-swift 4.6 loads plugins once more in each dataloader worker that it spawns
    sys.modules[BEGUN] = sys
    for name, job in json.loads(os.environ.get(VARIABLE, "{}")).items():
        CONCERNS[name](job)


def say(words: str) -> None:
    print("swift-fa: " + words, flush=True)


def stop(words: str) -> NoReturn:
    """Ends the training with exit code 1 and one line instead of a traceback."""
    sys.exit("swift-fa: " + words)


def is_first_process() -> bool:
    return os.environ.get("RANK", "-1") in ("-1", "0")


# SwanLab


def start_swanlab(job: Job) -> None:
    """Puts a callback that does what the config says in the place of the one that ms-swift takes from SwanLab.

    ms-swift (3.8 to 4.6) imports SwanLabCallback only when it has parsed its arguments, after plugins were loaded.
    """
    try:
        from swanlab.integration import transformers as integration
        from transformers.integrations import INTEGRATION_TO_CALLBACK
    except Exception as error:  # not installed, or a settings file that it cannot read
        stop(f"SwanLab cannot be imported: {one_line(error)}")

    class Callback(integration.SwanLabCallback):
        def __init__(self, **given: Any) -> None:
            names = {name: value for name, value in {**job["names"], **given}.items() if value is not None}
            if is_first_process():
                prepare_swanlab(job, names)
            super().__init__(**{**names, "mode": job["mode"]})
            self.announced = False

        def setup(self, args: Any, state: Any, model: Any = None, **more: Any) -> None:
            super().setup(args, state, model, **more)
            if not self.announced and state.is_world_process_zero:
                announce_run(job)
                self.announced = True

    integration.SwanLabCallback = Callback
    INTEGRATION_TO_CALLBACK["swanlab"] = Callback  # for `report_to all`, where ms-swift does not set it


def prepare_swanlab(job: Job, names: Job) -> None:
    """Gives the config's settings the highest rank before anything is sent, and asks the server if it takes the key."""
    import swanlab

    if has_settings():
        given = {"mode": job["mode"], "log_dir": job["log_dir"], "api_host": job["host"],
                 "web_host": job["host"] and os.environ.get("SWANLAB_WEB_HOST"),
                 "api_key": unquoted(os.environ.get("SWANLAB_API_KEY", ""))}
        given = {name: value for name, value in given.items() if value}
        name_stray_files({**given, "project.name": names.get("project"), "project.workspace": names.get("workspace"),
                          "experiment.name": names.get("experiment_name")})
        try:
            settings = swanlab.Settings(**given)
            if job["mode"] == "cloud":
                check_login(settings.api_host, settings.api_key)
            swanlab.merge_settings(given)
        except Exception as error:  # the config's, or those of a stray file, which it reads even where they lose
            stop(f"SwanLab does not accept its settings: {without_values(error)}")
    if job["mode"] == "local" and importlib.util.find_spec("swanboard") is None:
        if not has_settings():
            stop("swanlab.mode=local needs: pip install 'swanlab[dashboard]'; swanlab.mode=offline does not")
        say("SwanLab: the log is written though swanboard is missing; to look at it: pip install 'swanlab[dashboard]'")
    if job["notification"]:
        register = getattr(swanlab, "merge_callbacks", None) or swanlab.register_callbacks
        register([make_notification(**job["notification"])])


def has_settings() -> bool:
    """Whether this SwanLab has settings with a rank order (0.8 and later); before, the environment decides alone."""
    import swanlab

    return "api_host" in getattr(getattr(swanlab, "Settings", None), "model_fields", {})


def check_login(host: str, key: str | None) -> None:
    """Ends the training now if the server will not take the key.

    SwanLab itself asks when model and data are loaded, up to 75 s long, and calls whatever went wrong a wrong key.
    """
    import requests

    if not key:
        stop(f"SwanLab has no key for {host}: set SWANLAB_API_KEY or run `swanlab login`; "
             "swanlab.mode=offline needs none")
    why = ""
    for pause in (0.0, *LOGIN_PAUSES):
        time.sleep(pause)
        try:
            answer = requests.post(host + "/api/login/api_key", headers={"authorization": key}, timeout=10)
        except requests.RequestException as error:
            why = one_line(error)
            continue
        if answer.status_code < 300:
            return
        why = f"HTTP {answer.status_code}"
        if answer.status_code in (401, 403):
            stop(f"SwanLab's server {host} refuses the key ({why})")
    stop(f"SwanLab's server {host} does not answer: {why}; swanlab.mode=offline tracks without it")


def name_stray_files(ours: Job) -> None:
    """Says which settings of files in this folder or in /etc the config overrules, and which it lets stand."""
    for file, theirs in stray_settings():
        lost = [name for name in theirs if ours.get(name) and not same(ours[name], theirs[name])]
        kept = [name for name in theirs if not ours.get(name)]
        if ours["mode"] == "cloud" and "api_host" in lost and "api_key" in kept:
            stop(f"{file} has a key for {theirs['api_host']}, but swanlab.host is {ours['api_host']}: "
                 "set SWANLAB_API_KEY to a key for it")
        if lost:
            say(f"SwanLab: the config overrules {file}: {shown(theirs, lost)}")
        if kept:
            say(f"SwanLab: taken from {file}, since the config leaves it open: {shown(theirs, kept)}")


def stray_settings() -> Iterator[tuple[Path, Job]]:
    """(file, dotted name to value) of the files that SwanLab reads beside the environment, the highest rank first.

    Source: swanlab/sdk/internal/settings/__init__.py, 0.8 to 0.10.
    """
    import yaml

    system = Path(os.environ.get("SWANLAB_CONFIG_DIR") or "/etc/swanlab")
    files = [Path("swanlab.yaml"), Path("swanlab.yml"), *sorted(system.glob("*.y*ml"), reverse=True), Path(".env"),
             Path(".swanlab/config.yaml"), Path(".swanlab/config.yml")]
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
            found = variables(text) if file.name == ".env" else flat(yaml.safe_load(text))
        except (OSError, ValueError, yaml.YAMLError):
            continue  # absent; or broken, which SwanLab says itself
        found = {name: value for name, value in found.items() if name in STRAY_FIELDS and value is not None}
        if found:
            yield file.resolve(), found


STRAY_FIELDS = ("mode", "log_dir", "api_host", "api_key", "project.name", "project.workspace", "experiment.name")


def flat(data: Any) -> Job:
    data = data if isinstance(data, dict) else {}
    return {name: value for group, inner in data.items()
            for name, value in ([(f"{group}.{key}", value) for key, value in inner.items()] if isinstance(inner, dict)
                                else [(group, inner)])}


def variables(text: str) -> Job:
    names = {"SWANLAB_" + name.replace(".", "_").upper(): name for name in STRAY_FIELDS}
    pairs = (line.strip().partition("export ")[2] or line.strip() for line in text.splitlines())
    return {names[key.strip()]: unquoted(value.strip()) for key, _, value in (pair.partition("=") for pair in pairs)
            if key.strip() in names}


def unquoted(value: str) -> str:
    """Without a pair of quotes around it, as SwanLab reads variables."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def same(ours: Any, theirs: Any) -> bool:
    spellings = {"online": "cloud"}
    first, second = (str(value).rstrip("/") for value in (ours, theirs))
    return spellings.get(first, first) == spellings.get(second, second)


def shown(settings: Job, names: list[str]) -> str:
    return ", ".join(f"{name}={'(not shown)' if name == 'api_key' else settings[name]}" for name in names)


def make_notification(method: str, webhook_url_from: str = "", secret_from: str = "", sent: str = "",
                      errors: bool = True, **words: Any) -> Any:
    """SwanLab's callback for a message at the end. Secrets come from the variables whose names are given. sent, errors: as in
    `told_once`; with restarts the launcher tells of failures, the last one alone."""
    from swanlab.plugin import notification

    kinds = {"lark": "LarkCallback", "dingtalk": "DingTalkCallback", "email": "EmailCallback", "slack": "SlackCallback",
             "discord": "DiscordCallback", "wxwork": "WXWorkCallback"}
    kind: Any = getattr(notification, kinds.get(method, ""), None)
    if kind is None:
        stop(f"SwanLab has no notification method {method}; it has {', '.join(kinds)}")
    secret = os.environ.get(secret_from)
    words.update(webhook_url=os.environ.get(webhook_url_from), secret=secret, password=secret)
    accepted = inspect.signature(kind.__init__).parameters
    words = {name: value for name, value in words.items() if value is not None and name in accepted}

    try:
        return told_once(kind, sent, errors)(**words)
    except TypeError as error:
        stop(f"swanlab.notification is incomplete for {method}: {one_line(error).rpartition('() ')[2]}")


def told_once(kind: Any, sent: str, errors: bool) -> Any:
    """A kind of SwanLab's callbacks that makes the file `sent` when it sends; without `errors` it sends nothing of failures."""

    def goes_out(error: Any) -> bool:
        if error and not errors:
            return False
        with contextlib.suppress(OSError):
            Path(sent).touch()
        return True

    class Notification(kind):
        def on_run_finished(self, state: str, error: Any = None, **more: Any) -> None:
            if goes_out(error):
                super().on_run_finished(state, error, **more)

        def on_stop(self, error: Any = None, *more: Any, **words: Any) -> None:  # before 0.8
            if goes_out(error):
                super().on_stop(error, *more, **words)

        def _get_url(self) -> Any:
            with contextlib.suppress(ValueError):  # 0.10.3 fails to make one for an offline run, and then sends nothing
                return super()._get_url()

    return Notification


def announce_run(job: Job) -> None:
    """Tells which run this became: people in a line, the launcher in a file."""
    import swanlab

    run = swanlab.get_run()
    public: Any = getattr(run, "public", None)  # before 0.8
    told = {"mode": job["mode"], "run_id": first(lambda: run.id, lambda: public.run_id),
            "dir": first(lambda: str(run.dir), lambda: public.run_dir, lambda: job["log_dir"]),
            "url": first(lambda: run.url, lambda: public.cloud.experiment_url) if job["mode"] == "cloud" else None}
    say(f"SwanLab: {told['mode']} run {told['run_id']}, {told['url'] or told['dir']}")
    file = Path(job["result"])
    part = file.with_name(file.name + ".part")
    part.write_text(json.dumps(told, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(str(part), str(file))


def first(*ways: Callable[[], Any]) -> Any:
    for way in ways:
        try:
            return way()
        except (AttributeError, ValueError, TypeError):
            continue  # this SwanLab says it another way, or has nothing to say
    return None


def without_values(error: Exception) -> str:
    """What is wrong, for the log: pydantic's own text shows all that was given, and the key is among it."""
    if not hasattr(error, "errors"):
        return one_line(error)
    return "; ".join(": ".join((*map(str, e["loc"]), e["msg"])) for e in error.errors())


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def start_swanlab_off(job: Job) -> None:
    """For `report_to all`, which would take SwanLab in: a callback that does nothing in its place."""
    from transformers import TrainerCallback
    from transformers.integrations import INTEGRATION_TO_CALLBACK

    INTEGRATION_TO_CALLBACK["swanlab"] = TrainerCallback


# From the files beside this one: without its attention a training ends, without monitor or speed-ups it goes on


def start_attention(job: Job) -> None:
    try:
        load_beside("swift_fa_attention.py").provide(**job)
    except Exception as error:
        stop(f"flash attention ({job.get('repo') or 'torch'}) cannot be used: {one_line(error)}")


def start_monitor(job: Job) -> None:
    try:
        load_beside("swift_fa_monitor.py").watch(job, say, stop)
    except Exception as error:
        say(f"the monitor is off: {one_line(error)}")


def start_pulse(job: Job) -> None:
    try:
        load_beside("swift_fa_pulse.py").watch(job, is_first_process())
    except Exception as error:
        say(f"a training that stalls will not be noticed: {one_line(error)}")


def start_speedups(job: Job) -> None:
    try:
        load_beside("swift_fa_speedups.py").speed_up(job, say)
    except Exception as error:
        say(f"the speed-ups are off: {one_line(error)}")


def load_beside(name: str) -> Any:
    file = Path(__file__).resolve().with_name(name)
    spec: Any = importlib.util.spec_from_file_location(file.stem, str(file))
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


#: Entry of the variable's JSON object to what begins it.
CONCERNS = {"swanlab": start_swanlab, "swanlab_off": start_swanlab_off, "attention": start_attention,
            "speedups": start_speedups, "monitor": start_monitor, "pulse": start_pulse}

start()
