// What the page knows, in one object. What shall survive a reload is kept in localStorage.
import { useEffect, useReducer } from "./lib.js";

const KEY = "carrara.studio";
const KEPT = ["lang", "theme", "client", "model", "settings", "verb", "edits", "sources", "strokes", "befores", "train"];

const listeners = new Set();

export const state = {
  lang: (navigator.language || "").toLowerCase().startsWith("zh") ? "zh" : "en",
  theme: "auto",
  client: Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join(""),
  model: null, // the id of the one that is chosen
  settings: {}, // by model: what is asked
  verb: null,
  edits: {}, // by verb: its options
  sources: [], // the pictures that are edited: {src, name, width, height}
  strokes: [], // of the mask, see masks.js
  befores: {}, // by job: what was edited
  train: {}, // the form of a training, and which are open: see training.js
  training: {}, // what the server says about them
  models: [], // all, in short
  details: {}, // by id: all of one
  jobs: [], // newest first
  previews: {}, // by job
  compared: [], // pictures
  errors: {}, // by parameter: the sentence
  notices: [],
  said: "", // what a screen reader is told
  ...kept(),
};

function kept() {
  try {
    const read = JSON.parse(localStorage.getItem(KEY) || "{}");
    return Object.fromEntries(Object.entries(read).filter(([name]) => KEPT.includes(name)));
  } catch {
    return {};
  }
}

function keep() {
  const write = (names) => localStorage.setItem(KEY, JSON.stringify(Object.fromEntries(names.map((n) => [n, state[n]]))));
  try {
    write(KEPT);
  } catch {
    try {
      write(KEPT.filter((name) => name !== "sources" && name !== "befores")); // there is no room for pictures
    } catch {
      // Nothing can be kept: the page works all the same.
    }
  }
}

let waiting = 0;

/** Changes the state, and shows it. */
export function update(change) {
  Object.assign(state, change);
  if (KEPT.some((name) => name in change)) {
    clearTimeout(waiting);
    waiting = setTimeout(keep, 150);
  }
  for (const listener of listeners) listener();
}

addEventListener("pagehide", keep);

/** The state, in a view that is drawn again when it changes. */
export function useStudio() {
  const [, again] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    listeners.add(again);
    return () => listeners.delete(again);
  }, []);
  return state;
}

/** What is asked of a model, as it was left. */
export const settingsOf = (id) => ({ ask: {}, prompt: "", chips: [], each: false, lock: false, grid: [], ...state.settings[id] });

export function changeSettings(id, change) {
  update({ settings: { ...state.settings, [id]: { ...settingsOf(id), ...change } } });
}

/** One field of what is asked; undefined leaves it to the model. */
export function changeAsk(id, name, value) {
  const ask = { ...settingsOf(id).ask, [name]: value };
  if (value === undefined || value === null || value === "") delete ask[name];
  forget(name);
  changeSettings(id, { ask });
}

/** A mistake is gone when its field is changed. */
export function forget(name) {
  if (!(name in state.errors)) return;
  const { [name]: _, ...errors } = state.errors;
  update({ errors });
}

/** Tells a screen reader. */
export const say = (said) => update({ said });

let count = 0;

/** A notice that goes away by itself, with what can be done about it. */
export function notice(text, { kind = "info", action, act, seconds = 7 } = {}) {
  const id = ++count;
  update({ notices: [...state.notices.slice(-3), { id, text, kind, action, act }] });
  setTimeout(() => dismiss(id), seconds * 1000);
}

export const dismiss = (id) => update({ notices: state.notices.filter((one) => one.id !== id) });
