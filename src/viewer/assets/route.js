// The address of what is shown, so that it can be kept, sent and gone back to. All of it stands in the query:
// `?call=…&turn=12&q=reefer&status=failed&driver=7&from=2026-09-01&to=2026-09-30&sort=newest`, or `?view=stats`.

/**
 * @typedef {object} Route
 * @property {"calls" | "stats"} view
 * @property {string | null} call conversation id
 * @property {number | null} turn sequence number
 * @property {string} q
 * @property {string} status an API status, or nothing
 * @property {number | null} driver
 * @property {string} from first day, as `2026-09-01`
 * @property {string} to last day
 * @property {"best" | "newest"} sort
 */

/** The path below which the service is: `/`, or what a proxy has put before it. This file is `assets/…/route.js` below it. */
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

/** The address of a route: the present one with changes. @param {Partial<Route>} changes */
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

/** Called whenever another thing is to be shown. @param {() => void} then */
export function onRoute(then) {
  listeners.push(then);
}

function changed() {
  for (const listener of listeners) listener();
}

/**
 * Goes somewhere.
 * @param {Partial<Route>} changes
 * @param {{ replace?: boolean }} [how] `replace`: without a step to go back to
 */
export function go(changes, { replace = false } = {}) {
  const address = addressOf(changes);
  if (address === location.pathname + location.search) return;
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  changed();
}

/** Makes links within the page change what is shown instead of loading the page again. */
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
