"""The report: what it holds, and how it is in a real browser: no error, no request, keyboard, a phone, both languages."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from run_records import NOW, start, write_curves  # type: ignore[import-not-found]

from swift_fa_launcher.cli import main
from swift_fa_launcher.runs.curves import read_curves, sparkline, thinned
from swift_fa_launcher.runs.record import read_record, update_record
from swift_fa_launcher.runs.store import see_run

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ABSENT = [name for name, there in (("playwright", importlib.util.find_spec("playwright")), ("Chromium", BROWSER)) if not there]
in_browser = pytest.mark.skipif(bool(ABSENT), reason=f"not installed: {', '.join(ABSENT)} (pip install playwright, apt install "
                                "chromium)")
REHEARSAL = {"peak_gib": 38.0, "step_seconds": 0.8, "tokens_per_second": 10000.0, "error": None, "cannot": None}


def make_run(tmp_path: Path, number: int, steps: int = 200, **changes: Any) -> Path:
    folder: Path = start(tmp_path, f"run{number}", overrides=[f"swift.learning_rate={number}e-5"],
                         now=NOW + timedelta(minutes=number))
    output = tmp_path / "out" / f"v{number}-20261123-050000"
    write_curves(folder, output, steps, 2.0 + number / 10)
    result = {"step": steps, "steps": steps, "loss": 1.5, "speed": 0.9}
    update_record(folder, replace(read_record(folder), status="finished", exit_code=0, output_dir=str(output), result=result,
                                  ended=(NOW + timedelta(hours=1)).isoformat(), **changes))
    facts = json.loads((folder / "facts.json").read_text())
    (folder / "facts.json").write_text(json.dumps({**facts, "rehearsal": REHEARSAL}))
    return folder


def make_report(tmp_path: Path, *words: str, lang: str = "en") -> Path:
    out = tmp_path / "report.html"
    assert main(["report", *words, "--root", str(tmp_path / "runs"), "--out", str(out), "--lang", lang]) == 0
    return out


@pytest.fixture(scope="module")
def thirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of thirty long runs."""
    folder = tmp_path_factory.mktemp("thirty")
    for number in range(30):
        make_run(folder, number, steps=2000)
    return make_report(folder, *(f"run{number}" for number in range(30)))


