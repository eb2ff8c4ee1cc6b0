// The formulas, in MathML.
import { html } from "../lib.js";

const i = (x) => html`<mi>${x}</mi>`;
const n = (x) => html`<mn>${x}</mn>`;
const o = (x) => html`<mo stretchy="false">${x}</mo>`;
const sub = (a, b) => html`<msub>${a}<mrow>${b}</mrow></msub>`;
const sup = (a, b) => html`<msup>${a}${b}</msup>`;
const hat = (x) => html`<mover accent="true">${x}<mo>^</mo></mover>`;
const over = (a, b) => html`<mfrac><mrow>${a}</mrow><mrow>${b}</mrow></mfrac>`;
const word = (x) => html`<mtext>${x}</mtext>`;

const [a, s, e] = [i("α"), i("σ"), i("ε")];
const x = (when) => sub(i("x"), when);
const guess = html`<msub>${hat(i("x"))}<mn>0</mn></msub>`;
const eps = (when) => (when ? sub(hat(e), word(when)) : hat(e));

export const FORMULAS = {
  noise: {
    alt: "x_t = α_t x_0 + σ_t ε",
    view: () => [x(i("t")), o("="), sub(a, i("t")), x(n(0)), o("+"), sub(s, i("t")), e, o(","), html`<mspace width="1em" />`, e, o("∼"), i("N"), o("("), n(0), o(","), i("I"), o(")")],
  },
  schedules: {
    alt: "log SNR = ln(α² / σ²)",
    view: () => [word("log SNR"), o("("), i("t"), o(")"), o("="), i("ln"), html`<mspace width="0.2em" />`, over(html`<msubsup>${a}${i("t")}${n(2)}</msubsup>`, html`<msubsup>${s}${i("t")}${n(2)}</msubsup>`)],
  },
  ways: {
    alt: "x_s = k x_t + (α_s − k α_t) x̂_0 + η σ_s √(1 − r²) ε",
    view: () => [x(i("s")), o("="), i("k"), x(i("t")), o("+"), o("("), sub(a, i("s")), o("−"), i("k"), sub(a, i("t")), o(")"), guess, o("+"), i("η"), sub(s, i("s")), html`<msqrt>${n(1)}${o("−")}${sup(i("r"), n(2))}</msqrt>`, e],
  },
  roll: {
    alt: "x̂_0(x_t) = Σ softmax_k(−|x_t − α m_k|² / 2σ²) m_k",
    view: () => [guess, o("="), html`<munder>${o("∑")}${i("k")}</munder>`, sub(word("softmax"), i("k")), html`<mrow><mo>(</mo>${o("−")}${over([sup([html`<mrow>${o("|")}${x(i("t"))}${o("−")}${a}${sub(i("m"), i("k"))}${o("|")}</mrow>`], n(2))], [n(2), sup(s, n(2))])}<mo>)</mo></mrow>`, sub(i("m"), i("k"))],
  },
  guidance: {
    alt: "ε̂ = ε̂_null + w (ε̂_cond − ε̂_null)",
    view: () => [eps(), o("="), eps("null"), o("+"), i("w"), o("("), eps("cond"), o("−"), eps("null"), o(")")],
  },
};
