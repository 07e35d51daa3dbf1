"""How each known failure looks in a log: one row per way that it shows. Pure data; ranking is in `verdict`.

Of the rows whose pattern a line fits, the first in the table speaks, so the special stand before the general. Sources:
the messages in ms-swift (2.x to 4.6), transformers, torch, flash-attn's setup.py, SwanLab (0.3 to 0.10), pip, uv,
torchrun and Slurm, and the public threads that show them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

from packaging.version import Version

from swift_fa_launcher.diagnose.context import Context
from swift_fa_launcher.errors import Text, Words
from swift_fa_launcher.flash.symbols import string_abi


class Kind(Enum):
    """What a line tells about the failure."""

    CAUSE = "cause"  # where this stands and the run died, this is why
    OMEN = "omen"  # may be harmless: a retry, a warning; it explains a failure that follows
    RESULT = "result"  # a failure that something else may have brought about
    HINT = "hint"  # harms without failing; told when nothing failed for a better reason
    OUTCOME = "outcome"  # the run ended as if all were well, and did not do what it was for
    FAILURE = "failure"  # something failed, it does not say what
    NOTE = "note"  # no failure: says how the run was set up
    PROOF = "proof"  # no failure: what stands in `settles` was overcome
    STARTED = "started"  # a training begins
    TRAINED = "trained"  # all its steps are made: what stood before was overcome
    ENDED = "ended"  # ms-swift has nothing left to do: what fails from here on did not stop it


@dataclass(frozen=True)
class Signature:
    """needles: a line must hold one of them (no digits in it). pattern: searched in the line without its speaker; its
    groups are the values. detail: the values as the summary names them. around, beside, frames: patterns that the lines before
    must hold too (around: of the same speaker; beside: of any; frames: since the last traceback began). noted: the name that a
    NOTE gives its value. any_level: also on lines of INFO level, and no less sure on those of WARNING level. explains: the
    results that an OMEN goes before. settles: the codes that a PROOF clears; empty for all. holds: a last test of the values.
    where: what the log's context must be; where it is not, the next row has its turn. way: in which of the table's ways the
    code shows here."""

    code: str
    needles: tuple[str, ...]
    pattern: str
    detail: Words = ""
    kind: Kind = Kind.CAUSE
    around: str = ""
    beside: str = ""
    frames: str = ""
    noted: str = ""
    any_level: bool = False
    explains: frozenset[str] = frozenset()
    settles: frozenset[str] = frozenset()
    holds: Callable[[dict[str, str]], bool] | None = None
    where: Callable[[Context], bool] | None = None
    way: str | Callable[[Context], str] = ""


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """Compiled when first needed: the table is long and most logs need little of it."""
    return re.compile(pattern)


def _row(code: str, needles: str, pattern: str, detail: Words = "", kind: Kind = Kind.CAUSE, *, explains: str = "",
         settles: str = "", **more: Any) -> Signature:
    return Signature(code, tuple(needles.split("~")), pattern, detail, kind, explains=frozenset(explains.split()),
                     settles=frozenset(settles.split()), **more)


def _note(name: str, needles: str, pattern: str) -> Signature:
    """A row that takes the group `value` down, or the whole match."""
    return _row("", needles, pattern, kind=Kind.NOTE, noted=name, any_level=True)


def _by_gpu(context: Context) -> str:
    """The way of a GPU that torch or a kernel has no code for: it is older than 8.0, newer than 9.0, AMD's, or not known."""
    if context.platform == "rocm" or context.capability is None:
        return "rocm" if context.platform == "rocm" else ""
    return "older" if context.capability < _AMPERE else "newer" if context.capability >= _BLACKWELL else ""


OMEN, RESULT, HINT, OUTCOME, FAILURE, PROOF = (Kind.OMEN, Kind.RESULT, Kind.HINT, Kind.OUTCOME, Kind.FAILURE, Kind.PROOF)

_AMPERE, _BLACKWELL = Version("8.0"), Version("10.0")

_BUILD = (r"pip-install-|pip-build-env|pip-req-build|setup\.py|build_meta|egg_info|bdist_wheel|requires_for_build_wheel"
          r"|Getting requirements to build|Failed to (?:download and )?build|\buv\b.*build|builds-v0")
_COMPILE = r"nvcc|cicc|ptxas|cc1plus|ninja|cudafe|\.cu\b|Building wheel|flash_(?:fwd|bwd)"
_FLASH_FRAMES = (r"flash_attn/|flash_attn\\|flash_attn_interface|flash_attn\w*(?:cuda|gpu|func|forward|backward)|flash_api|flash_(?:fwd|bwd)"
                 r"|flash-attn")
#: Before a loader's complaint: that it is flash-attn's file, or that no file is named on this line.
_OF_FLASH = r"^(?:.*(?<!vllm_)flash_attn(?:(?!-packages/)\S)*: |(?!.*\.so[\w.]*: ).*)"
_IN_FLASH = r'File "[^"]*(?<!vllm_)flash_attn[/\\][^"]*"(?!(?s:.*)File ")'  # the innermost frame
_IN_CUTE = r'File "[^"]*flash_attn[/\\]cute[/\\][^"]*"(?!(?s:.*)File ")'
_IN_SWIFT = r'File "[^"]*[/\\]swift[/\\](?!cli[/\\](?!main))[^"]*"(?!(?s:.*)File ")'
_IN_ARGUMENTS = r'File "[^"]*[/\\]swift[/\\](?:[\w/\\]*arguments?[/\\][^"]*|trainers[/\\]arguments\.py)"(?!(?s:.*)File ")'
_IN_OTHERS = (r'File "[^"]*(?:vllm|xformers|transformer_engine|apex|bitsandbytes|torchvision|torchaudio|sgl_kernel|lmdeploy)[/\\][^"]*"'
              r'(?!(?s:.*)File ")')
_ON_WINDOWS = r"win-amd64|win_amd64|win32-cpython|cl /showIncludes|\\Temp\\|[A-Z]:\\\S+\.(?:cpp|cu|h)\b|MSVC"
_NETWORK = (r"(?:Failed to resolve|[Nn]ame resolution|Name or service not known|nodename nor servname|getaddrinfo failed"
            r"|Could not resolve host|Network is unreachable|No route to host|Connection refused|Connection reset"
            r"|Connection aborted|Remote(?:Disconnected| end closed connection)|(?<!_)[Tt]imed? ?out|Timeout|Max retries exceeded"
            r"|Cannot connect to proxy|Tunnel connection failed|ProxyError|NewConnectionError|error sending request"
            r"|Failed to connect to|unable to access|Can't connect|urlopen error|dns error|tcp connect error|WinError 100(?:5[0-4]|6[0-5])"
            r"|[Ee]rror 50[0234]|50[0234] (?:Server Error|Bad Gateway|Service)|too many 50\d error|rate limit exceeded)")
_NETWORK_NEEDLES = ("Remote end closed~RemoteDisconnected~esolve~name resolution~Name or service~nodename~getaddrinfo~unreachable~No route~Connection~onnection refused~onnection reset~imed out"
                    "~imeout~Max retries~ProxyError~error sending request~Failed to connect~unable to access"
                    "~Can't connect~urlopen error~dns error~connect error~HTTP Error~HTTP error~Server Error~Bad Gateway"
                    "~error responses~rate limit~WinError")
_HUBS = r"(?:modelscope\.(?:cn|ai)|huggingface\.co|hf-mirror\.com|/api/v1/(?:models|datasets))"
_PACKAGES = (r"github\.com|githubusercontent|pythonhosted|pypi\.|/simple/|pypi/|download\.pytorch\.org|tuna\.tsinghua|aliyun"
             r"|pip\b|flash[-_]attn|\.whl|\.tar\.gz|conda\.anaconda")
_TLS = (r"(?:CERTIFICATE_VERIFY_FAILED|certificate verify failed|certificate verification failed|SSLError|SSLV3_|TLSV1_"
        r"|SSLCertVerification|WRONG_VERSION_NUMBER|UNEXPECTED_EOF|Unable to establish SSL|EOF occurred in violation"
        r"|GnuTLS|self[- ]signed certificate|SSL module is not available|invalid peer certificate|UnknownIssuer|schannel"
        r"|SSL routines|SSL_ERROR|SSL: |SSL connect error)")
_TLS_NEEDLES = ("CERTIFICATE~ertificate~SSL~EOF occurred in violation~GnuTLS~UnknownIssuer~schannel")
_DATA_FRAMES = (r"load_dataset|MsDataset|dataset/loader|load_ms_dataset|dataset_builder|datasets/builder|preprocessor|get_dataset"
                r"|datasets/load|_prepare_dataset|datasets/packaged_modules")
_SITE = r"site-packages|dist-packages|/usr/(?:local/)?lib/python|/usr/(?:local/)?bin/|pip|\.egg"
_OUT_OF_MEMORY = (r"(?:(?:CUDA|HIP|NPU)\]?:? (?:driver )?(?:error: )?out of memory|cuda runtime error \(2\)|hipErrorOutOfMemory|\bOutOfMemoryError|cudaErrorMemoryAllocation|Cuda failure \d* ?'out of memory')"
                  r"(?:.*?Tried to allocate (?P<size>[\d.]+ \w+))?")
_NET_EXPLAINS = "wheel-not-found model-missing dataset-missing swanlab-login-failed mirror-unreachable tls-failed"
_SYMBOL = Text("undefined symbol {symbol}", "未定义符号 {symbol}")
_MODULE = Text("no module named {module}", "没有模块 {module}")


def _share_kept(values: dict[str, str]) -> float:
    return int(values["kept"]) / max(1, int(values["rows"]))


