// The studio: its tabs, and what belongs to the whole page. A tab is a line in TABS.
import { html, render, useEffect, useErrorBoundary, useState } from "./lib.js";
import { Edit } from "./edit.js";
import { focusPrompt, Generate } from "./generate.js";
import { Icon, IconButton } from "./icons.js";
import { sync } from "./jobs.js";
import { restored } from "./kept.js";
import { lazily } from "./lazy.js";
import { readModels } from "./models.js";
import { Dialog, Notices } from "./parts.js";
import { recallFile } from "./pictures.js";
import { state, update, useStudio } from "./state.js";
import { Compared, Tray } from "./viewer.js";
import { speak, t } from "./words.js";

const TABS = [
  { name: "generate", icon: "spark", view: Generate },
  { name: "edit", icon: "edit", view: Edit },
  { name: "gallery", icon: "grid", view: lazily(() => import("./gallery.js").then((all) => all.Gallery)) },
  { name: "train", icon: "train", view: lazily(() => import("./train.js").then((all) => all.Train), ["train.css", "vendor/uplot.css"]), free: true },
  { name: "evaluate", icon: "measure", view: lazily(() => import("./evaluate.js").then((m) => m.Evaluate), ["evaluate.css"]) },
  { name: "learn", icon: "learn", view: lazily(() => import("./learn.js").then((all) => all.Learn), ["learn.css"]), free: true },
];
const THEMES = ["auto", "light", "dark"];
const ICONS = { auto: "auto", light: "sun", dark: "moon" };

const routed = () => TABS.find((tab) => location.hash === `#/${tab.name}`) ?? TABS[0];

function useRoute() {
  const [tab, setTab] = useState(routed());
  useEffect(() => {
    const change = () => setTab(routed());
    addEventListener("hashchange", change);
    return () => removeEventListener("hashchange", change);
  }, []);
  return tab;
}

function wear(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  update({ theme });
}

function Studio() {
  const { lang, theme, said, model, ready, trouble } = useStudio();
  const tab = useRoute();
  const [help, setHelp] = useState(false);
  const [compares, setCompares] = useState(false);
  const [broken, again] = useErrorBoundary((error) => console.error(error));
  useEffect(() => {
    document.title = `${t(tab.name)} · Carrara`;
  }, [tab, lang]);
  useShortcuts(() => setHelp(true));
  const View = tab.view;
  return html`
    <a class="skip" href="#main" onClick=${(event) => (event.preventDefault(), document.getElementById("main").focus())}>${t("skip")}</a>
    <header class="top">
      <a class="brand" href="#/generate"><img src=${new URL("./icon.svg", import.meta.url).href} alt="" width="26" height="26" /><span>Carrara</span></a>
      <nav class="tabs" aria-label=${t("tabs")}>
        ${TABS.map(({ name, icon }) => html`<a key=${name} href=${`#/${name}`} aria-current=${name === tab.name ? "page" : undefined}><${Icon} name=${icon} /><span>${t(name)}</span></a>`)}
      </nav>
      <div class="top-tools">
        <${IconButton} name="info" label=${t("help")} onClick=${() => setHelp(true)} />
        <button type="button" class="icon-button lang" lang=${lang === "en" ? "zh-Hans" : "en"} aria-label=${t("lang.other")} title=${t("lang.other")} onClick=${() => speak(lang === "en" ? "zh" : "en")}>${lang === "en" ? "中" : "EN"}</button>
        <${IconButton} name=${ICONS[theme] ?? "auto"} label=${t(`theme.${theme}`)} onClick=${() => wear(THEMES[(THEMES.indexOf(theme) + 1) % 3])} />
      </div>
    </header>
    <main id="main" tabindex="-1">
      <h1 class="sr">${t(tab.name)}</h1>
      ${broken ? html`<div class="empty"><p class="error alone" role="alert">${t("error.page")}</p><button type="button" onClick=${again}>${t("again")}</button></div>`
        : trouble ? html`<div class="empty"><p class="error alone" role="alert">${trouble}</p><button type="button" onClick=${begin}>${t("again")}</button></div>`
        : ready && !model && !tab.free ? html`<div class="empty"><p>${t("empty.models")}</p></div>`
        : html`<${View} />`}
    </main>
    <div class="sr" role="status" aria-live="polite" id="said">${said}</div>
    <${Notices} />
    <${Tray} open=${() => setCompares(true)} />
    <${Dropping} />
    ${help && html`<${Help} close=${() => setHelp(false)} />`}
    ${compares && state.compared.length > 0 && html`<${Compared} close=${() => setCompares(false)} />`}`;
}

/** "/" goes to the prompt, "?" tells of the keys; neither where one types. */
function useShortcuts(help) {
  useEffect(() => {
    const press = (event) => {
      const typed = event.target.closest("input, textarea, select, dialog, [role=application]");
      if (typed || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "/") (event.preventDefault(), focusPrompt());
      if (event.key === "?") (event.preventDefault(), help());
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}

function Help({ close }) {
  const keys = [["/", "key.prompt"], ["Enter", "key.start"], ["Ctrl Enter", "key.start"], ["Shift Enter", "key.line"], ["← →", "key.turn"], ["S C E R Delete", "key.viewer"], ["Esc", "key.close"]];
  return html`
    <${Dialog} class="help" label=${t("help")} close=${close}>
      <h2>${t("help")}</h2>
      <p>${t("help.drop")}</p>
      <dl class="keys">${keys.map(([key, text]) => html`<div key=${key}><dt>${key.split(" ").map((one) => html`<kbd>${one}</kbd>`)}</dt><dd>${t(text)}</dd></div>`)}</dl>
      <p class="facts">${t("help.local")}</p>
    <//>`;
}

/** A file that is dropped anywhere puts its settings back. */
function Dropping() {
  const [over, setOver] = useState(false);
  useEffect(() => {
    const files = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    const well = (event) => event.target.closest?.(".well, .takes");
    const enter = (event) => files(event) && (event.preventDefault(), setOver(!well(event)));
    const leave = (event) => !event.relatedTarget && setOver(false);
    const end = () => setOver(false);
    const drop = (event) => {
      end();
      if (!files(event) || event.defaultPrevented) return;
      event.preventDefault();
      const [file] = event.dataTransfer.files;
      if (file) recallFile(file);
    };
    const paste = (event) => {
      const [file] = event.clipboardData?.files ?? [];
      if (file) (event.preventDefault(), recallFile(file));
    };
    const all = { dragenter: enter, dragover: enter, dragleave: leave, drop, paste };
    for (const [name, act] of Object.entries(all)) addEventListener(name, act);
    document.addEventListener("carrara:dropped", end);
    return () => {
      for (const [name, act] of Object.entries(all)) removeEventListener(name, act);
      document.removeEventListener("carrara:dropped", end);
    };
  }, []);
  return over && html`<div class="dropping" aria-hidden="true"><div><${Icon} name="file" /><p>${t("drop")}</p></div></div>`;
}

async function begin() {
  try {
    update({ trouble: null });
    await Promise.all([readModels(), sync()]);
  } catch (error) {
    update({ trouble: error.message });
  }
}

await speak(state.lang === "zh" ? "zh" : "en");
update(await restored(state));
render(html`<${Studio} />`, document.getElementById("studio"));
begin();
