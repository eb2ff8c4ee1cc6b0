// The stage: jobs as they go, and what came of them.
import { html, classes, useEffect, useMemo, useRef, useState } from "./lib.js";
import { putBack } from "./asking.js";
import { Icon, IconButton } from "./icons.js";
import { active, eta, shareOf, stop } from "./jobs.js";
import { describe, titleOf } from "./models.js";
import { bin, compare, current, editPicture, fileOf, inBin, star } from "./pictures.js";
import { notice, useStudio } from "./state.js";
import { t } from "./words.js";
import { Viewer } from "./viewer.js";

export function Stage({ jobs, empty, shown }) {
  const { offline } = useStudio();
  const now = jobs.filter(active).reverse();
  const past = jobs.filter((job) => !active(job));
  const all = past.flatMap((job) => job.pictures ?? []);
  const [open, setOpen] = useState(null);
  return html`
    <section class="stage" aria-label=${t("results")}>
      ${offline && html`<p class="error alone" role="alert">${t("error.offline")}</p>`}
      ${now.map((job) => html`<${Running} key=${job.id} job=${job} />`)}
      ${past.map((job) => html`<${Finished} key=${job.id} job=${job} open=${setOpen} shown=${shown} />`)}
      ${!jobs.length && html`<div class="empty"><${Icon} name="spark" /><p>${empty}</p><p class="facts">${t("empty.drop")}</p></div>`}
      ${open && html`<${Viewer} pictures=${all} first=${open} close=${() => setOpen(null)} />`}
    </section>`;
}

const wordsOf = (job) => {
  const prompts = job.request?.ask?.prompts ?? [];
  return (prompts.length ? prompts.join(" · ") : titleOf(job.model)) || "";
};

function Running({ job }) {
  const { previews } = useStudio();
  const share = shareOf(job);
  const waits = job.state === "queued";
  const line = waits ? t("queued", { n: job.position || 1 }) : job.stopping ? t("stopping") : [t("step", { step: job.step, total: job.total }), eta(job)].filter(Boolean).join(" · ");
  return html`
    <article class=${classes("job running", { waits })} data-job=${job.id} data-state=${job.state}>
      ${!waits && html`<div class="preview">${previews[job.id] ? html`<img src=${previews[job.id]} alt=${t("preview")} />` : html`<span class="veil"></span>`}</div>`}
      <div class="job-head">
        <div class="job-words"><h2>${wordsOf(job)}</h2><p class="facts">${line}</p></div>
        <button type="button" class="stop" disabled=${job.stopping} onClick=${() => stop(job.id)}><${Icon} name="stop" />${t("stop")}</button>
      </div>
      <${Bar} share=${share} />
      <${Remarks} job=${job} />
    </article>`;
}

export function Bar({ share, label }) {
  const ref = useRef();
  useEffect(() => ref.current.style.setProperty("--share", share), [share]);
  return html`<div class="bar" ref=${ref} role="progressbar" aria-label=${label ?? t("progress")} aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.round(100 * share)}><span></span></div>`;
}

const Remarks = ({ job }) => (job.remarks ?? []).map((text) => html`<p key=${text} class="facts remark">${text}</p>`);

function Finished({ job, open, shown }) {
  const { changes } = useStudio();
  const pictures = (job.pictures ?? []).map(current).filter((one) => !inBin(one));
  const again = async () => {
    try {
      putBack(await describe(job.model), { ask: job.request.ask, verb: job.request.verb, options: job.request.options });
      notice(t("reused"), { kind: "good" });
    } catch (error) {
      notice(error.message, { kind: "error" });
    }
  };
  if (job.state === "cancelled" && !pictures.length) return null;
  if (job.state === "done" && !pictures.length) return null;
  const seeds = [...new Set(pictures.map((one) => one.seed))].filter((one) => one !== null && one !== undefined);
  const facts = [job.request?.verb && t(`verb.${job.request.verb}`), titleOf(job.model), ...(pictures[0]?.adapters ?? []), seeds.length === 1 ? t("seed.one", { n: seeds[0] }) : seeds.length > 1 && t("seeds", { a: Math.min(...seeds), b: Math.max(...seeds) })];
  const columns = columnsOf(job.request?.vary);
  return html`
    <article class="job" data-job=${job.id} data-state=${job.state}>
      <div class="job-head">
        <div class="job-words"><h2>${wordsOf(job)}</h2><p class="facts">${facts.filter(Boolean).join(" · ")}</p></div>
        <button type="button" class="quiet" onClick=${again}><${Icon} name="back" />${t("reuse")}</button>
      </div>
      ${job.state === "failed" && html`<p class="error alone" role="alert">${job.message}</p>`}
      <${Remarks} job=${job} />
      ${shown?.(job, pictures)}
      ${columns ? html`<${Table} vary=${job.request.vary} pictures=${pictures} open=${open} />` : html`<${Pictures} pictures=${pictures} open=${open} key=${Boolean(changes)} />`}
    </article>`;
}

