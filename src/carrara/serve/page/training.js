// Trainings: the form of a new one, and those that there are. They live on the server; the page follows them.
import { ApiError, call, get } from "./api.js";
import { useEffect, useRef, useState } from "./lib.js";
import { say, state, update } from "./state.js";
import { t } from "./words.js";

const at = encodeURIComponent;
const read = (kind, id, more = "") => get(`/api/${kind}/${at(id)}${more}`);
const SOON = 2500;
const LATER = 10_000;
const AGAIN = 3000;

/** What is kept over a reload. */
export const form = () => ({ data: null, start: null, preset: null, name: "", changes: {}, rehearsal: null, open: undefined, ticked: [], log: false, side: "new", ...state.train });
export const change = (values) => update({ train: { ...form(), ...values } });

/** What the server said last. */
export const known = () => ({ sets: null, about: null, plan: null, rehearsed: null, list: null, sent: null, wrong: {}, ...state.training });
export const learn = (values) => update({ training: { ...known(), ...values } });

/** A mistake that belongs to a part of the form. */
const wrong = (part, error) => learn({ wrong: { ...known().wrong, [part]: error && error.message } });

const timers = {};

/** Does something after a while, in the place of what was to be done before. */
function later(name, wait, act) {
  clearTimeout(timers[name]);
  timers[name] = setTimeout(act, wait);
}

// Data.

export async function readSets() {
  try {
    const { data } = await get("/api/data");
    learn({ sets: data });
    const { data: chosen } = form();
    if (chosen && !data.some((one) => one.id === chosen)) pick(null);
    else if (chosen) look(chosen);
    wrong("data", null);
  } catch (error) {
    wrong("data", error);
    if (!error.status) later("sets", AGAIN, readSets);
  }
}

export function pick(id) {
  change({ data: id, preset: null, rehearsal: null });
  learn({ about: null, plan: null, rehearsed: null });
  wrong("data", null);
  if (id) later("look", 150, () => look(id)); // with arrow keys one walks past others
}

/** Asks what is in the data, until the server has seen all of it. */
async function look(id) {
  try {
    const about = await read("data", id);
    if (form().data !== id) return;
    learn({ about });
    if (about.state === "looking") later("look", 500, () => look(id));
    if (about.state === "ready") {
      replan(0);
      if (form().rehearsal) rehearsing(form().rehearsal);
    }
  } catch (error) {
    if (form().data !== id) return;
    wrong("data", error);
    if (!error.status) later("look", AGAIN, () => look(id));
  }
}

let sending = null;
export const stopSending = () => sending?.abort();

/** Sends files, each with the path that it has in its folder. */
export function sendFiles(files) {
  const all = files.filter(({ path }) => !path.split("/").some((part) => part.startsWith(".") || part === "__MACOSX"));
  if (!all.length || sending) return;
  const body = new FormData();
  const [folder, inside] = all[0].path.split("/");
  if (inside) body.append("title", folder);
  for (const { file, path } of all) body.append("files", file, path);
  const request = (sending = new XMLHttpRequest());
  const told = (loaded, total) => learn({ sent: { n: all.length, share: total ? loaded / total : 0 } });
  const end = (error) => {
    sending = null;
    learn({ sent: null });
    wrong("sent", error);
    if (error) say(error.message);
  };
  told(0, 1);
  wrong("sent", null);
  request.open("POST", "/api/data");
  request.upload.onprogress = (event) => told(event.loaded, event.total);
  request.onabort = () => end(null);
  request.onerror = () => end(new ApiError(t("error.offline")));
  request.onload = async () => {
    let answer = {};
    try {
      answer = JSON.parse(request.responseText);
    } catch {
      // The status says enough.
    }
    end(request.status < 300 ? null : new ApiError(answer.error?.message ?? t("error.status", { status: request.status })));
    if (request.status >= 300) return;
    const { sets } = known();
    learn({ sets: [...(sets ?? []), { ...answer, uploaded: true }] });
    pick(answer.id);
  };
  request.send(body);
}

// The recipe.

export const asked = () => {
  const { data, start, preset, name, changes } = form();
  return { data, changes, ...(start && { start }), ...(preset && { preset }), ...(name.trim() && { name: name.trim() }) };
};

/** Changes what is asked for; a dry run of something else is no longer of it. */
export function ask(values) {
  change({ ...values, rehearsal: null });
  clearTimeout(timers.rehearse);
  learn({ rehearsed: null });
  wrong("start", null);
  replan(300);
}

export function askKey(key, value) {
  const { [key]: _, ...others } = form().changes;
  ask({ changes: value === undefined ? others : { ...others, [key]: value } });
}

let turn = 0;
const replan = (wait) => later("plan", wait, plan);

async function plan() {
  const mine = ++turn;
  try {
    const answer = await call("POST", "/api/plans", asked());
    if (mine !== turn || !form().data) return;
    learn({ plan: answer });
    wrong("plan", null);
  } catch (error) {
    if (mine !== turn) return;
    wrong("plan", error);
    if (!error.status) later("plan", AGAIN, plan);
  }
}

// The dry run, and the start.