@pytest.fixture
def page() -> Iterator[Any]:
    """A tab of a real browser, whose complaints and requests are kept in `page.told`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.told = []
        tab.on("console", lambda message: tab.told.append(message.text))
        tab.on("pageerror", lambda error: tab.told.append(str(error)))
        tab.on("request", lambda request: request.url.startswith("file:") or tab.told.append(request.url))
        yield tab
        browser.close()


def test_what_a_report_holds(tmp_path: Path) -> None:
    one = make_run(tmp_path, 1, notes="odd </script><b>")
    make_run(tmp_path, 2)
    diagnosis = {"code": "gpu-out-of-memory", "summary": "no memory", "fix": ["swift.max_length=1024"]}
    update_record(one, replace(read_record(one), status="failed", exit_code=1, diagnoses=(diagnosis,)))
    text = make_report(tmp_path, "run1", "run2").read_text()
    assert "odd &lt;/script&gt;&lt;b&gt;" in text and "<b>" not in re.sub(r'<b class="\w+">', "", text).split("<script")[0]
    for held in ("gpu-out-of-memory", "swift.max_length=1024", "gpu-none", "swift.learning_rate", "1e-05",
                 "Rehearsal and reality", "预演与实际", "38.25", "-0.7%", "swift sft", "Leon Sorokin"):
        assert held in text, held
    assert not re.search(r"""(?:src|href)=|url\(|@import""", text.split("<script>")[0]), "it would load something"
    data = json.loads(re.findall(r'id="data">(.*?)</script>', text, re.S)[0])
    assert [run["name"] for run in data["runs"]] == ["run1", "run2"] and data["runs"][0]["tokens"][-1] == 200 * 8000
    single = make_report(tmp_path, "run2").read_text()
    assert "What differs" not in single and "<details open>" in single


def test_a_report_of_30_long_runs_is_small(thirty: Path) -> None:
    assert thirty.stat().st_size < 1_000_000


def test_only_a_report_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path, 1)
    out = make_report(tmp_path, "run1")
    assert make_report(tmp_path, "run1") == out
    out.write_text("mine")
    words = ["report", "run1", "--root", str(tmp_path / "runs"), "--lang", "en", "--out"]
    assert main([*words, str(out)]) == 2 and "is no report" in capsys.readouterr().err and out.read_text() == "mine"
    assert main([*words, str(tmp_path / "none" / "r.html")]) == 1 and "cannot be written" in capsys.readouterr().err


def test_curves_of_a_restarted_run_and_of_a_moved_one(tmp_path: Path) -> None:
    folder = make_run(tmp_path, 1, steps=20)
    lines = (folder / "monitor.jsonl").read_text().splitlines(keepends=True)
    again = [line.replace('"loss": ', '"loss": 1') for line in lines[10:]]  # from a checkpoint at step 10
    (folder / "monitor.jsonl").write_text("".join([*lines[:15], *again, '{"step": 21, "lo']))
    curves = read_curves(see_run(folder))
    assert curves.steps == tuple(range(1, 21)) and curves.tokens[-1] == 20 * 8000 and curves.series["loss"][12] > 10
    (folder / "monitor.jsonl").unlink()
    shutil.rmtree(tmp_path / "out")
    (folder / "train.log").write_text(
        "Train:  50%|x| 1/2 {'loss': '2.5', 'grad_norm': '0.9', 'learning_rate': '1e-4', 'global_step/max_steps': '1/2'}\r\n"
        "{'eval_loss': 'nan', 'global_step/max_steps': '1/2'}\n{'loss': '1e', 'global_step/max_steps': '2/2'}\n{'loss': (\n")
    curves = read_curves(see_run(folder))
    assert curves.of("loss") == (2.5,) and curves.of("learning_rate") == (1e-4,) and curves.of("eval_loss") == ()


def test_no_spike_is_lost_when_steps_are_left_out(tmp_path: Path) -> None:
    folder = make_run(tmp_path, 1, steps=1000)
    curves = read_curves(see_run(folder))
    losses = [*curves.series["loss"]]
    losses[777] = 99.0
    spiked = replace(curves, series={**curves.series, "loss": tuple(losses)})
    few = thinned(spiked, 100)
    assert len(few.steps) <= 120 and max(few.of("loss")) == 99.0 and len(few.of("eval_loss")) == 10
    assert few.steps[0] == 1 and few.steps[-1] == 1000 and thinned(spiked, 1000) is spiked
    assert sparkline([3, 2, 1]) == "█▅▁" and sparkline([1, 1]) == "▁▁" and sparkline([1.0]) == ""
    assert len(sparkline(range(1000))) == 40


@in_browser
def test_in_a_browser(tmp_path: Path, page: Any) -> None:
    for number in (1, 2, 3):
        make_run(tmp_path, number)
    page.goto(make_report(tmp_path, "run1", "run2", "run3").as_uri())
    assert page.locator("figure .u-over").count() == 5, "every chart is drawn"
    chart, told = page.locator("figure").first, page.locator("figure output").first
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "axis"
    page.keyboard.press("Enter")
    assert page.locator("#axis").get_attribute("aria-pressed") == "true"
    chart.focus()
    for key in ("ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    assert re.search(r"tokens \d+k", told.inner_text())
    seen = []
    for _ in range(6):
        page.keyboard.press("ArrowDown")
        seen.append(told.inner_text())
    assert sorted(line.partition(":")[0] for line in seen) == ["run1", "run1 eval", "run2", "run2 eval", "run3", "run3 eval"]
    assert re.search(r"run2: 2\.14\d* \(tokens 16k\)", "\n".join(seen)), seen
    page.keyboard.press("+")
    zoomed = page.evaluate("document.querySelector('figure').plot.scales.x.max")
    page.keyboard.press("0")
    assert zoomed < page.evaluate("document.querySelector('figure').plot.scales.x.max") == 200 * 8000
    page.locator("input[data-run='1']").uncheck()
    hidden = page.evaluate("document.querySelector('figure').plot.series.filter(one => !one.show).length")
    assert hidden == 2, "loss and evaluation"
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    assert page.locator("h2").first.inner_text() == "Runs"
    page.click("#lang")
    assert page.locator("h2").first.inner_text() == "运行" and page.evaluate("document.documentElement.lang") == "zh"
    assert page.told == []


@in_browser
def test_on_a_phone_nothing_is_cut_off(tmp_path: Path, page: Any) -> None:
    for number in range(8):
        make_run(tmp_path, number)
    report = make_report(tmp_path, *(f"run{number}" for number in range(8)), lang="zh")
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(report.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360, "only tables scroll sideways"
    page.locator("summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("figure .u-over").first.bounding_box()["width"] > 200
    assert min(page.evaluate("[...document.querySelectorAll('button')].map(one => one.offsetHeight)")) >= 32
    assert page.told == []


@in_browser
def test_thirty_runs_are_drawn(thirty: Path, page: Any) -> None:
    page.goto(thirty.as_uri())
    spent = page.evaluate("performance.now()")  # ms; some 500 on two cores, and no test of this machine's load
    assert page.evaluate("document.querySelector('figure').plot.series.length") == 61 and spent < 20_000
    assert page.told == []
