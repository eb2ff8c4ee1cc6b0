// Evaluate: a run is measured, its report is looked at, and runs are put side by side.
import { call, get } from "./api.js";
import { html, useEffect, useState } from "./lib.js";
import { Icon } from "./icons.js";
import { titleOf } from "./models.js";
import { ModelPicker } from "./parts.js";
import { notice, say, update, useStudio } from "./state.js";
import { duration, number, t } from "./words.js";

const ROOT = "/api/evaluations";
const VIEWS = ["results", "report", "compare"];
const active = (one) => one.state === "queued" || one.state === "running";
const at = (id) => encodeURIComponent(id);
const wordOr = (key, other) => (t(key) === key ? other : t(key));
const titled = (name) => wordOr(`evaluate.metric.${name}`, name);

/** All measurements, asked again while one is going on; ``ended`` is told when one is over. */
function useMeasurements(ended) {
  const [all, setAll] = useState([]);
  const read = async () => {
    try {
      const { evaluations } = await get(ROOT);
      setAll((before) => {
        const over = evaluations.filter((one) => !active(one) && before.some((old) => old.id === one.id && active(old)));
        if (over.length) setTimeout(() => ended(over));
        return evaluations;
      });
    } catch {
      // The page says elsewhere that the studio does not answer.
    }
  };
  useEffect(() => void read(), []);
  const busy = all.some(active);
  useEffect(() => {
    if (!busy) return undefined;
    const timer = setInterval(read, 1000);
    return () => clearInterval(timer);
  }, [busy, ended]);
  return [all, read];
}

export function Evaluate() {
  const { model, models } = useStudio();
  const [about, setAbout] = useState(null);
  const [picked, setPicked] = useState({}); // by model: metrics
  const [samples, setSamples] = useState(1000);
  const [view, setView] = useState("results");
  const [wrong, setWrong] = useState(null);
  const describe = async () => {
    try {
      const found = await get(`${ROOT}/models/${at(model)}`);
      setAbout(found);
    } catch (error) {
      setWrong(error.message);
    }
  };
  const [all, read] = useMeasurements((over) => {
    describe();
    for (const one of over) say(one.message ?? t(`evaluate.said.${one.state}`));
  });
  useEffect(() => {
    setWrong(null);
    if (model) describe();
  }, [model]);
  const own = about?.model === model ? about : null;
  const metrics = own?.metrics ?? [];
  const chosen = picked[model] ?? metrics.filter((one) => one.usual).map((one) => one.name);
  const begin = async (body) => {
    try {
      setWrong(null);
      await call("POST", ROOT, body);
      say(t("said.started"));
      await read();
      if (innerWidth <= 760) document.querySelector(".evaluate .stage").scrollIntoView();
    } catch (error) {
      setWrong(error.message);
      update({ said: error.message });
    }
  };
  const measure = () => begin({ models: [model], metrics: metrics.map((one) => one.name).filter((name) => chosen.includes(name)), samples });
  const pick = (name, on) => setPicked({ ...picked, [model]: on ? [...chosen, name] : chosen.filter((one) => one !== name) });
  const draws = metrics.some((one) => one.samples && chosen.includes(one.name));
  return html`
    <div class="workbench evaluate">
      <form class="panel" aria-label=${t("evaluate.what")} onSubmit=${(event) => (event.preventDefault(), measure())}>
        <div class="panel-scroll">
          <${ModelPicker} />
          ${own?.trouble && html`<p class="facts" role="status">${own.trouble}</p>`}
          ${metrics.length > 0 && html`<fieldset class="metrics"><legend class="label">${t("evaluate.what")}</legend>
            ${metrics.map((one) => html`<${Metric} key=${one.name} one=${one} on=${chosen.includes(one.name)} pick=${pick} steps=${own.steps} samples=${samples} />`)}
          </fieldset>`}
          ${draws && html`<div class="field"><label for="samples">${t("evaluate.samples")}</label>
            <input id="samples" type="number" inputmode="numeric" min="20" max="50000" step="1" value=${samples} onInput=${(event) => setSamples(Math.round(Number(event.target.value)) || 20)} />
            <p class="doc">${t("evaluate.samples.doc")}</p></div>`}
          ${wrong && html`<p class="error alone" role="alert">${wrong}</p>`}
        </div>
        <div class="start"><button class="primary" disabled=${!chosen.length || !metrics.length}><${Icon} name="measure" />${t("evaluate.start")}</button></div>
      </form>
      <section class="stage" aria-label=${t("results")}>
        ${all.filter(active).reverse().map((one) => html`<${Going} key=${one.id} one=${one} read=${read} />`)}
        ${all.slice(0, 1).filter((one) => one.state === "failed").map((one) => html`<p key=${one.id} class="error alone" role="alert">${one.message}</p>`)}
        <div class="segments" role="radiogroup" aria-label=${t("show")}>
          ${VIEWS.map((one) => html`<label key=${one}><input type="radio" name="shown" checked=${view === one} onChange=${() => setView(one)} /><span>${t(`evaluate.${one}`)}</span></label>`)}
        </div>
        ${view === "results" && own && html`<${Results} own=${own} />`}
        ${view === "report" && own && html`<${Report} own=${own} busy=${all.some(active)} write=${() => begin({ models: [model], kind: "report" })} />`}
        ${view === "compare" && html`<${Compare} models=${models} all=${all} begin=${begin} />`}
      </section>
    </div>`;
}

