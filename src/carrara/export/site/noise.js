// Noise schedules, what networks predict, and grids of times: carrara.runtime.noise in another language.
// The forward process is x_t = alpha(t) x_0 + sigma(t) eps, from t = 0 (data) to 1 (noise), and the denoiser is
// x0 = c_skip x_t + c_out F(c_in x_t, lambda) with lambda = ln(alpha / sigma).

const MOST = 12;

/** t -> [alpha, sigma], of the card's "schedule". */
export function scheduleOf({ kind, alpha, shift, sigma_min, sigma_max, rho }) {
  const within = (t) => Math.min(Math.max(t, 0), 1);
  if (kind === "table")
    return (t) => {
      const place = within(t) * (alpha.length - 1), left = Math.min(Math.floor(place), alpha.length - 2);
      const a = alpha[left] + (place - left) * (alpha[left + 1] - alpha[left]);
      return [a, Math.sqrt((1 - a) * (1 + a))];
    };
  if (kind === "rectified_flow")
    return (t) => {
      const scale = 1 + (shift - 1) * within(t);
      return [(1 - within(t)) / scale, (shift * within(t)) / scale];
    };
  const low = sigma_min ** (1 / rho), high = sigma_max ** (1 / rho);
  return (t) => [1, (low + within(t) * (high - low)) ** rho];
}

export const halfLogsnr = (schedule, t) => {
  const [alpha, sigma] = schedule(t);
  return Math.log(alpha) - Math.log(sigma);
};

/** The time of a half log-SNR, by bisection. */
export function timeOf(schedule, wanted) {
  let low = 0, high = 1;
  for (let k = 0; k < 60; k++) {
    const middle = (low + high) / 2;
    if (halfLogsnr(schedule, middle) > wanted) low = middle;
    else high = middle;
  }
  return high;
}

/** By kind: (alpha, sigma, the data's standard deviation) -> [c_skip, c_out, c_in]. */
export const PARAMETERIZATIONS = {
  eps: (a, s) => [1 / a, -s / a, 1 / Math.hypot(a, s)],
  x0: (a, s) => [0, 1, 1 / Math.hypot(a, s)],
  v: (a, s) => [a / (a * a + s * s), -s / Math.hypot(a, s), 1 / Math.hypot(a, s)],
  flow: (a, s) => [1 / (a + s), -s / (a + s), 1 / Math.hypot(a, s)],
  velocity: (a, s) => [1 / (a + s), -s / (a + s), 1],
  edm: (a, s, data) => {
    const std = Math.hypot(a * data, s);
    return [(a * data * data) / std ** 2, (s * data) / std, 1 / std];
  },
};

/** What the network is told: lambda, clamped. */
export function levelOf(alpha, sigma, most = MOST) {
  if (alpha === 0 || sigma === 0) return alpha === 0 ? -MOST : most;
  return Math.min(Math.max(Math.log(alpha) - Math.log(sigma), -MOST), most);
}

// From both ends, so that ties round alike everywhere.
const ramp = (steps) =>
  Array.from({ length: steps + 1 }, (_, i) => (i < Math.floor((steps + 1) / 2) ? 1 - i / steps : (steps - i) / steps));

// To even where it is a tie, as Python does it.
const round = (x) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

function karras(steps, schedule, { rho, sigma_min, sigma_max }) {
  const clean = Math.exp(-halfLogsnr(schedule, 0)), noisy = Math.exp(-halfLogsnr(schedule, 1));
  const low = Math.max(clean, sigma_min), high = Math.min(noisy, sigma_max);
  const reaches = clean >= sigma_min * (1 - 1e-9);
  const [from, to] = [high ** (1 / rho), low ** (1 / rho)];
  const times = ramp(reaches ? steps : Math.max(steps - 1, 1)).map((r) =>
    timeOf(schedule, -Math.log((to + r * (from - to)) ** rho)),
  );
  if (noisy <= sigma_max) times[0] = 1;
  return [...times.slice(0, steps), 0];
}

/** By kind: (steps, schedule, the grid's keys) -> steps + 1 times, decreasing to 0. */
export const GRIDS = {
  uniform: (steps) => ramp(steps),
  trailing: (steps, schedule, { train_steps = 1000 }) => ramp(steps).map((r) => round(r * train_steps) / train_steps),
  leading: (steps, schedule, { train_steps = 1000 }) => [
    ...Array.from({ length: steps }, (_, i) => (Math.floor(((steps - 1 - i) * train_steps) / steps) + 1) / train_steps),
    0,
  ],
  quadratic: (steps) => ramp(steps).map((r) => r * r),
  karras: (steps, schedule, keys) => karras(steps, schedule, { rho: 7, sigma_min: 0.002, sigma_max: 80, ...keys }),
};

/** The times of a grid; an error where it has no so many different ones. */
export function timesOf({ kind, ...keys }, steps, schedule) {
  const times = GRIDS[kind](steps, schedule, keys);
  if (times.some((t, k) => k > 0 && !(t < times[k - 1])))
    throw new Error(`The grid “${kind}” has no ${steps} different times here: ask for fewer steps.`);
  return times;
}
