// Train: data, recipe, dry run at one side; all trainings at the other.
import { html, classes, useRef, useState } from "./lib.js";
import { chosenFiles, droppedFiles } from "./dropped.js";
import { Icon } from "./icons.js";
import { Recipe } from "./recipe.js";
import { Runs } from "./runs.js";
import { useStudio } from "./state.js";
import { Bar } from "./stage.js";
import { Step, Wrong } from "./steps.js";
import { begin, busy, change, form, known, pick, rehearse, sendFiles, stopSending, useTrainings } from "./training.js";
import { duration, number, t } from "./words.js";

export function Train() {
  useStudio();
  useTrainings();
  const [over, setOver] = useState(false);
  const { side } = form();
  const running = (known().list ?? []).filter(busy).length;
  const drop = async (event) => {
    event.preventDefault();
    setOver(false);
    document.dispatchEvent(new Event("carrara:dropped"));
    sendFiles(await droppedFiles(event.dataTransfer));
  };
  const drag = (event) => [...event.dataTransfer.types].includes("Files") && (event.preventDefault(), setOver(true));
  const leave = (event) => event.currentTarget.contains(event.relatedTarget) || setOver(false);
  return html`
    <div class=${classes(`train takes at-${side}`, { over })} onDragOver=${drag} onDragLeave=${leave} onDrop=${drop}>
      <div class="segments sides" role="radiogroup" aria-label=${t("train.side")}>
        ${["new", "runs"].map((one) => html`<label key=${one}><input type="radio" name="side" checked=${side === one} onChange=${() => change({ side: one })} /><span>${t(`train.side.${one}`, { n: running })}</span></label>`)}
      </div>
      <div class="workbench">
        <form class="panel" aria-label=${t("train.side.new")} onSubmit=${(event) => (event.preventDefault(), start())}>
          <div class="panel-scroll">
            <${Data} />
            <${Recipe} />
            <${Rehearsed} />
          </div>
          <${Begin} />
        </form>
        <${Runs} />
      </div>
    </div>`;
}

const GROUPS = [["builtin", (one) => one.builtin], ["uploaded", (one) => one.uploaded], ["offered", (one) => !one.builtin && !one.uploaded]];

function Data() {
  const { sets, about } = known();
  const { data } = form();
  return html`
    <${Step} n="1" title=${t("train.data")}>
      <div class="select">
        <select id="data" aria-label=${t("train.data.choose")} value=${data ?? ""} onChange=${(event) => pick(event.target.value || null)}>
          <option value="">${t(sets ? "train.data.choose" : "reads")}</option>
          ${GROUPS.map(([name, belongs]) => {
            const some = (sets ?? []).filter(belongs);
            return some.length > 0 && html`<optgroup key=${name} label=${t(`train.data.${name}`)}>${some.map((one) => html`<option key=${one.id} value=${one.id} selected=${one.id === data}>${one.title}</option>`)}</optgroup>`;
          })}
        </select>
        <${Icon} name="down" />
      </div>
      <${Upload} />
      <${Wrong} part="data" />
      ${data && about && html`<${About} about=${about} />`}
    <//>`;
}

function Upload() {
  const { sent } = known();
  const folder = useRef();
  const files = useRef();
  const take = (event) => {
    sendFiles(chosenFiles(event.target.files));
    event.target.value = "";
  };
  if (sent) {
    return html`
      <div class="sending">
        <p class="facts">${t("train.sending", { n: number(sent.n), share: Math.round(100 * sent.share) })}</p>
        <${Bar} share=${sent.share} label=${t("train.upload")} />
        <button type="button" class="stop" onClick=${stopSending}>${t("cancel")}</button>
      </div>`;
  }
  return html`
    <div class="well drops">
      <p>${t("train.drop")}</p>
      <button type="button" onClick=${() => folder.current.click()}><${Icon} name="folder" />${t("train.folder")}</button>
      <button type="button" onClick=${() => files.current.click()}><${Icon} name="file" />${t("train.files")}</button>
      <input ref=${folder} type="file" hidden webkitdirectory aria-label=${t("train.folder")} onChange=${take} />
      <input ref=${files} type="file" hidden multiple aria-label=${t("train.files")} onChange=${take} />
    </div>
    <${Wrong} part="sent" />`;
}

