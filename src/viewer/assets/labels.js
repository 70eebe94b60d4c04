// Display names of the API's values.

import { el } from "./dom.js";

/** @param {number} n @param {string} one @param {string} [many] */
export function count(n, one, many = `${one}s`) {
  return `${n.toLocaleString()} ${n === 1 ? one : many}`;
}

/** @type {Record<string, string>} */
export const STATUS = { in_progress: "Live", completed: "Completed", failed: "Failed" };

/** @type {Record<string, string>} */
export const RESULT = { success: "Met", failure: "Not met", unknown: "Not known" };

/** @type {Record<string, string>} */
export const OUTCOME = { success: "Goal met", failure: "Goal not met", unknown: "Not known" };

/** @type {Record<string, string>} */
export const ANSWERED_BY = {
  human: "A person", voicemail: "Voicemail", fax: "Fax", busy: "Busy", no_answer: "No answer", failed: "Failed to connect", unknown: "Not known",
};

/** @type {Record<string, string>} */
export const ANSWERED_BY_SOURCE = {
  call_result: "the result of the telephone call",
  tool: "the agent, which detected a voicemail",
  amd: "answering machine detection",
  initiation_failure: "the event that the call failed",
};

/** @type {Record<string, string>} */
export const CHANNEL = { phone: "Phone", web: "Web", sms: "SMS", whatsapp: "WhatsApp", text: "Text", unknown: "Not known" };

/** @type {Record<string, string>} */
export const DIRECTION = { inbound: "Inbound", outbound: "Outbound" };

/** @type {Record<string, string>} */
export const END_REASON = {
  hung_up: "The other end hung up", agent_ended: "The agent ended it", silence: "Nobody spoke", inactivity: "No more turns arrived",
  busy: "The line was busy", no_answer: "Nobody answered", error: "An error", other: "Another reason",
};

/** @type {Record<string, string>} */
export const DRIVER_SOURCE = {
  dispatch: "the call’s dispatch",
  dynamic_variable: "the call’s variable driver_id",
  user_id: "ElevenLabs’ user id",
  batch_recipient: "the batch of calls",
  initiation: "the number that called",
  phone_number: "the phone number",
};

/** Speakers, and who else may have said a turn. @type {Record<string, string>} */
export const SPEAKER = { agent: "Agent", driver: "Driver", mailbox: "Mailbox", nobody: "Note" };

/**
 * Returns the name of the one who said a turn. In the conversation of a sub-agent, another agent asks, not the driver.
 * @param {import("./api.js").Turn} turn
 * @param {import("./api.js").Call} call
 */
export function speakerOf(turn, call) {
  const who = turn.said_by ?? turn.speaker_type;
  return who === "driver" && isOfSubAgent(call) ? "Request" : SPEAKER[who];
}

/** Returns true for a conversation that a sub-agent held for another one. @param {import("./api.js").Call} call */
export function isOfSubAgent(call) {
  return Boolean(call.parent_conversation_id) || call.initiation_source === "subagent_tool";
}

/** Kinds of turns that are labelled, with their explanation. @type {Record<string, [string, string]>} */
export const TURN_KIND = {
  silence: ["silence", "Nobody spoke; ElevenLabs notes this as a turn"],
  backchannel: ["backchannel", "A sign of listening that did not interrupt the agent"],
  keypad: ["keypad", "Keys that were pressed"],
  text: ["typed", "Typed, not spoken"],
  context: ["context", "Information for the agent; nobody said it"],
};

/** @type {Record<string, string>} */
export const PURPOSE = {
  tool: "Tool", end_call: "The agent ended the call", transfer_to_number: "Transfer to a phone number", transfer_to_agent: "Transfer to another agent",
  voicemail_detection: "The agent detected a voicemail", guardrail: "Guardrail",
};

/** @typedef {{ text: string, kind: "live" | "bad" | "warn" | "alert" | "", title?: string }} Badge */

/** Calls that nobody answered, by `answered_by`. @type {Record<string, string>} */
const NOT_ANSWERED = { busy: "Busy", no_answer: "No answer", failed: "Failed to connect" };

