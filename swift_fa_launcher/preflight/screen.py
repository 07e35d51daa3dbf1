"""Findings as a calm table: one line for an area that is fine; else its name, and one line a finding with its fix below."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from swift_fa_launcher.config.schema import ResolvedConfig, name_origins
from swift_fa_launcher.decode import known
from swift_fa_launcher.errors import Text, Words, render_words
from swift_fa_launcher.findings.areas import AREAS
from swift_fa_launcher.findings.finding import Finding, Severity, status
from swift_fa_launcher.findings.table import AREA_OF
from swift_fa_launcher.flash.provider import KERNEL, PACKAGE, choose_provider
from swift_fa_launcher.layout import advice, cells, fill, pad
from swift_fa_launcher.machine import reading
from swift_fa_launcher.machine.facts import Facts

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text as Line

_LABELS: Mapping[Severity, tuple[Text, str]] = {
    Severity.ERROR: (Text("error", "错误"), "bold red"),
    Severity.WARNING: (Text("warning", "警告"), "yellow"),
    Severity.INFO: (Text("info", "提示"), "cyan"),
}
_FINE = Text("ok", "正常")
_NO_ARGUMENTS = Text("arguments not checked: it is not known which ones this ms-swift has",
                     "没有检查参数：不知道这个 ms-swift 有哪些参数")
_NO_ATTENTION = Text("not checked: attn_impl is not the name of an attention implementation",
                   "未检查：attn_impl 不是注意力实现的名称")
_FIXES_SHOWN = 3
_COMMA, _IN_BRACKETS = Text(", ", "，"), Text("  ({})", "（{}）")
_ONLY_WHERE_FOUND = ("rehearsal", "run", "launcher")  # areas that no check looks at


def render_table(findings: Sequence[Finding], config: ResolvedConfig, facts: Facts, lang: str,
                 width: int | None = None) -> RenderableType:
    """The table as a rich renderable; texts in `lang`, lines of at most `width` columns but for what is to be copied."""
    from rich.console import Group
    from rich.text import Text as Line

    wide = max(cells(title.render(lang)) for area, title in AREAS.items() if area not in _ONLY_WHERE_FOUND) + 2
    lines = []
    for area, title in AREAS.items():
        heading = title.render(lang)
        found = [f for f in findings if AREA_OF[f.code] == area]
        if found:
            lines.append(Line(heading, "bold"))
            lines += [line for finding in found for line in _finding_lines(finding, lang, width)]
        elif area not in _ONLY_WHERE_FOUND:
            unknown = _not_judged(area, findings, facts)
            word = "-" if unknown else _FINE.render(lang)
            told = unknown.render(lang) if unknown else _area_summary(area, config, facts, lang)
            first = f"{pad(heading, wide)}{word}  "
            text = Line(fill(told, width, first, " " * cells(first)).rstrip(), "dim")
            text.stylize("not dim bold", 0, len(heading))
            text.stylize("not dim" if unknown else "not dim green", len(first) - len(word) - 2, len(first))
            lines.append(text)
    return Group(*lines, Line(""), _verdict(findings, lang))


def _not_judged(area: str, findings: Sequence[Finding], facts: Facts) -> Text | None:
    """Why an area without findings was not looked at; None where it was."""
    if area == "flash-attn" and any(f.code == "arg-invalid" and f.context.get("argument") == "attn_impl" for f in findings):
        return _NO_ATTENTION
    return _NO_ARGUMENTS if area == "swift" and not known(facts.ms_swift_args) else None


def _finding_lines(finding: Finding, lang: str, width: int | None) -> Iterator[Line]:
    """What was found, then what mends it; a command stays on one line."""
    from rich.text import Text as Line

    label, style = _LABELS[finding.severity]
    blank = max(cells(label.render(lang)) for label, _ in _LABELS.values()) + 4
    first = pad(f"  {label.render(lang)}", blank)
    allowed = Text("  (allowed)", "  （已允许）").render(lang) if finding.allowed else ""
    summary = name_origins(render_words(finding.summary, lang), lang)
    text = Line(fill(f"{finding.code}  {summary}{allowed}", width, first, " " * blank))
    text.stylize(style, 0, len(first) + len(finding.code))
    yield text
    for i, line in enumerate(finding.fix[:_FIXES_SHOWN]):
        yield Line(advice(line, lang, width, "    -> "), "" if i else "bold")


def _verdict(findings: Sequence[Finding], lang: str) -> RenderableType:
    from rich.text import Text as Line

    counts = {severity: sum(f.severity is severity for f in findings) for severity in Severity}
    told = [_count(n, Text(_LABELS[s][0].en, f"个{_LABELS[s][0].zh}"), "" if s is Severity.INFO else "s").render(lang)
            for s, n in counts.items() if n]
    word, style = {"ok": (Text("ready", "就绪"), "green"), "warned": (Text("ready, with warnings", "就绪，但有警告"), "yellow"),
                   "blocked": (Text("blocked", "已阻止"), "bold red")}[status(findings)]
    return Line.assemble((word.render(lang), style),
                         _IN_BRACKETS.render(lang).format(_COMMA.render(lang).join(told)) if told else "")


def _area_summary(area: str, config: ResolvedConfig, facts: Facts, lang: str) -> str:
    """The few values that show what an area that is fine was judged by."""
    tell = _SUMMARIES.get(area)
    parts = tell(config, facts) if tell else ()
    return _COMMA.render(lang).join(render_words(part, lang) for part in parts if part)


def _both(en: str, zh: str, value: object) -> Text:
    return Text(f"{en} {value}", f"{zh} {value}")


def _count(number: int, thing: Text, plural: str) -> Text:
    return Text(f"{number} {thing.en}{plural if number != 1 else ''}", f"{number} {thing.zh}")


def _machine(config: ResolvedConfig, facts: Facts) -> tuple[Words, ...]:
    gpus, driver = known(facts.gpus), known(facts.driver)
    torch, python = known(facts.torch), known(facts.python)
    names = {str(known(gpu.name)): sum(g.name == gpu.name for g in gpus) for gpu in gpus} if gpus else {}
    return (f"Python {known(python.version)}" if python else "", f"torch {known(torch.version)}" if torch else "",
            *(f"{n} x {name}" if n > 1 else name for name, n in names.items()),
            _both("driver", "驱动", known(driver.version)) if driver and known(driver.version) else "")


def _flash_attn(config: ResolvedConfig, facts: Facts) -> tuple[Words, ...]:
    flash, provider = known(facts.flash_attn), choose_provider(config, facts)
    if provider and provider.name == KERNEL:
        kernel = known(facts.hub_kernel)
        name = f"{kernel.repo}@{kernel.revision}" if kernel and kernel.cached else known(kernel.repo) if kernel else None
        return (_both("hub kernel", "hub kernel", name or ""), *(why for _, why in provider.trace if why),
                "" if provider.there else Text("fetched when the training starts", "训练开始前下载"))
    if provider and provider.name != PACKAGE and provider.there:
        reasons = [why for name, why in provider.trace if why]
        return (_both("torch's own, torch", "torch 自带的，torch", reading.torch_version(facts)), *reasons)
    return (f"flash-attn {flash.version}" if flash and known(flash.version) else f"attn_impl {config.swift.attn_impl}",)


def _swift(config: ResolvedConfig, facts: Facts) -> tuple[Words, ...]:
    return tuple(f"{name} {version}" for name in ("ms-swift", "transformers", "peft") if (version := facts.package(name)))


def _launch(config: ResolvedConfig, facts: Facts) -> tuple[Words, ...]:
    """What the plan will do: the variables of `env` and of the environment count, where `launch` says nothing."""
    given, visible = config.launch.gpus, reading.environment(config, facts, "CUDA_VISIBLE_DEVICES")
    gpus = ",".join(map(str, given)) if given is not None else visible
    processes, nodes, rank = (reading.launch_number(config, facts, n) for n in ("nproc_per_node", "nnodes", "node_rank"))
    port, taken = reading.chosen_port(config, facts), reading.DEFAULT_PORT
    return (f"GPU {gpus}" if gpus else "", _count(processes or 1, Text("process", "个进程"), "es"),
            _count(nodes, Text("node", "个节点"), "s") if nodes else "",
            f"node_rank {rank}" if rank is not None and (nodes or 1) > 1 else "",
            Text(f"master_port {port} ({taken} is taken)", f"master_port {port}（{taken} 已被占用）") if port else "")


def _data(config: ResolvedConfig, facts: Facts) -> tuple[Words, ...]:
    return (config.swift.text("model") or "", *config.swift.names("dataset")[:3], config.swift.text("output_dir") or "")


def _swanlab(config: ResolvedConfig, facts: Facts) -> tuple[Words, ...]:
    section = config.swanlab
    if not section.tracks:
        return (Text("off", "关闭"),)
    return (_both("mode", "模式", section.mode), section.project or "", section.experiment or "")


_SUMMARIES: Mapping[str, Callable[[ResolvedConfig, Facts], tuple[Words, ...]]] = {
    "machine": _machine, "flash-attn": _flash_attn, "swift": _swift, "launch": _launch, "data": _data, "swanlab": _swanlab}
