"""The sections of a config, typed. Pure: reading files is `layers`' work.

`swift` is open: it holds arguments of `swift sft` in ms-swift's own spelling, and the installed ms-swift judges them.
All other sections are closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swift_fa_launcher.flash.implementations import BY_NAME, FA2

FLASH_IMPLEMENTATIONS = tuple(BY_NAME)

#: How a config of the package is named, wherever a config's path may stand: `swift-fa:lora`.
PACKAGED = "swift-fa:"

SWANLAB_MODES = ("cloud", "local", "offline", "disabled")

#: Closed lists of values, by dotted key.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "flash_attn.provider": ("auto", "package", "torch", "kernel"),
    "flash_attn.install": ("auto", "never"),
    "flash_attn.build": ("auto", "never", "always"),
    "swanlab.mode": SWANLAB_MODES,
    "launch.target": ("local", "slurm"),
    "preflight.probe": ("auto", "never"),
    "preflight.rehearsal": ("auto", "always", "never"),
    "run.speedups": ("exact", "all", "never"),
    "swanlab.notification.method": ("lark", "dingtalk", "email", "discord", "wxwork", "slack"),
}
#: The least and the greatest value of a number, by dotted key.
RANGES: Mapping[str, tuple[int, int]] = {
    "launch.master_port": (1, 65535), "launch.restarts": (0, 1000), "launch.nproc_per_node": (1, 4096),
    "launch.nnodes": (1, 100_000), "launch.node_rank": (0, 100_000), "launch.grace": (0, 86_400),
    "preflight.timeout": (1, 86_400), "flash_attn.max_jobs": (1, 4096), "swanlab.finish_timeout": (0, 86_400)}

#: The words of an origin, as records and JSON have them, and in Chinese.
_ORIGIN_WORDS = (("command line: ", "命令行："), ("environment: ", "环境变量："),
                 ("(command line)", "（命令行）"), ("built-in default", "内置默认值"))


def name_origins(text: str, lang: str) -> str:
    """A text for people with its origins in `lang`.

    >>> name_origins("swift.seed=2 (command line: swift.seed=2)", "zh")
    'swift.seed=2 (命令行：swift.seed=2)'
    """
    for en, zh in _ORIGIN_WORDS if lang == "zh" else ():
        text = text.replace(en, zh)
    return text


@dataclass(frozen=True)
class Origin:
    """Where a value came from.

    layer: "default", "environment", "file" or "override". file and line (from 1) for a file layer; `text` is a variable's name,
    for an override the whole `key=value`, else the scalar as it was written (None for lists, groups and interpolated values).
    comment: what stands behind a value without a blank behind its `#`, such as the ` #500` of a dataset, with the value before.
    """

    layer: str
    file: Path | None = None
    line: int | None = None
    text: str | None = None
    comment: str | None = None

    def __str__(self) -> str:
        if self.layer == "file":
            return f"{self.file}:{self.line}"
        if self.layer == "environment":
            return f"environment: {self.text}"
        return f"command line: {self.text}" if self.layer == "override" else "built-in default"

    @property
    def editable(self) -> bool:
        """Whether it is a line of a file of the user's own."""
        return self.layer == "file" and not str(self.file).startswith(PACKAGED)

    @property
    def scalar(self) -> str | None:
        """The value as it was written; None for a file's lists and groups, and for what was never written."""
        if self.layer != "override":
            return self.text
        _, equals, value = (self.text or "").partition("=")
        return value.strip() if equals else None


def origin_below(origins: Mapping[str, Origin], key: str) -> Origin | None:
    """Where a dotted key was written; for a list or group without an origin of its own, its first leaf's."""
    return origins.get(key) or next((o for k, o in origins.items() if k.startswith(f"{key}.")), None)


@dataclass(frozen=True)
class FlashAttnSection:
    provider: str = "auto"  # what FlashAttention 2 comes from
    version: str | None = None  # exact, a range, or None for the best that fits
    install: str = "auto"
    sources: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()
    build: str = "auto"
    max_jobs: int | None = None
    allow_unverified: bool = False


@dataclass(frozen=True)
class Notification:
    """SwanLab's message at the end of a training."""

    method: str | None = None  # lark, dingtalk, email, discord, wxwork, slack
    webhook_url: str | None = None
    secret: str | None = None
    sender_email: str | None = None
    receiver_email: str | None = None
    smtp_server: str | None = None
    smtp_port: int | None = None
    email_language: str | None = None


@dataclass(frozen=True)
class SwanLabSection:
    enabled: bool = True
    mode: str = "cloud"
    project: str | None = None
    experiment: str | None = None
    workspace: str | None = None
    host: str | None = None  # a self-hosted server
    finish_timeout: float = 120.0  # seconds that an ended training may wait for SwanLab to upload the rest
    notification: Notification = Notification()

    @property
    def tracks(self) -> bool:
        """Whether anything is written or sent."""
        return self.enabled and self.mode != "disabled"


