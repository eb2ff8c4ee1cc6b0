// One picture, large: how it was made, how it came about, and what can be done with it; and several side by side.
import { html, useEffect, useRef, useState } from "./lib.js";
import { api } from "./api.js";
import { Icon, IconButton } from "./icons.js";
import { titleOf } from "./models.js";
import { Dialog } from "./parts.js";
import { bin, compare, current, editPicture, fileOf, inBin, recipeOf, reuse, reuseSeed, star } from "./pictures.js";
import { sharp } from "./stage.js";
import { update, useStudio } from "./state.js";
import { labelOf, t, verbLabel, when } from "./words.js";

export function Viewer({ pictures, first, close }) {
  useStudio();
  const [id, setId] = useState(first);
  const all = pictures.map(current).filter((one) => !inBin(one));
  const place = Math.max(0, all.findIndex((one) => one.id === id));
  const picture = all[place];
  const go = (by) => setId(all[(place + by + all.length) % all.length].id);
  useEffect(() => {
    if (!picture) close();
  }, [picture]);
  const pressed = useRef(null);
  useEffect(() => {
    const press = (event) => pressed.current?.(event); // a button that goes away takes the focus with it, not the keys
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
  if (!picture) return null;
  const remove = () => {
    if (all.length > 1) go(place === all.length - 1 ? -1 : 1);
    bin(picture);
  };
  const away = (act) => () => (close(), act(picture));
  pressed.current = (event) => {
    if (event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = { ArrowLeft: () => go(-1), ArrowRight: () => go(1), s: () => star(picture), c: () => compare(picture), e: away(editPicture), r: away(reuse), Delete: remove }[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  };
  return html`
    <${Dialog} class="viewer" label=${picture.prompt || picture.title} close=${close}>
      <${Looked} key=${picture.id} picture=${picture}>
        ${all.length > 1 && html`<div class="turn"><${IconButton} name="left" label=${t("previous")} onClick=${() => go(-1)} />
          <span>${place + 1} / ${all.length}</span><${IconButton} name="right" label=${t("next")} onClick=${() => go(1)} /></div>`}
      <//>
      <aside class="about">
        <h2>${picture.prompt || picture.title}</h2>
        <dl>
          <dt>${t("model")}</dt><dd>${titleOf(picture.model)}</dd>
          ${picture.verb && html`<dt>${t("edit")}</dt><dd>${verbLabel(picture.verb)}</dd>`}
          ${picture.adapters?.length > 0 && html`<dt>${labelOf("lora")}</dt><dd>${picture.adapters.join(", ")}</dd>`}
          <dt>${labelOf("seed")}</dt><dd><button type="button" class="link" title=${t("seed.reuse")} onClick=${away(reuseSeed)}>${picture.seed ?? "–"}</button></dd>
          <dt>${labelOf("size")}</dt><dd>${picture.width} × ${picture.height}</dd>
          <dt>${t("made")}</dt><dd>${when(picture.time)}</dd>
        </dl>
        <div class="actions">
          <button type="button" class="primary" onClick=${away(reuse)}><${Icon} name="back" />${t("reuse")}</button>
          <button type="button" onClick=${away(editPicture)}><${Icon} name="edit" />${t("edit.send")}</button>
          <a class="button" href=${fileOf(picture)} download><${Icon} name="download" />${t("download")}</a>
          <button type="button" aria-pressed=${Boolean(picture.starred)} onClick=${() => star(picture)}><${Icon} name="star" filled=${picture.starred} />${t(picture.starred ? "unstar" : "star")}</button>
          <button type="button" onClick=${() => compare(picture)}><${Icon} name="compare" />${t("compare.add")}</button>
          <button type="button" onClick=${remove}><${Icon} name="bin" />${t("bin")}</button>
        </div>
        ${(picture.files ?? []).map((file) => html`<a key=${file.url} class="link" href=${file.url} download>${file.name}</a>`)}
        <p class="facts keys">${t("viewer.keys")}</p>
      </aside>
    <//>`;
}

/** The picture, and a slider through the way from noise to it. */
function Looked({ picture, children }) {
  const [way, setWay] = useState(null);
  const [at, setAt] = useState(null);
  const [plays, setPlays] = useState(false);
  const last = way?.frames ? way.frames.length - 1 : 0;
  useEffect(() => {
    if (!plays) return undefined;
    const timer = setInterval(() => setAt((k) => ((k ?? last) >= last ? 0 : (k ?? 0) + 1)), 90);
    return () => clearInterval(timer);
  }, [plays, last]);
  const read = async () => {
    setWay({ reads: true });
    try {
      const found = await api.trajectory(picture.id);
      setWay(found);
      setAt(found.frames.length - 1);
    } catch (error) {
      setWay({ error: error.message });
    }
  };
  const src = way?.frames && at !== null && at < last ? way.frames[at] : picture.url;
  const time = way?.times?.[at ?? last];
  return html`
    <div class="looked">
      <div class="frame"><img src=${src} alt=${picture.prompt || picture.title} class=${sharp(picture)} width=${picture.width} height=${picture.height} /></div>
      <div class="under">
        ${way?.frames ? html`
          <div class="scrubber">
            <${IconButton} name=${plays ? "pause" : "play"} label=${t(plays ? "pause" : "play")} onClick=${() => setPlays(!plays)} />
            <input type="range" min="0" max=${last} step="1" value=${at ?? last} aria-label=${t("way")} aria-valuetext=${t("way.time", { t: time?.toFixed(2) })}
              onInput=${(event) => (setPlays(false), setAt(Number(event.target.value)))} />
            <output>t = ${time?.toFixed(2)}</output>
          </div>`
        : html`<button type="button" class="quiet" disabled=${way?.reads} onClick=${read}><${Icon} name="play" />${t(way?.reads ? "way.reads" : "way")}</button>`}
        ${way?.error && html`<p class="error" role="alert">${way.error}</p>`}
        ${children}
      </div>
    </div>`;
}

/** The pictures that were put side by side, and what differs in how they were made. */
export function Compared({ close }) {
  const { compared } = useStudio();
  const [recipes, setRecipes] = useState({});
  useEffect(() => {
    Promise.all(compared.map((one) => recipeOf(one).catch(() => ({ ask: {} })))).then((found) =>
      setRecipes(Object.fromEntries(compared.map((one, k) => [one.id, { ...found[k].options, ...found[k].ask, seed: one.seed }]))));
  }, [compared.map((one) => one.id).join()]);
  const said = (id, name) => JSON.stringify(recipes[id]?.[name]) ?? "";
  const names = [...new Set(Object.values(recipes).flatMap(Object.keys))];
  const differ = names.filter((name) => new Set(compared.map((one) => said(one.id, name))).size > 1);
  return html`
    <${Dialog} class="compared" label=${t("compare")} close=${close}>
      <h2>${t("compare")}</h2>
      <div class="side-by-side">
        ${compared.map((one) => html`
          <figure key=${one.id}>
            <img src=${one.url} alt=${one.prompt || one.title} class=${sharp(one)} width=${one.width} height=${one.height} />
            <figcaption>
              <strong>${one.prompt || one.title}</strong> <span class="facts">${titleOf(one.model)}</span>
              <dl>${differ.map((name) => html`<dt key=${name}>${labelOf(name)}</dt><dd>${said(one.id, name).replace(/["[\]]/g, "") || "–"}</dd>`)}</dl>
              <button type="button" class="link" onClick=${() => compare(one)}>${t("compare.remove")}</button>
            </figcaption>
          </figure>`)}
      </div>
    <//>`;
}

/** At the foot of the page while pictures are chosen to be compared. */
export function Tray({ open }) {
  const { compared } = useStudio();
  if (!compared.length) return null;
  return html`
    <div class="tray" role="region" aria-label=${t("compare")}>
      ${compared.map((one) => html`<button key=${one.id} type="button" class="tray-one" aria-label=${t("compare.remove")} title=${t("compare.remove")} onClick=${() => compare(one)}><img src=${one.thumb} alt="" /></button>`)}
      <button type="button" class="primary" disabled=${compared.length < 2} onClick=${open}>${t("compare.open", { n: compared.length })}</button>
      <${IconButton} name="close" label=${t("clear")} onClick=${() => update({ compared: [] })} />
    </div>`;
}