const columnsOf = (vary) => (vary?.length ? vary[0].split("=")[1].split(",").length : 0);

/** The first parameter goes across, the second down; several pictures of one place stand together. */
function Table({ vary, pictures, open }) {
  const [across, down] = vary.map((one) => ({ name: one.split("=")[0], values: one.split("=")[1].split(",") }));
  const rows = down?.values ?? [""];
  const each = Math.max(1, Math.floor(pictures.length / (rows.length * across.values.length)));
  const at = (row, column) => pictures.slice((row * across.values.length + column) * each, (row * across.values.length + column + 1) * each);
  return html`
    <div class="table" tabindex="0" role="region" aria-label=${t("grid")}>
      <table>
        <thead><tr>${down && html`<td></td>`}${across.values.map((value) => html`<th scope="col" key=${value}>${across.name} ${value}</th>`)}</tr></thead>
        <tbody>${rows.map((row, r) => html`<tr key=${row}>${down && html`<th scope="row">${down.name} ${row}</th>`}
          ${across.values.map((value, c) => html`<td key=${value}><${Pictures} pictures=${at(r, c)} open=${open} /></td>`)}</tr>`)}</tbody>
      </table>
    </div>`;
}

export function Pictures({ pictures, open }) {
  const { compared, lang } = useStudio();
  const key = pictures.map((one) => `${one.id}${one.starred}${inBin(one)}${compared.some((other) => other.id === one.id)}`).join();
  return useMemo(() => html`<ul class="pictures">${pictures.map((one) => html`<${Card} key=${one.id} picture=${one} open=${open} />`)}</ul>`, [key, lang]);
}

function Card({ picture, open }) {
  const { compared } = useStudio();
  const held = compared.some((one) => one.id === picture.id);
  const name = picture.prompt || picture.title || picture.id;
  const audio = (picture.files ?? []).filter((file) => file.type?.startsWith("audio/wav"));
  return html`
    <li class=${classes("card", { held, starred: picture.starred })} data-picture=${picture.id}>
      <button type="button" class="card-open" aria-label=${t("open", { name, seed: picture.seed })} onClick=${() => open(picture.id)}>
        <img src=${picture.thumb} alt="" loading="lazy" width=${picture.width} height=${picture.height} class=${sharp(picture)} />
      </button>
      ${audio.map((file) => html`<audio key=${file.url} controls preload="none" src=${file.url} aria-label=${name}></audio>`)}
      <div class="card-tools">
        <${IconButton} name="star" filled=${picture.starred} label=${t(picture.starred ? "unstar" : "star")} aria-pressed=${Boolean(picture.starred)} onClick=${() => star(picture)} />
        <${IconButton} name="compare" label=${t("compare.add")} aria-pressed=${held} onClick=${() => compare(picture)} />
        <${IconButton} name="edit" label=${t("edit.send")} onClick=${() => editPicture(picture)} />
        <a class="icon-button" href=${fileOf(picture)} download aria-label=${t("download")} title=${t("download")}><${Icon} name="download" /></a>
        <${IconButton} name="bin" label=${t("bin")} onClick=${() => bin(picture)} />
      </div>
    </li>`;
}

/** Small pictures are shown as the squares that they are made of. */
export const sharp = ({ width, height }) => (Math.max(width, height) <= 64 ? "sharp" : "");
