// The recipe: a preset, why it is the one, and its keys with what they do.
import { html, classes, useId, useState } from "./lib.js";
import { Icon, IconButton } from "./icons.js";
import { Step, Wrong } from "./steps.js";
import { state } from "./state.js";
import { ask, askKey, form, known, learn } from "./training.js";
import { t } from "./words.js";

export function Recipe() {
  const { about, plan } = known();
  const { changes } = form();
  if (about?.state !== "ready") return null;
  if (!plan) return html`<${Step} n="2" title=${t("train.recipe")}><${From} /><p class="facts">${t("reads")}</p><${Wrong} part="plan" /><//>`;
  const { keys, mistakes, stages } = plan;
  const shown = new Set(keys.map((one) => one.key));
  const wrongs = Object.fromEntries(mistakes.filter(({ key }) => key).map(({ key, message }) => [key, message]));
  const rows = (some) => some.map((one) => html`<${Key} key=${one.key} one=${one} mine=${changes[one.key]} wrong=${wrongs[one.key]} />`);
  return html`
    <${Step} n="2" title=${t("train.recipe")}>
      <${From} />
      ${!form().start && html`<${Preset} />`}
      ${plan.reasons.length > 0 && html`<ul class="reasons" aria-label=${t("train.why")}>${plan.reasons.map((text) => html`<li key=${text} lang="en">${text}</li>`)}</ul>`}
      ${stages.length > 1 && html`<p class="facts">${t("train.stages", { titles: stages.map((one) => one.title).join(" → ") })}</p>`}
      <${Name} />
      <${Wrong} part="plan" />
      ${mistakes.filter(({ key }) => !shown.has(key)).map(({ key, message }) => html`
        <p key=${message} class="error alone" role="alert">${message} ${key in changes && html`<button type="button" class="link" onClick=${() => askKey(key)}>${t("train.back", { usual: key })}</button>`}</p>`)}
      <div class="keys">${rows(keys.filter((one) => one.main))}</div>
      <${Others} keys=${keys.filter((one) => !one.main)} rows=${rows} wrongs=${wrongs} />
    <//>`;
}

function Preset() {
  const { about, plan } = known();
  const chosen = form().preset ?? plan.preset;
  return html`
    <div class="field">
      <div class="field-head"><label for="preset">${t("train.preset")}</label></div>
      <div class="select">
        <select id="preset" value=${chosen} onChange=${({ target }) => ask({ preset: target.value === about.preset ? null : target.value })}>
          ${about.presets.map(({ name }) => html`<option key=${name} value=${name} selected=${name === chosen}>${name === about.preset ? t("train.preset.usual", { name }) : name}</option>`)}
        </select>
        <${Icon} name="down" />
      </div>
      <p class="doc" lang="en">${about.presets.find(({ name }) => name === chosen)?.purpose}</p>
    </div>`;
}

/** A new model, or one that is there and learns further: the keys of these differ. */
function From() {
  const { start } = form();
  const able = state.models.filter(({ kind, id }) => kind === "diffusion" || id === start);
  if (!able.length) return null;
  const change = ({ target }) => {
    learn({ plan: null });
    ask({ start: target.value || null, preset: null, changes: {} });
  };
  return html`
    <div class="field">
      <div class="field-head"><label for="from">${t("train.from")}</label></div>
      <div class="select">
        <select id="from" aria-describedby=${start ? "from-doc" : undefined} value=${start ?? ""} onChange=${change}>
          <option value="">${t("train.from.new")}</option>
          ${able.map(({ id, title }) => html`<option key=${id} value=${id} selected=${id === start}>${title}</option>`)}
        </select>
        <${Icon} name="down" />
      </div>
      ${start && html`<p class="doc" id="from-doc">${t("train.from.doc")}</p>`}
    </div>`;
}

function Name() {
  const { plan } = known();
  const wrong = plan.mistakes.find(({ key }) => key === "name")?.message;
  return html`
    <div class=${classes("field", { wrong })}>
      <div class="field-head"><label for="run-name">${t("train.name")}</label></div>
      <input id="run-name" type="text" autocomplete="off" spellcheck=${false} placeholder=${plan.name} value=${form().name} aria-invalid=${wrong ? "true" : undefined}
        aria-describedby="run-name-doc" onInput=${(event) => ask({ name: event.target.value })} />
      <p class=${wrong ? "error" : "doc"} id="run-name-doc">${wrong ?? (plan.resumes ? t("train.resumes", { name: plan.name }) : t("train.name.doc"))}</p>
    </div>`;
}

/** A key: what it does beside it, and a way back when it has been changed. */
function Key({ one, mine, wrong }) {
  const id = useId();
  const { key, usual, doc, unit, type, choices = [] } = one;
  const value = mine ?? one.value;
  const changed = mine !== undefined && mine !== usual;
  const about = { id, "aria-describedby": `${id}-doc${wrong ? ` ${id}-wrong` : ""}`, "aria-invalid": wrong ? "true" : undefined };
  const set = (event) => askKey(key, event.target.value === usual ? undefined : event.target.value);
  const options = type === "bool" ? ["true", "false"] : choices;
  const numeric = type === "int" ? "numeric" : type === "float" ? "decimal" : undefined;
  return html`
    <div class=${classes("key", { changed, wrong })} data-key=${key}>
      <label for=${id}><code>${key}</code>${unit && html`<span class="facts"> ${unit}</span>`}</label>
      <p class="doc" id=${`${id}-doc`} lang="en">${doc.replaceAll("`", "")}</p>
      <div class="key-value">
        ${options.length > 0
          ? html`<div class="select"><select ...${about} value=${value} onChange=${set}>${[...new Set([value, ...options])].map((name) => html`<option key=${name} value=${name} selected=${name === value}>${name || "–"}</option>`)}</select><${Icon} name="down" /></div>`
          : html`<input ...${about} type="text" inputmode=${numeric} autocomplete="off" spellcheck=${false} value=${value} onInput=${set} />`}
        ${changed && html`<${IconButton} name="undo" label=${t("train.back", { usual: usual || "–" })} onClick=${() => askKey(key)} />`}
      </div>
      ${wrong && html`<p class="error" id=${`${id}-wrong`} role="alert">${wrong}</p>`}
    </div>`;
}

function Others({ keys, rows, wrongs }) {
  const [search, setSearch] = useState("");
  const [open, setOpen] = useState(false);
  const words = search.toLowerCase().split(" ");
  const found = keys.filter((one) => words.every((word) => `${one.key} ${one.doc}`.toLowerCase().includes(word)));
  const sections = [...new Set(found.map((one) => one.section))];
  const said = keys.filter((one) => one.key in form().changes).length;
  const force = keys.some((one) => wrongs[one.key]);
  return html`
    <details class="more" open=${open || force} onToggle=${(event) => setOpen(event.currentTarget.open)}>
      <summary>${t("train.more", { n: keys.length })}${said > 0 && html`<span class="badge">${said}</span>`}<${Icon} name="down" /></summary>
      ${(open || force) && html`
        <label class="search"><${Icon} name="search" /><input type="search" aria-label=${t("train.search")} placeholder=${t("train.search")} value=${search}
          onInput=${(event) => setSearch(event.target.value)} onKeyDown=${(event) => event.key === "Enter" && event.preventDefault()} /></label>
        ${sections.map((name) => html`<div key=${name} class="keys"><h3>${name}</h3>${rows(found.filter((one) => one.section === name))}</div>`)}
        ${!found.length && html`<p class="facts">${t("empty.search")}</p>`}`}
    </details>`;
}
