// Edit: a verb, its pictures and its options, which the server says; nothing here knows what a verb does.
import { html, useState } from "./lib.js";
import { api, blobOf } from "./api.js";
import { askOf, nextSeed } from "./asking.js";
import { Before, Strip } from "./divider.js";
import { OptionFields } from "./fields.js";
import { Frame } from "./frame.js";
import { Settings, Start, startsBy } from "./generate.js";
import { Icon, IconButton } from "./icons.js";
import { refused, start } from "./jobs.js";
import { MaskEditor } from "./masker.js";
import { maskBlob } from "./masks.js";
import { chosen, strideOf } from "./models.js";
import { FileButton, Mistake, ModelPicker } from "./parts.js";
import { editFile, recallFile } from "./pictures.js";
import { Stage, sharp } from "./stage.js";
import { forget, state, update, useStudio } from "./state.js";
import { t, verbDoc, verbLabel } from "./words.js";

const FRAMED = "margins"; // the option that the frame is dragged for

const verbOf = (model) => model.verbs.find((verb) => verb.name === state.verb) ?? model.verbs[0];
/** What the form has of a verb: the canvas of a mask has the feather beside its brush. */
const formOf = (verb, source) => verb.options.filter((option) => !(verb.mask && source && option.name === "feather"));
const has = (verb, name) => verb.options.some((option) => option.name === name);

function changeEdit(verb, name, value) {
  const options = { ...state.edits[verb.name], [name]: value };
  if (value === undefined || value === null || value === "") delete options[name];
  forget(name);
  update({ edits: { ...state.edits, [verb.name]: options } });
}

/** The pictures that this verb takes of those that are there. */
const taken = (verb) => (verb.images === 0 ? [] : verb.images === "many" ? state.sources : state.sources.slice(0, 1));

async function edit() {
  const model = chosen();
  if (!model?.verbs.length) return;
  const verb = verbOf(model);
  const own = verb.options.map((option) => option.name);
  const leave = [...own, ...verb.leaves];
  const said = Object.entries(state.edits[verb.name] ?? {}).filter(([name]) => own.includes(name));
  if (!leave.includes("seed")) nextSeed(model);
  const request = { model: model.id, verb: verb.name, ask: askOf(model, { leave }), options: Object.fromEntries(said) };
  const sources = taken(verb);
  if (verb.images === 1 && !sources.length) return refused({ message: t("edit.none"), param: "images" });
  try {
    request.images = await Promise.all(sources.map(async (one) => (await api.upload(await blobOf(one.src), one.name)).id));
    if (verb.mask && sources[0] && state.strokes.length) request.mask = (await api.upload(await maskBlob(sources[0], state.strokes), "mask.png")).id;
  } catch (error) {
    return refused(Object.assign(error, { param: error.param ?? "images" }));
  }
  const [{ src, shown = src, key, width, height } = {}] = sources;
  return start(request, sources.length === 1 ? { src: shown, key, width, height } : null);
}

