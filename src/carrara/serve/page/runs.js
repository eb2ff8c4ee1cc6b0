// Trainings: how each goes, one looked at closely, or several side by side.
import { html, classes, useEffect, useRef, useState } from "./lib.js";
import { Plot } from "./curve.js";
import { Icon, IconButton } from "./icons.js";
import { choose, readModels } from "./models.js";
import { Bar } from "./stage.js";
import { Wrong } from "./steps.js";
import { busy, change, form, known, open, output, tell, useRecords } from "./training.js";
import { duration, number, t } from "./words.js";

export function Runs() {
  const { list, gone } = known();
  const { open: opened, ticked } = form();
  const one = list?.find(({ id }) => id === opened);
  const several = list?.filter(({ id }) => ticked.includes(id)) ?? [];
  return html`
    <section class="stage runs" aria-label=${t("train.runs")}>
      ${gone && html`<p class="facts gone" role="status">${t("error.offline")}</p>`}
      <${Wrong} part="list" />
      ${!list && !gone && html`<p class="facts">${t("reads")}</p>`}
      ${list?.length === 0 && html`<div class="empty"><${Icon} name="train" /><p>${t("train.empty")}</p><p class="facts">${t("train.empty.doc")}</p></div>`}
      ${list?.length > 0 && html`<ul class="run-list">${list.map((run) => html`<${Row} key=${run.id} run=${run} opened=${run.id === opened} ticked=${ticked.includes(run.id)} />`)}</ul>`}
      ${several.length > 1 ? html`<${Several} runs=${several} />` : one && html`<${One} key=${one.id} run=${one} />`}
    </section>`;
}

const left = (run) => (busy(run) && run.remaining !== null ? t("eta", { time: duration(run.remaining) }) : "");
const stepOf = (run) => (run.steps ? t("step", { step: number(run.step), total: number(run.steps) }) : t("train.at", { step: number(run.step) }));

function Row({ run, opened, ticked }) {
  const { ticked: all } = form();
  const tick = () => change({ ticked: ticked ? all.filter((id) => id !== run.id) : [...all, run.id] });
  return html`
    <li class=${classes("run", { opened })} data-run=${run.id} data-state=${run.state}>
      <input type="checkbox" class="tick" checked=${ticked} aria-label=${t("train.tick", { title: run.title })} title=${t("train.tick", { title: run.title })} onChange=${tick} />
      <button type="button" class="run-open" aria-expanded=${opened} onClick=${() => open(run.id)}>
        <b>${run.title}</b>
        <${State} run=${run} />
        <span class="facts">${[run.preset, run.data].filter(Boolean).join(" · ")}</span>
        <span class="facts">${left(run) || (run.steps ? `${Math.round(100 * run.progress)} %` : "")}</span>
        <${Bar} share=${run.progress} label=${t("train.progress", { title: run.title })} />
      </button>
    </li>`;
}

const State = ({ run }) => html`<span class=${`state ${busy(run) ? "busy" : run.state}`}>${t(`train.state.${run.state}`)}</span>`;

async function draw(id) {
  await readModels();
  await choose(id);
  location.hash = "#/generate";
}

function One({ run }) {
  const record = useRecords([run])[run.id] ?? {};
  const act = (name, icon, label, kind = "") => html`<button type="button" class=${kind} data-act=${name} onClick=${() => tell(run.id, name)}><${Icon} name=${icon} />${label}</button>`;
  const runs = run.state === "running";
  return html`
    <article class="job one" aria-label=${run.title} data-opened=${run.id} data-state=${run.state}>
      <div class="job-head">
        <div class="job-words">
          <h2>${run.title} <${State} run=${run} /></h2>
          <p class="facts">${[run.stages?.length > 1 && run.stage, stepOf(run), left(run)].filter(Boolean).join(" · ")}</p>
        </div>
        <div class="acts">
          ${runs && act("save", "download", t("train.save"))}
          ${busy(run) && run.state !== "stopping" && act("stop", "stop", t("stop"), "stop")}
          ${!busy(run) && run.state !== "finished" && act("resume", "play", t("train.go.on"))}
          ${run.model && html`<button type="button" class="primary" data-act="draw" onClick=${() => draw(run.model)}><${Icon} name="spark" />${t("train.draw")}</button>`}
        </div>
      </div>
      <${Wrong} part=${run.id} />
      ${run.message && html`<p class=${run.state === "failed" ? "error alone" : "facts"} role=${run.state === "failed" ? "alert" : undefined} lang="en">${run.message}</p>`}
      <${Numbers} run=${run} />
      ${run.health?.length > 0 && html`<ul class="health" aria-label=${t("train.health")}>${run.health.map(({ level, text }) => html`<li key=${text} class=${level}><span class="sr">${t(`train.health.${level}`)}</span><span lang="en">${text}</span></li>`)}</ul>`}
      <${Curves} stages=${record.stages ?? []} now=${run.stage} />
      <${Previews} rows=${[{ id: run.id, previews: (record.previews ?? []).map((one, k) => ({ ...one, at: k })) }]} />
      <${Output} run=${run} />
    </article>`;
}

