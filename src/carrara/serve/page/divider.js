// Results of an edit: before and after with a divider, and the way between two as a film.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./lib.js";
import { IconButton } from "./icons.js";
import { sharp } from "./stage.js";
import { t } from "./words.js";

export function Before({ before, pictures }) {
  const [at, setAt] = useState(50);
  const [which, setWhich] = useState(0);
  const ref = useRef();
  const picture = pictures[Math.min(which, pictures.length - 1)];
  useLayoutEffect(() => ref.current.style.setProperty("--at", `${at}%`), [at]);
  useLayoutEffect(() => ref.current.style.setProperty("--ratio", picture.width / picture.height), [picture]);
  return html`
    <div class="before-after">
      <div class="divided" ref=${ref}>
        <img src=${picture.url} alt=${t("after")} class=${sharp(picture)} />
        <img src=${before.src} alt=${t("before")} class=${`first ${sharp(picture)}`} />
        <span class="line" aria-hidden="true"></span>
        <input type="range" min="0" max="100" value=${at} aria-label=${t("divider")} aria-valuetext=${t("divider.at", { n: at })} onInput=${(event) => setAt(Number(event.target.value))} />
      </div>
      ${pictures.length > 1 && html`<div class="turn">
        <${IconButton} name="left" label=${t("previous")} onClick=${() => setWhich((which + pictures.length - 1) % pictures.length)} />
        <span>${which + 1} / ${pictures.length}</span>
        <${IconButton} name="right" label=${t("next")} onClick=${() => setWhich((which + 1) % pictures.length)} />
      </div>`}
    </div>`;
}

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

export function Strip({ pictures }) {
  const [at, setAt] = useState(0);
  const [plays, setPlays] = useState(false);
  const last = pictures.length - 1;
  useEffect(() => {
    if (!plays) return undefined;
    const timer = setInterval(() => setAt((k) => (k + 1) % (2 * last || 1)), still() ? 500 : 110);
    return () => clearInterval(timer);
  }, [plays, last]);
  const place = at > last ? 2 * last - at : at; // forth and back
  const picture = pictures[place];
  return html`
    <div class="strip">
      <img src=${picture.url} alt=${t("frame.of", { n: place + 1, all: pictures.length })} class=${sharp(picture)} width=${picture.width} height=${picture.height} />
      <div class="scrubber">
        <${IconButton} name=${plays ? "pause" : "play"} label=${t(plays ? "pause" : "loop")} onClick=${() => setPlays(!plays)} />
        <input type="range" min="0" max=${last} value=${place} aria-label=${t("between")} onInput=${(event) => (setPlays(false), setAt(Number(event.target.value)))} />
        <output>${place + 1} / ${pictures.length}</output>
      </div>
    </div>`;
}
