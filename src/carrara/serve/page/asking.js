// From what stands on the page to a request, and back.
import { randomSeed } from "./lib.js";
import { changeSettings, settingsOf, state, update } from "./state.js";

/** The prompt of chosen labels: one by itself, or a mixture whose shares are at most 1 in all. */
export function mixed(chips) {
  if (chips.length < 2) return chips.map((chip) => chip.label).join("");
  const sum = chips.reduce((all, chip) => all + chip.share, 0) || 1;
  return chips.map((chip) => `${chip.label}:${round(chip.share / sum)}`).join("+");
}

const round = (share) => Math.round(share * 1000) / 1000;

/** Labels and shares from such a prompt; null if it is something else. */
export function chipsOf(prompt, labels) {
  const parts = labels.includes(prompt) ? [prompt] : prompt.split("+");
  const chips = parts.map((part) => {
    const cut = part.lastIndexOf(":");
    const known = cut > 0 && labels.includes(part.slice(0, cut).trim());
    return known ? { label: part.slice(0, cut).trim(), share: Number(part.slice(cut + 1)) } : { label: part.trim(), share: 1 };
  });
  return chips.every((chip) => labels.includes(chip.label) && chip.share >= 0) ? chips : null;
}

/** What is asked for: a prompt in each line, or labels. */
export function promptsOf(model, settings) {
  if (model.prompt === "labels" && !settings.prompt) {
    if (!settings.chips.length) return [];
    return settings.each ? settings.chips.map((chip) => chip.label) : [mixed(settings.chips)];
  }
  return model.prompt ? settings.prompt.split("\n").map((line) => line.trim()).filter(Boolean) : [];
}

/** The fields of Ask that this model understands, with the seed. */
export function askOf(model, { leave = [] } = {}) {
  const settings = settingsOf(model.id);
  const known = new Set(model.options.map((option) => option.name));
  const said = Object.entries(settings.ask).filter(([name]) => known.has(name) && !leave.includes(name));
  const ask = Object.fromEntries(said);
  const prompts = promptsOf(model, settings);
  if (prompts.length) ask.prompts = prompts;
  if (known.has("seed") && !leave.includes("seed") && ask.seed === undefined) ask.seed = 0;
  return ask;
}

/** Draws a new seed, unless it is locked. */
export function nextSeed(model) {
  const settings = settingsOf(model.id);
  if (!settings.lock) changeSettings(model.id, { ask: { ...settings.ask, seed: randomSeed() } });
}

/** Parameters that vary in a grid, as the server reads them. */
export const varied = (grid) => grid.filter((axis) => axis.name && axis.values.trim()).map((axis) => `${axis.name}=${axis.values.trim()}`);

/** What of Ask is put back as the settings of a model. */
function settingsFrom(model, ask) {
  const known = new Set(model.options.map((option) => option.name));
  const prompts = ask.prompts ?? [];
  const said = Object.entries(ask).filter(([name, value]) => known.has(name) && value !== null && value !== undefined);
  const chips = model.prompt === "labels" ? prompts.map((prompt) => chipsOf(prompt, model.classes)) : [];
  const plain = chips.length === prompts.length && chips.every(Boolean) && (chips.length < 2 || chips.every((one) => one.length === 1));
  const labels = model.prompt === "labels" && plain;
  return {
    ask: Object.fromEntries(said),
    lock: "seed" in ask,
    prompt: labels ? "" : prompts.join("\n"),
    chips: labels ? chips.flat() : [],
    each: labels && prompts.length > 1,
    grid: [],
  };
}

/** Puts every setting back, as it is recalled. */
export function putBack(model, { ask, verb, options }) {
  update({ model: model.id, errors: {} });
  changeSettings(model.id, settingsFrom(model, ask ?? {}));
  if (verb) update({ verb, edits: { ...state.edits, [verb]: { ...options } } });
}
