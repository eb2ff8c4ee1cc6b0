// What the exhibits share: their frame, what is moved, what is asked of the server, and a canvas with axes.
import { html, useEffect, useId, useRef, useState } from "../lib.js";
import { get } from "../api.js";
import { Icon, IconButton } from "../icons.js";
import { useStudio } from "../state.js";
import { t } from "../words.js";
import { FORMULAS } from "./formulas.js";

/** An exhibit: words and a formula, what is moved, and what is seen. */
export function Exhibit({ name, controls, error, children }) {
  return html`
    <section class="exhibit" id=${name} tabindex="-1" aria-labelledby=${`${name}-title`}>
      <div class="told">
        <h2 id=${`${name}-title`}>${t(`learn.${name}`)}</h2>
        <p>${t(`learn.${name}.text`)}</p>
        <math display="block" alttext=${FORMULAS[name].alt}>${FORMULAS[name].view()}</math>
        <div class="moved">${controls()}</div>
        <p class="see"><${Icon} name="info" /><span>${t(`learn.${name}.see`)}</span></p>
      </div>
      <div class="seen">${error && html`<p class="error alone" role="alert">${error}</p>`}${children()}</div>
    </section>`;
}

const kept = new Map();

/** An answer, kept; null asks nothing. What was seen before stays until the new one is there. */
export function useAnswer(path, query, wait = 60) {
  const url = query && `/api/learn/${path}?${new URLSearchParams(query)}`;
  const [made, setMade] = useState({});
  useEffect(() => {
    if (!url) return undefined;
    let here = true;
    const show = (one) => here && setMade({ url, ...one });
    const ask = async () => {
      try {
        const answer = kept.get(url) ?? (await get(url));
        kept.delete(url);
        kept.set(url, answer);
        if (kept.size > 60) kept.delete(kept.keys().next().value);
        show({ answer });
      } catch (error) {
        setMade((before) => (here ? { ...before, url, error: error.message } : before));
      }
    };
    const timer = setTimeout(ask, kept.has(url) ? 0 : wait);
    return () => ((here = false), clearTimeout(timer));
  }, [url]);
  return [made.answer, made.url === url ? made.error : null, Boolean(url) && made.url !== url];
}

export function Range({ label, value, change, said = value, ...others }) {
  const id = useId();
  return html`<div class="range"><label for=${id}>${label}</label><output for=${id}>${said}</output>
    <input id=${id} type="range" value=${value} aria-valuetext=${`${said}`} onInput=${(event) => change(Number(event.target.value))} ...${others} /></div>`;
}

export function Pick({ label, value, options, change }) {
  const id = useId();
  return html`<div class="field"><label for=${id}>${label}</label><div class="select">
    <select id=${id} value=${value} onChange=${(event) => change(event.target.value)}>
      ${options.map(([one, said]) => html`<option key=${one} value=${one} selected=${one === value}>${said ?? one}</option>`)}
    </select><${Icon} name="down" /></div></div>`;
}

export const SCHEDULES = ["linear", "scaled_linear", "cosine", "sigmoid", "rectified_flow", "ve"];
export const SchedulePick = ({ value, change }) => html`<${Pick} label=${t("learn.schedule")} value=${value} change=${change} options=${SCHEDULES.map((one) => [one])} />`;

export const Check = ({ label, on, change, colour = "" }) => html`
  <label class=${`check ${colour}`}><input type="checkbox" checked=${on} onChange=${(event) => change(event.target.checked)} /><span>${label}</span></label>`;

/** Goes through frames, by hand or by itself. */
export function Player({ count, at, go, said, label = t("learn.time") }) {
  const [plays, setPlays] = useState(false);
  const now = useRef(at);
  now.current = at;
  useEffect(() => {
    if (!plays) return undefined;
    if (now.current >= count - 1) go(0);
    const timer = setInterval(() => (now.current >= count - 1 ? setPlays(false) : go(now.current + 1)), Math.max(33, 2600 / count));
    return () => clearInterval(timer);
  }, [plays, count]);
  return html`<div class="player">
    <${IconButton} name=${plays ? "pause" : "play"} label=${t(plays ? "learn.pause" : "learn.play")} onClick=${() => setPlays(!plays)} />
    <${Range} label=${label} value=${at} min="0" max=${count - 1} said=${said} change=${(one) => (setPlays(false), go(one))} />
  </div>`;
}

