"""The picture of a bench: one bar a variant, its tokens a second, with ratio and memory beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill

from swift_fa_launcher.bench.bench import (
    BASELINE,
    ENOUGH_STEPS,
    Bench,
    Measured,
    efficiency,
    gpu_count,
    matrix_share,
    ratio,
    title_of,
    unsure,
)
from swift_fa_launcher.bench.table import plural
from swift_fa_launcher.errors import Text

BAR, PLAIN_BAR, INK, FAINT = "#4878a8", "#b4bcc4", "#24292f", "#6a737d"


def write_plots(bench: Bench, titles: Mapping[str, Text], folder: Path) -> tuple[Path, ...]:
    """plot.svg, whose text is text, and plot.png. Raises ImportError where there is no matplotlib, OSError, and what that
    raises. In English: its fonts have no Chinese as a rule."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [(one.variant, one.measured) for one in bench.results if one.measured]
    with rc_context({"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10, "text.color": INK,
                     "svg.hashsalt": "swift-fa"}):
        figure = Figure(figsize=(9.6, 1.5 + 0.52 * len(shown)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        widest = max(_speed(name, found) for name, found in shown)
        base = bench.base[1] if bench.base else None
        for place, (name, found) in enumerate(shown):
            axes.barh(place, _speed(name, found), height=0.62, color=PLAIN_BAR if name == BASELINE or found is base else BAR)
            axes.text(_speed(name, found) + widest * 0.012, place, _label(bench, name, found), va="center", fontsize=9)
        axes.set_yticks(range(len(shown)), [fill((titles.get(name) or title_of(name)).en, 30) for name, _ in shown])
        axes.invert_yaxis()
        axes.set_xlim(0, widest * (1.9 if base else 1.62))
        axes.set_xticks([])
        axes.spines[:].set_visible(False)
        axes.tick_params(axis="y", length=0, colors=INK)
        axes.set_title("Training speed, real tokens a second", loc="left", fontsize=11.5, color=INK)
        figure.supxlabel(_caption(bench, [found for _, found in shown]), x=0.01, ha="left", fontsize=8.5, color=FAINT)
        files = (folder / "plot.svg", folder / "plot.png")
        figure.savefig(files[0], metadata={"Date": None})
        figure.savefig(files[1], dpi=150)
    return files


def _speed(name: str, found: Measured) -> float:
    return found.steady_rate if gpu_count(name) else found.tokens_per_second


def _label(bench: Bench, name: str, found: Measured) -> str:
    times, share = ratio(bench, found), matrix_share(found, bench.rate)
    mark = " ?" if unsure(bench, found) else ""
    if gpu_count(name):
        seconds, good = found.communication, efficiency(bench, name, found)
        words = [f"{_speed(name, found):,.0f}", f"{good:.0%} efficiency" if good else "",
                 f"{found.peak_memory_gib:.1f} GiB a GPU", f"{seconds:.2g} s communication a step" if seconds is not None else ""]
        return "   ".join(word for word in words if word)
    words = [f"{found.tokens_per_second:,.0f}", f"{times:.2f} ×{mark}" if times and name != BASELINE else "",
             f"{found.peak_memory_gib:.1f} GiB", f"{share:.0%} of matrix rate" if share is not None else ""]
    return "   ".join(word for word in words if word)


def _caption(bench: Bench, found: list[Measured]) -> str:
    device = next((one.device for one in found if one.device), None)
    rows, tokens = max(one.examples for one in found), max(one.tokens for one in found)
    words = (str(bench.about.get("model") or ""), device or "",
             f"{rows:,.0f} row{plural(rows)}, {tokens:,} tokens, one epoch each",
             f"?: fewer than {ENOUGH_STEPS} steps" if any(unsure(bench, one) for one in found) else "")
    return ",  ".join(word for word in words if word)
