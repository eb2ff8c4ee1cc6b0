// The models that the server has.
import { api } from "./api.js";
import { state, update } from "./state.js";

/** Reads the list; the one that was chosen last stays, if it is still there. */
export async function readModels() {
  const { models, pixels } = await api.models();
  const chosen = models.some((model) => model.id === state.model) ? state.model : (models[0]?.id ?? null);
  update({ models, pixels, model: chosen, details: {}, ready: true });
  if (chosen) await describe(chosen);
}

/** All that is known of one, asked once. */
export async function describe(id) {
  if (!state.details[id]) {
    const model = await api.model(id);
    update({ details: { ...state.details, [id]: model } });
  }
  return state.details[id];
}

export async function choose(id) {
  update({ model: id, errors: {} });
  await describe(id);
}

export const chosen = () => state.details[state.model] ?? null;
export const titleOf = (id) => state.models.find((model) => model.id === id)?.title ?? id;
export const optionOf = (model, name) => model?.options.find((option) => option.name === name);

/** Edges of pictures go in steps of this many pixels: what divides the model's own size, 8 at most. */
export const strideOf = (model) => [8, 4, 2, 1].find((edge) => model.size.every((own) => own % edge === 0));
