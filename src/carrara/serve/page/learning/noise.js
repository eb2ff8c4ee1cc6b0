// A picture that becomes noise, and what a model believes to be behind it.
import { html, useEffect, useState } from "../lib.js";
import { api } from "../api.js";
import { FileButton } from "../parts.js";
import { fitting } from "../pictures.js";
import { state, update, useStudio } from "../state.js";
import { t } from "../words.js";
import { decibels, Exhibit, Pick, Range, SchedulePick, useAnswer } from "./parts.js";

/** The models that may answer: those that draw pictures. */
export const drawing = (models) => models.filter((one) => one.medium === "pictures" && one.kind === "diffusion");

/** What the picture of the lesson adds to a question. */
export const pictured = () => (state.lesson ? { picture: state.lesson } : {});

export function Noise() {
  const { lesson, models } = useStudio();
  const [schedule, setSchedule] = useState("cosine");
  const [k, setK] = useState(12);
  const [model, setModel] = useState("");
  const able = drawing(models);
  const chosen = able.find((one) => one.id === model) ?? able[0];
  const [made, error] = useAnswer("noising", { schedule, ...pictured() });
  const time = made?.times[k] ?? 0;
  const [guess, refused, waits] = useAnswer("guess", made && chosen ? { model: chosen.id, t: time, schedule, ...pictured() } : null, 350);
  const controls = () => html`
    <${Pictures} chosen=${lesson} />
    <${SchedulePick} value=${schedule} change=${setSchedule} />
    ${able.length > 1 && html`<${Pick} label=${t("model")} value=${chosen.id} change=${setModel} options=${able.map((one) => [one.id, one.title])} />`}`;
  return html`
    <${Exhibit} name="noise" controls=${controls} error=${error}>${() => made && html`
      <div class="pair">
        <figure><img class="sharp" src=${made.frames[k]} alt=${t("learn.noised", { t: time })} /><figcaption>${t("learn.state")}</figcaption></figure>
        ${chosen && html`<figure class=${waits ? "stale" : ""}>
          ${guess && !refused ? html`<img class="sharp" src=${guess.estimate} alt=${t("learn.guess")} />` : html`<div class="blank">${refused ?? "…"}</div>`}
          <figcaption>${t("learn.guess")}</figcaption></figure>`}
      </div>
      <${Range} label=${t("learn.time")} said=${time.toFixed(2)} min="0" max=${made.times.length - 1} value=${k} change=${setK} />
      <${Shares} alpha=${made.alpha[k]} sigma=${made.sigma[k]} logsnr=${made.logsnr[k]} />
      ${chosen ? guess?.latent && html`<p class="facts">${t("learn.latent")}</p>` : html`<p class="facts">${t("learn.alone")}</p>`}`}
    <//>`;
}

const Shares = ({ alpha, sigma, logsnr }) => html`
  <dl class="shares">
    <div><dt>α</dt><dd>${alpha.toFixed(3)}</dd></div>
    <div><dt>σ</dt><dd>${sigma.toFixed(3)}</dd></div>
    <div><dt>SNR</dt><dd>${logsnr === null ? (sigma < alpha ? "∞" : "0") : decibels(logsnr)}</dd></div>
  </dl>`;

/** One's own picture, one of the gallery, or a digit. */
function Pictures({ chosen }) {
  const [few, setFew] = useState([]);
  const [error, setError] = useState(null);
  useEffect(() => {
    api.pictures({ limit: 4 }).then(({ pictures }) => {
      const seen = pictures.filter((one) => one.width && !one.files.length);
      setFew(seen);
      if (state.lesson === undefined && seen.length) update({ lesson: seen[0].id });
    }, () => {});
  }, []);
  const take = async ([file]) => {
    try {
      const given = await fitting(file);
      const { id } = await api.upload(given, given.name);
      setError(null);
      update({ lesson: id });
    } catch (wrong) {
      setError(wrong.message);
    }
  };
  return html`
    <div class="chosen takes">
      <${FileButton} label=${t("learn.picture")} take=${take} />
      <button type="button" class="thumb" aria-pressed=${!chosen} aria-label=${t("learn.digit")} onClick=${() => update({ lesson: "" })}>7</button>
      ${few.map(({ id, thumb, title }) => html`<button key=${id} type="button" class="thumb" aria-pressed=${chosen === id} aria-label=${title || id} onClick=${() => update({ lesson: id })}><img src=${thumb} alt="" /></button>`)}
    </div>
    ${error && html`<p class="error" role="alert">${error}</p>`}`;
}
