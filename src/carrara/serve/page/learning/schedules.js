// Schedules side by side: their curves, and the way of one picture under each.
import { html, useCallback, useState } from "../lib.js";
import { useStudio } from "../state.js";
import { t } from "../words.js";
import { pictured } from "./noise.js";
import { axes, Canvas, Check, clipped, decibels, Exhibit, line, Range, SCHEDULES, useAnswer } from "./parts.js";

const SPAN = { share: [0, 1], logsnr: [-16, 16] };
const MARKS = { share: [0, 0.5, 1], logsnr: [-10, 0, 10] };

export function Schedules() {
  useStudio();
  const [chosen, setChosen] = useState(["linear", "cosine", "rectified_flow"]);
  const [zero, setZero] = useState(false);
  const [curve, setCurve] = useState("share");
  const [at, setAt] = useState(50);
  const [made, error] = useAnswer("schedules", { zero });
  const shown = made?.schedules.filter((one) => chosen.includes(one.name)) ?? [];
  const draw = useCallback((c, w, h, colour) => {
    const box = [34, 24, w - 46, h - 50];
    const [across, up] = axes(c, colour, box, [0, 1], SPAN[curve], [0, 0.25, 0.5, 0.75, 1], MARKS[curve], t(`learn.curve.${curve}`));
    clipped(c, box, () => shown.forEach((one) => line(c, one.t.map((time, k) => [across(time), one[curve][k] === null ? null : up(one[curve][k])]), colour(`c${SCHEDULES.indexOf(one.name)}`))));
    line(c, [[across(at / 100), box[1]], [across(at / 100), box[1] + box[3]]], colour("soft"), 1);
  }, [made, chosen, curve, at]);
  const turn = (name) => (on) => setChosen(SCHEDULES.filter((one) => (one === name ? on : chosen.includes(one))));
  const controls = () => html`
    <div class="checks">${SCHEDULES.map((name, k) => html`<${Check} key=${name} label=${name} on=${chosen.includes(name)} change=${turn(name)} colour=${`c${k}`} />`)}</div>
    <div class="checks">
      <${Check} label="log SNR" on=${curve === "logsnr"} change=${(on) => setCurve(on ? "logsnr" : "share")} />
      <${Check} label=${t("learn.zero")} on=${zero} change=${setZero} />
    </div>`;
  return html`
    <${Exhibit} name="schedules" controls=${controls} error=${error}>${() => made && html`
      <${Canvas} draw=${draw} wide=${1.9} label=${`${t(`learn.curve.${curve}`)}: ${chosen.join(", ")}`} />
      <${Range} label=${t("learn.time")} said=${(at / 100).toFixed(2)} min="0" max="100" value=${at} change=${setAt} />
      ${shown.map((one) => html`<${Way} key=${one.name} one=${one} at=${at} leak=${made.leak} zero=${zero && one.discrete} />`)}`}
    <//>`;
}

/** A picture's way, and how it ends. */
function Way({ one, at, leak, zero }) {
  const [made] = useAnswer("noising", { schedule: one.name, frames: 9, zero, ...pictured() });
  const end = one.leak <= leak ? t("learn.ends") : t("learn.leaks", { n: one.leak.toPrecision(2) });
  return html`
    <div class="way">
      <p><b class=${`c${SCHEDULES.indexOf(one.name)}`}>${one.name}</b> <span>${decibels(one.logsnr[at])}</span></p>
      <div class="film">${made?.frames.map((src, k) => html`<img key=${k} class="sharp" src=${src} alt="" />`)}</div>
      <p class="facts">${one.end === null ? t("learn.nothing") : t("learn.end", { n: decibels(one.logsnr.at(-1)) })} ${end}</p>
    </div>`;
}
