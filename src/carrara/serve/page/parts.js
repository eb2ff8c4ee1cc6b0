// Parts that several views use: dialogs, notices, the model picker, a well for files.
import { html, useEffect, useRef, useState } from "./lib.js";
import { dismiss, useStudio } from "./state.js";
import { Icon, IconButton } from "./icons.js";
import { choose } from "./models.js";
import { number, t } from "./words.js";

/** A dialog above the page; Escape closes it, and the focus goes back to where it was. */
export function Dialog({ label, close, class: own = "", children, ...others }) {
  const ref = useRef();
  useEffect(() => {
    const dialog = ref.current;
    const before = document.activeElement;
    dialog.showModal();
    return () => {
      if (dialog.open) dialog.close();
      before?.focus?.();
    };
  }, []);
  return html`
    <dialog ref=${ref} class=${own} aria-label=${label} onCancel=${(event) => (event.preventDefault(), close())}
      onClick=${(event) => event.target === ref.current && close()} ...${others}>
      <div class="dialog-body">
        <${IconButton} class="dialog-close" name="close" label=${t("close")} onClick=${close} />
        ${children}
      </div>
    </dialog>`;
}

export function Notices() {
  const { notices } = useStudio();
  return html`
    <div class="notices" role="status" aria-live="polite">
      ${notices.map(({ id, text, kind, action, act }) => html`
        <div key=${id} class=${`notice ${kind}`}>
          <span>${text}</span>
          ${action && html`<button type="button" class="link" onClick=${() => (act(), dismiss(id))}>${action}</button>`}
          <${IconButton} name="close" label=${t("close")} onClick=${() => dismiss(id)} />
        </div>`)}
    </div>`;
}

export function ModelPicker() {
  const { models, model, details } = useStudio();
  const about = details[model];
  return html`
    <div class="field wide">
      <div class="field-head"><label for="model">${t("model")}</label></div>
      <div class="select">
        <select id="model" value=${model ?? ""} onChange=${(event) => choose(event.target.value)}>
          ${models.map((one) => html`<option key=${one.id} value=${one.id} selected=${one.id === model}>${one.title}</option>`)}
        </select>
        <${Icon} name="down" />
      </div>
      ${about && html`<p class="facts">${t(`medium.${about.medium}`)} · ${about.size.join(" × ")} · ${t("parameters", { n: number(about.parameters, 1) })}</p>`}
    </div>`;
}

/** A button that takes files: chosen, or dropped on it. */
export function FileButton({ label, accept = "image/*", multiple = false, take, class: own = "", icon = "file", children }) {
  const input = useRef();
  const [over, setOver] = useState(false);
  const drop = (event) => {
    event.preventDefault();
    event.stopPropagation();
    setOver(false);
    document.dispatchEvent(new Event("carrara:dropped"));
    const files = [...event.dataTransfer.files];
    if (files.length) take(multiple ? files : files.slice(0, 1));
  };
  return html`
    <button type="button" class=${`${own} ${over ? "over" : ""}`} onClick=${() => input.current.click()}
      onDragOver=${(event) => (event.preventDefault(), setOver(true))} onDragLeave=${() => setOver(false)} onDrop=${drop}>
      <${Icon} name=${icon} />${children ?? label}
    </button>
    <input ref=${input} type="file" hidden aria-label=${label} accept=${accept} multiple=${multiple}
      onChange=${(event) => (take([...event.target.files]), (event.target.value = ""))} />`;
}

/** What went wrong and belongs to no field that is shown. */
export function Mistake({ shown = [] }) {
  const { errors } = useStudio();
  const others = Object.entries(errors).filter(([name]) => !shown.includes(name));
  return others.map(([name, text]) => html`<p key=${name} class="error alone" role="alert">${text}</p>`);
}