export function Edit() {
  const { jobs, sources, edits } = useStudio();
  const model = chosen();
  if (!model) return html`<div class="generate" aria-busy="true"></div>`;
  if (!model.verbs.length) {
    return html`<div class="workbench"><form class="panel"><div class="panel-scroll"><${ModelPicker} /></div></form>
      <section class="stage"><div class="empty"><${Icon} name="edit" /><p>${t("edit.no.verbs")}</p></div></section></div>`;
  }
  const verb = verbOf(model);
  const values = edits[verb.name] ?? {};
  const change = (name, value) => changeEdit(verb, name, value);
  const own = verb.options.map((option) => option.name);
  const source = taken(verb)[0];
  return html`
    <div class="workbench edit">
      <form class="panel" aria-label=${t("settings")} onSubmit=${(event) => event.preventDefault()} onKeyDown=${startsBy(edit)}>
        <div class="panel-scroll">
          <${ModelPicker} />
          <${Verbs} model=${model} verb=${verb} />
          ${verb.images !== 0 && html`<${Sources} verb=${verb} sources=${sources} />`}
          <${OptionFields} key=${verb.name} options=${formOf(verb, source)} verb=${verb.name} values=${values} change=${change} step=${strideOf(model)} dimensions=${model.size.length} />
          <div class="rule"></div>
          <${Settings} model=${model} leave=${[...own, ...verb.leaves]} usual=${verb.usual} />
          <${Mistake} shown=${["prompts", "images", ...own, ...model.options.map((option) => option.name)]} />
        </div>
        <${Start} go=${edit} label=${verbLabel(verb.name)} />
      </form>
      <div class="desk">
        ${source && verb.mask && html`<${MaskEditor} key=${source.src} source=${source} feather=${has(verb, "feather") ? values.feather : null} setFeather=${(value) => change("feather", value)} />`}
        ${source && has(verb, FRAMED) && html`<${Frame} key=${source.src} source=${source} step=${strideOf(model)} value=${values[FRAMED]} change=${(value) => change(FRAMED, value)} />`}
        <${Stage} jobs=${jobs.filter((job) => job.request?.verb)} empty=${t("empty.edit")} shown=${shownOf} />
      </div>
    </div>`;
}

/** Above the results of an edit: how it was before, or the way as a film. */
function shownOf(job, pictures) {
  if (job.request.verb === "interpolate") return pictures.length > 1 && html`<${Strip} pictures=${pictures} />`;
  const before = state.befores[job.id];
  return before && pictures.length > 0 && html`<${Before} before=${before} pictures=${pictures} />`;
}

function Verbs({ model, verb }) {
  return html`
    <div class="field wide">
      <div class="field-head"><label for="verb">${t("verb")}</label></div>
      <div class="select">
        <select id="verb" value=${verb.name} onChange=${(event) => update({ verb: event.target.value, errors: {} })}>
          ${model.verbs.map((one) => html`<option key=${one.name} value=${one.name} selected=${one.name === verb.name}>${verbLabel(one.name)}</option>`)}
        </select>
        <${Icon} name="down" />
      </div>
      <p class="facts">${verbDoc(verb)}</p>
    </div>`;
}

function Sources({ verb, sources }) {
  const { errors } = useStudio();
  const many = verb.images === "many";
  const shown = many ? sources : sources.slice(0, 1);
  const [reads, setReads] = useState(false);
  const take = async (files) => {
    setReads(true);
    for (const file of files) await editFile(file, many);
    setReads(false);
  };
  const drop = (one) => update({ sources: sources.filter((other) => other !== one), strokes: [] });
  return html`
    <div class=${`field wide ${errors.images ? "wrong" : ""}`} data-field="images" role="group" aria-label=${t(many ? "pictures" : "picture")}>
      <div class="field-head"><span class="label">${t(many ? "pictures" : "picture")}</span></div>
      <div class="sources">
        ${shown.map((one) => html`
          <div class="source" key=${one.src}>
            <img src=${one.shown ?? one.src} alt=${one.name} class=${sharp(one)} />
            <${IconButton} name="close" label=${t("remove", { name: one.name })} onClick=${() => drop(one)} />
          </div>`)}
        <${FileButton} class="well" icon="plus" label=${t("picture.choose")} accept="image/*,audio/*,.mid,.midi,.npy" multiple=${many} take=${take}>
          <span>${t(reads ? "reads" : shown.length ? (many ? "picture.another" : "picture.change") : "picture.drop")}</span>
        <//>
      </div>
      ${shown[0] && html`<p class="facts">${shown[0].name} · ${shown[0].width} × ${shown[0].height}</p>`}
      ${errors.images && html`<p class="error" role="alert">${errors.images}</p>`}
      <${FileButton} class="link" label=${t("recall.file")} accept="image/png" take=${([file]) => file && recallFile(file)} />
    </div>`;
}
