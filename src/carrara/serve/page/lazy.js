// A tab whose modules and sheets are read when it is first opened.
import { html, useEffect, useState } from "./lib.js";
import { t } from "./words.js";

/** Puts a sheet into the head of the page, and waits until it is there. */
export const styled = (name) =>
  new Promise((done, failed) => {
    const href = new URL(name, import.meta.url).href;
    if ([...document.styleSheets].some((sheet) => sheet.href === href)) return done();
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href, onload: done, onerror: failed });
    document.head.append(link);
  });

/** The view that ``load`` promises, with its sheets. */
export function lazily(load, sheets = []) {
  let View = null;
  return function Lazy() {
    const [failed, setFailed] = useState(false);
    const [, shown] = useState(0);
    const read = async () => {
      setFailed(false);
      try {
        [View] = await Promise.all([load(), ...sheets.map(styled)]);
        shown(1);
      } catch (error) {
        console.error(error);
        setFailed(true);
      }
    };
    useEffect(() => void (View || read()), []);
    if (View) return html`<${View} />`;
    if (!failed) return html`<div aria-busy="true"></div>`;
    return html`<div class="empty"><p class="error alone" role="alert">${t("error.offline")}</p><button type="button" onClick=${read}>${t("again")}</button></div>`;
  };
}
