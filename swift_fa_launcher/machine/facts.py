"""The facts that every decision is a function of, and their JSON form (schema 1).

Pure: nothing here looks at the machine. A field left out of the JSON is `Unknown`; `null` means looked for and absent.
Sizes are GiB (2**30 bytes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from packaging.version import Version

from swift_fa_launcher.config.swift_args import Argument
from swift_fa_launcher.decode import NOT_COLLECTED, DecodeError, Maybe, SpokenVersion, decode, encode, known
from swift_fa_launcher.errors import FactsError, Text

SCHEMA = 1
GIB = 2**30


@dataclass(frozen=True)
class Host:
    os: Maybe[str] = NOT_COLLECTED  # "Linux", "Windows", "Darwin"
    machine: Maybe[str] = NOT_COLLECTED  # "x86_64", "aarch64", "AMD64"
    glibc: Maybe[Version] = NOT_COLLECTED  # None: another C library
    wsl: Maybe[bool] = NOT_COLLECTED
    cpus: Maybe[int] = NOT_COLLECTED  # that this process may use
    memory_gib: Maybe[float] = NOT_COLLECTED  # the cgroup's limit where there is one
    available_memory_gib: Maybe[float] = NOT_COLLECTED
    shm_gib: Maybe[float] = NOT_COLLECTED
    free_gib: Mapping[str, Maybe[float]] = field(default_factory=dict)  # site_packages, tmp, cache, output, datasets


@dataclass(frozen=True)
class Python:
    """The training interpreter."""

    version: Maybe[Version] = NOT_COLLECTED
    implementation: Maybe[str] = NOT_COLLECTED
    abi: Maybe[str] = NOT_COLLECTED  # the wheel tag of its ABI: "cp310"
    executable: Maybe[str] = NOT_COLLECTED
    externally_managed: Maybe[bool] = NOT_COLLECTED  # PEP 668
    site_packages: Maybe[str] = NOT_COLLECTED
    site_packages_writable: Maybe[bool] = NOT_COLLECTED


@dataclass(frozen=True)
class Torch:
    version: Maybe[Version] = NOT_COLLECTED
    cuda: Maybe[Version] = NOT_COLLECTED  # None: no CUDA build
    hip: Maybe[str] = NOT_COLLECTED
    npu: Maybe[str] = NOT_COLLECTED  # torch_npu's version
    cxx11_abi: Maybe[bool] = NOT_COLLECTED
    import_error: Maybe[str] = NOT_COLLECTED
    origin: Maybe[str] = NOT_COLLECTED  # the folder of the package


@dataclass(frozen=True)
class Gpu:
    index: int
    name: Maybe[str] = NOT_COLLECTED
    compute_capability: Maybe[Version] = NOT_COLLECTED  # of AMD's as torch counts: 9.4 for gfx942
    memory_gib: Maybe[float] = NOT_COLLECTED
    free_memory_gib: Maybe[float] = NOT_COLLECTED
    uuid: Maybe[str] = NOT_COLLECTED
    gfx: Maybe[str] = None  # AMD's name of the architecture, "gfx942"; None for NVIDIA's


@dataclass(frozen=True)
class Driver:
    version: Maybe[SpokenVersion] = NOT_COLLECTED  # as the driver says it: "535.104.05"
    cuda: Maybe[Version] = NOT_COLLECTED  # the newest CUDA that it runs


@dataclass(frozen=True)
class Toolchain:
    nvcc: Maybe[Version] = NOT_COLLECTED
    cuda_home: Maybe[str] = NOT_COLLECTED
    gcc: Maybe[Version] = NOT_COLLECTED
    ninja: Maybe[Version] = NOT_COLLECTED


@dataclass(frozen=True)
class Extension:
    """A compiled extension module, read without running it."""

    file: Maybe[str] = NOT_COLLECTED  # the file's name
    needs: Maybe[tuple[str, ...]] = NOT_COLLECTED  # DT_NEEDED
    glibc: Maybe[Version] = NOT_COLLECTED  # the newest GLIBC_ version that it asks for
    copies: Maybe[tuple[str, ...]] = NOT_COLLECTED  # further extension files of the same module on the path
    unresolved: Maybe[tuple[str, ...]] = NOT_COLLECTED  # symbols that torch's libraries do not have
    cubins: Maybe[tuple[str, ...]] = NOT_COLLECTED  # "sm_80", …
    ptx: Maybe[tuple[str, ...]] = NOT_COLLECTED  # "compute_80", …


@dataclass(frozen=True)
class ProbedDevice:
    index: int
    ok: bool
    error: Maybe[str] = None
    max_error: Maybe[float] = None  # largest absolute difference from the float32 reference


@dataclass(frozen=True)
class Probe:
    devices: tuple[ProbedDevice, ...] = ()


@dataclass(frozen=True)
class FlashAttn:
    """An installed flash-attn distribution, or a `flash_attn` that resolves without one (distribution None)."""

    distribution: Maybe[str] = NOT_COLLECTED
    version: Maybe[Version] = NOT_COLLECTED
    origin: Maybe[str] = NOT_COLLECTED  # the file that `import flash_attn` would run
    wheel_label: Maybe[str] = NOT_COLLECTED  # local label of the wheel's file name, from direct_url.json
    import_error: Maybe[str] = NOT_COLLECTED
    extension: Maybe[Extension] = NOT_COLLECTED
    probe: Maybe[Probe] = NOT_COLLECTED


@dataclass(frozen=True)
class HubKernel(FlashAttn):
    """FlashAttention 2 as a kernel of the hub, by way of `kernels`; origin and revision are None where none is in the cache."""

    repo: Maybe[str] = NOT_COLLECTED
    revision: Maybe[str] = NOT_COLLECTED  # a commit
    builds: Maybe[bool] = NOT_COLLECTED  # whether there is one for this torch, CUDA and machine
    pinned: Maybe[str] = None  # the commit that it has to be: the lock's, or the repeated run's
    error: Maybe[str] = None  # why it could not be had

    @property
    def cached(self) -> bool:
        return bool(known(self.revision) and known(self.origin))


@dataclass(frozen=True)
class RequirementConflict:
    package: str
    version: Maybe[str] = NOT_COLLECTED
    requires: Maybe[str] = NOT_COLLECTED
    installed: Maybe[str] = NOT_COLLECTED


@dataclass(frozen=True)
class Swift:
    command: Maybe[str] = NOT_COLLECTED  # what `swift` on the path is
    command_is_ms_swift: Maybe[bool] = NOT_COLLECTED
    module: Maybe[str] = NOT_COLLECTED  # the file that `import swift` would run


@dataclass(frozen=True)
class SwanLab:
    api_key: Maybe[str] = NOT_COLLECTED  # where the key comes from: "env", "login", None
    key_shape: Maybe[str] = NOT_COLLECTED  # "ok", "malformed"
    key_accepted: Maybe[bool] = NOT_COLLECTED  # the server's answer to a login with it
    user: Maybe[str] = NOT_COLLECTED
    account_shared: Maybe[bool] = NOT_COLLECTED
    host: Maybe[str] = NOT_COLLECTED
    get_run_without_init: Maybe[str] = NOT_COLLECTED  # "none", "raises"
    stray_settings: Maybe[tuple[str, ...]] = NOT_COLLECTED  # files in the working folder that SwanLab would obey


@dataclass(frozen=True)
class FirstBad:
    line: Maybe[int] = NOT_COLLECTED
    why: Maybe[str] = NOT_COLLECTED


@dataclass(frozen=True)
class ModelConfig:
    """What a model's config.json says."""

    model_type: Maybe[str] = NOT_COLLECTED
    architectures: Maybe[tuple[str, ...]] = NOT_COLLECTED
    layer_types: Maybe[tuple[str, ...]] = NOT_COLLECTED
    torch_dtype: Maybe[str] = NOT_COLLECTED
    head_dims: Maybe[tuple[int, ...]] = NOT_COLLECTED  # of every layer, towers for images among them
    quant_method: Maybe[str] = NOT_COLLECTED  # how the weights are quantised; None: they are not
    max_length: Maybe[int] = NOT_COLLECTED  # ms-swift's max_length where the config sets none
    attention_needs: Maybe[tuple[str, ...]] = NOT_COLLECTED  # of "softcap", "sinks", "dropout", "window"
    own_code: Maybe[bool] = NOT_COLLECTED  # whether its class is in files of the model


