// The samplers of carrara.sample: carrara.runtime.samplers in another language. Between t and the earlier s, with
// h = lambda_s - lambda_t and r = exp(-h),
//     x_s = k x_t + (alpha_s - k alpha_t) mean(x0) + eta sigma_s sqrt(1 - r^2) eps,
//     k = sigma_s / sigma_t sqrt(1 - eta^2 (1 - r^2)),                                                          (1)
// where samplers differ in the mean of the denoiser's estimates over the step. A state is a Float32Array; denoise is
// async (x, t) -> x0, and noise is (step) -> eps.

import { timeOf } from "./noise.js";

/** The sum of numbers times states: sum([a, x], [b, y], ...). */
export function sum(...terms) {
  const found = new Float32Array(terms[0][1].length);
  for (let i = 0; i < found.length; i++) {
    let value = 0;
    for (const [weight, state] of terms) value += weight * state[i];
    found[i] = value;
  }
  return found;
}

function levelAt(t, schedule) {
  const [alpha, sigma] = schedule(t);
  return {
    t, alpha, sigma,
    lambda: alpha === 0 ? -Infinity : sigma > 0 ? Math.log(alpha / sigma) : Infinity,
    over: alpha > 0 ? sigma / alpha : Infinity,
  };
}

class Step {
  constructor(index, total, t, s) {
    Object.assign(this, { index, total, t, s });
    const below = s.alpha * t.sigma;
    this.h = s.lambda - t.lambda;
    this.r = below > 0 ? (t.alpha * s.sigma) / below : Infinity;
  }
  // Equation (1) without its noise.
  mean(x, x0, eta = 0) {
    const k = (this.s.sigma / this.t.sigma) * (eta > 0 ? Math.sqrt(1 - eta ** 2 + (eta * this.r) ** 2) : 1);
    return sum([k, x], [this.s.alpha - k * this.t.alpha, x0]);
  }
  std(eta = 1) {
    return eta > 0 ? eta * this.s.sigma * Math.sqrt(1 - this.r ** 2) : 0;
  }
  add(mean, std, noise) {
    return std > 0 ? sum([1, mean], [std, noise(this.index)]) : mean;
  }
}

function* walk(times, schedule) {
  const levels = times.map((t) => levelAt(t, schedule));
  for (let k = 0; k + 1 < levels.length; k++) yield new Step(k, levels.length - 1, levels[k], levels[k + 1]);
}

async function* ddpm(x, { denoise, times, schedule, noise, keys }) {
  const large = keys.variance === "beta";
  for (const step of walk(times, schedule)) {
    const mean = step.mean(x, await denoise(x, step.t.t), 1);
    const wide = step.s.t > 0 ? step.t.sigma * Math.sqrt(1 - step.r ** 2) : 0;
    x = step.add(mean, large ? wide : step.std(), noise);
    yield x;
  }
}

async function* ddim(x, { denoise, times, schedule, noise, keys }) {
  const eta = keys.eta ?? 0;
  for (const step of walk(times, schedule)) {
    x = step.add(step.mean(x, await denoise(x, step.t.t), eta), step.std(eta), noise);
    yield x;
  }
}

const euler = (x, way) => ddim(x, { ...way, keys: {} });
const ancestral = (x, way) => ddim(x, { ...way, keys: { eta: way.keys.eta ?? 1 } });

async function* heun(x, way) {
  for (let step of walk(way.times, way.schedule)) {
    [x, step] = churned(x, step, way);
    const before = await way.denoise(x, step.t.t);
    x = step.mean(x, before);
    if (step.r > 0) {
      const bend = 0.5 * step.s.alpha * (1 / step.r - 1);
      x = sum([1, x], [bend, await way.denoise(x, step.s.t)], [-bend, before]);
    }
    yield x;
  }
}

function churned(x, step, { schedule, noise, keys }) {
  const { churn = 0, churn_min = 0, noise_scale = 1 } = keys, churn_max = keys.churn_max || Infinity;
  const old = step.t, gamma = Math.min(churn / step.total, Math.SQRT2 - 1);
  if (gamma === 0 || old.over < churn_min || old.over > churn_max || old.alpha === 0) return [x, step];
  const more = levelAt(timeOf(schedule, old.lambda - Math.log1p(gamma)), schedule), scale = more.alpha / old.alpha;
  const std = Math.sqrt(Math.max(more.sigma ** 2 - (scale * old.sigma) ** 2, 0)) * noise_scale;
  return [step.add(sum([scale, x]), std, noise), new Step(step.index, step.total, more, step.s)];
}

