// The URL of the current view, which can be bookmarked and shared. The state is in the query:
// `?call=…&turn=12&q=reefer&status=failed&driver=7&from=2026-09-01&to=2026-09-30&answered_by=voicemail&order=longest`,
// `?view=stats`, or `?view=accesses&call=…&who=anna&action=export`.

/**
 * @typedef {object} Route
 * @property {"calls" | "stats" | "setup" | "accesses"} view
 * @property {string | null} call conversation id
 * @property {number | null} turn sequence number
 * @property {string} q
 * @property {string} status a status of the API, or empty
 * @property {number | null} driver
 * @property {string} from first day, as `2026-09-01`
 * @property {string} to last day
 * @property {"newest" | "best"} sort order of search results
 * @property {"" | "agent" | "driver"} speaker whose words are searched, or empty
 * @property {"" | "asc" | "longest" | "most_turns" | "costliest"} order order of the list
 * @property {Record<string, string>} more the other filters of the API, by parameter
 * @property {string} by property by which statistics are grouped, or empty
 * @property {string} who name of a token or user in the access log, or empty
 * @property {string} action action in the access log, or empty
 */

/** Filters of the API that the URL has by their own names. */
export const FILTERS = /** @type {const} */ (["answered_by", "outcome", "direction", "channel", "agent_id", "number", "language",
  "environment", "tag", "tool", "tool_error", "alert", "has_alert", "min_seconds", "max_seconds", "has_audio", "reconciled", "has_driver"]);

/** Base path of the service: `/`, or the prefix that a proxy adds. This file is `assets/…/route.js` below it. */
export const BASE = new URL("../../", import.meta.url).pathname;

const DAY = /^\d{4}-\d{2}-\d{2}$/;

/** @returns {Route} */
export function current() {
  const query = new URLSearchParams(location.search);
  /** @param {string} name @param {RegExp} form */
  const fit = (name, form) => {
    const value = query.get(name) ?? "";
    return form.test(value) ? value : "";
  };
  return {
    view: /** @type {Route["view"]} */ (fit("view", /^(stats|setup|accesses)$/) || "calls"),
    call: query.get("call") || null,
    turn: Number(fit("turn", /^[1-9]\d{0,8}$/)) || null,
    q: (query.get("q") ?? "").slice(0, 200),
    status: fit("status", /^(in_progress|completed|failed)$/),
    driver: Number(fit("driver", /^[1-9]\d{0,15}$/)) || null,
    from: fit("from", DAY),
    to: fit("to", DAY),
    sort: query.get("sort") === "best" ? "best" : "newest",
    speaker: /** @type {Route["speaker"]} */ (fit("speaker", /^(agent|driver)$/)),
    order: /** @type {Route["order"]} */ (fit("order", /^(asc|longest|most_turns|costliest)$/)),
    more: Object.fromEntries(FILTERS.map((name) => [name, (query.get(name) ?? "").trim().slice(0, 200)]).filter(([, value]) => value)),
    by: fit("by", /^(agent|outcome|answered_by|channel|direction)$/),
    who: (query.get("who") ?? "").trim().slice(0, 128),
    action: fit("action", /^(list|read|listen|search|export|backup|erase)$/),
  };
}

/** A route without any filter, and without a call. @type {Omit<Route, "view">} */
export const UNFILTERED = { call: null, turn: null, q: "", status: "", driver: null, from: "", to: "", sort: "newest", speaker: "", order: "", more: {}, by: "", who: "", action: "" };

/** Returns the URL of the current route with changes. @param {Partial<Route>} changes */
export function addressOf(changes) {
  const route = { ...current(), ...changes };
  const query = new URLSearchParams();
  if (route.view !== "calls") query.set("view", route.view);
  for (const name of /** @type {const} */ (["q", "status", "driver", "from", "to", "order", "call", "turn"])) {
    if (route[name]) query.set(name, String(route[name]));
  }
  for (const [name, value] of Object.entries(route.more)) if (value) query.set(name, value);
  if (route.sort === "best") query.set("sort", "best");
  if (route.q && route.speaker) query.set("speaker", route.speaker);
  if (route.view === "stats" && route.by) query.set("by", route.by);
  if (route.view === "accesses") for (const name of /** @type {const} */ (["who", "action"])) if (route[name]) query.set(name, route[name]);
  const text = query.toString();
  return text ? `${BASE}?${text}` : BASE;
}

/** @type {(() => void)[]} */
const listeners = [];

/** Registers a listener for changes of the route. @param {() => void} then */
export function onRoute(then) {
  listeners.push(then);
}

function changed() {
  for (const listener of listeners) listener();
}

/**
  * Navigates to the current route with changes.
 * @param {Partial<Route>} changes
  * @param {{ replace?: boolean }} [how] `replace`: without a new history entry
 */
export function go(changes, { replace = false } = {}) {
  const address = addressOf(changes);
  if (address === location.pathname + location.search) return;
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  changed();
}

/** Makes links within the page change the route instead of reloading the page. */
export function followLinks() {
  addEventListener("popstate", changed);
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin || link.pathname !== BASE || link.hash) return;
    event.preventDefault();
    if (link.href !== location.href) history.pushState(null, "", link.href);
    changed();
  });
}
