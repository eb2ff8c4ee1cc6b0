// Others that are added to a model, each with its weight: said as ["cats:0.8"].
import { html, useId, useState } from "./lib.js";
import { chosen, titleOf } from "./models.js";
import { t } from "./words.js";

const read = (said) => {
  const [id, times = 1] = said.split(":");
  return { id, times: Number(times) };
};

export function Weighed({ about, option, value = [], change }) {
  const added = value.map(read);
  const set = (all) => change(all.length ? all.map(({ id, times }) => `${id}:${times}`) : undefined);
  const without = (id) => added.filter((one) => one.id !== id);
  const has = (id) => without(id).length < added.length;
  const shown = new Set([...option.choices, ...added.map((one) => one.id)]);
  return html`
    <div class="weighed" role="group" aria-labelledby=${about["aria-labelledby"]} aria-describedby=${about["aria-describedby"]}>
      <div class="chips">
        ${[...shown].map((id) => html`<button key=${id} type="button" class="chip" aria-pressed=${has(id)}
          onClick=${() => set(has(id) ? without(id) : [...added, { id, times: 1 }])}>${titleOf(id)}</button>`)}
      </div>
      ${added.map(({ id, times }, place) => html`<${Weight} key=${place + id} id=${id} times=${times} wrong=${about["aria-invalid"]}
        change=${(now) => set(added.map((one, k) => (k === place ? { id, times: now } : one)))} />`)}
    </div>`;
}

/** How much of one: by a slider, or typed. */
function Weight({ id, times, wrong, change }) {
  const [typed, setTyped] = useState(null);
  const name = titleOf(id);
  const about = useId();
  const start = chosen().strangers[id];
  const take = ({ target: { value } }) => {
    setTyped(value);
    if (value !== "" && Number.isFinite(Number(value))) change(Number(value));
  };
  return html`
    <div class="weight">
      <span title=${name}>${name}</span>
      <input type="range" tabindex="-1" aria-hidden="true" min="0" max="2" step="0.05" value=${times} onInput=${(event) => change(Number(event.target.value))} />
      <input type="number" inputmode="decimal" step="0.05" aria-label=${t("weight.of", { name })} aria-describedby=${start && about} aria-invalid=${wrong} value=${typed ?? times} onInput=${take} onBlur=${() => setTyped(null)} />
    </div>
    ${start && html`<p class="facts" id=${about}>${t("weight.stranger", { start })}</p>`}`;
}