export async function rehearse() {
  try {
    learn({ rehearsed: { state: "running" } });
    wrong("start", null);
    const { id } = await call("POST", "/api/rehearsals", asked());
    change({ rehearsal: id });
    await rehearsing(id);
  } catch (error) {
    learn({ rehearsed: null });
    refused(error);
  }
}

async function rehearsing(id) {
  try {
    const rehearsed = await read("rehearsals", id);
    if (form().rehearsal !== id) return;
    learn({ rehearsed });
    if (rehearsed.state === "running") later("rehearse", 700, () => rehearsing(id));
    else say(t(rehearsed.state === "done" ? "train.rehearsed" : "train.state.failed"));
  } catch (error) {
    if (error.status) (change({ rehearsal: null }), learn({ rehearsed: null }));
    else later("rehearse", AGAIN, () => rehearsing(id));
  }
}

export async function begin() {
  learn({ starts: true });
  try {
    const { id } = await call("POST", "/api/trainings", asked());
    change({ open: id, side: "runs", rehearsal: null, name: "" });
    learn({ rehearsed: null });
    say(t("said.started"));
    await follow();
    replan(0);
  } catch (error) {
    refused(error);
  }
  learn({ starts: false });
}

/** A refusal is shown at the key that it names, or above the button. */
function refused(error) {
  const { plan } = known();
  if (plan?.keys.some((one) => one.key === error.param)) learn({ plan: { ...plan, mistakes: [...plan.mistakes, { key: error.param, message: error.message }] } });
  else wrong("start", error);
  say(error.message);
}

// Those that there are.

export const busy = (one) => !["stopped", "finished", "failed"].includes(one.state);
let stream = null;
let looks = false;

const put = (one) => {
  const list = known().list ?? [];
  learn({ list: list.some((old) => old.id === one.id) ? list.map((old) => (old.id === one.id ? one : old)) : [one, ...list] });
};

/** Asks how all are, and again while the tab is open. */
export async function follow() {
  try {
    const { trainings } = await get("/api/trainings");
    const order = new Map(known().list?.map((one, k) => [one.id, k]));
    const place = ({ id }) => order.get(id) ?? -1; // new ones come first, the others stay where they are
    learn({ list: trainings.sort((a, b) => place(a) - place(b)), gone: false });
    const there = new Set(trainings.map((one) => one.id));
    const { open, ticked } = form();
    if (open === undefined && trainings.length) change({ open: (trainings.find(busy) ?? trainings[0]).id });
    else if (open && !there.has(open)) change({ open: null });
    if (ticked.some((id) => !there.has(id))) change({ ticked: ticked.filter((id) => there.has(id)) });
  } catch (error) {
    learn({ gone: !error.status });
    wrong("list", error.status ? error : null);
  }
  listen();
  const { list, gone } = known();
  if (looks) later("list", gone ? AGAIN : list?.some(busy) ? SOON : LATER, follow);
}

/** Hears of the one that is open, as long as something changes. */
function listen() {
  const { open } = form();
  const one = known().list?.find((other) => other.id === open);
  const wanted = looks && one && busy(one) ? open : null;
  if (stream?.id === wanted && stream?.source.readyState !== EventSource.CLOSED) return;
  stream?.source.close();
  stream = wanted && { id: wanted, source: new EventSource(`/api/trainings/${at(wanted)}/events`) };
  stream?.source.addEventListener("training", (event) => {
    const now = JSON.parse(event.data);
    const before = known().list?.find((other) => other.id === now.id);
    put(now);
    if (before && before.state !== now.state) say(`${now.title}: ${t(`train.state.${now.state}`)}`);
    if (!busy(now)) listen();
  });
}

export function useTrainings() {
  useEffect(() => {
    looks = true;
    readSets();
    follow();
    return () => {
      looks = false;
      clearTimeout(timers.list);
      listen();
    };
  }, []);
}

export function open(id) {
  change({ open: form().open === id ? null : id });
  listen();
}

export async function tell(id, what) {
  try {
    put(await call("POST", `/api/trainings/${at(id)}/${what}`));
    wrong(id, null);
    listen();
    later("list", SOON, follow);
  } catch (error) {
    wrong(id, error);
  }
}

export const output = (id) => read("trainings", id, "/output?last=200");

/** Curves and previews of some, read again when they have gone on. */
export function useRecords(trainings) {
  const [records, setRecords] = useState({});
  const now = useRef();
  now.current = trainings;
  useEffect(() => {
    const seen = {};
    let timer = 0;
    let left = false;
    const renew = async (one, name, stamp, more = "") => {
      if (seen[one.id + name] === stamp) return;
      const answer = await read("trainings", one.id, `/${name}${more}`);
      seen[one.id + name] = stamp;
      if (!left) setRecords((was) => ({ ...was, [one.id]: { ...was[one.id], ...answer } }));
    };
    const all = async () => {
      for (const one of now.current) {
        try {
          await renew(one, "curves", [one.stage, one.step, one.state].join(), "?points=400");
          await renew(one, "previews", [one.pictures, one.state].join());
        } catch {
          // It is asked again.
        }
      }
      if (!left) timer = setTimeout(all, AGAIN);
    };
    all();
    return () => {
      left = true;
      clearTimeout(timer);
    };
  }, [trainings.map((one) => one.id).join()]);
  return records;
}