SIGNATURES: tuple[Signature, ...] = (
    # ---- How the run was set up, and what it overcame
    _note("attn_impl", "attn_impl~use_flash_attn", r"(?:attn_impl|use_flash_attn)[ =:'\"]+(?P<value>\w+)"),
    _note("deepspeed", "deepspeed", r"\bdeepspeed[ =]'?(?P<value>[\w./-]+)"),
    _note("ddp_timeout", "ddp_timeout", r"ddp_timeout[ =:'\"]+(?P<value>\d+)"),
    *(_note(name, f"{name}{also}", rf"(?:\b{name}{also.replace('~', '|')})[ =:'\"]+(?P<value>\d{{1,9}})\b") for name, also in (
        ("per_device_train_batch_size", "~--batch_size"), ("dataset_num_proc", ""), ("dataloader_num_workers", ""))),
    _note("max_length", "max_length", r"(?:--|[(, ])max_length[ =](?P<value>\d{1,9})\b"),
    _note("swanlab_folder", "Run data saved at~swanlab sync", r"(?:Run data saved at|swanlab sync) [`'\"]?(?P<value>/[^\s`'\"]+)"),
    _note("rocm", "+rocm~AMD Instinct~AMD Radeon~gfx~HIP error", r"\+rocm[\d.]*|AMD (?:Instinct|Radeon)|\bgfx\d{3,4}\b|\bHIP error"),
    _note("ascend", "torch_npu~HCCL~Hccl~ds_accelerator to npu~npu:~Ascend", r"torch_npu|\bHCCL|Hccl[A-Z]|ds_accelerator to npu|\bnpu:\d|\bAscend"),
    _note("gpu", "NVIDIA~Tesla~GeForce~Quadro", r"(?P<value>(?:NVIDIA |Tesla )(?!Release|Driver|CUDA|NCCL|Container|Open|Corp)[A-Z][\w ]*?\d{1,4}\w*(?: Ada)?|(?:GeForce|Quadro) [RG]TX \d{4})"),
    _note("sm", "CUDA capability~ompute capability", r"CUDA capability sm_(?P<value>\d{2,3})\b"),
    _row("", "Start time of running main~run sh: ", r"Start time of running main|^run sh: ", kind=Kind.STARTED, any_level=True),
    _row("", "'train_runtime'", r"'train_runtime'", kind=Kind.TRAINED, any_level=True),
    _row("", "End time of running main", r"End time of running main", kind=Kind.ENDED, any_level=True),
    _row("nothing-trained", "No training was carried out~'train_loss'", r"No training was carried out|'train_loss': '?0(?:\.0)?'?[,}]", kind=OUTCOME, any_level=True),
    _row("", "Successfully installed~Successfully built",
         r"Successfully (?:installed|built).*flash[-_]attn", kind=PROOF, any_level=True,
         settles="wheel-not-found wheel-invalid wheel-unsupported-here nvcc-missing nvcc-torch-mismatch nvcc-too-old "
                 "gcc-unsupported build-deps-missing build-memory-low mirror-unreachable tls-failed cuda-home-missing unknown"),
    _row("", "Successfully installed", r"Successfully installed", kind=PROOF, settles="mirror-unreachable tls-failed"),
    _row("", "filtered dataset length", r"origin length: (?P<rows>\d+), filtered dataset length: (?P<kept>\d+)", kind=PROOF,
         any_level=True, settles="rows-too-long dataset-format", holds=lambda values: _share_kept(values) > 0.5),

    # ---- SwanLab
    _row("swanlab-mode-unsupported", "invalid choice", r"swanlab[_-]mode.*invalid choice: (?P<mode>'?\w*'?)", "swanlab_mode={mode}"),
    _row("swanlab-mode-unsupported", "nvalid mode~must be one of", r"(?:Invalid mode: |`?mode`? must be one of .*got )(?P<mode>\S+)",
         "mode={mode}", around=r"swanlab"),
    _row("swanlab-local-needs-dashboard", "swanboard", r"No module named '(?P<module>swanboard)", _MODULE),
    _row("swanlab-local-needs-dashboard", "swanboard", r"Please install swanboard", kind=OMEN, around=r"Error executing 'on_\w+' in callback"),
    _row("swanlab-local-needs-dashboard", "swanboard", r"Please install swanboard|swanboard version does not match|swanlab\[dashboard\]"),
    _row("swanlab-missing", "swanlab", r"No module named '(?P<module>swanlab)'", _MODULE),
    _row("swanlab-missing", "install swanlab~swanlab to be installed", r"please install swanlab|requires swanlab to be installed"),
    _row("swanlab-version-conflict", "No active Run~requires an active Run", r"No active Run\. Call swanlab\.init"
         r"|`swanlab\.get_run` requires an active Run", "swanlab.get_run()"),
    _row("swanlab-version-conflict", "swanlab", r"module 'swanlab[\w.]*' has no attribute '(?P<name>\w+)'", "swanlab.{name}"),
    _row("swanlab-version-conflict", "from 'swanlab~No module named 'swanlab.",
         r"cannot import name '(?P<name>\w+)' from 'swanlab|No module named '(?P<module>swanlab\.[\w.]+)'", "{name}{module}"),
    _row("swanlab-version-conflict", "upgrade swanlab-server", r"upgrade swanlab-server"),
    _row("swanlab-unreachable", "error responses~Server Error", r"swanlab\.cn\b.*(?:too many (?P<status>5\d\d) error|\b(?P<code>5\d\d) Server Error)", "{status}{code}", way="outage"),
    _row("swanlab-version-conflict", "error responses~Server Error", r"host='(?P<host>[^']+)'.*too many (?P<error>5\d\d) error|(?P<answer>500) Server Error.*url: https?://(?P<server>[\w.:-]+)", "{host}{server}: {error}{answer}",
         frames=r"swanlab[/\\]", way="self-hosted"),
    _row("swanlab-version-conflict", "swanlab api error", r"swanlab api error.*(?P<status>40[45] ?[\w ]*|code: 40[45])", "{status}", way="self-hosted"),
    _row("swanlab-login-failed", "swanlab api error~API Request Failed~Unauthorized~AuthenticationError",
         r"(?:swanlab api error|API Request Failed: \[?|code=).*(?P<status>401|403|Unauthorized)", "{status}", around=r"(?i)swanlab"),
    _row("swanlab-login-failed", " Client Error~Unauthorized", r"(?P<status>40[13]) (?:Client Error|Unauthorized|Authorization).*swanlab", "{status}"),
    _row("swanlab-login-failed", "ogin failed~ey is invalid~nvalid api key~nvalid API key~key invalid",
         r"(?i)login failed|api[ _]?key (?:is )?invalid|invalid api[ _]?key", around=r"(?i)swanlab"),
    _row("swanlab-login-failed", "initialize the SwanLab client", r"Failed to initialize the SwanLab client", kind=RESULT),
    _row("swanlab-login-failed", "swanlab.error.ValidationError~AuthenticationError", r"(?:swanlab\.error\.ValidationError|swanlab\.exceptions\.AuthenticationError)",
         kind=RESULT),
    _row("swanlab-key-malformed", "ey length must be~APIKeyFormatError~key format",
         r"(?:APIKeyFormatError.*?)?[Aa]pi ?[Kk]ey length must be (?P<want>\d+)[^,]*, yours was (?P<length>\d+)|APIKeyFormatError|(?i:api.?key format)",
         Text("it has {length} characters instead of {want}", "有 {length} 个字符，应为 {want} 个")),
    _row("swanlab-not-logged-in", "online mode~API Key not provided~prompt for API Key~No API key~ey not configured~KeyFileError~Please login~not logged in",
         r"Failed to initialize SwanLab in online mode: (?P<why>[^,.]*)|API Key not provided|Cannot prompt for API Key"
         r"|No API key (?:provided|found)|[Aa]pi ?[Kk]ey not configured|swanlab\.error\.KeyFileError|Please login first|You are not logged in",
         "{why}", around=r"(?i)swanlab"),
    _row("swanlab-not-logged-in", "Paste an API key", r"Paste an API key from your profile", kind=OMEN),
    _row("swanlab-not-logged-in", "EOFError", r"^EOFError", around=r"(?i)paste an api key|swanlab", kind=RESULT),
    _row("swanlab-name-invalid", "roject name~xperiment name~xperiment_name~project.name",
         r"(?i)project name `?(?P<name>[^`]*?)`? (?:is invalid|can only contain|must be between|is too long|too long)"
         r"|experiment[ _]name.*(?:too long|invalid|exceed|at most)", "{name}"),
    _row("swanlab-resume", "resume~Experiment~run_id~run id~Run id",
         r"can't pass id when (?P<why>resume=\w+)|run_id must be provided when resume|only use resume in cloud mode|Experiment (?P<run>\w+) does not exist in project"
         r"|Invalid resume value|(?i:run[ _]?id.{0,60}(?:invalid|must be|21))|`?id`? must be (?:a string )?.{0,20}21",
         "{run}{why}", around=r"(?i)swanlab"),
    _row("swanlab-unreachable", _NETWORK_NEEDLES + "~" + _TLS_NEEDLES,
         rf"{_NETWORK}.*swanlab|swanlab.*{_NETWORK}|{_TLS}.*swanlab|swanlab.*{_TLS}|{_NETWORK}.*/api/house/|swanlab: network error",
         "{host}", explains="swanlab-login-failed"),
    _row("swanlab-unreachable", _NETWORK_NEEDLES + "~" + _TLS_NEEDLES, rf"(?:{_NETWORK}|{_TLS})", "{host}", frames=r"swanlab/|swanlab\\",
         explains="swanlab-login-failed"),
    _row("swanlab-unreachable", "network error", r"swanlab: network error|Upload failed .*retrying automatically", kind=OMEN),

    # ---- flash-attn as installed
    _row("flash-attn-glibc-too-new", "GLIBC~CXXABI", r"version [`'\"](?P<want>(?:GLIBC|GLIBCXX|CXXABI)_[\d.]+)'? not found(?! \(required by (?!\S*flash))",
         "{want}", around=r"flash"),
    _row("flash-attn-glibc-too-new", "rror loading shared library~rror relocating", r"Error (?:loading shared library|relocating)\b(?P<why>.*flash_attn.*)", "musl"),
    _row("torch-missing", "GLIBC~CXXABI", r"version [`'\"](?P<want>(?:GLIBC|GLIBCXX|CXXABI)_[\d.]+)'? not found.*torch/", "{want}"),
    _row("flash-attn-python-mismatch", "undefined symbol", r"flash.*undefined symbol: (?P<symbol>_?Py[A-Z_]\w*)", _SYMBOL),
    _row("flash-attn-python-mismatch", "module was compiled for Python", r"Python version mismatch: module was compiled for Python (?P<built>[\d.]+)",
         Text("it was built for Python {built}", "它是为 Python {built} 编译的"), around=r"flash"),
    _row("torch-missing", "undefined symbol", r"lib(?:torch|c10|caffe2|nccl|cudnn|cublas|cusparse)\S*: undefined symbol: (?P<symbol>\w+)", _SYMBOL),
    _row("flash-attn-cuda-mismatch", "undefined symbol", r"flash\S*: undefined symbol: (?P<symbol>(?:__)?cuda[A-Z]\w*|cu[A-Z]\w+)", _SYMBOL),
    _row("flash-attn-abi-mismatch", "undefined symbol~symbol: _Z",
         rf"{_OF_FLASH}(?:undefined |^)symbol: (?P<symbol>_Z\w+)", _SYMBOL, around=r"flash",
         holds=lambda values: string_abi(values["symbol"]) is not None),
    _row("flash-attn-torch-mismatch", "undefined symbol~symbol: _Z", rf"{_OF_FLASH}(?:undefined |^)symbol: (?P<symbol>\w+)", _SYMBOL, around=r"flash"),
    _row("requirement-conflict", "undefined symbol", r"(?P<file>[\w.-]+\.so[\w.]*): undefined symbol: (?P<symbol>_ZN?K?\w+)", "{file} {symbol}"),
    _row("requirement-conflict", "libcudart", r"(?P<library>libcudart(?:-\w+)?\.so[\d.]*): cannot open", "{library}", frames=_IN_OTHERS),
    _row("flash-attn-cuda-mismatch", "libcudart", r"(?P<library>libcudart(?:-\w+)?\.so[\d.]*): cannot open", "{library}"),
    _row("torch-cpu-only", ": cannot open shared object", r"(?P<library>lib(?:c10|torch)_cuda\S*\.so): cannot open", "{library}", frames=_FLASH_FRAMES),
    _row("flash-attn-import-failed", "file too short~ELF~: cannot open shared object~static TLS~map segment~executable stack",
         r"(?P<file>flash_attn[^\s/]*\.so[\w.]*): (?P<why>.{0,80})", "{file}: {why}"),
    _row("torch-missing", ": cannot open shared object",
         r"(?P<library>lib(?:cu(?:dnn|blas|sparse|fft|rand|solver|pti|file)|nv|nccl|torch|c10|mkl|gomp|iomp)\S*\.so[\d.]*): cannot open", "{library}"),
    _row("flash-attn-variant-missing", "flash_attn_interface~flash_attn_~flash_attn.cute~flash_attn.hopper",
         r"No module named '(?P<module>flash_attn_interface|flash_attn_3\S*|flash_attn_4\S*|flash_attn\.cute\S*|flash_attn\.hopper\S*|flash_attn_fwd)'", _MODULE),
    _row("flash-attn-variant-missing", "flash_attention_~FlashAttention~Flash Attention",
         r"(?:Flash ?Attention[ -]?|flash_attention_)(?P<generation>[34])\b.*(?:not (?:be )?(?:installed|available|found|supported)|cannot be used)",
         "FlashAttention {generation}"),
    _row("kernel-mismatch", "a version must be specified~uses an incompatible version", r"(?P<why>Either a revision or a version must be specified)|`kernels` is either not installed or uses an incompatible version.*?(?P<range>\([^)]*version[^)]*\))", "{why}{range}"),
    _row("kernel-missing", "a build variant~does not have ", r"Cannot find a build variant for this system in (?P<repo>\S+)|Kernel (?:at path )?`(?P<kernel>[^`]+)`.* does not have (?:a )?build: ?(?P<build>\S*)", "{repo}{build}"),
    _row("kernel-missing", "does not match environment", r"Torch version \((?P<built>[\d.]+)\) does not match environment Torch version \((?P<torch>[\d.]+)\)", Text("it is built for torch {built}, here is {torch}", "它是为 torch {built} 编译的，这里是 {torch}")),
    _row("kernel-missing", "Could not find the currently requested flash", r"Could not find the currently requested flash attention implementation at `(?P<repo>[^`]+)`", "{repo}"),
    _row("requirement-conflict", "Error", r"^(?:TypeError|NotImplementedError|\S*DSL\w*Error): (?P<why>.{0,100})", "{why}", frames=_IN_CUTE, way="cute"),
    _row("requirement-conflict", "DSL", r"^(?:[\w.]+\.)?DSL\w*Error: (?P<why>.{0,100})", "{why}", frames=r"flash_attn[/\\]cute", way="cute"),
    _row("flash-attn-variant-missing", "'flash_attn", r"^ImportError: cannot import name '\w+' from 'flash_attn\.cute\S*' \(unknown location\)"),
    _row("flash-attn-import-failed", "Error", r"^(?:ImportError|ModuleNotFoundError|AttributeError): (?P<why>.{0,100})", "{why}", frames=_IN_CUTE, way="cute"),
    _row("flash-attn-variant-missing", "Error", r"^(?:AttributeError|ImportError|TypeError|ModuleNotFoundError|KeyError): (?P<why>.{0,80})", "flash_attn.cute: {why}",
         frames=r"flash_attn[/\\.]cute"),
    _row("flash-attn-shadowed", "flash_attn", r"^KeyError: 'flash_attn'$", Text("no distribution owns it", "没有任何已安装的软件包包含它"), frames=r"PACKAGE_DISTRIBUTION_MAPPING|is_flash_attn"),
    _row("flash-attn-shadowed", "flash_attn", r"'flash_attn' is not a package|flash_attn\.__spec__ is (?:None|not set)"
         r"|partially initialized module 'flash_attn'|module 'flash_attn' has no attribute '(?P<name>\w+)'", "flash_attn"),
    _row("flash-attn-shadowed", "flash_attn_", r"No module named 'flash_attn_2_cuda'",
         Text("imported from a folder outside site-packages", "从 site-packages 之外的目录导入"),
         frames=r'File "(?![^"]*(?:site-packages|dist-packages|\.egg))[^"]*flash_attn/'),
    _row("flash-attn-extension-missing", "flash_attn_", r"No module named '(?P<module>flash_attn_2_cuda)'", _MODULE),
    _row("flash-attn-import-failed", "flash_attn_cuda", r"No module named '(?P<module>flash_attn_cuda)'", _MODULE),
    _row("flash-attn-missing", "unknown location", r"cannot import name '(?P<name>\w+)' from 'flash_attn[\w.]*' \(unknown location\)", "{name}"),
    _row("flash-attn-shadowed", "from 'flash_attn", r"cannot import name '(?P<name>\w+)' from 'flash_attn[\w.]*' \((?P<file>(?!\S*(?:site-packages|dist-packages|\.egg))[^)]+)\)",
         "{file}"),
    _row("flash-attn-too-old", "unexpected keyword argument", r"\bflash_attn_\w*(?:func|kvcache)\(\) got an unexpected keyword argument '(?P<name>\w+)'", "{name}"),
    _row("flash-attn-too-old", "flash_attn~FlashAttention~flash-attn~flash attention version",
         r"flash[_-]attn (?:package )?version to be (?:greater or equal|>=?) ?(?:than )?(?P<want>[\d.]*\d)|requires at least version `?(?P<least>[\d.]*\d)"
         r"|cannot import name '(?P<name>flash_attn_(?:varlen|with_kvcache|func\b)\w*)' from 'flash_attn(?:\.flash_attn_interface)?'"
         r"|Error: The current (?P<old>flash attention version) does not support",
         Text("needs {want}{least}{name}", "需要 {want}{least}{name}")),
    _row("flash-attn-import-failed", "flash_attn", r"cannot import name '(?P<name>\w+)' from 'flash_attn[\w.]*'|No module named '(?P<module>flash_attn\.[\w.]+)'",
         "{name}{module}"),
    _row("flash-attn-too-old", "flash attention version", r"flash attention version does not support", kind=OMEN),
    _row("flash-attn-import-failed", "DLL load failed", r"DLL load failed while importing (?P<module>flash_attn\w*): (?P<why>.*)", "{module}: {why}"),
    _row("gpu-arch-unsupported", "compute capability", r"FlashAttention\d? requires compute capability >= (?P<want>[\d.]+), but found \(?(?P<found>[\d., ]+)\)?",
         Text("its compute capability is {found}; {want} is needed", "它的计算能力是 {found}，需要 {want}")),
    _row("torch-cpu-only", "not available on CPU", r"FlashAttention.*not available on CPU", around=r"\d\+cpu"),
    _row("gpu-none", "not available on CPU", r"Flash ?Attention.*not available on CPU"),
    _row("flash-attn-missing", "flash_attn~flash-attn~FlashAttention~Flash Attention~flash attention",
         r"No module named '?(?P<module>flash_attn)'?(?![\w.])|the package flash_attn seems to be not installed|the package for FlashAttention2? doesn't seem"
         r"|No package metadata was found for flash[_-]attn|packages that were not found in your environment:.*flash_attn|(?i:pip install flash[-_]attn\b.*to use|please (?:pip )?install flash[-_ ]attn)"
         r"|Flash ?Attention[ -]?2? (?:is )?not (?:available|installed)|flash[-_]attn (?:package )?(?:is )?not (?:found|installed)"
         r"|name 'flash_attn_\w+' is not defined|name '_flash_attention_forward' is not defined", way=lambda context: "" if context.platform == "cuda" else context.platform),
    _row("flash-attn-import-failed", "No module named~cannot import name", r"^(?:ModuleNotFoundError|ImportError): (?!No module named '?(?:torch\b|flash_attn))(?P<why>.{0,100})",
         "{why}", frames=_IN_FLASH),
    _row("flash-attn-import-failed", "No module named", r"No module named '(?P<module>dropout_layer_norm|rotary_emb|fused_dense_lib|xentropy_cuda_lib|fused_softmax_lib)'", _MODULE),
    _row("flash-attn-missing", "You do not have `flash_attn` installed", r"You do not have `flash_attn` installed", kind=OMEN),

    # ---- GPUs, driver, memory
    _row("flash-attn-head-dim", "head dim~headdim~head_dim", r"(?i)\bonly supports? head ?dim(?:ension)?s? (?:(?:at most|<=|up to) )?(?P<most>\d+)|FlashAttention backward for head dim > (?P<backward>\d+) requires",
         Text("at most {most}{backward}", "最大 {most}{backward}")),
    _row("flash-attn-head-dim", "head dim~headdim~head_dim", r"(?i)flash attention build does not support (?P<build>head ?dim.{0,50}?)\.?$|(?P<dim>head_dim(?:ension)? \d+) (?:is )?not supported by flash", "{dim}{build}"),
    _row("flash-attn-head-dim", "AssertionError", r"^AssertionError$", frames=r"SM100_TMEM_CAPACITY"),
    _row("flash-attn-head-dim", "is_sm~launch shared memory", r"Expected is_sm\w+(?: \|\| is_sm\w+)* to be true|kernel '\w*Flash\w+' launch shared memory exceeds"),
    _row("gpu-out-of-memory", "out of memory~OutOfMemory", _OUT_OF_MEMORY, Text("it needed {size} more", "还需要 {size}"),
         frames=r"in (?:evaluation_loop|prediction_step|evaluate|prediction_loop)\b", way="evaluation"),
    _row("gpu-out-of-memory", "out of memory~OutOfMemory", _OUT_OF_MEMORY, Text("it needed {size} more", "还需要 {size}")),
    _row("gpu-out-of-memory", "ALLOC_FAILED~cache blocks", r"CU(?:BLAS|DNN|SOLVER)_STATUS_ALLOC_FAILED|No available memory for the cache blocks"),
    _row("gpu-memory-low", "ree memory on device", r"[Ff]ree memory on device.*less than"),
    _row("gpu-flash-attn-leftover", "only supports Ampere", r"FlashAttention only supports Ampere", where=lambda context: context.has("attn_impl", r"(?i)^(?:sdpa|eager|false|flex\w*)$")),
    _row("gpu-arch-unsupported", "only support", r"(?i:flash ?attention\S* (?:forward |backward )?only supports? (?P<want>Ampere|Hopper|Blackwell)\w* GPUs?)|only supports? (?:Hopper|sm_?90)"
         r"|FlashAttention (?:currently )?only supports (?:AMD )?(?P<amd>MI\d+)|FA version \d is not supported due to (?P<why>.{0,120})|only supported on devices with compute capability",
         "{want}{amd}{why}", way=_by_gpu),
    _row("bf16-unsupported", "only supported on A", r"bf16 is only supported on A100"),
    _row("gpu-arch-unsupported", "ith capability >~compute capability >", r"requires (?:a GPU|device) with (?:compute )?capability > (?P<want>[\d., ()]+?)(?: but your GPU has capability (?P<found>\([\d, ]+\)).*)?$",
         Text("compute capability above {want} is needed {found}", "需要高于 {want} 的计算能力 {found}"), RESULT),
    _row("gpu-arch-unsupported", "is not compatible with the current PyTorch", r"(?P<gpu>NVIDIA .*?) with CUDA capability (?P<arch>sm_\d+) is not compatible", "{gpu}, {arch}", kind=OMEN, explains="nccl-timeout", way=_by_gpu),
    _row("flash-attn-arch-missing", "no kernel image~nvalid device function", r"no kernel image is available|invalid device function", frames=rf"{_FLASH_FRAMES}"),
    _row("gpu-arch-unsupported", "no kernel image~nvalid device function", r"no kernel image is available|(?:CUDA|HIP) error: invalid device function|hipErrorNoBinaryForGpu", way=_by_gpu),
    _row("gpu-arch-unsupported", "nsupported compute capability~nsupported GPU arch~nsupported arch", r"(?i)unsupported (?:compute capability|gpu arch\w*|arch)[: ]*(?P<arch>[\w.]*)", "{arch}"),
    _row("driver-too-old", "driver version is insufficient~driver on your system is too old~InsufficientDriver",
         r"driver version is insufficient|NVIDIA driver on your system is too old(?: \(found version (?P<found>\d+)\))?|InsufficientDriver",
         Text("found version {found}", "检测到版本 {found}"), any_level=True),
    _row("driver-too-old", "device kernel image is invalid~unsupported toolchain~unsupported display driver~forward compatibility~update your driver",
         r"(?P<why>device kernel image is invalid|PTX was compiled with an unsupported toolchain|unsupported display driver|forward compatibility was attempted"
         r"|please update your driver|unsatisfied condition: cuda\S*)", "{why}", any_level=True),
    _row("gpu-none", "system not yet initialized~SystemNotReady~SYSTEM_NOT_READY", r"system not yet initialized|cudaErrorSystemNotReady|CUDA_ERROR_SYSTEM_NOT_READY", way="fabric manager"),
    _row("gpu-none", "No CUDA GPUs~no NVIDIA driver~no CUDA-capable~NVIDIA-SMI has failed~CUDA unknown error~initialize NVML~NVML Shared Library~torch.cuda.is_available() is False",
         r"No CUDA GPUs are available|Found no NVIDIA driver|no CUDA-capable device|NVIDIA-SMI has failed|CUDA unknown error|Failed to initialize NVML"
         r"|NVML Shared Library Not Found|torch\.cuda\.is_available\(\) is False"),
    _row("gpu-none", "No CUDA runtime is found", r"No CUDA runtime is found", kind=OMEN, explains="cuda-home-missing"),
    _row("torch-cpu-only", "not compiled with CUDA~compiled without CUDA", r"Torch not compiled with CUDA enabled|PyTorch was compiled without CUDA", where=lambda context: context.platform == "cuda"),
    _row("torch-cpu-only", "expected string or bytes-like object", r"expected string or bytes-like object", frames=r"torch\.version\.cuda|get_cuda_bare_metal|get_wheel_url|setup\.py"),
    _row("cuda-home-missing", "unsupported operand", r"unsupported operand type\(s\) for \+: 'NoneType' and 'str'", "CUDA_HOME", frames=r"cuda_dir|CUDA_HOME|get_cuda_bare_metal"),
    _row("nvcc-missing", "WinError~No such file", r"\[(?:WinError 2|Errno 2)\]", "nvcc", frames=r"get_cuda_bare_metal_version|/bin/nvcc|_get_cuda_version"),
    _row("nproc-exceeds-gpus", "nvalid device ordinal", r"invalid device ordinal", around=r"local_rank[:= ]+\d|nproc_per_node|NPROC_PER_NODE|\[rank\d|torchrun|torch[./]distributed"),
    _row("gpu-not-visible", "nvalid device ordinal~nvalid device id", r"invalid device ordinal|Invalid device id"),
    _row("nproc-exceeds-gpus", "uplicate GPU detected", r"[Dd]uplicate GPU detected ?:? ?(?P<ranks>.{0,70})", "{ranks}"),
    _row("flash-attn-probe-failed", "illegal memory access~misaligned address~launch failure~an illegal instruction",
         r"CUDA error: (?P<why>an illegal memory access|misaligned address|unspecified launch failure|an illegal instruction)", "{why}", frames=rf"{_FLASH_FRAMES}"),
    _row("flash-attn-probe-failed", "CUDA error (", r"CUDA error \([^)]*flash[^)]*\): (?P<why>.{0,80})", "{why}"),
    _row("flash-attn-probe-wrong", "flash-attn-probe-wrong", r"flash-attn-probe-wrong"),
    _row("shm-small", "Bus error~shared memory~hared memory~/dev/shm~/torch_",
         r"killed by signal: Bus error|out of shared memory|insufficient shared memory|No space left on device.*/dev/shm|/dev/shm.*No space left"
         r"|shared memory segment|unable to (?:write to file|open shared memory object) </?torch_(?!.*Too many open files)|unable to mmap.*torch_(?!.*Too many)"
         r"|^Bus error\. It is possible that dataloader", any_level=True),
    _row("build-memory-low", "Killed~illed signal~died due to signal~SIGKILL~Memory allocation failure~LLVM ERROR", r"ptxas fatal\s*: Memory allocation failure|LLVM ERROR: out of memory|(?:cicc|ptxas|cudafe\+\+|nvcc|cc1plus|c\+\+|g\+\+|ninja)\b.*(?:Killed|died due to signal 9|SIGKILL)|Killed.*(?:cicc|ptxas|cudafe|cc1plus|nvcc)|Killed signal terminated program"),
    _row("build-memory-low", "Killed", r"^(?:/bin/(?:ba)?sh: )?(?:line )?[\d: ]*Killed\b(?!.*swift)", around=rf"(?s)(?:{_COMPILE})(?!.*\[INFO:swift)"),
    _row("host-out-of-memory", "oom-kill~oom_kill~OOMKilled~Out of memory: Killed~ut Of Memory~out-of-memory~xceeded",
         r"(?i)exceeded (?:job |step |virtual |its )?memory limit|: Out Of Memory$|oom[-_]kill|OOMKilled|Out of memory: Killed process|some of the step tasks have been OOM|OUT_OF_MEMORY"),
    _row("host-out-of-memory", "DefaultCPUAllocator~MemoryError~bad_alloc~Cannot allocate memory~malloc of size~Unable to allocate",
         r"DefaultCPUAllocator: (?:not enough memory|can't allocate memory).*?(?P<bytes>\d+ bytes)?|^\S*MemoryError\b|std::bad_alloc|Cannot allocate memory|malloc of size (?P<size>\d+) failed"
         r"|Unable to allocate (?P<room>[\d.]+ [KMGT]iB)", "{bytes}{size}{room}"),
    _row("host-out-of-memory", "killed by signal~illed", r"DataLoader worker.*killed by signal: Killed|^(?:\S*: )?(?:line \d+: )?\s*(?:\d+\s+)?Killed\b|已杀死"),
    _row("host-out-of-memory", "abruptly died~terminated abruptly", r"subprocesses has abruptly died during map|process in the process pool was terminated abruptly",
         Text("a process that prepares the dataset was killed", "处理数据集的子进程被结束"), RESULT),
    _row("host-out-of-memory", "failed (exitcode: -", r"failed \(exitcode: -9\) local_rank: (?P<killed>\d+) \(pid: (?P<pid>\d+)\)",
         Text("local rank {killed} (process {pid}) was killed (SIGKILL, 9)", "local rank {killed}（进程 {pid}）被 SIGKILL (9) 结束"), RESULT),
    _row("host-out-of-memory", "exitcode~exit code~SIGKILL~return code~exit status",
         r"\(exitcode: -9\)|exitcode\s*: -9\b|Signal 9 \(SIGKILL\) received|died with <Signals\.SIGKILL|exits with return code = -9|(?:exit code|exit status|exited with code) (?:137|-9)\b",
         Text("a process was killed (SIGKILL, 9)", "进程被 SIGKILL (9) 结束"), RESULT),

    # ---- Arguments of ms-swift
    _row("arg-invalid", "arget modules ", r"Target modules (?P<names>.{0,200}?) not found in the base model", "{names}", way="target_modules"),
    _row("model-not-trainable", "arget module ~support training~purely quantized", r"Target module (?P<module>\w*(?:Quant|WQLinear|FP\d)\w*).{0,200}? is not supported|quantized with (?P<method>\S+) but that quantization method do(?:es)? not support training"
         r"|(?P<pure>fine-tuning on purely quantized models)", "{module}{method}{pure}"),
    _row("arg-invalid", "arget module ", r"Target module (?P<names>\w+).{0,200}? is not supported", "{names}", way="target_modules"),
    _row("arg-conflict", "engths", r"Column '?lengths?'? (?:doesn't exist|not in the dataset)", "group_by_length, lazy_tokenize", frames=r"get_train_dataloader|batch_sampler_params|lengths'\]", way="group_by_length"),
    _row("arg-conflict", "Column lengths", r"KeyError: [\"']Column lengths not in the dataset", "group_by_length, lazy_tokenize", way="group_by_length"),
    _row("arg-conflict", "mark a variable ready~does not require grad", r"(?P<why>Expected to mark a variable ready only once|element \d+ of (?:tensors|variables) does not require grad)", "{why}", frames=r"Traceback", way="gradient_checkpointing"),
    _row("dataset-format", "lengths should not be empty", r"lengths should not be empty", way="task_type"),
    _row("arg-invalid", "remaining_argv~unrecognized arguments~command not found",
         r"remaining_argv: \['\\+\s*'|unrecognized arguments: \\\s*$|: (?P<name>--\w+): (?:command not found|未找到命令)",
         Text("a line of the command lacks the backslash at its end, or has a space after it {name}", "命令换行处缺少反斜杠，或反斜杠后有空格 {name}")),
    _row("arg-unknown", "remaining_argv", r"remaining_argv: (?P<argv>\[.*\])", "{argv}"),
    _row("arg-unknown", "unrecognized arguments~ambiguous option", r"error: (?:unrecognized arguments: |ambiguous option: )(?P<argv>.*)", "{argv}"),
    _row("arg-unknown", "not used by the HfArgumentParser", r"are not used by the HfArgumentParser: (?P<argv>\[.*)", "{argv}"),
    _row("arg-invalid", "DeepSpeed config values that mismatch", r"(?P<why>DeepSpeed config values that mismatch TrainingArguments values)", "{why}"),
    _row("arg-missing", "arguments are required", r"the following arguments are required: -*(?P<name>\w+)", "{name}"),
    _row("arg-missing", "input the training dataset", r"lease input the training (?P<name>dataset)", "{name}"),
    _row("arg-missing", "lease set --model", r"Please set --(?P<name>model)\b", "{name}"),
    _row("arg-missing", "max_steps has to be specified", r"(?P<name>max_steps) has to be specified", Text("a streamed dataset needs {name}", "流式数据集需要 {name}")),
    _row("arg-missing", "match `template~specify template~specify `template", r"(?:Failed to automatically match|[Pp]lease specify) `?(?P<name>template)_type", "{name}"),
    _row("arg-invalid", "error: argument", r"error: argument (?P<name>--?[\w-]+)[^:]*: (?P<why>.*)", "{name}: {why}"),
    _row("arg-invalid", "attn_implementation", r"Specified `?attn_implementation=[\"'](?P<value>[^\"']*)[\"']`? is not supported", "attn_impl {value}"),
    _row("arg-invalid", "existing deepspeed config~default-zero", r"existing deepspeed config.*Received: (?P<value>.*)|(?:No such file|not (?:found|exist)).*(?P<ds>default-zero\d)", "deepspeed {value}{ds}"),
    _row("arg-invalid", "is not supported, only", r"(?P<why>\S+ is not supported, only .{0,60})", "{why}"),
    _row("arg-invalid", "Unable to parse string", r"Unable to parse string: '(?P<value>[^']*)'", "{value}"),
    _row("arg-invalid", "Unknown t~args.t~template_type~At most one of fp~tuner_type~is not a valid ~requires the sav~--config` argument~FSDP~Streaming and lazy_tokenize",
         r"(?P<why>Unknown (?:train|tuner)_type: .*|args\.(?:train_type|tuner_type|torch_dtype): .*|template_type: '[^']*' not in|At most one of fp16 and bf16 can be True.*"
         r"|'?[\w-]+'? is not a valid \w+, please select one of.*|requires the (?:save and eval strategy to match|saving steps to be a round multiple).*|`--config` argument requires.*|FSDP2 is not compatible.*|Streaming and lazy_tokenize are incompatible)", "{why}"),
    _row("model-type-unknown", "model_type~Model ", r"model_type:? '?(?P<name>[\w.-]+)'? (?:is not registered|not in \[)|no suitable `?model_type`? was found"
         r"|Failed to automatically match `?model_type|explicitly pass the model_type", "{name}"),
    _row("packing-lazy-tokenize", "acking and lazy_tokenize", r"[Pp]acking and lazy_tokenize are incompatible|lazy_tokenize.*(?:conflict|incompatible).*packing"),
    _row("packing-needs-fla", "packing/padding-free with multiple", r"packing/padding-free with multiple sequences"),
    _row("packing-model-unsupported", "padding free or packing", r"(?:[Tt]emplate )?[`'\"]?(?P<name>[\w.-]+)[`'\"]? does not support (?:padding free or )?packing", "{name}"),
    _row("packing-needs-flash-attn", "flash attention~flash_att",
         r"(?i)The [\"'](?:packing|padding_free)[\"'] feature (?:requires a flash|needs to be used in conjunction)|(?:sample_)?packing.{0,40}(?:requires?|needs?|without).{0,20}flash[ _-]att"),
    _row("packing-cache-not-shared", "check_shared_disk~packing_cache~shared disk~packing_share",
         r"No such file or directory: '(?P<path>[^']*check_shared_disk\S*)'|(?i:packing_cache.*(?:shared|same)|not (?:on )?a shared disk)", "{path}"),
    _row("packing-cache-not-shared", "Error", r"^(?:AssertionError|ValueError|FileNotFoundError)\b(?P<why>.{0,90})", frames=r"check_shared_disk"),
    _row("rows-too-long", "retrieve the dataset", r"Failed to retrieve the dataset\. You can avoid this issue by increasing `max_length`"),
    _row("rows-too-long", "is larger", r"Current length of row\((?P<length>\d+)\) is larger than the max_length\((?P<most>\d+)\)", Text("a row has {length} tokens, max_length is {most}", "一行有 {length} 个 token，max_length 为 {most}"), HINT),
    _row("flash-attn-dtype", "only support", r"(?i:flash ?attention\S* only supports? (?:fp16 and bf16|torch\.float16 and torch\.bfloat16))", kind=Kind.CAUSE),
    _row("bf16-unsupported", "support bf~--tf~float~Float", r"setup doesn't support bf16|--tf32 requires Ampere|[Bb]float16 is only supported on GPUs with compute capability|(?:GPU|device|CUDA) does(?:n't| not) support (?:bf16|bfloat16)"),
    _row("deepspeed-launch", "DeepSpeed is not compatible with~device_map", r"DeepSpeed is not compatible with (?:MP|`?device_map`?)(?:.*n_gpu: (?P<gpus>\d+), local_world_size: (?P<ranks>\d+))?"
         r"|device_map='?auto'?.* in any distributed mode|can't train a model that has been loaded with `?device_map", Text("this node has {gpus} GPUs and {ranks} process(es)", "本机有 {gpus} 块 GPU、{ranks} 个进程")),
    _row("deepspeed-launch", "DummyOptim", r"'DummyOptim' object has no attribute '(?P<name>\w+)'", "DummyOptim", way="no torchrun"),
    _row("deepspeed-launch", "weight' must be", r"'weight' must be \d-D", "ZeRO-3", where=lambda context: context.has("deepspeed", r"zero3|zero_?3|default-zero3"), way="no torchrun"),
    _row("deepspeed-missing", "eepspeed~eepSpeed", r"No module named '(?P<module>deepspeed)'|PackageNotFoundError: .*deepspeed|No package metadata was found for deepspeed|(?i:deepspeed is not installed|requires? `?deepspeed`?: `?pip install|install deepspeed)"),

    # ---- Compilers and the CUDA toolkit
    _row("build-torch-mismatch", "later compatible compiler", r"(?P<standard>C\+\+2\d) or later compatible compiler is required", "{standard}"),
    _row("rocm-build", "CUDA_HOME~nvcc", r"CUDA_HOME (?:environment variable )?(?:is not set|does not exist)|nvcc was not found|nvcc: (?:command )?not found|No such file or directory: '?[^' ]*nvcc", where=lambda context: context.platform == "rocm"),
    _row("rocm-build", "not supported by Flash", r"(?P<gpu>gfx\w+) is invalid or not supported by Flash-?Attention", "{gpu}", way="gpu"),
    _row("nvcc-too-old", "for option 'gpu-name'", r"Value '(?P<arch>sm_\w+)' is not defined for option 'gpu-name'", "ptxas, {arch}", around=r"[Tt]riton|PTXAS", way="triton"),
    _row("cuda-home-missing", "CUDA_HOME", r"CUDA_HOME (?:environment variable )?(?:is not set|does not exist)|CUDA_HOME.*(?:not found|not set)|CUDA was not found on the system.*CUDA_HOME"),
    _row("nvcc-missing", "nvcc", r"nvcc was not found", kind=OMEN, any_level=True, where=lambda context: context.platform != "rocm"),
    _row("nvcc-missing", "nvcc", r"No such file or directory: '?(?P<path>[^' ]*nvcc)'?|nvcc: (?:command )?not found|nvcc: No such file|nvcc not found|unable to execute '\S*nvcc'", "{path}"),
    _row("nvcc-torch-mismatch", "mismatches the version", r"detected CUDA version \((?:(?P<nvcc>[\d.]+)|%s)\) mismatches the version that was used to compile\s*PyTorch \((?:(?P<torch>[\d.]+)|%s)\)(?:.*'(?P<here>\d+\.\d+)', '(?P<built>\d+\.\d+)'\))?", "nvcc {nvcc}{here}, torch {torch}{built}"),
    _row("nvcc-torch-mismatch", "mismatches the version", r"detected CUDA version \((?P<nvcc>[\d.%s]+)\) mismatches the version that was used to compile$", "nvcc {nvcc}"),
    _row("nvcc-torch-mismatch", "does not match the version torch was compiled with", r"Installed CUDA version (?P<nvcc>[\d.]+) does not match the version torch was compiled with (?P<torch>[\d.]+)(?!.*accepting this)",
         "nvcc {nvcc}, torch {torch}"),
    _row("cuda-home-missing", "fatal error: c~fatal error: nv~cannot find -lcu", r"fatal error: (?P<file>(?:cuda|cusparse|cublas|cusolver|curand|cufft|nvrtc|nvToolsExt)\w*\.h): No such file|cannot find -l(?P<lib>cu\w+)",
         "{file}{lib}"),
    _row("nvcc-too-old", "is only supported on CUDA~nsupported gpu architecture~is not defined for option~nknown option",
         r"FlashAttention\S* is only supported on (?P<want>CUDA [\d.]+ and above)|nvcc fatal\s*: (?P<why>Unsupported gpu architecture '\w+'|Value '(?:c\+\+\d+|sm_\w+)' is not defined.*|Unknown option '-?-?(?:std|threads|diag)\S*)", "{want}{why}"),
    _row("windows-unsupported", "'where', 'cl'", r"\['where', 'cl'\]"),
    _row("windows-unsupported", "compiling objects for extension~build stopped", r"Error compiling objects for extension|ninja: build stopped", kind=RESULT, around=_ON_WINDOWS),
    _row("windows-unsupported", "cl.exe~Microsoft Visual C++~WinError", r"Cannot find compiler 'cl\.exe'|Microsoft Visual C\+\+ 14|cl\.exe' failed|\[WinError 206\]"),
    _row("gcc-unsupported", "unsupported GNU version~unsupported Microsoft~unsupported clang", r"unsupported (?:GNU|clang) version! (?:gcc versions later than (?P<most>\d+))?", Text("nvcc accepts gcc up to {most}", "nvcc 最高支持 gcc {most}")),
    _row("gcc-unsupported", "The current installed version of~too old version of GCC~compatible compiler is required~unrecognized command",
         r"(?P<why>current installed version of \S+ \([\w.]+\) is (?:greater|less) than the (?:maximum|minimum) required version|too old version of GCC|C\+\+1\d or later compatible compiler is required|unrecognized command(?: |-)line option .-std=\S+)", "{why}"),
    _row("gcc-unsupported", "parameter packs not expanded~_Float~__builtin_ia~library support for the ISO", r"parameter packs not expanded with|requires compiler and library support for the ISO C\+\+|identifier \"(?:_Float32|__builtin_ia32\w+)\" is undefined"),
    _row("gcc-unsupported", "gcc~g++~c++", r"(?:unable to execute '|command '|No such file or directory: ')(?P<name>[\w./-]*(?:gcc|g\+\+|c\+\+))'(?:: No such file| failed: No such file|$)|[/\w]*\b(?P<cmd>gcc|g\+\+): (?:command )?not found",
         Text("{name}{cmd} was not found", "找不到 {name}{cmd}")),

    # ---- Installing
    _row("build-deps-missing", "No module named", r"No module named '?(?P<module>torch|packaging|psutil|wheel|setuptools|ninja|pybind11|numpy)\b", _MODULE, around=_BUILD),
    _row("build-deps-missing", "pkg_resources", r"No module named '?pkg_resources", way="pkg_resources"),
    _row("build-deps-missing", "bdist_wheel~Ninja is required~setuptools.build_meta~build dependency~build requirement",
         r"invalid command 'bdist_wheel'|Ninja is required|(?:Backend|Cannot import) '?setuptools\.build_meta|doesn't declare it as a build dependency|Extra build requirement `(?P<module>\w+)`", "{module}"),
    _row("build-deps-missing", "could not find ninja", r"could not find ninja", kind=OMEN),
    _row("install-cross-device", "nvalid cross-device link", r"Invalid cross-device link(?:: '[^']*' -> '(?P<path>[^']*)')?", "{path}"),
    _row("wheel-unsupported-here", "not a supported wheel", r"(?P<file>\S+\.whl) is not a supported wheel", "{file}"),
    _row("wheel-unsupported-here", "incompatible with the current~not compatible with the current",
         r"(?:path dependency|wheel).*(?:incompatible|not compatible) with the current (?:platform|Python)"),
    _row("wheel-invalid", "BadZipFile~zip file~nvalid wheel~valid wheel~Wheel ~wheel ~does not match~inconsistent version~HASHES~hash mismatch~Bad CRC~end of central directory~Hash mismatch~heel filename",
         r"BadZipFile(?:: (?P<why>.*))?|is not a zip file|[Ii]nvalid wheel filename|is not a valid wheel filename|has an invalid wheel|Wheel '.*' located at .* is invalid|wheel filename \S+ is invalid|dist-info directory not found"
         r"|Wheel version does not match filename: (?P<versions>.*)|Package metadata (?:name|version) .* does not match|has inconsistent (?:version|name)|DO NOT MATCH THE HASHES|[Hh]ash mismatch|Bad CRC-32|end of central directory"
         r"|invalid wheel", "{why}{versions}"),
    _row("site-packages-not-writable", "externally-managed~externally managed", r"externally[- ]managed"),
    _row("site-packages-not-writable", "ermission denied~ead-only file system~not writeable~not writable~WinError",
         rf"(?:Permission denied|Read-only file system|\[WinError 5\]).*(?P<path>['\"`][^'\"`]*(?:{_SITE})[^'\"`]*)|site-packages is not writeable.*error|Could not install packages.*Permission denied", "{path}"),
    _row("wheel-not-found", "Precompiled wheel not found", r"Precompiled wheel not found", kind=HINT, any_level=True),
    _row("wheel-not-found", "HTTP Error~HTTP error~ Client Error", r"(?:HTTP Error 404|HTTP error 404|404 Client Error)(?:.*?(?P<url>https?://\S*(?:flash|\.whl)\S*))?", "{url}",
         RESULT, around=rf"\.whl|{_BUILD}|Guessing wheel URL|Could not install requirement|/releases/download/|(?:Collecting|install|Downloading) flash[-_]attn"),
    _row("wheel-not-found", "matching distribution~satisfies the requirement~no version of~no wheels~no matching",
         r"(?i:No matching distribution found for (?P<name>flash\S*)|satisfies the requirement (?P<want>flash\S*))|there (?:is|are) no versions? of flash[-_]attn|flash[-_]attn\S* has no wheels?|no wheels? (?:are )?available.*flash", "{name}{want}", RESULT),

    _row("wheel-not-found", "- flash", r"^- (?P<name>flash[-_]attn\S*)", "{name}", RESULT, around=r"PackagesNotFoundError|not available from current channels|nothing provides"),

    # ---- Networks, by what was to be fetched
    _row("dataset-missing", "Too Many Requests", r"429 Client Error: Too Many Requests.*/datasets/(?P<name>[\w.-]+/[\w.-]+)", "{name}", way="too many requests"),
    _row("model-missing", "Too Many Requests", r"429 Client Error: Too Many Requests.*(?:huggingface\.co|hf-mirror\.com|modelscope\.\w+)/(?:api/v?\d?/?models/|models/)?(?P<name>[\w.-]+/[\w.-]+)", "{name}", way="too many requests"),
    _row("tls-failed", _TLS_NEEDLES, _TLS, "{host}", explains=_NET_EXPLAINS),
    _row("dataset-missing", _NETWORK_NEEDLES, rf"(?:{_NETWORK}.{{0,400}})?(?P<host>(?<![\w-])(?:[\w-]{{1,63}}\.){{0,5}}(?:modelscope\.\w+|huggingface\.co|hf-mirror\.com)).{{0,300}}/datasets/(?P<name>[\w.-]+/[\w.-]+)", "{name} ({host})",
         explains=_NET_EXPLAINS),
    _row("dataset-missing", _NETWORK_NEEDLES, rf"(?:{_NETWORK}.*{_HUBS}|{_HUBS}.*{_NETWORK})", "{host}", frames=_DATA_FRAMES, explains=_NET_EXPLAINS),
    _row("model-missing", _NETWORK_NEEDLES, rf"{_NETWORK}.*{_HUBS}|{_HUBS}.*{_NETWORK}", "{host}", explains=_NET_EXPLAINS),
    _row("mirror-unreachable", _NETWORK_NEEDLES, rf"(?:{_NETWORK}).*(?:{_PACKAGES})|(?:{_PACKAGES}).*(?:{_NETWORK})", "{host}", explains=_NET_EXPLAINS),
    _row("mirror-unreachable", _NETWORK_NEEDLES, rf"^(?:error: |ERROR: |fatal: |urllib|requests|\S*Error|WARNING: Retrying|  Caused by|Caused by|\W*<?urlopen).*{_NETWORK}", "{host}", around=rf"{_BUILD}|Guessing wheel URL|pip install|Collecting ",
         explains=_NET_EXPLAINS),

    _row("mirror-unreachable", "fatal: clone of", r"fatal: clone of '(?P<host>https?://[^']+)'.* failed", "{host}", RESULT),

    # ---- Packages that are missing or do not go together
    _row("ms-swift-missing", "named 'swift'~swift: command not found~swift: not found~'swift' is not recognized~'swift' 不是", r"No module named 'swift'|'swift' (?:is not recognized|不是)|\bswift: (?:command )?not found|swift: ?未找到命令"),
    _row("swift-not-ms-swift", "Error", r"^\w+Error\b", frames=r'File "[^"]*swiftclient[/\\][^"]*"'),
    _row("swift-not-ms-swift", "swift", r"No module named '?(?P<module>swift\.[\w.]+)'?|cannot import name '(?P<name>\w+)' from 'swift(?:\.\w+)*'|unable to invoke subcommand: swift-(?P<sub>\w+)|no such command:? '?sft|swift.*[Uu]nknown command:? '?sft", "{module}{name}{sub}"),
    _row("requirement-conflict", "for a normal functioning of this module", r"(?P<want>\S+) is required for a normal functioning of this module, but found (?P<found>\S+)", Text("{want} is required, {found} is installed", "要求 {want}，实际安装的是 {found}"), way="wanted"),
    _row("requirement-conflict", "dependency conflicts~which is incompatible", r"source of the following dependency conflicts|(?P<why>\S+ \S+ requires \S+, but you have .* which is incompatible)", "{why}", OMEN),
    _row("package-missing", "distribution was not found", r"The '(?P<package>[^']+)' distribution was not found", "{package}"),
    _row("transformers-mismatch", "from 'transformers", r"cannot import name '(?P<name>\w+)' from 'transformers", "{name}"),
    _row("transformers-mismatch", "named 'transformers~module 'transformers~module transformers", r"No module named '(?P<module>transformers\.[\w.]+)'|module '?(?P<part>transformers[\w.]*)'? has no attribute '?(?P<name>\w+)", "{module}{part} {name}"),
    _row("requirement-conflict", "named 'transformers", r"No module named '(?P<module>transformers)'", _MODULE),
    _row("transformers-mismatch", "ransformers does not recognize~Tokenizer class", r"model type `(?P<name>[\w.-]+)` but Transformers does not recognize|Tokenizer class (?P<tokenizer>\w+) does not exist", "{name}{tokenizer}"),
    _row("transformers-mismatch", "transformers>~transformers<~transformers=", r"(?i:requires?|please (?:install|upgrade|downgrade)|needs?|ensure).*(?P<want>transformers ?[<>=!~]=?[^\s'\"`;]+)", "{want}"),
    _row("transformers-mismatch", "object has no attribute", r"'(?P<what>\w+(?:Attention|Cache|Config|Model|ForCausalLM|ForConditionalGeneration|Tokenizer(?:Fast)?|Processor|Trainer|Arguments|Embedding|Layer)\d*)' object has no attribute '(?P<name>\w+)'", "{what}.{name}",
         frames=r"transformers/|transformers_modules|transformers\\|swift/"),
    _row("transformers-mismatch", "object has no attribute", r"'(?P<what>\w+(?:FlashAttention|RotaryEmbedding|DynamicCache|StaticCache|ForCausalLM|ForConditionalGeneration)\d*|DynamicCache)' object has no attribute '(?P<name>\w+)'",
         "{what}.{name}"),
    _row("requirement-conflict", "unexpected keyword argument", r"\b(?P<what>(?:Accelerator|DataLoaderConfiguration|\w*LoraConfig|(?:SFT|DPO|KTO|PPO|GRPO)(?:Trainer|Config))\.\w+)\(\) got an unexpected keyword argument '(?P<name>\w+)'",
         "{what} {name}"),
    _row("transformers-mismatch", "unexpected keyword argument", r"got an unexpected keyword argument '(?P<name>\w+)'", "{name}", frames=r"transformers/(?:models|modeling|trainer|integrations)|transformers_modules|swift/trainers", kind=RESULT),
    _row("transformers-mismatch", "unexpected keyword argument", r"\b(?P<what>(?:Seq2Seq)?Train(?:er|ingArguments)\.__init__|\w+(?:Attention|DecoderLayer|ForCausalLM|MLP)\d*\.(?:forward|__init__))\(\) got an unexpected keyword argument '(?P<name>\w+)'",
         "{what} {name}"),
    _row("transformers-mismatch", "positional argument~unexpected keyword argument", r"^TypeError: (?P<what>[\w.<>]+)\(\) (?:got an unexpected keyword|missing|takes)\b", "{what}", RESULT,
         frames=r'File "[^"]*transformers[/\\]trainer\w*\.py"(?!(?s:.*)File ")'),
    _row("transformers-mismatch", "KeyError", r"^KeyError: '(?P<name>[\w.-]+)'$", "{name}", frames=r"configuration_auto|CONFIG_MAPPING"),
    _row("requirement-conflict", "cannot import name", r"cannot import name '(?P<name>\w+)' from (?:partially initialized module )?'(?P<package>trl|peft|accelerate|datasets|huggingface_hub|tokenizers|modelscope|deepspeed|pyarrow|pydantic|liger_kernel|urllib3|packaging)\b",
         Text("it has no {name}", "其中没有 {name}"), way="package"),
    _row("requirement-conflict", "cannot import name", r"cannot import name '(?P<name>\w+)' from (?:partially initialized module )?'(?P<part>torchvision|torchaudio|numpy|vllm|torch)\b",
         Text("{part} has no {name}", "{part} 中没有 {name}")),
    _row("requirement-conflict", "VersionConflict~DistributionNotFound~ResolutionImpossible~conflicting dependencies~No solution found~nsatisfiableError",
         r"\w*UnsatisfiableError|(?:Contextual)?VersionConflict: (?P<why>.*)|DistributionNotFound|ResolutionImpossible|conflicting dependencies|No solution found when resolving"),
    _row("requirement-conflict", "no_sync context manager", r"no_sync context manager is incompatible with gradient partitioning", way="deepspeed"),
    _row("requirement-conflict", "CUDA Setup failed despite~equired library version not found", r"(?P<why>CUDA Setup failed despite GPU being available|Required library version not found: \S+)", "{why}", way="bitsandbytes"),
    _row("requirement-conflict", "torchvision~requires `accelerate~equires Accelerate~Descriptors cannot", r"partially initialized module '(?P<name>torchvision|torchaudio)'|PyTorch and (?P<other>torch(?:vision|audio)) were compiled with different CUDA"
         r"|requires `(?P<want>accelerate>?=?[\d.]*)|(?P<again>requires Accelerate)|(?P<proto>Descriptors cannot (?:not )?be created directly)", "{name}{other}{want}{again}{proto}"),
    _row("requirement-conflict", "numpy~NumPy~torchvision::nms", r"was removed in the NumPy 2|numpy\.core\.multiarray failed to import|numpy\.(?:dtype|ufunc|ndarray) size changed|compiled using NumPy 1\.x cannot be run|(?:operator torchvision::nms does not exist)|module 'numpy' has no attribute"),
    _row("requirement-conflict", "has no attribute", r"module '(?P<what>(?:pyarrow|datasets|trl|peft|accelerate|huggingface_hub|torch)[\w.]*)' has no attribute '(?P<name>\w+)'", "{what}.{name}"),
    _row("requirement-conflict", "No module named", r"No module named '(?P<module>trl|peft|accelerate|datasets|modelscope|huggingface_hub|tokenizers|safetensors|torchvision)(?:\.[\w.]+)?'", _MODULE),
    _row("requirement-conflict", "unexpected keyword argument", r"got an unexpected keyword argument '(?P<name>\w+)'", "{name}", RESULT, frames=r"trl/|peft/|accelerate/|datasets/"),
    _row("package-missing", "No package metadata was found", r"No package metadata was found for (?P<package>(?!The\b)[\w.-]+)", "{package}", RESULT),
    _row("requirement-conflict", "pip install", r"^(?:[\w.]+\.)?\w*(?:Error|Exception): (?P<why>.*\b(?:[Uu]pgrade|[Uu]pdate)\b.*pip3? install .{0,60})", "{why}"),
    _row("package-missing", "pip install", r"^(?:[\w.]+\.)?\w*(?:Error|Exception): (?P<why>.{0,160}?)(?:[Pp]lease install (?:it )?(?:with|via|by|using)|[Rr]un)?[`'\"( :]*pip3? install (?:-U |--upgrade )?[`'\"]?(?P<package>[\w.\[\]-]+)", "{why}"),
    _row("package-missing", "lease install~not installed", r"^(?:ImportError|ModuleNotFoundError): .*?(?:[Pp]lease install `?(?P<package>(?!a |the )[\w.-]+)|`?(?P<named>[\w.-]+)`? is not installed)", "{package}{named}"),
    _row("package-missing", "No module named", r"^ModuleNotFoundError: No module named '(?P<package>(?!torch\b|swift\b|_)\w+)'$", "{package}"),
    _row("python-unsupported", "different Python~different python~Requires-Python~does not satisfy Python",
         r"requires a different Python: (?P<found>[\d.]+) (?P<want>not in '[^']*')|current Python version \((?P<current>[\d.]+)\) does not satisfy",
         "Python {found}{current} {want}"),
    _row("python-unsupported", "different python", r"Ignored the following versions that require a different python", kind=OMEN, explains="wheel-not-found"),
    _row("python-unsupported", "object is not subscriptable~unsupported operand", r"'(?:type|ABCMeta)' object is not subscriptable|unsupported operand type\(s\) for \|: '(?:type|_GenericAlias|NoneType|\w*Meta)'"),
    _row("torch-missing", "No module named", r"No module named '?(?P<module>torch)(?:\.[\w.]+)?'?$", _MODULE, RESULT),
    _row("torch-missing", "DLL load failed~WinError", r"\[WinError (?:126|127|1114)\].*torch|DLL load failed while importing (?P<module>_C)\b"),

    # ---- Launching
    _row("port-in-use", "ddress already in use~EADDRINUSE~address in use~WinError",
         r"(?:(?:\bport:? |(?:\]|\*|localhost|\d+\.\d+\.\d+\.\d+):)(?P<port>\d{2,5})\b.*?)?(?:EADDRINUSE|[Aa]ddress already in use|WinError 10048)", Text("port {port}", "端口 {port}")),
    _row("launch-nested", "expected, but not set", r"environment variable (?P<name>RANK|WORLD_SIZE|MASTER_ADDR|MASTER_PORT|LOCAL_RANK) expected, but not set", "{name}"),
    _row("launch-env-misspelt", "proc_per_node~PROC_PER_NODES~NPROC_PERNODE", r"^[\s+$]*(?:export |set )?(?P<name>(?!NPROC_PER_NODE=)(?i:nproc_per_nodes?|nproc_pernode))=(?P<value>\S+)", "{name}", HINT),
    _row("master-addr-loopback", "while trying to connect to~lient socket has~imed out after",
         r"timed out (?:after \d+\w+ )?while trying to connect to \(?(?P<host>127\.\d+\.\d+\.\d+|localhost|::1)[, ]+(?P<port>\d+)", "{host}:{port}"),
    _row("packing-timeout-risk", "ollective operation timeout~imed out~imeout", r"Watchdog caught collective operation timeout|(?:NCCL|gloo|Gloo|barrier|store|Store).*[Tt]imed? ?out|Timed out waiting",
         around=r"(?s)Packing(?: \(num_proc=\d+\))?:\s+\d+%(?!.*(?:Train:|\[INFO:swift\] The logging file|'loss':))", any_level=True),
    _row("nccl-network", "NCCL WARN~ncclSocketInit", r"(?P<why>Call to ibv_\w+ failed.{0,80}|NET/IB ?: (?:Got completion|Unable|No ).{0,80}|no socket interface found|(?:Connect|connect) to \S+ (?:failed|returned) ?:? ?(?:No route|Connection (?:refused|timed out)|Network is unreachable).{0,20}"
         r"|ncclSocketInit: connecting to address.{0,60}|ibv_\w+ failed.{0,60}|Net : Call to \w+ (?:from|to) \S+ failed : (?:Connection timed out|No route to host|Network is unreachable))", "{why}", OMEN, explains="nccl-timeout interrupted rendezvous-timeout"),
    _row("nccl-network", "nvls.cc~NVLS", r"transport/nvls\.cc:\d+ NCCL WARN (?P<why>.{0,100})|(?P<bind>Failed to bind NVLink SHARP .{0,120})", "{why}{bind}", OMEN, explains="nccl-timeout", way="multicast"),
    _row("nccl-network", "peer access is not supported", r"peer access is not supported between these two devices", kind=OMEN, explains="nccl-timeout", way="peer to peer"),
    _row("nccl-timeout", "ollective operation timeout", r"Watchdog caught collective operation timeout: WorkNCCL\((?P<work>SeqNum=\d+, OpType=\w+, NumelIn=\d+)", "{work}", OMEN, explains="nccl-timeout", any_level=True,
         beside=r"WorkNCCL\(SeqNum=(\d+), OpType=(\w+), NumelIn=(\d+)(?s:.*)WorkNCCL\(SeqNum=\1, (?!OpType=\2, NumelIn=\3,)", way="different work"),
    _row("nccl-timeout", "swift-fa: the first all-reduce", r"^swift-fa: (?P<work>the first all-reduce of .*)", "{work}"),
    _row("rendezvous-timeout", "onnectionError~endezvousTimeout~clients joined~lient socket has~waiting for clients~connect() timed out", r"connect\(\) timed out|Rendezvous(?:Timeout|Connection)Error|(?P<joined>\d+/\d+) clients joined|Timed out (?:after \d+ seconds )?waiting for clients"
         r"|client socket has (?:timed out|failed to connect)(?:.*? (?:to|of) \(?(?P<host>[\w.-]+)[:, ]+(?P<port>\d+))?", "{joined} {host} {port}", RESULT, any_level=True),
    _row("nccl-timeout", "Hccl~HCCL~NPU error~NPU function error~Notify register~Getting socket", r"OPS function error: (?P<work>Hccl\w+)|HCCL (?:function )?error|NPU (?:function )?error.*error code is (?:1070(?:19|20)|50704[68])\b|(?:Notify register|Getting socket) times out", "{work}", RESULT, any_level=True),
    _row("nccl-timeout", "ollective operation timeout~ncclSystemError~ncclRemoteError~ncclInternalError~NCCL~DistStoreError~onnection closed by peer~onnectFullMesh~endezvous~DistNetworkError~roadcast",
         r"Watchdog caught collective operation timeout: (?P<work>WorkNCCL\([^)]*\))|collective operation timeout|ncclSystemError|ncclRemoteError|ncclInternalError|NCCL (?:error|timeout|communicator was aborted)|DistStoreError: .*|ProcessGroupNCCL.*[Tt]imeout"
         r"|Connection closed by peer|connectFullMesh failed|RendezvousClosedError|DistNetworkError|DistBackendError", "{work}", RESULT, any_level=True),

    # ---- Checkpoints, before models: their files have the same names
    _row("checkpoint-unloadable", "weights_only~eights only load~WeightsUnpickler~vulnerability issue in", r"Weights only load failed|WeightsUnpickler error: (?P<why>.{0,120})|serious vulnerability issue in `?torch\.load", "{why}"),
    _row("checkpoint-world-size", "world size", r"used a DP world size of (?P<then>\d+) but the current (?:DP )?world size is (?P<now>\d+)", Text("{then} processes saved it, {now} would load it", "保存时有 {then} 个进程，现在有 {now} 个")),
    _row("checkpoint-incomplete", "valid checkpoint~zero checkpoints~find latest~adapter_config.json~trainer_state~optimizer.pt~scheduler.pt~rng_state~args_path~adapter_model",
         r"(?:Can't find a|No) valid checkpoint (?:at|found in output directory) ?(?P<path>\S*)|zero checkpoints? (?:paths )?(?:are )?missing|Unable to find latest file|(?:Can't find|No such file).*(?P<file>adapter_config\.json|adapter_model\.\w+|trainer_state\.json|optimizer\.pt|scheduler\.pt|rng_state\w*\.pth)"
         r"|AssertionError: args_path: (?P<args>\S+)", "{path}{file}{args}"),
    _row("checkpoint-incomplete", "No such file~does not exist~not exist", r"(?:No such file or directory|path).*'(?P<path>[^']*checkpoint-\d+[^']*)'", "{path}"),
    _row("checkpoint-incomplete", "Error", r"^(?:FileNotFoundError|OSError|EOFError|RuntimeError: PytorchStreamReader|AssertionError|safetensors_rust\S*)\b.{0,60}?(?P<path>/\S*checkpoint\S*)?", "{path}",
         frames=r"resume_from_checkpoint|_load_from_checkpoint|_load_optimizer_and_scheduler|load_checkpoint"),
    _row("resume-setting-ignored", "size mismatch~parameter group", r"size mismatch for (?P<name>\S*lora\S*)|doesn't match the size of optimizer's group|different number of parameter groups", "{name}"),

    # ---- Data
    _row("dataset-format", "filtered dataset length", r"origin length: (?P<rows>\d+), filtered dataset length: (?P<kept>\d+)", Text("{kept} of {rows} rows are left", "{rows} 行只剩 {kept} 行"),
         any_level=True, holds=lambda values: int(values["kept"]) == 0 < int(values["rows"])),
    _row("rows-too-long", "filtered dataset length", r"origin length: (?P<rows>\d+), filtered dataset length: (?P<kept>\d+)", Text("{kept} of {rows} rows are left", "{rows} 行只剩 {kept} 行"), HINT,
         any_level=True, around=r"MaxLengthError|max_length", holds=lambda values: _share_kept(values) <= 0.5),
    _row("dataset-missing", "integrity check failed", r"File (?P<path>\S+) integrity check failed", "{path}", frames=_DATA_FRAMES),
    _row("model-incomplete", "integrity check failed", r"File (?P<path>\S+) integrity check failed", "{path}"),
    _row("dataset-missing", "dataset~Dataset~find cache~data files~data_files~on the Hub", r"local (?:path does not exist|folder was not found), dataset_id: `?(?P<id>[^`.]+(?:\.\w+)?)|Couldn't find cache for (?P<cached>[\w./-]+)|Couldn't find (?:a )?dataset(?: script)? (?:at )?(?P<script>\S*)|Dataset '?(?P<name>[\w./-]+)'? (?:doesn't exist|not found|is a gated)"
         r"|DatasetNotFoundError(?:: .*?'(?P<hub>[\w./-]+)')?|(?:[Rr]equest )?[Dd]ataset:? ?(?P<asked>[\w./-]+) (?:does not exist|is not (?:found|supported|registered))|No \(?supported\)? data files|DataFilesNotFoundError|Please provide subsets"
         r"|Unable to find '(?P<path>[^']+)'|The dataset (?P<loose>\S+) (?:does not exist|could not be found)|Couldn't reach '?(?P<far>[\w./-]+)'? on the Hub", "{id}{cached}{script}{name}{hub}{asked}{path}{loose}{far}"),
    _row("dataset-missing", "No such file~NotExistError~not exist~does not exist", r"(?:No such file or directory|NotExistError|not exists?).*?(?P<path>(?<![\w./~-])['\"]?[\w./~-]+\.(?:jsonl?|csv|parquet|txt|tsv)\b|(?<![\w.-])[\w.-]+\.py not exist)", "{path}", frames=r"(?i)dataset|data"),
    _row("dataset-missing", "Error", r"^(?:\S+\.)?(?:FileNotFoundError|NotExistError|HTTPError|RepositoryNotFoundError|ConnectionError|LocalEntryNotFoundError|OfflineModeIsEnabled)\b:? ?(?P<why>.{0,100})", "{why}", frames=_DATA_FRAMES),
    _row("dataset-format", "JSON~ArrowInvalid~DatasetGeneration~messages~num_samples~UnicodeDecodeError~ZeroDivision~CastError",
         r"JSON parse error: (?P<why>.*)|Failed to load JSON from file|ArrowInvalid|DatasetGeneration(?:Cast)?Error|num_samples should be a positive integer|^KeyError: '(?P<key>messages|conversations|query|response|instruction)'", "{why}{key}"),
    _row("dataset-format", "not in the dataset~required_keys_mapping~features.keys~Keys mismatch~features can't be aligned~Couldn't cast~olumn names don't match",
         r"(?P<why>Column \S+ not in the dataset)|(?P<keys>dataset\.features\.keys\(\)|required_keys_mapping|Keys mismatch: between|features can't be aligned|Couldn't cast|[Cc]olumn names don't match)", "{why}{keys}"),
    _row("dataset-format", "Error", r"^(?:json\.decoder\.JSONDecodeError|UnicodeDecodeError|ZeroDivisionError|pyarrow\.\S+)\b:? ?(?P<why>.{0,100})", "{why}", frames=rf"{_DATA_FRAMES}|(?i:dataset)"),
    _row("dataset-format", "AssertionError~ValueError~KeyError", r"^(?:AssertionError: (?:messages?|query|role): |ValueError: (?:inputs\.\w+|rejected_response|messages?): ).{0,60}", kind=HINT),
    _row("dataset-format", "There are errors in the", r"There are errors in the (?:dataset|template\.encode)", kind=HINT, any_level=True),
    _row("dataset-format", "NoneType~train_dataset", r"object of type 'NoneType' has no len|'NoneType' object has no attribute|requires a train_dataset", frames=r"train_dataset|_prepare_dataset|_show_dataset"),

    # ---- Models
    _row("model-incomplete", "file named~safetensors~SafetensorError~PytorchStreamReader~nvalid load key~pytorch_model~checkpoint file~`model_type` key~config.json",
         r"does not appear to have (?:a file|files) named (?P<file>\(?'?[\w.-]+)|Error no file named (?P<named>[\w.-]+)|No such file or directory:? .*?(?P<weights>[\w.-]+-of-\d+\.(?:safetensors|bin)|model\.safetensors\S*|pytorch_model\S*|config\.json)"
         r"|SafetensorError: (?P<why>(?!.*(?:No space left|StorageFull|quota exceeded|while serializing)).*)|while deserializing header: (?P<head>\w+)|PytorchStreamReader failed|[Ii]nvalid load key|Unable to load weights from (?:pytorch )?checkpoint file|Should have a `model_type` key in its config\.json", "{file}{named}{weights}{why}{head}"),
    _row("model-missing", "does not exist~not a local folder~Repository Not Found~RepositoryNotFoundError~NotExistError~not exist~path: '~valid model identifier~gated repo~GatedRepo~Repo id must~HFValidationError~LocalEntryNotFound~couldn't connect to~offline mode is enabled~OfflineMode~Incorrect path_or_model",
         r"request model: (?P<asked>\S+) does not exist|(?P<id>\S+) is not a local folder|Repository Not Found for url: (?P<url>\S+)|RepositoryNotFoundError|NotExistError: (?P<why>.*)|path: '(?P<path>[^']*)' not found|[Rr]epo (?P<repo>\S+) not exists?|gated repo|GatedRepo"
         r"|Repo id must|HFValidationError|LocalEntryNotFoundError|couldn't connect to '?(?P<hub>\S+?)'|offline mode is enabled|OfflineModeIsEnabled|Incorrect path_or_model_id: '(?P<wrong>[^']*)|[Mm]odel (?P<plain>\S+/\S+) does not exist", "{asked}{id}{url}{why}{path}{repo}{hub}{wrong}{plain}"),

    _row("dataset-missing", "Client Error~age not found", r"404 (?:Client Error|[Pp]age not found)(?!.*Entry Not Found).*/datasets/(?P<name>[\w.-]+/[\w.-]+)", "{name}", RESULT),
    _row("model-missing", "Client Error~age not found", r"404 (?:Client Error|[Pp]age not found)(?!.*Entry Not Found).*(?:/api/v1/models/(?P<name>[\w.-]+/[\w.-]+)|for model: (?P<model>\S+)"
         r"|(?:huggingface\.co|hf-mirror\.com)/(?:api/models/)?(?P<hf>[\w.-]+/[\w.-]+))", "{name}{model}{hf}", RESULT),

    # ---- Disks and output
    _row("disk-space-low", "o space left on device~WinError~isk quota exceeded~PytorchStreamWriter~not enough disk~ot enough free disk~unexpected pos",
         r"(?:No space left on device|\[WinError 112\]|[Dd]isk quota exceeded|[Nn]ot enough (?:free )?disk space)(?:.*?'(?P<path>/[^']+)')?", "{path}"),
    _row("disk-space-low", "PytorchStreamWriter~unexpected pos", r"PytorchStreamWriter failed|inline_container.*unexpected pos", kind=RESULT),
    _row("output-link-exists", "File exists~FileExistsError~already exists", r"(?:File exists: |FileExistsError\b.*?)'(?P<path>[^']+)'(?: -> '(?P<link>[^']+)')?|args\.output_dir: `(?P<output>[^`]+)` already exists", "{path} {link}{output}"),
    _row("output-not-writable", "while serializing", r"SafetensorError: Error while serializing: (?P<why>.{0,100})", "{why}"),
    _row("output-not-writable", "ermission denied~ead-only file system~ermissionError~WinError", r"(?:Permission denied|Read-only file system|\[WinError 5\][^:]*):? ?(?P<path>['\"/]\S+)?", "{path}"),

    # ---- Stopped from outside, or by swift-fa itself (launch/stall.py)
    _row("stalled", "swift-fa: stalled", r"^\[swift-fa: stalled: (?P<doing>\w+) and (?P<why>no progress for \d+ s after step -?\d+(?:; stopped by a signal [^;\]]*)?)(?:.*: (?P<stacks>/.*)\])?", "{doing}, {why}"),
    _row("interrupted", "CANCELLED~DUE TO TIME LIMIT~PREEMPT", r"slurmstepd: error: .*CANCELLED AT \S+(?: (?P<why>DUE TO [A-Z ]*[A-Z]))?|DUE TO TIME LIMIT|DUE TO PREEMPTION", "{why}", RESULT),
    _row("interrupted", "KeyboardInterrupt~SIGTERM~SIGINT~SIGHUP~SignalException~got signal~exitcode~Terminated", r"\bKeyboardInterrupt\b|Received (?:Signals\.)?(?P<signal>SIG\w+|\d+) (?:death )?signal|SignalException|got signal: (?P<number>\d+)|exitcode\s*: -(?:15|2|1)\b|\(SIG(?:TERM|INT|HUP)\) received by PID|^Terminated$|died with <Signals\.SIG(?:TERM|INT)",
         "{signal}{number}", RESULT, any_level=True),

    # ---- By where it was raised: ms-swift's own arguments, or a name that ms-swift's code does not have
    _row("arg-conflict", "Error", r"^(?:ValueError|AssertionError|NotImplementedError): (?P<why>.{0,40}(?:compatib|conflict|at the same time|cannot be (?:set|used|combined)|does not support|not supported (?:for|with|when|in)|both ).{0,120}|.{0,120}(?:compatib|at the same time).{0,60})", "{why}", frames=_IN_ARGUMENTS),
    _row("arg-conflict", "can't be used with~annot be used", r"^ValueError: (?P<why>.{0,80}can(?:'t|not) be used (?:with|together|along).{0,120})", "{why}", frames=r"transformers[/\\]train|accelerate[/\\]"),
    _row("arg-invalid", "Error", r"^(?:ValueError|AssertionError|NotImplementedError)(?:: (?P<why>\S.{0,160})|$)", "{why}", frames=_IN_ARGUMENTS),
    _row("ms-swift-bug", "Error", r"^(?P<why>(?:NameError|UnboundLocalError): .{0,100})", "{why}", frames=_IN_SWIFT),
    _row("kernel-mismatch", "RuntimeError", r"^RuntimeError: (?P<why>.{0,100})", "{why}", frames=r"torch-stable-abi[^\"]*flash_attn_interface\.py\", line \d+, in _flash_attn_\w*backward", way="backward"),
    # ---- Something failed: an exception that ended something, or words to that effect
    _row("unknown", "Error~Exception~OutOfResources~_dynamo.exc.", r"^(?:[\w.]+\.)?(?:\w*(?:Error|Exception)|OutOfResources|exc\.\w+)\b(?: ?:|$)(?!.*ChildFailed)", kind=FAILURE, frames=r"Traceback \(most recent call last\)"),
    _row("unknown", "Error~Exception~Fault~rror: ~ERROR~fatal: ~FAILED~core dumped~egmentation fault~terminate called~failed (exitcode~srun: error: ", r"^(?:[\w.]+\.)?\w*(?:Error|Exception|Fault)\b(?!s)(?: ?:|$|\()|^(?:ERROR|error|fatal|Fatal)\b[^:]{0,40}: |^terminate called |[Ss]egmentation fault|\(core dumped\)|ChildFailedError|failed \(exitcode: -?[1-9]|^srun: error: | FAILED$", kind=FAILURE),
)
