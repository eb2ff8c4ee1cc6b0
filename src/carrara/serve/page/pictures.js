// What can be done with a finished picture.
import { api, blobOf } from "./api.js";
import { putBack } from "./asking.js";
import { keepFile } from "./kept.js";
import { changeSettings, notice, settingsOf, state, update } from "./state.js";
import { describe } from "./models.js";
import { refused } from "./jobs.js";
import { t } from "./words.js";

const MOST_COMPARED = 4;

/** Shows a change of one picture wherever it is shown. */
function changed(id, values) {
  const jobs = state.jobs.map((job) => ({ ...job, pictures: (job.pictures ?? []).map((one) => (one.id === id ? { ...one, ...values } : one)) }));
  update({ jobs, changes: { ...state.changes, [id]: { ...state.changes?.[id], ...values } } });
}

export const current = (picture) => ({ ...picture, ...state.changes?.[picture.id] });

/** Whether a picture has been thrown away: here, or before this page was opened. */
export const inBin = (picture) => Boolean(picture.binned ?? picture.bin);

async function attempt(act) {
  try {
    return await act();
  } catch (error) {
    notice(error.message, { kind: "error" });
    return null;
  }
}

export async function star(picture) {
  const starred = !current(picture).starred;
  changed(picture.id, { starred });
  if ((await attempt(() => api.star(picture.id, starred))) === null) changed(picture.id, { starred: !starred });
}

/** To the bin, with a way back. */
export async function bin(picture) {
  changed(picture.id, { binned: true });
  update({ compared: state.compared.filter((one) => one.id !== picture.id) });
  const done = await attempt(() => api.bin(picture.id).then(() => true));
  if (!done) return changed(picture.id, { binned: false });
  return notice(t("binned"), { action: t("undo"), act: () => restore(picture), seconds: 12 });
}

export async function restore(picture) {
  if (await attempt(() => api.restore(picture.id).then(() => true))) changed(picture.id, { binned: false });
}

/** Puts every setting of a file back, and goes where they belong. */
export async function recall(blob, name) {
  const found = await api.recall(blob, name);
  if (!found.model) return notice(found.message ?? t("recall.unknown"), { kind: "error" });
  putBack(await describe(found.model), found);
  location.hash = found.verb ? "#/edit" : "#/generate";
  return notice(found.message ?? t("recalled", { name }), { kind: found.message ? "info" : "good" });
}

/** A file that was dropped or chosen: its settings, or else a way to edit it. */
export async function recallFile(file) {
  try {
    await recall(file, file.name);
  } catch (error) {
    const edit = file.type.startsWith("image/") ? { action: t("edit.instead"), act: () => editFile(file) } : {};
    notice(error.message, { kind: "error", seconds: 12, ...edit });
  }
}

/** The file of a picture, which carries its recipe. */
export const fileOf = (picture) => picture.files?.[0]?.url ?? picture.url;
const nameOf = (picture) => picture.files?.[0]?.name ?? `${picture.id}.png`;

export const reuse = (picture) => attempt(async () => recall(await blobOf(fileOf(picture)), nameOf(picture)));

/** All of its settings, as they were asked. */
export const recipeOf = async (picture) => api.recall(await blobOf(fileOf(picture)), nameOf(picture));

export function reuseSeed(picture) {
  const settings = settingsOf(picture.model);
  update({ model: picture.model });
  changeSettings(picture.model, { ask: { ...settings.ask, seed: picture.seed }, lock: true });
  describe(picture.model);
  location.hash = "#/generate";
  notice(t("seed.reused", { seed: picture.seed }), { kind: "good" });
}

export function compare(picture) {
  const without = state.compared.filter((one) => one.id !== picture.id);
  const added = without.length < state.compared.length ? without : [...without, picture].slice(-MOST_COMPARED);
  update({ compared: added });
}

/** Takes a picture to the edit, beside the others if the verb takes several. */
export function editSource(source, many = false) {
  update({ sources: many ? [...state.sources, source].slice(-8) : [source], strokes: [], errors: {} });
  location.hash = "#/edit";
}

export async function editPicture(picture) {
  const { width, height, model, url } = picture;
  update({ model });
  await attempt(() => describe(model));
  editSource({ src: fileOf(picture), shown: url, name: nameOf(picture), width, height });
}

/** A picture of no more pixels than the server takes: a larger one is made smaller, which is said. */
export async function fitting(file) {
  if (!file.type.startsWith("image/") || !state.pixels) return file;
  const image = await createImageBitmap(file).catch(() => null); // what the browser does not know, the server may
  if (!image || image.width * image.height <= state.pixels) return file;
  const share = Math.sqrt(state.pixels / (image.width * image.height));
  const [width, height] = [image.width, image.height].map((edge) => Math.max(1, Math.floor(edge * share)));
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  notice(t("picture.smaller", { name: file.name, width, height }));
  return new File([blob], `${file.name.replace(/\.\w+$/, "")}.png`, { type: "image/png" });
}

/** The server looks at a file first, so that what is no picture is refused at once. */
export async function editFile(file, many = false) {
  try {
    const given = await fitting(file);
    const { width, height } = await api.upload(given, given.name);
    editSource({ ...(await keepFile(given)), name: file.name, width, height }, many);
  } catch (error) {
    refused(Object.assign(error, { param: "images" }));
  }
}