const bytes = (n) => (n >= 1e9 ? `${number(n / 1e9, 1)} GB` : `${number(n / 1e6)} MB`);

function Numbers({ run }) {
  const { loss, held_out: heldOut, rate, seconds, load } = run;
  const rows = [
    ["loss", loss !== null && loss !== undefined && number(loss, 4)],
    ["held", heldOut],
    ["rate", busy(run) && rate > 0 && t("train.per.second", { n: number(rate, rate < 10 ? 2 : 0) })],
    ["seconds", seconds > 0 && duration(seconds)],
    ["device", load && [load.device, `${number(100 * (load.gpu ?? load.cpu))} %`, bytes(load.gpu_memory ?? load.memory)].filter(Boolean).join(" · ")],
  ].filter(([, value]) => value);
  return rows.length > 0 && html`<dl class="numbers">${rows.map(([name, value]) => html`<div key=${name}><dt>${t(`train.${name}`)}</dt><dd>${value}</dd></div>`)}</dl>`;
}

const some = (stage) => stage.loss.step.length > 0;

/** The loss with its spread, and below it what was held out, by noise level. */
function Curves({ stages, now }) {
  const there = stages.filter(some);
  const [title, setTitle] = useState(null);
  const { log } = form();
  const stage = there.find((one) => one.title === (title ?? now)) ?? there.at(-1);
  if (!stage) return null;
  const { loss, held_out: held, best, rate } = stage;
  const levels = Object.entries(held?.series ?? {}).filter(([, values]) => values.some((one) => one !== null));
  return html`
    <div class="curves">
      <div class="curve-head">
        <h3>${t("train.loss")}</h3>
        ${there.length > 1 && html`<div class="segments" role="radiogroup" aria-label=${t("train.stage")}>${there.map((one) => html`<label key=${one.title}><input type="radio" name="stage" checked=${one === stage} onChange=${() => setTitle(one.title)} /><span>${one.title}</span></label>`)}</div>`}
        <${Log} />
      </div>
      <${Plot} label=${t("train.loss")} log=${log} lines=${[{ label: t("train.middle"), hue: "hue-0", x: loss.step, y: loss.middle, low: loss.low, high: loss.high }]} />
      ${levels.length > 0 && html`
        <h3>${t("train.held")}</h3>
        <${Plot} label=${t("train.held")} log=${log} mark=${best} lines=${levels.map(([name, values], k) => ({ label: name, hue: `level-${Math.round((7 * k) / Math.max(1, levels.length - 1))}`, x: held.step, y: values }))} />
        ${best !== null && best !== undefined && html`<p class="facts">${t("train.best", { step: number(best) })}</p>`}`}
      ${rate?.step.length > 1 && html`
        <details class="more"><summary>${t("train.learning")}<${Icon} name="down" /></summary>
          <${Plot} label=${t("train.learning")} lines=${[{ label: t("train.learning"), hue: "hue-1", x: rate.step, y: rate.value }]} /></details>`}
    </div>`;
}

const Log = () => html`<label class="log"><input class="switch" type="checkbox" role="switch" checked=${form().log} onChange=${(event) => change({ log: event.target.checked })} />${t("train.log")}</label>`;

