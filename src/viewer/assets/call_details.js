// Details of a call: summary, driver, outcome, ElevenLabs' analysis, and the reconciliation of live turns and record.

import { el } from "./dom.js";
import { driver, nameOf } from "./drivers.js";
import { addressOf } from "./route.js";
import { duration, time } from "./time.js";
import { DRIVER_SOURCE, OUTCOME, STATUS, count, language, spaced } from "./labels.js";

/** @typedef {import("./api.js").Call} Call */

/** @param {Call} call */
export function callDetails(call) {
  return [summary(call), person(call), course(call), findings(call), record(call)].filter(Boolean);
}

/** @param {string} title @param {...import("./dom.js").Child} children */
function section(title, ...children) {
  return el("section", null, el("h2", null, title), ...children);
}

/** @param {[string, import("./dom.js").Child][]} rows rows without a value are omitted */
function rows(rows) {
  return el("dl", null, rows.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .flatMap(([name, value]) => [el("dt", null, name), el("dd", { dir: "auto" }, value)]));
}

/** @param {Call} call */
function summary(call) {
  if (!call.title && !call.summary) return null;
  return section("Summary", call.title && el("h3", { dir: "auto" }, call.title), call.summary && el("p", { class: "prose", dir: "auto" }, call.summary));
}

/** @param {Call} call */
function person(call) {
  const who = driver(call.driver_id);
  return section("Driver",
    call.driver_conflict && el("p", { class: "conflict" }, el("strong", null, "May be another driver. "), call.driver_conflict),
    rows([
      ["Name", call.driver_id === null ? "Not known yet" : el("a", { href: addressOf({ driver: call.driver_id, q: "", call: null, turn: null }), title: "Show this driver’s calls" }, el("bdi", null, nameOf(call)))],
      ["Fleet number", call.driver_id],
      ["Phone", who?.phone_number ?? call.external_number],
      ["Identified by", call.driver_source && (DRIVER_SOURCE[call.driver_source] ?? spaced(call.driver_source))],
    ]));
}

/** @param {Call} call */
function course(call) {
  return section("Call", rows([
    ["Status", STATUS[call.status]],
    ["Goal", call.outcome && OUTCOME[call.outcome]],
    ["Began", time(call.call_start_time, "seconds")],
    ["Ended", call.call_end_time && time(call.call_end_time, "seconds")],
    ["Length", call.duration_seconds !== null ? duration(call.duration_seconds) : null],
    ["Ended by", call.termination_reason === "inactivity" ? "inactivity" : call.termination_reason],
    ["Direction", call.direction],
    ["Language", call.main_language && language(call.main_language)],
    ["Agent", call.agent_id && el("span", { class: "mono" }, call.agent_id)],
    ["User", call.user_id],
    ["Batch", call.batch_id && el("span", { class: "mono" }, call.batch_id)],
    ["Cost", call.cost !== null ? count(call.cost, "credit") : null],
    ["Call id", el("span", { class: "mono" }, call.conversation_id)],
  ]));
}

/** Shows the results of ElevenLabs' analysis, in any form. @param {Call} call */
function findings(call) {
  const analysis = call.analysis;
  if (analysis === null || typeof analysis !== "object") return null;
  const criteria = entries(analysis.evaluation_criteria_results).map(([name, found]) => finding(name, OUTCOME[found?.result] ?? found?.result, found?.rationale));
  const data = entries(analysis.data_collection_results).map(([name, found]) => finding(name, found?.value, found?.rationale));
  if (criteria.length + data.length === 0) return null;
  return section("Analysis", el("div", null, criteria, data));
}

/** @param {unknown} object @returns {[string, any][]} */
function entries(object) {
  return object !== null && typeof object === "object" ? Object.entries(object) : [];
}

/** @param {string} name @param {unknown} value @param {unknown} why */
function finding(name, value, why) {
  const text = value === null || value === undefined ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value);
  return el("div", { class: "finding" },
    el("div", { class: "what" }, el("span", null, spaced(name)), el("bdi", null, text)),
    typeof why === "string" && why !== "" && el("p", { dir: "auto" }, why));
}

/** Shows the reconciliation of live turns and record. @param {Call} call */
function record(call) {
  if (call.matched === null) {
    return section("Record", el("p", { class: "soft" }, call.status === "in_progress"
      ? "ElevenLabs’ record arrives after the call." : "ElevenLabs’ record has not arrived; only live turns are shown."));
  }
  /** @type {[number | null, string][]} */
  const counts = [
    [call.matched, "live turns in the record"],
    [call.corrected, "with different text in the record"],
    [call.added, "turns only in the record"],
    [call.live_only, "live turns not in the record"],
    [call.repeated, "repeated live turns"],
  ];
  return section("Live turns and record", el("dl", { class: "counts" },
    counts.filter(([n]) => n !== null).flatMap(([n, what]) => [el("dt", null, n), el("dd", null, what)])));
}
