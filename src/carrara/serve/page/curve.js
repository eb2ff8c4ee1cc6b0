// Curves: uPlot, in the colours of the page, as wide as there is room.
import uPlot from "./vendor/uplot.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./lib.js";
import { number, t } from "./words.js";

/** Some curves, each with steps of its own, on the steps of all. */
export function joined(lines) {
  if (!lines.length) return [[]];
  return uPlot.join(lines.map(({ x, y, low, high }) => (low ? [x, y, low, high] : [x, y])));
}

const figure = (value) => (value === null || value === undefined ? "–" : value === 0 || Math.abs(value) >= 1e-3 ? number(value, Math.abs(value) < 1 ? 4 : 3) : value.toExponential(2));

/** The theme as it is now: curves are drawn again when it changes. */
function useTheme() {
  const [theme, setTheme] = useState(0);
  useEffect(() => {
    const again = () => setTheme((n) => n + 1);
    const system = matchMedia("(prefers-color-scheme: dark)");
    const own = new MutationObserver(again);
    own.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    system.addEventListener("change", again);
    return () => {
      own.disconnect();
      system.removeEventListener("change", again);
    };
  }, []);
  return theme;
}

const SIZE = "12px system-ui, sans-serif";

function drawn(root, lines, log, mark, point) {
  const style = getComputedStyle(root);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--soft"), font: SIZE, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  const series = [{}];
  const bands = [];
  for (const { label, hue, low, dash } of lines) {
    const stroke = colour(`--${hue}`);
    series.push({ label, stroke, width: 2, spanGaps: true, dash, points: { show: false } });
    if (!low) continue;
    const edge = { stroke: "transparent", width: 0, spanGaps: true, points: { show: false } };
    bands.push({ series: [series.length + 1, series.length], fill: `color-mix(in srgb, ${stroke} 18%, transparent)` });
    series.push(edge, { ...edge });
  }
  const best = (plot) => {
    if (mark === null || mark === undefined) return;
    const x = Math.round(plot.valToPos(mark, "x", true));
    const { top, height } = plot.bbox;
    Object.assign(plot.ctx, { strokeStyle: colour("--soft"), lineWidth: devicePixelRatio });
    plot.ctx.setLineDash([4, 4]);
    plot.ctx.beginPath();
    plot.ctx.moveTo(x, top);
    plot.ctx.lineTo(x, top + height);
    plot.ctx.stroke();
    plot.ctx.setLineDash([]);
  };
  return {
    width: root.clientWidth || 300,
    height: root.clientHeight || 240,
    padding: [10, 24, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 7 } },
    scales: { x: { time: false }, y: { distr: log ? 3 : 1 } },
    axes: [{ ...axis, size: 28, values: (_, all) => all.map((one) => number(one)) }, { ...axis, size: 58, values: (_, all) => all.map((one) => (one === null ? "" : figure(one))) }],
    series,
    bands,
    hooks: { setCursor: [(plot) => point(plot.cursor.idx ?? null)], draw: [best] },
  };
}

/** Lines ({label, hue, x, y, low?, high?}) over steps, with what they say at the pointer. */
export function Plot({ label, lines, log = false, mark }) {
  const root = useRef();
  const plot = useRef();
  const [at, setAt] = useState(null);
  const theme = useTheme();
  const data = joined(lines);
  const positive = data.slice(1).every((column) => column.every((value) => value === null || value === undefined || value > 0));
  const shape = [theme, log && positive, mark, ...lines.map((one) => one.label + one.hue + Boolean(one.low))].join();
  useLayoutEffect(() => {
    plot.current = new uPlot(drawn(root.current, lines, log && positive, mark, setAt), data, root.current);
    const fits = new ResizeObserver(([{ contentRect }]) => plot.current.setSize({ width: contentRect.width, height: contentRect.height }));
    fits.observe(root.current);
    return () => {
      fits.disconnect();
      plot.current.destroy();
    };
  }, [shape]);
  useLayoutEffect(() => plot.current.setData(data), [JSON.stringify(lines.map((one) => [one.x.length, one.x.at(-1), one.y.at(-1)]))]);
  const [steps] = data;
  const step = at === null ? steps.at(-1) : steps[at];
  let column = 1;
  const said = lines.map((one) => {
    const values = data[column];
    column += one.low ? 3 : 1;
    const value = at === null ? one.y.findLast((y) => y !== null) : values[at];
    return { ...one, value: figure(value) };
  });
  return html`
    <figure class="curve" aria-label=${label}>
      <div class="plot" ref=${root} role="img" aria-label=${`${label}: ${said.map((one) => `${one.label} ${one.value}`).join(", ")}`}></div>
      <figcaption class="legend">
        <span class="facts">${t("train.at", { step: number(step ?? 0) })}</span>
        ${said.map((one) => html`<span key=${one.label} class="line"><i ref=${(mark) => mark && (mark.style.background = `var(--${one.hue})`)}></i>${one.label}<b>${one.value}</b></span>`)}
      </figcaption>
    </figure>`;
}
