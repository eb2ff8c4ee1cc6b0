// What one sees of the model: a form, a picture, and those that were drawn before. The work is done by worker.js.

const $ = (id) => document.getElementById(id);
const KEPT = 24; // earlier pictures
const BETWEEN = 128; // pixels: smaller pictures are shown with sharp edges
const SAMPLERS = ["ddpm", "ddim", "euler", "euler_a", "heun", "dpmpp", "dpmpp_sde", "unipc", "lms"];

const worker = new Worker("worker.js", { type: "module" });
const earlier = [];
let card = null, busy = false;

function say(text, { wrong = false, progress = null } = {}) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
  $("progress").hidden = progress === null;
  if (progress !== null) $("progress").value = progress;
}

function working(now) {
  busy = now;
  $("draw").disabled = now || card === null;
  $("stop").hidden = !now || card === null;
}

const asks = () => card.condition.kind;
const spoken = () => ({ labels: $("classes"), text: $("wish"), vectors: $("wish") })[asks()];
const made = (kind) => document.createElement(kind);
const megabytes = (bytes) => Math.round(bytes / 1e6);

// The form, as the card says.
function ready(found) {
  card = found;
  const own = card.sample, [, height, width] = card.shape;
  document.title = $("title").textContent = card.title;
  $("asked").hidden = asks() === "none";
  if (spoken()) {
    $("wish").hidden = asks() === "labels";
    $("classes").hidden = asks() !== "labels";
    $("asks").htmlFor = spoken().id;
    $("asks").textContent = { labels: "Class", text: "What to draw", vectors: "Numbers, with commas between" }[asks()];
    $("classes").replaceChildren(...(card.condition.classes ?? []).map((name) => new Option(name, name)));
    $("wish").placeholder = asks() === "text" ? "a red heart" : Array(card.condition.size).fill(0.5).join(",");
  }
  $("stepped").hidden = $("more").hidden = card.few_steps !== null;
  $("guided").hidden = asks() === "none" || card.few_steps !== null;
  $("avoided").hidden = asks() !== "text";
  $("steps").value = own.steps;
  $("guidance").value = own.guidance;
  $("sampler").replaceChildren(...SAMPLERS.map((name) => new Option(name, name)));
  $("sampler").value = own.sampler.kind;
  document.querySelector(".frame").style.setProperty("--ratio", width / height);
  const far = card.checks?.drawing ? ` A drawing differs from PyTorch's by ${card.checks.drawing.largest}/255 at most.` : "";
  $("facts").textContent =
    `${width}×${height} pixels, exported by Carrara ${card.carrara}.${far} ` +
    "The same seed is the same picture as in Carrara.";
  remembered();
  told();
  working(false);
  say("The model is ready.");
}

// The address holds what was drawn last, so that it can be passed on.
function remembered() {
  const kept = new URLSearchParams(location.hash.slice(1));
  for (const name of ["seed", "steps", "guidance", "sampler", "negative"])
    if (kept.has(name)) $(name).value = kept.get(name);
  if (kept.has("wish") && spoken()) spoken().value = kept.get("wish");
}

function told() {
  $("steps-said").textContent = $("steps").value;
  $("guidance-said").textContent = Number($("guidance").value) === 1 ? "off" : $("guidance").value;
}

function asked() {
  const few = card.few_steps !== null;
  return {
    wish: spoken()?.value.trim() || null,
    negative: asks() === "text" ? $("negative").value.trim() || null : null,
    seed: $("seed").value.trim(),
    steps: few ? card.sample.steps : Number($("steps").value),
    guidance: few || asks() === "none" ? card.sample.guidance : Number($("guidance").value),
    sampler: few ? card.sample.sampler.kind : $("sampler").value,
  };
}

function draw() {
  if (busy || card === null || !$("form").reportValidity()) return;
  const wanted = asked();
  const kept = Object.entries(wanted).filter(([, value]) => value !== null);
  history.replaceState(null, "", `#${new URLSearchParams(kept)}`);
  working(true);
  say("Drawing …", { progress: 0 });
  worker.postMessage({ kind: "draw", asked: wanted });
}

function show({ pixels, width, height }, label) {
  const canvas = $("picture");
  Object.assign(canvas, { width, height });
  canvas.classList.toggle("sharp", Math.max(width, height) < BETWEEN);
  canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
  canvas.setAttribute("aria-label", label);
}

const caption = ({ wish, seed, steps, guidance, sampler }, seconds) =>
  [wish ? `“${wish}”` : null, `seed ${seed}`, `${steps} steps of ${sampler}`, asks() === "none" ? null : `guidance ${guidance}`,
    `${seconds.toFixed(1)} s`].filter(Boolean).join(" · ");

async function drawn({ asked: wanted, picture, seconds }) {
  const text = caption(wanted, seconds);
  show(picture, text);
  const file = await new Promise((resolve) => $("picture").toBlob(resolve, "image/png"));
  const one = { picture, text, name: `${card.title}-${wanted.seed}.png`, url: URL.createObjectURL(file), button: made("button") };
  one.button.type = "button";
  one.button.title = text;
  one.button.addEventListener("click", () => choose(one));
  one.button.append(Object.assign(made("img"), { alt: "", src: one.url, className: $("picture").className }));
  earlier.unshift(one);
  const item = made("li");
  item.append(one.button);
  $("earlier").prepend(item);
  for (const old of earlier.splice(KEPT)) {
    URL.revokeObjectURL(old.url);
    old.button.parentElement.remove();
  }
  choose(one);
  working(false);
  say(`Drawn in ${seconds.toFixed(1)} seconds.`);
}

function choose(one) {
  show(one.picture, one.text);
  $("caption").textContent = one.text;
  for (const each of earlier) {
    each.button.setAttribute("aria-pressed", String(each === one));
    each.button.setAttribute("aria-label", each.text);
  }
  Object.assign($("save"), { hidden: false, href: one.url, download: one.name });
}

const HEARD = {
  loading: ({ done, total }) =>
    say(`Loading the model: ${megabytes(done)} of ${megabytes(total)} MB`, { progress: done / total }),
  ready: (told) => ready(told.card),
  step({ step, total, picture }) {
    say(`Step ${step} of ${total}`, { progress: step / total });
    if (picture) show(picture, `Step ${step} of ${total}`);
  },
  drawn,
  stopped() {
    working(false);
    say("Stopped.");
  },
  wrong({ message }) {
    working(false);
    say(message, { wrong: true });
  },
};
worker.onmessage = ({ data }) => HEARD[data.kind](data);
worker.onerror = (event) => {
  event.preventDefault();
  say("This browser cannot run the model: it needs WebAssembly and modules in workers.", { wrong: true });
};

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  draw();
});
$("form").addEventListener("input", told);
$("stop").addEventListener("click", () => worker.postMessage({ kind: "stop" }));
$("dice").addEventListener("click", () => {
  $("seed").value = String(crypto.getRandomValues(new Uint32Array(1))[0]);
  draw();
});
say("Loading the model …", { progress: 0 });
worker.postMessage({ kind: "open" });
