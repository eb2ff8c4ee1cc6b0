// An exported model, opened in onnxruntime-web, and pictures from it: carrara.runtime.model in another language.
// Guidance leads the estimate away from the one to which nothing is said: x0 = null + w (cond - null).

import { normal } from "./draws.js";
import { PARAMETERIZATIONS, levelOf, scheduleOf, timesOf } from "./noise.js";
import { SAMPLERS, sum } from "./samplers.js";
import { Words } from "./words.js";

const f = Math.fround;
const CHANGED = "export the page again";

/** A file of the folder, checked against the card. */
async function fetched(base, name, { bytes, sha256 }, told) {
  const answer = await fetch(new URL(name, base));
  if (!answer.ok) throw new Error(`“${name}” is not there (${answer.status}): copy the whole folder.`);
  const content = new Uint8Array(bytes), reader = answer.body.getReader();
  let filled = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (filled + part.value.length > bytes) throw new Error(`“${name}” is not the file of the card: ${CHANGED}.`);
    content.set(part.value, filled);
    filled += part.value.length;
    told(part.value.length);
  }
  const wrong = filled !== bytes || (globalThis.crypto?.subtle && (await hashed(content)) !== sha256);
  if (wrong) throw new Error(`“${name}” is not the file of the card: ${CHANGED}.`);
  return content;
}

