// Parts of the form of a training: a step of it, and what is wrong with a part.
import { html } from "./lib.js";
import { known } from "./training.js";

export const Step = ({ n, title, children }) => html`
  <section class="step" aria-label=${title}>
    <h2><span class="nth" aria-hidden="true">${n}</span>${title}</h2>
    ${children}
  </section>`;

export const Wrong = ({ part }) => {
  const text = known().wrong[part];
  return text && html`<p class="error alone" role="alert">${text}</p>`;
};
