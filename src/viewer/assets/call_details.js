// Details of a call: summary, driver, outcome, ElevenLabs' analysis, and the reconciliation of live turns and record.

import { el } from "./dom.js";
import { driver, nameOf, shortId } from "./drivers.js";
import { mayReadLog } from "./rights.js";
import { UNFILTERED, addressOf } from "./route.js";
import { duration, time } from "./time.js";
import { ANSWERED_BY, ANSWERED_BY_SOURCE, CHANNEL, DIRECTION, DRIVER_SOURCE, END_REASON, OUTCOME, RESULT, STATUS, count, language, neverBegan, spaced } from "./labels.js";

/** @typedef {import("./api.js").Call} Call */

/** @param {Call} call */
export function callDetails(call) {
  return [summary(call), person(call), subAgents(call), course(call), findings(call), record(call)].filter(Boolean);
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
      ["Name", call.driver_id === null ? "Not known yet" : el("a", { href: addressOf({ ...UNFILTERED, driver: call.driver_id }), title: "Show this driver’s calls" }, el("bdi", null, nameOf(call)))],
      ["Fleet number", call.driver_id],
      ["Phone", who?.phone_number ?? call.external_number],
      ["Identified by", call.driver_source && (DRIVER_SOURCE[call.driver_source] ?? spaced(call.driver_source))],
    ]));
}

/** @param {Call} call */
function course(call) {
  return section("Call", rows([
    ["Status", STATUS[call.status]],
    ["Answered by", call.answered_by && [ANSWERED_BY[call.answered_by], call.answered_by_source && ` (${ANSWERED_BY_SOURCE[call.answered_by_source] ?? spaced(call.answered_by_source)})`]],
    ["Disagreeing", call.answered_by_conflict],
    ["Goal", call.outcome && OUTCOME[call.outcome]],
    ["Began", time(call.call_start_time, "seconds")],
    ["Ended", call.call_end_time && time(call.call_end_time, "seconds")],
    ["Length", call.duration_seconds !== null && !neverBegan(call) ? duration(call.duration_seconds) : null],
    ["Waited", call.queue_wait_seconds ? `${duration(call.queue_wait_seconds)} in the queue` : null],
    ["How it ended", call.end_reason === "other" && call.transferred ? "Transferred" : call.end_reason ? END_REASON[call.end_reason] ?? spaced(call.end_reason) : null],
    ["ElevenLabs’ reason", call.termination_reason],
    ["Direction", call.direction && DIRECTION[call.direction]],
    ["Channel", call.channel && CHANNEL[call.channel]],
    ["Language", call.main_language && language(call.main_language)],
    ["Sentiment", call.sentiment && spaced(call.sentiment)],
    ["Agent", call.agent_name ?? (call.agent_id && el("span", { class: "mono" }, call.agent_id))],
    ["Agent’s number", call.agent_number],
    ["Environment", call.environment],
    ["Campaign", call.campaign],
    ["Tags", call.tags && call.tags.length > 0 ? call.tags.join(", ") : null],
    ["User", call.user_id],
    ["Batch", call.batch_id && el("span", { class: "mono" }, call.batch_id)],
    ["Cost", cost(call)],
    ["Call id", el("span", { class: "mono" }, call.conversation_id)],
    ["Access log", mayReadLog() ? el("a", { href: addressOf({ ...UNFILTERED, view: "accesses", call: call.conversation_id }) }, "Who read this call") : null],
  ]));
}

/** @param {Call} call */
function cost(call) {
  const dollars = call.cost_usd?.toLocaleString(undefined, { style: "currency", currency: "USD", maximumFractionDigits: 3 });
  return [call.cost !== null && count(call.cost, "credit"), dollars].filter(Boolean).join(", ");
}

/** Shows the conversations of sub-agents, and of which conversation this one is a part. @param {Call} call */
function subAgents(call) {
  const children = call.child_conversations ?? [];
  const link = (/** @type {string} */ id, /** @type {string} */ name) => el("a", { href: addressOf({ call: id, turn: null }) }, el("bdi", null, name));
  if (call.parent_conversation_id) {
    return section("Sub-agent", el("p", null, "A sub-agent held this conversation for ", link(call.parent_conversation_id, `call ${shortId(call.parent_conversation_id)}`), "."));
  }
  if (children.length === 0) return null;
  return section("Sub-agents’ conversations", el("ul", { class: "children" }, children.map((child) => el("li", null,
    link(child.conversation_id, child.title ?? child.agent_name ?? `Conversation ${shortId(child.conversation_id)}`),
    el("span", { class: "soft" }, [child.title && child.agent_name, child.duration_seconds !== null && duration(child.duration_seconds), count(child.turn_count, "turn")].filter(Boolean).join(" · "))))));
}

/** Shows the results of ElevenLabs' analysis, in any form. @param {Call} call */
function findings(call) {
  const analysis = call.analysis;
  if (analysis === null || typeof analysis !== "object") return null;
  const criteria = entries(analysis.evaluation_criteria_results).map(([name, found]) => finding(name, RESULT[found?.result] ?? found?.result, found?.rationale));
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
    const hasRecord = call.record_complete !== null || call.cost !== null || call.answered_by_source === "call_result";
    const text = hasRecord ? "ElevenLabs’ record has no turns."
      : call.status === "in_progress" ? "ElevenLabs’ record arrives after the call."
      : call.answered_by_source === "initiation_failure" ? "ElevenLabs reported that the call could not be established, so there is no record."
        : call.turn_count === 0 ? "ElevenLabs’ record has not arrived." : "ElevenLabs’ record has not arrived; only live turns are shown.";
    return section("Record", el("p", { class: "soft" }, text));
  }
  /** @type {[number | null, string][]} */
  const counts = [
    [call.matched, "live turns in the record"],
    [call.corrected, "with different text in the record"],
    [call.added, "turns only in the record"],
    [call.live_only, "live turns not in the record"],
    [call.repeated, "repeated live turns"],
  ];
  return section("Live turns and record", call.record_complete === false && el("p", { class: "conflict" },
    "The record has fewer turns than ElevenLabs counted: it is an excerpt, or was cut off."), el("dl", { class: "counts" },
    counts.filter(([n]) => n !== null).flatMap(([n, what]) => [el("dt", null, n), el("dd", null, what)])));
}
