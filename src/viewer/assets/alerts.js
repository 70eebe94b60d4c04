// Names of the alerts that calls have matched, for the filters. They are learned from the calls that the page reads.

import { read } from "./api.js";

/** Maximum number of calls that are read for the names. */
const MAX_CALLS = 50;

/** @type {Set<string>} */
const names = new Set();

/** Returns the names, sorted. */
export function alertNames() {
  return [...names].sort((a, b) => a.localeCompare(b));
}

/**
 * Learns the names of the alerts that these calls matched.
 * @param {import("./api.js").Call[]} calls
 * @returns {boolean} true if there is a new one
 */
export function learnAlerts(calls) {
  const before = names.size;
  for (const call of calls) for (const { name } of call.alerts ?? []) names.add(name);
  return names.size > before;
}

/** Learns the names from the latest calls that matched any. @returns {Promise<boolean>} true if there is a new one */
export async function readAlerts() {
  /** @type {import("./api.js").Page<import("./api.js").Call>} */
  const page = await read("/calls", { has_alert: "true", limit: MAX_CALLS });
  return learnAlerts(page.data);
}
