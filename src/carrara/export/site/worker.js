// Draws beside the page, so that the page never waits.

import * as ort from "./onnxruntime/ort.wasm.min.mjs";
import { Model } from "./model.js";

const HERE = new URL(".", import.meta.url);
const SHOWN_EVERY = 300; // milliseconds
ort.env.wasm.wasmPaths = {
  mjs: new URL("onnxruntime/ort-wasm-simd-threaded.mjs", HERE).href,
  wasm: new URL("onnxruntime/ort-wasm-simd-threaded.wasm", HERE).href,
};
ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 4) : 1;

let model = null, stopped = false;
const breath = () => new Promise((resolve) => setTimeout(resolve)); // lets a message in

async function draw(asked) {
  stopped = false;
  const began = performance.now(), total = asked.steps;
  let last = null, step = 0, shown = began;
  for await (const [x, x0] of model.states(asked)) {
    last = x;
    step += 1;
    const late = performance.now() - shown > SHOWN_EVERY && step < total;
    postMessage({ kind: "step", step, total, picture: late ? await model.picture(x0) : null });
    if (late) shown = performance.now();
    await breath();
    if (stopped) return postMessage({ kind: "stopped" });
  }
  postMessage({ kind: "drawn", asked, picture: await model.picture(last), seconds: (performance.now() - began) / 1000 });
}

onmessage = async ({ data: { kind, asked } }) => {
  try {
    if (kind === "open") {
      let told = 0;
      model = await Model.open(HERE, ort, (done, total) => {
        if (done - told < 1e6 && done < total) return;
        told = done;
        postMessage({ kind: "loading", done, total });
      });
      postMessage({ kind: "ready", card: model.card });
    } else if (kind === "stop") stopped = true;
    else await draw(asked);
  } catch (error) {
    postMessage({ kind: "wrong", message: String(error.message ?? error).slice(0, 300) });
  }
};
