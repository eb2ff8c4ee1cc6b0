// The frame of outpainting: its edges are dragged away from the picture, in steps that the model can make.
import { html, useLayoutEffect, useRef } from "./lib.js";
import { labelOf, t } from "./words.js";
import { sharp } from "./stage.js";

const SIDES = ["top", "right", "bottom", "left"];
const AWAY = { top: [0, -1], right: [1, 0], bottom: [0, 1], left: [-1, 0] };
const KEYS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

/** top,right,bottom,left as numbers. */
const read = (value) => {
  const numbers = String(value ?? "").split(",").map(Number);
  return numbers.length === 4 && numbers.every((one) => one >= 0) ? numbers : [0, 0, 0, 0];
};

export function Frame({ source, step, value, change }) {
  const area = useRef();
  const drag = useRef(null);
  const margins = read(value);
  const [top, right, bottom, left] = margins;
  const [width, height] = [left + source.width + right, top + source.height + bottom];
  const room = 1.25 * Math.max(source.width, source.height); // what may be added at a side, as far as the frame goes
  const set = (side, amount) => {
    const next = margins.map((one, k) => (SIDES[k] === side ? Math.max(0, Math.round(amount / step) * step) : one));
    change(next.some(Boolean) ? next.join(",") : undefined);
  };
  useLayoutEffect(() => {
    const { style } = area.current;
    const unit = 100 / (2 * Math.max(width, height, 1.6 * Math.max(source.width, source.height)) * 0.5);
    style.setProperty("--w", `${unit * width}%`);
    style.setProperty("--h", `${unit * height}%`);
    style.setProperty("--px", `${(100 * left) / width}%`);
    style.setProperty("--py", `${(100 * top) / height}%`);
    style.setProperty("--pw", `${(100 * source.width) / width}%`);
    style.setProperty("--ph", `${(100 * source.height) / height}%`);
  });
  const down = (side) => (event) => {
    event.target.setPointerCapture(event.pointerId);
    const box = area.current.querySelector(".canvas").getBoundingClientRect();
    drag.current = { side, x: event.clientX, y: event.clientY, was: margins[SIDES.indexOf(side)], per: width / box.width };
  };
  const move = (event) => {
    if (!drag.current) return;
    const { side, x, y, was, per } = drag.current;
    const [dx, dy] = AWAY[side];
    set(side, Math.min(room, was + per * (dx * (event.clientX - x) + dy * (event.clientY - y))));
  };
  const key = (side) => (event) => {
    const [dx, dy] = KEYS[event.key] ?? [0, 0];
    const along = dx * AWAY[side][0] + dy * AWAY[side][1];
    if (!along) return;
    event.preventDefault();
    set(side, margins[SIDES.indexOf(side)] + along * step);
  };
  return html`
    <section class="framer" aria-label=${t("frame")}>
      <div class="outside" ref=${area}>
        <div class="canvas">
          <img src=${source.shown ?? source.src} alt=${source.name} class=${sharp(source)} draggable="false" />
          ${SIDES.map((side, k) => html`<span key=${side} class=${`handle ${side}`} role="slider" tabindex="0" aria-label=${t(`frame.${side}`)}
            aria-valuemin="0" aria-valuemax=${Math.round(room)} aria-valuenow=${margins[k]} aria-orientation=${k % 2 ? "horizontal" : "vertical"}
            onPointerDown=${down(side)} onPointerMove=${move} onPointerUp=${() => (drag.current = null)} onPointerCancel=${() => (drag.current = null)} onKeyDown=${key(side)}></span>`)}
        </div>
      </div>
      <p class="facts"><output>${labelOf("canvas")}: ${width} × ${height}</output> · ${t("frame.keys")}</p>
    </section>`;
}
