// Generate: what is asked on one side, what came of it on the other.
import { html, randomSeed } from "./lib.js";
import { askOf, nextSeed, varied } from "./asking.js";
import { Field, OptionFields } from "./fields.js";
import { Icon, IconButton } from "./icons.js";
import { active, start, stopAll } from "./jobs.js";
import { chosen, optionOf, strideOf } from "./models.js";
import { FileButton, Mistake, ModelPicker } from "./parts.js";
import { recallFile } from "./pictures.js";
import { Negative, Prompt } from "./prompt.js";
import { Stage } from "./stage.js";
import { changeAsk, changeSettings, forget, settingsOf, useStudio } from "./state.js";
import { docOf, labelOf, t } from "./words.js";

const APART = new Set(["prompts", "negative", "seed"]); // these have forms of their own

export async function generate() {
  const model = chosen();
  if (!model) return;
  nextSeed(model);
  const settings = settingsOf(model.id);
  const vary = varied(settings.grid);
  await start({ model: model.id, ask: askOf(model), ...(vary.length ? { vary } : {}) });
}

/** Enter starts in every field but a text of several lines, where Ctrl or Command is held. */
export function startsBy(go) {
  return (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    const area = event.target.tagName === "TEXTAREA";
    const held = event.ctrlKey || event.metaKey;
    const field = event.target.tagName === "INPUT" && event.target.type !== "search";
    if (held || (area && !event.shiftKey) || (!area && field)) {
      event.preventDefault();
      go();
    }
  };
}

export function Generate() {
  const { jobs } = useStudio();
  const model = chosen();
  if (!model) return html`<div class="generate" aria-busy="true"></div>`;
  return html`
    <div class="workbench">
      <form class="panel" aria-label=${t("settings")} onSubmit=${(event) => event.preventDefault()} onKeyDown=${startsBy(generate)}>
        <div class="panel-scroll">
          <${ModelPicker} />
          <${Settings} model=${model} />
          <${Grid} model=${model} />
          <${FileButton} class="quiet" label=${t("recall.file")} accept="image/png,audio/*,.wav,.mid,.midi" take=${([file]) => file && recallFile(file)} />
          <${Mistake} shown=${["prompts", ...model.options.map((option) => option.name)]} />
        </div>
        <${Start} go=${generate} label=${t("generate")} />
      </form>
      <${Stage} jobs=${jobs.filter((job) => !job.request?.verb)} empty=${t("empty.generate")} />
    </div>`;
}

/** Everything that is asked of a model, but for ``leave``. */
export function Settings({ model, leave = [], usual = {} }) {
  const settings = settingsOf(model.id);
  const change = (name, value) => changeAsk(model.id, name, value);
  const asked = model.options.filter((option) => !APART.has(option.name) && !leave.includes(option.name));
  const options = asked.map((option) => (option.name in usual ? { ...option, default: usual[option.name] } : option));
  const negative = optionOf(model, "negative");
  const seed = optionOf(model, "seed");
  return html`
    <${Prompt} model=${model} />
    ${negative && model.prompt === "words" && html`<${Negative} model=${model} option=${negative} value=${settings.ask.negative} change=${(value) => change("negative", value)} />`}
    ${seed && !leave.includes("seed") && html`<${Seed} model=${model} option=${seed} />`}
    <${OptionFields} options=${options} values=${settings.ask} change=${change} step=${strideOf(model)} dimensions=${model.size.length} />`;
}

function Seed({ model, option }) {
  const { ask, lock } = settingsOf(model.id);
  const set = (seed, locked) => {
    changeAsk(model.id, "seed", seed);
    changeSettings(model.id, { lock: locked });
  };
  const read = (event) => set(event.target.value === "" ? undefined : Math.max(0, Math.round(Number(event.target.value))), true);
  return html`
    <${Field} name="seed" label=${labelOf("seed")} doc=${docOf(option)} wide>
      ${(about) => html`
        <div class="seed">
          <input ...${about} type="number" inputmode="numeric" min="0" step="1" placeholder=${t("seed.random")} value=${ask.seed ?? ""} onInput=${read} />
          <${IconButton} name="dice" label=${t("seed.new")} onClick=${() => set(randomSeed(), true)} />
          <${IconButton} name=${lock ? "lock" : "unlock"} label=${t(lock ? "seed.locked" : "seed.unlocked")} aria-pressed=${lock}
            onClick=${() => changeSettings(model.id, { lock: !lock })} />
        </div>`}
    <//>`;
}

/** Two parameters that vary: a table of pictures. */
function Grid({ model }) {
  const { grid } = settingsOf(model.id);
  const names = model.options.map((option) => option.name).filter((name) => !["count", "prompts", "lora"].includes(name));
  const axes = [0, 1].map((k) => grid[k] ?? { name: "", values: "" });
  const change = (place, values) => {
    forget("vary");
    changeSettings(model.id, { grid: axes.map((axis, k) => (k === place ? { ...axis, ...values } : axis)) });
  };
  const used = varied(grid).length;
  return html`
    <details class="more" data-field="vary">
      <summary>${t("grid")}${used > 0 && html`<span class="badge">${used}</span>`}<${Icon} name="down" /></summary>
      <p class="facts">${t("grid.doc")}</p>
      ${axes.map((axis, k) => html`
        <div class="axis" key=${k} role="group" aria-label=${t(k ? "grid.down" : "grid.across")}>
          <div class="select">
            <select aria-label=${t(k ? "grid.down" : "grid.across")} value=${axis.name} onChange=${(event) => change(k, { name: event.target.value })}>
              <option value="">${t(k ? "grid.down" : "grid.across")}</option>
              ${names.map((name) => html`<option key=${name} value=${name} selected=${name === axis.name}>${labelOf(name)}</option>`)}
            </select>
            <${Icon} name="down" />
          </div>
          <input type="text" aria-label=${t("grid.values")} placeholder="1, 3, 5" value=${axis.values} disabled=${!axis.name}
            onInput=${(event) => change(k, { values: event.target.value.replaceAll(" ", "") })} />
        </div>`)}
    </details>`;
}

/** The button that starts, and beside it what stops. */
export function Start({ go, label, disabled = false }) {
  const running = useStudio().jobs.filter(active);
  return html`
    <div class="start">
      <button type="button" class="primary" onClick=${go} disabled=${disabled}>
        <${Icon} name="spark" />${label}<kbd aria-hidden="true">↵</kbd>
      </button>
      ${running.length > 0 && html`<button type="button" class="stop" onClick=${stopAll}><${Icon} name="stop" />${running.length > 1 ? t("stop.all", { n: running.length }) : t("stop")}</button>`}
    </div>`;
}

export const focusPrompt = () => document.querySelector(".prompt, .chip")?.focus();