/** Returns what a reader should see of a call at a glance. @param {import("./api.js").Call} call @returns {Badge[]} */
export function badges(call) {
  /** @type {(Badge | false | null | undefined)[]} */
  const all = [
    call.status === "in_progress" && { text: "Live", kind: "live" },
    call.status === "failed" && { text: NOT_ANSWERED[call.answered_by ?? ""] ?? "Failed", kind: "bad" },
    call.answered_by === "voicemail" && { text: "Voicemail", kind: "warn", title: "A voicemail answered, not the driver" },
    call.answered_by === "fax" && { text: "Fax", kind: "warn", title: "A fax machine answered, not the driver" },
    call.status === "completed" && call.outcome === "failure" && { text: "Goal not met", kind: "warn" },
    call.channel && !["phone", "unknown"].includes(call.channel) ? { text: CHANNEL[call.channel], kind: "", title: "Not a phone call" } : null,
    isOfSubAgent(call) ? { text: "Sub-agent", kind: "", title: "A sub-agent held this conversation for another one" } : null,
    call.environment && call.environment !== "production" ? { text: call.environment, kind: "", title: "The agent’s environment" } : null,
    call.record_complete === false && { text: "Incomplete record", kind: "warn", title: "The record has fewer turns than ElevenLabs counted" },
    call.driver_conflict !== null && { text: "Driver?", kind: "warn", title: call.driver_conflict },
  ];
  return /** @type {Badge[]} */ (all.filter(Boolean));
}

/** Returns what a reader should see of a call in a list. @param {import("./api.js").Call} call @returns {Badge[]} */
export function rowBadges(call) {
  return [
    ...alertBadges(call.alerts),
    ...badges(call),
    ...(call.transferred ? [{ text: "Transferred", kind: /** @type {const} */ ("") }] : []),
    ...(call.tool_error ? [{ text: "Tool error", kind: /** @type {const} */ ("bad") }] : []),
  ];
}

/** Returns the alerts that a turn of a call matched. @param {import("./api.js").CallAlert[]} [alerts] @returns {Badge[]} */
export function alertBadges(alerts = []) {
  return alerts.map(({ name }) => ({ text: `Alert: ${name}`, kind: "alert", title: "A turn matched this alert" }));
}

/** Returns what the tools of a call did, for its header. @param {import("./api.js").ToolCall[]} tools @returns {Badge[]} */
export function toolBadges(tools) {
  const transferred = tools.some(({ purpose, is_error: failed }) => purpose.startsWith("transfer_") && failed !== true);
  const failed = tools.filter((tool) => tool.is_error === true).length;
  const stopped = tools.filter((tool) => tool.purpose === "guardrail").length;
  return [
    ...(transferred ? [{ text: "Transferred", kind: /** @type {const} */ ("") }] : []),
    ...(failed > 0 ? [{ text: count(failed, "tool error"), kind: /** @type {const} */ ("bad") }] : []),
    ...(stopped > 0 ? [{ text: count(stopped, "guardrail"), kind: /** @type {const} */ ("warn") }] : []),
  ];
}

/** @param {Badge} badge */
export function chip({ text, kind, title }) {
  return el("span", { class: kind ? `chip ${kind}` : "chip", title }, kind === "live" && el("span", { class: "dot" }), text);
}

/** Returns a sentence about how a call ended, for below its last turn. @param {import("./api.js").Call} call */
export function ending(call) {
  if (call.status === "completed") {
    if (call.end_reason === "inactivity") return "The call ended: no more turns arrived.";
    return call.end_reason === "silence" ? "The call ended because nobody spoke." : "The call ended.";
  }
  switch (call.answered_by) {
    case "busy": return "The call failed: the line was busy.";
    case "no_answer": return "The call failed: nobody answered.";
    case "failed": return "The call failed: it could not be connected.";
    default: return call.termination_reason ? `The call failed: ${call.termination_reason.replace(/\.$/, "")}.` : "The call failed.";
  }
}

/** Returns true if the call never began, so it has neither turns nor a length. @param {import("./api.js").Call} call */
export function neverBegan(call) {
  return call.status === "failed" && call.turn_count === 0 && (call.answered_by ?? "") in NOT_ANSWERED;
}

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

/** Returns shares as whole percentages that add up to 100. @param {number[]} values */
export function percentages(values) {
  const whole = values.reduce((sum, value) => sum + value, 0);
  if (whole === 0) return values.map(() => 0);
  const exact = values.map((value) => (value / whole) * 100);
  const shares = exact.map(Math.floor);
  const order = exact.map((value, n) => [value - shares[n], n]).sort((a, b) => b[0] - a[0]);
  const left = 100 - shares.reduce((sum, share) => sum + share, 0);
  for (const [, n] of order.slice(0, left)) shares[n] += 1;
  return shares;
}