/** A canvas that is drawn again when its size, its theme or anything that it shows changes. */
export function Canvas({ draw, label, wide = 1 }) {
  const ref = useRef();
  const { theme, lang } = useStudio();
  const [size, setSize] = useState(0);
  useEffect(() => {
    const watch = new ResizeObserver(() => setSize(ref.current.clientWidth));
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const again = () => setSize((one) => one + 1e-3);
    watch.observe(ref.current);
    dark.addEventListener("change", again);
    return () => (watch.disconnect(), dark.removeEventListener("change", again));
  }, []);
  useEffect(() => {
    const canvas = ref.current;
    const [w, h, dense] = [canvas.clientWidth, Math.round(canvas.clientWidth / wide), devicePixelRatio || 1];
    if (!w) return;
    if (canvas.width !== Math.round(w * dense)) [canvas.width, canvas.height] = [w, h].map((edge) => Math.round(edge * dense));
    const c = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    c.setTransform(dense, 0, 0, dense, 0, 0);
    c.clearRect(0, 0, w, h);
    c.font = `12px ${style.fontFamily}`;
    draw(c, w, h, (name) => style.getPropertyValue(`--${name}`));
  }, [draw, size, theme, lang]);
  useEffect(() => ref.current.style.setProperty("--wide", wide), [wide]);
  return html`<canvas ref=${ref} role="img" aria-label=${label}></canvas>`;
}

/** Places in a frame [x, y, w, h] for numbers in a range, with some lines and what they mean. */
export function axes(c, colour, [x, y, w, h], [left, right], [low, high], xs = [], ys = [], name = "") {
  const across = (value) => x + ((value - left) / (right - left)) * w;
  const up = (value) => y + h - ((value - low) / (high - low)) * h;
  c.strokeStyle = colour("line");
  c.fillStyle = colour("soft");
  c.lineWidth = 1;
  const ruled = (marks, line, text) => marks.forEach((mark) => {
    const [value, said] = Array.isArray(mark) ? mark : [mark, mark];
    c.beginPath();
    line(value);
    c.stroke();
    text(value, `${said}`);
  });
  c.textAlign = "center";
  ruled(xs, (v) => (c.moveTo(across(v), y), c.lineTo(across(v), y + h)), (v, said) => c.fillText(said, across(v), y + h + 16));
  c.textAlign = "right";
  ruled(ys, (v) => (c.moveTo(x, up(v)), c.lineTo(x + w, up(v))), (v, said) => c.fillText(said, x - 6, up(v) + 4));
  c.textAlign = "left";
  c.fillText(name, x, y - 8);
  return [across, up];
}

/** A line through points; what is infinite is left out. */
export function line(c, points, colour, width = 2, alpha = 1) {
  c.beginPath();
  let open = false;
  for (const [x, y] of points) {
    if (y === null || !Number.isFinite(y)) open = false;
    else (open ? c.lineTo(x, y) : c.moveTo(x, y), (open = true));
  }
  Object.assign(c, { strokeStyle: colour, lineWidth: width, globalAlpha: alpha, lineJoin: "round" });
  c.stroke();
  c.globalAlpha = 1;
}

/** What is drawn stays in a frame. */
export function clipped(c, [x, y, w, h], draw) {
  c.save();
  c.beginPath();
  c.rect(x, y - 2, w, h + 4);
  c.clip();
  draw();
  c.restore();
}

/** Dots of a list x, y, x, y ... */
export function dots(c, list, across, up, colour, radius, alpha) {
  Object.assign(c, { fillStyle: colour, globalAlpha: alpha });
  c.beginPath();
  for (let k = 0; k < list.length; k += 2) {
    const [x, y] = [across(list[k]), up(list[k + 1])];
    c.moveTo(x + radius, y);
    c.arc(x, y, radius, 0, 7);
  }
  c.fill();
  c.globalAlpha = 1;
}

export const decibels = (logsnr) => (logsnr === null ? "∞" : `${((10 * logsnr) / Math.LN10).toFixed(1)} dB`.replace("-", "−"));
