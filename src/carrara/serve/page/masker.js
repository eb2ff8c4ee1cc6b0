// The canvas of a mask: brush and eraser, zoom and pan, by mouse, pen, fingers or keys.
import { clamp, classes, html, useEffect, useLayoutEffect, useRef, useState } from "./lib.js";
import { IconButton } from "./icons.js";
import { paint } from "./masks.js";
import { state, update, useStudio } from "./state.js";
import { docOf, labelOf, t } from "./words.js";
import { sharp } from "./stage.js";

const ZOOMS = [1, 12];
const FINE = 1024; // the longer edge of the canvas in points, at least

export function MaskEditor({ source, feather, setFeather }) {
  const { strokes, lang } = useStudio();
  const [tool, setTool] = useState("paint");
  const [size, setSize] = useState(Math.max(2, Math.round(Math.max(source.width, source.height) / 8)));
  const [view, setView] = useState({ zoom: 1, x: 0, y: 0 });
  const [cursor, setCursor] = useState(null);
  const undone = useRef([]);
  const set = (next, redo = []) => {
    undone.current = redo;
    update({ strokes: next });
  };
  const add = (stroke) => set([...state.strokes, stroke]);
  const undo = () => state.strokes.length && set(state.strokes.slice(0, -1), [...undone.current, state.strokes.at(-1)]);
  const redo = () => undone.current.length && set([...state.strokes, undone.current.at(-1)], undone.current.slice(0, -1));
  const zoom = (by, at = [0.5, 0.5]) => setView((was) => zoomed(was, by, at));
  const most = Math.max(4, Math.round(Math.max(source.width, source.height) / 2));
  const actions = { undo, redo, invert: () => add({ kind: "invert" }), clear: () => strokes.length && set([]), setTool, setSize: (n) => setSize(clamp(Math.round(n), 1, most)), zoom, fit: () => setView({ zoom: 1, x: 0, y: 0 }) };
  const choice = (kind, icon, key) => html`<${IconButton} name=${icon} label=${`${t(`mask.${kind}`)} (${key})`} aria-pressed=${tool === kind} onClick=${() => setTool(kind)} />`;
  return html`
    <section class="masker" aria-label=${t("mask")}>
      <div class="tools" role="toolbar" aria-label=${t("mask.tools")}>
        <div class="tool-group">${choice("paint", "brush", "B")}${choice("erase", "eraser", "E")}${choice("move", "hand", "H")}</div>
        <label class="tool-size"><span>${t("mask.size")}</span><input type="range" min="1" max=${most} value=${size} onInput=${(event) => setSize(Number(event.target.value))} /><output>${size}</output></label>
        <div class="tool-group">
          <${IconButton} name="undo" label=${t("mask.undo")} disabled=${!strokes.length} onClick=${undo} />
          <${IconButton} name="redo" label=${t("mask.redo")} disabled=${!undone.current.length} onClick=${redo} />
          <${IconButton} name="invert" label=${t("mask.invert")} onClick=${actions.invert} />
          <${IconButton} name="bin" label=${t("mask.clear")} disabled=${!strokes.length} onClick=${actions.clear} />
        </div>
        <div class="tool-group">
          <${IconButton} name="minus" label=${t("zoom.out")} onClick=${() => zoom(1 / 1.4)} />
          <${IconButton} name="plus" label=${t("zoom.in")} onClick=${() => zoom(1.4)} />
          <${IconButton} name="fit" label=${t("zoom.fit")} onClick=${actions.fit} />
        </div>
        ${feather !== null && html`<label class="tool-size" title=${docOf({ name: "feather", doc: "" })}><span>${labelOf("feather")}</span>
          <input type="range" min="0" max="32" value=${feather ?? 2} onInput=${(event) => setFeather(Number(event.target.value))} /><output>${feather ?? t("auto")}</output></label>`}
      </div>
      <${Board} source=${source} strokes=${strokes} tool=${tool} size=${size} view=${view} setView=${setView} add=${add} actions=${actions} cursor=${cursor} setCursor=${setCursor} />
      <p class="facts" lang=${lang === "zh" ? "zh-Hans" : "en"}>${t("mask.keys")}</p>
    </section>`;
}

/** Zooms by a factor about a place of the board, 0 to 1 in both directions, which stays where it is. */
function zoomed({ zoom, x, y }, by, [u, v]) {
  const next = clamp(zoom * by, ...ZOOMS);
  const stay = (offset, place) => place - ((place - offset) * next) / zoom;
  return held({ zoom: next, x: stay(x, u), y: stay(y, v) });
}

/** The picture never leaves the board. */
const held = ({ zoom, x, y }) => ({ zoom, x: clamp(x, 1 - zoom, 0), y: clamp(y, 1 - zoom, 0) });