const hashed = async (content) =>
  [...new Uint8Array(await crypto.subtle.digest("SHA-256", content))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");

/** The rows of a .npy file of float32: {at: (k) -> Float32Array, count}. */
function rowsOf(content, width) {
  const view = new DataView(content.buffer), start = 10 + view.getUint16(8, true);
  const numbers = new Float32Array(content.buffer.slice(start));
  return { count: numbers.length / width, at: (k) => numbers.subarray(k * width, (k + 1) * width) };
}

export class Model {
  /**
   * Reads card.json and every network of it.
   * @param ort onnxruntime-web.
   * @param told called with (bytes so far, of how many).
   */
  static async open(base, ort, told = () => {}) {
    const answer = await fetch(new URL("card.json", base));
    if (!answer.ok) throw new Error("There is no card.json beside this page: copy the whole folder.");
    const model = new Model();
    const card = (model.card = await answer.json());
    if (card.format !== 1) throw new Error(`The card has format ${card.format}, and this page reads 1: ${CHANGED}.`);
    const total = Object.values(card.files).reduce((all, one) => all + one.bytes, 0);
    let done = 0;
    const file = (name) => fetched(base, name, card.files[name], (more) => told((done += more), total));
    const session = async (name) =>
      card.files[name] ? ort.InferenceSession.create(await file(name), { executionProviders: ["wasm"] }) : null;
    Object.assign(model, { ort, schedule: scheduleOf(card.schedule), heard: new Map() });
    model.denoiser = await session("denoiser.onnx");
    model.decoder = await session("decoder.onnx");
    model.reader = await session("text.onnx");
    if (card.files["condition.npy"]) model.table = rowsOf(await file("condition.npy"), card.condition.width);
    if (card.files["tokenizer.json"])
      model.words = new Words(JSON.parse(new TextDecoder().decode(await file("tokenizer.json"))));
    return model;
  }

  /**
   * The states of one drawing, [x, x0], the last of them the sample.
   * @param asked {wish, negative, seed, steps, guidance, sampler}; what is missing is as the model has it.
   */
  async *states(asked) {
    const { card, schedule } = this, own = card.sample, seed = BigInt(asked.seed ?? 0);
    const name = asked.sampler ?? own.sampler.kind;
    const times = timesOf(own.grid, asked.steps ?? own.steps, schedule);
    const count = card.latent.reduce((a, b) => a * b), x = sum([schedule(times[0])[1], normal(seed, "initial noise", count)]);
    const guided = await this.denoise(asked.wish ?? null, asked.negative ?? null, asked.guidance ?? own.guidance);
    let seen = x;
    const way = {
      times, schedule,
      denoise: async (state, t) => (seen = await guided(state, t)),
      noise: (index) => normal(seed, "sampler noise", count, index),
      keys: name === own.sampler.kind ? own.sampler : {},
    };
    for await (const state of SAMPLERS[name](x, way)) yield [state, seen];
  }

  /** The guided estimate, kept in range as the model does it. */
  async denoise(wish, negative, guidance) {
    const own = this.card.sample, cond = await this.told(wish), [low, high] = own.interval;
    if (guidance === 1 || this.card.condition.kind === "none")
      return async (x, t) => this.kept((await this.estimates(x, t, [cond]))[0]);
    const nothing = await this.told(negative);
    return async (x, t) => {
      if (!(low <= f(t) && f(t) <= high)) return this.kept((await this.estimates(x, t, [cond]))[0]);
      const [ours, theirs] = await this.estimates(x, t, [cond, nothing]);
      const x0 = sum([1 - guidance, theirs], [guidance, ours]);
      const ratio = own.rescale && deviation(x0) > 0 ? deviation(ours) / deviation(x0) : 1;
      return this.kept(own.rescale ? sum([1 + own.rescale * (ratio - 1), x0]) : x0);
    };
  }

  /** What the network is told: {vector, tokens, length}. Labels are names, vectors numbers with commas between. */
  async told(wish) {
    const { kind, classes = [], size } = this.card.condition, { table } = this;
    if (kind === "none") return {};
    if (wish === null || (kind === "text" && !wish.trim())) return { vector: table.at(table.count - 1), length: 0 };
    if (kind === "text") return this.read(wish);
    if (kind === "labels") {
      const k = classes.indexOf(wish);
      if (k < 0) throw new Error(`There is no class “${wish}”.`);
      return { vector: table.at(k) };
    }
    const numbers = wish.split(",").map(Number);
    if (numbers.length !== size || !numbers.every(Number.isFinite))
      throw new Error(`This model is told ${size} numbers, with commas between.`);
    return { vector: sum(...numbers.map((number, k) => [number, table.at(k)])) };
  }

  async read(text) {
    if (this.heard.has(text)) return this.heard.get(text);
    const { size, apart } = this.card.condition, windows = this.words.windows(text), parts = [];
    for (const ids of apart ? windows : [windows.flat()]) {
      const numbers = new this.ort.Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]);
      parts.push((await this.reader.run({ ids: numbers })).features.data);
    }
    const tokens = new Float32Array(parts.reduce((all, part) => all + part.length, 0));
    parts.reduce((at, part) => (tokens.set(part, at), at + part.length), 0);
    const length = tokens.length / size, mean = new Float32Array(size);
    for (let k = 0; k < tokens.length; k++) mean[k % size] += tokens[k] / length;
    const vector = sum([1, this.table.at(size)], ...Array.from(mean, (value, k) => [value, this.table.at(k)]));
    this.heard.set(text, { vector, tokens, length });
    return this.heard.get(text);
  }

  /** The network's estimates of the data, for each of what it is told; they are asked in one batch. */
  async estimates(x, t, asked) {
    const { card, ort } = this, batch = asked.length, [alpha, sigma] = this.schedule(f(t)).map(f);
    const [skip, out, inp] = PARAMETERIZATIONS[card.parameterization.kind](alpha, sigma, card.parameterization.sigma_data ?? 0.5);
    const many = (row) => {
      const rows = new Float32Array(batch * row.length);
      for (let k = 0; k < batch; k++) rows.set(row, k * row.length);
      return rows;
    };
    const tensor = (data, ...shape) => new ort.Tensor("float32", data, [batch, ...shape]);
    const given = { x: tensor(many(sum([inp, x])), ...card.latent), level: tensor(many([levelOf(alpha, sigma, card.parameterization.told)])) };
    if (card.condition.kind !== "none") {
      const { size, width } = card.condition, vectors = new Float32Array(batch * width);
      asked.forEach((one, k) => vectors.set(one.vector, k * width));
      given.vector = tensor(vectors, width);
      if (card.condition.kind === "text") {
        const longest = Math.max(1, ...asked.map((one) => one.length));
        const tokens = new Float32Array(batch * longest * size), mask = new Uint8Array(batch * longest);
        asked.forEach((one, k) => {
          if (one.length) tokens.set(one.tokens, k * longest * size);
          mask.fill(1, k * longest, k * longest + one.length);
        });
        given.tokens = tensor(tokens, longest, size);
        given.mask = new ort.Tensor("bool", mask, [batch, longest]);
      }
    }
    const answer = (await this.denoiser.run(given)).output.data;
    return asked.map((_, k) => sum([skip, x], [out, answer.subarray(k * x.length, (k + 1) * x.length)]));
  }

  /** Clipped, or by dynamic thresholds (Saharia et al., 2022). */
  kept(x0) {
    const { threshold, clip } = this.card.sample, cut = (limit) => x0.map((v) => Math.min(Math.max(v, -limit), limit) / limit);
    if (threshold == null) return clip ? cut(1) : x0;
    const sizes = x0.map(Math.abs).sort();
    return cut(Math.max(sizes[Math.ceil(threshold * sizes.length) - 1], 1));
  }

  /** Latents to a picture: {pixels: RGBA, width, height}. */
  async picture(z) {
    const { card, ort } = this, [channels, height, width] = card.shape;
    const x = this.decoder ? (await this.decoder.run({ z: new ort.Tensor("float32", z, [1, ...card.latent]) })).pixels : null;
    const data = x?.data ?? z, [rows, columns] = x?.dims.slice(2) ?? card.latent.slice(1);
    const pixels = new Uint8ClampedArray(4 * height * width).fill(255);
    const value = (c, i, j) => even((Math.min(Math.max((data[(c * rows + i) * columns + j] + 1) / 2, 0), 1)) * 255);
    for (let i = 0; i < height; i++)
      for (let j = 0; j < width; j++)
        for (let c = 0; c < Math.max(3, channels); c++)
          pixels[4 * (i * width + j) + c] = value(channels < 3 ? 0 : c, i, j);
    return { pixels, width, height };
  }
}

// The nearest whole number, the even one of two.
const even = (x) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

function deviation(x) {
  const mean = x.reduce((a, b) => a + b, 0) / x.length;
  return Math.sqrt(x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length);
}
