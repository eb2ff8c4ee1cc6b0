// The server's answers. A refusal is an ApiError with the sentence, and the field that it is about.
import { fileAt } from "./kept.js";
import { t } from "./words.js";

export class ApiError extends Error {
  constructor(message, { status = 0, param = null, retry = null } = {}) {
    super(message);
    Object.assign(this, { status, param, retry });
  }
}

async function answered(url, init) {
  try {
    return await fetch(url, { credentials: "same-origin", ...init });
  } catch {
    throw new ApiError(t("error.offline"));
  }
}

async function refusal(response) {
  let error = {};
  try {
    error = (await response.json()).error ?? {};
  } catch {
    // No JSON: the status is all that is known.
  }
  const retry = Number(response.headers.get("Retry-After")) || null;
  return new ApiError(error.message ?? t("error.status", { status: response.status }), { status: response.status, param: error.param, retry });
}

export async function call(method, url, body) {
  const json = body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const response = await answered(url, { method, ...json });
  if (!response.ok) throw await refusal(response);
  return response.status === 204 ? null : response.json();
}

export const get = (url) => call("GET", url);

export async function blobOf(src) {
  if (src.startsWith("blob:")) return fileAt(src);
  const response = await answered(src, {});
  if (!response.ok) throw await refusal(response);
  return response.blob();
}

export async function send(url, blob, name) {
  const form = new FormData();
  form.append("file", blob, name);
  const response = await answered(url, { method: "POST", body: form });
  if (!response.ok) throw await refusal(response);
  return response.json();
}

const at = (id) => encodeURIComponent(id);

export const api = {
  models: () => get("/api/models"),
  model: (id) => get(`/api/models/${at(id)}`),
  jobs: () => get("/api/jobs"),
  start: (request) => call("POST", "/api/jobs", request),
  cancel: (id) => call("DELETE", `/api/jobs/${at(id)}`),
  events: (id) => new EventSource(`/api/jobs/${at(id)}/events`),
  pictures: (query) => get(`/api/pictures?${new URLSearchParams(query)}`),
  star: (id, starred) => call(starred ? "PUT" : "DELETE", `/api/pictures/${at(id)}/star`),
  bin: (id) => call("DELETE", `/api/pictures/${at(id)}`),
  emptyBin: (model) => call("DELETE", `/api/bin${model ? `?model=${at(model)}` : ""}`),
  restore: (id) => call("POST", `/api/pictures/${at(id)}/restore`),
  trajectory: (id) => get(`/api/pictures/${at(id)}/trajectory?frames=24`),
  upload: (blob, name) => send("/api/uploads", blob, name),
  recall: (blob, name) => send("/api/recall", blob, name),
};