@dataclass(frozen=True)
class PathFacts:
    """A file, folder or hub name that the config mentions, keyed by the value as the config writes it."""

    kind: Maybe[str] = NOT_COLLECTED  # "file", "dir", "missing", "hub", "special" (a pipe, a device)
    writable: Maybe[bool] = NOT_COLLECTED
    free_gib: Maybe[float] = NOT_COLLECTED
    entries: Maybe[int] = NOT_COLLECTED
    mount: Maybe[str] = NOT_COLLECTED  # "local", "nfs", "tmpfs"
    rows: Maybe[int] = NOT_COLLECTED
    rows_checked: Maybe[int] = NOT_COLLECTED
    usable_rows: Maybe[int] = NOT_COLLECTED
    rows_over_max_length: Maybe[int] = NOT_COLLECTED
    mean_row_tokens: Maybe[float] = NOT_COLLECTED  # over the checked rows, cut at max_length
    row_tokens: Maybe[tuple[int, ...]] = NOT_COLLECTED  # of the checked usable rows, in the file's order, uncut
    size_gib: Maybe[float] = NOT_COLLECTED  # of a file; of a model: its weights
    first_bad: Maybe[FirstBad] = NOT_COLLECTED
    cached: Maybe[bool] = NOT_COLLECTED
    known_to_hub: Maybe[bool] = NOT_COLLECTED
    near: Maybe[str] = NOT_COLLECTED  # of what is missing: a name beside it that is nearly the same, as the config would have it
    model_config: Maybe[ModelConfig] = NOT_COLLECTED
    missing_files: Maybe[tuple[str, ...]] = NOT_COLLECTED  # of a checkpoint: those that another of its files names
    files: Maybe[tuple[str, ...]] = NOT_COLLECTED
    cut_off: Maybe[tuple[str, ...]] = NOT_COLLECTED  # of a checkpoint: files that end before they should
    args: Maybe[Mapping[str, Maybe[Any]]] = NOT_COLLECTED  # of a checkpoint: what its adapter_config.json fixes


