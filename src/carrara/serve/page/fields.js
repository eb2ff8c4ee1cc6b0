// A field for an option: what it is called, what it does, and what is wrong with it.
import { html, useId, useState } from "./lib.js";
import { useStudio } from "./state.js";
import { Icon } from "./icons.js";
import { Weighed } from "./weighed.js";
import { docOf, labelOf, t } from "./words.js";

/** A field with its hint and its mistake; ``control`` draws the input from its attributes. */
export function Field({ name, label, doc, children: control, wide = false, plain = false }) {
  const id = useId();
  const { errors } = useStudio();
  const [open, setOpen] = useState(false);
  const error = errors[name];
  const described = [doc && `${id}-doc`, error && `${id}-error`].filter(Boolean).join(" ") || undefined;
  return html`
    <div class=${`field ${wide ? "wide" : ""} ${error ? "wrong" : ""}`} data-field=${name}>
      <div class="field-head">
        <label for=${plain ? undefined : id} id=${`${id}-label`}>${label}</label>
        ${doc && html`<button type="button" class="hint" aria-expanded=${open} aria-controls=${`${id}-doc`} title=${doc}
            aria-label=${t("hint", { label })} onClick=${() => setOpen(!open)}><${Icon} name="info" /></button>`}
      </div>
      ${control({ id, "aria-describedby": described, "aria-invalid": error ? "true" : undefined, "aria-labelledby": `${id}-label` })}
      ${doc && html`<p class="doc" id=${`${id}-doc`} hidden=${!open}>${doc}</p>`}
      ${error && html`<p class="error" id=${`${id}-error`} role="alert">${error}</p>`}
    </div>`;
}

/** The field of an option, by its type. An empty one leaves it to the model. */
export function OptionField({ option, verb, value, change, step = 1, dimensions = 2 }) {
  const Input = option.type === "size" && dimensions === 2 ? Size : (INPUTS[option.type] ?? Text);
  const wide = Input === Text || Input === Weighed;
  return html`
    <${Field} name=${option.name} label=${labelOf(option.name)} doc=${docOf(option, verb)} wide=${wide} plain=${!SINGLE.has(Input)}>
      ${(about) => html`<${Input} about=${about} option=${option} value=${value} change=${change} step=${step} />`}
    <//>`;
}

const shown = (option) => (option.default === null || option.default === undefined ? t("auto") : String(option.default));

function Number_({ about, option, value, change }) {
  const whole = option.type === "int";
  const bounded = option.least !== undefined && option.least !== null && option.most !== undefined && option.most !== null;
  const step = whole ? 1 : option.most <= 2 ? 0.01 : 0.1;
  const read = (event) => {
    const typed = event.target.value;
    change(typed === "" || Number.isNaN(Number(typed)) ? undefined : whole ? Math.round(Number(typed)) : Number(typed));
  };
  const slider = bounded && option.most <= 1000;
  return html`
    <div class="number">
      ${slider && html`<input type="range" tabindex="-1" aria-hidden="true" min=${option.least} max=${option.most} step=${step}
          value=${value ?? option.default ?? option.least} onInput=${read} />`}
      <input ...${about} type="number" inputmode=${whole ? "numeric" : "decimal"} min=${option.least} max=${option.most}
        step=${whole ? 1 : "any"} placeholder=${shown(option)} value=${value ?? ""} onInput=${read} />
    </div>`;
}

const Text = ({ about, option, value, change }) => html`
  <input ...${about} type="text" autocomplete="off" placeholder=${option.default ?? ""} value=${value ?? ""}
    onInput=${(event) => change(event.target.value || undefined)} />`;

const Choice = ({ about, option, value, change }) => html`
  <div class="select">
    <select ...${about} value=${value ?? option.default ?? ""} onChange=${(event) => change(event.target.value || undefined)}>
      ${(option.default === null || option.default === undefined) && html`<option value="">${t("as.model")}</option>`}
      ${(option.choices ?? []).map((choice) => html`<option key=${choice} value=${choice} selected=${choice === (value ?? option.default)}>${choice}</option>`)}
    </select>
    <${Icon} name="down" />
  </div>`;