function About({ about }) {
  const { state, done, total, message, facts = [], remarks = [], findings = [], sheet, title } = about;
  if (state === "failed") return html`<p class="error alone" role="alert">${message}</p>`;
  if (state === "looking") {
    return html`<p class="facts" role="status">${t("train.looking", { done: number(done ?? 0), total: number(total ?? 0) })}</p><${Bar} share=${total ? done / total : 0} />`;
  }
  return html`
    ${sheet && html`<img class="contact" src=${sheet} alt=${t("train.sheet", { title })} />`}
    <${Figures} rows=${facts} />
    ${remarks.map((text) => html`<p key=${text} class="facts" lang="en">${text}</p>`)}
    ${findings.length > 0
      ? html`<ul class="findings">${findings.map((one) => html`<li key=${one.finding}><${Finding} one=${one} /></li>`)}</ul>`
      : html`<p class="fine">${t("train.clean")}</p>`}`;
}

const Finding = ({ one: { finding, count, says, examples = [] } }) => html`
  <details class="more finding">
    <summary><span class="badge">${number(count)}</span><span class="found" lang="en">${finding} <span class="facts">${says}</span></span><${Icon} name="down" /></summary>
    <ul>${examples.map(({ file, detail, other }) => html`<li key=${file}><code>${file}</code>${other && html` · <code>${other}</code>`}${detail && html`<span class="facts" lang="en">${detail}</span>`}</li>`)}</ul>
    ${count > examples.length && html`<p class="facts">${t("train.others", { n: number(count - examples.length) })}</p>`}
  </details>`;

const Figures = ({ rows }) => rows.length > 0 && html`<dl class="figures">${rows.map(([name, value]) => html`<dt key=${name} lang="en">${name}</dt><dd>${value}</dd>`)}</dl>`;

function Rehearsed() {
  const { plan, rehearsed } = known();
  if (!plan) return null;
  return html`
    <${Step} n="3" title=${t("train.dry")}>
      ${!rehearsed && html`<p class="facts">${t("train.dry.doc")}</p>`}
      ${rehearsed?.state === "running" && html`<p class="facts" role="status">${t("train.dry.runs")}</p><div class="bar waits"><span></span></div>`}
      ${rehearsed?.state === "failed" && html`<p class="error alone" role="alert">${rehearsed.message}</p>`}
      ${rehearsed?.state === "done" && rehearsed.stages.map(({ title, rows, seconds, disk }) => html`
        <div key=${title} class="rehearsed" data-rehearsed>
          ${rehearsed.stages.length > 1 && html`<h3>${title}</h3>`}
          <p class="estimate"><b>${duration(seconds)}</b> ${t("train.dry.time")}</p>
          <${Figures} rows=${disk ? [...rows, [t("train.dry.disk"), disk]] : rows} />
        </div>`)}
    <//>`;
}

/** Starts, unless something is wrong: that is shown. */
function start() {
  const { plan } = known();
  const first = document.querySelector(".train [aria-invalid=true]") ?? (plan ? null : document.getElementById("data"));
  if (first) {
    first.closest("details")?.setAttribute("open", "");
    first.focus();
  } else if (plan && !plan.mistakes.length) begin();
}

function Begin() {
  const { plan, rehearsed, starts } = known();
  const waits = rehearsed?.state === "running";
  return html`
    <div class="begin">
      <${Wrong} part="start" />
      <div class="start">
        <button type="button" disabled=${!plan || plan.mistakes.length > 0 || waits} onClick=${rehearse}>${t("train.dry")}</button>
        <button type="submit" class="primary" disabled=${starts || !form().data}><${Icon} name="train" />${t(plan?.resumes ? "train.go.on" : "train.start")}</button>
      </div>
    </div>`;
}
