// The URL of the current view, which can be bookmarked and shared. The state is in the query:
// `?call=…&turn=12&q=reefer&status=failed&driver=7&from=2026-09-01&to=2026-09-30&sort=newest`, or `?view=stats`.

/**
 * @typedef {object} Route
 * @property {"calls" | "stats"} view
 * @property {string | null} call conversation id
 * @property {number | null} turn sequence number
 * @property {string} q
  * @property {string} status a status of the API, or empty
 * @property {number | null} driver
 * @property {string} from first day, as `2026-09-01`
 * @property {string} to last day
 * @property {"best" | "newest"} sort
 */

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
    view: query.get("view") === "stats" ? "stats" : "calls",
    call: query.get("call") || null,
    turn: Number(fit("turn", /^[1-9]\d{0,8}$/)) || null,
    q: (query.get("q") ?? "").slice(0, 200),
    status: fit("status", /^(in_progress|completed|failed)$/),
    driver: Number(fit("driver", /^[1-9]\d{0,15}$/)) || null,
    from: fit("from", DAY),
    to: fit("to", DAY),
    sort: query.get("sort") === "newest" ? "newest" : "best",
  };
}

/** Returns the URL of the current route with changes. @param {Partial<Route>} changes */
export function addressOf(changes) {
  const route = { ...current(), ...changes };
  const query = new URLSearchParams();
  if (route.view === "stats") query.set("view", "stats");
  for (const name of /** @type {const} */ (["q", "status", "driver", "from", "to", "call", "turn"])) {
    if (route[name]) query.set(name, String(route[name]));
  }
  if (route.sort === "newest") query.set("sort", "newest");
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
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin || link.pathname !== BASE) return;
    event.preventDefault();
    if (link.href !== location.href) history.pushState(null, "", link.href);
    changed();
  });
}
