// Points of noise that move to a Swiss roll, by a denoiser that knows some points of it exactly.
import { html, useCallback, useState } from "../lib.js";
import { useStudio } from "../state.js";
import { labelOf, t } from "../words.js";
import { axes, Canvas, Check, dots, Exhibit, Pick, Player, Range, SchedulePick, useAnswer } from "./parts.js";

const SAMPLERS = ["ddpm", "ddim", "heun", "dpmpp", "dpmpp_sde", "unipc", "lms"];

export function Roll() {
  useStudio();
  const [ask, setAsk] = useState({ forward: false, sampler: "ddim", schedule: "cosine", steps: 40, points: 400 });
  const [part, setPart] = useState(0);
  const [known, setKnown] = useState(true);
  const [made, error] = useAnswer("roll", ask, 150);
  const change = (name) => (value) => setAsk({ ...ask, [name]: value });
  const count = made?.frames.length ?? 2;
  const at = Math.round(part * (count - 1));
  const draw = useCallback((c, w, h, colour) => {
    if (!made) return;
    const [across, up] = axes(c, colour, [0, 0, w, h], [-2.8, 2.8], [-2.8, 2.8], [[0, ""]], [[0, ""]]);
    if (known) dots(c, made.data, across, up, colour("soft"), 1.6, 0.5);
    for (const back of [3, 2, 1, 0]) if (at >= back) dots(c, made.frames[at - back], across, up, colour("accent"), 2.4 - back / 3, 0.85 / (1 + 2 * back));
  }, [made, at, known]);
  const controls = () => html`
    <div class="checks">
      <${Check} label=${t("learn.forward")} on=${ask.forward} change=${(on) => (change("forward")(on), setPart(0))} />
      <${Check} label=${t("learn.known")} on=${known} change=${setKnown} />
    </div>
    <${Range} label=${t("learn.points")} min="2" max="600" value=${ask.points} change=${change("points")} />
    <${Range} label=${t("learn.steps")} min="1" max="50" value=${ask.steps} change=${change("steps")} />
    ${!ask.forward && html`<${Pick} label=${labelOf("sampler")} value=${ask.sampler} change=${change("sampler")} options=${SAMPLERS.map((one) => [one])} />`}
    <${SchedulePick} value=${ask.schedule} change=${change("schedule")} />`;
  return html`
    <${Exhibit} name="roll" controls=${controls} error=${error}>${() => made && html`
      <${Canvas} draw=${draw} label=${t("learn.roll")} />
      <${Player} count=${count} at=${at} go=${(one) => setPart(one / (count - 1))} said=${made.times[at].toFixed(2)} />
      ${made.near !== null && html`<p class="facts">${t("learn.near", { n: made.near.toFixed(3) })}</p>`}`}
    <//>`;
}