// The mean of the estimates over the step, from the present one and others, each [lambda, x0].
function average(step, now, others) {
  others = others.filter(([lambda]) => Number.isFinite(lambda));
  if (!Number.isFinite(step.h) || !others.length) return now[1];
  const u = others.map(([lambda]) => (lambda - now[0]) / step.h), weights = weightsOf(u, step.h);
  const parts = weights.map((w, k) => w / u[k]);
  return sum([1 - parts.reduce((a, b) => a + b), now[1]], ...parts.map((part, k) => [part, others[k][1]]));
}

function weightsOf(u, h) {
  if (u.length === 1) return [0.5];
  const moments = [1];
  for (let j = 1; j <= u.length; j++) moments.push(-1 / Math.expm1(-h) - (j / h) * moments[j - 1]);
  return solved(u.map((_, k) => u.map((at) => at ** k)), moments.slice(1));
}

// A small system of linear equations, by elimination with pivots.
function solved(rows, right) {
  const a = rows.map((row, k) => [...row, right[k]]), n = a.length;
  for (let k = 0; k < n; k++) {
    const pivot = a.reduce((best, row, j) => (j >= k && Math.abs(row[k]) > Math.abs(a[best][k]) ? j : best), k);
    [a[k], a[pivot]] = [a[pivot], a[k]];
    for (let j = 0; j < n; j++)
      if (j !== k) {
        const times = a[j][k] / a[k][k];
        a[j] = a[j].map((value, i) => value - times * a[k][i]);
      }
  }
  return a.map((row, k) => row[n] / row[k]);
}

async function* dpmpp(x, way, eta = 0) {
  let before = [];
  for (const step of walk(way.times, way.schedule)) {
    const now = [step.t.lambda, await way.denoise(x, step.t.t)];
    x = step.add(step.mean(x, average(step, now, before), eta), step.std(eta), way.noise);
    before = [now];
    yield x;
  }
}

async function* unipc(x, way) {
  const order = way.keys.order ?? 2;
  let before = [], now = null;
  for (const step of walk(way.times, way.schedule)) {
    now ??= [step.t.lambda, await way.denoise(x, step.t.t)];
    const begun = x;
    let ahead = null;
    x = step.mean(x, average(step, now, before));
    if (Number.isFinite(step.h)) {
      ahead = [step.s.lambda, await way.denoise(x, step.s.t)];
      x = step.mean(begun, average(step, now, [...before, ahead]));
    }
    yield x;
    [before, now] = [[now, ...before].slice(0, order - 1), ahead];
  }
}

async function* lms(x, way) {
  const order = way.keys.order ?? 4;
  let places = [], slopes = [];
  for (const step of walk(way.times, way.schedule)) {
    const x0 = await way.denoise(x, step.t.t);
    if (step.t.alpha > 0) {
      const slope = step.t.sigma > 0 ? sum([1 / step.t.sigma, x], [-step.t.alpha / step.t.sigma, x0]) : x.map(() => 0);
      [places, slopes] = [[step.t.over, ...places].slice(0, order), [slope, ...slopes].slice(0, order)];
    }
    x = step.mean(x, x0);
    if (step.s.alpha > 0)
      for (let k = 1; k < places.length; k++) {
        const weight = step.s.alpha * integral(k, places, step.s.over);
        x = sum([1, x], [weight, slopes[k]], [-weight, slopes[0]]);
      }
    yield x;
  }
}

function integral(k, places, end) {
  const half = (end - places[0]) / 2, middle = (end + places[0]) / 2;
  const at = (x) => places.reduce((p, place, j) => (j === k ? p : (p * (x - place)) / (places[k] - place)), 1);
  return half * (at(middle - half / Math.sqrt(3)) + at(middle + half / Math.sqrt(3)));
}

export const SAMPLERS = {
  ddpm, ddim, euler, euler_a: ancestral, heun, dpmpp, dpmpp_sde: (x, way) => dpmpp(x, way, 1), unipc, lms,
};
