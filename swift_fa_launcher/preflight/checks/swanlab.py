"""SwanLab: installed, logged in, reachable, able to do what is asked, and no secret in the config."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

from packaging.version import Version

from swift_fa_launcher.config.render import typed
from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Unknown, known
from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.finding import INFO, WARNING, Check, Finding
from swift_fa_launcher.findings.table import found
from swift_fa_launcher.machine.facts import Facts, Reach
from swift_fa_launcher.machine.reading import environment, is_absent, pip, written
from swift_fa_launcher.secrets import is_secret_name

PUBLIC_HOST = "api.swanlab.cn"

#: Offline logging and `swanlab sync` arrived here. https://github.com/SwanHubX/SwanLab/issues/1134
FIRST_OFFLINE = Version("0.6.2")
#: From here on SwanLab writes local runs without its dashboard package (0.10.3 was seen to).
WRITES_WITHOUT_DASHBOARD = Version("0.8.0a0")
#: From here on ms-swift guards its get_run(). https://github.com/modelscope/ms-swift/issues/9545
GUARDS_GET_RUN = Version("4.4.0.dev0")
#: From here on (3.3.1 was seen to) `swift sft` tracks through SwanLab's own callback.
OWN_CALLBACK = Version("3.3.0.dev0")
#: From here on get_run() raises without a run. https://github.com/modelscope/ms-swift/issues/9545
GET_RUN_RAISES = Version("0.8.0a0")
#: From here on a run id is any text that a file name may hold.
FREE_RUN_ID = Version("0.8.0a0")


def swanlab_missing(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """SwanLab is switched on and not installed."""
    if config.swanlab.tracks and is_absent(facts, "swanlab"):
        yield found("swanlab-missing", origin=written(config, "swanlab.enabled"), pip=pip(facts))


def swanlab_login(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """Mode cloud needs a key: there, whole, one's own, and accepted.

    Without one it ends in `no TTY is available for interactive login` after the model is loaded.
    https://github.com/SwanHubX/SwanLab/issues/1503 (no key), /1216 (a shared account's saved login)
    """
    swanlab = known(facts.swanlab)
    if not _to_cloud(config) or swanlab is None:
        return
    in_config = bool(config.env.get("SWANLAB_API_KEY") or config.swift.get("swanlab_token"))
    if swanlab.api_key is None and not in_config:
        yield found("swanlab-not-logged-in")
    elif known(swanlab.key_shape) == "malformed" and not in_config:
        yield found("swanlab-key-malformed", source=known(swanlab.api_key))
    elif known(swanlab.api_key) == "login" and known(swanlab.account_shared) and not in_config:
        yield found("swanlab-account-implicit", user=known(swanlab.user) or Text("somebody else", "他人"))


def swanlab_server(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """The server is asked once beforehand: SDKs report a refused key and a silent server with the same words.

    https://github.com/SwanHubX/SwanLab/issues/1252 (no route), https://github.com/SwanHubX/self-hosted/issues/13 (404: an
    SDK that the server does not speak)
    """
    swanlab = known(facts.swanlab)
    if not _to_cloud(config):
        return
    host, reach = _server(config, facts)
    error = (known(reach.error) if reach else None) or ""
    refused = (swanlab is not None and known(swanlab.key_accepted) is False) or \
        bool(re.search(r"\b(401|403)\b|unauthori[sz]ed|invalid api.?key", error, re.IGNORECASE))
    if refused:
        yield found("swanlab-login-failed", host=host, error=error or None)
    elif host != PUBLIC_HOST and re.search(r"\b404\b|not found", error, re.IGNORECASE):
        yield found("swanlab-version-conflict", "server", host=host, error=error, swanlab=facts.package("swanlab"),
                    pip=pip(facts))
    elif reach is not None and known(reach.ok) is False:
        yield found("swanlab-unreachable", host=host, error=error or None)


def _server(config: ResolvedConfig, facts: Facts) -> tuple[str, Reach | None]:
    swanlab = known(facts.swanlab)
    address = config.swanlab.host or environment(config, facts, "SWANLAB_API_HOST") or \
        (known(swanlab.host) if swanlab else None) or PUBLIC_HOST
    try:
        parts = urlsplit(address if "://" in address else f"https://{address}")
        names = [parts.netloc.rpartition("@")[2], parts.hostname or ""]
    except ValueError:
        names = [address]
    reach = next((r for n in (*names, address) if (r := known(facts.network.get(n))) is not None), None)
    return next((n for n in names if n), address), reach


def swanlab_mode(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """What ms-swift's parser (cloud and local) or this SwanLab cannot do; offline runs through the launcher's plugin.
    https://github.com/datawhalechina/happy-llm/issues/104 (local without swanboard)"""
    version, mode = facts.package("swanlab"), config.swanlab.mode
    if not config.swanlab.tracks:
        return
    if mode == "local" and is_absent(facts, "swanboard") and version is not None and version < WRITES_WITHOUT_DASHBOARD:
        yield found("swanlab-local-needs-dashboard", swanlab=version, pip=pip(facts))
    if mode != "offline":
        return
    if version is not None and version < FIRST_OFFLINE:
        yield found("swanlab-version-conflict", "offline", swanlab=version, first=FIRST_OFFLINE, pip=pip(facts))
        return
    swift, arguments = facts.package("ms-swift"), known(facts.ms_swift_args)
    plugins = not arguments or bool({"external_plugins", "custom_register_path"} & set(arguments))
    if not plugins or (swift is not None and swift < Version("3.0.0.dev0")):
        yield found("swanlab-mode-unsupported", "no-plugin", mode=mode, ms_swift=swift, pip=pip(facts))
    else:
        yield found("swanlab-mode-unsupported", severity=INFO, mode=mode)


