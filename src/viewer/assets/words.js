// What the API's words are called on the page.

import { el } from "./dom.js";

/** @param {number} n @param {string} one @param {string} [many] */
export function count(n, one, many = `${one}s`) {
  return `${n.toLocaleString()} ${n === 1 ? one : many}`;
}

/** A call's status as a mark. @param {import("./api.js").Call} call */
export function statusChip(call) {
  if (call.status === "in_progress") return el("span", { class: "chip live" }, el("span", { class: "dot" }), "Live");
  if (call.status === "failed") return el("span", { class: "chip bad" }, "Failed");
  if (call.outcome === "failure") return el("span", { class: "chip warn" }, "Goal not met");
  return null;
}

/** @type {Record<string, string>} */
export const STATUS = { in_progress: "Live", completed: "Completed", failed: "Failed" };

/** @type {Record<string, string>} */
export const OUTCOME = { success: "Goal met", failure: "Goal not met", unknown: "Not known" };

/** @type {Record<string, string>} */
export const DRIVER_SOURCE = {
  dispatch: "the call’s dispatch",
  dynamic_variable: "the call’s variable driver_id",
  user_id: "the platform’s user id",
  batch_recipient: "the batch of calls",
  phone_number: "the telephone number",
};

/** @type {Record<string, string>} */
export const SPEAKER = { agent: "Agent", driver: "Driver" };

/** A language's name. @param {string} code */
export function language(code) {
  try {
    return new Intl.DisplayNames(undefined, { type: "language" }).of(code) ?? code;
  } catch {
    return code; // not a code that the browser knows
  }
}

/** `reefer_set_point_f` as `reefer set point f` @param {string} name */
export function spaced(name) {
  return name.replaceAll("_", " ");
}