@dataclass(frozen=True)
class Reach:
    ok: Maybe[bool] = NOT_COLLECTED
    error: Maybe[str] = NOT_COLLECTED


@dataclass(frozen=True)
class Trial:
    """A training of few layers, on the process with the most memory."""

    depth: int
    peak_gib: Maybe[float] = None  # allocated
    batch_seconds: Maybe[float] = None  # forward and backward
    rest_seconds: Maybe[float] = None  # of an optimizer step, beside its batches


@dataclass(frozen=True)
class Rehearsal:
    """What the training in small showed, and what it foretells of the whole one.

    cannot: why it could not be rehearsed, which says nothing of the training. error: how it failed, code: the cause that its
    log names. The rest is None where it is not known.
    """

    cannot: Maybe[str] = None
    error: Maybe[str] = None
    code: Maybe[str] = None
    out_of_memory: bool = False  # already in small
    layers: Maybe[int] = None
    trials: tuple[Trial, ...] = ()
    attention: Maybe[str] = None  # what carried it out, in the monitor's words
    losses: tuple[Maybe[float], ...] = ()  # of the deepest one; None for one that is no number
    learned: Maybe[float] = None  # share of the tokens that is trained on
    peak_gib: Maybe[float] = None  # allocated, foretold for the fullest GPU
    gpu_gib: Maybe[float] = None  # what that GPU has
    step_seconds: Maybe[float] = None  # foretold, for an optimizer step
    tokens_per_second: Maybe[float] = None  # foretold, of all processes
    epoch_steps: Maybe[int] = None
    ranks_gib: tuple[Maybe[float], ...] = ()  # as peak_gib, of each process
    link_seconds: Maybe[float] = None  # of the first all-reduce of several processes, connecting included


