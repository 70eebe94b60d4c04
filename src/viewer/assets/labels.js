// Display names of the API's values.

import { el } from "./dom.js";

/** @param {number} n @param {string} one @param {string} [many] */
export function count(n, one, many = `${one}s`) {
  return `${n.toLocaleString()} ${n === 1 ? one : many}`;
}

/** Returns a chip with the status of a call. @param {import("./api.js").Call} call */
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
  user_id: "ElevenLabs’ user id",
  batch_recipient: "the batch of calls",
  phone_number: "the phone number",
};

/** @type {Record<string, string>} */
export const SPEAKER = { agent: "Agent", driver: "Driver" };

/** Returns the name of a language. @param {string} code */
export function language(code) {
  try {
    return new Intl.DisplayNames(undefined, { type: "language" }).of(code) ?? code;
  } catch {
    return code; // unknown to the browser
  }
}

/** Replaces underscores with spaces: `reefer_set_point_f` becomes `reefer set point f`. @param {string} name */
export function spaced(name) {
  return name.replaceAll("_", " ");
}
