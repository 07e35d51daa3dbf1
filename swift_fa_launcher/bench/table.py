"""A bench as a Markdown table with notes, and as lines on a screen. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from swift_fa_launcher.bench import bench as benches
from swift_fa_launcher.errors import Text, Words, joined, titled
from swift_fa_launcher.layout import cells, pad

_TITLES = (Text("variant", "变体"), Text("tokens/s", "tokens/s"), Text("× sdpa", "× sdpa"),
           Text("steady tokens/s", "稳定 tokens/s"), Text("share of matrix rate", "矩阵速率占比"),
           Text("peak memory", "峰值内存"), Text("steps", "步数"), Text("examples/step", "每步样本"),
           Text("padding", "填充"), Text("final loss", "最终损失"), Text("training", "训练用时"))
_COUNTED_TITLES = (Text("GPUs", "GPU"), Text("steady tokens/s", "稳定 tokens/s"), Text("efficiency", "效率"),
                   Text("seconds a step", "每步秒数"), Text("communication", "通信"), Text("not hidden", "未被掩盖"),
                   Text("memory a GPU", "每卡内存"), Text("steps", "步数"), Text("examples/step", "每步样本"),
                   Text("loss", "损失"))
_COMMA = Text(", ", "，")
_STATUS = {benches.SKIPPED: Text("skipped", "跳过"), benches.FAILED: Text("failed", "失败"),
           benches.INTERRUPTED: Text("interrupted", "已中断")}


def render_table(bench: benches.Bench, titles: Mapping[str, Text], lang: str) -> str:
    """The results as a Markdown table that also reads well on a screen, and the notes that belong to it."""
    counted = any(benches.gpu_count(one.variant) for one in bench.results)
    heads, make_row = (_COUNTED_TITLES, _counted_row) if counted else (_TITLES, _table_row)
    rows = [[title.render(lang) for title in heads]]
    rows += [make_row(bench, one, titles.get(one.variant) or benches.title_of(one.variant), lang) for one in bench.results]
    return "\n".join([*columns(rows), "", *(f"- {note.render(lang)}" for note in _notes(bench, titles)), ""])


def _table_row(bench: benches.Bench, result: benches.Result, title: Text, lang: str) -> list[str]:
    found = result.measured
    if found is None:
        return [title.render(lang), _STATUS[result.status].render(lang), *[""] * (len(_TITLES) - 2)]
    times, share = benches.ratio(bench, found), benches.matrix_share(found, bench.rate)
    mark = " ?" if benches.unsure(bench, found) else ""
    return [title.render(lang), f"{found.tokens_per_second:,.0f}", f"{times:.2f}{mark}" if times else "",
            f"{found.steady:,.0f}" if found.steady else "", f"{share:.1%}" if share is not None else "",
            f"{found.peak_memory_gib:.1f} GiB", str(found.steps), f"{found.examples_per_step:.3g}", f"{found.padding:.1%}",
            f"{found.loss:.3f}" if found.loss is not None else "", f"{found.seconds:.1f} s"]


def _counted_row(bench: benches.Bench, result: benches.Result, title: Text, lang: str) -> list[str]:
    found = result.measured
    if found is None:
        return [title.render(lang), _STATUS[result.status].render(lang), *[""] * (len(_COUNTED_TITLES) - 2)]
    share, speed = benches.efficiency(bench, result.variant, found), found.steady_rate
    return [title.render(lang), f"{speed:,.0f}", f"{share:.1%}" if share is not None else "",
            f"{found.tokens / found.steps / speed:.3g} s", *(f"{seconds:.3g} s" if seconds is not None else ""
                                                            for seconds in (found.communication, found.exposed)),
            f"{found.peak_memory_gib:.1f} GiB", str(found.steps), f"{found.examples_per_step:.3g}",
            f"{found.loss:.4f}" if found.loss is not None else ""]


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table whose columns line up; numbers to the right. A Chinese character takes two places."""
    table = [[cell.replace("|", "/") for cell in row] for row in rows]
    first, *others = [max(3, *map(cells, column)) for column in zip(*table, strict=True)]
    lines = ["| " + " | ".join([pad(name, first), *(" " * (width - cells(cell)) + cell
                                                    for cell, width in zip(figures, others, strict=True))]) + " |"
             for name, *figures in table]
    rule = f"|{'-' * (first + 2)}|{''.join('-' * (width + 1) + ':|' for width in others)}"
    return [lines[0], rule, *lines[1:]]


def _notes(bench: benches.Bench, titles: Mapping[str, Text]) -> Iterable[Text]:
    found = [one.measured for one in bench.results if one.measured]
    yield _what_ran(bench, found)
    yield from _missing_notes(bench, titles)
    for one in bench.results:
        if one.variant in benches.DIVIDED and one.measured:
            title, now = titles.get(one.variant) or benches.title_of(one.variant), one.measured
            yield Text(f"{title.en}: per-device batch {now.batch}, accumulation {now.accumulation}",
                       f"{title.zh}：每卡批大小 {now.batch}，梯度累积 {now.accumulation}")
    if len({one.tokens for one in found}) > 1:
        listed = joined((f"{one.variant} {one.measured.tokens:,}" for one in bench.results if one.measured), by=_COMMA)
        yield titled(Text("the variants did not see the same tokens", "各变体看到的 token 数不同"), listed)
    if any(benches.unsure(bench, one) for one in found):
        yield Text(f"?: of fewer than {benches.ENOUGH_STEPS} steps, so that the first, which warms up, may decide it: compare "
                   "the steady tokens/s, or take more rows (--rows)",
                   f"?：不足 {benches.ENOUGH_STEPS} 步，第一步（预热）可能左右结果：请比较稳定 tokens/s，或用更多行（--rows）")
    if found:
        yield Text("tokens/s: tokens that are not padding over the time of the training (train_runtime); steady: without "
                   "the first step, which warms up; final loss: over the last fifth of the tokens",
                   "tokens/s：非填充 token 数除以训练用时（train_runtime）；稳定：不含第一步（预热）；"
                   "最终损失：最后五分之一 token 上的平均")
        if bench.base:
            yield from _counted_notes(bench.base[0])
        else:
            yield from _rate_notes(bench, found)