/** Curves in one plot, previews on one slider. */
function Several({ runs }) {
  const records = useRecords(runs);
  const { log } = form();
  const lines = runs.flatMap((run, k) => {
    const stage = (records[run.id]?.stages ?? []).filter(some).at(-1);
    return stage ? [{ label: run.title, hue: `hue-${k % 6}`, x: stage.loss.step, y: stage.loss.middle, low: stage.loss.low, high: stage.loss.high }] : [];
  });
  const rows = runs.map((run) => {
    const previews = records[run.id]?.previews ?? [];
    const stage = previews.at(-1)?.stage;
    return { id: run.id, title: run.title, previews: previews.filter((one) => one.stage === stage).map((one) => ({ ...one, at: one.step })) };
  });
  return html`
    <article class="job several" aria-label=${t("train.several", { n: runs.length })}>
      <div class="job-head"><h2>${t("train.several", { n: runs.length })}</h2><button type="button" class="quiet" onClick=${() => change({ ticked: [] })}>${t("train.untick")}</button></div>
      <div class="curve-head"><h3>${t("train.loss")}</h3><${Log} /></div>
      ${lines.length > 0 && html`<${Plot} label=${t("train.loss")} log=${log} lines=${lines} />`}
      <${Previews} rows=${rows} />
    </article>`;
}

/** What was drawn on the way, on a slider; the newest, until it is moved. */
function Previews({ rows }) {
  const [place, setPlace] = useState(null);
  const [plays, setPlays] = useState(false);
  const all = [...new Set(rows.flatMap((row) => row.previews.map((one) => one.at)))].sort((a, b) => a - b);
  const last = all.length - 1;
  const now = Math.min(place ?? last, last);
  const ahead = useRef();
  useEffect(() => {
    if (!plays) return undefined;
    const timer = setTimeout(() => (now < last ? setPlace(now + 1) : setPlays(false)), 350);
    const next = rows.map((row) => row.previews.find((one) => one.at === all[now + 1])).filter(Boolean);
    ahead.current = next.map(({ url }) => Object.assign(new Image(), { src: url }));
    return () => clearTimeout(timer);
  }, [plays, now, last]);
  if (last < 0) return null;
  const shown = rows.map((row) => ({ ...row, one: row.previews.findLast((one) => one.at <= all[now]) }));
  const said = shown.map(({ one }) => one).filter(Boolean).map(({ step }) => step);
  const label = t("train.at", { step: number(Math.max(...said)) });
  const move = (event) => {
    setPlays(false);
    setPlace(Number(event.target.value) === last ? null : Number(event.target.value));
  };
  const play = () => {
    if (!plays && now === last) setPlace(0);
    setPlays(!plays);
  };
  return html`
    <div class="previews">
      <h3>${t("train.previews")}</h3>
      <div class="drawn">${shown.map(({ id, title, one }) => html`
        <figure key=${id}>${one ? html`<img src=${one.url} alt=${t("train.preview", { title: title ?? "", step: number(one.step) })} />` : html`<div class="none"></div>`}
          ${title && html`<figcaption>${title}${one && html` <span class="facts">${t("train.at", { step: number(one.step) })}</span>`}</figcaption>`}</figure>`)}</div>
      <div class="scrubber">
        <${IconButton} name=${plays ? "pause" : "play"} label=${t(plays ? "pause" : "play")} onClick=${play} disabled=${last < 1} />
        <input type="range" min="0" max=${last} value=${now} aria-label=${t("train.previews")} aria-valuetext=${label} onInput=${move} disabled=${last < 1} />
        <output>${label}</output>
      </div>
    </div>`;
}

function Output({ run }) {
  const [lines, setLines] = useState(null);
  const [shown, setShown] = useState(false);
  useEffect(() => {
    if (!shown) return;
    output(run.id).then((answer) => setLines(answer.lines)).catch(() => {});
  }, [shown, run.state, Math.floor(run.seconds / 3)]);
  return html`
    <details class="more" onToggle=${(event) => setShown(event.currentTarget.open)}>
      <summary>${t("train.output")}<${Icon} name="down" /></summary>
      ${shown && html`<pre class="output" tabindex="0" aria-label=${t("train.output")} lang="en">${lines?.join("\n") ?? t("reads")}</pre>`}
    </details>`;
}
