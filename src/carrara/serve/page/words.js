// Words in the language that is chosen. English stands in where another language has none.
import { state, update } from "./state.js";

const LANGUAGES = { en: "en", zh: "zh-Hans" };
const words = {};

async function read(lang) {
  words[lang] ??= await (await fetch(new URL(`./words.${lang}.json`, import.meta.url))).json();
}

/** Changes the language of the whole page. */
export async function speak(lang) {
  await Promise.all([read("en"), read(lang)]);
  document.documentElement.lang = LANGUAGES[lang];
  update({ lang });
}

const found = (key) => words[state.lang]?.[key] ?? words.en?.[key];

/** The words for a key, with {names} filled in. */
export function t(key, values = {}) {
  return (found(key) ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

const spaced = (name) => name[0].toUpperCase() + name.slice(1).replaceAll("_", " ");

/** What an option is called. */
export const labelOf = (name) => found(`option.${name}`) ?? spaced(name);

/** What an option does: in English as the program says it, else as it is translated. */
export const docOf = (option, verb) =>
  words[state.lang]?.[`doc.${verb}.${option.name}`] ?? words[state.lang]?.[`doc.${option.name}`] ?? option.doc;

/** What a verb is called, and what it does. */
export const verbLabel = (name) => found(`verb.${name}`) ?? spaced(name);
export const verbDoc = (verb) => words[state.lang]?.[`verbdoc.${verb.name}`] ?? verb.doc;

export const number = (value, digits = 0) =>
  new Intl.NumberFormat(LANGUAGES[state.lang], { maximumFractionDigits: digits, notation: value >= 1e5 ? "compact" : "standard" }).format(value);

export const when = (seconds) =>
  new Intl.DateTimeFormat(LANGUAGES[state.lang], { dateStyle: "medium", timeStyle: "short" }).format(new Date(seconds * 1000));

/** Seconds as one says them. */
export function duration(seconds) {
  if (seconds < 60) return t("seconds", { n: Math.max(1, Math.round(seconds)) });
  if (seconds >= 3600) return t("hours", { h: Math.floor(seconds / 3600), m: String(Math.floor((seconds % 3600) / 60)).padStart(2, "0") });
  return t("minutes", { m: Math.floor(seconds / 60), s: String(Math.round(seconds % 60)).padStart(2, "0") });
}
