// Gallery: all that was made, newest first.
import { html, useEffect, useRef, useState } from "./lib.js";
import { api } from "./api.js";
import { Dialog } from "./parts.js";
import { Icon } from "./icons.js";
import { current, inBin, restore } from "./pictures.js";
import { Pictures } from "./stage.js";
import { notice, useStudio } from "./state.js";
import { t } from "./words.js";
import { Viewer } from "./viewer.js";

const PAGE = 60;

function useList(query, changed) {
  const [list, setList] = useState({ pictures: [], next: null, reads: true });
  const turn = useRef(0);
  const read = async (before) => {
    const mine = ++turn.current;
    setList((was) => ({ ...was, reads: true, error: null }));
    try {
      const { pictures, next } = await api.pictures({ ...query, limit: PAGE, ...(before ? { before } : {}) });
      if (mine === turn.current) setList((was) => ({ pictures: before ? [...was.pictures, ...pictures] : pictures, next, reads: false }));
    } catch (error) {
      if (mine === turn.current) setList((was) => ({ ...was, reads: false, error: error.message }));
    }
  };
  useEffect(() => {
    setList({ pictures: [], next: null, reads: true });
    const timer = setTimeout(read, query.search ? 200 : 0);
    return () => clearTimeout(timer);
  }, [JSON.stringify(query), changed]);
  return [list, () => list.next && !list.reads && read(list.next)];
}

export function Gallery() {
  const { models } = useStudio();
  const [show, setShow] = useState("all");
  const [search, setSearch] = useState("");
  const [model, setModel] = useState("");
  const [open, setOpen] = useState(null);
  const [emptying, setEmptying] = useState(false);
  const [emptied, setEmptied] = useState(0);
  const query = { ...(model && { model }), ...(search && { search }), ...(show === "starred" && { starred: true }), ...(show === "bin" && { bin: true }) };
  const [list, more] = useList(query, emptied);
  const shown = list.pictures.map(current).filter((one) => inBin(one) === (show === "bin") && (show !== "starred" || one.starred));
  return html`
    <section class="gallery" aria-label=${t("gallery")}>
      <div class="filters" role="search">
        <label class="search"><${Icon} name="search" /><input type="search" aria-label=${t("search")} placeholder=${t("search")} value=${search} onInput=${(event) => setSearch(event.target.value)} /></label>
        <div class="segments" role="radiogroup" aria-label=${t("show")}>
          ${["all", "starred", "bin"].map((one) => html`<label key=${one}><input type="radio" name="show" checked=${show === one} onChange=${() => setShow(one)} /><span>${t(`show.${one}`)}</span></label>`)}
        </div>
        <div class="select">
          <select aria-label=${t("model")} value=${model} onChange=${(event) => setModel(event.target.value)}>
            <option value="">${t("all.models")}</option>
            ${models.map((one) => html`<option key=${one.id} value=${one.id}>${one.title}</option>`)}
          </select>
          <${Icon} name="down" />
        </div>
        ${show === "bin" && shown.length > 0 && html`<button type="button" class="quiet" onClick=${() => setEmptying(true)}><${Icon} name="bin" />${t("bin.empty")}</button>`}
      </div>
      ${emptying && html`<${Emptying} model=${model} title=${models.find((one) => one.id === model)?.title} close=${() => setEmptying(false)} done=${() => (setEmptied(emptied + 1), setEmptying(false))} />`}
      ${list.error && html`<p class="error alone" role="alert">${list.error}</p>`}
      ${show === "bin" ? html`<${Binned} pictures=${shown} />` : html`<${Pictures} pictures=${shown} open=${setOpen} />`}
      ${!shown.length && !list.reads && html`<div class="empty"><${Icon} name="grid" /><p>${t(search ? "empty.search" : `empty.${show}`)}</p></div>`}
      <${End} key=${`${list.next}${list.reads}`} reached=${more} waits=${list.reads} next=${list.next} />
      ${open && html`<${Viewer} pictures=${shown} first=${open} close=${() => setOpen(null)} />`}
    </section>`;
}

/** Nothing is deleted for good without a question. */
function Emptying({ model, title, close, done }) {
  const empty = async () => {
    try {
      const { deleted } = await api.emptyBin(model);
      notice(t("bin.emptied", { n: deleted }));
      done();
    } catch (error) {
      notice(error.message, { kind: "error" });
      close();
    }
  };
  return html`
    <${Dialog} label=${t("bin.empty")} close=${close}>
      <h2>${t("bin.empty")}</h2>
      <p>${model ? t("bin.sure.model", { model: title }) : t("bin.sure")}</p>
      <div class="dialog-acts">
        <button type="button" class="quiet" onClick=${close}>${t("cancel")}</button>
        <button type="button" class="stop" onClick=${empty}><${Icon} name="bin" />${t("bin.delete")}</button>
      </div>
    <//>`;
}

const Binned = ({ pictures }) => html`
  <ul class="pictures">${pictures.map((one) => html`
    <li class="card" key=${one.id} data-picture=${one.id}>
      <div class="card-open"><img src=${one.thumb} alt=${one.prompt || one.title} loading="lazy" width=${one.width} height=${one.height} /></div>
      <button type="button" class="quiet" onClick=${() => restore(one)}><${Icon} name="back" />${t("restore")}</button>
    </li>`)}
  </ul>`;

/** The end of the list: when it comes into sight, there is more. */
function End({ reached, waits, next }) {
  const ref = useRef();
  useEffect(() => {
    const observer = new IntersectionObserver(([entry]) => entry.isIntersecting && reached(), { rootMargin: "600px" });
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, []);
  return html`<div class="end" ref=${ref}>${waits ? html`<p class="facts">${t("reads")}</p>` : next && html`<button type="button" class="quiet" onClick=${reached}>${t("more.pictures")}</button>`}</div>`;
}