function Board({ source, strokes, tool, size, view, setView, add, actions, cursor, setCursor }) {
  const board = useRef();
  const canvas = useRef();
  const fingers = useRef(new Map());
  const stroke = useRef(null);
  const [space, setSpace] = useState(false);
  const { width, height } = source;
  const scale = Math.max(1, Math.ceil(FINE / Math.max(width, height)));

  const draw = (extra) => {
    const context = canvas.current.getContext("2d");
    context.clearRect(0, 0, width * scale, height * scale);
    paint(context, extra ? [...strokes, extra] : strokes, { scale, colour: "#e5484d" });
  };
  useLayoutEffect(() => draw(stroke.current), [strokes, scale]);
  useLayoutEffect(() => {
    board.current.style.setProperty("--ratio", width / height);
    board.current.firstElementChild.style.transform = `translate(${100 * view.x}%, ${100 * view.y}%) scale(${view.zoom})`;
  }, [view, width, height]);
  useEffect(() => {
    const wheel = (event) => {
      event.preventDefault();
      actions.zoom(Math.exp(-event.deltaY / 400), placeOf(event));
    };
    board.current.addEventListener("wheel", wheel, { passive: false });
    return () => board.current?.removeEventListener("wheel", wheel);
  }, []);

  const placeOf = (event) => {
    const box = board.current.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const pointOf = (event) => {
    const [u, v] = placeOf(event);
    return [((u - view.x) / view.zoom) * width, ((v - view.y) / view.zoom) * height].map((one) => Math.round(one * 100) / 100);
  };
  const moves = tool === "move" || space;
  const down = (event) => {
    if (event.button > 1) return;
    board.current.setPointerCapture(event.pointerId);
    fingers.current.set(event.pointerId, placeOf(event));
    if (fingers.current.size > 1 || moves || event.button === 1) stroke.current = null;
    else stroke.current = { kind: tool, size, points: [pointOf(event)] };
    draw(stroke.current);
  };
  const move = (event) => {
    if (event.pointerType !== "touch") setCursor(pointOf(event));
    const before = fingers.current.get(event.pointerId);
    if (!before) return;
    const now = placeOf(event);
    if (stroke.current) {
      for (const one of event.getCoalescedEvents?.() ?? [event]) stroke.current.points.push(pointOf(one));
      draw(stroke.current);
      return;
    }
    const other = [...fingers.current].find(([id]) => id !== event.pointerId)?.[1];
    fingers.current.set(event.pointerId, now);
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    const far = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]) || 1e-3;
    setView((was) => (other ? zoomed(was, far(now, other) / far(before, other), other) : held({ ...was, x: was.x + dx, y: was.y + dy })));
  };
  const up = (event) => {
    fingers.current.delete(event.pointerId);
    const drawn = stroke.current;
    stroke.current = null;
    if (drawn && event.type === "pointerup") add(drawn);
    else draw();
  };
  const keys = (event) => {
    const at = cursor ?? [width / 2, height / 2];
    const far = event.shiftKey ? Math.max(1, size) : Math.max(1, size / 4);
    const go = (dx, dy) => setCursor([clamp(at[0] + dx * far, 0, width), clamp(at[1] + dy * far, 0, height)]);
    const held_ = event.ctrlKey || event.metaKey;
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const act = held_
      ? { z: () => (event.shiftKey ? actions.redo() : actions.undo()), y: actions.redo }[name]
      : { ArrowLeft: () => go(-1, 0), ArrowRight: () => go(1, 0), ArrowUp: () => go(0, -1), ArrowDown: () => go(0, 1), Enter: () => add({ kind: tool === "erase" ? "erase" : "paint", size, points: [at] }), b: () => actions.setTool("paint"), e: () => actions.setTool("erase"), h: () => actions.setTool("move"), i: actions.invert, "[": () => actions.setSize(size - Math.max(1, size / 8)), "]": () => actions.setSize(size + Math.max(1, size / 8)), "+": () => actions.zoom(1.4), "=": () => actions.zoom(1.4), "-": () => actions.zoom(1 / 1.4), 0: actions.fit, Delete: actions.clear, " ": () => setSpace(true) }[name];
    if (!act || (held_ && name === "Enter")) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  };
  return html`
    <div class=${classes("board", { moves })} ref=${board} tabindex="0" role="application" aria-label=${t("mask.board")} aria-roledescription=${t("mask.canvas")}
      onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${up} onPointerLeave=${() => !fingers.current.size && setCursor(null)}
      onKeyDown=${keys} onKeyUp=${(event) => event.key === " " && setSpace(false)} onBlur=${() => setSpace(false)}>
      <div class="sheet">
        <img src=${source.shown ?? source.src} alt=${source.name} class=${sharp(source)} draggable="false" />
        <canvas ref=${canvas} width=${width * scale} height=${height * scale}></canvas>
        ${cursor && !moves && html`<${Cursor} at=${cursor} size=${size} width=${width} height=${height} />`}
      </div>
    </div>`;
}

/** A ring as large as the brush. */
function Cursor({ at, size, width, height }) {
  const ref = useRef();
  useLayoutEffect(() => {
    const { style } = ref.current;
    style.left = `${(100 * at[0]) / width}%`;
    style.top = `${(100 * at[1]) / height}%`;
    style.width = `${(100 * size) / width}%`;
  }, [at, size]);
  return html`<span class="cursor" ref=${ref} aria-hidden="true"></span>`;
}