@dataclass(frozen=True)
class LaunchSection:
    gpus: tuple[int, ...] | None = None  # None: all visible ones
    free_gpus: int | None = None  # how many free ones to take: `gpus: auto:2`
    nproc_per_node: int | None = None
    nnodes: int | None = None
    node_rank: int | None = None
    master_addr: str | None = None
    master_port: int | None = None
    target: str = "local"
    slurm: Mapping[str, Any] = field(default_factory=dict)
    python: str | None = None  # the interpreter that has ms-swift; None: the launcher's own
    grace: float = 20.0  # seconds between asking the training to end and killing it
    restarts: int = 0  # how often a run that failed for a passing cause is continued
    stall_timeout: float | None = 300.0  # seconds without a step; None: nobody looks


@dataclass(frozen=True)
class PreflightSection:
    allow: tuple[str, ...] = ()
    probe: str = "auto"
    timeout: float = 60.0  # seconds for the probe
    rehearsal: str = "auto"  # the training in small before it starts


@dataclass(frozen=True)
class RunSection:
    name: str | None = None
    root: str = "runs"  # folder of the run records
    tags: tuple[str, ...] = ()
    notes: str | None = None
    monitor: bool = True  # the training plugin
    speedups: str = "exact"  # the training plugin's own


class SwiftArguments(Mapping[str, Any]):
    """The `swift` section: argument name to value, with the readings that several checks share."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"SwiftArguments({self._values!r})"

    def flag(self, key: str) -> bool | None:
        """The value of a boolean argument as ms-swift's parser would read it; None where it is unset or no boolean."""
        value = self.get(key)
        if isinstance(value, str):
            return {"true": True, "1": True, "yes": True, "y": True, "t": True,
                    "false": False, "0": False, "no": False, "n": False, "f": False}.get(value.strip().lower())
        return bool(value) if isinstance(value, (bool, int)) else None

    def names(self, key: str) -> tuple[str, ...]:
        """The value of a list argument as a tuple of texts; a lone value is a list of one."""
        value = self.get(key)
        if value is None:
            return ()
        return tuple(str(v) for v in (value if isinstance(value, (list, tuple)) else (value,)) if v is not None)

    def text(self, key: str) -> str | None:
        """The value as text; None where it is unset or a list or group."""
        value = self.get(key)
        return None if value is None or isinstance(value, (list, tuple, dict)) else str(value)

    def whole(self, key: str) -> int | None:
        """The value as a whole number; None where it is unset or not one."""
        try:
            return None if isinstance(self.get(key), bool) else int(str(self.get(key)))
        except ValueError:
            return None

    def number(self, key: str) -> float | None:
        """The value as a number; None where it is unset or not one."""
        try:
            return None if isinstance(self.get(key), bool) else float(self.text(key) or "")
        except ValueError:
            return None

    def strategy(self, key: str) -> str | None:
        """The value of `save_strategy` and its like; YAML reads a plain `no` as false."""
        return "no" if self.get(key) is False else self.text(key)

    @property
    def sequence_parallel(self) -> int:
        """Processes that share a row."""
        return self.whole("sequence_parallel_size") or 1

    @property
    def attn_impl(self) -> str | None:
        return self.text("attn_impl")

    @property
    def packs(self) -> bool:
        """Whether rows are joined: packing or padding_free."""
        return bool(self.flag("packing") or self.flag("padding_free"))

    @property
    def wants_flash_attn(self) -> bool:
        """A flash implementation is asked for, or something that cannot do without one."""
        return self.attn_impl in FLASH_IMPLEMENTATIONS or self.packs

    @property
    def wants_flash_attn_2(self) -> bool:
        """The FA2 package is the one that is asked for."""
        return self.attn_impl in FA2.names


@dataclass(frozen=True)
class ResolvedConfig:
    """All layers merged and interpolated.

    origins: dotted key of every leaf to its origin. files: the files that were read, lowest layer first. overrides: the
    `key=value` words of the command line.
    """

    swift: SwiftArguments = field(default_factory=lambda: SwiftArguments({}))
    flash_attn: FlashAttnSection = FlashAttnSection()
    swanlab: SwanLabSection = SwanLabSection()
    launch: LaunchSection = LaunchSection()
    env: Mapping[str, str] = field(default_factory=dict)
    preflight: PreflightSection = PreflightSection()
    run: RunSection = RunSection()
    origins: Mapping[str, Origin] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)  # the same as plain nested data
    files: tuple[Path, ...] = ()
    overrides: tuple[str, ...] = ()

    def origin(self, key: str) -> Origin | None:
        """Where a dotted key was written; for a list or group without an origin of its own, its first leaf's."""
        return origin_below(self.origins, key)

    def is_default(self, key: str) -> bool:
        """Whether nobody wrote the key: its value is the launcher's own."""
        origin = self.origin(key)
        return origin is not None and origin.layer == "default"


SECTIONS = ("swift", "flash_attn", "swanlab", "launch", "env", "preflight", "run")
