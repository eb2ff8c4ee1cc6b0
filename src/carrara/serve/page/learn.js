// The Learn tab: five exhibits, each with something to move. Python computes; what is here draws.
import { html } from "./lib.js";
import { Guidance } from "./learning/guidance.js";
import { Noise } from "./learning/noise.js";
import { Roll } from "./learning/roll.js";
import { Schedules } from "./learning/schedules.js";
import { Ways } from "./learning/ways.js";
import { useStudio } from "./state.js";
import { t } from "./words.js";

const EXHIBITS = { noise: Noise, schedules: Schedules, ways: Ways, roll: Roll, guidance: Guidance };

const go = (name) => (event) => {
  event.preventDefault();
  const exhibit = document.getElementById(name);
  exhibit.scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  exhibit.focus({ preventScroll: true });
};

export function Learn() {
  useStudio();
  return html`
    <div class="learn">
      <header>
        <p>${t("learn.lead")}</p>
        <nav aria-label=${t("learn")}>${Object.keys(EXHIBITS).map((name) => html`<a key=${name} href="#/learn" onClick=${go(name)}>${t(`learn.${name}`)}</a>`)}</nav>
      </header>
      ${Object.entries(EXHIBITS).map(([name, View]) => html`<${View} key=${name} />`)}
    </div>`;
}
