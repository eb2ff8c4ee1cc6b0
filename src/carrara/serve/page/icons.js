// Icons: lines on a grid of 24, drawn in the colour of the text.
import { html } from "./lib.js";

const LINES = {
  star: "M12 3.500l2.600 5.400 5.900.800-4.300 4.100 1 5.900-5.200-2.800-5.200 2.800 1-5.900-4.300-4.100 5.900-.800z",
  bin: "M4 7h16M9.500 7V4.500h5V7M6.500 7l.800 12.500h9.400L17.500 7M10 11v5M14 11v5",
  download: "M12 4v11M7 10.500l5 5 5-5M5 20h14",
  edit: "M5 19l1-4L16.500 4.500l3 3L9 18zM14 7l3 3",
  compare: "M4 5h7v14H4zM13 5h7v14h-7z",
  back: "M9 7L4 12l5 5M4 12h11a5 5 0 0 1 0 10h-2",
  seed: "M12 3v6M12 9c-4 0-7 3-7 6.500S8 21 12 21s7-2 7-5.500S16 9 12 9z",
  learn: "M12 6.500C9 4.500 6 4.500 3 5.500v13c3-1 6-1 9 1 3-2 6-2 9-1v-13c-3-1-6-1-9 1zM12 6.500v13",
  lock: "M6 11h12v9H6zM8.500 11V8a3.500 3.500 0 0 1 7 0v3",
  unlock: "M6 11h12v9H6zM8.500 11V8a3.500 3.500 0 0 1 6.800-1",
  dice: "M4 4h16v16H4zM8.500 8.500h.01M15.500 8.500h.01M12 12h.01M8.500 15.500h.01M15.500 15.500h.01",
  close: "M6 6l12 12M18 6L6 18",
  left: "M14.500 6l-6 6 6 6",
  right: "M9.500 6l6 6-6 6",
  down: "M6 9.500l6 6 6-6",
  play: "M8 5.500v13l10.500-6.500z",
  pause: "M8 5.500v13M16 5.500v13",
  stop: "M7 7h10v10H7z",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  brush: "M20 4c-5 2-8.500 6-10 9l1.500 1.500C15 13 18.500 9 20 4zM9 14c-3 0-3 3-5 4.500 2.500 1.500 7 1 7-2.500",
  eraser: "M4.500 15.500l9-9 6 6-7.500 7.500H8zM9 11l6 6M12 20h8",
  undo: "M8 5L4 9l4 4M4 9h10a5.500 5.500 0 0 1 0 11H9",
  redo: "M16 5l4 4-4 4M20 9H10a5.500 5.500 0 0 0 0 11h5",
  invert: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16",
  hand: "M12 3v18M3 12h18M12 3l-2.500 2.500M12 3l2.500 2.500M12 21l-2.500-2.500M12 21l2.500-2.500M3 12l2.500-2.500M3 12l2.500 2.500M21 12l-2.500-2.500M21 12l-2.500 2.500",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.500v2M12 19.500v2M2.500 12h2M19.500 12h2M5.300 5.300l1.400 1.400M17.300 17.300l1.400 1.400M18.700 5.300l-1.400 1.400M6.700 17.300l-1.400 1.400",
  moon: "M19.500 14.500A8 8 0 0 1 9.500 4.500a8 8 0 1 0 10 10z",
  auto: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16M12 8.500h6M12 12h8M12 15.500h6",
  search: "M10.500 4.500a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15 15l5 5",
  info: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 11v5M12 8h.01",
  file: "M6 3.500h8l4 4v13H6zM14 3.500v4h4M12 18v-6M9.500 14.500L12 12l2.500 2.500",
  spark: "M12 4l1.800 5.200L19 11l-5.200 1.800L12 18l-1.800-5.200L5 11l5.200-1.800zM18.500 16.500v4M16.500 18.500h4",
  train: "M4 4v16h16M7 6.500c1.500 7 5 9.500 12 9.500",
  folder: "M3.500 6h6l2 2.500h9v10.500h-17z",
  measure: "M4 19V5M4 19h16M8 15l3.500-4.500 3 2.500L20 6.500",
  grid: "M4 4h6.500v6.500H4zM13.500 4H20v6.500h-6.500zM4 13.500h6.500V20H4zM13.500 13.500H20V20h-6.500z",
};

export const Icon = ({ name, filled = false }) => html`
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false" fill=${filled ? "currentColor" : "none"}>
    <path d=${LINES[name]} stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" />
  </svg>`;

/** A button that is an icon; what it does is its name. */
export const IconButton = ({ name, label, filled = false, class: own = "", ...others }) => html`
  <button type="button" class=${`icon-button ${own}`} aria-label=${label} title=${label} ...${others}>
    <${Icon} name=${name} filled=${filled} />
  </button>`;
