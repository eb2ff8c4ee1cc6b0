// Jobs: they live on the server, and the page follows them. A reload loses none.
import { api } from "./api.js";
import { notice, say, state, update } from "./state.js";
import { duration, t } from "./words.js";

const FOLLOWED = 2; // a browser opens few connections to one server
const BEFORES = 12;
const streams = new Map();
const begun = new Map(); // by job: when its first step was seen, and which
let timer = 0;

export const active = (job) => job.state === "queued" || job.state === "running";

/** Starts a job. Its mistakes are shown at their fields. */
export async function start(request, before = null) {
  try {
    const { id } = await api.start({ ...request, client: state.client });
    if (before) update({ befores: Object.fromEntries([...Object.entries(state.befores), [id, before]].slice(-BEFORES)) });
    update({ errors: {} });
    say(t("said.started"));
    if (streams.size < FOLLOWED) follow(id);
    await sync();
    show(id);
    return id;
  } catch (error) {
    refused(error);
    return null;
  }
}

/** On a narrow page the results lie below the form: what was started comes into sight. */
function show(id) {
  requestAnimationFrame(() => document.querySelector(`[data-job="${id}"]`)?.scrollIntoView({ block: matchMedia("(max-width: 760px)").matches ? "start" : "nearest", behavior: "smooth" }));
}

/** Shows a refusal at the field that it names, or above all. */
export function refused(error) {
  const again = error.retry ? ` ${t("error.retry", { n: error.retry })}` : "";
  update({ errors: { [error.param || "all"]: error.message + again }, said: error.message });
}

export async function stop(id) {
  update({ jobs: state.jobs.map((job) => (job.id === id ? { ...job, stopping: true } : job)) });
  try {
    await api.cancel(id);
  } catch (error) {
    notice(error.message, { kind: "error" });
  }
  await sync();
}

export const stopAll = () => Promise.all(state.jobs.filter(active).map((job) => stop(job.id)));

/** Asks how all jobs are, and again while there are some. */
export async function sync() {
  clearTimeout(timer);
  let jobs = state.jobs;
  try {
    ({ jobs } = await api.jobs());
    update({ jobs: jobs.map((job) => ({ ...job, stopping: active(job) && was(job.id)?.stopping })), offline: false });
  } catch {
    update({ offline: true });
  }
  for (const job of jobs) if (job.state === "running" && streams.size < FOLLOWED) follow(job.id);
  if (jobs.some(active) || state.offline) timer = setTimeout(sync, state.offline ? 3000 : 1000);
}

const was = (id) => state.jobs.find((job) => job.id === id);

function change(id, values) {
  update({ jobs: state.jobs.map((job) => (job.id === id ? { ...job, ...values } : job)) });
}

function follow(id) {
  if (streams.has(id)) return;
  const stream = api.events(id);
  streams.set(id, stream);
  const on = (name, act) => stream.addEventListener(name, (event) => act(JSON.parse(event.data || "{}")));
  on("progress", ({ preview, ...where }) => progress(id, where, preview));
  on("remark", ({ message }) => change(id, { remarks: [...new Set([...(was(id)?.remarks ?? []), message])] }));
  on("done", ({ pictures }) => ended(id, { state: "done", pictures }, t("said.done", { n: pictures.length })));
  on("failed", ({ message }) => ended(id, { state: "failed", message }, message));
  on("cancelled", () => ended(id, { state: "cancelled" }, t("said.stopped")));
  stream.onerror = () => stream.readyState === EventSource.CLOSED && left(id);
}

function progress(id, where, preview) {
  const { step, total, done = 0, count = 1 } = where;
  if (!begun.has(id)) begun.set(id, { time: performance.now(), share: shareOf({ step, total, done, count }) });
  const quarter = (n) => total && Math.floor((4 * n) / total);
  const said = was(id) && quarter(step) > quarter(was(id).step ?? 0) ? { said: t("said.progress", { n: Math.round((100 * step) / total) }) } : {};
  update({ ...(preview ? { previews: { ...state.previews, [id]: preview } } : {}), ...said });
  change(id, { state: "running", ...where });
}

function left(id) {
  streams.get(id)?.close();
  streams.delete(id);
}

function ended(id, values, said) {
  left(id);
  begun.delete(id);
  const { [id]: _, ...previews } = state.previews;
  update({ previews, said });
  change(id, values);
  sync();
}

/** How much of a job is done, 0 to 1. */
export const shareOf = ({ step, total, done, count }) =>
  Math.min(1, total && count > done ? Math.max(done / count, 0) + (step / total) * (1 - done / count) : done / (count || 1));

/** How long it will take from here, in words; nothing as long as nobody knows. */
export function eta(job) {
  const first = begun.get(job.id);
  const share = shareOf(job);
  if (!first || share - first.share < 0.02) return "";
  const seconds = (performance.now() - first.time) / 1000;
  return t("eta", { time: duration((seconds / (share - first.share)) * (1 - share)) });
}
