// Tool calls, transfers and guardrails between the turns, and long waits before the agent's turns.

import { el } from "./dom.js";
import { PURPOSE } from "./labels.js";

/** @typedef {import("./api.js").ToolCall} ToolCall */

/** Shortest wait before an agent's turn that is shown, in seconds. */
const LONG_WAIT_SECONDS = 2;

/** Measurements that a reader waits for, one after the other, with their names. */
const WAITS = /** @type {const} */ ([
  ["convai_asr_trailing_service_latency", "recognising speech"],
  ["convai_llm_service_ttf_sentence", "language model"],
  ["convai_tts_service_ttfb", "voice"],
]);

/** Returns the item of a tool call. @param {ToolCall} tool */
export function toolItem(tool) {
  const named = tool.purpose === "tool" || tool.purpose === "guardrail";
  const state = tool.is_error === true ? el("span", { class: "chip bad" }, "error")
    : tool.purpose === "guardrail" ? el("span", { class: "chip warn" }, "triggered") : null;
  const details = el("details", null,
    el("summary", null, el("span", { class: "what" }, PURPOSE[tool.purpose] ?? "Tool", named && el("bdi", { class: "mono" }, tool.name)),
      target(tool), state, tool.latency_ms !== null && el("span", { class: "soft" }, `${(tool.latency_ms / 1000).toFixed(1)} s`)),
    part("Arguments", tool.arguments), part("Result", tool.result),
    !tool.arguments && !tool.result && el("p", { class: "soft" }, "Neither arguments nor a result are stored."));
  return el("li", { class: tool.is_error === true ? "tool failed" : "tool", id: `tool-${tool.position}` }, details);
}

/** Shows where a call was transferred to, if the arguments or the result tell. @param {ToolCall} tool */
function target(tool) {
  if (!tool.purpose.startsWith("transfer_")) return null;
  const said = { ...parsed(tool.arguments), ...parsed(tool.result) };
  const to = said.transfer_number ?? said.to_agent_name ?? said.to_agent ?? said.agent_name;
  return typeof to === "string" ? el("bdi", { class: "mono" }, to) : null;
}

/** @param {string | null} text @returns {Record<string, unknown>} */
function parsed(text) {
  try {
    const value = JSON.parse(text ?? "");
    return value !== null && typeof value === "object" && !Array.isArray(value) ? value : {};
  } catch {
    return {}; // not JSON, which is shown as it is
  }
}

/** @param {string} name @param {string | null} text */
function part(name, text) {
  if (!text) return null;
  let shown = text;
  try {
    shown = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    // Not JSON: shown as it is.
  }
  return [el("p", { class: "part" }, name), el("pre", { tabindex: "0", role: "region", "aria-label": name, dir: "auto" }, shown)];
}

/**
 * Returns the wait before an agent's turn in seconds and its parts in words, or null if it was not long.
 * @param {import("./api.js").Turn} turn
 */
export function longWait(turn) {
  if (turn.speaker_type !== "agent" || !turn.metrics) return null;
  const parts = WAITS.filter(([name]) => typeof turn.metrics?.[name] === "number").map(([name, what]) => ({ what, seconds: turn.metrics?.[name] ?? 0 }));
  const seconds = parts.reduce((sum, one) => sum + one.seconds, 0);
  if (seconds < LONG_WAIT_SECONDS) return null;
  return { seconds, parts: parts.map(({ what, seconds }) => `${what} ${seconds.toFixed(1)} s`).join(", ") };
}

/** Returns the item of a long wait. @param {{ seconds: number, parts: string }} wait */
export function waitItem({ seconds, parts }) {
  return el("li", { class: "wait", title: parts }, `${seconds.toFixed(1)} s until the agent spoke`, el("span", { class: "unseen" }, ` (${parts})`));
}
