"use strict";
/* The curves of a report: drawn by uPlot from the data in the page. Nothing is loaded from anywhere. */
(() => {
  const root = document.documentElement;
  const { runs, texts } = JSON.parse(document.getElementById("data").textContent);
  const COLORS = ["#4477dd", "#e8743b", "#2f9e5f", "#c2408f", "#8a6fd1", "#b58900", "#1696a8", "#d9455f", "#7a8b27", "#8c6d5a"];
  const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]];
  const style = (run) => ({ color: COLORS[run % COLORS.length], dash: DASHES[Math.floor(run / COLORS.length) % DASHES.length] });
  const shown = runs.map(() => true);
  const charts = [...document.querySelectorAll("figure[data-series]")];
  let axis = "steps";

  const say = (text) => text[root.dataset.lang];
  const number = (value) => {
    if (value == null) return "";
    const size = Math.abs(value);
    if (size >= 1e9) return +(value / 1e9).toPrecision(4) + "G";
    if (size >= 1e6) return +(value / 1e6).toPrecision(4) + "M";
    if (size >= 1e4) return +(value / 1e3).toPrecision(4) + "k";
    return size && size < 1e-3 ? value.toExponential(2).replace(/\.?0+e/, "e") : String(+value.toPrecision(5));
  };

  /* The series of a chart: of every run, every name that it has values of. */
  const seriesOf = (figure) => runs.flatMap((run, at) => figure.dataset.series.split(" ").map((name) => {
    const x = [], y = [];
    (run[name] || []).forEach((value, i) => {
      if (value != null && run[axis][i] != null) { x.push(run[axis][i]); y.push(value); }
    });
    return { run: at, name, table: [x, y] };
  })).filter((one) => one.table[0].length);

  const draw = (figure) => {
    figure.plot?.destroy();
    const series = seriesOf(figure), place = figure.querySelector(".plot"), told = figure.querySelector("output");
    told.textContent = series.length ? "" : say(texts.nothing);
    figure.plot = null;
    if (!series.length) return;
    const ink = getComputedStyle(root).getPropertyValue("--faint").trim();
    const line = getComputedStyle(root).getPropertyValue("--line").trim();
    const side = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui, sans-serif" };
    const written = (_, values) => values.map(number);
    const tell = (plot) => {
      const at = plot.cursor.idx;
      const one = series.length === 1 ? 0 : figure.focused;
      if (at == null || one == null) { told.textContent = at == null ? "" : `${say(texts[axis])} ${number(plot.data[0][at])}`; return; }
      let i = at;  /* the nearest value of the series that the eye is on */
      const ys = plot.data[one + 1];
      for (let d = 0; d < ys.length && ys[i] == null; d++) i = ys[at - d] != null ? at - d : ys[at + d] != null ? at + d : i;
      told.textContent = `${runs[series[one].run].name}${series[one].name === "eval_loss" ? " eval" : ""}: ` +
        `${number(ys[i])} (${say(texts[axis])} ${number(plot.data[0][i])})`;
    };
    figure.focused = null;
    figure.plot = new uPlot({
      width: Math.max(200, place.clientWidth), height: 230, legend: { show: false },
      scales: { x: { time: false } },
      axes: [{ ...side, values: written, space: 60 }, { ...side, values: written, size: 62 }],
      cursor: { sync: { key: "steps", setSeries: false }, focus: { prox: 24 }, drag: { x: true, y: false } },
      focus: { alpha: 0.25 },
      series: [{}, ...series.map(({ run, name, table }) => ({
        label: runs[run].name, stroke: style(run).color, width: name === "eval_loss" ? 2.5 : 1.5, spanGaps: true, show: shown[run],
        dash: name === "eval_loss" ? [4, 4] : style(run).dash,
        points: { show: name === "eval_loss" || table[0].length < 3, size: 6 },
      }))],
      hooks: {
        setCursor: [tell],
        setSeries: [(plot, at, options) => { if (options?.focus != null) { figure.focused = at == null ? null : at - 1; tell(plot); } }],
      },
    }, series.length === 1 ? series[0].table : uPlot.join(series.map((one) => one.table)), place);
    figure.runs = series.map((one) => one.run);
  };

  const zoom = (plot, times) => {
    const xs = plot.data[0], { min, max } = plot.scales.x, middle = xs[plot.cursor.idx] ?? (min + max) / 2;
    plot.setScale("x", times ? { min: Math.max(xs[0], middle - (middle - min) * times),
      max: Math.min(xs[xs.length - 1], middle + (max - middle) * times) } : { min: xs[0], max: xs[xs.length - 1] });
  };

  const move = (plot, by) => {
    const xs = plot.data[0], at = Math.min(xs.length - 1, Math.max(0, (plot.cursor.idx ?? (by > 0 ? -1 : xs.length)) + by));
    plot.setCursor({ left: plot.valToPos(xs[at], "x"), top: plot.over.clientHeight / 2 });
  };

  const choose = (figure, by) => {
    const visible = figure.runs.map((run, i) => i).filter((i) => shown[figure.runs[i]]);
    if (!visible.length) return;
    const at = visible.indexOf(figure.focused);
    figure.focused = visible[at < 0 ? 0 : (at + by + visible.length) % visible.length];
    figure.plot.setSeries(figure.focused + 1, { focus: true });
  };

  const KEYS = {
    ArrowRight: (figure) => move(figure.plot, 1), ArrowLeft: (figure) => move(figure.plot, -1),
    ArrowDown: (figure) => choose(figure, 1), ArrowUp: (figure) => choose(figure, -1),
    "+": (figure) => zoom(figure.plot, 0.5), "=": (figure) => zoom(figure.plot, 0.5), "-": (figure) => zoom(figure.plot, 2),
    0: (figure) => zoom(figure.plot), Escape: (figure) => zoom(figure.plot),
  };
  charts.forEach((figure) => figure.addEventListener("keydown", (event) => {
    if (!KEYS[event.key] || !figure.plot || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    KEYS[event.key](figure);
  }));

  const drawAll = () => charts.forEach(draw);
  const press = (name, act) => document.getElementById(name).addEventListener("click", () => { act(); drawAll(); });
  press("axis", () => {
    axis = axis === "steps" ? "tokens" : "steps";
    document.getElementById("axis").setAttribute("aria-pressed", String(axis === "tokens"));
  });
  press("lang", () => { root.lang = root.dataset.lang = root.dataset.lang === "zh" ? "en" : "zh"; });
  press("theme", () => { root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark"; });

  document.querySelectorAll("input[data-run]").forEach((box) => box.addEventListener("change", () => {
    const run = Number(box.dataset.run);
    shown[run] = box.checked;
    charts.forEach((figure) => figure.runs?.forEach((own, i) => {
      if (own === run && figure.plot) figure.plot.setSeries(i + 1, { show: box.checked });
    }));
  }));
  document.querySelectorAll("[data-swatch]").forEach((mark) => {
    const { color, dash } = style(Number(mark.dataset.swatch));
    mark.style.borderColor = color;
    mark.style.borderTopStyle = dash.length > 2 ? "double" : dash[0] > 4 ? "dashed" : dash.length ? "dotted" : "solid";
  });

  if (matchMedia("(prefers-color-scheme: dark)").matches) root.dataset.theme = "dark";
  drawAll();
  new ResizeObserver(() => charts.forEach((figure) => {
    const width = Math.max(200, figure.querySelector(".plot").clientWidth);
    if (figure.plot && figure.plot.width !== width) figure.plot.setSize({ width, height: 230 });
  })).observe(document.querySelector(".charts"));
})();