@dataclass(frozen=True)
class Facts:
    """Everything that is known of one machine, its training interpreter and what a config names on it."""

    where: Maybe[str] = NOT_COLLECTED
    collected_at: Maybe[str] = NOT_COLLECTED  # UTC, ISO 8601
    host: Host = Host()
    python: Maybe[Python] = NOT_COLLECTED
    torch: Maybe[Torch] = NOT_COLLECTED
    gpus: Maybe[tuple[Gpu, ...]] = NOT_COLLECTED
    driver: Maybe[Driver] = NOT_COLLECTED
    toolchain: Maybe[Toolchain] = NOT_COLLECTED
    flash_attn: Maybe[FlashAttn] = NOT_COLLECTED
    flash_attn_3: Maybe[FlashAttn] = NOT_COLLECTED
    flash_attn_4: Maybe[FlashAttn] = NOT_COLLECTED
    torch_attention: Maybe[FlashAttn] = NOT_COLLECTED  # torch.nn.attention.varlen, as far as it was tried
    hub_kernel: Maybe[HubKernel] = NOT_COLLECTED  # looked for where it is wanted
    packages: Maybe[Mapping[str, Maybe[Version]]] = NOT_COLLECTED  # by canonical name; None: not installed
    requirement_conflicts: Maybe[tuple[RequirementConflict, ...]] = NOT_COLLECTED
    kernels_range: Maybe[str] = NOT_COLLECTED  # of `kernels`, as the installed transformers asks for it; None: it does not ask
    ms_swift_args: Maybe[Mapping[str, Argument]] = NOT_COLLECTED
    swift: Maybe[Swift] = NOT_COLLECTED
    swanlab: Maybe[SwanLab] = NOT_COLLECTED
    env: Mapping[str, str | None] = field(default_factory=dict)
    ports_in_use: Maybe[tuple[int, ...]] = NOT_COLLECTED
    paths: Mapping[str, Maybe[PathFacts]] = field(default_factory=dict)
    rehearsal: Maybe[Rehearsal] = NOT_COLLECTED
    network: Mapping[str, Maybe[Reach]] = field(default_factory=dict)  # by host name; the model hub is "model-hub"

    def package(self, name: str) -> Version | None:
        """The installed version of a distribution, None where it is absent or could not be looked for."""
        packages = known(self.packages)
        return known(packages.get(name)) if packages else None

    def path(self, name: object) -> PathFacts:
        """What is known of a path or hub name, as the config writes it, else of the name without `#N` and `:subset`; nothing
        where nobody looked."""
        bare = name.rpartition("#")[0] or name if isinstance(name, str) else ""
        keys = (name, bare, bare.rpartition(":")[0])
        return next((known(self.paths[key]) for key in keys if isinstance(key, str) and key in self.paths), None) or PathFacts()


def parse_facts(data: Any, source: str) -> Facts:
    """Facts from parsed JSON. `source` names the file in errors.

    Raises FactsError for foreign data, a schema of the future, or a value of another type.
    """
    again = Text("collect them again: swift-fa preflight CONFIG --save-facts FILE",
                 "重新收集：swift-fa preflight CONFIG --save-facts FILE")
    if not isinstance(data, dict) or "schema" not in data:
        raise FactsError("facts-unreadable", Text("this file does not hold saved facts", "这不是保存的环境信息文件"),
                         where=source, why=Text('there is no "schema" at the top', "顶层没有 “schema” 字段"), hint=(again,))
    if data["schema"] != SCHEMA:
        raise FactsError("facts-schema-unknown",
                         Text(f"these facts have schema {data['schema']!r}, but this launcher reads schema {SCHEMA}",
                              f"环境信息的 schema 是 {data['schema']!r}，本程序只读 schema {SCHEMA}"), where=source,
                         hint=("pip install --upgrade swift-fa-launcher", again))
    try:
        facts: Facts = decode(Facts, _without_untold(data))
        return facts
    except DecodeError as error:
        raise FactsError("facts-unreadable", Text("the saved facts do not fit their schema", "环境信息与其 schema 不符"),
                         where=source, why=error.sentence, hint=(again,)) from None


#: Groups of named facts that are always there; each name in them may be missing.
_GROUPS = ("host", "env", "paths", "network")


def _without_untold(data: dict[str, Any]) -> dict[str, Any]:
    """The data without `schema`, and without groups and variables of which it only says that they are unknown or null. A
    variable that is null is not set, which says something."""
    told = {key: value for key, value in data.items() if key != "schema" and not (key in _GROUPS and _is_untold(value))}
    host, env = told.get("host"), told.get("env")
    if isinstance(host, dict) and _is_untold(host.get("free_gib")):
        told["host"] = {name: value for name, value in host.items() if name != "free_gib"}
    if isinstance(env, dict):
        told["env"] = {name: value for name, value in env.items() if value is None or not _is_untold(value)}
    return told


def _is_untold(value: object) -> bool:
    return value is None or (isinstance(value, dict) and set(value) == {"unknown"} and not isinstance(value["unknown"], dict))


def facts_to_json(facts: Facts) -> dict[str, Any]:
    """The facts as plain data, `schema` first; `parse_facts` reads it back."""
    return {"schema": SCHEMA, **encode(facts)}
