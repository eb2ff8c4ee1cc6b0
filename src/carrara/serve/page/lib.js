// The library of views, bound: every other module takes it from here.
import { h, render } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export { render };
export { useCallback, useEffect, useErrorBoundary, useId, useLayoutEffect, useMemo, useReducer, useRef, useState } from "./vendor/hooks.js";
export const html = htm.bind(h);

export const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

/** Classes by condition: "a", and those whose value is true. */
export const classes = (own, chosen = {}) => [own, ...Object.keys(chosen).filter((name) => chosen[name])].join(" ");

/** The largest seed is what every part of the way can count to. */
export const randomSeed = () => Math.floor(Math.random() * 2 ** 31);
