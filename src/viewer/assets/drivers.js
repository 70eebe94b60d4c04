// Who the drivers are. Names are asked for once each, those of a list together, and kept while the page is open.

import { read } from "./api.js";

/** @typedef {import("./api.js").Driver} Driver */

/** Null stands for one that was asked for in vain. @type {Map<number, Driver | null>} */
const known = new Map();

/** Most numbers that the API takes at once. */
const AT_ONCE = 100;

/**
 * Makes sure that these drivers are known.
 * @param {(number | null)[]} ids
 * @returns {Promise<boolean>} whether anything new became known
 */
export async function learn(ids) {
  const missing = [...new Set(ids)].filter((id) => id !== null && !known.has(id));
  for (let at = 0; at < missing.length; at += AT_ONCE) {
    const some = /** @type {number[]} */ (missing.slice(at, at + AT_ONCE));
    /** @type {import("./api.js").Page<Driver>} */
    const page = await read("/drivers", { ids: some.join(","), limit: AT_ONCE });
    for (const id of some) known.set(id, null);
    for (const driver of page.data) known.set(driver.id, driver);
  }
  return missing.length > 0;
}

/** Forgets what is known, since it may have changed. */
export function forget() {
  known.clear();
}

/** @param {number | null} id */
export function driver(id) {
  return id === null ? null : (known.get(id) ?? null);
}

/** What to call the person of a call. @param {{ driver_id: number | null, external_number?: string | null }} call */
export function nameOf(call) {
  if (call.driver_id !== null) return driver(call.driver_id)?.name ?? `Driver ${call.driver_id}`;
  return call.external_number ?? "Unknown driver";
}

/** @type {Promise<Driver[]> | null} */
let all = null;

/** Every driver, up to some thousands, for choosing one by name. @returns {Promise<Driver[]>} */
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
