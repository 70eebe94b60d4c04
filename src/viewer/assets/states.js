// Views for loading, empty and failed states. Each tells the reader what to do next.

import { Failure, read } from "./api.js";
import { el } from "./dom.js";

/** Returns placeholder rows for calls that are being loaded. @param {number} rows */
export function waitingRows(rows) {
  const row = () => el("li", { class: "skeleton" }, el("i"), el("i"));
  return el("ul", { "aria-label": "Loading", "aria-busy": "true" }, Array.from({ length: rows }, row));
}

/** @param {string} what */
export function waiting(what) {
  return el("div", { class: "state", role: "status" }, el("span", { class: "spinner" }), el("p", null, what));
}

/**
 * @param {string} title
 * @param {string} text
 * @param {...import("./dom.js").Leaf} buttons
 */
export function nothing(title, text, ...buttons) {
  return el("div", { class: "state" }, el("h2", null, title), el("p", null, text), el("div", { class: "buttons" }, buttons));
}

/** Returns true if the service holds no call. @param {AbortSignal} signal */
export async function holdsNoCalls(signal) {
  const page = await read("/calls", { limit: 1 }, signal);
  return page.data.length === 0;
}

/**
  * Shows an error with a button for a retry.
 * @param {unknown} error
 * @param {() => void} again
 */
export function failed(error, again) {
  const { title, text } = explain(error);
  const id = error instanceof Failure ? error.requestId : null;
  return el("div", { class: "state", role: "alert" },
    el("h2", null, title),
    el("p", null, text),
    id && el("p", null, "Request id for the service’s log: ", el("code", null, id)),
    el("div", { class: "buttons" }, el("button", { type: "button", onclick: again }, "Try again")));
}

/** @param {unknown} error */
export function explain(error) {
  if (!(error instanceof Failure)) return { title: "This page failed", text: `The page has a bug: ${error}. Reloading it may help.` };
  const details = error.details ? ` (${error.details})` : "";
  switch (error.status) {
    case 0:
      return { title: "The service cannot be reached", text: "It may be restarting, or the network is down. The page reconnects automatically." };
    case 400:
      return { title: "Invalid request", text: `${error.details ?? error.message}.` };
    case 401:
    case 403:
      return { title: "No access", text: `${error.details ?? error.message}.` };
    case 404:
      return { title: "Not found", text: error.details ?? error.message };
    case 503:
      return { title: "The service is busy", text: `${error.message}${details}. Try again in a moment.` };
    default:
      return { title: `The service failed (${error.status})`, text: `${error.message}${details}. If this persists, check the service’s log.` };
  }
}