def _counted_notes(fewest: int) -> Iterable[Text]:
    yield Text(f"efficiency: steady tokens/s of each GPU against those on {fewest}; memory: of the fullest GPU, or on the CPU of "
               "the largest process",
               f"效率：每卡稳定 tokens/s 与 {fewest} 卡时之比；内存：占用最多的卡，在 CPU 上为最大的进程")
    yield Text("communication: seconds of NCCL's kernels (on the CPU of gloo's calls) in one step of the first process, from "
               "torch's profiler; it holds the wait for the other processes; not hidden: those in which the GPU computes nothing",
               "通信：首个进程在一步中 NCCL 内核（CPU 上为 gloo 调用）的秒数，由 torch profiler 测得，包含等待其他进程的时间；"
               "未被掩盖：其中 GPU 没有计算的秒数")


def _missing_notes(bench: benches.Bench, titles: Mapping[str, Text]) -> Iterable[Text]:
    """Why variants have no numbers; those with one reason together."""
    grouped: dict[tuple[str, Words], list[Text]] = {}
    for one in bench.results:
        if one.status != benches.MEASURED:
            grouped.setdefault((one.status, one.reason), []).append(titles.get(one.variant) or benches.title_of(one.variant))
    for (status, reason), names in grouped.items():
        yield titled(joined(names), titled(_STATUS[status], reason))


def _what_ran(bench: benches.Bench, found: Sequence[benches.Measured]) -> Text:
    about = bench.about
    device = next((one.device for one in found if one.device), None)
    cards = max((one.cards for one in found), default=1)
    versions = next((one.versions for one in found if one.versions), {}) or {}
    told = [str(about.get("model") or ""), f"{cards} × {device}" if device and cards > 1 else device or "",
            *(f"{name} {versions[name]}" for name in ("ms-swift", "transformers", "torch", "flash-attn") if name in versions)]
    rows, tokens = max((one.examples for one in found), default=0), max((one.tokens for one in found), default=0)
    seen = Text(f"{rows:,.0f} row{plural(rows)}, {tokens:,} tokens, one epoch",
                f"{rows:,.0f} 行，{tokens:,} 个 token，一个 epoch")
    return joined((*told, seen if found else "", str(about.get("updated") or "")[:10]), by=_COMMA)


def _rate_notes(bench: benches.Bench, found: Sequence[benches.Measured]) -> Iterable[Text]:
    rate = bench.rate
    if rate is None:
        yield Text(f"no share of the matrix rate: {bench.rate_problem}", f"没有矩阵速率占比：{bench.rate_problem}")
        return
    fast = rate.flops >= 1e12
    product = joined((f"{rate.flops / (1e12 if fast else 1e9):,.0f} {'TFLOP/s' if fast else 'GFLOP/s'}", rate.dtype,
                      f"{rate.size} × {rate.size}"), by=_COMMA)
    counted = next((one for one in found if one.parameters), None)
    if counted is None or counted.experts:
        yield Text(f"matrix product: {product.en}; no share: how many parameters a token meets is not known",
                   f"矩阵乘：{product.zh}；无占比：不知道每个 token 用到多少参数")
        return
    size = f"{counted.parameters or 0:,}"
    yield Text(f"matrix rate of one device: {product.en}; model FLOP a token: 4 × {size} parameters + 2 × those trained, "
               "and 2 × all again with gradient checkpointing; attention's own products are not counted",
               f"单个设备的矩阵速率：{product.zh}；每个 token 的模型 FLOP：4 × {size} 个参数 + 2 × 参与训练的参数，"
               "使用 gradient checkpointing 时再加 2 × 全部参数；不计注意力本身的乘法")


def render_line(bench: benches.Bench, result: benches.Result) -> Text:
    """One line for the screen when a variant has ended."""
    found = result.measured
    if found is None:
        return titled(_STATUS[result.status], result.reason)
    times, speed = benches.ratio(bench, found), f"{found.tokens_per_second:,.0f} tokens/s"
    mark = " ?" if benches.unsure(bench, found) else ""
    faster = f"{times:.2f} × {benches.BASELINE}{mark}" if times and result.variant != benches.BASELINE else ""
    if share := benches.efficiency(bench, result.variant, found):
        speed, faster = f"{found.steady_rate:,.0f} tokens/s", f"{share:.0%}"
    before = Text(", measured before", "，此前已测") if result.reused else Text("", "")
    memory, seconds = f"{found.peak_memory_gib:.1f} GiB", f"{found.seconds:.0f}"
    return Text(f"{speed}{f' ({faster})' if faster else ''}, {memory}, {found.steps} step{plural(found.steps)} in "
                f"{seconds} s{before.en}",
                f"{speed}{f'（{faster}）' if faster else ''}，{memory}，{found.steps} 步，{seconds} 秒{before.zh}")


def plural(number: float) -> str:
    return "" if number == 1 else "s"