const THREE = { "": undefined, true: true, false: false };

function Bool({ about, option, value, change }) {
  if (option.default !== null && option.default !== undefined) {
    return html`<input ...${about} class="switch" type="checkbox" role="switch" checked=${value ?? option.default}
      onChange=${(event) => change(event.target.checked)} />`;
  }
  return html`
    <div class="select">
      <select ...${about} value=${value === undefined ? "" : String(value)} onChange=${(event) => change(THREE[event.target.value])}>
        <option value="">${t("as.model")}</option>
        <option value="true">${t("yes")}</option>
        <option value="false">${t("no")}</option>
      </select>
      <${Icon} name="down" />
    </div>`;
}

/** Two numbers: both or none are said. */
function Two({ about, labels, values, marks, between = "×", change, ...others }) {
  const [typed, setTyped] = useState(null);
  const now = typed ?? values;
  const read = (place) => (event) => {
    const next = now.map((one, k) => (k === place ? event.target.value : one));
    const all = next.every((one) => one !== "" && one !== undefined);
    setTyped(all || next.every((one) => !one) ? null : next);
    change(all ? next.map(Number) : undefined);
  };
  return html`
    <div class="two" role="group" aria-labelledby=${about["aria-labelledby"]} aria-describedby=${about["aria-describedby"]}>
      ${labels.map((label, k) => html`
        <input key=${label} type="number" aria-label=${label} placeholder=${marks[k]} value=${now[k] ?? ""} onInput=${read(k)} aria-invalid=${about["aria-invalid"]} ...${others} />
        ${k === 0 && html`<span aria-hidden="true">${between}</span>`}`)}
    </div>`;
}

/** Height x width, as the command has it; shown as width × height, as pictures have it. */
function Size({ about, option, value, change, step }) {
  const read = (size) => {
    if (!size) return ["", ""];
    const edges = Array.isArray(size) ? size : String(size).split("x");
    return edges.length === 1 ? [edges[0], edges[0]] : [edges[1], edges[0]];
  };
  const own = read(option.default);
  return html`<${Two} about=${about} labels=${[t("width"), t("height")]} values=${read(value)} min=${step} step=${step} inputmode="numeric"
    marks=${own[0] ? own : [t("auto"), t("auto")]} change=${(both) => change(both && `${both[1]}x${both[0]}`)} />`;
}

const Pair = ({ about, option, value, change }) => html`
  <${Two} about=${about} labels=${[t("from"), t("until")]} values=${value ?? ["", ""]} marks=${option.default ?? ["–", "–"]} between="–" step="any"
    inputmode="decimal" change=${change} />`;

const INPUTS = { int: Number_, float: Number_, text: Text, choice: Choice, bool: Bool, pair: Pair, weighed: Weighed };
const SINGLE = new Set([Number_, Text, Choice, Bool]);

/** All fields of some options: the main ones, and the others behind "more". */
export function OptionFields({ options, verb, values, change, step, dimensions }) {
  const { errors } = useStudio();
  const others = options.filter((option) => !option.main);
  const draw = (option) => html`<${OptionField} key=${option.name} option=${option} verb=${verb} value=${values[option.name]}
    change=${(value) => change(option.name, value)} step=${step} dimensions=${dimensions} />`;
  const said = others.filter((option) => values[option.name] !== undefined).length;
  return html`
    <div class="fields">${options.filter((option) => option.main).map(draw)}</div>
    ${others.length > 0 && html`
      <details class="more" open=${others.some((option) => errors[option.name]) || undefined}>
        <summary>${t("more")}${said > 0 && html`<span class="badge">${said}</span>`}<${Icon} name="down" /></summary>
        <div class="fields">${others.map(draw)}</div>
      </details>`}`;
}