function Metric({ one, on, pick, steps, samples }) {
  const cost = one.samples ? "samples" : ["flow", "retrieval"].includes(one.name) ? one.name : "data";
  return html`
    <label class="metric">
      <input type="checkbox" name="metric" value=${one.name} checked=${on} onChange=${(event) => pick(one.name, event.target.checked)} />
      <span><b>${titled(one.name)}</b><span class="doc">${wordOr(`evaluate.about.${one.name}`, one.about)}</span>
      <span class="doc cost">${t(`evaluate.cost.${cost}`, { n: number(samples), steps })}</span></span>
    </label>`;
}

/** A measurement on its way. */
function Going({ one, read }) {
  const [stops, setStops] = useState(false);
  const stop = async () => {
    setStops(true);
    try {
      await call("DELETE", `${ROOT}/${at(one.id)}`);
    } catch (error) {
      notice(error.message, { kind: "error" });
    }
    await read();
  };
  const share = one.total ? Math.min(1, one.done / one.total) : 0;
  const what = one.state === "queued" ? t("evaluate.queued") : one.what ? wordOr(`evaluate.step.${one.what}`, one.what) : t("evaluate.opening");
  const counts = one.total > 1 && one.state === "running" ? ` · ${number(one.done)} / ${number(one.total)}` : "";
  const rest = one.metric && one.metrics.length > 1 ? ` · ${t("evaluate.of", { n: one.measured.length + 1, all: one.metrics.length })}` : "";
  return html`
    <article class="running going" data-evaluation=${one.id}>
      <div class="job-head"><div class="job-words">
        <h2>${one.models.map(titleOf).join(t("evaluate.and"))} · ${one.metric ? titled(one.metric) : t(`evaluate.${one.kind}`)}</h2>
        <p class="facts">${what}${counts}${rest}${one.seconds >= 1 && ` · ${duration(one.seconds)}`}</p>
      </div><button type="button" class="stop" onClick=${stop} disabled=${stops}><${Icon} name="stop" />${t("stop")}</button></div>
      <div class="bar" role="progressbar" aria-label=${what} aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.round(100 * share)} ref=${(bar) => bar?.style.setProperty("--share", share)}><span></span></div>
    </article>`;
}

function Results({ own }) {
  if (!own.measured.length) return html`<div class="empty"><${Icon} name="measure" /><p>${t("evaluate.empty")}</p></div>`;
  return html`<div class="measured">${own.measured.map((one) => html`
    <article key=${one.name} class="running" data-metric=${one.name}>
      <h2>${titled(one.name)}</h2>
      <div class="numbers" tabindex="0" role="group" aria-label=${titled(one.name)}><table><tbody>${one.rows.map(([name, value]) => html`<tr key=${name}><th scope="row">${name.replaceAll("_", " ")}</th><td>${value}</td></tr>`)}</tbody></table></div>
      ${one.picture && html`<figure><a href=${one.picture} target="_blank"><img src=${one.picture} alt=${one.shows} loading="lazy" /></a><figcaption class="facts">${wordOr(`evaluate.shows.${one.name}`, one.shows)}</figcaption></figure>`}
    </article>`)}</div>`;
}

/** A page of a run's: shown in a frame that may do nothing. */
const Sheet = ({ url, label, children }) => html`
  <div class="told"><div class="row">${children}<a class="button" href=${url} target="_blank" rel="noopener"><${Icon} name="fit" />${t("evaluate.open")}</a></div>
  <iframe src=${url} title=${label} sandbox=""></iframe></div>`;

function Report({ own, busy, write }) {
  const { report, trouble } = own;
  const button = !trouble && html`<button type="button" onClick=${write} disabled=${busy}>${t(report ? "evaluate.report.again" : "evaluate.report.write")}</button>`;
  if (report) return html`<${Sheet} key=${report} url=${report} label=${t("evaluate.report")}>${button}<//>`;
  return html`<div class="empty"><${Icon} name="file" /><p>${t("evaluate.report.none")}</p>${button}</div>`;
}

function Compare({ models, all, begin }) {
  const [ticked, setTicked] = useState([]);
  const made = all.find((one) => one.kind === "comparison" && one.url);
  return html`
    <fieldset class="ticks"><legend class="label">${t("evaluate.compare.which")}</legend>
      ${models.map((one) => html`<label key=${one.id}><input type="checkbox" name="run" value=${one.id} checked=${ticked.includes(one.id)}
        onChange=${(event) => setTicked(event.target.checked ? [...ticked, one.id] : ticked.filter((id) => id !== one.id))} /><span>${one.title}</span></label>`)}
    </fieldset>
    <div class="row"><button type="button" class="primary" disabled=${ticked.length < 2} onClick=${() => begin({ models: ticked, kind: "comparison" })}><${Icon} name="compare" />${t("evaluate.compare.go")}</button></div>
    ${made && html`<h2>${made.models.map(titleOf).join(t("evaluate.and"))}</h2><${Sheet} key=${made.url} url=${made.url} label=${t("evaluate.comparison")} />`}`;
}
