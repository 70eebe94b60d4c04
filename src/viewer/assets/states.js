// What is shown in place of something: that it is coming, that there is none, that it failed. Each says what to do next.

import { Failure } from "./api.js";
import { el } from "./dom.js";

/** Rows that stand for calls that are on their way. @param {number} rows */
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
 * @param {...Node} buttons
 */
export function nothing(title, text, ...buttons) {
  return el("div", { class: "state" }, el("h2", null, title), el("p", null, text), el("div", { class: "buttons" }, buttons));
}

/**
 * What went wrong, in words, and a way on.
 * @param {unknown} error
 * @param {() => void} again
 */
export function failed(error, again) {
  const { title, text } = explain(error);
  const id = error instanceof Failure ? error.requestId : null;
  return el("div", { class: "state", role: "alert" },
    el("h2", null, title),
    el("p", null, text),
    id && el("p", null, "For whoever looks into the log: request ", el("code", null, id)),
    el("div", { class: "buttons" }, el("button", { type: "button", onclick: again }, "Try again")));
}

/** @param {unknown} error */
export function explain(error) {
  if (!(error instanceof Failure)) return { title: "This page failed", text: `It is a defect of the page: ${error}. Loading it again may help.` };
  const details = error.details ? ` (${error.details})` : "";
  switch (error.status) {
    case 0:
      return { title: "The service cannot be reached", text: "It may be restarting, or the network is away. This page goes on by itself once it is back." };
    case 400:
      return { title: "This cannot be asked", text: `${error.details ?? error.message}.` };
    case 401:
    case 403:
      return { title: "You may not read this", text: `${error.details ?? error.message}.` };
    case 404:
      return { title: "There is no such thing", text: error.details ?? error.message };
    case 503:
      return { title: "The service is busy", text: `${error.message}${details}. Try again in a moment.` };
    default:
      return { title: `The service failed (${error.status})`, text: `${error.message}${details}. If it stays so, look into the service’s log.` };
  }
}
