// What to draw: words, or labels with their shares.
import { html, useId, useState } from "./lib.js";
import { mixed } from "./asking.js";
import { Field } from "./fields.js";
import { changeSettings, forget, settingsOf, useStudio } from "./state.js";
import { docOf, labelOf, t } from "./words.js";

const MANY = 24;

export function Prompt({ model }) {
  if (model.prompt === "words" || (model.prompt === "labels" && !model.classes.length)) return html`<${Words} model=${model} />`;
  return model.prompt === "labels" ? html`<${Chips} model=${model} />` : null;
}

function Words({ model }) {
  const settings = settingsOf(model.id);
  const write = (event) => {
    forget("prompts");
    changeSettings(model.id, { prompt: event.target.value });
  };
  const lines = Math.min(6, Math.max(2, settings.prompt.split("\n").length));
  return html`
    <${Field} name="prompts" label=${t("prompt")} doc=${t("prompt.doc")} wide>
      ${(about) => html`<textarea ...${about} class="prompt" rows=${lines} placeholder=${t("prompt.placeholder")} enterkeyhint="go"
        value=${settings.prompt} onInput=${write}></textarea>`}
    <//>`;
}

function Chips({ model }) {
  const settings = settingsOf(model.id);
  const { errors } = useStudio();
  const [search, setSearch] = useState("");
  const id = useId();
  const { chips, each } = settings;
  const change = (values) => {
    forget("prompts");
    changeSettings(model.id, { prompt: "", ...values });
  };
  const toggle = (label) => {
    const without = chips.filter((chip) => chip.label !== label);
    change({ chips: without.length < chips.length ? without : [...chips, { label, share: 0.5 }] });
  };
  const share = (label, value) => change({ chips: chips.map((chip) => (chip.label === label ? { ...chip, share: value } : chip)) });
  const has = (label) => chips.some((chip) => chip.label === label);
  const shown = model.classes.filter((label) => label.toLowerCase().includes(search.toLowerCase()));
  const listed = search ? shown.slice(0, 120) : [...new Set([...chips.map((chip) => chip.label).filter((label) => model.classes.length > MANY && model.classes.includes(label)), ...shown])].slice(0, 120);
  return html`
    <div class=${`field wide ${errors.prompts ? "wrong" : ""}`} data-field="prompts" role="group" aria-labelledby=${id}>
      <div class="field-head">
        <span class="label" id=${id}>${t("classes")}</span>
        ${chips.length > 0 && html`<button type="button" class="link" onClick=${() => change({ chips: [] })}>${t("clear")}</button>`}
      </div>
      ${model.classes.length > MANY && html`<input type="search" class="chip-search" aria-label=${t("classes.search")} placeholder=${t("classes.search")}
        value=${search} onInput=${(event) => setSearch(event.target.value)} />`}
      <div class="chips">
        ${listed.map((label) => html`<button key=${label} type="button" class="chip" aria-pressed=${has(label)} onClick=${() => toggle(label)}>${label}</button>`)}
      </div>
      ${chips.length > 1 && html`
        <div class="segments" role="radiogroup" aria-label=${t("classes.how")}>
          ${[false, true].map((one) => html`<label key=${one}><input type="radio" name=${`${id}-each`} checked=${each === one} onChange=${() => change({ each: one })} />
            <span>${t(one ? "classes.each" : "classes.mix")}</span></label>`)}
        </div>`}
      ${chips.length > 1 && !each && html`
        <div class="mixer">
          ${chips.map((chip) => html`
            <label key=${chip.label}>
              <span>${chip.label}</span>
              <input type="range" min="0" max="1" step="0.05" value=${chip.share} onInput=${(event) => share(chip.label, Number(event.target.value))} />
            </label>`)}
          <code>${mixed(chips)}</code>
        </div>`}
      ${!chips.length && settings.prompt && html`<code>${settings.prompt}</code>`}
      ${!chips.length && !settings.prompt && html`<p class="facts">${t("classes.none")}</p>`}
      ${errors.prompts && html`<p class="error" role="alert">${errors.prompts}</p>`}
    </div>`;
}

/** What to lead away from: words, or a label. */
export function Negative({ model, option, value, change }) {
  if (model.prompt !== "labels" || !model.classes.length) {
    return html`
      <${Field} name="negative" label=${labelOf("negative")} doc=${docOf(option)} wide>
        ${(about) => html`<input ...${about} type="text" autocomplete="off" value=${value ?? ""} onInput=${(event) => change(event.target.value || undefined)} />`}
      <//>`;
  }
  return html`
    <${Field} name="negative" label=${labelOf("negative")} doc=${docOf(option)}>
      ${(about) => html`<input ...${about} type="text" list="labels" autocomplete="off" value=${value ?? ""} onInput=${(event) => change(event.target.value || undefined)} />
        <datalist id="labels">${model.classes.slice(0, 500).map((label) => html`<option key=${label} value=${label}></option>`)}</datalist>`}
    <//>`;
}
