// The dialog that ends a call whose end was never reported.

import { callPath, send } from "./api.js";
import { el } from "./dom.js";
import { nameOf } from "./drivers.js";
import { BASE } from "./route.js";
import { explain } from "./states.js";
import { roughly } from "./time.js";

/** @typedef {import("./api.js").Call} Call */

/**
 * Asks whether and how to end a call.
 * @param {Call} call
 * @param {(call: Call) => void} then called with the ended call
 */
export function endCall(call, then) {
  const silent = (Date.now() - Date.parse(call.last_turn_time ?? call.call_start_time)) / 1000;
  const wrong = el("p", { class: "wrong", role: "alert" });
  const button = (/** @type {"completed" | "failed"} */ status, /** @type {string} */ name) =>
    el("button", { type: "button", class: status === "completed" && "primary", onclick: () => end(status) }, name);
  const dialog = el("dialog", { "aria-labelledby": "end-title", onclose: () => dialog.remove() },
    el("h2", { id: "end-title" }, "End the call with ", el("bdi", null, nameOf(call)), "?"),
    el("p", null, `Its last turn was ${roughly(silent)} ago. This only marks the call as over, which helps if its end was never reported; it hangs up nothing. A record that arrives later is still stored.`),
    wrong,
    el("form", { method: "dialog", class: "buttons" }, el("button", { autofocus: true }, "Keep it live"), button("failed", "Mark as failed"), button("completed", "Mark as completed")));

  /** @param {"completed" | "failed"} status */
  async function end(status) {
    try {
      // Without an end the call would have no duration.
      const body = JSON.stringify({ status, call_end_time: call.last_turn_time ?? call.call_start_time });
      const ended = await send(`${BASE}api/v1${callPath(call.conversation_id)}`, { method: "PATCH", headers: { "Content-Type": "application/json" }, body });
      dialog.close();
      then(ended);
    } catch (error) {
      wrong.textContent = explain(error).text;
    }
  }
  document.body.append(dialog);
  dialog.showModal();
}