def swanlab_version_conflict(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """SwanLab's get_run() raises without a run, where ms-swift before 4.4.0 expects None: in its RLHF trainers, and before it
    brought SwanLab's own callback, which catches this, for `swift sft` as well.

    https://github.com/modelscope/ms-swift/issues/9545; swift/llm/argument/train_args.py (3.3), `_init_swanlab`
    """
    swanlab, swift, version = known(facts.swanlab), facts.package("ms-swift"), facts.package("swanlab")
    seen = swanlab.get_run_without_init if swanlab else Unknown("not asked")
    raises = version is not None and version >= GET_RUN_RAISES if isinstance(seen, Unknown) else seen == "raises"
    if config.swanlab.tracks and raises and swift is not None and swift < GUARDS_GET_RUN:
        yield found("swanlab-version-conflict", severity=None if swift < OWN_CALLBACK else WARNING, swanlab=version,
                    ms_swift=swift, pip=pip(facts))


def swanlab_name_invalid(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """The server's rules for names; an empty one is dropped by the launcher.
    https://github.com/SwanHubX/SwanLab/issues/719"""
    if not config.swanlab.tracks:
        return
    for key, value in (("swanlab.project", config.swanlab.project),
                       ("swift.swanlab_project", config.swift.text("swanlab_project"))):
        if value and value.strip() and not re.fullmatch(r"[0-9A-Za-z_.+-]{1,100}", value):
            good = re.sub(r"[^0-9A-Za-z_.+-]+", "-", value).strip("-")[:100]
            yield found("swanlab-name-invalid", key=key, shown=value[:120], origin=written(config, key), length=len(value),
                        good=typed(key, good or "my-project"))
    for key, value in (("swanlab.experiment", config.swanlab.experiment),
                       ("swift.swanlab_exp_name", config.swift.text("swanlab_exp_name"))):
        if value and len(value) > 250:
            yield found("swanlab-name-invalid", "long", key=key, origin=written(config, key), length=len(value),
                        good=typed(key, value[:40]))


def swanlab_resume(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A run id is 21 of a-z and 0-9, and means nothing without resume, whose default is `never`.
    https://github.com/SwanHubX/SwanLab/issues/1383"""
    run = environment(config, facts, "SWANLAB_RUN_ID")
    resume = (environment(config, facts, "SWANLAB_RESUME") or "").strip().lower()
    version = facts.package("swanlab")
    if not config.swanlab.tracks or not run:
        return
    free = version is not None and version >= FREE_RUN_ID
    shaped = re.fullmatch(r'[^<>:"/\\|?*#%\x00-\x1f\x7f]{1,512}' if free else r"[a-z0-9]{21}", run)
    if resume not in ("must", "allow", "true"):
        yield found("swanlab-resume", run_id=run[:60], resume=resume or None)
    elif not shaped:
        yield found("swanlab-resume", "free-form" if free else "form", run_id=run[:60], swanlab=version)


def swanlab_key_in_config(config: ResolvedConfig, facts: Facts) -> Iterator[Finding]:
    """A key written in a config is printed, recorded and uploaded with it; an interpolated one is not written there."""
    for key in written_secrets(config):
        origin = config.origin(key)
        place = "" if origin is None else f" ({origin})" if origin.layer == "file" else Text(" (command line)", "（命令行）")
        name = key.rpartition(".")[2] if key.startswith("env.") else \
            "SWANLAB_API_KEY" if key == "swift.swanlab_token" else key.rpartition(".")[2].upper()
        named = None if key.startswith("env.") or key == "swift.swanlab_token" else shlex.quote(f"{key}=${{oc.env:{name}}}")
        yield found("swanlab-key-in-config", key=key, place=place, variable=name, reference=named)


def written_secrets(config: ResolvedConfig) -> Iterator[str]:
    """Dotted keys of the secrets that stand in the config itself, not in a variable that it names."""
    notification = config.swanlab.notification
    candidates: list[tuple[str, object]] = [
        ("swanlab.notification.secret", notification.secret),
        *((f"swift.{name}", value) for name, value in config.swift.items()
          if is_secret_name(name) and not name.endswith("webhook_url")),
        *((f"env.{name}", value) for name, value in config.env.items() if is_secret_name(name)),
        *((key, url) for key, url in (("swanlab.notification.webhook_url", notification.webhook_url),
                                      *((f"swift.{n}", v) for n, v in config.swift.items() if n.endswith("webhook_url")))
          if isinstance(url, str) and _carries_credentials(url)),
    ]
    for key, value in candidates:
        # from a variable is fine for the environment; an argument would stand in the process list all the same
        if isinstance(value, str) and _looks_secret(value) and (key.startswith("swift.") or not _interpolated(config, key)):
            yield key


def _looks_secret(value: str) -> bool:
    text = value.strip()
    return len(text) >= 6 and not text.startswith(("/", "~", "./")) and text.lower() not in ("false", "disabled", "unset") \
        and not re.fullmatch(r"[\d.]{1,12}", text)


def _carries_credentials(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.password) or any(is_secret_name(name) for name, _ in parse_qsl(parts.query))
    except ValueError:
        return False


def _interpolated(config: ResolvedConfig, key: str) -> bool:
    """Whether the scalar that was written names a variable. An override's text is the whole `key=value`."""
    origin = config.origins.get(key)
    return origin is not None and "${" in (origin.text or "")


def _to_cloud(config: ResolvedConfig) -> bool:
    return config.swanlab.tracks and config.swanlab.mode == "cloud"


CHECKS: tuple[Check, ...] = (swanlab_missing, swanlab_login, swanlab_server, swanlab_mode, swanlab_version_conflict,
                             swanlab_name_invalid, swanlab_resume, swanlab_key_in_config)
