// Client of the public API. Errors become a `Failure`, which the page can explain to the reader.

import { BASE } from "./route.js";

/**
 * @typedef {object} Call
 * @property {number} id
 * @property {string} conversation_id
 * @property {number | null} driver_id
 * @property {string | null} driver_name
 * @property {string} call_start_time
 * @property {string | null} call_end_time
 * @property {"in_progress" | "completed" | "failed"} status
 * @property {number} turn_count
 * @property {string | null} first_turn_time
 * @property {string | null} last_turn_time
 * @property {LastMessage | null} last_message
 * @property {string | null} driver_source
 * @property {string | null} driver_conflict
 * @property {number | null} duration_seconds
 * @property {string | null} agent_id
 * @property {string | null} user_id
 * @property {"inbound" | "outbound" | null} direction
 * @property {string | null} termination_reason
 * @property {"success" | "failure" | "unknown" | null} outcome
 * @property {string | null} title
 * @property {string | null} summary
 * @property {string | null} main_language
 * @property {number | null} cost
 * @property {string | null} external_number
 * @property {string | null} batch_id
 * @property {number | null} live_only
 * @property {number | null} matched
 * @property {number | null} added
 * @property {number | null} corrected
 * @property {number | null} repeated
 * @property {"human" | "voicemail" | "fax" | "busy" | "no_answer" | "failed" | "unknown" | null} [answered_by]
 * @property {string | null} [answered_by_source]
 * @property {string | null} [answered_by_conflict]
 * @property {"phone" | "web" | "sms" | "whatsapp" | "text" | "unknown" | null} [channel]
 * @property {string | null} [parent_conversation_id]
 * @property {string | null} [environment]
 * @property {string | null} [agent_number]
 * @property {string | null} [agent_name]
 * @property {number | null} [cost_usd]
 * @property {number | null} [queue_wait_seconds]
 * @property {string | null} [campaign]
 * @property {string[]} [tags]
 * @property {string | null} [sentiment]
 * @property {boolean | null} [record_complete]
 * @property {string | null} [initiation_source]
 * @property {string | null} [end_reason]
 * @property {boolean} [tool_error]
 * @property {CallAlert[]} [alerts]
 * @property {boolean} [transferred] in a list only if it is asked for
 * @property {ChildConversation[]} [child_conversations] only if a single call is requested
  * @property {any} [analysis] only if a single call is requested
  * @property {boolean} [has_audio] only if a single call is requested
 * @property {string} created_at
 * @property {string} updated_at
 */

/** @typedef {{ name: string, sequence_number: number }} CallAlert an alert, and the first turn that matched it */

/** @typedef {Pick<Turn, "speaker_type" | "message_text" | "final_text" | "timestamp" | "sequence_number">} LastMessage */

/**
 * @typedef {object} ChildConversation a conversation that a sub-agent held for a call
 * @property {string} conversation_id
 * @property {number | null} duration_seconds
 * @property {number} turn_count
 * @property {string | null} agent_id
 * @property {string | null} agent_name
 * @property {string | null} title
 */

/**
 * @typedef {object} ToolCall
 * @property {number} position
 * @property {number} after_place position of the turn before it, 0 before all turns
 * @property {string} name
 * @property {"tool" | "end_call" | "transfer_to_number" | "transfer_to_agent" | "voicemail_detection" | "guardrail"} purpose
 * @property {string | null} arguments
 * @property {string | null} result
 * @property {boolean | null} is_error
 * @property {number | null} latency_ms
 */

/**
 * @typedef {object} Turn
 * @property {number} id
 * @property {string} conversation_id
 * @property {"agent" | "driver"} speaker_type
 * @property {string} message_text
 * @property {string} timestamp
 * @property {number} sequence_number
 * @property {"live" | "history" | "post_call" | "import"} source
 * @property {string | null} final_text
 * @property {boolean | null} interrupted
  * @property {number | null} position
 * @property {number | null} superseded_by
 * @property {string | null} record_time
 * @property {boolean | null} in_record
 * @property {"speech" | "silence" | "backchannel" | "keypad" | "text" | "context"} [kind]
 * @property {Record<string, number> | null} [metrics]
 * @property {"agent" | "driver" | "mailbox" | "nobody"} [said_by]
 * @property {string} created_at
 */

/** @typedef {{ id: number, name: string, phone_number: string | null }} Driver */

/**
 * @template T
 * @typedef {{ data: T[], next_cursor: string | null, has_more: boolean, total?: number }} Page
 */

export class Failure extends Error {
  /**
   * @param {number} status 0 if the service is unreachable
   * @param {string} message
   * @param {string | null} details
   * @param {string | null} requestId
   */
  constructor(status, message, details, requestId) {
    super(message);
    this.status = status;
    this.details = details;
    this.requestId = requestId;
  }
}

/** Called on a 401 response. @type {(failure: Failure) => void} */
let whenUnauthorized = () => {};

/** @param {(failure: Failure) => void} then */
export function onUnauthorized(then) {
  whenUnauthorized = then;
}

/**
  * Sends a request and returns the response's JSON, or null if it has none.
 * @param {string} path
  * @param {RequestInit & { quiet?: boolean }} [options] `quiet`: the caller handles a 401 itself
 * @returns {Promise<any>}
 */
export async function send(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", credentials: "same-origin", ...options });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Failure(0, "The service cannot be reached.", null, null);
  }
  const body = await response.json().catch(() => null);
  if (response.ok) return body;
  const failure = new Failure(
    response.status,
    body?.message ?? `The service responded with status ${response.status}.`,
    body?.details ?? null,
    body?.request_id ?? response.headers.get("x-request-id"),
  );
  if (response.status === 401 && !options.quiet) whenUnauthorized(failure);
  throw failure;
}

/**
  * Reads from the API. Parameters that are null, undefined or empty are omitted.
  * @param {string} path below `/api/v1`, with encoded segments
 * @param {Record<string, string | number | null | undefined>} [parameters]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export function read(path, parameters = {}, signal) {
  return send(address(path, parameters), { signal });
}

/**
 * @param {string} path below `/api/v1`
 * @param {Record<string, string | number | null | undefined>} [parameters]
 */
export function address(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  }
  const text = query.toString();
  return `${BASE}api/v1${path}${text ? `?${text}` : ""}`;
}

/** Returns the path of a call below `/api/v1`. @param {string} id */
export function callPath(id) {
  // Note: browsers remove the segments "." and ".." from a URL, even if they are encoded.
  return `/calls/${encodeURIComponent(id)}`;
}

/** Returns true if a request failed because it was aborted. @param {unknown} error */
export function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError";
}
