// DDPM and DDIM: numbers on their way to three heaps, and pictures of a served model.
import { html, useCallback, useState } from "../lib.js";
import { useStudio } from "../state.js";
import { t } from "../words.js";
import { drawing } from "./noise.js";
import { axes, Canvas, clipped, Exhibit, line, Pick, Player, Range, SchedulePick, useAnswer } from "./parts.js";

const NAMES = { ddpm: "DDPM", ddim: "DDIM" };

export function Ways() {
  const { models } = useStudio();
  const [schedule, setSchedule] = useState("cosine");
  const [steps, setSteps] = useState(16);
  const [part, setPart] = useState(1);
  const [made, error] = useAnswer("ways", { schedule, steps });
  const count = made ? made.ways[0].times.length : 2;
  const at = Math.round(part * (count - 1));
  const able = drawing(models);
  const draw = useCallback((c, w, h, colour) => {
    if (!made) return;
    const half = (h - 30) / 2;
    made.ways.forEach((way, k) => {
      const box = [18, 24 + k * (half + 8), w * 0.74, half - 24];
      const last = k === made.ways.length - 1;
      const [across, up] = axes(c, colour, box, [1, 0], made.edges, last ? [[1, "t = 1"], [0, "t = 0"]] : [], [], NAMES[way.sampler]);
      clipped(c, box, () => way.paths.forEach((path) => line(c, path.slice(0, at + 1).map((x, j) => [across(way.times[j]), up(x)]), colour(`c${k}`), 1, 0.4)));
      const left = box[0] + box[2] + 8;
      const wide = (w - left - 8) / 1.3;
      const bin = box[3] / way.ends.length;
      Object.assign(c, { fillStyle: colour(`c${k}`), globalAlpha: at === count - 1 ? 0.45 : 0 });
      way.ends.forEach((p, j) => c.fillRect(left, box[1] + box[3] - (j + 1) * bin, p * wide, bin - 0.5));
      c.globalAlpha = 1;
      line(c, made.density.x.map((x, j) => [left + made.density.p[j] * wide, up(x)]), colour("ink"), 1.5);
    });
  }, [made, at]);
  const wrong = useCallback((c, w, h, colour) => {
    if (!made) return;
    const log = Math.log10;
    const [across, up] = axes(c, colour, [40, 24, w - 52, h - 48], [0, log(128)], [-2.3, 0.1], made.steps.map((n) => [log(n), n]), [[0, 1], [-1, 0.1], [-2, 0.01]], t("learn.error"));
    made.ways.forEach((way, k) => {
      line(c, made.steps.map((n, j) => [across(log(n)), up(log(way.errors[j]))]), colour(`c${k}`));
      c.fillStyle = colour(`c${k}`);
      c.beginPath();
      c.arc(across(log(steps)), up(log(way.error)), 5, 0, 7);
      c.fill();
      c.fillText(NAMES[way.sampler], across(log(128)) - 40, up(log(way.errors.at(-1))) - 18);
    });
  }, [made, steps]);
  const controls = () => html`
    <${Range} label=${t("learn.steps")} min="1" max="100" value=${steps} change=${setSteps} />
    <${SchedulePick} value=${schedule} change=${setSchedule} />`;
  return html`
    <${Exhibit} name="ways" controls=${controls} error=${error}>${() => made && html`
      <${Canvas} draw=${draw} wide=${1.35} label=${t("learn.ways")} />
      <${Player} count=${count} at=${at} go=${(one) => setPart(one / (count - 1))} said=${made.ways[0].times[at].toFixed(2)} />
      <${Canvas} draw=${wrong} wide=${2.6} label=${`${t("learn.error")}: ${made.ways.map((way) => `${NAMES[way.sampler]} ${way.error.toPrecision(2)}`).join(", ")}`} />
      ${able.length > 0 && html`<${Drawn} able=${able} />`}`}
    <//>`;
}

/** The same noise drawn by a model in both ways. */
function Drawn({ able }) {
  const [model, setModel] = useState(able[0].id);
  const [prompt, setPrompt] = useState("");
  const [steps, setSteps] = useState("10");
  const [asked, setAsked] = useState(null);
  const [k, setK] = useState(99);
  const [made, error, waits] = useAnswer("steps", asked, 0);
  const draw = (event) => {
    event.preventDefault();
    setK(99);
    setAsked({ model, prompt, steps, seed: 0 });
  };
  const count = made?.ways[0].times.length ?? 1;
  const at = Math.min(k, count - 1);
  return html`
    <form class="models" onSubmit=${draw}>
      <h3>${t("learn.drawn")}</h3>
      <div class="moved">
        <${Pick} label=${t("model")} value=${model} change=${setModel} options=${able.map((one) => [one.id, one.title])} />
        <div class="field"><label for="learn-prompt">${t("prompt")}</label><input id="learn-prompt" type="text" maxlength="200" autocomplete="off" value=${prompt} onInput=${(event) => setPrompt(event.target.value)} /></div>
        <${Pick} label=${t("learn.steps")} value=${steps} change=${setSteps} options=${["5", "10", "20", "40"].map((one) => [one])} />
        <button type="submit" class="primary" disabled=${waits}>${waits ? t("learn.waits") : t("learn.draw")}</button>
      </div>
      ${error && html`<p class="error alone" role="alert">${error}</p>`}
      ${made && !error && html`
        <div class=${`four ${waits ? "stale" : ""}`}>
          ${made.ways.map((way) => html`
            <figure key=${way.sampler}><figcaption>${NAMES[way.sampler]}</figcaption>
              <div><img class="sharp" src=${way.states[at]} alt=${t("learn.state")} /><img class="sharp" src=${way.estimates[at]} alt=${t("learn.guess")} /></div>
            </figure>`)}
        </div>
        <${Player} count=${count} at=${at} go=${setK} label=${t("learn.step")} said=${`${at + 1} / ${count}`} />
        <p class="facts">${t("learn.both")}</p>`}
    </form>`;
}
