// Names of the drivers. Each name is requested once, those of a list together, and cached while the page is open.

import { read } from "./api.js";

/** @typedef {import("./api.js").Driver} Driver */

/** The cache; null for a driver that does not exist. @type {Map<number, Driver | null>} */
const known = new Map();

/** Maximum number of ids in one request of the API. */
const MAX_IDS = 100;

/**
  * Loads these drivers, unless they are cached.
 * @param {(number | null)[]} ids
  * @returns {Promise<boolean>} true if any driver was loaded
 */
export async function learn(ids) {
  const missing = [...new Set(ids)].filter((id) => id !== null && !known.has(id));
  for (let at = 0; at < missing.length; at += MAX_IDS) {
    const some = /** @type {number[]} */ (missing.slice(at, at + MAX_IDS));
    /** @type {import("./api.js").Page<Driver>} */
    const page = await read("/drivers", { ids: some.join(","), limit: MAX_IDS });
    for (const id of some) known.set(id, null);
    for (const driver of page.data) known.set(driver.id, driver);
  }
  return missing.length > 0;
}

/** Clears the cache, because drivers may have changed. */
export function forget() {
  known.clear();
}

/** @param {number | null} id */
export function driver(id) {
  return id === null ? null : (known.get(id) ?? null);
}

/**
 * Returns the display name of a call's driver.
 * @param {{ conversation_id: string, driver_id: number | null, driver_name?: string | null, external_number?: string | null }} call
 */
export function nameOf(call) {
  if (call.driver_id !== null) return driver(call.driver_id)?.name ?? call.driver_name ?? `Driver ${call.driver_id}`;
  return call.external_number ?? `Unknown driver ${shortId(call.conversation_id)}`;
}

/** Returns the end of a long id, which tells calls apart. @param {string} id */
export function shortId(id) {
  return id.length <= 12 ? id : `…${id.slice(-6)}`;
}

/**
 * Returns drivers with this text in the name, these digits in the phone number, or this id.
 * @param {string} text
 * @param {number} limit
 * @param {AbortSignal} signal
 * @returns {Promise<Driver[]>}
 */
export async function findDrivers(text, limit, signal) {
  return (await read("/drivers", { q: text, limit }, signal)).data;
}

/** Returns the digits of a text that is written like a phone number, or an empty text. @param {string} text */
export function digitsOf(text) {
  return /^\+?[\d\s().\/-]+$/.test(text.trim()) ? text.replace(/\D/g, "").replace(/^0+/, "") : "";
}

/** @type {Promise<Driver[]> | null} */
let all = null;

/** Returns all drivers, up to some thousands, for choosing one by name. @returns {Promise<Driver[]>} */
export function everyone() {
  all ??= (async () => {
    /** @type {Driver[]} */
    const drivers = [];
    let cursor = null;
    do {
      /** @type {import("./api.js").Page<Driver>} */
      const page = await read("/drivers", { limit: 1000, cursor });
      drivers.push(...page.data);
      cursor = page.next_cursor;
    } while (cursor && drivers.length < 20_000);
    for (const one of drivers) known.set(one.id, one);
    return drivers.sort((a, b) => a.name.localeCompare(b.name));
  })();
  all.catch(() => (all = null));
  return all;
}
