// Guidance between two classes: arrows, and where particles go.
import { html, useCallback, useState } from "../lib.js";
import { useStudio } from "../state.js";
import { t } from "../words.js";
import { axes, Canvas, Check, dots, Exhibit, line, Player, Range, useAnswer } from "./parts.js";

const ARROWS = { null: "c7", cond: "c0", guided: "c1" };
const LONG = 0.17;

export function Guidance() {
  useStudio();
  const [ask, setAsk] = useState({ scale: 3, low: 0, high: 1 });
  const [shown, setShown] = useState({ null: false, cond: true, guided: true });
  const [part, setPart] = useState(0.5);
  const [made, error] = useAnswer("guidance", ask);
  const count = made?.times.length ?? 2;
  const at = Math.round(part * (count - 1));
  const draw = useCallback((c, w, h, colour) => {
    if (!made) return;
    const [across, up] = axes(c, colour, [0, 0, w, h], [-2.8, 2.8], [-2.8, 2.8], [[0, ""]], [[0, ""]]);
    made.means.forEach(([x, y], k) => [1, 2].forEach((far) => {
      Object.assign(c, { strokeStyle: colour(k ? "c7" : "c0"), lineWidth: 1.5, globalAlpha: 0.7 });
      c.beginPath();
      c.arc(across(x), up(y), (far * made.std * w) / 5.6, 0, 7);
      c.stroke();
    }));
    c.globalAlpha = 1;
    for (const [name, which] of Object.entries(ARROWS)) if (shown[name]) arrows(c, made.places, made[name][at], across, up, colour(which));
    dots(c, made.states[at], across, up, colour("accent"), 2.2, 0.7);
  }, [made, at, shown]);
  const change = (name) => (value) => setAsk({ ...ask, [name]: value });
  const controls = () => html`
    <${Range} label=${t("learn.scale")} min="-1" max="12" step="0.5" value=${ask.scale} said=${`w = ${ask.scale}`} change=${change("scale")} />
    <${Range} label=${t("learn.low")} min="0" max="1" step="0.05" value=${ask.low} change=${(low) => setAsk({ ...ask, low, high: Math.max(low, ask.high) })} />
    <${Range} label=${t("learn.high")} min="0" max="1" step="0.05" value=${ask.high} change=${(high) => setAsk({ ...ask, high, low: Math.min(high, ask.low) })} />
    <div class="checks">${Object.entries(ARROWS).map(([name, colour]) => html`
      <${Check} key=${name} label=${t(`learn.${name}`)} colour=${colour} on=${shown[name]} change=${(on) => setShown({ ...shown, [name]: on })} />`)}</div>`;
  return html`
    <${Exhibit} name="guidance" controls=${controls} error=${error}>${() => made && html`
      <${Canvas} draw=${draw} label=${t("learn.guidance")} />
      <${Player} count=${count} at=${at} go=${(one) => setPart(one / (count - 1))} said=${made.times[at].toFixed(2)} />
      <p class="facts">${t("learn.led", { x: made.mean[0].toFixed(2), y: made.mean[1].toFixed(2), s: made.spread.toFixed(2), a: made.means[0][0].toFixed(2), b: made.means[0][1].toFixed(2), c: made.std.toFixed(2) })}</p>`}
    <//>`;
}

function arrows(c, places, vectors, across, up, colour) {
  for (let k = 0; k < places.length; k += 2) {
    const [x, y] = [places[k], places[k + 1]];
    const size = Math.hypot(vectors[k], vectors[k + 1]);
    const scale = (LONG * Math.tanh(size / 1.5) * 2.2) / (size || 1);
    const [from, to] = [[across(x), up(y)], [across(x + scale * vectors[k]), up(y + scale * vectors[k + 1])]];
    const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    const long = Math.hypot(dx, dy);
    line(c, [from, to], colour, 1.3, 0.9);
    if (long > 3) line(c, [-1, 0, 1].map((side) => [to[0] + (side ? (-dx - side * dy * 0.6) * (3.5 / long) : 0), to[1] + (side ? (-dy + side * dx * 0.6) * (3.5 / long) : 0)]), colour, 1.3, 0.9);
  }
}
